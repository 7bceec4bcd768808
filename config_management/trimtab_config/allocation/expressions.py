"""The allocation as Ibis expressions: the same on DuckDB, Spark and every other engine that Ibis speaks to.

Per device and clock hour each model version is weighed by the larger of what it requested and what it used (OpenCost
specification: workload = max(request, usage), taken before anything is summed). Weights are whole numbers, core-
microseconds of a device whose hour has C = cores x 3.6e9 of them: request is the dominant share of the deployment's limits
times the seconds that it was ready; use is the larger of its CPU time and of its share of memory while it was ready. Where
the weights of an hour exceed C they are scaled down to it, the rest of the division to the largest of them: a device is
never paid twice, and what is left of it is idle and not below zero.

Every number that is added is whole, so no engine's order of summing plays a part, and DECIMAL(38, 0) holds it. Floating
numbers are only ever rounded row by row, and a quotient only where it is whole already.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ibis.expr.types import DecimalColumn, FloatingColumn, IntegerColumn, Table

WHOLE = "decimal(38, 0)"
MICROS = 1_000_000
HOUR = 3600


def used(history: Table) -> Table:
    """One row for each device, clock hour, model and version: what it used, in whole numbers.

    ``seconds_micro`` are those in which it was ready; ``millijoules`` what was measured or modelled, and
    ``unmetered_micro`` the CPU time of rows without joules; ``grade`` is the weakest source's place, 0 being measured.
    """
    import ibis

    rows = history.mutate(
        hour=_start_of_hour(history),
        cpu_micro=_rounded(history.cpu_seconds, MICROS),
        ready_micro=_rounded(history.uptime, MICROS),
        millijoules=_rounded(history.joules.fill_null(0.0), 1000),
        grade=ibis.cases(
            (history.joules_source == "measured", 0),
            (history.joules_source == "modelled", 1),
            (history.joules_source == "declared", 2),
            else_=3,
        ).cast("int64"),
    )
    unmetered = ibis.ifelse(rows.joules.isnull(), rows.cpu_micro, 0)
    return rows.group_by(["device_group", "device", "hour", "model", "version"]).aggregate(
        cpu_micro=rows.cpu_micro.sum().cast("int64"),
        seconds_micro=rows.ready_micro.sum().cast("int64"),
        millijoules=rows.millijoules.sum().cast("int64"),
        unmetered_micro=unmetered.sum().cast("int64"),
        grade=rows.grade.max(),
        bytes_moved=(rows.bytes_up + rows.bytes_down).sum().cast("int64"),
        inferences=rows.inferences.sum().cast("int64"),
        memory_peak=rows.memory_peak.max(),
    )


def weighed(hours: Table, groups: Table, requests: Table) -> Table:
    """The rows of :func:`used` with ``weight``: requested or used, whichever is more, together at most the device.

    ``groups`` has for each device_group ``capacity`` (core-microseconds of a second) and ``memory`` (bytes);
    ``requests`` for each device_group and model ``request`` (core-microseconds of a second that are reserved).
    """
    import ibis

    table = hours.inner_join(groups, "device_group")
    table = table.left_join(requests, ["device_group", "model"]).drop("device_group_right", "model_right")
    ready = ibis.least(table.seconds_micro, ibis.literal(HOUR * MICROS, "int64"))
    requested = _floor_divided(ready.cast(WHOLE) * table.request.fill_null(0).cast(WHOLE), _whole(MICROS))
    kept = _floor_divided(
        _floor_divided(table.memory_peak.cast(WHOLE) * table.capacity.cast(WHOLE), table.memory.cast(WHOLE))
        * ready.cast(WHOLE),
        _whole(MICROS),
    )
    # A row about the device alone weighs nothing; its time belongs to the device.
    asked = ibis.greatest(requested, table.cpu_micro.cast(WHOLE), kept).cast(WHOLE)
    table = table.mutate(asked=ibis.ifelse(table.model == "", _whole(0), asked).cast(WHOLE))
    device = ibis.window(group_by=["device_group", "device", "hour"])
    table = table.mutate(
        together=table.asked.sum().over(device).cast(WHOLE),
        most=(table.capacity * HOUR).cast(WHOLE),
        place=ibis.row_number().over(
            group_by=["device_group", "device", "hour"],
            order_by=[ibis.desc(table.asked), table.model, table.version],
        ),
    )
    divisor = ibis.ifelse(table.together > table.most, table.together, _whole(1)).cast(WHOLE)
    factor = ibis.ifelse(table.together > table.most, table.most, _whole(1)).cast(WHOLE)
    table = table.mutate(fitted=_floor_divided(table.asked * factor, divisor), overbooked=table.together > table.most)
    lost = table.most - table.fitted.sum().over(device).cast(WHOLE)
    first = table.overbooked & (table.place == 0)
    return table.mutate(weight=(table.fitted + ibis.ifelse(first, lost, _whole(0)).cast(WHOLE)).cast(WHOLE))


def workloads(table: Table) -> Table:
    """Of the rows of :func:`weighed`, the sums for each group, model and version."""
    named = table.filter(table.model != "")
    return named.group_by(["device_group", "model", "version"]).aggregate(
        weight=named.weight.sum().cast(WHOLE),
        overbooked=named.overbooked.cast("int64").sum().cast("int64"),
        cpu_micro=named.cpu_micro.sum().cast(WHOLE),
        seconds_micro=named.seconds_micro.sum().cast(WHOLE),
        millijoules=named.millijoules.sum().cast(WHOLE),
        unmetered_micro=named.unmetered_micro.sum().cast(WHOLE),
        grade=named.grade.max(),
        bytes_moved=named.bytes_moved.sum().cast(WHOLE),
        inferences=named.inferences.sum().cast(WHOLE),
        devices=named.device.nunique().cast("int64"),
    )


def device_hours(hours: Table) -> Table:
    """For each group the hours of its devices that the history knows of: these are billed."""
    seen = hours.select("device_group", "device", "hour").distinct()
    return seen.group_by("device_group").aggregate(
        hours=seen.count().cast("int64"), devices=seen.device.nunique().cast("int64")
    )


def _start_of_hour(history: Table) -> IntegerColumn:
    begin = history.start.epoch_seconds().cast("int64")
    return begin - begin % HOUR


def _rounded(column: FloatingColumn, factor: int) -> IntegerColumn:
    """The column times ``factor``, half up: by floor alone, which all engines do alike."""
    return (column * float(factor) + 0.5).floor().cast("int64")


def _whole(number: int) -> DecimalColumn:
    import ibis

    return ibis.literal(number, "int64").cast(WHOLE)


def _floor_divided(dividend: DecimalColumn, divisor: DecimalColumn) -> DecimalColumn:
    """The whole quotient of whole numbers, below 2^52.

    Engines divide decimals each in its own way, so the remainder, in which they agree, is taken off first; the quotient
    of two doubles then rounds to the whole number that it is.
    """
    rest = (dividend % divisor).cast(WHOLE)
    exact = (dividend - rest).cast(WHOLE)
    return (exact.cast("float64") / divisor.cast("float64") + 0.5).floor().cast("int64").cast(WHOLE)
