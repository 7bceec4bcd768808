"""Fleets of any size, made by arithmetic: equal arguments give equal bytes. One object a file, as people keep them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import yaml

if TYPE_CHECKING:
    from pathlib import Path

MODELS = 50
_SLOTS = 10
_REGIONS = ("EMEA", "AMER", "APAC", "LATAM")
_TIERS = (("lite", "32Mi"), ("standard", "64Mi"), ("premium", "128Mi"))
_API = "apexlogic.ai/v1"


def fleet_files(groups: int, per_group: int) -> dict[str, bytes]:
    """A fleet of ``groups`` device groups and 50 models, each group with ``per_group`` (5 or 50) deployments.

    A deployment chooses a tenth of the groups by a label, or all of them. Each model has two versions of three variants
    with measured profiles and an evaluation by cohort; every second deployment stands in a wave with a stable version.
    Raises ValueError for another ``per_group``.
    """
    if per_group not in {MODELS // _SLOTS, MODELS}:
        raise ValueError(f"expected {MODELS // _SLOTS} or {MODELS} deployments per group, got {per_group}")
    objects = {"policies/finops.yaml": _finops(), "policies/alignment.yaml": _alignment(), "prices/q4.yaml": _prices()}
    for index in range(groups):
        objects[f"groups/{group_name(index)}.yaml"] = group(index)
    for index in range(MODELS):
        objects[f"models/model-{index:02}.yaml"] = _model(index)
        objects[f"deployments/model-{index:02}.yaml"] = _deployment(index, everywhere=per_group == MODELS)
    return {name: _text(item) for name, item in objects.items()}


def write_fleet(directory: Path, groups: int, per_group: int) -> None:
    """The files of :func:`fleet_files` below ``directory``."""
    for name, content in fleet_files(groups, per_group).items():
        path = directory / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)


def group_name(index: int) -> str:
    """The name of the group at this place."""
    return f"site-{index:05}"


def group_file(index: int, devices: int) -> tuple[str, bytes]:
    """Path and bytes of one group, with another number of devices: what a person changes most often."""
    changed = group(index)
    changed["spec"]["deviceCount"] = devices
    return f"groups/{group_name(index)}.yaml", _text(changed)


def group(index: int) -> dict[str, Any]:
    """One device group."""
    spec = {
        "cluster": f"edge-{index % 40:02}",
        "deviceCount": 10 + index % 90,
        "hardware": {"class": "box", "arch": ("amd64", "arm64")[index % 2], "cpu": "16", "memory": "32Gi"},
        "power": {"source": "mains", "idleWatts": 8, "peakWatts": 36},
        "network": {"priceClass": "wired"},
        "jurisdiction": "EU",
        "owner": {"team": f"team-{index % 7}", "contact": f"team-{index % 7}@apexlogic.example"},
    }
    made = _object("DeviceGroup", group_name(index), spec)
    made["metadata"]["labels"] = {
        "region": _REGIONS[index % 4],
        "fleet": "bench",
        "slot": f"slot-{index % _SLOTS}",
        "environment": "production",
    }
    return made


def _object(kind: str, name: str, spec: dict[str, Any]) -> dict[str, Any]:
    return {"apiVersion": _API, "kind": kind, "metadata": {"name": name, "namespace": "bench"}, "spec": spec}


def _text(item: dict[str, Any]) -> bytes:
    head = f"# {item['kind']} {item['metadata']['name']}\n"
    text: str = yaml.dump(item, Dumper=yaml.CSafeDumper, sort_keys=False)
    return (head + text).encode()


def _model(index: int) -> dict[str, Any]:
    versions = [
        {
            "version": f"1.{minor}.0",
            "released": "2026-10-01",
            "variants": [_variant(index, minor, place) for place in range(len(_TIERS))],
            "evaluation": {
                "accuracy": "0.91",
                "fairness": {
                    "women": {"positiveRate": "0.41", "n": 900 + index},
                    "men": {"positiveRate": "0.43", "n": 950 + index},
                },
            },
        }
        for minor in range(2)
    ]
    alignment = {
        "attribute": {"input": "features", "column": 1, "cohorts": {"women": {"value": 0}, "men": {"value": 1}}},
        "outcome": {"output": "label", "positive": 1},
    }
    return _object("Model", f"model-{index:02}", {"alignment": alignment, "versions": versions})


def _variant(index: int, minor: int, place: int) -> dict[str, Any]:
    tier, memory = _TIERS[place]
    number = (index * 2 + minor) * len(_TIERS) + place + 1
    return {
        "tier": tier,
        "digest": f"sha256:{number:064x}",
        "size": 1_000_000 * (place + 1) + index,
        "uri": f"s3://bench/model-{index:02}/1.{minor}.0/{tier}.onnx",
        "requirements": {"memory": memory, "arch": ["amd64", "arm64"]},
        "profile": {
            "grade": "measured",
            "cpuSeconds": {"value": f"0.00{place + 1}{index:02}", "grade": "measured"},
            "memoryPeak": memory,
        },
    }


def _deployment(index: int, *, everywhere: bool) -> dict[str, Any]:
    labels = {"fleet": "bench"} if everywhere else {"slot": f"slot-{index % _SLOTS}"}
    spec: dict[str, Any] = {
        "modelRef": {"name": f"model-{index:02}", "version": "1.1.0"},
        "targetDevices": {"labels": labels},
        "resourceLimits": {"cpu": "200m", "memory": "256Mi"},
        "finopsPolicyRef": "finops",
        "aiAlignmentPolicyRef": "alignment",
        "inference": {"expectedRequestsPerDeviceDay": 20_000 + index * 100, "maximumPerMinute": 600},
        "update": {"window": "02:00-04:00"},
        "tags": {"project": f"project-{index % 9}", "team": f"team-{index % 7}", "environment": "production"},
    }
    if index % 2:
        waves = [{"name": "tenth", "percent": 10, "soak": "24h"}, {"name": "all", "percent": 100}]
        spec["rollout"] = {"stable": {"version": "1.0.0"}, "wave": "tenth", "waves": waves}
    return _object("EdgeAIDeployment", f"deploy-{index:02}", spec)


def _finops() -> dict[str, Any]:
    ceilings = {"costPer1kInferences": {"amount": "0.001", "currency": "EUR"}, "minimumSample": 200}
    return _object("FinOpsPolicy", "finops", {"ceilings": ceilings, "requiredTags": ["project", "team"]})


def _alignment() -> dict[str, Any]:
    fairness = {"metric": "disparateImpact", "minimum": "0.8", "minimumSample": 200, "confidence": "0.95"}
    return _object("AIAlignmentPolicy", "alignment", {"fairness": fairness, "maximumModelAge": "365d"})


def _prices() -> dict[str, Any]:
    regions = {
        region: {
            "deviceHour": {"box": {"value": f"0.2{place}", "grade": "measured"}},
            "energyPerKWh": {"value": "0.27", "low": "0.24", "high": "0.31", "grade": "measured"},
            "networkPerGB": {"wired": {"value": "0.02", "grade": "measured"}},
        }
        for place, region in enumerate(_REGIONS)
    }
    spec = {"currency": "EUR", "validFrom": "2026-10-01", "validUntil": "2026-12-31", "regions": regions}
    return _object("PriceBook", "eur-2026-q4", spec)
