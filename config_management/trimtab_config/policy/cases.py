"""Tables of cases: changes to a small fleet, written as people write manifests, and what a rule must say of each.

    rule: finops.cpu-cap
    given: {finops.spec.caps.cpu: 750m}
    sample:
      allowed: {deployment.spec.resourceLimits.cpu: 750m}
      denied: {deployment.spec.resourceLimits.cpu: 751m}
    cases:
      - field: deployment.spec.resourceLimits.cpu
        allowed: [500m, 0.75]
        denied: ["1"]
      - change: {alignment.spec.level: warn}
        outcome: warned

A change is a dotted path from an object of the fleet on (``core/fleet.yaml``), numbers being places in a list; null takes
the field out. Outcomes are ``allowed``, ``denied``, ``warned`` and ``on-trial``, of the table's rule alone; a sample is of
all rules. ``asOf`` is the day that dates are judged by.
"""

from __future__ import annotations

import copy
import datetime
import json
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

import yaml

from trimtab_config.catalog import build_catalog
from trimtab_config.cost.estimate import Estimator
from trimtab_config.plan.planner import Planner
from trimtab_config.policy.input import PolicyInputs
from trimtab_config.policy.interface import PolicyLevel
from trimtab_config.policy.opa_binary import CORE
from trimtab_config.render.evidence import offline_evidence
from trimtab_config.spec.nearest import did_you_mean
from trimtab_config.spec.reader import read_documents
from trimtab_kernel.problems import InputError, Problem, quoted

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path

    from trimtab_config.policy.gate import PolicyGate
    from trimtab_config.policy.interface import Decision

OUTCOMES = ("allowed", "denied", "warned", "on-trial")
_BY_LEVEL = {PolicyLevel.DENY: "denied", PolicyLevel.WARN: "warned", PolicyLevel.DRY_RUN: "on-trial", None: "allowed"}


@dataclass(frozen=True, slots=True)
class Case:
    """Changes to the fleet, and what comes of them. ``of_all`` counts every rule, not the table's alone."""

    change: Mapping[str, Any]
    outcome: str
    of_all: bool = False


@dataclass(frozen=True, slots=True)
class Table:
    """The cases of one rule. ``given`` is changed before each of them."""

    file: str
    rule: str
    given: Mapping[str, Any]
    as_of: datetime.date | None
    cases: tuple[Case, ...]


def read_tables(folder: Path) -> list[Table]:
    """The tables below ``folder``, by name. Raises InputError (F507) for one that is not of the form."""
    found = []
    for path in sorted(folder.rglob("*.yaml")):
        try:
            found.append(_table(path))
        except (OSError, yaml.YAMLError, ValueError, TypeError, AttributeError, LookupError) as error:
            said = " ".join(str(error).split())
            problem = Problem("F507", str(path), got=f"no table of cases: {said}", expected="rule, sample and cases")
            raise InputError(problem) from error
    return found


def requests_of(table: Table, case: Case) -> list[bytes]:
    """The input documents that come of a case. Raises InputError where the changed fleet does not compile."""
    fleet = changed(base_fleet(), {**table.given, **case.change})
    read = read_documents({f"{name}.yaml": json.dumps(item, default=str).encode() for name, item in fleet.items()})
    catalog, found = build_catalog(read.documents, read.lost)
    problems = [*read.problems, *found]
    inputs = PolicyInputs(catalog, offline_evidence, table.as_of)
    planner, estimator = Planner(catalog), Estimator(catalog, None)
    requests, costs = [], []
    for name in catalog.groups if not problems else ():
        plan, found = planner.plan(name)
        problems += found
        report, found = estimator.estimate(plan)
        problems += found
        costs.append(report)
        requests += inputs.of_group(plan, report)
    if problems:
        raise InputError(*problems)
    return requests + [text for _, text in inputs.of_budgets(costs)]


def outcome_of(decisions: Iterable[Decision], rule: str | None) -> str:
    """The outcome of one rule, or of all for None."""
    levels = [
        finding.level for decision in decisions for finding in decision.findings if rule is None or finding.rule == rule
    ]
    return _BY_LEVEL[min(levels, key=lambda level: level.rank, default=None)]


def case_problems(table: Table, gate: PolicyGate) -> tuple[Problem, ...]:
    """Cases that come out otherwise than the table says (F507)."""
    problems = []
    if table.rule not in gate.rules:
        # Of a rule that is none every case is allowed, whatever the rule that was meant says.
        hint = did_you_mean(table.rule, sorted(gate.rules)) or "'trimtab policy explain' lists those that are shipped"
        return (Problem("F507", table.file, 0, "rule", quoted(table.rule), "the name of a rule", hint),)
    for case in table.cases:
        try:
            got = outcome_of(gate.decide(requests_of(table, case)), None if case.of_all else table.rule)
        except InputError as error:
            got = f"a fleet that does not compile: {error.problems[0]}"
        if got not in {case.outcome, "warned" if case.of_all and case.outcome == "allowed" else case.outcome}:
            shown = json.dumps(case.change, default=str)
            hint = f"{table.rule} with {shown}"
            problems.append(Problem("F507", table.file, got=got, expected=case.outcome, hint=hint))
    return tuple(problems)


@cache
def base_fleet() -> Mapping[str, Any]:
    """The fleet that cases change, by the names that changes begin with."""
    found: dict[str, Any] = yaml.safe_load((CORE / "fleet.yaml").read_bytes())
    return found


def changed(fleet: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """A copy of ``fleet`` with fields set by dotted path; None takes a field out. Raises KeyError for an unknown object."""
    result = copy.deepcopy(dict(fleet))
    for path, value in changes.items():
        first, *parents, last = path.split(".")
        place: Any = result[first]
        for parent in parents:
            place = place[int(parent)] if isinstance(place, list) else place.setdefault(parent, {})
        key = int(last) if isinstance(place, list) else last
        if value is not None:
            place[key] = copy.deepcopy(value)
        elif key in place:
            del place[key]
    return result


def _table(path: Path) -> Table:
    written: dict[str, Any] = yaml.safe_load(path.read_bytes())
    unknown = set(written) - {"rule", "given", "asOf", "sample", "cases"}
    if unknown:
        raise ValueError(f"unknown key {sorted(unknown)[0]}")
    given = written.get("given") or {}
    cases = [Case(written["sample"][outcome], outcome, of_all=True) for outcome in ("allowed", "denied")]
    for item in written["cases"]:
        cases += _cases(item)
    as_of = written.get("asOf")
    if as_of is not None and not isinstance(as_of, datetime.date):
        as_of = datetime.date.fromisoformat(as_of)
    return Table(str(path), str(written["rule"]), given, as_of, tuple(cases))


def _cases(item: Mapping[str, Any]) -> Sequence[Case]:
    change = item.get("change") or {}
    if "outcome" in item:
        if item["outcome"] not in OUTCOMES or set(item) - {"change", "outcome"}:
            raise ValueError("a case has change and outcome, or field and lists of values by outcome")
        return [Case(change, item["outcome"])]
    if set(item) - {"change", "field", *OUTCOMES}:
        raise ValueError("a case has change and outcome, or field and lists of values by outcome")
    return [
        Case({**change, item["field"]: value}, outcome) for outcome in OUTCOMES for value in item.get(outcome) or ()
    ]
