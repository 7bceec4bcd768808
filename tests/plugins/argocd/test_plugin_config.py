"""plugin.yaml is read by the keys of Argo CD; what the native server cannot do is refused by name."""

from __future__ import annotations

import pytest

from tests.plugins.argocd.wire import CONFIG
from trimtab_kernel.problems import InputError
from trimtab_plugins.argocd.parameters import ANNOUNCED
from trimtab_plugins.argocd.plugin_config import Discover, load_plugin_config, parse_plugin_config
from trimtab_plugins.argocd.service import matches

HEAD = "apiVersion: argoproj.io/v1alpha1\nkind: ConfigManagementPlugin\nmetadata: {name: trimtab}\n"
GENERATE = "  generate: {command: [trimtab, cmp-generate]}\n"
LEAST = f"{HEAD}spec:\n{GENERATE}"


def refusal(text: str) -> str:
    with pytest.raises(InputError) as caught:
        parse_plugin_config("plugin.yaml", text.encode())
    return str(caught.value)


def test_the_file_of_the_repository_announces_what_the_renderer_takes() -> None:
    config = load_plugin_config(CONFIG)
    assert config.socket_name == "trimtab"
    assert config.announced == ANNOUNCED
    assert not config.discover


def test_a_version_becomes_a_part_of_the_socket() -> None:
    assert parse_plugin_config("p", f"{LEAST}  version: v1.0\n".encode()).socket_name == "trimtab-v1.0"


def test_parameters_of_every_kind_are_announced() -> None:
    text = (
        f"{LEAST}  parameters:\n    static:\n"
        "      - {name: a, title: A, required: true, string: x}\n"
        "      - {name: b, collectionType: array, array: [p, q]}\n"
        "      - {name: c, collectionType: map, map: {k: v}, tooltip: T}\n"
    )
    first, second, third = parse_plugin_config("p", text.encode()).announced
    assert (first.name, first.title, first.required, first.string) == ("a", "A", True, "x")
    assert (second.collection_type, second.array) == ("array", ("p", "q"))
    assert (third.collection_type, third.mapping, third.tooltip) == ("map", (("k", "v"),), "T")


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (LEAST.replace("v1alpha1", "v1"), "plugin.yaml:1 apiVersion: A101"),
        (LEAST.replace("ConfigManagementPlugin", "Plugin"), "plugin.yaml:2 kind: A101"),
        (LEAST.replace("{name: trimtab}", "{}"), "metadata.name: A101 got nothing"),
        (LEAST.replace("name: trimtab", "name: ../x"), "metadata.name: A101"),
        (f"{HEAD}spec: {{}}\n", "spec.generate.command: A101 got nothing"),
        (f"{LEAST}  init: {{command: [make]}}\n", "spec.init: A101"),
        (f"{LEAST}  provideGitCreds: true\n", "spec.provideGitCreds: A101"),
        (f"{LEAST}  preserveFileMode: true\n", "spec.preserveFileMode: A101"),
        (f"{LEAST}  discover: {{find: {{command: [sh]}}}}\n", "spec.discover.find.command: A101"),
        (f"{LEAST}  parameters: {{dynamic: {{command: [sh]}}}}\n", "spec.parameters.dynamic: A101"),
        (f"{LEAST}  parameters: {{static: [{{title: x}}]}}\n", "spec.parameters.static[0].name: A101"),
        (f"{LEAST}---\n{LEAST}", "A101 got 2 objects"),
        ("", "A101 got 0 objects"),
        ("a: [", "F101"),
        ("kind: A\nkind: B\n", "F107"),
    ],
)
def test_what_cannot_hold_is_named(text: str, says: str) -> None:
    assert says in refusal(text)


def test_a_file_that_is_not_there_is_named(tmp_path_factory: pytest.TempPathFactory) -> None:
    with pytest.raises(InputError, match=r"plugin.yaml: A101 got no such file"):
        load_plugin_config(tmp_path_factory.mktemp("empty"))


@pytest.mark.parametrize(
    ("discover", "names", "found"),
    [
        (Discover("fleet.yaml"), ["fleet.yaml"], True),
        (Discover("./*.yaml"), ["fleet.yaml"], True),
        (Discover("*.yaml"), ["groups/a.yaml"], False),
        (Discover("*/a.yaml"), ["groups/a.yaml"], True),
        (Discover(glob="**/groups/*.yaml"), ["groups/a.yaml"], True),
        (Discover(glob="**/groups/*.yaml"), ["x/y/groups/a.yaml"], True),
        (Discover(glob="**/groups/*.yaml"), ["groups/b/a.yaml"], False),
        (Discover(glob="groups/?.yaml"), ["groups/a.yaml", "z"], True),
        (Discover(glob="groups/a+.yaml"), ["groups/aa.yaml"], False),
        (Discover("none.yaml", "**/*.yaml"), ["a.yaml"], False),
    ],
)
def test_discovery_looks_at_names(discover: Discover, names: list[str], found: bool) -> None:
    assert matches(discover, names) is found
