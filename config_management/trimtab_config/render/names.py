"""Names and labels of rendered objects, within the limits of Kubernetes."""

from __future__ import annotations

import hashlib

from trimtab_kernel import vocabulary
from trimtab_kernel.identity import MAX_LABEL, MAX_NAME

APP_NAME = "trimtab-runtime"
MANAGED_BY = "trimtab"
_HASH_DIGITS = 10


def fitted(name: str, limit: int = MAX_NAME) -> str:
    """``name``, or, where it is longer than ``limit``, its beginning and a hash of all of it."""
    if len(name) <= limit:
        return name
    digest = hashlib.sha256(name.encode()).hexdigest()[:_HASH_DIGITS]
    return f"{name[: limit - _HASH_DIGITS - 1].rstrip('-.')}-{digest}"


def narrowed_name(name: str, group: str) -> str:
    """``<name>-<group>``; of a longer name the beginning is cut and a hash put in, so that the group stays readable."""
    whole = f"{name}-{group}"
    if len(whole) <= MAX_NAME:
        return whole
    digest = hashlib.sha256(whole.encode()).hexdigest()[:_HASH_DIGITS]
    kept = name[: MAX_NAME - len(group) - _HASH_DIGITS - 2].rstrip("-.")
    return f"{kept}-{digest}-{group}"


def desired_name(group: str) -> str:
    """The ConfigMap of the desired document."""
    return f"{group}-desired"


def cost_name(group: str) -> str:
    """The ConfigMap of the cost report."""
    return f"{group}-cost"


def rules_name(group: str) -> str:
    """The recording rules: a ConfigMap, or a PrometheusRule."""
    return f"{group}-rules"


def service_name(group: str) -> str:
    """The Service. Its name is a DNS label (RFC 1035), which starts with a letter, unlike a group's."""
    return group if group[0].isalpha() else fitted(f"g-{group}", MAX_LABEL)


def labels(group: str, component: str) -> dict[str, str]:
    """Labels of every rendered object."""
    return {
        "app.kubernetes.io/name": APP_NAME,
        "app.kubernetes.io/instance": group,
        "app.kubernetes.io/component": component,
        "app.kubernetes.io/managed-by": MANAGED_BY,
        vocabulary.FLEET_GROUP: group,
    }


def selector(group: str) -> dict[str, str]:
    """What selects the pods of a group; never changes, since a workload's selector cannot."""
    return {"app.kubernetes.io/name": APP_NAME, vocabulary.FLEET_GROUP: group}
