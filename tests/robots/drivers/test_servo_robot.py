"""Feetech and Dynamixel drivers with emulated servos on a pseudo-terminal."""

from __future__ import annotations

import dataclasses
import random
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.robots.drivers.servo_bench import DRIVERS, SO101, Bench, until
from waldo.errors import HardwareError, InvalidValueError
from waldo.robots.drivers import calibration, dynamixel, feetech
from waldo.robots.drivers.dynamixel import DynamixelDriver
from waldo.robots.drivers.feetech import FeetechBus
from waldo.sim.emulation.dynamixel import DynamixelServos
from waldo.sim.emulation.emulated_joints import EmulatedJoints
from waldo.sim.emulation.emulated_leader import EmulatedLeader
from waldo.sim.emulation.feetech import FeetechServos
from waldo.sim.emulation.servos.servo import Servo


@pytest.fixture(params=list(DRIVERS))
def bench(request: pytest.FixtureRequest) -> Iterator[Bench]:
    """An emulated arm."""
    bench = Bench(request.param)
    with bench.servos:
        yield bench


@pytest.fixture
def driver(bench: Bench) -> Iterator[Any]:
    """A driver that is connected to the arm."""
    driver = bench.driver()
    driver.connect()
    yield driver
    driver.disconnect()


def test_the_driver_moves_the_arm_and_reports_its_load(bench: Bench, driver: Any) -> None:
    state = driver.read()
    np.testing.assert_allclose(state.position, bench.plant.position, atol=0.01)
    assert abs(state.stamp_ns - time.time_ns()) < 60e9
    target = SO101.home + np.array([0.4, 0.5, -0.3, -0.4, 0.3, 0.2])
    np.testing.assert_allclose(driver.write(target), target, atol=8e-4)
    until(driver, lambda s: bool(np.abs(s.position - target).max() < 0.03 and np.abs(s.velocity).max() < 0.01))
    np.testing.assert_allclose(bench.plant.position, target, atol=0.04)
    sensors = driver.motors()
    assert sensors.faults == ("",) * 6
    # Holding shoulder and elbow against gravity needs current: duty cycle times voltage divided by resistance.
    assert np.abs(sensors.current_a[1:3]).max() > 0.1
    np.testing.assert_allclose(sensors.torque_nm, sensors.current_a * 1.21, rtol=1e-9)
    np.testing.assert_allclose(sensors.pwm_ratio * sensors.voltage_v / 2.68, sensors.current_a, atol=0.1)
    np.testing.assert_allclose(sensors.voltage_v, 7.4, atol=0.3)


def test_an_overheated_servo_disables_itself_and_reports_the_fault(bench: Bench, driver: Any) -> None:
    with bench.plant.lock:
        bench.plant.heat[2] = [60.0, 51.4]
    until(driver, lambda _: bool(driver.motors().driver_c[2] >= 50))
    assert driver.motors().driver_c[0] == 25
    with bench.plant.lock:
        bench.plant.heat[2] = [150.0, 90.0]
    until(driver, lambda _: driver.motors().faults[2] != "")
    assert driver.motors().faults[2] == "over-temperature"
    assert driver.motors().disabled.tolist() == [False, False, True, False, False, False]
    assert driver.motors().faults[1] == ""
    driver.disconnect()
    with pytest.raises(HardwareError, match=r"elbow_flex \(id 3\) reports over-temperature; remove the cause"):
        bench.driver().connect()
    with bench.plant.lock:
        bench.plant.heat[:] = 30.0
    again = bench.driver(clear_errors=True)
    again.connect()
    assert again.motors().faults == ("",) * 6
    assert not again.motors().disabled.any()
    limit = bench.servos.servos[5].get(48, 2) if bench.vendor == "feetech" else bench.servos.servos[5].get(100, 2)
    assert limit == (500 if bench.vendor == "feetech" else 442)
    again.disconnect()


def test_targets_are_clipped_to_limits_and_calibration(driver: Any) -> None:
    applied = driver.write(np.full(6, 9.0))
    assert (applied <= SO101.upper).all()
    np.testing.assert_allclose(applied, SO101.upper, atol=2e-3)
    with pytest.raises(InvalidValueError, match="targets is array"):
        driver.write(np.array([np.nan, 0, 0, 0, 0, 0]))


def test_connecting_causes_no_motion_and_keeps_enabled_servos_enabled(bench: Bench) -> None:
    before = bench.plant.position
    writes: list[tuple[int, int, int]] = []
    watched = {bench.enable: 1, (42 if bench.vendor == "feetech" else 116): 2 if bench.vendor == "feetech" else 4}
    write = bench.servos._write

    def watch(servo: Any, address: int, data: bytes) -> Any:
        if address in watched:
            writes.append((servo.id, address, int.from_bytes(data, "little")))
        return write(servo, address, data)

    bench.servos._write = watch
    driver = bench.driver()
    driver.connect()
    # The goal of each servo is its present position before its torque is enabled.
    expected = driver.counts.goals(before)
    for servo, count in zip(bench.servos.servos, expected.tolist(), strict=True):
        mine = [(address, value) for identity, address, value in writes if identity == servo.id]
        assert mine[-1] == (bench.enable, 1)
        assert mine[-2][0] != bench.enable
        # The arm sinks slightly until the last servo holds.
        assert abs(mine[-2][1] - count) <= 40
    start = bench.servos.requests
    until(driver, lambda _: bench.servos.requests > start + 150)
    # It only sags as far as the stiffness of the position loops allows.
    np.testing.assert_allclose(bench.plant.position, before, atol=0.03)
    driver.disconnect()
    # The servos hold their position, also when another program connects.
    assert all(servo.memory[bench.enable] for servo in bench.servos.servos)
    writes.clear()
    again = bench.driver()
    again.connect()
    again.disconnect()
    assert not [write for write in writes if write[1] == bench.enable]
    other = bench.driver(on_close="release")
    other.connect()
    other.disconnect()
    deadline = time.monotonic() + 60
    while any(servo.memory[bench.enable] for servo in bench.servos.servos):
        assert time.monotonic() < deadline


def test_a_servo_outside_its_calibrated_range_is_not_enabled(bench: Bench) -> None:
    bench.servos.servos[0].put(*((9, 2) if bench.vendor == "feetech" else (52, 4)), 2500)
    with pytest.raises(HardwareError, match=r"shoulder_pan \(id 1\) is at 2047, outside its calibrated range of 2500"):
        bench.driver().connect()
    assert not bench.servos.servos[0].memory[bench.enable]


def test_a_replaced_servo_is_reported_as_not_calibrated(bench: Bench) -> None:
    gripper = bench.servos.servos[5]
    for address, size, value in (
        ((31, 2, 0), (9, 2, 0), (11, 2, 4095))
        if bench.vendor == "feetech"
        else (
            (20, 4, 0),
            (52, 4, 0),
            (48, 4, 4095),
        )
    ):
        gripper.put(address, size, value)
    with pytest.raises(HardwareError, match=r"^not calibrated: gripper \(id 6\); run: waldo calibrate"):
        bench.driver().connect()


def test_a_dynamixel_with_reversed_drive_mode_is_not_reversed_twice(tmp_path: Path) -> None:
    """A servo with a reversed drive mode, such as the elbow of LeRobot's koch_leader, reports reversed positions."""
    bench = Bench("dynamixel")
    with bench.servos as servos:
        before = servos.position_of(2, servos.actual_counts()[2])
        servos.directions[2] = -1
        servos.servos[2].put(10, 1, 1)
        after = servos.position_of(2, servos.actual_counts()[2])
        servos.servos[2].put(20, 4, servos.servos[2].signed(20, 4) + round(before - after))
        driver = bench.driver(torque=False)
        driver.connect()
        stored = driver.stored()
        assert [one.drive_mode for one in stored] == [0, 0, 1, 0, 0, 0]
        np.testing.assert_allclose(driver.read().position, bench.plant.position, atol=0.01)
        driver.disconnect()
        path = tmp_path / "arm.json"
        calibration.save(path, SO101.joint_names, stored)
        same = bench.driver(torque=False, calibration=str(path))
        same.connect()
        np.testing.assert_allclose(same.read().position, bench.plant.position, atol=0.01)
        same.disconnect()
        bench.servos.servos[2].put(10, 1, 0)
        with pytest.raises(HardwareError, match=r"elbow_flex \(id 3\) has homing offset"):
            same.connect()


def test_the_gripper_has_half_its_torque_and_the_gains_persist(bench: Bench, driver: Any) -> None:
    gripper = bench.servos.servos[5]
    if bench.vendor == "feetech":
        assert gripper.get(48, 2) == 500
        bench.servos.power_cycle()
        assert (gripper.get(21, 1), gripper.get(7, 1)) == (16, 0)
    else:
        assert gripper.get(100, 2) == round(885 / 2)
        assert gripper.get(9, 1) == 0


def test_connecting_names_missing_servos(bench: Bench) -> None:
    bench.servos.silent = {3, 4}
    with pytest.raises(HardwareError) as caught:
        bench.driver(response_timeout_s=0.3).connect()
    assert str(caught.value) == (
        f"no response from elbow_flex (id 3), wrist_flex (id 4) on {bench.servos.port} (responding: 1, 2, 5, 6); "
        "check the cable to the first silent servo and its id"
    )


def test_a_silent_servo_is_first_unknown_and_then_disconnected(bench: Bench) -> None:
    driver = bench.driver()
    driver.connect()
    driver.read()
    driver.bus.port.response_timeout_s = 0.05
    bench.servos.silent = {2}
    until(driver, lambda _: bool(np.isnan(driver.motors().driver_c[1])))
    assert driver.motors().faults[1].startswith("no response for ")
    driver.options = dataclasses.replace(driver.options, motor_timeout_s=0.01)
    with pytest.raises(HardwareError, match=r"no response from shoulder_lift \(id 2\) for 0\.01 s; check the"):
        until(driver, lambda _: False)
    driver.disconnect()


@pytest.mark.parametrize("kind", ["flipped bit", "dropped byte", "extra byte"])
def test_noise_causes_missed_readings_but_no_wrong_ones(bench: Bench, kind: str) -> None:
    driver = bench.driver()
    driver.connect()
    driver.bus.port.response_timeout_s = 0.02
    rng = random.Random(1)

    def noise(data: bytes) -> bytes:
        if rng.random() > 0.1 or not data:
            return data
        at = rng.randrange(len(data))
        if kind == "flipped bit":
            return data[:at] + bytes([data[at] ^ 1 << rng.randrange(8)]) + data[at + 1 :]
        return data[:at] + data[at + 1 :] if kind == "dropped byte" else data[:at] + b"\xff" + data[at:]

    bench.servos.noise = noise
    missed = 0
    for _ in range(100):
        position = driver.read().position
        np.testing.assert_allclose(position, bench.plant.position, atol=0.05)
        sensors = driver.motors()
        missed += sum(bool(fault) for fault in sensors.faults)
        known = sensors.driver_c[~np.isnan(sensors.driver_c)]
        assert (known == 25).all()
        assert all(fault == "" or fault.startswith("no response for") for fault in sensors.faults)
    assert missed > 10
    driver.disconnect()


def test_a_pulled_plug_is_an_error(bench: Bench) -> None:
    driver = bench.driver()
    driver.connect()
    port = bench.servos.port
    bench.servos.unplug()
    with pytest.raises(HardwareError, match=rf"{port} was disconnected \(.*\); check the USB plug"):
        until(driver, lambda _: False)
    driver.disconnect()
    with pytest.raises(
        HardwareError,
        match=rf"serial port {port} does not exist \(available: .*\); plug",
    ):
        driver.connect()


def test_a_port_is_locked_by_one_driver(bench: Bench, driver: Any) -> None:
    with pytest.raises(HardwareError, match=f"{bench.servos.port} is in use by another program; stop"):
        bench.driver().connect()


def test_servos_of_another_vendor_or_model_are_rejected() -> None:
    with FeetechServos(EmulatedJoints(SO101)) as servos:
        wrong = dynamixel.DynamixelDriver(SO101, port=servos.port, response_timeout_s=0.02)
        with pytest.raises(HardwareError, match=r"no response from shoulder_pan \(id 1\).* \(responding: none\)"):
            wrong.connect()
        servos.servos[1].put(3, 2, 1284)
        other = feetech.FeetechDriver(SO101, port=servos.port, response_timeout_s=1.0)
        with pytest.raises(HardwareError, match=r"shoulder_lift \(id 2\) has model number 1284, expected STS3215"):
            other.connect()


def test_impossible_options_are_rejected() -> None:
    for options, message in (
        ({"ids": (1, 1, 2, 3, 4, 5)}, "a different id for each motor"),
        ({"ids": (1, 2, 3, 4, 5, 253)}, "ids from 0 to 252"),
        ({"ids": "1, 2, 3, 4, 5, 6"}, "ids is '1, 2, 3, 4, 5, 6', expected a tuple of whole numbers"),
        ({"on_close": "drop"}, "expected hold or release"),
        ({"p": 300}, "from 0 to 254"),
        ({"response_timeout_s": 0}, "a number above 0"),
    ):
        with pytest.raises(InvalidValueError, match=message):
            feetech.FeetechDriver(SO101, **options)


def test_uncalibrated_servos_are_rejected(bench: Bench) -> None:
    fresh = Bench(bench.vendor, calibrated=False)
    with fresh.servos:
        with pytest.raises(
            HardwareError, match=f"not calibrated: .*; run: waldo calibrate so101 --driver {bench.vendor} --port"
        ):
            fresh.driver().connect()
        driver = fresh.driver(allow_uncalibrated=True, torque=False)
        driver.connect()
        driver.disconnect()


def test_an_overloaded_feetech_servo_reports_overload() -> None:
    bench = Bench("feetech")
    with bench.servos as servos:
        driver = bench.driver()
        driver.connect()
        for servo in servos.servos:
            servo.put(36, 1, 5)
            servo.put(35, 1, 10)
        target = SO101.home.copy()
        target[1] += 0.6
        driver.write(target)
        until(driver, lambda _: "overload" in driver.motors().faults[2])
        driver.disconnect()


@pytest.mark.parametrize("vendor", list(DRIVERS))
@pytest.mark.usefixtures("lerobot_timeouts")
def test_lerobots_motor_bus_reads_the_same_calibration_and_angles(vendor: str) -> None:
    """Compares FeetechMotorsBus and DynamixelMotorsBus with waldo's drivers on the same stationary servos."""
    from lerobot.motors import Motor, MotorNormMode
    from lerobot.motors.dynamixel import DynamixelMotorsBus
    from lerobot.motors.feetech import FeetechMotorsBus

    kind, model = (FeetechMotorsBus, "sts3215") if vendor == "feetech" else (DynamixelMotorsBus, "xm430-w350")
    emulator, driver_class = DRIVERS[vendor]
    motors = {name: Motor(i + 1, model, MotorNormMode.DEGREES) for i, name in enumerate(SO101.joint_names)}
    with emulator(EmulatedLeader(SO101, lambda _: SO101.home + 0.1)) as servos:
        bus = kind(servos.port, motors)
        bus.connect()
        expected = bus.read_calibration()
        bus.calibration = expected
        degrees = bus.sync_read("Present_Position")
        bus.disconnect(disable_torque=False)
        driver = driver_class(SO101, port=servos.port, torque=False, response_timeout_s=1.0)
        driver.connect()
        position = driver.read().position
        stored = driver.stored()
        driver.disconnect()
    for i, name in enumerate(SO101.joint_names):
        assert (stored[i].homing_offset, stored[i].range_min, stored[i].range_max) == (
            expected[name].homing_offset,
            expected[name].range_min,
            expected[name].range_max,
        )
        middle = 0 if name == "wrist_roll" else (SO101.lower[i] + SO101.upper[i]) / 2
        # LeRobot uses 4095 counts per turn.
        np.testing.assert_allclose(np.radians(degrees[name]) + middle, position[i], atol=2e-3)


def test_a_goal_speed_that_another_program_left_does_not_slow_the_arm_down() -> None:
    bench = Bench("feetech")
    with bench.servos:
        bus = bench.servos
        with bus.joints.lock:
            for servo in bus.servos:
                servo.put(41, 1, 1)
                servo.put(44, 2, 2000)
                servo.put(46, 2, 20)
        driver = bench.driver()
        driver.connect()
        target = SO101.home + np.array([0.5, 0, 0, 0, 0, 0])
        deadline = time.monotonic() + 60
        for _ in range(200):
            driver.write(target)
            time.sleep(0.01)
            if abs(driver.read().position[0] - target[0]) < 0.05:
                break
        assert time.monotonic() < deadline
        np.testing.assert_allclose(driver.read().position[0], target[0], atol=0.05)
        assert [servo.get(44, 2) for servo in bus.servos] == [servo.get(46, 2) for servo in bus.servos] == [0] * 6
        driver.disconnect()


def test_an_emulated_feetech_servo_moves_at_its_goal_speed() -> None:
    bench = Bench("feetech")
    with bench.servos:
        driver = bench.driver()
        driver.connect()
        start = driver.read().position[0]
        with bench.servos.joints.lock:
            bench.servos.servos[0].put(46, 2, 65)  # 0.1 rad/s
        begun = time.monotonic()
        driver.write(SO101.home + np.array([1.0, 0, 0, 0, 0, 0]))
        time.sleep(1.0)
        moved, passed_s = driver.read().position[0] - start, time.monotonic() - begun
        assert 0.02 < moved < 0.1 * passed_s + 0.05
        driver.disconnect()


@pytest.mark.parametrize(("number", "milliamperes"), [(1010, 2.69), (1050, 1.34), (1220, 1.0), (1270, None)])
def test_every_x_model_with_the_same_control_table_is_driven(number: int, milliamperes: float | None) -> None:
    bench = Bench("dynamixel")
    with bench.servos:
        model = dataclasses.replace(bench.servos.models[0], number=number, milliamperes=milliamperes or 2.69)
        bench.servos.models = [model] * 6
        for servo in bench.servos.servos:
            servo.put(0, 2, number)
        driver = bench.driver()
        driver.connect()
        driver.write(SO101.home + 0.1)
        time.sleep(0.3)
        driver.read()
        current = driver.motors().current_a
        assert np.isfinite(current).all() == (milliamperes is not None)
        if milliamperes is not None:
            with bench.servos.joints.lock:
                expected = bench.servos.electrical()[0]
            np.testing.assert_allclose(current, expected, atol=0.1)
        driver.disconnect()


def test_servos_with_the_same_id_are_named_as_the_cause() -> None:
    for vendor, (emulator, driver_class) in DRIVERS.items():
        with emulator(EmulatedJoints(SO101), ids=(1, 2, 3, 4, 5, 5)) as servos:
            with pytest.raises(HardwareError) as caught:
                driver_class(SO101, port=servos.port).connect()
        error = str(caught.value)
        assert error.startswith("no response from gripper (id 6)"), vendor
        assert "the readings of wrist_roll (id 5) are damaged, as if two servos had the same id" in error


@pytest.mark.parametrize(("vendor", "code", "rate"), [("feetech", 4, 115_200), ("dynamixel", 1, 57_600)])
def test_the_baud_rate_at_which_servos_respond_is_found(vendor: str, code: int, rate: int) -> None:
    emulator, driver_class = DRIVERS[vendor]
    with emulator(EmulatedJoints(SO101)) as servos:
        for servo in servos.servos:
            servo.put(servos.id_register + 1, 1, code)
        with pytest.raises(HardwareError, match=f"servos respond at {rate} bit/s: pass baudrate={rate}"):
            driver_class(SO101, port=servos.port).connect()
        driver = driver_class(SO101, port=servos.port, baudrate=rate, response_timeout_s=1.0, motor_timeout_s=20.0)
        driver.connect()
        assert np.isfinite(driver.read().position).all()
        driver.disconnect()


def test_advice_for_an_arm_without_power(bench: Bench) -> None:
    bench.servos.silent = {1, 2, 3, 4, 5, 6}
    with pytest.raises(HardwareError, match="check the power supply, the cable to the first servo and the ids"):
        bench.driver(response_timeout_s=0.01).connect()


def test_servos_that_respond_to_few_instructions_are_driven(bench: Bench) -> None:
    level = {"feetech": 8, "dynamixel": 68}[bench.vendor]
    for servo in bench.servos.servos:
        servo.put(level, 1, 0)
    driver = bench.driver(response_timeout_s=0.05)
    driver.connect()
    target = SO101.home + 0.1
    driver.write(target)
    until(driver, lambda state: np.abs(state.position - target).max() < 0.05)
    driver.disconnect()


class Crossing(DynamixelServos):
    """Servos whose encoders cross their zero within the range of each joint."""

    def make_servo(self, joint: int, calibrated: bool) -> Servo:
        self._mounted[joint] = 4000.0
        return super().make_servo(joint, calibrated)


@pytest.mark.parametrize("torque", [True, False])
def test_a_joint_that_crosses_the_zero_of_its_encoder_survives_a_power_cycle(torque: bool) -> None:
    plant = EmulatedJoints(SO101)
    plant.falls = False
    with Crossing(plant) as servos:
        pose = np.clip(SO101.home + 0.3, SO101.lower, SO101.upper)
        plant.place(pose)
        servos.lay_down()
        servos.power_cycle()
        driver = DynamixelDriver(SO101, port=servos.port, torque=torque, motor_timeout_s=20.0, response_timeout_s=1.0)
        driver.connect()
        assert driver._turns.any()
        for _ in range(5):
            np.testing.assert_allclose(driver.read().position, plant.position, atol=0.03)
        if torque:
            target = pose.copy()
            target[0] = -0.4  # back across the zero
            driver.write(target)
            until(driver, lambda state: bool(abs(state.position[0] + 0.4) < 0.02))
            np.testing.assert_allclose(plant.position[0], -0.4, atol=0.03)
        driver.disconnect()


def test_every_sts_servo_is_accepted_and_other_series_are_not() -> None:
    assert FeetechBus.supports(FeetechBus.__new__(FeetechBus), 9 | 20 << 8)
    assert not FeetechBus.supports(FeetechBus.__new__(FeetechBus), 1284)  # an SCS0009, whose registers are big-endian
