"""A metrics source that is fed with counts: a test writes down what the fleet did, the bot asks its usual questions.

It implements the port for real (labels are matched and refused as the contract says, freshness is judged by the age of
each count), over a JSON file, so that a bot in another process can read what a test writes.
"""

from __future__ import annotations

import json
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from trimtab_kernel import vocabulary
from trimtab_kernel.freshness import judge_freshness
from trimtab_kernel.problems import OutsideError
from trimtab_kernel.rules import (
    CPU_SECONDS,
    CPU_SECONDS_SQUARED,
    DECISIONS,
    DEVICES_ACTIVE,
    DEVICES_DESIRED,
    DEVICES_READY,
    REQUESTS,
    Query,
    Reading,
    Rule,
    Sample,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

FRESHNESS_LIMIT = 30.0


class CountsSource:
    """Answers from the file at ``path``. ``clock`` gives Unix seconds."""

    def __init__(self, path: Path, clock: Callable[[], float] = time.time) -> None:
        self._path = path
        self._clock = clock

    @property
    def name(self) -> str:
        return "counts that a test wrote down"

    def read(self, query: Query) -> Reading:
        refused = [label for label, _ in query.match if label not in query.rule.by]
        if refused:
            raise ValueError(f"{query.rule.name} does not keep {', '.join(refused)}")
        data = json.loads(self._path.read_text()) if self._path.exists() else {}
        if data.get("down"):
            raise OutsideError(str(data["down"]))
        now = self._clock()
        samples = []
        for entry in data.get(query.rule.name, ()):
            labels = {label: str(entry["labels"].get(label, "")) for label in query.rule.by}
            if all(labels[label] == value for label, value in query.match):
                freshness = judge_freshness(now - entry["age"], now, FRESHNESS_LIMIT)
                value = float(entry["value"])
                samples.append(Sample(labels, value, query.rule.observations(value), freshness))
        return Reading(tuple(samples), now, tuple(data.get("warnings", ())))


@dataclass
class Fleet:
    """What the fleet did within the window, written down by a test and kept until it is changed."""

    path: Path
    counts: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)
    down: str = ""

    def save(self) -> None:
        """Let sources see it, in one step."""
        scratch = self.path.with_suffix(".new")
        scratch.write_text(json.dumps({**self.counts, "warnings": self.warnings, "down": self.down}))
        scratch.replace(self.path)

    def runs(self, group: str, model: str, versions: Mapping[str, int], *, age: float = 1.0) -> None:
        """So many devices of the group serve, have activated and are told to run each version."""
        for rule in (DEVICES_READY, DEVICES_ACTIVE, DEVICES_DESIRED):
            self.devices(rule, group, model, versions, age=age)

    def devices(self, rule: Rule, group: str, model: str, versions: Mapping[str, int], *, age: float = 1.0) -> None:
        """One of the three counts of devices alone."""
        self._forget(rule, group, model)
        for version, count in versions.items():
            self._put(rule, group, model, version, count, age)

    def decided(
        self, group: str, model: str, version: str, cohorts: Mapping[str, tuple[int, int]], *, age: float = 1.0
    ) -> None:
        """Positive and negative decisions by cohort, and as many requests of 0.2 ms CPU each."""
        self.forget(group, model, version)
        total = 0
        for cohort, (positive, negative) in cohorts.items():
            total += positive + negative
            for outcome, count in (
                (vocabulary.OUTCOME_POSITIVE, positive),
                (vocabulary.OUTCOME_NEGATIVE, negative),
            ):
                self._put(DECISIONS, group, model, version, count, age, cohort=cohort, outcome=outcome)
        self.computed(group, model, version, total, 0.0002, age=age)

    def computed(
        self, group: str, model: str, version: str, requests: int, seconds_each: float, *, age: float = 1.0
    ) -> None:
        """So many inferences, and the CPU seconds of each."""
        for rule in (REQUESTS, CPU_SECONDS, CPU_SECONDS_SQUARED):
            self._drop(rule, group, model, version)
        self._put(REQUESTS, group, model, version, requests, age)
        self._put(CPU_SECONDS, group, model, version, requests * seconds_each, age)
        spread = 1.0001  # of the squares: a standard deviation of one percent
        self._put(CPU_SECONDS_SQUARED, group, model, version, requests * seconds_each**2 * spread, age)

    def forget(self, group: str, model: str, version: str) -> None:
        """Nothing more is known of what this version did there."""
        for rule in (REQUESTS, CPU_SECONDS, CPU_SECONDS_SQUARED, DECISIONS):
            self._drop(rule, group, model, version)

    def _put(self, rule: Rule, group: str, model: str, version: str, value: float, age: float, **more: str) -> None:
        labels = {vocabulary.LABEL_DEVICE_GROUP: group, "model": model, "version": version, **more}
        self.counts.setdefault(rule.name, []).append({"labels": labels, "value": value, "age": age})

    def _drop(self, rule: Rule, group: str, model: str, version: str) -> None:
        def other(entry: dict[str, Any]) -> bool:
            labels = entry["labels"]
            return (labels["device_group"], labels["model"], labels["version"]) != (group, model, version)

        self.counts[rule.name] = [entry for entry in self.counts.get(rule.name, ()) if other(entry)]

    def _forget(self, rule: Rule, group: str, model: str) -> None:
        def other(entry: dict[str, Any]) -> bool:
            return (entry["labels"]["device_group"], entry["labels"]["model"]) != (group, model)

        self.counts[rule.name] = [entry for entry in self.counts.get(rule.name, ()) if other(entry)]
