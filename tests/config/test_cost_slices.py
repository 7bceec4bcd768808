"""A bill cut by team, model or region: nothing falls out of it, and the slices add up to it."""

from __future__ import annotations

import json
from decimal import Decimal
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trimtab_config.cli import main
from trimtab_config.cost.report import COMPUTE, ENERGY, CostReport, Row
from trimtab_config.cost.slices import Dimension, slices
from trimtab_kernel.money import Figure, Grade

FLEET = Path(__file__).parents[2] / "examples" / "fleet"

amounts = st.integers(0, 10**12).map(lambda millionths: Decimal(millionths) / 10**6)
tags = st.dictionaries(st.sampled_from(["project", "team", "app"]), st.sampled_from(["a", "b", "c"]))


@st.composite
def rows(draw: st.DrawFn) -> Row:
    values = draw(st.dictionaries(st.sampled_from([COMPUTE, ENERGY]), amounts))
    parts = {name: Figure(value, value / 2, value * 2, Grade.DECLARED) for name, value in values.items()}
    return Row(
        group=draw(st.sampled_from(["g1", "g2", "g3"])),
        model=draw(st.sampled_from(["m1", "m2"])),
        version="1.0.0",
        kind="EdgeAIDeployment",
        namespace="n",
        name="d",
        tier="lite",
        devices=Decimal(1),
        inferences=None,
        currency=draw(st.sampled_from(["EUR", "USD"])),
        price_book="prices",
        parts=parts,
        absent={} if len(parts) == 2 else {"data": "not declared"},
        per_1k=None,
        update_bytes=0,
        tags=tuple(sorted(draw(tags).items())),
    )


@given(st.lists(rows(), max_size=20), st.sampled_from(Dimension))
def test_slices_add_up_to_the_bill_of_each_currency(found: list[Row], dimension: Dimension) -> None:
    report = CostReport(tuple(found))
    cut = slices(report, dimension, {"g1": "EMEA", "g2": "APAC"})
    for total in report.totals:
        own = [each for each in cut if each.total.currency == total.currency]
        assert sum(each.total.figure.value for each in own) == total.figure.value
        assert sum(each.total.figure.low for each in own) == total.figure.low
        assert sum(each.total.figure.high for each in own) == total.figure.high
        assert sum(each.total.incomplete for each in own) == total.incomplete
    assert sum(each.rows for each in cut) == len(found)
    assert len({(each.key, each.total.currency) for each in cut}) == len(cut)


def test_what_has_no_value_stays_in_the_bill_and_comes_last() -> None:
    def row(team: str | None, euros: int) -> Row:
        figure = Figure(Decimal(euros), Decimal(euros), Decimal(euros), Grade.DECLARED)
        own = () if team is None else (("team", team),)
        return Row(
            *("g", "m", "1.0.0", "EdgeAIDeployment", "n", "d", "lite", Decimal(1), None, "EUR", "prices"),
            {COMPUTE: figure},
            {},
            None,
            0,
            None,
            own,
        )

    cut = slices(CostReport((row(None, 9), row("a", 1), row("b", 5))), Dimension.TEAM, {})
    assert [(each.key, each.total.figure.value) for each in cut] == [
        ("b", Decimal(5)),
        ("a", Decimal(1)),
        (None, Decimal(9)),
    ]


@pytest.mark.parametrize("dimension", list(Dimension))
def test_every_dimension_cuts_the_bill_of_the_example_fleet(
    dimension: Dimension, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["cost", str(FLEET), "--by", dimension, "--output", "json"]) == 0
    content = json.loads(capsys.readouterr().out)
    assert content["by"]["dimension"] == dimension
    assert sum(Decimal(each["total"]) for each in content["by"]["slices"]) == Decimal(content["totals"][0]["total"])
    assert main(["cost", str(FLEET), "--by", dimension]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split()[0] == dimension.value.upper()
    assert sum(line.startswith("TOTAL") for line in lines) == 1


def test_regions_of_the_example_fleet_pay_for_themselves(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["cost", str(FLEET), "--by", "region", "--output", "json"]) == 0
    content = json.loads(capsys.readouterr().out)
    emea = sum(Decimal(row["total"]) for row in content["rows"] if row["group"].endswith("-emea"))
    found = {each["key"]: Decimal(each["total"]) for each in content["by"]["slices"]}
    assert found["EMEA"] == emea
