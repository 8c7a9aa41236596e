"""What must be in order before an episode starts; each exception has a name and a reason, and can be overridden.

No ROS; all times are arguments.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from waldo.collect.recorder.disk_space import Space
from waldo.collect.recorder.stamp_offset import describe
from waldo.collect.status_watch import StatusChange
from waldo.datasets import schema
from waldo.datasets.video.images import jpeg_size
from waldo.errors import ImageError
from waldo.robots.cameras.encoded import check_pixels
from waldo.robots.cameras.ros_images import Image
from waldo.robots.diagnostics import ERROR, MotorStatus

HEAT_S = 30.0
"""Time to a motor's limit below which an episode would be interrupted by it [s]."""
LOOK_S = 1.0
"""Interval at which a camera's image is looked at [s]."""
BLACK = 8.0
"""Mean brightness up to which an image is black, 0 to 255."""
FLAT = 2.0
"""Standard deviation of the brightness up to which an image shows nothing, 0 to 255."""
OVERRIDE_S = 10.0
"""Time in which a second start overrides the gates that refused the first one [s]."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Gate:
    """Something that is not in order."""

    name: str
    """What: "stream cameras/front", "camera front", "clock", "disk", "fault elbow_flex", "heat"."""
    reason: str
    """Why, and what to do."""


class CameraContent:
    """Looks at a camera's images once a second: a covered lens, or a camera in its start, records nothing."""

    def __init__(self) -> None:
        """Initialize without cameras."""
        self._due_s: dict[str, float] = {}
        self._empty: dict[str, str] = {}

    def add(self, stream: str, image: bytes | Image, monotonic_s: float) -> None:
        """Look at an image of a color camera, if it is time."""
        if not stream.startswith(schema.CAMERA_PREFIX) or monotonic_s < self._due_s.get(stream, -np.inf):
            return
        self._due_s[stream] = monotonic_s + LOOK_S
        gray = _thumbnail(image)
        if gray is None:
            return
        mean, deviation = float(gray.mean()), float(gray.std())
        self._empty[stream] = "is black" if mean <= BLACK else "shows one even area" if deviation <= FLAT else ""

    def gates(self) -> list[Gate]:
        """Return a gate for each camera that shows nothing."""
        return [
            Gate(name=f"camera {stream.partition('/')[2]}", reason=f"its image {text}; check its lens cap and exposure")
            for stream, text in sorted(self._empty.items())
            if text
        ]


def _thumbnail(image: bytes | Image) -> Image | None:
    """Return an eighth of an image's brightness; None if it cannot be decoded."""
    import cv2

    if isinstance(image, bytes):
        try:
            check_pixels(*jpeg_size(image))
            found = cv2.imdecode(np.frombuffer(image, dtype=np.uint8), cv2.IMREAD_REDUCED_GRAYSCALE_8)
        except (ImageError, cv2.error):  # the recorder reports it
            return None
        return None if found is None else found.astype(np.uint8)
    return image[::8, ::8].mean(axis=2).astype(np.uint8) if image.ndim == 3 else None


def check_gates(
    *,
    stopped: Collection[str],
    offsets_ns: Mapping[str, int],
    space: Space,
    faults: Sequence[StatusChange],
    motors: Mapping[str, MotorStatus],
) -> list[Gate]:
    """Return what is not in order.

    Args:
        stopped: Streams whose messages have stopped.
        offsets_ns: Stream -> how far its stamps are behind this machine's clock [ns], if they are of another clock.
        space: Remaining recording time.
        faults: Faults of motors and components.
        motors: Joint -> its motor's readings.
    """
    found = [Gate(name=f"stream {name}", reason="its messages have stopped; check its driver") for name in stopped]
    found += [Gate(name="clock", reason=describe(name, offset)) for name, offset in offsets_ns.items()]
    if space.low:
        found.append(Gate(name="disk", reason=f"{space}; free some space or record to another disk"))
    found += [Gate(name=f"fault {one.name}", reason=one.text) for one in faults if one.level >= ERROR]
    for joint, motor in motors.items():
        left_s = motor.values.get("time_to_limit_seconds", np.nan)
        if left_s < HEAT_S:
            text = f"{joint} reaches its temperature limit in {left_s:.0f} s at the present load; let it rest"
            found.append(Gate(name="heat", reason=text))
    return found


class StartGates:
    """Refuses a start while something is not in order; a second start within ten seconds overrides it."""

    def __init__(self, check: Callable[[], Sequence[Gate]]) -> None:
        """Initialize; `check` returns what is not in order."""
        self.check = check
        self._refused: frozenset[str] = frozenset()
        self._refused_s = -np.inf

    def refusal(self, monotonic_s: float) -> tuple[str, Sequence[Gate]]:
        """Return why a start is refused, or an empty text and the gates that are overridden by it."""
        closed = list(self.check())
        names = frozenset(gate.name for gate in closed)
        if not closed or (names <= self._refused and monotonic_s - self._refused_s <= OVERRIDE_S):
            self._refused = frozenset()
            return "", closed
        self._refused, self._refused_s = names, monotonic_s
        reasons = "; ".join(f"{gate.name}: {gate.reason}" for gate in closed)
        return f"{reasons}. Start again to record anyway, which is noted in the episode", closed
