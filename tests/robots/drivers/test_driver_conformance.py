"""Every driver passes the conformance tests with an emulation of its robot."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from itertools import count
from pathlib import Path
from typing import Any

import can
import numpy as np
import pytest

from tests.robots.drivers.can_bench import ARM, DAMIAO_RANGE
from tests.robots.drivers.topics.test_driver import Controlled
from waldo.robots.description import Joint, Robot, load_robot
from waldo.robots.driver import Driver
from waldo.robots.drivers import damiao, dynamixel, feetech
from waldo.robots.drivers.conformance import DriverConformance, HardwareConformance
from waldo.robots.drivers.lerobot.driver import LeRobotDriver
from waldo.robots.drivers.robstride.driver import RobStrideDriver
from waldo.robots.drivers.robstride.models import RANGES
from waldo.robots.drivers.topics.driver import TopicMapDriver
from waldo.robots.drivers.unitree.driver import UnitreeDriver
from waldo.robots.motors.damiao import DM_J4310
from waldo.robots.motors.robstride import RS03
from waldo.sim.emulation.damiao import DamiaoMotors
from waldo.sim.emulation.dynamixel import DynamixelServos
from waldo.sim.emulation.emulated_joints import EmulatedJoints
from waldo.sim.emulation.feetech import FeetechServos
from waldo.sim.emulation.robstride import RobStrideMotors
from waldo.sim.emulation.unitree import EmulatedUnitree
from waldo.sim.model_robot import ModelDriver, load_model_robot
from waldo.sim.twin import TwinDriver

DOMAIN = 1 + os.getpid() % 100
CHANNELS = count()
TIMEOUTS = {"motor_timeout_s": 20.0, "response_timeout_s": 2.0}
"""A busy machine may pause a process for seconds."""


class TestTwin(DriverConformance):
    def make(self) -> Driver:
        return TwinDriver(load_robot("so101"), cameras=False)


class TestModel(DriverConformance):
    def make(self) -> Driver:
        return ModelDriver(load_model_robot(str(load_robot("so101").mjcf_path)))


class TestToy(DriverConformance):
    @pytest.fixture(autouse=True)
    def _toy(self, make_toy_driver: Callable[[], Any]) -> None:
        self._make = make_toy_driver

    def make(self) -> Driver:
        return self._make()

    def test_write_returns_the_applied_target_within_the_limits(self, driver: Driver) -> None:
        # The toy robot has no limits.
        target = np.array([9.0, -9.0])
        assert (driver.write(target) == target).all()

    def test_every_frame_is_returned_once(self, driver: Driver) -> None:
        # The toy robot renders its image on every call.
        assert len(driver.frames()) == 1


class TestFeetech(HardwareConformance):
    @pytest.fixture(autouse=True)
    def _servos(self) -> Iterator[None]:
        with FeetechServos(EmulatedJoints(load_robot("so101"))) as servos:
            self._port = servos.port
            yield

    def make(self) -> Driver:
        return feetech.FeetechDriver(load_robot("so101"), port=self._port, **TIMEOUTS)

    def make_absent(self) -> Driver:
        return feetech.FeetechDriver(load_robot("so101"), port="/dev/no-such-port")


class TestDynamixel(HardwareConformance):
    @pytest.fixture(autouse=True)
    def _servos(self) -> Iterator[None]:
        with DynamixelServos(EmulatedJoints(load_robot("so101"))) as servos:
            self._port = servos.port
            yield

    def make(self) -> Driver:
        return dynamixel.DynamixelDriver(load_robot("so101"), port=self._port, **TIMEOUTS)

    def make_absent(self) -> Driver:
        return dynamixel.DynamixelDriver(load_robot("so101"), port="/dev/no-such-port")


class CanConformance(HardwareConformance):
    """Two emulated motors on their own bus."""

    __test__ = False
    vendor: Any
    emulator: Any
    motor: Any
    full: Any

    @pytest.fixture(autouse=True)
    def _bus(self, tmp_path: Path) -> Iterator[None]:
        (tmp_path / "arm.xml").write_text(ARM)
        one = {"motor": self.motor, "lower": -2.0, "upper": 2.0, "velocity": 3.0, "acceleration": 20.0, "effort": 7.0}
        joints = (Joint(name="shoulder", home=0.3, **one), Joint(name="elbow", home=-0.2, **one))
        self._robot = Robot(name="arm", model="arm", joints=joints, cameras=(), mjcf=str(tmp_path / "arm.xml"))
        self._channel = f"conformance{next(CHANNELS)}"
        bus = can.Bus(interface="virtual", channel=self._channel)
        with self.emulator(EmulatedJoints(self._robot), bus, [1, 2], [self.full, self.full]):
            yield

    def make(self) -> Driver:
        # A high stiffness, because gravity must not keep the arm from its target.
        return self.vendor(self._robot, interface="virtual", channel=self._channel, kp=(150.0,), kd=(3.0,), **TIMEOUTS)

    def make_absent(self) -> Driver:
        return self.vendor(self._robot, interface="virtual", channel="empty", motor_timeout_s=0.1)


class TestDamiao(CanConformance):
    __test__ = True
    vendor, emulator, motor, full = damiao.DamiaoDriver, DamiaoMotors, DM_J4310, DAMIAO_RANGE


class TestRobStride(CanConformance):
    __test__ = True
    vendor, emulator, motor = RobStrideDriver, RobStrideMotors, RS03
    full = RANGES["RobStride RS03"]


class TestUnitree(HardwareConformance):
    @pytest.fixture(autouse=True)
    def _twin(self) -> Iterator[None]:
        with EmulatedUnitree(load_robot("g1"), 100 + DOMAIN, rate_hz=100):
            yield

    def make(self) -> Driver:
        options = {"interface": "lo", "connect_timeout_s": 60.0, "max_staleness_s": 30.0, "rate_hz": 100}
        return UnitreeDriver(load_robot("g1"), domain=100 + DOMAIN, **options)

    def make_absent(self) -> Driver:
        return UnitreeDriver(load_robot("g1"), interface="lo", domain=210, connect_timeout_s=0.2)


class TestLeRobot(HardwareConformance):
    """LeRobot's SO-101 follower with emulated servos."""

    @pytest.fixture(autouse=True)
    def _servos(self, tmp_path: Path, lerobot_timeouts: None) -> Iterator[None]:
        from waldo.robots.drivers import calibration

        robot = load_robot("so101")
        self._folder = tmp_path
        with FeetechServos(EmulatedJoints(robot)) as servos:
            self._port = servos.port
            reader = feetech.FeetechDriver(robot, port=self._port, torque=False, **TIMEOUTS)
            reader.open()
            calibration.save(tmp_path / "mine.json", robot.joint_names, reader.stored())
            reader.disconnect()
            yield

    def make(self) -> Driver:
        config = f'{{"calibration_dir": "{self._folder}"}}'
        return LeRobotDriver(load_robot("so101"), type="so101_follower", id="mine", port=self._port, config=config)

    def make_absent(self) -> Driver:
        config = f'{{"calibration_dir": "{self._folder}"}}'
        return LeRobotDriver(load_robot("so101"), type="so101_follower", id="mine", port="/dev/nowhere", config=config)


class TestTopics(HardwareConformance):
    @pytest.fixture(autouse=True)
    def _controllers(self, toy_robot: Robot, ros_domain: int) -> Iterator[None]:
        joints = tuple(
            dataclasses.replace(joint, name=name) for joint, name in zip(toy_robot.joints, "AB", strict=True)
        )
        self._robot = dataclasses.replace(toy_robot, joints=joints, cameras=())
        with ExitStack() as stack:
            stack.enter_context(Controlled())
            yield

    def make(self) -> Driver:
        options = {"command": "/jtc/joint_trajectory", "connect_timeout_s": 60.0, "max_staleness_s": 30.0}
        return TopicMapDriver(self._robot, **options)

    def make_absent(self) -> Driver:
        return TopicMapDriver(self._robot, joint_states="/nowhere", connect_timeout_s=0.2)
