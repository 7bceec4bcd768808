"""The listener of the gRPC port."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

# The library's core writes to stderr about every odd connection; what clients do is not for the log.
os.environ.setdefault("GRPC_VERBOSITY", "NONE")

import grpc

from trimtab_edge.serving.grpc.service import V2Service
from trimtab_kernel.problems import OutsideError

if TYPE_CHECKING:
    from trimtab_edge.serving.certificates import Credentials, Pem
    from trimtab_edge.serving.dataplane import DataPlane

MAX_METADATA_BYTES = 16 * 1024
MAX_STREAMS = 256
"""Requests that one connection may have open."""
MAX_RPCS = 1024
"""Requests that all connections together may have open; more get RESOURCE_EXHAUSTED."""


class GrpcEndpoint:
    """A gRPC server on the running event loop. Raises :class:`OutsideError` where the address cannot be had."""

    def __init__(
        self,
        plane: DataPlane,
        host: str,
        port: int,
        *,
        name: str,
        version: str,
        extensions: tuple[str, ...],
        max_body: int,
        credentials: Credentials | None = None,
    ) -> None:
        """``max_body`` is the size of the largest message that is taken, in bytes. Without ``credentials`` it speaks in the clear."""
        self._server = grpc.aio.server(
            options=(
                ("grpc.max_receive_message_length", max_body),
                ("grpc.max_send_message_length", -1),
                ("grpc.max_metadata_size", MAX_METADATA_BYTES),
                ("grpc.absolute_max_metadata_size", MAX_METADATA_BYTES),
                ("grpc.max_concurrent_streams", MAX_STREAMS),
                # Two servers on one port would each get a part of the requests.
                ("grpc.so_reuseport", 0),
            ),
            maximum_concurrent_rpcs=MAX_RPCS,
        )
        service = V2Service(plane, name=name, version=version, extensions=extensions)
        self._server.add_generic_rpc_handlers((service.handlers(),))
        shown = f"[{host}]" if ":" in host else host
        try:
            address = f"{shown}:{port}"
            self.port: int = (
                self._server.add_insecure_port(address)
                if credentials is None
                else self._server.add_secure_port(address, _server_credentials(credentials))
            )
        except RuntimeError:
            self.port = 0
        if not self.port:
            raise OutsideError(f"cannot listen on {host} port {port} for gRPC")
        self.address = f"{shown}:{self.port}"

    async def start(self) -> None:
        """Accept connections."""
        await self._server.start()

    async def stop(self, grace: float) -> None:
        """Take no more requests, and wait so many seconds for those in flight."""
        await self._server.stop(grace)


def _server_credentials(credentials: Credentials) -> grpc.ServerCredentials:
    """What grpc asks before each handshake; its least version of TLS is 1.2."""
    shown = credentials.pem

    def changed() -> grpc.ServerCertificateConfiguration | None:
        nonlocal shown
        if credentials.pem is shown:
            return None
        shown = credentials.pem
        return _configuration(shown)

    return grpc.dynamic_ssl_server_credentials(
        _configuration(shown),
        changed,  # type: ignore[arg-type]  # grpc takes None for "no change"; its published types leave that out
        require_client_authentication=shown.client_ca is not None,
    )


def _configuration(pem: Pem) -> grpc.ServerCertificateConfiguration:
    return grpc.ssl_server_certificate_configuration([(pem.key, pem.certificate)], pem.client_ca)
