"""`trimtab render` and `trimtab cost` as people and machines call them."""

from __future__ import annotations

import json
import os
import pty
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
import yaml

from tests.config.small_fleet import catalog_of, deployment, files_of, group, model, on_device, phones, price_book
from trimtab_config.cli import main
from trimtab_config.cost.estimate import estimate
from trimtab_config.text.costs import cost_table, terminal_table

if TYPE_CHECKING:
    from pathlib import Path

SIMPLE = (group(), group("others"), phones(), on_device(), model(), deployment(), price_book())


@pytest.fixture
def fleet(tmp_path: Path) -> Path:
    folder = tmp_path / "a fleet"
    folder.mkdir()
    for name, content in files_of(*SIMPLE).items():
        (folder / name).write_bytes(content)
    return folder


def test_render_prints_one_group_as_one_stream(fleet: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["render", str(fleet), "--group", "kiosks"]) == 0
    captured = capsys.readouterr()
    assert captured.err == ""
    items = list(yaml.safe_load_all(captured.out))
    assert "DaemonSet" in {item["kind"] for item in items}
    assert {item["metadata"]["labels"]["fleet.apexlogic.ai/group"] for item in items} == {"kiosks"}


def test_the_folder_holds_the_bytes_of_stdout(
    fleet: Path, tmp_path: Path, capsysbinary: pytest.CaptureFixture[bytes]
) -> None:
    out = tmp_path / "out"
    assert main(["render", str(fleet), "--all", "--output-dir", str(out)]) == 0
    assert capsysbinary.readouterr().out == b""
    written = {}
    for name in ("kiosks", "others", "phones"):
        assert main(["render", str(fleet), "--group", name]) == 0
        written[name] = capsysbinary.readouterr().out
        assert (out / name / "manifests.yaml").read_bytes() == written[name]
    assert sorted(path.relative_to(out).as_posix() for path in out.rglob("*") if path.is_file()) == [
        "kiosks/manifests.yaml",
        "others/manifests.yaml",
        "phones/manifests.yaml",
    ]
    assert main(["render", str(fleet), "--all"]) == 0
    assert capsysbinary.readouterr().out == b"".join(written[name] for name in sorted(written))


def test_a_file_that_is_right_already_is_left_alone(fleet: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    command = ["render", str(fleet), "--group", "kiosks", "--output-dir", str(out)]
    assert main(command) == 0
    file = out / "kiosks" / "manifests.yaml"
    before = file.stat()
    assert main(command) == 0
    assert (file.stat().st_ino, file.stat().st_mtime_ns) == (before.st_ino, before.st_mtime_ns)
    file.write_text("something else")
    assert main(command) == 0
    assert file.stat().st_size == before.st_size
    assert [path.name for path in file.parent.iterdir()] == ["manifests.yaml"], "no temporary file is left"


def test_a_folder_that_cannot_be_written_is_an_outside_failure(
    fleet: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "taken").write_text("a file")
    assert main(["render", str(fleet), "--all", "--output-dir", str(tmp_path / "taken")]) == 3
    assert "cannot write" in capsys.readouterr().err


def test_a_problem_in_one_group_writes_no_file_of_another(
    fleet: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (fleet / "hard.yaml").write_bytes(files_of(group("hard", spec__hardware__memory="256Mi"))["00-devicegroup.yaml"])
    assert main(["render", str(fleet), "--all", "--output-dir", str(tmp_path / "out")]) == 1
    assert "F306" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
    assert main(["render", str(fleet), "--group", "kiosks", "--output-dir", str(tmp_path / "out")]) == 0


def test_a_tree_with_a_problem_renders_nothing(fleet: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """What could not be read would be missing from the output, and pruned."""
    (fleet / "broken.yaml").write_text("apiVersion: apexlogic.ai/v1\nkind: Hold\nmetadata: {name: x}\nspec: {}\n")
    assert main(["render", str(fleet), "--group", "kiosks"]) == 1
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "broken.yaml" in captured.err


def test_why_says_on_stderr_what_a_group_gets(fleet: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["render", str(fleet), "--all", "--why"]) == 0
    captured = capsys.readouterr()
    assert captured.err.splitlines() == [
        "kiosks: triage 1.1.0 standard to 100 % (standard: best tier that fits)",
        "others: triage 1.1.0 standard to 100 % (standard: best tier that fits)",
        "phones: triage-mobile 3.0.0 standard to 100 % (an OnDeviceModel has one file)",
    ]
    assert captured.out.startswith("---\n")


def test_groups_are_listed_one_a_line(fleet: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["render", str(fleet), "--list-groups"]) == 0
    assert capsys.readouterr().out == "kiosks\nothers\nphones\n"


def test_an_unknown_group_names_the_nearest(fleet: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["render", str(fleet), "--group", "kiosk"]) == 1
    captured = capsys.readouterr()
    assert captured.out == ""
    assert 'F311 got "kiosk"' in captured.err
    assert 'did you mean "kiosks"?' in captured.err


@pytest.mark.parametrize("arguments", [[], ["--group", "kiosks", "--all"], ["--all", "--list-groups"]])
def test_what_to_render_is_said_once(fleet: Path, arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["render", str(fleet), *arguments]) == 64
    assert "--help" in capsys.readouterr().err


def test_a_price_book_can_be_named(fleet: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["render", str(fleet), "--group", "kiosks", "--price-book", "none-such"]) == 1
    assert "F403" in capsys.readouterr().err
    assert main(["cost", str(fleet), "--price-book", "prices"]) == 0


def test_costs_as_json_are_for_machines(fleet: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["cost", str(fleet), "--output", "json"]) == 0
    data = json.loads(capsys.readouterr().out)
    assert set(data) == {"period", "rows", "totals"}
    assert [(row["group"], row["model"], row["version"]) for row in data["rows"]] == [
        ("kiosks", "triage", "1.1.0"),
        ("others", "triage", "1.1.0"),
        ("phones", "triage-mobile", "3.0.0"),
    ]
    assert data["rows"][0]["currency"] == "EUR"
    assert data["rows"][0]["total"] == "365.030278"


def test_costs_of_one_group(fleet: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["cost", str(fleet), "--group", "kiosks", "--output", "json"]) == 0
    assert {row["group"] for row in json.loads(capsys.readouterr().out)["rows"]} == {"kiosks"}
    assert main(["cost", str(fleet), "--group", "nowhere"]) == 1


def test_costs_in_a_pipe_are_plain_text(fleet: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["cost", str(fleet)]) == 0
    text = capsys.readouterr().out
    assert "\x1b" not in text
    assert "365.03 EUR" in text


def test_costs_on_a_terminal_are_a_coloured_table_with_every_cell(fleet: Path) -> None:
    """A real pseudo-terminal, wide enough for the table."""
    master, slave = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-c", "import sys; from trimtab_config.cli import main; sys.exit(main(sys.argv[1:]))",
         "cost", str(fleet)],
        stdout=slave,
        stderr=subprocess.PIPE,
        env={**os.environ, "TERM": "xterm-256color", "COLUMNS": "180"},
    )  # fmt: skip
    os.close(slave)
    shown = b""
    try:
        while chunk := os.read(master, 65536):
            shown += chunk
    except OSError:  # Linux says EIO when the other side is closed
        pass
    finally:
        os.close(master)
        _, errors = process.communicate(timeout=60)
    assert (process.returncode, errors) == (0, b"")
    text = shown.decode()
    assert "\x1b[" in text
    for cell in ("kiosks", "triage", "triage 1.1.0 standard", "365.03 EUR", "declared", "≥ 0.01 EUR"):
        assert cell in text


@pytest.mark.parametrize("columns", ["20", "40", "80", "100", "200"])
def test_a_terminal_of_any_width_shows_every_amount_whole_beside_its_group_and_model(
    columns: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", columns)
    report, problems = estimate(catalog_of(*SIMPLE))
    assert problems == ()
    table = cost_table(report)
    terminal_table(table)
    shown = capsys.readouterr().out.splitlines()
    for place, name, _, amount, bounds, grade, *_ in table.lines:
        words = (place, name.split()[0], amount, bounds, grade)
        assert any(all(word in line for word in words) for line in shown), (words, shown)


def test_commands_start_without_what_they_do_not_need() -> None:
    """Listing groups loads neither rich nor the network nor numpy."""
    code = (
        "import sys; from trimtab_config.cli import main; main(['render', sys.argv[1], '--list-groups']);"
        "sys.stderr.write(' '.join(sorted({name.partition('.')[0] for name in sys.modules})))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, "examples/fleet"], check=True, capture_output=True, text=True, timeout=60
    )
    assert not {"rich", "numpy", "requests", "sqlalchemy"} & set(done.stderr.split())
