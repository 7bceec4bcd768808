"""How a model declares which output is the probability of the positive label."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from tests.edge.devices import ALIGNMENT
from trimtab_edge.settings import ModelDescription, read_description
from trimtab_kernel.desired import alignment_json, parse_alignment
from trimtab_kernel.problems import InputError


@pytest.mark.parametrize(("output", "column"), [(None, None), ("score", None), ("probabilities", 1), ("p", 0)])
def test_a_declared_score_travels_to_the_device(output: str | None, column: int | None) -> None:
    alignment = replace(ALIGNMENT, score_output=output, score_column=column)
    assert parse_alignment(alignment_json(alignment), "desired.json") == alignment
    assert read_description(ModelDescription(alignment=alignment).to_bytes(), "model.yaml").alignment == alignment


@pytest.mark.parametrize(
    ("score", "field"),
    [
        ({}, "outcome.score.output"),
        ({"output": 5}, "outcome.score.output"),
        ({"output": "p", "column": -1}, "outcome.score.column"),
        ({"output": "p", "column": "1"}, "outcome.score.column"),
        ({"output": "p", "threshold": 1}, "outcome.score.threshold"),
        ([], "outcome.score"),
    ],
)
def test_a_score_in_another_form_is_refused_by_field(score: object, field: str) -> None:
    data: dict[str, Any] = {**alignment_json(ALIGNMENT)}
    data["outcome"] = {**data["outcome"], "score": score}
    with pytest.raises(InputError) as caught:
        parse_alignment(data, "desired.json")
    assert caught.value.problems[0].field.endswith(field)
