"""Histories as files: charges (of ``trimtab bills import``, or a few columns of one's own) and hourly loads."""

from __future__ import annotations

from typing import TYPE_CHECKING

from trimtab_config.bills.cells import CellError, moment, number
from trimtab_config.bills.columns import Columns
from trimtab_config.bills.files import BillFile, open_rows
from trimtab_config.budget.capacity import HOUR, Load
from trimtab_kernel.problems import InputError, OutsideError, Problem

if TYPE_CHECKING:
    from datetime import datetime
    from pathlib import Path

_LOADS = Columns(
    {"time": ("time", "timestamp"), "group": ("device_group", "group"), "cores": ("cores", "cpu_cores")},
    ("time", "group", "cores"),
)
_MOST_HOURS = 3 * 366 * 24


def read_loads(path: Path) -> dict[str, Load]:
    """Cores in use by device group from a CSV or Parquet file with the columns ``time``, ``device_group`` and ``cores``.

    Several values in one hour give their mean; an hour without one is a gap. Raises InputError (F701, F702, F703, F710).
    """
    if not path.is_file():
        raise OutsideError(f"{path}: no such file")
    file = BillFile(path, path.as_posix(), "")
    found: dict[str, dict[datetime, tuple[float, int]]] = {}
    with open_rows(file) as rows:
        bound = _LOADS.bind(rows.header, file.name)
        for _ in bound.over(rows):
            hour = bound.read("time", moment).replace(minute=0, second=0, microsecond=0)
            hours = found.setdefault(bound.text("group"), {})
            total, count = hours.get(hour, (0.0, 0))
            hours[hour] = (total + bound.read("cores", _cores), count + 1)
            if len(hours) > _MOST_HOURS:
                raise InputError(Problem("F710", file.name, bound.line, "time", "more hours", f"at most {_MOST_HOURS}"))
    loads = {}
    for group, hours in found.items():
        first, last = min(hours), max(hours)
        count = int((last - first) / HOUR) + 1
        if count > _MOST_HOURS:
            got = f"{group} from {first.isoformat()} to {last.isoformat()}"
            raise InputError(Problem("F710", file.name, 0, "time", got, f"at most {_MOST_HOURS} hours"))
        values = []
        for place in range(count):
            each = hours.get(first + HOUR * place)
            values.append(None if each is None else each[0] / each[1])
        loads[group] = Load(first, tuple(values))
    return loads


def _cores(text: str) -> float:
    value = number(text)
    if value < 0:
        raise CellError("a number of cores, 0 or more")
    return float(value)
