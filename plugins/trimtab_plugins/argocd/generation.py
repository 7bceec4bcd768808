"""Exec mode: a working directory, which anybody may have filled, and an environment to one YAML stream."""

from __future__ import annotations

from typing import TYPE_CHECKING

from trimtab_config.compilation import FleetCompiler, RenderOptions
from trimtab_config.sources.folder import read_folder
from trimtab_kernel.problems import Problem, printable, sort_problems
from trimtab_plugins.argocd.checkout import FleetFiles
from trimtab_plugins.argocd.parameters import read_wish, shown_folder
from trimtab_plugins.argocd.rendering import compile_group

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from trimtab_config.compilation import Monitoring


def generate(folder: Path, environment: Mapping[str, str], monitoring: Monitoring) -> bytes:
    """The manifests of the group, as `trimtab render` prints them; never none.

    Raises InputError with all problems: of the parameters (A114), of names (A108), of files, of references and of compiling.
    """
    wish = read_wish(environment)
    shown = shown_folder(environment, "")
    read = read_folder(folder)
    problems = [*read.problems, *(_not_text(name) for name in read.files if not _is_text(name))]
    fleet = FleetFiles(read.files, sort_problems(problems))
    options = RenderOptions(price_book=wish.price_book, monitoring=monitoring)
    return compile_group(fleet, wish, shown, lambda files: FleetCompiler().open(files, shown, options)).stream


def _is_text(name: str) -> bool:
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True


def _not_text(name: str) -> Problem:
    shown = printable(name.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace"), 200)
    return Problem("A108", shown, 0, "", "a name that is not UTF-8", "a name in UTF-8")
