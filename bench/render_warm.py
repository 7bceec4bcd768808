"""The warm half of ``bench render``, in a process of its own: prints one line of JSON with CPU seconds (``changedWall``: by the clock).

One compiler that stays, as in a server: ``first`` opens and compiles the whole fleet from bytes in memory, ``second`` the
same bytes again, ``changed`` one group whose file has just changed: the tree is opened again, the group compiled and
written as YAML. Policies are asked throughout.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING

from bench.fleets import group_file, group_name
from trimtab_config.compilation import FleetCompiler
from trimtab_config.sources.folder import load_folder

if TYPE_CHECKING:
    from collections.abc import Mapping

_CHANGES = 15


def _whole(compiler: FleetCompiler, files: Mapping[str, bytes]) -> tuple[float, int, int]:
    """CPU seconds, objects and bytes of all groups, one at a time."""
    begin = time.process_time()
    fleet = compiler.open(files)
    objects = size = 0
    for name in fleet.groups:
        rendered = fleet.render(name)
        objects += len(rendered.objects)
        size += len(rendered.stream)
    return time.process_time() - begin, objects, size


def main(fleet: Path) -> None:
    """Measure and print."""
    files = load_folder(fleet)
    compiler = FleetCompiler()
    first, objects, size = _whole(compiler, files)
    second, _, _ = _whole(compiler, files)
    seconds, wall = [], []
    for number in range(_CHANGES):
        name, content = group_file(number, 1000 + number)
        files = {**files, name: content}
        begin, clock = time.process_time(), time.perf_counter()
        rendered = compiler.open(files).render(group_name(number))
        if not rendered.stream:
            sys.exit("bench: a group without a stream")
        seconds.append(time.process_time() - begin)
        wall.append(time.perf_counter() - clock)
    changed = {"changed": median(seconds), "changedWall": median(wall)}
    print(json.dumps({"first": first, "second": second, **changed, "objects": objects, "bytes": size}))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
