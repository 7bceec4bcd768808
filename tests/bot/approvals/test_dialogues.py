"""The approval machine as dialogues: an event, the phase after it, and what is answered or done."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING

import pytest

from tests.bot.approvals.table import BINDING, BY_BO, CODES, EXPIRES, NOW, VOTERS, ballot, world
from trimtab_bot.approvals.binding import Binding, differences
from trimtab_bot.approvals.machine import (
    TABLE,
    Answer,
    Approve,
    Ballot,
    CloseOnHost,
    Deny,
    Electorate,
    Event,
    Hosted,
    ImpossibleError,
    Look,
    Merge,
    Merged,
    NotOpened,
    NotReady,
    Opened,
    Phase,
    Voter,
    objection,
    step,
)
from trimtab_bot.inbox.interface import Accepted
from trimtab_kernel.verdict import Verdict

if TYPE_CHECKING:
    from collections.abc import Mapping

DIGEST = str(BINDING.digest())
P = Phase


@dataclass(frozen=True)
class Turn:
    """An event; the phase it must lead to; what must be said or done, as short words."""

    event: Event
    phase: Phase
    then: tuple[str, ...] = ()


def approve(person: str, digest: str = DIGEST, **changes: object) -> Approve:
    return Approve(person, digest, world(**changes))


def deny(person: str, reason: str = "known noise", digest: str = DIGEST, **changes: object) -> Deny:
    return Deny(person, digest, reason, world(**changes))


def look(**changes: object) -> Look:
    return Look(world(**changes))


def words(commands: object) -> tuple[str, ...]:
    """Commands as a person would note them down."""
    said = []
    for command in commands:  # type: ignore[attr-defined] # a tuple of commands, each of a type of its own
        match command:
            case Answer(result):
                said.append("accepted" if isinstance(result, Accepted) else result.code)
            case Merge(base, head, _, approvers):
                said.append(f"merge {base[:2]}<-{head[:2]} for {'+'.join(approvers)}")
            case CloseOnHost(code, _):
                said.append(f"close {code}")
    return tuple(said)


STRANGE = replace(BY_BO, unknown_authors=("Mallory <m@example.org>",))


def among(voters: Mapping[str, Voter]) -> Electorate:
    """The change is bo's, and these are the persons."""
    return replace(BY_BO, voters=voters)


MOVED = replace(BINDING, base="9" * 40)

DIALOGUES: dict[str, tuple[Ballot, list[Turn]]] = {
    "one approver of one: opened, approved, merged": (
        ballot(P.DRAFT),
        [
            Turn(Opened(world()), P.PENDING),
            Turn(look(), P.PENDING),
            Turn(approve("ada"), P.APPROVED, ("accepted",)),
            Turn(look(), P.EXECUTING, ("merge aa<-bb for ada",)),
            Turn(Merged("f" * 40, world()), P.MERGED),
        ],
    ),
    "two of two, one after the other": (
        ballot(),
        [
            Turn(approve("ada", quorum=2), P.PENDING, ("accepted",)),
            Turn(look(quorum=2), P.PENDING),
            Turn(approve("cy", quorum=2), P.APPROVED, ("accepted",)),
            Turn(look(quorum=2), P.EXECUTING, ("merge aa<-bb for ada+cy",)),
        ],
    ),
    "the same person twice counts once, and is told so kindly": (
        ballot(),
        [
            Turn(approve("ada", quorum=2), P.PENDING, ("accepted",)),
            Turn(approve("ada", quorum=2), P.PENDING, ("accepted",)),
            Turn(look(quorum=2), P.PENDING),
        ],
    ),
    "a repeat after the quorum is harmless, a further person is not needed": (
        ballot(),
        [
            Turn(approve("ada"), P.APPROVED, ("accepted",)),
            Turn(approve("ada"), P.APPROVED, ("accepted",)),
            Turn(approve("cy"), P.APPROVED, ("B411",)),
        ],
    ),
    "the author of the bad change is refused, whatever the phase": (
        ballot(),
        [
            Turn(approve("bo"), P.PENDING, ("B405",)),
            Turn(deny("bo"), P.PENDING, ("B405",)),
            Turn(approve("ada"), P.APPROVED, ("accepted",)),
            Turn(approve("bo"), P.APPROVED, ("B405",)),
        ],
    ),
    "the bot is refused under its own name": (ballot(), [Turn(approve("bot"), P.PENDING, ("B404",))]),
    "the bot is refused under the name of a person with its Git identity": (
        ballot(proposer="somebody else"),
        [Turn(approve("bot"), P.PENDING, ("B404",)), Turn(deny("bot"), P.PENDING, ("B404",))],
    ),
    "whoever made the proposal is refused, bot or not": (
        ballot(proposer="ada"),
        [Turn(approve("ada"), P.PENDING, ("B404",)), Turn(approve("cy"), P.APPROVED, ("accepted",))],
    ),
    "a stranger and a viewer are refused": (
        ballot(),
        [Turn(approve("eve"), P.PENDING, ("B402",)), Turn(approve("vi"), P.PENDING, ("B403",))],
    ),
    "an author whom nobody knows bars every approval, but not a denial": (
        ballot(),
        [
            Turn(approve("ada", electorate=STRANGE), P.PENDING, ("B406",)),
            Turn(deny("ada", electorate=STRANGE), P.DENIED, ("close B433", "accepted")),
        ],
    ),
    "an approver who turns out to be an author no longer counts": (
        ballot(),
        [
            Turn(approve("ada"), P.APPROVED, ("accepted",)),
            Turn(look(electorate=replace(BY_BO, authors=frozenset({"bo", "ada"}))), P.PENDING),
        ],
    ),
    "an author whom nobody knew becomes known, and others may approve": (
        ballot(),
        [
            Turn(approve("ada", electorate=STRANGE), P.PENDING, ("B406",)),
            Turn(approve("ada"), P.APPROVED, ("accepted",)),
        ],
    ),
    "a decision about another digest is refused": (
        ballot(),
        [
            Turn(approve("ada", digest="sha256:" + "0" * 64), P.PENDING, ("B409",)),
            Turn(deny("ada", digest="sha256:" + "0" * 64), P.PENDING, ("B409",)),
            Turn(approve("ada", digest=""), P.PENDING, ("B409",)),
        ],
    ),
    "a denial ends it, and says who and why": (
        ballot(),
        [
            Turn(deny("ada"), P.DENIED, ("close B433", "accepted")),
            Turn(approve("cy"), P.DENIED, ("B433",)),
            Turn(look(), P.DENIED),
        ],
    ),
    "a denial without a reason is refused": (ballot(), [Turn(deny("ada", reason="  "), P.PENDING, ("B423",))]),
    "a denial stops what is approved, but not what is being merged": (
        ballot(),
        [
            Turn(approve("ada"), P.APPROVED, ("accepted",)),
            Turn(deny("cy"), P.DENIED, ("close B433", "accepted")),
        ],
    ),
    "a denial comes too late while the merge is under way": (
        ballot(P.EXECUTING),
        [Turn(deny("cy"), P.EXECUTING, ("B411",))],
    ),
    "an approval is used up by the merge": (
        ballot(),
        [
            Turn(approve("ada"), P.APPROVED, ("accepted",)),
            Turn(look(), P.EXECUTING, ("merge aa<-bb for ada",)),
            Turn(Merged("f" * 40, world()), P.MERGED),
            Turn(approve("ada"), P.MERGED, ("B408",)),
            Turn(approve("cy"), P.MERGED, ("B408",)),
            Turn(deny("cy"), P.MERGED, ("B408",)),
        ],
    ),
    "it expires while it waits, and nothing revives it": (
        ballot(),
        [
            Turn(look(at=EXPIRES - 0.001), P.PENDING),
            Turn(look(at=EXPIRES), P.EXPIRED, ("close B410",)),
            Turn(approve("ada", at=EXPIRES + 1), P.EXPIRED, ("B410",)),
        ],
    ),
    "an approval that comes too late is told so": (
        ballot(),
        [Turn(approve("ada", at=EXPIRES), P.EXPIRED, ("close B410", "B410"))],
    ),
    "approved but not merged in time": (
        ballot(),
        [
            Turn(approve("ada", standing=Verdict.UNKNOWN, standing_reason="data are stale"), P.APPROVED, ("accepted",)),
            Turn(look(standing=Verdict.UNKNOWN), P.APPROVED),
            Turn(look(standing=Verdict.UNKNOWN, at=EXPIRES), P.EXPIRED, ("close B410",)),
        ],
    ),
    "unknown evidence merges nothing until it says breach again": (
        ballot(),
        [
            Turn(approve("ada"), P.APPROVED, ("accepted",)),
            Turn(look(standing=Verdict.UNKNOWN, standing_reason="data are stale"), P.APPROVED),
            Turn(look(), P.EXECUTING, ("merge aa<-bb for ada",)),
        ],
    ),
    "evidence that has become fine voids it": (
        ballot(),
        [
            Turn(approve("ada"), P.APPROVED, ("accepted",)),
            Turn(look(standing=Verdict.FINE), P.VOID, ("close B416",)),
            Turn(approve("cy"), P.VOID, ("B416",)),
        ],
    ),
    "the base moves between approval and merge": (
        ballot(),
        [
            Turn(approve("ada"), P.APPROVED, ("accepted",)),
            Turn(look(binding=MOVED), P.VOID, ("close B412",)),
        ],
    ),
    "the base moves before the approval": (
        ballot(),
        [Turn(approve("ada", binding=MOVED), P.VOID, ("close B412", "B412"))],
    ),
    "a role is taken away between approval and merge": (
        ballot(),
        [
            Turn(approve("ada"), P.APPROVED, ("accepted",)),
            Turn(look(electorate=among({**VOTERS, "ada": replace(VOTERS["ada"], may_decide=False)})), P.PENDING),
            Turn(look(), P.PENDING),
            Turn(approve("cy"), P.APPROVED, ("accepted",)),
        ],
    ),
    "an approver is no longer configured": (
        ballot(),
        [
            Turn(approve("ada"), P.APPROVED, ("accepted",)),
            Turn(look(electorate=among({name: voter for name, voter in VOTERS.items() if name != "ada"})), P.PENDING),
        ],
    ),
    "a quorum that was raised is not met any more": (
        ballot(),
        [Turn(approve("ada"), P.APPROVED, ("accepted",)), Turn(look(quorum=2), P.PENDING)],
    ),
    "the host did not merge: back to the last check": (
        ballot(P.EXECUTING, votes=()),
        [Turn(NotReady("a required check is missing", world()), P.APPROVED)],
    ),
    "after a crash the host says that it is merged": (
        ballot(P.EXECUTING),
        [Turn(look(binding=MOVED, hosted=Hosted.MERGED, merged="f" * 40), P.MERGED)],
    ),
    "merged by hand": (ballot(), [Turn(look(binding=MOVED, hosted=Hosted.MERGED, merged="f" * 40), P.MERGED)]),
    "closed by hand": (ballot(), [Turn(look(hosted=Hosted.CLOSED), P.DENIED)]),
    "nobody decides about a draft": (
        ballot(P.DRAFT),
        [Turn(approve("ada"), P.DRAFT, ("B411",)), Turn(deny("ada"), P.DRAFT, ("B411",))],
    ),
    "the host refuses a draft": (
        ballot(P.DRAFT),
        [
            Turn(NotOpened("the branch is elsewhere", world()), P.VOID),
            Turn(approve("ada"), P.VOID, ("B312",)),
        ],
    ),
    "a draft whose ground has moved is never opened": (
        ballot(P.DRAFT),
        [Turn(look(binding=MOVED, hosted=Hosted.ABSENT), P.VOID)],
    ),
}


@pytest.mark.parametrize("name", DIALOGUES)
def test_dialogue(name: str) -> None:
    state, turns = DIALOGUES[name]
    for number, turn in enumerate(turns, 1):
        state, commands = step(state, turn.event)
        assert (state.phase, words(commands)) == (turn.phase, turn.then), f"turn {number}: {turn.event}"


def test_after_a_crash_the_merge_commit_is_known() -> None:
    state, _ = step(ballot(P.EXECUTING), look(hosted=Hosted.MERGED, merged="f" * 40))
    assert (state.merged, state.code) == ("f" * 40, "")


def test_what_was_merged_by_hand_says_so() -> None:
    state, _ = step(ballot(), look(hosted=Hosted.MERGED, merged="f" * 40))
    assert (state.merged, state.code) == ("f" * 40, "B430")


def test_a_denial_is_told_with_its_reason_and_its_author() -> None:
    denied, _ = step(ballot(), deny("ada", reason=" the sensor is broken, not the model "))
    assert denied.reason == "denied by ada: the sensor is broken, not the model"


def changed(binding: Binding, field: str) -> Binding:
    """The binding with one field changed a little: the last character, or one more target."""
    value = getattr(binding, field)
    other = (*value, "x") if isinstance(value, tuple) else value[:-1] + ("0" if value[-1] != "0" else "1")
    return replace(binding, **{field: other})  # type: ignore[arg-type]  # the field's own type


FIELDS = [field.name for field in fields(Binding)]


@pytest.mark.parametrize("field", FIELDS)
def test_any_one_field_that_changes_between_approval_and_merge_voids_it_with_its_own_reason(field: str) -> None:
    approved, _ = step(ballot(), approve("ada"))
    after, commands = step(approved, look(binding=changed(BINDING, field)))
    assert after.phase is P.VOID
    assert after.code == CODES[field]
    assert words(commands) == (f"close {CODES[field]}",)


@pytest.mark.parametrize("field", FIELDS)
def test_any_one_field_that_changes_while_the_host_is_being_asked_stops_the_repeat(field: str) -> None:
    after, commands = step(ballot(P.EXECUTING, votes=()), look(binding=changed(BINDING, field)))
    assert after.phase is P.VOID
    assert not [command for command in commands if isinstance(command, Merge)]


@pytest.mark.parametrize("field", FIELDS)
def test_a_record_that_was_edited_in_the_bots_own_state_is_refused(field: str) -> None:
    """Binding and present agree, but the digest that people approved is not theirs."""
    approved, _ = step(ballot(), approve("ada"))
    forged = changed(BINDING, field)
    after, _ = step(replace(approved, binding=forged), look(binding=forged))
    assert (after.phase, after.code) == (P.VOID, "B409")


def test_votes_that_were_edited_into_the_state_do_not_count() -> None:
    """A vote by the author, one by nobody, one of another digest, one twice."""
    from trimtab_bot.approvals.machine import Vote

    votes = (
        Vote("bo", DIGEST, NOW),
        Vote("eve", DIGEST, NOW),
        Vote("cy", "sha256:" + "0" * 64, NOW),
        Vote("ada", DIGEST, NOW),
        Vote("ada", DIGEST, NOW),
    )
    after, commands = step(ballot(P.APPROVED, votes=votes), look(quorum=2))
    assert after.phase is P.PENDING
    assert after.votes == (Vote("ada", DIGEST, NOW),)
    assert commands == ()


def test_a_quorum_of_nothing_is_still_one() -> None:
    after, _ = step(ballot(P.APPROVED, votes=()), look(quorum=0))
    assert after.phase is P.PENDING


def test_the_digest_differs_for_every_field() -> None:
    digests = {str(changed(BINDING, field).digest()) for field in FIELDS}
    assert len(digests | {DIGEST}) == len(FIELDS) + 1


def test_every_difference_is_named_most_telling_first() -> None:
    other = replace(BINDING, base="1" * 40, targets=("emea-kiosk triage 1.2.0 -> 1.0.0",))
    found = differences(BINDING, other)
    assert [item.field for item in found] == ["base", "targets"]
    assert found[0].reason() == (
        "the base branch changed from aaaaaaaaaaaa to 111111111111 after the proposal was made"
    )


@pytest.mark.parametrize("person", sorted({*VOTERS, "eve"}))
def test_what_the_page_shows_is_what_the_machine_does(person: str) -> None:
    shown = objection(ballot(), person, BY_BO)
    _, (answer,) = step(ballot(), approve(person))
    assert isinstance(answer, Answer)
    assert (shown is None) == isinstance(answer.result, Accepted)


def test_an_event_outside_the_table_is_a_mistake_of_the_program() -> None:
    with pytest.raises(ImpossibleError, match="Merged in phase pending"):
        step(ballot(), Merged("f" * 40, world()))


def test_the_table_has_a_row_for_every_phase_and_ends_end() -> None:
    assert set(TABLE) == set(Phase)
    for phase in Phase:
        targets = {target for _, phases in TABLE[phase].values() for target in phases}
        assert phase.is_final == (not targets)


def test_circumstances_do_not_leak_into_what_is_remembered() -> None:
    """The machine's state holds no time of the present but those of votes: replaying it gives the same state."""
    first, _ = step(ballot(), look(at=NOW))
    second, _ = step(ballot(), look(at=NOW + 60))
    assert first == second
