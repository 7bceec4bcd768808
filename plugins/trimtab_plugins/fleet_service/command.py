"""``trimtab fleet-service``: arguments, signals, and what is said where."""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

from trimtab_kernel.commandline import Command
from trimtab_kernel.problems import ExitCode, OutsideError, RefusedError, printable
from trimtab_plugins.stopping import interval_seconds, stopped_by_signals

if TYPE_CHECKING:
    import threading

    from trimtab_plugins.fleet_service.following import Following, Source, Standing
    from trimtab_plugins.fleet_service.metrics import ServiceMetrics
    from trimtab_plugins.fleet_service.tokens import TokenFile

_PROBLEMS_TOLD = 20


def _count(low: int, high: int) -> object:
    def parse(text: str) -> int:
        if not text.isascii() or not text.isdigit() or len(text) > 9 or not low <= int(text) <= high:
            raise argparse.ArgumentTypeError(f'expected a whole number from {low} to {high}, got "{text}"')
        return int(text)

    return parse


def _label(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not equals or not name:
        raise argparse.ArgumentTypeError(f'expected NAME=VALUE, got "{text}"')
    return name, value


def configure(parser: argparse.ArgumentParser) -> None:
    """Arguments."""
    source = parser.add_mutually_exclusive_group()
    source.add_argument("--repo", type=Path, metavar="DIR", help="follow this Git repository: bare, or a clone")
    source.add_argument("--folder", type=Path, metavar="DIR", help="follow this folder, or the link that another swaps")
    parser.add_argument("--branch", default="main", help="which branch of --repo to follow (default: main)")
    parser.add_argument(
        "--path", default="", metavar="SUBFOLDER", help="where the fleet lies in the repository (default: its root)"
    )
    parser.add_argument(
        "--interval",
        type=interval_seconds,
        default=10.0,
        metavar="SECONDS",
        help="time between two looks (default: 10)",
    )
    parser.add_argument("--price-book", metavar="NAME", help="use this price book instead of the newest one")
    parser.add_argument("--token-file", type=Path, metavar="FILE", help="holds the bearer token; read again on change")
    parser.add_argument("--host", default="127.0.0.1", metavar="ADDRESS", help="listen here (default: 127.0.0.1)")
    parser.add_argument(
        "--port",
        type=_count(0, 65535),  # type: ignore[arg-type] # a parser, as argparse wants
        default=8090,
        metavar="PORT",
        help="listen here; 0 lets the system choose, and the line on stdout says which (default: 8090)",
    )
    parser.add_argument("--tls-cert", type=Path, metavar="FILE", help="certificate chain in PEM; needs --tls-key")
    parser.add_argument("--tls-key", type=Path, metavar="FILE", help="its key in PEM, without a password")
    parser.add_argument("--tls-client-ca", type=Path, metavar="FILE", help="ask clients for a certificate of this CA")
    printed = parser.add_argument_group("the ApplicationSet")
    printed.add_argument(
        "--print-applicationset", action="store_true", help="print the ApplicationSet for Argo CD, and do no more"
    )
    printed.add_argument("--repo-url", metavar="URL", help="the repository as Argo CD reaches it (required)")
    printed.add_argument("--revision", default="HEAD", metavar="REV", help="what Argo CD follows (default: HEAD)")
    printed.add_argument("--name", default="trimtab-fleet", help="its name (default: trimtab-fleet)")
    printed.add_argument("--namespace", default="argocd", help="Argo CD's namespace (default: argocd)")
    printed.add_argument("--project", default="default", help="the AppProject (default: default)")
    printed.add_argument(
        "--destination-server", default="", metavar="URL", help="one cluster for all groups (default: each its own)"
    )
    printed.add_argument(
        "--config-map",
        default="trimtab-fleet-service",
        metavar="NAME",
        help="the ConfigMap that tells Argo CD this service's address (default: trimtab-fleet-service)",
    )
    printed.add_argument(
        "--requeue",
        type=_count(10, 86_400),  # type: ignore[arg-type] # a parser, as argparse wants
        default=180,
        metavar="SECONDS",
        help="how often Argo CD asks (default: 180)",
    )
    printed.add_argument("--cluster", default="", metavar="NAME", help="only groups of this cluster")
    printed.add_argument(
        "--label", type=_label, action="append", default=[], metavar="NAME=VALUE", help="only groups with this label"
    )
    printed.add_argument("--no-automated", action="store_true", help="let people start every sync")
    printed.add_argument("--no-prune", action="store_true", help="keep objects that left the fleet")
    printed.add_argument("--no-self-heal", action="store_true", help="leave objects that were edited by hand")
    printed.add_argument(
        "--sync-option", action="append", default=[], metavar="OPTION", help="add such as ServerSideApply=true"
    )
    printed.add_argument(
        "--retry-limit",
        type=_count(0, 1000),  # type: ignore[arg-type] # a parser, as argparse wants
        default=5,
        metavar="N",
        help="how often a failed sync is tried again (default: 5)",
    )
    parser.set_defaults(usage_error=parser.error)


def run(arguments: argparse.Namespace) -> ExitCode:
    """Print the ApplicationSet, or serve until a signal comes."""
    if arguments.print_applicationset:
        return _print_applicationset(arguments)
    _check_usage(arguments)
    from trimtab_config.compilation import FleetCompiler, RenderOptions
    from trimtab_plugins.fleet_service.app import FleetApplication
    from trimtab_plugins.fleet_service.following import Following
    from trimtab_plugins.fleet_service.metrics import ServiceMetrics
    from trimtab_plugins.fleet_service.server import FleetServer, encryption
    from trimtab_plugins.fleet_service.tokens import TokenFile

    token = TokenFile(arguments.token_file)
    tls = None
    if arguments.tls_cert is not None:
        tls = encryption(arguments.tls_cert, arguments.tls_key, arguments.tls_client_ca)
    compiler = FleetCompiler(RenderOptions(price_book=arguments.price_book))
    following = Following(_source(arguments), compiler, time.time)
    metrics = ServiceMetrics()
    application = FleetApplication(lambda: following.standing, token.admits, metrics, _say).application()
    with stopped_by_signals() as stop, FleetServer(application, arguments.host, arguments.port, tls) as server:
        print(f"serving {server.url}", flush=True)  # noqa: T201 - the product: where it listens
        _follow(following, token, metrics, stop, arguments.interval)
    return ExitCode.DONE


def _check_usage(arguments: argparse.Namespace) -> None:
    if arguments.repo is None and arguments.folder is None:
        arguments.usage_error("expected --repo or --folder")
    if arguments.token_file is None:
        arguments.usage_error("expected --token-file")
    if (arguments.tls_cert is None) != (arguments.tls_key is None):
        arguments.usage_error("--tls-cert and --tls-key go together")
    if arguments.tls_client_ca is not None and arguments.tls_cert is None:
        arguments.usage_error("--tls-client-ca needs --tls-cert")


def _source(arguments: argparse.Namespace) -> Source:
    from trimtab_plugins.fleet_service.following import BranchSource, FolderSource

    if arguments.repo is not None:
        from trimtab_config.git.repository import GitRepository

        return BranchSource(GitRepository(arguments.repo), arguments.branch, arguments.path)
    from trimtab_config.sources.folder import load_folder

    folder: Path = arguments.folder
    return FolderSource(folder, arguments.path, load_folder)


def _follow(
    following: Following, token: TokenFile, metrics: ServiceMetrics, stop: threading.Event, interval: float
) -> None:
    """Look until told to stop. What happens is told once, until something else happens."""
    last = ""
    while True:
        before = following.standing
        after = following.step()
        metrics.looks.labels(_found(before, after)).inc()
        try:
            token.refresh()
            complaint = ""
        except (OutsideError, RefusedError) as error:
            complaint = f"the token stays as it was: {error}"
        told = "\n".join(line for line in (_standing_text(after), complaint) if line)
        if told != last:
            _say(told)
            last = told
        if stop.wait(interval):
            return


def _found(before: Standing, after: Standing) -> str:
    if after.trouble is not None:
        return "unreachable" if after.trouble.reason else "broken"
    return "same" if before.inventory is after.inventory else "new"


def _standing_text(standing: Standing) -> str:
    held = "no fleet yet"
    if standing.inventory is not None:
        held = f"{standing.inventory.revision[:19]} with {len(standing.inventory.entries)} groups"
    trouble = standing.trouble
    if trouble is None:
        return f"answering with {held}"
    if trouble.reason:
        return f"cannot look ({trouble.reason}); answering with {held}"
    lines = [f"{trouble.revision[:19] or 'the folder'} cannot be rendered; answering with {held}"]
    lines += [str(problem) for problem in trouble.problems[:_PROBLEMS_TOLD]]
    left = len(trouble.problems) - _PROBLEMS_TOLD
    return "\n".join([*lines, f"and {left} more problems"] if left > 0 else lines)


def _say(text: str) -> None:
    for line in text.split("\n"):
        print(printable(line), file=sys.stderr, flush=True)  # noqa: T201 - stderr is for people


def _print_applicationset(arguments: argparse.Namespace) -> ExitCode:
    from trimtab_config.emit.yaml_stream import yaml_stream
    from trimtab_plugins.fleet_service.applicationset import ApplicationSetOptions, application_set

    if not arguments.repo_url:
        arguments.usage_error("--print-applicationset needs --repo-url")
    options = ApplicationSetOptions(
        repo_url=arguments.repo_url,
        path=arguments.path or ".",
        revision=arguments.revision,
        name=arguments.name,
        namespace=arguments.namespace,
        project=arguments.project,
        destination_server=arguments.destination_server,
        config_map=arguments.config_map,
        requeue_seconds=arguments.requeue,
        price_book=arguments.price_book or "",
        cluster=arguments.cluster,
        labels=dict(arguments.label),
        automated=not arguments.no_automated,
        prune=not arguments.no_prune,
        self_heal=not arguments.no_self_heal,
        sync_options=tuple(arguments.sync_option),
        retry_limit=arguments.retry_limit,
    )
    sys.stdout.write(yaml_stream([application_set(options)]))
    return ExitCode.DONE


COMMAND = Command(
    name="fleet-service",
    summary="Tell Argo CD's ApplicationSets and flux-operator which device groups there are, over HTTP.",
    details="The newest tree that can be rendered answers. Where a newer one cannot be, the service says so in a header,"
    " in its metrics, under /healthz and on stderr, and goes on with the one it has.",
    examples=(
        "trimtab fleet-service --repo fleet.git --path fleet --token-file token",
        "trimtab fleet-service --print-applicationset --repo-url https://git.example.com/fleet.git --path fleet",
    ),
    configure=configure,
    run=run,
)
