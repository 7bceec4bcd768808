"""A tar.gz that arrives in parts, unpacked on the way: no disk, nothing kept but what the caller wants, bounded steps.

repo-server writes these archives with Go's ``archive/tar`` (ustar, or pax where a name is long or not ASCII); what that writer
never makes is refused by name instead of guessed at. Formats: RFC 1952 (gzip), POSIX.1-2001 (ustar and pax), GNU long names.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import Enum, auto
from typing import TYPE_CHECKING, Protocol
from zlib import adler32

from trimtab_kernel.problems import InputError, Problem, printable
from trimtab_plugins.argocd.inflating import ERRORS, gzip_inflater
from trimtab_plugins.argocd.runs import LENGTH, Run

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import NoReturn

    from trimtab_plugins.argocd.checkout import Batch
    from trimtab_plugins.argocd.runs import Runs

_BLOCK = 512
_ZEROS = bytes(_BLOCK)
_MOST_RUN = 256 * 1024
_INPUT_STEP = 64 * 1024  # zlib hands back what it has not consumed by copying it
_OUTPUT_STEP = 256 * 1024
_MAX_EXTENSION = 16 * 1024  # the longest name, its target, and the times that Go writes
_MAX_NAME = 4096  # PATH_MAX
_MAX_DEPTH = 256
# Packing below this size is not judged: a few small files of equal lines pack very well.
_RATIO_FROM = 32 * 1024 * 1024
# Matches an empty, "." or ".." component (so also a leading, doubled or trailing slash), and NUL.
_UNSAFE = re.compile(rb"(?:^|/)\.{0,2}(?:/|$)|\x00")
_ELEVEN = re.compile(rb"[0-7]{11}").fullmatch
_SIX = re.compile(rb"[0-7]{6}\0 ").fullmatch
_FOLDER, _LINK, _GLOBAL = b"52g"
_PLAIN_KEYS = frozenset(
    {b"path", b"linkpath", b"size", b"mtime", b"atime", b"ctime", b"uid", b"gid", b"uname", b"gname", b"comment"}
)
_KINDS = {
    ord("1"): "a hard link",
    ord("3"): "a character device",
    ord("4"): "a block device",
    ord("6"): "a pipe",
    ord("7"): "a contiguous file",
    ord("S"): "a sparse file",
    ord("M"): "a part of a file that began in another volume",
    ord("V"): "a volume label",
}


class EntryKind(Enum):
    """What an entry is."""

    FILE = auto()
    FOLDER = auto()
    LINK = auto()


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds on one archive: bytes as they come, bytes that they unpack to, entries, and how well it may be packed."""

    archive_bytes: int = 256 * 1024 * 1024
    unpacked_bytes: int = 1024 * 1024 * 1024
    entries: int = 500_000
    ratio: int = 200


class Selection(Protocol):
    """Who wants the entries. May raise InputError, which ends the unpacking."""

    def entry(self, name: bytes, kind: EntryKind, size: int, target: bytes) -> bool:
        """Judge an entry, its name already checked; whether its content is wanted. ``target`` is that of a link."""
        ...

    def content(self, content: bytes) -> None:
        """The content of the entry that was wanted last."""
        ...

    @property
    def prefix(self) -> bytes:
        """What the judgement of an entry depends on besides the entry and those before it."""
        ...

    def begin(self) -> None:
        """Record what entries do from now on."""
        ...

    def end(self, count: int) -> Batch | None:
        """What the first ``count`` entries of the record did; None where that is not for taking together."""
        ...

    def take(self, batch: Batch) -> bool:
        """Entries that were judged before, all at once. False where they have to be judged one by one; nothing is taken."""
        ...


class Unpacking:
    """One archive. Feed it with :meth:`feed`, close it with :meth:`finish`; both raise InputError for what is refused.

    Codes: A105 a limit, A106 the gzip stream, A107 the tar, A108 a name, A109 a kind of entry, A112 an extended header.
    """

    def __init__(self, selection: Selection, limits: Limits | None = None, runs: Runs | None = None) -> None:
        """``runs`` are those of archives that came before, with the same limits; each reading adds to them."""
        self._selection = selection
        self._runs = runs
        self._pending = b""  # the beginning of a run that may be another one
        self._begin = self._begun = -1  # where in the piece the run begins that is recorded, and the entries before it
        self._whole = self._counted = 0  # the same of its end: after the last entry that is whole
        self._apart = False  # the header that was just read is none for a run
        self._limits = limits or Limits()
        self._inflate = gzip_inflater()
        self.archive_bytes = 0
        self.unpacked_bytes = 0
        self.entries = 0
        self._held = b""  # a header that is not whole yet
        self._skip = 0  # bytes of the tar to pass over
        self._want = 0  # bytes of the tar that are collected
        self._parts: list[bytes] = []
        self._padding = 0  # after what is collected
        self._extension = 0  # the kind of extended header that is collected
        self._path: bytes | None = None
        self._target: bytes | None = None
        self._extended: set[int] = set()  # kinds of extended headers before the next entry
        self._zeros = 0  # whole blocks of zeros: two end a tar

    def feed(self, data: bytes) -> Iterator[None]:
        """Take the next part of the archive. Yields between steps of bounded work, so that a server can serve others."""
        self.archive_bytes += len(data)
        if self.archive_bytes > self._limits.archive_bytes:
            _refuse("A105", "", f"more than {self._limits.archive_bytes} bytes", "a smaller archive")
        for start in range(0, len(data), _INPUT_STEP):
            part = data if len(data) <= _INPUT_STEP else data[start : start + _INPUT_STEP]
            while True:
                piece = self._unpack(part)
                part = self._inflate.unconsumed_tail
                self._count(len(piece))
                self._take(piece)
                if self._inflate.eof or (not part and len(piece) < _OUTPUT_STEP):
                    break
                yield

    def _unpack(self, part: bytes) -> bytes:
        inflate = self._inflate
        if not inflate.eof:
            try:
                piece = inflate.decompress(part, _OUTPUT_STEP)
            except ERRORS:
                got = "damaged bytes" if self.unpacked_bytes else "no gzip stream"
                _refuse("A106", "", got, "a gzip-compressed tar")
            if not inflate.unused_data:
                return piece
        _refuse("A106", "", "bytes after the end of the compressed stream", "nothing more")

    def finish(self) -> None:
        """No more parts will come."""
        if self._pending:
            self._runs = None
            self._take(b"")
        if not self._inflate.eof:
            got = "a stream that ends early" if self.archive_bytes else "no bytes"
            _refuse("A106", "", got, "a whole gzip stream")
        if self._zeros < 2 or self._held or self._want or self._skip:
            _refuse("A107", "", "a tar without its end", "two blocks of zeros at the end")

    def _count(self, size: int) -> None:
        self.unpacked_bytes += size
        if self.unpacked_bytes > self._limits.unpacked_bytes:
            _refuse("A105", "", f"more than {self._limits.unpacked_bytes} bytes unpacked", "a smaller repository")
        if self.unpacked_bytes > max(_RATIO_FROM, self.archive_bytes * self._limits.ratio):
            got = f"{self.unpacked_bytes} bytes unpacked from {self.archive_bytes}"
            _refuse("A105", "", got, f"at most {self._limits.ratio} times as many")

    def _take(self, piece: bytes) -> None:
        if self._pending:
            piece = self._pending + piece
            self._pending = b""
        position, end = 0, len(piece)
        while position < end:
            if self._runs is not None and self._at_rest():
                position += self._together(piece, position)
                if position == end:
                    break
            if self._skip:
                step = min(self._skip, end - position)
                self._skip -= step
                position += step
            elif self._want:
                part = piece[position : position + self._want]
                position += len(part)
                self._want -= len(part)
                self._parts.append(part)
                if not self._want:
                    self._collected()
            else:
                header = piece[position : position + _BLOCK - len(self._held)]
                position += len(header)
                if self._held:
                    header = self._held + header
                    self._held = b""
                if len(header) < _BLOCK:
                    self._held = header
                else:
                    self._header(header)
                    if self._apart:
                        self._apart = False
                        self._close(piece)
        if self._runs is not None and self._at_rest() and not self._pending:
            self._whole, self._counted = position, self.entries
        self._close(piece)

    def _at_rest(self) -> bool:
        """Whether an entry may begin here, and nothing was said of it yet."""
        return not (self._skip or self._want or self._held or self._extended or self._zeros)

    def _together(self, piece: bytes, position: int) -> int:
        """The bytes of whole entries that came before and are taken as they were; 0 where an entry has to be read."""
        assert self._runs is not None
        prefix, taken = self._selection.prefix, 0
        while True:
            at = position + taken
            self._whole, self._counted = at, self.entries
            if at - self._begin >= LENGTH:
                self._close(piece)
            header = piece[at : at + _BLOCK]
            run = self._runs.get(prefix, header)
            if run is None:
                break
            if piece.startswith(run.raw, at):
                self._close(piece)
                if self.entries + run.entries > self._limits.entries or not self._selection.take(run.batch):
                    break
                self._runs.used(prefix, header)
                self.entries += run.entries
                taken += len(run.raw)
                if at + len(run.raw) == len(piece):
                    return taken
            elif len(piece) - at < len(run.raw) and run.raw.startswith(piece[at:]):
                self._close(piece)
                self._pending = piece[at:]
                return len(piece) - position
            else:
                break
        if self._begin < 0:
            self._begin, self._begun = at, self.entries
            self._selection.begin()
        return taken

    def _close(self, piece: bytes) -> None:
        """The run that is recorded ends with its last whole entry, and is kept."""
        if self._begin < 0 or self._runs is None:
            return
        begin, self._begin = self._begin, -1
        entries = self._counted - self._begun
        batch = self._selection.end(entries)
        if batch is not None and entries and self._whole - begin <= _MOST_RUN:
            raw = piece[begin : self._whole]
            self._runs.put(self._selection.prefix, raw[:_BLOCK], Run(raw, entries, batch))

    def _collect(self, size: int) -> None:
        self._want = size
        self._padding = -size % _BLOCK
        if not size:
            self._collected()

    def _collected(self) -> None:
        content = self._parts[0] if len(self._parts) == 1 else b"".join(self._parts)
        self._parts.clear()
        self._skip = self._padding
        if self._extension:
            kind, self._extension = self._extension, 0
            self._extend(kind, content)
        else:
            self._selection.content(content)

    def _header(self, header: bytes) -> None:
        if self._zeros:
            if header != _ZEROS:
                _refuse("A107", "", "content after the end of the tar", "nothing more")
            self._zeros += 1
            return
        if header[0] == 0 and header == _ZEROS:
            if self._extended:
                _refuse("A112", "", "an extended header without an entry", "an entry after it")
            self._zeros = 1
            return
        self.entries += 1
        if self.entries > self._limits.entries:
            _refuse("A105", "", f"more than {self._limits.entries} entries", f"at most {self._limits.entries}")
        kind = header[156]
        if header[257:262] != b"ustar" or not _sum_holds(header):
            _refuse("A107", "", "a header that is none, or has a wrong checksum", "a header of ustar or pax")
        digits = header[124:135]
        # Nearly all sizes are eleven octal digits and an end, as Go and GNU write them.
        size = int(digits, 8) if _ELEVEN(digits) and header[135] in b"\0 " else self._size(header)
        if size > self._limits.unpacked_bytes:
            _refuse("A105", _shown(header[:100].rstrip(b"\0")), f"an entry of {size} bytes", "a smaller file")
        if kind in b"xLK":
            self._announce(kind, size)
            return
        if self._path is not None:
            name = self._path
        else:
            name, _, rest = header[:100].partition(b"\0")
            if rest and rest.count(0) != len(rest):
                _refuse("A108", _shown(name), "a name with NUL in it", "NUL only at its end")
            if header[345] and header[257:263] == b"ustar\0":
                name = _field(header[345:500], "a name") + b"/" + name
        self._entry(name, kind, size, header)

    def _entry(self, name: bytes, kind: int, size: int, header: bytes) -> None:
        target = b""
        if kind in b"0\0":
            which = EntryKind.FOLDER if name[-1:] == b"/" else EntryKind.FILE
        elif kind == _FOLDER:
            which = EntryKind.FOLDER
        elif kind == _LINK:
            which = EntryKind.LINK
            self._apart = True
            target = self._target if self._target is not None else _field(header[157:257], "the target of a link")
        elif kind == _GLOBAL:
            _refuse("A112", "", "a header for all entries", "headers of single entries")
        else:
            _refuse("A109", _shown(name), _KINDS.get(kind, "an unknown kind of entry"), "a file, a folder or a link")
        if self._extended:
            self._path = self._target = None
            self._extended.clear()
        if which is not EntryKind.FILE:
            if which is EntryKind.FOLDER:
                name = name[:-1] if name[-1:] == b"/" and len(name) > 1 else name
                if name == b".":
                    self._apart = True
                    return
            if size:
                _refuse("A107", _shown(name), f"{size} bytes of content", "none: it is no file")
        if _UNSAFE.search(name) or len(name) > _MAX_NAME or name.count(b"/") >= _MAX_DEPTH:
            _refuse_name(name)
        if self._selection.entry(name, which, size, target):
            self._collect(size)
        else:
            self._skip = size + -size % _BLOCK

    def _size(self, header: bytes) -> int:
        """A size that is not written as usual."""
        field = header[124:136]
        if not field[0] & 0x80:
            return _octal(field)
        # GNU's way for what does not fit eleven octal digits: more than any limit, or written so to confuse.
        size = int.from_bytes(field, "big") & ((1 << 95) - 1)
        if size <= self._limits.unpacked_bytes:
            _refuse("A107", "", "a size in a form that it does not need", "octal digits")
        return size

    def _announce(self, kind: int, size: int) -> None:
        if kind in self._extended:
            _refuse("A112", "", "two extended headers of one kind before an entry", "one")
        if size > _MAX_EXTENSION:
            _refuse("A112", "", f"an extended header of {size} bytes", f"at most {_MAX_EXTENSION}")
        self._extended.add(kind)
        self._apart = True
        self._extension = kind
        self._collect(size)

    def _extend(self, kind: int, content: bytes) -> None:
        if kind == ord("x"):
            records = _records(content)
            path, target = records.get(b"path"), records.get(b"linkpath")
            if b"size" in records:
                size = _decimal(records[b"size"])
                if size > self._limits.unpacked_bytes:
                    _refuse("A105", "", f"an entry of {size} bytes", "a smaller file")
                _refuse("A112", "", "a second size in an extended header", "the size in the entry alone")
        else:
            if content[-1:] != b"\0":
                _refuse("A112", "", "a long name without its end", "NUL at its end")
            path, target = (content[:-1], None) if kind == ord("L") else (None, content[:-1])
        if (path is not None and self._path is not None) or (target is not None and self._target is not None):
            _refuse("A112", "", "two long names for one entry", "one")
        self._path = self._path if path is None else path
        self._target = self._target if target is None else target


def _refuse_name(name: bytes) -> NoReturn:
    if b"\0" in name:
        got = "a name with NUL in it"
    elif name.startswith(b"/"):
        got = "an absolute name"
    elif b".." in name.split(b"/"):
        got = "a name that climbs up"
    elif len(name) > _MAX_NAME:
        got = f"a name of {len(name)} bytes"
    elif name.count(b"/") >= _MAX_DEPTH:
        got = f"a name of {name.count(b'/') + 1} parts"
    else:
        got = "a name with an empty part"
    expected = f"a relative name of at most {_MAX_DEPTH} plain parts and {_MAX_NAME} bytes"
    _refuse("A108", _shown(name), got, expected)


def _sum_holds(header: bytes) -> bool:
    """Whether the checksum holds: the sum of all bytes, the field itself counted as eight spaces.

    Adler-32's low half is that sum plus one modulo 65521 (RFC 1950), many times faster than adding in Python; the sum of 256
    bytes is always below the modulus.
    """
    halves = (adler32(header[:256]) & 0xFFFF) + (adler32(header[256:]) & 0xFFFF) - 2
    field = header[148:156]
    said = int(field[:6], 8) if _SIX(field) else _octal(field)
    return halves - sum(field) + 8 * 0x20 == said


def _octal(field: bytes) -> int:
    text = field.strip(b" \0")
    if not text.isdigit() or b"8" in text or b"9" in text:
        if not text:
            return 0
        _refuse("A107", "", "a number that is none", "octal digits")
    return int(text, 8)


def _decimal(text: bytes) -> int:
    if not text.isdigit() or len(text) > 30:
        _refuse("A112", "", "a number that is none", "decimal digits")
    return int(text)


def _field(field: bytes, what: str) -> bytes:
    text, _, rest = field.partition(b"\0")
    if rest and rest.count(0) != len(rest):
        _refuse("A108", _shown(text), f"{what} with NUL in it", "NUL only at its end")
    return text


def _records(content: bytes) -> dict[bytes, bytes]:
    """The records of a pax header: ``LENGTH KEY=VALUE newline``, the length counting itself."""
    found: dict[bytes, bytes] = {}
    position = 0
    while position < len(content):
        space = content.find(b" ", position, position + 8)
        digits = content[position : max(space, position)]
        length = int(digits) if digits.isdigit() else 0
        record = content[space + 1 : position + length]
        key, equals, value = record[:-1].partition(b"=")
        if position + length > len(content) or record[-1:] != b"\n" or not equals or not key:
            _refuse("A112", "", "an extended header that is none", "records of length, key and value")
        if key.startswith(b"GNU.sparse."):
            _refuse("A109", "", "a sparse file", "a file, a folder or a link")
        if key in found:
            _refuse("A112", "", f"{_shown(key)} twice in one extended header", "each once")
        if key not in _PLAIN_KEYS and not key.startswith((b"SCHILY.", b"LIBARCHIVE.")):
            _refuse("A112", "", f"{_shown(key)} in an extended header", "what a file system knows of a file")
        found[key] = value
        position += length
    return found


def _shown(name: bytes) -> str:
    return printable(name.decode("utf-8", "backslashreplace"), 200)


def _refuse(code: str, file: str, got: str, expected: str) -> NoReturn:
    raise InputError(Problem(code, file, 0, "", got, expected))
