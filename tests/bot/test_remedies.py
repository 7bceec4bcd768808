"""Every remedy from the command to the merge, over a real Git repository: what changed is its own field alone."""

from __future__ import annotations

import difflib
import json
import re
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.bot.rig import KIOSKS, Site
from trimtab_bot.approvals.machine import Phase
from trimtab_bot.commands import Actor, Reply, Where
from trimtab_bot.records import IncidentPhase
from trimtab_bot.remedies import ASKED, remedy_table

if TYPE_CHECKING:
    from collections.abc import Iterator

    from trimtab_bot.records import Incident

RELEASE = "deployments/triage.yaml"
DIGITS = "holds/digits-2.0.0.yaml"


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    made = Site(tmp_path)
    yield made
    made.close()


def say(site: Site, who: str, text: str, nonce: str = "") -> Reply:
    return site.bot.commands.say(text, Actor(who, f"test:{who}"), Where("test", "room", nonce))


def case(site: Site) -> Incident:
    return next(each for each in reversed(site.incidents()) if each.request is not None)


def edits(site: Site, path: str, before: str, after: str) -> list[str]:
    """The lines that a file lost and gained between two commits."""
    texts: list[list[str]] = []
    for commit in (before, after):
        try:
            texts.append(site.origin.read(path, commit).splitlines())
        except AssertionError:
            texts.append([])
    return [
        line
        for line in difflib.unified_diff(texts[0], texts[1], n=0, lineterm="")
        if line[:1] in "+-" and line[:3] not in ("+++", "---")
    ]


ASKS = {
    "tier": ("propose tier clinics/triage-kiosks too slow on old kiosks", RELEASE, ['+  tier: "lite"']),
    "frequency": (
        "propose frequency triage-kiosks maximumPerMinute=300 over budget",
        RELEASE,
        ["-    maximumPerMinute: 600", "+    maximumPerMinute: 300"],
    ),
    "limits": (
        "propose limits triage-kiosks cpu=400m it idles",
        RELEASE,
        ["-    cpu: 500m", '+    cpu: "400m"'],
    ),
    "pause": ("pause triage-gateways odd scores", RELEASE, ["+    paused: true"]),
    "promote": ("promote triage-gateways", RELEASE, ["-    wave: tenth", '+    wave: "all"']),
}


# Each has its run in CI; the quick tier keeps one that sets a field, one that stops a rollout and one that goes on with it.
OFTEN = ("tier", "pause", "promote")


@pytest.mark.parametrize("name", [pytest.param(name, marks=() if name in OFTEN else pytest.mark.long) for name in ASKS])
def test_a_field_remedy_changes_its_own_field_and_nothing_else(site: Site, name: str) -> None:
    text, path, expected = ASKS[name]
    base = site.origin.tip()
    site.tick()
    reply = say(site, "ada", text)
    assert reply.done, reply.text
    site.tick()
    proposal = site.proposal()
    assert (proposal.remedy, proposal.ballot.phase, proposal.ballot.proposer) == (name, Phase.PENDING, "ada")
    assert "nothing else differs" in {fact.label: fact.value for fact in proposal.facts}["Proof of effect"]
    # Whoever asked does not decide; neither is anything merged before somebody does.
    assert say(site, "ada", f"approve {proposal.id} {proposal.ballot.digest}").code == "B404"
    assert site.origin.tip() == base
    if name == "promote":  # its gate has to say yes while it is merged; see test_rollouts
        site.tick()
        assert site.origin.tip() == base
        return
    assert say(site, "bo", f"approve {proposal.id} {proposal.ballot.digest[7:19]}").done
    site.tick()
    merged = site.origin.tip()
    assert site.origin.merges_of_the_bot() == [merged]
    assert site.origin.scratch.text("diff", "--name-only", base, merged).split() == [path]
    assert edits(site, path, base, merged) == expected
    site.tick()
    closed = case(site)
    assert (closed.phase, closed.closed_because) == (IncidentPhase.CLOSED, f"merged as {merged[:12]}")
    site.tick()
    assert len(site.proposals()) == 1, "a wish is good for one merge"


def carried(site: Site, text: str, who: str = "ada", by: str = "cy") -> tuple[str, str]:
    """Asked, proposed, approved, merged: the branch before and after."""
    site.tick()
    base = site.origin.tip()
    reply = say(site, who, text)
    assert reply.done, reply.text
    site.tick()
    proposal = site.proposal()
    approved = say(site, by, f"approve {proposal.id} {proposal.ballot.digest}")
    assert approved.done, approved.text
    site.tick()
    assert site.proposal().ballot.phase is Phase.MERGED, site.proposal().ballot.reason
    return base, site.origin.tip()


@pytest.mark.long
def test_offload_names_an_endpoint_within_the_law_of_the_devices(site: Site) -> None:
    text = "propose offload triage-kiosks endpoint=https://edge.example.com/v2 jurisdiction={} when=battery it is old"
    base, merged = carried(site, text.format("EU"))
    assert edits(site, RELEASE, base, merged) == [
        "+  offload:",
        '+    endpoint: "https://edge.example.com/v2"',
        '+    jurisdiction: "EU"',
        '+    when: ["battery"]',
    ]
    assert say(site, "ada", text.format("EU")).code == "B313"


@pytest.mark.long
def test_a_pause_and_its_end_leave_the_file_as_it_was(site: Site) -> None:
    before = site.origin.read(RELEASE)
    carried(site, "pause triage-gateways odd scores")
    assert "paused" in say(site, "vi", "rollout triage-gateways").text
    assert say(site, "ada", "promote triage-gateways").code == "B313"
    carried(site, "resume triage-gateways looked into")
    assert site.origin.read(RELEASE) == before


def test_a_hold_keeps_a_version_out_and_its_release_lets_it_in(site: Site) -> None:
    base, merged = carried(site, "hold triage 1.3.0 14 recall of the labels")
    changed = site.origin.scratch.text("diff", "--name-status", base, merged).split()
    assert changed == ["A", "holds/triage-1.3.0.yaml"]
    assert "ada: recall of the labels" in site.origin.read(changed[1])
    assert say(site, "bo", "hold triage 1.3.0 14 again").code == "B313"
    carried(site, "release triage-1.3.0 labels mended")
    assert site.origin.scratch.text("diff", "--name-only", base, site.origin.tip()) == ""


@pytest.mark.long
def test_an_abort_returns_everybody_to_the_stable_version_and_holds_the_other(site: Site) -> None:
    # Kiosks ask for the version too, so the rollout of the gateways alone cannot take it away.
    assert say(site, "ada", "abort triage-gateways crashes").code == "B309"
    site.origin.edit(RELEASE, 'version: "1.1.0"', 'version: "1.0.0"')
    site.origin.merge("Mara Okafor <mara@example.com>", "Kiosks on 1.0.0")
    for group in KIOSKS:
        site.fleet.runs(group, "triage", {"1.0.0": 2})
    site.fleet.save()
    base, merged = carried(site, "abort triage-gateways crashes", who="ada", by="cy")
    assert edits(site, RELEASE, base, merged) == ['-    version: "1.1.0"', '+    version: "1.0.0"']
    assert "holds/triage-1.1.0.yaml" in site.origin.scratch.text("diff", "--name-only", base, merged)
    site.tick()
    assert case(site).phase is IncidentPhase.WATCHING, "a gateway still runs it"
    site.fleet.runs("gateway-emea", "triage", {"1.0.0": 2})
    site.fleet.save()
    site.tick()
    assert case(site).closed_because.startswith("carried out: ")


def test_a_rollback_that_a_person_asks_for_needs_no_breach(site: Site) -> None:
    site.tick()
    site.origin.release()
    for group in KIOSKS:
        site.fleet.runs(group, "triage", {"1.2.0": 2})
    site.fleet.save()
    # Its author may ask for it, and may not decide about it.
    base, merged = carried(site, "rollback triage 1.2.0 wrong referrals are reported", who="bo", by="ada")
    assert edits(site, RELEASE, base, merged) == ['-    version: "1.2.0"', '+    version: "1.1.0"']
    assert "Approved-by: ada" in site.origin.scratch.text("log", "-1", "--format=%B", merged)
    site.back()
    site.tick()
    assert case(site).phase is IncidentPhase.CLOSED


@pytest.mark.parametrize("name", ["optimise", pytest.param("retrain", marks=pytest.mark.long)])
def test_a_task_is_ordered_once_by_the_merge_of_its_file(site: Site, name: str) -> None:
    base, merged = carried(site, f"propose {name} triage-kiosks goal=int8 costs too much")
    (path,) = site.origin.scratch.text("diff", "--name-only", base, merged).split()
    assert path == f"tasks/{name}-triage-1.1.0.json"
    order = json.loads(site.origin.read(path))
    assert (order["task"], order["model"], order["version"], order["goal"]) == (name, "triage", "1.1.0", "int8")
    assert (order["askedBy"], order["base"]) == ("ada", base)


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("propose reboot triage-kiosks now", "B307"),
        ("propose frequency triage-kiosks maximumPerMinute=900 more", "B313"),
        ("propose frequency triage-kiosks maximumPerMinute=-1 less", "B308"),
        ("propose frequency triage-kiosks oops=1 less", "B308"),
        ("propose frequency triage-kiosks less", "B308"),
        ("propose tier triage-kioks slow", "B316"),
        ("propose limits triage-kiosks cpu=lots idle", "B308"),
        ("propose limits triage-kiosks idle", "B313"),
        ("promote triage-kiosks", "B313"),
        ("promote digits-2.0.0", "B316"),
        ("resume triage-gateways x", "B313"),
        ("release nothing x", "B316"),
        ("hold triage-lost 1.0.0 3 x", "B316"),
        ("rollback triage 9.9.9 x", "B305"),
    ],
)
def test_what_cannot_be_is_said_at_once_and_opens_nothing(asked_site: Site, text: str, code: str) -> None:
    reply = say(asked_site, "ada", text)
    assert (reply.done, reply.code) == (False, code), reply.text
    assert asked_site.incidents() == ()


@pytest.fixture(scope="module")
def asked_site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    made = Site(tmp_path_factory.mktemp("asked"))
    made.tick()
    yield made
    made.close()


def test_a_wish_is_planned_anew_where_the_branch_moves_and_dropped_where_it_is_met(site: Site) -> None:
    site.tick()
    say(site, "ada", "pause triage-gateways odd scores")
    site.tick()
    first = site.proposal()
    site.origin.edit("groups/emea.yaml", "deviceCount: ", "deviceCount: 1")
    site.origin.merge("Mara Okafor <mara@example.com>", "More devices")
    site.tick(2)
    assert [each.ballot.phase for each in site.proposals()] == [Phase.VOID, Phase.PENDING]
    assert site.proposals()[0].ballot.code == "B412"
    assert say(site, "bo", f"approve {first.id} {first.ballot.digest}").code == "B412"
    site.origin.edit(RELEASE, "    wave: tenth", "    wave: tenth\n    paused: true")
    site.origin.merge("Mara Okafor <mara@example.com>", "Paused by hand")
    site.tick(2)
    assert case(site).phase is IncidentPhase.CLOSED
    assert "B313" in case(site).closed_because
    assert site.origin.merges_of_the_bot() == []


def test_one_wish_has_one_case_however_often_it_is_made(site: Site) -> None:
    site.tick()
    first = say(site, "ada", "pause triage-gateways odd scores")
    assert say(site, "cy", "pause clinics/triage-gateways me too").incident == first.incident
    site.tick()
    site.restart()
    site.tick(2)
    assert (len(site.incidents()), len(site.proposals())) == (1, 1)


def test_every_remedy_has_a_schema_and_says_what_it_does() -> None:
    assert {*ASKS, "offload", "resume", "hold", "release", "abort", "rollback", "optimise", "retrain"} == set(ASKED)
    for step in ASKED.values():
        assert step.schema["type"] == "object"
        assert step.schema["additionalProperties"] is False
        assert step.says


def test_the_documentation_lists_what_may_be_asked_for() -> None:
    page = (Path(__file__).parents[2] / "docs" / "remedies.md").read_text("utf-8")
    shown = re.search(r"<!-- remedies:[^>]*-->\n(.*?)\n<!-- /remedies -->", page, re.DOTALL)
    assert shown is not None
    assert shown[1] == remedy_table(), f"put this into docs/remedies.md:\n{remedy_table()}"
