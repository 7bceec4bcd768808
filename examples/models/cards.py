"""The tables of the model cards in README.md, made from ``index.json`` so that no figure is typed.

Pure: text and index in, text out. A table stands between ``<!-- NAME -->`` and ``<!-- end -->``.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


def with_tables(readme: str, index: Mapping[str, Any]) -> str:
    """``readme`` with its tables of models and costs as ``index`` has them. Raises ValueError where a marker is missing."""
    for name, rows in (("triage", _triage(index)), ("digits", _digits(index)), ("claims", _claims(index))):
        place = re.compile(rf"(<!-- {name} -->\n).*?(<!-- end -->)", re.DOTALL)
        table = "".join(f"| {' | '.join(row)} |\n" for row in rows)
        parts = place.split(readme)
        if len(parts) != 4:  # text, marker, marker, text
            raise ValueError(f"expected one place between <!-- {name} --> and <!-- end -->, got {len(parts) // 3}")
        readme = f"{parts[0]}{parts[1]}{table}{parts[2]}{parts[3]}"
    return readme


def _triage(index: Mapping[str, Any]) -> list[Sequence[str]]:
    rows: list[Sequence[str]] = [
        ("version", "tier", "bytes", "AUC", "own AUC", "accuracy", "sensitivity by sex (1, 2)",
         "referred by sex (1, 2)", "disparate impact, 95 %"),
        ("---",) * 9,
    ]  # fmt: skip
    for entry in _entries(index, "triage"):
        found = entry["evaluation"]
        cohorts = found["cohorts"].values()
        rows.append(
            (
                entry["version"],
                entry["tier"],
                f"{entry['size']:,}",
                f"{found['auc']:.2f}",
                f"{found['ownValidation']['auc']:.2f}",
                f"{found['accuracy']['value']:.2f}",
                ", ".join(f"{cohort['sensitivity']['value']:.2f}" for cohort in cohorts),
                ", ".join(f"{cohort['selectionRate']['value']:.2f}" for cohort in cohorts),
                _interval(found["disparateImpact"], 2),
            )
        )
    return rows


def _digits(index: Mapping[str, Any]) -> list[Sequence[str]]:
    rows: list[Sequence[str]] = [
        ("version", "tier", "bytes", "weights", "accuracy, 95 %", "CPU per inference", "at saturation", "times 2.1.0",
         "memory added"),
        ("---",) * 9,
    ]  # fmt: skip
    entries = _entries(index, "digits")
    usual = {entry["tier"]: _cpu(entry) for entry in entries if entry["version"] == "2.1.0"}
    for entry in entries:
        rows.append(
            (
                entry["version"],
                entry["tier"],
                f"{entry['size']:,}",
                "int8" if entry["quantization"] == "int8" else "fp32",
                _interval(entry["evaluation"]["accuracy"], 3),
                *_us(entry),
                f"{_cpu(entry) / usual[entry['tier']]:.0f}" if entry["version"] == "2.2.0" else "",
                f"{entry['measured']['addedMemoryBytes'] / 2**20:.0f} MiB",
            )
        )
    return rows


def _claims(index: Mapping[str, Any]) -> list[Sequence[str]]:
    rows: list[Sequence[str]] = [
        (
            "version",
            "tier",
            "bytes",
            "weights",
            "accuracy, 95 %",
            "plain",
            "negated",
            "names no digit",
            "CPU per inference",
            "at saturation",
        ),
        ("---",) * 10,
    ]
    for entry in _entries(index, "claims"):
        found = entry["evaluation"]
        kinds = [f"{found['byClaim'][kind]['value']:.3f}" for kind in ("plain", "negated", "namesNoDigit")]
        weights = "int8" if entry["quantization"] == "int8" else "fp32"
        size, accuracy = f"{entry['size']:,}", _interval(found["accuracy"], 3)
        rows.append((entry["version"], entry["tier"], size, weights, accuracy, *kinds, *_us(entry)))
    return rows


def _entries(index: Mapping[str, Any], model: str) -> list[dict[str, Any]]:
    return [entry for entry in index["variants"] if entry["model"] == model]


def _cpu(entry: Mapping[str, Any]) -> float:
    return float(entry["measured"]["cpuSecondsPerInference"]["value"])


def _us(entry: Mapping[str, Any]) -> tuple[str, str]:
    return f"{_cpu(entry) * 1e6:,.0f} us", f"{entry['measured']['cpuSecondsAtSaturation'] * 1e6:,.0f} us"


def _interval(found: Mapping[str, float], digits: int) -> str:
    return f"{found['value']:.{digits}f} [{found['low']:.{digits}f}, {found['high']:.{digits}f}]"
