"""Argo CD's Applications as deliveries. Read alone; what Argo CD writes into an Application's status is translated, and no more.

Fields are those of argoproj.io/v1alpha1 as Argo CD 2.10 to 3.2 write them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from trimtab_bot.cluster.connection import PAGE, connect, listed
from trimtab_bot.cluster.fields import labels_of, mapping, moment, printable_line, sequence, text
from trimtab_bot.delivery.interface import Delivery, State
from trimtab_kernel.problems import OutsideError
from trimtab_kernel.vocabulary import FLEET_GROUP

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

KIND = ("argoproj.io", "v1alpha1", "applications")
_HEALTH = {
    "Healthy": State.HEALTHY,
    "Progressing": State.PROGRESSING,
    "Degraded": State.DEGRADED,
    "Missing": State.DEGRADED,
    "Suspended": State.SUSPENDED,
}
_FAILED = frozenset({"Failed", "Error"})


class ArgoApplications:
    """A :class:`trimtab_bot.delivery.interface.DeliverySource`."""

    name = "Argo CD"
    kind = "Application"

    def __init__(self, kubeconfig: Path | None, namespace: str, selector: str = "", page: int = PAGE) -> None:
        """Raises OutsideError where there is no cluster to talk to."""
        self._api = connect(kubeconfig)
        self._namespace = namespace
        self._selector = selector
        self._page = page

    def read(self) -> tuple[Delivery, ...]:
        """See DeliverySource."""
        items = listed(self._api, KIND, self._namespace, self._selector, self._page)
        if items is None:
            raise OutsideError("cannot list applications: the cluster does not know Argo CD's kinds; is it installed?")
        found = [made for item in items if (made := delivery(item)) is not None]
        return tuple(sorted(found, key=lambda each: (each.group, each.name)))


def delivery(item: Mapping[str, Any]) -> Delivery | None:
    """What an Application says; None where it is of no device group. Pure."""
    metadata, spec, status = mapping(item, "metadata"), mapping(item, "spec"), mapping(item, "status")
    group = _group(item)
    if not group:
        return None
    place = f"{text(metadata, 'namespace')}/{text(metadata, 'name')}"
    sync, operation = mapping(status, "sync"), mapping(status, "operationState")
    seen = _revisions(sync)
    synced = text(sync, "status") == "Synced"
    state, message = _state(status, sync, operation)
    automated = mapping(spec, "syncPolicy").get("automated")
    automatic = isinstance(automated, dict) and automated.get("enabled", True) is not False
    return Delivery(
        group=group,
        name=f"Application {printable_line(place, 200)}",
        state=state,
        seen=seen,
        applied=seen if synced else _revisions(mapping(operation, "syncResult")) if _succeeded(operation) else (),
        automatic=automatic,
        message=printable_line(message),
        at=moment(text(status, "reconciledAt") or text(operation, "finishedAt")),
        next_step=_next_step(place, state, automatic=automatic),
    )


def _succeeded(operation: Mapping[str, Any]) -> bool:
    return text(operation, "phase") == "Succeeded"


def _group(item: Mapping[str, Any]) -> str:
    """By the label that the fleet service's ApplicationSet gives, else by the plugin's parameter."""
    labelled = labels_of(item).get(FLEET_GROUP, "")
    if labelled:
        return labelled
    spec = mapping(item, "spec")
    for source in (mapping(spec, "source"), *sequence(spec, "sources")):
        for parameter in sequence(mapping(source, "plugin"), "parameters"):
            if text(parameter, "name") == "group":
                return text(parameter, "string")
    return ""


def _revisions(part: Mapping[str, Any]) -> tuple[str, ...]:
    listed_ones = part.get("revisions")
    several = [each for each in listed_ones if each and isinstance(each, str)] if isinstance(listed_ones, list) else []
    one = text(part, "revision")
    return tuple(several) if several else (one,) if one else ()


def _state(status: Mapping[str, Any], sync: Mapping[str, Any], operation: Mapping[str, Any]) -> tuple[State, str]:
    """The state, and the words that explain it."""
    conditions = "; ".join(
        f"{text(each, 'type')}: {text(each, 'message')}"
        for each in sequence(status, "conditions")
        if text(each, "type").endswith("Error")
    )
    told = text(sync, "status")
    if told not in ("Synced", "OutOfSync"):
        return State.UNKNOWN, conditions
    phase, words = text(operation, "phase"), text(operation, "message")
    if told == "OutOfSync":
        if phase == "Running" and not operation.get("retryCount"):
            return State.PROGRESSING, words
        retried = phase == "Running"
        return State.OUT_OF_SYNC, "; ".join(filter(None, (conditions, words if phase in _FAILED or retried else "")))
    health = text(mapping(status, "health"), "status")
    found = _HEALTH.get(health, State.UNKNOWN)
    if found is State.HEALTHY:
        return found, ""
    if found is State.UNKNOWN and not health:
        return State.PROGRESSING, conditions
    said = [text(mapping(status, "health"), "message")]
    for each in sequence(status, "resources"):
        judged = mapping(each, "health")
        if text(judged, "status") == health and text(judged, "message"):
            said.append(f"{text(each, 'kind')} {text(each, 'name')}: {text(judged, 'message')}")
    return found, "; ".join(filter(None, (conditions, *said[:3])))


def _next_step(place: str, state: State, *, automatic: bool) -> str:
    namespace, _, name = place.partition("/")
    shown = f"{printable_line(name, 100)} -N {printable_line(namespace, 70)}"
    if not automatic:
        return f"argocd app sync {shown}, or turn automated sync on"
    if state is State.UNKNOWN:
        return f"trimtab validate the fleet, then argocd app get {shown} --hard-refresh"
    if state is State.DEGRADED:
        return f"argocd app resources {shown}"
    return f"argocd app get {shown} --refresh"
