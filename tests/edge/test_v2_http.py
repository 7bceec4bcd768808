"""Open Inference Protocol V2 over HTTP, told against a real server process: requests good and bad, and their answers."""

from __future__ import annotations

import gzip
import json
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
    assert set(about["extensions"]) >= {"binary_tensor_data", "model_repository"}
    assert server.ask("GET", "/v2/models/adder").json == {
        "name": "adder",
        "versions": ["1.10.0"],
        "platform": "onnxruntime_onnx",
        "inputs": [{"name": "x", "datatype": "FP32", "shape": [-1, 4]}],
        "outputs": [
            {"name": "score", "datatype": "FP32", "shape": [-1]},
            {"name": "label", "datatype": "INT64", "shape": [-1]},
        ],
        "properties": {"execution_providers": "CPUExecutionProvider", "threads_per_request": "1"},
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


# ---------------------------------------------------------------- what is wrong (most of it: tests/cases/v2)

GOOD_BODY = json.dumps({"inputs": [ROW]}).encode()
BAD: Mapping[str, tuple[int, tuple[str, ...], bytes]] = {
    "body too large": (413, ("body", "100000"), b" " * 100001),
    "deep lists": (400, ("$.inputs[0]",), b'{"inputs": ' + b"[" * 40000 + b"]" * 40000 + b"}"),
    "deep data": (400, ("deep",), b'{"inputs": [{"name": "x", "data": ' + b"[" * 40000 + b"]" * 40000 + b"}]}"),
    "deep parameters": (
        400, ("deep",), b'{"parameters": ' + b'{"a":' * 15000 + b"1" + b"}" * 15000 + b', "inputs": []}',
    ),
    "compressed": (400, ("request",), gzip.compress(GOOD_BODY)),
}  # fmt: skip


@pytest.mark.parametrize(("status", "says", "body"), BAD.values(), ids=BAD.keys())
def test_a_body_too_unwieldy_for_the_table_gets_its_status_too(
    server: Server, status: int, says: tuple[str, ...], body: bytes
) -> None:
    reply = server.ask("POST", "/v2/models/adder/infer", body, JSON)
    assert reply.status == status, reply.body
    assert list(reply.json) == ["error"]
    for part in says:
        assert part in reply.json["error"]


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
