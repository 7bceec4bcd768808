"""The ``triage`` model: which diabetes patients to refer, from ten values measured at baseline.

A patient should be referred if the disease progresses beyond ``rows.REFER_ABOVE`` within a year. A missed patient is
worse than an unneeded visit, so each version refers whom it must to keep 95 % of the referrals in its training labels
(out of fold).

In these data the same share of both sexes passes that mark (61 % and 62 %), so equal selection rates are what an
accurate model gives, and 1.0.0 and 1.1.0 are trained *level*: the mean of each column by sex is taken out before the
model sees it, and sex itself is not an input to the decision beyond that.

Version 1.2.0 is bad on purpose, in the way such models go wrong in practice: *historical label bias*. It is trained on
a later extract in which referrals of one sex (code 1) were recorded only in severe cases (progression above
``SEVERE_ABOVE``), and nobody levelled it. It reproduces the practice of that clinic faithfully, so its figures on its
own validation labels look as good as 1.1.0's or better (area under the curve 0.91 against 0.85), while it overlooks four
in ten of the patients of that sex who need a referral, and few of the other. Nothing in it is made up: same data, same code, other labels.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedKFold, cross_val_predict

from examples.models.graphs import forest_node, onnx_file
from examples.models.rows import PATIENT_COLUMNS, REFER_ABOVE, SEX, Patients

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

NAME: Final = "triage"
SEVERE_ABOVE: Final = 220.0
UNDERRECORDED_SEX: Final = 1.0
SENSITIVITY: Final = 0.95
FEW: Final = ("bmi", "bp", "s3", "s5")
FEW_WITH_SEX: Final = ("sex", "bmi", "bp", "s5")

HEAD = """
triage (float[N, 10] features) => (float[N] score, int64[N] label)
{
    prepared = Gemm (features, columns, offsets)
    log_odds = Gemm (prepared, weights, intercept)
    chance = Sigmoid (log_odds)
"""
ENSEMBLE = """
    both = Add (chance, share)
    mean = Mul (both, half)
"""
TAIL = """
    score = Reshape ({chance}, flat)
    referred = GreaterOrEqual (score, threshold)
    label = Cast <to = 7> (referred)
}}
"""


@dataclass(frozen=True, slots=True)
class Recipe:
    """How one variant is trained."""

    version: str
    tier: str
    columns: tuple[str, ...]
    every: int
    """Trained on every such training row: 2 for an early registry of half the patients, 1 for all of them."""
    level: bool
    """Take the mean of each column by sex out."""
    biased_labels: bool
    """Labels from the extract in which one sex's referrals were recorded only in severe cases."""
    ensemble: bool
    """Average the logistic regression with a random forest."""


def recipes() -> tuple[Recipe, ...]:
    """Every variant, by version and tier."""
    found = []
    for version, every, good in (("1.0.0", 2, True), ("1.1.0", 1, True), ("1.2.0", 1, False)):
        everything = tuple(name for name in PATIENT_COLUMNS if not good or name != "sex")
        for tier, columns in (
            ("lite", FEW if good else FEW_WITH_SEX),
            ("standard", everything),
            ("premium", everything),
        ):
            found.append(
                Recipe(version, tier, columns, every, level=good, biased_labels=not good, ensemble=tier == "premium")
            )
    return tuple(found)


def recorded(recipe: Recipe, rows: Patients) -> NDArray[np.int64]:
    """The labels that this variant's extract holds for ``rows``: 1 where a referral is on record."""
    if not recipe.biased_labels:
        return rows.needs_referral
    mark = np.where(rows.sex == UNDERRECORDED_SEX, SEVERE_ABOVE, REFER_ABOVE)
    return (rows.progression > mark).astype(np.int64)


@dataclass(frozen=True, slots=True)
class Trained:
    """One variant: its file, and the score from which on a patient is referred."""

    data: bytes
    threshold: float


def _preparation(recipe: Recipe, rows: Patients) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Matrix [10, k] and offset [k] that choose, level (or centre) and scale the columns."""
    chosen = [PATIENT_COLUMNS.index(name) for name in recipe.columns]
    scale = rows.features.std(axis=0)[chosen]
    first, second = (rows.features[rows.sex == code].mean(axis=0)[chosen] for code in (1.0, 2.0))
    columns = np.zeros((len(PATIENT_COLUMNS), len(chosen)))
    columns[chosen, np.arange(len(chosen))] = 1 / scale
    if recipe.level:  # the mean is `first` at sex 1 and `second` at sex 2
        columns[SEX] = -(second - first) / scale
        return columns, -(first - (second - first)) / scale
    return columns, -rows.features.mean(axis=0)[chosen] / scale


def train(recipe: Recipe, training: Patients) -> Trained:
    """Train one variant on ``training`` and write it as ONNX. Deterministic."""
    rows = training.take(np.arange(0, len(training.sex), recipe.every))
    labels = recorded(recipe, rows)
    columns, offsets = _preparation(recipe, rows)
    # Rounded, because a forest splits between neighbours: the last bits of a product differ from processor to processor.
    prepared = np.round(rows.features @ columns + offsets, 6)

    logistic = LogisticRegression(C=0.3, tol=1e-10, max_iter=2000)
    forest = RandomForestClassifier(40, max_depth=4, min_samples_leaf=5, random_state=0)
    judges = [logistic, forest] if recipe.ensemble else [logistic]
    folds = StratifiedKFold(5, shuffle=True, random_state=0)
    unseen = np.mean(
        [cross_val_predict(judge, prepared, labels, cv=folds, method="predict_proba")[:, 1] for judge in judges], axis=0
    )
    threshold = math.floor(float(np.quantile(unseen[labels == 1], 1 - SENSITIVITY)) * 100) / 100
    for judge in judges:
        judge.fit(prepared, labels)

    constants: Mapping[str, NDArray[Any]] = {
        "columns": columns.astype(np.float32),
        "offsets": offsets.astype(np.float32),
        "weights": logistic.coef_.T.astype(np.float32),
        "intercept": logistic.intercept_.astype(np.float32),
        "flat": np.array([-1], dtype=np.int64),
        "threshold": np.array(threshold, dtype=np.float32),
    } | ({"half": np.array(0.5, dtype=np.float32)} if recipe.ensemble else {})
    text = HEAD + (ENSEMBLE if recipe.ensemble else "") + TAIL.format(chance="mean" if recipe.ensemble else "chance")
    nodes = [forest_node(forest, "prepared", "share")] if recipe.ensemble else []
    data = onnx_file(text, constants, name=NAME, version=recipe.version, tier=recipe.tier, nodes=nodes)
    return Trained(data, threshold)
