"""Which of onnxruntime's execution providers runs a model: the best that this build and this box have.

The choice is by name only. Whether a provider works (its driver, its libraries) shows when a session is made with it, so
whoever makes one falls back to the processor, which is always there.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

CPU = "CPUExecutionProvider"
PREFERRED = (
    "CUDAExecutionProvider",
    "ROCMExecutionProvider",
    "MIGraphXExecutionProvider",
    "QNNExecutionProvider",
    "OpenVINOExecutionProvider",
    "CoreMLExecutionProvider",
    "DmlExecutionProvider",
)
"""Best first. Not here: AzureExecutionProvider, which sends requests elsewhere, and TensorRT, which compiles for minutes."""


def choose(available: Iterable[str]) -> tuple[str, ...]:
    """The providers to ask for, best first; the processor is always the last."""
    there = set(available)
    return (*(name for name in PREFERRED if name in there), CPU)
