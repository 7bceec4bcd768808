"""Archives over HTTP: 200 or 404, nothing else, no listing. Health and metrics on an address of their own.

Each address has a uvicorn of its own in a thread of its own, on a socket that is bound before it starts.
"""

from __future__ import annotations

import asyncio
import socket
import threading
from typing import TYPE_CHECKING

import uvicorn
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from trimtab_kernel.problems import OutsideError

if TYPE_CHECKING:
    from collections.abc import Callable

    from starlette.requests import Request
    from starlette.types import ASGIApp, Receive, Scope, Send

_START_SECONDS = 10.0
_DRAIN_SECONDS = 10


class ArchiveApplication:
    """Serves what ``read`` gives for a path without its leading "/", and 404 for all else, whatever the method."""

    def __init__(self, read: Callable[[str], bytes | None], count: Callable[[int], None]) -> None:
        """``count`` is told each status."""
        self._read = read
        self._count = count

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI."""
        if scope["type"] != "http":
            return
        content = None
        if scope["method"] in {"GET", "HEAD"}:
            content = await run_in_threadpool(self._read, str(scope["path"]).removeprefix("/"))
        if content is None:
            response: Response = PlainTextResponse("not found\n", status_code=404)
        else:
            response = Response(
                content, media_type="application/gzip", headers={"Cache-Control": "public, max-age=31536000, immutable"}
            )
        self._count(response.status_code)
        await response(scope, receive, send)


def observation_application(
    dead: Callable[[], str], unready: Callable[[], str], metrics: Callable[[], tuple[bytes, str]]
) -> ASGIApp:
    """``/healthz`` and ``/readyz`` (503 with the reason that ``dead`` or ``unready`` gives, 200 for "") and ``/metrics``."""

    async def healthz(_: Request) -> Response:
        return _said(dead())

    async def readyz(_: Request) -> Response:
        return _said(unready())

    async def shown(_: Request) -> Response:
        content, kind = await run_in_threadpool(metrics)
        return Response(content, media_type=kind)

    return Starlette(routes=[Route("/healthz", healthz), Route("/readyz", readyz), Route("/metrics", shown)])


def _said(reason: str) -> Response:
    return PlainTextResponse(f"{reason or 'ok'}\n", status_code=503 if reason else 200)


class HttpServer:
    """One running application. ``address`` (host, port) is known once made."""

    def __init__(self, application: ASGIApp, host: str, port: int, name: str) -> None:
        """Binds; port 0 lets the system choose. Raises OutsideError where the address cannot be had."""
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self._listener = socket.socket(family, socket.SOCK_STREAM)
        try:
            self._listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            self._listener.bind((host, port))
            self._listener.listen(512)
        except OSError as error:
            self._listener.close()
            raise OutsideError(f"cannot listen on {host}:{port} ({error.strerror}); choose another address") from error
        self.address: tuple[str, int] = (host, self._listener.getsockname()[1])
        config = uvicorn.Config(
            application,
            log_config=None,
            access_log=False,
            server_header=False,
            lifespan="off",
            timeout_keep_alive=30,
            timeout_graceful_shutdown=_DRAIN_SECONDS,
        )
        self._server = uvicorn.Server(config)
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    @property
    def host_and_port(self) -> str:
        """As a URL has it."""
        host, port = self.address
        return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"

    def _run(self) -> None:
        asyncio.run(self._server.serve(sockets=[self._listener]))

    def start(self) -> None:
        """Serve from now on. Raises OutsideError where it does not come up within 10 s."""
        self._thread.start()
        moment = threading.Event()
        for _ in range(int(_START_SECONDS / 0.02)):
            if self._server.started or not self._thread.is_alive():
                break
            moment.wait(0.02)
        if not self._server.started:
            raise OutsideError(f"the server on {self.host_and_port} did not start within {_START_SECONDS:.0f} s")

    def stop(self) -> None:
        """Answer what is under way, then stop. Safe to call twice, and on one that never started."""
        self._server.should_exit = True
        if self._thread.is_alive():
            self._thread.join(timeout=_DRAIN_SECONDS + 5)
        self._listener.close()
