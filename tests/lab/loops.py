"""The closed loop with real parts: devices that obey what the cluster holds, a Prometheus, `trimtab bot run`, Slack's and GitHub's rigs.

Nobody pretends to be Argo CD or Flux: the devices' pages show the version that the desired document in the cluster names.
"""

from __future__ import annotations

import json
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.bot.github_site import ADA, BO, MARA, ROBOT, linked_people
from tests.bot.rig import BO as BO_WRITES
from tests.bot.rig import MARA as MARA_WRITES
from tests.bot.rig import Origin, settings
from tests.contracts.metrics_source.rigs import Exporter, exporter, line, prometheus, write_targets
from tests.lab.cluster import Cluster
from tests.lab.processes import LabProcess, Processes, wait_for
from tests.rigs.git_http import git_over_http
from tests.rigs.github import GitHubRig, github
from tests.rigs.slack import SlackRig, slack
from trimtab_kernel import vocabulary as v
from trimtab_kernel.rules import Window

TRIMTAB = Path(sys.executable).with_name("trimtab")
GOOD, BAD = "1.1.0", "1.2.0"
SECONDS = 150.0
"""For anything that is waited for: a machine may be slow without being wrong."""
FAIR = {"sex-1": (240, 260), "sex-2": (250, 250)}
UNFAIR = {"sex-1": (100, 400), "sex-2": (250, 250)}


def model_of(group: str) -> str:
    """Each group runs a model of its own, so that each has an incident of its own."""
    return f"triage-{group.removeprefix('kiosk-')}"


class Kiosk:
    """A device: it runs what the desired document says, and decides a thousand times a second, well or badly by its version."""

    def __init__(self, page: Exporter, group: str) -> None:
        self.page, self.model = page, model_of(group)
        self.runs = ""
        self.counts = {
            (version, cohort, outcome): 0
            for version in (GOOD, BAD)
            for cohort in FAIR
            for outcome in (v.OUTCOME_POSITIVE, v.OUTCOME_NEGATIVE)
        }

    def live(self, version: str) -> None:
        """One more second."""
        if version in (GOOD, BAD):
            self.runs = version
        if not self.runs:
            return
        for cohort, decisions in (UNFAIR if self.runs == BAD else FAIR).items():
            for outcome, more in zip((v.OUTCOME_POSITIVE, v.OUTCOME_NEGATIVE), decisions, strict=True):
                self.counts[self.runs, cohort, outcome] += more
        lines, requests = [], {GOOD: 0, BAD: 0}
        for (decided, cohort, outcome), count in self.counts.items():
            labels = {"model": self.model, "version": decided, "cohort": cohort, "outcome": outcome}
            lines.append(line(v.DECISIONS.name, count, **labels))
            requests[decided] += count
        for served, count in requests.items():
            labels = {"model": self.model, "version": served}
            lines.append(line(v.INFERENCE_REQUESTS.name, count, **labels))
            lines.append(line(v.INFERENCE_CPU.name, count * 0.0002, **labels))
            lines.append(line(v.INFERENCE_CPU_SQUARED.name, count * 0.0002**2 * 1.0001, **labels))
        for metric in (v.MODEL_READY, v.AGENT_ACTIVE, v.AGENT_DESIRED):
            lines.append(line(metric.name, 1, model=self.model, version=self.runs))
        self.page.show(lines)


class LoopFleet(Origin):
    """A repository with one kiosk model for each of these groups, whose objects go to a namespace of their own."""

    def __init__(self, path: Path, groups: Sequence[str], namespace: str) -> None:
        super().__init__(path)
        self.groups, self.namespace = tuple(groups), namespace
        kept = {
            name: content.replace(b"namespace: clinics", f"namespace: {namespace}".encode())
            for name, content in self.files.items()
            if name.startswith(("policies/", "prices/", "groups/"))
        }
        model = self.files["models/triage.yaml"].decode()
        kiosks = self.files["deployments/triage.yaml"].decode().partition("\n---\n")[0]
        for group in groups:
            name, region = model_of(group), group.removeprefix("kiosk-").upper()
            kept[f"models/{name}.yaml"] = model.replace("name: triage\n", f"name: {name}\n", 1).encode()
            deployment = kiosks.replace("name: triage\n", f"name: {name}\n").replace("triage-kiosks", f"{name}-kiosks")
            deployment = deployment.replace("namespace: clinics", f"namespace: {namespace}")
            kept[f"deployments/{name}.yaml"] = deployment.replace(
                "deviceType: kiosk", f"deviceType: kiosk\n      region: {region}"
            ).encode()
        self.files = kept
        self.merge(MARA_WRITES, "A model for each region")

    def move(self, groups: Sequence[str], old: str, new: str, who: str = BO_WRITES) -> str:
        """One merge that moves the models of these groups to another version."""
        self.sync()
        return self.move_more(groups, old, new, who)

    def move_more(self, groups: Sequence[str], old: str, new: str, who: str) -> str:
        """As :meth:`move`, in one merge with what was edited already."""
        for group in groups:
            self.edit(f"deployments/{model_of(group)}.yaml", f'version: "{old}"', f'version: "{new}"')
        return self.merge(who, f"{new} for {', '.join(groups)}")

    def hold_files(self, group: str) -> list[str]:
        """The files on the branch that hold the bad version of a group's model."""
        self.sync()
        return [
            name
            for name, content in self.files.items()
            if b"kind: Hold" in content and model_of(group).encode() in content and BAD.encode() in content
        ]


@dataclass
class Loop:
    """Everything together. ``told`` is called with each new head of the branch, as a webhook of the Git host is."""

    folder: Path
    cluster: Cluster
    fleet: LoopFleet
    processes: Processes
    stack: ExitStack
    told: Callable[[str], None]
    github: GitHubRig = field(init=False)
    slack: SlackRig = field(init=False)
    git: str = field(init=False)
    kiosks: dict[str, Kiosk] = field(default_factory=dict)
    prometheus: str = ""
    bot: LabProcess | None = None
    failures: list[str] = field(default_factory=list)
    _stop: threading.Event = field(default_factory=threading.Event)

    def start(self) -> None:
        """Rigs, devices, Prometheus."""
        self.git = self.stack.enter_context(git_over_http(self.folder)) + "/fleet.git"
        self.github = self.stack.enter_context(github(self.fleet.path, ROBOT, MARA, BO, ADA))
        self.slack = self.stack.enter_context(slack())
        self.slack.person("U0ADA")
        targets = self.folder / "targets.json"
        for group in self.fleet.groups:
            self.kiosks[group] = Kiosk(self.stack.enter_context(exporter()), group)
        write_targets(targets, {group: [kiosk.page.address] for group, kiosk in self.kiosks.items()})
        server = prometheus(self.folder / "prometheus", targets, [Window.SECONDS_15])
        self.prometheus = self.stack.enter_context(server)
        self.stack.enter_context(self._living())

    @contextmanager
    def _living(self) -> Iterator[None]:
        thread = threading.Thread(target=self._live, name="fleet")
        thread.start()
        try:
            yield
        finally:
            self._stop.set()
            thread.join(60)
            assert not thread.is_alive(), "the fleet did not end"

    def _live(self) -> None:
        """Devices read the cluster once a second, and the branch's new heads are told."""
        head = ""
        while not self._stop.wait(1):
            try:
                tip = self.fleet.tip()
                if tip != head:
                    head = tip
                    self.told(tip)
                for group, kiosk in self.kiosks.items():
                    kiosk.live(self.desired(group))
            except Exception as error:
                self.failures.append(repr(error)[:500])

    def desired(self, group: str) -> str:
        """The version that the desired document in the cluster names, "" where there is none yet."""
        from kubernetes.client import ApiException, CoreV1Api

        try:
            found = CoreV1Api(self.cluster.api()).read_namespaced_config_map(f"{group}-desired", self.fleet.namespace)
        except ApiException as error:
            if error.status != 404:
                raise
            return ""
        models = json.loads((found.data or {})["desired.json"])["models"]
        return str(models[0]["target"]["version"]) if models else ""

    # ------------------------------------------------ the bot

    def run_bot(self, delivery: dict[str, Any]) -> None:
        """`trimtab bot run` over all of it; returns once it looks."""
        for name, content in (
            ("token", ROBOT.token),
            ("slack.bot", self.slack.bot_token),
            ("slack.app", self.slack.app_token),
        ):
            (self.folder / name).touch(0o600)
            (self.folder / name).write_text(content)
        people = [{**each, "slack": ["U0ADA"]} if each["id"] == "ada" else each for each in linked_people()]
        configuration = settings(
            self.folder,
            repository="mirror.git",
            metrics={"prometheus": {"url": self.prometheus}},
            window="15s",
            tick="1s",
            people=people,
            github={
                "repository": "acme/fleet",
                "tokenFile": "token",
                "apiUrl": self.github.base_url,
                "cloneUrl": self.git,
                "poll": "1s",
            },
            slack={
                "team": "T0HOME",
                "channel": "C0FLEET",
                "botTokenFile": "slack.bot",
                "appTokenFile": "slack.app",
                "apiUrl": f"{self.slack.url}/api/",
            },
            delivery=delivery,
        )
        (self.folder / "bot.yaml").write_text(json.dumps(configuration))
        files = ("--config", self.folder / "bot.yaml", "--events", self.folder / "events.jsonl")
        self.bot = self.processes.start(f"trimtab-bot-{self.fleet.namespace}", [TRIMTAB, "bot", "run", *files])
        self.slack.await_listener()

    def stop_bot(self) -> None:
        """A clean end."""
        assert self.bot is not None
        assert self.bot.stop() == 0

    def events(self, name: str, model: str = "") -> list[dict[str, Any]]:
        """What the bot told of this name so far, about one model or about all."""
        file = self.folder / "events.jsonl"
        lines = file.read_text().splitlines(keepends=True) if file.exists() else []
        found = [json.loads(text) for text in lines if text.endswith("\n")]
        return [each for each in found if each["event"] == name and model in ("", each.get("model"))]

    def await_events(self, name: str, groups: Sequence[str], what: str) -> None:
        """Until the bot has told this of every group's model."""
        wait_for(
            lambda: all(self.events(name, model_of(group)) for group in groups),
            what,
            SECONDS,
            step=0.5,
            told=lambda: f"{self.failures[-3:]}\n{'' if self.bot is None else self.bot.tail(25)}",
        )

    # ------------------------------------------------ what people see and do

    def message(self, group: str) -> dict[str, Any]:
        """The living message of the incident about a group's model."""
        shown = [each for each in list(self.slack.messages.values()) if model_of(group) in json.dumps(each["blocks"])]
        assert len(shown) <= 1, "one message for an incident"
        return shown[0] if shown else {"blocks": []}

    def asked(self, group: str) -> tuple[str, str]:
        """Proposal and digest behind the message's buttons, ("", "") where it has none now."""
        for block in self.message(group)["blocks"]:
            for element in block.get("elements", ()):
                if element.get("action_id") == "trimtab_approve":
                    proposal, _, digest = str(element["value"]).partition(" ")
                    return proposal, digest
        return "", ""

    def number(self, group: str) -> int:
        """The open pull request about a group's model, 0 where there is none."""
        found = [
            pull.number
            for pull in list(self.github.pulls.values())
            if pull.state == "open" and model_of(group) in pull.title
        ]
        return found[-1] if found else 0

    def approve_by(self, way: str, group: str) -> None:
        """One person approves what is shown now; again where the ground moved before it was merged."""
        model, tried = model_of(group), set()
        deadline = time.monotonic() + SECONDS
        while not self.events("merged", model):
            assert time.monotonic() < deadline, (
                f"{way} for {group}: not merged\n{self.failures[-3:]}\n{self.bot.tail(40) if self.bot else ''}"
            )
            proposal, digest = self.asked(group)
            number = self.number(group)
            if proposal and number and (proposal, digest) not in tried:
                tried.add((proposal, digest))
                self._approve(way, group, proposal, digest.removeprefix("sha256:")[:12], number)
            time.sleep(0.2)

    def _approve(self, way: str, group: str, proposal: str, digest: str, number: int) -> None:
        match way:
            case "button":
                self.slack.press("U0ADA", "trimtab_approve", self.message(group))
            case "slash command":
                self.slack.type("U0ADA", f"approve {proposal} {digest}")
            case "comment":
                self.github.say(number, ADA, f"/trimtab approve {proposal} {digest}")
            case _:
                self.github.review(number, ADA, "APPROVED")

    def await_closed(self, groups: Sequence[str]) -> None:
        """Until every incident is closed, and its message says so."""
        self.await_events("closed", groups, "every incident is closed")
        wait_for(
            lambda: all(
                "closed: the fleet has recovered" in json.dumps(self.message(each)["blocks"]) for each in groups
            ),
            "every message is closed",
            SECONDS,
            step=0.5,
        )
