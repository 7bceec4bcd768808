"""``trimtab-edge serve``: the model server."""

from __future__ import annotations

import importlib.metadata
import os
from pathlib import Path
from typing import TYPE_CHECKING

from trimtab_edge.cli.arguments import count, epsilon, port, seconds, watts
from trimtab_kernel.commandline import Command
from trimtab_kernel.problems import ExitCode, InputError, Problem

if TYPE_CHECKING:
    import argparse

    from trimtab_edge.serving.certificates import TlsFiles
    from trimtab_edge.telemetry.resources import ResourceOptions


def _configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--model-repository", type=Path, required=True, metavar="DIR",
        help="DIR/<model>/<version>/model.onnx, and DIR/<model>/active.json that says which version answers",
    )  # fmt: skip
    parser.add_argument(
        "--http-port",
        type=port,
        default=8080,
        metavar="P",
        help="port of the V2 protocol; 0 lets the system choose (default: 8080)",
    )
    parser.add_argument(
        "--grpc-port",
        type=port,
        metavar="P",
        help="port of the V2 protocol over gRPC; needs the extra edge-grpc (default: none)",
    )
    parser.add_argument("--host", default="127.0.0.1", metavar="H", help="address to listen on (default: 127.0.0.1)")
    parser.add_argument(
        "--metrics-port", type=port, metavar="P", help="a port of its own for /metrics (default: on the V2 port)"
    )
    parser.add_argument(
        "--threads", type=count(1, 1024), default=min(2, os.cpu_count() or 1), metavar="N",
        help="requests that run at a time beside short ones (default: %(default)s here)",
    )  # fmt: skip
    parser.add_argument(
        "--queue",
        type=count(0, 100_000),
        default=64,
        metavar="N",
        help="requests that may wait; more get 503 (default: 64)",
    )
    parser.add_argument(
        "--max-body-bytes", type=count(1, 2**31), default=32 * 1024 * 1024, metavar="N",
        help="largest request body; a larger one gets 413 (default: 33554432)",
    )  # fmt: skip
    parser.add_argument(
        "--no-model-control", action="store_true",
        help="refuse to load and unload models by request (without it, those that no active.json orders)",
    )  # fmt: skip
    _configure_tls(parser)
    _configure_resources(parser)
    _configure_privacy(parser)
    _configure_limits(parser)
    parser.add_argument(
        "--drain",
        type=seconds,
        default=10.0,
        metavar="SECONDS",
        help="time for requests in flight after SIGTERM (default: 10)",
    )


def _configure_tls(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--tls-certificate", type=Path, metavar="FILE",
        help="certificate chain in PEM: every port speaks TLS 1.2 or later; read anew when it changes",
    )  # fmt: skip
    parser.add_argument("--tls-key", type=Path, metavar="FILE", help="its private key in PEM, without a passphrase")
    parser.add_argument(
        "--tls-client-ca", type=Path, metavar="FILE",
        help="let in only clients with a certificate of one of these authorities, in PEM (mutual TLS)",
    )  # fmt: skip


def _configure_limits(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--threads-per-request", type=count(1, 1024), metavar="N",
        help="threads that work on one request (default: what a short calibration of each model finds)",
    )  # fmt: skip
    parser.add_argument(
        "--timeout", type=seconds, default=60.0, metavar="SECONDS",
        help="time for a request that names none; a later answer is 504; 0: no limit (default: 60)",
    )  # fmt: skip
    parser.add_argument(
        "--memory-limit", type=count(1, 2**60), metavar="BYTES",
        help="refuse to load or let in what would go beyond it (default: the cgroup's limit, else the machine's memory)",
    )  # fmt: skip
    parser.add_argument(
        "--client-rate", type=count(1, 1_000_000), metavar="N",
        help="requests a second for each client; more get 429 (default: no limit)",
    )  # fmt: skip
    parser.add_argument(
        "--client-header", default="", metavar="NAME",
        help="with --client-rate: the header that tells clients apart, such as an API key that a proxy has checked "
        "(default: their address does)",
    )  # fmt: skip
    parser.add_argument(
        "--client-burst", type=count(1, 1_000_000), default=100, metavar="N",
        help="with --client-rate: requests that a client may make at once (default: 100)",
    )  # fmt: skip
    parser.add_argument(
        "--state", type=Path, metavar="DIR",
        help="keeps what was used of daily budgets (default: .serve in the model repository)",
    )  # fmt: skip


def _configure_resources(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--cpu-watts", type=watts, metavar="W",
        help="power that one busy CPU adds, for joules where the box has no meter (default: none are given then)",
    )  # fmt: skip
    parser.add_argument(
        "--idle-watts", type=watts, default=0.0, metavar="W",
        help="power of the idle box, which inferences are not charged with (default: 0, so they carry their share)",
    )  # fmt: skip
    parser.add_argument(
        "--power-channel", default="", metavar="CHIP/LABEL",
        help="the sensor's channel that measures the whole board, where it is not clear which one does",
    )  # fmt: skip
    parser.add_argument(
        "--battery-watt-hours", type=watts, metavar="WH", help="capacity of the battery, for the share that inferences take"
    )  # fmt: skip
    parser.add_argument("--device-type", default="", metavar="TYPE", help="label device_type of trimtab_device_info")
    parser.add_argument("--region", default="", metavar="REGION", help="label region of trimtab_device_info")
    parser.add_argument(
        "--sys", type=Path, default=Path("/sys"), metavar="DIR", help="where meters are read (default: /sys)"
    )
    parser.add_argument(
        "--proc", type=Path, default=Path("/proc"), metavar="DIR", help="where CPU time is read (default: /proc)"
    )


def _configure_privacy(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--privacy-epsilon", type=epsilon, metavar="E",
        help="add discrete Laplace noise to counts about people before they leave; one row's share (default: no noise)",
    )  # fmt: skip
    parser.add_argument(
        "--privacy-period", type=seconds, default=3600.0, metavar="SECONDS",
        help="with noise, counts move once in so long (default: 3600)",
    )  # fmt: skip


def _resources(arguments: argparse.Namespace) -> ResourceOptions:
    from trimtab_edge.telemetry.energy.modelled import CpuModel
    from trimtab_edge.telemetry.resources import ResourceOptions

    return ResourceOptions(
        sys=arguments.sys,
        proc=arguments.proc,
        pid=os.getpid(),
        cpu_model=CpuModel(arguments.cpu_watts, arguments.idle_watts) if arguments.cpu_watts else None,
        idle_watts=arguments.idle_watts,
        power_channel=arguments.power_channel,
        battery_watt_hours=arguments.battery_watt_hours or None,
        info={"device_type": arguments.device_type, "region": arguments.region},
    )


def _tls(arguments: argparse.Namespace) -> TlsFiles | None:
    """Raises :class:`InputError` (E103) where one of the options lacks another."""
    from trimtab_edge.serving.certificates import CERTIFICATE, KEY, TlsFiles

    given = (arguments.tls_certificate, arguments.tls_key, arguments.tls_client_ca)
    if given == (None, None, None):
        return None
    for option, value in ((CERTIFICATE, given[0]), (KEY, given[1])):
        if value is None:
            raise InputError(Problem("E103", "", 0, option, "nothing", "a file, beside the other options of TLS"))
    return TlsFiles(*given)


def _run(arguments: argparse.Namespace) -> ExitCode:
    from trimtab_edge.serving.server import ServeOptions, announce_on_stdout, run

    options = ServeOptions(
        directory=arguments.model_repository,
        host=arguments.host,
        port=arguments.http_port,
        metrics_port=arguments.metrics_port,
        threads=arguments.threads,
        queue=arguments.queue,
        max_body=arguments.max_body_bytes,
        drain=arguments.drain,
        version=importlib.metadata.version("trimtab"),
        resources=_resources(arguments),
        threads_per_request=arguments.threads_per_request,
        timeout=arguments.timeout or None,
        memory_limit=arguments.memory_limit,
        client_rate=arguments.client_rate,
        client_burst=arguments.client_burst,
        client_header=arguments.client_header.lower(),
        state=arguments.state,
        epsilon=arguments.privacy_epsilon,
        period=max(1.0, arguments.privacy_period),
        model_control=not arguments.no_model_control,
        grpc_port=arguments.grpc_port,
        tls=_tls(arguments),
    )
    run(options, announce_on_stdout)
    return ExitCode.DONE


COMMAND = Command(
    name="serve",
    summary="Answer V2 (Open Inference Protocol) requests for the models of a repository; follow its changes.",
    examples=(
        "trimtab-edge serve --model-repository models --http-port 8080",
        "trimtab-edge serve --model-repository models --http-port 0 --metrics-port 0",
        "trimtab-edge serve --model-repository models --http-port 8080 --grpc-port 8081",
        "trimtab-edge serve --model-repository models --tls-certificate tls.crt --tls-key tls.key --tls-client-ca ca.crt",
        "curl -s localhost:8080/v2/models/triage/infer -d @request.json",
    ),
    configure=_configure,
    run=_run,
)
