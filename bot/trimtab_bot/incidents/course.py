"""The course of an incident: which events may move it, and what each leaves behind. Pure.

    open -> watching -> converged -> closed

An incident is opened by an alarm, watched once the branch no longer asks for the bad version (by whoever's hand),
converged once no reachable device runs it, and closed once the good version's figure is fine. It may be closed at any
time where the figure of the version itself has become fine. Escalation is no state: it is a call for help, made once,
while the course goes on.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from trimtab_bot.inbox.interface import FactKind
from trimtab_bot.moments import moment_text
from trimtab_bot.records import Evidence, FactLine, Incident, IncidentPhase
from trimtab_kernel.canonical import canonical_json, digest_of
from trimtab_kernel.problems import printable

if TYPE_CHECKING:
    from trimtab_bot.findings import Finding
    from trimtab_bot.incidents.harm import Harm
    from trimtab_bot.records import CommitRecord, Request
    from trimtab_kernel.canonical import Json

P = IncidentPhase
REQUEST = "request"
"""The concern of a case begins with this, where it is no breach but a remedy that was asked for."""
COURSE: Mapping[IncidentPhase, frozenset[IncidentPhase]] = MappingProxyType(
    {
        P.OPEN: frozenset({P.WATCHING, P.CLOSED}),
        P.WATCHING: frozenset({P.CONVERGED, P.OPEN, P.CLOSED}),
        P.CONVERGED: frozenset({P.CLOSED, P.WATCHING}),
        P.CLOSED: frozenset(),
    }
)
"""Phase -> the phases that may follow. WATCHING leads back to OPEN where the branch asks for the bad version again."""


class OffCourseError(AssertionError):
    """The driver asked for a step that the course does not have: a mistake in the program."""


def _moved(incident: Incident, phase: IncidentPhase) -> Incident:
    if phase is not incident.phase and phase not in COURSE[incident.phase]:
        raise OffCourseError(f"incident {incident.id}: {incident.phase.value} -> {phase.value}")
    return replace(incident, phase=phase)


def incident_id(concern: str, model: str, version: str, at: float) -> str:
    """``i-`` and ten hex digits: a name that no other incident has, on this bot or after its state was lost."""
    return f"i-{digest_of([concern, model, version, moment_text(at)]).hex[:10]}"


def opened(
    finding: Finding,
    evidence: Evidence,
    at: float,
    *,
    offending: CommitRecord | None,
    device_groups: tuple[str, ...],
    devices: int,
    harm: Harm | None,
) -> Incident:
    """An alarm has been raised. ``device_groups`` are those that the branch tells to run the version.

    Title and summary are the narrator's (see :func:`told`).
    """
    return Incident(
        id=incident_id(finding.concern.value, finding.model, finding.version, at),
        concern=finding.concern.value,
        model=finding.model,
        version=finding.version,
        policy=finding.policy,
        phase=P.OPEN,
        evidence=evidence,
        title="",
        summary="",
        detected_at=at,
        devices=devices,
        harm=harm,
        offending=offending,
        device_groups=device_groups,
    )


def requested(request: Request, model: str, version: str, at: float) -> Incident:
    """Somebody asked for a remedy: its case. The evidence is that it was asked for, and by whom.

    One case is open for one remedy of one target: the concern names both.
    """
    concern = f"{REQUEST}/{request.remedy}/{request.target}"
    claim: dict[str, Json] = {
        "remedy": request.remedy,
        "target": request.target,
        "options": [list(option) for option in request.options],
        "reason": request.reason,
        "by": request.by,
    }
    text = canonical_json(claim).decode()
    facts = (
        FactLine("Asked for by", request.by, FactKind.FACT),
        FactLine("Because", printable(request.reason, 500), FactKind.FACT),
    )
    return Incident(
        id=incident_id(concern, model, version, at),
        concern=concern,
        model=model,
        version=version,
        policy=f"the request of {request.by}",
        phase=P.OPEN,
        evidence=Evidence(text, text, (), at, None, facts),
        title=printable(f"{request.remedy} {request.target}: {request.reason}", 150),
        summary=printable(f"{request.by} asks for {request.remedy} of {request.target}: {request.reason}", 500),
        detected_at=at,
        request=request,
    )


def told(incident: Incident, title: str, summary: str) -> Incident:
    """The narrator's words."""
    return replace(incident, title=title, summary=summary)


def proposed(incident: Incident, proposal_id: str, good_version: str, at: float) -> Incident:
    """A remedy has been proposed; the first proposal's time stays."""
    moved = _moved(incident, P.OPEN)
    return replace(
        moved,
        proposal_id=proposal_id,
        good_version=good_version,
        proposed_at=incident.proposed_at or at,
        obstacle_code="",
        obstacle="",
        obstacle_base="",
    )


def blocked(incident: Incident, code: str, reason: str, base: str) -> Incident:
    """Nothing can be proposed at this ``base``; with ``""``: a person decided against it, whatever the base."""
    return replace(_moved(incident, P.OPEN), obstacle_code=code, obstacle=reason, obstacle_base=base)


def watched(
    incident: Incident, *, good_version: str | None, remedied_by: str, at: float, approved_at: float | None = None
) -> Incident:
    """The branch no longer asks for the version."""
    return replace(
        _moved(incident, P.WATCHING),
        good_version=good_version,
        remedied_by=remedied_by,
        approved_at=approved_at,
        merged_at=at,
        converged_at=None,
        **_UNDELIVERED,
    )


_UNDELIVERED: Mapping[str, Any] = MappingProxyType(
    {"seen_at": None, "synced_at": None, "healthy_at": None, "delivery": ""}
)


def reopened(incident: Incident) -> Incident:
    """The branch asks for the version again: what was done is undone."""
    moved = _moved(incident, P.OPEN)
    return replace(moved, proposal_id=None, merged_at=None, approved_at=None, remedied_by="", **_UNDELIVERED)


def delivered(incident: Incident, stage: str, at: float) -> Incident:
    """Every group's cluster has come to this stage: ``seen``, ``synced`` or ``healthy``. The first time stays."""
    first: dict[str, Any] = {f"{stage}_at": getattr(incident, f"{stage}_at") or at}
    return replace(incident, **first)


def converged(incident: Incident, at: float) -> Incident:
    """No reachable device runs the version any more."""
    return replace(_moved(incident, P.CONVERGED), converged_at=at)


def relapsed(incident: Incident) -> Incident:
    """A device that runs the version has come back within reach."""
    return replace(_moved(incident, P.WATCHING), converged_at=None)


def recovered(incident: Incident, at: float) -> Incident:
    """The good version's figure is fine."""
    return replace(_moved(incident, P.CLOSED), recovered_at=at, closed_at=at, closed_because="the fleet has recovered")


def closed(incident: Incident, at: float, because: str) -> Incident:
    """It is over without a recovery of the fleet."""
    return replace(_moved(incident, P.CLOSED), closed_at=at, closed_because=because)


def escalated(incident: Incident, at: float, because: str) -> Incident:
    """People are called for, once."""
    return replace(incident, escalated_at=at, escalated_because=because)


UNTIL_RESOLVED = 253_402_300_799.0
"""The end of the year 9999: a silence that lasts as long as its incident."""


def taken(incident: Incident, person: str, at: float) -> Incident:
    """Somebody looks after it."""
    return replace(incident, taken_by=person, taken_at=at)


def silenced(incident: Incident, until: float, because: str) -> Incident:
    """Nobody is called for help until then (Unix seconds)."""
    return replace(incident, silenced_until=until, silenced_because=because)


def is_silent(incident: Incident, at: float) -> bool:
    """Whether calls for help are held back at this time."""
    return at < incident.silenced_until
