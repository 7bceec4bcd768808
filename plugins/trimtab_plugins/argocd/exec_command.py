"""``trimtab cmp-generate``: exec mode, and what goes to stdout and stderr."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from trimtab_kernel.commandline import Command
from trimtab_kernel.problems import ExitCode, InputError

if TYPE_CHECKING:
    import argparse


def add_monitoring(parser: argparse.ArgumentParser) -> None:
    """``--monitoring``, for both modes."""
    choices = ("annotations", "operator")
    shown = "how Prometheus finds pods and rules, as in 'trimtab render' (default: annotations)"
    parser.add_argument("--monitoring", choices=choices, default=choices[0], help=shown)


def configure(parser: argparse.ArgumentParser) -> None:
    """Arguments; what to render comes by the environment."""
    add_monitoring(parser)


def run(arguments: argparse.Namespace) -> ExitCode:
    """Render the group that the environment names from the working directory."""
    from trimtab_config.compilation import Monitoring
    from trimtab_plugins.argocd.diagnosis import diagnosis
    from trimtab_plugins.argocd.generation import generate
    from trimtab_plugins.argocd.parameters import shown_folder

    try:
        stream = generate(Path(), os.environ, Monitoring(arguments.monitoring))
    except InputError as error:
        # The stock server copies stderr into the Application.
        print(diagnosis(error.problems, shown_folder(os.environ, "")), file=sys.stderr)  # noqa: T201 - stderr is for people
        return error.exit_code
    sys.stdout.buffer.write(stream)
    return ExitCode.DONE


COMMAND = Command(
    name="cmp-generate",
    summary="Print the manifests of one device group, as Argo CD's own plugin server asks for them.",
    examples=('ARGOCD_APP_PARAMETERS=\'[{"name":"group","string":"kiosk-emea"}]\' trimtab cmp-generate',),
    details=(
        "Reads the fleet in the working directory, which may hold anything, and the parameters group and price-book from "
        "ARGOCD_APP_PARAMETERS. In plugin.yaml it stands as 'python3 -I -m trimtab_plugins.argocd', so that nothing in the "
        "checkout is ever imported."
    ),
    configure=configure,
    run=run,
)
