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
"""Where the board's corners are in the picture: seen from the side, turned."""


def screen(at_ns: int, period_ns: int = 16_666_667) -> int:
    """Return what a display of 60 Hz shows at an instant: the middle of the period in which it stands [ns]."""
    return at_ns // period_ns * period_ns + period_ns // 2


def filmed(at_ns: int, exposure_ns: int, rng: np.random.Generator, gain: float = 0.6) -> np.ndarray:
    """Return what a camera sees whose exposure's middle is at an instant: blended, slanted, blurred, dim, noisy."""
    times = [at_ns + round(exposure_ns * part) for part in np.linspace(-0.5, 0.5, 8)]
    board = np.mean([clock_code.draw(screen(when), 12) for when in times], axis=0)
    height, width = board.shape
    square = np.array([(0, 0), (width, 0), (width, height), (0, height)], np.float32)
    slant = cv2.getPerspectiveTransform(square, CORNERS)
    grey = cv2.warpPerspective(board, slant, (WIDTH, HEIGHT), borderValue=90)
    grey = cv2.GaussianBlur(grey, (0, 0), 0.8) * gain * np.linspace(0.8, 1.1, WIDTH) + 20
    grey += rng.normal(0, 5, grey.shape)
    return np.repeat(np.clip(grey, 0, 255).astype(np.uint8)[:, :, None], 3, axis=2)


def record_clock(folder: Path, latency_ns: int, *, exposure_ns: int, codec: str = "h264", frames: int = 90) -> Dataset:
    """Record the clock with a camera whose stamps come late by `latency_ns`, with some jitter."""
    rng = np.random.default_rng(1)
    dataset = Dataset.create(folder, robot="tiny")
    stream = VideoStream(name="cameras/front", width=WIDTH, height=HEIGHT, rate_hz=30.0, codec=codec)
    with dataset.lock(), dataset.begin([stream], {}, back_pressure="wait") as writer:
        for number in range(frames):
            light = START_NS + round(number * 1e9 / 29.9)
            stamp = light + latency_ns + round(rng.normal(0, 1e6))
            image = filmed(light, exposure_ns, rng)
            writer.frame("cameras/front", header_ns=stamp, receipt_ns=stamp, sequence=number + 1, image=image)
        writer.save("success")
    return dataset


@given(st.integers(0, 2**62), st.integers(-300_000, 300_000))
def test_the_clock_is_read_back_in_any_round(epoch_ns: int, off_ms: int) -> None:
    rgb = np.repeat(clock_code.draw(epoch_ns, 12)[:, :, None], 3, axis=2)
    shown = clock_code.read(rgb, epoch_ns + off_ms * MS)
    assert shown is not None
    assert abs(shown - epoch_ns) <= clock_code.TICK_NS // 2


@given(st.integers(0, 2**16 - 1))
def test_one_cell_changes_from_a_value_to_the_next(value: int) -> None:
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
    less = measure_clock(dataset.episodes[0], "cameras/front", display_ns=20 * MS)
    assert less.latency_ns == found.latency_ns - 20 * MS


def test_pictures_without_a_clock_are_refused(episode) -> None:
    with pytest.raises(
        LatencyError, match="the clock was read in 0 of 30 pictures, expected 20 or more; film the whole"
    ):
        measure_clock(episode, "cameras/front")


def test_contradicting_readings_are_refused() -> None:
    rng = np.random.default_rng(0)
    with pytest.raises(LatencyError, match=r"100 readings spread by .* see that the camera's stamps"):
        fit_clock("cameras/front", rng.integers(0, 500 * MS, 100), 100, 0)


def test_a_few_wrong_readings_do_no_harm() -> None:
    rng = np.random.default_rng(0)
    differences = (40 * MS + rng.uniform(-8 * MS, 8 * MS, 100)).astype(np.int64)
    differences[:15] += 2_000 * MS
    found = fit_clock("cameras/front", differences, 100, 0)
    assert found.latency_ns / MS == pytest.approx(40, abs=2)
    assert found.used == 85


def record_motion(folder: Path, latency_ns: int, *, still: bool = False, even: bool = False) -> Dataset:
    """Record an arm that starts and stops before a camera whose stamps come late."""
    rng = np.random.default_rng(2)
    dataset = Dataset.create(folder, robot="tiny")
    streams = (
        ScalarStream(name="joints/state", rate_hz=200.0, fields=(Field("position", "rad", ("hip", "knee")),)),
        VideoStream(name="cameras/front", width=160, height=120, rate_hz=30.0),
    )
    speed = np.abs(np.repeat(rng.normal(0, 1, 60), 40)) * (np.repeat(rng.random(60), 40) > 0.4)
    speed = np.ones(2400) if even else np.convolve(speed, np.ones(10) / 10, "same")
    angle = np.cumsum(speed) / 200
    scene = cv2.GaussianBlur(rng.integers(0, 256, (240, 160)).astype(np.float32), (0, 0), 3)
    scene = np.clip((scene - 128) * 6 + 128, 0, 255)
    with dataset.lock(), dataset.begin(streams, {}, back_pressure="wait") as writer:
        for row, q in enumerate(angle):
            at = START_NS + row * 5 * MS
            kw = {"header_ns": at, "receipt_ns": at, "sequence": row + 1}
            writer.row("joints/state", values={"position": [0.0 if still else q, 0.0]}, **kw)
        for number in range(355):
            light = round(number * 1e9 / 30)
            moved = 25 * np.interp(light, np.arange(2400) * 5e6, angle)
            shift = np.float32([[1, 0, 0], [0, 1, -(moved % 120)]])
            seen = cv2.warpAffine(scene, shift, (160, 240), borderMode=cv2.BORDER_WRAP)[:120]
            seen = np.clip(seen + rng.normal(0, 4, seen.shape), 0, 255).astype(np.uint8)
            stamp = START_NS + light + latency_ns
            image = np.repeat(seen[:, :, None], 3, axis=2)
            writer.frame("cameras/front", header_ns=stamp, receipt_ns=stamp, sequence=number + 1, image=image)
        writer.save("success")
    return dataset


@pytest.mark.parametrize("latency_ms", [0, 60, 210])
def test_motion_tells_a_latency(tmp_path, latency_ms) -> None:
    dataset = record_motion(tmp_path / "d", latency_ms * MS)
    found = measure_motion(dataset.episodes[0], "cameras/front")
    assert found.latency_ns / MS == pytest.approx(latency_ms, abs=10)


@pytest.mark.parametrize(
    ("how", "told"), [({"still": True}, "moved 0.000 rad; move the robot"), ({"even": True}, "go together by|too even")]
)
def test_motion_that_tells_nothing_is_refused(tmp_path, how, told) -> None:
    dataset = record_motion(tmp_path / "d", 50 * MS, **how)
    with pytest.raises(LatencyError, match=told):
        measure_motion(dataset.episodes[0], "cameras/front")


def test_depth_and_empty_cameras_are_refused(locked) -> None:
    streams = [
        DepthStream(name="depth/front", width=16, height=16, rate_hz=30.0),
        VideoStream(name="cameras/front", width=16, height=16, rate_hz=30.0),
    ]
    with locked.begin(streams, {}) as writer:
        writer.save("success")
    with pytest.raises(LatencyError, match="it has depth images, no colours; measure the colour camera"):
        measure_clock(locked.episodes[0], "depth/front")
    with pytest.raises(LatencyError, match="it has no frames"):
        measure_clock(locked.episodes[0], "cameras/front")


def test_the_command_keeps_what_it_measured(tmp_path, capsys) -> None:
    dataset = record_clock(tmp_path / "d", 45 * MS, exposure_ns=8 * MS, frames=40)
    assert main(["latency", "measure", str(dataset.path), "--set"]) == 0
    told = capsys.readouterr().out
    assert told.startswith("cameras/front: 4")
    assert dataset.latency_ns["cameras/front"] / MS == pytest.approx(45, abs=4)
    episode = dataset.episodes[0]
    light = episode.time_ns("cameras/front") - dataset.latency_ns["cameras/front"]
    np.testing.assert_array_equal(episode.capture_ns("cameras/front"), light)


def test_the_command_fails_where_nothing_is_told(record, script, capsys) -> None:
    dataset = record(script())
    assert main(["latency", "measure", str(dataset.path), "--cameras", "cameras/front", "--set"]) == 1
    assert "the latency of cameras/front cannot be told" in capsys.readouterr().out
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


def test_a_browser_shows_the_clock(tmp_path) -> None:
    webdriver = pytest.importorskip("selenium.webdriver", reason="selenium is not installed")
    from selenium.webdriver.chrome.service import Service

    binary = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    driver = shutil.which("chromedriver")
    if not (binary and driver):
        pytest.skip("no Chromium with chromedriver on this machine")
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
            picture = cv2.imdecode(np.frombuffer(browser.get_screenshot_as_png(), np.uint8), cv2.IMREAD_COLOR)
            shown = clock_code.read(np.ascontiguousarray(picture[:, :, ::-1]), before)
        # Between asking for the screenshot and having it; the display's own period besides.
        assert before - 1000 * MS < shown < time.time_ns() + 1000 * MS
        assert browser.get_log("browser") == []
    finally:
        browser.quit()
