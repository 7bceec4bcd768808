"""The models that answer, kept in step with the model repository on disk.

One loader thread looks at the disk and loads; the event loop alone changes what answers, by one assignment. So a swap
is instant, requests in flight finish on the model that they started with, and a version that does not load or fails its
first run never replaces one that answers.

Requests may ask to load and to unload (V2's model repository extension), within one rule: where ``active.json`` says
what answers, it alone does. The agent writes it as the fleet's repository says, and a request must not contradict Git.

What vanishes from the disk is served on from memory (fail static): a mount that is late or a disk that dies must not
silence a device. It ends with the process.
"""

from __future__ import annotations

import asyncio
import logging
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, TypeVar

from trimtab_edge import layout
from trimtab_edge.serving.calibration import CACHE_FILE
from trimtab_edge.serving.decisions import CohortCounter
from trimtab_edge.serving.engine import EngineOptions, load_engine
from trimtab_edge.serving.failure import Fault, RequestError
from trimtab_edge.serving.guards import Guard
from trimtab_edge.serving.model import ServedModel
from trimtab_edge.serving.notices import Notices
from trimtab_edge.serving.oversight import Oversight
from trimtab_edge.serving.pacing import Pacing
from trimtab_edge.serving.storage import (
    Sighting,
    look,
    models,
    passed_over,
    places,
    read_description_beside,
    read_files,
    versions,
    weights_size,
)
from trimtab_kernel.identity import IdentityError, Version
from trimtab_kernel.problems import InputError, Problem, printable, quoted

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path

    from trimtab_edge.serving.headroom import Headroom
    from trimtab_edge.telemetry.inference import InferenceCounts, VersionCounts

_T = TypeVar("_T")
_log = logging.getLogger("trimtab.serve")
POLL = 0.1
"""Seconds between two looks at the disk where nothing tells of changes."""
REST = 1.0
"""The same where the kernel does: what a file system does not tell of is seen by then."""
_SETTLE = 0.01
"""Seconds from a change to the look, since changes come in company."""
RETRY = 5.0
"""Seconds until a version that could not be read (not: was refused) is tried again."""


class State(Enum):
    """How the version that is to answer stands."""

    LOADING = "LOADING"
    READY = "READY"
    FAILED = "FAILED"
    UNLOADED = "UNLOADED"


@dataclass(frozen=True, slots=True)
class Standing:
    """The version that is to answer, and how far it is. ``digest`` is "" while none is known."""

    version: str
    digest: str
    state: State
    reason: str = ""


@dataclass(frozen=True, slots=True)
class IndexEntry:
    """One version of one model, in the words of V2's model repository index."""

    name: str
    version: str
    state: str
    reason: str


@dataclass(slots=True)
class Slot:
    """One model's place: what answers now, and how the version that is to answer stands."""

    standing: Standing
    seen: Sighting | None = None
    current: ServedModel | None = None
    counts: VersionCounts | None = None
    retry_at: float | None = None


_INDEX_STATES = {
    State.LOADING: "LOADING",
    State.READY: "READY",
    State.FAILED: "UNAVAILABLE",
    State.UNLOADED: "UNAVAILABLE",
}
"""The words that V2's index has for them."""


class ModelRepository:
    """All slots, by model name. Made and used on one event loop."""

    def __init__(
        self, directory: Path, counts: InferenceCounts, *, poll: float = POLL, engine: EngineOptions | None = None,
        headroom: Headroom | None = None,
    ) -> None:  # fmt: skip
        self._directory = directory
        self._counts = counts
        self._poll = poll
        self._engine = engine or EngineOptions()
        self._headroom = headroom
        self.on_change: Callable[[ServedModel], object] | None = None
        """Called on the event loop for each version that is about to answer."""
        self._loader = ThreadPoolExecutor(1, thread_name_prefix="load")
        self._unreadable = ""
        self._overlooked: list[str] = []
        self._places: list[Path] = [directory]
        # Looking, loading and unloading are done by one at a time.
        self._turn = asyncio.Lock()
        self.slots: dict[str, Slot] = {}
        self.looked = False
        """Whether the disk was read once: until then nobody knows which models there are to wait for."""

    async def watch(self) -> None:
        """Keep in step until cancelled."""
        notices = Notices()
        try:
            while True:
                await self.refresh()
                while notices.watch(self._places):
                    await self.refresh()
                self._counts.expire(time.monotonic())
                if notices.complete:
                    await notices.wait(REST)
                    await asyncio.sleep(_SETTLE)
                else:
                    await asyncio.sleep(self._poll)
        finally:
            notices.close()

    def close(self) -> None:
        """End the loader thread; what it is loading is thrown away."""
        self._loader.shutdown(wait=False, cancel_futures=True)

    async def refresh(self) -> None:
        """Look once, and bring everything that changed into step."""
        async with self._turn:
            found = await self._in_loader(self._look)
            # Every place first: who asks whether all models answer must be told of those that wait for their turn.
            for model, sighting in found:
                if model not in self.slots:
                    standing = Standing(sighting.version, str(sighting.digest or ""), State.LOADING)
                    self.slots[model] = Slot(standing)
            self.looked = self.looked or not self._unreadable
            for model, sighting in found:
                slot = self.slots[model]
                if slot.standing.state is State.UNLOADED and not sighting.is_ordered:
                    continue
                due = slot.retry_at is not None and time.monotonic() >= slot.retry_at
                if slot.seen != sighting or due:
                    await self._bring(model, sighting)

    async def load(self, model: str) -> None:
        """Look at one model now, and return once the version that is to answer does.

        Raises :class:`RequestError`: NOT_FOUND where the disk has no such model, CONFLICT where it does not load.
        """
        async with self._turn:
            sighting = await self._in_loader(self._look_at, model)
            if sighting is None:
                raise RequestError(Fault.NOT_FOUND, f"model {quoted(model)}: the repository has no version to load")
            slot = self.slots.get(model)
            if slot is None or slot.seen != sighting or slot.standing.state is not State.READY:
                await self._bring(model, sighting)
            standing = self.slots[model].standing
            if standing.state is not State.READY:
                raise RequestError(Fault.CONFLICT, f"model {quoted(model)} does not load: {standing.reason}")

    async def unload(self, model: str) -> None:
        """Let a model go, until it is loaded by request, or ordered, or the process starts anew. Its files stay.

        Raises :class:`RequestError`: NOT_FOUND, and CONFLICT where ``active.json`` says what answers.
        """
        async with self._turn:
            slot = self.slots.get(model)
            if slot is None:
                raise RequestError(Fault.NOT_FOUND, f"model {quoted(model)}: no such model")
            sighting = await self._in_loader(self._look_at, model)
            if sighting is not None and sighting.is_ordered:
                raise RequestError(
                    Fault.CONFLICT,
                    f"model {quoted(model)}: {layout.ACTIVE_FILE} says what answers; who writes that file may change it",
                )
            if slot.standing.state is State.UNLOADED:
                return
            last = slot.current
            version = last.version if last is not None else slot.standing.version
            slot.current, slot.seen, slot.retry_at = None, None, None
            slot.standing = Standing(version, slot.standing.digest, State.UNLOADED, "unloaded by request")
            if model in self._counts.models:
                self._counts.models[model].ready = None
            _log.info("%s %s unloaded by request", model, version)

    async def index(self) -> tuple[IndexEntry, ...]:
        """Every version that answers, is to answer, or lies on the disk; by name, newest version first."""
        on_disk = await self._in_loader(self._versions)
        entries = []
        for model in sorted(self.slots.keys() | on_disk.keys()):
            told: dict[str, IndexEntry] = {}
            slot = self.slots.get(model)
            if slot is not None:
                standing = slot.standing
                state = _INDEX_STATES[standing.state]
                told[standing.version] = IndexEntry(model, standing.version, state, standing.reason)
                if slot.current is not None:
                    told[slot.current.version] = IndexEntry(model, slot.current.version, "READY", "")
            for version in on_disk.get(model, ()):
                told.setdefault(version, IndexEntry(model, version, "UNAVAILABLE", "another version is to answer"))
            entries += [told[version] for version in _newest_first(told)]
        return tuple(entries)

    async def _in_loader(self, do: Callable[..., _T], *arguments: str) -> _T:
        return await asyncio.get_running_loop().run_in_executor(self._loader, do, *arguments)

    def _look_at(self, model: str) -> Sighting | None:
        """In the loader thread: one model, by a name that may be any text."""
        try:
            return look(self._directory, model) if model in models(self._directory) else None
        except OSError:
            return None

    def _versions(self) -> dict[str, list[str]]:
        """In the loader thread: the versions on the disk by model; where it cannot be read, none."""
        try:
            return {model: [str(v) for v in versions(self._directory, model)] for model in models(self._directory)}
        except OSError:
            return {}

    def _look(self) -> list[tuple[str, Sighting]]:
        """In the loader thread."""
        found, at = [], [self._directory]
        try:
            for model in models(self._directory):
                sighting = look(self._directory, model)
                at += places(self._directory, model, sighting)
                if sighting is not None:
                    found.append((model, sighting))
            self._unreadable = ""
            overlooked = passed_over(self._directory)
            for reason in overlooked:
                if reason not in self._overlooked:
                    _log.warning("passed over: %s", printable(reason, 300))
            self._overlooked = overlooked
        except OSError as error:
            if self._unreadable != str(error):
                self._unreadable = str(error)
                _log.error("model repository cannot be read: %s; serving what is loaded", printable(str(error)))
        self._places = at
        return found

    async def _bring(self, model: str, sighting: Sighting) -> None:
        digest = str(sighting.digest or "")
        slot = self.slots.setdefault(model, Slot(Standing(sighting.version, digest, State.LOADING)))
        slot.seen, slot.retry_at = sighting, None
        slot.standing = Standing(sighting.version, digest, State.LOADING)
        started = time.monotonic()
        try:
            loaded = await asyncio.get_running_loop().run_in_executor(
                self._loader, self._load, model, sighting, slot.current
            )
        except InputError as error:
            self._failed(model, slot, sighting, str(error))
        except (OSError, MemoryError) as error:
            slot.retry_at = time.monotonic() + RETRY
            what = str(error) if isinstance(error, MemoryError) else f"cannot be read: {error}"
            self._failed(model, slot, sighting, printable(what, 300))
        except Exception as error:
            # Whatever else goes wrong is ours; one model's trouble is not the others'.
            self._failed(model, slot, sighting, f"internal error ({type(error).__name__})")
        else:
            cohorts = loaded.counter.cohorts if loaded.counter else ()
            slot.counts = self._counts.answers(model, loaded.version, cohorts, time.monotonic())
            slot.counts.alignment = loaded.oversight.counts(slot.counts.alignment)
            slot.counts.info = loaded.description.labels()
            if self.on_change is not None:
                self.on_change(loaded)
            slot.current = loaded
            slot.standing = Standing(loaded.version, str(loaded.digest), State.READY)
            _log.info(
                "%s %s answers (%s, %.0f ms to load, %s, %d thread(s) per request)",
                model,
                loaded.version,
                loaded.digest,
                (time.monotonic() - started) * 1e3,
                ", ".join(loaded.session.providers),
                loaded.session.threads,
            )
            if loaded.session.left_out:
                _log.warning(
                    "%s %s: outputs that are no tensors are left out: %s",
                    model,
                    loaded.version,
                    loaded.session.left_out,
                )

    def _failed(self, model: str, slot: Slot, sighting: Sighting, reason: str) -> None:
        slot.standing = Standing(sighting.version, str(sighting.digest or ""), State.FAILED, reason)
        keeps = f"{slot.current.version} keeps answering" if slot.current else "no version answers"
        _log.error("%s %s does not answer: %s; %s", model, sighting.version or "(version unknown)", reason, keeps)

    def _load(self, model: str, sighting: Sighting, current: ServedModel | None) -> ServedModel:
        """In the loader thread. Raises :class:`InputError`, OSError and MemoryError."""
        if sighting.problem is not None:
            raise InputError(sighting.problem)
        place = f"{sighting.directory}/{layout.MODEL_FILE}"
        if current is not None and sighting.digest == current.digest:
            # The same bytes are loaded and warm: only what the fleet says about them changed.
            description = read_description_beside(self._directory, sighting)
            session, digest, pacing = current.session, current.digest, current.pacing
        else:
            self._check_room(sighting, place)
            files = read_files(self._directory, sighting)
            description, digest = files.description, files.digest
            cache = self._directory / sighting.directory / CACHE_FILE
            # A digest is of the model's file alone, so where one is stated no other file may hold weights.
            verified = sighting.digest is not None or description.digest is not None
            beside = None if verified else self._directory / sighting.directory
            engine = load_engine(files.content, digest, place, cache, self._engine, beside=beside)
            session, pacing = engine.session, Pacing()
            if engine.warm_up is not None:
                pacing.observe(engine.warm_up.elements, engine.warm_up.seconds)
        counter = CohortCounter(description.alignment, session.signature, place) if description.alignment else None
        conduct = description.conduct
        guard = (
            Guard(conduct, session.signature, place) if conduct.ranges or conduct.typical or conduct.boundary else None
        )
        oversight = Oversight(description.alignment, session.signature, counter, place)
        return ServedModel(model, sighting.version, digest, session, description, counter, oversight, pacing, guard)

    def _check_room(self, sighting: Sighting, place: str) -> None:
        """In the loader thread. Raises MemoryError where loading would take more memory than there is."""
        if self._headroom is None:
            return
        reason = self._headroom.refuses_load(weights_size(self._directory, sighting))
        if reason:
            raise MemoryError(str(Problem("E408", place, 0, "", reason, "a model that fits")))


def _newest_first(names: Iterable[str]) -> list[str]:
    """Versions in SemVer order, newest first. One that is none (the order could not be read) comes last."""
    proper, other = [], []
    for name in names:
        try:
            proper.append((Version.parse(name), name))
        except IdentityError:
            other.append(name)
    return [name for _, name in sorted(proper, reverse=True)] + other
