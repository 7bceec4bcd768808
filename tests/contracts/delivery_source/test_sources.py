"""What every source of deliveries promises: the adapters of Argo CD and Flux, over a rig and over a real API server."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.contracts.delivery_source.rigs import (
    ARGO,
    FLEET,
    KUSTOMIZE,
    SOURCE,
    ApiRig,
    LabStage,
    Stage,
    api_rig,
    write_kubeconfig,
)
from trimtab_bot.cluster.argocd import ArgoApplications
from trimtab_bot.cluster.flux import FluxKustomizations
from trimtab_bot.delivery.interface import Delivery, DeliverySource, State, commit_of
from trimtab_kernel.problems import OutsideError

if TYPE_CHECKING:
    from tests.lab.processes import Processes

OLD, NEW = "1" * 40, "2" * 40
GROUP = "fleet.apexlogic.ai/group"
AT = "2026-11-22T12:00:00Z"


@pytest.fixture(scope="module")
def lab_stage(lab_processes: Processes, tmp_path_factory: pytest.TempPathFactory) -> Callable[[], LabStage]:
    """An API server of this module's own: no controller may write what the tests write."""
    import yaml

    from tests.lab.cluster import start_cluster
    from tests.lab.plugin import CHARTED
    from tests.lab.programs import definitions

    cluster = start_cluster(lab_processes, tmp_path_factory.mktemp("delivery"))
    for program in ("argocd", "source-controller", "kustomize-controller"):
        cluster.install(definitions(program))
    cluster.install([yaml.safe_load(file.read_text("utf-8")) for file in sorted(CHARTED.glob("*.yaml"))])
    return lambda: LabStage(cluster)


@pytest.fixture(params=["rig", pytest.param("lab", marks=[pytest.mark.lab, pytest.mark.timeout(300)])])
def stage(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Stage]:
    if request.param == "lab":
        yield request.getfixturevalue("lab_stage")()
    else:
        with api_rig(tmp_path) as rig:
            yield rig


def application(stage: Stage, name: str, group: str = "", **status: object) -> dict[str, Any]:
    """Synced and Healthy at OLD unless told otherwise; the plugin's parameter names the group where no label does."""
    parameters = [{"name": "price-book", "string": "x"}, {"name": "group", "string": name}]
    return {
        "apiVersion": ARGO,
        "kind": "Application",
        "metadata": {"name": name, "namespace": stage.namespace, "labels": {GROUP: group} if group else {}},
        "spec": {
            "project": "default",
            "destination": {"server": "https://x", "namespace": "y"},
            "source": {"repoURL": "https://git/x", "path": ".", "plugin": {"name": "t", "parameters": parameters}},
            "syncPolicy": {"automated": {"prune": True}},
        },
        "status": {
            "reconciledAt": AT,
            "sync": {"status": "Synced", "revision": OLD},
            "health": {"status": "Healthy"},
            **status,
        },
    }


def operation(phase: str, message: str, **more: object) -> dict[str, Any]:
    """What Argo CD last did."""
    return {"operation": {}, "phase": phase, "message": message, "startedAt": AT, **more}


def ready(status: str, reason: str, message: str, generation: int = 1) -> dict[str, Any]:
    entry = {"type": "Ready", "status": status, "reason": reason, "message": message}
    return {**entry, "lastTransitionTime": AT, "observedGeneration": generation}


def kustomization(
    stage: Stage, name: str, source: str, group: str = "", kind: str = "ExternalArtifact"
) -> dict[str, Any]:
    """Ready at OLD."""
    return {
        "apiVersion": KUSTOMIZE,
        "kind": "Kustomization",
        "metadata": {"name": name, "namespace": stage.namespace, "labels": {GROUP: group} if group else {}},
        "spec": {"interval": "10m", "prune": True, "path": "./", "sourceRef": {"kind": kind, "name": source}},
        "status": {
            "lastAttemptedRevision": f"main@sha1:{OLD}",
            "lastAppliedRevision": f"main@sha1:{OLD}",
            "conditions": [ready("True", "ReconciliationSucceeded", "Applied")],
        },
    }


def repository(stage: Stage, name: str, commit: str, **spec: object) -> dict[str, Any]:
    return {
        "apiVersion": SOURCE,
        "kind": "GitRepository",
        "metadata": {"name": name, "namespace": stage.namespace},
        "spec": {"url": "https://git/x", "interval": "1m", **spec},
        "status": {
            "artifact": _artifact(f"main@sha1:{commit}"),
            "conditions": [ready("True", "Succeeded", "stored artifact")],
        },
    }


def _artifact(revision: str, **metadata: str) -> dict[str, Any]:
    digest = "sha256:" + "0" * 64
    where = {"path": "p", "url": "http://x/p", "lastUpdateTime": AT, "digest": digest, "size": 3}
    return {"revision": revision, **where, **({"metadata": metadata} if metadata else {})}


def external(stage: Stage, name: str, group: str, commit: str) -> dict[str, Any]:
    """One group's artifact of the FleetArtifact ``fleet``, made of a commit."""
    revision = f"{group}@sha256:{commit[0] * 64}"
    return {
        "apiVersion": SOURCE,
        "kind": "ExternalArtifact",
        "metadata": {"name": name, "namespace": stage.namespace, "labels": {GROUP: group}},
        "spec": {"sourceRef": {"apiVersion": FLEET, "kind": "FleetArtifact", "name": "fleet"}},
        "status": {
            "artifact": _artifact(revision, **{"org.opencontainers.image.revision": f"main@sha1:{commit}"}),
            "conditions": [ready("True", "Succeeded", "stored")],
        },
    }


def only(source: DeliverySource) -> Delivery:
    (found,) = source.read()
    return found


def argo(stage: Stage, selector: str = "", page: int = 200) -> ArgoApplications:
    return ArgoApplications(stage.kubeconfig, stage.namespace, selector, page)


def flux(stage: Stage, selector: str = "", page: int = 200) -> FluxKustomizations:
    return FluxKustomizations(stage.kubeconfig, stage.namespace, selector, page)


# ---------------------------------------------------------------- what both promise


@pytest.mark.parametrize("tool", ["argocd", "flux"])
def test_all_pages_are_read_selected_by_labels_and_what_is_of_no_group_is_left_out(stage: Stage, tool: str) -> None:
    made = application if tool == "argocd" else lambda s, name, group: kustomization(s, name, "none", group)
    for number in range(5):
        item = made(stage, f"one-{number}", f"g-{number}")
        item["metadata"]["labels"]["team"] = "edge" if number < 4 else "core"
        stage.put(item)
    stranger = made(stage, "stranger", "")
    stranger["spec"].pop("source", None)
    if tool == "argocd":
        stranger["spec"]["sources"] = [{"repoURL": "https://git/x", "path": "."}]
    stranger["metadata"]["labels"]["team"] = "edge"
    stage.put(stranger)
    open_source = argo if tool == "argocd" else flux
    assert [each.group for each in open_source(stage, page=2).read()] == [f"g-{number}" for number in range(5)]
    chosen = open_source(stage, page=2, selector="team=edge").read()
    assert [each.group for each in chosen] == [f"g-{number}" for number in range(4)]
    assert all((each.state, each.automatic, each.message) == (State.HEALTHY, True, "") for each in chosen)
    assert all(commit_of(each.seen[0]) == commit_of(each.applied[0]) == OLD and each.at is not None for each in chosen)


# ---------------------------------------------------------------- Argo CD

ARGO_CASES: dict[str, tuple[dict[str, Any], State, tuple[str, ...], str]] = {
    "progressing": ({"health": {"status": "Progressing"}}, State.PROGRESSING, (OLD,), ""),
    "degraded, by the object that is": (
        {
            "health": {"status": "Degraded"},
            "resources": [
                {"kind": "Service", "name": "s", "version": "v1", "health": {"status": "Healthy"}},
                {
                    "kind": "Deployment",
                    "name": "d",
                    "version": "v1",
                    "health": {"status": "Degraded", "message": "late"},
                },
            ],
        },
        State.DEGRADED,
        (OLD,),
        "Deployment d: late",
    ),
    "paused": ({"health": {"status": "Suspended"}}, State.SUSPENDED, (OLD,), ""),
    "about to be synced": ({"sync": {"status": "OutOfSync", "revision": NEW}}, State.OUT_OF_SYNC, (), ""),
    "being synced": (
        {
            "sync": {"status": "OutOfSync", "revision": NEW},
            "operationState": operation("Running", "waiting for a hook"),
        },
        State.PROGRESSING,
        (),
        "waiting for a hook",
    ),
    "tried again and again": (
        {
            "sync": {"status": "OutOfSync", "revision": NEW},
            "operationState": operation("Running", "one or more\nobjects  failed to apply", retryCount=2),
        },
        State.OUT_OF_SYNC,
        (),
        "one or more objects failed to apply",
    ),
    "not able to": (
        {
            "sync": {"status": "OutOfSync", "revision": NEW},
            "conditions": [
                {"type": "SyncError", "message": "Failed sync attempt"},
                {"type": "OrphanedResourceWarning", "message": "not this"},
            ],
            "operationState": operation("Failed", "denied by policy"),
        },
        State.OUT_OF_SYNC,
        (),
        "SyncError: Failed sync attempt; denied by policy",
    ),
    "not rendered": (
        {
            "sync": {"status": "Unknown"},
            "conditions": [{"type": "ComparisonError", "message": "m.yaml:14 F104\u202e got \x1b[31m<!channel>"}],
        },
        State.UNKNOWN,
        (),
        "ComparisonError: m.yaml:14 F104\\u202e got \\u001b[31m<!channel>",
    ),
}


@pytest.mark.parametrize("case", ARGO_CASES)
def test_an_application_in_its_own_words(stage: Stage, case: str) -> None:
    status, state, applied, message = ARGO_CASES[case]
    stage.put(application(stage, "kiosk", **status))
    found = only(argo(stage))
    assert found.name == f"Application {stage.namespace}/kiosk"
    assert (found.group, found.state, found.applied, found.message) == ("kiosk", state, applied, message)
    assert found.next_step.startswith(("argocd app", "trimtab validate"))
    assert found.at == 1_795_348_800.0


def test_automatic_sync_may_be_off_in_two_ways_and_sources_may_be_several(stage: Stage) -> None:
    item = application(stage, "kiosk", sync={"status": "Synced", "revisions": [OLD, NEW]})
    for policy, automatic in (
        ({"automated": {"enabled": False}}, False),
        ({"syncOptions": ["CreateNamespace=true"]}, False),
        ({"automated": {"prune": True}}, True),
    ):
        item["spec"]["syncPolicy"] = policy
        stage.put(item)
        found = only(argo(stage))
        assert found.automatic is automatic
        assert found.seen == found.applied == (OLD, NEW)
        assert ("turn automated sync on" in found.next_step) is not automatic


# ---------------------------------------------------------------- Flux


def test_a_kustomization_is_followed_through_its_artifact_to_the_commit(stage: Stage) -> None:
    """The label of the artifact names the group, its origin the commit; the object alone knows neither."""
    item = kustomization(stage, "any-name", "fleet-kiosk")
    applied = f"kiosk@sha256:{OLD[0] * 64}"
    item["status"] |= {"lastAttemptedRevision": applied, "lastAppliedRevision": applied}
    item["status"]["lastAppliedOriginRevision"] = f"main@sha1:{OLD}"
    stage.put(item)
    stage.put(external(stage, "fleet-kiosk", "kiosk", NEW))
    found = only(flux(stage))
    assert (found.group, found.name) == ("kiosk", f"Kustomization {stage.namespace}/any-name")
    assert (commit_of(found.seen[0]), commit_of(found.applied[0])) == (NEW, OLD)
    assert found.state is State.HEALTHY


FLUX_CASES: dict[str, tuple[dict[str, Any], State, str]] = {
    "reconciling": (ready("Unknown", "Progressing", "Building"), State.PROGRESSING, "Progressing: Building"),
    "not well": (ready("False", "HealthCheckFailed", "timeout"), State.DEGRADED, "HealthCheckFailed: timeout"),
    "refused": (ready("False", "BuildFailed", "no such path"), State.OUT_OF_SYNC, "BuildFailed: no such path"),
    "what was said of an older spec": (ready("False", "BuildFailed", "old", 0), State.PROGRESSING, ""),
}


@pytest.mark.parametrize("case", FLUX_CASES)
def test_a_kustomization_in_its_own_words(stage: Stage, case: str) -> None:
    condition, state, message = FLUX_CASES[case]
    item = kustomization(stage, "kiosk", "fleet", "kiosk", kind="GitRepository")
    item["metadata"]["generation"] = 1
    item["status"]["conditions"] = [condition]
    stage.put(repository(stage, "fleet", OLD))
    stage.put(item)
    found = only(flux(stage))
    assert (found.state, found.message) == (state, message)
    assert found.next_step == f"flux reconcile kustomization kiosk -n {stage.namespace} --with-source"


def test_what_is_suspended_and_what_stands_still_above_it_is_told(stage: Stage) -> None:
    item = kustomization(stage, "kiosk", "fleet-kiosk")
    stage.put(item)
    stage.put(external(stage, "fleet-kiosk", "kiosk", OLD))
    stage.put(repository(stage, "git", OLD))
    broken = ready("False", "CompileFailed", "groups/x.yaml:14 spec.deviceCount: F104")
    above = {
        "apiVersion": FLEET,
        "kind": "FleetArtifact",
        "metadata": {"name": "fleet", "namespace": stage.namespace},
        "spec": {"sourceRef": {"kind": "GitRepository", "name": "git"}},
        "status": {"conditions": [broken]},
    }
    stage.put(above)
    found = only(flux(stage))
    assert (found.state, found.automatic) == (State.HEALTHY, True)
    assert found.message.startswith(f"FleetArtifact {stage.namespace}/fleet CompileFailed: groups/x.yaml:14")
    assert found.next_step == f"kubectl describe fleetartifact fleet -n {stage.namespace}"

    above["status"] = {"conditions": [ready("True", "Succeeded", "stored")]}
    stage.put(above)
    stage.put(repository(stage, "git", OLD, suspend=True))
    found = only(flux(stage))
    assert not found.automatic
    assert found.message == f"GitRepository {stage.namespace}/git is suspended"

    stage.put(repository(stage, "git", OLD, suspend=False))
    item["spec"]["suspend"] = True
    stage.put(item)
    found = only(flux(stage))
    assert (found.state, found.automatic, found.message) == (State.SUSPENDED, False, "")
    assert found.next_step == f"flux resume kustomization kiosk -n {stage.namespace}"


# ---------------------------------------------------------------- what goes wrong (over the rig, which can be told to)


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[ApiRig]:
    with api_rig(tmp_path) as made:
        yield made


def test_a_list_that_grew_too_old_is_begun_anew_once(rig: ApiRig) -> None:
    for number in range(3):
        rig.put(application(rig, f"a-{number}"))
    gone = (410, b'{"kind": "Status", "code": 410, "reason": "Expired"}')
    rig.faults = [("continue=2", *gone)]
    assert len(argo(rig, page=2).read()) == 3
    rig.faults = [("continue=2", *gone), ("continue=2", *gone)]
    with pytest.raises(OutsideError, match="410"):
        argo(rig, page=2).read()


def test_whatever_else_comes_is_an_outside_failure_and_nothing_is_ever_written(rig: ApiRig, tmp_path: Path) -> None:
    rig.put(application(rig, "kiosk"))
    for status, body in ((403, b'{"code": 403}'), (500, b"oops"), (200, b"[1, 2]"), (200, b'"text"')):
        rig.faults = [("applications", status, body)]
        with pytest.raises(OutsideError, match="cannot list applications in fleet"):
            argo(rig).read()
    rig.absent = {"applications", "kustomizations"}
    for source in (argo(rig), flux(rig)):
        with pytest.raises(OutsideError, match="is it installed"):
            source.read()
    assert all(each.startswith("GET ") for each in rig.asked)
    write_kubeconfig(tmp_path / "nowhere", "http://127.0.0.1:1")
    with pytest.raises(OutsideError, match="does not answer"):
        ArgoApplications(tmp_path / "nowhere", "fleet").read()


def test_objects_of_the_wrong_shape_say_nothing_and_break_nothing(rig: ApiRig) -> None:
    odd: list[Any] = [
        None,
        7,
        "x",
        [],
        [None],
        {"revision": 3, "revisions": 7, "automated": 1},
        {"revisions": [None, 3]},
    ]
    for number, value in enumerate(odd):
        item = application(rig, f"a-{number}", f"g-{number}")
        item["status"] = {
            "sync": value,
            "health": value,
            "operationState": value,
            "conditions": value,
            "reconciledAt": value,
        }
        item["spec"] = {"source": value, "sources": value, "syncPolicy": value}
        rig.put(item)
        other = kustomization(rig, f"k-{number}", "x", f"g-{number}")
        other["status"], other["spec"] = {"conditions": value, "lastAppliedRevision": value}, {"sourceRef": value}
        rig.put(other)
    found = argo(rig).read()
    assert [each.state for each in found] == [State.UNKNOWN] * len(odd)
    both = (*found, *flux(rig).read())
    assert len(both) == 2 * len(odd)
    assert not any(commit_of(revision) for each in both for revision in (*each.seen, *each.applied))


@pytest.mark.parametrize(
    ("revision", "commit"),
    [
        (OLD, OLD),
        (f"main@sha1:{OLD}", OLD),
        (f"main/{OLD}", OLD),
        ("a" * 64, "a" * 64),
        (f"latest@sha256:{'a' * 64}", ""),
        (f"sha256:{'a' * 64}", ""),
        ("v1.2.0", ""),
        (f"x{OLD}", ""),
    ],
)
def test_a_commit_is_told_from_a_digest(revision: str, commit: str) -> None:
    assert commit_of(revision) == commit
