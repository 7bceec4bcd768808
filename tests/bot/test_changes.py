"""Which change brought a version, and which earlier state was good: over real history."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.bot.rig import BO, KIOSKS, MARA, RELEASE, START, Origin
from trimtab_bot.changes.history import History
from trimtab_bot.changes.likely import Moves, find_moves
from trimtab_bot.changes.verified import GoodState, last_good_state
from trimtab_bot.proposing import branch_name, proposal_key
from trimtab_bot.records import VerifiedState
from trimtab_config.git.refs import branch_ref

if TYPE_CHECKING:
    from pathlib import Path

KIOSK, GATEWAY = "EdgeAIDeployment clinics/triage-kiosks", "EdgeAIDeployment clinics/triage-gateways"


@pytest.fixture
def origin(tmp_path: Path) -> Origin:
    return Origin(tmp_path / "fleet.git")


def history(origin: Origin) -> History:
    return History(origin.repository, "")


def moves(origin: Origin, version: str = "1.2.0", limit: int = 100) -> Moves:
    return find_moves(history(origin), origin.tip(), "triage", version, limit)


def shas(found: Moves) -> list[tuple[str, tuple[str, ...]]]:
    return [(move.commit.sha, move.deployments) for move in found.moves]


def test_the_merge_that_moved_the_deployment_is_named(origin: Origin) -> None:
    bad = origin.release()
    origin.edit("prices/2026-q4.yaml", "currency: EUR", "currency: EUR # checked")
    origin.commit(MARA, "A remark")
    assert moves(origin) == Moves(moves(origin).moves, ())
    assert shas(moves(origin)) == [(bad, (KIOSK,))]
    assert moves(origin).moves[0].parent == origin.head


def test_a_move_that_was_taken_back_is_not_the_cause(origin: Origin) -> None:
    origin.release()
    origin.edit(RELEASE, 'version: "1.2.0"', 'version: "1.1.0"')
    origin.commit(MARA, "Back")
    assert shas(moves(origin)) == []
    again = origin.release(who=BO)
    assert shas(moves(origin)) == [(again, (KIOSK,))]


def test_another_text_another_file_or_another_field_is_no_move(origin: Origin) -> None:
    bad = origin.release()
    origin.files["deployments/kiosks.yaml"] = origin.files.pop(RELEASE)
    origin.commit(MARA, "Another file")
    origin.edit("deployments/kiosks.yaml", "cpu: 500m", "cpu: 600m # room to breathe")
    origin.commit(MARA, "More room")
    assert shas(moves(origin)) == [(bad, (KIOSK,))]


def test_each_deployment_has_a_move_of_its_own_newest_first(origin: Origin) -> None:
    kiosks, gateways = origin.files[RELEASE].decode().split("\n---\n")
    origin.files[RELEASE] = f"{kiosks}\n---\n{gateways.replace('1.1.0', '1.2.0')}".encode()
    first = origin.merge(MARA, "Gateways")
    second = origin.release()
    assert shas(moves(origin)) == [(second, (KIOSK,)), (first, (GATEWAY,))]


def test_a_stable_version_is_asked_for_as_well(origin: Origin) -> None:
    origin.edit(RELEASE, 'stable: {version: "1.0.0"}', 'stable: {version: "1.2.0"}')
    moved = origin.commit(BO, "Another stable version")
    assert shas(moves(origin)) == [(moved, (GATEWAY,))]


def test_the_first_commit_of_all_is_a_move_too(origin: Origin) -> None:
    (move,) = moves(origin, "1.1.0").moves
    assert (move.commit.sha, move.parent) == (origin.head, None)


def test_what_moved_before_the_searched_commits_is_unexplained(origin: Origin) -> None:
    origin.release()
    for number in range(3):
        origin.edit("prices/2026-q4.yaml", "currency: EUR", f"currency: EUR # {number}")
        origin.commit(MARA, "A remark")
    assert moves(origin, limit=3) == Moves((), (KIOSK,))
    assert len(moves(origin, limit=4).moves) == 1


def test_a_fleet_in_a_folder_of_a_larger_repository(tmp_path: Path) -> None:
    origin = Origin(tmp_path / "fleet.git")
    origin.files = {f"infra/fleet/{name}": content for name, content in origin.files.items()}
    origin.files["other/deployments.yaml"] = b"a: 1\n"
    origin.commit(MARA, "Moved into a folder")
    origin.files[f"infra/fleet/{RELEASE}"] = origin.files[f"infra/fleet/{RELEASE}"].replace(b"1.1.0", b"1.2.0", 1)
    bad = origin.commit(BO, "Triage 1.2.0")
    found = find_moves(History(origin.repository, "infra/fleet"), bad, "triage", "1.2.0", 10)
    assert shas(found) == [(bad, (KIOSK,))]


# ---------------------------------------------------------------- the last verified state


def states(fleet: History, commit: str, groups: tuple[str, ...] = KIOSKS) -> list[VerifiedState]:
    """What the bot would have recorded at this commit, had these groups been fine."""
    placements = fleet.fleet(commit).placements
    return [
        VerifiedState("triage", group, commit, str(placements["triage", group].source_digest), ("1.1.0",), START)
        for group in groups
    ]


def good(origin: Origin, parent: str, found: list[VerifiedState], reporting: tuple[str, ...] = KIOSKS) -> GoodState:
    return last_good_state(history(origin), parent, "triage", KIOSKS, reporting, found, 100)


def test_the_newest_verified_commit_before_the_change_is_taken(origin: Origin) -> None:
    fleet = history(origin)
    old = origin.tip()
    origin.edit(RELEASE, "cpu: 500m", "cpu: 600m")
    newer = origin.commit(MARA, "More room")
    origin.edit(RELEASE, "cpu: 600m", "cpu: 700m")
    parent = origin.commit(MARA, "Still more room")
    bad = origin.release()
    found = good(origin, parent, [*states(fleet, old), *states(fleet, newer), *states(fleet, bad)])
    assert found == GoodState(newer, tuple(sorted(KIOSKS)), ())
    assert found.is_verified_for(KIOSKS)


def test_a_commit_where_all_that_report_are_verified_is_preferred(origin: Origin) -> None:
    fleet = history(origin)
    old = origin.tip()
    origin.edit(RELEASE, "cpu: 500m", "cpu: 600m")
    newer = origin.commit(MARA, "More room")
    known = [*states(fleet, old), *states(fleet, newer, ("kiosk-emea",))]
    assert good(origin, newer, known).commit == old
    assert good(origin, newer, known, ("kiosk-emea",)).commit == newer


def test_a_group_is_verified_by_another_commit_with_the_same_objects(origin: Origin) -> None:
    fleet = history(origin)
    old = origin.tip()
    origin.edit("prices/2026-q4.yaml", "currency: EUR", "currency: EUR # checked")
    newer = origin.commit(MARA, "A remark")
    known = [*states(fleet, old, KIOSKS[:3]), *states(fleet, newer, KIOSKS[3:])]
    assert good(origin, newer, known) == GoodState(newer, tuple(sorted(KIOSKS)), ())


def test_a_silent_group_does_not_spoil_it_and_is_named(origin: Origin) -> None:
    found = good(origin, origin.tip(), states(history(origin), origin.tip(), KIOSKS[:3]), KIOSKS[:3])
    assert found.unverified_groups == KIOSKS[3:]
    assert found.is_verified_for(KIOSKS[:3])
    assert not found.is_verified_for(KIOSKS)


def test_without_any_record_the_parent_is_taken_unverified(origin: Origin) -> None:
    found = good(origin, origin.tip(), [])
    assert found == GoodState(origin.tip(), (), tuple(sorted(KIOSKS)))
    assert not found.is_verified_for(())


def test_another_models_record_is_no_record(origin: Origin) -> None:
    digest = str(history(origin).fleet(origin.tip()).placements["triage", "kiosk-emea"].source_digest)
    other = VerifiedState("digits", "kiosk-emea", origin.tip(), digest, ("2.1.0",), START)
    assert good(origin, origin.tip(), [other]).verified_groups == ()


# ---------------------------------------------------------------- names on the Git host


@pytest.mark.parametrize("version", ["1.2.0", "1.2.0-rc.1+build.lock", "1.2.0-x.lock", "9" * 10 + ".1.1-" + "a" * 100])
@pytest.mark.parametrize("model", ["triage", "a.lock", "x" * 253, "m.v2.pt"])
def test_every_model_and_version_gives_a_key_and_a_branch_that_git_takes(model: str, version: str) -> None:
    key = proposal_key("rollback", model, version, "a" * 40, 3)
    assert len(key) <= 160
    assert branch_ref(branch_name(key))
    assert key != proposal_key("rollback", model, version, "a" * 40, 4)
    assert key != proposal_key("rollback", model, version, "b" * 40, 3)
