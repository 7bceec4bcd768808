"""Tokens of others, kept so that the database alone gives nothing away: sealed with a key that lies in a file elsewhere.

Fernet (AES-128-CBC and HMAC-SHA256; https://github.com/fernet/spec) with several keys: the first of the file seals, every one
of them opens, so that a new key is put on top and the old one goes when everything was sealed anew (:meth:`Seal.reseal`). What is
sealed says where it belongs, so that a text that somebody moved to another row is refused.
"""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from cryptography.fernet import Fernet, InvalidToken, MultiFernet

from trimtab_kernel.problems import InputError, OutsideError, Problem

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from trimtab_bot.store.interface import Store

MAX_KEYS = 16
_MAX_BYTES = 4096


class Seal:
    """Seals and opens. Any thread may use it."""

    def __init__(self, keys: Sequence[str]) -> None:
        """Raises ValueError where a key is none; the error shows nothing of it."""
        if not 0 < len(keys) <= MAX_KEYS:
            raise ValueError(f"expected 1 to {MAX_KEYS} keys")
        try:
            self._fernet = MultiFernet([Fernet(key.encode("ascii")) for key in keys])
            self._first = Fernet(keys[0].encode("ascii"))
        except (ValueError, UnicodeEncodeError):
            raise ValueError("expected keys of 32 bytes in base64url, one a line") from None

    @classmethod
    def read(cls, path: Path) -> Seal:
        """The keys of a file, one a line, the newest first. Raises InputError (B110)."""
        try:
            with path.open("rb") as file:
                content = file.read(_MAX_BYTES)
            return cls(content.decode("ascii", "replace").split())
        except OSError as error:
            reason = (error.strerror or type(error).__name__).lower()
            raise InputError(Problem("B110", str(path), got=reason, expected="keys, one a line")) from None
        except ValueError as error:
            hint = "`trimtab bot new-key` prints one"
            expected = str(error).removeprefix("expected ")
            raise InputError(Problem("B110", str(path), got="no key", expected=expected, hint=hint)) from None

    def seal(self, place: str, value: dict[str, Any]) -> str:
        """``value`` (JSON) under seal, for this place alone."""
        return self._fernet.encrypt(json.dumps([place, value]).encode()).decode("ascii")

    def open(self, place: str, text: str) -> dict[str, Any]:
        """What was sealed. Raises OutsideError where no key fits, or it belongs elsewhere; neither is shown."""
        try:
            found = json.loads(self._fernet.decrypt(text.encode("ascii", "replace")))
        except InvalidToken:
            reason = "was sealed with a key that the file of keys does not have, or was changed"
            raise OutsideError(f"{place} {reason}; put that key back, or let it be made anew") from None
        if found[0] != place:
            raise OutsideError(f"{place} is what belongs to {found[0]}; somebody moved rows of the database")
        value: dict[str, Any] = found[1]
        return value

    def is_newest(self, text: str) -> bool:
        """Whether the first key of the file sealed it."""
        try:
            self._first.decrypt(text.encode("ascii", "replace"))
        except InvalidToken:
            return False
        return True

    def reseal(self, text: str) -> str:
        """The same under the first key. Raises OutsideError where no key fits."""
        try:
            return self._fernet.rotate(text.encode("ascii", "replace")).decode("ascii")
        except InvalidToken:
            raise OutsideError("something was sealed with a key that the file of keys does not have") from None


def new_key() -> str:
    """A random key for the file."""
    return Fernet.generate_key().decode("ascii")


def reseal_all(store: Store, seal: Seal, kinds: Sequence[str]) -> int:
    """Everything that older keys sealed is sealed by the newest; gives how much. What no key opens stays as it is."""
    count = 0
    with store.transaction() as work:
        for kind in kinds:
            for each in work.all_sealed(kind):
                if seal.is_newest(each.body):
                    continue
                try:
                    work.put_sealed(replace(each, body=seal.reseal(each.body)))
                except OutsideError:
                    continue  # told where it is used
                count += 1
    return count
