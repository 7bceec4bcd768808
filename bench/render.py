"""How long it takes to compile a fleet, how much memory, how that grows, and what a peer takes for the same objects."""

from __future__ import annotations

import argparse
import json
import math
import os
import platform
import shutil
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import yaml

from bench.fleets import group_file, group_name, write_fleet
from bench.processes import Run, measured, middle
from bench.render_peer import template_of

_BINARIES = Path(sys.executable).parent
_TRIMTAB = str(_BINARIES / "trimtab")
_BUDGETS = {5: (5.0, 200.0), 50: (15.0, 350.0)}  # design: seconds and MB at 1,000 groups, cold, one core
_IN_PROCESS, _FRESH = 0.050, 0.150
_SLOTS = 10


@dataclass(frozen=True, slots=True)
class Size:
    """One fleet to measure."""

    groups: int
    per_group: int


def parser() -> argparse.ArgumentParser:
    """The options."""
    made = argparse.ArgumentParser(prog="bench render", description=__doc__)
    made.add_argument("--groups", type=int, nargs="+", default=[125, 250, 500, 1000], help="sizes of fleets")
    made.add_argument(
        "--per-group", type=int, nargs="+", choices=[5, 50], default=[5, 50], help="deployments per group"
    )
    made.add_argument("--runs", type=int, default=3, help="runs of each measurement, interleaved; medians are shown")
    made.add_argument(
        "--peer-groups", type=int, default=125, help="size at which the peer runs beside Trimtab; 0: never"
    )
    return made


def main() -> int:
    """Measure and print a table."""
    options = parser().parse_args()
    sizes = [Size(groups, each) for each in options.per_group for groups in sorted(options.groups)]
    print(f"Python {platform.python_version()}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f} at the start")
    print(
        f"medians of {options.runs} interleaved runs; cold is `trimtab render FLEET --all --output-dir D` in a new process"
    )
    print(
        "with an empty cache, warm the second compile of the same bytes in one process; read, checked, compiled, written as"
    )
    print(
        "YAML, all shipped policies evaluated for every deployment of every group. A fresh process finds what the cold one"
    )
    print("left in the cache. Budgets are judged on CPU seconds, which a busy machine disturbs less than the clock.\n")
    with tempfile.TemporaryDirectory(prefix="trimtab-bench-") as name:
        work = Path(name)
        for size in sizes:
            write_fleet(_fleet(work, size), size.groups, size.per_group)
        _compile(work, sizes, options.runs)
        if options.peer_groups:
            for each in options.per_group:
                _beside(work, Size(options.peer_groups, each), options.runs)
    return 0


def _yardstick() -> float:
    """CPU seconds of the same loop each time: a machine that is shared may be half as fast from one second to the next."""
    begin, found = time.process_time(), 0
    for number in range(3_000_000):
        found += number * number % 7
    return time.process_time() - begin


def _fleet(work: Path, size: Size) -> Path:
    return work / f"fleet-{size.groups}-{size.per_group}"


def _render(fleet: Path, output: Path, cache: Path) -> Run:
    shutil.rmtree(cache, ignore_errors=True)
    run, _ = measured([_TRIMTAB, "render", str(fleet), "--all", "--output-dir", str(output), "--cache", str(cache)])
    return run


def _render_one(fleet: Path, number: int, cache: Path) -> Run:
    run, _ = measured([_TRIMTAB, "render", str(fleet), "--group", group_name(number), "--cache", str(cache)])
    return run


def _compile(work: Path, sizes: list[Size], runs: int) -> None:
    cold: dict[Size, list[Run]] = {size: [] for size in sizes}
    warm: dict[Size, list[dict[str, Any]]] = {size: [] for size in sizes}
    fresh: dict[Size, list[Run]] = {size: [] for size in sizes}
    same: dict[Size, list[Run]] = {size: [] for size in sizes}
    speeds = []
    for number in range(runs):
        for size in sizes:
            speeds.append(_yardstick())
            fleet, output, cache = _fleet(work, size), work / "output", work / "cache"
            cold[size].append(_render(fleet, output, cache))
            shutil.rmtree(output)
            _, line = measured([sys.executable, "-m", "bench.render_warm", str(fleet)])
            warm[size].append(json.loads(line))
            name, content = group_file(number, 2000 + number)
            (fleet / name).write_bytes(content)
            fresh[size].append(_render_one(fleet, number, cache))
            same[size].append(_render_one(fleet, number, cache))
            speeds.append(_yardstick())
    print(
        f"A fixed loop of Python took {min(speeds):.2f} to {max(speeds):.2f} s of CPU meanwhile: what else the machine had to do."
    )
    print("The last three: one group of a known tree, CPU ms (ms by the clock).")
    print(
        "groups  each  objects      MB   cold s   CPU s  peak MB   warm s   changed, in process   changed, fresh  same, fresh"
    )
    for size in sizes:
        run, facts = middle(cold[size]), warm[size][0]
        changed, clock = (median(each[key] for each in warm[size]) for key in ("changed", "changedWall"))
        alone, again = middle(fresh[size]), middle(same[size])
        print(
            f"{size.groups:6}  {size.per_group:4}  {facts['objects']:7,}  {facts['bytes'] / 1e6:6.1f}  {run.wall:7.2f}"
            f"  {run.cpu:6.2f}  {run.memory:7.0f}  {median(each['second'] for each in warm[size]):6.2f}"
            f"  {_both(changed, clock):>20}  {_both(alone.cpu, alone.wall):>15}  {_both(again.cpu, again.wall):>11}"
        )
    print()
    for each in sorted({size.per_group for size in sizes}):
        own = [size for size in sizes if size.per_group == each]
        _growth(each, "cold", [(size.groups, middle(cold[size]).cpu) for size in own])
        _growth(each, "warm", [(size.groups, median(one["second"] for one in warm[size])) for size in own])
        largest = own[-1]
        if largest.groups == 1000:
            changed = median(facts["changed"] for facts in warm[largest])
            _verdicts(each, middle(cold[largest]), changed, middle(fresh[largest]))


def _both(cpu: float, clock: float) -> str:
    return f"{cpu * 1000:.0f} ({clock * 1000:.0f})"


def _growth(per_group: int, what: str, points: list[tuple[int, float]]) -> None:
    """The exponent b of CPU seconds = a x groups^b between the smallest and the largest fleet: 1 is linear."""
    if len(points) < 2:
        return
    (few, first), (many, last) = points[0], points[-1]
    exponent = math.log(last / first) / math.log(many / few)
    print(
        f"{per_group} per group, {what}: {few} to {many} groups take {last / first:.1f} times the CPU,"
        f" exponent {exponent:.2f}"
    )


def _verdicts(per_group: int, cold: Run, changed: float, fresh: Run) -> None:
    seconds, memory = _BUDGETS[per_group]
    for what, got, budget, unit in (
        ("cold, CPU", cold.cpu, seconds, "s"),
        ("peak memory", cold.memory, memory, "MB"),
        ("one changed group in process", changed, _IN_PROCESS, "s"),
        ("one changed group in a fresh process", fresh.cpu, _FRESH, "s"),
    ):
        verdict = "within" if got <= budget else "BEYOND"
        print(f"  {verdict} budget: {what} {got:.3g} {unit}, budget {budget:g} {unit}")


def _beside(work: Path, size: Size, runs: int) -> None:
    """Trimtab and the peer in turn, over the same fleet, to the same number of objects."""
    fleet, output, templates = _fleet(work, size), work / "output", work / "templates"
    if not fleet.exists():
        write_fleet(fleet, size.groups, size.per_group)
    _render(fleet, output, work / "cache")
    templates.mkdir(exist_ok=True)
    objects = 0
    for index in range(_SLOTS):
        name = group_name(index)
        text = (output / name / "manifests.yaml").read_text()
        (templates / f"slot-{index}.yaml").write_text(template_of(text, name))
    for path in output.glob("*/manifests.yaml"):
        objects += sum(1 for event in yaml.parse(path.read_bytes(), Loader=yaml.CLoader) if isinstance(event, yaml.DocumentStartEvent))  # fmt: skip
    ours, theirs = [], []
    for _ in range(runs):
        shutil.rmtree(output)
        ours.append(_render(fleet, output, work / "cache"))
        shutil.rmtree(output)
        run, count = measured([sys.executable, "-m", "bench.render_peer", str(fleet), str(templates), str(output)])
        theirs.append(run)
        if int(count) != objects:
            sys.exit(f"bench: the peer made {count.strip()} objects, Trimtab {objects}")
    shutil.rmtree(output)
    mine, peer = middle(ours), middle(theirs)
    print(
        f"\npeer at {size.groups} groups, {size.per_group} each, {objects:,} objects: PyYAML and Jinja templates"
        f" {peer.wall:.2f} s, CPU {peer.cpu:.2f} s, {peer.memory:.0f} MB; Trimtab {mine.wall:.2f} s, CPU {mine.cpu:.2f} s,"
        f" {mine.memory:.0f} MB: {peer.cpu / mine.cpu:.1f} times less CPU."
    )
    print("(The peer decides nothing: variants, costs, digests and checks are in its templates already.)")


if __name__ == "__main__":
    os.chdir(Path(__file__).resolve().parents[1])  # `python -m bench.…` below is found from here
    sys.exit(main())
