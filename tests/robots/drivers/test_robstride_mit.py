"""RobStride motors that were switched to the MIT protocol."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import count
from pathlib import Path
from typing import Any

import can
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.robots.drivers.can_bench import ARM
from waldo.errors import HardwareError
from waldo.robots.description import Joint, Robot
from waldo.robots.driver import Driver
from waldo.robots.drivers.conformance import HardwareConformance
from waldo.robots.drivers.robstride import private, standard
from waldo.robots.drivers.robstride.driver import RobStrideDriver
from waldo.robots.drivers.robstride.models import RANGES
from waldo.robots.drivers.robstride.options import RobStrideOptions
from waldo.robots.motors.robstride import RS03
from waldo.sim.emulation.emulated_joints import EmulatedJoints
from waldo.sim.emulation.robstride import RobStrideMotors

CHANNELS = count()
FULL = RANGES["RobStride RS03"]
PATIENT = {"motor_timeout_s": 20.0, "response_timeout_s": 2.0}
"""A busy machine may pause a process for seconds."""


class TestRobStrideMit(HardwareConformance):
    @pytest.fixture(autouse=True)
    def _bus(self, tmp_path: Path) -> Iterator[None]:
        (tmp_path / "arm.xml").write_text(ARM)
        one: dict[str, Any] = {
            "motor": RS03, "lower": -2.0, "upper": 2.0, "velocity": 3.0, "acceleration": 20.0, "effort": 7.0
        }  # fmt: skip
        joints = (Joint(name="shoulder", home=0.3, **one), Joint(name="elbow", home=-0.2, **one))
        self._robot = Robot(name="arm", model="arm", joints=joints, cameras=(), mjcf=str(tmp_path / "arm.xml"))
        self._channel = f"mit{next(CHANNELS)}"
        self.plant = EmulatedJoints(self._robot)
        bus = can.Bus(interface="virtual", channel=self._channel)
        with RobStrideMotors(self.plant, bus, [1, 2], [FULL, FULL]) as self.motors:
            self.motors.mit = [True, True]
            yield

    def make(self, **options: object) -> Driver:
        defaults = {"interface": "virtual", "channel": self._channel, "protocol": "mit", "kp": (150.0,), "kd": (3.0,)}
        return RobStrideDriver(self._robot, **{**defaults, **PATIENT, **options})

    def make_absent(self) -> Driver:
        return self.make(channel="empty", motor_timeout_s=0.1)

    def test_connecting_does_not_move_an_arm_that_holds(self) -> None:
        first = self.make(on_close="hold")
        first.connect()
        first.write(np.array([0.5, -0.5]))
        for _ in range(300):
            first.read()
        first.disconnect()
        before = self.plant.position.copy()
        second = self.make()
        second.connect()
        for _ in range(50):
            second.read()
        np.testing.assert_allclose(self.plant.position, before, atol=0.02)
        second.disconnect()

    def test_faults_are_read_and_cleared(self) -> None:
        driver: Any = self.make()
        driver.connect()
        self.motors.trip(0, 0b000100)
        for _ in range(200):
            driver.read()
            if driver.motors().faults[0]:
                break
        assert driver.motors().faults[0] == "winding over-temperature"
        assert driver.motors().disabled.tolist() == [True, False]
        driver.disconnect()
        with pytest.raises(HardwareError, match="winding over-temperature"):
            self.make().connect()
        cleared = self.make(clear_errors=True)
        cleared.connect()
        cleared.disconnect()

    def test_the_wrong_protocol_is_named(self) -> None:
        self.motors.mit = [False, False]
        with pytest.raises(HardwareError, match=r"in the MIT protocol; .* delivered in the private one"):
            self.make(motor_timeout_s=0.2).connect()

    def test_a_motor_is_switched_to_the_protocol(self) -> None:
        self.motors.mit = [False, False]
        bus = can.Bus(interface="virtual", channel=self._channel)
        frame = private.frame_id(25, 0xFD, 1)
        bus.send(can.Message(arbitration_id=frame, data=[1, 2, 3, 4, 5, 6, 2, 0], is_extended_id=True))
        assert bus.recv(60) is not None
        bus.shutdown()
        assert self.motors.mit == [True, False]


@given(data=st.binary(min_size=0, max_size=8), arbitration=st.integers(0, 0x7FF))
def test_any_frame_is_parsed_or_dropped(data: bytes, arbitration: int) -> None:
    protocol = standard.MitProtocol(None, [1, 2], ["a", "b"], [FULL, FULL], RobStrideOptions())  # type: ignore[arg-type]
    message = can.Message(arbitration_id=arbitration, data=data, is_extended_id=False)
    parsed = protocol.parse(message)
    if parsed is not None:
        assert data[0] == parsed[0] + 1
        assert abs(parsed[1].position_rad) <= FULL.position_rad


def test_the_frames_are_those_of_the_manual() -> None:
    full = RANGES["RobStride RS00"]
    feedback = standard.unpack_feedback(bytes([1, 0xFF, 0xFF, 0, 0x0F, 0xFF, 0x01, 0x5E]), full)
    assert feedback.position_rad == pytest.approx(12.566, abs=1e-3)
    assert feedback.velocity_rad_s == pytest.approx(-33)
    assert feedback.torque_nm == pytest.approx(14)
    assert feedback.winding_c == pytest.approx(35.0)
