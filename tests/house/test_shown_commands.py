"""What pages and `--help` show as a command is one: its options exist, and none that it needs is missing."""

from __future__ import annotations

import importlib
import re
import shlex
from functools import cache
from pathlib import Path

import pytest

from trimtab_config.cli.completion import whole_parser
from trimtab_edge import cli as edge_cli
from trimtab_kernel.commandline import Command, Parser, add_command

ROOT = Path(__file__).parents[2]
PAGES = [
    page
    for page in sorted(
        {ROOT / "README.md", *ROOT.glob("*/README.md"), *ROOT.glob("*/*/README.md"), *ROOT.glob("docs/*.md")}
    )
    if not any(part.startswith(".") for part in page.relative_to(ROOT).parts)
]
_COMMAND = re.compile(r"(?:[A-Z_]+=\S+ +)*(?P<program>trimtab(?:-edge)?) +(?P<rest>.*)")


@cache
def parsers() -> dict[str, Parser]:
    edge = Parser(prog="trimtab-edge")
    below = edge.add_subparsers(required=True, parser_class=Parser, metavar="COMMAND")
    for command in edge_commands():
        add_command(below, command)
    return {"trimtab": whole_parser(), "trimtab-edge": edge}


def edge_commands() -> list[Command]:
    return [importlib.import_module(f"trimtab_edge.cli.{name}").COMMAND for name in edge_cli.COMMANDS]


def shown(page: str) -> list[str]:
    """The lines of indented blocks, of shell blocks, and after the prompts of console blocks; long lines are joined."""
    found, kind = [], ""
    for line in page.replace("\\\n", " ").splitlines():
        if line.lstrip().startswith("```"):
            kind = "" if kind else line.strip().strip("`") or "text"
        elif kind == "console" and line.startswith("$ "):
            found.append(line[2:])
        elif kind in {"sh", "bash"} or (not kind and line.startswith("    ")):
            found.append(line.strip())
    return found


def refusal(line: str) -> str:
    """What the parser has against a command of ours; "" for one that it takes, and for every other line."""
    command = _COMMAND.fullmatch(line)
    if command is None:
        return ""
    lexer = shlex.shlex(command["rest"], posix=True, punctuation_chars="|;&<>")
    lexer.whitespace_split, lexer.commenters = True, "#"
    words: list[str] = []
    for word in lexer:
        if set(word) <= set("|;&<>"):  # what follows is the shell's, as is the number of a stream before it
            words = words[:-1] if word.startswith(">") and words and words[-1] in {"1", "2"} else words
            break
        words.append(word)
    try:
        parsers()[command["program"]].parse_args(words)
    except SystemExit as end:
        return line if end.code else ""
    return ""


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_command_of_a_page_is_one(page: Path, capsys: pytest.CaptureFixture[str]) -> None:
    refused = [line for line in shown(page.read_text("utf-8")) if refusal(line)]
    assert refused == [], capsys.readouterr().err


def test_every_example_of_help_is_a_command(capsys: pytest.CaptureFixture[str]) -> None:
    def examples(commands: list[Command]) -> list[str]:
        return [each for one in commands for each in (*one.examples, *examples(list(one.subcommands)))]

    from trimtab_config.cli import commands

    every = examples([*(entry.load() for entry in commands()), *edge_commands()])
    assert len(every) > 60
    assert [line for line in every if refusal(line)] == [], capsys.readouterr().err


def test_a_command_that_is_none_is_found() -> None:
    (line,) = shown("```console\n$ trimtab render fleet \\\n    --al > all.yaml\n```\n")
    assert refusal(line)
    assert refusal("trimtab-edge serve")
    assert not refusal("trimtab render fleet --all 2>/dev/null")
