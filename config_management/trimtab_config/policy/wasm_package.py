"""A machine by the Python package wasmtime, of whatever version is installed."""

from __future__ import annotations

import contextlib
import ctypes
from typing import TYPE_CHECKING, Any, NoReturn

import wasmtime

from trimtab_config.policy.machine import ABORT, OUT_OF_FUEL, AbortedError, StoppedError, reason, within

if TYPE_CHECKING:
    from collections.abc import Callable


class PackageCompiled:
    """See :class:`~trimtab_config.policy.machine.Compiled`. Raises StoppedError for bytes that are no module."""

    def __init__(self, code: bytes) -> None:
        self._engine = wasmtime.Engine(_configuration())
        try:
            self._module = wasmtime.Module(self._engine, code)
        except wasmtime.WasmtimeError as error:
            raise StoppedError(reason(str(error))) from error

    def start(self, fuel: int, most_pages: int) -> PackageMachine:
        """See :class:`~trimtab_config.policy.machine.Compiled`."""
        try:
            return PackageMachine(self._engine, self._module, fuel, most_pages)
        except (wasmtime.WasmtimeError, wasmtime.Trap) as error:
            raise StoppedError(reason(str(error))) from error


class PackageMachine:
    """See :class:`~trimtab_config.policy.machine.Machine`."""

    def __init__(self, engine: wasmtime.Engine, module: wasmtime.Module, fuel: int, most_pages: int) -> None:
        self._store = wasmtime.Store(engine)
        self._store.set_fuel(fuel)
        needed = next((item.type for item in module.imports if isinstance(item.type, wasmtime.MemoryType)), None)
        pages = 2 if needed is None else needed.limits.min
        self._memory = wasmtime.Memory(self._store, wasmtime.MemoryType(wasmtime.Limits(pages, max(pages, most_pages))))
        self._exports = wasmtime.Instance(self._store, module, [self._import(item) for item in module.imports]).exports(
            self._store
        )

    @property
    def size(self) -> int:
        """See Machine."""
        return self._memory.data_len(self._store)

    def set_fuel(self, fuel: int) -> None:
        """See Machine."""
        self._store.set_fuel(fuel)

    def grow(self, pages: int) -> None:
        """See Machine."""
        try:
            self._memory.grow(self._store, pages)
        except wasmtime.WasmtimeError as error:
            raise StoppedError("no more memory") from error

    def write(self, address: int, content: bytes) -> None:
        """See Machine."""
        self._memory.write(self._store, content, within(address, len(content), self.size))

    def read(self, address: int, most: int) -> bytes:
        """See Machine."""
        size = self.size
        start = ctypes.addressof(self._memory.data_ptr(self._store).contents)
        return ctypes.string_at(start + within(address, 1, size), min(most, size - address))

    def constant(self, name: str) -> int:
        """See Machine."""
        found = self._export(name)
        if not isinstance(found, wasmtime.Global):
            raise StoppedError(f"{name} is no global")
        number: int = found.value(self._store)
        return number

    def call(self, name: str, *arguments: int) -> int:
        """See Machine."""
        function = self._export(name)
        if not isinstance(function, wasmtime.Func):
            raise StoppedError(f"{name} is no function")
        try:
            result = function(self._store, *arguments)
        except wasmtime.Trap as error:
            out_of_fuel = error.trap_code is wasmtime.TrapCode.OUT_OF_FUEL
            raise StoppedError(OUT_OF_FUEL if out_of_fuel else reason(error.message)) from error
        except wasmtime.WasmtimeError as error:
            raise StoppedError(reason(str(error))) from error
        if not isinstance(result, int):
            raise StoppedError(f"{name} gives no number")
        return result

    def _export(self, name: str) -> object:
        try:
            return self._exports[name]
        except KeyError:
            raise StoppedError(f"no {name}") from None

    def _import(self, item: Any) -> wasmtime.Memory | wasmtime.Func:  # noqa: ANN401 - wasmtime's own import type
        kind = item.type
        if isinstance(kind, wasmtime.MemoryType):
            return self._memory
        if not isinstance(kind, wasmtime.FuncType):
            raise StoppedError(f"needs {item.name}, which is not there")
        return wasmtime.Func(self._store, kind, _CALLED.get(item.name, _missing))


def _abort(*arguments: int) -> NoReturn:
    raise AbortedError(arguments[0]) if arguments else StoppedError("a function that is not there")


def _missing(*_: int) -> NoReturn:
    raise StoppedError("a function that is not there")


_CALLED: dict[str, Callable[..., Any]] = {ABORT: _abort}


def _configuration() -> wasmtime.Config:
    """One thread, fuel counted; compiled modules are kept in wasmtime's own cache where there is a place for it."""
    made = wasmtime.Config()
    made.consume_fuel = True
    made.parallel_compilation = False
    with contextlib.suppress(wasmtime.WasmtimeError):  # no home: each process compiles, a tenth of a second
        made.cache = True
    return made
