"""Leadership by a lease: a thread that renews it, and takes a fencing token each time it is won anew."""

from __future__ import annotations

import threading
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from trimtab_kernel.election import Memory, leads, look, release, stored
from trimtab_kernel.problems import OutsideError

if TYPE_CHECKING:
    from collections.abc import Callable

    from trimtab_bot.leading.interface import LeaseStore
    from trimtab_bot.store.interface import Store
    from trimtab_kernel.election import Terms


class LeaseLeadership:
    """A :class:`trimtab_bot.leading.interface.Leadership`. :meth:`start` it, and :meth:`stop` it at the end."""

    def __init__(
        self,
        lease: LeaseStore,
        store: Store,
        terms: Terms,
        tell: Callable[[str], None],
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """``tell`` is told in a sentence when this replica begins or ceases to lead, and when the lease cannot be reached."""
        self._lease = lease
        self._store = store
        self._terms = terms
        self._tell = tell
        self._monotonic = monotonic
        self._memory = Memory()
        self._epoch: int | None = None
        self._told = ""
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="trimtab-lease", daemon=True)
        self._won: Callable[[], None] = lambda: None

    def epoch(self) -> int | None:
        """See Leadership: None as soon as the last renewal is too long ago, whatever the thread is doing."""
        epoch = self._epoch
        return epoch if epoch is not None and leads(self._memory, self._terms, self._monotonic()) else None

    def start(self, won: Callable[[], None]) -> None:
        """Begin; ``won`` is called by the thread whenever the lease was won."""
        self._won = won
        self._thread.start()

    def stop(self) -> None:
        """End, and give the lease back so that another replica may follow at once."""
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join(30)
        self._epoch = None
        write = release(self._memory, self._terms, datetime.now(UTC))
        if write is not None:
            try:
                self._lease.write(write, self._terms.pause)
            except OutsideError:
                return  # it runs out by itself

    def step(self) -> None:
        """One look at the lease; what cannot be reached is told."""
        limit = max(0.5, self._terms.renew_within / 2)
        try:
            found = self._lease.read(limit)
            at = self._monotonic()
            self._memory, write = look(self._memory, self._terms, found, at, datetime.now(UTC))
            if self._memory.renewed_at is None:
                self._epoch = None  # somebody else has held it since: a token of today is needed
            if write is not None:
                version = self._lease.write(write, limit)
                if version is not None:
                    self._memory = stored(self._memory, self._terms, version, at)
            self._judge()
        except OutsideError as error:
            self._say(f"the lease cannot be kept: {error}")
            if not leads(self._memory, self._terms, self._monotonic()):
                self._epoch = None

    def _judge(self) -> None:
        if not leads(self._memory, self._terms, self._monotonic()):
            self._epoch = None
            self._say("another replica leads; this one stands by")
        elif self._epoch is None:
            with self._store.transaction() as work:
                epoch = work.take_leadership(self._terms.identity)
            # Taking the token may have lasted longer than the lease: epoch() compares again.
            self._epoch = epoch
            self._say(f"this replica leads, epoch {epoch}")
            self._won()

    def _say(self, text: str) -> None:
        if text != self._told:
            self._told = text
            self._tell(text)

    def _run(self) -> None:
        while not self._stop.is_set():
            self.step()
            self._stop.wait(self._terms.pause)
