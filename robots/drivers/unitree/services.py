"""Services of Unitree's robots over DDS: which controller moves the robot, and the G1's own locomotion.

A service receives requests on `rt/api/NAME/request` and answers on `rt/api/NAME/response`; a response carries the
number of its request. Sources: https://github.com/unitreerobotics/unitree_sdk2_python, unitree_sdk2py/rpc (frames,
codes), comm/motion_switcher and g1/loco (functions).
"""

from __future__ import annotations

import contextlib
import json
import math
import time
from collections.abc import Mapping
from types import TracebackType
from typing import Any, ClassVar, Self

from waldo.errors import HardwareError
from waldo.robots.drivers.dds import join_domain

CODES: Mapping[int, str] = {
    3201: "the service cannot send",
    3202: "internal error of the service",
    3203: "the service has no such function",
    3204: "wrong parameter",
    3205: "another program has the lease of the service",
    3206: "the lease does not exist",
    3207: "another program has the lease of the service",
    7301: "the state of the locomotion is not available",
    7302: "no such state of the locomotion",
    7303: "no such task of the arms",
}
"""Result code -> text (rpc/internal.py; from 7301 on: unitree_sdk2, g1/loco/g1_loco_error.hpp)."""

FSM: Mapping[str, int] = {"zero_torque": 0, "damp": 1, "sit": 3, "stand": 500, "squat": 706, "lie_to_stand": 702}
"""Action -> state of the G1's locomotion (g1/loco/g1_loco_client.py: Damp, Start, Sit, ...)."""


REPEAT_S = 0.4
"""Interval at which a request is repeated until it is answered [s]: the service may not be connected to this program
yet when this program is connected to the service. The functions below have the same effect when called twice."""


OLDER_START, NO_SUCH_STATE = 200, 7302
"""State in which older firmware of the G1 stands and walks, and the code with which others refuse a state."""


class ServiceError(HardwareError):
    """A service that does not respond, or that reports an error; `code` is 0 or that of the error."""

    def __init__(self, message: str, code: int = 0) -> None:
        """Store the message and the code."""
        super().__init__(message)
        self.code = code


class NoServiceError(ServiceError):
    """A service that is not on the domain, as of a simulator."""


class Service:
    """A client of one service; a context manager."""

    name: ClassVar[str]
    """Name of the service in its topics."""

    def __init__(self, domain: int = 0, interface: str = "", timeout_s: float = 1.0) -> None:
        """Prepare without joining the domain.

        Args:
            domain: DDS domain.
            interface: Network interface; empty to let Cyclone DDS choose.
            timeout_s: Longest wait for the service, and for each response [s].
        """
        self._address, self._timeout_s = (domain, interface), timeout_s
        self._participant: Any = None

    def __enter__(self) -> Self:
        """Join the domain."""
        from cyclonedds.core import Listener, Policy, Qos
        from cyclonedds.pub import DataWriter
        from cyclonedds.sub import DataReader
        from cyclonedds.topic import Topic
        from cyclonedds.util import duration

        from waldo.robots.drivers.unitree.api_idl import Request, Response

        participant = self._participant = join_domain(*self._address)
        # The defaults of Unitree's SDK, except that a response is not replaced by one to another program.
        qos = Qos(Policy.History.KeepLast(10), Policy.Reliability.Reliable(duration(seconds=1)))
        self._writer: Any = DataWriter(
            participant, Topic(participant, f"rt/api/{self.name}/request", Request), listener=Listener()
        )
        self._reader: Any = DataReader(
            participant, Topic(participant, f"rt/api/{self.name}/response", Response), qos=qos
        )
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        """Leave the domain."""
        self._reader = self._writer = self._participant = None

    def call(self, function: int, **parameter: object) -> Any:
        """Call a function and return its result, decoded from JSON; None if it has none.

        Raises:
            NoServiceError: If the service is absent.
            ServiceError: If it does not respond in time, or reports an error.
        """
        from waldo.robots.drivers.unitree.api_idl import Identity, Lease, Policy, Request, RequestHeader

        self._find()
        identity = Identity(time.monotonic_ns(), function)
        request = Request(RequestHeader(identity, Lease(0), Policy(0, False)), json.dumps(parameter), [])
        sent_s = -math.inf
        deadline = time.monotonic() + self._timeout_s
        while (now_s := time.monotonic()) < deadline:
            if now_s - sent_s > REPEAT_S:
                self._writer.write(request)
                sent_s = now_s
            for response in self._reader.take(10):
                if getattr(response, "header", None) is None or response.header.identity.id != identity.id:
                    continue
                if code := response.header.status.code:
                    text = CODES.get(code, "unknown error")
                    raise ServiceError(f"the robot's service {self.name!r} reports error {code} ({text})", code)
                with contextlib.suppress(ValueError):
                    return json.loads(response.data)
                return None
            time.sleep(0.002)
        raise ServiceError(f"no response from the robot's service {self.name!r} within {self._timeout_s:g} s")

    def _find(self) -> None:
        """Wait until the service is connected in both directions, because it does not receive earlier requests."""
        deadline = time.monotonic() + self._timeout_s
        while not (self._writer.get_matched_subscriptions() and self._reader.get_matched_publications()):
            if time.monotonic() > deadline:
                raise NoServiceError(
                    f"the robot has no service {self.name!r} on DDS domain {self._address[0]}; check that the robot is "
                    "on, and the network interface"
                )
            time.sleep(0.002)


class MotionSwitcher(Service):
    """The service that selects which of the robot's own controllers moves it."""

    name = "motion_switcher"

    def active(self) -> str:
        """Return the name of the active controller; empty if there is none, as in debug mode."""
        found = self.call(1001)
        return str(found.get("name", "")) if isinstance(found, dict) else ""

    def select(self, name: str) -> None:
        """Start a controller, such as "ai"."""
        self.call(1002, name=name)

    def release(self) -> None:
        """Stop the active controller, after which a standing robot falls; returns when it has stopped."""
        deadline = time.monotonic() + 10 * self._timeout_s
        while active := self.active():
            if time.monotonic() > deadline:
                raise ServiceError(f"the robot's motion service {active!r} does not stop; press L2+R2 on the remote")
            self.call(1003)
            time.sleep(0.2)


class Locomotion(Service):
    """The G1's own controller of its legs."""

    name = "sport"

    def state(self) -> int:
        """Return the number of its present state; see `FSM`."""
        found = self.call(7001)
        return int(found["data"]) if isinstance(found, dict) and "data" in found else -1

    def act(self, action: str) -> None:
        """Change to a state of `FSM`, such as "damp" or "stand"."""
        try:
            self.call(7101, data=FSM[action])
        except ServiceError as error:
            if action != "stand" or error.code != NO_SUCH_STATE:
                raise
            self.call(7101, data=OLDER_START)
