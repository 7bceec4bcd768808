"""From a draft to a proposal: the commit is written, judged as a fleet, and bound to a digest. Nothing is shown yet."""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from trimtab_bot.approvals.binding import Binding
from trimtab_bot.approvals.machine import Ballot, Phase
from trimtab_bot.circumstances import BOT, targets_between, terms_of
from trimtab_bot.inbox.interface import FactKind
from trimtab_bot.ledger.interface import EntryKind
from trimtab_bot.moments import clock_text, moment_text
from trimtab_bot.narration.template import gauge_text
from trimtab_bot.recording import record
from trimtab_bot.records import FactLine, Proposal
from trimtab_bot.remedies.interface import Impossible
from trimtab_kernel.canonical import digest_of
from trimtab_kernel.problems import InputError, printable

if TYPE_CHECKING:
    from trimtab_bot.adoption import Adopted
    from trimtab_bot.changes.history import History
    from trimtab_bot.circumstances import World
    from trimtab_bot.configuration import Configuration
    from trimtab_bot.ledger.interface import Record
    from trimtab_bot.records import CommitRecord, Incident
    from trimtab_bot.remedies.interface import Draft
    from trimtab_kernel.canonical import Json

_DIFF_BYTES = 64 * 1024
_KEY_LENGTH = 160


def proposal_key(remedy: str, model: str, version: str, base: str, revision: int) -> str:
    """The idempotency key: what is undone, on which base, which try. Long names are shortened by their digest."""
    key = f"{remedy}/{model}/{version}/{base[:12]}/{revision}"
    if len(key) <= _KEY_LENGTH:
        return key
    return f"{remedy}/{digest_of([model, version]).hex[:16]}/{base[:12]}/{revision}"


def named(incident: Incident) -> tuple[str, str]:
    """What the key says it is about: the model and the version, or what was asked for."""
    if incident.request is None:
        return incident.model, incident.version
    return re.sub(r"[^A-Za-z0-9._-]+", "-", incident.request.target), incident.id


def branch_name(key: str) -> str:
    """The proposal's branch, from its key. Names of models and versions are ref names but for an ending that git keeps."""
    return "trimtab/" + re.sub(r"\.lock(?=/|$)", "-lock", key)


def make_proposal(
    *,
    configuration: Configuration,
    world: World,
    history: History,
    incident: Incident,
    draft: Draft,
    remedy: str,
    offending: CommitRecord | None,
    undoes: tuple[str, ...],
    base: str,
    revision: int,
    at: float,
    adopted: Adopted | None = None,
) -> Proposal | Impossible:
    """The proposal of ``draft`` on ``base``, as a record in phase DRAFT. Its commit exists; no ref leads to it.

    With ``adopted`` it is a person's own pull request, which was proven to do what ``draft`` would.

    Impossible (B304, B309) where the fleet that it leads to has problems that the fleet on ``base`` has not, or would
    still run the bad version somewhere. Raises OutsideError where the repository does not answer.
    """
    key = proposal_key(remedy, *named(incident), base, revision) if adopted is None else adopted.key
    message = _message(draft, incident)
    when = datetime.fromtimestamp(int(at), UTC)
    bot = configuration.identity
    try:
        if adopted is None:
            head = history.repository.write_commit(base, draft.changes, bot, bot, message, when)
        else:
            head = adopted.head
    except InputError as error:
        return Impossible("B303", f"the commit cannot be written: {error.problems[0]}")
    before, after = history.fleet(base), history.fleet(head)
    new = [problem for problem in after.all_problems if problem not in before.all_problems]
    if new:
        more = f" and {len(new) - 1} more" if len(new) > 1 else ""
        return Impossible("B304", f"the fleet would not compile: {new[0]}{more}")
    left = after.groups_asked(incident.model, incident.version)
    if left and draft.removes_version:
        return Impossible("B309", f"{', '.join(left)} would still be told to run {incident.model} {incident.version}")
    targets = targets_between(before, after)
    expires_at = at + configuration.approval.expiry
    binding = Binding(
        proposal=key,
        repository=world.repository,
        branch=configuration.branch,
        base=base,
        head=head,
        tree=history.repository.commit(head).tree,
        undoes=undoes,
        targets=targets,
        evidence=world.standing(incident).digest,
        policy=world.policy,
        expires_at=moment_text(expires_at),
    )
    made = Proposal(
        id=f"p-{digest_of([incident.id, key]).hex[:10]}",
        key=key,
        incident_id=incident.id,
        remedy=remedy,
        title=draft.title,
        summary="",
        message=message,
        model=incident.model,
        bad_version=incident.version,
        good_version=draft.good_version,
        verified=draft.verified,
        restored_commit=draft.restored_commit,
        hold_until=draft.hold_until,
        device_groups=incident.device_groups,
        devices=incident.devices,
        facts=(
            *_facts(incident, offending),
            *(() if adopted is None else adopted.facts),
            *draft.facts,
            *_target_facts(targets),
        ),
        diff=history.repository.diff(base, head, limit=_DIFF_BYTES),
        offending=offending,
        head_branch=branch_name(key) if adopted is None else adopted.branch,
        opened_at=at,
        number=None if adopted is None else adopted.number,
        ballot=Ballot(
            phase=Phase.DRAFT,
            binding=binding,
            digest=str(binding.digest()),
            expires_at=expires_at,
            proposer=_proposer(incident, adopted),
        ),
    )
    binding = replace(binding, terms=terms_of(made, incident))
    ballot = replace(made.ballot, binding=binding, digest=str(binding.digest()))
    return replace(made, ballot=ballot, quorum=world.demand(made).quorum)


def _proposer(incident: Incident, adopted: Adopted | None) -> str:
    if adopted is not None:
        return adopted.proposer
    return BOT if incident.request is None else incident.request.by


def _message(draft: Draft, incident: Incident) -> str:
    if incident.request is not None:
        asked = incident.request
        body = f"Asked for by {printable(asked.by, 100)}: {printable(asked.reason, 500)}\n\nTrimtab-Incident: {incident.id}"
        return f"{printable(draft.title)}\n\n{body}"
    gauge = incident.evidence.gauge
    figure = f" ({gauge_text(gauge)}, n = {gauge.n})" if gauge else ""
    body = (
        f"{incident.model} {incident.version} breaks {incident.policy}{figure}.\n"
        f"Restores {draft.restored_commit} and holds the version until {draft.hold_until}.\n\n"
        f"Trimtab-Incident: {incident.id}"
    )
    return f"{printable(draft.title)}\n\n{body}"


def _facts(incident: Incident, offending: CommitRecord | None) -> tuple[FactLine, ...]:
    lines = list(incident.evidence.facts)
    if incident.harm is not None:
        lines.append(FactLine("Harm", incident.harm.text, FactKind.ESTIMATE))
    if offending is None:
        return tuple(lines)
    commit = f'{offending.sha[:12]} "{printable(offending.subject, 120)}" by {printable(offending.author, 120)}'
    lines.append(FactLine("Moved to this version by", f"{commit}, {clock_text(offending.at)}", FactKind.FACT))
    lines.append(
        FactLine("Hand in that change", ", ".join(printable(who, 120) for who in offending.authors), FactKind.FACT)
    )
    return tuple(lines)


def _target_facts(targets: tuple[str, ...]) -> tuple[FactLine, ...]:
    shown = "; ".join(targets[:12]) + (f"; and {len(targets) - 12} more" if len(targets) > 12 else "")
    return (FactLine("What changes for devices", shown or "nothing", FactKind.FACT),)


def opening_record(proposal: Proposal, incident: Incident, at: float, **cause: Json) -> Record:
    """The ledger's intent to open a proposal; ``cause`` is what it answers: a finding, or a person's wish."""
    return record(
        f"{proposal.id}/open",
        EntryKind.INTENT,
        at,
        proposal.id,
        "proposing",
        proposal=proposal.id,
        incident=incident.id,
        host_key=proposal.key,
        **cause,
        base=proposal.ballot.binding.base,
        head=proposal.ballot.binding.head,
        targets=list(proposal.ballot.binding.targets),
        digest=proposal.ballot.digest,
        model=proposal.model,
        version=proposal.bad_version,
        text=proposal.title,
    )
