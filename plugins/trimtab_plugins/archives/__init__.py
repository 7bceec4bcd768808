"""The one form of archive that every door writes and reads: a gzip-compressed tar whose bytes follow from its files alone."""

from __future__ import annotations

from trimtab_plugins.archives.names import refusal_of_name
from trimtab_plugins.archives.reader import LIMITS, ArchiveLimits, Links, read_archive
from trimtab_plugins.archives.writer import LEVEL, write_archive

__all__ = ["LEVEL", "LIMITS", "ArchiveLimits", "Links", "read_archive", "refusal_of_name", "write_archive"]
