"""Rollbacks that people propose by themselves: recognised at any time, whether or not anything is known to be wrong.

Each open pull request of a person whom we know is looked at once for each of its heads and each base. Where it takes exactly
one version of one model away, and its tree equals, object for object, what the bot's own rollback of that version to a
*verified* state would give, it gets a case of its own: the proof stands as a check on exactly that head, and it is offered for
approval like any wish. Whoever opened it is the one who asked, and never counts. What is pushed to it later voids the case;
the new head is looked at anew. Nothing that a person wrote (a title, a branch's name) says anything here.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from trimtab_bot.adoption import judged, key_of, only_the_fleet, peoples, proposer_of
from trimtab_bot.asking import titled
from trimtab_bot.changes.history import versions_of
from trimtab_bot.changes.likely import find_moves
from trimtab_bot.detection import commit_record
from trimtab_bot.incidents import course
from trimtab_bot.proposing import make_proposal, opening_record
from trimtab_bot.records import Request, TimelineRecord
from trimtab_bot.remedies.interface import Impossible
from trimtab_kernel.problems import InputError

if TYPE_CHECKING:
    from trimtab_bot.adoption import Adopted
    from trimtab_bot.asking import Asking
    from trimtab_bot.changes.history import FleetAt, History
    from trimtab_bot.circumstances import World
    from trimtab_bot.configuration import Configuration
    from trimtab_bot.execution import Executor
    from trimtab_bot.moments import Clock
    from trimtab_bot.records import CommitRecord, Incident, Proposal
    from trimtab_bot.remedies.interface import Draft
    from trimtab_bot.store.interface import Store
    from trimtab_config.githost.interface import GitHost
    from trimtab_config.githost.interface import Proposal as HostProposal

ROLLBACK = "rollback"
_REMEMBERED = 256


class Recognition:
    """Used by the loop alone."""

    def __init__(
        self,
        *,
        configuration: Configuration,
        store: Store,
        history: History,
        host: GitHost,
        world: World,
        asking: Asking,
        executor: Executor,
        clock: Clock,
    ) -> None:
        """All of these are shared with the loop."""
        self._configuration = configuration
        self._store = store
        self._history = history
        self._host = host
        self._world = world
        self._asking = asking
        self._executor = executor
        self._clock = clock
        # What was looked at and is no rollback; only spares work, so that it may be forgotten.
        self._no: dict[tuple[str, str, int], None] = {}

    def step(self, fleet: FleetAt) -> None:
        """Look at what people have proposed on this head of the branch. Raises OutsideError."""
        pulls = peoples(self._host, self._configuration)
        if not pulls or fleet.problems:
            return
        with self._store.reading() as view:
            taken = {each.key for each in view.proposals()}
        for pull in pulls:
            if key_of(pull) in taken:
                continue
            version = self._taken_away(fleet, pull)
            if version is None or not self._offer(fleet, pull, *version):
                self._remember(fleet, pull, version)

    def _taken_away(self, fleet: FleetAt, pull: HostProposal) -> tuple[str, str] | None:
        """The one (model, version) that nobody would be told to run any more; None for none or several."""
        if (key_of(pull), fleet.commit, 0) in self._no:
            return None
        after = only_the_fleet(self._history, fleet.commit, pull)
        if after is None:
            return None
        gone = _told(fleet) - _told(after)
        return next(iter(gone)) if len(gone) == 1 else None

    def _remember(self, fleet: FleetAt, pull: HostProposal, version: tuple[str, str] | None) -> None:
        # With a version it may yet become one: where the earlier state is found to be fine.
        self._no[key_of(pull), fleet.commit, 0 if version is None else self._states(version[0])] = None
        while len(self._no) > _REMEMBERED:
            del self._no[next(iter(self._no))]

    def _states(self, model: str) -> int:
        with self._store.reading() as view:
            return 1 + len(view.verified_states(model))

    def _offer(self, fleet: FleetAt, pull: HostProposal, model: str, version: str) -> bool:
        """Open its case, where it is what the bot's own plan would be."""
        if (key_of(pull), fleet.commit, self._states(model)) in self._no:
            return False
        at, proposer = self._clock(), proposer_of(self._configuration, pull)
        via = f"pull/{pull.number}"
        request = Request(ROLLBACK, f"{model} {version}", (), f"pull request {pull.number}", proposer, via)
        draft = self._asking.plan(request, fleet, at, "")
        if isinstance(draft, Impossible) or not draft.verified:
            return False
        adopted = judged(self._configuration, self._history, fleet, pull, draft, (model, version))
        if adopted is None:
            return False
        # A case of its own, whoever else has asked for the same: whichever is merged first ends the others.
        case = course.requested(request, model, version, at)
        concern = f"{case.concern} {key_of(pull)}"
        case = replace(case, id=course.incident_id(concern, model, version, at), concern=concern)
        case = replace(case, device_groups=draft.groups, devices=sum(fleet.devices(draft.groups).values()))
        return self._propose(titled(case, draft), draft, adopted, fleet, at)

    def _propose(self, case: Incident, draft: Draft, adopted: Adopted, fleet: FleetAt, at: float) -> bool:
        limit = self._configuration.search_commits
        moves = find_moves(self._history, fleet.commit, case.model, case.version, limit).moves
        try:
            records: list[CommitRecord] = [commit_record(self._history, move) for move in moves]
        except InputError:
            return False  # its authors cannot be known, so nobody could be told apart from them
        proposal = make_proposal(
            configuration=self._configuration,
            world=self._world,
            history=self._history,
            incident=case,
            draft=draft,
            remedy=ROLLBACK,
            offending=records[0] if records else None,
            undoes=tuple(each.sha for each in records),
            base=fleet.commit,
            revision=1,
            at=at,
            adopted=adopted,
        )
        if isinstance(proposal, Impossible):
            return False
        self._keep(case, replace(proposal, summary=case.summary), adopted, at)
        return True

    def _keep(self, case: Incident, proposal: Proposal, adopted: Adopted, at: float) -> None:
        text = f"pull request {adopted.number} of {adopted.proposer} is a rollback: proven, and offered for approval"
        with self._store.transaction() as work:
            work.put_incident(course.proposed(case, proposal.id, proposal.good_version, at))
            work.put_proposal(proposal)
            work.add_timeline(TimelineRecord(case.id, at, text))
            work.add_record(opening_record(proposal, case, at, remedy=ROLLBACK, person=adopted.proposer))
        self._executor.open(proposal)


def _told(fleet: FleetAt) -> set[tuple[str, str]]:
    return {(model, version) for (model, _), placed in fleet.placements.items() for version in versions_of(placed)}
