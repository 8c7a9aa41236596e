"""The control cycle without ROS: the joints between driver, safety chain, heat monitor and governor."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from waldo import registry
from waldo.errors import ConfigError, HardwareError
from waldo.robots.control.arbiter import Source
from waldo.robots.control.cycle import Acted, ControlCycle, CycleConfig, Sensed
from waldo.robots.control.safety import Mode
from waldo.robots.description import Joint, Robot
from waldo.robots.diagnostics import ERROR, OK, WARN, ComponentStatus
from waldo.robots.driver import Frame, MotorSensors, RobotState
from waldo.robots.event import Event
from waldo.robots.motor import Motor
from waldo.robots.motors.feetech import STS3215_7V
from waldo.robots.thermal.governor import Derating
from waldo.robots.thermal.monitor import MonitorConfig

S = 1_000_000_000
START_NS = 1_700_000_000 * S
RATE_HZ = 60


class RealArm:
    """A real robot of two joints that reaches each target within a cycle, with faults to inject."""

    def __init__(self, robot: Robot) -> None:
        self.robot = robot
        joints = len(robot.joints)
        self.position = np.zeros(joints)
        self.stamp_ns = START_NS
        self.sensors = replace(
            MotorSensors.unknown(joints), winding_c=np.full(joints, 30.0), current_a=np.full(joints, 0.5)
        )
        self.unplugged = False
        self.reads = 0
        self.connections: list[str] = []
        self.images: list[Frame] = []
        self.written: list[np.ndarray] = []
        self.faults: dict[str, str] = {}
        self.happened: list[Event] = []

    def connect(self) -> None:
        self.connections.append("connect")
        self._check()

    def disconnect(self) -> None:
        self.connections.append("disconnect")

    def _check(self) -> None:
        if self.unplugged:
            raise HardwareError("no servo answers")

    def read(self) -> RobotState:
        self.reads += 1
        self._check()
        still = np.zeros_like(self.position)
        return RobotState(stamp_ns=self.stamp_ns, position=self.position.copy(), velocity=still, effort=still)

    def motors(self) -> MotorSensors:
        return self.sensors

    def write(self, targets: np.ndarray) -> np.ndarray:
        self._check()
        self.position = targets.copy()
        self.written.append(targets.copy())
        return targets

    def frames(self) -> Sequence[Frame]:
        images, self.images = self.images, []
        return images

    def camera_faults(self) -> Mapping[str, str]:
        return self.faults

    def events(self) -> Sequence[Event]:
        events, self.happened = self.happened, []
        return events


class Runner:
    """Runs cycles at 60 Hz and collects what they return."""

    def __init__(self, driver: Any, config: CycleConfig | None = None) -> None:
        self.driver = driver
        self.cycle = ControlCycle(driver, config)
        self.ticks = 0
        self.sensed: list[Sensed] = []
        self.acted: list[Acted] = []

    @property
    def now_ns(self) -> int:
        return START_NS + self.ticks * S // RATE_HZ

    def run(self, cycles: int = 1, target: float | None = None, frame_id: str = "") -> None:
        """Run cycles; command joint "a" to a target in each, as the source that `frame_id` names."""
        for _ in range(cycles):
            self.ticks += 1
            seconds = self.ticks / RATE_HZ
            self.driver.stamp_ns = self.now_ns
            self.sensed.append(self.cycle.sense(self.now_ns, seconds))
            if target is not None:
                self.cycle.command(["a"], [target], self.now_ns, self.now_ns, frame_id)
            self.acted.append(self.cycle.act(self.now_ns, seconds))

    def release(self, frame_id: str = "") -> None:
        """Send a command without joints, and run the cycle after it."""
        self.cycle.command([], [], self.now_ns, self.now_ns, frame_id)
        self.run()

    @property
    def sources(self) -> list[Source]:
        """Who controlled the robot in each cycle."""
        return [acted.source for acted in self.acted]

    @property
    def reason(self) -> str:
        """Why the robot did not follow in the last cycle."""
        return self.cycle.safety.status.reason

    @property
    def events(self) -> list[Event]:
        """All events so far, in order."""
        return [event for pair in zip(self.sensed, self.acted, strict=True) for one in pair for event in one.events]

    @property
    def texts(self) -> list[str]:
        return [event.text for event in self.events]

    def status(self, component: str) -> ComponentStatus:
        """Return the last published status of a component."""
        statuses = next(acted.statuses for acted in reversed(self.acted) if acted.statuses)
        return next(status for status in statuses if status.component == component)


@pytest.fixture
def arm(toy_robot: Robot) -> RealArm:
    return RealArm(toy_robot)


@pytest.fixture
def runner(arm: RealArm) -> Runner:
    """A cycle that follows a command."""
    runner = Runner(arm)
    runner.run(2, target=0.1)
    assert runner.cycle.safety.status.mode is Mode.FOLLOWING
    return runner


def test_a_command_moves_the_robot(runner: Runner, arm: RealArm) -> None:
    runner.run(60, target=0.5)
    assert arm.position[0] == pytest.approx(0.5)
    np.testing.assert_array_equal(runner.acted[-1].applied, arm.written[-1])
    assert runner.texts == ["following"]


def test_silence_of_the_operator_holds(runner: Runner) -> None:
    runner.run(13)
    assert runner.texts == ["following", "holding: no command for 0.2 s"]
    assert runner.status("control") == ComponentStatus(
        component="control",
        level=WARN,
        message="holding: no command for 0.2 s",
        values={"mode": "holding", "reason": "no command for 0.2 s", "rate_hertz": "60"},
    )


def test_a_state_that_is_not_renewed_holds(runner: Runner, arm: RealArm) -> None:
    """The age of a real robot's state counts by the system clock, which continues when its stamps stand still."""
    for k in range(1, 8):
        now_ns, seconds = runner.now_ns + k * S // RATE_HZ, (runner.ticks + k) / RATE_HZ
        runner.cycle.sense(now_ns, seconds)
        runner.cycle.command(["a"], [0.1], now_ns, now_ns)
        runner.cycle.act(now_ns, seconds)
    assert runner.cycle.safety.status.mode is Mode.HOLDING
    assert runner.cycle.safety.status.reason == "robot state is 0.12 s old"


def test_commands_that_arrive_irregularly_are_followed_as_their_source_sent_them(toy_robot: Robot) -> None:
    paths = []
    for jitter_ns in (0, 8_000_000):
        arm = RealArm(toy_robot)
        cycle = ControlCycle(arm)
        for tick in range(30):
            arm.stamp_ns = now_ns = START_NS + tick * S // RATE_HZ
            cycle.sense(now_ns, tick / RATE_HZ)
            # The clock of the operator's device is another one than that of the robot.
            cycle.command(["a"], [1.5 * tick / RATE_HZ], now_ns - (tick % 2) * jitter_ns, tick * S // RATE_HZ)
            cycle.act(now_ns, tick / RATE_HZ)
        paths.append(np.array(arm.written)[:, 0])
    np.testing.assert_array_equal(paths[0], paths[1])
    assert paths[0][-1] == pytest.approx(1.5 * 29 / RATE_HZ, abs=1e-3)


def test_the_robot_is_read_once_per_cycle(arm: RealArm) -> None:
    runner = Runner(arm)
    assert not runner.cycle.world_reset
    before = arm.reads
    runner.run(3)
    assert arm.reads - before == 3


def test_a_hot_winding_holds_the_robot(runner: Runner, arm: RealArm) -> None:
    """The headroom of the motor readings reaches the safety chain."""
    arm.sensors = replace(arm.sensors, winding_c=np.array([30.0, 69.0]))
    runner.run(7, target=0.1)
    assert runner.cycle.safety.status.mode is Mode.HOLDING
    assert "holding: b is 1.0 K below its heat limit; let it cool down" in runner.texts
    assert runner.status("control").level == WARN
    assert Event("motor b: winding at 69.0 °C, 1.0 K below the limit", WARN) in runner.events
    arm.sensors = replace(arm.sensors, winding_c=np.array([30.0, 50.0]))
    runner.run(7, target=0.1)
    assert runner.cycle.safety.status.mode is Mode.FOLLOWING
    assert runner.texts[-2:] == ["motor b: winding at 50.0 °C", "following"]


def test_the_governor_slows_the_robot(runner: Runner, arm: RealArm) -> None:
    governor = runner.cycle.heat.governor
    assert governor is not None
    runner.run(1, target=0.1)
    governor.derating = Derating(0.3, np.full(2, np.inf), 1, needs_rest=False)
    governor.step = lambda *_: governor.derating  # type: ignore[method-assign]
    start = len(arm.written)
    runner.run(30, target=1.5)
    speeds = np.diff(np.array(arm.written[start:])[:, 0]) * RATE_HZ
    assert speeds.max() == pytest.approx(0.3 * 3.0)
    status = runner.status("governor")
    assert (status.level, status.values["speed_ratio"]) == (WARN, "0.3")
    assert status.message == governor.describe(["a", "b"])
    assert runner.texts[-1] == f"governor: {status.message}"
    governor.derating = Derating(1.0, np.full(2, np.inf), -1, needs_rest=False)
    runner.run(1, target=1.5)
    assert runner.texts[-1] == "governor: full speed"


def test_a_hot_motor_makes_the_governor_slow_the_robot(toy_robot: Robot) -> None:
    """The whole chain: current -> losses -> forecast -> governor -> readings and status."""
    joints = tuple(replace(joint, motor=STS3215_7V) for joint in toy_robot.joints)
    arm = RealArm(replace(toy_robot, joints=joints))
    limit = STS3215_7V.winding_limit_c
    assert limit is not None
    arm.sensors = replace(
        arm.sensors,
        current_a=np.full(2, 2.4),
        voltage_v=np.full(2, 7.4),
        winding_c=np.full(2, math.nan),
        housing_c=np.full(2, limit - 30.0),
    )
    runner = Runner(arm)
    runner.run(40 * 60, target=0.1)
    derating = runner.cycle.heat.derating
    assert derating is not None
    assert derating.speed_ratio < 0.95
    assert runner.status("governor").level == WARN
    readings = [sensed.readings for sensed in runner.sensed if sensed.readings is not None]
    assert readings[-1].derate_ratio[0] == derating.speed_ratio


def test_without_a_governor_the_robot_keeps_full_speed(arm: RealArm) -> None:
    runner = Runner(arm, CycleConfig(heat=MonitorConfig(governor=None)))
    runner.run(30, target=0.9)
    assert np.diff(np.array(arm.written)[:, 0]).max() * RATE_HZ == pytest.approx(3.0)
    assert {status.component for status in runner.cycle.statuses()} == {"control", "camera front"}


def test_a_motor_without_torque_stops_the_robot(runner: Runner, arm: RealArm) -> None:
    arm.sensors = replace(arm.sensors, disabled=np.array([False, True]), faults=("", "overload"))
    runner.run(7, target=0.1)
    assert runner.cycle.safety.status.mode is Mode.STOPPED
    reason = "no torque at b (overload); support the arm"
    assert runner.texts[-2:] == ["motor b: overload", f"stopped: {reason}"]
    assert [event.level for event in runner.events[-2:]] == [WARN, ERROR]
    arm.position[1] = -0.4
    runner.run(1, target=0.1)
    assert arm.written[-1][1] == -0.4


def test_a_motor_fault_is_logged_once_and_cleared(runner: Runner, arm: RealArm) -> None:
    arm.sensors = replace(arm.sensors, faults=("", "supply at 6.1 V"))
    runner.run(12, target=0.1)
    arm.sensors = replace(arm.sensors, faults=("", "supply at 6.0 V"))
    runner.run(12, target=0.1)
    arm.sensors = replace(arm.sensors, faults=("", ""))
    runner.run(12, target=0.1)
    assert runner.events[1:] == [Event("motor b: supply at 6.1 V", WARN), Event("motor b: fault cleared", OK)]
    assert [sensed.readings.notes[1] for sensed in runner.sensed if sensed.readings is not None][-1] == ""


def test_a_stop_is_reported_and_latched(runner: Runner) -> None:
    runner.cycle.safety.stop("stopped by the operator")
    runner.run(3, target=0.1)
    assert runner.events[-1] == Event("stopped: stopped by the operator", ERROR)
    assert runner.status("control").level == ERROR
    assert runner.status("control").values["reason"] == "stopped by the operator"
    runner.cycle.safety.enable()
    runner.run(1, target=0.1)
    assert runner.events[-1] == Event("following", OK)


def test_a_robot_that_disconnects_stops_and_is_reconnected(runner: Runner, arm: RealArm) -> None:
    arm.unplugged = True
    runner.run(5, target=0.3)
    assert runner.events[-1] == Event("stopped: robot disconnected: no servo answers", ERROR)
    assert runner.status("control").message == "stopped: robot disconnected: no servo answers"
    assert runner.sensed[-1].state is None
    assert arm.connections == []
    reads = arm.reads
    runner.run(60)
    # The old connection is closed before a new one is tried, once per second, and nothing is read in between.
    assert arm.connections == ["disconnect", "connect"]
    runner.run(30)
    assert arm.reads == reads
    arm.unplugged = False
    runner.run(30, target=0.3)
    assert arm.connections == ["disconnect", "connect"] * 2
    assert Event("robot reconnected; press v at the recorder or at teleop to continue", WARN) in runner.events
    assert runner.sensed[-1].state is not None
    assert runner.cycle.safety.status.mode is Mode.STOPPED
    written = len(arm.written)
    assert np.ptp(np.array(arm.written[-5:])[:, 0]) == 0.0
    runner.cycle.safety.enable()
    runner.run(60, target=0.3)
    assert arm.position[0] == pytest.approx(0.3)
    assert len(arm.written) > written


def test_a_robot_that_disconnects_while_commanded_stops(runner: Runner, arm: RealArm) -> None:
    def fail(targets: np.ndarray) -> np.ndarray:
        raise HardwareError("bus error")

    arm.write = fail  # type: ignore[method-assign]
    runner.run(2, target=0.3)
    assert runner.cycle.safety.status.reason == "robot disconnected: bus error"


def test_heat_continues_over_the_time_of_a_disconnection(runner: Runner, arm: RealArm) -> None:
    steps: list[float] = []
    step = runner.cycle.heat.step

    def record(sensors: Any, velocity: Any, dt_s: float, now_ns: int) -> Any:
        steps.append(dt_s)
        return step(sensors, velocity, dt_s, now_ns)

    runner.cycle.heat.step = record  # type: ignore[method-assign]
    runner.run(12)
    arm.unplugged = True
    runner.run(120)
    arm.unplugged = False
    runner.run(120)
    assert sum(steps) == pytest.approx(252 / RATE_HZ, abs=0.3)
    assert max(steps) > 1.9


def test_a_camera_that_disconnects_is_reported(runner: Runner, arm: RealArm) -> None:
    arm.faults = {"front": "/dev/video0 disconnected"}
    arm.happened = [Event("camera front: /dev/video0 disconnected; no images until it reconnects", ERROR)]
    runner.run(1, target=0.1)
    assert runner.events[-1] == Event("camera front: /dev/video0 disconnected; no images until it reconnects", ERROR)
    status = runner.status("camera front")
    assert (status.level, status.message) == (ERROR, "/dev/video0 disconnected")
    arm.faults = {}
    arm.happened = [Event("camera front: /dev/video0 reconnected after 2.0 s")]
    runner.run(1, target=0.1)
    assert runner.texts[-1] == "camera front: /dev/video0 reconnected after 2.0 s"
    assert runner.status("camera front").level == OK


def test_the_status_is_published_on_each_change_and_once_per_second(runner: Runner) -> None:
    runner.run(118, target=0.1)
    published = [i for i, acted in enumerate(runner.acted) if acted.statuses]
    assert published == [0, 60]
    runner.cycle.safety.stop("stopped by the operator")
    runner.run(1)
    assert runner.acted[-1].statuses


def test_motors_are_read_ten_times_per_second(runner: Runner) -> None:
    runner.run(58)
    assert [i for i, sensed in enumerate(runner.sensed) if sensed.readings is not None] == list(range(0, 60, 6))


class RestPose:
    """A pose found by `search_rest_pose`."""

    def describe(self, joints: Sequence[str]) -> str:
        return f"to cool down, move {joints[0]} to 0.0"


def search_rest_pose(robot: Robot, position: np.ndarray, weights: np.ndarray) -> RestPose:
    """Find the same pose for every robot."""
    assert position.shape == weights.shape == (len(robot.joints),)
    return RestPose()


def test_a_robot_that_needs_rest_gets_a_pose_to_rest_in_once(
    arm: RealArm, toy_robot: Robot, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = EntryPoint("mujoco", f"{__name__}:search_rest_pose", "waldo.rest_poses")
    monkeypatch.setitem(registry.entries("waldo.rest_poses"), "mujoco", found)
    arm.robot = replace(toy_robot, mjcf="toy.xml")
    runner = Runner(arm)
    governor = runner.cycle.heat.governor
    assert governor is not None
    governor.derating = Derating(0.15, np.full(2, 0.5), 1, needs_rest=True)
    governor.step = lambda *_: governor.derating  # type: ignore[method-assign]
    runner.run(7)
    runner.cycle._rest.join()
    runner.run(60)
    assert runner.texts.count("to cool down, move a to 0.0") == 1
    assert runner.status("governor").values["needs_rest"] == "true"


def test_the_number_of_further_episodes_is_logged(runner: Runner, monkeypatch: pytest.MonkeyPatch) -> None:
    messages = iter(["about 5 more episodes"])
    monkeypatch.setattr(runner.cycle.heat, "pop_episode_message", lambda: next(messages, ""))
    runner.run(60)
    assert runner.texts.count("about 5 more episodes") == 1


def test_a_silent_recorder_no_longer_records(runner: Runner) -> None:
    seconds = runner.ticks / RATE_HZ
    runner.cycle.set_recorder_state(recording=True, monotonic_s=seconds)
    runner.run(270)
    assert runner.cycle.heat.recording
    runner.run(60)
    assert not runner.cycle.heat.recording


def test_heat_survives_a_restart(arm: RealArm, tmp_path: Path) -> None:
    config = CycleConfig(heat_state=tmp_path / "heat.json")
    first = Runner(arm, config)
    assert first.cycle.restore_heat(START_NS)[0].text.startswith("motor heat: ")
    first.run(6)
    first.cycle.save_heat(first.now_ns)
    (event,) = Runner(arm, config).cycle.restore_heat(first.now_ns + S)
    assert event.text == "motor heat: restored the temperatures of 2 of 2 motors, off for 1 s"


def test_heat_is_saved_while_the_robot_runs(arm: RealArm, tmp_path: Path) -> None:
    """What is left after a crash: the temperatures of at most ten seconds before, and when they were saved."""
    config = CycleConfig(heat_state=tmp_path / "heat.json")
    first = Runner(arm, config)
    first.run(11 * RATE_HZ)
    (event,) = Runner(arm, config).cycle.restore_heat(first.now_ns + 29 * S)
    assert event.text == "motor heat: restored the temperatures of 2 of 2 motors, off for 30 s"


def test_frames_of_a_simulation_in_real_time_have_stamps_of_the_system_clock(
    make_toy_driver: Callable[[], Any],
) -> None:
    cycle = ControlCycle(make_toy_driver())
    sensed = cycle.sense(START_NS, 0.0)
    assert sensed.state is not None
    assert (sensed.state.stamp_ns, sensed.frames[0].stamp_ns) == (START_NS, START_NS)
    assert sensed.environment is not None
    assert sensed.environment[0] == ("cube.x", "cube.y")


def test_simulated_time_is_the_clock_of_commands_and_states(make_toy_driver: Callable[[], Any]) -> None:
    driver = make_toy_driver()
    cycle = ControlCycle(driver, simulated_time=True)
    for tick in range(4):
        sensed = cycle.sense(START_NS + 100 * tick * S, 100.0 * tick)
        cycle.command(["a"], [0.1], START_NS + 100 * tick * S, None)
        acted = cycle.act(START_NS + 100 * tick * S, 100.0 * tick)
        assert sensed.state is not None
        assert sensed.state.stamp_ns == acted.stamp_ns == round(tick * 1e9 / 60)
        assert cycle.safety.status.mode is Mode.FOLLOWING


def test_a_reset_world_is_read_again_before_it_is_commanded(make_toy_driver: Callable[[], Any]) -> None:
    driver = make_toy_driver()
    cycle = ControlCycle(driver)
    for tick in range(30):
        cycle.sense(START_NS + tick * S // 60, tick / 60)
        cycle.command(["a"], [0.5], START_NS + tick * S // 60, None)
        cycle.act(START_NS + tick * S // 60, tick / 60)
    assert driver.position[0] > 0.4
    assert cycle.reset_world() == 1
    assert cycle.world_reset
    np.testing.assert_array_equal(cycle.act(START_NS + S // 2, 0.5).applied, [0.0, 0.0])
    assert not cycle.world_reset


def test_options_that_do_not_fit_the_driver_are_refused(arm: RealArm, make_toy_driver: Callable[[], Any]) -> None:
    with pytest.raises(ConfigError, match=r"^--lockstep is not supported with a real robot; leave it out$"):
        ControlCycle(arm, simulated_time=True)
    with pytest.raises(ConfigError, match=r"^--rate is not supported with a simulation; leave it out; the rate is 60"):
        ControlCycle(make_toy_driver(), CycleConfig(rate_hz=100))
    with pytest.raises(ConfigError, match=r"^rate is 10, expected 20 to 1000 cycles per second$"):
        CycleConfig(rate_hz=10)


# a person and a policy


@pytest.fixture
def driven(arm: RealArm) -> Runner:
    """A cycle that follows a policy, whose joint "a" moves."""
    runner = Runner(arm)
    runner.run(15, target=0.9, frame_id="policy")
    assert runner.sources == [Source.POLICY] * 15
    assert runner.cycle.safety.limiter.velocity[0] == pytest.approx(3.0)
    return runner


def assert_within_limits(arm: RealArm) -> None:
    """Assert that no setpoint jumps in position or velocity."""
    path = np.array([np.zeros(2), np.zeros(2), *arm.written])
    velocity = np.diff(path, axis=0) * RATE_HZ
    assert np.abs(velocity).max() <= 3.0 + 1e-9
    assert np.abs(np.diff(velocity, axis=0)).max() * RATE_HZ <= 60.0 + 1e-6


def test_a_person_takes_over_in_the_cycle_of_the_first_command(driven: Runner, arm: RealArm) -> None:
    driven.run(1, target=0.2)
    assert driven.sources[-1] is Source.PERSON
    driven.run(60, target=0.2)
    assert arm.position[0] == pytest.approx(0.2)
    assert_within_limits(arm)


def test_a_policy_is_ignored_while_a_person_controls_the_robot(driven: Runner, arm: RealArm) -> None:
    for _ in range(60):
        driven.cycle.command(["a", "b"], [-0.5, -0.5], driven.now_ns, driven.now_ns, "policy")
        driven.run(1, target=0.6)
        driven.cycle.command([], [], driven.now_ns, driven.now_ns, "policy: the state is old")
    assert driven.sources[15:] == [Source.PERSON] * 60
    np.testing.assert_allclose(arm.position, [0.6, 0.0])


def test_a_person_hands_back_only_by_a_release(driven: Runner) -> None:
    driven.run(5, target=0.6)
    driven.release()
    assert (driven.sources[-1], driven.reason) == (Source.HOLD, "operator released control")
    driven.run(2, target=0.6, frame_id="policy")
    assert driven.sources[15:] == [Source.PERSON] * 5 + [Source.HOLD] + [Source.POLICY] * 2


def test_a_person_who_falls_silent_leaves_the_robot_holding(driven: Runner) -> None:
    driven.run(5, target=0.6)
    driven.run(120, target=0.6, frame_id="policy")
    assert set(driven.sources[-60:]) == {Source.HOLD}
    assert driven.reason == "no command for 0.2 s"
    assert driven.status("control").level == WARN
    driven.run(1, target=0.6)
    assert driven.sources[-1] is Source.PERSON
    driven.run(60, target=0.6, frame_id="policy")
    driven.release()
    driven.run(1, target=0.6, frame_id="policy")
    assert driven.sources[-2:] == [Source.HOLD, Source.POLICY]


def test_enabling_the_robot_ends_the_control_of_a_silent_person(driven: Runner) -> None:
    driven.run(5, target=0.6)
    driven.run(30, target=0.6, frame_id="policy")
    driven.cycle.enable()
    assert driven.cycle.source is Source.HOLD
    driven.run(1)
    assert (driven.sources[-1], driven.reason) == (Source.HOLD, "no command for 0.2 s")
    driven.run(1, target=0.6, frame_id="policy")
    assert driven.sources[-1] is Source.POLICY


def test_a_device_that_is_not_in_use_does_not_interrupt_a_policy(driven: Runner, arm: RealArm) -> None:
    for _ in range(30):
        driven.cycle.command([], [], driven.now_ns, driven.now_ns)
        driven.run(1, target=0.9, frame_id="policy")
    assert set(driven.sources) == {Source.POLICY}
    assert arm.position[0] == pytest.approx(0.9)


def test_a_policy_that_is_in_doubt_holds_with_a_warning_that_states_its_reason(driven: Runner) -> None:
    driven.release("policy: the robot's state is 0.20 s old, limit 0.1 s")
    reason = "policy: the robot's state is 0.20 s old, limit 0.1 s"
    assert (driven.sources[-1], driven.reason) == (Source.HOLD, reason)
    assert driven.status("control") == ComponentStatus(
        component="control",
        level=WARN,
        message=f"holding: {reason}",
        values={"mode": "holding", "reason": reason, "rate_hertz": "60"},
    )
    assert driven.events[-1] == Event(f"holding: {reason}", WARN)


def test_a_policy_that_releases_without_a_reason_is_no_fault(driven: Runner) -> None:
    driven.release("policy")
    assert (driven.reason, driven.status("control").level) == ("operator released control", OK)


def test_a_person_far_from_a_moving_robot_must_engage(driven: Runner, arm: RealArm) -> None:
    assert arm.position[0] > 0.6
    before = arm.position[0]
    driven.run(1, target=-0.9)
    assert (driven.sources[-1], driven.status("control").level) == (Source.HOLD, WARN)
    assert driven.reason == f"command for a is {before + 0.9:.2f} from the robot, limit 1; move closer to engage"
    for _ in range(30):
        driven.cycle.command(["a"], [0.9], driven.now_ns, driven.now_ns, "policy")
        driven.run(1, target=-0.9)
    assert set(driven.sources[15:]) == {Source.HOLD}
    assert np.ptp(np.array(arm.written[-20:])[:, 0]) == 0.0
    driven.run(1, target=0.1)
    assert driven.sources[-1] is Source.PERSON
    assert_within_limits(arm)


def test_a_policy_far_from_the_robot_must_engage_after_a_person(driven: Runner, arm: RealArm) -> None:
    driven.run(60, target=0.9)
    driven.cycle.command([], [], driven.now_ns, driven.now_ns)
    driven.run(1, target=-0.2, frame_id="policy")
    assert driven.sources[-1] is Source.HOLD
    assert driven.reason == "command for a is 1.10 from the robot, limit 1; move closer to engage"
    assert_within_limits(arm)


def test_a_stop_is_not_ended_by_another_source(driven: Runner) -> None:
    driven.cycle.safety.stop("stopped by the operator")
    driven.run(2, target=0.9, frame_id="policy")
    driven.run(2, target=0.9)
    driven.release()
    driven.run(2, target=0.9, frame_id="policy")
    assert driven.sources[15:] == [Source.HOLD] * 7
    assert driven.reason == "stopped by the operator"
    driven.cycle.enable()
    driven.run(1, target=0.9, frame_id="policy")
    assert driven.sources[-1] is Source.POLICY


def test_a_reset_world_forgets_who_controlled_the_robot(make_toy_driver: Callable[[], Any]) -> None:
    cycle = ControlCycle(make_toy_driver())
    for tick, frame_id in enumerate(["", "policy"]):
        cycle.sense(START_NS + tick * S // 60, tick / 60)
        cycle.command(["a"], [0.1], START_NS + tick * S // 60, None, frame_id)
        assert cycle.act(START_NS + tick * S // 60, tick / 60).source is Source.PERSON
    cycle.reset_world()
    assert cycle.source is Source.HOLD
    cycle.sense(START_NS + S // 10, 0.1)
    cycle.command(["a"], [0.1], START_NS + S // 10, None, "policy")
    assert cycle.act(START_NS + S // 10, 0.1).source is Source.POLICY


TARGET = st.floats(-2.0, 2.0)
PHASES = st.lists(
    st.tuples(st.sampled_from(["policy", "person", "policy holds", "release", "silence", "enable"]), TARGET, TARGET),
    min_size=1,
    max_size=12,
)


def toy(velocity: float, acceleration: float) -> Robot:
    """A robot of two joints with limits of speed [rad/s] and acceleration [rad/s²]."""
    limits = {"lower": -2.0, "upper": 2.0, "velocity": velocity, "acceleration": acceleration, "effort": 1.0}
    joints = tuple(Joint(name=name, motor=Motor(name="m"), **limits) for name in "ab")
    return Robot(name="toy", model="toy", joints=joints, cameras=(), mjcf="")


@given(phases=PHASES, lengths=st.lists(st.integers(1, 25), min_size=12, max_size=12))
def test_no_change_between_a_person_and_a_policy_makes_the_setpoint_jump(
    phases: list[tuple[str, float, float]], lengths: list[int]
) -> None:
    """Neither does a policy ever move a robot that a person has engaged and not released."""
    arm = RealArm(toy(velocity=3.0, acceleration=60.0))
    runner, engaged = Runner(arm), False
    for (phase, first, last), ticks in zip(phases, lengths, strict=False):
        if phase == "enable":
            runner.cycle.enable()
            engaged = False
        for tick in range(ticks):
            target = first + (last - first) * tick / ticks
            if phase in ("policy", "person"):
                engaged |= phase == "person"
                runner.run(1, target=target, frame_id="policy" if phase == "policy" else "leader")
            elif phase == "silence" or (phase == "enable" and tick):
                runner.run()
            else:
                engaged &= phase != "release"
                runner.release("policy: in doubt" if phase == "policy holds" else "")
            following = runner.cycle.safety.status.mode is Mode.FOLLOWING
            assert (runner.sources[-1] is not Source.HOLD) == following
            if engaged:
                assert runner.sources[-1] is not Source.POLICY
            elif phase == "policy" and following:
                assert runner.sources[-1] is Source.POLICY
    assert_within_limits(arm)


def test_a_late_cycle_moves_the_robot_farther() -> None:
    """At a constant speed, a cycle that comes late would otherwise leave the robot behind; a very late one counts 2."""
    arm = RealArm(toy(velocity=3.0, acceleration=60.0))
    cycle = ControlCycle(arm, CycleConfig(rate_hz=RATE_HZ))
    periods, seconds = [*[1.0] * 8, 1.5, 0.5, 1.0, 5.0, 1.0], 0.0
    for period in periods:
        seconds += period / RATE_HZ
        now_ns = START_NS + round(seconds * S)
        arm.stamp_ns = now_ns
        cycle.sense(now_ns, seconds)
        cycle.command(["a"], [0.9], now_ns, now_ns)
        cycle.act(now_ns, seconds)
    steps = np.diff([targets[0] for targets in arm.written]) * RATE_HZ / 3.0
    np.testing.assert_allclose(steps[-6:], [1.0, 1.5, 0.5, 1.0, 2.0, 1.0], atol=1e-6)
