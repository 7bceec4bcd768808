"""onnxruntime, tuned for a small box: no spinning, nothing logged that could hold a request's content.

By default onnxruntime's worker threads spin between requests; at ten requests a second that alone takes tens of percent
of a core. With one intra-op thread there is no pool at all, and a request's work is done by the thread that calls
:meth:`OnnxSession.run`, so that thread's CPU time is the request's. With more, the pool's CPU time is added.
"""

from __future__ import annotations

import ctypes
import math
import os
import threading
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import onnxruntime
from onnxruntime.capi.onnxruntime_pybind11_state import InvalidArgument

from trimtab_edge.serving import providers
from trimtab_edge.serving.failure import Fault, RequestError
from trimtab_edge.serving.onnx_file import inputs_without_rank
from trimtab_edge.serving.pool_clock import PoolClock, native_threads
from trimtab_edge.serving.tensors import NUMPY_TYPES, Array, Signature, TensorSpec
from trimtab_kernel.problems import InputError, Problem, printable, quoted

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence, Set
    from pathlib import Path

PLATFORM = "onnxruntime_onnx"
VERSION: str = onnxruntime.__version__
INTRA_SPINNING = "session.intra_op.allow_spinning"
INTER_SPINNING = "session.inter_op.allow_spinning"
WEIGHTS_FOLDER = "session.model_external_initializers_file_folder_path"
_WARM_UP_RUNS = 3
_WARM_UP_SECONDS = 0.2
"""A model whose first run takes longer is warm enough after it."""
_WARM_UP_LIMIT = 60.0
"""One whose first run takes so long does not answer: other models wait for their turn to be loaded."""
_FATAL_ONLY = 4
_ONNX_BFLOAT16 = 16
"""TensorProto.DataType of onnx.proto."""
_DATATYPES = {
    "tensor(bool)": "BOOL",
    "tensor(uint8)": "UINT8",
    "tensor(uint16)": "UINT16",
    "tensor(uint32)": "UINT32",
    "tensor(uint64)": "UINT64",
    "tensor(int8)": "INT8",
    "tensor(int16)": "INT16",
    "tensor(int32)": "INT32",
    "tensor(int64)": "INT64",
    "tensor(float16)": "FP16",
    "tensor(bfloat16)": "BF16",
    "tensor(float)": "FP32",
    "tensor(double)": "FP64",
    "tensor(string)": "BYTES",
}


@dataclass(frozen=True, slots=True)
class WarmUp:
    """What the first runs on zeros showed: elements fed in, CPU and wall seconds of the fastest run."""

    elements: int
    cpu_seconds: float
    seconds: float


class Cancellation:
    """Stops a run from another thread, at the next node of its graph."""

    __slots__ = ("is_asked", "options")

    def __init__(self) -> None:
        self.options = onnxruntime.RunOptions()
        self.options.log_severity_level = _FATAL_ONLY
        self.is_asked = False

    def ask(self) -> None:
        """From now on the run ends as soon as it can."""
        self.is_asked = True
        self.options.terminate = True


def available_providers() -> list[str]:
    """What this build of onnxruntime has."""
    found: list[str] = onnxruntime.get_available_providers()
    return found


def _options(threads: int, beside: str) -> onnxruntime.SessionOptions:
    options = onnxruntime.SessionOptions()
    # Without it weights of other files would be looked for in the process's working directory.
    options.add_session_config_entry(WEIGHTS_FOLDER, beside)
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.execution_mode = onnxruntime.ExecutionMode.ORT_SEQUENTIAL
    options.add_session_config_entry(INTRA_SPINNING, "0")
    options.add_session_config_entry(INTER_SPINNING, "0")
    # Its error messages quote indices and values of the request; ours name the kind of error only.
    options.log_severity_level = _FATAL_ONLY
    return options


def _spec(node: onnxruntime.NodeArg, unranked: Set[str] = frozenset()) -> TensorSpec | None:
    datatype = _DATATYPES.get(node.type)
    if datatype is None:
        return None
    shape = tuple(
        size if isinstance(size, str) or (isinstance(size, int) and size >= 0) else None for size in node.shape
    )
    return TensorSpec(node.name, datatype, shape, ranked=node.name not in unranked)


class OnnxSession:
    """One loaded model. Any number of threads may run it at once."""

    def __init__(
        self,
        content: bytes,
        file: str,
        *,
        threads: int = 1,
        wanted: Sequence[str] = (providers.CPU,),
        beside: Path | None = None,
    ) -> None:
        """Raises :class:`InputError` (E402) where onnxruntime refuses ``content``; ``file`` is for the message.

        ``threads`` work on one request. ``wanted`` are execution providers, best first; one that fails here is left out.
        ``beside`` is the directory whose files may hold weights (ONNX's external data); None: ``content`` holds them all.
        """
        before = native_threads() if threads > 1 else frozenset()
        self._session = _made(content, file, threads, wanted, beside)
        self.threads = threads
        self.providers: tuple[str, ...] = tuple(self._session.get_providers())
        """What onnxruntime says it uses, best first."""
        self._pool = PoolClock(native_threads() - before) if threads > 1 else None
        inputs = []
        nodes = self._session.get_inputs()
        unranked = inputs_without_rank(content) if any(not node.shape for node in nodes) else frozenset()
        for node in nodes:
            spec = _spec(node, unranked)
            if spec is None:
                raise InputError(
                    Problem(
                        "E402", file, 0, f"input {quoted(node.name)}", quoted(node.type), "a tensor of a V2 datatype"
                    )
                )
            inputs.append(spec)
        nodes = self._session.get_outputs()
        outputs = tuple(spec for node in nodes if (spec := _spec(node)) is not None)
        if not outputs:
            raise InputError(Problem("E402", file, 0, "outputs", "no tensor", "at least one tensor of a V2 datatype"))
        self.signature = Signature(tuple(inputs), outputs)
        self._bf16_in = frozenset(spec.name for spec in inputs if spec.datatype == "BF16")
        self._bf16_out = frozenset(spec.name for spec in outputs if spec.datatype == "BF16")
        if self._bf16_out and any(spec.datatype == "BYTES" for spec in (*inputs, *outputs)):
            # onnxruntime hands BF16 results out by the interface that takes no text.
            raise InputError(Problem("E402", file, 0, "outputs", "BF16 beside BYTES", "a model without one of the two"))
        self.left_out = tuple(node.name for node in nodes if _spec(node) is None)
        """Outputs that are no tensors (sequences, maps): V2 has no form for them, so they are not served."""
        self._file = file

    def warm_up(self, limit: float = _WARM_UP_LIMIT) -> WarmUp | None:
        """Run on zeros, every size that a request may choose being 1, so that the first request finds everything made.

        Zeros of such a size are no proper input of every model, so an error is one of the model only where at most the
        first size is open and no text is asked for: then raises :class:`InputError` (E402), and where a run did not end
        within ``limit`` seconds.
        """
        specs = self.signature.inputs
        feeds = {
            spec.name: np.full(
                [size if isinstance(size, int) else 1 for size in spec.shape],
                "" if spec.datatype == "BYTES" else 0,
                dtype=NUMPY_TYPES[spec.datatype],
            )
            for spec in specs
        }
        proper = all(
            spec.datatype != "BYTES" and spec.ranked and all(isinstance(size, int) for size in spec.shape[1:])
            for spec in specs
        )
        names = [spec.name for spec in self.signature.outputs]
        fastest, quickest, spent, runs = math.inf, math.inf, 0.0, 0
        stop = Cancellation()
        timer = threading.Timer(limit, stop.ask)
        timer.start()
        try:
            while runs < _WARM_UP_RUNS and spent < _WARM_UP_SECONDS:
                at = time.perf_counter()
                _, cpu = self._timed(names, feeds, stop)
                took = time.perf_counter() - at
                fastest, quickest, spent, runs = min(fastest, cpu), min(quickest, took), spent + took, runs + 1
        except Exception as error:  # onnxruntime's errors share no base class
            if stop.is_asked:
                got = f"a first run that had not ended after {limit:g} s"
                raise InputError(Problem("E402", self._file, 0, "", got, "a model that answers sooner")) from None
            if proper:
                raise InputError(_problem(self._file, error)) from None
            return None
        finally:
            timer.cancel()
            timer.join()
        return WarmUp(sum(array.size for array in feeds.values()), fastest, quickest)

    def config_entry(self, name: str) -> str:
        """What the session's own configuration says; raises RuntimeError for a name that it does not hold."""
        found: str = self._session.get_session_options().get_session_config_entry(name)
        return found

    def run(
        self, names: Sequence[str], feeds: Mapping[str, Array], cancellation: Cancellation | None = None
    ) -> tuple[list[Array], float]:
        """The outputs in the order of ``names``, and the CPU seconds. Raises :class:`RequestError`."""
        try:
            return self._timed(names, feeds, cancellation)
        except InvalidArgument as error:
            raise RequestError(Fault.INVALID, f"the model refused the input: {printable(str(error), 300)}") from None
        except Exception as error:  # onnxruntime's errors share no base class
            if cancellation is not None and cancellation.is_asked:
                raise RequestError(Fault.DEADLINE, "the deadline passed while the model ran") from None
            raise RequestError(Fault.INTERNAL, f"the model failed on this request ({type(error).__name__})") from None

    def _timed(
        self, names: Sequence[str], feeds: Mapping[str, Array], cancellation: Cancellation | None
    ) -> tuple[list[Array], float]:
        started = time.thread_time_ns()
        arrays = self._run(names, feeds, None if cancellation is None else cancellation.options)
        cpu = (time.thread_time_ns() - started) / 1e9
        return arrays, cpu if self._pool is None else cpu + self._pool.take()

    def _run(
        self, names: Sequence[str], feeds: Mapping[str, Array], options: onnxruntime.RunOptions | None
    ) -> list[Array]:
        if self._bf16_in or self._bf16_out:
            return self._run_bf16(names, feeds, options)
        arrays: list[Array] = self._session.run(names, feeds, options)
        return arrays

    def _run_bf16(
        self, names: Sequence[str], feeds: Mapping[str, Array], options: onnxruntime.RunOptions | None
    ) -> list[Array]:
        """As :meth:`_run`, where numpy cannot name a type. A BF16 output is copied once; it is uint16 bits."""
        value = onnxruntime.OrtValue
        fed: dict[str, Any] = {
            name: value.ortvalue_from_numpy_with_onnx_type(array, _ONNX_BFLOAT16) if name in self._bf16_in else array
            for name, array in feeds.items()
        }
        if not self._bf16_out:
            arrays: list[Array] = self._session.run(names, fed, options)
            return arrays
        for name, array in feeds.items():
            if name not in self._bf16_in:
                fed[name] = value.ortvalue_from_numpy(array)
        results = self._session.run_with_ort_values(names, fed, options)
        return [
            _bits(result) if name in self._bf16_out else result.numpy()
            for name, result in zip(names, results, strict=True)
        ]


def _made(
    content: bytes, file: str, threads: int, wanted: Sequence[str], beside: Path | None
) -> onnxruntime.InferenceSession:
    folder = os.devnull if beside is None else str(beside.resolve())
    try:
        return onnxruntime.InferenceSession(content, sess_options=_options(threads, folder), providers=list(wanted))
    except Exception as error:  # onnxruntime's errors share no base class
        if len(wanted) > 1:
            return _made(content, file, threads, wanted[1:], beside)
        if beside is None and "external data" in str(error).lower():
            expected = "all weights within the file, since its digest says nothing of others"
            raise InputError(Problem("E402", file, 0, "", "weights in other files", expected)) from None
        raise InputError(_problem(file, error)) from None


def _bits(result: onnxruntime.OrtValue) -> Array:
    shape = tuple(result.shape())
    size = math.prod(shape)
    content = ctypes.string_at(result.data_ptr(), 2 * size) if size else b""
    return np.frombuffer(content, np.uint16).reshape(shape)


def _problem(file: str, error: Exception) -> Problem:
    return Problem(
        "E402", file, 0, "", quoted(printable(str(error), 300), 300), "an ONNX model that this onnxruntime runs"
    )
