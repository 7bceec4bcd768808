"""The month of a large fleet: how long the estimate takes, beside the same sums as people write them with a data frame.

The fleet has 1,000 groups of 50 deployments. Ours reads the files, plans, prices with bounds and grades, adds up, and cuts
the bill by team. The peer gets what reading and planning found, as rows of plain numbers, so it decides nothing: it works
out OpenCost's formula (the larger of request and use, energy, updates) with pandas, row by row as in a notebook (`apply`)
and by columns, without bounds, grades or exact sums. Runs are interleaved, medians shown, CPU seconds judged.
"""

from __future__ import annotations

import argparse
import resource
import sys
import time
from itertools import pairwise
from statistics import median
from typing import TYPE_CHECKING, Any

from bench.fleets import fleet_files
from trimtab_config.catalog import build_catalog
from trimtab_config.cost.estimate import estimate
from trimtab_config.cost.slices import Dimension, slices
from trimtab_config.spec.reader import read_documents

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from trimtab_config.catalog import Catalog
    from trimtab_config.cost.report import CostReport
    from trimtab_config.spec.kinds import Hardware, ResourceLimits

BUDGET = 5.0
"""CPU seconds for 1,000 groups of 50 deployments."""
_MONTH = 730


def main(argv: list[str] | None = None) -> int:
    """Measures and prints; the exit code is 1 where the budget is missed."""
    parser = argparse.ArgumentParser(prog="bench cost", description=__doc__)
    parser.add_argument("--groups", type=int, default=1000, metavar="N", help="device groups (default: 1000)")
    parser.add_argument("--deployments", type=int, choices=(5, 50), default=50, help="of each group (default: 50)")
    parser.add_argument("--runs", type=int, default=3, metavar="N", help="runs of each (default: 3)")
    arguments = parser.parse_args(argv)
    files = fleet_files(arguments.groups, arguments.deployments)
    ours: list[float] = []
    stages: list[dict[str, float]] = []
    notebook: list[float] = []
    columns: list[float] = []
    rows: list[dict[str, Any]] = []
    report: CostReport | None = None
    for _ in range(arguments.runs):
        begin = time.process_time()
        catalog, report, spent = _month(files)
        ours.append(time.process_time() - begin)
        stages.append(spent)
        rows = rows or _plain(catalog, report)
        notebook.append(_timed(_by_row, rows))
        columns.append(_timed(_by_column, rows))
    assert report is not None
    own, theirs, vectors = median(ours), median(notebook), median(columns)
    [total] = report.totals
    print(f"{arguments.groups} groups of {arguments.deployments} deployments: {len(report.rows):,} rows")
    print(f"{'':<34}{'CPU s':>8}{'rows a second':>16}")
    for label, seconds in (
        ("trimtab, from files to the bill", own),
        ("pandas, row by row", theirs),
        ("pandas, by columns", vectors),
    ):
        print(f"{label:<34}{seconds:>8.2f}{len(report.rows) / seconds:>16,.0f}")
    for name in stages[0]:
        print(f"  {name:<32}{median(stage[name] for stage in stages):>8.2f}")
    compared = median(stage["estimate"] + stage["totals"] for stage in stages)
    print(
        f"estimate and totals alone take {compared / theirs:.2f} of the row-by-row peer, {compared / vectors:.1f} of the columns'"
    )
    difference = abs(float(total.figure.value) - _by_column(rows)) / float(total.figure.value)
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"the peer's total differs by {difference:.1e}; peak memory of this process with pandas {memory:.0f} MB")
    judged = own <= BUDGET
    print(f"budget (1,000 groups of 50 <= {BUDGET:.0f} s): {'within' if judged else 'BEYOND'}")
    return 0 if judged else 1


def _timed(work: Callable[[list[dict[str, Any]]], float], rows: list[dict[str, Any]]) -> float:
    begin = time.process_time()
    work(rows)
    return time.process_time() - begin


def _month(files: Mapping[str, bytes]) -> tuple[Catalog, CostReport, dict[str, float]]:
    marks = [time.process_time()]
    read = read_documents(files)
    catalog, problems = build_catalog(read.documents, read.lost)
    marks.append(time.process_time())
    report, wrong = estimate(catalog)
    if problems or wrong:
        sys.exit(f"bench: {(*problems, *wrong)[0]}")
    marks.append(time.process_time())
    _ = report.totals
    marks.append(time.process_time())
    slices(report, Dimension.TEAM, {})
    marks.append(time.process_time())
    names = ("read and refer", "estimate", "totals", "by team")
    return (
        catalog,
        report,
        dict(zip(names, (after - before for before, after in pairwise(marks)), strict=True)),
    )


def _plain(catalog: Catalog, report: CostReport) -> list[dict[str, Any]]:
    """What reading and planning found, as numbers: the peer's input."""
    profiles = {
        (name, version.version, variant.tier.value): (variant.profile, variant.size)
        for name, model in catalog.models.items()
        for version in model.spec.versions
        for variant in version.variants
    }
    asked = {name: max(1.0, _asked_of(catalog, name)) for name in catalog.groups}
    found = []
    for row in report.rows:
        group = catalog.groups[row.group]
        deployment = catalog.deployments[f"{row.namespace}/{row.name}"].spec
        book = catalog.price_books[row.price_book].spec
        prices = book.regions[group.metadata.labels["region"]]
        hardware, power = group.spec.hardware, group.spec.power
        profile, size = profiles[row.model, row.version, row.tier]
        found.append(
            {
                "devices": float(row.devices),
                "requests": float(deployment.inference.expected_requests_per_device_day),
                "cpu_seconds": float(profile.cpu_seconds.value),
                "cores": float(hardware.cpu.value),
                "share": _share(deployment.resource_limits, hardware) / asked[row.group],
                "device_hour": float(prices.device_hour[hardware.hardware_class].value),
                "watts": float(power.peak_watts - power.idle_watts),
                "kwh": float(prices.energy_per_kwh.value),
                "gigabyte": float(prices.network_per_gb[group.spec.network.price_class].value),
                "size": float(size),
            }
        )
    return found


def _asked_of(catalog: Catalog, name: str) -> float:
    """The sum of the shares that a group's deployments ask of a device; above 1 they are scaled down to it."""
    hardware = catalog.groups[name].spec.hardware
    return sum(_share(document.spec.resource_limits, hardware) for document in catalog.deployments_of(name))


def _share(limits: ResourceLimits, hardware: Hardware) -> float:
    return max(float(limits.cpu.value / hardware.cpu.value), float(limits.memory.value / hardware.memory.value))


def _cost(row: Any) -> Any:  # noqa: ANN401 - a row, or a whole frame: the formula is the same
    inferences = row["devices"] * row["requests"] * _MONTH / 24
    used = inferences * row["cpu_seconds"] / 3600
    asked = row["devices"] * _MONTH * row["share"] * row["cores"]
    more = (used + asked + abs(used - asked)) / 2
    energy = inferences * row["cpu_seconds"] * row["watts"] / row["cores"] / 3.6e6 * row["kwh"]
    return more * row["device_hour"] / row["cores"] + energy + row["devices"] * row["size"] / 1e9 * row["gigabyte"]


def _by_row(rows: list[dict[str, Any]]) -> float:
    import pandas as pd

    return float(pd.DataFrame(rows).apply(_cost, axis=1).sum())


def _by_column(rows: list[dict[str, Any]]) -> float:
    import pandas as pd

    return float(_cost(pd.DataFrame(rows)).sum())


if __name__ == "__main__":
    sys.exit(main())
