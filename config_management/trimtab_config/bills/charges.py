"""A charge: one line of a bill, of an estimate or of an allocation, in words that fit all of them.

The words follow FOCUS (https://focus.finops.org, specification 1.2), so that a charge can be exported without guessing.
Amounts are exact decimals with at most ``PLACES`` decimals; what a bill has beyond that is kept by who reads it.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from decimal import ROUND_HALF_EVEN, Context, Decimal
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from datetime import date, datetime

PLACES = 24
"""Decimals of an amount: fifteen significant digits of a ten-thousand-millionth still fit."""
MOST = Decimal(10) ** 14
"""Amounts are smaller than this, whatever their sign: with 24 decimals that is what 38 digits hold."""
EXACT = Context(prec=200, rounding=ROUND_HALF_EVEN)
"""Sums of amounts in this context are exact for more lines than a bill can have."""
_STEP = Decimal(1).scaleb(-PLACES)


class Category(StrEnum):
    """What a charge is, as FOCUS's ChargeCategory has it."""

    USAGE = "Usage"
    PURCHASE = "Purchase"
    TAX = "Tax"
    CREDIT = "Credit"
    ADJUSTMENT = "Adjustment"


class Standing(StrEnum):
    """How a charge stands to the fleet.

    ``attributed``: its tags name what the fleet has. ``untagged``: no tag that matters is set. ``orphaned``: a tag names
    something that is not in the fleet, or no longer. ``unjoined``: nobody asked yet.
    """

    ATTRIBUTED = "attributed"
    UNTAGGED = "untagged"
    ORPHANED = "orphaned"
    UNJOINED = "unjoined"


DIMENSIONS = (
    "group", "model", "version", "project", "app", "team", "businessUnit", "feature", "environment",
)  # fmt: skip
"""What a charge can be attributed to, spelled as in YAML; the order of :class:`Place`."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where in the fleet a charge belongs; "" for what is not known."""

    group: str = ""
    model: str = ""
    version: str = ""
    project: str = ""
    app: str = ""
    team: str = ""
    business_unit: str = ""
    feature: str = ""
    environment: str = ""

    def values(self) -> tuple[str, ...]:
        """In the order of ``DIMENSIONS``."""
        return (
            self.group, self.model, self.version, self.project, self.app, self.team, self.business_unit, self.feature,
            self.environment,
        )  # fmt: skip


NOWHERE = Place()


@dataclass(frozen=True, slots=True)
class Charge:
    """One charge. Times are UTC, ends exclusive; a billing period is given by its first day and the day after its last.

    ``amount`` is what is invoiced, negative for credits and refunds; ``effective`` is the same money with prepaid
    commitments spread over what they cover. ``kind`` is the provider's own word for the charge, ``correction`` whether
    it corrects an earlier period. ``tags`` are the provider's, sorted by key. ``orphan`` names the tag that leads
    nowhere (``model=old``). ``grade`` is that of an estimate or a measurement; a bill's charges are measured. ``low`` and
    ``high`` are the bounds of an amount that is not exact.
    """

    source: str
    billing_start: date
    billing_end: date
    start: datetime
    end: datetime
    currency: str
    amount: Decimal
    effective: Decimal
    category: Category = Category.USAGE
    correction: bool = False
    kind: str = ""
    account: str = ""
    account_name: str = ""
    issuer: str = ""
    provider: str = ""
    service: str = ""
    service_category: str = ""
    region: str = ""
    resource: str = ""
    description: str = ""
    quantity: Decimal | None = None
    unit: str = ""
    tags: tuple[tuple[str, str], ...] = ()
    standing: Standing = Standing.UNJOINED
    orphan: str = ""
    place: Place = NOWHERE
    grade: str = "measured"
    invoice: str = ""
    low: Decimal | None = None
    high: Decimal | None = None

    def joined(self, standing: Standing, place: Place, orphan: str = "") -> Charge:
        """The same charge, and how it stands to the fleet."""
        return replace(self, standing=standing, place=place, orphan=orphan)


def kept(amount: Decimal) -> tuple[Decimal, Decimal]:
    """``amount`` with at most ``PLACES`` decimals, and what that leaves out: together exactly ``amount``."""
    exponent = amount.as_tuple().exponent
    if isinstance(exponent, int) and exponent >= -PLACES:
        return amount, Decimal(0)
    rounded = EXACT.quantize(amount, _STEP)
    return rounded, EXACT.subtract(amount, rounded)
