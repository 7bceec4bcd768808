"""The port to what delivers the fleet's commits to clusters, and what every source promises.

Adapters: :mod:`trimtab_bot.cluster.argocd` and :mod:`trimtab_bot.cluster.flux`. Both pass the contract suite in
``tests/contracts/delivery_source``.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import Enum
from typing import Protocol


class State(Enum):
    """What the delivering tool says of one object, in one word."""

    HEALTHY = "healthy"
    PROGRESSING = "progressing"
    DEGRADED = "degraded"
    OUT_OF_SYNC = "out of sync"
    SUSPENDED = "suspended"
    UNKNOWN = "unknown"
    """The tool cannot say: it could not render or compare, or has not looked yet."""


@dataclass(frozen=True, slots=True)
class Delivery:
    """One Application or Kustomization: which revisions it has come to, and how it does.

    ``name`` is for people: ``Application argocd/kiosk-emea``. ``seen`` are the revisions that the tool has fetched and looked at,
    ``applied`` those whose objects are in the cluster as a whole; each as the tool writes it, several where the object has
    several sources, none where there was none yet. ``message`` is the object's own, on one line and safe to show; ``at`` is when
    it was said (Unix seconds), None where the object does not tell. ``automatic`` is False where nobody but a person will apply a
    new revision: automatic sync is off, or it is suspended. ``next_step`` is what a person does about it.
    """

    group: str
    name: str
    state: State
    seen: tuple[str, ...] = ()
    applied: tuple[str, ...] = ()
    automatic: bool = True
    message: str = ""
    at: float | None = None
    next_step: str = ""


class DeliverySource(Protocol):
    """Reads deliveries.

    Promises of every source:

    - ``read`` gives every object that is selected, however many pages they take, each as the API server has it at one point of
      time; an object that belongs to no device group is left out. A group may have several, in several clusters.
    - Nothing is written, anywhere.
    - It ends within the source's own time limits, and raises nothing but OutsideError for what is wrong outside: no answer, no
      right, a kind that is not installed, or more objects than the source takes.
    """

    @property
    def name(self) -> str:
        """What people are told: ``Argo CD``."""

    @property
    def kind(self) -> str:
        """The kind of its objects: ``Application``."""

    def read(self) -> tuple[Delivery, ...]:
        """All of them as of now, sorted by group and name. Raises OutsideError."""


_COMMIT = re.compile(r"(?:^|[/:])([0-9a-f]{40}|[0-9a-f]{64})$")
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}$")


def commit_of(revision: str) -> str:
    """The Git commit that a revision names, "" where it names none.

    Takes a bare object id and Flux's ``main@sha1:<commit>``; an artifact's digest (``latest@sha256:<digest>``) is no commit.
    """
    if _DIGEST.search(revision):
        return ""
    found = _COMMIT.search(revision)
    return found[1] if found else ""
