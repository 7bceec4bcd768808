"""The real rows behind the example models, and the one place that says which are for training and which are held out.

Both data sets ship inside scikit-learn, so nothing is downloaded. Models learn from the training half only; evaluation
and the demo's traffic see the held-out half only. Importing this module loads no data; the first call does.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Generic, TypeVar

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

Rows = TypeVar("Rows")

SPLIT_SEED = 0
TRAINING_SHARE = 0.5

PATIENT_COLUMNS = ("age", "sex", "bmi", "bp", "s1", "s2", "s3", "s4", "s5", "s6")
SEX = PATIENT_COLUMNS.index("sex")
COHORTS = {"sex-1": 1.0, "sex-2": 2.0}
"""Cohorts by the value in the ``sex`` column. The source of the data does not say which code is which sex."""

REFER_ABOVE = 110.0
"""A patient should be referred if the measure of disease progression one year later is above this."""


@dataclass(frozen=True, slots=True)
class Patients:
    """Rows of the diabetes data: ``features`` [n, 10] in raw clinical units, ``progression`` [n] one year later."""

    features: NDArray[np.float64]
    progression: NDArray[np.float64]

    @property
    def sex(self) -> NDArray[np.float64]:
        """The ``sex`` column: 1 or 2."""
        column: NDArray[np.float64] = self.features[:, SEX]
        return column

    @property
    def needs_referral(self) -> NDArray[np.int64]:
        """1 where progression was above ``REFER_ABOVE``."""
        return (self.progression > REFER_ABOVE).astype(np.int64)

    def take(self, indices: NDArray[np.int64]) -> Patients:
        """The rows at ``indices``, in that order."""
        return Patients(self.features[indices], self.progression[indices])


@dataclass(frozen=True, slots=True)
class Digits:
    """Rows of the digits data: ``pixels`` [n, 64] (8 x 8, row by row, 0 to 16) and the ``digit`` [n] written."""

    pixels: NDArray[np.float64]
    digit: NDArray[np.int64]

    def take(self, indices: NDArray[np.int64]) -> Digits:
        """The rows at ``indices``, in that order."""
        return Digits(self.pixels[indices], self.digit[indices])


@dataclass(frozen=True, slots=True)
class Split(Generic[Rows]):
    """Training and held-out rows of one data set; no row is in both."""

    training: Rows
    held_out: Rows


def _halves(strata: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Indices of training and held-out rows, each stratum split alike by ``TRAINING_SHARE``."""
    generator = np.random.default_rng(SPLIT_SEED)
    training: list[NDArray[np.int64]] = []
    held_out: list[NDArray[np.int64]] = []
    for stratum in np.unique(strata):
        members = generator.permutation(np.flatnonzero(strata == stratum))
        cut = round(len(members) * TRAINING_SHARE)
        training.append(members[:cut])
        held_out.append(members[cut:])
    return np.sort(np.concatenate(training)), np.sort(np.concatenate(held_out))


@cache
def patients() -> Split[Patients]:
    """The diabetes data, split by sex and fifth of progression."""
    from sklearn.datasets import load_diabetes

    bunch = load_diabetes(scaled=False)
    rows = Patients(np.asarray(bunch.data, dtype=np.float64), np.asarray(bunch.target, dtype=np.float64))
    fifth = np.digitize(rows.progression, np.quantile(rows.progression, [0.2, 0.4, 0.6, 0.8]))
    training, held_out = _halves(rows.sex.astype(np.int64) * 10 + fifth)
    return Split(rows.take(training), rows.take(held_out))


@cache
def digits() -> Split[Digits]:
    """The handwritten digits, split by digit."""
    from sklearn.datasets import load_digits

    bunch = load_digits()
    rows = Digits(np.asarray(bunch.data, dtype=np.float64), np.asarray(bunch.target, dtype=np.int64))
    training, held_out = _halves(rows.digit)
    return Split(rows.take(training), rows.take(held_out))
