"""What might cost less: each function looks for one kind of change, and tries it before it says so.

Nothing is advised that would not compile or that a policy refuses; nothing that saves less than a cent a month, unless it
is about safety (limits below what was measured).
"""

from __future__ import annotations

from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal
from fractions import Fraction
from typing import TYPE_CHECKING

from trimtab_config.advice.advice import Advice, Saving, Topic
from trimtab_config.advice.observed import Need
from trimtab_config.advice.replicas import enough_replicas
from trimtab_config.cost.rates import Rates, choose_book, scaled
from trimtab_config.plan.planner import Planner
from trimtab_config.plan.variants import RANK
from trimtab_config.restore.fields import Value, field_path, set_fields
from trimtab_config.restore.objects import restore_objects
from trimtab_config.restore.proof import object_key
from trimtab_config.spec.kinds import EdgeAIDeploymentSpec, Tier
from trimtab_kernel.money import HOURS_PER_MONTH, Grade, quantize
from trimtab_kernel.problems import InputError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from trimtab_config.advice.replicas import Peak
    from trimtab_config.advice.trials import Trials
    from trimtab_config.plan.placement import Choice, GroupPlan, Placement
    from trimtab_config.restore.layout import ObjectKey
    from trimtab_config.spec.kinds import Document

RUNTIME_BYTES = 96 * 2**20
"""What the runtime takes before any model runs: 80 MB measured with one small model (bench/README.md), and a fifth more."""
MEMORY_HEADROOM = Decimal("1.3")
CPU_HEADROOM = Decimal("1.3")
"""Limits stand this far above the highest figure that was observed: a peak that was seen is not the highest there is."""
_MEMORY_STEP = 16 * 2**20
_CPU_STEP = Decimal("0.01")
_WORTH = Decimal("0.01")  # of a currency, a month
_MINUTES = Decimal(1440)
_CHEAPER_PURCHASE = ("spot", "committed", "reserved")
_FREED = "what is freed becomes idle until other models use it or the devices are smaller; the bill for devices falls only then"


class Fleet:
    """The plans of a fleet and what was observed of it: what all steps look at."""

    def __init__(self, trials: Trials, needs: Mapping[tuple[str, str, str], Need]) -> None:
        self.trials = trials
        self.catalog = trials.catalog
        self.needs = needs
        planner = Planner(self.catalog)
        self.plans: dict[str, GroupPlan] = {name: planner.plan(name)[0] for name in self.catalog.groups}
        self.served: dict[ObjectKey, list[tuple[str, Placement]]] = {}
        for name, plan in self.plans.items():
            for placement in plan.placements:
                if isinstance(placement.document.spec, EdgeAIDeploymentSpec):
                    self.served.setdefault(object_key(placement.document), []).append((name, placement))

    def try_fields(
        self, key: ObjectKey, fields: Mapping[str, Value], *, paying: bool = True
    ) -> tuple[Mapping[str, bytes | None], tuple[Saving, ...]] | None:
        """The change and its saving; None where it cannot be written, would not compile or is refused.

        Where it is only about money (``paying``) also where it saves none.
        """
        paths = {field_path(name): value for name, value in fields.items()}
        restoration, problems = set_fields(self.trials.files, key, paths)
        if problems or not restoration.changes:
            return None
        names = [name for name, _ in self.served[key]]
        saved = self.trials.saving(restoration.changes, names, _pays if paying else lambda _: True)
        return None if saved is None else (restoration.changes, saved)


def _pays(savings: tuple[Saving, ...]) -> bool:
    """Whether it saves something in some currency, and by no bound costs anything in any."""
    return any(saving.value >= _WORTH for saving in savings) and all(saving.low > -_WORTH for saving in savings)


def cheaper_variants(fleet: Fleet) -> Iterator[Advice]:
    """A lower tier for a deployment: each below those that its groups get now, the one that saves most."""
    for key, placed in sorted(fleet.served.items()):
        tiers = {_tier(placement.target) for _, placement in placed}
        best: Advice | None = None
        for tier in (Tier.STANDARD, Tier.LITE):
            if not any(RANK[now] > RANK[tier] for now in tiers):
                continue
            tried = fleet.try_fields(key, {"spec.tier": tier.value})
            if tried is None:
                continue
            changes, savings = tried
            moved = sorted(
                f"{name}: {_tier(p.target).value} to {tier.value}" for name, p in placed if _tier(p.target) is not tier
            )
            found = Advice(
                Topic.VARIANT,
                key,
                f"run the {tier.value} variant",
                tuple(sorted(name for name, _ in placed)),
                savings,
                tuple(moved),
                (
                    f"the evaluation of {placed[0][1].model} {placed[0][1].asked} does not tell its variants apart: compare their accuracy first",
                ),
                changes,
            )
            if best is None or _most(found) > _most(best):
                best = found
        if best is not None:
            yield best


def _tier(choice: Choice) -> Tier:
    return Tier(choice.artifact.tier)


def _most(advice: Advice) -> Decimal:
    return max((saving.value for saving in advice.savings), default=Decimal(0))


def measured_limits(fleet: Fleet) -> Iterator[Advice]:
    """Limits from the highest figures that were measured, with headroom; up as well as down."""
    for key, placed in sorted(fleet.served.items()):
        limits = placed[0][1].document.spec.resource_limits
        memory, cpu = _measured_memory(fleet, placed), _measured_cpu(fleet, placed)
        fields: dict[str, Value] = {}
        why: list[str] = []
        raised = False
        if memory is not None:
            wanted = _up(Decimal(RUNTIME_BYTES) + memory[0] * MEMORY_HEADROOM, Decimal(_MEMORY_STEP))
            if Fraction(wanted) != limits.memory.value and _far(wanted, limits.memory.value):
                fields["spec.resourceLimits.memory"] = f"{int(wanted) // 2**20}Mi"
                why.append(
                    f"memory peaks at {_mebibytes(memory[0])} ({memory[1]}), the runtime takes {_mebibytes(Decimal(RUNTIME_BYTES))}, the limit is {limits.memory}"
                )
                raised = Fraction(wanted) > limits.memory.value
        if cpu is not None:
            wanted = max(_up(cpu[0] * CPU_HEADROOM, _CPU_STEP), _CPU_STEP)
            if Fraction(wanted) != limits.cpu.value and _far(wanted, limits.cpu.value):
                fields["spec.resourceLimits.cpu"] = f"{int(wanted * 1000)}m"
                why.append(f"CPU peaks at {cpu[0].normalize():f} cores ({cpu[1]}), the limit is {limits.cpu}")
                raised = raised or Fraction(wanted) > limits.cpu.value
        if not fields:
            continue
        groups = tuple(sorted(name for name, _ in placed))
        tried = fleet.try_fields(key, fields, paying=not raised)
        if tried is None and raised:
            title = "limits are below what was measured, and what is needed does not fit"
            heed = ("choose a smaller variant, or leave out the groups whose devices are too small",)
            yield Advice(Topic.LIMITS, key, title, groups, (), tuple(why), heed, {})
        if tried is None:
            continue
        changes, savings = tried
        asked = ", ".join(f"{name.rpartition('.')[2]} {value}" for name, value in sorted(fields.items()))
        weigh = "the limit is below what was measured: this is about safety, not money" if raised else _FREED
        yield Advice(Topic.LIMITS, key, f"set limits to {asked}", groups, savings, tuple(why), (weigh,), changes)


def _far(wanted: Decimal, now: Fraction) -> bool:
    """Whether it is worth a change: a tenth or more."""
    return abs(Fraction(wanted) - now) * 10 >= now


def _up(value: Decimal, step: Decimal) -> Decimal:
    return (value / step).to_integral_value(ROUND_CEILING) * step


def _mebibytes(value: Decimal) -> str:
    return f"{quantize(value / 2**20, 1)} MiB"


def _observed(fleet: Fleet, placed: list[tuple[str, Placement]]) -> list[tuple[str, Need | None]]:
    return [
        (name, fleet.needs.get((name, placement.model, choice.version)))
        for name, placement in placed
        for choice in (placement.target, placement.stable)
        if choice is not None
    ]


def _measured_memory(fleet: Fleet, placed: list[tuple[str, Placement]]) -> tuple[Decimal, str] | None:
    """The highest peak and where it was seen; None unless everything that the deployment runs was measured."""
    peaks: list[tuple[Decimal, str]] = []
    for name, placement in placed:
        for choice in (placement.target, placement.stable):
            if choice is None:
                continue
            need = fleet.needs.get((name, placement.model, choice.version))
            if need is not None and need.memory_peak_bytes is not None:
                peaks.append((need.memory_peak_bytes, f"observed in {name}"))
                continue
            peak = choice.profile.memory_peak
            if peak is None or choice.profile.grade is not Grade.MEASURED:
                return None
            peaks.append(
                (
                    Decimal(peak.value.numerator) / Decimal(peak.value.denominator),
                    f"measured profile of {choice.version} {choice.artifact.tier}",
                )
            )
    return max(peaks, default=None)


def _measured_cpu(fleet: Fleet, placed: list[tuple[str, Placement]]) -> tuple[Decimal, str] | None:
    peaks: list[tuple[Decimal, str]] = []
    for name, need in _observed(fleet, placed):
        if need is None or need.cpu_peak_cores is None:
            return None
        peaks.append((need.cpu_peak_cores, f"observed in {name}"))
    return max(peaks, default=None)


def better_placement(fleet: Fleet) -> Iterator[Advice]:
    """Requests on the device or at the named endpoint, whichever is cheaper; only where the deployment names one."""
    for key, placed in sorted(fleet.served.items()):
        spec: EdgeAIDeploymentSpec = placed[0][1].document.spec
        offload = spec.offload
        if offload is None or offload.price_class is None:
            continue
        share = offload.expected_share or Decimal(0)
        for wanted, title in ((Decimal(0), "answer on the device"), (Decimal(1), "answer at the endpoint")):
            if wanted == share:
                continue
            tried = fleet.try_fields(key, {"spec.offload.expectedShare": int(wanted)})
            if tried is None:
                continue
            latency = (
                [
                    f"evaluated at {version.evaluation.latency_seconds} s on the device"
                    for version in fleet.catalog.models[placed[0][1].model].spec.versions
                    if version.version == placed[0][1].asked and version.evaluation.latency_seconds is not None
                ]
                if placed[0][1].model in fleet.catalog.models
                else []
            )
            heed = f"{offload.endpoint} answers under the law of {offload.jurisdiction}; the way there adds its latency, and a device without a link answers itself"
            yield Advice(
                Topic.PLACEMENT,
                key,
                title,
                tuple(sorted(name for name, _ in placed)),
                tried[1],
                (f"{share:%} of the requests are expected at the endpoint now", *latency),
                (heed,),
                tried[0],
            )


def cheaper_purchase(fleet: Fleet) -> Iterator[Advice]:
    """The endpoint bought another way: class ``NAME-spot``, ``NAME-committed`` or ``NAME-reserved`` beside ``NAME``."""
    for key, placed in sorted(fleet.served.items()):
        offload = placed[0][1].document.spec.offload
        if offload is None or offload.price_class is None:
            continue
        stem = next(
            (
                offload.price_class.removesuffix(f"-{way}")
                for way in _CHEAPER_PURCHASE
                if offload.price_class.endswith(f"-{way}")
            ),
            offload.price_class,
        )
        for way in _CHEAPER_PURCHASE:
            other = f"{stem}-{way}"
            if other == offload.price_class:
                continue
            tried = fleet.try_fields(key, {"spec.offload.priceClass": other})
            if tried is None:
                continue
            heed = (
                "spot capacity is taken away at short notice: requests then stay on the device"
                if way == "spot"
                else "a commitment is paid whether it is used or not: look at the forecast first (trimtab budget)"
            )
            yield Advice(
                Topic.PURCHASE,
                key,
                f"buy the endpoint as {other}",
                tuple(sorted(name for name, _ in placed)),
                tried[1],
                (f"it is priced as {offload.price_class} now",),
                (heed,),
                tried[0],
            )


def lower_frequency(fleet: Fleet) -> Iterator[Advice]:
    """A frequency at which the day's requests fit the daily budget of CPU seconds."""
    for key, placed in sorted(fleet.served.items()):
        inference = placed[0][1].document.spec.inference
        budget, expected = inference.daily_cpu_seconds, inference.expected_requests_per_device_day
        if budget is None or not budget:
            continue
        seconds = [placement.target.profile.cpu_seconds for _, placement in placed]
        costs = [figure.value for figure in seconds if figure is not None]
        if len(costs) != len(placed) or not max(costs):
            continue
        observed = [
            need.requests_per_device_day
            for _, need in _observed(fleet, placed)
            if need is not None and need.requests_per_device_day is not None
        ]
        requests = max([*observed, *([] if expected is None else [expected])], default=None)
        if requests is None or requests * max(costs) <= budget:
            continue
        fitting = budget / max(costs)
        minute = int((fitting / _MINUTES).to_integral_value(ROUND_FLOOR))
        if minute < 1:
            continue
        tried = fleet.try_fields(
            key,
            {
                "spec.inference.maximumPerMinute": minute,
                "spec.inference.expectedRequestsPerDeviceDay": min(minute * 1440, int(requests)),
            },
            paying=False,
        )
        if tried is None:
            continue
        why = f"{requests.normalize():f} requests a day at {max(costs)} CPU seconds take {(requests * max(costs)).normalize():f} of the {budget} CPU seconds allowed"
        yield Advice(
            Topic.FREQUENCY,
            key,
            f"at most {minute} inferences a minute",
            tuple(sorted(name for name, _ in placed)),
            tried[1],
            (why,),
            ("without it devices stop answering when the day's budget is used up",),
            tried[0],
        )


def unused(fleet: Fleet) -> Iterator[Advice]:
    """Deployments that reach no group, models that nothing names, groups whose devices run nothing."""
    catalog = fleet.catalog
    reached = set(fleet.served)
    for document in catalog.deployments.values():
        if object_key(document) not in reached and not any(
            _is_meant(document, group) for group in catalog.groups.values()
        ):
            yield from _removal(
                fleet, document, "it reaches no device group", "a label may be misspelt: look before you remove it", ()
            )
    named = {document.spec.model_ref.name for document in catalog.deployments.values()}
    held = {document.spec.model for document in catalog.holds.values()}
    for name, document in catalog.models.items():
        if name not in named and name not in held:
            yield from _removal(fleet, document, "no deployment names it", "another fleet may read this file", ())
    for name, document in catalog.groups.items():
        if fleet.plans[name].placements or not document.spec.device_count:
            continue
        try:
            rates = Rates(choose_book(catalog.price_books.values(), document, fleet.trials.price_book), document)
            month = scaled(
                rates.core_hour(), document.spec.hardware.cpu.value * document.spec.device_count * HOURS_PER_MONTH
            )
        except InputError:
            continue
        saving = Saving.of(rates.currency, month)
        why = f"{document.spec.device_count} devices that run no model"
        yield from _removal(
            fleet,
            document,
            why,
            "removing the group here does not switch its devices off; the saving is theirs",
            (saving,),
        )


def _is_meant(document: Document, group: Document) -> bool:
    labels = group.metadata.labels
    return all(labels.get(key) == value for key, value in document.spec.target_devices.labels.items())


def _removal(fleet: Fleet, document: Document, why: str, heed: str, savings: tuple[Saving, ...]) -> Iterator[Advice]:
    key = object_key(document)
    restoration, problems = restore_objects(fleet.trials.files, {}, [key])
    if problems or fleet.trials.saving(restoration.changes, ()) is None:
        return
    groups = (document.metadata.name,) if document.kind == "DeviceGroup" else ()
    yield Advice(Topic.UNUSED, key, f"remove {key}", groups, savings, (why,), (heed,), restoration.changes)


STEPS = (cheaper_variants, measured_limits, better_placement, cheaper_purchase, lower_frequency, unused)


def advise(
    trials: Trials, needs: Mapping[tuple[str, str, str], Need], peaks: Mapping[str, Peak] | None = None
) -> tuple[Advice, ...]:
    """All advice for a fleet: limits and replicas that are too low, then what saves most first. ``peaks`` by group."""
    fleet = Fleet(trials, needs)
    found = [advice for step in STEPS for advice in step(fleet)]
    found += enough_replicas(trials, fleet.plans, peaks or {})
    return tuple(sorted(found, key=lambda advice: (not _is_urgent(advice), -_most(advice), advice.name)))


def _is_urgent(advice: Advice) -> bool:
    return advice.topic in {Topic.LIMITS, Topic.REPLICAS} and (not advice.changes or _most(advice) < 0)
