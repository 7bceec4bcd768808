"""The lock files: hashed, without a host or a path, of one mind, and fitting what pyproject.toml asks for."""

from __future__ import annotations

import re
import tomllib
from functools import cache
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[2]
LOCKS = sorted((ROOT / "requirements").glob("*.txt"))
PEERS = [path for path in LOCKS if path.stem.startswith("peers-")]
OURS = [path for path in LOCKS if path not in PEERS]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]


@cache
def locked(extra: str) -> dict[tuple[str, str], str]:
    """The versions in one lock file, by name and marker."""
    versions: dict[tuple[str, str], str] = {}
    for line in (ROOT / f"requirements/{extra}.txt").read_text("utf-8").splitlines():
        if line and not line.startswith((" ", "#")):
            requirement = Requirement(line.removesuffix("\\").strip())
            version = str(requirement.specifier).removeprefix("==")
            versions[canonicalize_name(requirement.name), str(requirement.marker or "")] = version
    return versions


def asked(extra: str) -> list[Requirement]:
    """What an extra asks for, the extras that it names included."""
    found = []
    for text in PROJECT["optional-dependencies"][extra]:
        requirement = Requirement(text)
        if requirement.name == PROJECT["name"]:
            found += [inner for name in sorted(requirement.extras) for inner in asked(name)]
        else:
            found.append(requirement)
    return found


def test_every_extra_has_a_lock_and_every_lock_an_extra() -> None:
    assert {path.stem for path in OURS} == set(PROJECT["optional-dependencies"])


@pytest.mark.parametrize("lock", PEERS, ids=lambda path: path.stem)
def test_a_lock_of_peers_holds_what_its_list_asks_for(lock: Path) -> None:
    """Foreign software lives apart: its lock has a list of its own, and none of ours names it."""
    versions = {name: version for (name, _), version in locked(lock.stem).items()}
    lines = [line for line in lock.with_suffix(".in").read_text("utf-8").splitlines() if line and line[0] != "#"]
    requirements = [Requirement(line) for line in lines]
    assert requirements
    wrong = [r for r in requirements if not r.specifier.contains(versions.get(canonicalize_name(r.name), "0"))]
    assert wrong == []


@pytest.mark.parametrize("lock", LOCKS, ids=lambda path: path.stem)
def test_a_lock_names_no_host_and_no_path(lock: Path) -> None:
    text = lock.read_text("utf-8")
    assert not re.findall(r"^.*(?:://|--(?!hash=sha256:)|@ |file:).*$", text, re.MULTILINE)
    assert not re.findall(r"(?:^|\s)/\S+", text)


@pytest.mark.parametrize("lock", LOCKS, ids=lambda path: path.stem)
def test_every_locked_package_has_hashes(lock: Path) -> None:
    packages = re.split(r"\n(?=\w)", lock.read_text("utf-8"))[1:]
    assert packages
    assert [package.partition(" ")[0] for package in packages if "--hash=sha256:" not in package] == []


@pytest.mark.parametrize("lock", OURS, ids=lambda path: path.stem)
def test_a_lock_agrees_with_dev_on_every_version(lock: Path) -> None:
    other = locked("dev")
    assert {
        name: (version, other[name])
        for name, version in locked(lock.stem).items()
        if other.get(name, version) != version
    } == {}


@pytest.mark.parametrize("extra", sorted(PROJECT["optional-dependencies"]))
def test_a_lock_holds_what_its_extra_asks_for(extra: str) -> None:
    """A dependency added to pyproject.toml without `make lock` fails here."""
    versions = {name: version for (name, _), version in locked(extra).items()}
    wrong = {
        str(requirement): versions.get(canonicalize_name(requirement.name), "not locked")
        for requirement in asked(extra)
        if not requirement.specifier.contains(versions.get(canonicalize_name(requirement.name), "0"))
    }
    assert wrong == {}


def test_the_base_has_no_dependencies() -> None:
    assert PROJECT["dependencies"] == []


def test_edge_installs_light() -> None:
    """A device gets no compiler, no training library, no data frames and no test tool."""
    names = {name for name, _ in locked("edge")}
    assert names.isdisjoint(
        {"rich", "scikit-learn", "scipy", "pandas", "sqlalchemy", "starlette", "onnx", "pytest", "grpcio"}
    )


def imported_by_room() -> set[tuple[str, str]]:
    """(extra of a room, third-party package) for every import that a contract allows."""
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["tool"]["importlinter"]
    lines = [line for contract in settings["contracts"] for line in contract.get("allowed", ())]
    pairs = [line.split(" <- ") for line in lines]
    return {
        (place.partition(".")[0].removeprefix("trimtab_"), package)
        for package, places in pairs
        for place in places.split()
    }


def asked_by_room(room: str) -> list[Requirement]:
    """What the room's extra asks for, and its optional parts: `edge`, `edge-grpc`; `analytics` is config's."""
    extras = [extra for extra in PROJECT["optional-dependencies"] if extra == room or extra.startswith(f"{room}-")]
    if room == "config":
        extras.append("analytics")
    return [requirement for extra in extras for requirement in asked(extra)]


def test_a_room_asks_by_name_for_what_it_imports() -> None:
    """A package that is there only because another needs it may go when that one changes its mind."""
    distributions = packages_distributions()
    missing = {
        (room, package)
        for room, package in imported_by_room()
        if not {canonicalize_name(requirement.name) for requirement in asked_by_room(room)}
        & {canonicalize_name(name) for name in distributions.get(package, ())}
    }
    assert missing == set()
