"""``trimtab flux-controller``: arguments, signals, and what is said where."""

from __future__ import annotations

import argparse
import logging
import os
import socket
import sys
import uuid
from pathlib import Path

from trimtab_kernel.commandline import Command
from trimtab_kernel.problems import ExitCode
from trimtab_plugins.listening import listening_address
from trimtab_plugins.stopping import stopped_by_signals

_WILDCARDS = {"", "0.0.0.0", "::"}  # noqa: S104 - what is recognised, not what is bound


def _seconds(low: float, high: float) -> object:
    def parse(text: str) -> float:
        try:
            value = float(text)
        except ValueError:
            value = -1.0
        if not low <= value <= high:
            raise argparse.ArgumentTypeError(f'expected seconds from {low:g} to {high:g}, got "{text}"')
        return value

    return parse


def _mebibytes(text: str) -> int:
    if not text.isascii() or not text.isdigit() or not 1 <= int(text) <= 1024:
        raise argparse.ArgumentTypeError(f'expected MiB from 1 to 1024, got "{text}"')
    return int(text) * 1024 * 1024


def configure(parser: argparse.ArgumentParser) -> None:
    """Arguments."""
    parser.add_argument(
        "--storage", type=Path, metavar="DIR", help="where archives lie; a volume that outlives the pod (required)"
    )
    parser.add_argument(
        "--listen",
        type=listening_address,
        default=("0.0.0.0", 9090),  # noqa: S104 - in a pod others must reach it
        metavar="HOST:PORT",
        help="where archives are served (default: 0.0.0.0:9090)",
    )
    parser.add_argument(
        "--advertise",
        metavar="HOST[:PORT]",
        help="how consumers reach --listen, such as the Service's name; needed where that is a wildcard",
    )
    parser.add_argument(
        "--observe",
        type=listening_address,
        default=("0.0.0.0", 8080),  # noqa: S104 - in a pod others must reach it
        metavar="HOST:PORT",
        help="where /healthz, /readyz and /metrics are (default: 0.0.0.0:8080)",
    )
    parser.add_argument("--kubeconfig", type=Path, metavar="FILE", help="default: as a pod, or as kubectl finds it")
    parser.add_argument("--namespace", metavar="NAME", help="watch this namespace only (default: all)")
    parser.add_argument(
        "--lease-namespace",
        metavar="NAME",
        default=os.environ.get("RUNTIME_NAMESPACE", "flux-system"),
        help="where the Lease is by which replicas agree who writes (default: $RUNTIME_NAMESPACE, else flux-system)",
    )
    parser.add_argument(
        "--lease-name", metavar="NAME", default="trimtab-flux-controller", help="default: trimtab-flux-controller"
    )
    parser.add_argument("--no-lease", action="store_true", help="write without a Lease: for one replica only")
    parser.add_argument(
        "--lease-seconds",
        type=int,
        choices=range(3, 301),
        default=15,
        metavar="SECONDS",
        help="after how long another replica follows one that died (default: 15)",
    )
    parser.add_argument(
        "--max-source",
        type=_mebibytes,
        default=64 * 1024 * 1024,
        metavar="MIB",
        help="largest archive of a source, in MiB (default: 64)",
    )
    parser.add_argument(
        "--print-crd", action="store_true", help="print the definition of the kind FleetArtifact, and do no more"
    )
    parser.add_argument(
        "--drain",
        type=_seconds(0, 300),  # type: ignore[arg-type] # a parser, as argparse wants
        default=5.0,
        metavar="SECONDS",
        help="how long archives are still served after a signal to end (default: 5)",
    )


def run(arguments: argparse.Namespace) -> ExitCode:
    """Run until a signal comes."""
    from trimtab_kernel.election import Terms
    from trimtab_plugins.flux.cluster import Cluster
    from trimtab_plugins.flux.controller import Controller, Settings
    from trimtab_plugins.flux.definition import definition_text
    from trimtab_plugins.flux.fetching import FetchLimits

    if arguments.print_crd:
        print(definition_text(), end="")  # noqa: T201 - the product
        return ExitCode.DONE
    if arguments.storage is None:
        return _usage("--storage DIR is missing; name a folder for the archives")
    if arguments.listen[0] in _WILDCARDS and not arguments.advertise:
        return _usage(
            f"--listen {arguments.listen[0]} is no address that consumers can fetch from; say with --advertise how they "
            "reach it, such as trimtab-flux.flux-system.svc.cluster.local."
        )
    logging.basicConfig(stream=sys.stderr, level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    # Malformed requests are the clients' business; uvicorn would log a line for each.
    logging.getLogger("uvicorn.error").setLevel(logging.CRITICAL)
    # What cannot be reached is told once, by us.
    logging.getLogger("urllib3").setLevel(logging.ERROR)
    duration: int = arguments.lease_seconds
    settings = Settings(
        storage=arguments.storage,
        listen=arguments.listen,
        observe=arguments.observe,
        advertise=arguments.advertise,
        namespace=arguments.namespace,
        lease_namespace=None if arguments.no_lease else arguments.lease_namespace,
        lease_name=arguments.lease_name,
        terms=Terms(
            identity=f"{socket.gethostname()}_{uuid.uuid4()}",
            duration=duration,
            renew_within=duration * 2 / 3,
            pause=max(0.25, duration / 8),
        ),
        limits=FetchLimits(size=arguments.max_source),
        drain_seconds=arguments.drain,
    )
    with stopped_by_signals() as stop:
        controller = Controller(Cluster.connect(arguments.kubeconfig), settings, stop)
        archives, observation = controller.addresses
        print(f"listening archives={archives} observation={observation}", flush=True)  # noqa: T201 - the product
        controller.run()
    return ExitCode.DONE


def _usage(text: str) -> ExitCode:
    print(f"trimtab flux-controller: {text}; see 'trimtab flux-controller --help'", file=sys.stderr)  # noqa: T201 - stderr is for people
    return ExitCode.USAGE


COMMAND = Command(
    name="flux-controller",
    summary="Turn a Flux source that holds a fleet into one ExternalArtifact per device group.",
    details=(
        "Watches FleetArtifacts, compiles the tree of the GitRepository, OCIRepository or Bucket that each names, and "
        "publishes an archive for every group. A group's revision follows from the content of its files: a commit that "
        "leaves a group alone reconciles nothing. A tree that does not compile leaves everything as it is."
    ),
    examples=(
        "trimtab flux-controller --storage /data --advertise trimtab-flux.flux-system.svc.cluster.local.",
        "trimtab flux-controller --storage archives --listen 127.0.0.1:0 --observe 127.0.0.1:0 --kubeconfig ~/.kube/config",
        "trimtab flux-controller --print-crd | kubectl apply --server-side -f -",
        "trimtab flux-controller --storage /data --advertise fleet-artifacts.team-a --namespace team-a --no-lease",
    ),
    configure=configure,
    run=run,
)
