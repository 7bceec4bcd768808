"""How many observations a recorded value rests on, as far as the value itself can say."""

from __future__ import annotations

import pytest

from trimtab_kernel.rules import (
    CPU_SECONDS,
    DECISIONS,
    DEVICES_READY,
    FAILURES,
    REQUESTS,
    UPDATE_BYTES,
    Operation,
    Rule,
)


@pytest.mark.parametrize(
    ("rule", "value", "n"),
    [
        (REQUESTS, 120.9, 120),  # a part of an event, which extrapolation makes, is none
        (DECISIONS, 0.4, 0),
        (FAILURES, 3.0, 3),
        (DEVICES_READY, 7.0, 7),
        (CPU_SECONDS, 12.5, 0),  # a sum of seconds does not say how many were added up
        (UPDATE_BYTES, 1e9, 0),
        (Rule("largest", REQUESTS.metric, Operation.MAX, ("model",)), 55.0, 1),
    ],
)
def test_a_value_says_how_many_observations_it_rests_on(rule: Rule, value: float, n: int) -> None:
    assert rule.observations(value) == n
