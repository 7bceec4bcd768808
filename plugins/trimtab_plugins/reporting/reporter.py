"""One look at everything: who is asked, what is written, what is left as it is."""

from __future__ import annotations

import logging
import time
from collections import defaultdict
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from trimtab_kernel import vocabulary
from trimtab_kernel.problems import OutsideError
from trimtab_kernel.records import dataclass
from trimtab_plugins.reporting.status import status_of

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from trimtab_plugins.reporting.asking import AgentAsker
    from trimtab_plugins.reporting.cluster import Agent, ReportingCluster
    from trimtab_plugins.reporting.status import Device

log = logging.getLogger("trimtab.reporting")


@dataclass(frozen=True, slots=True)
class Look:
    """What one look did. ``failed`` is how many statuses the API server did not take."""

    deployments: int
    devices: int
    reporting: int
    written: int
    failed: int
    seconds: float


class Reporter:
    """Looks when told to. Two of them on one cluster write the same, so no lease is needed; a second one only asks twice."""

    def __init__(
        self,
        cluster: ReportingCluster,
        asker: AgentAsker,
        namespace: str | None = None,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        """``namespace`` None looks at all of them."""
        self._cluster = cluster
        self._asker = asker
        self._namespace = namespace
        self._now = now

    def look(self) -> Look:
        """Ask every agent once and write each status that changed. Raises OutsideError where nothing can be read."""
        begun = time.monotonic()
        deployments = self._cluster.deployments(self._namespace)
        agents = self._cluster.agents(self._namespace) if deployments else []
        # Pods of groups without a deployment have nothing to be written to.
        groups = {_group_of(each) for each in deployments}
        asked = [agent for agent in agents if (agent.namespace, agent.group) in groups]
        devices = _by_group(asked, self._asker.ask(asked))
        moment = self._now().astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        written = failed = 0
        for each in deployments:
            status = status_of(each, devices[_group_of(each)], moment)
            if _same(each.get("status"), status):
                continue
            try:
                written += self._cluster.apply_status(each, status)
            except OutsideError as error:
                failed += 1
                log.warning("%s", error)
        reporting = sum(device.report is not None for group in devices.values() for device in group)
        return Look(len(deployments), len(asked), reporting, written, failed, time.monotonic() - begun)


def _group_of(deployment: dict[str, Any]) -> tuple[str, str]:
    metadata = deployment["metadata"]
    return str(metadata["namespace"]), str((metadata.get("labels") or {}).get(vocabulary.FLEET_GROUP, ""))


def _by_group(agents: Sequence[Agent], devices: Sequence[Device]) -> defaultdict[tuple[str, str], list[Device]]:
    found: defaultdict[tuple[str, str], list[Device]] = defaultdict(list)
    for agent, device in zip(agents, devices, strict=True):
        found[agent.namespace, agent.group].append(device)
    return found


def _same(before: object, after: dict[str, Any]) -> bool:
    """Whether the API server has exactly this; conditions by their type, since it may order them as it likes."""
    if not isinstance(before, dict):
        return False
    ours = {**after, "conditions": {each["type"]: each for each in after["conditions"]}}
    theirs = {**before, "conditions": {each.get("type"): each for each in before.get("conditions") or ()}}
    theirs.setdefault("versions", [])
    return ours == theirs
