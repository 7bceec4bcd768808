"""What a device runs tells nobody outside: onnxruntime's own reporting is off before the library is loaded."""

from __future__ import annotations

import importlib.util
import mmap
import os
import subprocess
import sys
from pathlib import Path


def start_runtime(folder: Path, module: str) -> list[str]:
    """Files that appear in the temporary folder when the runtime is loaded by this import.

    Where it reports, onnxruntime keeps a session id for its reports there (``.ses``).
    """
    environment = {key: value for key, value in os.environ.items() if key not in {"CI", "ORT_DISABLE_TELEMETRY"}}
    code = f"import {module}; import onnxruntime; onnxruntime.SessionOptions()"
    subprocess.run(
        [sys.executable, "-c", code], env={**environment, "TMPDIR": str(folder)}, check=True, timeout=60, cwd=folder
    )
    return [entry.name for entry in folder.iterdir()]


def test_the_server_loads_the_runtime_without_its_reporting(tmp_path: Path) -> None:
    assert start_runtime(tmp_path, "trimtab_edge.serving.session") == []


def test_the_library_still_knows_the_setting() -> None:
    """Letting it report, to see the trace, would send something: the name of the setting in the library must do."""
    found = importlib.util.find_spec("onnxruntime")
    assert found is not None
    assert found.origin is not None
    library = next(Path(found.origin).parent.glob("capi/onnxruntime_pybind11_state*.so"))
    with library.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        assert content.find(b"ORT_DISABLE_TELEMETRY") >= 0
