"""What the documentation shows of Slack is Block Kit by slack_sdk's own models, and its drawing is of exactly that."""

from __future__ import annotations

import json
from pathlib import Path

from slack_sdk.models.blocks import Block
from slack_sdk.models.views import View

from tests.rigs.slack.preview import LABEL, drawn

PICTURES = Path(__file__).parents[3] / "docs/pictures"


def test_the_messages_in_the_documentation_are_valid_and_drawn_as_they_are() -> None:
    said = json.loads((PICTURES / "slack-messages.json").read_text("utf-8"))
    assert said["label"] == LABEL
    for block in (*said["message"], *said["modal"]["blocks"], *said["home"]["blocks"]):
        parsed = Block.parse(block)
        assert parsed is not None
        parsed.validate_json()
    for view in (said["modal"], said["home"]):
        View(**view).validate_json()
    page = (PICTURES / "slack-preview.html").read_text("utf-8")
    assert page == drawn(said, (PICTURES / "slack-evidence.png").read_bytes())
    assert page.count("<script") == 0
