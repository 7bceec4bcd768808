"""Asking another V2 server, where this device is constrained and its fleet names one.

The answer is untrusted: its size, its form and its tensors are held against limits and the model's signature. Redirects
are not followed, for the endpoint is what the fleet's jurisdiction was judged by. After a failure it is left alone for
a while, so that a dead link does not cost every request its timeout.
"""

from __future__ import annotations

import asyncio
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import msgspec

from trimtab_edge.serving import json_codec
from trimtab_edge.serving.failure import RequestError

if TYPE_CHECKING:
    import urllib3

    from trimtab_edge.serving.tensors import InferRequest, InferResponse, Signature

CONNECT_SECONDS = 2.0
SECONDS = 10.0
REST = 30.0
"""Seconds without a try after one that failed."""
_THREADS = 4
_CHUNK = 64 * 1024


class OffloadError(Exception):
    """The endpoint did not give an answer that can be used; the message says why, and never holds content."""


class OffloadClient:
    """All endpoints of this server. Used on one event loop; requests run in threads of its own."""

    def __init__(self, max_body: int) -> None:
        self._max_body = max_body
        self._threads: ThreadPoolExecutor | None = None
        self._http: urllib3.PoolManager | None = None
        self._rests: dict[str, float] = {}
        self._busy = 0

    def is_open(self, endpoint: str) -> bool:
        """Whether it is worth a try now."""
        return self._busy < _THREADS and time.monotonic() >= self._rests.get(endpoint, 0.0)

    async def ask(
        self, endpoint: str, model: str, request: InferRequest, signature: Signature, seconds: float
    ) -> InferResponse:
        """The endpoint's answer within so many seconds. Raises :class:`OffloadError`."""
        if self._threads is None or self._http is None:
            import urllib3  # a server that never offloads does not carry it

            self._threads = ThreadPoolExecutor(_THREADS, thread_name_prefix="offload")
            self._http = urllib3.PoolManager(num_pools=4, maxsize=_THREADS, retries=False)
        body = json_codec.encode_request(request)
        url = f"{endpoint.rstrip('/')}/v2/models/{model}/infer"
        self._busy += 1
        try:
            loop = asyncio.get_running_loop()
            content = await loop.run_in_executor(self._threads, self._post, self._http, url, body, seconds)
            answer = json_codec.decode_response(content)
            _check(answer, request, signature)
        except OffloadError:
            self._rests[endpoint] = time.monotonic() + REST
            raise
        except RequestError as error:
            self._rests[endpoint] = time.monotonic() + REST
            raise OffloadError(f"the answer is not what it should be: {error.message}") from None
        finally:
            self._busy -= 1
        return msgspec.structs.replace(answer, model=model, id=request.id)

    def _post(self, http: urllib3.PoolManager, url: str, body: bytes, seconds: float) -> bytes:
        import urllib3

        end = time.monotonic() + seconds
        timeout = urllib3.Timeout(connect=min(CONNECT_SECONDS, seconds), read=seconds)
        headers = {"content-type": json_codec.CONTENT_TYPE, "accept-encoding": "identity"}
        try:
            response = http.request(
                "POST", url, body=body, headers=headers, timeout=timeout,
                retries=False, redirect=False, preload_content=False, decode_content=False,
            )  # fmt: skip
            try:
                if response.status != 200:
                    raise OffloadError(f"status {response.status}")
                return self._read(response, end)
            finally:
                # Whatever is left unread must not be taken for the next answer.
                response.close()
                response.release_conn()
        except (urllib3.exceptions.HTTPError, OSError, ValueError) as error:
            raise OffloadError(type(error).__name__) from None

    def _read(self, response: urllib3.BaseHTTPResponse, end: float) -> bytes:
        parts, size = [], 0
        while part := response.read1(_CHUNK):
            size += len(part)
            if size > self._max_body:
                raise OffloadError(f"an answer of more than {self._max_body} bytes")
            if time.monotonic() > end:
                raise OffloadError("the answer took too long")
            parts.append(part)
        return b"".join(parts)

    def close(self) -> None:
        """End the threads."""
        if self._threads is not None:
            self._threads.shutdown(wait=True, cancel_futures=True)
        if self._http is not None:
            self._http.clear()


def _check(answer: InferResponse, request: InferRequest, signature: Signature) -> None:
    wanted = {spec.name: spec for spec in signature.chosen_outputs(request.outputs)}
    for tensor in answer.outputs:
        spec = wanted.pop(tensor.name, None)
        if spec is None or spec.datatype != tensor.datatype or len(spec.shape) != tensor.array.ndim:
            raise OffloadError("an output that was not asked for, or of another kind than the model's")
    if wanted:
        raise OffloadError("an output is missing")
