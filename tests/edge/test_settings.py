"""``model.yaml`` and ``active.json``: what is written comes back, what people write is understood, the rest is refused."""

from __future__ import annotations

import json
import re
from decimal import Decimal
from pathlib import Path

import pytest
from hypothesis import given

from tests.edge.test_journal import descriptions
from trimtab_edge import layout
from trimtab_edge.settings import MAX_BYTES, ModelDescription, read_description
from trimtab_kernel.codes import BY_CODE
from trimtab_kernel.desired import Alignment, Cohort
from trimtab_kernel.identity import Digest
from trimtab_kernel.problems import InputError

FILE = "m/1.0.0/model.yaml"


@given(descriptions)
def test_every_description_that_the_agent_writes_is_read_by_the_server(description: ModelDescription) -> None:
    assert read_description(description.to_bytes(), FILE) == description


def test_a_description_as_people_write_it() -> None:
    text = """
# what is watched
tier: lite
alignment:
  attribute:
    input: features
    column: 1
    cohorts:
      young: {high: 30}
      middle: {low: 30, high: 64.5}
      old: {low: "64.5"}
  outcome: {output: label, positive: 1}
"""
    assert read_description(text.encode(), FILE) == ModelDescription(
        tier="lite",
        alignment=Alignment(
            "features",
            1,
            (
                Cohort("middle", low=Decimal(30), high=Decimal("64.5")),
                Cohort("old", low=Decimal("64.5")),
                Cohort("young", high=Decimal(30)),
            ),
            "label",
            Decimal(1),
        ),
    )


def test_an_empty_description_says_nothing() -> None:
    assert read_description(b"", FILE) == ModelDescription()


REFUSED = {
    "unknown field": (b"colour: red", "E401", "colour"),
    "a list": (b"[1]", "E401", "list"),
    "text": (b"hello", "E401", "str"),
    "no YAML": (b"a: b: c", "E401", "YAML"),
    "tab": (b"a:\n\t- 1", "E401", "YAML"),
    "not UTF-8": (b"\xff\xfe", "E401", "UTF-8"),
    "too large": (b"#" * (MAX_BYTES + 1), "E401", str(MAX_BYTES)),
    "digest too short": (b"digest: sha256:12", "E401", "length 2"),
    "digest is a number": (b"digest: 12", "E401", "digest"),
    "tier is a list": (b"tier: [a]", "E401", "tier"),
    "tag is a number": (b"tags: {a: 1}", "E401", "tags"),
    "flag is text": (b'flags: {a: "yes"}', "E401", "flags"),
    "alias": (b"a: &x [1]\nb: *x", "E401", "alias"),
    "alias bomb": (b"a: &a [x,x]\nb: &b [*a,*a]\nc: [*b,*b]", "E401", "alias"),
    "deep": (b"[" * 40 + b"]" * 40, "E401", "list"),
    "deep YAML": (b"a: " + b"{b: " * 40 + b"1" + b"}" * 40, "E401", "32 levels"),
    "a timestamp that is none": (b"tier: !!timestamp x", "E401", "YAML"),
    "a number of 5,000 digits": (b"limits: {concurrency: 0x" + b"f" * 4500 + b"}", "E401", "thousands of digits"),
    "a number beyond every float": (
        b"guards: {ranges: [{input: x, low: " + b"9" * 400 + b"}]}",
        "E401",
        "guards.ranges[0].low",
    ),
    "python object": (b"!!python/object:os.system {}", "E401", "YAML"),
    "alignment is text": (b"alignment: yes please", "E203", "alignment"),
    "alignment without outcome": (b"alignment: {attribute: {input: x, column: 0, cohorts: {}}}", "E203", "outcome"),
    "cohort named by half a character": (
        b'{"alignment": {"attribute": {"input": "x", "column": 0, "cohorts": {"\\ud800": {"value": "1"}, "b": {"value": "2"}}}, "outcome": {"output": "y", "positive": "1"}}}',
        "E203",
        "surrogates",
    ),
    "cohort not a number": (
        b"alignment: {attribute: {input: x, column: 0, cohorts: {a: {value: .nan}, b: {value: 1}}}, outcome: {output: y, positive: 1}}",
        "E203",
        "cohorts.a.value",
    ),
}


@pytest.mark.parametrize(("content", "code", "says"), REFUSED.values(), ids=REFUSED.keys())
def test_a_wrong_description_is_refused_with_file_and_field(content: bytes, code: str, says: str) -> None:
    with pytest.raises(InputError) as raised:
        read_description(content, FILE)
    [problem] = raised.value.problems
    assert (problem.code, problem.file) == (code, FILE)
    assert says in str(problem)


def test_active_json_comes_back_and_may_lack_the_digest() -> None:
    active = layout.Active("1.0.0-rc.1", Digest.of(b"x"))
    assert layout.parse_active(active.to_bytes()) == active
    assert json.loads(active.to_bytes()) == {"version": "1.0.0-rc.1", "digest": str(Digest.of(b"x"))}
    assert layout.parse_active(b'{"version": "1.0.0"}') == layout.Active("1.0.0", None)


@pytest.mark.parametrize("version", ["", "..", "../../etc", "1.0", "1.0.0/x", "/abs", "1.0.0\n", None, 1, ["1.0.0"]])
def test_a_version_that_could_be_a_path_is_refused(version: object) -> None:
    with pytest.raises(InputError, match="E405"):
        layout.parse_active(json.dumps({"version": version}).encode())


def test_every_code_that_the_edge_uses_is_explained() -> None:
    room = Path(layout.__file__).parent
    used = {code for path in room.rglob("*.py") for code in re.findall(r'"(E[0-9]{3})"', path.read_text("utf-8"))}
    assert used
    assert used <= set(BY_CODE)
