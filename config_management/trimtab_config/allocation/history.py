"""The telemetry history: what each row says, and what is refused before anything is added up.

A row is one model version on one device over one interval that lies within a clock hour (UTC), since a device is paid for
by the hour. A row without a model says that the device was there. Formats: Parquet, CSV with a header, JSON Lines; of
several files all rows count.

==================  =========  ==================================================================================
column              type       meaning
==================  =========  ==================================================================================
device              text       its id, unique within the group
device_group        text       the DeviceGroup of the fleet
model, version      text       what ran; both empty for a row about the device alone
start, end          timestamp  UTC, start < end, within one clock hour
cpu_seconds         number     CPU time of the model in the interval
joules              number     its energy; null where nobody measured
joules_source       text       measured, modelled, declared or absent
bytes_up            integer    bytes sent for it
bytes_down          integer    bytes fetched for it, updates included
inferences          integer    answers given
memory_peak         integer    bytes, the most that it held
uptime              number     seconds of the interval in which it was ready to answer
==================  =========  ==================================================================================
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from trimtab_kernel.problems import InputError, Problem

if TYPE_CHECKING:
    import ibis
    from ibis.expr.types import BooleanValue, Table

COLUMNS = {
    "device": "string",
    "device_group": "string",
    "model": "string",
    "version": "string",
    "start": "timestamp",
    "end": "timestamp",
    "cpu_seconds": "float64",
    "joules": "float64",
    "joules_source": "string",
    "bytes_up": "int64",
    "bytes_down": "int64",
    "inferences": "int64",
    "memory_peak": "int64",
    "uptime": "float64",
}
SOURCES = ("measured", "modelled", "declared", "absent")
_IDENTITY = ("device", "device_group", "model", "version", "start")
_COUNTS = ("cpu_seconds", "bytes_up", "bytes_down", "inferences", "memory_peak", "uptime")


def typed(table: Table, place: str) -> Table:
    """The table with exactly the columns of a history, each of its type; other columns are left out.

    Text that is null is "", as CSV has it, and ``joules`` stay null. Raises InputError (F408) for a missing column.
    """
    missing = [name for name in COLUMNS if name not in table.columns]
    if missing:
        expected = f"the columns {', '.join(COLUMNS)}"
        raise InputError(Problem("F408", place, got=f"no column {', '.join(missing)}", expected=expected))
    columns = {}
    for name, kind in COLUMNS.items():
        column = table[name].cast(kind)
        columns[name] = column.fill_null("") if kind == "string" else column
    return table.select(**columns)


def refuse_what_is_wrong(history: Table, connection: ibis.BaseBackend, place: str) -> None:
    """Counts the rows that break a rule, in one query. Raises InputError (F408), a Problem for each rule that is broken."""
    import ibis

    rules = _rules(history)
    counts = {name: broken.fill_null(True).cast("int64").sum() for name, (broken, _) in rules.items()}
    doubles = history.group_by(list(_IDENTITY)).aggregate(rows=history.count())
    doubles = doubles.filter(doubles.rows > 1).aggregate(doubled=ibis._.count())
    found = connection.to_pyarrow(history.aggregate(**counts, rows=history.count())).to_pylist()[0]
    if not found["rows"]:
        raise InputError(Problem("F408", place, got="no row", expected="a history with rows"))
    problems = [
        Problem("F408", place, 0, name, f"{found[name]} of {found['rows']} rows that break it", expected)
        for name, (_, expected) in rules.items()
        if found[name]
    ]
    again = connection.to_pyarrow(doubles).to_pylist()[0]["doubled"]
    if again:
        expected = "one row for each device, model, version and start"
        problems.append(Problem("F408", place, 0, "start", f"{again} intervals that are told twice or more", expected))
    if problems:
        raise InputError(*problems)


def _rules(history: Table) -> dict[str, tuple[BooleanValue, str]]:
    """By column: which rows break its rule, and what is expected."""
    begin, end = history.start.epoch_seconds(), history.end.epoch_seconds()
    rules: dict[str, tuple[BooleanValue, str]] = {
        "device": (history.device == "", "the id of the device"),
        "device_group": (history.device_group == "", "the name of a device group"),
        "version": ((history.model == "") != (history.version == ""), "model and version, or neither"),
        "end": (
            (end <= begin) | (end > begin - begin % 3600 + 3600),
            "an interval that ends after it starts, within one clock hour (UTC)",
        ),
        "joules_source": (~history.joules_source.isin(SOURCES), f"one of {', '.join(SOURCES)}"),
        "joules": (
            (history.joules.fill_null(0) < 0)
            | history.joules.fill_null(0).isnan()
            | history.joules.fill_null(0).isinf()
            | (history.joules.isnull() & (history.joules_source != "absent")),
            'joules >= 0, or null with the source "absent"',
        ),
    }
    for name in _COUNTS:
        column = history[name]
        broken = column < 0
        if COLUMNS[name] == "float64":
            broken |= column.isnan() | column.isinf()
        rules[name] = (broken, "a number >= 0")
    return rules
