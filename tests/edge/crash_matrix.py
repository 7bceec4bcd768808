"""The agent killed at every change that it makes to the disk, in a process of its own.

The program is imported once; for each kill point a fresh copy of a device's directories is made and a child is forked,
which runs the real command line until the n-th system call that changes a name or flushes, and dies there as by kill -9.
Then a second child runs to the end, and the device must be where it should be. A write to a file under a temporary name
is no kill point of its own: nobody looks at it before the rename. Flushes are counted and not done: what a killed
process wrote is in the kernel's hands, only a power cut would tell the difference.
"""

from __future__ import annotations

import importlib
import json
import os
import pkgutil
import random
import shutil
import signal
import sys
import traceback
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import trimtab_edge.lifecycle
from tests.edge.devices import ALIGNMENT, Fleet, place
from trimtab_edge import layout
from trimtab_edge.cli import main as command_line
from trimtab_edge.lifecycle.journal import decode_state
from trimtab_edge.serving.storage import look, read_files
from trimtab_kernel.desired import Conditions
from trimtab_kernel.identity import Digest

if TYPE_CHECKING:
    from collections.abc import Callable

MODEL = "adder"
CALLS = ("fsync", "replace", "rename", "unlink", "rmdir", "symlink", "mkdir", "link", "truncate", "ftruncate")
"""Functions of ``os`` that change what a reader of the disk can see, or promise that it stays."""
MOST = 400


def content(version: str) -> bytes:
    """Bytes that an agent can carry; it never looks into them."""
    return f"model {version} ".encode() * 500


@dataclass(slots=True)
class Device:
    """A device's directories, and the fleet's side of it."""

    root: Path
    fleet: Fleet = field(init=False)

    def __post_init__(self) -> None:
        self.fleet = Fleet(self.root / "fleet")
        (self.root / "models").mkdir(parents=True, exist_ok=True)

    def ask(
        self, version: str, *, variant: str = "", corrupt: bool = False, conditions: Conditions | None = None
    ) -> None:
        artifact = self.fleet.publish(version, content(version + variant))
        if corrupt:
            (self.fleet.store / artifact.digest.path).write_bytes(b"x" * artifact.size)
        self.fleet.ask(MODEL, artifact, alignment=ALIGNMENT, conditions=conditions)

    def arguments(self, *options: str) -> list[str]:
        return [
            "agent", "--desired", str(self.fleet.mount), "--model-repository", str(self.root / "models"),
            "--state", str(self.root / "state"), "--artifacts", str(self.fleet.store), "--device", "d",
            "--memory-mb", "4000", "--once", *options,
        ]  # fmt: skip

    def served(self) -> tuple[str, Digest] | None:
        """What a server that starts now would answer with: found and verified by the server's own code."""
        sighting = look(self.root / "models", MODEL) if (self.root / "models" / MODEL).is_dir() else None
        if sighting is None:
            return None
        assert sighting.problem is None, sighting.problem
        return sighting.version, read_files(self.root / "models", sighting).digest

    def state(self) -> dict[str, str]:
        state = decode_state((self.root / f"state/models/{MODEL}.json").read_bytes())
        return {"phase": state.phase.value, "good": state.good.version if state.good else ""}

    def leftovers(self) -> list[str]:
        """What should not be there when all is at rest."""
        home = self.root / "models" / MODEL
        found = [str(path) for path in home.rglob("*") if path.name.endswith((".tmp", ".part", ".removed"))]
        found += [str(path) for path in (home / layout.INCOMING).glob("*")]
        return found + [str(path) for path in (home / layout.BY_DIGEST).glob(".*")]


def in_child(work: Callable[[], int]) -> tuple[int, int]:
    """Exit status and signal of a forked child that does ``work``."""
    sys.stdout.flush()
    pid = os.fork()
    if pid == 0:
        status = 99
        try:
            status = work()
        except BaseException:
            traceback.print_exc()
        finally:
            sys.stderr.flush()
            os._exit(status)
    _, result = os.waitpid(pid, 0)
    return (os.waitstatus_to_exitcode(result), 0) if os.WIFEXITED(result) else (-1, os.WTERMSIG(result))


def killed_at(point: int, arguments: list[str]) -> int:
    """In the child: run the command, and die before call number ``point`` (0: live on)."""
    calls = 0

    def counted(name: str) -> Callable[..., object]:
        original = getattr(os, name)

        def call(*parameters: object, **options: object) -> object:
            nonlocal calls
            calls += 1
            if calls == point:
                os.kill(os.getpid(), signal.SIGKILL)
            return None if name == "fsync" else original(*parameters, **options)

        return call

    for name in CALLS:
        setattr(os, name, counted(name))
    return run_quietly(arguments)


def run_quietly(arguments: list[str]) -> int:
    """In the child: the command with its output thrown away."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    for descriptor in (1, 2):
        os.dup2(nowhere, descriptor)
    return command_line(arguments)


@dataclass(frozen=True, slots=True)
class Scenario:
    """How a device stands before, what happens, and where it must be in the end.

    ``versions`` may be served at any moment; () before the first one. ``ends`` is the exit status of the last run.
    """

    prepare: Callable[[Device], None]
    happens: Callable[[Device], None]
    versions: tuple[str, ...]
    final: str
    ends: int = 0
    options: tuple[str, ...] = ()
    empty: bool = False


def settled(version: str, *more: str) -> Callable[[Device], None]:
    def prepare(device: Device) -> None:
        for each in (version, *more):
            device.ask(each)
            assert in_child(lambda: run_quietly(device.arguments()))[0] == 0

    return prepare


def empty_document(device: Device) -> None:
    """Nothing is desired any more."""
    device.fleet.models.clear()
    device.fleet.mount_document()


def nothing(device: Device) -> None:
    """An empty device."""
    del device


def delivered(device: Device) -> None:
    """A model that came with the device: plain directories, no journal."""
    device.ask("1.0.0")
    directory = place(device.root / "models", MODEL, "1.0.0", content("1.0.0"), '{"tier": "standard"}')
    (directory.parent / "active.json").write_text(
        json.dumps({"version": "1.0.0", "digest": str(Digest.of(content("1.0.0")))})
    )


def rotten(device: Device) -> None:
    """The good model's bytes were damaged; the one before is whole."""
    settled("1.0.0", "1.1.0")(device)
    (device.root / "models" / MODEL / "1.1.0/model.onnx").write_bytes(b"rotten")


DEAF = ("--serve-url", "http://127.0.0.1:9", "--probation", "0")
"""Nobody listens on the discard port: every probation fails."""
SCENARIOS = {
    "a first version": Scenario(nothing, lambda d: d.ask("1.0.0"), ("1.0.0",), "1.0.0", empty=True),
    "an update": Scenario(settled("1.0.0"), lambda d: d.ask("1.1.0"), ("1.0.0", "1.1.0"), "1.1.0"),
    "an update that prunes": Scenario(settled("1.0.0", "1.1.0"), lambda d: d.ask("1.2.0"), ("1.1.0", "1.2.0"), "1.2.0"),
    "a way back": Scenario(settled("1.0.0", "1.1.0"), lambda d: d.ask("1.0.0"), ("1.0.0", "1.1.0"), "1.0.0"),
    "another variant of the same version": Scenario(
        settled("1.0.0"), lambda d: d.ask("1.0.0", variant="lite"), ("1.0.0",), "1.0.0"
    ),
    "a failed probation": Scenario(
        settled("1.0.0"), lambda d: d.ask("1.1.0"), ("1.0.0", "1.1.0"), "1.0.0", ends=2, options=DEAF
    ),
    "wrong bytes": Scenario(settled("1.0.0"), lambda d: d.ask("1.1.0", corrupt=True), ("1.0.0",), "1.0.0", ends=2),
    "a delivered model and an update": Scenario(delivered, lambda d: d.ask("1.1.0"), ("1.0.0", "1.1.0"), "1.1.0"),
    "a model that leaves": Scenario(settled("1.0.0"), empty_document, ("1.0.0",), "1.0.0"),
    "a damaged model": Scenario(rotten, lambda d: d.ask("1.1.0"), ("1.0.0", "1.1.0"), "1.1.0"),
}


def check(device: Device, scenario: Scenario, when: str, *, whole: bool = True) -> list[str]:
    """What is wrong with what a server would find."""
    try:
        served = device.served()
    except Exception as error:  # whatever the server's code says is a finding
        return [f"{when}: no whole model: {error}"] if whole else []
    if served is None:
        return [] if scenario.empty else [f"{when}: no model"]
    version, digest = served
    allowed = {Digest.of(content(version)), Digest.of(content(version + "lite"))}
    if version not in scenario.versions or digest not in allowed:
        return [f"{when}: serves {version} {digest}"]
    return []


def matrix(name: str, root: Path, doubles: int, seed: int) -> dict[str, object]:
    """Kill at every point; then at ``doubles`` random pairs of points. What was found, and how many points there were."""
    scenario = SCENARIOS[name]
    template = Device(root / "template")
    scenario.prepare(template)
    scenario.happens(template)
    # A damaged model is found by the first look of the agent, not before.
    whole = name != "a damaged model"
    findings: list[str] = []

    def trial(number: int, points: list[int]) -> bool:
        """Kill once at each of ``points``; False when the last one was beyond the end of the work."""
        place_of = root / f"trial-{number}"
        shutil.copytree(template.root, place_of, symlinks=True)
        device = Device(place_of)
        killed = 0
        for point in points:
            _, died = in_child(lambda point=point: killed_at(point, device.arguments(*scenario.options)))  # type: ignore[misc] # mypy cannot infer a lambda with a default
            killed = died
            findings.extend(check(device, scenario, f"killed at {points}", whole=whole))
        status, _ = in_child(lambda: killed_at(0, device.arguments(*scenario.options)))
        when = f"recovered after {points}"
        findings.extend(check(device, scenario, when))
        if status != scenario.ends:
            findings.append(f"{when}: exit {status}, expected {scenario.ends}")
        served = device.served()
        if served is None or served[0] != scenario.final or device.state()["good"] != scenario.final:
            findings.append(f"{when}: serves {served}, journal {device.state()}, expected {scenario.final}")
        findings.extend(f"{when}: left over {path}" for path in device.leftovers())
        shutil.rmtree(place_of)
        return killed == signal.SIGKILL

    points = 1
    while points < MOST and trial(points, [points]):
        points += 1
    generator = random.Random(seed)  # noqa: S311 - reproducible choice of kill points
    for number in range(doubles):
        trial(MOST + number, [generator.randint(1, points) for _ in range(2)])
    return {"points": points - 1, "findings": findings}


if __name__ == "__main__":
    for module in pkgutil.walk_packages(trimtab_edge.lifecycle.__path__, "trimtab_edge.lifecycle."):
        importlib.import_module(module.name)
    for part in ("artifacts.download", "cli.agent", "cli.serve", "telemetry.exposition"):
        importlib.import_module(f"trimtab_edge.{part}")  # here, so that no child has to
    _, scenario_name, directory, double, chosen = sys.argv
    sys.stdout.write(json.dumps(matrix(scenario_name, Path(directory), int(double), int(chosen))) + "\n")
