"""What the group's policies say before a version is activated. Pure: the table comes with the desired document."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from trimtab_kernel.decisions import DecisionTable
from trimtab_kernel.desired import InferenceRules

if TYPE_CHECKING:
    from trimtab_kernel.desired import Artifact, DesiredDocument, DesiredModel

DAY_SECONDS = 86_400
_FREQUENCY = "alignment.inference-frequency"


def judged(document: DesiredDocument, model: DesiredModel, artifact: Artifact, day: int) -> tuple[DesiredModel, str]:
    """The model as it may be served, and why this artifact may not be activated on it ("" where it may).

    Inference is limited to what the policy allows even where the document says more: that holds for what is served
    already, too. ``day`` is counted since 1970-01-01.
    """
    rows = document.rows(model)
    if not rows:
        return model, ""
    findings = [
        item for item in DecisionTable(rows).decide(document.facts(model, artifact, day)) if item.level == "deny"
    ]
    for finding in findings:
        if finding.rule == _FREQUENCY:
            most = max(1, *(int(str(row.limit["most"])) for row in rows if row.rule == _FREQUENCY))
            model = replace(model, inference=replace(model.inference or InferenceRules(), maximum_per_minute=most))
    return model, "; ".join(f"{item.id}: got {item.got}, expected {item.expected}" for item in findings)
