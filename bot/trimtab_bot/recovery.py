"""Did the fleet go back, and is it well again? The closed loop after a merge.

The denominator is the reachable fleet: devices whose metrics are fresh. A device that is offline is listed, never
blocks, and never counts as healthy. Pure apart from the port to the metrics.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from trimtab_kernel import vocabulary
from trimtab_kernel.freshness import Fresh
from trimtab_kernel.rules import DEVICES_ACTIVE, DEVICES_DESIRED, DEVICES_READY, Query

if TYPE_CHECKING:
    from collections.abc import Mapping

    from trimtab_bot.metrics.interface import MetricsSource
    from trimtab_kernel.rules import Reading, Rule, Window

_COUNTS = (DEVICES_READY, DEVICES_ACTIVE, DEVICES_DESIRED)


@dataclass(frozen=True, slots=True)
class GroupProgress:
    """One device group on its way back. Devices that answer, by what they serve; ``declared`` is how many there are.

    ``still_active`` and ``still_asked`` are devices whose agent has activated, or is told to run, the bad version.
    """

    group: str
    declared: int
    on_bad: int
    on_others: int
    still_active: int
    still_asked: int

    @property
    def reachable(self) -> int:
        """Devices of the group that serve some version of the model and say so now."""
        return self.on_bad + self.on_others

    @property
    def silent(self) -> int:
        """Devices that are declared and not heard of: offline, or not scraped."""
        return max(0, self.declared - self.reachable)

    @property
    def is_back(self) -> bool:
        """Whether nothing that answers runs, has active or is told to run the bad version any more."""
        return not (self.on_bad or self.still_active or self.still_asked)


@dataclass(frozen=True, slots=True)
class Progress:
    """All groups concerned. ``warnings`` make the counts incomplete, and an incomplete count proves nothing."""

    groups: tuple[GroupProgress, ...]
    warnings: tuple[str, ...] = ()

    @property
    def has_converged(self) -> bool:
        """Whether some device answers, and none that answers is still on the bad version."""
        return not self.warnings and any(g.reachable for g in self.groups) and all(g.is_back for g in self.groups)

    def text(self) -> str:
        """For people: ``5 of 5 reachable devices are back; silent: cam-emea (1798 of 1800)``."""
        reachable = sum(group.reachable for group in self.groups)
        back = sum(group.on_others for group in self.groups)
        text = f"{back} of {reachable} reachable devices are back"
        behind = [group.group for group in self.groups if not group.is_back]
        if behind:
            text += f"; still on their way: {', '.join(behind)}"
        silent = [f"{g.group} ({g.silent} of {g.declared})" for g in self.groups if g.silent]
        if silent:
            text += f"; not heard of: {', '.join(silent)}"
        if self.warnings:
            text += f"; incomplete: {self.warnings[0]}"
        return text


def read_progress(
    source: MetricsSource, model: str, bad_version: str, declared: Mapping[str, int], window: Window
) -> Progress:
    """How far the groups in ``declared`` (name and number of devices) are away from ``bad_version`` of ``model``.

    Raises OutsideError where the source does not answer.
    """
    readings = {rule: source.read(Query(rule, window, (("model", model),))) for rule in _COUNTS}
    warnings = tuple(
        sorted(
            {warning for reading in readings.values() for warning in reading.warnings}
            | {f"a sample was dropped: {item.reason}" for reading in readings.values() for item in reading.dropped}
        )
    )
    table = {rule: _fresh_counts(readings[rule]) for rule in _COUNTS}

    def count(rule: Rule, group: str, *, bad: bool) -> int:
        found = table[rule].get(group, {})
        return sum(number for version, number in found.items() if (version == bad_version) is bad)

    return Progress(
        tuple(
            GroupProgress(
                group=group,
                declared=devices,
                on_bad=count(DEVICES_READY, group, bad=True),
                on_others=count(DEVICES_READY, group, bad=False),
                still_active=count(DEVICES_ACTIVE, group, bad=True),
                still_asked=count(DEVICES_DESIRED, group, bad=True),
            )
            for group, devices in sorted(declared.items())
        ),
        warnings,
    )


def _fresh_counts(reading: Reading) -> dict[str, dict[str, int]]:
    """Devices by group and version; what is not fresh is not reachable."""
    table: dict[str, dict[str, int]] = {}
    for sample in reading.samples:
        if isinstance(sample.freshness, Fresh):
            group = table.setdefault(sample.labels[vocabulary.LABEL_DEVICE_GROUP], {})
            version = sample.labels["version"]
            group[version] = group.get(version, 0) + round(sample.value)
    return table
