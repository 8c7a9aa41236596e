"""Unitree's SDK and waldo on the loopback interface, in both directions."""

from __future__ import annotations

import os
import time
from collections.abc import Callable

import numpy as np

from tests.third_party.conftest import CLIENTS, background, environment
from waldo.robots.description import load_robot
from waldo.robots.drivers.unitree.driver import UnitreeDriver
from waldo.robots.drivers.unitree.services import Locomotion
from waldo.sim.emulation.unitree import EmulatedUnitree

SDK = ["unitree-sdk2py-dimos==1.0.3"]
DOMAIN = 101 + os.getpid() % 100


def test_the_sdk_commands_an_emulated_g1_with_hands(client: Callable[..., str]) -> None:
    with EmulatedUnitree(load_robot("g1_dex3"), DOMAIN, rate_hz=100, controller="ai") as g1:
        assert "ok" in client("unitree_sdk.py", SDK, str(DOMAIN))
        assert g1.controller.fsm == 200  # this version's Start
        assert ("sport", 7101) in g1.controller.requests
        assert g1.refused == 0
        assert g1.taken > 0
        assert [hand.refused for hand in g1.hands] == [0, 0]


def test_waldo_drives_a_robot_of_the_sdk() -> None:
    """A program on the SDK is the robot: it publishes states, checks the commands and answers requests."""
    with background(environment(*SDK), CLIENTS / "unitree_robot.py", str(DOMAIN)) as output:
        driver = UnitreeDriver(
            load_robot("g1"), interface="lo", domain=DOMAIN, connect_timeout_s=60.0, max_staleness_s=30.0
        )
        driver.connect()
        target = driver.robot.home.copy()
        deadline = time.monotonic() + 60
        while float(np.abs(driver.read().position - target).max()) > 0.01:
            assert time.monotonic() < deadline
            driver.write(target)
        with Locomotion(DOMAIN, "lo", timeout_s=60) as locomotion:
            locomotion.act("damp")
            assert locomotion.state() == 1
        driver.disconnect()
        assert not driver.refused
    assert "wrong checksums: 0" in output()
