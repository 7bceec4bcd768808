"""The estimate: from plans and a price book to a report.

Formulas, for the devices of a group that run a version, per month of 730 h:

- inferences = devices x expected requests per device and day x 730/24
- compute = inferences x CPU seconds / 3600 x price of a core-hour (device-hour / cores)
- reserved = what the deployment's limits reserve of the devices for 730 h (:mod:`trimtab_config.cost.reservation`) minus
  the core-hours of compute, x price of a core-hour, never below zero: compute and reserved together are the larger of
  use and reservation (OpenCost specification: workload = max(request, usage)). Its low bound assumes most use, its high
  bound least, so the sum's bounds are never narrower than those of the larger of the two
- energy = inferences x joules / 3.6e6 x price of a kWh; joules that nobody measured are modelled as CPU seconds x
  (peak - idle watts) / cores; the energy of a solar device is part of the price of the device
- data = inferences x bytes sent / 10^9 x price of a GB; an inference on the device sends nothing unless its profile says so
- updates = devices x artifact bytes x updates per month / 10^9 x price of a GB
- telemetry = devices x declared bytes a day x 730/24 / 10^9 x price of a GB of network; ingestion the same x price of a GB
  taken in; storage = devices x bytes a day x days of retention / 10^9 x price of a GB kept for a month: what is there once
  as much expires as arrives
- offload: the declared share of the inferences goes to the named endpoint, at its price for a thousand; compute, energy and
  data on the device are those of the others, and the network carries the bytes that a request takes
- training = inferences x (training + quantization) / inferences that share them in the version's life
- shared = devices x price of the platform for a device and month / deployments on the device
- carbon (g CO2e) = kWh x kg of CO2e of a kWh x 1,000, for the energy of inferences and, as ``reserved``, for the idle watts
  of the share of the device that is reserved; the grid says nothing of a solar device

The marginal cost of an inference, which ceilings judge, is compute, energy, data and offload: one more request reserves
nothing, and training is paid already.

Not in it: what of a device no deployment reserves (:mod:`trimtab_config.cost.idle`), and people. An OnDeviceModel reserves
nothing: the device is its owner's.
"""

from __future__ import annotations

from fractions import Fraction
from typing import TYPE_CHECKING

from trimtab_config.cost.exact import Exact
from trimtab_config.cost.rates import Rates, choose_book, to_decimal
from trimtab_config.cost.report import (
    COMPUTE,
    DATA,
    ENERGY,
    INGESTION,
    OFFLOAD,
    PER_1K_PLACES,
    PLACES,
    RESERVED,
    SHARED,
    STORAGE,
    TELEMETRY,
    TRAINING,
    UPDATES,
    UPDATES_PER_MONTH,
    Amounts,
    Ceiling,
    CostReport,
    Row,
)
from trimtab_config.cost.reservation import reserved_shares
from trimtab_config.plan.planner import Planner
from trimtab_config.spec.kinds import EdgeAIDeploymentSpec, PowerSource
from trimtab_config.spec.tags import tags_of
from trimtab_kernel.money import HOURS_PER_MONTH, Figure, Grade
from trimtab_kernel.problems import Collector, InputError, Problem
from trimtab_kernel.records import dataclass

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from decimal import Decimal

    from trimtab_config.catalog import Catalog
    from trimtab_config.plan.placement import Choice, GroupPlan, Placement
    from trimtab_config.spec.kinds import DeviceGroupSpec, Document, Production, Profile

_HOURS_PER_SECOND = Fraction(1, 3600)
_KWH_PER_JOULE = Fraction(1, 3_600_000)
_GB_PER_BYTE = Fraction(1, 10**9)
_DAYS_PER_MONTH = Fraction(HOURS_PER_MONTH, 24)
_THOUSAND = Fraction(1000)
_EVERYONE = Fraction(100)
_NOTHING = Fraction(0)
_MOST_AMOUNTS = 20_000
_GRAMS = Fraction(1000)
_WHOLE = Fraction(1)
_GRADE_OF_LIMITS = Grade.MEASURED  # what a manifest reserves is known


def estimate(
    catalog: Catalog, groups: Iterable[str] | None = None, price_book: str | None = None
) -> tuple[CostReport, tuple[Problem, ...]]:
    """Costs of ``groups`` (all of them where None). Rows of a group with problems are left out.

    Raises KeyError for a group that the catalog does not have.
    """
    planner = Planner(catalog)
    estimator = Estimator(catalog, price_book)
    problems = Collector()
    rows: list[Row] = []
    for name in sorted(catalog.groups if groups is None else set(groups)):
        plan, found = planner.plan(name)
        problems.extend(found)
        if found:
            continue
        report, found = estimator.estimate(plan)
        problems.extend(found)
        rows.extend(report.rows)
    return CostReport(tuple(rows)), problems.sorted()


def core_hour(catalog: Catalog, group_name: str, price_book: str | None = None) -> tuple[Figure, str, str]:
    """What one core of a group costs for one hour, the currency, and the name of the book.

    For those who measured CPU seconds. Raises KeyError for an unknown group and InputError (F4) for a missing price.
    """
    group = catalog.groups[group_name]
    rates = Rates(choose_book(catalog.price_books.values(), group, price_book), group)
    return rates.core_hour(), rates.currency, rates.name


def _split(placement: Placement) -> list[tuple[Choice, Fraction]]:
    """Who runs what: the wave's share runs the target, the rest the stable version where there is one."""
    shares = [(placement.target, placement.percent)]
    if placement.stable is not None:
        shares.append((placement.stable, _EVERYONE - placement.percent))
    return [(choice, percent) for choice, percent in shares if percent]


@dataclass(frozen=True, slots=True)
class _OneDevice:
    """What one device that runs a version for a month costs: parts, why others are absent, the cost of 1,000 inferences.

    Costs are linear in devices, so this is worked out once for all groups with the same prices and hardware.
    """

    profile: Profile  # these two are kept, so that their ids stay their own
    book: Document
    inferences: Exact | None
    parts: Mapping[str, Exact]
    absent: Mapping[str, str]
    per_1k: Figure | None
    carbon: Mapping[str, Exact]
    production: Production | None
    document: Document


class Estimator:
    """Estimates groups of one catalog, one after another; what is the same for many groups is worked out once."""

    def __init__(self, catalog: Catalog, price_book: str | None = None) -> None:
        self._catalog = catalog
        self._price_book = price_book
        self._devices: dict[tuple[object, ...], _OneDevice] = {}
        self._amounts: dict[tuple[int, int, int], Amounts] = {}  # by devices that _devices keeps
        self._tags: dict[int, tuple[Document, tuple[tuple[str, str], ...]]] = {}
        self._productions: dict[int, tuple[Document, dict[str, Production]]] = {}

    def after(self, catalog: Catalog, price_book: str | None) -> Estimator:
        """An estimator of another catalog that keeps what was worked out of objects that are still the same ones."""
        found = Estimator(catalog, price_book)
        found._devices, found._tags, found._amounts = self._devices, self._tags, self._amounts
        return found

    def estimate(self, plan: GroupPlan, only: Document | None = None) -> tuple[CostReport, tuple[Problem, ...]]:
        """Costs of one planned group; no row and the problems where a price is missing or a figure is wrong.

        ``only``: the rows of this document alone, as they would be among the others.
        """
        if not plan.placements:
            return CostReport(()), ()
        try:
            rates = Rates(choose_book(self._catalog.price_books.values(), plan.group, self._price_book), plan.group)
        except InputError as error:
            return CostReport(()), error.problems
        problems = Collector()
        rows: list[Row] = []
        shares = reserved_shares(plan)
        economy = _economy(plan.group, rates)
        for placement in plan.placements:
            if only is not None and placement.document is not only:
                continue
            metadata = placement.document.metadata
            # An OnDeviceModel may have a deployment's name, and reserves nothing.
            served = isinstance(placement.document.spec, EdgeAIDeploymentSpec)
            reserved = shares[(metadata.namespace, metadata.name)] if served else None
            for choice, percent in _split(placement):
                try:
                    device = self._device(economy, plan, placement, choice, reserved, rates)
                    rows.append(self._row(plan.group, placement, choice, percent, device, rates))
                except InputError as error:
                    problems.extend(error.problems)
        rows.sort(key=lambda row: (row.model, row.version, row.kind, row.namespace, row.name))
        found = problems.sorted()
        return CostReport(() if found else tuple(rows)), found

    def _row(
        self,
        group: Document,
        placement: Placement,
        choice: Choice,
        percent: Fraction,
        device: _OneDevice,
        rates: Rates,
    ) -> Row:
        spec: DeviceGroupSpec = group.spec
        share = Fraction(spec.device_count * percent.numerator, 100 * percent.denominator)
        document = placement.document
        metadata = document.metadata
        amounts = self._amounts_of(device, share)
        return Row(
            group=group.metadata.name,
            model=placement.model,
            version=choice.version,
            kind=document.kind,
            namespace=metadata.namespace,
            name=metadata.name,
            tier=choice.artifact.tier,
            devices=amounts.devices,
            inferences=amounts.inferences,
            currency=rates.currency,
            price_book=rates.name,
            parts=amounts,
            absent=device.absent,
            per_1k=device.per_1k,
            update_bytes=-(-share.numerator * choice.artifact.size // share.denominator),
            ceiling=_ceiling(self._catalog, document, rates.currency),
            tags=self._tags_of(document),
            carbon=amounts.carbon,
        )

    def _amounts_of(self, device: _OneDevice, share: Fraction) -> Amounts:
        """What so many devices cost together: one answer for all groups in which as many run the same."""
        key = (id(device), share.numerator, share.denominator)
        found = self._amounts.get(key)
        if found is None:
            if len(self._amounts) >= _MOST_AMOUNTS:
                self._amounts.clear()
            found = self._amounts[key] = Amounts(
                {part: figure.rounded(PLACES, share) for part, figure in device.parts.items()},
                to_decimal(share),
                None if device.inferences is None else device.inferences.rounded(0, share),
                complete=not device.absent,
                carbon={part: figure.rounded(PLACES, share) for part, figure in device.carbon.items()},
            )
        return found

    def _tags_of(self, document: Document) -> tuple[tuple[str, str], ...]:
        found = self._tags.get(id(document))
        if found is None:
            found = self._tags[id(document)] = (document, tags_of(document))
        return found[1]

    def _device(
        self,
        economy: tuple[object, ...],
        plan: GroupPlan,
        placement: Placement,
        choice: Choice,
        reserved: Fraction | None,
        rates: Rates,
    ) -> _OneDevice:
        requests = _requests(placement)
        production = self._production(placement, choice)
        sharers = len(plan.placements)
        profile, artifact = choice.profile, choice.artifact
        key = (
            *economy,
            placement.model,
            artifact.version,
            artifact.tier,
            artifact.size,
            id(profile),
            requests,
            None if reserved is None else (reserved.numerator, reserved.denominator),
            sharers if economy[-1] else 0,
            0 if production is None else id(production),
            id(placement.document) if _has_traffic(placement) else 0,
        )
        found = self._devices.get(key)
        if found is None:
            found = self._devices[key] = _one_device(
                plan.group, placement, choice, requests, reserved, rates, production, sharers
            )
        return found

    def _production(self, placement: Placement, choice: Choice) -> Production | None:
        """What it took to make the version, where its Model says so."""
        if not isinstance(placement.document.spec, EdgeAIDeploymentSpec):
            return None
        model = self._catalog.models.get(placement.model)
        if model is None:
            return None
        known = self._productions.get(id(model))
        if known is None:
            versions = {each.version: each.production for each in model.spec.versions if each.production is not None}
            known = self._productions[id(model)] = (model, versions)
        return known[1].get(choice.version)


def _economy(group: Document, rates: Rates) -> tuple[object, ...]:
    """What the costs of a device depend on besides its models: equal for groups whose devices cost the same."""
    spec: DeviceGroupSpec = group.spec
    hardware, power = spec.hardware, spec.power
    return (
        id(rates.book),
        rates.region,
        hardware.hardware_class,
        hardware.cpu.value.numerator,
        hardware.cpu.value.denominator,
        spec.network.price_class,
        power.source.value,
        power.idle_watts,
        power.peak_watts,
        rates.shared_device_month() is not None,
    )


def _one_device(
    group: Document,
    placement: Placement,
    choice: Choice,
    requests: Decimal | str,
    reserved: Fraction | None,
    rates: Rates,
    production: Production | None,
    sharers: int,
) -> _OneDevice:
    """``reserved`` is the deployment's share of the device, None where nothing is reserved. Raises InputError (F402)."""
    spec: DeviceGroupSpec = group.spec
    profile = choice.profile
    cpu = None if profile.cpu_seconds is None else Exact.of(profile.cpu_seconds.figure(profile.grade))
    here = _local_share(placement)
    kwh, no_kwh = _kilowatt_hours(spec, profile, cpu)
    one, absent = _per_inference(placement, choice, cpu, kwh, no_kwh, rates)
    if here != _WHOLE:
        one = {part: figure.scaled(here) for part, figure in one.items()}
        one.update(_offloaded(placement, one.get(DATA), rates))
    parts: dict[str, Exact] = {}
    carbon: dict[str, Exact] = {}
    missing = dict(absent)
    inferences = used = None
    intensity = None if spec.power.source is PowerSource.SOLAR else rates.carbon()
    grams = None if intensity is None else Exact.of(intensity).scaled(_GRAMS)
    if isinstance(requests, str):
        missing.update(dict.fromkeys(one, requests))
        if production is not None:
            missing[TRAINING] = requests
    else:
        inferences = Exact.of(Figure.bare(requests, Grade.DECLARED)).scaled(_DAYS_PER_MONTH)
        for part, figure in one.items():
            parts[part] = inferences.times(figure)
        used = None if cpu is None else inferences.times(cpu).scaled(_HOURS_PER_SECOND * here)
        if grams is not None and kwh is not None:
            carbon[ENERGY] = inferences.times(kwh).scaled(here).times(grams)
        if production is not None:
            parts[TRAINING] = inferences.scaled(_production_share(production, placement.model, choice.version, rates))
    if reserved is not None:
        hours = reserved * HOURS_PER_MONTH * spec.hardware.cpu.value
        parts[RESERVED] = _unused(hours, used).times(Exact.of(rates.core_hour()))
        if grams is not None and spec.power.idle_watts is not None:
            idle = Exact.of(Figure.bare(spec.power.idle_watts, Grade.MODELLED)).scaled(
                reserved * Fraction(HOURS_PER_MONTH, 1000)
            )
            carbon[RESERVED] = idle.times(grams)
    if choice.artifact.size:
        fetched = Exact.of(UPDATES_PER_MONTH).scaled(choice.artifact.size * _GB_PER_BYTE)
        parts[UPDATES] = fetched.times(Exact.of(rates.gigabyte()))
    else:
        missing[UPDATES] = "the size of the artifact is not declared"
    parts.update(_telemetry(placement, rates))
    shared = rates.shared_device_month()
    if shared is not None:
        parts[SHARED] = Exact.of(shared).scaled(Fraction(1, sharers))
    per_1k = None
    if one:
        first, *others = one.values()
        for other in others:
            first = first.plus(other)
        per_1k = first.scaled(_THOUSAND).rounded(PER_1K_PLACES)
        if absent:
            per_1k = Figure(per_1k.value, per_1k.low, per_1k.high, Grade.ABSENT)
    return _OneDevice(profile, rates.book, inferences, parts, missing, per_1k, carbon, production, placement.document)


def _has_traffic(placement: Placement) -> bool:
    """Whether the deployment itself, besides its model and its requests, says something that costs."""
    spec = placement.document.spec
    if not isinstance(spec, EdgeAIDeploymentSpec):
        return False
    offload = spec.offload
    return spec.telemetry.bytes_per_device_day is not None or (offload is not None and bool(offload.expected_share))


def _local_share(placement: Placement) -> Fraction:
    """The share of the requests that devices answer themselves."""
    spec = placement.document.spec
    if not isinstance(spec, EdgeAIDeploymentSpec) or spec.offload is None or not spec.offload.expected_share:
        return _WHOLE
    return _WHOLE - Fraction(spec.offload.expected_share)


def _offloaded(placement: Placement, data: Exact | None, rates: Rates) -> dict[str, Exact]:
    """What the expected share of one request costs at its endpoint, and over the network beside what ``data`` costs."""
    offload = placement.document.spec.offload
    share = Fraction(offload.expected_share)
    found = {OFFLOAD: Exact.of(rates.offloaded_thousand(offload.price_class)).scaled(share / _THOUSAND)}
    if offload.bytes_per_request is not None:
        sent = Exact.of(offload.bytes_per_request.figure(Grade.DECLARED)).scaled(share * _GB_PER_BYTE)
        carried = sent.times(Exact.of(rates.gigabyte()))
        found[DATA] = carried if data is None else data.plus(carried)
    return found


def _telemetry(placement: Placement, rates: Rates) -> dict[str, Exact]:
    """What one device's declared reports cost in a month: on the network, where they are taken in, and kept."""
    spec = placement.document.spec
    if not isinstance(spec, EdgeAIDeploymentSpec) or spec.telemetry.bytes_per_device_day is None:
        return {}
    day = Exact.of(spec.telemetry.bytes_per_device_day.figure(Grade.DECLARED)).scaled(_GB_PER_BYTE)
    month = day.scaled(_DAYS_PER_MONTH)
    found = {
        TELEMETRY: month.times(Exact.of(rates.gigabyte())),
        INGESTION: month.times(Exact.of(rates.ingested_gigabyte())),
    }
    if spec.telemetry.retention_days is not None:
        kept = day.scaled(Fraction(spec.telemetry.retention_days))
        found[STORAGE] = kept.times(Exact.of(rates.stored_gigabyte_month()))
    return found


def _production_share(production: Production, model: str, version: str, rates: Rates) -> Fraction:
    """What one inference bears of the training and the quantization of its version."""
    amounts = (amount for amount in (production.training, production.quantization) if amount is not None)
    paid = sum((rates.in_currency(amount, f"the making of {model} {version}") for amount in amounts), _NOTHING)
    return paid / Fraction(production.over_inferences)


def _unused(hours: Fraction, used: Exact | None) -> Exact:
    """Core-hours that are reserved and not used; all of them where use is not known."""
    if used is None:
        return Exact.between(hours, hours, hours, _GRADE_OF_LIMITS)
    value, low, high = used.fractions()
    return Exact.between(
        max(hours - value, _NOTHING), max(hours - high, _NOTHING), max(hours - low, _NOTHING), used.grade
    )


def _ceiling(catalog: Catalog, document: Document, currency: str) -> Ceiling | None:
    """What the deployment's FinOps policy allows; None too where it is in another currency than the prices."""
    reference = document.spec.finops_policy_ref
    policy = None if reference is None else catalog.finops_policies.get(reference)
    amount = None if policy is None else policy.spec.ceilings.cost_per_1k_inferences
    if policy is None or amount is None or amount.currency != currency:
        return None
    return Ceiling(policy.metadata.name, amount.amount)


def _requests(placement: Placement) -> Decimal | str:
    """Requests per device and day, or why they are not known."""
    spec = placement.document.spec
    if not isinstance(spec, EdgeAIDeploymentSpec):
        return f"an {placement.document.kind} does not say how often it is used"
    expected = spec.inference.expected_requests_per_device_day
    return "spec.inference.expectedRequestsPerDeviceDay is not declared" if expected is None else expected


def _per_inference(
    placement: Placement, choice: Choice, cpu: Exact | None, kwh: Exact | None, no_kwh: str, rates: Rates
) -> tuple[dict[str, Exact], dict[str, str]]:
    """What one inference on the device costs by part, and why a part is not known."""
    profile = choice.profile
    parts: dict[str, Exact] = {}
    absent: dict[str, str] = {}
    if cpu is None:
        absent[COMPUTE] = f"no CPU seconds are declared for {placement.model} {choice.version} {choice.artifact.tier}"
    else:
        parts[COMPUTE] = cpu.times(Exact.of(rates.core_hour())).scaled(_HOURS_PER_SECOND)
    if kwh is not None:
        parts[ENERGY] = kwh.times(Exact.of(rates.kilowatt_hour()))
    elif no_kwh:
        absent[ENERGY] = no_kwh
    if profile.bytes is not None:
        sent = Exact.of(profile.bytes.figure(profile.grade))
        parts[DATA] = sent.times(Exact.of(rates.gigabyte())).scaled(_GB_PER_BYTE)
    return parts, absent


def _kilowatt_hours(spec: DeviceGroupSpec, profile: Profile, cpu: Exact | None) -> tuple[Exact | None, str]:
    """What one inference takes from the grid; else None and why, "" for a solar device, which takes nothing from it."""
    if spec.power.source is PowerSource.SOLAR:
        return None, ""
    joules = (
        Exact.of(profile.joules.figure(profile.grade)) if profile.joules is not None else _modelled_joules(spec, cpu)
    )
    return (None, joules) if isinstance(joules, str) else (joules.scaled(_KWH_PER_JOULE), "")


def _modelled_joules(spec: DeviceGroupSpec, cpu: Exact | None) -> Exact | str:
    """CPU seconds times the watts that a busy core adds."""
    power = spec.power
    if cpu is None:
        return "neither joules nor CPU seconds are declared"
    if power.peak_watts is None or power.idle_watts is None or power.peak_watts < power.idle_watts:
        return "no joules are declared, and the group does not say its idle and peak watts"
    watts = Exact.of(Figure.bare(power.peak_watts - power.idle_watts, Grade.MODELLED))
    return cpu.times(watts).scaled(1 / spec.hardware.cpu.value)
