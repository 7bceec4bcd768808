"""Shapley values and occlusion as methods: what they promise for any game."""

from __future__ import annotations

import itertools
import math
from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trimtab_edge.explanations.game import BudgetError, DeadlineError
from trimtab_edge.explanations.occlusion import occlusion
from trimtab_edge.explanations.shapley import shapley_values

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from trimtab_edge.explanations.game import Contributions, Game


def never() -> bool:
    return False


class Clock:
    """Expires after so many looks."""

    def __init__(self, looks: int) -> None:
        self.looks = looks

    def __call__(self) -> bool:
        self.looks -= 1
        return self.looks < 0


class Counted:
    """A game with random values for its coalitions, which counts how often it is asked."""

    def __init__(self, players: int, seed: int, scale: float = 1.0) -> None:
        random = np.random.default_rng(seed)
        self.linear = random.normal(size=players) * scale
        self.pairs = random.normal(size=(players, players)) * scale
        self.constant = float(random.normal()) * scale
        self.asked = 0

    def __call__(self, present: NDArray[np.bool_]) -> NDArray[np.float64]:
        self.asked += len(present)
        x = present.astype(np.float64)
        answer: NDArray[np.float64] = (
            self.constant + x @ self.linear + np.einsum("ni,ij,nj->n", x, self.pairs, x) + np.sin(7 * x @ self.linear)
        )
        return answer


def shapley(game: Game, players: int, budget: int, seed: int = 0) -> Contributions:
    return shapley_values(
        game, players, budget=budget, random=np.random.Generator(np.random.PCG64(seed)), expired=never
    )


def by_definition(game: Game, players: int) -> list[float]:
    """Every order in turn: slow, and written from the definition alone."""
    total = np.zeros(players)
    for order in itertools.permutations(range(players)):
        present = np.zeros(players, dtype=np.bool_)
        before = float(game(present[None])[0])
        for player in order:
            present[player] = True
            after = float(game(present[None])[0])
            total[player] += after - before
            before = after
    return (total / math.factorial(players)).tolist()  # type: ignore[no-any-return] # floats


@given(st.integers(1, 40), st.integers(0, 2**32), st.integers(0, 600), st.sampled_from([1e-6, 1.0, 1e6]))
def test_contributions_add_up_to_prediction_minus_base(players: int, seed: int, more: int, scale: float) -> None:
    """However small the budget. Tolerance: 1e-9 of the largest value seen, as the description says."""
    game = Counted(players, seed, scale)
    budget = players + 1 + more
    found = shapley(game, players, budget)
    largest = max(abs(found.prediction), abs(found.base), *(abs(value or 0) for value in found.values))
    assert sum(value or 0 for value in found.values) == pytest.approx(
        found.prediction - found.base, rel=0, abs=1e-9 * max(largest, scale * players)
    )
    assert found.additive
    assert found.complete
    assert found.evaluations == game.asked <= budget


@pytest.mark.parametrize("players", [1, 2, 3, 5, 6])
def test_few_players_get_the_values_of_the_definition(players: int) -> None:
    game = Counted(players, players)
    found = shapley(game, players, 2**players)
    assert found.exact
    assert found.values == pytest.approx(by_definition(game, players))
    assert found.errors == (0.0,) * players


def test_sampled_values_come_near_the_exact_ones_and_their_errors_say_how_near() -> None:
    """Ten players, 200 seeds: about two thirds of the values lie within one standard error, nearly all within three."""
    game = Counted(10, 3)
    exact = np.array(shapley(game, 10, 1024).values, dtype=np.float64)
    inside = [0, 0]
    for seed in range(200):
        found = shapley(game, 10, 400, seed)
        assert not found.exact
        errors = np.array(found.errors, dtype=np.float64)
        distance = np.abs(np.array(found.values, dtype=np.float64) - exact)
        inside[0] += int(np.count_nonzero(distance <= errors))
        inside[1] += int(np.count_nonzero(distance <= 3 * errors))
    assert 0.55 < inside[0] / 2000 < 0.8
    assert inside[1] / 2000 > 0.98


def test_the_seed_decides_and_nothing_else() -> None:
    game = Counted(15, 1)
    assert shapley(game, 15, 300, 7) == shapley(game, 15, 300, 7)
    assert shapley(game, 15, 300, 7).values != shapley(game, 15, 300, 8).values


def test_a_player_without_effect_gets_nothing_and_equal_players_get_the_same() -> None:
    def game(present: NDArray[np.bool_]) -> NDArray[np.float64]:
        x = present.astype(np.float64)
        answer: NDArray[np.float64] = 3 * x[:, 0] * x[:, 1] + 5 * x[:, 2]
        return answer

    assert shapley(game, 4, 16).values == pytest.approx((1.5, 1.5, 5.0, 0.0))
    sampled = shapley(game, 25, 2000)
    assert not sampled.exact
    assert sampled.values[2:] == pytest.approx((5.0, *(0.0,) * 22))
    # A pair of an order and its reverse gives each of the two half of what they do together.
    assert sampled.values[:2] == pytest.approx((1.5, 1.5))


def test_a_deadline_leaves_whole_orders_or_nothing() -> None:
    game = Counted(30, 5)
    random = np.random.default_rng(1)
    cut = shapley_values(game, 30, budget=100_000, random=random, expired=Clock(2))
    assert not cut.complete
    assert cut.evaluations == game.asked < 1000
    assert sum(value or 0 for value in cut.values) == pytest.approx(cut.prediction - cut.base)
    for players in (30, 8):
        with pytest.raises(DeadlineError):
            shapley_values(game, players, budget=1000, random=random, expired=Clock(0))


@pytest.mark.parametrize(("players", "budget"), [(5, 5), (1, 1), (0, 100)])
def test_a_budget_that_allows_no_order_is_refused(players: int, budget: int) -> None:
    with pytest.raises(BudgetError, match="expected at least"):
        shapley(Counted(max(players, 1), 0), players, budget)


def test_occlusion_takes_one_part_away_at_a_time() -> None:
    def game(present: NDArray[np.bool_]) -> NDArray[np.float64]:
        answer: NDArray[np.float64] = 1 + present.astype(np.float64) @ np.array([4.0, -2.0, 0.0])
        return answer

    found = occlusion(game, 3, budget=5, expired=never)
    assert found.values == (4.0, -2.0, 0.0)
    assert (found.base, found.prediction, found.evaluations) == (1.0, 3.0, 5)
    assert not found.additive
    assert found.complete
    with pytest.raises(BudgetError, match="at least 5"):
        occlusion(game, 3, budget=4, expired=never)


def test_what_the_deadline_left_undone_is_none() -> None:
    game = Counted(100, 2)
    found = occlusion(game, 100, budget=1000, expired=Clock(3))
    whole = occlusion(game, 100, budget=1000, expired=never)
    assert found.values[:7] == pytest.approx(whole.values[:7]), (
        "asked about one part first, then twice as many each time"
    )
    assert set(found.values[7:]) == {None}
    assert not found.complete
    with pytest.raises(DeadlineError):
        occlusion(game, 100, budget=1000, expired=Clock(0))
