"""``trimtab status-reporter``: arguments, signals, and what is said where."""

from __future__ import annotations

import argparse
import logging
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

from trimtab_kernel.commandline import Command
from trimtab_kernel.problems import ExitCode, OutsideError
from trimtab_plugins.listening import listening_address
from trimtab_plugins.stopping import interval_seconds, stopped_by_signals

if TYPE_CHECKING:
    import threading

    from trimtab_plugins.reporting.metrics import ReporterMetrics
    from trimtab_plugins.reporting.reporter import Reporter

log = logging.getLogger("trimtab.reporting")
_MISSED_LOOKS = 5
"""Without one in so many intervals it is not ready."""


def configure(parser: argparse.ArgumentParser) -> None:
    """Arguments."""
    parser.add_argument("--kubeconfig", type=Path, metavar="FILE", help="default: as a pod, or as kubectl finds it")
    parser.add_argument("--namespace", metavar="NAME", help="report in this namespace only (default: all)")
    parser.add_argument(
        "--interval",
        type=interval_seconds,
        default=30.0,
        metavar="SECONDS",
        help="time between two looks (default: 30)",
    )
    parser.add_argument(
        "--observe",
        type=listening_address,
        default=("127.0.0.1", 8080),
        metavar="HOST:PORT",
        help="where /healthz, /readyz and /metrics are; port 0 lets the system choose (default: 127.0.0.1:8080)",
    )
    parser.add_argument("--once", action="store_true", help="look once, say what was seen, and end")


def run(arguments: argparse.Namespace) -> ExitCode:
    """Report until a signal comes."""
    from trimtab_plugins.reporting.asking import AgentAsker
    from trimtab_plugins.reporting.cluster import ReportingCluster
    from trimtab_plugins.reporting.metrics import ReporterMetrics
    from trimtab_plugins.reporting.reporter import Reporter

    logging.basicConfig(stream=sys.stderr, level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    # What cannot be reached is told once, by us.
    logging.getLogger("urllib3").setLevel(logging.ERROR)
    asker = AgentAsker()
    try:
        reporter = Reporter(ReportingCluster.connect(arguments.kubeconfig), asker, arguments.namespace)
        if not arguments.once:
            return _follow(reporter, ReporterMetrics(), arguments)
        look = reporter.look()
        print(  # noqa: T201 - the product
            f"deployments={look.deployments} devices={look.devices} reporting={look.reporting} "
            f"written={look.written} failed={look.failed}"
        )
        return ExitCode.OUTSIDE if look.failed else ExitCode.DONE
    finally:
        asker.close()


def _follow(reporter: Reporter, metrics: ReporterMetrics, arguments: argparse.Namespace) -> ExitCode:
    from trimtab_plugins.flux.server import HttpServer, observation_application

    interval: float = arguments.interval
    last = [0.0]
    host, port = arguments.observe

    def unready() -> str:
        if not last[0]:
            return "no look was had yet"
        age = time.monotonic() - last[0]
        return f"no look was had for {age:.0f} s" if age > _MISSED_LOOKS * interval + 60 else ""

    server = HttpServer(observation_application(lambda: "", unready, metrics.text), host, port, "observation")
    with stopped_by_signals() as stop:
        server.start()
        try:
            print(f"observation {server.host_and_port}", flush=True)  # noqa: T201 - the product: where it listens
            _looks(reporter, metrics, interval, stop, last)
        finally:
            server.stop()
    return ExitCode.DONE


def _looks(
    reporter: Reporter, metrics: ReporterMetrics, interval: float, stop: threading.Event, last: list[float]
) -> None:
    told = ""
    while not stop.is_set():
        try:
            look = reporter.look()
        except OutsideError as error:
            metrics.failed()
            if str(error) != told:
                log.warning("%s; looking again in %g s", error, interval)
            told = str(error)
        else:
            metrics.done(look)
            last[0] = time.monotonic()
            if told or look.written:
                log.info(
                    "%d deployments, %d of %d devices answer, %d statuses written",
                    look.deployments,
                    look.reporting,
                    look.devices,
                    look.written,
                )
            told = ""
        stop.wait(interval)


COMMAND = Command(
    name="status-reporter",
    summary="Write what devices report into the status of their EdgeAIDeployments.",
    details=(
        "Asks the agent of every pod of a device group what it runs, and writes counts, versions and conditions (Ready, and "
        "while they hold Reconciling and Stalled) into the status of the group's EdgeAIDeployments, where kubectl, Argo CD and "
        "Flux look. Reads deployments and pods, writes that status and nothing else; a status that stays is not written again."
    ),
    examples=(
        "trimtab status-reporter",
        "trimtab status-reporter --once --kubeconfig ~/.kube/config",
        "trimtab status-reporter --namespace vision --interval 10 --observe 0.0.0.0:8080",
    ),
    configure=configure,
    run=run,
)
