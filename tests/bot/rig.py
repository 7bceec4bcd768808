"""A bot over a real bare repository that holds the example fleet, with people, a clock that tests move, and counts."""

from __future__ import annotations

import hashlib
import json
import shutil
import tempfile
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.bot.counts import CountsSource, Fleet
from tests.bot.deliveries import Deliveries
from tests.repositories import ScratchRepository
from trimtab_bot.assembly import Bot, Ports, assemble, local_host
from trimtab_bot.assessment import assess, watch_targets
from trimtab_bot.changes.history import History
from trimtab_bot.circumstances import Sight, World
from trimtab_bot.configuration import Configuration, read_configuration
from trimtab_bot.incidents.evidence import Look
from trimtab_bot.ledger.sqlite import SqliteLedger
from trimtab_bot.store.sql import SqlStore
from trimtab_config.git.identity import GitIdentity
from trimtab_config.git.repository import GitRepository
from trimtab_config.sources.folder import load_folder

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from trimtab_bot.inbox.interface import DecisionResult, ProposalView
    from trimtab_bot.records import Incident, Proposal
    from trimtab_config.githost.interface import GitHost
    from trimtab_kernel.canonical import Json

FLEET = Path(__file__).parents[2] / "examples" / "fleet"
START = 1_795_000_000.0
MARA, BO, ADA, CY, BOT = (
    "Mara Okafor <mara@example.com>",
    "Bo Lindqvist <bo@example.com>",
    "Ada Moreau <ada@example.com>",
    "Cy Novak <cy@example.com>",
    "Trimtab Bot <bot@trimtab.example>",
)
KIOSKS = ("kiosk-amer", "kiosk-apac", "kiosk-emea", "kiosk-latam")
FAIR = {"sex-1": (480, 520), "sex-2": (500, 500)}
UNFAIR = {"sex-1": (200, 800), "sex-2": (500, 500)}
RELEASE = "deployments/triage.yaml"
_FIRST: dict[str, Any] = {}
TOKENS = {name: f"{name}-token-{'0' * 24}" for name in ("mara", "bo", "ada", "cy", "vi", "robot")}


def person(name: str, identity: str, *roles: str) -> dict[str, Any]:
    return {
        "id": name,
        "name": identity.partition(" <")[0],
        "git": [identity],
        "tokenSha256": hashlib.sha256(TOKENS[name].encode()).hexdigest(),
        "roles": list(roles or ("approver",)),
    }


PEOPLE = [
    person("mara", MARA),
    person("bo", BO),
    person("ada", ADA),
    person("cy", CY),
    person("vi", "Vi Ewer <vi@example.com>", "viewer"),
    person("robot", BOT),
]


class Origin:
    """The bare repository, and what people do to it."""

    def __init__(self, path: Path) -> None:
        if _FIRST.get("path"):
            shutil.copytree(_FIRST["path"], path)
            self.scratch = ScratchRepository(path)
        else:
            self.scratch = ScratchRepository.create(path)
        self.path = path
        self.repository = GitRepository(path)
        self.files: dict[str, bytes] = load_folder(FLEET)
        self._trees: dict[str, dict[str, bytes]] = {}
        self.at = START - 3600
        if _FIRST.get("path"):
            self.at += 1
            self.head = self.tip()
            self._trees[self.head] = dict(self.files)
        else:
            self.head = self.commit(MARA, "Fleet: groups, models, policies, prices")
            # The first commit is the same for every test, so it is made once and copied.
            _FIRST["folder"] = tempfile.TemporaryDirectory(prefix="trimtab-origin-")
            _FIRST["path"] = f"{_FIRST['folder'].name}/fleet.git"
            shutil.copytree(path, _FIRST["path"])

    def commit(
        self, who: str, message: str, *parents: str, files: Mapping[str, bytes] | None = None, co: str = ""
    ) -> str:
        """A commit of the present files on main's tip (or on ``parents``), and main moved to it where none are given."""
        self.at += 1
        wanted = dict(self.files if files is None else files)
        above = parents or ((self.tip(),) if self.exists() else ())
        text = message + (f"\n\nCo-authored-by: {co}" if co else "")
        identity, at = GitIdentity.parse(who), datetime.fromtimestamp(int(self.at), UTC)
        before = self._trees.get(above[0]) if above else {}
        if before is None:
            before = self.repository.files(above[0])
        changes: dict[str, bytes | None] = dict.fromkeys(before.keys() - wanted.keys())
        changes.update({name: content for name, content in wanted.items() if before.get(name) != content})
        sha = self.repository.write_commit(above[0] if above else None, changes, identity, identity, text, at)
        if len(above) > 1:
            options = [part for parent in above for part in ("-p", parent)]
            stamp = f"{int(self.at)} +0000"
            names = {
                f"GIT_{part}_{what}": value
                for part in ("AUTHOR", "COMMITTER")
                for what, value in (("NAME", identity.name), ("EMAIL", identity.email), ("DATE", stamp))
            }
            sha = (
                self.scratch.git("commit-tree", f"{sha}^{{tree}}", *options, given=text.encode(), **names)
                .decode()
                .strip()
            )
        self._trees[sha] = wanted
        if not parents:
            self.scratch.git("update-ref", "refs/heads/main", sha)
        return sha

    def exists(self) -> bool:
        return bool(self.scratch.text("for-each-ref", "refs/heads/main"))

    def tip(self) -> str:
        return self.scratch.tip()

    def read(self, path: str, commit: str = "refs/heads/main") -> str:
        """One file at a commit."""
        return self.scratch.git("cat-file", "blob", f"{commit}:{path}").decode()

    def sync(self) -> None:
        """What main holds becomes what people edit next."""
        listed = self.scratch.text("ls-tree", "-r", "--name-only", "refs/heads/main").splitlines()
        self.files = {name: self.scratch.git("cat-file", "blob", f"refs/heads/main:{name}") for name in listed}

    def edit(self, path: str, old: str, new: str) -> None:
        """Replace the first occurrence in a file, as a person would."""
        text = self.files[path].decode()
        assert old in text, f"{old!r} is not in {path}"
        self.files[path] = text.replace(old, new, 1).encode()

    def merge(self, who: str, subject: str, *, merger: str = "", co: str = "") -> str:
        """The present files as one commit on a branch, merged into main by a true merge commit."""
        base = self.tip()
        side = self.commit(who, subject, base, co=co)
        merged = self.commit(merger or who, f"Merge: {subject}", base, side)
        self.scratch.git("update-ref", "refs/heads/main", merged, base)
        return merged

    def release(self, who: str = BO, version: str = "1.2.0", old: str = "1.1.0", **options: str) -> str:
        """The kiosks' triage moves to another version."""
        self.edit(RELEASE, f'version: "{old}"', f'version: "{version}"')
        return self.merge(who, f"Triage {version} on the kiosks", **options)

    def refs(self, prefix: str) -> list[str]:
        return self.scratch.text("for-each-ref", "--format=%(refname)", prefix).splitlines()

    def merges_of_the_bot(self) -> list[str]:
        """First-parent commits of main that the bot made."""
        log = self.scratch.text("log", "--first-parent", "--format=%H %ce", "refs/heads/main").splitlines()
        return [line.split()[0] for line in log if line.endswith("bot@trimtab.example")]


@dataclass
class Events:
    """Followers that keep what they are told."""

    seen: list[tuple[str, dict[str, Any]]] = field(default_factory=list)

    def tell(self, at: str, event: Mapping[str, Json]) -> None:
        self.seen.append((at, dict(event)))

    def of(self, name: str) -> list[dict[str, Any]]:
        return [event for _, event in self.seen if event["event"] == name]

    def names(self) -> list[str]:
        return [event["event"] for _, event in self.seen if event["event"] not in ("finding", "health")]


def settings(folder: Path, **changes: object) -> dict[str, Any]:
    """``bot.yaml`` as a value."""
    return {
        "repository": str(folder / "fleet.git"),
        "state": str(folder / "state"),
        "path": ".",
        "window": "5m",
        "tick": "5s",
        "metrics": {"scrape": {"targets": "targets.json"}},
        "approval": {"quorum": 1, "expiry": "4h"},
        "identity": {"name": "Trimtab Bot", "email": "bot@trimtab.example"},
        "people": PEOPLE,
        **changes,
    }


class Site:
    """Everything together. ``restart`` gives a new bot over the same state, as after a crash."""

    def __init__(self, folder: Path, **changes: object) -> None:
        self.folder = folder
        self.origin = Origin(folder / "fleet.git")
        self.fleet = Fleet(folder / "counts.json")
        self.now = START
        self.events = Events()
        self.deliveries = Deliveries()
        self._stack = ExitStack()
        self.good()
        self.configure(**changes)
        self.restart()

    def configure(self, **changes: object) -> None:
        """Another ``bot.yaml`` from the next restart on."""
        content = json.dumps(settings(self.folder, **changes)).encode()
        self.configuration: Configuration = read_configuration(content, self.folder)

    def restart(self) -> None:
        self.close()
        configuration = self.configuration
        self.store = SqlStore.open(configuration.store_path)
        self._stack.callback(self.store.close)
        self.ledger = SqliteLedger(configuration.ledger_path)
        self._stack.callback(self.ledger.close)
        self.host, refresh = self.git_host(configuration)
        source = CountsSource(self.fleet.path, lambda: self.now)
        deliveries = self.deliveries if configuration.delivery is not None else None
        ports = Ports(self.store, self.ledger, self.host, source, refresh, deliveries=deliveries)
        self.bot: Bot = assemble(configuration, ports, self.events, lambda: self.now)

    def git_host(self, configuration: Configuration) -> tuple[GitHost, Callable[[], None]]:
        """The bare repository itself, which is always up to date."""
        return local_host(configuration, lambda: self.now), lambda: None

    def close(self) -> None:
        self._stack.close()
        self._stack = ExitStack()

    # ------------------------------------------------ the fleet

    def good(self) -> None:
        """Every kiosk and the first gateway run triage 1.1.0, and it is fair; everything runs digits 2.1.0."""
        for group in (*KIOSKS, "gateway-emea"):
            self.fleet.runs(group, "triage", {"1.1.0": 2})
            self.fleet.decided(group, "triage", "1.1.0", FAIR)
        self.fleet.save()

    def bad(self, version: str = "1.2.0", old: str = "1.1.0") -> None:
        """The kiosks have followed a release, and it is unfair."""
        for group in KIOSKS:
            self.fleet.runs(group, "triage", {version: 2})
            self.fleet.decided(group, "triage", version, UNFAIR)
            self.fleet.forget(group, "triage", old)
        self.fleet.save()

    def back(self, version: str = "1.1.0") -> None:
        """The kiosks run the good version again; what the bad one did is still in the window."""
        for group in KIOSKS:
            self.fleet.runs(group, "triage", {version: 2})
            self.fleet.decided(group, "triage", version, FAIR)
        self.fleet.save()

    # ------------------------------------------------ the bot

    def tick(self, count: int = 1, seconds: float = 5.0) -> None:
        for _ in range(count):
            self.now += seconds
            self.bot.loop.tick()

    def settle(self) -> None:
        """The fleet is seen to be back, and then for a whole window: only that is a recovery."""
        self.tick()
        self.tick(seconds=self.configuration.window.value)

    def health(self) -> str:
        return self.bot.decisions.status().note

    def incidents(self) -> tuple[Incident, ...]:
        with self.store.reading() as view:
            return view.incidents()

    def incident(self) -> Incident:
        (only,) = self.incidents()
        return only

    def proposals(self) -> tuple[Proposal, ...]:
        with self.store.reading() as view:
            return view.proposals()

    def proposal(self) -> Proposal:
        return self.proposals()[-1]

    def timeline(self) -> list[str]:
        with self.store.reading() as view:
            return [entry.text for entry in view.timeline(self.incident().id)]

    def view(self) -> ProposalView:
        found = self.bot.decisions.proposal(self.proposal().id)
        assert found is not None
        return found

    def world(self) -> World:
        """What the bot establishes before a decision, with a look of its own."""
        history = History(self.origin.repository, self.configuration.path)
        sight = Sight()
        fleet = history.fleet(self.origin.tip())
        targets = watch_targets(fleet.catalog)
        source = CountsSource(self.fleet.path, lambda: self.now)
        found = assess(targets, source, self.configuration.window, self.now, self.configuration.alarms)
        sight.put(Look(self.now, targets, {finding.subject: finding for finding in found}))
        return World(self.configuration, history, self.host, sight, lambda: self.now)

    def approve(self, name: str) -> DecisionResult:
        shown = self.view()
        return self.bot.decisions.approve(shown.id, name, shown.digest)

    def deny(self, name: str, reason: str = "a broken sensor, not the model") -> DecisionResult:
        shown = self.view()
        return self.bot.decisions.deny(shown.id, name, shown.digest, reason)

    def broken(self) -> Proposal:
        """The good state seen, then the bad release merged, found and proposed to be rolled back."""
        self.tick()
        self.origin.release()
        self.bad()
        self.tick()
        return self.proposal()
