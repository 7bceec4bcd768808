"""From an anomaly in a real Prometheus to a closed message, through a real Argo CD and a real Flux; and a Hold against both.

The tests of this module follow two fleets, one in Argo CD and one in Flux, in the order in which they stand. Most of the time is
waited, so the two go side by side.
"""

from __future__ import annotations

import json
import re
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.bot.rig import KIOSKS
from tests.lab.argocd import API, ArgoCD, conditions, is_synced
from tests.lab.cluster import Cluster
from tests.lab.flux import Flux
from tests.lab.loops import BAD, GOOD, SECONDS, TRIMTAB, Loop, LoopFleet, model_of
from tests.lab.processes import LabProcess, Processes, wait_for
from tests.lab.test_charts import BOT, KUBE_VERSION
from trimtab_bot.cluster.argocd import ArgoApplications
from trimtab_bot.cluster.flux import FluxKustomizations
from trimtab_bot.delivery.interface import Delivery, DeliverySource, State, commit_of

pytestmark = [pytest.mark.lab, pytest.mark.timeout(900), pytest.mark.usefixtures("trimtab_kinds")]

ROOT = Path(__file__).parents[2]
WAYS = {
    "argocd": dict(zip(KIOSKS[:2], ("button", "review"), strict=True)),
    "flux": dict(zip(KIOSKS[2:], ("slash command", "comment"), strict=True)),
}
AUTOMATION = "Image Automation <automation@example.com>"
FLEET = "fleet.apexlogic.ai/v1alpha1"
SOURCE = "source.toolkit.fluxcd.io/v1"
KUSTOMIZE = "kustomize.toolkit.fluxcd.io/v1"


@dataclass(slots=True)
class Delivered:
    """A loop, and what its bot asks of the cluster, with the rights that the chart gives."""

    tool: str
    loop: Loop
    delivery: dict[str, Any]
    refused: Callable[[str], str]
    """Why a group's newest commit is not rendered, as the tool's own objects tell it; "" where it is."""
    brought: Callable[[str, str], bool]
    """Whether the tool says that it has brought a group what a commit asks for."""
    automate: Callable[[str, bool], None]
    """Turn the automatic sync of a group's object on or off, as a person does."""

    @property
    def groups(self) -> list[str]:
        return list(WAYS[self.tool])

    def delivery_of(self, group: str) -> Delivery:
        """What the bot's own adapter makes of a group's object, with the rights that the bot has."""
        source: DeliverySource
        config = Path(self.delivery["kubeconfig"])
        if self.tool == "argocd":
            source = ArgoApplications(config, "argocd")
        else:
            source = FluxKustomizations(config, self.delivery["flux"]["namespace"])
        (found,) = (each for each in source.read() if each.group == group)
        return found

    def await_delivery(self, group: str, accepted: Callable[[Delivery], bool], what: str) -> None:
        """Until the adapter tells this of a group."""
        wait_for(
            lambda: accepted(self.delivery_of(group)),
            f"{self.tool}: {what} is told of {group}",
            SECONDS,
            step=0.5,
            told=lambda: self.delivery_of(group),
        )

    def await_versions(self, wanted: str, what: str) -> None:
        """Until the cluster's desired documents name this version for every group."""
        wait_for(
            lambda: all(self.loop.desired(group) == wanted for group in self.groups),
            f"{what} in {self.tool}",
            SECONDS,
            step=0.5,
            told=lambda: [*(self.refused(group) for group in self.groups), *self.loop.failures[-3:]],
        )

    def await_commit(self, group: str, commit: str) -> None:
        """Until the tool says that a group has what a commit asks for."""
        wait_for(
            lambda: self.brought(group, commit),
            f"{self.tool} has brought {commit[:12]} to {group}",
            SECONDS,
            step=0.5,
            told=lambda: self.refused(group),
        )

    def await_refusal(self, group: str, word: str) -> None:
        """Until the tool's own objects say why a group is not rendered."""
        wait_for(
            lambda: word in self.refused(group),
            f"{self.tool} has looked at {group}, and says why it is not rendered",
            SECONDS,
            step=0.5,
            told=lambda: self.refused(group),
        )


def application(group: str) -> str:
    return f"loop-{group}"


def rights(cluster: Cluster, helm: Path, place: Path, delivery: dict[str, Any]) -> str:
    """A kubeconfig of the bot's service account: the chart's own rules, applied to the cluster."""
    from kubernetes.client import AuthenticationV1TokenRequest, CoreV1Api, V1TokenRequestSpec

    namespace = cluster.namespace("bot")
    values = place / "values.json"
    values.write_text(json.dumps({"bot": {"enabled": True, "config": {**BOT, "delivery": delivery}}}))
    command = [helm, "template", "loop", ROOT / "helm/trimtab", "--namespace", namespace, "--values", values]
    command += ["--kube-version", KUBE_VERSION]
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    wanted = {"ServiceAccount", "Role", "RoleBinding"}
    objects = [item for item in yaml.safe_load_all(done.stdout) if item and item["kind"] in wanted]
    cluster.apply(objects)
    (account,) = (item["metadata"]["name"] for item in objects if item["kind"] == "ServiceAccount")
    asked = AuthenticationV1TokenRequest(spec=V1TokenRequestSpec(audiences=[], expiration_seconds=7200))
    made = CoreV1Api(cluster.api()).create_namespaced_service_account_token(account, namespace, asked)
    assert made.status is not None
    return str(cluster.write_config(place / "bot.kubeconfig", token=made.status.token))


def plugin_folder(place: Path) -> Path:
    """The plugin.yaml that we ship, under a name of its own: other modules may run one beside it."""
    place.mkdir()
    text = (ROOT / "plugins/argocd/plugin.yaml").read_text("utf-8")
    (place / "plugin.yaml").write_text(re.sub(r"(?m)^  name: trimtab$", "  name: trimtab-loop", text), "utf-8")
    return place


@pytest.fixture(scope="module")
def in_argocd(
    argocd: Callable[..., ArgoCD],
    cluster: Cluster,
    lab_processes: Processes,
    lab_programs: Callable[[str], Path],
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Delivered]:
    """Groups, each an Application that the plugin renders from the rig's repository over HTTP."""
    argo, folder, groups = argocd(), tmp_path_factory.mktemp("loop-argocd"), list(WAYS["argocd"])
    server = lab_processes.start(
        "cmp-server-loop",
        [TRIMTAB, "cmp-server", "--config-dir", plugin_folder(folder / "plugin"), "--socket-dir", argo.sockets],
    )
    lab_processes.wait_until_ready(server, (argo.sockets / "trimtab-loop.sock").exists)
    made: list[str] = []
    delivery = {"argocd": {"namespace": "argocd"}}
    with ExitStack() as stack:
        fleet = LoopFleet(folder / "fleet.git", groups, cluster.namespace("loop"))
        loop = Loop(folder, cluster, fleet, lab_processes, stack, lambda _: argo.refresh(made))
        loop.start()
        for group in groups:
            argo.application(
                application(group),
                loop.git,
                plugin="trimtab-loop",
                parameters={"group": group},
                namespace=fleet.namespace,
            )
        made += [application(group) for group in groups]
        config = rights(cluster, lab_programs("helm"), folder, delivery)

        def refused(group: str) -> str:
            return conditions(argo.state(application(group)))

        def brought(group: str, commit: str) -> bool:
            state = argo.state(application(group))
            return is_synced(state) and bool(state["status"]["sync"]["revision"] == commit)

        def automate(group: str, on: bool) -> None:
            policy = {"automated": {"prune": True, "selfHeal": True} if on else None}
            body = {"spec": {"syncPolicy": policy}}
            change(cluster, API, "Application", argo.namespace, application(group), body)

        yield Delivered("argocd", loop, {**delivery, "kubeconfig": config}, refused, brought, automate)
        end(loop.bot)
    argo.delete(made)
    end(server)


@pytest.fixture(scope="module")
def in_flux(
    flux: Flux,
    cluster: Cluster,
    lab_processes: Processes,
    lab_programs: Callable[[str], Path],
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Delivered]:
    """Groups, each a Kustomization of the artifact that `trimtab flux-controller` makes of the rig's repository over HTTP."""
    folder, groups, namespace = tmp_path_factory.mktemp("loop-flux"), list(WAYS["flux"]), cluster.namespace("loop")
    controller = lab_processes.start(
        "trimtab-flux-controller-loop",
        [
            *(TRIMTAB, "flux-controller", "--storage", folder / "storage", "--namespace", namespace, "--no-lease"),
            *("--listen", "127.0.0.1:0", "--observe", "127.0.0.1:0", "--kubeconfig", cluster.kubeconfig),
        ],
    )
    delivery = {"flux": {"namespace": namespace}}

    def told(_: str) -> None:
        """As a Receiver of Flux does when the Git host calls it."""
        annotations = {"reconcile.fluxcd.io/requestedAt": str(time.time_ns())}
        change(cluster, SOURCE, "GitRepository", namespace, "fleet", {"metadata": {"annotations": annotations}})

    with ExitStack() as stack:
        fleet = LoopFleet(folder / "fleet.git", groups, namespace)
        loop = Loop(folder, cluster, fleet, lab_processes, stack, told)
        loop.start()
        repository = {"url": loop.git, "ref": {"branch": "main"}, "interval": "10m"}
        artifact = {"sourceRef": {"kind": "GitRepository", "name": "fleet"}, "groups": {"names": groups}}
        often = {"path": "./", "prune": True, "interval": "10m", "retryInterval": "5s"}
        objects = [(SOURCE, "GitRepository", "fleet", repository), (FLEET, "FleetArtifact", "fleet", artifact)]
        objects += [
            (
                KUSTOMIZE,
                "Kustomization",
                group,
                {"sourceRef": {"kind": "ExternalArtifact", "name": f"fleet-{group}"}, **often},
            )
            for group in groups
        ]
        cluster.apply(
            {"apiVersion": api, "kind": kind, "metadata": {"name": name, "namespace": namespace}, "spec": spec}
            for api, kind, name, spec in objects
        )
        config = rights(cluster, lab_programs("helm"), folder, delivery)

        def refused(_: str) -> str:
            status = flux.get(FLEET, "FleetArtifact", "fleet", namespace).get("status") or {}
            ready = [each for each in status.get("conditions") or () if each["type"] == "Ready"]
            return "".join(str(each["message"]) for each in ready if each["status"] == "False")

        def brought(group: str, commit: str) -> bool:
            """The artifact is of this commit, or the same as before, and it is what was applied."""
            fleet_status = flux.get(FLEET, "FleetArtifact", "fleet", namespace).get("status") or {}
            artifact = flux.get(SOURCE, "ExternalArtifact", f"fleet-{group}", namespace)["status"]["artifact"]
            applied = flux.get(KUSTOMIZE, "Kustomization", group, namespace)["status"].get("lastAppliedRevision")
            return commit in str(fleet_status.get("sourceRevision")) and bool(applied == artifact["revision"])

        def automate(group: str, on: bool) -> None:
            change(cluster, KUSTOMIZE, "Kustomization", namespace, group, {"spec": {"suspend": not on}})

        yield Delivered("flux", loop, {**delivery, "kubeconfig": config}, refused, brought, automate)
        end(loop.bot)
        # Nothing is to be tried again once the rigs are gone, and no controller of another module is to find it.
        for api, kind, name, _ in reversed(objects):
            change(cluster, api, kind, namespace, name, {"spec": {"suspend": True}})
            cluster.resource(api, kind).delete(name=name, namespace=namespace)
    end(controller)


def change(cluster: Cluster, api: str, kind: str, namespace: str, name: str, body: dict[str, Any]) -> None:
    resource = cluster.resource(api, kind)
    resource.patch(name=name, namespace=namespace, body=body, content_type="application/merge-patch+json")


def end(process: LabProcess | None) -> None:
    if process is not None and process.running:
        process.stop()


@pytest.fixture(scope="module")
def both(in_argocd: Delivered, in_flux: Delivered) -> tuple[Delivered, Delivered]:
    return in_argocd, in_flux


def test_four_incidents_end_in_four_ways_once_the_clusters_have_each_rollback(
    both: tuple[Delivered, Delivered],
) -> None:
    for each in both:
        each.await_versions(GOOD, "the fleet is there")
        each.loop.run_bot(each.delivery)
    for each in both:
        each.loop.await_events("verified", each.groups, "every group was seen to be well")
    for turn in range(2):
        for each in both:
            each.loop.fleet.move([each.groups[turn]], GOOD, BAD)
        for each in both:
            group = each.groups[turn]
            each.loop.approve_by(WAYS[each.tool][group], group)
    for each in both:
        each.loop.await_closed(each.groups)
        each.loop.stop_bot()

    for each in both:
        loop = each.loop
        merges = loop.fleet.merges_of_the_bot()
        assert len(merges) == len(loop.slack.messages) == len(each.groups), "one merge and one message for an incident"
        for group in each.groups:
            assert loop.desired(group) == GOOD
            model = model_of(group)
            for event in ("seen", "synced", "recovered"):
                assert len(loop.events(event, model)) == 1, (group, event)
            (seen,), closed = loop.events("seen", model), loop.events("closed", model)[-1]["text"]
            assert any(merge[:12] in seen["text"] for merge in merges)
            order = ("merged", "seen", "synced", "converged", "recovered")
            assert "synced after" in json.dumps(loop.message(group)["blocks"]), "the message says so too"
            assert re.search(".* ".join(f"{stage} after" for stage in order), closed), closed
        assert not loop.events("escalated")


def test_a_held_version_never_comes_back_by_itself_and_does_when_it_is_released(
    both: tuple[Delivered, Delivered],
) -> None:
    """Somebody's automation writes the version into the branch again: with a stable version to fall back to, and without."""
    pushed = {}
    for each in both:
        fleet, (with_stable, _) = each.loop.fleet, each.groups
        fleet.sync()
        path = f"deployments/{model_of(with_stable)}.yaml"
        fleet.edit(path, "  finopsPolicyRef:", f'  rollout: {{stable: {{version: "{GOOD}"}}}}\n  finopsPolicyRef:')
        pushed[each.tool] = fleet.move_more([with_stable], GOOD, BAD, AUTOMATION)
    for each in both:
        each.await_commit(each.groups[0], pushed[each.tool])
        assert each.loop.desired(each.groups[0]) == GOOD, "what is held falls back to the stable version"
        each.loop.fleet.move(each.groups[1:], GOOD, BAD, AUTOMATION)
    for each in both:
        each.await_refusal(each.groups[1], BAD)
        assert [each.loop.desired(group) for group in each.groups] == [GOOD, GOOD]
        held = each.delivery_of(each.groups[1])
        assert BAD in held.message
        assert held.state is (State.UNKNOWN if each.tool == "argocd" else State.HEALTHY)
        assert ("FleetArtifact" in held.message) is (each.tool == "flux"), (
            "what stands still is above the Kustomization"
        )

    # It is released; but one object of each tool was taken out of the automation, and the bot's adapter says so.
    released = {}
    for each in both:
        fleet = each.loop.fleet
        each.automate(each.groups[0], False)
        for name in {name for group in each.groups for name in fleet.hold_files(group)}:
            del fleet.files[name]
        released[each.tool] = fleet.merge(AUTOMATION, "Release")
    for each in both:
        manual, other = each.groups
        state = State.OUT_OF_SYNC if each.tool == "argocd" else State.SUSPENDED

        def is_left_behind(found: Delivery, each: Delivered = each, state: State = state) -> bool:
            at_release = [commit_of(revision) == released[each.tool] for revision in (*found.seen, *found.applied)]
            return (found.state, found.automatic, at_release) == (state, False, [True, False])

        each.await_delivery(manual, is_left_behind, "that it is left behind")
        each.await_delivery(other, lambda found: found.state is State.HEALTHY and not found.message, "that it is well")
        assert [each.loop.desired(group) for group in each.groups] == [GOOD, BAD]
        each.automate(manual, True)
    for each in both:
        each.await_versions(BAD, "what is released arrives")
