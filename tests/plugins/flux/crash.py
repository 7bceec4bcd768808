"""Kills a writer with -9 before each of its operations on the store; says what a reader and the next writer then find.

Run as `python -m tests.plugins.flux.crash SCRATCH`; one JSON line per case. The operation is counted by an audit hook of
the interpreter, so the code that runs is the code that ships.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import sys
import traceback
from pathlib import Path

from trimtab_plugins.flux.releases import Release
from trimtab_plugins.flux.storage import ArchiveStore, archive_path

OLD, NEW = Release("group", b"---\nold: 1\n"), Release("group", b"---\nnew: 1\n")
NOW = 1_795_000_000.0
EVENTS = {"open", "os.mkdir", "os.rename", "os.remove", "os.utime"}


def publish(root: Path) -> None:
    store = ArchiveStore(root)
    store.open(NOW)
    store.put("ns", "name", NEW, NOW)
    store.sweep("ns", "name", {NEW.content}, 1, NOW + 100)


def crash(root: Path, at: int) -> bool:
    child = os.fork()
    if child == 0:
        count = 0

        def hook(event: str, arguments: tuple[object, ...]) -> None:
            nonlocal count
            if event in EVENTS and any(str(root) in str(argument) for argument in arguments):
                count += 1
                if count == at:
                    os.kill(os.getpid(), signal.SIGKILL)

        try:
            sys.addaudithook(hook)
            publish(root)
            os._exit(0)
        except BaseException:
            traceback.print_exc()
            os._exit(1)
    _, status = os.waitpid(child, 0)
    assert status in (0, signal.SIGKILL), status
    return status != 0


def served(root: Path) -> dict[str, bool]:
    """Which releases a reader gets, each with whether it is whole."""
    store = ArchiveStore(root)
    found = {}
    for path in sorted(root.rglob("*.tar.gz")):
        content = store.read(path.relative_to(root).as_posix())
        found[path.name[:8]] = content in (OLD.archive, NEW.archive)
    return found


def main(scratch: Path) -> None:
    template = scratch / "template"
    store = ArchiveStore(template)
    store.open(NOW - 1000)
    store.put("ns", "name", OLD, NOW - 1000)
    at, killed = 0, True
    while killed:
        at += 1
        root = scratch / str(at)
        shutil.copytree(template, root)
        for path in template.rglob("*.tar.gz"):
            shutil.copystat(path, root / path.relative_to(template))
        killed = crash(root, at)
        after_crash = served(root)
        publish(root)
        ArchiveStore(root).open(NOW + 10**9)
        left = [path.name for path in root.rglob(".new-*")]
        whole = (root / archive_path("ns", "name", NEW.content)).read_bytes() == NEW.archive
        line = {"at": at, "killed": killed, "served": after_crash, "after": served(root), "left": left, "whole": whole}
        sys.stdout.write(json.dumps(line) + "\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
