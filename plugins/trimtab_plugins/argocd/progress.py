"""Where the time of a call goes: stages, and the file that took longest. Read by others while the call works."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

STAGES = ("receive", "wait", "read", "render", "answer")


class AbandonedError(Exception):
    """Nobody waits for this call any more."""


class Progress:
    """The stages of one call. One thread moves it on; others may read it at any time, and may call it off."""

    def __init__(self, clock: Callable[[], float]) -> None:
        """``clock`` gives seconds that never go back."""
        self._clock = clock
        self._spent = dict.fromkeys(STAGES, 0.0)
        self._stage = STAGES[0]
        self._since = clock()
        self._file = ""
        self._file_since = 0.0
        self._slowest = ("", 0.0)
        self._abandoned = False

    def abandon(self) -> None:
        """Have the work end soon: the next stage or file raises :class:`AbandonedError`."""
        self._abandoned = True

    def enter(self, stage: str) -> None:
        """A stage begins; the one before has ended."""
        self._go_on()
        now = self._clock()
        self._end_file(now)
        self._spent[self._stage] += now - self._since
        self._stage, self._since = stage, now

    def file(self, name: str) -> None:
        """Work on this file begins; that on the one before has ended."""
        self._go_on()
        now = self._clock()
        self._end_file(now)
        self._file, self._file_since = name, now

    def seconds(self) -> dict[str, float]:
        """What each stage took so far."""
        spent = dict(self._spent)
        spent[self._stage] += self._clock() - self._since
        return spent

    def slowest(self) -> tuple[str, float]:
        """The file that took longest and its seconds; ("", 0.0) before any was begun."""
        name, spent = self._slowest
        file, since = self._file, self._file_since
        now = self._clock() - since
        return (file, now) if file and now > spent else (name, spent)

    def __str__(self) -> str:
        """``receive 0.2 s, read 48.1 s (models/x.yaml 40.2 s)``: the stages that took time, the slowest file with them."""
        parts = [f"{stage} {spent:.1f} s" for stage, spent in self.seconds().items() if spent >= 0.05]
        name, spent = self.slowest()
        told = f"; slowest file {name} {spent:.1f} s" if name else ""
        return f"{', '.join(parts) or 'no time'} (in {self._stage}{told})"

    def _go_on(self) -> None:
        if self._abandoned:
            raise AbandonedError

    def _end_file(self, now: float) -> None:
        if self._file:
            spent = now - self._file_since
            if spent > self._slowest[1]:
                self._slowest = (self._file, spent)
            self._file = ""


class WatchedFiles(Mapping[str, bytes]):
    """Files that tell a :class:`Progress` when each is asked for: what follows until the next one is work on it."""

    def __init__(self, files: Mapping[str, bytes], progress: Progress) -> None:
        self._files = files
        self._progress = progress

    def __getitem__(self, name: str) -> bytes:
        content = self._files[name]
        self._progress.file(name)
        return content

    def __iter__(self) -> Iterator[str]:
        return iter(self._files)

    def __len__(self) -> int:
        return len(self._files)
