"""The servers that ``bench serving`` compares: how each is started for one model at loopback."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from bench.loads import Connection, ServerFailedError, request_bytes
from bench.process_trees import ProcessTree
from bench.serving_models import json_body

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from bench.serving_models import BenchModel

_ROOT = Path(__file__).resolve().parents[1]
_PEERS = _ROOT / "bench/peers"
_NAME = "bench"
PATH = f"/v2/models/{_NAME}/infer"
START_SECONDS, WRONG_SECONDS = 90.0, 45.0


@dataclass(frozen=True, slots=True)
class Stand:
    """One server of the comparison. ``binary``: it takes V2's binary tensors. ``environment``: its name under .peers, or nothing."""

    key: str
    title: str
    binary: bool
    environment: str
    command: Callable[[Path, int], list[str]]
    variables: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class Running:
    """A server that answers rightly on ``port``."""

    stand: Stand
    tree: ProcessTree
    port: int


def _peer(environment: str, program: str) -> str:
    return str(_ROOT / ".peers" / environment / "bin" / program)


def _trimtab(folder: Path, port: int) -> list[str]:
    program = str(Path(sys.executable).parent / "trimtab-edge")
    return [program, "serve", "--model-repository", str(folder / "models"), "--http-port", str(port)]


def _trimtab_uvicorn(folder: Path, port: int) -> list[str]:
    return [sys.executable, str(_PEERS / "trimtab_uvicorn.py"), str(folder / "models"), str(port)]


def _mlserver(folder: Path, _: int) -> list[str]:
    return [_peer("serving", "mlserver"), "start", str(folder / "mlserver")]


def _program(environment: str, name: str) -> Callable[[Path, int], list[str]]:
    return lambda _, port: [_peer(environment, "python"), str(_PEERS / name), str(port)]


def _bentoml(_: Path, port: int) -> list[str]:
    host = ["--host", "127.0.0.1", "--port", str(port)]
    return [_peer("serving", "bentoml"), "serve", "bentoml_service:OnnxService", "--working-dir", str(_PEERS), *host]


STANDS = (
    Stand("trimtab", "Trimtab, all metrics on", True, "", _trimtab),
    Stand("uvicorn", "Trimtab's application on uvicorn", True, "", _trimtab_uvicorn),
    Stand("mlserver", "MLServer, in process", False, "serving", _mlserver, (("MLSERVER_PARALLEL_WORKERS", "0"),)),
    Stand("mlserver-default", "MLServer, default (1 worker)", False, "serving", _mlserver),
    Stand("kserve", "KServe Python server", True, "kserve", _program("kserve", "kserve_server.py")),
    Stand("litserve", "LitServe (own route)", False, "serving", _program("serving", "litserve_server.py")),
    Stand("bentoml", "BentoML (own route)", False, "serving", _bentoml),
)


def installed(environment: str) -> str | None:
    """Make .peers/``environment``; what went wrong, or None."""
    done = subprocess.run(
        ["sh", "tools/peers", environment], cwd=_ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        timeout=900, check=False,
    )  # fmt: skip
    return None if done.returncode == 0 else (done.stdout.strip().splitlines() or ["no reason given"])[-1][:200]


def variables(model_file: Path, session: str) -> dict[str, str]:
    """What every process of the bench is started with: nothing is reported to anybody, and the peers find the model."""
    return {
        **os.environ,
        "ORT_DISABLE_TELEMETRY": "1",
        "BENTOML_DO_NOT_TRACK": "True",
        "PYTHONPATH": str(_PEERS),
        "BENCH_MODEL": str(model_file),
        "BENCH_SESSION": session,
    }


def prepare(folder: Path, model: BenchModel) -> Path:
    """Write the model as each server wants it; the model's file."""
    version = folder / "models" / _NAME / "1.0.0"
    version.mkdir(parents=True)
    file = version / "model.onnx"
    file.write_bytes(model.content)
    if model.description:
        (version / "model.yaml").write_bytes(model.description)
    mlserver = folder / "mlserver"
    mlserver.mkdir()
    settings = {"name": _NAME, "implementation": "mlserver_runtime.OnnxRuntime"}
    (mlserver / "model-settings.json").write_text(json.dumps(settings))
    return file


def start(
    stand: Stand, folder: Path, environment: Mapping[str, str], model: BenchModel, expected: list[float]
) -> Running:
    """Start it and wait until it gives the right answer. Raises :class:`ServerFailedError` with the reason."""
    port, grpc, metrics = _free_ports(3)
    settings = {
        "MLSERVER_HOST": "127.0.0.1",
        "MLSERVER_HTTP_PORT": str(port),
        "MLSERVER_GRPC_PORT": str(grpc),
        "MLSERVER_METRICS_PORT": str(metrics),
        "MLSERVER_DEBUG": "false",  # its default writes a line for each request
    }
    home = folder / stand.key
    home.mkdir(exist_ok=True)
    tree = ProcessTree(
        stand.command(folder, port), {**environment, **settings, **dict(stand.variables)}, home, home / "log"
    )
    try:
        _wait(tree, port, json_request(port, model), expected)
    except BaseException:
        tree.stop()
        raise
    return Running(stand, tree, port)


def json_request(port: int, model: BenchModel) -> bytes:
    """The request in JSON."""
    return request_bytes(port, PATH, json_body(model), [("Content-Type", "application/json")])


def _wait(tree: ProcessTree, port: int, request: bytes, expected: list[float]) -> None:
    deadline = time.monotonic() + START_SECONDS
    reason, first = "it never listened", 0.0
    while time.monotonic() < deadline:
        if tree.ended():
            raise ServerFailedError(f"it ended: {tree.last_words()}")
        try:
            with Connection(port, 10.0) as connection:
                status, body = connection.exchange(request)
            if status == 200:
                return check_answer(body, expected)
            reason = f"status {status}: {body[:120].decode(errors='replace')}"
            # It listens: what is still loading has not much longer.
            deadline = min(deadline, first := first or time.monotonic() + WRONG_SECONDS)
        except OSError as error:
            reason = str(error)
        time.sleep(0.2)
    raise ServerFailedError(f"no right answer: {reason}; {tree.last_words()}")


def check_answer(body: bytes, expected: list[float]) -> None:
    """Raises :class:`ServerFailedError` unless the first output is what onnxruntime itself says, to 1e-4 of its size."""
    try:
        got = json.loads(body)["outputs"][0]["data"]
        same = len(got) == len(expected) and all(
            abs(one - other) <= 1e-4 * max(1.0, abs(other)) for one, other in zip(got, expected, strict=True)
        )
    except (ValueError, LookupError, TypeError):
        same = False
    if not same:
        raise ServerFailedError(f"a wrong answer: {body[:120].decode(errors='replace')}")


def _free_ports(count: int) -> list[int]:
    """Ports that are free now; held together, so that they differ."""
    sockets = [socket.socket() for _ in range(count)]
    try:
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]
    finally:
        for each in sockets:
            each.close()
