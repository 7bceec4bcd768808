"""The plugin server over its socket, called as repo-server calls it."""

from __future__ import annotations

import gzip
import io
import json
import os
import signal
import socket
import stat
import subprocess
import sys
import tarfile
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path

import grpc
import pytest
import yaml

from tests.plugins.argocd import wire
from tests.plugins.argocd.wire import Caller, Server, fleet_files, metadata, parameters, pb, request, serving, tgz
from trimtab_kernel.canonical import canonical_json

TRIMTAB = str(Path(sys.executable).parent / "trimtab")
PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes.fromhex("000000040000000000")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with serving(tmp_path_factory.mktemp("plugins")) as running:
        yield running


@pytest.fixture
def caller(server: Server) -> Iterator[Caller]:
    with server.caller() as one:
        yield one


@cache
def group_names() -> list[str]:
    shown = subprocess.run([TRIMTAB, "render", str(wire.FLEET), "--list-groups"], check=True, capture_output=True)
    return shown.stdout.decode().split()


@cache
def rendered(group: str, *options: str) -> list[str]:
    """The canonical JSON of what `trimtab render` prints."""
    shown = subprocess.run(
        [TRIMTAB, "render", str(wire.FLEET), "--group", group, *options], check=True, capture_output=True
    )
    return [canonical_json(item).decode() for item in yaml.safe_load_all(shown.stdout)]


# ---------------------------------------------------------------- what is answered


def test_every_group_is_what_render_prints(caller: Caller) -> None:
    archive = tgz(fleet_files(prefix="clusters/fleet/"))
    names = group_names()
    assert len(names) >= 10
    for group in names[::4]:
        assert caller.generate(request(archive, "clusters/fleet", group=group)) == rendered(group)


@pytest.mark.parametrize("chunk", [1024, 64 * 1024])
@pytest.mark.parametrize("path", ["", ".", "fleet", "fleet/"])
def test_chunk_size_and_folder_change_nothing(caller: Caller, chunk: int, path: str) -> None:
    prefix = "fleet/" if path.startswith("fleet") else ""
    archive = tgz(fleet_files(prefix=prefix) | {"README.md": os.urandom(100_000)})
    assert caller.generate(request(archive, path, chunk=chunk)) == rendered("kiosk-emea")


def test_names_in_pax_and_gnu_form_are_read(caller: Caller) -> None:
    deep = "/".join(["a-rather-long-name-of-a-folder"] * 8)
    files = fleet_files(prefix=f"{deep}/flotte-größer/")
    for form in (tarfile.PAX_FORMAT, tarfile.GNU_FORMAT):
        archive = gzip.compress(wire.tar(files, form=form))
        assert caller.generate(request(archive, f"{deep}/flotte-größer")) == rendered("kiosk-emea")


def test_what_is_no_manifest_is_passed_over(caller: Caller) -> None:
    others = {
        ".git/objects/x.yaml": b"\xff\xfe not yaml",
        "fleet/.hidden/x.yaml": b"{{{",
        "fleet/notes.txt": b"\0\0",
        "elsewhere/broken.yaml": b"a: [",
        "elsewhere/caf\udce9.yaml": b"a: [",
    }
    files = fleet_files(prefix="fleet/") | others
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz", format=tarfile.USTAR_FORMAT) as archive:
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    assert caller.generate(request(buffer.getvalue(), "fleet")) == rendered("kiosk-emea")


def test_the_price_book_can_be_pinned(caller: Caller) -> None:
    archive = tgz(fleet_files())
    env = {"ARGOCD_APP_PARAMETERS": parameters(group="kiosk-emea", price_book="eur-2026-q4")}
    expected = rendered("kiosk-emea", "--price-book", "eur-2026-q4")
    assert caller.generate(request(archive, ".", env)) == expected


def test_a_plugin_that_is_named_is_not_discovered(caller: Caller) -> None:
    configuration = caller.check()
    assert not configuration.isDiscoveryConfigured
    assert not configuration.provideGitCreds
    found = caller.match(request(tgz(fleet_files())))
    assert (found.isSupported, found.isDiscoveryEnabled) == (False, False)


def test_the_parameters_are_announced(caller: Caller) -> None:
    announced = caller.announce(request(tgz(fleet_files())))
    assert [(each.name, each.required, each.collectionType) for each in announced] == [
        ("group", True, "string"),
        ("price-book", False, "string"),
    ]
    written = yaml.safe_load((wire.CONFIG / "plugin.yaml").read_text())["spec"]["parameters"]["static"]
    for each, says in zip(announced, written, strict=True):
        assert (each.name, each.title, each.tooltip) == (says["name"], says["title"], says["tooltip"])


def test_calls_at_once_do_not_disturb_each_other(server: Server) -> None:
    files = fleet_files()
    names = group_names()
    expected = {group: rendered(group) for group in names[:4]}

    def one(place: int) -> bool:
        group = names[place % 4]
        archive = tgz(files | {f"notes-{place}.yaml": b"kind: Note\napiVersion: v1\n"})
        with server.caller() as own:
            return own.generate(request(archive, group=group, chunk=1024)) == expected[group]

    with ThreadPoolExecutor(16) as pool:
        assert all(pool.map(one, range(48)))


# ---------------------------------------------------------------- what is refused, and how it reads


def test_problems_name_code_file_and_field_and_fit_into_a_kibibyte(caller: Caller) -> None:
    bad = b"apiVersion: apexlogic.ai/v1\nkind: DeviceGroup\nmetadata: {name: %s, namespace: x}\nspec:\n  deviceCount: %s\n"
    files = fleet_files(prefix="fleet/")
    for place in range(9):
        name = f"fleet/{'long-' * 60}{place}/group.yaml" if place == 0 else f"fleet/groups/z{place}.yaml"
        files[name] = bad % (b"g%d" % place, b"x" * 500)
    archive = gzip.compress(wire.tar(files, form=tarfile.PAX_FORMAT))
    status, text = caller.refusal(request(archive, "fleet"))
    assert status is grpc.StatusCode.INVALID_ARGUMENT
    assert len(text.encode()) <= 1024
    lines = text.splitlines()
    assert len(lines) == 4
    assert lines[0].startswith("fleet/groups/z1.yaml:")
    assert all(": F1" in line and "fleet/" in line and ".yaml:" in line for line in lines[:3])
    assert lines[3].startswith("and ")
    assert lines[3].endswith(" more; 'trimtab validate fleet' shows all")


def test_a_narrowed_archive_is_named_as_the_repository_is(caller: Caller) -> None:
    files = fleet_files() | {"groups/z.yaml": b"a: ["}
    env = {"ARGOCD_APP_SOURCE_PATH": "clusters/emea/fleet"}
    _, text = caller.refusal(request(tgz({f"fleet/{name}": content for name, content in files.items()}), "fleet", env))
    assert text.startswith("clusters/emea/fleet/groups/z.yaml:")


def test_the_whole_stream_is_read_before_it_is_refused(caller: Caller) -> None:
    sent: list[int] = []
    garbage = b"no gzip at all " * 200_000

    def messages() -> Iterator[pb.AppStreamRequest]:
        for message in request(garbage):
            yield message
            sent.append(message.ByteSize())

    _, text = caller.refusal(messages())
    assert text.startswith("A106 ")
    assert sum(sent) > len(garbage)


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ("", "no parameter group"),
        ("[]", "no parameter group"),
        ("null", "no parameter group"),
        ("{", "no JSON"),
        ("[" * 5000, "no JSON"),
        ("{}", "no list"),
        ('["group"]', "no parameter with a name"),
        ('[{"name":"group"}]', "without a string"),
        ('[{"name":"group","string":7}]', "without a string"),
        ('[{"name":"group","array":["a"]}]', "as array"),
        ('[{"name":"group","map":{"a":"b"}}]', "as map"),
        ('[{"name":"group","string":""}]', 'got ""'),
        ('[{"name":"group","string":"a"},{"name":"group","string":"a"}]', "a second time"),
        ('[{"name":"price_book","string":"a"},{"name":"group","string":"a"}]', 'did you mean "price-book"?'),
    ],
)
def test_parameters_that_cannot_be_meant_are_refused(caller: Caller, given: str, says: str) -> None:
    _, text = caller.refusal(request(tgz(fleet_files()), env={"ARGOCD_APP_PARAMETERS": given}))
    assert "A114" in text
    assert says in text


def test_variables_by_name_are_not_read(caller: Caller) -> None:
    env = {"ARGOCD_APP_PARAMETERS": "[]", "PARAM_GROUP": "kiosk-emea", "ARGOCD_ENV_GROUP": "kiosk-emea"}
    _, text = caller.refusal(request(tgz(fleet_files()), env=env))
    assert "A114" in text


def test_an_empty_folder_is_refused_and_not_answered_with_nothing(caller: Caller) -> None:
    status, text = caller.refusal(request(tgz({"fleet/README.md": b"# nothing"}), "fleet"))
    assert (status, text[:5]) == (grpc.StatusCode.FAILED_PRECONDITION, "A116 ")


# ---------------------------------------------------------------- time


def test_a_deadline_is_answered_before_it_is_over(tmp_path: Path) -> None:
    program = [sys.executable, str(Path(__file__).parent / "slow_server.py"), str(tmp_path), "6"]
    with serving(tmp_path, program=program) as slow, slow.caller() as one:
        began = time.monotonic()
        status, text = one.refusal(request(tgz(fleet_files())), timeout=4)
        assert status is grpc.StatusCode.DEADLINE_EXCEEDED
        assert text.startswith("A115 ")
        assert "in read; slowest file deployments/" in text
        assert time.monotonic() - began < 4


def test_a_caller_that_never_ends_its_stream_is_told_where_it_hangs(server: Server) -> None:
    release = threading.Event()

    def messages() -> Iterator[pb.AppStreamRequest]:
        yield metadata(b"", ".", {})
        release.wait(30)

    with server.caller() as one:
        status, text = one.refusal(messages(), timeout=3)
        release.set()
    assert status is grpc.StatusCode.DEADLINE_EXCEEDED
    assert "(in receive)" in text


def test_a_long_call_survives_pings(tmp_path: Path) -> None:
    """Two pings more than allowed, and a server of the library ends the connection; twenty are sent here."""
    program = [sys.executable, str(Path(__file__).parent / "slow_server.py"), str(tmp_path), "2"]
    options = (*wire.PINGS[1:], ("grpc.keepalive_time_ms", 100), ("grpc.http2.min_time_between_pings_ms", 100))
    with serving(tmp_path, program=program) as slow:
        channel = grpc.insecure_channel(f"unix:{slow.socket}", options=options)
        call = channel.stream_unary(
            f"{wire.SERVICE}GenerateManifest", pb.AppStreamRequest.SerializeToString, pb.ManifestResponse.FromString
        )
        assert len(call(request(tgz(fleet_files())), timeout=60, wait_for_ready=True).manifests) > 0
        channel.close()


def test_a_call_that_is_given_up_leaves_nothing_behind(server: Server) -> None:
    archive = tgz(fleet_files() | {"big.bin": os.urandom(2_000_000)})
    going = threading.Event()

    def messages() -> Iterator[pb.AppStreamRequest]:
        for place, message in enumerate(request(archive, chunk=1024)):
            yield message
            if place == 500:
                going.set()

    with server.caller() as one:
        for _ in range(5):
            going.clear()
            future = one.generate_call.future(messages(), timeout=60)
            assert going.wait(30)
            future.cancel()
        assert one.generate(request(archive)) == rendered("kiosk-emea")
    for _ in range(100):
        if "trimtab_cmp_calls_in_flight 0.0" in scrape(server):
            return
        time.sleep(0.1)
    raise AssertionError(scrape(server))


def heavy() -> bytes:
    """A fleet within every limit that takes half a minute to read, since all of it is tiny nodes."""
    nodes = b"---\n".join([b"[" + b"a," * 49_990 + b"]\n"] * 10)
    files = fleet_files() | {f"heavy/{place}.yaml": nodes + b"# %d\n" % place for place in range(31)}
    return tgz(files)


@pytest.mark.long
def test_a_fleet_that_takes_long_holds_up_no_other_and_is_called_off_at_its_deadline(tmp_path: Path) -> None:
    archive = heavy()
    with serving(tmp_path, "--threads", "2") as own, own.caller() as slow, own.caller() as quick:
        call = slow.generate_call.future(request(archive), timeout=8)
        assert quick.generate(request(tgz(fleet_files()))) == rendered("kiosk-emea")
        assert not call.done()
        with pytest.raises(grpc.RpcError) as caught:
            call.result(30)
        assert "in read; slowest file heavy/" in (caught.value.details() or "")
        # Both threads are free again, long before the half minute is over.
        began = time.monotonic()
        for _ in range(4):
            quick.generate(request(tgz(fleet_files())))
        assert time.monotonic() - began < 15


@pytest.mark.long
def test_large_fleets_at_once_wait_for_each_other_and_not_for_memory(tmp_path: Path) -> None:
    notes = {f"notes/{place}.yaml": b"# " + os.urandom(400_000).hex().encode() for place in range(35)}
    archive = tgz(fleet_files() | notes)
    expected = rendered("kiosk-emea")
    with serving(tmp_path) as own:

        def one(_: int) -> bool:
            with own.caller() as each:
                return each.generate(request(archive), timeout=110) == expected

        with ThreadPoolExecutor(12) as pool:
            assert all(pool.map(one, range(12)))
        assert own.peak_rss() < 300 * 1024 * 1024


# ---------------------------------------------------------------- the socket


def test_the_socket_is_there_when_the_server_serves_and_for_its_user_alone(server: Server) -> None:
    status = server.socket.lstat()
    assert stat.S_ISSOCK(status.st_mode)
    assert stat.S_IMODE(status.st_mode) == 0o755
    assert [path.name for path in server.socket.parent.iterdir()] == ["trimtab.sock"]


def test_a_second_server_at_the_same_name_refuses(server: Server) -> None:
    command = [TRIMTAB, "cmp-server", "--config-dir", str(wire.CONFIG), "--socket-dir", str(server.socket.parent)]
    second = subprocess.run(command, capture_output=True, timeout=60, check=False)
    assert second.returncode == 2
    assert b"A117 another server listens" in second.stderr
    with server.caller() as one:
        one.check()


@pytest.mark.parametrize("folder", ["missing", "x" * 120])
def test_a_folder_that_cannot_have_a_socket_is_named(tmp_path: Path, folder: str) -> None:
    command = [TRIMTAB, "cmp-server", "--config-dir", str(wire.CONFIG), "--socket-dir", str(tmp_path / folder)]
    done = subprocess.run(command, capture_output=True, timeout=60, check=False)
    assert done.returncode == 3
    assert b"A120 " in done.stderr


def test_only_the_own_socket_is_taken_away(tmp_path: Path) -> None:
    folder = tmp_path / "a folder"
    with serving(folder) as first:
        first.socket.unlink()
        assert health(first) == 503
        with serving(folder) as second:
            first.process.send_signal(signal.SIGTERM)
            assert first.process.wait(40) == 0
            with second.caller() as one:
                assert one.generate(request(tgz(fleet_files()))) == rendered("kiosk-emea")
            assert health(second) == 200
    assert list(folder.iterdir()) == []


def test_killed_in_the_midst_of_a_stream_it_can_be_started_again(tmp_path: Path) -> None:
    archive = tgz(fleet_files() | {"big.bin": os.urandom(2_000_000)})
    with serving(tmp_path) as first:

        def messages() -> Iterator[pb.AppStreamRequest]:
            for place, message in enumerate(request(archive, chunk=1024)):
                yield message
                if place == 500:
                    first.process.kill()

        with first.caller() as one:
            status, _ = one.refusal(messages())
        assert status is grpc.StatusCode.UNAVAILABLE
        assert first.process.wait(10) == -signal.SIGKILL
    assert stat.S_ISSOCK((tmp_path / "trimtab.sock").lstat().st_mode)
    with serving(tmp_path) as second, second.caller() as one:
        assert one.generate(request(archive)) == rendered("kiosk-emea")


def test_restarts_under_a_storm_of_dials_leave_no_dial_without_an_answer(tmp_path: Path) -> None:
    """A dial that is accepted and gets no SETTINGS would block its repository in Argo CD for good."""
    path = tmp_path / "trimtab.sock"
    over = threading.Event()
    answered: list[int] = []
    hung: list[str] = []

    def dial() -> None:
        while not over.is_set():
            with socket.socket(socket.AF_UNIX) as one:
                one.settimeout(20)
                try:
                    one.connect(str(path))
                except (FileNotFoundError, ConnectionRefusedError):
                    time.sleep(0.001)
                    continue
                try:
                    one.sendall(PREFACE)
                    head = one.recv(9)
                except OSError as error:
                    head, hung_why = b"", repr(error)
                else:
                    hung_why = "closed"
                if len(head) == 9 and head[3] == 4:
                    answered.append(1)
                else:
                    hung.append(hung_why)

    threads = [threading.Thread(target=dial) for _ in range(8)]
    for thread in threads:
        thread.start()
    try:
        for _ in range(2):
            before = len(answered)
            with serving(tmp_path):
                while len(answered) < before + 200:
                    time.sleep(0.01)
    finally:
        over.set()
        for thread in threads:
            thread.join(30)
    assert hung == []
    assert len(answered) >= 400


def test_a_call_in_flight_is_answered_after_sigterm(tmp_path: Path) -> None:
    program = [sys.executable, str(Path(__file__).parent / "slow_server.py"), str(tmp_path), "1.5"]
    with serving(tmp_path, program=program) as slow, slow.caller() as one:
        future = one.generate_call.future(request(tgz(fleet_files())), timeout=60, wait_for_ready=True)
        time.sleep(0.5)  # the call must be under way; answered earlier, the test would only show less
        slow.process.terminate()
        assert list(future.result(30).manifests) == rendered("kiosk-emea")
        assert slow.process.wait(30) == 0


# ---------------------------------------------------------------- what operators see


def scrape(server: Server) -> str:
    with urllib.request.urlopen(f"http://127.0.0.1:{server.metrics_port}/metrics", timeout=10) as answer:
        text: str = answer.read().decode()
    return text


def health(server: Server) -> int:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{server.metrics_port}/healthz", timeout=10) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        error.close()
        return error.code


def test_every_call_is_counted_and_logged_in_one_line(tmp_path: Path) -> None:
    with serving(tmp_path) as own:
        with own.caller() as one:
            one.generate(request(tgz(fleet_files()), env={"ARGOCD_APP_REVISION": "0123456789abcdef"}))
            one.generate(request(tgz(fleet_files())))
            one.refusal(request(tgz(fleet_files()), group='no "such\n group'))
        # A refusal is sent first and counted then; its caller may be quicker.
        end = time.monotonic() + 30
        while "trimtab_cmp_files_count 3.0" not in (text := scrape(own)):  # what is counted last
            assert time.monotonic() < end, text
            time.sleep(0.02)
        assert 'trimtab_cmp_calls_total{call="GenerateManifest",status="OK"} 2.0' in text
        assert 'trimtab_cmp_problems_total{code="F311"} 1.0' in text
        assert 'trimtab_cmp_fleets_total{cache="hit"} 1.0' in text
        assert 'trimtab_cmp_fleets_total{cache="miss"} 1.0' in text
        assert 'trimtab_cmp_answer_seconds_count{call="GenerateManifest"} 3.0' in text
        manifests = len([name for name in fleet_files() if name.endswith(".yaml")])
        assert f"trimtab_cmp_files_sum {3 * manifests}.0" in text
        assert "process_resident_memory_bytes" in text
    logged = [line for line in own.lines if line.startswith("call=")]
    assert len(logged) == 3
    assert "app=app" in logged[0]
    assert "revision=0123456789ab " in logged[0]
    assert "cached=no" in logged[0]
    assert "cached=yes" in logged[1]
    assert json.dumps('no "such\\u000a group') in logged[2]
    assert "code=F311" in logged[2]
