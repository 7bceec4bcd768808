"""Files as they were read, as bytes for a later process: taking them from there is several times quicker than reading YAML.

The bytes are a pickle, and a pickle can name anything; so here it may name the types that a manifest is made of and
nothing else, and what comes out is judged by the constructors of those types. Pure.
"""

from __future__ import annotations

import io
import pickle  # of the types below alone
from datetime import date, timedelta
from decimal import Decimal
from enum import Enum
from fractions import Fraction
from importlib import import_module
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from trimtab_config.spec.reader import FileRead
from trimtab_kernel.records import dataclass, is_record

if TYPE_CHECKING:
    from collections.abc import Mapping

_PROTOCOL = 5
_FORMS = 4
_MODULES = frozenset(
    f"{package}.{module}"
    for package, modules in (
        ("trimtab_config.compilation", ("readings",)),
        ("trimtab_config.spec", ("kinds", "reader", "scalars")),
        ("trimtab_kernel", ("desired", "identity", "money", "quantity", "vocabulary")),
    )
    for module in modules
)
_OTHERS = {(kind.__module__, kind.__qualname__): kind for kind in (Decimal, Fraction, date, timedelta)}


def read_only(items: dict[Any, Any]) -> Mapping[Any, Any]:
    """A mapping that nobody can change: how one is named in the bytes."""
    return MappingProxyType(items)


_OTHERS[read_only.__module__, read_only.__qualname__] = read_only  # type: ignore[assignment] # a function among classes


@dataclass(frozen=True, slots=True)
class Pack:
    """Files that are needed together, and what a compile wrote out of their objects (see ``Compiler.forms``)."""

    reads: tuple[FileRead, ...]
    forms: tuple[list[Any], ...]


def frozen(read: FileRead | Pack) -> bytes:
    """The bytes of a reading. Raises ValueError for one that :func:`thawed` could not give back."""
    buffer = io.BytesIO()
    writer = pickle.Pickler(buffer, _PROTOCOL)
    writer.dispatch_table = {MappingProxyType: lambda value: (read_only, (dict(value),))}
    try:
        writer.dump(read)
    except (pickle.PicklingError, TypeError, AttributeError, RecursionError) as error:
        raise ValueError(str(error)) from error
    return buffer.getvalue()


def thawed(content: bytes) -> FileRead | None:
    """The reading that :func:`frozen` made bytes of; None for bytes that are no reading. Raises nothing."""
    found = _loaded(content)
    return found if isinstance(found, FileRead) else None


def thawed_pack(content: bytes) -> Pack | None:
    """The same of a pack."""
    found = _loaded(content)
    if not isinstance(found, Pack) or not all(isinstance(read, FileRead) for read in found.reads):
        return None
    sound = len(found.forms) == _FORMS and all(isinstance(form, tuple) for forms in found.forms for form in forms)
    return found if sound else None


def _loaded(content: bytes) -> object:
    try:
        return _Reader(io.BytesIO(content)).load()
    except Exception:  # bytes of any kind raise errors of any kind
        return None


class _Reader(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:  # noqa: ANN401 - a type
        known = _found.get((module, name))
        if known is None:
            known = _found[module, name] = _allowed(module, name)
        return known


_found: dict[tuple[str, str], Any] = {}


def _allowed(module: str, name: str) -> Any:  # noqa: ANN401 - a type
    """Raises pickle.UnpicklingError for what no manifest is made of."""
    found: Any = _OTHERS.get((module, name))
    if found is None and module in _MODULES:
        found = getattr(import_module(module), name, None)
        if not (isinstance(found, type) and (is_record(found) or issubclass(found, Enum))):
            found = None
    if found is None:
        raise pickle.UnpicklingError("a type that no manifest is made of")
    return found
