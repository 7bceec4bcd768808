"""Every problem code, explained. A code never changes its meaning; a retired one is not given out again.

Families: F fleet files (F1 reading, F2 references, F3 placement and rollout, F4 money, F5 policy,
F7 bills and budgets), G Git, E edge
(E1 commands, E2 desired document, E3 artifacts, E4 serving, E5 evidence), B bot (B1 configuration, B2 metrics, B3 proposals,
B4 approvals, B5 ledger), A plugins (A1 Argo CD, A2 fleet service, A3 OCI artifacts, A4 Flux, A5 KRM function,
A6 diff and charts). Each family has its own module here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from trimtab_kernel.codes import bills, bot, edge, fleet, git, placement, plugins, policy

if TYPE_CHECKING:
    from trimtab_kernel.problems import Code

ALL: tuple[Code, ...] = (
    *fleet.CODES,
    *placement.CODES,
    *policy.CODES,
    *bills.CODES,
    *git.CODES,
    *edge.CODES,
    *bot.CODES,
    *plugins.CODES,
)
BY_CODE: dict[str, Code] = {code.code: code for code in ALL}
