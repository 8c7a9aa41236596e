"""A headset as a teleoperation device: a robot's arms and hands follow the operator's hands, tracked by WebXR.

Each hand has a dead-man switch: the squeeze button of a controller, or ring and little finger folded into the palm of a
bare hand. While it is held, the arm moves as the hand does, relative to where the operator engaged. A sample that is
late, lost, not finite, or of a hand with an implausible frame stops the robot within the cycle, and the operator has to
release and engage again.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from waldo.collect.devices.device import Observation, Session
from waldo.collect.devices.tracking import Side, TrackedHand, Tracking, TrackingSource
from waldo.errors import InvalidValueError, MissingExtraError
from waldo.robots.description import Robot
from waldo.robots.diagnostics import OK, WARN
from waldo.robots.drivers.options import TypedOptions, build_options
from waldo.typing import Array

if TYPE_CHECKING:
    from waldo.collect.retargeting.retargeter import Retargeted
    from waldo.collect.robot_condition import RobotCondition
    from waldo.robots.cameras.ros_images import Image

SERVICE_BUTTONS: Mapping[tuple[Side, int], str] = {
    ("right", 4): "start",
    ("right", 5): "stop_motion",
    ("right", 3): "enable",
    ("left", 4): "save",
    ("left", 5): "fail",
    ("left", 3): "discard",
}
"""Side and number of a button in WebXR's mapping "xr-standard" -> service: 3 is the thumbstick, 4 is A or X, 5 is B or
Y."""

DISENGAGING = frozenset({"stop_motion", "enable", "reset"})
"""Services after which the robot may stand elsewhere: it must be engaged again."""

SQUEEZED, RELEASED = 0.6, 0.4
"""A dead-man switch engages above the first value and releases below the second one, of 0 to 1."""

OUT_OF_REACH_M = 0.05
"""Distance between target and end effector above which the operator is warned [m]."""

HOT_MARGIN = 0.2
"""Heat margin of a joint below which the operator is warned, 0 to 1."""

WARN_S = 0.5
"""Interval between two haptic warnings [s]."""

REMIND_S = 3.0
"""Interval between two notices with the same text [s]."""

SOURCE = "waldo.collect.headset.server:HeadsetServer"
"""The source of poses by default: called with the robot and the options of the source."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HeadsetOptions(TypedOptions):
    """Options of a headset, beside those of the retargeting and of the source of poses."""

    side: Literal["right", "left"] = "right"
    """The hand that a robot with one arm follows."""
    dead_man: Literal["same", "other"] = "same"
    """The hand whose squeeze, or folded fingers, engage an arm: that which it follows, or the other one."""
    scale: float = 1.0
    """Motion of the end effectors over that of the hands, above 0 to 2."""
    max_age_s: float = 0.0
    """Largest age of a pose [s]; 0 stands for two cycles."""
    max_video_age_s: float = 0.5
    """Largest age of the image that the operator sees [s]."""
    filter_hz: float = 4.0
    """Cutoff of the one-euro filter of a hand at rest [Hz]: a delay of 40 ms, which decreases with speed; 0 for no
    filter."""
    filter_gain_per_m: float = 33.0
    """Increase of this cutoff with the speed of the hand [Hz per m/s]: a delay of 13 ms at 0.25 m/s."""
    filter_gain_per_rad: float = 6.0
    """Increase of this cutoff with the angular speed of the hand [Hz per rad/s]."""

    def __post_init__(self) -> None:
        """Raise InvalidValueError for values that cannot work."""
        TypedOptions.__post_init__(self)
        if not 0 < self.scale <= 2:
            raise InvalidValueError("scale", self.scale, "a number above 0, up to 2")
        self.require_positive("max_video_age_s")
        for name in ("max_age_s", "filter_hz", "filter_gain_per_m", "filter_gain_per_rad"):
            if not 0 <= getattr(self, name) < np.inf:
                raise InvalidValueError(name, getattr(self, name), "a finite number, 0 or more")


class Headset:
    """A Device over any source of tracked hands."""

    Options = HeadsetOptions

    uses_feedback = True
    """Observations contain applied commands and heat margins, outside of simulated time."""

    usage = (
        "hold squeeze, or fold ring and little finger, to move   A start, X save, Y fail, B STOP, right stick enable"
    )
    """The controls, for the operator."""

    @staticmethod
    def option_classes(values: Mapping[str, str]) -> tuple[type | None, ...]:
        """Return the classes of the options: the headset's own, those of the retargeting, and those of the source."""
        del values
        from waldo.collect.retargeting.retargeter import RetargetOptions

        return HeadsetOptions, RetargetOptions, getattr(_source_class(), "Options", None)

    def __init__(
        self,
        robot: Robot,
        *,
        source: TrackingSource | None = None,
        clock_ns: Callable[[], int] = time.time_ns,
        **options: object,
    ) -> None:
        """Load the robot's model.

        Args:
            robot: Description of the robot; its arms need end effectors.
            source: Delivers the poses; by default the WebXR server, which gets the remaining options.
            clock_ns: The clock of the poses' stamps [ns].
            options: Those of `HeadsetOptions`, `RetargetOptions` and the source.
        """
        from waldo.collect.retargeting.clutch import Clutch
        from waldo.collect.retargeting.one_euro import PoseFilter
        from waldo.collect.retargeting.retargeter import Retargeter, RetargetOptions

        own, retargeting, rest = _split(options, HeadsetOptions, RetargetOptions)
        self.options = build_options(HeadsetOptions, own)
        self._retargeter = Retargeter(robot, build_options(RetargetOptions, retargeting), single=self.options.side)
        if source is not None and rest:
            build_options(HeadsetOptions, rest)  # raises with the known names
        self._source: TrackingSource = source if source is not None else _source_class()(robot, **rest)
        self._clock_ns = clock_ns
        sides = tuple(self._retargeter.arms.arms)
        self._clutches = {side: Clutch(self.options.scale) for side in sides}
        o = self.options
        self._filters = {side: PoseFilter(o.filter_hz, o.filter_gain_per_m, o.filter_gain_per_rad) for side in sides}
        # A switch that is held when the device starts, or after a fault, has to be released first.
        self._blocked = set(sides)
        self._held: dict[Side, bool] = dict.fromkeys(sides, False)
        self._pressed: frozenset[tuple[Side, int]] = frozenset()
        self._last: Tracking | None = None
        self._shown, self._shown_s, self._warned_s = "", 0.0, WARN_S

    def open(self) -> None:
        """Start to receive poses; raises HardwareError if that is impossible."""
        self._source.open()

    def step(self, observation: Observation, session: Session, dt_s: float) -> Array | None:
        """Return the targets (joints,) [rad or m] while a dead-man switch is held and every check passes, else None."""
        self._shown_s += dt_s
        self._warned_s += dt_s
        self._stop_by_page(session)
        tracking = self._source.latest()
        fault = self._sample_fault(tracking, dt_s)
        if fault or tracking is None:
            return self._stop(fault, session)
        self._request_services(tracking, session)
        wanted = self._wanted(tracking)
        fault = self._hands_fault(tracking, wanted)
        if fault:
            return self._stop(fault, session)
        self._last = tracking
        return self._follow(tracking, wanted, observation, session, dt_s)

    def image(self, stream: str, image: bytes | Image, stamp_ns: int) -> None:
        """Show a camera's image to the operator, if the source can.

        Args:
            stream: Stream of the camera.
            image: JPEG, or pixels (height, width, 3) of red, green and blue.
            stamp_ns: Time at which it was taken [ns].
        """
        if show := getattr(self._source, "image", None):
            show(stream, image, stamp_ns)

    def condition(self, condition: RobotCondition) -> None:
        """Show the robot's condition to the operator, if the source can."""
        if show := getattr(self._source, "condition", None):
            show(condition)

    def _stop_by_page(self, session: Session) -> None:
        """Call the services that were requested on a page beside the headset: stops."""
        take = getattr(self._source, "take_requests", None)
        for service in take() if take else ():
            session.request(service)
            self._release()

    # checks

    def _sample_fault(self, tracking: Tracking | None, dt_s: float) -> str:
        from waldo.collect.retargeting.tracking_checks import sample_fault

        return sample_fault(
            tracking,
            self._clock_ns(),
            max_age_s=self.options.max_age_s or 2 * dt_s,
            max_video_age_s=self.options.max_video_age_s,
        )

    def _hands_fault(self, tracking: Tracking, wanted: tuple[Side, ...]) -> str:
        """Return why the hands that are engaged, or are to be, may not move the robot."""
        from waldo.collect.retargeting.tracking_checks import hands_fault

        engaged = [side for side, clutch in self._clutches.items() if clutch.engaged]
        needed = {*wanted, *engaged}
        needed |= {self._switch_of(side) for side in needed}
        fault = hands_fault(tracking, sorted(needed))
        return fault or next((jump for side in engaged if (jump := self._jump(tracking, side))), "")

    def _jump(self, tracking: Tracking, side: Side) -> str:
        """Return why the motion of an engaged hand since the last cycle cannot be one; empty if it can."""
        from waldo.collect.retargeting.tracking_checks import motion_fault

        last = self._last
        if last is None or side not in last.hands:
            return ""
        return motion_fault(last.hands[side], tracking.hands[side], (tracking.stamp_ns - last.stamp_ns) / 1e9)

    def _stop(self, fault: str, session: Session) -> None:
        """Stop commanding until the operator has released and engaged again."""
        engaged = any(clutch.engaged for clutch in self._clutches.values())
        self._release()
        action = "the robot holds; release and squeeze again" if engaged else "the robot does not move"
        self._show(f"{fault}: {action}", WARN, session)

    def _release(self) -> None:
        """Let go of all arms until the operator has released every switch."""
        self._blocked = set(self._clutches)
        for clutch in self._clutches.values():
            clutch.release()

    # the operator's switches

    def _switch_of(self, side: Side) -> Side:
        """Return the hand whose switch engages the arm of a side."""
        other: Side = "left" if side == "right" else "right"
        return side if self.options.dead_man == "same" else other

    def _wanted(self, tracking: Tracking) -> tuple[Side, ...]:
        """Return the sides whose dead-man switch is held, and was released before."""
        for side in self._held:
            hand = tracking.hands.get(self._switch_of(side))
            grip = None if hand is None else _grip(hand)
            self._held[side] = grip is not None and grip > (RELEASED if self._held[side] else SQUEEZED)
            # A hand that is not tracked has released nothing.
            if grip is not None and grip < RELEASED:
                self._blocked.discard(side)
        return tuple(side for side, held in self._held.items() if held and side not in self._blocked)

    def _request_services(self, tracking: Tracking, session: Session) -> None:
        """Call the services whose buttons were pressed since the last sample."""
        pressed = frozenset(
            (side, number) for side, hand in tracking.hands.items() for number, down in enumerate(hand.buttons) if down
        )
        new, self._pressed = pressed - self._pressed, pressed
        for button in sorted(new & SERVICE_BUTTONS.keys()):
            service = SERVICE_BUTTONS[button]
            session.request(service)
            if service in DISENGAGING:
                self._release()

    # following

    def _follow(
        self, tracking: Tracking, wanted: tuple[Side, ...], observation: Observation, session: Session, dt_s: float
    ) -> Array | None:
        """Return the targets with which the robot follows the hands of some sides; None if there are none."""
        from waldo.collect.retargeting.retargeter import HandTarget

        self._engage(tracking, wanted, observation, session)
        if not wanted:
            return None
        targets = {}
        for side in wanted:
            hand = tracking.hands[side]
            pose = self._clutches[side].target(self._filters[side].step(hand.pose, dt_s))
            targets[side] = HandTarget(pose=pose, joints=hand.joints, closing=hand.trigger)
        result = self._retargeter.step(targets, observation.position, dt_s, observation.heat_margins)
        if result.fault:
            self._stop(result.fault, session)
            return None
        self._warn(result, observation, session)
        return result.command

    def _engage(self, tracking: Tracking, wanted: tuple[Side, ...], observation: Observation, session: Session) -> None:
        """Couple the hands whose switch is newly held, and release the others."""
        from waldo.collect.retargeting.frames import heading

        before = tuple(side for side, clutch in self._clutches.items() if clutch.engaged)
        if wanted and not before:
            self._retargeter.reset(observation.position, observation.applied)
        for side, clutch in self._clutches.items():
            if side not in wanted:
                clutch.release()
                self._filters[side].reset()
            elif not clutch.engaged:
                yaw = self._retargeter.arms.operator_yaw_rad - heading(tracking.head)
                clutch.engage(tracking.hands[side].pose, self._retargeter.pose(side), yaw)
        if wanted != before:
            self._show(f"following: {' and '.join(wanted)}" if wanted else "released: the robot holds", OK, session)

    def _warn(self, result: Retargeted, observation: Observation, session: Session) -> None:
        """Warn of targets out of reach and of hot joints, by text and vibration."""
        far = [side for side, error in result.errors_m.items() if error > OUT_OF_REACH_M]
        hot = [name for name, margin in observation.heat_margins.items() if margin < HOT_MARGIN]
        if not (far or hot) or self._warned_s < WARN_S:
            return
        self._warned_s = 0.0
        for side in far or result.errors_m:
            self._source.haptics(side, 0.4 if far else 0.7, 0.08)
        reasons = [f"{' and '.join(far)} out of reach"] if far else []
        reasons += [f"{', '.join(hot)} near the heat limit"] if hot else []
        self._show("; ".join(reasons), WARN, session)

    def _show(self, text: str, level: int, session: Session) -> None:
        """Show a text to the operator in the headset and beside it, once and then at intervals."""
        if text == self._shown and self._shown_s < REMIND_S:
            return
        self._shown, self._shown_s = text, 0.0
        session.notify(text, level)
        self._source.notify(text, level)

    @property
    def finished(self) -> bool:
        """Whether the operator has quit."""
        return self._source.finished

    def close(self) -> None:
        """Stop to receive poses."""
        self._source.close()


def _grip(hand: TrackedHand) -> float | None:
    """Return how far the dead-man switch of a hand is held, 0 to 1; None for one that is not tracked."""
    from waldo.collect.retargeting.hand_frame import finger_fold

    if not hand.tracked:
        return None
    if hand.joints is None:
        return hand.squeeze if np.isfinite(hand.squeeze) else None
    return finger_fold(hand.joints) if np.isfinite(hand.joints).all() else None


def _source_class() -> Any:
    import importlib

    module, _, name = SOURCE.partition(":")
    try:
        return getattr(importlib.import_module(module), name)
    except ModuleNotFoundError as error:
        raise MissingExtraError(str(error.name), "headset") from error


def _split(options: Mapping[str, object], *kinds: type) -> tuple[dict[str, Any], ...]:
    """Return the options of each class, and those of none."""
    from dataclasses import fields

    names = [{field.name for field in fields(kind)} for kind in kinds]
    found = [{key: value for key, value in options.items() if key in own} for own in names]
    return *found, {key: value for key, value in options.items() if not any(key in own for own in names)}
