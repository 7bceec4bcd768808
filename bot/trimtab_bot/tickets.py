"""What is handed out to come back once: the state of an OAuth flow (RFC 6749, 10.12), or a link that starts one.

Of what is handed out the database holds digests alone. A ticket is for one purpose, comes back within ten minutes, once, and
from the browser that it was given to: that browser has a second secret in a cookie. Whether it comes back rightly or not, it is
used from then on.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
from dataclasses import dataclass
from typing import TYPE_CHECKING

from trimtab_bot.store.interface import Ticket
from trimtab_kernel.problems import RefusedError

if TYPE_CHECKING:
    from trimtab_bot.moments import Clock
    from trimtab_bot.store.interface import Store

SECONDS = 600.0
_REMEMBERED = 86400.0


@dataclass(frozen=True, slots=True)
class HandedOut:
    """What the outside gets: ``value`` travels with the request, ``browser`` in a cookie."""

    value: str
    browser: str


class Tickets:
    """Any thread may use it, and any replica."""

    def __init__(self, store: Store, clock: Clock) -> None:
        """``clock`` gives Unix seconds."""
        self._store = store
        self._clock = clock

    def issue(self, purpose: str, person: str = "", body: str = "", *, any_browser: bool = False) -> HandedOut:
        """Hand one out. ``body`` must be sealed. Raises OutsideError where it cannot be written down."""
        made = HandedOut(secrets.token_urlsafe(32), "" if any_browser else secrets.token_urlsafe(32))
        browser = _digest(made.browser) if made.browser else ""
        at = self._clock()
        ticket = Ticket(_digest(made.value), purpose, browser, person, body, at + SECONDS)
        with self._store.transaction() as work:
            work.add_ticket(ticket, at - _REMEMBERED)
        return made

    def take(self, purpose: str, value: str, browser: str = "") -> Ticket:
        """Take one back. Raises RefusedError (B480 to B484), each with its own reason, and OutsideError."""
        at = self._clock()
        with self._store.transaction() as work:
            found = work.use_ticket(_digest(value), at) if value else None
        if found is None:
            raise RefusedError("B480", "this was not handed out here, or long ago; begin again")
        if found.purpose != purpose:
            raise RefusedError("B484", f"this was handed out for {found.purpose}, and came back as {purpose}")
        if found.used_at is not None:
            raise RefusedError("B482", "this was used already, and is good for one time; begin again")
        if at > found.expires_at:
            raise RefusedError("B481", "this was handed out more than ten minutes ago; begin again")
        if found.browser and not hmac.compare_digest(found.browser, _digest(browser)):
            raise RefusedError("B483", "this was handed out to another browser; begin again in this one")
        return found


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
