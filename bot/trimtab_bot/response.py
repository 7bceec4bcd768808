"""From incident to recovery: propose, keep the proposal true, carry out what was approved, watch the fleet return.

Everything here is level-based: each tick looks at what is true now and moves one step towards where it should be, so
that a repeat is harmless and a restart needs no special road.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from trimtab_bot.adoption import adoptable, is_adopted
from trimtab_bot.approvals.machine import CloseOnHost, Look, Merge, Phase, objection, step
from trimtab_bot.asking import titled
from trimtab_bot.changes.history import versions_of
from trimtab_bot.changes.likely import find_moves
from trimtab_bot.delivery.interface import commit_of
from trimtab_bot.delivery.journey import Stage, late
from trimtab_bot.detection import commit_record
from trimtab_bot.execution import record_intent, record_merge
from trimtab_bot.findings import Subject
from trimtab_bot.incidents import course
from trimtab_bot.incidents.evidence import evidence_of
from trimtab_bot.incidents.story import story_of, tell
from trimtab_bot.ledger.interface import EntryKind
from trimtab_bot.moments import span_text
from trimtab_bot.narration.interface import Plan
from trimtab_bot.proposing import make_proposal, named, opening_record, proposal_key
from trimtab_bot.recording import record
from trimtab_bot.records import IncidentPhase, TimelineRecord
from trimtab_bot.recovery import read_progress
from trimtab_bot.remedies import ASKED, remedy
from trimtab_bot.remedies.interface import Impossible, Situation
from trimtab_config.githost.interface import ProposalState
from trimtab_kernel.problems import InputError
from trimtab_kernel.verdict import Verdict

if TYPE_CHECKING:
    from trimtab_bot.asking import Asking
    from trimtab_bot.changes.history import FleetAt, History
    from trimtab_bot.circumstances import World
    from trimtab_bot.configuration import Configuration
    from trimtab_bot.delivery.journey import Journey
    from trimtab_bot.delivery.watch import DeliveryWatch
    from trimtab_bot.execution import Executor
    from trimtab_bot.findings import Finding
    from trimtab_bot.incidents.evidence import Look as MetricsLook
    from trimtab_bot.metrics.interface import MetricsSource
    from trimtab_bot.moments import Clock
    from trimtab_bot.narration.interface import Narrator
    from trimtab_bot.recording import Scribe
    from trimtab_bot.records import Incident, Proposal, Request
    from trimtab_bot.remedies.interface import Draft
    from trimtab_bot.store.interface import Store, Writing
    from trimtab_config.githost.interface import GitHost

ROLLBACK = "rollback"
_ON_THE_WAY = (IncidentPhase.WATCHING, IncidentPhase.CONVERGED)
_RETURNS = frozenset({"rollback", "abort"})
"""Remedies after which no device may run the version any more."""
_ASK_ANEW = frozenset({"B412", "B415", "B417"})
"""Why a proposal ended that is worth another one: the branch or the rules moved, and the wish stands."""
MOST_TRIES = 5
"""Proposals on one base, before the bot stops asking and calls for help."""


class Response:
    """What the bot does about incidents. Used by the loop alone."""

    def __init__(
        self,
        *,
        configuration: Configuration,
        store: Store,
        scribe: Scribe,
        history: History,
        host: GitHost,
        source: MetricsSource,
        world: World,
        executor: Executor,
        asking: Asking,
        narrator: Narrator,
        clock: Clock,
        delivery: DeliveryWatch | None = None,
    ) -> None:
        """All of these are shared with the loop. Without ``delivery`` the devices alone say whether a change has arrived."""
        self._configuration = configuration
        self._store = store
        self._scribe = scribe
        self._history = history
        self._host = host
        self._source = source
        self._world = world
        self._executor = executor
        self._asking = asking
        self._narrator = narrator
        self._clock = clock
        self._delivery = delivery

    # ------------------------------------------------ proposals

    def advance_proposals(self) -> None:
        """Judge every proposal that is not over, and do what follows. Raises OutsideError."""
        with self._store.reading() as view:
            pending = view.proposals(unsettled_only=True)
        for proposal in pending:
            self._advance_proposal(proposal)

    def _advance_proposal(self, found: Proposal) -> None:
        with self._store.transaction() as work:
            proposal = work.proposal(found.id)
            incident = work.incident(found.incident_id)
            if proposal is None or incident is None:
                return
            merge: Merge | None = None
            if not proposal.ballot.phase.is_final:
                before, now = proposal.ballot, self._world.now(proposal, incident)
                ballot, commands = step(before, Look(now))
                proposal = replace(proposal, ballot=ballot)
                merge = next((command for command in commands if isinstance(command, Merge)), None)
                if merge is not None:
                    proposal = record_intent(work, proposal, merge, now.at)
                if ballot.phase is not before.phase and ballot.code:
                    self._note_end(work, proposal, now.at)
                record_merge(work, proposal, now.at)
        self._scribe.flush()
        phase = proposal.ballot.phase
        if phase is Phase.DRAFT:
            self._executor.open(proposal)
        elif merge is not None:
            self._executor.review(proposal)  # before, so that the host's own rules can count it
            self._executor.merge(proposal, merge)
        elif phase.is_final and phase is not Phase.MERGED:
            self._executor.close(proposal, CloseOnHost(proposal.ballot.code, proposal.ballot.reason))
        elif phase in (Phase.PENDING, Phase.APPROVED):
            self._executor.review(proposal)

    def _note_end(self, work: Writing, proposal: Proposal, at: float) -> None:
        """A rule decided: it is over, or waits again."""
        ballot = proposal.ballot
        if ballot.phase is Phase.MERGED:
            return
        text = f"proposal {proposal.number or ''} is {ballot.phase.value}: {ballot.code} {ballot.reason}".replace(
            "  ", " "
        )
        work.add_timeline(TimelineRecord(proposal.incident_id, at, text))
        work.add_record(
            record(
                f"{proposal.id}/{ballot.phase.value}/{ballot.code}/{len(ballot.votes)}",
                *(EntryKind.DECISION, at, proposal.id, ballot.phase.value),
                proposal=proposal.id,
                incident=proposal.incident_id,
                model=proposal.model,
                version=proposal.bad_version,
                code=ballot.code,
                text=text,
            )
        )

    # ------------------------------------------------ incidents

    def advance_incidents(self, fleet: FleetAt, look: MetricsLook, *, at_head: bool) -> str:
        """Move every open incident one step; gives why what delivers changes could not be asked, else "". Raises OutsideError.

        ``fleet`` is the head of the branch; without ``at_head`` it is the last one that compiled, and then nothing is
        concluded from what it asks for.
        """
        with self._store.reading() as view:
            incidents = view.incidents(open_only=True)
        if self._delivery is not None:
            self._delivery.expire()
        for incident in incidents:
            if incident.request is not None:
                self._advance_request(incident, incident.request, fleet, at_head=at_head)
            elif incident.phase is IncidentPhase.OPEN:
                self._advance_open(incident, fleet, look, at_head=at_head)
            else:
                self._watch(incident, fleet, look, at_head=at_head)
        last = None if self._delivery is None else self._delivery.last
        if last is not None and last.fault and any(each.phase in _ON_THE_WAY for each in incidents):
            return f"what delivers the changes cannot be asked: {last.fault}"
        return ""

    def _advance_open(self, incident: Incident, fleet: FleetAt, look: MetricsLook, *, at_head: bool) -> None:
        at = self._clock()
        proposal = self._proposal_of(incident)
        if proposal is not None and proposal.ballot.phase is Phase.MERGED:
            approved = max((vote.at for vote in proposal.ballot.votes), default=None)
            merged_at = proposal.merged_at or at
            self._put(
                course.watched(
                    incident,
                    good_version=proposal.good_version,
                    remedied_by=proposal.id,
                    at=merged_at,
                    approved_at=approved,
                )
            )
            return
        if not at_head:
            return
        if not fleet.groups_asked(incident.model, incident.version):
            good = _asked_now(fleet, incident)
            text = f"the branch no longer asks for {incident.version} since {fleet.commit[:12]}; it asks for {good or 'nothing'}"
            self._put(
                course.watched(incident, good_version=good, remedied_by=fleet.commit, at=at),
                text,
                at,
                event="overtaken",
            )
            return
        finding = look.findings.get(Subject(incident.concern, incident.model, incident.version, incident.policy))
        verdict = finding.verdict if finding is not None else Verdict.UNKNOWN
        if verdict is Verdict.FINE:
            reason = f"the figure of {incident.version} itself is within its limit again"
            self._put(course.closed(incident, at, reason), f"closed: {reason}", at, event="closed")
            return
        if proposal is not None and not proposal.ballot.phase.is_final:
            return
        if proposal is not None and proposal.ballot.phase is Phase.DENIED:
            if not incident.obstacle_code:
                ballot = proposal.ballot
                self._put(tell(course.blocked(incident, ballot.code, ballot.reason, ""), self._narrator))
            return
        if proposal is not None and proposal.ballot.phase is Phase.EXPIRED:
            self._escalate(incident, f"nobody decided in time: {proposal.ballot.reason}", at)
        if incident.obstacle_code and incident.obstacle_base in ("", fleet.commit):
            return
        if verdict is Verdict.BREACH and finding is not None:
            # A proposal shows the figures of its own time; those of the detection are in the ledger.
            fresh = replace(self._fresh(incident), evidence=evidence_of(finding))
            self._propose(fresh, finding, fleet, look, at)

    # ------------------------------------------------ what was asked for

    def _advance_request(self, incident: Incident, request: Request, fleet: FleetAt, *, at_head: bool) -> None:
        at = self._clock()
        proposal = self._proposal_of(incident)
        if incident.phase is not IncidentPhase.OPEN:
            self._watch_return(incident, fleet, at)
            return
        if proposal is not None and not proposal.ballot.phase.is_final:
            return
        if proposal is not None:
            ballot = proposal.ballot
            if ballot.phase is Phase.MERGED:
                self._carried_out(incident, request, proposal, at)
                return
            # Gone is what the branch or the evidence overtook; only a move of the branch is a reason to ask anew. A person's
            # own pull request is the person's to bring up to date, and is recognised anew where they do.
            if ballot.phase is not Phase.VOID or ballot.code not in _ASK_ANEW or is_adopted(proposal.key):
                self._end(incident, f"{ballot.phase.value}: {ballot.code} {ballot.reason}", at)
                return
        if not at_head:
            return
        with self._store.reading() as view:
            tries = sum(each.ballot.binding.base == fleet.commit for each in view.proposals(incident.id))
        if tries >= MOST_TRIES:
            self._end(incident, f"{tries} proposals on {fleet.commit[:12]} ended without a decision", at)
            return
        outcome = self._asking.plan(request, fleet, at, incident.id)
        if isinstance(outcome, Impossible):
            self._end(incident, f"nothing is left to be done: {outcome.code} {outcome.reason}", at)
            return
        self._propose_request(titled(incident, outcome), request, outcome, fleet, at)

    def _propose_request(self, incident: Incident, request: Request, draft: Draft, fleet: FleetAt, at: float) -> None:
        records = []
        if ASKED[request.remedy].bars_authors:
            limit = self._configuration.search_commits
            moves = find_moves(self._history, fleet.commit, incident.model, incident.version, limit).moves
            try:
                records = [commit_record(self._history, move) for move in moves]
            except InputError as error:
                self._end(incident, f"the authors of the version cannot be known: {error.problems[0]}", at)
                return
        proposal = make_proposal(
            configuration=self._configuration,
            world=self._world,
            history=self._history,
            incident=incident,
            draft=draft,
            remedy=request.remedy,
            offending=records[0] if records else None,
            undoes=tuple(each.sha for each in records),
            base=fleet.commit,
            revision=self._revision(request.remedy, named(incident), fleet.commit, incident.id, at),
            at=at,
        )
        if isinstance(proposal, Impossible):
            self._end(incident, f"nothing can be proposed: {proposal.code} {proposal.reason}", at)
            return
        proposal = replace(proposal, summary=incident.summary)
        with self._store.transaction() as work:
            work.put_incident(course.proposed(incident, proposal.id, proposal.good_version, at))
            work.put_proposal(proposal)
            work.add_record(opening_record(proposal, incident, at, remedy=request.remedy, person=request.by))
        self._executor.open(proposal)
        self._escalate_without_electorate(incident, proposal, at)

    def _carried_out(self, incident: Incident, request: Request, proposal: Proposal, at: float) -> None:
        """It is in the branch. Where a version had to go, the fleet is watched until it is gone."""
        if request.remedy not in _RETURNS:
            self._end(incident, f"merged as {(proposal.ballot.merged or '')[:12]}", at)
            return
        approved = max((vote.at for vote in proposal.ballot.votes), default=None)
        self._put(
            course.watched(
                incident,
                good_version=proposal.good_version,
                remedied_by=proposal.id,
                at=proposal.merged_at or at,
                approved_at=approved,
            )
        )

    def _watch_return(self, incident: Incident, fleet: FleetAt, at: float) -> None:
        declared = fleet.devices(incident.device_groups)
        progress = read_progress(self._source, incident.model, incident.version, declared, self._configuration.window)
        journey = self._journey(incident)
        incident = self._note_journey(incident, journey, at)
        if progress.has_converged and (journey is None or journey.has_arrived):
            done = course.closed(
                course.converged(incident, at), at, f"carried out: {_all_of(progress.text(), journey)}"
            )
            self._put(done, f"closed: {done.closed_because}", at, event="closed")
        elif at - (incident.merged_at or at) > self._configuration.recovery_limit:
            limit = span_text(self._configuration.recovery_limit)
            text = _all_of(progress.text(), journey)
            self._escalate(incident, f"not carried out {limit} after the change: {text}", at)

    def _end(self, incident: Incident, because: str, at: float) -> None:
        self._put(course.closed(incident, at, because), f"closed: {because}", at, event="closed")

    # ------------------------------------------------ what was found

    def _propose(self, incident: Incident, finding: Finding, fleet: FleetAt, look: MetricsLook, at: float) -> None:
        groups = fleet.groups_asked(incident.model, incident.version)
        incident = replace(incident, device_groups=groups, devices=sum(fleet.devices(groups).values()))
        with self._store.reading() as view:
            states = view.verified_states(incident.model)
            earlier = view.proposals()
        subject = (ROLLBACK, incident.model, incident.version)
        same = [each for each in earlier if (each.remedy, each.model, each.bad_version) == subject]
        live = next((each for each in same if not each.ballot.phase.is_final), None)
        if live is not None:  # another concern about the same version has proposed it already
            text = f"covered by proposal {live.number or live.id}"
            self._put(course.proposed(incident, live.id, live.good_version, at), text, at)
            return
        tries = sum(each.ballot.binding.base == fleet.commit for each in same)
        if tries >= MOST_TRIES:
            reason = (
                f"{tries} proposals on {fleet.commit[:12]} ended without a decision; the last: {same[-1].ballot.reason}"
            )
            self._block(incident, Impossible("B311", reason), fleet.commit, at)
            return
        limit = self._configuration.search_commits
        moves = find_moves(self._history, fleet.commit, incident.model, incident.version, limit)
        reporting = {
            group
            for finding in look.findings.values()
            if finding.model == incident.model
            for group in finding.device_groups
        }
        situation = Situation(
            history=self._history,
            head=fleet.commit,
            incident=incident,
            moves=moves,
            groups=groups,
            reporting=tuple(sorted(reporting & set(groups))),
            states=states,
            search_commits=limit,
            at=at,
        )
        outcome = remedy(ROLLBACK).plan(situation, self._configuration.rollback)
        if isinstance(outcome, Impossible):
            self._block(incident, outcome, fleet.commit, at)
            return
        try:
            records = [commit_record(self._history, move) for move in moves.moves]
        except InputError as error:
            self._block(
                incident, Impossible("B301", f"its authors cannot be known: {error.problems[0]}"), fleet.commit, at
            )
            return
        taken = frozenset(each.key for each in earlier)
        proposal = make_proposal(
            adopted=adoptable(self._host, self._configuration, situation, outcome, taken),
            configuration=self._configuration,
            world=self._world,
            history=self._history,
            incident=replace(incident, offending=records[0]),
            draft=outcome,
            remedy=ROLLBACK,
            offending=records[0],
            undoes=tuple(each.sha for each in records),
            base=fleet.commit,
            revision=self._revision(ROLLBACK, named(incident), fleet.commit, incident.id, at),
            at=at,
        )
        if isinstance(proposal, Impossible):
            self._block(incident, proposal, fleet.commit, at)
            return
        plan = Plan(outcome.good_version, outcome.verified, outcome.restored_commit, outcome.hold_until)
        incident = tell(
            course.proposed(replace(incident, offending=records[0]), proposal.id, proposal.good_version, at),
            self._narrator,
            plan,
        )
        proposal = replace(proposal, summary=self._narrator.summary(story_of(incident, plan)))
        with self._store.transaction() as work:
            work.put_incident(incident)
            work.put_proposal(proposal)
            work.add_record(opening_record(proposal, incident, at, finding=finding.to_json()))
        self._executor.open(proposal)
        self._escalate_without_electorate(incident, proposal, at)

    def _revision(self, remedy: str, about: tuple[str, str], base: str, incident: str, at: float) -> int:
        """The first try that neither the store nor the host knows.

        One that only the host knows is from before the bot lost its memory: it is closed, since nobody's approval of it
        could be checked.
        """
        revision = 1
        with self._store.reading() as view:
            keys = {each.key for each in view.proposals()}
        while True:
            key = proposal_key(remedy, *about, base, revision)
            if key not in keys:
                hosted = self._host.find_proposal(key)
                if hosted is None:
                    return revision
                if hosted.state is ProposalState.OPEN and hosted.opened_by == self._configuration.identity:
                    reason = "superseded: the bot has no memory of it"
                    with self._store.transaction() as work:
                        work.add_record(
                            record(
                                *(f"orphan/{key}", EntryKind.INTENT, at, incident, "withdrawing"),
                                incident=incident,
                                number=hosted.number,
                                text=reason,
                            )
                        )
                    self._scribe.flush()
                    self._host.close(hosted.number, reason)
            revision += 1

    def _block(self, incident: Incident, obstacle: Impossible, base: str, at: float) -> None:
        blocked = tell(course.blocked(incident, obstacle.code, obstacle.reason, base), self._narrator)
        text = f"nothing can be proposed: {obstacle.code} {obstacle.reason}"
        with self._store.transaction() as work:
            work.put_incident(blocked)
            work.add_timeline(TimelineRecord(incident.id, at, text))
            work.add_record(
                record(
                    *(f"{incident.id}/blocked/{base}/{obstacle.code}", EntryKind.DECISION, at, incident.id, "blocked"),
                    incident=incident.id,
                    model=incident.model,
                    version=incident.version,
                    code=obstacle.code,
                    text=text,
                )
            )
        self._scribe.flush()
        self._escalate(blocked, text, at)

    def _escalate_without_electorate(self, incident: Incident, proposal: Proposal, at: float) -> None:
        electorate = self._world.electorate(proposal)
        able = [person for person in electorate.voters if objection(proposal.ballot, person, electorate) is None]
        needed = self._world.demand(proposal)
        quorum = needed.quorum
        for role in needed.roles:
            if not any(role in electorate.voters[person].roles for person in able):
                self._escalate(incident, f"nobody who may approve has the role {role}, which a rule asks for", at)
                return
        if len(able) < quorum:
            unknown = ", ".join(electorate.unknown_authors)
            why = (
                f"an author of the change is not a configured person: {unknown}"
                if unknown
                else "the others wrote the change"
            )
            self._escalate(incident, f"{len(able)} of the {quorum} persons needed may approve; {why}", at)

    # ------------------------------------------------ after the merge

    def _watch(self, incident: Incident, fleet: FleetAt, look: MetricsLook, *, at_head: bool) -> None:
        at = self._clock()
        if at_head and fleet.groups_asked(incident.model, incident.version):
            if incident.phase is IncidentPhase.CONVERGED:
                incident = course.relapsed(incident)
            text = f"the branch asks for {incident.version} again since {fleet.commit[:12]}"
            self._put(course.reopened(incident), text, at, event="reopened")
            return
        declared = fleet.devices(incident.device_groups)
        progress = read_progress(self._source, incident.model, incident.version, declared, self._configuration.window)
        journey = self._journey(incident)
        incident = self._note_journey(incident, journey, at)
        arrived = journey is None or journey.has_arrived
        if incident.phase is IncidentPhase.WATCHING and progress.has_converged and arrived:
            incident = course.converged(incident, at)
            self._put(incident, f"converged: {_all_of(progress.text(), journey)}", at, event="converged")
        elif incident.phase is IncidentPhase.CONVERGED and not progress.has_converged and not progress.warnings:
            incident = course.relapsed(incident)
            self._put(incident, f"no longer converged: {progress.text()}", at, event="relapsed")
        if incident.phase is IncidentPhase.CONVERGED:
            verdict, reason = _verdict_of_good(incident, look)
            # What was counted before the fleet was back says nothing of how it does now: a whole window comes after.
            age = at - (incident.converged_at or at)
            if verdict is Verdict.FINE and age >= self._configuration.window.value and arrived:
                self._close_recovered(incident, progress.text(), at)
                return
            if verdict is Verdict.FINE and age >= self._configuration.window.value and journey is not None:
                reason = f"it has recovered, but {journey.waiting()}"
            elif verdict is Verdict.FINE:
                reason = f"the fleet has been back for {age:.0f} s of a window of {self._configuration.window.text}"
            waiting = f"the fleet is back, but the figure of {incident.good_version} is {verdict.value}: {reason}"
        else:
            waiting = f"the fleet is not back: {_all_of(progress.text(), journey)}"
        if at - (incident.merged_at or at) > self._configuration.recovery_limit:
            limit = span_text(self._configuration.recovery_limit)
            self._escalate(incident, f"not recovered {limit} after the change: {waiting}", at)

    # ------------------------------------------------ what delivers it

    def _journey(self, incident: Incident) -> Journey | None:
        """How far the change has come towards the clusters; None where nobody is asked for that."""
        if self._delivery is None:
            return None
        proposal = self._proposal_of(incident) if incident.remedied_by == incident.proposal_id else None
        commit = incident.remedied_by if proposal is None else proposal.ballot.merged or ""
        if not commit_of(commit):
            return None
        return self._delivery.journey(commit, incident.device_groups, incident.model, incident.version)

    def _note_journey(self, incident: Incident, journey: Journey | None, at: float) -> Incident:
        """Write down each stage that every group has come to, what holds groups up, and call for help where it lasts."""
        if journey is None or self._delivery is None:
            return incident
        for stage in (Stage.SEEN, Stage.SYNCED, Stage.HEALTHY):
            name = stage.name.lower()
            if getattr(incident, f"{name}_at") is None and journey.has_reached(stage):
                incident = course.delivered(incident, name, at)
                count = len(journey.legs)
                text = f"{name}: commit {journey.commit[:12]} in {count} of {count} groups, as each {journey.kind} says"
                self._put(incident, text, at, event=name)
        signature = journey.signature()
        if signature != incident.delivery:
            incident = replace(incident, delivery=signature)
            if signature:
                self._put(incident, f"held up: {journey.trouble()}", at, event="held up")
            else:
                self._put(incident)
        if not journey.has_arrived and at - (incident.merged_at or at) > self._delivery.limit:
            limit = span_text(self._delivery.limit)
            self._escalate(incident, f"not delivered {limit} after the change: {late(journey)}", at)
            incident = self._fresh(incident)
        return incident

    def _close_recovered(self, incident: Incident, progress: str, at: float) -> None:
        done = course.recovered(incident, at)
        with self._store.transaction() as work:
            work.put_incident(done)
            if incident.good_version:
                text = f"recovered: {incident.model} {incident.good_version} is within its limit; {progress}"
            else:
                text = f"recovered: no version of {incident.model} is asked for any more; {progress}"
            work.add_timeline(TimelineRecord(done.id, at, text))
            work.add_timeline(TimelineRecord(done.id, at, f"closed: {times_text(done)}"))
            for event, words in (("recovered", text), ("closed", times_text(done))):
                work.add_record(
                    record(
                        *(f"{done.id}/{event}", EntryKind.EVIDENCE, at, done.id, event),
                        incident=done.id,
                        model=done.model,
                        version=done.version,
                        good_version=done.good_version,
                        text=words,
                    )
                )
        self._scribe.flush()

    # ------------------------------------------------ parts

    def _proposal_of(self, incident: Incident) -> Proposal | None:
        if incident.proposal_id is None:
            return None
        with self._store.reading() as view:
            return view.proposal(incident.proposal_id)

    def _fresh(self, incident: Incident) -> Incident:
        """The incident as it is in the store now."""
        with self._store.reading() as view:
            return view.incident(incident.id) or incident

    def _put(self, incident: Incident, text: str = "", at: float = 0.0, *, event: str = "") -> None:
        with self._store.transaction() as work:
            work.put_incident(incident)
            if text:
                work.add_timeline(TimelineRecord(incident.id, at, text))
            if event:
                work.add_record(
                    record(
                        f"{incident.id}/{event}/{at!r}",
                        *(EntryKind.EVIDENCE, at, incident.id, event),
                        incident=incident.id,
                        model=incident.model,
                        version=incident.version,
                        text=text,
                    )
                )
        self._scribe.flush()

    def _escalate(self, incident: Incident, because: str, at: float) -> None:
        """Call for help, once for an incident."""
        incident = self._fresh(incident)
        if incident.escalated_at is not None or course.is_silent(incident, at):
            return
        self._put(course.escalated(incident, at, because), f"escalated: {because}", at, event="escalated")


def _all_of(progress: str, journey: Journey | None) -> str:
    """What devices report, and what delivers says, in one line."""
    return progress if journey is None else f"{progress}; {journey.waiting() or journey.text()}"


def _asked_now(fleet: FleetAt, incident: Incident) -> str | None:
    """The version that most devices of the incident's groups are told to run now."""
    devices: dict[str, int] = {}
    for (model, group), placement in fleet.placements.items():
        if model == incident.model and group in incident.device_groups:
            for version in versions_of(placement):
                devices[version] = devices.get(version, 0) + fleet.devices([group])[group]
    return max(sorted(devices), key=lambda version: devices[version]) if devices else None


def _verdict_of_good(incident: Incident, look: MetricsLook) -> tuple[Verdict, str]:
    """What the look says of the good version in the matter of the incident."""
    if not incident.good_version:
        return Verdict.FINE, "no version replaced it"
    found = [
        finding
        for finding in look.findings.values()
        if (finding.concern.value, finding.model, finding.version)
        == (incident.concern, incident.model, incident.good_version)
    ]
    for finding in found:
        if finding.verdict is not Verdict.FINE:
            return finding.verdict, finding.reason
    return (Verdict.FINE, found[0].reason) if found else (Verdict.UNKNOWN, "nothing was measured of it")


def times_text(incident: Incident) -> str:
    """The times of an incident, each as a span since the detection."""
    names = (
        ("proposed", incident.proposed_at),
        ("approved", incident.approved_at),
        ("merged", incident.merged_at),
        ("seen", incident.seen_at),
        ("synced", incident.synced_at),
        ("healthy", incident.healthy_at),
        ("converged", incident.converged_at),
        ("recovered", incident.recovered_at),
    )
    spans = [f"{name} after {span_text(max(0.0, at - incident.detected_at))}" for name, at in names if at is not None]
    return f"detected, {', '.join(spans)}" if spans else "detected"
