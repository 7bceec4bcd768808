"""Decisions that wait for a label: a bounded store."""

from __future__ import annotations

import gc
import tracemalloc

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trimtab_edge.alignment.pending import (
    MAX_ROWS,
    MAX_ROWS_PER_REQUEST,
    LabelConflictError,
    LabelMismatchError,
    PendingDecisions,
    Row,
    UnknownDecisionError,
)

KEY = bytes(range(16))
YES = Row(1, positive=True, score_bin=42)
NO = Row(0x8002, positive=False)


def test_labels_find_their_rows_once() -> None:
    store = PendingDecisions(KEY)
    assert store.keep("m", "1.0.0", "a", [YES, NO])
    assert store.label("m", None, "a", [True, False]) == ("1.0.0", [(YES, True), (NO, False)])
    assert store.label("m", "1.0.0", "a", [True, False]) == ("1.0.0", []), "a repeat counts nothing"
    with pytest.raises(LabelConflictError):
        store.label("m", None, "a", [True, True])
    assert store.label("m", None, "a", [True, False]) == ("1.0.0", []), "a refused label changes nothing"


def test_a_conflict_in_a_later_row_leaves_the_earlier_rows_unlabelled() -> None:
    store = PendingDecisions(KEY)
    store.keep("m", "1.0.0", "a", [YES, NO])
    with pytest.raises(LabelMismatchError, match="1 labels, expected 2"):
        store.label("m", None, "a", [True])
    with pytest.raises(LabelMismatchError, match=r"made by version 1\.0\.0"):
        store.label("m", "2.0.0", "a", [True, False])
    assert store.label("m", None, "a", [False, True])[1] == [(YES, False), (NO, True)]


def test_an_id_belongs_to_one_model_and_to_its_newest_request() -> None:
    store = PendingDecisions(KEY)
    store.keep("m", "1.0.0", "a", [YES])
    with pytest.raises(UnknownDecisionError):
        store.label("other", None, "a", [True])
    store.keep("m", "2.0.0", "a", [NO])
    assert store.label("m", None, "a", [True]) == ("2.0.0", [(NO, True)])
    assert len(store) == 1
    assert store.rows == 1


def test_the_decision_used_longest_ago_makes_room() -> None:
    store = PendingDecisions(KEY, max_rows=3)
    for name in ("a", "b", "c"):
        store.keep("m", "1.0.0", name, [YES])
    store.label("m", None, "a", [True])  # used now
    store.keep("m", "1.0.0", "d", [NO])
    with pytest.raises(UnknownDecisionError):
        store.label("m", None, "b", [True])
    assert store.label("m", None, "a", [True])[1] == []
    assert store.label("m", None, "d", [True])[1] == [(NO, True)]


def test_a_request_that_is_too_large_is_not_kept() -> None:
    store = PendingDecisions(KEY)
    assert not store.keep("m", "1.0.0", "a", [YES] * (MAX_ROWS_PER_REQUEST + 1))
    assert not store.keep("m", "1.0.0", "a", [])
    assert len(store) == 0


@given(st.lists(st.tuples(st.integers(0, 30), st.integers(1, 9)), max_size=200), st.integers(9, 40))
def test_the_rows_kept_never_exceed_the_limit(requests: list[tuple[int, int]], limit: int) -> None:
    store = PendingDecisions(KEY, max_rows=limit)
    newest: dict[int, int] = {}
    for name, rows in requests:
        assert store.keep("m", "1.0.0", str(name), [YES] * rows)
        newest[name] = rows
        assert store.rows <= limit
    for name, rows in newest.items():
        try:
            _, fresh = store.label("m", None, str(name), [True] * rows)
        except UnknownDecisionError:
            continue
        assert fresh == [(YES, True)] * rows


def test_memory_is_constant_however_many_decisions_are_made() -> None:
    rows = MAX_ROWS // 8
    gc.collect()
    tracemalloc.start()
    try:
        store = PendingDecisions(KEY, max_rows=rows)
        for number in range(2 * rows):
            store.keep("m", "1.0.0", f"request-{number}", [YES])
        full, _ = tracemalloc.get_traced_memory()
        for number in range(3 * rows):
            store.keep("m", f"1.0.{number % 500}", f"later-{number}" + "x" * 900, [YES])
        later, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert len(store) == rows
    assert later < full * 1.05 + 64_000, "and what 256 versions take"
    assert peak * 8 < 12e6, "what the description of MAX_ROWS promises"


def test_an_id_is_not_to_be_found_in_the_store() -> None:
    """Ids may name people. With another key the same id has another name, so names of two boxes cannot be joined."""
    store, other = PendingDecisions(KEY), PendingDecisions(bytes(16))
    store.keep("m", "1.0.0", "patient-4711", [YES])
    other.keep("m", "1.0.0", "patient-4711", [YES])
    assert "4711" not in repr(vars(store))
    assert set(store._decisions) != set(other._decisions)
