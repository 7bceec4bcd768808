"""However long a request takes and whenever within it the room counts it, the room's limits are not met."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.rigs.slack.limits import Limits
from trimtab_bot.chat.pace import Kind, Pace

METHODS = {Kind.MESSAGE: "chat.postMessage", Kind.EDIT: "chat.update"}
REQUESTS = st.tuples(
    st.sampled_from(Kind),
    st.floats(0.0, 30.0, allow_nan=False),  # seconds until it is answered
    st.floats(0.0, 1.0, allow_nan=False),  # the share of them after which the room counts it
    st.booleans(),  # whether the answer is an error
)


@given(st.lists(REQUESTS, max_size=120))
def test_slow_requests_do_not_meet_the_limits(requests: list[tuple[Kind, float, float, bool]]) -> None:
    """The room counts at any moment between a request's leaving and its answer."""
    now = [0.0]
    pace, limits = Pace(lambda: now[0]), Limits(lambda: now[0])
    for kind, seconds, share, fails in requests:
        now[0] += pace.wait(kind)
        assert pace.wait(kind) == pytest.approx(0.0, abs=1e-6)
        end = now[0] + seconds
        with contextlib.suppress(OSError), pace.saying(kind):
            now[0] += seconds * share
            assert limits.ask(METHODS[kind], "C") == 0.0
            now[0] = max(end, now[0])
            if fails:
                raise OSError
    assert limits.refused == 0


def test_what_failed_counts_as_said() -> None:
    """It may have been heard: the answer alone may have been lost."""
    pace = Pace(lambda: 5.0)
    with contextlib.suppress(OSError), pace.saying(Kind.MESSAGE):
        raise OSError
    assert pace.wait(Kind.MESSAGE) > 1.0
