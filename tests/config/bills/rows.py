"""Rows of bills as providers deliver them, for tests to write."""

from __future__ import annotations

import csv
import io
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

CUR_LEGACY = (
    "identity/LineItemId", "bill/BillType", "bill/PayerAccountId", "bill/BillingPeriodStartDate",
    "bill/BillingPeriodEndDate", "lineItem/UsageAccountId", "lineItem/LineItemType", "lineItem/UsageStartDate",
    "lineItem/UsageEndDate", "lineItem/ProductCode", "lineItem/ResourceId", "lineItem/UsageAmount",
    "lineItem/CurrencyCode", "lineItem/UnblendedCost", "lineItem/LineItemDescription", "product/region",
    "reservation/EffectiveCost", "savingsPlan/SavingsPlanEffectiveCost", "resourceTags/user:model",
    "resourceTags/user:group", "resourceTags/user:BusinessUnit",
)  # fmt: skip


def cur(number: int, cost: str, kind: str = "Usage", **more: str) -> dict[str, str]:
    """One line of a legacy CUR CSV."""
    return {
        "identity/LineItemId": f"line-{number}",
        "bill/BillType": "Anniversary",
        "bill/PayerAccountId": "111122223333",
        "bill/BillingPeriodStartDate": "2026-10-01T00:00:00Z",
        "bill/BillingPeriodEndDate": "2026-11-01T00:00:00Z",
        "lineItem/UsageAccountId": "444455556666",
        "lineItem/LineItemType": kind,
        "lineItem/UsageStartDate": f"2026-10-{1 + number % 28:02}T00:00:00Z",
        "lineItem/UsageEndDate": f"2026-10-{1 + number % 28:02}T01:00:00Z",
        "lineItem/ProductCode": "AmazonEC2",
        "lineItem/UsageAmount": "1",
        "lineItem/CurrencyCode": "USD",
        "lineItem/UnblendedCost": cost,
        "lineItem/LineItemDescription": "one hour",
        "product/region": "eu-central-1",
        **{key.replace("__", "/").replace("_c_", ":"): value for key, value in more.items()},
    }


def csv_text(rows: Iterable[Mapping[str, str]], columns: Iterable[str]) -> str:
    """A CSV with a header."""
    out = io.StringIO()
    writer = csv.DictWriter(out, list(columns), restval="", lineterminator="\r\n")
    writer.writeheader()
    writer.writerows(rows)
    return out.getvalue()
