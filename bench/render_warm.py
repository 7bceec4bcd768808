"""The warm half of ``bench render``, in a process of its own: prints one line of JSON with CPU seconds (``changedWall``: by the clock).

``first`` and ``second`` compile the whole fleet from bytes in memory, ``changed`` one group whose file has just changed:
that file is read, the catalog is made again of all objects, and the group compiled and written as YAML by the compiler
that follows the last one, as a process does that stays.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING

from bench.fleets import group_file, group_name
from trimtab_config.catalog import build_catalog
from trimtab_config.emit.yaml_stream import yaml_stream
from trimtab_config.render.bundle import Compiler
from trimtab_config.sources.folder import load_folder
from trimtab_config.spec.reader import read_documents

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from trimtab_config.catalog import Catalog
    from trimtab_config.spec.kinds import Document

_CHANGES = 15


def _catalog(documents: Iterable[Document]) -> Catalog:
    catalog, problems = build_catalog(documents)
    if problems:
        sys.exit(f"bench: {problems[0]}")
    return catalog


def _rendered(compiler: Compiler, names: Iterable[str]) -> tuple[int, int]:
    """Objects and bytes of the groups."""
    objects = size = 0
    for name in names:
        bundle, problems = compiler.compile(name)
        if bundle is None:
            sys.exit(f"bench: {problems[0]}")
        objects += len(bundle.objects)
        size += len(yaml_stream(bundle.objects).encode())
    return objects, size


def _whole(files: Mapping[str, bytes]) -> tuple[float, int, int]:
    begin = time.process_time()
    catalog = _catalog(read_documents(files).documents)
    objects, size = _rendered(Compiler(catalog), catalog.groups)
    return time.process_time() - begin, objects, size


def main(fleet: Path) -> None:
    """Measure and print."""
    files = load_folder(fleet)
    first, objects, size = _whole(files)
    second, _, _ = _whole(files)
    kept = {name: read_documents({name: content}).documents for name, content in files.items()}
    compiler = Compiler(_catalog(document for each in kept.values() for document in each))
    _rendered(compiler, [group_name(number) for number in range(_CHANGES)])
    seconds, wall = [], []
    for number in range(_CHANGES):
        name, content = group_file(number, 1000 + number)
        begin, clock = time.process_time(), time.perf_counter()
        kept[name] = read_documents({name: content}).documents
        compiler = compiler.after(_catalog(document for each in kept.values() for document in each))
        _rendered(compiler, [group_name(number)])
        seconds.append(time.process_time() - begin)
        wall.append(time.perf_counter() - clock)
    changed = {"changed": median(seconds), "changedWall": median(wall)}
    print(json.dumps({"first": first, "second": second, **changed, "objects": objects, "bytes": size}))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
