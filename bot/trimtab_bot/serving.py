"""Serves one of the bot's small applications beside its loop: uvicorn in a thread, on a socket that is bound before it starts."""

from __future__ import annotations

import socket
import threading
from typing import TYPE_CHECKING, Protocol

import uvicorn

from trimtab_kernel.problems import OutsideError

if TYPE_CHECKING:
    from collections.abc import Collection

    from starlette.types import ASGIApp

_START_SECONDS = 30.0


class Served(Protocol):
    """What is served."""

    def application(self, hosts: Collection[str], /) -> ASGIApp:
        """The ASGI application; ``hosts`` are the Host header values under which it is reached."""
        ...


class ThreadedServer:
    """A running application. ``url`` is known once :meth:`start` returns."""

    def __init__(
        self,
        served: Served,
        host: str = "127.0.0.1",
        port: int = 0,
        public_hosts: tuple[str, ...] = (),
        *,
        setting: str,
        connections: int = 64,
    ) -> None:
        """Port 0 takes a free one. ``public_hosts``: further Host header values under which a proxy reaches it.

        ``setting`` is where the port is configured, for the error.
        """
        self._served = served
        self._host = host
        self._port = port
        self._public_hosts = public_hosts
        self._setting = setting
        self._connections = connections
        self._server: uvicorn.Server | None = None
        self._thread: threading.Thread | None = None
        self.url = ""

    def start(self) -> str:
        """Bind, serve, and return the URL. Raises :class:`OutsideError` where the address cannot be bound."""
        family = socket.AF_INET6 if ":" in self._host else socket.AF_INET
        listener = socket.socket(family, socket.SOCK_STREAM)
        try:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind((self._host, self._port))
            listener.listen(64)
        except OSError as error:
            listener.close()
            raise OutsideError(
                f"cannot listen on {self._host}:{self._port} ({error.strerror}); choose another {self._setting}"
            ) from error
        port = listener.getsockname()[1]
        shown = f"[{self._host}]" if family == socket.AF_INET6 else self._host
        self.url = f"http://{shown}:{port}"
        hosts = {f"{shown}:{port}", *(name.lower() for name in self._public_hosts)}
        if self._host in {"127.0.0.1", "::1"}:
            hosts |= {f"localhost:{port}", f"127.0.0.1:{port}"}
        config = uvicorn.Config(
            self._served.application(hosts),
            log_config=None,
            access_log=False,
            server_header=False,
            lifespan="off",
            timeout_keep_alive=5,
            timeout_graceful_shutdown=2,
            limit_concurrency=self._connections,
        )
        self._server = uvicorn.Server(config)
        self._thread = threading.Thread(
            target=self._server.run, kwargs={"sockets": [listener]}, name=f"trimtab-{self._setting}", daemon=True
        )
        self._thread.start()
        pause = threading.Event()
        for _ in range(int(_START_SECONDS / 0.02)):
            if self._server.started or not self._thread.is_alive():
                break
            pause.wait(0.02)
        if not self._server.started:
            raise OutsideError(f"nothing listens on {self.url} within {_START_SECONDS:.0f} s ({self._setting})")
        return self.url

    def stop(self) -> None:
        """Answer what is under way, then stop. Safe to call twice."""
        if self._server and self._thread:
            self._server.should_exit = True
            self._thread.join(timeout=10)
            self._server = self._thread = None
