"""The models that answer, kept in step with the model repository on disk.

One loader thread looks at the disk and loads; the event loop alone changes what answers, by one assignment. So a swap
is instant, requests in flight finish on the model that they started with, and a version that does not load or fails its
first run never replaces one that answers.

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
from typing import TYPE_CHECKING

from trimtab_edge import layout
from trimtab_edge.serving.decisions import CohortCounter
from trimtab_edge.serving.model import ServedModel
from trimtab_edge.serving.pacing import Pacing
from trimtab_edge.serving.session import OnnxSession
from trimtab_edge.serving.storage import Sighting, look, models, read_description_beside, read_files
from trimtab_kernel.problems import InputError, printable

if TYPE_CHECKING:
    from pathlib import Path

    from trimtab_edge.telemetry.inference import InferenceCounts, VersionCounts

_log = logging.getLogger("trimtab.serve")
POLL = 0.1
"""Seconds between two looks at the disk."""
RETRY = 5.0
"""Seconds until a version that could not be read (not: was refused) is tried again."""


class State(Enum):
    """How the version that is to answer stands."""

    LOADING = "LOADING"
    READY = "READY"
    FAILED = "FAILED"


@dataclass(frozen=True, slots=True)
class Standing:
    """The version that is to answer, and how far it is. ``digest`` is "" while none is known."""

    version: str
    digest: str
    state: State
    reason: str = ""


@dataclass(slots=True)
class Slot:
    """One model's place: what answers now, and how the version that is to answer stands."""

    standing: Standing
    seen: Sighting | None = None
    current: ServedModel | None = None
    counts: VersionCounts | None = None
    retry_at: float | None = None


class ModelRepository:
    """All slots, by model name. Made and used on one event loop."""

    def __init__(self, directory: Path, counts: InferenceCounts, *, poll: float = POLL) -> None:
        self._directory = directory
        self._counts = counts
        self._poll = poll
        self._loader = ThreadPoolExecutor(1, thread_name_prefix="load")
        self._unreadable = ""
        self.slots: dict[str, Slot] = {}

    async def watch(self) -> None:
        """Keep in step until cancelled."""
        while True:
            await self.refresh()
            self._counts.expire(time.monotonic())
            await asyncio.sleep(self._poll)

    def close(self) -> None:
        """End the loader thread; what it is loading is thrown away."""
        self._loader.shutdown(wait=False, cancel_futures=True)

    async def refresh(self) -> None:
        """Look once, and bring everything that changed into step."""
        loop = asyncio.get_running_loop()
        for model, sighting in await loop.run_in_executor(self._loader, self._look):
            slot = self.slots.get(model)
            due = slot is not None and slot.retry_at is not None and time.monotonic() >= slot.retry_at
            if slot is None or slot.seen != sighting or due:
                await self._bring(model, sighting)

    def _look(self) -> list[tuple[str, Sighting]]:
        """In the loader thread."""
        found = []
        try:
            for model in models(self._directory):
                sighting = look(self._directory, model)
                if sighting is not None:
                    found.append((model, sighting))
            self._unreadable = ""
        except OSError as error:
            if self._unreadable != str(error):
                self._unreadable = str(error)
                _log.error("model repository cannot be read: %s; serving what is loaded", printable(str(error)))
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
            self._failed(model, slot, sighting, printable(f"cannot be read: {error}", 300))
        else:
            cohorts = loaded.counter.cohorts if loaded.counter else ()
            slot.counts = self._counts.answers(model, loaded.version, cohorts, time.monotonic())
            slot.current = loaded
            slot.standing = Standing(loaded.version, str(loaded.digest), State.READY)
            _log.info(
                "%s %s answers (%s, %.0f ms to load)",
                model,
                loaded.version,
                loaded.digest,
                (time.monotonic() - started) * 1e3,
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
            files = read_files(self._directory, sighting)
            description, digest = files.description, files.digest
            session = OnnxSession(files.content, place)
            pacing = Pacing()
            warm = session.warm_up()
            if warm is not None:
                pacing.observe(warm.elements, warm.cpu_seconds)
        counter = CohortCounter(description.alignment, session.signature, place) if description.alignment else None
        return ServedModel(model, sighting.version, digest, session, description, counter, pacing)
