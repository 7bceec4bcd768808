"""Where a placement comes from: one digest over everything that decided it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from trimtab_config.spec.plain import plain, plain_document
from trimtab_kernel.canonical import canonical_json
from trimtab_kernel.identity import Digest

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

    from trimtab_config.spec.kinds import Document, ModelVersion
    from trimtab_kernel.canonical import Json


class SourceDigests:
    """Digests over the canonical JSON of a parsed deployment, the versions of its model, and the group.

    Comments, file names, the order of files and Holds play no part. Each document is written out once and kept, since
    a model serves many groups; the parts are put together as text, which gives the bytes that
    ``canonical_json({"deployment": ..., "group": ..., "model": ...})`` would.
    """

    def __init__(self) -> None:
        self._documents: dict[int, tuple[Document, bytes]] = {}
        self._versions: dict[int, tuple[ModelVersion, bytes]] = {}
        self._models: dict[int, tuple[Document, bytes]] = {}

    def forms(self, kept: Collection[int]) -> tuple[list[Any], list[Any], list[Any]]:
        """Documents, versions and models written out so far, each with its text; of documents those whose id is in ``kept``."""
        documents = [found for key, found in self._documents.items() if key in kept]
        models = [found for key, found in self._models.items() if key in kept]
        return documents, list(self._versions.values()), models

    def know(self, documents: Iterable[Any], versions: Iterable[Any], models: Iterable[Any]) -> None:
        """Take what :meth:`forms` gave as written out."""
        for known, found in ((self._documents, documents), (self._versions, versions), (self._models, models)):
            known.update((id(each[0]), each) for each in found)

    def forget(self, document: Document) -> None:
        """Keep nothing of a document that does not stay."""
        self._documents.pop(id(document), None)

    def digest(
        self, deployment: Document, group: Document, model: Document | None, versions: Iterable[ModelVersion]
    ) -> Digest:
        """``model`` is None for an OnDeviceModel, which needs no Model object."""
        parts = [b'"deployment":' + self._document(deployment), b'"group":' + self._document(group)]
        if model is not None:
            listed = b",".join(self._version(version) for version in versions)
            parts.append(b'"model":{' + self._model(model) + b',"versions":[' + listed + b"]}")
        return Digest.of(b"{" + b",".join(parts) + b"}")

    def _document(self, document: Document) -> bytes:
        # Kept by identity, with the object itself so that the id stays its own.
        found = self._documents.get(id(document))
        if found is None:
            found = self._documents[id(document)] = (document, canonical_json(plain_document(document)))
        return found[1]

    def _model(self, model: Document) -> bytes:
        found = self._models.get(id(model))
        if found is None:
            alignment = canonical_json(plain(model.spec.alignment))
            begin = b'"alignment":' + alignment + b',"name":' + canonical_json(model.metadata.name)
            found = self._models[id(model)] = (model, begin)
        return found[1]

    def _version(self, version: ModelVersion) -> bytes:
        found = self._versions.get(id(version))
        if found is None:
            found = self._versions[id(version)] = (version, canonical_json(plain(version)))
        return found[1]


def source_json(
    deployment: Document, group: Document, model: Document | None, versions: Iterable[ModelVersion]
) -> dict[str, Json]:
    """What :class:`SourceDigests` is a digest of, as one JSON value: for reading and for checking."""
    data: dict[str, Json] = {"deployment": plain_document(deployment), "group": plain_document(group)}
    if model is not None:
        data["model"] = {
            "name": model.metadata.name,
            "alignment": plain(model.spec.alignment),
            "versions": [plain(version) for version in versions],
        }
    return data
