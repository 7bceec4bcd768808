"""Noise on counts: the right distribution, each row once, counters that only grow."""

from __future__ import annotations

import math
import random
from collections import Counter
from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trimtab_edge.alignment.pending import Row
from trimtab_edge.alignment.privacy import NoisyCounters, discrete_laplace
from trimtab_edge.alignment.version import ROW_CELLS, VersionAlignment
from trimtab_kernel.evidence import parse_evidence

DRAWS = 20_000


def seeded(seed: int) -> random.Random:
    """Where the noise comes from in a test; a device asks its operating system."""
    return random.Random(seed)  # noqa: S311 - see above


@pytest.mark.parametrize("scale", [Fraction(1, 2), Fraction(1), Fraction(7, 3), Fraction(4)])
def test_draws_have_the_distribution_of_the_description(scale: Fraction) -> None:
    """Chi-squared over -8..8 and the tails against P(x) ~ exp(-|x| / scale); beyond 4.5 sd of its mean would be chance."""
    chance = seeded(2)
    seen = Counter(discrete_laplace(scale, chance.randrange) for _ in range(DRAWS))
    p = math.exp(-1 / scale)
    masses = {x: (1 - p) / (1 + p) * p ** abs(x) for x in range(-8, 9)}
    statistic, cells = 0.0, 0
    rest, rest_mass = DRAWS, 1.0
    for x, mass in masses.items():
        if mass * DRAWS < 10:
            continue
        statistic += (seen[x] - mass * DRAWS) ** 2 / (mass * DRAWS)
        rest, rest_mass, cells = rest - seen[x], rest_mass - mass, cells + 1
    if rest_mass * DRAWS >= 10:
        statistic += (rest - rest_mass * DRAWS) ** 2 / (rest_mass * DRAWS)
    assert statistic < cells + 4.5 * math.sqrt(2 * cells)


def test_neighbouring_counts_give_each_answer_with_almost_the_same_chance() -> None:
    """The promise itself: P(answer | n) / P(answer | n + 1) stays within exp(epsilon), up to the error of 40,000 draws."""
    epsilon = Fraction(1, 2)
    chance = seeded(4)
    one = Counter(10 + discrete_laplace(1 / epsilon, chance.randrange) for _ in range(40_000))
    other = Counter(11 + discrete_laplace(1 / epsilon, chance.randrange) for _ in range(40_000))
    for answer in range(6, 16):
        ratio = one[answer] / other[answer]
        assert math.exp(-epsilon) * 0.85 < ratio < math.exp(epsilon) / 0.85


def test_the_same_seed_gives_the_same_noise() -> None:
    draws = [[discrete_laplace(Fraction(2), seeded(6).randrange) for _ in range(5)] for _ in range(2)]
    assert draws[0] == draws[1]


@pytest.mark.parametrize("scale", [Fraction(0), Fraction(-1)])
def test_a_scale_must_be_above_zero(scale: Fraction) -> None:
    with pytest.raises(ValueError, match="above 0"):
        discrete_laplace(scale, seeded(1).randrange)
    with pytest.raises(ValueError, match="above 0"):
        NoisyCounters(scale, 1, seeded(1).randrange)


@given(st.lists(st.integers(0, 40), min_size=1, max_size=60), st.integers(0, 2**32))
def test_what_is_shown_only_grows_and_stays_near_the_truth(growth: list[int], seed: int) -> None:
    counters = NoisyCounters(Fraction(1), 2, seeded(seed).randrange)
    exact, shown = 0, 0
    for grown in growth:
        exact += grown
        counters.advance({"a": exact})
        assert counters.shown["a"] >= shown
        shown = counters.shown["a"]
    # sd of one draw at scale 2 is 2.8; the running maximum of so many sums stays within ten of the whole.
    assert abs(shown - exact) < 10 * 2.8 * math.sqrt(len(growth)) + 20
    assert counters.periods == len(growth)


def test_a_large_count_is_hardly_changed() -> None:
    counters = NoisyCounters(Fraction(1), ROW_CELLS, seeded(3).randrange)
    for period in range(1, 25):
        counters.advance({"a": 1000 * period})
    assert counters.shown["a"] == pytest.approx(24_000, rel=0.01)


def test_noisy_evidence_carries_no_exact_count_and_no_sketch() -> None:
    version = VersionAlignment(("a", "b"), scored=True, sketches=None)
    for number in range(300):
        version.label(Row(1 + number % 2, positive=number % 3 == 0, score_bin=number % 50), label=number % 5 == 0)
    decisions = {("a", True): 500, ("a", False): 100, ("b", True): 300, ("b", False): 300}
    counters = NoisyCounters(Fraction(1, 2), ROW_CELLS, seeded(12).randrange)
    counters.advance(version.counters(decisions))
    noisy = version.noisy_evidence("m", "1.0.0", counters.shown, Decimal("0.5"), counters.periods)
    assert parse_evidence(noisy.to_bytes()) == noisy
    assert noisy.epsilon == Decimal("0.5")
    assert noisy.periods == 1
    assert noisy.sketches == ()
    exact = version.evidence("m", "1.0.0", decisions)
    assert noisy.cohorts != exact.cohorts
    assert noisy.cohorts["a"].positive == pytest.approx(500, abs=120)
    assert noisy.scores is not None
    # The sums are made of the noisy bins alone.
    assert noisy.scores.positive_millionths == sum(
        count * (2 * place + 1) * 10_000 for place, count in enumerate(noisy.scores.positive)
    )
