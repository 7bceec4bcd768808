"""What comes from Slack is written down before it is acted upon, and acted upon once.

Slack sends events again, and clicks arrive twice or by two connections. Each has an id of its own; its answer is kept, and a
repeat gets the answer that is kept. What a process died over is taken up again by the next one: decisions are single-use, so
that doing it again is harmless.
"""

from __future__ import annotations

import json
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING

from trimtab_kernel.canonical import canonical_json

if TYPE_CHECKING:
    from collections.abc import Callable

    from trimtab_bot.moments import Clock
    from trimtab_bot.store.interface import Store

SOURCE = "slack"
KEPT_SECONDS = 7 * 86400.0
"""How long ids are remembered; Slack repeats for an hour at most."""
_UNDER_WAY = 30.0


@dataclass(frozen=True, slots=True)
class Wish:
    """Something that a member of a workspace asks for. ``verb`` is approve, deny or type; ``text`` what was typed, or the reason."""

    verb: str
    team: str
    user: str
    user_team: str
    enterprise: bool
    channel: str
    proposal: str
    digest: str
    text: str
    answer_to: str


@dataclass(frozen=True, slots=True)
class Answer:
    """What is answered. ``done`` is False for what was refused."""

    text: str
    done: bool


class Intake:
    """Any thread may use it."""

    def __init__(self, store: Store, clock: Clock) -> None:
        """``clock`` gives Unix seconds."""
        self._store = store
        self._clock = clock
        self._turns = tuple(threading.Lock() for _ in range(16))

    def once(self, key: str, wish: Wish, act: Callable[[str, Wish], Answer]) -> Answer:
        """Act on it, or give the answer that was given before. Raises OutsideError where it cannot be written down."""
        body = canonical_json({name: getattr(wish, name) for name in Wish.__slots__}).decode()
        # Repeats often come at once: the second waits for the answer of the first.
        with self._turns[hash(key) % len(self._turns)]:
            return self._once(key, wish, body, act)

    def _once(self, key: str, wish: Wish, body: str, act: Callable[[str, Wish], Answer]) -> Answer:
        with self._store.transaction() as work:
            known = None if work.add_delivery(SOURCE, key, self._clock(), body) else work.delivery(SOURCE, key)
            work.forget_deliveries(self._clock() - KEPT_SECONDS)
        if known is not None and known.answer is not None:
            return Answer(**json.loads(known.answer))
        return self._finish(key, wish, act)

    def take_up(self, act: Callable[[str, Wish], Answer]) -> tuple[tuple[Wish, Answer], ...]:
        """Act on what was written down and never answered, unless it has only just come in."""
        with self._store.reading() as view:
            waiting = view.unanswered(SOURCE)
        found = []
        for each in waiting:
            if self._clock() - each.at < _UNDER_WAY:
                continue
            wish = Wish(**json.loads(each.body))
            found.append((wish, self._finish(each.key, wish, act)))
        return tuple(found)

    def _finish(self, key: str, wish: Wish, act: Callable[[str, Wish], Answer]) -> Answer:
        answer = act(key, wish)
        with self._store.transaction() as work:
            work.answer_delivery(SOURCE, key, canonical_json({"text": answer.text, "done": answer.done}).decode())
        return answer
