"""From two revisions of a repository to the review of what lies between them."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from trimtab_config.catalog.dates import exception_problems
from trimtab_config.comparison import compare
from trimtab_config.compilation import FleetCompiler
from trimtab_config.plan.planner import Planner
from trimtab_config.review import review
from trimtab_config.text.plans import plan_lines
from trimtab_kernel.problems import InputError, Problem, quoted, sort_problems

if TYPE_CHECKING:
    import datetime
    from collections.abc import Iterable, Mapping

    from trimtab_config.compilation import RenderedGroup
    from trimtab_config.git.repository import GitRepository
    from trimtab_config.review import Review

_ON_TRIAL = "F503"


def review_of(
    repository: GitRepository, folder: str, base: str, head: str, as_of: datetime.date | None = None
) -> Review:
    """What ``head`` changes of the fleet in ``folder`` since its merge base with ``base``, which is what a merge brings.

    Problems of the head are findings of the review. A base that cannot be rendered, or that has no fleet yet, is said;
    the comparison is then with nothing. Exceptions from policies that are over on the day ``as_of``, or soon will be, are
    warnings; without a day nothing is said of them. Raises InputError (A601) for a revision that is not there.
    """
    commits = {}
    for name in (base, head):
        commit = repository.revision(name)
        if commit is None:
            hint = "a branch, a tag or a commit; 'git fetch' brings what is missing, a shallow clone has too little"
            raise InputError(Problem("A601", got=quoted(name), expected="a revision of the repository", hint=hint))
        commits[name] = commit
    start = repository.merge_base(commits[base], commits[head]) or commits[base]
    compiler = FleetCompiler()
    before: Mapping[str, RenderedGroup] = {}
    base_broken = False
    try:
        before = compiler.open(repository.files(start, folder), folder).render_all()
    except InputError:
        base_broken = True
    shown = (f"{base}@{start[:12]}", f"{head}@{commits[head][:12]}")
    ending: tuple[Problem, ...] = ()
    try:
        fleet = compiler.open(repository.files(commits[head], folder), folder)
        if as_of is not None:
            ending = _placed(exception_problems(fleet.catalog, as_of), folder)
        after = fleet.render_all()
    except InputError as error:
        return review(*shown, error.problems, ending, base_broken=base_broken)
    comparison = None if base_broken else compare(before, after)
    groups = fleet.catalog.groups
    devices = {name: group.spec.device_count for name, group in groups.items()}
    why = {}
    if comparison is not None:
        planner = Planner(fleet.catalog)
        why = {
            change.group: plan_lines(planner.plan(change.group)[0])
            for change in comparison.groups
            if change.group in groups and change.models
        }
    # Rules on trial are their authors' business; a comment says what holds.
    found = (each for group in after.values() for each in group.findings if each.code != _ON_TRIAL)
    warnings = sort_problems((*_placed(found, folder), *ending))
    return review(*shown, (), warnings, comparison, devices, why, base_broken=base_broken)


def _placed(problems: Iterable[Problem], folder: str) -> tuple[Problem, ...]:
    """With files as the repository knows them."""
    return tuple(replace(each, file=f"{folder}/{each.file}".lstrip("/")) for each in problems)
