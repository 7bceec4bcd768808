"""Where a compile asks policy: decisions of all bundles together, as problems that name file, field and the way out. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from trimtab_config.policy.interface import Decision, PolicyLevel
from trimtab_kernel.problems import ExitCode, InputError, Problem
from trimtab_kernel.records import dataclass

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from trimtab_config.policy.bundle import RuleText
    from trimtab_config.policy.interface import PolicyEngine, PolicyFinding
    from trimtab_config.spec.kinds import Document

REFUSED = "F501"
WARNED = "F502"
ON_TRIAL = "F503"
UNDECIDED = "F504"
_CODES = {PolicyLevel.DENY: REFUSED, PolicyLevel.WARN: WARNED, PolicyLevel.DRY_RUN: ON_TRIAL}


class PolicyRefusedError(InputError):
    """Nothing is wrong with the tree, and policy says no."""

    exit_code = ExitCode.REFUSED


@dataclass(frozen=True, slots=True)
class PolicyGate:
    """Engines that are asked together; what one of them finds holds. ``rules`` are the texts of all their rules."""

    engines: tuple[PolicyEngine, ...]
    rules: Mapping[str, RuleText]

    def decide(self, requests: Sequence[bytes]) -> list[Decision]:
        """One decision for each request. Raises OutsideError where an engine cannot be reached."""
        if not requests:
            return []
        answers = [engine.decide(requests) for engine in self.engines]
        return list(answers[0]) if len(answers) == 1 else [_together(each) for each in zip(*answers, strict=True)]

    def problems(self, document: Document, decision: Decision) -> tuple[Problem, ...]:
        """What a decision found wrong with ``document``: F501 and F504 refuse, F502 and F503 do not."""
        return tuple(self._problem(document, finding) for finding in decision.findings)

    def _problem(self, document: Document, finding: PolicyFinding) -> Problem:
        text = self.rules.get(finding.rule)
        excused = dict(finding.arguments)
        hint = f"{finding.rule}: {finding.title}"
        if "owner" in excused and "until" in excused:
            hint = f"{hint}; {excused['owner']} excuses it until {excused['until']}: {excused.get('reason', '')}"
        elif text is not None:
            hint = f"{hint}. {text.unblock}"
        own = finding.rule.startswith(("engine.", "input."))
        origin = document.origin
        return Problem(
            UNDECIDED if own and finding.level is PolicyLevel.DENY else _CODES[finding.level],
            origin.file,
            origin.line_of(finding.field),
            finding.field,
            finding.got,
            finding.expected,
            hint,
        )


def refuses(problem: Problem) -> bool:
    """Whether a problem of policy keeps something from being rendered."""
    return problem.code in {REFUSED, UNDECIDED}


def raise_problems(problems: Iterable[Problem]) -> None:
    """Raise the error that fits: PolicyRefusedError where policy alone says no, InputError otherwise; nothing without one."""
    found = tuple(problems)
    if found:
        raise (PolicyRefusedError if all(map(refuses, found)) else InputError)(*found)


def _together(decisions: Sequence[Decision]) -> Decision:
    findings = {finding.id: finding for decision in reversed(decisions) for finding in decision.findings}
    for decision in decisions:
        for finding in decision.findings:
            if finding.level.rank < findings[finding.id].level.rank:
                findings[finding.id] = finding
    return Decision.of(tuple(findings.values()))
