"""The recorder: which streams a robot offers, and the episodes that are cut from them. No ROS in here, and no clock."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from enum import Enum
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from waldo.datasets.dataset import Dataset
from waldo.datasets.streams import Field, ScalarStream, Stream, VideoStream
from waldo.errors import WaldoError
from waldo.robots.description import Robot

Array = NDArray[np.float64]

JOINT_UNITS = {"position": "rad", "velocity": "rad/s", "effort": "N·m"}
"""Fields of joints/state and their units."""

MOTOR_UNITS = {
    "winding": "°C",
    "housing": "°C",
    "current": "A",
    "voltage": "V",
    "torque": "N·m",
    "duty": "1",
    "time_to_limit": "s",
}
"""Fields of motors and their units."""


class State(Enum):
    """What the recorder is doing."""

    IDLE = "idle"
    RECORDING = "recording"
    STOPPED = "stopped"
    """An episode is closed and waits for its outcome."""


class RecorderError(WaldoError):
    """The operator asked for something that is not possible now."""


class Recorder:
    """Cuts episodes from the messages it is given and keeps them in a dataset."""

    def __init__(self, dataset: Dataset, robot: Robot, attributes: Mapping[str, Any], *, rate_hz: float = 60.0) -> None:
        """Take a locked dataset, the robot, attributes of every episode and the nominal rate of the joints [Hz]."""
        self.dataset, self.robot = dataset, robot
        self.state = State.IDLE
        self.task: Mapping[str, Any] = {}
        self.received: dict[str, int] = {}
        self._attributes = dict(attributes)
        self._rate_hz = rate_hz
        self._streams: dict[str, Stream] = {}
        self._writer: Any = None
        self._late: set[str] = set()
        joints = robot.joint_names
        for name, units in {
            "joints/state": JOINT_UNITS,
            "joints/command": {"position": "rad"},
            "joints/sent": {"position": "rad"},
        }.items():
            self._streams[name] = ScalarStream(
                name=name, rate_hz=rate_hz, fields=tuple(Field(key, unit, joints) for key, unit in units.items())
            )
        self._streams["motors"] = ScalarStream(
            name="motors", rate_hz=10.0, fields=tuple(Field(key, unit, joints) for key, unit in MOTOR_UNITS.items())
        )
        self._seen: set[str] = set()
        self._in_episode: set[str] = set()

    # messages

    def row(self, stream: str, *, header_ns: int, receipt_ns: int, sequence: int, values: Mapping[str, Array]) -> None:
        """Take one row of a known stream; written while an episode is being recorded."""
        self._seen.add(stream)
        if self.state is State.RECORDING and not self._too_late(stream):
            self._writer.row(stream, header_ns=header_ns, receipt_ns=receipt_ns, sequence=sequence, values=values)

    def environment(
        self, names: Sequence[str], values: Array, *, header_ns: int, receipt_ns: int, sequence: int
    ) -> None:
        """Take the ground truth of a simulation; its names become the stream's labels."""
        self._seen.add("environment")
        if not names:
            return
        stream = self._streams.get("environment")
        if not isinstance(stream, ScalarStream) or stream.fields[0].labels != tuple(names):
            field = Field("value", "", tuple(names))
            self._streams["environment"] = ScalarStream(name="environment", rate_hz=self._rate_hz, fields=(field,))
        self.row("environment", header_ns=header_ns, receipt_ns=receipt_ns, sequence=sequence, values={"value": values})

    def frame(self, camera: str, rgb: NDArray[np.uint8], *, header_ns: int, receipt_ns: int, sequence: int) -> None:
        """Take one camera image (height, width, 3); its size becomes the stream's."""
        name = f"cameras/{camera}"
        self._seen.add(name)
        height, width = rgb.shape[:2]
        known = self._streams.get(name)
        if not isinstance(known, VideoStream) or (known.height, known.width) != (height, width):
            fps = next((float(c.fps) for c in self.robot.cameras if c.name == camera), 30.0)
            self._streams[name] = VideoStream(name=name, width=width, height=height, rate_hz=fps)
        if self.state is State.RECORDING and not self._too_late(name):
            self._writer.frame(name, header_ns=header_ns, receipt_ns=receipt_ns, sequence=sequence, rgb=rgb)

    def _too_late(self, stream: str) -> bool:
        """Say whether a stream appeared after the episode began; what is not recorded of it is reported as lost."""
        if stream not in self._late and stream in self._in_episode:
            return False
        self._late.add(stream)
        return True

    # the operator

    def start(self, expected: Sequence[str] = ()) -> str:
        """Begin an episode; `expected` names the streams whose topics exist: all but commands must have been heard."""
        if self.state is not State.IDLE:
            raise RecorderError(f"cannot start: an episode is {self.state.value}; save, fail or discard it first")
        commands = ("joints/command", "joints/sent")
        silent = [name for name in ("joints/state", *expected) if name not in {*self._seen, *commands}]
        if silent:
            raise RecorderError(f"cannot start: nothing heard yet on {', '.join(dict.fromkeys(silent))}")
        streams = [stream for name, stream in self._streams.items() if name in self._seen or name in commands]
        self._in_episode = {stream.name for stream in streams}
        self._late.clear()
        self._writer = self.dataset.begin(streams, {**self._attributes, **self.task})
        self.state = State.RECORDING
        return f"recording {self.task.get('task', '')}".strip()

    def stop(self) -> str:
        """Close the episode; its outcome comes with save, fail or discard."""
        if self.state is not State.RECORDING:
            raise RecorderError(f"cannot stop: the recorder is {self.state.value}")
        self.state = State.STOPPED
        return "stopped; save, fail or discard it"

    def save(self, outcome: str, reason: str = "operator") -> str:
        """Keep the episode with its outcome ("success", "failure", "unknown") and the reason why it ended."""
        self._need_episode("save")
        path = Path(self._writer.save(outcome=outcome, reason=reason))
        self._writer, self.state = None, State.IDLE
        late = f"; appeared too late to be recorded: {', '.join(sorted(self._late))}" if self._late else ""
        return f"{path.name} saved as {outcome}{late}"

    def discard(self) -> str:
        """Throw the episode away."""
        self._need_episode("discard")
        self._writer.discard()
        self._writer, self.state = None, State.IDLE
        return "discarded"

    def undo(self) -> str:
        """Take back the last saved episode."""
        if self.state is not State.IDLE:
            raise RecorderError(f"cannot undo: an episode is {self.state.value}; save, fail or discard it first")
        return f"took back {self.dataset.undo()}"

    def close(self) -> None:
        """Keep an episode that is still open, as interrupted: nothing recorded is thrown away."""
        if self._writer is not None:
            self.save("unknown", "interrupted")

    def _need_episode(self, what: str) -> None:
        if self.state is State.IDLE:
            raise RecorderError(f"cannot {what}: no episode is being recorded; start one first")
