"""The onnxruntime session that peers share: one thread and no spinning, which their own users would have to know of.

``BENCH_SESSION=defaults`` takes onnxruntime's own choice instead. No tensor is checked, nothing is counted.
"""

from __future__ import annotations

import os
from typing import Any

import numpy as np
import onnxruntime

NAME = "bench"
TYPES = {"float32": "FP32", "int64": "INT64"}


def open_session() -> Any:  # noqa: ANN401 - onnxruntime ships no types
    """The session of the file BENCH_MODEL."""
    options = onnxruntime.SessionOptions()
    if os.environ.get("BENCH_SESSION") != "defaults":
        options.intra_op_num_threads = 1
        options.inter_op_num_threads = 1
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    return onnxruntime.InferenceSession(os.environ["BENCH_MODEL"], options, providers=["CPUExecutionProvider"])


def answer(session: Any, inputs: list[dict[str, Any]]) -> dict[str, Any]:  # noqa: ANN401 - likewise
    """The V2 answer to the V2 inputs of one tensor, for servers that know no V2 themselves."""
    tensor = inputs[0]
    x = np.array(tensor["data"], np.float32).reshape(tensor["shape"])
    names = [output.name for output in session.get_outputs()]
    found = zip(names, session.run(names, {"x": x}), strict=True)
    outputs = [
        {"name": name, "shape": list(y.shape), "datatype": TYPES[str(y.dtype)], "data": y.ravel().tolist()}
        for name, y in found
    ]
    return {"model_name": NAME, "outputs": outputs}
