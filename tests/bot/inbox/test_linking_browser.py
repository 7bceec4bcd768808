"""Installing into Slack and linking at GitHub in a real Chromium: forms that lead to another site and back, with real cookies."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from selenium import webdriver
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.ui import WebDriverWait

from tests.bot.chat.test_workspaces import HOME, section
from tests.bot.inbox.test_browser import WAIT_SECONDS, chromium
from tests.bot.reviews.test_linking import LinkedSite
from tests.bot.rig import TOKENS
from tests.rigs.slack import SlackRig, slack
from trimtab_bot.connections import connections
from trimtab_bot.inbox.app import Inbox
from trimtab_bot.inbox.server import InboxServer

__all__ = ["chromium"]
pytestmark = [
    pytest.mark.long,
    pytest.mark.skipif(
        not (shutil.which("chromium") and shutil.which("chromedriver")),
        reason="needs chromium and chromedriver (Debian: chromium, chromium-driver)",
    ),
]


class ConnectedSite(LinkedSite):
    """A site on GitHub with Slack's workspaces beside it."""

    def __init__(self, folder: Path, stack: ExitStack, workspaces: SlackRig) -> None:
        self.workspaces = workspaces
        super().__init__(folder, stack)

    def configure(self, **changes: object) -> None:
        (self.folder / "slack").mkdir(exist_ok=True)
        super().configure(**changes, slack=section(self.workspaces, self.folder / "slack"))


@pytest.fixture
def site(tmp_path: Path) -> Iterator[ConnectedSite]:
    with ExitStack() as stack:
        rig = stack.enter_context(slack())
        made = ConnectedSite(tmp_path, stack, rig)
        more = connections(made.configuration, made.ports, lambda: made.now)
        for each in more.pages:
            each._trip._public_url = ""  # type: ignore[attr-defined]  # the port is known only now
        server = InboxServer(Inbox(made.bot.decisions, made.configuration.people, more=more.pages))
        stack.callback(server.stop)
        made.url = server.start()
        yield made
        made.close()


def test_a_person_installs_the_app_and_links_an_account(
    site: ConnectedSite, chromium: webdriver.Chrome, tmp_path: Path
) -> None:
    wait = WebDriverWait(chromium, WAIT_SECONDS)

    def shown(name: str) -> str:
        chromium.save_screenshot(str(tmp_path / f"{name}.png"))
        wide = chromium.execute_script("return document.documentElement.scrollWidth <= window.innerWidth")
        assert wide, f"{name} is wider than the screen"
        return chromium.find_element(By.TAG_NAME, "main").text

    chromium.set_window_size(1000, 800)
    chromium.get(f"{site.url}/slack/install")
    wait.until(lambda b: b.find_element(By.ID, "token")).send_keys(TOKENS["ada"], Keys.ENTER)
    wait.until(lambda b: b.find_elements(By.ID, "slack"))
    assert "not yet" in shown("slack-install")
    chromium.find_element(By.XPATH, "//button[.='Add to Slack']").click()
    wait.until(lambda b: b.find_elements(By.ID, HOME))[0].click()  # Slack's own page: which workspace
    wait.until(lambda b: "The app is installed" in b.page_source)
    assert HOME in shown("slack-installed")
    chromium.get(f"{site.url}/slack/install")
    assert "Workspace <T0HOME>" in shown("slack-workspaces")

    # The invitation comes from another site (chat), where the session's cookie does not come along.
    invitation = f"{site.url}/account/link?ticket={site.invited('ada')}"
    link = f"<a id=go href={json.dumps(invitation)}>link</a>"
    chromium.get(f"data:text/html,{link}")
    chromium.find_element(By.ID, "go").click()
    wait.until(lambda b: b.find_elements(By.LINK_TEXT, "Go on"))[0].click()
    wait.until(lambda b: b.find_elements(By.ID, "account"))
    shown("account")
    chromium.find_element(By.XPATH, "//button[.='Link my GitHub account']").click()
    wait.until(lambda b: b.find_elements(By.ID, "ada"))[0].click()  # GitHub's own page: who is logged in there
    wait.until(lambda b: "Linked" in b.page_source)
    shown("account-linked")
    chromium.set_window_size(500, 800)
    chromium.get(f"{site.url}/account")
    assert "ada, account 7" in shown("account-of-ada")
    chromium.find_element(By.XPATH, "//button[.='Unlink']").click()
    wait.until(lambda b: "No account is linked" in b.page_source)
    assert site.links.of("ada") is None
    entries = chromium.get_log("browser")  # type: ignore[no-untyped-call]  # selenium types this method's result only
    assert [each for each in entries if each["level"] == "SEVERE" and site.url in each["message"]] == []
