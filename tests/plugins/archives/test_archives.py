"""Archives: bytes that follow from the files alone, read back whole, and refused by name where they could do harm."""

from __future__ import annotations

import gzip
import hashlib
import io
import struct
import subprocess
import tarfile
import zlib
from contextlib import suppress
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trimtab_kernel.problems import InputError
from trimtab_plugins.archives import ArchiveLimits, Links, read_archive, refusal_of_name, write_archive

if TYPE_CHECKING:
    import random
    from pathlib import Path

CODES = {"A301", "A302", "A303", "A304", "A305"}
SMALL = ArchiveLimits(compressed_bytes=100_000, unpacked_bytes=400_000, file_bytes=100_000, entries=50)

parts = st.text(
    st.characters(exclude_categories=("Cs", "Cc"), exclude_characters="/\\"), min_size=1, max_size=40
).filter(lambda part: not refusal_of_name(part))
names = st.lists(parts, min_size=1, max_size=4).map("/".join)


@st.composite
def trees(draw: st.DrawFn) -> dict[str, bytes]:
    found: dict[str, bytes] = {}
    for name in draw(st.lists(names, min_size=1, max_size=8, unique=True)):
        clash = any(name.startswith(f"{other}/") or other.startswith(f"{name}/") for other in found)
        if not clash:
            found[name] = draw(st.binary(max_size=2000))
    return found


def tgz(*members: tuple[str | tarfile.TarInfo, bytes], form: int = tarfile.PAX_FORMAT) -> bytes:
    raw = io.BytesIO()
    with tarfile.open(fileobj=raw, mode="w:gz", format=form) as archive:
        for member, content in members:
            info = tarfile.TarInfo(member) if isinstance(member, str) else member
            info.size = len(content) or info.size
            archive.addfile(info, io.BytesIO(content))
    return raw.getvalue()


def entry(kind: bytes, name: str, target: str = "", size: int = 0) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname, info.size = kind, target, size
    return info


def header(name: bytes, size: int, kind: bytes = b"0", size_field: bytes | None = None) -> bytes:
    """One ustar header as a stranger may write it, with a right checksum."""
    field = size_field if size_field is not None else b"%011o\0" % size
    block = bytearray(
        struct.pack(
            "100s8s8s8s12s12s8s1s100s8s247s",
            name,
            b"",
            b"",
            b"",
            field,
            b"",
            b" " * 8,
            kind,
            b"",
            b"ustar\0" + b"00",
            b"",
        )
    )
    block[148:156] = b"%06o\0 " % sum(block)
    return bytes(block)


def refused(archive: bytes, limits: ArchiveLimits = SMALL) -> str:
    with pytest.raises(InputError) as caught:
        read_archive(archive, limits)
    (problem,) = caught.value.problems
    return problem.code


def outcome(archive: bytes) -> dict[str, bytes] | None:
    """The files, or None where the bytes were refused by a code of archives."""
    with suppress(InputError):
        return read_archive(archive, SMALL)
    with pytest.raises(InputError) as caught:
        read_archive(archive, SMALL)
    assert {problem.code for problem in caught.value.problems} <= CODES
    return None


@given(trees(), st.randoms(use_true_random=False))
def test_what_is_written_is_read_and_does_not_depend_on_the_order(
    files: dict[str, bytes], order: random.Random
) -> None:
    shuffled = list(files.items())
    order.shuffle(shuffled)
    archive = write_archive(files)
    assert write_archive(dict(shuffled)) == archive
    assert read_archive(archive) == dict(sorted(files.items()))


def test_the_bytes_are_those_of_every_other_day() -> None:
    """The tar inside is pinned; the compressed bytes besides depend on zlib alone."""
    archive = write_archive({"b/c.yaml": b"two\n", "a.yaml": b"one\n"})
    assert archive[:10] == b"\x1f\x8b\x08\0\0\0\0\0\x02\xff"
    inside = gzip.decompress(archive)
    assert hashlib.sha256(inside).hexdigest() == "25d83b89322454e28f80e5d743677152d2da711af22b3ab2ebd7a1d7c30fc240"
    with tarfile.open(fileobj=io.BytesIO(inside)) as tar:
        found = [(m.name, m.mode, m.uid, m.gid, m.uname, m.gname, m.mtime, m.isdir()) for m in tar]
    assert found == [
        ("a.yaml", 0o600, 0, 0, "", "", 0, False),
        ("b", 0o750, 0, 0, "", "", 0, True),
        ("b/c.yaml", 0o600, 0, 0, "", "", 0, False),
    ]


def test_the_system_s_own_tar_unpacks_it(tmp_path: Path) -> None:
    long = "/".join(["a-folder-with-a-long-name"] * 12) + "/ünïcode.yaml"
    files = {"manifests.yaml": b"kind: A\n", long: b"x" * 5000}
    subprocess.run(["tar", "-xz", "-C", tmp_path], input=write_archive(files), check=True, timeout=60)
    assert {name: (tmp_path / name).read_bytes() for name in files} == files


def test_the_system_s_own_tar_is_read(tmp_path: Path) -> None:
    """GNU and pax forms, a "./" before every name, several gzip members."""
    deep = "d" * 70 + "/" + "e" * 70
    (tmp_path / "in" / deep).mkdir(parents=True)
    (tmp_path / "in" / deep / "f").write_bytes(b"deep")
    (tmp_path / "in" / "top.yaml").write_bytes(b"top")
    for form in ("gnu", "pax", "ustar"):
        made = subprocess.run(
            ["tar", "-c", f"--format={form}", "-C", tmp_path / "in", "."], check=True, capture_output=True, timeout=60
        ).stdout
        twice = gzip.compress(made[:700]) + gzip.compress(made[700:])
        assert read_archive(twice) == {f"{deep}/f": b"deep", "top.yaml": b"top"}, form


def test_what_is_not_kept_is_judged_and_passed_over() -> None:
    archive = tgz(("big.bin", b"x" * 50_000), ("a.yaml", b"a"))
    assert read_archive(archive, SMALL, keep=lambda name: name.endswith(".yaml")) == {"a.yaml": b"a"}


def test_links_are_refused_or_left_out_as_flux_does() -> None:
    archive = tgz((entry(tarfile.SYMTYPE, "link", "/etc/passwd"), b""), ("a.yaml", b"a"))
    assert refused(archive) == "A303"
    assert read_archive(archive, links=Links.SKIP) == {"a.yaml": b"a"}
    hard = tgz((entry(tarfile.LNKTYPE, "link", "a.yaml"), b""))
    with pytest.raises(InputError, match="A303"):
        read_archive(hard, links=Links.SKIP)


@pytest.mark.parametrize(
    "name",
    [
        "../a",
        "a/../../b",
        "/etc/passwd",
        "a\\b",
        "a/..",
        "a../b",
        "a\nb",
        "a//b",
        "a/./b",
        "x" * 1100,
        "/".join("abcdefgh" * 5),
    ],
)
def test_a_name_that_is_not_plain_is_refused_on_both_sides(name: str) -> None:
    assert refused(tgz((name, b"x"))) == "A302"
    with pytest.raises(ValueError, match="cannot stand in an archive"):
        write_archive({name: b"x"})


NOISE = b"".join(hashlib.sha256(bytes([number % 256, number // 256])).digest() for number in range(10_000))
HOSTILE = {
    "no bytes": (b"", "A301"),
    "no gzip": (b"PK\3\4" + bytes(600), "A301"),
    "a gzip of nothing": (gzip.compress(b""), "A301"),
    "cut short": (tgz(("a", b"x" * 9000))[:60], "A301"),
    "cut in the checksum": (tgz(("a", b"x"))[:-3], "A301"),
    "a wrong crc": (tgz(("a", b"x"))[:-8] + b"\1\2\3\4" + tgz(("a", b"x"))[-4:], "A301"),
    "more behind the gzip": (tgz(("a", b"x")) + b"more", "A301"),
    "more behind the tar": (gzip.compress(header(b"a", 0) + bytes(1024) + b"hidden" + bytes(506)), "A301"),
    "no end": (gzip.compress(header(b"a", 0)), "A301"),
    "a wrong checksum": (gzip.compress(header(b"a", 0)[:-1] + b"x" + bytes(1024)), "A301"),
    "a size that is no number": (gzip.compress(header(b"a", 0, size_field=b"99999999999\0") + bytes(1024)), "A301"),
    "a negative size": (gzip.compress(header(b"a", 0, size_field=b"\xff" * 12) + bytes(1024)), "A301"),
    "a file of 10 GB": (gzip.compress(header(b"a", 0, size_field=b"\x80" + (10 << 30).to_bytes(11, "big"))), "A304"),
    "an extended header of 4 GB": (
        gzip.compress(header(b"a", 4 << 30, b"x", b"\x80" + (4 << 30).to_bytes(11, "big"))),
        "A304",
    ),
    "an extended header that lies": (gzip.compress(header(b"a", 8, b"x") + b"99 a=b\n\n" + bytes(504 + 1024)), "A301"),
    "an extended header without entry": (
        gzip.compress(header(b"a", 8, b"L") + b"name\0\0\0\0" + bytes(504 + 1024)),
        "A301",
    ),
    "a thousand long names": (gzip.compress((header(b"a", 8, b"L") + b"name\0\0\0\0" + bytes(504)) * 1000), "A304"),
    "a bomb": (gzip.compress(header(b"a", 90_000) + bytes(40_000_000)), "A304"),
    "bytes without end": (gzip.compress(NOISE, 0), "A301"),
    "too many compressed bytes": (gzip.compress(header(b"a", 0o777777) + NOISE), "A304"),
    "too many entries": (tgz(*((f"f{number}", b"") for number in range(60))), "A304"),
    "a file too large": (tgz(("a", b"x" * 100_001)), "A304"),
    "a character device": (tgz((entry(tarfile.CHRTYPE, "a"), b"")), "A303"),
    "a block device": (tgz((entry(tarfile.BLKTYPE, "a"), b"")), "A303"),
    "a pipe": (tgz((entry(tarfile.FIFOTYPE, "a"), b"")), "A303"),
    "a hard link": (tgz((entry(tarfile.LNKTYPE, "a", "b"), b"")), "A303"),
    "a sparse file": (gzip.compress(header(b"a", 0, b"S") + bytes(1024)), "A303"),
    "an unknown kind": (gzip.compress(header(b"a", 0, b"V") + bytes(1024)), "A303"),
    "a name that is not UTF-8": (gzip.compress(header(b"a\xff", 0) + bytes(1024)), "A302"),
    "no name": (gzip.compress(header(b"", 0) + bytes(1024)), "A302"),
    "a NUL in a long name": (
        gzip.compress(header(b"a", 16, b"x") + b"16 path=a\0b.yml\n" + bytes(496) + header(b"a", 0) + bytes(1024)),
        "A302",
    ),
    "the path twice": (tgz(("a", b"1"), ("a", b"2")), "A305"),
    "the path twice, written otherwise": (tgz(("a", b"1"), ("./a", b"2")), "A305"),
    "a file and a folder": (tgz(("a", b"1"), ("a/b", b"2")), "A305"),
    "a folder and a file": (tgz(("a/b", b"2"), ("a", b"1")), "A305"),
}


@pytest.mark.parametrize("case", HOSTILE)
def test_hostile_bytes_are_refused_by_their_own_code(case: str) -> None:
    archive, code = HOSTILE[case]
    assert refused(archive) == code


@given(st.binary(max_size=300), st.floats(0, 0.999))
def test_any_damage_ends_in_a_problem_or_in_the_same_files(noise: bytes, place: float) -> None:
    files = {"a.yaml": b"a" * 700, "b/c.yaml": b"c" * 100}
    archive = bytearray(write_archive(files))
    at = int(place * len(archive))
    archive[at : at + len(noise)] = noise
    assert outcome(bytes(archive)) in (files, None)


@given(st.binary(max_size=4000))
def test_any_tar_bytes_end_in_a_problem_or_in_files(raw: bytes) -> None:
    found = outcome(gzip.compress(raw))
    assert found is None or not any(map(refusal_of_name, found))


def test_an_empty_archive_is_never_written() -> None:
    with pytest.raises(ValueError, match="empty archive"):
        write_archive({})


def test_a_stream_is_read_in_pieces() -> None:
    class Trickle(io.BytesIO):
        def read(self, size: int | None = -1, /) -> bytes:
            return super().read(min(size or 0, 7))

    files = {"a.yaml": b"a" * 700}
    assert read_archive(Trickle(write_archive(files))) == files


def test_the_level_is_part_of_the_bytes() -> None:
    """What another level would give differs: the level may never follow a default."""
    files = {"a.yaml": NOISE.hex().encode()[:5000]}
    inside = gzip.decompress(write_archive(files))
    fixed = zlib.compressobj(9, zlib.DEFLATED, -15)
    assert write_archive(files)[10:-8] == fixed.compress(inside) + fixed.flush()
