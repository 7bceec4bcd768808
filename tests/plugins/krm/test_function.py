"""The KRM function: what becomes of the items, and what it says where something is wrong."""

from __future__ import annotations

import copy
import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.golden import cases, compare
from tests.plugins.krm.resource_lists import compose, config_map, fleet_render, resource_list
from trimtab_config.compilation import FleetCompiler, RenderOptions
from trimtab_config.sources.folder import load_folder
from trimtab_plugins.krm.function import run_function

ROOT = Path(__file__).parents[3]
FLEET = load_folder(ROOT / "examples/fleet")
OTHER = """\
apiVersion: v1
kind: ConfigMap
metadata: {name: other, annotations: {internal.config.kubernetes.io/id: '99', config.kubernetes.io/path: o.yaml}}
data: {plain: 1.10, quoted: "yes", text: "a\\tb", empty: , block: "one\\ntwo\\n"}
"""


def load(text: str | bytes) -> Any:  # noqa: ANN401 - YAML
    return yaml.load(text, Loader=yaml.CSafeLoader)


def dump(value: object, *, sort_keys: bool = True) -> str:
    text: str = yaml.dump(value, Dumper=yaml.CSafeDumper, sort_keys=sort_keys)
    return text


def ran(text: str) -> tuple[dict[str, Any], list[str]]:
    answer = run_function(text.encode())
    return load(answer.output), [problem.code for problem in answer.problems]


def objects(items: list[dict[str, Any]]) -> list[str]:
    return sorted(json.dumps(item, sort_keys=True) for item in items)


def rendered(*groups: str, options: RenderOptions | None = None) -> list[str]:
    fleet = FleetCompiler(options).open(FLEET)
    return sorted(
        json.dumps(json.loads(text), sort_keys=True)
        for group in groups or fleet.groups
        for text in fleet.render(group).manifests
    )


@pytest.mark.parametrize("case", cases("krm"), ids=lambda path: path.name)
def test_a_case_gives_what_it_expects(case: Path, request: pytest.FixtureRequest) -> None:
    answer = run_function((case / "input/list.yaml").read_bytes())
    got = {"list.yaml": answer.output, "problems.txt": "".join(f"{problem}\n" for problem in answer.problems)}
    compare(case, got, update=request.config.getoption("--update-golden"))


@pytest.mark.parametrize("version", ["config.kubernetes.io/v1", "config.kubernetes.io/v1beta1"])
def test_the_items_of_our_kinds_become_what_render_gives(version: str) -> None:
    answer, problems = ran(resource_list(FLEET, version=version))
    assert problems == []
    assert (answer["apiVersion"], answer["kind"]) == (version, "ResourceList")
    assert objects(answer["items"]) == rendered()
    assert {result["severity"] for result in answer["results"]} == {"info"}


@pytest.mark.parametrize(
    ("function", "groups", "options"),
    [
        (fleet_render(groups=["kiosk-emea"]), ("kiosk-emea",), RenderOptions()),
        (fleet_render(groups="kiosk-emea, cam-emea"), ("cam-emea", "kiosk-emea"), RenderOptions()),
        (config_map(groups="kiosk-emea"), ("kiosk-emea",), RenderOptions()),
        (config_map(groups="cam-emea", with_namespace="true"), ("cam-emea",), RenderOptions(with_namespace=True)),
        (fleet_render(groups=["cam-emea"], withNamespace=True), ("cam-emea",), RenderOptions(with_namespace=True)),
    ],
)
def test_the_configuration_chooses(function: dict[str, Any], groups: tuple[str, ...], options: RenderOptions) -> None:
    answer, problems = ran(resource_list(FLEET, function))
    assert problems == []
    assert objects(answer["items"]) == rendered(*groups, options=options)
    assert answer["functionConfig"] == function


def test_a_namespace_of_two_groups_is_there_once() -> None:
    answer, _ = ran(resource_list(FLEET, config_map(with_namespace="true")))
    names = [item["metadata"]["name"] for item in answer["items"] if item["kind"] == "Namespace"]
    assert len(names) == len(set(names)) > 0


def test_other_items_stay_as_they_are_and_where_they_are() -> None:
    """With their quotes, their numbers, and the annotations that host tools keep for themselves."""
    text = resource_list(FLEET, config_map(groups="cam-emea"), more=[OTHER])
    answer = run_function(text.encode()).output
    there = next(value for key, value in compose(answer).value if key.value == "items").value[0]
    assert yaml.serialize(there) == yaml.serialize(compose(OTHER))


def test_inputs_stay_where_they_are_wanted() -> None:
    answer, _ = ran(resource_list(FLEET, config_map(groups="cam-emea", keep_inputs="true")))
    before = load(resource_list(FLEET))["items"]
    assert answer["items"][: len(before)] == before
    assert objects(answer["items"][len(before) :]) == rendered("cam-emea")


def test_a_validator_changes_nothing_and_says_what_it_saw() -> None:
    text = resource_list(FLEET, config_map(validate_only="true"), more=[OTHER])
    answer, problems = ran(text)
    assert problems == []
    assert answer["items"] == load(text)["items"]
    assert any("cam-emea" in result["message"] for result in answer["results"])


def test_running_it_again_changes_nothing() -> None:
    """What it wrote is recognised, keeps its place and the annotations that the host tool gave it."""
    once, _ = ran(resource_list(FLEET, config_map(keep_inputs="true"), more=[OTHER]))
    for number, item in enumerate(once["items"]):
        item["metadata"].setdefault("annotations", {})["internal.config.kubernetes.io/path"] = f"f{number}.yaml"
    again, problems = ran(dump(once, sort_keys=False))
    assert problems == []
    assert again["items"] == once["items"]


def test_what_a_group_no_longer_has_leaves_and_other_groups_stay() -> None:
    once, _ = ran(resource_list(FLEET, config_map(keep_inputs="true")))
    labels = {"app.kubernetes.io/managed-by": "trimtab", "fleet.apexlogic.ai/group": "cam-emea"}
    stale = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "stale", "labels": labels}}
    gone = copy.deepcopy(stale)
    gone["metadata"] = {"name": "gone", "labels": labels | {"fleet.apexlogic.ai/group": "a-group-that-left"}}
    foreign = copy.deepcopy(stale)
    foreign["metadata"] = {"name": "foreign", "labels": labels | {"app.kubernetes.io/managed-by": "helm"}}
    once["items"] += [stale, gone, foreign]
    once["functionConfig"] = config_map(groups="cam-emea", keep_inputs="true")
    again, _ = ran(dump(once, sort_keys=False))
    assert objects(again["items"]) == objects([item for item in once["items"] if item not in (stale, gone)])


def test_numbers_that_a_host_wrote_with_exponents_are_what_they_were() -> None:
    text = resource_list(FLEET, config_map(groups="cam-emea"))
    small = re.search(r"low: (0\.0000\d+)", text)
    assert small is not None
    text = text.replace(small[1], f"{float(small[1]):e}")
    assert re.search(r"low: \d\.\d+e-05", text)
    answer, problems = ran(text)
    assert problems == []
    assert objects(answer["items"]) == rendered("cam-emea")


def test_a_problem_names_file_field_object_and_the_nearest_right_name() -> None:
    wrong = "deployments/triage.yaml"
    files = {**FLEET, wrong: FLEET[wrong].replace(b"finops-clinical", b"finops-clincal", 1)}
    assert files != FLEET
    answer, codes = ran(resource_list(files))
    assert codes == ["F204"]
    (result,) = answer["results"]
    assert result["file"]["path"] == wrong
    assert result["tags"] == {"code": "F204"}
    assert result["severity"] == "error"
    assert result["field"] == {
        "path": "spec.finopsPolicyRef",
        "currentValue": "finops-clincal",
        "proposedValue": "finops-clinical",
    }
    assert isinstance(result["file"]["index"], int)
    assert result["resourceRef"]["kind"] in {"EdgeAIDeployment", "OnDeviceModel"}
    assert wrong not in result["message"]
    assert answer["items"] == load(resource_list(files))["items"]


def test_kustomize_says_where_an_item_is_from_in_its_own_way() -> None:
    item = {
        "apiVersion": "apexlogic.ai/v1",
        "kind": "DeviceGroup",
        "metadata": {"name": "g", "annotations": {"config.kubernetes.io/origin": "path: groups/g.yaml\n"}},
        "spec": {"devices": 1},
    }
    answer, codes = ran(dump({"apiVersion": "config.kubernetes.io/v1", "kind": "ResourceList", "items": [item]}))
    assert codes
    assert {result["file"]["path"] for result in answer["results"]} == {"groups/g.yaml"}
    assert not any("index" in result["file"] for result in answer["results"])
    answer, _ = ran(resource_list({"x.yaml": json.dumps(item | {"metadata": {"name": "g"}}).encode()}, annotate=False))
    assert not any("file" in result for result in answer["results"])


@pytest.mark.parametrize(
    ("function", "field"),
    [
        (config_map(group="cam-emea"), "data.group"),
        (config_map(groups=" , "), "data.groups"),
        (config_map(keep_inputs="yes"), "data.keep-inputs"),
        (config_map(monitoring="none"), "data.monitoring"),
        (fleet_render(groups=[["a"]]), "spec.groups"),
        (fleet_render(priceBook=["a"]), "spec.priceBook"),
        (fleet_render(**{"price-book": "a"}), "spec.price-book"),
        ({"apiVersion": "v1", "kind": "Secret"}, "kind"),
    ],
)
def test_a_configuration_that_is_none_is_refused(function: dict[str, Any], field: str) -> None:
    answer, codes = ran(resource_list(FLEET, function))
    assert codes == ["A502"]
    assert answer["results"][0]["field"]["path"] == field


def test_a_group_that_is_not_there_and_a_list_without_a_fleet() -> None:
    answer, codes = ran(resource_list(FLEET, config_map(groups="cam-emeA")))
    assert codes == ["F311"]
    assert answer["results"][0]["severity"] == "error"
    assert ran(resource_list({}, more=[OTHER]))[1] == ["A503"]
    assert ran("{apiVersion: config.kubernetes.io/v1, kind: ResourceList}")[1] == ["A503"]


def test_the_example_for_kustomize_lists_the_whole_fleet() -> None:
    listed = load((ROOT / "examples/kustomize/kustomization.yaml").read_text())["resources"]
    assert listed == [f"../fleet/{path}" for path in sorted(FLEET)]


HEAD = b"apiVersion: config.kubernetes.io/v1\nkind: ResourceList\n"
REFUSED = {
    "nothing": (b"", "A501"),
    "no YAML": (b"\t{", "A501"),
    "no UTF-8": (b"\xff\xfe", "A501"),
    "a list": (b"[]", "A501"),
    "two documents": (HEAD + b"---\n" + HEAD, "A501"),
    "another kind": (b"apiVersion: config.kubernetes.io/v1\nkind: List\n", "A501"),
    "another version": (b"apiVersion: config.kubernetes.io/v2\nkind: ResourceList\n", "A501"),
    "items that are no list": (HEAD + b"items: {}\n", "A501"),
    "an item that is no object": (HEAD + b"items: [a]\n", "A501"),
    "a configuration that is no object": (HEAD + b"functionConfig: []\n", "A501"),
    "an alias out of an item": (HEAD + b"x: &a {b: c}\nitems: [{spec: *a}]\n", "A501"),
    "an alias to nothing": (HEAD + b"items: [{spec: *a}]\n", "A501"),
    "deep": (HEAD + b"items: " + b"[" * 100_000, "A504"),
    "large": (HEAD + b"items: []\n" + b"#" * (64 * 1024 * 1024), "A504"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_is_no_resource_list_is_refused(case: str) -> None:
    content, code = REFUSED[case]
    answer = run_function(content)
    assert [problem.code for problem in answer.problems] == [code]
    assert answer.output == ""


def test_an_alias_bomb_in_an_item_is_a_problem_of_that_item() -> None:
    levels = "".join(f"  l{number}: &l{number} [{', '.join([f'*l{number - 1}'] * 9)}]\n" for number in range(1, 9))
    bomb = "apiVersion: apexlogic.ai/v1\nkind: DeviceGroup\nmetadata: {name: bomb}\nspec:\n  l0: &l0 [a, b]\n" + levels
    answer = run_function(resource_list({}, more=[bomb]).encode())
    assert "F110" in {problem.code for problem in answer.problems}
    assert len(answer.output) < 10_000


texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=30)
values = st.recursive(
    texts | st.booleans() | st.none() | st.integers() | st.floats(allow_nan=False, allow_infinity=False),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=12,
)


@settings(max_examples=60)
@given(st.lists(st.dictionaries(texts, values, max_size=4), max_size=3), st.booleans())
def test_whatever_stands_in_other_items_comes_through(data: list[dict[str, Any]], flow: bool) -> None:
    more = [
        yaml.dump(
            {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": f"c{number}"}, "data": item},
            Dumper=yaml.CSafeDumper,
            allow_unicode=True,
            default_flow_style=flow,
        )
        for number, item in enumerate(data)
    ]
    small = {path: content for path, content in FLEET.items() if path == "groups/latam.yaml"}
    text = resource_list(small, config_map(groups="kiosk-latam"), more=more)
    answer, problems = ran(text)
    assert problems == []
    others = [
        item for item in answer["items"] if item["metadata"]["name"].startswith("c") and item["kind"] == "ConfigMap"
    ]
    assert [item for item in others if "labels" not in item["metadata"]] == [load(text) for text in more]


def test_the_command_speaks_the_protocol(tmp_path: Path) -> None:
    """stdin, stdout, exit code; the problems on stderr as well, because kustomize shows no results."""
    command: list[str | Path] = [Path(sys.executable).with_name("trimtab"), "krm"]
    good = subprocess.run(
        command,
        input=resource_list(FLEET, config_map(groups="cam-emea")).encode(),
        capture_output=True,
        cwd=tmp_path,
        timeout=120,
        check=False,
    )
    assert (good.returncode, good.stderr) == (0, b"")
    assert objects(load(good.stdout)["items"]) == rendered("cam-emea")
    bad = subprocess.run(
        command,
        input=resource_list(FLEET, config_map(groups="x")).encode(),
        capture_output=True,
        cwd=tmp_path,
        timeout=120,
        check=False,
    )
    assert bad.returncode == 1
    assert b"F311" in bad.stderr
    assert b"F311" in bad.stdout
