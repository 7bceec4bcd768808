"""The page on which a person links their account on GitHub, and the one to which GitHub sends the browser back.

An invitation from chat alone links nothing: whoever opens it must be logged in as the person it was made for.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from starlette.concurrency import run_in_threadpool
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from trimtab_bot.inbox.app import CONTENT_POLICY, form_of
from trimtab_bot.inbox.round_trip import RoundTrip
from trimtab_bot.linking.links import LINK_PATH, REDIRECT_PATH
from trimtab_kernel.problems import OutsideError, RefusedError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from starlette.requests import Request

    from trimtab_bot.inbox.app import Inbox
    from trimtab_bot.linking.links import GitHubLinks

PATH = "/account"
UNLINK_PATH = "/account/unlink"
COOKIE = "trimtab_github_link"
_INVITATION = re.compile(r"/account/link\?ticket=[A-Za-z0-9_-]{20,80}", re.ASCII)


class LinkPages:
    """See :class:`trimtab_bot.inbox.app.MorePages`."""

    links: tuple[tuple[str, str], ...] = ((PATH, "Account"),)

    def __init__(self, links: GitHubLinks, site: str, public_url: str = "") -> None:
        """``site`` is where people log in at GitHub; ``public_url`` where browsers reach the inbox, "" for each request's own."""
        self._links = links
        self._site = site
        self._trip = RoundTrip(COOKIE, REDIRECT_PATH, "Nothing was linked", public_url)

    def leads_to(self, path: str) -> bool:
        """See MorePages."""
        return path == PATH or _INVITATION.fullmatch(path) is not None

    def routes(self, inbox: Inbox) -> list[Route]:
        """See MorePages."""

        async def show(request: Request) -> Response:
            known = inbox.session(request)
            if not known:
                return RedirectResponse(f"/login?next={PATH}", 303)
            return await self._shown(inbox, request, known[1].id, "")

        async def invited(request: Request) -> Response:
            ticket = request.query_params.get("ticket", "")
            known = inbox.session(request)
            if known:
                return await self._shown(inbox, request, known[1].id, ticket)
            path = f"{LINK_PATH}?ticket={ticket}"
            if not self.leads_to(path):
                return self._trip.refusal(inbox, request, 400, "B480 this was not handed out here; begin again")
            if request.headers.get("sec-fetch-site", "none") == "cross-site":
                # From chat the session's cookie does not come along; from a page of ours it does.
                return inbox.page("go_on.html", request, path=path)
            return RedirectResponse(f"/login?next={path}", 303)

        async def begin(request: Request) -> Response:
            known = inbox.session(request)
            if not known:
                return RedirectResponse(f"/login?next={PATH}", 303)
            session, person = known
            form = await form_of(request)
            if inbox.forged(request, session, form):
                return self._trip.refusal(
                    inbox, request, 403, "B422 this form is not from this page; nothing was begun"
                )
            base, ticket = self._trip.base(request), form.get("ticket", "")
            try:
                if ticket:
                    await run_in_threadpool(self._links.accept, person.id, ticket)
                url, handed = await run_in_threadpool(self._links.begin, person.id, base)
            except RefusedError as error:
                return self._trip.refusal(inbox, request, 403, str(error))
            except OutsideError as error:
                return self._trip.refusal(inbox, request, 503, str(error))
            return self._trip.sent(request, url, handed.browser)

        async def end(request: Request) -> Response:
            return await self._trip.returned(inbox, request, self._finish)

        async def unlink(request: Request) -> Response:
            known = inbox.session(request)
            if not known:
                return RedirectResponse(f"/login?next={PATH}", 303)
            session, person = known
            if inbox.forged(request, session, await form_of(request)):
                return self._trip.refusal(
                    inbox, request, 403, "B422 this form is not from this page; nothing was changed"
                )
            try:
                await run_in_threadpool(self._links.unlink, person.id)
            except OutsideError as error:
                return self._trip.refusal(inbox, request, 503, str(error))
            return RedirectResponse(PATH, 303)

        return [
            Route(PATH, show, methods=["GET"]),
            Route(LINK_PATH, invited, methods=["GET"]),
            Route(LINK_PATH, begin, methods=["POST"]),
            Route(UNLINK_PATH, unlink, methods=["POST"]),
            Route(REDIRECT_PATH, end, methods=["GET"]),
        ]

    def _finish(self, query: Mapping[str, str], browser: str, base: str) -> tuple[str, str]:
        link = self._links.finish(query, browser, base)
        account = f"{link.login} (account {link.account})"
        return "Linked", f"{account} is {link.person}'s from now on. Approvals are submitted as its reviews."

    async def _shown(self, inbox: Inbox, request: Request, person: str, ticket: str) -> Response:
        try:
            link = await run_in_threadpool(self._links.of, person)
        except OutsideError as error:
            return self._trip.refusal(inbox, request, 503, str(error))
        answer = inbox.page("account.html", request, link=link, ticket=ticket)
        # The form is answered by a redirect to GitHub, which a page's policy has to allow by name.
        answer.headers["Content-Security-Policy"] = CONTENT_POLICY.replace(
            "form-action 'self'", f"form-action 'self' {self._site}"
        )
        return answer
