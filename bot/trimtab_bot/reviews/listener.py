"""Listens to pull requests: each comment and each review is acted upon once, and answered once.

Nothing depends on having seen an event: what is there is read (conditionally, so that it costs nothing where nothing has
changed) and compared with what was taken up. What is taken up is written down first, with its text as it was then; what was
answered is written down too, and looked for on the pull request before it is said again.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from trimtab_bot.chat.grammar import Command, Verb
from trimtab_bot.commands import Actor, Reply, Where
from trimtab_bot.linking.own_reviews import MARK, OURS
from trimtab_bot.reviews.checks import check_of
from trimtab_bot.reviews.wishes import Decided, Typed, Unheard, wish_of_remark, wish_of_review
from trimtab_config.githost.conversation import Opinion
from trimtab_kernel.problems import printable

if TYPE_CHECKING:
    from collections.abc import Iterable

    from trimtab_bot.commands import Commands
    from trimtab_bot.inbox.interface import Decisions, ProposalView
    from trimtab_bot.moments import Clock
    from trimtab_bot.reviews.accounts import Accounts
    from trimtab_bot.reviews.wishes import Wish
    from trimtab_bot.store.interface import Store
    from trimtab_config.githost.conversation import Conversation, HostAccount, HostReview

SOURCE = "github"
_SAID = "github-said"
_OLDEST = 7 * 86400.0
"""Seconds after which a comment is history: nothing waits so long, and what was taken up is forgotten later than that."""
_ENDED = 2
_MOST_LINE = 1000
_LOGIN = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9-]{0,37}[A-Za-z0-9])?", re.ASCII)


@dataclass(frozen=True, slots=True)
class Heard:
    """What one look found: how many wishes were taken up."""

    taken: int = 0


class Listener:
    """Used by one thread."""

    def __init__(
        self,
        conversation: Conversation,
        decisions: Decisions,
        commands: Commands,
        store: Store,
        accounts: Accounts,
        own: int,
        clock: Clock,
        check: str = "",
    ) -> None:
        """``own`` is the numeric id of the account that the bot acts as; ``clock`` gives Unix seconds.

        ``check`` is the name of the check that says on each proposal's head what was proven of it; "" for none.
        """
        self._conversation = conversation
        self._decisions = decisions
        self._commands = commands
        self._store = store
        self._accounts = accounts
        self._own = own
        self._clock = clock
        self._check = check
        self._done: set[str] = set()

    def step(self, numbers: Iterable[int] = ()) -> Heard:
        """Look at every proposal that waits, the newest that are over, and those of ``numbers``. Raises OutsideError."""
        views = [view for view in self._decisions.proposals() if view.number > 0]
        wanted = set(numbers)
        ended = [view for view in views if not view.open_for_decision][:_ENDED]
        taken = 0
        for view in views:
            if view.open_for_decision or view in ended or view.number in wanted:
                taken += self._look(view)
                if self._check:
                    self._conversation.check(view.head, check_of(view, self._check))
        return Heard(taken)

    def _look(self, view: ProposalView) -> int:
        """Comments and reviews in the order in which they were written."""
        found: list[tuple[float, str, HostAccount, Wish]] = []
        for remark in self._conversation.remarks(view.number):
            wish = wish_of_remark(remark)
            if wish is not None and remark.account != self._own:
                found.append((remark.at.timestamp(), f"comment/{remark.id}", remark.writer, wish))
        for review in self._conversation.reviews(view.number):
            wish = wish_of_review(review, view)
            if (
                wish is not None
                and review.account != self._own
                and not self._ours(review, view)
                and self._counts(review)
            ):
                # One review can be an approval at first and be dismissed later: these are two wishes.
                key = _key(review, review.opinion)
                found.append((review.at.timestamp(), key, review.writer, wish))
        oldest = self._clock() - _OLDEST
        taken = 0
        for at, key, writer, wish in sorted(found, key=lambda each: each[:2]):
            if at >= oldest and key not in self._done:
                taken += self._take(view.number, key, writer, wish)
                self._done.add(key)
        return taken

    def _ours(self, review: HostReview, view: ProposalView) -> bool:
        """An approval of here that was submitted in the person's name: it has been taken up."""
        approved = review.opinion is Opinion.APPROVED and review.body.startswith(MARK)
        return approved and self._accounts.person(review.account) in view.approvals

    def _counts(self, review: HostReview) -> bool:
        """A dismissal takes back what was taken up, and is no affair of ours otherwise."""
        if review.opinion is not Opinion.DISMISSED:
            return True
        with self._store.reading() as view:
            return view.delivery(SOURCE, _key(review, Opinion.APPROVED)) is not None

    def _take(self, number: int, key: str, writer: HostAccount, wish: Wish) -> int:
        person = self._accounts.person(writer.id)
        said = key
        if isinstance(wish, Unheard) or not person:
            # Strangers and programs are answered once on each pull request, so that nobody makes us talk without end.
            said = f"stranger/{number}/{writer.id}" if not person else key
        with self._store.transaction() as work:
            is_new = work.add_delivery(SOURCE, key, self._clock(), _text(wish))
            known = work.delivery(SOURCE, key)
        assert known is not None
        answer = known.answer
        if answer == OURS:
            return 0
        if answer is None:
            reply = self._act(number, key, writer, person, _wish(known.body))
            answer = reply.text
            with self._store.transaction() as work:
                work.answer_delivery(SOURCE, key, answer)
        with self._store.reading() as view:
            if view.delivery(_SAID, said) is not None:
                return int(is_new)
        self._conversation.answer(number, said, _markdown(writer.login, answer))
        with self._store.transaction() as work:
            work.add_delivery(_SAID, said, self._clock(), key)
            work.answer_delivery(_SAID, said, "said")
        return int(is_new)

    def _act(self, number: int, key: str, writer: HostAccount, person: str, wish: Wish) -> Reply:
        if isinstance(wish, Unheard) and person:
            return Reply(f"{wish.code} {wish.reason}", done=False, code=wish.code)
        actor = Actor(person, f"{SOURCE}:{writer.id}")
        where = Where(SOURCE, f"pull/{number}", key)
        if isinstance(wish, Typed):
            reply = self._commands.say(wish.line, actor, where)
        elif isinstance(wish, Decided):
            reply = self._commands.run(wish.command, actor, where)
        else:
            reply = self._commands.say("", Actor("", actor.identity), where)
        if reply.code == "B442":
            text = "this was taken up before the bot was interrupted; `/trimtab history ID` says what became of it"
            return Reply(text, done=False, code=reply.code)
        return reply


def _key(review: HostReview, opinion: Opinion) -> str:
    return f"review/{review.id}/{opinion.name.lower().replace('_', '-')}"


def _text(wish: Wish) -> str:
    """A wish as it is written down: what was understood when it was read, whatever becomes of the comment later."""
    if isinstance(wish, Typed):
        return json.dumps({"line": wish.line})
    if isinstance(wish, Unheard):
        return json.dumps({"code": wish.code, "reason": wish.reason})
    command = wish.command
    about = {"proposal": command.proposal, "digest": command.digest, "reason": command.reason}
    return json.dumps({"verb": command.verb.value, **about})


def _wish(text: str) -> Wish:
    found = json.loads(text)
    if "line" in found:
        return Typed(found["line"])
    if "code" in found:
        return Unheard(found["code"], found["reason"])
    verb = Verb(found["verb"])
    return Decided(Command(verb, proposal=found["proposal"], digest=found["digest"], reason=found["reason"]))


def _markdown(login: str, answer: str) -> str:
    """The answer in a fence that nothing in it can end: no mention, link, marker or image of somebody else's making."""
    lines = [printable(line, _MOST_LINE) for line in answer.split("\n")]
    runs = [len(run) for line in lines for run in re.findall("`+", line)]
    fence = "`" * max(3, 1 + max(runs, default=0))
    name = f"@{login}:\n" if _LOGIN.fullmatch(login) else ""
    return "\n".join((f"{name}{fence}text", *lines, fence))
