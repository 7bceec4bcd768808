"""The API server, through the kubernetes client's custom objects: plain objects, no hidden attempts, limits on every wait."""

from __future__ import annotations

import os
from contextlib import contextmanager
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

import kubernetes
import urllib3
from kubernetes.client.exceptions import ApiException

from trimtab_kernel.problems import OutsideError, printable

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

TIMEOUT = (5.0, 30.0)
"""Seconds to connect, and between two bytes of an answer."""


class GoneError(OutsideError):
    """The object, or the version of it that was asked for, is not there (404, 409, 410)."""


def connect(kubeconfig: Path | None) -> kubernetes.client.CustomObjectsApi:
    """By a kubeconfig where one is named or the environment names one, else as a pod, else by ~/.kube/config.

    Raises OutsideError.
    """
    configuration = kubernetes.client.Configuration()
    # Every caller here tries again in its own time; hidden attempts would make a look at the lease last too long.
    configuration.retries = False
    in_pod = "KUBECONFIG" not in os.environ and "KUBERNETES_SERVICE_HOST" in os.environ
    try:
        if kubeconfig is None and in_pod:
            kubernetes.config.load_incluster_config(configuration)  # type: ignore[no-untyped-call] # the client has no types here
        else:
            kubernetes.config.load_kube_config(  # type: ignore[no-untyped-call]
                config_file=None if kubeconfig is None else str(kubeconfig), client_configuration=configuration
            )
    except (kubernetes.config.ConfigException, OSError, ValueError) as error:
        reason = printable(str(error), 200)
        raise OutsideError(f"no cluster to talk to: {reason}; name a kubeconfig in bot.yaml") from error
    return kubernetes.client.CustomObjectsApi(kubernetes.client.ApiClient(configuration))


@contextmanager
def outside(what: str) -> Iterator[None]:
    """Turns what the client raises into OutsideError, and GoneError for what is not there or was changed."""
    try:
        yield
    except ApiException as error:
        gone = error.status in (HTTPStatus.NOT_FOUND, HTTPStatus.CONFLICT, HTTPStatus.GONE)
        text = f"cannot {what}: {error.status} {printable(str(error.reason), 200)}"
        raise (GoneError if gone else OutsideError)(text) from error
    except (urllib3.exceptions.HTTPError, OSError, ValueError) as error:
        raise OutsideError(f"cannot {what}: the API server does not answer ({type(error).__name__})") from error


def read(
    api: kubernetes.client.CustomObjectsApi, group: str, version: str, namespace: str, plural: str, name: str
) -> dict[str, Any] | None:
    """One object; None where there is none, or where its kind is not installed. Raises OutsideError."""
    try:
        with outside(f"read {plural} {namespace}/{name}"):
            found: Any = api.get_namespaced_custom_object(
                group, version, namespace, plural, name, _request_timeout=TIMEOUT
            )
            return dict(found)
    except GoneError:
        return None
