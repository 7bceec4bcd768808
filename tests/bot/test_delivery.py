"""From the merge to the cluster: what Argo CD and Flux say is waited for, told with times, and a reason to call for help."""

from __future__ import annotations

import re
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.bot.deliveries import Deliveries
from tests.bot.rig import BO, KIOSKS, RELEASE, Origin, Site
from trimtab_bot.changes.history import History
from trimtab_bot.chat.board import compose
from trimtab_bot.chat.slack.blocks import message_blocks, message_text
from trimtab_bot.configuration import read_configuration
from trimtab_bot.delivery.carrying import Carrying
from trimtab_bot.delivery.interface import Delivery, State
from trimtab_bot.delivery.journey import Journey, Stage, late, trace
from trimtab_bot.delivery.watch import DeliveryWatch
from trimtab_bot.records import IncidentPhase
from trimtab_bot.telemetry import BotFigures, serving
from trimtab_kernel.problems import InputError

MERGED, OLD = "a" * 40, "b" * 40


@pytest.fixture
def delivered(tmp_path: Path) -> Iterator[Site]:
    """A site whose changes Argo CD brings; the rollback is merged, and the devices report at once that they are back."""
    site = Site(tmp_path, delivery={"argocd": {}, "limit": "2m"})
    site.deliveries.put(KIOSKS, site.origin.tip())
    site.broken()
    assert site.deliveries.reads == 0, "nothing is on its way, so nobody is asked"
    site.approve("ada")
    site.tick()
    site.back()
    yield site
    site.close()


def test_a_change_is_closed_when_the_clusters_have_it_with_the_time_of_each_stage(delivered: Site) -> None:
    site, bad = delivered, delivered.origin.tip() + "^1"
    bad = site.origin.scratch.text("rev-parse", bad)
    merged = site.origin.tip()
    site.deliveries.put(KIOSKS, bad)
    site.tick()
    assert site.incident().phase is IncidentPhase.WATCHING, "the devices alone do not say that it was the merge"
    site.deliveries.put(KIOSKS, bad, State.PROGRESSING, seen=(merged,))
    site.tick()
    assert (site.incident().seen_at, site.incident().synced_at) == (site.now, None)
    site.restart()
    site.deliveries.put(KIOSKS[1:], merged, State.PROGRESSING)
    site.tick()
    assert site.incident().phase is IncidentPhase.WATCHING, "one group is missing"
    site.deliveries.put(KIOSKS[:1], merged, State.PROGRESSING)
    site.tick()
    assert site.incident().phase is IncidentPhase.CONVERGED, "a device that is offline keeps its workload progressing"
    assert site.incident().healthy_at is None
    site.deliveries.put(KIOSKS, merged)
    # A commit on top that leaves the version alone brings the groups the same.
    site.origin.sync()
    site.origin.edit(RELEASE, "cpu: 500m", "cpu: 400m")
    site.deliveries.put(KIOSKS[:2], site.origin.merge(BO, "Less CPU"))
    site.settle()
    incident = site.incident()
    assert (incident.phase, incident.closed_because) == (IncidentPhase.CLOSED, "the fleet has recovered")
    told = " ".join(site.timeline())
    order = ["proposal merged", "seen: ", "synced: ", "converged: ", "healthy: ", "recovered: ", "closed: "]
    assert [told.index(word) for word in order] == sorted(told.index(word) for word in order)
    assert re.search(
        r"merged after \S+ s, seen after \S+ s, synced after \S+ s, healthy after .*, converged after", told
    )
    assert "escalated" not in told
    events = site.events.names()
    assert [events.count(name) for name in ("seen", "synced", "healthy")] == [1, 1, 1]
    figures = BotFigures(site.store, site.bot.loop.looks, lambda: True, delivery=site.bot.delivery)
    with serving(figures, "127.0.0.1", 0) as url, urllib.request.urlopen(url, timeout=30) as answer:  # noqa: S310 - our own loopback URL
        text = answer.read().decode()
    assert 'trimtab_bot_deliveries{state="healthy"} 4.0' in text
    assert 'trimtab_bot_stages_total{stage="synced"} 1.0' in text
    assert 'trimtab_bot_stage_seconds_total{stage="synced"} 20.0' in text
    assert "trimtab_bot_delivery_up 1.0" in text


def test_what_is_held_up_is_told_at_once_and_calls_for_help_with_its_own_words(delivered: Site) -> None:
    site = delivered
    hostile = "denied by <!channel> & <https://evil.example|policy>"
    site.deliveries.put(KIOSKS, OLD)
    site.deliveries.put(
        KIOSKS[:1], OLD, State.OUT_OF_SYNC, message=hostile, next_step="argocd app get kiosk-amer -N argocd --refresh"
    )
    site.tick(3)
    told = [line for line in site.timeline() if line.startswith("held up")]
    step = "argocd app get kiosk-amer -N argocd --refresh"
    assert told == [f"held up: Application argocd/kiosk-amer is out of sync at {OLD}: {hostile} (next: {step})"]
    assert site.incident().escalated_at is None
    site.tick(seconds=121)
    incident = site.incident()
    assert incident.escalated_because.startswith("not delivered 2 min after the change: Application argocd/kiosk-amer")
    with site.store.reading() as view:
        message = compose(incident, view.proposals(incident.id), view.timeline(incident.id), 1)
    shown = f"{message_text(message)} {message_blocks(message)}"
    assert "&lt;!channel&gt; &amp; &lt;https://evil.example|policy&gt;" in shown
    assert "<!channel>" not in shown
    assert "<https" not in shown
    # It goes on all the same, and ends well.
    site.deliveries.put(KIOSKS, site.origin.tip())
    site.settle()
    assert site.incident().phase is IncidentPhase.CLOSED
    assert "seen: " in " ".join(site.timeline())


def test_a_cluster_that_cannot_be_read_proves_nothing_and_is_told(delivered: Site) -> None:
    site = delivered
    site.deliveries.put(KIOSKS, site.origin.tip())
    site.deliveries.down = "cannot list applications: 403 Forbidden"
    site.settle()
    assert site.incident().phase is IncidentPhase.WATCHING
    assert "403 Forbidden" in site.health()
    site.deliveries.down = ""
    site.settle()
    assert site.incident().phase is IncidentPhase.CLOSED
    assert "403" not in site.health()


def test_a_degraded_object_keeps_an_incident_from_being_closed(delivered: Site) -> None:
    site = delivered
    site.deliveries.put(KIOSKS, site.origin.tip())
    site.tick()
    site.deliveries.put(KIOSKS[:1], site.origin.tip(), State.DEGRADED, message="Deployment d: crash loop")
    site.tick(seconds=site.configuration.window.value)
    incident = site.incident()
    assert incident.phase is IncidentPhase.CONVERGED
    assert "Application argocd/kiosk-amer is degraded" in incident.escalated_because
    site.deliveries.put(KIOSKS[:1], site.origin.tip())
    site.tick()
    assert site.incident().phase is IncidentPhase.CLOSED


# ---------------------------------------------------------------- the parts


def one(**changes: object) -> Delivery:
    made: dict[str, object] = {"group": "g", "name": "Application a/g", "state": State.HEALTHY, **changes}
    return Delivery(**made)  # type: ignore[arg-type]  # fields of Delivery


def followed(*found: Delivery, groups: tuple[str, ...] = ("g",)) -> Journey:
    return trace(MERGED, "Application", groups, found, lambda commit, _: commit == MERGED)


AT_IT = {"seen": (MERGED,), "applied": (MERGED,)}
BEFORE = {"seen": (OLD,), "applied": (OLD,)}
CASES: dict[str, tuple[tuple[Delivery, ...], Stage, bool, str]] = {
    "there and well": ((one(**AT_IT),), Stage.HEALTHY, True, ""),
    "there, and some devices are away": ((one(**AT_IT, state=State.PROGRESSING),), Stage.SYNCED, True, ""),
    "there, and suspended since": ((one(**AT_IT, state=State.SUSPENDED, automatic=False),), Stage.SYNCED, True, ""),
    "there, and not automatic": ((one(**AT_IT, automatic=False),), Stage.HEALTHY, True, ""),
    "there and sick": ((one(**AT_IT, state=State.DEGRADED),), Stage.SYNCED, False, "is degraded"),
    "fetched": ((one(seen=(MERGED,), applied=(OLD,), state=State.PROGRESSING),), Stage.SEEN, False, ""),
    "fetched, and changed by hand": ((one(**AT_IT, state=State.OUT_OF_SYNC),), Stage.SEEN, False, ""),
    "not looked at": ((one(**BEFORE),), Stage.MERGED, False, ""),
    "never looked at": ((one(state=State.PROGRESSING),), Stage.MERGED, False, ""),
    "not rendered": ((one(state=State.UNKNOWN, message="F104"),), Stage.MERGED, False, "is unknown: F104"),
    "suspended before": ((one(**BEFORE, state=State.SUSPENDED, automatic=False),), Stage.MERGED, False, "is suspended"),
    "nobody will sync it": ((one(**BEFORE, automatic=False),), Stage.MERGED, False, "is not synced automatically"),
    "its source stands still": ((one(**BEFORE, message="FleetArtifact f"),), Stage.MERGED, False, "held up at"),
    "an artifact of no commit": ((one(seen=("sha256:" + "a" * 64,), applied=("x",)),), Stage.HEALTHY, True, ""),
    "two clusters, one behind": ((one(**AT_IT), one(**BEFORE)), Stage.MERGED, False, ""),
    "somebody else's": ((one(**AT_IT, group="other"),), Stage.MERGED, False, "no Application of the group g"),
}


@pytest.mark.parametrize("case", CASES)
def test_how_far_a_group_has_come(case: str) -> None:
    found, stage, arrived, trouble = CASES[case]
    journey = followed(*found)
    (leg,) = journey.legs
    assert (leg.stage, journey.has_arrived) == (stage, arrived)
    assert [journey.has_reached(each) for each in Stage] == [each <= stage for each in Stage]
    assert trouble in journey.trouble()
    assert bool(trouble) is bool(journey.trouble()) is bool(journey.signature())
    assert bool(late(journey)) is not arrived, "whoever is late can be told why"
    assert bool(journey.waiting()) is not arrived


def test_of_many_groups_a_few_are_named_and_all_are_counted() -> None:
    groups = tuple(f"g-{number}" for number in range(9))
    journey = followed(*(one(group=group, **AT_IT) for group in groups[:2]), groups=groups)
    assert journey.text() == f"commit {MERGED[:12]} is seen by 2 of 9 groups, synced by 2, healthy in 2"
    assert journey.trouble().endswith("; and 4 more")
    unread = Journey(MERGED, "Application", fault="403")
    assert (unread.has_arrived, unread.has_reached(Stage.MERGED), unread.signature()) == (False, False, "unread")
    told = late(followed(one(**BEFORE, at=1_795_348_800.0, next_step="look")))
    assert told == f"Application a/g has not looked at the commit at {OLD}, as of 2026-11-22 12:00:00 UTC (next: look)"
    assert late(unread) == "what Applications say of it is not known: 403"


def test_which_commits_carry_a_merge(tmp_path: Path) -> None:
    origin = Origin(tmp_path / "fleet.git")
    first = origin.tip()
    bad = origin.release()
    origin.edit(RELEASE, 'version: "1.2.0"', 'version: "1.1.0"')
    merged = origin.merge(BO, "Back")
    origin.edit(RELEASE, "cpu: 500m", "cpu: 400m")
    later = origin.merge(BO, "Less CPU")
    again = origin.release()
    origin.files["groups/broken.yaml"] = b"kind: [\n"
    broken = origin.merge(BO, "Broken")
    history = History(origin.repository, "")
    carrying = Carrying(history)

    def carries(commit: str) -> bool:
        return carrying.carries(merged, commit, "kiosk-emea", "triage", "1.2.0")

    verdicts = {name: carries(commit) for name, commit in locals_of(first, bad, merged, later, again, broken).items()}
    assert verdicts == {
        "first": True,  # the very bytes that were restored: a tool may name the commit that brought them first
        "bad": False,
        "merged": True,
        "later": True,
        "again": False,
        "broken": False,
    }
    assert not carries("c" * 40), "a commit of another repository"

    watch = DeliveryWatch(Deliveries(), history, lambda: 1.0, 60.0, frozenset({"nowhere"}))
    assert watch.journey(merged, KIOSKS, "triage", "1.2.0") is None, "no group is in a cluster that is covered"


def locals_of(*commits: str) -> dict[str, str]:
    return dict(zip(("first", "bad", "merged", "later", "again", "broken"), commits, strict=True))


def test_exactly_one_tool_is_asked(tmp_path: Path) -> None:
    import json

    from tests.bot.rig import settings

    def read(**section: object) -> None:
        read_configuration(json.dumps(settings(tmp_path, delivery=section)).encode(), tmp_path)

    for section, word in (
        ({}, "either argocd or flux"),
        ({"argocd": {}, "flux": {}}, "either argocd or flux"),
        ({"flux": {}, "limit": "0s"}, "a positive duration"),
        ({"flux": {"labels": "a=b;c"}}, "selector"),
    ):
        with pytest.raises(InputError) as caught:
            read(**section)
        assert word in str(caught.value.problems[0])
