"""The check of a proposal: what was proven of exactly this commit, for the page on which people decide. Pure.

It passes where the proof of the remedy holds for the head that a decision binds to, and fails on a head that the proposal is
not, or no longer, about. Whoever pushes something else gets no check at all, so a rule that demands it keeps that out.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from trimtab_config.githost.conversation import Check, CheckState
from trimtab_kernel.problems import printable

if TYPE_CHECKING:
    from collections.abc import Sequence

    from trimtab_bot.inbox.interface import Fact, ProposalView

_MERGED = "merged"
_LINES = 50


def check_of(view: ProposalView, name: str) -> Check:
    """What the proposal's check says now."""
    if view.open_for_decision or view.state == _MERGED:
        title = f"proven for {view.head[:12]}: {view.title}"
        state = CheckState.PASSED
    else:
        title = f"{view.state}: {view.title}"
        state = CheckState.FAILED
    lines = [
        f"Base {code(view.base[:12])}, head {code(view.head[:12])}, digest {code(view.digest.removeprefix('sha256:')[:12])}.",
        "",
        *table(view.facts),
    ]
    return Check(name, state, printable(title, 140), "\n".join(lines))


def table(facts: Sequence[Fact]) -> list[str]:
    """Facts as a Markdown table in which nothing is markup."""
    rows = [f"| {code(fact.label)} | {code(fact.value)} | {fact.kind.value} |" for fact in facts[:_LINES]]
    return ["| what | value | kind |", "|---|---|---|", *rows]


def code(text: str) -> str:
    """A code span that survives in a table's cell: the bar would end the cell even there (GFM, tables)."""
    plain = printable(text, 1000).replace("|", "\N{BROKEN BAR}")
    longest = max((len(run) for run in _runs(plain)), default=0)
    fence = "`" * (1 + longest)
    return f"{fence} {plain} {fence}" if longest else f"`{plain or ' '}`"


def _runs(text: str) -> list[str]:
    return [run for run in "".join(each if each == "`" else " " for each in text).split() if run]
