"""Trimtab's V2 application as a raw ASGI application under uvicorn (httptools, uvloop): what its own HTTP saves.

trimtab_uvicorn.py MODEL_REPOSITORY PORT
"""

from __future__ import annotations

import asyncio
import sys
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import uvicorn

from trimtab_edge.serving.allocator import keep_freed_memory
from trimtab_edge.serving.dataplane import DataPlane
from trimtab_edge.serving.exchange import Request
from trimtab_edge.serving.execution import Execution
from trimtab_edge.serving.headroom import Headroom
from trimtab_edge.serving.http import V2Application
from trimtab_edge.serving.repository import ModelRepository
from trimtab_edge.telemetry.inference import InferenceCounts

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, MutableMapping


class Asgi:
    """The smallest adapter that carries whole requests over."""

    def __init__(self, application: V2Application) -> None:
        self._application = application

    async def __call__(
        self,
        scope: MutableMapping[str, Any],
        receive: Callable[[], Awaitable[MutableMapping[str, Any]]],
        send: Callable[[MutableMapping[str, Any]], Awaitable[None]],
    ) -> None:
        """One request."""
        if scope["type"] != "http":
            return
        request = Request(scope["method"].encode(), scope["raw_path"], scope["headers"], scope["client"][0])
        reply = self._application.judge(request)
        parts, more = [], True
        while more:
            message = await receive()
            if message["type"] != "http.request":
                return
            parts.append(message.get("body", b""))
            more = message.get("more_body", False)
        request.body = parts[0] if len(parts) == 1 else b"".join(parts)
        if reply is None:
            found = self._application.answer(request)
            reply = found if isinstance(found, tuple) else await found
        status, body, content_type, headers = reply
        named = [(b"content-type", content_type), (b"content-length", b"%d" % len(body)), *headers]
        await send({"type": "http.response.start", "status": status, "headers": named})
        await send({"type": "http.response.body", "body": body})


async def main(directory: Path, port: int) -> None:
    """Until SIGTERM."""
    keep_freed_memory()
    counts, headroom = InferenceCounts(), Headroom(None)
    repository = ModelRepository(directory, counts, headroom=headroom)
    execution = Execution(counts, threads=2, queue=64, headroom=headroom)
    plane = DataPlane(repository, counts, threads=2, queue=64, execution=execution)
    application = V2Application(plane, "bench", max_body=32 * 1024 * 1024, metrics=None)
    watching = asyncio.create_task(repository.watch())
    config = uvicorn.Config(
        Asgi(application), host="127.0.0.1", port=port, http="httptools", ws="none", lifespan="off", log_config=None,
        access_log=False, server_header=False,
    )  # fmt: skip
    try:
        await uvicorn.Server(config).serve()
    finally:
        watching.cancel()
        with suppress(asyncio.CancelledError):
            await watching
        repository.close()
        plane.close()


if __name__ == "__main__":
    import uvloop

    uvloop.run(main(Path(sys.argv[1]), int(sys.argv[2])))
