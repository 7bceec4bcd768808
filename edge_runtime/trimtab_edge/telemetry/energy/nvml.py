"""NVIDIA's management library: joules, busy time and memory of GPUs.

Source of names, units and signatures: NVML API Reference Guide, "Device Queries". The library comes with the driver; where
it cannot be loaded there is no GPU to speak of, and no figure is given.
"""

from __future__ import annotations

import ctypes
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from trimtab_edge.telemetry.energy.meter import Grade, MeterError, Source, grown

if TYPE_CHECKING:
    from collections.abc import Callable

LIBRARY = "libnvidia-ml.so.1"
MAX_GPUS = 8
_NAME_BYTES = 96
_MAX_GAP = 60.0


@dataclass(frozen=True, slots=True)
class GpuSample:
    """One GPU now. None where this GPU does not tell."""

    name: str
    energy_millijoules: int | None
    busy_percent: int | None
    memory_used_bytes: int | None


class Gpus(Protocol):
    """Where samples come from."""

    def read(self) -> list[GpuSample]:
        """All GPUs, always in the same order. Raises :class:`MeterError`."""


class _Utilization(ctypes.Structure):
    _fields_ = (("gpu", ctypes.c_uint), ("memory", ctypes.c_uint))


class _Memory(ctypes.Structure):
    _fields_ = (("total", ctypes.c_ulonglong), ("free", ctypes.c_ulonglong), ("used", ctypes.c_ulonglong))


_A = TypeVar("_A", ctypes.c_ulonglong, _Utilization, _Memory)


class NvmlLibrary:
    """The library itself. ``load`` opens it (``ctypes.CDLL`` by default)."""

    def __init__(self, load: Callable[[str], Any] = ctypes.CDLL) -> None:
        """Raises :class:`MeterError` where the library is not there or finds no GPU."""
        try:
            self._library = load(LIBRARY)
        except OSError:
            raise MeterError(f"{LIBRARY}: not there") from None
        self._call("nvmlInit_v2")
        count = ctypes.c_uint()
        self._call("nvmlDeviceGetCount_v2", ctypes.byref(count))
        if count.value == 0:
            raise MeterError("nvml: no GPU")
        self._devices = []
        for index in range(min(count.value, MAX_GPUS)):
            device = ctypes.c_void_p()
            self._call("nvmlDeviceGetHandleByIndex_v2", ctypes.c_uint(index), ctypes.byref(device))
            name = ctypes.create_string_buffer(_NAME_BYTES)
            self._call("nvmlDeviceGetName", device, name, ctypes.c_uint(_NAME_BYTES))
            self._devices.append((device, name.value.decode("utf-8", "replace")))

    def _call(self, function: str, *arguments: object) -> None:
        status = getattr(self._library, function)(*arguments)
        if status != 0:
            raise MeterError(f"nvml: {function} returned {status}")

    def _asked(self, function: str, device: ctypes.c_void_p, answer: _A) -> _A | None:
        try:
            self._call(function, device, ctypes.byref(answer))
        except MeterError:  # commonly "not supported" by this GPU
            return None
        return answer

    def read(self) -> list[GpuSample]:
        """See :class:`Gpus`."""
        samples = []
        for device, name in self._devices:
            energy = self._asked("nvmlDeviceGetTotalEnergyConsumption", device, ctypes.c_ulonglong())
            busy = self._asked("nvmlDeviceGetUtilizationRates", device, _Utilization())
            memory = self._asked("nvmlDeviceGetMemoryInfo", device, _Memory())
            samples.append(
                GpuSample(
                    name,
                    None if energy is None else int(energy.value),
                    None if busy is None else int(busy.gpu),
                    None if memory is None else int(memory.used),
                )
            )
        return samples


@dataclass(slots=True)
class GpuFigures:
    """One GPU since the start. None where it never told."""

    name: str
    joules: float | None = None
    busy_seconds: float | None = None
    memory_bytes: int | None = None


class GpuMeter:
    """Adds samples up: joules as the GPU counts them, busy seconds as utilisation times elapsed time."""

    source = Source("nvml", Grade.MEASURED)

    def __init__(self, gpus: Gpus) -> None:
        """Raises :class:`MeterError` where the GPUs cannot be read."""
        self._gpus = gpus
        self._before = gpus.read()
        self._at: float | None = None
        self.figures = [GpuFigures(sample.name) for sample in self._before]

    def advance(self, at: float) -> None:
        """Read again; ``at`` in a steady clock's seconds. What could not be read, or lies too far back, is left out."""
        try:
            samples = self._gpus.read()
        except MeterError:
            self._at = None
            return
        before, self._before = self._before, samples
        since, self._at = self._at, at
        elapsed = at - since if since is not None and 0 <= at - since <= _MAX_GAP else None
        for figures, old, new in zip(self.figures, before, samples, strict=False):
            if old.energy_millijoules is not None and new.energy_millijoules is not None:
                millijoules = grown(old.energy_millijoules, new.energy_millijoules, None)
                figures.joules = (figures.joules or 0.0) + (millijoules or 0) / 1000
            if new.busy_percent is not None:
                busy = elapsed * new.busy_percent / 100 if elapsed is not None else 0.0
                figures.busy_seconds = (figures.busy_seconds or 0.0) + busy
            figures.memory_bytes = new.memory_used_bytes
