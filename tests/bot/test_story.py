"""The whole story in one process, over a real bare repository: breach, proposal, refusals, approval, merge, recovery."""

from __future__ import annotations

import json
from dataclasses import fields, replace
from typing import TYPE_CHECKING

import pytest

from tests.bot.approvals.table import CODES
from tests.bot.rig import ADA, BO, BOT, CY, FAIR, KIOSKS, MARA, PEOPLE, RELEASE, UNFAIR
from trimtab_bot.approvals.binding import Binding
from trimtab_bot.approvals.machine import Look, Merge, Phase, step
from trimtab_bot.inbox.interface import Accepted, Refused
from trimtab_bot.ledger.verification import verify
from trimtab_bot.moments import moment_text
from trimtab_bot.proposing import branch_name, proposal_key
from trimtab_bot.records import IncidentPhase
from trimtab_config.githost.interface import ProposalState

if TYPE_CHECKING:
    from tests.bot.rig import Site


def code(result: object) -> str:
    """The code of a refusal; ``accepted`` for none."""
    return result.code if isinstance(result, Refused) else "accepted"


# ---------------------------------------------------------------- from breach to recovery


def test_from_a_bad_merge_to_a_recovered_fleet(site: Site) -> None:
    """Every step is seen, in order, with its times; the branch ends with the good version and a hold; the ledger is whole."""
    site.tick()
    good = site.origin.tip()
    bad = site.origin.release()
    site.bad()
    site.tick()

    incident, proposal = site.incident(), site.proposal()
    assert incident.offending is not None
    assert incident.offending.sha == bad
    assert incident.device_groups == KIOSKS
    assert (proposal.bad_version, proposal.good_version, proposal.verified) == ("1.2.0", "1.1.0", True)
    assert proposal.restored_commit == good
    hosted = site.host.proposal(1)
    assert hosted is not None
    assert (hosted.state, hosted.head, hosted.base) == (ProposalState.OPEN, proposal.ballot.binding.head, bad)

    assert code(site.approve("bo")) == "B405"
    assert code(site.approve("robot")) == "B404"
    assert code(site.approve("vi")) == "B403"
    assert code(site.approve("eve")) == "B402"
    site.tick()
    assert site.origin.tip() == bad

    assert isinstance(site.approve("ada"), Accepted)
    site.tick()
    merge = site.origin.tip()
    assert site.proposal().ballot.merged == merge
    assert site.origin.scratch.text("rev-parse", f"{merge}^1", f"{merge}^2").split() == [
        bad,
        proposal.ballot.binding.head,
    ]
    trailers = site.origin.scratch.text("log", "-1", "--format=%(trailers:unfold)", merge).splitlines()
    assert f"Trimtab-Digest: {proposal.ballot.digest}" in trailers
    assert "Approved-by: ada" in trailers
    assert site.origin.read(RELEASE) == site.origin.read(RELEASE, good)
    assert 'version: "1.2.0"' in site.origin.read("holds/triage-1.2.0.yaml")
    changed = site.origin.scratch.text("diff", "--name-only", good, merge).splitlines()
    assert changed == ["holds/triage-1.2.0.yaml"]

    site.tick()
    assert site.incident().phase is IncidentPhase.WATCHING
    site.back()
    site.tick()
    assert site.incident().phase is IncidentPhase.CONVERGED
    site.tick(seconds=299)
    assert site.incident().phase is IncidentPhase.CONVERGED, "what was counted before the fleet was back proves nothing"
    site.tick(seconds=1)
    closed = site.incident()
    assert closed.phase is IncidentPhase.CLOSED
    times = (
        closed.detected_at,
        closed.proposed_at,
        closed.approved_at,
        closed.merged_at,
        closed.converged_at,
        closed.recovered_at,
        closed.closed_at,
    )
    assert None not in times
    assert list(times) == sorted(times)  # type: ignore[type-var]  # none is None
    names = site.events.names()
    order = [
        "incident",
        "proposing",
        "proposal",
        "refused",
        "approved",
        "merging",
        "merged",
        "converged",
        "recovered",
        "closed",
    ]
    assert [name for name in dict.fromkeys(names) if name != "verified"] == order
    head = site.ledger.head()
    assert head is not None
    found = verify(site.configuration.ledger_path, (head.index, head.hash))
    assert (found.entries, found.fault) == (head.index, None)


def test_what_lingers_in_the_window_opens_nothing_new(site: Site) -> None:
    """After the fleet is back, the bad version's decisions are in the window for a while, and alarm nobody."""
    site.broken()
    site.approve("ada")
    site.tick()
    site.back()
    site.settle()
    site.tick(4)
    assert site.incident().phase is IncidentPhase.CLOSED
    assert len(site.incidents()) == 1
    assert len(site.proposals()) == 1


def test_the_summary_tells_what_where_since_when_how_sure_how_bad_and_what_next(site: Site) -> None:
    site.broken()
    text = site.view().summary
    for part in (
        "triage 1.2.0 treats groups of people unequally",
        "disparate impact 0.4, 95 % interval 0.373 to 0.429, n = 4000",
        "policy alignment-clinical",
        "kiosk-amer, kiosk-apac, kiosk-emea, kiosk-latam; 2,380 devices",
        "Bo Lindqvist",
        "Triage 1.2.0 on the kiosks",
        "Harm (estimate): about 9,600 decisions an hour about sex-1",
        "go back to 1.1.0 (a state that was measured and found fine",
        "hold 1.2.0 until",
        "A person must approve",
    ):
        assert part in text
    kinds = {fact.label: fact.kind.value for fact in site.view().facts}
    assert kinds["Measured"] == "fact"
    assert kinds["Harm"] == "estimate"


def test_the_ledger_announces_an_effect_before_it_and_completes_it_after(site: Site) -> None:
    site.broken()
    site.approve("bo")
    site.approve("ada")
    site.tick()
    entries = [
        (entry.record.kind.value, entry.record.body["event"]) for entry in site.ledger.entries(site.proposal().id)
    ]
    assert entries == [
        ("intent", "proposing"),
        ("effect", "proposal"),
        ("decision", "refused"),
        ("decision", "approved"),
        ("intent", "merging"),
        ("effect", "merged"),
    ]
    evidence = next(iter(site.ledger.entries(site.incident().id))).record
    assert evidence.body["finding"]["verdict"] == "breach"  # type: ignore[index,call-overload]  # a finding as JSON


def test_a_cost_over_its_ceiling_is_rolled_back_the_same_way(site: Site) -> None:
    site.tick()
    site.origin.release()
    for group in KIOSKS:
        site.fleet.runs(group, "triage", {"1.2.0": 2})
        site.fleet.decided(group, "triage", "1.2.0", FAIR)
        site.fleet.computed(group, "triage", "1.2.0", 2000, 0.002)
        site.fleet.forget(group, "triage", "1.1.0")
    site.fleet.save()
    site.tick()
    assert site.incident().concern == "cost"
    assert "costs more than its policy allows" in site.view().summary
    assert "EUR an hour above the ceiling" in site.view().summary
    site.approve("ada")
    site.tick()
    assert len(site.origin.merges_of_the_bot()) == 1


def test_two_concerns_about_one_version_are_two_incidents_and_one_proposal(site: Site) -> None:
    site.tick()
    site.origin.release()
    site.bad()
    for group in KIOSKS:
        site.fleet.computed(group, "triage", "1.2.0", 2000, 0.002)
    site.fleet.save()
    site.tick()
    assert sorted(incident.concern for incident in site.incidents()) == ["cost", "fairness"]
    assert len(site.proposals()) == 1
    site.approve("ada")
    site.tick()
    site.back()
    site.settle()
    assert {incident.phase for incident in site.incidents()} == {IncidentPhase.CLOSED}


# ---------------------------------------------------------------- who may not


def test_everybody_with_a_hand_in_the_change_is_refused(site: Site) -> None:
    """The author of the branch, a co-author named in its message, and who merged it."""
    site.tick()
    site.origin.release(who=BO, merger=MARA, co=CY)
    site.bad()
    site.tick()
    assert [code(site.approve(name)) for name in ("bo", "mara", "cy", "ada")] == ["B405", "B405", "B405", "accepted"]


def test_an_author_whom_nobody_knows_bars_approval_and_help_is_called(site: Site) -> None:
    site.tick()
    site.origin.release(who="Bo Lindqvist <bo@home.example>")
    site.bad()
    site.tick()
    assert [code(site.approve(name)) for name in ("ada", "bo")] == ["B406", "B406"]
    (escalated,) = site.events.of("escalated")
    assert "bo@home.example" in escalated["text"]


def test_a_change_by_the_bot_itself_has_no_stranger_among_its_authors(site: Site) -> None:
    """The bot's own identity belongs to no person, and need not: it could approve nothing anyway."""
    site.configure(people=[each for each in PEOPLE if each["id"] != "robot"])
    site.restart()
    site.tick()
    site.origin.release(who=BOT)
    site.bad()
    site.tick()
    assert code(site.approve("ada")) == "accepted"


@pytest.mark.long
def test_an_identity_that_is_added_to_its_person_lets_others_approve(site: Site) -> None:
    """Nothing is proposed anew: who may decide is established when somebody decides."""
    site.tick()
    site.origin.release(who="Bo Lindqvist <bo@home.example>")
    site.bad()
    site.tick()
    assert code(site.approve("ada")) == "B406"
    people = [
        {**each, "git": [*each["git"], "Bo Lindqvist <bo@home.example>"]} if each["id"] == "bo" else each
        for each in PEOPLE
    ]
    site.configure(people=people)
    site.restart()
    site.tick()
    assert [code(site.approve(name)) for name in ("bo", "ada")] == ["B405", "accepted"]
    assert len(site.proposals()) == 1


def test_a_quorum_of_two_takes_two_distinct_persons(site: Site) -> None:
    site.configure(approval={"quorum": 2, "expiry": "4h"})
    site.restart()
    site.broken()
    assert code(site.approve("ada")) == "accepted"
    assert code(site.approve("ada")) == "accepted"  # a repeat, which counts once
    site.tick()
    assert site.proposal().ballot.phase is Phase.PENDING
    assert code(site.approve("cy")) == "accepted"
    site.tick()
    assert [vote.person for vote in site.proposal().ballot.votes] == ["ada", "cy"]
    assert len(site.origin.merges_of_the_bot()) == 1


def test_an_approval_is_good_for_one_merge(site: Site) -> None:
    site.broken()
    shown = site.view()
    site.approve("ada")
    site.tick()
    for name in ("ada", "cy"):
        assert code(site.bot.decisions.approve(shown.id, name, shown.digest)) == "B408"
    site.tick()
    assert len(site.origin.merges_of_the_bot()) == 1


def test_a_denial_ends_it_and_the_bot_does_not_ask_again(site: Site) -> None:
    site.broken()
    assert code(site.deny("ada", "")) == "B423"
    assert code(site.deny("ada", "the labels were swapped in the kiosks")) == "accepted"
    site.tick(3)
    assert len(site.proposals()) == 1
    hosted = site.host.proposal(1)
    assert hosted is not None
    assert hosted.state is ProposalState.CLOSED
    assert "the labels were swapped" in hosted.closed_reason
    assert site.incident().obstacle_code == "B433"
    with site.store.reading() as view:
        assert view.proposals(unsettled_only=True) == ()
    assert code(site.approve("cy")) == "B433"
    assert site.origin.merges_of_the_bot() == []


# ---------------------------------------------------------------- what makes it void


def test_a_base_that_moves_between_approval_and_merge_voids_it_and_a_new_proposal_takes_its_place(site: Site) -> None:
    old = site.broken()
    shown = site.view()
    site.approve("ada")
    site.origin.edit("prices/2026-q4.yaml", "currency: EUR", "currency: EUR # checked")
    moved = site.origin.commit(MARA, "A remark")
    site.tick(2)
    first, second = site.proposals()
    assert (first.id, first.ballot.phase, first.ballot.code) == (old.id, Phase.VOID, "B412")
    assert moved[:12] in first.ballot.reason
    hosted = site.host.proposal(1)
    assert hosted is not None
    assert hosted.state is ProposalState.CLOSED
    assert "B412" in hosted.closed_reason
    assert (second.ballot.phase, second.ballot.binding.base) == (Phase.PENDING, moved)
    assert code(site.bot.decisions.approve(old.id, "ada", shown.digest)) == "B412"
    assert code(site.bot.decisions.approve(second.id, "ada", shown.digest)) == "B409"
    assert site.origin.merges_of_the_bot() == []
    assert code(site.approve("ada")) == "accepted"
    site.tick()
    assert "# checked" in site.origin.read("prices/2026-q4.yaml")
    assert site.origin.scratch.text("rev-parse", f"{site.origin.merges_of_the_bot()[0]}^1") == moved


def test_a_base_that_moves_before_the_approval_refuses_it_at_once(site: Site) -> None:
    site.broken()
    site.origin.edit("prices/2026-q4.yaml", "currency: EUR", "currency: EUR # checked")
    site.origin.commit(MARA, "A remark")
    assert code(site.approve("ada")) == "B412"
    site.tick()
    assert site.origin.merges_of_the_bot() == []


def test_a_branch_that_somebody_pushes_to_is_never_merged(site: Site) -> None:
    old = site.broken()
    site.approve("ada")
    forged = site.origin.commit(
        BO, "One more thing", old.ballot.binding.head, files={**site.origin.files, "x.yaml": b"a: 1\n"}
    )
    site.origin.scratch.git("update-ref", f"refs/heads/{old.head_branch}", forged)
    site.tick()
    first = site.proposals()[0]
    assert (first.ballot.phase, first.ballot.code) == (Phase.VOID, "B413")
    assert site.origin.merges_of_the_bot() == []


def test_rules_that_were_changed_between_approval_and_merge_void_it(site: Site) -> None:
    site.broken()
    site.approve("ada")
    site.configure(approval={"quorum": 2, "expiry": "4h"})
    site.restart()
    site.tick(2)
    first, second = site.proposals()
    assert (first.ballot.phase, first.ballot.code) == (Phase.VOID, "B417")
    assert second.ballot.phase is Phase.PENDING
    assert site.origin.merges_of_the_bot() == []


def test_a_policy_that_was_changed_voids_it(site: Site) -> None:
    """The limit moved in Git: the base moves with it, and the new proposal shows the new limit."""
    site.broken()
    site.approve("ada")
    site.origin.edit("policies/alignment.yaml", "minimum: 0.8", "minimum: 0.7")
    site.origin.commit(MARA, "A softer limit")
    site.tick(2)
    assert site.proposals()[0].ballot.phase is Phase.VOID
    assert site.view().gauge is not None
    assert site.view().gauge.limit == 0.7  # type: ignore[union-attr]  # just asserted


def test_evidence_that_has_become_fine_voids_it_and_closes_the_incident(site: Site) -> None:
    site.broken()
    site.approve("ada")
    for group in KIOSKS:
        site.fleet.decided(group, "triage", "1.2.0", FAIR)
    site.fleet.save()
    site.tick()
    assert (site.proposal().ballot.phase, site.proposal().ballot.code) == (Phase.VOID, "B416")
    assert site.incident().phase is IncidentPhase.CLOSED
    assert site.origin.merges_of_the_bot() == []


def test_unknown_evidence_makes_an_approved_proposal_wait(site: Site) -> None:
    site.broken()
    for group in KIOSKS:
        site.fleet.decided(group, "triage", "1.2.0", UNFAIR, age=600)
    site.fleet.save()
    site.tick()
    result = site.approve("ada")
    assert isinstance(result, Accepted)
    assert "waits for evidence" in result.message
    site.tick(3)
    assert site.proposal().ballot.code == "B435"
    assert site.origin.merges_of_the_bot() == []
    site.bad()
    site.tick()
    assert len(site.origin.merges_of_the_bot()) == 1


def test_a_source_that_does_not_answer_merges_nothing(site: Site) -> None:
    site.broken()
    site.fleet.down = "connection refused"
    site.fleet.save()
    site.tick(4)
    assert "connection refused" in site.health()
    site.approve("ada")
    site.tick(2)
    assert site.proposal().ballot.code == "B435"
    assert site.origin.merges_of_the_bot() == []


def test_a_proposal_that_nobody_decides_about_expires_and_is_made_anew_and_help_is_called(site: Site) -> None:
    old = site.broken()
    site.tick(seconds=4 * 3600 + 1)
    site.tick()
    first, second = site.proposals()
    assert (first.id, first.ballot.phase) == (old.id, Phase.EXPIRED)
    assert second.ballot.phase is Phase.PENDING
    assert len(site.events.of("escalated")) == 1
    assert code(site.bot.decisions.approve(first.id, "ada", first.ballot.digest)) == "B410"


@pytest.mark.long
def test_nothing_is_proposed_anew_while_nothing_is_known(site: Site) -> None:
    site.broken()
    for group in KIOSKS:
        site.fleet.decided(group, "triage", "1.2.0", UNFAIR, age=600)
    site.fleet.save()
    site.tick(seconds=4 * 3600 + 1)
    site.tick(2)
    assert [each.ballot.phase for each in site.proposals()] == [Phase.EXPIRED]
    site.bad()
    site.tick()
    assert [each.ballot.phase for each in site.proposals()] == [Phase.EXPIRED, Phase.PENDING]


@pytest.mark.long
def test_the_bot_stops_asking_after_five_times(site: Site) -> None:
    site.broken()
    for _ in range(8):
        site.tick(seconds=4 * 3600 + 1)
        site.tick()
    assert len(site.proposals()) == 5
    assert site.incident().obstacle_code == "B311"


@pytest.mark.parametrize("votes", [pytest.param(False, marks=pytest.mark.long), True])
def test_state_that_was_edited_between_approval_and_merge_merges_nothing(site: Site, votes: bool) -> None:
    """Each field alone, with the digest made to fit and even with votes for it: Git, metrics and configuration disagree."""
    site.broken()
    site.approve("ada")
    approved, incident = site.proposal(), site.incident()
    world = site.world()
    untouched, _ = step(approved.ballot, Look(world.now(approved, incident)))
    assert untouched.phase is Phase.EXECUTING
    for field in fields(Binding):
        value = getattr(approved.ballot.binding, field.name)
        other = value[:-1] if isinstance(value, tuple) else value[:-1] + ("0" if value[-1] != "0" else "1")
        forged = replace(approved.ballot.binding, **{field.name: other})  # type: ignore[arg-type]  # the field's own type
        digest = str(forged.digest())
        ballot = replace(approved.ballot, binding=forged, digest=digest)
        if votes:
            ballot = replace(ballot, votes=tuple(replace(vote, digest=digest) for vote in ballot.votes))
        after, commands = step(ballot, Look(world.now(replace(approved, ballot=ballot), incident)))
        assert (after.phase, after.code) == (Phase.VOID, CODES[field.name])
        assert not [command for command in commands if isinstance(command, Merge)]


@pytest.mark.parametrize(
    ("seconds", "code_of_end"),
    [(86400.0, "B418"), (-1.0, "B418")],
)
def test_an_expiry_that_was_edited_voids_it(site: Site, seconds: float, code_of_end: str) -> None:
    site.broken()
    site.approve("ada")
    approved = site.proposal()
    with site.store.transaction() as work:
        ballot = replace(approved.ballot, expires_at=approved.ballot.expires_at + seconds)
        work.put_proposal(replace(approved, ballot=ballot))
    site.tick()
    assert (site.proposals()[0].ballot.phase, site.proposals()[0].ballot.code) == (Phase.VOID, code_of_end)
    assert site.origin.merges_of_the_bot() == []


@pytest.mark.long
def test_an_expiry_that_was_edited_with_all_that_belongs_to_it_differs_from_what_the_host_keeps(site: Site) -> None:
    """Whoever owns the bot's state could make all of it fit; the Git host holds the digest that people were shown."""
    site.broken()
    site.approve("ada")
    approved = site.proposal()
    later = approved.ballot.expires_at + 86400
    binding = replace(approved.ballot.binding, expires_at=moment_text(later))
    digest = str(binding.digest())
    votes = tuple(replace(vote, digest=digest) for vote in approved.ballot.votes)
    ballot = replace(approved.ballot, binding=binding, digest=digest, votes=votes, expires_at=later)
    with site.store.transaction() as work:
        work.put_proposal(replace(approved, ballot=ballot))
    site.tick()
    assert (site.proposals()[0].ballot.phase, site.proposals()[0].ballot.code) == (Phase.VOID, "B401")
    assert site.origin.merges_of_the_bot() == []


@pytest.mark.long
def test_evidence_that_was_edited_voids_it(site: Site) -> None:
    site.broken()
    site.approve("ada")
    incident = site.incident()
    with site.store.transaction() as work:
        forged = replace(incident.evidence, snapshot=incident.evidence.snapshot.replace('"n":4000', '"n":9000'))
        assert forged != incident.evidence
        work.put_incident(replace(incident, evidence=forged))
    site.tick()
    assert (site.proposals()[0].ballot.phase, site.proposals()[0].ballot.code) == (Phase.VOID, "B416")
    assert site.origin.merges_of_the_bot() == []


# ---------------------------------------------------------------- people overrule the bot


def test_somebody_went_back_by_hand_so_the_rollback_is_stale(site: Site) -> None:
    site.broken()
    site.approve("ada")
    site.origin.edit(RELEASE, 'version: "1.2.0"', 'version: "1.0.0"')
    by_hand = site.origin.merge(MARA, "Triage 1.0.0 on the kiosks")
    site.tick()
    assert (site.proposal().ballot.phase, site.proposal().ballot.code) == (Phase.VOID, "B305")
    assert site.origin.tip() == by_hand
    incident = site.incident()
    assert (incident.phase, incident.good_version, incident.remedied_by) == (IncidentPhase.WATCHING, "1.0.0", by_hand)
    site.back("1.0.0")
    site.settle()
    assert site.incident().phase is IncidentPhase.CLOSED


def test_merged_by_hand_counts_and_is_watched(site: Site) -> None:
    old = site.broken()
    merged = site.origin.commit(
        MARA,
        "Merge the rollback by hand",
        site.origin.tip(),
        old.ballot.binding.head,
        files={
            **site.origin.files,
            RELEASE: site.origin.read(RELEASE, old.ballot.binding.head).encode(),
            "holds/triage-1.2.0.yaml": site.origin.read("holds/triage-1.2.0.yaml", old.ballot.binding.head).encode(),
        },
    )
    site.origin.scratch.git("update-ref", "refs/heads/main", merged)
    site.tick()
    assert (site.proposal().ballot.phase, site.proposal().ballot.code) == (Phase.MERGED, "B430")
    site.back()
    site.settle()
    assert site.incident().phase is IncidentPhase.CLOSED


def test_closed_by_hand_counts_as_a_denial(site: Site) -> None:
    site.broken()
    site.host.close(1, "not now")
    site.tick(2)
    assert (site.proposal().ballot.phase, site.proposal().ballot.code) == (Phase.DENIED, "B431")
    assert len(site.proposals()) == 1


@pytest.mark.long
def test_a_version_that_comes_back_is_fought_again(site: Site) -> None:
    """Somebody removes the hold and releases the bad version again while the fleet is on its way back."""
    site.broken()
    site.approve("ada")
    site.tick()
    site.origin.sync()
    del site.origin.files["holds/triage-1.2.0.yaml"]
    site.origin.edit(RELEASE, 'version: "1.1.0"', 'version: "1.2.0"')
    site.origin.merge(CY, "Triage 1.2.0 once more")
    site.tick(2)
    assert site.incident().phase is IncidentPhase.OPEN
    assert len(site.proposals()) == 2
    assert code(site.approve("cy")) == "B405"
    assert code(site.approve("bo")) == "accepted"


# ---------------------------------------------------------------- after the merge


def test_a_fleet_that_does_not_return_in_time_is_escalated_and_still_watched(site: Site) -> None:
    site.broken()
    site.approve("ada")
    site.tick()
    site.tick(seconds=1801)
    site.tick()
    (escalated,) = site.events.of("escalated")
    assert "the fleet is not back: 0 of 8 reachable devices are back" in escalated["text"]
    site.back()
    site.settle()
    assert site.incident().phase is IncidentPhase.CLOSED


def test_figures_from_before_the_fleet_was_back_are_no_recovery(site: Site) -> None:
    """The good version ran before the bad one, so its figure is fine at once; that says nothing of now."""
    site.broken()
    site.approve("ada")
    site.tick()
    site.back()
    window = site.configuration.window.value
    site.tick()
    assert site.incident().phase is IncidentPhase.CONVERGED
    site.tick(seconds=window - 1)
    assert site.incident().phase is IncidentPhase.CONVERGED
    site.tick(seconds=1)
    assert site.incident().phase is IncidentPhase.CLOSED


@pytest.mark.long
def test_a_fleet_that_is_back_but_not_well_is_escalated(site: Site) -> None:
    site.broken()
    site.approve("ada")
    site.tick()
    for group in KIOSKS:
        site.fleet.runs(group, "triage", {"1.1.0": 2})
        site.fleet.decided(group, "triage", "1.1.0", {"sex-1": (20, 20), "sex-2": (20, 20)})
    site.fleet.forget("gateway-emea", "triage", "1.1.0")
    site.fleet.save()
    site.tick()
    assert site.incident().phase is IncidentPhase.CONVERGED
    site.tick(seconds=1801)
    (escalated,) = site.events.of("escalated")
    assert "the figure of 1.1.0 is unknown: sample of" in escalated["text"]


def test_offline_devices_are_listed_and_do_not_block(site: Site) -> None:
    site.broken()
    site.approve("ada")
    site.tick()
    site.back()
    site.fleet.runs("kiosk-latam", "triage", {"1.2.0": 2}, age=3600)
    site.fleet.save()
    site.settle()
    assert site.incident().phase is IncidentPhase.CLOSED
    assert "kiosk-latam (350 of 350)" in site.events.of("converged")[0]["text"]


# ---------------------------------------------------------------- what cannot be rolled back, by name


def test_a_state_that_nobody_measured_is_proposed_as_unverified(site: Site) -> None:
    site.origin.release()
    site.bad()
    site.tick()
    assert not site.proposal().verified
    assert "UNVERIFIED" in site.view().summary


def test_what_changed_since_in_the_same_file_stays(site: Site) -> None:
    site.tick()
    site.origin.release()
    site.origin.edit(RELEASE, "expectedRequestsPerDeviceDay: 90000", "expectedRequestsPerDeviceDay: 91000")
    site.origin.commit(MARA, "More requests at the gateways")
    site.bad()
    site.tick()
    site.approve("ada")
    site.tick()
    text = site.origin.read(RELEASE)
    assert "91000" in text
    assert '"1.2.0"' not in text


@pytest.mark.long
def test_a_rollout_in_two_steps_is_undone_step_by_step(site: Site) -> None:
    """The gateways moved first, the kiosks later: each returns to what it was before its own move; both authors count."""
    site.tick()
    site.origin.edit(RELEASE, "wave: tenth", "wave: all")
    text = site.origin.files[RELEASE].decode()
    kiosks, gateways = text.split("\n---\n")
    site.origin.files[RELEASE] = f"{kiosks}\n---\n{gateways.replace('1.1.0', '1.2.0')}".encode()
    site.origin.merge(CY, "Triage 1.2.0 on the gateways")
    site.origin.release(who=BO)
    site.bad()
    site.tick()
    targets = site.proposal().ballot.binding.targets
    assert [target for target in targets if target.startswith("gateway")] == [
        "gateway-amer triage 1.2.0 -> 1.1.0+1.0.0",
        "gateway-andes triage 1.2.0 -> 1.1.0+1.0.0",
        "gateway-emea triage 1.2.0 -> 1.1.0",
    ]
    assert [code(site.approve(name)) for name in ("cy", "bo", "ada")] == ["B405", "B405", "accepted"]
    site.tick()
    assert '"1.2.0"' not in site.origin.read(RELEASE)


def test_a_deployment_that_began_with_the_bad_version_is_refused_by_name(site: Site) -> None:
    kiosks, gateways = site.origin.files[RELEASE].decode().split("\n---\n")
    site.origin.files[RELEASE] = gateways.encode()
    site.origin.commit(MARA, "No triage on the kiosks yet")
    site.tick()
    site.origin.files[RELEASE] = f"{kiosks}\n---\n{gateways}".encode()
    site.origin.release()
    site.bad()
    site.tick()
    assert site.proposals() == ()
    assert site.incident().obstacle_code == "B302"
    assert "EdgeAIDeployment clinics/triage-kiosks did not exist" in site.incident().obstacle
    assert len(site.events.of("escalated")) == 1


def test_a_good_version_that_was_changed_since_is_refused_by_name(site: Site) -> None:
    site.tick()
    site.origin.release()
    model = site.origin.files["models/triage.yaml"].decode()
    start = model.index('- version: "1.1.0"')
    size = model.index("size: ", start)
    line = model[size : model.index("\n", size)]
    site.origin.files["models/triage.yaml"] = (model[:size] + "size: 12345" + model[size + len(line) :]).encode()
    site.origin.commit(MARA, "Another file under the old name")
    site.bad()
    site.tick()
    assert site.proposals() == ()
    assert site.incident().obstacle_code == "B303"
    assert "version 1.1.0 is no longer what it was" in site.incident().obstacle


def test_an_obstacle_that_is_removed_lets_the_bot_propose(site: Site) -> None:
    """Tried again when the branch moves, not at every tick."""
    test_a_good_version_that_was_changed_since_is_refused_by_name(site)
    told = site.timeline()
    site.tick(2)
    assert site.timeline() == told
    model = site.origin.scratch.text("rev-list", "--max-parents=0", "refs/heads/main")
    site.origin.files["models/triage.yaml"] = site.origin.read("models/triage.yaml", model).encode()
    site.origin.commit(MARA, "The old file again")
    site.tick()
    assert len(site.proposals()) == 1


def test_a_fleet_that_does_not_compile_is_shown_and_nothing_is_proposed(site: Site) -> None:
    site.tick()
    site.origin.release()
    site.origin.files["groups/emea.yaml"] = b"apiVersion: apexlogic.ai/v1\nkind: DeviceGroup\n"
    site.origin.commit(BO, "Half a file")
    site.bad()
    site.tick()
    assert "B310" in site.health()
    assert site.proposals() == ()


def half_a_file(site: Site) -> None:
    """The head of the branch no longer compiles."""
    site.origin.sync()
    site.origin.files["groups/emea.yaml"] = b"apiVersion: apexlogic.ai/v1\nkind: DeviceGroup\n"
    site.origin.commit(BO, "Half a file")


def test_while_the_head_does_not_compile_nothing_is_proposed_anew(site: Site) -> None:
    site.broken()
    half_a_file(site)
    site.tick(3)
    assert [(each.ballot.phase, each.ballot.code) for each in site.proposals()] == [(Phase.VOID, "B412")]
    assert site.incident().phase is IncidentPhase.OPEN


@pytest.mark.long
def test_while_the_head_does_not_compile_a_recovery_is_watched_all_the_same(site: Site) -> None:
    """The last fleet that compiled still asks for the bad version; that is no reason to begin again."""
    site.broken()
    site.approve("ada")
    site.tick()
    half_a_file(site)
    site.back()
    site.settle()
    assert site.incident().phase is IncidentPhase.CLOSED
    assert len(site.proposals()) == 1


def test_a_bot_that_lost_its_memory_withdraws_what_it_cannot_vouch_for(site: Site) -> None:
    site.broken()
    site.close()
    for file in site.configuration.state.iterdir():
        file.unlink()
    site.restart()
    site.tick()
    hosted = [site.host.proposal(number) for number in (1, 2)]
    assert [each.state for each in hosted if each] == [ProposalState.CLOSED, ProposalState.OPEN]
    assert len(site.proposals()) == 1


@pytest.mark.long
def test_a_branch_that_is_in_the_way_leads_to_another_name(site: Site) -> None:
    """Somebody holds the branch that the proposal wants, at another commit: it is never overwritten."""
    site.tick()
    bad = site.origin.release()
    taken = f"refs/heads/{branch_name(proposal_key('rollback', 'triage', '1.2.0', bad, 1))}"
    site.origin.scratch.git("update-ref", taken, site.origin.head)
    site.bad()
    site.tick(2)
    first, second = site.proposals()
    assert (first.ballot.phase, first.ballot.code) == (Phase.VOID, "B312")
    assert second.ballot.phase is Phase.PENDING
    assert site.origin.scratch.text("rev-parse", taken) == site.origin.head


def test_status_shows_what_is_watched(site: Site) -> None:
    site.tick()
    before = site.bot.decisions.status()
    assert before.healthy
    lines = {(line.model, line.version, line.figure): line for line in before.watched}
    line = lines["triage", "1.1.0", "disparate impact (alignment-clinical)"]
    assert (line.verdict, line.n, line.value, line.freshness) == ("fine", 5000, "0.96", "1.0 s old")
    site.origin.release()
    site.bad()
    site.tick()
    assert site.bot.decisions.status().revision != before.revision


@pytest.mark.parametrize("restarts", [True, pytest.param(False, marks=pytest.mark.long)])
def test_a_restart_between_any_two_steps_changes_nothing(site: Site, restarts: bool) -> None:
    def again() -> None:
        if restarts:
            site.restart()

    site.tick()
    again()
    site.origin.release()
    site.bad()
    site.tick()
    again()
    site.tick()
    site.approve("ada")
    again()
    site.tick()
    again()
    site.back()
    site.tick()
    again()
    site.tick(seconds=site.configuration.window.value)
    assert site.incident().phase is IncidentPhase.CLOSED
    assert len(site.proposals()) == 1
    assert len(site.origin.merges_of_the_bot()) == 1
    keys = [entry.record.key for entry in site.ledger.entries()]
    assert len(keys) == len(set(keys))


def test_events_name_what_a_follower_needs(site: Site) -> None:
    site.broken()
    (incident,) = site.events.of("incident")
    assert (incident["model"], incident["version"]) == ("triage", "1.2.0")
    assert incident["summary"]
    (proposal,) = site.events.of("proposal")
    assert (proposal["proposal"], proposal["model"], proposal["number"]) == (site.proposal().id, "triage", 1)
    assert json.loads(json.dumps(proposal)) == proposal


def test_people_are_asked_by_name(site: Site) -> None:
    """The page tells each person why they may not, before they try."""
    site.broken()
    refused = site.view().refused_for
    assert {name: reason.split()[0] for name, reason in refused.items()} == {
        "bo": "B405",
        "robot": "B404",
        "vi": "B403",
    }
    assert ADA.partition(" <")[0] not in refused
