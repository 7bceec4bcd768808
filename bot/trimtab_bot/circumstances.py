"""The world at the moment of a decision: everything that a digest covers, read anew from where it really is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from trimtab_bot.adoption import is_adopted
from trimtab_bot.approvals.binding import Binding
from trimtab_bot.approvals.machine import Circumstances, Electorate, Hosted, Voter
from trimtab_bot.approvals.rules import DAY, Demand, Risk, automatic, demand
from trimtab_bot.changes.history import versions_of
from trimtab_bot.changes.likely import find_moves
from trimtab_bot.codec import encode
from trimtab_bot.findings import Subject
from trimtab_bot.incidents.evidence import Standing, evidence_digest, standing
from trimtab_bot.moments import moment_text
from trimtab_bot.persons import Role
from trimtab_bot.remedies import ASKED
from trimtab_config.githost.authors import change_authors
from trimtab_config.githost.interface import ProposalState
from trimtab_kernel.canonical import digest_of
from trimtab_kernel.problems import OutsideError
from trimtab_kernel.verdict import Verdict

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from trimtab_bot.changes.history import FleetAt, History
    from trimtab_bot.configuration import ApprovalPolicy, Configuration
    from trimtab_bot.gates import GateReport
    from trimtab_bot.incidents.evidence import Look
    from trimtab_bot.moments import Clock
    from trimtab_bot.persons import People
    from trimtab_bot.records import Incident, Proposal, Request
    from trimtab_config.git.identity import GitIdentity
    from trimtab_config.githost.interface import GitHost
    from trimtab_config.githost.interface import Proposal as HostProposal
    from trimtab_kernel.canonical import Json

BOT = "trimtab-bot"
"""The bot as a person: its id in records. Nobody else can have it, and no decision of it ever counts."""
PROMOTE = "promote"
_STANDS = {Verdict.FINE: Verdict.BREACH, Verdict.BREACH: Verdict.FINE, Verdict.UNKNOWN: Verdict.UNKNOWN}
"""What a gate found -> whether the promotion that it is for still stands (see ``Circumstances.standing``)."""
_STATES = {ProposalState.OPEN: Hosted.OPEN, ProposalState.MERGED: Hosted.MERGED, ProposalState.CLOSED: Hosted.CLOSED}


@dataclass(frozen=True, slots=True)
class Health:
    """How the loop is doing: when it last ended a tick, and what is wrong (``""`` where nothing is)."""

    last_tick: float | None
    note: str


class Sight:
    """What the loop saw last, shared with the people who decide. Each value is replaced whole, so any thread may read."""

    def __init__(self) -> None:
        """Nothing was seen yet."""
        self._look: Look | None = None
        self._health = Health(None, "the bot has not looked yet")
        self._gates: Mapping[str, GateReport] = {}

    def put(self, look: Look) -> None:
        """The loop has looked."""
        self._look = look

    def get(self) -> Look | None:
        """The newest completed look; None before the first."""
        return self._look

    def put_gates(self, reports: Mapping[str, GateReport]) -> None:
        """The gates of all rollouts that have a next wave were judged; by ``NAMESPACE/NAME``."""
        self._gates = dict(reports)

    def gate(self, name: str) -> GateReport | None:
        """What was last found of one rollout."""
        return self._gates.get(name)

    def put_health(self, health: Health) -> None:
        """The loop has ended a tick."""
        self._health = health

    def health(self) -> Health:
        """How the loop is doing."""
        return self._health


def voters(people: People, bot: GitIdentity) -> dict[str, Voter]:
    """The configured persons as the approval machine sees them. Whoever lists the bot's Git identity is the bot."""
    return {
        person.id: Voter(
            person.id,
            may_decide=Role.APPROVER in person.roles,
            is_proposer=bot in person.git or person.id == BOT,
            may_break_glass=Role.BREAK_GLASS in person.roles,
            roles=frozenset(role.value for role in person.roles),
        )
        for person in people
    }


def policy_digest(policy: ApprovalPolicy, bot: GitIdentity) -> str:
    """The rules of approval, as a digest."""
    body: dict[str, Json] = {
        "rules": 1,
        "quorum": policy.quorum,
        "expiry": repr(policy.expiry),
        "bot": str(bot),
    }
    if policy.rules or policy.automatic:
        body |= {"byRisk": encode(policy.rules), "automatic": encode(policy.automatic)}
    return str(digest_of(body))


def targets_between(base: FleetAt, head: FleetAt) -> tuple[str, ...]:
    """What merging would change for devices: a line for each model and device group, whichever model it is.

    ``kiosk-emea triage 1.2.0 -> 1.1.0``. Where one of the two does not compile that is a line as well.
    """
    lines = []
    for key in sorted(base.placements.keys() | head.placements.keys()):
        before, after = base.placements.get(key), head.placements.get(key)
        if before is not None and after is not None and before.source_digest == after.source_digest:
            continue
        texts = ["+".join(versions_of(each)) or "kept" if each is not None else "nothing" for each in (before, after)]
        lines.append(f"{key[1]} {key[0]} {texts[0]} -> {texts[1]}")
    lines.extend(f"problem before: {problem}" for problem in base.all_problems)
    lines.extend(f"problem after: {problem}" for problem in head.all_problems)
    return tuple(lines)


def _key_on_host(proposal: Proposal, found: HostProposal | None) -> str:
    """The proposal's key as the host has it. The host also keeps the digest, where whoever edits our state cannot reach."""
    if found is None or (is_adopted(proposal.key) and not found.key):
        return proposal.key
    digest = found.meta.get("digest")
    return found.key if digest == proposal.ballot.digest else f"{found.key} with digest {digest}"


def terms_of(proposal: Proposal, incident: Incident) -> str:
    """What a proposal is, as a digest: its remedy and subject, where it leads, whom it reaches, and who asked for it.

    Who may decide and how many must is established from these at each decision, so that none may differ from what was shown.
    """
    body: dict[str, Json] = {
        "key": proposal.key,
        "remedy": proposal.remedy,
        "model": proposal.model,
        "badVersion": proposal.bad_version,
        "goodVersion": proposal.good_version,
        "verified": proposal.verified,
        "restored": proposal.restored_commit,
        "groups": list(proposal.device_groups),
        "incident": proposal.incident_id,
        "number": proposal.number if is_adopted(proposal.key) else None,
        "proposer": proposal.ballot.proposer,
        "request": encode(incident.request),
    }
    return str(digest_of(body))


class World:
    """Establishes :class:`Circumstances`. May be used from any thread."""

    def __init__(
        self,
        configuration: Configuration,
        history: History,
        host: GitHost,
        sight: Sight,
        clock: Clock,
        merged_by_rule: Callable[[str, float, str], int] | None = None,
    ) -> None:
        """``sight`` is shared with the loop.

        ``merged_by_rule`` counts the proposals that an automatic rule has let through since a time, one apart; without it
        none is ever let through.
        """
        self._merged_by_rule = merged_by_rule
        self._configuration = configuration
        self._history = history
        self._host = host
        self._sight = sight
        self._clock = clock
        self._voters = voters(configuration.people, configuration.identity)
        self._undone: dict[tuple[str, str, str], tuple[str, ...]] = {}
        self._hands: dict[str, frozenset[GitIdentity]] = {}
        self._policy = policy_digest(configuration.approval, configuration.identity)

    @property
    def policy(self) -> str:
        """The digest of the rules of approval."""
        return self._policy

    @property
    def repository(self) -> str:
        """The repository as digests name it."""
        return str(self._configuration.repository)

    def branch_head(self) -> str | None:
        """The newest commit of the branch. Raises OutsideError."""
        return self._history.repository.resolve(self._configuration.branch)

    def fleet(self) -> FleetAt:
        """The fleet at the head of the branch. Raises OutsideError where there is none."""
        head = self.branch_head()
        if head is None:
            raise OutsideError("the branch does not exist")
        return self._history.fleet(head)

    def standing(self, incident: Incident) -> Standing:
        """What the incident's evidence says now. What a person asked for stands; a promotion, while its gate is passed."""
        if incident.request is not None:
            return self._request(incident, incident.request)
        subject = Subject(incident.concern, incident.model, incident.version, incident.policy)
        limit = max(self._configuration.freshness, 3 * self._configuration.tick)
        return standing(incident.evidence, subject, self._sight.get(), self._clock(), limit)

    def _request(self, incident: Incident, request: Request) -> Standing:
        digest = evidence_digest(incident.evidence.claim, incident.evidence.snapshot)
        if request.remedy != PROMOTE:
            return Standing(digest, Verdict.BREACH, f"asked for by {request.by}")
        report = self._sight.gate(request.target)
        limit = max(self._configuration.freshness, 3 * self._configuration.tick)
        if report is None or self._clock() - report.at > limit:
            return Standing(digest, Verdict.UNKNOWN, "the gate was not judged lately")
        if (report.version, report.next_wave) != (incident.version, dict(request.options).get("to")):
            return Standing(digest, Verdict.FINE, "the rollout stands elsewhere now")
        return Standing(digest, _STANDS[report.verdict], report.text())

    def electorate(self, proposal: Proposal) -> Electorate:
        """Who may decide about a proposal, by the authors that Git names and the persons that are configured now.

        The bot's own identity is known: it is nobody who could approve. Raises OutsideError, and InputError where the
        authors of a change cannot be known.
        """
        identities: set[GitIdentity] = set()
        for commit in self._undoes(proposal):
            if commit not in self._hands:
                self._hands[commit] = change_authors(self._history.repository, commit).identities
            identities |= self._hands[commit]
        if is_adopted(proposal.key):
            bound = proposal.ballot.binding
            for info in self._history.repository.commits_between(bound.base, bound.head):
                identities |= {info.author, info.committer, *info.co_authors}
        known = self._configuration.people.authorship(identities - {self._configuration.identity})
        return Electorate(self._voters, known.persons, tuple(str(identity) for identity in known.unknown))

    def _undoes(self, proposal: Proposal) -> tuple[str, ...]:
        """The commits that moved the model to the bad version, found anew on the base that the proposal names."""
        if not ASKED[proposal.remedy].bars_authors:
            return ()
        key = (proposal.ballot.binding.base, proposal.model, proposal.bad_version)
        if key not in self._undone:
            found = find_moves(self._history, *key, self._configuration.search_commits)
            self._undone[key] = tuple(move.commit.sha for move in found.moves)
        return self._undone[key]

    def now(self, proposal: Proposal, incident: Incident) -> Circumstances:
        """The circumstances of one proposal. Raises OutsideError where Git does not answer."""
        ballot, bound = proposal.ballot, proposal.ballot.binding
        at = self._clock()
        found = (
            self._host.find_proposal(proposal.key) if proposal.number is None else self._host.proposal(proposal.number)
        )
        base = self.branch_head() or ""
        head = bound.head if found is None and proposal.number is None else (found.head if found else "")
        evidence = self.standing(incident)
        overtaken = self._overtaken(proposal, base)
        binding = Binding(
            proposal=_key_on_host(proposal, found),
            repository=self.repository,
            branch=self._configuration.branch if found is None else found.base_branch,
            base=base,
            head=head,
            tree=self._tree(head),
            undoes=self._undoes(proposal),
            targets=self._targets(bound.base, head),
            evidence=evidence.digest,
            policy=self._policy,
            expires_at=moment_text(ballot.expires_at),
            terms=terms_of(proposal, incident),
        )
        needed = self.demand(proposal)
        return Circumstances(
            at=at,
            binding=binding,
            standing=evidence.verdict,
            standing_reason=evidence.reason,
            quorum=needed.quorum,
            roles=needed.roles,
            automatic=self._automatic(proposal, at),
            electorate=self.electorate(proposal),
            hosted=Hosted.ABSENT if found is None else _STATES[found.state],
            merged=found.merged.sha if found is not None and found.merged is not None else None,
            overtaken=overtaken,
        )

    def risk(self, proposal: Proposal) -> Risk:
        """What a proposal is and reaches, by the branch that it is for. Raises OutsideError."""
        fleet = self._history.fleet(proposal.ballot.binding.base)
        everything = sum(group.spec.device_count for group in fleet.catalog.groups.values())
        devices = sum(fleet.devices(proposal.device_groups).values())
        environments = {
            placement.document.spec.tags.environment or ""
            for (model, group), placement in fleet.placements.items()
            if model == proposal.model and group in proposal.device_groups
        }
        return Risk(
            remedy=proposal.remedy,
            environments=frozenset(environments),
            devices=devices,
            share=devices / everything if everything else 1.0,
            by_bot=proposal.ballot.proposer == BOT,
            verified=proposal.verified,
        )

    def demand(self, proposal: Proposal) -> Demand:
        """Who has to approve it, by the rules and its risk. Raises OutsideError."""
        policy = self._configuration.approval
        return demand(policy.rules, policy.quorum, self.risk(proposal))

    def _automatic(self, proposal: Proposal, at: float) -> str:
        """The rule by which it needs no person now; "" where there is none, or its times of the day are used up."""
        if self._merged_by_rule is None:
            return ""
        for rule in automatic(self._configuration.approval.automatic, self.risk(proposal)):
            if self._merged_by_rule(rule.name, at - DAY, proposal.id) < rule.per_day:
                return rule.name
        return ""

    def _tree(self, commit: str) -> str:
        return self._history.repository.commit(commit).tree if commit else ""

    def _targets(self, base: str, head: str) -> tuple[str, ...]:
        if not head:
            return ()
        return targets_between(self._history.fleet(base), self._history.fleet(head))

    def _overtaken(self, proposal: Proposal, base: str) -> str:
        """Why the proposal would undo something newer, where that is so: the base no longer asks for the bad version."""
        if not base or base == proposal.ballot.binding.base or proposal.remedy != "rollback":
            return ""
        fleet = self._history.fleet(base)
        if fleet.problems or fleet.groups_asked(proposal.model, proposal.bad_version):
            return ""
        versions = {
            version
            for (model, group), placement in fleet.placements.items()
            if model == proposal.model and group in proposal.device_groups
            for version in versions_of(placement)
        }
        asks = ", ".join(sorted(versions)) or "nothing"
        return (
            f"the branch has moved on to {base[:12]}, which asks for {proposal.model} {asks} and not for"
            f" {proposal.bad_version}; rolling back would undo that"
        )
