import json
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest
from selenium import webdriver
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.ui import WebDriverWait

from tests.machine import needs_browser
from waldo.datasets.dataset import Dataset
from waldo.datasets.episode import Episode
from waldo.datasets.streams import DepthStream, Field, ScalarStream, VideoStream
from waldo.datasets.view.page import PageConfig, write_page
from waldo.errors import FileError

BROWSER = shutil.which("chromium") or shutil.which("google-chrome")
DRIVER = shutil.which("chromedriver")
OPTIONS = ("--headless=new", "--no-sandbox", "--disable-dev-shm-usage", "--disable-gpu", "--window-size=1280,900")
HOSTILE = "</script><script>window.hurt = 1</script><img src=x onerror=hurt=1>{{STYLE}}\u2028'\""
START_NS = 1_700_000_000_000_000_000
MS = 1_000_000
LOST = (20, 21, 22, 40)
WIDTH, HEIGHT = 128, 96


def image(number: int, width: int = WIDTH, height: int = HEIGHT) -> np.ndarray:
    """Return an image with four rows of eight blocks that encode its number in bits, robust to compression."""
    bits = np.array([(number >> place) & 1 for place in range(8)], np.uint8)
    rows = np.stack([bits, 1 - bits, bits, 1 - bits]) * 200 + 25
    gray = cv2.resize(rows, (width, height), interpolation=cv2.INTER_NEAREST)
    return np.repeat(gray[:, :, None], 3, axis=2)


def number_of(rgb: np.ndarray) -> int:
    """Return the number of an image."""
    height, width = rgb.shape[0] // 4, rgb.shape[1] // 8
    top = rgb[height // 2, width // 2 :: width].mean(axis=1) > 125
    return sum(int(bit) << place for place, bit in enumerate(top[:8]))


@pytest.fixture(scope="module")
def hostile(tmp_path_factory: pytest.TempPathFactory) -> Episode:
    """Two seconds with lost frames, a frozen camera, an event, and names with markup."""
    dataset = Dataset.create(tmp_path_factory.mktemp("view") / "dataset", robot="so101")
    labels = ("shoulder_pan", "<b>gripper</b>")
    streams = (
        ScalarStream(name="joints/state", rate_hz=100.0, fields=(Field("position", "rad", labels),)),
        ScalarStream(name="joints/command", rate_hz=50.0, fields=(Field("position", "rad", labels),)),
        ScalarStream(name="motors", rate_hz=10.0, fields=(Field("winding", "°C", labels), Field("duty", "1", labels))),
        VideoStream(name="cameras/front", width=WIDTH, height=HEIGHT, rate_hz=30.0),
        VideoStream(name="cameras/jpeg", width=WIDTH, height=HEIGHT, rate_hz=30.0, codec="jpeg"),
        VideoStream(name="cameras/lossless", width=WIDTH, height=HEIGHT, rate_hz=30.0, codec="lossless"),
        DepthStream(name="depth/front", width=33, height=17, rate_hz=30.0),
    )
    with dataset.lock():
        writer = dataset.begin(streams, {"task": HOSTILE, "operator": HOSTILE}, back_pressure="wait")
        for ms in range(0, 2000, 10):
            kw = {"header_ns": START_NS + ms * MS, "receipt_ns": START_NS + ms * MS, "sequence": ms // 10 + 1}
            writer.row("joints/state", values={"position": [ms / 1000, np.sin(ms / 100)]}, **kw)
            if ms % 100 == 0:
                heat = {"winding": [65 + ms / 200, np.nan], "duty": [0.5, np.inf]}
                writer.row("motors", values=heat, **(kw | {"sequence": -1}))
        for number in range(60):
            stamp = START_NS + round(number * 1e9 / 30)
            kw = {"header_ns": stamp, "receipt_ns": stamp, "sequence": number + 1}
            if number not in LOST:
                writer.frame("cameras/front", image=image(number), **kw)
            writer.frame("cameras/jpeg", image=image(min(number, 30)), **kw)
            writer.frame("cameras/lossless", image=image(number), **kw)
            writer.frame("depth/front", image=np.full((17, 33), 500 + number, np.uint16), **kw)
        writer.event("clock_jump", HOSTILE, at_ns=START_NS + 1500 * MS)
        writer.save("failure", "operator")
    return dataset.episodes[0]


@pytest.fixture(scope="module")
def browser() -> Iterator[webdriver.Chrome]:
    options = webdriver.ChromeOptions()
    options.binary_location = BROWSER
    for option in OPTIONS:
        options.add_argument(option)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    driver = webdriver.Chrome(options=options, service=Service(DRIVER))
    driver.set_script_timeout(120)
    yield driver
    driver.quit()


@pytest.fixture
def page(browser: webdriver.Chrome, hostile: Episode, tmp_path: Path) -> Iterator[webdriver.Chrome]:
    """The browser with the page open; fails on console messages and network requests."""
    write_page(hostile, tmp_path / "page.html")
    browser.get_log("browser"), browser.get_log("performance")
    browser.get((tmp_path / "page.html").as_uri())
    yield browser
    assert [entry for entry in browser.get_log("browser") if entry["level"] != "INFO"] == []
    messages = [json.loads(entry["message"])["message"] for entry in browser.get_log("performance")]
    requested = [m["params"]["request"]["url"] for m in messages if m["method"] == "Network.requestWillBeSent"]
    assert [url for url in requested if not url.startswith(("file:", "blob:", "data:"))] == []
    browser.get("about:blank")


def wait_until(page: webdriver.Chrome, condition) -> None:
    WebDriverWait(page, 120, poll_frequency=0.05).until(lambda _: condition())


def clock(page: webdriver.Chrome) -> float:
    return float(page.find_element(By.ID, "clock").text.split()[0])


def press(page: webdriver.Chrome, *keys: str) -> None:
    ActionChains(page).send_keys(*keys).perform()


GRAB = """
const [place, done] = arguments, video = document.querySelectorAll("video")[place];
const canvas = document.createElement("canvas");
canvas.width = video.videoWidth; canvas.height = video.videoHeight;
const pen = canvas.getContext("2d");
pen.drawImage(video, 0, 0);
done([canvas.width, canvas.height, [...pen.getImageData(0, 0, canvas.width, canvas.height).data]]);
"""


def grab(page: webdriver.Chrome, place: int) -> np.ndarray:
    """Return the displayed frame of a video, uint8 (H, W, 3)."""
    width, height, data = page.execute_async_script(GRAB, place)
    return np.array(data, np.uint8).reshape(height, width, 4)[:, :, :3]


def settled(page: webdriver.Chrome) -> bool:
    """Return whether every video shows the frame in its caption."""
    script = """return [...document.querySelectorAll("figure")].map((f) =>
        [f.querySelector("video").dataset.frame, f.querySelector(".frame").textContent.split(" ")[1],
         f.querySelector("video").seeking])"""
    return all(drawn == named and not seeking for drawn, named, seeking in page.execute_script(script))


@needs_browser
def test_cameras_show_the_recorded_frames_at_the_cursor(page, hostile) -> None:
    stamps = hostile.time_ns("cameras/front")
    cameras = list(hostile.image_streams)
    press(page, Keys.HOME)
    before = 0
    for target in (0, 19, 20, 21, 36, 55):
        press(page, *[Keys.ARROW_RIGHT] * (target - before))
        before = target
        at = (int(stamps[target]) - START_NS) / 1e9
        wait_until(page, lambda at=at: abs(clock(page) - at) < 1e-3)
        wait_until(page, lambda: settled(page))
        assert number_of(grab(page, 0)) == number_of(hostile.frames("cameras/front", [target])[0])
        expected = hostile.frames("cameras/front", [target])[0].astype(int)
        # The browser converts to RGB differently from OpenCV: at edges, chroma extends over two pixels.
        assert np.abs(grab(page, 0) - expected).mean() < 3
        truth = round(at * 30)
        assert number_of(grab(page, cameras.index("cameras/lossless"))) == truth
        assert number_of(grab(page, cameras.index("cameras/jpeg"))) == min(truth, 30)


@needs_browser
def test_a_gap_keeps_the_last_frame_with_a_note(page) -> None:
    press(page, Keys.HOME)
    plot = page.find_element(By.CSS_SELECTOR, ".plot")
    # 0.7 s is between frames 19 (0.633 s) and 23 (0.767 s), the next recorded one.
    offset = round(plot.size["width"] * (0.74 / 1.99 - 0.5))
    ActionChains(page).move_to_element_with_offset(plot, offset, 0).click().perform()
    wait_until(page, lambda: 0.72 < clock(page) < 0.76)
    wait_until(page, lambda: settled(page))
    assert number_of(grab(page, 0)) == 19
    badge = page.find_element(By.CSS_SELECTOR, ".badge")
    assert re.fullmatch(r"no frame for \d+ ms", badge.text)


@needs_browser
def test_playback_keeps_cameras_synchronized_and_stops_at_the_end(page) -> None:
    wait_until(page, lambda: settled(page))
    press(page, Keys.SPACE)
    wait_until(page, lambda: clock(page) > 1.0)
    press(page, Keys.SPACE)
    wait_until(page, lambda: settled(page))
    at = clock(page)
    # The page displays milliseconds, so the cursor is within half a millisecond.
    assert number_of(grab(page, 2)) in {int((at - 5e-4) * 30 + 1e-6), int((at + 5e-4) * 30 + 1e-6)}
    press(page, Keys.SPACE)
    wait_until(page, lambda: clock(page) > 1.98)
    wait_until(page, lambda: page.find_element(By.ID, "play").get_attribute("aria-label") == "Play")


@needs_browser
def test_marks_are_at_their_times_and_move_the_cursor(page) -> None:
    places = page.execute_script(
        """const track = document.querySelector(".track").getBoundingClientRect();
        return [...document.querySelectorAll(".track button")].map((b) => {
          const box = b.getBoundingClientRect();
          return [b.dataset.kind, (box.left - track.left) / track.width, box.width / track.width, b.title]; })"""
    )
    duration = 1.99
    lost = [(left * duration, width * duration) for kind, left, width, _ in places if kind == "lost"]
    np.testing.assert_allclose(lost, [(19 / 30, 4 / 30), (39 / 30, 2 / 30)], atol=0.01)
    (frozen,) = [(left * duration, width * duration) for kind, left, width, _ in places if kind == "frozen"]
    np.testing.assert_allclose(frozen, (1.0, 29 / 30), atol=0.01)
    (event,) = [(left * duration, title) for kind, left, _, title in places if kind == "event"]
    assert event[0] == pytest.approx(1.5, abs=0.01)
    assert HOSTILE in event[1]
    (heat,) = [left * duration for kind, left, _, _ in places if kind == "heat"]
    assert heat == pytest.approx(1.0, abs=0.01)
    rows = page.find_elements(By.CSS_SELECTOR, "#marks tbody tr")
    assert next(row.find_element(By.TAG_NAME, "button").text for row in rows) == "0.633 s"
    assert "3 frames lost" in rows[0].text
    page.execute_script("arguments[0].scrollIntoView({block: 'center'})", rows[1])
    press(page, "nn")
    wait_until(page, lambda: clock(page) == 1.0)
    press(page, "p")
    wait_until(page, lambda: clock(page) == 0.633)


@needs_browser
def test_hostile_names_are_text(page, hostile) -> None:
    assert page.execute_script("return window.hurt") is None
    assert page.find_element(By.ID, "task").get_attribute("textContent") == HOSTILE
    assert page.find_elements(By.TAG_NAME, "img") == []
    assert page.title == f"episode 0 · {HOSTILE} · waldo"
    titles = [heading.text.split("\n")[0] for heading in page.find_elements(By.CSS_SELECTOR, ".panel h3")]
    assert "<b>gripper</b>" in titles


@needs_browser
def test_values_at_the_cursor_are_the_recorded_ones(page, hostile) -> None:
    press(page, "n")
    wait_until(page, lambda: clock(page) == 0.633)
    panel = page.find_element(By.CSS_SELECTOR, ".panel")
    state = panel.find_element(By.CSS_SELECTOR, ".lines li b").text
    row = int(np.searchsorted(hostile.time_ns("joints/state"), hostile.time_ns("cameras/front")[19], "right")) - 1
    assert float(state) == pytest.approx(hostile.values("joints/state", "position")[row, 0], abs=5e-4)


@needs_browser
def test_the_page_fits_a_narrow_screen_in_dark_mode(page) -> None:
    size = {"width": 390, "height": 800, "deviceScaleFactor": 2, "mobile": False}
    page.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    dark = {"features": [{"name": "prefers-color-scheme", "value": "dark"}]}
    page.execute_cdp_cmd("Emulation.setEmulatedMedia", dark)
    try:
        wide = page.execute_script("return [document.documentElement.scrollWidth, innerWidth]")
        assert wide[0] <= wide[1]
        assert page.execute_script("return getComputedStyle(document.body).backgroundColor") == "rgb(14, 20, 25)"
    finally:
        page.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
        page.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": []})


def test_the_page_contains_the_recorded_video(hostile, tmp_path) -> None:
    import base64

    result = write_page(hostile, tmp_path / "page.html")
    text = result.path.read_text()
    (lines,) = re.findall(r'<script type="text/plain" id="video-0">\n(.*?)</script>', text, re.DOTALL)
    assert base64.b64decode(lines) == hostile.video_path("cameras/front").read_bytes()
    assert result.nbytes == len(text.encode())
    assert list(tmp_path.iterdir()) == [result.path]
    assert [note.split(":")[0] for note in result.notes] == ["cameras/jpeg", "cameras/lossless", "depth/front"]


def test_images_are_scaled_down_on_request(hostile, tmp_path) -> None:
    result = write_page(hostile, tmp_path / "page.html", PageConfig(max_height=48))
    assert "cameras/front: recorded as h264, shown as H.264, scaled from 96 to 48 pixels high" in result.notes


def test_a_page_must_be_a_file_in_an_existing_folder(hostile, tmp_path) -> None:
    (tmp_path / "folder").mkdir()
    with pytest.raises(FileError, match="is a folder"):
        write_page(hostile, tmp_path / "folder")
    with pytest.raises(FileError, match="the folder of this file does not exist"):
        write_page(hostile, tmp_path / "nowhere" / "page.html")
    assert [path.name for path in tmp_path.iterdir()] == ["folder"]


def test_an_episode_without_cameras_has_a_page(locked, tmp_path) -> None:
    stream = ScalarStream(name="joints/state", rate_hz=10.0, fields=(Field("position", "rad", ("a",)),))
    with locked.begin([stream], {}) as writer:
        writer.save("success")
    result = write_page(locked.episodes[0], tmp_path / "page.html")
    assert '"cameras": []' in result.path.read_text()
