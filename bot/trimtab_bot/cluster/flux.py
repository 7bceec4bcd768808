"""Flux's Kustomizations, and the sources that they follow, as deliveries. Read alone.

Fields are those of kustomize.toolkit.fluxcd.io/v1 and source.toolkit.fluxcd.io/v1. A Kustomization whose source stands still says
that it is Ready, at the old revision; so the chain above it is read too, up to the FleetArtifact and the repository behind.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeAlias

from trimtab_bot.cluster.connection import PAGE, connect, listed
from trimtab_bot.cluster.fields import labels_of, mapping, moment, printable_line, sequence, text
from trimtab_bot.delivery.interface import Delivery, State, commit_of
from trimtab_kernel.problems import OutsideError
from trimtab_kernel.vocabulary import FLEET_GROUP

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

Object: TypeAlias = "Mapping[str, Any]"
Key: TypeAlias = tuple[str, str, str]
"""Kind, namespace, name."""

KUSTOMIZATIONS = ("kustomize.toolkit.fluxcd.io", "v1", "kustomizations")
_SOURCES = "source.toolkit.fluxcd.io"
SOURCES = {
    "GitRepository": (_SOURCES, "v1", "gitrepositories"),
    "OCIRepository": (_SOURCES, "v1", "ocirepositories"),
    "ExternalArtifact": (_SOURCES, "v1", "externalartifacts"),
    "FleetArtifact": ("fleet.apexlogic.ai", "v1alpha1", "fleetartifacts"),
}
ORIGIN = "org.opencontainers.image.revision"
_LONGEST_CHAIN = 4


class FluxKustomizations:
    """A :class:`trimtab_bot.delivery.interface.DeliverySource`."""

    name = "Flux"
    kind = "Kustomization"

    def __init__(self, kubeconfig: Path | None, namespace: str, selector: str = "", page: int = PAGE) -> None:
        """``selector`` is for Kustomizations. Raises OutsideError where there is no cluster to talk to."""
        self._api = connect(kubeconfig)
        self._namespace = namespace
        self._selector = selector
        self._page = page

    def read(self) -> tuple[Delivery, ...]:
        """See DeliverySource."""
        items = listed(self._api, KUSTOMIZATIONS, self._namespace, self._selector, self._page)
        if items is None:
            raise OutsideError("cannot list kustomizations: the cluster does not know Flux's kinds; is it installed?")
        sources: dict[Key, Object] = {}
        wanted = {text(mapping(mapping(item, "spec"), "sourceRef"), "kind") for item in items}
        # What an ExternalArtifact comes from is a FleetArtifact, and that from any of the others.
        for kind in SOURCES if "ExternalArtifact" in wanted else sorted(wanted & SOURCES.keys()):
            for item in listed(self._api, SOURCES[kind], self._namespace, page=self._page) or ():
                metadata = mapping(item, "metadata")
                sources[kind, text(metadata, "namespace"), text(metadata, "name")] = item
        found = [made for item in items if (made := delivery(item, sources)) is not None]
        return tuple(sorted(found, key=lambda each: (each.group, each.name)))


def delivery(item: Object, sources: Mapping[Key, Object]) -> Delivery | None:
    """What a Kustomization and what is behind it say; None where it is of no device group. Pure."""
    metadata, spec, status = mapping(item, "metadata"), mapping(item, "spec"), mapping(item, "status")
    chain = _chain(item, sources)
    group = _group(item, chain)
    if not group:
        return None
    place = f"{text(metadata, 'namespace')}/{text(metadata, 'name')}"
    artifact = mapping(mapping(chain[0][1], "status"), "artifact") if chain else {}
    attempted, applied = text(status, "lastAttemptedRevision"), text(status, "lastAppliedRevision")
    ready, message = _ready(item)
    state, message = _state(item, ready, message, attempted, applied)
    step = f"flux reconcile kustomization {_arguments(place)} --with-source"
    automatic = spec.get("suspend") is not True
    if not automatic:
        step = f"flux resume kustomization {_arguments(place)}"
    for key, above in chain:
        suspended, words = mapping(above, "spec").get("suspend") is True, _ready(above)
        if suspended or words[0] == "False":
            name = f"{key[0]} {printable_line(f'{key[1]}/{key[2]}', 200)}"
            message = "; ".join(filter(None, (message, f"{name} {'is suspended' if suspended else words[1]}")))
            if suspended:
                automatic = False
                step = f"set spec.suspend of {name} to false"
            else:
                step = f"kubectl describe {key[0].lower()} {_arguments(f'{key[1]}/{key[2]}')}"
            # The Kustomization may well be Ready all the while, at what it had before: then these are its only words.
    return Delivery(
        group=group,
        name=f"Kustomization {printable_line(place, 200)}",
        state=state,
        seen=_named(text(artifact, "revision") or attempted, text(mapping(artifact, "metadata"), ORIGIN)),
        applied=_named(applied, text(status, "lastAppliedOriginRevision")),
        automatic=automatic,
        message=printable_line(message),
        at=_changed(item),
        next_step=step,
    )


def _named(revision: str, origin: str) -> tuple[str, ...]:
    """The revision, by the commit that it was made of where it is told."""
    if not revision:
        return ()
    return (origin if commit_of(origin) and not commit_of(revision) else revision,)


def _chain(item: Object, sources: Mapping[Key, Object]) -> list[tuple[Key, Object]]:
    """The source, what that comes from, and so on; what is not there ends it."""
    found: list[tuple[Key, Object]] = []
    current = item
    while len(found) < _LONGEST_CHAIN:
        reference = mapping(mapping(current, "spec"), "sourceRef")
        namespace = text(reference, "namespace") or text(mapping(current, "metadata"), "namespace")
        key = (text(reference, "kind"), namespace, text(reference, "name"))
        above = sources.get(key)
        if above is None:
            return found
        found.append((key, above))
        current = above
    return found


def _group(item: Object, chain: list[tuple[Key, Object]]) -> str:
    """By the object's own label, else by that of its source, which the controller of FleetArtifacts gives."""
    for each in (item, *(above for _, above in chain[:1])):
        found = labels_of(each).get(FLEET_GROUP, "")
        if found:
            return found
    return ""


def _ready(item: Object) -> tuple[str, str]:
    """The status of the condition Ready and its words, where it was observed for what the object asks now; else ""."""
    generation = mapping(item, "metadata").get("generation")
    for entry in sequence(mapping(item, "status"), "conditions"):
        if text(entry, "type") == "Ready":
            observed = entry.get("observedGeneration")
            if observed is not None and generation is not None and observed != generation:
                return "", ""
            return text(entry, "status"), f"{text(entry, 'reason')}: {text(entry, 'message')}"
    return "", ""


def _state(item: Object, ready: str, message: str, attempted: str, applied: str) -> tuple[State, str]:
    if mapping(item, "spec").get("suspend") is True:
        return State.SUSPENDED, message if ready == "False" else ""
    if ready == "True":
        return (State.HEALTHY, "") if attempted in ("", applied) else (State.PROGRESSING, message)
    if ready == "False":
        # Applied, and then not well: the check of health comes after the apply.
        sick = message.startswith("HealthCheckFailed")
        return State.DEGRADED if sick else State.OUT_OF_SYNC, message
    return State.PROGRESSING, message


def _changed(item: Object) -> float | None:
    for entry in sequence(mapping(item, "status"), "conditions"):
        if text(entry, "type") == "Ready":
            return moment(text(entry, "lastTransitionTime"))
    return None


def _arguments(place: str) -> str:
    namespace, _, name = place.partition("/")
    return f"{printable_line(name, 100)} -n {printable_line(namespace, 70)}"
