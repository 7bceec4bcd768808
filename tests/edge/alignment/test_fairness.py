"""Counts on the box give the figures that fairlearn computes from the rows."""

from __future__ import annotations

import json
import random
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from trimtab_edge.alignment.labels import positives
from trimtab_edge.alignment.pending import PendingDecisions, Row
from trimtab_edge.alignment.version import VersionAlignment
from trimtab_kernel import fairness
from trimtab_kernel.evidence import merge, parse_evidence
from trimtab_kernel.fairness import Confusion

TABLE = json.loads(Path(__file__).with_name("fairlearn.json").read_text("utf-8"))
CASES: list[dict[str, Any]] = TABLE["cases"]


def counted(case: dict[str, Any], boxes: int) -> dict[str, Confusion]:
    """The rows as requests of one to seven rows over so many boxes, the labels later and shuffled, the evidence merged."""
    cohorts = [f"cohort-{digit}" for digit in sorted(set(case["cohort"]))]
    chance = random.Random(7)  # noqa: S311 - an order of rows
    rows = list(zip(case["cohort"], case["outcome"], case["label"], strict=True))
    requests: list[tuple[str, int, list[tuple[str, str, str]]]] = []
    while rows:
        size = chance.randint(1, 7)
        requests.append((f"request-{len(requests)}", len(requests) % boxes, rows[:size]))
        rows = rows[size:]
    versions = [VersionAlignment(cohorts, scored=False, sketches=None) for _ in range(boxes)]
    stores = [PendingDecisions(b"key of this test") for _ in range(boxes)]
    for name, box, members in requests:
        kept = [Row(1 << int(cohort), outcome == "1") for cohort, outcome, _ in members]
        assert stores[box].keep("m", "1.0.0", name, kept)
    chance.shuffle(requests)
    for name, box, members in requests:
        given = positives([int(label) for _, _, label in members], Decimal(1))
        version, fresh = stores[box].label("m", None, name, given)
        assert version == "1.0.0"
        for row, label in fresh:
            versions[box].label(row, label)
    pieces = [parse_evidence(one.evidence("m", "1.0.0", {}).to_bytes()) for one in versions]
    whole = pieces[0]
    for piece in pieces[1:]:
        whole = merge(whole, piece, lambda one, _: one)
    return {name: cohort.labelled for name, cohort in whole.cohorts.items()}


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{len(case['label'])} rows")
@pytest.mark.parametrize("boxes", [1, 3])
def test_figures_equal_those_of_fairlearn_on_the_same_rows(case: dict[str, Any], boxes: int) -> None:
    counts = counted(case, boxes)
    for name, expected in case["figures"].items():
        assert getattr(fairness, name)(counts) == pytest.approx(expected, rel=0, abs=1e-12), name


def test_a_figure_that_the_counts_do_not_determine_is_none() -> None:
    assert fairness.demographic_parity_ratio({"a": Confusion(1, 1, 1, 1)}) is None, "one cohort is no comparison"
    no_positive_label = {"a": Confusion(1, 0, 1, 5), "b": Confusion(0, 2, 0, 5)}
    assert fairness.equal_opportunity_ratio(no_positive_label) is None
    assert fairness.equalized_odds_difference(no_positive_label) is None
    assert fairness.demographic_parity_difference(no_positive_label) == pytest.approx(2 / 7 - 1 / 7)
    nobody_chosen = {"a": Confusion(0, 0, 3, 5), "b": Confusion(0, 0, 2, 5)}
    assert fairness.demographic_parity_ratio(nobody_chosen) is None, "a ratio of nothing says nothing"
    assert fairness.demographic_parity_difference(nobody_chosen) == 0
    assert Confusion().accuracy is None


def test_the_table_tells_cohorts_apart() -> None:
    """Swapping two cohorts' rows for one label class must change a figure: the comparison is not vacuous."""
    case = CASES[2]
    wrong = {**case, "label": case["label"][::-1]}
    assert fairness.equalized_odds_ratio(counted(wrong, 1)) != pytest.approx(
        case["figures"]["equalized_odds_ratio"], abs=1e-3
    )


def test_a_row_of_two_cohorts_counts_in_both_and_one_of_none_in_neither() -> None:
    version = VersionAlignment(("young", "left-handed"), scored=False, sketches=None)
    version.label(Row(0b11, positive=True), label=False)
    version.label(Row(0b00, positive=True), label=True)
    evidence = version.evidence("m", "1.0.0", {("young", True): 4, ("young", False): 2})
    assert {name: cohort.labelled for name, cohort in evidence.cohorts.items()} == {
        "young": Confusion(false_positives=1),
        "left-handed": Confusion(false_positives=1),
    }
    assert evidence.cohorts["young"].count.n == 6
    assert evidence.cohorts["young"].count.positives == 4


@pytest.mark.parametrize(
    ("label", "expected"),
    [(1, [True]), (0, [False]), (1.0, [True]), (True, [True]), ([1, 0, 2], [True, False, False]), ([False], [False])],
)
def test_a_label_is_compared_with_the_positive_outcome(label: object, expected: list[bool]) -> None:
    assert positives(label, Decimal(1)) == expected


@pytest.mark.parametrize("label", ["1", None, [], {}, float("nan"), [[1]], [None], [0] * 5000])
def test_what_is_no_label_is_refused(label: object) -> None:
    with pytest.raises(ValueError, match="expected"):
        positives(label, Decimal(1))


def test_scores_are_read_from_a_column_or_from_a_tensor_of_one_value_per_row() -> None:
    from trimtab_edge.alignment.version import score_column

    table = np.array([[0.25, 0.75], [0.5, 0.5]], dtype=np.float32)
    assert score_column(table, 2, 1) is not None
    assert score_column(table, 2, 1).tolist() == [0.75, 0.5]  # type: ignore[union-attr] # checked above
    assert score_column(table[:, 0], 2, None).tolist() == [0.25, 0.5]  # type: ignore[union-attr] # would fail the test
    assert score_column(table, 2, None) is None, "two values per row and no column named"
    assert score_column(table, 2, 2) is None
    assert score_column(table, 3, 1) is None
    assert score_column(np.array([1, 0]), 2, None) is None, "whole numbers are classes, not probabilities"
