"""The check of a commit: bound to the head's SHA, so that what is pushed later has to pass by itself.

A GitHub App writes a check run with the findings as annotations; any other token writes a commit status, which has room
for one line.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from github import GithubException

from trimtab_config.githost.github_reading import outside
from trimtab_config.review import Level, Outcome
from trimtab_kernel.problems import printable

if TYPE_CHECKING:
    from github.Repository import Repository

    from trimtab_config.review import Finding, Review

ANNOTATIONS = 50
"""GitHub takes so many in one request; the summary names the rest."""
_MAX_SUMMARY = 60_000
_FORBIDDEN = 403


def write_check(repository: Repository, sha: str, name: str, review: Review, summary: str) -> str:
    """Say on ``sha`` what the review found. Gives ``check run`` or ``status``. Raises OutsideError."""
    done = {Outcome.READY: "success", Outcome.REFUSED: "failure", Outcome.BROKEN: "failure"}[review.outcome]
    title = _title(review)
    with outside(f"cannot write the check of {sha[:12]}"):
        commit = repository.get_commit(sha)
        output: dict[str, Any] = {
            "title": title,
            "summary": summary[:_MAX_SUMMARY],
            "annotations": [_annotation(finding) for finding in review.findings if finding.problem.file][:ANNOTATIONS],
        }
        try:
            known = [run for run in commit.get_check_runs(check_name=name) if run.head_sha == sha]
            if known:
                known[0].edit(status="completed", conclusion=done, output=output)
            else:
                repository.create_check_run(name, sha, status="completed", conclusion=done, output=output)
        except GithubException as error:
            if error.status != _FORBIDDEN:
                raise
            commit.create_status(done, description=title[:140], context=name)
            return "status"
    return "check run"


def _title(review: Review) -> str:
    errors = sum(1 for finding in review.findings if finding.level is Level.ERROR)
    if errors:
        return f"{review.outcome.value}: {errors} {'finding' if errors == 1 else 'findings'}"
    groups = 0 if review.comparison is None else len(review.comparison.groups)
    return f"{groups} device {'group' if groups == 1 else 'groups'} change"


def _annotation(finding: Finding) -> dict[str, Any]:
    problem = finding.problem
    return {
        "path": problem.file,
        "start_line": problem.line or 1,
        "end_line": problem.line or 1,
        "annotation_level": "failure" if finding.level is Level.ERROR else "warning",
        "title": f"{problem.code} {finding.title}",
        "message": printable(str(problem)),
    }
