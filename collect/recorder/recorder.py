"""The recorder: the streams that a robot offers, and the episodes recorded from them. No ROS, and no clock."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, Literal, Unpack

import numpy as np

from waldo.collect.recorder.checks.camera_watch import CameraWatch
from waldo.collect.recorder.checks.joint_gates import JointGates
from waldo.collect.recorder.checks.live_quality import LiveQuality
from waldo.collect.recorder.state_rate import MIN_RATE_SAMPLES, StateRate
from waldo.collect.recorder.topics import without_hint
from waldo.datasets import schema
from waldo.datasets.dataset import Dataset
from waldo.datasets.quality.rules import Rules
from waldo.datasets.recording.access_units import AccessUnit
from waldo.datasets.recording.live_decoder import key_frame
from waldo.datasets.recording.stamps import Stamps
from waldo.datasets.recording.writer import EpisodeWriter
from waldo.datasets.streams import CRF, DepthStream, Field, ScalarStream, Stream, VideoStream
from waldo.datasets.video.images import decode_jpeg
from waldo.errors import ImageError, WaldoError, count
from waldo.robots.cameras.ros_images import Image
from waldo.robots.description import Robot
from waldo.typing import Array

COMMANDS = (schema.COMMAND, schema.APPLIED)
"""Streams that may start after the episode: before the first command there is no message."""

MOTORS_HZ = 10.0
"""Nominal rate of the motors stream [Hz]."""

CAMERA_FPS = 30.0
"""Nominal rate of a camera that the robot's description does not list [Hz]."""

MIN_PIXELS = 16
"""Smallest width and height of a camera's images; H.264 encodes blocks of 16x16."""

SIZE_CHECK_NS = 1_000_000_000
"""Interval between two checks of a camera's image size between episodes [ns]; its driver may have been restarted."""


class State(Enum):
    """State of the recorder."""

    IDLE = "idle"
    RECORDING = "recording"
    STOPPED = "stopped"
    """The episode is closed and waits for its outcome."""


class RecorderError(WaldoError):
    """A request that is not possible in the present state."""


@dataclass(frozen=True, kw_only=True)
class RecorderConfig:
    """How streams are stored."""

    rate_hz: float = 60.0
    """Nominal rate of the joints before it has been measured [Hz]."""
    codec: Literal["h264", "lossless", "jpeg"] = "h264"
    """Codec of the cameras."""
    crf: int = CRF
    """Quality of h264, 0 to 51: lower is better and larger."""
    encoder: str = "auto"
    """Encoder of h264: auto, libx264, h264_nvenc or h264_vaapi."""
    rules: Rules = field(default_factory=Rules)
    """The rules of quality, which the live episode is checked by."""
    lockstep: bool = False
    """Simulated time: wait for encoders and finalization, so that the same input gives the same bytes."""


class Recorder:
    """Records episodes of a dataset from rows and frames."""

    def __init__(
        self, dataset: Dataset, robot: Robot, attributes: Mapping[str, Any], config: RecorderConfig | None = None
    ) -> None:
        """Initialize without an episode.

        Args:
            dataset: A locked dataset.
            robot: Description of the robot.
            attributes: Attributes of every episode.
            config: How streams are stored.
        """
        self.dataset, self.robot = dataset, robot
        self.config = config or RecorderConfig()
        self.state = State.IDLE
        self.announced_hz: float | None = None
        """Rate at which the robot states that it publishes [Hz]; None if it does not state it."""
        self.task: Mapping[str, Any] = {}
        """Attributes of the next episodes, as published on the topic `task`."""
        self.saved = 0
        """Number of episodes saved since the start."""
        self.last_outcome = ""
        """Outcome of the episode that was saved last."""
        self._attributes = dict(attributes)
        joints = robot.joint_names
        self._streams: dict[str, Stream] = {
            name: schema.joint_stream(name, self.config.rate_hz, joints) for name in (schema.STATE, *COMMANDS)
        }
        self._streams[schema.MOTORS] = schema.motors_stream(MOTORS_HZ, joints)
        self._streams[schema.CONTROL] = schema.control_stream(self.config.rate_hz)
        self._writer: EpisodeWriter | None = None
        self._late: set[str] = set()
        self._span_ns: list[int] = []
        self._size_checked_ns: dict[str, int] = {}
        self._rate = StateRate()
        self._received: set[str] = set()
        self._in_episode: set[str] = set()
        self._refused: dict[str, str] = {}
        self._not_finite: set[str] = set()
        self.quality = LiveQuality(robot, self.config.rules, rate_hz=self.rate_hz, lost=self.lost)
        """The rules, applied to the live episode."""
        self.cameras = CameraWatch(self.config.rules)
        """What the cameras show between episodes."""
        self.joints = JointGates(robot)
        """Where the joints are between episodes."""

    # messages

    def row(self, stream: str, *, values: Mapping[str, Array], **stamps: Unpack[Stamps]) -> None:
        """Add one row of a known stream; it is written while an episode is being recorded."""
        self._received.add(stream)
        self._refused.pop(stream, None)
        if stream == schema.STATE and self.state is State.IDLE:
            self._rate.add(stamps["header_ns"])
            self.cameras.state(np.asarray(values["position"]))
            self.joints.state(values["position"], stamps["header_ns"])
        elif stream == schema.APPLIED:
            self.joints.applied(values["position"], stamps["header_ns"])
        writer = self._writer_of(stream, stamps)
        if writer is not None:
            if stream == schema.STATE:
                self._report_not_finite(values["position"], stamps["header_ns"])
            writer.row(stream, values=values, **stamps)
            # Recorded first: checking it must not cost it.
            self.quality.row(stream, values, stamps)

    def _report_not_finite(self, position: Array, at_ns: int) -> None:
        """Add an error to the episode for each joint whose position is not a finite number, once."""
        for joint, value in zip(self.robot.joint_names, position, strict=True):
            if not math.isfinite(value) and joint not in self._not_finite:
                self._not_finite.add(joint)
                self.event("not_finite", f"the position of {joint} is {value}", at_ns=at_ns, level="error", joint=joint)

    def refuse(self, stream: str, reason: str) -> None:
        """Refuse to start an episode because of a stream, until its next row or frame."""
        self._refused[stream] = reason

    def named_values(self, name: str, names: Sequence[str], values: Array, **stamps: Unpack[Stamps]) -> None:
        """Add a row of a stream whose messages name their values; the names become the stream's labels.

        Args:
            name: The stream: the ground truth of a simulation, or what a policy states about its commands.
            names: Names of the values.
            values: Shape (names,).
            stamps: Times and sequence number.
        """
        self._received.add(name)
        if not names:
            return
        stream = self._streams.get(name)
        known = stream.fields[0].labels if isinstance(stream, ScalarStream) else ()
        if known != tuple(names):
            if self.state is State.RECORDING and name in self._in_episode:
                found, expected = ", ".join(names), ", ".join(known)
                raise RecorderError(f"the names are {found}, expected {expected} as at the start of the episode")
            fields = (Field(schema.DEFAULT_FIELD, "", tuple(names)),)
            self._streams[name] = ScalarStream(name=name, rate_hz=self.config.rate_hz, fields=fields)
        self.row(name, values={schema.DEFAULT_FIELD: values}, **stamps)

    def frame(self, stream: str, image: bytes | Image | AccessUnit, **stamps: Unpack[Stamps]) -> None:
        """Add one frame of a camera; the size of the first frame becomes the stream's.

        Args:
            stream: `cameras/<name>` or `depth/<name>`.
            image: A JPEG, H.264, uint8 (H, W, 3), or depth uint16 (H, W) [mm].
            stamps: Times and sequence number.
        """
        # Of H.264 only key frames are checked: the others are decoded on the encoder's thread.
        still = key_frame(image) if isinstance(image, AccessUnit) else image
        if still is not None and self._must_check_size(stream, stamps["header_ns"]):
            pixels = decode_jpeg(still) if isinstance(still, bytes) else still
            self._streams[stream] = self._image_stream(stream, pixels)
        if stream not in self._streams:
            raise ImageError("waits for a key frame, which states its size")
        self._received.add(stream)
        self._refused.pop(stream, None)
        writer = self._writer_of(stream, stamps)
        if writer is not None:
            writer.frame(stream, image=image, **stamps)
            self.quality.frame(stream, still, stamps)
        elif still is not None:
            self.cameras.image(stream, still, stamps["header_ns"], stamps["header_ns"])

    def report_lost(self, stream: str) -> None:
        """Count a message that was received but could not be decoded as lost."""
        if self._writer is not None and self.state is State.RECORDING and stream in self._in_episode:
            self._writer.report_lost(stream, 1)

    def event(self, kind: str, text: str, *, at_ns: int, **detail: Any) -> None:
        """Add an event to the episode that is being recorded; without one it is dropped."""
        if self._writer is not None and self.state is State.RECORDING:
            self._writer.event(kind, text, at_ns=at_ns, **detail)

    def _must_check_size(self, stream: str, header_ns: int) -> bool:
        """Return whether to check a frame's size: for a new stream, and at intervals between episodes."""
        if stream in self._streams and self.state is not State.IDLE:
            return False
        if stream in self._streams and header_ns - self._size_checked_ns.get(stream, 0) < SIZE_CHECK_NS:
            return False
        self._size_checked_ns[stream] = header_ns
        return True

    def _image_stream(self, stream: str, pixels: Image) -> Stream:
        """Return the description of a camera's stream from one of its frames."""
        height, width = pixels.shape[:2]
        if min(height, width) < MIN_PIXELS:
            raise ImageError(f"image of {width}x{height}, expected at least {MIN_PIXELS}x{MIN_PIXELS}")
        camera = stream.partition("/")[2]
        fps = next((float(c.fps) for c in self.robot.cameras if c.name == camera), CAMERA_FPS)
        if stream.startswith(schema.DEPTH_PREFIX):
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
        """Return the writer if the episode that is being recorded has this stream.

        A stream that starts during an episode is not part of it; `save` reports its name.
        """
        if self._writer is None or self.state is not State.RECORDING:
            return None
        if stream in self._in_episode:
            self._span_ns = [self._span_ns[0] if self._span_ns else stamps["receipt_ns"], stamps["receipt_ns"]]
            return self._writer
        self._late.add(stream)
        return None

    # status

    def rate_hz(self, stream: str) -> float:
        """Return a stream's nominal rate [Hz]."""
        known = self._streams.get(stream)
        return known.rate_hz if known else self.config.rate_hz

    @property
    def seconds(self) -> float:
        """Duration of the live episode [s]; 0 without one."""
        return (self._span_ns[1] - self._span_ns[0]) / 1e9 if self._writer and self._span_ns else 0.0

    @property
    def nbytes(self) -> int:
        """Size of the live journal [bytes]; 0 without one."""
        return self._writer.nbytes if self._writer else 0

    def lost(self, stream: str) -> int:
        """Return the number of lost messages of a stream in the live episode; 0 without one."""
        return self._writer.lost(stream) if self._writer and stream in self._in_episode else 0

    @property
    def index(self) -> int:
        """Index of the live episode, or else of the next one."""
        return self._writer.index if self._writer else self.dataset.next_index

    @property
    def waiting(self) -> int:
        """Number of frames that wait for an encoder."""
        return self._writer.waiting if self._writer else 0

    # requests of the operator

    def start(self, expected: Sequence[str] = ()) -> str:
        """Start an episode.

        Args:
            expected: Streams with a publisher; all but commands must have been received.

        Returns:
            A confirmation for the operator.

        Raises:
            RecorderError: If an episode is open, or nothing was received on an expected stream.
        """
        self.check_start(expected)
        self._set_rate()
        self._rate.clear()  # the pause until the next measurement would count as a slow rate
        # A simulation that waits for the operator has not applied a command yet.
        present = {*self._received, *COMMANDS, *([schema.CONTROL] if self.config.lockstep else [])}
        streams = [stream for name, stream in self._streams.items() if name in present]
        self.dataset.check_resume(self.robot.name, streams)
        self._in_episode = {stream.name for stream in streams}
        self._late.clear()
        self._not_finite.clear()
        self._span_ns = []
        pressure = "wait" if self.config.lockstep else "spill"
        self._writer = self.dataset.begin(streams, {**self._attributes, **self.task}, back_pressure=pressure)
        self.quality.begin(self._in_episode)
        self.cameras, self.joints = CameraWatch(self.config.rules), JointGates(self.robot)  # not fed meanwhile
        self.state = State.RECORDING
        return f"recording {self.task.get('task', '')}".strip()

    def check_start(self, expected: Sequence[str]) -> None:
        """Raise RecorderError if an episode is open, or nothing was received on an expected stream."""
        if self.state is not State.IDLE:
            raise RecorderError(f"cannot start: an episode is {self.state.value}; save, fail or discard it first")
        for name in (schema.STATE, *expected):
            if name in self._refused:
                raise RecorderError(f"cannot start: {self._refused[name]}{without_hint([name])}")
        silent = [name for name in (schema.STATE, *expected) if name not in {*self._received, *COMMANDS}]
        if silent:
            raise RecorderError(
                f"cannot start: no message received yet on {', '.join(dict.fromkeys(silent))}; "
                f"check that the robot and its cameras are publishing{without_hint(silent)}"
            )

    def _set_rate(self) -> None:
        """Set the rate of the joints' streams; raises RecorderError if it is not known yet."""
        rate_hz = self._rate.nominal_hz(self.announced_hz, self.dataset.nominal_rate_hz(schema.STATE))
        if rate_hz is None and not self.config.lockstep:
            raise RecorderError(
                f"cannot start: only {count(len(self._rate), 'state')} received, and {MIN_RATE_SAMPLES} are needed "
                "to measure the robot's rate; try again in a moment"
            )
        if rate_hz is None:
            return
        for name in (schema.STATE, *COMMANDS, schema.CONTROL, schema.ENVIRONMENT, schema.POLICY):
            if name in self._streams:
                self._streams[name] = dataclasses.replace(self._streams[name], rate_hz=rate_hz)

    def stop(self) -> str:
        """Close the episode; `save` or `discard` then decides its outcome."""
        if self.state is not State.RECORDING:
            raise RecorderError(f"cannot stop: the recorder is {self.state.value}")
        self.state = State.STOPPED
        return "stopped; save, fail or discard the episode"

    def save(self, outcome: str, reason: str = "operator") -> str:
        """Save the episode.

        Args:
            outcome: "success", "failure" or "unknown".
            reason: Why the recording ended.

        Returns:
            A confirmation for the operator.
        """
        writer = self._open_episode("save")
        try:
            path = writer.save(outcome=outcome, reason=reason, wait=self.config.lockstep)
        except Exception:  # its journal stays: the next start recovers it
            self.abandon()
            raise
        self._writer, self.state = None, State.IDLE
        self.saved, self.last_outcome = self.saved + 1, outcome
        names = ", ".join(sorted(self._late))
        late = f"; not recorded because they started after the episode: {names}" if names else ""
        return f"{path.name} saved as {outcome}{late}"

    def discard(self) -> str:
        """Delete the open episode."""
        self._open_episode("discard").discard()
        self._writer, self.state = None, State.IDLE
        return "discarded"

    def abandon(self) -> None:
        """Drop an episode that can no longer be written; its journal stays and is recovered at the next start."""
        self._writer, self.state = None, State.IDLE

    def undo(self) -> str:
        """Delete the last saved episode."""
        if self.state is not State.IDLE:
            raise RecorderError(f"cannot undo: an episode is {self.state.value}; save, fail or discard it first")
        return f"deleted the last episode (index {self.dataset.undo()})"

    def close(self) -> None:
        """Save an episode that is still open, with the reason "interrupted"."""
        if self._writer is not None:
            self.save("unknown", "interrupted")

    def _open_episode(self, request: str) -> EpisodeWriter:
        if self._writer is None:
            raise RecorderError(f"cannot {request}: no episode is being recorded; start one first")
        return self._writer
