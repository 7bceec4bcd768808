"""From what devices report to the status of one EdgeAIDeployment. Pure.

The conditions follow kstatus (sigs.k8s.io/cli-utils, pkg/kstatus): ``Ready`` is what people read; ``Reconciling`` and ``Stalled``
are there only while they hold, and tools that wait know them. A device that does not answer counts as neither well nor ill:
it is listed, and nothing waits for it as long as any device of the group answers.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

from trimtab_kernel import vocabulary
from trimtab_kernel.problems import printable
from trimtab_kernel.records import dataclass

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_MOST_VERSIONS = 20
"""Versions that are listed one by one, the most frequent first; the others are counted together."""
_MOST_NAMES = 5
_NAME_LENGTH = 80
_REST = "others"


@dataclass(frozen=True, slots=True)
class ModelReport:
    """What one agent says of one model: versions, None where it has or is asked for none; digests that it will not try."""

    desired: str | None = None
    active: str | None = None
    quarantined: int = 0


@dataclass(frozen=True, slots=True)
class AgentReport:
    """What one agent says: whether it can obey its document, and each model it knows."""

    valid: bool
    models: Mapping[str, ModelReport]


@dataclass(frozen=True, slots=True)
class Device:
    """One device of a group. ``report`` is None where its agent did not answer, and ``silence`` says why."""

    name: str
    report: AgentReport | None
    silence: str = ""


def status_of(deployment: Mapping[str, Any], devices: Sequence[Device], now: str) -> dict[str, Any]:
    """The whole status of ``deployment`` (an object as the API server gives it). ``now`` is RFC 3339 in UTC.

    Equal reports give an equal status: a condition keeps its time for as long as its status stays.
    """
    metadata = deployment["metadata"]
    annotations = metadata.get("annotations") or {}
    spec = deployment.get("spec") or {}
    reference = spec.get("modelRef") or {}
    model = str(reference.get("name", ""))
    target = annotations.get(vocabulary.FLEET_VERSION) or str(reference.get("version", ""))
    allowed = _allowed(spec, annotations, target)
    generation = int(metadata.get("generation") or 0)

    heard = [(device, device.report) for device in devices if device.report is not None]
    silent = [device.name for device in devices if device.report is None]
    refusing = [device.name for device, report in heard if not report.valid]
    ready, waiting, stuck, behind = 0, [], [], []
    versions: Counter[str] = Counter()
    for device, report in heard:
        found = report.models.get(model, ModelReport())
        if found.active is not None:
            versions[found.active] += 1
        if not report.valid:
            continue
        if found.desired not in allowed:
            behind.append(device.name)
        elif found.active == found.desired:
            ready += 1
        elif found.quarantined:
            stuck.append(device.name)
        else:
            waiting.append(device.name)

    counts = {
        "total": len(devices),
        "reporting": len(heard),
        "ready": ready,
        "updating": len(waiting) + len(behind),
        "stalled": len(stuck) + len(refusing),
    }
    told = [
        _told(
            stuck,
            "will not try what it is asked for again for now",
            "will not try what they are asked for again for now",
        ),
        _told(refusing, "cannot obey its desired document", "cannot obey their desired document"),
        _told(waiting, "is on the way", "are on the way"),
        _told(behind, "has not seen this version of the document", "have not seen this version of the document"),
        _told(silent, "does not answer", "do not answer"),
    ]
    summary = f"{ready} of {len(heard)} devices that answer run what they are asked for"
    message = "; ".join([summary, *(each for each in told if each)])
    conditions = [_ready(counts, message, generation)]
    if stuck or refusing:
        reason = "DocumentRefused" if refusing else "Quarantined"
        conditions.append(_condition("Stalled", "True", reason, message, generation))
    elif waiting or behind:
        conditions.append(_condition("Reconciling", "True", "Updating", message, generation))
    before = {each.get("type"): each for each in (deployment.get("status") or {}).get("conditions") or ()}
    for each in conditions:
        was = before.get(each["type"]) or {}
        each["lastTransitionTime"] = was["lastTransitionTime"] if was.get("status") == each["status"] else now
    return {
        "observedGeneration": generation,
        "devices": counts,
        "versions": _versions(versions),
        "conditions": conditions,
    }


def _allowed(spec: Mapping[str, Any], annotations: Mapping[str, Any], target: str) -> frozenset[str | None]:
    """What an agent that has read the newest document may be asked for.

    Within a wave that is the target, the stable version, or nothing; which of them a device is asked for, its agent knows.
    """
    if vocabulary.FLEET_WAVE not in annotations:
        return frozenset({target})
    stable = ((spec.get("rollout") or {}).get("stable") or {}).get("version")
    return frozenset({target, None if stable is None else str(stable), None})


def _ready(counts: Mapping[str, int], message: str, generation: int) -> dict[str, Any]:
    if not counts["total"]:
        return _condition("Ready", "Unknown", "NoDevices", "no pod of the group runs on any node", generation)
    if not counts["reporting"]:
        return _condition("Ready", "Unknown", "NoReports", message, generation)
    if counts["stalled"]:
        return _condition("Ready", "False", "Stalled", message, generation)
    if counts["updating"]:
        return _condition("Ready", "False", "Updating", message, generation)
    return _condition("Ready", "True", "AllCurrent", message, generation)


def _condition(kind: str, status: str, reason: str, message: str, generation: int) -> dict[str, Any]:
    return {
        "type": kind,
        "status": status,
        "reason": reason,
        "message": message,
        "observedGeneration": generation,
    }


def _told(names: Sequence[str], one: str, many: str) -> str:
    """Who does something, by name where they are few."""
    if not names:
        return ""
    listed = ", ".join(printable(name, _NAME_LENGTH) for name in sorted(names)[:_MOST_NAMES])
    more = f" and {len(names) - _MOST_NAMES} more" if len(names) > _MOST_NAMES else ""
    return f"{listed}{more} {one if len(names) == 1 else many}"


def _versions(counted: Counter[str]) -> list[dict[str, Any]]:
    # Whoever calls a version so is counted with the rest: names of versions are keys.
    ordered = sorted((each for each in counted.items() if each[0] != _REST), key=lambda each: (-each[1], each[0]))
    listed = [{"version": version, "devices": count} for version, count in ordered[:_MOST_VERSIONS]]
    rest = counted[_REST] + sum(count for _, count in ordered[_MOST_VERSIONS:])
    return [*listed, {"version": _REST, "devices": rest}] if rest else listed
