"""Kills a writer with -9 before each of its operations on the output folder; says what each reader then finds.

Run as `python -m tests.plugins.sync.crash SCRATCH`; one JSON line per case. The operation is counted by an audit hook of
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

from trimtab_plugins.sync.output import GroupFiles, open_output

OLD = {name: GroupFiles(f"old {name}\n".encode(), b'{"old":1}') for name in ("changed", "same", "vanishing")}
NEW = {
    "changed": GroupFiles(b"new changed\n", b'{"new":1}'),
    "same": OLD["same"],
    "appearing": GroupFiles(b"new appearing\n", b'{"new":2}'),
}
EVENTS = {"open", "os.mkdir", "os.rename", "os.symlink", "os.remove", "os.rmdir", "shutil.rmtree", "os.truncate"}


def apply(directory: Path, groups: dict[str, GroupFiles]) -> None:
    with open_output(directory) as output:
        output.apply(groups)


def seen(directory: Path) -> dict[str, list[str]]:
    """What readers find in every group: manifests, and desired document. An incomplete group fails here."""
    return {
        folder.name: [(folder / "manifests.yaml").read_text(), (folder / "current/desired/desired.json").read_text()]
        for folder in sorted(directory.iterdir())
        if not folder.name.startswith(".")
    }


def crash(directory: Path, at: int) -> bool:
    child = os.fork()
    if child == 0:
        count = 0

        def hook(event: str, arguments: tuple[object, ...]) -> None:
            nonlocal count
            if event in EVENTS and any(str(directory) in str(argument) for argument in arguments):
                count += 1
                if count == at:
                    os.kill(os.getpid(), signal.SIGKILL)

        try:
            sys.addaudithook(hook)
            apply(directory, NEW)
            os._exit(0)
        except BaseException:
            traceback.print_exc()
            os._exit(1)
    _, status = os.waitpid(child, 0)
    assert status in (0, signal.SIGKILL), status
    return status != 0


def main(scratch: Path) -> None:
    template = scratch / "template"
    apply(template, OLD)
    at, killed = 0, True
    while killed:
        at += 1
        directory = scratch / str(at)
        shutil.copytree(template, directory, symlinks=True)
        killed = crash(directory, at)
        found = seen(directory)
        apply(directory, NEW)
        left = sorted(
            str(path.relative_to(directory))
            for path in directory.rglob("*")
            if path.name.startswith((".cur", ".man", "new-", "gone-"))
        )
        sys.stdout.write(
            json.dumps({"at": at, "killed": killed, "found": found, "after": seen(directory), "left": left}) + "\n"
        )


if __name__ == "__main__":
    main(Path(sys.argv[1]))
