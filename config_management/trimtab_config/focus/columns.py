"""The columns of a FOCUS file: all of version 1.2, those that 1.3 adds for allocations, and ours (``x_``).

Source: FOCUS specification 1.2 and 1.3 (focus.finops.org/focus-specification), columns by their ids.
"""

from __future__ import annotations

from enum import Enum


class ColumnKind(Enum):
    """What a column holds."""

    TEXT = "text"
    DECIMAL = "decimal"
    TIME = "time"
    PAIRS = "pairs"  # one JSON object: FOCUS's key-value format


_DECIMALS = (
    "BilledCost", "CommitmentDiscountQuantity", "ConsumedQuantity", "ContractedCost", "ContractedUnitPrice",
    "EffectiveCost", "ListCost", "ListUnitPrice", "PricingCurrencyContractedUnitPrice", "PricingCurrencyEffectiveCost",
    "PricingCurrencyListUnitPrice", "PricingQuantity",
)  # fmt: skip
_TIMES = ("BillingPeriodEnd", "BillingPeriodStart", "ChargePeriodEnd", "ChargePeriodStart")
_PAIRS = ("SkuPriceDetails", "Tags", "AllocatedTags", "AllocatedMethodDetails")
V1_2 = (
    "AvailabilityZone", "BilledCost", "BillingAccountId", "BillingAccountName", "BillingAccountType", "BillingCurrency",
    "BillingPeriodEnd", "BillingPeriodStart", "CapacityReservationId", "CapacityReservationStatus", "ChargeCategory",
    "ChargeClass", "ChargeDescription", "ChargeFrequency", "ChargePeriodEnd", "ChargePeriodStart",
    "CommitmentDiscountCategory", "CommitmentDiscountId", "CommitmentDiscountName", "CommitmentDiscountQuantity",
    "CommitmentDiscountStatus", "CommitmentDiscountType", "CommitmentDiscountUnit", "ConsumedQuantity", "ConsumedUnit",
    "ContractedCost", "ContractedUnitPrice", "EffectiveCost", "InvoiceId", "InvoiceIssuerName", "ListCost",
    "ListUnitPrice", "PricingCategory", "PricingCurrency", "PricingCurrencyContractedUnitPrice",
    "PricingCurrencyEffectiveCost", "PricingCurrencyListUnitPrice", "PricingQuantity", "PricingUnit", "ProviderName",
    "PublisherName", "RegionId", "RegionName", "ResourceId", "ResourceName", "ResourceType", "ServiceCategory",
    "ServiceName", "ServiceSubcategory", "SkuId", "SkuMeter", "SkuPriceDetails", "SkuPriceId", "SubAccountId",
    "SubAccountName", "SubAccountType", "Tags",
)  # fmt: skip
ADDED_1_3 = (
    "AllocatedMethodDetails", "AllocatedMethodId", "AllocatedResourceId", "AllocatedResourceName", "AllocatedTags",
    "ContractApplied", "HostProviderName", "ServiceProviderName",
)  # fmt: skip
OURS = ("x_BusinessUnit", "x_CostHigh", "x_CostLow", "x_Grade", "x_Standing")
ALL = (*V1_2, *ADDED_1_3, *OURS)
"""Every column, in the order of a file."""


def kind_of(name: str) -> ColumnKind:
    """What a column holds."""
    if name in _DECIMALS or name in {"x_CostHigh", "x_CostLow"}:
        return ColumnKind.DECIMAL
    if name in _TIMES:
        return ColumnKind.TIME
    return ColumnKind.PAIRS if name in _PAIRS else ColumnKind.TEXT


SUBCATEGORIES = {
    "AI and Machine Learning": "Machine Learning",
    "Compute": "Other (Compute)",
    "Internet of Things": "IoT Platforms",
    "Networking": "Network Connectivity",
}
"""The subcategory of a service that says none, for categories where we know better than "Other"."""
CATEGORIES = (
    "AI and Machine Learning", "Analytics", "Business Applications", "Compute", "Databases", "Developer Tools",
    "Identity", "Integration", "Internet of Things", "Management and Governance", "Media", "Migration", "Mobile",
    "Multicloud", "Networking", "Security", "Storage", "Web", "Other",
)  # fmt: skip
"""The values of ServiceCategory."""
