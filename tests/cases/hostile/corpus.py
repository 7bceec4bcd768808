"""Repositories and calls that mean harm, by name, each with the code that it is refused with.

``code`` is that of the native plugin server. ``stock`` is that of exec mode below Argo CD's own plugin server, for what that
one lets through; "" where it refuses by itself or renders (a stricter reader than it is nobody's loss).
"""

from __future__ import annotations

import gzip
import struct
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.cases.hostile.archives import (
    BLOCK,
    END,
    MIB,
    entry,
    files,
    gnu_name,
    header,
    noise,
    packed,
    padded,
    pax,
    record,
    repeated,
)
from tests.plugins.argocd.wire import chunks, metadata, parameters, pb, request

FLEET = Path(__file__).parents[3] / "examples/fleet"
Messages = Iterable["pb.AppStreamRequest | bytes"]


@dataclass(frozen=True)
class Hostile:
    """One case. ``messages`` makes the stream of the call anew."""

    name: str
    code: str
    messages: Callable[[], Messages]
    stock: str = ""


def sound(*without: str) -> bytes:
    """The example fleet below ``fleet/``: everything else about a case is in order."""
    return files(
        (f"fleet/{path.relative_to(FLEET).as_posix()}", path.read_bytes())
        for path in sorted(FLEET.rglob("*.yaml"))
        if path.name not in without
    )


def _with(*parts: bytes) -> Callable[[], Messages]:
    return lambda: request(packed(sound(), *parts), "fleet")


def _whole(archive: Callable[[], bytes], path: str = "fleet", **other: object) -> Callable[[], Messages]:
    return lambda: request(archive(), path, **other)  # type: ignore[arg-type] # options of request, by their names


def _manifest(content: bytes) -> Callable[[], Messages]:
    return _with(entry(b"fleet/harm.yaml", content))


def _given(text: str) -> Callable[[], Messages]:
    return lambda: request(packed(sound()), "fleet", {"ARGOCD_APP_PARAMETERS": text})


def _cut(archive: bytes, at: int) -> bytes:
    return archive[:at]


def _folders(count: int) -> bytes:
    return pax(record(b"path", b"d/" * count + b"x")) + entry(b"x")


def _many(count: int, content: bytes) -> Iterator[tuple[str, bytes]]:
    for place in range(count):
        yield f"fleet/many/{place}.yaml", content


def _million() -> bytes:
    """A thousand different entries, a thousand times."""
    block = b"".join(header(b"lots/%d.txt" % place) for place in range(1000))
    return repeated(sound(), block, 1000)


def _aliases() -> bytes:
    lines = [b"a0: &a0 [x, x, x, x, x, x, x, x, x]"]
    lines += [b"a%d: &a%d [%s]" % (n, n, b", ".join([b"*a%d" % (n - 1)] * 9)) for n in range(1, 12)]
    return b"\n".join(lines)


def _merges() -> bytes:
    lines = [b"m0: &m0 {k0: 0}"]
    lines += [
        b"m%d: &m%d\n  <<: [%s]\n  k%d: 0" % (n, n, b", ".join([b"*m%d" % (n - 1)] * 50), n) for n in range(1, 30)
    ]
    return b"\n".join(lines)


_TEN_GB = 10 * 1024**3
_ONE_GROUP = sorted((FLEET / "groups").glob("*.yaml"))[0].read_bytes()
_HEAD = b"apiVersion: apexlogic.ai/v1\nkind: DeviceGroup\nmetadata: {name: harm, namespace: harm}\n"


def _names() -> Iterator[Hostile]:
    def one(name: str, *parts: bytes) -> Hostile:
        return Hostile(name, "A108", _with(*parts))

    yield one("name-parent", entry(b"../outside.yaml", b"a: 1"))
    yield one("name-parent-in-the-midst", entry(b"fleet/../../etc/passwd", b"a"))
    yield one("name-parent-at-the-end", header(b"fleet/..", b"5"))
    yield one("name-parent-in-pax", pax(record(b"path", b"../outside.yaml")), entry(b"fleet/x.yaml"))
    yield one("name-parent-in-gnu-form", gnu_name(b"../outside.yaml"), entry(b"fleet/x.yaml"))
    yield one("name-parent-in-prefix", entry(b"outside.yaml", prefix=b".."))
    yield one("name-absolute", entry(b"/etc/passwd", b"a"))
    yield one("name-absolute-in-pax", pax(record(b"path", b"/etc/passwd")), entry(b"x"))
    yield one("name-with-a-dot-part", entry(b"fleet/./x.yaml"))
    yield one("name-with-a-leading-dot", entry(b"./fleet/x.yaml"))
    yield one("name-with-an-empty-part", entry(b"fleet//x.yaml"))
    yield one("name-empty", entry(b""))
    yield one("name-with-nul", entry(b"fleet/x.yaml\0.txt"))
    yield one("name-with-nul-in-pax", pax(record(b"path", b"fleet/x.yaml\0.txt")), entry(b"x"))
    yield one("name-of-5000-bytes", pax(record(b"path", b"n" * 5000)), entry(b"x"))
    yield one("name-of-300-parts", _folders(300))
    yield Hostile("name-not-utf-8", "A108", _with(entry(b"fleet/caf\xe9.yaml", b"a: 1")), stock="A108")
    yield one("link-target-with-nul", header(b"fleet/l", b"2", target=b"a\0b"))


def _entries() -> Iterator[Hostile]:
    def kind(name: str, flag: bytes, target: bytes = b"") -> Hostile:
        return Hostile(name, "A109", _with(header(b"fleet/x.yaml", flag, target=target)))

    yield kind("hard-link", b"1", b"fleet/README.md")
    yield kind("hard-link-out", b"1", b"/etc/passwd")
    yield kind("character-device", b"3")
    yield kind("block-device", b"4")
    yield kind("pipe", b"6")
    yield kind("contiguous-file", b"7")
    yield kind("sparse-file", b"S")
    yield kind("unknown-kind", b"Z")
    yield Hostile("sparse-file-in-pax", "A109", _with(pax(record(b"GNU.sparse.major", b"1")), entry(b"fleet/x.yaml")))
    for name, target in (
        ("link-absolute", b"/etc/passwd"),
        ("link-out", b"../../etc/passwd"),
        ("link-out-by-a-detour", b"groups/../../../etc/passwd"),
        ("link-to-nothing-at-all", b""),
    ):
        yield Hostile(name, "A110", _with(header(b"fleet/x.yaml", b"2", target=target)))
    yield Hostile(
        "link-out-in-pax", "A110", _with(pax(record(b"linkpath", b"../../etc")), header(b"fleet/x.yaml", b"2"))
    )
    behind = header(b"fleet/l", b"2", target=b"groups"), entry(b"fleet/l/x.yaml", b"a: 1")
    yield Hostile("file-behind-a-link", "A110", _with(*behind))
    loop = header(b"fleet/a.yaml", b"2", target=b"b.yaml"), header(b"fleet/b.yaml", b"2", target=b"a.yaml")
    yield Hostile("link-loop", "F118", _with(*loop), stock="F118")
    outside = entry(b"other/x.yaml", b"a: 1"), header(b"fleet/x.yaml", b"2", target=b"../other/x.yaml")
    yield Hostile("link-out-of-the-fleet", "F118", _with(*outside), stock="F118")
    secret = entry(b"fleet/secret", b"a: 1"), header(b"fleet/x.yaml", b"2", target=b"secret")
    yield Hostile("link-to-what-is-no-manifest", "F118", _with(*secret), stock="F118")
    yield Hostile("entry-twice", "A111", _with(entry(b"fleet/x.yaml", b"a: 1"), entry(b"fleet/x.yaml", b"a: 2")))
    yield Hostile("file-and-folder", "A111", _with(entry(b"fleet/x", b""), entry(b"fleet/x/y.yaml", b"a: 1")))
    yield Hostile("file-where-a-folder-is", "A111", _with(header(b"fleet/x.yaml", b"5"), entry(b"fleet/x.yaml")))
    yield Hostile("folder-with-content", "A107", _with(header(b"fleet/x", b"5", 512), bytes(512)))


def _extensions() -> Iterator[Hostile]:
    def one(name: str, *parts: bytes) -> Hostile:
        return Hostile(name, "A112", _with(*parts))

    x = entry(b"fleet/x.txt")
    yield one("pax-for-all-entries", pax(record(b"path", b"fleet/y.yaml"), kind=b"g"), x)
    yield one("pax-twice", pax(record(b"path", b"a")), pax(record(b"path", b"b")), x)
    yield one("pax-and-gnu-name", pax(record(b"path", b"a")), gnu_name(b"b"), x)
    yield one("pax-second-size", pax(record(b"size", b"3")), x)
    yield one("pax-key-twice", pax(record(b"path", b"a"), record(b"path", b"b")), x)
    yield one("pax-unknown-key", pax(record(b"TRIMTAB.run", b"sh")), x)
    yield one("pax-record-too-long", pax(b"9999 path=a\n"), x)
    yield one("pax-record-of-no-length", pax(b"0 path=a\n"), x)
    yield one("pax-without-value", pax(b"7 path\n"), x)
    yield one("pax-of-a-megabyte", pax(record(b"comment", b"c" * MIB)), x)
    yield one("gnu-name-of-a-megabyte", gnu_name(b"n" * MIB), x)
    yield one("pax-without-entry", pax(record(b"path", b"a")))


def _sizes() -> Iterator[Hostile]:
    def one(name: str, make: Callable[[], bytes]) -> Hostile:
        return Hostile(name, "A105", _whole(make))

    base256 = b"\x80" + _TEN_GB.to_bytes(11, "big")
    yield one("ten-gigabytes-announced", lambda: packed(sound(), header(b"big", size_field=base256)))
    yield one("ten-gigabytes-in-pax", lambda: packed(sound(), pax(record(b"size", b"%d" % _TEN_GB)), entry(b"big")))
    yield one("eight-gigabytes-in-octal", lambda: packed(sound(), header(b"big", size_field=b"7" * 11 + b"\0")))
    yield one("zip-bomb-in-a-file", lambda: repeated(sound() + header(b"big", size=512 * MIB), bytes(MIB), 512))
    yield one(
        "zip-bomb-in-a-manifest", lambda: repeated(sound() + header(b"fleet/b.yaml", size=512 * MIB), bytes(MIB), 512)
    )
    yield one("zip-bomb-after-the-end", lambda: repeated(sound() + END, bytes(MIB), 2048))
    bomb = repeated(b"", bytes(MIB), 64)
    yield Hostile("zip-bomb-in-a-zip", "A107", _whole(lambda: gzip.compress(bomb, mtime=0)))
    yield one("a-million-entries", _million)
    yield one("archive-too-large", lambda: repeated(sound() + header(b"big", size=300 * MIB), noise(MIB), 300))
    yield Hostile("manifest-too-large", "F103", _manifest(b"a: " + b"x" * (2 * MIB)), stock="F103")
    yield Hostile(
        "manifests-too-many", "F103", _whole(lambda: packed(sound(), files(_many(20_100, b"")))), stock="F103"
    )
    yield Hostile(
        "manifests-too-large-together",
        "F103",
        _whole(lambda: packed(sound(), files(_many(40, noise(500_000).hex().encode())))),
        stock="F103",
    )


def _streams() -> Iterator[Hostile]:
    good = packed(sound())

    def gzipped(name: str, archive: bytes) -> Hostile:
        return Hostile(name, "A106", _whole(lambda: archive))

    yield gzipped("gzip-cut", _cut(good, len(good) // 2))
    yield gzipped("gzip-without-trailer", _cut(good, len(good) - 8))
    yield gzipped("gzip-wrong-crc", good[:-8] + struct.pack("<I", 1) + good[-4:])
    yield gzipped("gzip-wrong-length", good[:-4] + struct.pack("<I", 1))
    yield gzipped("gzip-and-more", good + b"more")
    yield gzipped("gzip-twice", good + good)
    yield gzipped("gzip-damaged", good[:200] + bytes(50) + good[250:])
    yield gzipped("no-gzip", sound() + END)
    yield gzipped("nothing", b"")

    def tarred(name: str, content: bytes) -> Hostile:
        return Hostile(name, "A107", _whole(lambda: gzip.compress(content, mtime=0)))

    yield tarred("tar-without-end", sound())
    yield tarred("tar-with-half-an-end", sound() + bytes(BLOCK))
    yield tarred("tar-cut-in-a-file", sound() + header(b"x", size=5000) + b"abc")
    yield tarred("tar-cut-in-a-header", sound() + header(b"x")[:300])
    yield tarred("tar-wrong-checksum", sound() + header(b"x", checksum=b"000001\0 ") + END)
    yield tarred("tar-size-no-number", sound() + header(b"x", size_field=b"-0000000001\0") + END)
    yield tarred("tar-size-padded-to-confuse", sound() + header(b"x", size_field=b"\x80" + bytes(11)) + END)
    yield tarred("tar-without-magic", sound() + header(b"x", magic=bytes(8)) + END)
    yield tarred("tar-goes-on-after-its-end", sound() + END + entry(b"fleet/x.yaml", b"a: 1") + END)
    yield tarred("no-tar", padded(noise(5000)))


def _protocol() -> Iterator[Hostile]:
    good = packed(sound())
    env = {"ARGOCD_APP_PARAMETERS": parameters(group="kiosk-emea")}
    first = metadata(good, "fleet", env)
    yield Hostile("wrong-checksum", "A103", _whole(lambda: good, checksum="0" * 64))
    yield Hostile("no-checksum", "A103", _whole(lambda: good, checksum=""))
    yield Hostile("bytes-changed-on-the-way", "A103", lambda: [first, *chunks(good[:-1] + b"!", 1000)])
    yield Hostile("wrong-size", "A104", _whole(lambda: good, size=len(good) + 1))
    yield Hostile("negative-size", "A104", _whole(lambda: good, size=-1))
    yield Hostile("archive-before-metadata", "A102", lambda: [*chunks(good, 1000), first])
    yield Hostile("metadata-twice", "A102", lambda: [first, first, *chunks(good, 1000)])
    yield Hostile(
        "metadata-in-the-midst", "A102", lambda: [first, *chunks(good[:50], 50), first, *chunks(good[50:], 999)]
    )
    yield Hostile("no-metadata", "A102", lambda: list(chunks(good, 1000)))
    yield Hostile("no-message", "A102", list)
    yield Hostile("empty-message", "A102", lambda: [first, pb.AppStreamRequest(), *chunks(good, 1000)])
    yield Hostile("message-of-noise", "A102", lambda: [b"\xff" * 100, first, *chunks(good, 1000)])
    yield Hostile("name-of-noise-in-metadata", "A102", lambda: [b"\x0a\x04\x12\x02\xff\xfe", *chunks(good, 1000)])


def _paths() -> Iterator[Hostile]:
    for name, path in (
        ("path-parent", "../fleet"),
        ("path-parent-in-the-midst", "fleet/../../fleet"),
        ("path-absolute", "/fleet"),
        ("path-with-nul", "fleet\0/x"),
        ("path-not-there", "other"),
        ("path-in-other-case", "FLEET"),
        ("path-is-a-file", "fleet/README"),
    ):
        yield Hostile(name, "A113", _whole(lambda: packed(sound(), entry(b"fleet/README", b"a")), path))
    link = header(b"link", b"2", target=b"fleet")
    yield Hostile("path-is-a-link", "A113", _whole(lambda: packed(sound(), link), "link"))
    empty = files([("fleet/README.md", b"# nothing"), ("other/x.yaml", b"a: 1")])
    yield Hostile("no-manifest", "A116", _whole(lambda: packed(empty)), stock="A116")
    yield Hostile("no-group", "F311", _whole(lambda: packed(sound()), group="../kiosk-emea"), stock="F311")
    for name, text in (
        ("parameter-unknown", '[{"name":"group","string":"kiosk-emea"},{"name":"exec","string":"sh"}]'),
        ("parameter-no-string", '[{"name":"group","string":{"a":1}}]'),
        ("parameter-twice", '[{"name":"group","string":"kiosk-emea"},{"name":"group","string":"gateway-emea"}]'),
        ("parameter-nested", "[" * 100_000),
        ("parameter-missing", "[]"),
        ("parameter-long", '[{"name":"group","string":"%s"}]' % ("x" * 100_000)),
    ):
        yield Hostile(name, "A114", _given(text), stock="A114")


def _contents() -> Iterator[Hostile]:
    def one(name: str, code: str, content: bytes) -> Hostile:
        return Hostile(name, code, _manifest(content), stock=code)

    yield one("alias-bomb", "F110", _aliases())
    yield one("alias-in-itself", "F110", _HEAD + b"spec: &a [*a]\n")
    yield one("merge-bomb", "F110", _merges())
    yield one("nested-lists", "F112", b"a: " + b"[" * 50_000)
    yield one("nested-objects", "F112", b"".join(b" " * n + b"a:\n" for n in range(1200)))
    yield one("giant-scalar", "F104", _ONE_GROUP.replace(b"  name: ", b"  name: " + b"x" * 900_000, 1))
    yield one("content-not-utf-8", "F102", b"a: caf\xe9\n")
    yield one("content-in-utf-16", "F102", "a: 1\n".encode("utf-16"))
    yield one("content-with-nul", "F102", b"a: x\0y\n")
    yield one("content-with-escapes", "F102", b"a: \x1b[2J\n")
    yield one("tag", "F111", _HEAD + b"spec: !!python/object/apply:os.system [id]\n")
    yield one("key-twice", "F107", _HEAD + b"kind: Model\n")
    yield one("object-in-other-case-of-name", "F108", _ONE_GROUP)
    yield one("no-yaml", "F101", b"a: [\n")


CORPUS: tuple[Hostile, ...] = (
    *_names(),
    *_entries(),
    *_extensions(),
    *_sizes(),
    *_streams(),
    *_protocol(),
    *_paths(),
    *_contents(),
)
