"""Explaining real models: onnxruntime runs them, the answers can be worked out by hand."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import onnxruntime
import pytest
from numpy.typing import NDArray

from tests.edge.graphs import onnx_bytes
from trimtab_edge.alignment.features import Modality
from trimtab_edge.explanations.explainer import Explainer, Explanation
from trimtab_edge.explanations.game import BudgetError
from trimtab_edge.explanations.parts import patches, stretches, words
from trimtab_edge.serving.tensors import TensorSpec

Run = Callable[[Mapping[str, NDArray[Any]]], NDArray[Any]]
X = TensorSpec("x", "FP32", ("N", 3))


def never() -> bool:
    return False


def running(graph: str, output: str) -> Run:
    session = onnxruntime.InferenceSession(onnx_bytes(graph))
    return lambda feeds: session.run([output], dict(feeds))[0]


def explained(
    explainer: Explainer, *, budget: int = 512, most: int = 64, references: Mapping[str, Sequence[float]] | None = None
) -> list[Explanation]:
    return explainer.explain(budget=budget, seed=0, most=most, references=references or {}, expired=never)


WEIGHTED = """
    weighted (float[N, 3] x) => (float[N, 2] y)
    <float[3, 2] w = {1.0, 10.0, 2.0, 20.0, -3.0, 30.0}>
    { y = MatMul (x, w) }"""


def test_a_linear_model_gets_weight_times_distance_from_the_reference() -> None:
    row = np.array([[1.0, 2.0, 3.0]], dtype=np.float32)
    explainer = Explainer([X], {"x": row}, running(WEIGHTED, "y"), 0)
    [found] = explained(explainer, references={"x": [0.0, 1.0, 5.0]})
    assert found.method == "shapley"
    assert found.contributions.values == pytest.approx((1.0, 2.0, 6.0), abs=1e-5)
    assert found.contributions.base == pytest.approx(-13.0)
    assert found.contributions.prediction == pytest.approx(-4.0)
    assert found.labels == ({"input": "x", "column": 0}, {"input": "x", "column": 1}, {"input": "x", "column": 2})


def test_the_largest_answer_is_explained_unless_another_is_named() -> None:
    row = np.array([[1.0, 2.0, 3.0]], dtype=np.float32)
    explainer = Explainer([X], {"x": row}, running(WEIGHTED, "y"), None)
    assert explainer.column == 1
    assert explained(explainer)[0].contributions.prediction == pytest.approx(140)
    with pytest.raises(ValueError, match="column 2, expected 0 to 1"):
        Explainer([X], {"x": row}, running(WEIGHTED, "y"), 2)


BRIGHT = """
    bright (float[N, 1, 8, 8] image, float[N, 2] table) => (float[N] score)
    <int64[2] starts = {4, 4}, int64[2] ends = {8, 8}, int64[2] axes = {2, 3}, float[2, 1] w = {1.0, 2.0}, int64[1] flat = {-1}>
    {
        corner = Slice (image, starts, ends, axes)
        light = ReduceMean <axes = [1, 2, 3], keepdims = 0> (corner)
        sum = MatMul (table, w)
        flat_sum = Reshape (sum, flat)
        score = Add (light, flat_sum)
    }"""
IMAGE = TensorSpec("image", "FP32", ("N", 1, 8, 8))
TABLE = TensorSpec("table", "FP32", ("N", 2))


def test_a_model_of_a_picture_and_a_table_is_explained_by_both() -> None:
    picture = np.zeros((1, 1, 8, 8), dtype=np.float32)
    picture[0, 0, 4:, 4:] = 1.0  # the corner that the model looks at; the mean of the picture is 1/4
    arrays = {"image": picture, "table": np.array([[3.0, 4.0]], dtype=np.float32)}
    explainer = Explainer([IMAGE, TABLE], arrays, running(BRIGHT, "score"), None)
    table, image = explained(explainer, most=4)
    assert (table.method, table.inputs, table.modality) == ("shapley", ("table",), Modality.TABULAR)
    assert table.contributions.values == pytest.approx((3.0, 8.0), abs=1e-5)
    assert (image.method, image.inputs) == ("occlusion", ("image",))
    assert image.labels[3] == {"input": "image", "top": 4, "left": 4, "bottom": 8, "right": 8}
    assert image.contributions.values == pytest.approx((0, 0, 0, 0.75), abs=1e-5)
    assert not image.contributions.additive


def test_a_model_that_takes_one_row_only_is_asked_row_by_row() -> None:
    graph = WEIGHTED.replace("float[N, 3]", "float[1, 3]").replace("float[N, 2]", "float[1, 2]")
    row = np.array([[1.0, 2.0, 3.0]], dtype=np.float32)
    [fixed] = explained(Explainer([TensorSpec("x", "FP32", (1, 3))], {"x": row}, running(graph, "y"), 0))
    [open_] = explained(Explainer([X], {"x": row}, running(WEIGHTED, "y"), 0))
    assert fixed.contributions.values == pytest.approx(open_.contributions.values)


def mentions(word: str) -> Run:
    """A text model: how many of the texts of each row mention a word. (onnxruntime's string operators know no search.)"""

    def run(feeds: Mapping[str, NDArray[Any]]) -> NDArray[Any]:
        return np.array([sum(word in text for text in row) for row in feeds["claim"]], dtype=np.float64)

    return run


def test_the_word_that_decides_is_found() -> None:
    claim = TensorSpec("claim", "BYTES", ("N", 1))
    explainer = Explainer([claim], {"claim": np.array([["the digit  is seven"]], dtype=object)}, mentions("seven"), 0)
    [found] = explained(explainer)
    assert [label["word"] for label in found.labels] == ["the", "digit", "is", "seven"]
    assert list(found.contributions.values) == [0, 0, 0, 1]
    nothing = Explainer([claim], {"claim": np.array([["  "]], dtype=object)}, mentions("seven"), 0)
    assert explained(nothing) == []


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"x": np.zeros((2, 3), dtype=np.float32)}, "holds 2 rows, expected one"),
        ({"x": np.zeros((0, 3), dtype=np.float32)}, "holds 0 rows"),
    ],
)
def test_one_row_is_explained(arrays: dict[str, NDArray[Any]], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Explainer([X], arrays, running(WEIGHTED, "y"), 0)


def test_a_reference_must_fit_and_a_budget_must_do() -> None:
    row = np.array([[1.0, 2.0, 3.0]], dtype=np.float32)
    explainer = Explainer([X], {"x": row}, running(WEIGHTED, "y"), 0)
    with pytest.raises(ValueError, match="2 reference values for input x, expected 3"):
        explained(explainer, references={"x": [1, 2]})
    with pytest.raises(BudgetError, match="expected at least 4 for 3 features"):
        explained(explainer, budget=3)


def test_every_value_of_a_picture_is_in_one_patch_and_labels_say_which() -> None:
    for height, width, most in ((8, 8, 4), (7, 5, 6), (224, 224, 64), (1, 9, 4), (3, 1000, 50), (5, 5, 1)):
        parts = patches(np.zeros((1, 3, height, width)), most)
        assert 1 <= len(parts.labels) <= most
        seen = np.full((height, width), -1)
        for place, label in enumerate(parts.labels):
            region = seen[label["top"] : label["bottom"], label["left"] : label["right"]]
            assert (region == -1).all()
            assert region.size > 0
            region[:] = place
        assert (seen == parts.owner[0, 1]).all()


def test_stretches_cover_a_row_and_runs_of_words_a_text() -> None:
    parts = stretches(np.arange(10).reshape(1, 10), 3)
    assert parts.labels == ({"from": 0, "to": 4}, {"from": 4, "to": 7}, {"from": 7, "to": 10})
    [without] = parts.made(np.array([[True, False, True]]))
    assert without.tolist() == [[0, 1, 2, 3, 0, 0, 0, 7, 8, 9]]
    text = words(np.array([["a b c d e"], ["f"]], dtype=object), 3)
    assert [label["word"] for label in text.labels] == ["a b", "c d", "e", "f"]
    [left] = text.made(np.array([[True, False, True, False]]))
    assert left.tolist() == [["a b  e"], [""]]
