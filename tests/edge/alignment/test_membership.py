"""The rows that wait for a label belong to the cohorts that the counts say."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trimtab_edge.alignment.pending import PendingDecisions, Row
from trimtab_edge.serving.decisions import CohortCounter
from trimtab_edge.serving.oversight import Oversight
from trimtab_edge.serving.tensors import Signature, TensorSpec
from trimtab_kernel.desired import Alignment, Cohort
from trimtab_kernel.problems import InputError

if TYPE_CHECKING:
    from trimtab_edge.serving.tensors import Array

SIGNATURE = Signature(
    (TensorSpec("x", "FP32", ("N", 2)),),
    (TensorSpec("label", "INT64", ("N",)), TensorSpec("p", "FP32", ("N", 2)), TensorSpec("half", "BF16", ("N",))),
)
COHORTS = (Cohort("low", high=Decimal("0.7")), Cohort("high", low=Decimal("0.7")), Cohort("one", value=Decimal(1)))
DECLARED = Alignment("x", 1, COHORTS, "label", Decimal(1), "p", 1)
NUMBER = st.sampled_from([0.0, 0.7, 1.0, -1.0, 2.5, float("nan")])


@given(st.lists(st.tuples(NUMBER, st.integers(0, 1)), min_size=1, max_size=20))
def test_bits_and_counts_agree_for_one_row_and_for_many(rows: list[tuple[float, int]]) -> None:
    counter = CohortCounter(DECLARED, SIGNATURE, "m")
    feeds: dict[str, Array] = {"x": np.array([[9.0, value] for value, _ in rows], dtype=np.float32)}
    outcome = np.array([label for _, label in rows])
    bits = counter.memberships(feeds, len(rows))
    positive = counter.positive(outcome)
    counted = {name: (up, total) for name, up, total in counter.count(feeds, outcome)}
    for place, name in enumerate(counter.cohorts):
        members = [up for bit, up in zip(bits, positive.tolist(), strict=True) if bit >> place & 1]
        assert counted.get(name, (0, 0)) == (sum(members), len(members))
    each = [counter.memberships({"x": feeds["x"][place : place + 1]}, 1)[0] for place in range(len(rows))]
    assert each == bits
    assert counter.memberships(feeds, len(rows) + 1) == []


def test_one_request_is_scored_kept_and_sketched() -> None:
    counter = CohortCounter(DECLARED, SIGNATURE, "m")
    oversight = Oversight(DECLARED, SIGNATURE, counter, "m")
    into = oversight.counts(None)
    pending = PendingDecisions(bytes(16))
    feeds: dict[str, Array] = {"x": np.array([[9.0, 1.0], [9.0, 0.0]], dtype=np.float32)}
    outputs: dict[str, Array] = {
        "label": np.array([1, 0]),
        "p": np.array([[0.09, 0.91], [0.75, 0.25]], dtype=np.float32),
        "half": np.array([1, 2], dtype=np.uint16),
    }
    oversight.observe(into, feeds, outputs, pending=pending, name=("m", "1.0.0", "a"))
    assert pending.label("m", None, "a", [True, True])[1] == [
        (Row(0b110, positive=True, score_bin=45), True),
        (Row(0b001, positive=False, score_bin=12), True),
    ]
    assert into.expected_right == pytest.approx(0.91 + 0.75, abs=1e-6)
    assert into.sketches is not None
    # The bits of a BF16 tensor are no numbers, and are not sketched as if they were.
    assert {sketch.feature: sketch.n for sketch in into.sketches.snapshot()} == {
        "x[0]": 2, "x[1]": 2, "label": 2, "p[0]": 2, "p[1]": 2,
    }  # fmt: skip
    assert oversight.counts(into) is into, "a version whose description was read again goes on counting"
    assert Oversight(None, SIGNATURE, None, "m").counts(into) is not into


@pytest.mark.parametrize(
    ("output", "column", "field"),
    [
        ("nothing", None, "alignment.outcome.score.output"),
        ("label", None, "alignment.outcome.score.output"),
        ("half", None, "alignment.outcome.score.output"),
        ("p", None, "alignment.outcome.score.column"),
        ("p", 2, "alignment.outcome.score.column"),
    ],
)
def test_a_score_that_the_model_does_not_have_keeps_it_from_being_served(
    output: str, column: int | None, field: str
) -> None:
    declared = Alignment("x", 1, COHORTS, "label", Decimal(1), output, column)
    with pytest.raises(InputError) as caught:
        Oversight(declared, SIGNATURE, CohortCounter(declared, SIGNATURE, "m"), "m/1.0.0/model.onnx")
    assert (caught.value.problems[0].code, caught.value.problems[0].field) == ("E403", field)
