"""Measured cost on Spark and on DuckDB: the same expressions, the same history, the same money to the last digit.

Spark runs on this machine, in an environment of its own (`tools/peers spark`) with the machine's Java.
"""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

import pytest

from tests.lab.measured import billed, billed_on_duckdb, peers, written

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.lab


@pytest.mark.timeout(500)
def test_duckdb_and_spark_bill_the_same_money(tmp_path: Path) -> None:
    if shutil.which("java") is None:
        pytest.skip("needs java (Debian's default-jre-headless)")
    python = peers("spark")
    file, fleet = written(tmp_path)
    local = {"SPARK_LOCAL_IP": "127.0.0.1", "PYSPARK_PYTHON": str(python)}
    assert billed(python, "spark", str(file), fleet, local) == billed_on_duckdb(file, fleet)
