"""Codes of the edge runtime."""

from __future__ import annotations

from trimtab_kernel.problems import Code

CODES: tuple[Code, ...] = (
    Code(
        "E201",
        "desired document too large",
        "A desired document travels in a ConfigMap, which holds at most 1 MiB; a larger one is not ours.",
        "Split the device group, or find out who else writes this file.",
    ),
    Code(
        "E202",
        "desired document is not JSON",
        "The agent obeys canonical JSON in UTF-8 without floats, as the renderer writes it.",
        "Render the group again; do not edit the document by hand.",
    ),
    Code(
        "E203",
        "field of the desired document refused",
        "An unknown or malformed field could change what a device runs, so the whole document is refused and the device keeps what it has.",
        "Render the group again with the Trimtab version that the devices run.",
    ),
)
