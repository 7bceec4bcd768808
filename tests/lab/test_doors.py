"""One golden corpus, six doors, the same objects: each door as its own program, over its own wire."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml

from tests.golden import CASES
from tests.lab.registry import Registry
from tests.plugins.argocd.test_exec import run as run_exec
from tests.plugins.argocd.wire import Server, fleet_files, parameters, request, serving, tgz
from tests.plugins.doors import by_group, compared, external_artifact_streams, parsed
from tests.plugins.krm.resource_lists import config_map
from tests.repositories import ScratchRepository
from trimtab_config.sources.folder import load_folder

pytestmark = [pytest.mark.lab, pytest.mark.timeout(900)]

ROOT = CASES.parents[1]
TRIMTAB = Path(sys.executable).with_name("trimtab")
KUSTOMIZE_MARK = "config.kubernetes.io/origin"


@dataclass(frozen=True, slots=True)
class Golden:
    """A fleet of the corpus, and the stream that each of its groups must get."""

    name: str
    folder: Path
    streams: dict[str, bytes]

    @property
    def objects(self) -> dict[str, list[bytes]]:
        """What all doors are held against."""
        return {group: compared(parsed(stream)) for group, stream in self.streams.items()}


def golden(case: Path) -> Golden:
    expected = case / "expected"
    found = {path.parent.name: path.read_bytes() for path in sorted(expected.glob("*/manifests.yaml"))}
    return Golden(case.name, case / "input", found)


# Fleets of which every group renders: doors that deliver a whole fleet do so all or nothing.
CORPUS = [
    golden(case)
    for case in sorted((CASES / "render").iterdir())
    if (case / "expected").is_dir() and not (case / "expected/problems.txt").exists()
]


def trimtab(*arguments: object) -> bytes:
    command = [str(TRIMTAB), *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr.decode()
    return done.stdout


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """The native plugin server."""
    with serving(tmp_path_factory.mktemp("plugin")) as running:
        yield running


@pytest.fixture(params=CORPUS, ids=lambda case: case.name)
def case(request: pytest.FixtureRequest) -> Golden:
    found: Golden = request.param
    return found


def test_the_corpus_is_a_corpus() -> None:
    assert len(CORPUS) >= 4
    assert sum(len(case.streams) for case in CORPUS) >= 8


def test_render_gives_the_golden_bytes(case: Golden) -> None:
    for group, stream in case.streams.items():
        assert trimtab("render", case.folder, "--group", group) == stream


def test_oci_gives_the_golden_bytes(case: Golden, registry: Registry, tmp_path: Path) -> None:
    """Pushed from a commit into a real registry, pulled again."""
    repository = ScratchRepository.create(tmp_path / "r.git")
    repository.commit(load_folder(case.folder), branch="main")
    address = f"oci://{registry.address}/doors/{case.name}"
    trimtab("artifact", "push", f"{address}:t", "--repo", repository.path, "--all")
    for group, stream in case.streams.items():
        trimtab("artifact", "pull", f"{address}/{group}:t", "--output", tmp_path / group)
        assert {path.name: path.read_bytes() for path in (tmp_path / group).iterdir()} == {"manifests.yaml": stream}


def test_external_artifact_gives_the_golden_bytes(case: Golden) -> None:
    """The archive that the Flux controller serves; test_flux_cluster follows it into a cluster."""
    assert external_artifact_streams(load_folder(case.folder)) == case.streams


def test_sync_gives_the_golden_bytes(case: Golden, tmp_path: Path) -> None:
    repository = ScratchRepository.create(tmp_path / "r.git")
    repository.commit(load_folder(case.folder), branch="main")
    trimtab("sync", "--repo", repository.path, "--output", tmp_path / "out", "--once")
    found = {path.parent.name: path.read_bytes() for path in (tmp_path / "out").glob("*/manifests.yaml")}
    assert found == case.streams


def test_the_native_plugin_gives_the_golden_objects(case: Golden, server: Server) -> None:
    """Over gRPC, as repo-server calls it."""
    archive = tgz(fleet_files(case.folder, "clusters/fleet/"))
    with server.caller() as caller:
        for group, objects in case.objects.items():
            answer = caller.generate(request(archive, "clusters/fleet", group=group))
            assert compared(json.loads(text) for text in answer) == objects


def test_exec_mode_gives_the_golden_objects(case: Golden, tmp_path: Path) -> None:
    """In a checkout, as the stock server runs it."""
    shutil.copytree(case.folder, tmp_path / "fleet")
    for group, objects in case.objects.items():
        done = run_exec(tmp_path / "fleet", {"ARGOCD_APP_PARAMETERS": parameters(group=group)})
        assert done.returncode == 0, done.stderr
        assert compared(parsed(done.stdout)) == objects


def test_the_krm_function_gives_the_golden_objects(
    case: Golden, lab_programs: Callable[[str], Path], tmp_path: Path
) -> None:
    """Under kustomize, which adds the annotation that it is asked for, and takes nothing away."""
    files = load_folder(case.folder)
    for name, content in files.items():
        (tmp_path / name).write_bytes(content)
    annotations = {"config.kubernetes.io/function": f"exec: {{path: {ROOT / 'plugins/krm/trimtab-krm'}}}\n"}
    function = {**config_map(), "metadata": {"name": "trimtab", "annotations": annotations}}
    (tmp_path / "function.yaml").write_text(yaml.safe_dump(function))
    kustomization = {
        "resources": sorted(files),
        "transformers": ["function.yaml"],
        "buildMetadata": ["originAnnotations", "transformerAnnotations"],
    }
    (tmp_path / "kustomization.yaml").write_text(yaml.safe_dump(kustomization))
    command = [lab_programs("kustomize"), "build", "--enable-alpha-plugins", "--enable-exec", tmp_path]
    done = subprocess.run(
        [str(part) for part in command],
        env={**os.environ, "TRIMTAB": str(TRIMTAB)},
        capture_output=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr.decode()
    items = parsed(done.stdout)
    for item in items:
        annotations = item["metadata"]["annotations"]
        del annotations[KUSTOMIZE_MARK]
        if not annotations:
            del item["metadata"]["annotations"]
    assert by_group(items) == case.objects
