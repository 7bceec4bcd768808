"""The file of scrape targets: Prometheus' ``file_sd`` JSON, so that one file serves Prometheus and the built-in source.

``[{"targets": ["10.0.0.7:9464"], "labels": {"device_group": "camera-emea-1", "device": "cam-7"}}]``. The labels
``__scheme__`` and ``__metrics_path__`` mean what they mean in Prometheus; others that begin with ``__`` are dropped.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass

from trimtab_kernel.problems import quoted

MAX_BYTES = 4 * 1024 * 1024
MAX_TARGETS = 500
"""More than this is no small fleet; Prometheus is made for it."""
_ADDRESS = re.compile(r"(?P<host>[A-Za-z0-9._-]{1,253}|\[[0-9A-Fa-f:.]{2,45}\]):(?P<port>[0-9]{1,5})", re.ASCII)
_LABEL_NAME = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]*", re.ASCII)
_PATH = re.compile(r"/[!-~]{0,500}", re.ASCII)


class TargetsError(ValueError):
    """The file is not such a list; the message says where and what was expected."""


@dataclass(frozen=True, slots=True, order=True)
class Target:
    """One address to scrape, and the labels that its series get."""

    host: str
    port: int
    path: str
    secure: bool
    labels: tuple[tuple[str, str], ...]

    @property
    def address(self) -> str:
        """``host:port``, the label ``instance``."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    @property
    def key(self) -> str:
        """What tells two targets apart."""
        return f"{'https' if self.secure else 'http'}://{self.address}{self.path}"


def parse_targets(content: bytes) -> tuple[Target, ...]:
    """The targets, sorted, each once. Raises TargetsError."""
    if len(content) > MAX_BYTES:
        raise TargetsError(f"expected at most {MAX_BYTES} bytes, got {len(content)}")
    try:
        groups = json.loads(content)
    except (ValueError, RecursionError):
        raise TargetsError("expected JSON") from None
    if not isinstance(groups, list):
        raise TargetsError("expected a list of objects with targets and labels")
    found: dict[str, Target] = {}
    for index, group in enumerate(groups):
        if not isinstance(group, dict):
            raise TargetsError(f"entry {index}: expected an object")
        labels = _labels(group.get("labels", {}), index)
        addresses = group.get("targets", [])
        if not isinstance(addresses, list):
            raise TargetsError(f"entry {index}: expected a list of targets")
        for address in addresses:
            target = _target(address, labels, index)
            if found.setdefault(target.key, target) != target:
                raise TargetsError(f"entry {index}: target {quoted(address)} has two sets of labels")
    if len(found) > MAX_TARGETS:
        raise TargetsError(f"expected at most {MAX_TARGETS} targets, got {len(found)}; use Prometheus for so many")
    return tuple(sorted(found.values()))


def _labels(labels: object, index: int) -> dict[str, str]:
    if not isinstance(labels, dict):
        raise TargetsError(f"entry {index}: expected labels as an object")
    for name, value in labels.items():
        if not _LABEL_NAME.fullmatch(name):
            raise TargetsError(f"entry {index}: expected a label name, got {quoted(name)}")
        if not isinstance(value, str):
            raise TargetsError(f"entry {index}: expected text for label {name}, got {quoted(str(value))}")
    return labels


def _target(address: object, labels: dict[str, str], index: int) -> Target:
    match = _ADDRESS.fullmatch(address) if isinstance(address, str) else None
    if match is None or not 0 < int(match["port"]) < 65536:
        raise TargetsError(f"entry {index}: expected an address such as 10.0.0.7:9464, got {quoted(str(address))}")
    path, scheme = labels.get("__metrics_path__", "/metrics"), labels.get("__scheme__", "http")
    if not _PATH.fullmatch(path):
        raise TargetsError(f"entry {index}: expected a path for __metrics_path__, got {quoted(path)}")
    if scheme not in ("http", "https"):
        raise TargetsError(f"entry {index}: expected http or https for __scheme__, got {quoted(scheme)}")
    kept = {name: value for name, value in labels.items() if not name.startswith("__") and value}
    return Target(match["host"].strip("[]"), int(match["port"]), path, scheme == "https", tuple(sorted(kept.items())))
