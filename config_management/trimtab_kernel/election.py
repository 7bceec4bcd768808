"""Who writes: one holder of a ``coordination.k8s.io`` Lease. Pure: what was seen and two clocks in, the next write out.

Clocks of machines disagree, so no time that another process wrote is ever compared with a time of one's own. A lease
has run out when its record has not changed for the duration that it names, measured by the monotonic clock here since the record
was first seen. The holder stops writing earlier than that: when its last renewal that is known to have been stored was *asked
for* longer ago than ``renew_within``.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from trimtab_kernel.problems import quoted

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

LEASE_API = "coordination.k8s.io/v1"


@dataclass(frozen=True, slots=True)
class Terms:
    """Who asks, and for how long. Seconds; ``pause`` is the time between two looks."""

    identity: str
    duration: int = 15
    renew_within: float = 10.0
    pause: float = 2.0

    def __post_init__(self) -> None:
        if not 0 < self.pause < self.renew_within < self.duration:
            raise ValueError(f"a lease of {self.duration} s needs 0 < pause < renew_within < duration")
        if not self.identity:
            raise ValueError(f"identity {quoted(self.identity)} names nobody")


@dataclass(frozen=True, slots=True)
class Memory:
    """What one candidate remembers between looks. Times are of its monotonic clock."""

    seen: tuple[str, str] = ("", "")
    """Holder and resource version of the record that was seen last."""
    seen_at: float = 0.0
    renewed_at: float | None = None
    """When the last renewal that was stored had been asked for; None for one that does not hold the lease."""


@dataclass(frozen=True, slots=True)
class Write:
    """The Lease to store: ``create`` where there was none, else to replace exactly the version that it carries."""

    body: Mapping[str, Any]
    create: bool


def leads(memory: Memory, terms: Terms, monotonic: float) -> bool:
    """Whether the candidate may write now."""
    return memory.renewed_at is not None and monotonic - memory.renewed_at < terms.renew_within


def look(
    memory: Memory, terms: Terms, lease: Mapping[str, Any] | None, monotonic: float, wall: datetime
) -> tuple[Memory, Write | None]:
    """One look at the lease (None: there is none). The write must be reported by :func:`stored` when it succeeded.

    ``wall`` is only written for people to read.
    """
    if lease is None:
        return replace(memory, seen=("", ""), seen_at=monotonic), Write({"spec": _spec(terms, wall, None)}, create=True)
    spec = lease.get("spec") or {}
    holder = spec.get("holderIdentity") or ""
    mark = (holder, str(lease["metadata"]["resourceVersion"]))
    if mark != memory.seen:
        memory = replace(memory, seen=mark, seen_at=monotonic)
    if holder != terms.identity:
        memory = replace(memory, renewed_at=None)
        lasting = spec.get("leaseDurationSeconds") or terms.duration
        if holder and monotonic - memory.seen_at < lasting:
            return memory, None
    metadata = {"resourceVersion": mark[1]}
    return memory, Write({"metadata": metadata, "spec": _spec(terms, wall, spec)}, create=False)


def stored(memory: Memory, terms: Terms, resource_version: str, asked_at: float) -> Memory:
    """The write of :func:`look`, asked for at ``asked_at``, has been stored."""
    return Memory((terms.identity, resource_version), asked_at, asked_at)


def release(memory: Memory, terms: Terms, wall: datetime) -> Write | None:
    """The write by which a holder that ends lets others follow at once; None for one that holds nothing."""
    if memory.renewed_at is None:
        return None
    spec = {
        "holderIdentity": "",
        "leaseDurationSeconds": 1,
        "renewTime": micro_time(wall),
        "acquireTime": micro_time(wall),
    }
    return Write({"metadata": {"resourceVersion": memory.seen[1]}, "spec": spec}, create=False)


def _spec(terms: Terms, wall: datetime, before: Mapping[str, Any] | None) -> dict[str, Any]:
    now = micro_time(wall)
    same = before is not None and before.get("holderIdentity") == terms.identity
    transitions = int((before or {}).get("leaseTransitions") or 0)
    return {
        "holderIdentity": terms.identity,
        "leaseDurationSeconds": terms.duration,
        "acquireTime": (before or {}).get("acquireTime") or now if same else now,
        "renewTime": now,
        "leaseTransitions": transitions if same or before is None else transitions + 1,
    }


def micro_time(wall: datetime) -> str:
    """Kubernetes' MicroTime: six digits of a second, always."""
    return wall.strftime("%Y-%m-%dT%H:%M:%S.%fZ")
