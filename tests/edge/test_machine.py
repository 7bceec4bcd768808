"""The life of a model: the table, its dialogues, and what holds whatever happens in whatever order."""

from __future__ import annotations

import dataclasses
import itertools
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from trimtab_edge.lifecycle import machine
from trimtab_edge.lifecycle.machine import (
    TABLE,
    Adopted,
    Announce,
    Backoff,
    Checked,
    Event,
    Failed,
    Fetch,
    Fetched,
    Hindered,
    LifecycleError,
    Lost,
    Missing,
    ModelState,
    Observe,
    Passed,
    Phase,
    Policy,
    Prune,
    Refused,
    Restarted,
    Settle,
    Settled,
    Stage,
    StagedInPlace,
    Switch,
    Switched,
    Undecided,
    Unwanted,
    Verify,
    Wanted,
    Withdraw,
    step,
)
from trimtab_edge.lifecycle.release import Release
from trimtab_edge.settings import ModelDescription
from trimtab_kernel import vocabulary
from trimtab_kernel.identity import Digest

if TYPE_CHECKING:
    from collections.abc import Iterator

    from trimtab_edge.lifecycle.machine import Command

README = Path(__file__).parents[2] / "edge_runtime/README.md"
POLICY = Policy()
T = 1_800_000_000.0


def release(version: str, content: str | None = None) -> Release:
    digest = Digest.of((content or version).encode())
    return Release(version, digest, 10, "onnx", "", ModelDescription(digest=digest))


A, B, BROKEN, FORGED, SILENT = (release(f"1.{minor}.0") for minor in range(5))
RELABELLED = release("9.0.0", "1.0.0")
"""The bytes of A under another version."""


# ---------------------------------------------------------------- dialogues


def dialogue(*lines: Event, state: ModelState | None = None) -> tuple[ModelState, tuple[Command, ...]]:
    """The state after these events, and the last commands."""
    current = state or ModelState()
    commands: tuple[Command, ...] = ()
    for line in lines:
        current, commands = step(current, line, POLICY)
    return current, commands


def arrived(target: Release, state: ModelState | None = None, at: float = T) -> ModelState:
    """``target`` is active after an update without a hitch."""
    after, _ = dialogue(
        Wanted(at, target), Fetched(at), Checked(at), StagedInPlace(at), Switched(at), Passed(at), state=state
    )
    return after


def test_an_update_without_a_hitch() -> None:
    state = ModelState()
    for event, command, phase in (
        (Wanted(T, A), Fetch(A), Phase.DESIRED),
        (Fetched(T), Verify(A), Phase.FETCHED),
        (Checked(T), Stage(A), Phase.VERIFIED),
        (StagedInPlace(T), Switch(A), Phase.STAGED),
        (Switched(T), Observe(A), Phase.PROBATION),
    ):
        state, commands = step(state, event, POLICY)
        assert (state.phase, commands) == (phase, (command,))
    state, commands = step(state, Passed(T), POLICY)
    assert state == ModelState(Phase.ACTIVE, good=A)
    assert commands == (Announce(vocabulary.UPDATE_ACTIVATED, A), Prune((A,)))


def test_the_version_before_stays_on_the_device() -> None:
    state = arrived(B, arrived(A))
    assert (state.good, state.previous) == (B, A)
    assert state.kept == (B, A)


def test_a_failed_probation_returns_to_the_last_known_good_version() -> None:
    state, commands = dialogue(
        Wanted(T, BROKEN), Fetched(T), Checked(T), StagedInPlace(T), Switched(T), Failed(T, "", "does not load"),
        state=arrived(A),
    )  # fmt: skip
    assert state.phase is Phase.ROLLED_BACK
    assert commands == (
        Announce(vocabulary.UPDATE_ROLLED_BACK, BROKEN, "", "does not load"), Settle(A, thorough=True),
    )  # fmt: skip
    state, commands = step(state, Settled(T), POLICY)
    assert commands == (Prune((A,)),)
    state, commands = step(state, Wanted(T + 1, BROKEN), POLICY)
    assert commands == ()
    assert state.good == A


def test_quarantine_ends_after_a_while_and_lasts_longer_every_time() -> None:
    state, at, waits = arrived(A), T, []
    for _ in range(8):
        start = at
        while True:
            state, commands = step(state, Wanted(at, FORGED), POLICY)
            if commands:
                break
            at += 30
        waits.append(at - start)
        assert commands == (Fetch(FORGED),)
        state, _ = dialogue(Refused(at, "E301", "wrong bytes"), Settled(at), state=state)
    assert waits == [0, 60, 240, 960, 3840, 15360, 61440, 86400]


def test_another_digest_is_not_in_quarantine() -> None:
    state, _ = dialogue(Wanted(T, FORGED), Refused(T, "E301", ""), Settled(T), state=arrived(A))
    assert step(state, Wanted(T, B), POLICY)[1] == (Fetch(B),)


def test_a_success_clears_the_strikes() -> None:
    state, _ = dialogue(Wanted(T, B), Refused(T, "E301", ""), Settled(T), state=arrived(A))
    state = arrived(B, state, at=T + 100)
    assert (state.good, state.quarantine) == (B, ())


def test_a_refused_first_release_leaves_nothing_behind() -> None:
    state, commands = dialogue(Wanted(T, FORGED), Refused(T, "E301", "wrong bytes"))
    assert commands[-1] == Withdraw(FORGED)
    assert state.good is None


def test_silence_of_the_server_is_no_verdict_on_a_first_release() -> None:
    """There is nothing to go back to; more likely the server is not up yet."""
    state, commands = dialogue(
        Wanted(T, A), Fetched(T), Checked(T), StagedInPlace(T), Switched(T), Undecided(T, "no answer")
    )
    assert (state.phase, commands) == (Phase.PROBATION, ())
    assert step(state, Wanted(T + 60, A), POLICY)[1] == (Observe(A),)


def test_silence_of_the_server_is_a_verdict_where_there_is_a_way_back() -> None:
    state, commands = dialogue(
        Wanted(T, B), Fetched(T), Checked(T), StagedInPlace(T), Switched(T), Undecided(T, "no answer"), state=arrived(A)
    )
    assert (state.phase, commands[-1]) == (Phase.ROLLED_BACK, Settle(A, thorough=True))


def test_git_goes_back_while_the_new_version_is_on_probation() -> None:
    """The device does not wait for the probation to end."""
    state, commands = dialogue(
        Wanted(T, B), Fetched(T), Checked(T), StagedInPlace(T), Switched(T), Wanted(T + 1, A), state=arrived(A)
    )
    assert commands == (Settle(A, thorough=True),)
    state, _ = dialogue(Settled(T + 1), Wanted(T + 2, A), state=state)
    assert (state.phase, state.good, state.quarantine) == (Phase.ACTIVE, A, ())


def test_a_way_back_needs_no_condition_to_be_met() -> None:
    """The bytes are on the device: it is a switch, not an update."""
    state = arrived(B, arrived(A))
    unmet = ("battery 5 %, expected above 50 %",)
    assert step(state, Wanted(T, A, unmet, local=True), POLICY)[1] == (Fetch(A),)
    assert step(state, Wanted(T, A, unmet, local=False), POLICY)[1] == ()


def test_an_update_waits_for_its_conditions_and_goes_on_when_they_are_met() -> None:
    state, commands = step(arrived(A), Wanted(T, B, ("network ANY, expected WIFI",)), POLICY)
    assert (state.phase, state.good, commands) == (Phase.DESIRED, A, ())
    assert step(state, Wanted(T, B), POLICY)[1] == (Fetch(B),)


def test_what_is_hindered_is_tried_again_later_and_later() -> None:
    state, at, waits = dialogue(Wanted(T, A))[0], T, []
    for _ in range(12):
        state, _ = step(state, Hindered(at, "no network"), POLICY)
        start = at
        while not step(state, Wanted(at, A), POLICY)[1]:
            at += 1
        waits.append(at - start)
    assert waits == [2, 4, 8, 16, 32, 64, 128, 256, 512, 900, 900, 900]


def test_a_clock_that_jumps_ends_a_wait_but_never_prolongs_it() -> None:
    backoff = Backoff().again(T)
    assert not backoff.over(T + 1, 60, 4, 86400)
    assert backoff.over(T + 10**9, 60, 4, 86400)
    assert backoff.over(T - 1, 60, 4, 86400)


def test_a_damaged_good_release_falls_back_to_the_one_before_and_is_fetched_again() -> None:
    state, commands = dialogue(Restarted(T), Lost(T), state=arrived(B, arrived(A)))
    assert commands == (Settle(A, thorough=True),)
    state, commands = dialogue(Settled(T), Wanted(T, B), state=state)
    assert (state.good, commands) == (A, (Fetch(B),))


def test_an_agent_that_dies_again_and_again_within_a_probation_goes_back() -> None:
    state, _ = dialogue(Wanted(T, B), Fetched(T), Checked(T), StagedInPlace(T), Switched(T), state=arrived(A))
    for _ in range(POLICY.probation_starts):
        state, commands = step(state, Restarted(T), POLICY)
        assert commands == (Observe(B),)
    state, commands = step(state, Restarted(T), POLICY)
    assert commands[-1] == Settle(A, thorough=True)


def test_what_was_active_before_there_was_a_journal_is_taken_over() -> None:
    state, _ = dialogue(Adopted(T, A))
    assert (state.phase, state.good) == (Phase.ACTIVE, A)


def test_a_version_that_failed_is_not_taken_over_when_the_last_good_one_is_lost() -> None:
    state, _ = dialogue(
        Wanted(T, BROKEN), Fetched(T), Checked(T), StagedInPlace(T), Switched(T), Failed(T, "", ""), Lost(T),
        state=arrived(A),
    )  # fmt: skip
    state, _ = dialogue(Adopted(T, BROKEN), state=state)
    assert state.good is None


def test_another_label_on_the_same_bytes_that_fails_does_not_take_the_good_one_along() -> None:
    state, commands = dialogue(
        Wanted(T, RELABELLED), Fetched(T), Checked(T), StagedInPlace(T), Switched(T), Failed(T, "", ""),
        state=arrived(A),
    )  # fmt: skip
    assert commands[-1] == Settle(A, thorough=True)
    state, _ = dialogue(Settled(T), Wanted(T, A), state=state)
    assert (state.phase, state.good) == (Phase.ACTIVE, A)


def test_a_changed_description_is_no_update() -> None:
    described = dataclasses.replace(A, description=ModelDescription(digest=A.digest, tier="lite"))
    state, commands = step(arrived(A), Wanted(T, described), POLICY)
    assert (state.phase, state.good, commands) == (Phase.ACTIVE, described, (Settle(described),))


@pytest.mark.parametrize("steps", range(6))
def test_a_model_that_is_no_longer_desired_ends_at_rest(steps: int) -> None:
    """Before Staged the update is dropped; from then on it is brought to its end."""
    events: tuple[Event, ...] = (Wanted(T, B), Fetched(T), Checked(T), StagedInPlace(T), Switched(T), Passed(T))
    state, _ = dialogue(*events[:steps], state=arrived(A))
    state, commands = step(state, Unwanted(T), POLICY)
    if steps < 4:
        assert (state.phase, state.good, state.target) == (Phase.ACTIVE, A, None)
    else:
        assert commands in ((Switch(B),), (Observe(B),))


def test_an_event_that_cannot_be_is_an_error_of_the_driver() -> None:
    with pytest.raises(LifecycleError, match="Passed in phase absent"):
        step(ModelState(), Passed(T), POLICY)


# ---------------------------------------------------------------- the table


def test_every_event_has_a_row_in_some_phase_and_every_phase_can_be_left() -> None:
    events = {kind for kind in vars(machine).values() if isinstance(kind, type) and issubclass(kind, Event)} - {Event}
    assert {event for rows in TABLE.values() for event in rows} == events
    assert set(TABLE) == set(Phase)
    for phase, rows in TABLE.items():
        assert any(row.to - {phase} for row in rows.values())
        assert {Restarted, Wanted, Unwanted} <= rows.keys()


def test_the_readme_shows_the_table_as_it_is() -> None:
    text = README.read_text("utf-8")
    shown = text.partition("<!-- states:")[2].partition("<!-- /states -->")[0]
    lines = ["| phase | what comes next |", "|---|---|"]
    for phase, rows in TABLE.items():
        following: dict[str, list[str]] = {}
        for event, row in rows.items():
            for target in sorted(row.to - {phase}, key=list(Phase).index):
                following.setdefault(target.value, []).append(event.__name__)
        says = "; ".join(f"{target} on {', '.join(events)}" for target, events in following.items())
        lines.append(f"| {phase.value} | {says} |")
    expected = "\n".join(lines)
    assert expected in shown, f"put this between the markers:\n{expected}"


# ---------------------------------------------------------------- whatever happens

FAULTS = st.sampled_from(["none", "none", "none", "hinder", "crash before", "crash after"])


class Device(RuleBasedStateMachine):
    """One device in a world where every command can fail, and where the power can go at any moment.

    ``disk`` is what survives: the journal, the staged digests, and what ``active.json`` names.
    """

    def __init__(self) -> None:
        super().__init__()
        self.now = T
        self.state = ModelState()
        self.journal = ModelState()
        self.incoming: set[Digest] = set()
        self.staged: set[Digest] = set()
        self.verified: set[Digest] = set()
        self.active: Release | None = None
        self.wanted: Release | None = None
        self.switches: dict[Digest, list[float]] = {}
        self.ever_good = False

    @initialize(delivered=st.booleans())
    def begin(self, *, delivered: bool) -> None:
        if delivered:
            self.staged, self.verified, self.active = {A.digest}, {A.digest}, A
            self.run(Adopted(self.now, A), iter(()))

    @rule(wanted=st.sampled_from([A, B, BROKEN, FORGED, SILENT, RELABELLED]), faults=st.lists(FAULTS, max_size=8))
    def commit(self, wanted: Release, faults: list[str]) -> None:
        self.wanted = wanted
        self.look(faults)

    @rule(faults=st.lists(FAULTS, max_size=8))
    def look(self, faults: list[str]) -> None:
        if self.wanted is None:
            self.run(Unwanted(self.now), iter(faults))
        else:
            local = self.wanted.digest in self.staged
            self.run(Wanted(self.now, self.wanted, (), local=local), iter(faults))

    @rule()
    def leave(self) -> None:
        self.wanted = None

    @rule(seconds=st.sampled_from([1, 10, 100, 10_000, 1_000_000, -1, -1000]))
    def pass_time(self, seconds: int) -> None:
        self.now += seconds

    @rule(faults=st.lists(FAULTS, max_size=4))
    def restart(self, faults: list[str]) -> None:
        self.crash(iter(faults))

    @precondition(lambda self: self.can_be_damaged())
    @rule()
    def damage(self) -> None:
        """The disk loses the good release; the one before is still whole."""
        assert self.state.good is not None
        self.staged.discard(self.state.good.digest)
        self.restart([])

    def can_be_damaged(self) -> bool:
        good, previous = self.state.good, self.state.previous
        if good is None or previous is None or good.digest == previous.digest:
            return False
        return self.active == good and previous.digest in self.staged

    def crash(self, faults: Iterator[str]) -> None:
        self.state = self.journal
        self.run(Restarted(self.now), faults)

    def run(self, event: Event, faults: Iterator[str]) -> bool:
        """As the driver does it; False when the power went meanwhile, so that whoever called must not go on."""
        after, commands = step(self.state, event, POLICY)
        fault = next(faults, "none") if after != self.journal else "none"
        if fault == "crash before":
            self.crash(faults)
            return False
        if fault == "hinder":  # the journal cannot be written: nothing is done
            return True
        self.journal = self.state = after
        for command in commands:
            fault = next(faults, "none")
            if fault == "crash before":
                self.crash(faults)
                return False
            answer = Hindered(self.now, "a fault") if fault == "hinder" else self.perform(command)
            if fault == "crash after":
                self.crash(faults)
                return False
            if answer is not None and not isinstance(command, Prune | Announce) and not self.run(answer, faults):
                return False
        return True

    def perform(self, command: Command) -> Event | None:  # noqa: PLR0911, PLR0912 - one branch per command
        match command:
            case Fetch(target):
                if target.digest not in self.staged:
                    if target == FORGED:
                        return Refused(self.now, "E301", "wrong bytes")
                    self.incoming.add(target.digest)
                return Fetched(self.now)
            case Verify(target):
                if target.digest not in self.incoming | self.staged:
                    return Missing(self.now)
                self.verified.add(target.digest)
                return Checked(self.now)
            case Stage(target):
                if target.digest not in self.incoming | self.staged:
                    return Missing(self.now)
                self.staged.add(target.digest)
                self.incoming.discard(target.digest)
                return StagedInPlace(self.now)
            case Switch(target):
                if target.digest not in self.staged:
                    return Missing(self.now)
                self.point_at(target)
                return Switched(self.now)
            case Observe(target):
                assert self.active == target
                if target == BROKEN:
                    return Failed(self.now, "", "does not load")
                return Undecided(self.now, "no answer") if target == SILENT else Passed(self.now)
            case Settle(target):
                if target.digest not in self.staged:
                    return Lost(self.now)
                self.point_at(target)
                return Settled(self.now)
            case Withdraw(target):
                self.staged.discard(target.digest)
                if self.active == target:
                    self.active = None
                return Settled(self.now)
            case Prune(keep):
                self.staged &= {kept.digest for kept in keep}
                self.incoming &= {kept.digest for kept in keep}
                return None
            case Announce():
                return None

    def point_at(self, target: Release) -> None:
        if self.active != target:
            assert POLICY.quarantined(self.state, target.digest, self.now) is None or target == self.state.good
            self.switches.setdefault(target.digest, []).append(self.now)
        self.active = target

    @invariant()
    def only_verified_bytes_are_ever_active(self) -> None:
        assert self.active is None or self.active.digest in self.verified

    @invariant()
    def a_device_that_had_a_good_model_has_a_whole_one(self) -> None:
        self.ever_good = self.ever_good or self.state.good is not None
        if self.ever_good:
            assert self.active is not None
            assert self.active.digest in self.staged

    @invariant()
    def the_good_release_is_never_pruned(self) -> None:
        if self.state.good is not None:
            assert self.state.good.digest in self.staged

    def teardown(self) -> None:
        """When the faults end and a sound release is wanted, the device gets there; and a look more changes nothing."""
        for target in (B, A):
            self.wanted = target
            for _ in range(12):
                self.now += 100_000
                self.look([])
            assert self.state.phase is Phase.ACTIVE
            assert self.state.good == self.active == target
            before = self.state
            self.look([])
            assert self.state == before


TestDevice = Device.TestCase
TestDevice.settings = settings(max_examples=100, stateful_step_count=40)


@given(gaps=st.lists(st.integers(1, 5000), min_size=1, max_size=60))
def test_a_bad_release_cannot_make_a_device_flap(gaps: list[int]) -> None:
    """However often the device looks: the n-th switch to a broken release comes a growing wait after the one before."""
    device = Device()
    device.begin(delivered=True)
    device.wanted = BROKEN
    for gap in gaps:
        device.now += gap
        device.look([])
    times = device.switches.get(BROKEN.digest, [])
    waits = [later - earlier for earlier, later in itertools.pairwise(times)]
    for number, wait in enumerate(waits):
        assert wait >= min(60 * 4**number, 86400)
    assert device.active == A


def test_a_step_is_a_function_of_its_arguments_alone() -> None:
    for state in (arrived(A), arrived(B, arrived(A)), dialogue(Wanted(T, A))[0]):
        for event in (Wanted(T, B), Unwanted(T), Restarted(T), Lost(T), Settled(T), Hindered(T, "x")):
            assert step(state, event, POLICY) == step(state, event, POLICY)
