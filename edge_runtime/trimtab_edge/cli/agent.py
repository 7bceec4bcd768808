"""``trimtab-edge agent``: keeps a device's models as the desired document says."""

from __future__ import annotations

import argparse
import logging
import os
import signal
import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING

from trimtab_edge.cli.arguments import count, port, seconds
from trimtab_kernel.commandline import Command, print_problems
from trimtab_kernel.problems import ExitCode, InputError, OutsideError, Problem, quoted

if TYPE_CHECKING:
    from trimtab_edge.lifecycle.agent import Agent, Round
    from trimtab_edge.lifecycle.readiness import NoProbe, ServerProbe
    from trimtab_edge.telemetry.exposition import MetricsListener
    from trimtab_edge.telemetry.updates import UpdateCounts

_log = logging.getLogger("trimtab.agent")


def _device_id(text: str) -> str:
    if not 1 <= len(text) <= 253 or not text.isprintable():
        raise argparse.ArgumentTypeError(f"expected 1 to 253 printable characters, got {text!r}")
    return text


def _configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--desired", type=Path, required=True, metavar="DIR", help="directory that holds desired.json, as it is mounted"
    )
    parser.add_argument(
        "--model-repository", type=Path, required=True, metavar="DIR", help="where models go; the server reads there"
    )
    parser.add_argument(
        "--device",
        type=_device_id,
        required=True,
        metavar="ID",
        help="this device's name; it decides which wave of a rollout it is in",
    )
    parser.add_argument(
        "--state", type=Path, required=True, metavar="DIR", help="the agent's journal; must survive a restart"
    )
    parser.add_argument(
        "--artifacts", metavar="DIR|URL", help="store that holds sha256/<hex>; tried before an artifact's own URI"
    )
    parser.add_argument(
        "--serve-url",
        metavar="URL",
        help="http://HOST:PORT or https://HOST:PORT of trimtab-edge serve; without it an activated version counts as good",
    )
    parser.add_argument(
        "--serve-ca", type=Path, metavar="FILE",
        help="with https: authorities of the server's certificate, in PEM (default: the machine's)",
    )  # fmt: skip
    parser.add_argument(
        "--serve-certificate", type=Path, metavar="FILE", help="with https: shown to a server that asks for it, in PEM"
    )
    parser.add_argument("--serve-key", type=Path, metavar="FILE", help="its private key in PEM, without a passphrase")
    parser.add_argument(
        "--probation",
        type=seconds,
        default=30.0,
        metavar="SECONDS",
        help="how long the server may take to answer with a new version (default: 30)",
    )
    parser.add_argument(
        "--interval",
        type=seconds,
        default=2.0,
        metavar="SECONDS",
        help="time between two looks at the desired document (default: 2)",
    )
    parser.add_argument("--once", action="store_true", help="look once, print how each model stands, and end")
    parser.add_argument(
        "--metrics-port",
        type=port,
        metavar="P",
        help="port of /metrics; 0 lets the system choose (default: 0, none with --once)",
    )
    parser.add_argument("--host", default="127.0.0.1", metavar="H", help="address of /metrics (default: 127.0.0.1)")
    parser.add_argument(
        "--battery",
        type=count(0, 100),
        metavar="PERCENT",
        help="battery level (default: what the system says; none on mains)",
    )
    parser.add_argument(
        "--network",
        choices=("WIFI", "UNMETERED", "ANY"),
        default="ANY",
        help="the link in use (default: ANY, which may be metered)",
    )
    parser.add_argument(
        "--memory-mb",
        type=count(0, 2**31 - 1),
        metavar="N",
        help="memory in 10^6 bytes (default: what the system says)",
    )
    parser.add_argument("--os-version", metavar="NAME", help="operating system with version, such as iOS17.2")
    parser.add_argument("--api-level", type=count(1, 10_000), metavar="N", help="Android API level")
    parser.add_argument(
        "--max-artifact-bytes", type=count(1, 2**40), default=2 * 1024**3, metavar="N",
        help="largest artifact that is fetched (default: 2147483648)",
    )  # fmt: skip


def _probe(arguments: argparse.Namespace) -> ServerProbe | NoProbe:
    """Raises ValueError where the URL is none, and :class:`InputError` (E103) where a file of TLS lacks what it needs."""
    from trimtab_edge.lifecycle.readiness import NoProbe, ServerProbe

    url, pair = arguments.serve_url, (arguments.serve_certificate, arguments.serve_key)
    given = {"--serve-ca": arguments.serve_ca, "--serve-certificate": pair[0], "--serve-key": pair[1]}
    for option, file in given.items():
        if file is not None and not (url or "").startswith("https:"):
            raise InputError(Problem("E103", "", 0, option, quoted(str(file)), "a --serve-url that begins with https:"))
    for option, other, file in (("--serve-certificate", pair[1], pair[0]), ("--serve-key", pair[0], pair[1])):
        if file is None and other is not None:
            raise InputError(Problem("E103", "", 0, option, "nothing", "a file, beside the other option"))
    if not url:
        return NoProbe()
    identity = None if pair[0] is None else pair
    return ServerProbe(url, arguments.probation, authorities=arguments.serve_ca, identity=identity)


def _run(arguments: argparse.Namespace) -> ExitCode:
    from trimtab_edge.lifecycle.agent import lock_state
    from trimtab_edge.telemetry.updates import UpdateCounts

    for option, directory in (("--model-repository", arguments.model_repository),):
        if not directory.is_dir():
            raise InputError(Problem("E102", "", 0, option, quoted(str(directory)), "a directory that exists"))
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    lock = lock_state(arguments.state)
    counts = UpdateCounts()
    listener = None
    try:
        agent = _agent(arguments, counts, stop)
        if arguments.metrics_port is not None or not arguments.once:
            listener = _listen(arguments, counts)
        agent.start()
        if arguments.once:
            return _report(agent.look())
        while not stop.is_set():
            agent.look()
            stop.wait(max(arguments.interval, 0.05))
        _log.info("ends; what is active stays")
        return ExitCode.DONE
    finally:
        if listener is not None:
            listener.close()
        os.close(lock)


def _agent(arguments: argparse.Namespace, counts: UpdateCounts, stop: threading.Event) -> Agent:
    from trimtab_edge.artifacts.download import Downloader, Limits
    from trimtab_edge.lifecycle.agent import Agent
    from trimtab_edge.lifecycle.conditions import Device
    from trimtab_edge.lifecycle.device import DeviceFacts
    from trimtab_edge.lifecycle.journal import Journal
    from trimtab_edge.lifecycle.machine import Policy
    from trimtab_edge.lifecycle.orders import MountedOrders
    from trimtab_edge.lifecycle.store import ModelStore

    try:
        journal = Journal(arguments.state)
    except OSError as error:
        directory = quoted(str(arguments.state))
        raise InputError(Problem("E102", "", 0, "--state", directory, "a directory to write in", str(error))) from None
    try:
        probe = _probe(arguments)
    except ValueError as error:
        raise InputError(Problem("E102", "", 0, "--serve-url", "", str(error).removeprefix("expected "))) from None
    device = Device(
        arguments.device,
        arguments.battery,
        arguments.network,
        arguments.memory_mb,
        arguments.os_version,
        arguments.api_level,
    )
    return Agent(
        orders=MountedOrders(arguments.desired),
        store=ModelStore(arguments.model_repository),
        journal=journal,
        artifacts=Downloader(arguments.artifacts, Limits(largest=arguments.max_artifact_bytes)),
        probe=probe,
        device=DeviceFacts(device),
        counts=counts,
        policy=Policy(),
        now=time.time,
        stopping=stop.is_set,
    )


def _listen(arguments: argparse.Namespace, counts: UpdateCounts) -> MetricsListener:
    from trimtab_edge.telemetry.exposition import MetricsListener, UpdateCollector, registry_of

    try:
        listener = MetricsListener(registry_of(UpdateCollector(counts)), arguments.host, arguments.metrics_port or 0)
    except OSError as error:
        reason = error.strerror or str(error)
        raise OutsideError(f"cannot listen on {arguments.host} port {arguments.metrics_port}: {reason}") from None
    host = f"[{arguments.host}]" if ":" in arguments.host else arguments.host
    sys.stdout.write(f"listening http://{host}:{listener.port}\n")
    sys.stdout.flush()
    return listener


def _report(result: Round) -> ExitCode:
    """One line per model on stdout; the exit code says whether everything is as desired."""
    from trimtab_edge.lifecycle.agent import Progress

    for standing in result.standings:
        sys.stdout.write(f"{standing}\n")
    if not result.document:
        print_problems(result.problems)
        if not result.problems:
            raise OutsideError(result.reason)
        return ExitCode.PROBLEMS
    reached = {standing.progress for standing in result.standings}
    if Progress.REFUSED in reached:
        return ExitCode.REFUSED
    if reached & {Progress.HINDERED, Progress.WAITING}:
        return ExitCode.OUTSIDE
    return ExitCode.DONE


COMMAND = Command(
    name="agent",
    summary="Obey a desired document: fetch, verify, activate, and go back to the last known good version.",
    examples=(
        "trimtab-edge agent --desired /etc/trimtab/desired --model-repository models --state state --device camera-17",
        "trimtab-edge agent --desired current/desired --model-repository models --state state --device kiosk-3 --once",
    ),
    configure=_configure,
    run=_run,
)
