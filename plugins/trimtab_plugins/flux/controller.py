"""The running controller: watches, one worker, the lease, the servers; started and drained in order.

Every replica fills its own store and serves it: archives are named by their content, so a replica either has exactly the
bytes that an artifact names or answers 404, and consumers try again. Only the holder of the lease writes to the cluster.
"""

from __future__ import annotations

import logging
import threading
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, TypeAlias

from trimtab_config.compilation import FleetCompiler
from trimtab_kernel.election import Memory, Terms, leads, look, micro_time, release, stored
from trimtab_kernel.problems import OutsideError
from trimtab_plugins.flux.cluster import ARTIFACTS, FLEETS, SOURCES, Cluster, Informer
from trimtab_plugins.flux.fetching import ArchiveFetcher, FetchLimits
from trimtab_plugins.flux.kinds import REQUESTED_AT
from trimtab_plugins.flux.metrics import ControllerMetrics
from trimtab_plugins.flux.planning import MESSAGE_BYTES, cut
from trimtab_plugins.flux.reconciler import LeadershipError, Reconciler
from trimtab_plugins.flux.schedule import Schedule
from trimtab_plugins.flux.server import ArchiveApplication, HttpServer, observation_application
from trimtab_plugins.flux.storage import ArchiveStore

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from trimtab_plugins.flux.kinds import SourceKind

Key: TypeAlias = tuple[str, str]
Object: TypeAlias = "Mapping[str, Any]"
log = logging.getLogger("trimtab.flux")

_HOUSEKEEPING_SECONDS = 30.0
_MESSAGE_TIMEOUT = 4.0


@dataclass(frozen=True, slots=True)
class Settings:
    """What the command line says. Addresses are (host, port); ``namespace`` None watches all."""

    storage: Path
    listen: tuple[str, int]
    observe: tuple[str, int]
    advertise: str | None
    namespace: str | None
    lease_namespace: str | None
    lease_name: str
    terms: Terms
    limits: FetchLimits
    drain_seconds: float


class Controller:
    """One process. :meth:`run` returns when ``stop`` is set and everything has been drained."""

    def __init__(self, cluster: Cluster, settings: Settings, stop: threading.Event) -> None:
        """Binds both addresses and opens the store. Raises OutsideError where one of them cannot be had."""
        self._cluster = cluster
        self._settings = settings
        self._stop = stop
        self.metrics = ControllerMetrics()
        self._store = ArchiveStore(settings.storage)
        self._store.open(time.time())
        self._election = _Election(cluster, settings, self._on_leadership)
        self._watches = _Watches(cluster, settings.namespace, self._changed)
        self._archives = HttpServer(
            ArchiveApplication(self._store.read, lambda code: self.metrics.requests.labels(str(code)).inc()),
            *settings.listen,
            name="archives",
        )
        self._observation = HttpServer(
            observation_application(self._dead, self._unready, self._exposition), *settings.observe, name="observation"
        )
        base = f"http://{settings.advertise or self._archives.host_and_port}"
        self._reconciler = Reconciler(
            self._watches,
            _GuardedWriter(cluster, self._election, settings.terms.identity),
            self._store,
            ArchiveFetcher(settings.limits, stop.wait),
            FleetCompiler(),
            base_url=base,
            now=lambda: datetime.now(UTC),
        )
        self._schedule = Schedule()
        self._wake = threading.Condition()
        self._looked: set[Key] = set()
        self._begun = threading.Event()
        self._worker = threading.Thread(target=self._work, name="worker", daemon=True)

    @property
    def addresses(self) -> tuple[str, str]:
        """Where archives are served, and where health and metrics are; host and port."""
        return self._archives.host_and_port, self._observation.host_and_port

    def run(self) -> None:
        """Serve and reconcile until ``stop`` is set; then drain.

        Draining: not ready at once, the look under way is completed, the lease is given back, archives are served for
        ``drain_seconds`` more (others have to see first that this replica is going), then answers under way are completed.
        """
        self._observation.start()
        self._archives.start()
        self._watches.start()
        self._election.start()
        self._worker.start()
        self._begun.set()
        try:
            self._stop.wait()
        finally:
            self._stop.set()
            with self._wake:
                self._wake.notify_all()
            self._worker.join(timeout=60)
            self._election.stop()
            self._watches.stop()
            time.sleep(self._settings.drain_seconds)
            self._archives.stop()
            self._observation.stop()

    # ------------------------------------------------------------ what wakes the worker

    def _changed(self, key: Key) -> None:
        with self._wake:
            self._schedule.changed(key, time.monotonic())
            self._wake.notify_all()

    def _on_leadership(self, leads_now: bool) -> None:
        self.metrics.leader.set(int(leads_now))
        log.info("this process %s", "writes now" if leads_now else "does not write any more")
        if leads_now:
            for key in self._watches.fleets():
                self._changed(key)

    # ------------------------------------------------------------ the worker

    def _work(self) -> None:
        while not self._stop.is_set() and not self._watches.synced(0.2):
            pass
        housekeeping = time.monotonic() + _HOUSEKEEPING_SECONDS
        while not self._stop.is_set():
            with self._wake:
                now = time.monotonic()
                self.metrics.waiting.set(self._schedule.waiting(now))
                key = self._schedule.take(now)
                if key is None:
                    due = min(self._schedule.next_due() or housekeeping, housekeeping)
                    self._wake.wait(max(0.0, min(due - now, 1.0)))
            if key is not None:
                self._look(key)
            if time.monotonic() >= housekeeping:
                self._keep_house()
                housekeeping = time.monotonic() + _HOUSEKEEPING_SECONDS

    def _look(self, key: Key) -> None:
        write = self._election.leads()
        begun = time.monotonic()
        try:
            result = self._reconciler.reconcile(key, write=write)
        except OutsideError as error:
            # Another process writes now, or the API server stumbled: in both cases a later look completes the rest.
            level = logging.INFO if isinstance(error, LeadershipError) else logging.WARNING
            log.log(level, "%s/%s: %s", *key, error)
            self.metrics.reconciles.labels("error").inc()
            with self._wake:
                self._schedule.failed(key, time.monotonic(), 60.0)
            return
        except Exception:
            # One object that hits a fault of ours must not keep the others from being served.
            log.exception("%s/%s: a fault in the controller", *key)
            self.metrics.reconciles.labels("fault").inc()
            with self._wake:
                self._schedule.failed(key, time.monotonic(), 600.0)
            return
        self._looked.add(key)
        seconds = time.monotonic() - begun
        self.metrics.reconciles.labels(result.outcome).inc()
        self.metrics.reconcile_seconds.observe(seconds)
        self.metrics.published.inc(result.moved)
        log.info(
            "looked at %s/%s outcome=%s groups=%d moved=%d writes=%s seconds=%.3f",
            *key, result.outcome, result.groups, result.moved, write, seconds,
        )  # fmt: skip
        with self._wake:
            if result.interval is None:
                self._schedule.forget(key)
            elif result.retry:
                self._schedule.failed(key, time.monotonic(), result.interval)
            else:
                self._schedule.succeeded(key, time.monotonic(), result.interval)
        if result.interval is None:
            self._looked.discard(key)
            self.metrics.forget(*key)
        elif result.groups:
            self.metrics.artifacts.labels(*key).set(result.groups)

    def _keep_house(self) -> None:
        try:
            for key in self._watches.fleets():
                self._reconciler.sweep(key)
            known = self._watches.artifact_keys() | self._reconciler.artifact_names()
            swept = self._store.sweep_strangers(known, time.time(), self._settings.namespace)
            self.metrics.swept.inc(swept)
        except OutsideError as error:
            log.warning("%s", error)

    # ------------------------------------------------------------ what others ask

    def _dead(self) -> str:
        """A process whose worker or election has ended must be started again."""
        if self._stop.is_set() or not self._begun.is_set():
            return ""
        gone = [thread.name for thread in (self._worker, self._election.thread) if not thread.is_alive()]
        return f"ended: {', '.join(gone)}" if gone else ""

    def _unready(self) -> str:
        if self._stop.is_set():
            return "draining"
        if waiting := self._watches.unsynced():
            return f"not listed yet: {', '.join(waiting)}"
        left = self._watches.fleets() - self._looked
        return f"{len(left)} FleetArtifacts are not looked at yet" if left else ""

    def _exposition(self) -> tuple[bytes, str]:
        count, size = self._store.size()
        self.metrics.stored_archives.set(count)
        self.metrics.stored_bytes.set(size)
        return self.metrics.text()


class _Watches:
    """All informers, as the reconciler's view; says which FleetArtifact a change concerns."""

    def __init__(self, cluster: Cluster, namespace: str | None, changed: Callable[[Key], None]) -> None:
        self._changed = changed
        self._marks: dict[Key, tuple[object, ...]] = {}
        self._fleets = Informer(cluster, FLEETS, namespace, self._on_fleet)
        self._artifacts = Informer(cluster, ARTIFACTS, namespace, self._on_artifact)
        self._owners: dict[Key, str] = {}
        self._sources = {
            kind: Informer(cluster, resource, namespace, self._on_source(kind), may_be_absent=True)
            for kind, resource in SOURCES.items()
        }

    def start(self) -> None:
        for each in self._all():
            each.start()

    def stop(self) -> None:
        for each in self._all():
            each.stop()

    def unsynced(self) -> list[str]:
        """The kinds that have not been listed yet."""
        return [each.resource.plural for each in self._all() if not each.synced.is_set()]

    def synced(self, timeout: float) -> bool:
        """Whether every kind has been listed; waits at most ``timeout`` seconds for each."""
        return all(each.synced.wait(timeout) for each in self._all())

    def fleets(self) -> set[Key]:
        return set(self._fleets.items())

    def artifact_keys(self) -> set[Key]:
        return set(self._artifacts.items())

    def fleet(self, key: Key) -> Object | None:
        return self._fleets.get(key)

    def source(self, kind: SourceKind, key: Key) -> Object | None:
        return self._sources[kind].get(key)

    def artifacts(self, namespace: str) -> dict[str, Object]:
        return {name: item for (space, name), item in self._artifacts.items().items() if space == namespace}

    def _all(self) -> tuple[Informer, ...]:
        return (self._fleets, self._artifacts, *self._sources.values())

    def _on_fleet(self, key: Key) -> None:
        """A change of the status alone is one of ours, and no reason to look again."""
        item = self._fleets.get(key)
        mark: tuple[object, ...] = ()
        if item is not None:
            metadata = item["metadata"]
            asked = (metadata.get("annotations") or {}).get(REQUESTED_AT)
            mark = (metadata["uid"], metadata.get("generation"), asked)
        if self._marks.get(key) != mark:
            self._marks[key] = mark
            self._changed(key)

    def _on_artifact(self, key: Key) -> None:
        item = self._artifacts.get(key)
        for owner in ((item or {}).get("metadata") or {}).get("ownerReferences") or ():
            if owner.get("kind") == FLEETS.kind and owner.get("controller"):
                self._owners[key] = str(owner.get("name"))
        owner_name = self._owners.get(key) if item is not None else self._owners.pop(key, None)
        if owner_name is not None and self._fleets.get((key[0], owner_name)) is not None:
            self._changed((key[0], owner_name))

    def _on_source(self, kind: SourceKind) -> Callable[[Key], None]:
        def on_source(key: Key) -> None:
            for fleet, item in self._fleets.items().items():
                reference = (item.get("spec") or {}).get("sourceRef") or {}
                if fleet[0] == key[0] and reference.get("kind") == kind.value and reference.get("name") == key[1]:
                    self._changed(fleet)

        return on_source


class _Election:
    """The lease, in a thread of its own. Without a lease (one replica only) this process always writes."""

    def __init__(self, cluster: Cluster, settings: Settings, on_change: Callable[[bool], None]) -> None:
        self._cluster = cluster
        self._settings = settings
        self._terms = settings.terms
        self._on_change = on_change
        self._memory = Memory()
        self._told = False
        self._trouble = ""
        self._stop = threading.Event()
        self.thread = threading.Thread(target=self._run, name="election", daemon=True)

    def leads(self) -> bool:
        """Whether this process may write now."""
        return self._settings.lease_namespace is None or leads(self._memory, self._terms, time.monotonic())

    def start(self) -> None:
        self.thread.start()

    def stop(self) -> None:
        """Give the lease back, so that another replica follows at once."""
        self._stop.set()
        self.thread.join(timeout=10)
        write = release(self._memory, self._terms, datetime.now(UTC))
        self._memory = Memory()
        if write is not None:
            try:
                self._write(write.body, create=False)
            except OutsideError as error:
                log.info("the lease runs out by itself: %s", error)

    def _run(self) -> None:
        while not self._stop.is_set():
            if self._settings.lease_namespace is not None:
                try:
                    self._look(self._settings.lease_namespace)
                    self._trouble = ""
                except OutsideError as error:
                    if str(error) != self._trouble:
                        log.warning("%s", error)
                    self._trouble = str(error)
            if self.leads() != self._told:
                self._told = self.leads()
                self._on_change(self._told)
            self._stop.wait(self._terms.pause)

    def _look(self, namespace: str) -> None:
        lease = self._cluster.lease(namespace, self._settings.lease_name, _MESSAGE_TIMEOUT)
        asked = time.monotonic()
        self._memory, write = look(self._memory, self._terms, lease, asked, datetime.now(UTC))
        if write is not None:
            version = self._write(write.body, create=write.create)
            if version is not None:
                self._memory = stored(self._memory, self._terms, version, asked)

    def _write(self, body: Object, *, create: bool) -> str | None:
        return self._cluster.write_lease(
            str(self._settings.lease_namespace), self._settings.lease_name, body, _MESSAGE_TIMEOUT, create=create
        )


class _GuardedWriter:
    """Writes to the cluster while the lease is held, and not a moment longer."""

    def __init__(self, cluster: Cluster, election: _Election, identity: str) -> None:
        self._cluster = cluster
        self._election = election
        self._identity = identity

    def _guard(self) -> None:
        if not self._election.leads():
            raise LeadershipError("the lease is not held any more; the process that holds it completes this")

    def apply(self, body: Object) -> None:
        self._guard()
        self._cluster.apply(body)

    def apply_status(self, body: Object) -> None:
        self._guard()
        self._cluster.apply_status(body)

    def delete_artifact(self, namespace: str, name: str, uid: str, resource_version: str) -> None:
        self._guard()
        self._cluster.delete_artifact(namespace, name, uid, resource_version)

    def note(self, regarding: Object, *, warning: bool, reason: str, text: str) -> None:
        """An event that cannot be recorded holds nothing up."""
        metadata = regarding["metadata"]
        body = {
            "apiVersion": "events.k8s.io/v1",
            "kind": "Event",
            "metadata": {"generateName": f"{metadata['name'][:200]}-", "namespace": metadata["namespace"]},
            "eventTime": micro_time(datetime.now(UTC)),
            "reportingController": "fleet.apexlogic.ai/trimtab-flux-controller",
            "reportingInstance": self._identity[:128],
            "action": "Reconcile",
            "reason": reason,
            "regarding": {
                "apiVersion": regarding["apiVersion"],
                "kind": regarding["kind"],
                "namespace": metadata["namespace"],
                "name": metadata["name"],
                "uid": metadata["uid"],
            },
            "note": cut(text, MESSAGE_BYTES - 1),
            "type": "Warning" if warning else "Normal",
        }
        try:
            self._guard()
            self._cluster.create_event(metadata["namespace"], body)
        except OutsideError as error:
            log.info("%s", error)
