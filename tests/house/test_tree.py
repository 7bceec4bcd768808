"""What must not be in the tree, and what a reader must find in it."""

from __future__ import annotations

import re
import subprocess
import tomllib
from functools import cache
from pathlib import Path

import pytest
from packaging.requirements import Requirement

ROOT = Path(__file__).parents[2]

# Each room, and where its parts lie: a source root's package, or the room itself.
ROOMS = {
    "config_management": ("config_management/trimtab_kernel", "config_management/trimtab_config"),
    "plugins": ("plugins/trimtab_plugins",),
    "bot": ("bot/trimtab_bot",),
    "edge_runtime": ("edge_runtime/trimtab_edge",),
    "policies": ("policies",),
    "helm": ("helm",),
    "tests": ("tests",),
    "examples": ("examples",),
    "docs": ("docs",),
    "bench": ("bench",),
    "tools": ("tools",),
}

# Parts that need no sentence.
SELF_EVIDENT = {"README.md", "__init__", "__main__", "__init__.py", "__main__.py", "py.typed", "conftest.py"}


@cache
def files() -> tuple[str, ...]:
    """Every file of the tree that Git keeps or would keep, relative to its root."""
    command = ["git", "-c", f"safe.directory={ROOT}", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(command, cwd=ROOT, capture_output=True, check=True).stdout.decode()
    return tuple(sorted({name for name in listed.split("\0") if name and (ROOT / name).is_file()}))


def texts() -> list[tuple[str, str]]:
    """Every file that is text, with its text."""
    found = []
    for name in files():
        content = (ROOT / name).read_bytes()
        if b"\0" not in content[:8192]:
            found.append((name, content.decode("utf-8", "replace")))
    return found


def lines_matching(pattern: str) -> list[str]:
    wanted = re.compile(pattern)
    return [
        f"{name}:{number}: {line.strip()[:100]}"
        for name, text in texts()
        for number, line in enumerate(text.splitlines(), 1)
        if wanted.search(line)
    ]


def test_nothing_is_left_to_do_in_a_comment() -> None:
    """What is missing stands under "Known limits" of a README, where a user can see it. Hashes may spell anything."""
    words = "|".join(("TO" + "DO", "FIX" + "ME", "XX" + "X"))
    assert lines_matching(rf"(?<![\w+/]){'(?:' + words + ')'}(?![\w+/])") == []


def test_whoever_silences_a_checker_says_why() -> None:
    """After the code that is silenced: ``# noqa: S310 - our own URL``, ``# type: ignore[misc] # it has no types``."""
    assert lines_matching(r"# (?:no" + r"qa(?:: [A-Z0-9, ]+)?|type: ig" + r"nore(?:\[[a-z, -]+\])?) *$") == []


def test_no_line_names_a_place_of_some_machine() -> None:
    places = "|".join(("wo" + "rk", "ro" + "ot", "home/" + r"(?!argocd/)[a-z]+", "Use" + r"rs/[A-Za-z]+"))
    assert lines_matching(rf"(?<![\w.*}})\]-])/(?:{places})/") == []


def test_no_line_names_a_package_host() -> None:
    assert lines_matching("--(?:extra-)?index" + "-url|find" + "-links *=|GOPROXY" + "=http|registry *= *.?http") == []


def test_no_large_file_is_kept() -> None:
    """What is large is built by a committed builder instead."""
    assert [name for name in files() if (ROOT / name).stat().st_size > 1024 * 1024] == []


def test_what_starts_with_an_interpreter_can_be_run_and_nothing_else_can() -> None:
    wrong = []
    for name in files():
        path = ROOT / name
        with path.open("rb") as file:
            starts_with_interpreter = file.read(2) == b"#!"
        # The mode, not os.access: what root may do says nothing about the file.
        if starts_with_interpreter != bool(path.stat().st_mode & 0o100):
            wrong.append(name)
    assert wrong == []


def parts(place: str) -> set[str]:
    """The modules, packages and files directly under a place of the tree."""
    return {
        name.removeprefix(f"{place}/").partition("/")[0].removesuffix(".py")
        for name in files()
        if name.startswith(f"{place}/")
    } - SELF_EVIDENT


@pytest.mark.parametrize("room", ROOMS)
def test_a_room_has_a_readme_that_names_its_parts(room: str) -> None:
    text = (ROOT / room / "README.md").read_text("utf-8")
    named = set(re.findall(r"`([^`\n]+)`", text))
    for place in ROOMS[room]:
        missing = {part for part in parts(place) if not {part, f"{part}/", f"{part}.py"} & named}
        assert missing == set(), f"{room}/README.md does not name these parts of {place}"


@pytest.mark.parametrize(
    ("room", "extra"),
    [
        ("config_management", "config"),
        ("config_management", "analytics"),
        ("plugins", "plugins"),
        ("bot", "bot"),
        ("edge_runtime", "edge"),
        ("examples", "demo"),
    ],
)
def test_a_readme_says_why_each_dependency_is_there(room: str, extra: str) -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    names = {Requirement(text).name for text in project["optional-dependencies"][extra]} - {project["name"]}
    reasons = (ROOT / room / "README.md").read_text("utf-8").partition("\n## Dependencies\n")[2].partition("\n## ")[0]
    assert {name for name in names if not re.search(rf"(?i)\b{re.escape(name)}\b", reasons)} == set()


def test_every_link_of_a_page_leads_somewhere() -> None:
    gone = []
    for name in files():
        if name.endswith(".md"):
            text = (ROOT / name).read_text("utf-8")
            targets = {
                target.partition("#")[0] for target in re.findall(r"\]\(([^)\s]+)\)", text) if "://" not in target
            }
            gone += [f"{name}: {target}" for target in sorted(targets) if not ((ROOT / name).parent / target).exists()]
    assert gone == []


def make_targets() -> dict[str, str]:
    """The targets of the Makefile, each with its line of help."""
    return dict(re.findall(r"^([a-z]+):.*## (.+)$", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE))


def test_every_make_target_has_a_line_of_help() -> None:
    phony = re.search(r"^\.PHONY: (.*)$", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE)
    assert phony is not None
    assert set(phony[1].split()) == set(make_targets())


def test_every_make_command_in_the_documents_exists() -> None:
    documents = [name for name in files() if name.endswith(".md")]
    named = {
        (name, target)
        for name in documents
        for target in re.findall(r"(?:^|`)make (?:-s )?([a-z]+)", (ROOT / name).read_text("utf-8"), re.MULTILINE)
    }
    assert {(name, target) for name, target in named if target not in make_targets()} == set()
