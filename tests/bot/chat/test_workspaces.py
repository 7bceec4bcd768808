"""Several workspaces: installed by OAuth, each with its own token, channel, message and people; and how that is attacked."""

from __future__ import annotations

import logging
import re
import sqlite3
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.bot.chat.test_slack import wait_until
from tests.bot.rig import PEOPLE, TOKENS, Site
from tests.rigs.slack import Fault, SlackRig, slack
from trimtab_bot.chat.service import Installing, installing, slack_chat
from trimtab_bot.chat.slack.blocks import APPROVE
from trimtab_bot.chat.slack.pages import COOKIE
from trimtab_bot.chat.slack.workspaces import KIND
from trimtab_bot.inbox.app import Inbox
from trimtab_bot.inbox.server import InboxServer
from trimtab_bot.sealing import Seal, new_key, reseal_all
from trimtab_bot.tickets import SECONDS
from trimtab_kernel.problems import OutsideError, RefusedError

HOME, SECOND = "T0HOME", "T0SECOND"
MEMBERS = {"ada": [f"{HOME}/U0ADA", f"{SECOND}/U2ADA"], "cy": [f"{SECOND}/U0CY"], "bo": [f"{HOME}/U0BO"]}


@dataclass
class Office:
    """A bot in two workspaces: its chat as `trimtab bot run` starts it, and the inbox with the install page."""

    site: Site
    rig: SlackRig
    seal: Seal
    installed: Installing
    url: str

    @contextmanager
    def browser(self, person: str = "ada") -> Iterator[httpx.Client]:
        """A browser in which somebody has logged in to the inbox."""
        with httpx.Client(base_url=self.url, trust_env=False) as made:
            answer = made.post("/login", data={"token": TOKENS[person], "next": "/slack/install"})
            assert answer.headers["location"] == "/slack/install"
            yield made

    def begin(self, browser: httpx.Client) -> str:
        """Press "Add to Slack"; gives the address at Slack."""
        page = browser.get("/slack/install").text
        csrf = re.findall(r'name="csrf" value="([^"]+)"', page)[-1]
        answer = browser.post("/slack/install", data={"csrf": csrf})
        assert answer.status_code == 303, answer.text
        return answer.headers["location"]

    def install(self, team: str, person: str = "ada") -> httpx.Response:
        """The whole way, as a person goes it."""
        with self.browser(person) as browser:
            return browser.get(self.rig.oauth.consent(self.begin(browser), team))

    def of(self, team: str) -> dict[str, Any]:
        """The workspace's message, once it is there."""
        wait_until(lambda: any(each["_team"] == team for each in self.rig.messages.values()))
        (found,) = [each for each in self.rig.messages.values() if each["_team"] == team]
        return found


def section(rig: SlackRig, folder: Path) -> dict[str, Any]:
    (folder / "client.secret").write_text(rig.oauth.client_secret)
    (folder / "app").write_text(rig.app_token)
    return {
        "workspaces": {HOME: {"channel": "C0FLEET"}, SECOND: {"channel": "C0OPS"}},
        "oauth": {
            "clientId": rig.oauth.client_id,
            "clientSecretFile": str(folder / "client.secret"),
            "authorizeUrl": f"{rig.url}/oauth/v2/authorize",
        },
        "appTokenFile": str(folder / "app"),
        "apiUrl": f"{rig.url}/api/",
    }


@pytest.fixture
def office(site: Site, tmp_path: Path) -> Iterator[Office]:
    with ExitStack() as stack:
        rig = stack.enter_context(slack())
        rig.oauth.tokens.clear()
        rig.oauth.teams |= {"T0ELSE"}
        for user, team in (("U0ADA", HOME), ("U2ADA", SECOND), ("U0CY", SECOND), ("U0BO", HOME)):
            rig.person(user, team)
        (tmp_path / "seal.keys").write_text(f"{new_key()}\n")
        people = [{**each, "slack": MEMBERS.get(each["id"], [])} for each in PEOPLE]
        site.configure(slack=section(rig, tmp_path), people=people, secrets={"keyFile": str(tmp_path / "seal.keys")})
        site.restart()
        assert site.configuration.secrets is not None
        seal = Seal.read(site.configuration.secrets)
        found = installing(site.configuration, site.store, seal, lambda: site.now)
        assert found is not None
        inbox = Inbox(site.bot.decisions, site.configuration.people, more=(found.pages,))
        server = InboxServer(inbox)
        stack.callback(server.stop)
        yield Office(site, rig, seal, found, server.start())


def chat(office: Office) -> Any:  # noqa: ANN401 - a context manager
    site, settings = office.site, office.site.configuration.slack
    assert settings is not None
    core = (site.configuration, settings, site.store, site.bot.decisions, site.bot.commands, site.events)
    return slack_chat(*core, lambda: site.now, installed=office.installed)


def test_two_workspaces_one_message_each_and_a_click_counts_where_it_was_made(office: Office) -> None:
    site, rig = office.site, office.rig
    rig.oauth.rotates, rig.oauth.expires_in = True, 60  # so that every look renews
    assert "is installed" in office.install(HOME).text
    proposal = site.broken()
    with chat(office):
        first = office.of(HOME)
        assert {each["_team"] for each in rig.messages.values()} == {HOME}, "nobody installed the other one yet"
        wait_until(lambda: any(SECOND in e["text"] and "not installed" in e["text"] for e in site.events.of("chat")))
        renewed = dict(rig.oauth.tokens)
        assert "is installed" in office.install(SECOND).text
        second = office.of(SECOND)
        assert (first["channel"], second["channel"]) == ("C0FLEET", "C0OPS")
        assert proposal.title in str(second["blocks"])
        wait_until(lambda: not renewed.items() & rig.oauth.tokens.items())  # tokens go on, messages go on

        # A person is one person by workspace and member together.
        refused = (
            ("U0CY", first, HOME, "B440"),  # cy is nobody in the first workspace
            ("U0ADA", second, SECOND, "B440"),  # an id of the first workspace means nothing in the second
            ("U0BO", first, HOME, "B405"),
            ("U0ADA", first, "T0ELSE", "B441"),
        )
        for user, message, team, code in refused:
            assert code in rig.press(user, APPROVE, message, team)[0]["text"], (user, team)
            assert code in rig.type(user, f"approve {proposal.id} {proposal.ballot.digest[-64:]}", team)
        # Shared channel: somebody of the second workspace presses the first one's button.
        assert "B441" in rig.press("U2ADA", APPROVE, first, HOME, user_team=SECOND)[0]["text"]
        assert site.proposal().ballot.votes == ()
        assert "approv" in rig.press("U0CY", APPROVE, second, SECOND)[0]["text"]
        assert [vote.person for vote in site.proposal().ballot.votes] == ["cy"]
        site.tick()
        wait_until(lambda: not any(APPROVE in str(office.of(team)["blocks"]) for team in (HOME, SECOND)))
    assert len(rig.messages) == 2


@pytest.mark.long
def test_a_workspace_that_removes_the_app_is_heard_no_more_and_the_other_goes_on(office: Office) -> None:
    site, rig = office.site, office.rig
    for team in (HOME, SECOND):
        office.install(team)
    site.broken()
    with chat(office):
        message, second = office.of(HOME), office.of(SECOND)
        rig.await_listener()
        # An old event that comes again does not end what was installed since.
        rig.tell(HOME, {"type": "app_uninstalled"}, site.now - 600)
        rig.tell(HOME, {"type": "tokens_revoked", "tokens": {"bot": ["U0OTHER"], "oauth": []}}, site.now + 1)
        assert office.installed.workspaces.has(HOME)
        rig.uninstall(HOME, site.now + 1)
        wait_until(lambda: not office.installed.workspaces.has(HOME))
        assert "B441" in rig.press("U0ADA", APPROVE, message)[0]["text"]
        assert "approv" in rig.press("U0CY", APPROVE, second, SECOND)[0]["text"]
        rig.tell(SECOND, {"type": "tokens_revoked", "tokens": {"bot": [f"U0{SECOND}"]}}, site.now + 1)
        wait_until(lambda: not office.installed.workspaces.has(SECOND))
    site.bot.loop.tick()
    removed = site.events.of("workspace-removed")
    assert [each["team"] for each in removed] == [HOME, SECOND]
    assert {each["person"] for each in site.events.of("workspace-installed")} == {"ada"}


@pytest.mark.long
def test_after_a_restart_no_workspace_gets_a_second_message(office: Office) -> None:
    site, rig = office.site, office.rig
    for team in (HOME, SECOND):
        office.install(team)
    site.broken()
    rig.faults = [Fault("chat.postMessage", 502, after=True)]  # of one of them; both are looked for or kept

    def kept() -> bool:
        with site.store.reading() as view:
            found = [view.chat_message(site.incident().id, team) for team in (HOME, SECOND)]
        return all(each is not None and each.id for each in found)

    def told() -> bool:
        return {each["thread_ts"] for each in rig.replies} == rig.messages.keys()

    for done in (kept, told):
        with chat(office):
            wait_until(done)
        site.now += 61
    assert sorted(each["_team"] for each in rig.messages.values()) == [HOME, SECOND]


def test_what_comes_back_to_the_install_page_is_refused_each_with_its_reason(office: Office) -> None:
    rig = office.rig
    outcomes: dict[str, tuple[int, str]] = {}

    def tried(name: str, browser: httpx.Client, url: str) -> None:
        answer = browser.get(url)
        outcomes[name] = (answer.status_code, answer.text)

    with office.browser() as ada, office.browser("cy") as other, httpx.Client(trust_env=False) as bare:
        tried("forged state", ada, f"{office.url}/slack/oauth_redirect?code=code-1-of-{HOME}&state={'x' * 43}")
        tried("no state", ada, f"{office.url}/slack/oauth_redirect?code=code-1-of-{HOME}")
        office.begin(other)
        tried("code of another browser", other, rig.oauth.consent(office.begin(ada), HOME))
        tried("a browser without cookies", bare, rig.oauth.consent(office.begin(ada), HOME))
        url = rig.oauth.consent(office.begin(ada), HOME)
        office.site.now += SECONDS + 1
        tried("expired state", ada, url)
        tried("a workspace that is not listed", ada, rig.oauth.consent(office.begin(ada), "T0ELSE"))
        url = rig.oauth.consent(office.begin(ada), HOME)
        tried("wrong code", ada, url.replace("code-", "code-9"))
        rig.oauth.enterprise = True
        tried("a whole organisation", ada, rig.oauth.consent(office.begin(ada), HOME))
        rig.oauth.enterprise = False
        tried("cancelled", ada, f"{office.url}/slack/oauth_redirect?error=access_denied")
        ticket = office.installed.pages._installer._tickets.issue("github-link", "ada")
        tried("mixed-up issuer", ada, f"{office.url}/slack/oauth_redirect?code=x&state={ticket.value}")
        assert rig.oauth.tokens == {}, "what was refused was given back"
        url = rig.oauth.consent(office.begin(ada), HOME)
        kept = ada.cookies.get(COOKIE) or ""
        assert ada.get(url).status_code == 200
        ada.cookies.set(COOKIE, kept, path="/slack/oauth_redirect")
        tried("replayed redirect", ada, url)
        code = url.partition("code=")[2].partition("&")[0]
        ada.cookies.delete(COOKIE)
        state = rig.oauth.consent(office.begin(ada), HOME).partition("state=")[2]
        tried("used code", ada, f"{office.url}/slack/oauth_redirect?code={code}&state={state}")
        form = other.post("/slack/install", data={"csrf": "forged"})
        outcomes["forged form"] = (form.status_code, form.text)
    wanted = {
        "forged state": "B480",
        "no state": "B480",
        "code of another browser": "B483",
        "a browser without cookies": "B483",
        "expired state": "B481",
        "replayed redirect": "B482",
        "mixed-up issuer": "B484",
        "wrong code": "B488",
        "used code": "B488",
        "cancelled": "B488 somebody pressed Cancel",
        "a workspace that is not listed": "B489",
        "a whole organisation": "B490",
        "forged form": "B422",
    }
    assert {name: reason in outcomes[name][1] for name, reason in wanted.items()} == dict.fromkeys(wanted, True)
    assert {status for status, _ in outcomes.values()} == {403}
    assert list(rig.oauth.tokens.values()) == [HOME]


def test_tokens_are_in_no_file_log_or_page_and_keys_are_turned_over(
    office: Office, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    site, rig = office.site, office.rig
    rig.oauth.rotates = True
    rig.faults = [Fault("oauth.v2.access", 429, headers={"Retry-After": "0"})]  # which is waited for
    page = office.install(HOME).text
    with office.browser() as browser:
        page += browser.get("/slack/install").text
        browser.get(rig.oauth.consent(office.begin(browser), "T0ELSE"))
    site.tick()
    secrets = [*rig.oauth.tokens, *rig.oauth.refresh, *rig.oauth.codes, rig.oauth.client_secret]
    assert len(secrets) >= 5
    written = b"".join(each.read_bytes() for each in site.configuration.state.rglob("*") if each.is_file())
    told = "".join(map(str, site.events.seen)) + page
    # The test's own client and pytest's look at the server's access log, which is off, write addresses with codes.
    told += "".join(
        each.getMessage() for each in caplog.records if not each.name.startswith(("http", "uvicorn.access"))
    )
    assert [each for each in secrets if each.encode() in written or each in told] == []
    assert "&lt;T0HOME&gt;" in page, "what a workspace is called is text"

    with site.store.reading() as view:
        (before,) = view.all_sealed(KIND)
    newest = tmp_path / "seal.keys"
    newest.write_text(f"{new_key()}\n{newest.read_text()}")
    seal = Seal.read(newest)
    assert (reseal_all(site.store, seal, (KIND,)), reseal_all(site.store, seal, (KIND,))) == (1, 0)
    with site.store.reading() as view:
        (after,) = view.all_sealed(KIND)
    assert seal.open(f"{KIND}/{HOME}", after.body) == office.seal.open(f"{KIND}/{HOME}", before.body)
    only_new = Seal([newest.read_text().split()[0]])
    assert only_new.open(f"{KIND}/{HOME}", after.body)
    for place, text in ((f"{KIND}/{HOME}", before.body), (f"{KIND}/{SECOND}", after.body)):
        with pytest.raises(OutsideError):
            only_new.open(place, text)


def test_a_row_that_somebody_moves_to_another_workspace_is_refused(office: Office) -> None:
    office.install(HOME)
    with closing(sqlite3.connect(office.site.configuration.store_path)) as connection, connection:
        connection.execute("UPDATE sealed SET key = ?, owner = ?", (SECOND, SECOND))
    with pytest.raises(OutsideError, match="belongs to"):
        office.installed.workspaces.client(SECOND)
    with office.browser() as browser:
        assert "install it again" in browser.get("/slack/install").text


def test_a_viewer_and_a_stranger_install_nothing(office: Office) -> None:
    with office.browser("vi") as viewer:
        page = viewer.get("/slack/install").text
        csrf = re.findall(r'name="csrf" value="([^"]+)"', page)[-1]
        assert "B403" in viewer.post("/slack/install", data={"csrf": csrf}).text
    with httpx.Client(base_url=office.url, trust_env=False) as stranger:
        assert stranger.get("/slack/install").headers["location"] == "/login?next=/slack/install"
        assert stranger.post("/slack/install").headers["location"] == "/login?next=/slack/install"
        # Nobody is sent elsewhere by a link to the login.
        answer = stranger.post("/login", data={"token": TOKENS["ada"], "next": "//evil.example/"})
        assert answer.headers["location"] == "/"


def test_a_token_that_cannot_be_renewed_is_said_without_showing_it(office: Office) -> None:
    office.rig.oauth.rotates, office.rig.oauth.expires_in = True, 60
    office.install(HOME)
    office.rig.oauth.refresh.clear()
    with pytest.raises(OutsideError, match="invalid_refresh_token; install the app again") as caught:
        office.installed.workspaces.refresh(HOME)
    assert "xoxe" not in str(caught.value)
    found = office.installed.installations.of(HOME)
    assert found is not None
    found.team_id = "T0ELSE"
    with pytest.raises(RefusedError, match="B489"):
        office.installed.installations.save(found)
