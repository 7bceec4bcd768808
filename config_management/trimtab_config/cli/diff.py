"""``trimtab diff``: what a change does to every device group, before it is merged."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

from trimtab_kernel.commandline import Command, print_json
from trimtab_kernel.problems import Collector, ExitCode, InputError, Problem, quoted

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Mapping

    from trimtab_config.compilation import FleetCompiler, RenderedGroup


def configure(parser: argparse.ArgumentParser) -> None:
    """Arguments."""
    parser.add_argument("base", metavar="BASE", help="what there is: a fleet folder, or with --repo a revision")
    parser.add_argument("head", metavar="HEAD", help="what there will be: likewise")
    parser.add_argument("--repo", type=Path, metavar="DIR", help="BASE and HEAD are revisions of this Git repository")
    parser.add_argument(
        "--path", default="", metavar="SUBFOLDER", help="where the fleet lies in the repository (default: its root)"
    )
    parser.add_argument("--group", action="append", metavar="G", help="only this device group; may be given again")
    parser.add_argument("--output", choices=("text", "json", "markdown"), default="text", help="for people or machines")
    parser.add_argument("--exit-code", action="store_true", help="exit with 1 where anything changes")
    parser.add_argument("--price-book", metavar="NAME", help="use this price book instead of the newest one, in both")
    parser.set_defaults(usage_error=parser.error)


def run(arguments: argparse.Namespace) -> ExitCode:
    """Render both and print what differs. Raises InputError with the problems of both where one cannot be rendered.

    It is PolicyRefusedError where policy alone is the reason.
    """
    from trimtab_config.comparison import compare
    from trimtab_config.compilation import FleetCompiler, RenderOptions
    from trimtab_config.policy.gate import raise_problems
    from trimtab_config.text.comparisons import comparison_markdown, comparison_text

    if arguments.repo is None and arguments.path:
        arguments.usage_error("--path needs --repo")
    compiler = FleetCompiler(RenderOptions(price_book=arguments.price_book))
    problems = Collector()
    sides: list[Mapping[str, RenderedGroup]] = []
    read = _revision_reader(arguments.repo, arguments.path) if arguments.repo is not None else _folder
    for place in (arguments.base, arguments.head):
        try:
            sides.append(_rendered(compiler, *read(place)))
        except InputError as error:
            problems.extend(error.problems)
    raise_problems(problems.problems)
    base, head = sides
    if arguments.group is not None:
        _check_names(arguments.group, {*base, *head})
        base, head = ({name: side[name] for name in arguments.group if name in side} for side in (base, head))
    comparison = compare(base, head)
    if arguments.output == "json":
        print_json({"base": arguments.base, "head": arguments.head, **comparison.to_json()})
    else:
        shown = comparison_markdown if arguments.output == "markdown" else comparison_text
        sys.stdout.write(shown(comparison))
    return ExitCode.PROBLEMS if arguments.exit_code and comparison.groups else ExitCode.DONE


def _rendered(compiler: FleetCompiler, files: Mapping[str, bytes], prefix: str) -> Mapping[str, RenderedGroup]:
    return compiler.open(files, prefix).render_all()


def _folder(place: str) -> tuple[Mapping[str, bytes], str]:
    from trimtab_config.sources.folder import load_placed

    return load_placed(Path(place))


def _revision_reader(repo: Path, path: str) -> Callable[[str], tuple[Mapping[str, bytes], str]]:
    from trimtab_config.git.repository import GitRepository

    repository = GitRepository(repo)
    folder = path.strip("/")

    def read(place: str) -> tuple[Mapping[str, bytes], str]:
        commit = repository.revision(place)
        if commit is None:
            hint = "a branch, a tag or a commit; 'git fetch' brings what is missing"
            raise InputError(Problem("A601", got=quoted(place), expected=f"a revision of {repo}", hint=hint))
        return repository.files(commit, folder), f"{place}:{folder}".rstrip(":")

    return read


def _check_names(names: list[str], known: set[str]) -> None:
    from trimtab_config.spec.nearest import did_you_mean

    missing = [name for name in names if name not in known]
    if missing:
        expected = "a device group of one of the two trees"
        raise InputError(
            *(Problem("F311", got=quoted(name), expected=expected, hint=did_you_mean(name, known)) for name in missing)
        )


COMMAND = Command(
    name="diff",
    summary="Show what changes for each device group between two trees or Git revisions: objects, versions, cost.",
    details="The exit status is 0 whether anything changes or not; with --exit-code it is 1 where something does. A"
    " tree that cannot be rendered is 1 as well, and 2 where policy alone refuses it, with its problems on stderr.",
    examples=(
        "trimtab diff main HEAD --repo . --path fleet",
        "trimtab diff main HEAD --repo . --path fleet --output markdown",
        "trimtab diff old-fleet new-fleet --group kiosk-emea --exit-code",
    ),
    configure=configure,
    run=run,
)
