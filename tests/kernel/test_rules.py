"""The closed set of questions to a metrics source."""

from __future__ import annotations

import re

import pytest

from trimtab_kernel.rules import DECISIONS, DEVICES_ACTIVE, REQUESTS, RULES, Window
from trimtab_kernel.vocabulary import METRICS, MetricType

# Prometheus data model: names of metrics (recorded ones may have colons) and of labels.
METRIC_NAME = re.compile(r"[a-zA-Z_:][a-zA-Z0-9_:]*")
LABEL_NAME = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]*")


@pytest.mark.parametrize("window", Window)
def test_a_window_reads_back_from_its_text(window: Window) -> None:
    assert Window.parse(window.text) is window


@pytest.mark.parametrize("text", ["", "5", "5min", "2m", "300s", "1H", "-1m", "1m "])
def test_a_window_that_is_none_is_refused_with_the_windows_there_are(text: str) -> None:
    with pytest.raises(ValueError, match="expected one of 15s, 1m, 5m, 30m, 1h, 6h, 1d"):
        Window.parse(text)


def test_recorded_names_are_unique_and_legal() -> None:
    names = [rule.newest_name for rule in RULES]
    for rule in RULES:
        names += {rule.recorded_name(window) for window in Window}
    assert len(set(names)) == len(names)
    assert all(METRIC_NAME.fullmatch(name) for name in names)


def test_the_expressions_are_what_prometheus_records() -> None:
    assert DECISIONS.expression(Window.MINUTES_5) == (
        "sum by (model, version, device_group, cohort, outcome) (increase(trimtab_decisions_total[5m]))"
    )
    assert DECISIONS.recorded_name(Window.MINUTES_5) == "trimtab:decisions:increase5m"
    assert (
        DEVICES_ACTIVE.expression(Window.HOUR) == "count by (model, version, device_group) (trimtab_agent_active == 1)"
    )
    assert DEVICES_ACTIVE.recorded_name(Window.HOUR) == DEVICES_ACTIVE.recorded_name(Window.MINUTE)
    assert REQUESTS.newest_expression == (
        "max by (model, version, device_group) (timestamp(trimtab_inference_requests_total))"
    )


def test_metrics_are_named_as_prometheus_asks() -> None:
    """Counters end in _total, names and labels are legal, units are base units, every family says what it is."""
    assert len({metric.name for metric in METRICS}) == len(METRICS)
    for metric in METRICS:
        assert METRIC_NAME.fullmatch(metric.name)
        assert ":" not in metric.name
        assert metric.name.endswith("_total") == (metric.kind is MetricType.COUNTER)
        assert metric.help.endswith(".")
        assert all(LABEL_NAME.fullmatch(label) for label in metric.labels)
        assert "group" not in metric.labels
        assert not re.search(r"_(ms|millis|kb|minutes)(_|$)", metric.name)


def test_rules_keep_only_labels_that_their_metric_has() -> None:
    for rule in RULES:
        assert set(rule.by) <= {*rule.metric.labels, "device_group", "device"}
