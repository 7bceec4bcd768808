"""tritonclient, unchanged, over HTTP or gRPC: `triton.py http|grpc ADDRESS`, run by the interpreter of .peers/clients."""

from __future__ import annotations

import sys
from typing import Any

import ml_dtypes
import numpy as np
from report import report
from tritonclient.utils import InferenceServerException

if sys.argv[1] == "http":
    import tritonclient.http as triton
else:
    import tritonclient.grpc as triton

HTTP = sys.argv[1] == "http"
client: Any = triton.InferenceServerClient(sys.argv[2])
ROW = np.array([[1, 2, 3, 4]], np.float32)
VALUES = {
    "BOOL": np.array([[True, False]]),
    "UINT8": np.array([[0, 255]], np.uint8),
    "UINT16": np.array([[0, 65535]], np.uint16),
    "UINT32": np.array([[0, 2**32 - 1]], np.uint32),
    "UINT64": np.array([[0, 2**64 - 1]], np.uint64),
    "INT8": np.array([[-128, 127]], np.int8),
    "INT16": np.array([[-32768, 32767]], np.int16),
    "INT32": np.array([[-(2**31), 2**31 - 1]], np.int32),
    "INT64": np.array([[-(2**63), 2**63 - 1]], np.int64),
    "FP16": np.array([[0.5, 65504]], np.float16),
    "BF16": np.array([[0.5, -3.0]], ml_dtypes.bfloat16),
    "FP32": np.array([[0.5, 3e38]], np.float32),
    "FP64": np.array([[0.1, 5e-324]], np.float64),
    "BYTES": np.array([["", "ünïcödé"]], object),
}


def tensor(array: np.ndarray[Any, Any], datatype: str, *, binary: bool = True, name: str = "x") -> Any:  # noqa: ANN401 - the client has no types
    made = triton.InferInput(name, list(array.shape), datatype)
    if HTTP:
        made.set_data_from_numpy(array, binary_data=binary)
    else:
        made.set_data_from_numpy(array)
    return made


def same(got: np.ndarray[Any, Any], sent: np.ndarray[Any, Any], datatype: str) -> None:
    if datatype == "BYTES":
        sent = np.array([[text.encode() for text in row] for row in sent], object)
        got = np.array([[t.encode() if isinstance(t, str) else t for t in row] for row in got], object)
    assert got.shape == sent.shape
    assert (got == sent).all(), (got, sent)


def health_and_metadata() -> None:
    assert client.is_server_live()
    assert client.is_server_ready()
    assert client.is_model_ready("adder")
    assert client.is_model_ready("adder", "1.0.0")
    about = client.get_server_metadata() if HTTP else client.get_server_metadata(as_json=True)
    assert about["name"] == "trimtab-edge"
    model = client.get_model_metadata("adder") if HTTP else client.get_model_metadata("adder", as_json=True)
    assert model["versions"] == ["1.0.0"]
    assert [int(size) for size in model["inputs"][0]["shape"]] == [-1, 4]


def infer_with_id() -> None:
    result = client.infer("adder", [tensor(ROW, "FP32")], request_id="request-7", model_version="1.0.0")
    assert result.as_numpy("score").tolist() == [10.5]
    assert result.as_numpy("label").tolist() == [1]
    answer = result.get_response()
    assert (answer["id"] if HTTP else answer.id) == "request-7"


def requested_outputs() -> None:
    result = client.infer("adder", [tensor(ROW, "FP32")], outputs=[triton.InferRequestedOutput("label")])
    assert result.as_numpy("label").tolist() == [1]
    assert result.as_numpy("score") is None


def many_rows() -> None:
    rows = np.random.default_rng(7).random((37_632, 4), np.float32)
    result = client.infer("adder", [tensor(rows, "FP32")])
    assert np.allclose(result.as_numpy("score"), rows.sum(axis=1) + 0.5)


def json_tensors() -> None:
    """JSON both ways, which over gRPC is what it always was."""
    for datatype, array in VALUES.items():
        if datatype in ("FP16", "BF16"):
            continue  # this client sends them as binary data only
        outputs = [triton.InferRequestedOutput("y", binary_data=False)] if HTTP else None
        result = client.infer(f"identity-{datatype.lower()}", [tensor(array, datatype, binary=False)], outputs=outputs)
        same(result.as_numpy("y"), array, datatype)


def binary_tensors() -> None:
    for datatype, array in VALUES.items():
        result = client.infer(f"identity-{datatype.lower()}", [tensor(array, datatype)])
        same(result.as_numpy("y"), array, datatype)


def json_in_binary_out() -> None:
    outputs = [triton.InferRequestedOutput("y", binary_data=True)] if HTTP else None
    result = client.infer("identity-fp32", [tensor(VALUES["FP32"], "FP32", binary=False)], outputs=outputs)
    same(result.as_numpy("y"), VALUES["FP32"], "FP32")


def parallel_requests() -> None:
    if HTTP:
        pending = [client.async_infer("adder", [tensor(ROW + n, "FP32")]) for n in range(20)]
        scores = [call.get_result().as_numpy("score").item() for call in pending]
    else:
        import queue

        done: queue.Queue[Any] = queue.Queue()
        for n in range(20):
            client.async_infer("adder", [tensor(ROW + n, "FP32")], lambda result, error: done.put(error or result))
        scores = sorted(done.get(timeout=30).as_numpy("score").item() for _ in range(20))
    assert scores == [10.5 + 4 * n for n in range(20)]


def repository() -> None:
    index = client.get_model_repository_index() if HTTP else client.get_model_repository_index(as_json=True)["models"]
    assert {"adder", "loose"} <= {entry["name"] for entry in index}
    client.unload_model("loose")
    assert not client.is_model_ready("loose")
    client.load_model("loose")
    assert client.is_model_ready("loose")


def refusals() -> None:
    def refused(ask: Any, *says: str) -> None:  # noqa: ANN401 - the client has no types
        try:
            ask()
        except InferenceServerException as error:
            said = str(error)
        else:
            said = ""
        assert said, "not refused"
        assert all(part in said for part in says), said

    refused(lambda: client.infer("nothing", [tensor(ROW, "FP32")]), '"nothing"', "no such model")
    refused(lambda: client.infer("adder", [tensor(ROW[:, :3], "FP32")]), 'input "x"', "[-1,4]")
    refused(lambda: client.infer("adder", [tensor(ROW, "FP32", name="z")]), 'input "z"')
    refused(lambda: client.unload_model("ordered"), "active.json")
    refused(lambda: client.load_model("adder", config="{}"), '"config"')
    top = triton.InferRequestedOutput("score", class_count=2)
    refused(lambda: client.infer("adder", [tensor(ROW, "FP32")], outputs=[top]), "classification")


def field_numbers() -> None:
    """The messages that we know have the names and numbers that this client's have."""
    import json
    from pathlib import Path

    from tritonclient.grpc import service_pb2

    ours = json.loads(Path(sys.argv[3]).read_text())
    for message, fields in ours.items():
        kind = service_pb2
        for part in message.split("."):
            kind = getattr(kind, part)
        theirs = {field.name: [field.number, field.type, field.is_repeated] for field in kind.DESCRIPTOR.fields}
        assert fields.items() <= theirs.items(), message


CHECKS = [
    health_and_metadata,
    infer_with_id,
    requested_outputs,
    many_rows,
    json_tensors,
    binary_tensors,
    json_in_binary_out,
    parallel_requests,
    repository,
    refusals,
]
if not HTTP:
    CHECKS.append(field_numbers)
report({check.__name__: check for check in CHECKS})
