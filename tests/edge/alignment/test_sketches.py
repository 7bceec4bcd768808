"""Sketches of features: constant size, mergeable, per modality."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from datasketches import vector_of_kll_floats_sketches

from trimtab_edge.alignment.features import MAX_VALUES, Modality, modality_of, values, watched
from trimtab_edge.alignment.sketches import MAX_FEATURES, FeatureSketches, merge_payloads, quantiles
from trimtab_kernel.evidence import Evidence, merge, parse_evidence
from trimtab_kernel.problems import InputError
from trimtab_kernel.sketches import check_kll


@dataclass(frozen=True, slots=True)
class Shape:
    name: str
    datatype: str
    shape: tuple[int | str | None, ...]


TABLE = Shape("x", "FP32", ("N", 3))
SCORE = Shape("score", "FP32", ("N",))
RANKS = [0.01, 0.1, 0.25, 0.5, 0.75, 0.9, 0.99]


def rank_errors(payload: bytes, data: np.ndarray[Any, Any]) -> list[float]:
    return [
        abs(float(np.mean(data <= value)) - rank) for rank, value in zip(RANKS, quantiles(payload, RANKS), strict=True)
    ]


@pytest.mark.parametrize(
    ("shape", "expected"),
    [
        (Shape("a", "FP32", ("N", 10)), Modality.TABULAR),
        (Shape("a", "FP32", ("N",)), Modality.TABULAR),
        (Shape("a", "INT64", (None, 1)), Modality.TABULAR),
        (Shape("a", "FP32", ("N", 3, 224, 224)), Modality.IMAGE),
        (Shape("a", "UINT8", ("N", 28, 28)), Modality.IMAGE),
        (Shape("a", "FP32", ("N", None)), Modality.SIGNAL),
        (Shape("a", "FP32", (1, 16000)), Modality.SIGNAL),
        (Shape("a", "INT64", ("N", "L")), Modality.TOKENS),
        (Shape("a", "INT32", (1, 512)), Modality.TOKENS),
        (Shape("a", "BYTES", ("N", 1)), Modality.TEXT),
    ],
    ids=str,
)
def test_the_modality_follows_from_shape_and_datatype(shape: Shape, expected: Modality) -> None:
    assert modality_of(shape) is expected


def test_the_numbers_of_each_modality() -> None:
    text = watched(Shape("claim", "BYTES", ("N", 1)))
    assert text.features == ("claim: characters", "claim: words", "claim: non-ascii")
    found = values(text, np.array([["two words"], [b"\xc3\xa4\xc3\xb6"], [""]], dtype=object))
    assert found is not None
    assert found.tolist() == [[9, 2, 0], [2, 1, 1], [0, 0, 0]]
    tokens = values(watched(Shape("ids", "INT64", ("N", "L"))), np.array([[7, 7, 5, 0]]))
    assert tokens is not None
    assert tokens.tolist() == [[4, 0.25, 0.75]]
    image = values(watched(Shape("i", "FP32", ("N", 1, 2, 2))), np.array([[[[0.0, 1.0], [0.5, 0.5]]]]))
    assert image is not None
    assert image[0].tolist() == pytest.approx([0.5, np.sqrt(0.125), 0.5])
    signal = values(watched(Shape("s", "FP32", ("N", None))), np.array([[3.0, -4.0, 3.0, -4.0, 1.0]]))
    assert signal is not None
    assert signal[0].tolist() == pytest.approx([np.sqrt(51 / 5), 4, 1.0])
    table = values(watched(TABLE), np.array([[1, 2, 3], [4, 5, 6]]))
    assert table is not None
    assert table.tolist() == [[1, 2, 3], [4, 5, 6]]
    assert watched(TABLE).features == ("x[0]", "x[1]", "x[2]")
    assert values(watched(TABLE), np.zeros((2, 4))) is None
    assert values(watched(TABLE), np.zeros((0, 3))) is None


def test_a_large_picture_is_looked_at_in_part_and_seen_alike() -> None:
    chance = np.random.default_rng(2)
    picture = chance.normal(0.4, 0.2, (1, 3, 224, 224)).astype(np.float32)
    assert picture.size > 30 * MAX_VALUES
    found = values(watched(Shape("i", "FP32", (1, 3, 224, 224))), picture)
    assert found is not None
    assert found[0, :2].tolist() == pytest.approx([0.4, 0.2], abs=0.02)


def test_a_sketch_is_right_within_its_stated_error_and_its_size_is_constant() -> None:
    """k = 200: 1.33 % at 99 %. Twice that is allowed here, so that chance does not fail the test."""
    chance = np.random.default_rng(4)
    sketches = FeatureSketches([watched(TABLE), watched(SCORE)])
    sizes = []
    seen = []
    for _ in range(3):
        for _ in range(1500):
            rows = chance.normal((0, 5, 100), (1, 2, 30), (4, 3)).astype(np.float32)
            seen.append(rows)
            sketches.observe({"x": rows, "score": rows[:, 0]})
        sizes.append(sum(len(sketch.payload) for sketch in sketches.snapshot()))
    found = {sketch.feature: sketch for sketch in sketches.snapshot()}
    assert list(found) == ["x[0]", "x[1]", "x[2]", "score"]
    data = np.concatenate(seen)
    for column, feature in enumerate(["x[0]", "x[1]", "x[2]"]):
        assert found[feature].n == len(data) == 18_000
        assert max(rank_errors(found[feature].payload, data[:, column])) < 0.0266
    assert max(sizes) <= 4 * 2600, "2.5 kB a feature"


def test_sketches_of_many_boxes_merge_to_the_distribution_of_all() -> None:
    chance = np.random.default_rng(9)
    means = [0.0, 3.0, 9.0]
    pieces, data = [], []
    for mean in means:
        box = FeatureSketches([watched(SCORE)])
        rows = chance.normal(mean, 1, 6000).astype(np.float32)
        for start in range(0, 6000, 100):
            box.observe({"score": rows[start : start + 100]})
        data.append(rows)
        pieces.append(parse_evidence(Evidence("m", "1.0.0", {}, sketches=box.snapshot()).to_bytes()))
    whole = merge(merge(pieces[0], pieces[1], merge_payloads), pieces[2], merge_payloads)
    [sketch] = whole.sketches
    assert sketch.n == 18_000
    assert whole.sources == 3
    assert max(rank_errors(sketch.payload, np.concatenate(data))) < 0.0266


def test_what_is_absent_or_no_number_counts_nothing() -> None:
    sketches = FeatureSketches([watched(TABLE), watched(SCORE)])
    sketches.observe({"x": np.array([[1.0, np.nan, 3.0]])})
    sketches.observe({"other": np.zeros(3)})
    found = {sketch.feature: sketch.n for sketch in sketches.snapshot()}
    assert found == {"x[0]": 1, "x[2]": 1}
    assert FeatureSketches([]).snapshot() == ()


def test_a_huge_batch_is_sketched_in_part() -> None:
    sketches = FeatureSketches([watched(SCORE)])
    sketches.observe({"score": np.arange(10_000, dtype=np.float32)})
    [sketch] = sketches.snapshot()
    assert sketch.n == 250
    assert quantiles(sketch.payload, [0.5])[0] == pytest.approx(5000, abs=400)


def test_too_many_features_leave_whole_tensors_out_and_say_so() -> None:
    tensors = [watched(Shape(f"t{number}", "FP32", ("N", 60))) for number in range(3)]
    sketches = FeatureSketches(tensors)
    assert sketches.left_out == ("t2",)
    sketches.observe({f"t{number}": np.zeros((1, 60)) for number in range(3)})
    assert len(sketches.snapshot()) == 120 <= MAX_FEATURES


@pytest.mark.parametrize("payload", [b"", b"\x00", b"\xff" * 40, b"\x05\x01\x0f" + b"\x00" * 9])
def test_bytes_that_are_no_sketch_are_refused(payload: bytes) -> None:
    good = FeatureSketches([watched(SCORE)])
    good.observe({"score": np.array([1.0])})
    with pytest.raises(ValueError, match="no KLL sketch"):
        merge_payloads(good.snapshot()[0].payload, payload)
    with pytest.raises(ValueError, match="sketch"):
        quantiles(payload, [0.5])


@pytest.mark.parametrize("rows", [1, 2, 250, 4000, 300_000])
@pytest.mark.parametrize("k", [8, 200, 400])
def test_every_sketch_of_the_library_is_sound(rows: int, k: int) -> None:
    chance = np.random.default_rng(rows)
    sketch = vector_of_kll_floats_sketches(k, 1)
    sketch.update(chance.normal(size=(rows, 1)).astype(np.float32))
    [payload] = sketch.serialize()
    assert check_kll(bytes(payload)) == rows
    assert merge_payloads(bytes(payload), bytes(payload))
    with pytest.raises(ValueError, match="no KLL sketch"):
        check_kll(bytes(payload) + b"\0")
    with pytest.raises(ValueError, match="no KLL sketch"):
        check_kll(bytes(payload)[:-1])


def test_damaged_sketches_never_end_the_process() -> None:
    """The library is C++ and trusts its input: unchecked, damaged copies like these end the process. Ours are refused."""
    chance = np.random.default_rng(1)
    refused = 0
    for rows in (1, 3, 250, 5000):
        sketch = vector_of_kll_floats_sketches(200, 1)
        sketch.update(chance.normal(size=(rows, 1)).astype(np.float32))
        good = bytes(sketch.serialize()[0])
        for _ in range(2000):
            bad = bytearray(good[: chance.integers(1, len(good) + 1)] if chance.random() < 0.2 else good)
            for _ in range(chance.integers(1, 6)):
                bad[chance.integers(0, min(len(bad), 40))] = chance.integers(0, 256)
            try:
                quantiles(merge_payloads(good, bytes(bad)), [0.5])
            except ValueError:
                refused += 1
    assert refused > 6000


def test_evidence_that_does_not_belong_together_is_not_merged() -> None:
    with pytest.raises(ValueError, match=r"version 1\.0\.0 and 2\.0\.0"):
        merge(Evidence("m", "1.0.0", {}), Evidence("m", "2.0.0", {}), merge_payloads)
    with pytest.raises(InputError, match="E501"):
        parse_evidence(b"[]")
