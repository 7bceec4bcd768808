"""Slack over HTTP: what is signed with the app's secret, now, is heard; nothing else is."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.bot.chat.test_slack import PEOPLE, _people, wait_until
from tests.bot.rig import Site
from tests.rigs.slack import SlackRig, slack
from trimtab_bot.chat.service import slack_chat
from trimtab_bot.chat.slack.blocks import APPROVE, DENY
from trimtab_bot.chat.slack.signature import objection


@pytest.fixture
def chat(site: Site, tmp_path: Path) -> Iterator[tuple[Site, SlackRig]]:
    """The service as `trimtab bot run` starts it, without Socket Mode; Slack's clock is the bot's."""
    with slack() as rig:
        for user in PEOPLE:
            rig.person(user)
        (tmp_path / "bot").write_text(rig.bot_token)
        (tmp_path / "secret").write_text(rig.signing_secret)
        section = {
            "team": "T0HOME",
            "channel": "C0FLEET",
            "botTokenFile": str(tmp_path / "bot"),
            "http": {"signingSecretFile": str(tmp_path / "secret")},
            "apiUrl": f"{rig.url}/api/",
        }
        people = [{**person, "slack": ["U0ADA"]} if person["id"] == "ada" else person for person in _people()]
        site.configure(slack=section, people=people)
        site.restart()
        configuration = site.configuration
        assert configuration.slack is not None
        chat = slack_chat(
            *(configuration, configuration.slack, site.store, site.bot.decisions, site.bot.commands, site.events),
            lambda: site.now,
        )
        rig.clock = lambda: site.now
        with chat as rig.http:
            yield site, rig


def test_buttons_modal_command_and_home_over_http(chat: tuple[Site, SlackRig]) -> None:
    site, rig = chat
    site.broken()
    wait_until(lambda: APPROVE in str(rig.messages))
    (message,) = rig.messages.values()
    assert rig.press("U0ADA", DENY, message) == []
    assert len(rig.views) == 1
    assert "triage 1.2.0" in rig.type("U0ADA", "status")
    assert "Waiting" in str(rig.open_home("U0ADA"))
    assert "approv" in rig.press("U0ADA", APPROVE, message, times=2)[0]["text"]
    assert [vote.person for vote in site.proposal().ballot.votes] == ["ada"]
    challenge = {"type": "url_verification", "challenge": "c-1", "token": "legacy"}
    status, answer = rig.send(*rig.request("events_api", challenge))
    assert (status, "c-1" in str(answer)) == (200, True)


def test_what_is_not_slacks_is_refused_before_it_is_read(chat: tuple[Site, SlackRig]) -> None:
    site, rig = chat
    command = {"command": "/trimtab", "text": "status", "team_id": "T0HOME", "user_id": "U0ADA", "trigger_id": "x"}
    body, headers = rig.request("slash_commands", command)
    stamp, signature = "x-slack-request-timestamp", "x-slack-signature"
    wrong = {
        "another secret": (body, {**headers, signature: "v0=" + "0" * 64}),
        "no signature": (body, {**headers, signature: ""}),
        "a byte changed": (body.replace(b"status", b"statut"), headers),
        "a time changed": (body, {**headers, stamp: str(int(headers[stamp]) + 1)}),
        "no time": (body, {**headers, stamp: ""}),
        "no number": (body, {**headers, stamp: "now"}),
    }
    for name, request in wrong.items():
        status, answer = rig.send(*request)
        assert (status, str(answer)[:3]) == (401, "B47"), name
    status, _ = rig.send(b"x" * (1024 * 1024 + 1), headers)
    assert status == 413
    assert rig.send(body, headers)[0] == 200
    site.now += 301
    assert rig.send(body, headers)[0] == 401, "too old"


@pytest.mark.parametrize("age", [-301.0, 301.0])
def test_a_signature_counts_five_minutes_either_way(age: float) -> None:
    rig = SlackRig()
    body, headers = rig.request("slash_commands", {"text": "x"}, 1_800_000_000)
    given = (headers["x-slack-request-timestamp"], headers["x-slack-signature"], body)
    assert objection(rig.signing_secret, *given, 1_800_000_000 + age * 0.99) == ""
    assert objection(rig.signing_secret, *given, 1_800_000_000 + age).startswith("B470")


def test_every_flipped_bit_of_a_signed_request_is_refused() -> None:
    rig, at = SlackRig(), 1_800_000_000.0
    body, headers = rig.request("slash_commands", {"text": "approve p-1 abc"}, at)
    stamp, signature = headers["x-slack-request-timestamp"], headers["x-slack-signature"]
    assert objection(rig.signing_secret, stamp, signature, body, at) == ""
    for place in range(len(body) * 8):
        changed = bytearray(body)
        changed[place // 8] ^= 1 << place % 8
        assert objection(rig.signing_secret, stamp, signature, bytes(changed), at).startswith("B471")
