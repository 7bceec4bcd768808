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
from trimtab_config.text.gradings import with_grade_of
from trimtab_kernel.problems import InputError, Problem, quoted

if TYPE_CHECKING:
    from collections.abc import Callable

    from github.Issue import Issue
    from github.IssueComment import IssueComment
    from github.NamedUser import NamedUser
    from github.Organization import Organization
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
    """Make the comment of ``key`` on pull request ``number`` say ``text``. Raises OutsideError.

    Where it was graded already and promises the same as before, the grade stays.
    """
    first = marker(key)
    body = f"{first}\n{text}"
    with outside(f"cannot write the comment on pull request {number}"):
        issue = repository.get_issue(number)
        own = _own(issue, account, first)
        if not own:
            created = issue.create_comment(body)
            # A list that does not have it yet is no error: the next run finds what is double.
            own = _own(issue, account, first)
            _remove(own[1:])
            return Written("created", (own[0] if own else created).html_url)
        kept = own[0]
        _remove(own[1:])
        return _edited(kept, with_grade_of(kept.body, body))


def regrade(repository: Repository, account: int, number: int, key: str, graded: Callable[[str], str]) -> Written:
    """Make the comment of ``key`` what ``graded`` makes of it. Raises InputError (A704) where there is none, OutsideError."""
    first = marker(key)
    with outside(f"cannot grade the comment on pull request {number}"):
        own = _own(repository.get_issue(number), account, first)
        if not own:
            got = f"no comment of this account and key on pull request {number}"
            raise InputError(Problem("A704", got=got, expected="one that trimtab github comment wrote"))
        return _edited(own[0], graded(own[0].body))


def _edited(comment: IssueComment, body: str) -> Written:
    if comment.body.replace("\r\n", "\n") == body:
        return Written("unchanged", comment.html_url)
    comment.edit(body)
    return Written("updated", comment.html_url)


def _own(issue: Issue, account: int, first: str) -> list[IssueComment]:
    found = [
        comment
        for comment in issue.get_comments()
        if _author(comment) == account and comment.body.replace("\r\n", "\n").partition("\n")[0] == first
    ]
    return sorted(found, key=lambda comment: comment.id)


def _author(comment: IssueComment) -> int | None:
    """The account that wrote it; None where the account is gone, of which GitHub then says nothing."""
    user: NamedUser | Organization | None = comment.user
    return None if user is None else user.id


def _remove(doubles: list[IssueComment]) -> None:
    for comment in doubles:
        try:
            comment.delete()
        except UnknownObjectException:  # another run was faster
            continue
