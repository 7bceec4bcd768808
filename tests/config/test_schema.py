"""The JSON Schemas: current, valid, and of one mind with the reader as far as a schema can say."""

from __future__ import annotations

import copy
import datetime
import functools
import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.config.generated import any_manifest, as_yaml
from tests.config.hostile_corpus import CORPUS
from trimtab_config.cli import main
from trimtab_config.spec.kinds import KINDS, Kind
from trimtab_config.spec.plain import plain_document
from trimtab_config.spec.reader import read_documents
from trimtab_config.spec.schema import schema_file, schema_of, schema_text

ROOT = Path(__file__).parents[2]
SCHEMAS = ROOT / "config_management/trimtab_config/spec/schemas"
# What only the reader can know: the meaning of text (F104), and most of what holds between fields (F12x).
BEYOND_A_SCHEMA = {"F104", *(f"F{number}" for number in range(120, 132))}


@functools.cache
def validator(name: str) -> jsonschema.Draft202012Validator:
    [kind] = [kind for kind in KINDS if kind.name == name]
    return jsonschema.Draft202012Validator(schema_of(kind))


def schema_accepts(document: dict[str, Any]) -> bool:
    return validator(document["kind"]).is_valid(document)


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_the_committed_schema_is_current(kind: Kind) -> None:
    """`trimtab schema --all --output-dir config_management/trimtab_config/spec/schemas` writes them anew."""
    assert (SCHEMAS / schema_file(kind)).read_text("utf-8") == schema_text(kind)


def test_no_other_schema_is_committed() -> None:
    assert {path.name for path in SCHEMAS.iterdir()} == {schema_file(kind) for kind in KINDS}


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_the_schema_is_one(kind: Kind) -> None:
    jsonschema.Draft202012Validator.check_schema(schema_of(kind))


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_every_object_in_the_schema_says_what_it_is(kind: Kind) -> None:
    schema = schema_of(kind)
    for name, definition in schema["$defs"].items():
        assert definition["description"].endswith("."), name
        assert "``" not in definition["description"], name


def test_the_command_writes_all_schemas_and_prints_one(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["schema", "--all", "--output-dir", str(tmp_path / "out")]) == 0
    written = {path.name: path.read_text("utf-8") for path in (tmp_path / "out").iterdir()}
    assert written == {schema_file(kind): schema_text(kind) for kind in KINDS}
    capsys.readouterr()
    assert main(["schema", "devicegroup"]) == 0
    assert json.loads(capsys.readouterr().out)["properties"]["kind"] == {"const": "DeviceGroup"}


# ---------------------------------------------------------------- agreement


def test_the_schemas_accept_the_whole_example_fleet() -> None:
    """Read with types (dates as text), as an editor would."""

    class Loader(yaml.CSafeLoader):
        pass

    Loader.yaml_implicit_resolvers = {
        first: [(tag, pattern) for tag, pattern in resolvers if tag != "tag:yaml.org,2002:timestamp"]
        for first, resolvers in yaml.CSafeLoader.yaml_implicit_resolvers.items()
    }
    count = 0
    for path in sorted((ROOT / "examples/fleet").rglob("*.yaml")):
        for document in yaml.load_all(path.read_text("utf-8"), Loader=Loader):
            validator(document["kind"]).validate(document)
            count += 1
    assert count >= 20


def judge(document: dict[str, Any]) -> tuple[bool, set[str]]:
    """Whether the schema accepts the document, and the codes of what the reader says of it."""
    result = read_documents({"a.yaml": as_yaml(document)})
    assert result.skipped == ()
    return schema_accepts(document), {problem.code for problem in result.problems}


@given(any_manifest)
@settings(max_examples=150)
def test_what_is_made_from_the_shapes_is_accepted_by_both(document: dict[str, Any]) -> None:
    """Up to contradictions between fields, which hardly a schema can know."""
    accepted, codes = judge(document)
    assert codes <= BEYOND_A_SCHEMA
    if not codes:
        assert accepted


Json = st.recursive(
    st.none() | st.booleans() | st.integers(-100, 100) | st.sampled_from([0.5, "", "a", "A b", "1Gi", "-1", "é"]),
    lambda below: (
        st.lists(below, max_size=2) | st.dictionaries(st.sampled_from(["a", "name", "x y"]), below, max_size=2)
    ),
    max_leaves=4,
)


def places(value: Any) -> list[tuple[Any, Any]]:  # noqa: ANN401 - any JSON value
    """Every (container, key) within a JSON value."""
    found = []
    pairs = (
        list(value.items()) if isinstance(value, dict) else list(enumerate(value)) if isinstance(value, list) else []
    )
    for key, below in pairs:
        found.append((value, key))
        found += places(below)
    return found


@given(any_manifest, st.data())
@settings(max_examples=250)
def test_where_the_schema_refuses_a_mutant_so_does_the_reader(document: dict[str, Any], data: st.DataObject) -> None:
    """And where the reader alone refuses, it is for something that a schema cannot say."""
    document = copy.deepcopy(document)
    inside = places(document["metadata"]) + places(document["spec"])
    container, key = data.draw(st.sampled_from(inside))
    change = data.draw(st.sampled_from(["replace", "remove", "add", "repeat"]))
    if change == "replace":
        container[key] = data.draw(Json)
    elif change == "remove":
        del container[key]
    elif change == "add" and isinstance(container, dict):
        container["unknownField"] = data.draw(Json)
    elif change == "repeat" and isinstance(container, list):
        container.append(container[0])
    accepted, codes = judge(document)
    if accepted:
        assert codes <= BEYOND_A_SCHEMA
    else:
        assert codes


@given(any_manifest)
@settings(max_examples=150)
def test_what_was_read_reads_back_from_its_plain_form(document: dict[str, Any]) -> None:
    result = read_documents({"a.yaml": as_yaml(document)})
    for read in result.documents:
        again = read_documents({"b.yaml": as_yaml(plain_document(read))})
        assert again.problems == ()
        assert again.documents == (read,)


def plain_dates(value: Any) -> Any:  # noqa: ANN401 - any YAML value
    """Dates as the text that stands in the file."""
    if isinstance(value, dict):
        return {key: plain_dates(below) for key, below in value.items()}
    if isinstance(value, list):
        return [plain_dates(below) for below in value]
    return value.isoformat() if isinstance(value, datetime.date) else value


def test_hostile_files_that_another_reader_can_read_are_refused_by_the_schema_too() -> None:
    """Of the hostile corpus: whatever PyYAML can make a small object of, and only the reader's types tell apart."""
    told = 0
    for hostile in CORPUS:
        if len(hostile.content) > 4096:
            continue
        try:
            documents = [document for document in yaml.safe_load_all(hostile.content) if isinstance(document, dict)]
        except (yaml.YAMLError, ValueError):
            continue
        for document in documents:
            if document.get("apiVersion") in {kind.api_version for kind in KINDS} and document.get("kind") == "Hold":
                codes = {problem.code for problem in read_documents({"a.yaml": hostile.content}).problems}
                if codes & {"F105", "F106", "F113"} and not codes & {"F107", "F110", "F111", "F115"}:
                    assert not schema_accepts(plain_dates(document)), hostile.name
                    told += 1
    assert told >= 5
