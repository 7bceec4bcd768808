"""Bills of providers: what goes in comes out to the last digit, joined to the fleet; what is wrong is said with its place."""

from __future__ import annotations

import gzip
import json
import os
import threading
import zipfile
from datetime import UTC, date, datetime
from decimal import Decimal
from functools import reduce
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pyarrow import parquet

from tests.config.bills.rows import CUR_LEGACY, csv_text, cur
from trimtab_config.bills.charges import EXACT, Category, Charge, Place, Standing, kept
from trimtab_config.bills.deliveries import deliveries
from trimtab_config.bills.fetching import fetch
from trimtab_config.bills.joining import Fleet, Joiner, TagKeys
from trimtab_config.bills.layouts import Kind
from trimtab_config.bills.opencost import allocations
from trimtab_config.bills.statement import Statement
from trimtab_config.bills.tables import read_charges, write_csv, write_parquet
from trimtab_config.cli import main
from trimtab_config.cli.fleet import open_fleet
from trimtab_kernel.problems import InputError, OutsideError

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[3]
FLEET = ROOT / "examples/fleet"


@pytest.fixture(scope="module")
def fleet() -> Fleet:
    return Fleet(open_fleet(FLEET))


def write_cur(path: Path, *rows: dict[str, str]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(csv_text(rows, CUR_LEGACY), "utf-8")
    return path


def problem_of(error: pytest.ExceptionInfo[InputError]) -> str:
    return str(error.value)


# ---------------------------------------------------------------- nothing is lost


def exact(amounts: list[Decimal]) -> Decimal:
    return reduce(EXACT.add, amounts, Decimal(0))


AMOUNTS = st.one_of(
    st.decimals(-(10**9), 10**9, places=10),
    st.decimals(-1, 1, places=30),
    # No cell of a bill may be smaller: cells.number takes exponents of two digits.
    st.floats(-1e9, 1e9, allow_nan=False).filter(lambda x: not x or abs(x) > 1e-99).map(lambda x: Decimal(repr(x))),
)
TAGS = st.dictionaries(
    st.sampled_from(["user:model", "user:group", "team", "apexlogic.ai/business-unit", "owner", "version"]),
    st.sampled_from(["digits", "old-model", "cam-emea", "vision", "utilities", "2.1.0", "gone", ""]),
    max_size=4,
)


@given(
    st.lists(
        st.tuples(AMOUNTS, AMOUNTS, st.sampled_from(["EUR", "USD", "JPY"]), st.sampled_from(list(Category)), TAGS),
        max_size=40,
    )
)
@settings(max_examples=60)
def test_what_a_bill_holds_is_attributed_untagged_or_orphaned_to_the_last_digit(
    lines: list[tuple[Decimal, Decimal, str, Category, dict[str, str]]],
) -> None:
    statement = Statement()
    joiner = Joiner(_fleet_once(), TagKeys())
    when = datetime(2026, 10, 3, tzinfo=UTC)
    taken = []
    for amount, effective, currency, category, tags in lines:
        charge = Charge(
            "aws-cur", date(2026, 10, 1), date(2026, 11, 1), when, when, currency, amount, effective, category,
            tags=tuple(sorted(tags.items())),
        )  # fmt: skip
        taken.append(statement.take(joiner.join(charge)))
    for currency in {line[2] for line in lines}:
        totals = statement.totals[currency]
        received = exact([line[0] for line in lines if line[2] == currency])
        assert totals.received.amount == received
        for cut in (totals.standings, totals.categories, totals.periods):
            assert exact([each.amount for each in cut.values()] + [totals.rounding]) == received
            assert sum(each.charges for each in cut.values()) == totals.received.charges
        listed = [
            each.amount
            for table in (statement.attributed, statement.untagged, statement.orphaned)
            for key, each in table.items()
            if key[0] == currency
        ]
        assert exact([*listed, totals.rounding]) == received
        assert exact([c.amount for c in taken if c.currency == currency] + [totals.rounding]) == received
    assert all(charge.amount == kept(charge.amount)[0] for charge in taken)


@given(
    st.lists(
        st.tuples(
            st.decimals(-(10**6), 10**6, places=16),
            st.sampled_from(["Usage", "Credit", "Refund", "Tax", "SavingsPlanNegation", "NewNextYear"]),
            st.sampled_from(["digits", "gone", ""]),
        ),
        min_size=1,
        max_size=12,
    )
)
@settings(max_examples=25)
def test_a_report_adds_up_from_its_file_to_the_table_of_charges(lines: list[tuple[Decimal, str, str]]) -> None:
    with TemporaryDirectory() as folder:
        path = write_cur(
            Path(folder) / "cur.csv",
            *(cur(n, str(cost), kind, resourceTags__user_c_model=tag) for n, (cost, kind, tag) in enumerate(lines)),
        )
        statement = Statement()
        charges = map(statement.take, Joiner(_fleet_once(), TagKeys()).joined(deliveries(Kind.AWS_CUR, path).charges()))
        with (Path(folder) / "charges.parquet").open("wb") as stream:
            assert write_parquet(charges, stream) == len(lines)
        billed = exact([cost for cost, _, _ in lines])
        assert exact([each.amount for each in read_charges(Path(folder) / "charges.parquet")]) == billed
        assert statement.totals["USD"].received.amount == billed


_FLEET: list[Fleet] = []


def _fleet_once() -> Fleet:
    if not _FLEET:
        _FLEET.append(Fleet(open_fleet(FLEET)))
    return _FLEET[0]


def test_a_table_of_charges_reads_back_as_it_was_written(tmp_path: Path) -> None:
    when = datetime(2026, 10, 3, 4, 5, 6, tzinfo=UTC)
    charges = [
        Charge(
            "azure", date(2026, 10, 1), date(2026, 11, 1), when, when, "EUR", Decimal(amount), Decimal("0.5"),
            Category.CREDIT, correction=True, kind="Refund", account="a", service='s, "quoted"\nand more',
            quantity=Decimal("3.25"), tags=(("team", "x"), ("Ä", "ö")), standing=Standing.ORPHANED,
            orphan="model=old", place=Place(model="old", business_unit="health"),
        )
        for amount in ("-0.000000000000000000000001", "99999999999999", "12.5", "0")
    ]  # fmt: skip
    with (tmp_path / "c.csv").open("w", encoding="utf-8", newline="") as text:
        write_csv(charges, text)
    with (tmp_path / "c.parquet").open("wb") as binary:
        write_parquet(charges, binary)
    assert list(read_charges(tmp_path / "c.csv")) == charges
    assert list(read_charges(tmp_path / "c.parquet")) == charges


# ---------------------------------------------------------------- AWS


def test_a_cost_and_usage_report_is_read_from_csv_gzip_zip_and_parquet_alike(tmp_path: Path) -> None:
    rows = [
        cur(1, "0.0104000000", resourceTags__user_c_model="digits", resourceTags__user_c_group="cam-emea"),
        cur(2, "-7.5", "Credit"),
        cur(3, "1.9E-7", "Tax"),
        cur(4, "0.10", "DiscountedUsage", reservation__EffectiveCost="0.07"),
    ]
    text = csv_text(rows, CUR_LEGACY)
    (tmp_path / "a.csv").write_text(text, "utf-8-sig")
    (tmp_path / "b.csv.gz").write_bytes(gzip.compress(text.encode()))
    with zipfile.ZipFile(tmp_path / "c.zip", "w") as archive:
        archive.writestr("report-00001.csv", text)
    times = {"bill_billing_period_start_date", "line_item_usage_start_date", "line_item_usage_end_date"}
    columns: dict[str, object] = {}
    for name in CUR_LEGACY:
        snake = "".join(f"_{c.lower()}" if c.isupper() else c for c in name.replace("/", "_").replace(":", "_"))
        snake = snake.replace("__", "_")
        cells = [row.get(name, "") for row in rows]
        if snake in times:
            columns[snake] = [datetime.fromisoformat(cell).replace(tzinfo=None) for cell in cells]
        elif snake.endswith("_cost"):
            columns[snake] = [float(cell) if cell else None for cell in cells]
        elif not snake.startswith("resource_tags"):
            columns[snake] = [cell or None for cell in cells]
    columns["resource_tags"] = pa.array(
        [[("user_model", "digits"), ("user_group", "cam-emea")], [], [], []], pa.map_(pa.string(), pa.string())
    )
    parquet.write_table(pa.table(columns), tmp_path / "d.parquet")
    read = [
        [
            (c.amount, c.effective, c.category, c.start, c.currency, len(c.tags), c.region)
            for c in deliveries(Kind.AWS_CUR, tmp_path / name).charges()
        ]
        for name in ("a.csv", "b.csv.gz", "c.zip", "d.parquet")
    ]
    assert read[0] == read[1] == read[2] == read[3]
    assert [(str(amount), str(effective), category.value) for amount, effective, category, *_ in read[3]] == [
        ("0.0104", "0.0104", "Usage"),
        ("-7.5", "-7.5", "Credit"),
        ("1.9E-7", "1.9E-7", "Tax"),
        ("0.1", "0.07", "Usage"),
    ]


def test_tags_say_where_a_charge_belongs_and_the_fleet_fills_in_what_it_leaves_no_choice_about(fleet: Fleet) -> None:
    joiner = Joiner(fleet, TagKeys({"cost-center": "businessUnit", "app": ""}))
    when = datetime(2026, 10, 3, tzinfo=UTC)

    def joined(**tags: str) -> Charge:
        one = Decimal(1)
        pairs = tuple(sorted((key.replace("_c_", ":"), value) for key, value in tags.items()))
        return joiner.join(Charge("x", when.date(), when.date(), when, when, "EUR", one, one, tags=pairs))

    found = joined(user_c_model="digits", user_c_group="cam-emea")
    assert found.standing is Standing.ATTRIBUTED
    assert (found.place.group, found.place.business_unit, found.place.team) == ("cam-emea", "utilities", "vision")
    assert joined(model="digits").place.business_unit == ""  # cameras and kiosks run it for two units
    assert joined(model="digits-of-last-year").orphan == "model=digits-of-last-year"
    assert joined(model="digits", version="0.0.9").orphan == "version=digits 0.0.9"
    assert joined(app="nginx", Name="web-1").standing is Standing.UNTAGGED
    assert joined(**{"cost-center": "health"}).place.business_unit == "health"
    assert joined(label_fleet_apexlogic_ai_group="cam-apac").place.group == "cam-apac"


def test_every_bad_row_is_named_with_its_line_and_column_and_nothing_is_printed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = write_cur(
        tmp_path / "cur.csv",
        cur(1, "1.5"),
        cur(2, "1,5"),
        cur(3, "NaN"),
        {**cur(4, "2"), "lineItem/CurrencyCode": "dollars"},
        {**cur(5, "2"), "lineItem/UsageStartDate": "yesterday"},
    )
    code = main(["bills", "import", "--kind", "aws-cur", str(path), "--fleet", str(FLEET)])
    out, err = capsys.readouterr()
    assert code == 1
    assert out == ""
    assert f'{path}:3 lineItem/UnblendedCost: F703 got "1,5", expected a decimal number' in err
    assert f"{path}:4 lineItem/UnblendedCost: F703" in err
    assert f"{path}:5 lineItem/CurrencyCode: F703" in err
    assert f'{path}:6 lineItem/UsageStartDate: F703 got "yesterday"' in err


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"", "F701"),
        (b"a,b\n1,2\n", "F702 no such column|F702 got no such column"),
        (gzip.compress(b"x" * 5000)[:-900], "F701"),
        (b"PAR1 but no more", "F701"),
        (b"lineItem/UnblendedCost\n\xff\xfe\n", "F70"),
        (b"x" * (2 * 1024 * 1024), "F701"),
    ],
)
def test_what_is_no_bill_is_said_and_not_read_on(tmp_path: Path, content: bytes, expected: str) -> None:
    path = tmp_path / "bill.csv"
    path.write_bytes(content)
    with pytest.raises(InputError) as error:
        list(deliveries(Kind.AWS_CUR, path).charges())
    assert any(part in problem_of(error) for part in expected.split("|"))


def test_a_period_that_two_folders_hold_is_refused_or_the_newest_counts(tmp_path: Path) -> None:
    old = write_cur(tmp_path / "run-1/part-1.csv", cur(1, "10"), cur(2, "5"))
    new = write_cur(tmp_path / "run-2/part-1.csv", cur(1, "10"), cur(2, "6"), cur(3, "1"))
    other = {**cur(4, "100"), "bill/BillingPeriodStartDate": "2026-09-01T00:00:00Z"}
    write_cur(tmp_path / "run-0/part-1.csv", other)
    os.utime(old, (1_000, 1_000))
    os.utime(new, (2_000, 2_000))
    with pytest.raises(InputError) as error:
        deliveries(Kind.AWS_CUR, tmp_path)
    assert "F704" in problem_of(error)
    assert "the period from 2026-10-01 of account 111122223333 in 2 folders" in problem_of(error)
    found = deliveries(Kind.AWS_CUR, tmp_path, newest=True)
    assert sum(charge.amount for charge in found.charges()) == 117
    assert [note for note in found.notes if "run-1" in note]


def test_a_file_that_came_twice_is_read_once_and_two_deliveries_in_one_folder_are_refused(tmp_path: Path) -> None:
    write_cur(tmp_path / "a.csv", cur(1, "10"), cur(2, "5"))
    write_cur(tmp_path / "b.csv", cur(1, "10"), cur(2, "5"))
    found = deliveries(Kind.AWS_CUR, tmp_path)
    assert sum(charge.amount for charge in found.charges()) == 15
    assert "the same bytes" in found.notes[0]
    write_cur(tmp_path / "c.csv", cur(1, "10"), cur(2, "5"), cur(3, "1"))
    with pytest.raises(InputError, match="F705"):
        list(deliveries(Kind.AWS_CUR, tmp_path).charges())


def test_a_large_bill_is_read_as_a_stream(tmp_path: Path) -> None:
    """The first charge is there before the end of the file is: a file that breaks off far behind gives it all the same."""
    path = write_cur(tmp_path / "cur.csv", *(cur(n, "1") for n in range(2000)))
    whole = path.read_bytes()
    path.write_bytes(whole + b'"an open quote')
    charges = deliveries(Kind.AWS_CUR, path).charges()
    assert next(charges).amount == 1
    with pytest.raises(InputError, match="F701"):
        list(charges)


# ---------------------------------------------------------------- Azure, FOCUS


def test_azure_exports_of_both_agreements_are_read(tmp_path: Path) -> None:
    ea = (
        "BillingAccountId,BillingPeriodStartDate,BillingPeriodEndDate,Date,SubscriptionId,MeterCategory,ChargeType,"
        "CostInBillingCurrency,BillingCurrencyCode,Quantity,UnitOfMeasure,ResourceLocation,ResourceId,Tags\r\n"
        '12,10/01/2026,10/31/2026,10/07/2026,sub,Virtual Machines,Usage,7.2E-05,EUR,1,1 Hour,westeurope,/vm,"""model"": ""digits"",""team"": ""vision"""\r\n'
        "12,10/01/2026,10/31/2026,10/07/2026,sub,Virtual Machines,Refund,-3.5,EUR,0,,,,\r\n"
    )
    mca = (
        "billingAccountId,billingPeriodStartDate,billingPeriodEndDate,date,SubscriptionId,meterCategory,chargeType,"
        "costInBillingCurrency,billingCurrency,quantity,tags\n"
        '12,2026-10-01,2026-10-31,2026-10-07,sub,Storage,Tax,0.19,EUR,,"{""model"":""digits""}"\n'
    )
    (tmp_path / "ea.csv").write_text(ea, "utf-8")
    (tmp_path / "mca.csv").write_text(mca, "utf-8")
    first, refund = deliveries(Kind.AZURE, tmp_path / "ea.csv").charges()
    assert (first.amount, first.tags) == (Decimal("7.2E-05"), (("model", "digits"), ("team", "vision")))
    assert (first.billing_start, first.billing_end) == (date(2026, 10, 1), date(2026, 11, 1))
    assert (refund.category, refund.correction) == (Category.ADJUSTMENT, True)
    [tax] = deliveries(Kind.AZURE, tmp_path / "mca.csv").charges()
    assert (tax.category, tax.start.isoformat(), tax.tags) == (
        Category.TAX, "2026-10-07T00:00:00+00:00", (("model", "digits"),),
    )  # fmt: skip


EVERY_LINE: tuple[tuple[str, str, dict[str, str], str, Category], ...] = (
    # kind of line, unblended cost, more columns, effective cost, category
    ("Usage", "1.5", {}, "1.5", Category.USAGE),
    ("Usage", "0E-10", {}, "0", Category.USAGE),
    ("DiscountedUsage", "0", {"reservation__EffectiveCost": "96.5"}, "96.5", Category.USAGE),
    ("SavingsPlanCoveredUsage", "10", {"savingsPlan__SavingsPlanEffectiveCost": "7"}, "7", Category.USAGE),
    ("SavingsPlanNegation", "-10", {}, "0", Category.ADJUSTMENT),
    ("SavingsPlanRecurringFee", "8", {"savingsPlan__TotalCommitmentToDate": "8", "savingsPlan__UsedCommitment": "7"},
     "1", Category.PURCHASE),
    ("RIFee", "100", {"reservation__UnusedAmortizedUpfrontFeeForBillingPeriod": "1.5",
                      "reservation__UnusedRecurringFee": "2"}, "3.5", Category.PURCHASE),
    ("Fee", "500", {"reservation__ReservationARN": "arn:aws:ec2:r/1"}, "0", Category.PURCHASE),
    ("Tax", "3.21", {}, "3.21", Category.TAX),
    ("Credit", "-0.25", {"lineItem__LineItemDescription": 'a "credit"\r\nof two lines, 2026'}, "-0.25", Category.CREDIT),
    ("Refund", "-2.5", {"bill__BillType": "Refund"}, "-2.5", Category.ADJUSTMENT),
    ("EdpDiscount", "-1.0E-10", {}, "-0.0000000001", Category.ADJUSTMENT),
)  # fmt: skip


def test_every_kind_of_line_of_a_usage_report_has_its_effective_cost(tmp_path: Path) -> None:
    """With a byte order mark, lines that end as Windows ends them, and a description of two lines."""
    more = {column.replace("__", "/") for _, _, columns, _, _ in EVERY_LINE for column in columns}
    rows = [cur(place, cost, kind, **columns) for place, (kind, cost, columns, _, _) in enumerate(EVERY_LINE)]
    path = tmp_path / "cur.csv.gz"
    text = csv_text(rows, [*CUR_LEGACY, *sorted(more - set(CUR_LEGACY))])
    path.write_bytes(gzip.compress(b"\xef\xbb\xbf" + text.encode()))
    found = list(deliveries(Kind.AWS_CUR, path).charges())
    wanted = [(kind, Decimal(cost), Decimal(spread), category) for kind, cost, _, spread, category in EVERY_LINE]
    assert [(each.kind, each.amount, each.effective, each.category) for each in found] == wanted
    assert [each.kind for each in found if each.correction] == ["Refund"]


def test_the_second_usage_report_keeps_tags_as_json(tmp_path: Path, fleet: Fleet) -> None:
    columns = ["bill_billing_period_start_date", "line_item_line_item_type", "line_item_usage_start_date",
               "line_item_currency_code", "line_item_unblended_cost", "resource_tags"]  # fmt: skip
    lines = [
        ("2026-10-01 00:00:00.000", "Usage", "2026-10-03 00:00:00.000", "1.25", '{"user_model":"digits","aws_x":"1"}'),
        ("2026-10-01T00:00:00.000Z", "Tax", "2026-10-01T00:00:00.000Z", "0.2", "{}"),
    ]
    path = tmp_path / "cur2.csv"
    rows = [dict(zip(columns, (*line[:3], "USD", *line[3:]), strict=True)) for line in lines]
    path.write_text(csv_text(rows, columns), "utf-8")
    found = [Joiner(fleet, TagKeys()).join(each) for each in deliveries(Kind.AWS_CUR, path).charges()]
    assert [each.standing for each in found] == [Standing.ATTRIBUTED, Standing.UNTAGGED]
    assert found[0].place.model == "digits"
    assert found[0].start == datetime(2026, 10, 3, tzinfo=UTC)


def test_azure_rows_without_a_billing_period_belong_to_the_month_of_their_day(tmp_path: Path) -> None:
    """Exports of pay-as-you-go accounts have no such column; some rows of the others leave it empty."""
    payg = tmp_path / "payg.csv"
    payg.write_text(
        "SubscriptionGuid,UsageDateTime,MeterCategory,UsageQuantity,PreTaxCost,Currency,Tags\r\n"
        'g,2026-10-05,VM,1,0.33,EUR,"""model"": ""digits"",""team"": ""vision"""\r\n',
        "utf-8",
    )
    [charge] = deliveries(Kind.AZURE, payg).charges()
    assert (charge.billing_start, charge.billing_end) == (date(2026, 10, 1), date(2026, 11, 1))
    assert charge.tags == (("model", "digits"), ("team", "vision"))
    other = tmp_path / "ea.csv"
    other.write_text(
        "Date,CostInBillingCurrency,BillingCurrencyCode,BillingPeriodStartDate,BillingPeriodEndDate,ChargeType\n"
        "10/02/2026,4.0E-05,EUR,09/24/2026,10/23/2026,UnusedReservation\n10/31/2026,-0.004,EUR,,,RoundingAdjustment\n",
        "utf-8",
    )
    found = list(deliveries(Kind.AZURE, other).charges())
    assert [each.billing_start for each in found] == [date(2026, 9, 24), date(2026, 10, 1)]
    assert [each.category for each in found] == [Category.USAGE, Category.ADJUSTMENT]
    assert sum(each.amount for each in found) == Decimal("-0.00396")


@pytest.mark.parametrize(
    ("tags", "expected"),
    [
        ('{"model":"digits","none":null,"n":1,"b":true}', (("b", "true"), ("model", "digits"), ("n", "1"))),
        ('[{"key":"model","value":"digits"},{"Key":"n","Value":""}]', (("model", "digits"),)),
        ("NULL", ()),
        ("null", ()),
        ("[]", ()),
        ('["model"]', None),
        ('[{"key":"a","value":"1"},{"key":"a","value":"2"}]', None),
        ('{"model":', None),
    ],
)
def test_focus_files_of_warehouses_are_read_or_refused_cell_by_cell(
    tmp_path: Path, tags: str, expected: tuple[tuple[str, str], ...] | None
) -> None:
    names = ("billedcost", "EFFECTIVECOST", "BillingCurrency", "ChargePeriodStart", "ChargePeriodEnd", "ChargeCategory",
             "BillingPeriodStart", "BillingPeriodEnd", "Tags", "ServiceName")  # fmt: skip
    first, after = "2026-10-01 00:00:00 UTC", "2026-11-01 00:00:00 UTC"
    cells = ("1.1", "NULL", "EUR", first, after, "Usage", first, after, tags, "NULL")
    path = tmp_path / "focus.csv"
    path.write_text(csv_text([dict(zip(names, cells, strict=True))], names), "utf-8")
    if expected is None:
        with pytest.raises(InputError) as error:
            list(deliveries(Kind.FOCUS, path).charges())
        assert "focus.csv:2 Tags: F703" in problem_of(error)
        return
    [charge] = deliveries(Kind.FOCUS, path).charges()
    assert charge.tags == expected
    assert (charge.amount, charge.effective, charge.service) == (Decimal("1.1"), Decimal("1.1"), "")
    assert charge.billing_end == date(2026, 11, 1)


def test_a_focus_export_in_several_currencies_is_joined_and_printed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "focus.csv"
    head = (
        "BilledCost,EffectiveCost,BillingCurrency,ChargePeriodStart,ChargePeriodEnd,ChargeCategory,ChargeClass,"
        "BillingPeriodStart,BillingPeriodEnd,BillingAccountId,ServiceName,ProviderName,Tags\n"
    )
    days = "2026-10-02T00:00:00Z,2026-10-03T00:00:00Z"
    month = "2026-10-01T00:00:00Z,2026-11-01T00:00:00Z"
    path.write_text(
        head
        + f'12.3400,12.34,EUR,{days},Usage,,{month},acc,Compute,Cloud,"{{""model"":""digits"",""group"":""cam-emea""}}"\n'
        + f'5,5,USD,{days},Usage,,{month},acc,Compute,Cloud,"{{""model"":""retired""}}"\n'
        + f"-0.001,0,EUR,{days},Credit,,{month},acc,Credits,Cloud,\n",
        "utf-8",
    )
    arguments = ["bills", "import", "--kind", "focus", str(path), "--fleet", str(FLEET)]
    assert main([*arguments, "--output", "json"]) == 0
    found = json.loads(capsys.readouterr().out)
    euros, dollars = found["totals"]
    assert (euros["amount"], euros["attributed"]["amount"], euros["untagged"]["amount"]) == (
        "12.339",
        "12.34",
        "-0.001",
    )
    assert (dollars["orphaned"]["amount"], found["orphaned"][0]["tag"]) == ("5", "model=retired")
    assert main(arguments) == 0
    table = capsys.readouterr().out
    assert "cam-emea" in table
    assert "model=retired" in table
    assert "Currencies are not added" in table
    assert main([*arguments, "--output", "parquet", "--output-file", str(tmp_path / "charges.parquet")]) == 0
    assert [charge.place.business_unit for charge in read_charges(tmp_path / "charges.parquet")] == [
        "utilities",
        "",
        "",
    ]
    assert main([*arguments, "--output", "csv"]) == 0
    assert capsys.readouterr().out.count("\n") == 4


# ---------------------------------------------------------------- OpenCost

ANSWER = {
    "code": 200,
    "data": [
        {
            "cam-emea/runtime": {
                "name": "cam-emea/runtime",
                "properties": {
                    "cluster": "c1",
                    "namespace": "fleet",
                    "labels": {"fleet_apexlogic_ai_group": "cam-emea"},
                },
                "window": {"start": "2026-10-01T00:00:00Z", "end": "2026-10-02T00:00:00Z"},
                "start": "2026-10-01T00:00:00Z",
                "end": "2026-10-02T00:00:00Z",
                "cpuCost": 1.25,
                "cpuCostAdjustment": -0.05,
                "ramCost": 0.1,
                "networkCost": 2.2250738585072014e-308,
                "totalCost": 1.300000001,
            },
            "__idle__": {
                "name": "__idle__",
                "properties": {"cluster": "c1"},
                "window": {"start": "2026-10-01T00:00:00Z", "end": "2026-10-02T00:00:00Z"},
                "cpuCost": 0.5,
                "totalCost": 0.5,
            },
        },
        None,
    ],
}


def test_the_parts_of_an_allocation_add_up_to_its_total(fleet: Fleet) -> None:
    charges = list(Joiner(fleet, TagKeys()).joined(allocations(json.dumps(ANSWER).encode(), "answer", "USD")))
    assert sum(charge.amount for charge in charges) == Decimal("1.800000001")
    assert [(c.service, str(c.amount), c.kind, c.place.group) for c in charges] == [
        ("CPU", "1.20", "allocation", "cam-emea"),
        ("Memory", "0.1", "allocation", "cam-emea"),
        ("Other", "1E-9", "allocation", "cam-emea"),
        ("CPU", "0.5", "idle", ""),
    ]


def test_an_answer_that_is_none_is_refused_with_its_place() -> None:
    broken = json.loads(json.dumps(ANSWER))
    broken["data"][0]["__idle__"]["cpuCost"] = "much"
    with pytest.raises(InputError) as error:
        list(allocations(json.dumps(broken).encode(), "answer", "USD"))
    assert "answer data[0].__idle__.cpuCost: F703" in problem_of(error)
    with pytest.raises(InputError, match="F701"):
        list(allocations(b"[" * 100_000, "answer", "USD"))


class _Answers(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        body = json.dumps(ANSWER).encode()
        if self.path.startswith("/moved"):
            self.send_response(302)
            self.send_header("Location", "http://localhost:1/")
            self.end_headers()
            return
        self.send_response(200)
        self.send_header("Content-Length", str(len(body) + (10 if self.path.startswith("/short") else 0)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def opencost() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Answers)
    server.daemon_threads = False
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join(30)
        server.server_close()


def test_opencost_is_asked_over_http_with_limits(opencost: str, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["bills", "import", "--kind", "opencost", f"{opencost}/allocation?window=1d", "--fleet", str(FLEET)]
    assert main(arguments) == 1
    assert "F708" in capsys.readouterr().err
    assert main([*arguments, "--currency", "USD", "--output", "json"]) == 0
    [totals] = json.loads(capsys.readouterr().out)["totals"]
    assert (totals["amount"], totals["attributed"]["amount"]) == ("1.800000001", "1.300000001")
    with pytest.raises(OutsideError, match="more than 100 bytes"):
        fetch(f"{opencost}/allocation", limit=100, seconds=30)
    with pytest.raises(OutsideError, match="answered 302"):
        fetch(f"{opencost}/moved", limit=10_000, seconds=30)
    with pytest.raises(OutsideError, match="bytes are missing"):
        fetch(f"{opencost}/short", limit=10_000, seconds=30)


@pytest.mark.parametrize(
    "url",
    [
        "http://opencost.example/x",
        "ftp://localhost/x",
        "http://user:secret@localhost/x",
        "http://localhost/a b",
        "http://[::1",
    ],
)
def test_an_address_that_is_not_safe_is_refused(url: str) -> None:
    with pytest.raises(InputError, match="F707"):
        fetch(url, limit=1, seconds=1)
