"""A headless Chromium on the client's side of a shaped network."""

from __future__ import annotations

import shlex
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import pytest

from tests.dashboards import BROWSER_OPTIONS
from tests.machine import BROWSER, has_browser
from tests.shaped_network import ShapedNetwork
from waldo.web.security import session_of

if TYPE_CHECKING:
    from selenium import webdriver


@contextmanager
def shaped_browser(network: ShapedNetwork, folder: Path) -> Iterator[webdriver.Chrome]:
    """Start a browser, which ends with the block; skip the test without Chromium.

    Chromedriver stays outside and drives it through pipes, which no namespace separates.

    Args:
        network: On the client's side of it.
        folder: For the script that starts it.
    """
    if not has_browser():
        pytest.skip(BROWSER)
    from selenium import webdriver
    from selenium.webdriver.chrome.service import Service

    chromium = shutil.which("chromium") or shutil.which("google-chrome") or ""
    script = folder / "chromium"
    script.write_text(f'#!/bin/sh\nexec {shlex.join(network.client_command(chromium))} "$@"\n')
    script.chmod(0o755)
    options = webdriver.ChromeOptions()
    options.binary_location = str(script)
    for option in (*BROWSER_OPTIONS, "--remote-debugging-pipe", "--ignore-certificate-errors"):
        options.add_argument(option)
    driver = webdriver.Chrome(options=options, service=Service(shutil.which("chromedriver")))
    try:
        yield driver
    finally:
        driver.quit()


def log_in(browser: webdriver.Chrome, url: str, token: str, application: str) -> None:
    """Give a browser the cookie of a server's token, and open the server's page."""
    name, value = session_of(token, application)
    cookie = {"name": name, "value": value, "domain": urlsplit(url).hostname, "path": "/", "secure": True}
    browser.execute_cdp_cmd("Network.setCookie", cookie)
    browser.get(url)
