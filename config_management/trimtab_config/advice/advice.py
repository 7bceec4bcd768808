"""One piece of advice as data: what to change, what it saves, what it rests on."""

from __future__ import annotations

import difflib
from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum
from typing import TYPE_CHECKING

from trimtab_config.cost.report import decimal_text
from trimtab_kernel.money import Grade, weakest

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from trimtab_config.restore.layout import ObjectKey
    from trimtab_kernel.canonical import Json
    from trimtab_kernel.money import Figure

_ZERO = Decimal(0)


class Topic(StrEnum):
    """What the advice is about."""

    VARIANT = "variant"
    LIMITS = "limits"
    PLACEMENT = "placement"
    PURCHASE = "purchase"
    FREQUENCY = "frequency"
    REPLICAS = "replicas"
    UNUSED = "unused"


@dataclass(frozen=True, slots=True)
class Saving:
    """Money a month (730 h) that is no longer spent, in one currency, with bounds. Negative where the advice costs money."""

    currency: str
    value: Decimal
    low: Decimal
    high: Decimal
    grade: Grade

    @classmethod
    def of(cls, currency: str, figure: Figure) -> Saving:
        """All of ``figure`` is saved."""
        return cls(currency, figure.value, figure.low, figure.high, figure.grade)

    def to_json(self) -> dict[str, Json]:
        """Amounts as exact decimal text."""
        return {
            "currency": self.currency,
            "value": decimal_text(self.value),
            "low": decimal_text(self.low),
            "high": decimal_text(self.high),
            "grade": self.grade.value,
        }


@dataclass(frozen=True, slots=True)
class Advice:
    """One change of the fleet's files. ``changes`` hold new contents by path, None for a file that goes.

    ``why`` are the figures it rests on, ``heed`` what a person must weigh that no figure here says.
    """

    topic: Topic
    key: ObjectKey
    title: str
    groups: tuple[str, ...]
    savings: tuple[Saving, ...]
    why: tuple[str, ...]
    heed: tuple[str, ...]
    changes: Mapping[str, bytes | None]

    @property
    def name(self) -> str:
        """A name for files and links: ``limits-clinics-triage-kiosks``."""
        return f"{self.topic.value}-{self.key.namespace}-{self.key.name}"

    def to_json(self, before: Mapping[str, bytes]) -> dict[str, Json]:
        """With the patch against ``before``."""
        return {
            "name": self.name,
            "topic": self.topic.value,
            "object": {"kind": self.key.kind, "namespace": self.key.namespace, "name": self.key.name},
            "title": self.title,
            "groups": list(self.groups),
            "savings": [saving.to_json() for saving in self.savings],
            "why": list(self.why),
            "heed": list(self.heed),
            "patch": patch(before, self.changes),
        }


def difference(currency: str, before: Sequence[Figure], after: Sequence[Figure]) -> Saving:
    """What is saved where the same prices, requests and errors hold before and after.

    Both sums are made of the same uncertain figures, so their low bounds come true together, and so do their high ones:
    the saving is between the differences of equal bounds. Subtracting as if they were independent would only widen it.
    """
    value, *bounds = (_sum(before, bound) - _sum(after, bound) for bound in ("value", "low", "high"))
    grades = [figure.grade for figure in (*before, *after)]
    grade = weakest(*grades) if grades else Grade.MEASURED
    return Saving(currency, value, min(value, *bounds), max(value, *bounds), grade)


def _sum(figures: Sequence[Figure], bound: str) -> Decimal:
    return sum((getattr(figure, bound) for figure in figures), _ZERO)


def patch(before: Mapping[str, bytes], changes: Mapping[str, bytes | None]) -> str:
    """The change as a unified diff with Git's headers, which ``git apply`` takes in the fleet's folder."""
    parts: list[str] = []
    for path in sorted(changes):
        old, new = before.get(path), changes[path]
        if old == new:
            continue
        parts.append(f"diff --git a/{path} b/{path}\n")
        if new is None:
            parts.append("deleted file mode 100644\n")
        elif old is None:
            parts.append("new file mode 100644\n")
        then, now = ((content or b"").decode("utf-8").splitlines(keepends=True) for content in (old, new))
        names = ("/dev/null" if old is None else f"a/{path}", "/dev/null" if new is None else f"b/{path}")
        for line in difflib.unified_diff(then, now, *names):
            parts.append(line if line.endswith("\n") else f"{line}\n\\ No newline at end of file\n")
    return "".join(parts)
