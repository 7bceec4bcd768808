"""What one inference costs on the machine that builds, as a device would tell it: asked of ``trimtab-edge serve``.

Each pass starts one server of all files and asks one file after another, over HTTP with held-out rows, one at a time:
rounds of requests at ``RATE`` a second, as a device in use is asked (caches are cold by then), and then as fast as it
answers. CPU and wall seconds are the increase of the server's own metrics (``trimtab_inference_cpu_seconds_total``, which
the bot holds against ceilings, and ``trimtab_inference_duration_seconds``), so a profile and a device mean the same by
them. What the whole process took for a request, HTTP, JSON and counting included, stands beside it.

Files are measured in turn, several passes over all of them, so that a slow minute of the machine slows all alike. Memory
is measured in a process of its own: ``python -m examples.models.metering FILE ROWS.npz`` prints JSON.
"""

from __future__ import annotations

import http.client
import json
import statistics
import subprocess
import sys
import tempfile
import time
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import onnxruntime
from prometheus_client.parser import text_string_to_metric_families

from trimtab_kernel import vocabulary

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from numpy.typing import NDArray

PASSES = 6
RATE = 5.0
"""Requests a second."""
ROUNDS, PACED = 3, 5
"""Rounds of a pass, and requests at that rate in each of them; nothing is asked of the server within a round."""
SATURATED_SECONDS = 0.4
WARM_UP = 20
VERSION = "1.0.0"
ROOT = Path(__file__).resolve().parents[2]
_READY_SECONDS = 120.0


def session(data: bytes) -> onnxruntime.InferenceSession:
    """A session as a device runs it: one thread, no spinning, CPU only."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    return onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"])


@dataclass(frozen=True, slots=True)
class Subject:
    """A file to measure, and what to ask it about: rows [n, ...] by input, numbers or texts."""

    file: Path
    feeds: Mapping[str, NDArray[Any]]


@dataclass(frozen=True, slots=True)
class Costs:
    """Seconds per inference: ``cpu`` and ``wall`` by the server's metrics, ``process`` of the whole server."""

    cpu: float
    wall: float
    process: float


def method(passes: int = PASSES, rate: float = RATE) -> str:
    """How :func:`meter` comes to its figures, for whoever reads them."""
    return (
        f"trimtab-edge serve over HTTP, one row a request, {passes} passes; value and high are the median and the 95th "
        f"percentile of {passes * ROUNDS} rounds of {PACED} requests at {rate:g} a second, low is the least of the means "
        f"at saturation"
    )


def meter(subjects: Sequence[Subject], passes: int = PASSES, rate: float = RATE) -> list[dict[str, Any]]:
    """Cost of one inference of each file, in the order given; :func:`method` says what the bounds are.

    ``rate`` is that of the paced rounds, in requests a second.

    ``addedMemoryBytes`` is the median over passes of the peak resident memory that loading and running adds to a process.
    Raises subprocess.CalledProcessError where a file cannot be run, OSError or ValueError where it is not served.
    """
    paced: list[list[Costs]] = [[] for _ in subjects]
    saturated: list[list[Costs]] = [[] for _ in subjects]
    memory: list[list[int]] = [[] for _ in subjects]
    inferences = [0] * len(subjects)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for place, subject in enumerate(subjects):
            directory = folder / "models" / _name(place) / VERSION
            directory.mkdir(parents=True)
            (directory / "model.onnx").write_bytes(subject.file.read_bytes())
            rows = {tensor: _stored(values) for tensor, values in subject.feeds.items()}
            np.savez(folder / f"{place}.npz", allow_pickle=False, **rows)
        for _ in range(passes):
            with _serving(folder / "models", folder / "log") as server:
                for place, subject in enumerate(subjects):
                    with closing(http.client.HTTPConnection("127.0.0.1", server.port, timeout=60)) as connection:
                        asked = _Asked(server, connection, _name(place), subject)
                        paced[place] += [asked.measured(PACED, rate) for _ in range(ROUNDS)]
                        saturated[place].append(asked.measured_for(SATURATED_SECONDS))
                    inferences[place] += asked.requests
            for place, subject in enumerate(subjects):
                command = [sys.executable, "-m", "examples.models.metering"]
                command += [str(subject.file.resolve()), str(folder / f"{place}.npz")]
                done = subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.PIPE, timeout=120)
                memory[place].append(json.loads(done.stdout)["memory"])
    return [
        {
            "cpuSecondsPerInference": _figure([one.cpu for one in slow], [one.cpu for one in fast]),
            "cpuSecondsAtSaturation": _rounded(statistics.median(one.cpu for one in fast)),
            "serverCpuSecondsPerRequest": _figure([one.process for one in slow], [one.process for one in fast]),
            "serverCpuSecondsAtSaturation": _rounded(statistics.median(one.process for one in fast)),
            "wallSecondsPerInference": _figure([one.wall for one in slow], [one.wall for one in fast]),
            "addedMemoryBytes": round(statistics.median(sizes)),
            "inferences": count,
        }
        for slow, fast, sizes, count in zip(paced, saturated, memory, inferences, strict=True)
    ]


def _name(place: int) -> str:
    return f"model-{place}"


def _figure(paced: list[float], saturated: list[float]) -> dict[str, float]:
    value, high = (float(found) for found in np.percentile(paced, [50, 95]))
    return {name: _rounded(one) for name, one in (("value", value), ("low", min(value, *saturated)), ("high", high))}


def _rounded(value: float) -> float:
    return float(f"{value:.3g}")


@dataclass(frozen=True, slots=True)
class _Server:
    process: subprocess.Popen[str]
    port: int

    def cpu(self) -> float:
        """CPU seconds of the whole process: its clock, as clock_getcpuclockid(3) packs it on Linux."""
        return time.clock_gettime((~self.process.pid << 3) | 2)


@contextmanager
def _serving(models: Path, log: Path) -> Iterator[_Server]:
    """A server of these models on a port that the system chose, all of them ready."""
    program = str(Path(sys.executable).parent / "trimtab-edge")
    command = [program, "serve", "--model-repository", str(models), "--http-port", "0"]
    with log.open("w") as errors:
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=errors, text=True)
    try:
        assert process.stdout is not None
        server = _Server(process, int(process.stdout.readline().rpartition(":")[2]))
        deadline = time.monotonic() + _READY_SECONDS
        while _get(server.port, "/v2/health/ready")[0] != 200:
            if time.monotonic() > deadline:
                raise OSError(f"the server is not ready within {_READY_SECONDS:g} s: {log.read_text()[-500:]}")
            time.sleep(0.1)
        yield server
    finally:
        process.terminate()
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        if process.stdout is not None:
            process.stdout.close()


def _get(port: int, path: str) -> tuple[int, bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    try:
        connection.request("GET", path)
        response = connection.getresponse()
        return response.status, response.read()
    finally:
        connection.close()


class _Asked:
    """One model of a server, warm, and the requests that it is asked."""

    def __init__(self, server: _Server, connection: http.client.HTTPConnection, model: str, subject: Subject) -> None:
        self._server, self._connection, self._model = server, connection, model
        datatypes = {spec["name"]: spec["datatype"] for spec in json.loads(_get(server.port, f"/v2/models/{model}")[1])["inputs"]}  # fmt: skip
        count = min(len(values) for values in subject.feeds.values())
        self._bodies = [
            json.dumps(
                {
                    "inputs": [
                        {
                            "name": tensor,
                            "datatype": datatypes[tensor],
                            "shape": [1, *values.shape[1:]],
                            "data": _stored(values[place : place + 1]).ravel().tolist(),
                        }
                        for tensor, values in subject.feeds.items()
                    ]
                }
            )
            for place in range(count)
        ]
        self.requests = 0
        for _ in range(WARM_UP):
            self._ask()
        self.requests = 0

    def measured(self, count: int, rate: float) -> Costs:
        """Mean cost of ``count`` requests, each after a pause of 1 / ``rate`` seconds."""
        before, cpu = self._figures(), 0.0
        for _ in range(count):
            time.sleep(1 / rate)
            started = self._server.cpu()
            self._ask()
            cpu += self._server.cpu() - started
        return self._costs(before, cpu)

    def measured_for(self, seconds: float) -> Costs:
        """Mean cost of requests that follow one another at once, for so long."""
        before, started = self._figures(), self._server.cpu()
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            self._ask()
        return self._costs(before, self._server.cpu() - started)

    def _ask(self) -> None:
        body = self._bodies[self.requests % len(self._bodies)]
        self.requests += 1
        self._connection.request("POST", f"/v2/models/{self._model}/infer", body, {"Content-Type": "application/json"})
        response = self._connection.getresponse()
        said = response.read()
        if response.status != 200:
            raise ValueError(f"{self._model}: status {response.status}: {said[:300].decode(errors='replace')}")

    def _figures(self) -> tuple[float, float, float]:
        """CPU seconds, wall seconds and inferences of this model so far."""
        _, text = _get(self._server.port, "/metrics")
        duration = vocabulary.INFERENCE_DURATION.name
        names = (vocabulary.INFERENCE_CPU.name, f"{duration}_sum", f"{duration}_count")
        found = dict.fromkeys(names, 0.0)
        for family in text_string_to_metric_families(text.decode()):
            for one in family.samples:
                if one.name in found and one.labels["model"] == self._model:
                    found[one.name] += one.value
        return found[names[0]], found[names[1]], found[names[2]]

    def _costs(self, before: tuple[float, float, float], process: float) -> Costs:
        after = self._figures()
        cpu, wall, count = (late - early for late, early in zip(after, before, strict=True))
        return Costs(cpu / count, wall / count, process / count)


def _resident_bytes(field: str) -> int:
    for line in Path("/proc/self/status").read_text(encoding="ascii").splitlines():
        if line.startswith(field):
            return int(line.split()[1]) * 1024
    raise OSError(f"no {field} in /proc/self/status: memory can be measured on Linux only")


def _stored(rows: NDArray[Any]) -> NDArray[Any]:
    return rows.astype(str) if rows.dtype.kind in "OU" else rows.astype(np.float32)


def _added_memory(file: Path, feeds: Mapping[str, NDArray[Any]]) -> int:
    given = {name: rows.astype(object) if rows.dtype.kind == "U" else rows for name, rows in feeds.items()}
    count = min(len(rows) for rows in given.values())
    before = _resident_bytes("VmRSS")
    model = session(file.read_bytes())
    for place in range(min(count, WARM_UP)):
        model.run(None, {name: rows[place : place + 1] for name, rows in given.items()})
    return max(0, _resident_bytes("VmHWM") - before)


if __name__ == "__main__":
    print(json.dumps({"memory": _added_memory(Path(sys.argv[1]), np.load(sys.argv[2]))}))
