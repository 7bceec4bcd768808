"""The demo's story, step by step. Every step is observed before the next one begins; what is not observed ends the demo."""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import json
import os
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from examples.demo import fleet, prometheus
from examples.demo.faults import FAULTS
from examples.demo.narration import Narration
from examples.demo.processes import DemoError, Supervisor
from examples.demo.repository import ADA, BO, BOT, MARA, Author, People
from examples.demo.traffic import Stream, Traffic

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from examples.demo.faults import Fault

ROOT = Path(__file__).resolve().parents[2]
FLEET = ROOT / "examples" / "fleet"
ARTIFACTS = ROOT / "examples" / "artifacts"
BINARIES = Path(sys.executable).parent
TRIMTAB = BINARIES / "trimtab"
EDGE = BINARIES / "trimtab-edge"
RATES = {"triage": 9.0, "digits": 8.0}  # requests per second and device; kiosks are allowed 600 of triage a minute


def parser() -> argparse.ArgumentParser:
    """The demo's options."""
    made = argparse.ArgumentParser(
        prog="make demo",
        description="Runs the whole loop on loopback: render, serve, watch, propose, approve, roll back, recover.",
        epilog="examples:\n  make demo\n  make demo DEMO_ARGS=--once\n  make demo DEMO_ARGS='--once --fault cost'",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    made.add_argument(
        "--once", action="store_true", help="approve as a second configured person instead of waiting for a click"
    )
    made.add_argument(
        "--fault", choices=sorted(FAULTS), default="fairness", help="what is wrong with the release (default: fairness)"
    )
    made.add_argument(
        "--source",
        choices=["auto", "prometheus", "scrape"],
        default="auto",
        help="where metrics are read: a real Prometheus, or the built-in scrape source (default: Prometheus where it can be had)",
    )
    made.add_argument("--require-prometheus", action="store_true", help="fail unless the source is a real Prometheus")
    made.add_argument("--keep", action="store_true", help="keep the working folder with all logs")
    made.add_argument(
        "--inbox-port", type=int, default=0, metavar="PORT", help="port of the inbox page (default: a free one)"
    )
    return made


def main(argv: Sequence[str] | None = None) -> int:
    """Run the demo; 0 only if every step was observed."""
    options = parser().parse_args(argv)
    narration = Narration()
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _interrupt)
    work = Path(tempfile.mkdtemp(prefix="trimtab-demo-"))
    work.chmod(0o700)
    (work / "logs").mkdir()
    code, keep = 1, options.keep
    try:
        with Supervisor(work / "logs") as supervisor:
            Demo(options, narration, supervisor, work).run()
            code = 0
    except DemoError as error:
        narration.failed(str(error))
        keep = True
    except subprocess.CalledProcessError as error:
        narration.failed(f"{' '.join(map(str, error.cmd))} failed:\n{error.stderr or error.stdout or ''}")
        keep = True
    except KeyboardInterrupt:
        narration.say("interrupted; everything that was started has been ended")
        code = 130
    if keep:
        narration.say(f"logs and state are kept in {work}")
    else:
        shutil.rmtree(work, ignore_errors=True)
    return code


def _interrupt(*_: object) -> None:
    raise KeyboardInterrupt


class Demo:
    """One run."""

    def __init__(self, options: argparse.Namespace, narration: Narration, supervisor: Supervisor, work: Path) -> None:
        """Starts nothing yet."""
        self._options = options
        self._tell = narration
        self._supervisor = supervisor
        self._work = work
        self._fault: Fault = FAULTS[options.fault]
        self._events = work / "events.jsonl"
        self._synced = work / "synced"
        self._targets = work / "targets.json"

    def run(self) -> None:
        """All steps. Raises :class:`DemoError` at the first that is not observed."""
        tell, supervisor, fault = self._tell, self._supervisor, self._fault
        source = self._choose_source()

        tell.step("The fleet in Git: what runs where, and what it will cost")
        self._trimtab("validate", FLEET, shown=("validate", "examples/fleet"))
        self._costs()

        tell.step("A bare Git repository, and sync: the stand-in for Argo CD and Flux where there is no cluster")
        people = People(self._work, FLEET)
        supervisor.start(
            "sync", [TRIMTAB, "sync", "--repo", people.bare, "--output", self._synced, "--interval", "0.5"]
        )
        groups = {group for _, group, _ in fleet.DEVICES}
        supervisor.wait_for(
            "every group rendered",
            60,
            lambda: all((self._synced / g / "current/desired/desired.json").exists() for g in groups),
        )
        tell.seen(f"commit {people.head()[:12]} rendered into one folder per device group")

        tell.step("Six devices: each an agent that obeys its desired document, and a model server")
        devices = fleet.start(supervisor, EDGE, self._work, self._synced, ARTIFACTS)
        fleet.write_targets(self._targets, devices)
        affected = [device for device in devices if fault.model in device.models]
        self._await_versions(devices, 90)
        tell.table(
            ["device", "group", *RATES],
            [[d.id, d.group, *(fleet.runs(d, model) or "-" for model in RATES)] for d in devices],
        )
        tell.seen("every device serves models whose digest it checked")

        tell.step("Traffic made from real rows, and a metrics source")
        url = self._start_source(source)
        traffic = Traffic(
            [
                Stream(device.id, device.serve_url, model, RATES[model], seed)
                for seed, (device, model) in enumerate((device, model) for device in devices for model in device.models)
            ]
        )
        traffic.start()
        try:
            self._story(people, affected, traffic, source, url)
        finally:
            traffic.stop()

    def _story(self, people: People, affected: list[fleet.Device], traffic: Traffic, source: str, url: str) -> None:
        tell, supervisor, fault = self._tell, self._supervisor, self._fault
        supervisor.wait_for("200 answers", 60, lambda: traffic.tally.total >= 200)
        tell.seen(f"{traffic.tally.total} requests answered")

        tell.step("The bot watches")
        inbox = self._start_bot(people, source, url)
        tell.say(f"inbox: {inbox}")
        self._event(
            "verified",
            120,
            f"{fault.model} {fault.good} verified as running well",
            lambda e: e.get("model") == fault.model and e.get("version") == fault.good,
        )

        tell.step(f"{BO.name} merges a bad release")
        tell.say(fault.story)
        merge = people.release(fault.file, fault.deployment, fault.good, fault.bad, fault.subject)
        merged_at = tell.seconds
        tell.seen(f"merged as {merge[:12]}: {fault.subject}")
        changed = [device for device in affected if device.group.startswith("kiosk")]
        supervisor.wait_for(
            f"{fault.bad} on the kiosks", 60, lambda: all(fleet.runs(d, fault.model) == fault.bad for d in changed)
        )
        tell.seen(f"{len(changed)} devices run {fault.model} {fault.bad}")

        tell.step("Detection and proposal")
        finding = self._event("incident", 180, "a breach of policy found", lambda e: e.get("model") == fault.model)
        for line in str(finding.get("summary", "")).splitlines():
            tell.say(line)
        detected = tell.seconds
        proposal = self._event("proposal", 60, "a rollback proposed", lambda e: e.get("model") == fault.model)
        number = str(proposal["proposal"])

        tell.step("Decision: nobody approves the rollback of their own change, and the bot approves nothing")
        if self._options.once:
            self._decide(inbox, number)
        else:
            tell.say(f"open {inbox} and log in as {ADA.name}; her token is in {self._work / 'tokens' / ADA.id}")
            tell.say("waiting for a click on Approve (Ctrl-C ends everything)")
        patience = 60.0 if self._options.once else 24 * 3600.0
        self._event("approved", patience, "approved", lambda e: e.get("proposal") == proposal["proposal"])
        self._event("merged", 60, "the rollback is merged", lambda e: e.get("proposal") == proposal["proposal"])
        for line in people.log(4):
            tell.say(line)

        tell.step("The fleet returns to the good version, and the figure recovers")
        supervisor.wait_for(
            f"{fault.good} on all devices", 90, lambda: all(fleet.runs(d, fault.model) == fault.good for d in changed)
        )
        tell.seen(f"{len(changed)} devices serve {fault.model} {fault.good} again")
        tell.say(
            "recovery is judged on a whole window (1 min) after the fleet is back, so that nothing counted before is in it"
        )
        self._event("recovered", 240, "the figure is within its limit again", lambda e: e.get("model") == fault.model)
        self._event("closed", 60, "the incident is closed", lambda e: e.get("model") == fault.model)
        recovered = tell.seconds
        self._trimtab("ledger", "verify", "--config", self._work / "bot.yaml", shown=("ledger", "verify"))
        tell.seen("the ledger of evidence, decisions and effects is whole")

        tell.step("Summary")
        traffic.stop()
        if traffic.tally.failures:
            raise DemoError(f"{len(traffic.tally.failures)} requests failed, the first: {traffic.tally.failures[0]}")
        supervisor.check()
        by_version: dict[tuple[str, str], int] = {}
        for (_, model, version), count in traffic.tally.answers.items():
            by_version[(model, version)] = by_version.get((model, version), 0) + count
        tell.table(
            ["requests answered by", "count"], [[f"{m} {v}", str(n)] for (m, v), n in sorted(by_version.items())]
        )
        tell.say(f"{traffic.tally.total} requests in all, 0 failed, through two changes of version")
        tell.say(
            f"bad merge to detection {detected - merged_at:.1f} s, to recovery {recovered - merged_at:.1f} s; "
            f"metrics from {'a real Prometheus' if source == 'prometheus' else 'the built-in scrape source'}"
        )
        tell.say(f"every step was observed, in {tell.seconds:.0f} s")
        if not self._options.once and sys.stdin.isatty():
            tell.say(f"the inbox stays at {inbox} for a look around; Ctrl-C ends everything")
            with contextlib.suppress(KeyboardInterrupt):
                signal.pause()

    # ------------------------------------------------------------ parts of the story

    def _choose_source(self) -> str:
        wanted = self._options.source
        binary = prometheus.find(self._tell.say) if wanted != "scrape" else None
        self._binary = binary
        if binary:
            return "prometheus"
        if wanted == "prometheus" or self._options.require_prometheus:
            raise DemoError(
                "a real Prometheus was asked for and cannot be had; install it (Debian: apt-get install prometheus)"
            )
        self._tell.say("metrics: no Prometheus here, so the bot's built-in scrape source reads the devices itself")
        return "scrape"

    def _start_source(self, source: str) -> str:
        if source == "scrape" or self._binary is None:
            self._tell.say("the bot will scrape the devices itself")
            return ""
        rules = self._work / "rules.yml"
        rules.write_text(
            self._trimtab("rules", "--window", "1m", "--interval", "1s", shown=("rules", "--window", "1m"))
        )
        url = prometheus.start(self._supervisor, self._binary, self._work, rules, self._targets)
        self._tell.seen(f"Prometheus {self._binary.version} scrapes the devices at {url}")
        return url

    def _trimtab(self, *words: str | Path, shown: Sequence[str] = (), token: Path | None = None) -> str:
        self._tell.command(["trimtab", *(shown or [str(word) for word in words])])
        done = subprocess.run(
            [str(TRIMTAB), *map(str, words)],
            capture_output=True,
            text=True,
            check=True,
            timeout=120,
            env={**os.environ, **({"TRIMTAB_TOKEN_FILE": str(token)} if token else {})},
        )
        return done.stdout

    def _costs(self) -> None:
        report = json.loads(self._trimtab("cost", FLEET, "--output", "json", shown=("cost", "examples/fleet")))
        groups: dict[str, list[dict[str, Any]]] = {}
        for row in report["rows"]:
            groups.setdefault(row["group"], []).append(row)
        rows = []
        for group in self._trimtab(
            "render", FLEET, "--list-groups", shown=("render", "examples/fleet", "--list-groups")
        ).split():
            own = groups.get(group, [])
            runs = ", ".join(f"{row['model']} {row['version']}" for row in own) or "nothing yet"
            total, low, high = (sum(float(row[key]) for row in own) for key in ("total", "low", "high"))
            cells = [f"{total:,.2f}", f"{low:,.2f} to {high:,.2f}"]
            if any(row["absent"] for row in own):  # a part that is not known is not counted as zero
                cells = [f"≥ {total:,.2f}", "not known"]
            rows.append([group, runs, *(cells if own else ["-", "-"])])
        currency = report["rows"][0]["currency"]
        self._tell.table(["device group", "runs", f"{currency} a month", "interval"], rows)
        if len(rows) < 12:
            raise DemoError(f"{len(rows)} device groups rendered, expected at least 12")
        self._tell.seen(f"{len(rows)} device groups, each with its cost")

    def _await_versions(self, devices: list[fleet.Device], seconds: float) -> None:
        self._supervisor.wait_for(
            "a served version of every model on every device",
            seconds,
            lambda: all(fleet.runs(device, model) for device in devices for model in device.models),
        )

    def _start_bot(self, people: People, source: str, url: str) -> str:
        tokens = self._work / "tokens"
        tokens.mkdir(mode=0o700)
        config = {
            "repository": str(people.bare),
            "branch": "main",
            "path": ".",
            "state": str(self._work / "bot"),
            "window": "1m",
            "tick": "1s",
            "metrics": {"prometheus": {"url": url}}
            if source == "prometheus"
            else {"scrape": {"targets": str(self._targets), "interval": "1s"}},
            "inbox": {"host": "127.0.0.1", "port": self._options.inbox_port},
            "approval": {"quorum": 1, "expiry": "24h"},
            "identity": {"name": BOT.name, "email": BOT.email},
            "people": [self._person(author, tokens) for author in (MARA, BO, ADA)],
        }
        path = self._work / "bot.yaml"
        path.write_text(json.dumps(config, indent=1))  # JSON is YAML
        self._tell.command(["trimtab", "bot", "run", "--config", "bot.yaml"])
        bot = self._supervisor.start("bot", [TRIMTAB, "bot", "run", "--config", path, "--events", self._events])
        return self._supervisor.line(bot, "inbox ")

    def _person(self, author: Author, tokens: Path) -> dict[str, Any]:
        token = secrets.token_urlsafe(32)
        file = tokens / author.id
        file.touch(mode=0o600)
        file.write_text(token + "\n")
        return {
            "id": author.id,
            "name": author.name,
            "git": [author.identity],
            "tokenSha256": hashlib.sha256(token.encode()).hexdigest(),
            "roles": ["approver"],
        }

    def _event(self, name: str, seconds: float, what: str, wanted: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
        """Wait for an event of the bot and say that it was seen."""
        found: list[dict[str, Any]] = []

        def look() -> bool:
            if not self._events.exists():
                return False
            for line in self._events.read_text().splitlines(keepends=True):
                if line.endswith("\n"):
                    event = json.loads(line)
                    if event["event"] == name and wanted(event):
                        found.append(event)
                        return True
            return False

        self._supervisor.wait_for(f"{what} (event '{name}' of the bot)", seconds, look)
        self._tell.seen(what)
        return found[0]

    def _decide(self, inbox: str, proposal: str) -> None:
        self._tell.say(f"{BO.name}, who wrote the bad change, tries first:")
        refused = self._try_approve(inbox, BO, proposal)
        if refused.returncode != 2:
            raise DemoError(
                f"the author's approval should be refused with exit code 2, got {refused.returncode}: {refused.stderr}"
            )
        self._tell.say(refused.stderr.strip())
        self._tell.seen(f"{BO.name} was refused")
        self._tell.say(f"{ADA.name}, a second configured person:")
        taken = self._try_approve(inbox, ADA, proposal)
        if taken.returncode != 0:
            raise DemoError(f"{ADA.name}'s approval was not taken: {taken.stderr}")

    def _try_approve(self, inbox: str, person: Author, proposal: str) -> subprocess.CompletedProcess[str]:
        self._tell.command(["trimtab", "inbox", "approve", proposal, "--token-file", f"tokens/{person.id}"])
        return subprocess.run(
            [
                str(TRIMTAB),
                "inbox",
                "approve",
                proposal,
                "--url",
                inbox,
                "--token-file",
                str(self._work / "tokens" / person.id),
            ],
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )
