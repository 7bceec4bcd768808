"""There is no path to a merge without enough distinct persons who may decide: arbitrary dialogues, tried by Hypothesis."""

from __future__ import annotations

from dataclasses import replace

import hypothesis.strategies as st
from hypothesis import settings
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from tests.bot.approvals.table import BINDING, EXPIRES, NOW, VOTERS, ballot
from trimtab_bot.approvals.machine import (
    Approve,
    Ballot,
    Circumstances,
    Command,
    Deny,
    Electorate,
    Event,
    Hosted,
    Look,
    Merge,
    Merged,
    NotReady,
    Opened,
    Phase,
    step,
)
from trimtab_kernel.verdict import Verdict

DIGEST = str(BINDING.digest())
PEOPLE = st.sampled_from([*sorted(VOTERS), "eve", "", "ADA"])
DIGESTS = st.sampled_from([DIGEST, DIGEST, DIGEST, "sha256:" + "0" * 64])


class Approvals(RuleBasedStateMachine):
    """A world that changes in any order, and people who do anything at any time."""

    def __init__(self) -> None:
        super().__init__()
        self.state: Ballot = ballot(Phase.DRAFT)
        self.at = NOW
        self.binding = BINDING
        self.standing = Verdict.BREACH
        self.quorum = 1
        self.voters = dict(VOTERS)
        self.also_wrote: set[str] = set()
        self.strangers: tuple[str, ...] = ()
        self.hosted = Hosted.ABSENT
        self.approved_by: set[str] = set()
        self.merges: list[Merge] = []
        self.ever_final: Phase | None = None

    def now(self) -> Circumstances:
        return Circumstances(
            at=self.at,
            binding=self.binding,
            standing=self.standing,
            standing_reason="as said",
            quorum=self.quorum,
            electorate=Electorate(self.voters, frozenset({"bo"} | self.also_wrote), self.strangers),
            hosted=self.hosted,
            merged="f" * 40 if self.hosted is Hosted.MERGED else None,
        )

    def bring(self, event: Event) -> tuple[Command, ...]:
        self.state, commands = step(self.state, event)
        for command in commands:
            if isinstance(command, Merge):
                self.check_merge(command)
                self.merges.append(command)
        return commands

    def check_merge(self, merge: Merge) -> None:
        """Judged by this test's own book of who clicked what, not by the machine's memory."""
        assert len(set(merge.approvers)) == len(merge.approvers) >= self.quorum
        assert set(merge.approvers) <= self.approved_by
        assert not set(merge.approvers) & {"bo", "bot", "eve", "", "ADA"}
        assert not set(merge.approvers) & self.also_wrote
        assert self.strangers == ()
        assert all(self.voters[person].may_decide for person in merge.approvers)
        assert self.binding == BINDING
        assert self.standing is Verdict.BREACH
        assert self.at < EXPIRES
        assert (merge.base, merge.head, merge.digest) == (BINDING.base, BINDING.head, DIGEST)

    # ------------------------------------------------ what happens

    @rule()
    def open(self) -> None:
        if self.state.phase is Phase.DRAFT:
            self.hosted = Hosted.OPEN
            self.bring(Opened(self.now()))

    @rule(person=PEOPLE, digest=DIGESTS)
    def approve(self, person: str, digest: str) -> None:
        if digest == DIGEST and self.state.phase is Phase.PENDING:
            self.approved_by.add(person)
        self.bring(Approve(person, digest, self.now()))

    @rule(person=st.sampled_from(["ada", "cy"]))
    def things_go_well(self, person: str) -> None:
        """The world is as it was, and somebody who may approves: without this, random walks seldom reach a merge."""
        if self.hosted is not Hosted.MERGED:
            self.binding = BINDING
        self.standing = Verdict.BREACH
        self.open()
        self.approve(person, DIGEST)
        self.look()

    @rule(person=PEOPLE, digest=DIGESTS, reason=st.sampled_from(["no", " "]))
    def deny(self, person: str, digest: str, reason: str) -> None:
        self.bring(Deny(person, digest, reason, self.now()))

    @rule()
    def look(self) -> None:
        self.bring(Look(self.now()))

    @rule()
    def the_host_merges(self) -> None:
        if self.state.phase is Phase.EXECUTING:
            self.hosted = Hosted.MERGED
            self.bring(Merged("f" * 40, self.now()))

    @rule()
    def the_host_merges_and_the_bot_dies_before_it_knows(self) -> None:
        if self.state.phase is Phase.EXECUTING:
            self.hosted = Hosted.MERGED
            self.binding = replace(BINDING, base="f" * 40)

    @rule()
    def the_host_is_not_ready(self) -> None:
        if self.state.phase is Phase.EXECUTING and self.hosted is Hosted.OPEN:
            self.bring(NotReady("busy", self.now()))

    @rule(seconds=st.sampled_from([1.0, 1000.0, 3600.0]))
    def time_passes(self, seconds: float) -> None:
        self.at += seconds

    @rule(standing=st.sampled_from(Verdict))
    def the_evidence_changes(self, standing: Verdict) -> None:
        self.standing = standing

    @rule(field=st.sampled_from(["base", "head", "tree", "evidence", "policy"]), back=st.booleans())
    def the_world_changes(self, field: str, back: bool) -> None:
        if self.hosted is not Hosted.MERGED:
            other = replace(self.binding, **{field: "9" * 40})  # type: ignore[arg-type]  # these fields are text
            self.binding = BINDING if back else other

    @rule(quorum=st.integers(0, 3))
    def the_quorum_changes(self, quorum: int) -> None:
        self.quorum = quorum

    @rule(person=st.sampled_from(sorted(VOTERS)), may=st.booleans())
    def a_role_changes(self, person: str, may: bool) -> None:
        self.voters[person] = replace(self.voters.get(person, VOTERS[person]), may_decide=may)

    @rule(person=st.sampled_from(["ada", "cy"]), wrote=st.booleans())
    def an_identity_is_claimed(self, person: str, wrote: bool) -> None:
        self.also_wrote = self.also_wrote | {person} if wrote else self.also_wrote - {person}

    @rule(strangers=st.sampled_from([(), ("Mallory <m@example.org>",)]))
    def a_stranger_is_found_or_known(self, strangers: tuple[str, ...]) -> None:
        self.strangers = strangers

    # ------------------------------------------------ what always holds

    @invariant()
    def nothing_merges_without_being_asked_to(self) -> None:
        if self.state.phase is Phase.MERGED and self.state.code != "B430":
            assert self.merges

    @invariant()
    def an_end_is_an_end(self) -> None:
        if self.ever_final is not None:
            assert self.state.phase is self.ever_final
        if self.state.phase.is_final:
            self.ever_final = self.state.phase


TestApprovals = Approvals.TestCase
TestApprovals.settings = settings(max_examples=150, stateful_step_count=30)
