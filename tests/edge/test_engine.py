"""How a model is made ready: its threads, its providers, and that nothing spins."""

from __future__ import annotations

import json
import os
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.edge import graphs
from trimtab_edge.serving import calibration, providers
from trimtab_edge.serving.calibration import BREAK_EVEN, BUDGET, Timing, choose_threads
from trimtab_edge.serving.engine import EngineOptions, load_engine
from trimtab_edge.serving.failure import Fault, RequestError
from trimtab_edge.serving.pool_clock import PoolClock, native_threads
from trimtab_edge.serving.session import INTER_SPINNING, INTRA_SPINNING, Cancellation, OnnxSession
from trimtab_kernel.identity import Digest


class Box:
    """A box on which ``n`` threads take ``seconds[n]``; loading and measuring cost time as well."""

    def __init__(self, seconds: dict[int, float], cpu: dict[int, float], load: float) -> None:
        self.seconds, self.cpu, self.load = seconds, cpu, load
        self.clock = 0.0
        self.tried: list[int] = []

    def measure(self, threads: int) -> Timing:
        self.tried.append(threads)
        self.clock += self.load + calibration.RUNS * self.seconds[threads]
        return Timing(self.seconds[threads], self.cpu[threads])

    def choose(self, cores: int) -> int:
        alone = Timing(self.seconds[1], self.cpu[1])
        return choose_threads(alone, cores, self.measure, lambda: self.clock, load_seconds=self.load)


@pytest.mark.parametrize(
    ("seconds", "cpu", "cores", "chosen"),
    [
        ({1: 0.0009, 2: 0.0001}, {1: 0.0009, 2: 0.0009}, 2, 1),
        ({1: 0.010, 2: 0.006}, {1: 0.010, 2: 0.011}, 2, 2),
        ({1: 0.010, 2: 0.009}, {1: 0.010, 2: 0.011}, 2, 1),
        ({1: 0.010, 2: 0.005}, {1: 0.010, 2: 0.014}, 2, 1),
        ({1: 0.010, 2: 0.005, 4: 0.0045}, {1: 0.01, 2: 0.01, 4: 0.01}, 4, 2),
        ({1: 0.010, 2: 0.005, 4: 0.0025}, {1: 0.01, 2: 0.01, 4: 0.011}, 4, 4),
        ({1: 0.010, 2: 0.005, 4: 0.0025}, {1: 0.01, 2: 0.01, 4: 0.011}, 3, 2),
    ],
    ids=["quick alone", "two pay", "two gain little", "two cost CPU", "four gain little", "four pay", "three cores"],
)
def test_threads_are_as_many_as_pay(seconds: dict[int, float], cpu: dict[int, float], cores: int, chosen: int) -> None:
    assert Box(seconds, cpu, 0.01).choose(cores) == chosen


@given(st.floats(1e-5, 5), st.lists(st.floats(0.3, 2), min_size=6, max_size=6), st.floats(0, 3), st.integers(1, 64))
def test_a_calibration_keeps_its_budget_and_its_cores(
    alone: float, factors: list[float], load: float, cores: int
) -> None:
    """As long as more threads are not slower than said: then one measurement may exceed it, and nothing follows."""
    seconds = {1: alone}
    for place, factor in enumerate(factors):
        seconds[2 ** (place + 1)] = seconds[2**place] * min(factor, 1)
    box = Box(seconds, dict.fromkeys(seconds, alone), load)
    assert 1 <= box.choose(cores) <= cores
    assert box.clock <= BUDGET
    assert alone >= BREAK_EVEN or box.tried == []


@pytest.mark.parametrize("threads", [1, 2])
def test_the_sessions_own_configuration_says_that_nothing_spins(threads: int) -> None:
    session = OnnxSession(graphs.adder(0.5), "m", threads=threads)
    assert session.config_entry(INTRA_SPINNING) == "0"
    assert session.config_entry(INTER_SPINNING) == "0"


def test_an_idle_session_with_a_pool_burns_no_cpu() -> None:
    """With spinning, a pool of one extra thread burns most of a core for seconds after a run."""
    session = OnnxSession(graphs.slow(1.0, 20), "m", threads=2)
    session.run(["y"], {"x": np.ones(1, np.float32)})
    before = time.process_time()
    threading.Event().wait(0.3)
    assert time.process_time() - before < 0.05


def test_the_cpu_time_of_the_pool_is_part_of_the_requests() -> None:
    if not Path("/proc/self/task").is_dir():
        pytest.skip("needs /proc")
    session = OnnxSession(graphs.slow(1.0, 60), "m", threads=2)
    before = time.process_time()
    parts = [session.run(["y"], {"x": np.ones(1, np.float32)})[1] for _ in range(5)]
    whole = time.process_time() - before
    assert 0.8 * whole < sum(parts) <= whole * 1.02


def test_a_clock_of_no_threads_stands_still() -> None:
    clock = PoolClock(frozenset())
    assert clock.take() == 0
    assert threading.main_thread().native_id not in native_threads()


def test_a_run_can_be_ended_from_another_thread() -> None:
    session = OnnxSession(graphs.slow(1.0, 4000), "m")
    cancellation = Cancellation()
    timer = threading.Timer(0.05, cancellation.ask)
    timer.start()
    started = time.monotonic()
    with pytest.raises(RequestError) as caught:
        session.run(["y"], {"x": np.ones(1, np.float32)}, cancellation)
    timer.join()
    assert caught.value.fault is Fault.DEADLINE
    assert time.monotonic() - started < 1


def test_a_choice_is_kept_under_everything_that_it_depends_on(tmp_path: Path) -> None:
    digest = Digest.of(b"m")
    key = calibration.cache_key(digest, "cpu", 4, "1.0")
    path = tmp_path / calibration.CACHE_FILE
    assert calibration.read_choice(path, key, 4) is None
    calibration.write_choice(path, key, 4)
    assert calibration.read_choice(path, key, 4) == 4
    assert calibration.read_choice(path, key, 2) is None
    others = [
        calibration.cache_key(Digest.of(b"n"), "cpu", 4, "1.0"),
        calibration.cache_key(digest, "cpv", 4, "1.0"),
        calibration.cache_key(digest, "cpu", 2, "1.0"),
        calibration.cache_key(digest, "cpu", 4, "1.1"),
    ]
    assert [calibration.read_choice(path, other, 4) for other in others] == [None] * 4


@pytest.mark.parametrize(
    "content",
    [b"", b"[", b"[" * 5000, b"{}", b'{"key": "k", "threads": "2"}', b'{"key": "k", "threads": true}',
     b'{"key": "k", "threads": 0}', b'{"key": "k", "threads": 2' + b" " * 5000 + b"}", b"\xff"],
)  # fmt: skip
def test_a_cache_that_is_not_ours_is_no_choice(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "c").write_bytes(content)
    assert calibration.read_choice(tmp_path / "c", "k", 8) is None


def test_a_small_model_is_neither_searched_nor_cached(tmp_path: Path) -> None:
    content = graphs.adder(0.5)
    engine = load_engine(content, Digest.of(content), "m", tmp_path / "c", EngineOptions())
    assert engine.session.threads == 1
    assert engine.warm_up is not None
    assert not (tmp_path / "c").exists()


def test_a_heavy_model_is_calibrated_once_and_the_choice_is_obeyed(tmp_path: Path) -> None:
    content = graphs.slow(1.0, 60)
    digest = Digest.of(content)
    started = time.monotonic()
    first = load_engine(content, digest, "m", tmp_path / "c", EngineOptions())
    assert time.monotonic() - started < BUDGET + 3
    kept = json.loads((tmp_path / "c").read_bytes())
    assert kept["threads"] == first.session.threads <= calibration.processor_cores()
    calibration.write_choice(tmp_path / "c", kept["key"], 1)
    assert load_engine(content, digest, "m", tmp_path / "c", EngineOptions()).session.threads == 1
    assert load_engine(content, digest, "m", tmp_path / "c", EngineOptions(threads=2)).session.threads == 2


def test_a_cache_that_cannot_be_written_is_no_failure(tmp_path: Path) -> None:
    content = graphs.slow(1.0, 60)
    engine = load_engine(content, Digest.of(content), "m", tmp_path / "none" / "c", EngineOptions())
    assert engine.warm_up is not None


def test_cores_are_those_of_affinity_and_quota(tmp_path: Path) -> None:
    own = len(os.sched_getaffinity(0))
    assert calibration.processor_cores(tmp_path) == own
    (tmp_path / "cpu.max").write_text("max 100000\n")
    assert calibration.processor_cores(tmp_path) == own
    (tmp_path / "cpu.max").write_text("50000 100000\n")
    assert calibration.processor_cores(tmp_path) == 1


def test_providers_are_the_best_there_are_and_the_processor_is_always_last() -> None:
    assert providers.choose([]) == (providers.CPU,)
    assert providers.choose(["AzureExecutionProvider", "CPUExecutionProvider"]) == (providers.CPU,)
    assert providers.choose(["OpenVINOExecutionProvider", "CUDAExecutionProvider"]) == (
        "CUDAExecutionProvider",
        "OpenVINOExecutionProvider",
        providers.CPU,
    )


@pytest.mark.filterwarnings("ignore:Specified provider")
def test_a_provider_that_does_not_work_here_is_left_out_and_said() -> None:
    session = OnnxSession(graphs.adder(0.5), "m", wanted=("CUDAExecutionProvider", providers.CPU))
    assert session.providers == (providers.CPU,)
