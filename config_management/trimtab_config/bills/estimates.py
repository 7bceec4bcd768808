"""Charges out of an estimate: each part of each row of a cost report, for one month. Pure."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING

from trimtab_config.bills.charges import DIMENSIONS, Charge, Place, Standing
from trimtab_config.cost.report import COMPUTE, DATA, ENERGY, RESERVED, UPDATES

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from trimtab_config.cost.report import CostReport

SOURCE = "estimate"
_SERVICES = {
    COMPUTE: ("Edge inference", "AI and Machine Learning"),
    RESERVED: ("Edge devices reserved", "Compute"),
    ENERGY: ("Edge energy", "Internet of Things"),
    DATA: ("Edge data transfer", "Networking"),
    UPDATES: ("Model delivery", "Networking"),
}


def estimated_charges(
    report: CostReport, month: date, regions: Mapping[str, str], clusters: Mapping[str, str], account: str
) -> Iterator[Charge]:
    """The charges that ``month`` (its first day) would have if it were as estimated; they add up to the report's totals.

    A report's month is 730 hours whatever the calendar says. ``regions`` and ``clusters`` are by device group;
    ``account`` is whose bill it would be. Parts that are not known give no charge, as they are in no total.
    """
    after = (month + timedelta(days=32)).replace(day=1)
    start, end = (datetime(day.year, day.month, day.day, tzinfo=UTC) for day in (month, after))
    for row in report.rows:
        known = {**dict(row.tags), "group": row.group, "model": row.model, "version": row.version}
        place = Place(*(known.get(dimension, "") for dimension in DIMENSIONS))
        for part, figure in row.parts.items():
            service, category = _SERVICES.get(part, (f"Edge {part}", "Internet of Things"))
            yield Charge(
                source=SOURCE,
                billing_start=month,
                billing_end=after,
                start=start,
                end=end,
                currency=row.currency,
                amount=figure.value,
                effective=figure.value,
                kind=part,
                account=account,
                account_name=account,
                issuer="Trimtab",
                provider="Trimtab",
                service=service,
                service_category=category,
                region=regions.get(row.group, ""),
                resource=f"{clusters.get(row.group, '')}/{row.group}/{row.namespace}/{row.name}/{row.version}",
                description=f"{part} of {row.model} {row.version} ({row.tier}) on {row.group}, estimated",
                quantity=row.devices,
                unit="Devices",
                tags=row.tags,
                standing=Standing.ATTRIBUTED,
                place=place,
                grade=figure.grade.value,
                low=figure.low,
                high=figure.high,
            )
