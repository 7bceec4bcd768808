"""Puts the bot together from its configuration: adapters outside, the core inside. Nothing else knows all the parts."""

from __future__ import annotations

import fcntl
import socket
import threading
import uuid
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from trimtab_bot.asking import Asking
from trimtab_bot.changes.history import History
from trimtab_bot.circumstances import Sight, World
from trimtab_bot.commands import CommandDesk
from trimtab_bot.configuration import PrometheusSettings
from trimtab_bot.delivery.watch import DeliveryWatch
from trimtab_bot.detection import Detection
from trimtab_bot.execution import Executor
from trimtab_bot.leading.fencing import FencedStore, SoleLeadership
from trimtab_bot.ledger.sql import SqlLedger
from trimtab_bot.ledger.sqlite import SqliteLedger
from trimtab_bot.loop import Loop
from trimtab_bot.moments import moment_text, rounded
from trimtab_bot.narration.template import TemplateNarrator
from trimtab_bot.recognition import Recognition
from trimtab_bot.recording import Scribe
from trimtab_bot.response import Response
from trimtab_bot.service import DecisionService
from trimtab_bot.store.sql import SqlStore
from trimtab_config.git.repository import GitRepository
from trimtab_config.githost.local import LocalGitHost
from trimtab_kernel.election import Terms
from trimtab_kernel.problems import InputError, OutsideError, Problem, quoted

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from trimtab_bot.configuration import Configuration, DeliverySettings, GitHubSettings
    from trimtab_bot.delivery.interface import DeliverySource
    from trimtab_bot.leading.interface import Leadership
    from trimtab_bot.ledger.interface import LedgerStore
    from trimtab_bot.linking.links import GitHubLinks
    from trimtab_bot.linking.own_reviews import OwnReviews
    from trimtab_bot.metrics.interface import MetricsSource
    from trimtab_bot.moments import Clock
    from trimtab_bot.narration.interface import Narrator
    from trimtab_bot.recording import Followers
    from trimtab_bot.store.interface import Store
    from trimtab_config.githost.conversation import Conversation
    from trimtab_config.githost.interface import GitHost

MAX_SECRET = 16_384


def _nothing() -> None:
    """A repository on this machine is always up to date."""


@dataclass(frozen=True, slots=True)
class Ports:
    """What the core reaches the outside through."""

    store: Store
    ledger: LedgerStore
    host: GitHost
    source: MetricsSource
    refresh: Callable[[], None] = _nothing
    """Brings the host's branches here before each look; nothing to do where the repository is on this machine."""
    conversation: Conversation | None = None
    """Where people talk about proposals on the Git host; None where it has no such place."""
    account: int = 0
    """The numeric id of the account that the bot acts as there."""
    deliveries: DeliverySource | None = None
    """What brings commits to clusters; None where nobody is asked."""
    links: GitHubLinks | None = None
    """Accounts that people linked to themselves on the Git host."""


@dataclass(frozen=True, slots=True)
class Bot:
    """The bot, ready to run. ``delivery`` is what watches changes on their way to clusters, if anything. ``wake`` makes the loop look at once; ``stop`` ends it after the present tick."""

    loop: Loop
    decisions: DecisionService
    commands: CommandDesk
    wake: threading.Event
    stop: threading.Event
    delivery: DeliveryWatch | None = None


def assemble(
    configuration: Configuration,
    ports: Ports,
    followers: Followers,
    clock: Clock,
    leadership: Leadership | None = None,
) -> Bot:
    """The core over these ports. ``clock`` gives Unix seconds.

    With a ``leadership``, what only the leader may do is fenced by its token, and a replica that stands by looks and answers.
    """

    def now() -> float:
        return rounded(clock())

    wake, stop = threading.Event(), threading.Event()
    history = History(GitRepository(configuration.repository), configuration.path)
    sight, narrator = Sight(), _narrator(configuration)
    scribe = Scribe(ports.store, ports.ledger, followers)
    fenced = ports.store if leadership is None else FencedStore(ports.store, leadership)
    world = World(configuration, history, ports.host, sight, now, _merged_by_rule(ports.store))
    asking = Asking(configuration, ports.store, scribe, history, world, sight, now)
    executor = Executor(
        configuration, fenced, scribe, ports.host, world, now, _own_reviews(configuration, ports, fenced, scribe, now)
    )
    detection = Detection(configuration, fenced, history, ports.source, narrator, followers)
    settings = configuration.delivery
    delivery = None
    if ports.deliveries is not None and settings is not None:
        delivery = DeliveryWatch(ports.deliveries, history, now, settings.limit, settings.clusters)
    response = Response(
        configuration=configuration,
        store=fenced,
        scribe=scribe,
        history=history,
        host=ports.host,
        source=ports.source,
        world=world,
        executor=executor,
        asking=asking,
        narrator=narrator,
        clock=now,
        delivery=delivery,
    )
    recognition = Recognition(
        configuration=configuration,
        store=fenced,
        history=history,
        host=ports.host,
        world=world,
        asking=asking,
        executor=executor,
        clock=now,
    )
    loop = Loop(
        scribe=scribe,
        history=history,
        world=world,
        sight=sight,
        detection=detection,
        response=response,
        recognition=recognition,
        asking=asking,
        followers=followers,
        clock=now,
        refresh=ports.refresh,
        leads=lambda: leadership is None or leadership.epoch() is not None,
    )
    decisions = DecisionService(
        configuration=configuration,
        store=ports.store,
        scribe=scribe,
        world=world,
        sight=sight,
        clock=now,
        asking=asking,
        source_name=ports.source.name,
        wake=wake.set,
    )
    return Bot(loop, decisions, CommandDesk(configuration.people, decisions, ports.links), wake, stop, delivery)


def _own_reviews(
    configuration: Configuration, ports: Ports, store: Store, scribe: Scribe, clock: Clock
) -> OwnReviews | None:
    settings = configuration.github
    if settings is None or ports.links is None or ports.conversation is None:
        return None
    from trimtab_bot.linking.own_reviews import OwnReviews

    talk = (ports.links, ports.conversation, settings.api_url, settings.repository)
    return OwnReviews(store, scribe, *talk, clock)


def github_links(configuration: Configuration, store: Store, clock: Clock) -> GitHubLinks | None:
    """What people linked; None where that is not configured. Raises InputError (B110)."""
    settings = configuration.github
    if settings is None or settings.oauth is None or configuration.secrets is None:
        return None
    from trimtab_bot.linking.github import GitHubOAuth
    from trimtab_bot.linking.links import GitHubLinks
    from trimtab_bot.sealing import Seal
    from trimtab_bot.tickets import Tickets

    client_id, file = settings.oauth
    return GitHubLinks(
        store,
        Seal.read(configuration.secrets),
        GitHubOAuth(settings.api_url, client_id, secret(file), clock),
        Tickets(store, clock),
        settings.api_url,
        settings.people,
        clock,
        configuration.inbox_public_url,
    )


def _merged_by_rule(store: Store) -> Callable[[str, float, str], int]:
    def count(rule: str, since: float, apart: str) -> int:
        with store.reading() as view:
            return sum(
                each.ballot.automatic == rule and (each.merge_intended_at or each.merged_at or 0.0) >= since
                for each in view.proposals()
                if each.id != apart
            )

    return count


def _narrator(configuration: Configuration) -> Narrator:
    settings = configuration.narrator
    if settings is None:
        return TemplateNarrator()
    from trimtab_bot.model_narrator import ModelNarrator

    key = "" if settings.key_file is None else secret(settings.key_file)
    return ModelNarrator(settings.base_url, settings.model, key)


@contextmanager
def state_lock(folder: Path) -> Iterator[None]:
    """Only one bot at a time works on a state directory. Raises InputError (B107) and OutsideError."""
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        file = (folder / "lock").open("w")
    except OSError as error:
        raise OutsideError(f"{folder} cannot be used: {error.strerror}") from None
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            problem = Problem("B107", field="state", got=quoted(str(folder)), expected="a state directory of one's own")
            raise InputError(problem) from None
        yield


@contextmanager
def local_ports(configuration: Configuration, clock: Clock) -> Iterator[Ports]:
    """The adapters that the configuration names: SQLite, a bare repository or GitHub, Prometheus or built-in scraping.

    Raises InputError for settings that an adapter refuses and OutsideError where the state cannot be opened.
    """
    if configuration.github is None:
        side = HostSide(local_host(configuration, clock), _nothing)
    else:
        side = github_side(configuration, configuration.github, clock)
    store, ledger = open_store(configuration), open_ledger(configuration)
    try:
        with _source(configuration, clock) as source:
            yield Ports(
                *(store, ledger, side.host, source, side.refresh, side.conversation, side.account),
                deliveries=delivery_source(configuration.delivery),
                links=github_links(configuration, store, clock),
            )
    finally:
        ledger.close()
        store.close()
        side.close()


def open_store(configuration: Configuration) -> SqlStore:
    """The bot's memory: in PostgreSQL where an address is configured, else in the state directory. Raises InputError and OutsideError."""
    if configuration.database is not None:
        return SqlStore.connect(secret(configuration.database))
    return SqlStore.open(configuration.store_path)


def open_ledger(configuration: Configuration, *, reading: bool = False) -> SqlLedger:
    """The ledger, beside the memory."""
    if configuration.database is not None:
        return SqlLedger.connect(secret(configuration.database), reading=reading)
    return SqliteLedger(configuration.ledger_path, reading=reading)


@contextmanager
def elected(
    configuration: Configuration, store: Store, followers: Followers, clock: Clock
) -> Iterator[tuple[Leadership, Callable[[Callable[[], None]], None]]]:
    """The leadership of this process, and what starts it once the bot is there to be woken when it is won."""
    identity = f"{socket.gethostname()}-{uuid.uuid4().hex[:8]}"
    settings = configuration.leader
    if settings is None:
        yield SoleLeadership(store, identity), lambda _: None
        return
    from trimtab_bot.cluster.leases import ClusterLease
    from trimtab_bot.leading.lease import LeaseLeadership

    def tell(text: str) -> None:
        followers.tell(moment_text(clock()), {"event": "leader", "text": text, "replica": identity})

    # The duration that a lease names is whole seconds, and others judge by it.
    terms = Terms(identity, settings.duration, settings.duration * 2 / 3, settings.duration / 6)
    lease = ClusterLease(settings.kubeconfig, settings.namespace, settings.lease)
    leadership = LeaseLeadership(lease, store, terms, tell)
    try:
        yield leadership, leadership.start
    finally:
        leadership.stop()


def local_host(configuration: Configuration, clock: Clock) -> GitHost:
    """The bare repository on this machine."""
    return LocalGitHost(
        GitRepository(configuration.repository), configuration.identity, lambda: datetime.fromtimestamp(clock(), UTC)
    )


@dataclass(frozen=True, slots=True)
class HostSide:
    """A Git host as :class:`Ports` has it."""

    host: GitHost
    refresh: Callable[[], None]
    conversation: Conversation | None = None
    account: int = 0
    close: Callable[[], None] = _nothing
    """Lets go of its connections."""


def github_side(configuration: Configuration, settings: GitHubSettings, clock: Clock, pause: float = 1.0) -> HostSide:
    """GitHub, its mirror at ``configuration.repository``, and what brings the mirror up to date. The first fetch is done.

    ``pause`` is the time between two writes in seconds, which GitHub asks for. Raises InputError (B110) for a token or key that cannot be read, OutsideError where GitHub does not answer.
    """
    from trimtab_config.git.mirror import GitMirror
    from trimtab_config.githost.github import GitHubHost, app_client, current_token, token_client
    from trimtab_config.githost.github_conversation import GitHubConversation
    from trimtab_config.githost.github_reading import RateGate
    from trimtab_config.githost.mirrored import MirroredHost

    key = secret(settings.secret_file)
    if settings.app:
        client, account = app_client(settings.api_url, settings.app, key, settings.installation, pause)
    else:
        client, account = token_client(settings.api_url, key, pause)
    mirror = GitMirror(configuration.repository, settings.clone_url, lambda: current_token(client))
    mirror.update()
    gate = RateGate()
    host = GitHubHost(client, settings.repository, account, lambda: datetime.fromtimestamp(clock(), UTC), gate=gate)
    return HostSide(
        MirroredHost(host, GitRepository(configuration.repository), mirror),
        mirror.update,
        GitHubConversation(client, settings.repository, account, gate),
        account,
        client.close,
    )


def delivery_source(settings: DeliverySettings | None) -> DeliverySource | None:
    """Argo CD or Flux through the Kubernetes API. Raises OutsideError where there is no cluster to talk to."""
    if settings is None:
        return None
    if settings.tool == "argocd":
        from trimtab_bot.cluster.argocd import ArgoApplications

        return ArgoApplications(settings.kubeconfig, settings.namespace, settings.labels)
    from trimtab_bot.cluster.flux import FluxKustomizations

    return FluxKustomizations(settings.kubeconfig, settings.namespace, settings.labels)


def secret(path: Path) -> str:
    """A token or key out of its file. Raises InputError (B110); nothing of it is ever shown."""
    try:
        with path.open("rb") as file:
            text = file.read(MAX_SECRET + 1).decode("ascii").strip()
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not a text"
        raise InputError(Problem("B110", str(path), got=str(reason).lower(), expected="a token or a key")) from None
    if not text or len(text) > MAX_SECRET:
        raise InputError(
            Problem("B110", str(path), got="nothing" if not text else "too much", expected="a token or a key")
        )
    return text


@contextmanager
def _source(configuration: Configuration, clock: Clock) -> Iterator[MetricsSource]:
    settings = configuration.metrics
    if isinstance(settings, PrometheusSettings):
        from trimtab_bot.metrics.prometheus import PrometheusSource

        try:
            prometheus = PrometheusSource(
                settings.url,
                freshness_limit=configuration.freshness,
                clock=clock,
                bearer_token_file=settings.bearer_token_file,
                ca_file=settings.ca_file,
            )
        except ValueError as error:
            problem = Problem("B103", field="metrics.prometheus.url", got="", expected=str(error))
            raise InputError(problem) from None
        try:
            yield prometheus
        finally:
            prometheus.close()
    else:
        from trimtab_bot.metrics.scrape import ScrapeSource

        with ScrapeSource(
            settings.targets,
            longest=configuration.window,
            freshness_limit=configuration.freshness,
            interval=settings.interval,
            clock=clock,
        ) as scrape:
            yield scrape
