"""What the bot found out about one version of a model: a verdict with everything that it rests on."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING

from trimtab_kernel.freshness import Absent, Fresh, Stale
from trimtab_kernel.verdict import Verdict

if TYPE_CHECKING:
    from trimtab_kernel.canonical import Json
    from trimtab_kernel.freshness import Freshness
    from trimtab_kernel.intervals import Interval
    from trimtab_kernel.rules import Window
    from trimtab_kernel.verdict import Limit


class Concern(Enum):
    """What a finding is about. Detection over the whole fleet (levels, ramps, seasons) will add its own concerns."""

    FAIRNESS = "fairness"
    """Disparate impact of a version's decisions, against an AIAlignmentPolicy."""
    COST = "cost"
    """Measured cost per 1,000 inferences of a version, against a FinOpsPolicy."""


@dataclass(frozen=True, slots=True, order=True)
class Subject:
    """What a finding is about; equal from tick to tick, so it is the key of states and incidents."""

    concern: str
    model: str
    version: str
    policy: str


@dataclass(frozen=True, slots=True)
class Finding:
    """One judgement of one (model, version) against one policy at one time.

    ``verdict`` is what the shown ``interval`` (of the policy's confidence) says at this one look. ``alarm`` is the
    decision to act, and is stricter: it accounts for looking again at every tick (see
    :class:`trimtab_bot.alarms.AlarmRule`) and rests on ``alarm_interval``. Only a finding with ``alarm`` may open
    an incident. An alarm is always a breach; a breach without alarm is shown and watched.
    """

    concern: Concern
    model: str
    version: str
    policy: str
    verdict: Verdict
    reason: str  # one lowercase phrase
    metric: str  # "disparate impact", "cost per 1k inferences"
    unit: str  # "ratio", "EUR"
    limit: Limit
    interval: Interval | None
    alarm: bool
    alarm_interval: Interval | None
    n: int
    """The sample that is compared with ``limit.minimum_n``: of fairness the decisions about the smallest cohort, of cost
    all inferences."""
    details: tuple[tuple[str, str], ...]  # label and text, in the order in which they are shown
    device_groups: tuple[str, ...]  # those that the figure was measured on, sorted
    window: Window
    observed_at: float  # Unix seconds of the look
    freshness: Freshness
    warnings: tuple[str, ...] = ()

    @property
    def subject(self) -> Subject:
        """The key of this finding over time."""
        return Subject(self.concern.value, self.model, self.version, self.policy)

    def to_json(self) -> dict[str, Json]:
        """The finding for evidence and events. Numbers that are not whole are strings, so that it has canonical bytes."""
        return {
            "concern": self.concern.value,
            "model": self.model,
            "version": self.version,
            "policy": self.policy,
            "verdict": self.verdict.value,
            "reason": self.reason,
            "metric": self.metric,
            "unit": self.unit,
            "limit": {
                "side": self.limit.side.value,
                "bound": number_text(self.limit.bound),
                "minimumSample": self.limit.minimum_n,
            },
            "interval": _interval_json(self.interval),
            "alarm": self.alarm,
            "alarmInterval": _interval_json(self.alarm_interval),
            "n": self.n,
            "details": [{"label": label, "text": text} for label, text in self.details],
            "deviceGroups": list(self.device_groups),
            "window": self.window.text,
            "observedAt": number_text(self.observed_at),
            "freshness": _freshness_json(self.freshness),
            "warnings": list(self.warnings),
        }


def number_text(value: float) -> str:
    """The shortest decimal text that reads back as the same double."""
    return repr(float(value))


def _interval_json(interval: Interval | None) -> Json:
    if interval is None:
        return None
    return {
        "value": number_text(interval.value),
        "low": number_text(interval.low),
        "high": number_text(interval.high),
        "n": interval.n,
        "confidence": number_text(interval.confidence),
    }


def _freshness_json(freshness: Freshness) -> Json:
    match freshness:
        case Fresh(at):
            return {"state": "fresh", "at": number_text(at)}
        case Stale(since):
            return {"state": "stale", "since": number_text(since)}
        case Absent():
            return {"state": "absent"}
