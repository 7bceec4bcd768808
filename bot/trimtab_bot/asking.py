"""Remedies that were asked for: from the wish to the merge, or to the reason why not. Each has a case of its own.

A person asks by a command; the bot itself asks for a promotion where a gate is passed. Both are planned at once (so that
what cannot be is said at once), written down, and proposed by the loop on the branch as it is then. Where the branch moves
before anybody decided, the wish is planned anew on the new head; where nothing is left to be done there, its case closes.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from trimtab_bot.approvals.machine import Phase
from trimtab_bot.circumstances import BOT, PROMOTE
from trimtab_bot.inbox.interface import Refused
from trimtab_bot.incidents import course
from trimtab_bot.incidents.course import REQUEST
from trimtab_bot.ledger.interface import EntryKind
from trimtab_bot.recording import record
from trimtab_bot.records import Request, TimelineRecord
from trimtab_bot.remedies import asked_remedy
from trimtab_bot.remedies.interface import Impossible, Wish
from trimtab_bot.remedies.targets import find_object
from trimtab_bot.rollouts import rollouts_of
from trimtab_kernel.problems import printable
from trimtab_kernel.verdict import Verdict

if TYPE_CHECKING:
    from trimtab_bot.changes.history import FleetAt, History
    from trimtab_bot.circumstances import Sight, World
    from trimtab_bot.configuration import Configuration
    from trimtab_bot.moments import Clock
    from trimtab_bot.recording import Scribe
    from trimtab_bot.records import Incident
    from trimtab_bot.remedies.interface import Draft, Outcome
    from trimtab_bot.store.interface import Store

MOST_CASES = 50
"""Cases that may be open at once: asking must not bury what the bot found by itself."""


@dataclass(frozen=True, slots=True)
class Asked:
    """A remedy was asked for, or had been before; its case is ``incident``."""

    message: str
    incident: str


_BOT_REQUEST = Request(PROMOTE, "", (), "", BOT, "")


class Asking:
    """Takes wishes. Any thread may call it."""

    def __init__(
        self,
        configuration: Configuration,
        store: Store,
        scribe: Scribe,
        history: History,
        world: World,
        sight: Sight,
        clock: Clock,
    ) -> None:
        """All of these are shared with the loop."""
        self._configuration = configuration
        self._store = store
        self._scribe = scribe
        self._history = history
        self._world = world
        self._sight = sight
        self._clock = clock

    def ask(self, request: Request) -> Asked | Refused:
        """Open a case for a request, unless nothing would come of it. Raises RefusedError (B307) and OutsideError."""
        asked_remedy(request.remedy)
        at, fleet = self._clock(), self._world.fleet()
        if fleet.problems:
            return Refused("B310", f"the branch has problems: {fleet.problems[0]}")
        request = _settled(request, fleet)
        outcome = self.plan(request, fleet, at, "")
        if isinstance(outcome, Impossible):
            return Refused(outcome.code, outcome.reason)
        refused = self._gate_refusal(request)
        if refused is not None:
            return refused
        case = course.requested(request, outcome.model, outcome.version, at)
        groups = outcome.groups
        case = replace(case, device_groups=groups, devices=sum(fleet.devices(groups).values()))
        with self._store.transaction() as work:
            known = [each for each in work.incidents(open_only=True) if each.request is not None]
            same = next((each for each in known if each.concern == case.concern), None)
            if same is not None:
                return Asked(f"asked for already, as {same.id} {same.proposal_id or ''}".rstrip(), same.id)
            if len(known) >= MOST_CASES:
                return Refused("B317", f"{len(known)} wishes wait already; decide about some of them first")
            work.put_incident(case)
            work.add_timeline(TimelineRecord(case.id, at, f"asked for: {outcome.title}"))
            work.add_record(
                record(
                    *(f"{case.id}/asked", EntryKind.DECISION, at, case.id, "asked"),
                    incident=case.id,
                    model=case.model,
                    version=case.version,
                    remedy=request.remedy,
                    target=request.target,
                    options=dict(request.options),
                    person=request.by,
                    via=request.via,
                    reason=request.reason,
                    text=f"{request.by}: {outcome.title}",
                )
            )
        self._scribe.flush()
        return Asked(f"asked for as {case.id}: {outcome.title}; the proposal follows", case.id)

    def plan(self, request: Request, fleet: FleetAt, at: float, case: str) -> Outcome:
        """What would be changed on this head. Raises OutsideError."""
        model = request.target.partition(" ")[0]
        look = self._sight.get()
        reporting = {
            group
            for finding in (look.findings.values() if look is not None else ())
            for group in finding.device_groups
            if finding.model == model
        }
        with self._store.reading() as view:
            states = view.verified_states(model)
        wish = Wish(
            history=self._history,
            fleet=fleet,
            target=request.target,
            options=dict(request.options),
            reason=request.reason,
            by=request.by,
            at=at,
            case=case,
            states=states,
            reporting=tuple(sorted(reporting)),
            search_commits=self._configuration.search_commits,
        )
        return asked_remedy(request.remedy).plan(wish)

    def _gate_refusal(self, request: Request) -> Refused | None:
        report = self._sight.gate(request.target) if request.remedy == PROMOTE else None
        if report is not None and report.verdict is Verdict.BREACH:
            return Refused("B318", f"its gate says no: {report.text()}")
        return None

    # ------------------------------------------------ the bot asks

    def promote_what_may(self) -> None:
        """Ask for the next wave of every rollout whose gate is passed, once for each wave. Raises OutsideError."""
        if not self._configuration.propose_promotions:
            return
        for rollout in rollouts_of(self._world.fleet()):
            report = self._sight.gate(rollout.full_name)
            if report is None or not report.next_wave or report.verdict is not Verdict.FINE or rollout.rollout.paused:
                continue
            if (report.version, report.wave) != (rollout.version, rollout.wave.name if rollout.wave else ""):
                continue
            if self._was_asked(rollout.full_name, report.version, report.next_wave):
                continue
            options = (("to", report.next_wave),)
            self.ask(replace(_BOT_REQUEST, target=rollout.full_name, options=options, reason=report.text()))

    def _was_asked(self, target: str, version: str, wave: str) -> bool:
        """Whether a case for this wave is open, or a person has decided against one."""
        with self._store.reading() as view:
            cases = view.incidents()
            for case in cases:
                request = case.request
                if request is None or (request.remedy, request.target, case.version) != (PROMOTE, target, version):
                    continue
                if ("to", wave) not in request.options:
                    continue
                proposal = None if case.proposal_id is None else view.proposal(case.proposal_id)
                if case.closed_at is None or (proposal is not None and proposal.ballot.phase is Phase.DENIED):
                    return True
        return False


def _settled(request: Request, fleet: FleetAt) -> Request:
    """The request with its target's full name, and a promotion with the wave that it is for."""
    if " " in request.target:
        return request
    found = find_object(fleet, request.target, {"EdgeAIDeployment", "OnDeviceModel", "Hold"})
    if isinstance(found, Impossible):
        return request
    request = replace(request, target=f"{found.metadata.namespace}/{found.metadata.name}")
    if request.remedy == PROMOTE and not dict(request.options).get("to"):
        for rollout in rollouts_of(fleet):
            if rollout.full_name == request.target and rollout.next_wave is not None:
                return replace(request, options=(*request.options, ("to", rollout.next_wave.name)))
    return request


def is_request(incident: Incident) -> bool:
    """Whether this is the case of a wish, and no breach."""
    return incident.request is not None and incident.concern.startswith(f"{REQUEST}/")


def titled(incident: Incident, draft: Draft) -> Incident:
    """The case with the title of what is proposed."""
    assert incident.request is not None
    why = printable(f"{incident.request.by} asks for it: {incident.request.reason}", 500)
    return course.told(incident, draft.title, f"{draft.title}.\n{why}")
