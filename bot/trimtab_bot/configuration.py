"""The bot's configuration: ``bot.yaml`` as frozen values, every problem collected.

The shapes are read by the same reader as manifests, so the same mistakes give the same codes (F1xx: unknown field,
missing field, wrong type, with line and "did you mean"); what only the bot can judge has codes of its own (B1xx).
Relative paths are relative to the folder of the file. No secret stands in it: tokens are there as SHA-256 digests.
"""

from __future__ import annotations

import datetime
import re
from collections.abc import Mapping
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Annotated, TypeAlias
from urllib.parse import urlsplit

from trimtab_bot.alarms import AlarmRule
from trimtab_bot.approvals.rules import ApprovalRule, AutomaticRule
from trimtab_bot.persons import People, Person, Role, conflicts
from trimtab_bot.remedies import ASKED
from trimtab_bot.remedies.rollback import RollbackOptions
from trimtab_config.git.identity import GitIdentity
from trimtab_config.git.refs import branch_ref
from trimtab_config.spec.reader import read_object
from trimtab_config.spec.scalars import (
    Accepts,
    CountField,
    DurationField,
    LabelNameField,
    NumberField,
    PositiveField,
    RatioField,
    Scalar,
    TextField,
    integer,
)
from trimtab_kernel.identity import Digest, IdentityError
from trimtab_kernel.problems import Collector, InputError, Problem, quoted
from trimtab_kernel.records import dataclass, field
from trimtab_kernel.rules import Window

if TYPE_CHECKING:
    from trimtab_config.spec.kinds import Origin

MAX_BYTES = 1024 * 1024
_SHORTEST_TICK = 0.2
_LONGEST_TICK = 3600.0
_SHORTEST_LEASE = 2
_LONGEST_LEASE = 300


def _digest(text: str) -> Digest:
    try:
        return Digest.parse(text if text.startswith("sha256:") else f"sha256:{text}")
    except IdentityError as error:
        raise ValueError(f"expected 64 hex digits ({error})") from None


def _branch(text: str) -> str:
    branch_ref(text)
    return text


def _repository(text: str) -> str:
    if re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9-]{0,99}/[A-Za-z0-9._-]{1,100}", text, re.ASCII) is None:
        raise ValueError("expected OWNER/NAME")
    return text


def _selector(text: str) -> str:
    if re.fullmatch(r"[A-Za-z0-9._/=!,() -]{0,1000}", text, re.ASCII) is None:
        raise ValueError('expected a selector such as "team=edge"')
    return text


def _slack(text: str) -> str:
    if re.fullmatch(r"[A-Z][A-Z0-9]{1,20}", text, re.ASCII) is None:
        raise ValueError("expected an id of upper-case letters and digits")
    return text


def _member(text: str) -> str:
    for part in text.split("/", 1):
        _slack(part)
    return text


_TEXT = {"type": "string"}
IdentityField = Annotated[
    GitIdentity,
    Scalar("identity", GitIdentity.parse, 'an identity such as "Ada <ada@example.org>"', Accepts.TEXT, _TEXT),
]
TokenField = Annotated[Digest, Scalar("token digest", _digest, "64 hex digits", Accepts.TEXT_OR_NUMBER, _TEXT)]
WindowField = Annotated[Window, Scalar("window", Window.parse, 'a window such as "5m"', Accepts.TEXT, _TEXT)]
BranchField = Annotated[str, Scalar("branch", _branch, 'a branch name such as "main"', Accepts.TEXT, _TEXT)]
RepositoryField = Annotated[
    str, Scalar("repository", _repository, 'a repository such as "acme/fleet"', Accepts.TEXT, _TEXT)
]
SlackField = Annotated[str, Scalar("slack id", _slack, 'an id such as "U024BE7LH"', Accepts.TEXT, _TEXT)]
SelectorField = Annotated[str, Scalar("selector", _selector, 'a selector such as "team=edge"', Accepts.TEXT, _TEXT)]
MemberField = Annotated[
    str, Scalar("slack member", _member, 'a member such as "U024BE7LH" or "T024BE7LD/U024BE7LH"', Accepts.TEXT, _TEXT)
]
PortField = Annotated[int, integer(0, 65535)]


@dataclass(frozen=True, slots=True)
class PrometheusFile:
    """A Prometheus that records what `trimtab rules` prints."""

    url: TextField
    bearer_token_file: TextField | None = None
    ca_file: TextField | None = None


@dataclass(frozen=True, slots=True)
class ScrapeFile:
    """The built-in source. ``targets`` is a file of Prometheus' file-based service discovery (JSON)."""

    targets: TextField
    interval: DurationField = datetime.timedelta(seconds=5)


@dataclass(frozen=True, slots=True)
class MetricsFile:
    """Exactly one of the two."""

    prometheus: PrometheusFile | None = None
    scrape: ScrapeFile | None = None


@dataclass(frozen=True, slots=True)
class InboxFile:
    """Where the built-in inbox listens; port 0 takes a free one. ``public_hosts`` are names under which a proxy reaches it.

    ``public_url`` is where people's browsers find it, for links and for what comes back from Slack and GitHub.
    """

    host: TextField = "127.0.0.1"
    port: PortField = 0
    public_hosts: tuple[TextField, ...] = ()
    public_url: TextField | None = None


@dataclass(frozen=True, slots=True)
class ApprovalRuleFile:
    """See :class:`trimtab_bot.approvals.rules.ApprovalRule`."""

    name: LabelNameField
    quorum: PositiveField = 1
    remedies: tuple[TextField, ...] = ()
    environments: tuple[TextField, ...] = ()
    min_devices: CountField = 0
    min_share: RatioField = Decimal(0)
    roles: tuple[Role, ...] = ()


@dataclass(frozen=True, slots=True)
class AutomaticRuleFile:
    """See :class:`trimtab_bot.approvals.rules.AutomaticRule`."""

    name: LabelNameField
    remedies: tuple[TextField, ...]
    environments: tuple[TextField, ...]
    max_devices: PositiveField
    max_share: RatioField
    per_day: PositiveField = 1


@dataclass(frozen=True, slots=True)
class ApprovalFile:
    """How many distinct persons must approve, and how long a proposal is open for decision."""

    quorum: PositiveField = 1
    expiry: DurationField = datetime.timedelta(hours=4)
    rules: tuple[ApprovalRuleFile, ...] = ()
    automatic: tuple[AutomaticRuleFile, ...] = ()


@dataclass(frozen=True, slots=True)
class AlarmsFile:
    """See :class:`trimtab_bot.alarms.AlarmRule`."""

    false_alarms: NumberField = Decimal("0.05")
    horizon: DurationField = datetime.timedelta(days=1)


@dataclass(frozen=True, slots=True)
class RecoveryFile:
    """How long after a merge the bot waits for fleet and figure before it calls for help.

    The figure needs a whole window after the fleet is back; the default is 30 minutes, and at least three windows.
    """

    limit: DurationField | None = None


@dataclass(frozen=True, slots=True)
class ChangesFile:
    """How many first-parent commits are searched for the change that brought a version."""

    search_commits: PositiveField = 1000


@dataclass(frozen=True, slots=True)
class RollbackFile:
    """How long the bad version is held after a rollback, and by whom (the device groups' team unless given)."""

    hold_days: PositiveField = 30
    hold_owner: TextField | None = None


@dataclass(frozen=True, slots=True)
class RolloutsFile:
    """Whether the bot proposes the next wave of a rollout where its gate is passed."""

    propose: bool = True


@dataclass(frozen=True, slots=True)
class RemediesFile:
    """Options of the remedies."""

    rollback: RollbackFile = field(default_factory=RollbackFile)


@dataclass(frozen=True, slots=True)
class IdentityFile:
    """As whom the bot commits."""

    name: TextField = "Trimtab Bot"
    email: TextField = "bot@trimtab.invalid"


@dataclass(frozen=True, slots=True)
class GitHubAppFile:
    """A GitHub App's installation; ``key_file`` holds its private key (PEM)."""

    id: PositiveField
    installation: PositiveField
    key_file: TextField


@dataclass(frozen=True, slots=True)
class WebhookFile:
    """Where GitHub's webhooks are taken; ``secret_file`` holds the secret that they are signed with. Port 0 takes a free one."""

    secret_file: TextField
    port: PortField = 0
    host: TextField = "127.0.0.1"


@dataclass(frozen=True, slots=True)
class GitHubOAuthFile:
    """The GitHub App's client id and secret, so that people can link their own accounts."""

    client_id: TextField
    client_secret_file: TextField


@dataclass(frozen=True, slots=True)
class GitHubFile:
    """The fleet's repository on GitHub, or on GitHub Enterprise Server by ``api_url`` and ``clone_url``.

    Exactly one of ``token_file`` and ``app``. ``repository`` of the bot is then the folder of its local mirror. Comments and
    reviews are looked for every ``poll``, and at once where a webhook says so. ``check`` is the check's name.
    """

    repository: RepositoryField
    token_file: TextField | None = None
    app: GitHubAppFile | None = None
    api_url: TextField = "https://api.github.com"
    clone_url: TextField | None = None
    poll: DurationField = datetime.timedelta(seconds=10)
    check: TextField = "trimtab-proof"
    webhook: WebhookFile | None = None
    oauth: GitHubOAuthFile | None = None


@dataclass(frozen=True, slots=True)
class SlackHttpFile:
    """Where Slack's requests are taken, at the path /slack/events; ``signing_secret_file`` holds what they are signed with."""

    signing_secret_file: TextField
    port: PortField = 0
    host: TextField = "127.0.0.1"


@dataclass(frozen=True, slots=True)
class WorkspaceFile:
    """A workspace into which the app may be installed, and the channel for its messages."""

    channel: SlackField


@dataclass(frozen=True, slots=True)
class SlackOAuthFile:
    """The app's credentials for OAuth (Basic Information). ``authorize_url`` is where Slack asks the person."""

    client_id: TextField
    client_secret_file: TextField
    authorize_url: TextField = "https://slack.com/oauth/v2/authorize"


@dataclass(frozen=True, slots=True)
class SlackFile:
    """Either a channel of one workspace by a token, or ``workspaces`` into which the app is installed by ``oauth``.

    ``bot_token_file`` holds the xoxb- token. Exactly one of ``app_token_file``, which holds the xapp- token of Socket Mode,
    and ``http``.
    """

    team: SlackField | None = None
    channel: SlackField | None = None
    bot_token_file: TextField | None = None
    workspaces: Mapping[SlackField, WorkspaceFile] = field(default_factory=lambda: MappingProxyType({}))
    oauth: SlackOAuthFile | None = None
    app_token_file: TextField | None = None
    http: SlackHttpFile | None = None
    api_url: TextField = "https://slack.com/api/"


@dataclass(frozen=True, slots=True)
class NarratorFile:
    """An endpoint that speaks OpenAI's protocol, which may put a few sentences before the template's text."""

    base_url: TextField
    model: TextField
    key_file: TextField | None = None


@dataclass(frozen=True, slots=True)
class AlertmanagerFile:
    """An Alertmanager that incidents are sent to."""

    url: TextField


@dataclass(frozen=True, slots=True)
class PagerDutyFile:
    """PagerDuty, or what takes its Events API v2. ``routing_key_file`` holds the integration's key."""

    routing_key_file: TextField
    url: TextField = "https://events.pagerduty.com/v2/enqueue"


@dataclass(frozen=True, slots=True)
class OutputsFile:
    """Who else is told of incidents."""

    alertmanager: AlertmanagerFile | None = None
    pagerduty: PagerDutyFile | None = None


@dataclass(frozen=True, slots=True)
class ArgoCDFile:
    """Where Argo CD's Applications are; ``namespace`` "*" for all of them. ``labels`` selects some, as kubectl's -l does."""

    namespace: TextField = "argocd"
    labels: SelectorField = ""


@dataclass(frozen=True, slots=True)
class FluxFile:
    """Where Flux's Kustomizations and their sources are; ``namespace`` "*" for all. ``labels`` selects some Kustomizations, as kubectl's -l does."""

    namespace: TextField = "flux-system"
    labels: SelectorField = ""


@dataclass(frozen=True, slots=True)
class DeliveryFile:
    """What brings the branch to clusters: exactly one of ``argocd`` and ``flux``, asked through the Kubernetes API.

    A change that has not arrived ``limit`` after its merge is a reason to call for help. ``clusters`` names the clusters (as
    device groups do) that are covered, all unless given: the devices alone speak for the others. Without ``kubeconfig`` the API is
    that of the pod.
    """

    argocd: ArgoCDFile | None = None
    flux: FluxFile | None = None
    kubeconfig: TextField | None = None
    limit: DurationField = datetime.timedelta(minutes=10)
    clusters: tuple[TextField, ...] = ()


@dataclass(frozen=True, slots=True)
class TelemetryFile:
    """Where the bot's own metrics are served, at the path /metrics; port 0 takes a free one."""

    port: PortField
    host: TextField = "127.0.0.1"


@dataclass(frozen=True, slots=True)
class DatabaseFile:
    """PostgreSQL instead of files in the state directory. ``url_file`` holds ``postgresql://USER:PASSWORD@HOST/DATABASE``."""

    url_file: TextField


@dataclass(frozen=True, slots=True)
class SecretsFile:
    """``key_file`` holds the keys that seal what is kept of others, one a line, the newest first (`trimtab bot new-key`)."""

    key_file: TextField


@dataclass(frozen=True, slots=True)
class LeaderFile:
    """Replicas: a Lease of Kubernetes decides which one acts. Needs ``database``."""

    lease: TextField = "trimtab-bot"
    namespace: TextField = "trimtab"
    kubeconfig: TextField | None = None
    duration: DurationField = datetime.timedelta(seconds=15)


@dataclass(frozen=True, slots=True)
class PersonFile:
    """One person. Without ``roles`` a person only sees. ``slack`` are the member ids that are theirs.

    Where there are several workspaces each is ``WORKSPACE/MEMBER``.

    ``github`` are the numeric ids of their accounts (``gh api users/NAME --jq .id``): names can change hands.
    """

    id: LabelNameField
    name: TextField
    git: tuple[IdentityField, ...]
    token_sha256: TokenField
    roles: tuple[Role, ...] = (Role.VIEWER,)
    slack: tuple[MemberField, ...] = ()
    github: tuple[PositiveField, ...] = ()


@dataclass(frozen=True, slots=True)
class BotFile:
    """``bot.yaml`` as it is written. Durations such as ``5s``, ``24h``."""

    repository: TextField
    state: TextField
    metrics: MetricsFile
    people: tuple[PersonFile, ...]
    branch: BranchField = "main"
    path: TextField = "."
    window: WindowField = Window.MINUTES_5
    tick: DurationField = datetime.timedelta(seconds=10)
    freshness: DurationField | None = None
    inbox: InboxFile = field(default_factory=InboxFile)
    approval: ApprovalFile = field(default_factory=ApprovalFile)
    identity: IdentityFile = field(default_factory=IdentityFile)
    alarms: AlarmsFile = field(default_factory=AlarmsFile)
    recovery: RecoveryFile = field(default_factory=RecoveryFile)
    changes: ChangesFile = field(default_factory=ChangesFile)
    remedies: RemediesFile = field(default_factory=RemediesFile)
    rollouts: RolloutsFile = field(default_factory=RolloutsFile)
    github: GitHubFile | None = None
    slack: SlackFile | None = None
    narrator: NarratorFile | None = None
    database: DatabaseFile | None = None
    leader: LeaderFile | None = None
    outputs: OutputsFile | None = None
    delivery: DeliveryFile | None = None
    telemetry: TelemetryFile | None = None
    secrets: SecretsFile | None = None


# ---------------------------------------------------------------- what the bot works with


@dataclass(frozen=True, slots=True)
class PrometheusSettings:
    """See :class:`PrometheusFile`."""

    url: str
    bearer_token_file: Path | None
    ca_file: Path | None


@dataclass(frozen=True, slots=True)
class ScrapeSettings:
    """See :class:`ScrapeFile`; ``interval`` in seconds."""

    targets: Path
    interval: float


MetricsSettings: TypeAlias = PrometheusSettings | ScrapeSettings


@dataclass(frozen=True, slots=True)
class WebhookSettings:
    """See :class:`WebhookFile`."""

    secret_file: Path
    host: str
    port: int


@dataclass(frozen=True, slots=True)
class GitHubSettings:
    """See :class:`GitHubFile`. ``app`` and ``installation`` are 0 where ``secret_file`` holds a token.

    ``people`` maps an account's numeric id to a person's id; ``poll`` is in seconds; ``oauth`` is the App's client id and the
    file of its secret.
    """

    repository: str
    api_url: str
    clone_url: str
    secret_file: Path
    app: int = 0
    installation: int = 0
    people: Mapping[int, str] = field(default_factory=lambda: MappingProxyType({}))
    poll: float = 10.0
    check: str = "trimtab-proof"
    webhook: WebhookSettings | None = None
    oauth: tuple[str, Path] | None = None


@dataclass(frozen=True, slots=True)
class SlackOAuthSettings:
    """See :class:`SlackOAuthFile`."""

    client_id: str
    client_secret_file: Path
    authorize_url: str


@dataclass(frozen=True, slots=True)
class SlackSettings:
    """See :class:`SlackFile`. ``channels`` maps workspaces to their channels, ``people`` workspace and member to a person's id.

    One of ``bot_token_file`` (then there is one workspace) and ``oauth``.
    """

    channels: Mapping[str, str]
    bot_token_file: Path | None
    app_token_file: Path | None
    api_url: str
    people: Mapping[tuple[str, str], str]
    signing_secret_file: Path | None = None
    host: str = ""
    port: int = 0
    oauth: SlackOAuthSettings | None = None


@dataclass(frozen=True, slots=True)
class NarratorSettings:
    """See :class:`NarratorFile`."""

    base_url: str
    model: str
    key_file: Path | None


@dataclass(frozen=True, slots=True)
class OutputsSettings:
    """See :class:`OutputsFile`; "" and None for what is not told."""

    alertmanager_url: str
    pagerduty_url: str
    routing_key_file: Path | None


@dataclass(frozen=True, slots=True)
class DeliverySettings:
    """See :class:`DeliveryFile`; ``tool`` is ``argocd`` or ``flux``, ``namespace`` "" for all, ``limit`` in seconds."""

    tool: str
    namespace: str
    labels: str
    kubeconfig: Path | None
    limit: float
    clusters: frozenset[str]


@dataclass(frozen=True, slots=True)
class LeaderSettings:
    """See :class:`LeaderFile`; ``duration`` in whole seconds."""

    lease: str
    namespace: str
    kubeconfig: Path | None
    duration: int


@dataclass(frozen=True, slots=True)
class ApprovalPolicy:
    """The rules of approval; ``expiry`` in seconds. Their digest is part of what people approve."""

    quorum: int
    expiry: float
    rules: tuple[ApprovalRule, ...] = ()
    automatic: tuple[AutomaticRule, ...] = ()


@dataclass(frozen=True, slots=True)
class Configuration:
    """Everything that the bot is told. All spans in seconds, all paths absolute."""

    repository: Path
    branch: str
    path: str
    state: Path
    window: Window
    tick: float
    freshness: float
    metrics: MetricsSettings
    inbox_host: str
    inbox_port: int
    inbox_public_hosts: tuple[str, ...]
    approval: ApprovalPolicy
    identity: GitIdentity
    people: People
    alarms: AlarmRule
    recovery_limit: float
    search_commits: int
    rollback: RollbackOptions
    propose_promotions: bool
    github: GitHubSettings | None = None
    slack: SlackSettings | None = None
    narrator: NarratorSettings | None = None
    database: Path | None = None
    leader: LeaderSettings | None = None
    outputs: OutputsSettings | None = None
    delivery: DeliverySettings | None = None
    telemetry: tuple[str, int] | None = None
    """Host and port of the bot's own metrics."""
    secrets: Path | None = None
    """The file of keys that seal what is kept of others."""
    inbox_public_url: str = ""

    @property
    def store_path(self) -> Path:
        """The database of the bot's memory."""
        return self.state / "bot.db"

    @property
    def ledger_path(self) -> Path:
        """The ledger's database."""
        return self.state / "ledger.db"


def load_configuration(path: Path) -> Configuration:
    """Read ``bot.yaml``. Raises InputError with everything that is wrong in it."""
    try:
        with path.open("rb") as file:
            content = file.read(MAX_BYTES + 1)
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise InputError(Problem("B101", str(path), got=reason.lower(), expected="a readable file")) from None
    return read_configuration(content, path.resolve().parent, path.name)


def read_configuration(content: bytes, folder: Path, name: str = "bot.yaml") -> Configuration:
    """As :func:`load_configuration`, from bytes; relative paths are relative to ``folder``. Pure."""
    read = read_object(name, content, BotFile)
    if read.value is None:
        raise InputError(*read.problems)
    judge = _Judge(name, read.origin)
    configuration = judge.configuration(read.value, folder)
    if configuration is None:
        raise InputError(*judge.problems.sorted())
    return configuration


class _Judge:
    """What cannot be seen in one field alone."""

    def __init__(self, file: str, origin: Origin) -> None:
        self.file = file
        self.origin = origin
        self.problems = Collector()

    def refuse(self, place: str, got: object, expected: str, hint: str = "", code: str = "B103") -> None:
        line = self.origin.line_of(place)
        self.problems.add(Problem(code, self.file, line, place, quoted(got), expected, hint))

    def configuration(self, file: BotFile, folder: Path) -> Configuration | None:
        tick = file.tick.total_seconds()
        if not _SHORTEST_TICK <= tick <= _LONGEST_TICK:
            self.refuse("tick", f"{tick:g} s", "1s to 1h")
        # Three ticks of a slow scraper, and never less than what a missed scrape needs.
        freshness = max(15.0, 3 * tick) if file.freshness is None else file.freshness.total_seconds()
        if freshness <= 0:
            self.refuse("freshness", f"{freshness:g} s", "a positive duration")
        expiry = file.approval.expiry.total_seconds()
        if expiry <= 0:
            self.refuse("approval.expiry", f"{expiry:g} s", "a positive duration")
        window = float(file.window.value)
        limit = max(1800.0, 3 * window) if file.recovery.limit is None else file.recovery.limit.total_seconds()
        if limit <= window:
            self.refuse("recovery.limit", f"{limit:g} s", f"more than the window of {file.window.text}")
        metrics = self.metrics(file.metrics, folder)
        identity = self.identity(file.identity)
        people = self.people(file, identity)
        alarms = self.alarms(file.alarms)
        github = None if file.github is None else self.github(file, file.github, folder)
        slack = None if file.slack is None else self.slack(file, file.slack, folder)
        leader = None if file.leader is None else self.leader(file, file.leader, folder)
        public = self.public_url(file)
        delivery = None if file.delivery is None else self.delivery(file.delivery, folder)
        if self.problems.problems or metrics is None or people is None or identity is None or alarms is None:
            return None
        return Configuration(
            repository=_absolute(folder, file.repository),
            branch=file.branch,
            path="" if file.path.strip("/") in ("", ".") else file.path.strip("/").removeprefix("./"),
            state=_absolute(folder, file.state),
            window=file.window,
            tick=tick,
            freshness=freshness,
            metrics=metrics,
            inbox_host=file.inbox.host,
            inbox_port=file.inbox.port,
            inbox_public_hosts=(*file.inbox.public_hosts, *((urlsplit(public).netloc,) if public else ())),
            inbox_public_url=public,
            secrets=None if file.secrets is None else _absolute(folder, file.secrets.key_file),
            approval=ApprovalPolicy(
                file.approval.quorum,
                expiry,
                tuple(_rule(each) for each in file.approval.rules),
                tuple(_automatic(each) for each in file.approval.automatic),
            ),
            identity=identity,
            people=people,
            alarms=alarms,
            recovery_limit=limit,
            search_commits=file.changes.search_commits,
            rollback=RollbackOptions(file.remedies.rollback.hold_days, file.remedies.rollback.hold_owner or ""),
            propose_promotions=file.rollouts.propose,
            github=github,
            slack=slack,
            narrator=None
            if file.narrator is None
            else NarratorSettings(
                file.narrator.base_url, file.narrator.model, _optional(folder, file.narrator.key_file)
            ),
            database=None if file.database is None else _absolute(folder, file.database.url_file),
            leader=leader,
            telemetry=None if file.telemetry is None else (file.telemetry.host, file.telemetry.port),
            outputs=None if file.outputs is None else _outputs(file.outputs, folder),
            delivery=delivery,
        )

    def delivery(self, file: DeliveryFile, folder: Path) -> DeliverySettings | None:
        chosen = file.argocd or file.flux
        if chosen is None or (file.argocd is not None and file.flux is not None):
            self.refuse("delivery", "both" if chosen else "neither", "either argocd or flux")
            return None
        limit = file.limit.total_seconds()
        if limit <= 0:
            self.refuse("delivery.limit", f"{limit:g} s", "a positive duration")
        return DeliverySettings(
            "argocd" if file.argocd is not None else "flux",
            "" if chosen.namespace == "*" else chosen.namespace,
            chosen.labels,
            _optional(folder, file.kubeconfig),
            limit,
            frozenset(file.clusters),
        )

    def public_url(self, file: BotFile) -> str:
        url = (file.inbox.public_url or "").rstrip("/")
        parts = urlsplit(url)
        local = parts.hostname in ("127.0.0.1", "localhost", "::1")
        if url and (parts.scheme not in ("https", "http") or not parts.netloc or parts.path or parts.query):
            self.refuse("inbox.publicUrl", url, "https://HOST, without a path")
        elif url and parts.scheme == "http" and not local:
            self.refuse("inbox.publicUrl", url, "https, except on this machine")
        return url

    def leader(self, file: BotFile, section: LeaderFile, folder: Path) -> LeaderSettings:
        duration = section.duration.total_seconds()
        if duration != int(duration) or not _SHORTEST_LEASE <= duration <= _LONGEST_LEASE:
            self.refuse("leader.duration", f"{duration:g} s", "whole seconds, 2s to 5m")
        if file.database is None:
            self.refuse("leader", "no database", "a database that the replicas share")
        return LeaderSettings(section.lease, section.namespace, _optional(folder, section.kubeconfig), int(duration))

    def slack(self, file: BotFile, section: SlackFile, folder: Path) -> SlackSettings | None:
        if (section.app_token_file is None) == (section.http is None):
            self.refuse("slack", "both" if section.http else "neither", "either appTokenFile or http")
        one = (section.team, section.channel, section.bot_token_file)
        several = bool(section.workspaces) and section.oauth is not None
        if several == all(one) or (several and any(one)) or (not several and (section.workspaces or section.oauth)):
            self.refuse(
                "slack",
                "both, neither or half of one",
                "either team, channel and botTokenFile, or workspaces and oauth",
            )
            return None
        if several and file.secrets is None:
            self.refuse("slack.oauth", "no secrets.keyFile", "a file of keys, with which tokens are sealed")
        channels = {name: each.channel for name, each in section.workspaces.items()}
        if section.team is not None and section.channel is not None:
            channels = {section.team: section.channel}
        oauth = section.oauth
        return SlackSettings(
            MappingProxyType(channels),
            _optional(folder, section.bot_token_file),
            _optional(folder, section.app_token_file),
            section.api_url,
            MappingProxyType(self.members(file, section)),
            None if section.http is None else _absolute(folder, section.http.signing_secret_file),
            "" if section.http is None else section.http.host,
            0 if section.http is None else section.http.port,
            None
            if oauth is None
            else SlackOAuthSettings(oauth.client_id, _absolute(folder, oauth.client_secret_file), oauth.authorize_url),
        )

    def members(self, file: BotFile, section: SlackFile) -> dict[tuple[str, str], str]:
        """Workspace and member id to a person's id; an id alone is of the one workspace there is."""
        found: dict[tuple[str, str], str] = {}
        for index, person in enumerate(file.people):
            for account in person.slack:
                team, _, user = account.rpartition("/")
                if not team and section.team is None:
                    self.refuse(f"people[{index}].slack", account, f"WORKSPACE/{account}, one of {_listed(section)}")
                elif team and team not in section.workspaces and team != section.team:
                    self.refuse(f"people[{index}].slack", account, f"a workspace of {_listed(section)}")
                elif found.setdefault((team or str(section.team), user), person.id) != person.id:
                    owner = found[team or str(section.team), user]
                    self.refuse(f"people[{index}].slack", account, f"an account of {owner} alone")
        return found

    def github(self, whole: BotFile, file: GitHubFile, folder: Path) -> GitHubSettings | None:
        owners: dict[int, str] = {}
        for person in whole.people:
            owners.update(dict.fromkeys(person.github, person.id))
        if re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9 ._/-]{0,99}", file.check, re.ASCII) is None:
            self.refuse("github.check", file.check, "up to 100 letters, digits, spaces and ._/-")
        if not 1 <= file.poll.total_seconds() <= _LONGEST_TICK:
            self.refuse("github.poll", f"{file.poll.total_seconds():g} s", "1s to 1h")
        hook, oauth = file.webhook, file.oauth
        if oauth is not None and whole.secrets is None:
            self.refuse("github.oauth", "no secrets.keyFile", "a file of keys, with which tokens are sealed")
        made = self._github(file, folder)
        if made is None:
            return None
        return replace(
            made,
            people=MappingProxyType(owners),
            poll=file.poll.total_seconds(),
            check=file.check,
            oauth=None if oauth is None else (oauth.client_id, _absolute(folder, oauth.client_secret_file)),
            webhook=None
            if hook is None
            else WebhookSettings(_absolute(folder, hook.secret_file), hook.host, hook.port),
        )

    def _github(self, file: GitHubFile, folder: Path) -> GitHubSettings | None:
        if (file.token_file is None) == (file.app is None):
            got = "both" if file.app else "neither"
            self.refuse("github", got, "either tokenFile or app")
            return None
        clone = file.clone_url or f"https://github.com/{file.repository}.git"
        common = (file.repository, file.api_url.rstrip("/"), clone)
        if file.app is not None:
            app = file.app
            return GitHubSettings(*common, _absolute(folder, app.key_file), app.id, app.installation)
        assert file.token_file is not None
        return GitHubSettings(*common, _absolute(folder, file.token_file))

    def metrics(self, file: MetricsFile, folder: Path) -> MetricsSettings | None:
        if file.prometheus is not None and file.scrape is None:
            source = file.prometheus
            return PrometheusSettings(
                source.url, _optional(folder, source.bearer_token_file), _optional(folder, source.ca_file)
            )
        if file.scrape is not None and file.prometheus is None:
            interval = file.scrape.interval.total_seconds()
            if interval <= 0:
                self.refuse("metrics.scrape.interval", f"{interval:g} s", "a positive duration")
            return ScrapeSettings(_absolute(folder, file.scrape.targets), interval)
        got = "both" if file.prometheus else "neither"
        self.refuse("metrics", got, "either prometheus or scrape")
        return None

    def people(self, file: BotFile, bot: GitIdentity | None) -> People | None:
        persons = tuple(
            Person(each.id, each.name, frozenset(each.git), each.token_sha256, frozenset(each.roles))
            for each in file.people
        )
        accounts: dict[str, str] = {}
        numbers: dict[int, str] = {}
        for index, each in enumerate(file.people):
            for number in each.github:
                if numbers.setdefault(number, each.id) != each.id:
                    self.refuse(f"people[{index}].github", number, f"an account of {numbers[number]} alone")
            for account in each.slack:
                if accounts.setdefault(account, each.id) != each.id:
                    self.refuse(f"people[{index}].slack", account, f"an account of {accounts[account]} alone")
        found = conflicts(persons)
        for problem in found:
            self.refuse(problem.field, problem.got, problem.expected, code=problem.code)
        approvers = [person for person in persons if Role.APPROVER in person.roles and bot not in person.git]
        self.rules(file.approval, approvers)
        if len(approvers) < file.approval.quorum:
            got = f"{len(approvers)} approvers who are not the bot"
            self.refuse("approval.quorum", file.approval.quorum, f"at most {len(approvers)}", got, code="B108")
        return None if found else People(persons)

    def rules(self, file: ApprovalFile, approvers: list[Person]) -> None:
        """A rule that nobody could ever meet would stop the bot where it matters most."""
        for index, rule in enumerate(file.rules):
            if rule.quorum > len(approvers):
                place = f"approval.rules[{index}].quorum"
                self.refuse(place, rule.quorum, f"at most {len(approvers)}, the approvers there are", code="B108")
            for role in rule.roles:
                if not any(role in person.roles for person in approvers):
                    self.refuse(f"approval.rules[{index}].roles", role.value, "a role of some approver", code="B108")
        for place, each in [("rules", each) for each in file.rules] + [("automatic", each) for each in file.automatic]:
            for name in each.remedies:
                if name not in ASKED:
                    self.refuse(f"approval.{place}", name, f"one of {', '.join(sorted(ASKED))}")

    def identity(self, file: IdentityFile) -> GitIdentity | None:
        try:
            return GitIdentity.parse(f"{file.name} <{file.email}>")
        except ValueError as error:
            self.refuse("identity", f"{file.name} <{file.email}>", str(error).removeprefix("expected "))
            return None

    def alarms(self, file: AlarmsFile) -> AlarmRule | None:
        try:
            return AlarmRule(float(file.false_alarms), file.horizon.total_seconds())
        except ValueError as error:
            self.refuse("alarms", f"{file.false_alarms} within {file.horizon}", str(error).removeprefix("expected "))
            return None


def _rule(file: ApprovalRuleFile) -> ApprovalRule:
    return ApprovalRule(
        file.name,
        file.remedies,
        file.environments,
        file.min_devices,
        float(file.min_share),
        file.quorum,
        tuple(role.value for role in file.roles),
    )


def _automatic(file: AutomaticRuleFile) -> AutomaticRule:
    return AutomaticRule(
        file.name, file.remedies, file.environments, file.max_devices, float(file.max_share), file.per_day
    )


def _outputs(file: OutputsFile, folder: Path) -> OutputsSettings:
    pager = file.pagerduty
    return OutputsSettings(
        "" if file.alertmanager is None else file.alertmanager.url,
        "" if pager is None else pager.url,
        None if pager is None else _absolute(folder, pager.routing_key_file),
    )


def _listed(section: SlackFile) -> str:
    return ", ".join(sorted(section.workspaces)) or str(section.team)


def _absolute(folder: Path, text: str) -> Path:
    return (folder / Path(text).expanduser()).absolute()


def _optional(folder: Path, text: str | None) -> Path | None:
    return None if text is None else _absolute(folder, text)
