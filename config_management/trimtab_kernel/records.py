"""Frozen dataclasses that are quick to make.

``dataclass`` of the standard library writes and compiles the source of each method of each class, which with a hundred
classes takes longer than most commands run, and importing it takes as long as twenty modules. Here classes share the
methods that need no source of their own, and constructors are compiled once for each number of fields. To everybody else
they are dataclasses; the standard library's description of a class is made when somebody asks for it.
"""

from __future__ import annotations

import sys
from functools import cache
from operator import attrgetter, ge, gt, le, lt
from reprlib import recursive_repr
from typing import TYPE_CHECKING, Any, cast

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    # To a type checker they are what they behave as.
    from dataclasses import dataclass as dataclass  # noqa: PLC0414 - named twice, they are offered on
    from dataclasses import field as field  # noqa: PLC0414 - named twice, they are offered on
    from dataclasses import replace as replace  # noqa: PLC0414 - named twice, they are offered on
else:

    def dataclass(*, frozen: bool, slots: bool, order: bool = False) -> Callable[[type], type]:
        """As ``dataclasses.dataclass(frozen=True, slots=True)``: fields, equality, order, hash, text, errors. No other way.

        Fields are those with an annotation (none of ``InitVar``); ``field`` of this module or of the standard library
        says more about one, ``kw_only`` apart.
        """
        if not (frozen and slots):
            raise TypeError("only for classes that are frozen and have slots")
        return _ordered if order else _record

    def field(**said: Any) -> Field:  # noqa: ANN401 - as in the standard library
        """As ``dataclasses.field``: ``default``, ``default_factory``, ``init``, ``repr``, ``hash``, ``compare``, ``metadata``."""
        return Field(**said)

    def replace(record: Any, /, **changes: Any) -> Any:  # noqa: ANN401 - a record of the same class
        """As ``dataclasses.replace``: a record like this one but for ``changes``."""
        for each in fields(type(record)):
            if not each.init:
                if each.name in changes:
                    raise ValueError(f"field {each.name} is declared with init=False")
            elif each.name not in changes:
                changes[each.name] = getattr(record, each.name)
        return type(record)(**changes)


class _Missing:
    """No default."""

    def __repr__(self) -> str:
        return "MISSING"


MISSING = _Missing()
_NOTHING: Mapping[Any, Any] = {}


class Field:
    """What is known of one field of a record; attributes as those of ``dataclasses.Field``, without a default MISSING."""

    __slots__ = ("compare", "default", "default_factory", "hash", "init", "metadata", "name", "repr", "type")

    def __init__(
        self,
        *,
        default: Any = MISSING,  # noqa: ANN401 - of any type
        default_factory: Any = MISSING,  # noqa: ANN401 - of any type
        init: bool = True,
        repr: bool = True,
        hash: bool | None = None,
        compare: bool = True,
        metadata: Mapping[Any, Any] | None = None,
    ) -> None:
        """As ``dataclasses.field``. Raises ValueError for two kinds of default."""
        if default is not MISSING and default_factory is not MISSING:
            raise ValueError("cannot specify both default and default_factory")
        self.name = ""
        self.type: Any = None
        self.default = default
        self.default_factory = default_factory
        self.init = init
        self.repr = repr
        self.hash = hash
        self.compare = compare
        self.metadata = _NOTHING if metadata is None else metadata

    @property
    def required(self) -> bool:
        """Whether it has no default."""
        return self.default is MISSING and self.default_factory is MISSING


def fields(kind: type) -> tuple[Field, ...]:
    """The fields of a class of records, those of its bases first. Raises AttributeError for another class."""
    found: tuple[Field, ...] = kind.__record_fields__  # type: ignore[attr-defined] # every record's class has it
    return found


def is_record(value: object) -> bool:
    """Whether ``value`` is a record, or a class of them."""
    return hasattr(value, "__record_fields__")


class _Described:
    """An attribute that ``dataclasses`` looks for, taken from an equal class of the standard library when it is asked for."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __get__(self, instance: object, kind: type) -> Any:  # noqa: ANN401 - what the standard library keeps there
        return getattr(_described(kind), self._name)


@cache
def _described(kind: type) -> type:
    import dataclasses

    listed: list[Any] = []
    for each in fields(kind):
        said: dict[str, Any] = {name: getattr(each, name) for name in ("init", "repr", "hash", "compare", "metadata")}
        for name in ("default", "default_factory"):
            if getattr(each, name) is not MISSING:
                said[name] = getattr(each, name)
        listed.append((each.name, each.type, dataclasses.field(**said)))
    return dataclasses.make_dataclass(kind.__name__, listed, frozen=True)


def _record(cls: type) -> type:
    own = dict(vars(cls))
    found: dict[str, Field] = {}
    for base in reversed(cls.__mro__[1:]):
        for each in vars(base).get("__record_fields__", ()):
            found[each.name] = each
    inherited = set(found)
    for name, kind in own.get("__annotations__", {}).items():
        if _is_of_class(kind):
            continue
        each = _field(own.pop(name, MISSING))
        each.name, each.type = name, kind
        found[name] = each
    every = tuple(found.values())
    for name in ("__dict__", "__weakref__"):
        own.pop(name, None)
    own["__slots__"] = tuple(name for name in found if name not in inherited)
    own["__record_fields__"] = every
    own["__dataclass_fields__"] = _Described("__dataclass_fields__")
    own["__dataclass_params__"] = _Described("__dataclass_params__")
    own["__match_args__"] = tuple(each.name for each in every if each.init)
    shown = tuple(each.name for each in every if each.repr)
    values = _values(tuple(each.name for each in every if each.compare))
    hashed = _values(tuple(each.name for each in every if (each.compare if each.hash is None else each.hash)))
    whole = _values(tuple(found))

    def __eq__(self: object, other: object) -> Any:  # noqa: ANN401, N807 - NotImplemented
        return values(self) == values(other) if other.__class__ is self.__class__ else NotImplemented

    def __hash__(self: object) -> int:  # noqa: N807 - becomes a method by being put into a class
        return hash(hashed(self))

    @recursive_repr()
    def __repr__(self: object) -> str:  # noqa: N807 - becomes a method by being put into a class
        text = ", ".join(f"{name}={getattr(self, name)!r}" for name in shown)
        return f"{self.__class__.__qualname__}({text})"

    def __getstate__(self: object) -> tuple[Any, ...]:  # noqa: N807 - becomes a method by being put into a class
        state: tuple[Any, ...] = whole(self)
        return state

    def __reduce__(self: object) -> tuple[Any, ...]:  # noqa: N807 - becomes a method by being put into a class
        return (self.__class__, whole(self))

    methods: list[Any] = [__eq__, __hash__, __repr__, __getstate__, _set_state, _refuse_change, _refuse_removal]
    if all(each.init for each in every) and not cls.__mro__[1:-1]:
        methods.append(__reduce__)  # made anew by its constructor: quicker than field by field
    for method in methods:
        own.setdefault(method.__name__, method)
    qualified = cls.__qualname__
    made: Any = type(cls)(cls.__name__, cls.__bases__, own)
    made.__qualname__ = qualified
    if "__init__" not in own:
        made.__init__ = _constructor(made, every)
    return cast("type", made)


def _ordered(cls: type) -> type:
    """A record whose order is that of the tuple of its fields."""
    made: Any = _record(cls)
    values = _values(tuple(each.name for each in fields(made) if each.compare))

    def comparing(name: str, compare: Callable[[Any, Any], bool]) -> None:
        def method(self: object, other: object) -> Any:  # noqa: ANN401 - NotImplemented
            return compare(values(self), values(other)) if other.__class__ is self.__class__ else NotImplemented

        method.__name__, method.__qualname__ = name, f"{made.__qualname__}.{name}"
        setattr(made, name, method)

    for name, compare in (("__lt__", lt), ("__le__", le), ("__gt__", gt), ("__ge__", ge)):
        comparing(name, compare)
    return cast("type", made)


def _is_of_class(kind: object) -> bool:
    """Whether an annotation says that a name is one of the class, and no field."""
    text = kind if isinstance(kind, str) else repr(kind)
    return text.startswith(("ClassVar", "typing.ClassVar"))


def _field(said: Any) -> Field:  # noqa: ANN401 - a default, or a field of either module
    if isinstance(said, Field):
        return said
    dataclasses = sys.modules.get("dataclasses")
    if dataclasses is None or not isinstance(said, dataclasses.Field):
        if said.__class__.__hash__ is None:
            raise ValueError(f"mutable default {type(said)} for a field: use default_factory")
        return Field(default=said)
    default, factory = (
        MISSING if value is dataclasses.MISSING else value for value in (said.default, said.default_factory)
    )
    return Field(
        default=default,
        default_factory=factory,
        init=said.init,
        repr=said.repr,
        hash=said.hash,
        compare=said.compare,
        metadata=said.metadata,
    )


def _constructor(made: Any, every: tuple[Field, ...]) -> Any:  # noqa: ANN401 - a class, and a function of any arguments
    setters: list[Any] = []
    names: list[str] = []
    defaults: list[Any] = []
    later: list[tuple[Any, Any]] = []
    for each in every:
        put = getattr(made, each.name).__set__
        if not each.init:
            if not each.required:
                later.append((put, each))
            continue
        names.append(each.name)
        setters.append(put if each.default_factory is MISSING else _setter(put, each.default_factory))
        if not each.required:
            defaults.append(MISSING if each.default is MISSING else each.default)
        elif defaults:
            raise TypeError(f"non-default argument {each.name!r} follows default argument")
    after = _after(made, later)
    function = _maker(len(names), after is not None)(*setters, *(() if after is None else (after,)))
    function.__code__ = function.__code__.replace(
        co_varnames=("self", *names), co_name="__init__", co_qualname=f"{made.__qualname__}.__init__"
    )
    function.__defaults__ = tuple(defaults)
    function.__name__, function.__qualname__ = "__init__", f"{made.__qualname__}.__init__"
    function.__module__ = made.__module__
    return function


def _setter(put: Callable[[object, object], None], factory: Callable[[], object]) -> Callable[[object, object], None]:
    def put_or_make(record: object, value: object) -> None:
        put(record, factory() if value is MISSING else value)

    return put_or_make


def _after(made: Any, later: list[tuple[Any, Field]]) -> Callable[[Any], None] | None:  # noqa: ANN401 - a class
    """What a constructor does when its arguments are in their places."""
    if not later:
        return made.__post_init__ if hasattr(made, "__post_init__") else None

    def after(record: Any) -> None:  # noqa: ANN401 - of any class
        for put, each in later:
            put(record, each.default if each.default_factory is MISSING else each.default_factory())
        if hasattr(made, "__post_init__"):
            record.__post_init__()

    return after


@cache
def _maker(count: int, has_after: bool) -> Any:  # noqa: ANN401 - from setters to a function
    """What makes constructors of ``count`` arguments; their names are put in later. The text here is all that is run."""
    places = range(count)
    inner = "".join(f", a{place}" for place in places)
    lines = [f"def make({''.join(f's{place}, ' for place in places)}{'after' if has_after else ''}):"]
    lines += [f" def made(self{inner}):", "  pass"]
    lines += [f"  s{place}(self, a{place})" for place in places]
    if has_after:
        lines.append("  after(self)")
    lines.append(" return made")
    space: dict[str, Any] = {}
    exec("\n".join(lines), space)  # noqa: S102 - a number is all that it holds
    return space["make"]


def _set_state(self: Any, state: tuple[Any, ...]) -> None:  # noqa: ANN401 - a record of any class
    kind = type(self)
    for each, value in zip(fields(kind), state, strict=True):
        getattr(kind, each.name).__set__(self, value)


def _refuse_change(self: object, name: str, value: object) -> None:
    from dataclasses import FrozenInstanceError

    raise FrozenInstanceError(f"cannot assign to field {name!r}")


def _refuse_removal(self: object, name: str) -> None:
    from dataclasses import FrozenInstanceError

    raise FrozenInstanceError(f"cannot delete field {name!r}")


_set_state.__name__, _refuse_change.__name__, _refuse_removal.__name__ = "__setstate__", "__setattr__", "__delattr__"


def _values(names: tuple[str, ...]) -> Any:  # noqa: ANN401 - from any record to a tuple
    match names:
        case ():
            return lambda _: ()
        case (name,):
            one = attrgetter(name)
            return lambda record: (one(record),)
    return attrgetter(*names)
