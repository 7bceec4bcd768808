"""The bearer token: read from a file, read again when the file changes, compared in constant time."""

from __future__ import annotations

import hashlib
import hmac
import os
import stat
from typing import TYPE_CHECKING

from trimtab_kernel.problems import OutsideError, RefusedError, printable

if TYPE_CHECKING:
    from pathlib import Path

LEAST = 16
_MOST = 4096


class TokenFile:
    """One token in a file. A mounted Secret that is rotated is taken up by :meth:`refresh`."""

    def __init__(self, path: Path) -> None:
        """Raises RefusedError (A206) for a token that is no secret, OutsideError for a file that cannot be read."""
        self._path = path
        self._digest = self._read()

    def refresh(self) -> None:
        """Take up the file as it is now; a file that cannot be used leaves the token as it was. Raises as the constructor."""
        self._digest = self._read()

    def admits(self, header: str) -> bool:
        """Whether an Authorization header carries the token."""
        scheme, _, given = header.partition(" ")
        # Digests are of one length, so that the time says nothing about the token's.
        found = hashlib.sha256(given.strip().encode("utf-8", "surrogateescape")).digest()
        return hmac.compare_digest(found, self._digest) and scheme.lower() == "bearer"

    def _read(self) -> bytes:
        try:
            with self._path.open("rb") as file:
                mode = stat.S_IMODE(os.fstat(file.fileno()).st_mode)
                content = file.read(_MOST + 1)
        except OSError as error:
            place = printable(str(self._path))
            raise OutsideError(
                f"cannot read the token file {place}: {(error.strerror or str(error)).lower()}"
            ) from error
        if mode & 0o007:
            raise _refused(self._path, f"mode {mode:04o}", "a mode that gives others nothing, such as 0600")
        token = content.strip()
        if not LEAST <= len(token) <= _MOST or any(not 0x21 <= byte <= 0x7E for byte in token):
            raise _refused(self._path, f"{len(token)} bytes", f"at least {LEAST} printable ASCII characters, no spaces")
        return hashlib.sha256(token).digest()


def _refused(path: Path, got: str, expected: str) -> RefusedError:
    return RefusedError("A206", f"the token file {printable(str(path))} has {got}; expected {expected}")
