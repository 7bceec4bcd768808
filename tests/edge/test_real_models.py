"""Models that others made, as they ship in wheels, served: bit for bit what onnxruntime itself answers.

magika tells types of files by their bytes, silero-vad tells speech from its absence. Both are taken from an environment of
their own (`tools/peers models`), files alone: none of their code runs here.
"""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import onnxruntime
import pytest

from tests.edge.devices import Server, place, serving

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from numpy.typing import NDArray

ROOT = Path(__file__).parents[2]
DATATYPES = {"int32": "INT32", "int64": "INT64", "float32": "FP32"}
PADDING = 256
"""magika's token beyond the end of a file."""

pytestmark = [pytest.mark.timeout(300)]


@pytest.fixture(scope="module")
def packages() -> Path:
    """Where the wheels are unpacked; made here where it is not there yet."""
    made = subprocess.run(
        ["sh", "tools/peers", "models"], cwd=ROOT, capture_output=True, text=True, timeout=240, check=False
    )
    if made.returncode:
        pytest.skip(f"needs an environment with the models: {made.stderr.strip().splitlines()[-1]}")
    [found] = (ROOT / ".peers/models/lib").glob("python*/site-packages")
    return found


@pytest.fixture(scope="module")
def files(packages: Path) -> dict[str, Path]:
    [magika] = (packages / "magika/models").glob("standard_*/model.onnx")
    return {"magika": magika, "silero": packages / "silero_vad/data/silero_vad.onnx"}


@pytest.fixture(scope="module")
def server(files: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    repository = tmp_path_factory.mktemp("models")
    for name, path in files.items():
        place(repository, name, "1.0.0", path.read_bytes())
    with serving(
        repository, tmp_path_factory.mktemp("log") / "serve.log", "--threads-per-request", "1", "--grpc-port", "0"
    ) as running:
        for name in files:
            running.wait_ready(name)
        yield running
        assert running.stop() == 0


def itself(path: Path, feeds: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
    """onnxruntime's own answer, under the options that the server runs a session with."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.execution_mode = onnxruntime.ExecutionMode.ORT_SEQUENTIAL
    for name in ("intra", "inter"):
        options.add_session_config_entry(f"session.{name}_op.allow_spinning", "0")
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    return dict(zip(names, session.run(names, dict(feeds)), strict=True))


def served(server: Server, model: str, feeds: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
    """The server's answer, with binary tensors both ways."""
    inputs = [
        {
            "name": name, "datatype": DATATYPES[array.dtype.name], "shape": list(array.shape),
            "parameters": {"binary_data_size": array.nbytes},
        }
        for name, array in feeds.items()
    ]  # fmt: skip
    head = json.dumps({"inputs": inputs, "parameters": {"binary_data_output": True}}).encode()
    body = head + b"".join(array.tobytes() for array in feeds.values())
    reply = server.ask(
        "POST", f"/v2/models/{model}/infer", body,
        {"inference-header-content-length": str(len(head)), "content-type": "application/octet-stream"},
    )  # fmt: skip
    assert reply.status == 200, reply.body[:500]
    length = int(reply.headers["inference-header-content-length"])
    found, at = {}, length
    for tensor in json.loads(reply.body[:length])["outputs"]:
        size = tensor["parameters"]["binary_data_size"]
        dtype = next(kind for kind, datatype in DATATYPES.items() if datatype == tensor["datatype"])
        found[tensor["name"]] = np.frombuffer(reply.body[at : at + size], dtype).reshape(tensor["shape"])
        at += size
    return found


def same(one: Mapping[str, NDArray[Any]], other: Mapping[str, NDArray[Any]]) -> bool:
    return one.keys() == other.keys() and all(
        one[name].shape == other[name].shape and one[name].tobytes() == other[name].tobytes() for name in one
    )


def features(content: bytes) -> NDArray[np.int32]:
    """The first and the last 1,024 bytes without blanks around, as magika's configuration says."""
    half = 1024
    first, last = content[: 4 * half].lstrip()[:half], content[-4 * half :].rstrip()[-half:]
    row = [*first, *[PADDING] * (half - len(first)), *[PADDING] * (half - len(last)), *last]
    return np.array([row], np.int32)


SAMPLES = {
    "python": (ROOT / "tests/edge/test_tls.py").read_bytes(),
    "markdown": (ROOT / "README.md").read_bytes(),
    "shell": (ROOT / "tools/peers").read_bytes() * 3,
    "yaml": (ROOT / "examples/fleet/models/digits.yaml").read_bytes(),
}


def test_types_of_files_are_told_as_onnxruntime_tells_them_and_rightly(
    server: Server, files: dict[str, Path], packages: Path
) -> None:
    del packages
    labels = json.loads((files["magika"].parent / "config.min.json").read_bytes())["target_labels_space"]
    for expected, content in SAMPLES.items():
        feeds = {"bytes": features(content)}
        answer = served(server, "magika", feeds)
        assert same(answer, itself(files["magika"], feeds))
        assert labels[int(answer["target_label"].argmax())] == expected


def test_a_stream_of_sound_is_told_chunk_by_chunk_with_its_state(server: Server, files: dict[str, Path]) -> None:
    """64 ms of silence, a tone, and noise at 16 kHz: the state that comes back goes into the next request."""
    rate, size = 16_000, 512
    moments = np.arange(size) / rate
    noise = np.random.default_rng(0).normal(0, 0.1, (4, size))
    chunks = [np.zeros(size), np.zeros(size), *(np.sin(2 * np.pi * f * moments) for f in (120, 220, 440)), *noise]
    state = np.zeros((2, 1, 128), np.float32)
    context = np.zeros((1, 64), np.float32)
    speech = []
    for chunk in chunks:
        sound = np.concatenate([context, chunk[None].astype(np.float32)], axis=1)
        feeds = {"input": sound, "state": state, "sr": np.array(rate, np.int64)}
        answer = served(server, "silero", feeds)
        assert same(answer, itself(files["silero"], feeds))
        state, context = answer["stateN"], sound[:, -64:]
        speech.append(float(answer["output"].item()))
    assert max(speech[:2]) < 0.1
    assert all(0 <= chance <= 1 for chance in speech)


def test_a_sound_is_explained_by_its_stretches_while_state_and_rate_stay(server: Server) -> None:
    """Without the sampling rate the model does not run, so only the sound may be changed."""
    sound = np.zeros((1, 576), np.float32)
    sound[0, 288:] = np.random.default_rng(0).normal(0, 0.3, 288)
    inputs = [
        {"name": "input", "datatype": "FP32", "shape": [1, 576], "data": sound.ravel().tolist()},
        {"name": "state", "datatype": "FP32", "shape": [2, 1, 128], "data": [0.0] * 256},
        {"name": "sr", "datatype": "INT64", "shape": [], "data": [16_000]},
    ]

    def explain(**parameters: object) -> Any:  # noqa: ANN401 - a JSON body
        body = json.dumps({"inputs": inputs, "parameters": {"deadline_ms": 10_000} | parameters}).encode()
        reply = server.ask("POST", "/v2/models/silero/explain", body)
        return reply.json | {"status": reply.status}

    told = explain(inputs=["input"], parts=2, output="output")
    [found] = told["explanations"]
    assert (found["method"], found["modality"], found["complete"]) == ("occlusion", "signal", True)
    silent, loud = (one["value"] for one in found["contributions"])
    assert silent == 0, "silence taken away is silence"
    assert loud != 0
    without = explain(inputs=["sr"], output="output")
    assert without["status"] == 400
    assert "name the inputs that may be changed" in without["error"]


def test_what_the_models_are_is_told_by_the_server(server: Server) -> None:
    [source] = server.ask("GET", "/v2/models/magika").json["inputs"]
    assert (source["name"], source["datatype"], source["shape"]) == ("bytes", "INT32", [-1, 2048])
    told = {one["name"]: one for one in server.ask("GET", "/v2/models/silero").json["inputs"]}
    assert told["sr"]["shape"] == []
    assert told["state"]["shape"] == [2, -1, 128]
