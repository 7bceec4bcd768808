"""How many decisions by policy a second of CPU buys, one at a time and batched, and what OPA's own ways of asking cost."""

from __future__ import annotations

import argparse
import gc
import http.client
import json
import os
import platform
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING

from bench.fleets import fleet_files
from bench.processes import measured
from trimtab_config.catalog import build_catalog
from trimtab_config.cost.estimate import Estimator
from trimtab_config.plan.planner import Planner
from trimtab_config.policy.input import PolicyInputs
from trimtab_config.policy.opa_binary import CORE, Opa
from trimtab_config.policy.shipped import SHIPPED, gate_of, write_bundle
from trimtab_config.render.bundle import Compiler
from trimtab_config.render.evidence import offline_evidence
from trimtab_config.spec.plain import plain_document
from trimtab_config.spec.reader import read_documents
from trimtab_kernel.decisions import ON_DEVICE, DecisionTable, rows_of
from trimtab_plugins.admission.judging import Judge, fleet_of

if TYPE_CHECKING:
    from collections.abc import Iterator

_POLICIES = Path(__file__).resolve().parents[1] / "policies"
_TWELVE = (
    "finops/cpu_cap", "finops/memory_cap", "finops/gpu_cap", "finops/baseline_cpu", "finops/cost_ceiling",
    "finops/required_tags", "finops/update_size", "alignment/prohibited_models", "alignment/baseline_models",
    "alignment/prohibited_capabilities", "alignment/fairness", "alignment/data_egress",
)  # fmt: skip
_BUDGETS = {"1": 2_000, "50": 15_000}
_MEMORY = 64.0
_DEVICE = 10.0
_REVIEW = 50.0
_GROUPS, _REVIEWS = 1_000, 250
_FINOPS = {
    "name": "finops-policy-emea-high-priority",
    "level": "deny",
    "caps": {"cpu": {"milli": 10**6, "text": "1000"}, "memory": {"bytes": 2**50, "text": "1Pi"}},
    "required_tags": ["team"],
    "update": {"bytes": 2**40, "text": "1Ti"},
    "window": {"from": 60, "until": 300, "text": "01:00-05:00"},
}
_ALIGNMENT = {
    "name": "ai-alignment-policy-vision-sensitive",
    "level": "deny",
    "egress": {"allowed": True, "jurisdictions": []},
    "prohibited_models": ["facial-recognition-v3", "mood-reader"],
    "prohibited_capabilities": ["face-recognition"],
    "maximum_per_minute": 60,
    "maximum_age_days": 365,
    "refresh_days": 365,
    "unused_days": 365,
    "signature": True,
    "approved_pipelines": ["pipelines/train"],
    "jurisdictions": ["EU", "US", "GB", "AE", "SG", "JP", "BR", "IN"],
}
_QUERY = "data.trimtab.main.decisions"
_TICKS = os.sysconf("SC_CLK_TCK")


def parser() -> argparse.ArgumentParser:
    """The options."""
    made = argparse.ArgumentParser(prog="bench policy", description=__doc__)
    made.add_argument("--opa", default="opa", help="the opa program; without one the peers are left out")
    made.add_argument("--seconds", type=float, default=1.0, help="CPU seconds for each figure")
    made.add_argument("--runs", type=int, default=3, help="runs of each measurement, interleaved; medians are shown")
    return made


def main() -> int:
    """Measure and print a table."""
    options = parser().parse_args()
    print(f"Python {platform.python_version()}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f} at the start")
    requests = documents()
    size = sum(map(len, requests)) // len(requests)
    print(f"{len(requests)} documents of {size} bytes, of a generated fleet; decisions for each second of CPU,")
    print(f"medians of {options.runs} interleaved runs; of peers the CPU of server and caller is counted.\n")
    program = shutil.which(options.opa)
    with tempfile.TemporaryDirectory(prefix="trimtab-bench-") as name:
        work = Path(name)
        (work / "requests").write_bytes(b"\n".join(requests) + b"\n")
        figures: dict[str, list[dict[str, float]]] = {}
        if program is None:
            print(f"no program {options.opa!r}: peers and the bundle of twelve rules are left out (--opa PATH)")
        else:
            _twelve_rules(Opa(Path(program)), work)
        for _ in range(options.runs):
            figures.setdefault("all shipped rules", []).append(_ours(SHIPPED, work, options.seconds))
            if program is not None:
                figures.setdefault("twelve rules", []).append(_ours(work / "bundle", work, options.seconds))
                figures.setdefault("opa run --server", []).append(
                    _server(Path(program), work, requests, options.seconds)
                )
                figures.setdefault("opa eval", []).append(_eval(Path(program), work, requests))
    device = median(device_table(requests, options.seconds) for _ in range(options.runs))
    rows = {label: {key: median(run[key] for run in runs) for key in runs[0]} for label, runs in figures.items()}
    _show(rows)
    print(f"device table, {len(judging_table().rows)} rows: {device:.1f} us of CPU a decision, {_judged(device)}")
    for deployments in (5, 50):
        _show_reviews(deployments, reviews(_GROUPS, deployments))
    return 0


def _judged(device: float) -> str:
    return f"budget (<= {_DEVICE:.0f} us): {'within' if device <= _DEVICE else 'BEYOND'}"


def judging_table() -> DecisionTable:
    """The table of a device whose policies set everything that it judges."""
    return DecisionTable([row for row in rows_of(_FINOPS, _ALIGNMENT) if row.rule in ON_DEVICE])


def device_table(requests: list[bytes], seconds: float) -> float:
    """Microseconds of CPU for one decision by the table that a device has, all of its rules set and kept."""
    facts = [json.loads(request) for request in requests]
    for each in facts:
        for version in each["model"]["versions"]:
            version |= {"signed": True, "pipeline": "pipelines/train", "released": "2026-10-01", "released_day": 20727}
        each["model"] |= {"newest": "2026-10-01", "newest_day": 20727, "unused": []}
        each |= {"tags": {"team": "edge"}, "inference": {"maximum_per_minute": 60}, "as_of_day": 20780}
        each["update"] = {"window": {"from": 120, "until": 180, "text": "02:00-03:00"}}
    table = judging_table()
    refused = [finding for each in facts for finding in table.decide(each)]
    if refused:
        sys.exit(f"bench: the table refuses what it should let pass: {refused[0]}")
    done, begin = 0, time.process_time()
    while (spent := time.process_time() - begin) < seconds:
        for each in facts:
            table.decide(each)
        done += len(facts)
    return spent / done * 1e6


def reviews(groups: int, deployments: int) -> dict[str, list[float]]:
    """Milliseconds of CPU for each review of the admission webhook.

    Of objects that it has not seen, as they are rendered for single groups; of the same again; and of deployments as people
    write them, which reach many groups.
    """
    fleet, problems = fleet_of(fleet_files(groups, deployments))
    if fleet is None:
        sys.exit(f"bench: {problems[0]}")
    judge, compiler = Judge(fleet, gate_of()), Compiler(fleet.catalog)
    judge.warm()
    rendered = []
    for name in list(fleet.catalog.groups)[:: max(1, groups // _REVIEWS)]:
        bundle, _ = compiler.compile(name)
        objects = () if bundle is None else bundle.objects
        item = next(item for item in objects if item["kind"] == "EdgeAIDeployment")
        rendered.append(json.loads(json.dumps(item, default=str)))
    written = [plain_document(each) for each in list(fleet.catalog.deployments.values())[:10]]
    gc.collect()
    gc.freeze()  # as the webhook does with a fleet that it has taken
    found: dict[str, list[float]] = {}
    for label, items in (("rendered", rendered), ("again", rendered), ("written", written)):
        for item in items:
            begin = time.process_time()
            decision = judge.decide(item)
            found.setdefault(label, []).append((time.process_time() - begin) * 1e3)
            if not decision.allowed:
                sys.exit(f"bench: the webhook refuses what it should let pass: {decision.findings[0]}")
    gc.unfreeze()
    return found


def _show_reviews(deployments: int, found: dict[str, list[float]]) -> None:
    print(f"\nadmission webhook, {_GROUPS:,} groups of {deployments} deployments, milliseconds of CPU a review:")
    for label, times in found.items():
        ordered = sorted(times)
        high = ordered[min(len(ordered) - 1, int(len(ordered) * 0.99))]
        print(f"  {label:<10} n={len(ordered):<4} median {median(ordered):8.2f}, 99th percentile {high:8.2f}")
    high = sorted(found["rendered"])[int(len(found["rendered"]) * 0.99)]
    print(
        f"  budget (<= {_REVIEW:.0f} ms at the 99th percentile, as rendered): {'within' if high <= _REVIEW else 'BEYOND'}"
    )


def documents() -> list[bytes]:
    """What is asked about ten groups with fifty deployments each."""
    read = read_documents(fleet_files(10, 50))
    catalog, problems = build_catalog(read.documents, read.lost)
    if problems:
        sys.exit(f"bench: {problems[0]}")
    planner, estimator, inputs = Planner(catalog), Estimator(catalog, None), PolicyInputs(catalog, offline_evidence)
    found = []
    for name in catalog.groups:
        plan, _ = planner.plan(name)
        found += inputs.of_group(plan, estimator.estimate(plan)[0])
    return found


def _twelve_rules(opa: Opa, work: Path) -> None:
    for rule in _TWELVE:
        target = work / "rules" / f"{rule}.rego"
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(_POLICIES / f"{rule}.rego", target)
    write_bundle(opa.build([work / "rules"]), work / "bundle")
    for source in CORE.glob("*.rego"):
        if not source.name.endswith("_test.rego"):
            shutil.copy(source, work / "rules" / source.name)


def _ours(bundle: Path, work: Path, seconds: float) -> dict[str, float]:
    module = Path(__file__).with_name("policy_engine.py")
    _, output = measured([sys.executable, str(module), str(bundle), str(work / "requests"), str(seconds)])
    found: dict[str, float] = json.loads(output)
    return found


def _body(requests: list[bytes]) -> bytes:
    return b'{"input":{"requests":[' + b",".join(requests) + b"]}}"


class _Connection(http.client.HTTPConnection):
    """HTTP over a Unix socket: no port, and no TCP to pay for."""

    def __init__(self, path: Path) -> None:
        super().__init__("localhost", timeout=60)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(60)
        self.sock.connect(str(self._path))


def _ready(path: Path, process: subprocess.Popen[bytes]) -> _Connection:
    connection = _Connection(path)
    for _ in range(600):
        try:
            connection.connect()
        except OSError:
            if process.poll() is not None:
                sys.exit(f"bench: opa run ended with {process.returncode}")
            time.sleep(0.1)
        else:
            return connection
    sys.exit("bench: opa run does not listen")


def _cpu(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text("ascii").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS


def _rss(pid: int) -> float:
    lines = Path(f"/proc/{pid}/status").read_text("ascii").splitlines()
    return next(int(line.split()[1]) * 1024 / 1e6 for line in lines if line.startswith("VmHWM:"))


def _server(program: Path, work: Path, requests: list[bytes], seconds: float) -> dict[str, float]:
    place = work / "opa.sock"
    place.unlink(missing_ok=True)
    command = [str(program), "run", "--server", f"--addr=unix://{place}", "--log-level=error", str(work / "rules")]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        connection = _ready(place, process)
        found = {"ready": _cpu(process.pid)}
        for size in (1, 5, 50):
            bodies = [_body(requests[start : start + size]) for start in range(0, len(requests), size)]
            done, begin, own = 0, _cpu(process.pid), time.process_time()
            spent = 0.0
            for body in _again(bodies):
                connection.request(
                    "POST", "/v1/data/trimtab/main/decisions", body, {"Content-Type": "application/json"}
                )
                answer = json.loads(connection.getresponse().read())
                if len(answer["result"]) != body.count(b'"version":1,"subject"'):
                    sys.exit("bench: opa run does not answer every request")
                done += size
                spent = _cpu(process.pid) - begin + time.process_time() - own
                if spent >= seconds:
                    break
            found[str(size)] = done / spent
        found["rss"] = _rss(process.pid)
    finally:
        process.terminate()
        process.wait(timeout=30)
    return found


def _again(bodies: list[bytes]) -> Iterator[bytes]:
    while True:
        yield from bodies


def _eval(program: Path, work: Path, requests: list[bytes]) -> dict[str, float]:
    """A process for each call, as a script or a CI job asks."""
    found: dict[str, float] = {}
    for size in (1, 5, 50):
        file = work / "input.json"
        file.write_bytes(b'{"requests":[' + b",".join(requests[:size]) + b"]}")
        command = [str(program), "eval", "--data", str(work / "rules"), "--input", str(file), "--format=json", _QUERY]
        runs = [measured(command)[0] for _ in range(5)]
        found[str(size)] = size / median(run.cpu for run in runs)
        found["ready"] = min(found.get("ready", 1e9), median(run.cpu for run in runs))
        found["rss"] = max(run.memory for run in runs)
    return found


def _show(rows: dict[str, dict[str, float]]) -> None:
    print(f"{'':<20}{'one at a time':>15}{'5 a call':>12}{'50 a call':>12}{'ready, ms':>12}{'MB':>8}")
    base = rows.get("twelve rules", rows["all shipped rules"])
    for label, row in rows.items():
        print(
            f"{label:<20}{row['1']:>15,.0f}{row['5']:>12,.0f}{row['50']:>12,.0f}{row['ready'] * 1000:>12.0f}{row['rss']:>8.0f}"
        )
    for label in ("opa run --server", "opa eval"):
        if label in rows:
            ratios = [base[size] / rows[label][size] for size in ("1", "5", "50")]
            print(f"twelve rules against {label}: {ratios[0]:.1f}, {ratios[1]:.1f} and {ratios[2]:.1f} times as many")
    for label in ("all shipped rules", "twelve rules"):
        if label in rows:
            judged = [
                f"{size} a call {'within' if rows[label][size] >= least else 'BEYOND'}"
                for size, least in _BUDGETS.items()
            ]
            judged.append(f"memory {'within' if rows[label]['rss'] <= _MEMORY else 'BEYOND'}")
            print(f"budget (>= 2,000 one at a time, >= 15,000 batched, <= 64 MB), {label}: {', '.join(judged)}")


if __name__ == "__main__":
    sys.exit(main())
