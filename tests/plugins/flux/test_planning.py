"""The planner: whatever the cluster holds and whatever came of the source, the writes are right, few, and none the second time."""

from __future__ import annotations

import copy
from datetime import UTC, datetime, timedelta
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from tests.plugins.flux.rigs import NAMESPACE, MemoryCluster, fleet_artifact, fleet_item
from trimtab_kernel.problems import Problem
from trimtab_plugins.flux.planning import (
    Apply,
    ApplyStatus,
    Built,
    Delete,
    Failed,
    Note,
    Outcome,
    Plan,
    Published,
    Reason,
    artifact_name,
    cut,
    plan,
    told,
)
from trimtab_plugins.flux.releases import revision_of
from trimtab_plugins.flux.storage import archive_path

NOW = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)
KEY = (NAMESPACE, "fleet")


def published(group: str, letter: str) -> Published:
    content = letter * 64
    path = archive_path(NAMESPACE, artifact_name("fleet", group), content)
    return Published(group, content, revision_of(group, content), f"sha256:{content}", 10, path, f"http://x/{path}")


def built(letters: dict[str, str], number: int = 0) -> Built:
    revision = f"main@sha1:{number:040}"
    return Built(revision, revision, tuple(published(group, letter) for group, letter in sorted(letters.items())))


def carry_out(cluster: MemoryCluster, outcome: Outcome, now: datetime = NOW) -> Plan:
    fleet = fleet_artifact()
    status = cluster.fleets.setdefault(KEY, fleet_item()).get("status") or {}
    made = plan(fleet, status, outcome, cluster.artifacts(NAMESPACE), now)
    for action in made.actions:
        match action:
            case Apply(body):
                cluster.apply(body)
            case ApplyStatus(body):
                cluster.apply_status(body)
            case Delete(name, uid, version):
                cluster.delete_artifact(NAMESPACE, name, uid, version)
            case Note(warning, reason, text):
                cluster.note(fleet_item(), warning=warning, reason=reason, text=text)
    return made


GROUPS = st.dictionaries(st.sampled_from(["a", "b", "c", "d", "b-c"]), st.sampled_from("0123"), min_size=1)
OUTCOMES = st.one_of(
    st.builds(built, GROUPS, st.integers(0, 3)),
    st.builds(
        Failed,
        st.sampled_from([Reason.COMPILE_FAILED, Reason.FETCH_FAILED, Reason.SOURCE_NOT_READY]),
        st.sampled_from(["one", "two"]),
        st.just("main"),
        st.lists(st.sampled_from("abcd"), unique=True).map(tuple),
    ),
)


def foreign(name: str) -> dict[str, Any]:
    metadata = {"name": name, "namespace": NAMESPACE, "uid": f"foreign-{name}", "resourceVersion": "1"}
    return {"metadata": {**metadata, "ownerReferences": [{"uid": "somebody", "controller": True}]}, "spec": {"x": name}}


@given(st.lists(OUTCOMES, max_size=8), st.sets(st.sampled_from(["fleet-a", "fleet-b", "other", "fleet-zzz"])))
def test_any_history_ends_in_what_the_last_good_tree_says(outcomes: list[Outcome], strangers: set[str]) -> None:
    cluster = MemoryCluster()
    cluster.external = {name: foreign(name) for name in strangers}
    at = NOW
    for outcome in outcomes:
        at += timedelta(minutes=1)
        before = copy.deepcopy(cluster.external)
        made = carry_out(cluster, outcome, at)
        assert (
            plan(
                fleet_artifact(), cluster.fleets[KEY]["status"], outcome, cluster.external, at + timedelta(hours=1)
            ).actions
            == ()
        )
        for name in strangers:
            assert cluster.external[name] == foreign(name)
        ready = cluster.ready()
        if isinstance(outcome, Failed):
            assert ready["status"] == "False"
            assert cluster.external.keys() == before.keys()
            for name, item in cluster.external.items():
                assert item.get("spec") == before[name].get("spec")
                assert (item.get("status") or {}).get("artifact") == (before[name].get("status") or {}).get("artifact")
            continue
        wanted = {artifact_name("fleet", item.group): item for item in outcome.published}
        conflicts = wanted.keys() & strangers
        assert cluster.external.keys() == wanted.keys() | strangers
        assert ready["status"] == ("False" if conflicts else "True")
        assert len(made.conflicts) == len(conflicts)
        for name in wanted.keys() - strangers:
            artifact = cluster.external[name]["status"]["artifact"]
            assert artifact["revision"] == wanted[name].revision
            old = ((before.get(name) or {}).get("status") or {}).get("artifact")
            if old is not None and old["revision"] == artifact["revision"]:
                assert artifact == old, "neither time nor origin moves with a commit that leaves the content alone"
            else:
                assert artifact["lastUpdateTime"] == at.strftime("%Y-%m-%dT%H:%M:%SZ")
                assert artifact["metadata"] == {"org.opencontainers.image.revision": outcome.origin}


def test_the_time_of_a_condition_moves_with_its_status_only() -> None:
    cluster = MemoryCluster()
    carry_out(cluster, built({"a": "0"}))
    first = cluster.ready()["lastTransitionTime"]
    carry_out(cluster, built({"a": "1"}, 1), NOW + timedelta(minutes=1))
    assert cluster.ready()["lastTransitionTime"] == first
    carry_out(cluster, Failed(Reason.COMPILE_FAILED, "text"), NOW + timedelta(minutes=2))
    assert cluster.ready()["lastTransitionTime"] == "2026-11-22T12:02:00Z"
    carry_out(cluster, Failed(Reason.FETCH_FAILED, "other"), NOW + timedelta(minutes=3))
    assert cluster.ready()["lastTransitionTime"] == "2026-11-22T12:02:00Z"


def test_what_a_hand_changed_is_set_right() -> None:
    cluster = MemoryCluster()
    carry_out(cluster, built({"a": "0"}))
    right = copy.deepcopy(cluster.external["fleet-a"])
    cluster.external["fleet-a"]["metadata"]["labels"] = {"mine": "x"}
    cluster.external["fleet-a"]["spec"] = {}
    cluster.external["fleet-a"]["status"]["artifact"]["digest"] = "sha256:bad"
    carry_out(cluster, built({"a": "0"}))
    now = cluster.external["fleet-a"]
    assert (now["metadata"]["labels"], now["spec"]) == (right["metadata"]["labels"], right["spec"])
    assert now["status"] == right["status"]


def test_another_packing_of_the_same_files_moves_the_digest_and_not_the_revision() -> None:
    """A consumer reconciles on revisions: a change of compression rolls nothing out."""
    cluster = MemoryCluster()
    outcome = built({"a": "0"})
    carry_out(cluster, outcome)
    before = cluster.external["fleet-a"]["status"]["artifact"]
    [item] = outcome.published
    other = Published(item.group, item.content, item.revision, "sha256:" + "f" * 64, 11, item.path, item.url)
    made = carry_out(cluster, Built(outcome.source_revision, outcome.origin, (other,)))
    after = cluster.external["fleet-a"]["status"]["artifact"]
    assert (after["revision"], after["lastUpdateTime"]) == (before["revision"], before["lastUpdateTime"])
    assert after["digest"] != before["digest"]
    assert made.moved == ()


def test_a_name_that_no_object_can_have_is_a_problem_and_the_others_are_published() -> None:
    long = "f" * 200
    fleet = fleet_artifact(long)
    made = plan(fleet, {}, built({"a": "0", "b" * 63: "1"}), {}, NOW)
    assert [action.body["metadata"]["name"] for action in made.actions if isinstance(action, Apply)] == [f"{long}-a"]
    [*_, status] = [action for action in made.actions if isinstance(action, ApplyStatus)]
    assert "A406 got 264 characters" in status.body["status"]["conditions"][0]["message"]


@given(st.lists(st.text(max_size=600), min_size=1, max_size=40))
def test_problems_are_told_in_whole_lines_of_a_kibibyte(texts: list[str]) -> None:
    problems = [Problem("F101", file=f"f{number}", line=1, got=text) for number, text in enumerate(texts)]
    message = cut(told(problems))
    assert 0 < len(message.encode()) <= 1024
    lines = message.split("\n")
    whole = [line for line in lines if line in {str(problem) for problem in problems}]
    if len(whole) < len(problems) and len(problems) > 1:
        assert lines[-1] == f"and {len(problems) - len(lines) + 1} more; 'trimtab validate' shows all"
