import re
import shutil
import threading
import time
import urllib.request
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.machine import needs_browser
from waldo.cli.main import main
from waldo.datasets.dataset import Dataset
from waldo.datasets.quality import clock_code
from waldo.datasets.quality.latency import LatencyError, fit_clock, measure_clock, measure_motion
from waldo.datasets.streams import DepthStream, Field, ScalarStream, VideoStream
from waldo.datasets.view.clock_page import clock_page, clock_server

START_NS = 1_700_000_000_000_000_000
MS = 1_000_000
WIDTH, HEIGHT = 320, 240
CORNERS = np.array([(30, 40), (300, 20), (310, 190), (20, 170)], np.float32)
"""Corners of the board in the image, seen from the side and rotated [px]."""


def screen(at_ns: int, period_ns: int = 16_666_667) -> int:
    """Return the time that a 60 Hz display shows at a time: the middle of its refresh period [ns]."""
    return at_ns // period_ns * period_ns + period_ns // 2


def filmed(at_ns: int, exposure_ns: int, rng: np.random.Generator, gain: float = 0.6) -> np.ndarray:
    """Return the image of an exposure centered at a time: blended, slanted, blurred, dim and noisy."""
    times = [at_ns + round(exposure_ns * part) for part in np.linspace(-0.5, 0.5, 8)]
    board = np.mean([clock_code.draw(screen(time_ns), 12) for time_ns in times], axis=0)
    height, width = board.shape
    square = np.array([(0, 0), (width, 0), (width, height), (0, height)], np.float32)
    slant = cv2.getPerspectiveTransform(square, CORNERS)
    gray = cv2.warpPerspective(board, slant, (WIDTH, HEIGHT), borderValue=90)
    gray = cv2.GaussianBlur(gray, (0, 0), 0.8) * gain * np.linspace(0.8, 1.1, WIDTH) + 20
    gray += rng.normal(0, 5, gray.shape)
    return np.repeat(np.clip(gray, 0, 255).astype(np.uint8)[:, :, None], 3, axis=2)


def record_clock(folder: Path, latency_ns: int, *, exposure_ns: int, codec: str = "h264", frames: int = 90) -> Dataset:
    """Record the clock with a camera that stamps its frames late by `latency_ns`, with some jitter."""
    rng = np.random.default_rng(1)
    dataset = Dataset.create(folder, robot="tiny")
    stream = VideoStream(name="cameras/front", width=WIDTH, height=HEIGHT, rate_hz=30.0, codec=codec)
    with dataset.lock(), dataset.begin([stream], {}, back_pressure="wait") as writer:
        for number in range(frames):
            exposed = START_NS + round(number * 1e9 / 29.9)
            stamp = exposed + latency_ns + round(rng.normal(0, 1e6))
            image = filmed(exposed, exposure_ns, rng)
            writer.frame("cameras/front", header_ns=stamp, receipt_ns=stamp, sequence=number + 1, image=image)
        writer.save("success")
    return dataset


@given(st.integers(0, 2**62), st.integers(-300_000, 300_000))
def test_the_clock_is_read_after_any_wraparound(epoch_ns: int, off_ms: int) -> None:
    rgb = np.repeat(clock_code.draw(epoch_ns, 12)[:, :, None], 3, axis=2)
    shown = clock_code.read(rgb, epoch_ns + off_ms * MS)
    assert shown is not None
    assert abs(shown - epoch_ns) <= clock_code.TICK_NS // 2


@given(st.integers(0, 2**16 - 1))
def test_one_cell_changes_per_tick(value: int) -> None:
    assert clock_code.ungray(clock_code.gray(value)) == value
    following = clock_code.gray((value + 1) % 2**16)
    assert (clock_code.gray(value) ^ following).bit_count() == 1


@pytest.mark.parametrize(
    ("latency_ms", "exposure_ms", "codec"), [(33.0, 5, "h264"), (80.0, 25, "jpeg"), (-12.0, 12, "h264")]
)
def test_a_known_latency_is_found(tmp_path, latency_ms, exposure_ms, codec) -> None:
    dataset = record_clock(tmp_path / "d", round(latency_ms * MS), exposure_ns=exposure_ms * MS, codec=codec)
    found = measure_clock(dataset.episodes[0], "cameras/front")
    assert found.latency_ns / MS == pytest.approx(latency_ms, abs=3)
    assert found.used > 60
    assert found.spread_ns < 12 * MS
    corrected = measure_clock(dataset.episodes[0], "cameras/front", display_ns=20 * MS)
    assert corrected.latency_ns == found.latency_ns - 20 * MS


def test_frames_without_a_clock_are_refused(episode) -> None:
    with pytest.raises(
        LatencyError, match="the clock is readable in 0 of 30 frames, expected 20 or more; film the whole"
    ):
        measure_clock(episode, "cameras/front")


def test_inconsistent_readings_are_refused() -> None:
    rng = np.random.default_rng(0)
    with pytest.raises(LatencyError, match=r"100 readings spread by .*; make sure that all stamps are of one clock"):
        fit_clock("cameras/front", rng.integers(0, 500 * MS, 100), 100, 0)


def test_a_few_outliers_are_ignored() -> None:
    rng = np.random.default_rng(0)
    differences = (40 * MS + rng.uniform(-8 * MS, 8 * MS, 100)).astype(np.int64)
    differences[:15] += 2_000 * MS
    found = fit_clock("cameras/front", differences, 100, 0)
    assert found.latency_ns / MS == pytest.approx(40, abs=2)
    assert found.used == 85


def record_motion(folder: Path, latency_ns: int, *, still: bool = False, uniform: bool = False) -> Dataset:
    """Record an arm that starts and stops in view of a camera that stamps its frames late."""
    rng = np.random.default_rng(2)
    dataset = Dataset.create(folder, robot="tiny")
    streams = (
        ScalarStream(name="joints/state", rate_hz=200.0, fields=(Field("position", "rad", ("hip", "knee")),)),
        VideoStream(name="cameras/front", width=160, height=120, rate_hz=30.0),
    )
    speed = np.abs(np.repeat(rng.normal(0, 1, 60), 40)) * (np.repeat(rng.random(60), 40) > 0.4)
    speed = np.ones(2400) if uniform else np.convolve(speed, np.ones(10) / 10, "same")
    angle = np.cumsum(speed) / 200
    scene = cv2.GaussianBlur(rng.integers(0, 256, (240, 160)).astype(np.float32), (0, 0), 3)
    scene = np.clip((scene - 128) * 6 + 128, 0, 255)
    with dataset.lock(), dataset.begin(streams, {}, back_pressure="wait") as writer:
        for row, q in enumerate(angle):
            at = START_NS + row * 5 * MS
            kw = {"header_ns": at, "receipt_ns": at, "sequence": row + 1}
            writer.row("joints/state", values={"position": [0.0 if still else q, 0.0]}, **kw)
        for number in range(355):
            exposed = round(number * 1e9 / 30)
            moved = 25 * np.interp(exposed, np.arange(2400) * 5e6, angle)
            shift = np.float32([[1, 0, 0], [0, 1, -(moved % 120)]])
            seen = cv2.warpAffine(scene, shift, (160, 240), borderMode=cv2.BORDER_WRAP)[:120]
            seen = np.clip(seen + rng.normal(0, 4, seen.shape), 0, 255).astype(np.uint8)
            stamp = START_NS + exposed + latency_ns
            image = np.repeat(seen[:, :, None], 3, axis=2)
            writer.frame("cameras/front", header_ns=stamp, receipt_ns=stamp, sequence=number + 1, image=image)
        writer.save("success")
    return dataset


@pytest.mark.parametrize("latency_ms", [0, 60, 210])
def test_the_latency_is_measured_from_motion(tmp_path, latency_ms) -> None:
    dataset = record_motion(tmp_path / "d", latency_ms * MS)
    found = measure_motion(dataset.episodes[0], "cameras/front")
    assert found.latency_ns / MS == pytest.approx(latency_ms, abs=10)


@pytest.mark.parametrize(
    ("kind", "text"),
    [({"still": True}, "moved 0.000 rad; move the robot"), ({"uniform": True}, "correlation of image|too uniform")],
)
def test_uninformative_motion_is_refused(tmp_path, kind, text) -> None:
    dataset = record_motion(tmp_path / "d", 50 * MS, **kind)
    with pytest.raises(LatencyError, match=text):
        measure_motion(dataset.episodes[0], "cameras/front")


def test_depth_and_empty_cameras_are_refused(locked) -> None:
    streams = [
        DepthStream(name="depth/front", width=16, height=16, rate_hz=30.0),
        VideoStream(name="cameras/front", width=16, height=16, rate_hz=30.0),
    ]
    with locked.begin(streams, {}) as writer:
        writer.save("success")
    with pytest.raises(LatencyError, match="it records depth; measure the color camera"):
        measure_clock(locked.episodes[0], "depth/front")
    with pytest.raises(LatencyError, match="it has no frames"):
        measure_clock(locked.episodes[0], "cameras/front")


def test_the_command_stores_the_latency(tmp_path, capsys) -> None:
    dataset = record_clock(tmp_path / "d", 45 * MS, exposure_ns=8 * MS, frames=40)
    assert main(["latency", "measure", str(dataset.path), "--set"]) == 0
    printed = capsys.readouterr().out
    assert re.match(r"cameras/front: 4\d\.\d ms latency \(exposure to timestamp\)", printed)
    assert dataset.latency_ns["cameras/front"] / MS == pytest.approx(45, abs=4)
    episode = dataset.episodes[0]
    exposed = episode.time_ns("cameras/front") - dataset.latency_ns["cameras/front"]
    np.testing.assert_array_equal(episode.capture_ns("cameras/front"), exposed)


def test_the_command_fails_without_a_clock(record, script, capsys) -> None:
    dataset = record(script())
    assert main(["latency", "measure", str(dataset.path), "--cameras", "cameras/front", "--set"]) == 1
    assert "cannot measure the latency of cameras/front" in capsys.readouterr().out
    assert not dataset.latency_ns


def test_the_clock_is_served_to_this_machine_only() -> None:
    with clock_server(0) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            assert server.server_address[0] == "127.0.0.1"
            with urllib.request.urlopen(f"http://127.0.0.1:{server.server_port}/") as answer:
                assert answer.read().decode() == clock_page()
        finally:
            server.shutdown()
            thread.join()


@needs_browser
def test_a_browser_shows_the_clock(tmp_path) -> None:
    from selenium import webdriver
    from selenium.webdriver.chrome.service import Service

    binary = shutil.which("chromium") or shutil.which("google-chrome")
    driver = shutil.which("chromedriver")
    assert main(["latency", "clock", "--html", str(tmp_path / "clock.html")]) == 0
    options = webdriver.ChromeOptions()
    options.binary_location = binary
    for option in ("--headless=new", "--no-sandbox", "--disable-dev-shm-usage", "--disable-gpu"):
        options.add_argument(option)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    browser = webdriver.Chrome(options=options, service=Service(driver))
    try:
        browser.get((tmp_path / "clock.html").as_uri())
        shown = None
        while shown is None:
            before = time.time_ns()
            image = cv2.imdecode(np.frombuffer(browser.get_screenshot_as_png(), np.uint8), cv2.IMREAD_COLOR)
            shown = clock_code.read(np.ascontiguousarray(image[:, :, ::-1]), before)
        # Between requesting and receiving the screenshot, plus one refresh period of the display.
        assert before - 1000 * MS < shown < time.time_ns() + 1000 * MS
        assert browser.get_log("browser") == []
    finally:
        browser.quit()
