"""What the charts hold beside their templates, without helm; the lab renders and applies them."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[2]
HELM = ROOT / "helm"
CHARTS = sorted(path.parent for path in HELM.glob("*/Chart.yaml"))


def test_the_chart_brings_the_plugin_file_that_the_plugin_is_tested_with() -> None:
    """A chart cannot reach outside of its folder, so it has a copy."""
    assert (HELM / "trimtab/files/plugin.yaml").read_bytes() == (ROOT / "plugins/argocd/plugin.yaml").read_bytes()


@pytest.mark.parametrize("chart", CHARTS, ids=lambda path: path.name)
def test_the_chart_is_of_the_version_of_the_project(chart: Path) -> None:
    meta = yaml.safe_load((chart / "Chart.yaml").read_text("utf-8"))
    [version] = re.findall(r'^version = "([^"]+)"$', (ROOT / "pyproject.toml").read_text("utf-8"), re.MULTILINE)
    assert meta["name"] == chart.name
    assert (meta["version"], meta["appVersion"]) == (version, version)


@pytest.mark.parametrize("chart", CHARTS, ids=lambda path: path.name)
def test_the_readme_names_every_value_of_the_first_two_levels(chart: Path) -> None:
    values = yaml.safe_load((chart / "values.yaml").read_text("utf-8"))
    text = (chart / "README.md").read_text("utf-8")
    named = set(re.findall(r"`([A-Za-z.]+)`", text))
    missing = []
    for name, value in values.items():
        if not isinstance(value, dict) or name in named:
            missing += [] if name in named else [name]
            continue
        # Either by its place or, for what every part has, by its own name.
        missing += [f"{name}.{below}" for below in value if not {f"{name}.{below}", below} & named]
    assert missing == []


@pytest.mark.parametrize("file", sorted((HELM / "images").glob("*.Containerfile")), ids=lambda path: path.name)
def test_an_image_copies_what_there_is_and_runs_without_rights(file: Path) -> None:
    text = file.read_text("utf-8")
    for source in re.findall(r"^COPY (?!--from)(.+) \S+$", text, re.MULTILINE):
        for name in source.split():
            assert (ROOT / name).exists(), name
    users = re.findall(r"^USER (\S+)$", text, re.MULTILINE)
    assert users == ["65532:65532"]
    assert text.index("USER 65532") < text.index("ENTRYPOINT")
    installs = [line for line in text.split("RUN ") if "pip install" in line]
    assert all("--require-hashes" in line or "--no-deps" in line for line in installs)
