"""What the console shows, and who controls the robot from it.

The recorder's thread stores what happens; the server's thread reads it for its pages. The pages' requests wait for the
recorder's thread. Of several pages one operates and the others watch; every page may stop the robot.
"""

from __future__ import annotations

import math
import threading
import time
from collections import defaultdict, deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from waldo.collect.console.battery import BatteryForecast
from waldo.collect.console.camera_image import CameraImage
from waldo.collect.notice import Notice
from waldo.collect.recorder.operator_view import OperatorView
from waldo.collect.recorder.status import RecordingStatus
from waldo.collect.robot_condition import RobotCondition
from waldo.datasets import schema
from waldo.datasets.recording.access_units import AccessUnit
from waldo.robots.cameras.ros_images import Image
from waldo.robots.diagnostics import OK, MotorStatus

STOP = "stop_motion"
"""The request that every page may make."""
REQUESTS = ("start", "save", "fail", "keep", "stop", "discard", "undo", "next_task", "mark", "enable", "reset", STOP)
"""What a page may request of the recorder and the robot."""
MAX_REQUEST_AGE_S = 1.0
"""Age from which a request is dropped, other than a stop [s]: the operator may want something else by now."""
MOTOR_KEYS = (
    "winding_celsius",
    "winding_std_kelvin",
    "limit_celsius",
    "time_to_limit_seconds",
    "time_to_limit_p10_seconds",
    "time_to_limit_p90_seconds",
    "episodes_left",
    "cooldown_seconds",
    "derate_ratio",
)
"""Quantities of a motor that a page shows."""
MAX_WAITING = 20
"""Number of requests that may wait for the recorder, beside a stop."""
NOTICES = 50
"""Number of notices that a page shows."""
UNITS = 150
"""Number of access units that are kept of a camera that delivers H.264, for pages that are not sent each at once."""


@dataclass(slots=True)
class _Page:
    name: str
    wake: Callable[[bool], None]
    may_operate: bool = True


@dataclass
class ConsoleView(OperatorView):
    """The state of the console; its methods may be called from any thread."""

    robot: str
    """Name of the robot."""
    joints: Sequence[str]
    """Names of the joints."""
    goal: int = 0
    """Number of episodes to record; 0 for no goal."""
    body: Mapping[str, Any] = field(default_factory=lambda: {"width": 1, "height": 1, "parts": []})
    """Drawing of the robot, as `body_map` returns it."""
    session: Callable[[], dict[str, Any]] | None = None
    """Returns the state of the session; None without a plan."""
    max_request_age_s: float = MAX_REQUEST_AGE_S
    """Age from which a request is dropped, other than a stop [s]."""
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _status: RecordingStatus | None = None
    _condition: RobotCondition | None = None
    _motors: Mapping[str, MotorStatus] = field(default_factory=dict[str, MotorStatus])
    _battery: BatteryForecast = field(default_factory=BatteryForecast)
    _notices: deque[tuple[int, Notice]] = field(default_factory=lambda: deque(maxlen=NOTICES))
    _count: int = 0
    _edits: int = 0
    _images: dict[str, CameraImage] = field(default_factory=dict[str, CameraImage])
    _units: dict[str, deque[CameraImage]] = field(default_factory=lambda: defaultdict(lambda: deque(maxlen=UNITS)))
    _requests: deque[str] = field(default_factory=deque[str])
    _pages: dict[int, _Page] = field(default_factory=dict[int, _Page])
    _operator: int | None = None
    _asking: int | None = None

    def edited(self, text: str) -> None:
        """Show that an episode was changed; every page then reads the episodes again."""
        with self._lock:
            self._edits += 1
        self.notice(Notice(level=OK, text=text, confirmation=True))

    # What the recorder's thread stores.

    def notice(self, notice: Notice) -> None:
        """Show a notice."""
        with self._lock:
            self._count += 1
            self._notices.append((self._count, notice))
        self._wake()

    def status(self, status: RecordingStatus) -> None:
        """Show the recorder's status."""
        self._status = status
        self._wake()

    def condition(self, condition: RobotCondition) -> None:
        """Show the robot's condition."""
        self._condition = condition
        self._wake()

    def motors(self, motors: Mapping[str, MotorStatus]) -> None:
        """Show the motors' readings."""
        self._motors = motors

    def battery(self, ratio: float) -> None:
        """Show the charge of the battery, 0 to 1; NaN if it is unknown."""
        with self._lock:
            self._battery.add(ratio, time.monotonic())

    def image(self, stream: str, image: bytes | Image | AccessUnit, stamp_ns: int) -> None:
        """Show an image of a camera's stream; depth is not shown."""
        if not stream.startswith(schema.CAMERA_PREFIX):
            return
        camera = stream.removeprefix(schema.CAMERA_PREFIX)
        with self._lock:
            before = self._images.get(camera)
            number = 1 if before is None else before.number + 1
            newest = CameraImage(camera=camera, image=image, stamp_ns=stamp_ns, number=number)
            self._images[camera] = newest
            if isinstance(image, AccessUnit):
                self._units[camera].append(newest)
        self._wake(is_image=True)

    def take_requests(self) -> list[str]:
        """Return the requests since the last call."""
        with self._lock:
            found = list(self._requests)
            self._requests.clear()
        return found

    # The pages.

    def open_page(self, page: int, name: str, wake: Callable[[bool], None], *, may_operate: bool = True) -> None:
        """Add a page; the first one that may operate does.

        Args:
            page: Number of the page.
            name: Where it is opened, for other operators.
            wake: Called when there is something new to show; with true if it is an image.
            may_operate: Whether it may control the robot; otherwise it watches, and may stop the robot.
        """
        with self._lock:
            self._pages[page] = _Page(name, wake, may_operate)
            if self._operator is None and may_operate:
                self._operator = page
        self._wake()

    def close_page(self, page: int) -> None:
        """Remove a page; if it operated, the page that asked for control does."""
        with self._lock:
            self._pages.pop(page, None)
            if self._asking == page:
                self._asking = None
            if self._operator == page:
                self._operator, self._asking = self._asking, None
        self._wake()

    def operates(self, page: int) -> bool:
        """Return whether a page controls the robot."""
        return page == self._operator

    def request(self, page: int, name: str, age_s: float) -> str:
        """Make a request of a page; return why it is refused, or an empty text.

        Args:
            page: Number of the page.
            name: One of `REQUESTS`.
            age_s: Time since the operator pressed the key [s].
        """
        if name not in REQUESTS:
            return f"there is no request {name!r}"
        with self._lock:
            if name != STOP:
                if page != self._operator:
                    return "another page operates the robot; take control first"
                if not -self.max_request_age_s <= age_s <= self.max_request_age_s:
                    return f"{name} arrived {age_s:.1f} s late and was dropped; press it again"
            elif STOP in self._requests:
                return ""
            if len(self._requests) >= MAX_WAITING and name != STOP:
                return "too many requests wait; the recorder is busy"
            self._requests.append(name)
        return ""

    def take_control(self, page: int) -> None:
        """Ask for control: it is granted at once if no page operates, else when the operator hands over."""
        with self._lock:
            if page not in self._pages or not self._pages[page].may_operate:
                return
            if self._operator is None:
                self._operator = page
            elif self._operator != page:
                self._asking = page
        self._wake()

    def force_control(self, page: int) -> None:
        """Give control to a page that may operate, whether or not the operator hands it over."""
        with self._lock:
            if page not in self._pages or not self._pages[page].may_operate:
                return
            self._operator = page
            self._asking = None if self._asking == page else self._asking
        self._wake()

    def hand_over(self, page: int) -> None:
        """Hand control to the page that asks for it; does nothing for a page that does not operate."""
        with self._lock:
            if page == self._operator:
                self._operator, self._asking = self._asking, None
        self._wake()

    def images(self) -> list[CameraImage]:
        """Return the newest image of each camera."""
        with self._lock:
            return list(self._images.values())

    def units(self, camera: str) -> list[CameraImage]:
        """Return the last images of a camera that delivers H.264, in order."""
        with self._lock:
            return list(self._units.get(camera, ()))

    def state(self, page: int) -> dict[str, Any]:
        """Return what a page shows, as JSON: unknown numbers are null."""
        with self._lock:
            notices = [{"number": number, **asdict(notice)} for number, notice in self._notices]
            operator, asking = self._pages.get(self._operator or 0), self._pages.get(self._asking or 0)
            role = "operator" if page == self._operator else "watcher"
            charge, remaining_s = self._battery.ratio, self._battery.remaining_s
        motors = self._motors  # the recorder's thread may replace it meanwhile
        return {
            "robot": self.robot,
            "goal": self.goal,
            "role": role,
            "operator": operator.name if operator else "",
            "asking": asking.name if asking else "",
            "condition": None if self._condition is None else asdict(self._condition),
            "recorder": None if self._status is None else _recorder(self._status),
            "battery": _number(charge),
            "battery_s": _number(remaining_s),
            "heat": [_motor(joint, motors[joint]) for joint in self.joints if joint in motors],
            "notices": notices,
            "edits": self._edits,
            "session": None if self.session is None else self.session(),
        }

    def _wake(self, *, is_image: bool = False) -> None:
        with self._lock:
            pages = list(self._pages.values())
        for page in pages:
            page.wake(is_image)


def _recorder(status: RecordingStatus) -> dict[str, Any]:
    return {
        "state": status.state,
        "task": status.task,
        "episode": status.episode,
        "saved": status.saved,
        "pending": status.pending,
        "subtask": status.subtask,
        "next_subtask": status.next_subtask,
        "seconds": status.seconds,
        "elapsed": status.elapsed,
        "lost": status.lost,
        "disk_s": _number(status.space.remaining_s),
        "disk": str(status.space),
        "disk_level": 2 if status.space.full else 1 if status.space.low else 0,
        "faults": list(status.faults),
        "gates": [asdict(gate) for gate in status.gates],
        "breaches": [asdict(one) | {"blocks": one.kind in status.blocking} for one in status.breaches],
        "streams": [{"name": name, **asdict(stream)} for name, stream in status.streams.items()],
    }


def _motor(joint: str, motor: MotorStatus) -> dict[str, Any]:
    return {
        "joint": joint,
        "level": motor.level,
        "faults": motor.faults,
        **{key: _number(motor.values.get(key, math.nan)) for key in MOTOR_KEYS},
    }


def _number(value: float) -> float | None:
    """Return a number for JSON, which has no NaN and no infinity."""
    return value if math.isfinite(value) else None
