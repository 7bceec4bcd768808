"""What people type after ``/trimtab``, and on a pull request: one grammar, from which help and documentation are made. Pure.

Words are lower-case ASCII; nothing is corrected or guessed in a command that decides. A look-alike letter is refused by
name, since an approval must be what it seems to be.
"""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass
from enum import StrEnum


class Verb(StrEnum):
    """What a command asks for."""

    STATUS = "status"
    WHY = "why"
    HISTORY = "history"
    APPROVE = "approve"
    DENY = "deny"
    HELP = "help"


@dataclass(frozen=True, slots=True)
class Form:
    """One verb with what follows it: ``ID`` a proposal, ``REASON`` free text to the end of the line."""

    verb: Verb
    words: tuple[str, ...]
    says: str

    @property
    def usage(self) -> str:
        """As people type it."""
        return " ".join((self.verb.value, *self.words))


FORMS: tuple[Form, ...] = (
    Form(Verb.STATUS, (), "what the bot watches, and what waits for a decision"),
    Form(Verb.WHY, ("ID",), "the evidence behind a proposal, with sample size and interval"),
    Form(Verb.HISTORY, ("ID",), "everything that happened to a proposal's incident, in order"),
    Form(Verb.APPROVE, ("ID", "DIGEST"), "approve exactly what has this digest; `why ID` shows both"),
    Form(Verb.DENY, ("ID", "DIGEST", "REASON"), "deny it, and say why"),
    Form(Verb.HELP, (), "this list"),
)
MAX_COMMAND = 1000
_ID = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}", re.ASCII)
_DIGEST = re.compile(r"(?:sha256:)?[0-9a-f]{12,64}", re.ASCII)


@dataclass(frozen=True, slots=True)
class Command:
    """What was typed, understood."""

    verb: Verb
    proposal: str = ""
    digest: str = ""
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Mistake:
    """Why it was not understood: one sentence with the next step."""

    text: str


def parse(text: str) -> Command | Mistake:
    """Understand one line. Never raises."""
    if len(text) > MAX_COMMAND:
        return Mistake(f"a command has at most {MAX_COMMAND} characters, this one has {len(text)}")
    words = text.split()
    if not words:
        return Command(Verb.HELP)
    form = next((each for each in FORMS if each.verb == words[0]), None)
    if form is None:
        return Mistake(f"{_odd(words[0]) or 'no such command'}; one of {', '.join(Verb)}")
    given = words[1:]
    takes_text = bool(form.words) and form.words[-1] == "REASON"
    if len(given) < len(form.words) or (len(given) > len(form.words) and not takes_text):
        return Mistake(f"usage: {form.usage}")
    found = dict(zip(form.words, given, strict=False))
    for name, pattern, expected in (("ID", _ID, "a proposal's id"), ("DIGEST", _DIGEST, "12 to 64 hex digits")):
        word = found.get(name)
        if word is not None and pattern.fullmatch(word) is None:
            return Mistake(f"{_odd(word) or f'expected {expected} for {name}'}; usage: {form.usage}")
    reason = " ".join(given[len(form.words) - 1 :]) if takes_text else ""
    return Command(form.verb, found.get("ID", ""), found.get("DIGEST", "").removeprefix("sha256:"), reason)


def help_lines() -> tuple[str, ...]:
    """One line for each form."""
    width = max(len(form.usage) for form in FORMS)
    return tuple(f"{form.usage.ljust(width)}  {form.says}" for form in FORMS)


def _odd(word: str) -> str:
    """What is odd about a word that ought to be plain ASCII; "" for nothing."""
    for place, character in enumerate(word, 1):
        if not character.isascii():
            name = unicodedata.name(character, f"U+{ord(character):04X}")
            return f"character {place} is {name}, which only looks like a plain letter or is none"
    return ""
