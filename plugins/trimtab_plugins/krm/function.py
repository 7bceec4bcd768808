"""The function: a ResourceList in, a ResourceList out. Pure.

What becomes of the items:

- Objects of Trimtab's kinds are the input tree. They are consumed, or stay with ``keep-inputs``.
- What the function has written before is recognised, so that running it again on its own output changes nothing: an item
  that a rendered object names too is replaced in its place, and one of a group that is rendered, or gone, that no rendered
  object names any more is removed.
- Rendered objects that are new follow at the end, by group and in the order of ``trimtab render``.
- All other items stay as they are and where they are.

With problems, or with ``validate-only``, the items stay as they came.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from trimtab_config.compilation import FleetCompiler
from trimtab_config.spec.kinds import KINDS
from trimtab_kernel.problems import InputError, Problem
from trimtab_kernel.vocabulary import FLEET_GROUP, FLEET_SOURCE_DIGEST
from trimtab_plugins.krm.configuration import Configuration, read_configuration
from trimtab_plugins.krm.resource_list import Item, items_of_stream, read_resource_list
from trimtab_plugins.krm.results import Result, placed_in_item, result_of

if TYPE_CHECKING:
    from trimtab_config.compilation import RenderedGroup
    from trimtab_plugins.krm.resource_list import Identity, ResourceList

MANAGED_BY = ("app.kubernetes.io/managed-by", "trimtab")
# A kind of ours in a version that we do not know is read too, so that the reader says what is wrong with it.
_DOMAINS = {kind.api_version.partition("/")[0] for kind in KINDS}


@dataclass(frozen=True, slots=True)
class Answer:
    """``output`` is the ResourceList to print, "" where the input was none. ``problems`` name items as files."""

    output: str
    problems: tuple[Problem, ...]


def run_function(content: bytes) -> Answer:
    """Raises nothing: whatever is wrong is among the problems, and among the results of the output."""
    try:
        given = read_resource_list(content)
    except InputError as error:
        return Answer("", error.problems)
    tree = _tree(given.items)
    try:
        results = _apply(given, tree, read_configuration(given.function))
    except InputError as error:
        problems = tuple(placed_in_item(problem) for problem in error.problems)
        return Answer(given.write(result_of(problem, tree) for problem in problems), problems)
    return Answer(given.write(results), ())


def _apply(given: ResourceList, tree: dict[str, Item], configuration: Configuration) -> list[Result]:
    if not tree:
        hint = "list the fleet's files as resources, and this function under transformers"
        raise InputError(
            Problem("A503", got="no object of Trimtab's kinds among the items", expected="a fleet", hint=hint)
        )
    fleet = FleetCompiler(configuration.options).open({name: item.source() for name, item in tree.items()})
    rendered = (
        fleet.render_all()
        if configuration.groups is None
        else {name: fleet.render(name) for name in configuration.groups}
    )
    if not configuration.validate_only:
        inputs = {id(item) for item in tree.values()}
        given.items = _merged(given.items, inputs, rendered, set(fleet.groups), keep=configuration.keep_inputs)
    verb = "compiles to" if configuration.validate_only else "rendered as"
    return [
        Result(
            message=f'device group "{name}" {verb} {len(group.objects)} objects',
            severity="info",
            tags=(("contentDigest", f"sha256:{group.content_digest}"), ("group", name)),
        )
        for name, group in rendered.items()
    ]


def _tree(items: list[Item]) -> dict[str, Item]:
    """The input tree: its items, each as a file of its own, by a name that says where it comes from."""
    found: dict[str, Item] = {}
    for number, item in enumerate(items):
        identity = item.identity
        if identity.api_version.partition("/")[0] not in _DOMAINS or FLEET_SOURCE_DIGEST in item.annotations:
            continue
        owner = f"{identity.namespace}/{identity.name}" if identity.namespace else identity.name
        name = item.path or f"{identity.kind} {owner}"
        if name in found:
            name = f"{name} (item {number})"
        found[name] = item
    return found


def _merged(
    items: list[Item], inputs: set[int], rendered: dict[str, RenderedGroup], groups: set[str], *, keep: bool
) -> list[Item]:
    fresh: dict[Identity, Item] = {}
    for group in rendered.values():
        for item in items_of_stream(group.stream):
            fresh.setdefault(item.identity, item)
    merged: list[Item] = []
    for item in items:
        if id(item) in inputs:
            if keep:
                merged.append(item)
        elif (new := fresh.pop(item.identity, None)) is not None:
            new.take_host_annotations(item)
            merged.append(new)
        elif not _is_stale(item, set(rendered), groups):
            merged.append(item)
    return [*merged, *fresh.values()]


def _is_stale(item: Item, rendered: set[str], groups: set[str]) -> bool:
    """Whether the function wrote it for a group that is rendered anew, or that has left the tree."""
    labels = item.labels
    group = labels.get(FLEET_GROUP, "")
    return labels.get(MANAGED_BY[0]) == MANAGED_BY[1] and bool(group) and (group in rendered or group not in groups)
