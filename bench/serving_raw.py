"""What a model costs without any server: ``session.run`` in this process. Prints one line of JSON.

``python -m bench.serving_raw SHAPE MOST SECONDS RATE`` with the model in BENCH_MODEL; RATE 0 is as fast as it can.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

import numpy as np

from bench.process_trees import own_memory

sys.path.insert(0, str(Path(__file__).resolve().parent / "peers"))  # peers have it on their path as well


def main(shape: list[int], most: int, seconds: float, rate: float) -> None:
    """Measure and print."""
    from peer_session import open_session

    session = open_session()
    names = [output.name for output in session.get_outputs()]
    feed = {"x": np.random.default_rng(0).random(shape, np.float32)}
    for _ in range(20):
        session.run(names, feed)
    latencies: list[float] = []
    begin, cpu = time.perf_counter(), time.process_time()
    while len(latencies) < most and (since := time.perf_counter()) < begin + seconds:
        if rate:
            since = begin + len(latencies) / rate
            time.sleep(max(0.0, since - time.perf_counter()))
        session.run(names, feed)
        latencies.append(time.perf_counter() - since)
    if rate:
        time.sleep(max(0.0, begin + seconds - time.perf_counter()))
    wall, spent = time.perf_counter() - begin, time.process_time() - cpu
    memory = own_memory()
    print(json.dumps({"latencies": latencies, "wall": wall, "cpu": spent, "rss": memory.resident, "pss": memory.proportional}))  # fmt: skip


if __name__ == "__main__":
    main(json.loads(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3]), float(sys.argv[4]))
