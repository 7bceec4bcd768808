"""What every metrics source promises, asked of both at once while they watch the same exporters.

One story is played once for the whole module: counters rise, one is reset, a device falls silent, another is added, a
third one lies about its group. Both sources are read at the same moments, and each test looks at one promise in what
they said.
"""

from __future__ import annotations

import math
import time
from typing import TYPE_CHECKING, Any

import pytest

from tests.contracts.metrics_source.rigs import Exporter, eventually, exporter, line, prometheus, query, write_targets
from trimtab_bot.metrics.prometheus import PrometheusSource
from trimtab_bot.metrics.scrape import ScrapeSource
from trimtab_bot.metrics.series import Observation, SeriesStore
from trimtab_kernel import vocabulary as v
from trimtab_kernel.freshness import Fresh, Stale
from trimtab_kernel.problems import OutsideError
from trimtab_kernel.rules import CPU_SECONDS, DECISIONS, DEVICES_READY, FAILURES, REQUESTS, Query, Window

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from trimtab_bot.metrics.interface import MetricsSource
    from trimtab_kernel.rules import Reading, Rule, Sample

SOURCES = ["scrape", "prometheus"]
FRESHNESS_LIMIT = 5.0
TOLERANCE = 0.25
"""Of live increases a few seconds after a start: the first samples are few, and each source stretches its own to the
edges. From the very same samples both must give the very same value, see test_equal_samples_give_equal_increases."""

NASTY = [
    'quote"d',
    "back\\slash",
    "new\nline",
    'model"} or vector(1) or {x="',
    "{__name__=~'.+'}",
    "ümläut \U0001f600",
    "a,b=c",
    "",
]
"""Names of models that try to be something else. The empty one is a label that the series does not have."""


def page_of_north(step: int) -> list[str]:
    """The exposition of the first device of group north. Counters start at 100, so that 0 bounds no extrapolation."""
    rise = 40 * step
    lines = [
        line("trimtab_inference_requests_total", 100 + rise, model="triage", version="1.0.0"),
        line("trimtab_inference_cpu_seconds_total", 5 + 0.25 * step, model="triage", version="1.0.0"),
        line("trimtab_model_ready", 1, model="triage", version="1.0.0"),
        line("trimtab_model_ready", 0, model="triage", version="0.9.0"),
        line("trimtab_inference_failures_total", 10 + 3 * step, model="triage", reason="deadline"),
        # A restart: the counter falls from 140 to 5, so it rose by 40 and by 5.
        line("trimtab_inference_requests_total", (100, 140, 5)[step], model="reset", version="1.0.0"),
        # A number at first, then none.
        line("trimtab_inference_requests_total", "NaN" if step else 100, model="broken", version="1.0.0"),
        line("trimtab_inference_requests_total", "+Inf" if step else 100, model="endless", version="1.0.0"),
        # The device claims to be of another group.
        line("trimtab_inference_requests_total", 100 + rise, model="liar", version="1.0.0", device_group="south"),
        # Its samples are 46 s old: what rises in them leaves the window of a minute 14 s later.
        line("trimtab_inference_requests_total", 100 + 50 * min(step, 1), "@NOW-46", model="old", version="1.0.0"),
    ]
    for cohort, outcome, start, each in (
        ("female", "positive", 1000, 10),
        ("female", "negative", 1000, 40),
        ("male", "positive", 1000, 30),
        ("male", "negative", 1000, 20),
    ):
        labels = {"model": "triage", "version": "1.0.0", "cohort": cohort, "outcome": outcome}
        lines.append(line("trimtab_decisions_total", start + each * step, **labels))
    for index, name in enumerate(NASTY):
        lines.append(
            line("trimtab_inference_requests_total", 100 + (10 + index) * step, model=name, version="n", reason=name)
        )
    if step:  # a version that was not there before; it is first seen with 70, of which nothing is known
        count = 70 if step == 1 else 100
        lines.append(line("trimtab_inference_requests_total", count, model="triage", version="2.0.0"))
    return lines


class Story:
    """What was read from each source at each moment."""

    def __init__(self) -> None:
        self.said: dict[tuple[str, str], dict[str, Reading]] = {}
        self.raw: list[tuple[str, float, list[dict[str, Any]], list[dict[str, Any]]]] = []

    def keep(self, moment: str, sources: dict[str, MetricsSource]) -> None:
        for kind, source in sources.items():
            rules = (REQUESTS, CPU_SECONDS, DECISIONS, DEVICES_READY, FAILURES)
            self.said[kind, moment] = {rule.name: source.read(Query(rule, Window.MINUTE)) for rule in rules}

    def reading(self, kind: str, moment: str, rule: Rule) -> Reading:
        return self.said[kind, moment][rule.name]

    def samples(self, kind: str, moment: str, rule: Rule, **labels: str) -> list[Sample]:
        found = self.reading(kind, moment, rule).samples
        return [sample for sample in found if all(sample.labels[name] == text for name, text in labels.items())]

    def sample(self, kind: str, moment: str, rule: Rule, **labels: str) -> Sample:
        (only,) = self.samples(kind, moment, rule, **labels)
        return only


def await_all(sources: dict[str, MetricsSource], rule: Rule, value: float, **labels: str) -> None:
    """Until every source shows at least this value."""
    match = tuple(labels.items())
    for source in sources.values():
        eventually(source, rule, lambda reading: sum(s.value for s in reading.samples) >= value, match)


@pytest.fixture(scope="module")
def rig(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Story, dict[str, MetricsSource], str]]:
    """Plays the story; yields what was said, the sources, and Prometheus' URL."""
    directory = tmp_path_factory.mktemp("a rig")
    targets = directory / "targets.json"
    story = Story()
    with exporter() as north, exporter() as south, exporter() as late:
        groups = {"north": [north.address], "south": [south.address]}
        write_targets(targets, groups)
        show(north, south, 0)
        with (
            prometheus(directory / "prometheus", targets) as url,
            ScrapeSource(targets, longest=Window.MINUTE, freshness_limit=FRESHNESS_LIMIT, interval=1.0) as scrape,
        ):
            sources: dict[str, MetricsSource] = {
                "scrape": scrape,
                "prometheus": PrometheusSource(url, freshness_limit=FRESHNESS_LIMIT),
            }
            # Two devices ready, and an increase of nothing: both sources have at least two samples of everything.
            await_all(sources, DEVICES_READY, 2, model="triage")
            for source in sources.values():
                eventually(source, REQUESTS, lambda reading: len(reading.samples) >= 7 + len(NASTY))
            time.sleep(3)  # samples between which to measure
            story.keep("before", sources)

            show(north, south, 1)
            await_all(sources, REQUESTS, 30, model="triage", version="1.0.0")
            await_all(sources, REQUESTS, 50, model="old")
            story.keep("old", sources)
            for source in sources.values():
                eventually(source, REQUESTS, lambda reading: len(reading.dropped) == 2)

            write_targets(targets, {**groups, "late": [late.address]})
            late.show([line("trimtab_model_ready", 1, model="triage", version="2.0.0")])
            show(north, south, 2)
            south.kill()
            silent = time.time()
            await_all(sources, REQUESTS, 75, model="triage", version="1.0.0")
            await_all(sources, DEVICES_READY, 1, device_group="late")
            story.keep("after", sources)
            recorded(story, url)
            # Everything that was not seen for longer than the limit is stale.
            time.sleep(max(0.0, silent + FRESHNESS_LIMIT + 2.5 - time.time()))
            for source in sources.values():
                eventually(
                    source, REQUESTS, lambda reading: not any(s.value for s in reading.samples), (("model", "old"),)
                )
            story.keep("later", sources)
            recorded(story, url)
            yield story, sources, url


def show(north: Exporter, south: Exporter, step: int) -> None:
    north.show(page_of_north(step))
    if step < 2:
        south.show(
            [
                line("trimtab_model_ready", 1, model="triage", version="1.0.0"),
                line("trimtab_inference_requests_total", 100 + 20 * step, model="triage", version="1.0.0"),
                line("trimtab_inference_requests_total", 100 + 20 * step, model="south", version="1.0.0"),
            ]
        )


def recorded(story: Story, url: str) -> None:
    """Prometheus' own samples of a minute, and what it makes of them at the same time."""
    for metric in (v.INFERENCE_REQUESTS.name, v.DECISIONS.name, v.INFERENCE_CPU.name):
        while True:
            at = round(time.time(), 3)
            before = query(url, f"{metric}[1m]", at)
            increases = query(url, f"increase({metric}[1m])", at)
            if before == query(url, f"{metric}[1m]", at):  # else a scrape was written down between the questions
                story.raw.append((metric, at, before, increases))
                break


Rig = tuple[Story, "dict[str, MetricsSource]", str]


@pytest.mark.parametrize("kind", SOURCES)
def test_increases_are_counted_by_the_labels_of_the_rule(rig: Rig, kind: str) -> None:
    story = rig[0]
    counts = {
        (s.labels["cohort"], s.labels["outcome"]): s.value
        for s in story.samples(kind, "after", DECISIONS, model="triage", version="1.0.0", device_group="north")
    }
    assert counts == {
        ("female", "positive"): pytest.approx(20, rel=TOLERANCE),
        ("female", "negative"): pytest.approx(80, rel=TOLERANCE),
        ("male", "positive"): pytest.approx(60, rel=TOLERANCE),
        ("male", "negative"): pytest.approx(40, rel=TOLERANCE),
    }
    # Stretching is the same for all of a device's series, so shares are exact.
    rates = counts["female", "positive"] / (counts["female", "positive"] + counts["female", "negative"])
    assert rates == pytest.approx(0.2, rel=1e-6)
    assert story.sample(kind, "after", FAILURES, model="triage", reason="deadline").value == pytest.approx(
        6, rel=TOLERANCE
    )
    assert story.sample(kind, "after", CPU_SECONDS, model="triage").value == pytest.approx(0.5, rel=TOLERANCE)


@pytest.mark.parametrize("kind", SOURCES)
def test_n_says_how_many_events_were_seen(rig: Rig, kind: str) -> None:
    story = rig[0]
    sample = story.sample(kind, "after", REQUESTS, model="triage", version="1.0.0", device_group="north")
    assert sample.n == math.floor(sample.value)
    assert story.sample(kind, "after", CPU_SECONDS, model="triage").n == 0
    assert story.sample(kind, "before", DEVICES_READY, model="triage", device_group="south").n == 1


@pytest.mark.parametrize("kind", SOURCES)
def test_samples_carry_exactly_the_labels_of_the_rule(rig: Rig, kind: str) -> None:
    story = rig[0]
    for rule in (REQUESTS, DECISIONS, DEVICES_READY, FAILURES):
        samples = story.reading(kind, "after", rule).samples
        assert samples
        assert {tuple(sample.labels) for sample in samples} == {rule.by}


@pytest.mark.parametrize("kind", SOURCES)
def test_only_devices_that_say_one_are_counted(rig: Rig, kind: str) -> None:
    story = rig[0]
    versions = [s.labels["version"] for s in story.samples(kind, "before", DEVICES_READY, model="triage")]
    assert versions == ["1.0.0", "1.0.0"]  # north and south, and no 0.9.0


@pytest.mark.parametrize("kind", SOURCES)
def test_counters_at_rest_have_risen_by_nothing(rig: Rig, kind: str) -> None:
    story = rig[0]
    before = story.sample(kind, "before", REQUESTS, model="triage", version="1.0.0", device_group="north")
    assert (before.value, before.n) == (0.0, 0)
    assert isinstance(before.freshness, Fresh)


@pytest.mark.parametrize("kind", SOURCES)
def test_a_restart_of_a_device_is_no_negative_increase(rig: Rig, kind: str) -> None:
    assert rig[0].sample(kind, "after", REQUESTS, model="reset").value == pytest.approx(45, rel=TOLERANCE)


@pytest.mark.parametrize("kind", SOURCES)
def test_what_a_new_series_counted_before_it_was_seen_is_not_made_up(rig: Rig, kind: str) -> None:
    new = rig[0].sample(kind, "later", REQUESTS, model="triage", version="2.0.0", device_group="north")
    assert new.value == pytest.approx(30, rel=TOLERANCE)
    assert not rig[0].samples(kind, "before", REQUESTS, model="triage", version="2.0.0")


@pytest.mark.parametrize("kind", SOURCES)
def test_what_is_older_than_the_window_no_longer_counts(rig: Rig, kind: str) -> None:
    story = rig[0]
    assert story.sample(kind, "old", REQUESTS, model="old").value >= 50
    assert sum(sample.value for sample in story.samples(kind, "later", REQUESTS, model="old")) == 0


@pytest.mark.parametrize("kind", SOURCES)
def test_a_silent_device_becomes_stale_and_not_zero(rig: Rig, kind: str) -> None:
    story = rig[0]
    at_once = story.sample(kind, "after", REQUESTS, model="south")
    later = story.sample(kind, "later", REQUESTS, model="south")
    assert at_once.value == pytest.approx(20, rel=TOLERANCE)
    assert later.value == pytest.approx(20, rel=TOLERANCE)
    assert isinstance(later.freshness, Stale)
    reading = story.reading(kind, "later", REQUESTS)
    assert FRESHNESS_LIMIT < reading.at - later.freshness.since < FRESHNESS_LIMIT + 30
    # What is about now has no value for it any more, and the others are as fresh as before.
    assert not story.samples(kind, "later", DEVICES_READY, device_group="south")
    assert isinstance(story.sample(kind, "later", DEVICES_READY, device_group="late").freshness, Fresh)
    fresh = story.sample(kind, "later", REQUESTS, model="triage", version="1.0.0", device_group="north").freshness
    assert isinstance(fresh, Fresh)
    assert story.reading(kind, "later", REQUESTS).at - fresh.at < FRESHNESS_LIMIT


@pytest.mark.parametrize("kind", SOURCES)
def test_a_target_added_to_the_file_is_found_without_a_restart(rig: Rig, kind: str) -> None:
    story = rig[0]
    assert not story.samples(kind, "before", DEVICES_READY, device_group="late")
    assert story.sample(kind, "after", DEVICES_READY, device_group="late").value == 1


@pytest.mark.parametrize("kind", SOURCES)
def test_values_that_are_not_finite_are_dropped_by_name_and_nothing_else_is(rig: Rig, kind: str) -> None:
    reading = rig[0].reading(kind, "later", REQUESTS)
    assert {dropped.labels["model"] for dropped in reading.dropped} == {"broken", "endless"}
    assert {dropped.reason for dropped in reading.dropped} == {
        "trimtab_inference_requests_total is not a finite number"
    }
    assert not reading.warnings
    assert not {sample.labels["model"] for sample in reading.samples} & {"broken", "endless"}
    assert all(math.isfinite(sample.value) for sample in reading.samples)


@pytest.mark.parametrize("kind", SOURCES)
def test_a_device_cannot_pass_for_one_of_another_group(rig: Rig, kind: str) -> None:
    assert rig[0].sample(kind, "after", REQUESTS, model="liar").labels["device_group"] == "north"


@pytest.mark.parametrize("name", NASTY)
@pytest.mark.parametrize("kind", SOURCES)
def test_a_label_value_is_compared_as_it_is(rig: Rig, kind: str, name: str) -> None:
    """Whatever it holds, it selects the one series that has it, and cannot end the query and begin another."""
    source = rig[1][kind]
    reading = source.read(Query(REQUESTS, Window.MINUTE, (("model", name), ("device_group", "north"))))
    (sample,) = reading.samples
    assert sample.labels == {"model": name, "version": "n", "device_group": "north"}
    assert sample.value == pytest.approx(2 * (10 + NASTY.index(name)), rel=TOLERANCE)
    assert not reading.dropped
    assert not reading.warnings


@pytest.mark.parametrize(
    "name", ['x"} or trimtab:requests:increase1m{model!="', ".*", "triage|liar", "triag", "Triage"]
)
@pytest.mark.parametrize("kind", SOURCES)
def test_a_value_that_no_series_has_finds_nothing(rig: Rig, kind: str, name: str) -> None:
    reading = rig[1][kind].read(Query(REQUESTS, Window.MINUTE, (("model", name),)))
    assert not reading.samples
    assert not reading.dropped


@pytest.mark.parametrize("match", [(("device", "north-0"),), (("__name__", "up"),), (("model", "a"), ("model", "b"))])
@pytest.mark.parametrize("kind", SOURCES)
def test_labels_that_the_rule_does_not_keep_are_refused(
    rig: Rig, kind: str, match: tuple[tuple[str, str], ...]
) -> None:
    with pytest.raises(ValueError, match=r"keeps model, version, device_group|each label once"):
        rig[1][kind].read(Query(REQUESTS, Window.MINUTE, match))


def test_the_two_sources_agree(rig: Rig) -> None:
    """Same series from both, and of each nearly the same value."""
    story = rig[0]
    for rule in (REQUESTS, CPU_SECONDS, DECISIONS, DEVICES_READY, FAILURES):
        said = {
            kind: {
                tuple(s.labels.items()): s.value
                for s in story.samples(kind, "later", rule)
                if s.labels["model"] != "old"
            }
            for kind in SOURCES
        }
        assert said["scrape"].keys() == said["prometheus"].keys()
        for labels, value in said["scrape"].items():
            assert value == pytest.approx(said["prometheus"][labels], rel=TOLERANCE), labels


def test_equal_samples_give_equal_increases(rig: Rig) -> None:
    """Fed with the samples that Prometheus took, the built-in source's arithmetic gives what Prometheus gives of them."""
    compared = 0
    for metric, at, matrix, expected in rig[0].raw:
        rule = {REQUESTS.metric.name: REQUESTS, DECISIONS.metric.name: DECISIONS}.get(metric, CPU_SECONDS)
        for series in matrix:
            labels = {name: text for name, text in series["metric"].items() if name != "__name__"}
            store = SeriesStore(60)
            for moment, value in series["values"]:
                store.observe("one", moment, [Observation(metric, labels, float(value))])
            reading = store.read(Query(rule, Window.MINUTE), at, 60)
            wanted = [float(entry["value"][1]) for entry in expected if entry["metric"] == labels]
            if wanted and math.isfinite(wanted[0]):
                compared += 1
                assert [sample.value for sample in reading.samples] == [pytest.approx(wanted[0], rel=1e-6)], labels
            else:
                assert not reading.samples, labels
    assert compared > 30


def test_rules_that_are_not_loaded_are_an_error_with_the_next_step(rig: Rig) -> None:
    _, sources, _ = rig
    with pytest.raises(
        OutsideError, match=r"rules of window 1h are missing; load what 'trimtab rules --window 1h' prints"
    ):
        sources["prometheus"].read(Query(REQUESTS, Window.HOUR))


def test_a_window_longer_than_what_is_kept_is_our_own_mistake(rig: Rig) -> None:
    with pytest.raises(ValueError, match="window of at most 60 s, got 1h"):
        rig[1]["scrape"].read(Query(REQUESTS, Window.HOUR))


def test_a_prometheus_without_our_rules_says_so_instead_of_nothing(tmp_path: Path) -> None:
    with prometheus(tmp_path / "bare", None, windows=()) as url:
        source = PrometheusSource(url, freshness_limit=5)
        with pytest.raises(
            OutsideError, match=r"rules of window now are missing; load what 'trimtab rules --window 1m'"
        ):
            source.read(Query(REQUESTS, Window.MINUTE))


def test_a_warning_of_a_real_prometheus_reaches_the_reading(tmp_path: Path) -> None:
    """A second store that does not answer makes every answer incomplete, and Prometheus says so beside it."""
    unreachable = {"url": "http://127.0.0.1:9/read", "read_recent": True}
    with prometheus(tmp_path / "torn", None, more={"remote_read": [unreachable]}) as url:
        source = PrometheusSource(url, freshness_limit=5)
        reading = eventually(source, REQUESTS, lambda _: True)
    assert not reading.samples
    assert any("remote_read" in warning for warning in reading.warnings)
