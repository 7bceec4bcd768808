"""``trimtab krm``: stdin to stdout."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from trimtab_kernel.commandline import Command, print_problems
from trimtab_kernel.problems import ExitCode

if TYPE_CHECKING:
    import argparse


def run(arguments: argparse.Namespace) -> ExitCode:
    """One ResourceList in, one out; the results say what is wrong, and stderr says it again for people."""
    from trimtab_plugins.krm.function import run_function
    from trimtab_plugins.krm.nodes import MAX_BYTES

    del arguments
    if sys.stdin.isatty():
        text = "trimtab krm: a ResourceList is expected on stdin; kustomize and kpt give one"
        print(text, file=sys.stderr)  # noqa: T201 - stderr is for people
        return ExitCode.USAGE
    # One byte more than may be: the reader then says that it is too much, and nobody waits for the rest.
    answer = run_function(sys.stdin.buffer.read(MAX_BYTES + 1))
    sys.stdout.write(answer.output)
    print_problems(answer.problems)
    return ExitCode.PROBLEMS if answer.problems else ExitCode.DONE


COMMAND = Command(
    name="krm",
    summary="Run as a KRM function: a ResourceList with a fleet on stdin, one with rendered objects on stdout.",
    details=(
        "The items of Trimtab's kinds are the fleet. The function's configuration is a ConfigMap with the data groups, "
        "price-book, monitoring, with-namespace, keep-inputs and validate-only, or a FleetRender of fn.apexlogic.ai/v1 "
        "with the same in its spec. Without groups every device group is rendered."
    ),
    examples=(
        "trimtab krm < resource-list.yaml",
        "kustomize build --enable-alpha-plugins --enable-exec --load-restrictor LoadRestrictionsNone examples/kustomize",
    ),
    run=run,
)
