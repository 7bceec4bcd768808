"""From sums of a history to a bill whose lines add up to what the devices cost, to the last digit. Pure.

- device = hours of the group's devices that the history knows of x price of a device-hour, shared by weight
- idle = what of these hours no model requested or used; a line of its own, or borne by the models by a stated rule
- energy = joules / 3.6e6 x price of a kWh; CPU time without joules is taken at (peak - idle watts) / cores, then "modelled"
- data = bytes sent and fetched / 10^9 x price of a GB

Each part of a group is rounded once and cut by the largest remainder method, so its lines add up to it exactly. What is
rounded is a fraction of whole numbers, which no engine has a say in.
"""

from __future__ import annotations

import datetime
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from typing import TYPE_CHECKING, Any

from trimtab_config.cost.exchange import exchange
from trimtab_config.cost.idle import IdleRule
from trimtab_config.cost.rates import Rates, choose_book, region_of
from trimtab_config.cost.report import DATA, ENERGY, IDLE, PLACES, decimal_text
from trimtab_config.cost.shares import split
from trimtab_config.cost.slices import Dimension
from trimtab_config.spec.kinds import PowerSource
from trimtab_kernel.money import Grade
from trimtab_kernel.problems import Collector, InputError, Problem

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from trimtab_config.allocation.fleet import GroupFacts
    from trimtab_config.catalog import Catalog
    from trimtab_config.spec.kinds import DeviceGroupSpec, Document
    from trimtab_kernel.canonical import Json

DEVICE = "device"
PARTS = (DEVICE, IDLE, ENERGY, DATA)
PER_1K_PLACES = 12
_HOUR = 3600
_GRADES = (Grade.MEASURED, Grade.MODELLED, Grade.DECLARED, Grade.ABSENT)


@dataclass(frozen=True, slots=True)
class Line:
    """What one model version on one group cost, or with the model "" what of the group's devices nobody used.

    ``parts`` are whole units of 10^-places of the currency. ``per_1k`` is the marginal cost of a thousand inferences
    (CPU time, energy, data), None where there was none. ``overbooked`` device-hours had more asked of them than they have.
    """

    group: str
    model: str
    version: str
    currency: str
    price_book: str
    places: int
    devices: int
    seconds: Decimal
    inferences: int
    cpu_seconds: Decimal
    joules: Decimal
    moved: int
    parts: Mapping[str, int]
    energy_grade: Grade
    overbooked: int
    per_1k: Decimal | None
    region: str
    tags: tuple[tuple[str, str], ...]

    @property
    def total(self) -> Decimal:
        """The sum of the parts."""
        return self.money(sum(self.parts.values()))

    def money(self, units: int) -> Decimal:
        """An amount of the currency, with all its places."""
        return Decimal(units).scaleb(-self.places)

    def to_json(self) -> dict[str, Json]:
        """Amounts as exact decimal text."""
        return {
            "group": self.group,
            "model": self.model,
            "version": self.version,
            "currency": self.currency,
            "priceBook": self.price_book,
            "devices": self.devices,
            "seconds": decimal_text(self.seconds),
            "inferences": self.inferences,
            "cpuSeconds": decimal_text(self.cpu_seconds),
            "joules": decimal_text(self.joules),
            "energyGrade": self.energy_grade.value,
            "bytes": self.moved,
            "overbookedDeviceHours": self.overbooked,
            "total": decimal_text(self.total),
            "parts": {part: decimal_text(self.money(self.parts[part])) for part in PARTS if part in self.parts},
            "per1kInferences": None if self.per_1k is None else decimal_text(self.per_1k),
            "region": self.region,
            "tags": dict(self.tags),
        }


@dataclass(frozen=True, slots=True)
class GroupBill:
    """What a group's devices cost: their hours, the amount, and the hours of devices that told nothing."""

    group: str
    currency: str
    places: int
    devices: int
    hours: int
    units: int
    unreported: int

    def to_json(self) -> dict[str, Json]:
        """``unreportedHours`` are of declared devices and cost nothing here: nobody measured them."""
        return {
            "group": self.group,
            "currency": self.currency,
            "devices": self.devices,
            "deviceHours": self.hours,
            "bill": decimal_text(Decimal(self.units).scaleb(-self.places)),
            "unreportedHours": self.unreported,
        }


@dataclass(frozen=True, slots=True)
class Allocation:
    """The measured cost of a period, lines by group, model and version."""

    begin: datetime.datetime
    end: datetime.datetime
    rule: IdleRule
    lines: tuple[Line, ...]
    groups: tuple[GroupBill, ...]

    def totals(self) -> tuple[tuple[str, Decimal, dict[str, Decimal]], ...]:
        """By currency: the total, and by part."""
        return tuple(
            (currency, total, parts) for (_, currency), (_, total, parts) in self._summed(lambda _: "").items()
        )

    def by(self, dimension: Dimension) -> tuple[tuple[str | None, str, int, Decimal, dict[str, Decimal]], ...]:
        """Value, currency, lines, total and parts: by currency, dearest first; what has no value is None, and last."""
        found = [
            (key, currency, count, total, parts)
            for (key, currency), (count, total, parts) in self._summed(lambda line: _value(line, dimension)).items()
        ]
        return tuple(sorted(found, key=lambda each: (each[1], each[0] is None, -each[3], each[0] or "")))

    def _summed(
        self, key_of: Callable[[Line], str | None]
    ) -> dict[tuple[str | None, str], tuple[int, Decimal, dict[str, Decimal]]]:
        sums: dict[tuple[str | None, str], dict[str, Decimal]] = {}
        counts: dict[tuple[str | None, str], int] = {}
        for line in self.lines:
            key = (key_of(line), line.currency)
            parts = sums.setdefault(key, {})
            counts[key] = counts.get(key, 0) + 1
            for part, units in line.parts.items():
                parts[part] = parts.get(part, Decimal(0)) + line.money(units)
        return {
            key: (counts[key], sum(parts.values(), Decimal(0)), {part: parts[part] for part in PARTS if part in parts})
            for key, parts in sorted(sums.items(), key=lambda each: (each[0][1], each[0][0] is None, each[0][0] or ""))
        }

    def to_json(self) -> dict[str, Json]:
        """``{period, idleRule, rows, groups, totals}``."""
        return {
            "period": {"from": _instant(self.begin), "to": _instant(self.end)},
            "idleRule": self.rule.value,
            "rows": [line.to_json() for line in self.lines],
            "groups": [each.to_json() for each in self.groups],
            "totals": [
                {
                    "currency": currency,
                    "total": decimal_text(total),
                    "parts": {part: decimal_text(amount) for part, amount in parts.items()},
                }
                for currency, total, parts in self.totals()
            ],
        }


def _instant(at: datetime.datetime) -> str:
    return at.replace(tzinfo=None).isoformat(timespec="seconds") + "Z"


def _value(line: Line, dimension: Dimension) -> str | None:
    match dimension:
        case Dimension.GROUP:
            return line.group
        case Dimension.REGION:
            return line.region or None
        case Dimension.MODEL:
            return line.model or None
        case Dimension.VERSION:
            return f"{line.model} {line.version}" if line.model else None
    return dict(line.tags).get(dimension.value)


def allocate(
    catalog: Catalog,
    facts: Mapping[str, GroupFacts],
    workloads: Iterable[Mapping[str, Any]],
    hours: Mapping[str, tuple[int, int]],
    period: tuple[datetime.datetime, datetime.datetime],
    rule: IdleRule,
    *,
    price_book: str | None = None,
    currency: str | None = None,
    places: int = PLACES,
) -> Allocation:
    """The bill of a period from the sums of :mod:`trimtab_config.allocation.expressions`.

    ``hours`` and devices by group. Prices are those of the newest book that holds for the whole period, or of the one
    that is named. Raises InputError: F402 for a missing price, F411 for no prices of that time, F405 for a missing rate.
    """
    problems = Collector()
    own: dict[str, list[Mapping[str, Any]]] = {name: [] for name in hours}
    for row in workloads:
        own[row["device_group"]].append(row)
    lines: list[Line] = []
    bills: list[GroupBill] = []
    for name in sorted(hours):
        try:
            group = _Group(catalog, facts[name], period, price_book, currency, places)
            found, bill = group.lines(own[name], hours[name], rule)
        except InputError as error:
            problems.extend(error.problems)
            continue
        lines += found
        bills.append(bill)
    if problems.sorted():
        raise InputError(*problems.sorted())
    return Allocation(*period, rule, tuple(lines), tuple(bills))


class _Group:
    """The prices of one group, as fractions of the currency that is asked for. Raises InputError (F4)."""

    def __init__(
        self,
        catalog: Catalog,
        facts: GroupFacts,
        period: tuple[datetime.datetime, datetime.datetime],
        price_book: str | None,
        currency: str | None,
        places: int,
    ) -> None:
        self.facts = facts
        self.places = places
        self.period = period
        first, last = period[0].date(), (period[1] - datetime.timedelta(microseconds=1)).date()
        books = list(catalog.price_books.values())
        if price_book is None and books:
            books = _of_the_time(catalog, facts.document, first, last)
        self.rates = Rates(choose_book(books, facts.document, price_book), facts.document)
        self.currency = currency or self.rates.currency
        self.rate = Fraction(1)
        if self.currency != self.rates.currency:
            self.rate = exchange(catalog.price_books.values(), self.rates.currency, self.currency, last).rate

    def lines(
        self, rows: Sequence[Mapping[str, Any]], seen: tuple[int, int], rule: IdleRule
    ) -> tuple[list[Line], GroupBill]:
        hours, devices = seen
        rows = sorted(rows, key=lambda row: (row["model"], row["version"]))
        hour = self._price(self.rates.device_hour().value)
        bill = self._units(hours * hour)
        weights = [int(row["weight"]) for row in rows]
        nobody = hours * self.facts.capacity * _HOUR - sum(weights)
        *device, idle = split(bill, [*weights, nobody])
        borne = [0] * len(rows)
        if rule is not IdleRule.SEPARATE and rows:
            borne = split(idle, weights if rule is IdleRule.PROPORTIONAL else [1] * len(rows))
            idle = 0
        energy, grades, millijoules = self._energy(rows)
        data = self._data(rows)
        found = []
        for place, row in enumerate(rows):
            parts = {DEVICE: device[place]}
            if borne[place] or rule is not IdleRule.SEPARATE:
                parts[IDLE] = borne[place]
            if energy is not None and grades[place] is not Grade.ABSENT:
                parts[ENERGY] = energy[place]
            if data is not None:
                parts[DATA] = data[place]
            found.append(self._line(row, parts, grades[place], millijoules[place], hour))
        if idle or not rows:
            found.append(self._nobody(devices, idle))
        name = self.facts.document.metadata.name
        spec: DeviceGroupSpec = self.facts.document.spec
        whole = int((self.period[1] - self.period[0]).total_seconds()) // _HOUR * spec.device_count
        return found, GroupBill(name, self.currency, self.places, devices, hours, bill, max(0, whole - hours))

    def _energy(self, rows: Sequence[Mapping[str, Any]]) -> tuple[list[int] | None, list[Grade], list[int]]:
        """Units of each row (None where the sun pays), how well they are known, and millijoules."""
        power = self.facts.document.spec.power
        watts = None
        if power.idle_watts is not None and power.peak_watts is not None and power.peak_watts >= power.idle_watts:
            watts = Fraction(power.peak_watts - power.idle_watts) / Fraction(self.facts.capacity, 10**6)
        grades, millijoules = [], []
        for row in rows:
            known, unmetered = int(row["millijoules"]), int(row["unmetered_micro"])
            grade = _GRADES[int(row["grade"])]
            if grade is Grade.ABSENT and watts is not None:
                grade = Grade.MODELLED
                known += int(watts * unmetered / 1000)
            grades.append(grade)
            millijoules.append(known)
        if power.source is PowerSource.SOLAR:
            return None, grades, millijoules
        paid = [amount if grade is not Grade.ABSENT else 0 for amount, grade in zip(millijoules, grades, strict=True)]
        price = self._price(self.rates.kilowatt_hour().value)
        return self._shared(Fraction(sum(paid), 3_600_000_000) * price, paid), grades, millijoules

    def _data(self, rows: Sequence[Mapping[str, Any]]) -> list[int] | None:
        """Units of each row; None where nothing was moved, which asks for no price."""
        moved = [int(row["bytes_moved"]) for row in rows]
        if not any(moved):
            return None
        price = self._price(self.rates.gigabyte().value)
        return self._shared(Fraction(sum(moved), 10**9) * price, moved)

    def _line(
        self, row: Mapping[str, Any], parts: dict[str, int], grade: Grade, millijoules: int, hour: Fraction
    ) -> Line:
        inferences = int(row["inferences"])
        per_1k = None
        if inferences:
            used = Fraction(int(row["cpu_micro"]), self.facts.capacity * _HOUR) * hour
            marginal = used + Fraction(sum(parts.get(part, 0) for part in (ENERGY, DATA)), 10**self.places)
            per_1k = Decimal(round(marginal * 1000 / inferences * 10**PER_1K_PLACES)).scaleb(-PER_1K_PLACES)
        return Line(
            group=row["device_group"],
            model=row["model"],
            version=row["version"],
            currency=self.currency,
            price_book=self.rates.name,
            places=self.places,
            devices=int(row["devices"]),
            seconds=Decimal(int(row["seconds_micro"])).scaleb(-6),
            inferences=inferences,
            cpu_seconds=Decimal(int(row["cpu_micro"])).scaleb(-6),
            joules=Decimal(millijoules).scaleb(-3),
            moved=int(row["bytes_moved"]),
            parts=parts,
            energy_grade=grade,
            overbooked=int(row["overbooked"]),
            per_1k=per_1k,
            region=region_of(self.facts.document),
            tags=self.facts.tags.get(row["model"], ()),
        )

    def _nobody(self, devices: int, idle: int) -> Line:
        return Line(
            group=self.facts.document.metadata.name,
            model="",
            version="",
            currency=self.currency,
            price_book=self.rates.name,
            places=self.places,
            devices=devices,
            seconds=Decimal(0),
            inferences=0,
            cpu_seconds=Decimal(0),
            joules=Decimal(0),
            moved=0,
            parts={IDLE: idle},
            energy_grade=Grade.ABSENT,
            overbooked=0,
            per_1k=None,
            region=region_of(self.facts.document),
            tags=(),
        )

    def _price(self, value: Decimal) -> Fraction:
        return Fraction(value) * self.rate

    def _units(self, amount: Fraction) -> int:
        return round(amount * Fraction(10**self.places))

    def _shared(self, amount: Fraction, weights: Sequence[int]) -> list[int]:
        return split(self._units(amount), weights)


def _of_the_time(catalog: Catalog, group: Document, first: datetime.date, last: datetime.date) -> list[Document]:
    """The books whose dates hold the whole period. Raises InputError (F411) where the region has prices of other times only."""
    books = list(catalog.price_books.values())
    held = [book for book in books if book.spec.valid_from <= first and last <= book.spec.valid_until]
    region = region_of(group)
    if any(region in book.spec.regions for book in books) and not any(region in book.spec.regions for book in held):
        where = (group.origin.file, group.origin.line)
        got = f"no price book of {region} that holds from {first} to {last}"
        hint = "cut the period with --from and --to, or name a book with --price-book"
        raise InputError(Problem("F411", *where, got=got, expected="prices of the time that is billed", hint=hint))
    return held or books
