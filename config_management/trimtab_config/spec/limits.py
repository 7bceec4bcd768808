"""How much of a fleet is read: of one file, and of all together."""

from __future__ import annotations

MAX_FILE_BYTES = 1024 * 1024
MAX_FILES = 20_000
MAX_TOTAL_BYTES = 32 * 1024 * 1024
