"""Holds: versions and digests that stay out of a group, whatever a deployment asks for."""

from __future__ import annotations

from typing import TYPE_CHECKING

from trimtab_config.plan.placement import HeldVersion

if TYPE_CHECKING:
    from collections.abc import Iterable

    from trimtab_config.spec.kinds import Document, HoldSpec
    from trimtab_kernel.identity import Digest


def held_version(
    holds: Iterable[Document], *, model: str, version: str, digest: Digest, group: str
) -> HeldVersion | None:
    """The first Hold (by name) that keeps this version out of ``group``, if any does.

    A Hold without groups is about all of them; one with a version and a digest is about the two together. Its date
    plays no part: it counts until a commit removes it.
    """
    for document in holds:
        hold: HoldSpec = document.spec
        if hold.model != model or (hold.groups and group not in hold.groups):
            continue
        if hold.version not in {None, version} or hold.digest not in {None, digest}:
            continue
        return HeldVersion(version, document.metadata.name, hold.owner, hold.reason)
    return None
