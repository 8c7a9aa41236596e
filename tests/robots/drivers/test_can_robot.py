"""Damiao and RobStride drivers against emulated motors on a real (virtual) CAN bus; frames against the manuals."""

from __future__ import annotations

import struct
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import count
from pathlib import Path
from typing import Any

import can
import numpy as np
import pytest

from waldo.errors import ConfigError, HardwareError, UnknownNameError
from waldo.robots.description import Joint, Robot
from waldo.robots.drivers import damiao, robstride
from waldo.robots.drivers.can_robot import CanMotorDriver
from waldo.robots.drivers.mit import Range, Setpoint, from_count, to_count
from waldo.robots.drivers.options import build_options, numbers, whole_numbers
from waldo.robots.motors.damiao import DM_J4310
from waldo.robots.motors.robstride import RS03
from waldo.sim.emulation.can_bus import CanMotors, DamiaoMotors, RobStrideMotors
from waldo.sim.emulation.emulated_joints import EmulatedJoints

ARM = """
<mujoco model="arm">
  <compiler angle="radian"/>
  <option timestep="0.002" integrator="implicitfast"/>
  <default><joint damping=".05" armature=".01"/><position kp="20" kv="1" forcerange="-7 7"/></default>
  <worldbody>
    <body pos="0 0 .5">
      <joint name="shoulder" axis="0 1 0" range="-2 2"/>
      <geom type="capsule" size=".02" fromto="0 0 0 .2 0 0" mass=".4"/>
      <body pos=".2 0 0">
        <joint name="elbow" axis="0 1 0" range="-2 2"/>
      <geom type="capsule" size=".02" fromto="0 0 0 .2 0 0" mass=".3"/>
      </body>
    </body>
  </worldbody>
  <actuator><position name="shoulder" joint="shoulder"/><position name="elbow" joint="elbow"/></actuator>
</mujoco>
"""
CHANNELS = count()
DAMIAO_RANGE = Range(position_rad=12.5, velocity_rad_s=30, torque_nm=10)
EMULATED: dict[str, tuple[type[CanMotors], type[CanMotorDriver], Any, Range]] = {
    "damiao": (DamiaoMotors, damiao.DamiaoDriver, DM_J4310, DAMIAO_RANGE),
    "robstride": (RobStrideMotors, robstride.RobStrideDriver, RS03, robstride.RANGES["RobStride RS03"]),
}


class Bench:
    """An emulated arm on a bus of its own."""

    def __init__(self, robot: Robot, vendor: str) -> None:
        self.channel, self.robot = f"bench{next(CHANNELS)}", robot
        emulator, self.driver_class, _, full = EMULATED[vendor]
        self.plant = EmulatedJoints(robot)
        self.motors: Any = emulator(
            self.plant, can.Bus(interface="virtual", channel=self.channel), [1, 2], [full, full]
        )

    def driver(self, **options: object) -> CanMotorDriver:
        # A shared machine can stand still for seconds.
        patient = {"interface": "virtual", "channel": self.channel, "patience_s": 20.0, "answer_s": 5.0}
        return self.driver_class(self.robot, **{**patient, **options})


@pytest.fixture(params=["damiao", "robstride"])
def bench(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Bench]:
    """Two emulated motors that move a small arm, not yet connected to."""
    (tmp_path / "arm.xml").write_text(ARM)
    motor = EMULATED[request.param][2]
    one = {"motor": motor, "lower": -2.0, "upper": 2.0, "velocity": 3.0, "acceleration": 20.0, "effort": 7.0}
    joints = (Joint(name="shoulder", home=0.3, **one), Joint(name="elbow", home=-0.2, **one))
    made = Bench(
        Robot(name="arm", model="arm", joints=joints, cameras=(), mjcf=str(tmp_path / "arm.xml")), request.param
    )
    with made.motors:
        yield made


def until(driver: CanMotorDriver, done: Callable[[Any], bool]) -> Any:
    """Read until `done(state)`; each read waits for the motors."""
    deadline = time.monotonic() + 60
    while not done(state := driver.read()):
        assert time.monotonic() < deadline, state
    return state


def test_it_holds_where_the_arm_is_and_goes_where_it_is_told(bench: Bench) -> None:
    driver = bench.driver()
    driver.connect()
    state = driver.read()
    np.testing.assert_allclose(state.position, [0.3, -0.2], atol=0.05)
    assert abs(state.stamp_ns - time.time_ns()) < 60e9
    target = np.array([0.5, -0.6])
    sent = driver.write(target)
    np.testing.assert_allclose(sent, target, atol=5e-4)
    state = until(driver, lambda s: bool(np.all(np.abs(s.position - target) < 0.12)))
    # Gravity pulls the stretched arm down: the shoulder's motor pushes it up, against y's turning sense.
    assert state.effort[0] < -0.3
    said = driver.motors()
    assert said.faults == ("", "")
    np.testing.assert_allclose(said.winding_c, bench.plant.heat[:, 0], atol=1)
    np.testing.assert_allclose(said.current_a, said.torque_nm / bench.plant.torque_constant, rtol=1e-6)
    driver.disconnect()
    assert bench.motors.enabled == [True, True]


def test_targets_are_kept_within_the_joints_limits(bench: Bench) -> None:
    driver = bench.driver()
    driver.connect()
    np.testing.assert_allclose(driver.write(np.array([9.0, -9.0])), [2.0, -2.0], atol=5e-4)
    with pytest.raises(ConfigError, match="targets is array"):
        driver.write(np.array([np.nan, 0.0]))
    driver.disconnect()


def test_signs_and_offsets_are_undone_on_the_way_out(bench: Bench) -> None:
    driver = bench.driver(signs="-1, 1", offsets_rad="0.5, 0", torque=False)
    driver.connect()
    np.testing.assert_allclose(driver.read().position, [0.2, -0.2], atol=0.05)
    assert bench.motors.enabled == [False, False]
    bench.motors.enabled = [True, True]
    driver._send(np.array([0.1, 0.2]))
    driver.read()
    np.testing.assert_allclose(bench.motors._law[0], [0.4, 0.2], atol=5e-4)
    driver.disconnect()


def test_it_releases_when_told_to(bench: Bench) -> None:
    driver = bench.driver(on_close="release")
    driver.connect()
    driver.read()
    assert bench.motors.enabled == [True, True]
    listener = can.Bus(interface="virtual", channel=bench.channel)
    driver.disconnect()
    # Both motors answer the frames that switch them off.
    ids = {int(message.data[0] & 0xF) if not message.is_extended_id else message.arbitration_id >> 8 & 0xFF
           for message in iter(lambda: listener.recv(5), None)}  # fmt: skip
    listener.shutdown()
    assert ids >= {1, 2}
    assert bench.motors.enabled == [False, False]


def test_a_motor_that_is_not_there_is_named(bench: Bench) -> None:
    bench.motors.silent.add(1)
    driver = bench.driver(patience_s=0.2)
    with pytest.raises(HardwareError) as caught:
        driver.connect()
    assert str(caught.value) == (
        f"no answer from elbow (id 0x02) on virtual:{bench.channel}; check power, wiring, bit rate and ids"
    )


def test_a_motor_that_falls_silent_is_first_unknown_then_lost(bench: Bench) -> None:
    driver = bench.driver(answer_s=0.3)
    driver.connect()
    driver.read()
    bench.motors.silent.add(0)
    # What it answered to the commands before may still be on its way.
    until(driver, lambda _: bool(np.isnan(driver.motors().winding_c[0])))
    said = driver.motors()
    assert said.faults[0].startswith("no answer for ")
    driver.options = replace(driver.options, patience_s=0.05)
    with pytest.raises(
        HardwareError, match=r"no answer from shoulder \(id 0x01\) for 0\.05 s; check the motor's power"
    ):
        driver.read()
    driver.disconnect()


def test_a_winding_that_is_too_hot_switches_itself_off_and_says_so(bench: Bench) -> None:
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
    cleared = bench.driver(clear_errors="yes")
    cleared.connect()
    until(cleared, lambda _: cleared.motors().faults == ("", ""))
    cleared.disconnect()


def test_bus_off_stops_the_robot(bench: Bench) -> None:
    driver = bench.driver()
    driver.connect()
    bench.motors.put_error_frame(0x04)
    driver.read()
    bench.motors.put_error_frame(0x40)
    with pytest.raises(HardwareError, match=rf"CAN bus virtual:{bench.channel} is off after too many errors"):
        until(driver, lambda _: False)
    driver.disconnect()


def test_a_bus_that_is_not_there() -> None:
    robot = Robot(name="r", model="r", joints=(), cameras=(), mjcf="")
    with pytest.raises(HardwareError, match="CAN bus socketcan:no_such_can cannot be opened"):
        damiao.DamiaoDriver(replace(robot, joints=(_joint(),)), channel="no_such_can").connect()


def _joint(motor: Any = DM_J4310) -> Joint:
    return Joint(name="j", motor=motor, lower=-1, upper=1, velocity=1, acceleration=1, effort=5)


def test_options_are_checked() -> None:
    robot = Robot(name="r", model="r", joints=(_joint(),), cameras=(), mjcf="")
    with pytest.raises(UnknownNameError, match="unknown option 'chanel'; did you mean 'channel'"):
        damiao.DamiaoDriver(robot, chanel="can1")
    with pytest.raises(ConfigError, match="ids is '17', expected ids from 1 to 15"):
        damiao.DamiaoDriver(robot, ids="17")
    with pytest.raises(ConfigError, match="motors is 'Damiao DM-J4310', expected a RobStride motor at j"):
        robstride.RobStrideDriver(robot)
    assert robstride.RobStrideDriver(robot, motors="rs00").robot.joints[0].motor.name == "RobStride RS00"
    with pytest.raises(ConfigError, match="on_close is 'fall', expected hold or release"):
        damiao.DamiaoDriver(robot, on_close="fall")
    built = build_options(damiao.DamiaoOptions, {"bitrate": "0x10", "fd": "yes", "answer_s": "0.5"})
    assert (built.bitrate, built.fd, built.answer_s) == (16, True, 0.5)
    with pytest.raises(ConfigError, match="fd is 'maybe', expected true or false"):
        build_options(damiao.DamiaoOptions, {"fd": "maybe"})
    assert numbers("kp", "3", 2, ()).tolist() == [3, 3]
    assert whole_numbers("ids", "0x0A, 2", 2, ()) == (10, 2)
    with pytest.raises(ConfigError, match="kp is '1, 2, 3', expected one number, or 2 numbers"):
        numbers("kp", "1, 2, 3", 2, ())


def test_counts() -> None:
    assert [to_count(v, -12.5, 12.5, 16) for v in (-99, -12.5, 12.5, 99)] == [0, 0, 65535, 65535]
    assert from_count(0xFFF, -30, 30, 12) == 30
    assert to_count(from_count(1234, -30, 30, 12), -30, 30, 12) == 1234


def test_damiao_frames_are_the_manuals() -> None:
    # q, kp full; dq, kd, t at the lower ends: FFFF 000 FFF 000 000.
    full = Setpoint(position_rad=12.5, velocity_rad_s=-30, kp=500, kd=0, torque_nm=-10)
    assert damiao.pack_command(full, DAMIAO_RANGE).hex() == "ffff000fff000000"
    rest = Setpoint(position_rad=-12.5, velocity_rad_s=30, kp=0, kd=5, torque_nm=10)
    assert damiao.pack_command(rest, DAMIAO_RANGE).hex() == "0000fff000ffffff"
    assert damiao.unpack_command(bytes.fromhex("0000fff000ffffff"), DAMIAO_RANGE) == rest
    said = damiao.unpack_feedback(bytes.fromhex("b3fffffff0002d50"), DAMIAO_RANGE)
    assert (said.position_rad, said.velocity_rad_s, said.torque_nm) == (12.5, 30, -10)
    assert (said.driver_c, said.winding_c, said.enabled) == (45, 80, False)
    assert said.fault == "driver over-temperature (MOS)"


def test_robstride_frames_are_the_manuals() -> None:
    # The manual's example: read loc_kp (0x701E) of motor 0x7F from host 0xFD.
    assert robstride.frame_id(17, 0xFD, 0x7F) == 0x1100FD7F
    full = robstride.RANGES["RobStride RS03"]
    area, data = robstride.pack_command(
        Setpoint(position_rad=99, velocity_rad_s=-20, kp=5000, kd=0, torque_nm=60), full
    )
    assert (area, data.hex()) == (0xFFFF, "ffff0000ffff0000")
    assert robstride.unpack_command(area, data, full).kp == 5000
    area = 2 << 14 | 0b010100 << 8 | 0x05
    said = robstride.unpack_feedback(area, struct.pack(">HHHh", 0xFFFF, 0, 0xFFFF, 853), full)
    assert (said.velocity_rad_s, said.torque_nm, said.winding_c, said.enabled) == (-20, 60, 85.3, True)
    assert said.fault == "winding over-temperature, stall overload"


@pytest.mark.parametrize("bench", ["robstride"], indirect=True)
def test_robstride_fault_frames_are_kept_until_the_motor_runs_again(bench: Bench) -> None:
    driver = bench.driver()
    driver.connect()
    driver.read()
    np.testing.assert_allclose(driver.motors().voltage_v, 48.0)
    bench.motors.send_faults(0, 0, 1)
    until(driver, lambda _: driver.motors().faults[0] == robstride.WARNING)
    bench.motors.switch(0, False)
    bench.motors.send_faults(0, 1 << 3 | 1 << 1, 0)
    until(driver, lambda _: driver.motors().faults[0] == "driver chip fault, over-voltage")
    bench.motors.switch(0, True)
    until(driver, lambda _: driver.motors().faults[0] == "")
    bench.motors.switch(0, False)
    until(driver, lambda _: driver.motors().faults[0] == "switched off")
    driver.disconnect()


@pytest.mark.parametrize("bench", ["robstride"], indirect=True)
def test_robstride_in_another_mode_is_refused(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bench.motors, "run_mode", 5)
    with pytest.raises(HardwareError, match=r"shoulder \(id 0x01\) is in run mode 5, not 0 \(MIT\)"):
        bench.driver().connect()


@pytest.mark.parametrize("bench", ["damiao"], indirect=True)
def test_damiao_registers_are_read_and_the_mode_is_set(bench: Bench) -> None:
    bench.motors.fault[0] = 0xD
    driver = bench.driver()
    driver.connect()
    assert isinstance(driver, damiao.DamiaoDriver)
    assert bench.motors.registers[0][10] == damiao.MIT
    # That nobody talked to the motor is no reason to refuse it.
    assert bench.motors.fault == [0, 0]
    (one, _) = driver.damiao.parameters
    assert one.winding_limit_c == 120
    np.testing.assert_allclose(one.resistance_ohm, bench.plant.resistance[0], rtol=1e-6)
    np.testing.assert_allclose(driver.torque_constant, bench.plant.torque_constant, rtol=1e-6)
    np.testing.assert_allclose(driver.motors().driver_c, 35.0)
    driver.disconnect()


def test_an_adapter_that_echoes_what_it_sends_confuses_nobody(bench: Bench) -> None:
    driver = bench.driver()
    driver.connect()
    sent: list[tuple[int, bytes, bool]] = []
    send = driver.link.send

    def keep(frame_id: int, data: bytes, *, extended: bool) -> None:
        sent.append((frame_id, data, extended))
        send(frame_id, data, extended=extended)

    driver.link.send = keep
    for target in np.linspace(-1.5, 1.5, 40):
        driver.write(np.array([target, -target]))
    driver.read()
    for frame_id, data, extended in sent:
        frame = can.Message(arbitration_id=frame_id, data=data, is_extended_id=extended)
        assert driver.protocol.parse(frame) is None, frame
    driver.disconnect()
