"""The artifact as bytes: the same for the same objects, in the form that Flux and Argo CD both take."""

from __future__ import annotations

import gzip
import hashlib
import json
from dataclasses import replace
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trimtab_kernel.problems import InputError, TrustError
from trimtab_plugins.archives import write_archive
from trimtab_plugins.oci.artifact import Artifact, Origin, build_artifact, holds, may_hold, read_manifest, unpack_layer

AT = datetime(2026, 11, 1, 12, 1, tzinfo=UTC)
FILES = {"manifests.yaml": b"kind: ConfigMap\n"}
ORIGIN = Origin("https://example.org/fleet.git", "main@sha1:0123", AT)


def test_the_form_is_what_both_hosts_take() -> None:
    """Argo CD: one content layer of an allowed type. Flux: the first layer, its config type, its three annotations."""
    artifact = build_artifact("kiosks", FILES, ORIGIN)
    manifest = json.loads(artifact.manifest)
    assert manifest["schemaVersion"] == 2
    assert manifest["mediaType"] == "application/vnd.oci.image.manifest.v1+json"
    assert manifest["config"]["mediaType"] == "application/vnd.cncf.flux.config.v1+json"
    assert [layer["mediaType"] for layer in manifest["layers"]] == ["application/vnd.oci.image.layer.v1.tar+gzip"]
    assert manifest["layers"][0]["digest"] == "sha256:" + hashlib.sha256(artifact.layer).hexdigest()
    assert manifest["annotations"] == {
        "fleet.apexlogic.ai/group": "kiosks",
        "org.opencontainers.image.created": "2026-11-01T12:01:00Z",
        "org.opencontainers.image.revision": "main@sha1:0123",
        "org.opencontainers.image.source": "https://example.org/fleet.git",
        "org.opencontainers.image.title": "kiosks",
    }
    inside = hashlib.sha256(gzip.decompress(artifact.layer)).hexdigest()
    assert json.loads(artifact.config)["rootfs"] == {"type": "layers", "diff_ids": [f"sha256:{inside}"]}


def test_what_nobody_said_is_not_there() -> None:
    annotations = json.loads(build_artifact("kiosks", FILES, Origin()).manifest)["annotations"]
    assert set(annotations) == {"fleet.apexlogic.ai/group", "org.opencontainers.image.title"}


@given(
    st.binary(max_size=3000),
    st.binary(max_size=3000),
    st.sampled_from([ORIGIN, Origin(), replace(ORIGIN, revision="x")]),
)
def test_equal_files_give_an_equal_layer_whatever_the_origin(first: bytes, second: bytes, origin: Origin) -> None:
    made, again = build_artifact("g", {"m": first}, ORIGIN), build_artifact("g", {"m": bytes(first)}, origin)
    other = build_artifact("g", {"m": second}, origin)
    assert (made.layer, made.config) == (again.layer, again.config)
    assert (made.layer == other.layer) == (made.config == other.config) == (first == second)


def recompressed(artifact: Artifact, level: int) -> Artifact:
    """As another zlib would have written it: the same files and config, another layer."""
    layer = gzip.compress(gzip.decompress(artifact.layer), level, mtime=0)
    manifest = json.loads(artifact.manifest)
    manifest["layers"] = [replace(artifact, layer=layer).layer_descriptor.as_dict()]
    return Artifact(layer, artifact.config, json.dumps(manifest).encode())


def test_another_zlib_changes_the_layer_and_not_the_config() -> None:
    made = build_artifact("g", {"m": b"abc" * 5000}, ORIGIN)
    other = recompressed(made, 1)
    held = read_manifest(other.manifest)
    assert other.layer != made.layer
    assert not holds(held, made)
    assert may_hold(held, made)
    assert unpack_layer(held, other.layer) == {"m": b"abc" * 5000}


def test_a_layer_that_is_not_what_the_manifest_names_is_not_unpacked() -> None:
    made = build_artifact("g", FILES, ORIGIN)
    held = read_manifest(made.manifest)
    for layer in (write_archive({"manifests.yaml": b"kind: Secret\n"}), made.layer[:-1], made.layer + b"\0", b""):
        with pytest.raises(TrustError, match="A308"):
            unpack_layer(held, layer)


def damaged(**changes: object) -> bytes:
    manifest = json.loads(build_artifact("g", FILES, ORIGIN).manifest)
    manifest.update(changes)
    return json.dumps(manifest).encode()


LAYER = json.loads(build_artifact("g", FILES, ORIGIN).manifest)["layers"][0]
FOREIGN = {
    "no JSON": b"{",
    "a list": b"[]",
    "nested without end": b"[" * 100_000,
    "an index": damaged(mediaType="application/vnd.oci.image.index.v1+json"),
    "no layer": damaged(layers=[]),
    "two layers": damaged(layers=[LAYER, LAYER]),
    "layers that are none": damaged(layers="x"),
    "a layer of another type": damaged(layers=[LAYER | {"mediaType": "application/vnd.oci.image.layer.v1.tar+zstd"}]),
    "a layer without a size": damaged(layers=[{"mediaType": LAYER["mediaType"], "digest": LAYER["digest"]}]),
    "a negative size": damaged(layers=[LAYER | {"size": -1}]),
    "a size that is a truth": damaged(layers=[LAYER | {"size": True}]),
    "another digest": damaged(layers=[LAYER | {"digest": "md5:00"}]),
    "a digest with a path": damaged(layers=[LAYER | {"digest": "sha256:" + "../" * 21 + "x"}]),
    "annotations that are no text": damaged(annotations={"a": 1}),
    "no config": damaged(config=None),
}


@pytest.mark.parametrize("case", FOREIGN)
def test_what_is_not_an_artifact_of_manifests_is_refused(case: str) -> None:
    with pytest.raises(InputError, match="A307"):
        read_manifest(FOREIGN[case])
