"""The ledger in a file of SQLite."""

from __future__ import annotations

from typing import TYPE_CHECKING

from trimtab_bot.ledger.sql import SqlLedger
from trimtab_bot.store.engine import open_sqlite
from trimtab_kernel.problems import OutsideError

if TYPE_CHECKING:
    from pathlib import Path


class SqliteLedger(SqlLedger):
    """See :class:`SqlLedger`."""

    def __init__(self, path: Path, *, reading: bool = False) -> None:
        """Opens the file, and makes what is missing of it unless it is opened for ``reading`` alone.

        Raises :class:`OutsideError` where the file cannot be used.
        """
        if reading and not path.is_file():
            raise OutsideError(f"there is no ledger at {path}")
        super().__init__(open_sqlite(path), path.name, reading=reading)
