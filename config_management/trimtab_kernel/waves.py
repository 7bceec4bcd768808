"""Who is in a rollout wave: stable, monotone, and known to the device without asking anybody.

A device is a member of a wave of ``percent`` if ``int(blake2b-64(salt + 0x00 + device id)) < percent/100 * 2^64``
(BLAKE2: RFC 7693, digest size 8 bytes, read as a big-endian integer). Growing ``percent`` therefore only ever adds
members, and two rollouts with different salts choose independently.
"""

from __future__ import annotations

import hashlib
from fractions import Fraction

_SPACE = 2**64


def default_salt(namespace: str, name: str, kind: str) -> str:
    """The salt of a rollout that names none: ``namespace/name/kind``."""
    return f"{namespace}/{name}/{kind}"


def position(salt: str, device_id: str) -> int:
    """Where the device stands in this rollout, from 0 to 2^64 - 1."""
    data = salt.encode() + b"\x00" + device_id.encode()
    return int.from_bytes(hashlib.blake2b(data, digest_size=8).digest(), "big")


def is_member(salt: str, device_id: str, percent: Fraction) -> bool:
    """Whether the device is within the first ``percent`` (0 to 100, exact) of this rollout.

    Raises ValueError for a percentage outside 0 to 100.
    """
    if not 0 <= percent <= 100:
        raise ValueError(f"expected a percentage from 0 to 100, got {percent}")
    return position(salt, device_id) * 100 < percent * _SPACE
