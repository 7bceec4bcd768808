"""Prices per unit for one device group, out of a price book. A price that is needed and missing is a Problem, never zero."""

from __future__ import annotations

from decimal import Decimal, localcontext
from fractions import Fraction
from typing import TYPE_CHECKING

from trimtab_config.plan.variants import REGION_LABEL
from trimtab_kernel.money import Figure, Grade
from trimtab_kernel.problems import InputError, Problem, quoted

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from trimtab_config.spec.kinds import Amount, DeviceGroupSpec, Document, GradedFigure, PriceBookSpec, RegionPrices

PRICE_GRADE = Grade.DECLARED
"""The grade of a price that names none."""
_PRECISION = 60


def to_decimal(value: Fraction) -> Decimal:
    """A fraction as a decimal of 60 digits: exact wherever people write the number, otherwise far beyond any rounding."""
    with localcontext() as context:
        context.prec = _PRECISION
        return Decimal(value.numerator) / Decimal(value.denominator)


def region_of(group: Document) -> str:
    """The region whose prices a group pays; "" where its labels name none."""
    return group.metadata.labels.get(REGION_LABEL, "")


def choose_book(books: Iterable[Document], group: Document, name: str | None) -> Document:
    """The price book for a group: the named one, or the newest (by ``validFrom``) that prices the group's region.

    No date of today plays a part: a book counts from the commit that brings it until one that removes it. Raises
    InputError: F401 for no book at all, F403 for an unknown name, F402 where no book knows the region, F404 where two
    are equally new.
    """
    known = sorted(books, key=lambda book: book.metadata.name)
    region = region_of(group)
    place = (group.origin.file, group.origin.line_of(f"metadata.labels.{REGION_LABEL}"))
    if not known:
        raise InputError(
            Problem("F401", *place, "", "no PriceBook in the tree", "one that prices every region", "add one")
        )
    if name is not None:
        found = next((book for book in known if book.metadata.name == name), None)
        if found is None:
            listed = ", ".join(book.metadata.name for book in known)
            raise InputError(Problem("F403", got=quoted(name), expected=f"one of the price books {listed}"))
        return found
    fitting = [book for book in known if region in book.spec.regions]
    if not fitting:
        listed = ", ".join(sorted({region for book in known for region in book.spec.regions}))
        field = f"metadata.labels.{REGION_LABEL}"
        expected = f"a region with prices ({listed})"
        raise InputError(
            Problem(
                "F402", *place, field, quoted(region) if region else "no region", expected, "add it to a price book"
            )
        )
    newest = max(book.spec.valid_from for book in fitting)
    latest = [book for book in fitting if book.spec.valid_from == newest]
    if len(latest) > 1:
        listed = " and ".join(book.metadata.name for book in latest)
        origin = latest[1].origin
        field = "spec.validFrom"
        raise InputError(
            Problem(
                "F404",
                origin.file,
                origin.line_of(field),
                field,
                f"{listed}, both from {newest.isoformat()}",
                f"one newest book for region {region}",
                "name one with --price-book, or remove one",
            )
        )
    return latest[0]


def scaled(figure: Figure, factor: Fraction) -> Figure:
    """``figure`` times an exact factor, worked out as fractions: a third of three is one."""
    value, low, high = (to_decimal(Fraction(bound) * factor) for bound in (figure.value, figure.low, figure.high))
    return Figure(value, low, high, figure.grade)


class Rates:
    """Prices of one group's region, looked up when they are asked for: only a price that is used has to be there.

    Every method raises InputError (F402) where the book lacks the price.
    """

    def __init__(self, book: Document, group: Document) -> None:
        self.book = book
        self.group = group
        self._core_hour: Figure | None = None

    @property
    def currency(self) -> str:
        """The book's currency."""
        spec: PriceBookSpec = self.book.spec
        return spec.currency

    @property
    def name(self) -> str:
        """The book's name."""
        return self.book.metadata.name

    @property
    def region(self) -> str:
        """The region whose prices they are."""
        return self._region_name()

    def core_hour(self) -> Figure:
        """One core for one hour: the device's hour divided by its cores."""
        if self._core_hour is None:
            spec: DeviceGroupSpec = self.group.spec
            hardware = spec.hardware
            hour = self._price("deviceHour", self._region().device_hour, hardware.hardware_class)
            self._core_hour = scaled(hour, 1 / hardware.cpu.value)
        return self._core_hour

    def device_hour(self) -> Figure:
        """One whole device for one hour."""
        spec: DeviceGroupSpec = self.group.spec
        return self._price("deviceHour", self._region().device_hour, spec.hardware.hardware_class)

    def kilowatt_hour(self) -> Figure:
        """One kilowatt-hour."""
        return self._region().energy_per_kwh.figure(PRICE_GRADE)

    def gigabyte(self) -> Figure:
        """10^9 bytes over the group's network."""
        spec: DeviceGroupSpec = self.group.spec
        return self._price("networkPerGB", self._region().network_per_gb, spec.network.price_class)

    def ingested_gigabyte(self) -> Figure:
        """10^9 bytes of telemetry taken in."""
        return self._single("telemetryPerGB", self._region().telemetry_per_gb)

    def stored_gigabyte_month(self) -> Figure:
        """10^9 bytes kept for a month."""
        return self._single("storagePerGBMonth", self._region().storage_per_gb_month)

    def offloaded_thousand(self, price_class: str) -> Figure:
        """A thousand requests to an endpoint of this price class."""
        return self._price("offloadPer1k", self._region().offload_per_1k, price_class)

    def shared_device_month(self) -> Figure | None:
        """What the platform costs for one device and month; None where the book shares nothing out."""
        price = self._region().shared_per_device_month
        return None if price is None else price.figure(PRICE_GRADE)

    def carbon(self) -> Figure | None:
        """Kilograms of CO2e of one kilowatt-hour from the grid; None where the book does not say, which is not zero."""
        intensity = self._region().carbon_per_kwh
        return None if intensity is None else intensity.figure(PRICE_GRADE)

    def in_currency(self, amount: Amount, place: str) -> Fraction:
        """An amount that stands elsewhere, in the book's currency, by the book's newest rate.

        Rendering knows no date, so the newest rate counts until a commit brings another; ``validate --as-of`` judges its
        dates. Raises InputError (F405) for a currency without a rate; ``place`` says what the amount is of.
        """
        spec: PriceBookSpec = self.book.spec
        if amount.currency == spec.currency:
            return Fraction(amount.amount)
        rates = [rate for rate in spec.exchange_rates if rate.currency == amount.currency]
        if not rates:
            origin, field = self.book.origin, "spec.exchangeRates"
            expected = f"one, since {place} is in {amount.currency}"
            raise InputError(
                Problem("F405", origin.file, origin.line_of(field), field, f"no rate of {amount.currency}", expected)
            )
        return Fraction(amount.amount) * Fraction(max(rates, key=lambda rate: rate.valid_from).rate)

    def _region_name(self) -> str:
        return self.group.metadata.labels.get(REGION_LABEL, "")

    def _region(self) -> RegionPrices:
        spec: PriceBookSpec = self.book.spec
        name = self._region_name()
        prices = spec.regions.get(name)
        if prices is None:
            raise self._missing("spec.regions", f"no prices of region {quoted(name) if name else 'none'}")
        return prices

    def _price(self, table: str, prices: Mapping[str, GradedFigure], key: str) -> Figure:
        field = f"spec.regions.{self._region_name()}.{table}"
        price = prices.get(key)
        if price is None:
            raise self._missing(field, f"no price of {key}")
        return price.figure(PRICE_GRADE)

    def _single(self, name: str, price: GradedFigure | None) -> Figure:
        if price is None:
            raise self._missing(f"spec.regions.{self._region_name()}.{name}", f"no price {name}")
        return price.figure(PRICE_GRADE)

    def _missing(self, field: str, got: str) -> InputError:
        origin = self.book.origin
        group = self.group
        expected = f"one, since group {group.metadata.name} ({group.origin.file}:{group.origin.line}) needs it"
        return InputError(Problem("F402", origin.file, origin.line_of(field), field, got, expected, "add the price"))
