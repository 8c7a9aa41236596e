"""Damiao and RobStride drivers with emulated motors on a virtual CAN bus; frames compared with the manuals."""

from __future__ import annotations

import struct
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import can
import numpy as np
import pytest

from tests.robots.drivers.can_bench import DAMIAO_RANGE, Bench, small_arm
from waldo.errors import HardwareError, InvalidValueError, UnknownNameError
from waldo.robots.description import Joint, Robot
from waldo.robots.drivers import damiao
from waldo.robots.drivers.can_link import bus_address
from waldo.robots.drivers.can_robot import CanMotorDriver
from waldo.robots.drivers.mit import Setpoint, from_count, to_count
from waldo.robots.drivers.robstride import private
from waldo.robots.drivers.robstride.driver import RobStrideDriver
from waldo.robots.drivers.robstride.models import RANGES, WARNING
from waldo.robots.motors.damiao import DM_J4310


@pytest.fixture(params=["damiao", "robstride"])
def bench(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Bench]:
    """A small arm with two emulated motors."""
    bench = Bench(small_arm(request.param, tmp_path), request.param)
    with bench.motors:
        yield bench


def until(driver: CanMotorDriver, done: Callable[[Any], bool]) -> Any:
    """Read until `done(state)`; every read waits for the motors' responses."""
    deadline = time.monotonic() + 60
    while not done(state := driver.read()):
        assert time.monotonic() < deadline, state
    return state


def connect_and_read(bench: Bench, driver: CanMotorDriver, expected: Callable[[Any], Any]) -> Any:
    """Connect and return the state, which `expected` derives from the emulated joints.

    Without torque the arm falls for as long as a busy machine takes.
    """
    before = expected(bench.plant.position.copy())
    driver.connect()
    state = driver.read()
    low, high = np.sort([before, expected(bench.plant.position.copy())], axis=0)
    assert np.all((low - 0.05 < state.position) & (state.position < high + 0.05)), (low, high, state.position)
    return state


def test_the_driver_holds_the_present_position_and_follows_commands(bench: Bench) -> None:
    driver = bench.driver()
    state = connect_and_read(bench, driver, list)
    assert abs(state.stamp_ns - time.time_ns()) < 60e9
    target = np.array([0.5, -0.6])
    np.testing.assert_allclose(driver.write(target), target, atol=5e-4)
    state = until(driver, lambda s: bool(np.all(np.abs(s.position - target) < 0.12)))
    # Gravity pulls the stretched arm down, so the shoulder needs a negative torque about the y axis.
    assert state.effort[0] < -0.3
    sensors = driver.motors()
    assert sensors.faults == ("", "")
    np.testing.assert_allclose(sensors.winding_c, bench.plant.heat[:, 0], atol=1)
    np.testing.assert_allclose(sensors.current_a, sensors.torque_nm / bench.plant.torque_constant, rtol=1e-6)
    driver.disconnect()
    assert bench.motors.enabled == [True, True]


def test_targets_are_clipped_to_the_joint_limits(bench: Bench) -> None:
    driver = bench.driver()
    driver.connect()
    np.testing.assert_allclose(driver.write(np.array([9.0, -9.0])), [2.0, -2.0], atol=5e-4)
    with pytest.raises(InvalidValueError, match=r"targets is array.*, expected finite numbers"):
        driver.write(np.array([np.nan, 0.0]))
    driver.disconnect()


def test_signs_and_offsets_apply_to_states_and_commands(bench: Bench) -> None:
    driver = bench.driver(signs=(-1.0, 1.0), offsets_rad=(0.5, 0.0), torque=False)
    connect_and_read(bench, driver, lambda position: [0.5 - position[0], position[1]])
    assert bench.motors.enabled == [False, False]
    bench.motors.enabled = [True, True]
    driver._command(np.array([0.1, 0.2]))
    driver.read()
    np.testing.assert_allclose([bench.motors.law(i).position for i in (0, 1)], [0.4, 0.2], atol=5e-4)
    driver.disconnect()


def test_on_close_release_disables_the_torque(bench: Bench) -> None:
    driver = bench.driver(on_close="release")
    driver.connect()
    driver.read()
    assert bench.motors.enabled == [True, True]
    listener = can.Bus(interface="virtual", channel=bench.channel)
    driver.disconnect()
    # Both motors respond to the frames that disable them.
    ids: set[int] = set()
    while not ids >= {1, 2} or any(bench.motors.enabled):
        message = listener.recv(20)
        assert message is not None, (ids, bench.motors.enabled)
        ids.add(message.arbitration_id >> 8 & 0xFF if message.is_extended_id else message.data[0] & 0xF)
    listener.shutdown()


def test_connecting_names_a_missing_motor(bench: Bench) -> None:
    bench.motors.silent.add(1)
    driver = bench.driver(motor_timeout_s=0.2)
    with pytest.raises(HardwareError) as caught:
        driver.connect()
    assert str(caught.value) == (
        f"no response from elbow (id 0x02) on virtual:{bench.channel}; check power, wiring, bit rate and ids"
    )


def test_a_silent_motor_is_first_unknown_and_then_disconnected(bench: Bench) -> None:
    driver = bench.driver(response_timeout_s=0.3)
    driver.connect()
    driver.read()
    bench.motors.silent.add(0)
    # Responses to earlier commands may still arrive.
    until(driver, lambda _: bool(np.isnan(driver.motors().winding_c[0])))
    assert driver.motors().faults[0].startswith("no response for ")
    driver.options = replace(driver.options, motor_timeout_s=0.05)
    with pytest.raises(
        HardwareError, match=r"no response from shoulder \(id 0x01\) for 0\.05 s; check the motor's cable and power"
    ):
        driver.read()
    driver.disconnect()


def test_an_overheated_motor_disables_itself_and_reports_the_fault(bench: Bench) -> None:
    driver = bench.driver()
    driver.connect()
    driver.read()
    with bench.plant.lock:
        bench.plant.heat[1, 0] = 160.0
    until(driver, lambda _: bool(driver.motors().faults[1]))
    assert driver.motors().faults[0] == ""
    assert "winding over-temperature" in driver.motors().faults[1]
    assert driver.motors().winding_c[1] > 100
    assert bench.motors.enabled == [True, False]
    driver.disconnect()
    again = bench.driver()
    with pytest.raises(HardwareError, match=r"elbow \(id 0x02\) reports winding over-temp.*clear_errors=true"):
        again.connect()
    with bench.plant.lock:
        bench.plant.heat[:] = 30.0
    cleared = bench.driver(clear_errors=True)
    cleared.connect()
    until(cleared, lambda _: cleared.motors().faults == ("", ""))
    cleared.disconnect()


def test_the_bus_off_state_is_an_error(bench: Bench) -> None:
    driver = bench.driver()
    driver.connect()
    bench.motors.put_error_frame(0x04)
    driver.read()
    bench.motors.put_error_frame(0x40)
    with pytest.raises(HardwareError, match=rf"CAN bus virtual:{bench.channel} is in the bus-off state after"):
        until(driver, lambda _: False)
    driver.disconnect()


def test_a_missing_bus_is_an_error() -> None:
    robot = Robot(name="r", model="r", joints=(), cameras=(), mjcf="")
    with pytest.raises(HardwareError, match=r"CAN bus socketcan:no_such_can cannot be opened .*; plug the adapter in"):
        damiao.DamiaoDriver(replace(robot, joints=(_joint(),)), channel="no_such_can").connect()


def _joint(motor: Any = DM_J4310) -> Joint:
    return Joint(name="j", motor=motor, lower=-1, upper=1, velocity=1, acceleration=1, effort=5)


def test_impossible_options_are_rejected() -> None:
    robot = Robot(name="r", model="r", joints=(_joint(),), cameras=(), mjcf="")
    with pytest.raises(UnknownNameError, match="unknown option 'chanel'; did you mean 'channel'"):
        damiao.DamiaoDriver(robot, chanel="can1")
    with pytest.raises(InvalidValueError, match=r"ids is \(17,\), expected ids from 1 to 15"):
        damiao.DamiaoDriver(robot, ids=(17,))
    with pytest.raises(InvalidValueError, match="motors is 'Damiao DM-J4310', expected a RobStride motor at j"):
        RobStrideDriver(robot)
    assert RobStrideDriver(robot, motors=("rs00",)).robot.joints[0].motor.name == "RobStride RS00"
    with pytest.raises(InvalidValueError, match="on_close is 'fall', expected hold or release"):
        damiao.DamiaoDriver(robot, on_close="fall")
    with pytest.raises(InvalidValueError, match=r"signs is \(2.0,\), expected 1 or -1 for each motor"):
        damiao.DamiaoDriver(robot, signs=(2.0,))
    with pytest.raises(InvalidValueError, match="motor_timeout_s is 0, expected a number above 0"):
        damiao.DamiaoDriver(robot, motor_timeout_s=0)


def test_values_are_encoded_as_clipped_counts() -> None:
    assert [to_count(v, -12.5, 12.5, 16) for v in (-99, -12.5, 12.5, 99)] == [0, 0, 65535, 65535]
    assert from_count(0xFFF, -30, 30, 12) == 30
    assert to_count(from_count(1234, -30, 30, 12), -30, 30, 12) == 1234


def test_damiao_frames_agree_with_the_manual() -> None:
    # q and kp at their upper limits; dq, kd and t at their lower limits: FFFF 000 FFF 000 000.
    full = Setpoint(position_rad=12.5, velocity_rad_s=-30, kp=500, kd=0, torque_nm=-10)
    assert damiao.pack_command(full, DAMIAO_RANGE).hex() == "ffff000fff000000"
    other = Setpoint(position_rad=-12.5, velocity_rad_s=30, kp=0, kd=5, torque_nm=10)
    assert damiao.pack_command(other, DAMIAO_RANGE).hex() == "0000fff000ffffff"
    assert damiao.unpack_command(bytes.fromhex("0000fff000ffffff"), DAMIAO_RANGE) == other
    feedback = damiao.unpack_feedback(bytes.fromhex("b3fffffff0002d50"), DAMIAO_RANGE)
    assert (feedback.position_rad, feedback.velocity_rad_s, feedback.torque_nm) == (12.5, 30, -10)
    assert (feedback.driver_c, feedback.winding_c, feedback.enabled) == (45, 80, False)
    assert feedback.fault == "driver over-temperature (MOS)"


def test_robstride_frames_agree_with_the_manual() -> None:
    # Example of the manual: read loc_kp (0x701E) of motor 0x7F from host 0xFD.
    assert private.frame_id(17, 0xFD, 0x7F) == 0x1100FD7F
    full = RANGES["RobStride RS03"]
    area, data = private.pack_command(Setpoint(position_rad=99, velocity_rad_s=-20, kp=5000, kd=0, torque_nm=60), full)
    assert (area, data.hex()) == (0xFFFF, "ffff0000ffff0000")
    assert private.unpack_command(area, data, full).kp == 5000
    area = 2 << 14 | 0b010100 << 8 | 0x05
    feedback = private.unpack_feedback(area, struct.pack(">HHHh", 0xFFFF, 0, 0xFFFF, 853), full)
    assert (feedback.velocity_rad_s, feedback.torque_nm) == (-20, 60)
    assert (feedback.winding_c, feedback.enabled) == (85.3, True)
    assert feedback.fault == "winding over-temperature, stall overload"


@pytest.mark.parametrize("bench", ["robstride"], indirect=True)
def test_robstride_faults_persist_until_the_motor_is_enabled(bench: Bench) -> None:
    driver = bench.driver()
    driver.connect()
    driver.read()
    np.testing.assert_allclose(driver.motors().voltage_v, 48.0)
    bench.motors.send_faults(0, 0, 1)
    until(driver, lambda _: driver.motors().faults[0] == WARNING)
    bench.motors.switch(0, False)
    bench.motors.send_faults(0, 1 << 3 | 1 << 1, 0)
    until(driver, lambda _: driver.motors().faults[0] == "driver chip fault, over-voltage")
    bench.motors.switch(0, True)
    until(driver, lambda _: driver.motors().faults[0] == "")
    bench.motors.switch(0, False)
    until(driver, lambda _: driver.motors().faults[0] == "torque disabled")
    driver.disconnect()


@pytest.mark.parametrize("bench", ["robstride"], indirect=True)
def test_a_robstride_motor_in_another_run_mode_is_rejected(bench: Bench) -> None:
    bench.motors.parameters[0][0x7005] = 5
    with pytest.raises(HardwareError, match=r"shoulder \(id 0x01\) is in run mode 5, expected 0 \(MIT\)"):
        bench.driver().connect()


@pytest.mark.parametrize("bench", ["damiao"], indirect=True)
def test_connecting_reads_damiao_registers_and_selects_mit_mode(bench: Bench) -> None:
    bench.motors.fault[0] = 0xD
    driver = bench.driver()
    driver.connect()
    assert isinstance(driver, damiao.DamiaoDriver)
    assert bench.motors.registers[0][10] == damiao.MIT
    # A lost connection to the host is cleared when connecting.
    assert bench.motors.fault == [0, 0]
    (one, _) = driver.damiao.parameters
    assert one.winding_limit_c == 120
    np.testing.assert_allclose(one.resistance_ohm, bench.plant.resistance[0], rtol=1e-6)
    np.testing.assert_allclose(driver.torque_constant, bench.plant.torque_constant, rtol=1e-6)
    np.testing.assert_allclose(driver.motors().driver_c, 35.0)
    driver.disconnect()


def test_echoes_of_sent_frames_are_not_feedback(bench: Bench) -> None:
    driver = bench.driver()
    driver.connect()
    frames: list[tuple[int, bytes, bool]] = []
    send = driver.link.send

    def record(frame_id: int, data: bytes, *, extended: bool) -> None:
        frames.append((frame_id, data, extended))
        send(frame_id, data, extended=extended)

    driver.link.send = record
    for target in np.linspace(-1.5, 1.5, 40):
        driver.write(np.array([target, -target]))
    driver.read()
    for frame_id, data, extended in frames:
        frame = can.Message(arbitration_id=frame_id, data=data, is_extended_id=extended)
        assert driver.protocol.parse(frame) is None, frame
    driver.disconnect()


def test_the_supply_voltage_of_damiao_motors_is_read_from_its_register(tmp_path: Path) -> None:
    bench = Bench(small_arm("damiao", tmp_path), "damiao")
    with bench.motors:
        driver = bench.driver()
        driver.connect()
        np.testing.assert_allclose(driver.motors().voltage_v, 24.0)
        bench.motors.supply_v = 23.0
        until(driver, lambda _: bool(np.allclose(driver.motors().voltage_v, 23.0)))
        assert driver.damiao.foreign == 0  # type: ignore[attr-defined]
        driver.disconnect()


def test_a_channel_of_udp_multicast_may_contain_a_port() -> None:
    assert bus_address("udp_multicast", "239.74.163.2:43114") == {
        "interface": "udp_multicast", "channel": "239.74.163.2", "port": 43114
    }  # fmt: skip
    assert bus_address("udp_multicast", "239.74.163.2") == {"interface": "udp_multicast", "channel": "239.74.163.2"}
    assert bus_address("udp_multicast", "ff15:7079::1")["channel"] == "ff15:7079::1"
    assert bus_address("slcan", "/dev/ttyACM0:1")["channel"] == "/dev/ttyACM0:1"
