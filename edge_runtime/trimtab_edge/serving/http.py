"""V2 over HTTP, as a raw ASGI application: no framework, for a framework costs more than a small model does."""

from __future__ import annotations

import asyncio
import logging
import math
import time
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

from trimtab_edge.serving import json_codec, oversight_codec
from trimtab_edge.serving.failure import Fault, RequestError
from trimtab_edge.serving.repository import State
from trimtab_edge.serving.session import PLATFORM
from trimtab_kernel.problems import quoted

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, MutableMapping

    from trimtab_edge.serving.clients import ClientShares
    from trimtab_edge.serving.dataplane import DataPlane

    Message: TypeAlias = MutableMapping[str, Any]
    Scope: TypeAlias = MutableMapping[str, Any]
    Receive: TypeAlias = Callable[[], Awaitable[Message]]
    Send: TypeAlias = Callable[[Message], Awaitable[None]]
    Reply: TypeAlias = tuple[int, bytes, bytes, tuple[tuple[bytes, bytes], ...]]

_log = logging.getLogger("trimtab.serve")
NAME = "trimtab-edge"
EXTENSIONS = ("binary_tensor_data", "model_repository", "trimtab_labels", "trimtab_explain", "trimtab_alignment")
BODY_SECONDS = 30.0
"""How long the rest of a body may take once its first part is there."""
RETRY_AFTER = b"1"

_STATUS = {
    Fault.INVALID: 400,
    Fault.FORBIDDEN: 403,
    Fault.NOT_FOUND: 404,
    Fault.TIMED_OUT: 408,
    Fault.CONFLICT: 409,
    Fault.TOO_LARGE: 413,
    Fault.UNSUPPORTED_MEDIA: 415,
    Fault.INTERNAL: 500,
    Fault.LIMITED: 429,
    Fault.DEADLINE: 504,
    Fault.OVERLOADED: 503,
    Fault.UNAVAILABLE: 503,
}
# curl sends the last one unless told otherwise; what counts is the body.
_JSON_TYPES = ("", json_codec.CONTENT_TYPE, "application/x-www-form-urlencoded")
_CLOSE = ((b"connection", b"close"),)
_JSON = json_codec.CONTENT_TYPE.encode()
_BINARY = json_codec.BINARY_TYPE.encode()
_LENGTH_HEADER = json_codec.LENGTH_HEADER.encode()
_ALIGNMENT = 16
"""Of the content of a bytes object, and enough for every element."""


class _DisconnectedError(Exception):
    """The client went away before its request was complete: there is nobody to answer."""


@dataclass(frozen=True, slots=True)
class _Received:
    """A body: ``content[start:]``, and the length of its JSON where binary tensor data follows."""

    content: bytes
    start: int = 0
    json_length: int | None = None

    @property
    def body(self) -> bytes | memoryview:
        return memoryview(self.content)[self.start :] if self.start else self.content


def _json(status: int, value: dict[str, Any] | list[Any], headers: tuple[tuple[bytes, bytes], ...] = ()) -> Reply:
    return status, json_codec.encode(value), _JSON, headers


def _whole_seconds(seconds: float | None) -> bytes:
    """A Retry-After (RFC 9110, 10.2.3) that is never too soon."""
    return RETRY_AFTER if seconds is None else b"%d" % max(1, math.ceil(seconds))


def _error(error: RequestError) -> Reply:
    headers: tuple[tuple[bytes, bytes], ...] = ()
    if error.fault in (Fault.OVERLOADED, Fault.LIMITED, Fault.UNAVAILABLE):
        headers = ((b"retry-after", _whole_seconds(error.retry_after)),)
    elif error.fault in (Fault.TOO_LARGE, Fault.TIMED_OUT):
        headers = _CLOSE  # the rest of the body is not read
    return _json(_STATUS[error.fault], {"error": error.message}, headers)


class V2Application:
    """The ASGI application of the main port. ``metrics`` renders ``/metrics``, where it is on this port."""

    def __init__(
        self,
        plane: DataPlane,
        version: str,
        *,
        max_body: int,
        metrics: Callable[[], tuple[bytes, str]] | None,
        shares: ClientShares | None = None,
        client_header: bytes = b"",
    ) -> None:
        """``shares``: what each client may ask; None: no limit.

        A client is its address, or what it sends as ``client_header``: only where something before this server vouches
        for that header, or a client could call itself somebody else each time.
        """
        self._shares = shares
        self._client_header = client_header
        self._plane = plane
        self._version = version
        self._max_body = max_body
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request."""
        if scope["type"] != "http":
            return
        parts = tuple(scope["path"].strip("/").split("/"))
        try:
            match parts:
                case ("v2", "models", model, "infer") | ("v2", "models", model, "versions", _, "infer"):
                    if scope["method"] != "POST":
                        reply = _not_allowed(scope, "POST")
                    else:
                        await self._infer(scope, receive, send, model, parts[4] if len(parts) == 6 else None)
                        return
                case ("v2", "models", model, "labels" | "explain") | (
                    "v2", "models", model, "versions", _, "labels" | "explain",
                ):  # fmt: skip
                    if scope["method"] != "POST":
                        reply = _not_allowed(scope, "POST")
                    else:
                        version = parts[4] if len(parts) == 6 else None
                        reply = await self._oversight(parts[-1], model, version, await self._body(scope, receive))
                case ("v2", "repository", "index") | ("v2", "repository", "models", _, "load" | "unload"):
                    if scope["method"] != "POST":
                        reply = _not_allowed(scope, "POST")
                    else:
                        reply = await self._control(parts, await self._body(scope, receive))
                case _ if (answer := self._question(parts)) is None:
                    path = quoted(scope["path"], 200)
                    reply = _error(RequestError(Fault.NOT_FOUND, f"path {path}: no such path"))
                case _:
                    reply = answer() if scope["method"] in ("GET", "HEAD") else _not_allowed(scope, "GET, HEAD")
        except _DisconnectedError:
            return
        except RequestError as error:
            reply = _error(error)
        await _send(send, reply)

    async def _control(self, parts: tuple[str, ...], received: _Received) -> Reply:
        """The model repository extension."""
        plane = self._plane
        match parts:
            case (_, _, "index"):
                ready = json_codec.decode_index_request(received.body)
                entries = await plane.index(ready_only=ready)
                return _json(200, [asdict(entry) for entry in entries])
            case (_, _, _, model, "load"):
                json_codec.decode_control_request(received.body)
                await plane.load(model)
            case (_, _, _, model, _):
                json_codec.decode_control_request(received.body)
                await plane.unload(model)
        return _json(200, {})

    async def _oversight(self, asked: str, model: str, version: str | None, received: _Received) -> Reply:
        """Labels that come later, and explanations."""
        if asked == "labels":
            request_id, label = oversight_codec.decode_label(received.body)
            made_by, counted = self._plane.label(model, version, request_id, label)
            return _json(200, {"model_name": model, "model_version": made_by, "id": request_id, "counted": counted})
        length = received.json_length
        options = oversight_codec.decode_options(received.body if length is None else received.body[:length])
        request, _ = json_codec.decode_request(received.body, length)
        explained = await self._plane.explain(model, version, request, options)
        return _json(200, oversight_codec.explained_json(explained))

    def _question(self, parts: tuple[str, ...]) -> Callable[[], Reply] | None:
        """What answers a path without a body."""
        plane = self._plane
        match parts:
            case ("v2", "health", "live"):
                return lambda: _json(200, {"live": True})
            case ("v2", "health", "ready"):
                return lambda: _json(200 if plane.ready else 503, {"ready": plane.ready})
            case ("v2",):
                return lambda: _json(200, {"name": NAME, "version": self._version, "extensions": list(EXTENSIONS)})
            case ("v2", "models", model):
                return lambda: self._metadata(model, None)
            case ("v2", "models", model, "versions", version):
                return lambda: self._metadata(model, version)
            case ("v2", "models", model, "ready"):
                return lambda: self._ready(model, None)
            case ("v2", "models", model, "versions", version, "ready"):
                return lambda: self._ready(model, version)
            case ("v2", "models", model, "alignment") | ("v2", "models", model, "versions", _, "alignment"):
                wanted = parts[4] if len(parts) == 6 else None
                return lambda: (200, plane.evidence(model, wanted).to_bytes(), _JSON, ())
            case ("metrics",) if self._metrics is not None:
                text, content_type = self._metrics()
                return lambda: (200, text, content_type.encode(), ())
        return None

    def _metadata(self, model: str, version: str | None) -> Reply:
        served = self._plane.model(model, version)
        metadata = json_codec.model_metadata(model, served.version, PLATFORM, served.signature)
        return _json(200, metadata | {"properties": served.properties})

    def _ready(self, model: str, version: str | None) -> Reply:
        standing = self._plane.standing(model, version)
        ready = standing.state is State.READY
        fields = {
            "name": model,
            "version": standing.version,
            "ready": ready,
            "state": standing.state.value,
            "digest": standing.digest,
        }
        if standing.reason:
            fields |= {"reason": standing.reason, "error": standing.reason}
        return _json(200 if ready else 503, fields, () if ready else ((b"retry-after", RETRY_AFTER),))

    async def _infer(self, scope: Scope, receive: Receive, send: Send, model: str, version: str | None) -> None:
        try:
            received = await self._body(scope, receive)
            arrived = time.perf_counter_ns()
            if self._shares is not None:
                self._check_share(scope, self._shares)
            request, form = json_codec.decode_request(received.body, received.json_length)
            answer = await self._plane.infer(model, version, request)
            body = json_codec.encode_response(answer.response, form)
        except _DisconnectedError:
            return
        except RequestError as error:
            self._plane.failed(model, error.fault)
            reply = _error(error)
        except Exception as error:  # whatever else goes wrong is ours, and the connection lives on
            # The type alone: a message could quote the request.
            _log.error("request for %s failed: %s", quoted(model), type(error).__name__)
            self._plane.failed(model, Fault.INTERNAL)
            reply = _error(RequestError(Fault.INTERNAL, "internal error"))
        else:
            duration = (time.perf_counter_ns() - arrived) / 1e9
            self._plane.answered(answer, duration, len(received.body), len(body.content))
            if body.json_length is None:
                reply = (200, body.content, _JSON, ())
            else:
                reply = (200, body.content, _BINARY, ((_LENGTH_HEADER, b"%d" % body.json_length),))
        await _send(send, reply)

    def _check_share(self, scope: Scope, shares: ClientShares) -> None:
        """Raises :class:`RequestError` (LIMITED)."""
        client = (scope["client"] or ("",))[0].encode()
        if self._client_header:
            client = next((value for name, value in scope["headers"] if name == self._client_header), client)
        wait = shares.take(client, time.monotonic())
        if wait > 0:
            raise RequestError(Fault.LIMITED, "this client asks more often than it may; try again later", wait)

    async def _body(self, scope: Scope, receive: Receive) -> _Received:
        """The whole body. Raises :class:`RequestError` as soon as it is known to be too large or in a foreign form."""
        json_length = self._check_headers(scope)
        message = await receive()
        if message["type"] != "http.request":
            raise _DisconnectedError
        body: bytes = message.get("body", b"")
        # So much before the JSON that the first binary tensor lies aligned, and can be used where it lies.
        start = -json_length % _ALIGNMENT if json_length is not None else 0
        if message.get("more_body"):
            try:
                async with asyncio.timeout(BODY_SECONDS):
                    body = await self._rest(bytes(start), body, receive)
            except TimeoutError:
                raise RequestError(Fault.TIMED_OUT, f"body: not complete within {BODY_SECONDS:.0f} s") from None
            return _Received(body, start, json_length)
        self._check_size(len(body))
        return _Received(body, 0, json_length)

    async def _rest(self, padding: bytes, first: bytes, receive: Receive) -> bytes:
        parts, size, more = [padding, first], len(first), True
        while more:
            self._check_size(size)
            message = await receive()
            if message["type"] != "http.request":
                raise _DisconnectedError
            parts.append(message.get("body", b""))
            size += len(parts[-1])
            more = message.get("more_body", False)
        self._check_size(size)
        return b"".join(parts)

    def _check_size(self, size: int) -> None:
        if size > self._max_body:
            raise RequestError(Fault.TOO_LARGE, f"body: {size} bytes or more, expected at most {self._max_body}")

    def _check_headers(self, scope: Scope) -> int | None:
        """The length of the JSON where the body holds binary tensor data as well."""
        json_length, kind = None, ""
        for name, value in scope["headers"]:
            if name == b"content-length":
                self._check_size(int(value) if value.isdigit() else 0)
            elif name == b"content-type":
                kind = value.decode("latin-1").partition(";")[0].strip().lower()
            elif name == b"content-encoding" and value.strip().lower() not in (b"", b"identity"):
                encoding = quoted(value.decode("latin-1"))
                raise RequestError(Fault.UNSUPPORTED_MEDIA, f"content-encoding: {encoding}, expected an unencoded body")
            elif name == _LENGTH_HEADER:
                if json_length is not None or not value.isdigit() or len(value) > 10:
                    got = quoted(value.decode("latin-1"))
                    raise RequestError(Fault.INVALID, f"{json_codec.LENGTH_HEADER}: {got}, expected one count of bytes")
                json_length = int(value)
        binary = kind == json_codec.BINARY_TYPE and json_length is not None
        if kind not in _JSON_TYPES and not kind.endswith("+json") and not binary:
            expected = f"{json_codec.CONTENT_TYPE}, or the header {json_codec.LENGTH_HEADER}"
            raise RequestError(Fault.UNSUPPORTED_MEDIA, f"content-type: {quoted(kind)}, expected {expected}")
        return json_length


class MetricsApplication:
    """The ASGI application of a metrics port of its own."""

    def __init__(self, metrics: Callable[[], tuple[bytes, str]]) -> None:
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request."""
        del receive
        if scope["type"] != "http":
            return
        if scope["path"].strip("/") != "metrics":
            reply = _error(RequestError(Fault.NOT_FOUND, f"path {quoted(scope['path'], 200)}: expected /metrics"))
        elif scope["method"] not in ("GET", "HEAD"):
            reply = _not_allowed(scope, "GET, HEAD")
        else:
            text, content_type = self._metrics()
            reply = (200, text, content_type.encode(), ())
        await _send(send, reply)


def _not_allowed(scope: Scope, allowed: str) -> Reply:
    return _json(405, {"error": f"method {scope['method']}: expected {allowed}"}, ((b"allow", allowed.encode()),))


async def _send(send: Send, reply: Reply) -> None:
    status, body, content_type, headers = reply
    await send(
        {
            "type": "http.response.start",
            "status": status,
            "headers": [(b"content-type", content_type), (b"content-length", b"%d" % len(body)), *headers],
        }
    )
    await send({"type": "http.response.body", "body": body})
