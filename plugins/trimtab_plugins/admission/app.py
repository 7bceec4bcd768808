"""The HTTP side of the webhook: limits, time, readiness, metrics."""

from __future__ import annotations

import asyncio
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from starlette.applications import Starlette
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from trimtab_config.policy.interface import Decision
from trimtab_plugins.admission.judging import KINDS, Judge
from trimtab_plugins.admission.review import ReviewError, answer, question_of, unanswered

if TYPE_CHECKING:
    from collections.abc import Callable

    from starlette.requests import Request

    from trimtab_config.policy.gate import PolicyGate
    from trimtab_plugins.admission.judging import Fleet
    from trimtab_plugins.admission.review import Question

MOST_BODY = 3 * 2**20  # what the API server takes as one object, twice in an update
_WAITING = 32


class Admission:
    """Judges by what is in force now; one question at a time, for an engine takes one. Safe to use from several threads."""

    def __init__(self, *, seconds: float, fail_open: bool) -> None:
        """``seconds`` are for each question, waiting included."""
        self._seconds = seconds
        self._fail_open = fail_open
        self._lock = threading.Lock()
        self._judge: Judge | None = None
        self._digest = ""
        self._threads = ThreadPoolExecutor(max_workers=1, thread_name_prefix="trimtab-admission")
        self._waiting = 0
        self._registry = CollectorRegistry()
        self._reviews = Counter(
            "trimtab_admission_reviews", "Questions by outcome.", ["outcome"], registry=self._registry
        )
        self._took = Histogram(
            "trimtab_admission_seconds",
            "From a question to its answer.",
            registry=self._registry,
            buckets=(0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1, 5, 10),
        )
        self._stale = Gauge(
            "trimtab_admission_stale",
            "1 while a newer fleet or bundle cannot be used and older ones judge.",
            registry=self._registry,
        )

    def take(self, fleet: Fleet, gate: PolicyGate, digest: str) -> None:
        """Judge by these from now on; the engines are warm when this returns."""
        gate.decide([b"{}"])
        judge = Judge(fleet, gate)
        judge.warm()
        with self._lock:
            self._judge, self._digest = judge, digest

    def trouble(self, *, stale: bool) -> None:
        """Whether what is newest cannot be used."""
        self._stale.set(1 if stale else 0)

    def close(self) -> None:
        """Ends the thread that judges."""
        self._threads.shutdown(wait=True, cancel_futures=True)

    def application(self) -> Starlette:
        """The routes."""
        return Starlette(
            routes=[
                Route("/admit", self._admit, methods=["POST"]),
                Route("/healthz", self._healthy),
                Route("/readyz", self._ready),
                Route("/metrics", self._metrics),
            ]
        )

    async def _healthy(self, request: Request) -> Response:
        del request
        return PlainTextResponse("ok\n")

    async def _ready(self, request: Request) -> Response:
        del request
        ready = self._judge is not None
        return PlainTextResponse("ready\n" if ready else "no fleet yet\n", 200 if ready else 503)

    async def _metrics(self, request: Request) -> Response:
        del request
        return Response(generate_latest(self._registry), media_type=CONTENT_TYPE_LATEST)

    async def _admit(self, request: Request) -> Response:
        begin = time.monotonic()
        body = bytearray()
        async for part in request.stream():
            body += part
            if len(body) > MOST_BODY:
                self._reviews.labels("refused").inc()
                return PlainTextResponse(f"expected at most {MOST_BODY} bytes\n", 413)
        try:
            question = question_of(bytes(body))
        except ReviewError as error:
            self._reviews.labels("refused").inc()
            return PlainTextResponse(f"{error}\n", 400)
        found, outcome = await self._answered(question)
        self._reviews.labels(outcome).inc()
        self._took.observe(time.monotonic() - begin)
        return JSONResponse(found)

    async def _answered(self, question: Question) -> tuple[dict[str, object], str]:
        if self._waiting >= _WAITING:
            return self._undecided(question, "too many questions at once")
        self._waiting += 1
        try:
            work: Callable[[], tuple[Decision, str]] = lambda: self._judged(question)  # noqa: E731 - for the executor
            future = asyncio.get_running_loop().run_in_executor(self._threads, work)
            decision, digest = await asyncio.wait_for(future, self._seconds)
        except TimeoutError:
            return self._undecided(question, f"no decision within {self._seconds:g} s")
        except Exception as error:
            return self._undecided(question, type(error).__name__)
        finally:
            self._waiting -= 1
        return answer(question, decision, digest), "allowed" if decision.allowed else "denied"

    def _undecided(self, question: Question, reason: str) -> tuple[dict[str, object], str]:
        return unanswered(question, reason, allowed=self._fail_open), "undecided"

    def _judged(self, question: Question) -> tuple[Decision, str]:
        with self._lock:
            judge, digest = self._judge, self._digest
        if question.item is None or question.kind not in KINDS:
            return Decision.of(()), digest  # what goes away, and what is none of ours
        if judge is None:
            raise LookupError("no fleet")
        return judge.decide(question.item), digest
