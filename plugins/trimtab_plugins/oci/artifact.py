"""The artifact of one device group, as bytes; and the reading of one, whoever pushed it. Pure.

One layer, because Argo CD takes exactly one and Flux the first; of the image-layer type, because Argo CD's list of allowed
types has that and not Flux's own; with Flux's config type, by which its tools list and show the artifact.
"""

from __future__ import annotations

import gzip
import hashlib
import json
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from trimtab_kernel.canonical import canonical_json
from trimtab_kernel.problems import InputError, Problem, TrustError, quoted
from trimtab_kernel.vocabulary import FLEET_GROUP
from trimtab_plugins.archives import ArchiveLimits, read_archive, write_archive

if TYPE_CHECKING:
    from collections.abc import Mapping

MANIFEST_TYPE = "application/vnd.oci.image.manifest.v1+json"
CONFIG_TYPE = "application/vnd.cncf.flux.config.v1+json"
LAYER_TYPE = "application/vnd.oci.image.layer.v1.tar+gzip"
READABLE_LAYERS = (LAYER_TYPE, "application/vnd.cncf.flux.content.v1.tar+gzip")
SOURCE = "org.opencontainers.image.source"
REVISION = "org.opencontainers.image.revision"
CREATED = "org.opencontainers.image.created"
TITLE = "org.opencontainers.image.title"
MAX_MANIFEST = 4 * 1024 * 1024  # what the distribution specification asks registries to take
LIMITS = ArchiveLimits()


@dataclass(frozen=True, slots=True)
class Origin:
    """Where the manifests come from. All may be empty; ``created`` is the time of the commit, never that of the push."""

    source: str = ""
    revision: str = ""
    created: datetime | None = None


@dataclass(frozen=True, slots=True)
class Descriptor:
    """A blob: its type, digest and size in bytes."""

    media_type: str
    digest: str
    size: int

    def as_dict(self) -> dict[str, str | int]:
        """As it stands in a manifest."""
        return {"digest": self.digest, "mediaType": self.media_type, "size": self.size}


@dataclass(frozen=True, slots=True)
class Artifact:
    """Everything that is pushed for one group. ``config`` depends on the unpacked layer alone, not on its compression."""

    layer: bytes
    config: bytes
    manifest: bytes

    @property
    def digest(self) -> str:
        """Of the manifest: what a tag points to."""
        return digest_of(self.manifest)

    @property
    def layer_descriptor(self) -> Descriptor:
        """Of the layer."""
        return Descriptor(LAYER_TYPE, digest_of(self.layer), len(self.layer))

    @property
    def config_descriptor(self) -> Descriptor:
        """Of the config."""
        return Descriptor(CONFIG_TYPE, digest_of(self.config), len(self.config))


@dataclass(frozen=True, slots=True)
class Held:
    """What a manifest in a registry says."""

    digest: str
    config: Descriptor
    layer: Descriptor
    annotations: Mapping[str, str]

    @property
    def revision(self) -> str:
        """Of the commit that last changed the content; "" where nobody said."""
        return self.annotations.get(REVISION, "")


def digest_of(content: bytes) -> str:
    """``sha256:`` and hex digits."""
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


def build_artifact(group: str, files: Mapping[str, bytes], origin: Origin) -> Artifact:
    """The artifact of ``files``, by path; equal arguments give equal bytes."""
    layer = write_archive(files)
    config = canonical_json(
        {
            "architecture": "",
            "config": {},
            "os": "",
            "rootfs": {"diff_ids": [digest_of(gzip.decompress(layer))], "type": "layers"},
        }
    )
    made = Artifact(layer, config, b"")
    annotations = {FLEET_GROUP: group, TITLE: group}
    if origin.source:
        annotations[SOURCE] = origin.source
    if origin.revision:
        annotations[REVISION] = origin.revision
    if origin.created is not None:
        annotations[CREATED] = origin.created.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    manifest = canonical_json(
        {
            "annotations": annotations,
            "config": made.config_descriptor.as_dict(),
            "layers": [made.layer_descriptor.as_dict()],
            "mediaType": MANIFEST_TYPE,
            "schemaVersion": 2,
        }
    )
    return Artifact(layer, config, manifest)


def read_manifest(content: bytes) -> Held:
    """What a manifest says. Raises InputError (A307) for anything but an artifact of one layer of manifests."""
    try:
        said: Any = json.loads(content)
    except (ValueError, RecursionError):
        raise _foreign("no JSON", "an OCI image manifest") from None
    if not isinstance(said, dict) or said.get("mediaType", MANIFEST_TYPE) != MANIFEST_TYPE:
        got = quoted(said.get("mediaType")) if isinstance(said, dict) else "another JSON value"
        raise _foreign(got, f'mediaType "{MANIFEST_TYPE}"')
    layers = said.get("layers")
    if not isinstance(layers, list) or len(layers) != 1:
        got = f"{len(layers)} layers" if isinstance(layers, list) else "no list of layers"
        raise _foreign(got, "exactly one")
    layer = _descriptor(layers[0])
    if layer.media_type not in READABLE_LAYERS:
        raise _foreign(f"a layer of type {quoted(layer.media_type)}", " or ".join(READABLE_LAYERS))
    annotations = said.get("annotations") or {}
    if not isinstance(annotations, dict) or not all(isinstance(value, str) for value in annotations.values()):
        raise _foreign("annotations that are no text", "text by name")
    return Held(digest_of(content), _descriptor(said.get("config")), layer, annotations)


def unpack_layer(held: Held, content: bytes) -> dict[str, bytes]:
    """The files of a layer. Raises TrustError (A308) where it is not what the manifest names, InputError (A30x)."""
    got = digest_of(content)
    if (got, len(content)) != (held.layer.digest, held.layer.size):
        raise TrustError(
            "A308",
            f"the layer that came is {got} of {len(content)} bytes, the manifest names {held.layer.digest} of "
            f"{held.layer.size}; nothing was kept",
        )
    return read_archive(content, LIMITS)


def holds(held: Held, artifact: Artifact) -> bool:
    """Whether the manifest in the registry names these very files, as the same bytes."""
    return held.layer == artifact.layer_descriptor and held.config == artifact.config_descriptor


def may_hold(held: Held, artifact: Artifact) -> bool:
    """Whether it names the same files, by its own word, in other bytes (another zlib). The layer then decides."""
    return held.config == artifact.config_descriptor and held.layer.media_type == LAYER_TYPE


def _descriptor(value: object) -> Descriptor:
    if isinstance(value, dict):
        media_type, digest, size = value.get("mediaType"), value.get("digest"), value.get("size")
        if (
            isinstance(media_type, str)
            and isinstance(digest, str)
            and digest.startswith("sha256:")
            and len(digest) == len("sha256:") + 64
            and not digest[7:].strip("0123456789abcdef")
            and isinstance(size, int)
            and not isinstance(size, bool)
            and size >= 0
        ):
            return Descriptor(media_type, digest, size)
    raise _foreign("a descriptor that is none", "mediaType, a SHA-256 digest and a size")


def _foreign(got: str, expected: str) -> InputError:
    return InputError(Problem("A307", got=got, expected=expected))
