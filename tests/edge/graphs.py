"""Tiny ONNX models for tests, built here: nothing is downloaded, and every answer can be worked out by hand."""

from __future__ import annotations

import onnx
from onnx import parser

ELEMENT = {
    "BOOL": "bool",
    "UINT8": "uint8",
    "UINT16": "uint16",
    "UINT32": "uint32",
    "UINT64": "uint64",
    "INT8": "int8",
    "INT16": "int16",
    "INT32": "int32",
    "INT64": "int64",
    "FP16": "float16",
    "BF16": "bfloat16",
    "FP32": "float",
    "FP64": "double",
    "BYTES": "string",
}
"""V2 datatypes and ONNX's words for them."""


def onnx_bytes(graph: str) -> bytes:
    """The file of a graph in ONNX's textual syntax, in an IR and opset that every onnxruntime since 2022 loads."""
    content: bytes = parser.parse_model(f'<ir_version: 8, opset_import: ["" : 17]>\n{graph}').SerializeToString()
    return content


def adder(bias: float) -> bytes:
    """``score = sum(x) + bias`` and ``label = score > 10`` per row of ``x`` (FP32 [N, 4])."""
    return onnx_bytes(f"""
        adder (float[N, 4] x) => (float[N] score, int64[N] label)
        <float[4, 1] ones = {{1.0, 1.0, 1.0, 1.0}}, float bias = {{{bias}}}, float mark = {{10.0}}, int64[1] flat = {{-1}}>
        {{
            total = MatMul (x, ones)
            flat_total = Reshape (total, flat)
            score = Add (flat_total, bias)
            above = Greater (score, mark)
            label = Cast <to = 7> (above)
        }}
    """)


def identity(datatype: str) -> bytes:
    """``y = x`` for tensors [N, M] of one V2 datatype."""
    element = ELEMENT[datatype]
    return onnx_bytes(f"identity ({element}[N, M] x) => ({element}[N, M] y) {{ y = Identity (x) }}")


def pair() -> bytes:
    """``total = a + b`` for FP32 [N, 2] of the same N, and ``first = a``."""
    return onnx_bytes("""
        pair (float[N, 2] a, float[N, 2] b) => (float[N, 2] total, float[N, 2] first)
        { total = Add (a, b)
          first = Identity (a) }
    """)


def picker() -> bytes:
    """``y = table[x]``: an index beyond the table (3 rows) makes the model itself fail."""
    return onnx_bytes("""
        picker (int64[N] x) => (float[N] y)
        <float[3] values = {1.0, 2.0, 3.0}>
        { y = Gather (values, x) }
    """)


def slow(bias: float, rounds: int = 400) -> bytes:
    """``y = x + bias`` (FP32 [1]), after so many products of 256 x 256 matrices that it takes a good part of a second."""
    steps = "\n".join(f"m{step + 1} = MatMul (m{step}, m0)" for step in range(rounds))
    return onnx_bytes(f"""
        slow (float[1] x) => (float[1] y)
        <int64[2] size = {{256, 256}}, float bias = {{{bias}}}, int64[2] axes = {{0, 1}}, float none = {{0.0}}>
        {{
            zero = Mul (x, none)
            m0 = Expand (zero, size)
            {steps}
            sum = ReduceSum <keepdims = 0> (m{rounds}, axes)
            moved = Add (x, bias)
            y = Add (moved, sum)
        }}
    """)


def never_runs() -> bytes:
    """Loads, but its first run fails: it reshapes four values to three."""
    return onnx_bytes("""
        never (float[N, 4] x) => (float[N, 3] y)
        <int64[2] wrong = {-1, 3}>
        { y = Reshape (x, wrong) }
    """)


def counter() -> bytes:
    """``y = x + n``, one by one: how long it takes depends on the value of ``n`` (INT64 []) alone; ``x`` is FP32 []."""
    return _turns("int64 n, float x", "")


def endless() -> bytes:
    """Does not answer within any patience, whatever ``x`` (FP32 []) is."""
    return _turns("float x", "int64 n = {9223372036854775807}, ")


def _turns(inputs: str, constants: str) -> bytes:
    return onnx_bytes(f"""
        turns ({inputs}) => (float y)
        <{constants}bool go = {{1}}, float one = {{1.0}}>
        {{
            y = Loop (n, go, x) <body = turn (int64 i, bool on, float v) => (bool on_out, float v_out)
                {{ on_out = Identity (on)
                   v_out = Add (v, one) }}>
        }}
    """)


def with_outside_weights(location: str) -> bytes:
    """``y = x w`` (FP32 [N, 4] to [N, 1]), whose weights are 16 bytes of the file ``location``."""
    model = onnx.load_from_string(
        onnx_bytes(
            "outside (float[N, 4] x) => (float[N, 1] y) <float[4, 1] w = {1.0, 1.0, 1.0, 1.0}> { y = MatMul (x, w) }"
        )
    )
    [weights] = model.graph.initializer
    weights.ClearField("float_data")
    weights.data_location = onnx.TensorProto.EXTERNAL
    for key, value in (("location", location), ("offset", "0"), ("length", "16")):
        weights.external_data.add(key=key, value=value)
    content: bytes = model.SerializeToString()
    return content
