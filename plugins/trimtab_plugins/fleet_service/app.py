"""The HTTP side: three doors and three pages about the service itself. It decides nothing."""

from __future__ import annotations

import asyncio
import datetime
import json
import time
from typing import TYPE_CHECKING

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import ClientDisconnect
from starlette.responses import Response
from starlette.routing import Route

from trimtab_kernel.problems import InputError, Problem
from trimtab_plugins.fleet_service.inventory import (
    MAX_BODY,
    generator_answer,
    generator_question,
    inputs_answer,
    inputs_question,
)

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from starlette.requests import Request

    from trimtab_plugins.fleet_service.following import Standing
    from trimtab_plugins.fleet_service.inventory import Inventory
    from trimtab_plugins.fleet_service.metrics import ServiceMetrics

GENERATOR_PATH = "/api/v1/getparams.execute"
INPUTS_PATH = "/api/v1/inputs"
REVISION_HEADER = "Trimtab-Revision"
STALE_HEADER = "Trimtab-Stale-Since"
_BODY_SECONDS = 10.0
_STATUS = {"A201": 401, "A202": 400, "A203": 409, "A204": 503, "A205": 413}


class FleetApplication:
    """The doors. ``standing`` says what answers now, ``admits`` judges an Authorization header."""

    def __init__(
        self,
        standing: Callable[[], Standing],
        admits: Callable[[str], bool],
        metrics: ServiceMetrics,
        log: Callable[[str], None],
    ) -> None:
        """``log`` takes one line for each refused request; none ever holds a header or a body."""
        self._standing = standing
        self._admits = admits
        self._metrics = metrics
        self._log = log

    def application(self) -> Starlette:
        """The ASGI application."""
        return Starlette(
            routes=[
                Route(GENERATOR_PATH, self._generator, methods=["POST"]),
                Route(INPUTS_PATH, self._inputs, methods=["GET"]),
                Route("/healthz", self._health, methods=["GET"]),
                Route("/readyz", self._ready, methods=["GET"]),
                Route("/metrics", self._show_metrics, methods=["GET"]),
            ]
        )

    async def _generator(self, request: Request) -> Response:
        async def answer(inventory: Inventory) -> bytes:
            question = generator_question(await _body(request))
            return await run_in_threadpool(lambda: generator_answer(inventory.chosen(question)))

        return await self._answered("generator", request, answer)

    async def _inputs(self, request: Request) -> Response:
        async def answer(inventory: Inventory) -> bytes:
            question = inputs_question(request.query_params.multi_items())
            return await run_in_threadpool(lambda: inputs_answer(inventory.chosen(question), question.limit))

        return await self._answered("inputs", request, answer)

    async def _answered(self, door: str, request: Request, answer: Callable[[Inventory], Awaitable[bytes]]) -> Response:
        started = time.monotonic()
        standing = self._standing()
        headers = _headers(standing)
        try:
            content = await answer(self._admitted(request, standing))
            response = Response(content, 200, headers, "application/json")
        except InputError as error:
            [problem] = error.problems
            status = _STATUS[problem.code]
            if status == 401:
                headers = {"WWW-Authenticate": 'Bearer realm="trimtab"'}
            self._log(f"{door} refused ({status}): {problem}")
            response = Response(
                _json({"error": str(problem), "code": problem.code}), status, headers, "application/json"
            )
        except ClientDisconnect:
            response = Response(b"", 400)
        self._metrics.requests.labels(door, str(response.status_code)).inc()
        self._metrics.seconds.labels(door).observe(time.monotonic() - started)
        return response

    def _admitted(self, request: Request, standing: Standing) -> Inventory:
        """The fleet, for who may see it. The body of anybody else is not even read."""
        if not self._admits(request.headers.get("authorization", "")):
            raise InputError(Problem("A201", got="no token, or another one", expected="the bearer token"))
        if standing.inventory is None:
            raise InputError(Problem("A204", got="no fleet yet", expected="a tree that can be read"))
        return standing.inventory

    async def _health(self, request: Request) -> Response:
        """200 as long as the process can answer at all; says what it answers with, and codes of what is wrong."""
        del request
        standing = self._standing()
        found: dict[str, object] = {"status": "ok" if standing.trouble is None else "stale"}
        if standing.inventory is None:
            found["status"] = "empty"
        else:
            found["revision"] = standing.inventory.revision
            found["groups"] = len(standing.inventory.entries)
            found["readAt"] = _time(standing.read_at)
        if standing.trouble is not None:
            trouble = standing.trouble
            found["trouble"] = {
                "since": _time(trouble.since),
                "revision": trouble.revision,
                "problems": len(trouble.problems),
                "codes": sorted({problem.code for problem in trouble.problems}),
                "reachable": not trouble.reason,
            }
        return Response(_json(found), 200, media_type="application/json")

    async def _ready(self, request: Request) -> Response:
        """200 once a first tree was read: an old tree still answers, and more truly than none."""
        del request
        ready = self._standing().inventory is not None
        return Response(b"ready\n" if ready else b"no fleet yet\n", 200 if ready else 503, media_type="text/plain")

    async def _show_metrics(self, request: Request) -> Response:
        del request
        self._metrics.show(self._standing())
        content, kind = self._metrics.text()
        return Response(content, 200, {"content-type": kind})


async def _body(request: Request) -> bytes:
    """The body, read no further than is allowed. Raises InputError (A202) for more, or for one that does not come."""
    announced = request.headers.get("content-length", "0")
    if announced.isdigit() and len(announced) < 20 and int(announced) > MAX_BODY:
        raise _too_large(f"{announced} bytes")
    whole = bytearray()
    try:
        async with asyncio.timeout(_BODY_SECONDS):
            async for part in request.stream():
                whole += part
                if len(whole) > MAX_BODY:
                    raise _too_large("more")
    except TimeoutError:
        raise InputError(
            Problem("A202", field="the body", got="nothing more", expected=f"all of it within {_BODY_SECONDS:g} s")
        ) from None
    return bytes(whole)


def _too_large(got: str) -> InputError:
    return InputError(Problem("A202", field="the body", got=got, expected=f"at most {MAX_BODY} bytes"))


def _headers(standing: Standing) -> Mapping[str, str]:
    found = {"Cache-Control": "no-store"}
    if standing.inventory is not None:
        found[REVISION_HEADER] = standing.inventory.revision
    if standing.trouble is not None:
        found[STALE_HEADER] = _time(standing.trouble.since)
    return found


def _time(seconds: float) -> str:
    return datetime.datetime.fromtimestamp(seconds, datetime.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _json(content: Mapping[str, object]) -> bytes:
    return json.dumps(content, ensure_ascii=False).encode()
