"""How far a merged change has come, group by group: seen, synced, healthy. Pure.

Devices that are offline keep an object "progressing" for as long as they are away, so health alone holds nothing up: what devices
report decides. Objects that are degraded, or that cannot be read, do.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import TYPE_CHECKING

from trimtab_bot.delivery.interface import Delivery, State, commit_of
from trimtab_bot.moments import clock_text
from trimtab_kernel.problems import printable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

_SHOWN = 3


class Stage(IntEnum):
    """Each includes the one before."""

    MERGED = 0
    SEEN = 1
    SYNCED = 2
    HEALTHY = 3


@dataclass(frozen=True, slots=True)
class Leg:
    """One device group on the way; ``delivery`` is the object that is furthest behind, None where there is none."""

    group: str
    stage: Stage
    trouble: str = ""
    """Why it is not further, with the object's own message and what to do about it; "" where time will do."""
    delivery: Delivery | None = None

    @property
    def has_arrived(self) -> bool:
        """Whether the cluster has what was merged, and does not say that it fails."""
        degraded = self.delivery is not None and self.delivery.state is State.DEGRADED
        return self.stage >= Stage.SYNCED and not degraded


@dataclass(frozen=True, slots=True)
class Journey:
    """All groups of one change. ``fault`` is why nothing could be read; nothing is concluded then."""

    commit: str
    kind: str
    legs: tuple[Leg, ...] = ()
    fault: str = ""

    def has_reached(self, stage: Stage) -> bool:
        """Whether every group has come to ``stage``."""
        return not self.fault and all(leg.stage >= stage for leg in self.legs)

    @property
    def has_arrived(self) -> bool:
        """Whether every group has."""
        return not self.fault and all(leg.has_arrived for leg in self.legs)

    def text(self) -> str:
        """For people: ``commit 0123456789ab is seen by 4 of 4 groups, synced by 3, healthy in 1``."""
        if self.fault:
            return f"what {self.kind}s say of it is not known: {self.fault}"
        counts = [sum(leg.stage >= stage for leg in self.legs) for stage in (Stage.SEEN, Stage.SYNCED, Stage.HEALTHY)]
        head = f"commit {self.commit[:12]} is seen by {counts[0]} of {len(self.legs)} groups"
        return f"{head}, synced by {counts[1]}, healthy in {counts[2]}"

    def trouble(self) -> str:
        """What keeps groups back, the first few with their objects' own words; "" where nothing does."""
        if self.fault:
            return self.text()
        found = [leg.trouble for leg in self.legs if leg.trouble]
        more = f"; and {len(found) - _SHOWN} more" if len(found) > _SHOWN else ""
        return "; ".join(found[:_SHOWN]) + more

    def waiting(self) -> str:
        """Why it has not arrived: the trouble, else the counts; "" where it has."""
        return "" if self.has_arrived else self.trouble() or self.text()

    def signature(self) -> str:
        """Which groups are held up, and how: changes exactly where people should be told anew."""
        if self.fault:
            return "unread"
        return ",".join(
            f"{leg.group}:{'none' if leg.delivery is None else _held_up(leg.delivery, leg.stage)}"
            for leg in self.legs
            if leg.trouble
        )


def trace(
    commit: str,
    kind: str,
    groups: Iterable[str],
    deliveries: Sequence[Delivery],
    carries: Callable[[str, str], bool],
) -> Journey:
    """How far ``commit`` has come in ``groups``. ``carries(other, group)``: whether another commit brings the group the same.

    A revision that names no commit (an artifact's digest) is taken for the newest: Argo CD does not tell what an artifact was made
    of, and the devices' reports remain.
    """
    by_group: dict[str, list[Delivery]] = {}
    for each in deliveries:
        by_group.setdefault(each.group, []).append(each)

    def has(revisions: tuple[str, ...], group: str) -> bool:
        commits = [found for each in revisions if (found := commit_of(each))]
        return bool(revisions) and (not commits or any(carries(each, group) for each in commits))

    legs = []
    for group in sorted(set(groups)):
        found = by_group.get(group, [])
        if not found:
            text = (
                f"no {kind} of the group {group} is among those that bot.yaml's delivery selects; "
                f"label it fleet.apexlogic.ai/group={group}, or name the clusters that it covers"
            )
            legs.append(Leg(group, Stage.MERGED, text))
            continue
        ways = [_leg(each, seen=has(each.seen, group), applied=has(each.applied, group)) for each in found]
        legs.append(min(ways, key=lambda leg: (leg.stage, leg.has_arrived, not leg.trouble)))
    return Journey(commit, kind, tuple(legs))


def _leg(delivery: Delivery, *, seen: bool, applied: bool) -> Leg:
    if applied and delivery.state not in (State.OUT_OF_SYNC, State.UNKNOWN):
        stage = Stage.HEALTHY if delivery.state is State.HEALTHY else Stage.SYNCED
    elif seen or applied:
        stage = Stage.SEEN
    else:
        stage = Stage.MERGED
    return Leg(delivery.group, stage, _trouble(delivery, stage), delivery)


def _held_up(delivery: Delivery, stage: Stage) -> str:
    if stage >= Stage.SYNCED:
        return "degraded" if delivery.state is State.DEGRADED else ""
    if delivery.state is State.SUSPENDED:
        return "suspended"
    if not delivery.automatic:
        return "manual"
    if delivery.message and delivery.state in (State.OUT_OF_SYNC, State.UNKNOWN):
        return str(delivery.state.value)
    # What is healthy has words only about what it waits for: a source that stands still.
    return "held up" if delivery.message and delivery.state is State.HEALTHY else ""


def _trouble(delivery: Delivery, stage: Stage) -> str:
    """Words for what time alone will not mend, as far as the object tells."""
    held = _held_up(delivery, stage)
    if not held:
        return ""
    what = {"suspended": "is suspended", "manual": "is not synced automatically"}.get(held, f"is {held}")
    return behind(delivery, what)


def behind(delivery: Delivery, what: str) -> str:
    """An object that is late, in a sentence: its name, what it is, at which revision, its own words, and what to do."""
    at = f" at {printable(', '.join(delivery.applied), 120)}" if delivery.applied else ""
    at += f", as of {clock_text(delivery.at)}" if delivery.at is not None else ""
    said = f": {printable(delivery.message, 300)}" if delivery.message else ""
    step = f" (next: {delivery.next_step})" if delivery.next_step else ""
    return f"{delivery.name} {what}{at}{said}{step}"


def late(journey: Journey) -> str:
    """Why a change that had time enough has not arrived, every group that is behind counted. "" where it has arrived."""
    if journey.has_arrived:
        return ""
    if journey.fault or journey.trouble():
        return journey.trouble()
    words = [
        behind(
            leg.delivery, "has not looked at the commit" if leg.stage < Stage.SEEN else f"is {leg.delivery.state.value}"
        )
        for leg in journey.legs
        if not leg.has_arrived and leg.delivery is not None
    ]
    more = f"; and {len(words) - _SHOWN} more" if len(words) > _SHOWN else ""
    return "; ".join(words[:_SHOWN]) + more
