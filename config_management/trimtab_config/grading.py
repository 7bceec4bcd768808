"""What a pull request's estimate promised, kept as text that machines read, and how far what was measured is from it. Pure.

The promise is a block within the comment: JSON in base64, bounded, with its digest before it. The digest finds a block that
was cut or edited by accident; who may edit the comment could write another one, so it proves nothing against its author.

A group is graded on what models cost: its idle remainder, which no estimate of a model holds, is left out of what was
measured. A measured period is brought to a month: amount / billed device-hours x declared devices x 730 h.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
import re
from decimal import Decimal, InvalidOperation
from enum import StrEnum
from fractions import Fraction
from typing import TYPE_CHECKING, Any

from trimtab_config.cost.rates import to_decimal
from trimtab_config.cost.report import IDLE, decimal_text
from trimtab_kernel.canonical import canonical_json
from trimtab_kernel.money import HOURS_PER_MONTH, Figure, Grade, MoneyError, quantize
from trimtab_kernel.problems import InputError, Problem
from trimtab_kernel.records import dataclass

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from trimtab_config.comparison import GroupChange
    from trimtab_kernel.canonical import Json

MAX_BLOCK = 8_000
"""Characters of the block; groups that find no room in it are counted, the least changed first."""
MAX_MEASURED = 256 * 1024 * 1024
_BLOCK = re.compile(r"^<!-- trimtab:estimate:1:([0-9a-f]{64}):([A-Za-z0-9+/=]{1,8000}) -->$", re.MULTILINE | re.ASCII)
_PLACES = 2
_SECONDS_OF_HOUR = 3600


@dataclass(frozen=True, slots=True)
class Promise:
    """What a month of one group was estimated to cost after the change."""

    group: str
    currency: str
    figure: Figure


@dataclass(frozen=True, slots=True)
class Promises:
    """All groups that a change touches and that have room, and how many have none."""

    groups: tuple[Promise, ...]
    left: int = 0

    def block(self) -> str:
        """One line of Markdown that people do not see."""
        content = canonical_json({"groups": [_promise_json(each) for each in self.groups], "left": self.left})
        return f"<!-- trimtab:estimate:1:{hashlib.sha256(content).hexdigest()}:{base64.b64encode(content).decode()} -->"


def promises_of(changes: Sequence[GroupChange]) -> Promises:
    """What the groups are estimated to cost after the change, as many of them as find room, in the order given."""
    known = [
        Promise(change.group, cost.currency, cost.after)
        for change in changes
        for cost in change.costs
        if cost.after.value or cost.after.grade is not Grade.ABSENT
    ]
    size = len(Promises((), len(known)).block())
    kept: list[Promise] = []
    for promise in known:
        size += -(-(len(canonical_json(_promise_json(promise))) + 1) * 4 // 3)
        if size > MAX_BLOCK - 8:
            break
        kept.append(promise)
    return Promises(tuple(kept), len(known) - len(kept))


def _promise_json(promise: Promise) -> list[Json]:
    figure = promise.figure
    bounds = (decimal_text(bound) for bound in (figure.value, figure.low, figure.high))
    return [promise.group, promise.currency, *bounds, figure.grade.value]


def promises_in(comment: str) -> Promises:
    """The promises within a comment. Raises InputError (A704) where there are none, or they are not what was written."""
    found = _BLOCK.findall(comment.replace("\r\n", "\n"))
    if not found:
        raise _lost("no estimate in the comment", "a comment that trimtab github comment wrote of a change of cost")
    if len(found) > 1:
        raise _lost("two estimates in one comment", "one")
    digest, text = found[0]
    try:
        content = base64.b64decode(text, validate=True)
        if hashlib.sha256(content).hexdigest() != digest:
            raise _lost("an estimate that was edited: its digest is another", "the one that was written")
        data = json.loads(content)
        return Promises(tuple(map(_promise, data["groups"])), int(data["left"]))
    except (binascii.Error, ValueError, TypeError, KeyError, RecursionError, InvalidOperation) as error:
        raise _lost(f"an estimate that cannot be read ({type(error).__name__})", "the one that was written") from None


def _promise(item: Any) -> Promise:  # noqa: ANN401 - whatever stands in a comment
    group, currency, value, low, high, grade = item
    if not isinstance(group, str) or not isinstance(currency, str):
        raise MoneyError("expected names")
    return Promise(group, currency, Figure(Decimal(value), Decimal(low), Decimal(high), Grade(grade)))


def _lost(got: str, expected: str) -> InputError:
    return InputError(Problem("A704", got=got, expected=expected))


@dataclass(frozen=True, slots=True)
class Measured:
    """What a month of one group costs by measurement; ``coverage`` is the share of its device-hours that told of themselves."""

    group: str
    currency: str
    amount: Decimal
    coverage: Decimal


@dataclass(frozen=True, slots=True)
class Measurement:
    """All groups that were measured in a period, in UTC as it is written."""

    begin: str
    end: str
    groups: Mapping[tuple[str, str], Measured]


def measurement_of(content: bytes, place: str = "") -> Measurement:
    """What ``trimtab allocate --output json`` printed. Raises InputError (A703)."""
    try:
        data = json.loads(content)
        begin, end = str(data["period"]["from"]), str(data["period"]["to"])
        amounts: dict[tuple[str, str], Decimal] = {}
        for row in data["rows"]:
            parts = (Decimal(amount) for part, amount in row["parts"].items() if part != IDLE)
            key = (str(row["group"]), str(row["currency"]))
            amounts[key] = amounts.get(key, Decimal(0)) + sum(parts, Decimal(0))
        found = {}
        for each in data["groups"]:
            key = (str(each["group"]), str(each["currency"]))
            found[key] = _measured(key, amounts.get(key, Decimal(0)), each, _hours(begin, end))
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError, ArithmeticError) as error:
        expected = 'what "trimtab allocate --output json" prints'
        raise InputError(
            Problem("A703", place, got=f"{type(error).__name__}: {error}"[:200], expected=expected)
        ) from None
    return Measurement(begin, end, found)


def _hours(begin: str, end: str) -> int:
    import datetime

    first, last = (datetime.datetime.fromisoformat(text) for text in (begin, end))
    hours = int((last - first).total_seconds()) // _SECONDS_OF_HOUR
    if hours <= 0:
        raise ValueError("a period without an hour")
    return hours


def _measured(key: tuple[str, str], amount: Decimal, bill: Mapping[str, Any], hours: int) -> Measured:
    told, silent = int(bill["deviceHours"]), int(bill["unreportedHours"])
    if told <= 0 or silent < 0 or amount < 0:
        raise ValueError("hours and amounts must not be negative")
    month = Fraction(amount) / told * (told + silent) / hours * HOURS_PER_MONTH
    return Measured(
        *key, quantize(to_decimal(month), _PLACES + 4), quantize(to_decimal(Fraction(told, told + silent)), 4)
    )


class Verdict(StrEnum):
    """How a promise was kept."""

    WITHIN = "within"
    ABOVE = "above"
    BELOW = "below"
    UNMEASURED = "not measured"


@dataclass(frozen=True, slots=True)
class Graded:
    """One promise beside what was measured, None where it was not (yet)."""

    promise: Promise
    measured: Measured | None

    @property
    def verdict(self) -> Verdict:
        """Whether the measured month lies between the bounds. An incomplete estimate promised only that it costs at least so much."""
        if self.measured is None:
            return Verdict.UNMEASURED
        figure = self.promise.figure
        if self.measured.amount < figure.low:
            return Verdict.BELOW
        if figure.grade is not Grade.ABSENT and self.measured.amount > figure.high:
            return Verdict.ABOVE
        return Verdict.WITHIN

    @property
    def error(self) -> Decimal | None:
        """Measured less estimated, as a share of the estimate; None where either is missing or nothing."""
        if self.measured is None or not self.promise.figure.value or self.promise.figure.grade is Grade.ABSENT:
            return None
        estimated = Fraction(self.promise.figure.value)
        return quantize(to_decimal((Fraction(self.measured.amount) - estimated) / estimated), 4)

    def to_json(self) -> dict[str, Json]:
        """Amounts of a month as decimal text."""
        figure, measured, error = self.promise.figure, self.measured, self.error
        return {
            "group": self.promise.group,
            "currency": self.promise.currency,
            "estimate": {
                "value": decimal_text(figure.value),
                "low": decimal_text(figure.low),
                "high": decimal_text(figure.high),
                "grade": figure.grade.value,
            },
            "measured": None if measured is None else decimal_text(measured.amount),
            "coverage": None if measured is None else decimal_text(measured.coverage),
            "verdict": self.verdict.value,
            "error": None if error is None else decimal_text(error),
        }


@dataclass(frozen=True, slots=True)
class Grading:
    """All promises of a comment, graded: those that missed most come first."""

    begin: str
    end: str
    groups: tuple[Graded, ...]
    left: int

    @property
    def measured(self) -> tuple[Graded, ...]:
        """Those of which something was measured."""
        return tuple(each for each in self.groups if each.measured is not None)

    @property
    def kept(self) -> int:
        """How many of these lie between their bounds."""
        return sum(1 for each in self.measured if each.verdict is Verdict.WITHIN)

    @property
    def calibration_error(self) -> Decimal | None:
        """Mean of the errors' sizes, each group weighing as much as its estimate (weighted absolute percentage error).

        None where no group has both figures. Currencies weigh apart, then by the number of their groups.
        """
        sums: dict[str, tuple[Fraction, Fraction, int]] = {}
        for each in self.measured:
            if each.error is None or each.measured is None:
                continue
            value = Fraction(each.promise.figure.value)
            missed, whole, count = sums.get(each.promise.currency, (Fraction(0), Fraction(0), 0))
            off = abs(Fraction(each.measured.amount) - value)
            sums[each.promise.currency] = (missed + off, whole + value, count + 1)
        groups = sum(count for _, _, count in sums.values())
        if not groups:
            return None
        mean = sum((missed / whole * count for missed, whole, count in sums.values()), Fraction(0)) / groups
        return quantize(to_decimal(mean), 4)

    def to_json(self) -> dict[str, Json]:
        """``{period, groups, within, measured, calibrationError, left}``."""
        error = self.calibration_error
        return {
            "period": {"from": self.begin, "to": self.end},
            "groups": [each.to_json() for each in self.groups],
            "measured": len(self.measured),
            "within": self.kept,
            "calibrationError": None if error is None else decimal_text(error),
            "left": self.left,
        }


def grade(promises: Promises, measurement: Measurement) -> Grading:
    """Each promise beside the group's measured month in the same currency."""
    found = (Graded(each, measurement.groups.get((each.group, each.currency))) for each in promises.groups)
    return Grading(measurement.begin, measurement.end, tuple(_worst_first(found)), promises.left)


def _worst_first(found: Iterable[Graded]) -> list[Graded]:
    def weight(each: Graded) -> tuple[bool, bool, Decimal, str]:
        error = each.error
        missed = each.verdict in {Verdict.ABOVE, Verdict.BELOW}
        return each.measured is None, not missed, -abs(error or Decimal(0)), each.promise.group

    return sorted(found, key=weight)
