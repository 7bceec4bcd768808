"""Sharing a meter's joules out to the inferences that ran, so that the parts add up to the meter, to the microjoule.

In an interval the meter says E, of which the idle box takes its part (known only from a calibration, else 0). The rest is
shared by CPU time: an inference that ran c of the machine's b busy CPU seconds gets c / b of it, everything else that ran
gets what is left. With an idle part of 0 inferences thus carry their share of the idle power as well: the whole cost, not
the marginal one.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

K = TypeVar("K")


def apportion(total: int, weights: Sequence[int]) -> list[int]:
    """``total`` in whole parts proportional to ``weights``: they add up exactly, and each is off by less than one.

    The method of largest remainders (Hamilton); ties go to the earlier part. All zero where no weight is above 0. Raises
    ValueError for a negative total or weight.
    """
    if total < 0 or any(weight < 0 for weight in weights):
        raise ValueError("expected a total and weights that are not negative")
    whole = sum(weights)
    if whole == 0:
        return [0] * len(weights)
    parts = [total * weight // whole for weight in weights]
    order = sorted(range(len(weights)), key=lambda place: (-(total * weights[place] % whole), place))
    for place in order[: total - sum(parts)]:
        parts[place] += 1
    return parts


@dataclass(frozen=True, slots=True)
class Shares(Generic[K]):
    """Microjoules of one interval. ``parts``, ``idle`` and ``other`` add up to what the meter said."""

    parts: Mapping[K, int]
    idle: int
    other: int


def share(total: int, *, idle: int, busy_ns: int, parts_ns: Mapping[K, int]) -> Shares[K]:
    """Share ``total`` microjoules out. ``busy_ns``: CPU time of the whole machine; ``parts_ns``: of the inferences within.

    The machine's CPU time comes in coarse ticks, so it may be below the sum of the parts; then the parts are all there was.
    ``idle`` beyond ``total`` takes all of it.
    """
    idle = min(idle, total)
    rest = max(0, busy_ns - sum(parts_ns.values()))
    names = list(parts_ns)
    *parts, other = apportion(total - idle, [*(parts_ns[name] for name in names), rest])
    left = total - idle - sum(parts) - other  # all of it, where nothing ran
    return Shares(dict(zip(names, parts, strict=True)), idle, other + left)


@dataclass(slots=True)
class EnergyAccount(Generic[K]):
    """What was shared out since the start, in microjoules: ``parts``, ``idle`` and ``other`` always add up to ``total``."""

    total: int = 0
    idle: int = 0
    other: int = 0
    parts: dict[K, int] = field(default_factory=dict)
    retired: int = 0
    """What went to parts that are no longer there."""
    _cpu_ns: dict[K, int] = field(default_factory=dict)

    def settle(self, joules: int | None, *, idle: int, busy_ns: int, cpu_ns: Mapping[K, int]) -> None:
        """An interval ended: what the meter said (None: nothing), and the CPU time of each part since the start.

        A part that restarted at a smaller figure counts from there. What is gone from ``cpu_ns`` leaves the account.
        """
        spent = {
            name: now - before if (before := self._cpu_ns.get(name, 0)) <= now else now for name, now in cpu_ns.items()
        }
        self._cpu_ns = dict(cpu_ns)
        for name in self.parts.keys() - cpu_ns.keys():
            self.retired += self.parts.pop(name)
        for name in cpu_ns:
            self.parts.setdefault(name, 0)
        if joules is None:
            return
        shares = share(joules, idle=idle, busy_ns=busy_ns, parts_ns=spent)
        self.total += joules
        self.idle += shares.idle
        self.other += shares.other
        for name, part in shares.parts.items():
            self.parts[name] += part
