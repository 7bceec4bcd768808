"""Last verified state: which earlier commit is known to have served a model well, group by group.

The bot writes down that (model, group, commit) is verified when every version that the branch's head asks for there was
judged fine, on figures that the group took part in. A rollback goes to the newest such commit before the change that it
undoes; without one to that change's first parent, and says that nobody ever measured it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from trimtab_bot.changes.history import versions_of
from trimtab_bot.incidents.evidence import verdict_of_version
from trimtab_bot.records import VerifiedState
from trimtab_kernel.verdict import Verdict

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from trimtab_bot.changes.history import FleetAt, History
    from trimtab_bot.findings import Finding


def verified_now(fleet: FleetAt, findings: Sequence[Finding], at: float) -> tuple[VerifiedState, ...]:
    """What can be said of the head of the branch: one state for each (model, group) that is served well."""
    judged = {(finding.model, finding.version) for finding in findings}
    verdicts = {pair: verdict_of_version(findings, *pair) for pair in judged}
    measured = {(f.model, f.version, group) for f in findings for group in f.device_groups}
    states = []
    for (model, group), placement in sorted(fleet.placements.items()):
        versions = versions_of(placement)
        well = versions and all(verdicts.get((model, version)) is Verdict.FINE for version in versions)
        if well and any((model, version, group) in measured for version in versions):
            states.append(VerifiedState(model, group, fleet.commit, str(placement.source_digest), versions, at))
    return tuple(states)


@dataclass(frozen=True, slots=True)
class GoodState:
    """Where a rollback goes. ``verified_groups`` ran this state and were fine; the others were never measured with it."""

    commit: str
    verified_groups: tuple[str, ...]
    unverified_groups: tuple[str, ...]

    def is_verified_for(self, reporting: Iterable[str]) -> bool:
        """Whether every group that reports at all was verified, and some group was."""
        return bool(self.verified_groups) and not set(reporting) & set(self.unverified_groups)


def last_good_state(
    history: History,
    parent: str,
    model: str,
    groups: Sequence[str],
    reporting: Iterable[str],
    states: Iterable[VerifiedState],
    limit: int,
) -> GoodState:
    """The newest first-parent commit from ``parent`` on that is verified, else ``parent`` itself, unverified.

    ``groups`` run the bad version; ``reporting`` are those of them that send figures. A commit in which all of these are
    verified is preferred to a newer one in which only some are. A group is verified in a commit where the bot recorded
    it for that commit, or for another one that holds the same objects for it.
    """
    wanted, needed = set(groups), set(groups) & set(reporting)
    known = [state for state in states if state.model == model and state.group in wanted]
    commits = {state.commit for state in known}
    objects = {(state.group, state.objects) for state in known}
    partly: GoodState | None = None
    if commits:
        for commit in history.repository.first_parents(parent, limit):
            if commit.sha not in commits:
                continue
            placements = history.fleet(commit.sha).placements
            verified = {
                group
                for group in wanted
                if (model, group) in placements and (group, str(placements[model, group].source_digest)) in objects
            }
            found = GoodState(commit.sha, tuple(sorted(verified)), tuple(sorted(wanted - verified)))
            if verified and needed <= verified:
                return found
            if verified and partly is None:
                partly = found
    return partly or GoodState(parent, (), tuple(sorted(wanted)))
