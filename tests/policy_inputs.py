"""Input documents for policies: those of every case of the tables, and any number more, made of them by a seed."""

from __future__ import annotations

import copy
import json
import random
from collections.abc import Iterable, Sequence
from functools import cache
from pathlib import Path
from typing import Any

from trimtab_config.policy.cases import Case, Table, read_tables, requests_of
from trimtab_config.policy.interface import Decision, PolicyFinding
from trimtab_kernel.decisions import COVERED, KINDS, DecisionTable, Finding, row_from, row_json, rows_of

POLICIES = Path(__file__).parents[1] / "policies"
_POLICY: dict[str, dict[str, Any]] = {
    "finops": {
        "name": "finops-policy-emea-high-priority",
        "caps": {"cpu": {"milli": 750, "text": "750m"}, "memory": {"bytes": 2**28, "text": "256Mi"}},
        "budget": {"micro": 10**9, "currency": "EUR", "text": "1000 EUR"},
        "ceiling": {"pico": 10**6, "currency": "EUR", "text": "1 µEUR"},
        "update": {"bytes": 999_999, "text": "999999"},
        "window": {"from": 1320, "until": 300, "text": "22:00-05:00"},
        "required_tags": ["project", "app"],
    },
    "alignment": {
        "name": "ai-alignment-policy-vision-sensitive",
        "prohibited_models": ["facial-recognition-v3", "counter"],
        "prohibited_capabilities": ["counting"],
        "fairness": {"minimum_sample": 200, "text": "0.8"},
        "drift": {"minimum_sample": 1000, "text": "0.2"},
        "maximum_per_minute": 59,
        "maximum_age_days": 30,
        "refresh_days": 30,
        "unused_days": 30,
        "signature": True,
        "approved_pipelines": ["pipelines/retrain"],
        "jurisdictions": ["GB"],
    },
}
_ODD: tuple[Any, ...] = (
    None, True, False, 0, 1, -1, 750, 751, 2**53, 2**63 - 1, "", "1", "750m", "deny", "warn", "off", "dry-run",
    "facial-recognition-v3", "EU", [], {}, ["team"], {"milli": 751}, [[]], "é\u2028\U0001f600",
)  # fmt: skip


@cache
def tables() -> tuple[Table, ...]:
    """The tables of the shipped rules."""
    return tuple(read_tables(POLICIES))


@cache
def case_requests() -> tuple[tuple[Table, Case, bytes], ...]:
    """Every input document that comes of a case."""
    return tuple((table, case, text) for table in tables() for case in table.cases for text in requests_of(table, case))


def generated(seed: int, count: int) -> list[bytes]:
    """``count`` documents: those of cases, with limits put in, fields taken out, and values of every type put anywhere."""
    dice = random.Random(seed)  # noqa: S311 - a seed makes the same documents again
    bases = [json.loads(text) for _, _, text in case_requests()]
    return [json.dumps(_varied(copy.deepcopy(dice.choice(bases)), dice)).encode() for _ in range(count)]


def _varied(document: dict[str, Any], dice: random.Random) -> dict[str, Any]:
    for domain, limits in _POLICY.items():
        if isinstance(document.get(domain), dict):
            for name, value in limits.items():
                if dice.random() < 0.08:
                    document[domain][name] = copy.deepcopy(value)
    if dice.random() < 0.3:
        document["as_of_day"] = dice.choice([0, 20_000, 20_779, 30_000])
    for _ in range(dice.choice((0, 0, 0, 1, 1, 2, 3))):
        holder, key = _place(document, dice)
        if dice.random() < 0.3 and isinstance(holder, dict):
            del holder[key]
        elif isinstance(holder[key], int) and not isinstance(holder[key], bool) and dice.random() < 0.6:
            holder[key] = max(0, holder[key] + dice.choice((-1, 1, 10, -10, 10**6, 10**12)))
        else:
            holder[key] = copy.deepcopy(dice.choice(_ODD))
    return document


def _place(document: dict[str, Any], dice: random.Random) -> tuple[Any, Any]:
    """Anywhere in the document: what holds a value, and the value's key."""
    places: list[tuple[Any, Any]] = []
    left: list[Any] = [document]
    while left:
        holder = left.pop()
        keys = holder if isinstance(holder, dict) else range(len(holder))
        for key in keys:
            places.append((holder, key))
            if isinstance(holder[key], (dict, list)):
                left.append(holder[key])
    return dice.choice(places)


def compared_with_table(requests: Sequence[bytes], decisions: Sequence[Decision]) -> tuple[int, int, set[str]]:
    """How many documents the device's table judged as ``decisions`` do, how many it denied, and the rules that found something.

    Fails where the two differ by a word, within the rules that a table can hold. What is no document of the compiler's
    is left out: a device never sees it.
    """
    count, denied, hit = 0, 0, set()
    for request, decision in zip(requests, decisions, strict=True):
        if any(finding.rule.startswith(("input.", "engine.")) for finding in decision.findings):
            continue
        document = json.loads(request)
        if document["subject"]["kind"] not in KINDS:
            continue
        found = _table_says(document)
        got = sorted((f.id, f.rule, f.level, f.field, f.got, f.expected, f.arguments) for f in found)
        assert got == _told(decision.findings), request.decode()
        count += 1
        denied += any(finding.level == "deny" for finding in found)
        hit |= {finding.rule for finding in found}
    return count, denied, hit


def _told(findings: Iterable[PolicyFinding]) -> list[tuple[Any, ...]]:
    return sorted(
        (item.id, item.rule, item.level.value, item.field, item.got, item.expected, item.arguments)
        for item in findings
        if item.rule in COVERED
    )


def _table_says(document: dict[str, Any]) -> list[Finding]:
    """As a device does it: the rows go over the wire first."""
    rows = [
        row_from(json.loads(json.dumps(row_json(row)))) for row in rows_of(document["finops"], document["alignment"])
    ]
    return list(DecisionTable(rows).decide(document))
