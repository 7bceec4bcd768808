"""Every command of the grammar from a terminal, through the inbox's API, to the bot's core."""

from __future__ import annotations

from typing import TYPE_CHECKING

import httpx

from tests.bot.rig import TOKENS, Site
from trimtab_bot.cli.inbox import COMMAND
from trimtab_bot.inbox.app import Inbox
from trimtab_bot.inbox.server import InboxServer
from trimtab_kernel.commandline import Parser, add_command, run_command

if TYPE_CHECKING:
    from pathlib import Path

    import pytest


def test_what_is_typed_in_a_terminal_is_what_is_typed_in_chat(
    site: Site, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    proposal = site.broken()
    server = InboxServer(Inbox(site.bot.decisions, site.configuration.people, commands=site.bot.commands))
    server.start()

    def say(who: str, *words: str) -> tuple[int, str]:
        token = tmp_path / f"{who}.token"
        token.write_text(TOKENS[who])
        token.chmod(0o600)
        parser = Parser(prog="trimtab")
        add_command(parser.add_subparsers(parser_class=Parser), COMMAND)
        given = ["inbox", "say", *words, "--url", server.url, "--token-file", str(token)]
        code = int(run_command(parser.parse_args(given)))
        captured = capsys.readouterr()
        return code, captured.out + captured.err

    try:
        assert f"waits for a decision: {proposal.id}" in say("vi", "status")[1]
        assert say("vi", "help", "silence")[0] == 0
        code, text = say("vi", "silence", proposal.id, "1h", "x")
        assert (code, "B403" in text) == (2, True)
        assert say("ada", "frobnicate")[0] == 64
        assert say("ada", "ack", proposal.incident_id)[0] == 0
        assert site.incident().taken_by == "ada"
        assert "silenced it for 4 h" in say("ada", "silence", proposal.id, "4h", "vendor", "is", "on", "it")[1]
        assert site.incident().silenced_until == site.now + 4 * 3600
        assert say("ada", "escalate", proposal.id, "nobody", "answers")[0] == 0
        assert (site.incident().escalated_because, site.incident().silenced_until) == ("ada: nobody answers", 0.0)
        assert "calls for help" in say("vi", "history", proposal.incident_id)[1]
        assert "EUR a month" in say("vi", "cost")[1]
        assert "did you mean" in say("vi", "cost", "kiosk-eme")[1]
        assert "wave tenth" in say("vi", "rollout", "triage-gateways")[1]
        assert "to approve:" in say("vi", "why", proposal.id)[1]
        assert say("ada", "approve", proposal.id, proposal.ballot.digest)[0] == 0
        wrong = httpx.post(f"{server.url}/api/commands", json={"text": "status"}, headers={"Authorization": "Bearer x"})
        assert wrong.status_code == 401
        odd = httpx.post(
            f"{server.url}/api/commands", content=b"[]", headers={"Authorization": f"Bearer {TOKENS['ada']}"}
        )
        assert odd.status_code == 400
    finally:
        server.stop()
    site.tick()
    assert len(site.origin.merges_of_the_bot()) == 1


def test_a_silence_holds_calls_for_help_back_and_ends_by_itself(site: Site) -> None:
    from trimtab_bot.commands import Actor, Where

    proposal = site.broken()
    reply = site.bot.commands.say(f"silence {proposal.id} 8h known", Actor("ada", "t"), Where("t"))
    assert reply.done
    site.now += 5 * 3600  # the proposal has expired by now, which calls for help
    site.tick(2)
    assert site.proposals()[0].ballot.phase.value == "expired"
    assert site.incident().escalated_at is None
    site.now += 4 * 3600
    site.tick(2)
    assert site.incident().escalated_at is not None
