"""One total in one currency by dated rates; carbon, telemetry, training, offload, shared and idle as parts that add up.

The regressions named OpenCost and Kubecost are bugs that those had; the numbers are of their trackers.
"""

from __future__ import annotations

import datetime
import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from tests.config.small_fleet import (
    Yaml,
    catalog_of,
    changed,
    deployment,
    exact,
    files_of,
    group,
    model,
    on_device,
    phones,
    price_book,
    variant,
)
from tests.config.test_cost import SIMPLE, costs, only, refused, values
from trimtab_config.catalog.dates import date_problems
from trimtab_config.cli import main
from trimtab_config.cost.estimate import estimate
from trimtab_config.cost.exchange import converted, exchange
from trimtab_config.cost.idle import IdleRule, idle_of, with_idle
from trimtab_config.cost.report import IDLE, CostReport, total_of
from trimtab_config.cost.shares import split
from trimtab_config.cost.slices import Dimension, slices
from trimtab_kernel.money import Grade
from trimtab_kernel.problems import InputError

DAY = datetime.date(2026, 11, 22)


def rate(currency: str, value: str, begin: str = "2026-10-01", end: str = "2026-12-31") -> Yaml:
    return {"currency": currency, "rate": value, "validFrom": begin, "validUntil": end}


def dollars(name: str = "dollars", **changes: object) -> Yaml:
    book = price_book(name, spec__currency="USD", **changes)
    book["spec"]["regions"] = {"AMER": book["spec"]["regions"]["EMEA"]}
    return book


FAR = group("far", metadata__labels={"region": "AMER", "deviceType": "kiosk"})


def priced(**prices: object) -> Yaml:
    return changed(price_book(), {f"spec.regions.EMEA.{name}": price for name, price in prices.items()})


# ---------------------------------------------------------------- currencies


def in_euros(*books: Yaml, as_of: datetime.date = DAY) -> CostReport:
    catalog = catalog_of(*SIMPLE[:3], FAR, *books)
    report, problems = estimate(catalog)
    assert problems == ()
    return converted(report, {"USD": exchange(catalog.price_books.values(), "USD", "EUR", as_of)})


@pytest.mark.parametrize(
    "books",
    [
        (price_book(spec__exchangeRates=[rate("USD", "0.8")]), dollars()),
        (price_book(), dollars(spec__exchangeRates=[rate("EUR", "1.25")])),
        (price_book(spec__exchangeRates=[rate("USD", "9", "2025-01-01", "2026-09-30"), rate("USD", "0.8")]), dollars()),
    ],
    ids=["by the rate", "by the inverse", "by the rate of the day"],
)
def test_one_total_in_one_currency_whose_parts_add_up(books: tuple[Yaml, ...]) -> None:
    report = in_euros(*books)
    [total] = report.totals
    here, far = report.of("kiosks"), report.of("far")
    assert far.rows[0].parts["updates"].value == here.rows[0].parts["updates"].value * Decimal("0.8")
    assert total.figure.value == sum(row.total.value for row in report.rows)
    for row in report.rows:
        assert row.total == total_of(row.parts.values())
        assert json.loads(row.to_text()) == row.to_json()
    assert far.rows[0].per_1k is not None
    assert far.rows[0].per_1k.value == Decimal("0.000224444445")


@pytest.mark.parametrize(
    ("books", "as_of", "code"),
    [
        ((price_book(), dollars()), DAY, "F405"),
        ((price_book(spec__exchangeRates=[rate("CHF", "1")]), dollars()), DAY, "F405"),
        ((price_book(spec__exchangeRates=[rate("USD", "0.8")]), dollars()), datetime.date(2027, 1, 1), "F406"),
        ((price_book(spec__exchangeRates=[rate("USD", "0.8")]), dollars()), datetime.date(2026, 9, 30), "F406"),
        (
            (
                price_book(spec__exchangeRates=[rate("USD", "0.8")]),
                dollars(spec__exchangeRates=[rate("EUR", "1.3")]),
            ),
            DAY,
            "F407",
        ),
    ],
)
def test_a_rate_that_is_missing_or_of_another_time_is_a_problem_and_never_one(
    books: tuple[Yaml, ...], as_of: datetime.date, code: str
) -> None:
    with pytest.raises(InputError, match=code):
        in_euros(*books, as_of=as_of)


@pytest.mark.parametrize(
    ("rates", "code"),
    [
        ([rate("USD", "0")], "F130"),
        ([rate("EUR", "1")], "F130"),
        ([rate("USD", "0.8"), rate("USD", "0.9", "2026-12-31", "2027-01-31")], "F130"),
        ([rate("USD", "0.8", "2026-12-31", "2026-10-01")], "F125"),
    ],
)
def test_a_rate_that_means_nothing_is_refused(rates: list[Yaml], code: str) -> None:
    from trimtab_config.spec.reader import read_documents

    problems = read_documents(files_of(price_book(spec__exchangeRates=rates))).problems
    assert [problem.code for problem in problems] == [code]


def test_validate_judges_the_dates_of_rates() -> None:
    catalog = catalog_of(price_book(spec__exchangeRates=[rate("USD", "0.8", "2026-10-01", "2026-10-31")]))
    assert date_problems(catalog, datetime.date(2026, 10, 31)) == ()
    [problem] = date_problems(catalog, datetime.date(2026, 11, 1))
    assert (problem.code, problem.field) == ("F604", "spec.exchangeRates[0].validUntil")


def test_the_command_prints_one_total_the_idle_part_and_the_rates(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    books = (price_book(spec__exchangeRates=[rate("USD", "0.8")]), dollars())
    (tmp_path / "fleet.yaml").write_text(yaml.safe_dump_all([*SIMPLE[:3], FAR, *books]))
    asked = ["cost", str(tmp_path), "--currency", "EUR", "--as-of", "2026-11-22", "--idle", "proportional"]
    assert main([*asked, "--by", "group", "--output", "json"]) == 0
    content = json.loads(capsys.readouterr().out)
    [total] = content["totals"]
    # Two groups of ten devices at 0.4 an hour, one of them in dollars: idle is borne, so models pay for whole devices.
    assert Decimal(total["total"]) >= 2920 + 2336
    assert Decimal(total["parts"]["compute"]["value"]) + Decimal(total["parts"]["reserved"]["value"]) + Decimal(
        total["parts"]["idle"]["value"]
    ) == Decimal(2920 + 2336)
    assert [each["group"] for each in content["idle"]["groups"]] == ["far", "kiosks"]
    assert content["exchangeRates"][0]["rate"] == "0.8"
    assert sum(Decimal(each["total"]) for each in content["by"]["slices"]) == Decimal(total["total"])
    assert main(asked) == 0
    shown = capsys.readouterr().out
    assert "1 USD is 0.8 EUR from 2026-10-01 to 2026-12-31 (prices)." in shown
    assert "borne by the models, proportional" in shown
    assert main(["cost", str(tmp_path), "--currency", "EUR", "--as-of", "2027-06-01"]) == 1
    assert "F406" in capsys.readouterr().err
    assert main(["cost", str(tmp_path), "--currency", "euros"]) == 1
    assert "F104" in capsys.readouterr().err


# ---------------------------------------------------------------- parts


def test_carbon_is_of_the_grid_in_grams_with_its_grade() -> None:
    """7,300,000 x 0.01 s x 5 W / 3.6e6 = 0.101389 kWh; ten idle devices draw 10 W each for 730 h, an eighth is reserved."""
    row = only(*SIMPLE[:3], priced(carbonPerKWh=exact("0.5")))
    assert values(row.carbon["energy"])[0] == "50.694444"
    assert values(row.carbon["energy"])[3] == "declared"
    assert values(row.carbon["reserved"]) == ("4562.5", "3193.75", "5931.25", "modelled")
    parsed = row.to_json()["carbon"]
    assert isinstance(parsed, dict)
    assert (parsed["unit"], parsed["total"]) == ("gCO2e", "4613.194444")
    assert json.loads(row.to_text()) == row.to_json()


def test_where_the_grid_is_not_known_carbon_is_absent_and_not_zero() -> None:
    assert "carbon" not in only(*SIMPLE).to_json()
    solar = only(group(spec__power={"source": "solar"}), *SIMPLE[1:3], priced(carbonPerKWh=exact("0.5")))
    assert solar.carbon == {}
    known = group("known", metadata__labels={"region": "AMER", "deviceType": "kiosk"})
    book = price_book()
    book["spec"]["regions"]["AMER"] = {**book["spec"]["regions"]["EMEA"], "carbonPerKWh": exact("0.5")}
    [total] = costs(group(), known, model(), deployment(), book).totals
    assert total.carbon["energy"].grade is Grade.ABSENT, "a sum of what is known is no total"


def test_telemetry_is_carried_taken_in_and_kept() -> None:
    """10 devices x 10^8 bytes a day: 30.41667 GB a month carried and taken in, 7 GB kept."""
    talking = deployment(spec__telemetry={"bytesPerDeviceDay": exact("100000000"), "retentionDays": 7})
    row = only(group(), model(), talking, priced(telemetryPerGB=exact("0.5"), storagePerGBMonth=exact("0.02")))
    assert values(row.parts["telemetry"])[0] == "30.416667"
    assert values(row.parts["ingestion"])[0] == "15.208333"
    assert values(row.parts["storage"])[0] == "0.14"
    problem = refused(group(), model(), talking, price_book())
    assert (problem.code, problem.got) == ("F402", "no price telemetryPerGB")
    problem = refused(group(), model(), talking, priced(telemetryPerGB=exact("0.5")))
    assert (problem.code, problem.got) == ("F402", "no price storagePerGBMonth")


def test_training_is_shared_by_the_inferences_of_a_versions_life() -> None:
    made = model()
    made["spec"]["versions"][1]["production"] = {
        "training": {"amount": 1000, "currency": "EUR"},
        "quantization": {"amount": 100, "currency": "USD"},
        "overInferences": 73_000_000,
    }
    book = price_book(spec__exchangeRates=[rate("USD", "0.5", "2025-01-01", "2025-12-31"), rate("USD", "0.8")])
    row = only(group(), made, deployment(), book)
    assert row.parts["training"].value == Decimal(108)  # a tenth of 1,000 and of 80
    plain = only(*SIMPLE)
    assert row.per_1k == plain.per_1k, "one more inference trains nothing"
    assert refused(group(), made, deployment(), price_book()).code == "F405"


def test_what_is_offloaded_is_paid_at_the_endpoint_and_not_on_the_device() -> None:
    away = {"endpoint": "https://edge.example.com", "jurisdiction": "EU", "expectedShare": "0.25", "priceClass": "gpu"}
    sending = deployment(spec__offload={**away, "bytesPerRequest": exact("1000")})
    row = only(group(), model(), sending, priced(offloadPer1k={"gpu": exact("0.02")}))
    assert row.parts["offload"].value == Decimal("36.5")
    assert row.parts["data"].value == Decimal("1.825")
    assert row.parts["compute"].value == Decimal("1.520833")
    assert row.parts["compute"].value + row.parts["reserved"].value == 365, "what is reserved stays reserved"
    assert refused(group(), model(), sending, price_book()).code == "F402"


def test_the_platform_is_shared_by_the_deployments_of_a_device() -> None:
    two = (model("digits"), deployment("digits", spec__modelRef={"name": "digits", "version": "1.1.0"}))
    rows = costs(*SIMPLE[:3], *two, priced(sharedPerDeviceMonth=exact("3"))).rows
    assert [row.parts["shared"].value for row in rows] == [15, 15]


# ---------------------------------------------------------------- idle


def idle(report: CostReport, name: str, *objects: Yaml) -> Any:  # noqa: ANN401 - an Idle that is there
    found = idle_of(catalog_of(*objects), name, report)
    assert found is not None
    return found


def test_opencost_3823_and_1270_idle_is_what_the_devices_cost_and_nobody_uses_and_not_nothing() -> None:
    found = idle(costs(*SIMPLE), "kiosks", *SIMPLE)
    assert (found.bill.value, found.figure.value) == (2920, 2555)
    empty = idle(CostReport(()), "kiosks", group(), price_book())
    assert empty.figure == empty.bill, "a group without models is wholly idle"


def test_kubecost_1978_idle_of_a_gpu_group_is_never_negative() -> None:
    """Every GPU asked for, and more CPU seconds than the device has: nothing is left, and nothing less than that."""
    gpus = group(spec__hardware__gpus=2, spec__hardware__accelerator="cuda")
    whole = deployment(
        spec__resourceLimits={"cpu": "1", "memory": "1Gi", "gpu": "2"},
        spec__inference={"expectedRequestsPerDeviceDay": 240_000_000},
    )
    objects = (gpus, model(), whole, price_book())
    found = idle(costs(*objects), "kiosks", *objects)
    assert (found.figure.value, found.figure.low) == (0, 0)
    assert found.bill.value == 2920


def test_opencost_2901_gpus_cost_no_more_than_the_device_they_are_in() -> None:
    gpus = group(spec__hardware__gpus=4, spec__hardware__accelerator="cuda")
    one = deployment(spec__resourceLimits={"cpu": "100m", "memory": "64Mi", "gpu": "1"})
    row = only(gpus, model(), one, price_book())
    assert row.parts["compute"].value + row.parts["reserved"].value == 730, "a quarter of ten devices at 0.4"


def test_opencost_3900_use_falls_when_fewer_requests_come() -> None:
    busy, calm = (
        only(*SIMPLE[:2], deployment(spec__inference={"expectedRequestsPerDeviceDay": count}), price_book())
        for count in (24_000, 240)
    )
    assert calm.parts["compute"].value * 100 == pytest.approx(busy.parts["compute"].value, rel=Decimal("0.0001"))
    assert calm.parts["reserved"].value > busy.parts["reserved"].value


def test_opencost_3855_what_runs_in_one_group_is_in_no_other() -> None:
    """Two groups of equal devices, on two clusters, one of them without the deployment."""
    other = group("other", spec__cluster="elsewhere", metadata__labels={"region": "EMEA", "deviceType": "screen"})
    objects = (*SIMPLE, other)
    report = costs(*objects)
    assert {row.group for row in report.rows} == {"kiosks"}
    assert idle(report, "other", *objects).figure.value == 2920
    assert idle(report, "kiosks", *objects).figure.value == 2555


def test_phones_of_their_users_have_no_idle_part() -> None:
    objects = (phones(), on_device(), price_book())
    assert idle_of(catalog_of(*objects), "phones", costs(*objects)) is None


def test_a_missing_device_price_is_a_problem_and_no_idle_of_zero() -> None:
    catalog = catalog_of(group(), priced(deviceHour={"other": exact("1")}))
    with pytest.raises(InputError, match="F402"):
        idle_of(catalog, "kiosks", CostReport(()))


@given(
    st.integers(0, 10**5),
    st.lists(st.tuples(st.integers(1, 40), st.integers(0, 10**8)), min_size=1, max_size=5),
    st.sampled_from(["0", "0.000001", "0.4", "3.333333"]),
    st.sampled_from(list(IdleRule)),
)
def test_models_and_idle_add_up_to_the_bill_of_the_devices(
    devices: int, served: list[tuple[int, int]], price: str, rule: IdleRule
) -> None:
    """Whatever is reserved and used: idle is never negative, and with it the devices are paid for, exactly where they suffice."""
    names = [f"m{place}" for place in range(len(served))]
    objects = [
        group(spec__deviceCount=devices),
        *(
            model(name, {"1.1.0": [variant(digest="sha256:" + f"{place + 1:064x}")]})
            for place, name in enumerate(names)
        ),
        *(
            deployment(
                f"d-{name}",
                spec__modelRef={"name": name, "version": "1.1.0"},
                spec__resourceLimits={"cpu": f"{limit * 10}m", "memory": "64Mi"},
                spec__inference={"expectedRequestsPerDeviceDay": requests},
            )
            for name, (limit, requests) in zip(names, served, strict=True)
        ),
        priced(deviceHour={"box": exact(price)}),
    ]
    report = costs(*objects)
    found = idle(report, "kiosks", *objects)
    assert 0 <= found.figure.low <= found.figure.value <= found.figure.high
    used = sum(row.parts[part].value for row in report.rows for part in ("compute", "reserved"))
    assert found.figure.value == max(Decimal(0), found.bill.value - used)
    borne = with_idle(report, [found], rule)
    if rule is not IdleRule.SEPARATE:
        assert sum(row.parts[IDLE].value for row in borne.rows) == found.figure.value
        assert all(row.total == total_of(row.parts.values()) for row in borne.rows)
    [total] = borne.totals
    assert sum(part.value for part in total.parts.values()) == total.figure.value
    for dimension in (Dimension.GROUP, Dimension.VERSION):
        assert sum(each.total.figure.value for each in slices(borne, dimension, {})) == total.figure.value


@given(st.integers(0, 10**18), st.lists(st.integers(0, 10**9), min_size=1, max_size=30))
def test_shares_add_up_and_are_within_one_unit(whole: int, weights: list[int]) -> None:
    shares = split(whole, weights)
    assert sum(shares) == whole
    together = sum(weights)
    for share, weight in zip(shares, weights, strict=True):
        fair = whole * weight // together if together else whole // len(weights)
        assert fair <= share <= fair + 1


def test_nothing_is_shared_among_nobody_or_below_zero() -> None:
    assert split(0, []) == []
    for whole, weights in ((1, []), (-1, [1]), (1, [-1])):
        with pytest.raises(ValueError, match="share"):
            split(whole, weights)
