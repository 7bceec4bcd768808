"""A webhook is a signed knock: it makes the bot look, once, and nothing in it is believed."""

from __future__ import annotations

import hashlib
import hmac
import http.client
import json
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.bot.rig import START
from tests.rigs.github import GitHubRig, Hook, User
from trimtab_bot.reviews.server import PATH, WebhookServer
from trimtab_bot.reviews.service import Bell, run
from trimtab_bot.reviews.webhooks import MAX_BODY, Delivery, Door, Knock
from trimtab_bot.store.sql import SqlStore
from trimtab_kernel.problems import OutsideError

SECRET = "a-secret-of-the-webhook"


class Post:
    """A door with what it woke."""

    def __init__(self, folder: Path) -> None:
        self.store = SqlStore.open(folder / "bot.db")
        self.woken: list[tuple[int, ...]] = []
        self.door = self.reopened()

    def reopened(self) -> Door:
        """The door of another process over the same store."""
        return Door(SECRET.encode(), "Acme/Fleet", self.store, lambda: START, self.woken.append)


@pytest.fixture
def post(tmp_path: Path) -> Iterator[Post]:
    made = Post(tmp_path)
    yield made
    made.store.close()


def signed(
    content: object = None, *, key: str = "delivery-0001", event: str = "issue_comment", **more: str
) -> Delivery:
    """A delivery as GitHub sends it; ``content`` may be bytes."""
    given = {"repository": {"full_name": "acme/fleet"}, "issue": {"number": 3}} if content is None else content
    body = given if isinstance(given, bytes) else json.dumps(given).encode()
    mac = hmac.new(SECRET.encode(), body, hashlib.sha256).hexdigest()
    headers = {"x-hub-signature-256": f"sha256={mac}", "x-github-delivery": key, "x-github-event": event, **more}
    return Delivery({name.replace("_", "-"): value for name, value in headers.items()}, body)


def test_a_genuine_delivery_wakes_once_even_after_a_restart(post: Post) -> None:
    assert post.door.knock(signed()) is Knock.WOKEN
    assert post.woken == [(3,)]
    assert post.reopened().knock(signed()) is Knock.KNOWN
    # The id is not covered by the signature: the same body under another id is a replay all the same.
    assert post.door.knock(signed(key="delivery-0002")) is Knock.KNOWN
    assert post.woken == [(3,)]


def test_what_is_forged_or_malformed_wakes_nobody(post: Post) -> None:
    good = signed()
    flipped = Delivery(good.headers, good.body.replace(b"3", b"4"))
    other = hmac.new(b"another-secret-of-16", good.body, hashlib.sha256).hexdigest()
    mac = good.headers["x-hub-signature-256"]
    sha1 = "sha1=" + hmac.new(SECRET.encode(), good.body, hashlib.sha1).hexdigest()
    cases = [
        (flipped, Knock.FORGED),
        *((Delivery({**good.headers, "x-hub-signature-256": value}, good.body), Knock.FORGED)
          for value in ("", f"sha256={other}", mac.removeprefix("sha256="), mac[:-1], mac.upper(), sha1, "sha256=é")),
        (Delivery({key: value for key, value in good.headers.items() if "signature" not in key}, good.body), Knock.FORGED),
        (signed(b"x" * (MAX_BODY + 1)), Knock.TOO_LARGE),
        (signed(key=""), Knock.MALFORMED),
        (signed(key="a b; drop table"), Knock.MALFORMED),
        (signed(event="fork"), Knock.IGNORED),
        (signed(b"not json"), Knock.MALFORMED),
        (signed(b"[" * 100_000), Knock.MALFORMED),
        (signed([1]), Knock.MALFORMED),
        (signed({"repository": {"full_name": "acme/other"}, "number": 3}), Knock.MALFORMED),
    ]  # fmt: skip
    assert [post.door.knock(delivery) for delivery, _ in cases] == [knock for _, knock in cases]
    assert post.woken == []
    # Numbers are numbers: nothing else of a payload gets anywhere.
    odd = {"repository": {"full_name": "acme/fleet"}, "number": "3", "issue": {"number": True}, "pull_request": None}
    assert post.door.knock(signed(odd)) is Knock.WOKEN
    assert post.woken == [()]
    with pytest.raises(ValueError, match="at least"):
        Door(b"short", "acme/fleet", post.store, lambda: START, post.woken.append)


def test_over_http_deliveries_may_be_doubled_lost_and_reordered(post: Post, tmp_path: Path) -> None:
    server = WebhookServer(post.door)
    rig = GitHubRig(tmp_path, ())
    mara = User("mara", 5, "-")
    try:
        rig.hook = hook = Hook(server.start(), SECRET, copies=3)
        rig.say(7, mara, "hello")
        assert [status for _, status in hook.sent] == [202, 200, 200]
        hook.drop, hook.copies = 1, 1
        rig.say(8, mara, "lost")
        hook.held = []
        rig.say(9, mara, "first")
        rig.say(10, mara, "second")
        rig.release()
        assert post.woken == [(7,), (10,), (9,)]
        host = server.url.removeprefix("http://").removesuffix(PATH)
        for method, path, body, status in (
            ("GET", PATH, b"", 405),
            ("POST", "/", b"", 404),
            ("POST", PATH, b"{}", 401),
            ("POST", PATH, b"x" * (MAX_BODY + 1), 413),
        ):
            connection = http.client.HTTPConnection(host, timeout=30)
            connection.request(method, path, body)
            assert connection.getresponse().status == status
            connection.close()
        assert len(post.woken) == 3
    finally:
        server.stop()


def test_the_bell_makes_the_listener_look_at_once_and_a_limit_is_waited_for() -> None:
    """``run`` with a listener that says which numbers it was told, fails once and then answers."""
    bell, stop, looked = Bell(), threading.Event(), threading.Event()
    seen: list[tuple[int, ...]] = []
    told: list[str] = []

    class Looking:
        def step(self, numbers: tuple[int, ...]) -> None:
            seen.append(tuple(numbers))
            looked.set()
            if len(seen) == 2:
                raise OutsideError("no answer", 0.2)

    thread = threading.Thread(target=run, args=(Looking(), bell, stop, 60.0, told.append))
    thread.start()
    for number in (4, 5, 6):
        assert looked.wait(30)
        looked.clear()
        bell.ring((number,))
    assert looked.wait(30)
    stop.set()
    bell.ring()
    thread.join(30)
    assert not thread.is_alive()
    assert seen[0] == ()
    assert {number for numbers in seen for number in numbers} == {4, 5, 6}
    assert told == ["pull requests: no answer", "pull requests: GitHub answers again"]


def test_a_replica_that_stands_by_takes_webhooks_and_neither_looks_nor_answers() -> None:
    bell, stop, asked, looked = Bell(), threading.Event(), threading.Event(), threading.Event()
    seen: list[tuple[int, ...]] = []
    leading = [False]

    class Looking:
        def step(self, numbers: tuple[int, ...]) -> None:
            seen.append(tuple(numbers))
            looked.set()

    def leads() -> bool:
        found = leading[0]
        asked.set()
        return found

    thread = threading.Thread(target=run, args=(Looking(), bell, stop, 60.0, [].append, leads))
    thread.start()
    for number in (4, 5):
        assert asked.wait(30)
        asked.clear()
        bell.ring((number,))
    assert asked.wait(30)
    assert seen == []
    leading[0] = True
    bell.ring((6,))
    assert looked.wait(30)
    stop.set()
    bell.ring()
    thread.join(30)
    assert not thread.is_alive()
    assert 6 in seen[0]
