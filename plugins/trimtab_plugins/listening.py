"""Where a long-running command listens, as its arguments say it."""

from __future__ import annotations

import argparse


def listening_address(text: str) -> tuple[str, int]:
    """HOST:PORT as (host, port); no host means every address, and an IPv6 one stands in brackets. Raises ArgumentTypeError."""
    host, colon, port = text.rpartition(":")
    host = host.removeprefix("[").removesuffix("]")
    if not colon or not port.isascii() or not port.isdigit() or int(port) > 65535:
        raise argparse.ArgumentTypeError(f'expected HOST:PORT such as "0.0.0.0:9090", got "{text}"')
    return (host or "0.0.0.0", int(port))  # noqa: S104 - in a pod others must reach it
