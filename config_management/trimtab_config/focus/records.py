"""A charge as a row of FOCUS. Pure, but for the category of a service, which stays what it was the first time.

What a charge does not know is null, never made up. Where the specification forbids null there is a plain rule:

- A charge is priced as a whole: one unit (minus one for a negative amount), at its absolute amount, so that unit price
  times quantity is the cost exactly. What was consumed stands in ConsumedQuantity with its own unit.
- List and contracted cost are what is billed, since a charge knows no other price.
- The effective cost of a purchase, a tax or a credit is the charge's own.
- Allocation: AllocatedMethodId says by what a charge came to its place in the fleet (its tags, an estimate, a
  measurement), AllocatedResourceId names the place, AllocatedTags hold its dimensions.
"""

from __future__ import annotations

import json
from datetime import UTC, date, datetime, time
from decimal import Decimal
from typing import TYPE_CHECKING

from trimtab_config.bills.charges import DIMENSIONS, Category, Charge, Standing
from trimtab_config.focus.columns import ALL, CATEGORIES, SUBCATEGORIES

if TYPE_CHECKING:
    from collections.abc import Mapping

_ONE = Decimal(1)
_FREQUENCIES = {Category.USAGE: "Usage-Based", Category.PURCHASE: "One-Time"}
_METHODS = {"estimate": "trimtab-estimate", "allocation": "trimtab-allocation"}
_BY_TAGS = "trimtab-tags"
_MOST_TEXT = 1000


class FocusRows:
    """Turns charges into rows; one service keeps one category, as FOCUS demands of a file."""

    def __init__(self) -> None:
        self._categories: dict[str, str] = {}

    def row(self, charge: Charge) -> tuple[object, ...]:
        """The values of one charge in the order of the columns; None for null."""
        found = self._values(charge)
        return tuple(found.get(name) for name in ALL)

    def _values(self, charge: Charge) -> Mapping[str, object]:
        usage = charge.category is Category.USAGE
        priced = charge.category in {Category.USAGE, Category.PURCHASE}
        price = abs(charge.amount) if priced else None
        quantity = (_ONE if charge.amount >= 0 else -_ONE) if priced else None
        service = _clean(charge.service) or charge.category.value
        category = self._category(service, charge.service_category)
        provider = _clean(charge.provider) or "Unknown"
        account = _clean(charge.account) or "unknown"
        region = _clean(charge.region) or None
        resource = _clean(charge.resource) or None
        place = dict(zip(DIMENSIONS, charge.place.values(), strict=True))
        allocated = {name: value for name, value in place.items() if value}
        settled = charge.standing is Standing.ATTRIBUTED
        named = [place[name] for name in ("group", "model", "version") if place[name]]
        sku = f"{provider}/{service}/{charge.kind or charge.category.value}" if priced else None
        start, end = charge.start, max(charge.end, charge.start)
        method = _METHODS.get(charge.source, _BY_TAGS)
        return {
            "BilledCost": charge.amount,
            "BillingAccountId": account,
            "BillingAccountName": _clean(charge.account_name) or account,
            "BillingAccountType": "Account",
            "BillingCurrency": charge.currency,
            "BillingPeriodEnd": _midnight(charge.billing_end),
            "BillingPeriodStart": _midnight(charge.billing_start),
            "ChargeCategory": charge.category.value,
            "ChargeClass": "Correction" if charge.correction else None,
            "ChargeDescription": _clean(charge.description) or f"{charge.category.value} of {service}",
            "ChargeFrequency": _FREQUENCIES.get(charge.category, "One-Time"),
            "ChargePeriodEnd": end,
            "ChargePeriodStart": start,
            "ConsumedQuantity": (_ONE if charge.quantity is None else charge.quantity) if usage else None,
            "ConsumedUnit": (_clean(charge.unit) or "Units") if usage else None,
            "ContractedCost": charge.amount,
            "ContractedUnitPrice": price,
            "EffectiveCost": charge.effective,
            "InvoiceId": _clean(charge.invoice) or None,
            "InvoiceIssuerName": _clean(charge.issuer) or provider,
            "ListCost": charge.amount,
            "ListUnitPrice": price,
            "PricingCategory": "Standard" if priced else None,
            "PricingCurrency": charge.currency,
            "PricingCurrencyContractedUnitPrice": price,
            "PricingCurrencyEffectiveCost": charge.effective,
            "PricingCurrencyListUnitPrice": price,
            "PricingQuantity": quantity,
            "PricingUnit": "Units" if priced else None,
            "ProviderName": provider,
            "PublisherName": provider,
            "RegionId": region,
            "RegionName": region,
            "ResourceId": resource,
            "ResourceType": None if resource is None else service,
            "ServiceCategory": category,
            "ServiceName": service,
            "ServiceSubcategory": SUBCATEGORIES.get(category, f"Other ({category})"),
            "SkuId": sku,
            "SkuMeter": None if sku is None else charge.kind or charge.category.value,
            "SkuPriceId": None if sku is None else f"{sku}/{region or 'any'}",
            "SubAccountId": place["businessUnit"] or None,
            "SubAccountName": place["businessUnit"] or None,
            "SubAccountType": "Business unit" if place["businessUnit"] else None,
            "Tags": pairs_text(dict(charge.tags)),
            "AllocatedMethodId": method if settled else None,
            "AllocatedMethodDetails": pairs_text({"source": charge.source, "grade": charge.grade}) if settled else None,
            "AllocatedResourceId": "/".join(named) or None if settled else None,
            "AllocatedResourceName": " ".join(named) or None if settled else None,
            "AllocatedTags": pairs_text(allocated) if settled else None,
            "HostProviderName": provider,
            "ServiceProviderName": provider,
            "x_BusinessUnit": place["businessUnit"] or None,
            "x_CostHigh": charge.high,
            "x_CostLow": charge.low,
            "x_Grade": charge.grade,
            "x_Standing": charge.standing.value,
        }

    def _category(self, service: str, category: str) -> str:
        return self._categories.setdefault(service, category if category in CATEGORIES else "Other")


def pairs_text(pairs: Mapping[str, str]) -> str | None:
    """FOCUS's key-value format: one JSON object with keys in order; None for no pair."""
    return json.dumps(dict(pairs), ensure_ascii=False, sort_keys=True) if pairs else None


def _midnight(day: date) -> datetime:
    return datetime.combine(day, time(), UTC)


def _clean(text: str) -> str:
    """FOCUS's string handling: no white space at the ends."""
    return text.strip()[:_MOST_TEXT].strip()
