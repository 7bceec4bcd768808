"""Five hundred incidents at once: the room is not shouted at, and nothing that happened is left unsaid."""

from __future__ import annotations

import itertools
import time
from collections import defaultdict
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import pytest
import sqlalchemy as sa

from tests.bot.store.samples import incident
from tests.rigs.slack import slack
from tests.rigs.slack.limits import Limits
from trimtab_bot.chat.board import SECONDS_BETWEEN, Board
from trimtab_bot.chat.interface import Message, Place, Reply
from trimtab_bot.chat.pace import Pace
from trimtab_bot.chat.slack.room import SlackRoom, web_client
from trimtab_bot.records import IncidentPhase, TimelineRecord
from trimtab_bot.store.sql import SqlStore
from trimtab_kernel.problems import OutsideError

CROWD = 500
HOUR = 3600.0
EVENTS = ("proposed", "closed")


class Clock:
    def __init__(self) -> None:
        self.now = 1_800_000_000.0

    def __call__(self) -> float:
        return self.now


class LimitedRoom:
    """A room that keeps what is said, under the limits of the rig."""

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self.limits = Limits(clock)
        self.messages: dict[str, Message] = {}
        self.lines: defaultdict[str, list[TimelineRecord]] = defaultdict(list)
        self.said_at: defaultdict[str, list[float]] = defaultdict(list)
        self.edits = 0
        self._numbers = itertools.count(1)

    def _ask(self, method: str) -> None:
        wait = self.limits.ask(method, "C")
        if wait:
            raise OutsideError("too many requests", wait)

    def find(self, incident: str) -> Place | None:
        self._ask("conversations.history")
        return next((Place("C", place) for place, each in self.messages.items() if each.incident == incident), None)

    def post(self, message: Message) -> Place:
        self._ask("chat.postMessage")
        place = str(next(self._numbers))
        self.messages[place] = message
        self.said_at[message.incident].append(self.clock())
        return Place("C", place)

    def has_reply(self, place: Place, through: int) -> bool:
        self._ask("conversations.replies")
        return len(self.lines[place.id]) >= through

    def reply(self, place: Place, reply: Reply) -> None:
        self._ask("chat.postMessage")
        self.lines[place.id] += reply.lines
        self.said_at[reply.incident].append(self.clock())

    def update(self, place: Place, message: Message) -> None:
        self._ask("chat.update")
        self.messages[place.id] = message
        self.edits += 1


def store_without_waiting(path: Path) -> SqlStore:
    """The product's store; only the disk is not waited for, as no test cuts the power."""
    store = SqlStore.open(path)
    sa.event.listen(
        store._engine, "connect", lambda connection, _: connection.execute("PRAGMA synchronous=OFF").close()
    )
    store._engine.dispose()
    return store


def happen(store: SqlStore, number: int, step: int, at: float) -> None:
    """The next thing that happens to one incident."""
    name = f"i-{number}"
    phase = IncidentPhase.CLOSED if step == len(EVENTS) else IncidentPhase.OPEN
    with store.transaction() as work:
        work.put_incident(
            replace(
                incident(name, version=f"1.0.{number}", phase=phase),
                detected_at=at,
                closed_at=at if step == len(EVENTS) else None,
                closed_because="recovered" if step == len(EVENTS) else "",
            )
        )
        work.add_timeline(TimelineRecord(name, at, "breach found" if step == 0 else EVENTS[step - 1]))


@pytest.mark.parametrize("crowd", [50, pytest.param(CROWD, marks=[pytest.mark.long, pytest.mark.timeout(300)])])
def test_five_hundred_incidents_in_an_hour(tmp_path: Path, crowd: int) -> None:
    """On the injected clock, the rig's limits on the same one: half of the incidents come in the first minute.

    `make test` shows it with a tenth of them, in a tenth of the time.
    """
    clock = Clock()
    start = clock.now
    store = store_without_waiting(tmp_path / "bot.db")
    room = LimitedRoom(clock)
    board = Board(store, room, clock, 1)
    # Everything that will happen: (when, which, what); the steps of an incident are ten seconds to ten minutes apart.
    plan = sorted(
        (start + arrival(number, crowd) + step * (10 + number % 60 * 10), number, step)
        for number in range(crowd)
        for step in range(len(EVENTS) + 1)
    )
    while plan or not quiet(store):
        while plan and plan[0][0] <= clock.now:
            at, number, step = plan.pop(0)
            happen(store, number, step, at)
        outcome = board.step()
        assert outcome.failure == ""
        pause = outcome.wait or 10.0
        due = plan[0][0] - clock.now if plan else pause
        clock.now += max(0.05, min(max(pause, 1.0), max(due, 1.0)))
        assert clock.now < start + 3 * HOUR
    assert room.limits.refused == 0, "the limits were never met"
    assert len(room.messages) == crowd
    for place, message in room.messages.items():
        assert message.closed, message
        assert [line.text for line in room.lines[place]] == ["breach found", *EVENTS], (
            "nothing is left out of the story"
        )
    for times in room.said_at.values():
        assert all(later - earlier >= SECONDS_BETWEEN for earlier, later in itertools.pairwise(times))
    store.close()


def arrival(number: int, crowd: int) -> float:
    """Seconds after the start: the first half within a minute's share, the rest spread over the hour's."""
    share = crowd / CROWD
    half = crowd // 2
    return number * 60 * share / half if number < half else 60 * share + (number - half) * 9.0


def quiet(store: SqlStore) -> bool:
    with store.reading() as view:
        return not view.unsaid()


@pytest.mark.long
@pytest.mark.timeout(300)
def test_sixty_seconds_of_a_crowd_with_the_unmodified_client(tmp_path: Path) -> None:
    """Real time, real requests, and a rig that refuses what is too fast."""
    with ExitStack() as stack:
        rig = stack.enter_context(slack())
        rig.limits = Limits(time.monotonic)
        store = store_without_waiting(tmp_path / "bot.db")
        stack.callback(store.close)
        for number in range(CROWD):
            happen(store, number, 0, time.time())
        room = SlackRoom(web_client(rig.bot_token, f"{rig.url}/api/"), "C0FLEET")
        board = Board(store, room, time.time, 1, Pace(time.monotonic))
        end, number = time.monotonic() + 60, 0
        while time.monotonic() < end:
            happen(store, number % 100, 1, time.time())
            number += 1
            outcome = board.step()
            assert outcome.failure == ""
            time.sleep(min(1.0, outcome.wait or 0.2))
        assert rig.limits.refused == 0
        assert len(rig.messages) + len(rig.replies) >= 30, "and yet it speaks as fast as it may"
        incidents = [each["metadata"]["event_payload"]["incident"] for each in rig.messages.values()]
        assert len(set(incidents)) == len(incidents)
        with store.reading() as view:
            waiting = {each.incident for each in view.unsaid()}
        assert {f"i-{each}" for each in range(CROWD)} - set(incidents) <= waiting, "what is not said yet waits"
