"""``--plot FILE``: a command's figures as a picture, PNG or SVG by the file's name."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from trimtab_kernel.problems import InputError, Problem, quoted

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable

    from trimtab_config.plots.figures import Plot

_FORMS = ("png", "svg")
_DRAWS = "matplotlib"


def add_plot(parser: argparse.ArgumentParser, what: str) -> None:
    """The argument; ``what`` is what the picture shows."""
    parser.add_argument(
        "--plot", type=Path, metavar="FILE", help=f"draw {what}; FILE ends in .png or .svg (needs trimtab[analytics])"
    )


def check_plot(path: Path | None) -> None:
    """Raises InputError (F714), before anything is worked out, for a name that says no form and where nothing can draw."""
    if path is None:
        return
    if path.suffix.lower().removeprefix(".") not in _FORMS:
        expected = "a name that ends in .png or .svg"
        raise InputError(Problem("F714", field="--plot", got=quoted(str(path)), expected=expected))
    if find_spec(_DRAWS) is None:
        hint = "pip install 'trimtab[analytics]'"
        raise InputError(
            Problem("F714", field="--plot", got=f"no package {_DRAWS}", expected="it, for it draws", hint=hint)
        )


def write_plot(path: Path, plot: Callable[[], Plot]) -> None:
    """Draws into a file that is there whole or not at all. Raises OutsideError where it cannot be written."""
    import logging

    # Where it keeps its cache of fonts, and that there is no home for one, is not what was asked.
    logging.getLogger(_DRAWS).setLevel(logging.ERROR)
    from trimtab_config.cli.products import product
    from trimtab_config.plots.figures import PlotForm, plotted

    content = plotted(plot(), PlotForm(path.suffix.lower().removeprefix(".")))
    with product(path, binary=True) as stream:
        stream.bytes.write(content)
