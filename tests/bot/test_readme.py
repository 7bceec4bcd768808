"""What the README says of the approval machine is what the machine does."""

from __future__ import annotations

import re
from pathlib import Path

from trimtab_bot.approvals.machine import TABLE, Phase
from trimtab_bot.configuration import read_configuration

README = Path(__file__).parents[2] / "bot" / "README.md"


def table() -> str:
    """The machine's table as Markdown."""
    lines = ["| phase | event | may lead to |", "|---|---|---|"]
    for phase in Phase:
        for event, (_, phases) in TABLE[phase].items():
            if not phases:
                continue
            targets = ", ".join(other.value for other in Phase if other in phases)
            lines.append(f"| {phase.value} | {re.sub('(?<!^)(?=[A-Z])', ' ', event.__name__).lower()} | {targets} |")
    return "\n".join(lines)


def test_the_table_of_phases_is_the_machines() -> None:
    text = README.read_text("utf-8")
    shown = re.search(r"<!-- phases:[^>]*-->\n(.*?)\n<!-- /phases -->", text, re.DOTALL)
    assert shown is not None
    assert shown[1] == table(), f"put this into bot/README.md:\n{table()}"


def test_the_configuration_shown_is_read_as_it_stands(tmp_path: Path) -> None:
    block = re.search(r"## bot\.yaml\n\n((?: {4}.*\n|\n)+)", README.read_text("utf-8"))
    assert block is not None
    content = re.sub(r"^ {4}", "", block[1], flags=re.MULTILINE).replace('"..."', f'"{"0" * 64}"')
    read = read_configuration(content.encode(), tmp_path)
    assert read.people.person("ada") is not None
    assert (read.tick, read.freshness, read.approval.expiry, read.rollback.hold_owner) == (10, 30, 14400, "fleet-team")
