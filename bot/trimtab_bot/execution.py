"""Effects on the Git host: opening, merging and closing proposals. Each may be repeated after a crash at any point.

The order is always the same: the intent is durable in store and ledger, the host is asked, the answer is recorded in
both. What the host was asked before a crash is found out from the host (every call is idempotent by key, number or
expected commits), never assumed.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from trimtab_bot.adoption import is_adopted
from trimtab_bot.approvals.machine import CloseOnHost, Merge, Merged, NotOpened, NotReady, Opened, Phase, step
from trimtab_bot.ledger.interface import EntryKind
from trimtab_bot.moments import moment_text
from trimtab_bot.recording import record
from trimtab_bot.records import TimelineRecord
from trimtab_config.githost.interface import APPROVED_TRAILER, DIGEST_TRAILER
from trimtab_config.githost.interface import Merged as HostMerged
from trimtab_kernel.problems import InputError, Problem

if TYPE_CHECKING:
    from trimtab_bot.circumstances import World
    from trimtab_bot.configuration import Configuration
    from trimtab_bot.linking.own_reviews import OwnReviews
    from trimtab_bot.moments import Clock
    from trimtab_bot.recording import Scribe
    from trimtab_bot.records import Proposal
    from trimtab_bot.store.interface import Store, Writing
    from trimtab_config.githost.interface import GitHost
    from trimtab_config.githost.interface import Proposal as HostProposal


class Executor:
    """Carries out what the approval machine commands. Used by the loop alone."""

    def __init__(
        self,
        configuration: Configuration,
        store: Store,
        scribe: Scribe,
        host: GitHost,
        world: World,
        clock: Clock,
        reviews: OwnReviews | None = None,
    ) -> None:
        """All of these are shared with the loop. ``reviews`` submits approvals as people's own, where accounts are linked."""
        self._reviews = reviews
        self._configuration = configuration
        self._store = store
        self._scribe = scribe
        self._host = host
        self._world = world
        self._clock = clock

    def open(self, proposal: Proposal) -> None:
        """Put a draft on the host. Raises OutsideError; the next tick tries again."""
        self._scribe.flush()
        binding = proposal.ballot.binding
        try:
            hosted = self._adopted(proposal) or self._host.open_proposal(
                key=proposal.key,
                base=self._configuration.branch,
                branch=proposal.head_branch,
                commit=binding.head,
                title=proposal.title,
                body=proposal.summary,
                meta={"proposal": proposal.id, "incident": proposal.incident_id, "digest": proposal.ballot.digest},
            )
        except InputError as error:
            self._refused(proposal, str(error.problems[0]))
            return
        at = self._clock()
        with self._store.transaction() as work:
            now = work.proposal(proposal.id)
            incident = work.incident(proposal.incident_id)
            if now is None or incident is None or now.ballot.phase is not Phase.DRAFT:
                return
            opened = replace(now, number=hosted.number)
            ballot, _ = step(now.ballot, Opened(self._world.now(opened, incident)))
            work.put_proposal(replace(opened, ballot=ballot))
            work.add_timeline(TimelineRecord(now.incident_id, at, f"proposal {hosted.number} opened: {now.title}"))
            work.add_record(
                record(
                    *(f"{now.id}/open/done", EntryKind.EFFECT, at, now.id, "proposal"),
                    proposal=now.id,
                    number=hosted.number,
                    incident=now.incident_id,
                    model=now.model,
                    version=now.bad_version,
                    good_version=now.good_version,
                    digest=now.ballot.digest,
                    text=now.title,
                )
            )
        self._scribe.flush()

    def _adopted(self, proposal: Proposal) -> HostProposal | None:
        """The pull request that a person opened, where the proposal is that one; its every change is found out later."""
        if not is_adopted(proposal.key) or proposal.number is None:
            return None
        hosted = self._host.proposal(proposal.number)
        if hosted is None:
            raise InputError(Problem("G203", field="number", got=f"no pull request {proposal.number}"))
        return hosted

    def _refused(self, proposal: Proposal, reason: str) -> None:
        """The host does not take the draft (a branch of that name is elsewhere, say); the response proposes another."""
        at = self._clock()
        with self._store.transaction() as work:
            now = work.proposal(proposal.id)
            incident = work.incident(proposal.incident_id)
            if now is None or incident is None or now.ballot.phase is not Phase.DRAFT:
                return
            ballot, _ = step(now.ballot, NotOpened(reason, self._world.now(now, incident)))
            text = f"not opened: {ballot.code} {ballot.reason}"
            work.put_proposal(replace(now, ballot=ballot, closed_on_host=True))
            work.add_timeline(TimelineRecord(now.incident_id, at, text))
            work.add_record(
                record(
                    *(f"{now.id}/open/refused", EntryKind.EFFECT, at, now.id, "not-opened"), proposal=now.id, text=text
                )
            )
        self._scribe.flush()

    def review(self, proposal: Proposal) -> None:
        """Submit what people approved as their own reviews on the host. Raises OutsideError; the next tick tries again."""
        if self._reviews is not None:
            self._reviews.submit(proposal)

    def merge(self, proposal: Proposal, command: Merge) -> None:
        """Ask the host for the merge; the intent is in the store already. Raises OutsideError; the next tick finds out."""
        self._scribe.flush()
        if proposal.number is None:
            return
        answer = self._host.merge(
            proposal.number,
            expected_head=command.head,
            expected_base=command.base,
            merger=self._configuration.identity,
            trailers=(
                (DIGEST_TRAILER, command.digest),
                *((APPROVED_TRAILER, person) for person in command.approvers),
            ),
        )
        at = self._clock()
        with self._store.transaction() as work:
            now = work.proposal(proposal.id)
            incident = work.incident(proposal.incident_id)
            if now is None or incident is None or now.ballot.phase is not Phase.EXECUTING:
                return
            circumstances = self._world.now(now, incident)
            if isinstance(answer, HostMerged):
                ballot, _ = step(now.ballot, Merged(answer.sha, circumstances))
            else:
                ballot, _ = step(now.ballot, NotReady(str(answer), circumstances))
                work.add_record(
                    record(
                        *(f"{_attempt(now)}/refused", EntryKind.EFFECT, at, now.id, "not-merged"),
                        proposal=now.id,
                        text=str(answer),
                    )
                )
            changed = replace(now, ballot=ballot)
            record_merge(work, changed, at)
        self._scribe.flush()

    def close(self, proposal: Proposal, command: CloseOnHost) -> None:
        """Close an ended proposal on the host. Raises OutsideError; the next tick tries again."""
        self._scribe.flush()
        if proposal.number is not None and not is_adopted(proposal.key):  # a person's is a person's to close
            self._host.close(proposal.number, f"{command.code} {command.reason}")
        at = self._clock()
        with self._store.transaction() as work:
            now = work.proposal(proposal.id)
            if now is None:
                return
            work.put_proposal(replace(now, closed_on_host=True))
            if now.number is not None:
                work.add_record(
                    record(
                        *(f"{now.id}/close/done", EntryKind.EFFECT, at, now.id, "withdrawn"),
                        proposal=now.id,
                        number=now.number,
                        text=f"{command.code} {command.reason}",
                    )
                )
        self._scribe.flush()


def _attempt(proposal: Proposal) -> str:
    return f"{proposal.id}/merge/{moment_text(proposal.merge_intended_at or 0.0)}"


def record_intent(work: Writing, proposal: Proposal, command: Merge, at: float) -> Proposal:
    """Write down that the host is about to be asked, unless this very attempt is written down already."""
    intended = proposal if proposal.merge_intended_at is not None else replace(proposal, merge_intended_at=at)
    work.add_record(
        record(
            *(_attempt(intended), EntryKind.INTENT, intended.merge_intended_at or at, intended.id, "merging"),
            proposal=intended.id,
            base=command.base,
            head=command.head,
            digest=command.digest,
            approvers=list(command.approvers),
            text=f"merging for {', '.join(command.approvers)}",
        )
    )
    return intended


def record_merge(work: Writing, proposal: Proposal, at: float) -> None:
    """Put a proposal that may have been merged just now; its effect is recorded once, whoever finds out first."""
    ballot = proposal.ballot
    if ballot.phase is Phase.MERGED and proposal.merged_at is None:
        proposal = replace(proposal, merged_at=at, closed_on_host=True)
        by_hand = f" ({ballot.reason})" if ballot.code else ""
        merged = (ballot.merged or "")[:12]
        work.add_timeline(TimelineRecord(proposal.incident_id, at, f"proposal merged as {merged}{by_hand}"))
        work.add_record(
            record(
                *(f"{proposal.id}/merge/done", EntryKind.EFFECT, at, proposal.id, "merged"),
                proposal=proposal.id,
                incident=proposal.incident_id,
                model=proposal.model,
                version=proposal.bad_version,
                good_version=proposal.good_version,
                merged=ballot.merged,
                digest=ballot.digest,
                approvers=[vote.person for vote in ballot.votes],
                text=f"merged as {merged}{by_hand}",
            )
        )
    elif ballot.phase is not Phase.EXECUTING:
        proposal = replace(proposal, merge_intended_at=None)
    work.put_proposal(proposal)
