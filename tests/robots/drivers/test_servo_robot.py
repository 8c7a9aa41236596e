"""Feetech and Dynamixel drivers against emulated servos on a real pseudo-terminal; frames against the manuals."""

from __future__ import annotations

import dataclasses
import json
import os
import random
import select
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from waldo.collect.devices.conformance import RecordingSession
from waldo.collect.devices.device import Observation
from waldo.collect.devices.leader import LeaderArm
from waldo.errors import ConfigError, FileError, HardwareError
from waldo.robots.description import load_robot
from waldo.robots.drivers import calibration, dynamixel, feetech
from waldo.robots.drivers.calibration import Counts, ServoCalibration
from waldo.robots.drivers.servo_bus import Register
from waldo.robots.drivers.servo_robot import SerialServoDriver
from waldo.sim.emulation.dynamixel import DynamixelServos, crc16
from waldo.sim.emulation.emulated_joints import Plant
from waldo.sim.emulation.emulated_leader import Hand
from waldo.sim.emulation.feetech import FeetechServos
from waldo.sim.emulation.servo_bus import SerialServos

SO101 = load_robot("so101")
WALDO = (sys.executable, "-m", "waldo")
DRIVERS: dict[str, tuple[type[SerialServos], type[SerialServoDriver]]] = {
    "feetech": (FeetechServos, feetech.FeetechDriver),
    "dynamixel": (DynamixelServos, dynamixel.DynamixelDriver),
}


class Bench:
    """An emulated SO-101 and the driver for its servos."""

    def __init__(self, vendor: str, *, calibrated: bool = True) -> None:
        self.vendor = vendor
        emulator, self.driver_class = DRIVERS[vendor]
        self.plant = Plant(SO101)
        self.servos = emulator(self.plant, calibrated=calibrated)

    def driver(self, **options: object) -> SerialServoDriver:
        # A shared machine can stand still for seconds.
        return self.driver_class(SO101, **{"port": self.servos.port, "patience_s": 20.0, "answer_s": 1.0, **options})

    @property
    def enable(self) -> int:
        return 40 if self.vendor == "feetech" else 64


@pytest.fixture(params=list(DRIVERS))
def bench(request: pytest.FixtureRequest) -> Iterator[Bench]:
    """An emulated arm, not yet connected to."""
    made = Bench(request.param)
    with made.servos:
        yield made


@pytest.fixture
def driver(bench: Bench) -> Iterator[SerialServoDriver]:
    """A driver that holds the arm."""
    made = bench.driver()
    made.connect()
    yield made
    made.disconnect()


def until(driver: SerialServoDriver, done: Callable[[Any], bool]) -> Any:
    deadline = time.monotonic() + 60
    while not done(state := driver.read()):
        assert time.monotonic() < deadline, state
    return state


def test_the_real_driver_moves_the_simulated_arm_and_sees_it_work(bench: Bench, driver: SerialServoDriver) -> None:
    state = driver.read()
    np.testing.assert_allclose(state.position, bench.plant.position, atol=0.01)
    assert abs(state.stamp_ns - time.time_ns()) < 60e9
    target = SO101.home + np.array([0.4, 0.5, -0.3, -0.4, 0.3, 0.2])
    np.testing.assert_allclose(driver.write(target), target, atol=8e-4)
    until(driver, lambda s: bool(np.abs(s.position - target).max() < 0.03 and np.abs(s.velocity).max() < 0.01))
    np.testing.assert_allclose(bench.plant.position, target, atol=0.04)
    said = driver.motors()
    assert said.faults == ("",) * 6
    # Gravity pulls at shoulder and elbow; what holds them is current, and duty cycle times voltage over resistance.
    assert np.abs(said.current_a[1:3]).max() > 0.1
    np.testing.assert_allclose(said.torque_nm, said.current_a * 0.78, rtol=1e-9)
    np.testing.assert_allclose(said.pwm_ratio * said.voltage_v / 2.68, said.current_a, atol=0.1)
    np.testing.assert_allclose(said.voltage_v, 7.4, atol=0.3)


def test_heat_reaches_the_driver_and_the_servo_protects_itself(bench: Bench, driver: SerialServoDriver) -> None:
    with bench.plant.lock:
        bench.plant.heat[2] = [60.0, 51.4]
    until(driver, lambda _: bool(driver.motors().driver_c[2] >= 50))
    assert driver.motors().driver_c[0] == 25
    with bench.plant.lock:
        bench.plant.heat[2] = [150.0, 90.0]
    until(driver, lambda _: driver.motors().faults[2] != "")
    assert driver.motors().faults[2] == "over-temperature"
    assert driver.motors().limp.tolist() == [False, False, True, False, False, False]
    assert driver.motors().faults[1] == ""
    driver.disconnect()
    with pytest.raises(HardwareError, match=r"elbow_flex \(id 3\) reports over-temperature; remove the cause"):
        bench.driver().connect()
    with bench.plant.lock:
        bench.plant.heat[:] = 30.0
    again = bench.driver(clear_errors=True)
    again.connect()
    assert again.motors().faults == ("",) * 6
    assert not again.motors().limp.any()
    limit = bench.servos.servos[5].get(48, 2) if bench.vendor == "feetech" else bench.servos.servos[5].get(100, 2)
    assert limit == (500 if bench.vendor == "feetech" else 442)
    again.disconnect()


def test_targets_stay_within_limits_and_calibration(driver: SerialServoDriver) -> None:
    sent = driver.write(np.full(6, 9.0))
    assert (sent <= SO101.upper).all()
    np.testing.assert_allclose(sent, SO101.upper, atol=2e-3)
    with pytest.raises(ConfigError, match="targets is array"):
        driver.write(np.array([np.nan, 0, 0, 0, 0, 0]))


def test_switching_on_moves_nothing_and_connecting_again_never_lets_go(bench: Bench) -> None:
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
    # Each servo is told to stay where it is before it is switched on.
    where = driver.counts.goals(before)
    for servo, count in zip(bench.servos.servos, where.tolist(), strict=True):
        mine = [(address, value) for identity, address, value in writes if identity == servo.id]
        assert mine[-1] == (bench.enable, 1)
        assert mine[-2][0] != bench.enable
        # The arm sinks a little between the first servo that holds and the last.
        assert abs(mine[-2][1] - count) <= 40
    start = bench.servos.requests
    until(driver, lambda _: bench.servos.requests > start + 150)
    # It sags by what the springs of its position loop give under gravity, and no more.
    np.testing.assert_allclose(bench.plant.position, before, atol=0.03)
    driver.disconnect()
    # It holds; another program that connects lets it hold on.
    assert all(servo.memory[bench.enable] for servo in bench.servos.servos)
    writes.clear()
    again = bench.driver()
    again.connect()
    again.disconnect()
    assert not [what for what in writes if what[1] == bench.enable]
    other = bench.driver(on_close="release")
    other.connect()
    other.disconnect()
    deadline = time.monotonic() + 60
    while any(servo.memory[bench.enable] for servo in bench.servos.servos):
        assert time.monotonic() < deadline


def test_a_servo_outside_its_calibrated_range_is_not_switched_on(bench: Bench) -> None:
    bench.servos.servos[0].put(*((9, 2) if bench.vendor == "feetech" else (52, 4)), 2500)
    with pytest.raises(HardwareError, match=r"shoulder_pan \(id 1\) is at 2047, outside its calibrated range of 2500"):
        bench.driver().connect()
    assert not bench.servos.servos[0].memory[bench.enable]


def test_one_servo_that_was_replaced_is_named(bench: Bench) -> None:
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
    with pytest.raises(HardwareError, match=r"^gripper \(id 6\) are not calibrated"):
        bench.driver().connect()


def test_a_dynamixel_that_turns_the_other_way_round_by_itself_is_not_turned_twice(tmp_path: Path) -> None:
    """Its drive mode is in the servo: what it tells is turned already (LeRobot's koch_leader has such an elbow)."""
    bench = Bench("dynamixel")
    with bench.servos:
        bench.servos.servos[2].put(10, 1, 1)
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
        with pytest.raises(HardwareError, match=r"elbow_flex \(id 3\) holds homing offset"):
            same.connect()


def test_the_gripper_gets_half_its_torque_and_the_gains_outlast_the_power(
    bench: Bench, driver: SerialServoDriver
) -> None:
    gripper = bench.servos.servos[5]
    if bench.vendor == "feetech":
        assert gripper.get(48, 2) == 500
        bench.servos.power_cycle()
        assert (gripper.get(21, 1), gripper.get(7, 1)) == (16, 0)
    else:
        assert gripper.get(100, 2) == round(885 / 2)
        assert gripper.get(9, 1) == 0


# faults of the bus


def test_a_servo_that_is_not_there_is_named(bench: Bench) -> None:
    bench.servos.silent = {3, 4}
    with pytest.raises(HardwareError) as caught:
        bench.driver(answer_s=0.3).connect()
    assert str(caught.value) == (
        f"no answer from elbow_flex (id 3), wrist_flex (id 4) on {bench.servos.port}, of the others: 1, 2, 5, 6; "
        "check the power supply, the cable to the first that is silent, ids and baudrate"
    )


def test_a_servo_that_falls_silent_is_first_unknown_then_lost(bench: Bench) -> None:
    driver = bench.driver()
    driver.connect()
    driver.read()
    driver.bus.port._answer_s = 0.05
    bench.servos.silent = {2}
    until(driver, lambda _: bool(np.isnan(driver.motors().driver_c[1])))
    said = driver.motors()
    assert said.faults[1].startswith("no answer for ")
    driver.options = dataclasses.replace(driver.options, patience_s=0.01)
    with pytest.raises(HardwareError, match=r"no answer from shoulder_lift \(id 2\) for 0\.01 s; check the servo's"):
        until(driver, lambda _: False)
    driver.disconnect()


@pytest.mark.parametrize("kind", ["flipped bit", "dropped byte", "extra byte"])
def test_noise_costs_readings_but_never_makes_one_up(bench: Bench, kind: str) -> None:
    driver = bench.driver()
    driver.connect()
    driver.bus.port._answer_s = 0.02
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
        said = driver.motors()
        missed += sum(bool(fault) for fault in said.faults)
        known = said.driver_c[~np.isnan(said.driver_c)]
        assert (known == 25).all()
        assert all(fault == "" or fault.startswith("no answer for") for fault in said.faults)
    assert missed > 10
    driver.disconnect()


def test_a_pulled_plug_is_said(bench: Bench) -> None:
    driver = bench.driver()
    driver.connect()
    port = bench.servos.port
    bench.servos.unplug()
    with pytest.raises(HardwareError, match=rf"{port} is gone \(.*\); check the USB plug"):
        until(driver, lambda _: False)
    driver.disconnect()
    with pytest.raises(HardwareError, match=f"no port {port}; plug the adapter in and name one of those that are"):
        driver.connect()


def test_a_port_belongs_to_one_program(bench: Bench, driver: SerialServoDriver) -> None:
    with pytest.raises(HardwareError, match=f"{bench.servos.port} is in use by another program; end it first"):
        bench.driver().connect()


def test_the_wrong_vendor_is_found_out() -> None:
    with FeetechServos(Plant(SO101)) as servos:
        wrong = dynamixel.DynamixelDriver(SO101, port=servos.port, answer_s=0.02)
        with pytest.raises(HardwareError, match=r"no answer from shoulder_pan \(id 1\).*of the others: none; check"):
            wrong.connect()
        servos.servos[1].put(3, 2, 1284)
        other = feetech.FeetechDriver(SO101, port=servos.port, answer_s=1.0)
        with pytest.raises(HardwareError, match=r"shoulder_lift \(id 2\) is of model 1284; this driver knows STS3215"):
            other.connect()


def test_impossible_options_are_refused() -> None:
    for options, message in (
        ({"ids": "1,1,2,3,4,5"}, "a different id from 0 to 252"),
        ({"on_close": "drop"}, "expected hold or release"),
        ({"p": "300"}, "from 0 to 254"),
        ({"answer_s": "0"}, "a number above 0"),
    ):
        with pytest.raises(ConfigError, match=message):
            feetech.FeetechDriver(SO101, **options)


# calibration


def test_servos_that_nobody_calibrated_are_refused(bench: Bench) -> None:
    fresh = Bench(bench.vendor, calibrated=False)
    with fresh.servos:
        with pytest.raises(
            HardwareError, match=f"are not calibrated; run: waldo calibrate so101 --driver {bench.vendor} --port"
        ):
            fresh.driver().connect()
        driver = fresh.driver(uncalibrated=True, torque=False)
        driver.connect()
        driver.disconnect()


def test_a_file_that_the_servos_contradict_is_refused_and_can_be_restored(bench: Bench, tmp_path: Path) -> None:
    driver = bench.driver()
    driver.connect()
    stored = driver.stored()
    path = tmp_path / "arm.json"
    calibration.save(path, SO101.joint_names, stored)
    driver.disconnect()
    good = bench.driver(calibration=str(path))
    good.connect()
    good.disconnect()
    moved = [dataclasses.replace(stored[0], homing_offset=stored[0].homing_offset + 7), *stored[1:]]
    calibration.save(path, SO101.joint_names, moved)
    with pytest.raises(
        HardwareError, match=r"shoulder_pan \(id 1\) holds homing offset .*waldo calibrate so101 --driver .* --rest"
    ):
        bench.driver(calibration=str(path)).connect()
    done = subprocess.run(
        [*WALDO, "calibrate", "so101", f"--driver={bench.vendor}", f"--port={bench.servos.port}", f"--restore={path}"],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    good.connect()
    good.disconnect()
    # It was written to the memory that outlasts the power.
    bench.servos.power_cycle()
    good.connect()
    assert good.stored()[0] == moved[0]
    good.disconnect()


def test_a_hand_calibrates_an_arm_at_a_terminal(tmp_path: Path) -> None:
    """A hand moves a leader to its middle and from end to end, as `waldo calibrate` asks for it."""
    middle = (SO101.lower + SO101.upper) / 2
    target = {"position": middle}
    with FeetechServos(Hand(load_robot("so101_leader"), lambda _: target["position"]), calibrated=False) as servos:
        path = tmp_path / "mine.json"
        leader, terminal = os.openpty()
        process = subprocess.Popen(
            [*WALDO, "calibrate", "so101_leader", "--port", servos.port, "--output", str(path)],
            stdin=terminal,
            stdout=terminal,
            stderr=terminal,
        )
        said = ""

        def wait_for(text: str) -> None:
            nonlocal said
            deadline = time.monotonic() + 120
            while text not in said:
                assert time.monotonic() < deadline, said
                if select.select([leader], [], [], 0.2)[0]:
                    said += os.read(leader, 65536).decode(errors="replace")

        ended = threading.Event()
        wait_for("press Enter")
        os.write(leader, b"\n")
        wait_for("from one end to the other")
        for ends in (SO101.lower, SO101.upper, middle):
            target["position"] = ends
            requests = servos.requests
            deadline = time.monotonic() + 60
            while servos.requests < requests + 8:
                assert time.monotonic() < deadline
                # The terminal must be read, or the program stops at a full one.
                if select.select([leader], [], [], 0.01)[0]:
                    said += os.read(leader, 65536).decode(errors="replace")
        os.write(leader, b"\n")
        wait_for("kept in the servos and in")
        ended.set()
        assert process.wait(120) == 0
        os.close(terminal)
        os.close(leader)
        kept = json.loads(path.read_text())
        assert kept["wrist_roll"]["range_min"] == 0
        assert kept["wrist_roll"]["range_max"] == 4095
        target["position"] = SO101.home
        driver = feetech.FeetechDriver(load_robot("so101_leader"), port=servos.port, torque=False, answer_s=1.0)
        driver.connect()
        found = until(driver, lambda s: bool(np.abs(s.position - SO101.home)[[0, 1, 2, 3, 5]].max() < 0.01))
        # The roll turns all round: its zero is where the hand had it when the middle was asked for.
        np.testing.assert_allclose(found.position[4], SO101.home[4] - middle[4], atol=0.01)
        driver.disconnect()


@pytest.mark.parametrize("vendor", list(DRIVERS))
def test_lerobots_own_bus_agrees_about_calibration_and_angles(vendor: str) -> None:
    """LeRobot's FeetechMotorsBus and DynamixelMotorsBus on the same emulated servos, in a hand that keeps still."""
    from lerobot.motors import Motor, MotorNormMode
    from lerobot.motors.dynamixel import DynamixelMotorsBus
    from lerobot.motors.feetech import FeetechMotorsBus

    kind, model = (FeetechMotorsBus, "sts3215") if vendor == "feetech" else (DynamixelMotorsBus, "xm430-w350")
    emulator, driver_class = DRIVERS[vendor]
    motors = {name: Motor(i + 1, model, MotorNormMode.DEGREES) for i, name in enumerate(SO101.joint_names)}
    with emulator(Hand(SO101, lambda _: SO101.home + 0.1)) as servos:
        bus = kind(servos.port, motors)
        bus.connect()
        theirs = bus.read_calibration()
        bus.calibration = theirs
        degrees = bus.sync_read("Present_Position")
        bus.disconnect(disable_torque=False)
        driver = driver_class(SO101, port=servos.port, torque=False, answer_s=1.0)
        driver.connect()
        ours = driver.read().position
        stored = driver.stored()
        driver.disconnect()
    for i, name in enumerate(SO101.joint_names):
        assert (stored[i].homing_offset, stored[i].range_min, stored[i].range_max) == (
            theirs[name].homing_offset,
            theirs[name].range_min,
            theirs[name].range_max,
        )
        middle = 0 if name == "wrist_roll" else (SO101.lower[i] + SO101.upper[i]) / 2
        # LeRobot takes a turn for 4095 counts.
        np.testing.assert_allclose(np.radians(degrees[name]) + middle, ours[i], atol=2e-3)


def test_calibration_files_that_are_not_one_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "c.json"
    one = {"id": 1, "drive_mode": 0, "homing_offset": 3, "range_min": 100, "range_max": 3000}
    for text, message in (
        (None, "No such file or directory; name a calibration that exists"),
        ("{", r"no JSON \(.*\); name LeRobot's"),
        ("[]", "no joints"),
        (json.dumps({"a": one}), "holds a, but not b; take that of this robot"),
        (json.dumps({"a": one, "b": {**one, "range_max": "x"}}), "b lacks whole numbers for id, drive_mode"),
        (json.dumps({"a": one, "b": {**one, "range_max": 50}}), "b ranges from 100 to 50; calibrate again"),
    ):
        if text is not None:
            path.write_text(text)
        with pytest.raises(FileError, match=message):
            calibration.load(path, ("a", "b"))
    path.write_text(json.dumps({"b": one, "a": {**one, "id": 2}}))
    assert [c.id for c in calibration.load(path, ("a", "b"))] == [2, 1]


@given(st.data())
def test_counts_and_angles_are_each_others_inverse(data: st.DataObject) -> None:
    found = [
        ServoCalibration(id=i, drive_mode=data.draw(st.integers(0, 1)), range_min=low, range_max=low + span)
        for i, (low, span) in enumerate(
            data.draw(st.lists(st.tuples(st.integers(0, 1500), st.integers(500, 2500)), min_size=6, max_size=6))
        )
    ]
    counts = Counts(SO101, found)
    at = np.array([data.draw(st.integers(c.range_min, c.range_max)) for c in found])
    assert (counts.goals(counts.angles(at.astype(float))) == at).all()
    middle = np.array([(c.range_min + c.range_max) / 2 for c in found])
    np.testing.assert_allclose(counts.angles(middle), (SO101.lower + SO101.upper) / 2, atol=1e-12)


# frames and registers


@given(st.integers(-2047, 2047), st.sampled_from([11, 15]))
def test_signs_by_magnitude_come_back(value: int, bit: int) -> None:
    register = Register(0, 2, sign_bit=bit)
    assert register.decode(register.encode(value)) == value
    assert register.encode(-5) == bytes([5, 1 << bit - 8])


@given(st.integers(-(2**31), 2**31 - 1))
def test_signs_by_twos_complement_come_back(value: int) -> None:
    register = Register(0, 4, signed=True)
    assert register.decode(register.encode(value)) == value


def test_checksums_are_the_manuals() -> None:
    # Feetech's "communication protocol manual", ping of id 1, and ROBOTIS's e-manual, "Protocol 2.0", ping of id 1.
    plant = Plant(SO101)
    servos = FeetechServos(plant)
    assert list(servos.frames(bytearray(b"\xff\xff\x01\x02\x01\xfb"))) == [b"\xff\xff\x01\x02\x01\xfb"]
    assert list(servos.frames(bytearray(b"\xff\xff\x01\x02\x01\xfa"))) == []
    servos.unplug()
    assert crc16(bytes([0xFF, 0xFF, 0xFD, 0x00, 0x01, 0x03, 0x00, 0x01])) == 0x4E19


@given(st.binary(max_size=64), st.sampled_from(list(DRIVERS)))
def test_garbage_on_the_wire_is_passed_over(garbage: bytes, vendor: str) -> None:
    servos = GARBAGE[vendor]
    ping = b"\xff\xff\x01\x02\x01\xfb" if vendor == "feetech" else b"\xff\xff\xfd\x00\x01\x03\x00\x01\x19\x4e"
    # Whatever came before, a frame is understood at the latest when what looked like a long one is over.
    buffer = bytearray(garbage)
    list(servos.frames(buffer))
    for _ in range(120):
        buffer += ping
        if list(servos.frames(buffer)):
            return
    raise AssertionError(garbage)


@pytest.fixture(scope="module", autouse=True)
def _garbage() -> Iterator[None]:
    GARBAGE.update({vendor: kind(Plant(SO101)) for vendor, (kind, _) in DRIVERS.items()})
    yield
    for servos in GARBAGE.values():
        servos.unplug()


GARBAGE: dict[str, SerialServos] = {}


def test_dynamixels_answer_bulk_reads_registered_writes_and_refuse_what_is_locked() -> None:
    from dynamixel_sdk import GroupBulkRead, GroupBulkWrite, PacketHandler

    from waldo.robots.drivers.serial_port import SerialPort

    with DynamixelServos(Plant(SO101)) as servos:
        port, handler = SerialPort(servos.port, 1_000_000, 1.0), PacketHandler(2.0)
        bulk = GroupBulkRead(port, handler)
        bulk.addParam(1, 146, 1)
        bulk.addParam(2, 132, 4)
        assert bulk.txRxPacket() == 0
        assert bulk.getData(1, 146, 1) == 25
        assert 0 <= bulk.getData(2, 132, 4) <= 4095
        assert handler.regWriteTxRx(port, 1, 65, 1, [1]) == (0, 0)
        assert servos.servos[0].memory[65] == 0
        handler.action(port, 0xFE)
        assert handler.read1ByteTxRx(port, 1, 65) == (1, 0, 0)
        both = GroupBulkWrite(port, handler)
        both.addParam(1, 65, 1, [0])
        both.addParam(2, 65, 1, [1])
        assert both.txPacket() == 0
        assert handler.read1ByteTxRx(port, 2, 65) == (1, 0, 0)
        handler.write1ByteTxRx(port, 1, 64, 1)
        assert handler.write1ByteTxRx(port, 1, 11, 4) == (0, 7)
        handler.write1ByteTxRx(port, 1, 64, 0)
        handler.write1ByteTxRx(port, 1, 11, 3)
        assert handler.write4ByteTxRx(port, 1, 116, 4095) == (0, 6)
        # Within one turn a homing offset beyond 1,024 is ignored: where the horn is mounted shows.
        assert handler.read4ByteTxRx(port, 1, 132) == (700, 0, 0)
        found, result = handler.broadcastPing(port)
        assert result == 0
        assert sorted(found) == [1, 2, 3, 4, 5, 6]
        port.close()


def test_feetechs_wait_for_an_action_and_forget_what_is_locked() -> None:
    from scservo_sdk import PacketHandler

    from waldo.robots.drivers.serial_port import SerialPort

    with FeetechServos(Plant(SO101)) as servos:
        port, handler = SerialPort(servos.port, 1_000_000, 1.0), PacketHandler(0)
        assert handler.regWriteTxRx(port, 2, 41, 1, [9]) == (0, 0)
        assert servos.servos[1].memory[41] == 0
        handler.action(port, 0xFE)
        assert handler.read1ByteTxRx(port, 2, 41) == (9, 0, 0)
        handler.write1ByteTxRx(port, 2, 21, 7)
        handler.write1ByteTxRx(port, 2, 55, 0)
        handler.write1ByteTxRx(port, 2, 22, 8)
        servos.power_cycle()
        assert handler.read1ByteTxRx(port, 2, 21) == (32, 0, 0)
        assert handler.read1ByteTxRx(port, 2, 22) == (8, 0, 0)
        port.close()


def test_a_feetech_that_is_overloaded_gives_way_and_says_so() -> None:
    """The gripper closes on something hard: overload, then only the protective torque."""
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


# the leader


def test_the_robot_follows_a_leader_that_is_near_and_not_one_that_is_far() -> None:
    session = RecordingSession()
    with FeetechServos(Hand(load_robot("so101_leader"), lambda _: SO101.home)) as servos:
        device = LeaderArm(SO101, load_robot("so101_leader"), port=servos.port, answer_s="1")
        device.open()

        def step(position: np.ndarray) -> Any:
            return device.step(Observation(stamp_ns=0, position=position, environment={}), session, 0.01)

        assert step(SO101.home + 0.5) is None
        assert step(SO101.home + 0.5) is None
        found = step(SO101.home + 0.1)
        np.testing.assert_allclose(found, SO101.home, atol=2e-3)
        # A robot that lags is still followed, one that was pushed away is not.
        assert step(SO101.home + 0.8) is not None
        assert step(SO101.home + 1.2) is None
        assert step(SO101.home + 0.8) is None
        # The farthest joint may change by a count; a text is shown once, and again when it changes.
        assert session.texts[0].endswith("of the leader is 0.50 rad from the robot; move it closer to engage")
        assert session.texts.count("following the leader") == 1
        assert session.texts[-1].endswith("rad from the robot; move it closer to engage")
        servos.unplug()
        with pytest.raises(HardwareError, match="is gone"):
            step(SO101.home)
        device.close()
        assert not any(servo.memory[40] for servo in servos.servos)
