"""Rollouts in waves as the branch describes them: where each stands and what comes next.

An OnDeviceModel has a percentage instead of waves. It goes up by the same steps as waves do (1, 10, 50, 100), each after a day
and on the same evidence; at 0 it is paused.
"""

from __future__ import annotations

import datetime
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from itertools import pairwise
from typing import TYPE_CHECKING

from trimtab_config.plan.rollouts import current_wave
from trimtab_config.spec.kinds import (
    EdgeAIDeploymentSpec,
    Gates,
    OnDeviceModelSpec,
    Rollout,
    UpdateStrategyType,
    Wave,
)

if TYPE_CHECKING:
    from trimtab_bot.changes.history import FleetAt, History
    from trimtab_config.spec.kinds import Document

STEPS = (1, 10, 50, 100)
"""Percentages of an OnDeviceModel, in order."""
STEP_SOAK = datetime.timedelta(hours=24)
STEP_GATES = Gates(minimum_sample=200, maximum_failure_ratio=Decimal("0.05"))
"""What must be seen of an OnDeviceModel before its next step; it has no field that says so."""


@dataclass(frozen=True, slots=True)
class RolloutAt:
    """One deployment with waves, or an OnDeviceModel's steps as waves. ``groups`` are those that it reaches or will reach, sorted."""

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
    """All deployments with waves and all OnDeviceModels with a percentage, by name."""
    groups: dict[tuple[str, str], list[str]] = {}
    for (_, group), placement in fleet.placements.items():
        metadata = placement.document.metadata
        groups.setdefault((metadata.namespace, metadata.name), []).append(group)
    found = []
    for document in fleet.documents:
        metadata, stand = document.metadata, _rollout_of(document)
        if stand is not None and stand[2].waves:
            reached = tuple(sorted(groups.get((metadata.namespace, metadata.name), ())))
            found.append(RolloutAt(metadata.namespace, metadata.name, *stand, reached))
    return tuple(sorted(found, key=lambda each: (each.namespace, each.name)))


def _rollout_of(document: Document) -> tuple[str, str, Rollout] | None:
    """Model, version and waves; None for what is no deployment."""
    spec = document.spec
    if isinstance(spec, EdgeAIDeploymentSpec):
        return spec.model_ref.name, spec.model_ref.version, spec.rollout
    if isinstance(spec, OnDeviceModelSpec):
        return spec.model_id, spec.version, steps_of(spec)
    return None


def steps_of(spec: OnDeviceModelSpec) -> Rollout:
    """The percentage as a wave, and the steps above it as those that follow; without waves where everybody is reached at once."""
    strategy = spec.update_strategy
    now = strategy.rollout_percentage
    if strategy.type is not UpdateStrategyType.STAGED_ROLLOUT or now is None:
        return Rollout()
    waves = [Wave(f"{float(each):g}", each, soak=STEP_SOAK) for each in (now, *map(Fraction, STEPS)) if each >= now]
    waves = list(dict.fromkeys(waves))
    return Rollout(tuple(waves), waves[0].name, gates=STEP_GATES, paused=now == 0)


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
        if _rollout_of(document) is not None and (metadata.namespace, metadata.name) == (
            rollout.namespace,
            rollout.name,
        ):
            return f"{prefix}{document.origin.file}"
    return ""


def _stand(history: History, commit: str, path: str, rollout: RolloutAt) -> tuple[str, str] | None:
    for document in history.documents(commit, [path]):
        metadata, found = document.metadata, _rollout_of(document)
        if found is not None and (metadata.namespace, metadata.name) == (rollout.namespace, rollout.name):
            wave = current_wave(found[2])
            return found[1], wave.name if wave else ""
    return None
