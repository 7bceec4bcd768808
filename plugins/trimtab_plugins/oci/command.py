"""``trimtab artifact``: arguments, what is said where, and exit codes."""

from __future__ import annotations

import argparse
import re
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trimtab_kernel.commandline import Command, print_json
from trimtab_kernel.problems import ExitCode, InputError, OutsideError, Problem, quoted

if TYPE_CHECKING:
    from collections.abc import Iterable

    from trimtab_plugins.oci.address import Address
    from trimtab_plugins.oci.publishing import Pushed
    from trimtab_plugins.oci.registry import Repository
    from trimtab_plugins.oci.source import Source
    from trimtab_plugins.oci.transport import Transport

MANIFESTS = "manifests.yaml"


def _time(text: str) -> datetime:
    given = None
    with suppress(ValueError):
        given = datetime.fromisoformat(text)
    if given is None or given.tzinfo is None:
        raise argparse.ArgumentTypeError(f'expected a time such as 2026-11-22T14:00:00Z, got "{text}"')
    return given.astimezone(UTC)


def _jobs(text: str) -> int:
    if not re.fullmatch(r"[1-9][0-9]?", text):
        raise argparse.ArgumentTypeError(f'expected a number from 1 to 99, got "{text}"')
    return int(text)


def _configure_registry(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--plain-http", action="store_true", help="talk in the clear; only loopback hosts get that without asking"
    )
    parser.add_argument("--ca-file", type=Path, metavar="FILE", help="certificates to trust instead of the system's")


def configure_push(parser: argparse.ArgumentParser) -> None:
    """Arguments of push."""
    parser.add_argument("address", metavar="oci://HOST/REPOSITORY:TAG", help="where to; see below")
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("path", nargs="?", type=Path, metavar="PATH", help="the fleet: a folder, or one file")
    source.add_argument("--repo", type=Path, metavar="BARE", help="a Git repository on this machine instead of PATH")
    parser.add_argument("--ref", default="main", help="its branch or commit (default: main)")
    parser.add_argument(
        "--path", dest="prefix", default="", metavar="SUB", help="where the fleet lies in the repository"
    )
    what = parser.add_mutually_exclusive_group()
    what.add_argument("--group", action="append", metavar="G", help="push this device group; may be given again")
    what.add_argument("--all", action="store_true", help="push every device group")
    parser.add_argument("--price-book", metavar="NAME", help="use this price book instead of the newest one")
    parser.add_argument("--source", default="", metavar="URL", help="the repository's address, as an annotation")
    parser.add_argument(
        "--revision", default="", metavar="REV", help="with PATH: the commit, such as main@sha1:4f5e..."
    )
    parser.add_argument("--created", type=_time, metavar="TIME", help="with PATH: the time of the commit")
    parser.add_argument("--jobs", type=_jobs, default=4, metavar="N", help="artifacts at a time (default: 4)")
    parser.add_argument("--output", choices=("text", "json"), default="text", help="what stdout gets (default: text)")
    _configure_registry(parser)


def run_push(arguments: argparse.Namespace) -> ExitCode:
    """Compile all, then push all: a problem in one group pushes nothing."""
    from trimtab_plugins.oci.address import parse_address

    address = parse_address(arguments.address)
    if not address.tag or address.digest:
        raise InputError(Problem("A306", got=quoted(str(address)), expected="a tag, such as :latest, and no digest"))
    source = _source(arguments)
    targets = _targets(source, address, arguments)
    rows = []
    for group, target, pushed in _push_all(source, targets, arguments):
        if arguments.output == "text":
            verb = "pushed" if pushed.changed else "unchanged"
            print(f"{verb} {target} digest={pushed.digest} revision={pushed.revision or '-'}", flush=True)  # noqa: T201 - the product
        rows.append(_row(group, target, pushed))
    if arguments.output == "json":
        print_json({"artifacts": rows})
    return ExitCode.DONE


def _source(arguments: argparse.Namespace) -> Source:
    from trimtab_config.compilation import RenderOptions
    from trimtab_plugins.oci.source import from_folder, from_repository

    options = RenderOptions(price_book=arguments.price_book)
    if arguments.path is not None:
        return from_folder(arguments.path, options, arguments.source, arguments.revision, arguments.created)
    if arguments.revision or arguments.created:
        got = "--revision or --created with --repo"
        raise InputError(Problem("A306", got=got, expected="neither", hint="the commit says both"))
    return from_repository(arguments.repo, arguments.ref, arguments.prefix, options, arguments.source)


def _targets(source: Source, address: Address, arguments: argparse.Namespace) -> dict[str, Address]:
    if arguments.all:
        return {group: address.below(group) for group in source.fleet.groups}
    if arguments.group:
        return {group: address.below(group) for group in sorted(set(arguments.group))}
    return {address.repository.rpartition("/")[2]: address}


def _push_all(
    source: Source, targets: dict[str, Address], arguments: argparse.Namespace
) -> Iterable[tuple[str, Address, Pushed]]:
    from trimtab_plugins.oci.artifact import build_artifact
    from trimtab_plugins.oci.progress import progress
    from trimtab_plugins.oci.publishing import push
    from trimtab_plugins.oci.registry import Repository

    # One set of problems for all groups where all are wanted; a name that is none is told apart from the others.
    rendered = (
        source.fleet.render_all() if arguments.all else {group: source.fleet.render(group) for group in sorted(targets)}
    )
    transport = open_transport(next(iter(targets.values())), arguments, arguments.jobs)

    def push_one(group: str) -> Pushed:
        artifact = build_artifact(group, {MANIFESTS: rendered[group].stream}, source.origin)
        target = targets[group]
        try:
            return push(Repository(transport, target.repository), target.tag, artifact)
        except OutsideError as error:
            raise OutsideError(f"{target}: {error.reason}", error.retry_after) from error

    with progress(len(targets), "pushing") as done, ThreadPoolExecutor(arguments.jobs) as pool:
        waiting = {group: pool.submit(push_one, group) for group in sorted(targets)}
        try:
            for group, future in waiting.items():
                pushed = future.result()
                done(group)
                yield group, targets[group], pushed
        finally:
            for future in waiting.values():
                future.cancel()


def _row(group: str, target: Address, pushed: Pushed) -> dict[str, Any]:
    return {
        "address": str(target),
        "changed": pushed.changed,
        "digest": pushed.digest,
        "group": group,
        "layer": pushed.layer,
        "revision": pushed.revision,
    }


def configure_pull(parser: argparse.ArgumentParser) -> None:
    """Arguments of pull."""
    parser.add_argument("address", metavar="oci://HOST/REPOSITORY:TAG", help="what to pull; @sha256:... pins it")
    parser.add_argument("--output", type=Path, required=True, metavar="DIR", help="a folder that is new or empty")
    _configure_registry(parser)


def run_pull(arguments: argparse.Namespace) -> ExitCode:
    """Pull, verify, and only then write."""
    from trimtab_plugins.oci.address import parse_address
    from trimtab_plugins.oci.output import write_new_folder
    from trimtab_plugins.oci.publishing import pull

    address = parse_address(arguments.address)
    if not address.reference:
        raise InputError(Problem("A306", got=quoted(str(address)), expected="a tag or a digest"))
    held, files = pull(_repository(address, arguments), address)
    write_new_folder(arguments.output, files)
    print(f"pulled {address} digest={held.digest} revision={held.revision or '-'} files={len(files)}")  # noqa: T201 - the product
    return ExitCode.DONE


def configure_list(parser: argparse.ArgumentParser) -> None:
    """Arguments of list."""
    parser.add_argument("address", metavar="oci://HOST/REPOSITORY", help="the repository of one device group")
    parser.add_argument("--output", choices=("text", "json"), default="text", help="what stdout gets (default: text)")
    _configure_registry(parser)


def run_list(arguments: argparse.Namespace) -> ExitCode:
    """The tags of a repository and what each names."""
    from trimtab_plugins.oci.address import parse_address
    from trimtab_plugins.oci.artifact import CREATED, read_manifest

    address = parse_address(arguments.address)
    repository = _repository(address, arguments)
    rows: list[dict[str, str]] = []
    for tag in [address.tag] if address.tag else repository.tags():
        content = repository.manifest(tag)
        if content is None:
            continue
        try:
            held = read_manifest(content)
        except InputError as error:
            rows.append({"tag": tag, "problem": str(error)})
            continue
        created = held.annotations.get(CREATED, "")
        rows.append(
            {
                "tag": tag,
                "digest": held.digest,
                "layer": held.layer.digest,
                "revision": held.revision,
                "created": created,
            }
        )
    if arguments.output == "json":
        print_json({"address": str(address), "artifacts": rows})
        return ExitCode.DONE
    for row in rows:
        shown = (
            row.get("problem") or f"{row['digest']} revision={row['revision'] or '-'} created={row['created'] or '-'}"
        )
        print(f"{row['tag']} {_plain(shown)}")  # noqa: T201 - the product
    return ExitCode.DONE


def _plain(text: str) -> str:
    from trimtab_kernel.problems import printable

    return printable(text)


def _repository(address: Address, arguments: argparse.Namespace) -> Repository:
    from trimtab_plugins.oci.registry import Repository

    return Repository(open_transport(address, arguments, 1), address.repository)


def open_transport(address: Address, arguments: argparse.Namespace, connections: int) -> Transport:
    """The registry of an address: in the clear for a loopback host or where asked to, never with --ca-file."""
    from trimtab_plugins.oci.credentials import find_login
    from trimtab_plugins.oci.transport import Transport

    clear = arguments.plain_http or (address.is_loopback and arguments.ca_file is None)
    origin = f"{'http' if clear else 'https'}://{address.host}"
    return Transport(origin, lambda: find_login(address.host), authority=arguments.ca_file, connections=connections)


_ADDRESSES = (
    "With --group or --all, the address names the folder of the artifacts, and each goes to REPOSITORY/<group>:TAG. "
    "With neither, the last part of the address is the device group. A tag that names the same files already is left "
    "alone, so its revision stays that of the commit that last changed the group. The login comes from "
    "TRIMTAB_REGISTRY_USERNAME and TRIMTAB_REGISTRY_PASSWORD, or from docker's config.json and its credential helpers."
)

COMMAND = Command(
    name="artifact",
    summary="Push the manifests of device groups to an OCI registry, for Flux and Argo CD; pull and list them.",
    subcommands=(
        Command(
            name="push",
            summary="Push one artifact per device group; leave alone what has not changed.",
            details=_ADDRESSES,
            examples=(
                "trimtab artifact push oci://registry.example.org/fleet/kiosk-emea:latest examples/fleet",
                "trimtab artifact push oci://registry.example.org/fleet:latest --repo fleet.git --path fleet --all",
            ),
            configure=configure_push,
            run=run_push,
        ),
        Command(
            name="pull",
            summary="Pull one artifact, verify it, and write its files to a new folder.",
            examples=("trimtab artifact pull oci://registry.example.org/fleet/kiosk-emea:latest --output out",),
            configure=configure_pull,
            run=run_pull,
        ),
        Command(
            name="list",
            summary="List the tags of a repository with digest, revision and time.",
            examples=("trimtab artifact list oci://registry.example.org/fleet/kiosk-emea",),
            configure=configure_list,
            run=run_list,
        ),
    ),
)
