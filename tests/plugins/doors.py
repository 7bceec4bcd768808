"""The doors of the compiler, each as a function from the files of a fleet to the objects of every group.

Objects are compared as design has it: canonical JSON, sorted by apiVersion, kind, namespace and name.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from typing import Any, TypeAlias

import yaml

from tests.plugins.krm.resource_lists import config_map, resource_list
from trimtab_config.compilation import FleetCompiler
from trimtab_kernel.canonical import canonical_json
from trimtab_plugins.archives import read_archive
from trimtab_plugins.argocd.checkout import FleetFiles
from trimtab_plugins.argocd.parameters import Wish
from trimtab_plugins.argocd.progress import Progress
from trimtab_plugins.argocd.rendering import FleetRenderer
from trimtab_plugins.flux.kinds import read_fleet_artifact
from trimtab_plugins.flux.releases import build_releases
from trimtab_plugins.krm.function import run_function
from trimtab_plugins.oci.artifact import Origin, build_artifact, read_manifest, unpack_layer
from trimtab_plugins.sync.rendering import render_fleet

Files: TypeAlias = Mapping[str, bytes]
Objects: TypeAlias = dict[str, list[bytes]]
GROUP = "fleet.apexlogic.ai/group"


def parsed(stream: str | bytes) -> list[Any]:
    """The objects of a YAML stream, read by a reader that is not ours."""
    return list(yaml.load_all(stream, Loader=yaml.CSafeLoader))


def compared(items: Iterable[Mapping[str, Any]]) -> list[bytes]:
    """The form in which objects of different doors are held against each other."""

    def place(item: Mapping[str, Any]) -> tuple[str, str, str, str]:
        metadata = item["metadata"]
        return item["apiVersion"], item["kind"], metadata.get("namespace", ""), metadata["name"]

    return [canonical_json(item) for item in sorted(items, key=place)]


def render_streams(files: Files) -> dict[str, bytes]:
    """The bytes of every group by ``trimtab render``'s way: what the doors that write files must share."""
    return {name: group.stream for name, group in FleetCompiler().open(files).render_all().items()}


def sync_streams(files: Files) -> dict[str, bytes]:
    return {name: group.manifests for name, group in render_fleet(files).items()}


def external_artifact_streams(files: Files) -> dict[str, bytes]:
    item = {
        "apiVersion": "fleet.apexlogic.ai/v1alpha1",
        "kind": "FleetArtifact",
        "metadata": {"namespace": "n", "name": "f", "uid": "u", "generation": 1, "resourceVersion": "1"},
        "spec": {"sourceRef": {"kind": "GitRepository", "name": "fleet"}},
    }
    releases = build_releases(files, read_fleet_artifact(item), FleetCompiler())
    return {name: read_archive(release.archive)["manifests.yaml"] for name, release in releases.items()}


def oci_streams(files: Files) -> dict[str, bytes]:
    found = {}
    for name, stream in render_streams(files).items():
        artifact = build_artifact(name, {"manifests.yaml": stream}, Origin())
        found[name] = unpack_layer(read_manifest(artifact.manifest), artifact.layer)["manifests.yaml"]
    return found


def plugin_objects(files: Files, groups: Iterable[str]) -> Objects:
    """What the native server and exec mode share; their processes and sockets are the lab's business."""
    renderer = FleetRenderer()
    given = FleetFiles(dict(files), ())
    return {
        group: [text.encode() for text in renderer.render(given, Wish(group), "", Progress(time.monotonic)).manifests]
        for group in groups
    }


def function_objects(files: Files) -> Objects:
    answer = run_function(resource_list(files, config_map()).encode())
    assert answer.problems == ()
    return by_group(parsed(answer.output)[0]["items"])


def by_group(items: Iterable[Mapping[str, Any]]) -> Objects:
    """Objects that came together, told apart by the label that each of them has."""
    groups: dict[str, list[Mapping[str, Any]]] = {}
    for item in items:
        groups.setdefault(item["metadata"]["labels"][GROUP], []).append(item)
    return {name: compared(found) for name, found in groups.items()}
