"""Rows of a telemetry history for tests, and the Spark script's fleet."""

from __future__ import annotations

import datetime
from typing import Any

START = datetime.datetime(2026, 11, 1, 6)  # noqa: DTZ001 - a history's times are UTC, without saying so


def row(hour: int = 0, minutes: tuple[int, int] = (0, 60), **changes: object) -> dict[str, Any]:
    """Triage 1.1.0 ready for a whole hour on device d1 of kiosks, using nothing."""
    begin = START + datetime.timedelta(hours=hour)
    return {
        "device": "d1",
        "device_group": "kiosks",
        "model": "triage",
        "version": "1.1.0",
        "start": begin + datetime.timedelta(minutes=minutes[0]),
        "end": begin + datetime.timedelta(minutes=minutes[1]),
        "cpu_seconds": 0.0,
        "joules": 0.0,
        "joules_source": "measured",
        "bytes_up": 0,
        "bytes_down": 0,
        "inferences": 0,
        "memory_peak": 0,
        "uptime": 60.0 * (minutes[1] - minutes[0]),
        **changes,
    }
