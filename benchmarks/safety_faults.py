"""Reaction of the safety chain to every fault, injected many times at random times of a motion.

Usage: uv run python benchmarks/safety_faults.py [--times 100]

The robot node runs in real time over DDS with the MuJoCo twin of the SO-101 as a real robot. The operator is a separate
process that sways every joint. A fault is detectable once its message has arrived, its reading was taken, or the input
timeout has passed; no cycle that starts later may follow the operator. The setpoint then brakes within the joints'
acceleration limits.
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
from waldo.robots.control.cycle import CONTROL_HZ, Acted
from waldo.robots.control.safety import Mode
from waldo.robots.description import load_robot
from waldo.robots.driver import Frame, MotorSensors, RobotState
from waldo.robots.node import NodeConfig, RobotNode
from waldo.sim.twin import TwinDriver
from waldo.typing import Array

WATCH_S = 0.5
"""Observed time after a fault [s]."""

OPERATOR = (
    "lets go",
    "not a number",
    "implausible command",
    "unknown joint",
    "jump at engage",
    "e-stop",
    "device silent",
)
"""Faults that the operator's process causes on request."""

PROCESS = ("operator killed", "network cut")
"""Faults of the operator's process itself: SIGKILL, and SIGSTOP, after which its messages cease."""

ROBOT = ("robot unplugged", "state is stale", "state not a number", "joint beyond its limits")
"""Faults of the robot."""

SILENT = ("device silent", *PROCESS)
LATCHED = ("e-stop", "robot unplugged", "state not a number", "joint beyond its limits")
"""Faults after which the robot stays stopped until it is enabled."""


@dataclass(frozen=True)
class Cycle:
    """The result of one control cycle."""

    started_s: float
    """Time of the safety chain's update, after the messages were received [s, monotonic]."""
    mode: Mode
    reason: str
    setpoint: Array


class RealTimeTwin:
    """The twin as a real robot: its world advances with each reading, and faults can be injected."""

    def __init__(self) -> None:
        """Initialize with the SO-101 without cameras."""
        self.twin = TwinDriver(load_robot("so101"), "lift", cameras=False)
        self.robot = replace(self.twin.robot, cameras=())
        self.fault = ""
        self.injected_s = 0.0
        self._last: RobotState | None = None

    def connect(self) -> None:
        """Connect; raises HardwareError while the robot is unplugged."""
        if self.fault == "robot unplugged":
            raise HardwareError("no servo responds")
        self.twin.connect()

    def read(self) -> RobotState:
        """Return the state, modified by the fault."""
        if self.fault and not self.injected_s:
            self.injected_s = time.monotonic()
        if self.fault == "robot unplugged":
            raise HardwareError("no servo responds")
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
        """Return the sensors of the twin's motors."""
        return self.twin.motors()

    def write(self, targets: Array) -> Array:
        """Command position targets (joints,) [rad]."""
        return self.twin.write(targets)

    def frames(self) -> Sequence[Frame]:
        """Return no images."""
        return ()

    def disconnect(self) -> None:
        """Close the world."""
        self.twin.disconnect()


class TimedNode(RobotNode):
    """A robot node that records the arrival of messages and the result of each cycle."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.cycles: list[Cycle] = []
        cycle: Any = self.cycle
        self._cycle_act, cycle.act = cycle.act, self._timed_act
        self.command_s = self.fault_s = 0.0

    def _on_command(self, message: Any, info: Any) -> None:
        super()._on_command(message, info)
        self.command_s = time.monotonic()
        if message.header.frame_id != "sway" and not self.fault_s:
            self.fault_s = self.command_s

    def _on_stop_motion(self, request: Any, response: Any) -> Any:
        done = super()._on_stop_motion(request, response)
        self.fault_s = self.fault_s or time.monotonic()
        return done

    def _timed_act(self, now_ns: int, monotonic_s: float) -> Acted:
        started_s = time.monotonic()
        acted = self._cycle_act(now_ns, monotonic_s)
        status = self.safety.status
        self.cycles.append(Cycle(started_s, status.mode, status.reason, self.safety.limiter.position.copy()))
        return acted


def operate() -> None:
    """Run the operator: sway the joints; each line of standard input is the fault to cause from then on."""
    from sensor_msgs.msg import JointState
    from std_srvs.srv import Trigger

    robot = load_robot("so101")
    lines: list[str] = []
    threading.Thread(target=lambda: [lines.append(line) for line in sys.stdin], daemon=True).start()
    with ros.join_graph("operator", "so101") as graph:
        publisher = graph.node.create_publisher(JointState, "joint_commands", ros.stream_qos())
        stop = graph.node.create_client(Trigger, "robot/stop_motion")
        graph.spin_until(lambda: publisher.get_subscription_count() > 0 and stop.service_is_ready(), 60)
        print("ready", flush=True)
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
    """Modify a valid command for a fault, `since` messages after its start."""
    if mode == "lets go":
        message.name, message.position = [], []
    elif mode == "not a number":
        message.position[2] = float("nan")
    elif mode == "implausible command":
        message.position[0] = 1e6
    elif mode == "unknown joint":
        message.name[0] = "unknown_elbow"
    elif mode == "jump at engage" and since < 20:
        message.name, message.position = [], []
        message.header.frame_id = "sway"
    elif mode == "jump at engage":
        message.position[0] = 1.8


class Trials:
    """Runs trials of one fault after another on one robot node."""

    def __init__(self, driver: RealTimeTwin, node: TimedNode, seed: int) -> None:
        """Initialize with the robot, its node, and the seed of the injection times."""
        self.driver, self.node, self.random = driver, node, random.Random(seed)
        self.operator: subprocess.Popen[str] | None = None

    def request(self, fault: str) -> None:
        """Request a fault from the operator's process; start the process if there is none."""
        if self.operator is None:
            words = [sys.executable, __file__, "--operate"]
            self.operator = subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
            assert self.operator.stdout is not None
            self.operator.stdout.readline()
        assert self.operator.stdin is not None
        self.operator.stdin.write(fault + "\n")
        self.operator.stdin.flush()

    def engage(self) -> None:
        """Wait until the robot follows the operator, then until a random time of the motion."""
        self.request("sway")
        deadline = time.monotonic() + 30
        while self.node.safety.status.mode is not Mode.FOLLOWING:
            if time.monotonic() > deadline:
                raise SystemExit(f"the robot does not follow: {self.node.safety.status}")
            if self.node.safety.status.mode is Mode.STOPPED:
                self.node.safety.enable()
            time.sleep(0.02)
        time.sleep(self.random.uniform(0.1, 0.6))

    def trial(self, fault: str) -> tuple[int, float, str]:
        """Inject a fault; return the late cycles (-1: wrong final mode), the stopping time [s] and the reason."""
        self.engage()
        node, driver = self.node, self.driver
        node.fault_s = driver.injected_s = 0.0
        node.cycles.clear()
        self._inject(fault)
        # A jump is preceded by a hold.
        time.sleep(WATCH_S + (20 / CONTROL_HZ if fault == "jump at engage" else 0))
        due = self._due(fault)
        after = [cycle for cycle in list(node.cycles) if cycle.started_s >= due]
        self._repair(fault)
        late = sum(cycle.mode is Mode.FOLLOWING for cycle in after)
        steps = np.abs(np.diff(np.array([cycle.setpoint for cycle in after]), axis=0)).max(axis=1)
        moving = np.flatnonzero(steps > 1e-6)
        ended = after[-1].mode is (Mode.STOPPED if fault in LATCHED else Mode.HOLDING) and bool(after[-1].reason)
        return late if ended else -1, (len(moving) and float(moving[-1]) + 1) / CONTROL_HZ, after[-1].reason

    def _inject(self, fault: str) -> None:
        if fault in PROCESS:
            assert self.operator is not None
            self.operator.send_signal(signal.SIGKILL if fault == "operator killed" else signal.SIGSTOP)
        elif fault in ROBOT:
            self.driver.fault = fault
        else:
            self.request(fault)

    def _due(self, fault: str) -> float:
        """Return the time from which the node can detect the fault [s, monotonic]."""
        config = self.node.safety.config
        if fault in SILENT:
            return self.node.command_s + config.timeout_s
        if fault == "state is stale":
            return self.driver.injected_s + config.state_timeout_s
        return self.driver.injected_s if fault in ROBOT else self.node.fault_s

    def _repair(self, fault: str) -> None:
        self.driver.fault = ""
        if fault == "operator killed" and self.operator is not None:
            self.operator.wait()
            self.operator = None
        if fault == "network cut" and self.operator is not None:
            self.operator.send_signal(signal.SIGCONT)


def main() -> None:
    """Run every fault and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--times", type=int, default=100, help="trials per fault")
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
                stops_s = [stop_s for _, stop_s, _ in found]
                end = "stopped" if fault in LATCHED else "holding"
                rows.append(
                    [fault, f"{good} of {len(found)}", end, f"{median(stops_s):.2f} / {max(stops_s):.2f}", found[-1][2]]
                )
    finally:
        ended.set()
        thread.join()
        if trials.operator is not None:
            trials.operator.kill()
        driver.disconnect()
    columns = ["fault", "reacted within one cycle", "final mode", "stopping time s, median / worst", "reason"]
    print_table(f"Faults at random times, {CONTROL_HZ} Hz", columns, rows)


if __name__ == "__main__":
    main()
