"""The bot as people run it: `trimtab bot run` in a process of its own, real metrics, the inbox over HTTP, a clean end."""

from __future__ import annotations

import json
import queue
import signal
import subprocess
import sys
import threading
import time
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.bot.rig import TOKENS, Origin, settings
from tests.contracts.metrics_source.rigs import Exporter, exporter, line, prometheus, write_targets
from trimtab_kernel import vocabulary as v
from trimtab_kernel.rules import Window

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from trimtab_kernel.canonical import Json

TRIMTAB = Path(sys.executable).with_name("trimtab")
PATIENCE = 60.0
GROUPS = ("kiosk-emea", "kiosk-amer")


class Device:
    """One device of a group: what its page shows of triage. Counters only grow, as real ones do."""

    def __init__(self, page: Exporter) -> None:
        self.page = page
        self.runs = "1.1.0"
        self.counts: dict[tuple[str, str, str], int] = {}
        for version in ("1.1.0", "1.2.0"):
            self.decide(version, {"sex-1": (0, 0), "sex-2": (0, 0)})

    def decide(self, version: str, cohorts: dict[str, tuple[int, int]]) -> None:
        """So many more decisions, positive and negative, by cohort."""
        for cohort, decisions in cohorts.items():
            for outcome, more in zip((v.OUTCOME_POSITIVE, v.OUTCOME_NEGATIVE), decisions, strict=True):
                key = (version, cohort, outcome)
                self.counts[key] = self.counts.get(key, 0) + more
        self.show()

    def show(self) -> None:
        """Put it on the page."""
        lines = []
        requests: dict[str, int] = {}
        for (version, cohort, outcome), count in sorted(self.counts.items()):
            labels = {"model": "triage", "version": version, "cohort": cohort, "outcome": outcome}
            lines.append(line(v.DECISIONS.name, count, **labels))
            requests[version] = requests.get(version, 0) + count
        for version, count in requests.items():
            labels = {"model": "triage", "version": version}
            lines.append(line(v.INFERENCE_REQUESTS.name, count, **labels))
            lines.append(line(v.INFERENCE_CPU.name, count * 0.0002, **labels))
            lines.append(line(v.INFERENCE_CPU_SQUARED.name, count * 0.0002**2 * 1.0001, **labels))
        for metric in (v.MODEL_READY, v.AGENT_ACTIVE, v.AGENT_DESIRED):
            lines.append(line(metric.name, 1, model="triage", version=self.runs))
        self.page.show(lines)


class RunningBot:
    """`trimtab bot run`, its address and its events as they happen."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process
        self._lines: queue.Queue[str] = queue.Queue()
        self.seen: list[str] = []
        assert process.stdout is not None
        threading.Thread(target=self._drain, daemon=True).start()
        self.url = process.stdout.readline().removeprefix("inbox ").strip()

    def _drain(self) -> None:
        assert self.process.stderr is not None
        for text in self.process.stderr:
            self._lines.put(text)

    def event(self, name: str, patience: float = PATIENCE) -> str:
        """The next event of this name."""
        deadline = time.monotonic() + patience
        while True:
            try:
                text = self._lines.get(timeout=max(0.1, deadline - time.monotonic()))
            except queue.Empty:
                raise AssertionError(f"no event {name}; seen:\n{''.join(self.seen)}") from None
            self.seen.append(text)
            if text.split()[1] == name:
                return text


@contextmanager
def deciding(devices: Iterable[Device]) -> Iterator[None]:
    """Fair decisions of 1.1.0 go on, a thousand a second on each device: a recovery is judged on what comes after it."""
    end = threading.Event()

    def decide() -> None:
        while not end.wait(1):
            for device in devices:
                device.decide("1.1.0", {"sex-1": (240, 260), "sex-2": (250, 250)})

    thread = threading.Thread(target=decide)
    thread.start()
    try:
        yield
    finally:
        end.set()
        thread.join()


@contextmanager
def running(folder: Path) -> Iterator[RunningBot]:
    command = [TRIMTAB, "bot", "run", "--config", folder / "bot.yaml", "--events", folder / "events.jsonl"]
    process = subprocess.Popen(list(map(str, command)), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        yield RunningBot(process)
    finally:
        if process.poll() is None:
            process.kill()
        process.wait(PATIENCE)
        for stream in (process.stdout, process.stderr):
            if stream is not None:
                stream.close()


def trimtab(*words: object, code: int = 0) -> str:
    done = subprocess.run(
        [str(TRIMTAB), *map(str, words)], capture_output=True, text=True, timeout=PATIENCE, check=False
    )
    assert done.returncode == code, done.stdout + done.stderr
    return done.stdout + done.stderr


@pytest.mark.timeout(240)
@pytest.mark.parametrize("kind", ["scrape", pytest.param("prometheus", marks=pytest.mark.long)])
def test_from_a_bad_merge_to_recovery_as_people_run_it(tmp_path: Path, kind: str) -> None:
    origin = Origin(tmp_path / "fleet.git")
    for name in ("bo", "ada"):
        token = tmp_path / name
        token.touch(mode=0o600)
        token.write_text(TOKENS[name] + "\n")
    with ExitStack() as stack:
        devices = {group: Device(stack.enter_context(exporter())) for group in GROUPS}
        targets = tmp_path / "targets.json"
        write_targets(targets, {group: [device.page.address] for group, device in devices.items()})
        metrics: dict[str, Json] = {"scrape": {"targets": str(targets), "interval": "1s"}}
        if kind == "prometheus":
            server = prometheus(tmp_path / "prometheus", targets, [Window.SECONDS_15])
            metrics = {"prometheus": {"url": stack.enter_context(server)}}
        content = settings(tmp_path, metrics=metrics, window="15s", tick="1s")
        (tmp_path / "bot.yaml").write_text(json.dumps(content))
        bot = stack.enter_context(running(tmp_path))

        # What a counter shows at its first scrape did not happen within the window, so all begin at 0.
        bot.event("finding")
        for device in devices.values():
            device.page.await_scrape()
        for device in devices.values():
            device.decide("1.1.0", {"sex-1": (480, 520), "sex-2": (500, 500)})
        # The two pages are scraped at moments of their own, so one group may be verified a look before the other.
        unverified = set(GROUPS)
        while unverified:
            seen = bot.event("verified")
            unverified = {group for group in unverified if group not in seen}

        origin.release()
        for device in devices.values():
            device.runs = "1.2.0"
            device.decide("1.2.0", {"sex-1": (200, 800), "sex-2": (500, 500)})
        bot.event("incident")
        bot.event("proposal")
        (proposal,) = json.loads(
            trimtab("inbox", "list", "--url", bot.url, "--token-file", tmp_path / "bo", "--output", "json")
        )["proposals"]
        assert proposal["verified"]

        def approve(name: str, code: int) -> str:
            words = ("inbox", "approve", proposal["id"], "--url", bot.url, "--token-file", tmp_path / name)
            return trimtab(*words, code=code)

        assert "B405" in approve("bo", 2)
        approve("ada", 0)
        bot.event("merged")
        assert len(origin.merges_of_the_bot()) == 1
        assert "B408" in approve("ada", 2)

        for device in devices.values():
            device.runs = "1.1.0"
        with deciding(devices.values()):
            bot.event("closed")

        refused = trimtab("bot", "run", "--config", tmp_path / "bot.yaml", "--once-ticks", 1, code=1)
        assert "B107" in refused
        bot.process.send_signal(signal.SIGTERM)
        assert bot.process.wait(PATIENCE) == 0

    assert "closed" in trimtab("bot", "status", "--config", tmp_path / "bot.yaml")
    assert "is the one that the bot noted" in trimtab("ledger", "verify", "--config", tmp_path / "bot.yaml")
    shown = trimtab("ledger", "show", "--config", tmp_path / "bot.yaml", "--subject", proposal["id"])
    assert all(text in shown for text in ("Roll back triage 1.2.0", "B405", "approval recorded, 1 of 1", "merged as"))
    events = [json.loads(text)["event"] for text in (tmp_path / "events.jsonl").read_text().splitlines()]
    ends = ("merged", "converged", "recovered", "closed")
    assert tuple(name for name in events if name in ends) == ends
