"""Who runs what: waves, holds, variants, on-device models, and the digest of where it comes from."""

from __future__ import annotations

import random
from fractions import Fraction
from typing import TYPE_CHECKING

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from tests.config.small_fleet import (
    Yaml,
    catalog_of,
    catalog_of_files,
    changed,
    deployment,
    files_of,
    group,
    hold,
    model,
    on_device,
    phones,
    price_book,
    variant,
)
from trimtab_config.plan.planner import plan_group
from trimtab_config.plan.rollouts import percent_for
from trimtab_config.plan.sources import source_json
from trimtab_config.render.bundle import fleet_problems
from trimtab_config.spec.kinds import Rollout, Wave
from trimtab_kernel.canonical import digest_of

if TYPE_CHECKING:
    from trimtab_config.plan.placement import GroupPlan, Placement

WAVES: Yaml = {
    "stable": {"version": "1.0.0"},
    "waves": [
        {"name": "first", "groups": ["pilot"]},
        {"name": "tenth", "percent": 10},
        {"name": "all", "percent": 100},
    ],
}


def planned(*objects: Yaml, of: str = "kiosks") -> GroupPlan:
    plan, problems = plan_group(catalog_of(*objects), of)
    assert problems == ()
    return plan


def only(plan: GroupPlan) -> Placement:
    [placement] = plan.placements
    return placement


def refused(*objects: Yaml, of: str = "kiosks") -> list[str]:
    plan, problems = plan_group(catalog_of(*objects), of)
    assert problems
    assert len(plan.placements) < len(objects)
    return [str(problem) for problem in problems]


# ---------------------------------------------------------------- selection and waves


def test_without_waves_every_device_gets_the_version() -> None:
    placement = only(planned(group(), model(), deployment()))
    assert placement.target.version == "1.1.0"
    assert placement.percent == 100
    assert placement.stable is None
    assert placement.salt == "fleet/triage-kiosks/EdgeAIDeployment"


def test_a_deployment_reaches_only_groups_that_have_all_its_labels() -> None:
    objects = (group(), group("far", metadata__labels={"region": "APAC", "deviceType": "kiosk"}), model())
    wanted = deployment(spec__targetDevices__labels={"deviceType": "kiosk", "region": "APAC"})
    assert planned(*objects, wanted).placements == ()
    assert only(planned(*objects, wanted, of="far")).target.version == "1.1.0"


def test_a_group_in_another_namespace_is_reached_too() -> None:
    assert only(planned(group(metadata__namespace="clinics"), model(), deployment())).model == "triage"


@pytest.mark.parametrize(
    ("wave", "pilot", "others"),
    [
        ("first", Fraction(100), Fraction(0)),
        ("tenth", Fraction(100), Fraction(10)),
        ("all", Fraction(100), Fraction(100)),
    ],
)
def test_a_wave_by_name_reaches_its_groups_whole_and_one_by_percent_the_rest(
    wave: str, pilot: Fraction, others: Fraction
) -> None:
    objects = (group(), group("pilot"), model(), deployment(spec__rollout={**WAVES, "wave": wave}))
    first, second = only(planned(*objects, of="pilot")), only(planned(*objects))
    assert (first.percent, second.percent) == (pilot, others)
    assert second.stable is not None
    assert second.stable.version == "1.0.0"
    assert second.wave == wave


def test_the_last_wave_is_the_current_one_unless_said() -> None:
    assert only(planned(group(), group("pilot"), model(), deployment(spec__rollout=WAVES))).percent == 100


def test_without_a_stable_version_the_others_keep_what_they_have() -> None:
    rollout = {"waves": [{"name": "tenth", "percent": 10}]}
    placement = only(planned(group(), model(), deployment(spec__rollout=rollout)))
    assert placement.percent == 10
    assert placement.stable is None


def test_a_stable_version_that_is_the_target_is_no_second_version() -> None:
    rollout = {"stable": {"version": "1.1.0"}, "waves": [{"name": "tenth", "percent": 10}]}
    assert only(planned(group(), model(), deployment(spec__rollout=rollout))).stable is None


@given(st.data())
def test_advancing_a_wave_never_takes_a_device_out(data: st.DataObject) -> None:
    """Whatever the waves are, the share of each group never shrinks from one wave to the next."""
    groups = ("a", "b", "c")
    waves = tuple(
        Wave(
            f"w{index}",
            percent=data.draw(st.fractions(0, 100)) if by_percent else None,
            groups=() if by_percent else (data.draw(st.sampled_from(groups)),),
        )
        for index, by_percent in enumerate(data.draw(st.lists(st.booleans(), min_size=1, max_size=6)))
    )
    for name in groups:
        shares = [percent_for(Rollout(waves, wave.name), name) for wave in waves]
        assert shares == sorted(shares)
        assert all(0 <= share <= 100 for share in shares)


# ---------------------------------------------------------------- holds


def test_a_held_version_falls_back_to_stable_for_everyone() -> None:
    plan = planned(group(), model(), deployment(spec__rollout={"stable": {"version": "1.0.0"}}), hold())
    placement = only(plan)
    assert placement.asked == "1.1.0"
    assert (placement.target.version, placement.percent, placement.stable) == ("1.0.0", Fraction(100), None)
    [held] = placement.held
    assert (held.version, held.hold, held.reason) == ("1.1.0", "hold", "biased")


def test_validation_says_that_a_held_version_is_asked_for() -> None:
    rollout = {"stable": {"version": "1.0.0"}}
    [problem] = fleet_problems(catalog_of(group(), model(), deployment(spec__rollout=rollout), hold(), price_book()))
    assert problem.code == "F304"
    assert problem.field == "spec.modelRef.version"
    assert "in kiosks" in problem.got
    assert "1.0.0 is rendered instead" in problem.expected


def test_a_held_version_without_stable_is_refused() -> None:
    [text] = refused(group(), model(), deployment(), hold())
    assert "F303 got triage 1.1.0, held in group kiosks by hold" in text


def test_a_stable_version_that_is_held_too_is_refused() -> None:
    rollout = {"stable": {"version": "1.0.0"}, "waves": [{"name": "tenth", "percent": 10}]}
    texts = refused(group(), model(), deployment(spec__rollout=rollout), hold(spec__version="1.0.0"))
    assert len(texts) == 1
    assert "spec.rollout.stable.version: F303" in texts[0]


def test_a_held_stable_version_that_no_device_needs_is_left_out() -> None:
    rollout = {"stable": {"version": "1.0.0"}}
    placement = only(planned(group(), model(), deployment(spec__rollout=rollout), hold(spec__version="1.0.0")))
    assert (placement.target.version, placement.stable) == ("1.1.0", None)


def test_a_hold_on_named_groups_leaves_the_others_alone() -> None:
    objects = (group(), group("pilot"), model(), deployment(), hold(spec__groups=["pilot"]))
    assert only(planned(*objects)).target.version == "1.1.0"
    assert "F303" in refused(*objects, of="pilot")[0]


def test_a_hold_on_a_digest_keeps_out_the_version_that_would_bring_it() -> None:
    rollout = {"stable": {"version": "1.0.0"}}
    bad = hold(spec__version=None, spec__digest="sha256:" + "b" * 64)
    assert only(planned(group(), model(), deployment(spec__rollout=rollout), bad)).target.version == "1.0.0"


# ---------------------------------------------------------------- variants

TIERS = {
    "1.1.0": [
        variant("lite"),
        variant("standard", requirements={"memory": "4Gi"}),
        variant("premium", requirements={"accelerator": "cuda"}),
    ]
}


@pytest.mark.parametrize(
    ("hardware", "tier"),
    [
        ({"memory": "2Gi"}, "lite"),
        ({"memory": "4Gi"}, "standard"),
        ({"memory": "2Gi", "accelerator": "cuda", "gpus": 1}, "premium"),
    ],
)
def test_the_best_tier_that_fits_is_chosen(hardware: Yaml, tier: str) -> None:
    there = group(spec__hardware={"class": "box", "arch": "arm64", "cpu": "4", **hardware})
    placement = only(planned(there, model(versions=TIERS), deployment()))
    assert placement.target.artifact.tier == tier
    assert placement.target.why[0] == f"{tier}: best tier that fits"


def test_the_reasons_say_why_a_better_tier_was_turned_down() -> None:
    placement = only(planned(group(), model(versions=TIERS), deployment()))
    assert placement.target.why == (
        "standard: best tier that fits",
        "premium needs accelerator cuda, the group has none",
    )


def test_a_tier_that_is_asked_for_is_taken_even_where_a_better_one_fits() -> None:
    assert only(planned(group(), model(versions=TIERS), deployment(spec__tier="lite"))).target.artifact.tier == "lite"


def test_a_tier_that_is_asked_for_and_does_not_fit_is_refused() -> None:
    [text] = refused(group(), model(versions=TIERS), deployment(spec__tier="premium"))
    assert "F301 got triage 1.1.0, of which no variant fits group kiosks" in text
    assert "premium needs accelerator cuda, the group has none" in text
    assert "standard is not the tier premium that is asked for" in text


@pytest.mark.parametrize(
    ("requirements", "says"),
    [
        ({"arch": ["arm64", "arm"]}, "needs arch arm64 or arm, the group has amd64"),
        ({"os": ["windows"]}, "needs os windows, the group has linux"),
        ({"accelerator": "npu"}, "needs accelerator npu, the group has none"),
        ({"memory": "16Gi"}, "needs memory 16Gi, the group has 8Gi"),
        ({"cpu": "8"}, "needs cpu 8, the group has 4"),
        ({"regions": ["APAC"]}, "needs region APAC, the group has EMEA"),
        ({"power": ["battery", "solar"]}, "needs power battery or solar, the group has mains"),
    ],
)
def test_no_fit_names_group_field_and_what_would_fit(requirements: Yaml, says: str) -> None:
    picky = model(versions={"1.1.0": [variant(requirements=requirements)]})
    catalog = catalog_of(group(), picky, deployment())
    _, [problem] = plan_group(catalog, "kiosks")
    assert problem.code == "F301"
    assert problem.field == "spec.modelRef.version"
    assert problem.file == "02-edgeaideployment.yaml"
    assert problem.line > 1
    assert "group kiosks" in problem.got
    assert f"standard {says}" in problem.expected


def test_a_variant_that_peaks_above_the_deployments_memory_limit_does_not_fit() -> None:
    hungry = model(versions={"1.1.0": [variant(profile={"memoryPeak": "600Mi"})]})
    [text] = refused(group(), hungry, deployment())
    assert "peaks at 600Mi of memory, the deployment's limit is 512Mi" in text


def test_the_runtime_serves_onnx_alone() -> None:
    [text] = refused(group(), model(versions={"1.1.0": [variant(format="torchscript")]}), deployment())
    assert "has format torchscript and the runtime serves onnx" in text


def test_the_order_of_variants_in_the_file_does_not_matter() -> None:
    twins = [variant("premium", digest="sha256:" + digit * 64) for digit in "fa5"]
    chosen = set()
    for shift in range(3):
        turned = twins[shift:] + twins[:shift]
        chosen.add(only(planned(group(), model(versions={"1.1.0": turned}), deployment())).target.artifact.digest)
    assert {digest.hex[0] for digest in chosen} == {"5"}


# ---------------------------------------------------------------- what cannot stand together


def test_two_deployments_of_one_model_for_a_group_are_refused() -> None:
    catalog = catalog_of(group(), model(), deployment(), deployment("again"))
    _, [problem] = plan_group(catalog, "kiosks")
    assert problem.code == "F302"
    assert problem.field == "spec.modelRef.name"
    assert "group kiosks" in problem.got
    assert "02-edgeaideployment.yaml" in problem.hint + problem.file


def test_an_edge_deployment_on_phones_is_refused() -> None:
    everywhere = deployment(spec__targetDevices__labels={"region": "EMEA"})
    [text] = refused(phones(), model(), everywhere, of="phones")
    assert "spec.targetDevices.labels: F305 got group phones with os android" in text


# ---------------------------------------------------------------- on-device models


def test_an_on_device_model_is_for_phones_unless_labels_say_otherwise() -> None:
    assert planned(group(), on_device()).placements == ()
    assert only(planned(phones(), on_device(), of="phones")).model == "triage-mobile"
    labels = {"deviceType": "kiosk"}
    assert only(planned(group(), on_device(spec__targetDevices={"labels": labels}))).model == "triage-mobile"


IPHONES = {"class": "phone", "arch": "arm64", "cpu": "6", "memory": "6Gi", "os": "ios", "osVersion": "17.2"}


@pytest.mark.parametrize(
    ("hardware", "targets", "reason"),
    [
        ({}, {"minAPILevel": 34}, "Android API level 33, at least 34 is asked for"),
        ({}, {"minMemoryMB": 8000}, "memory 6Gi is below 8000 MB"),
        ({}, {"regions": ["US"]}, "jurisdiction EU is not among the regions US"),
        (IPHONES, {"minOSVersion": "iOS18"}, "OS version 17.2, at least iOS18 is asked for"),
        (
            {**IPHONES, "osVersion": None},
            {"minOSVersion": "iOS16"},
            "OS version is not declared (spec.hardware.osVersion), at least iOS16",
        ),
    ],
)
def test_a_phone_that_may_not_take_the_model_is_passed_by_with_the_reason(
    hardware: Yaml, targets: Yaml, reason: str
) -> None:
    there = changed(phones(), {f"spec.hardware.{key}": value for key, value in hardware.items()})
    plan = planned(there, on_device(spec__targetDevices=targets), of="phones")
    assert plan.placements == ()
    [skipped] = plan.skipped
    assert reason in skipped.reason


@pytest.mark.parametrize(
    ("hardware", "targets"),
    [
        ({}, {"minAPILevel": 33, "minOSVersion": "iOS18"}),
        (IPHONES, {"minAPILevel": 99, "minOSVersion": "iOS16"}),
        (IPHONES, {"minOSVersion": "17.2.0"}),
        ({}, {"minMemoryMB": 4096, "regions": ["US", "EU"]}),
    ],
)
def test_each_system_is_judged_by_its_own_minimum(hardware: Yaml, targets: Yaml) -> None:
    there = changed(phones(), {f"spec.hardware.{key}": value for key, value in hardware.items()})
    assert only(planned(there, on_device(spec__targetDevices=targets), of="phones")).target.version == "3.0.0"


def test_a_staged_rollout_gives_its_share_of_eligible_devices_and_its_conditions() -> None:
    strategy = {"type": "stagedRollout", "rolloutPercentage": 12.5, "minBatteryLevel": 50, "networkConstraint": "WIFI"}
    placement = only(planned(phones(), on_device(spec__updateStrategy=strategy), of="phones"))
    assert placement.percent == Fraction(25, 2)
    assert placement.stable is None
    assert (placement.conditions.min_battery, placement.conditions.network) == (50, "WIFI")


def test_the_stricter_of_the_groups_and_the_models_network_counts() -> None:
    wifi = phones(spec__network={"priceClass": "wired", "constraint": "WIFI"})
    strategy = {"type": "immediate", "networkConstraint": "UNMETERED"}
    placement = only(planned(wifi, on_device(spec__updateStrategy=strategy), of="phones"))
    assert placement.conditions.network == "WIFI"


def test_an_id_that_is_no_name_is_refused() -> None:
    [text] = refused(phones(), on_device(spec__modelId="Img Cls/3"), of="phones")
    assert 'spec.modelId: F307 got "Img Cls/3"' in text


def test_a_held_on_device_model_is_refused() -> None:
    held = hold(spec__model="triage-mobile", spec__version="3.0.0")
    assert "F303" in refused(phones(), on_device(), held, of="phones")[0]


# ---------------------------------------------------------------- source digest


def test_the_source_digest_is_that_of_the_canonical_sources() -> None:
    objects = (group(), model(), deployment(spec__rollout={**WAVES, "wave": "tenth"}), group("pilot"), price_book())
    catalog = catalog_of(*objects)
    plan, _ = plan_group(catalog, "kiosks")
    placement = only(plan)
    released = {version.version: version for version in catalog.models["triage"].spec.versions}
    sources = source_json(
        placement.document, plan.group, catalog.models["triage"], [released["1.1.0"], released["1.0.0"]]
    )
    assert placement.source_digest == digest_of(sources)


def test_comments_file_names_order_and_holds_play_no_part_in_the_source_digest() -> None:
    objects = [group(), model(), deployment(), price_book()]
    plain = only(planned(*objects)).source_digest
    texts = [yaml.safe_dump(item) for item in objects]
    generator = random.Random(7)  # noqa: S311 - reproducible, not secret
    for _ in range(5):
        generator.shuffle(texts)
        name = f"{generator.randrange(10**9)}.yaml"
        joined = "\n---\n".join(f"# a remark {generator.random()}\n{text} # the end\n" for text in texts)
        plan, problems = plan_group(catalog_of_files({name: joined.encode()}), "kiosks")
        assert problems == ()
        assert only(plan).source_digest == plain
    elsewhere = hold(spec__version="1.0.0")
    assert only(planned(*objects, elsewhere)).source_digest == plain


@pytest.mark.parametrize(
    "other",
    [
        (group(spec__deviceCount=11), model(), deployment()),
        (
            group(),
            model(
                spec__alignment={
                    "attribute": {"input": "features", "column": 0, "cohorts": {"a": {"value": 1}, "b": {"value": 2}}},
                    "outcome": {"output": "out", "positive": 1},
                }
            ),
            deployment(),
        ),
        (group(), model(versions={"1.1.0": [variant(digest="sha256:" + "d" * 64)]}), deployment()),
        (group(), model(), deployment(spec__resourceLimits__cpu="600m")),
        (group(), model(), deployment(metadata__labels={"ring": "outer"})),
    ],
)
def test_a_change_of_deployment_version_or_group_changes_the_source_digest(other: tuple[Yaml, ...]) -> None:
    plain = only(planned(group(), model(), deployment())).source_digest
    assert only(planned(*other)).source_digest != plain


def test_a_field_written_with_its_default_changes_nothing() -> None:
    plain = only(planned(group(), model(), deployment())).source_digest
    said = deployment(spec__tier="auto", spec__workload="DaemonSet", spec__update={"networkConstraint": "ANY"})
    assert only(planned(group(), model(), said)).source_digest == plain


def test_another_version_of_the_model_that_nobody_runs_changes_nothing() -> None:
    only_one = model(versions={"1.1.0": [variant(digest="sha256:" + "b" * 64)]})
    assert (
        only(planned(group(), model(), deployment())).source_digest
        == only(planned(group(), only_one, deployment())).source_digest
    )


@given(st.permutations(range(5)))
def test_the_order_of_files_does_not_matter(order: list[int]) -> None:
    objects = [group(), model(), deployment(), price_book(), phones()]
    contents = list(files_of(*objects).values())
    shuffled = {f"{place}.yaml": contents[index] for place, index in enumerate(order)}
    plan, _ = plan_group(catalog_of_files(shuffled), "kiosks")
    assert plan == planned(*objects)
