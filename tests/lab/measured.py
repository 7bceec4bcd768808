"""Measured cost on another engine than DuckDB: the history, the fleet and the command that the tests of all engines share."""

from __future__ import annotations

import datetime
import json
import os
import random
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from tests.config.allocation.telemetry_rows import START
from tests.config.small_fleet import deployment, group, model, price_book
from trimtab_config.allocation.output import write_history

if TYPE_CHECKING:
    from collections.abc import Mapping

ROOT = Path(__file__).parents[2]
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


def peers(name: str) -> Path:
    """The Python of an environment of its own (``tools/peers NAME``), made where it is not there yet."""
    made = subprocess.run(
        ["sh", "tools/peers", name], cwd=ROOT, capture_output=True, text=True, timeout=400, check=False
    )
    assert made.returncode == 0, made.stderr
    return ROOT / ".peers" / name / "bin/python"


def written(folder: Path) -> tuple[Path, Path]:
    """The history as Parquet, and a fleet of which one of two deployments has a business unit."""
    digits = deployment("digits", spec__modelRef={"name": "digits", "version": "1.1.0"})
    tagged = deployment(spec__tags={"businessUnit": "health"})
    fleet = folder / "fleet.yaml"
    fleet.write_text(yaml.safe_dump_all([group(), model(), tagged, model("digits"), digits, price_book()]))
    file = folder / "history.parquet"
    write_history(file, history())
    return file, fleet


def billed(python: Path, engine: str, telemetry: str, fleet: Path, more: Mapping[str, str] | None = None) -> Any:  # noqa: ANN401 - JSON
    """What ``trimtab allocate`` says of the history on an engine, and nothing on stderr."""
    asked = ["allocate", "--telemetry", telemetry, "--fleet", str(fleet), "--by", "businessUnit", "--output", "json"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "config_management"), **(more or {})}
    for name in ("SPARK_HOME", "SPARK_CONF_DIR", "PYSPARK_SUBMIT_ARGS"):
        environment.pop(name, None)
    ran = subprocess.run(
        [str(python), "-W", "ignore", "-c", COMMAND, *asked, "--idle", "proportional", "--engine", engine],
        cwd=fleet.parent,
        env=environment,
        capture_output=True,
        text=True,
        timeout=220,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr[-3000:]
    assert "not tried" not in ran.stderr
    return json.loads(ran.stdout)


def billed_on_duckdb(file: Path, fleet: Path) -> Any:  # noqa: ANN401 - JSON
    """The bill to compare with. The hard case, an hour with more asked of a device than it has, is in it."""
    found = billed(Path(sys.executable), "duckdb", str(file), fleet)
    [total] = found["totals"]
    assert float(total["total"]) > 100
    assert {each["key"] for each in found["by"]["slices"]} == {"health", None}
    assert sum(row["overbookedDeviceHours"] for row in found["rows"]) > 0
    return found
