"""What receivers are told of an incident. Pure: the same incident gives the same event, and each event has a key for ever.

PagerDuty's Events API v2 (https://developer.pagerduty.com/docs/events-api-v2/trigger-events/): ``trigger`` and ``resolve`` of one
``dedup_key``; a repeat changes nothing. Alertmanager's API v2 (https://prometheus.io/docs/alerting/latest/clients/): alerts that
are sent again while they last, each time with an end a little ahead.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from trimtab_bot.moments import moment_text
from trimtab_bot.records import IncidentPhase
from trimtab_kernel.problems import printable

if TYPE_CHECKING:
    from trimtab_bot.records import Incident
    from trimtab_kernel.canonical import Json

SOURCE = "trimtab"
LASTING_SECONDS = 240.0
"""An alert that is not sent again for so long is over: four times the pause between two sendings."""
_SUMMARY = 1024


def page(incident: Incident, at: float) -> tuple[str, dict[str, Json]] | None:
    """The event that PagerDuty must have got by now, and its key; None where it is to be left alone.

    One for the opening, one more where the bot calls for help (critical), one for the end. What is silenced pages nobody.
    """
    dedup = f"{SOURCE}/{incident.id}"
    if incident.phase is IncidentPhase.CLOSED:
        return f"{incident.id}/resolve", {"event_action": "resolve", "dedup_key": dedup}
    if at < incident.silenced_until:
        return None
    called = incident.escalated_at is not None
    because = f": {incident.escalated_because}" if called else ""
    return f"{incident.id}/{'escalate' if called else 'trigger'}", {
        "event_action": "trigger",
        "dedup_key": dedup,
        "payload": {
            "summary": printable(f"{incident.title}{because}", _SUMMARY),
            "source": SOURCE,
            "severity": "critical" if called else "error",
            "timestamp": moment_text(incident.detected_at),
            "component": incident.model,
            "group": ", ".join(incident.device_groups)[:_SUMMARY],
            "class": incident.concern,
            "custom_details": {fact.label: fact.value for fact in incident.evidence.facts},
        },
    }


def alert(incident: Incident, at: float) -> dict[str, Json]:
    """The incident as Alertmanager takes it: firing until a little ahead of now, or over since it was closed."""
    over = incident.phase is IncidentPhase.CLOSED
    end = (incident.closed_at or at) if over else at + LASTING_SECONDS
    return {
        "labels": {
            "alertname": "TrimtabIncident",
            "incident": incident.id,
            "model": incident.model,
            "version": incident.version,
            "policy": incident.policy,
            "concern": incident.concern,
        },
        "annotations": {
            "summary": printable(incident.title, _SUMMARY),
            "description": printable(incident.summary, 4000),
            "escalated": printable(incident.escalated_because, _SUMMARY),
        },
        "startsAt": moment_text(incident.detected_at),
        "endsAt": moment_text(end),
    }
