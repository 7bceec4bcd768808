"""What other documents and the compiler's choices can see of a document without reading it: its head. Pure.

Heads answer two questions about a tree of which most files are known from an earlier compile: is it sound (every check
between documents looks at heads alone), and which documents decide what a group gets. The key of a group is a digest over
the content of exactly those, so equal keys give equal bytes.
"""

from __future__ import annotations

import hashlib
import json
from functools import cached_property
from operator import attrgetter
from typing import TYPE_CHECKING, Any

from trimtab_kernel.canonical import canonical_json
from trimtab_kernel.records import dataclass

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from trimtab_config.render.options import RenderOptions
    from trimtab_config.spec.kinds import Document
    from trimtab_config.spec.reader import FileRead
    from trimtab_kernel.canonical import Json

GROUP = "DeviceGroup"
DEPLOYMENT = "EdgeAIDeployment"
MODEL = "Model"
_ORDER = attrgetter("kind", "namespace", "name", "content")


@dataclass(frozen=True, slots=True)
class Head:
    """Kind, namespace and name of a document; what others refer to in it and it refers to; and the digest of its content.

    ``seen`` is a function of the document alone, and ``sight`` a digest over kind, namespace, name and ``seen``. ``content``
    differs between two documents that differ in anything; ``where`` also between two that stand in other places.
    """

    kind: str
    namespace: str
    name: str
    seen: Mapping[str, Any]
    content: str
    sight: str
    where: str = ""

    def to_json(self) -> list[Json]:
        """Everything but the place."""
        return [self.kind, self.namespace, self.name, dict(self.seen), self.content, self.sight]

    @classmethod
    def from_json(cls, value: object, where: str = "") -> Head:
        """From :meth:`to_json`, at a place. Raises ValueError for anything else."""
        if not isinstance(value, list) or len(value) != 6:
            raise ValueError("expected kind, namespace, name, what is seen, the content and the sight")
        kind, namespace, name, seen, content, sight = value
        for text in (kind, namespace, name, content, sight):
            if not isinstance(text, str):
                raise ValueError("expected text")  # noqa: TRY004 - as promised above, for whatever is wrong
        if not isinstance(seen, dict):
            raise ValueError("expected an object")  # noqa: TRY004 - as promised above, for whatever is wrong
        if kind in {GROUP, DEPLOYMENT} and not isinstance(seen.get("labels"), dict):
            raise ValueError("expected labels")
        if kind == DEPLOYMENT and not (isinstance(seen.get("model"), str) and isinstance(seen.get("versions"), list)):
            raise ValueError("expected a model and versions")
        return cls(kind, namespace, name, seen, content, sight, where)


def placed(heads: Iterable[Head], file: str, digest: str) -> list[Head]:
    """The heads of a file's documents, with the place: its name, and ``digest`` over its bytes."""
    where = place_of(file, digest)
    return [Head(head.kind, head.namespace, head.name, head.seen, head.content, head.sight, where) for head in heads]


def place_of(file: str, digest: str) -> str:
    """Where a document stands that is in a file of that name with bytes of that digest."""
    return f"{file} {digest}"


def heads_of(read: FileRead, digest: str) -> tuple[Head, ...]:
    """The heads of a file's documents without their place; ``digest`` is one over the file's bytes.

    It stands for the content of a document that is alone in its file. Of several each gets its own, so that a change in
    one does not touch the others.
    """
    from trimtab_config.spec.plain import plain_document

    if len(read.documents) == 1:
        return (_head(read.documents[0], digest),)
    return tuple(_head(document, _digest(plain_document(document))) for document in read.documents)


def _head(document: Document, content: str) -> Head:
    metadata = document.metadata
    seen = _seen(document)
    # Only ever compared with others of the same compiler: one form is enough, and that of RFC 8785 takes far longer.
    text = json.dumps([document.kind, metadata.namespace, metadata.name, seen], sort_keys=True, separators=(",", ":"))
    sight = hashlib.sha256(text.encode()).hexdigest()
    return Head(document.kind, metadata.namespace, metadata.name, seen, content, sight)


def _seen(document: Document) -> dict[str, Any]:
    spec = document.spec
    match document.kind:
        case "DeviceGroup":
            return {"labels": dict(document.metadata.labels)}
        case "Model":
            return {"versions": [version.version for version in spec.versions]}
        case "EdgeAIDeployment":
            stable = [] if spec.rollout.stable is None else [spec.rollout.stable.version]
            arms = [arm.version for arm in spec.experiment.arms] if spec.experiment else []
            return {
                "labels": dict(spec.target_devices.labels),
                "model": spec.model_ref.name,
                "versions": [spec.model_ref.version, *stable, *arms],
                "groups": [list(wave.groups) for wave in spec.rollout.waves],
                "policies": [spec.finops_policy_ref, spec.ai_alignment_policy_ref],
            }
        case "OnDeviceModel":
            return {
                "model": spec.model_id,
                "labels": dict(spec.target_devices.labels),
                "policies": [spec.finops_policy_ref, spec.ai_alignment_policy_ref],
            }
        case "Hold":
            return {"model": spec.model, "groups": list(spec.groups)}
        case _:
            return {}


class Heads:
    """The heads of a whole tree."""

    def __init__(self, heads: Iterable[Head]) -> None:
        """``heads`` in any order; that of two documents of one kind, namespace and name counts."""
        self._heads = sorted(heads, key=_ORDER)
        self._groups = {head.name: head for head in self._heads if head.kind == GROUP}
        self._deployments = [head for head in self._heads if head.kind == DEPLOYMENT]
        self._models = {head.name: head for head in self._heads if head.kind == MODEL}

    @property
    def groups(self) -> tuple[str, ...]:
        """Names of the device groups, sorted."""
        return tuple(sorted(self._groups))

    @cached_property
    def soundness(self) -> str:
        """What the checks between documents look at, as one digest: two trees of the same one are both sound, or neither is.

        Documents that are unsound in themselves have no head.
        """
        return hashlib.sha256("\n".join([head.sight for head in self._heads]).encode()).hexdigest()

    def needed(self, group: str) -> tuple[Head, ...]:
        """The documents that decide what a group gets: its own, its deployments, their models, and everything shared.

        Deployments of other groups that name the same models are among them, since policy is told which versions of a
        model nobody asks for. Raises KeyError for a group that is not there.
        """
        own = self._groups[group]
        chosen = self._chosen(own)
        models = sorted({head.seen["model"] for head in chosen})
        return (
            own,
            *(head for name in models for head in self._naming.get(name, ())),
            *(self._models[name] for name in models if name in self._models),
            *self._shared,
        )

    def places(self, group: str) -> str:
        """A digest over where the documents that decide what a group gets stand, file by file.

        Raises KeyError for a group that is not there.
        """
        return hashlib.sha256("\n".join(head.where for head in self.needed(group)).encode()).hexdigest()

    def key(self, group: str, options: RenderOptions, maker: str) -> str:
        """The key of a group's objects: a digest over what decides them. ``maker`` stands for the compiler and its rules.

        Raises KeyError for a group that is not there.
        """
        own = self._groups[group]
        chosen = self._chosen(own)
        models = sorted({head.seen["model"] for head in chosen})
        parts = [
            maker,
            repr(options),
            own.content,
            self._shared_digest,
            *(head.content for head in chosen),
            # Of deployments that do not choose the group only what they name counts, and of models all.
            *(f"{name} {self._used(name)}" for name in models),
            *(self._models[name].content for name in models if name in self._models),
        ]
        return hashlib.sha256("\n".join(parts).encode()).hexdigest()

    @cached_property
    def _shared(self) -> tuple[Head, ...]:
        return tuple(head for head in self._heads if head.kind not in {GROUP, DEPLOYMENT, MODEL})

    @cached_property
    def _shared_digest(self) -> str:
        return hashlib.sha256("\n".join(head.content for head in self._shared).encode()).hexdigest()

    @cached_property
    def _naming(self) -> dict[str, list[Head]]:
        """Deployments by the model that they name."""
        found: dict[str, list[Head]] = {}
        for head in self._deployments:
            found.setdefault(head.seen["model"], []).append(head)
        return found

    @cached_property
    def _used_versions(self) -> dict[str, str]:
        return {
            name: json.dumps(sorted({version for head in heads for version in head.seen["versions"]}))
            for name, heads in self._naming.items()
        }

    def _used(self, model: str) -> str:
        return self._used_versions.get(model, "")

    def _chosen(self, group: Head) -> list[Head]:
        labels = group.seen["labels"].items()
        places = sorted({place for label in labels for place in self._wanting.get(label, ())})
        found = (self._deployments[place] for place in places)
        return [head for head in found if head.seen["labels"].items() <= labels]

    @cached_property
    def _wanting(self) -> dict[tuple[str, str], list[int]]:
        """Places of deployments by the first label that they want: an index, since groups times deployments can be millions."""
        found: dict[tuple[str, str], list[int]] = {}
        for place, head in enumerate(self._deployments):
            label = min(head.seen["labels"].items(), default=None)
            if label is not None:
                found.setdefault(label, []).append(place)
        return found


def _digest(value: Json) -> str:
    return hashlib.sha256(canonical_json(value)).hexdigest()
