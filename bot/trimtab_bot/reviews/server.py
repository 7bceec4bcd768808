"""The door for webhooks over HTTP: one path, one method."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.responses import Response
from starlette.routing import Route

from trimtab_bot.reviews.webhooks import MAX_BODY, Delivery, Knock
from trimtab_bot.serving import ThreadedServer
from trimtab_kernel.problems import OutsideError

if TYPE_CHECKING:
    from collections.abc import Collection

    from starlette.requests import Request

    from trimtab_bot.reviews.webhooks import Door

PATH = "/webhooks/github"
_LOG = logging.getLogger("trimtab.webhooks")


class WebhookServer(ThreadedServer):
    """Serves :data:`PATH`; ``url`` is known once :meth:`start` returns."""

    def __init__(self, door: Door, host: str = "127.0.0.1", port: int = 0) -> None:
        """Port 0 takes a free one."""
        super().__init__(self, host, port, setting="github.webhook.port", connections=32)
        self._door = door

    async def _answer(self, request: Request) -> Response:
        body = bytearray()
        async for chunk in request.stream():
            body += chunk
            if len(body) > MAX_BODY:
                return Response(status_code=Knock.TOO_LARGE.value, headers={"Connection": "close"})
        delivery = Delivery({name.lower(): value for name, value in request.headers.items()}, bytes(body))
        try:
            knock = await run_in_threadpool(self._door.knock, delivery)
        except OutsideError:
            return Response(status_code=503)  # GitHub shows it as failed, and somebody may deliver it again
        if knock is Knock.FORGED:
            _LOG.warning(
                "a webhook with a wrong signature came from %s", request.client.host if request.client else "?"
            )
        return Response(status_code=knock.value)

    def application(self, _hosts: Collection[str]) -> Starlette:
        """The ASGI application. A delivery is believed for its signature, whatever host it names."""
        return Starlette(routes=[Route(PATH, self._answer, methods=["POST"])])

    def start(self) -> str:
        """Bind and serve; gives the URL. Raises OutsideError where the address cannot be bound."""
        self.url = f"{super().start()}{PATH}"
        return self.url
