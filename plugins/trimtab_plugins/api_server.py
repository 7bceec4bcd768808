"""How the API server is reached, and what goes wrong there: the kubernetes client's errors in our words."""

from __future__ import annotations

import json
import os
from http import HTTPStatus
from typing import TYPE_CHECKING

import kubernetes
import urllib3
from kubernetes.client.exceptions import ApiException

from trimtab_kernel.problems import OutsideError, printable
from trimtab_plugins.flux.fetching import plain_text

if TYPE_CHECKING:
    from pathlib import Path

TIMEOUT = (5.0, 30.0)
"""Seconds to connect, and between two bytes of an answer."""


class GoneError(OutsideError):
    """The object, or the version of it that was asked for, is not there (404, 409, 410)."""


class AbsentKindError(OutsideError):
    """The API server does not know the kind: its CRD is not installed."""


def client_of(kubeconfig: Path | None) -> kubernetes.client.ApiClient:
    """By a kubeconfig file where one is named or the environment names one, else as a pod, else by ~/.kube/config.

    Raises OutsideError.
    """
    configuration = kubernetes.client.Configuration()
    # Every caller here tries again in its own time; hidden attempts would make a look at the lease last too long.
    configuration.retries = False
    try:
        if kubeconfig is None and _in_pod():
            kubernetes.config.load_incluster_config(configuration)  # type: ignore[no-untyped-call] # the client has no types here
        else:
            kubernetes.config.load_kube_config(  # type: ignore[no-untyped-call] # likewise
                config_file=None if kubeconfig is None else str(kubeconfig), client_configuration=configuration
            )
    except (kubernetes.config.ConfigException, OSError, ValueError) as error:
        raise OutsideError(
            f"no cluster to talk to: {printable(str(error).rstrip('.'), 200)}; name one with --kubeconfig"
        ) from error
    return kubernetes.client.ApiClient(configuration)


class outside:  # noqa: N801 - reads as a statement: with outside("list sources")
    """Turns the client's errors into ours: OutsideError, GoneError, and AbsentKindError where the kind may be absent."""

    def __init__(self, doing: str, *, kind_may_be_absent: bool = False) -> None:
        """``doing``: what is tried, as it stands after "cannot"."""
        self._doing = doing
        self._kind_may_be_absent = kind_may_be_absent

    def __enter__(self) -> None:
        """Nothing."""

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        """Raise ours."""
        if isinstance(error, ApiException):
            text = f"cannot {self._doing}: {_said(error)}"
            if error.status == HTTPStatus.NOT_FOUND and self._kind_may_be_absent:
                raise AbsentKindError(f"{text}; install its CRD") from error
            if error.status in {HTTPStatus.NOT_FOUND, HTTPStatus.CONFLICT, HTTPStatus.GONE}:
                raise GoneError(text) from error
            raise OutsideError(text) from error
        if isinstance(error, urllib3.exceptions.HTTPError | OSError | json.JSONDecodeError):
            raise OutsideError(f"cannot {self._doing}: {plain_text(error)}") from error


def _in_pod() -> bool:
    return "KUBECONFIG" not in os.environ and "KUBERNETES_SERVICE_HOST" in os.environ


def _said(error: ApiException) -> str:
    try:
        message = json.loads(error.body or "{}").get("message")
    except (ValueError, AttributeError):
        message = None
    return f"{error.status} {printable(str(message or error.reason), 300)}"
