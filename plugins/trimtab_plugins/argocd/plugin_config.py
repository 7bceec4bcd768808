"""plugin.yaml: the file that tells Argo CD's stock server what to run, read by the same keys for the native one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from trimtab_config.spec.nodes import ListNode, MapNode, TextNode, parse_stream
from trimtab_kernel.problems import Collector, InputError, Problem, quoted
from trimtab_plugins.argocd.parameters import ANNOUNCED, Announcement
from trimtab_plugins.argocd.socket_place import check_name

if TYPE_CHECKING:
    from pathlib import Path

    from trimtab_config.spec.nodes import Node

FILE = "plugin.yaml"
_API, _KIND = "argoproj.io/v1alpha1", "ConfigManagementPlugin"


@dataclass(frozen=True, slots=True)
class Discover:
    """How a repository without a named plugin is recognised: a pattern for one file, or one with ``**``."""

    file_name: str = ""
    glob: str = ""

    def __bool__(self) -> bool:
        """Whether anything is to be discovered."""
        return bool(self.file_name or self.glob)


@dataclass(frozen=True, slots=True)
class PluginConfig:
    """What the native server takes from plugin.yaml. ``socket_name`` is that of the socket without ``.sock``."""

    socket_name: str
    announced: tuple[Announcement, ...] = ANNOUNCED
    discover: Discover = Discover()


def load_plugin_config(folder: Path) -> PluginConfig:
    """Read ``folder``/plugin.yaml. Raises InputError (A101, and F1 for what is no YAML)."""
    path = folder / FILE
    try:
        content = path.read_bytes()
    except OSError as error:
        got = (error.strerror or "an error").lower()
        raise InputError(Problem("A101", str(path), 0, "", got, "a file that can be read")) from error
    return parse_plugin_config(FILE, content)


def parse_plugin_config(file: str, content: bytes) -> PluginConfig:
    """See :func:`load_plugin_config`; the same conditions as the stock server's, and what only it can do is refused."""
    stream = parse_stream(file, content)
    problems = Collector()
    problems.extend(stream.problems)
    roots = [raw.root for raw in stream.documents if raw.problems or not _is_empty(raw.root)]
    for raw in stream.documents:
        problems.extend(raw.problems)
    if problems.problems:
        raise InputError(*problems.sorted())
    if len(roots) != 1 or not isinstance(roots[0], MapNode):
        raise InputError(Problem("A101", file, 1, "", f"{len(roots)} objects", f"one {_KIND}"))
    reader = _Reader(file, problems)
    root: dict[str, Any] = _plain(roots[0])
    lines = _lines(roots[0])
    config = reader.read(root, lines)
    if config is None:
        raise InputError(*problems.sorted())
    return config


class _Reader:
    def __init__(self, file: str, problems: Collector) -> None:
        self._file = file
        self._problems = problems

    def read(self, root: dict[str, Any], lines: dict[str, int]) -> PluginConfig | None:
        self._lines = lines
        spec = _mapping(root.get("spec"))
        name = _text(_mapping(root.get("metadata")).get("name"))
        version = _text(spec.get("version"))
        self._expect(root.get("apiVersion") == _API, "apiVersion", root.get("apiVersion"), quoted(_API))
        self._expect(root.get("kind") == _KIND, "kind", root.get("kind"), quoted(_KIND))
        command = _mapping(spec.get("generate")).get("command")
        self._expect(isinstance(command, list) and bool(command), "spec.generate.command", command, "a command")
        socket_name = f"{name}-{version}" if version else name
        try:
            check_name(socket_name)
        except ValueError:
            self._expect(False, "metadata.name", name, "a name that can be a file's")
        discover = self._discover(_mapping(spec.get("discover")))
        for place, why in (("init", "run a program before"), ("preserveFileMode", "keep modes of files")):
            given = spec.get(place)
            self._expect(
                given in (None, "false", {}), f"spec.{place}", given, f"none: the native server does not {why}"
            )
        given = spec.get("provideGitCreds")
        self._expect(given in (None, "false"), "spec.provideGitCreds", given, "false: the renderer fetches nothing")
        announced = self._announced(_mapping(spec.get("parameters")))
        if self._problems.problems:
            return None
        return PluginConfig(socket_name, announced, discover)

    def _discover(self, given: dict[str, Any]) -> Discover:
        find = _mapping(given.get("find"))
        self._expect(
            not find.get("command"),
            "spec.discover.find.command",
            find.get("command"),
            "fileName or find.glob: no program",
        )
        return Discover(_text(given.get("fileName")), _text(find.get("glob")))

    def _announced(self, given: dict[str, Any]) -> tuple[Announcement, ...]:
        self._expect(not given.get("dynamic"), "spec.parameters.dynamic", "a command", "static parameters: no program")
        static = given.get("static")
        if not static:
            return ANNOUNCED
        announced = []
        for place, each in enumerate(static if isinstance(static, list) else [static]):
            one = _mapping(each)
            field = f"spec.parameters.static[{place}]"
            kind = _text(one.get("collectionType")) or "string"
            self._expect(bool(_text(one.get("name"))), f"{field}.name", one.get("name"), "a name")
            self._expect(kind in {"string", "array", "map"}, f"{field}.collectionType", kind, "string, array or map")
            array = one.get("array")
            announced.append(
                Announcement(
                    name=_text(one.get("name")),
                    title=_text(one.get("title")),
                    tooltip=_text(one.get("tooltip")),
                    required=one.get("required") == "true",
                    item_type=_text(one.get("itemType")) or "string",
                    collection_type=kind,
                    string=_text(one.get("string")),
                    array=tuple(map(_text, array)) if isinstance(array, list) else (),
                    mapping=tuple((key, _text(value)) for key, value in _mapping(one.get("map")).items()),
                )
            )
        return tuple(announced)

    def _expect(self, holds: bool, field: str, got: object, expected: str) -> None:
        if not holds:
            shown = "nothing" if got in (None, "") else quoted(got if isinstance(got, str) else str(got))
            self._problems.add(Problem("A101", self._file, self._lines.get(field, 0), field, shown, expected))


def _is_empty(node: Node) -> bool:
    return isinstance(node, TextNode) and not node.text


def _mapping(value: object) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""


def _plain(node: Node) -> Any:  # noqa: ANN401 - whatever the file holds
    if isinstance(node, MapNode):
        return {key: _plain(entry.value) for key, entry in node.entries.items()}
    if isinstance(node, ListNode):
        return [_plain(item) for item in node.items]
    return node.text if not (node.plain and node.text in {"", "~", "null"}) else None


def _lines(node: Node, path: str = "") -> dict[str, int]:
    found: dict[str, int] = {}
    if isinstance(node, MapNode):
        for key, entry in node.entries.items():
            where = f"{path}.{key}" if path else key
            found[where] = entry.line
            found |= _lines(entry.value, where)
    elif isinstance(node, ListNode):
        for place, item in enumerate(node.items):
            found |= _lines(item, f"{path}[{place}]")
    return found
