"""A complete driver: a robot whose controller is reached with lines of text over TCP.

Usage: python examples/driver.py

For every "read", the controller sends one line "<position> <velocity> <torque> <winding °C> <fault or ->" per joint. On
"move <position> ...", it moves the joints to positions [rad]. Copy this file, replace the places where the socket is
used, and test your driver with `waldo.robots.drivers.conformance.DriverConformance`. An emulated controller at the end
of the file makes the example run without hardware.
"""

from __future__ import annotations

import dataclasses
import socket
import socketserver
import threading
import time
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from waldo.errors import HardwareError, InvalidValueError
from waldo.robots.description import Robot, load_robot
from waldo.robots.driver import Frame, MotorSensors, RobotState
from waldo.robots.drivers.options import TypedOptions, build_options
from waldo.typing import Array


@dataclass(frozen=True, slots=True, kw_only=True)
class LineOptions(TypedOptions):
    """Options of the driver; the docstring under each field is its help text."""

    host: str = "192.168.0.10"
    """Address of the robot's controller."""
    port: int = 5000
    """TCP port of the robot's controller."""
    timeout_s: float = 0.5
    """Longest wait for the controller [s]."""


class LineDriver:
    """A `Driver`: connect, read, motors, write, frames and disconnect, in SI units and in the order of the joints."""

    Options: ClassVar[type[LineOptions]] = LineOptions

    def __init__(self, robot: Robot, **options: object) -> None:
        """Create a driver for a robot; `options` are the fields of `LineOptions`."""
        self.options = build_options(LineOptions, options)
        self.robot = dataclasses.replace(robot, cameras=())
        self._socket: socket.socket | None = None
        self._joints: list[list[str]] = []

    def connect(self) -> None:
        """Open the connection and hold the present position; an error states what was found and what to do."""
        address = (self.options.host, self.options.port)
        try:
            self._socket = socket.create_connection(address, self.options.timeout_s)
        except OSError as error:
            raise HardwareError(f"no controller at {address[0]}:{address[1]} ({error}); check its power") from error
        self.write(self.read().position)

    def _request(self, line: str, responses: int) -> list[str]:
        """Send a line and return the lines of the response."""
        if self._socket is None:
            raise HardwareError("the controller is not connected; call connect() first")
        try:
            self._socket.sendall(f"{line}\n".encode())
            received = b""
            while received.count(b"\n") < responses:
                chunk = self._socket.recv(4096)
                if not chunk:
                    raise ConnectionError("connection closed")
                received += chunk
        except OSError as error:
            raise HardwareError(f"the controller stopped responding ({error}); connect again") from error
        return received.decode().splitlines()

    def read(self) -> RobotState:
        """Return the present state, with the time at which it was received."""
        self._joints = [line.split() for line in self._request("read", len(self.robot.joints))]
        values = np.array([[float(value) for value in joint[:3]] for joint in self._joints])
        return RobotState(stamp_ns=time.time_ns(), position=values[:, 0], velocity=values[:, 1], effort=values[:, 2])

    def motors(self) -> MotorSensors:
        """Return the sensors and faults of the last reading; what the robot does not measure stays NaN."""
        return dataclasses.replace(
            MotorSensors.unknown(len(self._joints)),
            torque_nm=np.array([float(joint[2]) for joint in self._joints]),
            winding_c=np.array([float(joint[3]) for joint in self._joints]),
            faults=tuple("" if joint[4] == "-" else joint[4] for joint in self._joints),
        )

    def write(self, targets: Array) -> Array:
        """Command position targets, shape (joints,) [rad]; return the applied targets, within the joint limits."""
        within = np.clip(np.asarray(targets, dtype=float), self.robot.lower, self.robot.upper)
        if not np.isfinite(within).all():
            raise InvalidValueError("targets", targets, "finite numbers")
        self._request("move " + " ".join(f"{target:.6f}" for target in within), 1)
        return np.round(within, 6)

    def frames(self) -> Sequence[Frame]:
        """Return the camera images received since the last call; this robot has no cameras."""
        return ()

    def disconnect(self) -> None:
        """Close the connection; the controller holds the last target."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None


class Controller(socketserver.ThreadingTCPServer):
    """An emulated controller, whose joints jump to their targets."""

    daemon_threads = True

    def __init__(self, joints: int) -> None:
        """Listen on a free port of this machine."""
        self.position = np.zeros(joints)
        self.fault = "-"
        super().__init__(("127.0.0.1", 0), Connection)


class Connection(socketserver.StreamRequestHandler):
    """A connection to the emulated controller."""

    def handle(self) -> None:
        """Respond to "read" and "move" until the client disconnects."""
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


@contextmanager
def emulated_controller(joints: int) -> Generator[Controller]:
    """Run an emulated controller in a thread."""
    with Controller(joints) as controller:
        thread = threading.Thread(target=controller.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield controller
        finally:
            controller.shutdown()
            thread.join()


def main() -> None:
    """Move the first joint of an emulated robot."""
    robot = load_robot("so101")
    with emulated_controller(len(robot.joints)) as controller:
        driver = LineDriver(robot, host="127.0.0.1", port=controller.server_address[1], timeout_s=5.0)
        driver.connect()
        target = driver.read().position
        target[0] = 0.5
        applied = driver.write(target)
        state, motors = driver.read(), driver.motors()
        print(f"{robot.joint_names[0]}: target {applied[0]:.2f} rad, position {state.position[0]:.2f} rad")
        print(f"winding {motors.winding_c[0]:.0f} °C, faults: {motors.faults[0] or 'none'}")
        driver.disconnect()


if __name__ == "__main__":
    main()
