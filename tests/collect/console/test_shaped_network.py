"""The console over networks with long round trips and loss: images, stops, late requests, and the audit log."""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace

import cv2
import numpy as np
import pytest
from selenium import webdriver
from selenium.webdriver.support.ui import WebDriverWait

from tests.collect.console.console_bench import requests
from tests.collect.console.network_bench import Station, station
from tests.shaped_browser import log_in, shaped_browser
from tests.shaped_network import SERVER, Link, ShapedNetwork
from waldo.collect.console.view import STOP, ConsoleView

ROUND_TRIPS_S = (0.015, 0.12, 0.16)
"""Wi-Fi, and links to other continents [s]."""
SATURATED = {"rate_bytes_s": 250_000.0, "queue_bytes": 64_000}
"""A rate that is a fraction of what the cameras deliver."""
CAMERAS = ("front", "wrist", "side")
FPS = 30
TOKEN = "s3cret"


@dataclass
class Desk:
    """A console's page behind a shaped network."""

    found: Station
    browser: webdriver.Chrome
    network: ShapedNetwork
    link: Link

    def wait(self, condition: Callable[[], object]) -> None:
        WebDriverWait(self.browser, 60, poll_frequency=0.02).until(lambda _: condition())

    def text(self, identity: str) -> str:
        return str(
            self.browser.execute_script("return document.getElementById(arguments[0])?.innerText ?? ''", identity)
        )

    def press(self, key: str) -> None:
        """Press a key of the page."""
        script = "document.dispatchEvent(new KeyboardEvent('keydown', { key: arguments[0] }))"
        self.browser.execute_script(script, key)

    def latencies_s(self) -> list[float]:
        """Return the latencies that the page states [s]."""
        captions = self.browser.execute_script(
            "return [...document.querySelectorAll('figcaption')].map((one) => one.innerText)"
        )
        return [int(found[1]) / 1000 for one in captions if (found := re.search(r"(\d+) ms$", one))]


@pytest.fixture(scope="module", params=ROUND_TRIPS_S, ids=lambda s: f"{1000 * s:.0f}ms")
def desk(
    request: pytest.FixtureRequest,
    shape_network: Callable[[Link], ShapedNetwork],
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Desk]:
    folder = tmp_path_factory.mktemp("desk")
    link = Link(round_trip_s=request.param, loss=0.01)
    network = shape_network(link)
    with (
        station(folder, token=TOKEN, names=(SERVER,), listening=network.listen()) as found,
        shaped_browser(network, folder) as browser,
    ):
        desk = Desk(found, browser, network, link)
        log_in(browser, found.url, TOKEN, "console")
        desk.wait(lambda: desk.text("word") == "FOLLOWING")
        yield desk


def noise(size: tuple[int, int]) -> bytes:
    """Return a JPEG that does not compress well."""
    rng = np.random.default_rng(0)
    return cv2.imencode(".jpg", rng.integers(0, 255, (*size, 3)).astype(np.uint8))[1].tobytes()


@contextmanager
def cameras(view: ConsoleView, image: bytes) -> Iterator[None]:
    """Publish images of all cameras while the block runs."""
    ended = threading.Event()

    def publish() -> None:
        while not ended.wait(1 / FPS):
            for camera in CAMERAS:
                view.image(f"cameras/{camera}", image, time.time_ns())

    thread = threading.Thread(target=publish)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


def test_states_and_images_arrive_with_a_latency_of_the_round_trip(desk: Desk) -> None:
    with cameras(desk.found.console.view, noise((48, 64))):
        desk.wait(lambda: len(desk.latencies_s()) == len(CAMERAS))
        stated = [one for _ in range(20) for one in desk.latencies_s()]
    # An image and its acknowledgment take a round trip; a third one may be that of a lost packet.
    assert min(stated) >= desk.link.round_trip_s - 0.001
    assert np.median(stated) < 3 * desk.link.round_trip_s + 0.4


def test_images_are_dropped_rather_than_queued_on_a_slow_link(desk: Desk) -> None:
    image = noise((120, 160))
    view = desk.found.console.view
    published_before = sum(one.number for one in view.images())
    desk.browser.execute_script(
        "window.drawn = 0; const draw = CanvasRenderingContext2D.prototype.drawImage;"
        "CanvasRenderingContext2D.prototype.drawImage = function (...all) { window.drawn += 1; draw.apply(this, all); }"
    )
    desk.network.shape(replace(desk.link, **SATURATED))
    with cameras(view, image):
        deadline = time.monotonic() + 6
        stated = []
        while time.monotonic() < deadline:
            stated += desk.latencies_s()
            time.sleep(0.1)
    desk.network.shape(desk.link)
    published = sum(one.number for one in view.images()) - published_before
    drawn = desk.browser.execute_script("return window.drawn")
    # Queued images would take as long as the link needs for all of them.
    assert published * len(image) / SATURATED["rate_bytes_s"] > 20
    assert 0 < drawn < published / 2
    # One image of each camera is on its way at a time.
    in_flight_s = len(CAMERAS) * len(image) / SATURATED["rate_bytes_s"]
    assert max(stated) < 4 * (in_flight_s + desk.link.round_trip_s) + 1


def test_a_stop_arrives_while_images_saturate_the_link(desk: Desk) -> None:
    desk.network.shape(replace(desk.link, **SATURATED))
    view = desk.found.console.view
    with cameras(view, noise((120, 160))):
        desk.wait(lambda: len(desk.latencies_s()) == len(CAMERAS))
        for _ in range(5):
            desk.press(" ")
            assert requests(desk.found.console, 1) == [STOP]
            # A stop that is not confirmed in time is sent over further connections.
            time.sleep(1)
            view.take_requests()
    desk.network.shape(desk.link)


def test_a_late_request_is_dropped_and_a_later_one_succeeds(desk: Desk) -> None:
    desk.wait(lambda: desk.text("role").startswith("You operate"))
    desk.network.shape(replace(desk.link, round_trip_s=3.0, loss=0))
    desk.press("Enter")
    time.sleep(1.6)
    desk.network.shape(desk.link)
    desk.wait(
        lambda: re.search(r"start arrived [1-9]\.\d s late and was dropped; press it again", desk.text("notices"))
    )
    assert "start" not in desk.found.console.view.take_requests()
    # Once the delayed states have arrived, the page is on time again.
    desk.press("Enter")
    assert requests(desk.found.console, 1) == ["start"]


def test_requests_arrive_once_and_in_order_and_are_logged(desk: Desk) -> None:
    desk.network.shape(replace(desk.link, loss=0.05))
    view, age_s = desk.found.console.view, desk.found.console.view.max_request_age_s
    view.max_request_age_s = 60.0  # a busy machine is late, too
    before = len(desk.found.log())
    keys = {"Enter": "start", "m": "mark", "1": "save", "z": "undo", "t": "next_task"}
    for key in list(keys) * 3:
        desk.press(key)
        time.sleep(0.03)
    assert requests(desk.found.console, 15) == list(keys.values()) * 3
    view.max_request_age_s = age_s
    desk.network.shape(desk.link)
    logged = desk.found.log()[before:]
    assert [entry["request"] for entry in logged] == list(keys.values()) * 3
    assert {entry["event"] for entry in logged} == {"request"}
    assert {entry["address"] for entry in logged} == {"10.77.0.2"}
