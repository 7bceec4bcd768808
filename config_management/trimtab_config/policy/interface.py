"""The port to a policy engine: input documents in, one decision for each out."""

from __future__ import annotations

from collections.abc import Sequence
from enum import Enum
from typing import Protocol

from trimtab_kernel.records import dataclass


class PolicyLevel(Enum):
    """What a finding does, from the strongest to the weakest."""

    DENY = "deny"
    """Nothing is rendered until it is gone."""
    WARN = "warn"
    """People are told."""
    DRY_RUN = "dry-run"
    """Told only to those who ask for it: how a new rule is tried on a fleet."""

    @property
    def rank(self) -> int:
        """0 is the strongest."""
        return _RANKS[self]


_RANKS = {level: rank for rank, level in enumerate(PolicyLevel)}


@dataclass(frozen=True, slots=True)
class PolicyFinding:
    """What one rule has to say about one input.

    ``id`` is the same wherever the same thing is found (render, pull request, cluster, device): rule, item and subject,
    such as ``finops.cpu-cap@vision/digits-cameras/cam-emea``. ``rule`` is the rule's name, ``title`` its title for people,
    ``arguments`` what its message is about (name to text, sorted by name). ``field`` is a dotted path into the subject's
    YAML; ``got`` and ``expected`` are text. A finding of the engine itself has a rule that begins with ``engine.``.
    """

    id: str
    rule: str
    level: PolicyLevel
    title: str
    arguments: tuple[tuple[str, str], ...]
    field: str
    got: str
    expected: str


@dataclass(frozen=True, slots=True)
class Decision:
    """What all rules together say about one input. ``level`` is that of the strongest finding, None without any.

    ``findings`` are sorted by level (strongest first), then by id. ``allowed`` is False exactly if one of them denies.
    """

    allowed: bool
    level: PolicyLevel | None
    findings: tuple[PolicyFinding, ...]

    @classmethod
    def of(cls, findings: Sequence[PolicyFinding]) -> Decision:
        """The decision that follows from ``findings``."""
        ordered = tuple(sorted(findings, key=lambda finding: (finding.level.rank, finding.id)))
        level = ordered[0].level if ordered else None
        return cls(level is not PolicyLevel.DENY, level, ordered)


class PolicyEngine(Protocol):
    """Judges input documents. Implementations are safe to call from one thread at a time, and keep nothing between calls."""

    @property
    def digest(self) -> str:
        """Hex SHA-256 of the rules: two engines with equal digests decide alike."""
        ...

    def decide(self, requests: Sequence[bytes]) -> Sequence[Decision]:
        """One decision for each of ``requests``, in order. A request is the JSON text of an input document.

        Never raises for what a request or a rule can cause: a request that is no JSON, a rule that is undefined, fails or
        takes too long denies, by a finding whose rule begins with ``engine.``. Raises OutsideError where the engine itself
        cannot be reached (a program that is missing).
        """
        ...
