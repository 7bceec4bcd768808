"""A page that shows Block Kit about as Slack does. It is the rig's own drawing, labelled so: Slack's is Slack's.

`python -m tests.rigs.slack.preview FOLDER` lets an incident happen at a site of the tests and writes what was said as
`slack-messages.json`, the page as `slack-preview.html`, and the picture of the thread into it.
"""

from __future__ import annotations

import base64
import html
import json
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

LABEL = "Drawn by Trimtab's test rig from the Block Kit JSON beside it. Not a screenshot of Slack."
_STYLE = """
body{font:15px/1.45 Lato,"Noto Sans",sans-serif;background:#f4f4f4;color:#1d1c1d;margin:0;padding:24px}
.label{max-width:640px;margin:0 auto 16px;padding:8px 12px;background:#fff3cd;border:1px solid #e0c36c;border-radius:6px}
h2{max-width:640px;margin:20px auto 6px;font-size:13px;color:#616061;text-transform:uppercase;letter-spacing:.04em}
.card{max-width:612px;margin:0 auto;padding:14px;background:#fff;border:1px solid #ddd;border-radius:8px}
.header{font-size:18px;font-weight:900;margin:0 0 8px}.section{margin:8px 0;white-space:pre-wrap;overflow-wrap:anywhere}
.fields{display:grid;grid-template-columns:1fr 1fr;gap:8px 16px;margin:8px 0;white-space:pre-wrap;overflow-wrap:anywhere}
.context{color:#616061;font-size:12px;margin:8px 0}.actions{margin:10px 0}hr{border:0;border-top:1px solid #ddd}
.button{display:inline-block;border:1px solid #bbb;border-radius:4px;padding:4px 12px;margin-right:8px;font-weight:700}
.primary{background:#007a5a;border-color:#007a5a;color:#fff}.input{border:1px solid #bbb;border-radius:4px;height:48px}
img{max-width:100%;margin-top:8px}
"""


def blocks_html(blocks: list[dict[str, Any]]) -> str:
    """The blocks that the bot uses. Raises KeyError for another."""
    return "".join(_BLOCKS[block["type"]](block) for block in blocks)


def page(parts: list[tuple[str, str]]) -> str:
    """The whole page, from titles and bodies."""
    cards = "".join(f'<h2>{html.escape(title)}</h2><div class="card">{body}</div>' for title, body in parts)
    return (
        f'<!doctype html><html lang="en"><meta charset="utf-8"><title>Slack messages of Trimtab, drawn by its rig</title>'
        f"<style>{_STYLE}</style><p class=label>{html.escape(LABEL)}</p>{cards}</html>\n"
    )


def drawn(said: dict[str, Any], picture: bytes) -> str:
    """The page of what was said: ``message``, ``thread`` (texts), ``home`` and ``modal``."""
    image = base64.b64encode(picture).decode()
    thread = "".join(f'<div class="section">{_text(text)}</div>' for text in said["thread"])
    return page(
        [
            ("Message of an incident", blocks_html(said["message"])),
            ("Its thread", f'{thread}<img alt="interval against its limit" src="data:image/png;base64,{image}">'),
            ("Deny asks why", blocks_html(said["modal"]["blocks"])),
            ("The app's home", blocks_html(said["home"]["blocks"])),
        ]
    )


def _text(text: str) -> str:
    """Slack's own escapes are undone before ours are made; code in backticks, bold in stars."""
    plain = text.replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&")
    escaped = html.escape(plain)
    if escaped.startswith("*") and "*\n" in escaped:
        bold, _, rest = escaped[1:].partition("*\n")
        return f"<b>{bold}</b>\n{rest}"
    return escaped


def _section(block: dict[str, Any]) -> str:
    if "fields" in block:
        fields = "".join(f"<div>{_text(each['text'])}</div>" for each in block["fields"])
        return f'<div class="fields">{fields}</div>'
    return f'<div class="section">{_text(block["text"]["text"])}</div>'


def _actions(block: dict[str, Any]) -> str:
    buttons = (
        f'<span class="button {each.get("style", "")}">{html.escape(each["text"]["text"])}</span>'
        for each in block["elements"]
    )
    return f'<div class="actions">{"".join(buttons)}</div>'


def _header(block: dict[str, Any]) -> str:
    return f'<div class="header">{html.escape(block["text"]["text"])}</div>'


def _context(block: dict[str, Any]) -> str:
    texts = "".join(_text(each["text"]) for each in block["elements"])
    return f'<div class="context">{texts}</div>'


def _divider(_block: dict[str, Any]) -> str:
    return "<hr>"


def _input(block: dict[str, Any]) -> str:
    return f'<div class="section"><b>{html.escape(block["label"]["text"])}</b></div><div class="input"></div>'


_BLOCKS: dict[str, Callable[[dict[str, Any]], str]] = {
    "header": _header,
    "section": _section,
    "context": _context,
    "actions": _actions,
    "divider": _divider,
    "input": _input,
}


def main(folder: Path) -> None:
    """Let it happen, and write it down."""
    from tests.bot.rig import Site
    from tests.rigs.slack import slack
    from trimtab_bot.chat.board import SECONDS_BETWEEN, Board
    from trimtab_bot.chat.slack.blocks import deny_view, home_view
    from trimtab_bot.chat.slack.room import SlackRoom, web_client

    with tempfile.TemporaryDirectory() as scratch, slack() as rig:
        site = Site(Path(scratch))
        room = SlackRoom(web_client(rig.bot_token, f"{rig.url}/api/"), "C0FLEET")
        board = Board(site.store, room, lambda: site.now, 1)
        proposal = site.broken()
        board.step()
        site.now += SECONDS_BETWEEN
        board.step()
        (message,) = rig.messages.values()
        (picture,) = (each["content"] for each in rig.files.values())
        said = {
            "label": LABEL,
            "message": message["blocks"],
            "thread": [each["text"] for each in rig.replies],
            "modal": deny_view(f"{proposal.id} {site.view().digest}", proposal.title),
            "home": home_view(site.bot.decisions.proposals(), "ada", ""),
        }
        site.close()
    (folder / "slack-messages.json").write_text(json.dumps(said, indent=2, ensure_ascii=False) + "\n", "utf-8")
    (folder / "slack-evidence.png").write_bytes(picture)
    (folder / "slack-preview.html").write_text(drawn(said, picture), "utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
