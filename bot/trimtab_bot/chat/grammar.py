"""What people type after ``/trimtab``, on a pull request and on the command line: one grammar, one table. Pure.

Help, documentation and tests are made from :data:`FORMS`. Words are lower-case ASCII; nothing is corrected or guessed. A
look-alike letter, an invisible character, another case or a word too many is refused, with the nearest right command
beside it, since a decision must be what it seems to be.
"""

from __future__ import annotations

import difflib
import re
import unicodedata
from dataclasses import dataclass
from enum import StrEnum


class Verb(StrEnum):
    """What a command asks for."""

    STATUS = "status"
    WHY = "why"
    COST = "cost"
    ROLLOUT = "rollout"
    PROMOTE = "promote"
    PAUSE = "pause"
    RESUME = "resume"
    ABORT = "abort"
    ROLLBACK = "rollback"
    HOLD = "hold"
    RELEASE = "release"
    PROPOSE = "propose"
    SILENCE = "silence"
    APPROVE = "approve"
    DENY = "deny"
    REVOKE = "revoke"
    ACK = "ack"
    ESCALATE = "escalate"
    HISTORY = "history"
    LINK = "link"
    UNLINK = "unlink"
    HELP = "help"


class Right(StrEnum):
    """Who may: the role that a person needs."""

    VIEWER = "viewer"
    APPROVER = "approver"
    BREAK_GLASS = "break-glass"


@dataclass(frozen=True, slots=True)
class Form:
    """One way to use a verb. ``words`` in order; ``[WORD]`` may be left out, a lower-case word stands for itself.

    ``REASON`` is free text to the end of the line. ``example`` is a whole command.
    """

    verb: Verb
    words: tuple[str, ...]
    right: Right
    says: str
    example: str

    @property
    def usage(self) -> str:
        """As people type it."""
        return " ".join((self.verb.value, *self.words))


_D = "0123456789ab"
FORMS: tuple[Form, ...] = (
    Form(Verb.STATUS, (), Right.VIEWER, "what is watched, what is open, what waits for a decision", "status"),
    Form(Verb.WHY, ("ID",), Right.VIEWER, "the evidence behind a proposal or an incident", "why p-1a2b3c4d5e"),
    Form(Verb.COST, ("[GROUP]",), Right.VIEWER, "what the fleet, or one group, costs a month", "cost kiosk-emea"),
    Form(Verb.ROLLOUT, ("[NAME]",), Right.VIEWER, "which wave rollouts stand at, and their gates", "rollout triage"),
    Form(Verb.PROMOTE, ("NAME",), Right.APPROVER, "propose the next wave of a rollout", "promote triage-gateways"),
    Form(
        Verb.PAUSE, ("NAME", "REASON"), Right.APPROVER, "propose to pause a rollout", "pause triage-gateways odd scores"
    ),
    Form(Verb.RESUME, ("NAME", "REASON"), Right.APPROVER, "propose to go on with it", "resume triage-gateways checked"),
    Form(
        Verb.ABORT,
        ("NAME", "REASON"),
        Right.APPROVER,
        "propose the stable version for everybody, and hold the other",
        "abort triage-gateways crashes on old kernels",
    ),
    Form(
        Verb.ROLLBACK,
        ("MODEL", "VERSION", "REASON"),
        Right.APPROVER,
        "propose the last verified state, and hold the version",
        "rollback triage 1.2.0 wrong referrals",
    ),
    Form(
        Verb.HOLD,
        ("MODEL", "VERSION", "DAYS", "REASON"),
        Right.APPROVER,
        "propose to keep a version out",
        "hold triage 1.2.0 14 recall under way",
    ),
    Form(
        Verb.RELEASE, ("NAME", "REASON"), Right.APPROVER, "propose to end a hold", "release digits-2.0.0 fixed upstream"
    ),
    Form(
        Verb.PROPOSE,
        ("REMEDY", "NAME", "OPTIONS", "REASON"),
        Right.APPROVER,
        "propose any registered remedy; options as name=value",
        "propose frequency triage-kiosks maximumPerMinute=300 budget is used up",
    ),
    Form(
        Verb.SILENCE,
        ("ID", "SPAN", "REASON"),
        Right.APPROVER,
        "no calls for help about an incident for 1h, 4h, or until-resolved",
        "silence i-1a2b3c4d5e 4h known, vendor is on it",
    ),
    Form(
        Verb.APPROVE,
        ("ID", "DIGEST"),
        Right.APPROVER,
        "approve exactly what has this digest; `why ID` shows both",
        f"approve p-1a2b3c4d5e {_D}",
    ),
    Form(
        Verb.APPROVE,
        ("ID", "DIGEST", "break-glass", "REASON"),
        Right.BREAK_GLASS,
        "approve alone in an emergency; a second person reviews it afterwards",
        f"approve p-1a2b3c4d5e {_D} break-glass patients are referred wrongly",
    ),
    Form(
        Verb.DENY, ("ID", "DIGEST", "REASON"), Right.APPROVER, "deny it, and say why", f"deny p-1a2b3c4d5e {_D} sensor"
    ),
    Form(
        Verb.REVOKE,
        ("ID", "DIGEST"),
        Right.APPROVER,
        "take back one's own approval, before it is carried out",
        f"revoke p-1a2b3c4d5e {_D}",
    ),
    Form(Verb.ACK, ("ID",), Right.APPROVER, "take an incident: others see who is on it", "ack i-1a2b3c4d5e"),
    Form(Verb.ESCALATE, ("ID", "REASON"), Right.APPROVER, "call for help", "escalate i-1a2b3c4d5e need the vendor"),
    Form(Verb.HISTORY, ("ID",), Right.VIEWER, "everything that happened, in order", "history i-1a2b3c4d5e"),
    Form(
        Verb.LINK,
        ("github",),
        Right.VIEWER,
        "link one's own account there, whose reviews approvals become",
        "link github",
    ),
    Form(Verb.UNLINK, ("github",), Right.VIEWER, "end that link, here and there", "unlink github"),
    Form(Verb.HELP, ("[VERB]",), Right.VIEWER, "this list, or one verb with an example", "help approve"),
)
MAX_COMMAND = 1000
MAX_OPTIONS = 8
UNTIL_RESOLVED = "until-resolved"


@dataclass(frozen=True, slots=True)
class _Word:
    """What a word may look like, and what people call it."""

    pattern: re.Pattern[str]
    expected: str


_WORDS = {
    name: _Word(re.compile(pattern, re.ASCII), expected)
    for name, pattern, expected in (
        ("ID", r"[a-z0-9][a-z0-9._-]{0,63}", "the id of a proposal or an incident"),
        ("DIGEST", r"(?:sha256:)?[0-9a-f]{12,64}", "12 to 64 hex digits"),
        ("NAME", r"(?:[a-z0-9][a-z0-9.-]{0,62}/)?[a-z0-9][a-z0-9.-]{0,252}", "an object's NAME or NAMESPACE/NAME"),
        ("GROUP", r"[a-z0-9][a-z0-9-]{0,62}", "a device group"),
        ("MODEL", r"[A-Za-z0-9][A-Za-z0-9._-]{0,252}", "a model's name"),
        ("VERSION", r"[0-9][0-9A-Za-z.+-]{0,63}", "a version such as 1.2.0"),
        ("DAYS", r"[1-9][0-9]{0,2}", "1 to 999 days"),
        ("SPAN", r"[1-9][0-9]{0,2}[mhd]|until-resolved", "a span such as 1h, 4h or 2d, or until-resolved"),
        ("REMEDY", r"[a-z][a-z-]{0,31}", "a remedy"),
        ("VERB", r"[a-z]{1,16}", "a verb"),
    )
}
_OPTION = re.compile(r"([a-z][A-Za-z]{0,31})=([!-~]{1,256})", re.ASCII)
_SECONDS = {"m": 60, "h": 3600, "d": 86400}
# Letters of other scripts that are taken for plain ones; only to find out what was meant, never to act on it.
_TWINS = str.maketrans("аеорсухіјѕԁһԛԝѵοανρτικβғ", "aeopcyxijsdhqwvoavptikbf")


@dataclass(frozen=True, slots=True)
class Command:
    """What was typed, understood. What a form does not have is empty.

    ``proposal`` is any id (``p-`` or ``i-``); ``name`` that of an object; ``seconds`` 0 for "until resolved".
    """

    verb: Verb
    proposal: str = ""
    digest: str = ""
    reason: str = ""
    name: str = ""
    model: str = ""
    version: str = ""
    days: int = 0
    seconds: int = 0
    remedy: str = ""
    options: tuple[tuple[str, str], ...] = ()
    about: str = ""
    break_glass: bool = False

    @property
    def right(self) -> Right:
        """The role that it needs."""
        if self.break_glass:
            return Right.BREAK_GLASS
        return next(form.right for form in FORMS if form.verb is self.verb)


@dataclass(frozen=True, slots=True)
class Mistake:
    """Why it was not understood: one sentence with the next step."""

    text: str


def parse(text: str) -> Command | Mistake:
    """Understand one line. Never raises."""
    if len(text) > MAX_COMMAND:
        return Mistake(f"a command has at most {MAX_COMMAND} characters, this one has {len(text)}")
    hidden = _hidden(text.strip(" \t\r\n"))
    if hidden:
        return Mistake(f"{hidden}; type the command anew, in plain characters on one line")
    words = text.split()
    if not words:
        return Command(Verb.HELP)
    forms = tuple(form for form in FORMS if form.verb == words[0])
    if not forms:
        return Mistake(f"{_odd(words[0]) or 'no such command'}; {_nearest(words[0])}")
    given = words[1:]
    # A form with a fixed word is meant where that word stands in its place.
    form = next((each for each in forms if _is_marked(each, given)), forms[0])
    return _fill(form, given, forms)


def _is_marked(form: Form, given: list[str]) -> bool:
    marks = [(place, word) for place, word in enumerate(form.words) if word.islower()]
    return bool(marks) and all(len(given) > place and given[place] == word for place, word in marks)


def _fill(form: Form, given: list[str], forms: tuple[Form, ...]) -> Command | Mistake:
    usage = " or ".join(each.usage for each in forms)
    needed = [word for word in form.words if not word.startswith("[") and word != "OPTIONS"]
    free = form.words[-1:] == ("REASON",)
    if len(given) < len(needed) or (len(given) > len(form.words) and not free):
        extra = "" if len(given) < len(needed) else f'"{given[len(form.words)]}" is a word too many; '
        return Mistake(f"{extra}usage: {usage}")
    found: dict[str, str] = {}
    options: list[tuple[str, str]] = []
    rest = list(given)
    for word in form.words:
        if word == "REASON":
            found[word] = " ".join(rest)
            if not rest:
                return Mistake(f"a reason is missing; usage: {usage}")
            break
        if word == "OPTIONS":
            while rest and (option := _OPTION.fullmatch(rest[0])):
                options.append((option[1], option[2]))
                rest.pop(0)
            continue
        if not rest:
            break
        value, name = rest.pop(0), word.strip("[]")
        if word.islower():
            if value != word:
                return Mistake(f"{_odd(value) or f'expected the word {word}'}; usage: {usage}")
        elif _WORDS[name].pattern.fullmatch(value) is None:
            return Mistake(f"{_odd(value) or f'expected {_WORDS[name].expected} for {name}'}; usage: {usage}")
        found[name] = value
    if len(options) > MAX_OPTIONS or len({name for name, _ in options}) < len(options):
        return Mistake(f"each option once, at most {MAX_OPTIONS} of them; usage: {usage}")
    span = found.get("SPAN", UNTIL_RESOLVED)
    return Command(
        form.verb,
        proposal=found.get("ID", ""),
        digest=found.get("DIGEST", "").removeprefix("sha256:"),
        reason=found.get("REASON", ""),
        name=found.get("NAME", found.get("GROUP", "")),
        model=found.get("MODEL", ""),
        version=found.get("VERSION", ""),
        days=int(found.get("DAYS", "0")),
        seconds=0 if span == UNTIL_RESOLVED else int(span[:-1]) * _SECONDS[span[-1]],
        remedy=found.get("REMEDY", ""),
        options=tuple(options),
        about=found.get("VERB", ""),
        break_glass="break-glass" in found,
    )


def help_lines(verb: str = "") -> tuple[str, ...]:
    """One line for each form; of one verb, also who may and an example."""
    forms = [form for form in FORMS if verb in ("", form.verb)]
    if not forms:
        return (f"{_odd(verb) or 'no such command'}; {_nearest(verb)}",)
    width = max(len(form.usage) for form in forms)
    lines = []
    for form in forms:
        lines.append(f"{form.usage.ljust(width)}  {form.says}")
        if verb:
            lines.append(f"  who: {form.right.value}; for example: {form.example}")
    return tuple(lines)


def help_table() -> str:
    """The grammar as Markdown, as the documentation shows it."""
    rows = [f"| `/trimtab {form.usage}` | {form.says} | {form.right.value} | `{form.example}` |" for form in FORMS]
    return "\n".join(("| command | what it does | who | for example |", "|---|---|---|---|", *rows))


def _nearest(word: str) -> str:
    plain = unicodedata.normalize("NFKD", word.lower().translate(_TWINS))
    plain = "".join(character for character in plain if character.isascii() and character.isprintable())
    close = difflib.get_close_matches(plain, [verb.value for verb in Verb], n=1, cutoff=0.6)
    if close:
        usages = " or ".join(form.usage for form in FORMS if form.verb == close[0])
        return f"the nearest is: {usages}"
    return f"one of {', '.join(Verb)}"


def _hidden(text: str) -> str:
    """Which character cannot be seen, or breaks the line; "" for none."""
    for place, character in enumerate(text, 1):
        if character not in " \t" and unicodedata.category(character) in (
            "Cc",
            "Cf",
            "Cs",
            "Co",
            "Cn",
            "Zl",
            "Zp",
            "Zs",
        ):
            return f"character {place} is {_name(character)}, which cannot be seen"
    return ""


def _odd(word: str) -> str:
    """What is odd about a word that ought to be plain ASCII; "" for nothing."""
    for place, character in enumerate(word, 1):
        if not character.isascii():
            return f"character {place} is {_name(character)}, which only looks like a plain letter or is none"
    return "" if word == word.lower() or not word.isalpha() else "commands are in lower case"


def _name(character: str) -> str:
    return unicodedata.name(character, f"U+{ord(character):04X}")
