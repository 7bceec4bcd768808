"""An allocation as CSV and as Parquet, and a history as a file: the same columns for machines of others."""

from __future__ import annotations

import csv
import io
import json
from typing import TYPE_CHECKING, Any

from trimtab_config.allocation.bill import PARTS
from trimtab_config.allocation.history import COLUMNS
from trimtab_kernel.problems import InputError, Problem
from trimtab_kernel.vocabulary import TAGS

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from trimtab_config.allocation.bill import Allocation

_TEXTS = ("group", "model", "version", "currency", "price_book", "region", "energy_grade")
_WHOLES = ("devices", "inferences", "bytes", "overbooked_device_hours")
_NUMBERS = ("seconds", "cpu_seconds", "joules")


def rows_of(allocation: Allocation) -> list[dict[str, Any]]:
    """A flat row for each line: amounts as decimals, tags as ``tag_team`` and so on, None where there is none."""
    found = []
    for line in allocation.lines:
        tags = dict(line.tags)
        row: dict[str, Any] = {
            "period_start": allocation.begin.replace(tzinfo=None),
            "period_end": allocation.end.replace(tzinfo=None),
            "group": line.group,
            "model": line.model,
            "version": line.version,
            "currency": line.currency,
            "price_book": line.price_book,
            "region": line.region,
            "energy_grade": line.energy_grade.value,
            "devices": line.devices,
            "inferences": line.inferences,
            "bytes": line.moved,
            "overbooked_device_hours": line.overbooked,
            "seconds": line.seconds,
            "cpu_seconds": line.cpu_seconds,
            "joules": line.joules,
            "total": line.total,
            **{f"part_{part}": line.money(line.parts[part]) if part in line.parts else None for part in PARTS},
            "per_1k_inferences": line.per_1k,
            **{f"tag_{name}": tags.get(name) for name in TAGS},
        }
        found.append(row)
    return found


def csv_text(allocation: Allocation) -> str:
    """RFC 4180 with a header; an empty field is no value."""
    rows = rows_of(allocation)
    target = io.StringIO()
    writer = csv.writer(target, lineterminator="\r\n")
    names = list(rows[0]) if rows else []
    writer.writerow(names)
    for row in rows:
        writer.writerow(["" if row[name] is None else _cell(row[name]) for name in names])
    return target.getvalue()


def _cell(value: object) -> object:
    """A spreadsheet must not take a name for a formula."""
    if isinstance(value, str) and value[:1] in {"=", "+", "-", "@", "\t", "\r"}:
        return f"'{value}"
    return f"{value.isoformat()}Z" if hasattr(value, "isoformat") else value


def parquet_bytes(allocation: Allocation) -> bytes:
    """One row group; money as DECIMAL(38, places)."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    rows = rows_of(allocation)
    places = allocation.lines[0].places if allocation.lines else 6
    kinds: dict[str, Any] = {
        **dict.fromkeys(_TEXTS, pa.string()),
        **dict.fromkeys(_WHOLES, pa.int64()),
        **dict.fromkeys(_NUMBERS, pa.decimal128(38, 6)),
        "period_start": pa.timestamp("us"),
        "period_end": pa.timestamp("us"),
        "per_1k_inferences": pa.decimal128(38, 12),
    }
    names = list(rows[0]) if rows else []
    fields = [
        pa.field(name, kinds.get(name, pa.string() if name.startswith("tag_") else pa.decimal128(38, places)))
        for name in names
    ]
    sink = pa.BufferOutputStream()
    pq.write_table(pa.Table.from_pylist(rows, schema=pa.schema(fields)), sink)
    content: bytes = sink.getvalue().to_pybytes()
    return content


def history_table(rows: Sequence[dict[str, Any]]) -> Any:  # noqa: ANN401 - a pyarrow table
    """Rows of a history as a table with the columns of :data:`COLUMNS`."""
    import pyarrow as pa

    kinds = {"string": pa.string(), "timestamp": pa.timestamp("us"), "float64": pa.float64(), "int64": pa.int64()}
    return pa.Table.from_pylist(list(rows), schema=pa.schema([(name, kinds[kind]) for name, kind in COLUMNS.items()]))


def write_history(path: Path, rows: Sequence[dict[str, Any]]) -> None:
    """Keep a history as .parquet, .csv or .jsonl, by the name. Raises InputError (F408) for another one."""
    if path.suffix == ".parquet":
        import pyarrow.parquet as pq

        pq.write_table(history_table(rows), path)
    elif path.suffix == ".csv":
        with path.open("w", encoding="utf-8", newline="") as target:
            writer = csv.DictWriter(target, list(COLUMNS))
            writer.writeheader()
            writer.writerows({**row, "start": _cell(row["start"]), "end": _cell(row["end"])} for row in rows)
    elif path.suffix == ".jsonl":
        with path.open("w", encoding="utf-8") as target:
            for row in rows:
                whole = {**row, "start": _cell(row["start"]), "end": _cell(row["end"])}
                target.write(json.dumps(whole, ensure_ascii=False) + "\n")
    else:
        expected = "a name that ends in .parquet, .csv or .jsonl"
        raise InputError(Problem("F408", str(path), got="another kind of file", expected=expected))
