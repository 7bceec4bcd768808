"""What a meter of energy is, and how a counter that wraps or restarts is read."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Protocol


class Grade(Enum):
    """How far a figure can be trusted."""

    MEASURED = "measured"
    """A meter of the machine was read."""
    MODELLED = "modelled"
    """CPU time times a calibrated or declared power."""
    ABSENT = "absent"
    """There is no figure."""


@dataclass(frozen=True, slots=True)
class Source:
    """Where figures come from: ``rapl``, ``hwmon``, ``nvml``, ``model`` or ``none``; and what exactly, for people."""

    name: str
    grade: Grade
    detail: str = ""


class MeterError(Exception):
    """There is no such meter here, or it cannot be read; the message is one lowercase line."""


class EnergyMeter(Protocol):
    """A meter of one machine."""

    @property
    def source(self) -> Source:
        """Where its figures come from."""

    def advance(self, at: float, busy_seconds: float) -> int | None:
        """Microjoules since the previous call. ``at``: a steady clock's seconds; ``busy_seconds``: CPU time since then.

        None where the meter cannot tell: on the first call, where it restarted meanwhile, or where it could not be read.
        What it cannot tell is left out, never guessed.
        """


def grown(before: int, after: int, modulus: int | None) -> int | None:
    """By how much a counter grew that starts anew at ``modulus`` (None: it does not wrap).

    One wrap at most can be seen, so it must be read more often than it wraps. None for a counter that fell and does not
    wrap: it restarted.
    """
    if after >= before:
        return after - before
    if modulus is None or not before < modulus:
        return None
    return modulus - before + after
