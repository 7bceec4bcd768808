"""The closed set of questions that may be asked of a metrics source.

A rule is data: which metric, what is done with it over a window, and which labels are kept. The same definitions
generate the Prometheus recording rules and are evaluated by the built-in scrape source, so that no PromQL is ever put
together from outside text and both sources mean the same thing.
"""

from __future__ import annotations

import math
from enum import Enum
from typing import TYPE_CHECKING

from trimtab_kernel import vocabulary as v
from trimtab_kernel.records import dataclass

if TYPE_CHECKING:
    from collections.abc import Mapping

    from trimtab_kernel.freshness import Freshness


class Operation(Enum):
    """What a rule does with the series of its metric."""

    INCREASE = "increase"
    """Sum over the kept labels of each counter's increase within the window (resets accounted for)."""
    COUNT = "count"
    """How many series (devices) have the value 1 now."""
    MAX = "max"
    """The largest value now."""


class Window(Enum):
    """The windows that rules exist for; the value is in seconds."""

    SECONDS_15 = 15  # for trials: at one scrape a second it holds 15 of them
    MINUTE = 60
    MINUTES_5 = 300
    MINUTES_30 = 1800
    HOUR = 3600
    HOURS_6 = 21600
    DAY = 86400

    @property
    def text(self) -> str:
        """As Prometheus writes it: ``15s``, ``1m``, ``1h``."""
        seconds: int = self.value
        for unit, length in (("d", 86400), ("h", 3600), ("m", 60)):
            if seconds % length == 0:
                return f"{seconds // length}{unit}"
        return f"{seconds}s"

    @classmethod
    def parse(cls, text: str) -> Window:
        """Raises ValueError that lists the windows there are."""
        for window in cls:
            if window.text == text:
                return window
        raise ValueError(f"expected one of {', '.join(window.text for window in cls)}, got {text!r}")


@dataclass(frozen=True, slots=True)
class Rule:
    """One question: an operation on one metric, keeping the labels ``by``."""

    name: str
    metric: v.Metric
    operation: Operation
    by: tuple[str, ...]

    def recorded_name(self, window: Window) -> str:
        """The recorded series: ``trimtab:decisions:increase5m``; a rule about now has no window in its name."""
        if self.operation is Operation.INCREASE:
            return f"trimtab:{self.name}:increase{window.text}"
        return f"trimtab:{self.name}:{self.operation.value}"

    def expression(self, window: Window, device_group: str | None = None) -> str:
        """The PromQL that is recorded; of one device group alone where its name is given."""
        by, series = ", ".join(self.by), _series(self.metric, device_group)
        match self.operation:
            case Operation.INCREASE:
                return f"sum by ({by}) (increase({series}[{window.text}]))"
            case Operation.COUNT:
                return f"count by ({by}) ({series} == 1)"
            case Operation.MAX:
                return f"max by ({by}) ({series})"

    def observations(self, value: float) -> int:
        """How many observations a sample of this value rests on.

        Events for the increase of a counter of events (a part of one, which extrapolation can make, does not count),
        series for a count, one for a maximum. 0 for sums in another unit (seconds, bytes): the sum does not say how many
        were added up, another rule does.
        """
        match self.operation:
            case Operation.INCREASE:
                return math.floor(value) if self.metric in _EVENTS else 0
            case Operation.COUNT:
                return math.floor(value)
            case Operation.MAX:
                return 1

    @property
    def newest_name(self) -> str:
        """The recorded series that says when the newest sample behind a result was taken (Unix seconds)."""
        return f"trimtab:{self.name}:newest"

    @property
    def newest_expression(self) -> str:
        """The PromQL of :attr:`newest_name`."""
        return self.newest_expression_of(None)

    def newest_expression_of(self, device_group: str | None) -> str:
        """The same, of one device group alone where its name is given."""
        return f"max by ({', '.join(self.by)}) (timestamp({_series(self.metric, device_group)}))"


def _series(metric: v.Metric, device_group: str | None) -> str:
    if device_group is None:
        return metric.name
    # A group's name is a DNS label (RFC 1123), so nothing in it needs an escape.
    return f'{metric.name}{{{v.LABEL_DEVICE_GROUP}="{device_group}"}}'


_EVENTS = (v.INFERENCE_REQUESTS, v.DECISIONS, v.INFERENCE_FAILURES, v.UPDATES)
_MODEL = ("model", "version", v.LABEL_DEVICE_GROUP)

REQUESTS = Rule("requests", v.INFERENCE_REQUESTS, Operation.INCREASE, _MODEL)
CPU_SECONDS = Rule("cpu_seconds", v.INFERENCE_CPU, Operation.INCREASE, _MODEL)
CPU_SECONDS_SQUARED = Rule("cpu_seconds_squared", v.INFERENCE_CPU_SQUARED, Operation.INCREASE, _MODEL)
DECISIONS = Rule("decisions", v.DECISIONS, Operation.INCREASE, (*_MODEL, "cohort", "outcome"))
FAILURES = Rule("failures", v.INFERENCE_FAILURES, Operation.INCREASE, ("model", v.LABEL_DEVICE_GROUP, "reason"))
UPDATE_BYTES = Rule("update_bytes", v.UPDATE_BYTES, Operation.INCREASE, _MODEL)
DEVICES_READY = Rule("devices_ready", v.MODEL_READY, Operation.COUNT, _MODEL)
DEVICES_ACTIVE = Rule("devices_active", v.AGENT_ACTIVE, Operation.COUNT, _MODEL)
DEVICES_DESIRED = Rule("devices_desired", v.AGENT_DESIRED, Operation.COUNT, _MODEL)

RULES: tuple[Rule, ...] = (
    REQUESTS,
    CPU_SECONDS,
    CPU_SECONDS_SQUARED,
    DECISIONS,
    FAILURES,
    UPDATE_BYTES,
    DEVICES_READY,
    DEVICES_ACTIVE,
    DEVICES_DESIRED,
)


@dataclass(frozen=True, slots=True)
class Sample:
    """One answer: labels kept by the rule, the value, how many observations it rests on, and how fresh it is."""

    labels: Mapping[str, str]
    value: float
    n: int
    freshness: Freshness


@dataclass(frozen=True, slots=True)
class Query:
    """A rule, a window, and exact label matches (labels outside ``rule.by`` are refused by the source)."""

    rule: Rule
    window: Window
    match: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class Dropped:
    """A sample that could not be used: what it was about, and why in one lowercase phrase."""

    labels: Mapping[str, str]
    reason: str


@dataclass(frozen=True, slots=True)
class Reading:
    """The answer to a query.

    ``warnings`` come from the source (a partial response, say) and make all of it incomplete; ``dropped`` samples make
    incomplete only what their labels are about; ``infos`` are the source's remarks and change nothing.
    """

    samples: tuple[Sample, ...]
    at: float  # Unix seconds of the evaluation
    warnings: tuple[str, ...] = ()
    dropped: tuple[Dropped, ...] = ()
    infos: tuple[str, ...] = ()
