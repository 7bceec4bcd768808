"""``trimtab advise``: what would cost less, each as a patch that compiles and that policy allows."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

from trimtab_config.cli.arguments import hours_ahead
from trimtab_kernel.commandline import Command, print_json
from trimtab_kernel.problems import ExitCode, InputError, OutsideError, Problem

if TYPE_CHECKING:
    import argparse
    from collections.abc import Mapping

    from trimtab_config.advice.advice import Advice
    from trimtab_config.advice.observed import Need
    from trimtab_config.advice.replicas import Peak
    from trimtab_config.catalog import Catalog


def configure(parser: argparse.ArgumentParser) -> None:
    """Arguments."""
    from trimtab_config.cli.arguments import add_policies

    parser.add_argument("path", type=Path, metavar="PATH", help="the fleet's folder")
    parser.add_argument(
        "--observed",
        type=Path,
        metavar="FILE",
        help="what devices were seen to need, as CSV or JSON lines: device_group, model, version, and any of"
        " memory_peak_bytes, cpu_peak_cores, requests_per_device_day",
    )
    parser.add_argument(
        "--history",
        type=Path,
        metavar="FILE",
        help="cores in use, hour by hour, as for 'trimtab capacity' (needs trimtab[analytics]): replicas of groups of"
        " workload Deployment ahead of forecast peaks",
    )
    parser.add_argument(
        "--hours", type=hours_ahead, default=168, metavar="N", help="how far to look ahead for peaks; default: 168"
    )
    parser.add_argument("--patches", type=Path, metavar="DIR", help="write each as DIR/NAME.patch, for 'git apply'")
    parser.add_argument("--price-book", metavar="NAME", help="use this price book instead of the newest one")
    parser.add_argument("--output", choices=("text", "json"), default="text", help="for people, or for machines")
    add_policies(parser)


def run(arguments: argparse.Namespace) -> ExitCode:
    """Try what might save money, and print what does. Raises InputError for a fleet with problems: mend these first."""
    from trimtab_config.advice.steps import advise
    from trimtab_config.advice.trials import Trials
    from trimtab_config.cli.fleet import bundles_asked
    from trimtab_config.compilation import FleetCompiler, RenderOptions
    from trimtab_config.sources.folder import load_folder
    from trimtab_config.text.advice import advice_text

    if not arguments.path.is_dir():
        got = "a file" if arguments.path.exists() else "nothing there"
        raise InputError(Problem("F141", str(arguments.path), got=got, expected="the fleet's folder"))
    needs = _needs(arguments.observed)
    files = load_folder(arguments.path)
    options = RenderOptions(price_book=arguments.price_book)
    trials = Trials(files, FleetCompiler(options, bundles_asked(arguments)), arguments.price_book)
    found = advise(trials, needs, _peaks(arguments.history, trials.catalog, arguments.hours))
    if arguments.patches is not None:
        _write(arguments.patches, found, files)
    if arguments.output == "json":
        print_json({"period": "month", "hours": 730, "advice": [advice.to_json(files) for advice in found]})
    else:
        sys.stdout.write(advice_text(found, str(arguments.patches) if arguments.patches else ""))
    return ExitCode.DONE


def _needs(path: Path | None) -> Mapping[tuple[str, str, str], Need]:
    from trimtab_config.advice.observed import MAX_BYTES, read_needs

    if path is None:
        return {}
    try:
        with path.open("rb") as file:
            content = file.read(MAX_BYTES + 1)
    except OSError as error:
        got = (error.strerror or "not readable").lower()
        raise InputError(Problem("F140", str(path), got=got, expected="a file to read")) from None
    return read_needs(str(path), content)


def _peaks(path: Path | None, catalog: Catalog, hours: int) -> Mapping[str, Peak]:
    if path is None:
        return {}
    from trimtab_config.advice.replicas import SHARE, Peak

    try:
        from trimtab_config.budget.capacity import HOUR, CapacityPlan
        from trimtab_config.budget.history import read_loads
    except ModuleNotFoundError as error:
        hint = "pip install 'trimtab[analytics]'"
        got, expected = f"no package {error.name}", "what forecasts need"
        raise InputError(Problem("F140", str(path), field="--history", got=got, expected=expected, hint=hint)) from None

    found = {}
    for curve in CapacityPlan(catalog, read_loads(path), hours, float(SHARE)).curves():
        steps = curve.forecast.steps
        place = max(range(len(steps)), key=lambda at: steps[at].high)
        at = curve.load.end + HOUR * place
        found[curve.need.name] = Peak(at, steps[place].value, steps[place].high, hours)
    return found


def _write(folder: Path, found: tuple[Advice, ...], files: Mapping[str, bytes]) -> None:
    from trimtab_config.advice.advice import patch

    try:
        folder.mkdir(parents=True, exist_ok=True)
        for advice in found:
            if not advice.changes:
                continue
            (folder / f"{advice.name}.patch").write_text(patch(files, advice.changes), "utf-8", newline="")
    except OSError as error:
        raise OutsideError(f"{folder} cannot be written: {(error.strerror or str(error)).lower()}") from None


COMMAND = Command(
    name="advise",
    summary="Say what would cost less: variants, limits, placement, frequency, replicas, what nobody uses; each as a patch.",
    details="Every piece of advice was tried: the changed fleet compiles, policy allows it, and the saving is the"
    " difference of two estimates at the same prices and requests. What no figure here says stands behind 'but'.",
    examples=(
        "trimtab advise examples/fleet",
        "trimtab advise fleet --observed needs.csv --patches advice",
        "trimtab advise fleet --history cores.csv --hours 336",
        "trimtab advise fleet --output json",
    ),
    configure=configure,
    run=run,
)
