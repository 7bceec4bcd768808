"""Alerts about the bot itself, as a Prometheus rules file. Pure.

Looks are an objective of 99 %: burn rates over two windows each, 14.4 for an hour and 6 for six hours, which are 2 % and 5 % of a
month's budget (Google, The Site Reliability Workbook, chapter 5). A look is every few seconds, so that low traffic is no matter.
"""

from __future__ import annotations

import json

OBJECTIVE = 0.99
_BURNS = (("14.4", "1h", "5m"), ("6", "6h", "30m"))


def _failing(window: str) -> str:
    failed = f'sum(rate(trimtab_bot_looks_total{{result="failed"}}[{window}]))'
    return f"{failed} / sum(rate(trimtab_bot_looks_total[{window}]))"


def _rules() -> tuple[tuple[str, str, str, str], ...]:
    """Name, expression, for how long, and what it means."""
    budget = f"{1 - OBJECTIVE:.2f}"
    burns = " or ".join(
        f"({_failing(long)} > {factor} * {budget} and {_failing(short)} > {factor} * {budget})"
        for factor, long, short in _BURNS
    )
    return (
        (
            "TrimtabBotSilent",
            "time() - max(trimtab_bot_last_look_timestamp_seconds) > 120 or absent(trimtab_bot_last_look_timestamp_seconds)",
            "1m",
            "No replica of the bot has looked for two minutes: nothing is detected.",
        ),
        ("TrimtabBotLooksFail", burns, "0s", "Looks fail so often that the month's budget of 1 % will not last."),
        (
            "TrimtabBotWithoutLeader",
            "max(trimtab_bot_leader) < 1",
            "1m",
            "Replicas run and none acts: is the lease reachable, and the database?",
        ),
        (
            "TrimtabBotTwoLeaders",
            "sum(trimtab_bot_leader) > 1",
            "1m",
            "Two replicas believe that they act; the fencing token lets one of them write. Are they of one lease?",
        ),
        (
            "TrimtabBotStoreDown",
            "min(trimtab_bot_store_up) < 1",
            "1m",
            "The bot's store does not answer: nothing can be decided.",
        ),
        (
            "TrimtabBotDeliveryUnread",
            "min(trimtab_bot_delivery_up) < 1",
            "5m",
            "A change is on its way, and what Argo CD or Flux says of it cannot be read: is the API server there, and the right given?",
        ),
        (
            "TrimtabBotQueueStands",
            "min_over_time(trimtab_bot_waiting[15m]) > 0 and delta(trimtab_bot_waiting[15m]) >= 0",
            "5m",
            "What is to be written to the ledger, said in chat or told to receivers has waited for a quarter of an hour.",
        ),
    )


def service_level_rules() -> str:
    """The rules file. YAML whose texts are JSON strings, which every YAML reader takes."""
    lines = ["groups:", "  - name: trimtab-bot", "    rules:"]
    for name, expression, lasting, meaning in _rules():
        lines += [
            f"      - alert: {name}",
            f"        expr: {json.dumps(expression)}",
            f"        for: {lasting}",
            "        labels: {severity: page}",
            f"        annotations: {{summary: {json.dumps(meaning)}}}",
        ]
    return "\n".join(lines) + "\n"
