"""An inbox's other side for tests: it keeps proposals in memory and holds the two rules that the page must show."""

from __future__ import annotations

import dataclasses
import hashlib
import hmac

from trimtab_bot.inbox.interface import (
    Accepted,
    Commit,
    DecisionResult,
    Fact,
    FactKind,
    Gauge,
    PersonView,
    ProposalView,
    Refused,
    StatusView,
    TimelineEntry,
    WatchLine,
)

OPENED = 1_790_000_000.0
TOKENS = {"ada": "ada-token-0123456789", "bo": "bo-token-0123456789", "cy": "cy-token-0123456789"}


def view(proposal_id: str = "p-1", **changes: object) -> ProposalView:
    """A proposal as the bot's core would show it."""
    shown = ProposalView(
        id=proposal_id,
        number=1,
        title="Roll back triage 1.2.0 to 1.1.0: disparate impact 0.45, limit 0.8",
        state="proposed",
        open_for_decision=True,
        summary="triage 1.2.0 refers women far less often than men.\nThe whole 95 % interval is below the limit of 0.8.",
        model="triage",
        bad_version="1.2.0",
        good_version="1.1.0",
        verified=True,
        device_groups=("emea-kiosk", "latam-kiosk"),
        devices=420,
        facts=(
            Fact("Disparate impact", "0.45, 95 % interval 0.36 to 0.56, n = 812", FactKind.FACT),
            Fact("Selection rate, female", "21.0 % of 400", FactKind.FACT),
            Fact("Selection rate, male", "46.6 % of 412", FactKind.FACT),
            Fact("People affected each hour", "about 1,900", FactKind.ESTIMATE),
        ),
        gauge=Gauge("Disparate impact", "", 0.45, 0.36, 0.56, 0.8, good_is_high=True, n=812, confidence=0.95),
        diff='--- a/deployments/triage.yaml\n+++ b/deployments/triage.yaml\n@@ -9,1 +9,1 @@\n-    version: "1.2.0"\n+    version: "1.1.0"\n',
        digest="sha256:" + hashlib.sha256(proposal_id.encode()).hexdigest(),
        base="a" * 40,
        head="b" * 40,
        opened_at=OPENED,
        expires_at=OPENED + 86400,
        proposer="Trimtab Bot",
        offending=Commit("c" * 40, "triage: release 1.2.0 to kiosks", "Bo Builder <bo@example.com>", OPENED - 300),
        approvals=(),
        quorum=1,
        timeline=(TimelineEntry(OPENED - 60, "breach found"), TimelineEntry(OPENED, "rollback proposed")),
        refused_for={"bo": "B402 Bo Builder is an author of the change that this rolls back"},
    )
    return dataclasses.replace(shown, **changes)  # type: ignore[arg-type]  # the tests name real fields


class Desk:
    """Implements Decisions and Directory."""

    def __init__(self, *views: ProposalView) -> None:
        self.views = {shown.id: shown for shown in views}
        self.decided: list[tuple[str, str, str, str]] = []
        self.healthy = True

    def proposals(self) -> tuple[ProposalView, ...]:
        return tuple(self.views.values())

    def proposal(self, proposal_id: str) -> ProposalView | None:
        return self.views.get(proposal_id)

    def approve(self, proposal_id: str, person_id: str, digest: str) -> DecisionResult:
        return self._decide("approve", proposal_id, person_id, digest, "")

    def deny(self, proposal_id: str, person_id: str, digest: str, reason: str) -> DecisionResult:
        return self._decide("deny", proposal_id, person_id, digest, reason)

    def _decide(self, verb: str, proposal_id: str, person_id: str, digest: str, reason: str) -> DecisionResult:
        shown = self.views.get(proposal_id)
        if shown is None or digest != shown.digest:
            return Refused("B405", "the proposal has changed since you looked")
        if verb == "approve" and person_id in shown.refused_for:
            code, _, why = shown.refused_for[person_id].partition(" ")
            return Refused(code, why)
        self.decided.append((verb, proposal_id, person_id, reason))
        self.views[proposal_id] = dataclasses.replace(shown, state=f"{verb}d", open_for_decision=False)
        return Accepted(f"{verb} recorded")

    def status(self) -> StatusView:
        lines = (
            WatchLine(
                "triage",
                "1.2.0",
                "disparate impact",
                "breach",
                "the whole interval is beyond the limit",
                "0.45",
                "0.36 to 0.56",
                812,
                "2 s old",
            ),
            WatchLine(
                "digits",
                "2.1.0",
                "cost per 1,000 inferences",
                "fine",
                "the whole interval is within the limit",
                "0.0011 EUR",
                "0.0010 to 0.0012",
                2400,
                "2 s old",
            ),
            WatchLine(
                "triage",
                "1.1.0",
                "disparate impact",
                "unknown",
                "sample of 12 is below the minimum of 200",
                "0.9",
                "0.4 to 1.9",
                12,
                "stale",
            ),
        )
        return StatusView(f"r{len(self.decided)}", "Prometheus at 127.0.0.1:9090", OPENED, self.healthy, "", lines)

    def by_token(self, token: str) -> PersonView | None:
        found = None
        for person_id, own in TOKENS.items():
            if hmac.compare_digest(own.encode(), token.encode()):
                found = person_id
        return self.by_id(found) if found else None

    def by_id(self, person_id: str) -> PersonView | None:
        names = {"ada": "Ada Approver", "bo": "Bo Builder", "cy": "Cy Reader"}
        return PersonView(person_id, names[person_id], person_id != "cy") if person_id in names else None
