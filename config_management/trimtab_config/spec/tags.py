"""Cost-allocation tags of an object, spelled as in YAML."""

from __future__ import annotations

from typing import TYPE_CHECKING

from trimtab_kernel import vocabulary

if TYPE_CHECKING:
    from trimtab_config.spec.kinds import Document, Tags

_ATTRIBUTES = {
    "project": "project",
    "app": "app",
    "team": "team",
    "businessUnit": "business_unit",
    "feature": "feature",
    "environment": "environment",
}


def tags_of(document: Document) -> tuple[tuple[str, str], ...]:
    """The tags that are set, sorted by name. Kinds without tags have none."""
    tags: Tags | None = getattr(document.spec, "tags", None)
    if tags is None:
        return ()
    found = ((name, getattr(tags, _ATTRIBUTES[name])) for name in vocabulary.TAGS)
    return tuple(sorted((name, value) for name, value in found if value is not None))
