"""What is explained: a game. Its players are parts of one input, and its value is the model's answer with some of them present.

A part that is absent is replaced by what stands for "nothing known": a reference value of its column, a grey patch, no word.
The methods know nothing else of the model, so they are the same for a table, a picture and a text.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy as np
    from numpy.typing import NDArray

    Game = Callable[[NDArray[np.bool_]], NDArray[np.float64]]
    """The answer for each row of an array of who is present (rows: coalitions, columns: players)."""
    Expired = Callable[[], bool]
    """Whether the deadline has passed. Asked between two calls of the game, never within one."""

BATCH = 64
"""Coalitions given to the game at once, at most."""


@dataclass(frozen=True, slots=True)
class Contributions:
    """What each player adds to the answer.

    ``prediction`` is the answer with all players, ``base`` with none. ``errors`` are standard errors, None where there is
    none to tell. ``additive``: the contributions add up to prediction - base, within 1e-9 of the largest value seen.
    ``exact``: no sampling was needed. ``complete`` is False where the deadline cut the work short.
    """

    values: tuple[float | None, ...]
    errors: tuple[float | None, ...]
    prediction: float
    base: float
    evaluations: int
    additive: bool
    exact: bool
    complete: bool


class BudgetError(ValueError):
    """The budget of evaluations is too small for any answer; the message says what would do."""


class DeadlineError(Exception):
    """The deadline passed before there was anything to tell. A game raises it where its run was ended by the deadline."""


def in_time(game: Game, expired: Expired) -> Game:
    """The same game, which raises :class:`DeadlineError` once the deadline has passed."""

    def asked(present: NDArray[np.bool_]) -> NDArray[np.float64]:
        if expired():
            raise DeadlineError
        return game(present)

    return asked
