"""The journal: the state of every model, one file each, written durably before anything is done.

A file that cannot be read (a damaged disk, or a newer agent's format) is set aside and its model starts from what is
active on the device: losing the journal loses back-off and history, not the model.
"""

from __future__ import annotations

import json
import logging
from typing import TYPE_CHECKING, Any

from trimtab_edge.durable import flush_directory, make_directory, write_file
from trimtab_edge.lifecycle.machine import Backoff, ModelState, Phase, Quarantined
from trimtab_edge.lifecycle.release import Release
from trimtab_edge.settings import read_description
from trimtab_kernel.canonical import Json
from trimtab_kernel.identity import Digest, IdentityError, parse_name
from trimtab_kernel.problems import InputError

if TYPE_CHECKING:
    from pathlib import Path

_log = logging.getLogger("trimtab.agent")
FORMAT = 1
_MAX_BYTES = 64 * 1024 * 1024


class JournalError(ValueError):
    """The text is no journal of this format."""


def encode_state(state: ModelState) -> bytes:
    """The state as JSON. Times keep their fractions, so this is plain JSON, not the canonical form."""
    fields: dict[str, Any] = {
        "format": FORMAT,
        "phase": state.phase.value,
        "target": _encode_release(state.target),
        "good": _encode_release(state.good),
        "previous": _encode_release(state.previous),
        "hindered": {"count": state.hindered.count, "since": state.hindered.since},
        "starts": state.starts,
        "unsettled": state.unsettled,
        "quarantine": [
            {
                "digest": str(entry.digest),
                "code": entry.code,
                "reason": entry.reason,
                "count": entry.strikes.count,
                "since": entry.strikes.since,
            }
            for entry in state.quarantine
        ],
    }
    return json.dumps(fields, sort_keys=True, separators=(",", ":")).encode() + b"\n"


def _encode_release(release: Release | None) -> Json:
    if release is None:
        return None
    return {
        "version": release.version,
        "digest": str(release.digest),
        "size": release.size,
        "format": release.format,
        "uri": release.uri,
        "description": release.description.to_bytes().decode(),
    }


def decode_state(content: bytes) -> ModelState:
    """Read it back. Raises :class:`JournalError`, whatever the content is."""
    try:
        data = json.loads(content)
        if data["format"] != FORMAT:
            raise JournalError(f"format {data['format']!r}, expected {FORMAT}")
        return ModelState(
            phase=Phase(data["phase"]),
            target=_decode_release(data["target"]),
            good=_decode_release(data["good"]),
            previous=_decode_release(data["previous"]),
            hindered=_decode_backoff(data["hindered"]),
            starts=int(data["starts"]),
            unsettled=bool(data["unsettled"]),
            quarantine=tuple(
                Quarantined(
                    Digest.parse(entry["digest"]), str(entry["code"]), str(entry["reason"]), _decode_backoff(entry)
                )
                for entry in data["quarantine"]
            ),
        )
    except (KeyError, TypeError, AttributeError, ValueError, RecursionError, IdentityError, InputError) as error:
        raise JournalError(str(error) or type(error).__name__) from None


def _decode_release(data: dict[str, Any] | None) -> Release | None:
    if data is None:
        return None
    description = read_description(data["description"].encode(), "journal")
    return Release(
        str(data["version"]),
        Digest.parse(data["digest"]),
        int(data["size"]),
        str(data["format"]),
        str(data["uri"]),
        description,
    )


def _decode_backoff(data: dict[str, Any]) -> Backoff:
    return Backoff(int(data["count"]), float(data["since"]))


class Journal:
    """The journal in a directory. One agent at a time."""

    def __init__(self, directory: Path) -> None:
        """Raises OSError where the directory cannot be made."""
        self._directory = directory / "models"
        make_directory(self._directory)

    def read(self) -> dict[str, ModelState]:
        """Every model's state. What cannot be read is set aside, with a line in the log."""
        found: dict[str, ModelState] = {}
        for path in sorted(self._directory.glob("*.json")):
            model = path.name.removesuffix(".json")
            try:
                parse_name(model)
                with path.open("rb") as file:
                    found[model] = decode_state(file.read(_MAX_BYTES))
            except IdentityError:
                continue
            except (JournalError, OSError) as error:
                _log.error("journal of %s cannot be read (%s); it starts from what is active", model, error)
                path.rename(path.with_suffix(".unreadable"))
                flush_directory(self._directory)
        return found

    def write(self, model: str, state: ModelState) -> None:
        """Make the state durable. Raises OSError, and leaves the state before, where the disk is full."""
        write_file(self._directory / f"{model}.json", encode_state(state))
