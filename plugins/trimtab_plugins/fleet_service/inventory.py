"""The device groups of one tree, what may be asked about them, and the two forms of answer. Pure."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from trimtab_config.render.names import fitted
from trimtab_config.spec.nearest import did_you_mean
from trimtab_kernel import vocabulary
from trimtab_kernel.identity import MAX_LABEL, parse_label_name
from trimtab_kernel.problems import InputError, Problem, quoted

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from trimtab_config.compilation import CompiledFleet
    from trimtab_kernel.canonical import Json

MAX_BODY = 64 * 1024
MAX_INPUTS_BYTES = 900 * 1024
"""What flux-operator takes of an external service."""
DEFAULT_LIMIT = 100
"""How many inputs flux-operator takes unless its provider says otherwise."""
MOST_INPUTS = 10_000
_FILTERS = ("cluster", "namespace", "labels")
_MAX_LABELS = 32


@dataclass(frozen=True, slots=True)
class GroupEntry:
    """One device group.

    ``wave`` holds the current waves of its rollouts, sorted and joined by ".", "" where it has none. It fits into a label:
    what is longer is cut and ends in a hash of all of it.
    """

    group: str
    namespace: str
    cluster: str
    wave: str
    labels: Mapping[str, str]

    def to_json(self) -> dict[str, Json]:
        """The keys of a generator's parameters."""
        return {
            "group": self.group,
            "namespace": self.namespace,
            "cluster": self.cluster,
            "wave": self.wave,
            "labels": dict(self.labels),
        }


@dataclass(frozen=True, slots=True)
class Inventory:
    """All device groups of one revision, sorted by name; never none."""

    revision: str
    entries: tuple[GroupEntry, ...]

    def chosen(self, question: Question) -> tuple[GroupEntry, ...]:
        """The groups that pass all filters. Raises InputError (A203) for none: an empty answer deletes what there is."""
        found = tuple(each for each in self.entries if question.admits(each))
        if not found:
            got = f"no group of {len(self.entries)} with {question}"
            raise InputError(Problem("A203", got=got, expected="at least one", hint="correct the filters"))
        return found


@dataclass(frozen=True, slots=True)
class Question:
    """Which groups are asked for; an empty field asks for all. ``limit`` matters to flux-operator alone."""

    cluster: str = ""
    namespace: str = ""
    labels: Mapping[str, str] = field(default_factory=dict)
    limit: int = DEFAULT_LIMIT

    def admits(self, entry: GroupEntry) -> bool:
        """Whether the group is meant: labels by equality of all that are given."""
        return (
            self.cluster in {"", entry.cluster}
            and self.namespace in {"", entry.namespace}
            and all(entry.labels.get(name) == value for name, value in self.labels.items())
        )

    def __str__(self) -> str:
        """The filters as they are told in messages."""
        parts = [f"{name} {quoted(value)}" for name in ("cluster", "namespace") if (value := getattr(self, name))]
        parts += [f"label {quoted(f'{name}={value}')}" for name, value in sorted(self.labels.items())]
        return ", ".join(parts) or "no filter"


def inventory_of(fleet: CompiledFleet, revision: str) -> Inventory:
    """The groups of a tree all of whose groups can be rendered. Raises InputError with all that keeps one from it."""
    rendered = fleet.render_all()
    entries = []
    for name in fleet.groups:
        document = fleet.catalog.groups[name]
        annotated = (each["metadata"].get("annotations", {}) for each in rendered[name].objects)
        waves = {found[vocabulary.FLEET_WAVE] for found in annotated if found.get(vocabulary.FLEET_WAVE)}
        labels = dict(sorted(document.metadata.labels.items()))
        wave = fitted(".".join(sorted(waves)), MAX_LABEL)
        entries.append(GroupEntry(name, document.metadata.namespace, document.spec.cluster, wave, labels))
    return Inventory(revision, tuple(entries))


# ---------------------------------------------------------------- Argo CD: the plugin generator


def generator_question(body: bytes) -> Question:
    """What an ApplicationSet asks: ``{"applicationSetName": ..., "input": {"parameters": {...}}}``.

    Parameters: ``cluster`` and ``namespace`` as text, ``labels`` as an object of text or as ``name=value,...``. Raises
    InputError (A202) for anything else; a filter that is not understood is refused, as ignoring it would answer with more
    groups than were asked for.
    """
    content = _json(body)
    if not isinstance(content, dict):
        raise _bad("the body", content, "an object")
    name = content.get("applicationSetName", "")
    if not isinstance(name, str):
        raise _bad("applicationSetName", name, "text")
    given = content.get("input") or {}
    if not isinstance(given, dict):
        raise _bad("input", given, "an object")
    parameters = given.get("parameters") or {}
    if not isinstance(parameters, dict):
        raise _bad("input.parameters", parameters, "an object")
    for key in parameters:
        if key not in _FILTERS:
            raise _unknown(f"input.parameters.{key[:80]}", key)
    return Question(
        _filter_text("input.parameters.cluster", parameters.get("cluster", "")),
        _filter_text("input.parameters.namespace", parameters.get("namespace", "")),
        _labels("input.parameters.labels", parameters.get("labels", {})),
    )


def generator_answer(entries: Sequence[GroupEntry]) -> bytes:
    """``{"output": {"parameters": [...]}}``, one object for each group."""
    return _text({"output": {"parameters": [each.to_json() for each in entries]}})


# ---------------------------------------------------------------- flux-operator: an external service


def inputs_question(query: Sequence[tuple[str, str]]) -> Question:
    """What a ResourceSetInputProvider asks in its URL: ``cluster``, ``namespace``, ``labels=name=value,...`` and ``limit``.

    Raises InputError (A202) for an unknown or repeated one.
    """
    given: dict[str, str] = {}
    for key, value in query:
        if key not in (*_FILTERS, "limit"):
            raise _unknown(key[:80], key, (*_FILTERS, "limit"))
        if key in given:
            raise _bad(key, value, "each parameter once")
        given[key] = value
    limit = given.get("limit", str(DEFAULT_LIMIT))
    if not limit.isascii() or not limit.isdigit() or len(limit) > 5 or not 1 <= int(limit) <= MOST_INPUTS:
        raise _bad("limit", limit, f"a whole number from 1 to {MOST_INPUTS}")
    return Question(
        _filter_text("cluster", given.get("cluster", "")),
        _filter_text("namespace", given.get("namespace", "")),
        _labels("labels", given.get("labels", "")),
        int(limit),
    )


def inputs_answer(entries: Sequence[GroupEntry], limit: int) -> bytes:
    """``{"inputs": [{"id": ...}, ...]}``; the id is the group's name, which is unique in a tree.

    Raises InputError (A205) for more inputs than ``limit`` or more than 900 KiB. flux-operator cuts a longer list without
    a word, and what is cut is pruned.
    """
    if len(entries) > limit:
        hint = "set filter.limit of the provider and limit=N in its URL to the same number, or filter"
        raise InputError(Problem("A205", got=f"{len(entries)} groups", expected=f"at most {limit}", hint=hint))
    content = _text({"inputs": [{"id": each.group, **each.to_json()} for each in entries]})
    if len(content) > MAX_INPUTS_BYTES:
        hint = "filter by cluster or labels, with a provider for each part"
        raise InputError(
            Problem("A205", got=f"{len(content)} bytes", expected=f"at most {MAX_INPUTS_BYTES}", hint=hint)
        )
    return content


# ---------------------------------------------------------------- reading


def _json(body: bytes) -> object:
    if len(body) > MAX_BODY:
        raise _bad("the body", f"{len(body)} bytes", f"at most {MAX_BODY} bytes")
    try:
        return json.loads(body.decode("utf-8"), object_pairs_hook=_unique, parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:
        # The text of the error may repeat the body; its place is enough.
        place = f" at character {error.pos}" if isinstance(error, json.JSONDecodeError) else ""
        raise _bad("the body", f"no JSON{place}", "one JSON object in UTF-8, each key once") from None


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a key twice")
    return found


def _no_constant(name: str) -> object:
    raise ValueError(name)


def _filter_text(place: str, value: object) -> str:
    """A name, or "" for no filter."""
    if value == "":
        return ""
    if not isinstance(value, str):
        raise _bad(place, value, "text")
    try:
        return parse_label_name(value)
    except ValueError as error:
        raise _bad(place, value, str(error).removeprefix("expected ")) from None


def _labels(place: str, value: object) -> Mapping[str, str]:
    if isinstance(value, str):
        value = _split(place, value)
    if not isinstance(value, dict):
        raise _bad(place, value, 'an object, or text such as "region=EMEA,deviceType=kiosk"')
    if len(value) > _MAX_LABELS:
        raise _bad(place, f"{len(value)} labels", f"at most {_MAX_LABELS}")
    for name, wanted in value.items():
        if not isinstance(wanted, str):
            raise _bad(f"{place}.{name[:80]}", wanted, "text")
    return value


def _split(place: str, text: str) -> dict[str, str]:
    found: dict[str, str] = {}
    for part in text.split(",") if text else []:
        name, equals, wanted = part.partition("=")
        if not equals or not name or name in found:
            raise _bad(place, part, "name=value, each name once")
        found[name] = wanted
    return found


def _text(content: dict[str, Json]) -> bytes:
    return json.dumps(content, ensure_ascii=False, separators=(",", ":")).encode()


def _bad(place: str, got: object, expected: str) -> InputError:
    shown = quoted(got) if isinstance(got, str) else quoted(json.dumps(got))
    return InputError(Problem("A202", field=place, got=shown, expected=expected))


def _unknown(place: str, key: str, names: Sequence[str] = _FILTERS) -> InputError:
    hint = did_you_mean(key[:80], names)
    return InputError(Problem("A202", field=place, got=quoted(key), expected=f"one of {', '.join(names)}", hint=hint))
