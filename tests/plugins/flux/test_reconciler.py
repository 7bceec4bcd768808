"""From a source's archive to artifacts, over real HTTP and a real store; the cluster is held in memory."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from bench.fleets import group_file
from tests.plugins.flux.rigs import NAMESPACE, MemoryCluster, SourceServer, fleet_item, source_server, tree
from trimtab_config.compilation import FleetCompiler
from trimtab_kernel.problems import OutsideError
from trimtab_plugins.archives import read_archive, write_archive
from trimtab_plugins.flux.fetching import ArchiveFetcher, FetchLimits
from trimtab_plugins.flux.reconciler import Reconciled, Reconciler
from trimtab_plugins.flux.storage import ArchiveStore

KEY = (NAMESPACE, "fleet")
COMMIT = "main@sha1:" + "1" * 40
GROUPS = [f"site-{number:05}" for number in range(4)]


@dataclass
class Stand:
    """One controller's parts, but for threads."""

    root: Path
    source: SourceServer
    cluster: MemoryCluster = field(default_factory=MemoryCluster)
    now: datetime = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)

    def __post_init__(self) -> None:
        self.restart()

    def restart(self) -> None:
        """What a new process knows: the files and the cluster, nothing else."""
        self.store = ArchiveStore(self.root)
        self.store.open(self.now.timestamp())
        self.reconciler = Reconciler(
            self.cluster,
            self.cluster,
            self.store,
            ArchiveFetcher(FetchLimits(attempts=2, size=4 * 1024 * 1024), lambda _: None),
            FleetCompiler(),
            base_url="http://archives.example",
            now=lambda: self.now,
        )

    def push(
        self, files: dict[str, bytes], revision: str = COMMIT, kind: str = "GitRepository", **metadata: str
    ) -> None:
        artifact = self.source.artifact(files, revision, **metadata)
        self.cluster.sources[KEY] = {"kind": kind, "status": {"artifact": artifact}}

    def look(self, *, write: bool = True, later: float = 5.0) -> Reconciled:
        self.now += timedelta(seconds=later)
        return self.reconciler.reconcile(KEY, write=write)

    def archive(self, group: str) -> Path:
        path: str = self.cluster.external[f"fleet-{group}"]["status"]["artifact"]["path"]
        return self.root / path

    def settled(self) -> None:
        """One more look writes nothing."""
        before = len(self.cluster.writes)
        self.look()
        assert self.cluster.writes[before:] == []


@pytest.fixture
def stand(tmp_path: Path) -> Iterator[Stand]:
    with source_server() as source:
        made = Stand(tmp_path / "store", source)
        made.cluster.fleets[KEY] = fleet_item(path="fleet")
        yield made


def changed(number: int, devices: int) -> dict[str, bytes]:
    path, content = group_file(number, devices)
    return {**tree(), f"fleet/{path}": content}


def test_each_group_gets_an_artifact_that_its_archive_and_status_agree_about(stand: Stand) -> None:
    stand.push(tree())
    result = stand.look()
    assert (result.outcome, result.groups, result.moved) == ("Succeeded", 4, 4)
    assert sorted(stand.cluster.external) == [f"fleet-{name}" for name in GROUPS]
    rendered = FleetCompiler().open({name.removeprefix("fleet/"): text for name, text in tree().items()}, "fleet")
    for name in GROUPS:
        item = stand.cluster.external[f"fleet-{name}"]
        artifact, archive = item["status"]["artifact"], stand.archive(name).read_bytes()
        assert artifact["digest"] == f"sha256:{hashlib.sha256(archive).hexdigest()}"
        assert artifact["size"] == len(archive)
        assert artifact["url"] == f"http://archives.example/{artifact['path']}"
        assert artifact["metadata"] == {"org.opencontainers.image.revision": COMMIT}
        files = read_archive(archive)
        assert files["manifests.yaml"] == rendered.render(name).stream
        assert b"resources:\n- manifests.yaml\n" in files["kustomization.yaml"]
        lines = "".join(f"{hashlib.sha256(files[path]).hexdigest()}  {path}\n" for path in sorted(files))
        assert artifact["revision"] == f"{name}@sha256:{hashlib.sha256(lines.encode()).hexdigest()}"
    assert stand.cluster.ready()["status"] == "True"
    assert [event[1] for event in stand.cluster.events] == ["ArtifactsPublished"]
    stand.settled()


def test_the_archive_is_written_before_anything_names_it(stand: Stand) -> None:
    stand.push(tree())
    stand.cluster.fail_after = 0
    with pytest.raises(OutsideError):
        stand.look()
    assert len(list(stand.root.rglob("*.tar.gz"))) == 4


@pytest.mark.parametrize("writes", range(10))
def test_an_api_server_that_fails_at_any_write_is_caught_up_with(stand: Stand, writes: int) -> None:
    stand.push(tree())
    stand.cluster.fail_after = writes
    if writes < 9:
        with pytest.raises(OutsideError):
            stand.look()
    else:  # two for each group and one for the whole
        stand.look()
    stand.cluster.fail_after = None
    stand.restart()
    stand.look()
    assert sorted(stand.cluster.external) == [f"fleet-{name}" for name in GROUPS]
    assert stand.cluster.ready()["status"] == "True"
    stand.settled()


def test_a_commit_moves_what_it_changes_and_only_the_fleets_status_names_it(stand: Stand) -> None:
    stand.push(tree())
    stand.look()
    before, objects = stand.cluster.revisions(), dict(stand.cluster.external)
    stand.cluster.writes.clear()
    stand.push({**tree(), "README.md": b"text"}, "main@sha1:" + "2" * 40)
    stand.look()
    assert stand.cluster.writes == ["status FleetArtifact fleet"]
    assert stand.cluster.external == objects
    stand.cluster.writes.clear()
    third = "main@sha1:" + "3" * 40
    stand.push(changed(2, 999), third)
    assert stand.look().moved == 1
    assert stand.cluster.writes == ["status ExternalArtifact fleet-site-00002", "status FleetArtifact fleet"]
    after = stand.cluster.revisions()
    assert [name for name in after if after[name] != before[name]] == ["fleet-site-00002"]
    rows = {row["name"]: row["originRevision"] for row in stand.cluster.fleets[KEY]["status"]["groups"]}
    assert rows == {**dict.fromkeys(GROUPS, COMMIT), "site-00002": third}


def test_a_revert_finds_the_earlier_archive(stand: Stand) -> None:
    stand.push(tree())
    stand.look()
    first = stand.cluster.external["fleet-site-00002"]["status"]["artifact"]
    stand.push(changed(2, 999))
    stand.look()
    inode = (stand.root / first["path"]).stat().st_ino
    stand.push({**tree(), "fleet/notes.txt": b"reverted"}, "main@sha1:" + "4" * 40)
    stand.look()
    again = stand.cluster.external["fleet-site-00002"]["status"]["artifact"]
    moved = {"lastUpdateTime", "metadata"}
    assert {key: again[key] for key in again.keys() - moved} == {key: first[key] for key in first.keys() - moved}
    assert (stand.root / again["path"]).stat().st_ino == inode


def test_only_so_many_releases_are_kept_and_none_that_was_current_within_a_minute(stand: Stand) -> None:
    stand.cluster.fleets[KEY] = fleet_item(path="fleet", history=2)
    for devices in range(1, 8):
        stand.push(changed(1, devices))
        stand.look(later=10)
    folder = stand.archive("site-00001").parent
    assert len(list(folder.iterdir())) == 7, "all were current within the last minute"
    stand.look(later=45)
    assert 2 < len(list(folder.iterdir())) < 7
    stand.look(later=60)
    kept = sorted(path.name for path in folder.iterdir())
    assert len(kept) == 2
    assert stand.archive("site-00001").name in kept


def test_a_broken_tree_leaves_all_as_it_is_and_names_the_place(stand: Stand) -> None:
    stand.push(tree())
    stand.look()
    before = dict(stand.cluster.external)
    path, content = group_file(0, 5)
    stand.push({**tree(), f"fleet/{path}": content.replace(b"deviceCount: 5", b"deviceCount: five")})
    result = stand.look()
    assert (result.outcome, result.retry) == ("CompileFailed", False)
    ready = stand.cluster.ready()
    assert ready["status"] == "False"
    assert f"fleet/{path}:" in ready["message"]
    assert "spec.deviceCount: F" in ready["message"]
    assert stand.cluster.external == before
    assert stand.cluster.fleets[KEY]["status"]["counts"] == {"selected": 4, "published": 4}
    assert stand.cluster.events[-1][:2] == (True, "CompileFailed")
    requests = len(stand.source.requests)
    stand.settled()
    assert len(stand.source.requests) == requests, "a tree that cannot be compiled is not fetched again and again"


@pytest.mark.parametrize(
    ("spec", "says"),
    [
        ({"path": "elsewhere"}, 'A404 got no manifest in "elsewhere"'),
        (
            {"path": "fleet", "groups": {"matchLabels": {"region": "MOON"}}},
            "spec.groups: A405 got none of 4 device groups",
        ),
        ({"path": "fleet", "groups": {"names": ["site-00001", "site-9"]}}, 'spec.groups.names: A405 got "site-9"'),
        ({"path": "fleet", "render": {"priceBook": "none"}}, "none"),
    ],
)
def test_what_would_take_everything_away_by_mistake_is_a_problem(stand: Stand, spec: dict[str, Any], says: str) -> None:
    stand.push(tree())
    stand.look()
    before = dict(stand.cluster.external)
    stand.cluster.fleets[KEY] |= {"spec": fleet_item(**spec)["spec"]}
    assert stand.look().outcome == "CompileFailed"
    assert says in stand.cluster.ready()["message"]
    assert stand.cluster.external == before


def test_a_fleet_without_groups_takes_nothing_away(stand: Stand) -> None:
    stand.push(tree())
    stand.look()
    before = dict(stand.cluster.external)
    stand.push({name: content for name, content in tree().items() if "/groups/" not in name})
    assert stand.look().outcome == "CompileFailed"
    assert stand.cluster.external == before


def test_a_selector_that_matches_fewer_groups_removes_the_others(stand: Stand) -> None:
    stand.push(tree())
    stand.look()
    stand.cluster.fleets[KEY]["spec"]["groups"] = {"matchLabels": {"region": "EMEA"}}
    stand.look()
    assert sorted(stand.cluster.external) == ["fleet-site-00000"]
    assert "removed site-00001, site-00002, site-00003" in stand.cluster.events[-1][2]
    stand.settled()


def test_a_source_whose_bytes_are_not_what_it_names_is_never_compiled(stand: Stand) -> None:
    stand.push(tree())
    stand.look()
    before = dict(stand.cluster.external)
    stand.push(changed(0, 1))
    [url] = [path for path in stand.source.archives if path not in stand.source.requests]
    stand.source.archives[url] = write_archive(changed(0, 100_000))
    result = stand.look()
    assert result.outcome == "VerificationFailed"
    assert "A402" in stand.cluster.ready()["message"]
    assert stand.cluster.external == before


def test_a_source_that_does_not_answer_is_tried_again(stand: Stand) -> None:
    stand.push(tree())
    stand.source.answers = [(503, b""), (404, b"")]
    result = stand.look()
    assert (result.outcome, result.retry) == ("FetchFailed", True)
    assert "it answers 404; tried 2 times" in stand.cluster.ready()["message"]
    assert stand.look().outcome == "Succeeded"


def test_a_source_that_is_not_there_or_not_ready_is_waited_for(stand: Stand) -> None:
    assert stand.look().outcome == "SourceNotReady"
    assert "there is no GitRepository fleet in namespace flux-system" in stand.cluster.ready()["message"]
    stand.cluster.sources[KEY] = {"kind": "GitRepository", "status": {}}
    stand.look()
    assert "GitRepository fleet has no artifact yet" in stand.cluster.ready()["message"]
    stand.push(tree())
    assert stand.look().outcome == "Succeeded"


def test_the_commit_of_an_oci_source_is_the_one_that_it_carries(stand: Stand) -> None:
    stand.cluster.fleets[KEY]["spec"]["sourceRef"]["kind"] = "OCIRepository"
    stand.push(tree(), "latest@sha256:" + "a" * 64, "OCIRepository", **{"org.opencontainers.image.revision": COMMIT})
    stand.look()
    item = stand.cluster.external["fleet-site-00000"]
    assert item["status"]["artifact"]["metadata"] == {"org.opencontainers.image.revision": COMMIT}


def test_a_restart_verifies_every_archive_and_builds_again_what_is_gone_or_bent(stand: Stand) -> None:
    stand.push(tree())
    stand.look()
    files = [stand.archive(name) for name in GROUPS]
    before = {file: file.read_bytes() for file in files}
    objects = dict(stand.cluster.external)
    files[0].unlink()
    files[1].write_bytes(b"not an archive")
    files[2].write_bytes(write_archive({"manifests.yaml": b"something else\n", "kustomization.yaml": b""}))
    stand.restart()
    stand.look()
    assert {file: file.read_bytes() for file in files} == before
    assert stand.cluster.external == objects


def test_an_archive_that_is_lost_while_the_tree_is_broken_is_said_to_be_lost_until_it_is_back(stand: Stand) -> None:
    stand.push(tree())
    stand.look()
    stand.archive("site-00001").unlink()
    path, content = group_file(0, 5)
    stand.push({**tree(), f"fleet/{path}": content.replace(b"deviceCount: 5", b"deviceCount: five")})
    stand.restart()
    stand.look()
    [ready] = stand.cluster.external["fleet-site-00001"]["status"]["conditions"]
    assert (ready["status"], ready["reason"]) == ("False", "StorageOperationFailed")
    assert "artifact" in stand.cluster.external["fleet-site-00001"]["status"]
    [other] = stand.cluster.external["fleet-site-00002"]["status"]["conditions"]
    assert other["status"] == "True"
    stand.settled()
    stand.push(tree())
    stand.look()
    [ready] = stand.cluster.external["fleet-site-00001"]["status"]["conditions"]
    assert ready["status"] == "True"
    assert stand.archive("site-00001").exists()


def test_a_follower_fills_its_store_and_writes_nothing(stand: Stand, tmp_path: Path) -> None:
    stand.push(tree())
    stand.look()
    writes = len(stand.cluster.writes)
    follower = Stand(tmp_path / "other", stand.source, stand.cluster, stand.now)
    result = follower.look(write=False)
    assert (result.outcome, result.moved) == ("Succeeded", 0)
    assert len(stand.cluster.writes) == writes
    mine = {path.relative_to(stand.root): path.read_bytes() for path in stand.root.rglob("*.tar.gz")}
    theirs = {path.relative_to(follower.root): path.read_bytes() for path in follower.root.rglob("*.tar.gz")}
    assert mine == theirs


def test_a_spec_that_cannot_be_read_is_told_once(stand: Stand) -> None:
    stand.cluster.fleets[KEY]["spec"]["path"] = "../elsewhere"
    assert stand.look().outcome == "InvalidSpec"
    ready = stand.cluster.ready()
    assert ready["reason"] == "InvalidSpec"
    assert "spec.path: A403" in ready["message"]
    stand.settled()


def test_a_suspended_one_is_left_alone_and_one_that_is_gone_is_forgotten(stand: Stand) -> None:
    stand.push(tree())
    stand.cluster.fleets[KEY]["spec"]["suspend"] = True
    assert stand.look().outcome == "suspended"
    assert stand.cluster.writes == []
    del stand.cluster.fleets[KEY]
    assert stand.look() == Reconciled("gone", None)


def test_what_the_cluster_names_is_kept_while_it_cannot_be_told_of_a_newer_one(stand: Stand) -> None:
    stand.cluster.fleets[KEY] = fleet_item(path="fleet", history=1)
    stand.push(tree())
    stand.look()
    named = stand.archive("site-00001")
    stand.push(changed(1, 7))
    stand.cluster.fail_after = len(stand.cluster.writes)
    with pytest.raises(OutsideError):
        stand.look(later=1000)
    stand.now += timedelta(hours=1)
    stand.reconciler.sweep(KEY)
    assert named.exists()
    stand.cluster.fail_after = None
    stand.look(later=1000)
    assert not named.exists()


def test_a_store_that_cannot_be_written_is_told_and_tried_again(stand: Stand) -> None:
    stand.push(tree())
    stand.look()
    before = dict(stand.cluster.external)
    folder = stand.archive("site-00001").parent
    aside = folder.rename(folder.with_name("aside"))
    folder.write_text("in the way")
    stand.push(changed(1, 7))
    result = stand.look()
    assert (result.outcome, result.retry) == ("StorageOperationFailed", True)
    assert "site-00001" in stand.cluster.ready()["message"]
    [lost] = stand.cluster.external["fleet-site-00001"]["status"]["conditions"]
    assert lost["reason"] == "StorageOperationFailed"
    others = {name: item for name, item in stand.cluster.external.items() if name != "fleet-site-00001"}
    assert others == {name: before[name] for name in others}
    folder.unlink()
    aside.rename(folder)
    assert stand.look().outcome == "Succeeded"
    assert stand.cluster.external["fleet-site-00001"]["status"]["conditions"][0]["status"] == "True"


@pytest.mark.parametrize("writes", [None, 0, 7, 30])
def test_many_artifacts_are_written_side_by_side_each_in_its_order(stand: Stand, writes: int | None) -> None:
    stand.push(tree(20))
    stand.cluster.fail_after = writes
    if writes is None:
        stand.look()
    else:
        with pytest.raises(OutsideError):
            stand.look()
        assert len(stand.cluster.writes) == writes
        assert "status FleetArtifact fleet" not in stand.cluster.writes, "the whole is not said before its parts are"
        stand.cluster.fail_after = None
        stand.look()
    for name in (f"fleet-site-{number:05}" for number in range(20)):
        made = [write for write in stand.cluster.writes if write.endswith(name)]
        assert made == [f"apply {name}", f"status ExternalArtifact {name}"]
    assert stand.cluster.writes[-1] == "status FleetArtifact fleet"
    stand.settled()
