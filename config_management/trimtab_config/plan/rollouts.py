"""Waves: which share of a group's devices gets the new version now."""

from __future__ import annotations

from fractions import Fraction
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from trimtab_config.spec.kinds import Rollout, Wave

EVERYONE = Fraction(100)
NOBODY = Fraction(0)


def current_wave(rollout: Rollout) -> Wave | None:
    """The wave that the rollout stands at: the named one, else the last. None without waves or for an unknown name."""
    if rollout.wave is None:
        return rollout.waves[-1] if rollout.waves else None
    return next((wave for wave in rollout.waves if wave.name == rollout.wave), None)


def percent_for(rollout: Rollout, group: str) -> Fraction:
    """The share of ``group``'s devices (0 to 100) that the waves up to the current one reach.

    Waves only ever add: the share is the largest of theirs, and 100 for a group that one of them names. A group that
    is reached by no wave gets nothing yet. Without waves everybody is reached.
    """
    current = current_wave(rollout)
    if current is None:
        return EVERYONE if not rollout.waves else NOBODY
    reached = NOBODY
    for wave in rollout.waves:
        if group in wave.groups:
            return EVERYONE
        if wave.percent is not None:
            reached = max(reached, wave.percent)
        if wave is current:
            break
    return reached
