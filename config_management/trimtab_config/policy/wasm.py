"""Policies in process: what ``opa build -t wasm`` made, on wasmtime, within limits of time and memory.

Source of the ABI: the OPA documentation, "WebAssembly", ABI 1.3 (``opa_eval`` with a heap pointer, results as JSON).
"""

from __future__ import annotations

import atexit
import json
from functools import lru_cache
from typing import TYPE_CHECKING

from trimtab_config.policy.answers import FAILED, INPUT, UNDEFINED, batches, decisions_of, engine_denial, is_object
from trimtab_config.policy.machine import PAGE, AbortedError, StoppedError
from trimtab_kernel.problems import InputError, Problem
from trimtab_kernel.records import dataclass

if TYPE_CHECKING:
    from collections.abc import Sequence

    from trimtab_config.policy.bundle import PolicyBundle
    from trimtab_config.policy.interface import Decision
    from trimtab_config.policy.machine import Compiled

_ALIGNMENT = 8
_ABI = (1, 2)  # what is called here is there since minor version 2


@dataclass(frozen=True, slots=True)
class WasmLimits:
    """``fuel`` is for each request, about one unit an instruction; ``memory`` is in bytes, for everything at once."""

    fuel: int = 20_000_000
    memory: int = 32 * 2**20
    batch: int = 256
    batch_bytes: int = 2**20


class WasmPolicyEngine:
    """A PolicyEngine over one bundle. Nothing of one call is there in the next: the heap begins at the same place again.

    A call that fails (out of fuel, out of memory, aborted) is made again for each of its requests alone, in a new
    instance, so that one request cannot deny another. Raises InputError (F505) for a module that needs what is not here.
    """

    def __init__(self, bundle: PolicyBundle, limits: WasmLimits | None = None) -> None:
        self._bundle = bundle
        self._limits = limits or WasmLimits()
        self._titles = bundle.titles
        try:
            self._compiled = _compiled(bundle.module)
            self._instance: _Instance | None = _Instance(self._compiled, bundle.data, self._limits)
        except StoppedError as error:
            raise InputError(
                Problem(
                    "F505", got="a module that cannot be loaded", expected="one of opa build -t wasm", hint=str(error)
                )
            ) from error

    @property
    def digest(self) -> str:
        """As PolicyEngine says."""
        return self._bundle.digest

    @property
    def memory_bytes(self) -> int:
        """What the module's memory has grown to."""
        return 0 if self._instance is None else self._instance.memory_bytes

    def decide(self, requests: Sequence[bytes]) -> Sequence[Decision]:
        """As PolicyEngine says."""
        found: list[Decision] = []
        for places in batches(requests, self._limits.batch, self._limits.batch_bytes):
            some = [requests[place] for place in places]
            together = self._together(some) if all(map(is_object, some)) else None
            found += [self._alone(request) for request in some] if together is None else together
        return found

    def _together(self, requests: Sequence[bytes]) -> list[Decision] | None:
        """None where not every request has its answer."""
        try:
            result = self._evaluate(requests)
        except StoppedError:
            return None
        return decisions_of(_first(result), len(requests), self._titles)

    def _alone(self, request: bytes) -> Decision:
        if not is_object(request):
            return engine_denial(INPUT, f"{len(request)} bytes that are no JSON object", "an input document")
        try:
            result = self._evaluate([request])
        except StoppedError as error:
            return engine_denial(FAILED, str(error))
        found = decisions_of(_first(result), 1, self._titles)
        return engine_denial(UNDEFINED, "an undefined result") if found is None else found[0]

    def _evaluate(self, requests: Sequence[bytes]) -> object:
        if self._instance is None:
            self._instance = _Instance(self._compiled, self._bundle.data, self._limits)
        try:
            return json.loads(
                self._instance.evaluate(
                    b'{"requests":[' + b",".join(requests) + b"]}", self._limits.fuel * len(requests)
                )
            )
        except StoppedError:
            self._instance = None
            raise
        except (ValueError, RecursionError) as error:
            self._instance = None
            raise StoppedError("an answer that is no JSON") from error


class _Instance:
    """A module with its own memory, data loaded, ready to evaluate again and again."""

    def __init__(self, compiled: Compiled, data: bytes, limits: WasmLimits) -> None:
        self._most = limits.memory
        self._machine = compiled.start(limits.fuel, limits.memory // PAGE)
        major, minor = map(self._machine.constant, ("opa_wasm_abi_version", "opa_wasm_abi_minor_version"))
        if major != _ABI[0] or minor < _ABI[1]:
            raise StoppedError(f"ABI {major}.{minor}, expected {_ABI[0]}.{_ABI[1]} or later")
        builtins = self._bytes(self._call("opa_json_dump", self._call("builtins")))
        if builtins != b"{}":
            raise StoppedError(f"needs functions that are not there: {_names(builtins)}")
        address = self._call("opa_malloc", len(data))
        self._machine.write(address, data)
        self._data = self._call("opa_json_parse", address, len(data))
        if not self._data:
            raise StoppedError("its data are no JSON")
        self._base = self._call("opa_heap_ptr_get")

    @property
    def memory_bytes(self) -> int:
        return self._machine.size

    def evaluate(self, document: bytes, fuel: int) -> bytes:
        """The result set for one input, as JSON. Raises StoppedError."""
        end = self._base + len(document)
        short = end + PAGE - self.memory_bytes
        if short > 0:
            try:
                self._machine.grow(-(-short // PAGE))
            except StoppedError as error:
                text = f"an input of {len(document)} bytes, more than {self._most} bytes of memory take"
                raise StoppedError(text) from error
        self._machine.write(self._base, document)
        self._machine.set_fuel(fuel)
        heap = -(-end // _ALIGNMENT) * _ALIGNMENT
        return self._bytes(self._call("opa_eval", 0, 0, self._data, self._base, len(document), heap, 0))

    def _call(self, name: str, *arguments: int) -> int:
        try:
            return self._machine.call(name, *arguments)
        except AbortedError as error:
            text = self._bytes(error.address)[:200].decode(errors="replace")
            raise StoppedError(f"aborted: {text}") from error

    def _bytes(self, address: int) -> bytes:
        """The text that ends with a zero byte. Raises StoppedError where there is none within the memory."""
        for most in (4096, self.memory_bytes):
            found = self._machine.read(address, most)
            end = found.find(b"\0")
            if end >= 0:
                return found[:end]
        raise StoppedError("a text without an end")


@lru_cache(maxsize=8)
def _compiled(module: bytes) -> Compiled:
    """The same compiled code for all engines of a process. Raises StoppedError, ModuleNotFoundError without wasmtime."""
    from trimtab_config.policy.wasm_library import LibraryCompiled, library

    known = library()
    if known is not None:
        return LibraryCompiled(known, module)
    from trimtab_config.policy.wasm_package import PackageCompiled

    return PackageCompiled(module)


# Before the interpreter takes away what freeing needs.
atexit.register(_compiled.cache_clear)


def _names(builtins: bytes) -> str:
    try:
        return ", ".join(sorted(json.loads(builtins)))
    except (ValueError, TypeError, RecursionError):
        return "no list of them"


def _first(result: object) -> object:
    """The value of the entry point: a result set has one element, ``{"result": ...}``, and none where it is undefined."""
    if isinstance(result, list) and len(result) == 1 and isinstance(result[0], dict):
        return result[0].get("result")
    return None
