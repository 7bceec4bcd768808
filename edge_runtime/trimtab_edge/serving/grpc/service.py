"""The RPCs of ``inference.GRPCInferenceService``: bytes in, a question to the dataplane, bytes or a status out.

Messages are parsed here and not by the library, so that bytes that are no message are the client's fault.
"""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING, NoReturn, TypeAlias

import grpc

from trimtab_edge.serving.failure import Fault, RequestError
from trimtab_edge.serving.grpc import codec
from trimtab_edge.serving.grpc import open_inference_pb2 as pb
from trimtab_edge.serving.json_codec import check_control_parameters
from trimtab_edge.serving.repository import State
from trimtab_edge.serving.session import PLATFORM
from trimtab_edge.serving.tensors import invalid
from trimtab_kernel.problems import quoted

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable

    from trimtab_edge.serving.dataplane import DataPlane
    from trimtab_edge.serving.tensors import TensorSpec

    Context: TypeAlias = grpc.aio.ServicerContext[bytes, bytes]
    Rpc: TypeAlias = Callable[[bytes], Awaitable[bytes]]

SERVICE = "inference.GRPCInferenceService"
RETRY_AFTER_MS = "1000"
STATUS = {
    Fault.INVALID: grpc.StatusCode.INVALID_ARGUMENT,
    Fault.FORBIDDEN: grpc.StatusCode.PERMISSION_DENIED,
    Fault.NOT_FOUND: grpc.StatusCode.NOT_FOUND,
    Fault.TIMED_OUT: grpc.StatusCode.DEADLINE_EXCEEDED,
    Fault.CONFLICT: grpc.StatusCode.FAILED_PRECONDITION,
    Fault.TOO_LARGE: grpc.StatusCode.RESOURCE_EXHAUSTED,
    Fault.UNSUPPORTED_MEDIA: grpc.StatusCode.INVALID_ARGUMENT,
    Fault.INTERNAL: grpc.StatusCode.INTERNAL,
    Fault.LIMITED: grpc.StatusCode.RESOURCE_EXHAUSTED,
    Fault.DEADLINE: grpc.StatusCode.DEADLINE_EXCEEDED,
    Fault.OVERLOADED: grpc.StatusCode.UNAVAILABLE,
    Fault.UNAVAILABLE: grpc.StatusCode.UNAVAILABLE,
}
_log = logging.getLogger("trimtab.serve")


class V2Service:
    """All RPCs, over one dataplane."""

    def __init__(self, plane: DataPlane, *, name: str, version: str, extensions: tuple[str, ...]) -> None:
        self._plane = plane
        self._about = pb.ServerMetadataResponse(name=name, version=version, extensions=extensions).SerializeToString()

    def handlers(self) -> grpc.GenericRpcHandler:
        """What grpc calls."""
        rpcs: dict[str, Rpc] = {
            "ServerLive": self._live,
            "ServerReady": self._ready,
            "ModelReady": self._model_ready,
            "ServerMetadata": self._server_metadata,
            "ModelMetadata": self._model_metadata,
            "ModelInfer": self._infer,
            "RepositoryIndex": self._index,
            "RepositoryModelLoad": self._load,
            "RepositoryModelUnload": self._unload,
        }
        return grpc.method_handlers_generic_handler(
            SERVICE, {name: grpc.unary_unary_rpc_method_handler(_answering(rpc)) for name, rpc in rpcs.items()}
        )

    async def _live(self, content: bytes) -> bytes:
        codec.parse(pb.ServerLiveRequest, content)
        return pb.ServerLiveResponse(live=True).SerializeToString()

    async def _ready(self, content: bytes) -> bytes:
        codec.parse(pb.ServerReadyRequest, content)
        return pb.ServerReadyResponse(ready=self._plane.ready).SerializeToString()

    async def _model_ready(self, content: bytes) -> bytes:
        request: pb.ModelReadyRequest = codec.parse(pb.ModelReadyRequest, content)
        standing = self._plane.standing(request.name, request.version or None)
        return pb.ModelReadyResponse(ready=standing.state is State.READY).SerializeToString()

    async def _server_metadata(self, content: bytes) -> bytes:
        codec.parse(pb.ServerMetadataRequest, content)
        return self._about

    async def _model_metadata(self, content: bytes) -> bytes:
        request: pb.ModelMetadataRequest = codec.parse(pb.ModelMetadataRequest, content)
        served = self._plane.model(request.name, request.version or None)
        return pb.ModelMetadataResponse(
            name=request.name,
            versions=[served.version],
            platform=PLATFORM,
            inputs=_metadata(served.signature.inputs),
            outputs=_metadata(served.signature.outputs),
        ).SerializeToString()

    async def _infer(self, content: bytes) -> bytes:
        arrived = time.perf_counter_ns()
        message: pb.ModelInferRequest = codec.parse(pb.ModelInferRequest, content)
        try:
            request, raw = codec.decode_request(message)
            answer = await self._plane.infer(message.model_name, message.model_version or None, request)
            response = codec.encode_response(answer.response, raw=raw)
        except RequestError as error:
            self._plane.failed(message.model_name, error.fault)
            raise
        except Exception as error:  # whatever else goes wrong is ours
            # The type alone: a message could quote the request.
            _log.error("request for %s failed: %s", quoted(message.model_name), type(error).__name__)
            self._plane.failed(message.model_name, Fault.INTERNAL)
            raise RequestError(Fault.INTERNAL, "internal error") from None
        duration = (time.perf_counter_ns() - arrived) / 1e9
        self._plane.answered(answer, duration, len(content), len(response))
        return response

    async def _index(self, content: bytes) -> bytes:
        request: pb.RepositoryIndexRequest = codec.parse(pb.RepositoryIndexRequest, content)
        _check_repository(request.repository_name)
        models = [
            pb.RepositoryIndexResponse.ModelIndex(
                name=entry.name, version=entry.version, state=entry.state, reason=entry.reason
            )
            for entry in await self._plane.index(ready_only=request.ready)
        ]
        return pb.RepositoryIndexResponse(models=models).SerializeToString()

    async def _load(self, content: bytes) -> bytes:
        request: pb.RepositoryModelLoadRequest = codec.parse(pb.RepositoryModelLoadRequest, content)
        _check_repository(request.repository_name)
        check_control_parameters(request.parameters)
        await self._plane.load(request.model_name)
        return pb.RepositoryModelLoadResponse().SerializeToString()

    async def _unload(self, content: bytes) -> bytes:
        request: pb.RepositoryModelUnloadRequest = codec.parse(pb.RepositoryModelUnloadRequest, content)
        _check_repository(request.repository_name)
        check_control_parameters(request.parameters)
        await self._plane.unload(request.model_name)
        return pb.RepositoryModelUnloadResponse().SerializeToString()


def _check_repository(name: str) -> None:
    if name:
        raise invalid(f"repository_name: {quoted(name)}, expected none: there is one repository")


def _metadata(specs: Iterable[TensorSpec]) -> list[pb.ModelMetadataResponse.TensorMetadata]:
    return [
        pb.ModelMetadataResponse.TensorMetadata(name=spec.name, datatype=spec.datatype, shape=spec.wire_shape)
        for spec in specs
    ]


def _answering(rpc: Rpc) -> Callable[[bytes, Context], Awaitable[bytes]]:
    async def answer(content: bytes, context: Context) -> bytes:
        try:
            return await rpc(content)
        except RequestError as error:
            await _refuse(context, error)

    return answer


async def _refuse(context: Context, error: RequestError) -> NoReturn:
    retry = (
        (("grpc-retry-pushback-ms", RETRY_AFTER_MS),) if error.fault in (Fault.OVERLOADED, Fault.UNAVAILABLE) else ()
    )
    await context.abort(STATUS[error.fault], error.message, retry)
