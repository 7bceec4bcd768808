"""Measured cost on DuckDB: by hand, against a plain Python referee, and never another sum than what the devices cost.

The regressions named OpenCost and Kubecost are bugs that those had; the numbers are of their trackers.
"""

from __future__ import annotations

import csv
import datetime
import io
import json
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import Any

import ibis
import pyarrow.parquet as pq
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.config.allocation.telemetry_rows import START, row
from tests.config.small_fleet import Yaml, catalog_of, deployment, exact, group, model, price_book
from tests.config.test_money import FAR, dollars, rate
from trimtab_config.allocation.bill import Allocation, Line
from trimtab_config.allocation.engines import connect, untried
from trimtab_config.allocation.history import typed
from trimtab_config.allocation.measuring import measured_cost
from trimtab_config.allocation.output import history_table, write_history
from trimtab_config.allocation.prometheus import history_rows
from trimtab_config.cli import main
from trimtab_config.cost.idle import IdleRule
from trimtab_config.cost.slices import Dimension
from trimtab_kernel.problems import InputError

# Four cores at 0.4 an hour; triage reserves half a core, an eighth of the device.
DIGITS = (model("digits"), deployment("digits", spec__modelRef={"name": "digits", "version": "1.1.0"}))
TAGGED = deployment(spec__tags={"businessUnit": "health"})
FLEET = (group(), model(), TAGGED, price_book(), *DIGITS)
CORE_HOUR = 3600.0


@pytest.fixture(scope="module")
def connection() -> Iterator[Any]:
    found = ibis.duckdb.connect()
    yield found
    found.disconnect()


def bill(
    connection: Any,  # noqa: ANN401 - a backend of Ibis
    rows: Sequence[dict[str, Any]],
    *objects: Yaml,
    rule: IdleRule = IdleRule.SEPARATE,
    **options: Any,  # noqa: ANN401 - those of measured_cost
) -> Allocation:
    history = typed(ibis.memtable(history_table(rows)), "rows")
    return measured_cost(connection, history, catalog_of(*(objects or FLEET)), rule, place="rows", **options)


def parts(line: Line) -> dict[str, Decimal]:
    return {part: line.money(units) for part, units in line.parts.items()}


def models(allocation: Allocation) -> dict[str, dict[str, Decimal]]:
    return {line.model: parts(line) for line in allocation.lines}


# ---------------------------------------------------------------- by hand


def test_a_device_hour_is_paid_by_the_larger_of_request_and_use(connection: Any) -> None:  # noqa: ANN401 - a backend of Ibis
    """Hour one: half a core requested, a tenth used. Hour two: two cores used. The rest of 0.8 is idle."""
    calm = row(cpu_seconds=360.0, joules=3.6e6, bytes_up=10**9, inferences=500)
    busy = row(1, cpu_seconds=7200.0, inferences=500)
    allocation = bill(connection, [calm, busy])
    assert models(allocation) == {
        "triage": {"device": Decimal("0.25"), "energy": Decimal("0.2"), "data": Decimal(1)},
        "": {"idle": Decimal("0.55")},
    }
    [line, _] = allocation.lines
    # 7,560 s at 0.1 a core-hour, energy and data, for 1,000 inferences.
    assert line.per_1k == Decimal("1.41")
    assert (line.inferences, line.devices, dict(line.tags)) == (1000, 1, {"businessUnit": "health"})
    assert [each.units for each in allocation.groups] == [800_000]
    assert [each.unreported for each in allocation.groups] == [18], "nine more devices are declared"


def test_what_is_kept_in_memory_counts_as_use(connection: Any) -> None:  # noqa: ANN401 - a backend of Ibis
    held = row(memory_peak=4 * 1024**3)
    assert models(bill(connection, [held]))["triage"]["device"] == Decimal("0.2"), "half of 8 GiB"


def test_a_version_pays_for_the_time_that_it_was_there(connection: Any) -> None:  # noqa: ANN401 - a backend of Ibis
    rows = [row(minutes=(0, 15)), row(minutes=(15, 60), version="1.0.0")]
    found = {line.version: parts(line)["device"] for line in bill(connection, rows).lines if line.model}
    assert found == {"1.1.0": Decimal("0.0125"), "1.0.0": Decimal("0.0375")}


@pytest.mark.parametrize(
    ("rule", "triage", "digits"),
    [(IdleRule.PROPORTIONAL, "0.24", "0.16"), (IdleRule.UNIFORM, "0.225", "0.175")],
)
def test_idle_is_borne_by_a_stated_rule(connection: Any, rule: IdleRule, triage: str, digits: str) -> None:  # noqa: ANN401 - a backend of Ibis
    """Triage weighs 0.15 and digits 0.1 of the 0.4; 0.15 is idle."""
    rows = [row(cpu_seconds=1.5 * CORE_HOUR), row(model="digits", cpu_seconds=CORE_HOUR)]
    found = models(bill(connection, rows, rule=rule))
    whole = {name: own["device"] + own["idle"] for name, own in found.items()}
    assert whole == {"triage": Decimal(triage), "digits": Decimal(digits)}


def test_a_device_without_models_is_idle(connection: Any) -> None:  # noqa: ANN401 - a backend of Ibis
    allocation = bill(connection, [row(model="", version="")])
    assert models(allocation) == {"": {"idle": Decimal("0.4")}}


@pytest.mark.parametrize(
    ("power", "joules", "grade", "energy"),
    [
        ({"source": "mains", "idleWatts": 10, "peakWatts": 30}, None, "modelled", "0.001"),
        ({"source": "mains"}, None, "absent", None),
        ({"source": "solar"}, 3.6e6, "measured", None),
        ({"source": "mains"}, 3.6e6, "measured", "0.2"),
    ],
)
def test_energy_says_how_it_is_known_and_what_nobody_knows_is_no_zero(
    connection: Any,  # noqa: ANN401 - a backend of Ibis
    power: Yaml,
    joules: float | None,
    grade: str,
    energy: str | None,
) -> None:
    told = row(cpu_seconds=CORE_HOUR, joules=joules, joules_source="absent" if joules is None else "measured")
    [line, _] = bill(connection, [told], group(spec__power=power), *FLEET[1:]).lines
    assert line.energy_grade.value == grade
    assert parts(line).get("energy") == (None if energy is None else Decimal(energy))


def test_cents_add_up_to_the_bill_of_the_devices(connection: Any) -> None:  # noqa: ANN401 - a backend of Ibis
    """Three models that use as much share 0.40 in whole cents: 13, 13 and 14."""
    names = ("m1", "m2", "m3")
    objects = [group(), price_book()]
    for place, name in enumerate(names):
        made = model(name)
        for index, version in enumerate(made["spec"]["versions"]):
            version["variants"][0]["digest"] = "sha256:" + f"{place * 2 + index + 1:064x}"
        objects += [made, deployment(name, spec__modelRef={"name": name, "version": "1.1.0"})]
    rows = [row(model=name, cpu_seconds=4 * CORE_HOUR / 3) for name in names]
    allocation = bill(connection, rows, *objects, places=2)
    assert sorted(parts(line)["device"] for line in allocation.lines if line.model) == [
        Decimal("0.13"),
        Decimal("0.13"),
        Decimal("0.14"),
    ]
    [(_, total, _)] = allocation.totals()
    assert total == Decimal("0.40")


# ---------------------------------------------------------------- regressions


def test_opencost_3855_a_device_of_the_same_name_in_another_cluster_is_another_device(connection: Any) -> None:  # noqa: ANN401 - a backend of Ibis
    other = group("other", spec__cluster="elsewhere", metadata__labels={"region": "EMEA", "deviceType": "screen"})
    rows = [row(cpu_seconds=CORE_HOUR), row(device_group="other", model="", version="")]
    allocation = bill(connection, rows, *FLEET, other)
    assert {(line.group, line.model, line.total) for line in allocation.lines} == {
        ("kiosks", "triage", Decimal("0.1")),
        ("kiosks", "", Decimal("0.3")),
        ("other", "", Decimal("0.4")),
    }


def test_opencost_3900_use_that_falls_lowers_the_bill_of_who_uses_less(connection: Any) -> None:  # noqa: ANN401 - a backend of Ibis
    busy, calm = (
        models(bill(connection, [row(cpu_seconds=seconds)]))["triage"]["device"] for seconds in (2 * CORE_HOUR, 3000.0)
    )
    assert (busy, calm) == (Decimal("0.2"), Decimal("0.083333"))


def test_kubecost_1978_and_opencost_2901_a_crowded_device_is_paid_once(connection: Any) -> None:  # noqa: ANN401 - a backend of Ibis
    """Six core-hours of four, and a GPU each: never more than the device, idle never below zero."""
    gpus = group(spec__hardware__gpus=1, spec__hardware__accelerator="cuda")
    limits = {"cpu": "100m", "memory": "64Mi", "gpu": "1"}
    objects = (gpus, model(), deployment(spec__resourceLimits=limits), price_book(), *DIGITS)
    rows = [row(cpu_seconds=5 * CORE_HOUR), row(model="digits", cpu_seconds=2.5 * CORE_HOUR)]
    allocation = bill(connection, rows, *objects)
    found = models(allocation)
    assert found["triage"]["device"] + found["digits"]["device"] == Decimal("0.4")
    assert "" not in found
    assert allocation.lines[0].overbooked == 1


# ---------------------------------------------------------------- against a referee


@st.composite
def histories(draw: st.DrawFn) -> list[dict[str, Any]]:
    found = []
    for device in range(draw(st.integers(1, 3))):
        for hour in range(draw(st.integers(1, 2))):
            for name in draw(st.lists(st.sampled_from(["triage", "digits", "gone"]), unique=True, max_size=3)) or [""]:
                cut = draw(st.integers(1, 59))
                pieces = [(0, cut), (cut, 60)] if draw(st.booleans()) and name else [(0, 60)]
                for minutes in pieces:
                    joules = draw(st.none() | st.floats(0, 1e6))
                    found.append(
                        row(
                            hour,
                            minutes,
                            device=f"d{device}",
                            model=name,
                            version="1.1.0" if name else "",
                            cpu_seconds=draw(st.floats(0, 9000)),
                            joules=joules,
                            joules_source="absent" if joules is None else "measured",
                            bytes_up=draw(st.integers(0, 10**9)),
                            memory_peak=draw(st.integers(0, 10**10)),
                        )
                    )
    return found


def referee(rows: Sequence[dict[str, Any]]) -> dict[str, Fraction]:
    """What each model's share of the device-hours costs, in exact fractions: no engine, no rounding."""
    hours: dict[Any, dict[str, list[dict[str, Any]]]] = defaultdict(lambda: defaultdict(list))
    for each in rows:
        hours[each["device"], each["start"].hour][each["model"]].append(each)
    costs: dict[str, Fraction] = defaultdict(Fraction)
    for used in hours.values():
        weights: dict[str, Fraction] = {}
        for name, own in used.items():
            ready = min(sum((Fraction(each["uptime"]) for each in own), Fraction(0)), Fraction(3600))
            cpu = sum((Fraction(each["cpu_seconds"]) for each in own), Fraction(0))
            memory = Fraction(max(each["memory_peak"] for each in own), 8 * 1024**3) * ready * 4
            request = ready / 2 if name in {"triage", "digits"} else Fraction(0)
            weights[name] = max(request, cpu, memory) if name else Fraction(0)
        whole = max(sum(weights.values()), Fraction(4 * 3600))
        for name, weight in weights.items():
            costs[name] += weight / whole * Fraction(2, 5)
    return costs


@settings(max_examples=6)
@given(histories(), st.sampled_from(list(IdleRule)))
def test_the_lines_are_what_a_referee_finds_and_add_up_to_the_devices_exactly(
    rows: list[dict[str, Any]], rule: IdleRule
) -> None:
    connection = ibis.duckdb.connect()
    try:
        allocation = bill(connection, rows, rule=rule)
    finally:
        connection.disconnect()
    expected = referee(rows)
    device = sum(line.parts.get("device", 0) for line in allocation.lines)
    idle = sum(line.parts.get("idle", 0) for line in allocation.lines)
    seen = len({(each["device"], each["start"].hour) for each in rows})
    assert device + idle == allocation.groups[0].units == seen * 400_000
    assert all(units >= 0 for line in allocation.lines for units in line.parts.values())
    for line in allocation.lines:
        if line.model:
            assert abs(Fraction(line.parts["device"]) - expected[line.model] * 10**6) <= 2
        assert line.total == sum(parts(line).values())
    [(_, total, by_part)] = allocation.totals()
    assert total == sum(by_part.values()) == sum(line.total for line in allocation.lines)
    for dimension in (Dimension.BUSINESS_UNIT, Dimension.VERSION):
        assert sum(each[3] for each in allocation.by(dimension)) == total


# ---------------------------------------------------------------- what is refused


WRONG: list[dict[str, Any]] = [
    {"device": ""},
    {"device_group": ""},
    {"version": ""},
    {"end": START},
    {"end": START + datetime.timedelta(minutes=61)},
    {"cpu_seconds": -1.0},
    {"cpu_seconds": float("nan")},
    {"cpu_seconds": None},
    {"joules": float("inf")},
    {"joules": None},
    {"joules_source": "guessed"},
    {"bytes_up": -1},
]


def test_a_history_that_cannot_be_right_is_refused_column_by_column(connection: Any) -> None:  # noqa: ANN401 - a backend of Ibis
    rows = [row(1), *(row(**{"device": f"d{place}", **changes}) for place, changes in enumerate(WRONG))]
    with pytest.raises(InputError) as caught:
        bill(connection, rows)
    found = {problem.field: problem.got for problem in caught.value.problems}
    counts = Counter(field for changes in WRONG for field in changes)
    assert found == {field: f"{count} of 13 rows that break it" for field, count in counts.items()}
    assert {problem.code for problem in caught.value.problems} == {"F408"}


def test_intervals_that_are_told_twice_are_refused(connection: Any) -> None:  # noqa: ANN401 - a backend of Ibis
    with pytest.raises(InputError, match="told twice"):
        bill(connection, [row(), row(cpu_seconds=1.0)])


def test_a_group_that_the_fleet_does_not_have_is_refused_with_the_nearest(connection: Any) -> None:  # noqa: ANN401 - a backend of Ibis
    with pytest.raises(InputError, match=r'F410.*did you mean "kiosks"'):
        bill(connection, [row(device_group="kiosk")])


def test_prices_are_those_of_the_time_that_is_billed(connection: Any) -> None:  # noqa: ANN401 - a backend of Ibis
    later = price_book(
        "later",
        spec__validFrom="2026-11-15",
        spec__regions__EMEA__deviceHour={"box": exact("9"), "phone": exact("9")},
    )
    assert bill(connection, [row()], *FLEET, later).lines[0].price_book == "prices"
    old = price_book(spec__validUntil="2026-10-31")
    objects = (*FLEET[:3], *DIGITS, old)
    with pytest.raises(InputError, match="F411"):
        bill(connection, [row()], *objects)
    assert bill(connection, [row()], *objects, price_book="prices").lines[0].total == Decimal("0.05")
    with pytest.raises(InputError, match="F402"):
        bill(connection, [row()], *FLEET[:3], *DIGITS, price_book(spec__regions__EMEA__deviceHour={"x": exact("1")}))


def test_a_bill_in_another_currency_is_converted_by_the_rate_of_its_last_day(connection: Any) -> None:  # noqa: ANN401 - a backend of Ibis
    objects = (*FLEET[:3], *DIGITS, price_book(spec__exchangeRates=[rate("USD", "0.8")]), FAR, dollars())
    rows = [row(model="", version=""), row(device_group="far", model="", version="")]
    assert [total for _, total, _ in bill(connection, rows, *objects).totals()] == [Decimal("0.4"), Decimal("0.4")]
    [(currency, total, _)] = bill(connection, rows, *objects, currency="EUR").totals()
    assert (currency, total) == ("EUR", Decimal("0.72"))
    with pytest.raises(InputError, match="F405"):
        bill(connection, rows, *objects, currency="CHF")


# ---------------------------------------------------------------- files and the command

ROWS = [
    row(hour, device=f"d{d}", cpu_seconds=700.125 * d, joules=1e5, inferences=9) for d in range(3) for hour in (0, 1)
]


def test_every_kind_of_file_gives_the_same_bill_and_every_output_the_same_money(
    tmp_path: Path, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    fleet = tmp_path / "fleet.yaml"
    fleet.write_text(yaml.safe_dump_all(FLEET))
    found = []
    asked = ["allocate", "--fleet", str(fleet), "--telemetry"]
    files = [tmp_path / f"history.{kind}" for kind in ("parquet", "csv", "jsonl")]
    for file in files:
        write_history(file, ROWS)
        assert main([*asked, str(file), "--output", "json", "--by", "businessUnit"]) == 0
        found.append(json.loads(capfdbinary.readouterr().out))
    assert found[0] == found[1] == found[2]
    asked.append(str(files[0]))
    total = Decimal(found[0]["totals"][0]["total"])
    assert [each["key"] for each in found[0]["by"]["slices"]] == ["health", None]
    assert sum(Decimal(each["total"]) for each in found[0]["by"]["slices"]) == total
    assert main([*asked, "--output", "csv"]) == 0
    lines = list(csv.DictReader(io.StringIO(capfdbinary.readouterr().out.decode(), newline="")))
    assert sum(Decimal(line["total"]) for line in lines) == total
    assert main([*asked, "--output", "parquet"]) == 0
    table = pq.read_table(io.BytesIO(capfdbinary.readouterr().out))
    assert str(table.schema.field("total").type) == "decimal128(38, 6)"
    assert sum(table["total"].to_pylist()) == total
    assert main([*asked, "--from", "2026-11-01T07:00", "--to", "2026-11-01T08:00", "--idle", "uniform"]) == 0
    shown = capfdbinary.readouterr().out.decode()
    assert "From 2026-11-01 07:00 to 2026-11-01 08:00 UTC; 3 device-hours" in shown
    for wrong in (["--from", "2026-11-01T07:30"], ["--engine", "abacus"], ["--currency", "x"]):
        assert main([*asked, *wrong]) == 1
    assert b"F408" in capfdbinary.readouterr().err


def answer(quantity: str, *points: tuple[int, str], **labels: str) -> bytes:
    metric = {"device_group": "kiosks", "device": "d1", "model": "triage", "version": "1.1.0", **labels}
    series = {"metric": metric, "values": [list(point) for point in points]}
    assert quantity
    return json.dumps({"status": "success", "data": {"resultType": "matrix", "result": [series]}}).encode()


HOUR = 1_793_516_400  # 2026-11-01 07:00 UTC


def test_answers_of_prometheus_become_a_history() -> None:
    rows = history_rows(
        {
            "cpu_seconds": answer("cpu", (HOUR, "12.5"), (HOUR + 3600, "NaN")),
            "joules": answer("joules", (HOUR, "99"), grade="modelled"),
            "inferences": answer("inferences", (HOUR, "1000.4")),
            "uptime": answer("uptime", (HOUR, "3600.7")),
        }
    )
    assert rows == [
        row(cpu_seconds=12.5, joules=99.0, joules_source="modelled", inferences=1000, uptime=3600.0),
    ]


@pytest.mark.parametrize(
    "answers",
    [
        {},
        {"joules": answer("joules", (HOUR, "1"))},
        {"cpu_seconds": b"{"},
        {"cpu_seconds": b"[1]"},
        {"cpu_seconds": b'{"status": "error"}'},
        {"cpu_seconds": answer("cpu", (HOUR + 1, "1"))},
        {"cpu_seconds": answer("cpu", (HOUR, "-1"))},
        {"cpu_seconds": answer("cpu", (HOUR, "x"))},
        {"cpu_seconds": answer("cpu", (HOUR, "1")), "noise": b""},
        {"cpu_seconds": answer("cpu", (HOUR, "1")), "inferences": answer("i", (HOUR + 3600, "1"))},
        {"cpu_seconds": answer("cpu", (HOUR, "1")), "joules": answer("j", (HOUR, "1"), grade="guessed")},
    ],
)
def test_an_answer_that_is_no_hourly_matrix_is_refused(answers: dict[str, bytes]) -> None:
    with pytest.raises(InputError, match="F408"):
        history_rows(answers)


def test_the_command_reads_answers_and_keeps_the_history(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    fleet, cpu, kept = tmp_path / "fleet.yaml", tmp_path / "cpu.json", tmp_path / "kept.csv"
    fleet.write_text(yaml.safe_dump_all(FLEET))
    cpu.write_bytes(answer("cpu", (HOUR, "7200")))
    asked = ["allocate", "--fleet", str(fleet), "--output", "json"]
    assert main([*asked, "--prometheus", f"cpu_seconds={cpu}", "--history-out", str(kept)]) == 0
    first = json.loads(capsys.readouterr().out)
    assert first["rows"][0]["parts"]["device"] == "0.2"
    assert main([*asked, "--telemetry", str(kept)]) == 0
    assert json.loads(capsys.readouterr().out) == first
    assert main([*asked, "--prometheus", "cpu_seconds=nowhere"]) == 1
    assert "F408" in capsys.readouterr().err


def test_an_engine_whose_bills_nobody_compared_says_so() -> None:
    assert untried(connect("duckdb")) == ""
    assert "the engine sqlite was not tried" in untried(connect("sqlite://"))
