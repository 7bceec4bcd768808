"""``trimtab-edge serve``: the model server."""

from __future__ import annotations

import importlib.metadata
import os
from pathlib import Path
from typing import TYPE_CHECKING

from trimtab_edge.cli.arguments import count, port, seconds
from trimtab_kernel.commandline import Command
from trimtab_kernel.problems import ExitCode

if TYPE_CHECKING:
    import argparse


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
    parser.add_argument(
        "--drain",
        type=seconds,
        default=10.0,
        metavar="SECONDS",
        help="time for requests in flight after SIGTERM (default: 10)",
    )


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
        model_control=not arguments.no_model_control,
        grpc_port=arguments.grpc_port,
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
        "curl -s localhost:8080/v2/models/triage/infer -d @request.json",
    ),
    configure=_configure,
    run=_run,
)
