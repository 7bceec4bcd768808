"""The kind FleetArtifact: its definition, and how an object of it is read."""

from __future__ import annotations

import datetime
from pathlib import Path
from typing import Any

import pytest
import yaml

from trimtab_config.cli import main
from trimtab_config.compilation import Monitoring
from trimtab_kernel.problems import InputError
from trimtab_plugins.flux.definition import FILE, definition, definition_text
from trimtab_plugins.flux.kinds import FleetArtifact, SourceKind, read_fleet_artifact

ROOT = Path(__file__).parents[3]


def item(**spec: object) -> dict[str, Any]:
    return {
        "apiVersion": "fleet.apexlogic.ai/v1alpha1",
        "kind": "FleetArtifact",
        "metadata": {"namespace": "flux-system", "name": "fleet", "uid": "u-1", "generation": 3},
        "spec": {"sourceRef": {"kind": "GitRepository", "name": "fleet"}, **spec},
    }


def problems(**spec: object) -> str:
    with pytest.raises(InputError) as caught:
        read_fleet_artifact(item(**spec))
    return str(caught.value)


def test_the_committed_definition_is_current() -> None:
    """`trimtab flux-controller --print-crd > helm/trimtab/crds/fleetartifacts.yaml` writes it anew."""
    assert (ROOT / "helm/trimtab/crds" / FILE).read_text("utf-8") == definition_text()


def test_the_command_prints_the_definition(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["flux-controller", "--print-crd"]) == 0
    assert yaml.safe_load(capsys.readouterr().out) == definition()


def test_what_is_left_out_has_defaults() -> None:
    read = read_fleet_artifact(item())
    assert read == FleetArtifact("flux-system", "fleet", "u-1", 3, read.spec)
    assert read.spec.source_ref.kind is SourceKind.GIT
    assert (read.folder, read.spec.interval, read.spec.history) == ("", datetime.timedelta(minutes=10), 5)
    assert read.spec.groups.selects("any", {})


def test_every_field_is_read() -> None:
    read = read_fleet_artifact(
        item(
            path="./clusters/fleet/",
            groups={"matchLabels": {"region": "EMEA"}, "names": ["one", "two"]},
            render={"priceBook": "book", "monitoring": "operator"},
            interval="1m30s",
            history=2,
            suspend=True,
        )
    )
    assert read.folder == "clusters/fleet"
    assert read.spec.render.monitoring is Monitoring.OPERATOR
    assert read.spec.render.price_book == "book"
    assert read.spec.interval == datetime.timedelta(seconds=90)
    assert read.spec.suspend
    assert read.spec.groups.selects("one", {"region": "EMEA", "more": "x"})
    assert not read.spec.groups.selects("one", {"region": "US"})
    assert not read.spec.groups.selects("three", {"region": "EMEA"})


@pytest.mark.parametrize("path", ["/fleet", "../fleet", "a/../b", "a\\b", "..", "a/.."])
def test_a_path_that_leaves_the_source_is_refused(path: str) -> None:
    assert 'FleetArtifact/flux-system/fleet spec.path: A403 got "' in problems(path=path)


def test_problems_name_object_and_field() -> None:
    assert "FleetArtifact/flux-system/fleet spec.intervall: F105" in problems(intervall="1m")
    assert "spec.interval: A403 got 0s, expected at least 1s" in problems(interval="0s")
    assert "spec.sourceRef.kind" in problems(sourceRef={"kind": "HelmChart", "name": "x"})


def test_no_other_namespace_can_be_named() -> None:
    assert "spec.sourceRef.namespace: F105" in problems(
        sourceRef={"kind": "Bucket", "name": "x", "namespace": "kube-system"}
    )
    [version] = definition()["spec"]["versions"]
    reference = version["schema"]["openAPIV3Schema"]["properties"]["spec"]["properties"]["sourceRef"]
    assert set(reference["properties"]) == {"kind", "name"}
