"""What a bill comes to: totals that add up to the last digit, and what nobody claims. Pure.

However many charges there are, a statement holds a bounded number of lines; what does not fit is added up in one line
that says so, never dropped.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from decimal import Decimal
from typing import TYPE_CHECKING

from trimtab_config.bills.charges import EXACT, Charge, Standing, kept

if TYPE_CHECKING:
    from trimtab_kernel.canonical import Json

MOST_LINES = 20_000
OTHERS = "(others)"
_ZERO = Decimal(0)


@dataclass(slots=True)
class Sum:
    """Charges added up."""

    amount: Decimal = _ZERO
    effective: Decimal = _ZERO
    charges: int = 0

    def add(self, amount: Decimal, effective: Decimal) -> None:
        """One more."""
        self.amount = EXACT.add(self.amount, amount)
        self.effective = EXACT.add(self.effective, effective)
        self.charges += 1

    def to_json(self) -> dict[str, Json]:
        """Amounts as exact decimal text."""
        return {"amount": plain(self.amount), "effective": plain(self.effective), "charges": self.charges}


@dataclass(slots=True)
class CurrencyTotals:
    """All charges of one currency. ``received`` is what the bill says; standings and ``rounding`` add up to it."""

    received: Sum = field(default_factory=Sum)
    rounding: Decimal = _ZERO
    rounded: int = 0
    standings: dict[Standing, Sum] = field(default_factory=dict)
    categories: dict[str, Sum] = field(default_factory=dict)
    periods: dict[str, Sum] = field(default_factory=dict)

    def to_json(self) -> dict[str, Json]:
        """Amounts as exact decimal text."""
        return {
            **self.received.to_json(),
            "rounding": plain(self.rounding),
            "roundedCharges": self.rounded,
            **{standing.value: self.of(standing).to_json() for standing in Standing if standing in self.standings},
            "categories": {name: each.to_json() for name, each in sorted(self.categories.items())},
            "periods": {name: each.to_json() for name, each in sorted(self.periods.items())},
        }

    def of(self, standing: Standing) -> Sum:
        """The charges of one standing."""
        return self.standings.get(standing, Sum())


class Statement:
    """Gathers charges. ``take`` gives each one back with its amounts at ``PLACES`` decimals, as tables hold them."""

    def __init__(self) -> None:
        self.totals: dict[str, CurrencyTotals] = {}
        self.attributed: dict[tuple[str, ...], Sum] = {}
        self.untagged: dict[tuple[str, ...], Sum] = {}
        self.orphaned: dict[tuple[str, ...], Sum] = {}
        self.kinds: Counter[str] = Counter()
        self.negative = 0

    def take(self, charge: Charge) -> Charge:
        """Adds one charge."""
        amount, beyond = kept(charge.amount)
        effective, effective_beyond = kept(charge.effective)
        totals = self.totals.setdefault(charge.currency, CurrencyTotals())
        totals.received.add(charge.amount, charge.effective)
        if beyond or effective_beyond:
            totals.rounding = EXACT.add(totals.rounding, beyond)
            totals.rounded += 1
            from dataclasses import replace

            charge = replace(charge, amount=amount, effective=effective)
        totals.standings.setdefault(charge.standing, Sum()).add(amount, effective)
        totals.categories.setdefault(charge.category.value, Sum()).add(amount, effective)
        totals.periods.setdefault(charge.billing_start.isoformat(), Sum()).add(amount, effective)
        place = charge.place
        match charge.standing:
            case Standing.ATTRIBUTED:
                key = (place.group, place.model, place.version, place.business_unit)
                _line(self.attributed, charge.currency, key).add(amount, effective)
            case Standing.UNTAGGED:
                key = (charge.provider, charge.account, charge.service, charge.category.value)
                _line(self.untagged, charge.currency, key).add(amount, effective)
            case Standing.ORPHANED:
                _line(self.orphaned, charge.currency, (charge.orphan,)).add(amount, effective)
            case _:
                pass
        self.kinds[charge.kind if len(self.kinds) < MOST_LINES else OTHERS] += 1
        self.negative += charge.amount < 0
        return charge

    def to_json(self) -> dict[str, Json]:
        """``{totals, attributed, untagged, orphaned}``, each list dearest first."""
        return {
            "totals": [{"currency": currency, **totals.to_json()} for currency, totals in sorted(self.totals.items())],
            "attributed": _listed(self.attributed, ("group", "model", "version", "businessUnit")),
            "untagged": _listed(self.untagged, ("provider", "account", "service", "category")),
            "orphaned": _listed(self.orphaned, ("tag",)),
            "kinds": dict(sorted(self.kinds.items())),
            "negativeCharges": self.negative,
        }


def dearest(lines: dict[tuple[str, ...], Sum]) -> list[tuple[tuple[str, ...], Sum]]:
    """Lines by currency, then by how much money they move either way."""
    return sorted(lines.items(), key=lambda line: (line[0][0], -abs(line[1].amount), line[0]))


def plain(amount: Decimal) -> str:
    """An exact decimal without an exponent and without zeros at the end."""
    text = f"{amount:f}"
    text = text.rstrip("0").rstrip(".") if "." in text else text
    return "0" if text in {"-0", ""} else text


def _line(lines: dict[tuple[str, ...], Sum], currency: str, key: tuple[str, ...]) -> Sum:
    found = lines.get((currency, *key))
    if found is None:
        if len(lines) >= MOST_LINES:
            key = (OTHERS,) * len(key)
        found = lines.setdefault((currency, *key), Sum())
    return found


def _listed(lines: dict[tuple[str, ...], Sum], names: tuple[str, ...]) -> list[Json]:
    return [
        {"currency": key[0], **dict(zip(names, key[1:], strict=True)), **each.to_json()} for key, each in dearest(lines)
    ]
