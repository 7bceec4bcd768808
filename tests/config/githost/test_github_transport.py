"""What the network can do to a question and its answer: an OutsideError each time, and no write sent a second time."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
import requests
import responses
from github import Auth

from trimtab_config.githost.conversation import Check, CheckState
from trimtab_config.githost.github import connect
from trimtab_config.githost.github_conversation import GitHubConversation
from trimtab_config.githost.github_reading import ConditionalReader, RateGate, outside
from trimtab_kernel.problems import OutsideError

API = "https://api.github.test:8443/api/v3"
COMMENTS = f"{API}/repos/acme/fleet/issues/1/comments"
TOKEN = "ghp_a-very-secret-token"
WHOLE: dict[str, Any] = {
    "id": 5,
    "body": "/trimtab status",
    "user": {"id": 7, "login": "ada", "type": "User"},
    "created_at": "2026-11-22T10:00:00Z",
    "updated_at": "2026-11-22T10:00:00Z",
}


@pytest.fixture
def network() -> Iterator[responses.RequestsMock]:
    with responses.RequestsMock(assert_all_requests_are_fired=False) as mock:
        yield mock


def conversation(gate: RateGate | None = None) -> GitHubConversation:
    client = connect(API, Auth.Token(TOKEN), 0)
    return GitHubConversation(client, "acme/fleet", 77, gate or RateGate())


FAULTS: dict[str, dict[str, Any]] = {
    "connection reset": {"body": requests.ConnectionError(104, "Connection reset by peer")},
    "half a body": {
        "body": requests.exceptions.ChunkedEncodingError("Connection broken: IncompleteRead(10 bytes read)")
    },
    "no answer": {"body": requests.ReadTimeout("read timed out")},
    "wrong certificate": {"body": requests.exceptions.SSLError("certificate verify failed: unable to get issuer")},
    "proxy": {"body": requests.exceptions.ProxyError("cannot connect")},
    "not JSON": {"body": "<html>unicorn</html>"},
    "JSON cut off": {"body": json.dumps([WHOLE])[:-20]},
    "empty": {"body": ""},
    "another shape": {"json": {"message": "hello"}},
    "fields missing": {"json": [{"id": 5}]},
    "wrong types": {"json": [{**WHOLE, "id": "5"}]},
    "wrong time": {"json": [{**WHOLE, "created_at": "yesterday"}]},
    "teapot": {"status": 418, "json": {"message": "short\nand\x1b[31m stout"}},
    "bad credentials": {"status": 401, "json": {"message": "Bad credentials"}},
    "error that is no JSON": {"status": 500, "body": "oops"},
    "redirect to another host": {"status": 301, "headers": {"Location": "https://evil.test/steal"}},
    "redirect without a place": {"status": 302},
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_of_the_network_is_the_outsides_and_shows_no_secret(
    network: responses.RequestsMock, fault: str
) -> None:
    network.get(COMMENTS, **FAULTS[fault])
    stolen = network.get("https://evil.test/steal", json=[])
    with pytest.raises(OutsideError) as caught:
        conversation().remarks(1)
    text = str(caught.value)
    assert "comments on pull request 1" in text or "not whole" in text
    assert TOKEN not in text
    assert text.isprintable()
    assert stolen.call_count == 0


@pytest.mark.parametrize(
    ("status", "headers", "seconds"),
    [
        (403, {"Retry-After": "30"}, 30),
        (429, {"Retry-After": "5"}, 5),
        (429, {}, 60),
        (403, {"X-RateLimit-Remaining": "0", "X-RateLimit-Reset": "1090"}, 91),
        (403, {"X-RateLimit-Remaining": "0", "X-RateLimit-Reset": "rubbish"}, 60),
        (429, {"Retry-After": "99999999"}, 3600),
        (429, {"Retry-After": "-5"}, 1),
    ],
)
def test_a_limit_shuts_the_gate_for_as_long_as_github_says(
    network: responses.RequestsMock, status: int, headers: dict[str, str], seconds: float
) -> None:
    """Nothing sleeps: the caller hears how long, and what is asked before then is not sent."""
    now = [1000.0]
    gate = RateGate(lambda: now[0])
    asked = network.get(COMMENTS, status=status, headers=headers, json={"message": "API rate limit exceeded"})
    talk = conversation(gate)
    with pytest.raises(OutsideError) as caught:
        talk.remarks(1)
    assert caught.value.retry_after == pytest.approx(seconds)
    count = asked.call_count
    now[0] += seconds - 0.5
    with pytest.raises(OutsideError, match="left alone"):
        talk.remarks(1)
    assert asked.call_count == count == 1
    now[0] += 1
    with pytest.raises(OutsideError):
        talk.remarks(1)
    assert asked.call_count == 2


def test_a_write_is_sent_once_whatever_comes_back(network: responses.RequestsMock) -> None:
    network.get(COMMENTS, json=[])
    for fault in (
        {"status": 502, "json": {}},
        {"body": requests.ConnectionError("reset")},
        {"status": 403, "json": {}},
    ):
        sent = network.post(COMMENTS, **fault)
        with pytest.raises(OutsideError):
            conversation().answer(1, "comment/5", "hello")
        assert sent.call_count == 1
        network.remove(sent)


def test_an_answer_of_ours_is_found_again_and_a_forged_one_is_not(network: responses.RequestsMock) -> None:
    first = "<!-- trimtab:answer:1:comment/5 -->"
    network.get(COMMENTS, json=[{**WHOLE, "body": f"{first}\r\nforged"}, {**WHOLE, "body": first, "user": None}])
    sent = network.post(COMMENTS, status=201, json=WHOLE)
    conversation().answer(1, "comment/5", "hello")
    assert json.loads(sent.calls[0].request.body or "")["body"] == f"{first}\nhello"
    network.replace("GET", COMMENTS, json=[{**WHOLE, "body": f"{first}\r\nhello", "user": {"id": 77}}])
    conversation().answer(1, "comment/5", "hello")
    assert sent.call_count == 1


def test_what_has_not_changed_is_taken_from_memory_and_a_full_page_has_a_next_one(
    network: responses.RequestsMock,
) -> None:
    page = [{**WHOLE, "id": number} for number in range(1, 101)]
    one = network.get(f"{COMMENTS}?per_page=100&page=1", json=page, headers={"ETag": '"one"'})
    two = network.get(f"{COMMENTS}?per_page=100&page=2", json=[])
    talk = conversation()
    assert len(talk.remarks(1)) == 100
    network.remove(one)
    network.remove(two)
    again = network.get(f"{COMMENTS}?per_page=100&page=1", status=304)
    network.get(f"{COMMENTS}?per_page=100&page=2", json=[{**WHOLE, "id": 101, "updated_at": "2026-11-22T10:00:01Z"}])
    found = talk.remarks(1)
    assert [each.id for each in found] == list(range(1, 102))
    assert [each.id for each in found if each.edited] == [101]
    assert again.calls[0].request.headers["If-None-Match"] == '"one"'
    # A list without an end decides nothing.
    network.get(f"{COMMENTS}?per_page=100", json=page)
    for number in range(1, 30):
        network.upsert("GET", f"{COMMENTS}?per_page=100&page={number}", json=page)
    with pytest.raises(OutsideError, match="more than 2000 items"):
        talk.remarks(1)


def test_an_object_that_cannot_change_is_asked_for_once(network: responses.RequestsMock) -> None:
    asked = network.get(f"{API}/repos/acme/fleet/git/commits/{'0' * 40}", json={"sha": "0" * 40})
    reader = ConditionalReader(connect(API, Auth.Token(TOKEN), 0))
    for _ in range(3):
        with outside("cannot look"):
            assert reader.get(f"/repos/acme/fleet/git/commits/{'0' * 40}", never_changes=True)[1]["sha"] == "0" * 40
    assert asked.call_count == 1


def test_a_limit_is_no_reason_to_write_a_status_instead(network: responses.RequestsMock) -> None:
    runs = f"{API}/repos/acme/fleet/commits/{'a' * 40}/check-runs"
    network.get(runs, status=403, headers={"Retry-After": "9"}, json={"message": "secondary rate limit"})
    status = network.post(f"{API}/repos/acme/fleet/statuses/{'a' * 40}", status=201, json={})
    with pytest.raises(OutsideError) as caught:
        conversation().check("a" * 40, Check("proof", CheckState.PASSED, "proven", ""))
    assert caught.value.retry_after == 9
    assert status.call_count == 0
