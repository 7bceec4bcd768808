"""The closed loop: who counts, who does not, and what is said of them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.bot.counts import CountsSource, Fleet
from trimtab_bot.recovery import Progress, read_progress
from trimtab_kernel.problems import OutsideError
from trimtab_kernel.rules import DEVICES_ACTIVE, DEVICES_DESIRED, DEVICES_READY, Window

if TYPE_CHECKING:
    from pathlib import Path

DECLARED = {"kiosk-emea": 3, "kiosk-amer": 2}


@pytest.fixture
def fleet(tmp_path: Path) -> Fleet:
    made = Fleet(tmp_path / "counts.json")
    made.runs("kiosk-emea", "triage", {"1.1.0": 3})
    made.runs("kiosk-amer", "triage", {"1.1.0": 2})
    return made


def look(fleet: Fleet) -> Progress:
    fleet.save()
    return read_progress(CountsSource(fleet.path), "triage", "1.2.0", DECLARED, Window.MINUTE)


def test_a_fleet_that_is_back_has_converged(fleet: Fleet) -> None:
    seen = look(fleet)
    assert seen.has_converged
    assert seen.text() == "5 of 5 reachable devices are back"


def test_one_device_on_the_bad_version_is_enough_to_wait(fleet: Fleet) -> None:
    fleet.runs("kiosk-amer", "triage", {"1.1.0": 1, "1.2.0": 1})
    seen = look(fleet)
    assert not seen.has_converged
    assert seen.text() == "4 of 5 reachable devices are back; still on their way: kiosk-amer"


@pytest.mark.parametrize("rule", [DEVICES_READY, DEVICES_ACTIVE, DEVICES_DESIRED])
def test_serving_activating_and_being_told_all_count(fleet: Fleet, rule: object) -> None:
    fleet.devices(rule, "kiosk-amer", "triage", {"1.1.0": 1, "1.2.0": 1})  # type: ignore[arg-type]  # a rule
    assert not look(fleet).has_converged


def test_an_offline_device_is_listed_and_does_not_block(fleet: Fleet) -> None:
    fleet.runs("kiosk-amer", "triage", {"1.2.0": 2}, age=3600)
    seen = look(fleet)
    assert seen.has_converged
    assert seen.text() == "3 of 3 reachable devices are back; not heard of: kiosk-amer (2 of 2)"


def test_a_fleet_that_is_offline_altogether_is_not_well(fleet: Fleet) -> None:
    fleet.runs("kiosk-emea", "triage", {"1.1.0": 3}, age=3600)
    fleet.runs("kiosk-amer", "triage", {"1.1.0": 2}, age=3600)
    assert not look(fleet).has_converged


def test_other_models_and_groups_play_no_part(fleet: Fleet) -> None:
    fleet.runs("kiosk-emea", "digits", {"1.2.0": 3})
    fleet.runs("gateway-emea", "triage", {"1.2.0": 1})
    assert look(fleet).has_converged


def test_an_incomplete_answer_proves_nothing(fleet: Fleet) -> None:
    fleet.warnings = ["a store did not answer"]
    seen = look(fleet)
    assert not seen.has_converged
    assert "incomplete: a store did not answer" in seen.text()


def test_a_source_that_does_not_answer_is_an_outside_failure(fleet: Fleet) -> None:
    fleet.down = "connection refused"
    with pytest.raises(OutsideError, match="refused"):
        look(fleet)
