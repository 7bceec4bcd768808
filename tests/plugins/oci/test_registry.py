"""Pushing to a real docker-registry and pulling from it, over connections that fail in the ways that connections do."""

from __future__ import annotations

import base64
import hashlib
import http.client
import itertools
import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import oras.provider
import pytest

from tests.lab.processes import Processes, system_program
from tests.lab.registry import Registry
from tests.plugins.oci.test_artifacts import ORIGIN, recompressed
from tests.repositories import ScratchRepository
from tests.rigs.faulty_proxy import Fault, FaultyProxy, Harm, faulty_proxy
from trimtab_config.cli import main
from trimtab_config.sources.folder import load_folder
from trimtab_kernel.problems import OutsideError, RefusedError, TrustError
from trimtab_plugins.archives import read_archive
from trimtab_plugins.oci.address import Address
from trimtab_plugins.oci.artifact import Artifact, Origin, build_artifact
from trimtab_plugins.oci.credentials import Login
from trimtab_plugins.oci.publishing import pull, push
from trimtab_plugins.oci.registry import Repository
from trimtab_plugins.oci.transport import Patience, Transport

ROOT = Path(__file__).parents[3]
FLEET = ROOT / "examples/fleet"
QUICK = Patience(attempts=4, first=0.01, longest=0.05)
NUMBERS = itertools.count()
# The test vector of crypt_blowfish for the password "U*U".
HTPASSWD = "ada:$2a$05$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW\n"

pytestmark = pytest.mark.timeout(180)


@pytest.fixture
def name() -> str:
    """A repository that no other test uses."""
    return f"tests/r{next(NUMBERS)}"


@pytest.fixture(autouse=True)
def nobody(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No login and no proxy of whoever runs the tests."""
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path))
    for variable in ("TRIMTAB_REGISTRY_USERNAME", "TRIMTAB_REGISTRY_PASSWORD", "http_proxy", "HTTP_PROXY"):
        monkeypatch.delenv(variable, raising=False)


def repository(address: str, name: str, login: Callable[[], Login | None] = lambda: None) -> Repository:
    return Repository(Transport(f"http://{address}", login, QUICK), name)


def artifact(text: str, revision: str = "main@sha1:01") -> Artifact:
    return build_artifact("kiosks", {"manifests.yaml": text.encode()}, Origin("", revision, ORIGIN.created))


def tags(registry: Registry, name: str) -> list[str]:
    """What the registry itself says, asked without our client."""
    connection = http.client.HTTPConnection(registry.address, timeout=60)
    connection.request("GET", f"/v2/{name}/tags/list")
    answer = connection.getresponse()
    said = json.loads(answer.read())
    connection.close()
    return sorted(said.get("tags") or [])


def files(registry: Registry, name: str, tag: str = "latest") -> dict[str, bytes]:
    return pull(repository(registry.address, name), Address(registry.address, name, tag))[1]


def test_what_is_pushed_is_pulled_also_by_a_foreign_client(registry: Registry, name: str, tmp_path: Path) -> None:
    made = artifact("kind: ConfigMap\n")
    pushed = push(repository(registry.address, name), "latest", made)
    assert pushed.changed
    assert (pushed.digest, pushed.revision) == (made.digest, "main@sha1:01")
    assert files(registry, name) == {"manifests.yaml": b"kind: ConfigMap\n"}
    foreign = oras.provider.Registry(registry.address, insecure=True)
    manifest = foreign.get_manifest(f"{registry.address}/{name}:latest")
    assert manifest == json.loads(made.manifest)
    layer = tmp_path / "layer"
    foreign.download_blob(f"{registry.address}/{name}:latest", manifest["layers"][0]["digest"], str(layer))
    assert read_archive(layer.read_bytes()) == {"manifests.yaml": b"kind: ConfigMap\n"}


def test_a_tag_that_names_the_same_files_is_left_alone(registry: Registry, name: str) -> None:
    """So its revision is that of the commit that last changed the group, whatever was committed since."""
    there = repository(registry.address, name)
    first = push(there, "latest", artifact("kind: A\n", "main@sha1:01"))
    again = push(there, "latest", artifact("kind: A\n", "main@sha1:02"))
    assert (again.changed, again.digest, again.revision) == (False, first.digest, "main@sha1:01")
    moved = push(there, "latest", artifact("kind: B\n", "main@sha1:03"))
    assert (moved.changed, moved.revision) == (True, "main@sha1:03")
    assert tags(registry, name) == ["latest"]


def test_another_zlib_does_not_move_a_tag(registry: Registry, name: str) -> None:
    there = repository(registry.address, name)
    older = recompressed(artifact("kind: A\n" * 500, "main@sha1:01"), 1)
    push(there, "latest", older)
    again = push(there, "latest", artifact("kind: A\n" * 500, "main@sha1:02"))
    assert (again.changed, again.layer, again.revision) == (False, older.layer_descriptor.digest, "main@sha1:01")


def test_a_manifest_that_lies_about_its_files_is_replaced(registry: Registry, name: str) -> None:
    """It names our config and a layer with other files; only who unpacks the layer sees it."""
    there = repository(registry.address, name)
    evil, mine = artifact("kind: Evil\n"), artifact("kind: A\n")
    manifest = json.loads(mine.manifest) | {"layers": [evil.layer_descriptor.as_dict()]}
    push(there, "latest", Artifact(evil.layer, mine.config, json.dumps(manifest).encode()))
    assert files(registry, name) == {"manifests.yaml": b"kind: Evil\n"}
    assert push(there, "latest", mine).changed
    assert files(registry, name) == {"manifests.yaml": b"kind: A\n"}


FAULTS = {
    "429 on everything once, with Retry-After": [
        Fault("GET /v2/.*/manifests/", Harm.STATUS, 1, 429, {"Retry-After": "0"}),
        Fault("HEAD ", Harm.STATUS, 1, 429),
        Fault("POST ", Harm.STATUS, 2, 429, {"Retry-After": "0"}),
        Fault("PUT /v2/.*/manifests/", Harm.STATUS, 1, 429),
    ],
    "502 and 503 on every step": [
        Fault("GET /v2/.*/manifests/", Harm.STATUS, 2, 503),
        Fault("POST ", Harm.STATUS, 1, 502),
        Fault("PUT /v2/.*/blobs/", Harm.STATUS, 2, 502),
        Fault("PUT /v2/.*/manifests/", Harm.STATUS, 2, 502),
    ],
    "the connection breaks in the midst of an upload": [Fault("PUT /v2/.*/blobs/", Harm.CUT_REQUEST, 2)],
    "the answer to an upload is lost": [Fault("PUT /v2/.*/blobs/", Harm.LOSE_ANSWER, 2)],
    "the answer to the start of an upload is lost": [Fault("POST ", Harm.LOSE_ANSWER, 2)],
    "the manifest is cut on its way": [Fault("PUT /v2/.*/manifests/", Harm.CUT_REQUEST, 2)],
    "the answer to the manifest is lost": [Fault("PUT /v2/.*/manifests/", Harm.LOSE_ANSWER, 2)],
    "a blob is changed on its way": [Fault("PUT /v2/.*/blobs/", Harm.CHANGE_REQUEST, 2)],
}


@pytest.mark.parametrize("case", FAULTS)
def test_a_push_over_a_bad_connection_ends_with_exactly_one_whole_tag(registry: Registry, name: str, case: str) -> None:
    made = artifact(f"kind: A # {case}\n")
    plan = [Fault(fault.pattern, fault.harm, fault.times, fault.status, fault.headers) for fault in FAULTS[case]]
    with faulty_proxy(registry.address, *plan) as proxy:
        pushed = push(repository(proxy.address, name), "latest", made)
        assert proxy.spent
    assert pushed.digest == made.digest
    assert tags(registry, name) == ["latest"]
    assert files(registry, name) == {"manifests.yaml": f"kind: A # {case}\n".encode()}


LASTING = {
    "the registry stays busy": Fault("PUT /v2/.*/manifests/", Harm.STATUS, 99, 503),
    "every blob is changed on its way": Fault("PUT /v2/.*/blobs/", Harm.CHANGE_REQUEST, 99),
    "every upload breaks": Fault("PUT /v2/.*/blobs/", Harm.CUT_REQUEST, 99),
    "every manifest is changed on its way": Fault("PUT /v2/.*/manifests/", Harm.CUT_REQUEST, 99),
    "no upload may begin": Fault(
        "POST ", Harm.STATUS, 99, 403, {}, b'{"errors": [{"code": "DENIED", "message": "s3cret"}]}'
    ),
}


@pytest.mark.parametrize("case", LASTING)
def test_a_push_that_fails_shows_nothing_half_done(registry: Registry, name: str, case: str) -> None:
    push(repository(registry.address, name), "latest", artifact("kind: Before\n"))
    lasting = LASTING[case]
    fault = Fault(lasting.pattern, lasting.harm, lasting.times, lasting.status, {}, lasting.body)
    with faulty_proxy(registry.address, fault) as proxy:
        there = repository(proxy.address, name)
        for tag in ("latest", "new"):
            with pytest.raises(OutsideError) as caught:
                push(there, tag, artifact(f"kind: After # {case}\n"))
            assert "s3cret" not in str(caught.value)
    assert tags(registry, name) == ["latest"]
    assert files(registry, name) == {"manifests.yaml": b"kind: Before\n"}


def test_a_blob_that_is_changed_on_its_way_back_is_not_kept(registry: Registry, name: str) -> None:
    push(repository(registry.address, name), "latest", artifact("kind: A\n"))
    with faulty_proxy(registry.address, Fault("GET /v2/.*/blobs/", Harm.CHANGE_ANSWER, 1)) as proxy:
        there = repository(proxy.address, name)
        with pytest.raises(TrustError, match="A308"):
            pull(there, Address(proxy.address, name, "latest"))
    with faulty_proxy(registry.address, Fault("GET /v2/.*/blobs/", Harm.CUT_ANSWER, 2)) as proxy:
        there = repository(proxy.address, name)
        assert pull(there, Address(proxy.address, name, "latest"))[1] == {"manifests.yaml": b"kind: A\n"}
        assert proxy.spent


def test_a_manifest_that_is_not_what_was_pinned_is_refused(registry: Registry, name: str) -> None:
    made = artifact("kind: A\n")
    push(repository(registry.address, name), "latest", made)
    pinned = Address(registry.address, name, "", made.digest)
    assert pull(repository(registry.address, name), pinned)[0].digest == made.digest
    with faulty_proxy(registry.address, Fault("GET /v2/.*/manifests/", Harm.CHANGE_ANSWER, 1)) as proxy:
        with pytest.raises(TrustError, match="A308"):
            pull(repository(proxy.address, name), pinned)
        assert proxy.spent


def test_an_answer_without_end_is_not_read(registry: Registry, name: str) -> None:
    endless = Fault("GET ", Harm.STATUS, 1, 200, {}, b"x" * (5 * 1024 * 1024))
    with faulty_proxy(registry.address, endless) as proxy, pytest.raises(OutsideError, match="more than 4194304 bytes"):
        repository(proxy.address, name).manifest("latest")


def started(processes: Processes, name: str, folder: Path, settings: dict[str, Any]) -> str:
    """A registry of one's own; its address."""
    whole: dict[str, Any] = {
        "version": "0.1",
        "storage": {"filesystem": {"rootdirectory": f"{folder}/data"}},
        **settings,
        "http": {"addr": "127.0.0.1:0", **settings.get("http", {})},
    }
    (folder / "registry.yaml").write_text(json.dumps(whole))
    process = processes.start(name, [system_program("docker-registry"), "serve", folder / "registry.yaml"])
    processes.wait_until_ready(process, lambda: "listening on" in process.tail())
    line = next(line for line in process.tail().splitlines() if "listening on" in line)
    return line.split("listening on ")[1].split('"')[0].split(",")[0]


@pytest.fixture(scope="module")
def locked(lab_processes: Processes, tmp_path_factory: pytest.TempPathFactory) -> str:
    """A registry that asks for ada's password, by HTTP Basic."""
    folder = tmp_path_factory.mktemp("locked")
    (folder / "htpasswd").write_text(HTPASSWD)
    auth = {"htpasswd": {"realm": "lab", "path": f"{folder}/htpasswd"}}
    return started(lab_processes, "locked-registry", folder, {"auth": auth})


@pytest.fixture(scope="module")
def trusted(lab_processes: Processes, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Path]:
    """A registry behind TLS, and the certificate that it shows."""
    folder = tmp_path_factory.mktemp("trusted")
    certificate, key = folder / "certificate.pem", folder / "key.pem"
    made = ["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2"]
    made += ["-subj", "/CN=registry", "-addext", "subjectAltName=IP:127.0.0.1", "-out", str(certificate)]
    command = [system_program("openssl"), *made, "-keyout", str(key)]
    subprocess.run(command, check=True, capture_output=True, timeout=60)
    tls = {"tls": {"certificate": str(certificate), "key": str(key)}}
    return started(lab_processes, "trusted-registry", folder, {"http": tls}), certificate


def test_a_registry_with_a_password(locked: str, name: str) -> None:
    assert push(repository(locked, name, lambda: Login("ada", "U*U")), "latest", artifact("kind: A\n")).changed
    with pytest.raises(OutsideError, match="denies") as caught:
        repository(locked, name, lambda: Login("ada", "wr0ng-s3cret")).tags()
    assert "s3cret" not in str(caught.value)
    with pytest.raises(OutsideError, match="docker login"):
        repository(locked, name).tags()


def bearer(proxy: FaultyProxy, times: int) -> list[Fault]:
    realm = f'Bearer realm="http://{proxy.address}/token",service="lab",scope="repository:x:pull"'
    return [
        Fault("/v2/", Harm.STATUS, times, 401, {"WWW-Authenticate": realm}),
        Fault("GET /token", Harm.STATUS, 9, 200, {}, b'{"token": "t0ken"}'),
    ]


def test_a_token_is_fetched_and_sent_to_the_registry_alone(registry: Registry, name: str) -> None:
    """A redirect and an upload location that lead elsewhere get neither the token nor the password."""
    push(repository(registry.address, name), "latest", artifact("kind: A\n"))
    with faulty_proxy(registry.address) as elsewhere, faulty_proxy(registry.address) as proxy:
        proxy.faults += bearer(proxy, 1)
        there = repository(proxy.address, name, lambda: Login("ada", "U*U"))
        assert there.manifest("latest") is not None
        secret = base64.b64encode(b"ada:U*U").decode()
        assert [seen.authorization for seen in proxy.seen] == ["", f"Basic {secret}", "Bearer t0ken"]
        assert proxy.seen[1].path == "/token?service=lab&scope=repository%3Ax%3Apull"

        blob = artifact("kind: A\n").layer_descriptor
        away = {"Location": f"http://{elsewhere.address}/v2/{name}/blobs/{blob.digest}"}
        proxy.faults.append(Fault("GET /v2/.*/blobs/", Harm.STATUS, 1, 307, away))
        assert hashlib.sha256(there.blob(blob.digest, blob.size)).hexdigest() == blob.digest[7:]
        away = {"Location": f"http://{elsewhere.address}/v2/{name}/blobs/uploads/none"}
        proxy.faults.append(Fault("POST ", Harm.STATUS, 9, 202, away))
        with pytest.raises(OutsideError):
            there.put_blob("sha256:" + "0" * 64, b"x")
        assert {seen.method for seen in elsewhere.seen} == {"GET", "PUT"}
        assert {seen.authorization for seen in elsewhere.seen} == {""}


def test_a_login_is_not_sent_in_the_clear_to_another_host(registry: Registry, name: str) -> None:
    challenge = {"WWW-Authenticate": 'Bearer realm="http://token.example.org/t",service="x"'}
    fault = Fault("/v2/", Harm.STATUS, 9, 401, challenge)
    with faulty_proxy(registry.address, fault) as proxy, pytest.raises(RefusedError, match="A309"):
        repository(proxy.address, name, lambda: Login("ada", "U*U")).tags()


def test_a_registry_behind_tls_may_not_lead_into_the_clear() -> None:
    transport = Transport("https://registry.example.org", lambda: None, QUICK)
    with pytest.raises(RefusedError, match="A309"):
        transport.request("GET", "http://registry.example.org/v2/", scope="x")


def test_a_registry_behind_tls_is_trusted_by_its_certificate_alone(trusted: tuple[str, Path], name: str) -> None:
    address, certificate = trusted
    known = Repository(Transport(f"https://{address}", lambda: None, QUICK, certificate), name)
    assert push(known, "latest", artifact("kind: A\n")).changed
    unknown = Repository(Transport(f"https://{address}", lambda: None, QUICK), name)
    with pytest.raises(OutsideError, match=r"no trust in .*--ca-file"):
        unknown.tags()
    elsewhere = Repository(
        Transport(f"https://localhost:{address.split(':')[1]}", lambda: None, QUICK, certificate), name
    )
    with pytest.raises(OutsideError, match="no trust in localhost"):
        elsewhere.tags()


def test_the_command_speaks_tls_to_a_loopback_host_where_a_certificate_is_named(
    trusted: tuple[str, Path], name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    address, certificate = trusted
    target = f"oci://{address}/{name}/kiosk-emea:v1"
    assert command("push", target, FLEET, "--ca-file", certificate) == 0
    assert command("list", f"oci://{address}/{name}/kiosk-emea", "--ca-file", certificate) == 0
    assert capsys.readouterr().out.splitlines()[1].startswith("v1 sha256:")
    for wrong, says in (("/nonexistent", "no such file"), (str(ROOT / "README.md"), "no certificate in it")):
        assert command("list", f"oci://{address}/{name}/kiosk-emea", "--ca-file", wrong) == 3
        shown = capsys.readouterr().err
        assert f"{wrong}: " in shown
        assert says in shown


# ------------------------------------------------------------------ the command


@pytest.fixture
def scratch(tmp_path: Path) -> ScratchRepository:
    made = ScratchRepository.create(tmp_path / "a repo.git")
    made.commit({f"fleet/{path}": content for path, content in load_folder(FLEET).items()}, branch="main")
    return made


def command(*arguments: str | Path) -> int:
    return main(["artifact", *(str(argument) for argument in arguments)])


def pushed(capsys: pytest.CaptureFixture[str], *arguments: str | Path) -> dict[str, dict[str, str]]:
    assert command("push", *arguments, "--output", "json") == 0
    return {row["group"]: row for row in json.loads(capsys.readouterr().out)["artifacts"]}


def test_the_whole_fleet_from_git_and_then_one_changed_group(
    registry: Registry, name: str, scratch: ScratchRepository, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """One artifact per group; a commit moves only the tags of the groups that it changes; the time is the commit's."""
    address = f"oci://{registry.address}/{name}:latest"
    source = ("--repo", scratch.path, "--path", "fleet", "--all", "--source", "https://example.org/fleet.git")
    first = scratch.tip()
    rows = pushed(capsys, address, *source)
    assert len(rows) == 13
    assert all(row["changed"] and row["revision"] == f"main@sha1:{first}" for row in rows.values())

    before = {f"fleet/{path}": content for path, content in load_folder(FLEET).items()}
    path = "fleet/groups/emea.yaml"
    changed = before[path].replace(b"deviceCount: 640", b"deviceCount: 650")
    assert changed != before[path]
    second = scratch.commit({**before, path: changed, "fleet/README.md": b"x"}, first, branch="main")
    again = pushed(capsys, address, *source)
    moved = {group for group, row in again.items() if row["changed"]}
    assert moved == {"kiosk-emea"}
    assert {row["revision"] for group, row in again.items() if group not in moved} == {f"main@sha1:{first}"}
    assert again["kiosk-emea"]["revision"] == f"main@sha1:{second}"

    out = tmp_path / "out"
    assert command("pull", f"oci://{registry.address}/{name}/cam-emea:latest", "--output", out) == 0
    assert main(["render", str(FLEET), "--group", "cam-emea"]) == 0
    said = capsys.readouterr().out
    assert said.startswith("pulled oci://")
    assert said.split("\n", 1)[1].encode() == (out / "manifests.yaml").read_bytes()
    assert command("list", f"oci://{registry.address}/{name}/cam-emea", "--output", "json") == 0
    (row,) = json.loads(capsys.readouterr().out)["artifacts"]
    assert (row["tag"], row["created"], row["digest"]) == ("latest", "2026-11-01T12:01:00Z", rows["cam-emea"]["digest"])


def test_the_last_part_of_the_address_is_the_group(
    registry: Registry, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    address = f"oci://{registry.address}/{name}/kiosk-emea:v1"
    assert command("push", address, FLEET, "--revision", "main@sha1:01", "--created", "2026-01-02T03:04:05+01:00") == 0
    assert capsys.readouterr().out.startswith(f"pushed {address} digest=sha256:")
    assert command("list", f"oci://{registry.address}/{name}/kiosk-emea") == 0
    assert capsys.readouterr().out.endswith("revision=main@sha1:01 created=2026-01-02T02:04:05Z\n")
    assert command("push", f"oci://{registry.address}/{name}/kiosk-eme:v1", FLEET) == 1
    assert 'did you mean "kiosk-emea"' in capsys.readouterr().err
    assert (
        command("push", f"oci://{registry.address}/{name}:v1", FLEET, "--group", "kiosk-emea", "--group", "cam-emea")
        == 0
    )
    assert capsys.readouterr().out.splitlines()[1].startswith(f"unchanged {address}")


def test_a_problem_in_one_group_pushes_none(
    registry: Registry, name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    fleet = tmp_path / "fleet"
    for path, content in load_folder(FLEET).items():
        (fleet / path).parent.mkdir(parents=True, exist_ok=True)
        (fleet / path).write_bytes(content.replace(b'cpu: "4"', b'cpu: "4 cores"'))
    assert command("push", f"oci://{registry.address}/{name}:latest", fleet, "--all") == 1
    assert "F104" in capsys.readouterr().err
    assert tags(registry, f"{name}/kiosk-emea") == []


def test_a_push_that_ends_midway_says_where_and_is_completed_by_the_next(
    registry: Registry, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    denied = Fault(f"POST /v2/{name}/cam-emea/", Harm.STATUS, 1, 403, {}, b'{"errors": [{"code": "DENIED"}]}')
    with faulty_proxy(registry.address, denied) as proxy:
        address = f"oci://{proxy.address}/{name}:latest"
        assert command("push", address, FLEET, "--all", "--jobs", "1") == 3
        said = capsys.readouterr()
        assert f"error: oci://{proxy.address}/{name}/cam-emea:latest: " in said.err
        assert "DENIED" in said.err
        assert tags(registry, f"{name}/cam-emea") == []
        before = {line.split()[1] for line in said.out.splitlines()}
        assert before
        assert command("push", address, FLEET, "--all") == 0
        lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 13
    assert {line.split()[1] for line in lines if line.startswith("unchanged")} >= before
    assert tags(registry, f"{name}/cam-emea") == ["latest"]


def test_this_machine_is_never_asked_through_a_proxy(
    registry: Registry, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And another host is: what a site's proxy sees is the whole address."""
    with faulty_proxy(registry.address, Fault("", Harm.STATUS, 1, 404)) as proxy:
        monkeypatch.setenv("http_proxy", f"http://{proxy.address}")
        monkeypatch.delenv("no_proxy", raising=False)
        monkeypatch.delenv("NO_PROXY", raising=False)
        assert repository(registry.address, name).tags() == ()
        assert proxy.seen == []
        assert repository("registry.example.org", name).tags() == ()
        assert [seen.path for seen in proxy.seen] == [f"http://registry.example.org/v2/{name}/tags/list?n=1000"]


def test_a_folder_that_holds_something_is_not_pulled_into(
    registry: Registry, name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    push(repository(registry.address, name), "latest", artifact("kind: A\n"))
    (tmp_path / "full").mkdir()
    (tmp_path / "full/mine").write_text("x")
    address = f"oci://{registry.address}/{name}:latest"
    assert command("pull", address, "--output", tmp_path / "full") == 2
    assert "A310" in capsys.readouterr().err
    (tmp_path / "empty").mkdir()
    assert command("pull", address, "--output", tmp_path / "empty") == 0
    assert sorted(path.name for path in (tmp_path / "empty").iterdir()) == ["manifests.yaml"]
    assert command("pull", f"oci://{registry.address}/{name}:none", "--output", tmp_path / "other") == 3
    assert not (tmp_path / "other").exists()


def test_what_is_pushed_is_said_once_and_the_commit_speaks_for_itself(capsys: pytest.CaptureFixture[str]) -> None:
    address = "oci://127.0.0.1:9/a:t"
    for arguments in (
        ("push", address),
        ("push", address, FLEET, "--repo", "x"),
        ("push", address, FLEET, "--created", "now"),
    ):
        assert command(*arguments) == 64
    assert command("push", address, "--repo", "x", "--revision", "r") == 1
    assert command("push", "oci://127.0.0.1:9/a", FLEET) == 1
    assert command("pull", "oci://127.0.0.1:9/a", "--output", "x") == 1
    assert capsys.readouterr().err.count("A306 got") == 3
