"""The bot's own figures say what is true when they are asked for, and its alerts are rules that Prometheus takes."""

from __future__ import annotations

import urllib.request
from pathlib import Path

import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families

from tests.bot.rig import Site
from trimtab_bot.service_levels import service_level_rules
from trimtab_bot.telemetry import BotFigures, serving
from trimtab_config.cli import main


def scrape(url: str) -> dict[str, float]:
    with urllib.request.urlopen(url, timeout=30) as answer:  # noqa: S310 - loopback
        text = answer.read().decode()
    return {
        sample.name + "".join(f"/{value}" for value in sample.labels.values()): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def test_the_figures_follow_an_incident_to_its_end(site: Site) -> None:
    figures = BotFigures(site.store, site.bot.loop.looks, lambda: True)
    with serving(figures, "127.0.0.1", 0) as url:
        site.broken()
        seen = scrape(url)
        assert seen["trimtab_bot_incidents/open"] == 1
        assert seen["trimtab_bot_proposals_undecided"] == 1
        assert seen["trimtab_bot_looks_total/done"] == 2
        assert seen["trimtab_bot_last_look_timestamp_seconds"] == pytest.approx(site.now)
        assert (seen["trimtab_bot_waiting/ledger"], seen["trimtab_bot_waiting/chat"]) == (0, 1)
        site.approve("ada")
        site.tick()
        site.back()
        site.settle()
        seen = scrape(url)
        assert seen["trimtab_bot_incidents/closed"] == seen["trimtab_bot_recoveries_total"] == 1
        assert seen["trimtab_bot_recovery_seconds_total"] > site.configuration.window.value
        assert seen["trimtab_bot_leader"] == 1


def test_the_alerts_speak_of_figures_that_there_are(site: Site, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["rules", "--bot"]) == 0
    text = capsys.readouterr().out
    assert text == service_level_rules()
    (group,) = yaml.safe_load(text)["groups"]
    site.configure(delivery={"argocd": {}})
    site.restart()
    site.tick()
    with serving(
        BotFigures(site.store, site.bot.loop.looks, lambda: True, delivery=site.bot.delivery), "127.0.0.1", 0
    ) as url:
        names = {name.partition("/")[0] for name in scrape(url)}
    import re

    for rule in group["rules"]:
        used = set(re.findall(r"trimtab_bot_[a-z_]+", rule["expr"]))
        assert used
        assert used <= names, rule["alert"]


def test_prometheus_takes_the_alerts(tmp_path: Path) -> None:
    import shutil
    import subprocess

    promtool = shutil.which("promtool")
    if promtool is None:
        pytest.skip("needs promtool (package prometheus of Debian)")
    (tmp_path / "rules.yml").write_text(service_level_rules())
    done = subprocess.run(
        [promtool, "check", "rules", str(tmp_path / "rules.yml")],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "7 rules found" in done.stdout
