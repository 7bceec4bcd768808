"""Where a command's product goes: stdout, or a file that is there whole or not at all."""

from __future__ import annotations

import os
import sys
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import IO, TYPE_CHECKING, cast

from trimtab_kernel.problems import InputError, OutsideError, Problem

if TYPE_CHECKING:
    from collections.abc import Iterator


class Product:
    """One stream to write to, as text or as bytes."""

    def __init__(self, stream: IO[str] | IO[bytes]) -> None:
        self._stream = stream

    @property
    def text(self) -> IO[str]:
        """The stream that was opened for text."""
        return cast("IO[str]", self._stream)

    @property
    def bytes(self) -> IO[bytes]:
        """The stream that was opened for bytes."""
        return cast("IO[bytes]", self._stream)


@contextmanager
def product(path: Path | None, *, binary: bool = False) -> Iterator[Product]:
    """A place for the product: a new file beside ``path``, renamed to it when all is written.

    Without a path text waits in a temporary file and goes to stdout at the end, so that nothing half done is printed.
    Raises InputError (F711) for bytes on a terminal, OutsideError where the file cannot be written.
    """
    if path is None and binary and sys.stdout.isatty():
        raise InputError(Problem("F711", field="--output-file", got="a terminal", expected="a file for Parquet"))
    mode, encoding, newline = ("w+b", None, None) if binary else ("w+", "utf-8", "")
    if path is None:
        with tempfile.TemporaryFile(mode, encoding=encoding, newline=newline) as waiting:
            yield Product(waiting)
            waiting.seek(0)
            target = sys.stdout.buffer if binary else sys.stdout
            while chunk := waiting.read(1 << 20):
                target.write(chunk)
        return
    try:
        handle, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    except OSError as error:
        raise OutsideError(f"{path}: {error.strerror or error}") from None
    try:
        with os.fdopen(handle, mode, encoding=encoding, newline=newline) as stream:
            yield Product(stream)
        umask = os.umask(0)
        os.umask(umask)
        Path(name).chmod(0o666 & ~umask)
        Path(name).replace(path)
    except OSError as error:
        raise OutsideError(f"{path}: {error.strerror or error}") from None
    finally:
        Path(name).unlink(missing_ok=True)
