"""`tools/debian-packages` against a platform whose own programs stand in: what it says, and what it asks apt-get for."""

from __future__ import annotations

import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "tools/debian-packages"
SHELL = shutil.which("sh") or "/bin/sh"


@dataclass(frozen=True, slots=True)
class Platform:
    """A folder of programs, which is all that the script finds on its PATH."""

    programs: Path

    @property
    def policy(self) -> Path:
        """Where the platform looks for leave to start a service."""
        return self.programs / "policy-rc.d"

    def offers(self, name: str, script: str) -> None:
        program = self.programs / name
        program.write_text(f"#!{SHELL}\n{script}\n", "utf-8")
        program.chmod(0o755)

    def run(self, *packages: str) -> subprocess.CompletedProcess[str]:
        command = [SHELL, str(SCRIPT), *packages]
        environment = {"PATH": str(self.programs), "POLICY_RC_D": str(self.policy)}
        return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=20, check=False)


@pytest.fixture
def platform(tmp_path: Path) -> Platform:
    """Debian where git is installed and nothing else, seen by an ordinary user."""
    programs = tmp_path / "bin"
    programs.mkdir()
    made = Platform(programs)
    made.offers("dpkg-query", 'for last; do :; done\n[ "$last" = git ] && echo installed || exit 1')
    made.offers("apt-get", "exit 1")
    made.offers("id", "echo 1000")
    return made


def test_what_is_installed_is_left_alone_in_silence(platform: Platform) -> None:
    result = platform.run("git")
    assert (result.returncode, result.stdout, result.stderr) == (0, "", "")


def test_without_root_it_says_what_to_run(platform: Platform) -> None:
    result = platform.run("git", "prometheus")
    assert result.returncode == 3
    assert "run as root: apt-get install prometheus" in result.stderr


def test_without_apt_get_it_names_what_is_missing(platform: Platform) -> None:
    (platform.programs / "apt-get").unlink()
    result = platform.run("prometheus")
    assert result.returncode == 3
    assert "missing: prometheus" in result.stderr


@pytest.mark.parametrize("name", ["-o=x", "a b", "a;b", "", "UPPER"])
def test_what_is_no_package_name_never_reaches_apt_get(platform: Platform, name: str) -> None:
    assert platform.run(name).returncode == 64


def test_without_a_name_it_shows_its_usage(platform: Platform) -> None:
    result = platform.run()
    assert result.returncode == 64
    assert result.stderr.startswith("usage:")


@pytest.fixture
def own_platform(platform: Platform) -> Platform:
    """The same, seen by root; apt-get notes what it was asked, and how a start of a service would have been answered."""
    for name in ("mktemp", "rm", "cp", "chmod", "tail"):
        (platform.programs / name).symlink_to(str(shutil.which(name)))
    platform.offers("id", "echo 0")
    asked = platform.programs / "asked"
    platform.offers(
        "apt-get", f'echo "$@" >> "{asked}"\n"$POLICY_RC_D" prometheus start; echo "start: $? $RUNLEVEL" >> "{asked}"'
    )
    return platform


def test_it_says_what_it_installs_and_from_where(own_platform: Platform) -> None:
    result = own_platform.run("git", "prometheus")
    assert result.returncode == 0, result.stderr
    assert result.stdout == "installing prometheus from the platform's packages (apt-get)\n"


def test_no_service_may_start_while_it_installs(own_platform: Platform) -> None:
    own_platform.run("git", "prometheus")
    asked, start = (own_platform.programs / "asked").read_text("utf-8").splitlines()
    assert asked.startswith("install -y ")
    assert asked.endswith(" prometheus")
    assert start == "start: 101 1"
    assert not own_platform.policy.exists()


def test_a_policy_that_the_machine_has_stays_as_it_is(own_platform: Platform) -> None:
    own_platform.offers("policy-rc.d", "exit 104")
    before = own_platform.policy.read_bytes()
    own_platform.run("prometheus")
    assert own_platform.policy.read_bytes() == before


def test_an_apt_get_that_fails_is_asked_once_more_after_an_update(own_platform: Platform) -> None:
    asked = own_platform.programs / "asked"
    own_platform.offers("apt-get", f'echo "$1" >> "{asked}"; [ "$1" = update ] || {{ echo no space left; exit 100; }}')
    result = own_platform.run("prometheus")
    assert result.returncode == 3
    assert asked.read_text("utf-8").split() == ["install", "update", "install"]
    assert "no space left" in result.stderr
    assert not own_platform.policy.exists()
