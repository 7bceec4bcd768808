"""FOCUS files: every column, the whole sum, a file for each business unit; the reference validator finds nothing wrong."""

from __future__ import annotations

import csv
import io
import json
import os
import re
import shutil
import subprocess
from dataclasses import replace
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
import yaml
from pyarrow import parquet

from tests.config.allocation.telemetry_rows import row as telemetry
from tests.config.small_fleet import deployment, group, model, price_book
from trimtab_config.allocation.output import write_history
from trimtab_config.bills.charges import Category, Charge, Place, Standing
from trimtab_config.bills.tables import write_parquet
from trimtab_config.cli import main
from trimtab_config.focus.columns import ADDED_1_3, ALL, V1_2

ROOT = Path(__file__).parents[3]
FLEET = ROOT / "examples/fleet"
VALIDATOR = ROOT / ".peers/focus"


def bill() -> list[Charge]:
    """Charges of all categories, two currencies, some of them without anything that may be left out."""
    when = datetime(2026, 10, 3, 4, tzinfo=UTC)
    end = datetime(2026, 10, 3, 5, tzinfo=UTC)
    month = (date(2026, 10, 1), date(2026, 11, 1))
    utilities = Place("cam-emea", "digits", "2.1.0", business_unit="utilities", team="vision")
    health = Place(model="claims", business_unit="health/../care")

    def charge(amount: str, effective: str, category: Category = Category.USAGE) -> Charge:
        return Charge(
            "aws-cur", *month, when, end, "EUR", Decimal(amount), Decimal(effective), category, account="1234",
            provider="AWS", issuer="AWS", service="EC2", service_category="Compute",
        )  # fmt: skip

    settled = replace(
        charge("12.345678901234", "11"), place=utilities, standing=Standing.ATTRIBUTED, quantity=Decimal("1.5"),
        unit="Hours", region="eu-central-1", resource="i-1", tags=(("model", "digits"),),
    )  # fmt: skip
    three, little = Decimal(-3), Decimal("7E-20")
    return [
        settled,
        charge("-0.5", "-0.5", Category.CREDIT),
        charge("100", "0", Category.PURCHASE),
        charge("19", "19", Category.TAX),
        Charge("azure", *month, when, end, "USD", three, three, place=health, standing=Standing.ATTRIBUTED),
        Charge("azure", *month, when, end, "USD", little, little, Category.ADJUSTMENT, correction=True),
    ]  # fmt: skip


@pytest.fixture
def charges(tmp_path: Path) -> Path:
    path = tmp_path / "charges.parquet"
    with path.open("wb") as stream:
        write_parquet(bill(), stream)
    return path


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as stream:
        return list(csv.DictReader(stream))


def test_an_estimate_is_exported_whole_in_both_forms(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    export = ["focus", "export", str(FLEET), "--month", "2026-10"]
    assert main([*export, "--output-file", str(tmp_path / "f.csv")]) == 0
    assert main([*export, "--output", "parquet", "--output-file", str(tmp_path / "f.parquet")]) == 0
    found = rows(tmp_path / "f.csv")
    assert tuple(found[0]) == ALL
    assert len(V1_2) == 57
    assert set(ADDED_1_3) < set(ALL)
    assert main(["cost", str(FLEET), "--output", "json"]) == 0
    [total] = json.loads(capsys.readouterr().out)["totals"]
    assert sum(Decimal(row["BilledCost"]) for row in found) == Decimal(total["total"])
    assert sum(Decimal(row["x_CostHigh"]) for row in found) == Decimal(total["high"])
    table = parquet.read_table(tmp_path / "f.parquet")
    assert tuple(table.schema.names) == ALL
    assert sum(table["BilledCost"].to_pylist()) == Decimal(total["total"])
    first = found[0]
    assert (first["ChargePeriodStart"], first["BillingPeriodEnd"]) == ("2026-10-01T00:00:00Z", "2026-11-01T00:00:00Z")
    assert json.loads(first["AllocatedTags"])["businessUnit"] == first["SubAccountId"] == "utilities"
    assert first["AllocatedMethodId"] == "trimtab-estimate"


def test_charges_keep_their_amounts_and_say_by_what_they_were_allocated(tmp_path: Path, charges: Path) -> None:
    path = tmp_path / "focus.csv"
    assert main(["focus", "export", str(FLEET), "--charges", str(charges), "--output-file", str(path)]) == 0
    found = rows(path)
    assert [Decimal(row["BilledCost"]) for row in found] == [charge.amount for charge in bill()]
    assert [row["AllocatedMethodId"] for row in found] == ["trimtab-tags", "", "", "", "trimtab-tags", ""]
    assert [row["ChargeClass"] for row in found] == ["", "", "", "", "", "Correction"]
    for row in found:
        if row["PricingQuantity"]:
            assert Decimal(row["ListUnitPrice"]) * Decimal(row["PricingQuantity"]) == Decimal(row["ListCost"])


def test_an_allocation_is_exported_with_what_no_model_used(
    tmp_path: Path, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    fleet, history = tmp_path / "fleet.yaml", tmp_path / "history.parquet"
    tagged = deployment(spec__tags={"businessUnit": "health"})
    fleet.write_text(yaml.safe_dump_all((group(), model(), tagged, price_book())), "utf-8")
    write_history(history, [telemetry(hour, cpu_seconds=700.125, joules=1e5, inferences=9) for hour in (0, 1)])
    asked = ["allocate", "--fleet", str(fleet), "--telemetry", str(history), "--output"]
    for form in ("csv", "parquet"):
        assert main([*asked, form]) == 0
        allocation = tmp_path / f"allocation.{form}"
        allocation.write_bytes(capfdbinary.readouterr().out)
        assert main(["focus", "export", str(fleet), "--charges", str(allocation)]) == 0
        found = list(csv.DictReader(io.StringIO(capfdbinary.readouterr().out.decode(), newline="")))
        assert {row["x_BusinessUnit"] for row in found} == {"health", ""}
        assert {row["ServiceName"] for row in found} == {"Edge inference", "Edge devices idle"}
        assert {row["AllocatedMethodId"] for row in found} == {"trimtab-allocation"}
        assert main([*asked, "json"]) == 0
        [total] = json.loads(capfdbinary.readouterr().out)["totals"]
        assert sum(Decimal(row["BilledCost"]) for row in found) == Decimal(total["total"])


def test_each_business_unit_gets_a_file_and_nothing_falls_between_them(
    tmp_path: Path, charges: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "units"
    assert main(["focus", "export", str(FLEET), "--charges", str(charges), "--chargeback", str(folder)]) == 0
    files = sorted(folder.iterdir())
    assert len(files) == 3
    assert {path.name for path in files} >= {"utilities.csv", "unallocated.csv"}  # a name with slashes is no path
    amounts = sorted(Decimal(row["BilledCost"]) for path in files for row in rows(path))
    assert amounts == sorted(charge.amount for charge in bill())
    table = capsys.readouterr().out
    assert "utilities" in table
    assert "(unallocated)" in table


# ---------------------------------------------------------------- the reference validator


def _installed() -> None:
    """Makes the validator's environment. Skips where there is no Python 3.12, which CI excuses only then."""
    result = subprocess.run(
        ["sh", "tools/peers", "focus"], cwd=ROOT, capture_output=True, text=True, timeout=240, check=False
    )
    if result.returncode == 69:
        pytest.skip("needs python3.12, which is not installed")
    assert result.returncode == 0, result.stderr


def _package() -> Path:
    [found] = VALIDATOR.glob("lib/python3.12/site-packages")
    return found


def _model() -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = json.loads(
        (_package() / "focus_validator/rules/model-1.2.0.1.json").read_text("utf-8")
    )
    return found


# What a charge says nothing about: its columns are there, and null.
NOT_SUPPORTED = {"CAPACITY_RESERVATION_SUPPORTED", "COMMITMENT_DISCOUNT_SUPPORTED"}


def validate(path: Path) -> tuple[dict[str, str], int]:
    """The result of every rule that was judged, by its id, and how many passed. The rules are those of the package."""
    model = _model()
    criteria = ",".join(sorted(set(model["ApplicabilityCriteria"]) - NOT_SUPPORTED))
    command = [
        str(VALIDATOR / "bin/focus-validator"), "--data-file", str(path), "--validate-version", "1.2.0.1",
        "--block-download", "--applicability-criteria", criteria,
    ]  # fmt: skip
    # It looks for its list of currencies from where it stands.
    result = subprocess.run(
        command, cwd=_package(), capture_output=True, text=True, timeout=300, check=False, env=os.environ | {"CI": "1"}
    )
    assert result.returncode == 0, result.stdout + result.stderr
    total = re.search(r"Total: (\d+) \| Pass: (\d+) \| Fail: (\d+)", result.stdout)
    assert total is not None, result.stdout
    failed = dict(re.findall(r"^❌ (\S+): FAIL(.*)$", result.stdout, re.MULTILINE))
    assert len(failed) == int(total[3])
    return failed, int(total[2])


def unjustified(failed: dict[str, str]) -> dict[str, str]:
    """Failures but for the alternative not taken: of InvoiceId one rule demands null and one forbids it, joined by OR.

    In the validator's own rules (InvoiceId-C-003-C) one of the two is enough, and it counts the other as failed.
    """
    either = {"InvoiceId-C-004-C", "InvoiceId-C-005-C"}
    rule = _model()["ModelRules"]["InvoiceId-C-003-C"]["ValidationCriteria"]
    assert rule["Requirement"]["CheckFunction"] == "OR"
    assert {item["ModelRuleId"] for item in rule["Requirement"]["Items"]} == either
    taken = "InvoiceId-C-003-C" not in failed and len(either & set(failed)) == 1
    return {rule: text for rule, text in failed.items() if not (taken and rule in either)}


@pytest.mark.long
def test_the_reference_validator_finds_no_failed_rule(tmp_path: Path, charges: Path) -> None:
    _installed()
    export = ["focus", "export", str(FLEET), "--month", "2026-10"]
    given = [*export, "--charges", str(charges)]
    for arguments, form in ((export, "csv"), (export, "parquet"), (given, "parquet")):
        path = tmp_path / f"focus.{form}"
        assert main([*arguments, "--output", form, "--output-file", str(path)]) == 0
        failed, passed = validate(path)
        assert unjustified(failed) == {}, (arguments, form)
        assert passed >= 290


@pytest.mark.long
def test_the_validator_does_find_what_is_wrong(tmp_path: Path) -> None:
    """Else the test above could not fail."""
    _installed()
    path = tmp_path / "focus.parquet"
    export = ["focus", "export", str(FLEET), "--month", "2026-10", "--output", "parquet", "--output-file", str(path)]
    assert main(export) == 0
    table = parquet.read_table(path)
    place = table.schema.get_field_index("BillingCurrency")
    wrong = pa.array(["euros", *table["BillingCurrency"].to_pylist()[1:]])
    broken = tmp_path / "broken.parquet"
    parquet.write_table(table.set_column(place, "BillingCurrency", wrong), broken)
    failed, _ = validate(broken)
    assert "BillingCurrency-C-003-M" in unjustified(failed)


def test_peers_say_which_python_is_missing_and_download_none(tmp_path: Path) -> None:
    """tools/peers in a tree of its own whose list asks for a Python that nobody has."""
    (tmp_path / "tools").mkdir()
    (tmp_path / "requirements").mkdir()
    shutil.copy(ROOT / "tools/peers", tmp_path / "tools/peers")
    (tmp_path / ".venv").symlink_to(ROOT / ".venv")
    (tmp_path / "requirements/peers-x.in").write_text("# (python 3.99)\nthing\n", "utf-8")
    (tmp_path / "requirements/peers-x.txt").write_text("thing==1\n", "utf-8")
    result = subprocess.run(
        ["sh", "tools/peers", "x"], cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False
    )
    assert (result.returncode, result.stderr.strip()) == (69, "tools/peers: needs python3.99, which is not installed")
