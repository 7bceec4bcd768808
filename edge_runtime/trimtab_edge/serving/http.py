"""V2 over HTTP: which path and method asks what, and with which status it is answered."""

from __future__ import annotations

import logging
import math
import time
from dataclasses import asdict
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

import httptools
import msgspec

from trimtab_edge.serving import json_codec, oversight_codec
from trimtab_edge.serving.connection import BODY_SECONDS, JSON
from trimtab_edge.serving.exchange import CLOSE
from trimtab_edge.serving.failure import Fault, RequestError
from trimtab_edge.serving.model import Answer
from trimtab_edge.serving.repository import State
from trimtab_edge.serving.session import PLATFORM
from trimtab_kernel.problems import quoted

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from trimtab_edge.serving.clients import ClientShares
    from trimtab_edge.serving.dataplane import DataPlane
    from trimtab_edge.serving.exchange import Headers, Reply, Request
    from trimtab_edge.serving.json_codec import Form

_log = logging.getLogger("trimtab.serve")
NAME = "trimtab-edge"
EXTENSIONS = ("binary_tensor_data", "model_repository", "trimtab_labels", "trimtab_explain", "trimtab_alignment")
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
_BINARY = json_codec.BINARY_TYPE.encode()
_TIMEOUT_HEADER = b"timeout"
_LENGTH_HEADER = json_codec.LENGTH_HEADER.encode()
_MAX_ROUTES = 1024
"""Targets whose meaning is kept; clients may invent any number of them."""


def _json(status: int, value: dict[str, Any] | list[Any], headers: Headers = ()) -> Reply:
    return status, json_codec.encode(value), JSON, headers


def _whole_seconds(seconds: float | None) -> bytes:
    """A Retry-After (RFC 9110, 10.2.3) that is never too soon."""
    return RETRY_AFTER if seconds is None else b"%d" % max(1, math.ceil(seconds))


def _error(error: RequestError) -> Reply:
    headers: Headers = ()
    if error.fault in (Fault.OVERLOADED, Fault.LIMITED, Fault.UNAVAILABLE):
        headers = ((b"retry-after", _whole_seconds(error.retry_after)),)
    elif error.fault in (Fault.TOO_LARGE, Fault.TIMED_OUT):
        headers = CLOSE  # the rest of the body is not read
    return _json(_STATUS[error.fault], {"error": error.message}, headers)


class _Route:
    """What a target means: its path in parts, and for an inference whose."""

    __slots__ = ("infers", "model", "parts", "path", "takes_body", "version")

    def __init__(self, path: str) -> None:
        """``path`` as it came: a slash that is escaped belongs to a name (RFC 3986, 2.2)."""
        self.path = unquote(path)
        self.parts = parts = tuple(unquote(part) for part in path.strip("/").split("/"))
        self.infers = self.takes_body = False
        self.model, self.version = "", None
        match parts:
            case ("v2", "models", model, "infer" | "labels" | "explain" as asked):
                self.model, self.infers, self.takes_body = model, asked == "infer", True
            case ("v2", "models", model, "versions", version, "infer" | "labels" | "explain" as asked):
                self.model, self.version, self.infers, self.takes_body = model, version, asked == "infer", True
            case ("v2", "repository", "index") | ("v2", "repository", "models", _, "load" | "unload"):
                self.takes_body = True


def _route(target: bytes) -> _Route:
    try:
        return _Route((httptools.parse_url(target).path or b"").decode("ascii"))
    except (httptools.HttpParserError, UnicodeDecodeError):
        return _Route(target.decode("latin-1"))


class V2Application:
    """The application of the main port. ``metrics`` renders ``/metrics``, where it is on this port."""

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
        self._routes: dict[bytes, _Route] = {}

    def judge(self, request: Request) -> Reply | None:
        """See :class:`Application`."""
        route = self._routed(request)
        if not route.takes_body or request.method != b"POST":
            return None
        try:
            request.json_length = _json_length(request.headers)
            request.timeout = _timeout(request.headers)
        except RequestError as error:
            return self._refused(route, error)
        return None

    def spoiled(self, request: Request, fault: Fault) -> Reply:
        """See :class:`Application`."""
        if fault is Fault.TIMED_OUT:
            error = RequestError(fault, f"body: not complete within {BODY_SECONDS:.0f} s")
        else:
            size = f"{max(request.length, self._max_body + 1)} bytes{'' if request.length else ' or more'}"
            error = RequestError(fault, f"body: {size}, expected at most {self._max_body}")
        return self._refused(self._routed(request), error)

    def answer(self, request: Request) -> Reply | Coroutine[Any, Any, Reply]:
        """See :class:`Application`."""
        route = self._routed(request)
        try:
            if route.infers and request.method == b"POST":
                return self._infer(request, route)
            if route.takes_body:
                return self._asked(request, route) if request.method == b"POST" else _not_allowed(request, "POST")
            answer = self._question(route.parts)
            if answer is None:
                return _error(RequestError(Fault.NOT_FOUND, f"path {quoted(route.path, 200)}: no such path"))
            return answer() if request.method in (b"GET", b"HEAD") else _not_allowed(request, "GET, HEAD")
        except Exception as error:
            return self._refused(route, error)

    def _routed(self, request: Request) -> _Route:
        route = self._routes.get(request.target)
        if route is None:
            if len(self._routes) >= _MAX_ROUTES:
                self._routes.clear()
            route = self._routes[request.target] = _route(request.target)
        return route

    def _refused(self, route: _Route, error: Exception) -> Reply:
        """The answer to a request that gets no result; an inference is counted as failed."""
        if not isinstance(error, RequestError):
            # Whatever else goes wrong is ours, and the connection lives on. The type alone: a message could quote the request.
            _log.error("request for %s failed: %s", quoted(route.model or route.path, 200), type(error).__name__)
            error = RequestError(Fault.INTERNAL, "internal error")
        if route.infers:
            self._plane.failed(route.model, error.fault)
        return _error(error)

    def _asked(self, request: Request, route: _Route) -> Reply | Coroutine[Any, Any, Reply]:
        """What has a body and is no inference."""
        if route.parts[-1] == "labels":
            return self._label(request, route)
        return self._guarded(
            route, self._explain(request, route) if route.model else self._control(request, route.parts)
        )

    async def _guarded(self, route: _Route, reply: Coroutine[Any, Any, Reply]) -> Reply:
        try:
            return await reply
        except Exception as error:
            return self._refused(route, error)

    async def _control(self, request: Request, parts: tuple[str, ...]) -> Reply:
        """The model repository extension."""
        plane = self._plane
        match parts:
            case (_, _, "index"):
                ready = json_codec.decode_index_request(request.content)
                entries = await plane.index(ready_only=ready)
                return _json(200, [asdict(entry) for entry in entries])
            case (_, _, _, model, "load"):
                json_codec.decode_control_request(request.content)
                await plane.load(model)
            case (_, _, _, model, _):
                json_codec.decode_control_request(request.content)
                await plane.unload(model)
        return _json(200, {})

    def _label(self, request: Request, route: _Route) -> Reply:
        """A label that comes later."""
        model = route.model
        request_id, label = oversight_codec.decode_label(request.content)
        made_by, counted = self._plane.label(model, route.version, request_id, label)
        return _json(200, {"model_name": model, "model_version": made_by, "id": request_id, "counted": counted})

    async def _explain(self, request: Request, route: _Route) -> Reply:
        content, length = request.content, request.json_length
        options = oversight_codec.decode_options(content if length is None else content[:length])
        decoded, _ = json_codec.decode_request(content, length)
        explained = await self._plane.explain(route.model, route.version, decoded, options)
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
            case ("v2", "models", model, "alignment" | "explanations" as asked) | (
                "v2",
                "models",
                model,
                "versions",
                _,
                "alignment" | "explanations" as asked,
            ):
                wanted = parts[4] if len(parts) == 6 else None
                return lambda: self._told(asked, model, wanted)
            case ("metrics",) if self._metrics is not None:
                text, content_type = self._metrics()
                return lambda: (200, text, content_type.encode(), ())
        return None

    def _told(self, asked: str, model: str, version: str | None) -> Reply:
        if asked == "explanations":
            return _json(200, self._plane.samples(model, version))
        return 200, self._plane.evidence(model, version).to_bytes(), JSON, ()

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

    def _infer(self, request: Request, route: _Route) -> Reply | Coroutine[Any, Any, Reply]:
        """Raises :class:`RequestError`, and whatever goes wrong here."""
        arrived = time.perf_counter_ns()
        if self._shares is not None:
            self._check_share(request, self._shares)
        content = request.content
        decoded, form = json_codec.decode_request(content, request.json_length)
        if request.timeout is not None and decoded.timeout is None:
            decoded = msgspec.structs.replace(decoded, timeout=request.timeout)
        started = self._plane.start(route.model, route.version, decoded)
        if isinstance(started, Answer):
            return self._answered(started, form, arrived, len(content))
        return self._guarded(route, self._infer_later(started, form, arrived, len(content)))

    async def _infer_later(
        self, started: Coroutine[Any, Any, Answer], form: Form, arrived: int, received: int
    ) -> Reply:
        return self._answered(await started, form, arrived, received)

    def _answered(self, answer: Answer, form: Form, arrived: int, received: int) -> Reply:
        body = json_codec.encode_response(answer.response, form)
        duration = (time.perf_counter_ns() - arrived) / 1e9
        self._plane.answered(answer, duration, received, len(body.content))
        if body.json_length is None:
            return 200, body.content, JSON, ()
        return 200, body.content, _BINARY, ((_LENGTH_HEADER, b"%d" % body.json_length),)

    def _check_share(self, request: Request, shares: ClientShares) -> None:
        """Raises :class:`RequestError` (LIMITED)."""
        client = request.client.encode()
        if self._client_header:
            client = next((value for name, value in request.headers if name == self._client_header), client)
        wait = shares.take(client, time.monotonic())
        if wait > 0:
            raise RequestError(Fault.LIMITED, "this client asks more often than it may; try again later", wait)


def _json_length(headers: list[tuple[bytes, bytes]]) -> int | None:
    """The length of the JSON where the body holds binary tensor data as well.

    Raises :class:`RequestError` for a body in a form that is not spoken here.
    """
    json_length, kind = None, ""
    for name, value in headers:
        if name == b"content-type":
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


def _timeout(headers: list[tuple[bytes, bytes]]) -> float | None:
    """The header ``timeout`` in seconds: microseconds, as the parameter of that name. Raises :class:`RequestError`."""
    for name, value in headers:
        if name == _TIMEOUT_HEADER:
            text = value.strip()
            if not text.isdigit() or len(text) > len(str(json_codec.MAX_TIMEOUT)):
                got = quoted(value.decode("latin-1"))
                raise RequestError(
                    Fault.INVALID, f"timeout: {got}, expected microseconds, at most {json_codec.MAX_TIMEOUT}"
                )
            return json_codec.timeout_of({"timeout": int(text)})
    return None


class MetricsApplication:
    """The application of a metrics port of its own."""

    def __init__(self, metrics: Callable[[], tuple[bytes, str]]) -> None:
        self._metrics = metrics

    def judge(self, request: Request) -> Reply | None:
        """See :class:`Application`."""
        del request
        return None

    def spoiled(self, request: Request, fault: Fault) -> Reply:
        """See :class:`Application`."""
        del request
        return _error(RequestError(fault, "body: too large, or not complete in time"))

    def answer(self, request: Request) -> Reply:
        """See :class:`Application`."""
        path = _route(request.target).path
        if path.strip("/") != "metrics":
            return _error(RequestError(Fault.NOT_FOUND, f"path {quoted(path, 200)}: expected /metrics"))
        if request.method not in (b"GET", b"HEAD"):
            return _not_allowed(request, "GET, HEAD")
        text, content_type = self._metrics()
        return 200, text, content_type.encode(), ()


def _not_allowed(request: Request, allowed: str) -> Reply:
    method = request.method.decode("ascii")
    return _json(405, {"error": f"method {method}: expected {allowed}"}, ((b"allow", allowed.encode()),))
