"""Explanations of pictures, texts and sounds over HTTP, asked of a real server about models of the committed builder."""

from __future__ import annotations

import json
import struct
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import helper, numpy_helper

from examples.models.rows import digits
from tests.edge import graphs
from tests.edge.devices import Server, place, serving

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

EXAMPLES = Path(__file__).parents[2] / "examples"
PATIENCE = 10_000
"""Milliseconds that an explanation may take where its deadline is not the question."""
QUIET_END = """
    ends (float[N, 600] sound) => (float[N] loudness)
    <int64[1] starts = {400}, int64[1] ends = {600}, int64[1] axes = {1}>
    {
        end = Slice (sound, starts, ends, axes)
        loudness = ReduceL1 <axes = [1], keepdims = 0> (end)
    }"""
"""Looks at the last third of a sound alone."""


def artifact(model: str, version: str, tier: str) -> bytes:
    """A file of the builder, by its index."""
    index = json.loads((EXAMPLES / "models/index.json").read_bytes())
    [found] = [
        one for one in index["variants"] if (one["model"], one["version"], one["tier"]) == (model, version, tier)
    ]
    path = EXAMPLES / "artifacts/sha256" / str(found["digest"]).removeprefix("sha256:")
    return path.read_bytes()


def taking_pictures(flat: bytes, shape: tuple[int, ...]) -> bytes:
    """The same model for inputs of that shape, batch apart, instead of 64 values in a row."""
    model = onnx.load_from_string(flat)
    [source] = model.graph.input
    name = source.name
    model.graph.initializer.append(numpy_helper.from_array(np.array([-1, 64], np.int64), "to_a_row"))
    for node in model.graph.node:
        node.input[:] = ["in_a_row" if one == name else one for one in node.input]
    model.graph.node.insert(0, helper.make_node("Reshape", [name, "to_a_row"], ["in_a_row"]))
    source.CopyFrom(helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, ["N", *shape]))
    content: bytes = model.SerializeToString()
    return content


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    root = tmp_path_factory.mktemp("explain")
    flat = artifact("digits", "2.1.0", "standard")
    models = {
        "flat": flat,
        "channels-first": taking_pictures(flat, (1, 8, 8)),
        "channels-last": taking_pictures(flat, (8, 8, 1)),
        "claims": artifact("claims", "1.0.0", "standard"),
        "loudness": graphs.onnx_bytes(QUIET_END),
        "slow": graphs.slow(0.5, 2000),
    }
    for name, content in models.items():
        place(root / "models", name, "1.0.0", content)
    with serving(root / "models", root / "log", "--threads-per-request", "1") as running:
        for name in models:
            running.wait_ready(name)
        yield running
        assert running.stop() == 0
        assert "Traceback" not in (root / "log").read_text()


def tensor(name: str, array: NDArray[np.float32]) -> dict[str, Any]:
    return {"name": name, "shape": list(array.shape), "datatype": "FP32", "data": array.ravel().tolist()}


def explain(server: Server, model: str, *inputs: dict[str, Any], **parameters: Any) -> Any:  # noqa: ANN401 - any JSON
    parameters = {"deadline_ms": PATIENCE} | parameters
    body = json.dumps({"inputs": list(inputs), "parameters": parameters}).encode()
    reply = server.ask("POST", f"/v2/models/{model}/explain", body)
    return reply.json | {"status": reply.status}


def by_hand(picture: NDArray[np.float32], column: int) -> list[float]:
    """How far the chance of a digit falls with each quarter of the picture grey: onnxruntime itself, no code of ours."""
    session = onnxruntime.InferenceSession(artifact("digits", "2.1.0", "standard"))
    pictures = np.stack([picture] * 5)
    for place_, (top, left) in enumerate(((0, 0), (0, 4), (4, 0), (4, 4)), start=1):
        pictures[place_, top : top + 4, left : left + 4] = picture.mean()
    [chances] = session.run(["probabilities"], {"image": pictures.reshape(5, 64)})
    return [float(chances[0, column] - chances[place_, column]) for place_ in range(1, 5)]


@pytest.mark.parametrize(
    ("model", "shape", "parameters"),
    [
        ("channels-first", (1, 1, 8, 8), {}),
        ("channels-last", (1, 8, 8, 1), {}),
        ("flat", (1, 64), {"shapes": {"image": [8, 8]}}),
        ("flat", (1, 64), {"shapes": {"image": [1, 8, 8, 1]}}),
    ],
)
def test_a_picture_is_explained_by_its_patches_whatever_the_shape_that_the_model_wants(
    server: Server, model: str, shape: tuple[int, ...], parameters: dict[str, Any]
) -> None:
    picture = digits().held_out.pixels[17].astype(np.float32).reshape(8, 8)
    sent = tensor("image", picture.reshape(shape))
    digit = int(digits().held_out.digit[17])
    told = explain(server, model, sent, output="probabilities", column=digit, parts=4, **parameters)
    assert (told["status"], told["output"], told["column"], told["complete"]) == (200, "probabilities", digit, True)
    [found] = told["explanations"]
    assert (found["method"], found["modality"], found["inputs"]) == ("occlusion", "image", ["image"])
    places = [(one["top"], one["left"], one["bottom"], one["right"]) for one in found["contributions"]]
    assert places == [(0, 0, 4, 4), (0, 4, 4, 8), (4, 0, 8, 4), (4, 4, 8, 8)]
    assert [one["value"] for one in found["contributions"]] == pytest.approx(by_hand(picture, digit), abs=1e-5)
    assert told["reference"] == {}


def test_a_picture_as_binary_tensor_is_explained_alike(server: Server) -> None:
    picture = digits().held_out.pixels[3].astype(np.float32)
    as_json = explain(server, "channels-first", tensor("image", picture.reshape(1, 1, 8, 8)), parts=16)
    sent = {"name": "image", "shape": [1, 1, 8, 8], "datatype": "FP32", "parameters": {"binary_data_size": 256}}
    head = json.dumps({"inputs": [sent], "parameters": {"parts": 16, "deadline_ms": PATIENCE}}).encode()
    headers = {"inference-header-content-length": str(len(head)), "content-type": "application/octet-stream"}
    reply = server.ask("POST", "/v2/models/channels-first/explain", head + picture.tobytes(), headers)
    assert reply.json["explanations"] == as_json["explanations"]
    assert len(reply.json["explanations"][0]["contributions"]) == 16


def test_of_a_picture_and_a_claim_both_are_explained_or_the_one_that_was_named(server: Server) -> None:
    place_ = next(place for place, digit in enumerate(digits().held_out.digit) if digit == 7)
    image = tensor("image", digits().held_out.pixels[place_].astype(np.float32).reshape(1, 64))
    claim = {"name": "claim", "shape": [1], "datatype": "BYTES", "data": ["this is not a seven"]}
    told = explain(server, "claims", image, claim, shapes={"image": [8, 8]}, parts=16)
    by_input = {one["inputs"][0]: one for one in told["explanations"]}
    assert {name: (one["method"], one["modality"]) for name, one in by_input.items()} == {
        "image": ("occlusion", "image"), "claim": ("occlusion", "text"),
    }  # fmt: skip
    words = {one["word"]: one["value"] for one in by_input["claim"]["contributions"]}
    assert list(words) == ["this", "is", "not", "a", "seven"]
    assert words["this"] == words["is"] == words["a"] == 0, "the model knows digits and negations"
    assert words["not"] < -0.5, "without it the claim would be true"
    alone = explain(server, "claims", image, claim, inputs=["claim"])
    assert [one["inputs"] for one in alone["explanations"]] == [["claim"]]
    assert alone["explanations"][0]["contributions"] == by_input["claim"]["contributions"]


def test_a_text_as_binary_tensor_is_explained_and_one_without_a_word_has_no_parts(server: Server) -> None:
    pixels = digits().held_out.pixels[0].astype(np.float32)
    for text, words in (("É sept\u00a0seven", ["É", "sept", "seven"]), ("", [])):
        content = text.encode()
        inputs = [
            {"name": "claim", "shape": [1], "datatype": "BYTES", "parameters": {"binary_data_size": 4 + len(content)}},
            tensor("image", pixels.reshape(1, 64)),
        ]
        head = json.dumps({"inputs": inputs, "parameters": {"inputs": ["claim"], "deadline_ms": PATIENCE}}).encode()
        headers = {"inference-header-content-length": str(len(head)), "content-type": "application/octet-stream"}
        body = head + struct.pack("<I", len(content)) + content
        told = server.ask("POST", "/v2/models/claims/explain", body, headers).json
        assert [one["word"] for found in told["explanations"] for one in found["contributions"]] == words
        assert told["complete"]


def test_of_a_sound_the_stretch_that_counts_is_found(server: Server) -> None:
    sound = np.ones((1, 600), np.float32)
    told = explain(server, "loudness", tensor("sound", sound), parts=3)
    [found] = told["explanations"]
    assert (found["method"], found["modality"]) == ("occlusion", "signal")
    assert [(one["from"], one["to"], one["value"]) for one in found["contributions"]] == [
        (0, 200, 0), (200, 400, 0), (400, 600, 200),
    ]  # fmt: skip


def test_a_deadline_ends_a_run_in_its_midst(server: Server) -> None:
    """One evaluation takes seconds here. Afterwards the model answers the next one, so its thread is free."""
    sent = {"name": "x", "shape": [1], "datatype": "FP32", "data": [1.0]}
    for _ in range(3):
        told = explain(server, "slow", sent, deadline_ms=20)
        assert told["status"] == 504
        assert "within 20 ms" in told["error"]
    assert explain(server, "loudness", tensor("sound", np.ones((1, 600), np.float32)))["status"] == 200


@pytest.mark.parametrize(
    ("parameters", "says"),
    [
        ({"inputs": []}, "inputs is empty"),
        ({"inputs": ["picture"]}, 'no input "picture", expected one of "image"'),
        ({"inputs": "image"}, "inputs"),
        ({"shapes": {"picture": [8, 8]}}, 'no input "picture"'),
        ({"shapes": {"image": [8]}}, "expected 2 to 16 sizes"),
        ({"shapes": {"image": [0, 64]}}, "expected 2 to 16 sizes"),
        ({"shapes": {"image": [8, 9]}}, "a picture of shape [8, 9], expected 64 values"),
        ({"shapes": {"image": [2**62, 2**62]}}, "expected 64 values"),
        ({"shapes": {"image": [8, 8]}, "reference": {"image": [0.0] * 64}}, "reference values are for tables only"),
    ],
)
def test_what_cannot_be_a_picture_is_refused(server: Server, parameters: dict[str, Any], says: str) -> None:
    told = explain(server, "flat", tensor("image", np.zeros((1, 64), np.float32)), **parameters)
    assert (told["status"], says in told["error"]) == (400, True), told
