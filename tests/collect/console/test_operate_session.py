"""A session of ten episodes with a simulated robot, driven through the page of a real browser."""

from __future__ import annotations

import math
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from selenium import webdriver
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys

from tests.collect.console.process_bench import address, end, station, until
from waldo import ros
from waldo.datasets.dataset import Dataset

__all__ = ["station"]

pytestmark = [pytest.mark.usefixtures("ros_domain"), pytest.mark.timeout(600)]

JOINTS = ("shoulder_pan", "shoulder_lift", "elbow_flex", "wrist_flex", "wrist_roll", "gripper")
PLAN = """
name: bench
order: blocks
tasks:
  - {instructions: [lift the cube], scenes: [left, right], subtasks: [reach, grasp], episodes: 3}
"""
RULES = "rate_ratio: 0.9\ngap_periods: 200\njitter_periods: 9\nfrozen_s: 0.5\nblock: [frozen]\n"
"""Only what does not depend on the load of the machine."""


class Operator:
    """Moves the robot and has a camera, both on the ROS graph, until the block ends."""

    def __init__(self) -> None:
        self.black, self.frozen = threading.Event(), threading.Event()
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._work)

    def __enter__(self) -> Operator:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join(120)

    def _work(self) -> None:
        from sensor_msgs.msg import Image, JointState

        with ros.join_graph("operator", "so101") as graph:
            commands = graph.node.create_publisher(JointState, "joint_commands", ros.stream_qos())
            images = graph.node.create_publisher(Image, "/bench/image", ros.stream_qos())
            tick = 0
            while not self._ended.is_set():
                stamp = ros.ns_to_stamp(time.time_ns())
                command = JointState(name=list(JOINTS[:1]), position=[0.3 * math.sin(tick / 20)])
                command.header.stamp = stamp
                commands.publish(command)
                if tick % 2 == 0:
                    image = Image(height=48, width=64, step=192, encoding="rgb8", data=self._pixels(tick).tobytes())
                    image.header.stamp = stamp
                    images.publish(image)
                tick += 0 if self._ended.is_set() else 1
                graph.spin_for(1 / 60)

    def _pixels(self, tick: int) -> np.ndarray:
        if self.black.is_set():
            return np.zeros((48, 64, 3), np.uint8)
        shown = 0 if self.frozen.is_set() else tick // 2 % 64
        pixels = np.full((48, 64, 3), 60, np.uint8)
        pixels[:24] = 180
        pixels[:, shown] = 255
        return pixels


class Page:
    """The console in a browser's window."""

    def __init__(self, browser: webdriver.Chrome) -> None:
        self.browser = browser

    def text(self, identity: str) -> str:
        script = "return document.getElementById(arguments[0])?.innerText ?? ''"
        return str(self.browser.execute_script(script, identity))

    def press(self, key: str) -> None:
        ActionChains(self.browser).send_keys(key).perform()

    def listed(self, selector: str) -> list[str]:
        script = "return [...document.querySelectorAll(arguments[0])].map(one => one.innerText)"
        return [str(one) for one in self.browser.execute_script(script, selector)]

    def start(self) -> None:
        self.press(Keys.ENTER)
        until(lambda: self.text("state") == "RECORDING" and self.text("elapsed") >= "0:01")

    def finish(self, key: str, expected: str) -> None:
        self.press(key)
        until(lambda: self.text("state") == "IDLE" and any(expected in one for one in self.listed("#notices li")))


@pytest.fixture
def operator() -> Iterator[Operator]:
    with Operator() as found:
        yield found


def test_a_session_of_ten_episodes(
    browser: webdriver.Chrome,
    station: Callable[..., subprocess.Popen[bytes]],
    operator: Operator,
    tmp_path: Path,
) -> None:
    (tmp_path / "plan.yaml").write_text(PLAN)
    (tmp_path / "rules.yaml").write_text(RULES)
    operator.black.set()
    station("robot", "so101", "--no-cameras", "--start-temperature", "60")
    options = ("--plan", str(tmp_path / "plan.yaml"), "--rules", str(tmp_path / "rules.yaml"))
    # On a busy machine a request may be late, and would be dropped.
    camera = ("--camera", "front=/bench/image", "--max-request-age-s", "60")
    operate = station("operate", str(tmp_path / "set"), "--port", "0", *options, *camera)
    page = Page(browser)
    browser.get(address(tmp_path / "operate.log"))
    until(lambda: {"joints/state", "motors"} <= {one.split()[0] for one in page.listed("#streams li")})
    # A gate names the black camera, and prevents the start.
    until(lambda: any("camera front: its image is black" in one for one in page.listed("#gates li")))
    page.press(Keys.ENTER)
    until(lambda: any("cannot start: camera front" in one for one in page.listed("#notices li")))
    assert page.text("session-progress") == "bench: 0 of 6"
    assert page.text("session-next") == "Next: lift the cube; left"
    # So do motors near their limit warn; the robot is drawn in the colors of its heat.
    until(lambda: any("below the limit" in one for one in page.listed("#notices li")))
    assert len(page.browser.find_elements(By.CSS_SELECTOR, "#body polygon")) > 5
    operator.black.clear()
    until(lambda: page.text("word") == "FOLLOWING" and not page.listed("#gates li"))
    # 1: a success, with a mark of its second subtask.
    page.start()
    assert page.text("subtask") == "reach, next: grasp"
    page.press("m")
    until(lambda: page.text("subtask") == "grasp")
    page.finish("1", "episode_000000.zarr saved as success")
    # 2: a failure. 3: discarded. 4: saved and undone.
    page.start()
    page.finish("0", "episode_000001.zarr saved as failure")
    page.start()
    page.finish(Keys.BACKSPACE, "discard: discarded")
    page.start()
    page.finish("1", "episode_000002.zarr saved as success")
    page.press("z")
    until(lambda: any("deleted the last episode (index 2)" in one for one in page.listed("#notices li")))
    until(lambda: page.text("session-progress") == "bench: 1 of 6")
    # 5: a camera that freezes blocks a success, with its reason.
    page.start()
    operator.frozen.set()
    until(lambda: any(one.startswith("Blocks saving: frozen cameras/front") for one in page.listed("#gates li")))
    page.press("1")
    until(
        lambda: any(
            "save refused: frozen: cameras/front the image does not" in one for one in page.listed("#notices li")
        )
    )
    assert page.text("state") == "RECORDING"
    page.finish("0", "episode_000003.zarr saved as failure")
    operator.frozen.clear()
    until(lambda: not page.listed("#gates li"))
    # 6: the page is loaded again in the middle of the episode.
    page.start()
    browser.refresh()
    until(lambda: page.text("state") == "RECORDING" and page.text("elapsed") >= "0:02")
    page.finish("1", "episode_000004.zarr saved as success")
    # 7: saved as a success, and relabeled in the review.
    page.start()
    page.finish("1", "episode_000005.zarr saved as success")
    page.press("r")
    until(lambda: page.text("review-title").startswith("success"))
    until(
        lambda: page.browser.execute_script("return document.querySelector('#review-cameras img')?.naturalWidth") == 64
    )
    button = browser.find_element(By.CSS_SELECTOR, "[data-outcome=failure]")
    browser.execute_script("arguments[0].scrollIntoView({ block: 'center' })", button)
    button.click()
    until(lambda: page.text("review-title").startswith("failure"))
    until(lambda: page.text("session-progress") == "bench: 2 of 6" or not page.text("session-progress"))
    page.press("r")
    # 8: a second page only watches.
    first = browser.current_window_handle
    browser.switch_to.new_window("tab")
    browser.get(address(tmp_path / "operate.log"))
    until(lambda: page.text("role").endswith("operates; you watch."))
    page.press(Keys.ENTER)
    until(lambda: any("take control first" in one for one in page.listed("#notices li")))
    assert page.text("state") == "IDLE"
    browser.close()
    browser.switch_to.window(first)
    # 8 to 10.
    for index in (6, 7, 8):
        page.start()
        page.finish("1", f"episode_{index:06}.zarr saved as success")
    until(lambda: page.text("session-progress") == "bench: 5 of 6")
    assert page.text("session-next") == "Next: lift the cube; right"
    # A stop from the page, which prevents a start until the robot is enabled.
    page.press(" ")
    until(lambda: page.text("word") == "STOPPED")
    page.press(Keys.ENTER)
    until(lambda: any("cannot start: the robot is stopped" in one for one in page.listed("#notices li")))
    page.press("v")
    until(lambda: page.text("word") != "STOPPED")
    browser.get("about:blank")
    end(operate)
    assert operate.returncode == 0
    dataset = Dataset.open(tmp_path / "set")
    assert [(entry.episode, entry.outcome) for entry in dataset.catalog] == [
        (0, "success"),
        (1, "failure"),
        (3, "failure"),
        (4, "success"),
        (5, "failure"),
        (6, "success"),
        (7, "success"),
        (8, "success"),
    ]
    episodes = {episode.index: episode for episode in dataset.episodes}
    assert [one.text for one in episodes[0].subtasks] == ["reach", "grasp"]
    assert [episodes[k].attributes["scene"] for k in (0, 1, 4, 8)] == ["left", "left", "left", "right"]
    assert sum(episode.lost(stream) for episode in episodes.values() for stream in episode.streams) == 0
    assert {event["finding"] for event in episodes[3].events if event["kind"] == "quality"} >= {"frozen"}
    assert not [event for event in episodes[4].events if event.get("finding") == "frozen"]
