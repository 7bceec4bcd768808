"""Two renderings of a fleet, compared: what a change does to every device group. Pure.

A list whose items all have a ``name`` (or ``model``) of their own is compared by it, so that an item put in front changes
one item and not all. A text that holds a JSON object (the documents within ConfigMaps) is compared field by field.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from decimal import Decimal
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias

from trimtab_config.cost.report import decimal_text, total_of
from trimtab_config.render.bundle import COST_FILE
from trimtab_config.render.names import cost_name
from trimtab_kernel import vocabulary
from trimtab_kernel.desired import percent_text
from trimtab_kernel.money import Figure, Grade

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from trimtab_kernel.canonical import Json
    from trimtab_kernel.desired import Artifact, DesiredDocument

Identity: TypeAlias = tuple[str, str, str, str]
"""apiVersion, kind, namespace and name of an object."""
_KEYS = ("name", "model")


_REPORT = f"data[{COST_FILE}]"
_DERIVED = frozenset(
    f"metadata.annotations[{name}]"
    for name in (
        vocabulary.COST_MONTHLY,
        vocabulary.COST_LOW,
        vocabulary.COST_HIGH,
        vocabulary.COST_PER_1K,
        vocabulary.COST_UPDATE_BYTES,
        vocabulary.FLEET_SOURCE_DIGEST,
    )
)


class Rendering(Protocol):
    """What is compared of one group; ``trimtab_config.compilation.RenderedGroup`` has it."""

    @property
    def group(self) -> str:
        """Its name."""
        ...

    @property
    def objects(self) -> Sequence[Mapping[str, Any]]:
        """Its Kubernetes objects as plain JSON values."""
        ...

    @property
    def desired(self) -> DesiredDocument:
        """What its devices should run."""
        ...


class Change(StrEnum):
    """What became of something from base to head."""

    ADDED = "added"
    REMOVED = "removed"
    CHANGED = "changed"


class Absent:
    """Stands for a field that is not there. There is one: :data:`ABSENT`."""

    __slots__ = ()


ABSENT = Absent()


@dataclass(frozen=True, slots=True)
class FieldChange:
    """One field of an object; ``before`` or ``after`` is :data:`ABSENT` where it is not there."""

    path: str
    before: Json | Absent
    after: Json | Absent

    @property
    def is_derived(self) -> bool:
        """Whether it only follows from another change: a figure of the cost report, or a digest over the source."""
        return self.path.startswith(_REPORT) or self.path in _DERIVED or self.path.endswith(".sourceDigest")

    def to_json(self) -> dict[str, Json]:
        """A key that is missing says that the field is."""
        found: dict[str, Json] = {"path": self.path}
        if not isinstance(self.before, Absent):
            found["before"] = self.before
        if not isinstance(self.after, Absent):
            found["after"] = self.after
        return found


@dataclass(frozen=True, slots=True)
class ObjectChange:
    """One object of a group. ``fields`` only where it is changed, by path."""

    change: Change
    identity: Identity
    fields: tuple[FieldChange, ...] = ()

    def to_json(self) -> dict[str, Json]:
        """With its fields."""
        api_version, kind, namespace, name = self.identity
        return {
            "change": self.change.value,
            "apiVersion": api_version,
            "kind": kind,
            "namespace": namespace,
            "name": name,
            "fields": [each.to_json() for each in self.fields],
        }


@dataclass(frozen=True, slots=True)
class ModelState:
    """What a group's devices are to run of one deployment. ``stable`` is "" where devices outside the wave keep theirs."""

    version: str
    variant: str
    digest: str
    percent: str
    wave: str
    stable: str

    def to_json(self) -> dict[str, Json]:
        """All fields."""
        return {
            "version": self.version,
            "variant": self.variant,
            "digest": self.digest,
            "percent": self.percent,
            "wave": self.wave,
            "stable": self.stable,
        }


@dataclass(frozen=True, slots=True)
class ModelChange:
    """A model whose version, variant, wave, percentage or stable version is another than before."""

    model: str
    deployment: str
    before: ModelState | None
    after: ModelState | None

    def to_json(self) -> dict[str, Json]:
        """None stands for a model that is not there."""
        return {
            "model": self.model,
            "deployment": self.deployment,
            "before": None if self.before is None else self.before.to_json(),
            "after": None if self.after is None else self.after.to_json(),
        }


@dataclass(frozen=True, slots=True)
class CostChange:
    """A month's cost in one currency; zero with grade ``absent`` stands for nothing that costs."""

    currency: str
    before: Figure
    after: Figure

    @property
    def difference(self) -> Decimal:
        """Of the two values. Its bounds are not told: the two estimates share most of what is uncertain about them."""
        return self.after.value - self.before.value

    def to_json(self) -> dict[str, Json]:
        """Amounts as exact decimal text."""
        return {
            "currency": self.currency,
            "before": _figure(self.before),
            "after": _figure(self.after),
            "difference": decimal_text(self.difference),
        }


@dataclass(frozen=True, slots=True)
class GroupChange:
    """One device group that is not the same in both."""

    group: str
    change: Change
    objects: tuple[ObjectChange, ...]
    models: tuple[ModelChange, ...]
    costs: tuple[CostChange, ...]

    def to_json(self) -> dict[str, Json]:
        """With everything below it."""
        return {
            "group": self.group,
            "change": self.change.value,
            "models": [each.to_json() for each in self.models],
            "costs": [each.to_json() for each in self.costs],
            "objects": [each.to_json() for each in self.objects],
        }


@dataclass(frozen=True, slots=True)
class Comparison:
    """Everything between two renderings: groups by name, how many stay as they are, and the bill of the whole fleet."""

    groups: tuple[GroupChange, ...]
    unchanged: int
    costs: tuple[CostChange, ...] = field(default=())

    def to_json(self) -> dict[str, Json]:
        """``{groups, unchanged, costs}``."""
        return {
            "groups": [each.to_json() for each in self.groups],
            "unchanged": self.unchanged,
            "costs": [each.to_json() for each in self.costs],
        }


def compare(base: Mapping[str, Rendering], head: Mapping[str, Rendering]) -> Comparison:
    """What changes from ``base`` to ``head``, both by group. Equal objects in another order are no change."""
    changes = []
    unchanged = 0
    before: list[tuple[str, Figure]] = []
    after: list[tuple[str, Figure]] = []
    for name in sorted({*base, *head}):
        one, other = base.get(name), head.get(name)
        costs_before, costs_after = _costs(one), _costs(other)
        before += costs_before.items()
        after += costs_after.items()
        objects = tuple(_objects(one, other))
        if not objects:
            unchanged += 1
            continue
        change = Change.ADDED if one is None else Change.REMOVED if other is None else Change.CHANGED
        costs = tuple(each for each in _paired(costs_before, costs_after) if each.before != each.after)
        changes.append(GroupChange(name, change, objects, tuple(_models(one, other)), costs))
    return Comparison(tuple(changes), unchanged, _paired(_summed(before), _summed(after)))


# ---------------------------------------------------------------- objects


def _objects(before: Rendering | None, after: Rendering | None) -> Iterator[ObjectChange]:
    one = {_identity(each): each for each in (before.objects if before else ())}
    other = {_identity(each): each for each in (after.objects if after else ())}
    for identity in sorted({*one, *other}):
        if identity not in one:
            yield ObjectChange(Change.ADDED, identity)
        elif identity not in other:
            yield ObjectChange(Change.REMOVED, identity)
        elif fields := tuple(_fields("", one[identity], other[identity])):
            yield ObjectChange(Change.CHANGED, identity, fields)


def _identity(item: Mapping[str, Any]) -> Identity:
    metadata = item["metadata"]
    return item["apiVersion"], item["kind"], metadata.get("namespace", ""), metadata["name"]


def _fields(path: str, before: Any, after: Any) -> Iterator[FieldChange]:  # noqa: ANN401 - any JSON value
    if before is after:
        return
    if isinstance(before, dict) and isinstance(after, dict):
        for key in sorted({*before, *after}):
            yield from _fields(_below(path, key), before.get(key, ABSENT), after.get(key, ABSENT))
        return
    if isinstance(before, list | tuple) and isinstance(after, list | tuple):
        yield from _items(path, before, after)
        return
    # Judged at the leaves: to Python {"on": True} and {"on": 1} are equal.
    if before == after and type(before) is type(after):
        return
    one, other = _document(before), _document(after)
    if one is not None and other is not None:
        yield from _fields(path, one, other)
        return
    yield FieldChange(path, before, after)


def _items(path: str, before: Sequence[Any], after: Sequence[Any]) -> Iterator[FieldChange]:
    for key in _KEYS:
        one, other = _by(before, key), _by(after, key)
        if one is not None and other is not None:
            for name in (*one, *(name for name in other if name not in one)):
                yield from _fields(f"{path}[{name}]", one.get(name, ABSENT), other.get(name, ABSENT))
            shared = [name for name in one if name in other]
            if shared != [name for name in other if name in one]:
                yield FieldChange(f"{path}[*].{key}", list(one), list(other))  # the order alone, or besides
            return
    for index in range(max(len(before), len(after))):
        yield from _fields(
            f"{path}[{index}]",
            before[index] if index < len(before) else ABSENT,
            after[index] if index < len(after) else ABSENT,
        )


def _by(items: Sequence[Any], key: str) -> dict[str, Any] | None:
    """The items by their own ``key``; None where one has none, or two have the same."""
    found: dict[str, Any] = {}
    for item in items:
        name = item.get(key) if isinstance(item, dict) else None
        if not isinstance(name, str) or name in found:
            return None
        found[name] = item
    return found


def _document(value: object) -> dict[str, Any] | None:
    """What a text holds, where that is a JSON object."""
    if not isinstance(value, str) or not value.startswith("{"):
        return None
    try:
        found = json.loads(value)
    except ValueError:
        return None
    return found if isinstance(found, dict) else None


def _below(path: str, key: str) -> str:
    """A key with a dot in it stands in brackets: ``data[desired.json]``."""
    if "." in key or "[" in key:
        return f"{path}[{key}]"
    return f"{path}.{key}" if path else key


# ---------------------------------------------------------------- models


def _models(before: Rendering | None, after: Rendering | None) -> Iterator[ModelChange]:
    one, other = _states(before), _states(after)
    for key in sorted({*one, *other}):
        if one.get(key) != other.get(key):
            model, deployment = key
            yield ModelChange(model, deployment, one.get(key), other.get(key))


def _states(group: Rendering | None) -> dict[tuple[str, str], ModelState]:
    if group is None:
        return {}
    waves = {}
    for item in group.objects:
        annotations = item["metadata"].get("annotations", {})
        if vocabulary.FLEET_SOURCE_DIGEST in annotations:
            waves[annotations[vocabulary.FLEET_SOURCE_DIGEST]] = annotations.get(vocabulary.FLEET_WAVE, "")
    return {
        (each.model, f"{each.kind} {each.namespace}/{each.name}"): ModelState(
            each.target.version,
            each.target.tier,
            str(each.target.digest),
            percent_text(each.percent),
            waves.get(str(each.source_digest), ""),
            _version(each.stable),
        )
        for each in group.desired.models
    }


def _version(artifact: Artifact | None) -> str:
    return "" if artifact is None else artifact.version


# ---------------------------------------------------------------- costs

_NOTHING = Figure(Decimal(0), Decimal(0), Decimal(0), Grade.ABSENT)


def _costs(group: Rendering | None) -> dict[str, Figure]:
    """The totals of the group's cost report, by currency."""
    if group is None:
        return {}
    name = cost_name(group.group)
    for item in group.objects:
        if item["kind"] == "ConfigMap" and item["metadata"]["name"] == name:
            totals = json.loads(item["data"][COST_FILE])["totals"]
            return {
                total["currency"]: Figure(
                    Decimal(total["total"]), Decimal(total["low"]), Decimal(total["high"]), Grade(total["grade"])
                )
                for total in totals
            }
    return {}


def _summed(figures: Sequence[tuple[str, Figure]]) -> dict[str, Figure]:
    return {
        currency: total_of(figure for each, figure in figures if each == currency)
        for currency in sorted({currency for currency, _ in figures})
    }


def _paired(before: Mapping[str, Figure], after: Mapping[str, Figure]) -> tuple[CostChange, ...]:
    return tuple(
        CostChange(currency, before.get(currency, _NOTHING), after.get(currency, _NOTHING))
        for currency in sorted({*before, *after})
    )


def _figure(figure: Figure) -> dict[str, Json]:
    return {
        "value": decimal_text(figure.value),
        "low": decimal_text(figure.low),
        "high": decimal_text(figure.high),
        "grade": figure.grade.value,
    }
