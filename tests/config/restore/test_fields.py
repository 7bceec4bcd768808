"""Fields set in text that people wrote: exactly that field changes, and everything around it stays as it stands."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trimtab_config.restore.fields import Difference, FieldPath, Value, differences, field_path, set_fields
from trimtab_config.restore.layout import Layout, ObjectKey, lay_out
from trimtab_config.sources.folder import load_folder
from trimtab_config.spec.reader import read_documents
from trimtab_kernel import vocabulary

FLEET = load_folder(Path(__file__).parents[3] / "examples/fleet")
KEY = ObjectKey(vocabulary.API_EDGE, "EdgeAIDeployment", "edge", "cam")
BLOCK = """\
# the head of the file
---
apiVersion: apexlogic.ai/v1
kind: EdgeAIDeployment
metadata:
  name: other
  namespace: edge
spec:
  modelRef: {name: m, version: "1.0.0"}
  targetDevices: {labels: {region: EMEA}}
  resourceLimits: {cpu: "1", memory: 1Gi}
---
# above the object
apiVersion: apexlogic.ai/v1
kind: EdgeAIDeployment
metadata:
  name: cam
  namespace: edge
spec:
  modelRef:
    name: m
    version: "1.0.0"   # what runs
  targetDevices: {labels: {region: EMEA}}
  resourceLimits:
    cpu: '500m' # half a core
    memory: 1Gi
  rollout:
    waves:
      - {name: first, percent: 10}
      - {name: all, percent: 100}
    wave: first
# the end
"""


def _edited(text: str, field: str, value: Value) -> tuple[str, tuple[Difference, ...]]:
    files = {"a.yaml": text.encode()}
    restoration, problems = set_fields(files, KEY, {field_path(field): value})
    assert problems == ()
    after = restoration.applied_to(files)
    assert read_documents(after).problems == ()
    return after["a.yaml"].decode(), differences(files, after)


@pytest.mark.parametrize(
    ("field", "value", "old", "new"),
    [
        ("spec.resourceLimits.cpu", "250m", "cpu: '500m' # half a core", "cpu: '250m' # half a core"),
        ("spec.resourceLimits.memory", "512Mi", "    memory: 1Gi\n  ", '    memory: "512Mi"\n  '),
        ("spec.rollout.wave", "all", "wave: first", 'wave: "all"'),
        ("spec.rollout.paused", True, "    wave: first\n", "    wave: first\n    paused: true\n"),
        ("spec.tier", "lite", "    wave: first\n", '    wave: first\n  tier: "lite"\n'),
        (
            "spec.inference.maximumPerMinute",
            30,
            "    wave: first\n",
            "    wave: first\n  inference:\n    maximumPerMinute: 30\n",
        ),
        ("spec.rollout.wave", None, "    wave: first\n", ""),
        ("spec.targetDevices.labels.deviceType", "camera", "{region: EMEA}}\n  resourceLimits:\n", "{region: EMEA, deviceType: \"camera\"}}\n  resourceLimits:\n"),
        ("spec.resourceLimits.gpu", "1", "    memory: 1Gi\n  rollout", '    memory: 1Gi\n    gpu: "1"\n  rollout'),
    ],
)  # fmt: skip
def test_one_field_changes_and_the_text_around_it_stays(field: str, value: Value, old: str, new: str) -> None:
    assert BLOCK.count(old) == 1
    text, found = _edited(BLOCK, field, value)
    assert text == BLOCK.replace(old, new)
    assert [(each.key, each.field) for each in found] == [(KEY, field)]


def test_text_with_carriage_returns_keeps_them() -> None:
    text, _ = _edited(BLOCK.replace("\n", "\r\n"), "spec.rollout.paused", True)
    assert text == BLOCK.replace("    wave: first\n", "    wave: first\n    paused: true\n").replace("\n", "\r\n")


def test_an_object_that_would_be_empty_goes_with_its_last_field() -> None:
    text, _ = _edited(BLOCK, "spec.update.window", "01:00-05:00")
    assert "  update:\n    window: " in text
    assert _edited(text, "spec.update.window", None)[0] == BLOCK


def test_several_texts_as_one_list() -> None:
    fields: dict[FieldPath, Value] = {
        field_path("spec.offload.endpoint"): "https://infer.example/v2",
        field_path("spec.offload.jurisdiction"): "EU",
        field_path("spec.offload.when"): ("cpu", "battery"),
    }
    files = {"a.yaml": BLOCK.encode()}
    restoration, problems = set_fields(files, KEY, fields)
    assert problems == ()
    after = restoration.applied_to(files)
    assert {each.field: each.after for each in differences(files, after)} == {
        "spec.offload.endpoint": "https://infer.example/v2",
        "spec.offload.jurisdiction": "EU",
        "spec.offload.when": ["cpu", "battery"],
    }


def test_a_value_that_is_there_changes_no_byte() -> None:
    for field, value in (("spec.resourceLimits.cpu", "500m"), ("spec.rollout.wave", "first")):
        assert _edited(BLOCK, field, value) == (BLOCK, ())


def test_a_file_without_a_line_end_gets_one() -> None:
    text, _ = _edited(BLOCK.removesuffix("# the end\n").removesuffix("\n"), "spec.rollout.paused", False)
    assert text.endswith("    wave: first\n    paused: false\n")


def test_a_field_that_came_by_an_anchor_leaves_the_anchor_alone() -> None:
    shared = BLOCK.replace("'500m' # half a core", "&half '500m'").replace(
        "memory: 1Gi\n  rollout", "memory: 1Gi\n    gpu: *half\n  rollout"
    )
    files = {"a.yaml": shared.encode()}
    _, problems = set_fields(files, KEY, {field_path("spec.resourceLimits.cpu"): "250m"})
    assert [problem.code for problem in problems] == ["G304"]


@pytest.mark.parametrize(
    ("content", "key", "field", "code"),
    [
        (BLOCK, ObjectKey(vocabulary.API_EDGE, "EdgeAIDeployment", "edge", "none"), "spec.tier", "G301"),
        (BLOCK.replace("name: other", "name: cam"), KEY, "spec.tier", "G305"),
        (BLOCK + "\n\t- x", KEY, "spec.tier", "G302"),
        (BLOCK, KEY, "spec.resourceLimits.cpu.more", "G304"),
        (BLOCK.replace("first\n#", "first\n...\n#"), KEY, "spec.tier", "G303"),
    ],
)
def test_what_cannot_be_edited_safely_is_refused(content: str, key: ObjectKey, field: str, code: str) -> None:
    restoration, problems = set_fields({"a.yaml": content.encode()}, key, {field_path(field): "lite"})
    assert (restoration.changes, [problem.code for problem in problems]) == ({}, [code])


def test_differences_name_whole_objects_that_come_and_go() -> None:
    files = {"a.yaml": BLOCK.encode()}
    (found,) = differences(files, {"a.yaml": BLOCK[: BLOCK.rindex("---")].encode()})
    assert (found.key, found.field, found.after) == (KEY, "", None)


def _deployments() -> list[ObjectKey]:
    layouts = [lay_out(path, content) for path, content in FLEET.items()]
    return sorted(
        region.key
        for layout in layouts
        if isinstance(layout, Layout)
        for region in layout.regions
        if region.key is not None and region.key.kind == "EdgeAIDeployment"
    )


VALUES = {
    "spec.resourceLimits.cpu": st.integers(1, 8000).map(lambda number: f"{number}m"),
    "spec.resourceLimits.memory": st.integers(1, 4096).map(lambda number: f"{number}Mi"),
    "spec.tier": st.sampled_from(["auto", "lite", "standard", "premium", None]),
    "spec.rollout.paused": st.sampled_from([True, False, None]),
    "spec.inference.maximumPerMinute": st.one_of(st.none(), st.integers(1, 1000)),
    "spec.inference.dailyCpuSeconds": st.one_of(st.none(), st.integers(1, 10**6).map(lambda n: Decimal(n) / 100)),
    "spec.tags.feature": st.one_of(st.none(), st.text(st.characters(min_codepoint=32, max_codepoint=0x2FF), min_size=1, max_size=40).filter(lambda t: t.strip() == t and t.isprintable())),
    "spec.update.window": st.sampled_from(["01:00-05:00", "22:30-04:00", None]),
}  # fmt: skip


@settings(max_examples=80)
@given(st.sampled_from(_deployments()), st.sampled_from(sorted(VALUES)), st.data())
def test_on_the_example_fleet_nothing_but_the_field_changes(key: ObjectKey, field: str, data: st.DataObject) -> None:
    value = data.draw(VALUES[field])
    restoration, problems = set_fields(FLEET, key, {field_path(field): value})
    assert problems == ()
    after = restoration.applied_to(FLEET)
    assert {(each.key, each.field) for each in differences(FLEET, after)} <= {(key, field)}
    for path, content in after.items():
        old, new = FLEET[path].decode().splitlines(), content.decode().splitlines()
        assert [line for line in old if line.lstrip().startswith("#")] == [
            line for line in new if line.lstrip().startswith("#")
        ]
        assert abs(len(new) - len(old)) <= 3
