"""Measured cost on ClickHouse and on DuckDB: the same expressions, the same history, the same money to the last digit.

ClickHouse's engine is chdb, in an environment of its own (`tools/peers clickhouse`), behind the HTTP interface that Ibis asks
(tests/rigs/clickhouse_http.py).
"""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from tests.lab.measured import billed, billed_on_duckdb, peers, written

pytestmark = pytest.mark.lab
TABLE = "CREATE TABLE history ENGINE=MergeTree ORDER BY tuple() AS SELECT * FROM file('{file}', Parquet)"
RIG = Path(__file__).parents[1] / "rigs/clickhouse_http.py"


@pytest.mark.timeout(700)
def test_duckdb_and_clickhouse_bill_the_same_money(tmp_path: Path) -> None:
    python = peers("clickhouse")
    file, fleet = written(tmp_path)
    table = tmp_path / "table.sql"
    table.write_text(TABLE.format(file=file), "utf-8")
    with subprocess.Popen(
        [str(python), "-W", "ignore", str(RIG), str(table)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as server:
        assert server.stdin is not None
        assert server.stdout is not None
        try:
            word, _, port = server.stdout.readline().strip().partition(" ")
            assert word == "listening"
            found = billed(python, f"clickhouse://default@127.0.0.1:{port}/default", "table:history", fleet)
        finally:
            server.stdin.close()
            server.wait(timeout=60)
    assert found == billed_on_duckdb(file, fleet)
