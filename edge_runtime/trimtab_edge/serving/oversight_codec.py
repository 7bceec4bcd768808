"""Requests and responses of Trimtab's own paths, as JSON: labels and explanations. Knows tensors, not models."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import msgspec

from trimtab_edge.explanations.explainer import MAX_BUDGET
from trimtab_edge.serving.tensors import MAX_ID, MAX_RANK, invalid
from trimtab_kernel.problems import printable, quoted

if TYPE_CHECKING:
    from collections.abc import Mapping

    from trimtab_edge.explanations.explainer import Explanation

MAX_DEADLINE = 10.0
MAX_PARTS = 256
_MAX_REFERENCE = 65_536


class _Label(msgspec.Struct, forbid_unknown_fields=True):
    id: str
    label: Any


class _Reference(msgspec.Struct):
    """The parameters of a request for an explanation; those that belong to inference are passed over."""

    output: str | None = None
    column: int | None = None
    budget: int = 1024
    deadline_ms: float = 1000.0
    seed: int = 0
    parts: int = 64
    reference: dict[str, list[float]] = {}
    inputs: list[str] | None = None
    shapes: dict[str, list[int]] = {}


class _Explain(msgspec.Struct):
    parameters: _Reference = msgspec.field(default_factory=_Reference)


_LABEL = msgspec.json.Decoder(_Label)
_EXPLAIN = msgspec.json.Decoder(_Explain)


@dataclass(frozen=True, slots=True)
class ExplainOptions:
    """What to explain and what it may cost: evaluations of the model, seconds."""

    output: str | None = None
    column: int | None = None
    budget: int = 1024
    deadline: float = 1.0
    seed: int = 0
    parts: int = 64
    reference: Mapping[str, list[float]] = field(default_factory=dict)
    inputs: tuple[str, ...] | None = None
    """The inputs to explain; None: all."""
    shapes: Mapping[str, list[int]] = field(default_factory=dict)
    """The inputs that are pictures whatever their declared shape, and the pictures' sizes."""


@dataclass(frozen=True, slots=True)
class Explained:
    """The answer: which number was explained, by which parts, and what stood for absent columns."""

    model: str
    version: str
    id: str | None
    output: str
    column: int
    explanations: list[Explanation]
    reference: Mapping[str, list[float]]
    complete: bool
    """Whether there was time for everything."""


def decode_label(body: bytes | memoryview) -> tuple[str, Any]:
    """Id and label. Raises :class:`RequestError` (INVALID)."""
    try:
        label = _LABEL.decode(body)
    except RecursionError:
        raise invalid("label: nested too deep") from None
    except ValueError as error:
        raise invalid(f"label: {_sentence(error)}; expected id and label") from None
    if not 0 < len(label.id) <= MAX_ID:
        raise invalid(f"id: {len(label.id)} characters, expected 1 to {MAX_ID}")
    return label.id, label.label


def decode_options(head: bytes | memoryview) -> ExplainOptions:
    """The parameters of a V2 request that asks for an explanation. Raises :class:`RequestError` (INVALID)."""
    try:
        given = _EXPLAIN.decode(head).parameters
    except RecursionError:
        raise invalid("parameters: nested too deep") from None
    except ValueError as error:
        raise invalid(f"parameters: {_sentence(error)}") from None
    limits = (
        ("budget", given.budget, 2, MAX_BUDGET),
        ("deadline_ms", given.deadline_ms, 1, MAX_DEADLINE * 1000),
        ("seed", given.seed, 0, 2**63 - 1),
        ("parts", given.parts, 1, MAX_PARTS),
    )
    for name, value, low, high in limits:
        if not low <= value <= high:
            raise invalid(f"parameters: {name} {quoted(value)}, expected {low} to {high:.0f}")
    if sum(len(values) for values in given.reference.values()) > _MAX_REFERENCE:
        raise invalid(f"parameters: reference, expected at most {_MAX_REFERENCE} values")
    if given.inputs is not None and not given.inputs:
        raise invalid("parameters: inputs is empty, expected the names of those to explain")
    for sizes in given.shapes.values():
        if not 2 <= len(sizes) <= MAX_RANK or min(sizes) < 1:
            raise invalid(f"parameters: shapes, expected 2 to {MAX_RANK} sizes from 1 on")
    return ExplainOptions(
        given.output, given.column, given.budget, given.deadline_ms / 1000, given.seed, given.parts, given.reference,
        None if given.inputs is None else tuple(given.inputs), given.shapes,
    )  # fmt: skip


def explained_json(explained: Explained) -> dict[str, Any]:
    """The response to a request for an explanation."""
    fields: dict[str, Any] = {"model_name": explained.model, "model_version": explained.version}
    if explained.id is not None:
        fields["id"] = explained.id
    return fields | {
        "output": explained.output,
        "column": explained.column,
        "complete": explained.complete,
        "reference": dict(explained.reference),
        "explanations": [_one(explanation) for explanation in explained.explanations],
    }


def _one(explanation: Explanation) -> dict[str, Any]:
    result = explanation.contributions
    return {
        "method": explanation.method,
        "modality": explanation.modality.value,
        "inputs": list(explanation.inputs),
        "prediction": result.prediction,
        "base": result.base,
        "additive": result.additive,
        "exact": result.exact,
        "complete": result.complete,
        "evaluations": result.evaluations,
        "contributions": [
            {**label, "value": value, "error": error}
            for label, value, error in zip(explanation.labels, result.values, result.errors, strict=True)
        ],
    }


def _sentence(error: ValueError) -> str:
    # msgspec's texts name the place in the document and the types, never the value.
    text = printable(str(error), 300)
    return text if text.startswith("JSON") else text[:1].lower() + text[1:]
