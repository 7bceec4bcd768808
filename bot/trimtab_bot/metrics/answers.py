"""Reads the JSON that Prometheus' HTTP API answers an instant query with. Pure; the bytes may come from anywhere.

Source: Prometheus documentation, "HTTP API": Format overview, Instant queries, Expression query result formats.
"""

from __future__ import annotations

import json
import math
import re
from dataclasses import dataclass

from trimtab_kernel.problems import printable, quoted

MAX_LABEL_VALUE = 1024
_MAX_REMARKS = 10
_MAX_REMARK = 300
# What Go's strconv prints, and what Prometheus prints for the values that are not finite.
_NUMBER = re.compile(r"[+-]?(?:[0-9]+(?:\.[0-9]*)?(?:e[+-]?[0-9]{1,3})?|Inf|NaN)", re.ASCII)
_NOT_FINITE = {"NaN": math.nan, "+Inf": math.inf, "Inf": math.inf, "-Inf": -math.inf}


class AnswerError(ValueError):
    """The bytes are not the answer to an instant query; the message says what was expected. One lowercase phrase."""


class QueryError(Exception):
    """Prometheus understood the question and says that it failed; the message is its own, made printable."""


@dataclass(frozen=True, slots=True)
class Vector:
    """The series of an instant vector with their values (which may not be finite), and the remarks beside them."""

    series: tuple[tuple[dict[str, str], float], ...]
    warnings: tuple[str, ...]
    infos: tuple[str, ...]


def read_vector(body: bytes) -> Vector:
    """The instant vector in ``body``. Raises AnswerError, or QueryError for an answer with ``status: error``."""
    try:
        answer = json.loads(body)
    except (ValueError, RecursionError):
        raise AnswerError("the answer is not JSON, or ends too early") from None
    if not isinstance(answer, dict):
        raise AnswerError("the answer is not a JSON object")
    if answer.get("status") == "error":
        raise QueryError(printable(f"{answer.get('errorType', '')}: {answer.get('error', '')}", _MAX_REMARK))
    data = answer.get("data")
    if answer.get("status") != "success" or not isinstance(data, dict):
        raise AnswerError('the answer has no "status": "success" with "data"')
    kind = data.get("resultType")
    if kind != "vector":
        raise AnswerError(f"expected a result of type vector, got {quoted(kind)}")
    result = data.get("result")
    if not isinstance(result, list):
        raise AnswerError("the result is not a list")
    series = tuple(_read_series(entry, index) for index, entry in enumerate(result))
    return Vector(series, _remarks(answer, "warnings"), _remarks(answer, "infos"))


def _read_series(entry: object, index: int) -> tuple[dict[str, str], float]:
    if not isinstance(entry, dict):
        raise AnswerError(f"result {index} is not an object")
    labels, value = entry.get("metric"), entry.get("value")
    if not isinstance(labels, dict) or not all(isinstance(text, str) for text in labels.values()):
        raise AnswerError(f"result {index} has no labels")
    if not (isinstance(value, list) and len(value) == 2 and isinstance(value[1], str)):
        raise AnswerError(f"result {index} has no pair of time and value")
    text: str = value[1]
    if not _NUMBER.fullmatch(text):
        raise AnswerError(f"result {index} has the value {quoted(text)}, expected a number")
    return labels, _NOT_FINITE[text] if text in _NOT_FINITE else float(text)


def _remarks(answer: dict[str, object], field: str) -> tuple[str, ...]:
    """A list of texts, bounded: they are for people. Something else than a list of texts is a remark as well."""
    remarks = answer.get(field)
    if remarks is None:
        return ()
    if not isinstance(remarks, list):
        return (f"{field} that are not a list",)
    shown = [printable(str(remark), _MAX_REMARK) for remark in remarks[:_MAX_REMARKS]]
    if len(remarks) > _MAX_REMARKS:
        shown.append(f"and {len(remarks) - _MAX_REMARKS} more {field}")
    return tuple(shown)


def unusable_label(labels: dict[str, str]) -> str:
    """Why these labels cannot be used, or ``""``: one too long to show, or one that is not text in Unicode."""
    for name, value in labels.items():
        if len(value) > MAX_LABEL_VALUE:
            return f"label {printable(name, 80)} is longer than {MAX_LABEL_VALUE} characters"
        try:
            value.encode()
        except UnicodeEncodeError:
            return f"label {printable(name, 80)} is not valid Unicode"
    return ""
