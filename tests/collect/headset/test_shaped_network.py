"""An emulated headset over networks with long round trips and loss: when motion locks, and how it recovers."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from tests.collect.headset.emulated_headset import EmulatedHeadset, emulation
from tests.shaped_browser import log_in, shaped_browser
from tests.shaped_network import SERVER, Link, ShapedNetwork
from waldo.collect.devices.conformance import RecordingSession
from waldo.collect.devices.device import Observation
from waldo.collect.devices.headset import Headset
from waldo.collect.headset.server import HeadsetServer
from waldo.robots.description import load_robot

ROUND_TRIPS_S = (0.015, 0.12, 0.16)
"""Wi-Fi, and links to other continents [s]."""
PATIENT_S = 20.0
"""Age that no pose and no image reaches here, even on a busy machine [s]."""
DT_S = 1 / 60
TOKEN = "s3cret"
RELEASE = "release and squeeze again"


@dataclass
class Rig:
    """A robot that reaches its targets at once, driven by a headset behind a shaped network."""

    device: Headset
    headset: EmulatedHeadset
    network: ShapedNetwork
    link: Link
    position: np.ndarray
    folder: Path
    session: RecordingSession = field(default_factory=RecordingSession)

    @property
    def server(self) -> HeadsetServer:
        source = self.device._source
        assert isinstance(source, HeadsetServer)
        return source

    def step(self) -> np.ndarray | None:
        """Run one cycle; what is commanded stays within the robot's limits."""
        observation = Observation(stamp_ns=0, position=self.position.copy(), environment={})
        command = self.device.step(observation, self.session, DT_S)
        if command is not None:
            assert np.isfinite(command).all()
            self.position = command.copy()
        return command

    def limit(self, *, pose_s: float = PATIENT_S, video_s: float = PATIENT_S) -> None:
        """Change the largest ages of poses and images."""
        self.device.options = replace(self.device.options, max_age_s=pose_s, max_video_age_s=video_s)

    def squeeze(self, value: float) -> None:
        self.headset.button("right", "squeeze", value)

    def engage(self) -> None:
        """Release and squeeze until the robot follows; a pose that is late meanwhile needs another release."""

        def follows() -> bool:
            self.squeeze(0)
            self.headset.wait(lambda: self.step() is None and self.held() == 0)
            self.squeeze(1)
            self.headset.wait(lambda: self.held() == 1)
            return self.step() is not None

        self.headset.wait(follows)

    def held(self) -> float | None:
        """Return how far the right hand squeezes in the newest sample; None if it is not tracked."""
        tracking = self.server.latest()
        return tracking.hands["right"].squeeze if tracking and "right" in tracking.hands else None

    def age_s(self) -> float:
        """Return the age of the newest sample [s]."""
        tracking = self.server.latest()
        return np.inf if tracking is None else (time.time_ns() - tracking.stamp_ns) / 1e9


@contextmanager
def camera(server: HeadsetServer) -> Iterator[None]:
    """Publish images while the block runs."""
    rng = np.random.default_rng(0)
    image = cv2.imencode(".jpg", rng.integers(0, 255, (120, 160, 3)).astype(np.uint8))[1].tobytes()
    ended = threading.Event()

    def publish() -> None:
        while not ended.wait(1 / 30):
            server.image("cameras/front", image, time.time_ns())

    thread = threading.Thread(target=publish)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


@pytest.fixture(scope="module", params=ROUND_TRIPS_S, ids=lambda s: f"{1000 * s:.0f}ms")
def rig(
    request: pytest.FixtureRequest,
    shape_network: Callable[[Link], ShapedNetwork],
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Rig]:
    folder, link = tmp_path_factory.mktemp("rig"), Link(round_trip_s=request.param, loss=0.01)
    network, robot = shape_network(link), load_robot("so101")
    device = Headset(
        robot, host=SERVER, server_name=SERVER, token=TOKEN, drop_after_s=PATIENT_S, audit_log=str(folder / "audit.log")
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_DATA_HOME", str(folder))
        patch.setattr("waldo.collect.headset.server.listen", lambda host, port: network.listen())
        device.open()
        server = device._source
        assert isinstance(server, HeadsetServer)
        try:
            with shaped_browser(network, folder) as browser, camera(server):
                browser.execute_cdp_cmd("Page.addScriptToEvaluateOnNewDocument", {"source": emulation()})
                log_in(browser, server.url, TOKEN, "headset")
                headset = EmulatedHeadset(browser)
                headset.start()
                headset.controller("right", (0.25, 1.1, -0.35))
                rig = Rig(device, headset, network, link, robot.home.copy(), folder)
                headset.wait(lambda: rig.held() is not None)
                yield rig
        finally:
            device.close()


@pytest.fixture(autouse=True)
def restored(rig: Rig) -> Iterator[None]:
    """Restore link and limits after each test, and let go."""
    yield
    rig.network.shape(rig.link)
    rig.limit()
    rig.squeeze(0)


def locks(rig: Rig, reason: str) -> None:
    """Check that a squeezed hand moves nothing for a while, and why."""
    rig.squeeze(0)
    rig.headset.wait(lambda: rig.step() is None and rig.held() == 0)
    rig.squeeze(1)
    rig.headset.wait(lambda: rig.step() is None and rig.held() == 1)
    for _ in range(30):
        assert rig.step() is None
        time.sleep(DT_S)
    assert any(reason in text and "the robot" in text for text in rig.session.texts), rig.session.texts
    rig.headset.wait(lambda: reason in rig.headset.run("return document.getElementById('notices').innerText"))


def test_poses_older_than_the_limit_lock_motion(rig: Rig) -> None:
    # A pose is half of a round trip old at least.
    rig.session.texts.clear()
    rig.limit(pose_s=rig.link.round_trip_s / 4)
    locks(rig, "the headset's last pose is")


def test_images_older_than_the_limit_lock_motion(rig: Rig) -> None:
    # An image is known to be seen after a round trip.
    rig.session.texts.clear()
    rig.limit(video_s=0.9 * rig.link.round_trip_s)
    locks(rig, "the video is")


def test_with_limits_above_what_the_link_gives_the_robot_follows(rig: Rig) -> None:
    rig.limit()
    rig.engage()
    before = rig.position.copy()
    for part in np.linspace(0.1, 1.0, 10):
        rig.headset.controller("right", (0.25, 1.1 + 0.05 * part, -0.35))
        tracking = rig.server.latest()
        number = tracking.number if tracking else 0
        rig.headset.wait(lambda: rig.step() is not None and rig.server.latest().number > number + 2)  # type: ignore[union-attr]  # noqa: B023
    assert np.abs(rig.position - before).max() > 0.02
    rig.headset.controller("right", (0.25, 1.1, -0.35))


@pytest.mark.parametrize("fault", ["delay", "cut"])
def test_a_link_that_degrades_in_motion_locks_within_a_cycle_and_recovers(rig: Rig, fault: str) -> None:
    limit_s = 0.5 + 2 * rig.link.round_trip_s
    rig.limit(pose_s=limit_s)
    rig.engage()
    rig.session.texts.clear()
    degraded = replace(rig.link, round_trip_s=2.5) if fault == "delay" else replace(rig.link, cut=True)
    rig.network.shape(degraded)
    start = time.monotonic()
    locked_s, moved_old = None, 0
    while time.monotonic() - start < 1.0:
        age_s = rig.age_s()
        command = rig.step()
        moved_old += command is not None and age_s > limit_s
        if command is None and locked_s is None:
            locked_s = age_s
        time.sleep(DT_S)
    assert moved_old == 0
    assert locked_s is not None
    assert any("the headset's last pose is" in text and RELEASE in text for text in rig.session.texts)
    rig.network.shape(rig.link)
    # Fresh poses of a hand that still squeezes move nothing.
    rig.headset.wait(lambda: rig.age_s() < limit_s)
    for _ in range(30):
        assert rig.step() is None
        time.sleep(DT_S)
    rig.limit()
    rig.headset.wait(lambda: rig.held() == 1)
    rig.engage()


def test_loss_refuses_nothing(rig: Rig) -> None:
    """Runs last: nothing of the above was refused, and the session was never lost."""
    log = (rig.folder / "audit.log").read_text()
    assert "refused" not in log
    assert log.count('"control": "taken"') == 1
