"""Records for tests of the store."""

from __future__ import annotations

from dataclasses import replace

from tests.bot.approvals.table import NOW, ballot
from trimtab_bot.inbox.interface import FactKind
from trimtab_bot.records import CommitRecord, Evidence, FactLine, GaugeRecord, Incident, IncidentPhase, Proposal

OFFENDING = CommitRecord("e" * 40, "triage: release 1.2.0", "Bo <bo@example.org>", NOW - 300, ("Bo <bo@example.org>",))
FACTS = (FactLine("n", "812", FactKind.FACT), FactLine("harm", "about 40 an hour", FactKind.ESTIMATE))


def incident(incident_id: str = "i-1", **changes: object) -> Incident:
    made = Incident(
        id=incident_id,
        concern="fairness",
        model="triage",
        version="1.2.0",
        policy="people",
        phase=IncidentPhase.OPEN,
        evidence=Evidence(
            claim="{}",
            snapshot="{}",
            device_groups=("emea-kiosk",),
            observed_at=NOW,
            gauge=GaugeRecord(
                "disparate impact", "ratio", 0.45, 0.36, 0.56, 0.8, good_is_high=True, n=812, confidence=0.95
            ),
            facts=FACTS,
        ),
        title="triage 1.2.0 breaks people",
        summary="in plain words",
        detected_at=NOW,
    )
    return replace(made, **changes)  # type: ignore[arg-type]  # the tests name real fields


def proposal(proposal_id: str = "p-1", **changes: object) -> Proposal:
    made = Proposal(
        id=proposal_id,
        key=f"rollback/{proposal_id}",
        incident_id="i-1",
        remedy="rollback",
        title="Roll back triage",
        summary="in plain words",
        message="Roll back triage",
        model="triage",
        bad_version="1.2.0",
        good_version="1.1.0",
        verified=True,
        restored_commit="d" * 40,
        hold_until="2026-12-18",
        device_groups=("emea-kiosk",),
        devices=420,
        facts=FACTS,
        diff="-a\n+b\n",
        offending=OFFENDING,
        head_branch="trimtab/rollback",
        opened_at=NOW,
        ballot=ballot(),
    )
    return replace(made, **changes)  # type: ignore[arg-type]  # the tests name real fields
