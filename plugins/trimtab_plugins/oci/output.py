"""What was pulled, into a folder that holds nothing else."""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from trimtab_kernel.problems import OutsideError, RefusedError, printable

if TYPE_CHECKING:
    from collections.abc import Mapping


def write_new_folder(directory: Path, files: Mapping[str, bytes]) -> None:
    """Write ``files``, by plain relative path, so that ``directory`` appears whole or not at all.

    Raises RefusedError (A310) where it holds anything already, OutsideError where it cannot be written.
    """
    try:
        if directory.is_symlink() or (directory.exists() and not directory.is_dir()):
            raise RefusedError("A310", f"{printable(str(directory))} is no folder; name a new one")
        if directory.is_dir() and any(directory.iterdir()):
            raise RefusedError(
                "A310", f"{printable(str(directory))} is not empty; name a new folder, or remove it first"
            )
        directory.parent.mkdir(parents=True, exist_ok=True)
        aside = Path(tempfile.mkdtemp(dir=directory.parent, prefix=f".{directory.name}."))
        try:
            aside.chmod(0o755)
            for name, content in files.items():
                path = aside / name
                path.parent.mkdir(parents=True, exist_ok=True)
                with path.open("xb") as file:
                    file.write(content)
                    file.flush()
                    os.fsync(file.fileno())
            aside.replace(directory)
        finally:
            shutil.rmtree(aside, ignore_errors=True)
    except OSError as error:
        place = printable(str(error.filename or directory))
        raise OutsideError(f"cannot write {place}: {(error.strerror or str(error)).lower()}") from error
