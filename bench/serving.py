"""What a request costs on ``trimtab-edge serve`` and on other servers: CPU, memory, latency, requests per second."""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING

import numpy as np

from bench.loads import Connection, Load, ServerFailedError, closed_loop, paced, percentile, request_bytes
from bench.serving_models import binary_body, perceptron, picture, tiny
from bench.serving_stands import PATH, STANDS, Running, check_answer, installed, json_request, prepare, start, variables

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from bench.serving_models import BenchModel
    from bench.serving_stands import Stand

_RAW = "session.run, no server"
_RATE = 10.0
_IDLE_SECONDS = 3.0


@dataclass(frozen=True, slots=True)
class Plan:
    """One load: ``most`` requests on ``connections``, or ``rate`` a second on one where a rate is given."""

    key: str
    title: str
    model: str
    connections: int = 4
    most: int = 20_000
    binary: bool = False
    rate: float = 0.0


PLANS = (
    Plan("tiny", "tiny model, FP32[1,4] in JSON, 4 connections", "tiny"),
    Plan("saturation", "saturation: the tiny model, JSON, 32 connections", "tiny", connections=32),
    Plan("picture-json", "602 kB tensor in JSON, 2 connections", "picture", connections=2),
    Plan(
        "picture-binary", "602 kB tensor in V2's binary extension, 2 connections", "picture", connections=2, binary=True
    ),
    Plan("paced", f"MLP of 12 MB at {_RATE:g} requests a second, JSON", "perceptron", connections=1, rate=_RATE),
)


@dataclass(slots=True)
class Figures:
    """What one server did under one load, run by run. ``problem``: why there is nothing (more) of it."""

    cpu: list[float] = field(default_factory=list)
    """Microseconds of CPU for a request."""
    busy: list[float] = field(default_factory=list)
    """CPU in percent of one core."""
    rates: list[float] = field(default_factory=list)
    latencies: list[float] = field(default_factory=list)
    resident: list[float] = field(default_factory=list)
    proportional: list[float] = field(default_factory=list)
    processes: int = 1
    idle: float | None = None
    """CPU in percent of one core before any load."""
    problem: str = ""

    def add(self, load: Load, cpu: float) -> None:
        """One run that took so many CPU seconds."""
        if load.latencies:
            self.cpu.append(cpu / len(load.latencies) * 1e6)
            self.busy.append(cpu / load.seconds * 100)
            self.rates.append(len(load.latencies) / load.seconds)
            self.latencies.extend(load.latencies)


def parser() -> argparse.ArgumentParser:
    """The options."""
    stands, plans = [stand.key for stand in STANDS], [plan.key for plan in PLANS]
    made = argparse.ArgumentParser(prog="bench serving", description=__doc__)
    made.add_argument("--servers", nargs="+", choices=stands, default=stands, help="which to compare (default: all)")
    made.add_argument("--loads", nargs="+", choices=plans, default=plans, help="which to measure (default: all)")
    made.add_argument("--runs", type=int, default=3, help="runs of each, interleaved (default: 3)")
    made.add_argument("--seconds", type=float, default=3.0, help="longest time of a run (default: 3; paced: thrice)")
    made.add_argument("--cpu-watts", type=float, default=10.0, help="watts of one busy core, for the millijoules of a request, which are modelled (default: 10)")  # fmt: skip
    return made


def main() -> int:
    """Measure and print a table for each load. 3 where Trimtab itself could not be measured."""
    options = parser().parse_args()
    stands = [stand for stand in STANDS if stand.key in options.servers]
    plans = [plan for plan in PLANS if plan.key in options.loads]
    _heading(options)
    missing = {}
    for name in sorted({stand.environment for stand in stands} - {""}):
        if (reason := installed(name)) is not None:
            missing[name] = f"not installed: {reason}"
    failed = False
    for model in (tiny(), picture(), perceptron()):
        own = [plan for plan in plans if plan.model == model.name]
        if own:
            tables = _measure(model, own, stands, missing, options)
            for plan in own:
                _table(plan, tables[plan.key], options.cpu_watts)
                failed = failed or bool(tables[plan.key].get(STANDS[0].title, Figures()).problem)
    return 3 if failed else 0


def _heading(options: argparse.Namespace) -> None:
    load = os.getloadavg()[0]
    print(f"Python {platform.python_version()}, {os.cpu_count()} cores, load {load:.1f} at the start; loopback, one server is asked at a time.")  # fmt: skip
    print(f"{options.runs} interleaved runs of at most {options.seconds:g} s; CPU, rates and memory are medians, percentiles of all runs together;")  # fmt: skip
    print("CPU is that of a server's whole process tree. RSS counts shared pages once a process, PSS once.")
    print("The models are made for this bench from fixed seeds. Trimtab runs as it comes, with all metrics; of the tiny model it")  # fmt: skip
    print("counts cohorts as well. The peers' sessions are tuned by hand (one thread, no spinning), their request logs are off.")  # fmt: skip
    print(f"Energy is modelled, not measured: CPU time at {options.cpu_watts:g} W for a busy core.\n")


def _measure(
    model: BenchModel,
    plans: Sequence[Plan],
    stands: Sequence[Stand],
    missing: Mapping[str, str],
    options: argparse.Namespace,
) -> dict[str, dict[str, Figures]]:
    """Start every server for one model, load them in turn, stop them."""
    tables: dict[str, dict[str, Figures]] = {
        plan.key: {**{stand.title: Figures() for stand in stands}, _RAW: Figures()} for plan in plans
    }
    with tempfile.TemporaryDirectory(prefix="trimtab-bench-") as name:
        folder = Path(name)
        file = prepare(folder, model)
        environment = variables(file, "tuned")
        expected = _expected(environment, model)
        running: list[Running] = []
        try:
            for stand in stands:
                problem = missing.get(stand.environment, "")
                try:
                    if not problem:
                        running.append(start(stand, folder, environment, model, expected))
                except (OSError, ServerFailedError) as error:
                    problem = f"did not start: {error}"
                for plan in plans:
                    tables[plan.key][stand.title].problem = problem
            idle = _idle(running)
            for plan in plans:
                for title, share in idle.items():
                    tables[plan.key][title].idle = share
                _interleaved(plan, tables[plan.key], running, model, expected, environment, options)
        finally:
            for each in running:
                each.tree.stop()
    return tables


def _interleaved(
    plan: Plan,
    table: dict[str, Figures],
    running: Sequence[Running],
    model: BenchModel,
    expected: list[float],
    environment: Mapping[str, str],
    options: argparse.Namespace,
) -> None:
    """Each run begins with another server, so that none has always the same neighbour in time."""
    seconds = options.seconds * (3 if plan.rate else 1)
    if plan.rate:
        table["session.run, onnxruntime's defaults"] = Figures()
    for number in range(options.runs):
        turn = number % max(1, len(running))
        for each in [*running[turn:], *running[:turn]]:
            figures = table[each.stand.title]
            if plan.binary and not each.stand.binary:
                figures.problem = "takes no V2 binary tensors over HTTP"
            if figures.problem:
                continue
            try:
                _run(plan, figures, each, model, expected, seconds)
            except (OSError, ServerFailedError) as error:
                figures.problem = f"failed under load: {str(error) or type(error).__name__}"
        _raw(plan, table[_RAW], model, environment, seconds)
        if plan.rate:
            _raw(plan, table["session.run, onnxruntime's defaults"], model, {**environment, "BENCH_SESSION": "defaults"}, seconds)  # fmt: skip


def _run(plan: Plan, figures: Figures, each: Running, model: BenchModel, expected: list[float], seconds: float) -> None:
    if plan.binary:
        body, head = binary_body(model)
        headers = [("Content-Type", "application/octet-stream"), ("Inference-Header-Content-Length", str(head))]
        request = request_bytes(each.port, PATH, body, headers)
    else:
        request = json_request(each.port, model)
    connections: list[Connection] = []
    try:
        for _ in range(plan.connections):
            connections.append(Connection(each.port))
        check_answer(connections[0].exchange(request)[1], expected)
        closed_loop(connections, request, 200, 0.5)  # warm
        before = each.tree.cpu()
        if plan.rate:
            load = paced(connections[0], request, plan.rate, seconds)
        else:
            load = closed_loop(connections, request, plan.most, seconds)
        figures.add(load, each.tree.cpu() - before)
    finally:
        for connection in connections:
            connection.__exit__()
    memory = each.tree.memory()
    figures.resident.append(memory.resident)
    figures.proportional.append(memory.proportional)
    figures.processes = memory.processes


def _raw(plan: Plan, figures: Figures, model: BenchModel, environment: Mapping[str, str], seconds: float) -> None:
    words = [json.dumps(model.example.shape), str(plan.most), str(seconds), str(plan.rate)]
    done = subprocess.run(
        [sys.executable, "-m", "bench.serving_raw", *words],
        cwd=Path(__file__).resolve().parents[1], env=dict(environment), stdout=subprocess.PIPE, text=True,
        timeout=seconds + 60, check=True,
    )  # fmt: skip
    said = json.loads(done.stdout)
    figures.add(Load(said["latencies"], said["wall"]), said["cpu"])
    figures.resident.append(said["rss"])
    figures.proportional.append(said["pss"])


def _expected(environment: Mapping[str, str], model: BenchModel) -> list[float]:
    """The first output as onnxruntime itself gives it, in a process without reports to its maker."""
    code = (
        "import json, sys, numpy, onnxruntime\n"
        "session = onnxruntime.InferenceSession(sys.argv[1], providers=['CPUExecutionProvider'])\n"
        "print(json.dumps(session.run(None, {'x': numpy.load(sys.argv[2])})[0].ravel().tolist()))"
    )
    with tempfile.NamedTemporaryFile(suffix=".npy") as example:
        np.save(example.name, model.example)
        words = [sys.executable, "-c", code, environment["BENCH_MODEL"], example.name]
        said = subprocess.run(
            words, env=dict(environment), stdout=subprocess.PIPE, text=True, timeout=60, check=True
        ).stdout
    found: list[float] = json.loads(said)
    return found


def _idle(running: Sequence[Running]) -> dict[str, float]:
    """CPU in percent of one core while nobody asks anything, of all at once."""
    before = [each.tree.cpu() for each in running]
    begin = time.perf_counter()
    time.sleep(_IDLE_SECONDS)
    after = [each.tree.cpu() for each in running]
    wall = time.perf_counter() - begin
    return {
        each.stand.title: (last - first) / wall * 100 for each, first, last in zip(running, before, after, strict=True)
    }


def _table(plan: Plan, table: Mapping[str, Figures], watts: float) -> None:
    print(plan.title)
    print(f"  {'':36} CPU us/req  x Trimtab   req/s  CPU % of core  idle %   p50 ms   p99 ms  p99.9 ms  RSS MB  PSS MB  processes   mJ/req")  # fmt: skip
    own = table.get(STANDS[0].title, Figures()).cpu
    for title, figures in table.items():
        if figures.problem or not figures.cpu:
            print(f"  {title:36} {figures.problem or 'no request was answered'}")
            continue
        cpu = median(figures.cpu)
        ratio = f"{cpu / median(own):.2f}" if own else "-"
        idle = "-" if figures.idle is None else f"{figures.idle:.2f}"
        print(
            f"  {title:36} {cpu:10,.0f}  {ratio:>9}  {median(figures.rates):6,.0f}  {median(figures.busy):13.1f}  {idle:>6}"
            f"  {_ms(figures, 0.5):>7}  {_ms(figures, 0.99):>7}  {_ms(figures, 0.999):>8}"
            f"  {median(figures.resident):6.0f}  {median(figures.proportional):6.0f}  {figures.processes:9}{cpu * watts / 1000:9.3f}"
        )
    for verdict in verdicts(plan.key, table):
        print(f"  {verdict}")
    print()


def _ms(figures: Figures, share: float) -> str:
    found = percentile(figures.latencies, share)
    return "-" if found is None else f"{found * 1000:.2f}"


def verdicts(key: str, table: Mapping[str, Figures]) -> list[str]:
    """What the budgets of one load say of its medians."""
    trimtab = table.get(STANDS[0].title)
    if trimtab is None or not trimtab.cpu:
        return []
    cpu = median(trimtab.cpu)
    found = []

    def judge(good: bool, text: str) -> None:
        found.append(f"{'within' if good else 'BEYOND'} budget: {text}")

    if key == "tiny":
        for name, least in (("mlserver", 5), ("mlserver-default", 10)):
            stand = next(stand for stand in STANDS if stand.key == name)
            peer = table.get(stand.title)
            if peer is not None and peer.cpu:
                times = median(peer.cpu) / cpu
                judge(times >= least, f"{times:.1f} times less CPU than {stand.title}, budget {least}")
        resident = median(trimtab.resident)
        judge(resident <= 110, f"{resident:.0f} MB resident with one small model, budget 110")
    elif key == "picture-binary":
        judge(cpu <= 1000, f"{cpu:.0f} us of CPU for 602 kB in binary, budget 1,000")
    elif key == "paced":
        busy = median(trimtab.busy)
        judge(busy <= 2, f"{busy:.2f} % of a core at 10 requests a second, budget 2 %")
    return found


if __name__ == "__main__":
    os.chdir(Path(__file__).resolve().parents[1])  # `python -m bench.…` below is found from here
    sys.exit(main())
