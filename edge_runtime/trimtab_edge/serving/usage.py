"""What one model has used today, kept on the disk: it survives restarts, crashes, and clocks that jump.

A day is a calendar day in UTC. The wall clock alone says little on a device: it starts in 1970 where there is no battery,
and is then set. So time that passes is measured by a clock that never jumps (it counts since the boot, sleep included),
and the wall clock only says where midnight is:

- within a boot, a new day's budget is granted at midnight, and never because the clock was set;
- after the clock was set, not before 20 hours have passed since the last grant;
- after a reboot the wall clock is believed if it went forward. If it went back, what is used stays used, until the clock
  is set past the moment when the device went down.

What is written is a little more than what is used (the reserve), and is written again when that is used up. So a crash
may cost the reserve, and never makes use forgotten.
"""

from __future__ import annotations

import json
import logging
import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from trimtab_edge.durable import make_directory, write_file
from trimtab_edge.reading import read_limited

if TYPE_CHECKING:
    from pathlib import Path

_log = logging.getLogger("trimtab.serve")
DAY = 86400.0
TOLERANCE = 5.0
"""Seconds by which two clocks may differ before one of them was set."""
MIN_BETWEEN = 20 * 3600.0
RESERVE = 0.01
"""Part of a day's budget."""
_MAX_BYTES = 4096


@dataclass(frozen=True, slots=True)
class Moment:
    """Now: the wall clock (Unix seconds), seconds since the boot, and which boot it is."""

    wall: float
    steady: float
    boot: str


def now() -> Moment:
    """The moment of this machine."""
    try:
        steady = time.clock_gettime(time.CLOCK_BOOTTIME)
    except (AttributeError, OSError):  # not Linux
        steady = time.monotonic()
    return Moment(time.time(), steady, _boot())


def _boot() -> str:
    global _boot_id  # noqa: PLW0603 - a fact of the machine that is read once
    if _boot_id is None:
        try:
            with open("/proc/sys/kernel/random/boot_id", encoding="ascii") as file:  # noqa: PTH123 - three times as fast as a Path, before the first request
                _boot_id = file.read(64).strip()
        except OSError:
            _boot_id = f"{time.time() - time.monotonic():.0f}"
    return _boot_id


_boot_id: str | None = None


@dataclass(frozen=True, slots=True)
class Usage:
    """CPU seconds and bytes used on ``day`` (days since 1970), as known at a moment.

    ``granted_for`` seconds ago the day's budget was granted; ``was_set``: the clock was set since. ``down_at``: the wall
    clock when the device went down, where the clock has been behind that ever since.
    """

    day: int
    moment: Moment
    cpu_seconds: float = 0.0
    data: float = 0.0
    granted_for: float = 0.0
    was_set: bool = False
    down_at: float | None = None

    @classmethod
    def fresh(cls, moment: Moment) -> Usage:
        """Nothing is known of an earlier time."""
        return cls(int(moment.wall // DAY), moment)

    def at(self, moment: Moment) -> Usage:
        """The same, seen later."""
        today = int(moment.wall // DAY)
        if moment.boot != self.moment.boot:
            passed = moment.wall - self.moment.wall
            if passed >= 0:
                return self._later(moment, today, passed, midnight=today > self.day)
            down_at = max(self.moment.wall, self.down_at or 0.0)
            return replace(self, moment=moment, day=today, was_set=True, down_at=down_at)
        passed = max(0.0, moment.steady - self.moment.steady)
        if abs(moment.wall - self.moment.wall - passed) <= TOLERANCE:
            return self._later(moment, max(today, self.day), passed, midnight=today > self.day)
        # The clock was set. What it says of midnight counts for the time that has really passed.
        if self.down_at is not None and moment.wall > self.down_at:
            return self._later(moment, today, passed, midnight=today > int(self.down_at // DAY), sure=True)
        crossed = int((moment.wall - passed) // DAY) < today
        return replace(self, was_set=True)._later(moment, today, passed, midnight=crossed)

    def _later(self, moment: Moment, today: int, passed: float, *, midnight: bool, sure: bool = False) -> Usage:
        granted_for = self.granted_for + passed
        if not midnight:
            return replace(self, moment=moment, day=today, granted_for=granted_for)
        if self.was_set and not sure and granted_for < MIN_BETWEEN:
            # Still yesterday's budget; asked again at the next moment, for the day stays the old one.
            return replace(self, moment=moment, day=today - 1, granted_for=granted_for)
        return Usage(today, moment)

    def to_bytes(self) -> bytes:
        """As it is kept."""
        moment = self.moment
        fields = {
            "day": self.day, "wall": moment.wall, "steady": moment.steady, "boot": moment.boot,
            "cpuSeconds": self.cpu_seconds, "data": self.data, "grantedFor": self.granted_for,
            "wasSet": self.was_set, "downAt": self.down_at,
        }  # fmt: skip
        return json.dumps(fields, sort_keys=True).encode() + b"\n"

    @classmethod
    def parse(cls, content: bytes) -> Usage:
        """Raises ValueError for anything that :meth:`to_bytes` does not write."""
        try:
            data = json.loads(content)
            numbers = [data[key] for key in ("wall", "steady", "cpuSeconds", "data", "grantedFor")]
            down_at = data["downAt"]
            for number in (*numbers, data["day"], 0 if down_at is None else down_at):
                if isinstance(number, bool) or not isinstance(number, (int, float)) or not 0 <= number < 1e18:
                    raise ValueError("a number is out of bounds")
            wall, steady, cpu, used, granted_for = map(float, numbers)
            moment = Moment(wall, steady, str(data["boot"]))
            return cls(int(data["day"]), moment, cpu, used, granted_for, bool(data["wasSet"]), down_at)
        except (KeyError, TypeError, RecursionError, OverflowError) as error:
            raise ValueError(f"no usage: {type(error).__name__}") from None


class UsageFile:
    """A model's usage and the file that keeps it. Used on one event loop."""

    def __init__(self, path: Path | None, moment: Moment, *, cpu_reserve: float, data_reserve: float) -> None:
        """``path`` None: nothing outlives the process. Reserves in CPU seconds and bytes.

        A file that cannot be read starts anew from nothing: ``problem`` then says why.
        """
        self._path = path
        self._reserve = (cpu_reserve, data_reserve)
        self._written: Usage | None = None
        self._is_said = False
        self.problem = ""
        self._usage = Usage.fresh(moment)
        if path is not None:
            try:
                self._usage = Usage.parse(read_limited(path, _MAX_BYTES)).at(moment)
            except FileNotFoundError:
                pass
            except (OSError, ValueError) as error:
                self.problem = str(error)
        self.cpu_seconds = self._usage.cpu_seconds
        """Used today."""
        self.data = self._usage.data

    @property
    def usage(self) -> Usage:
        """What is known, as it is kept."""
        return replace(self._usage, cpu_seconds=self.cpu_seconds, data=self.data)

    def at(self, moment: Moment) -> None:
        """Begin a new day where there is one. Time is looked at once a second, for most requests come in between."""
        seen = self._usage.moment
        if 0 <= moment.steady - seen.steady < 1 and 0 <= moment.wall - seen.wall < 1 and moment.boot == seen.boot:
            return
        before = self._usage.day
        self._usage = self.usage.at(moment)
        self.cpu_seconds, self.data = self._usage.cpu_seconds, self._usage.data
        if self._usage.day != before:
            self._keep()

    def use(self, cpu_seconds: float, data: float) -> None:
        """So much more was used."""
        self.cpu_seconds += cpu_seconds
        self.data += data
        written = self._written
        if written is None or self.cpu_seconds > written.cpu_seconds or self.data > written.data:
            self._keep()

    def close(self) -> None:
        """Write what was used, without a reserve."""
        self._write(self.usage)

    def _keep(self) -> None:
        cpu, data = self._reserve
        usage = self.usage
        self._write(replace(usage, cpu_seconds=usage.cpu_seconds + cpu, data=usage.data + data))

    def _write(self, usage: Usage) -> None:
        self._written = usage
        if self._path is None:
            return
        try:
            make_directory(self._path.parent)
            write_file(self._path, usage.to_bytes())
        except OSError as error:
            if not self._is_said:
                _log.warning("use of today is kept in memory only: %s: %s", self._path, error.strerror)
            self._is_said = True
