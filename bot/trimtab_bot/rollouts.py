"""Rollouts in waves as the branch describes them: where each stands and what comes next."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

from trimtab_config.plan.rollouts import current_wave
from trimtab_config.spec.kinds import EdgeAIDeploymentSpec

if TYPE_CHECKING:
    from trimtab_bot.changes.history import FleetAt
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
