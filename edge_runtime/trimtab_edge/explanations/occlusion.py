"""Occlusion: how far the answer falls when one part of the input is taken away.

Source: M. Zeiler, R. Fergus, "Visualizing and Understanding Convolutional Networks", ECCV 2014. One evaluation a part, so it
is what a small box can afford for a picture or a text. The falls do not add up to anything: two parts that say the same
each fall by nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from trimtab_edge.explanations.game import BATCH, BudgetError, Contributions, DeadlineError, in_time

if TYPE_CHECKING:
    from trimtab_edge.explanations.game import Expired, Game


def occlusion(game: Game, players: int, *, budget: int, expired: Expired) -> Contributions:
    """Prediction minus the answer without each player. What the deadline left undone is None.

    Raises :class:`BudgetError` where ``budget`` is below players + 2, and :class:`DeadlineError` where the deadline passed
    before one part was done.
    """
    if players < 1 or budget < players + 2:
        raise BudgetError(f"a budget of {budget} evaluations, expected at least {players + 2} for {players} parts")
    present = ~np.eye(players, dtype=np.bool_)
    ends = game(np.array([[False] * players, [True] * players]))
    base, prediction = float(ends[0]), float(ends[1])
    asked = in_time(game, expired)
    falls: list[float | None] = []
    at_once = 1  # growing, so that a deadline costs a slow model little of what it found out
    while len(falls) < players:
        try:
            falls += (prediction - asked(present[len(falls) : len(falls) + at_once])).tolist()
        except DeadlineError:
            if not falls:
                raise
            break
        at_once = min(2 * at_once, BATCH)
    done = len(falls)
    return Contributions(
        values=(*falls, *(None,) * (players - done)),
        errors=(None,) * players,
        prediction=prediction,
        base=base,
        evaluations=done + 2,
        additive=False,
        exact=True,
        complete=done == players,
    )
