"""The archive that arrives in parts: the same whatever the parts are, the same as a folder on disk, and never an accident."""

from __future__ import annotations

import gzip
import io
import os
import tarfile
import zlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tests.cases.hostile.archives import END, entry, header, packed
from trimtab_config.sources.folder import read_folder
from trimtab_kernel.problems import InputError
from trimtab_plugins.argocd import inflating
from trimtab_plugins.argocd import runs as runs_module
from trimtab_plugins.argocd import unpacking as unpacking_module
from trimtab_plugins.argocd.checkout import Checkout, FleetFiles, fleet_folder
from trimtab_plugins.argocd.runs import Runs
from trimtab_plugins.argocd.unpacking import EntryKind, Limits, Unpacking

parts = st.sampled_from(["a", "b", "groups", "x.yaml", "y.yml", ".git", "Z.YAML", "größe.yaml", "n" * 90])
names = st.lists(parts, min_size=1, max_size=4).map("/".join)


RUNS = Runs()
"""Of all archives of this module: whatever came before, an archive is what it is."""


def unpacked(archive: bytes, folder: str = "", pieces: Iterable[int] = (), limits: Limits | None = None) -> FleetFiles:
    """The fleet of an archive that came in pieces of these sizes.

    The same for a reader that knows others, and this one, and for the one that inflates with zlib.
    """
    outcomes = [outcome(archive, folder, pieces, limits, runs) for runs in (None, RUNS, RUNS)]
    with with_zlib():
        outcomes.append(outcome(archive, folder, pieces, limits, None))
    assert outcomes[1:] == outcomes[:1] * 3
    return read(archive, folder, pieces, limits)


@contextmanager
def with_zlib() -> Iterator[None]:
    """As where zlib-ng is not installed."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(inflating, "_MAKE", zlib.decompressobj)
        yield


def outcome(
    archive: bytes, folder: str, pieces: Iterable[int], limits: Limits | None, runs: Runs | None
) -> tuple[FleetFiles, list[str], list[str], int] | str:
    """Files, names and folders and the count of entries, or why the archive is refused."""
    try:
        checkout = Checkout(folder)
        return (
            read(archive, folder, pieces, limits, runs, checkout),
            list(checkout.names()),
            list(checkout.folders()),
            checkout.kept_bytes,
        )
    except InputError as error:
        return str(error)


def read(
    archive: bytes,
    folder: str = "",
    pieces: Iterable[int] = (),
    limits: Limits | None = None,
    runs: Runs | None = None,
    checkout: Checkout | None = None,
) -> FleetFiles:
    checkout = Checkout(folder) if checkout is None else checkout
    unpacking = Unpacking(checkout, limits, runs)
    position = 0
    for size in pieces:
        for _ in unpacking.feed(archive[position : position + size]):
            pass
        position += size
    for _ in unpacking.feed(archive[position:]):
        pass
    unpacking.finish()
    return checkout.fleet()


@st.composite
def trees(draw: st.DrawFn) -> dict[str, bytes | str]:
    """Files (bytes) and links (text) of which none stands where another needs a folder."""
    made: dict[str, bytes | str] = {}
    for name in draw(st.lists(names, max_size=12, unique=True)):
        above = {"/".join(name.split("/")[:depth]) for depth in range(1, name.count("/") + 1)}
        if above & made.keys() or any(other.startswith(f"{name}/") for other in made):
            continue
        link = draw(st.booleans()) and draw(st.booleans())
        target = draw(
            st.lists(st.sampled_from(["..", ".", "a", "b", "x.yaml", "groups", "y.yml"]), min_size=1, max_size=4)
        )
        made[name] = "/".join(target) if link else draw(st.binary(max_size=1500))
    return made


def packed_tree(folder: Path, form: int) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz", format=form, compresslevel=1) as archive:
        archive.add(folder, ".", recursive=False)
        for path in sorted(folder.rglob("*")):
            archive.add(path, path.relative_to(folder).as_posix(), recursive=False)
    return buffer.getvalue()


@given(trees(), st.lists(st.integers(0, 700), max_size=20), st.sampled_from([tarfile.PAX_FORMAT, tarfile.GNU_FORMAT]))
@example({f"{'n' * 90}/{'n' * 90}/{'n' * 30}.yaml": "a link to nothing, of more letters than are shown"}, [], 2)
def test_an_archive_is_read_as_the_folder_that_it_was_made_of(
    tree: dict[str, bytes | str], pieces: list[int], form: int
) -> None:
    with TemporaryDirectory() as scratch:
        root = Path(scratch) / "root"
        (root / "fleet").mkdir(parents=True)
        (root / "other").mkdir()
        (root / "other/x.yaml").write_bytes(b"a: 1")
        for name, content in tree.items():
            path = root / "fleet" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            if isinstance(content, bytes):
                path.write_bytes(content)
            else:
                path.symlink_to(content)
        archive = packed_tree(root, form)
        on_disk = read_folder(root / "fleet")
    if leaves(tree):  # a way out of the repository, which a folder on disk may have and an archive may not
        with pytest.raises(InputError, match="A110"):
            unpacked(archive, "fleet", pieces)
        return
    found = unpacked(archive, "fleet", pieces)
    assert found.files == on_disk.files
    # What lies outside the fleet's folder is not kept, so of a file there it is not known whether it is one.
    assert [(each.code, each.file) for each in found.problems] == [(each.code, each.file) for each in on_disk.problems]


def leaves(tree: dict[str, bytes | str]) -> bool:
    """Whether a link climbs above the root, on its way or in the end."""
    for name, target in tree.items():
        if isinstance(target, str):
            depth = name.count("/") + 1  # the fleet is one folder down
            for part in target.split("/"):
                depth += {"..": -1, ".": 0}.get(part, 1)
                if depth < 0:
                    return True
    return False


@given(st.data())
def test_damage_is_refused_and_never_an_accident(data: st.DataObject) -> None:
    """Bytes of the tar are changed, not of the gzip around it, so that the reader of headers sees them."""
    sound = bytearray(
        entry(b"fleet/a.yaml", b"a: 1")
        + header(b"fleet/l", b"2", target=b"a.yaml")
        + entry(b"fleet/b.yaml", b"x" * 600)
    )
    for _ in range(data.draw(st.integers(1, 4))):
        position = data.draw(st.integers(0, len(sound) - 1))
        sound[position] = data.draw(st.integers(0, 255))
    if data.draw(st.booleans()):  # a checksum that holds, so that what it guards is reached
        for start in (0, 1024, 1536):
            block = sound[start : start + 148] + b" " * 8 + sound[start + 156 : start + 512]
            sound[start + 148 : start + 156] = b"%06o\0 " % sum(block)
    cut = data.draw(st.integers(0, len(sound)))
    archive = gzip.compress(bytes(sound[: cut or None]) + END, compresslevel=1)
    with suppress(InputError):  # anything else would be an accident
        unpacked(archive, "fleet", limits=Limits(unpacked_bytes=10_000_000))


@given(st.binary(max_size=300), st.booleans())
def test_noise_is_refused(noise: bytes, zipped: bool) -> None:
    archive = gzip.compress(noise) if zipped else noise
    with pytest.raises(InputError):
        unpacked(archive)


def test_limits_hold_at_their_exact_places() -> None:
    archive = packed(entry(b"a.txt", b"x" * 512), entry(b"b.txt"))
    size = 3 * 512 + len(END)
    unpacked(archive, limits=Limits(len(archive), size, 2))
    for limits in (Limits(len(archive) - 1, size, 2), Limits(len(archive), size - 1, 2), Limits(len(archive), size, 1)):
        with pytest.raises(InputError, match="A105"):
            unpacked(archive, limits=limits)


def test_work_is_done_in_bounded_steps() -> None:
    """64 KiB may unpack to 64 MiB; a server must be able to do other things meanwhile."""
    archive = packed(entry(b"big.txt", bytes(30 * 1024 * 1024)))
    unpacking = Unpacking(Checkout(""))
    before = 0
    for _ in unpacking.feed(archive):
        assert unpacking.unpacked_bytes - before <= 2 * 256 * 1024
        before = unpacking.unpacked_bytes
    assert before > 29 * 1024 * 1024


def test_the_tests_run_with_zlib_ng() -> None:
    """Else what they compare with zlib is zlib."""
    assert inflating.NAME == "zlib-ng"


@pytest.mark.parametrize("fill", [b"\1", b"a", b"\xff"])
def test_the_checksum_is_the_sum_of_the_bytes_however_large(fill: bytes) -> None:
    block = header(fill * 100, b"2", prefix=fill * 155, target=fill * 100)
    said = int(block[148:154], 8)
    assert said == sum(block[:148]) + 8 * 32 + sum(block[156:])
    unpacked(packed(block))
    for wrong in (said + 1, said - 1, said + 65521, abs(said - 65521)):
        with pytest.raises(InputError, match="A107"):
            unpacked(packed(block[:148] + b"%06o\0 " % wrong + block[156:]))


@pytest.mark.parametrize(
    ("given_path", "folder"),
    [("", ""), (".", ""), ("./", ""), ("fleet", "fleet"), ("./a//b/", "a/b"), ("a/../b", "b"), ("a/..", "")],
)
def test_the_folder_is_that_of_the_path(given_path: str, folder: str) -> None:
    assert fleet_folder(given_path) == folder


@pytest.mark.parametrize("path", ["..", "../a", "a/../..", "/", "/a", "a\0", "a/" * 3000])
def test_a_path_out_of_the_archive_is_refused(path: str) -> None:
    with pytest.raises(InputError, match="A113"):
        fleet_folder(path)


def test_memory_does_not_grow_with_what_is_passed_over() -> None:
    checkout = Checkout("fleet")
    unpacking = Unpacking(checkout)
    deflate = zlib.compressobj(1, zlib.DEFLATED, zlib.MAX_WBITS | 16)
    packet = deflate.compress(header(b"fleet", b"5") + header(b"big.bin", size=64 * 1024 * 1024))
    for _ in unpacking.feed(packet):
        pass
    for _ in range(1024):
        for _ in unpacking.feed(deflate.compress(os.urandom(64 * 1024))):
            pass
    for _ in unpacking.feed(deflate.compress(END) + deflate.flush()):
        pass
    unpacking.finish()
    assert checkout.fleet().files == {}
    assert unpacking.unpacked_bytes == 64 * 1024 * 1024 + 2 * 512 + len(END)
    assert not unpacking._parts


@contextmanager
def small_steps(step: int = 3000) -> Iterator[None]:
    """Runs of a few entries and pieces of odd sizes, so that small archives have many of both."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(unpacking_module, "LENGTH", 4 * 512)
        patch.setattr(unpacking_module, "_MOST_RUN", 8 * 512)
        patch.setattr(unpacking_module, "_OUTPUT_STEP", step)
        yield


ENTRIES = [
    *(entry(f"fleet/g/{number}.yaml".encode(), b"x" * (number * 331 % 1400)) for number in range(24)),
    *(entry(f"other/{number}.txt".encode(), b"y" * (number * 173 % 2000)) for number in range(12)),
    header(b"fleet", b"5"),
    header(b"./", b"5"),
    header(b"fleet/link.yaml", b"2", target=b"g/1.yaml"),
    header(b"fleet/out", b"2", target=b"../../x"),
    entry(b"fleet/g/1.yaml", b"another"),
    entry(b"fleet/g", b"a file where a folder is"),
    entry(b"fleet/large.yaml", b"#" * 9000),
    entry(b"fleet/\xff.yaml", b"a name of no letters"),
    entry(b"fleet", b"a file where the fleet is"),
    entry(b"../climbs", b""),
    header(b"fleet/pipe", b"6"),
]


@settings(max_examples=120, deadline=None)
@given(
    st.lists(st.lists(st.sampled_from(range(len(ENTRIES))), max_size=60), min_size=2, max_size=4),
    st.lists(st.integers(1, 300), max_size=6),
    st.sampled_from(["fleet", "", "other"]),
    st.sampled_from([20, 60, 500_000]),
)
def test_whatever_came_before_an_archive_is_what_it_is(
    orders: list[list[int]], pieces: list[int], folder: str, most: int
) -> None:
    runs, limits = Runs(), Limits(entries=most)
    base = list(range(36))
    for order in (*orders, [*base, *orders[0]], [*base, *orders[1]], base, [*reversed(base)], base[3:], base):
        archive = packed(b"".join(ENTRIES[place] for place in order))
        with small_steps():
            found = outcome(archive, folder, pieces, limits, runs)
        assert found == outcome(archive, folder, (), limits, None)


def test_one_changed_file_leaves_the_others_together(monkeypatch: pytest.MonkeyPatch) -> None:
    runs = Runs()
    base = [entry(f"fleet/{number:03}.yaml".encode(), os.urandom(700)) for number in range(200)]
    judged: list[bytes] = []
    one_by_one = Checkout.entry

    def counted(self: Checkout, name: bytes, kind: EntryKind, size: int, target: bytes) -> bool:
        judged.append(name)
        return one_by_one(self, name, kind, size, target)

    with small_steps(40_000):
        expected = outcome(packed(b"".join(base)), "fleet", (), None, runs)
        monkeypatch.setattr(Checkout, "entry", counted)
        assert outcome(packed(b"".join(base)), "fleet", (), None, runs) == expected
        again = len(judged)
        base[77] = entry(b"fleet/077.yaml", os.urandom(900))
        changed = outcome(packed(b"".join(base)), "fleet", (), None, runs)
        assert 0 < len(judged) - again < 20
    assert again < 12, "but for what ends between two pieces all is taken together"
    assert b"fleet/077.yaml" in judged
    assert changed != expected
    assert changed == outcome(packed(b"".join(base)), "fleet", (), None, None)


def test_what_is_kept_of_earlier_archives_is_bounded() -> None:
    runs = Runs(most=100_000)
    for _ in range(5):
        outcome(packed(b"".join(entry(f"{n}.yaml".encode(), os.urandom(3000)) for n in range(60))), "", (), None, runs)
        assert runs.weight <= 100_000
        assert runs.weight == sum(runs_module._weight(run) for run in runs._runs.values())
