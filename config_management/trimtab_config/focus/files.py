"""FOCUS files: CSV and Parquet, row by row."""

from __future__ import annotations

import csv
from datetime import UTC, datetime
from decimal import Decimal
from typing import IO, TYPE_CHECKING

from trimtab_config.bills.charges import PLACES
from trimtab_config.bills.statement import plain
from trimtab_config.bills.tables import parquet_sink
from trimtab_config.focus.columns import ALL, ColumnKind, kind_of
from trimtab_config.focus.records import FocusRows

if TYPE_CHECKING:
    from collections.abc import Iterable

    import pyarrow as pa

    from trimtab_config.bills.charges import Charge


class CsvFile:
    """A FOCUS CSV on a stream; null is an empty cell, a time ends with Z."""

    def __init__(self, stream: IO[str]) -> None:
        self._writer = csv.writer(stream, lineterminator="\n")
        self._rows = FocusRows()
        self._writer.writerow(ALL)

    def take(self, charge: Charge) -> None:
        """Writes one charge."""
        self._writer.writerow([_text(value) for value in self._rows.row(charge)])


def write_csv(charges: Iterable[Charge], stream: IO[str]) -> None:
    """Writes charges as CSV."""
    file = CsvFile(stream)
    for charge in charges:
        file.take(charge)


def write_parquet(charges: Iterable[Charge], stream: IO[bytes]) -> None:
    """Writes charges as Parquet; amounts are decimals of 38 digits with 24 after the point."""
    rows = FocusRows()
    with parquet_sink(stream, schema()) as take:
        for charge in charges:
            take(rows.row(charge))


def schema() -> pa.Schema:
    """The Arrow schema of a FOCUS file."""
    import pyarrow as pa

    types = {
        ColumnKind.TEXT: pa.string(),
        ColumnKind.PAIRS: pa.string(),
        ColumnKind.DECIMAL: pa.decimal128(38, PLACES),
        ColumnKind.TIME: pa.timestamp("ms", tz="UTC"),
    }
    return pa.schema([pa.field(name, types[kind_of(name)]) for name in ALL])


def _text(value: object) -> str:
    match value:
        case None:
            return ""
        case Decimal():
            # With a point even where it is whole: readers that guess types see a decimal in every file.
            text = plain(value)
            return text if "." in text else f"{text}.0"
        case datetime():
            return value.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        case _:
            return str(value)
