"""The life of one model on one device, as a table.

::

    Absent -> Desired -> Fetched -> Verified -> Staged -> Probation -> Active
                 |          |                     |           |
                 +----------+---------------------+-----------+-----> RolledBack

Rule 1: every change of a state happens in this file, by :func:`step`, through a row of :data:`TABLE`.

The driver writes the new state down *before* it performs the commands, so a state means: "this may have been begun".
Every command can be performed again. After a crash the driver says :class:`Restarted`, and the machine repeats the
command of the phase it finds. So the device converges from a crash at any point, and:

- ``good`` is always the newest release that passed its probation; whatever fails, the device returns to it.
- A release is switched to only after its bytes were verified on disk.
- A digest that was refused or failed is quarantined: it is not tried again before its back-off has passed, and the
  back-off grows with every strike, so a bad release cannot make a device flap.

Time comes in with events (``at``, Unix seconds) and is used for back-off only. A clock that jumps back ends a wait
early, once; one that jumps forward as well: it can cost a try too many, never a model.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from enum import Enum
from typing import TYPE_CHECKING, TypeAlias

from trimtab_kernel import vocabulary

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from trimtab_edge.lifecycle.release import Release
    from trimtab_kernel.identity import Digest


class Phase(Enum):
    """How far a model is. The value is what the journal holds."""

    ABSENT = "absent"
    DESIRED = "desired"
    FETCHED = "fetched"
    VERIFIED = "verified"
    STAGED = "staged"
    PROBATION = "probation"
    ACTIVE = "active"
    ROLLED_BACK = "rolledBack"


@dataclass(frozen=True, slots=True)
class Backoff:
    """How often something failed in a row, and when last (Unix seconds)."""

    count: int = 0
    since: float = 0.0

    def again(self, at: float) -> Backoff:
        """It failed once more."""
        return Backoff(self.count + 1, at)

    def over(self, at: float, first: float, factor: float, most: float) -> bool:
        """Whether the wait has passed: ``first`` seconds after one failure, ``factor`` times as long after each more."""
        if self.count == 0:
            return True
        wait = min(first * factor ** min(self.count - 1, 64), most)
        return not 0 <= at - self.since < wait


@dataclass(frozen=True, slots=True)
class Quarantined:
    """A digest that is not tried for now, and why."""

    digest: Digest
    code: str
    reason: str
    strikes: Backoff


@dataclass(frozen=True, slots=True)
class ModelState:
    """Everything that must survive a crash.

    ``target`` is what is being moved to; ``good`` passed its probation last, ``previous`` before it. ``unsettled``:
    RolledBack is decided but not done yet. ``starts`` counts how often the agent started within this probation.
    """

    phase: Phase = Phase.ABSENT
    target: Release | None = None
    good: Release | None = None
    previous: Release | None = None
    hindered: Backoff = field(default_factory=Backoff)
    starts: int = 0
    unsettled: bool = False
    quarantine: tuple[Quarantined, ...] = ()

    @property
    def kept(self) -> tuple[Release, ...]:
        """The releases whose bytes stay on the device: last known good, and the one before."""
        return tuple(release for release in (self.good, self.previous) if release is not None)


@dataclass(frozen=True, slots=True)
class Policy:
    """Waits in seconds, and how many of what. After an outside failure: 2, 4, 8 ... s; in quarantine: 1 min, 4 min ... 1 day."""

    hindered_first: float = 2.0
    hindered_most: float = 900.0
    quarantine_first: float = 60.0
    quarantine_factor: float = 4.0
    quarantine_most: float = 86400.0
    quarantine_size: int = 16
    probation_starts: int = 3

    def may_repeat(self, state: ModelState, at: float) -> bool:
        """Whether the command that was hindered may be tried again."""
        return state.hindered.over(at, self.hindered_first, 2.0, self.hindered_most)

    def quarantined(self, state: ModelState, digest: Digest, at: float) -> Quarantined | None:
        """The entry that keeps this digest out at ``at``; None if it may be tried."""
        for entry in state.quarantine:
            if entry.digest == digest and not entry.strikes.over(
                at, self.quarantine_first, self.quarantine_factor, self.quarantine_most
            ):
                return entry
        return None


# ---------------------------------------------------------------- events


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happened at ``at`` (Unix seconds)."""

    at: float


@dataclass(frozen=True, slots=True)
class Restarted(Event):
    """The agent has just started; what the journal says may have been begun, done or not."""


@dataclass(frozen=True, slots=True)
class Adopted(Event):
    """There is no journal, but a verified release is active on the device: it came with it, or the journal was lost."""

    release: Release


@dataclass(frozen=True, slots=True)
class Wanted(Event):
    """The desired document asks for ``release``. Said again at every look, so a repeat must change nothing.

    ``unmet`` are the conditions that forbid an update now; ``local``: the bytes are on the device already, so that it
    is no update, only a switch, and the conditions do not matter.
    """

    release: Release
    unmet: tuple[str, ...] = ()
    local: bool = False


@dataclass(frozen=True, slots=True)
class Unwanted(Event):
    """The desired document asks nothing of this device for this model: it keeps what it has."""


@dataclass(frozen=True, slots=True)
class Fetched(Event):
    """The bytes are on the device."""


@dataclass(frozen=True, slots=True)
class Checked(Event):
    """Size and digest are right, read back from the disk."""


@dataclass(frozen=True, slots=True)
class StagedInPlace(Event):
    """The release lies in the model repository, durably."""


@dataclass(frozen=True, slots=True)
class Switched(Event):
    """``active.json`` names the release."""


@dataclass(frozen=True, slots=True)
class Passed(Event):
    """The server answers with the release (or no server was named to ask)."""


@dataclass(frozen=True, slots=True)
class Failed(Event):
    """The server says that the release does not work."""

    code: str
    reason: str


@dataclass(frozen=True, slots=True)
class Undecided(Event):
    """The server said neither within the time limit."""

    reason: str


@dataclass(frozen=True, slots=True)
class Refused(Event):
    """The bytes are not what was promised."""

    code: str
    reason: str


@dataclass(frozen=True, slots=True)
class Missing(Event):
    """The bytes that this phase builds on are gone."""


@dataclass(frozen=True, slots=True)
class Settled(Event):
    """``active.json`` names ``good``, and its files are there."""


@dataclass(frozen=True, slots=True)
class Lost(Event):
    """The files of ``good`` are gone or damaged."""


@dataclass(frozen=True, slots=True)
class Hindered(Event):
    """A command could not be done, for a reason outside (network, disk full); it may be repeated later."""

    reason: str


# ---------------------------------------------------------------- commands


@dataclass(frozen=True, slots=True)
class Fetch:
    """Get the bytes. Answered by Fetched, Refused or Hindered."""

    release: Release


@dataclass(frozen=True, slots=True)
class Verify:
    """Read the bytes back and judge them. Answered by Checked, Refused, Missing or Hindered."""

    release: Release


@dataclass(frozen=True, slots=True)
class Stage:
    """Put the release into the model repository. Answered by StagedInPlace, Missing or Hindered."""

    release: Release


@dataclass(frozen=True, slots=True)
class Switch:
    """Let ``active.json`` name the release. Answered by Switched, Missing or Hindered."""

    release: Release


@dataclass(frozen=True, slots=True)
class Observe:
    """See whether the server answers with it. Answered by Passed, Failed, Undecided or Hindered."""

    release: Release


@dataclass(frozen=True, slots=True)
class Settle:
    """Make sure that ``release`` is active and whole. Answered by Settled, Lost or Hindered.

    ``thorough``: read all its bytes, else look whether the files are there.
    """

    release: Release
    thorough: bool = False


@dataclass(frozen=True, slots=True)
class Withdraw:
    """There is nothing to go back to: take ``release`` out of the repository. Answered by Settled or Hindered."""

    release: Release


@dataclass(frozen=True, slots=True)
class Prune:
    """Remove every release of the model but these. Not answered: what is left over goes the next time."""

    keep: tuple[Release, ...]


@dataclass(frozen=True, slots=True)
class Announce:
    """An update ended: count it and say so. ``result`` is one of the vocabulary's. Not answered."""

    result: str
    release: Release
    code: str = ""
    reason: str = ""


Command: TypeAlias = Fetch | Verify | Stage | Switch | Observe | Settle | Withdraw | Prune | Announce
Outcome: TypeAlias = "tuple[ModelState, tuple[Command, ...]]"
Rule: TypeAlias = "Callable[[ModelState, Event, Policy], Outcome]"


class LifecycleError(RuntimeError):
    """An event that cannot happen in this phase: an error of the driver."""


@dataclass(frozen=True, slots=True)
class Row:
    """What an event does in a phase: the rule, and where it may lead."""

    rule: Rule
    to: frozenset[Phase]


def step(state: ModelState, event: Event, policy: Policy) -> Outcome:
    """The state after ``event``, and what to do: first write the state down, then the commands in order.

    Raises :class:`LifecycleError` for an event that has no row.
    """
    row = TABLE[state.phase].get(type(event))
    if row is None:
        raise LifecycleError(f"{type(event).__name__} in phase {state.phase.value}")
    after, commands = row.rule(state, event, policy)
    if after.phase not in row.to:
        raise LifecycleError(f"{type(event).__name__} led from {state.phase.value} to {after.phase.value}")
    return after, commands


# ---------------------------------------------------------------- rules

_NEXT: Mapping[Phase, Callable[[Release], Command]] = {
    Phase.DESIRED: Fetch,
    Phase.FETCHED: Verify,
    Phase.VERIFIED: Stage,
    Phase.STAGED: Switch,
    Phase.PROBATION: Observe,
}


def _work(state: ModelState) -> tuple[Command, ...]:
    """The command of the phase."""
    if state.target is not None and state.phase in _NEXT:
        return (_NEXT[state.phase](state.target),)
    if state.phase is Phase.ROLLED_BACK and state.unsettled:
        if state.good is not None:
            return (Settle(state.good, thorough=True),)
        return (Withdraw(state.target),) if state.target is not None else ()
    return ()


def _onward(phase: Phase) -> Rule:
    """The command of the phase before is done."""

    def rule(state: ModelState, event: Event, policy: Policy) -> Outcome:
        del event, policy
        after = replace(state, phase=phase, hindered=Backoff(), starts=0)
        return after, _work(after)

    return rule


def _stay(state: ModelState, event: Event, policy: Policy) -> Outcome:
    del event, policy
    return state, ()


def _hindered(state: ModelState, event: Event, policy: Policy) -> Outcome:
    del policy
    return replace(state, hindered=state.hindered.again(event.at)), ()


def _check_good(state: ModelState, *, thorough: bool) -> tuple[Command, ...]:
    """What answers meanwhile must be whole, however long an update takes."""
    return () if state.good is None else (Settle(state.good, thorough),)


def _repeat(state: ModelState, event: Event, policy: Policy) -> Outcome:
    """After a restart the command of the phase is due at once.

    But a fetch waits for the next look at the desired document: its conditions may have changed.
    """
    del event, policy
    after = replace(state, hindered=Backoff())
    work = () if state.phase is Phase.DESIRED else _work(after)
    before_switch = state.phase in (Phase.DESIRED, Phase.FETCHED, Phase.VERIFIED)
    return after, (*(_check_good(after, thorough=True) if before_switch else ()), *work)


def _restarted_in_probation(state: ModelState, event: Event, policy: Policy) -> Outcome:
    after = replace(state, starts=state.starts + 1, hindered=Backoff())
    if after.starts > policy.probation_starts and _has_other_good(state):
        reason = f"the agent started {after.starts} times within its probation"
        return _go_back(after, event.at, policy, vocabulary.UPDATE_ROLLED_BACK, "", reason)
    return after, _work(after)


def _restarted_at_rest(state: ModelState, event: Event, policy: Policy) -> Outcome:
    del event, policy
    if state.phase is Phase.ROLLED_BACK and state.unsettled:
        return state, _work(state)
    # A prune may have been cut short as well.
    return state, (*_check_good(state, thorough=True), Prune(state.kept))


def _adopted(state: ModelState, event: Event, policy: Policy) -> Outcome:
    del policy
    assert isinstance(event, Adopted)
    if any(entry.digest == event.release.digest for entry in state.quarantine):
        return state, ()
    return replace(state, phase=Phase.ACTIVE, good=event.release, target=None), ()


def _passed(state: ModelState, event: Event, policy: Policy) -> Outcome:
    del event, policy
    target = _target(state)
    previous = state.previous
    if state.good is not None and state.good.identity != target.identity:
        previous = state.good
    if previous is not None and previous.identity == target.identity:
        previous = None
    quarantine = tuple(entry for entry in state.quarantine if entry.digest != target.digest)
    after = ModelState(Phase.ACTIVE, good=target, previous=previous, quarantine=quarantine)
    return after, (Announce(vocabulary.UPDATE_ACTIVATED, target), Prune(after.kept))


def _failed(state: ModelState, event: Event, policy: Policy) -> Outcome:
    assert isinstance(event, Failed)
    return _go_back(state, event.at, policy, vocabulary.UPDATE_ROLLED_BACK, event.code, event.reason)


def _refused(state: ModelState, event: Event, policy: Policy) -> Outcome:
    assert isinstance(event, Refused)
    return _go_back(state, event.at, policy, vocabulary.UPDATE_REFUSED, event.code, event.reason)


def _undecided(state: ModelState, event: Event, policy: Policy) -> Outcome:
    """Silence is evidence against a release only where there is another one to go back to.

    On a device's first release it says no more than that the server is not up yet.
    """
    assert isinstance(event, Undecided)
    if _has_other_good(state):
        return _go_back(state, event.at, policy, vocabulary.UPDATE_ROLLED_BACK, "", event.reason)
    return _hindered(state, event, policy)


def _go_back(state: ModelState, at: float, policy: Policy, result: str, code: str, reason: str) -> Outcome:
    """Quarantine the target and return to the last known good release."""
    target = _target(state)
    before = next((entry.strikes for entry in state.quarantine if entry.digest == target.digest), Backoff())
    others = [entry for entry in state.quarantine if entry.digest != target.digest]
    quarantine = (*others[-(policy.quarantine_size - 1) :], Quarantined(target.digest, code, reason, before.again(at)))
    after = ModelState(
        Phase.ROLLED_BACK,
        target=target,
        good=state.good,
        previous=state.previous,
        unsettled=True,
        quarantine=quarantine,
    )
    return after, (Announce(result, target, code, reason), *_work(after))


def _settled(state: ModelState, event: Event, policy: Policy) -> Outcome:
    del event, policy
    if not state.unsettled:
        return replace(state, hindered=Backoff()), ()
    after = replace(state, unsettled=False, hindered=Backoff(), target=None)
    return after, (Prune(after.kept),)


def _lost(state: ModelState, event: Event, policy: Policy) -> Outcome:
    """The last known good release is damaged: go back one more; the next look at the desired document fetches anew."""
    del event, policy
    if state.previous is not None:
        after = replace(state, phase=Phase.ROLLED_BACK, good=state.previous, previous=None, unsettled=True, target=None)
        return after, _work(after)
    return replace(state, phase=Phase.ABSENT, good=None, unsettled=False, target=None), ()


def _lost_on_the_way(state: ModelState, event: Event, policy: Policy) -> Outcome:
    """As :func:`_lost`, but an update is under way and goes on."""
    del event, policy
    after = replace(state, good=state.previous, previous=None)
    return after, _check_good(after, thorough=True)


def _missing(state: ModelState, event: Event, policy: Policy) -> Outcome:
    """Back to the start; the next look at the desired document fetches."""
    del event, policy
    if state.phase is Phase.STAGED and state.good is not None:
        return _abandon(state)
    return replace(state, phase=Phase.DESIRED, hindered=Backoff()), ()


def _abandon(state: ModelState) -> Outcome:
    """Leave the target without a verdict. From Staged on ``active.json`` may name it already, so that is put right."""
    if state.phase in (Phase.STAGED, Phase.PROBATION) and state.good is not None:
        after = replace(state, phase=Phase.ROLLED_BACK, unsettled=True, hindered=Backoff(), starts=0)
        return after, _work(after)
    rest = Phase.ACTIVE if state.good is not None else Phase.ABSENT
    return replace(state, phase=rest, target=None, hindered=Backoff(), starts=0), ()


def _wanted(state: ModelState, event: Event, policy: Policy) -> Outcome:
    assert isinstance(event, Wanted)
    release, at = event.release, event.at
    if state.phase is Phase.ROLLED_BACK and state.unsettled:
        return state, _work(state) if policy.may_repeat(state, at) else ()
    if state.target is not None and state.target.identity == release.identity and state.phase in _NEXT:
        return _wanted_again(state, event, policy)
    if state.phase in (Phase.STAGED, Phase.PROBATION) and state.good is not None:
        return _abandon(state)
    if state.good is not None and state.good.identity == release.identity:
        after = replace(state, phase=Phase.ACTIVE, good=release, target=None)
        if state.phase is not Phase.ACTIVE:
            after = replace(after, hindered=Backoff())
        return after, (Settle(release),) if policy.may_repeat(after, at) else ()
    if policy.quarantined(state, release.digest, at) is not None:
        return (state, ()) if state.phase not in _NEXT else _abandon(state)
    after = replace(state, phase=Phase.DESIRED, target=release, hindered=Backoff(), starts=0)
    return after, () if event.unmet and not event.local else _work(after)


def _wanted_again(state: ModelState, event: Wanted, policy: Policy) -> Outcome:
    """The target is on its way: go on where it was hindered or had to wait."""
    after = replace(state, target=event.release)
    if not policy.may_repeat(state, event.at):
        return after, ()
    waits = state.phase is Phase.DESIRED and event.unmet and not event.local
    return after, _check_good(after, thorough=False) if waits else _work(after)


def _unwanted(state: ModelState, event: Event, policy: Policy) -> Outcome:
    """Before Staged the target is dropped; from then on the move is brought to its end, one way or the other."""
    if state.phase in (Phase.DESIRED, Phase.FETCHED, Phase.VERIFIED):
        return _abandon(state)
    if not policy.may_repeat(state, event.at):
        return state, ()
    if state.phase is Phase.ACTIVE and state.good is not None:
        return state, (Settle(state.good),)
    return state, _work(state)


def _target(state: ModelState) -> Release:
    if state.target is None:
        raise LifecycleError(f"phase {state.phase.value} without a target")
    return state.target


def _has_other_good(state: ModelState) -> bool:
    return state.good is not None and state.good.identity != _target(state).identity


def _row(rule: Rule, *to: Phase) -> Row:
    return Row(rule, frozenset(to))


_REST = (Phase.ABSENT, Phase.ACTIVE)

TABLE: Mapping[Phase, Mapping[type[Event], Row]] = {
    Phase.ABSENT: {
        Restarted: _row(_stay, Phase.ABSENT),
        Adopted: _row(_adopted, Phase.ABSENT, Phase.ACTIVE),
        Wanted: _row(_wanted, Phase.ABSENT, Phase.DESIRED),
        Unwanted: _row(_stay, Phase.ABSENT),
    },
    Phase.DESIRED: {
        Restarted: _row(_repeat, Phase.DESIRED),
        Wanted: _row(_wanted, Phase.DESIRED, *_REST),
        Unwanted: _row(_unwanted, *_REST),
        Fetched: _row(_onward(Phase.FETCHED), Phase.FETCHED),
        Refused: _row(_refused, Phase.ROLLED_BACK),
        Settled: _row(_stay, Phase.DESIRED),
        Lost: _row(_lost_on_the_way, Phase.DESIRED),
        Hindered: _row(_hindered, Phase.DESIRED),
    },
    Phase.FETCHED: {
        Restarted: _row(_repeat, Phase.FETCHED),
        Wanted: _row(_wanted, Phase.FETCHED, Phase.DESIRED, *_REST),
        Unwanted: _row(_unwanted, *_REST),
        Checked: _row(_onward(Phase.VERIFIED), Phase.VERIFIED),
        Refused: _row(_refused, Phase.ROLLED_BACK),
        Missing: _row(_missing, Phase.DESIRED),
        Settled: _row(_stay, Phase.FETCHED),
        Lost: _row(_lost_on_the_way, Phase.FETCHED),
        Hindered: _row(_hindered, Phase.FETCHED),
    },
    Phase.VERIFIED: {
        Restarted: _row(_repeat, Phase.VERIFIED),
        Wanted: _row(_wanted, Phase.VERIFIED, Phase.DESIRED, *_REST),
        Unwanted: _row(_unwanted, *_REST),
        StagedInPlace: _row(_onward(Phase.STAGED), Phase.STAGED),
        Missing: _row(_missing, Phase.DESIRED),
        Settled: _row(_stay, Phase.VERIFIED),
        Lost: _row(_lost_on_the_way, Phase.VERIFIED),
        Hindered: _row(_hindered, Phase.VERIFIED),
    },
    Phase.STAGED: {
        Restarted: _row(_repeat, Phase.STAGED),
        Wanted: _row(_wanted, Phase.STAGED, Phase.DESIRED, Phase.ROLLED_BACK, Phase.ABSENT),
        Unwanted: _row(_unwanted, Phase.STAGED),
        Switched: _row(_onward(Phase.PROBATION), Phase.PROBATION),
        Missing: _row(_missing, Phase.DESIRED, Phase.ROLLED_BACK),
        Hindered: _row(_hindered, Phase.STAGED),
    },
    Phase.PROBATION: {
        Restarted: _row(_restarted_in_probation, Phase.PROBATION, Phase.ROLLED_BACK),
        Wanted: _row(_wanted, Phase.PROBATION, Phase.DESIRED, Phase.ROLLED_BACK, Phase.ABSENT),
        Unwanted: _row(_unwanted, Phase.PROBATION),
        Passed: _row(_passed, Phase.ACTIVE),
        Failed: _row(_failed, Phase.ROLLED_BACK),
        Undecided: _row(_undecided, Phase.PROBATION, Phase.ROLLED_BACK),
        Hindered: _row(_hindered, Phase.PROBATION),
    },
    Phase.ACTIVE: {
        Restarted: _row(_restarted_at_rest, Phase.ACTIVE),
        Wanted: _row(_wanted, Phase.ACTIVE, Phase.DESIRED),
        Unwanted: _row(_unwanted, Phase.ACTIVE),
        Settled: _row(_settled, Phase.ACTIVE),
        Lost: _row(_lost, Phase.ABSENT, Phase.ROLLED_BACK),
        Hindered: _row(_hindered, Phase.ACTIVE),
    },
    Phase.ROLLED_BACK: {
        Restarted: _row(_restarted_at_rest, Phase.ROLLED_BACK),
        Wanted: _row(_wanted, Phase.ROLLED_BACK, Phase.DESIRED, Phase.ACTIVE),
        Unwanted: _row(_unwanted, Phase.ROLLED_BACK),
        Settled: _row(_settled, Phase.ROLLED_BACK),
        Lost: _row(_lost, Phase.ABSENT, Phase.ROLLED_BACK),
        Hindered: _row(_hindered, Phase.ROLLED_BACK),
    },
}
