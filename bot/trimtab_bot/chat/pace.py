"""How fast a room may be spoken to: sliding windows over what was said. Pure but for the clock that is given.

Slack's published limits are one message a second for a channel, and for editing at least 50 a minute (tier 3)
(https://docs.slack.dev/apis/web-api/rate-limits). The room counts a request somewhere between its leaving and its answer, so
its time here is the answer's: however long a network or an upload of several steps takes, the next one cannot arrive too early.
"""

from __future__ import annotations

from collections import deque
from contextlib import contextmanager
from enum import Enum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from trimtab_bot.moments import Clock


class Kind(Enum):
    """What is limited: how many within how many seconds."""

    MESSAGE = (1, 1.1)
    """A new message in the channel or in one of its threads, a picture included."""
    EDIT = (45, 60.5)
    """A change of a message."""


class Pace:
    """What was said lately. Used by one thread."""

    def __init__(self, clock: Clock) -> None:
        """``clock`` gives seconds that only go forward."""
        self._clock = clock
        self._said: dict[Kind, deque[float]] = {kind: deque(maxlen=kind.value[0]) for kind in Kind}

    def wait(self, kind: Kind) -> float:
        """Seconds until one more may be said; 0 for now."""
        count, seconds = kind.value
        said = self._said[kind]
        return 0.0 if len(said) < count else max(0.0, seconds - (self._clock() - said[0]))

    @contextmanager
    def saying(self, kind: Kind) -> Iterator[None]:
        """One more is said within; it counts from its end on, also where it failed, since it may have been heard."""
        try:
            yield
        finally:
            self._said[kind].append(self._clock())
