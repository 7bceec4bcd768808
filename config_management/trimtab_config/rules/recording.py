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
from typing import TYPE_CHECKING, Any

from trimtab_kernel.canonical import digest_of
from trimtab_kernel.records import dataclass
from trimtab_kernel.rules import RULES, Operation, Window
from trimtab_kernel.vocabulary import LABEL_DEVICE_GROUP

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


def recordings(window: Window | None, device_group: str | None = None) -> tuple[Recording, ...]:
    """The recordings of one window, or (None) those that have no window; of one device group alone where it is named."""
    if window is not None:
        return tuple(
            Recording(rule.recorded_name(window), rule.expression(window, device_group))
            for rule in RULES
            if rule.operation is Operation.INCREASE
        )
    now = [
        # These ignore the window that their signature asks for.
        Recording(rule.recorded_name(Window.MINUTE), rule.expression(Window.MINUTE, device_group))
        for rule in RULES
        if rule.operation is not Operation.INCREASE
    ]
    return (*now, *(Recording(rule.newest_name, rule.newest_expression_of(device_group)) for rule in RULES))


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


def group_rules(device_group: str) -> dict[str, list[dict[str, Any]]]:
    """The rules of one device group as a rules file has them, for the default windows: what is rendered for the group.

    Each expression looks at the group's own series, so that the rules of many groups can stand in one Prometheus and
    record every series once. The marker carries the digest of the rules as they are for all groups, since they mean the
    same, and the group.
    """
    groups = []
    for window in (None, *DEFAULT_WINDOWS):
        label = window_label(window)
        rules: list[dict[str, Any]] = [
            {"record": each.record, "expr": each.expression} for each in recordings(window, device_group)
        ]
        labels = {"window": label, "digest": rules_digest(window), LABEL_DEVICE_GROUP: device_group}
        rules.append({"record": MARKER, "expr": "vector(1)", "labels": labels})
        interval = f"{group_interval(window, DEFAULT_INTERVAL)}s"
        groups.append({"name": f"trimtab-{device_group}-{label}", "interval": interval, "rules": rules})
    return {"groups": groups}


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
