"""What is kept from one compile to the next, in a process and on disk, is never another answer than a cold compile gives."""

from __future__ import annotations

import contextlib
import io
import json
import os
import re
import stat
import tempfile
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.config.small_fleet import Yaml, deployment, group, hold, model, on_device, phones, price_book, variant
from trimtab_config.cli import main
from trimtab_config.compilation import CompiledFleet, FleetCompiler, Monitoring, RenderOptions
from trimtab_config.compilation import fleet as fleet_module
from trimtab_config.compilation.heads import Heads
from trimtab_config.compilation.store import Store, default_folder
from trimtab_config.compilation.stored import StoredFleet
from trimtab_config.render.bundle import Bundle, Compiler
from trimtab_config.sources.tree import FilesInMemory
from trimtab_config.spec.reader import FileRead, read_file
from trimtab_kernel.problems import InputError, Problem

if TYPE_CHECKING:
    from collections.abc import Mapping

Files = dict[str, bytes]


def policy(kind: str, name: str, **spec: object) -> Yaml:
    metadata = {"name": name, "namespace": "fleet"}
    return {"apiVersion": "apexlogic.ai/v1", "kind": kind, "metadata": metadata, "spec": spec}


def digits(**changes: object) -> Yaml:
    return deployment("digits", spec__modelRef={"name": "digits", "version": "1.0.0"}, **changes)


BASE: dict[str, Yaml] = {
    "groups/kiosks.yaml": group(),
    "groups/desks.yaml": group("desks", metadata__labels={"region": "EMEA", "deviceType": "desk"}),
    "groups/phones.yaml": phones(),
    "models/triage.yaml": model(),
    "models/digits.yaml": model("digits"),
    "deployments/triage.yaml": deployment(spec__finopsPolicyRef="thrift", spec__aiAlignmentPolicyRef="fair"),
    "deployments/digits.yaml": digits(),
    "deployments/desk.yaml": deployment("desk", spec__targetDevices={"labels": {"deviceType": "desk"}}),
    "mobile.yaml": on_device(),
    "policies/thrift.yaml": policy("FinOpsPolicy", "thrift", caps={"cpu": "2"}),
    "policies/fair.yaml": policy("AIAlignmentPolicy", "fair", fairness={"minimum": "0.8"}),
    "prices.yaml": price_book(),
}
SOUND: dict[str, list[Yaml | None]] = {
    "groups/kiosks.yaml": [
        group(spec__deviceCount=11),
        group(metadata__labels={"region": "EMEA", "deviceType": "kiosk", "floor": "1"}),
        group(metadata__namespace="elsewhere"),
    ],
    "groups/desks.yaml": [group("desks", metadata__labels={"region": "EMEA", "deviceType": "kiosk"}), None],
    "models/triage.yaml": [
        model(versions={"1.0.0": [variant()], "1.1.0": [variant(size=5)], "1.2.0": [variant()]}),
        model(versions={"1.1.0": [variant()]}),
    ],
    "deployments/triage.yaml": [
        deployment(spec__modelRef={"name": "triage", "version": "1.0.0"}),
        deployment(spec__tags={"team": "clinics"}),
        deployment(spec__rollout={"waves": [{"name": "few", "percent": 10}], "stable": {"version": "1.0.0"}}),
        None,
    ],
    "deployments/desk.yaml": [
        deployment("desk", spec__targetDevices={"labels": {"deviceType": "desk"}}, spec__modelRef__version="1.0.0"),
        None,
    ],
    "hold.yaml": [hold(), hold(spec__version="1.0.0"), hold(spec__groups=["kiosks"])],
    "mobile.yaml": [on_device(spec__size=7), None],
    "policies/fair.yaml": [policy("AIAlignmentPolicy", "fair", fairness={"minimum": "0.9"})],
    "policies/thrift.yaml": [policy("FinOpsPolicy", "thrift", caps={"cpu": "100m"})],
    "prices.yaml": [price_book(spec__currency="USD"), None],
}
ODD = (b"kind: [", b"# nothing\n", b"kind: ConfigMap\napiVersion: v1\n")
Edit = tuple[str, Any]
edits: st.SearchStrategy[Edit] = st.one_of(
    st.sampled_from([(name, item) for name, items in SOUND.items() for item in items]),
    st.sampled_from([(name, "comment") for name in BASE]),
    st.sampled_from([(name, "base") for name in BASE]),
    st.tuples(st.just("odd.yaml"), st.sampled_from([*ODD, None])),
    st.sampled_from([("deployments/triage.yaml", "move"), ("groups/kiosks.yaml", "move")]),
)
OPTIONS = (
    RenderOptions(),
    RenderOptions(monitoring=Monitoring.OPERATOR, with_namespace=True),
    RenderOptions(price_book="prices"),
)


def text(item: Yaml) -> bytes:
    made: str = yaml.dump(item, Dumper=yaml.CSafeDumper, sort_keys=False)
    return made.encode()


def start() -> Files:
    return {name: text(item) for name, item in BASE.items()}


def edited(files: Files, edit: Edit) -> Files:
    name, change = edit
    result = dict(files)
    moved = f"moved/{name}"
    if change is None:
        result.pop(name, None)
    elif change == "comment":
        if name in result:
            result[name] = b"# a remark\n" + result[name]
    elif change == "base":
        result.pop(moved, None)
        result[name] = text(BASE[name])
    elif change == "move":
        if name in result:
            result[moved] = result.pop(name)
    else:
        result[name] = change if isinstance(change, bytes) else text(change)
    return result


def outcome(compiler: FleetCompiler, files: Files, options: RenderOptions) -> dict[str, bytes] | str:
    """All streams, or all problems."""
    try:
        fleet = compiler.open(files, "fleet", options)
        return {name: rendered.stream for name, rendered in fleet.render_all().items()}
    except InputError as error:
        return str(error)


@settings(max_examples=40)
@given(st.lists(st.tuples(edits, st.sampled_from(OPTIONS)), min_size=1, max_size=8))
def test_a_compiler_that_saw_other_trees_gives_what_a_new_one_gives(changes: list[tuple[Edit, RenderOptions]]) -> None:
    warm = FleetCompiler(policies=None)
    files = start()
    assert isinstance(outcome(warm, files, OPTIONS[0]), dict)
    for edit, options in changes:
        files = edited(files, edit)
        assert outcome(warm, files, options) == outcome(FleetCompiler(policies=None), files, options)


def test_with_policies_as_well() -> None:
    """A deployment of another group stops naming a version: a rule may look at that, so it decides the group's key."""
    warm = FleetCompiler()
    files = start()
    for edit in [
        ("groups/kiosks.yaml", "comment"),
        *[("deployments/desk.yaml", item) for item in SOUND["deployments/desk.yaml"]],
    ]:
        before = outcome(warm, files, OPTIONS[0])
        files = edited(files, edit)
        assert outcome(warm, files, OPTIONS[0]) == outcome(FleetCompiler(), files, OPTIONS[0])
        assert before


def ran(*arguments: str) -> tuple[int, str, str]:
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = main(["render", *arguments])
    return code, out.getvalue(), err.getvalue()


def written(folder: Path, files: Mapping[str, bytes]) -> None:
    for path in [path for path in folder.rglob("*") if path.is_file()]:
        if path.relative_to(folder).as_posix() not in files:
            path.unlink()
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)


@settings(max_examples=15)
@given(st.lists(st.tuples(edits, st.sampled_from([("--all",), ("--group", "kiosks"), ("--list-groups",)])), max_size=5))
def test_a_run_after_others_prints_what_a_first_one_prints(changes: list[tuple[Edit, tuple[str, ...]]]) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder, cache = Path(name) / "fleet", Path(name) / "cache"
        files = start()
        for edit, what in [(("prices.yaml", "base"), ("--all",)), *changes]:
            files = edited(files, edit)
            written(folder, files)
            assert ran(str(folder), *what, "--cache", str(cache)) == ran(str(folder), *what, "--no-cache")


# ---------------------------------------------------------------- what is read and compiled again


def test_only_what_is_new_is_read_and_compiled(monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[str] = []
    compiled: list[str] = []
    real_read, real_compile = read_file, Compiler.compile

    def reading(file: str, content: bytes) -> FileRead:
        read.append(file)
        return real_read(file, content)

    def compiling(self: Compiler, name: str) -> tuple[Bundle | None, tuple[Problem, ...]]:
        compiled.append(name)
        return real_compile(self, name)

    monkeypatch.setattr(fleet_module, "read_file", reading)
    monkeypatch.setattr(Compiler, "compile", compiling)
    compiler = FleetCompiler(policies=None)
    files = start()
    first = compiler.open(files).render_all()
    assert (sorted(read), sorted(compiled)) == (sorted(files), ["desks", "kiosks", "phones"])
    read.clear()
    compiled.clear()
    files = edited(files, ("groups/kiosks.yaml", SOUND["groups/kiosks.yaml"][0]))
    second = compiler.open(files).render_all()
    assert (read, compiled) == (["groups/kiosks.yaml"], ["kiosks"])
    assert second["desks"] is first["desks"]
    assert second["kiosks"].stream != first["kiosks"].stream


def test_a_stored_tree_is_read_no_further_than_needed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder, cache = tmp_path / "fleet", str(tmp_path / "cache")
    written(folder, start())
    assert ran(str(folder), "--all", "--cache", cache)[0] == 0
    monkeypatch.setattr(FleetCompiler, "open", lambda *_: pytest.fail("the whole tree was read"))
    assert ran(str(folder), "--all", "--cache", cache)[1].count("\n---\n") > 10
    written(folder, edited(start(), ("groups/kiosks.yaml", SOUND["groups/kiosks.yaml"][0])))
    code, out, _ = ran(str(folder), "--group", "kiosks", "--cache", cache)
    assert code == 0
    assert "kind: DaemonSet" in out


def test_what_is_kept_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fleet_module, "MOST_OBJECTS", 40)
    monkeypatch.setattr(fleet_module, "MOST_TEXT", 3000)
    compiler = FleetCompiler(policies=None)
    cold = outcome(FleetCompiler(policies=None), start(), OPTIONS[0])
    for _ in range(3):
        assert outcome(compiler, start(), OPTIONS[0]) == cold
    shop = compiler._shop
    assert 0 < sum(weight for _, weight in shop.groups._values.values()) <= 40
    assert 0 < sum(weight for _, weight in shop._reads._values.values()) <= 3000


def test_many_threads_get_what_one_gets() -> None:
    compiler = FleetCompiler(policies=None)
    trees = [start(), *(edited(start(), ("groups/kiosks.yaml", item)) for item in SOUND["groups/kiosks.yaml"])]
    expected = [outcome(FleetCompiler(policies=None), files, OPTIONS[0]) for files in trees]
    failures: list[int] = []

    def work(offset: int) -> None:
        for turn in range(12):
            place = (offset + turn) % len(trees)
            if outcome(compiler, trees[place], OPTIONS[0]) != expected[place]:
                failures.append(place)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
        assert not thread.is_alive()
    assert failures == []


def test_the_key_of_a_group_moves_with_what_decides_it_alone() -> None:
    def keys(files: Files) -> dict[str, str]:
        fleet: CompiledFleet = FleetCompiler(policies=None).open(files)
        return {name: fleet.key(name) for name in fleet.groups}

    base = keys(start())
    changed = keys(edited(start(), ("deployments/digits.yaml", "comment")))
    assert changed["desks"] == base["desks"]
    assert changed["phones"] == base["phones"]
    assert changed["kiosks"] != base["kiosks"], "the content of a file that stands alone is its bytes"
    together = {"all.yaml": b"---\n".join(start().values())}
    remarked = {"all.yaml": b"---\n# a remark\n".join(start().values())}
    assert keys(together) == keys(remarked), "of several documents each has its own content"


# ---------------------------------------------------------------- the store


def test_an_entry_is_read_whole_or_not_at_all(tmp_path: Path) -> None:
    store = Store(tmp_path / "cache")
    store.put("group", "one", b"content")
    assert store.get("group", "one") == b"content"
    assert store.get("group", "two") is None
    assert store.get("index", "one") is None
    [path] = [path for path in (tmp_path / "cache").rglob("*") if path.is_file()]
    whole = path.read_bytes()
    for damage in (whole[:-1], whole + b"x", b"", whole.replace(b"content", b"CONTENT"), whole[20:], b"\x80\x04."):
        path.write_bytes(damage)
        assert store.get("group", "one") is None
    path.write_bytes(whole)
    assert store.get("group", "one") == b"content"


def test_an_entry_under_another_name_is_none(tmp_path: Path) -> None:
    store = Store(tmp_path / "cache")
    store.put("group", "one", b"the one")
    store.put("group", "two", b"the other")
    one, two = store._path("group", "one"), store._path("group", "two")
    two.write_bytes(one.read_bytes())
    assert store.get("group", "two") is None


def test_links_pipes_and_folders_are_no_entries(tmp_path: Path) -> None:
    store = Store(tmp_path / "cache")
    store.put("group", "one", b"content")
    path = store._path("group", "one")
    elsewhere = tmp_path / "elsewhere"
    path.rename(elsewhere)
    path.symlink_to(elsewhere)
    assert store.get("group", "one") is None
    path.unlink()
    os.mkfifo(path)
    assert store.get("group", "one") is None
    path.unlink()
    path.mkdir()
    assert store.get("group", "one") is None
    store.put("group", "one", b"anew")  # cannot be, and says nothing
    assert store.get("group", "one") is None


def test_names_lead_nowhere_else(tmp_path: Path) -> None:
    store = Store(tmp_path / "cache")
    store.put("group", "../../../escaped", b"content")
    assert store.get("group", "../../../escaped") == b"content"
    assert {path.name for path in tmp_path.iterdir()} == {"cache"}
    assert stat.S_IMODE((tmp_path / "cache").stat().st_mode) == 0o700


def test_a_folder_that_others_may_write_is_not_used(tmp_path: Path) -> None:
    folder = tmp_path / "cache"
    folder.mkdir()
    folder.chmod(0o777)
    with pytest.raises(PermissionError):
        Store(folder)
    (tmp_path / "fleet").mkdir()
    written(tmp_path / "fleet", start())
    code, out, err = ran(str(tmp_path / "fleet"), "--all", "--cache", str(folder))
    assert (code, list(folder.iterdir())) == (0, [])
    assert out
    assert err.startswith("no cache is used: ")
    folder.rmdir()
    folder.symlink_to(tmp_path / "fleet")
    with pytest.raises(NotADirectoryError):
        Store(folder)


def test_the_least_recently_used_goes_first(tmp_path: Path) -> None:
    store = Store(tmp_path / "cache", most=10_000)
    for number in range(12):
        store.put("group", str(number), b"x" * 1000)
        os.utime(store._path("group", str(number)), (number, number))
    assert store.get("group", "0") is not None
    store.trim()
    there = [number for number in range(12) if store.has("group", str(number))]
    assert there[0] == 0, "it was just used"
    assert there[1:] == list(range(12 - len(there) + 1, 12))
    assert sum(path.stat().st_size for path in (tmp_path / "cache").rglob("*") if path.is_file()) <= 10_000


@pytest.mark.parametrize(
    "index",
    [
        b"",
        b"null",
        b"[]",
        b'{"files": {}, "sound": 3}',
        b'{"name": "n", "files": {}, "sound": [], "seen": 7}',
        b'{"name": "n", "seen": {}, "files": {"x": [["DeviceGroup", "n", "g", {}, "c", "s"]]}, "sound": []}',
        b'{"name": "n", "seen": {}, "files": {"x": [[1, 2, 3, 4, 5, 6]]}, "sound": []}',
        b'{"name": "n", "seen": {}, "files": {"x": 7}, "sound": []}',
        b"[" * 100_000,
        b"\x80\x04\x95cos\nsystem\n",
    ],
)
def test_an_index_that_is_none_is_as_good_as_absent(index: bytes, tmp_path: Path) -> None:
    store = Store(tmp_path / "cache")
    folder = tmp_path / "fleet"
    written(folder, start())
    probe = StoredFleet(store, str(folder.resolve()), FilesInMemory({}), RenderOptions())
    store.put("index", probe._place, index)
    store.put("what the index lacks", probe._place, index)
    assert ran(str(folder), "--all", "--cache", str(tmp_path / "cache")) == ran(str(folder), "--all", "--no-cache")


def test_where_the_cache_lies(tmp_path: Path) -> None:
    home = {"HOME": str(tmp_path)}
    assert default_folder(home) == tmp_path / ".cache/trimtab/compile"
    assert default_folder(home | {"XDG_CACHE_HOME": "/var/ada"}) == Path("/var/ada/trimtab/compile")
    assert default_folder(home | {"XDG_CACHE_HOME": "relative"}) == tmp_path / ".cache/trimtab/compile"
    assert default_folder(home | {"TRIMTAB_CACHE": str(tmp_path)}) == tmp_path
    assert default_folder(home | {"TRIMTAB_CACHE": ""}) is None
    assert default_folder({}) is None


# ---------------------------------------------------------------- any fleet


LABEL = r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?"
group_names = st.sampled_from(["kiosks", "2nd-floor", "g" * 63, "a", "x-1"])
names = st.sampled_from(["d", "triage", "with.dots.in-it", "n" * 63, ".".join(["n" * 63] * 3 + ["n" * 61])])


@st.composite
def fleets(draw: st.DrawFn) -> list[Yaml]:
    """Objects of a sound fleet: groups of devices and site servers, models, deployments, one price book."""
    chosen = draw(st.lists(group_names, min_size=1, max_size=3, unique=True))
    models = draw(st.lists(names, min_size=1, max_size=4, unique=True))
    workload = draw(st.sampled_from(["DaemonSet", "Deployment"]))
    objects = [group(name, metadata__namespace=draw(st.sampled_from(["fleet", "sites", "s" * 63]))) for name in chosen]
    for number, name in enumerate(models):
        objects.append(model(name))
        tags = draw(st.dictionaries(st.sampled_from(["team", "app"]), st.sampled_from(["a", "${B}", "'\"", "é ☃ 𝄞"])))
        objects.append(
            deployment(
                draw(
                    st.sampled_from([f"{number}", f"{number}{'d' * 60}", f"{number}{'d' * 62}.{'e' * 63}.{'f' * 63}"])
                ),
                spec__modelRef={"name": name, "version": "1.0.0"},
                spec__resourceLimits={"cpu": "100m", "memory": "64Mi"},
                spec__workload=workload,
                spec__tags=tags,
            )
        )
    return [*objects, price_book()]


@st.composite
def layouts(draw: st.DrawFn) -> tuple[Files, Files]:
    """One fleet written twice: in one order, an object a file; in another order, in files of any number with remarks."""
    objects = draw(fleets())
    one = {f"{number:02}.yaml": text(item) for number, item in enumerate(objects)}
    shuffled = draw(st.permutations(objects))
    other: dict[str, bytes] = {}
    for item in shuffled:
        name = f"{draw(st.sampled_from(['b', 'a/z', 'a/b/c']))}.yaml"
        remark = draw(st.sampled_from([b"", b"# a remark\n", b"\n\n"]))
        # JSON is YAML: another order of keys and another style.
        content = draw(
            st.sampled_from([text(item), json.dumps(item, sort_keys=True, ensure_ascii=False).encode() + b"\n"])
        )
        other[name] = other.get(name, b"") + b"---\n" + remark + content
    return one, other


@settings(max_examples=40)
@given(layouts(), st.sampled_from(OPTIONS))
def test_any_fleet_is_rendered_within_limits_and_by_its_content_alone(
    layout: tuple[Files, Files], options: RenderOptions
) -> None:
    one, other = layout
    first = FleetCompiler(options, policies=None).open(one).render_all()
    second = FleetCompiler(options, policies=None).open(other).render_all()
    assert {name: item.stream for name, item in first.items()} == {name: item.stream for name, item in second.items()}
    assert [item.manifests for item in first.values()] == [item.manifests for item in second.values()]
    seen: dict[tuple[str, str, str, str], Mapping[str, Any]] = {}
    for name, rendered in first.items():
        for item in rendered.objects:
            metadata = item["metadata"]
            key = (item["apiVersion"], item["kind"], metadata.get("namespace", ""), metadata["name"])
            assert seen.setdefault(key, item) == item, "two groups may share a Namespace, and nothing that differs"
            assert seen[key] is item or item["kind"] == "Namespace"
            assert len(metadata["name"]) <= (63 if item["kind"] in {"Service", "Namespace"} else 253)
            assert name in metadata["name"] or item["kind"] == "Namespace"
            for label in metadata["labels"].values():
                assert re.fullmatch(r"([A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?)?", label)
            annotations = metadata.get("annotations", {})
            assert sum(len(part.encode()) for entry in annotations.items() for part in entry) < 256 * 1024
            assert ("${" in json.dumps(item)) == ("kustomize.toolkit.fluxcd.io/substitute" in annotations)
            if item["kind"] == "Ingress":
                host = item["spec"]["rules"][0]["host"]
                assert len(host) <= 253
                assert all(re.fullmatch(LABEL, part) for part in host.split("."))


def test_heads_of_a_tree_say_which_documents_a_group_needs() -> None:
    fleet = FleetCompiler(policies=None).open(start())
    heads: Heads = fleet.heads
    needed = {(head.kind, head.name) for head in heads.needed("kiosks")}
    assert ("EdgeAIDeployment", "digits") in needed
    assert ("EdgeAIDeployment", "desk") in needed, "it names the same model: policy is told which versions are used"
    assert ("DeviceGroup", "desks") not in needed
    assert ("Model", "digits") not in {(head.kind, head.name) for head in heads.needed("desks")}
