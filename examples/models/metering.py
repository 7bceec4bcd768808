"""What one inference costs on the machine that builds: CPU, wall time and memory of a file in a process of its own.

Files are measured in turn, several passes over all of them, so that a slow minute of the machine slows all alike. Rows
are held-out ones, one at a time. CPU is that of the whole process (so of every thread of the runtime), Python's call into
it included. Run as ``python -m examples.models.metering FILE ROWS.npz`` for one pass over one file; prints JSON.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import onnxruntime

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

PASSES = 6
ROUNDS = 9
ROUND_CPU_SECONDS = 0.03
WARM_UP = 20
ROOT = Path(__file__).resolve().parents[2]


def session(data: bytes) -> onnxruntime.InferenceSession:
    """A session as a device runs it: one thread, no spinning, CPU only."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    return onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"])


@dataclass(frozen=True, slots=True)
class Subject:
    """A file to measure, and what to ask it about: rows [n, ...] by input, numbers or texts."""

    file: Path
    feeds: Mapping[str, NDArray[Any]]


def meter(subjects: Sequence[Subject], passes: int = PASSES) -> list[dict[str, Any]]:
    """Cost of one inference of each file, in the order given.

    CPU and wall seconds are the 10th percentile over ``passes`` x ``ROUNDS`` rounds, since what else a machine does only
    ever adds to them, with the least of the rounds as ``low`` and the 95th percentile as ``high``. ``addedMemoryBytes``
    is the median over passes of the peak resident memory that loading and running adds to a process.
    Raises subprocess.CalledProcessError where a file cannot be run.
    """
    with tempfile.TemporaryDirectory() as folder:
        table = [Path(folder) / f"{number}.npz" for number in range(len(subjects))]
        for path, subject in zip(table, subjects, strict=True):
            np.savez(path, allow_pickle=False, **{name: _stored(rows) for name, rows in subject.feeds.items()})
        found: list[list[dict[str, Any]]] = [[] for _ in subjects]
        for _ in range(passes):
            for place, subject in enumerate(subjects):
                command = [sys.executable, "-m", "examples.models.metering"]
                command += [str(subject.file.resolve()), str(table[place])]
                done = subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.PIPE, timeout=120)
                found[place].append(json.loads(done.stdout))
    return [_combined(measured) for measured in found]


def _combined(measured: Sequence[dict[str, Any]]) -> dict[str, Any]:
    return {
        "cpuSecondsPerInference": _figure([value for one in measured for value in one["cpu"]]),
        "wallSecondsPerInference": _figure([value for one in measured for value in one["wall"]]),
        "addedMemoryBytes": round(statistics.median(one["memory"] for one in measured)),
        "inferences": sum(one["inferences"] for one in measured),
    }


def _figure(values: list[float]) -> dict[str, float]:
    low, value, high = (float(f"{found:.3g}") for found in np.percentile(values, [0, 10, 95]))
    return {"value": value, "low": low, "high": high}


def _resident_bytes(field: str) -> int:
    for line in Path("/proc/self/status").read_text(encoding="ascii").splitlines():
        if line.startswith(field):
            return int(line.split()[1]) * 1024
    raise OSError(f"no {field} in /proc/self/status: memory can be measured on Linux only")


def _stored(rows: NDArray[Any]) -> NDArray[Any]:
    return rows.astype(str) if rows.dtype.kind == "O" else rows.astype(np.float32)


def _one_pass(file: Path, feeds: Mapping[str, NDArray[Any]]) -> dict[str, Any]:
    given = {name: rows.astype(object) if rows.dtype.kind == "U" else rows for name, rows in feeds.items()}
    count = min(len(rows) for rows in given.values())
    requests = [{name: rows[place : place + 1] for name, rows in given.items()} for place in range(count)]
    before = _resident_bytes("VmRSS")
    model = session(file.read_bytes())
    start = time.process_time()
    for request in requests[:WARM_UP]:
        model.run(None, request)
    count = max(1, round(ROUND_CPU_SECONDS * WARM_UP / (time.process_time() - start)))
    memory = max(0, _resident_bytes("VmHWM") - before)

    cpu: list[float] = []
    wall: list[float] = []
    place = 0
    for _ in range(ROUNDS):
        cpu_start, wall_start = time.process_time(), time.perf_counter()
        for _ in range(count):
            model.run(None, requests[place])
            place = (place + 1) % len(requests)
        cpu.append((time.process_time() - cpu_start) / count)
        wall.append((time.perf_counter() - wall_start) / count)
    return {"cpu": cpu, "wall": wall, "memory": memory, "inferences": count * ROUNDS}


if __name__ == "__main__":
    print(json.dumps(_one_pass(Path(sys.argv[1]), np.load(sys.argv[2]))))
