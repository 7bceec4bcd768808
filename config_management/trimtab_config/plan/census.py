"""How many devices each wave of a rollout reaches, counted device by device as the devices themselves decide it. Pure.

A device is in a wave by its id alone (:mod:`trimtab_kernel.waves`), so the answer needs a list of ids and nothing from the
devices. The list is read once, in one pass, whatever its length; what is kept grows with groups and waves, and by eight
bytes for each device, so that one that is listed twice is noticed.
"""

from __future__ import annotations

import hashlib
from array import array
from bisect import bisect_right
from itertools import pairwise
from typing import TYPE_CHECKING

from trimtab_config.plan.rollouts import percent_for
from trimtab_kernel.problems import Collector, Problem, quoted
from trimtab_kernel.records import dataclass, replace
from trimtab_kernel.waves import default_salt

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from fractions import Fraction

    from trimtab_config.catalog import Catalog
    from trimtab_config.spec.kinds import Document, Rollout
    from trimtab_kernel.canonical import Json

MAX_ID = 253
"""Bytes of a device's id: what a Kubernetes name may have."""
_EIGHT = 8
_WHOLE = 2**64
_SHOWN = 10


@dataclass(frozen=True, slots=True)
class WaveCount:
    """Devices that one wave and those before it reach, by group; ``new`` of them no earlier wave reached."""

    name: str
    groups: Mapping[str, int]
    new: int

    @property
    def devices(self) -> int:
        """In all groups."""
        return sum(self.groups.values())

    def to_json(self) -> dict[str, Json]:
        """With the sum."""
        return {"name": self.name, "devices": self.devices, "new": self.new, "groups": dict(self.groups)}


@dataclass(frozen=True, slots=True)
class RolloutCount:
    """One deployment: its waves in order, which one is current, and how many listed devices its groups have."""

    namespace: str
    name: str
    model: str
    version: str
    current: str
    paused: bool
    devices: int
    waves: tuple[WaveCount, ...]

    @property
    def reached(self) -> int:
        """Devices that the current wave reaches."""
        return next(wave.devices for wave in self.waves if wave.name == self.current)

    @property
    def next(self) -> WaveCount | None:
        """The wave after the current one, None at the last."""
        names = [wave.name for wave in self.waves]
        after = names.index(self.current) + 1
        return self.waves[after] if after < len(names) else None

    def to_json(self) -> dict[str, Json]:
        """With what the next wave adds, which is the blast radius of advancing."""
        following = self.next
        return {
            "deployment": {"namespace": self.namespace, "name": self.name},
            "model": self.model,
            "version": self.version,
            "wave": self.current,
            "paused": self.paused,
            "devices": self.devices,
            "reached": self.reached,
            "next": None if following is None else {"wave": following.name, "adds": following.devices - self.reached},
            "waves": [wave.to_json() for wave in self.waves],
        }


class Census:
    """Counts devices, one chunk of a list after another. Only deployments whose rollout has waves are counted."""

    def __init__(self, catalog: Catalog) -> None:
        self._tallies: dict[bytes, tuple[_Tally, ...]] = {name.encode(): () for name in catalog.groups}
        self._rollouts: list[tuple[Document, dict[str, _Tally], array[int]]] = []
        self._problems = Collector()
        self._known = sorted(catalog.groups)
        for document in catalog.deployments.values():
            rollout: Rollout = document.spec.rollout
            if not rollout.waves:
                continue
            metadata = document.metadata
            salt = rollout.salt or default_salt(metadata.namespace, metadata.name, document.kind)
            seen: array[int] = array("Q")
            chosen = {}
            for name in catalog.groups:
                if any(each is document for each in catalog.deployments_of(name)):
                    chosen[name] = _Tally(salt, rollout, name, seen)
                    self._tallies[name.encode()] += (chosen[name],)
            self._rollouts.append((document, chosen, seen))

    def count(self, file: str, lines: Iterable[bytes], first: int = 1) -> None:
        """Take lines ``id,group``; the first of them has the number ``first``. Blank lines do not count.

        A line that is none is a problem (F142) and is not counted; after ten of them no more are kept.
        """
        tallies = self._tallies
        for number, line in enumerate(lines, first):
            device, comma, group = line.rstrip(b"\r\n").partition(b",")
            found = tallies.get(group)
            if found is None or not device or len(device) > MAX_ID:
                if device or comma:
                    self._refuse(file, number, device, comma, group)
                continue
            for tally in found:
                tally.add(device)

    def _refuse(self, file: str, number: int, device: bytes, comma: bytes, group: bytes) -> None:
        if len(self._problems.problems) >= _SHOWN:
            return
        shown = quoted(b",".join((device, group) if comma else (device,)).decode("utf-8", "replace")[:80])
        expected = "DEVICE,GROUP with a device group of the fleet"
        hint = f"the groups are {', '.join(self._known[:_SHOWN])}" if comma and len(device) <= MAX_ID else ""
        self._problems.add(Problem("F142", file, number, "", shown, expected, hint))

    def result(self, file: str) -> tuple[tuple[RolloutCount, ...], tuple[Problem, ...]]:
        """Counts by deployment, sorted; problems of lines, and F143 where devices are listed twice."""
        counts = []
        for document, tallies, seen in self._rollouts:
            twice = _twice(seen)
            if twice:
                self._problems.add(
                    Problem(
                        "F143", file, 0, "", f"{twice} devices of {document.metadata.name} twice", "each device once"
                    )
                )
            counts.append(_count(document, tallies))
        return tuple(sorted(counts, key=lambda each: (each.namespace, each.name))), self._problems.sorted()


class _Tally:
    """One group in one rollout: how many of its devices stand before each threshold."""

    __slots__ = ("_begun", "_seen", "_thresholds", "counts", "percents")

    def __init__(self, salt: str, rollout: Rollout, group: str, seen: array[int]) -> None:
        self.percents = [percent_for(replace(rollout, wave=wave.name), group) for wave in rollout.waves]
        # position * 100 < percent * 2^64, for whole positions: below this bound, rounded up. 2^64 itself fits no digest.
        bounds = sorted({_bound(percent) for percent in self.percents} - {_WHOLE})
        self._thresholds = [bound.to_bytes(_EIGHT, "big") for bound in bounds]
        self._begun = hashlib.blake2b(salt.encode() + b"\x00", digest_size=_EIGHT)
        self._seen = seen
        self.counts = [0] * (len(bounds) + 1)

    def add(self, device: bytes) -> None:
        hashed = self._begun.copy()
        hashed.update(device)
        position = hashed.digest()
        self.counts[bisect_right(self._thresholds, position)] += 1
        self._seen.append(int.from_bytes(position, "big"))

    @property
    def devices(self) -> int:
        return sum(self.counts)

    def within(self, percent: Fraction) -> int:
        """Devices of the first ``percent``."""
        bound = _bound(percent)
        if bound == _WHOLE:
            return self.devices
        place = self._thresholds.index(bound.to_bytes(_EIGHT, "big"))
        return sum(self.counts[: place + 1])


def _bound(percent: Fraction) -> int:
    share = percent * _WHOLE / 100
    return -(-share.numerator // share.denominator)


def _twice(seen: array[int]) -> int:
    """How many positions come again. Two ids share one by chance once in 36 million lists of a million devices."""
    return sum(1 for one, other in pairwise(sorted(seen)) if one == other)


def _count(document: Document, tallies: Mapping[str, _Tally]) -> RolloutCount:
    rollout: Rollout = document.spec.rollout
    waves: list[WaveCount] = []
    before = 0
    for place, wave in enumerate(rollout.waves):
        groups = {name: tally.within(tally.percents[place]) for name, tally in tallies.items()}
        reached = sum(groups.values())
        waves.append(WaveCount(wave.name, groups, reached - before))
        before = reached
    return RolloutCount(
        namespace=document.metadata.namespace,
        name=document.metadata.name,
        model=document.spec.model_ref.name,
        version=document.spec.model_ref.version,
        current=rollout.wave or rollout.waves[-1].name,
        paused=rollout.paused,
        devices=sum(tally.devices for tally in tallies.values()),
        waves=tuple(waves),
    )
