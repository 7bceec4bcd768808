"""What compiles leave on disk for the next process: bytes by name, each with a digest over itself. Reads and writes files.

Nothing in it is trusted: an entry whose digest does not fit its name and its bytes is as good as absent, and an entry is
bytes or JSON, never code. The folder must be the user's own and closed to writing by others. A reader sees an entry whole
or not at all, whatever became of its writer. The least recently used entries go first when there is too much.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import stat
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

MOST_BYTES = 512 * 2**20
"""Of all entries together."""
MOST_ENTRY = 64 * 2**20
_MAGIC = b"trimtab 1 "
_HEAD = len(_MAGIC) + 64 + 1
_SLACK = 0.8  # of the limit is kept when it is exceeded, so that not every run has to clear
_UNSEEN = 0.05  # of the limit may be added before somebody looks: looking takes longer than a small compile
_ADDED = ".added"
_NUMBERS = count()


def default_folder(environment: Mapping[str, str]) -> Path | None:
    """``$TRIMTAB_CACHE``, else ``$XDG_CACHE_HOME/trimtab/compile``, else ``~/.cache/trimtab/compile``.

    None where ``TRIMTAB_CACHE`` is set and empty, and for a user without a home. Relative ones do not count.
    """
    if environment.get("TRIMTAB_CACHE") == "":
        return None
    for name, below in (
        ("TRIMTAB_CACHE", ""),
        ("XDG_CACHE_HOME", "trimtab/compile"),
        ("HOME", ".cache/trimtab/compile"),
    ):
        value = environment.get(name, "")
        if value.startswith("/"):
            return Path(value) / below
    return None


class Store:
    """Entries by kind and name in one folder, which is made where it is not there."""

    def __init__(self, folder: Path, most: int = MOST_BYTES) -> None:
        """Raises OSError for a folder that cannot be made or read, and that is not the user's own."""
        self._folder = folder
        self._most = most
        self._added = 0
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        status = folder.stat(follow_symlinks=False)
        if not stat.S_ISDIR(status.st_mode):
            raise NotADirectoryError(20, "not a folder", str(folder))
        if status.st_uid != os.geteuid() or status.st_mode & 0o022:
            raise PermissionError(1, "somebody else may write there", str(folder))

    def has(self, kind: str, name: str) -> bool:
        """Whether there is such an entry; :meth:`get` may find that it is not whole."""
        return self._path(kind, name).exists()

    def get(self, kind: str, name: str) -> bytes | None:
        """The bytes of an entry; None where there is none that is whole."""
        path = self._path(kind, name)
        try:
            descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
        except OSError:
            return None
        try:
            status = os.fstat(descriptor)
            if not stat.S_ISREG(status.st_mode) or status.st_size > MOST_ENTRY + _HEAD:
                return None
            with open(descriptor, "rb", closefd=False) as file:
                content = file.read(MOST_ENTRY + _HEAD + 1)
        except OSError:
            return None
        finally:
            os.close(descriptor)
        body = content[_HEAD:]
        if content[:_HEAD] != _MAGIC + _digest(kind, name, body) + b"\n":
            return None
        with contextlib.suppress(OSError):  # it only looks older than it is
            os.utime(path, follow_symlinks=False)
        return body

    def put(self, kind: str, name: str, body: bytes) -> None:
        """Keep ``body``, if it can be kept: a full disk or a folder that is gone costs the next process time and nothing else."""
        if len(body) > MOST_ENTRY:
            return
        path = self._path(kind, name)
        made = None
        try:
            path.parent.mkdir(mode=0o700, exist_ok=True)
            new = f"{path.parent}/.new-{os.getpid()}-{next(_NUMBERS)}-{os.urandom(6).hex()}"
            handle = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
            made = new
            with os.fdopen(handle, "wb") as file:
                # No fsync: what a crash leaves half written has the wrong digest.
                file.write(_MAGIC + _digest(kind, name, body) + b"\n" + body)
            Path(made).replace(path)
            made = None
            self._added += len(body) + _HEAD
        except OSError:
            pass
        finally:
            if made is not None:
                Path(made).unlink(missing_ok=True)

    def trim(self) -> None:
        """Remove the least recently used entries beyond the limit; looks only where much was added since somebody looked."""
        if not self._added:
            return
        added = self._added + self._added_before()
        self._added = 0
        if added <= self._most * _UNSEEN:
            self._note(added)
            return
        entries = self._entries()
        total = sum(size for _, size, _ in entries)
        self._note(0)
        if total <= self._most * (1 - _UNSEEN):
            return
        for _, size, path in sorted(entries):
            if total <= self._most * _SLACK:
                break
            try:
                os.unlink(path)  # noqa: PTH108 - thousands of them
            except OSError:
                continue
            total -= size

    def _added_before(self) -> int:
        """Bytes that were added since somebody looked; all that may be, where nobody knows."""
        try:
            return int((self._folder / _ADDED).read_bytes()[:20])
        except (OSError, ValueError):
            return self._most

    def _note(self, added: int) -> None:
        """Two processes at once may lose what one of them added: the limit is one of housekeeping."""
        with contextlib.suppress(OSError):
            (self._folder / _ADDED).write_bytes(str(added).encode())

    def _entries(self) -> list[tuple[int, int, str]]:
        """Time of last use, size and path of each."""
        found = []
        try:
            with os.scandir(self._folder) as folders:
                names = [entry.path for entry in folders if entry.is_dir(follow_symlinks=False)]
            for name in names:
                with os.scandir(name) as files:
                    for file in files:
                        status = file.stat(follow_symlinks=False)
                        found.append((status.st_mtime_ns, status.st_size, file.path))
        except OSError:
            return found
        return found

    def _path(self, kind: str, name: str) -> Path:
        """One folder for a 256th of the names of a kind; hashed, so that no name can lead elsewhere."""
        digest = hashlib.sha256(f"{kind}\n{name}".encode()).hexdigest()
        return self._folder / digest[:2] / digest


def _digest(kind: str, name: str, body: bytes) -> bytes:
    digest = hashlib.sha256(f"{kind}\n{name}\n".encode())
    digest.update(body)
    return digest.hexdigest().encode()
