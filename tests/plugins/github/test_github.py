"""`trimtab github` against a GitHub with state: one comment, kept up to date; a check bound to its commit."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from github import Auth

from tests.repositories import ScratchRepository
from tests.rigs.github import Fault, GitHubRig, User, github
from trimtab_config.cli import main
from trimtab_config.githost.github import connect
from trimtab_config.sources.folder import load_folder
from trimtab_kernel.problems import InputError, OutsideError
from trimtab_plugins.github.comments import marker, upsert

FLEET = Path(__file__).parents[3] / "examples" / "fleet"
APP = User("trimtab[bot]", 77, "ghs_app-token", "Bot")
EVE = User("eve", 13, "ghp_eve-token")


@dataclass
class Stand:
    """A fleet on GitHub with a pull request that gives kiosk-emea more devices."""

    rig: GitHubRig
    scratch: ScratchRepository
    token: Path

    def arguments(self, *more: str, command: str = "comment", head: str = "change") -> list[str]:
        return [
            *("github", command, "--repo", str(self.scratch.path), "--path", "fleet", "--base", "main", "--head", head),
            *("--repository", "acme/fleet", "--api-url", self.rig.base_url, "--token-file", str(self.token), *more),
        ]

    def bodies(self) -> list[str]:
        return [comment.body for _, comment in sorted(self.rig.comments.items())]


def fleet(**replaced: bytes) -> dict[str, bytes]:
    files = {f"fleet/{name}": content for name, content in load_folder(FLEET).items()}
    for old, new in replaced.items():
        files = {name: content.replace(old.replace("_", ": ").encode(), new) for name, content in files.items()}
    return files


@pytest.fixture
def stand(tmp_path: Path) -> Iterator[Stand]:
    scratch = ScratchRepository.create(tmp_path / "fleet.git")
    base = scratch.commit(fleet(), branch="main")
    scratch.commit(fleet(deviceCount_640=b"deviceCount: 700"), base, branch="change")
    scratch.commit({**fleet(), "fleet/bad.yaml": b"kind: [\n"}, base, branch="broken")
    token = tmp_path / "token"
    token.write_text(APP.token + "\n")
    with github(scratch.path, APP, EVE) as rig:
        client = connect(rig.base_url, Auth.Token(EVE.token), 0).get_repo("acme/fleet")
        for branch in ("change", "broken"):
            client.create_pull("main", branch, title=branch, body="")
        yield Stand(rig, scratch, token)


def test_the_comment_is_created_then_left_alone_then_updated(stand: Stand, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(stand.arguments("--pull", "1")) == 0
    shown = capsys.readouterr()
    (body,) = stand.bodies()
    assert body == f"{marker('fleet')}\n{shown.out}"
    assert "1 of 13 device groups change" in body
    assert "created http" in shown.err
    writes = len(stand.rig.writes())
    assert main(stand.arguments("--pull", "1")) == 0
    assert len(stand.rig.writes()) == writes, "an equal comment is not written again"
    tip = stand.scratch.tip("change")
    stand.scratch.commit(fleet(deviceCount_640=b"deviceCount: 800"), tip, branch="change")
    assert main(stand.arguments("--pull", "1")) == 0
    assert "updated http" in capsys.readouterr().err
    assert len(stand.bodies()) == 1
    assert APP.token not in shown.out + shown.err


def test_two_pull_requests_and_two_keys_never_touch_each_other(stand: Stand) -> None:
    assert main(stand.arguments("--pull", "1")) == 0
    assert main(stand.arguments("--pull", "2", head="broken")) == 1
    assert main(stand.arguments("--pull", "1", "--key", "other")) == 0
    numbers = [comment.number for _, comment in sorted(stand.rig.comments.items())]
    assert numbers == [1, 2, 1]
    first, broken, other = stand.bodies()
    assert "cannot be rendered" in broken
    assert "fleet/bad.yaml:" in broken
    assert first.partition("\n")[2] == other.partition("\n")[2]
    threads = [
        threading.Thread(target=main, args=(stand.arguments("--pull", number, head=head),))
        for number, head in (("1", "change"), ("2", "broken"), ("1", "change"))
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert stand.bodies() == [first, broken, other]


def test_a_marker_that_somebody_else_wrote_is_neither_read_nor_overwritten(stand: Stand) -> None:
    eve = connect(stand.rig.base_url, Auth.Token(EVE.token), 0).get_repo("acme/fleet")
    eve.get_issue(1).create_comment(f"{marker('fleet')}\neverything is fine")
    assert main(stand.arguments("--pull", "1")) == 0
    forged, ours = stand.bodies()
    assert forged.endswith("everything is fine")
    assert "device groups change" in ours


def test_a_comment_whose_author_is_gone_is_nobodys(stand: Stand, monkeypatch: pytest.MonkeyPatch) -> None:
    """GitHub's schema has no author then."""
    eve = connect(stand.rig.base_url, Auth.Token(EVE.token), 0).get_repo("acme/fleet")
    eve.get_issue(1).create_comment(f"{marker('fleet')}\nwritten before the account went")
    whole = stand.rig.comment_json
    gone = {"user": None}
    monkeypatch.setattr(stand.rig, "comment_json", lambda each: whole(each) | (gone if each.user.id == EVE.id else {}))
    assert main(stand.arguments("--pull", "1")) == 0
    assert main(stand.arguments("--pull", "1")) == 0
    assert len(stand.bodies()) == 2


def test_runs_at_once_leave_one_comment(stand: Stand) -> None:
    def call() -> None:
        repository = connect(stand.rig.base_url, Auth.Token(APP.token), 0).get_repo("acme/fleet")
        ready.wait(30)
        upsert(repository, APP.id, 1, "fleet", "text")

    ready = threading.Barrier(4)
    threads = [threading.Thread(target=call) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    repository = connect(stand.rig.base_url, Auth.Token(APP.token), 0).get_repo("acme/fleet")
    upsert(repository, APP.id, 1, "fleet", "text")
    assert stand.bodies() == [f"{marker('fleet')}\ntext"]


def test_a_lost_answer_is_no_second_comment(stand: Stand, capsys: pytest.CaptureFixture[str]) -> None:
    stand.rig.faults = [Fault("POST", "/comments$", 502, after=True)]
    assert main(stand.arguments("--pull", "1")) == 3
    assert "502" in capsys.readouterr().err
    assert main(stand.arguments("--pull", "1")) == 0
    assert len(stand.bodies()) == 1


def test_a_rate_limit_is_an_outside_failure_that_says_when(stand: Stand) -> None:
    message = "You have exceeded a secondary rate limit. Please wait a few minutes before you try again."
    stand.rig.faults = [Fault("POST", "/comments$", 403, headers={"Retry-After": "41"}, message=message)]
    repository = connect(stand.rig.base_url, Auth.Token(APP.token), 0).get_repo("acme/fleet")
    with pytest.raises(OutsideError) as caught:
        upsert(repository, APP.id, 1, "fleet", "text")
    assert caught.value.retry_after == 41


def test_without_a_pull_request_nothing_is_sent(
    stand: Stand, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    report = tmp_path / "report.json"
    before = len(stand.rig.log)
    assert main(stand.arguments("--report", str(report), "--format", "json")) == 0
    assert len(stand.rig.log) == before
    content = json.loads(report.read_text())
    assert content == json.loads(capsys.readouterr().out)
    assert [group["group"] for group in content["comparison"]["groups"]] == ["kiosk-emea"]
    assert main(stand.arguments("--format", "sarif", head="broken")) == 1
    sarif = json.loads(capsys.readouterr().out)
    assert (
        sarif["runs"][0]["results"][0]["locations"][0]["physicalLocation"]["artifactLocation"]["uri"]
        == "fleet/bad.yaml"
    )


def test_the_base_is_where_the_branch_began(stand: Stand, capsys: pytest.CaptureFixture[str]) -> None:
    """What others merged meanwhile is not this pull request's doing."""
    tip = stand.scratch.tip("main")
    stand.scratch.commit(fleet(deviceCount_910=b"deviceCount: 911"), tip, branch="main")
    assert main(stand.arguments("--format", "json")) == 0
    content = json.loads(capsys.readouterr().out)
    assert [group["group"] for group in content["comparison"]["groups"]] == ["kiosk-emea"]


def test_what_policy_warns_of_is_said_and_bars_nothing(stand: Stand, capsys: pytest.CaptureFixture[str]) -> None:
    """A release beyond its cost ceiling, whose policy only warns."""
    base = stand.scratch.tip("main")
    files = fleet()
    name = "fleet/deployments/digits.yaml"
    assert b'version: "2.1.0"' in files[name]
    files[name] = files[name].replace(b'version: "2.1.0"', b'version: "2.2.0"')
    stand.scratch.commit(files, base, branch="dear")
    assert main(stand.arguments(head="dear")) == 0
    shown = capsys.readouterr().out
    assert "| warning F502 |" in shown
    assert "`fleet/deployments/digits.yaml:" in shown


def test_exceptions_that_end_are_said_with_their_owner_and_bar_nothing(
    stand: Stand, capsys: pytest.CaptureFixture[str]
) -> None:
    policy = (
        b"apiVersion: apexlogic.ai/v1\nkind: FinOpsPolicy\nmetadata: {name: trial}\nspec:\n  exceptions:\n"
        b"    - {rule: finops.cpu-cap, owner: finance, reason: new cameras, until: 2026-12-31, groups: [cam-emea]}\n"
    )
    stand.scratch.commit({**fleet(), "fleet/trial.yaml": policy}, stand.scratch.tip("main"), branch="ending")
    for day, title in (("2026-12-01", ""), ("2026-12-20", "exception ends soon"), ("2027-01-01", "exception is over")):
        assert main(stand.arguments("--as-of", day, head="ending")) == 0
        said = capsys.readouterr().out
        assert ("finance answers for it: new cameras" in said) == bool(title)
        assert title in said
        assert ("fleet/trial.yaml:6" in said) == bool(title)


def test_a_check_is_bound_to_the_commit_and_written_once(stand: Stand) -> None:
    for _ in range(2):
        assert main(stand.arguments(command="check")) == 0
    assert main(stand.arguments(command="check", head="broken")) == 1
    good, bad = stand.rig.checks.values()
    assert (good["head_sha"], good["conclusion"]) == (stand.scratch.tip("change"), "success")
    assert (bad["head_sha"], bad["conclusion"]) == (stand.scratch.tip("broken"), "failure")
    (annotation, *_) = bad["output"]["annotations"]
    assert (annotation["path"], annotation["annotation_level"]) == ("fleet/bad.yaml", "failure")


def test_a_token_that_is_no_app_writes_a_status(stand: Stand) -> None:
    stand.token.write_text(EVE.token)
    assert main(stand.arguments(command="check")) == 0
    (status,) = stand.rig.statuses
    assert (status["state"], status["context"], status["sha"]) == ("success", "trimtab", stand.scratch.tip("change"))


@pytest.mark.parametrize("key", ["", "A", "a--b", "a -->", "-a", "x" * 101, "ä"])
def test_a_key_that_could_end_the_marker_is_refused(key: str) -> None:
    with pytest.raises(InputError, match="A701"):
        marker(key)


def test_mistakes_are_named(stand: Stand, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    assert main(stand.arguments(head="nowhere")) == 1
    assert "A601" in capsys.readouterr().err
    stand.token.write_text("")
    assert main(stand.arguments("--pull", "1")) == 1
    assert "A702" in capsys.readouterr().err
    stand.token.write_text("ghs_wrong")
    assert main(stand.arguments("--pull", "1")) == 3
    shown = capsys.readouterr().err
    assert "401" in shown
    assert "ghs_wrong" not in shown
    monkeypatch.delenv("GITHUB_REPOSITORY", raising=False)
    assert main(["github", "comment", "--base", "main", "--pull", "1"]) == 64


def measured(tmp_path: Path, amount: str) -> Path:
    """What a day of kiosk-emea cost, as trimtab allocate prints it."""
    file = tmp_path / "measured.json"
    rows = [{"group": "kiosk-emea", "currency": "EUR", "parts": {"device": amount, "idle": "1"}}]
    groups = [{"group": "kiosk-emea", "currency": "EUR", "deviceHours": 16_800, "unreportedHours": 0}]
    period = {"from": "2026-11-01T00:00:00Z", "to": "2026-11-02T00:00:00Z"}
    file.write_text(json.dumps({"period": period, "rows": rows, "groups": groups}))
    return file


def test_the_same_comment_is_graded_and_an_equal_grade_is_not_written(
    stand: Stand, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(stand.arguments("--pull", "1")) == 0
    assert main(stand.arguments("--pull", "2", head="broken")) == 1
    promised, broken = stand.bodies()
    capsys.readouterr()
    place = ("--repository", "acme/fleet", "--api-url", stand.rig.base_url, "--token-file", str(stand.token))

    def grade(amount: str, pull: str = "1", *more: str) -> int:
        return main(["github", "grade", *place, "--pull", pull, "--measured", str(measured(tmp_path, amount)), *more])

    assert grade("882") == 0
    shown = capsys.readouterr()
    assert "updated http" in shown.err
    assert "### Graded with what devices measured: 1 of 1 measured group within its bounds" in shown.out
    graded, other = stand.bodies()
    assert (graded, other) == (shown.out, broken), "the other pull request's comment is not touched"
    writes = len(stand.rig.writes())
    assert grade("882", "1", "--format", "json") == 0
    assert json.loads(capsys.readouterr().out)["within"] == 1
    assert main(stand.arguments("--pull", "1")) == 0, "the comment written anew promises the same"
    assert len(stand.rig.writes()) == writes
    assert grade("1500") == 0
    assert stand.bodies()[0].count("### Graded") == 1
    assert "**above** its bounds" in stand.bodies()[0]
    assert grade("882", "2") == 1, "what cannot be rendered promised nothing"
    assert "A704" in capsys.readouterr().err
    assert grade("882", "1", "--key", "other") == 1
    assert "A704" in capsys.readouterr().err
    tip = stand.scratch.tip("change")
    stand.scratch.commit(fleet(deviceCount_640=b"deviceCount: 800"), tip, branch="change")
    assert main(stand.arguments("--pull", "1")) == 0
    assert "### Graded" not in stand.bodies()[0], "another promise was not measured"
    assert promised.partition("\n")[0] == stand.bodies()[0].partition("\n")[0]


def test_a_printed_comment_is_graded_without_a_host(
    stand: Stand, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """For a merge request on GitLab, whose note somebody else keeps."""
    before = len(stand.rig.log)
    assert main(stand.arguments()) == 0
    comment = tmp_path / "comment.md"
    comment.write_text(capsys.readouterr().out)
    asked = ["github", "grade", "--comment", str(comment), "--measured"]
    assert main([*asked, str(measured(tmp_path, "882"))]) == 0
    assert "1 of 1 measured group within its bounds" in capsys.readouterr().out
    assert len(stand.rig.log) == before
    assert main([*asked, str(comment)]) == 1
    assert "A703" in capsys.readouterr().err
