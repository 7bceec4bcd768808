"""Attacks by name, one row each: refused with a reason of its own, and nothing has changed afterwards.

What Slack alone decides (guests, other workspaces, signatures, repeated envelopes) is tested with its rig in `chat/`, and
what the inbox alone does (cookies, forged forms, guessed tokens) in `inbox/`.
"""

from __future__ import annotations

import dataclasses
import hashlib
import hmac
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest

from tests.bot.approvals.table import BINDING, CODES, ballot, world
from tests.bot.rig import Site
from trimtab_bot.approvals.machine import (
    Answer,
    Approve,
    Ballot,
    BreakGlass,
    Circumstances,
    Deny,
    Event,
    Glass,
    Hosted,
    Look,
    Merge,
    Phase,
    Revoke,
    Vote,
    step,
)
from trimtab_bot.chat.grammar import Mistake, parse
from trimtab_bot.commands import Actor, Where
from trimtab_bot.inbox.interface import Refused
from trimtab_bot.reviews.webhooks import Delivery, Door
from trimtab_bot.reviews.wishes import Unheard, wish_of_remark, wish_of_review
from trimtab_config.githost.conversation import HostReview, Opinion, Remark
from trimtab_kernel.verdict import Verdict

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from trimtab_bot.records import Proposal

DIGEST = "0123456789ab"
SECRET = b"a secret of webhooks"


@dataclass(frozen=True)
class Ground:
    """A site with two proposals that wait: the rollback of a bad release (of bo), and a pause that ada asked for."""

    site: Site
    rollback: Proposal
    pause: Proposal
    now: Circumstances

    def state(self) -> object:
        """Everything that an attack could have changed."""
        return (self.site.origin.tip(), [each.ballot for each in self.site.proposals()], len(self.site.incidents()))


@pytest.fixture(scope="module")
def ground(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ground]:
    site = Site(tmp_path_factory.mktemp("attacked"))
    site.broken()
    asked = site.bot.commands.say("pause triage-gateways odd scores", Actor("ada", "t:ada"), Where("t"))
    assert asked.done, asked.text
    site.tick()
    first, second = site.proposals()
    incident = next(each for each in site.incidents() if each.id == first.incident_id)
    yield Ground(site, first, second, site.world().now(first, incident))
    site.close()


# ---------------------------------------------------------------- how an attack is made


def typed(text: str) -> Callable[[Ground], str]:
    """The grammar's own words."""

    def attempt(_ground: Ground) -> str:
        found = parse(text)
        return found.text if isinstance(found, Mistake) else f"understood: {found}"

    return attempt


def said(who: str, text: str, nonce: str = "") -> Callable[[Ground], str]:
    """What the core answers; {rollback}, {pause} stand for ids, {digest} and {other} for digests."""

    def attempt(ground: Ground) -> str:
        line = text.format(
            rollback=ground.rollback.id,
            pause=ground.pause.id,
            digest=ground.rollback.ballot.digest,
            other=ground.pause.ballot.digest,
        )
        reply = ground.site.bot.commands.say(line, Actor(who, f"t:{who}"), Where("t", "room", nonce))
        return f"done: {reply.text}" if reply.done else reply.text

    return attempt


def twice(who: str, text: str) -> Callable[[Ground], str]:
    """The same delivery again."""

    def attempt(ground: Ground) -> str:
        first = said(who, text, "delivery-1")(ground)
        assert "done" in first or first[0] == "B", first
        return said(who, text, "delivery-1")(ground)

    return attempt


def stepped(
    event: Callable[[Circumstances, Ballot], Event],
    change: Callable[[Circumstances], Circumstances] = lambda now: now,
    **ballot_changes: object,
) -> Callable[[Ground], str]:
    """What the machine says in the real circumstances, with one thing changed."""

    def attempt(ground: Ground) -> str:
        before = replace(ground.rollback.ballot, **ballot_changes)  # type: ignore[arg-type]  # real fields
        now = change(ground.now)
        after, commands = step(before, event(now, before))
        assert not any(isinstance(command, Merge) for command in commands)
        assert after.votes == () or after.phase is not Phase.EXECUTING
        for command in commands:
            if isinstance(command, Answer):
                assert isinstance(command.result, Refused), command.result
                return f"{command.result.code} {command.result.reason}"
        return f"{after.code} {after.reason}"

    return attempt


def approve(now: Circumstances, before: Ballot) -> Event:
    return Approve("ada", before.digest, now)


def look(now: Circumstances, _before: Ballot) -> Event:
    return Look(now)


def bound(**changes: object) -> Callable[[Circumstances], Circumstances]:
    return lambda now: replace(now, binding=replace(now.binding, **changes))  # type: ignore[arg-type] # fields by their names


def changed(**changes: object) -> Callable[[Circumstances], Circumstances]:
    return lambda now: replace(now, **changes)  # type: ignore[arg-type] # fields by their names


def remark(body: str, *, edited: bool = False, by_program: bool = False) -> Callable[[Ground], str]:
    def attempt(_ground: Ground) -> str:
        at = datetime(2026, 1, 1, tzinfo=UTC)
        found = wish_of_remark(Remark(1, 7, "ada", body, at, edited, by_program))
        return f"{found.code} {found.reason}" if isinstance(found, Unheard) else "no command" if not found else "heard"

    return attempt


def reviewed(commit: str, *, by_program: bool = False) -> Callable[[Ground], str]:
    def attempt(ground: Ground) -> str:
        view = ground.site.bot.decisions.proposal(ground.rollback.id)
        assert view is not None
        at = datetime(2026, 1, 1, tzinfo=UTC)
        review = HostReview(1, 7, "ada", Opinion.APPROVED, commit or view.head, "", at, by_program)
        found = wish_of_review(review, view)
        return f"{found.code} {found.reason}" if isinstance(found, Unheard) else "heard"

    return attempt


def knocked(
    body: bytes = b'{"repository": {"full_name": "acme/fleet"}, "action": "created"}',
    secret: bytes = SECRET,
    times: int = 1,
    **headers: str,
) -> Callable[[Ground], str]:
    """A webhook's delivery; each repeat has an id of its own, as a replay would."""

    def attempt(ground: Ground) -> str:
        woken: list[tuple[int, ...]] = []
        door = Door(SECRET, "acme/fleet", ground.site.store, lambda: ground.site.now, woken.append)
        found = None
        for time in range(times):
            given = {
                "x-hub-signature-256": "sha256=" + hmac.new(secret, body, hashlib.sha256).hexdigest(),
                "x-github-delivery": f"delivery-{time}",
                "x-github-event": "issue_comment",
                **{name.replace("_", "-"): value for name, value in headers.items()},
            }
            found = door.knock(Delivery(given, body))
        assert len(woken) == times - 1
        return f"webhook {found.name if found else ''}"

    return attempt


APPROVE = f"approve p-1 {DIGEST}"
ADA = Vote("ada", "", 0.0)
ATTACKS: dict[str, tuple[Callable[[Ground], str], str]] = {
    # what is typed
    "homoglyph verb, Cyrillic": (typed("\u0430pprove p-1 0123456789ab"), "CYRILLIC SMALL LETTER A"),
    "homoglyph verb, Greek": (typed("appr\u03bfve p-1 0123456789ab"), "GREEK SMALL LETTER OMICRON"),
    "fullwidth digits": (typed("approve p-1 \uff10123456789ab"), "FULLWIDTH DIGIT ZERO"),
    "Arabic digits": (typed("approve p-1 \u0660123456789ab"), "ARABIC-INDIC DIGIT ZERO"),
    "mathematical letters": (typed("\U0001d41approve p-1 0123456789ab"), "MATHEMATICAL BOLD SMALL A"),
    "zero width space": (typed(f"{APPROVE}\u200b"), "ZERO WIDTH SPACE"),
    "zero width joiner": (typed("app\u200drove p-1 0123456789ab"), "ZERO WIDTH JOINER"),
    "word joiner": (typed(f"{APPROVE}\u2060"), "WORD JOINER"),
    "soft hyphen": (typed("app\u00adrove p-1 0123456789ab"), "SOFT HYPHEN"),
    "byte order mark": (typed(f"\ufeff{APPROVE}"), "ZERO WIDTH NO-BREAK SPACE"),
    "right to left": (typed(f"deny p-1 {DIGEST} \u202esey"), "RIGHT-TO-LEFT OVERRIDE"),
    "isolated text": (typed(f"deny p-1 {DIGEST} \u2066sey"), "LEFT-TO-RIGHT ISOLATE"),
    "no-break space": (typed("approve\u00a0p-1 0123456789ab"), "character 8 is NO-BREAK SPACE"),
    "ideographic space": (typed("approve\u3000p-1 0123456789ab"), "IDEOGRAPHIC SPACE"),
    "line separator": (typed(f"{APPROVE}\u2028approve p-2 {DIGEST}"), "LINE SEPARATOR"),
    "a second line": (typed(f"status\n{APPROVE}"), "U+000A"),
    "a null": (typed(f"{APPROVE}\x00"), "U+0000"),
    "an escape sequence": (typed("why \x1b[2J"), "U+001B"),
    "another case": (typed("Approve p-1 0123456789ab"), "commands are in lower case"),
    "a word too many": (typed(f"{APPROVE} now"), '"now" is a word too many'),
    "a digest for everything": (typed("approve p-1 *"), "12 to 64 hex digits"),
    "a path for a name": (typed("promote ../../etc/passwd"), "an object's NAME"),
    "a mention for an id": (typed("why <!channel>"), "the id of a proposal"),
    "a flood of letters": (typed("x" * 5000), "at most 1000 characters"),
    "a verb of another tool": (typed("exec p-1"), "no such command"),
    "a hold for ever": (typed("hold triage 1.2.0 99999 x"), "1 to 999 days"),
    "a silence for ever": (typed("silence i-1 9999d x"), "a span such as"),
    "one option twice": (typed("propose limits a/b cpu=1 cpu=2 x"), "each option once"),
    "a denial in silence": (typed(f"deny p-1 {DIGEST}"), "usage: deny ID DIGEST REASON"),
    "a version with a shell in it": (typed("rollback triage $(reboot) x"), "a version such as"),
    # who
    "an account of nobody": (said("", "approve {rollback} {digest}"), "B440"),
    "a person who has left": (said("ghost", "approve {rollback} {digest}"), 'B402 nobody is configured as "ghost"'),
    "a viewer decides": (said("vi", "approve {rollback} {digest}"), "that approve needs"),
    "a viewer asks": (said("vi", "hold triage 1.3.0 3 x"), "that hold needs"),
    "a viewer hushes": (said("vi", "silence {rollback} 1h x"), "that silence needs"),
    "the author decides": (said("bo", "approve {rollback} {digest}"), 'B405 "bo" is an author'),
    "the author denies": (said("bo", "deny {rollback} {digest} mine"), "B405"),
    "the bot under a second account": (said("robot", "approve {rollback} {digest}"), "B404 the bot made"),
    "self-approval of a wish": (said("ada", "approve {pause} {other}"), 'B404 "ada" asked for this'),
    "glass without the role": (said("ada", "approve {rollback} {digest} break-glass x"), 'the role "break-glass"'),
    "an unknown author": (
        stepped(approve, lambda now: replace(now, electorate=replace(now.electorate, unknown_authors=("Eve <e@x>",)))),
        "B406 an author of the offending change is not a configured person (Eve <e@x>)",
    ),
    "an approval taken from another": (said("cy", "revoke {rollback} {digest}"), "B446"),
    # what
    "a digest of another proposal": (said("ada", "approve {rollback} {other}"), "B409 you decided about"),
    "no such proposal": (said("ada", f"approve p-0000000000 {DIGEST}"), "B424"),
    "no such incident": (said("ada", "ack i-0000000000"), "B443"),
    "a replayed delivery": (twice("ada", "approve {rollback} {other}"), "B442"),
    "a remedy that is none": (said("ada", "propose shell triage-kiosks x"), "B307"),
    "an option that is none": (said("ada", "propose tier triage-kiosks command=reboot x"), 'no option "command"'),
    "an option with a shell in it": (
        said("ada", "propose limits triage-kiosks cpu=1;reboot x"),
        'option cpu: "1;reboot" does not fit',
    ),
    "more instead of less": (
        said("ada", "propose frequency triage-kiosks maximumPerMinute=900 x"),
        "expected fewer than that",
    ),
    "an endpoint that is a file": (
        said("ada", "propose offload triage-kiosks endpoint=file:///etc/passwd jurisdiction=EU x"),
        "option endpoint",
    ),
    "a rollback of what is not there": (said("ada", "rollback triage 9.9.9 x"), "nothing to undo"),
    "a hold that is none": (said("ada", "release triage-9.9.9 x"), "no Hold called"),
    "a wave that is skipped": (
        said("ada", "propose promote triage-gateways to=first x"),
        "the next wave is all, not first",
    ),
    # between the click and the merge
    "a moved base": (stepped(approve, bound(base="1" * 40)), "B412 the base branch changed"),
    "an edited branch": (stepped(approve, bound(head="1" * 40)), "B413 the proposed commit changed"),
    "an edited tree": (stepped(approve, bound(tree="1" * 40)), "B414 the proposed tree changed"),
    "another change undone": (stepped(approve, bound(undoes=("1" * 40,))), "B415 what would be undone"),
    "another target": (stepped(approve, bound(targets=("a b 1 -> 2",))), "B415 what would be changed"),
    "another remedy in the record": (stepped(approve, bound(terms="sha256:" + "1" * 64)), "B415 what the proposal is"),
    "stale evidence": (stepped(approve, changed(standing=Verdict.FINE)), "B416 the evidence no longer stands"),
    "other evidence": (stepped(approve, bound(evidence="sha256:" + "1" * 64)), "B416 the evidence changed"),
    "softer rules": (stepped(approve, bound(policy="sha256:" + "1" * 64)), "B417"),
    "a later expiry": (stepped(approve, bound(expires_at="2099-01-01T00:00:00.000Z")), "B418"),
    "another repository": (stepped(approve, bound(repository="/tmp/mine.git")), "B419 the repository"),
    "another branch": (stepped(approve, bound(branch="mine")), "B419 the name of the base branch"),
    "a reused nonce": (stepped(approve, bound(proposal="rollback/triage/1.2.0/x/9")), "B401 the proposal's key"),
    "an expired proposal": (stepped(approve, changed(at=4e9)), "B410"),
    "a used approval": (
        stepped(approve, changed(hosted=Hosted.MERGED, merged="1" * 40)),
        "B408 it is already merged as 111111111111",
    ),
    "closed by hand": (stepped(approve, changed(hosted=Hosted.CLOSED)), "B431"),
    "a stale rollback past a healthy head": (stepped(approve, changed(overtaken="asks for 1.3.0 now")), "B305"),
    "an edited record": (stepped(look, digest="sha256:" + "1" * 64), "B409 the recorded digest"),
    "a decision about a draft": (stepped(approve, phase=Phase.DRAFT), "not open yet"),
    "an approval during the merge": (stepped(approve, phase=Phase.EXECUTING), "executing; no further approval"),
    "a denial during the merge": (
        stepped(lambda now, b: Deny("ada", b.digest, "no", now), phase=Phase.EXECUTING),
        "the merge has begun; revert it",
    ),
    "a revocation after the merge": (
        stepped(lambda now, b: Revoke("ada", b.digest, now), phase=Phase.MERGED, merged="2" * 40),
        "B408 it is already merged as 222222222222",
    ),
    "a blank denial": (stepped(lambda now, b: Deny("ada", b.digest, " ", now)), "B423 a denial needs a reason"),
    "a glass that nobody may break": (stepped(lambda now, b: BreakGlass("ada", b.digest, "x", now)), "B445"),
    "a review of one's own emergency": (
        stepped(
            lambda now, b: Approve("ada", b.digest, now),
            phase=Phase.MERGED,
            glass=Glass("ada", "", "fire", 0.0),
        ),
        "B448",
    ),
    "a vote written into the state, by the author": (
        stepped(look, phase=Phase.APPROVED, votes=(Vote("bo", "", 0.0),)),
        "B432 approvals no longer suffice: 0 of 1; no longer counted: bo",
    ),
    "a vote for another digest": (
        stepped(look, phase=Phase.APPROVED, votes=(ADA,)),
        "B432 approvals no longer suffice: 0 of 1; no longer counted: ada",
    ),
    "a glass for another digest": (
        stepped(look, phase=Phase.APPROVED, glass=Glass("cy", "sha256:0", "fire", 0.0)),
        "B432 approvals no longer suffice: 0 of 1",
    ),
    # GitHub
    "a spoofed comment of the bot": (remark("/trimtab status", by_program=True), "B452 this comment"),
    "an edited comment": (remark("/trimtab status", edited=True), "B451"),
    "a command with a tail": (remark(f"/trimtab status\n/trimtab {APPROVE}"), "B453"),
    "a quoted command": (remark(f"> /trimtab {APPROVE}"), "no command"),
    "a review by a program": (reviewed("", by_program=True), "B452 this review"),
    "a review of another commit": (reviewed("1" * 40), "B454"),
    "a forged signature": (knocked(secret=b"some other secret"), "webhook FORGED"),
    "a webhook without an id": (knocked(x_github_delivery=""), "webhook MALFORMED"),
    "a webhook of another kind": (knocked(x_github_event="deploy_key"), "webhook IGNORED"),
    "a webhook replayed under another id": (knocked(times=2), "webhook KNOWN"),
    "a webhook that is too large": (knocked(body=b"x" * (1 << 20) + b"x"), "webhook TOO_LARGE"),
}


def test_there_are_enough_and_each_has_a_reason_of_its_own() -> None:
    reasons = [reason for _, reason in ATTACKS.values()]
    assert len(reasons) >= 60
    assert len(set(reasons)) == len(reasons)


@pytest.mark.parametrize("name", ATTACKS)
def test_an_attack_is_refused_with_its_own_reason_and_changes_nothing(ground: Ground, name: str) -> None:
    attempt, reason = ATTACKS[name]
    before = ground.state()
    assert reason in attempt(ground)
    assert ground.state() == before


def _flipped(value: str) -> Iterator[str]:
    """Every text that differs in one bit of one character."""
    for place, character in enumerate(value):
        for bit in range(7):
            yield f"{value[:place]}{chr(ord(character) ^ (1 << bit))}{value[place + 1 :]}"


def _one_bit_apart(value: object) -> Iterator[object]:
    if isinstance(value, str):
        yield from _flipped(value)
    else:
        assert isinstance(value, tuple)
        for place, item in enumerate(value):
            for other in _flipped(item):
                yield (*value[:place], other, *value[place + 1 :])
        yield value[1:]
        yield (*value, value[-1])


@pytest.mark.parametrize("field", [each.name for each in dataclasses.fields(BINDING)])
def test_every_bit_of_what_was_approved_that_differs_at_the_merge_stops_it(field: str) -> None:
    """All of them, one by one: in what the world says now, and in what the bot's own state says was approved."""
    digest = str(BINDING.digest())
    approved = ballot(Phase.APPROVED, votes=(Vote("ada", digest, 1.0),))
    assert any(isinstance(command, Merge) for command in step(approved, Look(world()))[1]), "else nothing is shown"
    count = 0
    for value in _one_bit_apart(getattr(BINDING, field)):
        other = replace(BINDING, **{field: value})  # type: ignore[arg-type]  # its own field
        after, commands = step(approved, Look(world(binding=other)))
        assert (after.phase, after.code) == (Phase.VOID, CODES[field]), value
        assert not any(isinstance(command, Merge) for command in commands)
        tampered, commands = step(replace(approved, binding=other), Look(world()))
        assert tampered.phase is Phase.VOID
        assert not any(isinstance(command, Merge) for command in commands)
        count += 1
    assert count > 20


@pytest.mark.parametrize("part", ["digest of the vote", "person of the vote", "digest of the proposal"])
def test_every_bit_of_a_decision_that_differs_at_the_merge_stops_it(part: str) -> None:
    digest = str(BINDING.digest())
    for other in _flipped("ada" if part.startswith("person") else digest):
        vote = Vote(other, digest, 1.0) if part.startswith("person") else Vote("ada", digest, 1.0)
        if part == "digest of the vote":
            vote = replace(vote, digest=other)
        kept = other if part == "digest of the proposal" else digest
        after, commands = step(ballot(Phase.APPROVED, digest=kept, votes=(vote,)), Look(world()))
        assert after.phase in (Phase.PENDING, Phase.VOID)
        assert not any(isinstance(command, Merge) for command in commands)


RECORD = {  # field of the record -> the part of the binding that tells when it is another
    "key": {"terms"},
    "incident_id": {"terms"},
    "remedy": {"terms"},
    "model": {"terms"},
    "bad_version": {"terms"},
    "good_version": {"terms"},
    "verified": {"terms"},
    "restored_commit": {"terms"},
    "device_groups": {"terms"},
    "number": {"head"},
    "ballot": {"terms", "expires_at"},
}
SHOWN = {  # and what nothing is decided by: words and figures for people, and what the bot has done so far
    *("id", "title", "summary", "message", "hold_until", "devices", "facts", "diff", "offending", "head_branch"),
    *("opened_at", "merge_intended_at", "merged_at", "closed_on_host", "quorum"),
}


def other(value: object) -> object:
    """Something else of the same type."""
    if isinstance(value, bool):
        return not value
    if isinstance(value, int):
        return value + 1000
    if isinstance(value, tuple):
        return (*value, "elsewhere")
    if isinstance(value, Ballot):
        return replace(value, proposer="bo", expires_at=value.expires_at + 1)
    return "rollback" if value == "pause" else "pause" if value == "rollback" else f"{value}x"


def test_every_field_of_a_record_is_bound_or_decides_nothing(ground: Ground) -> None:
    """A field that is new has to be put into one of the two lists, and where it is bound, a change of it is seen."""
    names = {each.name for each in dataclasses.fields(ground.rollback)}
    assert names == RECORD.keys() | SHOWN
    assert not RECORD.keys() & SHOWN
    world, proposals = ground.site.world(), (ground.rollback, ground.pause)
    incidents = {each.id: each for each in ground.site.incidents()}
    for proposal in proposals:
        incident = incidents[proposal.incident_id]
        before = world.now(proposal, incident).binding
        assert before == proposal.ballot.binding
        for name, parts in RECORD.items():
            edited = replace(proposal, **{name: other(getattr(proposal, name))})  # type: ignore[arg-type]  # its own field
            after = world.now(edited, incident).binding
            seen = {
                field.name
                for field in dataclasses.fields(after)
                if getattr(after, field.name) != getattr(before, field.name)
            }
            assert parts <= seen, (name, seen)
        another = ground.pause if proposal is ground.rollback else ground.rollback
        for name in SHOWN:
            shown = replace(proposal, **{name: getattr(another, name)})
            assert world.now(shown, incident).binding == before, name
    request = incidents[ground.pause.incident_id].request
    assert request is not None
    for each in dataclasses.fields(request):
        value = getattr(request, each.name)
        instead = other(value) if value else (("a", "b"),)
        changed_request = replace(request, **{each.name: instead})  # type: ignore[arg-type]  # its own field
        case = replace(incidents[ground.pause.incident_id], request=changed_request)
        assert world.now(ground.pause, case).binding.terms != ground.pause.ballot.binding.terms, each.name
