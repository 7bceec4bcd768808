"""Alignment evidence: what a device knows about one model version, in a form that leaves it and adds up over a fleet.

Counts by cohort, a score histogram and quantile sketches; never rows. It is canonical JSON (:mod:`trimtab_kernel.canonical`).
The sketches are opaque bytes here: who merges passes in how two of them merge, because the kernel is the standard
library alone (the devices and the bot call the same sketch library).

The reader takes bytes that may come from anywhere, so it checks sizes and every field, and each sketch down to its values.
"""

from __future__ import annotations

import base64
import binascii
import json
from dataclasses import dataclass, field, replace
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from trimtab_kernel import vocabulary
from trimtab_kernel.canonical import Json, canonical_json
from trimtab_kernel.fairness import Confusion
from trimtab_kernel.intervals import CohortCount
from trimtab_kernel.problems import InputError, Problem, quoted
from trimtab_kernel.scores import SCORE_BINS, ScoreHistogram
from trimtab_kernel.sketches import check_kll

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

KIND = "AlignmentEvidence"
MAX_BYTES = 4 * 1024 * 1024
MAX_SKETCHES = 256
MAX_SKETCH_BYTES = 16 * 1024
MAX_COHORTS = 16
KLL_FLOATS = "kll-floats"
"""The one kind of sketch so far: Karnin, Lang, Liberty, "Optimal Quantile Approximation in Streams", FOCS 2016, serialised
by Apache DataSketches (version 2 of its KLL format, single precision)."""
_MAX_COUNT = 2**53 - 1


@dataclass(frozen=True, slots=True)
class CohortEvidence:
    """One cohort: all decisions, and those whose label came."""

    positive: int = 0
    negative: int = 0
    labelled: Confusion = field(default_factory=Confusion)

    @property
    def count(self) -> CohortCount:
        """All decisions, as intervals take them."""
        return CohortCount(self.positive + self.negative, self.positive)

    def __add__(self, other: CohortEvidence) -> CohortEvidence:
        return CohortEvidence(
            self.positive + other.positive, self.negative + other.negative, self.labelled + other.labelled
        )


@dataclass(frozen=True, slots=True)
class Sketch:
    """The distribution of one feature: ``k`` rules its size and error, ``n`` values went in; ``payload`` is the sketch."""

    feature: str
    modality: str
    k: int
    n: int
    payload: bytes
    kind: str = KLL_FLOATS


@dataclass(frozen=True, slots=True)
class Evidence:
    """Everything about one version of one model. ``sources`` devices (or processes) went into it.

    ``epsilon`` is None for exact counts; otherwise each period's counts had discrete Laplace noise added that makes one
    row's part in them differentially private with this parameter, over ``periods`` periods.
    """

    model: str
    version: str
    cohorts: Mapping[str, CohortEvidence]
    scores: ScoreHistogram | None = None
    sketches: tuple[Sketch, ...] = ()
    epsilon: Decimal | None = None
    periods: int = 0
    sources: int = 1

    def to_bytes(self) -> bytes:
        """The canonical bytes."""
        return canonical_json(_json(self))


def merge(one: Evidence, other: Evidence, merge_sketches: Callable[[bytes, bytes], bytes]) -> Evidence:
    """Both together. Counts add; sketches of one feature go through ``merge_sketches``.

    Order does not matter for counts; sketches agree within their error. A cohort or feature that only one side has is
    kept. Raises ValueError where model, version or privacy parameter differ: such counts say nothing together.
    """
    for name in ("model", "version", "epsilon"):
        if getattr(one, name) != getattr(other, name):
            raise ValueError(f"cannot merge evidence: {name} {getattr(one, name)} and {getattr(other, name)}")
    cohorts = {
        name: one.cohorts.get(name, CohortEvidence()) + other.cohorts.get(name, CohortEvidence())
        for name in sorted({*one.cohorts, *other.cohorts})
    }
    scores = one.scores + other.scores if one.scores and other.scores else one.scores or other.scores
    sketches = {_key(sketch): sketch for sketch in one.sketches}
    for sketch in other.sketches:
        key = _key(sketch)
        there = sketches.get(key)
        if there is None:
            sketches[key] = sketch
        else:
            payload = merge_sketches(there.payload, sketch.payload)
            sketches[key] = replace(sketch, k=min(there.k, sketch.k), n=there.n + sketch.n, payload=payload)
    return replace(
        one,
        cohorts=cohorts,
        scores=scores,
        sketches=tuple(sketches[key] for key in sorted(sketches)),
        periods=max(one.periods, other.periods),
        sources=one.sources + other.sources,
    )


def _key(sketch: Sketch) -> tuple[str, str, str]:
    return (sketch.feature, sketch.modality, sketch.kind)


def _json(evidence: Evidence) -> dict[str, Json]:
    data: dict[str, Json] = {
        "apiVersion": vocabulary.API_DESIRED,
        "kind": KIND,
        "model": evidence.model,
        "version": evidence.version,
        "sources": evidence.sources,
        "cohorts": {
            name: {
                "positive": cohort.positive,
                "negative": cohort.negative,
                "truePositives": cohort.labelled.true_positives,
                "falsePositives": cohort.labelled.false_positives,
                "falseNegatives": cohort.labelled.false_negatives,
                "trueNegatives": cohort.labelled.true_negatives,
            }
            for name, cohort in evidence.cohorts.items()
        },
        "sketches": [
            {
                "feature": sketch.feature,
                "modality": sketch.modality,
                "kind": sketch.kind,
                "k": sketch.k,
                "n": sketch.n,
                "payload": base64.b64encode(sketch.payload).decode("ascii"),
            }
            for sketch in evidence.sketches
        ],
    }
    if evidence.scores is not None:
        data["scores"] = {
            "positive": list(evidence.scores.positive),
            "negative": list(evidence.scores.negative),
            "positiveMillionths": evidence.scores.positive_millionths,
            "negativeMillionths": evidence.scores.negative_millionths,
            "labelled": list(evidence.scores.labelled),
            "labelledPositive": list(evidence.scores.labelled_positive),
        }
    if evidence.epsilon is not None:
        data["privacy"] = {"epsilon": f"{evidence.epsilon:f}", "periods": evidence.periods}
    return data


def parse_evidence(content: bytes, file: str = "") -> Evidence:
    """Read evidence from untrusted bytes. Raises :class:`InputError` (E501) that names the field."""
    reader = _Reader(file)
    if len(content) > MAX_BYTES:
        raise reader.fail("", f"{len(content)} bytes", f"at most {MAX_BYTES} bytes")
    try:
        data = json.loads(content.decode("utf-8"))
    except (ValueError, RecursionError):
        raise reader.fail("", "no JSON", "a JSON object in UTF-8") from None
    return reader.evidence(data)


@dataclass(frozen=True, slots=True)
class _Reader:
    file: str

    def fail(self, place: str, got: object, expected: str) -> InputError:
        return InputError(Problem("E501", self.file, 0, place, quoted(got), expected))

    def obj(self, value: object, place: str, required: set[str], optional: tuple[str, ...] = ()) -> dict[str, Any]:
        if not isinstance(value, dict):
            raise self.fail(place, type(value).__name__, "an object")
        for key in value:
            if key not in required and key not in optional:
                raise self.fail(
                    f"{place}.{key}".lstrip("."), "an unknown field", ", ".join(sorted({*required, *optional}))
                )
        for key in sorted(required - value.keys()):
            raise self.fail(f"{place}.{key}".lstrip("."), "nothing", "a value")
        return value

    def count(self, value: object, place: str, low: int = 0, high: int = _MAX_COUNT) -> int:
        if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
            raise self.fail(place, value, f"an integer from {low} to {high}")
        return value

    def text(self, value: object, place: str, limit: int = 256) -> str:
        if not isinstance(value, str) or not 0 < len(value) <= limit:
            raise self.fail(place, value, f"a string of 1 to {limit} characters")
        return value

    def evidence(self, value: object) -> Evidence:
        data = self.obj(
            value,
            "",
            {"apiVersion", "kind", "model", "version", "sources", "cohorts", "sketches"},
            ("scores", "privacy"),
        )
        if data["apiVersion"] != vocabulary.API_DESIRED or data["kind"] != KIND:
            raise self.fail("kind", data["kind"], f"{vocabulary.API_DESIRED} {KIND}")
        cohorts, sketches = data["cohorts"], data["sketches"]
        if not isinstance(cohorts, dict) or len(cohorts) > MAX_COHORTS:
            raise self.fail("cohorts", type(cohorts).__name__, f"an object of at most {MAX_COHORTS} cohorts")
        if not isinstance(sketches, list) or len(sketches) > MAX_SKETCHES:
            raise self.fail("sketches", type(sketches).__name__, f"a list of at most {MAX_SKETCHES} sketches")
        epsilon, periods = None, 0
        if "privacy" in data:
            privacy = self.obj(data["privacy"], "privacy", {"epsilon", "periods"})
            epsilon = self.epsilon(privacy["epsilon"])
            periods = self.count(privacy["periods"], "privacy.periods")
        return Evidence(
            model=self.text(data["model"], "model"),
            version=self.text(data["version"], "version"),
            cohorts={
                self.text(name, "cohorts", 64): self.cohort(cohort, f"cohorts.{name}")
                for name, cohort in cohorts.items()
            },
            scores=self.scores(data["scores"]) if "scores" in data else None,
            sketches=tuple(self.sketch(sketch, f"sketches[{place}]") for place, sketch in enumerate(sketches)),
            epsilon=epsilon,
            periods=periods,
            sources=self.count(data["sources"], "sources", 1),
        )

    def epsilon(self, value: object) -> Decimal:
        text = self.text(value, "privacy.epsilon", 32)
        if not text.isascii() or not text.replace(".", "", 1).isdigit() or Decimal(text) <= 0:
            raise self.fail("privacy.epsilon", text, "a decimal number above 0 in a string")
        return Decimal(text)

    def cohort(self, value: object, place: str) -> CohortEvidence:
        names = ("positive", "negative", "truePositives", "falsePositives", "falseNegatives", "trueNegatives")
        data = self.obj(value, place, set(names))
        positive, negative, *cells = (self.count(data[name], f"{place}.{name}") for name in names)
        return CohortEvidence(positive, negative, Confusion(*cells))

    def bins(self, value: object, place: str) -> tuple[int, ...]:
        if not isinstance(value, list) or len(value) != SCORE_BINS:
            raise self.fail(place, type(value).__name__, f"a list of {SCORE_BINS} counts")
        return tuple(self.count(item, f"{place}[{index}]") for index, item in enumerate(value))

    def scores(self, value: object) -> ScoreHistogram:
        lists = ("positive", "negative", "labelled", "labelledPositive")
        sums = ("positiveMillionths", "negativeMillionths")
        data = self.obj(value, "scores", {*lists, *sums})
        positive, negative, labelled, labelled_positive = (self.bins(data[name], f"scores.{name}") for name in lists)
        up, down = (self.count(data[name], f"scores.{name}") for name in sums)
        return ScoreHistogram(positive, negative, up, down, labelled, labelled_positive)

    def sketch(self, value: object, place: str) -> Sketch:
        data = self.obj(value, place, {"feature", "modality", "kind", "k", "n", "payload"})
        if data["kind"] != KLL_FLOATS:
            raise self.fail(f"{place}.kind", data["kind"], KLL_FLOATS)
        text = self.text(data["payload"], f"{place}.payload", MAX_SKETCH_BYTES * 4 // 3 + 4)
        try:
            payload = base64.b64decode(text, validate=True)
        except (binascii.Error, ValueError):
            raise self.fail(f"{place}.payload", "no base64", "base64") from None
        n = self.count(data["n"], f"{place}.n")
        try:
            inside = check_kll(payload)
        except ValueError as error:
            raise self.fail(f"{place}.payload", str(error), "a KLL sketch of single-precision numbers") from None
        if inside != n:
            raise self.fail(f"{place}.n", n, f"{inside}, as the sketch says")
        return Sketch(
            feature=self.text(data["feature"], f"{place}.feature", 320),
            modality=self.text(data["modality"], f"{place}.modality", 32),
            k=self.count(data["k"], f"{place}.k", 8, 65535),
            n=n,
            payload=payload,
        )
