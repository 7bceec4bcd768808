"""The life of a proposal, from draft to merge: one table, one pure function.

Rule 1: everything that decides whether a proposal may be merged is in this file. Buttons, commands and pages only
bring events here; the driver only performs the commands that come out. :data:`TABLE` lists which event may lead from
which phase to which others; :func:`step` refuses to leave it.

Three things are checked anew whenever anything happens, and once more right before the merge: that nothing which the
digest covers has changed, that the evidence still says breach, and that enough distinct persons who may decide stand
behind exactly this digest. The proposer (the bot, or the person who asked for it) never counts, nor does an author of
the offending change; while an author is a stranger to us nobody can be told apart from them, so nobody may approve.

Two ways lead past the quorum and past nothing else. A rule of the configuration may let a remedy through by itself,
within its limits. And a person with the role may break the glass, with a reason: then a second person has to sign
afterwards, and until that is done the after-review stays open.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from enum import Enum
from types import MappingProxyType
from typing import Any, TypeAlias

from trimtab_bot.approvals.binding import Binding, differences
from trimtab_bot.inbox.interface import Accepted, DecisionResult, Refused
from trimtab_bot.moments import clock_text
from trimtab_kernel.verdict import Verdict


class Phase(Enum):
    """Where a proposal stands."""

    DRAFT = "draft"
    """Written down, not yet on the Git host."""
    PENDING = "pending"
    """On the Git host; decisions are asked for."""
    APPROVED = "approved"
    """Enough approvals; it merges as soon as the last check agrees."""
    EXECUTING = "executing"
    """The Git host is being asked to merge. After a crash this is found out from the host, never guessed."""
    MERGED = "merged"
    DENIED = "denied"
    EXPIRED = "expired"
    VOID = "void"
    """Something that the decision was about is no longer so."""

    @property
    def is_final(self) -> bool:
        """Whether nothing can happen to it any more."""
        return self in (Phase.MERGED, Phase.DENIED, Phase.EXPIRED, Phase.VOID)


@dataclass(frozen=True, slots=True)
class Vote:
    """One person's approval of exactly one digest. ``at`` in Unix seconds."""

    person: str
    digest: str
    at: float


@dataclass(frozen=True, slots=True)
class Glass:
    """A person let the proposal through alone, in an emergency, and who looked at that afterwards.

    ``reviewer`` has signed at ``reviewed_at``; "" and None while the after-review is open. ``objection`` is what a reviewer
    had against it; it closes nothing.
    """

    person: str
    digest: str
    reason: str
    at: float
    reviewer: str = ""
    reviewed_at: float | None = None
    objection: str = ""


@dataclass(frozen=True, slots=True)
class Ballot:
    """What the machine remembers of a proposal.

    ``digest`` is that of ``binding`` when the proposal was made. ``code`` and ``reason`` say why it ended, or why it
    waits; ``merged`` is the merge commit; ``automatic`` the rule that let it through without a person. Who may decide is not remembered but established each time.
    """

    phase: Phase
    binding: Binding
    digest: str
    expires_at: float
    proposer: str
    votes: tuple[Vote, ...] = ()
    code: str = ""
    reason: str = ""
    merged: str | None = None
    glass: Glass | None = None
    automatic: str = ""

    @property
    def after_review(self) -> bool:
        """Whether it was merged by one person alone, and nobody has signed that yet."""
        return self.phase is Phase.MERGED and self.glass is not None and not self.glass.reviewer


class Hosted(Enum):
    """What the Git host says of the proposal."""

    ABSENT = "absent"
    OPEN = "open"
    MERGED = "merged"
    CLOSED = "closed"


@dataclass(frozen=True, slots=True)
class Voter:
    """A person as configured now: whether they may decide at all, and whether they are the bot under another name.

    ``roles`` are the names of their roles; a rule may demand one of them among the approvers.
    """

    id: str
    may_decide: bool
    is_proposer: bool
    may_break_glass: bool = False
    roles: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Electorate:
    """Who may decide about one proposal: the configured persons by id, and those who wrote what it undoes.

    ``authors`` are persons; ``unknown_authors`` are Git identities that belong to no configured person.
    """

    voters: Mapping[str, Voter]
    authors: frozenset[str]
    unknown_authors: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Circumstances:
    """The world at the moment of an event, established by the driver.

    ``binding`` is the binding computed anew. ``standing`` is what the evidence says now, with its reason: BREACH where what
    the proposal is for still holds (the version breaks its policy; a gate is passed; a person asks for it), FINE where it
    no longer does. ``roles`` must each be held by one of the approvers. ``automatic`` names the rule by which no person is
    needed, "" where there is none or its limits are reached.
    ``merged`` is the merge commit where ``hosted`` is MERGED. ``overtaken`` says, where it is so, that the branch has moved
    past what the proposal would undo.
    """

    at: float
    binding: Binding
    standing: Verdict
    standing_reason: str
    quorum: int
    electorate: Electorate
    hosted: Hosted
    merged: str | None = None
    overtaken: str = ""
    roles: tuple[str, ...] = ()
    automatic: str = ""


# ---------------------------------------------------------------- events


@dataclass(frozen=True, slots=True)
class Opened:
    """The Git host has the proposal."""

    now: Circumstances


@dataclass(frozen=True, slots=True)
class NotOpened:
    """The Git host refuses the proposal as it is, and says why; trying the same again is useless."""

    reason: str
    now: Circumstances


@dataclass(frozen=True, slots=True)
class Approve:
    """A person approves what has this digest."""

    person: str
    digest: str
    now: Circumstances


@dataclass(frozen=True, slots=True)
class Deny:
    """A person denies what has this digest."""

    person: str
    digest: str
    reason: str
    now: Circumstances


@dataclass(frozen=True, slots=True)
class Revoke:
    """A person takes back their approval of what has this digest."""

    person: str
    digest: str
    now: Circumstances


@dataclass(frozen=True, slots=True)
class BreakGlass:
    """A person lets what has this digest through alone, in an emergency."""

    person: str
    digest: str
    reason: str
    now: Circumstances


@dataclass(frozen=True, slots=True)
class Look:
    """Time has passed, or the bot has just started: see what is true now."""

    now: Circumstances


@dataclass(frozen=True, slots=True)
class Merged:
    """The Git host has merged it."""

    sha: str
    now: Circumstances


@dataclass(frozen=True, slots=True)
class NotReady:
    """The Git host did not merge it, and says why. Nothing has happened there."""

    reason: str
    now: Circumstances


Event: TypeAlias = Opened | NotOpened | Approve | Deny | Revoke | BreakGlass | Look | Merged | NotReady


# ---------------------------------------------------------------- commands


@dataclass(frozen=True, slots=True)
class Answer:
    """Tell the person who asked. The driver does so after the new state is on disk."""

    result: DecisionResult


@dataclass(frozen=True, slots=True)
class Merge:
    """Ask the Git host to merge ``head`` onto ``base`` and nothing else, naming who approved."""

    base: str
    head: str
    digest: str
    approvers: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class CloseOnHost:
    """Close the proposal on the Git host, with the reason shown there."""

    code: str
    reason: str


Command: TypeAlias = Answer | Merge | CloseOnHost
Result: TypeAlias = tuple[Ballot, tuple[Command, ...]]


# ---------------------------------------------------------------- who may


def objection(ballot: Ballot, person: str, electorate: Electorate, *, approving: bool = True) -> Refused | None:
    """Why this person may not decide about this proposal, or None. A stranger among the authors bars approval only."""
    voter = electorate.voters.get(person)
    if voter is None:
        return Refused("B402", f'nobody is configured as "{person}"; ask for an entry under "people"')
    if voter.is_proposer:
        return Refused("B404", "the bot made this proposal and may not decide about it; another person must")
    if person == ballot.proposer and approving:
        return Refused("B404", f'"{person}" asked for this proposal and may not approve it; another person must')
    if not voter.may_decide:
        return Refused("B403", f'"{person}" has no role that may decide; an approver must')
    if person in electorate.authors:
        return Refused(
            "B405", f'"{person}" is an author of the change that this proposal undoes; somebody else must decide'
        )
    if approving and electorate.unknown_authors:
        listed = ", ".join(electorate.unknown_authors)
        return Refused(
            "B406", f"an author of the offending change is not a configured person ({listed}); add the identity to one"
        )
    return None


def counted(ballot: Ballot, now: Circumstances) -> tuple[Vote, ...]:
    """The votes that count now: of this digest, one per person, by persons against whom there is no objection."""
    seen: set[str] = set()
    kept = []
    for vote in ballot.votes:
        if (
            vote.person in seen
            or vote.digest != ballot.digest
            or objection(ballot, vote.person, now.electorate) is not None
        ):
            continue
        seen.add(vote.person)
        kept.append(vote)
    return tuple(kept)


def _glass_holds(ballot: Ballot, now: Circumstances) -> bool:
    """Whether somebody broke the glass for exactly this digest, and still may."""
    if ballot.glass is None or ballot.glass.digest != ballot.digest:
        return False
    voter = now.electorate.voters.get(ballot.glass.person)
    return voter is not None and voter.may_break_glass and not voter.is_proposer


def _lacking(votes: tuple[Vote, ...], now: Circumstances) -> str:
    """What is missing until the votes suffice; "" for nothing."""
    if len(votes) < max(1, now.quorum):
        return f"{len(votes)} of {max(1, now.quorum)}"
    held = {role for vote in votes for role in now.electorate.voters[vote.person].roles}
    missing = [role for role in now.roles if role not in held]
    return (
        f"{len(votes)} of {max(1, now.quorum)}, and nobody among them with the role {', '.join(missing)}"
        if missing
        else ""
    )


# ---------------------------------------------------------------- what ends it


def _ended(ballot: Ballot, phase: Phase, code: str, reason: str) -> Ballot:
    return replace(ballot, phase=phase, code=code, reason=reason)


def _ending(ballot: Ballot, now: Circumstances) -> Ballot | None:
    """The final state that the circumstances force, or None. Most telling cause first."""
    if now.hosted is Hosted.MERGED:
        if ballot.phase is Phase.EXECUTING:
            return replace(ballot, phase=Phase.MERGED, merged=now.merged, code="", reason="")
        reason = "merged on the Git host by hand; people overrule the bot"
        return replace(ballot, phase=Phase.MERGED, merged=now.merged, code="B430", reason=reason)
    if now.hosted is Hosted.CLOSED:
        return _ended(ballot, Phase.DENIED, "B431", "closed on the Git host by hand; people overrule the bot")
    if now.overtaken:
        return _ended(ballot, Phase.VOID, "B305", now.overtaken)
    found = differences(ballot.binding, now.binding)
    if found:
        return _ended(ballot, Phase.VOID, found[0].code, "; ".join(item.reason() for item in found))
    if str(ballot.binding.digest()) != ballot.digest:
        return _ended(ballot, Phase.VOID, "B409", "the recorded digest is not that of the recorded proposal")
    if now.standing is Verdict.FINE:
        return _ended(ballot, Phase.VOID, "B416", f"the evidence no longer stands: {now.standing_reason}")
    if now.at >= ballot.expires_at:
        return _ended(ballot, Phase.EXPIRED, "B410", f"expired at {clock_text(ballot.expires_at)} without a merge")
    return None


def _closing(ballot: Ballot, now: Circumstances) -> tuple[Command, ...]:
    if now.hosted is Hosted.OPEN and ballot.phase is not Phase.MERGED:
        return (CloseOnHost(ballot.code, ballot.reason),)
    return ()


def _end_refusal(ballot: Ballot) -> Refused:
    """What a person is told who decides about something that is over."""
    if ballot.phase is Phase.MERGED:
        return Refused(
            "B408", f"it is already merged as {(ballot.merged or 'unknown')[:12]}; an approval is good for one merge"
        )
    return Refused(ballot.code or "B411", ballot.reason or f"the proposal is {ballot.phase.value}")


# ---------------------------------------------------------------- the rules, one per cell


def _opened(ballot: Ballot, event: Opened) -> Result:
    return replace(ballot, phase=Phase.PENDING), ()


def _not_opened(ballot: Ballot, event: NotOpened) -> Result:
    return _ended(ballot, Phase.VOID, "B312", f"the Git host refuses the proposal: {event.reason}"), ()


def _look(ballot: Ballot, event: Look) -> Result:
    ended = _ending(ballot, event.now)
    if ended is not None:
        return ended, _closing(ended, event.now)
    return ballot, ()


def _look_pending(ballot: Ballot, event: Look) -> Result:
    """Time passes; where a rule lets it through by itself, it is approved by that rule."""
    after, commands = _look(ballot, event)
    if after.phase is not Phase.PENDING or not event.now.automatic or event.now.standing is not Verdict.BREACH:
        return after, commands
    return replace(after, phase=Phase.APPROVED, code="", reason=f"let through by the rule {event.now.automatic}"), ()


def _look_approved(ballot: Ballot, event: Look) -> Result:
    """The last check before the merge, and the same one after a crash in the middle of it."""
    now = event.now
    ended = _ending(ballot, now)
    if ended is not None:
        return ended, _closing(ended, now)
    votes, alone = counted(ballot, now), _glass_holds(ballot, now)
    lacking = _lacking(votes, now)
    if lacking and not alone and not now.automatic:
        lost = sorted({vote.person for vote in ballot.votes} - {vote.person for vote in votes})
        reason = f"approvals no longer suffice: {lacking}"
        if lost:
            reason += f"; no longer counted: {', '.join(lost)}"
        return replace(ballot, phase=Phase.PENDING, votes=votes, glass=None, code="B432", reason=reason), ()
    if now.standing is not Verdict.BREACH and not alone:
        reason = f"approved; the merge waits for evidence: {now.standing_reason}"
        return replace(ballot, phase=Phase.APPROVED, code="B435", reason=reason), ()
    approvers = tuple(vote.person for vote in votes)
    by_rule = now.automatic if lacking and not alone else ""
    if lacking:
        approvers += (f"{ballot.glass.person} (break-glass)",) if alone and ballot.glass else (f"rule {now.automatic}",)
    going = replace(ballot, phase=Phase.EXECUTING, votes=votes, automatic=by_rule, code="", reason="")
    return going, (Merge(ballot.binding.base, ballot.binding.head, ballot.digest, approvers),)


def _approve(ballot: Ballot, event: Approve) -> Result:
    now = event.now
    refused = objection(ballot, event.person, now.electorate)
    if refused is not None:
        return ballot, (Answer(refused),)
    if event.digest != ballot.digest:
        return ballot, (Answer(_other_digest(ballot, event.digest)),)
    ended = _ending(ballot, now)
    if ended is not None:
        return ended, (*_closing(ended, now), Answer(_end_refusal(ended)))
    votes = counted(ballot, now)
    if any(vote.person == event.person for vote in votes):
        return replace(ballot, votes=votes), (Answer(_repeated(votes, now)),)
    votes = (*votes, Vote(event.person, event.digest, now.at))
    lacking = _lacking(votes, now)
    phase = Phase.PENDING if lacking else Phase.APPROVED
    text = f"approval recorded, {lacking or f'{len(votes)} of {now.quorum}'}"
    if not lacking:
        waits = now.standing is not Verdict.BREACH
        text += f"; the merge waits for evidence: {now.standing_reason}" if waits else "; merging"
    return replace(ballot, phase=phase, votes=votes, code="", reason=""), (Answer(Accepted(text)),)


def _approve_again(ballot: Ballot, event: Approve) -> Result:
    """Approved or being merged already: a repeat by the same person is harmless, anybody else's is not needed."""
    refused = objection(ballot, event.person, event.now.electorate)
    if refused is None and event.digest != ballot.digest:
        refused = _other_digest(ballot, event.digest)
    if refused is not None:
        return ballot, (Answer(refused),)
    if any(vote.person == event.person for vote in ballot.votes):
        return ballot, (Answer(_repeated(ballot.votes, event.now)),)
    return ballot, (Answer(Refused("B411", f"the proposal is {ballot.phase.value}; no further approval is needed")),)


def _repeated(votes: tuple[Vote, ...], now: Circumstances) -> DecisionResult:
    return Accepted(f"your approval is already recorded and counts once, {len(votes)} of {now.quorum}")


def _other_digest(ballot: Ballot, digest: str) -> Refused:
    return Refused(
        "B409",
        f"you decided about {digest[:19]}, the proposal is {ballot.digest[:19]}; look at it again and decide anew",
    )


def _deny(ballot: Ballot, event: Deny) -> Result:
    now = event.now
    refused = objection(ballot, event.person, now.electorate, approving=False)
    if refused is None and event.digest != ballot.digest:
        refused = _other_digest(ballot, event.digest)
    if refused is None and not event.reason.strip():
        refused = Refused("B423", "a denial needs a reason, so that the next person on call knows it")
    if refused is not None:
        return ballot, (Answer(refused),)
    ended = _ending(ballot, now)
    if ended is not None:
        return ended, (*_closing(ended, now), Answer(_end_refusal(ended)))
    denied = _ended(ballot, Phase.DENIED, "B433", f"denied by {event.person}: {event.reason.strip()}")
    return denied, (*_closing(denied, now), Answer(Accepted("denial recorded; the proposal is closed")))


def _deny_executing(ballot: Ballot, event: Deny) -> Result:
    return ballot, (Answer(Refused("B411", "the merge has begun; revert it by hand if it must not stand")),)


def _revoke(ballot: Ballot, event: Revoke) -> Result:
    now = event.now
    refused = _cannot_revoke(ballot, event)
    if refused is not None:
        return ballot, (Answer(refused),)
    ended = _ending(ballot, now)
    if ended is not None:
        return ended, (*_closing(ended, now), Answer(_end_refusal(ended)))
    votes = tuple(vote for vote in ballot.votes if vote.person != event.person)
    glass = None if ballot.glass is not None and ballot.glass.person == event.person else ballot.glass
    left = replace(ballot, votes=votes, glass=glass)
    stands = not _lacking(counted(left, now), now) or _glass_holds(left, now)
    phase = ballot.phase if stands else Phase.PENDING
    return replace(left, phase=phase, code="", reason=""), (Answer(Accepted("your approval is taken back")),)


def _cannot_revoke(ballot: Ballot, event: Revoke) -> Refused | None:
    """Whoever was configured when they approved may take it back, whatever role they have lost since."""
    if event.person not in event.now.electorate.voters:
        return Refused("B402", f'nobody is configured as "{event.person}"; ask for an entry under "people"')
    if event.digest != ballot.digest:
        return _other_digest(ballot, event.digest)
    own = any(vote.person == event.person for vote in ballot.votes)
    if not own and (ballot.glass is None or ballot.glass.person != event.person):
        return Refused("B446", "you have not approved this proposal, so there is nothing to take back")
    return None


def _revoke_executing(ballot: Ballot, event: Revoke) -> Result:
    return ballot, (Answer(Refused("B411", "the merge has begun; revert it by hand if it must not stand")),)


def _break_glass(ballot: Ballot, event: BreakGlass) -> Result:
    """Alone, but only for exactly this digest, and never against evidence that says otherwise."""
    now = event.now
    voter = now.electorate.voters.get(event.person)
    if voter is None:
        refused: Refused | None = Refused("B402", f'nobody is configured as "{event.person}"; ask for an entry')
    elif voter.is_proposer:
        refused = Refused("B404", "the bot made this proposal and may not decide about it; another person must")
    elif not voter.may_break_glass:
        refused = Refused("B445", f'"{event.person}" has not the role break-glass; the quorum decides')
    elif event.digest != ballot.digest:
        refused = _other_digest(ballot, event.digest)
    elif not event.reason.strip():
        refused = Refused("B447", "breaking the glass needs a reason; a second person will review it")
    else:
        refused = None
    if refused is not None:
        return ballot, (Answer(refused),)
    ended = _ending(ballot, now)
    if ended is not None:
        return ended, (*_closing(ended, now), Answer(_end_refusal(ended)))
    if ballot.glass is not None and ballot.glass.person == event.person:
        return ballot, (Answer(Accepted("the glass is broken already; it merges")),)
    glass = Glass(event.person, event.digest, event.reason.strip(), now.at)
    text = "the glass is broken, it merges; a second person has to review this afterwards"
    return replace(ballot, phase=Phase.APPROVED, glass=glass, code="", reason=""), (Answer(Accepted(text)),)


def _break_glass_executing(ballot: Ballot, event: BreakGlass) -> Result:
    return ballot, (Answer(Refused("B411", "the merge has begun already; no further approval is needed")),)


def _review(ballot: Ballot, event: Approve | Deny) -> Result:
    """It is merged. Where one person did that alone, another signs, or says what was wrong."""
    glass = ballot.glass
    if glass is None or not ballot.after_review:
        return _decide_ended(ballot, event)
    refused = objection(ballot, event.person, event.now.electorate, approving=False)
    if refused is None and event.person in (glass.person, ballot.proposer):
        refused = Refused("B448", f'"{event.person}" had a hand in it; a second person reviews what one did alone')
    if refused is None and event.digest != ballot.digest:
        refused = _other_digest(ballot, event.digest)
    if refused is not None:
        return ballot, (Answer(refused),)
    if isinstance(event, Deny):
        if not event.reason.strip():
            return ballot, (Answer(Refused("B423", "an objection needs a reason, so that others can act on it")),)
        said = replace(glass, objection=f"{event.person}: {event.reason.strip()}")
        text = "objection recorded; the after-review stays open, and the change stands until it is reverted"
        return replace(ballot, glass=said), (Answer(Accepted(text)),)
    signed = replace(glass, reviewer=event.person, reviewed_at=event.now.at)
    return replace(ballot, glass=signed), (Answer(Accepted("after-review signed and closed")),)


def _decide_draft(ballot: Ballot, event: Approve | Deny | Revoke | BreakGlass) -> Result:
    return ballot, (Answer(Refused("B411", "the proposal is not open yet; try again in a moment")),)


def _decide_ended(ballot: Ballot, event: Approve | Deny | Revoke | BreakGlass) -> Result:
    refused = None
    if isinstance(event, Approve | Deny):
        refused = objection(ballot, event.person, event.now.electorate, approving=isinstance(event, Approve))
    return ballot, (Answer(refused or _end_refusal(ballot)),)


def _merged(ballot: Ballot, event: Merged) -> Result:
    return replace(ballot, phase=Phase.MERGED, merged=event.sha, code="", reason=""), ()


def _not_ready(ballot: Ballot, event: NotReady) -> Result:
    """Back to the last check, which finds out what changed; the reason stays visible until then."""
    return replace(ballot, phase=Phase.APPROVED, code="B434", reason=f"the Git host did not merge: {event.reason}"), ()


def _keep(ballot: Ballot, event: Event) -> Result:
    return ballot, ()


_Rule: TypeAlias = tuple[Callable[[Ballot, Any], Result], frozenset[Phase]]


def _to(rule: Callable[[Ballot, Any], Result], *phases: Phase) -> _Rule:
    return rule, frozenset(phases)


_ENDS = (Phase.MERGED, Phase.DENIED, Phase.EXPIRED, Phase.VOID)
_OVER: Mapping[type, _Rule] = MappingProxyType(
    {
        Approve: _to(_decide_ended),
        Deny: _to(_decide_ended),
        Revoke: _to(_decide_ended),
        BreakGlass: _to(_decide_ended),
        Look: _to(_keep),
    }
)

TABLE: Mapping[Phase, Mapping[type, _Rule]] = MappingProxyType(
    {
        Phase.DRAFT: {
            Opened: _to(_opened, Phase.PENDING),
            NotOpened: _to(_not_opened, Phase.VOID),
            Look: _to(_look, *_ENDS),
            Approve: _to(_decide_draft),
            Deny: _to(_decide_draft),
            Revoke: _to(_decide_draft),
            BreakGlass: _to(_decide_draft),
        },
        Phase.PENDING: {
            Opened: _to(_keep),
            Look: _to(_look_pending, Phase.APPROVED, *_ENDS),
            Approve: _to(_approve, Phase.APPROVED, *_ENDS),
            Deny: _to(_deny, *_ENDS),
            Revoke: _to(_revoke, *_ENDS),
            BreakGlass: _to(_break_glass, Phase.APPROVED, *_ENDS),
        },
        Phase.APPROVED: {
            Look: _to(_look_approved, Phase.EXECUTING, Phase.PENDING, *_ENDS),
            Approve: _to(_approve_again),
            Deny: _to(_deny, *_ENDS),
            Revoke: _to(_revoke, Phase.PENDING, *_ENDS),
            BreakGlass: _to(_break_glass, *_ENDS),
        },
        Phase.EXECUTING: {
            Merged: _to(_merged, Phase.MERGED),
            NotReady: _to(_not_ready, Phase.APPROVED),
            Look: _to(_look_approved, Phase.APPROVED, Phase.PENDING, *_ENDS),
            Approve: _to(_approve_again),
            Deny: _to(_deny_executing),
            Revoke: _to(_revoke_executing),
            BreakGlass: _to(_break_glass_executing),
        },
        Phase.MERGED: MappingProxyType({**_OVER, Approve: _to(_review), Deny: _to(_review)}),
        Phase.DENIED: _OVER,
        Phase.EXPIRED: _OVER,
        Phase.VOID: _OVER,
    }
)
"""Phase -> event -> the rule, and the other phases that it may lead to (staying is always possible)."""


class ImpossibleError(AssertionError):
    """The driver brought an event that cannot happen in this phase: a mistake in the program, never in the input."""


def step(ballot: Ballot, event: Event) -> Result:
    """The next state and what is to be done, in order. Pure. Raises :class:`ImpossibleError` outside the table."""
    cell = TABLE[ballot.phase].get(type(event))
    if cell is None:
        raise ImpossibleError(f"{type(event).__name__} in phase {ballot.phase.value}")
    rule, phases = cell
    after, commands = rule(ballot, event)
    if after.phase is not ballot.phase and after.phase not in phases:
        raise ImpossibleError(f"{type(event).__name__} led from {ballot.phase.value} to {after.phase.value}")
    return after, commands
