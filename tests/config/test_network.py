"""Who may connect to a group's runtime and where it may connect to; how its figures are found; what host tools keep."""

from __future__ import annotations

import json
import subprocess
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from tests.config.small_fleet import Yaml, catalog_of, deployment, group, model, price_book, variant
from trimtab_config.plan.egress import endpoint_of
from trimtab_config.render.bundle import Bundle, compile_group, fleet_problems
from trimtab_config.render.options import Monitoring, RenderOptions
from trimtab_config.rules.recording import DEFAULT_WINDOWS, MARKER, rules_digest, window_label

if TYPE_CHECKING:
    from pathlib import Path

SIMPLE = (group(), model(), deployment(), price_book())
OPERATOR = RenderOptions(monitoring=Monitoring.OPERATOR)
SITE = deployment(spec__workload="Deployment")


def compiled(*objects: Yaml, options: RenderOptions = RenderOptions()) -> Bundle:  # noqa: B008 - frozen
    bundle, problems = compile_group(catalog_of(*objects), "kiosks", options)
    assert problems == (), "\n".join(map(str, problems))
    assert bundle is not None
    return bundle


def refusal(*objects: Yaml) -> list[str]:
    """Codes that keep the group from being rendered, which validation says as well."""
    catalog = catalog_of(*objects)
    bundle, problems = compile_group(catalog, "kiosks")
    assert bundle is None
    assert fleet_problems(catalog) == problems
    return [problem.code for problem in problems]


def the(bundle: Bundle, kind: str, name: str | None = None) -> dict[str, Any]:
    [found] = [item for item in bundle.objects if item["kind"] == kind and name in {None, item["metadata"]["name"]}]
    return dict(found)


def opened(bundle: Bundle) -> list[tuple[list[str], list[int]]]:
    """Addresses and ports beside those of DNS, which come first."""
    names, *rest = the(bundle, "NetworkPolicy")["spec"]["egress"]
    assert {(port["port"], port["protocol"]) for port in names["ports"]} == {(53, "UDP"), (53, "TCP")}
    assert names["to"][0]["podSelector"] == {"matchLabels": {"k8s-app": "kube-dns"}}
    return [([to["ipBlock"]["cidr"] for to in rule["to"]], [port["port"] for port in rule["ports"]]) for rule in rest]


def served_from(uri: str) -> Yaml:
    return model(versions={"1.1.0": [variant(uri=uri)]})


# ---------------------------------------------------------------- NetworkPolicy


def test_everything_is_closed_but_names_and_the_two_ports() -> None:
    policy = the(compiled(*SIMPLE), "NetworkPolicy")["spec"]
    assert policy["policyTypes"] == ["Ingress", "Egress"]
    assert opened(compiled(*SIMPLE)) == [], "a model in a bucket comes from a mirror, by digest"
    [rule] = policy["ingress"]
    assert rule["from"] == [{"namespaceSelector": {}}], "pods of the cluster, nobody outside it"
    pod = the(compiled(*SIMPLE), "DaemonSet")["spec"]["template"]
    declared = {port["containerPort"] for one in pod["spec"]["containers"] for port in one["ports"]}
    assert {port["port"] for port in rule["ports"]} == declared
    assert policy["podSelector"]["matchLabels"].items() <= pod["metadata"]["labels"].items()


def test_listed_rules_are_exact_and_nothing_else_is_open() -> None:
    egress = [
        {"hosts": ["models.example.com"], "cidrs": ["203.0.113.16/28", "2001:db8::/48"], "jurisdiction": "EU"},
        {"cidrs": ["198.51.100.7/32"], "ports": [8883, 443]},
    ]
    bundle = compiled(
        group(spec__network__egress=egress),
        served_from("https://models.example.com/a.onnx"),
        deployment(),
        price_book(),
    )
    assert opened(bundle) == [
        (["198.51.100.7/32"], [443, 8883]),
        (["2001:db8::/48", "203.0.113.16/28"], [443]),
    ]
    assert "annotations" not in the(bundle, "NetworkPolicy")["metadata"]


@pytest.mark.parametrize(
    ("uri", "cidr", "port"),
    [
        ("http://192.0.2.9/a.onnx", "192.0.2.9/32", 80),
        ("https://192.0.2.9:8443/a.onnx", "192.0.2.9/32", 8443),
        ("https://[2001:db8::7]/a.onnx", "2001:db8::7/128", 443),
        ("oci://192.0.2.9:5000/m@sha256:0", "192.0.2.9/32", 5000),
    ],
)
def test_an_endpoint_with_an_address_is_opened_exactly(uri: str, cidr: str, port: int) -> None:
    assert opened(compiled(group(), served_from(uri), deployment(), price_book())) == [([cidr], [port])]


@pytest.mark.parametrize(
    ("uri", "endpoint"),
    [
        ("https://Models.Example.com/a", "models.example.com:443"),
        ("https://user:secret@models.example.com:8443?x=a@b", "models.example.com:8443"),
        ("http://models.example.com", "models.example.com:80"),
        ("http://models.example.com:/a", "models.example.com:80"),
        ("oci://registry.example.com:5000/m@sha256:0", "registry.example.com:5000"),
        ("https://[2001:db8::7]:8443/a", "[2001:db8::7]:8443"),
        ("s3://bucket/a", None),
        ("file:///models/a.onnx", None),
        ("https:///a", None),
        ("https://host:99999/a", None),
    ],
)
def test_the_endpoint_behind_an_address(uri: str, endpoint: str | None) -> None:
    found = endpoint_of(uri)
    assert (None if found is None else str(found)) == endpoint


def test_a_host_name_without_rules_is_opened_by_port_and_the_object_says_so() -> None:
    bundle = compiled(
        group(),
        served_from("https://models.example.com/a.onnx"),
        deployment(spec__offload={"endpoint": "http://gpu.example.com:8000", "jurisdiction": "EU"}),
        price_book(),
    )
    assert opened(bundle) == [(["0.0.0.0/0", "::/0"], [443, 8000])]
    policy = the(bundle, "NetworkPolicy")
    assert policy["metadata"]["annotations"] == {
        "fleet.apexlogic.ai/egress-by-port": "gpu.example.com:8000, models.example.com:443"
    }
    blocks = [to["ipBlock"] for to in policy["spec"]["egress"][1]["to"]]
    assert ["169.254.0.0/16"] in [block["except"] for block in blocks], "not the metadata service of a cloud"


def test_an_endpoint_that_no_listed_rule_opens_is_refused() -> None:
    listed = group(spec__network__egress=[{"hosts": ["mirror.example.com"], "cidrs": ["203.0.113.16/28"]}])
    for uri in (
        "https://models.example.com/a.onnx",
        "https://mirror.example.com:8443/a.onnx",
        "https://203.0.113.1/a.onnx",
        "https://[2001:db8::7]/a.onnx",
    ):
        assert refusal(listed, served_from(uri), deployment(), price_book()) == ["F314"]
    assert opened(compiled(listed, served_from("https://203.0.113.18/a.onnx"), deployment(), price_book()))


@pytest.mark.parametrize("cidr", ["203.0.113.5/24", "203.0.113.0", "300.0.0.0/8", "10.0.0.0/33", "example.com/24"])
def test_addresses_that_are_none_are_refused(cidr: str) -> None:
    from tests.config.small_fleet import files_of
    from trimtab_config.spec.reader import read_documents

    made = group(spec__network__egress=[{"cidrs": [cidr]}])
    [problem] = read_documents(files_of(made)).problems
    assert (problem.code, problem.field) == ("F104", "spec.network.egress[0].cidrs[0]")


# ---------------------------------------------------------------- jurisdictions and data that leaves


def offloading(jurisdiction: str, policy: str | None = None) -> Yaml:
    target = {"endpoint": "https://192.0.2.9", "jurisdiction": jurisdiction}
    return deployment(spec__offload=target, spec__aiAlignmentPolicyRef=policy)


def alignment(**egress: object) -> Yaml:
    spec = {"dataEgress": egress} if egress else {}
    metadata = {"name": "fair", "namespace": "fleet"}
    return {"apiVersion": "apexlogic.ai/v1", "kind": "AIAlignmentPolicy", "metadata": metadata, "spec": spec}


def test_an_offload_under_another_law_is_refused_and_never_left_out() -> None:
    assert refusal(group(), model(), offloading("US"), price_book()) == ["F312"]
    [desired] = compiled(group(), model(), offloading("EU"), price_book()).desired.models
    assert desired.inference is not None
    assert desired.inference.offload is not None


def test_an_egress_rule_under_another_law_is_refused() -> None:
    made = group(spec__network__egress=[{"cidrs": ["203.0.113.16/28"], "jurisdiction": "US"}])
    assert refusal(made, *SIMPLE[1:]) == ["F312"]


def test_data_leaves_only_as_the_alignment_policy_allows() -> None:
    made = offloading("EU", "fair")
    fleet = (group(), model(), made, price_book())
    assert refusal(*fleet, alignment()) == ["F313"], "a policy that says nothing of data lets none leave"
    assert refusal(*fleet, alignment(allowed=False)) == ["F313"]
    assert refusal(*fleet, alignment(allowed=True, jurisdictions=["US"])) == ["F313"]
    compiled(*fleet, alignment(allowed=True))
    compiled(*fleet, alignment(allowed=True, jurisdictions=["US", "EU"]))
    trial = alignment(allowed=False)
    trial["spec"]["level"] = "warn"
    compiled(*fleet, trial)


# ---------------------------------------------------------------- Ingress


def test_a_site_server_is_reached_from_outside_and_a_device_is_not() -> None:
    assert "Ingress" not in [item["kind"] for item in compiled(*SIMPLE).objects]
    bundle = compiled(group(), model(), SITE, price_book())
    [rule] = the(bundle, "Ingress")["spec"]["rules"]
    assert rule["host"] == "kiosks.edge.internal", "groups of one cluster do not meet"
    [path] = rule["http"]["paths"]
    assert (path["path"], path["pathType"]) == ("/v2", "Prefix"), "metrics stay inside"
    backend, service = path["backend"]["service"], the(bundle, "Service")
    assert backend["name"] == service["metadata"]["name"]
    assert backend["port"]["name"] in {port["name"] for port in service["spec"]["ports"]}


def test_the_group_says_how_its_site_servers_are_reached() -> None:
    said = {"host": "kiosks.example.com", "className": "traefik", "tlsSecret": "certificate"}
    spec = the(compiled(group(spec__ingress=said), model(), SITE, price_book()), "Ingress")["spec"]
    assert spec["rules"][0]["host"] == "kiosks.example.com"
    assert spec["ingressClassName"] == "traefik"
    assert spec["tls"] == [{"hosts": ["kiosks.example.com"], "secretName": "certificate"}]


# ---------------------------------------------------------------- monitoring


def test_the_rules_of_a_group_record_its_own_series_alone() -> None:
    rules = json.loads(the(compiled(*SIMPLE), "ConfigMap", "kiosks-rules")["data"]["rules.json"])
    listed = [rule for found in rules["groups"] for rule in found["rules"]]
    markers = [rule for rule in listed if rule["record"] == MARKER]
    assert [rule["labels"] for rule in markers] == [
        {"window": window_label(window), "digest": rules_digest(window), "device_group": "kiosks"}
        for window in (None, *DEFAULT_WINDOWS)
    ]
    recorded = [rule for rule in listed if rule not in markers]
    assert recorded
    assert all('{device_group="kiosks"}' in rule["expr"] for rule in recorded)
    assert len({rule["record"] for rule in recorded}) == len(recorded)


@pytest.mark.parametrize("options", [RenderOptions(), OPERATOR], ids=["annotations", "operator"])
def test_prometheus_takes_the_rules(options: RenderOptions, tmp_path: Path) -> None:
    """The real promtool reads what is rendered, both ways."""
    bundle = compiled(*SIMPLE, options=options)
    if options is OPERATOR:
        text = yaml.safe_dump(the(bundle, "PrometheusRule")["spec"])
    else:
        text = the(bundle, "ConfigMap", "kiosks-rules")["data"]["rules.json"]
    (tmp_path / "rules.yml").write_text(text)
    done = subprocess.run(
        ["promtool", "check", "rules", str(tmp_path / "rules.yml")],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_operator_gets_its_own_kinds_and_pods_are_scraped_once() -> None:
    bundle = compiled(*SIMPLE, options=OPERATOR)
    assert "kiosks-rules" not in [item["metadata"]["name"] for item in bundle.objects if item["kind"] == "ConfigMap"]
    template = the(bundle, "DaemonSet")["spec"]["template"]
    assert "annotations" not in template["metadata"]
    monitor = the(bundle, "PodMonitor")["spec"]
    ports = {port["name"] for one in template["spec"]["containers"] for port in one["ports"]}
    assert {endpoint["port"] for endpoint in monitor["podMetricsEndpoints"]} == ports
    assert monitor["selector"]["matchLabels"].items() <= template["metadata"]["labels"].items()
    for endpoint in monitor["podMetricsEndpoints"]:
        targets = {one["targetLabel"]: one["sourceLabels"] for one in endpoint["relabelings"]}
        assert targets == {
            "device_group": ["__meta_kubernetes_pod_label_fleet_apexlogic_ai_group"],
            "device": ["__meta_kubernetes_pod_node_name"],
        }
    template_of_annotations = the(compiled(*SIMPLE), "DaemonSet")["spec"]["template"]["metadata"]
    assert template_of_annotations["annotations"]["prometheus.io/scrape"] == "true"


# ---------------------------------------------------------------- host tools


def test_a_namespace_is_rendered_on_demand_and_never_pruned() -> None:
    assert "Namespace" not in [item["kind"] for item in compiled(*SIMPLE).objects]
    namespace = the(compiled(*SIMPLE, options=RenderOptions(with_namespace=True)), "Namespace")
    assert namespace["metadata"]["name"] == "fleet"
    assert namespace["metadata"]["annotations"] == {
        "argocd.argoproj.io/sync-options": "Prune=false",
        "kustomize.toolkit.fluxcd.io/prune": "disabled",
    }


def test_two_groups_in_one_namespace_render_the_same_namespace() -> None:
    catalog = catalog_of(*SIMPLE, group("others"))
    options = RenderOptions(with_namespace=True)
    found = []
    for name in ("kiosks", "others"):
        bundle, _ = compile_group(catalog, name, options)
        assert bundle is not None
        found.append(the(bundle, "Namespace"))
    assert found[0] == found[1], "else two owners would change it back and forth"


def test_an_object_that_holds_a_variable_is_left_alone_by_flux() -> None:
    tagged = deployment(spec__tags={"team": "${TEAM}"}, metadata__annotations={"example.com/note": "a $100 note"})
    bundle = compiled(group(), model(), tagged, price_book())
    marked = {
        (item["kind"], item["metadata"]["name"])
        for item in bundle.objects
        if item["metadata"].get("annotations", {}).get("kustomize.toolkit.fluxcd.io/substitute") == "disabled"
    }
    holding = {(item["kind"], item["metadata"]["name"]) for item in bundle.objects if "${" in json.dumps(item)}
    assert marked == holding
    assert ("EdgeAIDeployment", "triage-kiosks-kiosks") in marked
    assert ("DaemonSet", "kiosks") not in marked
