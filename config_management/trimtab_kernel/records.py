"""Frozen dataclasses that are quick to make.

``dataclass`` writes and compiles the source of each method of each class, which with a hundred classes takes longer than
most commands run. Here classes share the methods that need no source of their own.
"""

from __future__ import annotations

import dataclasses
from operator import attrgetter
from reprlib import recursive_repr
from typing import TYPE_CHECKING, Any, cast

if TYPE_CHECKING:
    from collections.abc import Callable

    # To a type checker they are what they behave as.
    from dataclasses import dataclass as dataclass  # noqa: PLC0414
else:

    def dataclass(*, frozen: bool, slots: bool) -> Callable[[type], type]:
        """As ``dataclasses.dataclass(frozen=True, slots=True)``: fields, equality, hash, text, errors. No other way."""
        if not (frozen and slots):
            raise TypeError("only for classes that are frozen and have slots")
        return _record


def _record(cls: type) -> type:
    own = set(vars(cls))
    made: Any = dataclasses.dataclass(frozen=True, slots=True, eq=False, repr=False)(cls)
    fields = dataclasses.fields(made)
    shown = tuple(field.name for field in fields if field.repr)
    values = _values(tuple(field.name for field in fields if field.compare))
    hashed = _values(tuple(f.name for f in fields if (f.compare if f.hash is None else f.hash)))

    def __eq__(self: object, other: object) -> Any:  # noqa: ANN401, N807 - NotImplemented
        return values(self) == values(other) if other.__class__ is self.__class__ else NotImplemented

    def __hash__(self: object) -> int:  # noqa: N807
        return hash(hashed(self))

    @recursive_repr()
    def __repr__(self: object) -> str:  # noqa: N807
        text = ", ".join(f"{name}={getattr(self, name)!r}" for name in shown)
        return f"{self.__class__.__qualname__}({text})"

    for method in (__eq__, __hash__, __repr__):
        if method.__name__ not in own:
            setattr(made, method.__name__, method)
    return cast("type", made)


def _values(names: tuple[str, ...]) -> Any:  # noqa: ANN401 - from any record to a tuple
    match names:
        case ():
            return lambda _: ()
        case (name,):
            one = attrgetter(name)
            return lambda record: (one(record),)
    return attrgetter(*names)
