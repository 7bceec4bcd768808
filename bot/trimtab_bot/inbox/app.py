"""The inbox's pages and JSON API (Starlette).

Two ways to say who you are. A browser logs in once with a token and gets a session cookie (HttpOnly, SameSite=Strict);
every form carries the session's own secret, and a request that a browser marks as coming from another site is refused
(Fetch Metadata, W3C). A program sends ``Authorization: Bearer TOKEN``; a browser never adds that header by itself, so
such requests need no form secret. The Host header must be one that this server was told to answer to, so that a name
that is made to point at loopback (DNS rebinding) reaches nothing. Pages hold no script but our own.
"""

from __future__ import annotations

import dataclasses
import json
import logging
import time
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.responses import HTMLResponse, JSONResponse, PlainTextResponse, RedirectResponse, Response
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles

from trimtab_bot.commands import Actor, Where
from trimtab_bot.inbox.drawing import draw
from trimtab_bot.inbox.interface import Accepted, DecisionResult, Refused
from trimtab_bot.inbox.sessions import SESSION_SECONDS, GuessBrake, Sessions
from trimtab_bot.inbox.times import ago, utc
from trimtab_kernel.problems import printable

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Collection, Sequence

    from starlette.requests import Request
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

    from trimtab_bot.commands import Commands
    from trimtab_bot.inbox.interface import Decisions, Directory, PersonView
    from trimtab_bot.inbox.sessions import Session

COOKIE = "trimtab_session"
MAX_BODY = 64 * 1024
MAX_REASON = 2000
_ROOM = Path(__file__).parent
_LOG = logging.getLogger("trimtab.inbox")
CONTENT_POLICY = (
    "default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'; "
    "img-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
_HEADERS = {
    "Content-Security-Policy": CONTENT_POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
}


class MorePages(Protocol):
    """Pages of another part of the bot, under the inbox's address."""

    links: tuple[tuple[str, str], ...]
    """What every page links to: the path and its words."""

    def routes(self, inbox: Inbox) -> list[Route]:
        """The routes; ``inbox`` says who asks, and draws."""
        ...

    def leads_to(self, path: str) -> bool:
        """Whether this is a path of theirs to which somebody may be sent after logging in."""
        ...


class _Gate:
    """In front of every route: known Host only, small bodies only, security headers on every answer."""

    def __init__(self, app: ASGIApp, hosts: Collection[str]) -> None:
        self._app = app
        self._hosts = frozenset(hosts)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = dict(scope["headers"])
        refusal = self._refusal(headers)
        received = 0

        async def counted() -> Message:
            nonlocal received
            message = await receive()
            received += len(message.get("body", b""))
            if received > MAX_BODY:
                # A body without a true Content-Length; the client is cut off as if it had gone away.
                return {"type": "http.disconnect"}
            return message

        async def guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                own = {name for name, _ in message["headers"]}
                extra = [(k.lower().encode(), v.encode()) for k, v in _HEADERS.items() if k.lower().encode() not in own]
                message = {**message, "headers": [*message["headers"], *extra]}
            await send(message)

        await (refusal or self._app)(scope, counted, guarded)

    def _refusal(self, headers: dict[bytes, bytes]) -> Response | None:
        host = headers.get(b"host", b"").decode("latin-1").lower()
        if host not in self._hosts:
            return PlainTextResponse("this server does not answer to that host name\n", 421)
        length = headers.get(b"content-length", b"0")
        if not length.isdigit() or int(length) > MAX_BODY:
            return PlainTextResponse(f"request body is larger than {MAX_BODY} bytes\n", 413)
        return None


class Inbox:
    """The routes. ``clock`` is monotonic seconds for sessions; ``wall`` is Unix seconds for "3 minutes ago"."""

    def __init__(
        self,
        decisions: Decisions,
        directory: Directory,
        *,
        commands: Commands | None = None,
        clock: Callable[[], float] = time.monotonic,
        wall: Callable[[], float] = time.time,
        more: Sequence[MorePages] = (),
    ) -> None:
        """``more`` are pages of other parts, behind the same doors."""
        self._more = tuple(more)
        self._decisions = decisions
        self._directory = directory
        self._commands = commands
        self._clock = clock
        self._wall = wall
        self._sessions = Sessions()
        self._brake = GuessBrake()
        self._templates = Environment(
            loader=FileSystemLoader(_ROOM / "templates"),
            autoescape=True,
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        self._templates.filters["ago"] = self._ago
        self._templates.filters["utc"] = utc
        self._templates.filters["shown"] = lambda text: printable(str(text), 20_000)

    # ------------------------------------------------------------ who is asking

    def session(self, request: Request) -> tuple[Session, PersonView] | None:
        """Who has logged in with this browser."""
        session = self._sessions.find(request.cookies.get(COOKIE), self._clock())
        person = self._directory.by_id(session.person_id) if session else None
        return (session, person) if session and person else None

    def _address(self, request: Request) -> str:
        return request.client.host if request.client else "unknown"

    def _bearer(self, request: Request) -> PersonView | Response:
        scheme, _, token = request.headers.get("authorization", "").partition(" ")
        address, now = self._address(request), self._clock()
        wait = self._brake.seconds_to_wait(address, now)
        if wait > 0:
            return _api_error(429, "B420", f"too many wrong tokens; try again in {wait:.0f} s", wait)
        person = self._directory.by_token(token.strip()) if scheme.lower() == "bearer" and token.strip() else None
        if person is None:
            if token:
                self._brake.failed(address, now)
                _LOG.warning("a wrong token was sent to the API from %s", address)
            return _api_error(401, "B421", "no valid token; send 'Authorization: Bearer TOKEN'")
        return person

    def forged(self, request: Request, session: Session, form: dict[str, str]) -> bool:
        """Whether a form was not sent from a page of ours in this very session."""
        site = request.headers.get("sec-fetch-site", "same-origin")
        origin = request.headers.get("origin")
        own = f"{request.url.scheme}://{request.headers['host']}"
        # Browsers send "null" for a form of a page with no-referrer policy in some versions; the form secret decides then.
        return (
            site not in {"same-origin", "none"}
            or (origin is not None and origin not in {own, "null"})
            or not session.csrf_matches(form.get("csrf", ""))
        )

    # ------------------------------------------------------------ pages

    def page(self, name: str, request: Request, code: int = 200, /, **values: object) -> HTMLResponse:
        """A template, with what every page shows."""
        known = self.session(request)
        template = self._templates.get_template(name)
        text = template.render(
            person=known[1] if known else None,
            csrf=known[0].csrf if known else "",
            now=self._wall(),
            links=[link for each in self._more for link in each.links],
            **values,
        )
        return HTMLResponse(text, code)

    def _ago(self, at: float) -> str:
        return ago(at, self._wall())

    async def front(self, request: Request) -> Response:
        """The list of proposals and what is watched."""
        if not self.session(request):
            return RedirectResponse("/login", 303)
        return self.page("list.html", request, proposals=self._decisions.proposals(), status=self._decisions.status())

    async def detail(self, request: Request) -> Response:
        """One proposal with its evidence and, where open, the two buttons."""
        if not self.session(request):
            return RedirectResponse("/login", 303)
        return self._detail(request)

    def _detail(self, request: Request, status: int = 200, notice: str = "", refused: bool = False) -> Response:
        view = self._decisions.proposal(request.path_params["proposal"])
        if view is None:
            return self.page("notice.html", request, 404, title="No such proposal", text="It may have been closed.")
        return self.page(
            "proposal.html",
            request,
            status,
            p=view,
            drawing=draw(view.gauge) if view.gauge else None,
            revision=self._decisions.status().revision,
            notice=notice,
            refused=refused,
        )

    async def decide(self, request: Request) -> Response:
        """A button of the page."""
        known = self.session(request)
        if not known:
            return RedirectResponse("/login", 303)
        session, person = known
        form = await form_of(request)
        if self.forged(request, session, form):
            _LOG.warning("a decision without the form's secret was refused for %s", person.id)
            return self._detail(
                request, 403, "B422 this form is not from this page; nothing was decided. Try again.", True
            )
        result = self._decide(request, person, form.get("digest", ""), form.get("reason", ""))
        if isinstance(result, Accepted):
            return RedirectResponse(f"/proposals/{request.path_params['proposal']}", 303)
        return self._detail(request, 409, f"{result.code} {result.reason}", True)

    def _decide(self, request: Request, person: PersonView, digest: str, reason: str) -> DecisionResult:
        proposal, verb = request.path_params["proposal"], request.path_params["verb"]
        if verb == "approve":
            return self._decisions.approve(proposal, person.id, digest)
        reason = reason.strip()
        if not reason or len(reason) > MAX_REASON:
            return Refused("B423", f"a denial needs a reason of 1 to {MAX_REASON} characters")
        return self._decisions.deny(proposal, person.id, digest, printable(reason, MAX_REASON))

    async def login(self, request: Request) -> Response:
        """The form, and its answer."""
        form = {} if request.method == "GET" else await form_of(request)
        wanted = form.get("next", request.query_params.get("next", ""))
        then = wanted if any(each.leads_to(wanted) for each in self._more) else "/"
        if request.method == "GET":
            return self.page("login.html", request, notice="", then=then)
        address, now = self._address(request), self._clock()
        if self._brake.seconds_to_wait(address, now) > 0:
            return self.page(
                "login.html", request, 429, notice="Too many wrong tokens. Wait a minute, then try again.", then=then
            )
        if request.headers.get("sec-fetch-site", "same-origin") not in {"same-origin", "none"}:
            notice = "That form came from another site. Log in here."
            return self.page("login.html", request, 403, notice=notice, then=then)
        person = self._directory.by_token(form.get("token", "").strip())
        if person is None:
            self._brake.failed(address, now)
            _LOG.warning("a wrong token was entered from %s", address)
            return self.page(
                "login.html",
                request,
                401,
                notice="That token belongs to nobody here. Check it and try again.",
                then=then,
            )
        key, _ = self._sessions.open(person.id, now)
        response = RedirectResponse(then, 303)
        secure = request.url.scheme == "https"
        response.set_cookie(COOKIE, key, max_age=SESSION_SECONDS, httponly=True, samesite="strict", secure=secure)
        return response

    async def logout(self, request: Request) -> Response:
        """Ends the session."""
        known = self.session(request)
        if known and not self.forged(request, known[0], await form_of(request)):
            self._sessions.close(request.cookies.get(COOKIE))
        response = RedirectResponse("/login", 303)
        response.delete_cookie(COOKIE, httponly=True, samesite="strict")
        return response

    async def revision(self, request: Request) -> Response:
        """Changes whenever anything shown changes; the page asks for it."""
        if not self.session(request):
            return PlainTextResponse("", 401)
        return PlainTextResponse(self._decisions.status().revision)

    # ------------------------------------------------------------ API

    async def api_list(self, request: Request) -> Response:
        """All proposals."""
        person = self._bearer(request)
        if isinstance(person, Response):
            return person
        return _json({"proposals": [dataclasses.asdict(view) for view in self._decisions.proposals()]})

    async def api_show(self, request: Request) -> Response:
        """One proposal."""
        person = self._bearer(request)
        if isinstance(person, Response):
            return person
        view = self._decisions.proposal(request.path_params["proposal"])
        if view is None:
            return _api_error(404, "B424", "no such proposal; 'trimtab inbox list' shows them")
        return _json(dataclasses.asdict(view))

    async def api_decide(self, request: Request) -> Response:
        """Approve or deny, as the person whose token was sent."""
        person = self._bearer(request)
        if isinstance(person, Response):
            return person
        try:
            body = json.loads(await request.body())
            digest, reason = body["digest"], body.get("reason", "")
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
            digest = reason = None
        if not isinstance(digest, str) or not isinstance(reason, str):
            return _api_error(400, "B425", 'expected a JSON object {"digest": "...", "reason": "..."}')
        result = self._decide(request, person, digest, reason)
        if isinstance(result, Accepted):
            return _json({"accepted": True, "message": result.message, "person": person.id})
        return _api_error(409, result.code, result.reason)

    async def api_command(self, request: Request) -> Response:
        """Any command of the grammar, as the person whose token was sent; who may what is the core's to say."""
        person = self._bearer(request)
        if isinstance(person, Response):
            return person
        try:
            text = json.loads(await request.body())["text"]
        except (ValueError, KeyError, TypeError, RecursionError):
            text = None
        if not isinstance(text, str) or self._commands is None:
            return _api_error(400, "B425", 'expected a JSON object {"text": "status"}')
        reply = self._commands.say(text, Actor(person.id, f"inbox:{person.id}"), Where("inbox"))
        return _json(dataclasses.asdict(reply))

    async def api_status(self, request: Request) -> Response:
        """What the bot sees."""
        person = self._bearer(request)
        if isinstance(person, Response):
            return person
        return _json(dataclasses.asdict(self._decisions.status()))

    async def health(self, request: Request) -> Response:
        """For probes: 200 while the bot's last tick is healthy. Says nothing else to strangers."""
        healthy = self._decisions.status().healthy
        return PlainTextResponse("ok\n" if healthy else "unhealthy\n", 200 if healthy else 503)

    async def no_page(self, request: Request, error: Exception) -> Response:
        """For addresses that mean nothing here: a page for who looks at pages, one line for programs."""
        assert isinstance(error, HTTPException)
        if "text/html" not in request.headers.get("accept", ""):
            return PlainTextResponse(f"{error.detail}\n", error.status_code, error.headers)
        text = "Nothing is at this address. It may be mistyped, or what was there is gone."
        shown = self.page("notice.html", request, error.status_code, title=error.detail, text=text)
        shown.headers.update(error.headers or {})
        return shown

    def application(self, hosts: Collection[str]) -> ASGIApp:
        """The ASGI application; it answers only to these values of the Host header (lower case, with port)."""
        routes = [
            Route("/", self.front),
            Route("/login", self.login, methods=["GET", "POST"]),
            Route("/logout", self.logout, methods=["POST"]),
            Route("/revision", self.revision),
            Route("/health", self.health),
            Route("/proposals/{proposal}", self.detail),
            *(_decision_routes("/proposals/{proposal}", self.decide)),
            Route("/api/proposals", self.api_list),
            Route("/api/proposals/{proposal}", self.api_show),
            *(_decision_routes("/api/proposals/{proposal}", self.api_decide)),
            Route("/api/status", self.api_status),
            Route("/api/commands", self.api_command, methods=["POST"]),
            *(route for each in self._more for route in each.routes(self)),
            Mount("/static", StaticFiles(directory=_ROOM / "static")),
        ]
        return _Gate(Starlette(routes=routes, exception_handlers={HTTPException: self.no_page}), hosts)


def _decision_routes(prefix: str, endpoint: Callable[[Request], Awaitable[Response]]) -> list[Route]:
    """One POST route per verb, so that nothing else matches; the verb reaches the endpoint as a path parameter."""

    def with_verb(verb: str) -> Callable[[Request], Awaitable[Response]]:
        async def call(request: Request) -> Response:
            request.path_params["verb"] = verb
            return await endpoint(request)

        return call

    return [Route(f"{prefix}/{verb}", with_verb(verb), methods=["POST"]) for verb in ("approve", "deny")]


async def form_of(request: Request) -> dict[str, str]:
    """The fields of a form that was sent, without files."""
    async with request.form(max_files=0, max_fields=10) as form:
        return {key: value for key, value in form.items() if isinstance(value, str)}


def _json(value: object) -> Response:
    text = json.dumps(value, default=lambda item: getattr(item, "value", str(item)), allow_nan=False, sort_keys=True)
    return Response(text, media_type="application/json")


def _api_error(status: int, code: str, reason: str, retry_after: float | None = None) -> JSONResponse:
    headers = {"Retry-After": f"{retry_after:.0f}"} if retry_after else None
    return JSONResponse({"accepted": False, "code": code, "reason": reason}, status, headers)
