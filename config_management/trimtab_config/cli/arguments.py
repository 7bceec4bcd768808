"""Arguments that several commands take."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import argparse


def add_policies(parser: argparse.ArgumentParser) -> None:
    """``--policies D``: bundles of rules of one's own."""
    parser.add_argument(
        "--policies",
        type=Path,
        action="append",
        default=[],
        metavar="D",
        help="a bundle of rules that hold beside the shipped ones (trimtab policy build); may be given again",
    )
