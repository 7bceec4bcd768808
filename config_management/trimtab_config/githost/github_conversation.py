"""What is said on GitHub's pull requests, read by conditional requests, and answered once.

An answer carries its key in its hidden first line; ours are those of our own account, so a line that somebody else wrote
keeps nothing from being said. Nothing is sent a second time where the first answer was lost: it is looked for first.
"""

from __future__ import annotations

import re
import urllib.parse
from datetime import datetime
from typing import TYPE_CHECKING, Any

from github import GithubException

from trimtab_config.githost.conversation import Check, CheckState, HostReview, Opinion, Remark
from trimtab_config.githost.github_reading import ConditionalReader, RateGate, outside
from trimtab_kernel.problems import OutsideError

if TYPE_CHECKING:
    from github import Github

_KEY = re.compile(r"[a-z0-9][a-z0-9/-]{0,99}", re.ASCII)
_OPINIONS = {
    "APPROVED": Opinion.APPROVED,
    "CHANGES_REQUESTED": Opinion.CHANGES_REQUESTED,
    "DISMISSED": Opinion.DISMISSED,
    "COMMENTED": Opinion.COMMENTED,
}
MAX_TEXT = 60_000
_MAX_TITLE = 140
_FORBIDDEN, _NOT_FOUND = 403, 404


class GitHubConversation:
    """A :class:`trimtab_config.githost.conversation.Conversation` over one repository."""

    def __init__(self, client: Github, repository: str, account: int, gate: RateGate | None = None) -> None:
        """``account`` is the numeric id of the account that ``client`` acts as; ``gate`` is shared with the host."""
        self._client = client
        self._path = f"/repos/{repository}"
        self._account = account
        self._gate = gate or RateGate()
        self._reader = ConditionalReader(client)
        self._says: dict[tuple[str, str], Check] = {}

    def remarks(self, number: int) -> tuple[Remark, ...]:
        """See the port."""
        with outside(f"cannot read the comments on pull request {number}", self._gate), _whole("a comment"):
            found = self._reader.all(f"{self._path}/issues/{number}/comments")
            return tuple(sorted(map(_remark, found), key=lambda remark: remark.id))

    def reviews(self, number: int) -> tuple[HostReview, ...]:
        """See the port. A review that is not submitted yet is its writer's own affair."""
        with outside(f"cannot read the reviews of pull request {number}", self._gate), _whole("a review"):
            found = self._reader.all(f"{self._path}/pulls/{number}/reviews")
            views = [_review(each) for each in found if each["state"] in _OPINIONS and each.get("user")]
            return tuple(sorted(views, key=lambda review: review.id))

    def answer(self, number: int, key: str, text: str) -> None:
        """See the port."""
        if _KEY.fullmatch(key) is None or "--" in key:
            raise ValueError(f"not a key: {key!r}")
        first = f"<!-- trimtab:answer:1:{key} -->"
        with outside(f"cannot answer on pull request {number}", self._gate):
            for known in self._reader.all(f"{self._path}/issues/{number}/comments"):
                line = str(known["body"] or "").replace("\r\n", "\n").partition("\n")[0]
                if line == first and (known.get("user") or {}).get("id") == self._account:
                    return
            body = {"body": f"{first}\n{text[:MAX_TEXT]}"}
            self._client.requester.requestJsonAndCheck("POST", f"{self._path}/issues/{number}/comments", input=body)

    def check(self, commit: str, check: Check) -> str:
        """See the port. A check run where the token belongs to an App, else a commit status."""
        if self._says.get((commit, check.name)) == check:
            return "unchanged"
        with outside(f"cannot write the check of {commit[:12]}", self._gate):
            try:
                how = self._check_run(commit, check)
            except GithubException as error:
                # The token of a person or of a fine-grained grant may write statuses alone; a limit is no such refusal.
                limited = {str(key).lower() for key in error.headers or {}} & {"retry-after"}
                if error.status not in (_FORBIDDEN, _NOT_FOUND) or limited or "rate limit" in str(error.data).lower():
                    raise
                how = self._status(commit, check)
        self._says[commit, check.name] = check
        while len(self._says) > 256:
            del self._says[next(iter(self._says))]
        return how

    def _check_run(self, commit: str, check: Check) -> str:
        done = check.state is not CheckState.WAITING
        wanted: dict[str, Any] = {
            "status": "completed" if done else "in_progress",
            "output": {"title": check.title[:_MAX_TITLE], "summary": check.summary[:MAX_TEXT]},
        }
        if done:
            wanted["conclusion"] = check.state.value
        _, content = self._reader.get(
            f"{self._path}/commits/{commit}/check-runs?check_name={urllib.parse.quote(check.name, safe='')}&per_page=100"
        )
        runs = [run for run in content["check_runs"] if run["head_sha"] == commit and run["name"] == check.name]
        ask = self._client.requester.requestJsonAndCheck
        if not runs:
            ask("POST", f"{self._path}/check-runs", input={"name": check.name, "head_sha": commit, **wanted})
        elif any(
            (run.get("output") or {}).get("title") != wanted["output"]["title"]
            or (run.get("output") or {}).get("summary") != wanted["output"]["summary"]
            or run.get("status") != wanted["status"]
            or (done and run.get("conclusion") != wanted["conclusion"])
            for run in runs[:1]
        ):
            ask("PATCH", f"{self._path}/check-runs/{runs[0]['id']}", input=wanted)
        return "check run"

    def _status(self, commit: str, check: Check) -> str:
        _, content = self._reader.get(f"{self._path}/commits/{commit}/status?per_page=100")
        wanted = {"state": check.state.value, "context": check.name, "description": check.title[:_MAX_TITLE]}
        for known in content["statuses"]:  # the newest of each context
            if all(known.get(key) == value for key, value in wanted.items()):
                return "status"
        self._client.requester.requestJsonAndCheck("POST", f"{self._path}/statuses/{commit}", input=wanted)
        return "status"


class _whole:  # noqa: N801 - reads as a statement
    """An answer that lacks what every such answer has is the outside's failure, and never half believed."""

    def __init__(self, what: str) -> None:
        self._what = what

    def __enter__(self) -> None:
        """Nothing to prepare."""

    def __exit__(self, _: object, error: BaseException | None, __: object) -> None:
        if isinstance(error, (KeyError, TypeError, ValueError)):
            raise OutsideError(f"GitHub's answer about {self._what} is not whole; try again") from error


def _remark(found: Any) -> Remark:  # noqa: ANN401 - GitHub's JSON
    user = found["user"] or {"id": 0, "login": "ghost", "type": "User"}
    return Remark(
        id=_number(found["id"]),
        account=_number(user["id"]),
        login=str(user["login"]),
        body=str(found["body"] or ""),
        at=_moment(found["created_at"]),
        edited=found["created_at"] != found["updated_at"],
        by_program=user.get("type") != "User" or found.get("performed_via_github_app") is not None,
    )


def _review(found: Any) -> HostReview:  # noqa: ANN401 - GitHub's JSON
    user = found["user"]
    return HostReview(
        id=_number(found["id"]),
        account=_number(user["id"]),
        login=str(user["login"]),
        opinion=_OPINIONS[found["state"]],
        commit=str(found["commit_id"] or ""),
        body=str(found["body"] or ""),
        at=_moment(found["submitted_at"]),
        by_program=user.get("type") != "User",
    )


def _number(value: object) -> int:
    if not isinstance(value, int) or isinstance(value, bool):
        raise TypeError("expected a number")
    return value


def _moment(text: str) -> datetime:
    return datetime.fromisoformat(text)
