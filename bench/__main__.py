"""``make bench`` lists the benches; ``make bench BENCH=render`` runs one, with its own options behind the name."""

from __future__ import annotations

import runpy
import sys
from pathlib import Path

BENCHES = {
    "cmp": "a render inside Argo CD's plugin protocol: native, in exec mode, and helm template of the same objects",
    "cost": "the month of 1,000 groups of 50 deployments: from files to the bill, beside the same sums in pandas",
    "forecast": "coverage of 80 % intervals by horizon, on simulated fleets and real series; ETS of statsmodels beside it",
    "plan": "the waves of a rollout over 1,000,000 devices, beside each device's own question asked a million times",
    "policy": "decisions by policy for each second of CPU, one at a time and batched, beside OPA itself",
    "render": "compile fleets of up to 1,000 groups: time, memory, growth, one changed group, and a peer beside it",
    "serving": "a request on trimtab-edge serve, MLServer, KServe, LitServe, BentoML: CPU, memory, latency, rate",
}


def main(argv: list[str]) -> int:
    """List, or run the named bench. 64 for an unknown name."""
    if not argv:
        width = max(map(len, BENCHES))
        for name, summary in BENCHES.items():
            print(f"  {name:<{width}}  {summary}")
        print("run one: make bench BENCH=render (or .venv/bin/python bench render --help)")
        return 0
    name, *options = argv
    if name not in BENCHES:
        print(f"bench: no bench {name!r}; there are {', '.join(BENCHES)}", file=sys.stderr)
        return 64
    sys.argv = [f"bench {name}", *options]
    runpy.run_module(f"bench.{name}", run_name="__main__")
    return 0


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # run as a folder, it knows its siblings all the same
    sys.exit(main(sys.argv[1:]))
