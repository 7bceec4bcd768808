"""The catalog: names, references, selection by labels, dates."""

from __future__ import annotations

import datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.config.small_fleet import (
    Yaml,
    deployment,
    files_of,
    group,
    hold,
    model,
    on_device,
    phones,
    price_book,
)
from trimtab_config.catalog import Catalog, build_catalog
from trimtab_config.catalog.dates import date_problems, exception_problems
from trimtab_config.spec.reader import read_documents
from trimtab_kernel.problems import Problem


def built(*objects: Yaml) -> tuple[Catalog, tuple[Problem, ...]]:
    read = read_documents(files_of(*objects))
    return build_catalog(read.documents, read.lost)


def problems_of(*objects: Yaml) -> list[tuple[str, str]]:
    return [(problem.code, problem.field) for problem in built(*objects)[1]]


POLICY: Yaml = {"apiVersion": "apexlogic.ai/v1", "kind": "FinOpsPolicy", "metadata": {"name": "standard"}, "spec": {}}
CLINICAL: Yaml = {
    "apiVersion": "apexlogic.ai/v1",
    "kind": "AIAlignmentPolicy",
    "metadata": {"name": "clinical"},
    "spec": {"maximumModelAge": "365d"},
}


def test_a_sound_fleet_has_no_problems_and_everything_by_name() -> None:
    catalog, problems = built(
        group(),
        phones(),
        model(),
        deployment(),
        on_device(),
        POLICY,
        CLINICAL,
        price_book(),
        hold(spec__version="0.9.0"),
    )
    assert problems == ()
    assert list(catalog.groups) == ["kiosks", "phones"]
    assert list(catalog.models) == ["triage"]
    assert list(catalog.deployments) == ["fleet/triage-kiosks"]
    assert list(catalog.on_device_models) == ["fleet/triage-mobile"]
    assert list(catalog.finops_policies) == ["standard"]
    assert list(catalog.alignment_policies) == ["clinical"]
    assert list(catalog.price_books) == ["prices"]
    assert list(catalog.holds) == ["fleet/hold"]
    assert [document.metadata.name for document in catalog.deployments_of("kiosks")] == ["triage-kiosks"]
    assert catalog.deployments_of("phones") == ()


def test_a_catalog_does_not_change_and_knows_what_it_has_not() -> None:
    catalog, _ = built(group())
    with pytest.raises(TypeError):
        catalog.groups["other"] = catalog.groups["kiosks"]  # type: ignore[index] # what must not work
    with pytest.raises(KeyError):
        catalog.deployments_of("other")


LABELS = st.dictionaries(st.sampled_from("abc"), st.sampled_from(["one", "two", "three"]), min_size=1, max_size=3)


@given(
    st.lists(LABELS, min_size=1, max_size=6),
    st.lists(st.tuples(LABELS, st.sampled_from(["one", "two"])), min_size=1, max_size=6),
)
def test_a_group_gets_the_deployments_whose_labels_it_all_has(
    groups: list[dict[str, str]], deployments: list[tuple[dict[str, str], str]]
) -> None:
    """By comparing every deployment with every group; in order of namespace and name, across namespaces."""
    objects = [group(f"g{number}", metadata__labels=labels) for number, labels in enumerate(groups)]
    objects += [
        deployment(f"d{number}", spec__targetDevices={"labels": labels}, metadata__namespace=namespace)
        for number, (labels, namespace) in enumerate(deployments)
    ]
    catalog, _ = built(model(), *objects)
    for number, labels in enumerate(groups):
        expected = sorted(
            (namespace, f"d{index}")
            for index, (wanted, namespace) in enumerate(deployments)
            if wanted.items() <= labels.items()
        )
        found = [(each.metadata.namespace, each.metadata.name) for each in catalog.deployments_of(f"g{number}")]
        assert found == expected


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"spec__modelRef": {"name": "other", "version": "1.0.0"}}, ("F202", "spec.modelRef.name")),
        ({"spec__modelRef": {"name": "triage", "version": "9.0.0"}}, ("F203", "spec.modelRef.version")),
        ({"spec__rollout": {"stable": {"version": "9.0.0"}}}, ("F203", "spec.rollout.stable.version")),
        (
            {"spec__experiment": {"metric": "m", "arms": [{"name": "a", "version": "9.0.0", "share": 1}]}},
            ("F203", "spec.experiment.arms[0].version"),
        ),
        ({"spec__finopsPolicyRef": "other"}, ("F204", "spec.finopsPolicyRef")),
        ({"spec__aiAlignmentPolicyRef": "standard"}, ("F204", "spec.aiAlignmentPolicyRef")),
        (
            {"spec__targetDevices": {"labels": {"deviceType": "camera"}}},
            ("F206", "spec.targetDevices.labels.deviceType"),
        ),
        ({"spec__targetDevices": {"labels": {"kind": "kiosk"}}}, ("F206", "spec.targetDevices.labels.kind")),
        (
            {"spec__targetDevices": {"labels": {"deviceType": "kiosk", "region": "APAC"}}},
            ("F206", "spec.targetDevices.labels"),
        ),
        (
            {"spec__rollout": {"waves": [{"name": "w", "groups": ["kiosks", "nobody"]}]}},
            ("F205", "spec.rollout.waves[0].groups[1]"),
        ),
        ({"spec__rollout": {"waves": [{"name": "w", "groups": ["far"]}]}}, ("F205", "spec.rollout.waves[0].groups[0]")),
    ],
)
def test_a_deployment_that_refers_to_nothing_is_told_where(changes: dict[str, Any], expected: tuple[str, str]) -> None:
    far = group("far", metadata__labels={"region": "APAC", "deviceType": "gateway"})
    assert problems_of(group(), far, model(), POLICY, deployment(**changes)) == [expected]


def test_what_the_rest_of_the_tree_lost_is_not_reported_as_unknown() -> None:
    unreadable = model(spec__versions=[])
    assert problems_of(group(), unreadable, deployment()) == []
    lost_group = group(spec__cluster=7)
    assert problems_of(lost_group, model(), deployment(), hold(spec__groups=["kiosks"])) == []
    read = read_documents({**files_of(group(), deployment()), "z.yaml": b"a: ["})
    assert build_catalog(read.documents, read.lost)[1] == ()


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (group(), group(metadata__namespace="other")),
        (model(), model(metadata__namespace="other")),
        (price_book(), price_book(metadata__namespace="other")),
        (POLICY, {**POLICY, "metadata": {"name": "standard", "namespace": "other"}}),
    ],
    ids=["group", "model", "price book", "policy"],
)
def test_names_that_are_referred_to_are_unique_in_the_tree(one: Yaml, other: Yaml) -> None:
    assert problems_of(one, other) == [("F201", "metadata.name")]


def test_a_hold_may_name_an_on_device_model_and_any_version_but_no_unknown_model_or_group() -> None:
    fleet = [group(), phones(), model(), on_device()]
    assert problems_of(*fleet, hold(spec__model="triage-mobile", spec__version="9.9.9")) == []
    assert problems_of(*fleet, hold(spec__model="other", spec__groups=["kiosks", "nobody"])) == [
        ("F202", "spec.model"),
        ("F205", "spec.groups[1]"),
    ]


def test_an_on_device_model_needs_no_model_but_labels_that_some_group_has() -> None:
    assert problems_of(phones(), on_device()) == []
    labels: dict[str, Any] = {"spec__targetDevices": {"labels": {"deviceType": "tablet"}}}
    assert problems_of(phones(), on_device(**labels)) == [("F206", "spec.targetDevices.labels.deviceType")]


# ---------------------------------------------------------------- dates


def dated(as_of: str, *objects: Yaml) -> list[tuple[str, str]]:
    catalog, problems = built(group(), phones(), CLINICAL, *objects)
    assert problems == ()
    found = date_problems(catalog, datetime.date.fromisoformat(as_of))
    return [(problem.code, problem.field) for problem in found]


@pytest.mark.parametrize(("as_of", "expired"), [("2026-12-31", False), ("2027-01-01", False), ("2027-01-02", True)])
def test_a_hold_counts_to_the_end_of_its_last_day(as_of: str, expired: bool) -> None:
    assert dated(as_of, model(), hold()) == ([("F601", "spec.until")] if expired else [])


@pytest.mark.parametrize(
    ("as_of", "expected"),
    [
        ("2026-09-30", [("F602", "spec.validFrom")]),
        ("2026-10-01", []),
        ("2026-12-31", []),
        ("2027-01-01", [("F602", "spec.validUntil")]),
    ],
)
def test_prices_are_good_from_their_first_to_their_last_day(as_of: str, expected: list[tuple[str, str]]) -> None:
    assert dated(as_of, price_book()) == expected


def test_of_several_price_books_only_those_that_are_used_are_judged() -> None:
    old = price_book("old", spec__validFrom="2026-01-01", spec__validUntil="2026-03-31")
    assert dated("2026-11-22", price_book(), old) == []
    assert dated("2026-02-01", price_book(), old) == [("F602", "spec.validFrom")]


@pytest.mark.parametrize(("as_of", "old"), [("2027-11-22", False), ("2027-11-23", True)])
def test_a_model_may_be_as_old_as_its_policy_says(as_of: str, old: bool) -> None:
    released = model()
    for version in released["spec"]["versions"]:
        version["released"] = "2026-11-22"
    found = dated(as_of, released, deployment(spec__aiAlignmentPolicyRef="clinical"))
    assert found == ([("F603", "spec.modelRef.version")] if old else [])


def test_without_a_release_date_a_limited_age_cannot_be_shown() -> None:
    found = dated("2026-11-22", model(), deployment(spec__aiAlignmentPolicyRef="clinical"))
    assert found == [("F603", "spec.modelRef.version")]
    assert dated("2026-11-22", model(), deployment()) == []


@pytest.mark.parametrize(
    ("as_of", "code"),
    [("2026-12-16", None), ("2026-12-17", "F606"), ("2026-12-31", "F606"), ("2027-01-01", "F605")],
)
def test_exceptions_are_told_of_from_a_fortnight_before_their_last_day_on(as_of: str, code: str | None) -> None:
    excuse = {"rule": "finops.cpu-cap", "owner": "finance", "reason": "trial", "until": "2026-12-31"}
    policy = {**POLICY, "spec": {"exceptions": [{**excuse, "deployments": ["a", "b"], "groups": ["kiosks"]}]}}
    catalog, problems = built(group(), policy)
    assert problems == ()
    found = exception_problems(catalog, datetime.date.fromisoformat(as_of))
    assert [each.code for each in found] == ([] if code is None else [code])
    for each in found:
        assert each.got == "the exception from finops.cpu-cap for deployment a, b in kiosks, until 2026-12-31"
        assert each.hint == "finance answers for it: trial"
        assert (each.field, each.line > 0) == ("spec.exceptions[0].until", True)


@pytest.mark.parametrize("zone", ["Europe/Berlni", "Europe", "../etc/passwd", "CEST+1/../x", "a" * 65, ""])
def test_a_time_zone_that_does_not_exist_is_refused(zone: str) -> None:
    """Devices would wait for ever for a window that they cannot judge."""
    found = read_documents(files_of(group(spec__timeZone=zone))).problems
    assert [(each.code, each.field) for each in found] == [("F104", "spec.timeZone")]


def test_an_exception_for_nobody_is_told_where_there_is_a_fleet() -> None:
    excuse = {"rule": "finops.cpu-cap", "owner": "finance", "reason": "trial", "until": "2999-12-31"}
    names = {"deployments": ["triage-kiosk", "triage-kiosks"], "groups": ["kiosks", "nobody"]}
    policy = {**POLICY, "spec": {"exceptions": [{**excuse, **names}]}}
    day = datetime.date(2026, 11, 22)
    catalog, problems = built(group(), model(), deployment(), policy)
    assert problems == ()
    found = [(each.code, each.field, each.hint) for each in exception_problems(catalog, day)]
    assert found == [
        ("F607", "spec.exceptions[0].deployments[0]", 'did you mean "triage-kiosks"?'),
        ("F607", "spec.exceptions[0].groups[1]", ""),
    ]
    assert exception_problems(built(policy)[0], day) == ()


@pytest.mark.parametrize("kind", ["FinOpsPolicy", "AIAlignmentPolicy"])
def test_an_exception_that_nobody_answers_for_is_refused(kind: str) -> None:
    excuse = {"rule": "finops.cpu-cap", "owner": " ", "reason": "\t", "until": "2026-12-31"}
    policy = {**POLICY, "kind": kind, "spec": {"exceptions": [excuse]}}
    found = read_documents(files_of(policy)).problems
    assert [each.field for each in found] == ["spec.exceptions[0].owner", "spec.exceptions[0].reason"]
