"""Every folder below tests/cases/errors is told exactly what is wrong with it, as `trimtab validate` says it."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.golden import cases, compare
from trimtab_config.cli import main

DATE = "2026-11-22"


@pytest.mark.parametrize("case", cases("errors"), ids=lambda path: path.name)
def test_a_case_is_told_what_is_wrong(
    case: Path, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    own = case / "arguments.txt"
    arguments = own.read_text("utf-8").split() if own.exists() else ["--as-of", DATE]
    monkeypatch.chdir(case)
    status = main(["validate", "input", *arguments])
    output = capsys.readouterr()
    assert output.out == ""
    got = {"stderr.txt": f"{output.err}exit status {status}\n"}
    compare(case, got, update=request.config.getoption("--update-golden"))
