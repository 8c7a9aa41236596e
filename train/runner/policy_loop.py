"""The loop between a policy and a robot: one command per control cycle from chunks that are inferred meanwhile.

No ROS, and time is passed in. Whatever makes the next command doubtful ends in a command without joints, on which the
robot holds at once: an old state or image, no answer in time, an answer to another question, a target far away.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np

from waldo.errors import InvalidValueError
from waldo.robots.control.arbiter import Source
from waldo.robots.control.safety import MAX_CLOCK_LEAD_S
from waldo.robots.description import Robot
from waldo.train.policies.rtc import DELAY, PREFIX
from waldo.train.runner.chunks import ChunkPlayer
from waldo.train.runner.inference import Answer, Question
from waldo.typing import Array

IGNORED_S = 0.5
"""Time for which the robot may hold although it is commanded, before the policy looks again [s]."""

RETRY_S = 0.5
"""Interval between a question without an answer and the next one [s]."""

WAITING = "waiting for the policy's first actions"
"""Why the robot is not commanded before the first answer."""

REPORTED = (
    "observation_age_s",
    "action_age_s",
    "inference_s",
    "chunk",
    "jump_position",
    "jump_velocity",
    "speed_ratio",
)
"""Names of what is stated about each command, in the order of `Step.values`."""


@dataclass(frozen=True, kw_only=True)
class LoopConfig:
    """Options of the loop."""

    rate: float = 50.0
    """Commands per second [Hz]."""
    replan: float | None = None
    """Time between two looks of the policy [s]; None: as long as it was trained to act without looking."""
    pace: float = 1.0
    """Speed at which actions are carried out, as a fraction of that in which they were predicted."""
    blend: float = 0.2
    """Time in which the difference between two chunks fades out [s]."""
    rtc: bool = True
    """Let a policy that supports real-time chunking continue the actions that are carried out while it infers."""
    max_state_age: float = 0.1
    """Hold if the robot's state is older than this [s]."""
    max_image_age: float = 0.3
    """Hold if an image is older than this [s]."""
    max_action_age: float = 2.0
    """Hold if the present action answers an observation older than this [s]."""
    max_distance: float = 0.8
    """Hold if a target is farther from the robot than this [rad or m]."""

    def __post_init__(self) -> None:
        """Reject values out of range."""
        if not 5 <= self.rate <= 1000:
            raise InvalidValueError("rate", self.rate, "5 to 1000 commands per second")
        for name in ("max_state_age", "max_image_age", "max_action_age", "max_distance"):
            if not 0 < getattr(self, name) < 60:
                raise InvalidValueError(name.replace("_", "-"), getattr(self, name), "a number above 0 and below 60")
        if self.replan is not None and not 0 < self.replan < 60:
            raise InvalidValueError("replan", self.replan, "seconds above 0 and below 60")
        if not 0.1 <= self.pace <= 1:
            raise InvalidValueError("pace", self.pace, "0.1 to 1")
        if not 0 <= self.blend <= 2:
            raise InvalidValueError("blend", self.blend, "0 to 2 seconds")


SLOWEST_OF = 10
"""Number of inferences of which the slowest one is the time that the next one is expected to take."""

HISTORY = 200
"""States that are kept, to find the one at the time of an image: more than a second of most robots."""


@dataclass(slots=True)
class RobotView:
    """What is known of the robot in a cycle; the node updates it with each message."""

    state_ns: int = 0
    """Time of the state [ns]; 0 before the first one."""
    position: Array = field(default_factory=lambda: np.zeros(0))
    """Joint positions, (joints,) [rad or m]."""
    history: deque[tuple[int, Array]] = field(default_factory=lambda: deque[tuple[int, Array]](maxlen=HISTORY))
    """Times [ns] and joint positions of the last states, oldest first."""
    images: dict[str, tuple[int, Any]] = field(default_factory=dict[str, tuple[int, Any]])
    """Key such as `observation.images.front` -> time [ns] and encoded image."""
    task: tuple[str, object] = ("", None)
    """The instruction, and what distinguishes its scene from the one before."""
    control: Source = Source.HOLD
    """Who controls the robot."""
    hold_reason: str = ""
    """Why the robot holds; empty while it follows."""
    speed_ratio: float = 1.0
    """Fraction of full speed that the governor allows."""

    def add_state(self, stamp_ns: int, position: Array) -> None:
        """Add the newest state."""
        self.state_ns, self.position = stamp_ns, position
        self.history.append((stamp_ns, position))

    def position_at(self, stamp_ns: int) -> Array:
        """Return the joint positions of the state nearest to a time, (joints,) [rad or m]."""
        return min(self.history, key=lambda one: abs(one[0] - stamp_ns))[1].copy()


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """Result of a cycle."""

    targets: Array | None = None
    """Joint positions to command, (joints,) [rad or m]; None to command nothing."""
    reason: str = ""
    """Why the robot is not commanded."""
    release: bool = False
    """Whether to publish a command without joints, on which the robot holds."""
    values: tuple[float, ...] = ()
    """What is stated about the command, named by `REPORTED`."""


class Asker(Protocol):
    """Answers questions beside the loop; `Inference` is one."""

    @property
    def is_busy(self) -> bool:
        """Whether a question waits for its answer."""
        ...

    @property
    def error(self) -> str:
        """Why no question can be answered at present; empty while it can."""
        ...

    def ask(self, question: Question) -> None:
        """Ask a question."""
        ...

    def answer(self) -> Answer | None:
        """Return the next answer; None if there is none yet."""
        ...


type BuildObservation = Callable[[Array, Mapping[str, Any], str], Mapping[str, Any]]
"""Returns the observation of positions (joints,), encoded images by key, and an instruction."""


class PolicyLoop:
    """Decides in each cycle what to command."""

    def __init__(
        self,
        robot: Robot,
        inference: Asker,
        build: BuildObservation,
        *,
        fps: float,
        replan_s: float,
        cameras: tuple[str, ...] = (),
        rtc: bool = False,
        config: LoopConfig | None = None,
    ) -> None:
        """Initialize without a chunk.

        Args:
            robot: The robot.
            inference: Answers questions.
            build: Returns the observation for the policy.
            fps: Actions per second.
            replan_s: Time between two looks, unless the configuration sets it [s].
            cameras: Keys of the images that the policy needs.
            rtc: Whether the policy supports real-time chunking.
            config: The options.
        """
        self.config = config or LoopConfig()
        self._robot, self._inference, self._build, self._cameras = robot, inference, build, cameras
        self._replan_s = self.config.replan or replan_s
        self._fps, self._rtc = fps, rtc and self.config.rtc
        self.player = ChunkPlayer(robot, fps, blend_s=self.config.blend)
        """Plays the chunks."""
        self._number = 0
        self._wanted: int | None = None
        self._asked_s = -np.inf
        self._observed = (0.0, 0)
        self._retry_s = self._ignored_s = 0.0
        self._task: tuple[str, object] | None = None
        self._commanding = False
        self._error = ""
        self.inference_s = np.nan
        """Duration of the last inference [s]; NaN before the first one."""
        self._durations_s: deque[float] = deque(maxlen=SLOWEST_OF)
        self._chunk_observed_ns = self._scene_ns = 0

    def step(self, view: RobotView, now_ns: int, dt_s: float) -> Step:
        """Return what to command in a cycle of `dt_s` [s] that starts at `now_ns`."""
        self._retry_s -= dt_s
        self._receive(view)
        if view.control is Source.PERSON:
            # A person's commands reach the robot by themselves; afterwards the policy looks again.
            self._drop(view)
            self._commanding = False
            return Step(reason="a person controls the robot", values=self._values(view, now_ns))
        if (fault := self._fault(view, now_ns)) is not None:
            return self._hold(view, fault, now_ns)
        if view.task != self._task:
            # Images of the scene before may still be the newest ones.
            self._scene_ns = 0 if self._task is None else now_ns
            self._task = view.task
            self._drop(view)
        self._look(view, now_ns)
        if not self.player.has_chunk:
            return self._hold(view, self._error or WAITING, now_ns)
        if self._is_ignored(view, dt_s):
            self._drop(view)
            return self._hold(view, view.hold_reason or "the robot does not follow", now_ns)
        if (doubt := self._doubt(view, now_ns)) is not None:
            self._drop(view)
            return self._hold(view, doubt, now_ns)
        values = self._values(view, now_ns)
        if not self._commanding:
            self.player.start(view.position)
        self._commanding = True
        return Step(targets=self.player.step(dt_s, view.speed_ratio * self.config.pace), values=values)

    def pause(self, view: RobotView) -> None:
        """Stop between two attempts: the next one starts with a new look."""
        self._drop(view)
        self._commanding = False

    def _fault(self, view: RobotView, now_ns: int) -> str | None:
        """Return why the robot must not be commanded, or None."""
        config = self.config
        if not view.state_ns:
            return "no joint_states received"
        if (fault := _age_fault("the robot's state", now_ns - view.state_ns, config.max_state_age)) is not None:
            return fault
        if not np.isfinite(view.position).all():
            return "the robot's state is not finite"
        for key in self._cameras:
            name = key.rpartition(".")[2]
            if key not in view.images:
                return f"no image of camera {name} received"
            age_ns = now_ns - view.images[key][0]
            if (fault := _age_fault(f"the image of camera {name}", age_ns, config.max_image_age)) is not None:
                return fault
        if not view.task[0]:
            return "no instruction; pass --task"
        return self._inference.error or None

    def _doubt(self, view: RobotView, now_ns: int) -> str | None:
        """Return why the next target must not be commanded, or None."""
        config = self.config
        age_s = (now_ns - self._chunk_observed_ns) / 1e9
        if age_s > config.max_action_age:
            why = self._error or "the policy is too slow"
            return f"the last actions answer an observation {age_s:.2f} s old ({why})"
        distance = np.abs(self.player.target() - view.position)
        worst = int(distance.argmax())
        if distance[worst] > config.max_distance:
            name = self._robot.joint_names[worst]
            return (
                f"the policy's target for {name} is {distance[worst]:.2f} from the robot, limit {config.max_distance:g}"
            )
        return None

    def _receive(self, view: RobotView) -> None:
        """Change to the chunk of an answer; answers to questions that no longer matter are dropped."""
        while (answer := self._inference.answer()) is not None:
            if answer.number != self._wanted:
                continue
            self._wanted = None
            self._error = answer.error or _actions_fault(answer.actions, len(self._robot.joints))
            if answer.actions is None or self._error:
                # The policy is not trusted any further: what is left of its last chunk is dropped as well.
                self._drop(view)
                self._retry_s = RETRY_S
                continue
            self.inference_s = answer.seconds
            self._durations_s.append(answer.seconds)
            observed_s, self._chunk_observed_ns = self._observed
            self.player.add(answer.actions, observed_s)

    def _look(self, view: RobotView, now_ns: int) -> None:
        """Ask for the next chunk if it is due.

        Images are older than the state: the policy receives the state at the time of the oldest image, as in its
        training, and its actions are due from that time on.
        """
        due = not self.player.has_chunk or self.player.time_s - self._asked_s >= self._replan_s
        if not due or self._retry_s > 0 or self._inference.is_busy:
            return
        if any(view.images[key][0] <= self._scene_ns for key in self._cameras):
            return
        images, text = {key: view.images[key][1] for key in self._cameras}, view.task[0]
        observed_ns = min([view.state_ns, *(view.images[key][0] for key in self._cameras)])
        position = view.position_at(observed_ns)
        self._number += 1
        self._wanted, self._asked_s = self._number, self.player.time_s
        pace = view.speed_ratio * self.config.pace
        age_s = max(0.0, (now_ns - observed_ns) / 1e9) * pace
        self._observed = (self.player.time_s - age_s, observed_ns)
        more = self._continuation(age_s, pace)
        self._inference.ask(
            Question(number=self._number, build=lambda: {**self._build(position, images, text), **more})
        )

    def _continuation(self, age_s: float, pace: float) -> dict[str, Any]:
        """Return what a policy with real-time chunking needs to continue the present chunk.

        Args:
            age_s: Chunk time since the observation [s].
            pace: Chunk time per time.
        """
        if not (self._rtc and self.player.has_chunk and self._durations_s):
            return {}
        prefix = self.player.ahead(self._observed[0])
        delay = math.ceil((age_s + max(self._durations_s) * pace) * self._fps)
        return {PREFIX: prefix.astype(np.float32), DELAY: delay} if len(prefix) else {}

    def _is_ignored(self, view: RobotView, dt_s: float) -> bool:
        """Return whether the robot holds although it has been commanded for a time."""
        self._ignored_s = self._ignored_s + dt_s if self._commanding and view.control is Source.HOLD else 0.0
        return self._ignored_s > IGNORED_S

    def _drop(self, view: RobotView) -> None:
        """Drop the chunk, and the answer that is still to come."""
        self._wanted, self._ignored_s = None, 0.0
        self.player.reset(view.position if view.state_ns else self._robot.home)

    def _hold(self, view: RobotView, reason: str, now_ns: int) -> Step:
        """Return the step of a robot that is not commanded; the first one makes the robot hold."""
        first, self._commanding = self._commanding, False
        if reason and self.player.has_chunk:
            self._drop(view)
        return Step(reason=reason, release=first, values=self._values(view, now_ns))

    def _values(self, view: RobotView, now_ns: int) -> tuple[float, ...]:
        """Return the values of `REPORTED`; NaN where there is none."""
        oldest = [view.state_ns, *(view.images[key][0] for key in self._cameras if key in view.images)]
        has_chunk, border = self.player.has_chunk, self.player.border
        return (
            (now_ns - min(oldest)) / 1e9 if view.state_ns else np.nan,
            (now_ns - self._chunk_observed_ns) / 1e9 if has_chunk else np.nan,
            self.inference_s,
            float(self.player.chunks),
            border.position if border else np.nan,
            border.velocity if border else np.nan,
            view.speed_ratio,
        )


def _age_fault(name: str, age_ns: int, limit_s: float) -> str | None:
    """Return why an age is not accepted, or None; it cannot be judged if a clock was set back or is ahead."""
    age_s = age_ns / 1e9
    if age_s < -MAX_CLOCK_LEAD_S:
        return f"{name} is {-age_s:.2f} s in the future; check whether a clock was set back"
    return f"{name} is {age_s:.2f} s old, limit {limit_s:g} s" if age_s > limit_s else None


def _actions_fault(actions: Array | None, joints: int) -> str:
    """Return why actions (actions, joints) must not be commanded; empty if they may."""
    if actions is None:
        return "the policy has no answer"
    if actions.shape[1] != joints:
        return f"the policy commands {actions.shape[1]} joints, the robot has {joints}"
    return "" if np.isfinite(actions).all() else "the policy's actions are not finite"
