"""Rules of policy as a device judges them: a table of rows, compiled where the policies are, evaluated in microseconds.

A row is one rule with what it compares with. Findings have the ids, fields and words that the Rego of ``policies/`` gives
for the same facts; a test compares the two on thousands of documents. Facts have the shape of the input document that
policies are asked (``trimtab_config.policy.input``), as far as rows need it. Rules about money, and those that need an
interval (budget, cost ceiling, fairness, drift), are none of a device's: they are not in the table.

What is not there, or is of another type, denies; so does a row of a rule that this version does not know.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, TypeAlias, TypeGuard

from trimtab_kernel.problems import printable
from trimtab_kernel.records import dataclass

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from trimtab_kernel.canonical import Json

LEVELS = ("deny", "warn", "dry-run")
EDGE = "EdgeAIDeployment"
KINDS = frozenset({EDGE, "OnDeviceModel"})
FAILED = "engine.failed"
MOST_TEXT = 500
"""Characters of one text of a finding, everywhere; what is longer is cut."""
_NOTHING = "nothing"
_DAY_UNKNOWN = "on a day that is not known"
_DAY_MINUTES = 1440

BASELINE_CPU: Mapping[str, Mapping[str, Json]] = {"finops-policy-emea-high-priority": {"milli": 750, "text": "750m"}}
"""What a FinOpsPolicy of that name stands for, whatever the object says."""
BASELINE_MODELS: Mapping[str, Sequence[str]] = {"ai-alignment-policy-vision-sensitive": ("facial-recognition-v3",)}
"""Likewise of an AIAlignmentPolicy."""

Facts: TypeAlias = "Mapping[str, Any]"
# Item, field, got, expected.
Written: TypeAlias = tuple[str, str, str, str]
Test: TypeAlias = "Callable[[Facts], Sequence[Written]]"


class TableError(ValueError):
    """Policies that are not of the documented form, or rows that are none."""


@dataclass(frozen=True, slots=True)
class Excuse:
    """An exception: for these deployments (all, where none is named) the rule warns until a day, days since 1970-01-01."""

    owner: str
    reason: str
    until: str
    until_day: int | None = None
    deployments: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Row:
    """One rule, and what it compares with (``limit``: plain JSON, as the policy's input document has it).

    ``fixed``: the rule says its own level and stands above policies, so that nothing excuses it.
    """

    rule: str
    level: str
    limit: Mapping[str, Json]
    fixed: bool = False
    excuses: tuple[Excuse, ...] = ()


@dataclass(frozen=True, slots=True)
class Finding:
    """What one row has against the facts; the words are those of a finding of the same id anywhere else."""

    id: str
    rule: str
    level: str
    field: str
    got: str
    expected: str
    arguments: tuple[tuple[str, str], ...] = ()


class DecisionTable:
    """Rows, ready to judge. Keeps nothing between decisions; safe to use from several threads."""

    def __init__(self, rows: Sequence[Row]) -> None:
        self.rows = tuple(rows)
        self._tests = tuple(_compiled(row) for row in self.rows)

    def decide(self, facts: Facts) -> tuple[Finding, ...]:
        """What the rows have against ``facts``, the strongest first, then by id. Never raises; empty means allowed."""
        try:
            on_cluster = facts["subject"]["kind"] == EDGE
            found: list[Finding] = []
            for row, cluster_only, test in self._tests:
                if on_cluster or not cluster_only:
                    written = test(facts)
                    if written:
                        found += _findings(row, written, facts)
        except (LookupError, TypeError, AttributeError, ValueError, ArithmeticError) as error:
            return (Finding(FAILED, FAILED, "deny", "", type(error).__name__, "an answer"),)
        if len(found) > 1:
            found = sorted(set(found), key=lambda item: (LEVELS.index(item.level), item.id))
        return tuple(found)


def rows_of(finops: Mapping[str, Any] | None, alignment: Mapping[str, Any] | None) -> tuple[Row, ...]:
    """The rows of two policies, as an input document has them, sorted by rule. Raises TableError for what is not whole."""
    found: list[Row] = []
    try:
        if finops is not None:
            found += _finops_rows(finops)
        if alignment is not None:
            found += _alignment_rows(alignment)
    except (LookupError, TypeError, ValueError, AttributeError) as error:
        raise TableError(f"policies that are not whole: {type(error).__name__}") from error
    return tuple(sorted(found, key=lambda row: row.rule))


def row_json(row: Row) -> dict[str, Json]:
    """A row as plain JSON; :func:`row_from` reads it back."""
    data: dict[str, Json] = {"rule": row.rule, "level": row.level, "limit": dict(row.limit)}
    if row.fixed:
        data["fixed"] = True
    if row.excuses:
        data["excuses"] = [
            {
                "owner": item.owner,
                "reason": item.reason,
                "until": item.until,
                "untilDay": item.until_day,
                "deployments": list(item.deployments),
            }
            for item in row.excuses
        ]
    return data


def row_from(data: Any) -> Row:  # noqa: ANN401 - plain JSON from anywhere
    """A row of plain JSON. Raises TableError for what is none."""
    try:
        excuses = tuple(
            Excuse(
                _text_of(item["owner"]),
                _text_of(item["reason"]),
                _text_of(item["until"]),
                _whole_of(item["untilDay"]),
                tuple(_text_of(name) for name in _list_of(item["deployments"])),
            )
            for item in _list_of(data.get("excuses", []))
        )
        row = Row(
            _text_of(data["rule"]),
            _text_of(data["level"]),
            dict(data["limit"]),
            _flag_of(data.get("fixed", False)),
            excuses,
        )
    except (LookupError, TypeError, ValueError, AttributeError) as error:
        raise TableError("a row that is not of the documented form") from error
    if row.level not in LEVELS or set(data) - _ROW_KEYS:
        raise TableError("a row that is not of the documented form")
    return row


_ROW_KEYS = frozenset({"rule", "level", "limit", "fixed", "excuses"})


def _findings(row: Row, written: Sequence[Written], facts: Facts) -> list[Finding]:
    subject = facts["subject"]
    place = "/".join(_text(subject, part, "?") for part in ("namespace", "name", "group"))
    level = row.level
    arguments: tuple[tuple[str, str], ...] = ()
    if not row.fixed:
        excuse = _excuse(row, facts)
        if excuse is not None:
            level = "warn"
            arguments = (
                ("owner", _told(excuse.owner)),
                ("reason", _told(excuse.reason)),
                ("until", _told(excuse.until)),
            )
    return [
        Finding(
            _told(f"{row.rule}:{item}@{place}" if item else f"{row.rule}@{place}"),
            row.rule,
            level,
            _told(field),
            _told(got),
            _told(expected),
            arguments,
        )
        for item, field, got, expected in written
    ]


def _told(text: str) -> str:
    """As engines tell it: names that people wrote may hold what no terminal should see."""
    return text if len(text) <= MOST_TEXT and text.isascii() and text.isprintable() else printable(text, MOST_TEXT)


def _excuse(row: Row, facts: Facts) -> Excuse | None:
    day = facts.get("as_of_day")
    for excuse in row.excuses:
        if excuse.deployments and facts["subject"]["name"] not in excuse.deployments:
            continue
        if day is None or (excuse.until_day is not None and day <= excuse.until_day):
            return excuse
    return None


# ---------------------------------------------------------------- policies to rows


def _finops_rows(policy: Mapping[str, Any]) -> list[Row]:
    found = []
    caps = policy.get("caps")
    for cap, unit in (("cpu", "milli"), ("memory", "bytes"), ("gpu", "milli")):
        limit = caps.get(cap) if isinstance(caps, dict) else None
        if limit is not None:
            _natural(limit[unit])
            found.append(_row(f"finops.{cap}-cap", policy, limit))
    if policy["name"] in BASELINE_CPU:
        baseline = BASELINE_CPU[policy["name"]]
        found.append(Row("finops.baseline-cpu", "deny", {**baseline, "policy": policy["name"]}, fixed=True))
    tags = policy.get("required_tags")
    if tags:
        found.append(_row("finops.required-tags", policy, {"tags": _texts(tags)}))
    if policy.get("update") is not None:
        _natural(policy["update"]["bytes"])
        found.append(_row("finops.update-size", policy, policy["update"]))
    if policy.get("window", False) is not False:
        window = policy["window"]
        found.append(_row("finops.update-window", policy, window if isinstance(window, dict) else {}))
    return found


def _alignment_rows(policy: Mapping[str, Any]) -> list[Row]:
    name = policy["name"]
    found = [_row("alignment.data-egress", policy, dict(policy["egress"]))]
    if not isinstance(policy["egress"]["allowed"], bool):
        raise TypeError
    _texts(policy["egress"]["jurisdictions"])
    if name in BASELINE_MODELS:
        limit: dict[str, Json] = {"models": list(BASELINE_MODELS[name]), "policy": name}
        found.append(Row("alignment.baseline-models", "deny", limit, fixed=True))
    if _texts(policy.get("prohibited_models", [])):
        found.append(
            _row("alignment.prohibited-models", policy, {"models": policy["prohibited_models"], "policy": name})
        )
    if _texts(policy.get("prohibited_capabilities", [])):
        limit = {"capabilities": policy["prohibited_capabilities"]}
        found.append(_row("alignment.prohibited-capabilities", policy, limit))
    for key, rule in (
        ("maximum_per_minute", "inference-frequency"),
        ("maximum_age_days", "model-age"),
        ("refresh_days", "refresh-cycle"),
        ("unused_days", "unused-versions"),
    ):
        if key in policy:
            _natural(policy[key])
            found.append(_row(f"alignment.{rule}", policy, {"most": policy[key]}))
    if policy.get("signature", False) is not False:
        found.append(_row("alignment.signed-artifacts", policy, {}))
    for key, rule in (("approved_pipelines", "lineage"), ("jurisdictions", "jurisdiction")):
        if key in policy:
            found.append(_row(f"alignment.{rule}", policy, {"names": _texts(policy[key])}))
    return found


def _row(rule: str, policy: Mapping[str, Any], limit: Mapping[str, Any]) -> Row:
    if not isinstance(policy["name"], str) or policy["level"] not in LEVELS:
        raise TypeError
    level = policy.get("levels", {}).get(rule, policy["level"])
    excuses = tuple(
        Excuse(
            item["owner"],
            item["reason"],
            item["until"],
            day if type(day) is int else None,
            tuple(item.get("deployments", ())),
        )
        for item in policy.get("exceptions", [])
        if isinstance(item, dict)
        and item.get("rule") == rule
        and all(isinstance(item.get(part), str) for part in ("owner", "reason", "until"))
        for day in [item.get("until_day")]
    )
    return Row(rule, level if level in LEVELS else "deny", dict(limit), excuses=excuses)


def _texts(value: Any) -> list[Json]:  # noqa: ANN401 - plain JSON
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        raise TypeError
    return list(value)


def _natural(value: object) -> None:
    if not _is_number(value) or value < 0:
        raise TypeError


def _flag_of(value: object) -> bool:
    if not isinstance(value, bool):
        raise TypeError
    return value


def _list_of(value: object) -> list[Any]:
    if not isinstance(value, list) or len(value) > 1000:
        raise TypeError
    return value


def _text_of(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError
    return value


def _whole_of(value: object) -> int | None:
    if value is not None and (isinstance(value, bool) or not isinstance(value, int)):
        raise TypeError
    return value


# ---------------------------------------------------------------- rows to tests


def _compiled(row: Row) -> tuple[Row, bool, Test]:
    """The row, whether it is about deployments on clusters alone, and its test."""
    made = _TESTS.get(row.rule)
    if made is None:
        return row, False, lambda facts: (("", "", "a rule that is not known here", "a version that knows it"),)
    cluster_only, make = made
    return row, cluster_only, make(row.limit)


def _cap(kind: str, unit: str, *, asked_only: bool = False) -> Callable[[Mapping[str, Any]], Test]:
    def make(limit: Mapping[str, Any]) -> Test:
        most, expected, field = limit.get(unit), f"at most {_text(limit, 'text')}", f"spec.resourceLimits.{kind}"
        if "policy" in limit:
            expected = f"{expected}, the baseline of {limit['policy']}"

        def test(facts: Facts) -> Sequence[Written]:
            asked = facts.get("limits", {}).get(kind)
            value = asked.get(unit) if isinstance(asked, dict) else None
            if _is_number(value) and _is_number(most) and value <= most:
                return ()
            if asked_only and asked in (None, False):
                return ()
            return (("", field, _text(asked, "text"), expected),)

        return test

    return make


def _required_tags(limit: Mapping[str, Any]) -> Test:
    tags = limit["tags"]

    def test(facts: Facts) -> Sequence[Written]:
        there = facts["tags"]
        for tag in tags:
            if not isinstance(there.get(tag), str) or not there[tag].strip():
                break
        else:
            return ()
        return [
            (tag, f"spec.tags.{tag}", "no such tag", f"the tag {tag}")
            for tag in tags
            if not isinstance(there.get(tag), str) or not there[tag].strip()
        ]

    return test


def _update_size(limit: Mapping[str, Any]) -> Test:
    most, expected = limit["bytes"], f"at most {_text(limit, 'text')}"

    def test(facts: Facts) -> Sequence[Written]:
        for version in facts["model"]["versions"]:
            if not (_is_number(version["size"]) and version["size"] <= most):
                break
        else:
            return ()
        return [
            (
                version["version"],
                _version_field(facts),
                f"{version['version']} of {_shown(version['size'])} bytes",
                expected,
            )
            for version in facts["model"]["versions"]
            if not (_is_number(version["size"]) and version["size"] <= most)
        ]

    return test


def _update_window(limit: Mapping[str, Any]) -> Test:
    expected = f"a window within {_text(limit, 'text')}"

    def test(facts: Facts) -> Sequence[Written]:
        update = facts.get("update")
        own = update.get("window") if isinstance(update, dict) else None
        if isinstance(own, dict) and _within(own, limit):
            return ()
        return (("", "spec.update.window", _text(own, "text"), expected),)

    return test


def _within(own: Mapping[str, Any], policy: Mapping[str, Any]) -> bool:
    begin, end = policy.get("from"), policy.get("until")
    if _is_number(begin) and begin == end and _is_number(own.get("from")):
        return True
    minutes = (begin, end, own.get("from"), own.get("until"))
    if not all(isinstance(minute, int) and not isinstance(minute, bool) for minute in minutes):
        return False
    start = _remainder(own["from"] - policy["from"] + _DAY_MINUTES)
    return start + _length(own) <= _length(policy)


def _length(window: Mapping[str, Any]) -> int:
    begin, end = window["from"], window["until"]
    return _DAY_MINUTES if begin == end else _remainder(end - begin + _DAY_MINUTES)


def _remainder(minutes: int) -> int:
    """With the sign of the dividend, as in Rego."""
    return minutes % _DAY_MINUTES if minutes >= 0 else -(-minutes % _DAY_MINUTES)


def _prohibited_models(limit: Mapping[str, Any]) -> Test:
    names = frozenset(name.lower() for name in limit["models"])
    expected = f"a model that {limit['policy']} does not prohibit"

    def test(facts: Facts) -> Sequence[Written]:
        name = facts["model"]["name"]
        return (("", _model_field(facts), name, expected),) if name.lower() in names else ()

    return test


def _baseline_models(limit: Mapping[str, Any]) -> Test:
    return _prohibited_models({**limit, "policy": f"the baseline of {limit['policy']}"})


def _prohibited_capabilities(limit: Mapping[str, Any]) -> Test:
    prohibited = limit["capabilities"]
    names = frozenset(name.lower() for name in prohibited)
    expected = f"none of {_listed(set(prohibited))}"

    def test(facts: Facts) -> Sequence[Written]:
        capabilities = facts["model"]["capabilities"]
        for name in capabilities:
            if name.lower() in names:
                break
        else:
            return ()
        there = {name.lower() for name in capabilities}
        return [
            (name, _model_field(facts), f"{facts['model']['name']}, which is capable of {name}", expected)
            for name in prohibited
            if name.lower() in there
        ]

    return test


def _data_egress(limit: Mapping[str, Any]) -> Test:
    allowed, jurisdictions = limit["allowed"] is True, limit["jurisdictions"]
    expected = _listed(jurisdictions) if allowed else "no offload"

    def test(facts: Facts) -> Sequence[Written]:
        offload = facts.get("offload", False)
        if offload is False:
            return ()
        place = offload.get("jurisdiction") if isinstance(offload, dict) else None
        if allowed and isinstance(place, str) and (not jurisdictions or place in jurisdictions):
            return ()
        return (("", "spec.offload.jurisdiction", f"an offload to {_text(offload, 'jurisdiction')}", expected),)

    return test


def _jurisdiction(limit: Mapping[str, Any]) -> Test:
    names, expected = frozenset(limit["names"]), _listed(set(limit["names"]))

    def test(facts: Facts) -> Sequence[Written]:
        place = facts["group"]["jurisdiction"]
        if place in names:
            return ()
        got = f"group {_text(facts['subject'], 'group')} in {_text(facts['group'], 'jurisdiction')}"
        return (("", "spec.aiAlignmentPolicyRef", got, expected),)

    return test


def _frequency(limit: Mapping[str, Any]) -> Test:
    most, expected = limit["most"], f"at most {_shown(limit['most'])}"

    def test(facts: Facts) -> Sequence[Written]:
        inference = facts.get("inference")
        value = inference.get("maximum_per_minute") if isinstance(inference, dict) else None
        if not _is_number(value):
            return (("", "spec.inference.maximumPerMinute", "no limit", expected),)
        return () if value <= most else (("", "spec.inference.maximumPerMinute", _shown(value), expected),)

    return test


def _signed(limit: Mapping[str, Any]) -> Test:
    del limit

    def test(facts: Facts) -> Sequence[Written]:
        for version in facts["model"]["versions"]:
            if version.get("signed") is not True:
                break
        else:
            return ()
        return [
            (
                version["version"],
                _version_field(facts),
                f"{version['version']} without a signature",
                "a signed artifact",
            )
            for version in facts["model"]["versions"]
            if version.get("signed") is not True
        ]

    return test


def _lineage(limit: Mapping[str, Any]) -> Test:
    names, expected = limit["names"], f"one of {_listed(set(limit['names']))}"

    def test(facts: Facts) -> Sequence[Written]:
        for version in facts["model"]["versions"]:
            if version.get("pipeline") not in names:
                break
        else:
            return ()
        return [
            (
                version["version"],
                _version_field(facts),
                f"{version['version']} from {_text(version, 'pipeline', 'no pipeline that is known')}",
                expected,
            )
            for version in facts["model"]["versions"]
            if version.get("pipeline") not in names
        ]

    return test


def _age(limit: Mapping[str, Any]) -> Test:
    most, expected = limit["most"], f"released at most {_shown(limit['most'])} days ago"

    def test(facts: Facts) -> Sequence[Written]:
        day = facts.get("as_of_day")
        if day is None:
            return ()
        for version in facts["model"]["versions"]:
            if not (_is_number(version.get("released_day")) and day - version["released_day"] <= most):
                break
        else:
            return ()
        return [
            (
                version["version"],
                _version_field(facts),
                f"{version['version']}, released {_text(version, 'released', _DAY_UNKNOWN)}",
                expected,
            )
            for version in facts["model"]["versions"]
            if not (_is_number(version.get("released_day")) and day - version["released_day"] <= most)
        ]

    return test


def _refresh(limit: Mapping[str, Any]) -> Test:
    most, expected = limit["most"], f"a release in the last {_shown(limit['most'])} days"

    def test(facts: Facts) -> Sequence[Written]:
        day, model = facts.get("as_of_day"), facts["model"]
        newest = model.get("newest_day")
        if day is None or (_is_number(newest) and day - newest <= most):
            return ()
        got = f"{_text(model, 'name')}, last released {_text(model, 'newest', _DAY_UNKNOWN)}"
        return (("", _model_field(facts), got, expected),)

    return test


def _unused(limit: Mapping[str, Any]) -> Test:
    most, expected = limit["most"], f"unused versions of at most {_shown(limit['most'])} days"

    def test(facts: Facts) -> Sequence[Written]:
        day, model = facts.get("as_of_day"), facts["model"]
        if day is None:
            return ()
        return [
            (
                version["version"],
                _model_field(facts),
                f"{_text(model, 'name')} {version['version']}, unused, released {_text(version, 'released', _DAY_UNKNOWN)}",
                expected,
            )
            for version in model["unused"]
            if not (_is_number(version.get("released_day")) and day - version["released_day"] <= most)
        ]

    return test


_TESTS: Mapping[str, tuple[bool, Callable[[Mapping[str, Any]], Test]]] = {
    "finops.baseline-cpu": (True, _cap("cpu", "milli")),
    "finops.cpu-cap": (True, _cap("cpu", "milli")),
    "finops.gpu-cap": (True, _cap("gpu", "milli", asked_only=True)),
    "finops.memory-cap": (True, _cap("memory", "bytes")),
    "finops.required-tags": (False, _required_tags),
    "finops.update-size": (False, _update_size),
    "finops.update-window": (True, _update_window),
    "alignment.baseline-models": (False, _baseline_models),
    "alignment.data-egress": (True, _data_egress),
    "alignment.inference-frequency": (True, _frequency),
    "alignment.jurisdiction": (False, _jurisdiction),
    "alignment.lineage": (True, _lineage),
    "alignment.model-age": (True, _age),
    "alignment.prohibited-capabilities": (False, _prohibited_capabilities),
    "alignment.prohibited-models": (False, _prohibited_models),
    "alignment.refresh-cycle": (True, _refresh),
    "alignment.signed-artifacts": (False, _signed),
    "alignment.unused-versions": (True, _unused),
}
COVERED = frozenset(_TESTS)
"""The rules that a table can hold."""
ON_DEVICE = COVERED - {
    "finops.baseline-cpu", "finops.cpu-cap", "finops.gpu-cap", "finops.memory-cap", "finops.update-window",
    "alignment.unused-versions",
}  # fmt: skip
"""The rules whose facts a device has."""


def _model_field(facts: Facts) -> str:
    return "spec.modelRef.name" if facts["subject"]["kind"] == EDGE else "spec.modelId"


def _version_field(facts: Facts) -> str:
    return "spec.modelRef.version" if facts["subject"]["kind"] == EDGE else "spec.version"


def _text(holder: Any, key: str, otherwise: str = _NOTHING) -> str:  # noqa: ANN401 - plain JSON
    value = holder.get(key) if isinstance(holder, dict) else None
    return value if isinstance(value, str) else otherwise


def _is_number(value: object) -> TypeGuard[int | float]:
    kind = type(value)
    return kind is int or kind is float


def _shown(value: object) -> str:
    return json.dumps(value)


def _listed(names: Any) -> str:  # noqa: ANN401 - a list or a set of text
    return ", ".join(sorted(names))
