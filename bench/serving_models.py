"""Models for ``bench serving``, built here from fixed seeds, and the requests for them. They are made for the bench and are no products.

Each takes one tensor ``x`` (FP32) and costs little or much by construction: what is left of a request is the server's.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from decimal import Decimal
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
from onnx import TensorProto, helper, numpy_helper

from trimtab_kernel.desired import Alignment, Cohort, alignment_json

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    _Output = tuple[str, int, list[str | int]]
    """Name, type and shape."""

_HIDDEN = 1216
_OPSET, _IR = 17, 8  # loaded by every onnxruntime since 2022


@dataclass(frozen=True, slots=True)
class BenchModel:
    """One model: ``content`` is the file, ``example`` the tensor of every request, ``description`` its model.yaml or nothing."""

    name: str
    content: bytes
    example: NDArray[np.float32]
    description: bytes


def tiny() -> BenchModel:
    """FP32 [N, 4] to a score and a label for each row; attribute and outcome are declared, so that cohorts are counted."""
    weights = _weights(1, (4, 1), 1.0)
    nodes = [
        helper.make_node("MatMul", ["x", "w"], ["total"]),
        helper.make_node("Sigmoid", ["total"], ["chances"]),
        helper.make_node("Reshape", ["chances", "flat"], ["score"]),
        helper.make_node("Greater", ["score", "half"], ["above"]),
        helper.make_node("Cast", ["above"], ["label"], to=TensorProto.INT64),
    ]
    constants: dict[str, NDArray[Any]] = {
        "w": weights,
        "flat": np.array([-1], np.int64),
        "half": np.array([0.5], np.float32),
    }
    outputs: list[_Output] = [("score", TensorProto.FLOAT, ["N"]), ("label", TensorProto.INT64, ["N"])]
    cohorts = (Cohort("one", value=Decimal(1)), Cohort("two", value=Decimal(2)))
    declared = json.dumps({"alignment": alignment_json(Alignment("x", 0, cohorts, "label", Decimal(1)))}).encode()
    return BenchModel(
        "tiny",
        _file("tiny", nodes, constants, ["N", 4], outputs),
        np.array([[1.0, 0.25, -0.5, 2.0]], np.float32),
        declared,
    )


def picture() -> BenchModel:
    """FP32 [N, 3, 224, 224] (602,112 bytes for one row) to ten scores, by a mean over each channel: cheap, so transport shows."""
    nodes = [
        helper.make_node("GlobalAveragePool", ["x"], ["means"]),
        helper.make_node("Flatten", ["means"], ["flat"]),
        helper.make_node("MatMul", ["flat", "w"], ["y"]),
    ]
    outputs: list[_Output] = [("y", TensorProto.FLOAT, ["N", 10])]
    example = np.random.default_rng(2).random((1, 3, 224, 224), np.float32)
    content = _file("picture", nodes, {"w": _weights(3, (3, 10), 1.0)}, ["N", 3, 224, 224], outputs)
    return BenchModel("picture", content, example, b"")


def perceptron() -> BenchModel:
    """An MLP of 12 MB: FP32 [N, 16], three hidden layers of 1,216, four scores."""
    sizes = [16, _HIDDEN, _HIDDEN, _HIDDEN, 4]
    nodes, constants, at = [], {}, "x"
    for layer, (rows, columns) in enumerate(pairwise(sizes)):
        constants[f"w{layer}"] = _weights(10 + layer, (rows, columns), rows**-0.5)
        nodes.append(helper.make_node("MatMul", [at, f"w{layer}"], [f"h{layer}"]))
        nodes.append(helper.make_node("Relu", [f"h{layer}"], [f"a{layer}"]))
        at = f"a{layer}"
    nodes[-1] = helper.make_node("Identity", [f"h{len(sizes) - 2}"], ["y"])
    outputs: list[_Output] = [("y", TensorProto.FLOAT, ["N", 4])]
    example = np.random.default_rng(20).random((1, 16), np.float32)
    return BenchModel("perceptron", _file("perceptron", nodes, constants, ["N", 16], outputs), example, b"")


def json_body(model: BenchModel) -> bytes:
    """The V2 request in JSON."""
    x = model.example
    tensor = {"name": "x", "shape": list(x.shape), "datatype": "FP32", "data": x.ravel().tolist()}
    return json.dumps({"inputs": [tensor]}, separators=(",", ":")).encode()


def binary_body(model: BenchModel) -> tuple[bytes, int]:
    """The V2 request with its tensor as bytes, and the length of the JSON before them; the answer is asked for in JSON."""
    x = model.example
    parameters = {"binary_data_size": x.nbytes}
    tensor = {"name": "x", "shape": list(x.shape), "datatype": "FP32", "parameters": parameters}
    head = json.dumps({"inputs": [tensor]}, separators=(",", ":")).encode()
    return head + x.tobytes(), len(head)


def _weights(seed: int, shape: tuple[int, ...], scale: float) -> NDArray[np.float32]:
    drawn = np.random.default_rng(seed).standard_normal(shape, np.float32)
    return (drawn * np.float32(scale)).astype(np.float32)


def _file(
    name: str,
    nodes: Sequence[Any],
    constants: dict[str, NDArray[Any]],
    shape: Sequence[str | int],
    outputs: Sequence[_Output],
) -> bytes:
    graph = helper.make_graph(
        list(nodes),
        name,
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, list(shape))],
        [helper.make_tensor_value_info(output, kind, list(dims)) for output, kind, dims in outputs],
        [numpy_helper.from_array(value, key) for key, value in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", _OPSET)], ir_version=_IR)
    content: bytes = model.SerializeToString()
    return content
