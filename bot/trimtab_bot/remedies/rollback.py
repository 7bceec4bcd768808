"""Roll back: every deployment that asks for the bad version returns to its last verified state, and a Hold keeps it there.

Object by object: what people changed since in other objects, and in the same files, stays as it is. The result is
compared with the earlier state by the compiler's own reader, and what cannot be proven equal is not proposed.
"""

from __future__ import annotations

import datetime
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import TYPE_CHECKING

from trimtab_bot.changes.history import versions_of
from trimtab_bot.changes.likely import find_moves
from trimtab_bot.changes.verified import GoodState, last_good_state
from trimtab_bot.inbox.interface import FactKind
from trimtab_bot.incidents.course import requested
from trimtab_bot.narration.template import gauge_text
from trimtab_bot.records import FactLine, Request
from trimtab_bot.remedies.interface import Draft, Impossible, Outcome, Situation
from trimtab_bot.remedies.options import Option, read_options, schema_of
from trimtab_config.restore.holds import new_hold
from trimtab_config.restore.objects import restore_objects
from trimtab_config.restore.proof import Proof, object_key, prove_restoration
from trimtab_config.spec.kinds import HoldSpec
from trimtab_kernel.problems import printable

if TYPE_CHECKING:
    from collections.abc import Mapping

    from trimtab_bot.changes.history import FleetAt
    from trimtab_bot.changes.likely import Move
    from trimtab_bot.remedies.interface import Wish
    from trimtab_config.restore.layout import ObjectKey
    from trimtab_config.spec.kinds import Document
    from trimtab_kernel.canonical import Json


@dataclass(frozen=True, slots=True)
class RollbackOptions:
    """How long the bad version is held, in days, and by whom: ``""`` for the owner of the first group concerned."""

    hold_days: int = 30
    hold_owner: str = ""


class AskedRollback:
    """The step ``rollback`` where a person asks for it: of a version that no policy (or none yet) calls a breach."""

    name = "rollback"
    says = "back to the last verified state, and the version held"
    bars_authors = True
    _days = Option("days", "for how many days the version is held", whole_number=True)
    schema: Mapping[str, Json] = schema_of((_days,))

    def plan(self, wish: Wish) -> Outcome:
        """See the port. The target is ``MODEL VERSION``."""
        options = read_options((self._days,), wish.options)
        if isinstance(options, str):
            return Impossible("B308", options)
        model, _, version = wish.target.partition(" ")
        groups = wish.fleet.groups_asked(model, version)
        case = requested(Request(self.name, wish.target, (), wish.reason, wish.by, ""), model, version, wish.at)
        situation = Situation(
            history=wish.history,
            head=wish.fleet.commit,
            incident=replace(case, id=wish.case or case.id),
            moves=find_moves(wish.history, wish.fleet.commit, model, version, wish.search_commits),
            groups=groups,
            reporting=tuple(group for group in wish.reporting if group in groups),
            states=wish.states,
            search_commits=wish.search_commits,
            at=wish.at,
        )
        outcome = Rollback().plan(situation, RollbackOptions(int(options.get("days", 30))))
        if isinstance(outcome, Impossible):
            return outcome
        return replace(outcome, model=model, version=version, groups=groups)


@dataclass(frozen=True, slots=True)
class _Return:
    """One move that is undone: its deployments go back to what they were at ``good``."""

    move: Move
    keys: tuple[ObjectKey, ...]
    good: GoodState


class Rollback:
    """The registered step ``rollback``."""

    name = "rollback"
    schema: Mapping[str, Json] = MappingProxyType(
        {
            "type": "object",
            "additionalProperties": False,
            "properties": {
                "holdDays": {"type": "integer", "minimum": 1, "description": "how long the version is held"},
                "holdOwner": {"type": "string", "minLength": 1, "description": "who owns the hold"},
            },
        }
    )

    def plan(self, situation: Situation, options: object) -> Outcome:
        """See the port. ``options`` are :class:`RollbackOptions`."""
        if not isinstance(options, RollbackOptions):
            return Impossible("B308", f"expected options of a rollback, got {type(options).__name__}")
        incident, head = situation.incident, situation.history.fleet(situation.head)
        name = f"{incident.model} {incident.version}"
        if head.problems:
            return Impossible("B310", f"the branch has problems: {head.problems[0]}")
        if not situation.groups:
            return Impossible("B305", f"the branch no longer asks for {name}; there is nothing to undo")
        if situation.moves.unexplained:
            listed = ", ".join(situation.moves.unexplained)
            return Impossible(
                "B301", f"none of the last {situation.search_commits} commits moved {listed} to {incident.version}"
            )
        returns = []
        for move in situation.moves.moves:
            found = _return(situation, head, move)
            if isinstance(found, Impossible):
                return found
            returns.append(found)
        return _draft(situation, head, tuple(returns), options)


def _return(situation: Situation, head: FleetAt, move: Move) -> _Return | Impossible:
    incident, history = situation.incident, situation.history
    keys = {_deployment(document): object_key(document) for document in head.documents}
    if move.parent is None:
        return Impossible(
            "B302", f"{move.commit.sha[:12]}, which brought {incident.version}, is the first commit of all"
        )
    groups = tuple(
        group
        for (model, group), placement in sorted(head.placements.items())
        if model == incident.model and group in situation.groups and _deployment(placement.document) in move.deployments
    )
    good = last_good_state(
        history,
        move.parent,
        incident.model,
        groups,
        situation.reporting,
        situation.states,
        situation.search_commits,
    )
    before = history.fleet(good.commit)
    known = {asked.deployment for asked in before.asked(incident.model)}
    missing = [deployment for deployment in move.deployments if deployment not in known]
    if missing:
        return Impossible(
            "B302",
            f"{', '.join(missing)} did not exist in {good.commit[:12]}, so there is no earlier version to return to",
        )
    still = {asked.deployment for asked in before.asked(incident.model) if asked.version == incident.version}
    again = [deployment for deployment in move.deployments if deployment in still]
    if again:
        return Impossible("B309", f"{', '.join(again)} asked for {incident.version} in {good.commit[:12]} as well")
    return _Return(move, tuple(keys[deployment] for deployment in move.deployments), good)


def _deployment(document: Document) -> str:
    return f"{document.kind} {document.metadata.namespace}/{document.metadata.name}"


def _draft(situation: Situation, head: FleetAt, returns: tuple[_Return, ...], options: RollbackOptions) -> Outcome:
    incident, history = situation.incident, situation.history
    until = datetime.datetime.fromtimestamp(situation.at, datetime.UTC).date() + datetime.timedelta(options.hold_days)
    hold = new_hold(head.files, _hold(situation, head, options, until), returns[0].keys[0].namespace)
    files: Mapping[str, bytes] = head.files
    changes: dict[str, bytes | None] = {hold.file: hold.content}
    proofs: list[tuple[_Return, Proof]] = []
    for each in returns:
        good = history.fleet(each.good.commit)
        restoration, problems = restore_objects(files, good.files, each.keys)
        if problems:
            return Impossible("B303", f"{problems[0]}")
        result = restoration.applied_to(files)
        added: tuple[ObjectKey, ...] = ()
        if each is returns[-1]:  # the hold is proven together with the last step
            result, added = {**result, hold.file: hold.content}, (hold.key,)
        proof, problems = prove_restoration(files, good.files, result, each.keys, added)
        if proof is None:
            return Impossible("B303", f"{problems[0]}")
        drifted = _drifted(head, good, incident.model, each)
        if drifted:
            return Impossible("B303", drifted)
        proofs.append((each, proof))
        changes.update(restoration.changes)
        files = result
    good_version = _good_version(situation, returns)
    prefix = f"{history.path}/" if history.path else ""
    return Draft(
        title=printable(f"Roll back {incident.model} {incident.version} to {good_version}{_figure(situation)}", 150),
        changes={f"{prefix}{path}": content for path, content in changes.items()},
        good_version=good_version,
        restored_commit=returns[0].good.commit,
        verified=all(each.good.is_verified_for(situation.reporting) for each in returns),
        hold_until=until.isoformat(),
        facts=(
            *(line for each, proof in proofs for line in _proof_facts(each, proof)),
            FactLine(
                "Hold",
                f"{hold.key} keeps {incident.version} out until {until.isoformat()}, in {hold.file}",
                FactKind.FACT,
            ),
        ),
    )


def _drifted(head: FleetAt, good: FleetAt, model: str, each: _Return) -> str:
    """Why the good version would no longer be what it was, where that is so: its entry in the Model has changed since."""
    now, then = head.catalog.models.get(model), good.catalog.models.get(model)
    if now is None or then is None:
        return "" if now is then else f"Model {model} is in only one of {head.commit[:12]} and {good.commit[:12]}"
    versions = {
        version
        for (name, _), placement in good.placements.items()
        if name == model and object_key(placement.document) in each.keys
        for version in versions_of(placement)
    }
    for version in sorted(versions):
        entries = [[entry for entry in document.spec.versions if entry.version == version] for document in (now, then)]
        if entries[0] != entries[1]:
            return (
                f"Model {model}: version {version} is no longer what it was in {good.commit[:12]}; restore it by hand"
            )
    if now.spec.alignment != then.spec.alignment:
        return f"Model {model}: what is watched for bias has changed since {good.commit[:12]}; restore it by hand"
    return ""


def _hold(situation: Situation, head: FleetAt, options: RollbackOptions, until: datetime.date) -> HoldSpec:
    incident = situation.incident
    owner = options.hold_owner or head.catalog.groups[situation.groups[0]].spec.owner.team
    return HoldSpec(
        model=incident.model,
        owner=owner,
        reason=printable(f"breaks {incident.policy}{_figure(situation)} (incident {incident.id})", 500),
        until=until,
        version=incident.version,
    )


def _figure(situation: Situation) -> str:
    gauge = situation.incident.evidence.gauge
    return "" if gauge is None else f": {gauge_text(gauge)}"


def _good_version(situation: Situation, returns: tuple[_Return, ...]) -> str:
    """The version that most devices return to."""
    devices: dict[str, int] = {}
    for each in returns:
        good = situation.history.fleet(each.good.commit)
        for (model, group), placement in good.placements.items():
            if model == situation.incident.model and object_key(placement.document) in each.keys:
                version = placement.target.version if placement.percent * 2 >= 100 else versions_of(placement)[-1]
                count = good.catalog.groups[group].spec.device_count
                devices[version] = devices.get(version, 0) + count
    return max(sorted(devices), key=lambda version: devices[version]) if devices else ""


def _proof_facts(each: _Return, proof: Proof) -> tuple[FactLine, FactLine]:
    good = each.good
    known = f"measured and found fine in {', '.join(good.verified_groups)}" if good.verified_groups else "UNVERIFIED"
    if good.verified_groups and good.unverified_groups:
        known += f"; never measured in {', '.join(good.unverified_groups)}"
    listed = ", ".join(str(key) for key in proof.restored)
    return (
        FactLine("Returns to", f"commit {good.commit[:12]}: {known}", FactKind.FACT),
        FactLine(
            "Proof of equality",
            f"{listed} equal to {good.commit[:12]}; {proof.untouched} other objects as they are",
            FactKind.FACT,
        ),
    )
