"""Word from the kernel that something in a directory changed (inotify(7)), so that nobody has to look all the time.

It is a hint and no more: where it is missing (another system, a limit that is reached, a file system of another machine)
whoever waits looks by the clock. Contents of events are not read; what changed is seen by looking.
"""

from __future__ import annotations

import asyncio
import ctypes
import errno
import os
from contextlib import suppress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

_CLOSE_WRITE, _MOVED_FROM, _MOVED_TO = 0x8, 0x40, 0x80
_CREATE, _DELETE, _DELETE_SELF, _MOVE_SELF = 0x100, 0x200, 0x400, 0x800
_ONLY_DIRECTORIES = 0x0100_0000
_MASK = (
    _CLOSE_WRITE | _MOVED_FROM | _MOVED_TO | _CREATE | _DELETE | _DELETE_SELF | _MOVE_SELF | _ONLY_DIRECTORIES
)  # fmt: skip
_READ_BYTES = 65_536
MAX_WATCHES = 1024


class Notices:
    """Changes below some directories. Made and used on one event loop."""

    def __init__(self) -> None:
        self._changed = asyncio.Event()
        self._watched: dict[Path, int] = {}
        self._complete = False
        self._descriptor = -1
        try:
            self._libc = ctypes.CDLL(None, use_errno=True)
            self._descriptor = self._libc.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC)
        except (OSError, AttributeError):
            return
        if self._descriptor >= 0:
            asyncio.get_running_loop().add_reader(self._descriptor, self._read)

    @property
    def complete(self) -> bool:
        """Whether a change of any directory that was asked for will be told."""
        return self._complete

    def watch(self, directories: Iterable[Path]) -> bool:
        """Be told of changes in exactly these; whether one of them was not watched before, and has to be looked at again."""
        wanted = list(dict.fromkeys(directories))
        self._complete = self._descriptor >= 0 and len(wanted) <= MAX_WATCHES
        if not self._complete:
            return False
        for gone in self._watched.keys() - set(wanted):
            self._libc.inotify_rm_watch(self._descriptor, self._watched.pop(gone))
        added = False
        for directory in wanted:
            # Asked for each time: a directory that took another's place has another watch.
            number = self._libc.inotify_add_watch(self._descriptor, os.fsencode(directory), _MASK)
            if number < 0:
                self._watched.pop(directory, None)
                # One that is gone has told so in its parent.
                self._complete = self._complete and ctypes.get_errno() in (errno.ENOENT, errno.ENOTDIR)
            elif self._watched.get(directory) != number:
                self._watched[directory] = number
                added = True
        return added

    async def wait(self, seconds: float) -> None:
        """Until something changed, at most so long."""
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._changed.wait()
        self._changed.clear()

    def close(self) -> None:
        """Be told no more."""
        if self._descriptor >= 0:
            asyncio.get_running_loop().remove_reader(self._descriptor)
            os.close(self._descriptor)
            self._descriptor = -1

    def _read(self) -> None:
        with suppress(BlockingIOError, InterruptedError):
            os.read(self._descriptor, _READ_BYTES)
        self._changed.set()
