"""Several requests in one run, where a model says so, for as long as each is likely answered within a target.

How long a batch of n rows takes is known as a*n + b, by least squares over recent batches whose weights fade. A batch
waits for more rows while the first request, the expected run included, stays within the target; it goes at once when it
is full. Only along the first dimension, and only where every input and output leaves that dimension open: the rows of one
request are then those of its own part of the outputs.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from trimtab_edge.conduct import Batching
    from trimtab_edge.serving.tensors import Array, Signature

_FADE = 0.95


class Durations:
    """Seconds of a batch as a line in its rows: weighted least squares, in constant memory."""

    __slots__ = ("_n", "_nn", "_nt", "_t", "_w")

    def __init__(self) -> None:
        self._w = self._n = self._t = self._nn = self._nt = 0.0

    def observe(self, rows: int, seconds: float) -> None:
        """A batch of so many rows took so long."""
        self._w = _FADE * self._w + 1
        self._n = _FADE * self._n + rows
        self._t = _FADE * self._t + seconds
        self._nn = _FADE * self._nn + rows * rows
        self._nt = _FADE * self._nt + rows * seconds

    def line(self) -> tuple[float, float]:
        """``a`` and ``b``, neither negative; both 0 before the first observation."""
        if self._w == 0:
            return 0.0, 0.0
        mean = self._t / self._w
        spread = self._w * self._nn - self._n * self._n
        if spread <= 1e-9 * self._w * self._nn:
            # All were of one size: the line through the origin is the careful reading of it.
            return mean / (self._n / self._w), 0.0
        slope = (self._w * self._nt - self._n * self._t) / spread
        if slope <= 0:
            return 0.0, mean
        base = (self._t - slope * self._n) / self._w
        return (slope, base) if base >= 0 else (self._nt / self._nn, 0.0)

    def expected(self, rows: int) -> float:
        """Seconds that a batch of so many rows will take."""
        slope, base = self.line()
        return slope * rows + base


@dataclass(slots=True, eq=False)
class _Member:
    feeds: dict[str, Array]
    rows: int
    future: asyncio.Future[tuple[dict[str, Array], float]]


class Batcher:
    """One version's batches. Used on one event loop."""

    def __init__(
        self, rules: Batching, run: Callable[[dict[str, Array]], Awaitable[tuple[dict[str, Array], float, float]]]
    ) -> None:
        """``run`` runs all outputs of some feeds, and gives them with CPU and wall seconds. Raises RequestError."""
        self._rules = rules
        self._run = run
        self._durations = Durations()
        self._waiting: dict[tuple[object, ...], list[_Member]] = {}
        self._timers: dict[tuple[object, ...], asyncio.TimerHandle] = {}
        self._running: set[asyncio.Task[None]] = set()
        self.sizes: list[int] = []
        """Rows of the most recent batches, at most 64."""

    async def infer(self, feeds: dict[str, Array], rows: int) -> tuple[dict[str, Array], float]:
        """This request's part of all outputs, and of the CPU seconds. Raises :class:`RequestError`."""
        key = tuple((name, feeds[name].shape[1:]) for name in sorted(feeds))
        member = _Member(feeds, rows, asyncio.get_running_loop().create_future())
        members = self._waiting.setdefault(key, [])
        if sum(one.rows for one in members) + rows > self._rules.max_size and members:
            self._go(key)
            members = self._waiting.setdefault(key, [])
        members.append(member)
        waiting = sum(one.rows for one in members)
        if waiting >= self._rules.max_size:
            self._go(key)
        else:
            self._wait(key, waiting)
        try:
            return await member.future
        finally:
            if member in self._waiting.get(key, ()):  # who gave up does not run
                self._waiting[key].remove(member)

    def _wait(self, key: tuple[object, ...], rows: int) -> None:
        if key in self._timers:
            return
        spare = self._rules.target - self._durations.expected(rows + 1)
        if spare <= 0:
            self._go(key)
            return
        # Half of what is left: the other half is for what no line foresees.
        self._timers[key] = asyncio.get_running_loop().call_later(spare / 2, self._go, key)

    def _go(self, key: tuple[object, ...]) -> None:
        timer = self._timers.pop(key, None)
        if timer is not None:
            timer.cancel()
        members = self._waiting.pop(key, [])
        if members:
            task = asyncio.ensure_future(self._answer(members))
            self._running.add(task)
            task.add_done_callback(self._running.discard)

    async def _answer(self, members: list[_Member]) -> None:
        rows = sum(member.rows for member in members)
        if len(members) == 1:
            feeds = members[0].feeds
        else:
            feeds = {name: np.concatenate([member.feeds[name] for member in members]) for name in members[0].feeds}
        try:
            outputs, cpu, seconds = await self._run(feeds)
        except Exception as error:
            await self._alone(members, error)
            return
        self._durations.observe(rows, seconds)
        self.sizes = [*self.sizes[-63:], rows]
        if any(array.shape[:1] != (rows,) for array in outputs.values()):
            # The model's declaration promised otherwise: then no part of the outputs is anybody's own.
            await self._alone(members, None)
            return
        start = 0
        for member in members:
            end = start + member.rows
            part = {name: array[start:end] for name, array in outputs.items()}
            if not member.future.done():
                member.future.set_result((part, cpu * member.rows / rows))
            start = end

    async def _alone(self, members: list[_Member], error: Exception | None) -> None:
        """One request's bad values must not fail its neighbours: each is run again by itself."""
        for member in members:
            if member.future.done():
                continue
            if len(members) == 1 and error is not None:
                member.future.set_exception(error)
                continue
            try:
                outputs, cpu, _ = await self._run(member.feeds)
            except Exception as own:
                member.future.set_exception(own)
            else:
                member.future.set_result((outputs, cpu))


def can_batch(signature: Signature) -> bool:
    """Whether the first dimension of every input and output is one and the same open size."""
    specs = (*signature.inputs, *signature.outputs)
    first = {spec.shape[0] if spec.shape else 1 for spec in specs}
    return len(first) == 1 and not isinstance(next(iter(first)), int)


def rows_of(feeds: dict[str, Array]) -> int | None:
    """The rows of a request; None where its inputs differ in them or have none."""
    sizes = {array.shape[0] for array in feeds.values()}
    return sizes.pop() if len(sizes) == 1 and 0 not in sizes else None
