"""The bot in Slack: the message that lives, the click that counts once, and whose click counts."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from slack_sdk.models.blocks import Block

from tests.bot.rig import Site
from tests.rigs.slack import Fault, SlackRig, slack
from trimtab_bot.chat.board import SECONDS_BETWEEN, Board
from trimtab_bot.chat.slack.app import DEAD_SECONDS, MANY_CONNECTIONS, SlackConnection, SlackListener
from trimtab_bot.chat.slack.blocks import APPROVE, DENY, METADATA, escaped
from trimtab_bot.chat.slack.intake import Intake, Wish
from trimtab_bot.chat.slack.room import SlackRoom, web_client
from trimtab_bot.records import IncidentPhase
from trimtab_kernel.problems import OutsideError

PEOPLE = {
    **{"U0MARA": "mara", "U0BO": "bo", "U0ADA": "ada", "U0CY": "cy", "U0VI": "vi"},
    **dict.fromkeys(("U1ADA", "U2ADA", "U3ADA", "U4ADA"), "ada"),
}


class ChatSite:
    """A site with a workspace; the board is stepped by hand, the listener listens."""

    def __init__(self, site: Site, rig: SlackRig) -> None:
        self.site = site
        self.rig = rig
        self.connection: SlackConnection | None = None
        for user in PEOPLE:
            rig.person(user)
        self.restart()

    def restart(self) -> None:
        """A new process over the same state."""
        self.stop()
        self.site.restart()
        client = web_client(self.rig.bot_token, f"{self.rig.url}/api/")
        self.board = Board(self.site.store, SlackRoom(client, "C0FLEET"), lambda: self.site.now, 1)
        listener = SlackListener(
            web_client(self.rig.bot_token, f"{self.rig.url}/api/"),
            "T0HOME",
            PEOPLE,
            self.site.bot.decisions,
            self.site.bot.commands,
            Intake(self.site.store, lambda: self.site.now),
        )
        self.listener = listener
        self.connection = SlackConnection(listener, self.rig.app_token, 1)
        self.connection.start()
        self.rig.await_listener()

    def stop(self) -> None:
        if self.connection is not None:
            self.connection.stop()
            self.connection = None
            self.rig.drop_connections()

    def message(self) -> dict[str, Any]:
        (only,) = self.rig.messages.values()
        return only

    def say(self) -> dict[str, Any]:
        outcome = self.board.step()
        assert outcome.failure == ""
        return self.message()

    def actions(self) -> list[str]:
        return [
            str(element["action_id"])
            for block in self.message()["blocks"]
            if block["type"] == "actions"
            for element in block["elements"]
        ]


@pytest.fixture
def chat(site: Site) -> Iterator[ChatSite]:
    with ExitStack() as stack:
        rig = stack.enter_context(slack())
        found = ChatSite(site, rig)
        stack.callback(found.stop)
        yield found


def text_of(message: dict[str, Any]) -> str:
    return f"{message['blocks']} {message['text']}"


def test_from_an_incident_to_its_end_in_one_message(chat: ChatSite) -> None:
    site = chat.site
    proposal = site.broken()
    message = chat.say()
    assert message["channel"] == "C0FLEET"
    assert message["metadata"]["event_type"] == METADATA
    assert proposal.title in text_of(message)
    assert "u000a" not in text_of(message), "the lines of the summary are lines"
    assert chat.actions() == [APPROVE, DENY]
    for block in message["blocks"]:
        parsed = Block.parse(block)
        assert parsed is not None
        parsed.validate_json()

    assert "B405" in chat.rig.press("U0BO", APPROVE, message)[0]["text"]
    assert site.proposal().ballot.votes == ()
    (answer,) = chat.rig.press("U0ADA", APPROVE, message)
    assert (answer["response_type"], answer["replace_original"]) == ("ephemeral", False)
    assert "approv" in answer["text"]
    site.tick()
    chat.say()
    assert chat.actions() == [], "nothing is left to decide, so there is nothing to press"
    site.back()
    site.settle()
    assert site.incident().phase is IncidentPhase.CLOSED
    assert "closed" in text_of(chat.say())
    edits = chat.message()["edits"]
    site.now += 1000
    chat.say()
    assert chat.message()["edits"] == edits, "a closed incident is left alone"
    assert len(chat.rig.messages) == 1
    picture, *more = chat.rig.replies
    assert picture["files"][0]["name"].endswith(".png")
    assert chat.rig.files[picture["files"][0]["id"]]["content"].startswith(b"\x89PNG")
    told = "\n".join(each["text"] for each in chat.rig.replies)
    assert [line.partition(" UTC ")[2] for line in told.splitlines()] == [
        escaped(line, 400) for line in site.timeline()
    ]
    assert {each["thread_ts"] for each in (picture, *more)} == {message["ts"]}


def test_the_same_click_twice_is_one_approval(chat: ChatSite) -> None:
    chat.site.broken()
    chat.rig.press("U0ADA", APPROVE, chat.say(), times=3)
    chat.site.tick(2)
    assert len(chat.site.origin.merges_of_the_bot()) == 1
    assert [vote.person for vote in chat.site.proposal().ballot.votes] == ["ada"]


def test_a_denial_asks_why_and_keeps_the_answer(chat: ChatSite) -> None:
    chat.site.broken()
    assert chat.rig.press("U0ADA", DENY, chat.say()) == []
    (view,) = chat.rig.views
    assert chat.rig.submit("U0ADA", view, "a broken sensor, not the model") is None
    chat.site.tick()
    assert chat.site.incident().obstacle
    assert any("ada: deny" in line for line in chat.site.timeline())
    again = chat.rig.submit("U0CY", view, "me too, late")
    assert again["response_action"] == "errors"
    assert again["errors"]["reason"].startswith("B4")


def test_whose_click_does_not_count(chat: ChatSite) -> None:
    """Nobody's, another workspace's, guests, who has left, robots, and who may only look; each with its own reason."""
    cases: tuple[tuple[str, str, dict[str, bool], str], ...] = (
        ("U0NOBODY", "T0HOME", {}, "B440"),
        ("U0CY", "T0OTHER", {}, "B441"),
        ("U1ADA", "T0HOME", {"is_restricted": True}, "B441"),
        ("U2ADA", "T0HOME", {"is_ultra_restricted": True}, "B441"),
        ("U3ADA", "T0HOME", {"deleted": True}, "B441"),
        ("U4ADA", "T0HOME", {"is_bot": True}, "B441"),
        ("U0VI", "T0HOME", {}, "B403"),
    )
    chat.site.broken()
    message = chat.say()
    digest = chat.site.view().digest[-64:]
    for user, team, odd, code in cases:
        chat.rig.person(user, team, **odd)
        assert code in chat.rig.press(user, APPROVE, message, team)[0]["text"], user
        assert code in chat.rig.type(user, f"approve {chat.site.proposal().id} {digest}", team), user
        assert chat.site.proposal().ballot.votes == (), user


def test_commands_show_evidence_and_decide_what_was_shown(chat: ChatSite) -> None:
    proposal = chat.site.broken()
    assert "triage 1.2.0" in chat.rig.type("U0ADA", "status")
    why = chat.rig.type("U0ADA", f"why {proposal.id}")
    assert "n=" in why or "n " in why
    typed = why.splitlines()[-1].partition("/trimtab ")[2]
    assert (
        "B420" in chat.rig.type("U0ADA", f"approve {proposal.id} {'0' * 12}") or chat.site.proposal().ballot.votes == ()
    )
    assert chat.site.proposal().ballot.votes == ()
    assert "approv" in chat.rig.type("U0ADA", typed)
    assert [vote.person for vote in chat.site.proposal().ballot.votes] == ["ada"]
    assert "ada" in chat.rig.type("U0ADA", f"history {proposal.id}")
    assert "usage" in chat.rig.type("U0ADA", "approve")
    assert "/trimtab why ID" in chat.rig.type("U0ADA", "help")


@pytest.mark.parametrize("after", [False, True], ids=["not done", "done, but nobody heard"])
def test_a_post_whose_answer_is_lost_is_one_message(chat: ChatSite, after: bool) -> None:
    chat.site.broken()
    chat.rig.faults = [Fault("chat.postMessage", 502, after)]
    assert "slack" in chat.board.step().failure
    chat.restart()
    chat.say()
    assert chat.rig.calls.count("chat.postMessage") == (1 if after else 2)
    assert chat.actions() == [APPROVE, DENY]


def test_slack_asks_for_patience_and_gets_it(chat: ChatSite) -> None:
    chat.site.broken()
    chat.rig.faults = [Fault("chat.postMessage", 429, headers={"Retry-After": "33"})]
    assert chat.board.step().retry_after == 33
    assert chat.rig.messages == {}
    chat.site.now += 33
    chat.say()


def test_chatter_is_held_back_and_decisions_are_not(chat: ChatSite) -> None:
    site = chat.site
    site.broken()
    chat.say()
    edits = []
    for _ in range(5):
        site.tick()
        chat.rig.press("U0BO", APPROVE, chat.message())  # refused each time, which the timeline tells
        edits.append(chat.say()["edits"])
    assert edits == [0] * 5
    site.now += SECONDS_BETWEEN
    assert chat.say()["edits"] == 1
    chat.rig.press("U0ADA", APPROVE, chat.message())
    site.tick()
    assert chat.say()["edits"] == 2, "the buttons go at once"


def test_a_message_that_somebody_removed_stays_removed(chat: ChatSite) -> None:
    chat.site.broken()
    chat.say()
    chat.rig.messages.clear()
    chat.rig.type("U0ADA", "status")
    assert "approv" in chat.rig.type("U0ADA", f"approve {chat.site.proposal().id} {chat.site.view().digest[-64:]}")
    chat.site.tick()
    assert chat.board.step().failure == ""
    assert chat.rig.messages == {}


def test_a_connection_that_breaks_is_made_anew(chat: ChatSite) -> None:
    chat.site.broken()
    message = chat.say()
    chat.rig.drop_connections()
    chat.rig.await_listener()
    assert "approv" in chat.rig.press("U0ADA", APPROVE, message)[0]["text"]


def test_a_wrong_token_is_said_without_showing_it() -> None:
    with slack() as rig, pytest.raises(OutsideError, match="invalid_auth") as caught:
        SlackRoom(web_client("xoxb-wrong", f"{rig.url}/api/"), "C0FLEET").find("i-1")
    assert "xoxb-wrong" not in str(caught.value)


@pytest.mark.parametrize(
    "text", ["<!channel>", "<@U0ADA>", "<https://evil.example|here>", "&lt;!here&gt;", "a\nb\u202e"]
)
def test_what_devices_and_commits_say_mentions_nobody(text: str) -> None:
    shown = escaped(text)
    assert "<" not in shown
    assert ">" not in shown
    assert "\n" not in shown
    assert "\u202e" not in shown


def test_a_repeat_is_answered_as_the_first_was_and_done_once(chat: ChatSite) -> None:
    """Slack sends again what it believes lost; the second answer is the first one's, whatever has happened since."""
    chat.site.broken()
    answers = chat.rig.press("U0ADA", APPROVE, chat.say(), times=3)
    assert len({each["text"] for each in answers}) == 1
    chat.rig.settle()
    assert len({each["text"] for each in chat.rig.responses}) == 1
    decisions = [line for line in chat.site.timeline() if line.startswith("ada: approve")]
    assert len(decisions) == 1


def test_what_a_process_died_over_is_taken_up_and_answered(chat: ChatSite) -> None:
    """Written down, not acted upon: the next process acts, once, and says so where the person looks."""
    proposal = chat.site.broken()
    digest = chat.site.view().digest
    wish = Wish(
        *("approve", "T0HOME", "U0ADA", "T0HOME", False, "C0FLEET"),
        *(proposal.id, digest, "", f"{chat.rig.url}/respond/77"),
    )
    with chat.site.store.transaction() as work:
        work.add_delivery(
            "slack", "k", chat.site.now, json.dumps({name: getattr(wish, name) for name in Wish.__slots__})
        )
    chat.restart()
    assert chat.listener.take_up() == 0, "it may still be under way"
    chat.site.now += 31
    assert chat.listener.take_up() == 1
    assert chat.listener.take_up() == 0
    assert [vote.person for vote in chat.site.proposal().ballot.votes] == ["ada"]
    assert "approv" in chat.rig.responses[-1]["text"]


def test_the_home_shows_what_waits_and_decides(chat: ChatSite) -> None:
    assert "Nothing waits" in str(chat.rig.open_home("U0ADA"))
    proposal = chat.site.broken()
    home = chat.rig.open_home("U0ADA")
    assert proposal.title in str(home)
    for block in home["blocks"]:
        parsed = Block.parse(block)
        assert parsed is not None
        parsed.validate_json()
    assert APPROVE not in str(chat.rig.open_home("U0BO")), "bo brought the change; no button, and the reason instead"
    assert "B405" in str(chat.rig.home("U0BO"))
    assert proposal.title not in str(chat.rig.open_home("U0NOBODY"))
    assert "B440" in str(chat.rig.home("U0NOBODY"))
    chat.rig.press_home("U0ADA", APPROVE)
    assert "approv" in str(chat.rig.home("U0ADA")["blocks"][1])
    assert [vote.person for vote in chat.site.proposal().ballot.votes] == ["ada"]


def test_a_connection_that_stays_dead_is_made_anew_by_the_watchdog(chat: ChatSite) -> None:
    """The library's own reconnecting is switched off here: as if it were stuck."""
    now = [0.0]
    connection = SlackConnection(chat.listener, chat.rig.app_token, 1, lambda: now[0])
    try:
        connection._handler.client.auto_reconnect_enabled = False
        connection.start()
        assert connection.watch() == ""
        connection._handler.client.disconnect()
        wait_until(lambda: not connection._handler.client.is_connected())
        assert connection.watch() == ""
        now[0] += DEAD_SECONDS
        assert "made anew" in connection.watch()
        wait_until(connection._handler.client.is_connected)
        assert connection.watch() == ""
        chat.rig.connections_told = MANY_CONNECTIONS
        connection._handler.client.connect_to_new_endpoint(force=True)
        wait_until(lambda: "clicks may be lost" in connection.watch())
    finally:
        connection.stop()


def wait_until(condition: Callable[[], bool], seconds: float = 30) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_the_service_says_and_listens_by_itself(site: Site, tmp_path: Path) -> None:
    """`trimtab bot run` with a section `slack`: threads of their own, and a clean end."""
    from trimtab_bot.chat.service import slack_chat

    with slack() as rig:
        for user in PEOPLE:
            rig.person(user)
        (tmp_path / "bot").write_text(rig.bot_token)
        (tmp_path / "app").write_text(rig.app_token)
        section = {
            "team": "T0HOME",
            "channel": "C0FLEET",
            "botTokenFile": str(tmp_path / "bot"),
            "appTokenFile": str(tmp_path / "app"),
            "apiUrl": f"{rig.url}/api/",
        }
        people = [{**person, "slack": ["U0ADA"]} if person["id"] == "ada" else person for person in _people()]
        site.configure(slack=section, people=people)
        site.restart()
        configuration = site.configuration
        assert configuration.slack is not None
        site.broken()
        chat = slack_chat(
            configuration,
            configuration.slack,
            site.store,
            site.bot.decisions,
            site.bot.commands,
            site.events,
            lambda: site.now,
        )
        with chat:
            wait_until(lambda: APPROVE in str(rig.messages))
            (message,) = rig.messages.values()
            assert "approv" in rig.press("U0ADA", APPROVE, message)[0]["text"]
    site.tick()
    assert len(site.origin.merges_of_the_bot()) == 1
    assert any("slack is connected" in event.get("text", "") for event in site.events.of("chat"))


def _people() -> list[dict[str, Any]]:
    from tests.bot.rig import PEOPLE as EVERYBODY

    return list(EVERYBODY)
