"""The output folder: whole at every instant, whoever reads and wherever the writer is killed."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from tests.plugins.sync.crash import NEW, OLD
from trimtab_kernel.problems import OutsideError, RefusedError
from trimtab_plugins.sync.output import GroupFiles, open_output

ROOT = Path(__file__).parents[3]
A = GroupFiles(b"manifests a\n", b'{"a":1}')
B = GroupFiles(b"manifests b\n", b'{"b":1}')


def apply(directory: Path, **groups: GroupFiles) -> int:
    with open_output(directory) as output:
        return output.apply(groups)


def read(directory: Path, group: str) -> GroupFiles:
    folder = directory / group
    return GroupFiles((folder / "manifests.yaml").read_bytes(), (folder / "current/desired/desired.json").read_bytes())


def test_groups_appear_change_and_vanish(tmp_path: Path) -> None:
    out = tmp_path / "some where" / "out"
    assert apply(out, one=A, two=A) == 2
    assert (read(out, "one"), read(out, "two")) == (A, A)
    assert apply(out, one=A, two=A) == 0
    assert apply(out, one=B, two=A) == 1
    assert (read(out, "one"), read(out, "two")) == (B, A)
    assert apply(out, one=B) == 1
    assert sorted(path.name for path in out.iterdir()) == [".trimtab-sync", "one"]
    assert (out / "one/current").is_symlink()
    assert (out / "one/current/desired/desired.json").stat().st_mode & 0o777 == 0o644


def test_what_did_not_change_is_not_touched(tmp_path: Path) -> None:
    apply(tmp_path / "out", one=A)
    link, file = tmp_path / "out/one/current", tmp_path / "out/one/manifests.yaml"
    before = link.lstat(), file.stat().st_mtime_ns
    apply(tmp_path / "out", one=A)
    assert (link.lstat().st_ino, file.stat().st_mtime_ns) == (before[0].st_ino, before[1])


def test_the_revision_before_stays_for_its_readers_and_older_ones_go(tmp_path: Path) -> None:
    out = tmp_path / "out"
    for number in range(5):
        apply(out, one=GroupFiles(b"%d" % number, b"{}"))
    kept = [(path / "manifests.yaml").read_bytes() for path in (out / "one/.revisions").iterdir()]
    assert sorted(kept) == [b"3", b"4"]
    apply(out, one=GroupFiles(b"3", b"{}"))
    assert read(out, "one").manifests == b"3", "a rollback finds its revision and uses it"
    assert len(list((out / "one/.revisions").iterdir())) == 2


def read_at(folder: int, name: str) -> bytes:
    with open(name, "rb", opener=lambda path, flags: os.open(path, flags, dir_fd=folder)) as file:
        return file.read()


def test_a_reader_never_finds_half_a_group(tmp_path: Path) -> None:
    """Exchanges under readers: by path never missing and never torn; through an open folder old with old, new with new.

    The writer waits until each reader has finished a round, so that a round meets at most one exchange.
    """
    out = tmp_path / "out"
    apply(out, one=A)
    done = threading.Event()
    rounds = [threading.Event(), threading.Event()]
    faults: list[str] = []

    def follow(finished: threading.Event) -> None:
        while not done.is_set():
            try:
                folder = os.open(out / "one/current", os.O_RDONLY | os.O_DIRECTORY)
                try:
                    pair = GroupFiles(read_at(folder, "manifests.yaml"), read_at(folder, "desired/desired.json"))
                finally:
                    os.close(folder)
                direct = (out / "one/manifests.yaml").read_bytes()
                if pair not in (A, B) or direct not in (A.manifests, B.manifests):
                    faults.append(f"{pair} {direct!r}")
            except OSError as error:
                faults.append(str(error))
            finished.set()

    readers = [threading.Thread(target=follow, args=(finished,)) for finished in rounds]
    for reader in readers:
        reader.start()
    with open_output(out) as output:
        for number in range(200):
            assert output.apply({"one": (B, A)[number % 2]}) == 1
            for finished in rounds:
                finished.clear()
            assert all(finished.wait(30) for finished in rounds)
    done.set()
    for reader in readers:
        reader.join(30)
    assert faults == []


def test_killed_before_any_operation_every_group_is_whole_and_the_next_run_completes_it(tmp_path: Path) -> None:
    scratch = tmp_path / "cases"
    scratch.mkdir()
    command = [sys.executable, "-m", "tests.plugins.sync.crash", str(scratch)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=100)
    assert done.returncode == 0, done.stderr
    cases = [json.loads(line) for line in done.stdout.splitlines()]
    assert [case["killed"] for case in cases] == [True] * (len(cases) - 1) + [False]
    assert len(cases) > 40
    old = {name: [files.manifests.decode(), files.desired.decode()] for name, files in OLD.items()}
    new = {name: [files.manifests.decode(), files.desired.decode()] for name, files in NEW.items()}
    seen = set()
    for case in cases:
        for group, pair in case["found"].items():
            assert pair in (old.get(group), new.get(group)), case
        assert {"same", "changed"} <= case["found"].keys(), case
        assert (case["after"], case["left"]) == (new, []), case
        seen.add(json.dumps(case["found"], sort_keys=True))
    assert len(seen) == 4, "old, one group more, one exchanged, one gone"


def test_two_syncs_of_one_folder_refuse(tmp_path: Path) -> None:
    with open_output(tmp_path / "out"):
        with (
            pytest.raises(RefusedError, match=f"G401 another sync .process {os.getpid()}.") as caught,
            open_output(tmp_path / "out"),
        ):
            pass
        assert caught.value.code == "G401"
    assert apply(tmp_path / "out", one=A) == 1, "the lock is given back"


def test_a_folder_with_other_content_is_refused_and_left_alone(tmp_path: Path) -> None:
    (tmp_path / "precious").write_text("x")
    with pytest.raises(RefusedError, match="G402"), open_output(tmp_path):
        pass
    assert [path.name for path in tmp_path.iterdir()] == ["precious"]


def test_what_somebody_put_into_the_output_is_never_removed(tmp_path: Path) -> None:
    out = tmp_path / "out"
    apply(out, one=A)
    (out / "notes").mkdir()
    (out / "file").write_text("x")
    (out / "link").symlink_to(tmp_path)
    apply(out, two=A)
    assert {path.name for path in out.iterdir()} == {".trimtab-sync", "notes", "file", "link", "two"}
    with pytest.raises(RefusedError, match=r"G402 .*notes"):
        apply(out, notes=A, two=A)
    assert list((out / "notes").iterdir()) == []


def test_a_damaged_revision_is_replaced_by_a_new_one(tmp_path: Path) -> None:
    out = tmp_path / "out"
    apply(out, one=A)
    (out / "one/current/desired/desired.json").write_text("{}")
    assert apply(out, one=A) == 1
    assert read(out, "one") == A
    assert apply(out, one=A) == 0
    (out / "one/manifests.yaml").unlink()
    assert apply(out, one=A) == 1
    assert read(out, "one") == A
    (out / "one/current").unlink()
    assert apply(out, one=A) == 1
    assert read(out, "one") == A


def test_a_folder_that_cannot_be_written_is_an_outside_error_that_names_it(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(OutsideError, match=r"file.*in the way"), open_output(tmp_path / "file" / "out"):
        pass


def test_neither_an_empty_fleet_nor_an_odd_name_is_written(tmp_path: Path) -> None:
    with open_output(tmp_path / "out") as output:
        for groups in ({}, {"..": A}, {"a/b": A}, {".hidden": A}, {"": A}):
            with pytest.raises(ValueError, match=r"expected|empty"):
                output.apply(groups)
    assert [path.name for path in (tmp_path / "out").iterdir()] == [".trimtab-sync"]
