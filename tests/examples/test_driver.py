"""The example driver of the documentation passes the conformance tests with an emulated controller."""

from __future__ import annotations

import dataclasses
import importlib.util
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from waldo.errors import HardwareError, InvalidValueError
from waldo.robots.description import Robot
from waldo.robots.driver import Driver
from waldo.robots.drivers.conformance import HardwareConformance
from waldo.robots.drivers.options import describe_options, parse_options

PATH = Path(__file__).parents[2] / "examples" / "driver.py"


def _example() -> Any:
    """Import the example from its file: another distribution may install a package `examples`."""
    spec = importlib.util.spec_from_file_location("example_driver", PATH)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


example = _example()
Controller, LineDriver, emulated_controller = example.Controller, example.LineDriver, example.emulated_controller


@pytest.fixture
def controller(toy_robot: Robot) -> Iterator[Controller]:
    """An emulated controller with the joints of the toy robot."""
    with emulated_controller(len(toy_robot.joints)) as controller:
        yield controller


class TestExample(HardwareConformance):
    @pytest.fixture(autouse=True)
    def _controller(self, toy_robot: Robot, controller: Controller) -> None:
        self._robot, self._port = toy_robot, controller.server_address[1]

    def make(self) -> Driver:
        return LineDriver(self._robot, host="127.0.0.1", port=self._port, timeout_s=20.0)

    def make_absent(self) -> Driver:
        # Port 1 (tcpmux) is not in use.
        return LineDriver(self._robot, host="127.0.0.1", port=1)


def test_faults_of_the_controller_are_reported(toy_robot: Robot, controller: Controller) -> None:
    driver = LineDriver(toy_robot, host="127.0.0.1", port=controller.server_address[1], timeout_s=20.0)
    driver.connect()
    controller.fault = "over-current"
    driver.read()
    assert set(driver.motors().faults) == {"over-current"}
    with pytest.raises(InvalidValueError, match=r"targets is .*, expected finite numbers"):
        driver.write(np.full(len(toy_robot.joints), np.nan))
    driver.disconnect()
    with pytest.raises(HardwareError, match="the controller is not connected"):
        driver.read()


def test_options_are_parsed_and_described() -> None:
    assert parse_options(["port=6000"], LineDriver.Options) == {"port": 6000}
    assert [option.name for option in describe_options(LineDriver.Options)] == [
        field.name for field in dataclasses.fields(LineDriver.Options)
    ]
