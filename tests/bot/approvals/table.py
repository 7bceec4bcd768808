"""A proposal and the world around it, for the tests of the approval machine."""

from __future__ import annotations

from dataclasses import replace

from trimtab_bot.approvals.binding import Binding
from trimtab_bot.approvals.machine import Ballot, Circumstances, Electorate, Hosted, Phase, Voter
from trimtab_kernel.verdict import Verdict

NOW = 1_800_000_000.0
EXPIRES = NOW + 3600
BINDING = Binding(
    proposal="rollback/triage/1.2.0/aaaaaaaaaaaa/1",
    repository="/srv/fleet.git",
    branch="main",
    base="a" * 40,
    head="b" * 40,
    tree="c" * 40,
    undoes=("f" * 40,),
    targets=("emea-kiosk triage 1.2.0 -> 1.1.0", "latam-kiosk triage 1.2.0 -> 1.1.0"),
    evidence="sha256:" + "d" * 64,
    policy="sha256:" + "e" * 64,
    expires_at="2027-01-15T09:00:00.000Z",
    terms="sha256:" + "9" * 64,
)
VOTERS = {
    "ada": Voter("ada", may_decide=True, is_proposer=False),
    "bo": Voter("bo", may_decide=True, is_proposer=False),
    "cy": Voter("cy", may_decide=True, is_proposer=False),
    "vi": Voter("vi", may_decide=False, is_proposer=False),
    "bot": Voter("bot", may_decide=True, is_proposer=True),
}


CODES = {  # what a difference in each field of a binding is called
    "proposal": "B401",
    "repository": "B419",
    "branch": "B419",
    "base": "B412",
    "head": "B413",
    "tree": "B414",
    "undoes": "B415",
    "targets": "B415",
    "evidence": "B416",
    "policy": "B417",
    "expires_at": "B418",
    "terms": "B415",
}
BY_BO = Electorate(VOTERS, frozenset({"bo"}), ())


def ballot(phase: Phase = Phase.PENDING, **changes: object) -> Ballot:
    """A proposal against a change that bo wrote, made by the bot."""
    made = Ballot(
        phase=phase,
        binding=BINDING,
        digest=str(BINDING.digest()),
        expires_at=EXPIRES,
        proposer="bot",
    )
    return replace(made, **changes)  # type: ignore[arg-type]  # the tests name real fields


def world(**changes: object) -> Circumstances:
    """Nothing has changed since the proposal was made, and the evidence says breach."""
    now = Circumstances(
        at=NOW,
        binding=BINDING,
        standing=Verdict.BREACH,
        standing_reason="the whole interval is beyond the limit",
        quorum=1,
        electorate=BY_BO,
        hosted=Hosted.OPEN,
    )
    return replace(now, **changes)  # type: ignore[arg-type]  # the tests name real fields
