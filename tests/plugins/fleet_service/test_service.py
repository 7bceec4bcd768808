"""`trimtab fleet-service` as Argo CD and flux-operator meet it: a real process, a real repository, real sockets.

flux-operator itself is not run: its side is judged by the shape that its documentation and its reader ask for.
"""

from __future__ import annotations

import http.client
import json
import re
import signal
import socket
import ssl
import subprocess
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import jsonschema
import pytest
import yaml

from tests.plugins.fleet_service.process import PATIENCE, TOKEN, Service, running, token_file
from tests.repositories import ScratchRepository
from trimtab_config.cli import main
from trimtab_config.sources.folder import load_folder
from trimtab_config.spec.reader import read_documents

FLEET = Path(__file__).parents[3] / "examples/fleet"
DOCUMENTS = read_documents(load_folder(FLEET)).documents
GROUPS = {each.metadata.name: each for each in DOCUMENTS if each.kind == "DeviceGroup"}
EXAMPLE = {f"fleet/{path}": content for path, content in load_folder(FLEET).items()}

# What the applicationset-controller unmarshals (ServiceResponse), with the keys that Trimtab promises.
GENERATOR_SHAPE = {
    "type": "object",
    "required": ["output"],
    "additionalProperties": False,
    "properties": {
        "output": {
            "type": "object",
            "required": ["parameters"],
            "additionalProperties": False,
            "properties": {
                "parameters": {
                    "type": "array",
                    "minItems": 1,
                    "items": {
                        "type": "object",
                        "required": ["group", "namespace", "cluster", "wave", "labels"],
                        "additionalProperties": False,
                        "properties": {
                            "group": {"type": "string", "minLength": 1},
                            "namespace": {"type": "string", "minLength": 1},
                            "cluster": {"type": "string", "minLength": 1},
                            "wave": {"type": "string", "maxLength": 63},
                            "labels": {"type": "object", "additionalProperties": {"type": "string"}},
                        },
                    },
                }
            },
        }
    },
}
# ResourceSetInputProvider, type ExternalService: an object with "inputs", each an object with a string "id".
INPUTS_SHAPE = {
    "type": "object",
    "required": ["inputs"],
    "properties": {
        "inputs": {
            "type": "array",
            "items": {"type": "object", "required": ["id"], "properties": {"id": {"type": "string", "minLength": 1}}},
        }
    },
}


@pytest.fixture
def scratch(tmp_path: Path) -> ScratchRepository:
    made = ScratchRepository.create(tmp_path / "a repo.git")
    made.commit(EXAMPLE, branch="main")
    return made


def arguments(scratch: ScratchRepository, tmp_path: Path) -> list[str]:
    return ["--repo", str(scratch.path), "--path", "fleet", "--token-file", str(token_file(tmp_path))]


def groups(answer: Any) -> list[str]:  # noqa: ANN401 - an answer's JSON
    return [each["group"] for each in answer["output"]["parameters"]]


def test_both_doors_tell_every_device_group_in_their_own_shape(scratch: ScratchRepository, tmp_path: Path) -> None:
    with running(*arguments(scratch, tmp_path)) as service:
        answer = service.generator()
        assert (answer.status, answer.headers["content-type"]) == (200, "application/json")
        jsonschema.Draft202012Validator(GENERATOR_SHAPE).validate(answer.json)
        assert groups(answer.json) == sorted(GROUPS)
        for each in answer.json["output"]["parameters"]:
            document = GROUPS[each["group"]]
            assert each["namespace"] == document.metadata.namespace
            assert each["cluster"] == document.spec.cluster
            assert each["labels"] == dict(document.metadata.labels)
        assert "tenth" in {each["wave"] for each in answer.json["output"]["parameters"]}
        assert answer.headers["trimtab-revision"] == scratch.tip()
        assert "trimtab-stale-since" not in answer.headers

        inputs = service.inputs()
        assert inputs.status == 200
        jsonschema.Draft202012Validator(INPUTS_SHAPE).validate(inputs.json)
        ids = [each["id"] for each in inputs.json["inputs"]]
        assert len(set(ids)) == len(ids)
        assert len(inputs.body) <= 900 * 1024
        assert [{key: each[key] for key in each if key != "id"} for each in inputs.json["inputs"]] == answer.json[
            "output"
        ]["parameters"]


def test_filters_choose_by_cluster_namespace_and_labels(scratch: ScratchRepository, tmp_path: Path) -> None:
    some = next(iter(GROUPS.values()))
    region, cluster = some.metadata.labels["region"], some.spec.cluster
    in_region = sorted(name for name, each in GROUPS.items() if each.metadata.labels.get("region") == region)
    in_cluster = sorted(name for name, each in GROUPS.items() if each.spec.cluster == cluster)
    assert 0 < len(in_region) < len(GROUPS)
    with running(*arguments(scratch, tmp_path)) as service:
        assert groups(service.generator({"labels": {"region": region}}).json) == in_region
        assert groups(service.generator({"labels": f"region={region}"}).json) == in_region
        assert groups(service.generator({"cluster": cluster, "labels": {}}).json) == in_cluster
        found = service.inputs(f"?labels=region%3D{region}&cluster={cluster}&limit=50").json["inputs"]
        assert [each["id"] for each in found] == sorted(set(in_region) & set(in_cluster))


def test_no_group_at_all_is_refused_and_never_an_empty_list(scratch: ScratchRepository, tmp_path: Path) -> None:
    """An empty list would make both callers delete everything."""
    with running(*arguments(scratch, tmp_path)) as service:
        for answer in (service.generator({"cluster": "nowhere"}), service.inputs("?labels=region%3DMOON")):
            assert (answer.status, answer.json["code"]) == (409, "A203")
        few = service.inputs("?limit=2")
        assert (few.status, few.json["code"]) == (413, "A205")
        assert "filter.limit" in few.json["error"]


def test_only_the_bearer_of_the_token_gets_an_answer(scratch: ScratchRepository, tmp_path: Path) -> None:
    body = b'{"applicationSetName": "x", "input": {"parameters": {}}}'
    with running(*arguments(scratch, tmp_path)) as service:
        for header in ("", "Bearer", "Bearer ", f"Bearer {TOKEN}x", f"Bearer {TOKEN[:-1]}", f"Basic {TOKEN}", TOKEN):
            answer = service.call("POST", "/api/v1/getparams.execute", body, {"Authorization": header})
            assert (answer.status, answer.json["code"]) == (401, "A201"), header
            assert "bearer" in answer.headers["www-authenticate"].lower()
            assert "trimtab-revision" not in answer.headers
            assert service.call("GET", "/api/v1/inputs", headers={"Authorization": header}).status == 401
        assert service.call("POST", "/api/v1/getparams.execute", body).status == 401
        for path in ("/healthz", "/readyz", "/metrics"):
            open_page = service.call("GET", path)
            assert open_page.status == 200
            assert not [name for name in GROUPS if name.encode() in open_page.body], path
        assert not [line for line in service.lines if TOKEN in line]


def test_a_token_that_is_rotated_takes_over_and_a_bad_one_does_not(scratch: ScratchRepository, tmp_path: Path) -> None:
    with running(*arguments(scratch, tmp_path)) as service:
        token_file(tmp_path, "another-token-of-the-tests")
        service.wait(lambda: service.generator(token="another-token-of-the-tests").status == 200)
        assert service.generator().status == 401
        token_file(tmp_path, "short")
        service.wait(lambda: any("A206" in line for line in service.lines))
        assert service.generator(token="another-token-of-the-tests").status == 200
        assert service.generator(token="short").status == 401


HOSTILE = {
    "nothing": b"",
    "no JSON": b"{",
    "a list": b"[]",
    "text": b'"x"',
    "no UTF-8": b'{"applicationSetName": "\xff"}',
    "a key twice": b'{"input": {}, "input": {"parameters": {"cluster": "a"}}}',
    "a number that is none": b'{"input": {"parameters": {"cluster": NaN}}}',
    "a number of 5000 digits": b'{"input": {"parameters": {"cluster": ' + b"9" * 5000 + b"}}}",
    "deep": b'{"input": ' + b"[" * 30000 + b"]" * 30000 + b"}",
    "a name of another type": b'{"applicationSetName": 7}',
    "an input of another type": b'{"input": ["cluster"]}',
    "parameters of another type": b'{"input": {"parameters": "cluster=a"}}',
    "an unknown filter": b'{"input": {"parameters": {"clutser": "a"}}}',
    "a cluster of another type": b'{"input": {"parameters": {"cluster": {"$ne": ""}}}}',
    "a cluster that is no name": b'{"input": {"parameters": {"cluster": "../a"}}}',
    "labels of another type": b'{"input": {"parameters": {"labels": ["region"]}}}',
    "a label of another type": b'{"input": {"parameters": {"labels": {"region": true}}}}',
    "a label without a value": b'{"input": {"parameters": {"labels": "region"}}}',
    "too many labels": json.dumps({"input": {"parameters": {"labels": {str(n): "" for n in range(33)}}}}).encode(),
    "too much": b'{"applicationSetName": "' + b"x" * 70_000 + b'"}',
}


def test_hostile_questions_are_refused_by_name_and_the_service_lives_on(
    scratch: ScratchRepository, tmp_path: Path
) -> None:
    with running(*arguments(scratch, tmp_path)) as service:
        headers = {"Authorization": f"Bearer {TOKEN}"}
        for name, body in HOSTILE.items():
            answer = service.call("POST", "/api/v1/getparams.execute", body, headers)
            assert (answer.status, answer.json["code"]) == (400, "A202"), name
            assert len(answer.body) < 1000, name
        for query in ("?x=1", "?limit=0", "?limit=-1", "?limit=1e3", "?limit=1&limit=2", "?cluster=%00", "?labels=a"):
            answer = service.inputs(query)
            assert (answer.status, answer.json["code"]) == (400, "A202"), query
        assert service.call("GET", "/api/v1/getparams.execute", headers=headers).status == 405
        assert service.call("GET", "/../../etc/passwd", headers=headers).status == 404
        assert service.generator().status == 200
        refused = [line for line in service.lines if "A202" in line]
        assert refused
        assert all(len(line) < 1000 and line.isprintable() for line in refused)


def test_a_body_that_grows_past_the_limit_without_saying_so_is_cut_off(
    scratch: ScratchRepository, tmp_path: Path
) -> None:
    with running(*arguments(scratch, tmp_path)) as service:
        parts = urlsplit(service.url)
        assert parts.hostname is not None
        assert parts.port is not None
        with socket.create_connection((parts.hostname, parts.port), timeout=PATIENCE) as connection:
            head = (
                "POST /api/v1/getparams.execute HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n"
                f"Authorization: Bearer {TOKEN}\r\n\r\n"
            )
            connection.sendall(head.encode())
            for _ in range(20):
                connection.sendall(b"2000\r\n" + b"x" * 0x2000 + b"\r\n")
            assert connection.recv(200).startswith(b"HTTP/1.1 400 ")


@pytest.mark.long  # ten seconds of patience
def test_a_caller_that_never_ends_its_head_is_hung_up_on_and_a_patient_one_is_not(
    scratch: ScratchRepository, tmp_path: Path
) -> None:
    """Else a few idle connections would keep everybody else out."""
    with running(*arguments(scratch, tmp_path)) as service:
        parts = urlsplit(service.url)
        assert parts.hostname is not None
        assert parts.port is not None
        address = (parts.hostname, parts.port)
        with ExitStack() as stack:
            silent = [stack.enter_context(socket.create_connection(address, timeout=PATIENCE)) for _ in range(140)]
            for each in silent[::2]:
                each.sendall(b"POST /api/v1/getparams.execute HTTP/1.1\r\nHost: x\r\n")
            kept = http.client.HTTPConnection(*address, timeout=PATIENCE)
            stack.callback(kept.close)
            for each in silent:
                with suppress(ConnectionResetError):
                    assert each.recv(1) == b""
            for _ in range(2):
                kept.request("GET", "/readyz")
                assert kept.getresponse().read() == b"ready\n"
        assert service.generator().status == 200


# ---------------------------------------------------------------- following


def test_a_new_commit_is_taken_up_and_a_broken_one_leaves_the_last_good_answer_and_says_so(
    scratch: ScratchRepository, tmp_path: Path
) -> None:
    with running(*arguments(scratch, tmp_path)) as service:
        good = service.generator()
        name = next(iter(EXAMPLE))
        broken = scratch.commit(
            {**EXAMPLE, name: b"apiVersion: apexlogic.ai/v1\nkind: Oops\n"}, scratch.tip(), branch="main"
        )
        service.wait(lambda: "trimtab-stale-since" in service.generator().headers)
        stale = service.generator()
        assert (stale.status, stale.body) == (200, good.body)
        assert stale.headers["trimtab-revision"] == good.headers["trimtab-revision"]
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", stale.headers["trimtab-stale-since"])
        health = service.call("GET", "/healthz")
        assert (health.status, health.json["status"]) == (200, "stale")
        assert health.json["trouble"]["revision"] == broken
        assert health.json["trouble"]["codes"]
        assert service.call("GET", "/readyz").status == 200
        assert b"trimtab_fleet_service_stale 1.0" in service.call("GET", "/metrics").body
        service.wait(lambda: any(name in line and "F1" in line for line in service.lines))

        fewer = {path: content for path, content in EXAMPLE.items() if path != "fleet/groups/latam.yaml"}
        mended = scratch.commit(fewer, broken, branch="main")
        service.wait(lambda: service.generator().headers["trimtab-revision"] == mended)
        after = service.generator()
        assert "trimtab-stale-since" not in after.headers
        assert set(groups(after.json)) < set(groups(good.json))
        assert service.call("GET", "/healthz").json["status"] == "ok"
        assert b"trimtab_fleet_service_stale 0.0" in service.call("GET", "/metrics").body


def test_until_a_first_tree_was_read_nothing_is_answered_and_it_is_not_ready(tmp_path: Path) -> None:
    scratch = ScratchRepository.create(tmp_path / "empty.git")
    with running(*arguments(scratch, tmp_path), ready=False) as service:
        answer = service.generator()
        assert (answer.status, answer.json["code"]) == (503, "A204")
        assert service.call("GET", "/readyz").status == 503
        assert service.call("GET", "/healthz").json["status"] == "empty"
        scratch.commit(EXAMPLE, branch="main")
        service.wait(lambda: service.generator().status == 200)


def test_a_folder_is_followed_through_a_link_that_is_swapped(tmp_path: Path) -> None:
    """As git-sync swaps it."""

    def tree(name: str, left_out: str) -> Path:
        for path, content in EXAMPLE.items():
            if path != left_out:
                place = tmp_path / name / path
                place.parent.mkdir(parents=True, exist_ok=True)
                place.write_bytes(content)
        return tmp_path / name

    link = tmp_path / "current"
    link.symlink_to(tree("one", ""))
    options = ["--folder", str(link), "--path", "fleet", "--token-file", str(token_file(tmp_path))]
    with running(*options) as service:
        assert len(groups(service.generator().json)) == len(GROUPS)
        fresh = tmp_path / "fresh"
        fresh.symlink_to(tree("two", "fleet/groups/latam.yaml"))
        fresh.rename(link)
        service.wait(lambda: len(groups(service.generator().json)) < len(GROUPS))
        link.unlink()
        service.wait(lambda: "trimtab-stale-since" in service.generator().headers)
        assert len(groups(service.generator().json)) < len(GROUPS)
        link.symlink_to(tmp_path / "one")
        service.wait(lambda: "trimtab-stale-since" not in service.generator().headers)
        assert len(groups(service.generator().json)) == len(GROUPS)


def test_a_signal_ends_it_in_good_order(scratch: ScratchRepository, tmp_path: Path) -> None:
    with running(*arguments(scratch, tmp_path)) as service:
        service.process.send_signal(signal.SIGTERM)
        assert service.process.wait(timeout=PATIENCE) == 0


# ---------------------------------------------------------------- TLS and usage


def test_with_a_certificate_it_speaks_tls_alone(scratch: ScratchRepository, tmp_path: Path) -> None:
    certificate, key = tmp_path / "tls.crt", tmp_path / "tls.key"
    subprocess.run(
        [
            *("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"),
            *("-keyout", str(key), "-out", str(certificate), "-days", "2", "-subj", "/CN=fleet"),
            *("-addext", "subjectAltName=IP:127.0.0.1"),
        ],
        check=True,
        capture_output=True,
    )
    context = ssl.create_default_context(cafile=str(certificate))
    options = [*arguments(scratch, tmp_path), "--tls-cert", str(certificate), "--tls-key", str(key)]
    with running(*options, context=context) as service:
        assert service.url.startswith("https://")
        assert service.generator().status == 200
        plain = Service(service.url, service.process)
        with pytest.raises((http.client.HTTPException, ConnectionError)):
            plain.generator()
    assert main(["fleet-service", *options[:-1], str(certificate)]) == 2


def test_a_token_that_is_no_secret_is_refused_before_anything_listens(
    scratch: ScratchRepository, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = arguments(scratch, tmp_path)
    for text, mode in (("short", 0o600), ("two words of a token", 0o600), (TOKEN, 0o604)):
        token_file(tmp_path, text).chmod(mode)
        assert main(["fleet-service", *options]) == 2
        out, err = capsys.readouterr()
        assert out == ""
        assert "A206" in err
        assert text not in err
    (tmp_path / "token").unlink()
    assert main(["fleet-service", *options]) == 3


@pytest.mark.parametrize(
    "options",
    [
        [],
        ["--repo", "r"],
        ["--repo", "r", "--folder", "f", "--token-file", "t"],
        ["--repo", "r", "--token-file", "t", "--tls-cert", "c"],
        ["--repo", "r", "--token-file", "t", "--tls-client-ca", "c"],
        ["--repo", "r", "--token-file", "t", "--port", "66000"],
        ["--print-applicationset"],
    ],
)
def test_wrong_usage_is_told(options: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["fleet-service", *options]) == 64
    assert capsys.readouterr().err


# ---------------------------------------------------------------- the ApplicationSet


def printed(capsys: pytest.CaptureFixture[str], *options: str) -> Any:  # noqa: ANN401 - a manifest
    assert (
        main(["fleet-service", "--print-applicationset", "--repo-url", "https://git.example.com/f.git", *options]) == 0
    )
    return yaml.safe_load(capsys.readouterr().out)


def test_the_applicationset_syncs_heals_prunes_and_retries_as_promised(capsys: pytest.CaptureFixture[str]) -> None:
    found = printed(capsys, "--path", "fleet")
    assert (found["apiVersion"], found["kind"]) == ("argoproj.io/v1alpha1", "ApplicationSet")
    spec = found["spec"]["template"]["spec"]
    assert spec["syncPolicy"] == {
        "automated": {"prune": True, "selfHeal": True},
        "syncOptions": ["CreateNamespace=true"],
        "retry": {"limit": 5, "backoff": {"duration": "5s", "maxDuration": "3m0s", "factor": 2}},
    }
    assert spec["source"] == {
        "repoURL": "https://git.example.com/f.git",
        "targetRevision": "HEAD",
        "path": "fleet",
        "plugin": {"name": "trimtab", "parameters": [{"name": "group", "string": "{{.group}}"}]},
    }
    assert spec["destination"] == {"name": "{{.cluster}}", "namespace": "{{.namespace}}"}
    assert found["spec"]["goTemplate"] is True
    assert found["spec"]["goTemplateOptions"] == ["missingkey=error"]
    [generator] = found["spec"]["generators"]
    assert generator["plugin"]["configMapRef"] == {"name": "trimtab-fleet-service"}
    assert "input" not in generator["plugin"]


def test_the_applicationset_takes_what_an_installation_chooses(capsys: pytest.CaptureFixture[str]) -> None:
    found = printed(
        capsys,
        *("--destination-server", "https://kubernetes.default.svc", "--price-book", "prices-2026-q4"),
        *("--cluster", "edge-emea", "--label", "region=EMEA", "--no-prune", "--sync-option", "ServerSideApply=true"),
        *("--retry-limit", "2", "--requeue", "30", "--name", "emea", "--project", "edge"),
    )
    spec = found["spec"]["template"]["spec"]
    assert spec["destination"]["server"] == "https://kubernetes.default.svc"
    assert spec["source"]["plugin"]["parameters"][1] == {"name": "price-book", "string": "prices-2026-q4"}
    assert spec["syncPolicy"]["automated"] == {"prune": False, "selfHeal": True}
    assert spec["syncPolicy"]["syncOptions"] == ["CreateNamespace=true", "ServerSideApply=true"]
    assert spec["syncPolicy"]["retry"]["limit"] == 2
    plugin = found["spec"]["generators"][0]["plugin"]
    assert plugin["input"] == {"parameters": {"cluster": "edge-emea", "labels": {"region": "EMEA"}}}
    assert plugin["requeueAfterSeconds"] == 30
    assert (found["metadata"]["name"], spec["project"]) == ("emea", "edge")
    assert "automated" not in printed(capsys, "--no-automated")["spec"]["template"]["spec"]["syncPolicy"]


def test_what_the_applicationset_asks_the_service_understands(
    scratch: ScratchRepository, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Every template variable of the ApplicationSet is a key of the answer, and its filters are filters."""
    some = next(iter(GROUPS.values()))
    found = printed(capsys, "--cluster", some.spec.cluster, "--label", f"region={some.metadata.labels['region']}")
    asked = found["spec"]["generators"][0]["plugin"]["input"]["parameters"]
    with running(*arguments(scratch, tmp_path)) as service:
        answer = service.generator(asked).json["output"]["parameters"]
    variables = set(re.findall(r"\{\{\.(\w+)\}\}", json.dumps(found)))
    assert variables == {"group", "namespace", "cluster", "wave"}
    assert all(variables <= each.keys() for each in answer)
