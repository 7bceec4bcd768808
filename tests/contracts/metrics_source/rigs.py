"""Real parts under a test's control: exporters, the file of their addresses, a Prometheus with our rules."""

from __future__ import annotations

import contextlib
import json
import queue
import shutil
import subprocess
import sys
import threading
import time
import urllib.parse
import urllib.request
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from trimtab_config.rules.recording import rules_file
from trimtab_kernel.problems import OutsideError
from trimtab_kernel.rules import Query, Window

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from trimtab_bot.metrics.interface import MetricsSource
    from trimtab_kernel.rules import Reading, Rule

EXPORTER = Path(__file__).with_name("exporter.py")
PATIENCE = 30.0  # seconds that a busy machine may take for what takes one


def escaped(value: str) -> str:
    """A label value as the text format writes it."""
    return value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")


def line(metric: str, value: float | str, at: str = "", /, **labels: str) -> str:
    """One line of an exposition; ``at`` as the exporter takes it."""
    shown = ",".join(f'{name}="{escaped(text)}"' for name, text in labels.items())
    return f"{metric}{{{shown}}} {value} {at}".rstrip()


@contextlib.contextmanager
def stopping(process: subprocess.Popen[str]) -> Iterator[subprocess.Popen[str]]:
    """End a process that we started, by its own handle."""
    try:
        yield process
    finally:
        process.kill()
        process.wait(PATIENCE)
        for stream in (process.stdout, process.stderr):
            if stream is not None:
                stream.close()


@dataclass
class Exporter:
    """An exporter process."""

    address: str
    process: subprocess.Popen[str]

    def show(self, lines: Sequence[str]) -> None:
        """From now on this is on its page."""
        body = ("\n".join(lines) + "\n").encode()
        request = urllib.request.Request(f"http://{self.address}/metrics", data=body, method="PUT")
        with urllib.request.urlopen(request, timeout=10):  # noqa: S310 - loopback
            pass

    def await_scrape(self) -> None:
        """Wait until somebody has read what is on the page now."""
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline:
            with urllib.request.urlopen(f"http://{self.address}/scrapes", timeout=10) as answer:
                if int(answer.read()):
                    return
            time.sleep(0.05)
        raise AssertionError(f"nobody scraped {self.address} in {PATIENCE:g} s")

    def kill(self) -> None:
        """The device falls silent."""
        self.process.kill()
        self.process.wait(PATIENCE)


@contextlib.contextmanager
def exporter() -> Iterator[Exporter]:
    """A running exporter with an empty page."""
    process = subprocess.Popen([sys.executable, str(EXPORTER)], stdout=subprocess.PIPE, text=True)
    with stopping(process):
        assert process.stdout is not None
        yield Exporter(process.stdout.readline().strip(), process)


def write_targets(file: Path, groups: Mapping[str, Sequence[str]]) -> None:
    """The file_sd JSON: device group to addresses. Swapped by rename, as a careful writer does."""
    entries = [
        {"targets": [address], "labels": {"device_group": group, "device": f"{group}-{index}"}}
        for group, addresses in groups.items()
        for index, address in enumerate(addresses)
    ]
    scratch = file.with_suffix(".new")
    scratch.write_text(json.dumps(entries), "utf-8")
    scratch.replace(file)


@contextlib.contextmanager
def prometheus(
    directory: Path,
    targets: Path | None,
    windows: Sequence[Window] = (Window.MINUTE,),
    more: Mapping[str, Any] | None = None,
) -> Iterator[str]:
    """A Prometheus of this test's own that scrapes and records every second; yields its URL."""
    if shutil.which("prometheus") is None:
        pytest.skip("needs prometheus (Debian: tools/debian-packages prometheus)")
    directory.mkdir()
    configuration: dict[str, Any] = {"global": {"scrape_interval": "1s", "evaluation_interval": "1s"}, **(more or {})}
    if windows:
        (directory / "rules.yml").write_text(rules_file(windows, interval=1), "utf-8")
        configuration["rule_files"] = ["rules.yml"]
    if targets is not None:
        scrape = {"job_name": "devices", "file_sd_configs": [{"files": [str(targets)]}]}
        configuration["scrape_configs"] = [scrape]
    (directory / "prometheus.yml").write_text(json.dumps(configuration), "utf-8")  # JSON is YAML
    command = [
        "prometheus",
        f"--config.file={directory / 'prometheus.yml'}",
        f"--storage.tsdb.path={directory / 'data'}",
        "--web.listen-address=127.0.0.1:0",
        "--log.format=json",
    ]
    with stopping(subprocess.Popen(command, stderr=subprocess.PIPE, text=True)) as process:
        yield f"http://{_listening(process)}"


def _listening(process: subprocess.Popen[str]) -> str:
    """The address, once Prometheus says that it is ready; its log is read to the end so that it never blocks on it."""
    said: queue.Queue[dict[str, Any]] = queue.Queue()

    def drain() -> None:
        assert process.stderr is not None
        with contextlib.suppress(ValueError):  # closed under us at the end
            for text in process.stderr:
                said.put(json.loads(text))

    threading.Thread(target=drain, daemon=True).start()
    address, ready = "", False
    while not (address and ready):
        entry = said.get(timeout=PATIENCE)
        if entry.get("msg") == "Listening on":
            address = entry["address"]
        if entry.get("level") == "error":
            raise AssertionError(entry)
        ready = ready or "ready to receive web requests" in entry.get("msg", "")
    return address


def eventually(
    source: MetricsSource, rule: Rule, accept: Callable[[Reading], object], match: tuple[tuple[str, str], ...] = ()
) -> Reading:
    """The first reading that is acceptable. Sources that are still starting may have none."""
    deadline = time.monotonic() + PATIENCE
    last: object = None
    while time.monotonic() < deadline:
        try:
            reading = source.read(Query(rule, Window.MINUTE, match))
        except OutsideError as error:
            last = error
        else:
            if accept(reading):
                return reading
            last = reading
        time.sleep(0.1)
    raise AssertionError(f"{source.name} never gave what was waited for; last: {last}")


def query(url: str, expression: str, at: float) -> list[dict[str, Any]]:
    """What Prometheus itself answers, without any of our code."""
    parameters = urllib.parse.urlencode({"query": expression, "time": f"{at:.3f}"})
    with urllib.request.urlopen(f"{url}/api/v1/query?{parameters}", timeout=10) as response:  # noqa: S310 - loopback
        result: list[dict[str, Any]] = json.load(response)["data"]["result"]
    return result
