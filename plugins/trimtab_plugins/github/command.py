"""``trimtab github``: what a pull request changes, said where people review it."""

from __future__ import annotations

import datetime
import json
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from trimtab_config.cli.dates import date
from trimtab_kernel.commandline import Command
from trimtab_kernel.problems import ExitCode, InputError, Problem

if TYPE_CHECKING:
    import argparse

    from github import Github
    from github.Repository import Repository

    from trimtab_config.review import Review

_API = "https://api.github.com"
_ACTIONS_ACCOUNT = 41898282
"""The account that the token of a GitHub Actions run acts as: github-actions[bot]."""
_MAX_TOKEN = 4096
_MAX_COMMENT = 512 * 1024
_FORBIDDEN = 403


def _configure_review(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--repo", type=Path, default=Path(), metavar="DIR", help="the clone (default: here)")
    parser.add_argument(
        "--path", default="", metavar="SUBFOLDER", help="where the fleet lies in it (default: its root)"
    )
    parser.add_argument("--base", required=True, metavar="REV", help="the branch that the change is for")
    parser.add_argument("--head", default="HEAD", metavar="REV", help="the change (default: HEAD)")
    parser.add_argument("--report", type=Path, metavar="FILE", help="write the whole report there, as JSON")
    parser.add_argument(
        "--as-of",
        type=date,
        metavar="DATE",
        help="tell of exceptions that are over on this day, or soon will be, not today",
    )


def _configure_github(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--repository", metavar="OWNER/NAME", default=os.environ.get("GITHUB_REPOSITORY"))
    parser.add_argument(
        "--api-url",
        metavar="URL",
        default=os.environ.get("GITHUB_API_URL", _API),
        help="of GitHub or Enterprise Server",
    )
    parser.add_argument(
        "--token-file", type=Path, metavar="F", help="the token's file (default: the variable GITHUB_TOKEN)"
    )


def _configure_comment(parser: argparse.ArgumentParser) -> None:
    _configure_review(parser)
    _configure_github(parser)
    parser.add_argument("--pull", type=int, metavar="N", help="the pull request; without it nothing is sent")
    parser.add_argument("--key", default="fleet", help="tells several comments on one pull request apart")
    parser.add_argument(
        "--account", type=int, metavar="ID", help="numeric id of the token's account, where it may not ask for it"
    )
    parser.add_argument(
        "--format", choices=("markdown", "json", "sarif"), default="markdown", help="what is printed on stdout"
    )
    parser.set_defaults(usage_error=parser.error)


def _configure_check(parser: argparse.ArgumentParser) -> None:
    _configure_review(parser)
    _configure_github(parser)
    parser.add_argument("--sha", metavar="SHA", help="the commit to write on (default: that of --head)")
    parser.add_argument("--name", default="trimtab", help="the check's name, for branch rules")
    parser.set_defaults(usage_error=parser.error)


def _configure_grade(parser: argparse.ArgumentParser) -> None:
    _configure_github(parser)
    parser.add_argument(
        "--measured", type=Path, required=True, metavar="FILE", help="what trimtab allocate --output json printed"
    )
    where = parser.add_mutually_exclusive_group(required=True)
    where.add_argument("--pull", type=int, metavar="N", help="the pull request whose comment is graded")
    where.add_argument(
        "--comment",
        type=Path,
        metavar="FILE",
        help="instead: a comment as trimtab github comment printed it; none is sent",
    )
    parser.add_argument("--key", default="fleet", help="tells several comments on one pull request apart")
    parser.add_argument(
        "--account", type=int, metavar="ID", help="numeric id of the token's account, where it may not ask for it"
    )
    parser.add_argument("--format", choices=("markdown", "json"), default="markdown", help="what is printed on stdout")
    parser.set_defaults(usage_error=parser.error)


def _grade(arguments: argparse.Namespace) -> ExitCode:
    from trimtab_config.grading import MAX_MEASURED, Grading, grade, measurement_of, promises_in
    from trimtab_config.text.gradings import graded_comment

    measurement = measurement_of(_content(arguments.measured, MAX_MEASURED, "A703"), str(arguments.measured))
    found: list[tuple[str, Grading]] = []

    def graded(comment: str) -> str:
        grading = grade(promises_in(comment), measurement)
        text = graded_comment(comment, grading)
        found.append((text, grading))
        return text

    if arguments.pull is None:
        graded(_content(arguments.comment, _MAX_COMMENT, "A704").decode("utf-8", "replace"))
    else:
        from trimtab_plugins.github.comments import marker, regrade

        if not arguments.repository:
            arguments.usage_error("--repository OWNER/NAME is needed to write to GitHub")
        marker(arguments.key)
        client = _client(arguments)
        account = _account(client, arguments.account)
        repository = _repository(client, arguments.repository)
        written = regrade(repository, account, arguments.pull, arguments.key, graded)
        sys.stderr.write(f"{written.what} {written.url}\n")
    text, grading = found[-1]
    if arguments.format == "json":
        text = json.dumps(grading.to_json(), indent=2, sort_keys=True) + "\n"
    sys.stdout.write(text)
    return ExitCode.DONE


def _content(file: Path, limit: int, code: str) -> bytes:
    try:
        with file.open("rb") as source:
            content = source.read(limit + 1)
    except OSError as error:
        raise InputError(Problem(code, str(file), got=type(error).__name__, expected="a file")) from error
    if len(content) > limit:
        raise InputError(Problem(code, str(file), got=f"more than {limit} bytes", expected="a smaller file"))
    return content


def _comment(arguments: argparse.Namespace) -> ExitCode:
    from trimtab_config.text.reviews import review_markdown, review_sarif

    found = _review(arguments)
    text = review_markdown(found, arguments.report.name if arguments.report else "")
    if arguments.pull is not None:
        from trimtab_plugins.github.comments import marker, upsert

        marker(arguments.key)
        client = _client(arguments)
        account = _account(client, arguments.account)
        repository = _repository(client, arguments.repository)
        written = upsert(repository, account, arguments.pull, arguments.key, text)
        sys.stderr.write(f"{written.what} {written.url}\n")
    if arguments.format == "markdown":
        sys.stdout.write(text)
    else:
        content = found.to_json() if arguments.format == "json" else review_sarif(found)
        sys.stdout.write(json.dumps(content, indent=2, sort_keys=True) + "\n")
    return _code(found)


def _check(arguments: argparse.Namespace) -> ExitCode:
    from trimtab_config.git.repository import GitRepository
    from trimtab_config.text.reviews import review_markdown
    from trimtab_plugins.github.checks import write_check

    found = _review(arguments)
    sha = arguments.sha or GitRepository(arguments.repo).revision(arguments.head)
    repository = _repository(_client(arguments), arguments.repository)
    kind = write_check(repository, str(sha), arguments.name, found, review_markdown(found))
    sys.stderr.write(f"{kind} {arguments.name} on {str(sha)[:12]}: {found.outcome.value}\n")
    return _code(found)


def _review(arguments: argparse.Namespace) -> Review:
    from trimtab_config.git.repository import GitRepository
    from trimtab_plugins.github.reviewing import review_of

    if (getattr(arguments, "pull", 0) is not None) and not arguments.repository:
        arguments.usage_error("--repository OWNER/NAME is needed to write to GitHub")
    as_of: datetime.date = arguments.as_of or datetime.datetime.now(datetime.UTC).astimezone().date()
    found = review_of(GitRepository(arguments.repo), arguments.path.strip("/"), arguments.base, arguments.head, as_of)
    if arguments.report is not None:
        arguments.report.write_text(json.dumps(found.to_json(), indent=2, sort_keys=True) + "\n", "utf-8")
    return found


def _code(found: Review) -> ExitCode:
    from trimtab_config.review import Outcome

    return {Outcome.READY: ExitCode.DONE, Outcome.REFUSED: ExitCode.REFUSED, Outcome.BROKEN: ExitCode.PROBLEMS}[
        found.outcome
    ]


def _client(arguments: argparse.Namespace) -> Github:
    from github import Auth

    from trimtab_config.githost.github import connect

    return connect(arguments.api_url, Auth.Token(_token(arguments.token_file)))


def _token(file: Path | None) -> str:
    """Raises InputError (A702) where there is none; the token itself is never shown."""
    if file is None:
        found, place = os.environ.get("GITHUB_TOKEN", ""), "the variable GITHUB_TOKEN"
    else:
        try:
            found, place = file.read_bytes()[:_MAX_TOKEN].decode("ascii"), str(file)
        except (OSError, UnicodeDecodeError) as error:
            raise InputError(
                Problem("A702", str(file), got=type(error).__name__, expected="a file that holds a token")
            ) from error
    token = found.strip()
    if not token or not token.isprintable() or " " in token:
        raise InputError(Problem("A702", field=place, got="no token", expected="one line of printable characters"))
    return token


def _repository(client: Github, name: str) -> Repository:
    from trimtab_config.githost.github_reading import outside

    with outside(f"cannot reach the repository {name}"):
        return client.get_repo(name)


def _account(client: Github, given: int | None) -> int:
    """Whose comments are ours. The token of an Actions run may not ask for its account, which is always the same."""
    from github import GithubException

    from trimtab_config.githost.github_reading import outside

    if given is not None:
        return given
    with outside("cannot ask for the token's account; say --account ID"):
        try:
            return client.get_user().id
        except GithubException as error:
            if error.status == _FORBIDDEN and os.environ.get("GITHUB_ACTIONS") == "true":
                return _ACTIONS_ACCOUNT
            raise


COMMAND = Command(
    name="github",
    summary="Say on a pull request what it changes for each device group, what it costs, and what policy says.",
    subcommands=(
        Command(
            name="comment",
            summary="Write or update the one comment on a pull request; without --pull only print it.",
            details="The exit status is 0 where the change can be rendered, 2 where policy refuses it, 1 where it has"
            " problems; the comment is written in all three cases.",
            examples=(
                "trimtab github comment --base origin/main --path fleet",
                "trimtab github comment --base origin/main --path fleet --repository acme/fleet --pull 12 --report r.json",
                "trimtab github comment --base origin/main --path fleet --format sarif > trimtab.sarif",
            ),
            configure=_configure_comment,
            run=_comment,
        ),
        Command(
            name="grade",
            summary="Grade the estimate of a comment with what devices measured since, in the same comment.",
            details="The estimate with its bounds stands hidden in the comment since it was written. The comment gains a"
            " section with each group's measured month and the calibration error; an equal one is not written again.",
            examples=(
                "trimtab github grade --pull 12 --repository acme/fleet --measured measured.json",
                "trimtab github grade --comment comment.md --measured measured.json",
            ),
            configure=_configure_grade,
            run=_grade,
        ),
        Command(
            name="check",
            summary="Write a check run (or, without a GitHub App, a commit status) bound to the head's commit.",
            examples=("trimtab github check --base origin/main --path fleet --repository acme/fleet",),
            configure=_configure_check,
            run=_check,
        ),
    ),
)
