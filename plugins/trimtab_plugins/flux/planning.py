"""What must be written so that the cluster says what the store holds. Pure: objects and releases in, writes out.

The rules: a group's artifact moves only when the content of its files moves; what cannot be built leaves everything as it
is; nothing is touched that belongs to another owner; a group that left the tree loses its artifact only when the tree that
lacks it was built without a problem.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from typing import TYPE_CHECKING, Any, TypeAlias

from trimtab_kernel.identity import MAX_LABEL, MAX_NAME
from trimtab_kernel.problems import Problem, printable, quoted
from trimtab_kernel.vocabulary import FLEET_GROUP
from trimtab_plugins.flux.kinds import API_GROUP, API_VERSION, KIND, SOURCE_GROUP, SOURCE_VERSION

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from trimtab_plugins.flux.kinds import FleetArtifact

FIELD_MANAGER = "trimtab-flux-controller"
LABEL_MANAGED_BY = "app.kubernetes.io/managed-by"
LABEL_FLEET = f"{API_GROUP}/fleet-artifact"
ORIGIN_REVISION = "org.opencontainers.image.revision"
ARTIFACT_KIND = "ExternalArtifact"
SOURCE_API = f"{SOURCE_GROUP}/{SOURCE_VERSION}"
FLEET_API = f"{API_GROUP}/{API_VERSION}"
MESSAGE_BYTES = 1024
MAX_FLEET_NAME = MAX_NAME - MAX_LABEL - 1
"""Of a FleetArtifact's name, so that it and a group's name make the name of an object."""

Object: TypeAlias = "Mapping[str, Any]"


class Reason(StrEnum):
    """Reasons of the condition Ready. The first four are those of Flux's RFC 12."""

    SUCCEEDED = "Succeeded"
    FETCH_FAILED = "FetchFailed"
    STORAGE_FAILED = "StorageOperationFailed"
    VERIFICATION_FAILED = "VerificationFailed"
    COMPILE_FAILED = "CompileFailed"
    SOURCE_NOT_READY = "SourceNotReady"
    INVALID_SPEC = "InvalidSpec"
    CONFLICT = "Conflict"


@dataclass(frozen=True, slots=True)
class Published:
    """A release that the store holds, ready to be named: ``path`` below the store's root and the ``url`` that serves it."""

    group: str
    content: str
    revision: str
    digest: str
    size: int
    path: str
    url: str


@dataclass(frozen=True, slots=True)
class Built:
    """Every selected group is in the store. ``origin`` is the source's revision, such as ``main@sha1:<commit>``."""

    source_revision: str
    origin: str
    published: tuple[Published, ...]


@dataclass(frozen=True, slots=True)
class Failed:
    """Nothing new can be published. ``text`` is for people, at most 1 KiB of it is shown; ``lost`` names groups whose stored archive is gone."""

    reason: Reason
    text: str
    source_revision: str = ""
    lost: tuple[str, ...] = ()


Outcome: TypeAlias = Built | Failed


@dataclass(frozen=True, slots=True)
class Apply:
    """Server-side apply of an object's labels, owner and spec."""

    body: Object


@dataclass(frozen=True, slots=True)
class ApplyStatus:
    """Server-side apply of an object's status."""

    body: Object


@dataclass(frozen=True, slots=True)
class Delete:
    """Removal of exactly this object: another one of its name stays."""

    name: str
    uid: str
    resource_version: str


@dataclass(frozen=True, slots=True)
class Note:
    """A Kubernetes event about the FleetArtifact."""

    warning: bool
    reason: str
    text: str


Action: TypeAlias = Apply | ApplyStatus | Delete | Note


@dataclass(frozen=True, slots=True)
class Plan:
    """Writes in the order in which they are made. ``moved`` and ``removed`` are group names."""

    actions: tuple[Action, ...]
    moved: tuple[str, ...] = ()
    removed: tuple[str, ...] = ()
    conflicts: tuple[str, ...] = ()


def artifact_name(fleet: str, group: str) -> str:
    """The name of a group's ExternalArtifact."""
    return f"{fleet}-{group}"


def stamp(now: datetime) -> str:
    """Kubernetes' form of a time: UTC, whole seconds."""
    return now.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def plan(
    fleet: FleetArtifact,
    fleet_status: Mapping[str, Any],
    outcome: Outcome,
    present: Mapping[str, Object],
    now: datetime,
) -> Plan:
    """The writes that bring the cluster from ``present`` (ExternalArtifacts of the namespace, by name) to ``outcome``.

    ``fleet_status`` is the status that the FleetArtifact has now. Planning again after the writes gives no action.
    """
    if isinstance(outcome, Failed):
        return _plan_failure(fleet, fleet_status, outcome, present, now)
    draft = _Draft()
    problems: list[Problem] = []
    rows: list[dict[str, str]] = []
    for item in outcome.published:
        name = artifact_name(fleet.name, item.group)
        there = present.get(name)
        if len(name) > MAX_NAME:
            problems.append(
                Problem(
                    "A406",
                    got=f"{len(name)} characters",
                    expected=f"at most {MAX_NAME}",
                    hint="shorten the FleetArtifact's name",
                )
            )
            continue
        if there is not None and not _is_ours(there, fleet):
            problems.append(
                Problem("A407", got=f"ExternalArtifact {quoted(name)}", expected="none, or one of this FleetArtifact")
            )
            draft.conflicts.append(item.group)
            continue
        rows.append(_place(draft, fleet, item, there, outcome.origin, now))
    wanted = {artifact_name(fleet.name, item.group) for item in outcome.published}
    for name, there in sorted(present.items()):
        if name not in wanted and _is_ours(there, fleet):
            metadata = there["metadata"]
            draft.actions.append(Delete(name, metadata["uid"], metadata["resourceVersion"]))
            draft.removed.append(_group_of(there, fleet))
    if draft.moved or draft.removed:
        draft.actions.append(Note(False, "ArtifactsPublished", _news(outcome, draft)))
    if problems:
        ready = _condition(fleet, fleet_status, Reason.CONFLICT, told(problems), now)
    else:
        text = f"stored {len(outcome.published)} artifacts of {outcome.source_revision}"
        ready = _condition(fleet, fleet_status, Reason.SUCCEEDED, text, now)
    status = {
        "conditions": [ready],
        "observedGeneration": fleet.generation,
        "sourceRevision": outcome.source_revision,
        "groups": rows,
        "counts": {"selected": len(outcome.published), "published": len(rows)},
        **_handled(fleet),
    }
    _report(draft, fleet, fleet_status, status)
    return Plan(tuple(draft.actions), tuple(draft.moved), tuple(draft.removed), tuple(draft.conflicts))


@dataclass(slots=True)
class _Draft:
    actions: list[Action] = field(default_factory=list)
    moved: list[str] = field(default_factory=list)
    removed: list[str] = field(default_factory=list)
    conflicts: list[str] = field(default_factory=list)


def _plan_failure(
    fleet: FleetArtifact, fleet_status: Mapping[str, Any], failed: Failed, present: Mapping[str, Object], now: datetime
) -> Plan:
    """Only words: every artifact stays as it is, but those whose archive is gone and that nobody can fetch."""
    draft = _Draft()
    for group in failed.lost:
        there = present.get(artifact_name(fleet.name, group))
        if there is None or not _is_ours(there, fleet):
            continue
        status = there.get("status") or {}
        text = f"the stored archive is gone, and cannot be built again: {failed.text}"
        ready = _ready_condition(status, Reason.STORAGE_FAILED, text, now)
        if ready != _ready_of(status):
            kept = {"artifact": status["artifact"]} if "artifact" in status else {}
            draft.actions.append(ApplyStatus(_external(fleet, group, status={**kept, "conditions": [ready]})))
    status = {
        **{key: fleet_status[key] for key in ("sourceRevision", "groups", "counts") if key in fleet_status},
        "conditions": [_condition(fleet, fleet_status, failed.reason, failed.text, now)],
        "observedGeneration": fleet.generation,
        **_handled(fleet),
    }
    _report(draft, fleet, fleet_status, status)
    return Plan(tuple(draft.actions))


def _place(
    draft: _Draft, fleet: FleetArtifact, item: Published, there: Object | None, origin: str, now: datetime
) -> dict[str, str]:
    """One group's writes, and its row in the FleetArtifact's status."""
    status = (there or {}).get("status") or {}
    known = status.get("artifact") or {}
    same = known.get("revision") == item.revision
    if there is None or not _is_as_wanted(there, fleet, item.group):
        draft.actions.append(Apply(_external(fleet, item.group)))
    metadata = dict(known["metadata"]) if same and known.get("metadata") else {ORIGIN_REVISION: origin}
    artifact = {
        "path": item.path,
        "url": item.url,
        "revision": item.revision,
        "digest": item.digest,
        "size": item.size,
        # A commit that leaves the group's content alone is not its origin, so both stay as they were.
        "lastUpdateTime": known["lastUpdateTime"] if same and "lastUpdateTime" in known else stamp(now),
        "metadata": metadata,
    }
    ready = _ready_condition(status, Reason.SUCCEEDED, f"stored artifact for revision {item.revision}", now)
    if known != artifact or _ready_of(status) != ready:
        draft.actions.append(
            ApplyStatus(_external(fleet, item.group, status={"artifact": artifact, "conditions": [ready]}))
        )
    if not same:
        draft.moved.append(item.group)
    return {
        "name": item.group,
        "artifact": artifact_name(fleet.name, item.group),
        "revision": item.revision,
        "originRevision": str(metadata.get(ORIGIN_REVISION, "")),
    }


def _external(fleet: FleetArtifact, group: str, status: Object | None = None) -> Object:
    metadata: dict[str, Any] = {"name": artifact_name(fleet.name, group), "namespace": fleet.namespace}
    head = {"apiVersion": SOURCE_API, "kind": ARTIFACT_KIND}
    if status is not None:
        return {**head, "metadata": metadata, "status": status}
    metadata["labels"] = _labels(fleet, group)
    metadata["ownerReferences"] = [_owner(fleet)]
    return {**head, "metadata": metadata, "spec": {"sourceRef": _source_ref(fleet)}}


def _labels(fleet: FleetArtifact, group: str) -> dict[str, str]:
    labels = {LABEL_MANAGED_BY: "trimtab", FLEET_GROUP: group}
    if len(fleet.name) <= MAX_LABEL:
        labels[LABEL_FLEET] = fleet.name
    return labels


def _owner(fleet: FleetArtifact) -> dict[str, Any]:
    return {
        "apiVersion": FLEET_API,
        "kind": KIND,
        "name": fleet.name,
        "uid": fleet.uid,
        "controller": True,
        "blockOwnerDeletion": False,
    }


def _source_ref(fleet: FleetArtifact) -> dict[str, str]:
    return {"apiVersion": FLEET_API, "kind": KIND, "name": fleet.name, "namespace": fleet.namespace}


def _is_ours(there: Object, fleet: FleetArtifact) -> bool:
    owners = there["metadata"].get("ownerReferences") or ()
    return any(owner.get("uid") == fleet.uid and owner.get("controller") for owner in owners)


def _is_as_wanted(there: Object, fleet: FleetArtifact, group: str) -> bool:
    labels = there["metadata"].get("labels") or {}
    return (
        all(labels.get(key) == value for key, value in _labels(fleet, group).items())
        and (there.get("spec") or {}).get("sourceRef") == _source_ref(fleet)
        and _owner(fleet) in (there["metadata"].get("ownerReferences") or ())
    )


def _group_of(there: Object, fleet: FleetArtifact) -> str:
    labels = there["metadata"].get("labels") or {}
    return str(labels.get(FLEET_GROUP) or there["metadata"]["name"].removeprefix(f"{fleet.name}-"))


def _ready_of(status: Mapping[str, Any]) -> Mapping[str, Any]:
    for condition in status.get("conditions") or ():
        if condition.get("type") == "Ready":
            return dict(condition)
    return {}


def _condition(
    fleet: FleetArtifact, status: Mapping[str, Any], reason: Reason, text: str, now: datetime
) -> dict[str, Any]:
    return {**_ready_condition(status, reason, text, now), "observedGeneration": fleet.generation}


def _ready_condition(status: Mapping[str, Any], reason: Reason, text: str, now: datetime) -> dict[str, Any]:
    """The condition Ready; its time moves only when its status does."""
    before = _ready_of(status)
    ready = "True" if reason is Reason.SUCCEEDED else "False"
    since = before.get("lastTransitionTime") if before.get("status") == ready else None
    return {
        "type": "Ready",
        "status": ready,
        "reason": str(reason),
        "message": cut(text),
        "lastTransitionTime": since or stamp(now),
    }


def _handled(fleet: FleetArtifact) -> dict[str, str]:
    return {"lastHandledReconcileAt": fleet.requested_at} if fleet.requested_at else {}


def _report(draft: _Draft, fleet: FleetArtifact, before: Mapping[str, Any], status: Mapping[str, Any]) -> None:
    if _canonical(before) == _canonical(status):
        return
    new, old = _ready_of(status), _ready_of(before)
    if (new["status"], new["message"]) != (old.get("status"), old.get("message")) and new["status"] == "False":
        draft.actions.append(Note(True, new["reason"], new["message"]))
    metadata = {"name": fleet.name, "namespace": fleet.namespace}
    body = {"apiVersion": FLEET_API, "kind": KIND, "metadata": metadata, "status": status}
    draft.actions.append(ApplyStatus(body))


def _canonical(value: Mapping[str, Any]) -> str:
    return json.dumps(value, sort_keys=True)


def _news(outcome: Built, draft: _Draft) -> str:
    parts = []
    if draft.moved:
        parts.append(f"published {_listed(draft.moved)}")
    if draft.removed:
        parts.append(f"removed {_listed(draft.removed)}")
    return cut(f"{'; '.join(parts)}; source revision {outcome.source_revision}")


def _listed(names: list[str]) -> str:
    shown = ", ".join(names[:10])
    return shown if len(names) <= 10 else f"{shown} and {len(names) - 10} more"


def told(problems: Iterable[Problem]) -> str:
    """Problems for a condition: as many whole lines as fit into 1 KiB, and how many more there are."""
    lines = [str(problem) for problem in problems]
    tail = f"and {len(lines)} more; 'trimtab validate' shows all"
    shown: list[str] = []
    room = MESSAGE_BYTES - len(tail) - 1
    for line in lines:
        room -= len(line.encode()) + 1
        if room < 0 and (shown or len(lines) > 1):
            break
        shown.append(line)
    if not shown:
        shown = [cut(lines[0], MESSAGE_BYTES - len(tail) - 1)]
    left = len(lines) - len(shown)
    if left:
        shown.append(tail.replace(f"and {len(lines)} more", f"and {left} more"))
    return "\n".join(shown)


def cut(text: str, limit: int = MESSAGE_BYTES) -> str:
    """``text``, safe to show line by line, in at most ``limit`` bytes of UTF-8."""
    whole = "\n".join(printable(line) for line in text.split("\n")).encode()
    if len(whole) <= limit:
        return whole.decode()
    return whole[: limit - 3].decode("utf-8", "ignore") + "..."
