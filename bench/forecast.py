"""Coverage of 80 % intervals, horizon by horizon, and what a forecast takes; exponential smoothing of statsmodels beside it.

Series: simulated fleets (cost by day, a season of a week, 21 days ahead) and, where they lie beside the tree, the real ones
of NAB (means by hour, a season of a day, 24 hours ahead). The first half of each is only learnt from, the second only
judged. Ours is judged at every origin. The peer, an additive ETS model with its own intervals, is fitted anew at few
origins, since a fit takes that long; its coverage is of all horizons together.
"""

from __future__ import annotations

import argparse
import csv
import math
import sys
import time
import warnings
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from trimtab_config.budget.forecast import Coverage, backtest, forecast

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

NAB = Path(__file__).resolve().parents[1] / "../shared/data/nab"
LEAST, MOST = 0.75, 0.85


def simulated(seed: int, days: int = 420) -> list[float]:
    """A fleet's cost by day: weekly season, growth, days that resemble the day before; one in three has a step."""
    random = np.random.default_rng(seed)
    at = np.arange(days)
    noise = np.zeros(days)
    for day in range(1, days):
        noise[day] = 0.6 * noise[day - 1] + random.normal(0, 0.05)
    found = 1000 * (1 + random.uniform(0, 0.0015) * at) * np.exp(noise)
    found *= 1 + 0.25 * np.sin(2 * np.pi * at / 7 + random.uniform(0, 6))
    if seed % 3 == 0:
        found[random.integers(150, 350) :] *= random.uniform(0.7, 1.4)
    return [float(value) for value in found]


def hourly(path: Path) -> list[float | None]:
    """The means of the hours of a NAB series; None for an hour without a value."""
    hours: dict[int, list[float]] = {}
    with path.open(encoding="utf-8", newline="") as stream:
        for row in csv.DictReader(stream):
            at = datetime.fromisoformat(row["timestamp"]).replace(tzinfo=UTC)
            hours.setdefault(int(at.timestamp()) // 3600, []).append(float(row["value"]))
    first, last = min(hours), max(hours)
    return [sum(hours[hour]) / len(hours[hour]) if hour in hours else None for hour in range(first, last + 1)]


def pooled(found: Iterable[Sequence[Coverage]]) -> dict[int, Coverage]:
    """The coverages of many series, added up by horizon."""
    sums: dict[int, Coverage] = {}
    for each in found:
        for one in each:
            before = sums.get(one.horizon, Coverage(one.horizon, 0, 0))
            sums[one.horizon] = Coverage(one.horizon, before.inside + one.inside, before.judged + one.judged)
    return sums


def judge(name: str, series: Sequence[Sequence[float | None]], season: int, horizon: int) -> bool:
    """Prints one table; whether every horizon, and the sum, is between 75 and 85 percent."""
    begin = time.process_time()
    found = pooled([backtest(values, season, horizon) for values in series])
    took = time.process_time() - begin
    print(
        f"{name}: {len(series)} series, {sum(each.judged for each in found.values()):,} intervals judged in {took:.1f} s of CPU"
    )
    line = [f"{each or 'the sum'}: {100 * one.share:.1f}" for each, one in sorted(found.items())]
    for start in range(0, len(line), 9):
        print("  " + "   ".join(line[start : start + 9]))
    begin = time.process_time()
    for values in series:
        forecast(values, season, horizon)
    print(f"  one forecast with its intervals: {1000 * (time.process_time() - begin) / len(series):.1f} ms of CPU")
    return all(LEAST <= one.share <= MOST for one in found.values())


def peer(series: Sequence[Sequence[float | None]], season: int, horizon: int, origins: int) -> None:
    """Prints the coverage and the time of ETS at a few origins of each series without gaps."""
    import pandas as pd
    from statsmodels.tsa.exponential_smoothing.ets import ETSModel

    inside = judged = fits = 0
    begin = time.process_time()
    for values in series:
        whole = [math.nan if value is None else value for value in values]
        if any(map(math.isnan, whole)):
            continue
        for origin in np.linspace(len(whole) // 2, len(whole) - horizon, origins, dtype=int):
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # fits that do not converge are part of what it is
                model = ETSModel(
                    pd.Series(whole[:origin]), error="add", trend=None, seasonal="add", seasonal_periods=season
                )
                fitted = model.fit(disp=False)
                predicted = fitted.get_prediction(start=origin, end=origin + horizon - 1)
                bounds = predicted.pred_int(alpha=0.2)
            fits += 1
            for (low, high), value in zip(np.asarray(bounds), whole[origin : origin + horizon], strict=True):
                judged += 1
                inside += bool(low <= value <= high)
    if fits:
        took = 1000 * (time.process_time() - begin) / fits
        print(
            f"  peer, ETS of statsmodels at {fits} origins: {100 * inside / judged:.1f} of 80 %, {took:.0f} ms of CPU a forecast"
        )


def main(argv: list[str] | None = None) -> int:
    """Measures and prints; the exit code is 1 where a horizon is beyond 75 to 85 percent."""
    parser = argparse.ArgumentParser(prog="bench forecast", description=__doc__)
    parser.add_argument("--fleets", type=int, default=30, metavar="N", help="simulated fleets (default: 30)")
    parser.add_argument(
        "--origins", type=int, default=4, metavar="N", help="fits of the peer for each series (default: 4)"
    )
    options = parser.parse_args(argv)
    fleets = [simulated(seed) for seed in range(options.fleets)]
    good = judge("simulated fleets, 21 days ahead", fleets, 7, 21)
    peer(fleets[:8], 7, 21, options.origins)
    real = [hourly(path) for path in sorted(NAB.glob("real*/*.csv"))]
    if real:
        good &= judge("NAB, 24 hours ahead", real, 24, 24)
        peer(real, 24, 24, options.origins)
    else:
        print("the series of NAB are not here; only simulated fleets were judged")
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
