"""A rollback that a person proposed already: recognised, proven equal to what the bot would propose, and taken instead.

It is recognised by what it does, never by what it says: its tree holds, object for object, what the bot's own plan restores,
with every other object as it is on the branch. Holds of the bad version alone may differ, or be missing. Who opened it is the
proposer and may not approve it, and nobody who wrote a commit of it may; where that is nobody whom we know, it is not taken.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from trimtab_bot.inbox.interface import FactKind
from trimtab_bot.records import FactLine
from trimtab_config.githost.interface import ProposalState
from trimtab_config.restore.proof import object_key
from trimtab_config.sources.selection import is_manifest
from trimtab_config.spec.kinds import HoldSpec
from trimtab_config.spec.reader import read_documents
from trimtab_kernel.problems import InputError, printable

if TYPE_CHECKING:
    from collections.abc import Mapping

    from trimtab_bot.changes.history import FleetAt, History
    from trimtab_bot.configuration import Configuration
    from trimtab_bot.remedies.interface import Draft, Situation
    from trimtab_config.githost.interface import GitHost
    from trimtab_config.githost.interface import Proposal as HostProposal
    from trimtab_config.restore.layout import ObjectKey
    from trimtab_config.spec.kinds import Document

PREFIX = "pull/"
_MOST = 20


@dataclass(frozen=True, slots=True)
class Adopted:
    """A person's pull request that is a rollback. ``proposer`` is the person's id; ``facts`` tell of the comparison."""

    number: int
    head: str
    branch: str
    proposer: str
    facts: tuple[FactLine, ...]

    @property
    def key(self) -> str:
        """The proposal's key: this pull request at exactly this commit."""
        return f"{PREFIX}{self.number}/{self.head[:12]}"


def is_adopted(key: str) -> bool:
    """Whether a proposal of this key is a person's own pull request."""
    return key.startswith(PREFIX)


def adoptable(
    host: GitHost, configuration: Configuration, situation: Situation, draft: Draft, taken: frozenset[str]
) -> Adopted | None:
    """The oldest open pull request that does what ``draft`` would, None for none. Keys in ``taken`` were decided about before.

    Raises OutsideError where the host does not answer.
    """
    incident = situation.incident
    base = situation.history.fleet(situation.head)
    for pull in peoples(host, configuration):
        if key_of(pull) not in taken:
            found = judged(configuration, situation.history, base, pull, draft, (incident.model, incident.version))
            if found is not None:
                return found
    return None


def peoples(host: GitHost, configuration: Configuration) -> tuple[HostProposal, ...]:
    """The open pull requests of people whom we know, for our branch, the oldest first. Raises OutsideError."""
    found = [
        pull
        for pull in host.proposals(ProposalState.OPEN)
        if not pull.key and pull.base_branch == configuration.branch and proposer_of(configuration, pull)
    ]
    return tuple(sorted(found, key=lambda each: each.number)[:_MOST])


def key_of(pull: HostProposal) -> str:
    """The key of a person's pull request at exactly this commit."""
    return f"{PREFIX}{pull.number}/{pull.head[:12]}"


def only_the_fleet(history: History, base: str, pull: HostProposal) -> FleetAt | None:
    """The fleet of a pull request that is not behind ``base`` and changes nothing but the fleet, without problems; else None."""
    prefix = f"{history.path}/" if history.path else ""
    try:
        if not history.repository.is_ancestor(base, pull.head):
            return None  # behind the branch: what its merge would give is not what its tree shows
        # Nothing but the fleet: whatever else it changes, nobody has proven.
        paths = history.repository.changed_paths(base, pull.head)
        fleet = history.fleet(pull.head)
    except InputError:
        return None  # a commit that is not in this repository, such as a fork's
    if fleet.problems or not all(path.startswith(prefix) and is_manifest(path.removeprefix(prefix)) for path in paths):
        return None
    # Of files that change every object is ours: somebody else's beside them (another tool's, a list of values) is unproven.
    before = history.fleet(base).files
    for path in paths:
        name = path.removeprefix(prefix)
        for files in (before, fleet.files):
            if name in files and read_documents({name: files[name]}).skipped:
                return None
    return fleet


def judged(
    configuration: Configuration,
    history: History,
    base: FleetAt,
    pull: HostProposal,
    draft: Draft,
    version: tuple[str, str],
) -> Adopted | None:
    """The pull request where it does on ``base`` what ``draft`` would for (model, ``version``); None where it does not."""
    fleet = only_the_fleet(history, base.commit, pull)
    if fleet is None:
        return None
    prefix = f"{history.path}/" if history.path else ""
    planned: dict[str, bytes] = dict(base.files)
    for path, content in draft.changes.items():
        name = path.removeprefix(prefix)
        if content is None:
            planned.pop(name, None)
        else:
            planned[name] = content
    expected = _objects(planned, *version)
    if _objects(fleet.files, *version) != expected:
        return None
    proposer = proposer_of(configuration, pull)
    by = f"{printable(pull.opened_by.name, 100)} ({proposer})"
    facts = (
        FactLine("Opened by", f"{by} as pull request {pull.number}; the bot only proved it", FactKind.FACT),
        FactLine("Same as the bot's plan", f"{len(expected)} objects compared, all equal", FactKind.FACT),
    )
    return Adopted(pull.number, pull.head, pull.branch, proposer, facts)


def proposer_of(configuration: Configuration, pull: HostProposal) -> str:
    """The person who opened it, by exact Git identity or by the account's numeric id; "" for nobody whom we know."""
    person = configuration.people.of_git(pull.opened_by)
    if person is not None:
        return person.id
    if configuration.github is None:
        return ""
    # The GitHub adapter makes this address of the account's id; nothing that a person typed gets into it.
    number, _, rest = pull.opened_by.email.partition("+")
    if not number.isascii() or not number.isdigit() or not rest.endswith("@users.noreply.github.com"):
        return ""
    return configuration.github.people.get(int(number), "")


def _objects(files: Mapping[str, bytes], model: str, version: str) -> dict[ObjectKey, Document]:
    found = {}
    for document in read_documents(files).documents:
        spec = document.spec
        if isinstance(spec, HoldSpec) and (spec.model, spec.version) == (model, version):
            continue
        found[object_key(document)] = document
    return found
