"""Shapley values of a game: each player's contribution, averaged over the orders in which players may join.

Few players: exactly, over all coalitions (L. S. Shapley, "A value for n-person games", 1953). Otherwise by sampled orders
(J. Castro, D. Gomez, J. Tejada, "Polynomial calculation of the Shapley value based on sampling", Computers & Operations
Research 36, 2009), each with its reverse, which lowers the variance (R. Mitchell, J. Cooper, E. Frank, G. Holmes, "Sampling
Permutations for Shapley Value Estimation", JMLR 23, 2022). Along one order the contributions add up to prediction - base by
construction, so every average over whole orders does: being additive costs nothing and holds however small the budget.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from trimtab_edge.explanations.game import BATCH, BudgetError, Contributions, DeadlineError, in_time

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from trimtab_edge.explanations.game import Expired, Game


def shapley_values(
    game: Game, players: int, *, budget: int, random: np.random.Generator, expired: Expired
) -> Contributions:
    """The contributions within ``budget`` evaluations of the game.

    The same game, budget and state of ``random`` give the same values, unless the deadline cut them short. Raises
    :class:`BudgetError` where not even one order fits (players + 1 evaluations; 2 for one player), and
    :class:`DeadlineError` where the deadline passed before one was complete.
    """
    needed = players + 1
    if players < 1 or budget < needed:
        raise BudgetError(f"a budget of {budget} evaluations, expected at least {needed} for {players} features")
    if players <= 20 and 2**players <= budget:
        return _exact(game, players, expired)
    return _sampled(game, players, budget, random, expired)


def _exact(game: Game, players: int, expired: Expired) -> Contributions:
    numbers = np.arange(2**players)
    present = (numbers[:, None] >> np.arange(players)) & 1 == 1
    values = np.empty(len(numbers))
    for start in range(0, len(numbers), BATCH):
        if expired():
            raise DeadlineError
        values[start : start + BATCH] = game(present[start : start + BATCH])
    sizes = present.sum(axis=1)
    weights = np.array(
        [math.factorial(size) * math.factorial(players - size - 1) / math.factorial(players) for size in range(players)]
    )
    contributions = []
    for player in range(players):
        without = numbers[~present[:, player]]
        gains = values[without | 1 << player] - values[without]
        contributions.append(float(np.dot(weights[sizes[without]], gains)))
    return Contributions(
        values=tuple(contributions),
        errors=(0.0,) * players,
        prediction=float(values[-1]),
        base=float(values[0]),
        evaluations=len(numbers),
        additive=True,
        exact=True,
        complete=True,
    )


def _sampled(game: Game, players: int, budget: int, random: np.random.Generator, expired: Expired) -> Contributions:
    ends = game(np.array([[False] * players, [True] * players]))
    base, prediction = float(ends[0]), float(ends[1])
    inner = players - 1  # evaluations of one order; its ends are known
    orders = (budget - 2) // inner
    if orders > 1:
        orders -= orders % 2  # an order without its reverse would spoil the balance
    step = max(1, BATCH // (2 * inner)) * 2  # orders per call: whole pairs
    gains: list[NDArray[np.float64]] = []
    evaluations = 2
    complete = True
    while len(gains) < orders:
        chosen: list[NDArray[np.int64]] = []
        while len(chosen) < min(step, orders - len(gains)):
            order = random.permutation(players)
            chosen += [order, order[::-1]]
        chosen = chosen[: orders - len(gains)]
        try:
            values = in_time(game, expired)(np.concatenate([_coalitions(order) for order in chosen])).reshape(
                len(chosen), inner
            )
        except DeadlineError:
            if not gains:
                raise
            complete = False
            break
        evaluations += values.size
        for order, along in zip(chosen, values, strict=True):
            gain = np.empty(players)
            gain[order] = np.diff(np.concatenate([[base], along, [prediction]]))
            gains.append(gain)
    table = np.array(gains)
    return Contributions(
        values=tuple(table.mean(axis=0).tolist()),
        errors=_errors(table),
        prediction=prediction,
        base=base,
        evaluations=evaluations,
        additive=True,
        exact=False,
        complete=complete,
    )


def _coalitions(order: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Who is present after the first, the second, ... player of ``order`` joined, without the last."""
    joined = np.empty(len(order), dtype=np.int64)
    joined[order] = np.arange(len(order))
    present: NDArray[np.bool_] = joined[None, :] <= np.arange(len(order) - 1)[:, None]
    return present


def _errors(gains: NDArray[np.float64]) -> tuple[float | None, ...]:
    """Standard errors from pairs: an order and its reverse are not independent, pairs are."""
    pairs = gains[: len(gains) // 2 * 2].reshape(-1, 2, gains.shape[1]).mean(axis=1)
    if len(pairs) < 2:
        return (None,) * int(gains.shape[1])
    errors: list[float | None] = (pairs.std(axis=0, ddof=1) / math.sqrt(len(pairs))).tolist()
    return tuple(errors)
