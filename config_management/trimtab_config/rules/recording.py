"""The Prometheus rules file that records what the bot reads. Pure: the same windows and interval give the same bytes.

It stands in the config room because both doors need it: the renderer puts it beside the workloads of a fleet, and the
bot prints it (`trimtab rules`) and looks for it in the Prometheus that it reads. A device needs neither, so it is not
in the kernel; the definitions themselves are (:mod:`trimtab_kernel.rules`).

Besides the rules every group records a marker, ``trimtab:rules:loaded``, with the group's window and a digest of its
rules. By one more instant query a reader learns whether the rules are there at all, which an empty answer does not
say, and whether they are the ones that it knows.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

from trimtab_kernel.canonical import digest_of
from trimtab_kernel.rules import RULES, Operation, Window

if TYPE_CHECKING:
    from collections.abc import Iterable

MARKER = "trimtab:rules:loaded"
NOW = "now"
"""The ``window`` label of the marker of the rules that have no window."""
MIN_INTERVAL = 1
MAX_INTERVAL = 120
"""Seconds. Prometheus looks back five minutes for a sample; two recordings must always lie within that."""
DEFAULT_WINDOWS = (Window.MINUTE, Window.MINUTES_5, Window.HOUR)
DEFAULT_INTERVAL = 5
_LOOKS_PER_WINDOW = 300


@dataclass(frozen=True, slots=True)
class Recording:
    """One recorded series: its name and the PromQL behind it."""

    record: str
    expression: str


def recordings(window: Window | None) -> tuple[Recording, ...]:
    """The recordings of one window, or (None) those that have no window."""
    if window is not None:
        return tuple(
            Recording(rule.recorded_name(window), rule.expression(window))
            for rule in RULES
            if rule.operation is Operation.INCREASE
        )
    now = [
        # These ignore the window that their signature asks for.
        Recording(rule.recorded_name(Window.MINUTE), rule.expression(Window.MINUTE))
        for rule in RULES
        if rule.operation is not Operation.INCREASE
    ]
    return (*now, *(Recording(rule.newest_name, rule.newest_expression) for rule in RULES))


def rules_digest(window: Window | None) -> str:
    """What the marker of this window carries as ``digest``: 16 hex digits over names and expressions."""
    return digest_of([[each.record, each.expression] for each in recordings(window)]).hex[:16]


def window_label(window: Window | None) -> str:
    """What the marker of this window carries as ``window``."""
    return NOW if window is None else window.text


def group_interval(window: Window | None, interval: int) -> int:
    """Seconds between recordings: ``interval``, and more for long windows, which are dear and change slowly."""
    if window is None:
        return interval
    return min(max(interval, window.value // _LOOKS_PER_WINDOW), max(interval, 60))


def rules_file(windows: Iterable[Window] = DEFAULT_WINDOWS, interval: int = DEFAULT_INTERVAL) -> str:
    """The rules file (YAML) for these windows. Raises ValueError for no window, or an interval outside 1 s to 2 min."""
    ordered = sorted(set(windows), key=lambda window: window.value)
    if not ordered:
        raise ValueError("expected at least one window")
    if not MIN_INTERVAL <= interval <= MAX_INTERVAL:
        raise ValueError(f"expected an interval from {MIN_INTERVAL}s to {MAX_INTERVAL}s, got {interval}s")
    lines = [
        "# Made by 'trimtab rules': load it with rule_files in prometheus.yml.",
        "groups:",
    ]
    for window in (None, *ordered):
        label = window_label(window)
        lines += [f"  - name: trimtab-{label}", f"    interval: {group_interval(window, interval)}s", "    rules:"]
        for each in recordings(window):
            lines += [f"      - record: {each.record}", f"        expr: {json.dumps(each.expression)}"]
        lines += [
            f"      - record: {MARKER}",
            '        expr: "vector(1)"',
            "        labels:",
            f"          window: {json.dumps(label)}",
            f"          digest: {json.dumps(rules_digest(window))}",
        ]
    return "\n".join(lines) + "\n"
