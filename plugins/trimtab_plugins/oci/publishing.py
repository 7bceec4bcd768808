"""Pushing and pulling one artifact: what is compared, in which order things appear, and when a tag is left alone."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from trimtab_kernel.problems import InputError, OutsideError, Problem, TrustError
from trimtab_plugins.archives import read_archive
from trimtab_plugins.oci.artifact import LIMITS, Held, holds, may_hold, read_manifest, unpack_layer

if TYPE_CHECKING:
    from trimtab_plugins.oci.address import Address
    from trimtab_plugins.oci.artifact import Artifact
    from trimtab_plugins.oci.registry import Repository


@dataclass(frozen=True, slots=True)
class Pushed:
    """What a tag names now. ``changed`` is False where it named these files before and was left alone."""

    digest: str
    layer: str
    revision: str
    changed: bool


def push(repository: Repository, tag: str, artifact: Artifact) -> Pushed:
    """Make ``tag`` name this artifact; leave it alone where it names the same files already.

    The blobs come first and the tag last, in one request: a reader sees the artifact from before or the whole new one.
    Raises OutsideError and TrustError as the registry gives cause to.
    """
    held = _held(repository, tag)
    if held is not None and _same_files(repository, held, artifact):
        return Pushed(held.digest, held.layer.digest, held.revision, changed=False)
    repository.put_blob(artifact.layer_descriptor.digest, artifact.layer)
    repository.put_blob(artifact.config_descriptor.digest, artifact.config)
    repository.put_manifest(tag, artifact.manifest)
    new = read_manifest(artifact.manifest)
    return Pushed(new.digest, new.layer.digest, new.revision, changed=True)


def pull(repository: Repository, address: Address) -> tuple[Held, dict[str, bytes]]:
    """What lies at an address: its manifest and its files. Raises as :func:`read_manifest` and :func:`unpack_layer` do."""
    content = repository.manifest(address.reference)
    if content is None:
        raise OutsideError(f"nothing at {address}")
    held = read_manifest(content)
    if held.layer.size > LIMITS.compressed_bytes:
        got, expected = f"a layer of {held.layer.size} bytes", f"at most {LIMITS.compressed_bytes}"
        raise InputError(Problem("A304", got=got, expected=expected))
    return held, unpack_layer(held, repository.blob(held.layer.digest, held.layer.size))


def _held(repository: Repository, tag: str) -> Held | None:
    """What the tag names, where that is an artifact such as ours."""
    content = repository.manifest(tag)
    with suppress(InputError):
        return None if content is None else read_manifest(content)
    return None


def _same_files(repository: Repository, held: Held, artifact: Artifact) -> bool:
    if holds(held, artifact):
        return repository.has_blob(held.layer.digest, held.layer.size)
    if not may_hold(held, artifact) or held.layer.size > LIMITS.compressed_bytes:
        return False
    # The same files by its own word, other bytes: another zlib wrote it, or somebody who lies. So it is looked at.
    with suppress(InputError, TrustError):
        return unpack_layer(held, repository.blob(held.layer.digest, held.layer.size)) == read_archive(artifact.layer)
    return False
