"""Who is asking: sessions of the web page, and the brake on guessing tokens.

A session is a random 256-bit id in a cookie; the person and a second random value against cross-site request forgery
are kept here, in memory: a restart logs people out, which costs a paste of the token and stores no secret on disk.
Time is an input (seconds, monotonic).
"""

from __future__ import annotations

import hmac
import secrets
import threading
from collections import deque
from dataclasses import dataclass

SESSION_SECONDS = 8 * 3600
MAX_SESSIONS = 1000
MAX_FAILURES = 10
FAILURE_WINDOW_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class Session:
    """A logged-in browser. ``expires`` is in seconds of the same clock that was passed in."""

    person_id: str
    csrf: str
    expires: float

    def csrf_matches(self, value: str) -> bool:
        """Compared in constant time."""
        return hmac.compare_digest(self.csrf.encode(), value.encode())


class Sessions:
    """All sessions of this process. Safe to use from several threads."""

    def __init__(self) -> None:
        """Starts empty."""
        self._lock = threading.Lock()
        self._sessions: dict[str, Session] = {}

    def open(self, person_id: str, now: float) -> tuple[str, Session]:
        """A new session for a person whose token was accepted: its secret id, and the session."""
        with self._lock:
            self._forget_expired(now)
            while len(self._sessions) >= MAX_SESSIONS:
                del self._sessions[min(self._sessions, key=lambda key: self._sessions[key].expires)]
            key = secrets.token_urlsafe(32)
            session = Session(person_id, secrets.token_urlsafe(32), now + SESSION_SECONDS)
            self._sessions[key] = session
            return key, session

    def find(self, key: str | None, now: float) -> Session | None:
        """The session with this id, unless it has expired."""
        with self._lock:
            session = self._sessions.get(key) if key else None
            return session if session and now < session.expires else None

    def close(self, key: str | None) -> None:
        """Forget a session; an unknown one is no error."""
        with self._lock:
            if key:
                self._sessions.pop(key, None)

    def _forget_expired(self, now: float) -> None:
        for key in [key for key, session in self._sessions.items() if session.expires <= now]:
            del self._sessions[key]


class GuessBrake:
    """At most :data:`MAX_FAILURES` wrong tokens a minute from one address.

    Tokens have 256 bits, so guessing is hopeless anyway; the brake keeps the attempt cheap for us and visible.
    """

    def __init__(self) -> None:
        """Starts with no failures."""
        self._lock = threading.Lock()
        self._failures: dict[str, deque[float]] = {}

    def seconds_to_wait(self, address: str, now: float) -> float:
        """0 where another try is allowed."""
        with self._lock:
            failures = self._recent(address, now)
            return failures[0] + FAILURE_WINDOW_SECONDS - now if len(failures) >= MAX_FAILURES else 0.0

    def failed(self, address: str, now: float) -> None:
        """Remember a wrong token."""
        with self._lock:
            self._recent(address, now).append(now)

    def _recent(self, address: str, now: float) -> deque[float]:
        if len(self._failures) > MAX_SESSIONS:
            self._failures = {a: f for a, f in self._failures.items() if f and f[-1] > now - FAILURE_WINDOW_SECONDS}
        failures = self._failures.setdefault(address, deque(maxlen=MAX_FAILURES))
        while failures and failures[0] <= now - FAILURE_WINDOW_SECONDS:
            failures.popleft()
        return failures
