"""The one door for decisions: pages, commands and, later, chat all come through here, and find one state machine.

Persist, then answer: what a person is told was decided is on disk and in the ledger before they are told. Nothing is
merged here; an approval that completes the quorum wakes the loop, which looks at everything once more and acts.
"""

from __future__ import annotations

import difflib
from dataclasses import replace
from typing import TYPE_CHECKING

from trimtab_bot.approvals.machine import Answer, Approve, Ballot, BreakGlass, Deny, Phase, Revoke, objection, step
from trimtab_bot.circumstances import BOT
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
from trimtab_bot.incidents import course
from trimtab_bot.ledger.interface import EntryKind
from trimtab_bot.moments import moment_text, span_text
from trimtab_bot.narration.template import bounds_text, figure_text
from trimtab_bot.recording import record
from trimtab_bot.records import IncidentPhase, Request, TimelineRecord
from trimtab_bot.rollouts import rollouts_of
from trimtab_config.cost.estimate import estimate
from trimtab_kernel.canonical import digest_of
from trimtab_kernel.freshness import Fresh, Stale
from trimtab_kernel.money import price_range_text, price_text
from trimtab_kernel.problems import InputError, OutsideError, RefusedError, printable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from trimtab_bot.approvals.machine import Circumstances
    from trimtab_bot.asking import Asked, Asking
    from trimtab_bot.circumstances import Sight, World
    from trimtab_bot.configuration import Configuration
    from trimtab_bot.findings import Finding
    from trimtab_bot.moments import Clock
    from trimtab_bot.recording import Scribe
    from trimtab_bot.records import CommitRecord, Incident, Proposal
    from trimtab_bot.store.interface import Store
    from trimtab_kernel.canonical import Json
    from trimtab_kernel.freshness import Freshness

_COMMANDS = "commands"
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
        asking: Asking,
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
        self._asking = asking
        self._source_name = source_name
        self._wake = wake

    # ------------------------------------------------ decisions

    def approve(self, proposal_id: str, person_id: str, digest: str, *, via: str = "") -> DecisionResult:
        """See the port. ``via`` says by which account and where, for the ledger."""
        return self._decide("approve", proposal_id, person_id, digest, "", via)

    def deny(self, proposal_id: str, person_id: str, digest: str, reason: str, *, via: str = "") -> DecisionResult:
        """See the port."""
        return self._decide("deny", proposal_id, person_id, digest, reason, via)

    def revoke(self, proposal_id: str, person_id: str, digest: str, *, via: str = "") -> DecisionResult:
        """Take back one's own approval of what has this digest, as long as the merge has not begun."""
        return self._decide("revoke", proposal_id, person_id, digest, "", via)

    def break_glass(
        self, proposal_id: str, person_id: str, digest: str, reason: str, *, via: str = ""
    ) -> DecisionResult:
        """Let what has this digest through alone. Somebody else reviews it afterwards, by approving or denying it."""
        return self._decide("break-glass", proposal_id, person_id, digest, reason, via)

    def _decide(
        self, verb: str, proposal_id: str, person_id: str, digest: str, reason: str, via: str
    ) -> DecisionResult:
        try:
            with self._store.transaction() as work:
                proposal = work.proposal(proposal_id)
                incident = work.incident(proposal.incident_id) if proposal else None
                if proposal is None or incident is None:
                    return Refused("B424", f'there is no proposal "{proposal_id}"')
                now = self._world.now(proposal, incident)
                event = _events(person_id, digest, reason, now)[verb]
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
                        via=via,
                        text=f"{person_id}: {text}",
                    )
                )
            self._scribe.flush()
        except (OutsideError, InputError) as error:
            return Refused("B436", f"this cannot be checked now ({error}); try again in a moment")
        self._wake()
        return result

    # ------------------------------------------------ deliveries

    def is_taken(self, delivery: str) -> bool:
        """Whether this delivery of a platform (its own id) was acted upon already."""
        with self._store.reading() as view:
            return view.delivery(_COMMANDS, delivery) is not None

    def mark_taken(self, delivery: str) -> None:
        """It was acted upon. What it asked for may be repeated without harm, so this is written afterwards."""
        with self._store.transaction() as work:
            if work.add_delivery(_COMMANDS, delivery, self._clock(), "taken"):
                work.answer_delivery(_COMMANDS, delivery, "taken")

    # ------------------------------------------------ incidents

    def incident(self, any_id: str) -> Incident | None:
        """The incident of this id, or that of the proposal of this id."""
        with self._store.reading() as view:
            proposal = view.proposal(any_id)
            return view.incident(any_id if proposal is None else proposal.incident_id)

    def timeline(self, incident_id: str) -> tuple[TimelineEntry, ...]:
        """What happened to an incident, in order."""
        with self._store.reading() as view:
            return tuple(TimelineEntry(entry.at, entry.text) for entry in view.timeline(incident_id))

    def take_on(self, incident_id: str, person_id: str, *, via: str = "") -> DecisionResult:
        """This person looks after the incident; everybody sees that. The last one who says so counts."""
        return self._mark(incident_id, person_id, "acknowledged", course.taken, "is on it", via)

    def silence(
        self, incident_id: str, person_id: str, seconds: float, reason: str, *, via: str = ""
    ) -> DecisionResult:
        """No calls for help about it for so long; 0 for as long as it lasts. It ends by itself."""
        until = self._clock() + seconds if seconds else course.UNTIL_RESOLVED

        def silenced(incident: Incident, _person: str, _at: float) -> Incident:
            return course.silenced(incident, until, reason)

        span = f"for {span_text(seconds)}" if seconds else "until it is resolved"
        return self._mark(incident_id, person_id, "silenced", silenced, f"silenced it {span}: {reason}", via)

    def escalate(self, incident_id: str, person_id: str, reason: str, *, via: str = "") -> DecisionResult:
        """Call for help; a silence ends with it."""

        def escalated(incident: Incident, person: str, at: float) -> Incident:
            return course.escalated(course.silenced(incident, 0.0, ""), at, f"{person}: {reason}")

        return self._mark(incident_id, person_id, "escalated", escalated, f"calls for help: {reason}", via)

    def _mark(
        self,
        incident_id: str,
        person_id: str,
        event: str,
        change: Callable[[Incident, str, float], Incident],
        text: str,
        via: str,
    ) -> DecisionResult:
        try:
            at = self._clock()
            with self._store.transaction() as work:
                incident = work.incident(incident_id)
                if incident is None:
                    return Refused("B443", f'there is no incident "{incident_id}"')
                if incident.phase is IncidentPhase.CLOSED:
                    return Refused("B444", f"it is closed: {incident.closed_because}")
                work.put_incident(change(incident, person_id, at))
                line = printable(f"{person_id} {text}", 500)
                work.add_timeline(TimelineRecord(incident.id, at, line))
                work.add_record(
                    record(
                        f"{incident.id}/{event}/{person_id}/{moment_text(at)}",
                        *(EntryKind.DECISION, at, incident.id, event),
                        incident=incident.id,
                        model=incident.model,
                        version=incident.version,
                        person=person_id,
                        via=via,
                        text=line,
                    )
                )
            self._scribe.flush()
        except OutsideError as error:
            return Refused("B436", f"this cannot be written down now ({error}); try again in a moment")
        return Accepted(line)

    # ------------------------------------------------ remedies

    def ask(
        self, name: str, target: str, options: Mapping[str, str], reason: str, person_id: str, *, via: str = ""
    ) -> Asked | Refused:
        """Ask for a remedy of an object. Raises RefusedError where there is no such remedy, OutsideError."""
        asked = self._asking.ask(Request(name, target, tuple(sorted(options.items())), reason, person_id, via))
        self._wake()
        return asked

    # ------------------------------------------------ what the branch asks for

    def costs(self, group: str = "") -> list[str]:
        """What a month costs, in lines: totals by currency and the dearest rows. Raises RefusedError for an unknown group."""
        catalog = self._world.fleet().catalog
        if group and group not in catalog.groups:
            raise RefusedError("B449", f'there is no device group "{group}"{_near(group, catalog.groups)}')
        report, problems = estimate(catalog, [group] if group else None)
        lines = []
        for total in report.totals:
            figure = total.figure
            bounds = price_range_text(figure.low, figure.high, total.currency)
            missing = f"; {total.incomplete} rows without a price" if total.incomplete else ""
            lines.append(f"{price_text(figure.value, total.currency)} a month ({bounds}){missing}")
        return [*lines, *(str(problem) for problem in problems[:3])] or ["nothing that costs is asked for"]

    def rollouts(self, name: str = "") -> list[str]:
        """Where each rollout with waves stands, a line each."""
        found = rollouts_of(self._world.fleet())
        lines = []
        for each in found:
            if not name or name in (each.name, each.full_name, each.model):
                report = self._sight.gate(each.full_name)
                lines.append(each.text() if report is None else f"{each.text()}; its gate: {report.text()}")
        return lines or [f'no rollout with waves is called "{name}"' if name else "no rollout has waves"]

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
            proposer=self._configuration.identity.name if ballot.proposer == BOT else ballot.proposer,
            offending=_commit(proposal.offending),
            approvals=tuple(
                person.name if (person := people.person(vote.person)) else vote.person for vote in ballot.votes
            ),
            quorum=self._quorum(proposal),
            timeline=tuple(TimelineEntry(entry.at, entry.text) for entry in timeline),
            refused_for=self._refusals(proposal),
            remedy=proposal.remedy,
            after_review=ballot.after_review,
        )

    def _quorum(self, proposal: Proposal) -> int:
        try:
            return self._world.demand(proposal).quorum
        except (OutsideError, InputError):
            return self._configuration.approval.quorum

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


def _commit(found: CommitRecord | None) -> Commit | None:
    return None if found is None else Commit(found.sha, found.subject, found.author, found.at)


def _events(
    person: str, digest: str, reason: str, now: Circumstances
) -> dict[str, Approve | Deny | Revoke | BreakGlass]:
    return {
        "approve": Approve(person, digest, now),
        "deny": Deny(person, digest, reason, now),
        "revoke": Revoke(person, digest, now),
        "break-glass": BreakGlass(person, digest, reason, now),
    }


def _near(name: str, known: Iterable[str]) -> str:
    close = difflib.get_close_matches(name, list(known), n=1)
    return f', did you mean "{close[0]}"?' if close else ""


def _event(verb: str, result: DecisionResult, before: Ballot, after: Ballot) -> str:
    if isinstance(result, Refused):
        return "refused"
    if after.glass != before.glass and verb != "revoke":
        return "glass-broken" if before.glass is None or after.phase is not Phase.MERGED else "after-review"
    if verb in ("deny", "revoke"):
        return "denied" if verb == "deny" else "revoked"
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
