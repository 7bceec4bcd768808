"""A machine by wasmtime's C API, called directly: what the Python package wasmtime does with a few of its thousand functions.

Importing that package declares all of them, which takes longer than compiling a device group; so here only those are
declared that policies need. The shapes of values belong to a version of the library, so only versions whose shapes are
known are spoken to (a test compares each with the package's own declaration); for any other there is
:mod:`.wasm_package`. Source: wasmtime's C API documentation (https://docs.wasmtime.dev/c-api/).
"""

from __future__ import annotations

import ctypes
import os
import sys
from ctypes import POINTER, Structure, Union, byref, c_bool, c_char_p, c_int32, c_size_t, c_uint8, c_uint64, c_void_p
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trimtab_config.policy.machine import ABORT, OUT_OF_FUEL, AbortedError, StoppedError, reason, within

if TYPE_CHECKING:
    from collections.abc import Callable

VERSIONS = range(44, 51)
"""Major versions of the library whose shapes are those below."""
_PACKAGE = "wasmtime"
_FUNCTION, _GLOBAL, _MEMORY = 0, 1, 3  # kinds of an extern
_FUNCTION_TYPE, _MEMORY_TYPE = 0, 3  # kinds of a type
_I32 = 0
_FUEL_TRAP = 11


class Bytes(Structure):
    """``wasm_byte_vec_t``, and any other vector."""

    _fields_ = (("size", c_size_t), ("data", c_void_p))


class Number(Union):
    """``wasmtime_valunion_t``, of which only numbers are used."""

    _fields_ = (("i32", c_int32), ("room", c_uint64 * 3))


class Value(Structure):
    """``wasmtime_val_t``."""

    _fields_ = (("kind", c_uint8), ("of", Number))


class Extern(Structure):
    """``wasmtime_extern_t``: a kind, and room for a function, a global or a memory."""

    _fields_ = (("kind", c_uint8), ("of", c_uint64 * 3))


class Instance(Structure):
    """``wasmtime_instance_t``."""

    _fields_ = (("store", c_uint64), ("private", c_size_t))


_OF = Extern.of.offset
CALLBACK = ctypes.CFUNCTYPE(c_void_p, c_void_p, c_void_p, POINTER(Value), c_size_t, POINTER(Value), c_size_t)
"""``wasmtime_func_callback_t``."""
FUNCTIONS: dict[str, tuple[Any, tuple[Any, ...]]] = {
    "wasm_byte_vec_delete": (None, (c_void_p,)),
    "wasm_config_new": (c_void_p, ()),
    "wasm_engine_delete": (None, (c_void_p,)),
    "wasm_engine_new_with_config": (c_void_p, (c_void_p,)),
    "wasm_externtype_as_functype_const": (c_void_p, (c_void_p,)),
    "wasm_externtype_as_memorytype_const": (c_void_p, (c_void_p,)),
    "wasm_externtype_kind": (c_uint8, (c_void_p,)),
    "wasm_importtype_name": (POINTER(Bytes), (c_void_p,)),
    "wasm_importtype_type": (c_void_p, (c_void_p,)),
    "wasm_importtype_vec_delete": (None, (c_void_p,)),
    "wasm_memorytype_delete": (None, (c_void_p,)),
    "wasm_trap_delete": (None, (c_void_p,)),
    "wasm_trap_message": (None, (c_void_p, c_void_p)),
    "wasmtime_config_cache_config_load": (c_void_p, (c_void_p, c_void_p)),
    "wasmtime_config_consume_fuel_set": (None, (c_void_p, c_bool)),
    "wasmtime_config_parallel_compilation_set": (None, (c_void_p, c_bool)),
    "wasmtime_context_set_fuel": (c_void_p, (c_void_p, c_uint64)),
    "wasmtime_error_delete": (None, (c_void_p,)),
    "wasmtime_error_message": (None, (c_void_p, c_void_p)),
    "wasmtime_func_call": (c_void_p, (c_void_p, c_void_p, c_void_p, c_size_t, c_void_p, c_size_t, c_void_p)),
    "wasmtime_func_new": (None, (c_void_p, c_void_p, CALLBACK, c_void_p, c_void_p, c_void_p)),
    "wasmtime_global_get": (None, (c_void_p, c_void_p, c_void_p)),
    "wasmtime_instance_export_get": (c_bool, (c_void_p, c_void_p, c_char_p, c_size_t, c_void_p)),
    "wasmtime_instance_new": (c_void_p, (c_void_p, c_void_p, c_void_p, c_size_t, c_void_p, c_void_p)),
    "wasmtime_memory_data": (c_void_p, (c_void_p, c_void_p)),
    "wasmtime_memory_data_size": (c_size_t, (c_void_p, c_void_p)),
    "wasmtime_memory_grow": (c_void_p, (c_void_p, c_void_p, c_uint64, c_void_p)),
    "wasmtime_memory_new": (c_void_p, (c_void_p, c_void_p, c_void_p)),
    "wasmtime_memorytype_minimum": (c_uint64, (c_void_p,)),
    "wasmtime_memorytype_new": (c_void_p, (c_uint64, c_bool, c_uint64, c_bool, c_bool, c_uint8, c_void_p)),
    "wasmtime_module_delete": (None, (c_void_p,)),
    "wasmtime_module_imports": (None, (c_void_p, c_void_p)),
    "wasmtime_module_new": (c_void_p, (c_void_p, c_char_p, c_size_t, c_void_p)),
    "wasmtime_store_context": (c_void_p, (c_void_p,)),
    "wasmtime_store_delete": (None, (c_void_p,)),
    "wasmtime_store_new": (c_void_p, (c_void_p, c_void_p, c_void_p)),
    "wasmtime_trap_code": (c_bool, (c_void_p, c_void_p)),
    "wasmtime_trap_new": (c_void_p, (c_char_p, c_size_t)),
}
"""What is called: the type of its result and of its arguments, pointers all as addresses."""


@cache
def library() -> Any | None:  # noqa: ANN401 - functions by name
    """The library of wasmtime, its functions declared; None where another version is installed than is known here.

    Raises ModuleNotFoundError where wasmtime is not installed.
    """
    spec = find_spec(_PACKAGE)
    if spec is None or not spec.submodule_search_locations:
        raise ModuleNotFoundError(f"No module named '{_PACKAGE}'", name=_PACKAGE)
    place = Path(spec.submodule_search_locations[0])
    machine = {"arm64": "aarch64"}.get(os.uname().machine, os.uname().machine) if hasattr(os, "uname") else ""
    suffix = {"linux": "so", "darwin": "dylib"}.get(sys.platform)
    path = place / f"{sys.platform}-{machine}/_libwasmtime.{suffix}"
    if suffix is None or _version(place) not in VERSIONS or sys.maxsize <= 2**32:
        return None
    try:
        loaded = ctypes.CDLL(str(path))
        for name, (result, arguments) in FUNCTIONS.items():
            function = getattr(loaded, name)
            function.restype, function.argtypes = result, arguments
    except (OSError, AttributeError):
        return None
    return loaded


def _version(place: Path) -> int | None:
    """The major version of the package at ``place``, by the name of what its installer noted beside it."""
    every = os.listdir(place.parent)  # noqa: PTH208 - names are enough
    names = [name for name in every if name.startswith(f"{_PACKAGE}-") and name.endswith(".dist-info")]
    number = names[0][len(_PACKAGE) + 1 :].partition(".")[0] if len(names) == 1 else ""
    return int(number) if number.isdigit() else None


class LibraryCompiled:
    """See :class:`~trimtab_config.policy.machine.Compiled`. Raises StoppedError for bytes that are no module."""

    def __init__(self, library: Any, code: bytes) -> None:  # noqa: ANN401 - functions by name
        """``library`` is that of :func:`library`."""
        self._library = library
        self._module = c_void_p()
        self._engine = library.wasm_engine_new_with_config(_configuration(library))
        _raise_error(library, library.wasmtime_module_new(self._engine, code, len(code), byref(self._module)))

    def __del__(self) -> None:
        if self._module.value:
            self._library.wasmtime_module_delete(self._module)
        self._library.wasm_engine_delete(self._engine)

    def start(self, fuel: int, most_pages: int) -> LibraryMachine:
        """See :class:`~trimtab_config.policy.machine.Compiled`."""
        return LibraryMachine(self._library, self, self._engine, self._module, fuel, most_pages)


class LibraryMachine:
    """See :class:`~trimtab_config.policy.machine.Machine`."""

    def __init__(
        self,
        library: Any,  # noqa: ANN401 - functions by name
        compiled: LibraryCompiled,
        engine: int,
        module: c_void_p,
        fuel: int,
        most_pages: int,
    ) -> None:
        self._library = library
        self._compiled = compiled  # outlives this
        self._exports: dict[str, Extern] = {}
        self._callbacks: list[object] = []
        self._failure: list[StoppedError] = []  # of the last call that a module made
        self._memory = Extern()
        self._instance = Instance()
        self._store = library.wasmtime_store_new(engine, None, None)
        self._context = library.wasmtime_store_context(self._store)
        self.set_fuel(fuel)
        imports = Bytes()
        library.wasmtime_module_imports(module, byref(imports))
        try:
            externs = self._imported(
                (c_void_p * imports.size).from_address(imports.data) if imports.size else (), most_pages
            )
        finally:
            library.wasm_importtype_vec_delete(byref(imports))
        trap = c_void_p()
        error = library.wasmtime_instance_new(
            self._context, module, externs, len(externs), byref(self._instance), byref(trap)
        )
        self._raise(error, trap)

    def __del__(self) -> None:
        self._library.wasmtime_store_delete(self._store)

    @property
    def size(self) -> int:
        """See Machine."""
        size: int = self._library.wasmtime_memory_data_size(self._context, byref(self._memory, _OF))
        return size

    def set_fuel(self, fuel: int) -> None:
        """See Machine."""
        _raise_error(self._library, self._library.wasmtime_context_set_fuel(self._context, fuel))

    def grow(self, pages: int) -> None:
        """See Machine."""
        before = c_uint64()
        error = self._library.wasmtime_memory_grow(self._context, byref(self._memory, _OF), pages, byref(before))
        _raise_error(self._library, error)

    def write(self, address: int, content: bytes) -> None:
        """See Machine."""
        within(address, len(content), self.size)
        ctypes.memmove(self._data() + address, content, len(content))

    def read(self, address: int, most: int) -> bytes:
        """See Machine."""
        size = self.size
        within(address, 1, size)
        return ctypes.string_at(self._data() + address, min(most, size - address))

    def constant(self, name: str) -> int:
        """See Machine."""
        value = Value()
        self._library.wasmtime_global_get(
            self._context, byref(self._export(name, _GLOBAL, "global"), _OF), byref(value)
        )
        if value.kind != _I32:
            raise StoppedError(f"{name} is no number of 32 bits")
        return int(value.of.i32)

    def call(self, name: str, *arguments: int) -> int:
        """See Machine."""
        function = self._export(name, _FUNCTION, "function")
        given = (Value * len(arguments))()
        for value, argument in zip(given, arguments, strict=True):
            value.kind, value.of.i32 = _I32, argument
        result, trap = Value(), c_void_p()
        self._failure.clear()
        # Numbers and kinds of arguments are checked there.
        error = self._library.wasmtime_func_call(
            self._context, byref(function, _OF), given, len(given), byref(result), 1, byref(trap)
        )
        self._raise(error, trap)
        if result.kind != _I32:
            raise StoppedError(f"{name} gives no number of 32 bits")
        return int(result.of.i32)

    def _data(self) -> int:
        address: int = self._library.wasmtime_memory_data(self._context, byref(self._memory, _OF))
        return address

    def _export(self, name: str, kind: int, what: str) -> Extern:
        found = self._exports.get(name)
        if found is None:
            found, text = Extern(), name.encode()
            if not self._library.wasmtime_instance_export_get(
                self._context, byref(self._instance), text, len(text), byref(found)
            ):
                raise StoppedError(f"no {name}")
            self._exports[name] = found
        if found.kind != kind:
            raise StoppedError(f"{name} is no {what}")
        return found

    def _imported(self, wanted: Any, most_pages: int) -> Any:  # noqa: ANN401 - arrays of addresses
        """An extern for each import: the memory, and functions that report a failure."""
        library = self._library
        types = [library.wasm_importtype_type(item) for item in wanted]
        kinds = [library.wasm_externtype_kind(each) for each in types]
        memory = next((each for each, kind in zip(types, kinds, strict=True) if kind == _MEMORY_TYPE), None)
        needed = memory and library.wasm_externtype_as_memorytype_const(memory)
        self._make_memory(library.wasmtime_memorytype_minimum(needed) if needed else 2, most_pages)
        externs = (Extern * len(types))()
        for extern, item, own, kind in zip(externs, wanted, types, kinds, strict=True):
            text = library.wasm_importtype_name(item).contents
            name = ctypes.string_at(text.data, text.size).decode(errors="replace") if text.size else ""
            if kind == _MEMORY_TYPE:
                ctypes.pointer(extern)[0] = self._memory
            elif kind == _FUNCTION_TYPE:
                callback = CALLBACK(_callback(library, self._failure, aborts=name == ABORT))
                self._callbacks.append(callback)
                extern.kind = _FUNCTION
                function = library.wasm_externtype_as_functype_const(own)
                library.wasmtime_func_new(self._context, function, callback, None, None, byref(extern, _OF))
            else:
                raise StoppedError(f"needs {name}, which is not there")
        return externs

    def _make_memory(self, pages: int, most_pages: int) -> None:
        library, kind = self._library, c_void_p()
        most = max(pages, most_pages)
        _raise_error(library, library.wasmtime_memorytype_new(pages, True, most, False, False, 16, byref(kind)))
        try:
            self._memory.kind = _MEMORY
            _raise_error(library, library.wasmtime_memory_new(self._context, kind, byref(self._memory, _OF)))
        finally:
            library.wasm_memorytype_delete(kind)

    def _raise(self, error: int | None, trap: c_void_p) -> None:
        """Raises StoppedError for an error or a trap, and frees it."""
        library = self._library
        if trap.value is None and not error:
            return
        code, text = c_uint8(), Bytes()
        if trap.value is not None:
            if library.wasmtime_trap_code(trap, byref(code)) and code.value == _FUEL_TRAP:
                self._failure[:] = [StoppedError(OUT_OF_FUEL)]
            library.wasm_trap_message(trap, byref(text))
            library.wasm_trap_delete(trap)
        else:
            library.wasmtime_error_message(error, byref(text))
            library.wasmtime_error_delete(error)
        message = _taken(library, text)
        raise self._failure.pop() if self._failure else StoppedError(reason(message))


def _callback(library: Any, failure: list[StoppedError], *, aborts: bool) -> Callable[..., int]:  # noqa: ANN401 - ctypes has no types for them
    """What a module calls: notes what is the matter and traps. It refers to no machine, so that none is kept by itself."""

    def called(_env: int, _caller: int, arguments: Any, count: int, _results: Any, _expected: int) -> int:  # noqa: ANN401 - ctypes has no types for them
        if aborts and count:
            failure[:] = [AbortedError(arguments[0].of.i32)]
        else:
            failure[:] = [StoppedError("a function that is not there")]
        trap: int = library.wasmtime_trap_new(b"stopped", 7)
        return trap

    return called


def _configuration(library: Any) -> int:  # noqa: ANN401 - functions by name
    """One thread, fuel counted; compiled modules are kept in wasmtime's own cache where there is a place for it."""
    made: int = library.wasm_config_new()
    library.wasmtime_config_consume_fuel_set(made, True)
    library.wasmtime_config_parallel_compilation_set(made, False)
    error = library.wasmtime_config_cache_config_load(made, None)
    if error:  # no home: each process compiles, a tenth of a second
        library.wasmtime_error_delete(error)
    return made


def _raise_error(library: Any, error: int | None) -> None:  # noqa: ANN401 - functions by name
    if error:
        text = Bytes()
        library.wasmtime_error_message(error, byref(text))
        library.wasmtime_error_delete(error)
        raise StoppedError(reason(_taken(library, text)))


def _taken(library: Any, text: Bytes) -> str:  # noqa: ANN401 - functions by name
    """The text of a vector, which is freed."""
    found = ctypes.string_at(text.data, text.size) if text.size else b""
    library.wasm_byte_vec_delete(byref(text))
    return found.rstrip(b"\0").decode(errors="replace")
