"""One FleetArtifact, once: look at its source, bring the store up to date, then let the cluster say so."""

from __future__ import annotations

import logging
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias

from trimtab_kernel.problems import InputError, OutsideError, TrustError
from trimtab_plugins.flux.kinds import SourceKind, read_fleet_artifact
from trimtab_plugins.flux.planning import (
    ARTIFACT_KIND,
    ORIGIN_REVISION,
    Apply,
    ApplyStatus,
    Built,
    Delete,
    Failed,
    Note,
    Published,
    Reason,
    artifact_name,
    cut,
    plan,
    told,
)
from trimtab_plugins.flux.releases import build_releases, revision_of, unpack_source
from trimtab_plugins.flux.storage import archive_path

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from datetime import datetime

    from trimtab_config.compilation import FleetCompiler
    from trimtab_plugins.flux.fetching import ArchiveFetcher
    from trimtab_plugins.flux.kinds import FleetArtifact
    from trimtab_plugins.flux.planning import Action, Outcome
    from trimtab_plugins.flux.releases import Release
    from trimtab_plugins.flux.storage import ArchiveStore

Key: TypeAlias = tuple[str, str]
Object: TypeAlias = "Mapping[str, Any]"
log = logging.getLogger("trimtab.flux")

_WRITERS = 8
_FEW = 8
"""So many artifacts are written one after another."""


class View(Protocol):
    """What is known of the cluster, from watches."""

    def fleet(self, key: Key) -> Object | None:
        """The FleetArtifact of this namespace and name."""
        ...

    def source(self, kind: SourceKind, key: Key) -> Object | None:
        """A source."""
        ...

    def artifacts(self, namespace: str) -> Mapping[str, Object]:
        """The ExternalArtifacts of a namespace, by name."""
        ...


class Writer(Protocol):
    """What is written to the cluster. Methods raise OutsideError; ``LeadershipError`` where another process writes now."""

    def apply(self, body: Object) -> None:
        """Server-side apply."""
        ...

    def apply_status(self, body: Object) -> None:
        """Server-side apply of the status subresource."""
        ...

    def delete_artifact(self, namespace: str, name: str, uid: str, resource_version: str) -> None:
        """Remove exactly this object; one that is gone or that was changed since is left."""
        ...

    def note(self, regarding: Object, *, warning: bool, reason: str, text: str) -> None:
        """Record an event."""
        ...


class LeadershipError(OutsideError):
    """The lease is held by somebody else now; what was begun is theirs to complete."""


@dataclass(frozen=True, slots=True)
class Known:
    """What a source was built into, so that it is not built again. ``groups``: content, digest and size of each."""

    fingerprint: tuple[object, ...]
    source_revision: str
    groups: Mapping[str, tuple[str, str, int]]
    failed: Failed | None = None


@dataclass(frozen=True, slots=True)
class Reconciled:
    """``retry``: something outside failed, so an early look may help. ``interval`` is None for an object that is gone."""

    outcome: str
    interval: float | None
    retry: bool = False
    moved: int = 0
    groups: int = 0


class Reconciler:
    """Used by one thread at a time."""

    def __init__(
        self,
        view: View,
        writer: Writer,
        store: ArchiveStore,
        fetcher: ArchiveFetcher,
        compiler: FleetCompiler,
        *,
        base_url: str,
        now: Callable[[], datetime],
    ) -> None:
        """``base_url`` is where consumers reach the store's root, without "/" at its end."""
        self._view = view
        self._writer = writer
        self._store = store
        self._fetcher = fetcher
        self._compiler = compiler
        self._base_url = base_url
        self._now = now
        self._known: dict[Key, Known] = {}

    def reconcile(self, key: Key, *, write: bool) -> Reconciled:
        """Bring the store, and with ``write`` the cluster, to what the source says.

        Without ``write`` (a follower) the store is filled all the same: the bytes are those that the leader's archives have.
        Raises OutsideError where the cluster cannot be written.
        """
        item = self._view.fleet(key)
        if item is None:
            self._known.pop(key, None)
            return Reconciled("gone", None)
        status = item.get("status") or {}
        present = self._view.artifacts(key[0])
        try:
            fleet = read_fleet_artifact(item)
        except InputError as error:
            self._known.pop(key, None)
            if write:
                self._tell_invalid(item, told(error.problems))
            return Reconciled(Reason.INVALID_SPEC, 600.0)
        if fleet.spec.suspend:
            return Reconciled("suspended", fleet.spec.interval.total_seconds())
        outcome = self._outcome(fleet, present)
        planned = plan(fleet, status, outcome, present, self._now())
        if write:
            self._carry_out(fleet, planned.actions)
        if isinstance(outcome, Built):
            self.sweep(key)
        failed = outcome if isinstance(outcome, Failed) else None
        return Reconciled(
            failed.reason if failed else (Reason.CONFLICT if planned.conflicts else Reason.SUCCEEDED),
            fleet.spec.interval.total_seconds(),
            retry=failed is not None and failed.reason in {Reason.FETCH_FAILED, Reason.STORAGE_FAILED},
            moved=len(planned.moved) if write else 0,
            groups=len(outcome.published) if isinstance(outcome, Built) else 0,
        )

    def sweep(self, key: Key) -> None:
        """Retention for the artifacts of one FleetArtifact that was built."""
        item, known = self._view.fleet(key), self._known.get(key)
        if item is None or known is None or known.failed:
            return
        try:
            fleet = read_fleet_artifact(item)
        except InputError:
            return
        present, now = self._view.artifacts(fleet.namespace), self._now().timestamp()
        for group, (content, _, _) in known.groups.items():
            name = artifact_name(fleet.name, group)
            # What the cluster names stays, also where it could not be told of the newer one yet.
            named = ((present.get(name, {}).get("status") or {}).get("artifact") or {}).get("revision", "")
            current = {content, str(named).rpartition(":")[2]}
            self._store.sweep(fleet.namespace, name, current, fleet.spec.history, now)

    def artifact_names(self) -> set[Key]:
        """Namespace and name of every artifact that was built."""
        return {
            (namespace, artifact_name(name, group))
            for (namespace, name), known in self._known.items()
            for group in known.groups
        }

    # ------------------------------------------------------------ from the source to the store

    def _outcome(self, fleet: FleetArtifact, present: Mapping[str, Object]) -> Outcome:
        reference = fleet.spec.source_ref
        what = f"{reference.kind} {reference.name}"
        source = self._view.source(reference.kind, (fleet.namespace, reference.name))
        artifact = ((source or {}).get("status") or {}).get("artifact")
        if source is None or not artifact:
            text = f"{what} has no artifact yet" if source else f"there is no {what} in namespace {fleet.namespace}"
            return self._failed(fleet, Failed(Reason.SOURCE_NOT_READY, text), present)
        revision = str(artifact.get("revision", ""))
        fingerprint = (artifact.get("digest"), fleet.uid, fleet.spec.path, fleet.spec.groups, fleet.spec.render)
        known = self._known.get(fleet.key)
        try:
            if known is None or known.fingerprint != fingerprint or not self._is_complete(fleet, known):
                known = self._build(fleet, artifact, fingerprint)
                self._known[fleet.key] = known
            if known.failed is not None:
                return self._failed(fleet, known.failed, present)
            return self._built(fleet, known, revision, _origin(artifact))
        except TrustError as error:
            return self._failed(fleet, Failed(Reason.VERIFICATION_FAILED, str(error), revision), present)
        except _FetchError as error:
            return self._failed(fleet, Failed(Reason.FETCH_FAILED, str(error), revision), present)
        except OutsideError as error:
            return self._failed(fleet, Failed(Reason.STORAGE_FAILED, str(error), revision), present)

    def _is_complete(self, fleet: FleetArtifact, known: Known) -> bool:
        """Whether the store still has all of it, byte for byte."""
        for group, (content, digest, _) in known.groups.items():
            stored = self._store.verify(fleet.namespace, artifact_name(fleet.name, group), content)
            if stored is None or stored.digest != digest:
                log.warning("archive of %s/%s group %s is gone or was changed; building it again", *fleet.key, group)
                return False
        return True

    def _build(self, fleet: FleetArtifact, artifact: Mapping[str, Any], fingerprint: tuple[object, ...]) -> Known:
        revision = str(artifact.get("revision", ""))
        try:
            archive = self._fetcher.fetch(str(artifact.get("url", "")), str(artifact.get("digest", "")))
        except OutsideError as error:
            raise _FetchError(str(error)) from error
        try:
            files = unpack_source(archive, fleet.folder)
            releases = build_releases(files, fleet, self._compiler)
        except InputError as error:
            text = f"{revision} is not published:\n{told(error.problems)}"
            return Known(fingerprint, revision, {}, Failed(Reason.COMPILE_FAILED, cut(text), revision))
        return Known(fingerprint, revision, self._store_all(fleet, releases))

    def _store_all(self, fleet: FleetArtifact, releases: Mapping[str, Release]) -> dict[str, tuple[str, str, int]]:
        """Puts what the store lacks; gives content, digest and size of each group's release."""
        now = self._now().timestamp()
        known = self._known.get(fleet.key)
        stored = {}
        for group, one in releases.items():
            name = artifact_name(fleet.name, group)
            before = known.groups.get(group) if known is not None and known.failed is None else None
            # Current already and still there as this process packed it: nothing to pack, nothing to put.
            if before is not None and before[0] == one.content:
                there = self._store.verify(fleet.namespace, name, one.content)
                if there is not None and there.digest == before[1]:
                    stored[group] = before
                    continue
            self._store.put(fleet.namespace, name, one, now)
            stored[group] = (one.content, one.digest, one.size)
        return stored

    def _built(self, fleet: FleetArtifact, known: Known, revision: str, origin: str) -> Built:
        published = []
        for group, (content, digest, size) in known.groups.items():
            path = archive_path(fleet.namespace, artifact_name(fleet.name, group), content)
            url = f"{self._base_url}/{path}"
            published.append(Published(group, content, revision_of(group, content), digest, size, path, url))
        return Built(revision, origin, tuple(published))

    def _failed(self, fleet: FleetArtifact, failed: Failed, present: Mapping[str, Object]) -> Failed:
        """``failed``, with the groups whose published archive nobody can fetch any more."""
        lost = []
        for row in ((self._view.fleet(fleet.key) or {}).get("status") or {}).get("groups") or ():
            group, name = str(row["name"]), str(row["artifact"])
            content = str(row["revision"]).rpartition(":")[2]
            if name not in present:
                continue
            try:
                stored = self._store.verify(fleet.namespace, name, content)
            except OutsideError:
                stored = None
            if stored is None:
                lost.append(group)
        return Failed(failed.reason, failed.text, failed.source_revision, tuple(lost))

    # ------------------------------------------------------------ to the cluster

    def _carry_out(self, fleet: FleetArtifact, actions: tuple[Action, ...]) -> None:
        """All writes: those to one artifact in their order, many artifacts side by side, and what sums them up last.

        Raises OutsideError where one fails, after what was begun has ended; the rest is for the next look.
        """
        lanes: dict[str, list[Action]] = {}
        last: list[Action] = []
        for action in actions:
            lane = _artifact_of(action)
            if lane is None:
                last.append(action)
            else:
                lanes.setdefault(lane, []).append(action)

        def carry(lane: list[Action]) -> None:
            for action in lane:
                self._act(fleet, action)

        if len(lanes) <= _FEW:
            for each in lanes.values():
                carry(each)
        else:
            with ThreadPoolExecutor(_WRITERS, thread_name_prefix="writer") as pool:
                begun = [pool.submit(carry, each) for each in lanes.values()]
                try:
                    for one in begun:
                        one.result()
                except BaseException:
                    pool.shutdown(wait=False, cancel_futures=True)
                    raise
        carry(last)

    def _act(self, fleet: FleetArtifact, action: Action) -> None:
        match action:
            case Apply(body):
                self._writer.apply(body)
            case ApplyStatus(body):
                self._writer.apply_status(body)
            case Delete(name, uid, resource_version):
                self._writer.delete_artifact(fleet.namespace, name, uid, resource_version)
            case Note(warning, reason, text):
                item = self._view.fleet(fleet.key)
                if item is not None:
                    self._writer.note(item, warning=warning, reason=reason, text=text)

    def _tell_invalid(self, item: Object, text: str) -> None:
        """A spec that cannot be read has no FleetArtifact to plan for; only its condition is written."""
        metadata, before = item["metadata"], item.get("status") or {}
        ready: Object = next((each for each in before.get("conditions") or () if each.get("type") == "Ready"), {})
        now = self._now()
        condition = {
            "type": "Ready",
            "status": "False",
            "reason": str(Reason.INVALID_SPEC),
            "message": text,
            "lastTransitionTime": ready.get("lastTransitionTime")
            if ready.get("status") == "False"
            else now.strftime("%Y-%m-%dT%H:%M:%SZ"),
            "observedGeneration": metadata.get("generation", 1),
        }
        if condition == ready:
            return
        self._writer.apply_status(
            {
                "apiVersion": item["apiVersion"],
                "kind": item["kind"],
                "metadata": {"name": metadata["name"], "namespace": metadata["namespace"]},
                "status": {**before, "conditions": [condition], "observedGeneration": metadata.get("generation", 1)},
            }
        )
        self._writer.note(item, warning=True, reason=str(Reason.INVALID_SPEC), text=text)


def _artifact_of(action: Action) -> str | None:
    """Which artifact an action writes to; None for the FleetArtifact itself."""
    match action:
        case Delete(name, _, _):
            return name
        case Apply(body) | ApplyStatus(body) if body["kind"] == ARTIFACT_KIND:
            return str(body["metadata"]["name"])
    return None


class _FetchError(Exception):
    """The source's archive did not come."""


def _origin(artifact: Mapping[str, Any]) -> str:
    """The commit that the source was made of: an OCI artifact carries it, a Git one is it."""
    return str((artifact.get("metadata") or {}).get(ORIGIN_REVISION) or artifact.get("revision", ""))
