"""The inbox in a real Chromium: on a phone's width, by keyboard alone, and after the bot has changed something."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

import pytest
from selenium import webdriver
from selenium.webdriver.chrome.options import Options
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.ui import WebDriverWait

from tests.bot.inbox.desk import TOKENS, Desk, view
from trimtab_bot.inbox.app import Inbox
from trimtab_bot.inbox.server import InboxServer

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from selenium.webdriver.remote.webelement import WebElement

pytestmark = pytest.mark.skipif(
    not (shutil.which("chromium") and shutil.which("chromedriver")),
    reason="needs chromium and chromedriver (Debian: chromium, chromium-driver)",
)
# Chromium's own traffic (updates, safe browsing, sync) is off: the test talks to loopback alone.
SWITCHES = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-dev-shm-usage",
)
WAIT_SECONDS = 20


@pytest.fixture(scope="module")
def chromium(tmp_path_factory: pytest.TempPathFactory) -> Iterator[webdriver.Chrome]:
    profile: Path = tmp_path_factory.mktemp("profile")
    options = Options()
    for switch in (*SWITCHES, f"--user-data-dir={profile}"):
        options.add_argument(switch)
    browser = webdriver.Chrome(options=options, service=Service(shutil.which("chromedriver")))
    yield browser
    browser.quit()


@pytest.fixture
def desk() -> Desk:
    return Desk(view())


@pytest.fixture
def browser(chromium: webdriver.Chrome, desk: Desk) -> Iterator[webdriver.Chrome]:
    """Logged in as Ada, at the list."""
    server = InboxServer(Inbox(desk, desk))
    chromium.set_window_size(1000, 900)
    chromium.get(server.start() + "/login")
    token = WebDriverWait(chromium, WAIT_SECONDS).until(lambda b: b.find_element(By.ID, "token"))
    assert token == chromium.switch_to.active_element, "the cursor waits in the field"
    token.send_keys(TOKENS["ada"], Keys.ENTER)
    WebDriverWait(chromium, WAIT_SECONDS).until(lambda b: b.find_elements(By.ID, "watched"))
    yield chromium
    server.stop()


def tab_to(browser: webdriver.Chrome, text: str) -> WebElement:
    """Press Tab until the focus is on something with this text; fails where the keyboard never gets there."""
    for _ in range(40):
        browser.switch_to.active_element.send_keys(Keys.TAB)
        focused = browser.switch_to.active_element
        if text in focused.text:
            return focused
    raise AssertionError(f"the keyboard does not reach {text!r}")


def test_a_proposal_is_opened_and_approved_by_keyboard_alone(browser: webdriver.Chrome, desk: Desk) -> None:
    tab_to(browser, "Roll back triage").send_keys(Keys.ENTER)
    WebDriverWait(browser, WAIT_SECONDS).until(lambda b: "/proposals/" in b.current_url)
    button = tab_to(browser, "Approve rollback to 1.1.0")
    outline = button.value_of_css_property("outline-width")
    assert outline != "0px", "the focused button must be visible"
    button.send_keys(Keys.ENTER)
    WebDriverWait(browser, WAIT_SECONDS).until(lambda _: desk.decided)
    assert desk.decided == [("approve", "p-1", "ada", "")]


@pytest.mark.parametrize("width", [360, 390, 768, 1200])
def test_no_page_is_wider_than_the_screen(browser: webdriver.Chrome, width: int) -> None:
    # A headless window has a least width, so the width is given to the page as a phone would.
    browser.execute_cdp_cmd(
        "Emulation.setDeviceMetricsOverride",
        {"width": width, "height": 800, "deviceScaleFactor": 1, "mobile": width < 700},
    )
    base = browser.current_url.rstrip("/")
    for path in ("/", "/proposals/p-1"):
        browser.get(base + path)
        assert browser.execute_script("return document.documentElement.scrollWidth") <= width
    small = browser.execute_script(
        "return [...document.querySelectorAll('main button')].filter(b => b.getBoundingClientRect().height < 44).length"
    )
    assert small == 0, "a finger needs 44 pixels (WCAG 2.2, target size)"
    browser.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})


def test_an_open_page_follows_the_bot(browser: webdriver.Chrome, desk: Desk) -> None:
    assert "needs a decision" in browser.page_source
    desk.approve("p-1", "ada", desk.views["p-1"].digest)
    WebDriverWait(browser, WAIT_SECONDS).until(lambda b: "needs a decision" not in b.page_source)


def test_an_open_page_does_not_take_away_what_is_being_typed(browser: webdriver.Chrome, desk: Desk) -> None:
    browser.get(browser.current_url.rstrip("/") + "/proposals/p-1")
    field = browser.find_element(By.ID, "reason")
    field.send_keys("this is a known")
    desk.views["p-2"] = view("p-2")
    desk.decided.append(("deny", "p-2", "cy", "something else happened"))
    WebDriverWait(browser, WAIT_SECONDS).until(lambda b: b.find_element(By.ID, "changed").is_displayed())
    assert field.get_attribute("value") == "this is a known"


def test_no_page_logs_an_error_or_asks_for_anything_foreign(browser: webdriver.Chrome) -> None:
    base = browser.current_url.rstrip("/")
    for path in ("/", "/proposals/p-1", "/login"):
        browser.get(base + path)
        fetched = browser.execute_script("return performance.getEntriesByType('resource').map(entry => entry.name)")
        assert all(name.startswith(base) for name in fetched)
    entries = browser.get_log("browser")  # type: ignore[no-untyped-call]  # selenium types this method's result only
    assert [entry for entry in entries if entry["level"] == "SEVERE"] == []
