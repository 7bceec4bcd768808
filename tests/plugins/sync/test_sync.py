"""`trimtab sync` as people run it: a real repository, a real process, the example fleet."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from queue import Empty, Queue

import pytest

from tests.repositories import ScratchRepository
from trimtab_config.cli import main
from trimtab_config.sources.folder import load_folder
from trimtab_config.spec.reader import read_documents
from trimtab_kernel.desired import parse_desired

ROOT = Path(__file__).parents[3]
FLEET = ROOT / "examples/fleet"
GROUPS = sum(document.kind == "DeviceGroup" for document in read_documents(load_folder(FLEET)).documents)


@pytest.fixture(scope="session")
def example() -> dict[str, bytes]:
    return {f"fleet/{path}": content for path, content in load_folder(FLEET).items()}


@pytest.fixture
def scratch(tmp_path: Path, example: dict[str, bytes]) -> ScratchRepository:
    made = ScratchRepository.create(tmp_path / "a repo.git")
    made.commit(example, branch="main")
    return made


def once(scratch: ScratchRepository, out: Path, *more: str) -> int:
    return main(["sync", "--repo", str(scratch.path), "--path", "fleet", "--output", str(out), "--once", *more])


def snapshot(out: Path) -> dict[str, bytes]:
    return {str(path.relative_to(out)): path.read_bytes() for path in sorted(out.glob("*/manifests.yaml"))} | {
        str(path.relative_to(out)): path.read_bytes() for path in sorted(out.glob("*/current/desired/desired.json"))
    }


def with_change(files: dict[str, bytes], path: str, old: bytes, new: bytes) -> dict[str, bytes]:
    assert old in files[path]
    return {**files, path: files[path].replace(old, new)}


def test_each_group_gets_what_render_gives_and_the_document_that_the_kubelet_would_mount(
    scratch: ScratchRepository, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    assert once(scratch, out) == 0
    assert capsys.readouterr().out == f"synced {scratch.tip()[:12]} groups={GROUPS} changed={GROUPS}\n"
    assert main(["render", str(FLEET), "--all", "--output-dir", str(tmp_path / "rendered")]) == 0
    rendered = {str(p.relative_to(tmp_path / "rendered")): p.read_bytes() for p in (tmp_path / "rendered").glob("*/*")}
    assert {name: content for name, content in snapshot(out).items() if name.endswith(".yaml")} == rendered
    for name, content in snapshot(out).items():
        if name.endswith(".json"):
            group = name.partition("/")[0]
            assert parse_desired(content).group == group
            assert content.decode() in (out / group / "manifests.yaml").read_text("utf-8").replace("''", "'")


def test_only_groups_that_a_commit_concerns_change(
    scratch: ScratchRepository, tmp_path: Path, example: dict[str, bytes], capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    once(scratch, out)
    before = snapshot(out)
    after_comment = scratch.commit({**example, "README.md": b"x"}, scratch.tip(), branch="main")
    assert once(scratch, out) == 0
    changed = with_change(example, "fleet/deployments/triage.yaml", b"cpu: 500m", b"cpu: 400m")
    tip = scratch.commit(changed, after_comment, branch="main")
    capsys.readouterr()
    assert once(scratch, out) == 0
    said = capsys.readouterr().out
    different = {name.partition("/")[0] for name, content in snapshot(out).items() if before[name] != content}
    assert different
    assert all("kiosk" in group for group in different)
    assert said == f"synced {tip[:12]} groups={GROUPS} changed={len(different)}\n"


def test_a_commit_that_cannot_be_rendered_leaves_what_is_there(
    scratch: ScratchRepository, tmp_path: Path, example: dict[str, bytes], capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    once(scratch, out)
    before = snapshot(out)
    good = scratch.tip()
    bad: dict[str, dict[str, bytes]] = {
        "F1": with_change(example, "fleet/deployments/triage.yaml", b"cpu: 500m", b"cpu: 0.5 cores"),
        "F2": {path: content for path, content in example.items() if not path.startswith("fleet/models/")},
        "G403": {"fleet/readme.yaml": b"# nothing\n"},
        "G106": {"elsewhere.yaml": b""},
    }
    for code, files in bad.items():
        scratch.commit(files, good, branch="main")
        capsys.readouterr()
        assert once(scratch, out) == 1, code
        said = capsys.readouterr()
        assert said.out == ""
        assert f"rejected {scratch.tip()[:12]}" in said.err
        assert f" {code}" in said.err or f": {code}" in said.err
        assert snapshot(out) == before
    scratch.commit(bad["F1"], good, branch="main")
    capsys.readouterr()
    once(scratch, out)
    line = example["fleet/deployments/triage.yaml"].partition(b"cpu: 500m")[0].count(b"\n") + 1
    assert f"fleet/deployments/triage.yaml:{line} " in capsys.readouterr().err, "the file as the repository names it"


def test_a_group_that_left_the_fleet_is_removed(
    scratch: ScratchRepository, tmp_path: Path, example: dict[str, bytes], capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    once(scratch, out)
    without = {path: content for path, content in example.items() if path != "fleet/groups/latam.yaml"}
    scratch.commit(without, scratch.tip(), branch="main")
    capsys.readouterr()
    code = once(scratch, out)
    said = capsys.readouterr()
    assert code == 0, said.err
    left = {path.name for path in out.iterdir() if not path.name.startswith(".")}
    assert "kiosk-latam" not in left
    assert f"groups={len(left)} " in said.out


def test_what_is_outside_and_what_is_refused_have_their_own_exit_codes(
    scratch: ScratchRepository, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    assert once(scratch, out, "--branch", "none") == 3
    assert 'no branch "none"' in capsys.readouterr().err
    assert main(["sync", "--repo", str(tmp_path / "no"), "--output", str(out), "--once"]) == 3
    assert "git init --bare" in capsys.readouterr().err
    assert main(["sync", "--repo", str(scratch.path), "--output", str(scratch.path), "--once"]) == 2
    assert "G402" in capsys.readouterr().err
    for arguments in (["--interval", "0"], ["--interval", "soon"], ["--intervall", "1"]):
        assert once(scratch, out, *arguments) == 64
    assert once(scratch, out, "--branch", "main^") == 1
    assert "G108" in capsys.readouterr().err


# ---------------------------------------------------------------- following


class Running:
    """A sync process; its lines can be awaited."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process
        self.lines: Queue[str] = Queue()
        self._threads = [threading.Thread(target=self._read, args=(name,)) for name in ("stdout", "stderr")]
        for thread in self._threads:
            thread.start()

    def _read(self, name: str) -> None:
        stream = getattr(self.process, name)
        for line in stream:
            self.lines.put(f"{name}: {line.rstrip()}")

    def until(self, wanted: str) -> list[str]:
        """The lines up to the one that holds ``wanted``."""
        found: list[str] = []
        while not found or wanted not in found[-1]:
            try:
                found.append(self.lines.get(timeout=60))
            except Empty:
                pytest.fail(f"no {wanted!r} after {found}")
        return found

    def end(self, number: int) -> int:
        self.process.send_signal(number)
        code = self.process.wait(60)
        for thread in self._threads:
            thread.join(30)
        return code


@contextmanager
def running(scratch: ScratchRepository, out: Path, environment: dict[str, str] | None = None) -> Iterator[Running]:
    command = [sys.executable, "-c", "import sys; from trimtab_config.cli import main; sys.exit(main())", "sync"]
    process = subprocess.Popen(
        [*command, "--repo", str(scratch.path), "--path", "fleet", "--output", str(out), "--interval", "0.05"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, **(environment or {})},
    )
    started = Running(process)
    try:
        yield started
    finally:
        if process.poll() is None:
            started.end(signal.SIGKILL)
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        process.stderr.close()


def test_it_follows_the_branch_tells_a_bad_commit_once_and_ends_in_good_order(
    scratch: ScratchRepository, tmp_path: Path, example: dict[str, bytes]
) -> None:
    out = tmp_path / "out"
    with running(scratch, out) as sync:
        assert sync.until("synced") == [f"stdout: synced {scratch.tip()[:12]} groups={GROUPS} changed={GROUPS}"]
        good, before = scratch.tip(), snapshot(out)
        bad = scratch.commit(
            with_change(example, "fleet/deployments/triage.yaml", b"cpu: 500m", b"cpu: nope"), good, branch="main"
        )
        told = sync.until("trimtab explain")
        assert told[0] == f"stderr: rejected {bad[:12]}: it cannot be rendered; the output stays at commit {good[:12]}"
        assert snapshot(out) == before
        assert once(scratch, out) == 2, "a second sync of the same folder"
        better = scratch.commit(
            with_change(example, "fleet/deployments/triage.yaml", b"cpu: 500m", b"cpu: 400m"), bad, branch="main"
        )
        assert len(sync.until(f"synced {better[:12]}")) == 1, "polls in between said nothing more"
        scratch.git("update-ref", "refs/heads/main", good)
        assert len(sync.until(f"synced {good[:12]}")) == 1
        assert snapshot(out) == before
        assert sync.end(signal.SIGTERM) == 0
        assert sync.lines.empty()


def test_it_waits_for_a_branch_that_is_not_there_yet(tmp_path: Path, example: dict[str, bytes]) -> None:
    empty = ScratchRepository.create(tmp_path / "empty.git")
    with running(empty, tmp_path / "out") as sync:
        assert sync.until("waiting") == [
            'stderr: waiting: no branch "main" in the repository; push it, or name another one'
        ]
        tip = empty.commit(example, branch="main")
        assert sync.until("synced") == [f"stdout: synced {tip[:12]} groups={GROUPS} changed={GROUPS}"]
        assert sync.end(signal.SIGINT) == 0


def test_killed_and_started_again_it_goes_on(
    scratch: ScratchRepository, tmp_path: Path, example: dict[str, bytes]
) -> None:
    out = tmp_path / "out"
    with running(scratch, out) as sync:
        sync.until("synced")
        assert sync.end(signal.SIGKILL) == -signal.SIGKILL
    tip = scratch.commit(
        with_change(example, "fleet/deployments/triage.yaml", b"cpu: 500m", b"cpu: 400m"), scratch.tip(), branch="main"
    )
    with running(scratch, out) as sync:
        assert f"synced {tip[:12]} groups={GROUPS} changed=" in sync.until("synced")[0]


def test_a_reader_sees_every_commit_whole_while_sync_runs(
    scratch: ScratchRepository, tmp_path: Path, example: dict[str, bytes]
) -> None:
    out = tmp_path / "out"
    with running(scratch, out) as sync:
        sync.until("synced")
        path = out / "kiosk-emea/current/desired/desired.json"
        done = threading.Event()
        faults: list[str] = []

        def follow() -> None:
            while not done.is_set():
                try:
                    parse_desired(path.read_bytes())
                except Exception as error:
                    faults.append(repr(error))

        reader = threading.Thread(target=follow)
        reader.start()
        for number in range(4):
            maximum = b"maximumPerMinute: %d" % (500 + number)
            files = with_change(example, "fleet/deployments/triage.yaml", b"maximumPerMinute: 600", maximum)
            tip = scratch.commit(files, scratch.tip(), branch="main")
            sync.until(f"synced {tip[:12]}")
        done.set()
        reader.join(30)
    assert faults == []
