"""The envelope in which counts and sketches leave a device."""

from __future__ import annotations

import base64
import json
from decimal import Decimal
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trimtab_edge.alignment.features import Modality, Watched
from trimtab_edge.alignment.sketches import FeatureSketches, merge_payloads, quantiles
from trimtab_kernel.evidence import MAX_BYTES, CohortEvidence, Evidence, Sketch, merge, parse_evidence
from trimtab_kernel.fairness import Confusion
from trimtab_kernel.problems import InputError
from trimtab_kernel.scores import SCORE_BINS, ScoreHistogram


def sketch_of(feature: str, numbers: list[float]) -> Sketch:
    """A sketch of these numbers, by the library that the devices use."""
    sketches = FeatureSketches([Watched(feature, Modality.TABULAR, (feature,))])
    sketches.observe({feature: np.array(numbers)})
    [sketch] = sketches.snapshot()
    return sketch


COUNT = st.integers(0, 2**40)
BINS = st.lists(COUNT, min_size=SCORE_BINS, max_size=SCORE_BINS).map(tuple)
COHORTS = st.dictionaries(
    st.sampled_from(["a", "b", "c"]),
    st.builds(CohortEvidence, COUNT, COUNT, st.builds(Confusion, COUNT, COUNT, COUNT, COUNT)),
)
SKETCHES = st.lists(
    st.builds(sketch_of, st.sampled_from(["x", "y"]), st.lists(st.floats(-9, 9, width=32), min_size=1, max_size=9)),
    max_size=2,
    unique_by=lambda sketch: sketch.feature,
).map(lambda found: tuple(sorted(found, key=lambda sketch: sketch.feature)))
EVIDENCE = st.builds(
    Evidence,
    st.just("m"),
    st.just("1.0.0"),
    COHORTS,
    st.none() | st.builds(ScoreHistogram, BINS, BINS, COUNT, COUNT, BINS, BINS),
    SKETCHES,
    st.none() | st.just(Decimal("0.5")),
)


@given(EVIDENCE)
def test_what_is_written_is_read_back(evidence: Evidence) -> None:
    assert parse_evidence(evidence.to_bytes()) == evidence


@given(EVIDENCE, EVIDENCE, EVIDENCE)
def test_merging_adds_up_in_any_order(one: Evidence, other: Evidence, third: Evidence) -> None:
    if len({one.epsilon, other.epsilon, third.epsilon}) > 1:
        with pytest.raises(ValueError, match="epsilon"):
            merge(merge(one, other, merge_payloads), third, merge_payloads)
        return
    left = merge(merge(one, other, merge_payloads), third, merge_payloads)
    right = merge(one, merge(third, other, merge_payloads), merge_payloads)
    for sketch in left.sketches:
        assert parse_evidence(left.to_bytes()).sketches
        assert quantiles(sketch.payload, [0, 1]) == quantiles(
            next(other.payload for other in right.sketches if other.feature == sketch.feature), [0, 1]
        )
    assert left.cohorts == right.cohorts
    assert left.scores == right.scores
    assert {sketch.feature: sketch.n for sketch in left.sketches} == {
        sketch.feature: sketch.n for sketch in right.sketches
    }
    assert left.sources == 3
    for name in left.cohorts:
        assert left.cohorts[name].positive == sum(
            piece.cohorts[name].positive for piece in (one, other, third) if name in piece.cohorts
        )


def wrong(change: dict[str, Any]) -> bytes:
    sketch = sketch_of("x", [1.0, 2.0, 3.0])
    good = json.loads(
        Evidence("m", "1.0.0", {"a": CohortEvidence(1, 2)}, ScoreHistogram(), (sketch,), Decimal(1)).to_bytes()
    )
    for path, value in change.items():
        *parents, last = path.split(".")
        place = good
        for parent in parents:
            place = place[int(parent)] if isinstance(place, list) else place[parent]
        if value is ...:
            del place[last]
        else:
            place[last] = value
    return json.dumps(good).encode()


@pytest.mark.parametrize(
    ("content", "field"),
    [
        (b"", ""),
        (b"\xff", ""),
        (b"[" * 100_000, ""),
        (b"1" * (MAX_BYTES + 1), ""),
        (b"{}", "apiVersion"),
        (wrong({"kind": "Other"}), "kind"),
        (wrong({"more": 1}), "more"),
        (wrong({"model": ""}), "model"),
        (wrong({"model": 5}), "model"),
        (wrong({"sources": 0}), "sources"),
        (wrong({"cohorts": []}), "cohorts"),
        (wrong({"cohorts.a.positive": -1}), "cohorts.a.positive"),
        (wrong({"cohorts.a.positive": 1.5}), "cohorts.a.positive"),
        (wrong({"cohorts.a.positive": True}), "cohorts.a.positive"),
        (wrong({"cohorts.a.positive": 2**60}), "cohorts.a.positive"),
        (wrong({"cohorts.a.truePositives": ...}), "cohorts.a.truePositives"),
        (wrong({"cohorts": {str(number): {} for number in range(17)}}), "cohorts"),
        (wrong({"scores.positive": [1]}), "scores.positive"),
        (wrong({"scores.labelled": [None] * SCORE_BINS}), "scores.labelled[0]"),
        (wrong({"sketches.0.kind": "hll"}), "sketches[0].kind"),
        (wrong({"sketches.0.payload": "?"}), "sketches[0].payload"),
        (wrong({"sketches.0.payload": base64.b64encode(b"x" * 20_000).decode()}), "sketches[0].payload"),
        (wrong({"sketches.0.payload": base64.b64encode(b"x" * 30).decode()}), "sketches[0].payload"),
        (wrong({"sketches.0.n": 4}), "sketches[0].n"),
        (wrong({"sketches.0.k": 1}), "sketches[0].k"),
        (wrong({"sketches": [{}] * 300}), "sketches"),
        (wrong({"privacy.epsilon": "-1"}), "privacy.epsilon"),
        (wrong({"privacy.epsilon": "0"}), "privacy.epsilon"),
        (wrong({"privacy.epsilon": "."}), "privacy.epsilon"),
        (wrong({"privacy.epsilon": 1}), "privacy.epsilon"),
    ],
)
def test_foreign_bytes_are_refused_by_field(content: bytes, field: str) -> None:
    with pytest.raises(InputError) as caught:
        parse_evidence(content, "box-7.json")
    [problem] = caught.value.problems
    assert (problem.code, problem.file, problem.field) == ("E501", "box-7.json", field)


@given(
    st.binary(max_size=200)
    | st.recursive(
        st.none() | st.booleans() | st.floats() | st.integers() | st.text(max_size=5),
        lambda inner: (
            st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(["kind", "cohorts", "model"]), inner)
        ),
    ).map(lambda value: json.dumps(value).encode())
)
def test_nothing_but_an_input_error_leaves_the_reader(content: bytes) -> None:
    with pytest.raises(InputError):
        parse_evidence(content)
