"""A person's approval as that person's own review on the pull request, which the branch's rules count.

It is submitted before the merge, with the person's token, of exactly the approved head; once: what is about to be done is written
down first, and what is there already is found before anything is sent again. An approval that is taken back dismisses it. Where it cannot be done, the story says why, and
the approval counts here all the same.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from trimtab_bot.ledger.interface import EntryKind
from trimtab_bot.linking.links import LinkEndedError
from trimtab_bot.moments import moment_text
from trimtab_bot.recording import record
from trimtab_bot.records import TimelineRecord
from trimtab_config.githost.conversation import Opinion
from trimtab_config.githost.github_person import GitHubPerson, TokenGoneError
from trimtab_kernel.problems import OutsideError, RefusedError, printable

if TYPE_CHECKING:
    from trimtab_bot.approvals.machine import Vote
    from trimtab_bot.ledger.interface import Record
    from trimtab_bot.linking.links import GitHubLinks
    from trimtab_bot.moments import Clock
    from trimtab_bot.recording import Scribe
    from trimtab_bot.records import Proposal
    from trimtab_bot.store.interface import Store
    from trimtab_config.githost.conversation import Conversation

SOURCE = "github-own-review"
MARK = "<!-- trimtab:review:1:"
"""How a review that the bot submitted begins; what follows names the approval."""
OURS = "submitted by the bot in the person's name"
"""What is written down as the answer to such a review, so that nobody answers it."""
PATIENCE = 120.0
"""Seconds after which a review that GitHub does not take is given up, so that it keeps no merge waiting for ever."""


class OwnReviews:
    """Used by the loop alone, where this process leads."""

    def __init__(
        self,
        store: Store,
        scribe: Scribe,
        links: GitHubLinks,
        conversation: Conversation,
        api_url: str,
        repository: str,
        clock: Clock,
    ) -> None:
        """``store`` is fenced where there are replicas; ``clock`` gives Unix seconds."""
        self._store = store
        self._scribe = scribe
        self._links = links
        self._conversation = conversation
        self._api_url = api_url
        self._repository = repository
        self._clock = clock

    def submit(self, proposal: Proposal) -> None:
        """A review for each approval of a linked person that has none yet. Raises OutsideError; the next tick tries again."""
        if proposal.number is None:
            return
        votes = [vote for vote in proposal.ballot.votes if vote.digest == proposal.ballot.digest]
        for vote in votes:
            self._submit(proposal, proposal.number, vote)
        with self._store.reading() as view:
            submitted = view.delivery(SOURCE, proposal.id) is not None
        if submitted:
            self._withdraw(proposal, proposal.number, {vote.person for vote in votes})

    def _submit(self, proposal: Proposal, number: int, vote: Vote) -> None:
        person, head, at = vote.person, proposal.ballot.binding.head, self._clock()
        key = f"{proposal.id}/{person}/{head}/{moment_text(vote.at)}"
        with self._store.reading() as view:
            known = view.delivery(SOURCE, key)
        if known is not None and known.answer is not None:
            return
        if known is None:
            if not self._is_linked(person):
                return
            with self._store.transaction() as work:
                work.add_delivery(SOURCE, key, at, str(number))
                work.add_delivery(SOURCE, proposal.id, at, "has reviews")
                work.answer_delivery(SOURCE, proposal.id, "yes")
                text = f"reviewing pull request {number} as {person}"
                work.add_record(self._record(proposal, key, person, EntryKind.INTENT, "reviewing", text))
        self._scribe.flush()
        review = 0
        try:
            review, text = self._review(proposal, number, vote)
        except (LinkEndedError, RefusedError) as error:
            text = f"no review of {person}'s own on GitHub: B491 {str(error).removeprefix('B491 ')}"
        except OutsideError as error:
            if known is None or at - known.at < PATIENCE:
                raise
            text = f"no review of {person}'s own on GitHub: B491 {error}"
        with self._store.transaction() as work:
            work.answer_delivery(SOURCE, key, printable(text, 500))
            # The listener finds the review on the pull request; it was taken up here before it was there.
            if review and work.add_delivery("github", f"review/{review}/approved", at, "{}"):
                work.answer_delivery("github", f"review/{review}/approved", OURS)
            work.add_timeline(TimelineRecord(proposal.incident_id, at, printable(text, 500)))
            work.add_record(self._record(proposal, key, person, EntryKind.EFFECT, "reviewed", text, review))
        self._scribe.flush()

    def _is_linked(self, person: str) -> bool:
        try:
            return self._links.of(person) is not None
        except OutsideError:
            return True  # it cannot be opened; the story will say so

    def _review(self, proposal: Proposal, number: int, vote: Vote) -> tuple[int, str]:
        person, head = vote.person, proposal.ballot.binding.head
        link, token = self._links.token(person)
        digest = proposal.ballot.digest.removeprefix("sha256:")[:12]
        mark = f"{MARK}{digest}:{moment_text(vote.at)} -->"
        for each in self._conversation.reviews(number):
            if each.account != link.account or each.commit != head:
                continue
            by_hand = each.opinion is Opinion.APPROVED and not each.body.startswith(MARK)
            if by_hand or each.body.startswith(mark):
                return (0 if by_hand else each.id), f"{person}'s own review stands on pull request {number}"
        acting = GitHubPerson(self._api_url, token)
        try:
            text = f"{mark}\nApproved by {person} in Trimtab: proposal {proposal.id}, digest {digest}."
            made = acting.approve(self._repository, number, head, text)
        except TokenGoneError:
            reason = "GitHub no longer takes the token: it was revoked there"
            self._links.ended(person, reason)
            raise LinkEndedError(reason) from None
        finally:
            acting.close()
        return made, f"{person}'s own review was submitted on pull request {number}"

    def _withdraw(self, proposal: Proposal, number: int, voters: set[str]) -> None:
        """Dismiss what stands for an approval that was taken back."""
        for each in self._conversation.reviews(number):
            if not each.body.startswith(MARK) or each.commit != proposal.ballot.binding.head:
                continue
            person, key = self._links.owner(each.account), f"withdraw/{each.id}"
            with self._store.reading() as view:
                known = view.delivery(SOURCE, key)
            stands = each.opinion is Opinion.APPROVED
            if person is None or (known is not None and known.answer is not None):
                continue
            if known is None and (not stands or person in voters):
                continue
            self._take_back(proposal, number, each.id, person, stands=stands, begun=None if known is None else known.at)

    def _take_back(
        self, proposal: Proposal, number: int, review: int, person: str, *, stands: bool, begun: float | None
    ) -> None:
        """``begun`` is when it was first tried; ``stands`` is False where that had been heard."""
        at, key = self._clock(), f"withdraw/{review}"
        if begun is None:
            with self._store.transaction() as work:
                work.add_delivery(SOURCE, key, at, str(number))
                # The listener would take the dismissal for one more wish.
                if work.add_delivery("github", f"review/{review}/dismissed", at, "{}"):
                    work.answer_delivery("github", f"review/{review}/dismissed", OURS)
                text = f"dismissing {person}'s own review on pull request {number}"
                work.add_record(self._record(proposal, key, person, EntryKind.INTENT, "withdrawing", text, review))
        self._scribe.flush()
        text = f"{person}'s own review on pull request {number} was dismissed: the approval was taken back"
        try:
            if stands:
                self._dismiss(number, review, person)
        except (LinkEndedError, RefusedError, TokenGoneError) as error:
            text = f"{person}'s own review stands on pull request {number}: B491 {str(error).removeprefix('B491 ')}"
        except OutsideError as error:
            if begun is None or at - begun < PATIENCE:
                raise
            text = f"{person}'s own review stands on pull request {number}: B491 {error}"
        with self._store.transaction() as work:
            work.answer_delivery(SOURCE, key, printable(text, 500))
            work.add_timeline(TimelineRecord(proposal.incident_id, at, printable(text, 500)))
            work.add_record(self._record(proposal, key, person, EntryKind.EFFECT, "withdrawn-review", text, review))
        self._scribe.flush()

    def _dismiss(self, number: int, review: int, person: str) -> None:
        _, token = self._links.token(person)
        acting = GitHubPerson(self._api_url, token)
        try:
            acting.dismiss(self._repository, number, review, "The approval was taken back in Trimtab.")
        finally:
            acting.close()

    def _record(
        self,
        proposal: Proposal,
        key: str,
        person: str,
        kind: EntryKind,
        event: str,
        text: str,
        review: int = 0,
    ) -> Record:
        head = proposal.ballot.binding.head
        body = {"proposal": proposal.id, "person": person, "number": proposal.number, "head": head, "text": text}
        if review:
            body["review"] = review
        return record(f"{key}/{event}", kind, self._clock(), proposal.id, event, **body)
