"""Build the example models: train on real rows, write ONNX files by digest, and the index that describes them.

Usage: ``.venv/bin/python examples/models/build.py [--output DIR] [--check]``

Writes ``DIR/artifacts/sha256/<hex>`` and ``DIR/models/index.json``, and the tables of ``DIR/models/README.md`` where there
is one; DIR is ``examples`` unless said. ``--check`` writes nothing: it rebuilds, and compares with DIR: predictions on the held-out rows everywhere, bytes only where
this platform (processor, BLAS kernels, package versions) is the one in the index, since trained floating-point numbers
differ in their last digits elsewhere. Exit codes: 0 done or the same, 1 different, 64 usage.

Training is seeded and uses one thread. The bad versions are explained in ``triage.py``, ``digits.py`` and README.md.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import platform
import sys
from dataclasses import dataclass
from importlib.metadata import version as installed
from pathlib import Path
from typing import TYPE_CHECKING, Any

if not __package__:  # run as a file: imports start at the root of the tree
    sys.path[0] = str(Path(__file__).resolve().parents[2])

from threadpoolctl import threadpool_info, threadpool_limits  # type: ignore[import-untyped]

from examples.models import digits, rows, triage
from examples.models.cards import with_tables
from examples.models.evaluation import answers, difference, evaluate_digits, evaluate_triage, tensors
from examples.models.graphs import IR_VERSION, OPSET
from examples.models.metering import PASSES, Subject, meter

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import numpy as np
    from numpy.typing import NDArray

EXAMPLES = Path(__file__).resolve().parents[1]
TOLERANCE = {"none": 0.005, "int8": 0.02}
"""Largest difference of a probability between platforms; an 8-bit weight may round to its neighbour."""
PACKAGES = ("numpy", "scipy", "scikit-learn", "onnx", "onnxruntime")


@dataclass(frozen=True, slots=True)
class Variant:
    """One built file and what the index says about it, evaluation and costs apart."""

    data: bytes
    recipe: triage.Recipe | digits.Recipe
    facts: dict[str, Any]

    @property
    def key(self) -> tuple[str, str, str]:
        """Model, version and tier."""
        return self.facts["model"], self.facts["version"], self.facts["tier"]

    @property
    def digest(self) -> str:
        """SHA-256 of the file as 64 hex digits."""
        return hashlib.sha256(self.data).hexdigest()


def build() -> Iterator[Variant]:
    """Train every variant, in the order of the index."""
    for recipe in triage.recipes():
        patients = rows.patients().training
        with threadpool_limits(limits=1):
            trained = triage.train(recipe, patients)
        training = {
            "rows": len(patients.sex[:: recipe.every]),
            "columns": list(recipe.columns),
            "level": recipe.level,
            "labels": "biased extract" if recipe.biased_labels else "progression",
            "threshold": trained.threshold,
        }
        yield _variant(triage.NAME, recipe, "none", trained.data, training)
    for sight in digits.recipes():
        pictures = rows.digits().training
        with threadpool_limits(limits=1):
            data = digits.train(sight, pictures)
        training = {
            "rows": len(pictures.digit),
            "copies": len(sight.copies),
            "landmarks": sight.landmarks,
            "views": max(1, len(sight.views)),
        }
        yield _variant(digits.NAME, sight, sight.quantization, data, training)


def _variant(
    model: str, recipe: triage.Recipe | digits.Recipe, quantization: str, data: bytes, training: dict[str, Any]
) -> Variant:
    facts = {
        "model": model,
        "version": recipe.version,
        "tier": recipe.tier,
        "format": "onnx",
        "quantization": quantization,
        "digest": f"sha256:{hashlib.sha256(data).hexdigest()}",
        "size": len(data),
        **tensors(data),
        "training": training,
    }
    return Variant(data, recipe, facts)


def evaluate(data: bytes, recipe: triage.Recipe | digits.Recipe) -> dict[str, Any]:
    """Figures of the file ``data``, trained by ``recipe``, on the held-out rows."""
    if isinstance(recipe, triage.Recipe):
        patients = rows.patients().held_out
        return evaluate_triage(data, triage.recorded(recipe, patients), patients)
    return evaluate_digits(data, rows.digits().held_out)


def this_platform() -> dict[str, Any]:
    """What bytes may depend on."""
    kernels = {f"{pool['internal_api']} {pool.get('version')} {pool.get('architecture')}" for pool in threadpool_info()}
    return {
        "machine": platform.machine(),
        "python": ".".join(platform.python_version_tuple()[:2]),
        "kernels": sorted(kernels),
        **{name: installed(name) for name in PACKAGES},
    }


def this_machine() -> dict[str, Any]:
    """What costs depend on, beside the versions in ``this_platform``."""
    described = Path("/proc/cpuinfo")
    lines = described.read_text(encoding="utf-8").splitlines() if described.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return {"processor": names[0] if names else platform.machine(), "cores": os.cpu_count(), "threadsUsed": 1}


def held_out_rows(model: str) -> NDArray[np.float64]:
    """The held-out inputs of ``model``, [n, width]."""
    return rows.patients().held_out.features if model == triage.NAME else rows.digits().held_out.pixels


def artifact(examples: Path, digest: str) -> Path:
    """Where the file with this digest (64 hex digits, with or without ``sha256:``) is."""
    return examples / "artifacts" / "sha256" / digest.removeprefix("sha256:")


def read_index(examples: Path) -> dict[str, Any]:
    """The index in the folder ``examples``. Raises OSError or ValueError where it cannot be read."""
    index: dict[str, Any] = json.loads((examples / "models" / "index.json").read_text(encoding="utf-8"))
    return index


def write(examples: Path, variants: Sequence[Variant], passes: int = PASSES) -> None:
    """Write files and index; remove files that an earlier index of the same folder named and this one does not.

    Costs are measured in ``passes`` passes over all files.
    """
    (examples / "models").mkdir(parents=True, exist_ok=True)
    try:
        earlier = {artifact(examples, entry["digest"]) for entry in read_index(examples)["variants"]}
    except FileNotFoundError:
        earlier = set()
    subjects = []
    for variant in variants:
        path = artifact(examples, variant.digest)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(variant.data)
        earlier.discard(path)
        subjects.append(Subject(path, variant.facts["inputs"][0]["name"], held_out_rows(variant.facts["model"])))
    costs = meter(subjects, passes)
    entries = [
        {**variant.facts, "evaluation": evaluate(variant.data, variant.recipe), "measured": cost}
        for variant, cost in zip(variants, costs, strict=True)
    ]
    for entry in entries:
        _say(entry)
    for path in earlier:
        path.unlink(missing_ok=True)
    index = {
        "about": "Written by examples/models/build.py; `measured` holds for the machine in `measuredOn` alone.",
        "platform": this_platform(),
        "measuredOn": this_machine(),
        "opset": OPSET,
        "irVersion": IR_VERSION,
        "models": {
            triage.NAME: {
                "alignment": {
                    "attribute": {"input": "features", "column": rows.SEX, "cohorts": rows.COHORTS},
                    "outcome": {"output": "label", "positive": 1},
                },
                "columns": list(rows.PATIENT_COLUMNS),
                "referAbove": rows.REFER_ABOVE,
            },
            digits.NAME: {},
        },
        "variants": entries,
    }
    (examples / "models" / "index.json").write_text(json.dumps(index, indent=2) + "\n", encoding="utf-8")
    cards = examples / "models" / "README.md"
    if cards.exists():
        cards.write_text(with_tables(cards.read_text(encoding="utf-8"), index), encoding="utf-8")


def _say(entry: dict[str, Any]) -> None:
    evaluation, cost = entry["evaluation"], entry["measured"]["cpuSecondsPerInference"]["value"]
    impact = evaluation.get("disparateImpact")
    print(
        f"{entry['model']:7} {entry['version']} {entry['tier']:8} {entry['size']:>7,} B"
        f"  accuracy {evaluation['accuracy']['value']:.3f}  {cost * 1e6:>7,.1f} us CPU"
        + (f"  disparate impact {impact['value']:.2f} [{impact['low']:.2f}, {impact['high']:.2f}]" if impact else ""),
        flush=True,
    )


def differences(examples: Path, rebuilt: Sequence[Variant]) -> list[str]:
    """What is different between the folder ``examples`` and variants built here; empty if nothing is."""
    index = read_index(examples)
    same_platform = index["platform"] == this_platform()
    committed = {(entry["model"], entry["version"], entry["tier"]): entry for entry in index["variants"]}
    found = [
        f"{' '.join(key)}: not in the index" for key in sorted({variant.key for variant in rebuilt} - set(committed))
    ]
    found += [
        f"{' '.join(key)}: in the index, but not built" for key in sorted(set(committed) - {one.key for one in rebuilt})
    ]
    for variant in rebuilt:
        entry = committed.get(variant.key)
        if entry is None:
            continue
        data = artifact(examples, entry["digest"]).read_bytes()
        place = " ".join(variant.key)
        if hashlib.sha256(data).hexdigest() != entry["digest"].removeprefix("sha256:"):
            found.append(f"{place}: the file is not what its name and the index say")
        if data == variant.data:
            continue
        if same_platform:
            found.append(
                f"{place}: bytes differ on the platform of the index: expected {entry['digest']}, got {variant.digest}"
            )
        asked = held_out_rows(entry["model"])
        tolerance = TOLERANCE[entry["quantization"]]
        threshold = entry["training"].get("threshold")
        apart = difference(
            answers(data, asked),
            answers(variant.data, asked),
            tolerance,
            threshold,
        )
        if not apart.within(tolerance):
            found.append(
                f"{place}: {apart.labels} labels differ, probabilities by up to {apart.certainty:.2g} (allowed {tolerance})"
            )
    return found


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the builder; returns the exit code."""
    parser = argparse.ArgumentParser(prog="build.py", description="Build the example models.")
    parser.add_argument("--output", type=Path, default=EXAMPLES, help="the folder of artifacts/ and models/index.json")
    parser.add_argument("--check", action="store_true", help="rebuild, compare with the folder, write nothing to it")
    try:
        options = parser.parse_args(arguments)
    except SystemExit as stop:
        return 64 if stop.code else 0
    variants = list(build())
    if not options.check:
        write(options.output, variants)
        return 0
    found = differences(options.output, variants)
    for line in found:
        print(line, file=sys.stderr)
    print(f"{len(variants)} models rebuilt: " + (f"{len(found)} differences" if found else "the same as in the index"))
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
