"""A cost report as data: rows by group, model and version, whose parts add up to their total exactly."""

from __future__ import annotations

from decimal import Context, Decimal
from functools import lru_cache
from types import MappingProxyType
from typing import TYPE_CHECKING

from trimtab_kernel.canonical import canonical_json
from trimtab_kernel.money import HOURS_PER_MONTH, Figure, Grade, weakest
from trimtab_kernel.records import dataclass, field

if TYPE_CHECKING:
    from collections.abc import Container, Iterable, Mapping

    from trimtab_kernel.canonical import Json

_ZERO = Decimal(0)
_NO_CARBON: Mapping[str, Figure] = MappingProxyType({})
_SUMS = Context(prec=60)
PLACES = 6
"""Amounts of a report are whole millionths of the currency: rounded part by part, then only added."""
PER_1K_PLACES = 12
"""A cost per thousand inferences is small: it keeps this many decimals."""
UPDATES_PER_MONTH = Figure(Decimal(1), Decimal(0), Decimal(2), Grade.MODELLED)
"""How often a device fetches its artifact in a month: assumed, since no manifest says how often versions will change."""

COMPUTE = "compute"
RESERVED = "reserved"
ENERGY = "energy"
DATA = "data"
UPDATES = "updates"
TELEMETRY = "telemetry"
INGESTION = "ingestion"
STORAGE = "storage"
TRAINING = "training"
OFFLOAD = "offload"
SHARED = "shared"
IDLE = "idle"
PARTS = (
    *(COMPUTE, RESERVED, ENERGY, DATA, UPDATES),
    *(TELEMETRY, INGESTION, STORAGE, TRAINING, OFFLOAD, SHARED, IDLE),
)


def total_of(figures: Iterable[Figure], *, complete: bool = True) -> Figure:
    """The sum; its grade is the weakest one, and ``absent`` where something is missing."""
    value = low = high = _ZERO
    worst = Grade.MEASURED
    add = _SUMS.add
    for figure in figures:
        value = add(value, figure.value)
        low = add(low, figure.low)
        high = add(high, figure.high)
        if figure.grade is not worst:
            worst = weakest(worst, figure.grade)
    return Figure(value, low, high, worst if complete else Grade.ABSENT)


class Amounts(dict[str, Figure]):
    """The parts of some devices' costs, by name, with what follows of them: worked out once, however many rows share it.

    Not to be changed.
    """

    __slots__ = ("_text", "carbon", "devices", "inferences", "total")

    def __init__(
        self,
        parts: Mapping[str, Figure],
        devices: Decimal,
        inferences: Figure | None,
        *,
        complete: bool,
        carbon: Mapping[str, Figure] = _NO_CARBON,
    ) -> None:
        super().__init__(parts)
        self.devices = devices
        self.inferences = inferences
        self.carbon = carbon
        self.total = total_of(parts.values(), complete=complete)
        self._text: tuple[str, str, str] | None = None

    @property
    def texts(self) -> tuple[str, str, str]:
        """Canonical JSON of the inferences, of the parts, and of the carbon with its key ("" where there is none)."""
        if self._text is None:
            counted = "null" if self.inferences is None else _figure_text(self.inferences)
            parts = ",".join(f'"{part}":{_figure_text(self[part])}' for part in sorted(self))
            carbon = f'"carbon":{canonical_json(_carbon_json(self.carbon)).decode()},' if self.carbon else ""
            self._text = (counted, f"{{{parts}}}", carbon)
        return self._text


@dataclass(frozen=True, slots=True)
class Ceiling:
    """Most that a policy lets a thousand inferences cost, in the currency of the row."""

    policy: str
    amount: Decimal

    def share(self, per_1k: Figure) -> Decimal:
        """The estimate as a share of the ceiling, 1 being all of it. Infinite for a ceiling of 0."""
        return per_1k.value / self.amount if self.amount else Decimal("Infinity")


@dataclass(frozen=True, slots=True)
class Row:
    """One version of one model on one group, for a month of 730 hours.

    ``devices`` run it (a share of a group may be a fraction). ``parts`` are in ``currency``; a part that cannot be
    known is left out of them and named in ``absent`` with the reason. ``per_1k`` is the marginal cost: what a thousand
    more inferences cost in compute, energy and data, so without what is reserved and without updates; ``ceiling`` is
    what the deployment's policy allows for that. ``update_bytes`` is what it takes to bring the version to all these
    devices once. ``carbon`` is in grams of CO2e by part, where the price book knows the grid's intensity.
    """

    group: str
    model: str
    version: str
    kind: str
    namespace: str
    name: str
    tier: str
    devices: Decimal
    inferences: Figure | None
    currency: str
    price_book: str
    parts: Mapping[str, Figure]
    absent: Mapping[str, str]
    per_1k: Figure | None
    update_bytes: int
    ceiling: Ceiling | None = None
    tags: tuple[tuple[str, str], ...] = ()
    carbon: Mapping[str, Figure] = field(default_factory=lambda: _NO_CARBON)
    total: Figure = field(init=False, repr=False, compare=False)
    """The sum of the parts."""

    def __post_init__(self) -> None:
        parts = self.parts
        total = parts.total if isinstance(parts, Amounts) else total_of(parts.values(), complete=not self.absent)
        object.__setattr__(self, "total", total)

    @property
    def uses_more_than_reserved(self) -> bool:
        """Whether the estimated use is at least what the deployment's limits reserve: then only use is paid for."""
        if COMPUTE not in self.parts or RESERVED not in self.parts:
            return False
        # No devices, or devices for nothing, cost neither the one nor the other, and say nothing about use.
        return bool(self.parts[COMPUTE].value) and not self.parts[RESERVED].value

    def to_json(self) -> dict[str, Json]:
        """Amounts as exact decimal text."""
        return {
            "group": self.group,
            "model": self.model,
            "version": self.version,
            "tier": self.tier,
            "deployment": {"kind": self.kind, "namespace": self.namespace, "name": self.name},
            "devices": decimal_text(self.devices),
            "inferences": None if self.inferences is None else figure_json(self.inferences),
            "currency": self.currency,
            "priceBook": self.price_book,
            **_amount_json(self.total),
            "parts": {part: figure_json(self.parts[part]) for part in PARTS if part in self.parts},
            "absent": dict(self.absent),
            "per1kInferences": None if self.per_1k is None else figure_json(self.per_1k),
            "ceiling": None
            if self.ceiling is None
            else {"policy": self.ceiling.policy, "per1kInferences": decimal_text(self.ceiling.amount)},
            "updateBytes": self.update_bytes,
            "tags": dict(self.tags),
            **({"carbon": _carbon_json(self.carbon)} if self.carbon else {}),
        }

    def to_text(self) -> str:
        """The canonical JSON of :meth:`to_json`."""
        parts, total = self.parts, self.total
        if not isinstance(parts, Amounts):
            return canonical_json(self.to_json()).decode()
        counted, listed, carbon = parts.texts
        return (
            f'{{"absent":{_mapping_text(self.absent)},{carbon}"ceiling":{_ceiling_text(self.ceiling)}'
            f',"currency":{_quoted(self.currency)},"deployment":{{"kind":{_quoted(self.kind)}'
            f',"name":{_quoted(self.name)},"namespace":{_quoted(self.namespace)}}}'
            f',"devices":"{decimal_text(self.devices)}","grade":"{total.grade.value}","group":{_quoted(self.group)}'
            f',"high":"{decimal_text(total.high)}","inferences":{counted},"low":"{decimal_text(total.low)}"'
            f',"model":{_quoted(self.model)},"parts":{listed}'
            f',"per1kInferences":{"null" if self.per_1k is None else _known_figure_text(self.per_1k)}'
            f',"priceBook":{_quoted(self.price_book)},"tags":{_mapping_text(dict(self.tags))}'
            f',"tier":{_quoted(self.tier)},"total":"{decimal_text(total.value)}","updateBytes":{self.update_bytes}'
            f',"version":{_quoted(self.version)}}}'
        )


@dataclass(frozen=True, slots=True)
class Total:
    """All rows of one currency. ``incomplete`` of its rows have a part that is not known."""

    currency: str
    figure: Figure
    parts: Mapping[str, Figure]
    incomplete: int
    carbon: Mapping[str, Figure] = field(default_factory=lambda: _NO_CARBON)

    def to_json(self) -> dict[str, Json]:
        """Amounts as exact decimal text."""
        return {
            "currency": self.currency,
            **_amount_json(self.figure),
            "parts": {part: figure_json(self.parts[part]) for part in PARTS if part in self.parts},
            "incompleteRows": self.incomplete,
            **({"carbon": _carbon_json(self.carbon)} if self.carbon else {}),
        }


@dataclass(frozen=True, slots=True)
class CostReport:
    """Costs of a month, rows sorted by group, model and version."""

    rows: tuple[Row, ...]

    @property
    def totals(self) -> tuple[Total, ...]:
        """One total for each currency, by its code: different currencies are never added."""
        found = []
        for currency in sorted({row.currency for row in self.rows}):
            rows = [row for row in self.rows if row.currency == currency]
            incomplete = sum(1 for row in rows if row.absent)
            missing = {part for row in rows if row.absent for part in row.absent}
            parts = _sums((row.parts for row in rows), missing)
            # A row without carbon beside rows that have some makes the sum a part of the truth, and it says so.
            blind = any(not row.carbon for row in rows)
            carbon = _sums((row.carbon for row in rows if row.carbon), set(PARTS) if blind else missing)
            whole = total_of(parts.values(), complete=not incomplete)
            found.append(Total(currency, whole, parts, incomplete, carbon))
        return tuple(found)

    def of(self, group: str) -> CostReport:
        """The rows of one group."""
        return CostReport(tuple(row for row in self.rows if row.group == group))

    def to_json(self) -> dict[str, Json]:
        """``{period, rows, totals}``; the period also states what is assumed of it."""
        return {
            "period": _period_json(),
            "rows": [row.to_json() for row in self.rows],
            "totals": [total.to_json() for total in self.totals],
        }

    def to_bytes(self) -> bytes:
        """The canonical JSON of :meth:`to_json`, put together of texts that many reports share."""
        rows = ",".join([row.to_text() for row in self.rows])
        totals = canonical_json([total.to_json() for total in self.totals]).decode()
        return f'{{"period":{canonical_json(_period_json()).decode()},"rows":[{rows}],"totals":{totals}}}'.encode()


def _sums(rows: Iterable[Mapping[str, Figure]], missing: Container[str]) -> dict[str, Figure]:
    """The sum of each part; one that is ``missing`` from a row is marked absent."""
    figures: dict[str, list[Figure]] = {}
    for row in rows:
        for part, figure in row.items():
            figures.setdefault(part, []).append(figure)
    return {part: total_of(figures[part], complete=part not in missing) for part in PARTS if part in figures}


def _carbon_json(carbon: Mapping[str, Figure]) -> dict[str, Json]:
    """Grams of CO2e: the sum, and what of it belongs to which part."""
    return {
        "unit": "gCO2e",
        **_amount_json(total_of(carbon.values())),
        "parts": {part: figure_json(carbon[part]) for part in PARTS if part in carbon},
    }


def _period_json() -> dict[str, Json]:
    return {"name": "month", "hours": HOURS_PER_MONTH, "updatesPerDevice": figure_json(UPDATES_PER_MONTH)}


@lru_cache(maxsize=4096)
def _quoted(text: str) -> str:
    return canonical_json(text).decode()


def _mapping_text(items: Mapping[str, str]) -> str:
    if not items:
        return "{}"
    return "{" + ",".join([f"{_quoted(key)}:{_quoted(items[key])}" for key in sorted(items)]) + "}"


def _ceiling_text(ceiling: Ceiling | None) -> str:
    if ceiling is None:
        return "null"
    return f'{{"per1kInferences":"{decimal_text(ceiling.amount)}","policy":{_quoted(ceiling.policy)}}}'


def _figure_text(figure: Figure) -> str:
    return (
        f'{{"grade":"{figure.grade.value}","high":"{decimal_text(figure.high)}","low":"{decimal_text(figure.low)}"'
        f',"value":"{decimal_text(figure.value)}"}}'
    )


_known_figure_text = lru_cache(maxsize=4096)(_figure_text)


def decimal_text(value: Decimal) -> str:
    """Exact, without an exponent, without zeros at the end."""
    text = str(value)
    if "E" in text:
        text = f"{value:f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def _amount_json(figure: Figure) -> dict[str, Json]:
    return {
        "total": decimal_text(figure.value),
        "low": decimal_text(figure.low),
        "high": decimal_text(figure.high),
        "grade": figure.grade.value,
    }


def figure_json(figure: Figure) -> dict[str, Json]:
    """Value, low, high and grade."""
    return {
        "value": decimal_text(figure.value),
        "low": decimal_text(figure.low),
        "high": decimal_text(figure.high),
        "grade": figure.grade.value,
    }
