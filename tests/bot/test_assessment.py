"""What is said of a version: breach, fine or unknown, with everything it rests on."""

from __future__ import annotations

import dataclasses
import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.bot.tables import NOW, TableSource, cost_target, fairness_target, price
from trimtab_bot.assessment import MAX_VERSIONS, assess
from trimtab_bot.findings import Concern, Finding, Subject
from trimtab_bot.watch import Unpriced, WatchTarget
from trimtab_kernel.canonical import canonical_json
from trimtab_kernel.freshness import Absent, Fresh, Stale
from trimtab_kernel.intervals import CohortCount, disparate_impact, mean_of_sums
from trimtab_kernel.problems import OutsideError
from trimtab_kernel.rules import CPU_SECONDS, DECISIONS, REQUESTS, Dropped, Query, Reading, Window
from trimtab_kernel.verdict import Verdict

BIASED = {"f": (2000.0, 450.0), "m": (2000.0, 1000.0)}
EVEN = {"f": (4000.0, 2000.0), "m": (4000.0, 2000.0)}
OLD = Stale(NOW - 900)


def look(source: TableSource, *targets: WatchTarget) -> tuple[Finding, ...]:
    return assess(targets, source, Window.MINUTES_5, NOW)


def only(source: TableSource, target: WatchTarget) -> Finding:
    (finding,) = look(source, target)
    return finding


def texts(finding: Finding) -> str:
    return "\n".join(f"{label}: {text}" for label, text in finding.details)


# ---------------------------------------------------------------- fairness


def test_a_biased_version_breaches_and_alarms() -> None:
    source = TableSource()
    source.decide(BIASED, version="2.0.0")
    finding = only(source, fairness_target())
    expected = disparate_impact({"f": CohortCount(2000, 450), "m": CohortCount(2000, 1000)})
    assert expected is not None
    assert finding.interval == expected.ratio
    assert (finding.verdict, finding.alarm) == (Verdict.BREACH, True)
    assert finding.subject == Subject("fairness", "triage", "2.0.0", "clinical")
    assert finding.n == 2000
    assert finding.device_groups == ("kiosks",)
    assert finding.freshness == Fresh(NOW - 1)
    assert finding.observed_at == NOW
    assert texts(finding).splitlines() == [
        "cohort f: 22.5% positive (450 of 2000)",
        "cohort m: 50.0% positive (1000 of 2000)",
        "compared: f (lowest rate) with m (highest)",
        "sample: smallest compared cohort 2000, minimum 200; 4000 decisions in all",
    ]


def test_a_fair_version_is_fine() -> None:
    source = TableSource()
    source.decide(EVEN)
    finding = only(source, fairness_target())
    assert (finding.verdict, finding.alarm) == (Verdict.FINE, False)


def test_a_breach_of_one_look_is_shown_and_raises_no_alarm_yet() -> None:
    """The alarm asks for more than the shown interval, because it may look again at every tick."""
    source = TableSource()
    source.decide({"f": (400.0, 130.0), "m": (400.0, 200.0)})
    finding = only(source, fairness_target())
    assert finding.interval is not None
    assert finding.alarm_interval is not None
    assert (finding.verdict, finding.alarm) == (Verdict.BREACH, False)
    assert finding.alarm_interval.low < finding.interval.low < finding.interval.high < 0.8 < finding.alarm_interval.high


def test_decisions_are_pooled_over_groups_and_versions_are_kept_apart() -> None:
    source = TableSource()
    source.decide({"f": (100.0, 20.0), "m": (150.0, 75.0)}, version="2.0.0", group="kiosks")
    source.decide({"f": (300.0, 70.0), "m": (250.0, 125.0)}, version="2.0.0", group="gateways")
    source.decide(EVEN, version="1.9.0", group="gateways")
    source.decide(EVEN, version="1.10.0", group="gateways")
    target = fairness_target(groups=("gateways", "kiosks"))
    findings = look(source, target)
    assert [finding.version for finding in findings] == ["1.10.0", "1.9.0", "2.0.0"]  # sorted by subject
    pooled = disparate_impact({"f": CohortCount(400, 90), "m": CohortCount(400, 200)})
    assert pooled is not None
    assert findings[2].interval == pooled.ratio
    assert findings[2].n == 400
    assert findings[2].device_groups == ("gateways", "kiosks")
    assert findings[0].device_groups == ("gateways",)


def test_another_models_decisions_are_not_looked_at() -> None:
    source = TableSource()
    source.decide(BIASED, model="digits")
    assert look(source, fairness_target()) == ()


def test_groups_of_another_policy_do_not_count_and_are_named() -> None:
    source = TableSource()
    source.decide(EVEN, group="kiosks")
    source.decide(BIASED, group="phones")
    finding = only(source, fairness_target(groups=("kiosks",)))
    assert finding.verdict is Verdict.FINE
    assert finding.device_groups == ("kiosks",)
    assert "not counted: groups that no deployment of this policy names: phones" in texts(finding)


@pytest.mark.parametrize("small", [0.0, 1.0, 199.0])
def test_a_sample_below_the_minimum_decides_nothing(small: float) -> None:
    source = TableSource()
    source.decide({"f": (small, 0.0), "m": (100000.0, 50000.0)})
    finding = only(source, fairness_target())
    assert (finding.verdict, finding.alarm, finding.n) == (Verdict.UNKNOWN, False, int(small))
    assert f"smallest compared cohort {small:.0f}, minimum 200" in texts(finding)


def test_the_minimum_is_reached_by_the_number_itself() -> None:
    source = TableSource()
    source.decide({"f": (200.0, 10.0), "m": (200.0, 150.0)})
    assert only(source, fairness_target()).verdict is Verdict.BREACH


def test_a_rare_cohort_does_not_hide_what_is_plain_about_the_others() -> None:
    source = TableSource()
    source.decide({**BIASED, "x": (3.0, 0.0)})
    finding = only(source, fairness_target(cohorts=("f", "m", "x")))
    assert (finding.verdict, finding.alarm, finding.n) == (Verdict.BREACH, True, 2000)
    assert "not compared: below the minimum of 200: x" in texts(finding)
    assert "cohort x: 0.0% positive (0 of 3)" in texts(finding)


def test_fine_needs_every_declared_cohort() -> None:
    source = TableSource()
    source.decide(EVEN)
    finding = only(source, fairness_target(cohorts=("f", "m", "x")))
    assert finding.verdict is Verdict.UNKNOWN
    assert finding.reason == "not every cohort could be judged: x"
    assert "cohort x: no decisions" in texts(finding)


def test_what_devices_report_of_undeclared_cohorts_neither_counts_nor_hides() -> None:
    source = TableSource()
    source.decide({**BIASED, "made\nup": (100000.0, 99999.0)})
    source.add(DECISIONS, 7, model="triage", version="1.0.0", device_group="kiosks", cohort="f", outcome="maybe")
    finding = only(source, fairness_target())
    assert (finding.verdict, finding.alarm) == (Verdict.BREACH, True)
    assert "not counted: 100007 decisions with a cohort or outcome that the model does not declare" in texts(finding)


def test_no_positive_decision_at_all_says_nothing() -> None:
    source = TableSource()
    source.decide({"f": (1000.0, 0.0), "m": (1000.0, 0.0)})
    finding = only(source, fairness_target())
    assert (finding.verdict, finding.interval) == (Verdict.UNKNOWN, None)
    assert finding.reason == "too few cohorts have decisions, or no decision was positive"


def test_a_version_that_decides_without_being_measured_is_unknown_and_not_left_out() -> None:
    source = TableSource()
    source.add(REQUESTS, 5000, model="triage", version="1.0.0", device_group="kiosks")
    finding = only(source, fairness_target())
    assert (finding.verdict, finding.reason, finding.freshness) == (
        Verdict.UNKNOWN,
        "no decisions were measured",
        Absent(),
    )


def test_a_target_with_a_problem_says_it_and_makes_no_interval() -> None:
    source = TableSource()
    source.decide(BIASED)
    target = dataclasses.replace(fairness_target(), problem="the model declares no sensitive attribute")
    finding = only(source, target)
    assert (finding.verdict, finding.reason) == (Verdict.UNKNOWN, "the model declares no sensitive attribute")
    assert (finding.interval, finding.alarm) == (None, False)


@pytest.mark.parametrize("confidence", [0.0, 1.0, 1.5])
def test_a_confidence_that_is_none_is_a_reason_and_no_crash(confidence: float) -> None:
    source = TableSource()
    source.decide(BIASED)
    source.spend(1000, 1.0, 1.0)
    for target in (fairness_target(), cost_target(1.0, {"kiosks": price("0.02")})):
        finding = only(source, dataclasses.replace(target, confidence=confidence))
        assert (finding.verdict, finding.alarm) == (Verdict.UNKNOWN, False)
        assert finding.reason == "the policy's confidence is not between 0 and 1"


# ---------------------------------------------------------------- freshness and completeness


def test_stale_decisions_decide_nothing() -> None:
    source = TableSource()
    source.decide(BIASED, freshness=OLD)
    finding = only(source, fairness_target())
    assert (finding.verdict, finding.reason, finding.alarm) == (Verdict.UNKNOWN, "data are stale", False)
    assert finding.freshness == OLD


def test_a_silent_group_is_named_and_what_it_sent_still_counts() -> None:
    source = TableSource()
    source.decide({"f": (1000.0, 200.0), "m": (1000.0, 500.0)}, group="kiosks")
    source.decide({"f": (1000.0, 250.0), "m": (1000.0, 500.0)}, group="gateways", freshness=OLD)
    finding = only(source, fairness_target(groups=("gateways", "kiosks")))
    assert (finding.verdict, finding.n, finding.freshness) == (Verdict.BREACH, 2000, Fresh(NOW - 1))
    assert "silent now: gateways (what they sent within the window counts)" in texts(finding)


def test_a_warning_of_the_source_makes_everything_unknown() -> None:
    source = TableSource(warnings=("a store did not answer",))
    source.decide(BIASED)
    source.decide(EVEN, version="0.9.0")
    for finding in look(source, fairness_target()):
        assert (finding.verdict, finding.alarm) == (Verdict.UNKNOWN, False)
        assert finding.reason == "the data are incomplete: a store did not answer"
        assert finding.warnings == ("a store did not answer",)


def test_a_dropped_sample_makes_unknown_only_what_it_is_about() -> None:
    source = TableSource()
    source.decide(BIASED)
    source.decide(BIASED, version="2.0.0")
    labels = {"model": "triage", "version": "2.0.0", "device_group": "kiosks", "cohort": "f", "outcome": "positive"}
    elsewhere = {**labels, "version": "1.0.0", "device_group": "phones"}
    source.dropped[DECISIONS] = [Dropped(labels, "not a finite number"), Dropped(elsewhere, "not a finite number")]
    one, two = look(source, fairness_target())
    assert (one.verdict, one.alarm) == (Verdict.BREACH, True)
    assert (two.verdict, two.alarm) == (Verdict.UNKNOWN, False)
    assert two.reason == "the data are incomplete: not a finite number (kiosks)"


def test_a_source_that_does_not_answer_gives_no_findings_at_all() -> None:
    class Silent(TableSource):
        def read(self, query: Query) -> Reading:
            raise OutsideError(f"no answer about {query.rule.name}")

    with pytest.raises(OutsideError, match="no answer about decisions"):
        look(Silent(), fairness_target())


def test_each_rule_is_asked_once_however_much_is_watched() -> None:
    source = TableSource()
    targets = [dataclasses.replace(fairness_target(), policy=f"p{i}") for i in range(5)]
    look(source, *targets, cost_target(1.0, {"kiosks": price("0.02")}))
    assert [query.rule.name for query in source.asked] == [
        "cpu_seconds",
        "cpu_seconds_squared",
        "decisions",
        "requests",
    ]
    assert {(query.window, query.match) for query in source.asked} == {(Window.MINUTES_5, ())}


def test_a_device_that_invents_versions_cannot_make_the_list_endless() -> None:
    source = TableSource()
    source.decide(BIASED)
    for index in range(500):
        source.add(REQUESTS, 1, model="triage", version=f"9.9.{index}", device_group="kiosks")
    findings = look(source, fairness_target())
    assert len(findings) == MAX_VERSIONS
    (judged,) = [finding for finding in findings if finding.version == "1.0.0"]
    assert judged.alarm
    assert f"not judged: {501 - MAX_VERSIONS} further versions with fewer inferences" in texts(judged)


# ---------------------------------------------------------------- cost


def test_a_dear_version_breaches_its_ceiling() -> None:
    """10,000 inferences of 20 ms with a spread of 10 ms, at 0.36 EUR per core-hour (0.0001 EUR per CPU second)."""
    source = TableSource()
    n, mean, deviation = 10_000, 0.02, 0.01
    seconds, squares = n * mean, n * (mean**2 + deviation**2)
    source.spend(n, seconds, squares, version="2.0.0")
    finding = only(source, cost_target(0.001, {"kiosks": price("0.36")}))
    assert (finding.concern, finding.verdict, finding.alarm, finding.n) == (Concern.COST, Verdict.BREACH, True, n)
    assert finding.interval is not None
    assert finding.interval.value == pytest.approx(0.002)
    half = 1.959964 * deviation / math.sqrt(n) * 0.0001 * 1000
    assert finding.interval.high - finding.interval.value == pytest.approx(half, rel=1e-3)
    assert (finding.metric, finding.unit) == ("cost per 1k inferences", "EUR")
    assert texts(finding).splitlines() == [
        "group kiosks: 10000 inferences, 20.000 ms CPU each, 0.36 EUR per core-hour",
        "at the price book's bounds: 0.001 to 0.003 EUR per 1k inferences",
        "prices: book (declared)",
        "sample: 10000 inferences, minimum 200",
    ]


def test_each_groups_seconds_cost_what_that_group_pays() -> None:
    source = TableSource()
    source.spend(1000, 10.0, 0.2, group="kiosks")
    source.spend(3000, 90.0, 3.0, group="gateways")
    finding = only(source, cost_target(1.0, {"kiosks": price("3.6"), "gateways": price("7.2")}))
    expected = mean_of_sums(10 * 0.001 + 90 * 0.002, 0.2 * 0.001**2 + 3.0 * 0.002**2, 4000)
    assert expected is not None
    assert finding.interval is not None
    assert finding.interval.value == pytest.approx(expected.value * 1000)
    assert finding.interval.low == pytest.approx(expected.low * 1000)
    assert finding.interval.high == pytest.approx(expected.high * 1000)
    assert (finding.verdict, finding.n) == (Verdict.FINE, 4000)


def test_the_bounds_of_the_prices_do_not_widen_the_interval() -> None:
    """A price that may be half or double is no doubt about the measurement; it is shown apart."""
    source = TableSource()
    source.spend(100_000, 2000.0, 41.0)
    ceiling = 0.0021
    finding = only(source, cost_target(ceiling, {"kiosks": price("0.36")}))
    assert finding.verdict is Verdict.FINE
    assert "at the price book's bounds: 0.001 to 0.003 EUR per 1k inferences" in texts(finding)


@pytest.mark.parametrize(
    ("each", "reason"),
    [
        (Unpriced("F402 no price of kiosk-a"), "no price in EUR for gateways: F402 no price of kiosk-a"),
        (price("0.36", "USD"), "no price in EUR for gateways: its price is in USD"),
    ],
)
def test_a_group_without_a_price_leaves_the_whole_unknown(each: Unpriced, reason: str) -> None:
    source = TableSource()
    source.spend(10_000, 200.0, 5.0, group="kiosks")
    source.spend(10, 0.2, 0.005, group="gateways")
    finding = only(source, cost_target(0.0000001, {"kiosks": price("0.36"), "gateways": each}))
    assert (finding.verdict, finding.reason, finding.interval) == (Verdict.UNKNOWN, reason, None)
    assert not finding.alarm


def test_a_group_without_inferences_needs_no_price() -> None:
    source = TableSource()
    source.spend(10_000, 200.0, 5.0, group="kiosks")
    finding = only(source, cost_target(1.0, {"kiosks": price("0.36"), "phones": Unpriced("none")}))
    assert finding.verdict is Verdict.FINE


def test_inferences_without_their_cpu_seconds_are_unknown_and_not_free() -> None:
    source = TableSource()
    source.add(REQUESTS, 5000, model="triage", version="1.0.0", device_group="kiosks")
    finding = only(source, cost_target(1.0, {"kiosks": price("0.36")}))
    assert (finding.verdict, finding.interval) == (Verdict.UNKNOWN, None)
    assert finding.reason == "kiosks reports inferences without their CPU seconds"


def test_cpu_seconds_without_inferences_are_unknown() -> None:
    source = TableSource()
    source.add(CPU_SECONDS, 5000, model="triage", version="1.0.0", device_group="kiosks")
    finding = only(source, cost_target(1.0, {"kiosks": price("0.36")}))
    assert (finding.verdict, finding.reason) == (Verdict.UNKNOWN, "no inferences were measured")


@pytest.mark.parametrize("n", [1, 199])
def test_few_inferences_decide_no_cost(n: int) -> None:
    source = TableSource()
    source.spend(n, n * 5.0, n * 25.0)
    finding = only(source, cost_target(0.001, {"kiosks": price("0.36")}))
    assert (finding.verdict, finding.alarm, finding.n) == (Verdict.UNKNOWN, False, n)


def test_stale_costs_decide_nothing() -> None:
    source = TableSource()
    source.spend(10_000, 200.0, 5.0, freshness=OLD)
    finding = only(source, cost_target(0.001, {"kiosks": price("0.36")}))
    assert (finding.verdict, finding.reason) == (Verdict.UNKNOWN, "data are stale")


# ---------------------------------------------------------------- all findings


counts = st.tuples(st.integers(0, 5000), st.integers(0, 5000)).map(lambda pair: (float(max(pair)), float(min(pair))))


@given(st.lists(counts, min_size=1, max_size=4), st.floats(0.01, 1.0), st.integers(0, 500), st.booleans())
def test_whatever_is_measured_the_verdict_keeps_its_word(
    cells: list[tuple[float, float]], minimum: float, sample: int, stale: bool
) -> None:
    """No crash; stale decides nothing; an alarm is a breach; nothing is decided below the minimum."""
    cohorts = tuple(f"c{index}" for index in range(len(cells)))
    source = TableSource()
    source.decide(dict(zip(cohorts, cells, strict=True)), freshness=OLD if stale else Fresh(NOW))
    finding = only(source, fairness_target(minimum, sample, cohorts=cohorts))
    if stale or finding.n < sample:
        assert finding.verdict is Verdict.UNKNOWN
    if finding.alarm:
        assert finding.verdict is Verdict.BREACH
    if finding.verdict is Verdict.BREACH:
        assert finding.interval is not None
        assert finding.interval.high < minimum
    if finding.verdict is Verdict.FINE:
        assert finding.interval is not None
        assert finding.interval.low >= minimum
        assert all(n >= max(sample, 1) for n, _ in cells)
    json.loads(canonical_json(finding.to_json()))


@given(st.permutations(range(6)))
def test_the_order_of_samples_does_not_matter(order: list[int]) -> None:
    first, other = TableSource(), TableSource()
    for source, indices in ((first, range(6)), (other, order)):
        for index in indices:
            group = "kiosks" if index % 2 else "gateways"
            source.decide(BIASED, version=f"{index // 2}.0.0", group=group, freshness=Fresh(NOW - index))
    target = fairness_target(groups=("gateways", "kiosks"))
    assert look(first, target) == look(other, target)


def test_a_finding_has_canonical_bytes_for_the_evidence() -> None:
    source = TableSource()
    source.decide(BIASED)
    source.spend(1000, 10.0, 0.2, version="1.5.0")
    targets = (fairness_target(), cost_target(0.001, {"kiosks": price("0.36")}))
    said = [json.loads(canonical_json(finding.to_json())) for finding in look(source, *targets)]
    fair = next(each for each in said if each["concern"] == "fairness" and each["version"] == "1.0.0")
    assert fair["limit"] == {"bound": "0.8", "minimumSample": 200, "side": "at least"}
    assert float(fair["interval"]["value"]) == pytest.approx(0.45)
    assert (fair["alarm"], fair["window"], fair["freshness"]["state"]) == (True, "5m", "fresh")
    assert {each["freshness"]["state"] for each in said} == {"fresh", "absent"}
