"""What must be in order before an episode starts; each exception has a name and a reason, and can be overridden.

No ROS; all times are arguments.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence

import numpy as np

from waldo.collect.recorder.checks.camera_watch import CameraWatch
from waldo.collect.recorder.checks.disk_space import Space
from waldo.collect.recorder.checks.gate import Gate
from waldo.collect.recorder.checks.stamp_offset import describe
from waldo.collect.status_watch import StatusChange
from waldo.datasets import schema
from waldo.robots.diagnostics import ERROR, MotorStatus

HEAT_S = 30.0
"""Time to a motor's limit below which an episode would be interrupted by it [s]."""
OVERRIDE_S = 10.0
"""Time in which a second start overrides the gates that refused the first one [s]."""


def camera_gates(watch: CameraWatch) -> list[Gate]:
    """Return a gate for each camera that shows nothing, or the same image while the robot moves."""
    return [Gate(name=f"camera {schema.camera_name(stream)}", reason=reason) for stream, reason in watch.present()]


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
            found.append(Gate(name=f"heat {joint}", reason=text))
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
