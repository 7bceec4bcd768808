"""The ``trimtab`` command. Each subcommand is an entry point, and only the one that is named is loaded.

Rooms add subcommands by the entry-point group ``trimtab.commands``; the extra in brackets is what the command needs. A
command whose extra is not installed says how to install it. This module imports nothing beyond the kernel.
"""

from __future__ import annotations

import gc
import os
import sys
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

from trimtab_kernel.commandline import Command, Parser, add_command, ended_in_order, open_streams, parse_and_run
from trimtab_kernel.problems import ExitCode, printable

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from importlib import metadata

DISTRIBUTION = "trimtab"
GROUP = "trimtab.commands"
_HEADINGS = {"config": "fleet files", "analytics": "money", "plugins": "delivery", "bot": "bot"}
_OTHER = "further commands"


def main(argv: Sequence[str] | None = None) -> int:
    """Run ``trimtab`` with ``argv`` (the process's own unless given). The value is the exit status; nothing is raised."""
    arguments = list(sys.argv[1:] if argv is None else argv)

    def work() -> int:
        try:
            return _run(arguments)
        except SystemExit as end:  # argparse ends by itself after --help and on wrong usage
            return end.code if isinstance(end.code, int) else ExitCode.DONE

    try:
        open_streams()
        return ended_in_order(work)
    finally:
        # The process ends: looking through all there is for cycles, as the interpreter would, takes a tenth of it.
        # DuckDB's bindings tell people of objects that outlive them, so there the interpreter may.
        if argv is None and "_duckdb" not in sys.modules:
            gc.freeze()


def _run(arguments: list[str]) -> int:
    if not arguments:
        print(overview(), file=sys.stderr)
        return ExitCode.USAGE
    first = arguments[0]
    if first in {"-h", "--help", "help"} and len(arguments) == 1:
        print(overview())
        return ExitCode.DONE
    if first == "help":
        return _run([*arguments[1:], "--help"])
    if first == "--version":
        from importlib import metadata

        print(f"trimtab {metadata.version(DISTRIBUTION)}")
        return ExitCode.DONE
    try:
        command = _command(first)
        if command is None:
            return _unknown(first)
        parser = Parser(prog="trimtab", allow_abbrev=False)
        add_command(parser.add_subparsers(metavar="COMMAND", required=True, parser_class=Parser), command)
        return parse_and_run(parser, arguments)
    except ModuleNotFoundError as error:
        entry = _find(first)
        if entry is None or is_ours(error):
            raise
        print(f"trimtab {entry.name}: {missing_extra(entry, error)}", file=sys.stderr)
        return ExitCode.USAGE


def commands() -> tuple[metadata.EntryPoint, ...]:
    """Every subcommand that any installed distribution offers: ours in our order, then others by name."""
    from importlib import metadata

    ours = [entry for entry in _our_entries() if entry.group == GROUP]
    names = {entry.name for entry in ours}
    others = (entry for entry in metadata.entry_points(group=GROUP) if entry.name not in names)
    return (*ours, *sorted(others, key=lambda entry: entry.name))


def _command(name: str) -> Command | None:
    """The command of that name; None where nobody offers it. Raises ModuleNotFoundError for one whose packages are missing."""
    place = _our_place(name)
    if place is not None:
        module, _, attribute = place.partition(":")
        ours: Command = getattr(import_module(module), attribute)
        return ours
    entry = _find(name)
    if entry is None:
        return None
    command: Command = entry.load()
    return command


def _our_place(name: str) -> str | None:
    """``module:attribute`` of a command of ours; None where an installation as plain files does not name one.

    Read without ``importlib.metadata``, whose import takes longer than most commands run.
    """
    section = ""
    for line in _our_entry_points().splitlines():
        if line.startswith("["):
            section = line
        elif section == f"[{GROUP}]":
            key, _, value = line.partition("=")
            if key.strip() == name:
                return value.partition("[")[0].strip()
    return None


def _our_entry_points() -> str:
    """The ``entry_points.txt`` of our distribution, the first on the path as for ``importlib.metadata``; "" without one."""
    for folder in sys.path:
        try:
            names = os.listdir(folder or ".")  # noqa: PTH208 - names are enough, of hundreds
        except OSError:
            continue
        for found in names:
            if found.startswith(f"{DISTRIBUTION}-") and found.endswith(".dist-info"):
                try:
                    return Path(folder, found, "entry_points.txt").read_text("utf-8")
                except OSError:
                    return ""
    return ""


def _our_entries() -> Iterable[metadata.EntryPoint]:
    from importlib import metadata

    try:
        return metadata.distribution(DISTRIBUTION).entry_points
    except metadata.PackageNotFoundError:
        return ()


def _find(name: str) -> metadata.EntryPoint | None:
    from importlib import metadata

    # Ours first: asking every installed distribution takes long.
    for entry in _our_entries():
        if entry.group == GROUP and entry.name == name:
            return entry
    return next((entry for entry in metadata.entry_points(group=GROUP) if entry.name == name), None)


def _unknown(name: str) -> ExitCode:
    if name.startswith("-"):
        print(f"trimtab: unknown option {printable(name)}; see 'trimtab --help'", file=sys.stderr)
        return ExitCode.USAGE
    import difflib

    near = difflib.get_close_matches(name[:100], [entry.name for entry in commands()], 1)
    hint = f"did you mean '{near[0]}'? " if near else ""
    print(f"trimtab: unknown command '{printable(name, 100)}'; {hint}see 'trimtab --help'", file=sys.stderr)
    return ExitCode.USAGE


def is_ours(error: ModuleNotFoundError) -> bool:
    """Whether one of our own modules is missing: then an extra is not the reason."""
    return (error.name or "").startswith("trimtab_")


def missing_extra(entry: metadata.EntryPoint, error: ModuleNotFoundError) -> str:
    """What to install for a command whose packages are missing."""
    extra = f"[{','.join(entry.extras)}]" if entry.extras else ""
    return f"needs the package '{error.name}', which is not installed: pip install '{DISTRIBUTION}{extra}'"


def overview() -> str:
    """All commands with their summaries, by room."""
    sections: dict[str, list[str]] = {heading: [] for heading in (*_HEADINGS.values(), _OTHER)}
    entries = commands()
    width = max((len(entry.name) for entry in entries), default=0)
    for entry in entries:
        heading = _HEADINGS.get(next(iter(entry.extras), ""), _OTHER)
        sections[heading].append(f"  {entry.name:<{width}}  {_summary(entry)}")
    lines = ["usage: trimtab COMMAND ...", "", "Runs AI models on edge fleets by Git."]
    for heading, listed in sections.items():
        if listed:
            lines += ["", f"{heading}:", *listed]
    lines += [
        "",
        "'trimtab COMMAND --help' shows arguments and examples; 'trimtab --version' the version.",
        "exit status: 0 done, 1 problems, 2 refused by policy, 3 something outside failed, 64 wrong usage",
    ]
    return "\n".join(lines)


def _summary(entry: metadata.EntryPoint) -> str:
    try:
        command: Command = entry.load()
    except ModuleNotFoundError as error:
        if is_ours(error):
            return f"cannot be loaded: {error}"
        return missing_extra(entry, error)
    return command.summary
