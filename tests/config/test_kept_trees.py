"""A tree that is looked at and not read, and files that are taken as an earlier process read them."""

from __future__ import annotations

import os
import pickle
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from trimtab_config.cli import main
from trimtab_config.compilation import stored as stored_module
from trimtab_config.compilation.readings import Pack, frozen, thawed, thawed_pack
from trimtab_config.compilation.store import Store
from trimtab_config.sources import survey as survey_module
from trimtab_config.sources.folder import read_folder
from trimtab_config.sources.survey import SETTLED, survey
from trimtab_config.sources.tree import ChangedError
from trimtab_config.spec.limits import MAX_FILE_BYTES
from trimtab_config.spec.reader import read_file

if TYPE_CHECKING:
    from collections.abc import Mapping

    from trimtab_config.sources.survey import Survey

EXAMPLES = Path(__file__).parents[2] / "examples/fleet"
LONG_AFTER = SETTLED * 100


def made(folder: Path) -> Path:
    (folder / "below/.hidden").mkdir(parents=True)
    (folder / "one.yaml").write_text("a: 1\n")
    (folder / "below/two.yml").write_text("b: 2\n")
    (folder / "below/.hidden/not.yaml").write_text("c: 3\n")
    (folder / "note.txt").write_text("not a manifest")
    (folder / "same.yaml").symlink_to("one.yaml")
    return folder


def seen(folder: Path, known: Mapping[str, object], later: int = LONG_AFTER) -> tuple[Survey, dict[str, str]]:
    found = survey(folder, "fleet/", time.time_ns() + later)
    assert found is not None
    return found, found.digests(known)


def test_a_survey_sees_what_reading_sees(tmp_path: Path) -> None:
    found, digests = seen(made(tmp_path), {})
    assert found.contents() == {f"fleet/{name}": content for name, content in read_folder(tmp_path).files.items()}
    assert sorted(digests) == ["fleet/below/two.yml", "fleet/one.yaml"]


def test_what_was_left_alone_is_not_read_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first, digests = seen(made(tmp_path), {})
    monkeypatch.setattr(survey_module, "open_plain", lambda path: pytest.fail(f"{path} was read"))
    second, again = seen(tmp_path, first.sightings)
    assert again == digests
    assert second.sightings == first.sightings


def test_a_change_is_seen_though_size_and_time_are_those_of_before(tmp_path: Path) -> None:
    first, digests = seen(made(tmp_path), {})
    file = tmp_path / "one.yaml"
    before = file.stat()
    file.write_text("a: 2\n")
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))
    _, again = seen(tmp_path, first.sightings)
    assert again["fleet/one.yaml"] != digests["fleet/one.yaml"]
    assert again["fleet/below/two.yml"] == digests["fleet/below/two.yml"]
    other = tmp_path / "other.yaml"
    other.write_text("a: 1\n")
    os.utime(other, ns=(before.st_atime_ns, before.st_mtime_ns))
    other.replace(file)
    assert seen(tmp_path, first.sightings)[1] == digests


def test_what_was_just_written_is_not_relied_upon(tmp_path: Path) -> None:
    found, _ = seen(made(tmp_path), {}, later=0)
    assert found.sightings == {}


@pytest.mark.parametrize("sighting", [None, 7, [], ["x"], {}, [1, 2, 3, 4, 5, 6], [[]] * 6])
def test_a_sighting_that_is_none_is_no_sighting(sighting: object, tmp_path: Path) -> None:
    _, digests = seen(made(tmp_path), {})
    assert seen(tmp_path, dict.fromkeys(digests, sighting))[1] == digests


def test_bytes_that_changed_since_are_not_handed_out(tmp_path: Path) -> None:
    first, _ = seen(made(tmp_path), {})
    second, _ = seen(tmp_path, first.sightings)
    (tmp_path / "one.yaml").write_text("a: 2\n")
    with pytest.raises(ChangedError):
        second.content("fleet/one.yaml")
    (tmp_path / "below/two.yml").unlink()
    with pytest.raises(ChangedError):
        second.contents()


def test_what_reading_would_complain_of_is_left_to_reading(tmp_path: Path) -> None:
    made(tmp_path)
    assert survey(tmp_path / "one.yaml", "", 0) is None
    assert survey(tmp_path / "nowhere", "", 0) is None
    (tmp_path / "out.yaml").symlink_to("/etc/hostname")
    assert survey(tmp_path, "", 0) is None
    (tmp_path / "out.yaml").unlink()
    os.mkfifo(tmp_path / "pipe.yaml")
    assert survey(tmp_path, "", 0) is None
    (tmp_path / "pipe.yaml").unlink()
    (tmp_path / "large.yaml").write_bytes(b"#" * (MAX_FILE_BYTES + 1))
    assert survey(tmp_path, "", 0) is None
    (tmp_path / "large.yaml").unlink()
    assert survey(tmp_path, "", 0) is not None


def test_every_edit_of_a_settled_tree_reaches_the_objects(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsysbinary: pytest.CaptureFixture[bytes]
) -> None:
    for path in EXAMPLES.rglob("*.yaml"):
        copy = tmp_path / "fleet" / path.relative_to(EXAMPLES)
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy.write_bytes(path.read_bytes())
    command = ["render", str(tmp_path / "fleet"), "--group", "kiosk-emea"]
    now = time.time_ns
    monkeypatch.setattr(time, "time_ns", lambda: now() + LONG_AFTER)

    def rendered(*more: str) -> bytes:
        assert main([*command, *more]) == 0
        return capsysbinary.readouterr().out

    kept = ["--cache", str(tmp_path / "cache")]
    assert rendered(*kept) == rendered(*kept) == rendered("--no-cache")
    edits = 0
    for path in sorted((tmp_path / "fleet").rglob("*.yaml")):
        text = path.read_text()
        if "deviceCount: " in text or "cpu: " in text:
            status = path.stat()
            changed = text.replace("deviceCount: 1", "deviceCount: 2").replace('cpu: "1', 'cpu: "2')
            edits += changed != text
            path.write_text(changed)
            os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
            assert rendered(*kept) == rendered("--no-cache"), path
    assert edits >= 2


def test_a_reading_comes_back_as_it_was() -> None:
    files = sorted(EXAMPLES.rglob("*.yaml"))
    assert len(files) > 5
    for path in files:
        read = read_file(path.name, path.read_bytes())
        again = thawed(frozen(read))
        assert again == read
        assert again is not None
        assert [each.origin.lines for each in again.documents] == [each.origin.lines for each in read.documents]


class _Evil:
    def __init__(self, place: Path) -> None:
        self.place = place

    def __reduce__(self) -> tuple[object, tuple[object, ...]]:
        return (os.mkdir, (str(self.place),))


def test_bytes_that_are_no_reading_are_as_good_as_none(tmp_path: Path) -> None:
    place = tmp_path / "made"
    sound = frozen(read_file("one.yaml", (EXAMPLES / "groups/emea.yaml").read_bytes()))
    wrong = [b"", b"\x80", b"cos\nsystem\n(S'true'\ntR.", sound[:-5], pickle.dumps(7), pickle.dumps(_Evil(place))]
    wrong += [pickle.dumps(os.path.join), pickle.dumps(pytest.raises), pickle.dumps(read_file)]
    for content in wrong:
        assert thawed(content) is None
        assert thawed_pack(content) is None
    assert not place.exists()
    read = thawed(sound)
    assert read is not None
    assert thawed_pack(frozen(Pack((read,), ([], [], [], [])))) == Pack((read,), ([], [], [], []))
    assert thawed_pack(frozen(Pack((read,), ([], [])))) is None
    assert thawed_pack(sound) is None


def test_a_small_change_adds_to_the_index_and_a_large_one_writes_it_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = time.time_ns
    monkeypatch.setattr(time, "time_ns", lambda: now() + LONG_AFTER)
    monkeypatch.setattr(stored_module, "_MOST_ADDED", 3)
    written: list[str] = []
    put = Store.put

    def noted(self: Store, kind: str, name: str, body: bytes) -> None:
        written.append(kind)
        put(self, kind, name, body)

    monkeypatch.setattr(Store, "put", noted)
    for path in EXAMPLES.rglob("*.yaml"):
        copy = tmp_path / "fleet" / path.relative_to(EXAMPLES)
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy.write_bytes(path.read_bytes())

    def run() -> list[str]:
        written.clear()
        arguments = ["--list-groups", "--cache", str(tmp_path / "cache")]
        assert main(["render", str(tmp_path / "fleet"), *arguments]) == 0
        return [kind for kind in written if kind.startswith(("index", "what"))]

    def remark(*names: str) -> None:
        for name in names:
            with (tmp_path / "fleet" / name).open("a") as file:
                file.write("# a remark\n")

    assert run() == ["index"]
    assert run() == []
    remark("groups/emea.yaml")
    assert run() == ["what the index lacks"]
    assert run() == []
    (tmp_path / "fleet/holds/digits-2.0.0.yaml").touch()
    assert run() == ["what the index lacks"]
    remark("groups/emea.yaml", "groups/amer.yaml", "groups/apac.yaml", "groups/latam.yaml")
    assert run() == ["index"]
    assert run() == []
