"""Problems are data, errors are for the caller.

Ordinary badness (a wrong unit in a manifest, an unknown reference) is a :class:`Problem`: it names the file, the line
and the field, what was got, what was expected and the next step. Problems are collected and sorted, so that one run
shows all of them. Exceptions are few, and are split by what the reader should do about them.
"""

from __future__ import annotations

import re
from enum import IntEnum
from typing import TYPE_CHECKING

from trimtab_kernel.records import dataclass

if TYPE_CHECKING:
    from collections.abc import Iterable


class ExitCode(IntEnum):
    """Exit codes shared by every Trimtab command."""

    DONE = 0
    PROBLEMS = 1
    REFUSED = 2
    OUTSIDE = 3
    USAGE = 64


@dataclass(frozen=True, slots=True)
class Code:
    """A stable problem code: its title, why it exists and what to do next."""

    code: str
    title: str
    why: str
    next_step: str


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong, at one place.

    ``line`` is 1-based; 0 means that the whole file is meant. ``file`` is relative to the tree that was read, ``""``
    where no file is concerned. ``field`` is a dotted path such as ``spec.resourceLimits.cpu``.
    """

    code: str
    file: str = ""
    line: int = 0
    field: str = ""
    got: str = ""
    expected: str = ""
    hint: str = ""

    def sort_key(self) -> tuple[str, int, str, str, str]:
        """Problems are shown in this order: by file, line, field, code, then what was got."""
        return (self.file, self.line, self.field, self.code, self.got)

    def __str__(self) -> str:
        """One line: ``file:line field: CODE got ..., expected ...; hint``."""
        place = f"{self.file}:{self.line}" if self.file and self.line else self.file
        head = " ".join(part for part in (place, self.field) if part)
        says = ", ".join(
            part
            for part in (f"got {self.got}" if self.got else "", f"expected {self.expected}" if self.expected else "")
            if part
        )
        body = f"{self.code} {says}".rstrip()
        text = f"{head}: {body}" if head else body
        if self.hint:
            text = f"{text}; {self.hint}"
        return printable(text)

    def as_dict(self) -> dict[str, str | int]:
        """The problem as a JSON object, for ``--output json``."""
        return {
            "code": self.code,
            "file": printable(self.file),
            "line": self.line,
            "field": printable(self.field),
            "got": printable(self.got),
            "expected": printable(self.expected),
            "hint": printable(self.hint),
        }


# Control characters, and the bidirectional, zero-width and tag ones that can make a terminal or a page show other text.
_UNPRINTABLE = re.compile(
    "[\x00-\x1f\x7f-\x9f\xad\u061c\u180e\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb\ud800-\udfff\U000e0000-\U000e0fff]"
)


def _escaped(match: re.Match[str]) -> str:
    point = ord(match.group())
    return f"\\u{point:04x}" if point <= 0xFFFF else f"\\U{point:08x}"


def printable(text: str, limit: int = 2000) -> str:
    r"""``text`` on one line, safe to show: control, bidirectional and surrogate characters as ``\uXXXX``, cut at ``limit``."""
    shown = _UNPRINTABLE.sub(_escaped, text)
    return shown if len(shown) <= limit else f"{shown[:limit]}..."


def quoted(value: object, limit: int = 80) -> str:
    """``value`` as it is shown after "got": strings in double quotes, long ones cut at ``limit`` characters."""
    try:
        text = str(value)
    except ValueError:  # Python writes no whole number of so many digits
        text = "a number of thousands of digits"
    if len(text) > limit:
        text = f"{text[:limit]}..."
    return f'"{printable(text)}"' if isinstance(value, str) else printable(text)


class Collector:
    """Gathers problems while a document is read, so that all of them are shown at once."""

    __slots__ = ("problems",)

    def __init__(self) -> None:
        self.problems: list[Problem] = []

    def add(self, problem: Problem) -> None:
        """Remember one more problem."""
        self.problems.append(problem)

    def extend(self, problems: Iterable[Problem]) -> None:
        """Remember several."""
        self.problems.extend(problems)

    def sorted(self) -> tuple[Problem, ...]:
        """All problems, without repeats, in reading order."""
        return sort_problems(self.problems)


def sort_problems(problems: Iterable[Problem]) -> tuple[Problem, ...]:
    """``problems`` without repeats, in reading order."""
    return tuple(sorted(set(problems), key=Problem.sort_key))


class TrimtabError(Exception):
    """Base of every error that Trimtab raises on purpose."""

    exit_code: ExitCode = ExitCode.PROBLEMS


class InputError(TrimtabError):
    """The input is wrong; the problems say where. Trying again without a change is useless."""

    exit_code = ExitCode.PROBLEMS

    def __init__(self, *problems: Problem) -> None:
        """``problems`` must not be empty: an error that names nothing helps nobody."""
        if not problems:
            raise ValueError("an InputError carries at least one problem")
        self.problems = sort_problems(problems)
        super().__init__("\n".join(str(p) for p in self.problems))


class RefusedError(TrimtabError):
    """A rule of policy or of approval says no. ``code`` is stable and explained by ``trimtab explain``."""

    exit_code = ExitCode.REFUSED

    def __init__(self, code: str, reason: str) -> None:
        """``reason`` is one lowercase sentence with the next step."""
        self.code = code
        self.reason = reason
        super().__init__(f"{code} {reason}")


class TrustError(TrimtabError):
    """Bytes are not what was promised (digest, signature, freshness, audience). Never to be used."""

    exit_code = ExitCode.REFUSED

    def __init__(self, code: str, reason: str) -> None:
        """``reason`` names what was got and what was expected."""
        self.code = code
        self.reason = reason
        super().__init__(f"{code} {reason}")


class OutsideError(TrimtabError):
    """Something outside did not answer as it should; trying later may help."""

    exit_code = ExitCode.OUTSIDE

    def __init__(self, reason: str, retry_after: float | None = None) -> None:
        """``retry_after`` in seconds, where the other side said so."""
        self.reason = reason
        self.retry_after = retry_after
        super().__init__(reason)
