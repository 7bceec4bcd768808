"""The narrator that is always there: the same facts give the same words, and every figure says how it is known."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING

from trimtab_bot.moments import clock_text, span_text
from trimtab_kernel.money import price_range_text, price_text
from trimtab_kernel.problems import printable

if TYPE_CHECKING:
    from trimtab_bot.narration.interface import Story
    from trimtab_bot.records import GaugeRecord

_WHAT = {
    "fairness": "treats groups of people unequally",
    "cost": "costs more than its policy allows",
}
_SHOWN_GROUPS = 6


class TemplateNarrator:
    """A :class:`trimtab_bot.narration.interface.Narrator` without a model behind it."""

    def headline(self, story: Story) -> str:
        """See the port."""
        text = f"{story.model} {story.version} {_WHAT.get(story.concern, 'breaks its policy')}"
        if story.gauge is not None:
            text += f": {gauge_text(story.gauge)}"
        return printable(text, 150)

    def summary(self, story: Story) -> str:
        """See the port."""
        lines = [
            self._what(story),
            self._where(story),
            self._since(story),
            *self._harm(story),
            self._next(story),
        ]
        return "\n".join(printable(line) for line in lines)

    def _what(self, story: Story) -> str:
        what = f"{story.model} {story.version} {_WHAT.get(story.concern, 'breaks its policy')}."
        if story.gauge is None:
            return what
        gauge = story.gauge
        asks = "asks for at least" if gauge.good_is_high else "allows at most"
        return (
            f"{what} Measured: {interval_text(gauge)}, n = {gauge.n}, over the last {story.window}; policy"
            f" {story.policy} {asks} {figure_text(gauge.limit, gauge.unit)} from n = {story.minimum_n} on."
        )

    def _where(self, story: Story) -> str:
        shown = ", ".join(story.device_groups[:_SHOWN_GROUPS])
        more = len(story.device_groups) - _SHOWN_GROUPS
        if more > 0:
            shown += f" and {more} more"
        return f"Where: {shown or 'no device group'}; {story.devices:,} devices declared in Git."

    def _since(self, story: Story) -> str:
        if story.offending is None:
            return f"Since: found {clock_text(story.detected_at)}; the change that brought the version is not known."
        commit = story.offending
        after = span_text(max(0.0, story.detected_at - commit.at))
        return (
            f"Since: {clock_text(commit.at)}, when {commit.author} merged {commit.sha[:12]}"
            f' "{commit.subject}", which moved the model to this version; found {after} later.'
        )

    def _harm(self, story: Story) -> list[str]:
        return [] if story.harm is None else [f"Harm (estimate): {story.harm.text}."]

    def _next(self, story: Story) -> str:
        if story.plan is not None:
            plan = story.plan
            known = (
                "a state that was measured and found fine"
                if plan.verified
                else "the state before the change, UNVERIFIED: the bot never measured it"
            )
            return (
                f"Proposed: go back to {plan.good_version} ({known}, commit {plan.restored_commit[:12]}) and hold"
                f" {story.version} until {plan.held_until}. A person must approve."
            )
        if story.obstacle is not None:
            return f"Nothing is proposed: {story.obstacle.code} {story.obstacle.reason}. Somebody must act by hand."
        return "A remedy is being worked out."


def figure(value: float) -> str:
    """Three significant digits, without an exponent where that is readable."""
    text = f"{value:.3g}"
    return f"{value:.8f}".rstrip("0") if "e-" in text and abs(value) >= 1e-6 else text


def figure_text(value: float, unit: str) -> str:
    """A figure with its unit: ``0.45`` for a ratio, ``68.9 µEUR`` for a cost, whose unit is its currency."""
    return figure(value) if unit in ("", "ratio") else price_text(_decimal(value), unit)


def bounds_text(low: float, high: float, unit: str) -> str:
    """``0.36 to 0.56``, or ``67.1 to 70.4 µEUR``."""
    if unit in ("", "ratio"):
        return f"{figure(low)} to {figure(high)}"
    return price_range_text(_decimal(low), _decimal(high), unit)


def _decimal(value: float) -> Decimal:
    return Decimal(repr(value))


def gauge_text(gauge: GaugeRecord) -> str:
    """``disparate impact 0.45, limit 0.8``."""
    return f"{gauge.label} {figure_text(gauge.value, gauge.unit)}, limit {figure_text(gauge.limit, gauge.unit)}"


def interval_text(gauge: GaugeRecord) -> str:
    """``disparate impact 0.45, 95 % interval 0.36 to 0.56``."""
    return (
        f"{gauge.label} {figure_text(gauge.value, gauge.unit)}, {gauge.confidence * 100:.4g} % interval"
        f" {bounds_text(gauge.low, gauge.high, gauge.unit)}"
    )
