"""What was decided for one device group, with the reasons."""

from __future__ import annotations

from typing import TYPE_CHECKING

from trimtab_config.spec.kinds import Evaluation, Profile
from trimtab_kernel.records import dataclass, field

if TYPE_CHECKING:
    from fractions import Fraction

    from trimtab_config.spec.kinds import Document
    from trimtab_kernel.desired import Alignment, Artifact, Conditions
    from trimtab_kernel.identity import Digest


@dataclass(frozen=True, slots=True)
class Choice:
    """The variant of one version that the group's devices get.

    ``why`` has one phrase for each reason. ``evaluation`` is what the version's author measured before release.
    """

    artifact: Artifact
    why: tuple[str, ...]
    profile: Profile = field(default_factory=Profile)
    evaluation: Evaluation = field(default_factory=Evaluation)

    @property
    def version(self) -> str:
        """The version that was chosen."""
        return self.artifact.version


@dataclass(frozen=True, slots=True)
class HeldVersion:
    """A version that the deployment asks for and a Hold keeps out of the group."""

    version: str
    hold: str
    owner: str
    reason: str


@dataclass(frozen=True, slots=True)
class Placement:
    """One model on one device group.

    ``percent`` (0 to 100, exact) of the devices run ``target``; the others run ``stable``, or keep what they have where
    that is None. ``asked`` is the version written in Git; it differs from the target's only where it is held.
    ``wave`` names the current wave, ``""`` where the rollout has none.
    """

    document: Document
    model: str
    asked: str
    percent: Fraction
    wave: str
    target: Choice
    stable: Choice | None
    salt: str
    source_digest: Digest
    conditions: Conditions
    alignment: Alignment | None = None
    held: tuple[HeldVersion, ...] = ()
    why: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Skipped:
    """A model that is meant for such groups and does not reach this one, with the reason."""

    document: Document
    reason: str


@dataclass(frozen=True, slots=True)
class GroupPlan:
    """Everything that one device group runs, sorted by model; and what passes it by."""

    group: Document
    placements: tuple[Placement, ...]
    skipped: tuple[Skipped, ...] = ()
