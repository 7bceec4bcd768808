"""Runs the application: uvicorn in a thread of its own, on a socket that is bound before it starts."""

from __future__ import annotations

import socket
import ssl
import threading
from typing import TYPE_CHECKING, cast

import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from trimtab_kernel.problems import OutsideError, RefusedError, printable

if TYPE_CHECKING:
    import asyncio
    from pathlib import Path
    from types import TracebackType

    from starlette.applications import Starlette
    from uvicorn.protocols.http.h11_impl import RequestResponseCycle

_START_SECONDS = 10.0
_STEP = 0.02
_MOST_CONNECTIONS = 128
_LARGEST_HEAD = 16 * 1024


def encryption(certificate: Path, key: Path, client_ca: Path | None = None) -> ssl.SSLContext:
    """TLS 1.2 or newer with this certificate; with ``client_ca`` clients must show one as well.

    Raises RefusedError (A207) for files that cannot be used.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    try:
        # An empty password instead of a prompt: nobody sits at the terminal.
        context.load_cert_chain(certificate, key, password=lambda: "")
        if client_ca is not None:
            context.load_verify_locations(client_ca)
            context.verify_mode = ssl.CERT_REQUIRED
    except (OSError, ValueError) as error:
        reason = printable(str(getattr(error, "strerror", None) or error)).lower()
        raise RefusedError("A207", f"the certificate {printable(str(certificate))} cannot be used: {reason}") from error
    return context


class _PunctualProtocol(H11Protocol):
    """HTTP/1.1 of uvicorn, which by itself would wait for ever for the rest of a request's head.

    Callers that only hold connections open would take all there are; so each head must come within ``HEAD_SECONDS``.
    """

    HEAD_SECONDS = 10.0
    _timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override] # a transport of TCP, and uvicorn says only of any
        super().connection_made(transport)
        self._timer = self.loop.call_later(self.HEAD_SECONDS, transport.abort)

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        cycle = cast("RequestResponseCycle | None", self.cycle)  # None until a first head is whole
        if cycle is not None and not cycle.response_complete:
            self._disarm()
        elif self._timer is None:
            self._timer = self.loop.call_later(self.HEAD_SECONDS, self.transport.abort)

    def on_response_complete(self) -> None:
        # Between two requests uvicorn's own time for idle connections holds.
        self._disarm()
        super().on_response_complete()

    def connection_lost(self, exc: Exception | None) -> None:
        self._disarm()
        super().connection_lost(exc)

    def _disarm(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


class FleetServer:
    """The running server: entered, it listens and :attr:`url` is known; left, it answers what is under way and stops."""

    def __init__(self, application: Starlette, host: str, port: int, tls: ssl.SSLContext | None = None) -> None:
        """Port 0 lets the system choose."""
        self._host = host
        self._port = port
        self.url = ""
        config = uvicorn.Config(
            application,
            http=_PunctualProtocol,
            log_config=None,
            access_log=False,
            server_header=False,
            lifespan="off",
            timeout_keep_alive=30,
            timeout_graceful_shutdown=5,
            limit_concurrency=_MOST_CONNECTIONS,
            h11_max_incomplete_event_size=_LARGEST_HEAD,
        )
        config.load()
        config.ssl = tls
        self._tls = tls
        self._server = uvicorn.Server(config)
        self._thread: threading.Thread | None = None

    def __enter__(self) -> FleetServer:
        """Listen. Raises OutsideError where the address cannot be had."""
        family = socket.AF_INET6 if ":" in self._host else socket.AF_INET
        listener = socket.socket(family, socket.SOCK_STREAM)
        try:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind((self._host, self._port))
            listener.listen(_MOST_CONNECTIONS)
        except OSError as error:
            listener.close()
            reason = (error.strerror or str(error)).lower()
            raise OutsideError(f"cannot listen on {self._host}:{self._port} ({reason}); choose another") from error
        shown = f"[{self._host}]" if family == socket.AF_INET6 else self._host
        self.url = f"{'https' if self._tls else 'http'}://{shown}:{listener.getsockname()[1]}"
        self._thread = threading.Thread(
            target=self._server.run, kwargs={"sockets": [listener]}, name="trimtab-fleet-service", daemon=True
        )
        self._thread.start()
        waiting = threading.Event()
        for _ in range(int(_START_SECONDS / _STEP)):
            if self._server.started or not self._thread.is_alive():
                break
            waiting.wait(_STEP)
        if not self._server.started:
            raise OutsideError(f"the service did not start on {self.url} within {_START_SECONDS:.0f} s")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop."""
        self._server.should_exit = True
        if self._thread is not None:
            self._thread.join(timeout=15)
