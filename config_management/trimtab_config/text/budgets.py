"""Budgets and capacity as tables and JSON."""

from __future__ import annotations

from typing import TYPE_CHECKING

from trimtab_config.bills.statement import plain
from trimtab_config.budget.forecast import Unknown
from trimtab_config.cost.amounts import significant_text
from trimtab_config.cost.rates import to_decimal
from trimtab_config.text.bills import aligned
from trimtab_config.text.costs import money_text
from trimtab_kernel.problems import printable

if TYPE_CHECKING:
    from collections.abc import Sequence
    from decimal import Decimal

    from trimtab_config.budget.capacity import Need, UpdateHours
    from trimtab_config.budget.spending import Standing
    from trimtab_config.cost.exchange import Exchange
    from trimtab_kernel.canonical import Json

_UNKNOWN = "-"


def budgets_text(standings: Sequence[Standing], unassigned: Sequence[tuple[str, Decimal]]) -> str:
    """One line for each budget, then why some are unknown and what falls under none."""
    if not standings:
        return "No FinOpsPolicy has a budget.\n"
    rows = []
    for each in standings:
        rest = each.rest
        known = None if isinstance(rest, Unknown) or each.spent is None else float(each.spent)
        forecast = interval = _UNKNOWN
        if known is not None and not isinstance(rest, Unknown):
            forecast = f"{known + rest.total.value:,.2f}"
            interval = f"{known + rest.total.low:,.2f} - {known + rest.total.high:,.2f}"
        rows.append(
            (
                printable(each.policy, 60),
                each.outlook.value,
                f"{money_text(each.budget)} {each.currency}",
                _UNKNOWN if each.spent is None else money_text(each.spent),
                forecast,
                interval,
                _UNKNOWN if each.chance is None else f"{100 * each.chance:.0f} %",
            )
        )
    headings = ("POLICY", "OUTLOOK", "BUDGET", "SPENT", "MONTH END", "80 % FROM - TO", "OVERRUN")
    month = standings[0].month
    lines = [f"{month:%Y-%m}", *aligned(headings, rows, left=2), ""]
    lines += [
        f"1 {rate.source} is {significant_text(to_decimal(rate.rate), 8)} {rate.target} from {rate.valid_from} to"
        f" {rate.valid_until} ({rate.book})."
        for rate in rates_of(standings)
    ]
    reasons: dict[str, list[str]] = {}
    for each in standings:
        if isinstance(each.rest, Unknown):
            reasons.setdefault(each.rest.reason, []).append(printable(each.policy, 60))
    lines += [f"{', '.join(policies)}: {reason}." for reason, policies in reasons.items()]
    lines += [
        f"Spent is until {each.until.isoformat()}, effective cost." for each in standings[:1] if each.spent is not None
    ]
    lines += [f"{money_text(amount)} {currency} of the month fall under no policy." for currency, amount in unassigned]
    return "\n".join(lines).rstrip() + "\n"


def rates_of(standings: Sequence[Standing]) -> list[Exchange]:
    """The exchange rates by which charges of the month counted, each once."""
    found = {rate for each in standings for rate in each.rates}
    return sorted(found, key=lambda rate: (rate.target, rate.source, rate.valid_from, rate.book))


def budgets_json(standings: Sequence[Standing], unassigned: Sequence[tuple[str, Decimal]]) -> dict[str, Json]:
    """Money that was spent as exact text, forecasts as numbers: they are not that exact."""
    found: list[Json] = []
    for each in standings:
        rest = each.rest
        content: dict[str, Json] = {
            "policy": each.policy,
            "month": f"{each.month:%Y-%m}",
            "currency": each.currency,
            "budget": plain(each.budget),
            "until": each.until.isoformat(),
            "spent": None if each.spent is None else plain(each.spent),
            "outlook": each.outlook.value,
            "chanceOfOverrun": None if each.chance is None else f"{each.chance:.4f}",
        }
        if isinstance(rest, Unknown):
            content |= {"monthEnd": None, "reason": rest.reason}
        elif each.spent is not None:
            spent = float(each.spent)
            content["monthEnd"] = {
                "value": f"{spent + rest.total.value:.2f}",
                "low": f"{spent + rest.total.low:.2f}",
                "high": f"{spent + rest.total.high:.2f}",
                "coverage": f"{rest.coverage:g}",
                "pastErrors": len(rest.outcomes),
            }
            content["days"] = [
                {"value": f"{step.value:.2f}", "low": f"{step.low:.2f}", "high": f"{step.high:.2f}"}
                for step in rest.steps
            ]
        found.append(content)
    return {
        "budgets": found,
        "exchangeRates": [rate.to_json() for rate in rates_of(standings)],
        "unassigned": [{"currency": currency, "amount": plain(amount)} for currency, amount in unassigned],
    }


def capacity_text(groups: Sequence[Need], regions: Sequence[Need], updates: Sequence[UpdateHours]) -> str:
    """Needs of groups and regions, then the quietest hours for each deployment's updates."""
    headings = ("", "REGION", "CORES", "PEAK", "80 % FROM - TO", "OF CORES", "WHEN", "SHORT")
    lines = aligned(("GROUP", *headings[1:]), [_need_cells(each) for each in groups], left=2)
    lines += [
        "",
        *aligned(
            ("REGION", "", *headings[2:]),
            [(*_need_cells(each)[:1], "", *_need_cells(each)[2:]) for each in regions],
            left=2,
        ),
    ]
    lines += ["", "Quietest hours for updates"]
    rows = []
    for each in updates:
        hours = ", ".join(f"{hour.hour:02}:00 ({100 * hour.load:.0f} %)" for hour in each.hours[:4])
        rows.append((each.group, each.deployment, each.window or "any time", hours or f"unknown: {each.reason}"))
    lines += aligned(("GROUP", "DEPLOYMENT", "WINDOW", "HOURS (LOAD, OF THE BUSIEST HOUR)"), rows, left=4)
    lines += ["", "SHORT: the upper bound of some hour is beyond the limit. A gap in the history is unknown, not zero."]
    return "\n".join(lines) + "\n"


def _need_cells(need: Need) -> tuple[str, ...]:
    peak = need.peak
    cores = f"{need.cores:,.0f}"
    if peak is None:
        return (need.name, need.region, cores, _UNKNOWN, _UNKNOWN, _UNKNOWN, need.reason, "unknown")
    share = f"{100 * peak.value / need.cores:.0f} %" if need.cores else _UNKNOWN
    interval = f"{peak.low:,.1f} - {peak.high:,.1f}"
    when = f"{peak.at:%Y-%m-%d %H}:00"
    return (need.name, need.region, cores, f"{peak.value:,.1f}", interval, share, when, "yes" if need.short else "no")


def capacity_json(groups: Sequence[Need], regions: Sequence[Need], updates: Sequence[UpdateHours]) -> dict[str, Json]:
    """The same as :func:`capacity_text` for machines."""
    return {
        "groups": [_need_json(each) for each in groups],
        "regions": [_need_json(each) for each in regions],
        "updates": [
            {
                "group": each.group,
                "deployment": each.deployment,
                "window": each.window,
                "hours": [{"hour": hour.hour, "load": f"{hour.load:.3f}"} for hour in each.hours],
                "reason": each.reason,
            }
            for each in updates
        ],
    }


def _need_json(need: Need) -> dict[str, Json]:
    peak = need.peak
    return {
        "name": need.name,
        "region": need.region,
        "cores": f"{need.cores:g}",
        "limit": f"{need.limit:g}",
        "short": need.short,
        "reason": need.reason,
        "peak": None
        if peak is None
        else {
            "at": peak.at.isoformat(),
            "value": f"{peak.value:.2f}",
            "low": f"{peak.low:.2f}",
            "high": f"{peak.high:.2f}",
        },
    }
