"""The recorder: which streams a robot offers, and the episodes that are cut from them. No ROS in here, and no clock."""

from __future__ import annotations

import dataclasses
import math
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any, Literal, Unpack

from waldo.collect.recorder.images import Picture, decode_colour
from waldo.datasets.dataset import Dataset
from waldo.datasets.recording.stamps import Stamps
from waldo.datasets.recording.writer import EpisodeWriter
from waldo.datasets.streams import CRF, DepthStream, Field, ScalarStream, Stream, VideoStream
from waldo.errors import WaldoError
from waldo.robots.description import Robot
from waldo.typing import Array

JOINT_UNITS = {"position": "rad", "velocity": "rad/s", "effort": "N·m"}
"""Fields of joints/state and their units."""

MOTOR_UNITS = {
    "winding": "°C",
    "winding_std": "K",
    "housing": "°C",
    "current": "A",
    "voltage": "V",
    "torque": "N·m",
    "duty": "1",
    "time_to_limit": "s",
    "derate": "1",
    "winding_sensor": "°C",
    "housing_sensor": "°C",
    "driver_sensor": "°C",
}
"""Fields of motors and their units."""

RATE_ROWS = 30
"""How many states tell the robot's rate; up to ten times as many are looked at."""
FAR_OFF = 1.5
"""A rate that differs by this factor from the dataset's is another one."""
USUAL_HZ = tuple(
    map(float, (10, 15, 20, 25, 30, 40, 50, 60, 75, 90, 100, 120, 125, 150, 200, 250, 300, 400, 500, 1000))
)
"""Rates that robots run at."""
NEAR = 0.08
"""A rate as near to a usual one as this is meant to be that."""

COMMANDS = ("joints/command", "joints/sent")
"""Streams that may begin after the episode: nobody has commanded anything yet."""

LOOK_AGAIN_NS = 1_000_000_000
"""Between episodes a camera's picture size is looked at this often [ns]: its driver may have been started anew."""


class State(Enum):
    """What the recorder is doing."""

    IDLE = "idle"
    RECORDING = "recording"
    STOPPED = "stopped"
    """An episode is closed and waits for its outcome."""


class RecorderError(WaldoError):
    """The operator asked for something that is not possible now."""


@dataclass(frozen=True, kw_only=True)
class RecorderConfig:
    """How the recorder keeps what it is given."""

    rate_hz: float = 60.0
    """Nominal rate of the joints [Hz]."""
    codec: Literal["h264", "lossless", "jpeg"] = "h264"
    """How cameras are kept."""
    crf: int = CRF
    """Quality of h264, 0 to 51: lower is better and larger."""
    encoder: str = "auto"
    """What encodes h264: auto, libx264, h264_nvenc or h264_vaapi."""
    lockstep: bool = False
    """Simulated time: wait for encoders and seals, so that the same input gives the same bytes."""


class Recorder:
    """Cuts episodes from the messages it is given and keeps them in a dataset."""

    def __init__(
        self, dataset: Dataset, robot: Robot, attributes: Mapping[str, Any], config: RecorderConfig | None = None
    ) -> None:
        """Take a locked dataset, the robot, attributes of every episode and how to keep what comes."""
        self.dataset, self.robot = dataset, robot
        self.config = config or RecorderConfig()
        self.state = State.IDLE
        self.task: Mapping[str, Any] = {}
        self._attributes = dict(attributes)
        self._streams: dict[str, Stream] = {}
        self._writer: EpisodeWriter | None = None
        self._late: set[str] = set()
        self._span_ns: list[int] = []
        self._looked_ns: dict[str, int] = {}
        self._streams["joints/state"] = self._scalar("joints/state", self.config.rate_hz, JOINT_UNITS)
        for name in COMMANDS:
            self._streams[name] = self._scalar(name, self.config.rate_hz, {"position": "rad"})
        self._streams["motors"] = self._scalar("motors", 10.0, MOTOR_UNITS)
        self._heard_ns: deque[int] = deque(maxlen=10 * RATE_ROWS)
        self._seen: set[str] = set()
        self._in_episode: set[str] = set()

    def _scalar(self, name: str, rate_hz: float, units: Mapping[str, str]) -> ScalarStream:
        fields = tuple(Field(key, unit, self.robot.joint_names) for key, unit in units.items())
        return ScalarStream(name=name, rate_hz=rate_hz, fields=fields)

    # messages

    def row(self, stream: str, *, values: Mapping[str, Array], **stamps: Unpack[Stamps]) -> None:
        """Take one row of a known stream; written while an episode is being recorded."""
        self._seen.add(stream)
        if stream == "joints/state" and self.state is State.IDLE:
            self._heard_ns.append(stamps["header_ns"])
        writer = self._writer_of(stream, stamps)
        if writer is not None:
            writer.row(stream, values=values, **stamps)

    def environment(self, names: Sequence[str], values: Array, **stamps: Unpack[Stamps]) -> None:
        """Take the ground truth of a simulation; its names become the stream's labels."""
        self._seen.add("environment")
        if not names:
            return
        stream = self._streams.get("environment")
        if not isinstance(stream, ScalarStream) or stream.fields[0].labels != tuple(names):
            field = Field("value", "", tuple(names))
            self._streams["environment"] = ScalarStream(
                name="environment", rate_hz=self.config.rate_hz, fields=(field,)
            )
        self.row("environment", values={"value": values}, **stamps)

    def frame(self, stream: str, image: bytes | Picture, **stamps: Unpack[Stamps]) -> None:
        """Take one picture of `cameras/<name>` or `depth/<name>`: a JPEG, uint8 (H, W, 3), or uint16 (H, W) in mm.

        The first picture's size becomes the stream's.
        """
        self._seen.add(stream)
        if self._should_look(stream, stamps["header_ns"]):
            pixels = decode_colour(image) if isinstance(image, bytes) else image
            self._streams[stream] = self._image_stream(stream, pixels)
        writer = self._writer_of(stream, stamps)
        if writer is not None:
            writer.frame(stream, image=image, **stamps)

    def lose(self, stream: str) -> None:
        """Note that a message came which could not be read."""
        if self._writer is not None and self.state is State.RECORDING and stream in self._in_episode:
            self._writer.report_lost(stream, 1)

    def event(self, kind: str, text: str, *, at_ns: int, **detail: Any) -> None:
        """Note in the episode's record something that happened; nothing while no episode is being recorded."""
        if self._writer is not None and self.state is State.RECORDING:
            self._writer.event(kind, text, at_ns=at_ns, **detail)

    def _should_look(self, stream: str, header_ns: int) -> bool:
        """Say whether a picture's size is to be looked at: it is new, or no episode depends on what is known."""
        if stream in self._streams and self.state is not State.IDLE:
            return False
        if stream in self._streams and header_ns - self._looked_ns.get(stream, 0) < LOOK_AGAIN_NS:
            return False
        self._looked_ns[stream] = header_ns
        return True

    def _image_stream(self, stream: str, pixels: Picture) -> Stream:
        """Return the description of a camera's stream from one of its pictures."""
        height, width = pixels.shape[:2]
        camera = stream.partition("/")[2]
        fps = next((float(c.fps) for c in self.robot.cameras if c.name == camera), 30.0)
        if stream.startswith("depth/"):
            return DepthStream(name=stream, width=width, height=height, rate_hz=fps)
        return VideoStream(
            name=stream,
            width=width,
            height=height,
            rate_hz=fps,
            codec=self.config.codec,
            crf=self.config.crf,
            encoder=self.config.encoder,
        )

    def _writer_of(self, stream: str, stamps: Stamps) -> EpisodeWriter | None:
        """Return the writer if an episode is recording that has this stream.

        A stream may appear after the episode began; then it is not in it, and that is said when it is saved.
        """
        if self._writer is None or self.state is not State.RECORDING:
            return None
        if stream in self._in_episode:
            self._span_ns = [self._span_ns[0] if self._span_ns else stamps["receipt_ns"], stamps["receipt_ns"]]
            return self._writer
        self._late.add(stream)
        return None

    # what is shown

    def rate_hz(self, stream: str) -> float:
        """Return a stream's nominal rate [Hz]."""
        known = self._streams.get(stream)
        return known.rate_hz if known else self.config.rate_hz

    @property
    def seconds(self) -> float:
        """How long the episode has been recording [s]; 0 without one."""
        return (self._span_ns[1] - self._span_ns[0]) / 1e9 if self._writer and self._span_ns else 0.0

    @property
    def nbytes(self) -> int:
        """Bytes of the live journal; 0 without one."""
        return self._writer.nbytes if self._writer else 0

    @property
    def lost(self) -> int:
        """Messages of the live episode that are missing."""
        writer = self._writer
        return sum(writer.lost(name) for name in self._in_episode) if writer else 0

    @property
    def waiting(self) -> int:
        """Frames that wait for an encoder."""
        return self._writer.waiting if self._writer else 0

    # the operator

    def start(self, expected: Sequence[str] = ()) -> str:
        """Begin an episode; `expected` names the streams whose topics exist: all but commands must have been heard."""
        if self.state is not State.IDLE:
            raise RecorderError(f"cannot start: an episode is {self.state.value}; save, fail or discard it first")
        silent = [name for name in ("joints/state", *expected) if name not in {*self._seen, *COMMANDS}]
        if silent:
            raise RecorderError(f"cannot start: nothing heard yet on {', '.join(dict.fromkeys(silent))}")
        self._learn_rate()
        # What is heard during an episode is not kept: with what came before, it would look like a slow robot.
        self._heard_ns.clear()
        streams = [stream for name, stream in self._streams.items() if name in self._seen or name in COMMANDS]
        self.dataset.check_resume(self.robot.name, streams)
        self._in_episode = {stream.name for stream in streams}
        self._late.clear()
        self._span_ns = []
        pressure = "wait" if self.config.lockstep else "spill"
        self._writer = self.dataset.begin(streams, {**self._attributes, **self.task}, back_pressure=pressure)
        self.state = State.RECORDING
        return f"recording {self.task.get('task', '')}".strip()

    def _learn_rate(self) -> None:
        """Take the rate of the joints' streams from what was heard of the robot: it is the robot's to choose.

        On a busy machine it is heard more slowly than it means: an earlier episode's rate stands unless it is far off.
        """
        span_ns = self._heard_ns[-1] - self._heard_ns[0] if len(self._heard_ns) >= RATE_ROWS else 0
        if span_ns <= 0:
            return
        heard_hz = (len(self._heard_ns) - 1) * 1e9 / span_ns
        known = self.dataset.nominal_rate_hz("joints/state")
        if known is not None and 1 / FAR_OFF < heard_hz / known < FAR_OFF:
            rate_hz = known
        else:
            usual = min(USUAL_HZ, key=lambda hz: abs(math.log(hz / heard_hz)))
            rate_hz = usual if abs(usual / heard_hz - 1) < NEAR else float(round(heard_hz))
        for name in ("joints/state", *COMMANDS, "environment"):
            if name in self._streams:
                self._streams[name] = dataclasses.replace(self._streams[name], rate_hz=rate_hz)

    def stop(self) -> str:
        """Close the episode; its outcome comes with save, fail or discard."""
        if self.state is not State.RECORDING:
            raise RecorderError(f"cannot stop: the recorder is {self.state.value}")
        self.state = State.STOPPED
        return "stopped; save, fail or discard it"

    def save(self, outcome: str, reason: str = "operator") -> str:
        """Keep the episode with its outcome ("success", "failure", "unknown") and the reason why it ended."""
        writer = self._need_episode("save")
        path = writer.save(outcome=outcome, reason=reason, wait=self.config.lockstep)
        self._writer, self.state = None, State.IDLE
        late = f"; appeared too late to be recorded: {', '.join(sorted(self._late))}" if self._late else ""
        return f"{path.name} saved as {outcome}{late}"

    def discard(self) -> str:
        """Throw the episode away."""
        self._need_episode("discard").discard()
        self._writer, self.state = None, State.IDLE
        return "discarded"

    def abandon(self) -> None:
        """Let go of an episode that can no longer be written: its journal is kept, and recovered at the next start."""
        self._writer, self.state = None, State.IDLE

    def undo(self) -> str:
        """Take back the last saved episode."""
        if self.state is not State.IDLE:
            raise RecorderError(f"cannot undo: an episode is {self.state.value}; save, fail or discard it first")
        return f"took back {self.dataset.undo()}"

    def close(self) -> None:
        """Keep an episode that is still open, as interrupted: nothing recorded is thrown away."""
        if self._writer is not None:
            self.save("unknown", "interrupted")

    def _need_episode(self, what: str) -> EpisodeWriter:
        if self._writer is None:
            raise RecorderError(f"cannot {what}: no episode is being recorded; start one first")
        return self._writer
