"""Where the expressions run: DuckDB in this process, Spark on this machine, or an engine that Ibis reaches by a URL.

Tests hold DuckDB, Spark and ClickHouse to the same money. Another engine may well agree; whoever asks it is told that nobody
tried, and how to.
"""

from __future__ import annotations

import os
import warnings
from typing import TYPE_CHECKING

from trimtab_kernel.problems import InputError, OutsideError, Problem, quoted

if TYPE_CHECKING:
    from collections.abc import Sequence

    import ibis
    from ibis.expr.types import Table

DUCKDB = "duckdb"
SPARK = "spark"
TABLE = "table:"
TRIED = frozenset({"duckdb", "pyspark", "clickhouse"})
"""Engines, as Ibis calls them, whose bills tests compare to the last digit."""
_SUBMIT = "PYSPARK_SUBMIT_ARGS"


def connect(engine: str) -> ibis.BaseBackend:
    """``duckdb``, ``spark`` or a URL such as ``trino://...``. Raises OutsideError, and InputError (F409) for another name."""
    import ibis

    try:
        if engine == DUCKDB:
            return ibis.duckdb.connect()
        if engine == SPARK:
            return _spark()
        if "://" in engine:
            return ibis.connect(engine)
    except ImportError as error:
        problem = Problem("F409", field="--engine", got=f"no {error.name}", expected="the engine's client beside Ibis")
        raise InputError(problem) from None
    except Exception as error:  # each backend has errors of its own
        raise OutsideError(f"cannot reach the engine {engine.partition('://')[0]}: {_first_line(error)}") from error
    expected = 'duckdb, spark, or a URL that Ibis knows such as "trino://host/catalog/schema"'
    raise InputError(Problem("F409", field="--engine", got=quoted(engine), expected=expected))


def untried(connection: ibis.BaseBackend) -> str:
    """What to tell whoever bills on an engine that no test compares with DuckDB; "" for one that is compared."""
    if connection.name in TRIED:
        return ""
    return (
        f"the engine {connection.name} was not tried: before you trust it bill one period on DuckDB as well and compare"
        " the rows, which must be equal"
    )


def _spark() -> ibis.BaseBackend:
    """What Spark's own configuration names; where there is none, this machine's processes, on the loopback and without a page."""
    import ibis

    if not any(name in os.environ for name in ("SPARK_HOME", "SPARK_CONF_DIR", _SUBMIT)):
        # A shuffle's usual 200 parts are for a cluster: on one machine starting them takes longer than the work.
        own = ("ui.enabled=false", "driver.bindAddress=127.0.0.1", "driver.host=127.0.0.1")
        settings = (*own, "ui.showConsoleProgress=false", "sql.shuffle.partitions=8")
        os.environ[_SUBMIT] = " ".join([*(f"--conf spark.{setting}" for setting in settings), "pyspark-shell"])
    return ibis.pyspark.connect()


def read_history(connection: ibis.BaseBackend, sources: Sequence[str]) -> Table:
    """The rows of all files, or of tables of the engine (``table:NAME``). Raises InputError (F408) for what cannot be read."""
    import ibis

    from trimtab_config.allocation.history import typed

    tables = [typed(_read(connection, source), source) for source in sources]
    return tables[0] if len(tables) == 1 else ibis.union(*tables)


def _read(connection: ibis.BaseBackend, source: str) -> Table:
    with warnings.catch_warnings():
        # Ibis calls what its engine's newest release calls by another name.
        warnings.filterwarnings("ignore", category=DeprecationWarning, module=r"ibis\.")
        return _table(connection, source)


def _table(connection: ibis.BaseBackend, source: str) -> Table:
    try:
        if source.startswith(TABLE):
            return connection.table(source.removeprefix(TABLE))
        if source.endswith(".parquet"):
            return connection.read_parquet(source)
        if source.endswith(".csv"):
            options = {"header": True, "inferSchema": True} if connection.name == "pyspark" else {}
            return connection.read_csv(source, **options)
        if source.endswith((".jsonl", ".ndjson")):
            return connection.read_json(source)
    except Exception as error:  # each backend has errors of its own
        raise InputError(Problem("F408", source, got=_first_line(error), expected="a telemetry history")) from None
    expected = 'a file that ends in .parquet, .csv or .jsonl, or "table:NAME" of the engine'
    raise InputError(Problem("F408", source, got="another kind of file", expected=expected))


def _first_line(error: Exception) -> str:
    text = str(error).strip().splitlines()
    return text[0][:200] if text else type(error).__name__
