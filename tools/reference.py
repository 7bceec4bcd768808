"""Writes docs/reference from the code itself: `tools/reference.py` writes, `tools/reference.py --check` only compares.

The pages are made from the parsers' own data and not from `--help`, whose layout differs between versions of Python.
Exit codes: 0 done or current, 1 a page is not current (with --check).
"""

from __future__ import annotations

import argparse
import importlib
import json
import re
import sys
import tomllib
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from trimtab_config.spec import kinds, schema, shapes
from trimtab_edge import cli as edge_cli
from trimtab_kernel import codes, rules, vocabulary
from trimtab_kernel.commandline import Command, Parser
from trimtab_kernel.problems import ExitCode

ROOT = Path(__file__).parents[1]
PAGES = ROOT / "docs/reference"
_WRITTEN = "<!-- Written by tools/reference.py from the code; a test keeps it current. -->\n\n"

_FIGURE = "a number, bare (`0.02`) or with bounds (`{value: 0.02, low: 0.01, high: 0.03, grade: measured}`)"

_EXIT_CODES = {
    ExitCode.DONE: "done",
    ExitCode.PROBLEMS: "the input has problems; each is a line on stderr",
    ExitCode.REFUSED: "refused by a rule of policy, approval or trust; trying again changes nothing",
    ExitCode.OUTSIDE: "something outside failed (network, disk, another program); trying again may help",
    ExitCode.USAGE: "the command line is wrong",
}


def fleet_commands() -> Iterator[tuple[Command, str]]:
    """The subcommands of `trimtab` in the order of pyproject.toml, each with the extra that it needs."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    for value in project["entry-points"]["trimtab.commands"].values():
        place, _, extra = value.partition(" ")
        module, _, name = place.partition(":")
        command = getattr(importlib.import_module(module), name)
        if not isinstance(command, Command):
            message = f"{place} is no Command"
            raise TypeError(message)
        yield command, extra.strip("[]")


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


def _argument(parser: argparse.ArgumentParser, action: argparse.Action) -> tuple[str, str]:
    """Name and meaning of one argument, as two cells of a table."""
    metavar = action.metavar if isinstance(action.metavar, str) else action.dest.upper()
    if action.choices is not None and action.metavar is None:
        metavar = "{" + ",".join(str(choice) for choice in action.choices) + "}"
    if not action.option_strings:
        name = metavar
    elif action.nargs == 0:
        name = ", ".join(action.option_strings)
    else:
        name = f"{', '.join(action.option_strings)} {metavar}"
    if action.nargs in {"*", "+"}:
        name += " ..."
    # The formatter fills in %(default)s and its kin; it wraps nothing here.
    meaning = parser._get_formatter()._expand_help(action) if action.help else ""
    # What a machine decides for itself is not written down as this one's.
    meaning = re.sub(r"\(default: \S+ here\)", "(default: what the machine offers)", meaning)
    notes = []
    if action.option_strings and action.required:
        notes.append("required")
    if not action.option_strings and action.nargs in {"?", "*"}:
        notes.append("optional")
    default = action.default
    if action.nargs != 0 and default not in (None, "", [], argparse.SUPPRESS) and "default" not in meaning:
        notes.append(f"default: {default}")
    return f"`{_cell(name)}`", _cell("; ".join([meaning, *notes] if meaning else notes))


def describe(path: str, command: Command, extra: str) -> Iterator[str]:
    """The section of one command, and of those below it, as Markdown."""
    parser = Parser(prog=path, add_help=False)
    if command.configure:
        command.configure(parser)
    yield f"## `{path}`\n\n{command.summary[0].upper()}{command.summary[1:].removesuffix('.')}.\n\n"
    if extra:
        yield f"Needs the extra `{extra}` ([install](../install.md)).\n\n"
    shown = [action for action in parser._actions if action.help != argparse.SUPPRESS]
    if shown and not command.subcommands:
        yield "| argument | meaning |\n|---|---|\n"
        for action in shown:
            yield "| {} | {} |\n".format(*_argument(parser, action))
        yield "\n"
    for group in parser._mutually_exclusive_groups:
        names = " or ".join(
            f"`{(*action.option_strings, action.metavar)[0] or action.dest}`" for action in group._group_actions
        )
        yield f"{'One of' if group.required else 'At most one of'} {names}.\n\n"
    if command.examples:
        yield "```console\n" + "".join(f"$ {example}\n" for example in command.examples) + "```\n\n"
    for child in command.subcommands:
        yield from describe(f"{path} {child.name}", child, "")


def commands_page(found: Iterable[tuple[str, Command, str]]) -> str:
    """docs/reference/cli.md, from (program, command, extra)."""
    parts = [
        "# Commands\n\n",
        _WRITTEN,
        "On stdout a command prints its product and nothing else; everything for people goes to stderr.\n\n",
        "| exit code | meaning |\n|---|---|\n",
        *(f"| {int(code)} | {_EXIT_CODES[code]} |\n" for code in ExitCode),
        "\n",
    ]
    for program, command, extra in found:
        parts += describe(f"{program} {command.name}", command, extra)
    return "".join(parts).rstrip() + "\n"


def codes_page() -> str:
    """docs/reference/codes.md."""
    parts = ["# Problem codes\n\n", _WRITTEN, "`trimtab explain CODE` says the same on the terminal.\n\n"]
    for code in sorted(codes.ALL, key=lambda code: code.code):
        parts.append(f"## {code.code}: {code.title}\n\n{code.why}\n\nNext: {code.next_step}\n\n")
    return "".join(parts).rstrip() + "\n"


def metrics_page() -> str:
    """docs/reference/metrics.md."""
    parts = [
        "# Metrics\n\n",
        _WRITTEN,
        "What devices export. The labels `device_group` and `device` are attached by the scrape configuration.\n\n",
        "| metric | type | labels | meaning |\n|---|---|---|---|\n",
    ]
    for metric in vocabulary.METRICS:
        labels = ", ".join(f"`{label}`" for label in metric.labels)
        parts.append(f"| `{metric.name}` | {metric.kind.value} | {labels} | {_cell(metric.help)} |\n")
    parts += [
        "\n## Recording rules\n\n",
        "The closed set of questions that the bot asks. `trimtab rules` prints them for Prometheus, one series a window ",
        f"({', '.join(window.text for window in rules.Window)}).\n\n",
        "| rule | recorded as | keeps the labels |\n|---|---|---|\n",
    ]
    for rule in rules.RULES:
        name = rule.recorded_name(rules.Window.MINUTES_5)
        parts.append(f"| {rule.name} | `{name}` | {', '.join(f'`{label}`' for label in rule.by)} |\n")
    return "".join(parts)


def _value(shape: shapes.Shape) -> str:
    """What a field holds, in a few words."""
    match shape:
        case shapes.ScalarShape(scalar):
            return scalar.expected
        case shapes.BooleanShape():
            return "`true` or `false`"
        case shapes.ChoiceShape(values):
            return ", ".join(f"`{value}`" for value in values)
        case shapes.ListShape(item, _):
            return "a list" if isinstance(item, shapes.ObjectShape) else f"a list of: {_value(item)}"
        case shapes.MapShape(key, value, _):
            below = "" if isinstance(value, shapes.ObjectShape) else f": {_value(value)}"
            return f"by {key.name}{below}"
        case shapes.ObjectShape():
            return ""


def _rows(path: str, shape: shapes.ObjectShape) -> Iterator[str]:
    """The fields of an object and of what is below it, one row of a table each."""
    for yaml, each in shape.fields.items():
        place, inner = f"{path}.{yaml}", each.shape
        while isinstance(inner, shapes.ListShape | shapes.MapShape):
            inner = inner.item if isinstance(inner, shapes.ListShape) else inner.value
        below = schema.summary(inner.type) if isinstance(inner, shapes.ObjectShape) else ""
        if isinstance(inner, shapes.ObjectShape) and inner.bare:
            below = _FIGURE
        default = schema.default_of(shape.type, each)
        shown = "" if default in (None, "") else f"default `{json.dumps(default, default=str)}`"
        says = "; ".join(filter(None, (_value(each.shape), shown, below.removesuffix("."))))
        yield f"| `{place}` | {'yes' if each.required else ''} | {_cell(says)} |\n"
        if isinstance(inner, shapes.ObjectShape) and not inner.bare:
            many = {shapes.ListShape: "[]", shapes.MapShape: ".*"}.get(type(each.shape), "")
            yield from _rows(place + many, inner)


def kinds_page() -> str:
    """docs/reference/kinds.md."""
    parts = [
        "# Kinds\n\n",
        _WRITTEN,
        "What stands in a fleet's files, field by field. `[]` is each item of a list, `*` each name of an object. A field that is ",
        "not listed is refused (F103), with the nearest right name. `trimtab schema KIND` prints the same for editors. ",
        "How they hang together: [writing a fleet](../fleet.md).\n\n",
    ]
    for kind in kinds.KINDS:
        parts.append(f"## {kind.name}\n\n`apiVersion: {kind.api_version}`. {schema.summary(kind.spec)}\n\n")
        parts.append("| field | required | what it holds |\n|---|---|---|\n")
        parts += _rows("metadata", shapes.shape_of(kinds.Metadata))
        parts += _rows("spec", shapes.shape_of(kind.spec))
        parts.append("\n")
    return "".join(parts).rstrip() + "\n"


def device_commands() -> Iterator[Command]:
    """The subcommands of `trimtab-edge`."""
    for name in edge_cli.COMMANDS:
        yield importlib.import_module(f"trimtab_edge.cli.{name}").COMMAND


def pages() -> dict[str, str]:
    """Every page by its name."""
    found = [("trimtab", command, extra) for command, extra in fleet_commands()]
    found += [("trimtab-edge", command, "edge") for command in device_commands()]
    return {
        "cli.md": commands_page(found),
        "codes.md": codes_page(),
        "kinds.md": kinds_page(),
        "metrics.md": metrics_page(),
    }


def main(arguments: Sequence[str]) -> int:
    """Writes or compares the pages."""
    parser = argparse.ArgumentParser(prog="tools/reference.py", description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing, fail where a page is not current")
    check = parser.parse_args(arguments).check
    stale = 0
    for name, text in pages().items():
        path = PAGES / name
        if path.exists() and path.read_text("utf-8") == text:
            continue
        if check:
            stale += 1
            sys.stderr.write(f"docs/reference/{name} is not current; run: .venv/bin/python tools/reference.py\n")
        else:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, "utf-8")
    return 1 if stale else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
