"""Which variant of a version fits a device group: pure comparison of what is required with what is declared."""

from __future__ import annotations

from typing import TYPE_CHECKING

from trimtab_config.spec.kinds import Accelerator, DeviceGroupSpec, Document, Format, Tier, Variant
from trimtab_kernel.records import dataclass

if TYPE_CHECKING:
    from collections.abc import Sequence

    from trimtab_kernel.quantity import Quantity

RANK = {Tier.AUTO: 0, Tier.LITE: 1, Tier.STANDARD: 2, Tier.PREMIUM: 3}
REGION_LABEL = "region"


@dataclass(frozen=True, slots=True)
class Fit:
    """The variant that was chosen, and why."""

    variant: Variant
    why: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class NoFit:
    """Why each variant was turned down, one phrase for each, best tier first."""

    reasons: tuple[str, ...]


def misfits(variant: Variant, group: Document, memory_limit: Quantity) -> tuple[str, ...]:
    """What ``variant`` needs and ``group`` (a DeviceGroup) does not have; empty where it fits.

    Requirements are about the device; the measured memory peak is about the deployment's own limit.
    """
    spec: DeviceGroupSpec = group.spec
    hardware, needs = spec.hardware, variant.requirements
    region = group.metadata.labels.get(REGION_LABEL, "")
    found = []
    if variant.format is not Format.ONNX:
        found.append(f"has format {variant.format.value} and the runtime serves onnx")
    if needs.arch and hardware.arch not in needs.arch:
        found.append(
            f"needs arch {' or '.join(arch.value for arch in needs.arch)}, the group has {hardware.arch.value}"
        )
    if needs.os and hardware.os.lower() not in {name.lower() for name in needs.os}:
        found.append(f"needs os {' or '.join(needs.os)}, the group has {hardware.os}")
    if needs.accelerator is not Accelerator.NONE and hardware.accelerator is not needs.accelerator:
        found.append(f"needs accelerator {needs.accelerator.value}, the group has {hardware.accelerator.value}")
    if needs.memory is not None and hardware.memory < needs.memory:
        found.append(f"needs memory {needs.memory}, the group has {hardware.memory}")
    if needs.cpu is not None and hardware.cpu < needs.cpu:
        found.append(f"needs cpu {needs.cpu}, the group has {hardware.cpu}")
    if needs.regions and region not in needs.regions:
        found.append(f"needs region {' or '.join(needs.regions)}, the group has {region or 'none'}")
    if needs.power and spec.power.source not in needs.power:
        wanted = " or ".join(source.value for source in needs.power)
        found.append(f"needs power {wanted}, the group has {spec.power.source.value}")
    peak = variant.profile.memory_peak
    if peak is not None and peak > memory_limit:
        found.append(f"peaks at {peak} of memory, the deployment's limit is {memory_limit}")
    return tuple(found)


def device_class(group: Document) -> tuple[object, ...]:
    """Everything of a group that :func:`misfits` looks at: groups of equal class get the same variant for the same reasons."""
    spec: DeviceGroupSpec = group.spec
    hardware = spec.hardware
    return (
        hardware.arch.value,
        hardware.os,
        hardware.accelerator.value,
        hardware.memory.value.numerator,
        hardware.memory.value.denominator,
        hardware.cpu.value.numerator,
        hardware.cpu.value.denominator,
        group.metadata.labels.get(REGION_LABEL, ""),
        spec.power.source.value,
    )


def choose_variant(variants: Sequence[Variant], group: Document, tier: Tier, memory_limit: Quantity) -> Fit | NoFit:
    """The best variant that fits: of the asked tier, or the highest tier there is for ``auto``.

    Among variants of one tier the one that uses the group's accelerator wins, then the one that needs most memory,
    then the lowest digest: the choice never depends on the order in the file.
    """
    ordered = sorted(variants, key=_preference)
    turned_down: list[str] = []
    for variant in ordered:
        reasons = list(misfits(variant, group, memory_limit))
        if tier is not Tier.AUTO and variant.tier is not tier:
            reasons = [f"is not the tier {tier.value} that is asked for"]
        if not reasons:
            return Fit(variant, _why(variant, tier, turned_down))
        turned_down.append(f"{variant.tier.value} {' and '.join(reasons)}")
    return NoFit(tuple(turned_down))


def _preference(variant: Variant) -> tuple[int, bool, int, str]:
    needs = variant.requirements
    memory = needs.memory.units if needs.memory else 0
    return -RANK[variant.tier], needs.accelerator is Accelerator.NONE, -memory, variant.digest.hex


def _why(variant: Variant, tier: Tier, turned_down: Sequence[str]) -> tuple[str, ...]:
    asked = "best tier that fits" if tier is Tier.AUTO else f"tier {tier.value} is asked for"
    return (f"{variant.tier.value}: {asked}", *turned_down)
