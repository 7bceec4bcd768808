"""After a swap the series of both versions take turns: a device stays within its budget, and no count is lost by it."""

from __future__ import annotations

import math
import time
from dataclasses import replace
from decimal import Decimal
from typing import TYPE_CHECKING

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.contracts.metrics_source.rigs import PATIENCE, exporter, prometheus, query, write_targets
from tests.edge.devices import sample, samples_of
from trimtab_edge.alignment.pending import NO_SCORE, Row
from trimtab_edge.alignment.version import VersionAlignment
from trimtab_edge.serving.server import ServeOptions, counts_for
from trimtab_edge.telemetry.exposition import AlignmentCollector, InferenceCollector, metrics_text, registry_of
from trimtab_edge.telemetry.inference import InferenceCounts
from trimtab_kernel import rules
from trimtab_kernel.rules import Window

if TYPE_CHECKING:
    from pathlib import Path

    from trimtab_edge.telemetry.inference import VersionCounts

LABELLED = "trimtab_labelled_decisions_total"
REQUESTS = "trimtab_inference_requests_total"


class Device:
    """A server's counts of one model, and the page that they make at a time that the test sets."""

    def __init__(self) -> None:
        self.now = 0.0
        self.counts = InferenceCounts(turn=100, retired_for=400)
        collectors = [make(self.counts, lambda: self.now) for make in (InferenceCollector, AlignmentCollector)]
        self._registry = registry_of(*collectors)
        self.versions: dict[str, VersionCounts] = {}

    def activate(self, version: str) -> None:
        answering = self.counts.answers("m", version, ("a", "b"), self.now)
        answering.alignment = answering.alignment or VersionAlignment(("a", "b"), scored=True, sketches=None)
        self.versions[version] = answering

    def serve(self, version: str, requests: int) -> None:
        for _ in range(requests):
            self.versions[version].answered(0.001, 0.0005)
            self.versions[version].moved(10, 20)
            self.versions[version].decided("a", 1, 1)
            self.alignment(version).decided(np.array([True]), np.array([0.75]))

    def label(self, version: str, labels: int) -> None:
        for _ in range(labels):
            self.alignment(version).label(Row(cohorts=1, positive=True, score_bin=NO_SCORE), True)

    def alignment(self, version: str) -> VersionAlignment:
        alignment = self.versions[version].alignment
        assert alignment is not None
        return alignment

    def page(self) -> str:
        self.counts.expire(self.now)
        return metrics_text(self._registry).decode()

    def labels_of(self, version: str) -> float | None:
        return sample(
            samples_of(self.page()), LABELLED, model="m", version=version, cohort="a", outcome="positive",
            label="positive",
        )  # fmt: skip


def test_both_versions_counts_are_shown_first_then_the_old_labels_then_the_new_ones_as_they_began() -> None:
    device = Device()
    device.activate("1.0.0")
    device.label("1.0.0", 1)
    assert (device.labels_of("1.0.0"), device.labels_of("1.1.0")) == (1, None)
    device.activate("1.1.0")
    device.label("1.0.0", 2)
    device.label("1.1.0", 4)
    seen = []
    for now in (0, 99, 100, 199, 200, 299, 300, 399, 401):
        device.now = now
        shown = samples_of(device.page())
        requests = {dict(labels)["version"] for name, labels in shown if name == REQUESTS}
        seen.append((now, requests == {"1.0.0", "1.1.0"}, device.labels_of("1.0.0"), device.labels_of("1.1.0")))
        assert "1.1.0" in requests
    assert seen == [
        (0, True, None, None), (99, True, None, None),
        (100, False, 3, None), (199, False, 3, None),
        (200, False, None, 0), (299, False, None, 0),
        (300, False, None, 4), (399, False, None, 4),
        (401, False, None, 4),
    ]  # fmt: skip


def test_a_version_that_comes_back_goes_on_from_what_it_showed() -> None:
    device = Device()
    device.activate("1.0.0")
    device.label("1.0.0", 5)
    device.activate("1.1.0")
    device.now = 50
    device.activate("1.0.0")
    device.label("1.0.0", 2)
    for now, expected in ((50, None), (150, None), (250, 5), (350, 7)):
        device.now = now
        assert device.labels_of("1.0.0") == expected


def test_with_noise_a_replaced_version_is_told_of_until_its_last_counts_have_moved(tmp_path: Path) -> None:
    """Noisy counts move once a period, so what was counted last before a swap is shown up to a period later."""
    options = ServeOptions(tmp_path, "127.0.0.1", 0, None, 1, 1, 1000, 1.0, "1", epsilon=Decimal(1), period=3600)
    counts = counts_for(options)
    for version in ("1.0.0", "1.1.0"):
        counts.answers("m", version, ("a", "b"), now=0)
    counts.expire(3700)
    model = counts.models["m"]
    assert [name for name, _ in model.told(counts.turn(model, 3700))] == ["1.0.0", "1.1.0"]
    plain = counts_for(replace(options, epsilon=None))
    for version in ("1.0.0", "1.1.0"):
        plain.answers("m", version, ("a", "b"), now=0)
    assert [name for name, _ in plain.models["m"].told(plain.turn(plain.models["m"], 200))] == ["1.1.0"]


@settings(max_examples=25, deadline=None)
@given(
    st.lists(
        st.tuples(st.integers(0, 3), st.sampled_from(["1.0.0", "1.1.0", "1.2.0"]), st.integers(1, 40)), max_size=25
    )
)
def test_no_counter_that_is_shown_ever_falls(steps: list[tuple[int, str, int]]) -> None:
    """While versions are swapped, asked and labelled in any order: a fall would be taken for a restart, and counted twice.
    A version whose counts were dropped, 400 seconds after it was replaced or by another that was, begins anew."""
    device = Device()
    device.activate("1.0.0")
    highest: dict[tuple[str, frozenset[tuple[str, str]]], float] = {}
    for what, version, seconds in steps:
        device.now += seconds
        kept = device.counts.models["m"].versions
        if what == 0:
            device.activate(version)
        elif what == 1 and version in kept:
            device.serve(version, 1)
        elif what == 2 and version in kept:
            device.label(version, 1)
        shown = samples_of(device.page())
        highest = {key: value for key, value in highest.items() if dict(key[1]).get("version", "1.0.0") in kept or "version" not in dict(key[1])}  # fmt: skip
        for key, value in shown.items():
            if key[0] != "trimtab_model_ready":
                assert value >= highest.get(key, 0)
                highest[key] = value


def test_a_real_prometheus_loses_no_count_of_either_version_over_a_swap(tmp_path: Path) -> None:
    """What was counted between the last scrape before a swap and the swap, what labels brought afterwards, and what the
    new version counted meanwhile are all in what Prometheus has, and in what the bot's rules record."""
    device, targets = Device(), tmp_path / "targets.json"
    device.activate("1.0.0")
    with exporter() as shown:
        write_targets(targets, {"kiosks": [shown.address]})
        often = {"global": {"scrape_interval": "200ms", "scrape_timeout": "200ms", "evaluation_interval": "200ms"}}
        with prometheus(tmp_path / "prometheus", targets, [Window.MINUTE], often) as url:

            def scraped(now: float) -> None:
                """The page of ``now``, and somebody has read it twice."""
                device.now = now
                for _ in range(2):
                    shown.show(device.page().splitlines())
                    shown.await_scrape()

            scraped(0)
            device.serve("1.0.0", 30)
            device.label("1.0.0", 3)
            scraped(10)
            device.serve("1.0.0", 11)
            device.label("1.0.0", 2)
            device.activate("1.1.0")
            scraped(11)
            device.serve("1.1.0", 23)
            scraped(12)
            device.label("1.0.0", 4)
            scraped(111)
            device.label("1.1.0", 8)
            scraped(211)
            scraped(311)
            by_version = {
                "trimtab_inference_requests_total": {"1.0.0": 41, "1.1.0": 23},
                'trimtab_decisions_total{cohort="a", outcome="positive"}': {"1.0.0": 41, "1.1.0": 23},
                'trimtab_inference_bytes_total{direction="out"}': {"1.0.0": 820, "1.1.0": 460},
                'trimtab_labelled_decisions_total{cohort="a", outcome="positive", label="positive"}': {
                    "1.0.0": 9,
                    "1.1.0": 8,
                },
                "trimtab_scored_decisions_total": {"1.0.0": 41, "1.1.0": 23},
            }
            now = time.time()
            for series, expected in by_version.items():
                found = query(url, f"max by (version) (max_over_time({series}[5m])) - min by (version) (min_over_time({series}[5m]))", now)  # fmt: skip
                assert {one["metric"]["version"]: float(one["value"][1]) for one in found} == expected, series
            latency = query(url, "trimtab_inference_duration_seconds_count", now)
            assert [float(one["value"][1]) for one in latency] == [64]
            deadline = time.monotonic() + PATIENCE
            for rule, counted in ((rules.REQUESTS, 1.0), (rules.CPU_SECONDS, 0.0005), (rules.DECISIONS, 1.0)):
                # Extrapolation to the edges of the window adds, and never takes away.
                while True:
                    found = query(url, f"sum by (version) ({rule.recorded_name(Window.MINUTE)})", time.time())
                    values = {one["metric"]["version"]: float(one["value"][1]) for one in found}
                    if set(values) == {"1.0.0", "1.1.0"} or time.monotonic() > deadline:
                        break
                    time.sleep(0.1)
                for version, requests in (("1.0.0", 41), ("1.1.0", 23)):
                    assert 1 - 1e-9 <= values[version] / (requests * counted) < 1.6, (rule.name, values)
    assert math.isclose(device.alignment("1.0.0").expected_right, 41 * 0.75)
