"""A message as Block Kit, and answers as mrkdwn. Everything that is not ours is escaped. Pure.

Limits are those of Block Kit: a header of 150 characters, a section of 3,000, 50 blocks. A button carries the proposal and
the digest of what is shown, and no permission: who presses it is established by Slack and judged by the bot.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from trimtab_bot.inbox.interface import FactKind
from trimtab_kernel.problems import printable

if TYPE_CHECKING:
    from trimtab_bot.chat.interface import Message, Reply
    from trimtab_bot.inbox.interface import ProposalView

APPROVE = "trimtab_approve"
DENY = "trimtab_deny"
DENY_VIEW = "trimtab_deny_reason"
METADATA = "trimtab_incident"
REPLY = "trimtab_story"
_HEADER = 150
_SECTION = 2900
_FIELD = 1900
_FIELDS = 10
_REPLY = 11_000
_PENDING = 20


def escaped(text: str, limit: int = _SECTION) -> str:
    """Text on one line that mentions nobody and links nowhere: Slack reads control sequences only between < and >."""
    return printable(text, limit).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def escaped_lines(text: str, limit: int = _SECTION) -> str:
    """As :func:`escaped`, for a text of ours that has lines: each of them is escaped, and they stay lines."""
    return _cut("\n".join(escaped(line) for line in text.splitlines()), limit)


def message_blocks(message: Message) -> list[dict[str, Any]]:
    """The blocks of one incident's message."""
    blocks: list[dict[str, Any]] = [
        {"type": "header", "text": {"type": "plain_text", "text": _plain(message.title, _HEADER), "emoji": False}},
        _section(f"{escaped(message.state)}\n{escaped_lines(message.summary)}"),
    ]
    fields = [
        _mrkdwn(
            f"{escaped(fact.label, 200)}{' (estimate)' if fact.kind is FactKind.ESTIMATE else ''}\n"
            f"{escaped(fact.value, 800)}",
            _FIELD,
        )
        for fact in message.facts[:_FIELDS]
    ]
    if fields:
        blocks.append({"type": "section", "fields": fields})
    context = []
    if message.offending is not None:
        commit = message.offending
        context.append(f"commit {commit.sha[:12]} {escaped(commit.subject, 200)} by {escaped(commit.author, 100)}")
    if message.number is not None:
        context.append(f"proposal {message.number}, {len(message.approvals)} of {message.quorum} approvals")
    if message.expires_at is not None:
        context.append(f"open until {_moment(message.expires_at)}")
    if context:
        blocks.append({"type": "context", "elements": [_mrkdwn("; ".join(context), _FIELD)]})
    if message.timeline:
        lines = "\n".join(f"{_moment(entry.at)} {escaped(entry.text, 300)}" for entry in message.timeline)
        blocks.append(_section(lines))
    if message.ask is not None:
        blocks.append(_buttons(f"{message.ask.proposal} {message.ask.digest}", message.title, "trimtab_decision"))
    return blocks


def _buttons(value: str, title: str, block_id: str) -> dict[str, Any]:
    return {
        "type": "actions",
        "block_id": block_id,
        "elements": [
            {
                "type": "button",
                "action_id": APPROVE,
                "style": "primary",
                "text": {"type": "plain_text", "text": "Approve", "emoji": False},
                "value": value,
                "confirm": {
                    "title": {"type": "plain_text", "text": "Approve?"},
                    "text": {"type": "plain_text", "text": _plain(title, 280)},
                    "confirm": {"type": "plain_text", "text": "Approve"},
                    "deny": {"type": "plain_text", "text": "Cancel"},
                },
            },
            {
                "type": "button",
                "action_id": DENY,
                "text": {"type": "plain_text", "text": "Deny", "emoji": False},
                "value": value,
            },
        ],
    }


def message_text(message: Message) -> str:
    """What notifications and screen readers get."""
    return escaped(f"{message.title}: {message.state}", 500)


def reply_text(reply: Reply) -> str:
    """What a message's thread says: one line for each thing that happened."""
    return _cut("\n".join(f"{_moment(entry.at)} {escaped(entry.text, 400)}" for entry in reply.lines), _REPLY)


def home_view(waiting: tuple[ProposalView, ...], person: str, note: str) -> dict[str, Any]:
    """The app's home: what waits for a decision, with buttons where this person may decide; a note on top."""
    blocks: list[dict[str, Any]] = [
        {"type": "header", "text": {"type": "plain_text", "text": "Waiting for a decision", "emoji": False}}
    ]
    if note:
        blocks.append(_section(note))
    elif not waiting:
        blocks.append(_section("Nothing waits."))
    for each in waiting[:_PENDING]:
        refused = each.refused_for.get(person, "")
        blocks.append(
            _section(
                f"*{escaped(each.title, 300)}*\n{escaped_lines(each.summary, 2000)}\n"
                f"{escaped(each.id)}, {len(each.approvals)} of {each.quorum} approvals, open until {_moment(each.expires_at)}"
            )
        )
        if refused:
            blocks.append({"type": "context", "elements": [_mrkdwn(escaped(refused, 300), _FIELD)]})
        else:
            blocks.append(_buttons(f"{each.id} {each.digest}", each.title, f"trimtab_{each.id}"[:255]))
        blocks.append({"type": "divider"})
    if len(waiting) > _PENDING:
        blocks.append(_section(f"{len(waiting) - _PENDING} more: `/trimtab status`"))
    return {"type": "home", "blocks": blocks}


def deny_view(value: str, title: str) -> dict[str, Any]:
    """The modal that asks why. ``value`` is what the button carried."""
    return {
        "type": "modal",
        "callback_id": DENY_VIEW,
        "private_metadata": value,
        "title": {"type": "plain_text", "text": "Deny"},
        "submit": {"type": "plain_text", "text": "Deny"},
        "close": {"type": "plain_text", "text": "Cancel"},
        "blocks": [
            {"type": "section", "text": {"type": "plain_text", "text": _plain(title, 300)}},
            {
                "type": "input",
                "block_id": "reason",
                "label": {"type": "plain_text", "text": "Why?"},
                "element": {
                    "type": "plain_text_input",
                    "action_id": "text",
                    "multiline": True,
                    "min_length": 3,
                    "max_length": 1000,
                },
            },
        ],
    }


def _section(text: str) -> dict[str, Any]:
    return {"type": "section", "text": _mrkdwn(text, _SECTION)}


def _mrkdwn(text: str, limit: int) -> dict[str, Any]:
    # Verbatim: what looks like an address or a channel stays text.
    return {"type": "mrkdwn", "text": _cut(text, limit), "verbatim": True}


def _plain(text: str, limit: int) -> str:
    return _cut(printable(text, limit), limit) or "-"


def _cut(text: str, limit: int) -> str:
    return text if len(text) <= limit else f"{text[: limit - 3]}..."


def _moment(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%d %H:%M UTC")
