"""Exec mode: the command of plugin.yaml in a checkout that anybody may have filled."""

from __future__ import annotations

import io
import os
import subprocess
import sys
import tarfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest
import yaml

from tests.cases.hostile.corpus import CORPUS, Hostile
from tests.plugins.argocd.wire import CONFIG, FLEET, Caller, fleet_files, parameters, request, tgz
from trimtab_kernel.canonical import canonical_json

BIN = Path(sys.executable).parent
PARAMETERS = {"ARGOCD_APP_PARAMETERS": parameters(group="kiosk-emea")}


def generate_command() -> list[str]:
    """What the stock server runs; ``python3`` is the environment's, as in the image of the plugin."""
    command: list[str] = yaml.safe_load((CONFIG / "plugin.yaml").read_text())["spec"]["generate"]["command"]
    return command


def run(folder: Path, env: Mapping[str, str], *command: str) -> subprocess.CompletedProcess[bytes]:
    whole = {"PATH": f"{BIN}:/usr/bin:/bin", "HOME": str(folder)} | dict(env)
    return subprocess.run(
        command or generate_command(), cwd=folder, env=whole, capture_output=True, timeout=60, check=False
    )


def write(folder: Path, files: Mapping[str, bytes]) -> Path:
    for name, content in files.items():
        path = folder / os.fsdecode(name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return folder


def printed(group: str) -> bytes:
    command = [str(BIN / "trimtab"), "render", str(FLEET), "--group", group]
    return subprocess.run(command, check=True, capture_output=True).stdout


def test_stdout_is_the_stream_of_render_and_nothing_else(tmp_path: Path) -> None:
    write(tmp_path, fleet_files())
    done = run(tmp_path, PARAMETERS)
    assert done.returncode == 0, done.stderr
    assert done.stdout == printed("kiosk-emea")
    assert done.stderr == b""
    assert run(tmp_path, PARAMETERS, "trimtab", "cmp-generate").stdout == done.stdout


def test_nothing_in_the_checkout_is_imported(tmp_path: Path) -> None:
    """Modules that look like ours, like our dependencies' and like Python's own hooks; each would leave a mark."""
    trap = b"import pathlib; pathlib.Path(__file__).with_name('SPRUNG').touch(); raise SystemExit('sprung')\n"
    modules = ("yaml", "json", "sitecustomize", "usercustomize", "hashlib", "typing", "grpc", "encodings", "_yaml")
    packages = ("trimtab_config", "trimtab_kernel", "trimtab_plugins", "trimtab_plugins/argocd", "yaml_", "google")
    files = fleet_files() | {f"{name}.py": trap for name in modules}
    for name in packages:
        files |= {f"{name}/__init__.py": trap, f"{name}/__main__.py": trap}
    site = f"lib/python{sys.version_info.major}.{sys.version_info.minor}/site-packages"
    files |= {f"{site}/evil.pth": b"import sprung\n", "pyvenv.cfg": b"home = /nonexistent\n", "sprung.py": trap}
    files |= {f".local/{site}/usercustomize.py": trap}
    write(tmp_path, files)
    hostile = {"PYTHONPATH": f"{tmp_path}:.", "PYTHONSTARTUP": "yaml.py", "PYTHONHOME": "", "PYTHONINSPECT": ""}
    done = run(tmp_path, PARAMETERS | hostile)
    assert done.returncode == 0, done.stderr
    assert done.stdout == printed("kiosk-emea")
    assert list(tmp_path.rglob("SPRUNG")) == []
    # The traps are good ones: without -I they spring.
    command = [part for part in generate_command() if part != "-I"]
    assert run(tmp_path, PARAMETERS, *command).returncode != 0
    assert list(tmp_path.rglob("SPRUNG")) != []


def test_problems_go_to_stderr_in_a_kibibyte_and_stdout_stays_empty(tmp_path: Path) -> None:
    write(tmp_path, fleet_files() | {f"broken-{place}.yaml": b"a: [" + b"x" * 900 for place in range(9)})
    done = run(tmp_path, PARAMETERS | {"ARGOCD_APP_SOURCE_PATH": "clusters/fleet"})
    assert done.returncode == 1
    assert done.stdout == b""
    assert len(done.stderr) <= 1025
    assert done.stderr.startswith(b"clusters/fleet/broken-0.yaml:")
    assert b"F101" in done.stderr
    assert done.stderr.endswith(b"and 6 more; 'trimtab validate clusters/fleet' shows all\n")


@pytest.mark.parametrize(
    ("env", "code"),
    [
        ({}, b"A114"),
        ({"ARGOCD_APP_PARAMETERS": "[]", "PARAM_GROUP": "kiosk-emea"}, b"A114"),
        ({"ARGOCD_APP_PARAMETERS": parameters(group="kiosk")}, b"F311"),
    ],
)
def test_what_is_asked_for_must_be_clear(tmp_path: Path, env: Mapping[str, str], code: bytes) -> None:
    done = run(write(tmp_path, fleet_files()), env)
    assert (done.returncode, done.stdout) == (1, b"")
    assert code in done.stderr


def test_an_empty_checkout_prints_problems_and_not_nothing(tmp_path: Path) -> None:
    done = run(tmp_path, PARAMETERS)
    assert (done.returncode, done.stdout) == (1, b"")
    assert b"A116" in done.stderr


def test_a_name_that_is_no_text_is_refused(tmp_path: Path) -> None:
    files = {os.fsdecode(b"caf\xe9.yaml"): b"a: 1"}
    done = run(write(tmp_path, fleet_files() | files), PARAMETERS)
    assert done.returncode == 1
    assert rb"caf\xe9.yaml: A108" in done.stderr


# A process inherits the peak of memory of whoever started it, and after some thousand tests this one's is large: so a small
# process starts what is measured.
WATCH = """
import os, resource, subprocess, sys
code = subprocess.call(sys.argv[1:], stdout=2)
used = resource.getrusage(resource.RUSAGE_CHILDREN)
print(code, used.ru_maxrss, used.ru_utime + used.ru_stime)
"""


@pytest.mark.long
@pytest.mark.parametrize("case", [case for case in CORPUS if case.stock], ids=lambda case: case.name)
def test_a_hostile_checkout_is_refused_in_bounded_memory(case: Hostile, tmp_path: Path) -> None:
    messages = [message for message in case.messages() if not isinstance(message, bytes)]
    archive = b"".join(message.file.chunk for message in messages if message.HasField("file"))
    checkout, shown = tmp_path / "checkout", tmp_path / "shown"
    checkout.mkdir()
    with tarfile.open(fileobj=io.BytesIO(archive)) as packed:
        packed.extractall(checkout, filter="tar")
    env = {entry.name: entry.value for entry in messages[0].metadata.env} | {"PATH": f"{BIN}:/usr/bin:/bin"}
    with shown.open("wb") as stderr:
        watched = [sys.executable, "-I", "-S", "-c", WATCH, *map(str, generate_command())]
        done = subprocess.run(
            watched, cwd=checkout / "fleet", env=env, stdout=subprocess.PIPE, stderr=stderr, check=True, timeout=60
        )
    code, memory, seconds = done.stdout.split()
    assert int(code) == 1
    assert case.stock in shown.read_text("utf-8", "replace")
    assert int(memory) * 1024 <= 300 * 1024 * 1024
    assert float(seconds) <= 2.0


# ---------------------------------------------------------------- below Argo CD's own plugin server


@pytest.fixture(scope="module")
def stock(lab_programs: Callable[[str], Path], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The socket of the real argocd-cmp-server with our plugin.yaml."""
    folder = tmp_path_factory.mktemp("stock")
    env = {
        "PATH": f"{BIN}:/usr/bin:/bin",
        "HOME": str(folder),
        "ARGOCD_BINARY_NAME": "argocd-cmp-server",
        "ARGOCD_PLUGINSOCKFILEPATH": str(folder),
        "ARGOCD_CMP_WORKDIR": str(folder / "work"),
    }
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            [lab_programs("argocd"), "--config-dir-path", str(CONFIG)], env=env, stderr=log, stdout=log
        )
        try:
            with Caller(folder / "trimtab.sock") as caller:
                caller.check(timeout=60)
            yield folder / "trimtab.sock"
        finally:
            process.kill()  # it takes its socket away on SIGTERM, and then stays
            process.wait(20)


@pytest.mark.lab
def test_the_stock_server_gives_the_same_objects(stock: Path) -> None:
    archive = tgz(fleet_files(prefix="fleet/"))
    with Caller(stock) as caller:
        manifests = caller.generate(request(archive, "fleet"))
    expected = [canonical_json(item) for item in yaml.safe_load_all(printed("kiosk-emea"))]
    assert [canonical_json(yaml.safe_load(text)) for text in manifests] == expected


@pytest.mark.lab
def test_the_stock_server_announces_the_same_parameters(stock: Path) -> None:
    with Caller(stock) as caller:
        announced = caller.announce(request(tgz(fleet_files())))
        assert not caller.check().isDiscoveryConfigured
    assert [each.name for each in announced] == ["group", "price-book"]


@pytest.mark.lab
@pytest.mark.parametrize("case", [case for case in CORPUS if case.stock], ids=lambda case: case.name)
def test_what_the_stock_server_lets_through_is_refused(stock: Path, case: Hostile) -> None:
    with Caller(stock) as caller:
        _, text = caller.refusal(case.messages(), timeout=110)
    assert case.stock in text
