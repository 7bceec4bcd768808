"""The shape of a command: exit codes, errors for people, usage."""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from pathlib import Path

import pytest

from trimtab_kernel.commandline import Command, Parser, add_command, open_streams, parse_and_run, print_json
from trimtab_kernel.problems import ExitCode, InputError, OutsideError, Problem, RefusedError, TrustError


def parser(*commands: Command) -> Parser:
    top = Parser(prog="tool")
    below = top.add_subparsers(required=True, parser_class=Parser, metavar="COMMAND")
    for command in commands:
        add_command(below, command)
    return top


def raising(error: BaseException) -> Command:
    def run(arguments: argparse.Namespace) -> ExitCode:
        raise error

    return Command("fail", "fails", run=run)


@pytest.mark.parametrize(
    ("error", "status", "says"),
    [
        (InputError(Problem("F104", "a.yaml", 3)), 1, "a.yaml:3: F104\n1 problem; 'trimtab explain F104' says more\n"),
        (RefusedError("B401", "not yours to approve"), 2, "error: B401 not yours to approve\n"),
        (TrustError("E301", "got other bytes"), 2, "error: E301 got other bytes\n"),
        (OutsideError("no answer\x1b[2J"), 3, "error: no answer\\u001b[2J\n"),
        (KeyboardInterrupt(), 3, ""),
    ],
)
def test_an_error_is_an_exit_code_and_a_line_on_stderr(
    error: BaseException, status: int, says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert parse_and_run(parser(raising(error)), ["fail"]) == status
    output = capsys.readouterr()
    assert output.out == ""
    assert output.err == says


def test_an_error_that_nobody_expected_is_not_hidden() -> None:
    with pytest.raises(ZeroDivisionError):
        parse_and_run(parser(raising(ZeroDivisionError())), ["fail"])


def test_what_a_command_returns_is_the_exit_status() -> None:
    for code in ExitCode:

        def run(arguments: argparse.Namespace, code: ExitCode = code) -> ExitCode:
            return code

        assert parse_and_run(parser(Command("act", "acts", run=run)), ["act"]) == code


@pytest.mark.parametrize("arguments", [[], ["nothing"], ["act", "--nothing"], ["act", "more"]])
def test_wrong_usage_ends_with_64_and_says_how_to_get_help(
    arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    command = Command("act", "acts", run=lambda _: ExitCode.DONE)
    with pytest.raises(SystemExit) as end:
        parse_and_run(parser(command), arguments)
    assert end.value.code == 64
    output = capsys.readouterr()
    assert output.out == ""
    assert "--help'" in output.err


def test_help_shows_summary_and_examples(capsys: pytest.CaptureFixture[str]) -> None:
    command = Command("act", "acts once", ("tool act --now",), run=lambda _: ExitCode.DONE)
    with pytest.raises(SystemExit) as end:
        parse_and_run(parser(command), ["act", "--help"])
    assert end.value.code == 0
    assert "acts once" in (text := capsys.readouterr().out)
    assert "examples:\n  tool act --now" in text


def test_commands_below_a_command_are_found() -> None:
    child = Command("child", "is below", run=lambda _: ExitCode.REFUSED)
    assert parse_and_run(parser(Command("parent", "is above", subcommands=(child,))), ["parent", "child"]) == 2


def test_json_for_machines_is_sorted_and_ends_with_one_newline(capsys: pytest.CaptureFixture[str]) -> None:
    print_json({"b": 1, "a": "é"})
    text = capsys.readouterr().out
    assert text == '{\n  "a": "é",\n  "b": 1\n}\n'
    assert json.loads(text) == {"a": "é", "b": 1}


def test_a_reader_that_went_away_is_no_error() -> None:
    """As in `trimtab render ... | head -1`: no traceback, and nothing on stderr."""
    program = (
        "import sys\n"
        "from trimtab_kernel.commandline import Command, Parser, add_command, parse_and_run\n"
        "from trimtab_kernel.problems import ExitCode\n"
        "def run(arguments):\n"
        "    for _ in range(100000):\n"
        "        sys.stdout.write('line\\n')\n"
        "    return ExitCode.DONE\n"
        "parser = Parser()\n"
        "add_command(parser.add_subparsers(parser_class=Parser), Command('act', 'acts', run=run))\n"
        "sys.exit(parse_and_run(parser, ['act']))\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", program], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert process.stdout.readline() == "line\n"
        process.stdout.close()
        assert process.wait(30) == 0
        assert process.stderr.read() == ""


@pytest.mark.parametrize("written", ["a line\n", "a line\n" * 10_000])
def test_a_disk_that_is_full_is_one_line_and_an_outside_failure(
    written: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def run(arguments: argparse.Namespace) -> ExitCode:
        sys.stdout.write(written)
        return ExitCode.DONE

    with Path("/dev/full").open("w", encoding="utf-8") as full:
        monkeypatch.setattr(sys, "stdout", full)
        assert parse_and_run(parser(Command("act", "acts", run=run)), ["act"]) == 3
    assert capsys.readouterr().err == "error: the output: No space left on device\n"


def test_a_file_that_the_system_refuses_is_named_without_a_traceback(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    place = tmp_path / "not\x1bhere" / "file"
    command = Command("act", "acts", run=lambda _: ExitCode(place.write_text("")))
    assert parse_and_run(parser(command), ["act"]) == 3
    assert capsys.readouterr().err == f"error: {tmp_path}/not\\u001bhere/file: No such file or directory\n"


def test_what_is_written_to_a_file_is_utf_8_whatever_the_locale_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with (tmp_path / "product").open("w", encoding="ascii") as product:
        monkeypatch.setattr(sys, "stdout", product)
        open_streams()
        product.write("≥ 1.67 µEUR\n")
    assert (tmp_path / "product").read_bytes() == "≥ 1.67 µEUR\n".encode()


def test_a_stream_that_was_closed_leads_nowhere() -> None:
    """As in `trimtab cost ... >&- 2>&-`: writing is no failure, and the next file that is opened is not taken for it."""
    program = (
        "import os, sys\n"
        "from trimtab_kernel.commandline import open_streams\n"
        "open_streams()\n"
        "print('nobody reads this', flush=True)\n"
        "print('nor this', file=sys.stderr, flush=True)\n"
        "opened = os.open(os.devnull, os.O_RDONLY)\n"
        "sys.exit(0 if opened > 2 and sys.stdin.read() == '' else 7)\n"
    )
    shell = f'"{sys.executable}" -c "$1" <&- >&- 2>&-'
    assert subprocess.run(["sh", "-c", shell, "sh", program], timeout=60, check=False).returncode == 0
