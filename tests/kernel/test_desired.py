"""The desired document: what is written reads back as the same, and hostile bytes are refused."""

from __future__ import annotations

import json
from decimal import Decimal
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trimtab_kernel.decisions import Excuse, Row
from trimtab_kernel.desired import (
    MAX_BYTES,
    Alignment,
    Artifact,
    Cohort,
    Conditions,
    DesiredDocument,
    DesiredModel,
    InferenceRules,
    ModelPolicy,
    OffloadTarget,
    VersionFacts,
    parse_desired,
)
from trimtab_kernel.identity import Digest
from trimtab_kernel.problems import InputError

names = st.from_regex(r"\A[a-z]([-a-z0-9]{0,8}[a-z0-9])?\Z")
texts = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x00"), max_size=12)
keys = st.text(st.characters(max_codepoint=0xFFFF, exclude_categories=["Cs"], exclude_characters="\x00"), max_size=12)
digests = st.binary(min_size=32, max_size=32).map(lambda raw: Digest(raw.hex()))
decimals = st.decimals(-(10**9), 10**9, places=4).map(lambda value: Decimal(value).normalize() + 0)
versions = st.from_regex(r"\A[0-9]\.[0-9]\.[0-9](-rc\.[0-9])?\Z")

artifacts = st.builds(Artifact, versions, texts, texts, texts, texts, digests, st.integers(0, 2**40))
cohort_rules = st.one_of(
    decimals.map(lambda value: {"value": value}),
    decimals.map(lambda value: {"low": value}),
    st.tuples(decimals, decimals).map(lambda bounds: {"low": bounds[0], "high": bounds[1]}),
)
cohorts = st.dictionaries(keys, cohort_rules, min_size=2, max_size=4).map(
    lambda found: tuple(Cohort(name, **found[name]) for name in sorted(found))
)
alignments = st.builds(Alignment, texts, st.integers(0, 1000), cohorts, texts, decimals)
conditions = st.builds(
    Conditions,
    st.none() | st.integers(0, 100),
    st.none() | st.sampled_from(["WIFI", "UNMETERED", "ANY"]),
    st.none() | st.integers(0, 10**6),
    st.none() | texts,
    st.none() | st.integers(0, 10_000),
)
inference = st.builds(
    InferenceRules,
    st.none() | st.integers(1, 10**6),
    st.none() | decimals.map(abs),
    st.none() | st.integers(0, 2**40),
    st.none()
    | st.builds(OffloadTarget, st.just("https://e.example"), st.just("EU"), st.lists(texts, max_size=3).map(tuple)),
).filter(lambda rules: rules != InferenceRules())
models = st.builds(
    DesiredModel,
    model=names,
    kind=texts,
    namespace=names,
    name=names,
    salt=texts,
    percent=st.fractions(0, 100, max_denominator=10**6),
    target=artifacts,
    stable=st.none() | artifacts,
    source_digest=digests,
    alignment=st.none() | alignments,
    conditions=conditions,
    tags=st.dictionaries(keys, texts, max_size=3).map(lambda found: tuple(sorted(found.items()))),
    flags=st.dictionaries(keys, st.booleans(), max_size=3).map(lambda found: tuple(sorted(found.items()))),
    inference=st.none() | inference,
)
documents = st.builds(
    DesiredDocument,
    names,
    names,
    st.just("EU"),
    st.lists(models, max_size=3, unique_by=lambda model: model.model).map(
        lambda found: tuple(sorted(found, key=lambda model: model.model))
    ),
)


@given(documents)
@settings(max_examples=60)
def test_a_document_reads_back_as_the_same_whatever_the_order_of_its_models(document: DesiredDocument) -> None:
    content = document.to_bytes()
    assert parse_desired(content) == document
    assert parse_desired(content).to_bytes() == content
    turned = DesiredDocument(document.group, document.namespace, document.jurisdiction, document.models[::-1])
    assert turned.to_bytes() == content


EXAMPLE = DesiredDocument(
    "kiosk-emea",
    "fleet",
    "EU",
    (
        DesiredModel(
            model="triage",
            kind="EdgeAIDeployment",
            namespace="fleet",
            name="triage",
            salt="fleet/triage/EdgeAIDeployment",
            percent=Fraction(1, 2),
            target=Artifact("1.1.0", "lite", "onnx", "int8", "s3://m/1.1.0", Digest("a" * 64), 10),
            stable=Artifact("1.0.0", "lite", "onnx", "int8", "s3://m/1.0.0", Digest("b" * 64), 10),
            source_digest=Digest("c" * 64),
            alignment=Alignment(
                "x", 1, (Cohort("f", Decimal(-1)), Cohort("m", low=Decimal("0.5"))), "label", Decimal(1)
            ),
            conditions=Conditions(50, "WIFI"),
            tags=(("team", "edge"),),
            flags=(("fast", True),),
            inference=InferenceRules(
                60, Decimal("1.5"), 1024, OffloadTarget("https://edge.example", "EU", ("frequency",))
            ),
            policy=ModelPolicy(
                ("alignment/people",),
                ("triage",),
                (VersionFacts("1.1.0", True, "2026-10-01", 20727, "train"), VersionFacts("1.0.0", False)),
                "2026-10-01",
                20727,
            ),
        ),
    ),
    (
        (
            "alignment/people",
            (
                Row(
                    "alignment.model-age",
                    "deny",
                    {"most": 100},
                    excuses=(Excuse("a", "b", "2026-12-31", 20818, ("triage",)),),
                ),
            ),
        ),
    ),
)


def changed(path: list[str | int], value: object) -> bytes:
    """The example with one place set to `value`."""
    data: Any = json.loads(EXAMPLE.to_bytes())
    place = data
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = value
    return json.dumps(data).encode()


@pytest.mark.parametrize(
    ("path", "value", "field"),
    [
        (["more"], 1, "more"),
        (["apiVersion"], "fleet.apexlogic.ai/v2", "kind"),
        (["group"], "../etc", "group"),
        (["models"], {}, "models"),
        (["models", 0, "model"], "../../etc", "models[0].model"),
        (["models", 0, "model"], "a/b", "models[0].model"),
        (["models", 0, "salt"], "x", "models[0].salt"),
        (["models", 0, "target", "digest"], "sha256:zz", "models[0].target.digest"),
        (["models", 0, "target", "size"], -1, "models[0].target.size"),
        (["models", 0, "target", "size"], True, "models[0].target.size"),
        (["models", 0, "target", "version"], "latest", "models[0].target.version"),
        (["models", 0, "target", "uri"], "x" * 3000, "models[0].target.uri"),
        (["models", 0, "target", "uri"], "a\x00b", "models[0].target.uri"),
        (["models", 0, "rollout", "percent"], "101", "models[0].rollout.percent"),
        (["models", 0, "rollout", "percent"], "1/0", "models[0].rollout.percent"),
        (["models", 0, "rollout", "percent"], "-1", "models[0].rollout.percent"),
        (["models", 0, "rollout", "salt"], "\ud800", "models[0].rollout.salt"),
        (["models", 0, "flags", "fast"], "yes", "models[0].flags.fast"),
        (["tables"], [], "tables"),
        (["tables", "alignment/people"], {}, "tables.alignment/people"),
        (["tables", "alignment/people", 0, "level"], "off", "tables.alignment/people"),
        (["models", 0, "policy", "tables"], ["alignment/others"], "models[0].policy.tables"),
        (["models", 0, "policy", "versions", 0, "signed"], 1, "models[0].policy.versions.signed"),
        (["models", 0, "policy", "newestDay"], -1, "models[0].policy.newestDay"),
        (["models", 0, "tags", "\ud800"], "x", "models[0].tags"),
        (["models", 0, "tags", "\U0001f600"], "x", "models[0].tags"),
        (["models", 0, "conditions", "network"], "LTE", "models[0].conditions.network"),
        (["models", 0, "conditions", "network"], [], "models[0].conditions.network"),
        (["models", 0, "conditions", "minBattery"], 101, "models[0].conditions.minBattery"),
        (
            ["models", 0, "alignment", "attribute", "cohorts"],
            {"f": {"value": "1"}},
            "models[0].alignment.attribute.cohorts",
        ),
        (
            ["models", 0, "alignment", "attribute", "cohorts", "f"],
            {"value": "1", "low": "2"},
            "models[0].alignment.attribute.cohorts.f",
        ),
        (["models", 0, "inference", "maximumPerMinute"], 0, "models[0].inference.maximumPerMinute"),
        (["models", 0, "inference", "dailyCpuSeconds"], "-1", "models[0].inference.dailyCpuSeconds"),
        (["models", 0, "inference", "dailyData"], "1", "models[0].inference.dailyData"),
        (["models", 0, "inference", "offload", "endpoint"], "file:///etc", "models[0].inference.offload.endpoint"),
        (["models", 0, "inference", "offload", "jurisdiction"], "US", "models[0].inference.offload.jurisdiction"),
        (["models", 0, "inference", "offload", "when"], "always", "models[0].inference.offload.when"),
        (["models", 0, "alignment", "outcome", "positive"], "1e5", "models[0].alignment.outcome.positive"),
    ],
)
def test_a_field_that_is_not_ours_refuses_the_whole_document(path: list[str | int], value: object, field: str) -> None:
    with pytest.raises(InputError) as caught:
        parse_desired(changed(path, value))
    [problem] = caught.value.problems
    assert (problem.code, problem.field) == ("E203", field)


def test_a_missing_field_refuses_the_document() -> None:
    data = json.loads(EXAMPLE.to_bytes())
    del data["models"][0]["sourceDigest"]
    with pytest.raises(InputError, match=r"models\[0\]\.sourceDigest: E203 got \"nothing\""):
        parse_desired(json.dumps(data).encode())


def test_one_model_twice_refuses_the_document() -> None:
    data = json.loads(EXAMPLE.to_bytes())
    data["models"] *= 2
    with pytest.raises(InputError, match="expected each model once"):
        parse_desired(json.dumps(data).encode())


@pytest.mark.parametrize(
    ("content", "code"),
    [
        (b"x" * (MAX_BYTES + 1), "E201"),
        (b"", "E202"),
        (b"\xff", "E202"),
        (b"{", "E202"),
        (b"[" * 500_000, "E202"),
        (b'{"a":' * 150_000, "E202"),
        (b"1.5", "E202"),
        (b"NaN", "E202"),
        (b"1" * 100_000, "E202"),
        (b'{"group": "a", "group": "b"}', "E202"),
        (EXAMPLE.to_bytes() + b"x", "E202"),
        (b"\xef\xbb\xbf" + EXAMPLE.to_bytes(), "E202"),
        (b"null", "E203"),
        (b"[]", "E203"),
        (b'"text"', "E203"),
    ],
    ids=lambda value: repr(value[:24]) if isinstance(value, bytes) else value,
)
def test_bytes_that_are_no_desired_document_are_refused_by_code(content: bytes, code: str) -> None:
    with pytest.raises(InputError) as caught:
        parse_desired(content)
    assert [problem.code for problem in caught.value.problems] == [code]


def reads_or_refuses(content: bytes) -> None:
    try:
        document = parse_desired(content)
    except InputError:
        return
    # What was accepted can be obeyed: written again, and asked for any device.
    assert parse_desired(document.to_bytes()) == document
    for model in document.models:
        model.choose("device-1")


@given(st.binary(max_size=300))
def test_any_bytes_are_read_or_refused(content: bytes) -> None:
    reads_or_refuses(content)


CHANGES = st.lists(st.tuples(st.integers(0, 2000), st.integers(0, 8), st.binary(max_size=4)), min_size=1, max_size=3)


@given(CHANGES)
@settings(max_examples=300)
def test_mutated_documents_are_read_or_refused(changes: list[tuple[int, int, bytes]]) -> None:
    content = EXAMPLE.to_bytes()
    for place, length, new in changes:
        content = content[:place] + new + content[place + length :]
    reads_or_refuses(content)


Json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(st.characters(), max_size=8),
    lambda below: st.lists(below, max_size=3) | st.dictionaries(st.text(max_size=6), below, max_size=3),
    max_leaves=6,
)


@given(st.data())
@settings(max_examples=300)
def test_any_value_in_any_place_is_read_or_refused(data: st.DataObject) -> None:
    document: Any = json.loads(EXAMPLE.to_bytes())
    place = document
    while True:
        key = data.draw(st.sampled_from(sorted(place) if isinstance(place, dict) else range(len(place))))
        below = place[key]
        if not isinstance(below, dict | list) or not below or data.draw(st.booleans()):
            break
        place = below
    place[key] = data.draw(Json)
    reads_or_refuses(json.dumps(document).encode())


@pytest.mark.long
@pytest.mark.timeout(3600)
@pytest.mark.parametrize(
    ("strategy", "check"),
    [
        (CHANGES, test_mutated_documents_are_read_or_refused),
        (st.data(), test_any_value_in_any_place_is_read_or_refused),
    ],
    ids=["mutants", "values"],
)
def test_the_same_holds_of_many_more(strategy: st.SearchStrategy[Any], check: Any) -> None:  # noqa: ANN401 - a property
    @settings(max_examples=8_000)
    @given(strategy)
    def holds(value: object) -> None:
        check.hypothesis.inner_test(value)

    holds()


def test_a_device_in_the_wave_gets_the_target_and_others_the_stable_version() -> None:
    model = EXAMPLE.models[0]
    chosen = {model.choose(f"device-{number}") for number in range(2000)}
    assert chosen == {model.target, model.stable}
    everyone = DesiredModel("m", "k", "n", "d", "s", Fraction(100), model.target, None, model.source_digest)
    assert {everyone.choose(f"device-{number}") for number in range(50)} == {model.target}
    nobody = DesiredModel("m", "k", "n", "d", "s", Fraction(0), model.target, None, model.source_digest)
    assert {nobody.choose(f"device-{number}") for number in range(50)} == {None}


@pytest.mark.parametrize(
    ("cohort", "inside", "outside"),
    [
        (Cohort("a", value=Decimal("0.5")), [0.5], [0.4, 0.6, float("nan")]),
        (Cohort("a", low=Decimal(1), high=Decimal(2)), [1.0, 1.9], [0.9, 2.0, float("nan")]),
        (Cohort("a", low=Decimal(1)), [1.0, float("inf")], [0.9, float("nan")]),
        (Cohort("a", high=Decimal(1)), [0.9, float("-inf")], [1.0, float("nan")]),
    ],
)
def test_a_cohort_holds_its_value_or_its_half_open_range(
    cohort: Cohort, inside: list[float], outside: list[float]
) -> None:
    assert all(cohort.holds(value) for value in inside)
    assert not any(cohort.holds(value) for value in outside)
