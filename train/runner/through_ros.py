"""Evaluation of a policy in the loop that also drives a robot: robot node, DDS, inference beside the loop, blending.

Success depends on these settings as much as on the weights, so they are part of the result. The robot is the simulated
twin in simulated time: the latency of the inference is a setting, and the machine's own speed changes nothing.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

from waldo.robots import diagnostics
from waldo.robots.description import Robot
from waldo.sim.evaluation.results import success_interval
from waldo.train.runner.attempts import Attempt, AttemptConfig, Attempts
from waldo.train.runner.inference import Client
from waldo.train.runner.lockstep import LockstepInference
from waldo.train.runner.node import PolicyNode
from waldo.train.runner.policy_loop import LoopConfig
from waldo.train.runner.robot_policy import RobotPolicy

if TYPE_CHECKING:
    from waldo.ros import Graph


@dataclass(frozen=True, kw_only=True)
class LoopSettings:
    """The settings of the loop that a success rate belongs to."""

    latency_s: float | None
    """Time from an observation to its actions [s]; the median, if it was measured; None if there was no answer."""
    chunk: int
    """Actions that one look predicts."""
    replan_s: float
    """Time between two looks [s]."""
    blend_s: float
    """Time in which the difference between two chunks fades out [s]."""
    action_hz: float
    """Actions per second."""
    control_hz: float
    """Commands per second."""
    rtc: bool
    """Whether the policy continued the actions that were carried out while it inferred (real-time chunking)."""


@dataclass(frozen=True, kw_only=True)
class RosResult:
    """Result of an evaluation through ROS."""

    seeds: list[int]
    """Seed of each episode."""
    success: list[bool]
    """Whether each episode reached its goal."""
    seconds: list[float]
    """Time to success of each episode, or its duration [s]."""
    wilson_95: tuple[float, float]
    """95 % Wilson score interval of the success rate."""
    max_winding_c: dict[str, float]
    """Joint -> maximum winding temperature; the motors keep their heat from one episode to the next [°C]."""
    settings: LoopSettings
    """The settings of the loop."""
    chunks: int
    """Chunks that were played."""
    jumps: tuple[float, float]
    """Median differences between chunks in position [rad or m] and velocity [rad/s or m/s], before smoothing."""
    holds: dict[str, int] = field(default_factory=dict[str, int])
    """Reason -> times that the robot held because of it."""

    @property
    def rate(self) -> float:
        """Success rate, 0 to 1."""
        return sum(self.success) / len(self.success)

    def as_json(self) -> dict[str, Any]:
        """Return the result as JSON values."""
        return {**asdict(self), "rate": self.rate}


def evaluate_through_ros(
    graph: Graph,
    robot: Robot,
    client: Client,
    policy: RobotPolicy,
    *,
    seeds: list[int],
    horizon_s: float,
    latency_s: float | None,
    config: LoopConfig,
    chunk: int,
    advance: Callable[[int, int, str], None],
    done: Callable[[], bool],
) -> RosResult:
    """Evaluate a policy against a robot node that waits for it in simulated time.

    Args:
        graph: The node on the ROS graph, in the robot's namespace.
        robot: The robot, whose node starts with the first seed and takes the next one at each reset.
        client: A connection to the policy's server.
        policy: What is known of the policy.
        seeds: Seed of each episode.
        horizon_s: Time limit of an episode [s].
        latency_s: Time from an observation to its actions [s]; None: as long as the inference takes here.
        config: Options of the loop; its rate is that of the simulation.
        chunk: Actions that one look predicts.
        advance: Progress callback, in episodes.
        done: Whether to end early.
    """
    import numpy as np
    from diagnostic_msgs.msg import DiagnosticArray
    from std_srvs.srv import Trigger

    from waldo import ros

    loop = policy.make_loop(robot, LockstepInference(client, lambda: node.view.state_ns, latency_s), config)
    clients = {name: graph.node.create_client(Trigger, f"robot/{name}") for name in ("reset", "task_done")}
    windings: dict[str, float] = {}

    def on_motors(message: Any) -> None:
        for joint, motor in diagnostics.from_message(message).items():
            value = motor.values.get("winding_celsius", math.nan)
            if math.isfinite(value):
                windings[joint] = max(value, windings.get(joint, -math.inf))

    def call(name: str) -> tuple[bool, str]:
        response = graph.call(clients[name], Trigger.Request(), 60.0)
        return (False, "no response") if response is None else (response.success, response.message)

    results: list[Attempt] = []

    def on_attempt(attempt: Attempt) -> None:
        results.append(attempt)
        succeeded = sum(one.success is True for one in results)
        advance(len(results), len(seeds), f"{succeeded} of {len(results)} succeeded")

    graph.subscribe(DiagnosticArray, "motors", on_motors, ros.stream_qos())
    attempts = Attempts(
        AttemptConfig(episodes=len(seeds), time_limit=horizon_s), call, simulated=True, on_attempt=on_attempt
    )
    topics = {
        key: graph.node.resolve_topic_name(f"cameras/{key.rpartition('.')[2]}/image_raw/compressed")
        for key in policy.images
    }
    node = PolicyNode(graph, loop, robot.joint_names, topics, attempts=attempts, lockstep=1)
    totals = node.run(done)
    success = [attempt.success is True for attempt in results]
    jumps = np.median(np.array(totals.jumps or [(0.0, 0.0)]), axis=0)
    measured = float(np.median(totals.inference_s)) if totals.inference_s else None
    return RosResult(
        seeds=seeds[: len(results)],
        success=success,
        seconds=[attempt.seconds for attempt in results],
        wilson_95=success_interval(sum(success), max(len(success), 1)),
        max_winding_c=windings,
        settings=LoopSettings(
            latency_s=measured if latency_s is None else latency_s,
            chunk=chunk,
            replan_s=config.replan or policy.replan_s,
            blend_s=config.blend,
            action_hz=policy.contract.fps,
            control_hz=config.rate,
            rtc=policy.rtc and config.rtc,
        ),
        chunks=totals.chunks,
        # Rounded: equal runs differ in the last bits, since the loop's time does not start at the same instant.
        jumps=(round(float(jumps[0]), 9), round(float(jumps[1]), 9)),
        holds=totals.holds,
    )
