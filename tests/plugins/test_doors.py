"""Same input, same objects, through every door: a property over generated fleets."""

from __future__ import annotations

import json
from typing import Any

import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.config import small_fleet
from tests.plugins import doors

# Text that YAML readers take for something else, or write in several ways.
TEXTS = st.sampled_from(
    ["yes", "1e3", "0x1f", "1.10", "null", "~", "a: b", "#x", "ü", "it's", '"q"', " x ", "2026-11-22"]
)
DEVICES = st.sampled_from(["kiosk", "site"])


@st.composite
def fleets(draw: st.DrawFn) -> dict[str, bytes]:
    """A few groups of two kinds of device, deployments in waves and with holds, one book of prices; as people may write it."""
    devices = [draw(DEVICES) for _ in range(draw(st.integers(1, 4)))]
    objects: list[dict[str, Any]] = [small_fleet.model(), small_fleet.price_book()]
    for index, device in enumerate(devices):
        objects.append(
            small_fleet.group(
                f"g{index}",
                metadata__labels={"region": "EMEA", "deviceType": device},
                spec__deviceCount=draw(st.integers(1, 10**6)),
                spec__hardware__arch=draw(st.sampled_from(["amd64", "arm64"])) if device == "site" else "amd64",
            )
        )
    for device in sorted(set(devices)):
        changes: dict[str, object] = {
            "spec__targetDevices__labels": {"deviceType": device},
            "spec__workload": draw(st.sampled_from(["DaemonSet", "Deployment"])) if device == "site" else "DaemonSet",
            "spec__tags": {"project": draw(TEXTS), "team": draw(TEXTS)},
        }
        if draw(st.booleans()):
            changes["spec__rollout"] = {
                "stable": {"version": "1.0.0"},
                "waves": [{"name": "first", "percent": 10}, {"name": "all", "percent": 100}],
                "wave": draw(st.sampled_from(["first", "all"])),
            }
            if device == devices[0] and draw(st.booleans()):
                objects.append(small_fleet.hold(f"hold-{device}", spec__groups=["g0"]))
        objects.append(small_fleet.deployment(f"triage-{device}s", **changes))
    flow = draw(st.sampled_from([None, False, True]))
    # Deployments as JSON, which quotes all text: PyYAML leaves 1e3 plain, which people may not.
    texts = [
        f"{json.dumps(item, ensure_ascii=draw(st.booleans()))}\n"
        if item["kind"] == "EdgeAIDeployment"
        else yaml.safe_dump(item, default_flow_style=flow)
        for item in objects
    ]
    if draw(st.booleans()):
        return {"fleet.yaml": "---\n".join(texts).encode()}
    return {f"f{number}.yaml": text.encode() for number, text in enumerate(texts)}


@settings(max_examples=25)
@given(fleets())
def test_every_door_gives_the_same_objects_and_the_same_bytes(files: dict[str, bytes]) -> None:
    streams = doors.render_streams(files)
    assert doors.sync_streams(files) == streams
    assert doors.external_artifact_streams(files) == streams
    assert doors.oci_streams(files) == streams
    objects = {group: doors.compared(doors.parsed(stream)) for group, stream in streams.items()}
    assert doors.plugin_objects(files, streams) == objects
    assert doors.function_objects(files) == objects
