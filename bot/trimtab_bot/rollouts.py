"""Rollouts in waves as the branch describes them: where each stands and what comes next."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

from trimtab_config.plan.rollouts import current_wave
from trimtab_config.spec.kinds import EdgeAIDeploymentSpec

if TYPE_CHECKING:
    from trimtab_bot.changes.history import FleetAt, History
    from trimtab_config.spec.kinds import Rollout, Wave


@dataclass(frozen=True, slots=True)
class RolloutAt:
    """One deployment with waves. ``groups`` are those that it reaches or will reach, sorted."""

    namespace: str
    name: str
    model: str
    version: str
    rollout: Rollout
    groups: tuple[str, ...]

    @property
    def full_name(self) -> str:
        """``NAMESPACE/NAME``."""
        return f"{self.namespace}/{self.name}"

    @property
    def wave(self) -> Wave | None:
        """The wave it stands at."""
        return current_wave(self.rollout)

    @property
    def next_wave(self) -> Wave | None:
        """The wave after that; None at the last one."""
        waves = self.rollout.waves
        for here, after in pairwise(waves):
            if here is self.wave:
                return after
        return None

    def text(self) -> str:
        """One line for people."""
        wave, following = self.wave, self.next_wave
        stable = self.rollout.stable.version if self.rollout.stable else "what devices have"
        text = f"{self.full_name}: {self.model} {self.version} over {stable}, wave {wave.name if wave else 'unknown'}"
        text += f", next {following.name}" if following else ", the last one"
        return f"{text}; paused" if self.rollout.paused else text


def rollouts_of(fleet: FleetAt) -> tuple[RolloutAt, ...]:
    """All deployments with waves, by name."""
    groups: dict[tuple[str, str], list[str]] = {}
    for (_, group), placement in fleet.placements.items():
        metadata = placement.document.metadata
        groups.setdefault((metadata.namespace, metadata.name), []).append(group)
    found = []
    for document in fleet.documents:
        spec, metadata = document.spec, document.metadata
        if isinstance(spec, EdgeAIDeploymentSpec) and spec.rollout.waves:
            reached = tuple(sorted(groups.get((metadata.namespace, metadata.name), ())))
            ref = spec.model_ref
            found.append(RolloutAt(metadata.namespace, metadata.name, ref.name, ref.version, spec.rollout, reached))
    return tuple(sorted(found, key=lambda each: (each.namespace, each.name)))


def wave_since(history: History, head: str, rollout: RolloutAt, limit: int) -> float | None:
    """When the branch came to stand where ``rollout`` stands at ``head``: the time of the first commit that says so.

    Unix seconds; None where that is not within the last ``limit`` first-parent commits. A deployment that moved to another
    file counts as new there.
    """
    path = _file_of(history, head, rollout)
    stands = (rollout.version, rollout.wave.name if rollout.wave else "")
    since = None
    for commit in history.repository.first_parents(head, limit):
        if _stand(history, commit.sha, path, rollout) != stands:
            return since
        since = commit.committed_at.timestamp()
        if not commit.parents:
            return since
    return None


def _file_of(history: History, head: str, rollout: RolloutAt) -> str:
    prefix = f"{history.path}/" if history.path else ""
    for document in history.fleet(head).documents:
        metadata = document.metadata
        if document.kind == "EdgeAIDeployment" and (metadata.namespace, metadata.name) == (
            rollout.namespace,
            rollout.name,
        ):
            return f"{prefix}{document.origin.file}"
    return ""


def _stand(history: History, commit: str, path: str, rollout: RolloutAt) -> tuple[str, str] | None:
    for document in history.documents(commit, [path]):
        metadata, spec = document.metadata, document.spec
        if isinstance(spec, EdgeAIDeploymentSpec) and (metadata.namespace, metadata.name) == (
            rollout.namespace,
            rollout.name,
        ):
            wave = current_wave(spec.rollout)
            return spec.model_ref.version, wave.name if wave else ""
    return None
