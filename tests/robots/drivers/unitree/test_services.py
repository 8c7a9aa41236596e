"""The clients of a Unitree robot's services, with an emulated robot."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from waldo.robots.description import load_robot
from waldo.robots.drivers.unitree.services import FSM, Locomotion, MotionSwitcher, ServiceError
from waldo.sim.emulation.unitree import EmulatedUnitree

DOMAIN = 101 + os.getpid() % 100


@pytest.fixture
def g1() -> Iterator[EmulatedUnitree]:
    with EmulatedUnitree(load_robot("g1"), DOMAIN, rate_hz=100, controller="ai") as made:
        yield made


def test_the_controller_is_released_and_selected(g1: EmulatedUnitree) -> None:
    with MotionSwitcher(DOMAIN, "lo", timeout_s=60) as switcher:
        assert switcher.active() == "ai"
        switcher.release()
        assert switcher.active() == g1.controller.active == ""
        switcher.select("ai")
        assert switcher.active() == "ai"


def test_the_locomotion_changes_its_state(g1: EmulatedUnitree) -> None:
    with Locomotion(DOMAIN, "lo", timeout_s=60) as locomotion:
        for action in ("damp", "stand"):
            locomotion.act(action)
            assert locomotion.state() == g1.controller.fsm == FSM[action]
        g1.controller.active = ""
        with pytest.raises(ServiceError, match=r"reports error 7301 \(the state of the locomotion is not available\)"):
            locomotion.act("damp")
        with pytest.raises(ServiceError, match="error 3203"):
            locomotion.call(9999)


def test_older_firmware_stands_in_another_state(g1: EmulatedUnitree, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("waldo.sim.emulation.unitree_services.STATES", {0, 1, 200})
    with Locomotion(DOMAIN, "lo", timeout_s=60) as locomotion:
        locomotion.act("stand")
        assert locomotion.state() == 200
        with pytest.raises(ServiceError, match="no such state"):
            locomotion.act("sit")


def test_responses_to_another_program_are_not_taken(g1: EmulatedUnitree) -> None:
    with MotionSwitcher(DOMAIN, "lo", timeout_s=60) as one, Locomotion(DOMAIN, "lo", timeout_s=60) as other:
        assert [one.active(), other.state(), one.active()] == ["ai", FSM["stand"], "ai"]
        with MotionSwitcher(DOMAIN, "lo", timeout_s=60) as second:
            second.select("mcf")
            assert one.active() == "mcf"


def test_a_missing_service_is_an_error() -> None:
    with MotionSwitcher(DOMAIN, "lo", timeout_s=0.2) as switcher:
        with pytest.raises(ServiceError, match="the robot has no service 'motion_switcher' on DDS domain"):
            switcher.active()
