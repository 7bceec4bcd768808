"""Files that mean harm: each ends as collected problems, quickly and in little memory, and never as a traceback."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.config.hostile_corpus import CORPUS, SOUND, Hostile
from tests.config.small_fleet import deployment, group, hold, model, on_device, price_book
from trimtab_config.catalog import build_catalog
from trimtab_config.sources.folder import load_folder, read_folder
from trimtab_config.spec.limits import MAX_FILE_BYTES, MAX_FILES
from trimtab_config.spec.reader import ReadResult, read_documents
from trimtab_kernel.codes import BY_CODE
from trimtab_kernel.problems import InputError

ROOT = Path(__file__).parents[2]
CPU_SECONDS = 2.0


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Any]]:
    """What `trimtab validate` made of each file of the corpus, in one process with little memory."""
    folder = tmp_path_factory.mktemp("hostile")
    command = [sys.executable, "-m", "tests.config.hostile_run", str(folder)]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=100, check=False)
    assert result.returncode == 0, result.stderr
    assert "Traceback" not in result.stderr
    return {outcome["name"]: outcome for outcome in json.loads(result.stdout)}


@pytest.mark.parametrize("hostile", CORPUS, ids=lambda hostile: hostile.name)
def test_a_hostile_file_is_refused_by_name_and_in_time(hostile: Hostile, outcomes: dict[str, dict[str, Any]]) -> None:
    outcome = outcomes[hostile.name]
    assert set(outcome["codes"]) & hostile.codes
    assert outcome["status"] == 1
    assert outcome["seconds"] < CPU_SECONDS


def test_the_names_of_the_corpus_are_unique() -> None:
    assert len({hostile.name for hostile in CORPUS}) == len(CORPUS)


@pytest.mark.parametrize(
    "content",
    [
        b"\xef\xbb\xbf" + SOUND,
        SOUND.replace(b"\n", b"\r\n"),
        SOUND.replace(b"\n", b"\r"),
        b"%YAML 1.2\n---\n" + SOUND + b"...\n",
        b"# a comment\n\n---\n---\n" + SOUND,
        SOUND.replace(b"reason: r", "reason: schlägt fehl 猫 🐈".encode()),
        SOUND.replace(b"reason: r", b"reason: >-\n    one\n    two"),
        SOUND.replace(b"owner: o", b"owner: &o o").replace(b"reason: r", b"reason: *o"),
    ],
    ids=["byte order mark", "CRLF", "CR", "directive", "comments and empty documents", "Unicode", "folded", "alias"],
)
def test_unusual_but_honest_text_is_read(content: bytes) -> None:
    result = read_documents({"a.yaml": content})
    assert result.problems == ()
    assert len(result.documents) == 1


def test_one_bad_file_does_not_hide_the_others() -> None:
    small = [hostile for hostile in CORPUS if len(hostile.content) < 50_000]
    files = {f"{number:02}.yaml": hostile.content for number, hostile in enumerate(small)}
    result = read_documents({**files, "sound.yaml": SOUND.replace(b"name: a", b"name: sound")})
    found = {(problem.file, problem.code) for problem in result.problems}
    for name, content in files.items():
        alone = {(problem.file, problem.code) for problem in read_documents({name: content}).problems}
        assert alone <= found
    sound = [document for document in result.documents if document.origin.file == "sound.yaml"]
    assert [document.metadata.name for document in sound] == ["sound"]


# ---------------------------------------------------------------- folders


def test_a_file_of_100_mb_is_refused_without_being_read(tmp_path: Path) -> None:
    with (tmp_path / "large.yaml").open("wb") as file:
        file.truncate(100_000_000)
    (tmp_path / "sound.yaml").write_bytes(SOUND)
    folder = read_folder(tmp_path)
    assert list(folder.files) == ["sound.yaml"]
    [problem] = folder.problems
    assert str(problem) == f"large.yaml: F103 got 100000000 bytes, expected at most {MAX_FILE_BYTES} bytes in one file"
    with pytest.raises(InputError, match="F103"):
        load_folder(tmp_path)


def test_bytes_beyond_the_limit_of_a_file_are_refused_wherever_they_come_from() -> None:
    result = read_documents({"a.yaml": b"#" * (MAX_FILE_BYTES + 1)})
    assert [problem.code for problem in result.problems] == ["F103"]


def test_links_pipes_and_devices_are_not_followed_or_opened(tmp_path: Path) -> None:
    fleet, outside = tmp_path / "fleet", tmp_path / "outside"
    fleet.mkdir()
    outside.mkdir()
    (outside / "secret.yaml").write_bytes(SOUND)
    (fleet / "sound.yaml").write_bytes(SOUND)
    (fleet / "inside.yaml").symlink_to("sound.yaml")
    (fleet / "out.yaml").symlink_to(outside / "secret.yaml")
    (fleet / "up.yaml").symlink_to("../outside/secret.yaml")
    (fleet / "folder").symlink_to(outside)
    (fleet / "circle.yaml").symlink_to("circle.yaml")
    (fleet / "null.yaml").symlink_to("/dev/null")
    (fleet / "other.yaml").symlink_to(fleet / "notes.txt")
    (fleet / "notes.txt").write_text("notes", "utf-8")
    os.mkfifo(fleet / "pipe.yaml")
    folder = read_folder(fleet)
    assert list(folder.files) == ["sound.yaml"]
    assert [f"{problem.file}: {problem.got}" for problem in folder.problems] == [
        "circle.yaml: a link to nothing",
        "folder: a link to a folder outside",
        "null.yaml: a link to a file outside",
        "other.yaml: a link to a file that is no manifest",
        "out.yaml: a link to a file outside",
        "pipe.yaml: not a plain file",
        "up.yaml: a link to a file outside",
    ]
    assert {problem.code for problem in folder.problems} == {"F118"}


def test_hidden_and_foreign_files_are_not_read(tmp_path: Path) -> None:
    for name in (".git/config.yaml", ".hidden.yaml", "a/.b/c.yaml", "notes.md", "a/b.yaml", "a/c.yml", "d.YAML"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(SOUND)
    assert list(load_folder(tmp_path)) == ["a/b.yaml", "a/c.yml"]


def test_one_file_is_read_whatever_its_suffix_and_where_it_is_missing_that_is_said(tmp_path: Path) -> None:
    (tmp_path / "manifest.txt").write_bytes(SOUND)
    assert load_folder(tmp_path / "manifest.txt") == {"manifest.txt": SOUND}
    with pytest.raises(InputError, match=r"nothing\.yaml: F118 got no such file or folder"):
        load_folder(tmp_path / "nothing.yaml")


def test_a_name_that_is_no_unicode_is_a_file_like_any_other(tmp_path: Path) -> None:
    (tmp_path / "\udcff.yaml").write_bytes(SOUND.replace(b"name: a", b"name: A"))
    result = read_documents(load_folder(tmp_path))
    assert str(result.problems[0]).startswith("\\udcff.yaml:4 metadata.name: F104")


def test_too_many_files_are_refused_at_once() -> None:
    result = read_documents(dict.fromkeys((f"{number}.yaml" for number in range(MAX_FILES + 1)), b""))
    assert [problem.code for problem in result.problems] == ["F103"]


# ---------------------------------------------------------------- fuzz


def sound_outcome(result: ReadResult) -> None:
    """Whatever was read: problems are well formed, and what is left fits a catalog."""
    for problem in result.problems:
        assert problem.code in BY_CODE
        assert problem.line >= 0
        line = str(problem)
        assert "\n" not in line
        line.encode()
    build_catalog(result.documents, result.lost)


BYTES = st.binary(max_size=2000)


@given(BYTES)
def test_any_bytes_give_problems_or_documents(content: bytes) -> None:
    sound_outcome(read_documents({"a.yaml": content}))


YAML_PIECES = st.sampled_from(
    [
        "apiVersion: apexlogic.ai/v1\n", "kind: Hold\n", "kind: Model\n", "metadata:\n", "spec:\n", "  name: a\n", "  ",
        "- ", "? ", ": ", "[", "]", "{", "}", ",", "&a ", "*a", "<<: *a\n", "!!str ", "'", '"', "\n", "\t", "#", "|\n", ">-\n",
        "---\n", "...\n", "%YAML 1.2\n", "null", "~", "1.0", "yes", "\\x00", "\r\n", "é", "\ufeff", "@", "`", "versions:\n",
    ]
)  # fmt: skip


HEAPS = st.lists(YAML_PIECES, max_size=60).map("".join)


@given(HEAPS)
def test_any_heap_of_yaml_pieces_gives_problems_or_documents(text: str) -> None:
    sound_outcome(read_documents({"a.yaml": text.encode()}))


VALID = yaml.safe_dump_all([group(), model(), deployment(), hold(), on_device(), price_book()]).encode()


def test_what_is_mutated_below_is_valid_to_begin_with() -> None:
    assert read_documents({"a.yaml": VALID}).problems == ()


CHANGES = st.lists(
    st.tuples(st.integers(0, len(VALID)), st.integers(0, 12), st.binary(max_size=6) | YAML_PIECES.map(str.encode)),
    min_size=1,
    max_size=4,
)


@given(CHANGES)
@settings(max_examples=200)
def test_a_mutated_manifest_gives_problems_or_documents(changes: list[tuple[int, int, bytes]]) -> None:
    content = VALID
    for place, length, new in changes:
        content = content[:place] + new + content[place + length :]
    sound_outcome(read_documents({"a.yaml": content}))


Json = st.recursive(
    st.none() | st.booleans() | st.integers(-10, 10**12) | st.floats(allow_nan=False) | st.text(max_size=10),
    lambda below: st.lists(below, max_size=4) | st.dictionaries(st.text(max_size=8), below, max_size=4),
    max_leaves=8,
)


@given(st.data())
@settings(max_examples=200)
def test_a_field_with_any_value_gives_problems_or_documents(data: st.DataObject) -> None:
    """Replaces one field somewhere in a valid object by anything that JSON can say."""
    document = data.draw(st.sampled_from([group(), model(), deployment(), hold(), on_device(), price_book()]))
    place: Any = document
    while True:
        key = data.draw(st.sampled_from(sorted(place) if isinstance(place, dict) else range(len(place))))
        below = place[key]
        if not isinstance(below, dict | list) or not below or data.draw(st.booleans()):
            break
        place = below
    place[key] = data.draw(Json)
    sound_outcome(read_documents({"a.yaml": json.dumps(document).encode()}))


@pytest.mark.long
@pytest.mark.timeout(3600)
@pytest.mark.parametrize(
    ("strategy", "check"),
    [
        (BYTES, test_any_bytes_give_problems_or_documents),
        (HEAPS, test_any_heap_of_yaml_pieces_gives_problems_or_documents),
        (CHANGES, test_a_mutated_manifest_gives_problems_or_documents),
        (st.data(), test_a_field_with_any_value_gives_problems_or_documents),
    ],
    ids=["bytes", "pieces", "mutants", "values"],
)
def test_the_same_holds_of_many_more(strategy: st.SearchStrategy[Any], check: Any) -> None:  # noqa: ANN401 - a property
    @settings(max_examples=8_000)
    @given(strategy)
    def holds(value: object) -> None:
        check.hypothesis.inner_test(value)

    holds()
