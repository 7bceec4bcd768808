"""Reading: types, places, what is skipped, what was lost."""

from __future__ import annotations

import datetime
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest

from tests.config.small_fleet import deployment, files_of, group, model, on_device, price_book
from tests.golden import CASES
from trimtab_config.cli import main
from trimtab_config.spec.kinds import (
    KINDS,
    Document,
    GradedFigure,
    Kind,
    NetworkConstraint,
    Tier,
    UpdateStrategyType,
    Wave,
)
from trimtab_config.spec.nodes import MAX_DEPTH
from trimtab_config.spec.reader import Lost, Skipped, read_documents
from trimtab_config.spec.shapes import ListShape, MapShape, ObjectShape, Shape, shape_of
from trimtab_kernel.identity import Digest
from trimtab_kernel.money import Grade
from trimtab_kernel.quantity import Quantity

FIELD_DOCUMENTS = CASES / "errors/field-documents/input/manifests.yaml"


def read_one(text: str) -> Document:
    result = read_documents({"a.yaml": text.encode()})
    assert result.problems == ()
    [document] = result.documents
    return document


# ---------------------------------------------------------------- the documents of the field


def test_the_field_documents_are_accepted_as_they_stand_but_for_the_checksum() -> None:
    content = FIELD_DOCUMENTS.read_bytes()
    assert b'gpu: "1" # Assuming edge GPU' in content
    result = read_documents({"manifests.yaml": content})
    assert [document.kind for document in result.documents] == ["EdgeAIDeployment"]
    [problem] = result.problems
    assert (problem.code, problem.line, problem.field) == ("F104", 30, "spec.checksum")
    assert problem.hint == 'length 52, expected 64; first bad character "g" at 13'


def test_with_64_hex_digits_the_rest_is_accepted(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    content = FIELD_DOCUMENTS.read_text("utf-8")
    checksum = "sha256:a1b2c3d4e5f6g7h8i9j0k1l2m3n4o5p6q7r8s9t0u1v2w3x4y5z6"
    (tmp_path / "manifests.yaml").write_text(content.replace(checksum, "sha256:" + "a1b2c3d4" * 8), "utf-8")
    assert main(["validate", str(tmp_path / "manifests.yaml")]) == 0
    assert "1 EdgeAIDeployment, 1 OnDeviceModel in 1 file" in capsys.readouterr().err
    result = read_documents({"a.yaml": (tmp_path / "manifests.yaml").read_bytes()})
    camera, classifier = (document.spec for document in result.documents)
    assert camera.model_ref.name == "vision-analytics-v2.pt"
    assert camera.resource_limits.gpu == Quantity.parse(1)
    assert classifier.target_devices.min_os_version == "iOS16"
    assert classifier.target_devices.min_api_level == 30
    assert classifier.update_strategy.type is UpdateStrategyType.STAGED_ROLLOUT
    assert classifier.update_strategy.network_constraint is NetworkConstraint.WIFI
    assert classifier.feature_flags == {"enableNewPostProcessing": True, "logDetailedTelemetry": True}
    assert classifier.checksum == Digest("a1b2c3d4" * 8)


# ---------------------------------------------------------------- types


def test_values_have_the_types_of_the_kinds_and_keep_their_exact_text() -> None:
    document = read_one("""
apiVersion: apexlogic.ai/v1
kind: EdgeAIDeployment
metadata:
  name: a
  annotations: {note: ""}
spec:
  modelRef: {name: m, version: 1.10.0}
  targetDevices: {labels: {region: EMEA}}
  resourceLimits: {cpu: 0.1, memory: 1Gi}
  tier: lite
  rollout:
    paused: true
    waves:
      - {name: first, percent: 0.5, soak: 1d12h}
      - {name: then, groups: [one, two]}
    gates: {maximumFailureRatio: 0.10}
  inference: {expectedRequestsPerDeviceDay: 1000.50, maximumPerMinute: 60}
  update: {window: 22:00-05:30}
""")
    spec = document.spec
    assert document.metadata.namespace == "default"
    assert document.metadata.annotations == {"note": ""}
    assert spec.model_ref.version == "1.10.0"
    assert spec.resource_limits.cpu == Quantity(Fraction(1, 10))
    assert spec.tier is Tier.LITE
    assert spec.rollout.waves == (
        Wave("first", Fraction(1, 2), (), datetime.timedelta(hours=36)),
        Wave("then", None, ("one", "two")),
    )
    assert spec.rollout.paused is True
    assert str(spec.rollout.gates.maximum_failure_ratio) == "0.10"
    assert spec.inference.expected_requests_per_device_day == Decimal("1000.50")
    assert spec.update.window == "22:00-05:30"


def test_a_figure_is_a_bare_number_or_an_object_with_bounds() -> None:
    document = read_one("""
apiVersion: apexlogic.ai/v1
kind: PriceBook
metadata: {name: a}
spec:
  currency: EUR
  validFrom: 2026-10-01
  validUntil: "2026-12-31"
  regions:
    EMEA:
      deviceHour: {box: 0.05, gateway: {value: 0.10, low: "0.08", high: 0.12, grade: measured}}
      energyPerKWh: "0.3"
      networkPerGB: {wired: {value: 0.01}}
""")
    prices = document.spec.regions["EMEA"]
    assert document.spec.valid_from == datetime.date(2026, 10, 1)
    assert prices.device_hour["box"] == GradedFigure(Decimal("0.05"))
    assert prices.device_hour["gateway"] == GradedFigure(
        Decimal("0.10"), Decimal("0.08"), Decimal("0.12"), Grade.MEASURED
    )
    assert prices.energy_per_kwh == GradedFigure(Decimal("0.3"))
    assert prices.network_per_gb["wired"] == GradedFigure(Decimal("0.01"))
    assert prices.device_hour["box"].figure(Grade.DECLARED).high == Decimal("0.075")


def test_merge_keys_add_what_is_not_written_and_earlier_sources_win() -> None:
    document = read_one("""
apiVersion: apexlogic.ai/v1
kind: EdgeAIDeployment
metadata: {name: a}
spec:
  tags: &own {team: own}
  modelRef: {name: m, version: 1.0.0}
  targetDevices: {labels: {region: EMEA}}
  resourceLimits: &limits {cpu: 1, memory: 1Gi}
  rollout:
    stable: &stable {version: 1.0.0}
    waves:
      - &wave {name: first, percent: 1}
      - {<<: *wave, name: second}
      - {<<: [{percent: 7}, *wave], name: third}
  experiment:
    metric: accuracy
    arms: [{<<: *stable, name: a, share: 50}]
""")
    assert [(wave.name, wave.percent) for wave in document.spec.rollout.waves] == [
        ("first", 1),
        ("second", 1),
        ("third", 7),
    ]
    assert document.spec.experiment.arms[0].version == "1.0.0"


def test_a_quoted_merge_key_is_a_key_like_any_other() -> None:
    result = read_documents(
        {"a.yaml": b'apiVersion: apexlogic.ai/v1\nkind: Hold\nmetadata: {name: a, labels: {"<<": x}}\nspec: {}\n'}
    )
    assert {"metadata.labels.<<"} <= {problem.field for problem in result.problems}


# ---------------------------------------------------------------- places


def test_the_origin_knows_the_line_of_every_field() -> None:
    document = read_one("""# a comment
---

apiVersion: apexlogic.ai/v1
kind: EdgeAIDeployment
metadata:
  name: a
spec:
  modelRef:
    name: m
    version: 1.0.0
  targetDevices:
    labels:
      region: EMEA
  resourceLimits: {cpu: 1, memory: 1Gi}
  rollout:
    waves:
      - name: first
        percent: 1
      - {name: then,
         percent: 2}
""")
    origin = document.origin
    assert (origin.file, origin.line, origin.index) == ("a.yaml", 4, 0)
    assert origin.line_of("metadata.name") == 7
    assert origin.line_of("spec.modelRef.version") == 11
    assert origin.line_of("spec.targetDevices.labels.region") == 14
    assert origin.line_of("spec.resourceLimits.memory") == 15
    assert origin.line_of("spec.rollout.waves[0].percent") == 19
    assert origin.line_of("spec.rollout.waves[1].percent") == 21
    assert origin.line_of("spec.rollout.stable.version") == 16
    assert origin.line_of("nowhere") == 4


def test_documents_are_in_order_of_file_and_place_whatever_the_order_they_come_in() -> None:
    files = {
        "b.yaml": files_of(group("b"))["00-devicegroup.yaml"],
        "a.yaml": files_of(group("a"))["00-devicegroup.yaml"],
    }
    two = files["b.yaml"] + b"---\n" + files["a.yaml"]
    assert [document.metadata.name for document in read_documents(files).documents] == ["a", "b"]
    assert [
        (document.metadata.name, document.origin.index) for document in read_documents({"x.yaml": two}).documents
    ] == [
        ("b", 0),
        ("a", 1),
    ]


def test_origins_do_not_count_in_equality() -> None:
    content = files_of(group())["00-devicegroup.yaml"]
    [one] = read_documents({"a.yaml": content}).documents
    [other] = read_documents({"b.yaml": b"\n\n" + content}).documents
    assert one == other
    assert one.origin != other.origin


# ---------------------------------------------------------------- others' documents, and what was lost


def test_documents_of_others_are_skipped_and_listed() -> None:
    result = read_documents({"a.yaml": b"replicas: 3\n---\napiVersion: apps/v1\nkind: Deployment\n---\n- 1\n"})
    assert result.problems == ()
    assert result.skipped == (
        Skipped("a.yaml", 1, "", ""),
        Skipped("a.yaml", 3, "apps/v1", "Deployment"),
        Skipped("a.yaml", 6, "", ""),
    )


@pytest.mark.parametrize(
    ("api", "kind"),
    [
        ("v1", "ConfigMap"),
        ("fleet.apexlogic.ai/v1", "FleetArtifact"),
        ("platform.apexlogic.ai/v1", "Tenant"),
        ("example.com/v1", "Model"),
        ("example.com/v1", "Hold"),
        ("ml.example.com/v1", "DeviceGroup"),
        ("kustomize.config.k8s.io/v1beta1", "Kustomization"),
    ],
)
def test_kinds_of_others_are_theirs(api: str, kind: str) -> None:
    result = read_documents(
        {"a.yaml": f"apiVersion: {api}\nkind: {kind}\nmetadata: {{name: a}}\nspec: {{x: !y 1}}\n".encode()}
    )
    assert result.problems == ()
    assert len(result.skipped) == 1


@pytest.mark.parametrize(
    ("api", "kind", "field"),
    [
        ("apexlogic.ai/v1beta1", "Model", "apiVersion"),
        ("apexlogic.ai", "Hold", "apiVersion"),
        ("ApexLogic.ai/v1", "Hold", "apiVersion"),
        ("apexlogic.com/v1", "Hold", "apiVersion"),
        ("mobileai.apexlogic.ai/v1", "OnDeviceModel", "apiVersion"),
        ("mobile.apexlogic.com/v1", "Model", "apiVersion"),
        ("finops.apexlogic.ai/v1", "FinOpsPolicy", "apiVersion"),
        ("v1", "EdgeAIDeployment", "apiVersion"),
        ("example.com/v1", "EdgeAiDeployments", "apiVersion"),
        ("apexlogic.ai/v1", "devicegroup", "kind"),
        ("apexlogic.ai/v1", "Deployment", "kind"),
    ],
)
def test_what_only_looks_like_ours_is_told_and_not_skipped(api: str, kind: str, field: str) -> None:
    result = read_documents(
        {"a.yaml": f"apiVersion: {api}\nkind: {kind}\nmetadata: {{name: a}}\nspec: {{}}\n".encode()}
    )
    assert [(problem.code, problem.field) for problem in result.problems] == [("F109", field)]
    assert result.skipped == ()


def test_what_could_not_be_read_is_remembered_by_name() -> None:
    broken = files_of(model("triage", spec__versions=[]), group("kiosks", spec__cluster=7))
    lost = read_documents(broken).lost
    assert lost.names == {("Model", "triage"), ("DeviceGroup", "kiosks")}
    assert lost.may_hold("Model", "triage")
    assert lost.may_hold("Model")
    assert not lost.may_hold("Model", "other")
    assert not lost.may_hold("PriceBook")


def test_a_file_that_could_not_be_read_to_its_end_may_have_held_anything() -> None:
    lost = read_documents({"a.yaml": b"a: [\n"}).lost
    assert lost.files == ("a.yaml",)
    assert lost.may_hold("PriceBook", "any")
    assert not Lost().may_hold("PriceBook", "any")


def test_of_one_object_twice_the_first_is_kept() -> None:
    one, other = group(), group(spec__deviceCount=11)
    result = read_documents({**files_of(one), "z.yaml": files_of(other)["00-devicegroup.yaml"]})
    assert [problem.code for problem in result.problems] == ["F108"]
    assert [document.spec.device_count for document in result.documents] == [10]


def test_one_name_in_two_namespaces_is_two_objects() -> None:
    result = read_documents(files_of(deployment(), deployment(metadata__namespace="other")))
    assert result.problems == ()
    assert len(result.documents) == 2


# ---------------------------------------------------------------- rules that hold for all kinds


def figures_below(shape: Shape, path: str) -> list[str]:
    """The paths of all figures with bounds, lists as [0], free keys as *."""
    if isinstance(shape, ListShape):
        return figures_below(shape.item, f"{path}[0]")
    if isinstance(shape, MapShape):
        return figures_below(shape.value, f"{path}.*")
    if not isinstance(shape, ObjectShape):
        return []
    if shape.type is GradedFigure:
        return [path]
    return [found for name, field in shape.fields.items() for found in figures_below(field.shape, f"{path}.{name}")]


FIGURES = [(kind.name, path) for kind in KINDS for path in figures_below(shape_of(kind.spec), "spec")]


def test_there_are_figures_to_check() -> None:
    assert {kind for kind, _ in FIGURES} == {"EdgeAIDeployment", "Model", "PriceBook"}
    assert len(FIGURES) >= 8


@pytest.mark.parametrize(("kind", "path"), FIGURES)
def test_the_bounds_of_every_figure_are_checked(kind: str, path: str) -> None:
    away = {"endpoint": "https://edge.example.com", "jurisdiction": "EU"}
    whole = {"EdgeAIDeployment": deployment(spec__offload=away), "Model": model(), "PriceBook": price_book()}
    document: dict[str, Any] = whole[kind]
    place: Any = document
    *parents, last = path.replace("[0]", ".0").split(".")
    for key in parents:
        if isinstance(place, list):
            place = place[int(key)]
        elif key == "*":
            place = place[sorted(place)[0]]
        else:
            place = place.setdefault(key, {})
    place["thing" if last == "*" else last] = {"value": 1, "low": 2, "high": 0}
    problems = read_documents(files_of(document)).problems
    where = path.removesuffix("*")
    assert [problem.code for problem in problems] == ["F124", "F124"]
    for problem in problems:
        assert problem.field.endswith((".low", ".high"))
        assert where.rpartition(".")[2] in problem.field


def types_below(shape: Shape) -> set[type]:
    """All types that a shape is made of."""
    if isinstance(shape, ListShape):
        return types_below(shape.item)
    if isinstance(shape, MapShape):
        return types_below(shape.value)
    if not isinstance(shape, ObjectShape):
        return set()
    return {shape.type}.union(*(types_below(field.shape) for field in shape.fields.values()))


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_a_kind_is_made_of_frozen_types_with_slots(kind: Kind) -> None:
    for found in types_below(shape_of(kind.spec)):
        parameters: Any = getattr(found, "__dataclass_params__")  # noqa: B009 - what every dataclass has, and no type says
        assert parameters.frozen, found
        assert "__slots__" in vars(found), found


def test_depth_is_counted_in_levels_not_in_brackets() -> None:
    wide = "[" + "[], " * 500 + "]"
    assert read_documents({"a.yaml": wide.encode()}).problems == ()
    fits, too_deep = ("[" * depth + "]" * depth for depth in (MAX_DEPTH, MAX_DEPTH + 1))
    assert read_documents({"a.yaml": fits.encode()}).problems == ()
    assert [problem.code for problem in read_documents({"a.yaml": too_deep.encode()}).problems] == ["F112"]


def test_an_on_device_model_needs_no_percentage_where_it_says_nothing_of_a_strategy() -> None:
    assert read_documents(files_of(on_device())).problems == ()
    codes = [problem.code for problem in read_documents(files_of(on_device(spec__updateStrategy={}))).problems]
    assert codes == ["F128"]


@pytest.mark.parametrize(
    ("name", "says"),
    [
        (
            "shop.north",
            'expected a name without "." (RFC 1123 label), such as "camera-emea-1"; did you mean "shop-north"?',
        ),
        ("a" * 64, "expected at most 63 characters between two dots"),
    ],
)
def test_a_group_is_named_as_its_service_and_its_devices_can_be(name: str, says: str) -> None:
    """Before, a name with a dot was rendered to a Service that no cluster takes and a document that no device reads."""
    text = "apiVersion: apexlogic.ai/v1\nkind: DeviceGroup\nmetadata: {{name: {}}}\nspec: {}\n"
    sound = (
        "{cluster: c, deviceCount: 1, hardware: {class: box, arch: arm64, cpu: '1', memory: 1Gi},"
        " network: {priceClass: wired}, jurisdiction: EU, owner: {team: t}}"
    )
    [problem] = read_documents({"a.yaml": text.format(name, sound).encode()}).problems
    assert (problem.code, problem.line, problem.field) == ("F104", 3, "metadata.name")
    assert says in str(problem)
    assert not read_documents({"a.yaml": text.format("a" * 63, sound).encode()}).problems


@pytest.mark.parametrize(
    ("old", "new", "hint"),
    [
        ('"1.0.0"}', '"v1.0.0"}', 'did you mean "1.0.0"?'),
        ("amd64", "x86_64", 'did you mean "amd64"?'),
        ("\n---\n", "\n", 'the first one is on line 3; objects in one file are separated by lines of "---"'),
        ("256Mi", "1 Gi", 'did you mean "1Gi"?'),
        ("name: basket-kiosks", "name: Basket_Kiosks", 'did you mean "basket-kiosks"?'),
        ("500m", "{{ cpu }}", 'a template such as "{{ name }}" is not filled in'),
    ],
)
def test_a_usual_slip_is_named(old: str, new: str, hint: str) -> None:
    """In the fleet that docs/fleet.md begins with."""
    page = (Path(__file__).parents[2] / "docs/fleet.md").read_text("utf-8")
    sound = page.partition("```yaml\n")[2].partition("```")[0]
    assert read_documents({"a.yaml": sound.encode()}).problems == ()
    assert old in sound
    problems = read_documents({"a.yaml": sound.replace(old, new, 1).encode()}).problems
    assert hint in [problem.hint for problem in problems]


def test_what_a_merge_left_undone_is_named_at_its_first_line() -> None:
    text = "apiVersion: apexlogic.ai/v1\n<<<<<<< HEAD\nkind: Hold\n=======\nkind: Model\n>>>>>>> change\n"
    (problem,) = read_documents({"a.yaml": text.encode()}).problems
    assert (problem.line, problem.got) == (2, "a merge conflict")
