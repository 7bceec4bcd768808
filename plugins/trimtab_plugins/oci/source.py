"""What is compiled for a push: a folder, or a commit of a repository, and what is said about where it comes from."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from trimtab_config.compilation import FleetCompiler
from trimtab_config.git.refs import is_object_id
from trimtab_config.git.repository import GitRepository
from trimtab_config.sources.folder import load_placed
from trimtab_kernel.problems import OutsideError, quoted
from trimtab_plugins.oci.artifact import Origin

if TYPE_CHECKING:
    from datetime import datetime
    from pathlib import Path

    from trimtab_config.compilation import CompiledFleet, RenderOptions


@dataclass(frozen=True, slots=True)
class Source:
    """A fleet that was found sound, and its origin."""

    fleet: CompiledFleet
    origin: Origin


def from_folder(path: Path, options: RenderOptions, source: str, revision: str, created: datetime | None) -> Source:
    """A folder says nothing about itself, so the caller says it. Raises InputError."""
    fleet = FleetCompiler(options).open(*load_placed(path))
    return Source(fleet, Origin(source, revision, created))


def from_repository(path: Path, ref: str, prefix: str, options: RenderOptions, source: str) -> Source:
    """A commit: its revision as Flux writes it (``main@sha1:...``), its time. Raises InputError and OutsideError."""
    repository = GitRepository(path)
    commit = repository.resolve(ref)
    if commit is None:
        raise OutsideError(f"no {quoted(ref)} in the repository; push it, or name another one")
    fleet = FleetCompiler(options).open(repository.files(commit, prefix.strip("/")), prefix.strip("/"))
    algorithm = "sha1" if len(commit) == 40 else "sha256"
    name = "" if is_object_id(ref) else ref.removeprefix("refs/heads/") + "@"
    return Source(fleet, Origin(source, f"{name}{algorithm}:{commit}", repository.commit(commit).committed_at))
