"""What is watched follows from the tree in Git: policies, who refers to them, and what a core-hour costs there."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path

import pytest

from trimtab_bot.findings import Concern
from trimtab_bot.watch import CoreHour, Unpriced, WatchedGroup, WatchTarget, watch_targets
from trimtab_config.catalog import Catalog, build_catalog
from trimtab_config.sources.folder import load_folder
from trimtab_config.spec.reader import read_documents
from trimtab_kernel.money import Grade
from trimtab_kernel.verdict import Limit, Side

FLEET = Path(__file__).parents[2] / "examples/fleet"

TREE = {
    "groups.yaml": """
apiVersion: apexlogic.ai/v1
kind: DeviceGroup
metadata: {name: kiosks, namespace: fleet, labels: {deviceType: kiosk, region: EMEA}}
spec:
  cluster: c1
  deviceCount: 4
  hardware: {class: kiosk-a, arch: arm64, cpu: "4", memory: 2Gi}
  network: {priceClass: wired}
  jurisdiction: EU
  owner: {team: clinics}
---
apiVersion: apexlogic.ai/v1
kind: DeviceGroup
metadata: {name: gateways, namespace: fleet, labels: {deviceType: gateway, region: EMEA}}
spec:
  cluster: c1
  deviceCount: 4
  hardware: {class: gateway-a, arch: arm64, cpu: 500m, memory: 2Gi}
  network: {priceClass: wired}
  jurisdiction: EU
  owner: {team: clinics}
---
apiVersion: apexlogic.ai/v1
kind: DeviceGroup
metadata: {name: phones, namespace: fleet, labels: {deviceType: phone, region: MARS}}
spec:
  cluster: c1
  deviceCount: 4
  hardware: {class: phone-a, arch: arm64, cpu: "8", memory: 6Gi, os: android, apiLevel: 33}
  network: {priceClass: mobile}
  jurisdiction: EU
  owner: {team: clinics}
""",
    "policies.yaml": """
apiVersion: apexlogic.ai/v1
kind: AIAlignmentPolicy
metadata: {name: clinical, namespace: fleet}
spec: {fairness: {minimum: 0.8, minimumSample: 300, confidence: 0.9}}
---
apiVersion: apexlogic.ai/v1
kind: AIAlignmentPolicy
metadata: {name: silent, namespace: fleet}
spec: {dataEgress: {allowed: false}}
---
apiVersion: apexlogic.ai/v1
kind: FinOpsPolicy
metadata: {name: frugal, namespace: fleet}
spec: {ceilings: {costPer1kInferences: {amount: 0.0001, currency: EUR}, minimumSample: 50}}
---
apiVersion: apexlogic.ai/v1
kind: FinOpsPolicy
metadata: {name: generous, namespace: fleet}
spec: {ceilings: {costPer1kInferences: {amount: 5, currency: EUR}}}
---
apiVersion: apexlogic.ai/v1
kind: FinOpsPolicy
metadata: {name: budget-only, namespace: fleet}
spec: {budget: {monthly: {amount: 5, currency: EUR}}}
""",
    "prices.yaml": """
apiVersion: apexlogic.ai/v1
kind: PriceBook
metadata: {name: book, namespace: fleet}
spec:
  currency: EUR
  validFrom: 2026-10-01
  validUntil: 2026-12-31
  regions:
    EMEA:
      deviceHour: {kiosk-a: {value: 0.08, low: 0.04, high: 0.1, grade: measured}, gateway-a: 0.02}
      energyPerKWh: 0.2
      networkPerGB: {wired: 0.01}
""",
    "models.yaml": """
apiVersion: apexlogic.ai/v1
kind: Model
metadata: {name: triage, namespace: fleet}
spec:
  versions: [{version: "1.0.0", variants: [VARIANT]}]
  alignment:
    attribute: {input: x, column: 1, cohorts: {male: {value: 1}, female: {value: 2}}}
    outcome: {output: label, positive: 1}
---
apiVersion: apexlogic.ai/v1
kind: Model
metadata: {name: digits, namespace: fleet}
spec: {versions: [{version: "1.0.0", variants: [VARIANT]}]}
""".replace("VARIANT", f"{{tier: standard, digest: 'sha256:{'0' * 64}', size: 1000, uri: 's3://models/x.onnx'}}"),
}


def deployment(name: str, model: str, device_type: str, **references: str) -> str:
    lines = "".join(f"\n  {key}: {value}" for key, value in references.items())
    return f"""
apiVersion: apexlogic.ai/v1
kind: EdgeAIDeployment
metadata: {{name: {name}, namespace: fleet}}
spec:
  modelRef: {{name: {model}, version: "1.0.0"}}
  targetDevices: {{labels: {{deviceType: {device_type}}}}}
  resourceLimits: {{cpu: 500m, memory: 256Mi}}{lines}
"""


def catalog_of(*deployments: str) -> Catalog:
    sources = {**TREE, "deployments.yaml": "---".join(deployments)}
    read = read_documents({name: text.encode() for name, text in sources.items()})
    assert not read.problems, "\n".join(str(problem) for problem in read.problems)
    catalog, _ = build_catalog(read.documents)
    return catalog


def targets(*deployments: str) -> dict[tuple[Concern, str, str], WatchTarget]:
    return {(t.concern, t.model, t.policy): t for t in watch_targets(catalog_of(*deployments))}


def test_a_deployment_is_watched_for_each_policy_that_it_refers_to() -> None:
    found = targets(
        deployment("a", "triage", "kiosk", finopsPolicyRef="frugal", aiAlignmentPolicyRef="clinical"),
    )
    assert found == {
        (Concern.FAIRNESS, "triage", "clinical"): WatchTarget(
            concern=Concern.FAIRNESS,
            model="triage",
            policy="clinical",
            limit=Limit(Side.AT_LEAST, 0.8, 300),
            confidence=0.9,
            unit="ratio",
            groups=(WatchedGroup("kiosks", Unpriced("fairness needs no price")),),
            cohorts=("female", "male"),
        ),
        (Concern.COST, "triage", "frugal"): WatchTarget(
            concern=Concern.COST,
            model="triage",
            policy="frugal",
            limit=Limit(Side.AT_MOST, 0.0001, 50),
            confidence=0.95,
            unit="EUR",
            groups=(
                WatchedGroup(
                    "kiosks",
                    # A device-hour of four cores.
                    CoreHour(Decimal("0.02"), Decimal("0.01"), Decimal("0.025"), "EUR", Grade.MEASURED, "book"),
                ),
            ),
        ),
    }


def test_deployments_under_one_policy_are_pooled_and_under_two_are_not() -> None:
    found = targets(
        deployment("a", "triage", "kiosk", finopsPolicyRef="frugal"),
        deployment("b", "triage", "gateway", finopsPolicyRef="frugal"),
        deployment("c", "triage", "phone", finopsPolicyRef="generous"),
    )
    groups = {key[2]: [group.name for group in target.groups] for key, target in found.items()}
    assert groups == {"frugal": ["gateways", "kiosks"], "generous": ["phones"]}


def test_half_a_core_makes_a_core_hour_twice_the_device_hour() -> None:
    found = targets(deployment("b", "triage", "gateway", finopsPolicyRef="frugal"))
    (group,) = found[Concern.COST, "triage", "frugal"].groups
    assert isinstance(group.price, CoreHour)
    assert group.price.value == Decimal("0.04")
    assert group.price.grade is Grade.DECLARED
    assert (group.price.low, group.price.high) == (Decimal("0.02"), Decimal("0.06"))  # a bare declared price: 50 %


def test_a_group_that_no_book_prices_says_so_instead_of_costing_nothing() -> None:
    found = targets(deployment("c", "triage", "phone", finopsPolicyRef="frugal"))
    (group,) = found[Concern.COST, "triage", "frugal"].groups
    assert group.price == Unpriced('F402 "MARS"')


def test_a_model_that_declares_no_attribute_is_watched_and_says_why_it_cannot_be_judged() -> None:
    found = targets(deployment("a", "digits", "kiosk", aiAlignmentPolicyRef="clinical"))
    target = found[Concern.FAIRNESS, "digits", "clinical"]
    assert target.problem == "the model declares no sensitive attribute (spec.alignment)"
    assert target.cohorts == ()


@pytest.mark.parametrize(
    "references",
    [
        {},
        {"aiAlignmentPolicyRef": "silent"},
        {"finopsPolicyRef": "budget-only"},
        {"finopsPolicyRef": "not-there", "aiAlignmentPolicyRef": "not-there"},
    ],
)
def test_without_a_limit_nothing_is_watched(references: dict[str, str]) -> None:
    assert targets(deployment("a", "triage", "kiosk", **references)) == {}


def test_an_on_device_model_is_watched_under_its_model_id() -> None:
    checksum = "sha256:" + "a" * 64
    mobile = f"""
apiVersion: mobileai.apexlogic.com/v1
kind: OnDeviceModel
metadata: {{name: classifier, namespace: fleet}}
spec:
  modelId: img-cls-003
  version: "1.0.0"
  modelUri: s3://bucket/model.tflite
  checksum: {checksum}
  finopsPolicyRef: generous
"""
    (target,) = watch_targets(catalog_of(mobile))
    assert (target.model, [group.name for group in target.groups]) == ("img-cls-003", ["phones"])


def test_the_example_fleet_is_watched_completely_and_every_group_has_its_price() -> None:
    read = read_documents(load_folder(FLEET))
    catalog, problems = build_catalog(read.documents)
    assert not read.problems
    assert not problems
    found = watch_targets(catalog)
    triage = next(t for t in found if (t.concern, t.model) == (Concern.FAIRNESS, "triage"))
    assert triage.limit.bound == 0.8
    assert len(triage.cohorts) == 2
    assert not triage.problem
    costs = [target for target in found if target.concern is Concern.COST]
    assert {target.model for target in costs} >= {"triage", "digits"}
    assert all(isinstance(group.price, CoreHour) for target in costs for group in target.groups)
    assert found == watch_targets(catalog)
