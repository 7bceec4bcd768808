"""``trimtab ledger``: read the record of evidence, decisions and effects, and check that nobody changed it."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

from trimtab_kernel.commandline import Command, print_json
from trimtab_kernel.problems import ExitCode, InputError, Problem, printable

if TYPE_CHECKING:
    import argparse

    from trimtab_bot.configuration import Configuration
    from trimtab_bot.ledger.interface import Entry, Head
    from trimtab_bot.store.sql import SqlStore

FILE_NAME = "ledger.db"


def _configuration(arguments: argparse.Namespace) -> Configuration | None:
    if not arguments.config:
        return None
    from trimtab_bot.configuration import load_configuration

    return load_configuration(Path(arguments.config))


def _paths(arguments: argparse.Namespace, configuration: Configuration | None) -> tuple[Path, Path | None]:
    """The ledger's file, and that of the state which noted its head, where there is one."""
    if configuration is not None:
        return configuration.ledger_path, configuration.store_path
    path = Path(arguments.file)
    return (path / FILE_NAME, path / "bot.db") if path.is_dir() else (path, None)


def _show(arguments: argparse.Namespace) -> ExitCode:
    from trimtab_bot.assembly import open_ledger
    from trimtab_bot.ledger.sqlite import SqliteLedger

    configuration = _configuration(arguments)
    ledger = (
        SqliteLedger(_paths(arguments, None)[0], reading=True)
        if configuration is None
        else open_ledger(configuration, reading=True)
    )
    try:
        entries = list(ledger.entries(arguments.subject))
    finally:
        ledger.close()
    if arguments.output == "json":
        print_json({"entries": [_as_json(entry) for entry in entries]})
        return ExitCode.DONE
    for entry in entries:
        record = entry.record
        text = record.body.get("text") or record.body.get("event", "")
        print(
            f"{entry.index:>6}  {record.at}  {record.kind.value:<8}  {printable(record.subject)}  {printable(str(text), 200)}"
        )
    return ExitCode.DONE


def _as_json(entry: Entry) -> dict[str, object]:
    record = entry.record
    return {
        "index": entry.index,
        "previous": entry.previous,
        "hash": entry.hash,
        "key": record.key,
        "kind": record.kind.value,
        "at": record.at,
        "subject": record.subject,
        "body": dict(record.body),
    }


def _verify(arguments: argparse.Namespace) -> ExitCode:
    from trimtab_bot.assembly import open_store, secret
    from trimtab_bot.ledger.verification import verify, verify_postgresql
    from trimtab_bot.store.sql import SqlStore

    configuration = _configuration(arguments)
    path, store_path = _paths(arguments, configuration)
    if configuration is not None and configuration.database is not None:
        head = _noted_head(open_store(configuration))
        expected = (head.index, head.hash) if head else None
        found = verify_postgresql(secret(configuration.database), expected)
    else:
        head = _noted_head(SqlStore.open(store_path)) if store_path is not None and store_path.exists() else None
        found = verify(path, (head.index, head.hash) if head else None)
    if found.fault is not None:
        fault = found.fault
        raise InputError(
            Problem(
                fault.code, path.name, 0, f"entry {fault.index}", printable(fault.reason), "the entry as it was written"
            )
        )
    against = "" if head is None else f"; entry {head.index} is the one that the bot noted"
    print(f"{found.entries} entries, head {found.head[:16]}")
    print(f"every entry links to the one before{against}", file=sys.stderr)
    return ExitCode.DONE


def _noted_head(store: SqlStore) -> Head | None:
    try:
        with store.reading() as view:
            return view.ledger_head()
    finally:
        store.close()


def _configure_common(parser: argparse.ArgumentParser) -> None:
    which = parser.add_mutually_exclusive_group(required=True)
    which.add_argument("--config", metavar="FILE", help="the bot's configuration, which names the state directory")
    which.add_argument("--file", metavar="PATH", help="a ledger's file, or the state directory that holds it")


def _configure_show(parser: argparse.ArgumentParser) -> None:
    _configure_common(parser)
    parser.add_argument("--subject", metavar="ID", help="only entries about this incident or proposal")
    parser.add_argument("--output", choices=("text", "json"), default="text", help="for people, or for programs")


COMMAND = Command(
    name="ledger",
    summary="Read and check the record of evidence, decisions and effects.",
    subcommands=(
        Command(
            name="show",
            summary="Print the entries in order.",
            examples=(
                "trimtab ledger show --config bot.yaml",
                "trimtab ledger show --config bot.yaml --subject p-1a2b3c4d5e",
            ),
            configure=_configure_show,
            run=_show,
        ),
        Command(
            name="verify",
            summary="Recompute every hash and link; name the first entry that is not as it was written.",
            examples=("trimtab ledger verify --config bot.yaml", "trimtab ledger verify --file backup/ledger.db"),
            configure=_configure_common,
            run=_verify,
        ),
    ),
)
