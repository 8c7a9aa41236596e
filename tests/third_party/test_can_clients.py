"""damiao-motor and robstride-dynamics on emulated motors: modes, registers, zero, timeout and ids."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import count

import can

from waldo.sim.emulation.can_bus import CanMotors
from waldo.sim.emulation.damiao import DamiaoMotors
from waldo.sim.emulation.emulated_robot import load_emulated
from waldo.sim.emulation.robstride import RobStrideMotors

NETWORKS = count()
MULTICAST = "python-can[multicast]==4.6.1"


@contextmanager
def can_motors(driver: str, *motors: str) -> Iterator[tuple[CanMotors, str]]:
    """Run motors side by side on a table, on a CAN bus of their own; yield them and the channel."""
    robot = load_emulated("motors", driver, motors)
    channel = f"239.{os.getpid() // 256 % 256}.{os.getpid() % 256}.{1 + next(NETWORKS)}"
    kind = {"damiao": DamiaoMotors, "robstride": RobStrideMotors}[driver]
    bus = can.Bus(interface="udp_multicast", channel=channel)
    with kind(robot.joints(), bus, robot.ids, robot.ranges()) as found:  # type: ignore[arg-type]
        yield found, channel


def test_damiao_motor_uses_motors_as_documented(client: Callable[..., str]) -> None:
    with can_motors("damiao", "dm4310", "dm8009") as (motors, channel):
        client("damiao_bus.py", ["damiao-motor==1.0.6", MULTICAST], channel)
        assert not any(motors.enabled)
        motors.power_cycle()  # type: ignore[attr-defined]
        assert motors.registers[0][2] == 110.0, "stored"  # type: ignore[attr-defined]


def test_the_commands_of_damiao_motor_scan_and_configure(client: Callable[..., str]) -> None:
    with can_motors("damiao", "dm4310", "dm4310") as (motors, channel):

        def call(*words: str) -> str:
            return client("damiao_program.py", ["damiao-motor==1.0.6", MULTICAST], channel, *words)

        printed = call("scan", "--ids", "1", "2", "3", "--duration", "2")
        assert "0x01" in printed
        assert "0x02" in printed
        call("set-motor-id", "--current", "2", "--target", "5")
        assert motors.ids == [1, 5]


def test_robstride_dynamics_uses_motors_as_documented(client: Callable[..., str]) -> None:
    with can_motors("robstride", "rs02", "rs04") as (motors, channel):
        client("robstride_bus.py", ["robstride-dynamics==0.0.1", MULTICAST], channel)
        assert motors.ids == [1, 9]
