"""The processes of `waldo eval --through-ros`: a simulated robot, a policy server, and the loop between them."""

from __future__ import annotations

import dataclasses
import os
import tempfile
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

from waldo.process import ProcessError, own_graph, waldo_processes
from waldo.robots.control.cycle import CONTROL_HZ
from waldo.train.policies.checkpoint import find_checkpoint
from waldo.train.runner.policy_loop import LoopConfig

if TYPE_CHECKING:
    from waldo.sim.evaluation.results import EvalConfig
    from waldo.train.runner.through_ros import RosResult


def evaluate_checkpoint(
    checkpoint: Path,
    config: EvalConfig,
    loop: LoopConfig,
    latency_s: float | None,
    advance: Callable[[int, int, str], None],
) -> RosResult:
    """Evaluate a checkpoint through ROS.

    Args:
        checkpoint: Folder of the policy.
        config: The options of the evaluation.
        loop: Options of the loop between policy and robot.
        latency_s: Time from an observation to its actions [s]; None: as long as the inference takes here.
        advance: Progress callback, in episodes.
    """
    from waldo.robots.description import load_robot
    from waldo.ros import join_graph
    from waldo.sim.tasks.task import load_task
    from waldo.train.runner.robot_policy import robot_policy
    from waldo.train.runner.through_ros import evaluate_through_ros
    from waldo.train.serving.child import LocalServer

    task = load_task(config.task)
    robot = load_robot(task.robot)
    with ExitStack() as stack:
        server = LocalServer(find_checkpoint(checkpoint))
        stack.callback(server.close)
        client = server.connect()
        policy = robot_policy(client.metadata, client.url)
        policy.require_robot(robot, {key: key.rpartition(".")[2] for key in policy.images})
        sizes = {size for size in policy.images.values()}
        logs = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="waldo-eval-")))
        scene = ("--task", config.task, "--seed", str(config.first_seed), "--lockstep", "operator")
        size = ("--camera-size", *map(str, next(iter(sizes)))) if len(sizes) == 1 else ()
        warm = ("--start-temperature", str(config.start_c))
        cameras = () if sizes else ("--no-cameras",)
        commands = {"robot": ("robot", robot.name, *scene, *size, *warm, *cameras)}
        processes = stack.enter_context(waldo_processes(commands, logs, ("robot",)))
        os.environ.update(own_graph())
        graph = stack.enter_context(join_graph("policy", robot.name))

        def ended() -> bool:
            code = processes["robot"].poll()
            if code is not None:
                raise ProcessError("robot", code, logs / "robot.log")
            return False

        return evaluate_through_ros(
            graph,
            robot,
            client,
            policy,
            seeds=list(range(config.first_seed, config.first_seed + config.episodes)),
            horizon_s=config.horizon_s or task.horizon_s,
            latency_s=latency_s,
            config=dataclasses.replace(loop, rate=float(CONTROL_HZ)),
            chunk=int(client.metadata.get("action_horizon", 0)),
            advance=advance,
            done=ended,
        )
