"""Reads the hostile corpus in a process of its own, and prints what came of it as JSON. Run by test_hostile_files.

Usage: python -m tests.config.hostile_run FOLDER
"""

from __future__ import annotations

import contextlib
import io
import json
import resource
import sys
import time
from pathlib import Path

from tests.config.hostile_corpus import CORPUS
from trimtab_config.cli import main

MEMORY = 512 * 1024 * 1024


def run(folder: Path) -> None:
    # Whatever asks for more gets a MemoryError, and so a traceback, and so a failed test.
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    results = []
    for number, hostile in enumerate(CORPUS):
        path = folder / f"{number}.yaml"
        path.write_bytes(hostile.content)
        output = io.StringIO()
        started = time.process_time()
        with contextlib.redirect_stdout(output):
            status = main(["validate", str(path), "--output", "json"])
        seconds = time.process_time() - started
        path.unlink()
        report = json.loads(output.getvalue())
        codes = sorted({problem["code"] for problem in report["problems"]})
        results.append({"name": hostile.name, "status": status, "seconds": seconds, "codes": codes})
    json.dump(results, sys.stdout)


if __name__ == "__main__":
    run(Path(sys.argv[1]))
