"""What the demo says: numbered steps with the seconds they took, in colour only on a terminal."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from rich.console import Console
from rich.markup import escape
from rich.table import Table

if TYPE_CHECKING:
    from collections.abc import Sequence


class Narration:
    """Prints steps and remembers when each was done, for the summary."""

    def __init__(self, console: Console | None = None) -> None:
        """``console`` is the terminal unless given."""
        # Piped into a file or a pager, lines must not be folded at 80 characters.
        self.console = console or Console(highlight=False, soft_wrap=True)
        self._begin = time.monotonic()
        self._count = 0
        self.times: list[tuple[str, float]] = []

    @property
    def seconds(self) -> float:
        """Since the demo began."""
        return time.monotonic() - self._begin

    def step(self, title: str) -> None:
        """A new step begins."""
        self._count += 1
        self.console.print(f"\n[bold]{self._count}. {escape(title)}[/bold]  [dim]{self.seconds:5.1f} s[/dim]")

    def say(self, text: str) -> None:
        """A line about the step."""
        self.console.print(f"   {escape(text)}")

    def command(self, words: Sequence[str]) -> None:
        """The command that is run next, as a person would type it."""
        self.console.print(f"   [cyan]$ {escape(' '.join(words))}[/cyan]")

    def seen(self, text: str) -> None:
        """Something was observed."""
        self.times.append((text, self.seconds))
        self.console.print(f"   [green]ok[/green] {escape(text)}  [dim]{self.seconds:5.1f} s[/dim]")

    def failed(self, text: str) -> None:
        """The demo ends here."""
        self.console.print(f"\n[bold red]not observed:[/bold red] {escape(text)}")

    def table(self, header: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
        """A small table; the first column is left-aligned, the others right-aligned."""
        table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
        for index, name in enumerate(header):
            table.add_column(name, justify="left" if index == 0 else "right", no_wrap=True)
        for row in rows:
            table.add_row(*(escape(cell) for cell in row))
        needed = sum(max(map(len, column)) + 2 for column in zip(header, *rows, strict=True))
        width = self.console.width
        # Where there is less room lines break; a figure is never cut.
        self.console.width = max(width, needed)
        self.console.print(table)
        self.console.width = width
