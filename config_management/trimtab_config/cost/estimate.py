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

The marginal cost of an inference, which ceilings judge, is compute, energy and data: one more request reserves nothing.

Not in it: what of a device no deployment reserves, telemetry, and people. An OnDeviceModel reserves nothing: the device
is its owner's.
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from typing import TYPE_CHECKING

from trimtab_config.cost.rates import Rates, choose_book, scaled, to_decimal
from trimtab_config.cost.report import (
    COMPUTE,
    DATA,
    ENERGY,
    PER_1K_PLACES,
    RESERVED,
    UPDATES,
    UPDATES_PER_MONTH,
    Ceiling,
    CostReport,
    Row,
    rounded,
    total_of,
)
from trimtab_config.cost.reservation import reserved_shares
from trimtab_config.plan.planner import Planner
from trimtab_config.spec.kinds import EdgeAIDeploymentSpec, PowerSource
from trimtab_config.spec.tags import tags_of
from trimtab_kernel.money import HOURS_PER_MONTH, Figure, Grade
from trimtab_kernel.problems import Collector, InputError, Problem

if TYPE_CHECKING:
    from collections.abc import Iterable

    from trimtab_config.catalog import Catalog
    from trimtab_config.plan.placement import Choice, GroupPlan, Placement
    from trimtab_config.spec.kinds import DeviceGroupSpec, Document

_HOURS_PER_SECOND = Fraction(1, 3600)
_KWH_PER_JOULE = Fraction(1, 3_600_000)
_GB_PER_BYTE = Fraction(1, 10**9)
_DAYS_PER_MONTH = Fraction(HOURS_PER_MONTH, 24)
_EVERYONE = Fraction(100)
_NOTHING = Decimal(0)


def estimate(
    catalog: Catalog, groups: Iterable[str] | None = None, price_book: str | None = None
) -> tuple[CostReport, tuple[Problem, ...]]:
    """Costs of ``groups`` (all of them where None). Rows of a group with problems are left out.

    Raises KeyError for a group that the catalog does not have.
    """
    planner = Planner(catalog)
    problems = Collector()
    rows: list[Row] = []
    for name in sorted(catalog.groups if groups is None else set(groups)):
        plan, found = planner.plan(name)
        problems.extend(found)
        if found:
            continue
        report, found = estimate_plan(plan, catalog, price_book)
        problems.extend(found)
        rows.extend(report.rows)
    return CostReport(tuple(rows)), problems.sorted()


def estimate_plan(
    plan: GroupPlan, catalog: Catalog, price_book: str | None = None
) -> tuple[CostReport, tuple[Problem, ...]]:
    """Costs of one planned group; no row and the problems where a price is missing or a figure is wrong."""
    if not plan.placements:
        return CostReport(()), ()
    try:
        rates = Rates(choose_book(catalog.price_books.values(), plan.group, price_book), plan.group)
    except InputError as error:
        return CostReport(()), error.problems
    problems = Collector()
    rows: list[Row] = []
    shares = reserved_shares(plan)
    for placement in plan.placements:
        metadata = placement.document.metadata
        reserved = shares.get((metadata.namespace, metadata.name)) if _is_served(placement) else None
        for choice, percent in _split(placement):
            try:
                rows.append(_row(catalog, plan.group, placement, choice, percent, reserved, rates))
            except InputError as error:
                problems.extend(error.problems)
    rows.sort(key=lambda row: (row.model, row.version, row.kind, row.namespace, row.name))
    found = problems.sorted()
    return CostReport(() if found else tuple(rows)), found


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


@dataclass(slots=True)
class _Parts:
    """The parts of one row as they are found."""

    known: dict[str, Figure]
    absent: dict[str, str]


def _is_served(placement: Placement) -> bool:
    """Whether the group's runtime serves it, within limits; an OnDeviceModel is the app's own."""
    return isinstance(placement.document.spec, EdgeAIDeploymentSpec)


def _row(
    catalog: Catalog,
    group: Document,
    placement: Placement,
    choice: Choice,
    percent: Fraction,
    reserved: Fraction | None,
    rates: Rates,
) -> Row:
    """``reserved`` is the deployment's share of one device, None where nothing is reserved."""
    spec: DeviceGroupSpec = group.spec
    share = spec.device_count * percent / 100
    devices = to_decimal(share)
    one, absent = _per_inference(group, placement, choice, rates)
    parts = _Parts({}, dict(absent))
    inferences = None
    requests = _requests(placement)
    if isinstance(requests, str):
        for part in one:
            parts.absent[part] = requests
    else:
        inferences = scaled(requests, share * _DAYS_PER_MONTH)
        for part, figure in one.items():
            parts.known[part] = rounded(inferences.times(figure))
    if reserved is not None:
        parts.known[RESERVED] = rounded(_unused(group, share * reserved, inferences, choice).times(rates.core_hour()))
    size = choice.artifact.size
    if size:
        fetched = scaled(UPDATES_PER_MONTH, share * size * _GB_PER_BYTE)
        parts.known[UPDATES] = rounded(fetched.times(rates.gigabyte()))
    else:
        parts.absent[UPDATES] = "the size of the artifact is not declared"
    metadata = placement.document.metadata
    return Row(
        group=group.metadata.name,
        model=placement.model,
        version=choice.version,
        kind=placement.document.kind,
        namespace=metadata.namespace,
        name=metadata.name,
        tier=choice.artifact.tier,
        devices=devices,
        inferences=None if inferences is None else rounded(inferences, 0),
        currency=rates.currency,
        price_book=rates.name,
        parts=parts.known,
        absent=parts.absent,
        per_1k=rounded(total_of(one.values(), complete=not absent).times(1000), PER_1K_PLACES) if one else None,
        update_bytes=-int(-share * size // 1),
        ceiling=_ceiling(catalog, placement.document, rates.currency),
        tags=tags_of(placement.document),
    )


def _unused(group: Document, devices: Fraction, inferences: Figure | None, choice: Choice) -> Figure:
    """Core-hours of a month that are reserved on ``devices`` (whole ones) and not used; all of them where use is unknown."""
    spec: DeviceGroupSpec = group.spec
    reserved = to_decimal(devices * HOURS_PER_MONTH * spec.hardware.cpu.value)
    cpu = choice.profile.cpu_seconds
    if inferences is None or cpu is None:
        return Figure.exact(reserved, Grade.MEASURED)
    used = scaled(inferences.times(cpu.figure(choice.profile.grade)), _HOURS_PER_SECOND)
    value, low, high = (max(reserved - hours, _NOTHING) for hours in (used.value, used.high, used.low))
    return Figure(value, low, high, used.grade)


def _ceiling(catalog: Catalog, document: Document, currency: str) -> Ceiling | None:
    """What the deployment's FinOps policy allows; None too where it is in another currency than the prices."""
    reference = document.spec.finops_policy_ref
    policy = None if reference is None else catalog.finops_policies.get(reference)
    amount = None if policy is None else policy.spec.ceilings.cost_per_1k_inferences
    if policy is None or amount is None or amount.currency != currency:
        return None
    return Ceiling(policy.metadata.name, amount.amount)


def _requests(placement: Placement) -> Figure | str:
    """Requests per device and day, or why they are not known."""
    spec = placement.document.spec
    if not isinstance(spec, EdgeAIDeploymentSpec):
        return f"an {placement.document.kind} does not say how often it is used"
    expected = spec.inference.expected_requests_per_device_day
    if expected is None:
        return "spec.inference.expectedRequestsPerDeviceDay is not declared"
    return Figure.bare(expected, Grade.DECLARED)


def _per_inference(
    group: Document, placement: Placement, choice: Choice, rates: Rates
) -> tuple[dict[str, Figure], dict[str, str]]:
    """What one inference costs by part, unrounded, and why a part is not known."""
    profile = choice.profile
    parts: dict[str, Figure] = {}
    absent: dict[str, str] = {}

    cpu = None if profile.cpu_seconds is None else profile.cpu_seconds.figure(profile.grade)
    if cpu is None:
        absent[COMPUTE] = f"no CPU seconds are declared for {placement.model} {choice.version} {choice.artifact.tier}"
    else:
        parts[COMPUTE] = scaled(cpu.times(rates.core_hour()), _HOURS_PER_SECOND)
    spec: DeviceGroupSpec = group.spec
    if spec.power.source is not PowerSource.SOLAR:
        joules = profile.joules.figure(profile.grade) if profile.joules is not None else _modelled_joules(spec, cpu)
        if isinstance(joules, str):
            absent[ENERGY] = joules
        else:
            parts[ENERGY] = scaled(joules.times(rates.kilowatt_hour()), _KWH_PER_JOULE)
    if profile.bytes is not None:
        parts[DATA] = scaled(profile.bytes.figure(profile.grade).times(rates.gigabyte()), _GB_PER_BYTE)
    return parts, absent


def _modelled_joules(spec: DeviceGroupSpec, cpu: Figure | None) -> Figure | str:
    """CPU seconds times the watts that a busy core adds."""
    power = spec.power
    if cpu is None:
        return "neither joules nor CPU seconds are declared"
    if power.peak_watts is None or power.idle_watts is None or power.peak_watts < power.idle_watts:
        return "no joules are declared, and the group does not say its idle and peak watts"
    watts = Figure.bare(power.peak_watts - power.idle_watts, Grade.MODELLED)
    return scaled(cpu.times(watts), 1 / spec.hardware.cpu.value)
