"""bot.yaml: every mistake is named at its line, and what is missing has a sound default."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.bot.rig import PEOPLE, TOKENS, settings
from trimtab_bot.configuration import (
    Configuration,
    PrometheusSettings,
    ScrapeSettings,
    load_configuration,
    read_configuration,
)
from trimtab_bot.persons import Role
from trimtab_kernel.problems import InputError
from trimtab_kernel.rules import Window

HERE = Path("/srv/trimtab")


def read(**changes: object) -> Configuration:
    return read_configuration(json.dumps(settings(HERE, **changes)).encode(), HERE)


def problems(**changes: object) -> list[tuple[str, str]]:
    """Code and field of everything that is wrong; a change of None leaves the field out."""
    value = {key: item for key, item in settings(HERE, **changes).items() if item is not None}
    with pytest.raises(InputError) as caught:
        read_configuration(json.dumps(value, indent=1).encode(), HERE)
    return [(problem.code, problem.field) for problem in caught.value.problems]


def test_what_is_left_out_has_a_default() -> None:
    content = json.dumps(
        {
            "repository": "fleet.git",
            "state": "state",
            "metrics": {"prometheus": {"url": "http://127.0.0.1:9090"}},
            "people": PEOPLE,
        }
    )
    found = read_configuration(content.encode(), HERE)
    assert (found.repository, found.state) == (HERE / "fleet.git", HERE / "state")
    assert (found.branch, found.path, found.window, found.tick) == ("main", "", Window.MINUTES_5, 10)
    assert found.freshness == 30
    assert (found.approval.quorum, found.approval.expiry) == (1, 4 * 3600)
    assert (found.inbox_host, found.inbox_port) == ("127.0.0.1", 0)
    assert found.metrics == PrometheusSettings("http://127.0.0.1:9090", None, None)


def test_persons_are_read_with_their_identities_token_and_roles() -> None:
    people = read().people
    ada = people.person("ada")
    assert ada is not None
    assert ada.roles == {Role.APPROVER}
    assert [str(identity) for identity in ada.git] == ["Ada Moreau <ada@example.com>"]
    found = people.by_token(TOKENS["ada"])
    assert found is not None
    assert found.id == "ada"


def test_without_roles_a_person_only_sees() -> None:
    viewer: dict[str, Any] = {key: value for key, value in PEOPLE[3].items() if key != "roles"}
    people = read(people=[*PEOPLE[:3], viewer]).people
    found = people.by_id("cy")
    assert found is not None
    assert not found.may_decide


def test_a_token_may_be_written_with_its_algorithm() -> None:
    one = {**PEOPLE[0], "tokenSha256": "sha256:" + PEOPLE[0]["tokenSha256"]}
    found = read(people=[one]).people.by_token(TOKENS["mara"])
    assert found is not None


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"repository": None}, [("F106", "repository")]),
        ({"reposirory": "x"}, [("F105", "reposirory")]),
        ({"tick": "0s"}, [("B103", "tick")]),
        ({"tick": "2h"}, [("B103", "tick")]),
        ({"tick": 5}, [("F113", "tick")]),
        ({"window": "7m"}, [("F104", "window")]),
        ({"branch": "a..b"}, [("F104", "branch")]),
        ({"metrics": {}}, [("B103", "metrics")]),
        (
            {"metrics": {"prometheus": {"url": "http://x"}, "scrape": {"targets": "t.json"}}},
            [("B103", "metrics")],
        ),
        ({"metrics": {"scrape": {"targets": "t.json", "interval": "0s"}}}, [("B103", "metrics.scrape.interval")]),
        ({"approval": {"quorum": 0}}, [("F104", "approval.quorum")]),
        ({"approval": {"quorum": 9}}, [("B108", "approval.quorum")]),
        ({"approval": {"expiry": "0s"}}, [("B103", "approval.expiry")]),
        ({"window": "1h", "recovery": {"limit": "30m"}}, [("B103", "recovery.limit")]),
        ({"alarms": {"falseAlarms": 0.6}}, [("B103", "alarms")]),
        ({"people": []}, [("F116", "people")]),
        ({"people": [{**PEOPLE[0], "git": ["no address"]}]}, [("F104", "people[0].git[0]")]),
        ({"people": [{**PEOPLE[0], "tokenSha256": "abc"}]}, [("F104", "people[0].tokenSha256")]),
        ({"people": [{**PEOPLE[0], "roles": ["boss"]}]}, [("F104", "people[0].roles[0]")]),
        (
            {"people": [PEOPLE[0], {**PEOPLE[1], "tokenSha256": PEOPLE[0]["tokenSha256"]}]},
            [("B105", "people[1].tokenSha256")],
        ),
        ({"people": [PEOPLE[0], {**PEOPLE[1], "git": PEOPLE[0]["git"]}]}, [("B106", "people[1].git")]),
        ({"people": [PEOPLE[0], {**PEOPLE[1], "id": "mara"}]}, [("B104", "people[1].id")]),
    ],
)
def test_a_mistake_is_named(changes: dict[str, object], expected: list[tuple[str, str]]) -> None:
    assert problems(**changes) == expected


def test_the_bot_is_no_approver_under_any_name() -> None:
    """A person who lists the bot's Git identity does not help to reach the quorum."""
    robot = PEOPLE[-1]
    assert problems(people=[PEOPLE[0], robot], approval={"quorum": 2}) == [("B108", "approval.quorum")]


def test_help_is_called_after_three_windows_at_least() -> None:
    assert read(window="5m").recovery_limit == 1800
    assert read(window="1h").recovery_limit == 3 * 3600
    assert read(window="1h", recovery={"limit": "2h"}).recovery_limit == 2 * 3600


def test_several_mistakes_are_told_at_once_with_their_lines() -> None:
    content = json.dumps(settings(HERE, tick="0s", metrics={}, approval={"expiry": "0s"}), indent=1)
    with pytest.raises(InputError) as caught:
        read_configuration(content.encode(), HERE)
    assert [problem.field for problem in caught.value.problems] == ["tick", "metrics", "approval.expiry"]
    lines = content.splitlines()
    assert all(problem.field.split(".")[-1] in lines[problem.line - 1] for problem in caught.value.problems)


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="B101"):
        load_configuration(tmp_path / "none.yaml")


def test_relative_paths_are_relative_to_the_file(tmp_path: Path) -> None:
    (tmp_path / "etc").mkdir()
    value = settings(tmp_path, repository="../fleet.git", metrics={"scrape": {"targets": "targets.json"}})
    (tmp_path / "etc" / "bot.yaml").write_text(json.dumps(value))
    found = load_configuration(tmp_path / "etc" / "bot.yaml")
    assert found.repository.resolve() == tmp_path / "fleet.git"
    assert found.metrics == ScrapeSettings(tmp_path / "etc" / "targets.json", 5.0)
