"""The KServe client, unchanged: `kserve_client.py HTTP-URL GRPC-ADDRESS`, run by the interpreter of .peers/clients."""

from __future__ import annotations

import asyncio
import logging
import sys
from typing import TYPE_CHECKING, Any

import numpy as np
from kserve import InferenceGRPCClient, InferenceRESTClient, InferInput, InferRequest
from kserve.inference_client import RESTConfig
from report import report

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

logging.disable(logging.CRITICAL)
URL, ADDRESS = sys.argv[1:3]
ROW = np.array([[1, 2, 3, 4]], np.float32)


def rest() -> Any:  # noqa: ANN401 - the client has no types
    return InferenceRESTClient(RESTConfig(protocol="v2"))


def request(*, binary: bool = False, rows: np.ndarray[Any, Any] = ROW) -> Any:  # noqa: ANN401 - the client has no types
    tensor = InferInput(name="x", shape=list(rows.shape), datatype="FP32")
    tensor.set_data_from_numpy(rows, binary_data=binary)
    parameters = {"binary_data_output": True} if binary else None
    return InferRequest(model_name="adder", infer_inputs=[tensor], request_id="k-1", parameters=parameters)


def scores(response: Any) -> list[float]:  # noqa: ANN401 - the client has no types
    [output] = [output for output in response.outputs if output.name == "score"]
    values: list[float] = output.as_numpy().tolist()
    return values


async def rest_health() -> None:
    client = rest()
    assert await client.is_server_live(URL)
    assert await client.is_server_ready(URL)
    assert await client.is_model_ready(URL, "adder")


async def rest_json() -> None:
    response = await rest().infer(URL, request(), model_name="adder")
    assert (scores(response), response.id) == ([10.5], "k-1")


async def rest_binary() -> None:
    rows = np.random.default_rng(7).random((1000, 4), np.float32)
    response = await rest().infer(URL, request(binary=True, rows=rows), model_name="adder")
    assert np.allclose(scores(response), rows.sum(axis=1) + 0.5)


async def rest_error() -> None:
    said = ""
    try:
        await rest().infer(URL, request(), model_name="nothing")
    except Exception as error:
        said = str(error)
    assert "no such model" in said, said


async def grpc_health() -> None:
    client = InferenceGRPCClient(ADDRESS)
    assert await client.is_server_live()
    assert await client.is_server_ready()
    assert await client.is_model_ready("adder")
    await client.close()


async def grpc_infer() -> None:
    client = InferenceGRPCClient(ADDRESS)
    for binary in (False, True):
        response = await client.infer(request(binary=binary))
        assert (scores(response), response.id) == ([10.5], "k-1")
    await client.close()


def running(check: Callable[[], Coroutine[Any, Any, None]]) -> Callable[[], None]:
    return lambda: asyncio.run(check())


report(
    {
        check.__name__: running(check)
        for check in (rest_health, rest_json, rest_binary, rest_error, grpc_health, grpc_infer)
    }
)
