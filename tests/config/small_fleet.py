"""Small fleets for tests: each function gives one object as it would stand in YAML, with sensible fields to change."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any

import yaml

from trimtab_config.catalog import build_catalog
from trimtab_config.spec.reader import read_documents

if TYPE_CHECKING:
    from collections.abc import Mapping

    from trimtab_config.catalog import Catalog

Yaml = dict[str, Any]


def changed(base: Yaml, changes: Mapping[str, Any]) -> Yaml:
    """A copy of ``base`` with fields set by dotted path; None takes a field out."""
    result = copy.deepcopy(base)
    for path, value in changes.items():
        *parents, last = path.split(".")
        place = result
        for parent in parents:
            place = place.setdefault(parent, {})
        if value is None:
            place.pop(last, None)
        else:
            place[last] = value
    return result


def _object(kind: str, name: str, spec: Yaml, api: str = "apexlogic.ai/v1") -> Yaml:
    return {"apiVersion": api, "kind": kind, "metadata": {"name": name, "namespace": "fleet"}, "spec": spec}


def group(name: str = "kiosks", **changes: object) -> Yaml:
    """Ten amd64 kiosks in EMEA with four cores and 8 GiB. Changes by path, a dot written as two underscores."""
    spec = {
        "cluster": "edge",
        "deviceCount": 10,
        "hardware": {"class": "box", "arch": "amd64", "cpu": "4", "memory": "8Gi"},
        "power": {"source": "mains", "idleWatts": 10, "peakWatts": 30},
        "network": {"priceClass": "wired"},
        "jurisdiction": "EU",
        "owner": {"team": "clinics"},
    }
    base = _object("DeviceGroup", name, spec)
    base["metadata"]["labels"] = {"region": "EMEA", "deviceType": "kiosk"}
    return changed(base, {path.replace("__", "."): value for path, value in changes.items()})


def variant(tier: str = "standard", **changes: object) -> Yaml:
    """A variant of 1,000,000 bytes that takes exactly 0.01 CPU seconds. Its digest is made from its tier."""
    base = {
        "tier": tier,
        "digest": "sha256:" + ({"lite": "1", "standard": "2", "premium": "3"}[tier]) * 64,
        "size": 1_000_000,
        "uri": f"s3://models/{tier}.onnx",
        "profile": {"cpuSeconds": {"value": 0.01, "low": 0.01, "high": 0.01, "grade": "measured"}},
    }
    return changed(base, {path.replace("__", "."): value for path, value in changes.items()})


def model(name: str = "triage", versions: Mapping[str, list[Yaml]] | None = None, **changes: object) -> Yaml:
    """A model with versions 1.0.0 and 1.1.0, one standard variant each, unless given."""
    table = versions or {
        "1.0.0": [variant(digest="sha256:" + "a" * 64)],
        "1.1.0": [variant(digest="sha256:" + "b" * 64)],
    }
    base = _object(
        "Model", name, {"versions": [{"version": version, "variants": found} for version, found in table.items()]}
    )
    return changed(base, {path.replace("__", "."): value for path, value in changes.items()})


def deployment(name: str = "triage-kiosks", **changes: object) -> Yaml:
    """Triage 1.1.0 on every kiosk, 24,000 requests a device and day."""
    spec = {
        "modelRef": {"name": "triage", "version": "1.1.0"},
        "targetDevices": {"labels": {"deviceType": "kiosk"}},
        "resourceLimits": {"cpu": "500m", "memory": "512Mi"},
        "inference": {"expectedRequestsPerDeviceDay": 24000},
    }
    return changed(
        _object("EdgeAIDeployment", name, spec), {path.replace("__", "."): value for path, value in changes.items()}
    )


def on_device(name: str = "triage-mobile", **changes: object) -> Yaml:
    """An on-device model of 1,000,000 bytes for any phone."""
    spec = {
        "modelId": "triage-mobile",
        "version": "3.0.0",
        "modelUri": "s3://models/mobile.tflite",
        "checksum": "sha256:" + "c" * 64,
        "size": 1_000_000,
    }
    base = _object("OnDeviceModel", name, spec, "mobileai.apexlogic.com/v1")
    return changed(base, {path.replace("__", "."): value for path, value in changes.items()})


def phones(name: str = "phones", **changes: object) -> Yaml:
    """Ten Android phones with 6 GiB."""
    return changed(
        group(name, metadata__labels={"region": "EMEA", "deviceType": "phone"}),
        {
            "spec.hardware": {
                "class": "phone",
                "arch": "arm64",
                "cpu": "8",
                "memory": "6Gi",
                "os": "android",
                "apiLevel": 33,
            },
            "spec.power": {"source": "battery"},
        }
        | {path.replace("__", "."): value for path, value in changes.items()},
    )


def hold(name: str = "hold", **changes: object) -> Yaml:
    """Triage 1.1.0 stays out of every group."""
    spec = {"model": "triage", "version": "1.1.0", "owner": "clinics", "reason": "biased", "until": "2027-01-01"}
    return changed(_object("Hold", name, spec), {path.replace("__", "."): value for path, value in changes.items()})


def exact(value: str) -> Yaml:
    """A figure without error."""
    return {"value": value, "low": value, "high": value, "grade": "measured"}


def price_book(name: str = "prices", **changes: object) -> Yaml:
    """Prices of EMEA without error: 0.4 an hour for a box (0.1 a core), 0.2 a kWh, 1 a GB."""
    prices = {
        "deviceHour": {"box": exact("0.4"), "phone": exact("0.08")},
        "energyPerKWh": exact("0.2"),
        "networkPerGB": {"wired": exact("1")},
    }
    spec = {"currency": "EUR", "validFrom": "2026-10-01", "validUntil": "2026-12-31", "regions": {"EMEA": prices}}
    return changed(
        _object("PriceBook", name, spec), {path.replace("__", "."): value for path, value in changes.items()}
    )


def files_of(*objects: Yaml) -> dict[str, bytes]:
    """Each object in a file of its own."""
    return {
        f"{index:02}-{item['kind'].lower()}.yaml": yaml.safe_dump(item, sort_keys=False).encode()
        for index, item in enumerate(objects)
    }


def catalog_of_files(files: Mapping[str, bytes]) -> Catalog:
    """The catalog of a tree that must be without problems."""
    read = read_documents(files)
    assert read.problems == (), "\n".join(map(str, read.problems))
    catalog, problems = build_catalog(read.documents)
    assert problems == (), "\n".join(map(str, problems))
    return catalog


def catalog_of(*objects: Yaml) -> Catalog:
    """The catalog of these objects."""
    return catalog_of_files(files_of(*objects))
