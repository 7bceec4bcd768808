"""What must hold between the fields of one object. Each field is already well formed when these rules run.

A rule here needs nothing but the object itself: no other object, no date, no price. So a document that passes alone is
one of which ``trimtab validate FILE`` says nothing.
"""

from __future__ import annotations

from fractions import Fraction
from typing import TYPE_CHECKING, Any

from trimtab_config.spec.kinds import (
    AIAlignmentPolicySpec,
    CohortRule,
    DeviceGroupSpec,
    Document,
    EdgeAIDeploymentSpec,
    FinOpsPolicySpec,
    GradedFigure,
    HoldSpec,
    ModelSpec,
    OnDeviceModelSpec,
    PriceBookSpec,
    UpdateStrategyType,
)
from trimtab_kernel.problems import Problem, quoted
from trimtab_kernel.quantity import Quantity

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

MAX_COHORTS = 16  # each one costs series on every device
_LEAST_MEMORY = Quantity.parse("64Ki")


def check_coherence(document: Document) -> tuple[Problem, ...]:
    """The problems between the fields of ``document``, each at the line of the field that breaks a rule."""
    check = _Check(document)
    rule = _RULES.get(type(document.spec))
    if rule is not None:
        rule(check, document.spec)
    return tuple(check.problems)


class _Check:
    def __init__(self, document: Document) -> None:
        self.origin = document.origin
        self.name = document.metadata.name
        self.problems: list[Problem] = []

    def add(self, code: str, path: str, got: str, expected: str, hint: str = "") -> None:
        line = self.origin.line_of(path)
        self.problems.append(Problem(code, self.origin.file, line, path, got, expected, hint))

    def unique(self, path: str, name_field: str, names: Iterable[str]) -> None:
        seen: dict[str, int] = {}
        for index, name in enumerate(names):
            first = seen.setdefault(name, index)
            if first != index:
                place = f"{path}[{index}].{name_field}"
                line = self.origin.line_of(f"{path}[{first}].{name_field}")
                self.add("F126", place, f"{quoted(name)} twice", "each name once", f"the first one is on line {line}")

    def memory(self, path: str, quantity: Quantity | None) -> None:
        """Bytes written with the ``m`` of millicores, or without a unit, are a classic slip."""
        if quantity is not None and quantity < _LEAST_MEMORY:
            hint = '"m" means thousandths; "Mi" and "Gi" are units of memory'
            self.add("F104", path, f"{quantity} bytes", "memory of at least 64Ki", hint)

    def figure(self, path: str, figure: GradedFigure | None) -> None:
        """``low <= value <= high``."""
        if figure is None:
            return
        if figure.low is not None and figure.low > figure.value:
            self.add("F124", f"{path}.low", str(figure.low), f"at most the value {figure.value}")
        if figure.high is not None and figure.high < figure.value:
            self.add("F124", f"{path}.high", str(figure.high), f"at least the value {figure.value}")


def _deployment(check: _Check, spec: EdgeAIDeploymentSpec) -> None:
    check.memory("spec.resourceLimits.memory", spec.resource_limits.memory)
    gpu = spec.resource_limits.gpu
    if gpu is not None and gpu.value.denominator != 1:
        check.add("F104", "spec.resourceLimits.gpu", f'"{gpu}"', "a whole number of GPUs")
    check.figure("spec.telemetry.bytesPerDeviceDay", spec.telemetry.bytes_per_device_day)
    if spec.offload is not None:
        check.figure("spec.offload.bytesPerRequest", spec.offload.bytes_per_request)
        if spec.offload.expected_share is not None and spec.offload.price_class is None:
            expected = "the priceClass of the endpoint, since expectedShare asks for its price"
            check.add("F131", "spec.offload.expectedShare", "no priceClass", expected)
    rollout, path = spec.rollout, "spec.rollout.waves"
    check.unique(path, "name", (wave.name for wave in rollout.waves))
    reached = Fraction(0)
    placed: dict[str, str] = {}
    for index, wave in enumerate(rollout.waves):
        place = f"{path}[{index}]"
        if (wave.percent is None) == (not wave.groups):
            got = "neither percent nor groups" if wave.percent is None else "both percent and groups"
            check.add("F120", place, got, 'either "percent" or "groups"')
        if wave.percent is not None:
            if wave.percent < reached:
                expected = f"at least the {_percent(reached)} of the waves before"
                hint = "a rollout only grows; to go back, name an earlier wave in spec.rollout.wave"
                check.add("F121", f"{place}.percent", _percent(wave.percent), expected, hint)
            reached = max(reached, wave.percent)
        for position, group in enumerate(wave.groups):
            earlier = placed.setdefault(group, wave.name)
            if earlier != wave.name:
                got = f"{quoted(group)} in waves {earlier} and {wave.name}"
                check.add("F126", f"{place}.groups[{position}]", got, "each group in one wave")
    names = [wave.name for wave in rollout.waves]
    if rollout.wave is not None and rollout.wave not in names:
        expected = f"one of {', '.join(dict.fromkeys(names))}" if names else 'a wave that is listed under "waves"'
        check.add("F122", "spec.rollout.wave", quoted(rollout.wave), expected)
    if spec.experiment:
        check.unique("spec.experiment.arms", "name", (arm.name for arm in spec.experiment.arms))
        total = sum((arm.share for arm in spec.experiment.arms), Fraction(0))
        if total > 100:
            check.add("F129", "spec.experiment.arms", f"shares of {_percent(total)}", "shares of at most 100% together")


def _percent(value: Fraction) -> str:
    return f"{float(value):g}%"


def _on_device_model(check: _Check, spec: OnDeviceModelSpec) -> None:
    strategy, path = spec.update_strategy, "spec.updateStrategy"
    written = path in check.origin.lines
    if written and strategy.type is UpdateStrategyType.STAGED_ROLLOUT and strategy.rollout_percentage is None:
        hint = "write rolloutPercentage: 100 (or type: immediate) to reach every eligible device"
        check.add("F128", path, "a stagedRollout without rolloutPercentage", "a percentage of eligible devices", hint)
    if strategy.type is UpdateStrategyType.IMMEDIATE and strategy.rollout_percentage not in {None, Fraction(100)}:
        hint = "write type: stagedRollout, or leave rolloutPercentage out"
        got = f"type immediate with {_percent(strategy.rollout_percentage or Fraction(0))}"
        check.add("F128", f"{path}.rolloutPercentage", got, "100% where the type is immediate", hint)


def _device_group(check: _Check, spec: DeviceGroupSpec) -> None:
    if "." in check.name:
        # It names a Service, a folder and an image repository, and devices take it for nothing else.
        expected = 'a name without "." (RFC 1123 label), such as "camera-emea-1"'
        check.add(
            "F104",
            "metadata.name",
            quoted(check.name),
            expected,
            f"did you mean {quoted(check.name.replace('.', '-'))}?",
        )
    check.memory("spec.hardware.memory", spec.hardware.memory)
    idle, peak = spec.power.idle_watts, spec.power.peak_watts
    if idle is not None and peak is not None and idle > peak:
        check.add("F124", "spec.power.idleWatts", f"{idle} W", f"at most the {peak} W of peakWatts")


def _model(check: _Check, spec: ModelSpec) -> None:
    check.unique("spec.versions", "version", (version.version for version in spec.versions))
    for index, version in enumerate(spec.versions):
        if version.production is not None and not version.production.over_inferences:
            path = f"spec.versions[{index}].production.overInferences"
            check.add("F130", path, "0", "how many inferences share the cost, above 0")
    cohorts = spec.alignment.attribute.cohorts if spec.alignment else {}
    for index, version in enumerate(spec.versions):
        place = f"spec.versions[{index}]"
        for position, variant in enumerate(version.variants):
            below = f"{place}.variants[{position}]"
            check.memory(f"{below}.requirements.memory", variant.requirements.memory)
            check.memory(f"{below}.profile.memoryPeak", variant.profile.memory_peak)
            check.figure(f"{below}.profile.cpuSeconds", variant.profile.cpu_seconds)
            check.figure(f"{below}.profile.joules", variant.profile.joules)
            check.figure(f"{below}.profile.bytes", variant.profile.bytes)
        if cohorts:
            for name in version.evaluation.fairness:
                if name not in cohorts:
                    got, expected = quoted(name), f"one of {', '.join(sorted(cohorts))}"
                    check.add("F123", f"{place}.evaluation.fairness.{name}", got, expected)
    if cohorts:
        _cohorts(check, cohorts)


def _cohorts(check: _Check, cohorts: Mapping[str, CohortRule]) -> None:
    path = "spec.alignment.attribute.cohorts"
    if not 2 <= len(cohorts) <= MAX_COHORTS:
        check.add("F123", path, f"{len(cohorts)} cohorts", f"2 to {MAX_COHORTS} cohorts")
    sound: dict[str, CohortRule] = {}
    for name, rule in cohorts.items():
        place = f"{path}.{name}"
        ranged = rule.low is not None or rule.high is not None
        if (rule.value is not None) == ranged:
            got = "both a value and a range" if ranged else "neither a value nor a range"
            check.add("F123", place, got, 'either "value", or "low" and/or "high"')
        elif rule.low is not None and rule.high is not None and rule.low >= rule.high:
            check.add("F123", f"{place}.low", str(rule.low), f"less than the {rule.high} of high")
        else:
            sound[name] = rule
    names = sorted(sound)
    for position, name in enumerate(names):
        for other in names[:position]:
            if _overlap(sound[name], sound[other]):
                hint = "a range holds its low and not its high"
                check.add("F123", f"{path}.{name}", f"values that {quoted(other)} holds too", "cohorts apart", hint)


def _overlap(one: CohortRule, other: CohortRule) -> bool:
    """Whether some number belongs to both."""
    if one.value is not None and other.value is not None:
        return one.value == other.value
    if one.value is not None:
        return _holds(other, one)
    if other.value is not None:
        return _holds(one, other)
    apart = (one.high is not None and other.low is not None and one.high <= other.low) or (
        other.high is not None and one.low is not None and other.high <= one.low
    )
    return not apart


def _holds(ranged: CohortRule, exact: CohortRule) -> bool:
    assert exact.value is not None
    return (ranged.low is None or exact.value >= ranged.low) and (ranged.high is None or exact.value < ranged.high)


def _price_book(check: _Check, spec: PriceBookSpec) -> None:
    if spec.valid_from > spec.valid_until:
        check.add("F125", "spec.validUntil", str(spec.valid_until), f"a date not before validFrom ({spec.valid_from})")
    for region, prices in spec.regions.items():
        place = f"spec.regions.{region}"
        for name, figure in prices.device_hour.items():
            check.figure(f"{place}.deviceHour.{name}", figure)
        for name, figure in prices.network_per_gb.items():
            check.figure(f"{place}.networkPerGB.{name}", figure)
        check.figure(f"{place}.energyPerKWh", prices.energy_per_kwh)
        check.figure(f"{place}.carbonPerKWh", prices.carbon_per_kwh)
        check.figure(f"{place}.telemetryPerGB", prices.telemetry_per_gb)
        check.figure(f"{place}.storagePerGBMonth", prices.storage_per_gb_month)
        check.figure(f"{place}.sharedPerDeviceMonth", prices.shared_per_device_month)
        for name, figure in prices.offload_per_1k.items():
            check.figure(f"{place}.offloadPer1k.{name}", figure)
    _exchange_rates(check, spec)


def _exchange_rates(check: _Check, spec: PriceBookSpec) -> None:
    """No rate of nothing, of the book's own currency, or of a currency that already has one for the same day."""
    for index, rate in enumerate(spec.exchange_rates):
        place = f"spec.exchangeRates[{index}]"
        if not rate.rate:
            check.add("F130", f"{place}.rate", "0", "what one unit of the currency is worth, above 0")
        if rate.currency == spec.currency:
            check.add(
                "F130", f"{place}.currency", rate.currency, f"another currency than the book's own {spec.currency}"
            )
        if rate.valid_from > rate.valid_until:
            expected = f"a date not before validFrom ({rate.valid_from})"
            check.add("F125", f"{place}.validUntil", str(rate.valid_until), expected)
        for before, other in enumerate(spec.exchange_rates[:index]):
            apart = rate.valid_from > other.valid_until or rate.valid_until < other.valid_from
            if other.currency == rate.currency and not apart:
                hint = f"the other one is on line {check.origin.line_of(f'spec.exchangeRates[{before}]')}"
                expected = f"one rate of {rate.currency} for each day"
                check.add("F130", place, f"a second rate of {rate.currency} for the same days", expected, hint)
                break


def _hold(check: _Check, spec: HoldSpec) -> None:
    if spec.version is None and spec.digest is None:
        hint = "a Hold keeps out one version or one digest, never a whole model"
        check.add("F127", "spec", "neither version nor digest", "a version, a digest, or both", hint)


def _finops_policy(check: _Check, spec: FinOpsPolicySpec) -> None:
    check.memory("spec.caps.memory", spec.caps.memory)
    _exceptions(check, spec)


def _exceptions(check: _Check, spec: FinOpsPolicySpec | AIAlignmentPolicySpec) -> None:
    """Somebody answers for each, and says why: blanks are nobody and nothing."""
    for index, item in enumerate(spec.exceptions):
        for name, said in (("owner", item.owner), ("reason", item.reason)):
            if not said.strip():
                check.add("F104", f"spec.exceptions[{index}].{name}", quoted(said), "more than blanks")


_RULES: dict[type, Callable[[_Check, Any], None]] = {
    EdgeAIDeploymentSpec: _deployment,
    OnDeviceModelSpec: _on_device_model,
    DeviceGroupSpec: _device_group,
    ModelSpec: _model,
    PriceBookSpec: _price_book,
    FinOpsPolicySpec: _finops_policy,
    AIAlignmentPolicySpec: _exceptions,
    HoldSpec: _hold,
}
