"""`waldo operate` with a simulated robot and a scripted operator, driven through the page of a real browser."""

from __future__ import annotations

import contextlib
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from selenium import webdriver
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.keys import Keys

from waldo.cli.main import main
from waldo.datasets.dataset import Dataset

pytestmark = [pytest.mark.usefixtures("ros_domain"), pytest.mark.timeout(600)]

WALDO = (sys.executable, "-m", "waldo")


@pytest.fixture
def station(tmp_path: Path) -> Iterator[Callable[..., subprocess.Popen[bytes]]]:
    """Return a function that starts a program with a log of its output; all are ended after the test."""
    with contextlib.ExitStack() as stack:

        def start(*args: str) -> subprocess.Popen[bytes]:
            log = stack.enter_context((tmp_path / f"{args[0]}.log").open("ab"))
            process = subprocess.Popen([*WALDO, *args], stdin=subprocess.DEVNULL, stdout=log, stderr=log)
            stack.callback(end, process)
            return process

        yield start


def end(process: subprocess.Popen[bytes]) -> None:
    if process.poll() is None:
        process.send_signal(signal.SIGINT)
    process.wait(120)


def until(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + 120
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def address(log: Path) -> str:
    found: list[re.Match[str]] = []
    until(lambda: log.exists() and found.extend(re.finditer(r"http://\S+", log.read_text())) is None and found)
    return found[0].group()


def test_episodes_are_recorded_through_the_page(
    browser: webdriver.Chrome, station: Callable[..., subprocess.Popen[bytes]], tmp_path: Path
) -> None:
    def text(identity: str) -> str:
        # In one call, since the page is reloaded.
        script = "return document.getElementById(arguments[0])?.innerText ?? ''"
        return str(browser.execute_script(script, identity))

    def press(key: str) -> None:
        ActionChains(browser).send_keys(key).perform()

    def notices() -> list[str]:
        script = "return [...document.querySelectorAll('#notices li')].map(one => one.innerText)"
        return [str(one) for one in browser.execute_script(script)]

    station("robot", "so101", "--no-cameras")
    operate = station("operate", str(tmp_path / "set"), "--port", "0", "--episodes", "3")
    browser.get(address(tmp_path / "operate.log"))
    until(lambda: text("word") == "HOLDING")
    until(lambda: "joints/state" in text("streams") and "motors" in text("streams"))
    press(Keys.ENTER)
    until(lambda: text("state") == "RECORDING")
    # A reload in the middle of an episode loses nothing.
    browser.refresh()
    until(lambda: text("state") == "RECORDING" and text("elapsed") >= "0:01")
    press("0")
    until(lambda: "1 of 3 saved" in text("counts"))
    press(Keys.ENTER)
    until(lambda: text("state") == "RECORDING")
    until(lambda: text("elapsed") >= "0:02")
    press("1")
    until(lambda: "2 of 3 saved" in text("counts"))
    press(Keys.ENTER)
    until(lambda: text("state") == "RECORDING")
    press(Keys.BACKSPACE)
    until(lambda: text("state") == "IDLE")
    press("z")
    until(lambda: any(one.startswith("undo: ") for one in notices()))
    press(" ")
    until(lambda: text("word") == "STOPPED")
    press(Keys.ENTER)
    until(lambda: any("cannot start: the robot is stopped" in one for one in notices()))
    press("v")
    until(lambda: text("word") == "HOLDING")
    browser.get("about:blank")
    end(operate)
    assert operate.returncode == 0
    (episode,) = Dataset.open(tmp_path / "set").episodes
    assert episode.outcome == "failure"
    assert episode.count("joints/state") > 10


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--host", "0.0.0.0"], "--host 0.0.0.0 requires --token; pass --token SECRET, start it in a terminal"),
        (["--token", ""], "--token is '', expected one character or more"),
        (["--max-request-age-s", "0"], "--max-request-age-s is 0.0, expected a number of seconds above 0"),
        (["--key", "my.key"], "--key requires --certificate"),
        (["--port", "70000"], "--port is 70000, expected 0 to 65535"),
    ],
)
def test_options_are_checked(
    words: list[str], message: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("WALDO_CONSOLE_TOKEN", raising=False)
    assert main(["operate", "set", *words]) == 2
    assert message in capsys.readouterr().err
