"""The socket by which repo-server finds a plugin: there exactly while the server serves.

repo-server dials any socket in the folder with no deadline, and a dial that is accepted and never answered holds its lock
on the repository for good. So the socket is made in a folder of its own, where nobody looks, and renamed into place when
the server answers; and it is taken away before the server stops.
"""

from __future__ import annotations

import os
import shutil
import socket
import stat
import tempfile
from contextlib import suppress
from pathlib import Path

from trimtab_kernel.problems import OutsideError, RefusedError, printable, quoted

MAX_PATH_BYTES = 107  # of a Unix socket on Linux
_ASIDE = "bind"


class SocketPlace:
    """``<folder>/<name>.sock``, and where the socket is made before."""

    def __init__(self, folder: Path, name: str, mode: int) -> None:
        """``mode``: who may connect (write permission). Raises OutsideError for a path that no socket can have."""
        self.path = folder.absolute() / f"{name}.sock"
        self._prefix = f".{name}-"
        self._mode = mode
        self._made: os.stat_result | None = None
        self._aside: Path | None = None
        # What is made aside has a longer path than where it goes.
        longest = folder.absolute() / f"{self._prefix}{'x' * 8}" / _ASIDE
        length = max(len(os.fsencode(longest)), len(os.fsencode(self.path)))
        if length > MAX_PATH_BYTES:
            where = printable(str(folder))
            raise OutsideError(
                f"A120 a socket in {where} would need a path of {length} bytes, at most {MAX_PATH_BYTES}"
            )

    def prepare(self) -> Path:
        """Where to bind now. What servers before left behind is removed.

        Raises RefusedError (A117) where a live server or something that is no socket holds the name, OutsideError (A120)
        where the folder cannot be written.
        """
        try:
            self._judge_holder()
            self._clear_leftovers()
            self._aside = Path(tempfile.mkdtemp(prefix=self._prefix, dir=self.path.parent))
        except OSError as error:
            where, why = printable(str(self.path.parent)), (error.strerror or "an error").lower()
            raise OutsideError(
                f"A120 cannot make a socket in {where}: {why}; mount it writable for this user"
            ) from error
        return self._aside / _ASIDE

    def publish(self) -> None:
        """Put the socket where repo-server looks. From here on it may be dialled."""
        assert self._aside is not None
        made = self._aside / _ASIDE
        try:
            made.chmod(self._mode)
            self._made = made.lstat()
            made.rename(self.path)
            self._aside.rmdir()
        except OSError as error:
            raise OutsideError(
                f"A120 cannot put the socket at {printable(str(self.path))}: {error.strerror}"
            ) from error

    def withdraw(self) -> None:
        """Take the socket away, if it is still the one that was published; never that of a server after this one."""
        if self._aside is not None and self._made is None:
            shutil.rmtree(self._aside, ignore_errors=True)
        if self.is_published():
            with suppress(OSError):
                self.path.unlink()

    def is_published(self) -> bool:
        """Whether the socket at the path is the one of this server."""
        try:
            there = self.path.lstat()
        except OSError:
            return False
        return self._made is not None and (there.st_dev, there.st_ino) == (self._made.st_dev, self._made.st_ino)

    def _judge_holder(self) -> None:
        try:
            there = self.path.lstat()
        except FileNotFoundError:
            return
        shown = printable(str(self.path))
        if not stat.S_ISSOCK(there.st_mode):
            raise RefusedError("A117", f"{shown} is no socket; move it away first")
        if _answers(self.path):
            raise RefusedError("A117", f"another server listens at {shown}; stop it first")

    def _clear_leftovers(self) -> None:
        """Folders of servers that were killed before they published. One that is just being made answers, and stays."""
        for folder in self.path.parent.glob(f"{self._prefix}*"):
            made = folder / _ASIDE
            if folder.is_dir() and not folder.is_symlink() and made.exists() and not _answers(made):
                shutil.rmtree(folder, ignore_errors=True)


def _answers(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.settimeout(1)
        try:
            probe.connect(str(path))
        except (ConnectionRefusedError, FileNotFoundError):
            return False
        except OSError:
            return True  # a full queue, or a socket that is another user's: it is somebody's
    return True


def check_name(name: str) -> str:
    """``name`` if it can be a socket's. Raises ValueError."""
    if not name or "/" in name or name.startswith(".") or not name.isprintable():
        raise ValueError(f"{quoted(name)} cannot be the name of a socket")
    return name
