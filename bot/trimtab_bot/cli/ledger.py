"""``trimtab ledger``: read the record of evidence, decisions and effects, and check that nobody changed it."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

from trimtab_kernel.commandline import Command, print_json
from trimtab_kernel.problems import ExitCode, InputError, Problem, printable

if TYPE_CHECKING:
    import argparse

    from trimtab_bot.ledger.interface import Entry, Head

FILE_NAME = "ledger.db"


def _paths(arguments: argparse.Namespace) -> tuple[Path, Path | None]:
    """The ledger's file, and that of the state which noted its head, where there is one."""
    if arguments.config:
        from trimtab_bot.configuration import load_configuration

        configuration = load_configuration(Path(arguments.config))
        return configuration.ledger_path, configuration.store_path
    path = Path(arguments.file)
    return (path / FILE_NAME, path / "bot.db") if path.is_dir() else (path, None)


def _show(arguments: argparse.Namespace) -> ExitCode:
    from trimtab_bot.ledger.sqlite import SqliteLedger

    path, _ = _paths(arguments)
    ledger = SqliteLedger(path, reading=True)
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
    from trimtab_bot.ledger.verification import verify

    path, store_path = _paths(arguments)
    head = _noted_head(store_path)
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


def _noted_head(store_path: Path | None) -> Head | None:
    if store_path is None or not store_path.exists():
        return None
    from trimtab_bot.store.sql import SqlStore

    store = SqlStore.open(store_path)
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
    summary="read and check the record of evidence, decisions and effects",
    subcommands=(
        Command(
            name="show",
            summary="print the entries in order",
            examples=(
                "trimtab ledger show --config bot.yaml",
                "trimtab ledger show --config bot.yaml --subject p-1a2b3c4d5e",
            ),
            configure=_configure_show,
            run=_show,
        ),
        Command(
            name="verify",
            summary="recompute every hash and link; name the first entry that is not as it was written",
            examples=("trimtab ledger verify --config bot.yaml", "trimtab ledger verify --file backup/ledger.db"),
            configure=_configure_common,
            run=_verify,
        ),
    ),
)
