"""`trimtab diff`: what a change does to every device group, between folders and between Git revisions."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

import pytest
import yaml
from hypothesis import example, given
from hypothesis import strategies as st

from tests.config import small_fleet as small
from tests.repositories import ScratchRepository
from trimtab_config.cli import diff
from trimtab_config.comparison import Change, compare
from trimtab_config.compilation import FleetCompiler, RenderedGroup
from trimtab_config.text.comparisons import MAX_MARKDOWN, comparison_markdown, comparison_text
from trimtab_kernel.commandline import Parser, add_command, parse_and_run
from trimtab_kernel.desired import DesiredDocument

if TYPE_CHECKING:
    from pathlib import Path

Yaml = dict[str, Any]


def files(*objects: Yaml) -> dict[str, bytes]:
    return {f"{place:03}.yaml": yaml.safe_dump(each).encode() for place, each in enumerate(objects)}


def fleet(*groups: Yaml, **deployment: Any) -> dict[str, bytes]:  # noqa: ANN401 - any YAML value
    chosen = groups or (small.group("kiosks"), small.group("lobbies"))
    return files(*chosen, small.model(), small.deployment(**deployment), small.price_book())


def rendered(tree: dict[str, bytes]) -> dict[str, RenderedGroup]:
    return FleetCompiler().open(tree).render_all()


def trimtab(*arguments: str) -> int:
    parser = Parser(prog="trimtab")
    add_command(parser.add_subparsers(required=True, parser_class=Parser), diff.COMMAND)
    try:
        return parse_and_run(parser, ["diff", *arguments])
    except SystemExit as end:  # how argparse ends on wrong usage
        return end.code if isinstance(end.code, int) else -1


def write(folder: Path, tree: dict[str, bytes]) -> str:
    folder.mkdir()
    for name, content in tree.items():
        (folder / name).write_bytes(content)
    return str(folder)


# ---------------------------------------------------------------- what is found


def test_equal_fleets_have_no_difference_whatever_their_files_are_called() -> None:
    one = fleet()
    other = {f"moved/{name}": content for name, content in reversed(one.items())}
    found = compare(rendered(one), rendered(other))
    assert (found.groups, found.unchanged) == ((), 2)
    assert all(cost.before == cost.after and not cost.difference for cost in found.costs)
    assert comparison_text(found) == "nothing changes in 2 groups\n"


def test_a_changed_limit_is_told_by_its_path_in_every_object_that_has_it() -> None:
    found = compare(rendered(fleet()), rendered(fleet(spec__resourceLimits__cpu="750m")))
    assert [each.group for each in found.groups] == ["kiosks", "lobbies"]
    told = {
        (each.identity[1], field.path): (field.before, field.after)
        for each in found.groups[0].objects
        for field in each.fields
        if not field.is_derived
    }
    before = fleet_cpu()
    assert told["EdgeAIDeployment", "spec.resourceLimits.cpu"] == (before, "750m")
    assert told["DaemonSet", "spec.template.spec.containers[serve].resources.limits.cpu"] == (before, "750m")


def fleet_cpu() -> str:
    cpu: str = small.deployment()["spec"]["resourceLimits"]["cpu"]
    return cpu


def test_groups_that_come_and_go_are_told_as_such_with_all_their_objects() -> None:
    one = rendered(fleet(small.group("kiosks"), small.group("lobbies")))
    other = rendered(fleet(small.group("kiosks"), small.group("stations")))
    found = compare(one, other)
    assert [(each.group, each.change) for each in found.groups] == [
        ("lobbies", Change.REMOVED),
        ("stations", Change.ADDED),
    ]
    gone, new = found.groups
    assert {each.change for each in gone.objects} == {Change.REMOVED}
    assert len(new.objects) == len(other["stations"].objects)
    assert gone.models[0].after is None
    assert new.models[0].before is None
    assert gone.costs[0].difference == -new.costs[0].difference < 0
    assert found.costs[0].difference == 0


def test_a_rollout_that_moves_on_tells_version_variant_wave_and_percentage() -> None:
    waves = [{"name": "first", "percent": 10}, {"name": "all", "percent": 100}]
    one = fleet(spec__rollout__waves=waves, spec__rollout__wave="first")
    other = fleet(spec__rollout__waves=waves, spec__rollout__wave="all")
    [change, _] = compare(rendered(one), rendered(other)).groups
    [model] = change.models
    assert model.before is not None
    assert model.after is not None
    assert (model.before.percent, model.before.wave) == ("10", "first")
    assert (model.after.percent, model.after.wave) == ("100", "all")
    assert model.before.version == model.after.version
    text = comparison_text(compare(rendered(one), rendered(other)))
    assert re.search(r"to 10 % in wave first.* -> .*to 100 % in wave all", text)


def test_the_bill_is_told_before_and_after_with_its_bounds() -> None:
    one, other = rendered(fleet()), rendered(fleet(small.group("kiosks", spec__deviceCount=20), small.group("lobbies")))
    found = compare(one, other)
    [change] = found.groups
    [cost] = change.costs
    assert cost.after.value == 2 * cost.before.value
    assert cost.before.low < cost.before.value < cost.before.high
    [whole] = found.costs
    assert whole.difference == cost.difference == cost.before.value
    assert f"+{cost.difference:.2f}"[:-1] in comparison_text(found)


Scalars = st.none() | st.booleans() | st.integers(-3, 3) | st.sampled_from(["", "a", '{"b": 1}', '{"b": 2}', "[1]"])
Values = st.recursive(
    Scalars,
    lambda below: (
        st.lists(below, max_size=3) | st.dictionaries(st.sampled_from(["a", "b.c", "name"]), below, max_size=3)
    ),
    max_leaves=8,
)


def group_of(spec: object) -> RenderedGroup:
    item = {"apiVersion": "v1", "kind": "Thing", "metadata": {"name": "g"}, "spec": spec}
    return RenderedGroup("g", "n", (item,), DesiredDocument("g", "n", "EU", ()))


def canonical(value: object) -> str:
    """Values by what they mean: a text that holds an object is that object."""
    if isinstance(value, dict):
        return json.dumps({key: canonical(below) for key, below in sorted(value.items())})
    if isinstance(value, list):
        return json.dumps([canonical(below) for below in value])
    if isinstance(value, str) and value.startswith("{"):
        return canonical(json.loads(value))
    return json.dumps(value)


@given(Values, Values)
@example({"on": [True]}, {"on": [1]})
@example({"on": {}}, {"on": []})
def test_there_is_a_field_for_a_difference_and_none_without_one(one: object, other: object) -> None:
    found = compare({"g": group_of(one)}, {"g": group_of(other)})
    fields = [field for change in found.groups for each in change.objects for field in each.fields]
    assert bool(fields) == (canonical(one) != canonical(other))
    assert all(field.path.startswith("spec") for field in fields)
    assert len({field.path for field in fields}) == len(fields)
    json.dumps(found.to_json())


# ---------------------------------------------------------------- how it is told


def test_hostile_values_stay_values_in_markdown() -> None:
    one = rendered(fleet())
    nasty = "</details> ``` `@everyone` \x1b[31m |"
    other = rendered(fleet())
    kept = other["kiosks"]
    objects = tuple({**each, "metadata": {**each["metadata"], "annotations": {"note": nasty}}} for each in kept.objects)
    other["kiosks"] = RenderedGroup(kept.group, kept.namespace, objects, kept.desired)
    text = comparison_markdown(compare(one, other))
    assert "\x1b" not in text
    [fence] = re.findall(r"^(`{3,})diff$", text, re.MULTILINE)
    assert len(fence) == 4
    assert text.count(f"\n{fence}\n") == 1


def test_a_report_for_a_pull_request_fits_into_a_comment_and_says_what_it_left_out() -> None:
    many = {f"g{place:04}": group_of({"a": "x" * 100, "p": place}) for place in range(2000)}
    text = comparison_markdown(compare({}, many))
    assert len(text) <= MAX_MARKDOWN
    [left] = re.findall(r"^(\d+) more of the groups", text, re.MULTILINE)
    assert int(left) + text.count("\n#### ") == 2000


def test_the_group_whose_bill_changes_most_stands_first_in_a_pull_request() -> None:
    one = fleet(small.group("aaa"), small.group("bbb"))
    other = fleet(small.group("aaa", spec__deviceCount=11), small.group("bbb", spec__deviceCount=100))
    found = compare(rendered(one), rendered(other))
    assert [each.group for each in found.groups] == ["aaa", "bbb"]
    assert re.findall(r"^#### `(\w+)`", comparison_markdown(found), re.MULTILINE) == ["bbb", "aaa"]


# ---------------------------------------------------------------- the command


def test_the_exit_status_is_0_unless_one_asks_for_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    base, head = write(tmp_path / "base", fleet()), write(tmp_path / "head", fleet(spec__resourceLimits__cpu="750m"))
    assert trimtab(base, head) == 0
    assert trimtab(base, head, "--exit-code") == 1
    assert trimtab(base, base, "--exit-code") == 0
    capsys.readouterr()
    assert trimtab(base, head, "--output", "json", "--group", "kiosks") == 0
    found = json.loads(capsys.readouterr().out)
    assert [each["group"] for each in found["groups"]] == ["kiosks"]
    assert (found["base"], found["head"]) == (base, head)


def test_revisions_of_a_repository_are_named_as_git_names_them(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    repository = ScratchRepository.create(tmp_path / "fleet.git")
    first = repository.commit({f"fleet/{name}": text for name, text in fleet().items()}, branch="main")
    changed = fleet(spec__resourceLimits__cpu="750m")
    repository.commit({f"fleet/{name}": text for name, text in changed.items()}, first, branch="main")
    repository.git("tag", "--annotate", "--message=first", "v1", first)
    for base, head in (("HEAD~1", "HEAD"), ("v1", "main"), (first[:12], "refs/heads/main")):
        assert trimtab(base, head, "--repo", str(repository.path), "--path", "fleet", "--exit-code") == 1
        assert "2 groups of 2 change" in capsys.readouterr().out
    assert trimtab("v1", "HEAD~1", "--repo", str(repository.path), "--path", "fleet", "--exit-code") == 0


def test_what_cannot_be_compared_is_told_with_its_place(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    repository = ScratchRepository.create(tmp_path / "fleet.git")
    first = repository.commit({f"fleet/{name}": text for name, text in fleet().items()}, branch="main")
    broken = fleet(spec__resourceLimits__cpu="half a core")
    repository.commit({f"fleet/{name}": text for name, text in broken.items()}, first, branch="main")
    at = ("--repo", str(repository.path), "--path", "fleet")
    assert trimtab("HEAD~1", "HEAD", *at) == 1
    out, err = capsys.readouterr()
    assert out == ""
    assert re.search(r"^HEAD:fleet/003\.yaml:\d+ spec\.resourceLimits\.cpu: F104 ", err, re.MULTILINE)
    assert trimtab("main", "nowhere", *at) == 1
    assert "A601" in capsys.readouterr().err
    assert trimtab(*at, "--", "main", "--output=evil") == 1
    assert "G108" in capsys.readouterr().err
    assert trimtab("v1", "v2", "--path", "fleet") == 64
    capsys.readouterr()
    assert trimtab(str(tmp_path / "one"), str(tmp_path / "other"), "--output", "json") == 1
    assert [line.partition(":")[0] for line in capsys.readouterr().err.splitlines()[:2]] == [
        f"{tmp_path}/{name}" for name in ("one", "other")
    ]


def test_a_tree_that_policy_alone_refuses_is_refused_by_policy(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    base = write(tmp_path / "base", fleet())
    policy = "apiVersion: apexlogic.ai/v1\nkind: FinOpsPolicy\nmetadata: {name: capped}\nspec: {caps: {cpu: 1m}}\n"
    capped = {"009.yaml": policy.encode(), **fleet(spec__finopsPolicyRef="capped")}
    assert trimtab(base, write(tmp_path / "head", capped)) == 2
    assert "F501" in capsys.readouterr().err
    broken = write(tmp_path / "broken", fleet(spec__resourceLimits__cpu="half a core"))
    assert trimtab(broken, str(tmp_path / "head")) == 1


def test_an_unknown_group_is_told_with_the_nearest_name(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    base = write(tmp_path / "base", fleet())
    assert trimtab(base, base, "--group", "kiosk") == 1
    assert "did you mean" in capsys.readouterr().err
