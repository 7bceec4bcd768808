"""Which object a wish is about, by the name that people give."""

from __future__ import annotations

import difflib
from typing import TYPE_CHECKING

from trimtab_bot.remedies.interface import Impossible

if TYPE_CHECKING:
    from collections.abc import Collection

    from trimtab_bot.changes.history import FleetAt
    from trimtab_config.spec.kinds import Document

DEPLOYMENTS = frozenset({"EdgeAIDeployment", "OnDeviceModel"})


def find_object(fleet: FleetAt, target: str, kinds: Collection[str]) -> Document | Impossible:
    """The one object of these kinds called ``NAME`` or ``NAMESPACE/NAME``; B316 where there is none, or more than one."""
    known = [document for document in fleet.documents if document.kind in kinds]
    names = {f"{each.metadata.namespace}/{each.metadata.name}": each for each in known}
    found = [
        each for each in known if target in (each.metadata.name, f"{each.metadata.namespace}/{each.metadata.name}")
    ]
    if len(found) == 1:
        return found[0]
    listed = " or ".join(sorted(kinds))
    if found:
        full = ", ".join(sorted(f"{each.kind} {each.metadata.namespace}/{each.metadata.name}" for each in found))
        return Impossible("B316", f'"{target}" is the name of several: {full}; give the namespace too')
    close = difflib.get_close_matches(target, [*names, *(each.metadata.name for each in known)], n=1)
    hint = f', did you mean "{close[0]}"?' if close else ""
    return Impossible("B316", f'there is no {listed} called "{target}"{hint}')


def reached(fleet: FleetAt, document: Document) -> tuple[str, ...]:
    """The device groups that this deployment is placed in. Sorted."""
    return tuple(sorted(group for (_, group), each in fleet.placements.items() if each.document is document))


def model_and_version(document: Document) -> tuple[str, str]:
    """Which version of which model a deployment asks for."""
    spec = document.spec
    if document.kind == "OnDeviceModel":
        return str(spec.model_id), str(spec.version)
    return str(spec.model_ref.name), str(spec.model_ref.version)
