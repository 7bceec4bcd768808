"""Metrics of a device: what a scrape sees, and that it never sees too much."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client.parser import text_string_to_metric_families

from tests.edge import graphs
from tests.edge.devices import ALIGNMENT, COMMAND, Fleet, Server, sample, samples_of, serving, wait_until
from trimtab_edge.alignment.version import VersionAlignment
from trimtab_edge.telemetry.conduct import ConductCollector, ConductCounts
from trimtab_edge.telemetry.energy.modelled import CpuModel
from trimtab_edge.telemetry.exposition import (
    AlignmentCollector,
    InferenceCollector,
    ResourceCollector,
    UpdateCollector,
    metrics_text,
    registry_of,
)
from trimtab_edge.telemetry.inference import InferenceCounts
from trimtab_edge.telemetry.latency import BOUNDS
from trimtab_edge.telemetry.resources import ResourceOptions, Resources
from trimtab_edge.telemetry.updates import UpdateCounts
from trimtab_kernel import vocabulary
from trimtab_kernel.desired import InferenceRules

if TYPE_CHECKING:
    from collections.abc import Iterator

BUDGET, FURTHER = 60, 45


@pytest.fixture(scope="module")
def device(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, str]]:
    """The expositions of a server and an agent of one model with two cohorts that has been updated once."""
    root = tmp_path_factory.mktemp("device")
    fleet = Fleet(root / "fleet")
    first, second = fleet.publish("1.0.0", graphs.adder(0.5)), fleet.publish("1.1.0", graphs.adder(1.5))
    rules = InferenceRules(daily_data=25)  # a request moves 28 bytes: the second one is beyond it
    fleet.ask("adder", first, alignment=ALIGNMENT)
    (root / "models").mkdir()
    with serving(root / "models", root / "log") as server, (root / "agent.log").open("w") as log:
        command = [
            *COMMAND, "agent", "--desired", fleet.mount, "--model-repository", root / "models", "--state", root / "state",
            "--artifacts", fleet.store, "--device", "d", "--serve-url", server.url, "--metrics-port", "0",
            "--interval", "0.1",
        ]  # fmt: skip
        process = subprocess.Popen([str(word) for word in command], stdout=subprocess.PIPE, stderr=log, text=True)
        try:
            assert process.stdout is not None
            port = int(process.stdout.readline().rpartition(":")[2])
            server.wait_ready("adder", "1.0.0")
            row = {"name": "x", "shape": [1, 4], "datatype": "FP32", "data": [1, 2, 3, 4]}
            server.infer("adder", row)
            fleet.ask("adder", second, alignment=ALIGNMENT, inference=rules)
            server.wait_ready("adder", "1.1.0")
            agent = Server(process, "127.0.0.1", port, root / "agent.log")
            wait_until(lambda: sample(agent.samples(), "trimtab_agent_active", model="adder", version="1.1.0") == 1)
            assert [server.infer("adder", row).status for _ in range(2)] == [200, 429]
            yield server.ask("GET", "/metrics").body.decode(), agent.ask("GET", "/metrics").body.decode()
        finally:
            process.terminate()
            assert process.wait(30) == 0
            if process.stdout is not None:
                process.stdout.close()


def test_promtool_finds_nothing_to_complain_about(device: tuple[str, str]) -> None:
    if shutil.which("promtool") is None:
        pytest.skip("needs promtool")
    for text in device:
        result = subprocess.run(
            ["promtool", "check", "metrics"], input=text, capture_output=True, text=True, timeout=60, check=False
        )
        assert (result.returncode, result.stdout + result.stderr) == (0, "")


def test_the_text_parses_and_every_name_type_help_and_label_is_the_vocabularys(device: tuple[str, str]) -> None:
    known = {metric.name.removesuffix("_total"): metric for metric in vocabulary.METRICS}
    found = set()
    for text in device:
        for family in text_string_to_metric_families(text):
            metric = known[family.name]
            assert (family.type, family.documentation) == (metric.kind.value, metric.help)
            for one in family.samples:
                assert set(one.labels) - {"le"} == set(metric.labels)
            found.add(family.name)
    assert found == set(known)


def test_a_device_with_one_model_two_cohorts_and_an_update_behind_it_stays_within_its_budget(
    device: tuple[str, str],
) -> None:
    series = [key for text in device for key in samples_of(text)]
    assert len(series) == len(set(series)) <= BUDGET


def everything(
    models: int, *, turn: float | None = None, scored: bool = True, updating: bool = False, declared: bool = True
) -> int:
    """Series of a device whose models declare all that there is: alignment with labels and scores, guards, budgets, batching,
    sampled explanations; ``turn`` turns after each of them was swapped, or without a swap; a GPU apart.
    ``declared`` False: no guards, budgets, batches."""
    counts, conduct, updates = InferenceCounts(turn=100), ConductCounts(), UpdateCounts()
    for name in (f"m{number}" for number in range(models)):
        for version in ("1.0.0", "1.1.0") if turn is not None else ("1.1.0",):
            answering = counts.answers(name, version, ("a", "b"), now=0)
            answering.alignment = VersionAlignment(("a", "b"), scored=scored, sketches=None)
        signals = vocabulary.GUARD_SIGNALS if declared else ()
        conduct.declare(name, signals=signals, budgeted=declared, batched=declared, sampled=True)
        updates.fetched(name, "1.1.0", 1)
        updates.stands(name, active="1.1.0", desired="1.2.0" if updating else "1.1.0", quarantined=0)
    updates.document(valid=True, at=1.0)
    options = ResourceOptions(
        Path("/sys"), Path("/proc"), os.getpid(), cpu_model=CpuModel(5.0, 0.0), battery_watt_hours=50.0
    )

    def clock() -> float:
        return 100 * (turn or 0)

    collectors = (
        InferenceCollector(counts, clock, conduct=conduct), AlignmentCollector(counts, clock), ConductCollector(conduct),
        UpdateCollector(updates),
        ResourceCollector(counts, Resources(options), {"os": "x", "os_version": "1", "architecture": "y"}, clock),
    )  # fmt: skip
    return len(samples_of(metrics_text(registry_of(*collectors)).decode()))


@pytest.mark.parametrize("declared", [False, True])
@pytest.mark.parametrize("updating", [False, True])
@pytest.mark.parametrize("scored", [False, True])
@pytest.mark.parametrize("turn", [None, 0.0, 0.999, 1.0, 2.0, 3.0, 8.9])
def test_with_everything_declared_one_model_is_within_60_series_and_each_further_one_within_45(
    turn: float | None, scored: bool, updating: bool, declared: bool
) -> None:
    """Server and agent together, joules and battery included; a GPU, where there is one, adds three. At any time: while
    an update comes in, and however long ago each model's version was swapped."""
    one, two, three = (
        everything(models, turn=turn, scored=scored, updating=updating, declared=declared) for models in (1, 2, 3)
    )
    assert one <= BUDGET - 3
    assert two - one == three - two <= FURTHER


def test_budgets_reach_the_server_from_the_desired_document(device: tuple[str, str]) -> None:
    serve = samples_of(device[0])
    assert sample(serve, "trimtab_budget_requests_total", model="adder", decision="refused") == 1
    assert sample(serve, "trimtab_budget_requests_total", model="adder", decision="offloaded") == 0


def test_the_counts_of_both_versions_are_there_after_an_update(device: tuple[str, str]) -> None:
    serve, agent = map(samples_of, device)
    for version in ("1.0.0", "1.1.0"):
        assert sample(serve, "trimtab_inference_requests_total", model="adder", version=version) == 1
        decided = {"version": version, "cohort": "one", "outcome": "positive"}
        assert sample(serve, "trimtab_decisions_total", model="adder", **decided) == 1
        moved = sample(serve, "trimtab_inference_bytes_total", model="adder", version=version, direction="in")
        assert moved is not None
        assert moved > 0
    assert sample(serve, "trimtab_inference_duration_seconds_count", model="adder") == 2
    about = {"model": "adder", "tier": "standard", "quantization": "none"}
    assert sample(serve, "trimtab_model_ready", version="1.0.0", **about) is None
    assert sample(serve, "trimtab_model_ready", version="1.1.0", **about) == 1
    assert sample(agent, "trimtab_agent_desired", model="adder", version="1.1.0") == 1
    assert sample(agent, "trimtab_updates_total", model="adder", result="activated") == 2
    assert sample(agent, "trimtab_updates_total", model="adder", result="rolled_back") == 0
    assert sample(agent, "trimtab_update_bytes_total", model="adder", version="1.1.0") == len(graphs.adder(1.5))
    assert sample(agent, "trimtab_agent_document_valid") == 1
    assert (sample(agent, "trimtab_agent_synced_timestamp_seconds") or 0) > 1.7e9


def exposed(counts: InferenceCounts) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
    return samples_of(metrics_text(registry_of(InferenceCollector(counts))).decode())


def test_every_series_of_a_version_is_there_at_0_from_the_moment_it_is_loaded() -> None:
    """Prometheus' increase() needs a sample before the first count."""
    counts = InferenceCounts()
    counts.answers("m", "1.0.0", ("a", "b"), now=0)
    series = exposed(counts)
    assert len(series) == 3 + 1 + 12 + 2 + 4 + 2 + 1 + 1
    assert "trimtab_inference_duration_seconds_count" in {name for name, _ in series}
    assert {value for (name, _), value in series.items() if name != "trimtab_model_ready"} == {0}
    counts.models["m"].versions["1.0.0"].answered(0.0002, 0.0001)
    counts.models["m"].versions["1.0.0"].decided("a", 1, 3)
    assert exposed(counts).keys() == series.keys()


@given(st.lists(st.tuples(st.floats(0, 10), st.floats(0, 10)), max_size=50))
def test_a_histogram_adds_up(requests: list[tuple[float, float]]) -> None:
    counts = InferenceCounts()
    version = counts.answers("m", "1.0.0", (), now=0)
    for duration, cpu in requests:
        version.answered(duration, cpu)
    found = exposed(counts)
    name = "trimtab_inference_duration_seconds"
    buckets = [found[(f"{name}_bucket", frozenset({("le", le), ("model", "m")}))] for le in [*map(str, BOUNDS), "+Inf"]]
    assert buckets == sorted(buckets)
    for bound, count in zip(BOUNDS, buckets, strict=False):
        assert count == sum(duration <= bound for duration, _ in requests)
    assert buckets[-1] == sample(found, f"{name}_count", model="m") == len(requests)
    assert sample(found, f"{name}_sum", model="m") == pytest.approx(sum(d for d, _ in requests))


def bounds_shown(counts: InferenceCounts, conduct: ConductCounts) -> list[float]:
    found = samples_of(metrics_text(registry_of(InferenceCollector(counts, conduct=conduct))).decode())
    return sorted(float(dict(labels)["le"]) for name, labels in found if name.endswith("_bucket"))[:-1]


def test_latency_has_as_many_bounds_as_the_model_has_room_for_and_those_that_come_later_have_counted() -> None:
    counts, conduct = InferenceCounts(retired_for=100), ConductCounts()
    answering = counts.answers("m", "1.0.0", ("a", "b"), now=0)
    answering.alignment = VersionAlignment(("a", "b"), scored=True, sketches=None)
    conduct.declare("m", signals=vocabulary.GUARD_SIGNALS, budgeted=True, batched=True)
    assert bounds_shown(counts, conduct) == list(vocabulary.DURATION_BUCKETS)
    answering.answered(0.0004, 0.0001)
    conduct.declare("m", signals=(), budgeted=False, batched=False)
    aligned = bounds_shown(counts, conduct)
    assert len(aligned) == 9
    assert aligned[0] == 0.00005
    assert set(vocabulary.DURATION_BUCKETS) < set(aligned) < set(BOUNDS)
    counts.answers("m", "1.1.0", (), now=1)
    assert bounds_shown(counts, conduct) == aligned, "the replaced version is told of still"
    counts.expire(now=102)
    assert bounds_shown(counts, conduct) == list(BOUNDS)
    found = samples_of(metrics_text(registry_of(InferenceCollector(counts, conduct=conduct))).decode())
    name = "trimtab_inference_duration_seconds_bucket"
    assert [sample(found, name, model="m", le=str(bound)) for bound in (0.0001, 0.00025, 0.0005, 0.25)] == [0, 0, 1, 1]


def test_replaced_versions_go_after_a_while_and_only_the_newest_stays_until_then() -> None:
    counts = InferenceCounts(retired_for=100)
    for at, version in enumerate(("1.0.0", "1.1.0", "1.2.0", "1.3.0")):
        counts.answers("m", version, ("a", "b"), now=at)
    assert set(counts.models["m"].versions) == {"1.2.0", "1.3.0"}
    counts.expire(now=102)
    assert set(counts.models["m"].versions) == {"1.2.0", "1.3.0"}
    counts.expire(now=103.5)
    assert set(counts.models["m"].versions) == {"1.3.0"}


def test_a_version_that_comes_back_in_time_goes_on_counting() -> None:
    counts = InferenceCounts()
    counts.answers("m", "1.0.0", (), now=0).answered(0.1, 0.1)
    counts.answers("m", "1.1.0", (), now=1)
    assert counts.answers("m", "1.0.0", (), now=2).requests == 1
    counts.expire(now=100_000)
    assert set(counts.models["m"].versions) == {"1.0.0"}


def test_the_agents_series_of_bytes_are_bounded_whatever_it_fetches() -> None:
    counts = UpdateCounts()
    for number in range(50):
        counts.fetched("m", f"1.{number}.0", 10)
        counts.stands("m", active=f"1.{number - 1}.0" if number else None, desired=f"1.{number}.0", quarantined=0)
    text = metrics_text(registry_of(UpdateCollector(counts))).decode()
    assert text.count("trimtab_update_bytes_total{") == 2
