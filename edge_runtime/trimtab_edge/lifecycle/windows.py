"""When an update may begin: windows of local time, on clocks that may be wrong. Pure, but for the machine's time zones."""

from __future__ import annotations

import datetime
from functools import lru_cache
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

if TYPE_CHECKING:
    from trimtab_kernel.desired import UpdateWindow

EARLIEST = 1_767_225_600.0
"""2026-01-01 in UTC: a clock that says an earlier time was never set, for this program did not exist."""
_MINUTE = 60
_DAY_MINUTES = 1440
_QUARTER = 15
"""Minutes. Every offset from UTC is a multiple of it, so that between two quarters a local clock never jumps."""
_LOOK_AHEAD = 3 * 86_400
_LATEST = 4_102_444_800.0  # 2100-01-01, likewise


def closed(window: UpdateWindow, at: float, earliest: float = 0.0, local: datetime.tzinfo | None = None) -> str:
    """Why no update may begin at Unix time ``at``, with the time from which on one may; "" where one may now.

    ``earliest`` is a time before which it cannot be, such as a release's: a clock that says less is not believed, and no
    window is judged by it. ``local`` is the zone of a window that names none (None: that of the machine).

    A window is a part of the local day as clocks on the wall show it. Where such a day lacks it (clocks go forward) there
    is none; where the day has it twice (they go back) both are.
    """
    floor = max(EARLIEST, earliest)
    if not floor <= at < _LATEST:
        return f"the clock cannot be right, it is not before {_day(floor)}: window {window} is not judged by it"
    zone = local
    if window.time_zone is not None:
        zone = _zone(window.time_zone)
        if zone is None:
            return f"the time zone {window.time_zone} is not known here: window {window} cannot be judged"
    if window.holds(_minute(at, zone)):
        return ""
    opening = _opening(window, at, zone)
    until = "it does not open within three days" if opening is None else f"it opens {_shown(opening, zone)}"
    return f"outside its window {window}, {until}"


def _opening(window: UpdateWindow, at: float, zone: datetime.tzinfo | None) -> float | None:
    """The first minute after ``at`` that the window holds: by steps over which the local clock runs evenly."""
    moment = at - at % _MINUTE
    while moment < at + _LOOK_AHEAD:
        minute = _minute(moment, zone)
        if moment > at and window.holds(minute):
            return moment
        to_opening = (window.begin - minute) % _DAY_MINUTES or _DAY_MINUTES
        to_quarter = _QUARTER - int(moment // _MINUTE) % _QUARTER
        moment += min(to_opening, to_quarter) * _MINUTE
    return None


def _minute(at: float, zone: datetime.tzinfo | None) -> int:
    there = _local(at, zone)
    return there.hour * 60 + there.minute


def _local(at: float, zone: datetime.tzinfo | None) -> datetime.datetime:
    return datetime.datetime.fromtimestamp(at, datetime.UTC).astimezone(zone)


def _shown(at: float, zone: datetime.tzinfo | None) -> str:
    return f"{_local(at, zone):%Y-%m-%d %H:%M %z}"


def _day(at: float) -> str:
    return datetime.datetime.fromtimestamp(at, datetime.UTC).date().isoformat()


@lru_cache(maxsize=64)
def _zone(name: str) -> ZoneInfo | None:
    """None for a name that the machine's time zones do not have."""
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        return None
