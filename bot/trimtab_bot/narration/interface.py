"""The port to a narrator: typed facts in, text out. A narrator words what it is given and decides nothing."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from trimtab_bot.incidents.harm import Harm
    from trimtab_bot.records import CommitRecord, GaugeRecord


@dataclass(frozen=True, slots=True)
class Plan:
    """What is proposed: the version to return to, whether that state was seen to be fine, and until when the bad one is held."""

    good_version: str
    verified: bool
    restored_commit: str
    held_until: str


@dataclass(frozen=True, slots=True)
class Obstacle:
    """Why nothing is proposed."""

    code: str
    reason: str


@dataclass(frozen=True, slots=True)
class Story:
    """Everything that may be told of an incident. Times are Unix seconds; ``devices`` are those declared in Git.

    ``bystanders`` are device groups that run the version too but have sent nothing that was judged.
    """

    concern: str
    model: str
    version: str
    policy: str
    gauge: GaugeRecord | None
    minimum_n: int
    window: str
    details: tuple[tuple[str, str], ...]
    device_groups: tuple[str, ...]
    devices: int
    detected_at: float
    offending: CommitRecord | None
    harm: Harm | None
    plan: Plan | None
    obstacle: Obstacle | None


class Narrator(Protocol):
    """Tells a story in plain words."""

    def headline(self, story: Story) -> str:
        """One line of at most 150 characters: what breaks which limit."""
        ...

    def summary(self, story: Story) -> str:
        """A few lines for somebody who was just woken up: what, where, since when, how sure, how bad, and what to do."""
        ...
