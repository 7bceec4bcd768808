"""Bytes of tar and gzip as no honest writer makes them. Every function gives blocks; :func:`packed` puts them together."""

from __future__ import annotations

import gzip
import os
import struct
import zlib
from collections.abc import Iterable

BLOCK = 512
END = bytes(2 * BLOCK)
MIB = 1024 * 1024


def header(
    name: bytes,
    kind: bytes = b"0",
    size: int = 0,
    *,
    target: bytes = b"",
    prefix: bytes = b"",
    magic: bytes = b"ustar\x0000",
    size_field: bytes | None = None,
    checksum: bytes | None = None,
) -> bytes:
    """One header of ustar (POSIX.1-1988); any field may be given as it must not be."""
    block = b"".join(
        (
            name.ljust(100, b"\0"),
            b"0000644\0" + b"0000000\0" * 2,
            size_field if size_field is not None else b"%011o\0" % size,
            b"00000000000\0",
            b"        ",
            kind,
            target.ljust(100, b"\0"),
            magic,
            bytes(64) + bytes(16),
            prefix.ljust(155, b"\0"),
        )
    ).ljust(BLOCK, b"\0")
    assert len(block) == BLOCK
    said = checksum if checksum is not None else b"%06o\0 " % sum(block)
    return block[:148] + said + block[156:]


def padded(content: bytes) -> bytes:
    return content + bytes(-len(content) % BLOCK)


def entry(name: bytes, content: bytes = b"", kind: bytes = b"0", **fields: bytes) -> bytes:
    """A header and its content; ``fields`` are those of :func:`header`."""
    return header(name, kind, len(content), **fields) + padded(content)


def record(key: bytes, value: bytes) -> bytes:
    """One record of a pax header; the length counts itself."""
    length = len(key) + len(value) + 3
    while len(b"%d" % length) + len(key) + len(value) + 3 != length:
        length += 1
    return b"%d %s=%s\n" % (length, key, value)


def pax(*records: bytes, kind: bytes = b"x") -> bytes:
    """An extended header of these records."""
    return entry(b"PaxHeaders.0/x", b"".join(records), kind)


def gnu_name(name: bytes, kind: bytes = b"L") -> bytes:
    """A long name in GNU's way."""
    return entry(b"././@LongLink", name + b"\0", kind, magic=b"ustar  \0")


def files(content: Iterable[tuple[str, bytes]]) -> bytes:
    """Plain files, their folders first."""
    given = list(content)
    folders = {"/".join(name.split("/")[:depth]) for name, _ in given for depth in range(1, name.count("/") + 1)}
    made = [header(b".", b"5"), *(header(folder.encode(), b"5") for folder in sorted(folders))]
    return b"".join([*made, *(entry(name.encode(), text) for name, text in sorted(given))])


def packed(*parts: bytes, end: bytes = END) -> bytes:
    """A tar of these parts, as gzip."""
    return gzip.compress(b"".join(parts) + end, compresslevel=1, mtime=0)


def repeated(first: bytes, block: bytes, times: int, last: bytes = END) -> bytes:
    """Gzip (RFC 1952) of ``first``, ``block`` so many times and ``last``, made without ever having it whole.

    The deflate stream is flushed in full around the block, so its packed form can be repeated as it is.
    """
    deflate = zlib.compressobj(6, zlib.DEFLATED, -zlib.MAX_WBITS)
    head = deflate.compress(first) + deflate.flush(zlib.Z_FULL_FLUSH)
    inner = zlib.compressobj(6, zlib.DEFLATED, -zlib.MAX_WBITS)
    middle = inner.compress(block) + inner.flush(zlib.Z_FULL_FLUSH)
    outer = zlib.compressobj(6, zlib.DEFLATED, -zlib.MAX_WBITS)
    tail = outer.compress(last) + outer.flush(zlib.Z_FINISH)
    check = zlib.crc32(first)
    for _ in range(times):
        check = zlib.crc32(block, check)
    check = zlib.crc32(last, check)
    size = (len(first) + len(block) * times + len(last)) & 0xFFFFFFFF
    return b"\x1f\x8b\x08\0\0\0\0\0\0\xff" + head + middle * times + tail + struct.pack("<II", check, size)


def noise(size: int) -> bytes:
    """Bytes that do not pack."""
    return os.urandom(size)
