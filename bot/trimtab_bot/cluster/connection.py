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


PAGE = 200
"""Objects in one answer to a list."""
MOST_OBJECTS = 20_000
"""Of one kind, over all pages."""


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
            kubernetes.config.load_kube_config(  # type: ignore[no-untyped-call] # likewise
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


def listed(
    api: kubernetes.client.CustomObjectsApi,
    kind: tuple[str, str, str],
    namespace: str,
    selector: str = "",
    page: int = PAGE,
) -> list[dict[str, Any]] | None:
    """All objects of a kind (group, version, plural) with these labels, page by page; in all namespaces where it is "".

    None where the kind is not installed. A list whose next page the server no longer has (410) is begun anew, once. Raises
    OutsideError, for more than MOST_OBJECTS too.
    """
    what = f"list {kind[2]}" + (f" in {namespace}" if namespace else "")
    for attempt in (1, 2):
        try:
            return _pages(api, kind, namespace, selector, page, what)
        except GoneError as error:
            cause = error.__cause__
            status = cause.status if isinstance(cause, ApiException) else None
            if status == HTTPStatus.NOT_FOUND:
                return None
            if attempt == 2:
                raise
    raise AssertionError("a loop of two ends in its second turn")


def _pages(
    api: kubernetes.client.CustomObjectsApi,
    kind: tuple[str, str, str],
    namespace: str,
    selector: str,
    page: int,
    what: str,
) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    token = ""
    while True:
        arguments: dict[str, Any] = {"limit": page, "_request_timeout": TIMEOUT}
        if selector:
            arguments["label_selector"] = selector
        if token:
            arguments["_continue"] = token
        with outside(what):
            answer: Any = (
                api.list_namespaced_custom_object(kind[0], kind[1], namespace, kind[2], **arguments)
                if namespace
                else api.list_cluster_custom_object(*kind, **arguments)
            )
        if not isinstance(answer, dict):
            raise OutsideError(f"cannot {what}: the answer is no list")
        found += answer.get("items") or ()
        token = str((answer.get("metadata") or {}).get("continue") or "")
        if not token:
            return found
        if len(found) > MOST_OBJECTS:
            raise OutsideError(f"cannot {what}: more than {MOST_OBJECTS} objects; select fewer by labels")
