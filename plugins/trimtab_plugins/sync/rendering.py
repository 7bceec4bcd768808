"""From the files of a commit to the files of every device group. Pure: the same files give the same bytes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from trimtab_config.compilation import FleetCompiler
from trimtab_plugins.sync.output import GroupFiles

if TYPE_CHECKING:
    from collections.abc import Mapping


def render_fleet(
    files: Mapping[str, bytes], prefix: str = "", compiler: FleetCompiler | None = None
) -> dict[str, GroupFiles]:
    """What every group of the fleet gets, by group; all or nothing.

    ``files`` are those of the fleet folder, ``prefix`` is where it lies in the repository, so that problems name files as
    the repository does. Raises InputError with all problems of reading, of references and of compiling, and for a fleet
    without any group (G403): applying it would remove every group that is there. A ``compiler`` that saw earlier commits
    compiles only what is new.
    """
    rendered = (compiler or FleetCompiler()).open(files, prefix).render_all()
    return {name: GroupFiles(group.stream, group.desired.to_bytes()) for name, group in rendered.items()}
