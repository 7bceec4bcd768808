"""One comment on a pull request that is kept up to date, and nobody else's is ever touched.

Ours is the one whose first line is exactly the marker with our key and whose author is our account: a marker that somebody
else wrote counts for nothing. Nothing is written where the text is equal. Two runs at once may both create one; the next
run (and the slower of the two) removes what is double, the oldest stays.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from github import UnknownObjectException

from trimtab_config.githost.github_reading import outside
from trimtab_kernel.problems import InputError, Problem, quoted

if TYPE_CHECKING:
    from github.Issue import Issue
    from github.IssueComment import IssueComment
    from github.Repository import Repository

_KEY = re.compile(r"[a-z0-9][a-z0-9._/-]{0,99}", re.ASCII)


@dataclass(frozen=True, slots=True)
class Written:
    """What became of the comment: ``created``, ``updated`` or ``unchanged``."""

    what: str
    url: str


def marker(key: str) -> str:
    """The first line of the comment. Raises InputError (A701) for a key that could be read in two ways."""
    if _KEY.fullmatch(key) is None or "--" in key:
        expected = "1 to 100 of a-z, 0-9, '.', '_', '/' and single '-', a letter or digit first"
        raise InputError(Problem("A701", field="--key", got=quoted(key), expected=expected))
    return f"<!-- trimtab:comment:1:{key} -->"


def upsert(repository: Repository, account: int, number: int, key: str, text: str) -> Written:
    """Make the comment of ``key`` on pull request ``number`` say ``text``. Raises OutsideError."""
    first = marker(key)
    body = f"{first}\n{text}"
    with outside(f"cannot write the comment on pull request {number}"):
        issue = repository.get_issue(number)
        own = _own(issue, account, first)
        if not own:
            issue.create_comment(body)
            own = _own(issue, account, first)
            _remove(own[1:])
            return Written("created", own[0].html_url)
        kept = own[0]
        _remove(own[1:])
        if kept.body.replace("\r\n", "\n") == body:
            return Written("unchanged", kept.html_url)
        kept.edit(body)
        return Written("updated", kept.html_url)


def _own(issue: Issue, account: int, first: str) -> list[IssueComment]:
    found = [
        comment
        for comment in issue.get_comments()
        if comment.user.id == account and comment.body.replace("\r\n", "\n").partition("\n")[0] == first
    ]
    return sorted(found, key=lambda comment: comment.id)


def _remove(doubles: list[IssueComment]) -> None:
    for comment in doubles:
        try:
            comment.delete()
        except UnknownObjectException:  # another run was faster
            continue
