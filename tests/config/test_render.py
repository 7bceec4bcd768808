"""The objects of a group: what is in them, within which limits, and that nothing but the input decides them."""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from bench.fleets import fleet_files
from tests.config.small_fleet import (
    Yaml,
    catalog_of,
    catalog_of_files,
    deployment,
    exact,
    files_of,
    group,
    hold,
    model,
    on_device,
    phones,
    price_book,
    variant,
)
from trimtab_config.catalog import build_catalog
from trimtab_config.emit.yaml_stream import library_document, yaml_stream
from trimtab_config.render.bundle import Bundle, Compiler, compile_group
from trimtab_config.render.workload import IMAGE
from trimtab_config.spec.reader import read_documents
from trimtab_edge.cli.agent import COMMAND as AGENT
from trimtab_edge.cli.serve import COMMAND as SERVE
from trimtab_kernel.canonical import canonical_json
from trimtab_kernel.desired import MAX_BYTES, parse_desired

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from trimtab_kernel.commandline import Command

SIMPLE = (group(), model(), deployment(), price_book())
COST = "finops.apexlogic.ai/"


def compiled(*objects: Yaml, of: str = "kiosks") -> Bundle:
    bundle, problems = compile_group(catalog_of(*objects), of)
    assert problems == (), "\n".join(map(str, problems))
    assert bundle is not None
    return bundle


def refusal(*objects: Yaml, of: str = "kiosks") -> list[str]:
    bundle, problems = compile_group(catalog_of(*objects), of)
    assert bundle is None, "a bundle beside problems could be applied"
    return [problem.code for problem in problems]


def kinds(bundle: Bundle) -> list[str]:
    return [item["kind"] for item in bundle.objects]


def the(bundle: Bundle, kind: str, name: str | None = None) -> dict[str, Any]:
    [found] = [item for item in bundle.objects if item["kind"] == kind and name in {None, item["metadata"]["name"]}]
    return dict(found)


def walk(value: object) -> Iterator[object]:
    yield value
    if isinstance(value, dict):
        for key, item in value.items():
            yield key
            yield from walk(item)
    elif isinstance(value, list):
        for item in value:
            yield from walk(item)


# ---------------------------------------------------------------- which objects there are


def test_a_group_gets_one_runtime_for_all_its_deployments() -> None:
    bundle = compiled(
        *SIMPLE, model("digits"), deployment("digits", spec__modelRef={"name": "digits", "version": "1.0.0"})
    )
    assert sorted(kinds(bundle)) == sorted(
        ["EdgeAIDeployment"] * 2 + ["ConfigMap"] * 3 + ["DaemonSet", "NetworkPolicy", "Service", "ServiceAccount"]
    )


def test_a_group_of_phones_gets_no_workload() -> None:
    bundle = compiled(phones(), on_device(), price_book(), of="phones")
    assert kinds(bundle) == ["OnDeviceModel", "ConfigMap", "ConfigMap"]


def test_a_group_without_models_gets_its_empty_document_and_report() -> None:
    bundle = compiled(group())
    assert [item["metadata"]["name"] for item in bundle.objects] == ["kiosks-cost", "kiosks-desired"]
    assert bundle.desired.models == ()
    assert "---" in yaml_stream(bundle.objects)


def test_an_empty_stream_is_never_written() -> None:
    with pytest.raises(ValueError, match="never"):
        yaml_stream([])


def test_objects_are_sorted_by_api_version_kind_namespace_and_name() -> None:
    keys = [
        (item["apiVersion"], item["kind"], item["metadata"]["namespace"], item["metadata"]["name"])
        for item in compiled(*SIMPLE).objects
    ]
    assert keys == sorted(keys)
    assert len(set(keys)) == len(keys)


def test_everything_stands_in_the_groups_namespace_and_carries_the_groups_name() -> None:
    bundle = compiled(group(metadata__namespace="clinics"), *SIMPLE[1:])
    assert bundle.namespace == "clinics"
    for item in bundle.objects:
        assert item["metadata"]["namespace"] == "clinics"
        assert "kiosks" in item["metadata"]["name"]
        assert item["metadata"]["labels"]["fleet.apexlogic.ai/group"] == "kiosks"


def test_two_groups_can_share_a_namespace() -> None:
    compiler = Compiler(catalog_of(*SIMPLE, group("others")))
    names: list[tuple[str, str]] = []
    for name in ("kiosks", "others"):
        bundle, _ = compiler.compile(name)
        assert bundle is not None
        names += [(item["kind"], item["metadata"]["name"]) for item in bundle.objects]
    assert len(set(names)) == len(names)


# ---------------------------------------------------------------- the workload


def pod_of(bundle: Bundle, kind: str = "DaemonSet") -> dict[str, Any]:
    return dict(the(bundle, kind)["spec"]["template"]["spec"])


def test_the_server_is_limited_to_the_sum_of_the_deployments() -> None:
    digits = deployment(
        "digits",
        spec__modelRef={"name": "digits", "version": "1.0.0"},
        spec__resourceLimits={"cpu": "1.25", "memory": "1Gi"},
    )
    serve, agent = pod_of(compiled(*SIMPLE, model("digits"), digits))["containers"]
    assert serve["resources"]["limits"] == {"cpu": "1750m", "memory": "1536Mi"}
    assert agent["resources"]["limits"] == {"cpu": "100m", "memory": "128Mi"}


def test_a_gpu_is_asked_for_by_its_resource_name() -> None:
    hardware = {"class": "box", "arch": "amd64", "cpu": "4", "memory": "8Gi", "accelerator": "cuda", "gpus": 1}
    limits = {"cpu": "1", "memory": "1Gi", "gpu": "1"}
    pod = pod_of(
        compiled(group(spec__hardware=hardware), model(), deployment(spec__resourceLimits=limits), price_book())
    )
    assert pod["containers"][0]["resources"]["limits"]["nvidia.com/gpu"] == "1"
    assert pod["runtimeClassName"] == "nvidia"


def test_nothing_in_the_pod_is_privileged() -> None:
    pod = pod_of(compiled(*SIMPLE))
    assert pod["automountServiceAccountToken"] is False
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    for container in pod["containers"]:
        context = container["securityContext"]
        assert context["readOnlyRootFilesystem"] is True
        assert context["allowPrivilegeEscalation"] is False
        assert context["capabilities"] == {"drop": ["ALL"]}
    assert the(compiled(*SIMPLE), "ServiceAccount")["automountServiceAccountToken"] is False


def test_the_pod_runs_only_on_nodes_of_its_group_and_architecture() -> None:
    assert pod_of(compiled(group(spec__hardware__arch="arm64"), *SIMPLE[1:]))["nodeSelector"] == {
        "kubernetes.io/os": "linux",
        "kubernetes.io/arch": "arm64",
        "fleet.apexlogic.ai/group": "kiosks",
    }


def test_the_selector_picks_the_pods_and_the_service_finds_them() -> None:
    bundle = compiled(*SIMPLE)
    workload, service = the(bundle, "DaemonSet")["spec"], the(bundle, "Service")["spec"]
    labels = workload["template"]["metadata"]["labels"]
    assert workload["selector"]["matchLabels"].items() <= labels.items()
    assert service["selector"].items() <= labels.items()
    ports = {port["name"] for container in workload["template"]["spec"]["containers"] for port in container["ports"]}
    assert {port["targetPort"] for port in service["ports"]} <= ports


def test_every_mount_has_its_volume_and_the_desired_document_its_config_map() -> None:
    bundle = compiled(*SIMPLE)
    pod = pod_of(bundle)
    volumes = {volume["name"]: volume for volume in pod["volumes"]}
    for container in pod["containers"]:
        assert {mount["name"] for mount in container["volumeMounts"]} <= volumes.keys()
    assert volumes["desired"]["configMap"]["name"] == "kiosks-desired"
    assert list(the(bundle, "ConfigMap", "kiosks-desired")["data"]) == ["desired.json"]


def test_the_server_can_write_what_it_used_of_its_budgets_and_no_model() -> None:
    pod = pod_of(compiled(*SIMPLE))
    [serve] = [one for one in pod["containers"] if one["name"] == "serve"]
    state = serve["args"][serve["args"].index("--state") + 1]
    writable = {mount["mountPath"] for mount in serve["volumeMounts"] if not mount.get("readOnly")}
    assert writable == {state, "/tmp"}
    assert not serve["args"][serve["args"].index("--model-repository") + 1].startswith(state)
    [name] = [mount["name"] for mount in serve["volumeMounts"] if mount["mountPath"] == state]
    [volume] = [volume for volume in pod["volumes"] if volume["name"] == name]
    assert volume["hostPath"]["path"] == state, "what was used today outlives the pod"


@pytest.mark.parametrize(("container", "command"), [("serve", SERVE), ("agent", AGENT)])
def test_the_edge_runtime_understands_its_arguments(container: str, command: Command) -> None:
    """The real parsers of `trimtab-edge` take what is rendered."""
    [found] = [one for one in pod_of(compiled(*SIMPLE))["containers"] if one["name"] == container]
    name, *arguments = found["args"]
    assert name == command.name
    parser = argparse.ArgumentParser(exit_on_error=False)
    assert command.configure is not None
    command.configure(parser)
    parsed = vars(parser.parse_args(arguments))
    [port] = found["ports"]
    assert port["containerPort"] in parsed.values()


def test_the_image_is_the_one_of_this_version() -> None:
    assert IMAGE.rpartition(":")[2] == version("trimtab")


def test_a_site_server_gets_a_deployment_with_one_pod_a_device() -> None:
    bundle = compiled(group(), model(), deployment(spec__workload="Deployment"), price_book())
    spec = the(bundle, "Deployment")["spec"]
    assert spec["replicas"] == 10
    assert "podAntiAffinity" in spec["template"]["spec"]["affinity"]


# ---------------------------------------------------------------- limits of Kubernetes


def test_the_longest_names_stay_within_the_limits() -> None:
    long_group, long_name = "g" * 63, ".".join(["d" * 63] * 3 + ["d" * 61])
    bundle = compiled(group(long_group), model(), deployment(long_name), price_book(), of=long_group)
    for item in bundle.objects:
        limit = 63 if item["kind"] == "Service" else 253
        assert len(item["metadata"]["name"]) <= limit
        assert long_group in item["metadata"]["name"]
        for key, value in item["metadata"]["labels"].items():
            assert len(key.rpartition("/")[2]) <= 63
            assert re.fullmatch(r"([A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?)?", value)
        annotations = item["metadata"].get("annotations", {})
        assert sum(len(key) + len(value) for key, value in annotations.items()) < 256 * 1024


def test_long_names_that_begin_alike_stay_apart() -> None:
    begin = ".".join(["d" * 63] * 3)
    first, second = f"{begin}.{'d' * 50}-first", f"{begin}.{'d' * 50}-second"
    digits = deployment(second, spec__modelRef={"name": "digits", "version": "1.0.0"})
    bundle = compiled(group(), model(), model("digits"), deployment(first), digits, price_book())
    names = [item["metadata"]["name"] for item in bundle.objects if item["kind"] == "EdgeAIDeployment"]
    assert len(set(names)) == 2
    assert all(name.endswith("-kiosks") and len(name) <= 253 for name in names)


def test_the_service_of_a_group_that_starts_with_a_digit_starts_with_a_letter() -> None:
    assert (
        the(compiled(group("2nd-floor"), *SIMPLE[1:], of="2nd-floor"), "Service")["metadata"]["name"] == "g-2nd-floor"
    )


def test_a_desired_document_and_a_cost_report_that_no_config_map_holds_are_refused() -> None:
    tags = dict.fromkeys(("project", "app", "team", "businessUnit", "feature", "environment"), "t" * 2000)
    limits = {"cpu": "10m", "memory": "64Mi"}
    many = [
        part
        for index in range(90)
        for part in (
            model(f"m{index}", versions={"1.0.0": [variant()]}),
            deployment(
                f"d{index}",
                spec__modelRef={"name": f"m{index}", "version": "1.0.0"},
                spec__resourceLimits=limits,
                spec__tags=tags,
            ),
        )
    ]
    assert refusal(group(spec__hardware__memory="64Gi"), price_book(), *many) == ["F310", "F310"]


def test_limits_beyond_the_device_are_refused() -> None:
    assert refusal(group(), model(), deployment(spec__resourceLimits__memory="8Gi"), price_book()) == ["F306"]
    assert refusal(group(), model(), deployment(spec__resourceLimits__cpu="3950m"), price_book()) == ["F306"]
    assert refusal(group(), model(), deployment(spec__resourceLimits__gpu="1"), price_book()) == ["F306"]


def test_two_deployments_that_would_become_one_object_are_refused() -> None:
    other = deployment(metadata__namespace="elsewhere", spec__modelRef={"name": "digits", "version": "1.0.0"})
    assert refusal(*SIMPLE, model("digits"), other) == ["F309"]


def test_two_kinds_of_workload_for_one_group_are_refused() -> None:
    other = deployment("other", spec__modelRef={"name": "digits", "version": "1.0.0"}, spec__workload="Deployment")
    assert refusal(*SIMPLE, model("digits"), other) == ["F308"]


def test_a_missing_price_is_refused() -> None:
    assert refusal(*SIMPLE[:3]) == ["F401"]


# ---------------------------------------------------------------- the desired document


def test_the_mounted_document_is_what_the_device_reads() -> None:
    rollout = {"stable": {"version": "1.0.0"}, "waves": [{"name": "tenth", "percent": 10}]}
    bundle = compiled(group(), model(), deployment(spec__rollout=rollout, spec__tags={"team": "x"}), price_book())
    content = the(bundle, "ConfigMap", "kiosks-desired")["data"]["desired.json"].encode()
    assert content == bundle.desired.to_bytes()
    assert len(content) <= MAX_BYTES
    read = parse_desired(content)
    assert read == bundle.desired
    [wanted] = read.models
    assert wanted.stable is not None
    assert (wanted.target.version, wanted.stable.version) == ("1.1.0", "1.0.0")
    assert wanted.percent == 10
    assert wanted.tags == (("team", "x"),)


@pytest.mark.parametrize(
    ("own", "policy", "expected"),
    [
        (None, {}, None),
        ("02:00-04:00", {}, "02:00-04:00 Europe/Berlin"),
        (None, {"updateWindow": "22:00-05:00"}, "22:00-05:00 Europe/Berlin"),
        ("02:00-04:00", {"updateWindow": "22:00-05:00"}, "02:00-04:00 Europe/Berlin"),
        (None, {"updateWindow": "22:00-05:00", "level": "warn"}, None),
        (None, {"updateWindow": "22:00-05:00", "levels": {"finops.update-window": "dryRun"}}, None),
    ],
)
def test_the_update_window_reaches_the_device(own: str | None, policy: dict[str, Any], expected: str | None) -> None:
    """The deployment's own; without one that of a policy whose rule denies."""
    for any_time in (True, False):
        [wanted] = compiled(
            group(spec__timeZone="Europe/Berlin"),
            model(),
            deployment(spec__finopsPolicyRef="p", spec__update={"window": own} if own else {}),
            {
                "apiVersion": "apexlogic.ai/v1",
                "kind": "FinOpsPolicy",
                "metadata": {"name": "p"},
                "spec": {**policy, "rollbackAnyTime": any_time},
            },
            price_book(),
        ).desired.models
        window = wanted.conditions.window
        assert (None if window is None else str(window)) == expected
        assert window is None or window.ways_back is any_time


def test_the_alignment_of_the_model_reaches_the_device() -> None:
    alignment = {
        "attribute": {"input": "features", "column": 1, "cohorts": {"a": {"value": 1}, "b": {"low": 2, "high": "3.5"}}},
        "outcome": {"output": "label", "positive": 1, "score": {"output": "probabilities", "column": 1}},
    }
    [wanted] = compiled(group(), model(spec__alignment=alignment), deployment(), price_book()).desired.models
    assert wanted.alignment is not None
    assert (wanted.alignment.score_output, wanted.alignment.score_column) == ("probabilities", 1)
    assert [cohort.name for cohort in wanted.alignment.cohorts] == ["a", "b"]
    assert wanted.alignment.cohorts[1].holds(3.4)
    assert not wanted.alignment.cohorts[1].holds(3.5)


# ---------------------------------------------------------------- narrowed objects


def test_a_narrowed_deployment_reads_as_one_and_keeps_its_waves() -> None:
    rollout = {"stable": {"version": "1.0.0"}, "waves": [{"name": "tenth", "percent": "12.5", "soak": "1d12h"}]}
    written = deployment(
        spec__rollout=rollout,
        spec__update={"window": "01:00-05:00", "minBatteryLevel": 20},
        spec__tags={"businessUnit": "health", "feature": "yes"},
        metadata__annotations={"note": "kept"},
    )
    bundle = compiled(group(), model(), written, price_book())
    narrowed = the(bundle, "EdgeAIDeployment")
    read = read_documents({"narrowed.yaml": yaml_stream([narrowed]).encode()})
    assert read.problems == ()
    [document] = read.documents
    [original] = catalog_of(group(), model(), written, price_book()).deployments.values()
    assert document.metadata.name == "triage-kiosks-kiosks"
    assert document.metadata.annotations["note"] == "kept"
    assert document.spec.rollout.waves == original.spec.rollout.waves
    assert document.spec.rollout.salt == bundle.desired.models[0].salt == "fleet/triage-kiosks/EdgeAIDeployment"
    assert document.spec.tags == original.spec.tags
    assert document.spec.resource_limits == original.spec.resource_limits
    assert document.spec.target_devices.labels["fleet.apexlogic.ai/group"] == "kiosks"


def test_a_held_version_shows_what_runs_instead() -> None:
    rollout = {"stable": {"version": "1.0.0"}}
    bundle = compiled(group(), model(), deployment(spec__rollout=rollout), price_book(), hold())
    annotations = the(bundle, "EdgeAIDeployment")["metadata"]["annotations"]
    assert annotations["fleet.apexlogic.ai/version"] == "1.0.0"
    assert bundle.desired.models[0].target.version == "1.0.0"


def fairness(first: str, second: str, n: int = 1000) -> Yaml:
    alignment = {
        "attribute": {"input": "features", "column": 1, "cohorts": {"a": {"value": 1}, "b": {"value": 2}}},
        "outcome": {"output": "label", "positive": 1},
    }
    made = model(spec__alignment=alignment)
    made["spec"]["versions"][1]["evaluation"] = {
        "fairness": {"a": {"n": n, "positiveRate": first}, "b": {"n": n, "positiveRate": second}}
    }
    return made


FAIR: Yaml = {
    "apiVersion": "apexlogic.ai/v1",
    "kind": "AIAlignmentPolicy",
    "metadata": {"name": "fair", "namespace": "fleet"},
    "spec": {"fairness": {"minimum": 0.8, "minimumSample": 200}},
}


@pytest.mark.parametrize(
    ("made", "verdict", "evidence"),
    [
        (fairness("0.5", "0.52"), "fine", "within the limit"),
        (fairness("0.2", "0.5"), "breach", "disparate impact 0.40"),
        (fairness("0.2", "0.5", n=100), "unknown", "sample of 100 is below the minimum of 200"),
        (model(), "unknown", "the evaluation compares no cohorts"),
    ],
)
def test_the_evaluation_of_a_version_is_judged_by_its_policy(made: Yaml, verdict: str, evidence: str) -> None:
    bundle = compiled(group(), made, deployment(spec__aiAlignmentPolicyRef="fair"), price_book(), FAIR)
    annotations = the(bundle, "EdgeAIDeployment")["metadata"]["annotations"]
    assert annotations["alignment.apexlogic.ai/verdict"] == verdict
    assert evidence in annotations["alignment.apexlogic.ai/evidence"]


# ---------------------------------------------------------------- costs


def without_costs(item: dict[str, Any]) -> dict[str, Any]:
    metadata = dict(item["metadata"])
    kept = {key: value for key, value in metadata.get("annotations", {}).items() if not key.startswith(COST)}
    return {**item, "metadata": {**metadata, "annotations": kept}}


def test_a_change_of_price_touches_annotations_and_the_cost_report_alone() -> None:
    """So it restarts no pod and gives no device a new order."""
    dearer = price_book(spec__regions__EMEA__deviceHour={"box": exact("9.9")})
    before, after = compiled(*SIMPLE), compiled(*SIMPLE[:3], dearer)
    assert before.desired == after.desired
    changed = [
        first["metadata"]["name"]
        for first, second in zip(before.objects, after.objects, strict=True)
        if without_costs(dict(first)) != without_costs(dict(second))
    ]
    assert changed == ["kiosks-cost"]
    assert the(before, "DaemonSet")["metadata"] != the(after, "DaemonSet")["metadata"]


def test_no_cost_stands_in_a_pod_template() -> None:
    template = the(compiled(*SIMPLE), "DaemonSet")["spec"]["template"]
    assert not [text for text in walk(template) if isinstance(text, str) and text.startswith((COST, "alignment."))]


def test_a_deployment_carries_its_cost_and_its_tags() -> None:
    tagged = deployment(spec__tags={"team": "clinics", "businessUnit": "health"})
    annotations = the(compiled(group(), model(), tagged, price_book()), "EdgeAIDeployment")["metadata"]["annotations"]
    costs = {key.removeprefix(COST): value for key, value in annotations.items() if key.startswith(COST)}
    assert costs == {
        "monthly-cost": "365.03",
        "monthly-cost-low": "362.98",
        "monthly-cost-high": "367.09",
        "currency": "EUR",
        "grade": "declared",
        "cost-per-1k-inferences": "0.000281",
        "update-bytes": "10000000",
        "price-book": "prices",
        "tag-team": "clinics",
        "tag-businessUnit": "health",
    }


# ---------------------------------------------------------------- same input, same bytes


def test_comments_order_and_file_names_do_not_change_a_byte() -> None:
    objects = [*SIMPLE, group("others"), phones(), on_device()]
    plain = yaml_stream(compiled(*objects).objects)
    text = "\n---\n".join(f"# remark {index}\n{yaml.safe_dump(item)}" for index, item in enumerate(reversed(objects)))
    bundle, _ = compile_group(catalog_of_files({"all/of/it.yaml": text.encode()}), "kiosks")
    assert bundle is not None
    assert yaml_stream(bundle.objects) == plain


@given(st.permutations(range(4)))
def test_the_order_of_files_does_not_change_a_byte(order: list[int]) -> None:
    contents = list(files_of(*SIMPLE).values())
    bundle, _ = compile_group(
        catalog_of_files({f"{place}.yml": contents[index] for place, index in enumerate(order)}), "kiosks"
    )
    assert bundle is not None
    assert yaml_stream(bundle.objects) == yaml_stream(compiled(*SIMPLE).objects)


def test_one_compiler_for_many_groups_gives_what_one_for_each_gives() -> None:
    catalog = catalog_of(*SIMPLE, group("others"), phones(), on_device())
    shared = Compiler(catalog)
    for name in ("others", "phones", "kiosks", "others"):
        assert shared.compile(name) == compile_group(catalog, name)


def test_a_compiler_that_follows_another_gives_what_a_new_one_gives() -> None:
    """Objects of the same names that changed (a price, a group, a model, a policy, a deployment) are seen as changed."""
    policy: Yaml = {
        "apiVersion": "apexlogic.ai/v1",
        "kind": "FinOpsPolicy",
        "metadata": {"name": "thrift", "namespace": "fleet"},
        "spec": {"ceilings": {"costPer1kInferences": {"amount": "0.0001", "currency": "EUR"}}},
    }
    objects = [group(), model(), deployment(spec__finopsPolicyRef="thrift"), price_book(), policy, group("others")]
    changes = [
        (3, price_book(spec__regions__EMEA__deviceHour={"box": exact("0.8"), "phone": exact("0.08")})),
        (0, group(spec__deviceCount=77)),
        (0, group(spec__hardware__cpu="8")),
        (1, model(versions={"1.1.0": [variant(profile__cpuSeconds=exact("0.02"))]})),
        (2, deployment(spec__finopsPolicyRef="thrift", spec__resourceLimits={"cpu": "1", "memory": "1Gi"})),
        (2, deployment(spec__inference={"expectedRequestsPerDeviceDay": 5}, spec__tags={"team": "clinics"})),
        (4, {**policy, "spec": {"ceilings": {"costPer1kInferences": {"amount": "0.5", "currency": "EUR"}}}}),
        (3, price_book()),
    ]
    read = [read_documents(files_of(item)).documents[0] for item in objects]
    compiler = Compiler(build_catalog(read)[0])
    assert compiler.compile("kiosks")[0] is not None
    for place, item in changes:
        [read[place]] = read_documents(files_of(item)).documents
        catalog, problems = build_catalog(read)
        assert problems == ()
        compiler = compiler.after(catalog)
        for name in ("kiosks", "others"):
            assert compiler.compile(name) == compile_group(catalog, name)


def test_a_compiler_that_followed_very_many_begins_anew_and_gives_the_same() -> None:
    catalog = catalog_of(*SIMPLE)
    compiler = Compiler(catalog)
    for _ in range(1001):
        compiler = compiler.after(catalog)
        assert compiler.compile("kiosks")[0] is not None
    assert compiler.compile("kiosks") == compile_group(catalog, "kiosks")


@pytest.mark.parametrize("per_group", [5, 50])
def test_documents_put_together_of_shared_texts_are_the_canonical_ones(per_group: int) -> None:
    """Over groups that share models, prices and numbers of devices, and some that do not."""
    compiler = Compiler(catalog_of_files(fleet_files(24, per_group)))
    for name in compiler._catalog.groups:
        bundle, problems = compiler.compile(name)
        assert problems == ()
        assert bundle is not None
        assert the(bundle, "ConfigMap", f"{name}-desired")["data"]["desired.json"].encode() == bundle.desired.to_bytes()
        report = the(bundle, "ConfigMap", f"{name}-cost")["data"]["cost.json"].encode()
        assert report == canonical_json(bundle.costs.to_json())
        assert len(bundle.costs.rows) >= per_group


def test_a_report_with_odd_texts_is_the_canonical_one() -> None:
    odd = 'a "quoted" \\ text, é ☃ 𝄞'
    tagged = deployment(spec__tags={"team": odd}, spec__finopsPolicyRef="thrift", spec__inference=None)
    ceiling = {"costPer1kInferences": {"amount": "0.001", "currency": "EUR"}}
    thrift = {
        "apiVersion": "apexlogic.ai/v1",
        "kind": "FinOpsPolicy",
        "metadata": {"name": "thrift", "namespace": "fleet"},
        "spec": {"ceilings": ceiling},
    }
    bundle = compiled(group(), model(), tagged, thrift, price_book())
    assert bundle.costs.to_bytes() == canonical_json(bundle.costs.to_json())
    assert bundle.costs.rows[0].absent
    assert bundle.costs.rows[0].ceiling is not None


def test_hash_seeds_do_not_change_a_byte(tmp_path: Path) -> None:
    for name, content in files_of(*SIMPLE, phones(), on_device()).items():
        (tmp_path / name).write_bytes(content)
    outputs = set()
    for seed in ("0", "1", "4242"):
        done = subprocess.run(
            [
                sys.executable,
                "-c",
                "import sys; from trimtab_config.cli import main; sys.exit(main(sys.argv[1:]))",
                "render",
                str(tmp_path),
                "--all",
            ],
            env={**os.environ, "PYTHONHASHSEED": seed},
            check=True,
            capture_output=True,
            timeout=60,
        )
        outputs.add(done.stdout)
    assert len(outputs) == 1
    assert outputs.pop().count(b"\n---\n") > 5


def test_every_object_has_a_canonical_form() -> None:
    """No float, date or other value that two doors could write differently."""
    for item in compiled(*SIMPLE).objects:
        assert canonical_json(item)


texts = st.one_of(
    st.text(max_size=30),
    st.sampled_from(
        ["y", "NO", "1e3", "0o17", "0x1F", ".5", "1_000", "12:30:00", "2026-11-22", "~", "=", "<<", "1.10", "-", ""]
    ),
)
values = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(-(2**53), 2**53), texts),
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(texts, inner, max_size=4)),
    max_leaves=12,
)


@given(st.dictionaries(st.text("abcdef", min_size=1), values, max_size=4))
def test_a_stream_reads_back_as_what_was_written(spec: dict[str, Any]) -> None:
    item = {"apiVersion": "v1", "kind": "Thing", "metadata": {"name": "x"}, "spec": spec}
    assert list(yaml.safe_load_all(yaml_stream([item, item]))) == [item, item]


keys = st.one_of(texts, st.sampled_from(["k" * 100, "k" * 101, "key: odd", "key #odd"]))
nested = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), texts, st.text("abnyt.:/$#-' {}", max_size=12)),
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(keys, inner, max_size=4)),
    max_leaves=12,
)


@given(st.dictionaries(keys, nested, max_size=4))
def test_a_stream_is_what_the_yaml_library_writes(spec: dict[str, Any]) -> None:
    """The writer lays simple objects out itself, byte for byte as PyYAML does, and reads back as what it was."""
    item = {"apiVersion": "v1", "kind": "Thing", "spec": spec}
    written = yaml_stream([item])
    assert written == library_document(item)
    assert list(yaml.safe_load_all(written)) == [item]


@pytest.mark.parametrize(
    "text", ["y", "N", "yes", "on", "1e3", "1E5", "0o17", "0x1F", ".5", "5.", "12:30:00", "1_000", "~"]
)
def test_text_that_some_parser_would_take_for_something_else_is_quoted(text: str) -> None:
    assert f"value: '{text}'" in yaml_stream([{"apiVersion": "v1", "kind": "Thing", "value": text}])
