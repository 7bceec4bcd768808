"""Whose account on GitHub is whose, as people proved it by logging in there; and the tokens that came with it, under seal.

An account is its numeric id; a name can change hands. One account has one person and one person one account. A link counts as long
as GitHub takes its token: one that was revoked, here or there, ends it.
"""

from __future__ import annotations

import secrets
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING

from trimtab_bot.ledger.interface import EntryKind
from trimtab_bot.linking.github import Tokens
from trimtab_bot.moments import moment_text
from trimtab_bot.recording import record
from trimtab_bot.store.interface import Sealed
from trimtab_config.githost.github_person import GitHubPerson, TokenGoneError
from trimtab_kernel.problems import RefusedError, printable

if TYPE_CHECKING:
    from collections.abc import Mapping

    from trimtab_bot.linking.github import GitHubOAuth
    from trimtab_bot.moments import Clock
    from trimtab_bot.sealing import Seal
    from trimtab_bot.store.interface import Store
    from trimtab_bot.tickets import HandedOut, Tickets

KIND = "github-link"
PURPOSE = "github-link"
START = "github-start"
REDIRECT_PATH = "/github/callback"
LINK_PATH = "/account/link"
_BELIEVED_SECONDS = 60.0
_EARLY_SECONDS = 300.0


@dataclass(frozen=True, slots=True)
class Link:
    """A person's account. ``login`` is what it was called when it was linked."""

    person: str
    account: int
    login: str
    linked_at: float


class LinkEndedError(Exception):
    """The link has ended; the message says why."""


class GitHubLinks:
    """Implements :class:`trimtab_bot.reviews.accounts.Links`. Any thread may use it.

    Tokens are renewed by who leads alone (:meth:`token`, :meth:`person`): GitHub takes a refresh token once.
    """

    def __init__(
        self,
        store: Store,
        seal: Seal,
        oauth: GitHubOAuth,
        tickets: Tickets,
        api_url: str,
        configured: Mapping[int, str],
        clock: Clock,
        public_url: str = "",
    ) -> None:
        """``configured`` maps accounts of the configuration to persons; ``public_url`` is where browsers reach the inbox."""
        self._store = store
        self._seal = seal
        self._oauth = oauth
        self._tickets = tickets
        self._api_url = api_url
        self._configured = dict(configured)
        self._clock = clock
        self._public_url = public_url
        self._lock = threading.Lock()
        self._seen: dict[int, float] = {}

    # ------------------------------------------------ making one

    def invitation(self, person: str) -> str:
        """The address of a page on which this person, logged in to the inbox, begins; "" where browsers' address is not known."""
        if not self._public_url:
            return ""
        handed = self._tickets.issue(START, person, any_browser=True)
        return f"{self._public_url}{LINK_PATH}?ticket={handed.value}"

    def accept(self, person: str, ticket: str) -> None:
        """The person came with an invitation. Raises RefusedError (B480 to B482, B485)."""
        found = self._tickets.take(START, ticket)
        if found.person != person:
            raise RefusedError("B485", "this link is for another person; ask for one of your own")

    def begin(self, person: str, base: str) -> tuple[str, HandedOut]:
        """Where the person says yes at GitHub, and what was handed out for it. ``base`` is our own address.

        Raises RefusedError (B487) where they have an account already.
        """
        known = self.of(person)
        if known is not None:
            raise RefusedError("B487", f"your account {known.login} is linked already; unlink it first")
        verifier = secrets.token_urlsafe(48)
        handed = self._tickets.issue(PURPOSE, person, self._seal.seal(PURPOSE, {"verifier": verifier}))
        return self._oauth.authorize_url(handed.value, verifier, f"{base}{REDIRECT_PATH}"), handed

    def finish(self, query: Mapping[str, str], browser: str, base: str) -> Link:
        """What GitHub sent back, with the browser's secret. Raises RefusedError with the reason, and OutsideError."""
        ticket = self._tickets.take(PURPOSE, query.get("state", ""), browser)
        if query.get("iss", self._oauth.site) != self._oauth.site:  # RFC 9207, where it is sent
            raise RefusedError(
                "B484", f"this came from {printable(query['iss'], 100)}, and began at {self._oauth.site}"
            )
        if "error" in query:
            raise RefusedError("B488", f"GitHub sent back: {printable(query['error'], 60)}; nothing was linked")
        if not query.get("code"):
            raise RefusedError("B488", "GitHub sent no code back; begin again")
        verifier = str(self._seal.open(PURPOSE, ticket.body)["verifier"])
        tokens = self._oauth.exchange(query["code"], verifier, f"{base}{REDIRECT_PATH}")
        try:
            return self._keep(ticket.person, tokens)
        except RefusedError:
            self._oauth.revoke(tokens)
            raise

    def _keep(self, person: str, tokens: Tokens) -> Link:
        acting = GitHubPerson(self._api_url, tokens.access)
        try:
            account = acting.account()
        finally:
            acting.close()
        owner = self._configured.get(account.id, person)
        if owner != person:
            raise RefusedError("B486", f"account {printable(account.login, 60)} is listed as another person's")
        at = self._clock()
        link = Link(person, account.id, account.login, at)
        with self._store.transaction() as work:
            other = work.sealed(KIND, str(account.id))
            if other is not None and other.owner != person:
                raise RefusedError("B486", f"account {printable(account.login, 60)} is linked to another person")
            try:
                work.put_sealed(self._sealed(link, tokens))
            except ValueError:
                raise RefusedError("B487", "an account of yours is linked already; unlink it first") from None
            text = printable(f"{person} linked GitHub account {account.id} ({account.login})", 200)
            key = f"github/{account.id}/linked/{moment_text(at)}"
            subject = f"person/{person}"
            work.add_record(
                record(*(key, EntryKind.DECISION, at, subject, "linked"), person=person, account=account.id, text=text)
            )
        return link

    # ------------------------------------------------ what is linked

    def of(self, person: str) -> Link | None:
        """The person's link. Raises OutsideError."""
        found = self._find(person)
        return None if found is None else found[0]

    def owner(self, account: int) -> str | None:
        """Whose account it is here, without asking GitHub. Raises OutsideError."""
        with self._store.reading() as view:
            found = view.sealed(KIND, str(account))
        return None if found is None else found.owner

    def person(self, account: int) -> str | None:
        """See Links: asked of GitHub, and believed for a minute. Raises OutsideError where GitHub does not answer."""
        with self._store.reading() as view:
            found = view.sealed(KIND, str(account))
        if found is None:
            return None
        if self._clock() - self._seen.get(account, float("-inf")) < _BELIEVED_SECONDS:
            return found.owner
        try:
            _, token = self.token(found.owner)
            acting = GitHubPerson(self._api_url, token)
            try:
                is_theirs = acting.account().id == account
            finally:
                acting.close()
        except LinkEndedError:
            return None
        except TokenGoneError:
            self.ended(found.owner, "GitHub no longer takes the token: it was revoked there")
            return None
        if not is_theirs:
            self.ended(found.owner, "the token is another account's now")
            return None
        self._seen[account] = self._clock()
        return found.owner

    def token(self, person: str) -> tuple[Link, str]:
        """The person's link and a token that holds. Raises LinkEndedError and OutsideError."""
        with self._lock:
            found = self._find(person)
            if found is None:
                raise LinkEndedError("the link was taken back")
            link, tokens = found
            if not tokens.expires_at or tokens.expires_at - self._clock() > _EARLY_SECONDS:
                return link, tokens.access
            renewed = self._oauth.refreshed(tokens) if tokens.refresh else None
            if renewed is None:
                reason = "the token has ended and GitHub renews it no more"
                self.ended(person, reason)
                raise LinkEndedError(reason)
            with self._store.transaction() as work:
                still = work.sealed(KIND, str(link.account))
                if still is None or still.owner != person:
                    raise LinkEndedError("the link was taken back")
                work.put_sealed(self._sealed(link, renewed))
            return link, renewed.access

    def unlink(self, person: str, why: str = "the person took it back") -> Link | None:
        """End a person's link, here and at GitHub; gives what it was."""
        found = self._find(person)
        if found is None:
            return None
        self.ended(person, why)
        self._oauth.revoke(found[1])
        return found[0]

    def ended(self, person: str, why: str) -> None:
        """The person's link counts no more."""
        found = self._find(person)
        if found is None:
            return
        link, at = found[0], self._clock()
        with self._store.transaction() as work:
            if not work.drop_sealed(KIND, str(link.account)):
                return
            text = f"{person} is no longer linked to GitHub account {link.account}: {why}"
            key = f"github/{link.account}/unlinked/{moment_text(at)}"
            words = {"person": person, "text": printable(text, 300)}
            subject = f"person/{person}"
            work.add_record(record(key, EntryKind.DECISION, at, subject, "unlinked", account=link.account, **words))
        self._seen.pop(link.account, None)

    def _find(self, person: str) -> tuple[Link, Tokens] | None:
        with self._store.reading() as view:
            found = next((each for each in view.all_sealed(KIND) if each.owner == person), None)
        if found is None:
            return None
        kept = self._seal.open(f"{KIND}/{found.key}/{found.owner}", found.body)
        link = Link(found.owner, int(found.key), str(kept["login"]), found.at)
        return link, Tokens(str(kept["access"]), str(kept["refresh"]), float(kept["expires_at"]))

    def _sealed(self, link: Link, tokens: Tokens) -> Sealed:
        kept = {
            "login": link.login,
            "access": tokens.access,
            "refresh": tokens.refresh,
            "expires_at": tokens.expires_at,
        }
        body = self._seal.seal(f"{KIND}/{link.account}/{link.person}", kept)
        return Sealed(KIND, str(link.account), link.person, link.linked_at, body)
