"""The page from which the app is installed into a workspace, and the one to which Slack sends the browser back.

Who begins has logged in to the inbox. Slack's redirect comes from another site, so the session's cookie does not come with it;
the ticket knows who began, and a cookie of its own (HttpOnly, SameSite=Lax) that it is the same browser.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from starlette.concurrency import run_in_threadpool
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from trimtab_bot.chat.slack.installing import INSTALL_PATH, REDIRECT_PATH
from trimtab_bot.inbox.app import CONTENT_POLICY, form_of
from trimtab_bot.inbox.round_trip import RoundTrip
from trimtab_kernel.problems import OutsideError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from starlette.requests import Request

    from trimtab_bot.chat.slack.installing import Installer
    from trimtab_bot.chat.slack.workspaces import SealedInstallations
    from trimtab_bot.inbox.app import Inbox

COOKIE = "trimtab_slack_install"


@dataclass(frozen=True, slots=True)
class _Row:
    team: str
    name: str
    channel: str
    installed_at: float
    failure: str


class InstallPages:
    """See :class:`trimtab_bot.inbox.app.MorePages`."""

    links: tuple[tuple[str, str], ...] = ((INSTALL_PATH, "Slack"),)

    def __init__(
        self,
        installer: Installer,
        installations: SealedInstallations,
        channels: Mapping[str, str],
        authorize_url: str,
        public_url: str = "",
    ) -> None:
        """``public_url`` is the address under which browsers reach the inbox; that of each request where it is ""."""
        self._installer = installer
        self._installations = installations
        self._channels = dict(channels)
        parts = urlsplit(authorize_url)
        self._slack = f"{parts.scheme}://{parts.netloc}"
        self._trip = RoundTrip(COOKIE, REDIRECT_PATH, "Nothing was installed", public_url)

    def leads_to(self, path: str) -> bool:
        """See MorePages."""
        return path == INSTALL_PATH

    def routes(self, inbox: Inbox) -> list[Route]:
        """See MorePages."""

        async def show(request: Request) -> Response:
            if not inbox.session(request):
                return RedirectResponse(f"/login?next={INSTALL_PATH}", 303)
            rows = await run_in_threadpool(self._rows)
            answer = inbox.page("slack.html", request, workspaces=rows)
            # The form is answered by a redirect to Slack, which a page's policy has to allow by name.
            answer.headers["Content-Security-Policy"] = CONTENT_POLICY.replace(
                "form-action 'self'", f"form-action 'self' {self._slack}"
            )
            return answer

        async def begin(request: Request) -> Response:
            known = inbox.session(request)
            if not known:
                return RedirectResponse(f"/login?next={INSTALL_PATH}", 303)
            session, person = known
            if inbox.forged(request, session, await form_of(request)):
                return self._trip.refusal(
                    inbox, request, 403, "B422 this form is not from this page; nothing was begun"
                )
            if not person.may_decide:
                return self._trip.refusal(inbox, request, 403, f'B403 "{person.id}" has not the role "approver"')
            try:
                begun = await run_in_threadpool(self._installer.begin, person.id, self._trip.base(request))
            except OutsideError as error:
                return self._trip.refusal(inbox, request, 503, str(error))
            return self._trip.sent(request, begun.url, begun.browser)

        async def end(request: Request) -> Response:
            return await self._trip.returned(inbox, request, self._finish)

        return [
            Route(INSTALL_PATH, show, methods=["GET"]),
            Route(INSTALL_PATH, begin, methods=["POST"]),
            Route(REDIRECT_PATH, end, methods=["GET"]),
        ]

    def _finish(self, query: Mapping[str, str], browser: str, base: str) -> tuple[str, str]:
        installed = self._installer.finish(query, browser, base)
        team = installed.team_id or ""
        return (
            "Installed",
            f"The app is installed in {installed.team_name or ''} ({installed.team_id}). Invite it to {self._channels[team]}.",
        )

    def _rows(self) -> list[_Row]:
        found = []
        for team, channel in sorted(self._channels.items()):
            try:
                known = self._installations.of(team)
            except OutsideError:
                found.append(_Row(team, "", channel, 0.0, "cannot be opened with the keys; install it again"))
                continue
            name = "" if known is None else known.team_name or ""
            found.append(_Row(team, name, channel, 0.0 if known is None else float(known.installed_at or 0.0), ""))
        return found
