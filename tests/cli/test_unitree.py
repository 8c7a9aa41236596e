"""`waldo unitree` with an emulated G1."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from waldo.cli.unitree import Unitree
from waldo.errors import MissingOptionError
from waldo.robots.description import load_robot
from waldo.robots.drivers.unitree.services import ServiceError
from waldo.sim.emulation.unitree import EmulatedUnitree

DOMAIN = 101 + os.getpid() % 100


@pytest.fixture
def g1() -> Iterator[EmulatedUnitree]:
    with EmulatedUnitree(load_robot("g1"), DOMAIN, rate_hz=100, controller="ai") as made:
        yield made


def test_the_state_is_printed_and_changed(g1: EmulatedUnitree, capsys: pytest.CaptureFixture[str]) -> None:
    where = {"domain": DOMAIN, "interface": "lo"}
    Unitree(**where).run()
    assert capsys.readouterr().out.strip() == "controller: ai; locomotion: 500 (stand)"
    Unitree(action="damp", **where).run()
    assert capsys.readouterr().out.strip() == "controller: ai; locomotion: 1 (damp)"
    Unitree(action="release", yes=True, **where).run()
    assert capsys.readouterr().out.strip() == "controller: none (debug mode)"
    with pytest.raises(MissingOptionError, match="start one with: waldo unitree select ai"):
        Unitree(action="stand", **where).run()
    Unitree(action="select", name="ai", **where).run()
    assert g1.controller.active == "ai"


def test_a_robot_is_not_released_unasked(g1: EmulatedUnitree) -> None:
    for action in ("release", "zero_torque"):
        with pytest.raises(MissingOptionError, match="a standing robot falls; suspend the robot"):
            Unitree(action=action, domain=DOMAIN, interface="lo").run()
    assert (g1.controller.active, g1.controller.fsm) == ("ai", 500)
    assert g1.controller.requests == []


def test_without_a_robot_the_error_names_the_service() -> None:
    with pytest.raises(ServiceError, match="the robot has no service 'motion_switcher'"):
        Unitree(domain=211, interface="lo").run()
