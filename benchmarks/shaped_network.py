"""Console and headset over networks with long round trips and 1 % loss, in headless Chromium.

Usage: uv run python benchmarks/shaped_network.py [--round-trips-ms 15 120 160] [--stops 100] [--seconds 60]

Two network namespaces are connected by a process that delays and drops packets; see tests/shaped_network.py. Per link:

- camera to page: from the stamp of an image to the moment when the console's page has drawn it, three cameras of
  320x240 pixels at 30 Hz; it contains JPEG's decoding, but neither exposure nor display.
- stop: from the key to the recorder, while these cameras are shown.
- pose age: age of the newest pose of an emulated headset, which two cameras are shown to, in each cycle of 60 Hz.
- locked: fraction of the cycles in which this age, or that of the images, is above its limit; and how often it gets
  there. In use each of these locks lasts until the operator squeezes again.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib
import os
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import cv2
import numpy as np
from workload import print_table

from waldo.collect.devices.headset import Headset
from waldo.collect.retargeting.tracking_checks import sample_fault
from waldo.robots.description import load_robot

ROOT = Path(__file__).parents[1]
TOKEN = "benchmark"
LOSS = 0.01
"""Part of the packets that is lost."""
DT_S = 1 / 60
"""Duration of a cycle [s]."""
FPS = 30
"""Rate of the cameras [Hz]."""
DRAWN = """
window.latencies = [];
const send = WebSocket.prototype.send;
WebSocket.prototype.send = function (data) {
  if (typeof data === "string" && data.includes('"shown"')) {
    window.latencies.push(Date.now() - Number(BigInt(JSON.parse(data).stamp_ns) / 1000000n));
  }
  send.call(this, data);
};
"""
"""Notes the latency [ms] of each image that the page acknowledges."""
STOP = "document.dispatchEvent(new KeyboardEvent('keydown', { key: ' ' })); return Date.now()"
"""Presses the key of the stop, and returns when [ms since the epoch]."""
LIMITS = {"defaults": (2 * DT_S, 0.5), "0.5 s, 1 s": (0.5, 1.0)}
"""Name -> largest age of a pose and of an image [s]."""


def load(name: str) -> Any:
    """Return a module of the tests, whose folder is no package."""
    if "tests" not in sys.modules:
        sys.modules["tests"] = package = ModuleType("tests")
        package.__path__ = [str(ROOT / "tests")]
    return importlib.import_module(f"tests.{name}")


@contextlib.contextmanager
def cameras(show: Callable[[str, bytes, int], object], names: tuple[str, ...]) -> Iterator[None]:
    """Publish images while the block runs."""
    noise = np.random.default_rng(0).integers(0, 60, (30, 40, 3)).astype(np.uint8)
    image = cv2.imencode(".jpg", cv2.resize(noise, (320, 240), interpolation=cv2.INTER_CUBIC))[1].tobytes()
    ended = threading.Event()

    def publish() -> None:
        while not ended.wait(1 / FPS):
            for name in names:
                show(f"cameras/{name}", image, time.time_ns())

    thread = threading.Thread(target=publish)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


def measure_console(network: Any, folder: Path, stops: int) -> tuple[list[float], list[float]]:
    """Return the latencies of images and of stops [ms]."""
    server, browsers = load("shaped_network").SERVER, load("shaped_browser")
    station = load("collect.console.network_bench").station
    with (
        station(folder, token=TOKEN, names=(server,), listening=network.listen()) as found,
        browsers.shaped_browser(network, folder) as browser,
        cameras(found.console.view.image, ("front", "wrist", "side")),
    ):
        browser.execute_cdp_cmd("Page.addScriptToEvaluateOnNewDocument", {"source": DRAWN})
        browsers.log_in(browser, found.url, TOKEN, "console")
        time.sleep(5)
        late_ms = []
        for _ in range(stops):
            # A stop whose confirmation is late is sent again over other connections.
            time.sleep(0.7)
            found.console.view.take_requests()
            pressed_ms = browser.execute_script(STOP)
            while not found.console.view.take_requests():
                time.sleep(0.0005)
            late_ms.append(time.time() * 1000 - pressed_ms)
        return browser.execute_script("return window.latencies"), late_ms


def measure_headset(network: Any, folder: Path, seconds: float) -> list[tuple[Any, int]]:
    """Return the newest sample in each cycle, and when the cycle was [ns]."""
    server, browsers = load("shaped_network").SERVER, load("shaped_browser")
    emulated = load("collect.headset.emulated_headset")
    os.environ["XDG_DATA_HOME"] = str(folder)
    web: Any = importlib.import_module("waldo.collect.headset.server")
    web.listen = lambda host, port: network.listen()
    device = Headset(load_robot("so101"), host=server, server_name=server, token=TOKEN)
    source: Any = device._source
    device.open()
    try:
        with browsers.shaped_browser(network, folder) as browser, cameras(device.image, ("front", "wrist")):
            browser.execute_cdp_cmd("Page.addScriptToEvaluateOnNewDocument", {"source": emulated.emulation()})
            browsers.log_in(browser, source.url, TOKEN, "headset")
            headset = emulated.EmulatedHeadset(browser)
            headset.start()
            headset.wait(lambda: (newest := source.latest()) is not None and len(newest.hands) == 2)
            time.sleep(3)
            samples, start = [], time.monotonic()
            while (elapsed_s := time.monotonic() - start) < seconds:
                samples.append((source.latest(), time.time_ns()))
                time.sleep(DT_S - elapsed_s % DT_S)
            return samples
    finally:
        device.close()


def locked(samples: list[tuple[Any, int]], pose_s: float, video_s: float) -> tuple[float, int]:
    """Return the fraction of the cycles in which a pose or image is too old, and how often that starts."""
    old = np.array([bool(sample_fault(one, now, max_age_s=pose_s, max_video_age_s=video_s)) for one, now in samples])
    return float(old.mean()), int((old[1:] & ~old[:-1]).sum())


def quantiles(values: Any) -> str:
    """Return median and 99th percentile."""
    return f"{np.median(values):.0f} / {np.quantile(values, 0.99):.0f}"


def measure(round_trip_ms: float, stops: int, seconds: float) -> list[str]:
    """Return the row of a link."""
    shaped = load("shaped_network")
    link = shaped.Link(round_trip_s=round_trip_ms / 1000, loss=LOSS)
    with tempfile.TemporaryDirectory() as name, shaped.shaped_network(link) as network:
        folder = Path(name)
        images_ms, stops_ms = measure_console(network, folder, stops)
        samples = measure_headset(network, folder, seconds)
    poses_ms = [(now - one.stamp_ns) / 1e6 for one, now in samples]
    videos_ms = [1000 * one.video_age_s for one, _ in samples]
    row = [f"{round_trip_ms:.0f} ms", *map(quantiles, (images_ms, stops_ms, poses_ms, videos_ms))]
    for limits in LIMITS.values():
        fraction, times = locked(samples, *limits)
        row.append(f"{100 * fraction:.1f} %, {60 * times / seconds:.0f}/min")
    return row


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0] if __doc__ else "")
    parser.add_argument("--round-trips-ms", type=float, nargs="+", default=[15.0, 120.0, 160.0])
    parser.add_argument("--stops", type=int, default=100)
    parser.add_argument("--seconds", type=float, default=60.0)
    arguments = parser.parse_args()
    rows = [measure(one, arguments.stops, arguments.seconds) for one in arguments.round_trips_ms]
    ages = ["camera to page", "stop", "pose age", "image age"]
    columns = ["round trip, 1 % loss", *(f"{one} p50 / p99 ms" for one in ages), *(f"locked, {one}" for one in LIMITS)]
    print_table("Console and headset over shaped networks", columns, rows)


if __name__ == "__main__":
    main()
