"""Spending by day against the budgets of FinOpsPolicies, and what the rest of the month may bring. Pure.

A charge counts on the days of its period, in equal parts, the last one taking what rounding leaves; its effective cost
counts, so a commitment paid in advance is spread over what it covers. Which policy a charge falls under is what the
deployments say that fit its group and model: where they name different policies, or none, it falls under none and is
listed. A day on which a policy has no charge cost nothing, as long as the history holds that day at all.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from enum import StrEnum
from typing import TYPE_CHECKING

from trimtab_config.bills.charges import EXACT, PLACES
from trimtab_config.budget.conversion import Conversion, OneCurrency, used
from trimtab_config.budget.forecast import Forecast, Unknown, forecast
from trimtab_config.spec.kinds import EdgeAIDeploymentSpec

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from trimtab_config.bills.charges import Charge, Place
    from trimtab_config.catalog import Catalog
    from trimtab_config.cost.exchange import Exchange
    from trimtab_kernel.problems import Problem

WEEK = 7
_DAY = timedelta(days=1)
_MOST_DAYS = 4000
_ZERO = Decimal(0)
_STEP = Decimal(1).scaleb(-PLACES)


class Outlook(StrEnum):
    """Where a budget stands. The chances are of spending more than the budget by the end of the month."""

    OVER = "over"  # it is spent already
    LIKELY = "likely over"  # four in five, or more
    POSSIBLE = "at risk"
    UNLIKELY = "within"  # one in five, or less
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Standing:
    """One budget on one day. ``spent`` is of the month until ``until`` (exclusive), None where the history has nothing of it.

    ``rates`` are the exchange rates by which charges of the month in other currencies counted; ``problem`` is the rate
    that is missing where there is no sum for want of one.
    """

    policy: str
    currency: str
    budget: Decimal
    month: date
    until: date
    spent: Decimal | None
    days: tuple[Decimal, ...]
    rest: Forecast | Unknown
    chance: float | None
    outlook: Outlook
    rates: tuple[Exchange, ...] = ()
    problem: Problem | None = None

    @property
    def month_end(self) -> date:
        """The first day after the month."""
        return (self.month + timedelta(days=32)).replace(day=1)


class Policies:
    """Which FinOpsPolicy a charge falls under."""

    def __init__(self, catalog: Catalog) -> None:
        self._catalog = catalog
        self._deployed: list[tuple[frozenset[str] | None, str, Mapping[str, str], str | None]] = []
        for document in (*catalog.deployments.values(), *catalog.on_device_models.values()):
            spec = document.spec
            served = isinstance(spec, EdgeAIDeploymentSpec)
            groups = None
            if served:
                groups = frozenset(name for name in catalog.groups if document in catalog.deployments_of(name))
            tags = {"team": spec.tags.team, "business_unit": spec.tags.business_unit, "project": spec.tags.project}
            known = {name: value for name, value in tags.items() if value}
            model = spec.model_ref.name if served else spec.model_id
            self._deployed.append((groups, model, known, spec.finops_policy_ref))
        self._known: dict[Place, str | None] = {}

    def policy_of(self, place: Place) -> str | None:
        """The policy that everything fitting this place refers to; None where there is none, or more than one."""
        if place not in self._known:
            self._known[place] = self._judge(place)
        return self._known[place]

    def _judge(self, place: Place) -> str | None:
        if not place.group and not place.model:
            return None
        found = {
            policy
            for groups, model, tags, policy in self._deployed
            if (not place.model or model == place.model)
            and (not place.group or groups is None or place.group in groups)
            and all(getattr(place, name) in {"", value} for name, value in tags.items())
        }
        return found.pop() if len(found) == 1 else None


@dataclass(slots=True)
class History:
    """Effective cost by day, for each policy ("" is none) and currency; ``first`` and ``after`` are the days that are held."""

    spent: dict[tuple[str, str], dict[date, Decimal]] = field(default_factory=dict)
    first: date | None = None
    after: date | None = None


def history_of(charges: Iterable[Charge], policies: Policies) -> History:
    """Charges by day and policy. Nothing is lost: sums over all days and policies are the charges' effective cost."""
    history = History()
    for charge in charges:
        key = (policies.policy_of(charge.place) or "", charge.currency)
        days = history.spent.setdefault(key, {})
        for day, amount in daily(charge.start, charge.end, charge.effective):
            days[day] = EXACT.add(days.get(day, _ZERO), amount)
            history.first = day if history.first is None else min(history.first, day)
            history.after = day + _DAY if history.after is None else max(history.after, day + _DAY)
    return history


def daily(start: datetime, end: datetime, amount: Decimal) -> Iterable[tuple[date, Decimal]]:
    """``amount`` in equal parts on the days (UTC) from ``start`` until before ``end``; they add up to it exactly."""
    first = start.astimezone(UTC).date()
    last = max((end.astimezone(UTC) - timedelta(microseconds=1)).date(), first)
    count = min((last - first).days + 1, _MOST_DAYS)
    part = EXACT.quantize(EXACT.divide(amount, Decimal(count)), _STEP) if count > 1 else amount
    left = amount
    for place in range(count - 1):
        yield first + _DAY * place, part
        left = EXACT.subtract(left, part)
    yield first + _DAY * (count - 1), left


def standings(catalog: Catalog, history: History, today: date, *, coverage: float = 0.8) -> tuple[Standing, ...]:
    """Every budget of the tree on ``today``, by policy. Today itself is not over, and counts to what is still to come.

    Charges in another currency than the budget's count at the exchange rate of their day, out of the price books.
    """
    conversion = Conversion(tuple(catalog.price_books.values()))
    found = []
    for name, document in catalog.finops_policies.items():
        budget = document.spec.budget
        if budget is not None:
            limit = budget.monthly
            spent = {currency: days for (policy, currency), days in history.spent.items() if policy == name}
            series = conversion.into(limit.currency, spent)
            judge = _Judge(name, limit.currency, limit.amount, today, series, coverage)
            found.append(judge.standing(history, known=bool(spent)))
    return tuple(found)


class _Judge:
    """One budget on one day."""

    def __init__(
        self, policy: str, currency: str, budget: Decimal, today: date, series: OneCurrency, coverage: float
    ) -> None:
        self._policy = policy
        self._currency = currency
        self._budget = budget
        self._today = today
        self._month = today.replace(day=1)
        self._after = (self._month + timedelta(days=32)).replace(day=1)
        self._series = series
        self._coverage = coverage

    def standing(self, history: History, *, known: bool) -> Standing:
        if history.first is None or history.after is None:
            return self._unknown(
                "no history; give --history FILE, a table of 'trimtab bills import' or a CSV with the columns time,"
                " currency, amount, model, group",
                self._month,
            )
        until = min(history.after, self._today)
        if until < self._month or (until == self._month and self._today > self._month):
            reason = (
                f"the history ends on {until.isoformat()}, before the month; import the bill of {self._month:%Y-%m}"
            )
            return self._unknown(reason, self._month)
        if not known:
            return self._unknown(
                "no charge of the history falls under this policy; a charge does whose group and model are deployed"
                " under it alone",
                until,
            )
        lacking = [day for day in self._series.lacking if self._month <= day < until]
        if lacking:
            problem = self._series.lacking[min(lacking)]
            return self._unknown(
                f"charges of {min(lacking)} have no exchange rate: {problem}", self._month, problem=problem
            )
        days = tuple(self._days(max(self._month, history.first), until))
        if history.first > self._month:
            reason = f"the history begins on {history.first.isoformat()}, within the month; add the days from {self._month} on"
            return self._unknown(reason, until, None, days)
        return self._judged(until, days)

    def _judged(self, until: date, days: tuple[Decimal, ...]) -> Standing:
        spent = _total(days)
        first = min(self._series.days, default=until)
        cut = self._series.after_lacking
        past = [float(each) for each in self._days(first if cut is None else max(first, cut), until)]
        ahead = (self._after - until).days
        rest: Forecast | Unknown = Unknown("the month is over")
        if ahead > 0:
            rest = forecast(past, WEEK, ahead, coverage=self._coverage)
        if spent > self._budget:
            # Credits to come may bring it back, and nobody should count on them.
            return self._found(until, spent, days, rest, 1.0, Outlook.OVER)
        if isinstance(rest, Unknown):
            reason = rest.reason.replace("values", "days")
            if cut is not None:
                problem = self._series.lacking[max(self._series.lacking)]
                reason += f"; days before {cut} do not count, since charges of theirs have no exchange rate: {problem}"
            return self._unknown(reason, until, spent, days)
        chance = rest.chance_above(float(self._budget - spent))
        outlook = Outlook.LIKELY if chance >= 0.8 else Outlook.UNLIKELY if chance <= 0.2 else Outlook.POSSIBLE
        return self._found(until, spent, days, rest, chance, outlook)

    def _days(self, since: date, until: date) -> list[Decimal]:
        """The cost of every day from ``since`` until before ``until``."""
        return [self._series.days.get(since + _DAY * count, _ZERO) for count in range((until - since).days)]

    def _unknown(
        self,
        reason: str,
        until: date,
        spent: Decimal | None = None,
        days: tuple[Decimal, ...] = (),
        problem: Problem | None = None,
    ) -> Standing:
        return self._found(until, spent, days, Unknown(reason), None, Outlook.UNKNOWN, problem)

    def _found(
        self,
        until: date,
        spent: Decimal | None,
        days: tuple[Decimal, ...],
        rest: Forecast | Unknown,
        chance: float | None,
        outlook: Outlook,
        problem: Problem | None = None,
    ) -> Standing:
        rates = used(self._series, self._month)
        where = (self._policy, self._currency, self._budget, self._month, until)
        return Standing(*where, spent, days, rest, chance, outlook, rates, problem)


def _total(amounts: Iterable[Decimal]) -> Decimal:
    found = _ZERO
    for amount in amounts:
        found = EXACT.add(found, amount)
    return found
