"""`waldo run` with each kind of robot: twins of an arm and a humanoid, serial servos, and a robot of LeRobot's."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from policy_server import listening

from waldo import ros
from waldo.robots.description import Robot, load_robot
from waldo.robots.drivers import calibration, feetech
from waldo.train.serving.inputs import PolicyInputs
from waldo.train.serving.server import PolicyServer

START_S, MOVED_S = 120.0, 60.0
FPS, SPEED = 20.0, 0.3
"""Actions per second, and the speed at which the policy moves a joint [rad/s]."""
MOVED_RAD = 0.15


class Moving:
    """A policy that moves the last but one joint, and holds the others where it has found them.

    Where it sees them is below their commands: with that as the next command, they would sink further each time.
    """

    def __init__(self) -> None:
        self._found: Any = None

    def predict(self, observations: Sequence[Any]) -> np.ndarray:
        states = np.array([one["observation.state"] for one in observations], dtype=np.float64)
        self._found = states if self._found is None else self._found
        chunks = np.repeat(self._found[:, None], 20, axis=1)
        chunks[:, :, -2] = states[:, -2:-1] + SPEED * np.arange(20) / FPS
        return chunks


@contextmanager
def serving(robot: Robot) -> Iterator[str]:
    """Serve the policy on a thread; yield its address."""
    names = list(robot.joint_names)
    contract = {"fps": FPS, "joints": names, "state": names, "unit": "rad"}
    values = {"policy": "moving", "images": {}, "replan_after": 10, "contract": contract}
    inputs = PolicyInputs(vectors={"observation.state": len(names)}, images={})
    with listening(PolicyServer(Moving(), inputs, values)) as port:
        yield f"ws://127.0.0.1:{port}"


@contextmanager
def command(*words: str) -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen([sys.executable, "-m", "waldo", *words], stderr=subprocess.PIPE, text=True)
    try:
        yield process
    finally:
        process.terminate()
        process.communicate(timeout=60)


def options_of(kind: str, folder: Path, stack: ExitStack) -> tuple[str, ...]:
    """Return the options of `waldo robot`; starts the emulated servos of a real robot."""
    if kind in ("so101", "g1"):
        return (kind, "--no-cameras")
    port, robot = str(folder / "arm"), load_robot("so101")
    stack.enter_context(command("emulate", "so101", "--link", port))
    deadline = time.monotonic() + START_S
    while not Path(port).exists():
        assert time.monotonic() < deadline
        time.sleep(0.1)
    if kind == "feetech":
        return ("so101", "--driver", "feetech", "--port", port)
    reader = feetech.FeetechDriver(robot, port=port, torque=False)
    reader.open()
    stored = reader.stored()
    reader.disconnect()
    calibration.save(folder / "mine.json", robot.joint_names, stored)
    options = {"type": "so101_follower", "id": "mine", "config": f'{{"calibration_dir": "{folder}"}}'}
    words = [word for key, value in options.items() for word in ("--option", f"{key}={value}")]
    return ("so101", "--driver", "lerobot", "--port", port, *words)


@pytest.mark.usefixtures("ros_domain")
@pytest.mark.parametrize("kind", ["so101", "g1", "feetech", "lerobot"])
def test_the_same_command_drives_each_kind_of_robot(kind: str, tmp_path: Path) -> None:
    from sensor_msgs.msg import JointState

    name = "g1" if kind == "g1" else "so101"
    robot, positions, sources = load_robot(name), list[Any](), list[str]()
    with ExitStack() as stack:
        url = stack.enter_context(serving(robot))
        options = options_of(kind, tmp_path, stack)
        node = stack.enter_context(command("robot", *options))
        graph = stack.enter_context(ros.join_graph("reader", name))
        qos = ros.stream_qos()
        graph.subscribe(JointState, "joint_states", lambda message: positions.append(message.position), qos)
        graph.subscribe(JointState, "joint_commands_sent", lambda m: sources.append(m.header.frame_id), qos)
        assert graph.spin_until(lambda: bool(positions) or node.poll() is not None, START_S)
        assert node.poll() is None, node.stderr and node.stderr.read()
        first = list(positions[0])
        run = stack.enter_context(command("run", "--server", url, "--robot", name, "--task", "wave"))
        moved = graph.spin_until(lambda: positions[-1][-2] - first[-2] > MOVED_RAD or run.poll() is not None, MOVED_S)
        if not moved:
            run.terminate()
            raise AssertionError(run.stderr and run.stderr.read())
        assert run.poll() is None, run.stderr and run.stderr.read()
        assert "policy" in sources
        run.terminate()
        assert graph.spin_until(lambda: sources[-1] != "policy", MOVED_S)
        others = np.abs(np.array(positions[-1]) - first)[np.arange(len(first)) != len(first) - 2]
        assert others.max() < 0.1
