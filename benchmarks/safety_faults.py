"""Every fault of the safety chain, many times at random instants of a motion: does the robot stop within one cycle?

Usage: uv run python benchmarks/safety_faults.py [--times 100]

The robot node runs in real time over DDS; its robot is the MuJoCo twin of the SO-101, driven as a real one. The
operator is a process of its own, which sways every joint. A fault strikes while the robot moves. From the instant on at
which the node can know of it (the message has arrived, the reading was taken, input has been silent for its time-out),
no cycle that begins later may follow the operator; the setpoint then brakes within the joints' acceleration limits.
"""

from __future__ import annotations

import argparse
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from statistics import median
from typing import Any

import numpy as np
from workload import print_table

from waldo import console, ros
from waldo.errors import HardwareError
from waldo.robots.control.safety import Mode
from waldo.robots.description import load_robot
from waldo.robots.driver import Frame, MotorSensors, RobotState
from waldo.robots.node import CONTROL_HZ, NodeConfig, RobotNode
from waldo.sim.twin import TwinDriver
from waldo.typing import Array

WATCH_S = 0.5
"""How long a trial is watched after its fault [s]."""

OPERATOR = ("lets go", "not a number", "absurd command", "unknown joint", "jump at engage", "e-stop", "device silent")
"""Faults that the operator's process makes when it is told to."""

PROCESS = ("operator killed", "network cut")
"""Faults of the operator's process itself: kill -9, and a process that is stopped, whose messages just cease."""

ROBOT = ("robot unplugged", "state is stale", "state not a number", "joint beyond its limits")
"""Faults of the robot."""

SILENT = ("device silent", *PROCESS)
LATCHED = ("e-stop", "robot unplugged", "state not a number", "joint beyond its limits")
"""Faults after which the robot stays stopped until it is enabled."""


@dataclass(frozen=True)
class Cycle:
    """What one control cycle came to."""

    begun_s: float
    """When its messages had been taken and the chain was asked [s, monotonic]."""
    mode: Mode
    reason: str
    setpoint: Array


class RealTimeTwin:
    """The twin as a real robot: its world goes on by itself, and its cable can be pulled."""

    def __init__(self) -> None:
        """Take the SO-101 without cameras."""
        self.twin = TwinDriver(load_robot("so101"), "lift", cameras=False)
        self.robot = replace(self.twin.robot, cameras=())
        self.fault = ""
        self.struck_s = 0.0
        self._last: RobotState | None = None

    def connect(self) -> None:
        """Refuse while the cable is out."""
        if self.fault == "robot unplugged":
            raise HardwareError("no servo answers")
        self.twin.connect()

    def read(self) -> RobotState:
        """Return the state, or what the fault makes of it."""
        if self.fault and not self.struck_s:
            self.struck_s = time.monotonic()
        if self.fault == "robot unplugged":
            raise HardwareError("no servo answers")
        if self.fault == "state is stale" and self._last is not None:
            return self._last
        self.twin.advance()
        state = self._last = replace(self.twin.read(), stamp_ns=time.time_ns())
        if self.fault == "state not a number":
            return replace(state, position=state.position * np.nan)
        if self.fault == "joint beyond its limits":
            return replace(state, position=state.position + np.eye(6)[3] * 4.0)
        return state

    def motors(self) -> MotorSensors:
        """Return what the twin's motors say."""
        return self.twin.motors()

    def write(self, targets: Array) -> Array:
        """Command position targets (joints,) [rad]."""
        return self.twin.write(targets)

    def frames(self) -> Sequence[Frame]:
        """Return no pictures."""
        return ()

    def disconnect(self) -> None:
        """Close the world."""
        self.twin.disconnect()


class TimedNode(RobotNode):
    """The robot node, which notes when messages arrive and what each cycle comes to."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.cycles: list[Cycle] = []
        self.heard_s = self.fault_s = 0.0

    def _on_command(self, message: Any, info: Any) -> None:
        super()._on_command(message, info)
        self.heard_s = time.monotonic()
        if message.header.frame_id != "sway" and not self.fault_s:
            self.fault_s = self.heard_s

    def _on_stop_motion(self, request: Any, response: Any) -> Any:
        done = super()._on_stop_motion(request, response)
        self.fault_s = self.fault_s or time.monotonic()
        return done

    def _act(self) -> None:
        begun = time.monotonic()
        super()._act()
        status = self.safety.status
        self.cycles.append(Cycle(begun, status.mode, status.reason, self.safety.limiter.position.copy()))


def operate() -> None:
    """Be the operator: sway the joints; each line of standard input says what to do from then on."""
    from sensor_msgs.msg import JointState
    from std_srvs.srv import Trigger

    robot = load_robot("so101")
    lines: list[str] = []
    threading.Thread(target=lambda: [lines.append(line) for line in sys.stdin], daemon=True).start()
    with ros.join_graph("operator", "so101") as graph:
        publisher = graph.node.create_publisher(JointState, "joint_commands", ros.stream_qos())
        stop = graph.node.create_client(Trigger, "robot/stop_motion")
        graph.spin_until(lambda: publisher.get_subscription_count() > 0 and stop.service_is_ready(), 60)
        print("here", flush=True)
        start, mode, since = time.monotonic(), "sway", 0
        while True:
            if lines:
                mode, since = lines.pop(0).strip(), 0
                if mode == "e-stop":
                    stop.call_async(Trigger.Request())
            target = robot.home + 0.25 * np.sin(4 * (time.monotonic() - start)) * np.array([1, 1, 1, 1, 1, 0.5])
            message = JointState(name=list(robot.joint_names), position=target.tolist())
            message.header.frame_id = "sway" if mode == "e-stop" else mode
            spoil(message, mode, since)
            if mode != "device silent":
                publisher.publish(message)
            since += 1
            graph.spin_for(1 / CONTROL_HZ)


def spoil(message: Any, mode: str, since: int) -> None:
    """Make of a good command what the fault wants, `since` messages after it began."""
    if mode == "lets go":
        message.name, message.position = [], []
    elif mode == "not a number":
        message.position[2] = float("nan")
    elif mode == "absurd command":
        message.position[0] = 1e6
    elif mode == "unknown joint":
        message.name[0] = "elbow_of_somebody"
    elif mode == "jump at engage" and since < 20:
        message.name, message.position = [], []
        message.header.frame_id = "sway"
    elif mode == "jump at engage":
        message.position[0] = 1.8


class Trials:
    """Runs trials of one fault after another on one robot node."""

    def __init__(self, driver: RealTimeTwin, node: TimedNode, seed: int) -> None:
        """Take the robot, its node, and the seed of the instants."""
        self.driver, self.node, self.random = driver, node, random.Random(seed)
        self.operator: subprocess.Popen[str] | None = None

    def say(self, text: str) -> None:
        """Tell the operator's process what to do; start it where there is none."""
        if self.operator is None:
            words = [sys.executable, __file__, "--operate"]
            self.operator = subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
            assert self.operator.stdout is not None
            self.operator.stdout.readline()
        assert self.operator.stdin is not None
        self.operator.stdin.write(text + "\n")
        self.operator.stdin.flush()

    def engage(self) -> None:
        """Bring the robot to follow the operator, and wait for a random instant of the motion."""
        self.say("sway")
        deadline = time.monotonic() + 30
        while self.node.safety.status.mode is not Mode.FOLLOWING:
            if time.monotonic() > deadline:
                raise SystemExit(f"the robot does not follow: {self.node.safety.status}")
            if self.node.safety.status.mode is Mode.STOPPED:
                self.node.safety.enable()
            time.sleep(0.02)
        time.sleep(self.random.uniform(0.1, 0.6))

    def trial(self, fault: str) -> tuple[int, float, str]:
        """Let a fault strike; return late cycles (-1: the wrong end), the time to rest [s], and the reason shown."""
        self.engage()
        node, driver = self.node, self.driver
        node.fault_s = driver.struck_s = 0.0
        node.cycles.clear()
        self._strike(fault)
        # A jump needs a hold before it.
        time.sleep(WATCH_S + (20 / CONTROL_HZ if fault == "jump at engage" else 0))
        due = self._due(fault)
        after = [cycle for cycle in list(node.cycles) if cycle.begun_s >= due]
        self._mend(fault)
        late = sum(cycle.mode is Mode.FOLLOWING for cycle in after)
        steps = np.abs(np.diff(np.array([cycle.setpoint for cycle in after]), axis=0)).max(axis=1)
        moving = np.flatnonzero(steps > 1e-6)
        ended = after[-1].mode is (Mode.STOPPED if fault in LATCHED else Mode.HOLDING) and bool(after[-1].reason)
        return late if ended else -1, (len(moving) and float(moving[-1]) + 1) / CONTROL_HZ, after[-1].reason

    def _strike(self, fault: str) -> None:
        if fault in PROCESS:
            assert self.operator is not None
            self.operator.send_signal(signal.SIGKILL if fault == "operator killed" else signal.SIGSTOP)
        elif fault in ROBOT:
            self.driver.fault = fault
        else:
            self.say(fault)

    def _due(self, fault: str) -> float:
        """Return from when on the node could know [s, monotonic]."""
        config = self.node.safety.config
        if fault in SILENT:
            return self.node.heard_s + config.timeout_s
        if fault == "state is stale":
            return self.driver.struck_s + config.state_timeout_s
        return self.driver.struck_s if fault in ROBOT else self.node.fault_s

    def _mend(self, fault: str) -> None:
        self.driver.fault = ""
        if fault == "operator killed" and self.operator is not None:
            self.operator.wait()
            self.operator = None
        if fault == "network cut" and self.operator is not None:
            self.operator.send_signal(signal.SIGCONT)


def main() -> None:
    """Run every fault and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--times", type=int, default=100, help="trials a fault")
    parser.add_argument("--operate", action="store_true", help=argparse.SUPPRESS)
    config = parser.parse_args()
    if config.operate:
        operate()
        return
    driver, ended, nodes = RealTimeTwin(), threading.Event(), list[TimedNode]()

    def work() -> None:
        with ros.join_graph("robot", "so101") as graph:
            nodes.append(TimedNode(graph, driver, NodeConfig()))
            nodes[0].run(ended.is_set)

    driver.connect()
    thread = threading.Thread(target=work)
    thread.start()
    while not nodes:
        time.sleep(0.05)
    trials = Trials(driver, nodes[0], seed=0)
    rows: list[list[str]] = []
    faults = (*OPERATOR, *PROCESS, *ROBOT)
    try:
        with console.progress() as progress:
            bar = progress.add_task("faults", total=len(faults) * config.times, note="")
            for fault in faults:
                found: list[tuple[int, float, str]] = []
                for _ in range(config.times):
                    found.append(trials.trial(fault))
                    progress.update(bar, advance=1, note=fault)
                good = sum(late == 0 for late, _, _ in found)
                rests = [rest for _, rest, _ in found]
                end = "stopped" if fault in LATCHED else "holding"
                rows.append(
                    [fault, f"{good} of {len(found)}", end, f"{median(rests):.2f} / {max(rests):.2f}", found[-1][2]]
                )
    finally:
        ended.set()
        thread.join()
        if trials.operator is not None:
            trials.operator.kill()
        driver.disconnect()
    columns = ["fault", "stopped within one cycle", "ends in", "at rest after s, median / worst", "reason shown"]
    print_table(f"Faults at random instants, {CONTROL_HZ} Hz", columns, rows)


if __name__ == "__main__":
    main()
