"""Which names an archive may hold: those that Flux, Argo CD and this reader all unpack to the same place."""

from __future__ import annotations

MAX_NAME_BYTES = 1024
MAX_DEPTH = 32


def refusal_of_name(name: str) -> str:
    """Why ``name`` may not stand in an archive, as words after "got"; "" where it may.

    Stricter than any one unpacker: Flux (fluxcd/pkg, tar) refuses backslashes and "../" wherever they stand, Argo CD
    refuses what leaves the folder, and names that are not plain are shown differently by different tools.
    """
    if not name:
        return "an empty name"
    try:
        size = len(name.encode())
    except UnicodeEncodeError:
        return "a name that is not UTF-8"
    if size > MAX_NAME_BYTES:
        return f"a name of {size} bytes"
    if any(ord(letter) < 0x20 or ord(letter) == 0x7F for letter in name):
        return "a name with control characters"
    if "\\" in name:
        return "a name with a backslash"
    if name.startswith("/"):
        return "an absolute name"
    parts = name.split("/")
    if any(part == ".." or part.endswith("..") for part in parts):
        return "a name that climbs up"
    if any(part in {"", "."} for part in parts):
        return "a name with an empty part"
    return f"a name of {len(parts)} parts" if len(parts) > MAX_DEPTH else ""
