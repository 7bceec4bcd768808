"""Webhooks of GitHub: a signed knock at the door, and nothing more.

A delivery is believed in one thing: that something happened to a pull request of this number. What happened is read from
GitHub itself. So a replayed, reordered, doubled or lost delivery changes nothing but when we look; deliveries are remembered
all the same, so that a replay does not even make us look, and the rate of looking is bounded.

Security: HMAC-SHA256 over the raw body before anything of it is parsed, compared in constant time; a body of at most a
mebibyte; the answer says nothing of the reason to a stranger.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import re
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from trimtab_bot.moments import Clock
    from trimtab_bot.store.interface import Store

MAX_BODY = 1024 * 1024
SHORTEST_SECRET = 16
SOURCE = "github-webhook"
EVENTS = frozenset(
    {"ping", "issue_comment", "pull_request", "pull_request_review", "push", "check_run", "check_suite", "status"}
)
_DELIVERY = re.compile(r"[0-9A-Za-z-]{8,64}", re.ASCII)


class Knock(Enum):
    """What became of a delivery, with the status that answers it."""

    WOKEN = 202
    KNOWN = 200
    IGNORED = 204
    FORGED = 401
    MALFORMED = 400
    TOO_LARGE = 413


@dataclass(frozen=True, slots=True)
class Delivery:
    """One request as it came. Header names are lower-case."""

    headers: Mapping[str, str]
    body: bytes


class Door:
    """Judges deliveries. Any thread may use it."""

    def __init__(
        self, secret: bytes, repository: str, store: Store, clock: Clock, wake: Callable[[tuple[int, ...]], None]
    ) -> None:
        """``wake`` is told which pull requests to look at. Raises ValueError for a secret that can be guessed."""
        if len(secret) < SHORTEST_SECRET:
            raise ValueError(f"expected a secret of at least {SHORTEST_SECRET} characters")
        self._secret = secret
        self._repository = repository.lower()
        self._store = store
        self._clock = clock
        self._wake = wake

    def knock(self, delivery: Delivery) -> Knock:
        """Judge one delivery; wakes the bot where it is genuine and new. Raises OutsideError where the store is silent."""
        if len(delivery.body) > MAX_BODY:
            return Knock.TOO_LARGE
        offered = delivery.headers.get("x-hub-signature-256", "")
        expected = "sha256=" + hmac.new(self._secret, delivery.body, hashlib.sha256).hexdigest()
        if not hmac.compare_digest(offered.encode("utf-8", "replace"), expected.encode()):
            return Knock.FORGED
        key, event = delivery.headers.get("x-github-delivery", ""), delivery.headers.get("x-github-event", "")
        if _DELIVERY.fullmatch(key) is None:
            return Knock.MALFORMED
        if event not in EVENTS:
            return Knock.IGNORED
        numbers = _numbers(delivery.body, self._repository)
        if numbers is None:
            return Knock.MALFORMED
        with self._store.transaction() as work:
            # The id is not signed, the body is: a replay under another id is known by its content.
            digest = hashlib.sha256(delivery.body).hexdigest()
            fresh = [work.add_delivery(SOURCE, each, self._clock(), event) for each in (key, digest)]
            for each in (key, digest):
                work.answer_delivery(SOURCE, each, "seen")
        if not all(fresh):
            return Knock.KNOWN
        self._wake(numbers)
        return Knock.WOKEN


def _numbers(body: bytes, repository: str) -> tuple[int, ...] | None:
    """The pull requests that a payload names, () for none; None for what is no payload of this repository."""
    try:
        content: Any = json.loads(body)
        if str(content["repository"]["full_name"]).lower() != repository:
            return None
        found = [content.get("number"), *((content.get(key) or {}).get("number") for key in ("pull_request", "issue"))]
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return None
    return tuple(sorted({each for each in found if type(each) is int and 0 < each < 2**31}))
