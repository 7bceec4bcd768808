"""The inbox's pages and API, over real HTTP on loopback."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import httpx
import pytest

from tests.bot.inbox.desk import TOKENS, Desk, view
from trimtab_bot.inbox.app import MAX_BODY, Inbox
from trimtab_bot.inbox.server import InboxServer
from trimtab_bot.inbox.sessions import MAX_FAILURES, SESSION_SECONDS

if TYPE_CHECKING:
    from collections.abc import Iterator


class Clock:
    """Seconds that only tests move."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def desk() -> Desk:
    return Desk(view())


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def url(desk: Desk, clock: Clock) -> Iterator[str]:
    server = InboxServer(Inbox(desk, desk, clock=clock))
    yield server.start()
    server.stop()


@pytest.fixture
def browser(url: str) -> Iterator[httpx.Client]:
    """A browser that keeps cookies and follows redirects, not logged in."""
    with httpx.Client(base_url=url, follow_redirects=True, trust_env=False) as client:
        yield client


def log_in(browser: httpx.Client, person: str = "ada") -> httpx.Response:
    answer = browser.post("/login", data={"token": TOKENS[person]})
    assert answer.status_code == 200
    return answer


def form_of(page: httpx.Response) -> dict[str, str]:
    """The hidden fields of the page's first decision form."""
    form = page.text[page.text.index('/approve"') :]
    return dict(re.findall(r'name="(csrf|digest)" value="([^"]*)"', form)[:2])


def test_nothing_is_shown_to_a_stranger(browser: httpx.Client) -> None:
    for path in ("/", "/proposals/p-1"):
        page = browser.get(path)
        assert page.url.path == "/login"
        assert "triage" not in page.text
    assert browser.get("/api/proposals").status_code == 401
    assert browser.get("/revision").status_code == 401


def test_list_and_detail_say_what_a_decision_needs(browser: httpx.Client) -> None:
    log_in(browser)
    front = browser.get("/").text
    assert "needs a decision" in front
    assert "unknown" in front
    page = browser.get("/proposals/p-1").text
    for needed in (
        "n = 812",
        "0.36 to 0.56",
        "limit 0.8",
        "emea-kiosk",
        "420 devices",
        "Bo Builder",
        "verified by the bot",
    ):
        assert needed in page
    assert page.count('class="kind fact"') >= 3
    assert page.count('class="kind estimate"') >= 2


def test_approval_by_button_is_taken_once_as_the_person_logged_in(browser: httpx.Client, desk: Desk) -> None:
    log_in(browser)
    form = form_of(browser.get("/proposals/p-1"))
    answer = browser.post("/proposals/p-1/approve", data=form)
    assert answer.status_code == 200
    assert desk.decided == [("approve", "p-1", "ada", "")]
    assert "Decide" not in answer.text


def test_denial_needs_a_reason_and_keeps_it(browser: httpx.Client, desk: Desk) -> None:
    log_in(browser)
    form = form_of(browser.get("/proposals/p-1"))
    assert "B423" in browser.post("/proposals/p-1/deny", data={**form, "reason": "   "}).text
    assert not desk.decided
    browser.post("/proposals/p-1/deny", data={**form, "reason": "known\u202e experiment"})
    assert desk.decided == [("deny", "p-1", "ada", "known\\u202e experiment")]


def test_the_author_of_the_bad_change_is_told_so_and_refused(browser: httpx.Client, desk: Desk) -> None:
    log_in(browser, "bo")
    page = browser.get("/proposals/p-1")
    assert "You may not approve this" in page.text
    answer = browser.post("/proposals/p-1/approve", data=form_of(page))
    assert answer.status_code == 409
    assert "B402" in answer.text
    assert not desk.decided


@pytest.mark.parametrize(
    ("changes", "headers"),
    [
        ({"csrf": ""}, {}),
        ({"csrf": "x" * 43}, {}),
        ({}, {"Origin": "http://evil.example"}),
        ({}, {"Sec-Fetch-Site": "cross-site"}),
        ({}, {"Sec-Fetch-Site": "same-site"}),
    ],
)
def test_a_forged_form_decides_nothing(
    browser: httpx.Client, desk: Desk, changes: dict[str, str], headers: dict[str, str]
) -> None:
    log_in(browser)
    form = form_of(browser.get("/proposals/p-1")) | changes
    assert browser.post("/proposals/p-1/approve", data=form, headers=headers).status_code == 403
    assert not desk.decided


def test_one_persons_form_secret_is_worth_nothing_to_another(url: str, desk: Desk) -> None:
    with (
        httpx.Client(base_url=url, follow_redirects=True, trust_env=False) as first,
        httpx.Client(base_url=url, follow_redirects=True, trust_env=False) as second,
    ):
        log_in(first)
        log_in(second)
        form = form_of(first.get("/proposals/p-1"))
        assert second.post("/proposals/p-1/approve", data=form).status_code == 403
    assert not desk.decided


def test_a_stale_page_decides_nothing(browser: httpx.Client, desk: Desk) -> None:
    log_in(browser)
    form = form_of(browser.get("/proposals/p-1"))
    desk.views["p-1"] = view(digest="sha256:" + "0" * 64)
    answer = browser.post("/proposals/p-1/approve", data=form)
    assert answer.status_code == 409
    assert "B405" in answer.text


def test_the_cookie_cannot_be_read_by_scripts_or_sent_across_sites(browser: httpx.Client) -> None:
    answer = browser.post("/login", data={"token": TOKENS["ada"]}, follow_redirects=False)
    cookie = answer.headers["set-cookie"].lower()
    assert "httponly" in cookie
    assert "samesite=strict" in cookie
    assert TOKENS["ada"] not in answer.headers["set-cookie"]


def test_a_session_ends_by_time_and_by_logging_out(browser: httpx.Client, clock: Clock) -> None:
    page = log_in(browser)
    clock.now = SESSION_SECONDS + 1
    assert browser.get("/").url.path == "/login"
    page = log_in(browser)
    csrf = re.findall(r'name="csrf" value="([^"]+)"', page.text)[0]
    kept = dict(browser.cookies)
    browser.post("/logout", data={"csrf": csrf})
    browser.cookies.update(kept)
    assert browser.get("/").url.path == "/login"


def test_guessing_tokens_is_slowed_down_and_then_allowed_again(browser: httpx.Client, clock: Clock) -> None:
    for _ in range(MAX_FAILURES):
        assert browser.post("/login", data={"token": "wrong"}).status_code == 401
    assert browser.post("/login", data={"token": TOKENS["ada"]}).status_code == 429
    limited = browser.get("/api/status", headers={"Authorization": f"Bearer {TOKENS['ada']}"})
    assert limited.status_code == 429
    assert int(limited.headers["retry-after"]) > 0
    clock.now = 61
    log_in(browser)


def test_another_host_name_reaches_nothing(url: str) -> None:
    with httpx.Client(trust_env=False) as client:
        assert client.get(f"{url}/login", headers={"Host": "evil.example"}).status_code == 421
        assert client.get(f"{url}/health").status_code == 200


def test_pages_allow_no_foreign_script_or_frame(browser: httpx.Client) -> None:
    for path in ("/login", "/static/inbox.js", "/api/status"):
        headers = browser.get(path).headers
        assert "default-src 'none'" in headers["content-security-policy"]
        assert "frame-ancestors 'none'" in headers["content-security-policy"]
        assert headers["x-content-type-options"] == "nosniff"


HOSTILE = "<script>alert(1)</script>\u202e{{7*7}}\x1b[31m<!channel>"


def test_hostile_text_is_shown_as_text(url: str) -> None:
    for field in ("title", "summary", "model", "diff", "bad_version", "good_version", "proposer"):
        desk = Desk(view(**{field: HOSTILE}))
        server = InboxServer(Inbox(desk, desk))
        with httpx.Client(base_url=server.start(), follow_redirects=True, trust_env=False) as client:
            log_in(client)
            for path in ("/", "/proposals/p-1"):
                page = client.get(path).text
                assert "<script>alert" not in page
                assert "\u202e" not in page
                assert "\x1b" not in page
                assert ("{{7*7}}" in page) == ("&lt;script&gt;" in page)
        server.stop()


def test_a_large_body_is_refused_before_it_is_read(browser: httpx.Client) -> None:
    assert browser.post("/login", data={"token": "x" * (MAX_BODY + 1)}).status_code == 413


def test_api_acts_only_as_the_owner_of_the_token(browser: httpx.Client, desk: Desk) -> None:
    digest = desk.views["p-1"].digest
    for headers in ({}, {"Authorization": "Bearer nobody"}, {"Authorization": f"Basic {TOKENS['ada']}"}):
        assert browser.post("/api/proposals/p-1/approve", json={"digest": digest}, headers=headers).status_code == 401
    refused = browser.post(
        "/api/proposals/p-1/approve", json={"digest": digest}, headers={"Authorization": f"Bearer {TOKENS['bo']}"}
    )
    assert refused.status_code == 409
    assert refused.json()["code"] == "B402"
    taken = browser.post(
        "/api/proposals/p-1/approve",
        json={"digest": digest, "person": "bo"},
        headers={"Authorization": f"Bearer {TOKENS['ada']}"},
    )
    assert taken.json()["person"] == "ada"
    assert desk.decided == [("approve", "p-1", "ada", "")]


def test_a_browser_session_is_worth_nothing_to_the_api(browser: httpx.Client, desk: Desk) -> None:
    log_in(browser)
    answer = browser.post("/api/proposals/p-1/approve", json={"digest": desk.views["p-1"].digest})
    assert answer.status_code == 401
    assert not desk.decided


@pytest.mark.parametrize(
    "body", [b"", b"[]", b"{", b'{"digest": 1}', b"null", b'{"digest": "x", "reason": []}', b"[" * 60_000]
)
def test_bad_api_bodies_get_a_clear_no(browser: httpx.Client, body: bytes) -> None:
    answer = browser.post("/api/proposals/p-1/deny", content=body, headers={"Authorization": f"Bearer {TOKENS['ada']}"})
    assert answer.status_code == 400
    assert answer.json()["code"] == "B425"


def test_the_revision_changes_with_what_is_shown(browser: httpx.Client) -> None:
    log_in(browser)
    before = browser.get("/revision").text
    browser.post("/proposals/p-1/approve", data=form_of(browser.get("/proposals/p-1")))
    assert browser.get("/revision").text != before


def test_health_says_only_whether_the_bot_is_well(browser: httpx.Client, desk: Desk) -> None:
    assert browser.get("/health").text == "ok\n"
    desk.healthy = False
    assert browser.get("/health").status_code == 503


def test_an_address_that_means_nothing_is_a_page_for_people_and_a_line_for_programs(browser: httpx.Client) -> None:
    found = browser.get("/nowhere", headers={"Accept": "text/html"})
    assert (found.status_code, '<html lang="en">' in found.text, 'href="/"' in found.text) == (404, True, True)
    assert found.headers["content-security-policy"]
    assert browser.get("/nowhere", headers={"Accept": "*/*"}).text == "Not Found\n"
    refused = browser.get("/logout", headers={"Accept": "text/html"})
    assert (refused.status_code, refused.headers["allow"]) == (405, "POST")


def test_methods_that_change_nothing_decide_nothing(browser: httpx.Client, desk: Desk) -> None:
    log_in(browser)
    assert browser.get("/proposals/p-1/approve").status_code in {404, 405}
    assert not desk.decided
