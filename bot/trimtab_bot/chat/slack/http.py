"""Slack's requests over HTTP, for workspaces without Socket Mode: the signature over the raw body first, then the listener."""

from __future__ import annotations

from typing import TYPE_CHECKING

from slack_bolt import BoltRequest
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from trimtab_bot.chat.slack.signature import objection

if TYPE_CHECKING:
    from collections.abc import Collection

    from starlette.requests import Request

    from trimtab_bot.chat.slack.app import WorkspacesListener
    from trimtab_bot.moments import Clock

PATH = "/slack/events"
MAX_BYTES = 1024 * 1024


class SlackRequests:
    """The application; one path takes events, clicks, modals and commands."""

    def __init__(self, listener: WorkspacesListener, secret: str, clock: Clock) -> None:
        """``secret`` is the app's signing secret; ``clock`` gives Unix seconds."""
        self._listener = listener
        self._secret = secret
        self._clock = clock

    def application(self, _hosts: Collection[str]) -> Starlette:
        """The ASGI application. A request is believed for its signature, whatever host it names."""
        return Starlette(routes=[Route(PATH, self._take, methods=["POST"])])

    async def _take(self, request: Request) -> Response:
        body = b""
        async for chunk in request.stream():
            body += chunk
            if len(body) > MAX_BYTES:
                return PlainTextResponse("too large", 413)
        headers = request.headers
        refused = objection(
            self._secret,
            headers.get("x-slack-request-timestamp", ""),
            headers.get("x-slack-signature", ""),
            body,
            self._clock(),
        )
        if refused:
            return PlainTextResponse(refused, 401)
        try:
            text = body.decode("utf-8")
        except UnicodeDecodeError:
            return PlainTextResponse("not UTF-8", 400)
        taken = BoltRequest(body=text, headers={name: [value] for name, value in headers.items()})
        answer = await run_in_threadpool(self._listener.app.dispatch, taken)
        content_type = answer.first_headers().get("content-type", "text/plain")
        return Response(answer.body, answer.status, media_type=content_type)
