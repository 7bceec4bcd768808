"""A browser that is sent to another site to consent, and comes back: the cookie that ties both ends, and what is shown.

The redirect back comes from another site, so the session's cookie does not come with it; a cookie of the trip's own (HttpOnly,
SameSite=Lax) tells that it is the same browser.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from starlette.concurrency import run_in_threadpool
from starlette.responses import RedirectResponse, Response

from trimtab_bot.tickets import SECONDS
from trimtab_kernel.problems import OutsideError, RefusedError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from starlette.requests import Request

    from trimtab_bot.inbox.app import Inbox


class RoundTrip:
    """One kind of trip. Stateless; any request may use it."""

    def __init__(self, cookie: str, path: str, failure: str, public_url: str = "") -> None:
        """``path`` is where the browser comes back to, ``failure`` the title of a page that tells why nothing came of it.

        ``public_url`` is the address under which browsers reach the inbox; that of each request where it is "".
        """
        self._cookie = cookie
        self._path = path
        self._failure = failure
        self._public_url = public_url

    def base(self, request: Request) -> str:
        """Where browsers reach us. The Host header is one of those that the server was told to answer to."""
        return self._public_url or f"{request.url.scheme}://{request.headers['host']}"

    def refusal(self, inbox: Inbox, request: Request, status: int, reason: str) -> Response:
        """A page with the reason."""
        return inbox.page("notice.html", request, status, title=self._failure, text=reason)

    def sent(self, request: Request, url: str, browser: str) -> Response:
        """On its way to ``url``, with ``browser`` as what only this browser knows."""
        answer = RedirectResponse(url, 303)
        secure = self.base(request).startswith("https:")
        answer.set_cookie(
            self._cookie, browser, int(SECONDS), path=self._path, httponly=True, samesite="lax", secure=secure
        )
        return answer

    async def returned(
        self, inbox: Inbox, request: Request, finish: Callable[[Mapping[str, str], str, str], tuple[str, str]]
    ) -> Response:
        """Back again: ``finish`` gets the query, the browser's secret and our address, in a thread; gives title and text.

        What it raises (RefusedError, OutsideError) is told; the trip is over either way.
        """
        query, browser = dict(request.query_params), request.cookies.get(self._cookie, "")
        try:
            title, text = await run_in_threadpool(finish, query, browser, self.base(request))
        except RefusedError as error:
            answer = self.refusal(inbox, request, 403, str(error))
        except OutsideError as error:
            answer = self.refusal(inbox, request, 503, str(error))
        else:
            answer = inbox.page("notice.html", request, title=title, text=text)
        answer.delete_cookie(self._cookie, path=self._path, httponly=True, samesite="lax")
        return answer
