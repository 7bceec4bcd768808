"""`trimtab rules` prints a file that Prometheus takes, and nothing else."""

from __future__ import annotations

import shutil
import subprocess
from typing import TYPE_CHECKING

import pytest
import yaml

from trimtab_bot.cli.rules import COMMAND
from trimtab_config.rules.recording import (
    MARKER,
    group_interval,
    recordings,
    rules_digest,
    rules_file,
    window_label,
)
from trimtab_kernel.commandline import Parser, add_command, parse_and_run
from trimtab_kernel.rules import RULES, Operation, Window

if TYPE_CHECKING:
    from pathlib import Path


def run(*arguments: str) -> int:
    parser = Parser(prog="trimtab")
    add_command(parser.add_subparsers(parser_class=Parser), COMMAND)
    return parse_and_run(parser, ["rules", *arguments])


def usage_error(*arguments: str) -> int | str | None:
    with pytest.raises(SystemExit) as caught:
        run(*arguments)
    return caught.value.code


@pytest.mark.parametrize(
    "arguments", [(), ("--window", "1m,5m,30m,1h,6h,1d", "--interval", "1s"), ("--interval", "2m")]
)
def test_promtool_finds_nothing_wrong(
    arguments: tuple[str, ...], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    if shutil.which("promtool") is None:
        pytest.skip("needs promtool (Debian: tools/debian-packages prometheus)")
    assert run(*arguments) == 0
    file = tmp_path / "rules.yml"
    file.write_text(capsys.readouterr().out, "utf-8")
    checked = subprocess.run(
        ["promtool", "check", "rules", "--lint=all", "--lint-fatal", str(file)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert checked.returncode == 0, checked.stdout + checked.stderr
    assert "SUCCESS" in checked.stdout


def test_every_question_of_the_kernel_is_recorded_for_every_window(capsys: pytest.CaptureFixture[str]) -> None:
    run("--window", "1m", "--window", "6h")
    groups = yaml.safe_load(capsys.readouterr().out)["groups"]
    recorded = {rule["record"]: rule["expr"] for group in groups for rule in group["rules"]}
    for rule in RULES:
        assert recorded[rule.newest_name] == rule.newest_expression
        for window in (Window.MINUTE, Window.HOURS_6):
            assert recorded[rule.recorded_name(window)] == rule.expression(window)
    assert [group["name"] for group in groups] == ["trimtab-now", "trimtab-1m", "trimtab-6h"]


def test_each_group_carries_a_marker_that_changes_with_its_rules(capsys: pytest.CaptureFixture[str]) -> None:
    run("--window", "1m,5m")
    groups = yaml.safe_load(capsys.readouterr().out)["groups"]
    markers = [rule["labels"] for group in groups for rule in group["rules"] if rule["record"] == MARKER]
    assert markers == [
        {"window": window_label(window), "digest": rules_digest(window)}
        for window in (None, Window.MINUTE, Window.MINUTES_5)
    ]
    assert len({marker["digest"] for marker in markers}) == 3


def test_the_same_request_gives_the_same_bytes() -> None:
    assert rules_file([Window.HOUR, Window.MINUTE, Window.HOUR]) == rules_file([Window.MINUTE, Window.HOUR])


@pytest.mark.parametrize(("interval", "longest"), [(1, 60), (5, 60), (120, 120)])
def test_no_group_is_recorded_so_seldom_that_prometheus_would_look_past_it(interval: int, longest: int) -> None:
    intervals = [group_interval(window, interval) for window in (None, *Window)]
    assert min(intervals) == interval
    assert max(intervals) == longest
    assert intervals == sorted(intervals)


def test_a_rule_about_now_is_recorded_once() -> None:
    names = [each.record for window in (None, Window.MINUTE, Window.DAY) for each in recordings(window)]
    assert len(names) == len(set(names))
    assert {rule.recorded_name(Window.DAY) for rule in RULES if rule.operation is Operation.COUNT} <= set(names)


@pytest.mark.parametrize("interval", ["0s", "121s", "3m", "5", "x", "-5s", "5 s", "٥s"])  # noqa: RUF001 - digits of another script
def test_a_wrong_interval_is_wrong_usage(interval: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert usage_error(f"--interval={interval}") == 64
    assert 'expected a duration from 1s to 120s such as "5s"' in capsys.readouterr().err


def test_a_wrong_window_is_wrong_usage_and_lists_the_right_ones(capsys: pytest.CaptureFixture[str]) -> None:
    assert usage_error("--window", "1m,2m") == 64
    assert "expected one of 15s, 1m, 5m, 30m, 1h, 6h, 1d, got '2m'" in capsys.readouterr().err


def test_no_window_and_a_wrong_interval_are_refused_by_the_generator() -> None:
    with pytest.raises(ValueError, match="at least one window"):
        rules_file([])
    with pytest.raises(ValueError, match="interval from 1s to 120s, got 300s"):
        rules_file(interval=300)
