"""How fast a room may be spoken to: sliding windows over what was said. Pure but for the clock that is given.

Slack's published limits are one message a second for a channel, and for editing at least 50 a minute (tier 3)
(https://docs.slack.dev/apis/web-api/rate-limits). What is kept here is a little slower, since two requests that leave a second
apart may arrive closer together.
"""

from __future__ import annotations

from collections import deque
from enum import Enum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
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
        self._said: dict[Kind, deque[float]] = {kind: deque() for kind in Kind}

    def wait(self, kind: Kind) -> float:
        """Seconds until one more may be said; 0 for now."""
        count, seconds = kind.value
        said, at = self._said[kind], self._clock()
        while said and at - said[0] >= seconds:
            said.popleft()
        return 0.0 if len(said) < count else seconds - (at - said[0])

    def said(self, kind: Kind) -> None:
        """One more was said, or may have been."""
        self._said[kind].append(self._clock())
