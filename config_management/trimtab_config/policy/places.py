"""Where each shipped rule judges: before merge, at the API server and how, on the device. Made from what judges there. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from trimtab_config.policy.admission import EXPRESSIONS, NOT_AT_ADMISSION, WEBHOOK_ONLY
from trimtab_config.policy.gatekeeper import RULES
from trimtab_kernel.decisions import ON_DEVICE
from trimtab_kernel.records import dataclass

if TYPE_CHECKING:
    from collections.abc import Iterable


@dataclass(frozen=True, slots=True)
class Place:
    """One rule. ``needs``: why it is not said in CEL; "" where it is."""

    rule: str
    in_cel: bool
    by_webhook: bool
    in_gatekeeper: bool
    on_device: bool
    needs: str = ""


def places(rules: Iterable[str]) -> tuple[Place, ...]:
    """Where ``rules`` judge besides rendering, by name."""
    return tuple(
        Place(
            rule,
            rule in EXPRESSIONS,
            rule in EXPRESSIONS or rule in WEBHOOK_ONLY or rule == "finops.budget",
            rule in RULES,
            rule in ON_DEVICE,
            WEBHOOK_ONLY.get(rule) or NOT_AT_ADMISSION.get(rule, ""),
        )
        for rule in sorted(rules)
        if not rule.startswith("input.")
    )


def places_table(rules: Iterable[str]) -> str:
    """The same as a table in Markdown, one line for each rule."""
    rows = [
        "| rule | ValidatingAdmissionPolicy | webhook | Gatekeeper | device | why not in CEL: it needs |",
        "|---|---|---|---|---|---|",
    ]
    for each in places(rules):
        said = (each.in_cel, each.by_webhook, each.in_gatekeeper, each.on_device)
        marks = " | ".join("yes" if mark else "no" for mark in said)
        rows.append(f"| `{each.rule}` | {marks} | {each.needs} |")
    return "\n".join(rows) + "\n"
