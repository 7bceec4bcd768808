"""Rendered text kept aside until the last group is known to be sound: in memory while it is little, else in a file."""

from __future__ import annotations

import io
from typing import IO, TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import TracebackType

_IN_MEMORY = 32 * 2**20


class Staging:
    """Contents by name, in the order in which they were added. A context manager: what it keeps is gone after it."""

    def __init__(self) -> None:
        self._file: IO[bytes] = io.BytesIO()
        self._size = 0
        self._sizes: list[tuple[str, int]] = []

    def __enter__(self) -> Staging:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()

    def add(self, name: str, content: bytes) -> None:
        """Keep ``content``. Raises OSError where the disk is full."""
        self._size += len(content)
        if self._size > _IN_MEMORY and isinstance(self._file, io.BytesIO):
            import tempfile

            larger = tempfile.TemporaryFile()  # noqa: SIM115 - closed by __exit__
            larger.write(self._file.getbuffer())
            self._file = larger
        self._sizes.append((name, self._file.write(content)))

    def clear(self) -> None:
        """Forget everything."""
        self._file.seek(0)
        self._file.truncate()
        self._size = 0
        self._sizes.clear()

    def items(self) -> Iterator[tuple[str, bytes]]:
        """Each name with its bytes, one at a time."""
        self._file.seek(0)
        for name, size in self._sizes:
            yield name, self._file.read(size)
