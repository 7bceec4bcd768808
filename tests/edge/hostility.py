"""What hostile clients send, as Hypothesis strategies: HTTP requests as bytes, and messages of the gRPC service.

Each is derived from a sound request, so that most of them get past the first check.
"""

from __future__ import annotations

import copy
import json
import random
import struct
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from hypothesis import strategies as st

from trimtab_edge.serving.grpc import open_inference_pb2 as pb
from trimtab_edge.serving.tensors import NUMPY_TYPES

if TYPE_CHECKING:
    from collections.abc import Sequence

ROW: dict[str, Any] = {"name": "x", "shape": [1, 4], "datatype": "FP32", "data": [1, 2, 3, 4]}
SOUND: dict[str, dict[str, Any]] = {
    "adder": {"id": "1", "inputs": [ROW], "outputs": [{"name": "label"}], "parameters": {"binary_data_output": False}},
    "pair": {"inputs": [{"name": n, "shape": [1, 2], "datatype": "FP32", "data": [1, 2]} for n in "ab"]},
    "picker": {"inputs": [{"name": "x", "shape": [2], "datatype": "INT64", "data": [0, 2]}]},
    "texts": {"inputs": [{"name": "x", "shape": [1, 2], "datatype": "BYTES", "data": ["a", "é"]}]},
    "halves": {"inputs": [{"name": "x", "shape": [1, 2], "datatype": "FP16", "data": [0.5, 2]}]},
    "flags": {"inputs": [{"name": "x", "shape": [1, 2], "datatype": "BOOL", "data": [True, False]}]},
}
"""Requests that are answered with 200, by model."""
LENGTH = "Inference-Header-Content-Length"

NUMBERS = st.sampled_from([0, 1, -1, 2, 3, 2**31 - 1, 2**31, 2**32, 2**63 - 1, 2**63, 2**64, -(2**63), 10**30])
SHAPES = st.lists(NUMBERS, max_size=4) | st.lists(NUMBERS, max_size=70) | st.just([1] * 40)
DATATYPES = st.sampled_from(sorted(NUMPY_TYPES)) | st.text(max_size=6)
TEXTS = st.text(max_size=12) | st.sampled_from(["x", "label", "binary_data_size", "../..", "\0", "\ud800", "a" * 5000])
LEAVES = st.one_of(st.none(), st.booleans(), NUMBERS, st.floats(), DATATYPES, TEXTS)
VALUES = st.one_of(
    LEAVES,
    SHAPES,
    st.recursive(
        LEAVES, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXTS, inner, max_size=3), max_leaves=10
    ),
)
MUTATED_FIELDS = ("id", "inputs", "outputs", "parameters", "name", "shape", "datatype", "data", "binary_data_size")


@st.composite
def bodies(draw: st.DrawFn, model: str) -> bytes:
    """A sound body with a few values replaced, added or removed; NaN and Infinity stand in it as Python writes them."""
    document = copy.deepcopy(SOUND[model])
    for _ in range(draw(st.integers(1, 3))):
        at: Any = document
        while True:
            keys: list[Any] = sorted(at) if isinstance(at, dict) else list(range(len(at)))
            strange = draw(st.integers(0, 9)) == 0
            choices: Sequence[Any] = keys if keys and not strange else MUTATED_FIELDS
            key: Any = draw(st.sampled_from(choices))
            below = at[key] if key in keys else None
            if isinstance(below, dict | list) and below and draw(st.integers(0, 4)):
                at = below
                continue
            break
        if isinstance(at, list):
            if key in keys:
                at[key] = copy.deepcopy(draw(VALUES))
            else:
                at.append(copy.deepcopy(draw(VALUES)))
        elif key in keys and draw(st.booleans()) and draw(st.booleans()):
            del at[key]
        else:
            at[key] = copy.deepcopy(draw(VALUES))
    return json.dumps(document, ensure_ascii=draw(st.booleans())).encode("utf-8", "surrogatepass")


@st.composite
def deep_bodies(draw: st.DrawFn, model: str) -> bytes:
    """JSON nested far deeper than any request."""
    depth = draw(st.sampled_from([10, 100, 1_000, 20_000]))
    opening, closing = draw(st.sampled_from([(b"[", b"]"), (b'{"a":', b"}"), (b'{"inputs":[', b"]}"), (b"[[", b"]")]))
    nest = opening * depth + b"1" + (closing * depth if draw(st.booleans()) else b"")
    place = draw(st.sampled_from(["whole", "data", "parameters", "unknown", "shape"]))
    if place == "whole":
        return nest
    document = copy.deepcopy(SOUND[model])
    target = document["inputs"][0] if place in ("data", "shape") else document
    target[place] = "HERE"
    return json.dumps(document).encode().replace(b'"HERE"', nest)


CONTENTS = {
    "adder": struct.pack("<4f", 1, 2, 3, 4),
    "pair": struct.pack("<4f", 1, 2, 3, 4),
    "picker": struct.pack("<2q", 0, 2),
    "texts": struct.pack("<I1sI2s", 1, b"a", 2, "é".encode()),
    "halves": struct.pack("<2e", 0.5, 2),
    "flags": b"\x01\x00",
}


@st.composite
def mangled(draw: st.DrawFn, content: bytes) -> bytes:
    """Bytes cut, lengthened, overwritten, or left alone."""
    at = draw(st.integers(0, len(content)))
    gone = draw(st.sampled_from([0, 0, 1, 4, len(content)]))
    noise = draw(
        st.binary(max_size=12) | st.just(b"\xff" * 8) | st.just(struct.pack("<2f", float("nan"), float("inf")))
    )
    return content[:at] + noise + content[at + gone :]


@st.composite
def binary_bodies(draw: st.DrawFn, model: str) -> tuple[bytes, bytes]:
    """A body with binary tensor data, and what its length header claims; at least one of them may lie."""
    document = copy.deepcopy(SOUND[model])
    content = CONTENTS[model]
    share = len(content) // len(document["inputs"])
    for tensor in document["inputs"]:
        del tensor["data"]
        size = draw(st.sampled_from([share, share, share, share + 1, 0]) | NUMBERS)
        tensor["parameters"] = {"binary_data_size": size}
        if not draw(st.integers(0, 3)):
            tensor["shape"] = draw(SHAPES)
    head = json.dumps(document).encode()
    claims = st.sampled_from([len(head), len(head), len(head), len(head) - 1, len(head) + 1, 0, 2**31, 10**12, -1])
    claim = draw(
        claims.map(lambda number: b"%d" % number) | st.sampled_from([b"", b"x", b"1e3", b"0x10", b"+5", b"\xff"])
    )
    return head + (content if draw(st.integers(0, 2)) else draw(mangled(content))), claim


SEGMENTS = st.sampled_from(
    ["v2", "models", "adder", "pair", "versions", "1.0.0", "infer", "ready", "labels", "explain", "alignment", "metrics",
     "repository", "index", "load", "health", "live", "..", "%2e%2e", "%00", "%ff", "%", "", "a" * 300, "\u00e9"]
)  # fmt: skip
METHODS = st.sampled_from(["GET", "POST", "PUT", "DELETE", "HEAD", "OPTIONS", "PATCH", "TRACE", "PROPFIND"])


@dataclass(frozen=True, slots=True)
class Request:
    """Bytes to send. ``framed``: they are one whole HTTP request, so that a whole response is due on a live connection."""

    content: bytes
    framed: bool
    head: bool = False
    """A response without a body is due."""


def framed(method: str, target: str, body: bytes, *headers: bytes) -> Request:
    """One whole request."""
    lines = [f"{method} {target} HTTP/1.1".encode(), b"host: x", *headers, b"content-length: %d" % len(body)]
    return Request(b"\r\n".join(lines) + b"\r\n\r\n" + body, framed=True, head=method == "HEAD")


@st.composite
def inference(draw: st.DrawFn) -> Request:
    """A request to infer, explain or label that is sound as HTTP and hostile within."""
    model = draw(st.sampled_from(sorted(SOUND)))
    kind = draw(st.sampled_from(["json", "json", "json", "binary", "binary", "deep", "mangled"]))
    verb = draw(st.sampled_from(["infer"] * 8 + ["explain", "labels"]))
    target = f"/v2/models/{model}/{verb}"
    if kind == "binary":
        body, claim = draw(binary_bodies(model))
        return framed("POST", target, body, f"{LENGTH}: ".encode() + claim, b"content-type: application/octet-stream")
    if verb == "labels" and draw(st.booleans()):
        body = json.dumps({"id": draw(TEXTS), "label": draw(VALUES)}).encode()
    elif kind == "json":
        body = draw(bodies(model))
    elif kind == "deep":
        body = draw(deep_bodies(model))
    else:
        body = draw(mangled(json.dumps(SOUND[model]).encode()))
    return framed("POST", target, body, b"content-type: application/json")


@st.composite
def explanations(draw: st.DrawFn) -> Request:
    """A request for an explanation whose options are hostile, and cheap where they are not."""
    names = ("output", "column", "seed", "parts", "reference", "deadline_ms", "budget")
    parameters: dict[str, Any] = {"budget": 16, "deadline_ms": 50}
    parameters |= draw(st.dictionaries(st.sampled_from(names), VALUES | st.integers(0, 100), max_size=3))
    return framed("POST", "/v2/models/adder/explain", json.dumps({"inputs": [ROW], "parameters": parameters}).encode())


@st.composite
def elsewhere(draw: st.DrawFn) -> Request:
    """Any method at any path, with any small body."""
    target = "/" + "/".join(draw(st.lists(SEGMENTS, max_size=7)))
    query = draw(st.sampled_from(["", "?", "?a=b", "?" + "q" * 500, "#x"]))
    shown = (target + query).encode("utf-8").decode("latin-1")
    method = draw(METHODS)
    line = f"{method} {shown} HTTP/1.1".encode("latin-1")
    body = draw(st.binary(max_size=30) | st.just(b"{}"))
    content = b"\r\n".join([line, b"host: x", b"content-length: %d" % len(body)]) + b"\r\n\r\n" + body
    # A byte beyond ASCII in the target is no HTTP: what comes back is for the parser to say.
    return Request(content, framed=shown.isascii(), head=method == "HEAD")


GOOD = json.dumps(SOUND["adder"]).encode()
POST = b"POST /v2/models/adder/infer HTTP/1.1\r\nhost: x\r\n"


@st.composite
def misframed(draw: st.DrawFn) -> Request:
    """What breaks HTTP itself: lying lengths, bad chunks, floods of headers, noise, several requests at once."""
    kind = draw(st.sampled_from(["length", "chunks", "flood", "noise", "pipeline", "line", "binary"]))
    if kind == "length":
        lie = draw(
            NUMBERS.map(lambda number: b"%d" % number) | st.binary(max_size=6) | st.just(b"%d" % (len(GOOD) + 9))
        )
        content = POST + b"content-length: " + lie + b"\r\n\r\n" + GOOD
    elif kind == "chunks":
        pieces = st.tuples(
            st.sampled_from([b"1", b"5", b"0", b"ffffffff", b"-1", b"g", b"5;x=y", b"00000005"]), st.binary(max_size=6)
        )
        chunks = b"".join(size + b"\r\n" + part + b"\r\n" for size, part in draw(st.lists(pieces, max_size=5)))
        content = POST + b"transfer-encoding: chunked\r\n\r\n" + chunks + b"0\r\n\r\n"
    elif kind == "flood":
        count, size = draw(st.sampled_from([(101, 1), (1000, 1), (20, 1000), (2, 20_000), (99, 100)]))
        content = POST + b"".join(b"x%d: %b\r\n" % (n, b"y" * size) for n in range(count)) + b"\r\n"
    elif kind == "noise":
        content = draw(mangled(POST + b"content-length: %d\r\n\r\n" % len(GOOD) + GOOD))
    elif kind == "pipeline":
        parts = draw(st.lists(inference() | elsewhere(), min_size=2, max_size=6))
        content = b"".join(part.content for part in parts)
    elif kind == "line":
        content = draw(st.binary(max_size=60)) + b"\r\n\r\n"
    else:
        body, claim = draw(binary_bodies("adder"))
        lengths = b"content-length: %d\r\n" % draw(st.integers(0, len(body)))
        content = POST + f"{LENGTH}: ".encode() + claim + b"\r\n" + lengths + b"\r\n" + body
    return Request(content, framed=False)


def twisted(content: bytes, start: int = 0) -> bytes:
    """The same bytes but for one from ``start`` on, always the same one: a cheap cousin of what Hypothesis drew."""
    if start >= len(content):
        return content
    chance = random.Random(content)  # noqa: S311 - a seeded sample, no secret
    at = chance.randrange(start, len(content))
    return content[:at] + bytes([content[at] ^ chance.randrange(1, 256)]) + content[at + 1 :]


def family(request: Request, size: int) -> list[Request]:
    """The request and its cousins, ``size`` in all; what is framed stays so, and differs in its body."""
    found = [request]
    while len(found) < size:
        content = found[-1].content
        start = content.index(b"\r\n\r\n") + 4 if request.framed else 0
        found.append(replace(request, content=twisted(content, start)))
    return found


HTTP = st.one_of(inference(), inference(), inference(), explanations(), elsewhere(), misframed())

RPCS = {
    "ServerLive": pb.ServerLiveRequest(),
    "ServerReady": pb.ServerReadyRequest(),
    "ServerMetadata": pb.ServerMetadataRequest(),
    "ModelReady": pb.ModelReadyRequest(name="adder", version="1.0.0"),
    "ModelMetadata": pb.ModelMetadataRequest(name="adder"),
    "RepositoryIndex": pb.RepositoryIndexRequest(ready=True),
    "RepositoryModelLoad": pb.RepositoryModelLoadRequest(model_name="adder"),
    "RepositoryModelUnload": pb.RepositoryModelUnloadRequest(model_name="adder"),
}
SIZES = st.integers(-(2**63), 2**63 - 1) | st.sampled_from([0, 1, 2, 4, -1, 2**31, 2**62, 2**63 - 1])
FLOATS = st.floats(width=32)
_TEXT = st.text(st.characters(codec="utf-8"), max_size=8)


@st.composite
def messages(draw: st.DrawFn) -> pb.ModelInferRequest:
    """A request to infer that is sound as protobuf and hostile within."""
    model = draw(st.sampled_from(sorted(SOUND)))
    message = pb.ModelInferRequest(model_name=model if draw(st.integers(0, 9)) else draw(_TEXT), id=draw(_TEXT))
    share = len(CONTENTS[model]) // len(SOUND[model]["inputs"])
    for number, sound in enumerate(SOUND[model]["inputs"]):
        tensor = message.inputs.add(name=sound["name"], datatype=sound["datatype"], shape=sound["shape"])
        wrong = draw(st.sampled_from(["none", "shape", "datatype", "name", "contents", "parameters"]))
        if wrong == "shape":
            tensor.shape[:] = draw(st.lists(SIZES, max_size=20))
        elif wrong == "datatype":
            tensor.datatype = draw(DATATYPES.filter(lambda text: text.isprintable()))
        elif wrong == "name":
            tensor.name = draw(_TEXT)
        elif wrong == "contents":
            tensor.contents.fp32_contents.extend(draw(st.lists(FLOATS, max_size=6)))
            tensor.contents.int64_contents.extend(draw(st.lists(SIZES, max_size=3)))
            tensor.contents.bytes_contents.extend(draw(st.lists(st.binary(max_size=4), max_size=3)))
        elif wrong == "parameters":
            tensor.parameters[draw(_TEXT)].int64_param = draw(SIZES)
        if draw(st.integers(0, 7)):
            raw = CONTENTS[model][number * share : (number + 1) * share]
            message.raw_input_contents.append(raw if draw(st.booleans()) else draw(mangled(raw)))
    for name in draw(st.lists(st.sampled_from(["score", "label", "y", ""]) | _TEXT, max_size=3)):
        message.outputs.add(name=name)
    if not draw(st.integers(0, 4)):
        parameter = message.parameters[draw(_TEXT | st.just("timeout"))]
        setattr(parameter, *draw(st.sampled_from([("int64_param", -1), ("bool_param", True), ("string_param", "now")])))
    return message


@st.composite
def calls(draw: st.DrawFn) -> tuple[str, bytes]:
    """The name of an RPC, and bytes for it."""
    if draw(st.integers(0, 3)):
        sent = draw(messages()).SerializeToString()
        return "ModelInfer", sent if draw(st.booleans()) else draw(mangled(sent))
    name = draw(st.sampled_from([*RPCS, "ModelInfer", "NoSuchCall"]))
    sound = RPCS.get(name, pb.ModelInferRequest(model_name="adder")).SerializeToString()
    return name, draw(mangled(sound) | st.binary(max_size=60))
