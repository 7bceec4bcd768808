"""``trimtab sync``: arguments, signals, and what is said where."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from trimtab_kernel.commandline import Command, print_problems
from trimtab_kernel.problems import ExitCode, OutsideError, printable
from trimtab_plugins.stopping import interval_seconds, stopped_by_signals

if TYPE_CHECKING:
    from trimtab_plugins.sync.driver import Applied, Rejected, Sync


def configure(parser: argparse.ArgumentParser) -> None:
    """Arguments."""
    parser.add_argument("--repo", type=Path, required=True, metavar="BARE", help="the Git repository on this machine")
    parser.add_argument(
        "--output",
        type=Path,
        required=True,
        metavar="DIR",
        help="where each group gets its folder; sync alone writes there",
    )
    parser.add_argument("--branch", default="main", help="which branch to follow (default: main)")
    parser.add_argument(
        "--path", default="", metavar="SUBFOLDER", help="where the fleet lies in the repository (default: its root)"
    )
    parser.add_argument(
        "--interval", type=interval_seconds, default=2.0, metavar="SECONDS", help="time between two looks (default: 2)"
    )
    parser.add_argument("--once", action="store_true", help="look once; exit 1 if the commit cannot be rendered")


def run(arguments: argparse.Namespace) -> ExitCode:
    """Follow the branch until a signal comes, or look once."""
    from trimtab_config.git.repository import GitRepository
    from trimtab_plugins.sync.driver import Rejected, Sync, follow
    from trimtab_plugins.sync.output import open_output

    repository = GitRepository(arguments.repo)
    with stopped_by_signals() as stop, open_output(arguments.output) as output:
        sync = Sync(repository, arguments.branch, arguments.path, output)
        if arguments.once:
            outcome = sync.step()
            if isinstance(outcome, Rejected):
                _tell(outcome, sync)
                return ExitCode.PROBLEMS
            print(outcome, flush=True)  # noqa: T201 - the product
            return ExitCode.DONE
        follow(sync, lambda news: _tell(news, sync), lambda: stop.wait(arguments.interval))
    return ExitCode.DONE


def _tell(news: Applied | Rejected | OutsideError, sync: Sync) -> None:
    from trimtab_plugins.sync.driver import Applied

    if isinstance(news, Applied):
        print(news, flush=True)  # noqa: T201 - the product: one line per applied commit
    elif isinstance(news, OutsideError):
        print(f"waiting: {printable(str(news))}", file=sys.stderr, flush=True)  # noqa: T201 - stderr is for people
    else:
        stays = f"commit {sync.applied[:12]}" if sync.applied else "what it was"
        text = f"rejected {news.commit[:12]}: it cannot be rendered; the output stays at {stays}"
        print(text, file=sys.stderr, flush=True)  # noqa: T201 - stderr is for people
        print_problems(news.problems)


COMMAND = Command(
    name="sync",
    summary="Follow a branch of a Git repository and keep a folder per device group up to date.",
    examples=(
        "trimtab sync --repo fleet.git --output /srv/fleet",
        "trimtab sync --repo fleet.git --path fleet --output out --once",
    ),
    configure=configure,
    run=run,
)
