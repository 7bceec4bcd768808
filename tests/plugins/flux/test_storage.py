"""The store of archives: whole at every instant, checked before it is trusted, and no larger than it has to be."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.plugins.flux.crash import NEW, OLD
from trimtab_kernel.problems import OutsideError
from trimtab_plugins.archives import write_archive
from trimtab_plugins.flux.releases import Release
from trimtab_plugins.flux.storage import ArchiveStore, Stored, archive_path

ROOT = Path(__file__).parents[3]
NOW = 1_795_000_000.0


@pytest.fixture
def store(tmp_path: Path) -> ArchiveStore:
    made = ArchiveStore(tmp_path / "store")
    made.open(NOW)
    return made


def path_of(release: Release) -> str:
    return archive_path("ns", "name", release.content)


def test_what_was_put_is_verified_and_served(store: ArchiveStore) -> None:
    assert store.put("ns", "name", NEW, NOW)
    assert store.verify("ns", "name", NEW.content) == Stored(NEW.digest, NEW.size)
    assert store.read(path_of(NEW)) == NEW.archive
    assert store.size() == (1, NEW.size)
    assert not store.put("ns", "name", NEW, NOW + 5), "it is there already"
    assert (store.root / path_of(NEW)).stat().st_mtime == NOW


def test_a_writer_killed_at_any_step_leaves_a_store_that_is_whole(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "tests.plugins.flux.crash", str(tmp_path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=110)
    assert done.returncode == 0, done.stderr
    cases = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(cases) >= 6
    assert [case["killed"] for case in cases] == [True] * (len(cases) - 1) + [False]
    old, new = OLD.content[:8], NEW.content[:8]
    for case in cases:
        assert all(case["served"].values()), case
        assert {old, new} & case["served"].keys(), case
        assert case["after"] == {new: True}, case
        assert case["left"] == [], case
        assert case["whole"], case
    assert any(old in case["served"] and new not in case["served"] for case in cases)


@pytest.mark.parametrize(
    "bent",
    [b"", b"no archive", NEW.archive[:-10], OLD.archive, NEW.archive + b"more", write_archive({"a": b"b"})],
    ids=["empty", "garbage", "short", "another", "long", "others"],
)
def test_an_archive_that_was_changed_is_neither_served_nor_kept(store: ArchiveStore, bent: bytes) -> None:
    store.put("ns", "name", NEW, NOW)
    file = store.root / path_of(NEW)
    file.write_bytes(bent)
    assert store.read(path_of(NEW)) is None
    assert ArchiveStore(store.root).read(path_of(NEW)) is None
    assert store.verify("ns", "name", NEW.content) is None
    assert not file.exists()
    assert store.put("ns", "name", NEW, NOW)
    assert store.read(path_of(NEW)) == NEW.archive


def test_the_same_files_in_another_packing_are_replaced(store: ArchiveStore) -> None:
    """As after an upgrade whose compression differs: what is on disk holds the right files, with another digest."""
    import gzip

    other = gzip.compress(gzip.decompress(NEW.archive), compresslevel=1, mtime=0)
    store.put("ns", "name", NEW, NOW)
    file = store.root / path_of(NEW)
    file.write_bytes(other)
    verified = store.verify("ns", "name", NEW.content)
    assert verified is not None
    assert verified.digest != NEW.digest
    assert store.put("ns", "name", NEW, NOW)
    assert file.read_bytes() == NEW.archive


def test_the_newest_are_kept_and_the_current_one_whatever_its_age(store: ArchiveStore) -> None:
    releases = [Release("group", b"---\nn: %d\n" % number) for number in range(6)]
    for number, release in enumerate(releases):
        store.put("ns", "name", release, NOW + 100 * number)
    assert store.sweep("ns", "name", {releases[0].content}, 3, NOW + 10_000) == 3
    left = {path.name.removesuffix(".tar.gz") for path in (store.root / path_of(NEW)).parent.iterdir()}
    assert left == {releases[number].content for number in (0, 4, 5)}


def test_a_release_that_comes_back_counts_as_new(store: ArchiveStore) -> None:
    for number, release in enumerate((OLD, NEW, OLD)):
        store.put("ns", "name", release, NOW + 100 * number)
    assert (store.root / path_of(OLD)).stat().st_mtime == NOW + 200


def test_what_was_current_a_moment_ago_is_still_served(store: ArchiveStore) -> None:
    store.put("ns", "name", OLD, NOW - 10_000)
    store.put("ns", "name", NEW, NOW)
    assert store.sweep("ns", "name", {NEW.content}, 1, NOW + 59) == 0
    assert store.read(path_of(OLD)) == OLD.archive
    assert store.sweep("ns", "name", {NEW.content}, 1, NOW + 60) == 1
    assert store.read(path_of(OLD)) is None


def test_folders_of_nobody_go_and_those_of_others_stay(store: ArchiveStore) -> None:
    for namespace, name in (("ns", "mine"), ("ns", "gone"), ("other", "theirs")):
        store.put(namespace, name, NEW, NOW)
        os.utime(store.root / "externalartifact" / namespace / name, (NOW, NOW))
    assert store.sweep_strangers({("ns", "mine")}, NOW + 30) == 0
    assert store.sweep_strangers({("ns", "mine")}, NOW + 90, "ns") == 1
    assert (store.root / archive_path("other", "theirs", NEW.content)).exists()
    assert store.sweep_strangers({("ns", "mine")}, NOW + 90) == 1
    assert store.size()[0] == 1


@pytest.mark.parametrize(
    "path",
    [
        "",
        "externalartifact",
        "externalartifact/ns/name",
        "externalartifact/ns/name/",
        "../secret",
        "externalartifact/../../secret",
        "externalartifact/ns/../name/" + "0" * 64 + ".tar.gz",
        "externalartifact/ns/name/" + "0" * 63 + ".tar.gz",
        "externalartifact/ns/name/" + "0" * 64 + ".tar.gz\n",
        "/" + archive_path("ns", "name", NEW.content),
        archive_path("ns", "name", NEW.content).upper(),
        archive_path("ns", "name", "\u0663" * 64),
        archive_path(".", "name", NEW.content),
        archive_path("ns", "link", NEW.content),
        archive_path("ns", "folder", NEW.content),
        archive_path("ns", "pipe", NEW.content),
    ],
)
def test_nothing_else_can_be_read(store: ArchiveStore, path: str) -> None:
    store.put("ns", "name", NEW, NOW)
    (store.root / "../secret").write_bytes(NEW.archive)
    for name in ("link", "folder", "pipe"):
        (store.root / "externalartifact/ns" / name).mkdir()
    (store.root / archive_path("ns", "link", NEW.content)).symlink_to(store.root / path_of(NEW))
    (store.root / archive_path("ns", "folder", NEW.content)).mkdir()
    os.mkfifo(store.root / archive_path("ns", "pipe", NEW.content))
    assert store.read(path) is None


def test_a_store_that_cannot_be_written_says_where(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(OutsideError, match=r"cannot use .*file.*: .*; check the store"):
        ArchiveStore(tmp_path / "file").open(NOW)
