"""Chargeback: one FOCUS file for each business unit, and one for what belongs to none. Together they are the whole."""

from __future__ import annotations

import hashlib
import re
from contextlib import ExitStack
from typing import TYPE_CHECKING

from trimtab_config.bills.charges import EXACT
from trimtab_config.focus.files import CsvFile
from trimtab_kernel.problems import InputError, OutsideError, Problem

if TYPE_CHECKING:
    from collections.abc import Iterable
    from decimal import Decimal
    from pathlib import Path

    from trimtab_config.bills.charges import Charge

UNALLOCATED = "unallocated"
_MOST_UNITS = 200
_SAFE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")


def file_name(unit: str) -> str:
    """The file of a business unit; a name that is none for a file becomes a digest of it."""
    if unit and unit != UNALLOCATED and _SAFE.fullmatch(unit):
        return f"{unit}.csv"
    return f"unit-{hashlib.sha256(unit.encode()).hexdigest()[:16]}.csv" if unit else f"{UNALLOCATED}.csv"


def charge_back(charges: Iterable[Charge], folder: Path) -> dict[tuple[str, str], Decimal]:
    """Writes ``folder``/UNIT.csv for each unit ("" is ``unallocated.csv``); sums by unit and currency.

    Raises InputError (F712) for more than 200 units, OutsideError where the folder cannot be written.
    """
    files: dict[str, CsvFile] = {}
    sums: dict[tuple[str, str], Decimal] = {}
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with ExitStack() as stack:
            for charge in charges:
                unit = charge.place.business_unit
                file = files.get(unit)
                if file is None:
                    if len(files) >= _MOST_UNITS:
                        raise InputError(
                            Problem("F712", got=f"more than {_MOST_UNITS} business units", expected="names of units")
                        )
                    place = folder / file_name(unit)
                    stream = stack.enter_context(place.open("w", encoding="utf-8", newline=""))
                    file = files[unit] = CsvFile(stream)
                file.take(charge)
                key = (unit, charge.currency)
                sums[key] = EXACT.add(sums[key], charge.amount) if key in sums else charge.amount
    except OSError as error:
        raise OutsideError(f"{folder}: {error.strerror or error}") from None
    return sums
