"""One Lease of the cluster, read and replaced by exactly the version that was read."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from trimtab_bot.cluster.connection import GoneError, connect, outside

if TYPE_CHECKING:
    from pathlib import Path

    from trimtab_kernel.election import Write

_KIND = ("coordination.k8s.io", "v1")
_PLURAL = "leases"


class ClusterLease:
    """A :class:`trimtab_bot.leading.interface.LeaseStore` in a cluster."""

    def __init__(self, kubeconfig: Path | None, namespace: str, name: str) -> None:
        """Raises OutsideError where there is no cluster to talk to."""
        self._api = connect(kubeconfig)
        self._namespace = namespace
        self._name = name

    def read(self, timeout: float) -> dict[str, Any] | None:
        """See LeaseStore."""
        try:
            with outside(f"read Lease {self._namespace}/{self._name}"):
                found: Any = self._api.get_namespaced_custom_object(
                    *_KIND, self._namespace, _PLURAL, self._name, _request_timeout=timeout
                )
                return dict(found)
        except GoneError:
            return None

    def write(self, write: Write, timeout: float) -> str | None:
        """See LeaseStore."""
        metadata = {**write.body.get("metadata", {}), "name": self._name, "namespace": self._namespace}
        whole = {"apiVersion": "/".join(_KIND), "kind": "Lease", **write.body, "metadata": metadata}
        place = (*_KIND, self._namespace, _PLURAL)
        try:
            with outside(f"write Lease {self._namespace}/{self._name}"):
                stored: Any = (
                    self._api.create_namespaced_custom_object(*place, whole, _request_timeout=timeout)
                    if write.create
                    else self._api.replace_namespaced_custom_object(*place, self._name, whole, _request_timeout=timeout)
                )
                return str(stored["metadata"]["resourceVersion"])
        except GoneError:
            return None
