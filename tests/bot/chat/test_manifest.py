"""The manifest that is committed is the one that the command prints, and asks for no more than the code uses."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml

from trimtab_bot.chat.slack.manifest import manifest
from trimtab_config.cli import main

COMMITTED = Path(__file__).parents[3] / "bot/slack/manifest.yaml"


def test_the_committed_manifest_is_the_one_for_socket_mode(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bot", "slack-manifest"]) == 0
    assert json.loads(capsys.readouterr().out) == manifest() == yaml.safe_load(COMMITTED.read_text("utf-8"))


def test_over_http_every_way_in_has_the_same_address(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bot", "slack-manifest", "--url", "https://bot.example.com"]) == 0
    text = capsys.readouterr().out
    assert text.count("https://bot.example.com/slack/events") == 3
    assert json.loads(text)["settings"]["socket_mode_enabled"] is False


@pytest.mark.parametrize("url", ["http://bot.example.com", "bot.example.com", "https://bot.example.com/x"])
def test_another_address_is_refused(url: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bot", "slack-manifest", "--url", url]) == 1
    assert "B103" in capsys.readouterr().err
