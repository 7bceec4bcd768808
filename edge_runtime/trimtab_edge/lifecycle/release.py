"""One release: the variant of a version that this device was told to run."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from trimtab_edge.settings import ModelDescription

if TYPE_CHECKING:
    from trimtab_kernel.desired import Artifact, DesiredModel
    from trimtab_kernel.identity import Digest


@dataclass(frozen=True, slots=True)
class Release:
    """Version and bytes, and what is said about them. ``size`` in bytes, 0 where it is not declared."""

    version: str
    digest: Digest
    size: int
    format: str
    uri: str
    description: ModelDescription

    @property
    def identity(self) -> tuple[str, Digest]:
        """What makes two releases the same for a device: descriptions may change without an update."""
        return (self.version, self.digest)


def release_of(model: DesiredModel, artifact: Artifact) -> Release:
    """The release that ``artifact`` of ``model`` is."""
    description = ModelDescription(
        digest=artifact.digest,
        tier=artifact.tier,
        format=artifact.format,
        quantization=artifact.quantization,
        alignment=model.alignment,
        tags=model.tags,
        flags=model.flags,
        inference=model.inference,
    )
    return Release(artifact.version, artifact.digest, artifact.size, artifact.format, artifact.uri, description)
