"""The one door for decisions: pages, commands and, later, chat all come through here, and find one state machine.

Persist, then answer: what a person is told was decided is on disk and in the ledger before they are told. Nothing is
merged here; an approval that completes the quorum wakes the loop, which looks at everything once more and acts.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from trimtab_bot.approvals.machine import Answer, Approve, Ballot, Deny, Phase, objection, step
from trimtab_bot.execution import record_merge
from trimtab_bot.inbox.interface import (
    Accepted,
    Commit,
    DecisionResult,
    Fact,
    Gauge,
    ProposalView,
    Refused,
    StatusView,
    TimelineEntry,
    WatchLine,
)
from trimtab_bot.ledger.interface import EntryKind
from trimtab_bot.moments import moment_text, span_text
from trimtab_bot.narration.template import bounds_text, figure_text
from trimtab_bot.recording import record
from trimtab_bot.records import TimelineRecord
from trimtab_kernel.canonical import digest_of
from trimtab_kernel.freshness import Fresh, Stale
from trimtab_kernel.problems import InputError, OutsideError

if TYPE_CHECKING:
    from collections.abc import Callable

    from trimtab_bot.circumstances import Sight, World
    from trimtab_bot.configuration import Configuration
    from trimtab_bot.findings import Finding
    from trimtab_bot.moments import Clock
    from trimtab_bot.recording import Scribe
    from trimtab_bot.records import Incident, Proposal
    from trimtab_bot.store.interface import Store
    from trimtab_kernel.canonical import Json
    from trimtab_kernel.freshness import Freshness

_OPEN = (Phase.PENDING, Phase.APPROVED)


class DecisionService:
    """Implements :class:`trimtab_bot.inbox.interface.Decisions`. Any thread may call it."""

    def __init__(
        self,
        *,
        configuration: Configuration,
        store: Store,
        scribe: Scribe,
        world: World,
        sight: Sight,
        clock: Clock,
        source_name: str,
        wake: Callable[[], None],
    ) -> None:
        """``wake`` makes the loop look at once instead of at its next tick."""
        self._configuration = configuration
        self._store = store
        self._scribe = scribe
        self._world = world
        self._sight = sight
        self._clock = clock
        self._source_name = source_name
        self._wake = wake

    # ------------------------------------------------ decisions

    def approve(self, proposal_id: str, person_id: str, digest: str) -> DecisionResult:
        """See the port."""
        return self._decide("approve", proposal_id, person_id, digest, "")

    def deny(self, proposal_id: str, person_id: str, digest: str, reason: str) -> DecisionResult:
        """See the port."""
        return self._decide("deny", proposal_id, person_id, digest, reason)

    def _decide(self, verb: str, proposal_id: str, person_id: str, digest: str, reason: str) -> DecisionResult:
        try:
            with self._store.transaction() as work:
                proposal = work.proposal(proposal_id)
                incident = work.incident(proposal.incident_id) if proposal else None
                if proposal is None or incident is None:
                    return Refused("B424", f'there is no proposal "{proposal_id}"')
                now = self._world.now(proposal, incident)
                event = Approve(person_id, digest, now) if verb == "approve" else Deny(person_id, digest, reason, now)
                ballot, commands = step(proposal.ballot, event)
                (result,) = (command.result for command in commands if isinstance(command, Answer))
                record_merge(work, replace(proposal, ballot=ballot), now.at)
                text = result.message if isinstance(result, Accepted) else f"{result.code} {result.reason}"
                work.add_timeline(TimelineRecord(incident.id, now.at, f"{person_id}: {verb}: {text}"))
                work.add_record(
                    record(
                        f"{proposal.id}/decision/{verb}/{person_id}/{moment_text(now.at)}",
                        *(EntryKind.DECISION, now.at, proposal.id, _event(verb, result, proposal.ballot, ballot)),
                        proposal=proposal.id,
                        incident=incident.id,
                        model=proposal.model,
                        version=proposal.bad_version,
                        person=person_id,
                        digest=digest,
                        accepted=isinstance(result, Accepted),
                        phase=ballot.phase.value,
                        reason=reason,
                        text=f"{person_id}: {text}",
                    )
                )
            self._scribe.flush()
        except (OutsideError, InputError) as error:
            return Refused("B436", f"this cannot be checked now ({error}); try again in a moment")
        self._wake()
        return result

    # ------------------------------------------------ views

    def proposals(self) -> tuple[ProposalView, ...]:
        """See the port."""
        with self._store.reading() as view:
            found = view.proposals()
            incidents = {incident.id: incident for incident in view.incidents()}
            timelines = {
                incident_id: view.timeline(incident_id) for incident_id in {each.incident_id for each in found}
            }
        ordered = sorted(found, key=lambda each: (each.ballot.phase not in _OPEN, -each.opened_at))
        return tuple(
            self._view(each, incidents[each.incident_id], timelines[each.incident_id])
            for each in ordered
            if each.ballot.phase is not Phase.DRAFT
        )

    def proposal(self, proposal_id: str) -> ProposalView | None:
        """See the port."""
        with self._store.reading() as view:
            found = view.proposal(proposal_id)
            incident = view.incident(found.incident_id) if found else None
            if found is None or incident is None or found.ballot.phase is Phase.DRAFT:
                return None
            return self._view(found, incident, view.timeline(incident.id))

    def _view(self, proposal: Proposal, incident: Incident, timeline: tuple[TimelineRecord, ...]) -> ProposalView:
        ballot = proposal.ballot
        gauge = incident.evidence.gauge
        people = self._configuration.people
        return ProposalView(
            id=proposal.id,
            number=proposal.number or 0,
            title=proposal.title,
            state=ballot.phase.value,
            open_for_decision=ballot.phase in _OPEN,
            summary=proposal.summary
            if not ballot.reason
            else f"{proposal.summary}\nNow: {ballot.code} {ballot.reason}.",
            model=proposal.model,
            bad_version=proposal.bad_version,
            good_version=proposal.good_version,
            verified=proposal.verified,
            device_groups=proposal.device_groups,
            devices=proposal.devices,
            facts=tuple(Fact(line.label, line.value, line.kind) for line in proposal.facts),
            gauge=None
            if gauge is None
            else Gauge(
                label=gauge.label,
                unit="" if gauge.unit == "ratio" else gauge.unit,
                value=gauge.value,
                low=gauge.low,
                high=gauge.high,
                limit=gauge.limit,
                good_is_high=gauge.good_is_high,
                n=gauge.n,
                confidence=gauge.confidence,
            ),
            diff=proposal.diff,
            digest=ballot.digest,
            base=ballot.binding.base,
            head=ballot.binding.head,
            opened_at=proposal.opened_at,
            expires_at=ballot.expires_at,
            proposer=self._configuration.identity.name,
            offending=Commit(
                proposal.offending.sha, proposal.offending.subject, proposal.offending.author, proposal.offending.at
            ),
            approvals=tuple(
                person.name if (person := people.person(vote.person)) else vote.person for vote in ballot.votes
            ),
            quorum=self._configuration.approval.quorum,
            timeline=tuple(TimelineEntry(entry.at, entry.text) for entry in timeline),
            refused_for=self._refusals(proposal),
        )

    def _refusals(self, proposal: Proposal) -> dict[str, str]:
        """Person -> why they may not approve. Nothing is known while Git does not answer; a decision will say so."""
        try:
            electorate = self._world.electorate(proposal)
        except (OutsideError, InputError):
            return {}
        found = {}
        for person in self._configuration.people:
            refused = objection(proposal.ballot, person.id, electorate)
            if refused is not None:
                found[person.id] = f"{refused.code} {refused.reason}"
        return found

    def status(self) -> StatusView:
        """See the port."""
        health = self._sight.health()
        look = self._sight.get()
        findings = () if look is None else tuple(look.findings[key] for key in sorted(look.findings))
        watched = tuple(_watch_line(finding) for finding in findings)
        with self._store.reading() as view:
            shown: list[list[Json]] = [[view.newest_timeline()]]
            shown += [
                [each.id, each.ballot.phase.value, each.ballot.code, len(each.ballot.votes)]
                for each in view.proposals(unsettled_only=True)
            ]
        lines: list[list[Json]] = [
            [w.model, w.version, w.figure, w.verdict, w.reason, w.value, w.interval, w.n] for w in watched
        ]
        return StatusView(
            revision=digest_of([shown, lines, health.note]).hex[:16],
            source=self._source_name,
            last_tick=health.last_tick,
            healthy=not health.note,
            note=health.note,
            watched=watched,
        )


def _event(verb: str, result: DecisionResult, before: Ballot, after: Ballot) -> str:
    if isinstance(result, Refused):
        return "refused"
    if verb == "deny":
        return "denied"
    return "approved" if after.phase is Phase.APPROVED and before.phase is not Phase.APPROVED else "approval"


def _watch_line(finding: Finding) -> WatchLine:
    interval = finding.interval
    return WatchLine(
        model=finding.model,
        version=finding.version,
        figure=f"{finding.metric} ({finding.policy})",
        verdict=finding.verdict.value,
        reason=finding.reason,
        value="-" if interval is None else figure_text(interval.value, finding.unit),
        interval="-" if interval is None else bounds_text(interval.low, interval.high, finding.unit),
        n=finding.n,
        freshness=_freshness_text(finding.freshness, finding.observed_at),
    )


def _freshness_text(freshness: Freshness, now: float) -> str:
    match freshness:
        case Fresh(at):
            return f"{span_text(max(0.0, now - at))} old"
        case Stale(since):
            return f"stale for {span_text(max(0.0, now - since))}"
        case _:
            return "no data"
