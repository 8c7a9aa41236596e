"""What the operator of a recorder sees and requests: in a terminal, on pages, or both."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from waldo.collect.notice import Notice
from waldo.collect.recorder.status import RecordingStatus
from waldo.collect.robot_condition import RobotCondition
from waldo.datasets.recording.access_units import AccessUnit
from waldo.robots.cameras.ros_images import Image
from waldo.robots.diagnostics import MotorStatus
from waldo.typing import Array


class OperatorView:
    """A view without a display; a view overrides what it shows. The recorder's thread calls it and must not wait."""

    def notice(self, notice: Notice) -> None:
        """Show a notice."""

    def status(self, status: RecordingStatus) -> None:
        """Show the recorder's status, once a second and after each request."""

    def condition(self, condition: RobotCondition) -> None:
        """Show the robot's condition, which has changed."""

    def motors(self, motors: Mapping[str, MotorStatus]) -> None:
        """Show the motors' readings by joint."""

    def positions(self, position: Array) -> None:
        """Show the joints' positions, shape (joints,) [rad or m]."""

    def battery(self, ratio: float) -> None:
        """Show the charge of the battery, 0 to 1; NaN if it is unknown."""

    def image(self, stream: str, image: bytes | Image | AccessUnit, stamp_ns: int) -> None:
        """Show an image of a camera: a JPEG, H.264, or pixels (H, W, 3), or depth (H, W)."""

    def take_requests(self) -> Sequence[str]:
        """Return the operator's requests since the last call.

        They are names of services of the recorder or the robot, or "next_task".
        """
        return ()


class OperatorViews(OperatorView):
    """Several views as one."""

    def __init__(self, *views: OperatorView) -> None:
        """Initialize."""
        self._views = views

    def notice(self, notice: Notice) -> None:
        """Show a notice in each view."""
        for view in self._views:
            view.notice(notice)

    def status(self, status: RecordingStatus) -> None:
        """Show the recorder's status in each view."""
        for view in self._views:
            view.status(status)

    def condition(self, condition: RobotCondition) -> None:
        """Show the robot's condition in each view."""
        for view in self._views:
            view.condition(condition)

    def motors(self, motors: Mapping[str, MotorStatus]) -> None:
        """Show the motors' readings in each view."""
        for view in self._views:
            view.motors(motors)

    def positions(self, position: Array) -> None:
        """Show the joints' positions in each view."""
        for view in self._views:
            view.positions(position)

    def battery(self, ratio: float) -> None:
        """Show the charge of the battery in each view."""
        for view in self._views:
            view.battery(ratio)

    def image(self, stream: str, image: bytes | Image | AccessUnit, stamp_ns: int) -> None:
        """Show an image in each view."""
        for view in self._views:
            view.image(stream, image, stamp_ns)

    def take_requests(self) -> list[str]:
        """Return the requests of all views."""
        return [name for view in self._views for name in view.take_requests()]
