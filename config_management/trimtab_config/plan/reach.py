"""OnDeviceModels that no device group may take: what is written in Git would be delivered to nobody, in silence."""

from __future__ import annotations

from typing import TYPE_CHECKING

from trimtab_config.plan.mobile import ineligibility, is_meant_for
from trimtab_kernel.problems import Problem, sort_problems

if TYPE_CHECKING:
    from trimtab_config.catalog import Catalog
    from trimtab_config.spec.kinds import Document

_SHOWN = 4  # groups with their reasons


def reach_problems(catalog: Catalog) -> tuple[Problem, ...]:
    """One problem (F207) for each OnDeviceModel without an eligible group, with the reason of each group it addresses."""
    return sort_problems(
        problem for model in catalog.on_device_models.values() for problem in _unreached(model, catalog)
    )


def _unreached(model: Document, catalog: Catalog) -> tuple[Problem, ...]:
    targets = model.spec.target_devices
    reasons = {
        name: ineligibility(targets, group) for name, group in catalog.groups.items() if is_meant_for(targets, group)
    }
    if not all(reasons.values()):
        return ()
    place = "spec.targetDevices"
    line = model.origin.line_of(place)
    if not reasons:
        got, hint = (
            "no group of phones in this tree",
            "add the DeviceGroup, or name other groups by targetDevices.labels",
        )
        return (Problem("F207", model.origin.file, line, place, got, "a group with os ios, ipados or android", hint),)
    alike: dict[str, list[str]] = {}
    for name, reason in reasons.items():
        alike.setdefault(reason, []).append(name)
    listed = "; ".join(f"{_names(names)}: {reason}" for reason, names in list(alike.items())[:_SHOWN])
    more = f" and {len(alike) - _SHOWN} more reasons" if len(alike) > _SHOWN else ""
    return (Problem("F207", model.origin.file, line, place, f"no eligible group ({listed}{more})", "at least one"),)


def _names(names: list[str]) -> str:
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return ", ".join(names[:_SHOWN]) + more
