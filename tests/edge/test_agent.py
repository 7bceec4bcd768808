"""The agent with its real parts: documents, stores, disk and server; only the clock is moved by hand."""

from __future__ import annotations

import http.client
import json
import logging
import os
import resource
import signal
import socket
import subprocess
import sys
import threading
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.edge import graphs
from tests.edge.agents import Clock, Stop, agent_of
from tests.edge.devices import ALIGNMENT, COMMAND, Fleet, Server, place, sample, serving, wait_until
from trimtab_edge.artifacts.download import Limits
from trimtab_edge.lifecycle.agent import Agent, Progress, lock_state
from trimtab_edge.lifecycle.conditions import Device
from trimtab_edge.settings import read_description
from trimtab_edge.telemetry.updates import UpdateCounts
from trimtab_kernel.desired import Conditions
from trimtab_kernel.identity import Digest
from trimtab_kernel.problems import InputError
from trimtab_kernel.waves import is_member

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

OLD, NEW, BROKEN = graphs.adder(0.5), graphs.adder(1.5), graphs.never_runs()


@pytest.fixture
def fleet(tmp_path: Path) -> Fleet:
    return Fleet(tmp_path / "fleet")


@pytest.fixture(autouse=True)
def _no_power_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing here loses power (tests/edge/test_crashes.py does), so the disk need not be waited for a thousand times."""
    monkeypatch.setattr(os, "fsync", lambda descriptor: None)


def active(root: Path, model: str = "adder") -> str | None:
    """The version that ``active.json`` names, once its bytes are found to be what it says."""
    home = root / "models" / model
    try:
        found = json.loads((home / "active.json").read_text())
    except FileNotFoundError:
        return None
    for name in ("model.onnx", "model.bin"):
        for file in (
            home / ".by-digest" / found["digest"].removeprefix("sha256:") / name,
            home / found["version"] / name,
        ):
            if file.exists():
                assert str(Digest.of(file.read_bytes())) == found["digest"]
                return str(found["version"])
    raise AssertionError(f"no file for {found}")


def progress(agent: Agent) -> dict[str, Progress]:
    return {standing.model: standing.progress for standing in agent.look().standings}


def test_an_empty_device_gets_what_is_desired(tmp_path: Path, fleet: Fleet) -> None:
    fleet.ask("adder", fleet.publish("1.0.0", OLD), alignment=ALIGNMENT)
    agent = agent_of(tmp_path, fleet)
    agent.start()
    assert progress(agent) == {"adder": Progress.ACTIVE}
    assert active(tmp_path) == "1.0.0"
    home = tmp_path / "models/adder"
    assert (home / "1.0.0/model.onnx").read_bytes() == OLD
    described = read_description((home / "1.0.0/model.yaml").read_bytes(), "model.yaml")
    assert (described.alignment, described.tier, described.digest) == (ALIGNMENT, "standard", Digest.of(OLD))
    assert list((home / ".incoming").iterdir()) == []


def test_an_update_keeps_the_version_before_and_prunes_older_ones(tmp_path: Path, fleet: Fleet) -> None:
    agent = agent_of(tmp_path, fleet)
    for minor in range(5):
        fleet.ask("adder", fleet.publish(f"1.{minor}.0", graphs.adder(minor)))
        assert progress(agent) == {"adder": Progress.ACTIVE}
    home = tmp_path / "models/adder"
    assert sorted(path.name for path in home.iterdir() if not path.name.startswith(".")) == [
        "1.3.0",
        "1.4.0",
        "active.json",
    ]
    assert len(list((home / ".by-digest").iterdir())) == 2


def test_a_way_back_needs_neither_link_nor_battery(tmp_path: Path, fleet: Fleet) -> None:
    agent = agent_of(tmp_path, fleet, device=Device("d", battery=90, network="WIFI", memory_mb=100))
    conditions = Conditions(min_battery=50, network="WIFI")
    old, new = fleet.publish("1.0.0", OLD), fleet.publish("1.1.0", NEW)
    for artifact in (old, new):
        fleet.ask("adder", artifact, conditions=conditions)
        agent.look()
    for path in (fleet.store / "sha256").iterdir():
        path.unlink()
    agent = agent_of(tmp_path, fleet, device=Device("d", battery=1, network="ANY", memory_mb=100))
    agent.start()
    fleet.ask("adder", old, conditions=conditions)
    assert progress(agent) == {"adder": Progress.ACTIVE}
    assert active(tmp_path) == "1.0.0"


def test_an_update_waits_for_its_conditions(tmp_path: Path, fleet: Fleet) -> None:
    fleet.ask("adder", fleet.publish("1.0.0", OLD), conditions=Conditions(min_battery=50, network="WIFI"))
    agent = agent_of(tmp_path, fleet, device=Device("d", battery=20, network="WIFI", memory_mb=1))
    [standing] = agent.look().standings
    assert standing.progress is Progress.WAITING
    assert "battery 20 %, expected above 50 %" in standing.reason
    assert active(tmp_path) is None
    agent = agent_of(tmp_path, fleet, device=Device("d", battery=80, network="WIFI", memory_mb=1))
    assert progress(agent) == {"adder": Progress.ACTIVE}


def test_a_device_runs_what_its_place_in_the_wave_says(tmp_path: Path, fleet: Fleet) -> None:
    stable, target = fleet.publish("1.0.0", OLD), fleet.publish("1.1.0", NEW)
    fleet.want("adder", target, stable=stable, percent=Fraction(40))
    fleet.mount_document()
    salt = fleet.models["adder"].salt
    seen = set()
    for number in range(12):
        device = f"device-{number}"
        (tmp_path / device).mkdir()
        agent = agent_of(tmp_path / device, fleet, device=Device(device, memory_mb=1))
        assert progress(agent) == {"adder": Progress.ACTIVE}
        expected = "1.1.0" if is_member(salt, device, Fraction(40)) else "1.0.0"
        assert active(tmp_path / device) == expected
        seen.add(expected)
    assert seen == {"1.0.0", "1.1.0"}


def test_outside_a_wave_without_a_stable_version_a_device_keeps_what_it_has(tmp_path: Path, fleet: Fleet) -> None:
    agent = agent_of(tmp_path, fleet)
    fleet.ask("adder", fleet.publish("1.1.0", NEW), percent=Fraction(0))
    assert progress(agent) == {"adder": Progress.KEPT}
    assert active(tmp_path) is None
    fleet.ask("adder", fleet.publish("1.0.0", OLD))
    agent.look()
    fleet.ask("adder", fleet.publish("1.1.0", NEW), percent=Fraction(0))
    assert progress(agent) == {"adder": Progress.KEPT}
    assert active(tmp_path) == "1.0.0"


def test_a_model_that_leaves_the_document_stays(tmp_path: Path, fleet: Fleet) -> None:
    counts = UpdateCounts()
    agent = agent_of(tmp_path, fleet, counts=counts)
    fleet.ask("adder", fleet.publish("1.0.0", OLD))
    agent.look()
    fleet.models.clear()
    fleet.mount_document()
    assert progress(agent) == {"adder": Progress.KEPT}
    assert active(tmp_path) == "1.0.0"
    models, _, valid = counts.snapshot()
    assert (models["adder"].active, models["adder"].desired, valid) == ("1.0.0", None, True)


def test_other_formats_are_delivered_as_verified_bytes(tmp_path: Path, fleet: Fleet) -> None:
    content = b"TFL3" + os.urandom(500)
    fleet.ask("app", fleet.publish("3.2.1", content, file_format="tflite"))
    with serving_empty(tmp_path) as server:
        agent = agent_of(tmp_path, fleet, serve_url=server.url)
        assert progress(agent) == {"app": Progress.ACTIVE}
        assert (tmp_path / "models/app/3.2.1/model.bin").read_bytes() == content
        assert active(tmp_path, "app") == "3.2.1"
        wait_until(lambda: server.ask("GET", "/v2/health/ready").status == 200)
        assert server.ask("GET", "/v2/models/app").status == 404


def serving_empty(tmp_path: Path) -> AbstractContextManager[Server]:
    (tmp_path / "models").mkdir(exist_ok=True)
    return serving(tmp_path / "models", tmp_path / "log")


def test_another_variant_of_the_same_version_is_an_update(tmp_path: Path, fleet: Fleet) -> None:
    """The lite tier, say: same version, other bytes; at no moment does active.json name anything else."""
    agent = agent_of(tmp_path, fleet)
    fleet.ask("adder", fleet.publish("1.0.0", OLD))
    agent.look()
    fleet.ask("adder", fleet.publish("1.0.0", NEW))
    assert progress(agent) == {"adder": Progress.ACTIVE}
    assert (tmp_path / "models/adder/1.0.0/model.onnx").read_bytes() == NEW
    assert active(tmp_path) == "1.0.0"


def test_a_changed_alignment_reaches_the_model_without_an_update(tmp_path: Path, fleet: Fleet) -> None:
    counts = UpdateCounts()
    agent = agent_of(tmp_path, fleet, counts=counts)
    artifact = fleet.publish("1.0.0", OLD)
    fleet.ask("adder", artifact)
    agent.look()
    fleet.ask("adder", artifact, alignment=ALIGNMENT)
    agent.look()
    described = read_description((tmp_path / "models/adder/1.0.0/model.yaml").read_bytes(), "model.yaml")
    assert described.alignment == ALIGNMENT
    assert counts.snapshot()[0]["adder"].results["activated"] == 1


# ---------------------------------------------------------------- what is not to be trusted, what does not work


def test_wrong_bytes_are_quarantined_and_counted_and_the_old_version_stays(
    tmp_path: Path, fleet: Fleet, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    clock, counts = Clock(), UpdateCounts()
    agent = agent_of(tmp_path, fleet, clock=clock, counts=counts)
    fleet.ask("adder", fleet.publish("1.0.0", OLD))
    agent.look()
    forged = fleet.publish("1.1.0", NEW)
    good_path = fleet.store / forged.digest.path
    good_path.write_bytes(NEW[:-1] + b"\0")
    fleet.ask("adder", forged)
    [standing] = agent.look().standings
    assert standing.progress is Progress.REFUSED
    assert "quarantine" in standing.reason
    assert active(tmp_path) == "1.0.0"
    found = counts.snapshot()[0]["adder"]
    assert (found.results["refused"], found.quarantined, found.desired) == (1, 1, "1.1.0")
    assert "adder 1.1.0 refused" in caplog.text
    assert "E301" in caplog.text
    fetched = found.bytes_by_version["1.1.0"]
    for _ in range(20):  # no flapping, no fetching, while the wait lasts
        agent.look()
    assert counts.snapshot()[0]["adder"].bytes_by_version["1.1.0"] == fetched
    good_path.write_bytes(NEW)  # somebody repaired the mirror
    clock.now += 61
    assert progress(agent) == {"adder": Progress.ACTIVE}
    assert counts.snapshot()[0]["adder"].quarantined == 0


def test_a_version_that_does_not_run_is_rolled_back_and_the_server_never_notices(tmp_path: Path, fleet: Fleet) -> None:
    counts, clock = UpdateCounts(), Clock()
    fleet.ask("adder", fleet.publish("1.0.0", OLD))
    with serving_empty(tmp_path) as server:
        agent = agent_of(tmp_path, fleet, serve_url=server.url, counts=counts, clock=clock)
        assert progress(agent) == {"adder": Progress.ACTIVE}
        fleet.ask("adder", fleet.publish("2.0.0", BROKEN))
        [standing] = agent.look().standings
        assert standing.progress is Progress.REFUSED
        assert "E402" in standing.reason
        assert active(tmp_path) == "1.0.0"
        row = {"name": "x", "shape": [1, 4], "datatype": "FP32", "data": [1, 2, 3, 4]}
        assert server.infer("adder", row).json["model_version"] == "1.0.0"
        wait_until(lambda: server.readiness("adder").json["state"] == "READY")
        assert counts.snapshot()[0]["adder"].results == {"activated": 1, "refused": 0, "rolled_back": 1}
        assert [path.name for path in (tmp_path / "models/adder/.by-digest").iterdir()] == [Digest.of(OLD).hex]
        fleet.ask("adder", fleet.publish("2.0.1", NEW))
        assert progress(agent) == {"adder": Progress.ACTIVE}


def test_a_first_version_that_does_not_run_is_taken_back_to_nothing(tmp_path: Path, fleet: Fleet) -> None:
    fleet.ask("adder", fleet.publish("2.0.0", BROKEN))
    with serving_empty(tmp_path) as server:
        agent = agent_of(tmp_path, fleet, serve_url=server.url)
        assert progress(agent) == {"adder": Progress.REFUSED}
        assert active(tmp_path) is None
        fleet.ask("adder", fleet.publish("2.0.1", NEW))
        assert progress(agent) == {"adder": Progress.ACTIVE}
        assert server.readiness("adder", "2.0.1").json["ready"] is True


def test_a_server_that_does_not_answer_sends_an_update_back_but_not_a_first_version(
    tmp_path: Path, fleet: Fleet
) -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{closed.getsockname()[1]}"
        clock = Clock()
        agent = agent_of(tmp_path, fleet, serve_url=url, probation=0.2, clock=clock)
        fleet.ask("adder", fleet.publish("1.0.0", OLD))
        assert progress(agent) == {"adder": Progress.HINDERED}
        assert active(tmp_path) == "1.0.0"
    (tmp_path / "models").mkdir(exist_ok=True)
    with serving(tmp_path / "models", tmp_path / "log") as server:
        agent = agent_of(tmp_path, fleet, serve_url=server.url, clock=clock)
        agent.start()
        assert progress(agent) == {"adder": Progress.ACTIVE}
    agent = agent_of(tmp_path, fleet, serve_url=url, probation=0.2, clock=clock)
    fleet.ask("adder", fleet.publish("1.1.0", NEW))
    agent.start()
    [standing] = agent.look().standings
    assert standing.progress is Progress.REFUSED
    assert "not ready within 0.2 s" in standing.reason
    assert active(tmp_path) == "1.0.0"


# ---------------------------------------------------------------- documents

BAD_DOCUMENTS = {
    "no JSON": b"hello",
    "empty": b"",
    "cut": b'{"apiVersion": "fleet.apexlogic.ai/v1"',
    "another kind": b'{"apiVersion": "v1", "kind": "ConfigMap"}',
    "huge": b" " * (1024 * 1024 + 1),
    "deep": b"[" * 100_000,
    "not UTF-8": b"\xff\xfe\x00",
}


@pytest.mark.parametrize("content", BAD_DOCUMENTS.values(), ids=BAD_DOCUMENTS.keys())
def test_a_bad_document_changes_nothing_and_is_seen(
    tmp_path: Path, fleet: Fleet, content: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    clock, counts = Clock(), UpdateCounts()
    agent = agent_of(tmp_path, fleet, clock=clock, counts=counts)
    fleet.ask("adder", fleet.publish("1.0.0", OLD))
    agent.look()
    clock.now += 100
    fleet.mount_document(content)
    for _ in range(3):
        result = agent.look()
        assert not result.document
        assert result.problems
    assert active(tmp_path) == "1.0.0"
    _, synced, valid = counts.snapshot()
    assert (synced, valid) == (clock.now - 100, False)
    assert caplog.text.count("not obeyed") == 1
    fleet.ask("adder", fleet.publish("1.1.0", NEW))
    assert progress(agent) == {"adder": Progress.ACTIVE}
    assert active(tmp_path) == "1.1.0"


def test_no_document_at_all_is_waited_for(tmp_path: Path, fleet: Fleet) -> None:
    fleet.root.mkdir()
    agent = agent_of(tmp_path, fleet)
    agent.start()
    result = agent.look()
    assert (result.document, result.problems) == (False, ())
    assert "no desired document" in result.reason
    fleet.ask("adder", fleet.publish("1.0.0", OLD))
    assert progress(agent) == {"adder": Progress.ACTIVE}


@pytest.mark.parametrize("kind", ["directory", "pipe"])
def test_what_is_no_file_in_the_documents_place_does_not_block(tmp_path: Path, fleet: Fleet, kind: str) -> None:
    fleet.mount.mkdir(parents=True)
    path = fleet.mount / "desired.json"
    path.mkdir() if kind == "directory" else os.mkfifo(path)
    assert not agent_of(tmp_path, fleet).look().document


# ---------------------------------------------------------------- disks


def test_a_release_that_does_not_fit_on_the_disk_is_refused_before_it_is_fetched(tmp_path: Path, fleet: Fleet) -> None:
    agent = agent_of(tmp_path, fleet, limits=Limits(largest=2**62, spare=2**60, attempts=1))
    fleet.ask("adder", fleet.publish("1.0.0", OLD))
    [standing] = agent.look().standings
    assert standing.progress is Progress.HINDERED
    assert "disk too full" in standing.reason
    assert active(tmp_path) is None


FULL_DISK = """
import resource, signal, sys
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv.pop(1)),) * 2)
from trimtab_edge.cli import main
sys.exit(main())
"""


@pytest.mark.parametrize("limit", [10, 700, 3000])
def test_a_disk_that_is_full_in_the_middle_leaves_the_old_version_and_a_clean_refusal(
    tmp_path: Path, fleet: Fleet, limit: int
) -> None:
    """The journal does not fit; or the journal fits but the model does not. Then there is room again, and it goes on."""
    agent = agent_of(tmp_path, fleet)
    fleet.ask("adder", fleet.publish("1.0.0", OLD))
    agent.look()
    fleet.ask("adder", fleet.publish("1.1.0", graphs.slow(1.0, 200)))
    command = [
        "agent", "--desired", fleet.mount, "--model-repository", tmp_path / "models", "--state", tmp_path / "state",
        "--artifacts", fleet.store, "--device", "device-1", "--memory-mb", "4000", "--once",
    ]  # fmt: skip
    result = subprocess.run(
        [sys.executable, "-c", FULL_DISK, str(limit), *map(str, command)],
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert result.returncode == 3, result.stderr
    assert "File too large" in result.stdout
    assert "Traceback" not in result.stderr
    assert active(tmp_path) == "1.0.0"
    clock = Clock()
    clock.now = 4_000_000_000.0
    agent = agent_of(tmp_path, fleet, clock=clock)
    agent.start()
    assert progress(agent) == {"adder": Progress.ACTIVE}
    assert active(tmp_path) == "1.1.0"


@pytest.mark.parametrize("restart", [True, False])
@pytest.mark.parametrize("damage", [OLD[:-1] + b"\0", OLD[:-1], b"", None], ids=["a bit", "a byte", "all", "gone"])
def test_a_damaged_model_is_found_and_fetched_again(
    tmp_path: Path, fleet: Fleet, damage: bytes | None, *, restart: bool
) -> None:
    """At start every byte is read; at each look the size is."""
    fleet.ask("adder", fleet.publish("1.0.0", OLD))
    agent = agent_of(tmp_path, fleet)
    agent.look()
    path = tmp_path / "models/adder/1.0.0/model.onnx"
    if damage is None:
        path.unlink()
    else:
        path.write_bytes(damage)
    if restart or (damage is not None and len(damage) == len(OLD)):
        agent = agent_of(tmp_path, fleet)
        agent.start()
    assert progress(agent) == {"adder": Progress.ACTIVE}
    assert active(tmp_path) == "1.0.0"


def test_a_damaged_model_falls_back_to_the_one_before_while_the_link_is_down(tmp_path: Path, fleet: Fleet) -> None:
    agent = agent_of(tmp_path, fleet)
    for version, content in (("1.0.0", OLD), ("1.1.0", NEW)):
        fleet.ask("adder", fleet.publish(version, content))
        agent.look()
    for path in (fleet.store / "sha256").iterdir():
        path.unlink()
    (tmp_path / "models/adder/1.1.0/model.onnx").write_bytes(b"")
    agent = agent_of(tmp_path, fleet)
    agent.start()
    assert active(tmp_path) == "1.0.0"
    assert progress(agent) == {"adder": Progress.HINDERED}
    assert active(tmp_path) == "1.0.0"


def test_an_active_json_that_somebody_changed_is_put_right(tmp_path: Path, fleet: Fleet) -> None:
    agent = agent_of(tmp_path, fleet)
    fleet.ask("adder", fleet.publish("1.0.0", OLD))
    agent.look()
    (tmp_path / "models/adder/active.json").write_text("{}")
    agent.look()
    assert active(tmp_path) == "1.0.0"


@pytest.mark.parametrize("linked", [True, False], ids=["by the agent", "by hand"])
def test_a_lost_journal_costs_nothing_but_history(tmp_path: Path, fleet: Fleet, *, linked: bool) -> None:
    artifact = fleet.publish("1.0.0", OLD)
    fleet.ask("adder", artifact)
    if linked:
        agent_of(tmp_path, fleet).look()
        (tmp_path / "state/models/adder.json").write_bytes(b"\0" * 300)
    else:
        place(tmp_path / "models", "adder", "1.0.0", OLD, "tier: standard\n")
        (tmp_path / "models/adder/active.json").write_text(
            json.dumps({"version": "1.0.0", "digest": str(artifact.digest)})
        )
    counts = UpdateCounts()
    (fleet.store / artifact.digest.path).unlink()
    agent = agent_of(tmp_path, fleet, counts=counts)
    agent.start()
    assert progress(agent) == {"adder": Progress.ACTIVE}
    assert active(tmp_path) == "1.0.0"
    assert (tmp_path / "models/adder/1.0.0").is_symlink()
    assert sum(counts.snapshot()[0]["adder"].bytes_by_version.values()) == 0


def test_a_delivered_model_that_is_not_what_it_says_is_not_taken_over(tmp_path: Path, fleet: Fleet) -> None:
    place(tmp_path / "models", "adder", "1.0.0", b"something else")
    (tmp_path / "models/adder/active.json").write_text(json.dumps({"version": "1.0.0", "digest": str(Digest.of(OLD))}))
    fleet.ask("adder", fleet.publish("1.0.0", OLD))
    agent = agent_of(tmp_path, fleet)
    agent.start()
    assert progress(agent) == {"adder": Progress.ACTIVE}
    assert active(tmp_path) == "1.0.0"


# ---------------------------------------------------------------- several models, interruption


def test_one_model_in_trouble_does_not_hold_up_the_others(tmp_path: Path, fleet: Fleet) -> None:
    forged = fleet.publish("1.0.0", NEW)
    (fleet.store / forged.digest.path).write_bytes(b"wrong")
    fleet.want("a-forged", forged)
    fleet.want("b-missing", fleet.publish("1.0.0", BROKEN))
    (fleet.store / Digest.of(BROKEN).path).unlink()
    fleet.want("c-good", fleet.publish("1.0.0", OLD))
    fleet.mount_document()
    agent = agent_of(tmp_path, fleet)
    assert progress(agent) == {
        "a-forged": Progress.REFUSED, "b-missing": Progress.HINDERED, "c-good": Progress.ACTIVE,
    }  # fmt: skip


class SlowStore:
    """An HTTP store that sends a first part and then waits until the test lets it go on."""

    def __init__(self, content: bytes) -> None:
        self.content = content
        self.begun, self.go_on = threading.Event(), threading.Event()
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self.listener.getsockname()[1]}"
        self.thread = threading.Thread(target=self._serve, daemon=True)
        self.thread.start()

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self.listener.accept()
            except OSError:
                return
            with connection:
                connection.recv(65536)
                connection.sendall(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % len(self.content))
                connection.sendall(self.content[:1000])
                self.begun.set()
                while not self.go_on.wait(0.05):
                    try:
                        connection.sendall(self.content[1000:1001])
                    except OSError:
                        break

    def close(self) -> None:
        self.go_on.set()
        self.listener.shutdown(socket.SHUT_RDWR)  # closing alone leaves the thread in accept
        self.thread.join(30)
        self.listener.close()


def test_a_newer_document_interrupts_a_download(tmp_path: Path, fleet: Fleet) -> None:
    """A way back must not wait for the end of a download that nobody wants any more."""
    large = os.urandom(200_000)
    agent = agent_of(tmp_path, fleet)
    good = fleet.publish("1.0.0", OLD)
    fleet.ask("adder", good)
    agent.look()
    store = SlowStore(large)
    try:
        agent = agent_of(tmp_path, fleet, store=store.url)
        agent.start()
        fleet.ask("adder", fleet.publish("1.1.0", large))
        looking = threading.Thread(target=agent.look)
        looking.start()
        assert store.begun.wait(10)
        fleet.ask("adder", good)
        looking.join(10)
        assert not looking.is_alive()
        assert progress(agent) == {"adder": Progress.ACTIVE}
        assert active(tmp_path) == "1.0.0"
    finally:
        store.close()


def test_a_process_that_is_to_end_ends_a_download(tmp_path: Path, fleet: Fleet) -> None:
    stop, store = Stop(), SlowStore(os.urandom(200_000))
    try:
        agent = agent_of(tmp_path, fleet, store=store.url, stop=stop)
        fleet.ask("adder", fleet.publish("1.1.0", store.content))
        looking = threading.Thread(target=agent.look)
        looking.start()
        assert store.begun.wait(10)
        stop.asked = True
        looking.join(10)
        assert not looking.is_alive()
    finally:
        store.close()


# ---------------------------------------------------------------- the process


def command_of(root: Path, fleet: Fleet, *options: str) -> list[str]:
    return [
        *COMMAND, "agent", "--desired", str(fleet.mount), "--model-repository", str(root / "models"),
        "--state", str(root / "state"), "--artifacts", str(fleet.store), "--device", "device-1",
        "--memory-mb", "4000", *options,
    ]  # fmt: skip


def once(root: Path, fleet: Fleet, *options: str) -> subprocess.CompletedProcess[str]:
    (root / "models").mkdir(exist_ok=True)
    return subprocess.run(
        command_of(root, fleet, "--once", *options), capture_output=True, text=True, timeout=60, check=False
    )


def test_once_prints_how_each_model_stands_and_its_exit_code_says_whether_all_is_done(
    tmp_path: Path, fleet: Fleet
) -> None:
    fleet.ask("adder", fleet.publish("1.0.0", OLD))
    result = once(tmp_path, fleet)
    assert (result.returncode, result.stdout) == (0, "adder 1.0.0 active\n")
    fleet.ask("adder", fleet.publish("1.1.0", NEW), conditions=Conditions(min_battery=50))
    result = once(tmp_path, fleet, "--battery", "10")
    assert result.returncode == 3
    assert result.stdout == "adder 1.0.0 waiting: 1.1.0 waits: battery 10 %, expected above 50 %\n"
    (fleet.store / Digest.of(NEW).path).write_bytes(b"x" * len(NEW))
    result = once(tmp_path, fleet)
    assert result.returncode == 2
    assert result.stdout.startswith("adder 1.0.0 refused: 1.1.0 is in quarantine")
    fleet.mount_document(b"{}")
    result = once(tmp_path, fleet)
    assert (result.returncode, result.stdout) == (1, "")
    assert "E203" in result.stderr
    fleet.mount.unlink()
    assert once(tmp_path, fleet).returncode == 3
    assert active(tmp_path) == "1.0.0"


def test_two_agents_do_not_share_a_state_directory(tmp_path: Path, fleet: Fleet) -> None:
    fleet.ask("adder", fleet.publish("1.0.0", OLD))
    descriptor = lock_state(tmp_path / "state")
    result = once(tmp_path, fleet)
    os.close(descriptor)
    assert result.returncode == 1
    assert "E101" in result.stderr
    assert once(tmp_path, fleet).returncode == 0


def test_a_state_directory_that_cannot_be_made_is_a_problem(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="E102"):
        lock_state(tmp_path / "file/state")


@pytest.mark.parametrize("url", ["localhost:8080", "https:h:1", "http://h/path", "ftp://h"])
def test_a_server_url_that_is_none_is_a_problem(tmp_path: Path, fleet: Fleet, url: str) -> None:
    fleet.ask("adder", fleet.publish("1.0.0", OLD))
    result = once(tmp_path, fleet, "--serve-url", url)
    assert result.returncode == 1
    assert "http://HOST:PORT" in result.stderr


def test_the_process_follows_documents_shows_metrics_and_ends_with_0(tmp_path: Path, fleet: Fleet) -> None:
    fleet.ask("adder", fleet.publish("1.0.0", OLD))
    (tmp_path / "models").mkdir()
    with (tmp_path / "log").open("w") as log, subprocess.Popen(
        command_of(tmp_path, fleet, "--interval", "0.05", "--metrics-port", "0"),
        stdout=subprocess.PIPE, stderr=log, text=True,
    ) as process:  # fmt: skip
        assert process.stdout is not None
        line = process.stdout.readline().strip()
        assert line.startswith("listening http://127.0.0.1:")
        server = Server(process, "127.0.0.1", int(line.rpartition(":")[2]), tmp_path / "log")
        wait_until(lambda: active(tmp_path) == "1.0.0")
        fleet.ask("adder", fleet.publish("1.1.0", NEW))
        wait_until(lambda: sample(server.samples(), "trimtab_agent_active", model="adder", version="1.1.0") == 1)
        fleet.mount_document(b"{}")
        wait_until(lambda: sample(server.samples(), "trimtab_agent_document_valid") == 0)
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 0
        with pytest.raises((ConnectionRefusedError, http.client.HTTPException)):
            server.samples()


def test_open_files_do_not_grow_with_looks(tmp_path: Path, fleet: Fleet) -> None:
    agent = agent_of(tmp_path, fleet)
    fleet.ask("adder", fleet.publish("1.0.0", OLD))
    agent.look()
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    before = len(list(Path("/proc/self/fd").iterdir()))
    fleet.mount_document(b"{")
    for _ in range(30):
        agent.look()
    assert len(list(Path("/proc/self/fd").iterdir())) <= before < limit
