"""LeRobot's OpenArm follower and leader, as a driver and as a device, with emulated Damiao motors on a CAN bus."""

from __future__ import annotations

import dataclasses
import json
import time
from collections.abc import Iterator
from itertools import count
from pathlib import Path
from types import SimpleNamespace

import can
import numpy as np
import pytest

from waldo.collect.devices.conformance import RecordingSession
from waldo.collect.devices.device import Observation
from waldo.collect.devices.lerobot_teleop import LeRobotTeleop
from waldo.errors import HardwareError, InvalidValueError, UnknownNameError
from waldo.robots.description import Camera, Joint, Robot, load_robot
from waldo.robots.drivers import calibration
from waldo.robots.drivers.feetech import FeetechDriver
from waldo.robots.drivers.lerobot.driver import LeRobotDriver, _connect
from waldo.robots.drivers.lerobot.units import Units, make_device
from waldo.robots.drivers.mit import Range
from waldo.robots.motors.damiao import DM_J4310
from waldo.sim.emulation.damiao import DamiaoMotors
from waldo.sim.emulation.emulated_joints import EmulatedJoints
from waldo.sim.emulation.feetech import FeetechServos

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")

NAMES = (*(f"joint_{i}" for i in range(1, 8)), "gripper")
FULL = {"dm8009": (12.5, 45, 54), "dm4340": (12.5, 8, 28), "dm4310": (12.5, 30, 10)}
TYPES = ("dm8009", "dm8009", "dm4340", "dm4340", "dm4310", "dm4310", "dm4310", "dm4310")
CHANNELS = count()


def arm(folder: Path) -> Robot:
    """Return a robot of eight separate joints with vertical axes."""
    bodies = "".join(
        f'<body pos="{i} 0 0"><joint name="{n}" axis="0 0 1" damping=".5" armature=".02"/>'
        '<geom size=".05" mass=".2"/></body>'
        for i, n in enumerate(NAMES)
    )
    motors = "".join(f'<position name="{n}" joint="{n}" kp="1"/>' for n in NAMES)
    (folder / "arm.xml").write_text(
        f'<mujoco><option timestep="0.002" integrator="implicitfast"/><worldbody>{bodies}</worldbody>'
        f"<actuator>{motors}</actuator></mujoco>"
    )
    one = {"motor": DM_J4310, "lower": -0.08, "upper": 0.08, "velocity": 3.0, "acceleration": 20.0, "effort": 7.0}
    return Robot(
        name="openarm",
        model="OpenArm",
        joints=tuple(Joint(name=n, **one) for n in NAMES),
        cameras=(),
        mjcf=str(folder / "arm.xml"),
    )


class Bench:
    """An emulated OpenArm and LeRobot's configuration for it."""

    def __init__(self, folder: Path) -> None:
        self.robot, self.channel, self.folder = arm(folder), f"openarm{next(CHANNELS)}", folder
        self.plant = EmulatedJoints(self.robot)
        ranges = [Range(position_rad=FULL[t][0], velocity_rad_s=FULL[t][1], torque_nm=FULL[t][2]) for t in TYPES]
        bus = can.Bus(interface="virtual", channel=self.channel)
        self.motors = DamiaoMotors(self.plant, bus, range(1, 9), ranges)
        for registers in self.motors.registers:
            registers[10] = 1
        self.config = json.dumps(
            {"can_interface": "virtual", "use_can_fd": False, "calibration_dir": str(folder / "calibration")}
        )

    def calibrate(self) -> None:
        one = {"drive_mode": 0, "homing_offset": 0, "range_min": -90, "range_max": 90}
        (self.folder / "calibration").mkdir(exist_ok=True)
        (self.folder / "calibration" / "mine.json").write_text(
            json.dumps({name: {"id": i + 1, **one} for i, name in enumerate(NAMES)})
        )

    def driver(self, **options: object) -> LeRobotDriver:
        defaults = {"type": "openarm_follower", "id": "mine", "port": self.channel, "config": self.config}
        return LeRobotDriver(self.robot, **{**defaults, **options})


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    bench = Bench(tmp_path)
    with bench.motors:
        yield bench


@pytest.mark.usefixtures("lerobot_timeouts")
def test_lerobots_openarm_is_read_and_driven_in_radians(bench: Bench) -> None:
    bench.calibrate()
    more = json.dumps({**json.loads(bench.config), "use_velocity_and_torque": True})
    driver = bench.driver(config=more, sensor_period_s=0.0)
    driver.connect()
    # LeRobot limits the joints to 5 degrees if the side of the arm is not configured, and the gripper to closing.
    applied = driver.write(np.full(8, 0.07))
    np.testing.assert_allclose(applied, [0.07] * 7 + [0.0], atol=1e-6)
    deadline = time.monotonic() + 60
    while np.abs(driver.read().position[:7] - 0.07).max() > 0.01:
        assert time.monotonic() < deadline, driver.read()
    state = driver.read()
    assert np.isfinite(state.effort).all()
    with bench.plant.lock:
        bench.plant.heat[2, 0] = 77.0
    while driver.motors().winding_c[2] < 70:
        assert time.monotonic() < deadline
        driver.read()
    sensors = driver.motors()
    np.testing.assert_allclose(sensors.driver_c, 35.0)
    assert np.isnan(sensors.voltage_v).all()
    assert driver.frames() == []
    driver.disconnect()


def test_errors_for_a_robot_without_power(bench: Bench) -> None:
    bench.calibrate()
    bench.motors.silent.update(range(8))
    with pytest.raises(HardwareError, match=r"openarm_follower: cannot connect \(.*did not respond: \['joint_1'"):
        bench.driver().connect()


@pytest.mark.usefixtures("lerobot_timeouts")
def test_a_robot_without_calibration_is_rejected(bench: Bench) -> None:
    with pytest.raises(HardwareError, match="openarm_follower 'mine' has no calibration; run: lerobot-calibrate"):
        bench.driver().connect()


def test_errors_for_unknown_names_and_configurations(bench: Bench) -> None:
    with pytest.raises(UnknownNameError, match="unknown robot 'so101_folower'; did you mean 'so101_follower'"):
        bench.driver(type="so101_folower").connect()
    with pytest.raises(InvalidValueError, match="config is 'port=3', expected JSON"):
        bench.driver(config="port=3").connect()
    with pytest.raises(InvalidValueError, match="expected the configuration of openarm_follower"):
        bench.driver(config='{"no_such_field": 1}').connect()


def test_a_missing_library_of_a_device_is_an_error() -> None:
    def make(_: object) -> None:
        raise ImportError("'feetech-servo-sdk' is required but not installed")

    with pytest.raises(HardwareError, match=r"so101_leader cannot be created \('feetech-servo-sdk' is required"):
        make_device("lerobot.teleoperators", "so101_leader", "", make, port="/dev/null")


class _Bus:
    """The parts of a motor bus with a register table that the driver uses."""

    def __init__(self, mode: str, model: str = "sts3215") -> None:
        self.motors = {"a": SimpleNamespace(norm_mode=SimpleNamespace(value=mode), model=model)}
        self.calibration = {"a": SimpleNamespace(range_min=1024, range_max=3072)}
        self.model_resolution_table = {model: 4097}
        registers = dict.fromkeys(("Present_Temperature", "Present_Current", "Present_Voltage", "Status"))
        self.model_ctrl_table = {model: registers}

    def sync_read(self, register: str, *, normalize: bool) -> dict[str, int]:
        assert not normalize
        counts = {"Present_Temperature": 41, "Present_Current": 0x8000 + 100, "Present_Voltage": 74, "Status": 0x24}
        return {"a": counts[register]}


class FeetechBus(_Bus):
    """The driver selects the encoding of the current by the name of this class."""


def one_joint() -> Robot:
    joint = Joint(name="a", motor=DM_J4310, lower=-0.5, upper=1.5, velocity=1, acceleration=1, effort=1)
    return Robot(name="r", model="r", joints=(joint,), cameras=(Camera(name="c", width=4, height=2, fps=30),), mjcf="")


@pytest.mark.parametrize(
    ("mode", "value", "angle"),
    [("degrees", 90.0, np.pi / 2), ("range_m100_100", 50.0, np.pi / 4), ("range_0_100", 25.0, 0.0)],
)
def test_units_depend_on_the_motor_bus(mode: str, value: float, angle: float) -> None:
    units = Units(SimpleNamespace(bus=_Bus(mode)), one_joint(), ["a"], ["degrees"])
    np.testing.assert_allclose(units.angles({"a.pos": value}), [angle], atol=1e-12)
    np.testing.assert_allclose(units.action(np.array([angle]))["a.pos"], value, atol=1e-9)


def test_units_without_a_motor_bus_are_an_option() -> None:
    expected = {"degrees": 0.4 * np.pi / 180, "radians": 0.4, "millimeters": 0.0004, "meters": 0.4, "percent": -0.492}
    for unit, position in expected.items():
        np.testing.assert_allclose(Units(object(), one_joint(), ["a"], [unit]).angles({"a.pos": 0.4}), [position])
    with pytest.raises(UnknownNameError, match=r"unknown LeRobot joint 'a' \(known: b\)"):
        Units(object(), one_joint(), ["a"], []).angles({"b.pos": 1})


def test_each_joint_has_its_own_unit() -> None:
    arm, gripper = one_joint().joints[0], dataclasses.replace(one_joint().joints[0], name="b", lower=0, upper=0.07)
    robot = dataclasses.replace(one_joint(), joints=(arm, gripper))
    units = Units(object(), robot, ["a", "b"], ["degrees", "millimeters"])
    np.testing.assert_allclose(units.angles({"a.pos": 90, "b.pos": 70}), [np.pi / 2, 0.07])
    assert units.action(np.array([0.0, 0.035]))["b.pos"] == pytest.approx(35)
    with pytest.raises(InvalidValueError, match="units"):
        LeRobotDriver(robot, units=("inches",))


def test_a_base_is_refused_by_name() -> None:
    device = SimpleNamespace(name="lekiwi", action_features={"a.pos": float, "x.vel": float, "theta.vel": float})
    with pytest.raises(
        HardwareError, match=r"lekiwi has the actions x\.vel, theta\.vel, which are not joint positions"
    ):
        Units(device, one_joint(), ["a"], [])


@pytest.mark.usefixtures("lerobot_timeouts")
def test_lerobots_pair_of_arms_is_read_driven_and_measured(tmp_path: Path) -> None:
    pair, so101 = load_robot("bi_so101"), load_robot("so101")
    with FeetechServos(EmulatedJoints(so101)) as left, FeetechServos(EmulatedJoints(so101)) as right:
        ports = {"left": left.port, "right": right.port}
        for side, port in ports.items():
            reader = FeetechDriver(so101, port=port, torque=False, response_timeout_s=1.0)
            reader.open()
            calibration.save(tmp_path / f"mine_{side}.json", so101.joint_names, reader.stored())
            reader.disconnect()
        config = {"calibration_dir": str(tmp_path), **{f"{s}_arm_config": {"port": p} for s, p in ports.items()}}
        driver = LeRobotDriver(pair, type="bi_so_follower", id="mine", config=json.dumps(config))
        driver.connect()
        # Connecting, LeRobot disables the torque for a moment, and the arms sag.
        found = np.concatenate([left.joints.position, right.joints.position])
        np.testing.assert_allclose(driver.read().position, found, atol=0.03)
        target = pair.home.copy()
        target[[0, 6]] = [0.2, -0.2]
        driver.write(target)
        deadline = time.monotonic() + 60
        while np.abs(driver.read().position - target)[[0, 6]].max() > 0.02:
            assert time.monotonic() < deadline
        right.joints.heat[2] = 61.0
        sensors = driver.motors()
        assert np.isfinite(sensors.driver_c).all()
        assert np.isfinite(sensors.current_a).all()
        assert sensors.driver_c[8] == pytest.approx(61, abs=1)
        driver.disconnect()


def test_sensor_registers_faults_and_images() -> None:
    driver = LeRobotDriver(one_joint())
    driver._device = SimpleNamespace(bus=FeetechBus("degrees"))
    sensors = driver.motors()
    np.testing.assert_allclose([sensors.driver_c[0], sensors.voltage_v[0], sensors.current_a[0]], [41, 7.4, -0.65])
    assert sensors.faults == ("over-temperature, overload",)
    assert sensors.disabled.tolist() == [True]
    image = np.zeros((2, 4, 3), np.uint8)
    driver._keep_images({"c": image}, 5)
    driver._keep_images({"c": image}, 6)
    (frame,) = driver.frames()
    assert (frame.camera, frame.stamp_ns) == ("c", 5)


@pytest.mark.usefixtures("lerobot_timeouts")
def test_a_lost_response_while_lerobot_connects_is_no_missing_robot() -> None:
    lost, closed = iter([True, True, False]), []

    def connect(*, calibrate: bool) -> None:
        assert not calibrate
        if next(lost):
            raise ConnectionError("Failed to write 'Lock' on id_=6 [TxRxResult] There is no status packet!")

    bus = SimpleNamespace(disconnect=lambda disable_torque: closed.append(disable_torque))
    _connect(SimpleNamespace(connect=connect, bus=bus))
    # The torque stays as it is.
    assert closed == [False, False]
    lost = iter([True] * 9)
    with pytest.raises(ConnectionError):
        _connect(SimpleNamespace(connect=connect, bus=bus))


def test_lerobots_leader_is_a_device(bench: Bench) -> None:
    bench.calibrate()
    leader = LeRobotTeleop(bench.robot, type="openarm_leader", id="mine", port=bench.channel, config=bench.config)
    leader.open()
    far = Observation(stamp_ns=0, position=np.full(8, 0.7), environment={})
    near = Observation(stamp_ns=0, position=np.full(8, 0.1), environment={})
    assert leader.step(far, RecordingSession(), 1 / 60) is None
    target = leader.step(near, RecordingSession(), 1 / 60)
    assert target is not None
    np.testing.assert_allclose(target, 0.0, atol=0.05)
    # The distance for releasing is larger than that for engaging.
    assert leader.step(far, RecordingSession(), 1 / 60) is not None
    assert not leader.finished
    leader.close()


def test_an_unknown_teleoperator_is_an_error() -> None:
    with pytest.raises(UnknownNameError, match="unknown teleoperator 'so101_leadr'; did you mean 'so101_leader'"):
        make_device("lerobot.teleoperators", "so101_leadr", "", lambda config: config)
