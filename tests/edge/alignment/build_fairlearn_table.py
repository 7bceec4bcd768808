"""Writes ``fairlearn.json``: rows made by a seed, and what fairlearn says about them.

fairlearn needs pandas, 84 MB that nothing else in the project's environment asks for; so the
figures are kept beside the rows that they were computed from, and the test compares ours with them. To make them anew:

    python -m venv /tmp/fairlearn && /tmp/fairlearn/bin/pip install fairlearn==0.15.0
    /tmp/fairlearn/bin/python tests/edge/alignment/build_fairlearn_table.py
"""

from __future__ import annotations

import json
import random
from importlib.metadata import version
from pathlib import Path
from typing import Any

FIGURES = (
    "demographic_parity_difference",
    "demographic_parity_ratio",
    "equal_opportunity_difference",
    "equal_opportunity_ratio",
    "equalized_odds_difference",
    "equalized_odds_ratio",
)
# rows, cohorts, chance of a positive label and of a right decision by cohort
CASES = (
    (40, 2, (0.5, 0.5), (0.8, 0.6)),
    (200, 2, (0.1, 0.1), (0.9, 0.9)),
    (1000, 2, (0.3, 0.5), (0.95, 0.7)),
    (3000, 2, (0.02, 0.4), (0.99, 0.9)),
    (500, 3, (0.2, 0.5, 0.8), (0.7, 0.8, 0.9)),
    (2000, 4, (0.5, 0.5, 0.5, 0.5), (0.6, 0.7, 0.8, 0.9)),
    (60, 2, (0.5, 0.5), (1.0, 0.5)),
)


def case(seed: int, rows: int, cohorts: int, base: tuple[float, ...], right: tuple[float, ...]) -> dict[str, Any]:
    """Rows as strings of digits, one per row, and fairlearn's figures."""
    from fairlearn import metrics

    chance = random.Random(seed)  # noqa: S311 - rows of a test
    member = [chance.randrange(cohorts) for _ in range(rows)]
    label = [int(chance.random() < base[cohort]) for cohort in member]
    outcome = [
        truth if chance.random() < right[cohort] else 1 - truth for cohort, truth in zip(member, label, strict=True)
    ]
    figures = {name: float(getattr(metrics, name)(label, outcome, sensitive_features=member)) for name in FIGURES}
    return {
        "cohort": "".join(map(str, member)),
        "label": "".join(map(str, label)),
        "outcome": "".join(map(str, outcome)),
        "figures": figures,
    }


def main() -> None:
    """Write the table beside this file."""
    table = {
        "madeBy": f"fairlearn {version('fairlearn')}",
        "cases": [case(seed, *given) for seed, given in enumerate(CASES)],
    }
    place = Path(__file__).with_name("fairlearn.json")
    place.write_text(json.dumps(table, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
