"""Open Inference Protocol V2 over HTTP, told against a real server process: requests good and bad, and their answers."""

from __future__ import annotations

import gzip
import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pytest

from tests.edge import graphs
from tests.edge.devices import Server, place, sample, serving

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

JSON = {"content-type": "application/json"}
ROW = {"name": "x", "shape": [1, 4], "datatype": "FP32", "data": [1, 2, 3, 4]}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    repository = tmp_path_factory.mktemp("models")
    place(repository, "adder", "1.9.0", graphs.adder(9.0))
    place(repository, "adder", "1.10.0", graphs.adder(0.5))
    place(repository, "pair", "1.0.0", graphs.pair())
    place(repository, "picker", "1.0.0", graphs.picker())
    for datatype in graphs.ELEMENT:
        place(repository, f"identity-{datatype.lower()}", "1.0.0", graphs.identity(datatype))
    log = tmp_path_factory.mktemp("log") / "serve.log"
    with serving(repository, log, "--max-body-bytes", "100000") as running:
        running.wait_ready("picker")
        yield running


# ---------------------------------------------------------------- what is right


def test_health_and_metadata_say_what_the_protocol_says(server: Server) -> None:
    assert server.ask("GET", "/v2/health/live").json == {"live": True}
    assert server.ask("GET", "/v2/health/ready").json == {"ready": True}
    about = server.ask("GET", "/v2").json
    assert about["name"] == "trimtab-edge"
    assert about["extensions"] == ["binary_tensor_data", "model_repository"]
    assert server.ask("GET", "/v2/models/adder").json == {
        "name": "adder",
        "versions": ["1.10.0"],
        "platform": "onnxruntime_onnx",
        "inputs": [{"name": "x", "datatype": "FP32", "shape": [-1, 4]}],
        "outputs": [
            {"name": "score", "datatype": "FP32", "shape": [-1]},
            {"name": "label", "datatype": "INT64", "shape": [-1]},
        ],
    }
    assert server.ask("GET", "/v2/models/adder/versions/1.10.0").json["versions"] == ["1.10.0"]
    assert server.readiness("adder").json["ready"] is True
    assert server.readiness("adder", "1.10.0").json["state"] == "READY"


def test_without_active_json_the_newest_version_in_semver_order_answers(server: Server) -> None:
    """1.10.0 is newer than 1.9.0, whatever the alphabet says."""
    assert server.infer("adder", ROW).json["model_version"] == "1.10.0"


def test_a_request_is_answered_with_id_and_all_outputs(server: Server) -> None:
    reply = server.infer("adder", ROW, id="request-7")
    assert reply.status == 200
    assert reply.headers["content-type"] == "application/json"
    assert reply.json == {
        "model_name": "adder",
        "model_version": "1.10.0",
        "id": "request-7",
        "outputs": [
            {"name": "score", "shape": [1], "datatype": "FP32", "data": [10.5]},
            {"name": "label", "shape": [1], "datatype": "INT64", "data": [1]},
        ],
    }


def test_no_id_in_the_request_means_none_in_the_answer(server: Server) -> None:
    assert "id" not in server.infer("adder", ROW).json


@pytest.mark.parametrize(
    ("asked", "got"),
    {
        "one": (["label"], ["label"]),
        "both in another order": (["label", "score"], ["label", "score"]),
        "an empty list means all": ([], ["score", "label"]),
    }.values(),
)
def test_only_requested_outputs_are_sent_in_their_order(server: Server, asked: list[str], got: list[str]) -> None:
    reply = server.infer("adder", ROW, outputs=[{"name": name} for name in asked])
    assert [output["name"] for output in reply.json["outputs"]] == got


def test_a_batch_is_answered_row_by_row(server: Server) -> None:
    rows = {"name": "x", "shape": [3, 4], "datatype": "FP32", "data": [0, 0, 0, 1, 9, 9, 9, 9, -1, 0, 0, 0]}
    outputs = server.infer("adder", rows).json["outputs"]
    assert outputs[0]["data"] == [1.5, 36.5, -0.5]
    assert outputs[1] == {"name": "label", "shape": [3], "datatype": "INT64", "data": [0, 1, 0]}


def test_an_empty_batch_gets_empty_outputs(server: Server) -> None:
    rows = {"name": "x", "shape": [0, 4], "datatype": "FP32", "data": []}
    assert server.infer("adder", rows).json["outputs"][0] == {
        "name": "score", "shape": [0], "datatype": "FP32", "data": [],
    }  # fmt: skip


def test_the_version_may_stand_in_the_path(server: Server) -> None:
    reply = server.ask("POST", "/v2/models/adder/versions/1.10.0/infer", json.dumps({"inputs": [ROW]}).encode(), JSON)
    assert reply.json["outputs"][0]["data"] == [10.5]


def test_parameters_and_unknown_fields_are_tolerated(server: Server) -> None:
    row = {**ROW, "parameters": {"content_type": "np"}, "something": 1}
    reply = server.infer(
        "adder", row, parameters={"priority": 3, "a": None}, outputs=[{"name": "score", "parameters": {"b": 1}}], more=1
    )
    assert reply.status == 200, reply.body


def test_inputs_may_come_in_any_order(server: Server) -> None:
    a = {"name": "a", "shape": [1, 2], "datatype": "FP32", "data": [1, 2]}
    b = {"name": "b", "shape": [1, 2], "datatype": "FP32", "data": [10, 20]}
    outputs = server.infer("pair", b, a).json["outputs"]
    assert [output["data"] for output in outputs] == [[11.0, 22.0], [1.0, 2.0]]


VALUES: Mapping[str, list[Any]] = {
    "BOOL": [True, False, False, True],
    "UINT8": [0, 1, 254, 255],
    "UINT16": [0, 1, 2, 65535],
    "UINT32": [0, 1, 2, 2**32 - 1],
    "UINT64": [0, 1, 2**53 + 1, 2**64 - 1],
    "INT8": [-128, -1, 0, 127],
    "INT16": [-32768, -1, 0, 32767],
    "INT32": [-(2**31), -1, 0, 2**31 - 1],
    "INT64": [-(2**63), -1, 2**53 + 1, 2**63 - 1],
    "FP16": [-65504.0, 0.5, 0.0, 65504.0],
    "BF16": [-3.3895313892515355e38, 0.5, -0.0, 1.0],
    "FP32": [-1.5, 0.0, 3.4028234663852886e38, 1.401298464324817e-45],
    "FP64": [0.1, -1.7976931348623157e308, 5e-324, 2.0],
    "BYTES": ["", "plain", "ünïcödé \U0001f40d", 'quote " and \\ and \n'],
}


@pytest.mark.parametrize("datatype", VALUES)
def test_every_datatype_comes_back_exactly(server: Server, datatype: str) -> None:
    values = VALUES[datatype]
    tensor = {"name": "x", "shape": [2, 2], "datatype": datatype, "data": values}
    reply = server.infer(f"identity-{datatype.lower()}", tensor)
    assert reply.json["outputs"] == [{"name": "y", "shape": [2, 2], "datatype": datatype, "data": values}]


@pytest.mark.parametrize("datatype", VALUES)
def test_nested_data_means_the_same_as_flat_data(server: Server, datatype: str) -> None:
    values = VALUES[datatype]
    tensor = {"name": "x", "shape": [2, 2], "datatype": datatype, "data": [values[:2], values[2:]]}
    reply = server.infer(f"identity-{datatype.lower()}", tensor)
    assert reply.json["outputs"][0]["data"] == values


def test_what_is_not_finite_is_sent_as_null(server: Server) -> None:
    """JSON has no word for infinity: 3e38 + 3e38 overflows single precision."""
    a = {"name": "a", "shape": [1, 2], "datatype": "FP32", "data": [3e38, 1]}
    reply = server.infer("pair", a, {**a, "name": "b"})
    assert reply.json["outputs"][0]["data"] == [None, 2.0]


def test_a_body_in_chunks_is_a_body(server: Server) -> None:
    connection = server.connect()
    body = json.dumps({"inputs": [ROW]}).encode()
    connection.request("POST", "/v2/models/adder/infer", iter([body[:7], body[7:]]), JSON, encode_chunked=True)
    response = connection.getresponse()
    assert json.loads(response.read())["outputs"][0]["data"] == [10.5]
    connection.close()


def test_a_connection_is_kept_after_answers_of_every_kind(server: Server) -> None:
    connection = server.connect()
    for body, status in ((b"{}", 400), (json.dumps({"inputs": [ROW]}).encode(), 200), (b"[", 400)):
        connection.request("POST", "/v2/models/adder/infer", body, JSON)
        response = connection.getresponse()
        response.read()
        assert (response.status, response.will_close) == (status, False)
    connection.close()


def test_head_answers_like_get_without_a_body(server: Server) -> None:
    reply = server.ask("HEAD", "/v2/health/live")
    assert (reply.status, reply.body) == (200, b"")


@pytest.mark.parametrize(
    "content_type",
    ["application/json", "application/json; charset=utf-8", "APPLICATION/JSON", "application/x-www-form-urlencoded"],
)
def test_json_is_taken_under_the_types_that_clients_send(server: Server, content_type: str) -> None:
    """The last one is what plain curl says of any body."""
    body = json.dumps({"inputs": [ROW]}).encode()
    assert server.ask("POST", "/v2/models/adder/infer", body, {"content-type": content_type}).status == 200


# ---------------------------------------------------------------- what is wrong


@dataclass(frozen=True, slots=True)
class Bad:
    """A wrong request, its status, and what the error must name."""

    status: int
    says: tuple[str, ...]
    path: str = "/v2/models/adder/infer"
    body: bytes | None = None
    method: str = "POST"
    headers: Mapping[str, str] = field(default_factory=lambda: JSON)


def wrong(says: tuple[str, ...], model: str = "adder", **changes: object) -> Bad:
    """A request whose one input differs from a right one."""
    body = json.dumps({"inputs": [{**ROW, **changes}]}).encode()
    return Bad(400, says, f"/v2/models/{model}/infer", body)


def raw(says: tuple[str, ...], body: bytes) -> Bad:
    return Bad(400, says, body=body)


def typed(datatype: str, data: object, *says: str) -> Bad:
    tensor = {"name": "x", "shape": [1, 1], "datatype": datatype, "data": data}
    body = json.dumps({"inputs": [tensor]}).encode()
    return Bad(400, ('input "x"', *says), f"/v2/models/identity-{datatype.lower()}/infer", body)


GOOD_BODY = json.dumps({"inputs": [ROW]}).encode()
BAD: Mapping[str, Bad] = {
    "unknown model": Bad(404, ('"nothing"', "no such model"), "/v2/models/nothing/infer", GOOD_BODY),
    "unknown version": Bad(404, ('"9.9.9"', '"1.10.0"'), "/v2/models/adder/versions/9.9.9/infer", GOOD_BODY),
    "a version that is there but not active": Bad(
        404, ('"1.9.0"', "not served"), "/v2/models/adder/versions/1.9.0/infer", GOOD_BODY
    ),
    "unknown path": Bad(404, ("no such path",), "/v2/nothing", GOOD_BODY),
    "root": Bad(404, ("no such path",), "/", None, "GET"),
    "path climbs": Bad(404, ("no such",), "/v2/models/../../etc/infer", GOOD_BODY),
    "path climbs in code": Bad(404, ("no such",), "/v2/models/%2e%2e%2fx/infer", GOOD_BODY),
    "metadata of an unknown model": Bad(404, ('"nothing"',), "/v2/models/nothing", None, "GET"),
    "readiness of an unknown model": Bad(404, ('"nothing"',), "/v2/models/nothing/ready", None, "GET"),
    "readiness of an unknown version": Bad(404, ('"9.9.9"',), "/v2/models/adder/versions/9.9.9/ready", None, "GET"),
    "infer by GET": Bad(405, ("GET", "POST"), method="GET"),
    "infer by DELETE": Bad(405, ("DELETE", "POST"), method="DELETE"),
    "metadata by POST": Bad(405, ("POST", "GET"), "/v2/models/adder", b"{}"),
    "health by PUT": Bad(405, ("PUT", "GET"), "/v2/health/live", b"", "PUT"),
    "body too large": Bad(413, ("body", "100000"), body=b" " * 100001),
    "foreign media type": Bad(415, ('"text/xml"', "application/json"), body=b"<x/>", headers={"content-type": "text/xml"}),
    "octets": Bad(
        415, ("application/octet-stream",), body=b"\0", headers={"content-type": "application/octet-stream"}
    ),
    "compressed": Bad(
        415, ('"gzip"',), body=gzip.compress(GOOD_BODY), headers={**JSON, "content-encoding": "gzip"}
    ),
    "empty body": raw(("request",), b""),
    "no JSON": raw(("request", "malformed"), b"hello"),
    "cut JSON": raw(("request",), GOOD_BODY[:-1]),
    "more after the end": raw(("trailing",), GOOD_BODY + b"{}"),
    "a list": raw(("expected `object`",), b"[]"),
    "no inputs": raw(("inputs",), b"{}"),
    "inputs is an object": raw(("$.inputs",), b'{"inputs": {}}'),
    "empty inputs": raw(('input "x"', "missing", "FP32", "[-1,4]"), b'{"inputs": []}'),
    "input without name": raw(("name",), b'{"inputs": [{"shape": [1], "datatype": "FP32", "data": [1]}]}'),
    "input without shape": raw(("shape",), b'{"inputs": [{"name": "x", "datatype": "FP32", "data": [1]}]}'),
    "input without datatype": raw(("datatype",), b'{"inputs": [{"name": "x", "shape": [1], "data": [1]}]}'),
    "input without data": raw(("data",), b'{"inputs": [{"name": "x", "shape": [1], "datatype": "FP32"}]}'),
    "id is a number": raw(("$.id",), b'{"id": 7, "inputs": []}'),
    "id too long": raw(("id", "1024"), b'{"id": "%s", "inputs": []}' % (b"i" * 1025)),
    "parameters is a list": raw(("$.parameters",), b'{"parameters": [], "inputs": []}'),
    "not UTF-8": raw(("utf-8",), b'{"id": "\xff", "inputs": []}'),
    "UTF-16": raw(("request",), GOOD_BODY.decode().encode("utf-16")),
    "a NUL": raw(("request",), b"\0" + GOOD_BODY),
    "lone surrogate": raw(("request",), b'{"id": "\\ud800", "inputs": []}'),
    "deep lists": raw(("$.inputs[0]",), b'{"inputs": ' + b"[" * 40000 + b"]" * 40000 + b"}"),
    "deep data": raw(("deep",), b'{"inputs": [{"name": "x", "data": ' + b"[" * 40000 + b"]" * 40000 + b"}]}"),
    "deep parameters": raw(("deep",), b'{"parameters": ' + b'{"a":' * 15000 + b"1" + b"}" * 15000 + b', "inputs": []}'),
    "NaN": raw(("request", "malformed"), b'{"inputs": [{"name": "x", "shape": [1, 4], "datatype": "FP32", "data": [NaN, 1, 1, 1]}]}'),
    "Infinity": raw(("request", "malformed"), b'{"inputs": [{"name": "x", "shape": [1, 4], "datatype": "FP32", "data": [Infinity, 1, 1, 1]}]}'),
    "number beyond double": raw(('input "x"', "out of range"), b'{"inputs": [{"name": "x", "shape": [1, 4], "datatype": "FP32", "data": [1e999, 1, 1, 1]}]}'),
    "unknown input": wrong(('input "z"', '"x"'), name="z"),
    "input given twice": raw(('input "x"', "twice"), json.dumps({"inputs": [ROW, ROW]}).encode()),
    "one of two inputs missing": Bad(
        400, ('input "b"', "missing", "[-1,2]"), "/v2/models/pair/infer",
        json.dumps({"inputs": [{"name": "a", "shape": [1, 2], "datatype": "FP32", "data": [1, 2]}]}).encode(),
    ),
    "sizes of two inputs differ": Bad(
        400, ('input "b"', "expected 1", '"a"'), "/v2/models/pair/infer",
        json.dumps({"inputs": [
            {"name": "a", "shape": [1, 2], "datatype": "FP32", "data": [1, 2]},
            {"name": "b", "shape": [2, 2], "datatype": "FP32", "data": [1, 2, 3, 4]},
        ]}).encode(),
    ),
    "unknown output": raw(('output "z"', '"score", "label"'), json.dumps({"inputs": [ROW], "outputs": [{"name": "z"}]}).encode()),
    "output asked for twice": raw(("twice",), json.dumps({"inputs": [ROW], "outputs": [{"name": "score"}] * 2}).encode()),
    "other datatype": wrong(('input "x"', "INT64", "FP32", "[-1,4]"), datatype="INT64"),
    "unknown datatype": wrong(('input "x"', '"FP8"', "FP32"), datatype="FP8"),
    "lower case datatype": wrong(('"fp32"',), datatype="fp32"),
    "too few columns": wrong(('input "x"', "[1,3]", "[-1,4]", "FP32"), shape=[1, 3], data=[1, 2, 3]),
    "too few dimensions": wrong(("[4]", "[-1,4]"), shape=[4]),
    "too many dimensions": wrong(("[1,1,4]", "[-1,4]"), shape=[1, 1, 4]),
    "no dimensions": wrong(("4 values", "expected 1"), shape=[]),
    "17 dimensions": wrong(("17 dimensions",), shape=[1] * 17),
    "shape and data differ": wrong(('input "x"', "4 values", "expected 8"), shape=[2, 4]),
    "huge shape": wrong(('input "x"', "4 values", "1000000000000"), shape=[250000000000, 4]),
    "shape beyond every integer": wrong(("4 values", "over 10^20"), shape=[10**30, 4]),
    "negative size": wrong(('input "x"', "negative"), shape=[-1, 4]),
    "two negative sizes": wrong(("negative",), shape=[-1, -4]),
    "size is a float": wrong(("shape",), shape=[1.5, 4]),
    "size is true": wrong(("shape",), shape=[True, 4]),
    "size is text": wrong(("shape",), shape=["1", 4]),
    "data is a number": wrong(('input "x"', "data"), data=1),
    "data is text": wrong(('input "x"', "data"), data="AAAA"),
    "data is null": wrong(('input "x"', "data"), data=None),
    "data is an object": wrong(('input "x"', "data"), data={"0": 1}),
    "data holds text": wrong(('input "x"', "float"), data=["1", 2, 3, 4]),
    "data holds null": wrong(('input "x"', "float"), data=[None, 2, 3, 4]),
    "data holds true": wrong(('input "x"', "float"), data=[True, 2, 3, 4]),
    "data nested the other way": wrong(('input "x"', "[4, 1]", "[1, 4]"), data=[[1], [2], [3], [4]]),
    "data nested in lists of different lengths": wrong(("different lengths",), shape=[2, 2], data=[[1, 2, 3], [4]]),
    "data nested too deep": wrong(('input "x"',), data=[[[1, 2, 3, 4]]]),
    "data nested for one dimension": wrong(("flat",), shape=[4], data=[[1, 2, 3, 4]]),
    "number beyond FP32": wrong(("beyond FP32",), data=[1e39, 2, 3, 4]),
    "number beyond FP16": typed("FP16", [65520], "beyond FP16"),
    "number beyond UINT8": typed("UINT8", [256], "beyond UINT8"),
    "negative UINT64": typed("UINT64", [-1], "beyond UINT64"),
    "number beyond UINT64": typed("UINT64", [2**64], "beyond UINT64"),
    "number beyond INT64": typed("INT64", [2**63], "beyond INT64"),
    "number beyond INT8": typed("INT8", [-129], "beyond INT8"),
    "fraction for INT32": typed("INT32", [1.5], "int"),
    "whole float for INT32": Bad(
        400, ('input "x"', "int"), "/v2/models/identity-int32/infer",
        b'{"inputs": [{"name": "x", "shape": [1, 1], "datatype": "INT32", "data": [1.0]}]}',
    ),
    "true for INT32": typed("INT32", [True], "int"),
    "1 for BOOL": typed("BOOL", [1], "bool"),
    "number for BYTES": typed("BYTES", [1], "str"),
    "index beyond the model's table": Bad(
        400, ("refused the input",), "/v2/models/picker/infer",
        json.dumps({"inputs": [{"name": "x", "shape": [1], "datatype": "INT64", "data": [99]}]}).encode(),
    ),
}  # fmt: skip


@pytest.mark.parametrize("bad", BAD.values(), ids=BAD.keys())
def test_a_wrong_request_gets_its_status_and_an_error_that_names_the_mistake(server: Server, bad: Bad) -> None:
    reply = server.ask(bad.method, bad.path, bad.body, bad.headers)
    assert reply.status == bad.status, reply.body
    error = reply.json["error"]
    assert list(reply.json) == ["error"]
    assert "\n" not in error
    for part in bad.says:
        assert part in error


def test_a_wrong_method_says_which_is_right(server: Server) -> None:
    assert server.ask("GET", "/v2/models/adder/infer").headers["allow"] == "POST"


def test_failures_are_counted_for_models_that_exist_only(server: Server) -> None:
    before = server.samples()
    server.infer("picker", {"name": "x", "shape": [1], "datatype": "INT64", "data": [99]})
    server.infer("made-up", ROW)
    after = server.samples()
    name = "trimtab_inference_failures_total"
    counted = [sample(found, name, model="picker", reason="bad_request") for found in (before, after)]
    assert counted[1] == (counted[0] or 0) + 1
    assert not any("made-up" in str(key) for key in after)
