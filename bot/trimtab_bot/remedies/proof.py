"""The proof that a remedy changed its own field and nothing else, by the compiler's own reader."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from trimtab_bot.inbox.interface import FactKind
from trimtab_bot.records import FactLine
from trimtab_bot.remedies.interface import Impossible
from trimtab_config.restore.fields import differences
from trimtab_config.sources.selection import is_manifest
from trimtab_kernel.problems import printable

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from trimtab_config.restore.layout import ObjectKey
    from trimtab_kernel.canonical import Json

WHOLE = ""
"""Stands for a whole object that is new or gone."""


def prove(
    before: Mapping[str, bytes],
    changes: Mapping[str, bytes | None],
    expected: Collection[tuple[ObjectKey, str]],
) -> tuple[FactLine, ...] | Impossible:
    """What differs, as evidence, where that is exactly ``expected`` (object and dotted field); B315 otherwise."""
    after = {path: content for path, content in {**before, **changes}.items() if content is not None}
    try:
        found = differences(_manifests(before), _manifests(after))
    except ValueError as error:
        return Impossible("B315", f"what would be changed cannot be read: {error}")
    others = sorted({(each.key, each.field) for each in found} ^ set(expected))
    if others:
        key, field = others[0]
        return Impossible("B315", f"{key} {field or 'as a whole'} would not change as it should; edit it by hand")
    shown = "; ".join(f"{each.key} {each.field} {_text(each.before)} -> {_text(each.after)}" for each in found)
    return (
        FactLine("Proof of effect", printable(f"{shown or 'no object'}; nothing else differs", 800), FactKind.FACT),
    )


def _manifests(files: Mapping[str, bytes]) -> dict[str, bytes]:
    return {path: content for path, content in files.items() if is_manifest(path)}


def _text(value: Json) -> str:
    if value is None:
        return "nothing"
    return "an object" if isinstance(value, dict) else json.dumps(value, ensure_ascii=False)
