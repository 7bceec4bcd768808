"""The bench of cost measures what it says: the peer's sum is ours, and a budget can be missed."""

from __future__ import annotations

import pytest

from bench import cost
from bench.fleets import fleet_files


def test_the_peer_works_out_the_same_month() -> None:
    catalog, report, stages = cost._month(fleet_files(12, 50))
    rows = cost._plain(catalog, report)
    [total] = report.totals
    assert len(rows) == len(report.rows) == 12 * 75
    assert cost._by_column(rows) == pytest.approx(float(total.figure.value), rel=1e-6)
    assert set(stages) == {"read and refer", "estimate", "totals", "by team"}


def test_the_budget_is_judged(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    asked = ["--groups", "10", "--deployments", "5", "--runs", "1"]
    monkeypatch.setattr(cost, "BUDGET", 3600.0)
    assert cost.main(asked) == 0
    assert capsys.readouterr().out.rstrip().endswith("within")
    monkeypatch.setattr(cost, "BUDGET", 0.0)
    assert cost.main(asked) == 1
    assert capsys.readouterr().out.rstrip().endswith("BEYOND")
