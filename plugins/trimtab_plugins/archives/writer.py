"""Files to one tar.gz, byte for byte the same for the same files. Pure.

The rules are those of Flux's own artifacts (fluxcd/pkg, artifact/storage: sorted names, mode 0600, folders 0750, user
and group 0 without names, no times, plain files alone), with the two freedoms of gzip taken away: its header carries no
time and no name, and the compression level is fixed.
"""

from __future__ import annotations

import io
import tarfile
import zlib
from typing import TYPE_CHECKING

from trimtab_plugins.archives.names import refusal_of_name

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

LEVEL = 9
"""The deflate level of every archive. Another zlib may compress to other bytes at the same level: then the digest of a
layer changes while its content does not, so nothing may be decided by it that content alone should decide."""

FILE_MODE = 0o600
FOLDER_MODE = 0o750
# Magic, deflate, no flags, no time; 2 says "best compression", 255 an unknown system.
_GZIP_HEADER = b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x02\xff"


def write_archive(files: Mapping[str, bytes]) -> bytes:
    """The archive of ``files``, by relative path with "/".

    Raises ValueError for no file at all, for a name that an unpacker would refuse, and for one that is a file and a
    folder at once: callers make these names themselves.
    """
    if not files:
        raise ValueError("an empty archive would remove everything that it replaces")
    for name in files:
        if refusal := refusal_of_name(name):
            raise ValueError(f"{name!r} cannot stand in an archive: {refusal}")
    raw = io.BytesIO()
    with tarfile.open(fileobj=raw, mode="w", format=tarfile.PAX_FORMAT, encoding="utf-8") as archive:
        for name in _in_order(files):
            if name in files:
                archive.addfile(_member(name, len(files[name])), io.BytesIO(files[name]))
            else:
                archive.addfile(_member(name, None))
    return _gzip(raw.getvalue())


def _in_order(files: Mapping[str, bytes]) -> Iterator[str]:
    """Folders before what they hold, siblings by the bytes of their names, as a sorted walk gives them."""
    folders = {
        "/".join(parts[:count]) for parts in (name.split("/") for name in files) for count in range(1, len(parts))
    }
    if both := sorted(folders & set(files)):
        raise ValueError(f"{both[0]!r} is a file and a folder at once")
    yield from sorted(folders | set(files), key=lambda name: [part.encode() for part in name.split("/")])


def _member(name: str, size: int | None) -> tarfile.TarInfo:
    """Of a file with ``size`` bytes, or of a folder (None). What is not set here is zero or empty by default."""
    member = tarfile.TarInfo(name)
    member.type = tarfile.DIRTYPE if size is None else tarfile.REGTYPE
    member.mode = FOLDER_MODE if size is None else FILE_MODE
    member.size = size or 0
    return member


def _gzip(raw: bytes) -> bytes:
    """RFC 1952 by hand: the header that Python writes has changed between versions."""
    deflate = zlib.compressobj(LEVEL, zlib.DEFLATED, -zlib.MAX_WBITS, 8, zlib.Z_DEFAULT_STRATEGY)
    body = deflate.compress(raw) + deflate.flush()
    return _GZIP_HEADER + body + zlib.crc32(raw).to_bytes(4, "little") + (len(raw) & 0xFFFFFFFF).to_bytes(4, "little")
