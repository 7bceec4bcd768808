"""The agent inside a test's own process: its real parts, with a clock that the test moves."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from trimtab_edge.artifacts.download import Downloader, Limits
from trimtab_edge.lifecycle.agent import Agent
from trimtab_edge.lifecycle.conditions import Device
from trimtab_edge.lifecycle.device import DeviceFacts
from trimtab_edge.lifecycle.journal import Journal
from trimtab_edge.lifecycle.machine import Policy
from trimtab_edge.lifecycle.orders import MountedOrders
from trimtab_edge.lifecycle.readiness import NoProbe, ServerProbe
from trimtab_edge.lifecycle.store import ModelStore
from trimtab_edge.telemetry.updates import UpdateCounts

if TYPE_CHECKING:
    from pathlib import Path

    from tests.edge.devices import Fleet

QUICK = Limits(connect=2, read=2, attempts=2, first_wait=0.01)


@dataclass(slots=True)
class Clock:
    """Unix seconds that only the test moves."""

    now: float = 1_800_000_000.0

    def __call__(self) -> float:
        return self.now


@dataclass(slots=True)
class Stop:
    """Whether the process is to end."""

    asked: bool = field(default=False)

    def __call__(self) -> bool:
        return self.asked


def agent_of(
    root: Path,
    fleet: Fleet,
    *,
    serve_url: str | None = None,
    device: Device | None = None,
    clock: Clock | None = None,
    counts: UpdateCounts | None = None,
    store: str | None = "",
    probation: float = 10,
    stop: Stop | None = None,
    limits: Limits = QUICK,
) -> Agent:
    """An agent of ``root/models`` and ``root/state`` that fetches from the fleet's store (or from ``store``)."""
    (root / "models").mkdir(exist_ok=True)
    return Agent(
        orders=MountedOrders(fleet.mount),
        store=ModelStore(root / "models"),
        journal=Journal(root / "state"),
        artifacts=Downloader(str(fleet.store) if store == "" else store, limits),
        probe=ServerProbe(serve_url, probation) if serve_url else NoProbe(),
        device=DeviceFacts(device or Device("device-1", memory_mb=4000)),
        counts=counts or UpdateCounts(),
        policy=Policy(),
        now=clock or Clock(),
        stopping=stop or Stop(),
    )
