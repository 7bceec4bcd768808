"""What a caller may choose about the objects of a group, beside the tree itself."""

from __future__ import annotations

from enum import StrEnum

from trimtab_kernel.records import dataclass


class Monitoring(StrEnum):
    """How Prometheus finds the pods and the rules."""

    ANNOTATIONS = "annotations"
    """Scrape annotations on the pods, rules in a ConfigMap."""
    OPERATOR = "operator"
    """PodMonitor and PrometheusRule of the Prometheus operator."""


@dataclass(frozen=True, slots=True)
class RenderOptions:
    """Options of one rendering; equal options and an equal tree give equal bytes.

    ``price_book`` names a PriceBook of the tree (None: the newest). ``with_namespace`` adds the Namespace object, marked
    so that no host tool prunes it.
    """

    price_book: str | None = None
    monitoring: Monitoring = Monitoring.ANNOTATIONS
    with_namespace: bool = False
