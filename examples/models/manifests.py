"""Write the Model manifests of the example fleet from the index, so that digests, sizes and figures are never typed.

Usage: ``.venv/bin/python examples/models/manifests.py [--check]``

Writes ``examples/fleet/models/<model>.yaml`` and the checksum and size of the OnDeviceModel that delivers the same
bytes to phones. ``--check`` writes nothing and exits with 1 where a file is not what the index asks for.

Only what an author would know goes in: a version whose author never compared cohorts has no ``fairness`` in its
evaluation, and its accuracy is the one on the author's own labels.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

EXAMPLES = Path(__file__).resolve().parents[1]
ON_DEVICE = Path("fleet/deployments/triage-mobile.yaml")
ON_DEVICE_VARIANT = ("triage", "1.1.0", "lite")


@dataclass(frozen=True, slots=True)
class Release:
    """What the index does not know of a version: when it was released and what its author evaluated."""

    released: str
    dataset: str
    note: str
    cohorts_compared: bool = True


@dataclass(frozen=True, slots=True)
class Family:
    """What the index does not know of a model. ``requirements`` are lines of YAML by tier."""

    about: str
    description: str
    modalities: tuple[str, ...]
    capabilities: tuple[str, ...]
    tags: Mapping[str, str]
    dataset: str
    releases: Mapping[str, Release]
    requirements: Mapping[str, str]


FAMILIES: Mapping[str, Family] = {
    "triage": Family(
        about="Which diabetes patients to refer, from ten values measured at baseline.",
        description="refers a patient if the disease is expected to progress within a year",
        modalities=("tabular",),
        capabilities=("clinical-triage",),
        tags={
            "project": "diabetes-care",
            "team": "clinical-ai",
            "businessUnit": "health",
            "feature": "referral",
            "environment": "production",
        },
        dataset="diabetes data (442 patients), training half",
        releases={
            "1.0.0": Release("2026-03-02", "held-out half", "half of the registry"),
            "1.1.0": Release("2026-08-17", "held-out half", "the whole registry"),
            "1.2.0": Release(
                "2026-11-16",
                "held-out half of the later extract, labelled as the clinics recorded it",
                "a later extract; its author looked at accuracy alone, so nothing here speaks of cohorts",
                cohorts_compared=False,
            ),
        },
        requirements={
            "lite": "{memory: 48Mi}",
            "standard": '{memory: 2Gi, cpu: "2"}',
            "premium": '{memory: 8Gi, cpu: "8", power: [mains]}',
        },
    ),
    "digits": Family(
        about="Which digit is written in an 8 x 8 picture.",
        description="reads one handwritten digit",
        modalities=("image",),
        capabilities=("character-recognition",),
        tags={
            "project": "meter-reading",
            "team": "vision",
            "businessUnit": "utilities",
            "feature": "digits",
            "environment": "production",
        },
        dataset="handwritten digits (1,797 pictures), training half",
        releases={
            "2.0.0": Release("2026-04-13", "held-out half", "pictures as they are"),
            "2.1.0": Release("2026-09-07", "held-out half", "also moved, turned and scaled copies"),
            "2.2.0": Release("2026-11-09", "held-out half", "looks at a picture in many views and averages"),
        },
        requirements={
            "lite": "{memory: 48Mi}",
            "standard": '{memory: 3Gi, cpu: "2"}',
            "premium": "{memory: 4Gi, accelerator: cuda}",
        },
    ),
    "claims": Family(
        about="Whether a written claim agrees with the digit in an 8 x 8 picture.",
        description="compares a picture of a digit with a sentence about it; the sentences that it learned from are generated",
        modalities=("image", "text"),
        capabilities=("character-recognition",),
        tags={
            "project": "paper-forms",
            "team": "vision",
            "businessUnit": "health",
            "feature": "form-check",
            "environment": "production",
        },
        dataset="handwritten digits (1,797 pictures), training half, with generated claims",
        releases={"1.0.0": Release("2026-11-20", "held-out half, with generated claims", "a picture and a claim")},
        requirements={"lite": "{memory: 48Mi}", "standard": "{memory: 2Gi}"},
    ),
}


def number(value: float) -> str:
    """``value`` in plain decimal digits, never with an exponent."""
    text = f"{Decimal(repr(value)):f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def manifest(model: str, index: Mapping[str, Any]) -> str:
    """The YAML of one Model, with every version in the index. Raises KeyError for a version that nothing is known of."""
    family = FAMILIES[model]
    tags = ", ".join(f"{key}: {value}" for key, value in family.tags.items())
    lines = [
        f"# {family.about}",
        "# Written by examples/models/manifests.py from examples/models/index.json; edit those instead.",
        "apiVersion: apexlogic.ai/v1",
        "kind: Model",
        "metadata:",
        f"  name: {model}",
        "  namespace: fleet",
        "spec:",
        f"  description: {family.description}",
        f"  modalities: [{', '.join(family.modalities)}]",
        f"  capabilities: [{', '.join(family.capabilities)}]",
        f"  tags: {{{tags}}}",
        *_alignment(index["models"][model].get("alignment")),
        "  versions:",
    ]
    entries = [entry for entry in index["variants"] if entry["model"] == model]
    for version in dict.fromkeys(entry["version"] for entry in entries):
        variants = [entry for entry in entries if entry["version"] == version]
        lines += _version(family, family.releases[version], variants)
    return "\n".join(lines) + "\n"


def _alignment(alignment: Mapping[str, Any] | None) -> list[str]:
    if alignment is None:
        return []
    attribute, outcome = alignment["attribute"], alignment["outcome"]
    return [
        "  alignment:",
        "    attribute:",
        f"      input: {attribute['input']}",
        f"      column: {attribute['column']}",
        "      cohorts:",
        *(f"        {name}: {{value: {number(value)}}}" for name, value in attribute["cohorts"].items()),
        f"    outcome: {{output: {outcome['output']}, positive: {number(outcome['positive'])}}}",
    ]


def _version(family: Family, release: Release, variants: Sequence[Mapping[str, Any]]) -> list[str]:
    # One evaluation per version: that of the standard tier, which most devices run.
    standard = next(entry for entry in variants if entry["tier"] == "standard")
    evaluation = standard["evaluation"]
    accuracy = (evaluation if release.cohorts_compared else evaluation["ownValidation"])["accuracy"]["value"]
    lines = [
        f'    - version: "{standard["version"]}" # {release.note}',
        f'      released: "{release.released}"',
        "      lineage:",
        "        pipeline: examples/models/build.py",
        f"        dataset: {family.dataset}",
        "      evaluation:",
        f"        dataset: {release.dataset}",
        f"        accuracy: {number(accuracy)}",
        f"        latencySeconds: {number(standard['measured']['wallSecondsPerInference']['value'])}",
    ]
    if release.cohorts_compared and "cohorts" in evaluation:
        lines.append("        fairness:")
        for name, cohort in evaluation["cohorts"].items():
            rate = cohort["selectionRate"]
            lines.append(f"          {name}: {{n: {rate['n']}, positiveRate: {number(rate['value'])}}}")
    lines.append("      variants:")
    for entry in variants:
        cpu = entry["measured"]["cpuSecondsPerInference"]
        bounds = ", ".join(f"{key}: {number(cpu[key])}" for key in ("value", "low", "high"))
        uri = f"s3://apexlogic-models/{entry['model']}/{entry['version']}/{entry['tier']}.onnx"
        lines += [
            f"        - tier: {entry['tier']}",
            f"          digest: {entry['digest']}",
            f"          size: {entry['size']}",
            f"          uri: {uri}",
            f"          format: {entry['format']}",
            f"          quantization: {entry['quantization']}",
            f"          requirements: {family.requirements[entry['tier']]}",
            "          profile:",
            "            grade: measured",
            f"            cpuSeconds: {{{bounds}}}",
            f'            memoryPeak: "{entry["measured"]["addedMemoryBytes"]}"',
        ]
    return lines


def on_device(text: str, index: Mapping[str, Any]) -> str:
    """The OnDeviceModel's YAML with checksum and size from the index."""
    entry = next(
        entry for entry in index["variants"] if (entry["model"], entry["version"], entry["tier"]) == ON_DEVICE_VARIANT
    )
    text = re.sub(r"(?m)^  checksum: .*$", f"  checksum: {entry['digest']}", text)
    return re.sub(r"(?m)^  size: .*$", f"  size: {entry['size']}", text)


def expected(examples: Path) -> dict[Path, str]:
    """Every file that depends on the index, as it should be, by its path below the folder ``examples``."""
    index: dict[str, Any] = json.loads((examples / "models" / "index.json").read_text(encoding="utf-8"))
    files = {Path(f"fleet/models/{model}.yaml"): manifest(model, index) for model in index["models"]}
    files[ON_DEVICE] = on_device((examples / ON_DEVICE).read_text(encoding="utf-8"), index)
    return files


def main(arguments: Sequence[str] | None = None) -> int:
    """Write or compare; returns the exit code."""
    parser = argparse.ArgumentParser(prog="manifests.py", description="Write the example fleet's Model manifests.")
    parser.add_argument("--check", action="store_true", help="write nothing; exit with 1 where a file is out of step")
    options = parser.parse_args(arguments)
    stale = [
        path
        for path, text in expected(EXAMPLES).items()
        if not (EXAMPLES / path).exists() or (EXAMPLES / path).read_text(encoding="utf-8") != text
    ]
    for path in stale:
        print(f"{path}: out of step with models/index.json", file=sys.stderr)
        if not options.check:
            (EXAMPLES / path).parent.mkdir(parents=True, exist_ok=True)
            (EXAMPLES / path).write_text(expected(EXAMPLES)[path], encoding="utf-8")
    return 1 if stale and options.check else 0


if __name__ == "__main__":
    sys.exit(main())
