"""Decisions by cohort: what the server counts is what numpy counts on the same rows."""

from __future__ import annotations

import json
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import onnxruntime
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from examples.models.rows import patients
from tests.edge.devices import ALIGNMENT, place, sample, serving
from trimtab_edge.serving.decisions import CohortCounter
from trimtab_edge.serving.tensors import NUMPY_TYPES, Signature, TensorSpec
from trimtab_kernel.desired import Alignment, Cohort
from trimtab_kernel.problems import InputError

if TYPE_CHECKING:
    from numpy.typing import NDArray

EXAMPLES = Path(__file__).parents[2] / "examples"
NAME = "trimtab_decisions_total"


def signature(
    datatype: str, shape: tuple[Any, ...], outcome: str = "INT64", outcome_shape: tuple[Any, ...] = ("N",)
) -> Signature:
    return Signature((TensorSpec("x", datatype, shape),), (TensorSpec("label", outcome, outcome_shape),))


def alignment(*cohorts: Cohort, column: int = 0, positive: str = "1") -> Alignment:
    return Alignment("x", column, cohorts, "label", Decimal(positive))


BANDS = (
    Cohort("young", high=Decimal("0.3")),
    Cohort("middle", low=Decimal("0.3"), high=Decimal("0.7")),
    Cohort("old", low=Decimal("0.7")),
)


@given(data=st.data())
def test_counts_are_numpys_counts_for_any_batch(data: st.DataObject) -> None:
    """Ranges and values, NaN included; the rows of a batch in any order and number."""
    rows = data.draw(st.integers(0, 40))
    values = st.sampled_from([0.0, 0.3, 0.5, 0.7, 1.0, -1.0, float("nan"), float("inf"), -float("inf")])
    column = data.draw(hnp.arrays(np.float32, rows, elements=values.map(lambda v: float(np.float32(v)))))
    outcome = data.draw(hnp.arrays(np.int64, rows, elements=st.integers(-1, 2)))
    x = np.zeros((rows, 3), np.float32)
    x[:, 1] = column
    counter = CohortCounter(
        alignment(*BANDS, Cohort("half", value=Decimal("0.5")), column=1), signature("FP32", ("N", 3)), "m"
    )
    low, high = np.float32(0.3), np.float32(0.7)
    masks = {
        "young": column < low,
        "middle": (column >= low) & (column < high),
        "old": column >= high,
        "half": column == np.float32(0.5),
    }
    expected = [
        (name, int((mask & (outcome == 1)).sum()), int(mask.sum())) for name, mask in masks.items() if mask.any()
    ]
    assert counter.count({"x": x}, outcome) == expected


@pytest.mark.parametrize("datatype", ["FP16", "FP32", "FP64"])
@pytest.mark.parametrize("text", ["0.1", "0.7", "2.2", "-0.3"])
def test_a_written_value_means_the_number_that_the_tensor_holds(datatype: str, text: str) -> None:
    """0.7 in single precision is below 0.7 in double; who writes it means what the column holds."""
    x = np.array([[float(text)]], NUMPY_TYPES[datatype])
    for cohort in (Cohort("it", value=Decimal(text)), Cohort("it", low=Decimal(text))):
        counter = CohortCounter(alignment(cohort), signature(datatype, ("N", 1)), "m")
        assert counter.count({"x": x}, np.array([1])) == [("it", 1, 1)]
        assert counter.count({"x": np.repeat(x, 3, axis=0)}, np.array([1, 0, 1])) == [("it", 2, 3)]


@pytest.mark.parametrize(
    ("shape", "spec"),
    {
        "vector of rows": ((5,), ("N",)),
        "column": ((5, 1), ("N", 1)),
        "rows of matrices": ((5, 1, 2), ("N", 1, 2)),
    }.values(),
)
def test_the_first_size_counts_rows(shape: tuple[int, ...], spec: tuple[Any, ...]) -> None:
    x = np.zeros(shape, np.int64)
    x.reshape(5, -1)[:, 0] = [1, 2, 1, 2, 2]
    counter = CohortCounter(ALIGNMENT, signature("INT64", spec), "m")
    assert counter.count({"x": x}, np.array([1, 1, 0, 0, 1])) == [("one", 1, 2), ("two", 2, 3)]
    assert counter.count({"x": x}, np.array([[1], [1], [0], [0], [1]])) == [("one", 1, 2), ("two", 2, 3)]


def test_a_vector_of_fixed_size_is_one_row() -> None:
    counter = CohortCounter(alignment(Cohort("two", value=Decimal(2)), column=3), signature("FP32", (4,)), "m")
    assert counter.count({"x": np.array([9, 9, 9, 2], np.float32)}, np.array([1])) == [("two", 1, 1)]


def test_a_request_without_one_outcome_per_row_is_not_counted() -> None:
    counter = CohortCounter(ALIGNMENT, signature("FP32", ("N", 4), outcome_shape=("K",)), "m")
    assert counter.count({"x": np.ones((3, 4), np.float32)}, np.array([1, 1])) == []


def test_an_outcome_may_be_a_truth_value() -> None:
    counter = CohortCounter(ALIGNMENT, signature("FP32", ("N", 4), "BOOL"), "m")
    assert counter.count({"x": np.ones((2, 4), np.float32)}, np.array([True, False])) == [("one", 1, 2)]


@pytest.mark.parametrize(
    ("watched", "where", "says"),
    {
        "no such input": (Alignment("z", 0, BANDS, "label", Decimal(1)), signature("FP32", ("N", 4)), ('"z"', '"x"')),
        "no such output": (Alignment("x", 0, BANDS, "z", Decimal(1)), signature("FP32", ("N", 4)), ('"z"', '"label"')),
        "column beyond": (
            alignment(*BANDS, column=4),
            signature("FP32", ("N", 4)),
            ("got 4", "less than 4", "[-1, 4]"),
        ),
        "text attribute": (alignment(*BANDS), signature("BYTES", ("N", 1)), ("BYTES", "numbers")),
        "text outcome": (alignment(*BANDS), signature("FP32", ("N", 4), "BYTES"), ("BYTES", "numbers")),
        "scalar attribute": (alignment(*BANDS), signature("FP32", ()), ("column",)),
        "two outcomes a row": (alignment(*BANDS), signature("FP32", ("N", 4), "INT64", ("N", 2)), ("[-1, 2]",)),
    }.values(),
)
def test_an_alignment_that_does_not_fit_the_model_is_refused(
    watched: Alignment, where: Signature, says: tuple[str, ...]
) -> None:
    with pytest.raises(InputError) as raised:
        CohortCounter(watched, where, "m/1.0.0/model.onnx")
    [problem] = raised.value.problems
    assert problem.code == "E403"
    for part in says:
        assert part in str(problem)


def tensor(rows: NDArray[np.float32]) -> dict[str, Any]:
    return {"name": "features", "shape": list(rows.shape), "datatype": "FP32", "data": rows.ravel().tolist()}


@pytest.mark.parametrize("asked", [[], [{"name": "score"}]], ids=["all outputs", "the outcome is not asked for"])
def test_a_server_counts_batches_and_single_rows_of_real_patients_like_numpy(tmp_path: Path, asked: list[Any]) -> None:
    """The example model, its held-out rows, and onnxruntime's own answers to them, bit for bit."""
    index = json.loads((EXAMPLES / "models/index.json").read_text())
    [entry] = [
        variant
        for variant in index["variants"]
        if (variant["model"], variant["version"], variant["tier"]) == ("triage", "1.2.0", "standard")
    ]
    content = (EXAMPLES / "artifacts" / entry["digest"].replace(":", "/")).read_bytes()
    declared = index["models"]["triage"]["alignment"]
    column = declared["attribute"]["column"]
    yaml = (
        "# by hand: bare numbers\n"
        f"alignment:\n  attribute: {{input: features, column: {column}, cohorts: "
        "{sex-1: {value: 1}, sex-2: {value: 2.0}}}\n  outcome: {output: label, positive: 1}\n"
    )
    place(tmp_path / "models", "triage", "1.2.0", content, yaml)
    rows = patients().held_out.features.astype(np.float32)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(content, options)
    batches = [rows[:1], rows[1:2], rows[2:64], rows[64:], rows[:0]]
    with serving(tmp_path / "models", tmp_path / "log") as server:
        server.wait_ready("triage")
        for batch in batches:
            reply = server.infer("triage", tensor(batch), outputs=asked)
            score, label = session.run(["score", "label"], {"features": batch})
            outputs = {output["name"]: output["data"] for output in reply.json["outputs"]}
            assert outputs["score"] == score.tolist()
            assert outputs.get("label", label.tolist()) == label.tolist()
            assert ("label" in outputs) is not bool(asked)
        samples = server.samples()
    labels = session.run(["label"], {"features": rows})[0]
    for code, cohort in ((1, "sex-1"), (2, "sex-2")):
        for value, outcome in ((0, "negative"), (1, "positive")):
            expected = int(((rows[:, column] == code) & (labels == value)).sum())
            got = sample(samples, NAME, model="triage", version="1.2.0", cohort=cohort, outcome=outcome)
            assert got == expected > 0
    assert sample(samples, "trimtab_inference_requests_total", model="triage", version="1.2.0") == len(batches)
