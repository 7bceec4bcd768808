"""Slack's published limits, as a server keeps them, on a clock that is given.

https://docs.slack.dev/apis/web-api/rate-limits: one message a second for a channel, with short bursts; methods by tiers, a
minute at a time: 20 (tier 2), 50 (tier 3), 100 (tier 4). No burst is allowed here.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

MESSAGES = frozenset({"chat.postMessage", "files.completeUploadExternal"})
TIERS = {
    "chat.update": 50,
    "conversations.history": 50,
    "conversations.replies": 50,
    "views.publish": 100,
    "views.open": 100,
    "users.info": 100,
    "files.getUploadURLExternal": 100,
    "auth.test": 1000,
}


@dataclass(slots=True)
class Limits:
    """What was asked lately. ``refused`` counts how often the limits were met: a well-behaved app never meets them."""

    clock: Callable[[], float]
    refused: int = 0
    _asked: dict[str, deque[float]] = field(default_factory=dict)

    def ask(self, method: str, channel: str = "") -> float:
        """Seconds to wait (Retry-After); 0 where the call is within the limits, and then it counts."""
        if method in MESSAGES:
            key, count, seconds = f"message {channel}", 1, 1.0
        else:
            key, count, seconds = method, TIERS.get(method, 20), 60.0
        asked, at = self._asked.setdefault(key, deque()), self.clock()
        while asked and at - asked[0] >= seconds:
            asked.popleft()
        if len(asked) >= count:
            self.refused += 1
            return max(1.0, seconds - (at - asked[0]))
        asked.append(at)
        return 0.0
