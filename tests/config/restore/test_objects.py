"""Object by object: what is restored equals the good commit, and everything else keeps its bytes."""

from __future__ import annotations

from dataclasses import dataclass, replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trimtab_config.restore.layout import Layout, ObjectKey, lay_out
from trimtab_config.restore.objects import Action, Restoration, restore_objects
from trimtab_config.restore.proof import prove_restoration
from trimtab_config.spec.reader import read_documents
from trimtab_kernel.problems import Problem

API = "apexlogic.ai/v1"


def key(name: str, namespace: str = "default", kind: str = "Hold") -> ObjectKey:
    return ObjectKey(API, kind, namespace, name)


def hold(name: str, version: str = "1.0.0", *, top: str = "", end: str = "", reason: str = '"because"') -> str:
    return (
        f"{top}apiVersion: {API}\nkind: Hold\nmetadata:\n  name: {name} # the name\nspec:\n  model: triage\n"
        f'  version: "{version}"\n  owner: clinics\n  reason: {reason}\n  until: "2027-01-01"\n{end}'
    )


def restored(current: dict[str, str], good: dict[str, str], *keys: ObjectKey) -> tuple[Restoration, dict[str, str]]:
    now = {path: text.encode() for path, text in current.items()}
    then = {path: text.encode() for path, text in good.items()}
    restoration, problems = restore_objects(now, then, keys)
    assert problems == ()
    after = restoration.applied_to(now)
    proof, differences = prove_restoration(now, then, after, keys)
    assert differences == ()
    assert proof is not None
    return restoration, {path: content.decode() for path, content in after.items()}


def codes(current: dict[str, str | bytes], good: dict[str, str | bytes], *keys: ObjectKey) -> list[tuple[str, str]]:
    def raw(files: dict[str, str | bytes]) -> dict[str, bytes]:
        return {path: text.encode() if isinstance(text, str) else text for path, text in files.items()}

    restoration, problems = restore_objects(raw(current), raw(good), keys)
    assert restoration.changes == {}
    return [(problem.code, problem.file) for problem in problems]


HEAD = "# Copyright of the file.\n\n"


def test_one_object_of_many_goes_back_and_the_comments_around_it_stay() -> None:
    good = {"a.yaml": HEAD + hold("a") + "---\n# why b\n" + hold("b", end="# below b\n") + "--- # third\n" + hold("c")}
    current = {
        "a.yaml": HEAD
        + hold("a", "1.5.0")
        + "---\n# why b is now 2\n\n"
        + hold("b", "2.0.0", reason='"new"', end="# below b, new\n\n")
        + "--- # third\n"
        + hold("c", "3.0.0", end="# the end")
    }
    restoration, after = restored(current, good, key("b"))
    assert after == {"a.yaml": current["a.yaml"].replace(hold("b", "2.0.0", reason='"new"'), hold("b"))}
    assert [(edit.key, edit.action, edit.file) for edit in restoration.edits] == [(key("b"), Action.REPLACED, "a.yaml")]
    assert str(restoration.edits[0]) == "replaced Hold default/b in a.yaml"


def test_an_object_that_moved_is_restored_where_it_stands_now() -> None:
    good = {"old.yaml": hold("a") + "---\n" + hold("b")}
    current = {"new.yaml": hold("b", "2.0.0"), "old.yaml": hold("a")}
    restoration, after = restored(current, good, key("b"))
    assert after == {"new.yaml": hold("b"), "old.yaml": hold("a")}
    assert restoration.edits[0].moved_from == "old.yaml"
    assert list(restoration.changes) == ["new.yaml"]


def test_a_removed_object_comes_back_into_its_file_with_its_comments() -> None:
    good = {"a.yaml": hold("a") + "---\n" + hold("b", top="# about b\n")}
    for current in (hold("a"), hold("a").rstrip("\n"), hold("a", end="# end\n")):
        _, after = restored({"a.yaml": current}, good, key("b"))
        assert after == {"a.yaml": current.rstrip("\n") + "\n---\n# about b\n" + hold("b")}


def test_a_removed_file_comes_back_with_the_restored_objects_alone() -> None:
    good = {"gone.yaml": hold("a") + "---\n" + hold("b") + "---\n" + hold("c"), "x.yaml": hold("x")}
    restoration, after = restored({"x.yaml": hold("x")}, good, key("a"), key("c"))
    assert after == {"x.yaml": hold("x"), "gone.yaml": hold("a") + "---\n" + hold("c")}
    assert [edit.action for edit in restoration.edits] == [Action.ADDED, Action.ADDED]


def test_an_added_object_is_removed_and_a_file_without_any_object_goes() -> None:
    current = {"a.yaml": HEAD + hold("a") + "---\n" + hold("b"), "new.yaml": "# new\n" + hold("c")}
    good = {"a.yaml": HEAD + hold("a")}
    restoration, after = restored(current, good, key("b"), key("c"))
    assert after == good
    assert restoration.changes["new.yaml"] is None
    _, after = restored(current, {"a.yaml": hold("b")}, key("a"))
    assert after["a.yaml"] == HEAD + "---\n" + hold("b"), "the head of the file stays"
    _, after = restored({"a.yaml": hold("a") + "---\n" + hold("b")}, {}, key("a"))
    assert after == {"a.yaml": hold("b")}


def test_other_kinds_and_tools_documents_in_the_file_stay() -> None:
    other = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: b}\ndata: {x: 'y'}\n"
    current = {"a.yaml": hold("b", "2.0.0") + "---\n" + other, "k.yaml": other}
    _, after = restored(current, {"a.yaml": hold("b")}, key("b"))
    assert after == {"a.yaml": hold("b") + "---\n" + other, "k.yaml": other}
    _, after = restored(current, {}, key("b"))
    assert after == {"a.yaml": other, "k.yaml": other}


def test_restoring_what_has_not_changed_changes_nothing() -> None:
    files = {"a.yaml": hold("a") + "---\n" + hold("b")}
    restoration, after = restored(files, files, key("a"))
    assert (restoration.changes, restoration.edits[0].action, after) == ({}, Action.UNCHANGED, files)


def test_line_ends_and_a_byte_order_mark_stay_what_they_are() -> None:
    good = {"a.yaml": hold("a") + "---\n" + hold("b")}
    windows = "\ufeff" + (hold("a") + "---\n" + hold("b", "2.0.0") + "---\n" + hold("c")).replace("\n", "\r\n")
    _, after = restored({"a.yaml": windows}, good, key("b"))
    assert after["a.yaml"].startswith("\ufeff" + hold("a").replace("\n", "\r\n"))
    assert after["a.yaml"].endswith("---\r\n" + hold("c").replace("\n", "\r\n"))
    assert hold("b") in after["a.yaml"]


@pytest.mark.parametrize("style", ["|", "|+", "|-", ">", ">+", ">-", "|2-"])
@pytest.mark.parametrize("blank", ["", "\n", "\n\n# note\n"])
def test_block_scalars_at_the_end_of_an_object_keep_their_meaning(style: str, blank: str) -> None:
    """Blank lines at the end belong to some scalars, and "# no comment" within one is text."""
    text = (
        hold("b").replace('  reason: "because"\n', "") + f"  reason: {style}\n    it broke\n    # no comment\n{blank}"
    )
    good = {"a.yaml": hold("a") + "---\n" + text + "---\n" + hold("c")}
    current = {"a.yaml": hold("a") + "---\n" + hold("b", "2.0.0", end="\n\n# below\n") + "---\n" + hold("c")}
    _, after = restored(current, good, key("b"))
    assert after["a.yaml"].startswith(hold("a") + "---\n")
    assert after["a.yaml"].endswith("---\n" + hold("c"))


UNCLEAR = {
    "text on the border line": "--- &x\n" + hold("b"),
    "a document end": hold("b") + "...\n",
    "a directive": "%YAML 1.1\n---\n" + hold("b"),
    "a lone carriage return": "# a\r---\n" + hold("b"),
    "another line break": "# a\u2028---\n" + hold("b"),
    "next line": "# a\u0085---\n" + hold("b"),
}


@pytest.mark.parametrize("name", sorted(UNCLEAR))
def test_a_file_with_unclear_borders_is_refused_by_name(name: str) -> None:
    assert codes({"a.yaml": UNCLEAR[name]}, {"a.yaml": hold("b")}, key("b")) == [("G303", "a.yaml")]
    assert codes({"a.yaml": hold("b")}, {"g.yaml": UNCLEAR[name]}, key("b")) == [("G303", "g.yaml")]


def test_what_cannot_be_restored_is_named_and_then_nothing_changes() -> None:
    fine: dict[str, str | bytes] = {"a.yaml": hold("a"), "b.yaml": hold("b")}
    assert codes(fine, fine, key("none"), key("a")) == [("G301", "")]
    assert codes({**fine, "x.yaml": "a: [1\n"}, fine, key("a")) == [("G302", "x.yaml")]
    assert codes({**fine, "x.yaml": b"\xff"}, fine, key("a")) == [("G302", "x.yaml")]
    assert codes(fine, {**fine, "x.yaml": b"a\0"}, key("a")) == [("G302", "x.yaml")]
    assert codes({**fine, "c.yaml": hold("a")}, fine, key("a")) == [("G305", "c.yaml")]
    assert codes(fine, {**fine, "c.yaml": hold("a")}, key("a")) == [("G305", "c.yaml")]
    twice = hold("a").replace("kind: Hold\n", "kind: Hold\nkind: Hold\n")
    assert codes(fine, {"a.yaml": twice}, key("a")) == [("G303", "a.yaml")]
    assert codes(fine, {"a.yaml": hold("a").replace("until", "until: ]")}, key("a")) == [("G302", "a.yaml")]


def test_a_scalar_that_ends_with_its_file_is_refused_rather_than_lengthened() -> None:
    """Without its final line end the text is "it broke", with it "it broke" and a line end: another object would change."""
    last = hold("a").replace('  reason: "because"\n', "") + "  reason: |\n    it broke"
    current: dict[str, str | bytes] = {"a.yaml": last}
    good: dict[str, str | bytes] = {"a.yaml": last + "\n---\n" + hold("b")}
    assert codes(current, good, key("b")) == [("G304", "a.yaml")]


def test_aliases_stay_within_their_document() -> None:
    anchored = hold("b").replace("model: triage", "model: &m triage") + "  groups: [*m]\n"
    _, after = restored({"a.yaml": hold("b", "2.0.0") + "---\n" + hold("c")}, {"a.yaml": anchored}, key("b"))
    assert after["a.yaml"] == anchored + "---\n" + hold("c")


def test_deeply_nested_and_alias_bombs_are_problems_and_no_crash() -> None:
    bomb = "a: &a [1,1,1,1,1,1,1,1,1]\n" + "".join(
        f"{chr(98 + n)}: &{chr(98 + n)} [{','.join(['*' + chr(97 + n)] * 9)}]\n" for n in range(8)
    )
    for text in (bomb, "[" * 50_000):
        assert codes({"x.yaml": text, "a.yaml": hold("a", "2.0.0")}, {"a.yaml": hold("a")}, key("a")) == [
            ("G302", "x.yaml")
        ]


# ---------------------------------------------------------------- properties


@dataclass(frozen=True)
class Written:
    """One object as somebody wrote it."""

    name: str
    text: str


NOTE_LINES = st.lists(st.sampled_from(["", "# note", "#", "# --- not a border", "# kind: Hold"]), max_size=3).map(
    lambda lines: "".join(line + "\n" for line in lines)
)
REASONS = st.sampled_from(
    [
        '"plain"',
        "'single ''quoted'' # no comment'",
        "|\n    one\n    --- two\n\n    # three",
        "|+\n    kept\n\n",
        ">-\n    folded\n    text",
        '"line \\\n    two"',
        "plain words",
        "ü ß 漢字 \U0001f600",
    ]
)
VERSIONS = st.sampled_from(["1.0.0", "1.1.0", "2.0.0", "2.0.0-rc.1"])
NAMES = ["a", "b", "c", "d", "e"]


@st.composite
def objects(draw: st.DrawFn, name: str) -> Written:
    version, reason = draw(VERSIONS), draw(REASONS)
    lines = [
        f"model: {draw(st.sampled_from(['triage', 'digits']))}",
        f'version: "{version}"',
        "owner: clinics # who",
        f"reason: {reason}",
        'until: "2027-01-01"',
    ]
    spec = "".join(f"  {line}\n" for line in draw(st.permutations(lines)))
    body = f"apiVersion: {API}\nkind: Hold\nmetadata: {{name: {name}, namespace: ns}}\nspec:\n{spec}"
    return Written(name, draw(NOTE_LINES) + body + draw(NOTE_LINES))


@st.composite
def trees(draw: st.DrawFn) -> dict[str, str]:
    """Some of the objects, in any order, over up to three files, parted in the usual ways."""
    names = draw(st.lists(st.sampled_from(NAMES), unique=True, max_size=len(NAMES)))
    files: dict[str, list[str]] = {}
    for name in names:
        files.setdefault(draw(st.sampled_from(["x.yaml", "y.yaml", "z/z.yaml"])), []).append(draw(objects(name)).text)
    border = draw(st.sampled_from(["---\n", "--- # next\n", "---  \n"]))
    made = {}
    for path, texts in files.items():
        text = draw(st.sampled_from(["", border, "# head\n\n", "# head\n" + border])) + border.join(texts)
        made[path] = text.rstrip("\n") if draw(st.booleans()) and "|+" not in text else text
    return made


def regions(files: dict[str, bytes]) -> dict[ObjectKey, bytes]:
    found = {}
    for path, content in files.items():
        layout = lay_out(path, content)
        assert isinstance(layout, Layout)
        for region in layout.regions:
            if region.key is not None:
                found[region.key] = region.body(content).rstrip(b"\r\n")
    return found


@given(trees(), trees(), st.sets(st.sampled_from(NAMES), min_size=1))
def test_restoring_gives_the_good_objects_and_leaves_the_bytes_of_all_others(
    current: dict[str, str], good: dict[str, str], names: set[str]
) -> None:
    now = {path: text.encode() for path, text in current.items()}
    then = {path: text.encode() for path, text in good.items()}
    assert read_documents(now).problems == read_documents(then).problems == ()
    before, goal = regions(now), regions(then)
    keys = {key(name, "ns") for name in names} & (before.keys() | goal.keys())
    restoration, problems = restore_objects(now, then, keys)
    if problems:
        assert {problem.code for problem in problems} == {"G304"}, problems
        assert any("|" in text for text in (*current.values(), *good.values())), "only block scalars may be in the way"
        return
    after = restoration.applied_to(now)
    proof, differences = prove_restoration(now, then, after, keys)
    assert differences == ()
    assert proof is not None
    assert set(proof.restored) == keys & goal.keys()
    assert set(proof.absent) == keys - goal.keys()
    left = regions(after)
    for each in before.keys() - keys:
        assert left[each] == before[each]
    for each in keys & goal.keys():
        assert left[each].strip() == goal[each].strip()
    assert left.keys() == (before.keys() - keys) | (keys & goal.keys())
    touched = {edit.file for edit in restoration.edits if edit.action is not Action.UNCHANGED}
    assert set(restoration.changes) <= touched
    again, problems = restore_objects(after, then, keys & (goal.keys() | left.keys()))
    assert (again.changes, problems) == ({}, ()), "once is enough"


@given(st.binary(max_size=200) | st.text("-.\n #:abc{}[]&*%|>\t\r\"'", max_size=60).map(str.encode))
def test_any_bytes_have_a_layout_that_covers_them_or_a_problem(content: bytes) -> None:
    layout = lay_out("x.yaml", content)
    if isinstance(layout, Problem):
        assert layout.code in {"G302", "G303"}
        return
    position = 3 if content.startswith(b"\xef\xbb\xbf") else 0
    for region in layout.regions:
        assert region.border == position
        assert region.border <= region.start <= region.first <= region.last <= region.end
        position = region.end
    assert position == len(content)


# ---------------------------------------------------------------- the proof


def test_the_proof_finds_what_an_edit_should_not_have_done() -> None:
    base = {"a.yaml": hold("a", "2.0.0").encode(), "b.yaml": hold("b").encode()}
    good = {"a.yaml": hold("a").encode()}
    right = {"other.yaml": ("# moved\n" + hold("a")).encode(), "b.yaml": hold("b").encode()}

    def found(result: dict[str, bytes], *added: ObjectKey) -> list[str]:
        proof, problems = prove_restoration(base, good, result, [key("a")], added)
        assert (proof is None) == bool(problems)
        return [problem.code for problem in problems]

    assert found(right) == []
    assert found(base) == ["G306"]
    assert found({**right, "b.yaml": hold("b", "9.0.0").encode()}) == ["G306"]
    assert found({"other.yaml": right["other.yaml"]}) == ["G306"]
    assert found({**right, "c.yaml": hold("c").encode()}) == ["G306"]
    assert found({**right, "c.yaml": hold("c").encode()}, key("c")) == []
    assert found(right, key("c")) == ["G306"]
    assert found(right, key("b")) == ["G306"]
    assert found({**right, "c.yaml": b"a: ["}) == ["G307"]
    assert found({**right, "again.yaml": hold("a").encode()}) == ["G307"]


def test_the_proof_counts_what_it_compared() -> None:
    base = {"a.yaml": hold("a", "2.0.0").encode(), "b.yaml": hold("b").encode(), "n.yaml": hold("n").encode()}
    good = {"a.yaml": hold("a").encode()}
    result = {"a.yaml": hold("a").encode(), "b.yaml": hold("b").encode(), "h.yaml": hold("h").encode()}
    proof, problems = prove_restoration(base, good, result, [key("a"), key("n")], [key("h")])
    assert problems == ()
    assert proof is not None
    assert replace(proof) == proof
    assert (proof.restored, proof.absent, proof.added, proof.untouched) == ((key("a"),), (key("n"),), (key("h"),), 1)
