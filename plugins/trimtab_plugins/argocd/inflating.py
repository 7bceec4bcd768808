"""What inflates an archive: zlib-ng, two to eight times as fast as zlib at the same bytes, or the standard library's zlib.

Where an installation has no zlib-ng (a platform without a wheel of it) everything is as quick as zlib, and else the same.
"""

from __future__ import annotations

import zlib
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable


class Inflater(Protocol):
    """One stream, as ``zlib.decompressobj`` has it."""

    @property
    def unconsumed_tail(self) -> bytes:
        """What of the last input is still to be given again."""
        ...

    @property
    def unused_data(self) -> bytes:
        """What came after the end of the stream."""
        ...

    @property
    def eof(self) -> bool:
        """Whether the stream has ended."""
        ...

    def decompress(self, data: bytes, max_length: int, /) -> bytes:
        """At most ``max_length`` bytes. Raises one of :data:`ERRORS` for damage."""
        ...


NAME = "zlib"
"""What is used."""
ERRORS: tuple[Any, ...] = (zlib.error,)
_MAKE: Callable[[int], Inflater] = zlib.decompressobj

try:
    from zlib_ng import zlib_ng
except ImportError:
    pass
else:
    NAME, ERRORS, _MAKE = "zlib-ng", (zlib.error, zlib_ng.error), zlib_ng.decompressobj


def gzip_inflater() -> Inflater:
    """For one stream of RFC 1952, of one member: what comes after it is left over."""
    return _MAKE(zlib.MAX_WBITS | 16)
