"""What an Application asks for: the parameters that Argo CD hands to its plugin, native or by environment."""

from __future__ import annotations

import json
import posixpath
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from trimtab_config.spec.nearest import did_you_mean
from trimtab_kernel.problems import Collector, InputError, Problem, quoted

if TYPE_CHECKING:
    from collections.abc import Mapping

VARIABLE = "ARGOCD_APP_PARAMETERS"
GROUP = "group"
PRICE_BOOK = "price-book"
_KNOWN = (GROUP, PRICE_BOOK)
_FIELD = "spec.source.plugin.parameters"
_MAX_BYTES = 256 * 1024
_MAX_VALUE = 253  # of a name in Kubernetes


@dataclass(frozen=True, slots=True)
class Announcement:
    """One parameter, as Argo CD shows it to people who edit an Application."""

    name: str
    title: str
    tooltip: str
    required: bool = False
    item_type: str = "string"
    collection_type: str = "string"
    string: str = ""
    array: tuple[str, ...] = ()
    mapping: tuple[tuple[str, str], ...] = ()


ANNOUNCED = (
    Announcement(GROUP, "Device group", "The DeviceGroup of the fleet that this Application deploys.", required=True),
    Announcement(PRICE_BOOK, "Price book", "The PriceBook that costs are estimated with; empty: the newest."),
)


@dataclass(frozen=True, slots=True)
class Wish:
    """What to render."""

    group: str
    price_book: str | None = None


def read_wish(environment: Mapping[str, str]) -> Wish:
    """The parameters in ``ARGOCD_APP_PARAMETERS``. Raises InputError (A114) with everything that is wrong about them.

    The variables ``PARAM_*`` are not read: their names do not tell ``price-book`` from ``price_book``.
    """
    problems = Collector()
    values: dict[str, str] = {}
    for place, parameter in enumerate(_parameters(environment.get(VARIABLE, ""))):
        _take(parameter, f"{_FIELD}[{place}]", values, problems)
    if GROUP not in values and not problems.problems:
        expected = "{name: group, string: NAME}"
        problems.add(_problem(_FIELD, "no parameter group", expected))
    if problems.problems:
        raise InputError(*problems.sorted())
    return Wish(values[GROUP], values.get(PRICE_BOOK) or None)


def shown_folder(environment: Mapping[str, str], folder: str) -> str:
    """How messages name the fleet's folder: as in the repository, of which the archive may hold a part only."""
    path = environment.get("ARGOCD_APP_SOURCE_PATH", "")
    clean = posixpath.normpath(path) if path else ""
    if clean in {"", "."} or clean.startswith(("/", "..")) or len(clean) > 1000:
        return folder
    return clean if not folder or f"/{clean}".endswith(f"/{folder}") else folder


def _parameters(text: str) -> list[Any]:
    if not text.strip():
        return []
    if len(text) > _MAX_BYTES:
        raise InputError(_problem(_FIELD, f"{len(text)} characters", f"at most {_MAX_BYTES}"))
    try:
        parameters = json.loads(text)
    except (ValueError, RecursionError):
        raise InputError(_problem(_FIELD, "no JSON", "a list of parameters")) from None
    if parameters is None:
        return []
    if not isinstance(parameters, list):
        raise InputError(_problem(_FIELD, "no list", "a list of parameters"))
    return parameters


def _take(parameter: object, field: str, values: dict[str, str], problems: Collector) -> None:
    if not isinstance(parameter, dict) or not isinstance(parameter.get("name"), str):
        problems.add(_problem(field, "no parameter with a name", "{name: group, string: NAME}"))
        return
    name = parameter["name"]
    if name not in _KNOWN:
        hint = did_you_mean(name, _KNOWN)
        problems.add(_problem(f"{field}.name", quoted(name), f"one of {', '.join(_KNOWN)}", hint))
        return
    if name in values:
        problems.add(_problem(f"{field}.name", f"{quoted(name)} a second time", "each parameter once"))
        return
    others = [key for key in ("array", "map") if parameter.get(key)]
    value = parameter.get("string")
    if others or not isinstance(value, str):
        got = f"{quoted(name)} as {others[0]}" if others else f"{quoted(name)} without a string"
        problems.add(_problem(field, got, f"{{name: {name}, string: NAME}}"))
    elif (not value and name == GROUP) or len(value) > _MAX_VALUE:
        problems.add(_problem(f"{field}.string", quoted(value), f"the name of a {_what(name)}"))
    else:
        values[name] = value


def _what(name: str) -> str:
    return "device group" if name == GROUP else "price book"


def _problem(field: str, got: str, expected: str, hint: str = "") -> Problem:
    return Problem("A114", "", 0, field, got, expected, hint)
