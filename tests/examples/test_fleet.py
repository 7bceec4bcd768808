"""The example fleet: sound, in step with the built models, and rich enough to show what Trimtab does."""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from examples.models.manifests import expected
from trimtab_config.cli import main
from trimtab_config.cli.fleet import open_fleet
from trimtab_config.cost.estimate import core_hour, estimate
from trimtab_config.render.bundle import Bundle, Compiler
from trimtab_config.spec.kinds import Accelerator, Arch, Connectivity, PowerSource, Tier

if TYPE_CHECKING:
    from trimtab_config.catalog import Catalog

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
FLEET = EXAMPLES / "fleet"


@pytest.fixture(scope="module")
def catalog() -> Catalog:
    return open_fleet(FLEET)


@pytest.fixture(scope="module")
def bundles(catalog: Catalog) -> dict[str, Bundle]:
    compiler = Compiler(catalog)
    found = {}
    for name in catalog.groups:
        bundle, problems = compiler.compile(name)
        assert problems == ()
        assert bundle is not None
        found[name] = bundle
    return found


@pytest.fixture(scope="module")
def index() -> dict[str, Any]:
    data: dict[str, Any] = json.loads((EXAMPLES / "models" / "index.json").read_text(encoding="utf-8"))
    return data


def test_validation_finds_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["validate", str(FLEET), "--as-of", "2026-11-22"]) == 0
    assert capsys.readouterr().out == ""


def test_every_group_renders(bundles: dict[str, Bundle]) -> None:
    assert len(bundles) >= 12
    assert all(bundle.objects for bundle in bundles.values())


def test_the_groups_differ_as_real_ones_do(catalog: Catalog) -> None:
    specs = [group.spec for group in catalog.groups.values()]
    labels = [group.metadata.labels for group in catalog.groups.values()]
    assert {one["region"] for one in labels} == {"EMEA", "AMER", "APAC", "LATAM"}
    assert {one["deviceType"] for one in labels} == {"smart-camera", "kiosk", "gateway", "phone"}
    assert {spec.hardware.arch for spec in specs} == {Arch.AMD64, Arch.ARM64}
    assert {Accelerator.NONE, Accelerator.CUDA, Accelerator.NPU} == {spec.hardware.accelerator for spec in specs}
    assert {spec.connectivity for spec in specs} == set(Connectivity)
    assert {spec.power.source for spec in specs} == set(PowerSource)
    assert len({spec.jurisdiction for spec in specs}) >= 6
    assert len({spec.network.price_class for spec in specs}) >= 3


def test_manifests_are_in_step_with_the_index_of_the_builder() -> None:
    for path, text in expected(EXAMPLES).items():
        assert (EXAMPLES / path).read_text(encoding="utf-8") == text, "run examples/models/manifests.py"


def test_every_digest_and_size_is_that_of_a_committed_file(catalog: Catalog) -> None:
    named = [
        (variant.digest, variant.size)
        for model in catalog.models.values()
        for version in model.spec.versions
        for variant in version.variants
    ]
    named += [(model.spec.checksum, model.spec.size) for model in catalog.on_device_models.values()]
    assert len(named) > 12
    for digest, size in named:
        content = (EXAMPLES / "artifacts" / digest.path).read_bytes()
        assert hashlib.sha256(content).hexdigest() == digest.hex
        assert len(content) == size


def test_two_models_have_several_versions_with_every_tier_and_a_third_takes_text(catalog: Catalog) -> None:
    assert set(catalog.models) == {"triage", "digits", "claims"}
    for model in (catalog.models["triage"], catalog.models["digits"]):
        assert len(model.spec.versions) >= 2
        for version in model.spec.versions:
            assert {variant.tier for variant in version.variants} == {Tier.LITE, Tier.STANDARD, Tier.PREMIUM}
    [claims] = catalog.models["claims"].spec.versions
    assert {variant.tier for variant in claims.variants} == {Tier.LITE, Tier.STANDARD}


def test_all_tiers_are_in_use_so_that_the_choice_is_seen(bundles: dict[str, Bundle]) -> None:
    used = {(wanted.model, wanted.target.tier) for bundle in bundles.values() for wanted in bundle.desired.models}
    for model in ("triage", "digits"):
        assert {(model, "lite"), (model, "standard"), (model, "premium")} <= used


def test_nothing_runs_a_version_that_is_bad_on_purpose(bundles: dict[str, Bundle]) -> None:
    running = {
        (wanted.model, artifact.version)
        for bundle in bundles.values()
        for wanted in bundle.desired.models
        for artifact in (wanted.target, wanted.stable)
        if artifact is not None
    }
    good = {("triage", "1.0.0"), ("triage", "1.1.0"), ("digits", "2.1.0"), ("claims", "1.0.0")}
    assert running == good | {("triage-mobile", "1.1.0")}


def test_one_deployment_is_on_its_way_in_waves(bundles: dict[str, Bundle]) -> None:
    [first] = bundles["gateway-emea"].desired.models
    [other] = bundles["gateway-andes"].desired.models
    assert first.percent == 100
    assert other.percent == 10
    assert other.stable is not None
    assert other.stable.version == "1.0.0"


def test_a_group_that_no_model_may_reach_renders_empty(bundles: dict[str, Bundle]) -> None:
    assert bundles["phone-apac"].desired.models == ()


def test_every_deployment_has_the_tags_that_its_policy_requires(catalog: Catalog) -> None:
    documents = [*catalog.deployments.values(), *catalog.on_device_models.values()]
    assert len(documents) >= 5
    for document in documents:
        policy = catalog.finops_policies[document.spec.finops_policy_ref]
        for tag in policy.spec.required_tags:
            attribute = {"businessUnit": "business_unit"}.get(tag, tag)
            assert getattr(document.spec.tags, attribute), f"{document.metadata.name} has no tag {tag}"


def test_every_row_has_a_cost_with_bounds(catalog: Catalog) -> None:
    report, problems = estimate(catalog)
    assert problems == ()
    assert len(report.rows) >= 14
    for row in report.rows:
        assert 0 <= row.total.low <= row.total.value <= row.total.high
        assert row.total.value > 0
        if row.kind == "EdgeAIDeployment":
            assert row.absent == {}
    [total] = report.totals
    assert total.currency == "EUR"


@pytest.mark.parametrize(("version", "within"), [("2.0.0", True), ("2.1.0", True), ("2.2.0", False)])
def test_the_ceiling_lets_digits_2_1_0_pass_by_far_and_2_2_0_by_no_means(
    catalog: Catalog, index: dict[str, Any], version: str, within: bool
) -> None:
    """On every group and for every tier that digits may run in, with the CPU seconds that the builder measured.

    Those of the good versions have cold caches in them, so two thirds of the ceiling are far enough.
    """
    ceiling = catalog.finops_policies["finops-vision"].spec.ceilings.cost_per_1k_inferences
    chosen = {"cam-amer": "lite", "cam-apac": "standard", "cam-emea": "premium"} | dict.fromkeys(
        ("kiosk-emea", "kiosk-amer", "kiosk-apac", "kiosk-latam"), "standard"
    )
    for name, tier in chosen.items():
        [entry] = [
            one for one in index["variants"] if (one["model"], one["version"], one["tier"]) == ("digits", version, tier)
        ]
        seconds = entry["measured"]["cpuSecondsPerInference"]
        hour, currency, _ = core_hour(catalog, name)
        assert currency == ceiling.currency
        if within:
            assert seconds["high"] * 1000 / 3600 * float(hour.high) < float(ceiling.amount) * 2 / 3
        else:
            assert seconds["low"] * 1000 / 3600 * float(hour.low) > float(ceiling.amount) * 2


@pytest.mark.parametrize(
    ("model", "good", "bad"), [("triage", "1.1.0", "1.2.0"), ("digits", "2.1.0", "2.2.0")], ids=["triage", "digits"]
)
def test_the_bad_merge_of_the_demo_is_one_line(tmp_path: Path, model: str, good: str, bad: str) -> None:
    """The bad version is released in the Model, so that one line of a deployment asks for it, and every group renders."""
    shutil.copytree(FLEET, tmp_path / "fleet")
    path = tmp_path / "fleet" / "deployments" / f"{model}.yaml"
    text = path.read_text(encoding="utf-8")
    path.write_text(text.replace(f'    version: "{good}"\n', f'    version: "{bad}"\n', 1), encoding="utf-8")
    catalog = open_fleet(tmp_path / "fleet")
    compiler = Compiler(catalog)
    reached = set()
    for name in catalog.groups:
        bundle, problems = compiler.compile(name)
        assert problems == ()
        assert bundle is not None
        reached |= {wanted.target.version for wanted in bundle.desired.models if wanted.model == model}
    assert bad in reached
