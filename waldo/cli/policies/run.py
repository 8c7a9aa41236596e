"""`waldo run`: let a policy drive a robot."""

from __future__ import annotations

import dataclasses
import os
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import tyro

from waldo.errors import ConflictingOptionsError, InvalidValueError, MissingOptionError, UnsupportedOptionError
from waldo.robots.control.cycle import CONTROL_HZ
from waldo.train.runner.attempts import AttemptConfig
from waldo.train.runner.policy_loop import LoopConfig
from waldo.train.serving import TOKEN_VARIABLE

if TYPE_CHECKING:
    from waldo.collect.devices.scripted import Correction
    from waldo.ros import Graph
    from waldo.train.runner.attempts import Attempt, Attempts
    from waldo.train.runner.node import RunTotals
    from waldo.train.runner.policy_loop import Asker
    from waldo.train.runner.robot_policy import RobotPolicy
    from waldo.train.serving.client import PolicyClient

CAMERAS_S = 10.0
"""Time in which the robot's cameras must appear [s]."""

ROBOT_S, TOPICS_S = 10.0, 2.0
"""Time in which the robot must appear, and after that its other topics [s]."""


@dataclass(frozen=True, kw_only=True)
class Run:
    """Let a policy drive a robot on the ROS graph, through the same safety chain as a person.

    A person can take over at any time with `waldo teleop`, and hands back by letting go. If anything is doubtful, the
    robot holds and the reason is shown: an old state or image, no answer in time, a policy of another robot.
    """

    policy: tyro.conf.Positional[Path | None] = None
    """Checkpoint folder, or output folder of `waldo train` for its last checkpoint."""
    server: str = ""
    """Address of a policy server instead, such as ws://gpu.local:8000: `waldo serve`, or any with openpi's messages."""
    token: str | None = None
    """Token of the server; default: the environment variable WALDO_SERVE_TOKEN."""
    ca_file: Path | None = None
    """Certificates (PEM) to trust beside the system's, for wss."""
    contract: Path | None = None
    """File that states joints, unit and rate of the actions, for a server that does not."""
    rename: Annotated[tuple[str, ...], tyro.conf.UseAppendAction] = ()
    """Name of an input on a server of another kind, such as --rename observation.images.front=observation/image;
    repeatable."""
    camera: Annotated[tuple[str, ...], tyro.conf.UseAppendAction] = ()
    """Camera of the robot that the policy knows by another name, as POLICY=ROBOT, such as --camera front=overhead;
    repeatable."""
    task: str = ""
    """The instruction; a simulated robot states its own."""
    robot: str = "so101"
    """Name of the robot."""
    namespace: str = ""
    """ROS namespace of the robot; by default its name."""
    seconds: float | None = None
    """Time after which to end; None: until Ctrl-C."""
    device: str = "cpu"
    """Device of a local policy: cpu, cuda or mps."""
    threads: int = 1
    """CPU threads of a local policy."""
    loop: LoopConfig = field(default_factory=LoopConfig)
    """When the policy looks, and when the robot holds."""
    attempts: AttemptConfig = field(default_factory=AttemptConfig)
    """Attempts one after another, and what is recorded of them."""
    correct_after: float | None = None
    """A scripted person takes over from a policy in simulation that is not done after this time [s]."""
    first: int = 0
    """Number of the scripted person's first attempt, which seeds its noise."""
    lockstep: int = 0
    """Simulated time: number of nodes that must receive each command (1 for the robot, 2 with a recorder)."""
    latency: float | None = None
    """Time from an observation to its actions in simulated time [s]; by default the time that the inference takes."""

    def __post_init__(self) -> None:
        """Check that there is exactly one policy."""
        if self.policy is None and not self.server:
            raise MissingOptionError("waldo run", "a policy", "pass a checkpoint folder or --server ws://HOST:PORT")
        if self.policy is not None and self.server:
            raise ConflictingOptionsError("a checkpoint folder", "--server")
        if self.lockstep < 0:
            raise InvalidValueError("--lockstep", self.lockstep, "a number from 0")
        if self.latency is not None and not 0 <= self.latency < 10:
            raise InvalidValueError("--latency", self.latency, "0 to 10 s")
        if self.latency is not None and not self.lockstep:
            raise MissingOptionError("--latency", "--lockstep", "in real time the inference takes its own time")
        if self.correct_after is not None and not 0 < self.correct_after < 3600:
            raise InvalidValueError("--correct-after", self.correct_after, "seconds above 0")
        if self.seconds is not None and self.seconds <= 0:
            raise InvalidValueError("--seconds", self.seconds, "a time above 0")

    def run(self) -> int:
        """Run until Ctrl-C, SIGTERM or the end of the time."""
        from waldo.cli.support.notices import show_notices
        from waldo.collect.notice import Notice
        from waldo.console import err
        from waldo.process import until_signaled
        from waldo.robots.description import load_robot
        from waldo.ros import join_graph
        from waldo.train.runner.inference import Inference
        from waldo.train.runner.lockstep import LockstepInference
        from waldo.train.runner.node import PolicyNode

        signaled = until_signaled()
        robot = load_robot(self.robot)
        show = show_notices("")
        with ExitStack() as stack:
            connect = self._connect(stack)
            client = connect()
            policy = self.describe(client.metadata, client.url)
            graph = stack.enter_context(join_graph("policy", self.namespace or robot.name))
            cameras = self.find_cameras(graph, policy, signaled)
            policy.require_robot(robot, {key: _camera_of(topic) for key, topic in cameras.items()})
            if self.lockstep:
                inference: Asker = LockstepInference(client, lambda: node.view.state_ns, self.latency)
            else:
                inference = connected = Inference(client, connect, self._same_policy(client.metadata))
                stack.callback(connected.close)
            loop = policy.make_loop(robot, inference, self.loop_config())
            person = self._person(lambda: node.task_name)
            attempts = self._attempts(graph, person)
            node = PolicyNode(
                graph,
                loop,
                robot.joint_names,
                cameras,
                task=self.task,
                attempts=attempts,
                person=None if person is None else person.step,
                lockstep=self.lockstep,
                on_event=lambda event: show(Notice(level=event.level, text=event.text)),
            )
            err().print(f"{policy.name} drives {robot.name}; stop with Ctrl-C", markup=False)
            end_s = None if self.seconds is None else time.monotonic() + self.seconds
            totals = node.run(lambda: signaled() or (end_s is not None and time.monotonic() > end_s))
        for line in summary(totals, [] if attempts is None else attempts.results):
            err().print(line, markup=False)
        return 130 if signaled() else 0

    def loop_config(self) -> LoopConfig:
        """Return the options of the loop; in simulated time the rate is that of the simulation."""
        return dataclasses.replace(self.loop, rate=float(CONTROL_HZ)) if self.lockstep else self.loop

    def _person(self, task: Callable[[], str]) -> Correction | None:
        """Return the scripted person who corrects the policy, if there is one; `task` returns the task's name."""
        if self.correct_after is None:
            return None
        from waldo import registry
        from waldo.collect.devices.scripted import Correction

        make_expert: Callable[..., Any] = registry.load("waldo.experts", "scripted", "expert")
        return Correction(lambda number: make_expert(task(), seed=self.first + number), self.correct_after)

    def _attempts(self, graph: Graph, person: Correction | None) -> Attempts | None:
        """Return the attempts to carry out; None for one that lasts until the end."""
        from waldo.collect.services import Services
        from waldo.train.runner.attempts import Attempts

        if self.attempts == AttemptConfig() and person is None:
            return None
        count = graph.node.count_publishers
        graph.spin_until(lambda: count("joint_states") > 0, ROBOT_S)
        # The topics of a process are found one after another.
        simulated = graph.spin_until(lambda: count("environment_state") > 0, TOPICS_S)
        if person is not None and not simulated:
            raise UnsupportedOptionError("--correct-after", "a real robot", do="take over with: waldo teleop")
        services = Services(graph, lambda: True, lambda notice: None)

        def call(name: str) -> tuple[bool, str]:
            response = services.call(name)
            return response.success, response.message

        return Attempts(
            self.attempts,
            call,
            simulated=simulated,
            on_attempt=show_attempt,
            on_reset=(lambda: None) if person is None else person.begin,
        )

    def _connect(self, stack: ExitStack) -> Callable[[], PolicyClient]:
        """Return a function that connects to the server; start one for a local policy."""
        from waldo.console import err
        from waldo.train.serving.client import PolicyClient

        if self.policy is not None:
            from waldo.train.policies.checkpoint import find_checkpoint
            from waldo.train.serving.child import LocalServer

            folder = find_checkpoint(self.policy)
            with err().status("loading the policy"):
                server = LocalServer(folder, ("--device", self.device, "--threads", str(self.threads)))
            stack.callback(server.close)
            return server.connect
        token = self.token if self.token is not None else os.environ.get(TOKEN_VARIABLE)
        authorities = None if self.ca_file is None else str(self.ca_file)
        return lambda: PolicyClient(self.server, token=token, ca_file=authorities)

    def describe(self, metadata: Mapping[str, Any], url: str) -> RobotPolicy:
        """Return what is known of the policy."""
        from waldo.train.runner.robot_policy import robot_policy

        renamed = dict(_pairs("--rename", self.rename, "observation.images.front=observation/image"))
        return robot_policy(metadata, url, contract_file=self.contract, renamed=renamed)

    def _same_policy(self, metadata: Mapping[str, Any]) -> Callable[[Mapping[str, Any]], None]:
        """Return a function that raises ContractError if a server has another policy than at the start."""
        from waldo.train.runner.robot_policy import ContractError

        def check(found: Mapping[str, Any]) -> None:
            names = sorted(key for key in {*metadata, *found} if metadata.get(key) != found.get(key))
            if names:
                raise ContractError(str(found.get("policy", self.server)), [f"another {name}" for name in names])

        return check

    def find_cameras(self, graph: Graph, policy: RobotPolicy, done: Callable[[], bool]) -> dict[str, str]:
        """Return key of each image that the policy needs -> topic; those without a publisher are left out."""
        from waldo.datasets.schema import OBSERVATION_IMAGES

        renamed = dict(_pairs("--camera", self.camera, "front=overhead"))
        names = {key: key.removeprefix(OBSERVATION_IMAGES) for key in policy.images}
        topics = {
            key: graph.node.resolve_topic_name(f"cameras/{renamed.get(name, name)}/image_raw/compressed")
            for key, name in names.items()
        }
        graph.spin_until(
            lambda: done() or all(graph.node.count_publishers(topic) for topic in topics.values()), CAMERAS_S
        )
        return {key: topic for key, topic in topics.items() if graph.node.count_publishers(topic)}


def _pairs(option: str, texts: tuple[str, ...], example: str) -> list[tuple[str, str]]:
    found: list[tuple[str, str]] = []
    for text in texts:
        name, equals, value = text.partition("=")
        if not (name and equals and value):
            raise InvalidValueError(option, text, f"NAME=NAME, such as {example}")
        found.append((name, value))
    return found


def _camera_of(topic: str) -> str:
    """Return the name of a camera from its topic."""
    return topic.removesuffix("/image_raw/compressed").rpartition("/")[2]


def show_attempt(attempt: Attempt) -> None:
    """Print the result of an attempt."""
    from waldo.console import err

    outcome = {True: "success", False: "failure", None: "ended"}[attempt.success]
    person = f", {attempt.person_s:.1f} s of it by a person" if attempt.person_s else ""
    kept = "; recorded" if attempt.saved else ""
    err().print(f"attempt: {outcome} after {attempt.seconds:.1f} s{person}{kept}", markup=False)


def summary(totals: RunTotals, attempts: Sequence[Attempt]) -> list[str]:
    """Return lines about what happened during a run."""
    import numpy as np

    lines = [f"{totals.commands} commands, {totals.missed} control cycles missed, {totals.takeovers} takeovers"]
    if totals.inference_s:
        median, slow = np.percentile(totals.inference_s, (50, 99)) * 1000
        lines.append(f"{totals.chunks} chunks, inference {median:.0f} ms median, {slow:.0f} ms 99 %")
    if totals.jumps:
        position, velocity = np.array(totals.jumps).T
        lines.append(
            f"differences between chunks, which are smoothed: {np.median(position):.3f} rad median, "
            f"{position.max():.3f} max; {np.median(velocity):.2f} rad/s median, {velocity.max():.2f} max"
        )
    if attempts:
        done, judged = sum(one.success is True for one in attempts), sum(one.success is not None for one in attempts)
        person = sum(one.person_s > 0 for one in attempts)
        lines.append(f"{len(attempts)} attempts: {done} of {judged} succeeded, a person took over in {person}")
    return lines + [f"held {times} x: {reason}" for reason, times in totals.holds.items()]
