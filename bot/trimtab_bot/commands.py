"""Commands of people, wherever they are typed: Slack, a pull request, the inbox and the command line all come through here.

A platform establishes who is asking (a linked person, by the platform's own id) and hands over what was typed; what it
means, who may and what is answered is the same everywhere. Answers are plain text of several lines: the platform escapes
it in its own way.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from trimtab_bot.chat.grammar import Command, Mistake, Right, Verb, help_lines, parse
from trimtab_bot.inbox.interface import Accepted, Refused
from trimtab_bot.moments import clock_text
from trimtab_bot.persons import Role
from trimtab_kernel.problems import InputError, OutsideError, RefusedError, printable

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from trimtab_bot.inbox.interface import DecisionResult, ProposalView
    from trimtab_bot.persons import People
    from trimtab_bot.records import Incident
    from trimtab_bot.service import DecisionService

_DIGEST = 12
_LINES = 30
_ROLES: Mapping[Right, frozenset[Role]] = {
    Right.VIEWER: frozenset(Role),
    Right.APPROVER: frozenset({Role.APPROVER}),
    Right.BREAK_GLASS: frozenset({Role.BREAK_GLASS}),
}


@dataclass(frozen=True, slots=True)
class Actor:
    """Who is asking. ``person`` is the linked person's id, "" where the account is linked to nobody.

    ``identity`` is the platform's own name for the account, such as ``slack:T024BE7LD/U024BE7LH``, ``github:583231`` or
    ``inbox:ada``; it goes to the ledger and decides nothing.
    """

    person: str
    identity: str


@dataclass(frozen=True, slots=True)
class Where:
    """Where it was typed. ``platform`` such as ``slack``; ``place`` such as a channel or ``pull/12``.

    ``nonce`` is the platform's own id of this one delivery (an envelope, a comment's id and time), "" where there is
    none; a command that changes something is taken once for each nonce.
    """

    platform: str
    place: str = ""
    nonce: str = ""


@dataclass(frozen=True, slots=True)
class Reply:
    """The answer. ``done`` is False for what was not understood (``code`` "") or refused (``code`` says why).

    ``proposal`` and ``incident`` are what it is about, where that is one.
    """

    text: str
    done: bool
    code: str = ""
    proposal: str = ""
    incident: str = ""


class Commands(Protocol):
    """The bot's core, seen from a platform on which people type. Every method may be called from any thread."""

    def run(self, command: Command, actor: Actor, where: Where) -> Reply:
        """Do it. What it changed is on disk and in the ledger before this returns. Never raises for what people type."""
        ...

    def say(self, text: str, actor: Actor, where: Where) -> Reply:
        """As :meth:`run`, from the line as it was typed, without ``/trimtab``."""
        ...


class Linking(Protocol):
    """Accounts on the Git host that people link to themselves. Methods raise OutsideError."""

    def invitation(self, person: str) -> str:
        """The address at which this person begins, good once and for ten minutes; "" where there is no such address."""
        ...

    def unlink(self, person: str) -> object:
        """End the person's link; None where there was none."""
        ...


class CommandDesk:
    """Implements :class:`Commands` over the one door for decisions."""

    def __init__(self, people: People, decisions: DecisionService, links: Linking | None = None) -> None:
        """``links`` are accounts elsewhere that people link to themselves, where that is configured."""
        self._links = links
        self._people = people
        self._decisions = decisions
        self._verbs: Mapping[Verb, Callable[[Command, Actor, Where], Reply]] = {
            Verb.HELP: self._help,
            Verb.STATUS: self._status,
            Verb.WHY: self._why,
            Verb.HISTORY: self._history,
            Verb.COST: self._cost,
            Verb.ROLLOUT: self._rollout,
            Verb.APPROVE: self._approve,
            Verb.DENY: self._deny,
            Verb.REVOKE: self._revoke,
            Verb.ACK: self._ack,
            Verb.ESCALATE: self._escalate,
            Verb.SILENCE: self._silence,
            Verb.LINK: self._link,
            Verb.UNLINK: self._unlink,
            **dict.fromkeys(_REMEDY_OF, self._ask),
        }

    def say(self, text: str, actor: Actor, where: Where) -> Reply:
        """See the port."""
        found = parse(text)
        return Reply(found.text, done=False) if isinstance(found, Mistake) else self.run(found, actor, where)

    def run(self, command: Command, actor: Actor, where: Where) -> Reply:
        """See the port."""
        refused = self._refusal(command, actor)
        if refused is not None:
            return refused
        once = _nonce(where) if where.nonce and command.right is not Right.VIEWER else ""
        try:
            if once and self._decisions.is_taken(once):
                return _refused(Refused("B442", "this very delivery was acted upon already; type the command again"))
            reply = self._verbs[command.verb](command, actor, where)
            if once:
                self._decisions.mark_taken(once)
        except RefusedError as error:
            return Reply(str(error), done=False, code=error.code)
        except (OutsideError, InputError) as error:
            return Reply(f"B436 this cannot be looked up now ({error}); try again in a moment", done=False, code="B436")
        return reply

    def _refusal(self, command: Command, actor: Actor) -> Reply | None:
        """Why this person may not ask for that, or None."""
        if not actor.person:
            return _refused(
                Refused("B440", "your account is linked to nobody; ask for its id to be listed under people")
            )
        person = self._people.person(actor.person)
        if person is None:
            return _refused(Refused("B402", f'nobody is configured as "{actor.person}"; ask for an entry under people'))
        if not person.roles & _ROLES[command.right]:
            needed = command.right.value
            return _refused(Refused("B403", f'"{actor.person}" has not the role "{needed}" that {command.verb} needs'))
        return None

    # ------------------------------------------------ to read

    def _help(self, command: Command, _actor: Actor, _where: Where) -> Reply:
        return Reply("\n".join(f"/trimtab {line}" for line in help_lines(command.about)), done=True)

    def _status(self, _command: Command, _actor: Actor, _where: Where) -> Reply:
        status = self._decisions.status()
        lines = [] if status.healthy else [status.note]
        lines += [
            f"{each.model} {each.version}: {each.figure} {each.verdict} {each.value} ({each.interval}), n {each.n}"
            for each in status.watched[:20]
        ]
        shown = self._decisions.proposals()
        lines += [f"waits for a decision: {each.id} {each.title}" for each in shown if each.open_for_decision]
        lines += [f"waits for a second person's review: {each.id} {each.title}" for each in shown if each.after_review]
        return _lines(lines or ["nothing is watched yet"])

    def _why(self, command: Command, _actor: Actor, _where: Where) -> Reply:
        found = self._decisions.proposal(command.proposal)
        if found is not None:
            return _lines(_why(found), proposal=found.id)
        incident = self._incident(command.proposal)
        lines = [incident.title, incident.summary, *(f"{fact.label}: {fact.value}" for fact in incident.evidence.facts)]
        if incident.obstacle:
            lines.append(f"nothing is proposed: {incident.obstacle_code} {incident.obstacle}")
        if incident.proposal_id:
            lines.append(f"proposal: {incident.proposal_id}")
        return _lines(lines, incident=incident.id)

    def _history(self, command: Command, _actor: Actor, _where: Where) -> Reply:
        found = self._decisions.proposal(command.proposal)
        if found is not None:
            entries, subject = found.timeline, found.id
        else:
            subject = self._incident(command.proposal).id
            entries = self._decisions.timeline(subject)
        return _lines([f"{clock_text(each.at)} {each.text}" for each in entries[-_LINES:]])

    def _cost(self, command: Command, _actor: Actor, _where: Where) -> Reply:
        return _lines(self._decisions.costs(command.name))

    def _rollout(self, command: Command, _actor: Actor, _where: Where) -> Reply:
        return _lines(self._decisions.rollouts(command.name))

    # ------------------------------------------------ to decide

    def _approve(self, command: Command, actor: Actor, where: Where) -> Reply:
        found = self._proposal(command.proposal)
        digest = _whole(found, command.digest)
        if command.break_glass:
            result = self._decisions.break_glass(found.id, actor.person, digest, command.reason, via=_via(actor, where))
        else:
            result = self._decisions.approve(found.id, actor.person, digest, via=_via(actor, where))
        return _told(result, found.id)

    def _deny(self, command: Command, actor: Actor, where: Where) -> Reply:
        found = self._proposal(command.proposal)
        digest = _whole(found, command.digest)
        return _told(
            self._decisions.deny(found.id, actor.person, digest, command.reason, via=_via(actor, where)), found.id
        )

    def _revoke(self, command: Command, actor: Actor, where: Where) -> Reply:
        found = self._proposal(command.proposal)
        digest = _whole(found, command.digest)
        return _told(self._decisions.revoke(found.id, actor.person, digest, via=_via(actor, where)), found.id)

    # ------------------------------------------------ incidents

    def _ack(self, command: Command, actor: Actor, where: Where) -> Reply:
        incident = self._incident(command.proposal)
        return _about(self._decisions.take_on(incident.id, actor.person, via=_via(actor, where)), incident.id)

    def _escalate(self, command: Command, actor: Actor, where: Where) -> Reply:
        incident = self._incident(command.proposal)
        result = self._decisions.escalate(incident.id, actor.person, command.reason, via=_via(actor, where))
        return _about(result, incident.id)

    def _silence(self, command: Command, actor: Actor, where: Where) -> Reply:
        incident = self._incident(command.proposal)
        result = self._decisions.silence(
            incident.id, actor.person, command.seconds, command.reason, via=_via(actor, where)
        )
        return _about(result, incident.id)

    # ------------------------------------------------ one's own account

    def _link(self, _command: Command, actor: Actor, where: Where) -> Reply:
        if where.platform == "github":
            return _refused(
                Refused("B492", "ask for it in chat, or open the inbox's page; this page is read by others")
            )
        address = "" if self._links is None else self._links.invitation(actor.person)
        if self._links is None:
            return Reply("linking accounts is not configured (github.oauth)", done=False)
        if not address:
            return Reply(
                "open the inbox's page Account; its public address is not configured (inbox.publicUrl)", done=False
            )
        return Reply(f"within ten minutes, logged in to the inbox as {actor.person}, open {address}", done=True)

    def _unlink(self, _command: Command, actor: Actor, _where: Where) -> Reply:
        ended = None if self._links is None else self._links.unlink(actor.person)
        if ended is None:
            return Reply("no account of yours is linked", done=False)
        return Reply("your account is no longer linked; what it says there counts no more", done=True)

    # ------------------------------------------------ to ask for

    def _ask(self, command: Command, actor: Actor, where: Where) -> Reply:
        name = command.remedy or _REMEDY_OF[command.verb]
        options = dict(command.options)
        if command.days:
            options["days"] = str(command.days)
        target = command.name or f"{command.model} {command.version}"
        asked = self._decisions.ask(name, target, options, command.reason, actor.person, via=_via(actor, where))
        if isinstance(asked, Refused):
            return _refused(asked)
        return Reply(asked.message, done=True, incident=asked.incident)

    # ------------------------------------------------ parts

    def _proposal(self, proposal_id: str) -> ProposalView:
        found = self._decisions.proposal(proposal_id)
        if found is None:
            raise RefusedError("B424", f'there is no proposal "{proposal_id}"; `status` lists those that wait')
        return found

    def _incident(self, any_id: str) -> Incident:
        found = self._decisions.incident(any_id)
        if found is None:
            raise RefusedError("B443", f'there is no incident or proposal "{any_id}"; `status` lists what is open')
        return found


_REMEDY_OF: Mapping[Verb, str] = {
    Verb.PROMOTE: "promote",
    Verb.PAUSE: "pause",
    Verb.RESUME: "resume",
    Verb.ABORT: "abort",
    Verb.ROLLBACK: "rollback",
    Verb.HOLD: "hold",
    Verb.RELEASE: "release",
    Verb.PROPOSE: "",
}
"""The remedy that a verb asks for; ``propose`` names its own."""


def _nonce(where: Where) -> str:
    return f"{where.platform}/{where.nonce}"


def _via(actor: Actor, where: Where) -> str:
    return printable(f"{actor.identity} {where.platform} {where.place}".strip(), 200)


def _lines(lines: list[str], **about: str) -> Reply:
    return Reply(
        "\n".join(part for line in lines for part in (printable(each, 2000) for each in line.split("\n"))),
        done=True,
        **about,
    )


def _told(result: DecisionResult, proposal: str) -> Reply:
    if isinstance(result, Accepted):
        return Reply(result.message, done=True, proposal=proposal)
    return Reply(f"{result.code} {result.reason}", done=False, code=result.code, proposal=proposal)


def _about(result: DecisionResult, incident: str) -> Reply:
    if isinstance(result, Accepted):
        return Reply(result.message, done=True, incident=incident)
    return Reply(f"{result.code} {result.reason}", done=False, code=result.code, incident=incident)


def _refused(refused: Refused) -> Reply:
    return Reply(f"{refused.code} {refused.reason}", done=False, code=refused.code)


def _bare(digest: str) -> str:
    return digest.removeprefix("sha256:")


def _whole(found: ProposalView, digest: str) -> str:
    """The digest that the first digits stand for; what does not fit stays as it is, and is refused as another one."""
    return found.digest if _bare(found.digest).startswith(digest) else digest


def _why(found: ProposalView) -> list[str]:
    lines = [found.title, found.summary, *(f"{fact.label}: {fact.value}" for fact in found.facts)]
    if found.offending is not None:
        lines.append(f"commit {found.offending.sha[:_DIGEST]} {found.offending.subject} by {found.offending.author}")
    if found.open_for_decision:
        lines.append(f"to approve: /trimtab approve {found.id} {_bare(found.digest)[:_DIGEST]}")
    return lines
