"""Policies in process: what ``opa build -t wasm`` made, on wasmtime, within limits of time and memory.

Source of the ABI: the OPA documentation, "WebAssembly", ABI 1.3 (``opa_eval`` with a heap pointer, results as JSON).
"""

from __future__ import annotations

import atexit
import contextlib
import ctypes
import json
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import wasmtime

from trimtab_config.policy.answers import FAILED, INPUT, UNDEFINED, batches, decisions_of, engine_denial, is_object
from trimtab_kernel.problems import InputError, Problem
from trimtab_kernel.records import dataclass

if TYPE_CHECKING:
    from collections.abc import Sequence

    from trimtab_config.policy.bundle import PolicyBundle
    from trimtab_config.policy.interface import Decision

_PAGE = 65536
_ALIGNMENT = 8
_ABI = (1, 2)  # what is called here is there since minor version 2


@dataclass(frozen=True, slots=True)
class WasmLimits:
    """``fuel`` is for each request, about one unit an instruction; ``memory`` is in bytes, for everything at once."""

    fuel: int = 20_000_000
    memory: int = 32 * 2**20
    batch: int = 256
    batch_bytes: int = 2**20


class _StoppedError(Exception):
    """The module gave up, or was stopped; its memory is worth nothing any more."""


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
            self._engine, self._module = _compiled(bundle.module)
            self._instance: _Instance | None = _Instance(self._engine, self._module, bundle.data, self._limits)
        except (wasmtime.WasmtimeError, wasmtime.Trap, _StoppedError, KeyError) as error:
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
        except _StoppedError:
            return None
        return decisions_of(_first(result), len(requests), self._titles)

    def _alone(self, request: bytes) -> Decision:
        if not is_object(request):
            return engine_denial(INPUT, f"{len(request)} bytes that are no JSON object", "an input document")
        try:
            result = self._evaluate([request])
        except _StoppedError as error:
            return engine_denial(FAILED, str(error))
        found = decisions_of(_first(result), 1, self._titles)
        return engine_denial(UNDEFINED, "an undefined result") if found is None else found[0]

    def _evaluate(self, requests: Sequence[bytes]) -> object:
        if self._instance is None:
            self._instance = _Instance(self._engine, self._module, self._bundle.data, self._limits)
        try:
            return json.loads(
                self._instance.evaluate(
                    b'{"requests":[' + b",".join(requests) + b"]}", self._limits.fuel * len(requests)
                )
            )
        except _StoppedError:
            self._instance = None
            raise
        except (ValueError, RecursionError) as error:
            self._instance = None
            raise _StoppedError("an answer that is no JSON") from error


class _Instance:
    """A module with its own memory, data loaded, ready to evaluate again and again."""

    def __init__(self, engine: wasmtime.Engine, module: wasmtime.Module, data: bytes, limits: WasmLimits) -> None:
        self._store = wasmtime.Store(engine)
        self._store.set_fuel(limits.fuel)
        needed = next((item.type for item in module.imports if isinstance(item.type, wasmtime.MemoryType)), None)
        pages = 2 if needed is None else needed.limits.min
        self._most = limits.memory
        self._memory = wasmtime.Memory(
            self._store, wasmtime.MemoryType(wasmtime.Limits(pages, max(pages, limits.memory // _PAGE)))
        )
        self._aborted = ""
        exports = wasmtime.Instance(self._store, module, [self._import(item) for item in module.imports]).exports(
            self._store
        )
        self._eval: Any = exports["opa_eval"]
        version = tuple(
            _global(exports[name], self._store) for name in ("opa_wasm_abi_version", "opa_wasm_abi_minor_version")
        )
        if version[0] != _ABI[0] or version[1] < _ABI[1]:
            raise _StoppedError(f"ABI {version[0]}.{version[1]}, expected {_ABI[0]}.{_ABI[1]} or later")
        builtins = self._text(self._call(exports["builtins"]), exports)
        if builtins != "{}":
            raise _StoppedError(f"needs functions that are not there: {', '.join(sorted(json.loads(builtins)))}")
        address = self._call(exports["opa_malloc"], len(data))
        self._memory.write(self._store, data, address)
        self._data = self._call(exports["opa_json_parse"], address, len(data))
        if not self._data:
            raise _StoppedError("its data are no JSON")
        self._base = self._call(exports["opa_heap_ptr_get"])

    @property
    def memory_bytes(self) -> int:
        return self._memory.data_len(self._store)

    def evaluate(self, document: bytes, fuel: int) -> bytes:
        """The result set for one input, as JSON. Raises _StoppedError."""
        end = self._base + len(document)
        short = end + _PAGE - self.memory_bytes
        try:
            if short > 0:
                self._memory.grow(self._store, -(-short // _PAGE))
        except wasmtime.WasmtimeError as error:
            raise _StoppedError(
                f"an input of {len(document)} bytes, more than {self._most} bytes of memory take"
            ) from error
        self._memory.write(self._store, document, self._base)
        self._store.set_fuel(fuel)
        heap = -(-end // _ALIGNMENT) * _ALIGNMENT
        address = self._call(self._eval, 0, 0, self._data, self._base, len(document), heap, 0)
        return self._bytes(address)

    def _call(self, function: Any, *arguments: int) -> int:  # noqa: ANN401 - exports are of many types
        try:
            result: int = function(self._store, *arguments)
        except wasmtime.Trap as error:
            if self._aborted:
                raise _StoppedError(self._aborted) from error
            out_of_fuel = error.trap_code is wasmtime.TrapCode.OUT_OF_FUEL
            raise _StoppedError("no end within the limit" if out_of_fuel else f"a trap, {error.trap_code}") from error
        except (wasmtime.WasmtimeError, _StoppedError) as error:
            raise _StoppedError(self._aborted or "a failure inside the module") from error
        return result

    def _import(self, item: Any) -> wasmtime.Memory | wasmtime.Func:  # noqa: ANN401 - wasmtime's own import type
        kind = item.type
        if isinstance(kind, wasmtime.MemoryType):
            return self._memory
        if item.name == "opa_abort":
            return wasmtime.Func(self._store, kind, self._abort)
        return wasmtime.Func(self._store, kind, self._builtin)

    def _abort(self, address: int) -> None:
        self._aborted = f"aborted: {self._bytes(address)[:200].decode(errors='replace')}"
        raise _StoppedError(self._aborted)

    def _builtin(self, *_: int) -> int:
        self._aborted = "a function that is not there"
        raise _StoppedError(self._aborted)

    def _bytes(self, address: int) -> bytes:
        """The text that ends with a zero byte. Raises _StoppedError where there is none within the memory."""
        size = self.memory_bytes
        if not 0 < address < size:
            raise _StoppedError("an address outside its memory")
        pointer = ctypes.addressof(self._memory.data_ptr(self._store).contents) + address
        found = ctypes.string_at(pointer, min(size - address, 4096))
        end = found.find(b"\0")
        if end < 0:
            found = ctypes.string_at(pointer, size - address)
            end = found.find(b"\0")
        if end < 0:
            raise _StoppedError("a text without an end")
        return found[:end]

    def _text(self, address: int, exports: Any) -> str:  # noqa: ANN401 - exports are of many types
        return self._bytes(self._call(exports["opa_json_dump"], address)).decode()


@lru_cache(maxsize=8)
def _compiled(module: bytes) -> tuple[wasmtime.Engine, wasmtime.Module]:
    """The same compiled code for all engines of a process. Raises WasmtimeError."""
    engine = wasmtime.Engine(_configuration())
    return engine, wasmtime.Module(engine, module)


# Before the interpreter takes wasmtime's own functions away: freeing needs them.
atexit.register(_compiled.cache_clear)


def _configuration() -> wasmtime.Config:
    """One thread, fuel counted; compiled modules are kept in wasmtime's own cache where there is a place for it."""
    made = wasmtime.Config()
    made.consume_fuel = True
    made.parallel_compilation = False
    with contextlib.suppress(wasmtime.WasmtimeError):  # no home: each process compiles, a tenth of a second
        made.cache = True
    return made


def _global(value: Any, store: wasmtime.Store) -> int:  # noqa: ANN401 - exports are of many types
    number: int = value.value(store)
    return number


def _first(result: object) -> object:
    """The value of the entry point: a result set has one element, ``{"result": ...}``, and none where it is undefined."""
    if isinstance(result, list) and len(result) == 1 and isinstance(result[0], dict):
        return result[0].get("result")
    return None
