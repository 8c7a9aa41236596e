"""The emulated services of a Unitree robot's own controller: `motion_switcher` and the G1's `sport`.

Sources: https://github.com/unitreerobotics/unitree_sdk2_python, unitree_sdk2py/rpc/server.py (frames and codes),
comm/motion_switcher and g1/loco (functions, states).
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

NOT_IMPLEMENTED, WRONG_PARAMETER, NOT_AVAILABLE, NO_SUCH_STATE = 3203, 3204, 7301, 7302
"""Result codes."""
ZERO_TORQUE, DAMP, STAND = 0, 1, 500
"""States of the G1's locomotion that the emulation distinguishes."""
STATES = {ZERO_TORQUE, DAMP, 2, 3, 4, 200, STAND, 501, 702, 706, 801}
"""States of the G1's locomotion; in those not named, the emulated robot stands."""

type Handler = Callable[[Mapping[str, Any]], tuple[int, Any]]
"""A function of a service: parameter -> result code and result."""


class EmulatedController:
    """The robot's own controller: which one is active, and in which state; the robot's thread calls its methods."""

    def __init__(self, active: str) -> None:
        """Start with a controller that is active, such as "ai"; empty for none."""
        self.active, self.fsm = active, STAND
        self.requests: list[tuple[str, int]] = []
        """Service and function of each request."""
        self._services: list[tuple[str, Any, Any, Mapping[int, Handler]]] = []

    @property
    def stiffness(self) -> float:
        """Fraction of the stiffness with which the controller holds the joints: 1 standing, 0 otherwise."""
        return 0.0 if self.fsm in (ZERO_TORQUE, DAMP) else 1.0

    @property
    def damping(self) -> float:
        """Fraction of the damping: 0 without torque, otherwise 1."""
        return 0.0 if self.fsm == ZERO_TORQUE else 1.0

    def open(self, participant: Any) -> None:
        """Open the topics of the services."""
        from cyclonedds.core import Policy, Qos
        from cyclonedds.pub import DataWriter
        from cyclonedds.sub import DataReader
        from cyclonedds.topic import Topic
        from cyclonedds.util import duration

        from waldo.robots.drivers.unitree.api_idl import Request, Response

        qos = Qos(Policy.History.KeepLast(10), Policy.Reliability.Reliable(duration(seconds=1)))
        for name, functions in (("motion_switcher", self._switcher()), ("sport", self._locomotion())):
            reader = DataReader(participant, Topic(participant, f"rt/api/{name}/request", Request), qos=qos)
            writer = DataWriter(participant, Topic(participant, f"rt/api/{name}/response", Response), qos=qos)
            self._services.append((name, reader, writer, functions))

    def serve(self) -> None:
        """Answer the requests that have arrived."""
        for name, reader, writer, functions in self._services:
            for request in reader.take(10):
                if hasattr(request, "parameter"):
                    self._answer(name, request, writer, functions)

    def _answer(self, name: str, request: Any, writer: Any, functions: Mapping[int, Handler]) -> None:
        from waldo.robots.drivers.unitree.api_idl import Response, ResponseHeader, Status

        function = request.header.identity.api_id
        self.requests.append((name, function))
        handler = functions.get(function)
        code, result = (NOT_IMPLEMENTED, None) if handler is None else _call(handler, request.parameter)
        if not request.header.policy.noreply:
            text = "" if result is None else json.dumps(result)
            writer.write(Response(ResponseHeader(request.header.identity, Status(code)), text, []))

    def _switcher(self) -> Mapping[int, Handler]:
        def check(_: Mapping[str, Any]) -> tuple[int, Any]:
            return 0, {"form": "0", "name": self.active}

        def select(parameter: Mapping[str, Any]) -> tuple[int, Any]:
            self.active, self.fsm = str(parameter["name"]), STAND
            return 0, None

        def release(_: Mapping[str, Any]) -> tuple[int, Any]:
            self.active = ""
            return 0, None

        return {1001: check, 1002: select, 1003: release}

    def _locomotion(self) -> Mapping[int, Handler]:
        def state(_: Mapping[str, Any]) -> tuple[int, Any]:
            return 0, {"data": self.fsm}

        def change(parameter: Mapping[str, Any]) -> tuple[int, Any]:
            if not self.active:
                return NOT_AVAILABLE, None
            if parameter["data"] not in STATES:
                return NO_SUCH_STATE, None
            self.fsm = int(parameter["data"])
            return 0, None

        def accept(_: Mapping[str, Any]) -> tuple[int, Any]:
            return (0, None) if self.active else (NOT_AVAILABLE, None)

        return {7001: state, 7101: change, **dict.fromkeys((7102, 7103, 7104, 7105, 7106), accept)}

    def close(self) -> None:
        """Close the topics."""
        self._services = []


def _call(handler: Handler, text: str) -> tuple[int, Any]:
    """Return the result of a function for a parameter as JSON."""
    try:
        return handler(json.loads(text))
    except (ValueError, KeyError, TypeError):
        return WRONG_PARAMETER, None
