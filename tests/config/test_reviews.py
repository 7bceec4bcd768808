"""The comment on a pull request as people read it: golden files, and what holds for all of them."""

from __future__ import annotations

import functools
import json
from collections.abc import Mapping
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.fleets import fleet_files
from tests.golden import CASES
from trimtab_config.comparison import ModelChange, ModelState, compare
from trimtab_config.compilation import FleetCompiler, RenderedGroup
from trimtab_config.grading import promises_in
from trimtab_config.review import Level, Outcome, Review, _share, review
from trimtab_config.sources.folder import load_folder
from trimtab_config.text.gradings import MAX_SECTION
from trimtab_config.text.reviews import MAX_COMMENT, review_markdown, review_sarif
from trimtab_kernel.problems import InputError, Problem

FLEET = Path(__file__).parents[2] / "examples" / "fleet"
GOLDEN = CASES / "comments"
ENDS = ("main@111111111111", "change@222222222222")


def rendered(files: Mapping[str, bytes]) -> tuple[dict[str, RenderedGroup], dict[str, int]]:
    fleet = FleetCompiler().open(files, "fleet")
    devices = {name: group.spec.device_count for name, group in fleet.catalog.groups.items()}
    return fleet.render_all(), devices


def changed(files: Mapping[str, bytes], old: bytes, new: bytes) -> dict[str, bytes]:
    """The files with a text replaced wherever it stands, which is somewhere."""
    assert any(old in content for content in files.values())
    return {name: content.replace(old, new) for name, content in files.items()}


def between(before: Mapping[str, bytes], after: Mapping[str, bytes]) -> Review:
    base, _ = rendered(before)
    head, devices = rendered(after)
    why = {name: (f"{name}: the reason of the planner",) for name in head}
    return review(*ENDS, (), (), compare(base, head), devices, why)


def no_change() -> Review:
    files = load_folder(FLEET)
    return between(files, {name: b"# a comment\n" + content for name, content in files.items()})


def one_group() -> Review:
    files = load_folder(FLEET)
    return between(files, changed(files, b"deviceCount: 640", b"deviceCount: 700"))


@functools.cache
def many_groups() -> Review:
    files = fleet_files(500, 5)
    return between(files, changed(files, b"deviceCount: ", b"deviceCount: 1"))


def missing_price() -> Review:
    files = load_folder(FLEET)
    broken = {name: content for name, content in files.items() if b"kind: PriceBook" not in content}
    with pytest.raises(InputError) as caught:
        rendered(broken)
    return review(*ENDS, caught.value.problems)


def refusal() -> Review:
    problem = Problem(
        *("F501", "fleet/cameras.yaml", 14, "spec.resourceLimits.cpu", '"1"', 'at most "750m"'),
        "lower the limit, or ask the policy's owner for an exception",
    )
    warning = Problem("F502", "fleet/cameras.yaml", 3, "metadata.name", '"cam"', "a tag project")
    return review(*ENDS, (problem,), (warning,))


def thousand_findings() -> Review:
    problems = [
        Problem("F104", f"fleet/group-{number:04}.yaml", number + 1, "spec.hardware.memory", '"1 GB"', 'such as "1Gi"')
        for number in range(1000)
    ]
    return review(*ENDS, problems)


@pytest.mark.parametrize("make", [no_change, one_group, many_groups, missing_price, refusal, thousand_findings])
def test_the_comment_is_what_lies_in_the_golden_file(make: Any, pytestconfig: pytest.Config) -> None:  # noqa: ANN401 - a function above, by whose name the file is found
    text = review_markdown(make(), "trimtab-report.json")
    file = GOLDEN / f"{make.__name__}.md"
    if pytestconfig.getoption("--update-golden"):
        file.write_text(text, "utf-8")
    assert text == file.read_text("utf-8")
    assert len(text) <= MAX_COMMENT


def test_the_worst_comes_first_and_what_is_left_out_is_counted() -> None:
    text = review_markdown(many_groups())
    rows = [line.split("|") for line in text.splitlines() if line.startswith("| `site-")]
    differences = [abs(Decimal(row[4].strip())) for row in rows if row[4].strip()[0] in "+-"]
    assert differences == sorted(differences, reverse=True)
    assert "left out here" in text
    assert len(text) > MAX_COMMENT * 0.6, "the room is used"
    text = review_markdown(thousand_findings())
    shown = text.count("| error F104 |")
    assert 50 < shown < 1000
    assert f"{1000 - shown:,} more findings left out here" in text


def test_a_comment_with_everything_at_once_has_room_for_its_grade_and_its_marker() -> None:
    everything = replace(many_groups(), findings=thousand_findings().findings)
    text = review_markdown(everything, "trimtab-report.json")
    assert 40_000 < len(text) <= MAX_COMMENT - MAX_SECTION - len("<!-- trimtab:comment:1: -->\n") - 100
    assert promises_in(text).groups
    assert text.count("left out here") >= 4


def test_a_refusal_by_policy_alone_is_no_broken_tree() -> None:
    assert refusal().outcome is Outcome.REFUSED
    assert missing_price().outcome is Outcome.BROKEN
    both = review(*ENDS, [finding.problem for finding in refusal().findings] + [Problem("F104", "a.yaml")])
    assert both.outcome is Outcome.BROKEN
    warned = review(*ENDS, (), (Problem("F502", "a.yaml"),))
    assert (warned.outcome, warned.findings[0].level) == (Outcome.READY, Level.WARNING)


HOSTILE = st.text(alphabet=st.sampled_from(list("a@#<>|`*_[]()!\\\n\r\t-&~$\u202e\u200b")), max_size=40)


@given(HOSTILE, HOSTILE, HOSTILE)
def test_nothing_from_a_file_becomes_markup(got: str, file: str, field: str) -> None:
    """A manifest must not mention people, close our marker, add rows, or show other text than it holds."""
    quiet = review_markdown(review(*ENDS, (Problem("F104", "f", 1, "x", "g", "e", "h"),)))
    text = review_markdown(review(*ENDS, (Problem("F104", file, 1, field, got, got, got),)))
    assert len(text.splitlines()) == len(quiet.splitlines()), "no line more"
    row = next(line for line in text.splitlines() if line.startswith("| error"))
    assert "\u202e" not in row
    assert "\u200b" not in row
    cells = row.replace("\\|", "").replace("&#124;", "")
    assert cells.count("|") == 5
    for cell in cells.split("|")[3:5]:
        plain = cell.replace("\\`", "").replace("\\*", "").replace("\\[", "")
        assert not {"@", "<", "`", "*", "["} & set(plain)


def state(version: str = "1", percent: str = "100", stable: str = "") -> ModelState:
    return ModelState(version, "lite", f"sha256:{version}", percent, "", stable)


@pytest.mark.parametrize(
    ("before", "after", "share"),
    [
        (None, state(percent="10"), 10),
        (state(), None, 100),
        (state("1"), state("2"), 100),
        (state("2", "1", "1"), state("2", "10", "1"), 9),
        (state("2", "10", "1"), state("3", "1", "1"), 10),
        (state("2", "100"), state("3", "10", "2"), 100),
        (state("2", "50", "1"), state("2", "50", "1"), 0),
    ],
)
def test_the_blast_radius_is_who_gets_something_else_at_once(
    before: ModelState | None, after: ModelState | None, share: int
) -> None:
    assert _share(before, after) == share
    assert ModelChange("m", "d", before, after).model == "m"


def test_sarif_names_rule_file_line_and_level() -> None:
    content: Any = review_sarif(refusal())
    json.dumps(content)
    (run,) = content["runs"]
    assert [rule["id"] for rule in run["tool"]["driver"]["rules"]] == ["F501", "F502"]
    first = run["results"][0]
    assert (first["ruleId"], first["level"]) == ("F501", "error")
    place = first["locations"][0]["physicalLocation"]
    assert place == {"artifactLocation": {"uri": "fleet/cameras.yaml"}, "region": {"startLine": 14}}
