"""Codes of the bot."""

from __future__ import annotations

from trimtab_kernel.problems import Code

CODES: tuple[Code, ...] = ()
