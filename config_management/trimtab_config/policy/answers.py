"""What an engine answers, as decisions: whatever is not exactly an answer denies."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from trimtab_config.policy.interface import Decision, PolicyFinding, PolicyLevel
from trimtab_kernel.decisions import MOST_TEXT
from trimtab_kernel.problems import printable

UNDEFINED = "engine.undefined"
FAILED = "engine.failed"
INPUT = "engine.input"
ENGINE_TITLES: Mapping[str, str] = {
    UNDEFINED: "the policies give no answer",
    FAILED: "the policies could not be evaluated",
    INPUT: "what is asked is no input document",
}
_LEVELS = {level.value: level for level in PolicyLevel}


def engine_denial(rule: str, got: str, expected: str = "an answer") -> Decision:
    """The refusal that stands for no answer. ``rule`` is one of :data:`ENGINE_TITLES`."""
    finding = PolicyFinding(rule, rule, PolicyLevel.DENY, ENGINE_TITLES[rule], (), "", _text(got), expected)
    return Decision.of((finding,))


def decisions_of(answers: object, count: int, titles: Mapping[str, str]) -> list[Decision] | None:
    """``answers`` of the entry point, for ``count`` requests; None where there is not one for each of them.

    ``titles`` are those of the rules by name; a rule without one is shown by its name.
    """
    if not isinstance(answers, list) or len(answers) != count:
        return None
    return [_decision(answer, titles) for answer in answers]


def _decision(answer: object, titles: Mapping[str, str]) -> Decision:
    if not isinstance(answer, dict) or not isinstance(answer.get("findings"), list):
        return engine_denial(UNDEFINED, "no list of findings")
    if not answer["findings"]:
        return Decision(allowed=True, level=None, findings=())
    found = []
    for item in answer["findings"]:
        finding = _finding(item, titles)
        if finding is None:
            return engine_denial(UNDEFINED, "a finding that is not of the documented form")
        found.append(finding)
    return Decision.of(found)


def _finding(item: Any, titles: Mapping[str, str]) -> PolicyFinding | None:  # noqa: ANN401 - JSON of an engine
    if not isinstance(item, dict):
        return None
    texts = [item.get(name) for name in ("id", "rule", "field", "got", "expected")]
    level = _LEVELS.get(item["level"]) if isinstance(item.get("level"), str) else None
    arguments = item.get("arguments")
    if level is None or not isinstance(arguments, dict) or not all(isinstance(text, str) for text in texts):
        return None
    name, rule, field, got, expected = (_text(text) for text in texts)
    return PolicyFinding(
        id=name,
        rule=rule,
        level=level,
        title=titles.get(rule, rule),
        arguments=tuple(sorted((_text(key), _text(value)) for key, value in arguments.items())),
        field=field,
        got=got,
        expected=expected,
    )


def _text(value: object) -> str:
    return printable(str(value), MOST_TEXT)


def is_object(request: bytes) -> bool:
    """Whether the bytes are one JSON object and no more: they are put beside others."""
    try:
        return isinstance(json.loads(request, parse_constant=_no_constant), dict)
    except (ValueError, RecursionError):
        return False


def _no_constant(text: str) -> None:
    raise ValueError(text)


def batches(requests: Sequence[bytes], most: int, most_bytes: int) -> list[range]:
    """Places of ``requests`` in runs of at most ``most``, and of ``most_bytes`` unless one alone is larger."""
    found, start, size = [], 0, 0
    for place, request in enumerate(requests):
        if place > start and (place - start >= most or size + len(request) > most_bytes):
            found.append(range(start, place))
            start, size = place, 0
        size += len(request)
    if start < len(requests):
        found.append(range(start, len(requests)))
    return found
