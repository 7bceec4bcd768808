"""What policies say of a whole fleet, beside what they say of each group: budgets, and names of rules that are none. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from trimtab_config.spec.nearest import did_you_mean
from trimtab_kernel.problems import Problem, quoted

if TYPE_CHECKING:
    from collections.abc import Iterable

    from trimtab_config.catalog import Catalog
    from trimtab_config.cost.report import CostReport
    from trimtab_config.policy.gate import PolicyGate
    from trimtab_config.policy.input import PolicyInputs


def budget_problems(gate: PolicyGate, inputs: PolicyInputs, costs: Iterable[CostReport]) -> tuple[Problem, ...]:
    """What the rules say of each FinOpsPolicy with a budget; ``costs`` are those of all groups."""
    asked = inputs.of_budgets(costs)
    decisions = gate.decide([text for _, text in asked])
    problems: list[Problem] = []
    for (policy, _), decision in zip(asked, decisions, strict=True):
        problems += gate.problems(policy, decision)
    return tuple(problems)


def unknown_rules(gate: PolicyGate, catalog: Catalog) -> tuple[Problem, ...]:
    """Levels and exceptions of rules that do not exist, or are another domain's: they would hold for nothing (F508)."""
    problems = []
    for policy in (*catalog.finops_policies.values(), *catalog.alignment_policies.values()):
        domain = "finops" if policy.kind == "FinOpsPolicy" else "alignment"
        known = sorted(name for name in gate.rules if name.startswith(f"{domain}."))
        named = [(f"spec.levels.{rule}", rule) for rule in policy.spec.levels]
        named += [(f"spec.exceptions[{index}].rule", item.rule) for index, item in enumerate(policy.spec.exceptions)]
        for path, rule in named:
            if rule not in known:
                origin = policy.origin
                hint = did_you_mean(rule, known) or "'trimtab policy explain' lists them"
                expected = f"the name of a rule of {domain}"
                problems.append(Problem("F508", origin.file, origin.line_of(path), path, quoted(rule), expected, hint))
    return tuple(problems)
