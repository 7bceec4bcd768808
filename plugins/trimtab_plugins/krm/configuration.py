"""What the function is asked to do: a ConfigMap, or an object of its own kind. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from trimtab_config.compilation import Monitoring, RenderOptions
from trimtab_config.spec.nearest import did_you_mean
from trimtab_kernel.problems import Collector, InputError, Problem, quoted
from trimtab_plugins.krm.nodes import Mapping, Scalar, Sequence

if TYPE_CHECKING:
    from trimtab_plugins.krm.nodes import Node

API_VERSION = "fn.apexlogic.ai/v1"
KIND = "FleetRender"
_CONFIG_MAP = ("v1", "ConfigMap")
# The names in a ConfigMap's data, and in the spec of the kind of our own.
_NAMES = {
    "groups": "groups",
    "price-book": "priceBook",
    "monitoring": "monitoring",
    "with-namespace": "withNamespace",
    "keep-inputs": "keepInputs",
    "validate-only": "validateOnly",
}


@dataclass(frozen=True, slots=True)
class Configuration:
    """``groups`` is None for every group of the tree."""

    groups: tuple[str, ...] | None = None
    options: RenderOptions = field(default_factory=RenderOptions)
    keep_inputs: bool = False
    validate_only: bool = False


def read_configuration(root: Mapping | None) -> Configuration:
    """The whole default where there is none. Raises InputError (A502) with everything that is wrong with it."""
    if root is None:
        return Configuration()
    kind = (root.text("apiVersion"), root.text("kind"))
    problems = Collector()
    if kind == _CONFIG_MAP:
        found, names, part = root.child("data"), {name: name for name in _NAMES}, "data"
    elif kind == (API_VERSION, KIND):
        found, names, part = root.child("spec"), {own: name for name, own in _NAMES.items()}, "spec"
    else:
        expected = f"v1 ConfigMap or {API_VERSION} {KIND}"
        raise InputError(Problem("A502", "functionConfig", 0, "kind", quoted(" ".join(kind).strip()), expected))
    said: dict[str, Node] = {}
    for key, value in found.entries if found else []:
        name = key.text if isinstance(key, Scalar) else ""
        if name in names:
            said[names[name]] = value
        else:
            expected = ", ".join(names)
            problems.add(
                Problem(
                    "A502", "functionConfig", 0, f"{part}.{name}", quoted(name), expected, did_you_mean(name, names)
                )
            )
    shown = {name: f"{part}.{own}" for own, name in names.items()}
    groups = _groups(said.get("groups"), shown["groups"], problems)
    monitoring = _text(said.get("monitoring"), shown["monitoring"], problems) or Monitoring.ANNOTATIONS.value
    if monitoring not in {choice.value for choice in Monitoring}:
        choices = " or ".join(choice.value for choice in Monitoring)
        problems.add(Problem("A502", "functionConfig", 0, shown["monitoring"], quoted(monitoring), choices))
        monitoring = Monitoring.ANNOTATIONS.value
    configuration = Configuration(
        groups=groups,
        options=RenderOptions(
            price_book=_text(said.get("price-book"), shown["price-book"], problems) or None,
            monitoring=Monitoring(monitoring),
            with_namespace=_flag(said.get("with-namespace"), shown["with-namespace"], problems),
        ),
        keep_inputs=_flag(said.get("keep-inputs"), shown["keep-inputs"], problems),
        validate_only=_flag(said.get("validate-only"), shown["validate-only"], problems),
    )
    if problems.problems:
        raise InputError(*problems.sorted())
    return configuration


def _groups(node: Node | None, place: str, problems: Collector) -> tuple[str, ...] | None:
    """A list, or text with commas or white space between the names."""
    if node is None:
        return None
    if isinstance(node, Sequence):
        found = [item.text for item in node.items if isinstance(item, Scalar)]
        sound = len(found) == len(node.items)
    else:
        sound = isinstance(node, Scalar)
        found = [name for name in re.split(r"[\s,]+", node.text) if name] if isinstance(node, Scalar) else []
    if not sound or not found:
        got = "no name" if sound else "something else"
        hint = "leave it out to render every group"
        problems.add(Problem("A502", "functionConfig", 0, place, got, "names of device groups", hint))
        return None
    return tuple(sorted(set(found)))


def _text(node: Node | None, place: str, problems: Collector) -> str:
    if node is None:
        return ""
    if isinstance(node, Scalar):
        return node.text
    problems.add(Problem("A502", "functionConfig", 0, place, "a list or an object", "text"))
    return ""


def _flag(node: Node | None, place: str, problems: Collector) -> bool:
    text = _text(node, place, problems)
    if text in {"", "false", "true"}:
        return text == "true"
    problems.add(Problem("A502", "functionConfig", 0, place, quoted(text), "true or false"))
    return False
