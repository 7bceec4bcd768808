"""Reading objects that others wrote: a field of another type than expected is as good as absent. Pure."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from trimtab_kernel.problems import printable

if TYPE_CHECKING:
    from collections.abc import Mapping

MESSAGE = 500


def mapping(item: Mapping[str, Any], field: str) -> Mapping[str, Any]:
    """The object in a field, else an empty one."""
    found = item.get(field)
    return found if isinstance(found, dict) else {}


def sequence(item: Mapping[str, Any], field: str) -> list[Mapping[str, Any]]:
    """The objects of the list in a field."""
    found = item.get(field)
    return [each for each in found if isinstance(each, dict)] if isinstance(found, list) else []


def text(item: Mapping[str, Any], field: str) -> str:
    """The text in a field, else ""."""
    found = item.get(field)
    return found if isinstance(found, str) else ""


def labels_of(item: Mapping[str, Any]) -> dict[str, str]:
    """An object's labels."""
    found = mapping(mapping(item, "metadata"), "labels")
    return {key: value for key, value in found.items() if isinstance(value, str)}


def printable_line(words: str, limit: int = MESSAGE) -> str:
    """An object's words on one line, safe to show, without runs of blanks."""
    return printable(" ".join(words.split()), limit)


def moment(stamp: str) -> float | None:
    """Kubernetes' form of a time as Unix seconds; None where it is none."""
    try:
        found = datetime.fromisoformat(stamp)
    except ValueError:
        return None
    return (found if found.tzinfo else found.replace(tzinfo=UTC)).timestamp()
