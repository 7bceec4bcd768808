"""Which phones and kiosks an OnDeviceModel is for."""

from __future__ import annotations

from typing import TYPE_CHECKING

from trimtab_kernel.eligibility import ANDROID, APPLE, judge_system

if TYPE_CHECKING:
    from trimtab_config.spec.kinds import DeviceGroupSpec, Document, MobileTargets

_MB = 10**6


def is_meant_for(targets: MobileTargets, group: Document) -> bool:
    """Whether the model addresses this kind of group at all: by its labels, or, where it names none, any phone system."""
    if targets.labels:
        return all(group.metadata.labels.get(key) == value for key, value in targets.labels.items())
    return group.spec.hardware.os.lower() in APPLE | ANDROID


def ineligibility(targets: MobileTargets, group: Document) -> str:
    """Why the group's devices may not take the model; ``""`` where they may.

    ``min_os_version`` judges iOS devices alone and ``min_api_level`` Android ones; regions match the jurisdiction.
    A version that the group does not declare is not enough for one that is asked for.
    """
    spec: DeviceGroupSpec = group.spec
    hardware = spec.hardware
    if targets.regions and spec.jurisdiction not in targets.regions:
        return f"jurisdiction {spec.jurisdiction} is not among the regions {', '.join(targets.regions)}"
    if targets.min_memory_mb is not None and hardware.memory.value < targets.min_memory_mb * _MB:
        return f"memory {hardware.memory} is below {targets.min_memory_mb} MB"
    meets = judge_system(
        hardware.os, hardware.os_version, hardware.api_level, targets.min_os_version, targets.min_api_level
    )
    if meets:
        return ""
    android = hardware.os.lower() in ANDROID
    declared = hardware.api_level if android else hardware.os_version
    wanted = targets.min_api_level if android else targets.min_os_version
    what, field = ("Android API level", "apiLevel") if android else ("OS version", "osVersion")
    found = f"is not declared (spec.hardware.{field})" if declared is None else declared
    return f"{what} {found}, at least {wanted} is asked for"
