"""A model made ready to run: the providers it runs on, the threads it uses, and its first runs behind it."""

from __future__ import annotations

import logging
import math
import time
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from trimtab_edge.serving import calibration, providers
from trimtab_edge.serving.session import VERSION, OnnxSession, WarmUp, available_providers

if TYPE_CHECKING:
    from pathlib import Path

    from trimtab_kernel.identity import Digest

_log = logging.getLogger("trimtab.serve")


@dataclass(frozen=True, slots=True)
class EngineOptions:
    """``threads`` per request: None lets each model's calibration choose. ``wanted`` None: the best providers there are."""

    threads: int | None = None
    wanted: tuple[str, ...] | None = None


@dataclass(frozen=True, slots=True)
class Engine:
    """A warm session. ``warm_up`` is None where zeros are no input that the model takes."""

    session: OnnxSession
    warm_up: WarmUp | None


def load_engine(
    content: bytes, digest: Digest, place: str, cache: Path, options: EngineOptions, *, beside: Path | None = None
) -> Engine:
    """Load, warm up and tune. ``cache`` is the file beside the model; ``place`` is for messages; ``beside`` as for a session.

    Raises :class:`InputError` (E402) where the model does not load or does not run. A cache that cannot be written is no
    reason to fail: the choice is made again next time.
    """
    load = partial(_load, content, place, options.wanted or providers.choose(available_providers()), beside)
    if options.threads is not None:
        return load(options.threads)[0]
    cores = calibration.processor_cores()
    key = calibration.cache_key(digest, calibration.processor_name(), cores, VERSION)
    kept = calibration.read_choice(cache, key, cores)
    if kept is not None:
        return load(kept)[0]
    alone, load_seconds = load(1)
    warm = alone.warm_up
    if warm is None or warm.seconds < calibration.BREAK_EVEN or alone.session.providers != (providers.CPU,):
        return alone
    threads = calibration.choose_threads(
        calibration.Timing(warm.seconds, warm.cpu_seconds), cores, partial(_measure, load), time.monotonic,
        load_seconds=load_seconds,
    )  # fmt: skip
    try:
        calibration.write_choice(cache, key, threads)
    except OSError as error:
        _log.info("%s: calibration is not kept: %s", place, error.strerror)
    _log.info("%s: %d thread(s) per request, %.1f ms with one", place, threads, warm.seconds * 1e3)
    return alone if threads == 1 else load(threads)[0]


def _load(
    content: bytes, place: str, wanted: tuple[str, ...], beside: Path | None, threads: int
) -> tuple[Engine, float]:
    started = time.monotonic()
    session = OnnxSession(content, place, threads=threads, wanted=wanted, beside=beside)
    took = time.monotonic() - started
    return Engine(session, session.warm_up()), took


def _measure(load: partial[tuple[Engine, float]], threads: int) -> calibration.Timing:
    engine, _ = load(threads)
    runs = [run for run in (engine.warm_up, engine.session.warm_up()) if run is not None]
    return calibration.Timing(
        min((run.seconds for run in runs), default=math.inf), min((run.cpu_seconds for run in runs), default=math.inf)
    )
