"""The ApplicationSet that makes one Application of each device group. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from trimtab_kernel import vocabulary

if TYPE_CHECKING:
    from collections.abc import Mapping

PLUGIN = "trimtab"
"""The name in plugin.yaml."""


@dataclass(frozen=True, slots=True)
class ApplicationSetOptions:
    """What an installation may choose. Times in seconds.

    ``destination_server`` is "" where every group's Application goes to the cluster that its DeviceGroup names, as Argo CD
    knows it. ``sync_options`` come after ``CreateNamespace=true``.
    """

    repo_url: str
    path: str = "."
    revision: str = "HEAD"
    name: str = "trimtab-fleet"
    namespace: str = "argocd"
    project: str = "default"
    destination_server: str = ""
    config_map: str = "trimtab-fleet-service"
    requeue_seconds: int = 180
    price_book: str = ""
    cluster: str = ""
    labels: Mapping[str, str] = field(default_factory=dict)
    automated: bool = True
    prune: bool = True
    self_heal: bool = True
    sync_options: tuple[str, ...] = ()
    retry_limit: int = 5
    retry_duration: str = "5s"
    retry_max_duration: str = "3m0s"
    retry_factor: int = 2


def application_set(options: ApplicationSetOptions) -> dict[str, Any]:
    """One ApplicationSet with Go templates; an unknown key of the answer is an error there, never an empty text."""
    filters: dict[str, Any] = {}
    if options.cluster:
        filters["cluster"] = options.cluster
    if options.labels:
        filters["labels"] = dict(options.labels)
    parameters = [{"name": "group", "string": "{{.group}}"}]
    if options.price_book:
        parameters.append({"name": "price-book", "string": options.price_book})
    destination = {"server": options.destination_server} if options.destination_server else {"name": "{{.cluster}}"}
    sync: dict[str, Any] = {
        "syncOptions": ["CreateNamespace=true", *options.sync_options],
        "retry": {
            "limit": options.retry_limit,
            "backoff": {
                "duration": options.retry_duration,
                "maxDuration": options.retry_max_duration,
                "factor": options.retry_factor,
            },
        },
    }
    if options.automated:
        sync["automated"] = {"prune": options.prune, "selfHeal": options.self_heal}
    plugin: dict[str, Any] = {
        "configMapRef": {"name": options.config_map},
        "requeueAfterSeconds": options.requeue_seconds,
    }
    if filters:
        plugin["input"] = {"parameters": filters}
    return {
        "apiVersion": "argoproj.io/v1alpha1",
        "kind": "ApplicationSet",
        "metadata": {"name": options.name, "namespace": options.namespace},
        "spec": {
            "goTemplate": True,
            "goTemplateOptions": ["missingkey=error"],
            "generators": [{"plugin": plugin}],
            "template": {
                "metadata": {
                    "name": "{{.group}}",
                    "labels": {
                        vocabulary.FLEET_GROUP: "{{.group}}",
                        vocabulary.FLEET_WAVE: "{{.wave}}",
                    },
                },
                "spec": {
                    "project": options.project,
                    "source": {
                        "repoURL": options.repo_url,
                        "targetRevision": options.revision,
                        "path": options.path,
                        "plugin": {"name": PLUGIN, "parameters": parameters},
                    },
                    "destination": {**destination, "namespace": "{{.namespace}}"},
                    "syncPolicy": sync,
                },
            },
        },
    }
