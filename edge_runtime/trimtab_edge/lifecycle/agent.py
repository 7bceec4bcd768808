"""The driver: reads the desired document, asks the machine, writes down, performs. All decisions are the machine's.

A model that leaves the desired document stays as it is and is served on. A label that no longer matches, or an empty
commit, must not take the only model from a device that nobody can reach for weeks; a model that must go is replaced or
held in Git, where a person sees it. It is visible meanwhile: active, but no longer desired.
"""

from __future__ import annotations

import fcntl
import logging
import os
from dataclasses import dataclass
from enum import Enum
from functools import partial
from typing import TYPE_CHECKING

from trimtab_edge.durable import make_directory
from trimtab_edge.lifecycle.conditions import unmet
from trimtab_edge.lifecycle.machine import (
    Adopted,
    Announce,
    Checked,
    Command,
    Event,
    Fetch,
    Fetched,
    Hindered,
    Lost,
    Missing,
    ModelState,
    Observe,
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
    Unwanted,
    Verify,
    Wanted,
    Withdraw,
    step,
)
from trimtab_edge.lifecycle.policies import DAY_SECONDS, judged
from trimtab_edge.lifecycle.ports import InterruptedCommand
from trimtab_edge.lifecycle.release import release_of
from trimtab_edge.lifecycle.windows import closed
from trimtab_kernel import vocabulary
from trimtab_kernel.desired import DesiredDocument, parse_desired
from trimtab_kernel.identity import Version
from trimtab_kernel.problems import InputError, OutsideError, Problem, TrustError, printable, quoted

if TYPE_CHECKING:
    import datetime
    from collections.abc import Callable
    from pathlib import Path

    from trimtab_edge.lifecycle.device import DeviceFacts
    from trimtab_edge.lifecycle.journal import Journal
    from trimtab_edge.lifecycle.orders import Mark, MountedOrders
    from trimtab_edge.lifecycle.ports import Artifacts, Probe
    from trimtab_edge.lifecycle.release import Release
    from trimtab_edge.lifecycle.store import ModelStore
    from trimtab_edge.telemetry.updates import UpdateCounts
    from trimtab_kernel.desired import DesiredModel

_log = logging.getLogger("trimtab.agent")
_ROUNDS = 4


class Progress(Enum):
    """How a model stands after a round."""

    ACTIVE = "active"
    KEPT = "kept"
    WAITING = "waiting"
    REFUSED = "refused"
    HINDERED = "hindered"


@dataclass(frozen=True, slots=True)
class Standing:
    """What a round has come to for one model: the version that is active ("" for none), and why it is not more."""

    model: str
    version: str
    progress: Progress
    reason: str = ""

    def __str__(self) -> str:
        """One line: model, version, progress, reason."""
        text = f"{self.model} {self.version or '-'} {self.progress.value}"
        return f"{text}: {self.reason}" if self.reason else text


@dataclass(frozen=True, slots=True)
class Round:
    """What one look at the desired document has come to. ``document`` False: it could not be obeyed."""

    document: bool
    standings: tuple[Standing, ...] = ()
    problems: tuple[Problem, ...] = ()
    reason: str = ""


def lock_state(directory: Path) -> int:
    """Keep other agents out of the state directory for as long as the returned descriptor is open.

    Raises :class:`InputError` (E101, E102).
    """
    try:
        make_directory(directory)
        descriptor = os.open(directory / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise InputError(
            Problem(
                "E102", "", 0, "--state", quoted(str(directory)), "a directory to write in", str(error.strerror or "")
            )
        ) from None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(descriptor)
        raise InputError(
            Problem("E101", "", 0, "--state", quoted(str(directory)), "a directory that no other agent uses")
        ) from None
    return descriptor


class Agent:
    """One device's agent. ``now`` gives Unix seconds; ``stopping`` says that the process is to end.

    ``local`` is the zone of update windows that name none; None is what the machine is set to.
    """

    def __init__(
        self,
        *,
        orders: MountedOrders,
        store: ModelStore,
        journal: Journal,
        artifacts: Artifacts,
        probe: Probe,
        device: DeviceFacts,
        counts: UpdateCounts,
        policy: Policy,
        now: Callable[[], float],
        stopping: Callable[[], bool],
        local: datetime.tzinfo | None = None,
    ) -> None:
        self._orders = orders
        self._store = store
        self._journal = journal
        self._artifacts = artifacts
        self._probe = probe
        self._device = device
        self._counts = counts
        self._policy = policy
        self._now = now
        self._stopping = stopping
        self._local = local
        self._states: dict[str, ModelState] = {}
        self._hindrance: dict[str, str] = {}
        self._denials: dict[str, str] = {}
        self._denied: dict[str, tuple[object, ...]] = {}
        self._deferred: set[str] = set()
        self._opens: dict[str, Callable[[], str]] = {}
        self._said: dict[str, str] = {}
        self._mark: Mark = None

    def start(self) -> None:
        """Read the journal, take over what is active without one, and finish what a crash cut short."""
        self._states = self._journal.read()
        self._mark = self._orders.mark()
        for model in self._store.models():
            if self._states.get(model, ModelState()).phase is Phase.ABSENT:
                try:
                    release = self._store.adopt(model)
                except OSError as error:
                    self._say(model, f"cannot be read: {printable(str(error))}")
                    continue
                if release is not None:
                    _log.info("%s %s was active already (%s)", model, release.version, release.digest)
                    self._handle(model, Adopted(self._now(), release))
        for model in sorted(self._states):
            self._handle(model, Restarted(self._now()))
            self._show(model, None)

    def look(self) -> Round:
        """Read the desired document once and bring every model as far as it goes now."""
        mark = self._orders.mark()
        self._mark = mark
        try:
            document = parse_desired(self._orders.read())
        except (InputError, OutsideError) as error:
            self._counts.document(valid=False, at=self._now())
            self._say("", f"desired document not obeyed, devices keep what they run: {error}")
            for model in sorted(self._states):
                self._handle(model, Unwanted(self._now()))
                self._show(model, None)
            problems = error.problems if isinstance(error, InputError) else ()
            return Round(document=False, problems=problems, reason=str(error))
        self._counts.document(valid=True, at=self._now())
        self._say("", f"obeying the desired document of group {document.group}, models: {len(document.models)}")
        return Round(document=True, standings=tuple(self._obey(document)))

    def _obey(self, document: DesiredDocument) -> list[Standing]:
        device = self._device.now()
        earliest = _earliest(document)
        wanted: dict[str, tuple[DesiredModel, Release | None]] = {}
        self._denials = {}
        for asked in document.models:
            artifact = asked.choose(device.id)
            if artifact is None:
                wanted[asked.model] = (asked, None)
                continue
            allowed, denial = judged(document, asked, artifact, int(self._now() // DAY_SECONDS))
            asked_for = release_of(allowed, artifact)
            wanted[asked.model] = (allowed, asked_for)
            self._opens[asked.model] = partial(self._closed, asked, asked_for, earliest)
            if denial:
                self._denials[asked.model] = denial
        for model in self._states.keys() - wanted.keys():
            self._say(model, "left the desired document; what is active stays")
        # What is on the device already goes first: a way back must not wait for another model's download.
        order = sorted(
            self._states.keys() | wanted.keys(),
            key=lambda name: (not self._is_local(name, wanted.get(name, (None, None))[1]), name),
        )
        standings = []
        for name in order:
            if self._stopping():
                break
            desired, release = wanted.get(name, (None, None))
            standing = self._bring(name, desired, release)
            self._show(name, release)
            standings.append(standing)
        return sorted(standings, key=lambda standing: standing.model)

    def _is_local(self, model: str, release: Release | None) -> bool:
        try:
            return release is None or self._store.holds(model, release)
        except OSError:
            return False

    def _bring(self, model: str, desired: DesiredModel | None, release: Release | None) -> Standing:
        """One model as far as it goes now."""
        self._hindrance.pop(model, None)
        self._deferred.discard(model)
        if release is None or desired is None:
            self._handle(model, Unwanted(self._now()))
            good = self._states.get(model, ModelState()).good
            reason = "not desired of this device" if desired is not None else "left the desired document"
            return Standing(model, good.version if good else "", Progress.KEPT, reason)
        denial = self._denials.get(model, "")
        if denial and not self._runs(model, release):
            # Closed for what is new, static for what is served: the target is dropped, what is active stays.
            self._handle(model, Unwanted(self._now()))
            good = self._states.get(model, ModelState()).good
            reason = f"{release.version} is refused by policy: {denial}"
            if self._denied.get(model) != release.identity:
                self._denied[model] = release.identity
                self._counts.ended(model, vocabulary.UPDATE_REFUSED)
            self._say(model, reason)
            return Standing(model, good.version if good else "", Progress.REFUSED, reason)
        self._denied.pop(model, None)
        if denial:
            self._say(model, f"{release.version} is served on, though policy would refuse it now: {denial}")
        missing: tuple[str, ...] = ()
        for _ in range(_ROUNDS):
            before = self._states.get(model, ModelState())
            missing = unmet(desired.conditions, self._device.now())
            local = self._is_local(model, release)
            if shut := self._opens[model]():
                # A switch to bytes that are here already is a change like any other to whoever stands before the device.
                missing, local = (*missing, shut), False
            self._handle(model, Wanted(self._now(), release, missing, local))
            if self._states.get(model, ModelState()) == before or self._stopping():
                break
        return self._standing(model, release, missing)

    def _closed(self, desired: DesiredModel, release: Release, earliest: float) -> str:
        """Why no update to ``release`` may begin now by the model's window; "" where one may.

        A device that has nothing yet does not wait, and what is active is no update. Nor does a way back wait, where the
        window says so: to an older version than the active one, or to other bytes of it that were active before.
        """
        window, state = desired.conditions.window, self._states.get(desired.model, ModelState())
        good = state.good
        if window is None or good is None or good.identity == release.identity:
            return ""
        if window.ways_back:
            asked, active = Version.parse(release.version), Version.parse(good.version)
            was_active = state.previous is not None and state.previous.identity == release.identity
            if asked < active or (was_active and asked <= active):
                return ""
        return closed(window, self._now(), earliest, self._local)

    def _runs(self, model: str, release: Release) -> bool:
        """Whether the release is active, or ``active.json`` may name it already."""
        state = self._states.get(model, ModelState())
        good, target = state.good, state.target
        if (
            state.phase in (Phase.STAGED, Phase.PROBATION)
            and target is not None
            and target.identity == release.identity
        ):
            return True
        return good is not None and good.identity == release.identity

    def _standing(self, model: str, release: Release, missing: tuple[str, ...]) -> Standing:
        state = self._states.get(model, ModelState())
        version = state.good.version if state.good else ""
        entry = self._policy.quarantined(state, release.digest, self._now())
        if state.phase is Phase.ACTIVE and state.good is not None and state.good.identity == release.identity:
            standing = Standing(model, version, Progress.ACTIVE)
        elif entry is not None:
            reason = f"{release.version} is in quarantine ({entry.strikes.count} times): {entry.reason}"
            standing = Standing(model, version, Progress.REFUSED, reason)
        elif state.phase is Phase.DESIRED and missing:
            self._deferred.add(model)
            standing = Standing(model, version, Progress.WAITING, f"{release.version} waits: {'; '.join(missing)}")
        else:
            reason = self._hindrance.get(model, f"{release.version} is {state.phase.value}")
            standing = Standing(model, version, Progress.HINDERED, reason)
        if standing.reason:
            self._say(model, standing.reason)
        return standing

    def _handle(self, model: str, event: Event) -> None:
        """Run the machine from ``event`` until nothing is left to do now."""
        try:
            self._run(model, event)
        except InterruptedCommand:
            return

    def _run(self, model: str, event: Event) -> None:
        """Write the state down, then perform each command and all that its answer leads to before the next one."""
        before = self._states.get(model, ModelState())
        after, commands = step(before, event, self._policy)
        if after != before:
            try:
                self._journal.write(model, after)
            except OSError as error:
                # What is not written down is not done. The next look finds the state before and tries again.
                self._hinder(model, f"journal cannot be written: {error.strerror or error}")
                return
            self._states[model] = after
        for command in commands:
            answer = self._perform(model, command)
            if answer is not None:
                self._run(model, answer)

    def _perform(self, model: str, command: Command) -> Event | None:
        try:
            match command:
                case Announce():
                    self._announce(model, command)
                    return None
                case Prune(keep):
                    self._store.prune(model, keep)
                    return None
                case _:
                    return self._work(model, command)
        except TrustError as error:
            return Refused(self._now(), error.code, error.reason)
        except OutsideError as error:
            self._hinder(model, error.reason)
            return Hindered(self._now(), error.reason)
        except OSError as error:
            reason = f"{type(command).__name__.lower()}: {error.strerror or error}"
            self._hinder(model, reason)
            # What a Prune leaves over goes the next time; everything else is repeated.
            return None if isinstance(command, Prune) else Hindered(self._now(), reason)

    def _work(self, model: str, command: Command) -> Event:
        store, at = self._store, self._now
        match command:
            case Fetch(release):
                self._fetch(model, release)
                return Fetched(at())
            case Verify(release):
                return Checked(at()) if store.verify(model, release) else Missing(at())
            case Stage(release):
                return StagedInPlace(at()) if store.stage(model, release) else Missing(at())
            case Switch(release):
                return Switched(at()) if store.switch(model, release) else Missing(at())
            case Observe(release):
                return self._probe.observe(model, release, at, self._keep_going)
            case Settle(release, thorough):
                return Settled(at()) if store.settle(model, release, thorough=thorough) else Lost(at())
            case Withdraw(release):
                store.withdraw(model, release)
                return Settled(at())
            case _:
                raise AssertionError(command)

    def _fetch(self, model: str, release: Release) -> None:
        self._counts.fetched(model, release.version, 0)
        if self._store.holds(model, release):
            return
        target = self._store.make_room(model, release)
        if target.is_file():
            return
        _log.info("%s %s: fetching %s", model, release.version, release.digest)
        opens = self._opens.get(model)

        def keep_going() -> bool:
            # What is there of it when the window closes is kept; the next window goes on from there.
            return self._keep_going() and (opens is None or not opens())

        self._artifacts.fetch(
            release, target, lambda count: self._counts.fetched(model, release.version, count), keep_going
        )

    def _keep_going(self) -> bool:
        """False when the process is to end or the desired document was replaced: it may want something else."""
        return not self._stopping() and self._orders.mark() == self._mark

    def _announce(self, model: str, command: Announce) -> None:
        release = command.release
        self._counts.ended(model, command.result)
        reason = f": {command.code} {command.reason}".replace("  ", " ") if command.reason else ""
        level = logging.INFO if not command.reason else logging.ERROR
        _log.log(level, "%s %s %s (%s)%s", model, release.version, command.result, release.digest, printable(reason))

    def _hinder(self, model: str, reason: str) -> None:
        self._hindrance[model] = reason
        self._say(model, f"hindered: {reason}")

    def _say(self, model: str, text: str) -> None:
        """Log a line when it differs from the last one about the same model."""
        if self._said.get(model) != text:
            self._said[model] = text
            _log.info("%s", printable(f"{model}: {text}" if model else text))

    def _show(self, model: str, desired: Release | None) -> None:
        state, at = self._states.get(model, ModelState()), self._now()
        active = state.target if state.phase is Phase.PROBATION else state.good
        self._counts.stands(
            model,
            active=active.version if active else None,
            desired=desired.version if desired else None,
            quarantined=sum(
                self._policy.quarantined(state, entry.digest, at) is not None for entry in state.quarantine
            ),
            deferred=model in self._deferred,
        )


def _earliest(document: DesiredDocument) -> float:
    """Unix time of the newest release that the document knows the day of: it cannot be earlier now."""
    days = [model.policy.newest_day or 0 for model in document.models if model.policy is not None]
    days += [
        version.released_day or 0
        for model in document.models
        if model.policy is not None
        for version in model.policy.versions
    ]
    return float(max(days, default=0) * DAY_SECONDS)
