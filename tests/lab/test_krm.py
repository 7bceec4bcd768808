"""The KRM function under a real kustomize, and as a container that runc runs."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.lab.images import ROOT, Images, make_wheels, run_container
from tests.plugins.krm.resource_lists import config_map, resource_list
from trimtab_config.compilation import FleetCompiler
from trimtab_config.sources.folder import load_folder

pytestmark = [pytest.mark.lab, pytest.mark.timeout(900)]

FLEET = load_folder(ROOT / "examples/fleet")
FUNCTION = ROOT / "plugins/krm/trimtab-krm"
TRIMTAB = Path(sys.executable).with_name("trimtab")
OTHER = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: other}\ndata: {a: 'yes'}\n"


@pytest.fixture
def kustomize(lab_programs: Callable[[str], Path]) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Runs ``kustomize build`` with functions as programs."""
    program = lab_programs("kustomize")

    def build(folder: Path, *more: str) -> subprocess.CompletedProcess[str]:
        command: list[str | Path] = [program, "build", "--enable-alpha-plugins", "--enable-exec", *more, folder]
        environment = {**os.environ, "TRIMTAB": str(TRIMTAB)}
        return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300, check=False)

    return build


def folder_of(
    path: Path, field: str, function: Mapping[str, Any], files: Mapping[str, bytes] = FLEET, **more: object
) -> Path:
    """A fleet, a ConfigMap of somebody else's, and the function under ``field`` of a kustomization."""
    for name, content in {**files, "other.yaml": OTHER.encode()}.items():
        (path / name).parent.mkdir(parents=True, exist_ok=True)
        (path / name).write_bytes(content)
    annotations = {"config.kubernetes.io/function": f"exec: {{path: {FUNCTION}}}\n"}
    (path / "function.yaml").write_text(
        yaml.safe_dump({**function, "metadata": {"name": "trimtab", "annotations": annotations}})
    )
    resources = [] if field == "generators" else [*sorted(files), "other.yaml"]
    (path / "kustomization.yaml").write_text(yaml.safe_dump({"resources": resources, field: ["function.yaml"], **more}))
    return path


def objects(text: str) -> list[str]:
    found = yaml.load_all(text, Loader=yaml.CSafeLoader)
    return sorted(json.dumps(item, sort_keys=True) for item in found)


def rendered(*groups: str) -> list[str]:
    fleet = FleetCompiler().open(FLEET)
    texts = [text for group in groups or fleet.groups for text in fleet.render(group).manifests]
    return sorted(json.dumps(json.loads(text), sort_keys=True) for text in texts)


def test_a_transformer_makes_the_objects_that_render_gives(
    kustomize: Callable[..., subprocess.CompletedProcess[str]], tmp_path: Path
) -> None:
    done = kustomize(folder_of(tmp_path, "transformers", config_map()))
    assert done.returncode == 0, done.stderr
    assert objects(done.stdout) == sorted([*rendered(), *objects(OTHER)])


def test_kustomize_adds_its_own_annotations_and_no_others(
    kustomize: Callable[..., subprocess.CompletedProcess[str]], tmp_path: Path
) -> None:
    marks = ["originAnnotations", "transformerAnnotations"]
    done = kustomize(folder_of(tmp_path, "transformers", config_map(groups="cam-emea"), buildMetadata=marks))
    assert done.returncode == 0, done.stderr
    added = set()
    stripped = []
    for item in yaml.load_all(done.stdout, Loader=yaml.CSafeLoader):
        annotations = item["metadata"].get("annotations", {})
        theirs = {name for name in annotations if name.partition("/")[0].endswith("config.kubernetes.io")}
        added |= theirs
        for name in theirs:
            del annotations[name]
        if not annotations:
            item["metadata"].pop("annotations", None)
        stripped.append(json.dumps(item, sort_keys=True))
    assert added == {"config.kubernetes.io/origin", "alpha.config.kubernetes.io/transformations"}
    assert sorted(stripped) == sorted([*rendered("cam-emea"), *objects(OTHER)])


def test_judging_alone_lets_a_sound_fleet_through_as_it_is_and_stops_another(
    kustomize: Callable[..., subprocess.CompletedProcess[str]], tmp_path: Path
) -> None:
    wrong = {**FLEET, "groups/emea.yaml": FLEET["groups/emea.yaml"].replace(b"deviceCount:", b"deviceCuont:", 1)}
    sound = kustomize(folder_of(tmp_path / "sound", "transformers", config_map(validate_only="true")))
    assert sound.returncode == 0, sound.stderr
    plain = folder_of(tmp_path / "plain", "transformers", config_map())
    (plain / "kustomization.yaml").write_text(yaml.safe_dump({"resources": [*sorted(FLEET), "other.yaml"]}))
    assert sound.stdout == kustomize(plain).stdout
    metadata = {"buildMetadata": ["originAnnotations"]}
    function = config_map(validate_only="true")
    stopped = kustomize(folder_of(tmp_path / "wrong", "transformers", function, wrong, **metadata))
    assert stopped.returncode != 0
    assert stopped.stdout == ""
    assert "groups/emea.yaml spec.deviceCuont: F105" in stopped.stderr
    assert 'did you mean "deviceCount"' in stopped.stderr


def test_as_a_validator_kustomize_itself_fails_with_any_function(
    kustomize: Callable[..., subprocess.CompletedProcess[str]], tmp_path: Path
) -> None:
    """kustomize 5.7 takes its own path annotations for a change. Once this test fails, docs/krm.md may promise validators."""
    for number, program in enumerate((FUNCTION, Path("/bin/cat"))):
        folder = folder_of(tmp_path / str(number), "validators", config_map(validate_only="true"))
        text = (folder / "function.yaml").read_text()
        (folder / "function.yaml").write_text(text.replace(str(FUNCTION), str(program)))
        done = kustomize(folder)
        assert done.returncode != 0
        assert "validator shouldn't modify the resource map" in done.stderr


def test_a_generator_is_refused_because_it_gets_no_fleet(
    kustomize: Callable[..., subprocess.CompletedProcess[str]], tmp_path: Path
) -> None:
    done = kustomize(folder_of(tmp_path, "generators", config_map()))
    assert done.returncode != 0
    assert "A503" in done.stderr


def test_the_example_builds(kustomize: Callable[..., subprocess.CompletedProcess[str]]) -> None:
    done = kustomize(ROOT / "examples/kustomize", "--load-restrictor", "LoadRestrictionsNone")
    assert done.returncode == 0, done.stderr
    names = {item["metadata"]["labels"]["fleet.apexlogic.ai/group"] for item in yaml.safe_load_all(done.stdout)}
    assert names == {"kiosk-emea"}


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The image of the tree as it stands, ready to run."""
    directory = tmp_path_factory.mktemp("images")
    wheels = directory / "wheels"
    wheels.mkdir()
    images = Images(directory)
    images.build_base()
    images.build(ROOT / "helm/images/krm.Containerfile", "localhost/trimtab-krm", make_wheels(wheels))
    try:
        yield images.bundle("localhost/trimtab-krm", directory / "bundle")
    finally:
        images.close()


@pytest.mark.parametrize(
    "given",
    [
        resource_list(FLEET),
        resource_list(FLEET, config_map(groups="kiosk-emea"), version="config.kubernetes.io/v1beta1", more=[OTHER]),
        resource_list(FLEET, config_map(groups="kiosk-emeA")),
        "kind: List\n",
    ],
    ids=["the whole fleet", "one group", "an unknown group", "no ResourceList"],
)
def test_the_container_answers_as_the_program_does_byte_for_byte(
    bundle: Path, given: str, request: pytest.FixtureRequest
) -> None:
    """Without a network, a writable file system, a right, or a user that anybody knows."""
    program = subprocess.run([TRIMTAB, "krm"], input=given.encode(), capture_output=True, timeout=300, check=False)
    name = f"krm-{os.getpid()}-{abs(hash(request.node.name))}"
    container = run_container(bundle, name, given.encode())
    assert container.stderr == program.stderr
    assert container.stdout == program.stdout
    assert container.returncode == program.returncode
