"""The example driver of the documentation passes the conformance tests with an emulated controller."""

from __future__ import annotations

import dataclasses
import socketserver
import threading
from collections.abc import Iterator

import numpy as np
import pytest

from examples.driver import LineDriver
from waldo.errors import HardwareError, InvalidValueError
from waldo.robots.description import Robot
from waldo.robots.driver import Driver
from waldo.robots.drivers.conformance import DriverConformance
from waldo.robots.drivers.options import describe_options, parse_options


class Controller(socketserver.ThreadingTCPServer):
    """A controller whose joints jump to their targets."""

    allow_reuse_address = True
    daemon_threads = True

    def __init__(self, joints: int) -> None:
        self.position = np.zeros(joints)
        self.fault = "-"
        super().__init__(("127.0.0.1", 0), Connection)


class Connection(socketserver.StreamRequestHandler):
    """Responds to "read" and "move"."""

    def handle(self) -> None:
        controller = self.server
        assert isinstance(controller, Controller)
        for line in self.rfile:
            command, *values = line.decode().split()
            if command == "move":
                controller.position = np.array([float(value) for value in values])
                self.wfile.write(b"ok\n")
            else:
                lines = [f"{position} 0 0.1 30 {controller.fault}\n" for position in controller.position]
                self.wfile.write("".join(lines).encode())


@pytest.fixture
def controller(toy_robot: Robot) -> Iterator[Controller]:
    with Controller(len(toy_robot.joints)) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


class TestExample(DriverConformance):
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
