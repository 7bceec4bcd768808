"""``model.yaml``: what the fleet says about the model beside it. The agent writes it as JSON, which is YAML."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from trimtab_edge.conduct import FIELDS as CONDUCT_FIELDS
from trimtab_edge.conduct import Conduct, read_conduct
from trimtab_kernel.canonical import Json
from trimtab_kernel.desired import (
    Alignment,
    InferenceRules,
    alignment_json,
    inference_json,
    parse_alignment,
    parse_inference,
)
from trimtab_kernel.identity import Digest, IdentityError
from trimtab_kernel.problems import InputError, Problem, printable, quoted
from trimtab_kernel.vocabulary import TAGS

if TYPE_CHECKING:
    import yaml

MAX_BYTES = 4 * 1024 * 1024
"""Whatever a desired document (at most 1 MiB) says of a model fits, escapes included."""
_MAX_DEPTH = 32
_FIELDS = ("alignment", "digest", "flags", "format", "inference", "quantization", "tags", "tier", *CONDUCT_FIELDS)


@dataclass(frozen=True, slots=True)
class ModelDescription:
    """What is known about one variant of one version, besides its bytes."""

    digest: Digest | None = None
    tier: str = ""
    format: str = "onnx"
    quantization: str = "none"
    alignment: Alignment | None = None
    tags: tuple[tuple[str, str], ...] = ()
    flags: tuple[tuple[str, bool], ...] = ()
    inference: InferenceRules | None = None
    conduct: Conduct = field(default_factory=Conduct)
    """Written by people only: the agent has nothing to say about it, so :meth:`to_bytes` leaves it out."""

    def labels(self) -> dict[str, str]:
        """What series of the model are labelled with: its tags in the words of metrics, tier and quantization."""
        tags = dict(self.tags)
        words = {"businessUnit": "business_unit"}
        found = {words.get(name, name): tags[name] for name in TAGS if name in tags}
        return {**found, "tier": self.tier, "quantization": self.quantization}

    def to_bytes(self) -> bytes:
        """The content of ``model.yaml``."""
        fields: dict[str, Json] = {
            "tier": self.tier,
            "format": self.format,
            "quantization": self.quantization,
            "tags": dict(self.tags),
            "flags": dict(self.flags),
        }
        if self.digest:
            fields["digest"] = str(self.digest)
        if self.alignment:
            fields["alignment"] = alignment_json(self.alignment)
        if self.inference:
            fields["inference"] = inference_json(self.inference)
        return json.dumps(fields, sort_keys=True, separators=(",", ":")).encode() + b"\n"


def read_description(content: bytes, file: str) -> ModelDescription:
    """Read ``model.yaml``. Unknown fields are refused. Raises :class:`InputError` (E401, or E203 within the alignment)."""

    def refused(place: str, got: object, expected: str) -> InputError:
        return InputError(Problem("E401", file, 0, place, quoted(got), expected))

    if len(content) > MAX_BYTES:
        raise refused("", f"{len(content)} bytes", f"at most {MAX_BYTES} bytes")
    data = _parse(content, file)
    if data is None:
        return ModelDescription()
    if not isinstance(data, dict):
        raise refused("", type(data).__name__, f"an object with {', '.join(_FIELDS)}")
    for key in data:
        if key not in _FIELDS:
            raise refused(str(key), "an unknown field", f"one of {', '.join(_FIELDS)}")

    def text(key: str, default: str) -> str:
        value = data.get(key, default)
        if not isinstance(value, str) or len(value) > 256:
            raise refused(key, value, "a string of at most 256 characters")
        return value

    def mapping(key: str, kind: type) -> tuple[tuple[str, Any], ...]:
        value = data.get(key) or {}
        if not isinstance(value, dict) or not all(isinstance(k, str) and isinstance(v, kind) for k, v in value.items()):
            raise refused(key, type(value).__name__, f"an object of {kind.__name__} values")
        return tuple(sorted(value.items()))

    digest = None
    if data.get("digest") is not None:
        try:
            digest = Digest.parse(text("digest", ""))
        except IdentityError as error:
            raise refused("digest", data["digest"], str(error).removeprefix("expected ")) from None
    alignment = data.get("alignment")
    return ModelDescription(
        digest=digest,
        tier=text("tier", ""),
        format=text("format", "onnx"),
        quantization=text("quantization", "none"),
        alignment=None if alignment is None else parse_alignment(_exact_numbers(alignment), file),
        tags=mapping("tags", str),
        flags=mapping("flags", bool),
        inference=None if data.get("inference") is None else parse_inference(_exact_cpu(data["inference"]), file),
        conduct=read_conduct(data, file),
    )


def _parse(content: bytes, file: str) -> object:
    try:
        text = content.decode("utf-8")
    except UnicodeDecodeError as error:
        raise InputError(Problem("E401", file, 0, "", quoted(str(error)), "UTF-8")) from None
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return _parse_yaml(text, file)


def _parse_yaml(text: str, file: str) -> object:
    # A device whose files the agent wrote never gets here, and so never pays for this import.
    import yaml

    depth = 0
    try:
        for event in yaml.parse(text, Loader=yaml.SafeLoader):
            if isinstance(event, yaml.AliasEvent):
                raise _at(file, event, "an alias", "plain YAML without anchors and aliases")
            depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
            if depth > _MAX_DEPTH:
                raise _at(file, event, "deep nesting", f"at most {_MAX_DEPTH} levels")
        return yaml.safe_load(text)
    except (yaml.YAMLError, ValueError, AttributeError) as error:  # the last one for a !!timestamp that is none
        mark = error.problem_mark if isinstance(error, yaml.MarkedYAMLError) else None
        got = quoted(printable(str(getattr(error, "problem", None) or error), 120))
        raise InputError(Problem("E401", file, mark.line + 1 if mark is not None else 0, "", got, "YAML")) from None


def _at(file: str, event: yaml.Event, got: str, expected: str) -> InputError:
    line = event.start_mark.line + 1 if event.start_mark is not None else 0
    return InputError(Problem("E401", file, line, "", got, expected))


def _exact_cpu(inference: object) -> object:
    """As :func:`_exact_numbers`: people write ``dailyCpuSeconds: 60``."""
    if not isinstance(inference, dict):
        return inference
    cpu = inference.get("dailyCpuSeconds")
    if not isinstance(cpu, (int, float)) or isinstance(cpu, bool):
        return inference
    return {**inference, "dailyCpuSeconds": f"{Decimal(repr(cpu)):f}"}


def _exact_numbers(alignment: object) -> object:
    """The alignment with bare numbers as text: people write ``value: 1``, the desired document carries ``"1"``."""

    def exact(value: object) -> object:
        if isinstance(value, (int, float)) and not isinstance(value, bool):
            return f"{Decimal(repr(value)):f}"
        return value

    if not isinstance(alignment, dict):
        return alignment
    result = dict(alignment)
    attribute, outcome = result.get("attribute"), result.get("outcome")
    if isinstance(attribute, dict) and isinstance(attribute.get("cohorts"), dict):
        cohorts = {
            name: {key: exact(value) for key, value in rule.items()} if isinstance(rule, dict) else rule
            for name, rule in attribute["cohorts"].items()
        }
        result["attribute"] = {**attribute, "cohorts": cohorts}
    if isinstance(outcome, dict) and "positive" in outcome:
        result["outcome"] = {**outcome, "positive": exact(outcome["positive"])}
    return result
