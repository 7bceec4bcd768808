"""What models cost: formulas checked by hand, parts that add up exactly, nothing missing counted as zero."""

from __future__ import annotations

import json
from decimal import Decimal
from fractions import Fraction
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.config.small_fleet import (
    Yaml,
    catalog_of,
    changed,
    deployment,
    exact,
    group,
    model,
    on_device,
    phones,
    price_book,
    variant,
)
from trimtab_config.cost.amounts import amount_text, significant_text
from trimtab_config.cost.estimate import core_hour, estimate
from trimtab_config.cost.report import CostReport, Row
from trimtab_config.text.costs import cost_table, plain_text
from trimtab_kernel.money import Grade
from trimtab_kernel.problems import InputError
from trimtab_kernel.quantity import Quantity

if TYPE_CHECKING:
    from trimtab_kernel.money import Figure

POLICY: Yaml = {
    "apiVersion": "apexlogic.ai/v1",
    "kind": "FinOpsPolicy",
    "metadata": {"name": "thrift", "namespace": "fleet"},
    "spec": {"ceilings": {"costPer1kInferences": {"amount": "0.0001", "currency": "EUR"}}},
}


def costs(*objects: Yaml) -> CostReport:
    report, problems = estimate(catalog_of(*objects))
    assert problems == (), "\n".join(map(str, problems))
    return report


def only(*objects: Yaml) -> Row:
    [row] = costs(*objects).rows
    return row


def values(figure: Figure) -> tuple[str, str, str, str]:
    value, low, high = (f"{bound.normalize():f}" for bound in (figure.value, figure.low, figure.high))
    return value, low, high, figure.grade.value


SIMPLE = (group(), model(), deployment(), price_book())


# ---------------------------------------------------------------- formulas


def test_compute_is_inferences_times_cpu_seconds_times_the_price_of_a_core() -> None:
    """10 devices x 24,000 a day x 730/24 days x 0.01 s / 3600 x 0.1 an hour; requests are declared, so half as sure."""
    row = only(*SIMPLE)
    assert row.inferences is not None
    assert values(row.inferences) == ("7300000", "3650000", "10950000", "declared")
    assert values(row.parts["compute"]) == ("2.027778", "1.013888", "3.041667", "declared")


def test_energy_is_modelled_from_the_watts_that_a_busy_core_adds() -> None:
    """7,300,000 x 0.01 s x (30 - 10) W / 4 cores / 3.6e6 J x 0.2; watts are modelled, 30 % either way."""
    row = only(*SIMPLE)
    value, low, high, grade = values(row.parts["energy"])
    assert (value, grade) == ("0.020278", "declared")
    assert Decimal(low) == (Decimal("0.0202777777") * Decimal("0.5") * Decimal("0.7")).quantize(
        Decimal("0.000001"), "ROUND_FLOOR"
    )
    assert Decimal(high) == (Decimal("0.0202777778") * Decimal("1.5") * Decimal("1.3")).quantize(
        Decimal("0.000001"), "ROUND_CEILING"
    )


def test_what_is_reserved_and_not_used_is_paid_for() -> None:
    """10 devices x 730 h x 0.5 of 4 cores x 0.4 an hour = 365 for the reservation, of which compute pays its own."""
    row = only(*SIMPLE)
    assert values(row.parts["reserved"]) == ("362.972222", "361.958333", "363.986112", "declared")
    assert row.parts["compute"].value + row.parts["reserved"].value == 365
    assert not row.uses_more_than_reserved


@pytest.mark.parametrize(("devices", "price"), [(0, "0.4"), (10, "0")])
def test_no_devices_and_devices_for_nothing_say_nothing_about_use(devices: int, price: str) -> None:
    book = price_book(spec__regions__EMEA__deviceHour={"box": price})
    row = only(group(spec__deviceCount=devices), model(), deployment(), book)
    assert row.parts["compute"].value == row.parts["reserved"].value == 0
    assert not row.uses_more_than_reserved


@pytest.mark.parametrize(
    ("limits", "share"),
    [
        ({"cpu": "500m", "memory": "512Mi"}, "0.125"),  # an eighth of four cores, a sixteenth of 8 GiB
        ({"cpu": "500m", "memory": "4Gi"}, "0.5"),
        ({"cpu": "100m", "memory": "64Mi", "gpu": "1"}, "0.5"),  # one of two
        ({"cpu": "4", "memory": "8Gi"}, "1"),
    ],
)
def test_the_share_of_a_device_is_that_of_the_resource_of_which_most_is_reserved(limits: Yaml, share: str) -> None:
    two_gpus = group(spec__hardware__gpus=2, spec__hardware__accelerator="cuda")
    row = only(two_gpus, model(), deployment(spec__resourceLimits=limits), price_book())
    assert row.parts["compute"].value + row.parts["reserved"].value == Decimal(share) * 10 * 730 * Decimal("0.4")


def test_two_deployments_never_reserve_more_than_the_device() -> None:
    """Nine tenths of the CPU and nine tenths of the memory fit on one device, and together cost one device."""
    cpu = deployment(spec__resourceLimits={"cpu": "3600m", "memory": "64Mi"})
    memory = deployment(
        "digits",
        spec__modelRef={"name": "digits", "version": "1.1.0"},
        spec__resourceLimits={"cpu": "100m", "memory": "7Gi"},
    )
    rows = costs(group(), model(), model("digits"), cpu, memory, price_book()).rows
    paid = [row.parts["compute"].value + row.parts["reserved"].value for row in rows]
    assert abs(sum(paid) - 10 * 730 * Decimal("0.4")) <= Decimal("0.000004")
    assert paid[0] < paid[1], "seven eighths of the memory are less than nine tenths of the CPU"


def test_use_above_the_reservation_is_paid_as_used_and_said() -> None:
    """24 million requests a day keep 2.8 cores busy; half a core is reserved."""
    busy = deployment(spec__inference={"expectedRequestsPerDeviceDay": 24_000_000})
    report = costs(group(), model(), busy, price_book())
    [row] = report.rows
    assert row.parts["reserved"].value == row.parts["reserved"].low == 0
    assert row.parts["compute"].value == Decimal("2027.777778")
    assert "triage 1.1.0 on kiosks uses more CPU than its limits reserve of the devices: use is paid for." in (
        cost_table(report).notes
    )


def test_compute_falls_when_use_falls_and_the_reservation_stays() -> None:
    """Allocation and usage are two things (OpenCost issue 3900): half the use halves compute, not the month."""
    whole = only(*SIMPLE)
    half = only(*SIMPLE[:2], deployment(spec__inference={"expectedRequestsPerDeviceDay": 12_000}), price_book())
    assert half.parts["compute"].value == whole.parts["compute"].value / 2
    assert half.parts["compute"].value + half.parts["reserved"].value == 365


@given(st.data())
def test_compute_and_reserved_are_the_larger_of_use_and_reservation(data: st.DataObject) -> None:
    """Workload = max(request, usage) for the value, and bounds no narrower than those of the larger one."""
    profile = {"cpuSeconds": data.draw(figures())}
    prices = {
        "deviceHour": {"box": data.draw(figures())},
        "energyPerKWh": exact("0"),
        "networkPerGB": {"wired": exact("0")},
    }
    cores = data.draw(st.sampled_from(["1", "3", "7", "1100m"]))
    limit = data.draw(st.sampled_from(["1m", "333m", "1"]))
    requests = data.draw(st.integers(0, 10**7))
    row = only(
        group(spec__deviceCount=data.draw(st.integers(1, 10**5)), spec__hardware__cpu=cores),
        model(versions={"1.1.0": [variant(profile=profile)]}),
        deployment(
            spec__resourceLimits={"cpu": limit, "memory": "64Ki"},
            spec__inference={"expectedRequestsPerDeviceDay": requests},
        ),
        price_book(spec__regions={"EMEA": prices}),
    )
    hour = {key: Fraction(prices["deviceHour"]["box"][key]) for key in ("value", "low", "high")}
    share = max(
        Quantity.parse(limit).value / Quantity.parse(cores).value,
        Quantity.parse("64Ki").value / Quantity.parse("8Gi").value,
    )
    request = {key: share * Fraction(str(row.devices)) * 730 * price for key, price in hour.items()}
    compute, reserved = row.parts["compute"], row.parts["reserved"]
    slack = Fraction(2, 10**6)
    assert abs(Fraction(compute.value + reserved.value) - max(Fraction(compute.value), request["value"])) <= slack
    assert Fraction(compute.low + reserved.low) <= max(Fraction(compute.low), request["low"]) + slack
    assert Fraction(compute.high + reserved.high) >= max(Fraction(compute.high), request["high"]) - slack


def test_measured_joules_come_before_modelled_ones() -> None:
    measured = {"cpuSeconds": exact("0.01"), "joules": exact("3.6")}
    row = only(group(), model(versions={"1.1.0": [variant(profile=measured)]}), deployment(), price_book())
    assert row.parts["energy"].value == Decimal("1.46")  # 7,300,000 x 3.6 / 3.6e6 x 0.2


def test_the_sun_is_part_of_the_price_of_the_device() -> None:
    row = only(group(spec__power={"source": "solar"}), *SIMPLE[1:])
    assert "energy" not in row.parts
    assert row.absent == {}


def test_an_update_is_bytes_times_devices_times_the_price_of_the_network() -> None:
    """10 devices x 10^6 bytes = 0.01 GB at 1, once a month, from none to twice."""
    row = only(*SIMPLE)
    assert values(row.parts["updates"]) == ("0.01", "0", "0.02", "modelled")
    assert row.update_bytes == 10_000_000


def test_bytes_that_an_inference_sends_are_paid_for() -> None:
    sending = {"cpuSeconds": exact("0.01"), "bytes": exact("1000")}
    row = only(group(), model(versions={"1.1.0": [variant(profile=sending)]}), deployment(), price_book())
    assert row.parts["data"].value == Decimal("7.3")
    assert "data" not in only(*SIMPLE).parts


def test_a_thousand_inferences_cost_their_compute_and_energy_without_updates() -> None:
    row = only(*SIMPLE)
    assert row.per_1k is not None
    # 10 s / 3600 x 0.1 + 10 s x 5 W / 3.6e6 x 0.2
    assert row.per_1k.value == Decimal("0.000280555556")
    assert row.per_1k.grade is Grade.MODELLED


def test_the_core_hour_for_those_who_measured() -> None:
    catalog = catalog_of(*SIMPLE)
    figure, currency, book = core_hour(catalog, "kiosks")
    assert (figure.value, currency, book) == (Decimal("0.1"), "EUR", "prices")


def test_bare_figures_get_the_bounds_of_their_grade() -> None:
    prices = {
        "deviceHour": {"box": {"value": "0.4", "grade": "measured"}},
        "energyPerKWh": exact("0.2"),
        "networkPerGB": {"wired": 1},
    }
    catalog = catalog_of(*SIMPLE[:3], price_book(spec__regions={"EMEA": prices}))
    figure, _, _ = core_hour(catalog, "kiosks")
    assert values(figure) == ("0.1", "0.09", "0.11", "measured")


@pytest.mark.parametrize(
    ("percent", "target", "stable"), [(10, "1", "9"), (100, "10", None), (0, None, "10"), (12.5, "1.25", "8.75")]
)
def test_a_wave_splits_devices_between_target_and_stable(
    percent: float, target: str | None, stable: str | None
) -> None:
    rollout = {"stable": {"version": "1.0.0"}, "waves": [{"name": "now", "percent": percent}]}
    rows = {row.version: row for row in costs(group(), model(), deployment(spec__rollout=rollout), price_book()).rows}
    devices = {version: f"{row.devices.normalize():f}" for version, row in rows.items()}
    assert devices == {key: value for key, value in (("1.1.0", target), ("1.0.0", stable)) if value is not None}
    whole = only(*SIMPLE)
    for part in ("compute", "reserved"):
        together = sum(row.parts[part].value for row in rows.values())
        assert abs(together - whole.parts[part].value) <= Decimal("0.000001")


def test_without_stable_only_the_wave_is_paid_for() -> None:
    rollout = {"waves": [{"name": "now", "percent": 10}]}
    assert only(group(), model(), deployment(spec__rollout=rollout), price_book()).devices == 1


# ---------------------------------------------------------------- what is not known


def absent(*objects: Yaml) -> Row:
    row = only(*objects)
    assert row.total.grade is Grade.ABSENT
    return row


def test_usage_that_nobody_declared_is_absent_and_not_zero() -> None:
    row = absent(group(), model(), deployment(spec__inference=None), price_book())
    assert set(row.absent) == {"compute", "energy"}
    assert "spec.inference.expectedRequestsPerDeviceDay is not declared" in row.absent["compute"]
    assert set(row.parts) == {"reserved", "updates"}
    assert row.parts["reserved"].value == 365, "the larger of use and reservation is no less than the reservation"
    assert row.per_1k is not None, "what one inference costs is known all the same"


def test_cpu_seconds_that_nobody_declared_are_absent_and_not_zero() -> None:
    row = absent(group(), model(versions={"1.1.0": [variant(profile=None)]}), deployment(), price_book())
    assert "no CPU seconds are declared for triage 1.1.0 standard" in row.absent["compute"]
    assert row.per_1k is None
    assert row.parts["reserved"].value == 365


def test_watts_that_nobody_declared_make_the_energy_absent() -> None:
    row = absent(group(spec__power={"source": "mains"}), *SIMPLE[1:])
    assert set(row.absent) == {"energy"}
    assert "idle and peak watts" in row.absent["energy"]


def test_an_on_device_model_costs_its_updates_and_says_that_the_rest_is_not_known() -> None:
    row = absent(phones(), on_device(), price_book())
    assert set(row.parts) == {"updates"}
    assert set(row.absent) == {"compute", "energy"}


def test_a_size_that_nobody_declared_makes_the_updates_absent() -> None:
    assert "updates" in absent(phones(), on_device(spec__size=0), price_book()).absent


def test_an_absent_part_makes_the_total_absent_too() -> None:
    [total] = costs(*SIMPLE, phones(), on_device()).totals
    assert total.figure.grade is Grade.ABSENT
    assert total.incomplete == 1


# ---------------------------------------------------------------- prices that are missing


def refused(*objects: Yaml, price_book_name: str | None = None) -> Any:  # noqa: ANN401 - a Problem, whose fields are compared
    report, problems = estimate(catalog_of(*objects), price_book=price_book_name)
    assert report.rows == ()
    [problem] = problems
    return problem


def test_no_price_book_is_a_problem() -> None:
    assert refused(*SIMPLE[:3]).code == "F401"


@pytest.mark.parametrize(("table", "got"), [("deviceHour", "no price of box"), ("networkPerGB", "no price of wired")])
def test_a_missing_price_is_a_problem_at_the_price_book_that_names_the_group(table: str, got: str) -> None:
    book = changed(price_book(), {f"spec.regions.EMEA.{table}": {"other": 1}})
    problem = refused(*SIMPLE[:3], book)
    assert (problem.code, problem.file, problem.got) == ("F402", "03-pricebook.yaml", got)
    assert problem.field == f"spec.regions.EMEA.{table}"
    assert "group kiosks (00-devicegroup.yaml:1)" in problem.expected


def test_a_region_without_prices_is_a_problem_at_the_group() -> None:
    problem = refused(group(metadata__labels={"region": "APAC", "deviceType": "kiosk"}), *SIMPLE[1:])
    assert (problem.code, problem.file, problem.field) == ("F402", "00-devicegroup.yaml", "metadata.labels.region")
    assert "EMEA" in problem.expected


def test_an_unknown_price_book_is_a_problem_that_lists_those_there_are() -> None:
    problem = refused(*SIMPLE, price_book_name="other")
    assert (problem.code, problem.got) == ("F403", '"other"')
    assert "prices" in problem.expected


def test_the_newest_book_counts_and_a_named_one_before_it() -> None:
    dearer = price_book("later", spec__validFrom="2026-11-01", spec__regions__EMEA__deviceHour={"box": exact("0.8")})
    catalog = catalog_of(*SIMPLE, dearer)
    assert estimate(catalog)[0].rows[0].price_book == "later"
    assert estimate(catalog, price_book="prices")[0].rows[0].price_book == "prices"


def test_two_books_that_are_equally_new_are_refused_until_one_is_named() -> None:
    assert refused(*SIMPLE, price_book("twin")).code == "F404"


def test_a_group_without_models_needs_no_prices() -> None:
    assert costs(group()).rows == ()


def test_different_currencies_are_never_added() -> None:
    dollars = price_book("dollars", spec__currency="USD")
    dollars["spec"]["regions"] = {"AMER": dollars["spec"]["regions"]["EMEA"]}
    far = group("far", metadata__labels={"region": "AMER", "deviceType": "kiosk"})
    report = costs(*SIMPLE, far, dollars)
    assert [total.currency for total in report.totals] == ["EUR", "USD"]
    assert report.totals[0].figure == report.totals[1].figure == report.of("kiosks").totals[0].figure


# ---------------------------------------------------------------- sums

amounts = st.decimals("0", "1000", places=6, allow_nan=False, allow_infinity=False)


@st.composite
def figures(draw: st.DrawFn) -> Yaml:
    low, value, high = sorted(draw(st.tuples(amounts, amounts, amounts)))
    grade = draw(st.sampled_from(["measured", "modelled", "declared"]))
    return {"value": f"{value:f}", "low": f"{low:f}", "high": f"{high:f}", "grade": grade}


@given(st.data())
def test_parts_add_up_to_rows_and_rows_to_totals_exactly(data: st.DataObject) -> None:
    """For any prices, profiles, shares and device counts: no rounding is lost between parts, rows and totals."""
    profile = data.draw(
        st.fixed_dictionaries({"cpuSeconds": figures()}, optional={"joules": figures(), "bytes": figures()})
    )
    prices = {
        "deviceHour": {"box": data.draw(figures())},
        "energyPerKWh": data.draw(figures()),
        "networkPerGB": {"wired": data.draw(figures())},
    }
    cores = data.draw(st.sampled_from(["1", "3", "7", "250m", "1100m"]))
    percent = data.draw(st.decimals("0", "100", places=3))
    rollout = {"stable": {"version": "1.0.0"}, "waves": [{"name": "now", "percent": f"{percent:f}"}]}
    versions = {"1.0.0": [variant(profile=profile)], "1.1.0": [variant(digest="sha256:" + "b" * 64, profile=profile)]}
    report = costs(
        group(spec__deviceCount=data.draw(st.integers(0, 10**6)), spec__hardware__cpu=cores),
        model(versions=versions),
        deployment(spec__rollout=rollout, spec__resourceLimits={"cpu": "100m", "memory": "64Mi"}),
        price_book(spec__regions={"EMEA": prices}),
    )
    parsed = json.loads(json.dumps(report.to_json()))
    bounds = {"total": "value", "low": "low", "high": "high"}
    for row in parsed["rows"]:
        for key, bound in bounds.items():
            assert sum(Decimal(part[bound]) for part in row["parts"].values()) == Decimal(row[key])
        assert Decimal(row["low"]) <= Decimal(row["total"]) <= Decimal(row["high"])
    for total in parsed["totals"]:
        for key, bound in bounds.items():
            assert sum(Decimal(row[key]) for row in parsed["rows"]) == Decimal(total[key])
            assert sum(Decimal(part[bound]) for part in total["parts"].values()) == Decimal(total[key])
    assert len(parsed["totals"]) == bool(parsed["rows"])


def test_the_report_says_which_month_and_what_is_assumed() -> None:
    data = costs(*SIMPLE).to_json()
    assert set(data) == {"period", "rows", "totals"}
    assert data["period"] == {
        "name": "month",
        "hours": 730,
        "updatesPerDevice": {"value": "1", "low": "0", "high": "2", "grade": "modelled"},
    }


# ---------------------------------------------------------------- for people


@pytest.mark.parametrize(
    ("amount", "text"),
    [
        ("0", "0.00"),
        ("12.345", "12.34"),
        ("0.01", "0.01"),
        ("0.00999", "0.01"),
        ("0.0042", "0.0042"),
        ("0.00000123", "0.0000012"),
    ],
)
def test_an_amount_is_never_rounded_to_nothing(amount: str, text: str) -> None:
    assert amount_text(Decimal(amount)) == text


@pytest.mark.parametrize(
    ("amount", "text"), [("0", "0"), ("0.000123456", "0.000123"), ("1234567", "1230000"), ("2.50", "2.5")]
)
def test_significant_digits_have_no_exponent(amount: str, text: str) -> None:
    assert significant_text(Decimal(amount)) == text


def test_the_table_shows_every_row_with_currency_bounds_grade_and_total() -> None:
    report = costs(*SIMPLE, phones(), on_device(), group("silent", metadata__labels={"region": "EMEA"}))
    text = plain_text(cost_table(report, ["silent"]))
    lines = text.splitlines()
    assert lines[0].split()[:3] == ["GROUP", "MODEL", "DEVICES"]
    [row] = [line for line in lines if line.startswith("kiosks")]
    assert "365.03 EUR" in row
    assert "281 µEUR" in row
    assert "declared" in row
    [unknown] = [line for line in lines if line.startswith("phones")]
    assert "≥ 0.01 EUR" in unknown
    assert "incomplete" in unknown
    [total] = [line for line in lines if line.startswith("TOTAL")]
    assert "≥ 365.04 EUR" in total
    assert "Nothing runs in silent." in lines
    assert not any(line.endswith(" ") for line in lines)


@pytest.mark.parametrize(
    ("size", "update_price", "shown"), [(40_000, "1", "<0.01 EUR"), (0, "1", "≥ 0.00 EUR"), (10**9, "1", "10.00 EUR")]
)
def test_the_table_shows_money_with_two_decimals(size: int, update_price: str, shown: str) -> None:
    """A cost below a cent is not shown as none; what is only a lower bound is rounded down."""
    prices = {
        "deviceHour": {"box": exact("0")},
        "energyPerKWh": exact("0"),
        "networkPerGB": {"wired": exact(update_price)},
    }
    free = variant(size=size, profile__cpuSeconds=exact("0"))
    report = costs(group(), model(versions={"1.1.0": [free]}), deployment(), price_book(spec__regions={"EMEA": prices}))
    assert cost_table(report).lines[0][3] == shown


def test_the_table_says_how_near_a_policys_ceiling_is() -> None:
    capped = deployment(spec__finopsPolicyRef="thrift")
    report = costs(group(), model(), capped, price_book(), POLICY)
    table = cost_table(report)
    assert "280 %" in plain_text(table)
    assert table.beyond == {0}
    assert "1 of 1 lines are beyond the ceiling of their policy." in table.notes


def test_a_ceiling_in_another_currency_is_not_compared() -> None:
    capped = deployment(spec__finopsPolicyRef="thrift")
    assert only(group(), model(), capped, price_book(spec__currency="USD"), POLICY).ceiling is None


def test_an_unknown_group_raises() -> None:
    with pytest.raises(KeyError):
        core_hour(catalog_of(*SIMPLE), "nowhere")


def test_a_core_hour_without_prices_names_the_problem() -> None:
    with pytest.raises(InputError, match="F401"):
        core_hour(catalog_of(*SIMPLE[:3]), "kiosks")
