"""A store whose transactions count only under the newest fencing token.

A process may believe that it leads when it no longer does: it was frozen, or the network kept its renewals. So the token is
compared in the very transaction that writes, and writers of one store go one by one: no effect is written down, and so none is
asked for on the outside, by who has been replaced.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from trimtab_kernel.problems import OutsideError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from contextlib import AbstractContextManager

    from trimtab_bot.leading.interface import Leadership
    from trimtab_bot.store.interface import Reading, Store, Writing


class NotLeadingError(OutsideError):
    """Another replica acts; what was to be written was not."""


class SoleLeadership:
    """The one process that works on a state directory leads from its start, under a token of its own."""

    def __init__(self, store: Store, holder: str) -> None:
        """Takes the token. Raises OutsideError."""
        with store.transaction() as work:
            self._epoch = work.take_leadership(holder)

    def epoch(self) -> int | None:
        """See Leadership."""
        return self._epoch


class FencedStore:
    """A :class:`trimtab_bot.store.interface.Store` for those parts that only the leader may run."""

    def __init__(self, inner: Store, leadership: Leadership) -> None:
        self._inner = inner
        self._leadership = leadership

    def reading(self) -> AbstractContextManager[Reading]:
        """See Store."""
        return self._inner.reading()

    @contextmanager
    def transaction(self) -> Iterator[Writing]:
        """See Store. Raises NotLeadingError before anything is written."""
        with self._inner.transaction() as work:
            mine, newest = self._leadership.epoch(), work.epoch()
            if mine != newest:
                reason = "this replica does not lead" if mine is None else f"epoch {mine} was replaced by {newest}"
                raise NotLeadingError(f"{reason}; another replica acts")
            yield work
