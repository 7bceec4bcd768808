"""What a comment or a review asks for. Pure.

A comment is a command where its first line begins with ``/trimtab`` and nothing else is in it; a quotation, a block of code or
a sentence that mentions one is none. A review counts where it is of exactly the commit that a decision would bind to.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

from trimtab_bot.chat.grammar import Command, Verb
from trimtab_config.githost.conversation import Opinion

if TYPE_CHECKING:
    from trimtab_bot.inbox.interface import ProposalView
    from trimtab_config.githost.conversation import HostReview, Remark

COMMAND = "/trimtab"
MAX_REASON = 500


@dataclass(frozen=True, slots=True)
class Typed:
    """A line of the grammar, without ``/trimtab``."""

    line: str


@dataclass(frozen=True, slots=True)
class Decided:
    """A decision that needs no line to be understood."""

    command: Command


@dataclass(frozen=True, slots=True)
class Unheard:
    """Why this is not acted upon, for its writer."""

    code: str
    reason: str


Wish: TypeAlias = Typed | Decided | Unheard


def wish_of_remark(remark: Remark) -> Wish | None:
    """What the comment asks for; None where it is no command."""
    first, _, rest = remark.body.replace("\r\n", "\n").strip().partition("\n")
    if first != COMMAND and not first.startswith(f"{COMMAND} "):
        return None
    if remark.by_program:
        return Unheard("B452", "this comment was written by a program; only what a person types is heard")
    if remark.edited:
        return Unheard("B451", "this comment was edited, by whomever; write the command as a new comment")
    if rest.strip():
        return Unheard("B453", "a command stands alone in its comment, on one line")
    return Typed(first.removeprefix(COMMAND).strip())


def wish_of_review(review: HostReview, proposal: ProposalView) -> Wish | None:
    """What the review asks for; None where it is an opinion and no decision."""
    if review.opinion is Opinion.COMMENTED:
        return None
    if review.by_program:
        return Unheard("B452", "this review was written by a program; only a person's counts")
    if review.commit != proposal.head:
        return Unheard(
            "B454",
            f"this review is of commit {review.commit[:12] or 'nothing'}, the proposal is {proposal.head[:12]}; review that",
        )
    digest = proposal.digest.removeprefix("sha256:")
    if review.opinion is Opinion.APPROVED:
        return Decided(Command(Verb.APPROVE, proposal=proposal.id, digest=digest))
    if review.opinion is Opinion.DISMISSED:
        return Decided(Command(Verb.REVOKE, proposal=proposal.id, digest=digest))
    said = " ".join(review.body.split())[:MAX_REASON] or "changes requested in a review that says no more"
    return Decided(Command(Verb.DENY, proposal=proposal.id, digest=digest, reason=said))
