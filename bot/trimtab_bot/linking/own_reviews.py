"""A person's approval as that person's own review on the pull request, which the branch's rules count.

It is submitted before the merge, with the person's token, of exactly the approved head; once: what is about to be done is written
down first, and what is there already is found before anything is sent again. Where it cannot be done, the story says why, and
the approval counts here all the same.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from trimtab_bot.ledger.interface import EntryKind
from trimtab_bot.linking.links import LinkEndedError
from trimtab_bot.recording import record
from trimtab_bot.records import TimelineRecord
from trimtab_config.githost.conversation import Opinion
from trimtab_config.githost.github_person import GitHubPerson, TokenGoneError
from trimtab_kernel.problems import OutsideError, RefusedError, printable

if TYPE_CHECKING:
    from trimtab_bot.ledger.interface import Record
    from trimtab_bot.linking.links import GitHubLinks
    from trimtab_bot.moments import Clock
    from trimtab_bot.recording import Scribe
    from trimtab_bot.records import Proposal
    from trimtab_bot.store.interface import Store
    from trimtab_config.githost.conversation import Conversation

SOURCE = "github-own-review"
MARK = "<!-- trimtab:review:1 -->"
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
        for vote in proposal.ballot.votes:
            if vote.digest == proposal.ballot.digest:
                self._submit(proposal, proposal.number, vote.person)

    def _submit(self, proposal: Proposal, number: int, person: str) -> None:
        head, at = proposal.ballot.binding.head, self._clock()
        key = f"{proposal.id}/{person}/{head}"
        with self._store.reading() as view:
            known = view.delivery(SOURCE, key)
        if known is not None and known.answer is not None:
            return
        if known is None:
            if not self._is_linked(person):
                return
            with self._store.transaction() as work:
                work.add_delivery(SOURCE, key, at, str(number))
                text = f"reviewing pull request {number} as {person}"
                work.add_record(self._record(proposal, person, EntryKind.INTENT, "reviewing", text))
        self._scribe.flush()
        review = 0
        try:
            review, text = self._review(proposal, number, person, head)
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
            work.add_record(self._record(proposal, person, EntryKind.EFFECT, "reviewed", text, review))
        self._scribe.flush()

    def _is_linked(self, person: str) -> bool:
        try:
            return self._links.of(person) is not None
        except OutsideError:
            return True  # it cannot be opened; the story will say so

    def _review(self, proposal: Proposal, number: int, person: str, head: str) -> tuple[int, str]:
        link, token = self._links.token(person)
        for each in self._conversation.reviews(number):
            stands = each.opinion in (Opinion.APPROVED, Opinion.DISMISSED)
            if each.account == link.account and each.commit == head and stands:
                ours = each.body.startswith(MARK)
                return (each.id if ours else 0), f"{person}'s own review stands on pull request {number}"
        acting = GitHubPerson(self._api_url, token)
        digest = proposal.ballot.digest.removeprefix("sha256:")[:12]
        try:
            text = f"{MARK}\nApproved by {person} in Trimtab: proposal {proposal.id}, digest {digest}."
            made = acting.approve(self._repository, number, head, text)
        except TokenGoneError:
            reason = "GitHub no longer takes the token: it was revoked there"
            self._links.ended(person, reason)
            raise LinkEndedError(reason) from None
        finally:
            acting.close()
        return made, f"{person}'s own review was submitted on pull request {number}"

    def _record(
        self, proposal: Proposal, person: str, kind: EntryKind, event: str, text: str, review: int = 0
    ) -> Record:
        head = proposal.ballot.binding.head
        body = {"proposal": proposal.id, "person": person, "number": proposal.number, "head": head, "text": text}
        if review:
            body["review"] = review
        return record(f"{proposal.id}/{event}/{person}/{head}", kind, self._clock(), proposal.id, event, **body)
