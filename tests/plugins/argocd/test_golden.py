"""The golden cases through both modes: the objects of `expected`, and in exec mode its very bytes."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from tests import golden
from tests.plugins.argocd.wire import Server, fleet_files, parameters, request, serving, tgz
from trimtab_config.compilation import Monitoring
from trimtab_kernel.canonical import canonical_json
from trimtab_plugins.argocd.generation import generate

GROUPS = [path for case in golden.cases("render") for path in sorted(case.glob("expected/*/manifests.yaml"))]


def name(path: Path) -> str:
    return f"{path.parents[2].name}-{path.parent.name}"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with serving(tmp_path_factory.mktemp("plugins")) as running:
        yield running


@pytest.mark.parametrize("expected", GROUPS, ids=name)
def test_the_native_server_gives_the_golden_objects(server: Server, expected: Path) -> None:
    files = fleet_files(expected.parents[2] / "input", "deep/fleet/")
    with server.caller() as caller:
        got = caller.generate(request(tgz(files), "deep/fleet", group=expected.parent.name))
    assert got == [canonical_json(item).decode() for item in yaml.safe_load_all(expected.read_text("utf-8"))]


@pytest.mark.parametrize("expected", GROUPS, ids=name)
def test_exec_mode_gives_the_golden_bytes(expected: Path) -> None:
    environment = {"ARGOCD_APP_PARAMETERS": parameters(group=expected.parent.name)}
    assert generate(expected.parents[2] / "input", environment, Monitoring.ANNOTATIONS) == expected.read_bytes()
