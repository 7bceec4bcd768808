"""``trimtab inbox`` against a real inbox on loopback."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from tests.bot.inbox.desk import TOKENS, Desk, view
from trimtab_bot.cli.inbox import COMMAND
from trimtab_bot.inbox.app import Inbox
from trimtab_bot.inbox.server import InboxServer
from trimtab_kernel.commandline import Parser, add_command, run_command

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path


@pytest.fixture
def desk() -> Desk:
    return Desk(view(), view("p-0", open_for_decision=False, state="closed"))


@pytest.fixture
def run(desk: Desk, tmp_path: Path) -> Iterator[Callable[..., int]]:
    """Runs ``trimtab inbox ...`` as a person, and gives the exit code."""
    server = InboxServer(Inbox(desk, desk))
    url = server.start()
    parser = Parser(prog="trimtab")
    add_command(parser.add_subparsers(parser_class=Parser), COMMAND)

    def call(*words: str, person: str = "ada") -> int:
        token = tmp_path / person
        token.write_text(TOKENS.get(person, "nobody") + "\n")
        token.chmod(0o600)
        return int(run_command(parser.parse_args(["inbox", *words, "--url", url, "--token-file", str(token)])))

    yield call
    server.stop()


def test_list_shows_one_line_each(run: Callable[..., int], capsys: pytest.CaptureFixture[str]) -> None:
    assert run("list") == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == ["p-1", "p-0"]
    assert "needs a decision" in lines[0]


def test_show_is_enough_to_decide(run: Callable[..., int], capsys: pytest.CaptureFixture[str]) -> None:
    assert run("show", "p-1") == 0
    out = capsys.readouterr().out
    for needed in ("[fact]", "[estimate]", "n = 812", '+    version: "1.1.0"', "likely cause", "digest: sha256:"):
        assert needed in out


def test_approve_acts_as_the_tokens_owner(run: Callable[..., int], desk: Desk) -> None:
    assert run("approve", "p-1") == 0
    assert desk.decided == [("approve", "p-1", "ada", "")]


def test_approve_of_what_was_looked_at_before_is_refused_when_it_changed(
    run: Callable[..., int], desk: Desk, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("approve", "p-1", "--digest", "sha256:" + "0" * 64) == 2
    assert "B405" in capsys.readouterr().err
    assert not desk.decided


def test_refusal_exits_with_2_and_says_why(
    run: Callable[..., int], desk: Desk, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("approve", "p-1", person="bo") == 2
    assert "B402" in capsys.readouterr().err
    assert not desk.decided


def test_deny_passes_the_reason_on(run: Callable[..., int], desk: Desk) -> None:
    assert run("deny", "p-1", "--reason", "known experiment") == 0
    assert desk.decided == [("deny", "p-1", "ada", "known experiment")]


def test_json_output_is_json(run: Callable[..., int], capsys: pytest.CaptureFixture[str]) -> None:
    assert run("list", "--output", "json") == 0
    assert json.loads(capsys.readouterr().out)["proposals"][0]["id"] == "p-1"


def test_a_wrong_token_is_refused_without_being_shown(
    run: Callable[..., int], capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("list", person="nobody") == 2
    captured = capsys.readouterr()
    assert "B421" in captured.err
    assert "nobody" not in captured.out + captured.err


@pytest.mark.parametrize(
    ("words", "code", "says"),
    [
        (["--url", "ftp://x"], 1, "B426"),
        (["--url", "http://example.com"], 1, "B426"),
        (["--url", "http://u:p@127.0.0.1:1"], 1, "B426"),
        (["--url", "http://127.0.0.1:1"], 3, "no answer"),
    ],
)
def test_bad_urls_get_a_clear_error(
    words: list[str], code: int, says: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    token = tmp_path / "token"
    token.write_text("secret-token-value")
    token.chmod(0o600)
    parser = Parser(prog="trimtab")
    add_command(parser.add_subparsers(parser_class=Parser), COMMAND)
    assert int(run_command(parser.parse_args(["inbox", "list", *words, "--token-file", str(token)]))) == code
    captured = capsys.readouterr()
    assert says in captured.err
    assert "secret-token-value" not in captured.err
    assert ":p@" not in captured.err
