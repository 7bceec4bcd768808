"""The table of V2 cases in tests/cases/v2, told over HTTP and gRPC against one real server process."""

from __future__ import annotations

import json
import struct
from pathlib import Path
from typing import TYPE_CHECKING, Any

import grpc
import numpy as np
import pytest
import yaml
from google.protobuf import json_format

from tests.edge import graphs
from tests.edge.devices import Server, activate, place, serving, wait_until
from trimtab_edge.serving.grpc import open_inference_pb2 as pb

if TYPE_CHECKING:
    from collections.abc import Iterator

CASES = Path(__file__).parents[1] / "cases" / "v2"
LENGTH = "inference-header-content-length"
FIELDS = {
    "note", "steps", "path", "method", "headers", "json", "text", "hex", "binary", "rpc", "request", "raw", "message", "expect",
}  # fmt: skip
EXPECTED = {
    "status",
    "code",
    "json",
    "response",
    "says",
    "headers",
    "trailers",
    "binary",
    "raw",
    "has",
    "lacks",
    "without",
}


def table() -> Iterator[tuple[str, dict[str, Any]]]:
    for file in sorted(CASES.glob("*.yaml")):
        for case in yaml.safe_load(file.read_text("utf-8")):
            yield f"{file.stem}: {case['note']}", case


TABLE = dict(table())


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    repository = tmp_path_factory.mktemp("models")
    place(repository, "adder", "1.9.0", graphs.adder(9.0))
    place(repository, "adder", "1.10.0", graphs.adder(0.5))
    place(repository, "loose", "1.0.0", graphs.adder(0.5))
    place(repository, "pair", "1.0.0", graphs.pair())
    place(repository, "picker", "1.0.0", graphs.picker())
    place(repository, "broken", "1.0.0", b"not a model")
    place(repository, "ordered", "1.0.0", graphs.adder(0.5))
    place(repository, "ordered", "2.0.0", graphs.adder(9.0))
    activate(repository, "ordered", "1.0.0", None)
    for datatype in graphs.ELEMENT:
        place(repository, f"identity-{datatype.lower()}", "1.0.0", graphs.identity(datatype))
    log = tmp_path_factory.mktemp("log") / "serve.log"
    with serving(repository, log, "--max-body-bytes", "100000", "--grpc-port", "0") as running:
        running.wait_ready("picker")
        wait_until(lambda: running.readiness("broken").json.get("state") == "FAILED")
        yield running
        assert running.stop() == 0
        assert "Traceback" not in log.read_text()
        assert " ERROR " not in log.read_text().replace("ERROR trimtab.serve: broken 1.0.0 does not answer", "")


@pytest.fixture(scope="module")
def channel(server: Server) -> Iterator[grpc.Channel]:
    with grpc.insecure_channel(server.grpc_address) as made:
        yield made


def test_the_table_is_large_and_says_good_and_bad_of_both_transports() -> None:
    steps = [step for case in TABLE.values() for step in case.get("steps", [case])]
    kinds = {
        (over, good): sum(1 for step in steps if over in step and (step["expect"].get(key) == value) is good)
        for over, key, value in (("path", "status", 200), ("rpc", "code", "OK"))
        for good in (True, False)
    }
    assert len(TABLE) >= 120
    assert min(kinds.values()) >= 20, kinds


def test_no_case_says_what_nobody_checks() -> None:
    """A misspelt field would be an expectation that always holds."""
    for name, case in TABLE.items():
        for step in case.get("steps", [case]):
            assert step.keys() <= FIELDS, name
            assert step["expect"].keys() <= EXPECTED, name


@pytest.mark.parametrize("case", TABLE.values(), ids=TABLE.keys())
def test_a_case_of_the_table(server: Server, channel: grpc.Channel, case: dict[str, Any]) -> None:
    for step in case.get("steps", [case]):
        if "rpc" in step:
            tell_grpc(channel, step)
        else:
            tell_http(server, step)


def tell_http(server: Server, case: dict[str, Any]) -> None:
    headers = dict(case.get("headers", {}))
    body = json.dumps(case["json"]).encode() if "json" in case else None
    if "text" in case:
        body = case["text"].encode()
    if "hex" in case:
        body = bytes.fromhex(case["hex"])
    if "binary" in case:
        assert body is not None
        headers.setdefault(LENGTH, str(len(body)))
        body += b"".join(map(contents, case["binary"]))
    method = case.get("method", "GET" if body is None else "POST")
    if body is not None:
        headers.setdefault("content-type", "application/json")
    reply = server.ask(method, case["path"], body, headers)
    expected = case["expect"]
    assert reply.status == expected["status"], reply.body
    assert reply.headers["content-length"] == str(len(reply.body)) or method == "HEAD"
    for name, value in expected.get("headers", {}).items():
        assert reply.headers.get(name) == value
    length = int(reply.headers.get(LENGTH, len(reply.body)))
    tail = reply.body[length:]
    got: Any = json.loads(reply.body[:length]) if method != "HEAD" else None
    if "says" in expected:
        assert list(got) == ["error"]
        assert "\n" not in got["error"]
        check_says(got["error"], expected["says"])
    if "json" in expected:
        assert holds(expected["json"], got), got
    check_list(expected, got)
    for name in expected.get("without", ()):
        assert name not in got
    assert (LENGTH in reply.headers) is bool("binary" in expected or tail)
    if "binary" in expected:
        assert tail == b"".join(map(contents, expected["binary"]))


def tell_grpc(channel: grpc.Channel, case: dict[str, Any]) -> None:
    rpc, expected = case["rpc"], case["expect"]
    if "message" in case:
        sent = bytes.fromhex(case["message"])
    else:
        request = json_format.ParseDict(case["request"], getattr(pb, f"{rpc}Request")())
        if "raw" in case:
            request.raw_input_contents.extend(map(contents, case["raw"]))
        sent = request.SerializeToString()
    # Bytes in, bytes out: the types of grpc's stubs do not know that both serializers may be absent.
    call: Any = channel.unary_unary(f"/inference.GRPCInferenceService/{rpc}")
    future = call.future(sent, timeout=30)
    failure = future.exception()
    assert future.code().name == expected["code"], future.details()
    if failure is not None:
        check_says(future.details(), expected.get("says", ()))
        assert dict(future.trailing_metadata()).items() >= expected.get("trailers", {}).items()
        assert expected["code"] == "UNIMPLEMENTED" or "says" in expected
        return
    message = getattr(pb, f"{rpc}Response").FromString(future.result())
    got = json_format.MessageToDict(message, always_print_fields_with_no_presence=True)
    if "response" in expected:
        assert holds(expected["response"], got), got
    check_list(expected, got.get("models"))
    for name in expected.get("without", ()):
        assert name not in json_format.MessageToDict(message)
    if "raw" in expected:
        assert list(message.raw_output_contents) == [contents(tensor) for tensor in expected["raw"]]


def check_says(error: str, parts: list[str]) -> None:
    for part in parts:
        assert part in error


def check_list(expected: dict[str, Any], got: Any) -> None:  # noqa: ANN401 - any JSON
    for entry in expected.get("has", ()):
        assert any(holds(entry, found) for found in got), got
    for entry in expected.get("lacks", ()):
        assert not any(holds(entry, found) for found in got), got


def holds(expected: object, got: object) -> bool:
    """Whether ``got`` has every field of ``expected``, at every depth; lists have the same length."""
    if isinstance(expected, dict):
        return isinstance(got, dict) and all(
            name in got and holds(value, got[name]) for name, value in expected.items()
        )
    if isinstance(expected, list):
        return isinstance(got, list) and len(expected) == len(got) and all(map(holds, expected, got))
    if isinstance(expected, float) and isinstance(got, float):
        # Protobuf's JSON writes the shortest text of a single-precision number.
        return expected == got or bool(np.float32(expected) == np.float32(got))
    if isinstance(expected, bool) or isinstance(got, bool):
        return expected is got
    return expected == got


CODES = {
    "BOOL": "?", "UINT8": "B", "UINT16": "H", "UINT32": "I", "UINT64": "Q", "INT8": "b", "INT16": "h", "INT32": "i", "INT64": "q",
    "FP16": "e", "FP32": "f", "FP64": "d",
}  # fmt: skip


def contents(tensor: dict[str, Any]) -> bytes:
    """The bytes of a tensor as the protocol writes them; made without the code under test."""
    if "hex" in tensor:
        return bytes.fromhex(tensor["hex"])
    datatype, values = tensor["datatype"], tensor["values"]
    if datatype == "BYTES":
        texts = [value.encode() for value in values]
        return b"".join(struct.pack("<I", len(text)) + text for text in texts)
    if datatype == "BF16":  # values of the table have no bits below the upper half
        return b"".join(struct.pack("<f", value)[2:] for value in values)
    return struct.pack(f"<{len(values)}{CODES[datatype]}", *values)
