"""What people read in the status of a deployment, from what its group's devices say."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trimtab_plugins.reporting.status import AgentReport, Device, ModelReport, status_of

NOW, LATER = "2026-11-22T10:00:00Z", "2026-11-22T10:05:00Z"


def deployment(*, wave: str = "", stable: str = "", status: dict[str, Any] | None = None) -> dict[str, Any]:
    annotations = {"fleet.apexlogic.ai/version": "2.0.0"} | ({"fleet.apexlogic.ai/wave": wave} if wave else {})
    spec: dict[str, Any] = {"modelRef": {"name": "digits", "version": "2.0.0"}, "rollout": {"salt": "s"}}
    if stable:
        spec["rollout"]["stable"] = {"version": stable}
    made: dict[str, Any] = {
        "metadata": {"name": "d", "namespace": "n", "generation": 7, "annotations": annotations},
        "spec": spec,
    }
    return made | ({"status": status} if status else {})


def device(name: str, desired: str | None, active: str | None, quarantined: int = 0, *, valid: bool = True) -> Device:
    return Device(name, AgentReport(valid, {"digits": ModelReport(desired, active, quarantined)}))


def conditions(status: dict[str, Any]) -> dict[str, tuple[str, str]]:
    return {each["type"]: (each["status"], each["reason"]) for each in status["conditions"]}


def message(status: dict[str, Any]) -> str:
    return str(status["conditions"][0]["message"])


CURRENT, OLD = device("a", "2.0.0", "2.0.0"), device("b", "1.0.0", "1.0.0")
SILENT = Device("off", None, "connection refused")

CASES: dict[str, tuple[list[Device], dict[str, tuple[str, str]], str]] = {
    "all run it": (
        [CURRENT],
        {"Ready": ("True", "AllCurrent")},
        "1 of 1 devices that answer run what they are asked for",
    ),
    "one is off": (
        [CURRENT, SILENT],
        {"Ready": ("True", "AllCurrent")},
        "1 of 1 devices that answer run what they are asked for; off does not answer",
    ),
    "all are off": ([SILENT], {"Ready": ("Unknown", "NoReports")}, "off does not answer"),
    "no pods": ([], {"Ready": ("Unknown", "NoDevices")}, "no pod of the group runs on any node"),
    "on the way": (
        [CURRENT, device("b", "2.0.0", "1.0.0")],
        {"Ready": ("False", "Updating"), "Reconciling": ("True", "Updating")},
        "b is on the way",
    ),
    "has the document of before": (
        [CURRENT, OLD],
        {"Ready": ("False", "Updating"), "Reconciling": ("True", "Updating")},
        "b has not seen this version of the document",
    ),
    "will not try again": (
        [CURRENT, device("b", "2.0.0", "1.0.0", 1)],
        {"Ready": ("False", "Stalled"), "Stalled": ("True", "Quarantined")},
        "b will not try what it is asked for again for now",
    ),
    "has one that it will not try, and runs what it is asked for": (
        [device("a", "2.0.0", "2.0.0", 1)],
        {"Ready": ("True", "AllCurrent")},
        "1 of 1",
    ),
    "cannot obey": (
        [CURRENT, device("b", "2.0.0", "2.0.0", valid=False)],
        {"Ready": ("False", "Stalled"), "Stalled": ("True", "DocumentRefused")},
        "b cannot obey its desired document",
    ),
    "knows the model not yet": (
        [Device("new", AgentReport(valid=True, models={}))],
        {"Ready": ("False", "Updating"), "Reconciling": ("True", "Updating")},
        "new has not seen this version of the document",
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_conditions(case: str) -> None:
    devices, expected, said = CASES[case]
    status = status_of(deployment(), devices, NOW)
    assert conditions(status) == expected
    assert said in message(status)
    assert {each["observedGeneration"] for each in status["conditions"]} == {status["observedGeneration"]} == {7}


@pytest.mark.parametrize(
    ("desired", "stable", "ready"),
    [("2.0.0", "", 1), ("1.0.0", "1.0.0", 1), (None, "", 1), ("1.0.0", "", 0), ("0.9.0", "1.0.0", 0)],
)
def test_within_a_wave_a_device_may_be_asked_for_the_target_the_stable_version_or_nothing(
    desired: str | None, stable: str, ready: int
) -> None:
    status = status_of(deployment(wave="10", stable=stable), [device("a", desired, desired)], NOW)
    assert status["devices"]["ready"] == ready


def test_many_are_told_by_number() -> None:
    devices = [device(f"node-{number}", "2.0.0", "1.0.0") for number in range(9)]
    assert "node-0, node-1, node-2, node-3, node-4 and 4 more are on the way" in message(
        status_of(deployment(), devices, NOW)
    )


def test_a_condition_keeps_its_time_for_as_long_as_its_status_stays() -> None:
    first = status_of(deployment(), [CURRENT], NOW)
    again = status_of(deployment(status=first), [CURRENT], LATER)
    assert again == first
    worse = status_of(deployment(status=first), [OLD], LATER)
    assert [each["lastTransitionTime"] for each in worse["conditions"]] == [LATER, LATER]


VERSIONS = st.none() | st.sampled_from(["1.0.0", "2.0.0", "others"]) | st.text(max_size=5)
REPORTS = st.builds(
    AgentReport,
    st.booleans(),
    st.dictionaries(st.just("digits"), st.builds(ModelReport, VERSIONS, VERSIONS, st.integers(0, 2))),
)
DEVICES = st.lists(st.builds(Device, st.text(max_size=8), st.none() | REPORTS), max_size=60)


@given(DEVICES, st.sampled_from(["", "10"]))
def test_whatever_devices_say_the_counts_add_up_and_the_conditions_agree(devices: list[Device], wave: str) -> None:
    status = status_of(deployment(wave=wave), devices, NOW)
    counts, found = status["devices"], conditions(status)
    assert counts["reporting"] == counts["ready"] + counts["updating"] + counts["stalled"] <= counts["total"]
    assert counts["total"] == len(devices)
    assert (found["Ready"][0] == "True") == (counts["reporting"] > 0 and counts["ready"] == counts["reporting"])
    assert ("Stalled" in found) == bool(counts["stalled"])
    assert ("Reconciling" in found) == (bool(counts["updating"]) and not counts["stalled"])
    names = [each["version"] for each in status["versions"]]
    assert len(names) == len(set(names)) <= 21
    heard = [each.report.models["digits"] for each in devices if each.report and "digits" in each.report.models]
    assert sum(each["devices"] for each in status["versions"]) == sum(each.active is not None for each in heard)
    assert len(message(status)) < 32_768
