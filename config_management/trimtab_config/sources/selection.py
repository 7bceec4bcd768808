"""Which files of a tree are manifests. The same for a folder and for a Git commit, so that both give the same fleet."""

from __future__ import annotations

from trimtab_config.spec.limits import MAX_FILE_BYTES, MAX_FILES, MAX_TOTAL_BYTES

SUFFIXES = (".yaml", ".yml")

__all__ = ["MAX_FILES", "MAX_FILE_BYTES", "MAX_TOTAL_BYTES", "SUFFIXES", "is_manifest"]


def is_manifest(path: str, suffixes: tuple[str, ...] = SUFFIXES) -> bool:
    """Whether the file at ``path`` (with "/") is read: a YAML file, and no part of its path begins with a dot.

    Hidden folders hold the files of tools (``.github``, ``.git``), not of fleets.
    """
    return path.endswith(suffixes) and not path.startswith(".") and "/." not in path
