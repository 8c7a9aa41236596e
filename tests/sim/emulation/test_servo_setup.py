"""Ids and baud rates of emulated servos take effect, and LeRobot's own program sets up new ones."""

from __future__ import annotations

from contextlib import suppress

import numpy as np
import pytest
from lerobot.motors import Motor, MotorNormMode
from lerobot.motors.dynamixel import DynamixelMotorsBus
from lerobot.motors.feetech import FeetechMotorsBus

from tests.lerobot_program import run_lerobot
from tests.robots.drivers.servo_bench import DRIVERS, SO101
from waldo.sim.emulation.emulated_joints import EmulatedJoints
from waldo.sim.emulation.feetech import FeetechServos
from waldo.sim.emulation.servo_bus import SerialServos

RETRIES = 20
"""LeRobot waits 34 or 50 ms; a busy machine may not schedule the emulation in that time."""
LEROBOT = {"feetech": (FeetechMotorsBus, "sts3215"), "dynamixel": (DynamixelMotorsBus, "xm430-w350")}


def bus_of(servos: SerialServos, vendor: str, ids: tuple[int, ...] = (1, 2, 3, 4, 5, 6)):
    """Return LeRobot's bus, connected without a check of the motors."""
    bus_class, model = LEROBOT[vendor]
    motors = {f"motor_{i}": Motor(identity, model, MotorNormMode.DEGREES) for i, identity in enumerate(ids)}
    bus = bus_class(servos.port, motors)
    bus.connect(handshake=False)
    return bus


def write(bus, register: str, motor: str, value: int) -> None:
    """Write a register after which the servo no longer answers at its old id and rate, so that a retry is in vain."""
    with suppress(ConnectionError):
        bus.write(register, motor, value, normalize=False)


def responds(bus, motor: str) -> bool:
    """Return whether a servo responds; a late response of another request makes the SDK fail in any way."""
    for _ in range(RETRIES):
        with suppress(ConnectionError, IndexError):
            if bus.ping(motor) is not None:
                return True
    return False


@pytest.fixture(params=list(LEROBOT))
def vendor(request: pytest.FixtureRequest) -> str:
    return request.param


def test_lerobot_s_program_sets_up_new_servos_one_after_another() -> None:
    with FeetechServos(EmulatedJoints(SO101), calibrated=False, one_by_one=True) as servos:
        assert [servo.id for servo in servos.servos] == [1] * 6
        setup = ["setup_motors", "--robot.type=so101_follower", f"--robot.port={servos.port}"]
        printed = run_lerobot(setup, input_text="\n" * 6)
        assert printed.count("motor id set to") == 6
        assert [servo.id for servo in servos.servos] == [1, 2, 3, 4, 5, 6]
        servos.power_cycle()
        assert [servo.id for servo in servos.servos] == [1, 2, 3, 4, 5, 6], "stored"
        bus = bus_of(servos, "feetech")
        assert set(bus.broadcast_ping(num_retry=RETRIES) or {}) == {1, 2, 3, 4, 5, 6}
        bus.disconnect(disable_torque=False)


def test_a_new_id_and_a_new_baud_rate_take_effect_at_once(vendor: str) -> None:
    with DRIVERS[vendor][0](EmulatedJoints(SO101)) as servos:
        bus = bus_of(servos, vendor, (1, 2, 9))
        bus.disable_torque("motor_1", num_retry=RETRIES)
        assert bus.ping("motor_2") is None
        write(bus, "ID", "motor_1", 9)
        assert bus.ping("motor_1") is None
        assert responds(bus, "motor_2")
        # 57,600 bit/s
        code = {"feetech": 6, "dynamixel": 1}[vendor]
        write(bus, "Baud_Rate", "motor_2", code)
        assert bus.ping("motor_2") is None
        assert responds(bus, "motor_0")
        bus.set_baudrate(57_600)
        assert responds(bus, "motor_2")
        assert bus.ping("motor_0") is None
        bus.disconnect(disable_torque=False)


def test_servos_with_the_same_id_disturb_each_other(vendor: str) -> None:
    with DRIVERS[vendor][0](EmulatedJoints(SO101), ids=(1, 2, 3, 4, 5, 5)) as servos:
        bus = bus_of(servos, vendor, (4, 5))
        assert bus.read("Present_Position", "motor_0", normalize=False, num_retry=RETRIES) > 0
        with pytest.raises((ConnectionError, RuntimeError)):
            bus.read("Present_Position", "motor_1", normalize=False)
        bus.disconnect(disable_torque=False)


def test_writing_a_goal_switches_the_torque_of_a_feetech_servo_on() -> None:
    plant = EmulatedJoints(SO101)
    with FeetechServos(plant) as servos:
        bus = bus_of(servos, "feetech")
        assert bus.read("Torque_Enable", "motor_1", normalize=False, num_retry=RETRIES) == 0
        present = bus.read("Present_Position", "motor_1", normalize=False, num_retry=RETRIES)
        bus.write("Goal_Position", "motor_1", present, normalize=False, num_retry=RETRIES)
        assert bus.read("Torque_Enable", "motor_1", normalize=False, num_retry=RETRIES) == 1
        assert bus.read("Torque_Enable", "motor_2", normalize=False, num_retry=RETRIES) == 0
        bus.disconnect(disable_torque=False)
    assert np.isfinite(plant.position).all()
