"""Arguments that several commands take."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from trimtab_config.policy.signing import Trust


_MOST_HOURS = 31 * 24


def hours_ahead(text: str) -> int:
    """How far a forecast looks ahead. Raises ArgumentTypeError for what is no number of hours of at most a month."""
    if not text.isascii() or not text.isdigit() or not 1 <= int(text[:6]) <= _MOST_HOURS:
        raise argparse.ArgumentTypeError(f"expected a number of hours from 1 to {_MOST_HOURS}, got {text!r}")
    return int(text)


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
    add_trust(parser)


def add_trust(parser: argparse.ArgumentParser) -> None:
    """``--policy-key`` and ``--policy-scope``: who must have signed bundles of rules."""
    parser.add_argument(
        "--policy-key",
        action="append",
        default=[],
        metavar="[ID=]FILE",
        help="take only bundles signed with this key (PEM, RSA or P-256); may be given again",
    )
    parser.add_argument("--policy-scope", default="", metavar="TEXT", help="and only where they are signed for this")


def trust_asked(arguments: argparse.Namespace) -> Trust | None:
    """What :func:`add_trust` was told; None where no key is named. Raises InputError (F510)."""
    if not arguments.policy_key:
        return None
    from trimtab_config.policy.signing import trust_of

    pairs = [text.partition("=") for text in arguments.policy_key]
    keys = {name if equals else "default": Path(path if equals else name) for name, equals, path in pairs}
    return trust_of(keys, arguments.policy_scope)
