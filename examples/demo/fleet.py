"""Six devices of the example fleet: an agent and a server each, and the files that tell a metrics source where they are."""

from __future__ import annotations

import json
import urllib.request
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from examples.demo.processes import Supervisor

# Device groups of examples/fleet that the six devices stand for, and what each is asked.
DEVICES = (
    ("kiosk-emea-01", "kiosk-emea", ("triage", "digits")),
    ("kiosk-emea-02", "kiosk-emea", ("triage", "digits")),
    ("kiosk-amer-01", "kiosk-amer", ("triage", "digits")),
    ("kiosk-apac-01", "kiosk-apac", ("triage", "digits")),
    ("gateway-emea-01", "gateway-emea", ("triage",)),
    ("cam-emea-01", "cam-emea", ("digits",)),
)


@dataclass(frozen=True, slots=True)
class Device:
    """A running device: ``serve_url`` answers inference requests, ``agent_url`` has the agent's metrics."""

    id: str
    group: str
    models: tuple[str, ...]
    serve_url: str
    agent_url: str


def start(supervisor: Supervisor, edge: Path, work: Path, synced: Path, artifacts: Path) -> list[Device]:
    """Start all devices; returns once each has told its ports."""
    started = []
    for device, group, models in DEVICES:
        home = work / "devices" / device
        (home / "models").mkdir(parents=True)
        (home / "state").mkdir()
        server = supervisor.start(
            f"{device}-serve", [edge, "serve", "--model-repository", home / "models", "--http-port", "0"]
        )
        started.append((device, group, models, home, server))
    devices = []
    for device, group, models, home, server in started:
        serve_url = supervisor.line(server, "listening ")
        agent = supervisor.start(
            f"{device}-agent",
            [
                *(
                    edge,
                    "agent",
                    "--desired",
                    synced / group / "current" / "desired",
                    "--model-repository",
                    home / "models",
                ),
                *("--artifacts", artifacts, "--device", device, "--state", home / "state", "--serve-url", serve_url),
                *("--metrics-port", "0", "--interval", "0.5", "--battery", "100", "--network", "WIFI"),
            ],
        )
        devices.append((device, group, models, serve_url, agent))
    return [
        Device(device, group, models, serve_url, supervisor.line(agent, "listening "))
        for device, group, models, serve_url, agent in devices
    ]


def write_targets(path: Path, devices: Sequence[Device]) -> None:
    """The devices as Prometheus file-based service discovery wants them, replaced in one step."""
    entries = [
        {"targets": [url.removeprefix("http://")], "labels": {"device_group": device.group, "device": device.id}}
        for device in devices
        for url in (device.serve_url, device.agent_url)
    ]
    scratch = path.with_suffix(".new")
    scratch.write_text(json.dumps(entries, indent=1))
    scratch.replace(path)


def runs(device: Device, model: str) -> str:
    """The version of ``model`` that the device serves at this moment; ``""`` where it serves none."""
    try:
        with urllib.request.urlopen(f"{device.serve_url}/metrics", timeout=5) as answer:  # noqa: S310 - our own loopback URL
            text: str = answer.read(1_000_000).decode()
    except OSError:
        return ""
    for line in text.splitlines():
        if (
            line.startswith("trimtab_model_ready{")
            and f'model="{model}"' in line
            and line.rstrip().endswith((" 1", " 1.0"))
        ):
            return line.partition('version="')[2].partition('"')[0]
    return ""
