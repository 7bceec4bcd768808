"""Charges as tables: CSV and Parquet, written in batches and read back the same. The columns are the interface of charges.

Amounts are decimals of 38 digits with 24 after the point, times are UTC, tags are one JSON object; columns for what is
not known hold "" in CSV and null in Parquet. Whoever has charges of another origin (an allocation, an invoice of one's
own) writes them with these columns and everything that reads charges can read them.
"""

from __future__ import annotations

import csv
import json
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import IO, TYPE_CHECKING, TypeVar

from trimtab_config.bills.cells import CellError, currency, moment, month_of, number, tags
from trimtab_config.bills.charges import DIMENSIONS, NOWHERE, PLACES, Category, Charge, Place, Standing
from trimtab_config.bills.columns import Bound, Columns
from trimtab_config.bills.files import BillFile, open_rows
from trimtab_config.bills.statement import plain
from trimtab_kernel.problems import OutsideError
from trimtab_kernel.vocabulary import TAGS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from pathlib import Path

    import pyarrow as pa

_DATES = ("billing_start", "billing_end")
_TIMES = ("start", "end")
_AMOUNTS = ("amount", "effective", "quantity", "low", "high")
_TEXTS = (
    "source", "currency", "category", "kind", "account", "account_name", "issuer", "provider", "service",
    "service_category", "region", "resource", "description", "unit", "standing", "orphan", "grade", "invoice",
)  # fmt: skip
COLUMNS = (
    "source", "billing_start", "billing_end", "start", "end", "currency", "amount", "effective", "category",
    "correction", "kind", "account", "account_name", "issuer", "provider", "service", "service_category", "region",
    "resource", "description", "quantity", "unit", "tags", "standing", "orphan", *DIMENSIONS, "grade", "low", "high", "invoice",
)  # fmt: skip
"""The columns of a table of charges, in their order."""
_BATCH = 4096
_NEEDED = ("start", "currency", "amount")
_ALSO = {
    "start": ("start", "time", "period_start"),
    "end": ("end", "period_end"),
    "amount": ("amount", "total"),
    "group": ("group", "device_group"),
    **{tag: (tag, f"tag_{tag}") for tag in TAGS},
}
"""What a column may be called as well: as in an allocation ('trimtab allocate'), or by people."""
_ALLOCATION = "period_start"


def schema() -> pa.Schema:
    """The Arrow schema of a table of charges."""
    import pyarrow as pa

    def kind(name: str) -> pa.DataType:
        if name in _DATES:
            return pa.date32()
        if name in _TIMES:
            return pa.timestamp("us", tz="UTC")
        if name in _AMOUNTS:
            return pa.decimal128(38, PLACES)
        return pa.bool_() if name == "correction" else pa.string()

    return pa.schema([pa.field(name, kind(name)) for name in COLUMNS])


def values(charge: Charge) -> tuple[object, ...]:
    """A charge in the order of ``COLUMNS``; None for what is not known."""
    place = dict(zip(DIMENSIONS, charge.place.values(), strict=True))
    found: list[object] = []
    for name in COLUMNS:
        if name in DIMENSIONS:
            found.append(place[name] or None)
        elif name == "tags":
            found.append(json.dumps(dict(charge.tags), ensure_ascii=False, sort_keys=True) if charge.tags else None)
        elif name in _TEXTS:
            found.append(str(getattr(charge, name)) or None)
        else:
            found.append(getattr(charge, name))
    return tuple(found)


def write_csv(charges: Iterable[Charge], stream: IO[str]) -> int:
    """Writes a table; the value is the number of charges."""
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(COLUMNS)
    count = 0
    for charge in charges:
        writer.writerow([_text(value) for value in values(charge)])
        count += 1
    return count


@contextmanager
def parquet_sink(stream: IO[bytes], arrow_schema: pa.Schema) -> Iterator[Callable[[tuple[object, ...]], None]]:
    """Takes rows in the order of a schema and writes them in batches."""
    import pyarrow as pa
    from pyarrow import parquet

    batch: list[tuple[object, ...]] = []
    with parquet.ParquetWriter(stream, arrow_schema, compression="zstd") as writer:

        def flush() -> None:
            columns = list(zip(*batch, strict=True))
            arrays = [pa.array(column, type=each.type) for column, each in zip(columns, arrow_schema, strict=True)]
            writer.write_batch(pa.record_batch(arrays, schema=arrow_schema))
            batch.clear()

        def take(row: tuple[object, ...]) -> None:
            batch.append(row)
            if len(batch) >= _BATCH:
                flush()

        yield take
        if batch:
            flush()


def write_parquet(charges: Iterable[Charge], stream: IO[bytes]) -> int:
    """Writes a table; the value is the number of charges."""
    count = 0
    with parquet_sink(stream, schema()) as take:
        for charge in charges:
            take(values(charge))
            count += 1
    return count


def _text(value: object) -> str:
    match value:
        case None:
            return ""
        case Decimal():
            return plain(value)
        case datetime():
            return value.astimezone(UTC).isoformat().replace("+00:00", "Z")
        case bool():
            return "true" if value else "false"
        case date():
            return value.isoformat()
        case _:
            return str(value)


# ---------------------------------------------------------------- reading

_COLUMNS = Columns({name: _ALSO.get(name, (name,)) for name in COLUMNS}, _NEEDED)


def read_charges(path: Path) -> Iterator[Charge]:
    """The charges of a table, one after another.

    ``start`` (or ``time``), ``currency`` and ``amount`` are enough of columns; an allocation that ``trimtab allocate``
    wrote is such a table. A place that is given is where a charge belongs, whether its standing is given or not.

    Raises InputError (F701, F702, F703) for what is no such table, OutsideError where the file cannot be read.
    """
    if not path.is_file():
        raise OutsideError(f"{path}: no such file")
    file = BillFile(path, path.as_posix(), "")
    with open_rows(file) as rows:
        bound = _COLUMNS.bind(rows.header, file.name)
        made = _allocated if _ALLOCATION in rows.header else _charge
        for _ in bound.over(rows):
            yield made(bound)


def _charge(row: Bound) -> Charge:
    amount = row.read("amount", number)
    place = Place(*(row.text(dimension) for dimension in DIMENSIONS))
    standing = Standing.UNJOINED if place == NOWHERE else Standing.ATTRIBUTED
    start = row.read("start", moment)
    first, after = month_of(start)
    return Charge(
        source=row.text("source"),
        billing_start=row.read("billing_start", _day) if row.text("billing_start") else first,
        billing_end=row.read("billing_end", _day) if row.text("billing_end") else after,
        start=start,
        end=row.read("end", moment) if row.text("end") else start,
        currency=row.read("currency", currency),
        amount=amount,
        effective=row.read("effective", number) if row.text("effective") else amount,
        category=row.read("category", _member(Category)) if row.text("category") else Category.USAGE,
        correction=row.text("correction").lower() == "true",
        kind=row.text("kind"),
        account=row.text("account"),
        account_name=row.text("account_name"),
        issuer=row.text("issuer"),
        provider=row.text("provider"),
        service=row.text("service"),
        service_category=row.text("service_category"),
        region=row.text("region"),
        resource=row.text("resource"),
        description=row.text("description"),
        quantity=row.read("quantity", number) if row.text("quantity") else None,
        unit=row.text("unit"),
        tags=row.read("tags", tags) if row.text("tags") else (),
        standing=row.read("standing", _member(Standing)) if row.text("standing") else standing,
        orphan=row.text("orphan"),
        place=place,
        grade=row.text("grade") or "measured",
        invoice=row.text("invoice"),
        low=row.read("low", number) if row.text("low") else None,
        high=row.read("high", number) if row.text("high") else None,
    )


def _allocated(row: Bound) -> Charge:
    """A line of an allocation: what devices cost in fact. One without a model is what no model used of its group."""
    charge = _charge(row)
    place = charge.place
    named = " ".join(filter(None, (place.model, place.version))) or "what no model used"
    return replace(
        charge,
        source="allocation",
        kind="allocation",
        account="trimtab",
        issuer="Trimtab",
        provider="Trimtab",
        service="Edge inference" if place.model else "Edge devices idle",
        service_category="AI and Machine Learning" if place.model else "Compute",
        resource="/".join(filter(None, (place.group, place.model, place.version))),
        description=f"{named} on {place.group}, measured",
    )


def _day(text: str) -> date:
    return moment(text).date()


_Kind = TypeVar("_Kind", Category, Standing)


def _member(kind: type[_Kind]) -> Callable[[str], _Kind]:
    def parse(text: str) -> _Kind:
        try:
            return kind(text)
        except ValueError:
            raise CellError(f"one of {', '.join(kind)}") from None

    return parse
