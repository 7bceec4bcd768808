"""What the example files say about held-out rows, on onnxruntime: the figures in ``index.json`` and how to compare files.

Rates come with 95 % Wilson intervals, disparate impact with the kernel's Katz interval. Nothing here is timed.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from sklearn.metrics import roc_auc_score

from examples.models.claims import Claims, understood
from examples.models.metering import session
from examples.models.rows import COHORTS, Digits, Patients
from trimtab_kernel.intervals import CohortCount, DisparateImpact, Interval, disparate_impact, proportion

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

BATCH = 64
TYPES = {"tensor(float)": "FP32", "tensor(int64)": "INT64", "tensor(string)": "BYTES"}
"""Names of the Open Inference Protocol for the types that the example files use."""


@dataclass(frozen=True, slots=True)
class Answers:
    """What a file answers to rows: ``label`` [n], and ``certainty``: ``score`` [n] or ``probabilities`` [n, 10]."""

    label: NDArray[np.int64]
    certainty: NDArray[np.float32]


def feeds(data: bytes, rows: NDArray[Any]) -> dict[str, NDArray[Any]]:
    """``rows`` [n, width] by input of the file ``data``: numbers, and in the last column, where it takes one, a text."""
    found: dict[str, NDArray[Any]] = {}
    for source in session(data).get_inputs():
        text = source.type == "tensor(string)"
        numbers = rows if rows.dtype.kind != "O" else rows[:, :-1]
        found[source.name] = rows[:, -1].astype(object) if text else numbers.astype(np.float32)
    return found


def answers(data: bytes, rows: NDArray[Any]) -> Answers:
    """Answers of the file ``data`` to ``rows``, as :func:`feeds` takes them."""
    model = session(data)
    given = feeds(data, rows)
    [certainty] = [output.name for output in model.get_outputs() if output.name != "label"]
    parts = [
        model.run(["label", certainty], {name: part[start : start + BATCH] for name, part in given.items()})
        for start in range(0, len(rows), BATCH)
    ]
    return Answers(np.concatenate([part[0] for part in parts]), np.concatenate([part[1] for part in parts]))


def tensors(data: bytes) -> dict[str, list[dict[str, Any]]]:
    """``inputs`` and ``outputs`` of the file: name, datatype, and shape with -1 for the batch."""
    model = session(data)
    return {
        side: [
            {
                "name": tensor.name,
                "datatype": TYPES[tensor.type],
                "shape": [size if isinstance(size, int) else -1 for size in tensor.shape],
            }
            for tensor in found
        ]
        for side, found in (("inputs", model.get_inputs()), ("outputs", model.get_outputs()))
    }


def cohort_counts(sex: NDArray[np.float64], label: NDArray[np.int64]) -> dict[str, CohortCount]:
    """Decisions and referrals by cohort."""
    return {
        name: CohortCount(int((sex == code).sum()), int(label[sex == code].sum())) for name, code in COHORTS.items()
    }


def impact(sex: NDArray[np.float64], label: NDArray[np.int64]) -> DisparateImpact:
    """Disparate impact between the sexes. Raises ValueError where the rows cannot tell."""
    found = disparate_impact(cohort_counts(sex, label))
    if found is None:
        raise ValueError("expected decisions about both cohorts with a referral among them")
    return found


def evaluate_triage(data: bytes, recorded: NDArray[np.int64], held_out: Patients) -> dict[str, Any]:
    """Figures of a ``triage`` file on held-out patients.

    ``recorded`` are the labels that the variant's own extract holds for these patients: its *own* validation, beside
    the figures on what really happened.
    """
    found = answers(data, held_out.features)
    truth, sex = held_out.needs_referral, held_out.sex
    measured = impact(sex, found.label)
    return {
        "rows": len(truth),
        "accuracy": _rate(found.label == truth),
        "auc": _round(roc_auc_score(truth, found.certainty)),
        "sensitivity": _rate(found.label[truth == 1] == 1),
        "ownValidation": {
            "accuracy": _rate(found.label == recorded),
            "auc": _round(roc_auc_score(recorded, found.certainty)),
        },
        "cohorts": {
            name: {
                "rows": int((sex == code).sum()),
                "referred": int(found.label[sex == code].sum()),
                "selectionRate": _rate(found.label[sex == code] == 1),
                "sensitivity": _rate(found.label[(sex == code) & (truth == 1)] == 1),
            }
            for name, code in COHORTS.items()
        },
        "disparateImpact": {
            **_interval(measured.ratio),
            "lowest": measured.lowest,
            "highest": measured.highest,
            "smallestCohort": measured.smallest_n,
        },
    }


def evaluate_digits(data: bytes, held_out: Digits) -> dict[str, Any]:
    """Figures of a ``digits`` file on held-out pictures."""
    found = answers(data, held_out.pixels)
    given = np.maximum(found.certainty[np.arange(len(held_out.digit)), held_out.digit].astype(np.float64), 1e-7)
    return {
        "rows": len(held_out.digit),
        "accuracy": _rate(found.label == held_out.digit),
        "logLoss": _round(-np.log(given).mean()),
    }


def evaluate_claims(data: bytes, held_out: Claims) -> dict[str, Any]:
    """Figures of a ``claims`` file on held-out pictures with generated claims; by kind of claim as well."""
    table = np.empty((len(held_out.text), held_out.pixels.shape[1] + 1), dtype=object)
    table[:, :-1], table[:, -1] = held_out.pixels, held_out.text
    found = answers(data, table)
    told = understood(held_out.text)
    named, negated = told[:, :10].max(axis=1) > 0, told[:, 10] > 0
    right = found.label == held_out.agrees
    return {
        "rows": len(held_out.text),
        "accuracy": _rate(right),
        "byClaim": {
            "plain": _rate(right[named & ~negated]),
            "negated": _rate(right[named & negated]),
            "namesNoDigit": _rate(right[~named]),
        },
    }


@dataclass(frozen=True, slots=True)
class Difference:
    """How far two files' answers to the same rows are apart."""

    labels: int
    certainty: float

    def within(self, tolerance: float) -> bool:
        """No certainty differs by more than ``tolerance``, and no label unless it hangs on less than that."""
        return self.labels == 0 and self.certainty <= tolerance


def difference(one: Answers, other: Answers, tolerance: float, threshold: float | None = None) -> Difference:
    """Compare answers. A label counts as different only where ``one`` was sure of it by more than ``tolerance``."""
    apart = one.label != other.label
    if threshold is not None:
        sure = np.abs(one.certainty - threshold) > tolerance
    else:
        ordered = np.sort(one.certainty, axis=1)
        sure = ordered[:, -1] - ordered[:, -2] > 2 * tolerance
    return Difference(int((apart & sure).sum()), float(np.abs(one.certainty - other.certainty).max()))


def _rate(hits: NDArray[np.bool_]) -> dict[str, float | int]:
    found = proportion(int(hits.sum()), len(hits))
    if found is None:
        raise ValueError("expected at least one row to take a rate of")
    return _interval(found)


def _interval(found: Interval) -> dict[str, float | int]:
    return {"value": _round(found.value), "low": _round(found.low), "high": _round(found.high), "n": found.n}


def _round(value: float) -> float:
    return round(float(value), 6)


def close(one: Mapping[str, Any] | float | str, other: Mapping[str, Any] | float | str, within: float) -> bool:
    """True if two evaluations have the same fields and no number differs by more than ``within``."""
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(close(one[key], other[key], within) for key in one)
    if isinstance(one, (int, float)) and isinstance(other, (int, float)):
        return abs(one - other) <= within
    return one == other
