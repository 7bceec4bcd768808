"""The Trimtab half of ``bench policy``, a process of its own: prints one line of JSON with decisions per second of CPU."""

from __future__ import annotations

import json
import resource
import sys
import time
from pathlib import Path

from trimtab_config.policy.shipped import bundle_at
from trimtab_config.policy.wasm import WasmPolicyEngine


def rate(engine: WasmPolicyEngine, batches: list[list[bytes]], seconds: float) -> float:
    """Decisions for each second of this process's CPU, over at least ``seconds`` of it."""
    done, begin = 0, time.process_time()
    while (spent := time.process_time() - begin) < seconds:
        for batch in batches:
            engine.decide(batch)
            done += len(batch)
    return done / spent


def main() -> int:
    """Arguments: folder of the bundle, file of requests (one JSON document a line), seconds for each figure."""
    folder, file, seconds = Path(sys.argv[1]), Path(sys.argv[2]), float(sys.argv[3])
    requests = file.read_bytes().splitlines()
    begin = time.process_time()
    engine = WasmPolicyEngine(bundle_at(folder))
    engine.decide(requests[:1])
    ready = time.process_time() - begin
    found = {"ready": ready}
    for size in (1, 5, 50):
        batches = [requests[start : start + size] for start in range(0, len(requests), size)]
        found[str(size)] = rate(engine, batches, seconds)
    found["rss"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e6
    found["module"] = engine.memory_bytes / 1e6
    print(json.dumps(found))
    return 0


if __name__ == "__main__":
    sys.exit(main())
