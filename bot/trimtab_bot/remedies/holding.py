"""Remedies about Holds: keep a version out, end a Hold, and abort a rollout (back to its stable version, and held)."""

from __future__ import annotations

import datetime
from typing import TYPE_CHECKING

from trimtab_bot.inbox.interface import FactKind
from trimtab_bot.records import FactLine
from trimtab_bot.remedies.interface import Draft, Impossible, Outcome
from trimtab_bot.remedies.options import Option, read_options, schema_of
from trimtab_bot.remedies.proof import WHOLE, prove
from trimtab_bot.remedies.targets import DEPLOYMENTS, find_object, model_and_version, reached
from trimtab_config.restore.fields import field_path, set_fields
from trimtab_config.restore.holds import new_hold
from trimtab_config.restore.objects import restore_objects
from trimtab_config.restore.proof import object_key
from trimtab_config.spec.kinds import HoldSpec
from trimtab_kernel.problems import printable

if TYPE_CHECKING:
    from collections.abc import Mapping

    from trimtab_bot.changes.history import FleetAt
    from trimtab_bot.remedies.interface import Wish
    from trimtab_config.restore.holds import NewHold
    from trimtab_kernel.canonical import Json

_DAYS = Option("days", "a whole number of days", whole_number=True)
DEFAULT_DAYS = 30


class HoldVersion:
    """The registered step ``hold``: a version of a model stays out, for so many days."""

    name = "hold"
    says = "keep a version of a model out"
    bars_authors = False
    schema: Mapping[str, Json] = schema_of((_DAYS,))

    def plan(self, wish: Wish) -> Outcome:
        """See the port. The target is ``MODEL VERSION``."""
        options = read_options((_DAYS,), wish.options)
        if isinstance(options, str):
            return Impossible("B308", options)
        model, _, version = wish.target.partition(" ")
        fleet = wish.fleet
        if model not in {name for name, _ in fleet.placements}:
            return Impossible("B316", f'no device group is told to run a model called "{model}"')
        held = [d for d in fleet.documents if d.kind == "Hold" and d.spec.model == model and d.spec.version == version]
        if any(not document.spec.groups for document in held):
            return Impossible("B313", f"{model} {version} is held already, by {held[0].metadata.name}")
        hold, until = _hold(wish, model, version, options)
        facts = prove(fleet.files, {hold.file: hold.content}, [(hold.key, WHOLE)])
        if isinstance(facts, Impossible):
            return facts
        return _draft(
            wish, f"Hold {model} {version} until {until}", {hold.file: hold.content}, facts, model, version, until
        )


class ReleaseHold:
    """The registered step ``release``: a Hold ends, and what it kept out may come again."""

    name = "release"
    says = "end a hold"
    bars_authors = False
    schema: Mapping[str, Json] = schema_of(())

    def plan(self, wish: Wish) -> Outcome:
        """See the port. The target is the Hold's name."""
        refused = read_options((), wish.options)
        if isinstance(refused, str):
            return Impossible("B308", refused)
        fleet = wish.fleet
        hold = find_object(fleet, wish.target, {"Hold"})
        if isinstance(hold, Impossible):
            return hold
        key = object_key(hold)
        # Away is what it would be in a tree without it.
        restoration, problems = restore_objects(fleet.files, {}, [key])
        if problems:
            return Impossible("B314", f"{problems[0]}")
        facts = prove(fleet.files, restoration.changes, [(key, WHOLE)])
        if isinstance(facts, Impossible):
            return facts
        model, version = hold.spec.model, hold.spec.version or str(hold.spec.digest or "")
        why = FactLine("Was held for", f"{hold.spec.reason} (owner {hold.spec.owner})", FactKind.FACT)
        title = f"Release {model} {version} from {hold.metadata.name}"
        return _draft(wish, title, restoration.changes, (*facts, why), model, version, "")


class AbortRollout:
    """The registered step ``abort``: everybody gets the stable version, and the other one is held."""

    name = "abort"
    says = "end a rollout: the stable version for everybody, the other one held"
    bars_authors = True
    schema: Mapping[str, Json] = schema_of((_DAYS,))

    def plan(self, wish: Wish) -> Outcome:
        """See the port."""
        options = read_options((_DAYS,), wish.options)
        if isinstance(options, str):
            return Impossible("B308", options)
        fleet = wish.fleet
        document = find_object(fleet, wish.target, DEPLOYMENTS)
        if isinstance(document, Impossible):
            return document
        model, version = model_and_version(document)
        if document.kind == "OnDeviceModel":
            return Impossible("B313", f"an OnDeviceModel names no stable version; roll back {model} {version} instead")
        stable = document.spec.rollout.stable
        if stable is None:
            return Impossible("B313", "its rollout names no stable version to go back to; roll it back instead")
        if stable.version == version:
            return Impossible("B313", f"everybody is told to run {version} already")
        key = object_key(document)
        edited, problems = set_fields(fleet.files, key, {field_path("spec.modelRef.version"): stable.version})
        if problems:
            return Impossible("B314", f"{problems[0]}")
        hold, until = _hold(wish, model, version, options)
        changes = {**edited.changes, hold.file: hold.content}
        facts = prove(fleet.files, changes, [(key, "spec.modelRef.version"), (hold.key, WHOLE)])
        if isinstance(facts, Impossible):
            return facts
        others = [
            f"{asked.deployment}"
            for asked in fleet.asked(model)
            if asked.version == version and not asked.deployment.endswith(f" {key.namespace}/{key.name}")
        ]
        if others:
            return Impossible(
                "B309", f"{', '.join(sorted(others))} asks for {model} {version} too; roll it back instead"
            )
        title = f"Abort {key.namespace}/{key.name}: {model} {version} back to {stable.version}"
        groups = reached(fleet, document)
        return _draft(
            wish, title, changes, facts, model, version, until, good=stable.version, groups=groups, removes=True
        )


def _hold(wish: Wish, model: str, version: str, options: Mapping[str, str]) -> tuple[NewHold, str]:
    at = datetime.datetime.fromtimestamp(wish.at, datetime.UTC).date()
    until = at + datetime.timedelta(int(options.get("days", DEFAULT_DAYS)))
    groups = _groups(wish.fleet, model)
    owner = wish.fleet.catalog.groups[groups[0]].spec.owner.team
    spec = HoldSpec(
        model=model, owner=owner, reason=printable(f"{wish.by}: {wish.reason}", 500), until=until, version=version
    )
    namespaces = sorted(
        placement.document.metadata.namespace for (name, _), placement in wish.fleet.placements.items() if name == model
    )
    return new_hold(wish.fleet.files, spec, namespaces[0]), until.isoformat()


def _groups(fleet: FleetAt, model: str) -> tuple[str, ...]:
    return tuple(sorted(group for name, group in fleet.placements if name == model))


def _draft(
    wish: Wish,
    title: str,
    changes: Mapping[str, bytes | None],
    facts: tuple[FactLine, ...],
    model: str,
    version: str,
    until: str,
    *,
    good: str = "",
    groups: tuple[str, ...] = (),
    removes: bool = False,
) -> Draft:
    return Draft(
        title=printable(title, 150),
        changes={f"{wish.prefix}{path}": content for path, content in changes.items()},
        good_version=good or version,
        restored_commit="",
        verified=True,
        hold_until=until,
        facts=facts,
        model=model,
        version=version,
        groups=groups or _groups(wish.fleet, model),
        removes_version=removes,
    )
