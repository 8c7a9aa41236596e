"""A guided experiment with emulated joints and simulated time: it ends within its limits, and its record is fitted."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from waldo.errors import HardwareError, InvalidValueError, UnknownNameError
from waldo.robots.control.cycle import ControlCycle, CycleConfig
from waldo.robots.control.safety import Mode
from waldo.robots.description import load_robot
from waldo.robots.driver import MotorSensors, RobotState
from waldo.robots.guided.program import GuidedConfig
from waldo.robots.guided.record import HeatRecord, load_record
from waldo.robots.guided.runner import Clock, ExperimentStoppedError, GuidedExperiment
from waldo.robots.motor import UnpublishedError
from waldo.robots.thermal.fit import fit_constants
from waldo.sim.emulation.emulated_joints import EmulatedJoints

SO101 = load_robot("so101")
LIFT = 1
S = 1_000_000_000
POSE = np.array([0.0, 0.6, -0.5, 0.0, 0.0, 0.3])
"""The arm is stretched forward: the shoulder holds 0.8 N·m [rad]."""
START_NS = 1_700_000_000 * S
RATE_HZ = 60


class Arm:
    """An SO-101 whose emulated joints advance with a simulated clock, and which reports what a servo does."""

    def __init__(self, robot=SO101):
        self.robot, self.joints, self.seconds = robot, EmulatedJoints(robot), 0.0
        self.joints.place(POSE)
        self.target, self.current = self.joints.position, self.joints.current
        self.unplugged = self.mute = False

    def connect(self):
        pass

    def disconnect(self):
        pass

    def read(self):
        if self.unplugged:
            raise HardwareError("no servo answers")
        return RobotState(
            stamp_ns=self.now_ns(),
            position=self.joints.position,
            velocity=self.joints.velocity,
            effort=self.joints.effort,
        )

    def motors(self):
        current = np.round(self.current / 0.0065) * 0.0065
        return replace(
            MotorSensors.unknown(len(self.target)),
            driver_c=np.round(self.joints.driver_c),
            current_a=current * np.nan if self.mute else current,
            torque_nm=current * np.nan if self.mute else current * self.joints.torque_constant,
        )

    def write(self, targets):
        self.target = targets
        return targets

    def frames(self):
        return []

    def now_ns(self):
        return START_NS + round(self.seconds * 1e9)

    def sleep(self, seconds):
        """Advance the joints by a whole cycle."""
        zero = np.zeros(len(self.target))
        self.joints.command(self.target, zero, self.joints.stiffness, self.joints.damping, zero)
        # A servo samples its current at any time, not only at the end of a cycle, when the target is reached.
        self.joints.advance(0.5 / RATE_HZ)
        self.current = self.joints.current
        self.joints.advance(0.5 / RATE_HZ)
        self.seconds += 1 / RATE_HZ

    def clock(self):
        return Clock(now_ns=self.now_ns, monotonic_s=lambda: self.seconds, sleep=self.sleep)


def experiment(arm, config, record=None, **options):
    cycle = ControlCycle(arm, CycleConfig(rate_hz=RATE_HZ))
    record = record or HeatRecord(robot="so101", joint="shoulder_lift")
    return GuidedExperiment(cycle, "shoulder_lift", config, record, clock=arm.clock(), **options)


@pytest.fixture(scope="module")
def measured(tmp_path_factory):
    """An arm after a whole experiment, the experiment, and its file."""
    path = tmp_path_factory.mktemp("guided") / "record.json"
    arm = Arm()
    config = GuidedConfig(angle_rad=0.6, load_nm=1.0, minutes=8)
    one = experiment(arm, config, save=lambda record: record.save(path))
    shown = []
    assert one.run(lambda: False, lambda e: shown.append((e.program.elapsed_s, e.motor_c)))
    return arm, one, path, shown


def test_the_program_is_completed_and_the_robot_holds(measured):
    arm, one, _, shown = measured
    assert arm.seconds == pytest.approx(480, abs=10)
    assert one.cycle.safety.status.mode is Mode.HOLDING
    assert shown[-1][0] > 470
    assert max(celsius for _, celsius in shown) < 70 - 10


def test_the_other_joints_stand_still(measured):
    arm = measured[0]
    others = [i for i in range(6) if i != LIFT]
    np.testing.assert_allclose(arm.joints.position[others], POSE[others], atol=0.06)


def test_the_record_is_fitted_to_the_constants_of_the_emulated_motor(measured):
    _, _, path, _ = measured
    record, true = load_record(path), SO101.joints[LIFT].motor.need_thermal("a test")
    assert record.seconds == pytest.approx(480, abs=10)
    fit = fit_constants(record.recordings(), true, ambient_c=25.0)
    assert fit.rms_k < 0.6
    # Heat scale and resistances are not determined separately; the rise of the sensor for a current is.
    c = fit.constants
    rise = fit.heat_scale * (c.housing_to_ambient_k_per_w + c.driver_sensor_ratio * c.winding_to_housing_k_per_w)
    assert rise == pytest.approx(7.9 + 0.4 * 6.1, rel=0.1)
    assert fit.is_identified("housing_j_per_k")


def test_an_interrupted_experiment_is_saved_and_continued(tmp_path):
    arm, path = Arm(), tmp_path / "record.json"
    config = GuidedConfig(angle_rad=0.5, load_nm=0.8, minutes=4)
    one = experiment(arm, config, save=lambda record: record.save(path))
    assert not one.run(lambda: arm.seconds > 60)
    assert one.cycle.safety.status.mode is Mode.HOLDING
    first = load_record(path)
    assert first.seconds == pytest.approx(60, abs=2)
    arm.seconds += 30
    again = experiment(arm, config, first, save=lambda record: record.save(path))
    assert not again.run(lambda: arm.seconds > 120)
    both = load_record(path)
    assert [len(run.copper_w) for run in both.runs] == pytest.approx([60, 30], abs=2)
    assert both.recordings()[1].gap_s == pytest.approx(30, abs=2)


def test_a_pose_is_approached_slowly_before_the_program():
    arm = Arm()
    one = experiment(arm, GuidedConfig(load_nm=0.8, minutes=4), pose={"shoulder_lift": 0.2, "elbow_flex": 0.3})
    assert (one.program.low, one.program.high) == (pytest.approx(-0.2), pytest.approx(0.6))
    one.run(lambda: arm.seconds > 1.0)
    assert arm.joints.position[2] == pytest.approx(-0.5 + 0.3, abs=0.1)
    one = experiment(arm, GuidedConfig(load_nm=0.8, minutes=4), pose={"shoulder_lift": 0.2, "elbow_flex": 0.3})
    one.run(lambda: arm.seconds > 8.0)
    np.testing.assert_allclose(arm.joints.position[1:3], [0.2, 0.3], atol=0.06)


@pytest.mark.parametrize(
    ("pose", "error", "message"),
    [
        ({"elbow": 0.1}, UnknownNameError, "unknown joint 'elbow'"),
        ({"gripper": 9.0}, InvalidValueError, "pose of gripper is 9"),
    ],
)
def test_an_impossible_pose_is_refused(pose, error, message):
    with pytest.raises(error, match=message):
        experiment(Arm(), GuidedConfig(load_nm=0.8), pose=pose)


def test_a_robot_that_disconnects_ends_the_experiment_and_the_record_is_saved():
    arm, saved = Arm(), []
    one = experiment(arm, GuidedConfig(load_nm=0.8, minutes=4), save=lambda record: saved.append(record.seconds))

    def unplug():
        arm.unplugged = arm.seconds > 15
        return False

    with pytest.raises(ExperimentStoppedError, match="shoulder_lift stopped: robot disconnected: no servo answers"):
        one.run(unplug)
    assert saved[-1] == pytest.approx(15, abs=2)


def test_a_robot_that_is_stopped_ends_the_experiment():
    arm = Arm()
    one = experiment(arm, GuidedConfig(load_nm=0.8, minutes=4))

    def stop():
        if arm.seconds > 5:
            one.cycle.safety.stop("stopped by the operator")
        return False

    with pytest.raises(ExperimentStoppedError, match="the robot is stopped: stopped by the operator"):
        one.run(stop)


def test_a_motor_that_reports_no_current_is_refused():
    arm = Arm()
    arm.mute = True
    with pytest.raises(ExperimentStoppedError, match="its motor reports no current"):
        experiment(arm, GuidedConfig(load_nm=0.8, minutes=4)).run(lambda: False)


def test_a_motor_whose_sensor_is_silent_is_not_loaded_on_the_estimate():
    arm = Arm()
    read = arm.motors
    arm.motors = lambda: replace(read(), driver_c=np.full(6, np.nan))
    with pytest.raises(ExperimentStoppedError, match="its motor reports no temperature"):
        experiment(arm, GuidedConfig(load_nm=0.8, minutes=4)).run(lambda: False)


def test_events_of_the_robot_are_logged():
    arm, events = Arm(), []
    read = arm.motors
    arm.motors = lambda: replace(read(), faults=("", "overload", "", "", "", ""))
    one = experiment(arm, GuidedConfig(load_nm=0.8, minutes=4), log=lambda event: events.append(event.text))
    one.run(lambda: arm.seconds > 3)
    assert any("overload" in text for text in events)


def test_a_motor_without_a_torque_constant_is_refused():
    joint = replace(SO101.joints[LIFT], motor=replace(SO101.joints[LIFT].motor, torque_constant=None))
    robot = replace(SO101, joints=(*SO101.joints[:LIFT], joint, *SO101.joints[LIFT + 1 :]))
    with pytest.raises(UnpublishedError, match="an experiment needs torque_constant_nm_per_a"):
        experiment(Arm(robot), GuidedConfig(load_nm=0.8))


def test_a_motor_without_a_temperature_limit_is_refused():
    joint = replace(SO101.joints[LIFT], motor=replace(SO101.joints[LIFT].motor, winding_limit=None))
    robot = replace(SO101, joints=(*SO101.joints[:LIFT], joint, *SO101.joints[LIFT + 1 :]))
    with pytest.raises(UnpublishedError, match="an experiment needs winding_limit_c of Feetech STS3215"):
        experiment(Arm(robot), GuidedConfig(load_nm=0.8))
