"""What a fleet's groups are told as, and what questions are understood; without a server."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from tests.config import small_fleet as small
from trimtab_config.compilation import FleetCompiler
from trimtab_kernel.problems import InputError
from trimtab_plugins.fleet_service.inventory import (
    DEFAULT_LIMIT,
    GroupEntry,
    Inventory,
    generator_answer,
    generator_question,
    inputs_answer,
    inputs_question,
    inventory_of,
)

if TYPE_CHECKING:
    from collections.abc import Sequence


def inventory(*objects: dict[str, Any]) -> Inventory:
    files = {f"{place}.yaml": yaml.safe_dump(each).encode() for place, each in enumerate(objects)}
    return inventory_of(FleetCompiler().open(files), "abc")


def rollout(wave: str) -> dict[str, Any]:
    return {"waves": [{"name": wave, "percent": 10}, {"name": "all", "percent": 100}], "wave": wave}


def with_waves(*waves: str) -> GroupEntry:
    objects = [small.group(), small.price_book()]
    for place, wave in enumerate(waves):
        objects.append(small.model(f"model-{place}"))
        objects.append(
            small.deployment(f"d-{place}", spec__modelRef__name=f"model-{place}", spec__rollout=rollout(wave))
        )
    [entry] = inventory(*objects).entries
    return entry


def test_a_group_tells_the_current_wave_of_each_of_its_rollouts_once() -> None:
    assert with_waves().wave == ""
    assert with_waves("first").wave == "first"
    assert with_waves("second", "first", "first").wave == "first.second"


def test_waves_always_fit_into_a_label() -> None:
    """The ApplicationSet labels each Application with them."""
    long = with_waves("a" * 63, "b" * 63)
    assert len(long.wave) <= 63
    assert re.fullmatch(r"[a-z0-9]([-a-z0-9.]*[a-z0-9])?", long.wave)
    assert long.wave != with_waves("a" * 63, "c" * 63).wave


def test_a_fleet_without_a_group_is_no_inventory() -> None:
    with pytest.raises(InputError, match="G403"):
        inventory(small.model(), small.price_book())


ENTRIES = [GroupEntry(f"g{n}", "edge", f"c{n % 3}", "", {"region": "EU" if n % 2 else "US"}) for n in range(7)]
names = st.sampled_from(["", "c0", "c1", "c9"])
labels = st.dictionaries(st.sampled_from(["region", "tier"]), st.sampled_from(["EU", "US", ""]), max_size=2)


@given(names, labels)
def test_both_doors_understand_a_filter_alike(cluster: str, wanted: dict[str, str]) -> None:
    body = json.dumps({"input": {"parameters": {"cluster": cluster, "labels": wanted}}}).encode()
    text = ",".join(f"{name}={value}" for name, value in wanted.items())
    asked = generator_question(body)
    assert inputs_question([("cluster", cluster), ("labels", text)]) == asked
    found = [
        each.group
        for each in ENTRIES
        if cluster in {"", each.cluster} and all(each.labels.get(name) == value for name, value in wanted.items())
    ]
    fleet = Inventory("abc", tuple(ENTRIES))
    if not found:
        with pytest.raises(InputError, match="A203"):
            fleet.chosen(asked)
    else:
        chosen = fleet.chosen(asked)
        assert [each.group for each in chosen] == found
        assert [each["id"] for each in json.loads(inputs_answer(chosen, 100))["inputs"]] == found
        assert [each["group"] for each in json.loads(generator_answer(chosen))["output"]["parameters"]] == found


@given(st.binary(max_size=200) | st.text(max_size=100).map(str.encode))
def test_whatever_comes_is_a_question_or_a_problem(body: bytes) -> None:
    codes: list[str] = []
    try:
        generator_question(body)
    except InputError as error:
        codes = [problem.code for problem in error.problems]
    assert codes in ([], ["A202"])


Json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda below: (
        st.lists(below, max_size=3)
        | st.dictionaries(st.sampled_from(["input", "parameters", "cluster", "labels", "x"]), below, max_size=3)
    ),
    max_leaves=6,
)


@given(Json)
def test_a_question_that_is_understood_has_no_filter_that_was_not(content: object) -> None:
    try:
        asked = generator_question(json.dumps(content).encode())
    except InputError:
        return
    assert isinstance(content, dict)
    given_parameters = (content.get("input") or {}).get("parameters") or {}
    assert set(given_parameters) <= {"cluster", "namespace", "labels"}
    assert asked.cluster == (given_parameters.get("cluster") or "")
    assert asked.limit == DEFAULT_LIMIT


def many(count: int, size: int) -> Sequence[GroupEntry]:
    return [GroupEntry(f"g{n:05}", "edge", "c", "", {"note": "x" * size}) for n in range(count)]


def test_an_answer_that_flux_operator_would_not_take_is_refused() -> None:
    assert len(json.loads(inputs_answer(many(100, 10), 100))["inputs"]) == 100
    for entries, limit in ((many(101, 10), 100), (many(9000, 63), 10_000)):
        with pytest.raises(InputError, match="A205"):
            inputs_answer(entries, limit)
