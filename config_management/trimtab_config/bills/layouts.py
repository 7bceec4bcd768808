"""What the rows of each kind of bill mean: AWS Cost and Usage Reports, FOCUS exports, Azure cost exports.

Published layouts (read 2026-11):

- AWS CUR 2.0: docs.aws.amazon.com/cur/latest/userguide/table-dictionary-cur2.html and its pages on line items, bills,
  resource tags; the legacy report: Lineitem-columns.html in the same guide. Legacy CSV writes ``lineItem/UnblendedCost``,
  legacy Parquet and CUR 2.0 ``line_item_unblended_cost``.
- FOCUS 1.0 to 1.2: focus.finops.org, as AWS Data Exports, Azure and others deliver it.
- Azure: learn.microsoft.com/azure/cost-management-billing/dataset-schema/cost-usage-details-mca (also -ea, -mca-partner),
  actual and amortized exports alike; automate/understand-usage-details-fields names the older spellings.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, timedelta
from decimal import Decimal
from enum import StrEnum
from typing import TYPE_CHECKING

from trimtab_config.bills.cells import CellError, currency, moment, month_of, number
from trimtab_config.bills.charges import EXACT, Category, Charge
from trimtab_config.bills.columns import Bound, Columns

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

_ZERO = Decimal(0)


class Kind(StrEnum):
    """Whose bill it is."""

    AWS_CUR = "aws-cur"
    FOCUS = "focus"
    AZURE = "azure"
    OPENCOST = "opencost"


@dataclass(frozen=True, slots=True)
class _Own:
    """What a row says in a way that is its provider's own. ``billing`` is the period: first day, and the day after its last."""

    billing: tuple[date, date]
    start: datetime
    end: datetime
    amount: Decimal
    effective: Decimal
    category: Category
    correction: bool
    kind: str
    issuer: str
    provider: str


@dataclass(frozen=True, slots=True)
class Layout:
    """The columns of a kind of bill, and what a row of them is: ``own`` reads what differs, the rest is called alike."""

    kind: Kind
    columns: Columns
    own: Callable[[Bound], _Own]

    def charge(self, row: Bound) -> Charge:
        """The charge of the row that is set. Raises InputError (F703) for a refused cell."""
        own = self.own(row)
        first, after = own.billing
        return Charge(
            source=self.kind,
            billing_start=first,
            billing_end=after,
            start=own.start,
            end=own.end,
            currency=row.read("currency", currency),
            amount=own.amount,
            effective=own.effective,
            category=own.category,
            correction=own.correction,
            kind=own.kind,
            account=row.text("account") or row.text("payer"),
            account_name=row.text("account_name") or row.text("payer_name"),
            issuer=own.issuer,
            provider=own.provider,
            service=row.text("service"),
            service_category=row.text("service_category"),
            region=row.text("region"),
            resource=row.text("resource"),
            description=row.text("description"),
            quantity=row.read("quantity", number) if row.text("quantity") else None,
            unit=row.text("unit"),
            tags=row.tags(),
            invoice=row.text("invoice"),
        )


# ---------------------------------------------------------------- AWS

_AWS = Columns(
    {
        "amount": ("line_item_unblended_cost",),
        "currency": ("line_item_currency_code",),
        "start": ("line_item_usage_start_date",),
        "end": ("line_item_usage_end_date",),
        "kind": ("line_item_line_item_type",),
        "billing_start": ("bill_billing_period_start_date",),
        "billing_end": ("bill_billing_period_end_date",),
        "payer": ("bill_payer_account_id",),
        "account": ("line_item_usage_account_id",),
        "account_name": ("line_item_usage_account_name",),
        "bill_type": ("bill_bill_type",),
        "invoice": ("bill_invoice_id",),
        "service": ("line_item_product_code",),
        "region": ("product_region_code", "product_region", "line_item_availability_zone"),
        "resource": ("line_item_resource_id",),
        "description": ("line_item_line_item_description",),
        "quantity": ("line_item_usage_amount",),
        "unit": ("pricing_unit",),
        "savings_plan": ("savings_plan_savings_plan_effective_cost",),
        "savings_plan_total": ("savings_plan_total_commitment_to_date",),
        "savings_plan_used": ("savings_plan_used_commitment",),
        "reservation": ("reservation_effective_cost",),
        "reservation_arn": ("reservation_reservation_a_r_n", "reservation_reservation_arn"),
        "unused_upfront": ("reservation_unused_amortized_upfront_fee_for_billing_period",),
        "unused_recurring": ("reservation_unused_recurring_fee",),
        "tags": ("resource_tags",),
    },
    ("amount", "currency", "start", "kind", "billing_start"),
)
_AWS_CATEGORIES = {
    "Usage": Category.USAGE,
    "DiscountedUsage": Category.USAGE,
    "SavingsPlanCoveredUsage": Category.USAGE,
    "Fee": Category.PURCHASE,
    "RIFee": Category.PURCHASE,
    "SavingsPlanRecurringFee": Category.PURCHASE,
    "SavingsPlanUpfrontFee": Category.PURCHASE,
    "Tax": Category.TAX,
    "Credit": Category.CREDIT,
}  # whatever else there is (Refund, SavingsPlanNegation, the discounts, what comes next year) adjusts


def _aws(row: Bound) -> _Own:
    kind = row.text("kind")
    amount = row.read("amount", number)
    start = row.read("start", moment)
    return _Own(
        billing=month_of(row.read("billing_start", moment)),
        start=start,
        end=row.read("end", moment) if row.text("end") else start,
        amount=amount,
        effective=_aws_effective(row, kind, amount),
        category=_AWS_CATEGORIES.get(kind, Category.ADJUSTMENT),
        correction=kind == "Refund" or row.text("bill_type") == "Refund",
        kind=kind,
        issuer="AWS",  # whichever of its companies: marketplace sellers are paid through it as well
        provider="AWS",
    )


def _aws_effective(row: Bound, kind: str, amount: Decimal) -> Decimal:
    """The line's cost with commitments spread over what they cover, by type of line as AWS's amortized cost has it.

    Covered use costs what the plan or the reservation says; their fees keep what nobody used; negations and what was
    paid in advance are in the former already. A file without these columns has the billed amount.
    """
    if kind == "SavingsPlanCoveredUsage" and row.has("savings_plan"):
        return _or_zero(row, "savings_plan")
    if kind == "DiscountedUsage" and row.has("reservation"):
        return _or_zero(row, "reservation")
    if kind == "SavingsPlanRecurringFee" and row.has("savings_plan_total") and row.has("savings_plan_used"):
        return EXACT.subtract(_or_zero(row, "savings_plan_total"), _or_zero(row, "savings_plan_used"))
    if kind == "RIFee" and row.has("unused_upfront") and row.has("unused_recurring"):
        return EXACT.add(_or_zero(row, "unused_upfront"), _or_zero(row, "unused_recurring"))
    if kind in {"SavingsPlanNegation", "SavingsPlanUpfrontFee"} and row.has("savings_plan"):
        return _ZERO
    if kind == "Fee" and row.text("reservation_arn"):
        return _ZERO
    return amount


# ---------------------------------------------------------------- FOCUS

_FOCUS = Columns(
    {
        "amount": ("BilledCost",),
        "effective": ("EffectiveCost",),
        "currency": ("BillingCurrency",),
        "start": ("ChargePeriodStart",),
        "end": ("ChargePeriodEnd",),
        "category": ("ChargeCategory",),
        "class": ("ChargeClass",),
        "billing_start": ("BillingPeriodStart",),
        "billing_end": ("BillingPeriodEnd",),
        "account": ("SubAccountId", "BillingAccountId"),
        "account_name": ("SubAccountName", "BillingAccountName"),
        "payer": ("BillingAccountId",),
        "payer_name": ("BillingAccountName",),
        "invoice": ("InvoiceId",),
        "issuer": ("InvoiceIssuerName", "InvoiceIssuer"),
        "provider": ("ServiceProviderName", "ProviderName", "Provider"),
        "service": ("ServiceName",),
        "service_category": ("ServiceCategory",),
        "region": ("RegionId", "Region"),
        "resource": ("ResourceId",),
        "description": ("ChargeDescription",),
        "quantity": ("PricingQuantity", "ConsumedQuantity"),
        "unit": ("PricingUnit", "ConsumedUnit"),
        "tags": ("Tags",),
    },
    ("amount", "currency", "start", "end", "category", "billing_start", "billing_end"),
    nothing=frozenset({"NULL", "null"}),
)


def _focus(row: Bound) -> _Own:
    amount = row.read("amount", number)
    return _Own(
        billing=(row.read("billing_start", moment).date(), row.read("billing_end", moment).date()),
        start=row.read("start", moment),
        end=row.read("end", moment),
        amount=amount,
        effective=row.read("effective", number) if row.text("effective") else amount,
        category=row.read("category", _category),
        correction=row.text("class") == "Correction",
        kind=row.text("category"),
        issuer=row.text("issuer"),
        provider=row.text("provider"),
    )


def _category(text: str) -> Category:
    try:
        return Category(text)
    except ValueError:
        raise CellError(f"one of {', '.join(Category)}") from None


# ---------------------------------------------------------------- Azure

_AZURE = Columns(
    {
        "amount": ("costInBillingCurrency", "cost", "preTaxCost"),
        "currency": ("billingCurrency", "billingCurrencyCode", "currency"),
        "start": ("date", "usageDate", "usageDateTime"),
        "kind": ("chargeType",),
        "billing_start": ("billingPeriodStartDate",),
        "billing_end": ("billingPeriodEndDate",),
        "payer": ("billingAccountId", "billingProfileId"),
        "account": ("subscriptionId", "SubscriptionGuid", "billingAccountId"),
        "account_name": ("subscriptionName", "billingAccountName"),
        "service": ("meterCategory", "consumedService", "serviceName"),
        "service_category": ("serviceFamily",),
        "invoice": ("invoiceId", "invoiceNumber"),
        "region": ("resourceLocation", "location", "meterRegion"),
        "resource": ("ResourceId", "instanceName", "instanceId"),
        "description": ("productName", "product", "meterName"),
        "quantity": ("quantity", "usageQuantity"),
        "unit": ("unitOfMeasure",),
        "tags": ("tags",),
    },
    ("amount", "currency", "start"),
)
_AZURE_CATEGORIES = {
    "": Category.USAGE,  # exports of pay-as-you-go accounts have no such column
    "Usage": Category.USAGE,
    "UnusedReservation": Category.USAGE,
    "UnusedSavingsPlan": Category.USAGE,
    "Purchase": Category.PURCHASE,
    "Tax": Category.TAX,
    "Credit": Category.CREDIT,
}
_DAY = timedelta(days=1)


def _azure(row: Bound) -> _Own:
    """One row is one day. The amount of an amortized export is the amortized cost: effective and billed are one there."""
    kind = row.text("kind")
    amount = row.read("amount", number)
    start = row.read("start", moment)
    return _Own(
        billing=_azure_period(row, start),
        start=start,
        end=start + _DAY,
        amount=amount,
        effective=amount,
        category=_AZURE_CATEGORIES.get(kind, Category.ADJUSTMENT),
        correction=kind == "Refund",
        kind=kind,
        issuer="Microsoft",
        provider="Microsoft",
    )


def _azure_period(row: Bound, start: datetime) -> tuple[date, date]:
    """The billing period, which need not be a calendar month; its last day belongs to it.

    Exports of pay-as-you-go accounts do not say it, nor do some rows of others: then it is the month of the day.
    """
    begin = row.read("billing_start", moment) if row.text("billing_start") else start
    if row.text("billing_start") and row.text("billing_end"):
        return begin.date(), row.read("billing_end", _last_day)
    return month_of(begin)


def _last_day(text: str) -> date:
    return moment(text).date() + _DAY


def period_key(kind: Kind, row: Bound) -> tuple[str, date]:
    """Whose bill of which period a row belongs to: what one delivery holds and another may hold again."""
    if kind is Kind.AZURE:
        first, _ = _azure_period(row, row.read("start", moment))
    elif kind is Kind.AWS_CUR:
        first, _ = month_of(row.read("billing_start", moment))
    else:
        first = row.read("billing_start", moment).date()
    return row.text("payer") or row.text("account"), first


def _or_zero(row: Bound, field: str) -> Decimal:
    return row.read(field, number) if row.text(field) else _ZERO


LAYOUTS = {
    Kind.AWS_CUR: Layout(Kind.AWS_CUR, _AWS, _aws),
    Kind.FOCUS: Layout(Kind.FOCUS, _FOCUS, _focus),
    Kind.AZURE: Layout(Kind.AZURE, _AZURE, _azure),
}
