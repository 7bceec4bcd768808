"""The desired document as it is mounted on the device: a directory whose content is swapped as a whole."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

from trimtab_edge.reading import read_limited
from trimtab_kernel.desired import MAX_BYTES
from trimtab_kernel.problems import OutsideError
from trimtab_kernel.vocabulary import DESIRED_FILE

if TYPE_CHECKING:
    from pathlib import Path

Mark: TypeAlias = "tuple[int, int, int, int] | None"


class MountedOrders:
    """``DIR/desired.json``, through whatever links the mount swaps."""

    def __init__(self, directory: Path) -> None:
        self._path = directory / DESIRED_FILE

    def mark(self) -> Mark:
        """Changes whenever the document was replaced; None where there is none."""
        try:
            found = self._path.stat()
        except OSError:
            return None
        return (found.st_dev, found.st_ino, found.st_mtime_ns, found.st_size)

    def read(self) -> bytes:
        """At most one byte more than a document may have. Raises :class:`OutsideError` where there is nothing to read."""
        try:
            return read_limited(self._path, MAX_BYTES)
        except OSError as error:
            raise OutsideError(f"no desired document at {self._path}: {error.strerror or error}") from None
