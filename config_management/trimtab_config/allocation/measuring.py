"""From files of telemetry and a fleet to the measured bill: runs the expressions on an engine and reads the few sums."""

from __future__ import annotations

import datetime
from typing import TYPE_CHECKING, Any

from trimtab_config.allocation.bill import allocate
from trimtab_config.allocation.expressions import device_hours, used, weighed, workloads
from trimtab_config.allocation.fleet import group_facts
from trimtab_config.allocation.history import refuse_what_is_wrong
from trimtab_kernel.problems import InputError, Problem

if TYPE_CHECKING:
    import ibis
    from ibis.expr.types import Table

    from trimtab_config.allocation.bill import Allocation
    from trimtab_config.catalog import Catalog
    from trimtab_config.cost.idle import IdleRule


def measured_cost(
    connection: ibis.BaseBackend,
    history: Table,
    catalog: Catalog,
    rule: IdleRule,
    *,
    place: str = "",
    begin: datetime.datetime | None = None,
    end: datetime.datetime | None = None,
    price_book: str | None = None,
    currency: str | None = None,
    places: int = 6,
) -> Allocation:
    """The bill of what the history says between ``begin`` and ``end`` (UTC, whole hours; all of it where None).

    Raises InputError: F408 for a history that cannot be right, F410 for a group that the fleet does not have, F4 for prices.
    """
    import ibis

    for bound, name in ((begin, "--from"), (end, "--to")):
        if bound is not None and (bound.minute or bound.second or bound.microsecond):
            raise InputError(Problem("F408", field=name, got=bound.isoformat(), expected="a whole hour"))
    if begin is not None:
        history = history.filter(history.start >= ibis.literal(begin.replace(tzinfo=None)))
    if end is not None:
        history = history.filter(history.start < ibis.literal(end.replace(tzinfo=None)))
    refuse_what_is_wrong(history, connection, place)
    first = history.start.epoch_seconds().min().cast("int64")
    last = history.end.epoch_seconds().max().cast("int64")
    [bounds] = _rows(connection, history.aggregate(first=first, last=last))
    names = [row["device_group"] for row in _rows(connection, history.select("device_group").distinct())]
    facts = group_facts(catalog, names)
    groups = _table(
        {"device_group": "string", "capacity": "int64", "memory": "int64"},
        [(name, group.capacity, group.memory) for name, group in facts.items()],
    )
    requests = _table(
        {"device_group": "string", "model": "string", "request": "int64"},
        [(name, model, asked) for name, group in facts.items() for model, asked in group.requests.items()],
    )
    hours = used(history)
    sums = _rows(connection, workloads(weighed(hours, groups, requests)))
    seen = {
        row["device_group"]: (int(row["hours"]), int(row["devices"])) for row in _rows(connection, device_hours(hours))
    }
    period = (
        begin or _hour(int(bounds["first"]), up=False),
        end or _hour(int(bounds["last"]), up=True),
    )
    return allocate(catalog, facts, sums, seen, period, rule, price_book=price_book, currency=currency, places=places)


def _table(schema: dict[str, str], rows: list[tuple[Any, ...]]) -> Table:
    import ibis
    import pyarrow as pa

    kinds = {"string": pa.string(), "int64": pa.int64()}
    fields = pa.schema([(name, kinds[kind]) for name, kind in schema.items()])
    columns = {name: [row[place] for row in rows] for place, name in enumerate(schema)}
    return ibis.memtable(pa.table(columns, schema=fields))


def _rows(connection: ibis.BaseBackend, table: Table) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = connection.to_pyarrow(table).to_pylist()
    return found


def _hour(seconds: int, *, up: bool) -> datetime.datetime:
    whole = -(-seconds // 3600) if up else seconds // 3600
    return datetime.datetime.fromtimestamp(whole * 3600, datetime.UTC)
