"""A person's own account on GitHub: linked by logging in there, used for their own reviews, and how that is attacked."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import httpx
import pytest

from tests.bot.counts import CountsSource
from tests.bot.github_site import ADA, BO, CY, EVE, GitHubSite
from tests.bot.rig import PEOPLE, TOKENS
from tests.rigs.github import Fault, User
from trimtab_bot.approvals.machine import Phase
from trimtab_bot.assembly import Ports, assemble, github_links
from trimtab_bot.commands import Actor, Where
from trimtab_bot.connections import connections
from trimtab_bot.inbox.app import Inbox
from trimtab_bot.inbox.interface import Accepted
from trimtab_bot.inbox.server import InboxServer
from trimtab_bot.ledger.sqlite import SqliteLedger
from trimtab_bot.linking.github import site_of
from trimtab_bot.linking.links import LinkEndedError
from trimtab_bot.linking.pages import COOKIE
from trimtab_bot.reviews.accounts import Accounts
from trimtab_bot.reviews.listener import Listener
from trimtab_bot.sealing import new_key
from trimtab_bot.store.sql import SqlStore
from trimtab_bot.tickets import SECONDS

PUBLIC = "http://127.0.0.1"
QUORUM = 2


class LinkedSite(GitHubSite):
    """A site on GitHub where people link their accounts; only bo's stands in the configuration."""

    def configure(self, **changes: object) -> None:
        (self.folder / "client.secret").write_text(self.rig.oauth.client_secret)
        if not (self.folder / "seal.keys").exists():
            (self.folder / "seal.keys").write_text(f"{new_key()}\n")
        github = changes["github"]
        assert isinstance(github, dict)
        changes["github"] = {**github, "oauth": {"clientId": "Iv1.rig", "clientSecretFile": "client.secret"}}
        changes["people"] = [{**each, "github": [6] if each["id"] == "bo" else []} for each in PEOPLE]
        changes["approval"] = {"quorum": QUORUM, "expiry": "4h"}
        super().configure(**changes, secrets={"keyFile": "seal.keys"}, inbox={"publicUrl": PUBLIC})
        self.rig.oauth.clock = lambda: self.now

    def restart(self) -> None:
        self.close()
        configuration = self.configuration
        self.store = SqlStore.open(configuration.store_path)
        self._stack.callback(self.store.close)
        self.ledger = SqliteLedger(configuration.ledger_path)
        self._stack.callback(self.ledger.close)
        self.host, refresh = self.git_host(configuration)
        found = github_links(configuration, self.store, lambda: self.now)
        assert found is not None
        self.links = found
        source = CountsSource(self.fleet.path, lambda: self.now)
        talk = (self.side.conversation, self.side.account)
        self.ports = Ports(self.store, self.ledger, self.host, source, refresh, *talk, links=found)
        self.bot = assemble(configuration, self.ports, self.events, lambda: self.now)

    def listener(self) -> Listener:
        settings, conversation = self.configuration.github, self.side.conversation
        assert settings is not None
        assert conversation is not None
        accounts = Accounts(settings.people, self.links)
        core = (self.bot.decisions, self.bot.commands, self.store, accounts)
        return Listener(conversation, *core, self.side.account, lambda: self.now)

    def serve(self) -> str:
        """The inbox with its pages; gives its address, under which the browser is known to GitHub too."""
        made = connections(self.configuration, self.ports, lambda: self.now)
        for each in made.pages:
            each._trip._public_url = ""  # type: ignore[attr-defined]  # the port is known only now
        inbox = Inbox(self.bot.decisions, self.configuration.people, commands=self.bot.commands, more=made.pages)
        server = InboxServer(inbox)
        self.stack.callback(server.stop)
        self.url = server.start()
        return self.url

    @contextmanager
    def browser(self, person: str) -> Iterator[httpx.Client]:
        """A browser in which somebody has logged in to the inbox."""
        with httpx.Client(base_url=self.url, trust_env=False) as made:
            assert made.post("/login", data={"token": TOKENS[person]}).status_code == 303
            yield made

    def begin(self, browser: httpx.Client, ticket: str = "") -> httpx.Response:
        """Press "Link my GitHub account"."""
        page = browser.get("/account").text
        csrf = re.findall(r'name="csrf" value="([^"]+)"', page)[-1]
        return browser.post("/account/link", data={"csrf": csrf, **({"ticket": ticket} if ticket else {})})

    def at_github(self, browser: httpx.Client, user: User) -> str:
        """Say yes there as somebody; gives where GitHub sends the browser."""
        return self.rig.oauth.consent(self.begin(browser).headers["location"], user)

    def link(self, person: str, user: User) -> None:
        """The whole way, as a person goes it."""
        with self.browser(person) as browser:
            answer = browser.get(self.at_github(browser, user))
        assert "Linked" in answer.text, answer.text

    def invited(self, person: str) -> str:
        """``/trimtab link github`` in chat; gives the ticket."""
        reply = self.bot.commands.say("link github", Actor(person, f"slack:T/{person}"), Where("slack"))
        assert reply.done, reply.text
        return reply.text.rpartition("ticket=")[2]

    def reviews_of(self, user: User) -> list[tuple[str, str]]:
        return [(each.state, each.commit) for each in self.rig.reviews.values() if each.user.id == user.id]


@pytest.fixture
def site(tmp_path: Path) -> Iterator[LinkedSite]:
    with ExitStack() as stack:
        made = LinkedSite(tmp_path, stack)
        made.serve()
        yield made
        made.close()


def test_an_approval_is_the_persons_own_review_once_and_before_the_merge(site: LinkedSite) -> None:
    site.rig.oauth.expires_in = 200  # so short that it is renewed before each use
    site.link("ada", ADA)
    first = set(site.rig.oauth.tokens)
    proposal = site.broken()
    head = proposal.ballot.binding.head
    assert isinstance(site.approve("ada"), Accepted)
    # What GitHub answered is lost; a new process finds the review instead of submitting another.
    site.rig.faults = [Fault("POST", "/pulls/1/reviews$", 502, after=True)]
    site.tick()
    assert site.reviews_of(ADA) == [("APPROVED", head)]
    site.restart()
    site.tick(2)
    assert site.reviews_of(ADA) == [("APPROVED", head)]
    assert any("ada's own review" in line for line in site.timeline())
    assert not first & set(site.rig.oauth.tokens)
    # It is no second approval, and dismissed it takes back the first.
    listener = site.listener()
    listener.step()
    assert [vote.person for vote in site.proposal().ballot.votes] == ["ada"]
    assert site.answers() == []
    (review,) = site.rig.reviews.values()
    review.state = "DISMISSED"
    listener.step()
    assert site.proposal().ballot.votes == ()
    site.tick()
    assert len(site.reviews_of(ADA)) == 1, "what somebody dismissed is not submitted again"
    # Taken back here, it is dismissed there, and nobody answers that; approved anew, it is a review anew.
    assert isinstance(site.approve("ada"), Accepted)
    site.tick()
    assert site.reviews_of(ADA) == [("DISMISSED", head), ("APPROVED", head)]
    said = site.answers()
    site.bot.decisions.revoke(proposal.id, "ada", proposal.ballot.digest)
    site.rig.faults = [Fault("PUT", "/dismissals$", 502, after=True)]
    site.tick(2)
    listener.step()
    assert site.reviews_of(ADA) == [("DISMISSED", head)] * 2
    assert site.answers() == said

    site.link("cy", CY)
    assert isinstance(site.approve("ada"), Accepted)
    assert isinstance(site.approve("cy"), Accepted)
    before = len(site.rig.log)
    site.tick()
    assert site.reviews_of(CY) == [("APPROVED", head)]
    assert len(site.origin.merges_of_the_bot()) == 1
    order = [f"{method} {path}" for method, path, _ in site.rig.log[before:] if method != "GET"]
    moved = next(number for number, each in enumerate(order) if each.endswith("/git/refs/heads/main"))
    assert moved > order.index("POST /repos/acme/fleet/pulls/1/reviews")
    events = site.events.names()
    assert (events.count("reviewing"), events.count("reviewed"), events.count("withdrawn-review")) == (4, 4, 1)
    assert site.reviews_of(ADA)[2:] == [("APPROVED", head)]


@pytest.mark.long
def test_a_link_that_has_ended_counts_no_more_and_says_so(site: LinkedSite) -> None:
    site.link("ada", ADA)
    site.link("cy", CY)
    proposal = site.broken()
    listener = site.listener()
    command = f"/trimtab approve {proposal.id} {proposal.ballot.digest.removeprefix('sha256:')[:12]}"
    site.rig.say(1, CY, command)
    listener.step()
    assert [vote.person for vote in site.proposal().ballot.votes] == ["cy"], "by the account that was linked"
    # ada ends it at GitHub, in her settings: her approval counts here, and there is no review.
    site.rig.oauth.forget(ADA)
    site.approve("ada")
    site.tick()
    assert site.proposal().ballot.phase is Phase.MERGED
    assert site.reviews_of(ADA) == []
    assert site.reviews_of(CY) == [("APPROVED", proposal.ballot.binding.head)]
    told = [line for line in site.timeline() if "no review of ada's own" in line]
    assert len(told) == 1
    assert "B491" in told[0]
    assert "revoked there" in told[0]
    assert site.links.of("ada") is None
    # What she says on the pull request is a stranger's now; so is what cy says once cy took the link back.
    site.now += 61
    reply = site.bot.commands.say("unlink github", Actor("cy", "slack:T/cy"), Where("slack"))
    assert reply.done
    assert len(site.rig.oauth.revoked) == 1, "GitHub was told"
    for user in (ADA, CY):
        site.rig.say(1, user, "/trimtab status")
    listener.step((1,))
    assert sum("B440" in each for each in site.answers()) == 2, site.answers()
    with pytest.raises(LinkEndedError):
        site.links.token("cy")


@pytest.mark.long
def test_where_github_does_not_take_the_review_the_merge_goes_on_and_the_story_says_why(site: LinkedSite) -> None:
    site.link("ada", ADA)
    site.link("cy", CY)
    site.rig.oauth.permissions.clear()
    site.broken()
    for person in ("ada", "cy"):
        site.approve(person)
    site.rig.faults = [Fault("POST", "/reviews$", 503, times=1)]
    site.tick()
    assert site.origin.merges_of_the_bot() == [], "it is tried again first"
    site.tick()
    assert site.proposal().ballot.phase is Phase.MERGED
    told = [line for line in site.timeline() if "B491" in line]
    assert ["not accessible by integration" in line for line in told] == [True, True]


def test_what_comes_back_from_github_is_refused_each_with_its_reason(
    site: LinkedSite, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    oauth = site.rig.oauth
    outcomes: dict[str, tuple[int, str]] = {}

    def tried(name: str, answer: httpx.Response) -> None:
        outcomes[name] = (answer.status_code, answer.text)

    with site.browser("ada") as ada, site.browser("cy") as cy, httpx.Client(trust_env=False) as bare:
        tried("forged state", ada.get(f"{site.url}/github/callback?code=x&state={'x' * 43}"))
        tried("code of another browser", bare.get(site.at_github(ada, ADA)))
        site.at_github(cy, CY)
        tried("somebody else's browser", cy.get(site.at_github(ada, ADA)))
        url = site.at_github(ada, ADA)
        site.now += SECONDS + 1
        tried("expired state", ada.get(url))
        url = site.at_github(ada, ADA)
        tried("mixed-up issuer", ada.get(f"{url}&iss=https%3A%2F%2Fevil.example"))
        slack = site.links._tickets.issue("slack-install", "ada")
        tried("state of another service", ada.get(f"{site.url}/github/callback?code=x&state={slack.value}"))
        # Somebody's own code put into ada's flow: PKCE binds the code to who began.
        foreign = site.at_github(cy, EVE).partition("code=")[2].partition("&")[0]
        state = site.at_github(ada, ADA).partition("state=")[2]
        tried("injected code", ada.get(f"{site.url}/github/callback?code={foreign}&state={state}"))
        state = site.at_github(ada, ADA).partition("state=")[2]
        tried("cancelled", ada.get(f"{site.url}/github/callback?error=access_denied&state={state}"))
        tried("an account listed as another's", ada.get(site.at_github(ada, BO)))
        # The invitation of ada, opened by cy.
        ticket = site.invited("ada")
        tried("stolen link", site.begin(cy, ticket))
        tried("stolen link, used up", site.begin(ada, ticket))
        answer = site.begin(ada, site.invited("ada"))
        url = oauth.consent(answer.headers["location"], ADA)
        kept = ada.cookies.get(COOKIE) or ""
        assert "Linked" in ada.get(url).text
        ada.cookies.set(COOKIE, kept, domain="127.0.0.1", path="/github/callback")
        tried("replayed redirect", ada.get(url))
        tried("second account", site.begin(ada))
        tried("an account of another person", cy.get(site.at_github(cy, ADA)))
        tried("forged form", cy.post("/account/link", data={"csrf": "x"}))
        tried("forged unlink", ada.post("/account/unlink", data={"csrf": "x"}))
        public = site.bot.commands.say("link github", Actor("cy", "github:8"), Where("github", "pull/1"))
        outcomes["asked for in public"] = (403, public.text)
        stranger = bare.get(f"{site.url}/account/link?ticket={site.invited('cy')}")
        assert stranger.headers["location"].startswith("/login?next=/account/link?ticket=")
        from_chat = bare.get(
            f"{site.url}/account/link?ticket={site.invited('cy')}", headers={"Sec-Fetch-Site": "cross-site"}
        )
        assert "Go on" in from_chat.text
    wanted = {
        "forged state": "B480",
        "expired state": "B481",
        "replayed redirect": "B482",
        "stolen link, used up": "B482",
        "code of another browser": "B483",
        "somebody else's browser": "B483 this",
        "mixed-up issuer": "B484 this came from https://evil.example",
        "state of another service": "B484 this was handed out for slack-install",
        "stolen link": "B485",
        "an account listed as another's": "B486 account bo is listed",
        "an account of another person": "B486 account ada is linked",
        "second account": "B487",
        "injected code": "B488 GitHub did not take the code",
        "cancelled": "B488 GitHub sent back: access_denied",
        "forged form": "B422",
        "forged unlink": "B422",
        "asked for in public": "B492",
    }
    plain = {name: text.replace("&#39;", "'") for name, (_, text) in outcomes.items()}
    assert {name: reason in plain[name] for name, reason in wanted.items()} == dict.fromkeys(wanted, True)
    assert {status for status, _ in outcomes.values()} == {403}
    with site.store.reading() as view:
        assert [each.key for each in view.all_sealed("github-link")] == [str(ADA.id)]
    assert [user.login for user, _ in oauth.tokens.values()] == ["ada"], "what was refused was given back"

    # Nothing of it is anywhere but under seal.
    site.tick()
    secrets = [*oauth.tokens, *oauth.refresh, *oauth.revoked, *oauth.codes, oauth.client_secret]
    written = b"".join(each.read_bytes() for each in site.configuration.state.rglob("*") if each.is_file())
    # The test's own client and pytest's look at the server's access log, which is off, write addresses with codes.
    told = "".join(each.getMessage() for each in caplog.records if not each.name.startswith(("http", "uvicorn.access")))
    told += "".join(map(str, site.events.seen)) + "".join(text for _, text in outcomes.values())
    urls = [each for each in told.split() if "access_token" in each]
    assert [each for each in secrets if each.encode() in written or each in told] == [], urls
    assert {each["person"] for each in site.events.of("linked")} == {"ada"}


@pytest.mark.parametrize(
    ("api", "site_url"),
    [
        ("https://api.github.com", "https://github.com"),
        ("https://github.example.org/api/v3/", "https://github.example.org"),
        ("https://api.acme.ghe.com", "https://acme.ghe.com"),
    ],
)
def test_where_people_log_in_follows_from_the_api(api: str, site_url: str) -> None:
    assert site_of(api) == site_url
