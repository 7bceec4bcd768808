"""The CustomResourceDefinitions: current, structural, and of one mind with the reader as far as OpenAPI can say.

OpenAPI 3.0 schemas are of JSON Schema draft 4, so a validator of that draft judges here as the API server does; the lab
applies the same definitions and objects to a real one.
"""

from __future__ import annotations

import copy
import functools
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from tests.config.generated import any_manifest, as_yaml
from trimtab_config.cli import main
from trimtab_config.emit.yaml_stream import yaml_stream
from trimtab_config.spec.crd import crd_file, crd_of
from trimtab_config.spec.kinds import KINDS, Kind
from trimtab_config.spec.plain import plain_document
from trimtab_config.spec.reader import read_documents

ROOT = Path(__file__).parents[2]
CRDS = ROOT / "helm/trimtab/crds"
JUNCTORS = {"anyOf", "oneOf", "allOf", "not"}


def schema_of(kind: Kind) -> dict[str, Any]:
    [version] = crd_of(kind)["spec"]["versions"]
    schema: dict[str, Any] = version["schema"]["openAPIV3Schema"]
    return schema


def with_types(value: Any) -> Any:  # noqa: ANN401 - any JSON value
    """The schema with ``x-kubernetes-int-or-string`` said in draft 4."""
    if isinstance(value, dict):
        found = {key: with_types(below) for key, below in value.items()}
        if found.pop("x-kubernetes-int-or-string", False):
            found["type"] = ["integer", "string"]
        return found
    return [with_types(below) for below in value] if isinstance(value, list) else value


@functools.cache
def validator(name: str) -> jsonschema.Draft4Validator:
    [kind] = [kind for kind in KINDS if kind.name == name]
    return jsonschema.Draft4Validator(with_types(schema_of(kind)))


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_the_committed_definition_is_current(kind: Kind) -> None:
    """`trimtab schema --all --crd --output-dir helm/trimtab/crds` writes them anew."""
    assert (CRDS / crd_file(kind)).read_text("utf-8") == yaml_stream([crd_of(kind)])


def test_the_command_prints_one_definition(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["schema", "hold", "--crd"]) == 0
    assert yaml.safe_load(capsys.readouterr().out)["metadata"]["name"] == "holds.apexlogic.ai"


# ---------------------------------------------------------------- structural


def nodes(schema: dict[str, Any], place: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    """Every schema of a field, an item or a value; what junctors hold is no field's own schema."""
    yield place, schema
    for name, below in schema.get("properties", {}).items():
        yield from nodes(below, f"{place}.{name}")
    for key in ("items", "additionalProperties"):
        if isinstance(schema.get(key), dict):
            yield from nodes(schema[key], f"{place}[]")


def inside_junctors(schema: dict[str, Any]) -> Iterator[dict[str, Any]]:
    for key in JUNCTORS & schema.keys():
        below = schema[key]
        for each in below if isinstance(below, list) else [below]:
            yield each
            yield from inside_junctors(each)


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_the_schema_is_structural(kind: Kind) -> None:
    """The rules of "Specifying a structural schema" in the documentation of Kubernetes."""
    refused = {"$ref", "$defs", "definitions", "propertyNames", "patternProperties", "const", "default"}
    for place, node in nodes(schema_of(kind)):
        assert not refused & node.keys(), place
        typed = "type" in node
        assert typed != bool(node.get("x-kubernetes-int-or-string") or node.get("x-kubernetes-preserve-unknown-fields"))
        assert "uniqueItems" not in node, place
        assert node.get("additionalProperties") is not False, place
        assert not {"properties", "additionalProperties"} <= node.keys(), place
        for below in inside_junctors(node):
            assert not {"type", "description", "default", "additionalProperties"} & below.keys(), place


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_every_pattern_is_one_in_the_dialect_of_go(kind: Kind) -> None:
    """RE2 knows no look-around, no ``\\u`` and no more than a thousand repeats."""
    found = [node["pattern"] for _, node in nodes(schema_of(kind)) if "pattern" in node]
    assert found
    for pattern in found:
        re.compile(pattern)
        assert not re.search(r"\(\?[=!<]|\\u", pattern), pattern
        assert all(int(most) <= 1000 for most in re.findall(r"\{\d*,?(\d+)\}", pattern)), pattern


def test_only_what_devices_report_on_has_a_status() -> None:
    with_status = {kind.name for kind in KINDS if "subresources" in crd_of(kind)["spec"]["versions"][0]}
    assert with_status == {"EdgeAIDeployment", "OnDeviceModel"}
    for kind in KINDS:
        assert ("status" in schema_of(kind)["properties"]) == (kind.name in with_status)


def test_no_two_kinds_share_a_name() -> None:
    names = [crd_of(kind)["spec"]["names"] for kind in KINDS]
    for key in ("kind", "plural", "singular"):
        assert len({each[key] for each in names}) == len(KINDS)
    short = [name for each in names for name in each["shortNames"]]
    assert len(set(short)) == len(short) == len(KINDS)


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_every_column_shows_a_field_that_there_is(kind: Kind) -> None:
    known = {place for place, _ in nodes(schema_of(kind))}
    for column in crd_of(kind)["spec"]["versions"][0]["additionalPrinterColumns"]:
        path = column["jsonPath"].replace("[*]", "[]")
        assert path.startswith(".metadata.") or path in known, path


# ---------------------------------------------------------------- agreement


def floats(value: Any) -> bool:  # noqa: ANN401 - any JSON value
    if isinstance(value, dict):
        return any(floats(below) for below in value.values())
    return any(floats(below) for below in value) if isinstance(value, list) else isinstance(value, float)


def test_the_definitions_accept_the_whole_example_fleet_as_it_is_read() -> None:
    count = 0
    files = {path.name: path.read_bytes() for path in sorted((ROOT / "examples/fleet").rglob("*.yaml"))}
    for document in read_documents(files).documents:
        validator(document.kind).validate(plain_document(document))
        count += 1
    assert count >= 20


@given(any_manifest)
@settings(max_examples=80)
def test_what_the_reader_accepts_the_cluster_accepts(document: dict[str, Any]) -> None:
    """In the plain form in which objects are rendered."""
    for read in read_documents({"a.yaml": as_yaml(document)}).documents:
        plain = plain_document(read)
        assert not floats(plain)
        validator(read.kind).validate(plain)


Json = st.recursive(
    st.none() | st.booleans() | st.integers(-100, 100) | st.sampled_from([0.5, "", "a", "A b", "1Gi", "-1", "é"]),
    lambda below: st.lists(below, max_size=2) | st.dictionaries(st.sampled_from(["a", "name"]), below, max_size=2),
    max_leaves=4,
)
# What OpenAPI cannot say: unknown fields (pruned by the server), meaning of text, most of what holds between fields,
# the form of free keys.
BEYOND = {"F104", "F105", *(f"F{number}" for number in range(120, 130))}


def places(value: Any) -> list[tuple[Any, Any]]:  # noqa: ANN401 - any JSON value
    pairs = (
        list(value.items()) if isinstance(value, dict) else list(enumerate(value)) if isinstance(value, list) else []
    )
    return [(value, key) for key, _ in pairs] + [place for _, below in pairs for place in places(below)]


@given(any_manifest, st.data())
@settings(max_examples=120)
def test_a_mutant_that_the_cluster_refuses_is_refused_by_the_reader(
    document: dict[str, Any], data: st.DataObject
) -> None:
    """And what the reader alone refuses, it refuses for something that OpenAPI cannot say."""
    document = copy.deepcopy(document)
    inside = places(document["spec"])
    assume(inside)
    container, key = data.draw(st.sampled_from(inside))
    change = data.draw(st.sampled_from(["replace", "remove", "repeat"]))
    if change == "replace":
        container[key] = data.draw(Json)
    elif change == "remove":
        del container[key]
    elif isinstance(container, list):
        container.append(container[0])
    result = read_documents({"a.yaml": as_yaml(document)})
    codes = {problem.code for problem in result.problems}
    if validator(document["kind"]).is_valid(json.loads(json.dumps(document))):
        if change != "repeat":
            assert codes <= BEYOND
    elif not floats(document):
        assert codes
