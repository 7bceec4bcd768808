"""Stretches of archives that came before: entries that are byte for byte as they were are taken together, not one by one.

The next commit of a repository differs from the last in a few files. What an archive's reader makes of a stretch of whole
entries is a function of its bytes, so equal bytes need no second reading; equal means compared, not hashed.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from trimtab_plugins.argocd.checkout import Batch

MOST_BYTES = 48 * 1024 * 1024
LENGTH = 64 * 1024
"""Bytes after which a stretch ends: what is read anew around a change."""
_ENTRY = 500  # bytes that an entry takes in memory beside its own


@dataclass(frozen=True, slots=True)
class Run:
    """Whole plain entries one after another: headers, contents, padding; and what the reader made of them."""

    raw: bytes
    entries: int
    batch: Batch


class Runs:
    """Runs by the fleet's folder and by their first header, the least recently used dropped. For one thread."""

    def __init__(self, most: int = MOST_BYTES) -> None:
        """``most`` is in bytes, of everything that is kept."""
        self._most = most
        self._runs: OrderedDict[tuple[bytes, bytes], Run] = OrderedDict()
        self.weight = 0

    def get(self, prefix: bytes, header: bytes) -> Run | None:
        """The run that began with this header when it was last seen."""
        return self._runs.get((prefix, header))

    def used(self, prefix: bytes, header: bytes) -> None:
        """The run is of use."""
        self._runs.move_to_end((prefix, header))

    def put(self, prefix: bytes, header: bytes, run: Run) -> None:
        """Keep a run instead of another that begins so."""
        before = self._runs.pop((prefix, header), None)
        self.weight += _weight(run) - (0 if before is None else _weight(before))
        self._runs[prefix, header] = run
        while self.weight > self._most:
            self.weight -= _weight(self._runs.popitem(last=False)[1])


def _weight(run: Run) -> int:
    return len(run.raw) + run.batch.kept + _ENTRY * run.entries
