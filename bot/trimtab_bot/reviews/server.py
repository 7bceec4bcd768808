"""The door for webhooks over HTTP: one path, one method, uvicorn in a thread of its own on a socket bound beforehand."""

from __future__ import annotations

import logging
import socket
import threading
from typing import TYPE_CHECKING

import uvicorn
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.responses import Response
from starlette.routing import Route

from trimtab_bot.reviews.webhooks import MAX_BODY, Delivery, Knock
from trimtab_kernel.problems import OutsideError

if TYPE_CHECKING:
    from starlette.requests import Request

    from trimtab_bot.reviews.webhooks import Door

PATH = "/webhooks/github"
_LOG = logging.getLogger("trimtab.webhooks")
_START_SECONDS = 30.0


class WebhookServer:
    """Serves :data:`PATH`; ``url`` is known once :meth:`start` returns."""

    def __init__(self, door: Door, host: str = "127.0.0.1", port: int = 0) -> None:
        """Port 0 takes a free one."""
        self._door = door
        self._host = host
        self._port = port
        self._server: uvicorn.Server | None = None
        self._thread: threading.Thread | None = None
        self.url = ""

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

    def start(self) -> str:
        """Bind and serve; gives the URL. Raises OutsideError where the address cannot be bound."""
        family = socket.AF_INET6 if ":" in self._host else socket.AF_INET
        bound = socket.socket(family, socket.SOCK_STREAM)
        try:
            bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            bound.bind((self._host, self._port))
            bound.listen(64)
        except OSError as error:
            bound.close()
            raise OutsideError(
                f"cannot listen on {self._host}:{self._port} ({error.strerror}); choose another github.webhook.port"
            ) from error
        config = uvicorn.Config(
            Starlette(routes=[Route(PATH, self._answer, methods=["POST"])]),
            log_config=None,
            access_log=False,
            server_header=False,
            lifespan="off",
            timeout_keep_alive=5,
            timeout_graceful_shutdown=2,
            limit_concurrency=32,
        )
        self._server = uvicorn.Server(config)
        self._thread = threading.Thread(
            target=self._server.run, kwargs={"sockets": [bound]}, name="trimtab-webhooks", daemon=True
        )
        self._thread.start()
        pause = threading.Event()
        for _ in range(int(_START_SECONDS / 0.02)):
            if self._server.started or not self._thread.is_alive():
                break
            pause.wait(0.02)
        if not self._server.started:
            raise OutsideError(f"webhooks cannot be taken on {self._host} within {_START_SECONDS:.0f} s")
        shown = f"[{self._host}]" if family == socket.AF_INET6 else self._host
        self.url = f"http://{shown}:{bound.getsockname()[1]}{PATH}"
        return self.url

    def stop(self) -> None:
        """Answer what is under way, then stop. Safe to call twice."""
        if self._server is not None and self._thread is not None:
            self._server.should_exit = True
            self._thread.join(timeout=10)
            self._server = self._thread = None
