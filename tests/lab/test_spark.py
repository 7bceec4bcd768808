"""Measured cost on Spark and on DuckDB: the same expressions, the same history, the same money to the last digit.

Spark runs on this machine, in an environment of its own (`tools/peers spark`) with the machine's Java.
"""

from __future__ import annotations

import datetime
import json
import os
import random
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.config.allocation.telemetry_rows import START
from tests.config.small_fleet import deployment, group, model, price_book
from trimtab_config.allocation.output import write_history

pytestmark = pytest.mark.lab
ROOT = Path(__file__).parents[2]
PYTHON = ROOT / ".peers/spark/bin/python"
COMMAND = """
import sys
from trimtab_config.cli.allocate import COMMAND
from trimtab_kernel.commandline import Parser, add_command, parse_and_run
parser = Parser(prog="trimtab")
add_command(parser.add_subparsers(required=True, parser_class=Parser), COMMAND)
sys.exit(parse_and_run(parser, sys.argv[1:]))
"""


def history() -> list[dict[str, Any]]:
    """Two days of twelve devices, half-hours, with what usually goes wrong: gaps, crowded hours, no meter, versions swapped."""
    chance = random.Random(7)  # noqa: S311 - data, not a secret
    rows = []
    for device in range(12):
        for half in range(96):
            begin = START + datetime.timedelta(minutes=30 * half)
            for name in ("triage", "digits", "gone"):
                if chance.random() < 0.2:
                    continue
                joules = None if chance.random() < 0.3 else chance.random() * 3000
                rows.append(
                    {
                        "device": f"d{device}",
                        "device_group": "kiosks",
                        "model": name,
                        "version": "1.1.0" if half < 40 or device % 2 else "1.0.0",
                        "start": begin,
                        "end": begin + datetime.timedelta(minutes=30),
                        "cpu_seconds": chance.choice([chance.random() * 9, chance.random() * 7000]),
                        "joules": joules,
                        "joules_source": "absent" if joules is None else chance.choice(["measured", "modelled"]),
                        "bytes_up": chance.randrange(10**7),
                        "bytes_down": chance.randrange(10**8),
                        "inferences": chance.randrange(10**5),
                        "memory_peak": chance.randrange(4 * 1024**3),
                        "uptime": chance.random() * 1800,
                    }
                )
    return rows


@pytest.mark.timeout(500)
def test_duckdb_and_spark_bill_the_same_money(tmp_path: Path) -> None:
    if shutil.which("java") is None:
        pytest.skip("needs java (Debian's default-jre-headless)")
    made = subprocess.run(
        ["sh", "tools/peers", "spark"], cwd=ROOT, capture_output=True, text=True, timeout=240, check=False
    )
    assert made.returncode == 0, made.stderr
    digits = deployment("digits", spec__modelRef={"name": "digits", "version": "1.1.0"})
    tagged = deployment(spec__tags={"businessUnit": "health"})
    fleet = tmp_path / "fleet.yaml"
    fleet.write_text(yaml.safe_dump_all([group(), model(), tagged, model("digits"), digits, price_book()]))
    file = tmp_path / "history.parquet"
    write_history(file, history())
    environment = {
        **os.environ,
        "PYTHONPATH": str(ROOT / "config_management"),
        "SPARK_LOCAL_IP": "127.0.0.1",
        "PYSPARK_PYTHON": str(PYTHON),
    }
    for name in ("SPARK_HOME", "SPARK_CONF_DIR", "PYSPARK_SUBMIT_ARGS"):
        environment.pop(name, None)
    bills = {}
    for engine, python in (("duckdb", Path(sys.executable)), ("spark", PYTHON)):
        asked = [
            "allocate",
            "--telemetry",
            str(file),
            "--fleet",
            str(fleet),
            "--by",
            "businessUnit",
            "--output",
            "json",
        ]
        ran = subprocess.run(
            [str(python), "-W", "ignore", "-c", COMMAND, *asked, "--idle", "proportional", "--engine", engine],
            cwd=tmp_path,
            env=environment,
            capture_output=True,
            text=True,
            timeout=220,
            check=False,
        )
        assert ran.returncode == 0, ran.stderr[-3000:]
        bills[engine] = json.loads(ran.stdout)
    assert bills["spark"] == bills["duckdb"]
    [total] = bills["duckdb"]["totals"]
    assert float(total["total"]) > 100
    assert {each["key"] for each in bills["duckdb"]["by"]["slices"]} == {"health", None}
    assert sum(row["overbookedDeviceHours"] for row in bills["duckdb"]["rows"]) > 0, "the hard case is among them"
