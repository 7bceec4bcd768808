"""What devices were seen to need, in the form that advice rests on: the most of each, by group, model and version.

Two sources: profiles of models whose grade is ``measured``, and summaries of telemetry, one line for each group, model and
version, as CSV with a header or as JSON lines:

- ``device_group``, ``model``, ``version``
- ``memory_peak_bytes``: most memory that a device's runtime took for this model
- ``cpu_peak_cores``: most cores that it took over a minute
- ``requests_per_device_day``: requests that a device answered in a day, on average
"""

from __future__ import annotations

import csv
import io
import json
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from typing import TYPE_CHECKING

from trimtab_kernel.problems import Collector, InputError, Problem, quoted

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

MAX_BYTES = 64 * 1024 * 1024
_NAMES = ("device_group", "model", "version")
_NUMBERS = ("memory_peak_bytes", "cpu_peak_cores", "requests_per_device_day")
_MOST = Decimal(10) ** 18


@dataclass(frozen=True, slots=True)
class Need:
    """Bytes, cores, requests per device and day; None where it was not observed."""

    memory_peak_bytes: Decimal | None = None
    cpu_peak_cores: Decimal | None = None
    requests_per_device_day: Decimal | None = None


def read_needs(file: str, content: bytes) -> dict[tuple[str, str, str], Need]:
    """What was observed, by device group, model and version.

    Raises InputError (F140) with every line that cannot be read, and with lines that say the same thing twice.
    """
    problems = Collector()
    found: dict[tuple[str, str, str], Need] = {}
    if len(content) > MAX_BYTES:
        raise InputError(Problem("F140", file, 0, "", f"{len(content)} bytes", f"at most {MAX_BYTES} bytes"))
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise InputError(Problem("F140", file, line, "", "bytes that are no text", "UTF-8")) from None
    for line, row in _rows(file, text, problems):
        key = (_name(row, "device_group"), _name(row, "model"), _name(row, "version"))
        missing = next((name for name, value in zip(_NAMES, key, strict=True) if not value), None)
        if missing is not None:
            problems.add(
                Problem("F140", file, line, missing, "nothing", "a name", "each line names group, model and version")
            )
        elif key in found:
            problems.add(Problem("F140", file, line, "", f"{'/'.join(key)} twice", "one line for each"))
        else:
            found[key] = Need(*(_number(file, line, name, row.get(name), problems) for name in _NUMBERS))
    if problems.problems:
        raise InputError(*problems.sorted())
    return found


def _rows(file: str, text: str, problems: Collector) -> Iterator[tuple[int, Mapping[str, object]]]:
    if text.lstrip().startswith("{"):
        for line, each in enumerate(text.splitlines(), 1):
            if not each.strip():
                continue
            try:
                row = json.loads(each, parse_float=Decimal)
            except (ValueError, RecursionError):
                row = None
            if isinstance(row, dict):
                yield line, row
            else:
                problems.add(Problem("F140", file, line, "", quoted(each[:60]), "one JSON object on a line"))
        return
    reader = csv.DictReader(io.StringIO(text, newline=""), strict=True)
    try:
        missing = [name for name in _NAMES if name not in (reader.fieldnames or ())]
        if missing:
            got = quoted(",".join(reader.fieldnames or ())[:80])
            problems.add(Problem("F140", file, 1, "", got, f"a header with {', '.join(_NAMES)}"))
            return
        for row in reader:
            if None in row or None in row.values():
                problems.add(
                    Problem("F140", file, reader.line_num, "", "another number of cells", "one for each column")
                )
            else:
                yield reader.line_num, row
    except csv.Error as error:
        problems.add(Problem("F140", file, reader.line_num, "", str(error), "comma-separated values (RFC 4180)"))


def _name(row: Mapping[str, object], name: str) -> str:
    value = row.get(name)
    return value if isinstance(value, str) else ""


def _number(file: str, line: int, name: str, value: object, problems: Collector) -> Decimal | None:
    if value is None or value == "":
        return None
    try:
        number = Decimal(str(value)) if isinstance(value, (str, int, Decimal)) and not isinstance(value, bool) else None
    except InvalidOperation:
        number = None
    if number is None or not number.is_finite() or not 0 <= number <= _MOST:
        problems.add(
            Problem(
                "F140",
                file,
                line,
                name,
                quoted(str(value)[:40]),
                "a number from 0 on",
                "leave it empty where it is not known",
            )
        )
        return None
    return number
