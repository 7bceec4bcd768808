"""One tar.gz to its files, in memory, whoever wrote it: nothing is followed, nothing is guessed, and nothing grows.

The tar headers are read here and not by the standard library, whose reader takes what an extended header announces into
memory before anybody can object. Formats: ustar (POSIX.1-1988), pax (POSIX.1-2001) and GNU long names.
"""

from __future__ import annotations

import io
import zlib
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, Protocol

from trimtab_kernel.problems import InputError, Problem, printable
from trimtab_plugins.archives.names import MAX_DEPTH, MAX_NAME_BYTES, refusal_of_name

if TYPE_CHECKING:
    from collections.abc import Callable

_BLOCK = 512
_CHUNK = 64 * 1024
_EXTENDED = 64 * 1024  # of one extended header; a path needs a few hundred bytes
_MAGIC = b"\x1f\x8b"
_KINDS = {
    b"1": "a hard link",
    b"2": "a symbolic link",
    b"3": "a character device",
    b"4": "a block device",
    b"6": "a pipe",
    b"S": "a sparse file",
}


class Readable(Protocol):
    """A stream of bytes; an open file, or the body of an answer."""

    def read(self, size: int, /) -> bytes:
        """At most ``size`` bytes; none at the end."""
        ...


class Links(Enum):
    """What becomes of a symbolic link. A hard link is always refused."""

    REFUSE = "refuse"
    SKIP = "skip"
    """As Flux does: it is left out, as if the archive did not have it."""


@dataclass(frozen=True, slots=True)
class ArchiveLimits:
    """Bounds on one archive: bytes as they come, bytes of tar that they unpack to, bytes of one file, and entries."""

    compressed_bytes: int = 64 * 1024 * 1024
    unpacked_bytes: int = 256 * 1024 * 1024
    file_bytes: int = 64 * 1024 * 1024
    entries: int = 50_000


LIMITS = ArchiveLimits()


def read_archive(
    stream: Readable | bytes,
    limits: ArchiveLimits = LIMITS,
    *,
    keep: Callable[[str], bool] | None = None,
    links: Links = Links.REFUSE,
) -> dict[str, bytes]:
    """The plain files of a gzip-compressed tar, by path with "/" (a leading "./" is dropped), sorted.

    ``keep`` chooses which files are given; the others are judged and passed over. Memory is bounded by what is kept and
    ``limits``. Raises InputError: A301 for what is no archive, is damaged or ends early, or goes on after its end; A302
    for a name that leaves the folder or is not plain; A303 for a link, a device or another kind; A304 for what exceeds a
    limit; A305 for a path that is there twice, or as file and folder. Errors of ``stream`` pass through.
    """
    source = io.BytesIO(stream) if isinstance(stream, bytes) else stream
    return _Reader(_Gunzip(source, limits), limits, keep or (lambda _: True), links).files()


class _Gunzip:
    """The bytes inside a gzip stream (RFC 1952; several members are one stream), counted on both sides."""

    def __init__(self, source: Readable, limits: ArchiveLimits) -> None:
        self._source = source
        self._limits = limits
        self._inflate = zlib.decompressobj(zlib.MAX_WBITS | 16)
        self._waiting = b""
        self._taken = 0
        self._given = 0
        self._begun = False
        self._ready = bytearray()

    def read(self, size: int) -> bytes:
        """Exactly ``size`` bytes, fewer at the end."""
        while len(self._ready) < size:
            piece = self._more(max(size - len(self._ready), 1))
            if not piece:
                break
            self._ready += piece
        given = bytes(self._ready[:size])
        del self._ready[:size]
        return given

    def chunk(self) -> bytes:
        """Some bytes, none at the end."""
        return self.read(_CHUNK)

    def _more(self, wanted: int) -> bytes:
        while True:
            if self._inflate.eof:
                rest = self._inflate.unused_data
                rest = rest if len(rest) >= len(_MAGIC) else rest + self._take()
                if not rest:
                    return b""
                if not rest.startswith(_MAGIC):
                    raise _damaged("bytes after the end of the compressed stream", "nothing more")
                self._inflate, self._waiting = zlib.decompressobj(zlib.MAX_WBITS | 16), rest
            if not self._waiting:
                self._waiting = self._take()
                if not self._waiting:
                    what = "a stream that ends early" if self._begun else "no bytes"
                    raise _damaged(what, "a whole gzip-compressed tar")
                self._begun = True
            try:
                piece = self._inflate.decompress(self._waiting, min(max(wanted, 1), _CHUNK))
            except zlib.error:
                raise _damaged("damaged bytes" if self._given else "no gzip stream", "a gzip-compressed tar") from None
            # At the end of a member zlib may name the rest twice.
            self._waiting = b"" if self._inflate.eof else self._inflate.unconsumed_tail
            self._given += len(piece)
            if self._given > self._limits.unpacked_bytes:
                raise _too_much("", f"more than {self._limits.unpacked_bytes} bytes unpacked")
            if piece:
                return piece

    def _take(self) -> bytes:
        taken = self._source.read(_CHUNK)
        self._taken += len(taken)
        if self._taken > self._limits.compressed_bytes:
            raise _too_much("", f"more than {self._limits.compressed_bytes} compressed bytes")
        return taken


@dataclass(slots=True)
class _Extended:
    """What extended headers say about the next entry."""

    path: str | None = None
    size: int | None = None


class _Reader:
    def __init__(self, raw: _Gunzip, limits: ArchiveLimits, keep: Callable[[str], bool], links: Links) -> None:
        self._raw = raw
        self._limits = limits
        self._keep = keep
        self._links = links
        self._files: dict[str, bytes] = {}
        self._seen: set[str] = set()
        self._folders: set[str] = set()

    def files(self) -> dict[str, bytes]:
        entries = 0
        extended = _Extended()
        while (header := self._header()) is not None:
            entries += 1
            if entries > self._limits.entries:
                raise _too_much("", f"more than {self._limits.entries} entries")
            kind = header[156:157]
            size = _number(header[124:136])
            if kind in (b"x", b"g", b"L", b"K"):
                self._extend(extended, kind, size)
                continue
            self._entry(header, kind, size, extended)
            extended = _Extended()
        if extended != _Extended():
            raise _damaged("an extended header without an entry", "a whole tar")
        return dict(sorted(self._files.items()))

    def _header(self) -> bytes | None:
        """The next header; None at the end, after which only zeros may follow."""
        block = self._raw.read(_BLOCK)
        if len(block) < _BLOCK:
            raise _damaged("a tar without its end", "a whole tar")
        if any(block):
            said = _number(block[148:156])
            if said != sum(block[:148]) + 8 * 0x20 + sum(block[156:]):
                raise _damaged("a header with a wrong checksum", "a whole tar")
            return block
        while chunk := self._raw.chunk():
            if chunk.count(0) != len(chunk):
                raise _damaged("content after the end of the tar", "nothing more")
        return None

    def _extend(self, extended: _Extended, kind: bytes, size: int) -> None:
        if size > _EXTENDED:
            raise _too_much("", f"an extended header of {size} bytes")
        content = self._content(size)
        if kind == b"L":
            extended.path = _text(content.rstrip(b"\0"))
        elif kind == b"x":
            records = _records(content)
            if any(key.startswith(b"GNU.sparse.") for key in records):
                raise _refused_kind("", "a sparse file")
            if b"path" in records:
                extended.path = _text(records[b"path"])
            if b"size" in records:
                extended.size = _decimal(records[b"size"])
        # A global header ("g") is what Git writes its commit into, and "K" is the target of a link: neither names a file.

    def _entry(self, header: bytes, kind: bytes, size: int, extended: _Extended) -> None:
        path = extended.path if extended.path is not None else _ustar_path(header)
        folder = kind == b"5" or (kind in (b"0", b"\0") and path.endswith("/"))
        name = _plain(path)
        size = size if extended.size is None else extended.size
        if kind == b"2" and self._links is Links.SKIP:
            return
        if not folder and kind not in (b"0", b"\0"):
            raise _refused_kind(name, _KINDS.get(kind, "an unknown kind of entry"))
        if name == "" and folder:
            return  # the folder itself
        if refusal := refusal_of_name(name):
            raise InputError(
                Problem(
                    "A302",
                    file=printable(name, 200),
                    got=refusal,
                    expected=f"a relative path of at most {MAX_DEPTH} parts and {MAX_NAME_BYTES} bytes",
                )
            )
        self._remember(name, folder=folder)
        if folder:
            return
        if size > self._limits.file_bytes:
            raise _too_much(name, f"a file of {size} bytes")
        if self._keep(name):
            self._files[name] = self._content(size)
        else:
            self._pass_over(size)

    def _remember(self, name: str, *, folder: bool) -> None:
        parts = name.split("/")
        above = ["/".join(parts[:count]) for count in range(1, len(parts))]
        if (not folder and (name in self._seen or name in self._folders)) or (folder and name in self._seen):
            raise InputError(Problem("A305", file=printable(name, 200), got="the path twice", expected="once"))
        if taken := next((path for path in above if path in self._seen), None):
            got = "the path as a file and as a folder"
            raise InputError(Problem("A305", file=printable(taken, 200), got=got, expected="one of them"))
        self._folders.update(above)
        if folder:
            self._folders.add(name)
        else:
            self._seen.add(name)

    def _content(self, size: int) -> bytes:
        content = self._raw.read(size)
        if len(content) < size or not self._skip(-size % _BLOCK):
            raise _damaged("a file that ends early", "a whole tar")
        return content

    def _pass_over(self, size: int) -> None:
        if not self._skip(size + (-size % _BLOCK)):
            raise _damaged("a file that ends early", "a whole tar")

    def _skip(self, size: int) -> bool:
        while size > 0:
            passed = len(self._raw.read(min(size, _CHUNK)))
            if not passed:
                return False
            size -= passed
        return True


def _number(field: bytes) -> int:
    """A number of a header: octal digits between spaces and zeros, or GNU's big-endian with the top bit set."""
    if field[0] & 0x80:
        value = int.from_bytes(bytes([field[0] & 0x7F]) + field[1:], "big")
        if field[0] & 0x40 or value >= 1 << 62:
            raise _damaged("a number out of range", "a whole tar")
        return value
    text = field.split(b"\0", 1)[0].strip(b" ")
    if text and text.strip(b"01234567"):
        raise _damaged("a number that is none", "a whole tar")
    return int(text, 8) if text else 0


def _decimal(text: bytes) -> int:
    if not text.isdigit() or len(text) > 18:
        raise _damaged("a number that is none", "a whole tar")
    return int(text)


def _records(content: bytes) -> dict[bytes, bytes]:
    """The records of a pax header: ``LENGTH KEY=VALUE newline``, the length counting itself."""
    found: dict[bytes, bytes] = {}
    at = 0
    while at < len(content):
        space = content.find(b" ", at, at + 8)
        length = _decimal(content[at:space]) if space > at else 0
        record = content[space + 1 : at + length]
        key, equals, value = record[:-1].partition(b"=")
        if at + length > len(content) or not record.endswith(b"\n") or not equals or not key:
            raise _damaged("an extended header that is none", "a whole tar")
        found[key] = value
        at += length
    return found


def _ustar_path(header: bytes) -> str:
    name = header[:100].split(b"\0", 1)[0]
    prefix = header[345:500].split(b"\0", 1)[0] if header[257:263] == b"ustar\0" else b""
    return _text(prefix + b"/" + name if prefix else name)


def _text(name: bytes) -> str:
    try:
        return name.decode()
    except UnicodeDecodeError:
        shown = printable(name.decode("utf-8", "backslashreplace"), 200)
        raise InputError(Problem("A302", file=shown, got="a name that is not UTF-8", expected="UTF-8")) from None


def _plain(path: str) -> str:
    """Without the ways of writing that mean nothing: a leading "./" and the "/" at the end of a folder's name."""
    while path.startswith("./"):
        path = path[2:]
    path = path[:-1] if path.endswith("/") and len(path) > 1 else path
    return "" if path == "." else path


def _damaged(got: str, expected: str) -> InputError:
    return InputError(Problem("A301", got=got, expected=expected))


def _too_much(name: str, got: str) -> InputError:
    return InputError(
        Problem("A304", file=printable(name, 200), got=got, expected="less; the limits are in the manual")
    )


def _refused_kind(name: str, got: str) -> InputError:
    return InputError(Problem("A303", file=printable(name, 200), got=got, expected="plain files and folders"))
