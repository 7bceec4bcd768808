"""The `trimtab` command: what it lists, what it loads, what it says, and how it ends."""

from __future__ import annotations

import gc
import json
import re
import shutil
import subprocess
import sys
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest

from tests.config.small_fleet import deployment, files_of, group, hold, model, on_device, phones, price_book
from trimtab_config.cli import commands, main, missing_extra, overview
from trimtab_kernel.codes import ALL
from trimtab_kernel.commandline import Command

ROOT = Path(__file__).parents[2]
FLEET = ROOT / "examples/fleet"


def installed(*arguments: str, prelude: str = "", path: Path | None = None) -> subprocess.CompletedProcess[str]:
    """`trimtab` in a process of its own, after some Python."""
    program = f"import sys\n{prelude}\nfrom trimtab_config.cli import main\nsys.exit(main({list(arguments)!r}))"
    environment = {"PATH": "/usr/bin:/bin", **({"PYTHONPATH": str(path)} if path else {})}
    return subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=False, env=environment
    )


def written(folder: Path, *objects: dict[str, Any]) -> Path:
    for name, content in files_of(*objects).items():
        (folder / name).write_bytes(content)
    return folder


# ---------------------------------------------------------------- the frame


@pytest.mark.parametrize("entry", commands(), ids=lambda entry: entry.name)
def test_every_command_loads_and_says_what_it_does(
    entry: metadata.EntryPoint, capsys: pytest.CaptureFixture[str]
) -> None:
    command = entry.load()
    assert isinstance(command, Command)
    assert command.name == entry.name
    assert command.summary
    assert command.run or command.subcommands
    assert main([entry.name, "--help"]) == 0
    output = capsys.readouterr()
    assert output.out.startswith(f"usage: trimtab {entry.name}")
    assert command.summary.split()[0] in output.out
    assert output.err == ""


def test_the_overview_lists_all_commands_by_room(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--help"]) == 0
    text = capsys.readouterr().out
    assert text == overview() + "\n"
    for entry in commands():
        assert f"\n  {entry.name} " in text
    assert text.index("\nfleet files:\n") < text.index("\ndelivery:\n") < text.index("\nbot:\n")
    assert "cannot be loaded" not in text


def test_without_a_command_the_overview_is_shown_and_that_is_wrong_usage(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 64
    output = capsys.readouterr()
    assert output.out == ""
    assert output.err == overview() + "\n"


def test_help_of_a_command_is_shown_either_way(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["help", "explain"]) == 0
    first = capsys.readouterr().out
    assert main(["explain", "--help"]) == 0
    assert capsys.readouterr().out == first
    assert "examples:\n  trimtab explain F104" in first


def test_the_version_is_the_installed_one(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"trimtab {metadata.version('trimtab')}\n"


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["vlidate"], "trimtab: unknown command 'vlidate'; did you mean 'validate'? see 'trimtab --help'\n"),
        (["xyz\x1b[2J"], "trimtab: unknown command 'xyz\\u001b[2J'; see 'trimtab --help'\n"),
        (["--nothing"], "trimtab: unknown option --nothing; see 'trimtab --help'\n"),
    ],
)
def test_an_unknown_command_is_wrong_usage(arguments: list[str], says: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(arguments) == 64
    output = capsys.readouterr()
    assert (output.out, output.err) == ("", says)


@pytest.mark.parametrize(
    "arguments",
    [["validate"], ["validate", "a", "b"], ["validate", ".", "--as-of", "tomorrow"], ["explain"], ["schema"]],
)
def test_wrong_arguments_are_wrong_usage(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(arguments) == 64
    output = capsys.readouterr()
    assert output.out == ""
    assert re.search(rf"see 'trimtab( {arguments[0]})? --help'$", output.err)


def test_only_the_named_command_is_loaded() -> None:
    """`trimtab explain` must not pay for YAML, for tables, for any other room, or for a search among distributions."""
    prelude = (
        "import atexit\n"
        "heavy = ('yaml', 'rich', 'shtab', 'trimtab_bot', 'trimtab_plugins', 'trimtab_edge', 'trimtab_config.render',\n"
        "    'importlib.metadata')\n"
        "atexit.register(lambda: print(sorted(set(heavy) & set(sys.modules))))"
    )
    result = installed("explain", "F104", prelude=prelude)
    assert result.returncode == 0, result.stderr
    assert result.stdout.endswith("[]\n")


def test_the_first_installation_on_the_path_says_what_our_commands_are(tmp_path: Path) -> None:
    """As ``importlib.metadata`` has it: a name that only begins like ours is another's, and other groups are no commands."""
    for name, text in (
        ("trimtab_other-1.0", "[trimtab.commands]\nexplain = nowhere:COMMAND\n"),
        (
            "trimtab-0.0.1",
            "[console_scripts]\ncost = a:b\n[trimtab.commands]\nexplain=trimtab_config.cli.explain:COMMAND[x]\n",
        ),
    ):
        information = tmp_path / f"{name}.dist-info"
        information.mkdir()
        (information / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name.partition('-')[0]}\n", "utf-8")
        (information / "entry_points.txt").write_text(text, "utf-8")
    explained = installed("explain", "F104", path=tmp_path)
    assert (explained.returncode, explained.stderr) == (0, "")
    assert "unknown command 'cost'" in installed("cost", path=tmp_path).stderr


def test_a_missing_package_is_answered_with_the_extra_to_install(tmp_path: Path) -> None:
    result = installed("validate", str(tmp_path), prelude="sys.modules['yaml'] = None")
    assert result.returncode == 64
    assert result.stdout == ""
    assert result.stderr == (
        "trimtab validate: needs the package 'yaml', which is not installed: pip install 'trimtab[config]'\n"
    )


def test_each_room_names_its_own_extra() -> None:
    extras = {entry.name: entry.extras for entry in commands()}
    assert extras["bot"] == ["bot"]
    [bot] = [entry for entry in commands() if entry.name == "bot"]
    says = missing_extra(bot, ModuleNotFoundError("no", name="sqlalchemy"))
    assert says == "needs the package 'sqlalchemy', which is not installed: pip install 'trimtab[bot]'"


def test_a_module_of_ours_that_is_missing_is_not_blamed_on_an_extra() -> None:
    result = installed("validate", ".", prelude="sys.modules['trimtab_config.cli.fleet'] = None")
    assert result.returncode == 1
    assert "Traceback" in result.stderr
    assert "pip install" not in result.stderr


def test_another_distribution_can_add_a_command(tmp_path: Path) -> None:
    (tmp_path / "greeting.py").write_text(
        "from trimtab_kernel.commandline import Command\n"
        "from trimtab_kernel.problems import ExitCode\n"
        "def run(arguments):\n"
        "    print('good day')\n"
        "    return ExitCode.DONE\n"
        "COMMAND = Command('greet', 'Say good day.', run=run)\n",
        "utf-8",
    )
    information = tmp_path / "greeting-1.0.dist-info"
    information.mkdir()
    (information / "METADATA").write_text("Metadata-Version: 2.1\nName: greeting\nVersion: 1.0\n", "utf-8")
    (information / "entry_points.txt").write_text("[trimtab.commands]\ngreet = greeting:COMMAND\n", "utf-8")
    assert installed("greet", path=tmp_path).stdout == "good day\n"
    listed = installed("--help", path=tmp_path).stdout
    assert re.search(r"^further commands:\n  greet +Say good day\.$", listed, re.MULTILINE)


def test_who_calls_a_command_keeps_its_own_collection_of_cycles(capsys: pytest.CaptureFixture[str]) -> None:
    frozen = gc.get_freeze_count()
    assert main(["render", str(FLEET), "--list-groups", "--no-cache"]) == 0
    assert gc.isenabled()
    assert gc.get_freeze_count() == frozen
    assert "kiosk-emea" in capsys.readouterr().out
    gc.disable()
    try:
        main(["render", str(FLEET), "--list-groups", "--no-cache"])
        assert not gc.isenabled()
    finally:
        gc.enable()


# ---------------------------------------------------------------- validate


def test_the_example_fleet_is_valid(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["validate", str(FLEET), "--as-of", "2026-11-22"]) == 0
    output = capsys.readouterr()
    assert output.out == ""
    assert output.err.startswith("valid: ")
    assert "13 DeviceGroup" in output.err


def test_references_are_judged_in_a_folder_and_not_in_a_file(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = written(tmp_path, deployment())
    assert main(["validate", str(folder / "00-edgeaideployment.yaml")]) == 0
    capsys.readouterr()
    assert main(["validate", str(folder)]) == 1
    assert "F202" in capsys.readouterr().err


def test_files_are_named_as_one_reaches_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "fleet").mkdir()
    written(tmp_path / "fleet", model(spec__versions=[]))
    monkeypatch.chdir(tmp_path)
    main(["validate", "fleet"])
    main(["validate", "fleet/00-model.yaml"])
    monkeypatch.chdir(tmp_path / "fleet")
    main(["validate", "."])
    lines = [line.partition(" ")[0] for line in capsys.readouterr().err.splitlines() if "F116 got" in line]
    assert lines == [
        "fleet/00-model.yaml:7",
        "fleet/00-model.yaml:7",
        "00-model.yaml:7",
    ]


def test_the_outcome_for_machines(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = written(tmp_path, group(), model(), deployment(), price_book(), hold(spec__until="2026-01-01"))
    (folder / "other.yaml").write_text("apiVersion: v1\nkind: ConfigMap\n", "utf-8")
    assert main(["validate", str(folder), "--output", "json", "--as-of", "2026-11-22"]) == 1
    output = capsys.readouterr()
    assert output.err == ""
    report = json.loads(output.out)
    assert report["asOf"] == "2026-11-22"
    assert report["files"] == 6
    assert report["objects"] == {"DeviceGroup": 1, "EdgeAIDeployment": 1, "Hold": 1, "Model": 1, "PriceBook": 1}
    assert report["skipped"] == [{"apiVersion": "v1", "file": f"{folder}/other.yaml", "kind": "ConfigMap", "line": 1}]
    assert report["valid"] is False
    found = {problem["code"]: problem for problem in report["problems"]}
    assert sorted(found) == ["F303", "F601"]
    assert found["F601"]["file"] == f"{folder}/04-hold.yaml"
    assert set(found["F601"]) == {"code", "file", "line", "field", "got", "expected", "hint"}


def test_an_exception_that_is_over_is_told_and_refuses_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    excuse = {"rule": "finops.cpu-cap", "owner": "finance", "reason": "trial", "until": "2026-11-30"}
    policy = {
        "apiVersion": "apexlogic.ai/v1", "kind": "FinOpsPolicy", "metadata": {"name": "p"}, "spec": {"exceptions": [excuse]}
    }  # fmt: skip
    folder = str(written(tmp_path, group(), policy))
    for day, code in (("2026-11-01", ""), ("2026-11-30", "F606"), ("2026-12-01", "F605")):
        for command in (["validate", folder], ["policy", "check", "--fleet", folder]):
            assert main([*command, "--as-of", day]) == 0
            said = capsys.readouterr().err
            assert code in said
            assert ("finance answers for it: trial" in said) == bool(code)
    assert main(["validate", folder, "--as-of", "2026-12-01", "--policy-level", "deny"]) == 0
    assert "F605" not in capsys.readouterr().err
    assert main(["validate", folder, "--as-of", "2026-12-01", "--output", "json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert (report["valid"], [each["code"] for each in report["problems"]]) == (True, ["F605"])
    assert main(["policy", "check"]) == 64


def test_today_is_the_day_unless_another_is_given(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = written(tmp_path, hold(spec__until="2001-01-01"))
    path = str(folder / "00-hold.yaml")
    assert main(["validate", path]) == 1
    assert "F601 got a Hold until 2001-01-01" in capsys.readouterr().err
    assert main(["validate", path, "--as-of", "2001-01-01"]) == 0


def test_a_path_that_is_not_there_is_a_problem_and_no_traceback(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["validate", str(tmp_path / "nothing")]) == 1
    assert capsys.readouterr().err.startswith(f"{tmp_path}/nothing: F118 got no such file or folder")


def test_a_manifest_may_come_on_stdin() -> None:
    command = [
        sys.executable,
        "-c",
        "import sys; from trimtab_config.cli import main; sys.exit(main(['validate', '-']))",
    ]
    for content, status, says in (
        (files_of(group())["00-devicegroup.yaml"], 0, "valid: 1 DeviceGroup in 1 file"),
        (files_of(group(spec__deviceCount=-1))["00-devicegroup.yaml"], 1, "-:11 spec.deviceCount: F104 got -1"),
        (b"#" * 2_000_000, 1, "-: F103 got 1048577 bytes"),
    ):
        result = subprocess.run(command, input=content, capture_output=True, timeout=60, check=False)
        assert result.returncode == status
        assert result.stderr.decode().startswith(says)


def test_an_on_device_model_that_nobody_may_take_is_told_why(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    targets = {"minAPILevel": 35, "minMemoryMB": 1000}
    objects = [phones(), price_book(), on_device(spec__targetDevices=targets)]
    assert main(["validate", str(written(tmp_path, *objects)), "--as-of", "2026-11-22"]) == 1
    err = capsys.readouterr().err
    assert (
        "02-ondevicemodel.yaml:12 spec.targetDevices: F207 got no eligible group (phones: Android API level 33" in err
    )
    written(tmp_path, phones(spec__jurisdiction="US"), price_book(), on_device(spec__targetDevices={"regions": ["EU"]}))
    main(["validate", str(tmp_path), "--as-of", "2026-11-22"])
    assert "F207 got no eligible group (phones: jurisdiction US" in capsys.readouterr().err
    written(tmp_path, group(), price_book(), on_device())
    main(["validate", str(tmp_path), "--as-of", "2026-11-22"])
    assert "F207 got no group of phones in this tree" in capsys.readouterr().err


def test_an_empty_folder_is_told_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["validate", str(tmp_path)]) == 1
    assert f"{tmp_path}: F117" in capsys.readouterr().err


def test_problems_of_the_folder_and_of_its_files_are_shown_together(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    written(tmp_path, model(spec__versions=[]))
    with (tmp_path / "large.yaml").open("wb") as file:
        file.truncate(100_000_000)
    assert main(["validate", str(tmp_path)]) == 1
    err = capsys.readouterr().err
    assert "large.yaml: F103 got 100000000 bytes" in err
    assert "00-model.yaml:7 spec.versions: F116" in err


# ---------------------------------------------------------------- explain and completion


def test_every_code_can_be_explained(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["explain", *(code.code.lower() for code in ALL)]) == 0
    text = capsys.readouterr().out
    for code in ALL:
        assert f"{code.code}: {code.title}\n  why: " in text


def test_the_list_of_codes_is_sorted_and_whole(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["explain", "--list"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines == sorted(f"{code.code}  {code.title}" for code in ALL)


def test_an_unknown_code_is_a_problem_with_the_nearest_one(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["explain", "F1004"]) == 1
    assert capsys.readouterr().err.startswith('F119 got "F1004"')


def test_bash_completes_commands_options_and_files(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["completion", "bash"]) == 0
    (tmp_path / "fleet").mkdir()
    script = tmp_path / "completion.sh"
    script.write_text(capsys.readouterr().out, "utf-8")
    bash = shutil.which("bash")
    assert bash is not None

    def complete(*words: str) -> set[str]:
        program = (
            f'source "{script}"; COMP_WORDS=({" ".join(words)}); COMP_CWORD={len(words) - 1}; '
            '_shtab_trimtab 2>/dev/null; printf "%s\\n" "${COMPREPLY[@]}"'
        )
        result = subprocess.run(
            [bash, "-c", program], capture_output=True, text=True, cwd=tmp_path, timeout=30, check=False
        )
        return set(result.stdout.split())

    assert "validate" in complete("trimtab", "val")
    assert "--as-of" in complete("trimtab", "validate", "--a")
    assert complete("trimtab", "validate", "fl") == {"fleet"}


def test_zsh_gets_a_completion_function(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["completion", "zsh"]) == 0
    text = capsys.readouterr().out
    assert text.startswith("#compdef trimtab\n")
    for entry in commands():
        assert f"_shtab_trimtab_{entry.name.replace('-', '_')}_options" in text


def test_fish_completes_commands_options_and_choices(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["completion", "fish"]) == 0
    text = capsys.readouterr().out
    fish = shutil.which("fish")
    if fish is None:  # its own tests are the shell's; here each command must at least be named
        assert all(f"-a {entry.name}" in text for entry in commands())
        return
    script = tmp_path / "trimtab.fish"
    script.write_text(text, "utf-8")
    program = (
        f'source "{script}"; '
        'complete -C "trimtab val"; complete -C "trimtab validate --a"; complete -C "trimtab cost x --output "'
    )
    found = subprocess.run(
        [fish, "--no-config", "-c", program], capture_output=True, text=True, cwd=tmp_path, timeout=60, check=True
    )
    assert {"validate", "--as-of", "table", "json"} <= {line.partition("\t")[0] for line in found.stdout.splitlines()}
