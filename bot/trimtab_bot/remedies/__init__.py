"""Remedies: registered steps, each with a schema of its options, that turn a situation into a change to propose."""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING

from trimtab_bot.remedies.fields import FIELD_REMEDIES
from trimtab_bot.remedies.holding import AbortRollout, HoldVersion, ReleaseHold
from trimtab_bot.remedies.rollback import AskedRollback, Rollback
from trimtab_bot.remedies.tasks import TASKS
from trimtab_kernel.problems import RefusedError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from trimtab_bot.remedies.interface import AskedRemedy, Remedy

ASKED: Mapping[str, AskedRemedy] = MappingProxyType(
    {
        step.name: step
        for step in (AskedRollback(), HoldVersion(), ReleaseHold(), AbortRollout(), *FIELD_REMEDIES, *TASKS)
    }
)
"""Every step that may be asked for, by name."""
REMEDIES: Mapping[str, Remedy] = MappingProxyType({remedy.name: remedy for remedy in (Rollback(),)})
"""Every step that may change the fleet, by name. What is not here cannot be done."""


def remedy(name: str) -> Remedy:
    """The registered step of this name. Raises RefusedError (B307)."""
    found = REMEDIES.get(name)
    if found is None:
        raise RefusedError("B307", f'there is no remedy "{name}"; expected one of {", ".join(sorted(REMEDIES))}')
    return found


def asked_remedy(name: str) -> AskedRemedy:
    """The registered step of this name that people may ask for. Raises RefusedError (B307)."""
    found = ASKED.get(name)
    if found is None:
        raise RefusedError("B307", f'there is no remedy "{name}"; expected one of {", ".join(sorted(ASKED))}')
    return found


def remedy_table() -> str:
    """What may be asked for, as Markdown, as the documentation shows it."""
    lines = ["| remedy | what it does | options | who brought the version decides |", "|---|---|---|---|"]
    for name, step in sorted(ASKED.items()):
        shown = step.schema["properties"]
        options = ", ".join(f"`{each}`" for each in shown) if isinstance(shown, dict) and shown else "none"
        lines.append(f"| `{name}` | {step.says} | {options} | {'no' if step.bars_authors else 'yes'} |")
    return "\n".join(lines)
