"""Manifests made by Hypothesis from the shapes of the kinds: every field may appear, every value has the right form."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from hypothesis import strategies as st

from trimtab_config.spec.kinds import KINDS, Kind, Metadata
from trimtab_config.spec.shapes import (
    BooleanShape,
    ChoiceShape,
    ListShape,
    MapShape,
    ObjectShape,
    ScalarShape,
    shape_of,
)
from trimtab_kernel.vocabulary import TAGS

if TYPE_CHECKING:
    from trimtab_config.spec.scalars import Scalar
    from trimtab_config.spec.shapes import Shape

LETTERS = "abcxyz019"
words = st.text(LETTERS, min_size=1, max_size=6)
numbers = st.integers(0, 10**6) | st.decimals(0, 10**6, places=3).map(float)
plain_text = st.text(st.characters(exclude_categories=["Cc", "Cs", "Zl", "Zp"]), min_size=1, max_size=12)

SCALARS: dict[str, st.SearchStrategy[Any]] = {
    "name": st.lists(words, min_size=1, max_size=3).map(".".join),
    "label name": words,
    "text": plain_text,
    "annotation": plain_text | st.just(""),
    "cohort name": st.text(
        st.characters(exclude_categories=["Cc", "Cs"], max_codepoint=0x2000), min_size=1, max_size=8
    ),
    "label key": st.tuples(st.sampled_from(["", "example.com/"]), words).map("".join),
    "label value": words | st.just(""),
    "region": words,
    "key": words.map(lambda word: f"k{word}"),
    "tag": st.sampled_from(TAGS),
    "version": st.from_regex(r"\A(0|[1-9][0-9]?)\.[0-9]\.[0-9](-[a-z]{1,3}(\.[1-9])?)?(\+[a-z0-9]{1,3})?\Z"),
    "OS version": st.from_regex(r"\A((iOS|iPadOS) ?)?[0-9]{1,2}(\.[0-9]){0,2}\Z"),
    "digest": st.binary(min_size=32, max_size=32).map(lambda raw: f"sha256:{raw.hex()}"),
    "quantity": st.sampled_from(["1Gi", "70000", "0.5Gi", "1e6", "100k", 100000, 70000.5, "+1M"]),
    "quantity above 0": st.sampled_from(["1Gi", "70000", "0.5Gi", "1e6", "100k", 100000, 70000.5]),
    "currency": st.sampled_from(["EUR", "USD"]),
    "number": numbers | numbers.map(str),
    "signed number": st.integers(-1000, 1000) | st.sampled_from(["-1.5", "0", 0.25]),
    "ratio": st.sampled_from([0, 1, 0.5, "0.25", "1.0", "0"]),
    "confidence": st.sampled_from([0.5, 0.95, "0.99"]),
    "percent": st.sampled_from([0, 100, 12.5, "33.3", "100.0", "007"]),
    "date": st.dates().map(str),
    "duration": st.sampled_from(["24h", "30m", "1d12h", "0s", "1d1h1m1s"]),
    "time zone": st.sampled_from(["Europe/Berlin", "America/Argentina/Buenos_Aires", "UTC"]),
    "window": st.sampled_from(["01:00-05:00", "22:30-04:00"]),
    "CIDR": st.sampled_from(["203.0.113.0/24", "10.1.2.3/32", "2001:db8::/32"]),
    "host": st.sampled_from(["models.example.com", "mirror", "a.b-c.d1"]),
    "uri": st.sampled_from(["s3://bucket/a.onnx", "https://example.com/m?x=1", "oci://r/m@sha256:0"]),
}


def scalar_values(scalar: Scalar) -> st.SearchStrategy[Any]:
    """Values that the scalar takes, as JSON has them."""
    if scalar.name.startswith("integer "):
        low, high = map(int, scalar.name.removeprefix("integer ").split(".."))
        return st.integers(low, high)
    return SCALARS[scalar.name]


def values(shape: Shape) -> st.SearchStrategy[Any]:
    """JSON values of a shape."""
    match shape:
        case ScalarShape(scalar):
            return scalar_values(scalar)
        case BooleanShape():
            return st.booleans()
        case ChoiceShape(choices):
            return st.sampled_from(list(choices))
        case ListShape(item, minimum):
            unique: Any = json.dumps if isinstance(item, ScalarShape | ChoiceShape) else None
            return st.lists(values(item), min_size=minimum, max_size=2, unique_by=unique)
        case MapShape(key, value, minimum):
            return st.dictionaries(scalar_values(key), values(value), min_size=minimum, max_size=2)
        case ObjectShape():
            return objects(shape)


def objects(shape: ObjectShape) -> st.SearchStrategy[Any]:
    """Objects of a shape, and the bare scalar where it takes one."""
    required = {yaml: values(field.shape) for yaml, field in shape.fields.items() if field.required}
    optional = {yaml: values(field.shape) for yaml, field in shape.fields.items() if not field.required}
    whole = st.fixed_dictionaries(required, optional=optional)
    return whole | values(shape.fields[shape.bare].shape) if shape.bare else whole


def manifests(kind: Kind) -> st.SearchStrategy[dict[str, Any]]:
    """Whole documents of a kind. Each field is right by itself; fields may contradict each other."""
    return st.fixed_dictionaries(
        {
            "apiVersion": st.just(kind.api_version),
            "kind": st.just(kind.name),
            "metadata": objects(shape_of(Metadata)),
            "spec": objects(shape_of(kind.spec)),
        }
    )


any_manifest = st.sampled_from(KINDS).flatmap(manifests)


def as_yaml(document: object) -> bytes:
    """A document as a file. JSON is YAML, once nothing in it needs a surrogate."""
    return json.dumps(document, ensure_ascii=False).encode()
