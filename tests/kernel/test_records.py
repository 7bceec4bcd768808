"""Frozen dataclasses that share their methods behave as those of the standard library."""

from __future__ import annotations

import copy
import dataclasses
import itertools
import operator
import pickle
from typing import Any, ClassVar

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trimtab_kernel import records
from trimtab_kernel.intervals import Interval


def _classes(decorate: Any) -> list[Any]:  # noqa: ANN401 - either decorator
    @decorate
    class Nothing:
        """No field."""

    @decorate
    class One:
        """One field."""

        first: Any

    @decorate
    class Many:
        """Fields that differ in what they are for."""

        first: Any
        second: Any = 2
        aside: Any = dataclasses.field(default=None, compare=False)
        hidden: Any = dataclasses.field(default_factory=int, repr=False)
        unhashed: Any = dataclasses.field(default_factory=dict, hash=False)

    @decorate
    class Own:
        """Methods of its own stay."""

        first: Any

        def __repr__(self) -> str:
            return "own"

        def __eq__(self, other: object) -> bool:
            return isinstance(other, Own)

        def __hash__(self) -> int:
            return 7

    return [Nothing, One, Many, Own]


OURS = _classes(records.dataclass(frozen=True, slots=True))
THEIRS = _classes(dataclasses.dataclass(frozen=True, slots=True))
VALUES = st.one_of(st.integers(0, 2), st.sampled_from(["a", "b"]), st.none(), st.tuples(st.integers(0, 1)))


@given(st.integers(0, 3), st.lists(VALUES, max_size=5), st.lists(VALUES, max_size=5))
def test_text_equality_and_hash_are_those_of_the_standard_library(which: int, one: list[Any], other: list[Any]) -> None:
    most = len(dataclasses.fields(OURS[which]))
    least = 0 if which == 0 else 1
    one, other = (([*values, 0])[: max(least, min(len(values), most))] for values in (one, other))
    ours, theirs = ((kind(*one), kind(*other)) for kind in (OURS[which], THEIRS[which]))
    assert repr(ours[0]) == repr(theirs[0])
    assert (ours[0] == ours[1]) is (theirs[0] == theirs[1])
    assert hash(ours[0]) == hash(theirs[0])
    assert ours[0] != theirs[0] or which == 3


def test_they_are_closed() -> None:
    made = OURS[2](1)
    with pytest.raises(dataclasses.FrozenInstanceError):
        made.first = 2
    with pytest.raises(dataclasses.FrozenInstanceError):
        del made.first
    assert not hasattr(made, "__dict__")
    with pytest.raises(TypeError, match="frozen"):
        records.dataclass(frozen=True, slots=False)


def test_they_are_dataclasses_to_everybody() -> None:
    made: Any = OURS[2]((1,), aside=3)
    assert dataclasses.asdict(made) == {"first": (1,), "second": 2, "aside": 3, "hidden": 0, "unhashed": {}}
    assert dataclasses.replace(made, second=5) == OURS[2]((1,), 5)
    assert copy.deepcopy(made) == made
    assert OURS[2].__match_args__ == THEIRS[2].__match_args__


def test_one_that_holds_itself_can_be_shown() -> None:
    shown = []
    for kind in (OURS[1], THEIRS[1]):
        inner: list[Any] = []
        inner.append(kind(inner))
        shown.append(repr(inner))
    assert shown[0] == shown[1]


def test_they_can_be_sent_between_processes() -> None:
    made = Interval(0.2, 0.1, 0.3, 40)
    again = pickle.loads(pickle.dumps(made))  # noqa: S301 - our own bytes
    assert again == made
    assert hash(again) == hash(made)


def test_they_have_the_order_of_the_standard_library() -> None:
    @records.dataclass(frozen=True, slots=True, order=True)
    class Ours:
        first: int
        second: str = "a"

    @dataclasses.dataclass(frozen=True, slots=True, order=True)
    class Theirs:
        first: int
        second: str = "a"

    values = [(2, "a"), (1, "b"), (1, "a"), (1, "b")]
    for one, other in itertools.product(values, values):
        for compare in (operator.lt, operator.le, operator.gt, operator.ge):
            assert compare(Ours(*one), Ours(*other)) is compare(Theirs(*one), Theirs(*other))
    with pytest.raises(TypeError, match="not supported"):
        assert Ours(1) < Theirs(2)  # type: ignore[operator] # what must not work


def test_fields_come_from_bases_and_are_made_and_followed_up_as_in_the_standard_library() -> None:
    def classes(module: Any) -> Any:  # noqa: ANN401 - either module
        @module.dataclass(frozen=True, slots=True)
        class Base:
            first: int
            listed: list[int] = module.field(default_factory=list)

        @module.dataclass(frozen=True, slots=True)
        class Derived(Base):
            bare: ClassVar[str] = "of the class"
            total: int = module.field(init=False, repr=False, compare=False)
            named: str = module.field(default="n", metadata={"yaml": "Named"})

            def __post_init__(self) -> None:
                object.__setattr__(self, "total", self.first + len(self.listed))

        return Derived

    ours, theirs = classes(records), classes(dataclasses)
    for arguments, named in (((1,), {}), ((1, [5]), {"named": "x"}), ((), {"first": 3, "listed": [1, 2]})):
        made, model = ours(*arguments, **named), theirs(*arguments, **named)
        assert dataclasses.asdict(made) == dataclasses.asdict(model)
        assert made.total == model.total
        assert dataclasses.asdict(records.replace(made, first=9)) == dataclasses.asdict(
            dataclasses.replace(model, first=9)
        )
    assert ours(1).listed is not ours(1).listed
    assert [(f.name, f.metadata.get("yaml")) for f in dataclasses.fields(ours)] == [
        (f.name, f.metadata.get("yaml")) for f in dataclasses.fields(theirs)
    ]
    wrongs: tuple[tuple[Any, ...], ...] = ((), (1, [], "n", 4))
    for wrong in wrongs:
        with pytest.raises(TypeError, match="argument"):
            ours(*wrong)
    with pytest.raises(ValueError, match="init=False"):
        records.replace(ours(1), total=1)


def test_a_default_that_could_be_changed_is_refused() -> None:
    with pytest.raises(ValueError, match="default_factory"):

        @records.dataclass(frozen=True, slots=True)
        class Shared:
            listed: list[int] = []  # noqa: RUF012 - this is what is refused
