"""A console on a free port of the loopback interface, as a recorder fills it."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import cv2
import numpy as np

from tests.dashboards import motor_status
from waldo.collect.console.review import EpisodeReview
from waldo.collect.console.server import ConsoleServer
from waldo.collect.console.view import ConsoleView
from waldo.collect.recorder.checks.disk_space import Space
from waldo.collect.recorder.status import RecordingStatus, StreamStatus
from waldo.collect.robot_condition import RobotCondition
from waldo.robots.diagnostics import OK, WARN
from waldo.web.listening import listen
from waldo.web.security import Security

JOINTS = ("shoulder_pan", "gripper")


@dataclass
class Console:
    """A running console."""

    view: ConsoleView
    port: int

    @property
    def url(self) -> str:
        """Address of its page."""
        return f"http://127.0.0.1:{self.port}/"


@contextmanager
def running(
    security: Security | None = None, review: EpisodeReview | None = None, listening: socket.socket | None = None
) -> Iterator[Console]:
    """Serve a console, on a socket that listens or on a free port."""
    square = [[0, 0], [100, 0], [100, 100], [0, 100]]
    body = {"width": 100, "height": 100, "parts": [{"joint": "gripper", "points": square}]}
    view = ConsoleView("arm", JOINTS, goal=10, body=body)
    view.condition(RobotCondition(word="FOLLOWING", level=OK))
    view.status(status())
    hot = {"winding_celsius": 66.0, "winding_std_kelvin": 2.0, "limit_celsius": 70.0, "time_to_limit_seconds": 42.0}
    view.motors(
        {
            "shoulder_pan": motor_status(winding_celsius=31.0, limit_celsius=70.0, time_to_limit_seconds=np.inf),
            "gripper": motor_status(
                WARN, "winding at 66 °C; near its limit", **hot, episodes_left=7.4, cooldown_seconds=180
            ),
        }
    )
    listening = listening or listen("127.0.0.1", 0)
    with ConsoleServer(view, listening, security, review):
        yield Console(view, listening.getsockname()[1])


def status(state: str = "idle", *, stopped: bool = False, saved: int = 3) -> RecordingStatus:
    """Return a recorder's status."""
    streams = {
        "joints/state": StreamStatus(rate_hz=99.0, nominal_hz=100.0),
        "cameras/front": StreamStatus(rate_hz=0.0 if stopped else 30.0, nominal_hz=30.0, stopped=stopped),
    }
    return RecordingStatus(
        state=state,
        task="lift the cube",
        episode=saved,
        saved=saved,
        seconds=12.0 if state == "recording" else 0.0,
        streams=streams,
        waiting=0,
        space=Space(3600.0),
    )


def pixels(value: int) -> np.ndarray:
    """Return a gray image (48, 64, 3)."""
    return np.full((48, 64, 3), value, dtype=np.uint8)


def jpeg(value: int) -> bytes:
    """Return a gray image as JPEG."""
    return cv2.imencode(".jpg", pixels(value))[1].tobytes()


def requests(console: Console, count: int) -> list[str]:
    """Return the requests of the pages once there are so many."""
    deadline, found = time.monotonic() + 60, list[str]()
    while len(found) < count and time.monotonic() < deadline:
        found += console.view.take_requests()
        time.sleep(0.01)
    return found
