"""From metrics to incidents: one look at everything that the branch wants watched, and what is remembered of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from trimtab_bot.assessment import assess, watch_targets
from trimtab_bot.changes.likely import find_moves
from trimtab_bot.changes.verified import verified_now
from trimtab_bot.findings import Concern
from trimtab_bot.gates import judge_gate
from trimtab_bot.incidents import course
from trimtab_bot.incidents.evidence import Look, evidence_of
from trimtab_bot.incidents.harm import money_over_ceiling, people_passed_over
from trimtab_bot.incidents.story import tell
from trimtab_bot.ledger.interface import EntryKind
from trimtab_bot.moments import moment_text
from trimtab_bot.recording import record
from trimtab_bot.records import CommitRecord, TimelineRecord
from trimtab_bot.rollouts import rollouts_of, wave_since
from trimtab_config.githost.authors import change_authors
from trimtab_kernel.canonical import digest_of
from trimtab_kernel.rules import DECISIONS, Query

if TYPE_CHECKING:
    from collections.abc import Sequence

    from trimtab_bot.changes.history import FleetAt, History
    from trimtab_bot.changes.likely import Move
    from trimtab_bot.configuration import Configuration
    from trimtab_bot.findings import Finding, Subject
    from trimtab_bot.gates import GateReport
    from trimtab_bot.incidents.harm import Harm
    from trimtab_bot.metrics.interface import MetricsSource
    from trimtab_bot.narration.interface import Narrator
    from trimtab_bot.recording import Followers
    from trimtab_bot.records import Incident, VerifiedState
    from trimtab_bot.rollouts import RolloutAt
    from trimtab_bot.store.interface import Store
    from trimtab_bot.watch import WatchTarget
    from trimtab_kernel.canonical import Json
    from trimtab_kernel.verdict import Verdict


def commit_record(history: History, move: Move) -> CommitRecord:
    """A move as people name it, with everybody who had a hand in it."""
    authors = change_authors(history.repository, move.commit.sha).identities
    return CommitRecord(
        sha=move.commit.sha,
        subject=move.commit.subject,
        author=str(move.commit.author),
        at=move.commit.committed_at.timestamp(),
        authors=tuple(str(identity) for identity in sorted(authors)),
    )


class Detection:
    """Looks, and opens incidents. Used by the loop alone."""

    def __init__(
        self,
        configuration: Configuration,
        store: Store,
        history: History,
        source: MetricsSource,
        narrator: Narrator,
        followers: Followers,
    ) -> None:
        """All of these are shared with the loop."""
        self._configuration = configuration
        self._store = store
        self._history = history
        self._source = source
        self._narrator = narrator
        self._followers = followers
        self._verdicts: dict[Subject, Verdict] = {}
        self._waves: dict[tuple[str, str], float | None] = {}
        self._verified: set[tuple[str, str, str]] = set()

    def look(self, fleet: FleetAt, at: float) -> Look:
        """Judge every version against the policies of ``fleet``. Raises OutsideError where the source does not answer."""
        targets = watch_targets(fleet.catalog)
        findings = assess(targets, self._source, self._configuration.window, at, self._configuration.alarms)
        look = Look(at, targets, {finding.subject: finding for finding in findings})
        for finding in findings:
            if self._verdicts.get(finding.subject) is not finding.verdict:
                self._followers.tell(moment_text(at), _finding_event(finding))
        self._verdicts = {finding.subject: finding.verdict for finding in findings}
        return look

    def remember_verified(self, fleet: FleetAt, look: Look, at: float) -> None:
        """Write down which (model, group) the head of the branch serves well."""
        states = [
            state
            for state in verified_now(fleet, tuple(look.findings.values()), at)
            if (state.model, state.group, state.commit) not in self._verified
        ]
        if not states:
            return
        with self._store.transaction() as work:
            added = [state for state in states if work.add_verified(state)]
            by_model: dict[tuple[str, tuple[str, ...]], list[VerifiedState]] = {}
            for state in added:
                by_model.setdefault((state.model, state.versions), []).append(state)
            for (model, versions), found in by_model.items():
                groups = [state.group for state in found]
                work.add_record(
                    record(
                        f"verified/{model}/{fleet.commit}/{digest_of([*versions, *groups]).hex[:12]}",
                        *(EntryKind.EVIDENCE, at, f"verified/{model}", "verified"),
                        model=model,
                        version=versions[0],
                        versions=list(versions),
                        commit=fleet.commit,
                        groups=groups,
                        text=f"found fine in {', '.join(groups)} at {fleet.commit[:12]}",
                    )
                )
        self._verified |= {(state.model, state.group, state.commit) for state in states}

    def judge_gates(self, fleet: FleetAt, look: Look, at: float) -> dict[str, GateReport]:
        """The gate of every rollout that has a next wave, by ``NAMESPACE/NAME``. Raises OutsideError."""
        reports = {}
        for rollout in rollouts_of(fleet):
            if rollout.next_wave is None:
                continue
            since = self._since(fleet, rollout)
            declared = fleet.devices(rollout.groups)
            window = self._configuration.window
            reports[rollout.full_name] = judge_gate(rollout, declared, look, self._source, window, since, at)
        return reports

    def _since(self, fleet: FleetAt, rollout: RolloutAt) -> float | None:
        """When the branch came to this wave of this version; found once for each head."""
        key = (rollout.full_name, fleet.commit)
        if key not in self._waves:
            limit = self._configuration.search_commits
            self._waves = {known: at for known, at in self._waves.items() if known[1] == fleet.commit}
            self._waves[key] = wave_since(self._history, fleet.commit, rollout, limit)
        return self._waves[key]

    def open_incidents(self, fleet: FleetAt, look: Look, at: float) -> tuple[Incident, ...]:
        """One incident for each (concern, model, version) with an alarm that the branch asks for and that has none yet.

        A version that the branch no longer asks for opens nothing: its figures linger in the window while the fleet is
        already on its way.
        """
        alarms = [finding for finding in look.findings.values() if finding.alarm]
        if not alarms:
            return ()
        with self._store.reading() as view:
            known = {incident.key for incident in view.incidents(open_only=True)}
        opened = []
        for finding in alarms:
            key = (finding.concern.value, finding.model, finding.version)
            groups = fleet.groups_asked(finding.model, finding.version)
            if key in known or not groups:
                continue
            known.add(key)
            opened.append(self._open(fleet, finding, groups, look.targets, at))
        return tuple(opened)

    def _open(
        self, fleet: FleetAt, finding: Finding, groups: tuple[str, ...], targets: Sequence[WatchTarget], at: float
    ) -> Incident:
        limit = self._configuration.search_commits
        moves = find_moves(self._history, fleet.commit, finding.model, finding.version, limit).moves
        incident = course.opened(
            finding,
            evidence_of(finding),
            at,
            offending=commit_record(self._history, moves[0]) if moves else None,
            device_groups=groups,
            devices=sum(fleet.devices(groups).values()),
            harm=self._harm(finding, targets),
        )
        incident = tell(incident, self._narrator)
        with self._store.transaction() as work:
            work.put_incident(incident)
            work.add_timeline(TimelineRecord(incident.id, at, f"found: {incident.title}"))
            work.add_record(
                record(
                    *(f"{incident.id}/evidence", EntryKind.EVIDENCE, at, incident.id, "incident"),
                    incident=incident.id,
                    concern=incident.concern,
                    model=incident.model,
                    version=incident.version,
                    groups=list(groups),
                    commit=fleet.commit,
                    offending=incident.offending.sha if incident.offending else None,
                    finding=finding.to_json(),
                    summary=incident.summary,
                    text=incident.title,
                )
            )
        return incident

    def _harm(self, finding: Finding, targets: Sequence[WatchTarget]) -> Harm | None:
        if finding.concern is Concern.COST:
            return money_over_ceiling(finding)
        cohorts = {
            cohort
            for target in targets
            if (target.concern, target.model, target.policy) == (finding.concern, finding.model, finding.policy)
            for cohort in target.cohorts
        }
        match = (("model", finding.model), ("version", finding.version))
        reading = self._source.read(Query(DECISIONS, self._configuration.window, match))
        seconds = float(self._configuration.window.value)
        return people_passed_over(reading.samples, finding.limit.bound, seconds, tuple(sorted(cohorts)))


def _finding_event(finding: Finding) -> dict[str, Json]:
    shown = finding.to_json()
    keys = ("concern", "model", "version", "policy", "verdict", "n", "interval", "alarm")
    figure = f"{finding.metric}: {finding.verdict.value}, {finding.reason} (n = {finding.n})"
    return {"event": "finding", **{key: shown[key] for key in keys}, "text": figure}
