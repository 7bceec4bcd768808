"""The port to what runs WebAssembly: a module compiled once, and machines that run it, each with its own memory.

A machine runs code that nobody vouches for: it ends what uses up its fuel, and gives no module more than memory and the
functions that report a failure. Two adapters keep the same promises: :mod:`.wasm_library` talks to wasmtime's C API,
:mod:`.wasm_package` to wasmtime's own Python package, whose import takes longer than a group takes to compile.
"""

from __future__ import annotations

from typing import Protocol

PAGE = 65536
"""Bytes; memory grows by whole pages."""
ABORT = "opa_abort"
"""The one function that a module may call to say what went wrong: with the address of a text that ends with a zero byte."""
OUT_OF_FUEL = "no end within the limit"


class StoppedError(Exception):
    """The module gave up, was stopped, or cannot be run; its memory is worth nothing any more."""


class AbortedError(StoppedError):
    """The module called :data:`ABORT`, and its text is at ``address``."""

    def __init__(self, address: int) -> None:
        super().__init__("aborted")
        self.address = address


class Machine(Protocol):
    """An instance of a module. For one thread at a time. Addresses count bytes and may be anything that a module says."""

    @property
    def size(self) -> int:
        """Bytes of memory."""
        ...

    def set_fuel(self, fuel: int) -> None:
        """How much may be used from now on, about one unit an instruction."""
        ...

    def grow(self, pages: int) -> None:
        """Raises StoppedError where that is more than the machine may have."""
        ...

    def write(self, address: int, content: bytes) -> None:
        """Raises StoppedError for what does not lie within the memory."""
        ...

    def read(self, address: int, most: int) -> bytes:
        """At most ``most`` bytes, fewer at the end of the memory. Raises StoppedError for an address outside."""
        ...

    def constant(self, name: str) -> int:
        """The exported global of that name. Raises StoppedError where there is none."""
        ...

    def call(self, name: str, *arguments: int) -> int:
        """The exported function of that name, of numbers to one number, all of 32 bits.

        Raises StoppedError for one that is not there or is of another kind, that traps, that runs out of fuel (its text is
        then :data:`OUT_OF_FUEL`) or that calls a function that is not there; AbortedError for one that aborts.
        """
        ...


class Compiled(Protocol):
    """A module ready to run, again and again. Machines keep it alive."""

    def start(self, fuel: int, most_pages: int) -> Machine:
        """A new machine. Raises StoppedError where the module cannot be run."""
        ...


def within(address: int, count: int, size: int) -> int:
    """``address``, of ``count`` bytes in a memory of ``size``. Raises StoppedError."""
    if not 0 < address <= size - count:
        raise StoppedError("an address outside its memory")
    return address


def reason(message: str) -> str:
    """What a message of wasmtime comes to: its last line, below where in the module it happened."""
    return (message.strip().splitlines() or ["a failure inside the module"])[-1].strip()
