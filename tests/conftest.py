"""What holds for every test: how Hypothesis behaves, what a skip may be (with `--no-skips`, hardly anything), what may be left."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import hypothesis
import pytest

from tests.listeners import all_woken

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator

# A busy machine is slow without being wrong, so Hypothesis measures no time. In CI it tries the same examples every time.
hypothesis.settings.register_profile(
    "house",
    deadline=None,
    derandomize="CI" in os.environ,
    print_blob=True,
    suppress_health_check=[hypothesis.HealthCheck.too_slow],
)
hypothesis.settings.load_profile("house")

# No test leaves anything in the caches of whoever runs it, or finds anything there; those of the cache name a folder.
os.environ["TRIMTAB_CACHE"] = ""

# The fixtures of the lab are there for every test; nothing starts before one is asked for.
pytest_plugins = ("tests.lab.plugin",)

# A skip says "needs NAME ..." and is excused only for one of these programs, and only where it is not on the PATH.
# What the platform's packages offer is not here: CI installs it.
EXCUSED_PROGRAMS = ("go", "python3.12")

# "needs data PATH" is excused for these, as seen from the root of the tree, and only where they are not there.
EXCUSED_DATA = ("../shared/data/nab",)

_DATA_REASON = re.compile(r"(?:Skipped: )?needs data (?P<path>[\w./+-]+)")
_REASON = re.compile(r"(?:Skipped: )?needs (?P<program>[\w.+-]+)\b")


def pytest_addoption(parser: pytest.Parser) -> None:
    """Adds the switches."""
    parser.addoption(
        "--no-skips",
        action="store_true",
        help="fail what would be skipped, unless the program that it needs cannot be installed as a package",
    )
    parser.addoption(
        "--update-golden",
        action="store_true",
        help="write what golden tests got into their expected folders; read the difference before committing it",
    )


def pytest_configure(config: pytest.Config) -> None:
    """Refuses to rewrite golden files where nobody would read the difference."""
    if config.getoption("--update-golden") and "CI" in os.environ:
        raise pytest.UsageError("--update-golden is not for CI: there it would make every golden test pass")


@pytest.fixture(autouse=True, scope="module")
def every_listener_ends() -> Iterator[None]:
    """Fails the module that leaves a thread waiting on a closed listener; another test would be the one to hang."""
    yield
    left = all_woken(30)
    assert left == [], f"these threads wait on a listener that was closed, which does not wake them: {left}"


def is_excused(reason: str) -> bool:
    """Whether a skip for this reason is acceptable in CI on this machine."""
    data = _DATA_REASON.match(reason)
    if data is not None:
        return data["path"] in EXCUSED_DATA and not (Path(__file__).parents[1] / data["path"]).exists()
    found = _REASON.match(reason)
    return found is not None and found["program"] in EXCUSED_PROGRAMS and not _is_here(found["program"])


def _is_here(program: str) -> bool:
    """Whether a program can be run. A Python may also be one of pyenv's, whose shims are on the PATH with nothing behind."""
    version = program.removeprefix("python")
    if version == program:
        return shutil.which(program) is not None
    home = Path(os.environ.get("PYENV_ROOT") or Path.home() / ".pyenv")
    candidates = [shutil.which(program), *map(str, home.glob(f"versions/{version}.*/bin/python"))]
    return any(_answers(each) for each in candidates if each is not None)


def _answers(program: str) -> bool:
    try:
        return subprocess.run([program, "-c", ""], capture_output=True, timeout=60, check=False).returncode == 0
    except OSError:
        return False


def _refuse(report: pytest.TestReport | pytest.CollectReport) -> None:
    if not report.skipped or hasattr(report, "wasxfail"):
        return
    reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
    if not is_excused(reason):
        report.outcome = "failed"
        report.longrepr = (
            f"{reason}\n(a skip fails here: with --no-skips only a missing {EXCUSED_PROGRAMS} excuses one)"
        )


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Turns the skip of a test into a failure."""
    report = yield
    if item.config.getoption("--no-skips"):
        _refuse(report)
    return report


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report(
    collector: pytest.Collector,
) -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    """Turns the skip of a whole module into a failure."""
    report = yield
    if collector.config.getoption("--no-skips"):
        _refuse(report)
    return report
