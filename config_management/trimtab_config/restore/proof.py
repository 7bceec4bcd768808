"""The proof that a restoration did what it says and nothing else, by the compiler's own reader."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from trimtab_config.restore.layout import ObjectKey
from trimtab_config.spec.reader import read_documents
from trimtab_kernel.problems import Collector, Problem

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from trimtab_config.spec.kinds import Document


@dataclass(frozen=True, slots=True)
class Proof:
    """What was compared. Every list is sorted; ``untouched`` counts the objects that are equal to the current base.

    ``restored`` are equal to the good commit, ``absent`` are in neither it nor the result, ``added`` were expected to be
    new (the Hold).
    """

    restored: tuple[ObjectKey, ...]
    absent: tuple[ObjectKey, ...]
    added: tuple[ObjectKey, ...]
    untouched: int


def prove_restoration(
    base: Mapping[str, bytes],
    good: Mapping[str, bytes],
    result: Mapping[str, bytes],
    keys: Iterable[ObjectKey],
    added: Iterable[ObjectKey] = (),
) -> tuple[Proof | None, tuple[Problem, ...]]:
    """Whether, as parsed objects, ``result`` is ``base`` with ``keys`` as they are in ``good`` and ``added`` beside them.

    Comments, file names and order do not count; everything that the compiler reads does. A difference is a Problem (G306),
    and so is any problem of reading ``result`` (G307): what cannot be read cannot be compared. The proof is None where
    there is a problem. It makes no use of the edit's own bookkeeping.
    """
    problems = Collector()
    read = read_documents(result)
    if read.problems:
        first = read.problems[0]
        problems.add(
            Problem("G307", first.file, first.line, first.field, f"{first.code} {first.got}", "a tree without problems")
        )
    after, before, then = (
        _objects(read.documents),
        _objects(read_documents(base).documents),
        _objects(read_documents(good).documents),
    )
    restored, new = set(keys), set(added)
    for key in sorted(restored):
        if after.get(key) != then.get(key):
            problems.add(_difference(key, after.get(key), then.get(key), "the good commit"))
    for key in sorted((after.keys() | before.keys()) - restored - new):
        if after.get(key) != before.get(key):
            problems.add(_difference(key, after.get(key), before.get(key), "the current base"))
    for key in sorted(new):
        if key not in after or key in before:
            problems.add(
                Problem("G306", got=f"{key} {'before' if key in before else 'not'} there", expected="a new object")
            )
    if problems.problems:
        return None, problems.sorted()
    return (
        Proof(
            restored=tuple(sorted(restored & after.keys())),
            absent=tuple(sorted(restored - after.keys())),
            added=tuple(sorted(new)),
            untouched=len(after.keys() - restored - new),
        ),
        (),
    )


def object_key(document: Document) -> ObjectKey:
    """The key of a parsed object."""
    return ObjectKey(document.api_version, document.kind, document.metadata.namespace, document.metadata.name)


def _objects(documents: Iterable[Document]) -> dict[ObjectKey, Document]:
    return {object_key(document): document for document in documents}


def _difference(key: ObjectKey, got: Document | None, expected: Document | None, where: str) -> Problem:
    if got is None or expected is None:
        there = "missing" if got is None else "there"
        return Problem("G306", got=f"{key} {there}", expected=f"what it is in {where}")
    return Problem("G306", got.origin.file, got.origin.line, "", f"another {key}", f"what it is in {where}")
