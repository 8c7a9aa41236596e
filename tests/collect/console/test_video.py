"""A camera's H.264 in the console: passed through to Chromium's decoder, and as JPEG to pages without one."""

from __future__ import annotations

import json
import struct
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import cv2
import numpy as np
import pytest
from selenium import webdriver
from selenium.webdriver.support.ui import WebDriverWait
from websockets.sync.client import ClientConnection, connect

from tests.collect.console.console_bench import Console, running
from tests.h264_camera import encode, gray
from waldo.collect.console.image_line import H264, H264_KEY, JPEG
from waldo.collect.console.view import ConsoleView
from waldo.datasets.recording.access_units import AccessUnits

GOP = 10
VALUES = [20 + 5 * (k % 40) for k in range(120)]
DATA = encode([gray(value) for value in VALUES], gop=GOP)
RECORD = """
window.decoded = 0; window.jpegs = 0; window.sent = [];
if (window.VideoDecoder) {
  window.VideoDecoder = class extends window.VideoDecoder {
    decode(chunk) { window.decoded += 1; super.decode(chunk); }
  };
}
const bitmap = window.createImageBitmap;
window.createImageBitmap = (...all) => { window.jpegs += 1; return bitmap(...all); };
const send = WebSocket.prototype.send;
WebSocket.prototype.send = function (data) { window.sent.push(String(data)); send.call(this, data); };
"""
"""Counts access units that are decoded and JPEGs, and keeps what the page sends."""
NO_DECODER = "delete window.VideoDecoder;"
FAILING_DECODER = """
window.VideoDecoder = class {
  static isConfigSupported() { return Promise.resolve({ supported: true }); }
  constructor({ error }) { this.error = error; this.state = "unconfigured"; }
  configure() { this.state = "configured"; }
  decode() { this.state = "closed"; setTimeout(() => this.error(new DOMException("no hardware", "EncodingError"))); }
  close() { this.state = "closed"; }
};
"""
PIXEL = "return [...document.querySelector('canvas').getContext('2d').getImageData(5, 5, 1, 1).data].slice(0, 3)"


@pytest.fixture
def console() -> Iterator[Console]:
    with running() as found:
        yield found


@contextmanager
def camera(view: ConsoleView, first: int = 0) -> Iterator[None]:
    """Publish access units while the block runs, from a place in the stream on, and then again from its start."""
    ended = threading.Event()

    def publish() -> None:
        units, number = AccessUnits(), first
        while not ended.wait(1 / 30):
            if number % GOP == 0 or number > first + GOP:
                unit = units.add(DATA[number % len(DATA)])
                assert unit is not None
                view.image("cameras/front", unit, time.time_ns())
            number += 1

    thread = threading.Thread(target=publish)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


@pytest.fixture
def opened(browser: webdriver.Chrome, console: Console) -> Iterator[Callable[..., webdriver.Chrome]]:
    """Return a function that opens the console's page with a script; afterwards, no error is allowed."""
    browser.get_log("browser")
    added: list[str] = []

    def open_page(*scripts: str) -> webdriver.Chrome:
        for script in (*scripts, RECORD):
            found = browser.execute_cdp_cmd("Page.addScriptToEvaluateOnNewDocument", {"source": script})
            added.append(found["identifier"])
        browser.get(console.url)
        return browser

    yield open_page
    for identity in added:
        browser.execute_cdp_cmd("Page.removeScriptToEvaluateOnNewDocument", {"identifier": identity})
    browser.get("about:blank")
    assert [entry["message"] for entry in browser.get_log("browser") if entry["level"] == "SEVERE"] == []


def wait(browser: webdriver.Chrome, condition: Callable[[], object]) -> None:
    WebDriverWait(browser, 60, poll_frequency=0.02).until(lambda _: condition())


def latency_is_shown(browser: webdriver.Chrome) -> bool:
    return bool(browser.execute_script("return /front \\d+ ms/.test(document.querySelector('figcaption')?.innerText)"))


def follows_the_stream(browser: webdriver.Chrome) -> None:
    """Wait until a canvas has shown several images of the stream."""
    shown: set[int] = set()

    def collected() -> bool:
        if browser.execute_script("return document.querySelector('canvas') === null"):
            return False
        red, green, blue = browser.execute_script(PIXEL)
        assert max(red, green, blue) - min(red, green, blue) < 6
        # Each image is one of the stream, not a mixture.
        assert min(abs(red - value) for value in set(VALUES)) <= 3
        shown.add(red)
        return len(shown) > 8

    wait(browser, collected)


def test_a_browser_with_a_decoder_is_passed_the_access_units(
    opened: Callable[..., webdriver.Chrome], console: Console
) -> None:
    with camera(console.view):
        page = opened()
        follows_the_stream(page)
        wait(page, lambda: latency_is_shown(page))
    assert page.execute_script("return window.decoded") > 8
    assert page.execute_script("return window.jpegs") == 0
    sent = [json.loads(one) for one in page.execute_script("return window.sent") if one.startswith("{")]
    assert {"kind": "decodes", "h264": True} in sent
    assert sum(one["kind"] == "shown" for one in sent) > 8


def test_a_browser_without_a_decoder_is_sent_jpegs(opened: Callable[..., webdriver.Chrome], console: Console) -> None:
    with camera(console.view):
        page = opened(NO_DECODER)
        follows_the_stream(page)
        wait(page, lambda: latency_is_shown(page))
    assert page.execute_script("return window.jpegs") > 8
    assert page.execute_script("return window.decoded") == 0


def test_a_decoder_that_fails_is_replaced_by_jpegs(opened: Callable[..., webdriver.Chrome], console: Console) -> None:
    with camera(console.view):
        page = opened(FAILING_DECODER)
        follows_the_stream(page)
    assert page.execute_script("return window.decoded") > 0
    assert page.execute_script("return window.jpegs") > 8


# What a page is sent, without a browser.


def connected(console: Console) -> ClientConnection:
    return connect(f"ws://127.0.0.1:{console.port}/session")


def parts(message: bytes) -> tuple[str, int, int, bytes]:
    """Return the camera, stamp [ns], format and data of an image."""
    (length,) = struct.unpack_from("<H", message)
    stamp_ns, form = struct.unpack_from("<qB", message, 2 + length)
    return message[2 : 2 + length].decode(), stamp_ns, form, message[11 + length :]


def images(page: ClientConnection, count: int) -> list[tuple[str, int, int, bytes]]:
    found, deadline = [], time.monotonic() + 60
    while len(found) < count:
        assert time.monotonic() < deadline
        if isinstance(message := page.recv(60), bytes):
            found.append(parts(message))
    return found


def decodes(page: ClientConnection, h264: Any) -> None:
    page.send(json.dumps({"kind": "decodes", "h264": h264}))


def shown(page: ClientConnection, stamp: Any, camera: str = "front") -> None:
    page.send(json.dumps({"kind": "shown", "camera": camera, "stamp_ns": stamp}))


def states(page: ClientConnection, count: int) -> list[dict[str, Any]]:
    """Return some states; images are not expected before them."""
    found = []
    while len(found) < count:
        message = page.recv(60)
        assert isinstance(message, str), "an image"
        found.append(json.loads(message))
    return found


def test_a_page_is_sent_the_access_units_unchanged_from_a_key_frame_on(console: Console) -> None:
    units, view = AccessUnits(), console.view
    shots = [unit for data in DATA[:35] if (unit := units.add(data)) is not None]

    def publish(first: int, last: int) -> None:
        for number in range(first, last):
            view.image("cameras/front", shots[number], 1000 + number)

    with connected(console) as page:
        decodes(page, True)
        publish(5, 10)  # the page has missed the key frame of these
        states(page, 3)
        publish(10, 11)
        found = images(page, 1)
        publish(11, 35)
        found += images(page, 24)
    assert [stamp - 1000 for _, stamp, _, _ in found] == list(range(10, 35))
    for name, stamp, form, data in found:
        assert name == "front"
        assert form == (H264_KEY if (stamp - 1000) % GOP == 0 else H264)
        assert data == DATA[stamp - 1000]


def test_a_page_that_states_nothing_is_sent_no_h264(console: Console) -> None:
    with connected(console) as page, camera(console.view):
        states(page, 3)
        decodes(page, False)
        ((_, _, form, data),) = images(page, 1)
    assert form == JPEG
    pixels = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
    assert pixels is not None
    assert min(abs(float(pixels.mean()) - value) for value in VALUES) < 3


def test_a_page_without_acknowledgments_is_sent_no_more_until_it_catches_up(console: Console) -> None:
    with connected(console) as page, camera(console.view):
        decodes(page, True)
        found = images(page, 5)
        stalled = time.monotonic()
        while time.monotonic() - stalled < 2:
            try:
                message = page.recv(0.5)
            except TimeoutError:
                continue
            if isinstance(message, bytes):
                found.append(parts(message))
        page.send("{}")
        states(page, 3)
        assert len(found) < 2 * 30
        # Everything is confirmed: it continues with a key frame.
        shown(page, str(found[-1][1]))
        after = images(page, 3)
        assert [form for _, _, form, _ in after] == [H264_KEY, H264, H264]


@pytest.mark.parametrize("stamp", [None, 5, 1e300, "", "-1", "x", "9" * 40, "²", {}, True])
def test_acknowledgments_that_are_none_change_nothing(console: Console, stamp: Any) -> None:
    with connected(console) as page, camera(console.view):
        decodes(page, True)
        images(page, 1)
        shown(page, stamp)
        shown(page, "5", camera="no camera")
        found = images(page, 3)
        shown(page, str(found[-1][1]))
        deadline, latency_s = time.monotonic() + 60, {}
        while not latency_s:
            assert time.monotonic() < deadline
            if isinstance(message := page.recv(60), str):
                latency_s = json.loads(message)["latency_s"]
        assert latency_s["front"] > 0
