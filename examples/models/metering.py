"""What one inference costs on the machine that builds: CPU, wall time and memory of a file in a process of its own.

Run as ``python -m examples.models.metering FILE INPUT MODEL``; prints one JSON object. Rows are the held-out ones, one
at a time. CPU is that of the whole process (so of every thread of the runtime), Python's call into it included.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

ROUNDS = 21
ROUND_CPU_SECONDS = 0.03
ROOT = Path(__file__).resolve().parents[2]


def meter(file: Path, source: str, model: str) -> dict[str, Any]:
    """Cost of one inference of ``file``: medians over rounds, with the 5th and 95th percentile of rounds.

    Measured in a fresh process, so that memory is the file's own. Raises subprocess.CalledProcessError if that fails.
    """
    command = [sys.executable, "-m", "examples.models.metering", str(file.resolve()), source, model]
    done = subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.PIPE, timeout=300)
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def _resident_bytes(field: str) -> int:
    for line in Path("/proc/self/status").read_text(encoding="ascii").splitlines():
        if line.startswith(field):
            return int(line.split()[1]) * 1024
    raise OSError(f"no {field} in /proc/self/status: memory can be measured on Linux only")


def _figure(values: list[float]) -> dict[str, float]:
    ordered = sorted(values)
    edge = max(1, round(len(ordered) * 0.05))
    return {
        "value": float(f"{statistics.median(ordered):.3g}"),
        "low": float(f"{ordered[edge - 1]:.3g}"),
        "high": float(f"{ordered[-edge]:.3g}"),
    }


def _measure(file: Path, source: str, model: str) -> dict[str, Any]:
    import numpy as np

    from examples.models.evaluation import session
    from examples.models.rows import digits, patients

    rows = patients().held_out.features if model == "triage" else digits().held_out.pixels
    requests = [row.reshape(1, -1) for row in rows.astype(np.float32)]
    before = _resident_bytes("VmRSS")
    loaded = session(file.read_bytes())
    for request in requests[:20]:
        loaded.run(None, {source: request})
    added = max(0, _resident_bytes("VmHWM") - before)

    count, place = 1, 0
    cpu: list[float] = []
    wall: list[float] = []
    while len(cpu) < ROUNDS:
        cpu_start, wall_start = time.process_time(), time.perf_counter()
        for _ in range(count):
            loaded.run(None, {source: requests[place]})
            place = (place + 1) % len(requests)
        spent, lasted = time.process_time() - cpu_start, time.perf_counter() - wall_start
        if spent < ROUND_CPU_SECONDS and not cpu:
            count *= 2
            continue
        cpu.append(spent / count)
        wall.append(lasted / count)
    return {
        "cpuSecondsPerInference": _figure(cpu),
        "wallSecondsPerInference": _figure(wall),
        "addedMemoryBytes": added,
        "inferences": count * ROUNDS,
    }


if __name__ == "__main__":
    print(json.dumps(_measure(Path(sys.argv[1]), sys.argv[2], sys.argv[3])))
