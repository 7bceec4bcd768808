"""`tools/lab` against a Go that stands in: where programs lie, what is built, and what is said where it cannot be."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "tools/lab"
MODULES = Path(__file__).parents[2] / "tools/lab-modules"
SHELL = shutil.which("sh") or "/bin/sh"
NEEDED = (
    "awk",
    "basename",
    "cat",
    "chmod",
    "cut",
    "date",
    "dirname",
    "flock",
    "grep",
    "mkdir",
    "mktemp",
    "mv",
    "rm",
    "sha256sum",
)
NEEDED_TOO = ("sh", "tail", "uname")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A folder with what the script needs of a platform, Go excepted."""
    programs = tmp_path / "bin"
    programs.mkdir()
    for name in (*NEEDED, *NEEDED_TOO):
        found = shutil.which(name)
        if found is None:
            pytest.skip(f"needs {name}")
        (programs / name).symlink_to(found)
    return programs


def offer_go(path: Path, script: str) -> None:
    (path / "go").write_text(f"#!{SHELL}\n{script}\n", "utf-8")
    (path / "go").chmod(0o755)


# Makes what `go build -o FILE` would; says where the module of `go list` lies.
BUILDS = """
case $1 in
    build) while [ "$1" != -o ]; do shift; done; echo "#!/bin/sh" > "$2"; chmod 755 "$2"; echo built >> "$COUNT" ;;
    list) echo "$MODULE" ;;
esac
"""


def lab(path: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {
        "PATH": str(path),
        "XDG_CACHE_HOME": str(path.parent / "cache"),
        "COUNT": str(path.parent / "count"),
        "MODULE": str(path.parent / "module"),
    }
    command = [SHELL, str(SCRIPT), *arguments]
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=False)


def test_a_missing_program_is_built_once_and_lies_where_the_path_says(path: Path) -> None:
    offer_go(path, BUILDS)
    first = lab(path, "build", "kustomize")
    assert first.returncode == 0
    assert first.stdout.startswith("kustomize v5.7.1: built in ")
    again = lab(path, "build", "kustomize")
    assert again.stdout == "kustomize v5.7.1: there\n"
    assert (path.parent / "count").read_text() == "built\n"
    assert os.access(lab(path, "path", "kustomize").stdout.strip(), os.X_OK)


def test_the_definitions_of_a_program_are_kept_beside_it(path: Path) -> None:
    offer_go(path, BUILDS)
    definitions = path.parent / "module/config/crd/bases"
    definitions.mkdir(parents=True)
    (definitions / "a.yaml").write_text("kind: CustomResourceDefinition\n")
    assert lab(path, "build", "kustomize-controller").returncode == 0
    place = Path(lab(path, "path", "kustomize-controller").stdout.strip()).parent
    assert (place / "crds/a.yaml").read_text() == "kind: CustomResourceDefinition\n"


def test_without_go_it_says_what_is_missing(path: Path) -> None:
    result = lab(path, "build", "helm", "opa")
    assert result.returncode == 3
    assert "helm v3.18.6: needs go" in result.stderr
    assert "opa v1.22.2: needs go" in result.stderr


def test_a_build_that_fails_leaves_nothing_and_the_others_are_built(path: Path) -> None:
    offer_go(path, 'case "$*" in *helm*) echo "no room left" >&2; exit 1 ;; esac' + BUILDS)
    result = lab(path, "build", "helm", "kustomize")
    assert result.returncode == 3
    assert "no room left" in result.stderr
    assert "kustomize v5.7.1: built in" in result.stdout
    made = {item.name.partition("-")[0] for item in (path.parent / "cache/trimtab/lab").iterdir() if item.is_dir()}
    assert made == {"kustomize"}


def test_a_name_that_it_does_not_know_is_an_error_of_usage(path: Path) -> None:
    result = lab(path, "path", "kubelet")
    assert result.returncode == 64
    assert "there are: opa helm kustomize" in result.stderr


def test_every_module_belongs_to_a_program_and_has_its_hashes(path: Path) -> None:
    names = lab(path, "names").stdout.split()
    modules = {name for name in names if not name.startswith("kube-")} | {"kubernetes"}
    assert {folder.name for folder in MODULES.iterdir()} == modules
    assert all((MODULES / name / "go.sum").stat().st_size > 0 for name in modules)
