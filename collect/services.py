"""Clients of the services that an operator can call on the recorder and the robot."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import TYPE_CHECKING, Any

from waldo.collect.devices.device import ServiceResponse
from waldo.collect.notice import Notice
from waldo.robots.diagnostics import OK, WARN

if TYPE_CHECKING:
    from waldo.ros import Graph

SERVICE_TIMEOUT_S = 60.0
"""Timeout of a service [s]; long, because a busy machine may respond late."""

SERVICES: Mapping[str, str] = {
    **dict.fromkeys(("start", "stop", "save", "fail", "keep", "discard", "undo"), "recorder"),
    **dict.fromkeys(("enable", "stop_motion", "reset", "task_done"), "robot"),
}
"""Service -> the node that offers it."""


class Services:
    """The Session of a device on the ROS graph."""

    def __init__(
        self,
        graph: Graph,
        settled: Callable[[], bool],
        notify: Callable[[Notice], None],
        *,
        nodes: Collection[str] = ("recorder", "robot"),
    ) -> None:
        """Create the clients.

        Args:
            graph: The node on the ROS graph.
            settled: Whether the simulated clock has reached the latest observation; always true in real time.
            notify: Shows a notice to the operator.
            nodes: Nodes whose services are needed.
        """
        from std_srvs.srv import SetBool, Trigger

        self._graph, self._settled, self._notify = graph, settled, notify
        self._set_bool, self._trigger = SetBool, Trigger
        self._clients: dict[str, Any] = {
            name: graph.node.create_client(SetBool if name == "enable" else Trigger, f"{node}/{name}")
            for name, node in SERVICES.items()
            if node in nodes
        }

    def _request_of(self, name: str) -> Any:
        return self._set_bool.Request(data=True) if name == "enable" else self._trigger.Request()

    def call(self, name: str) -> ServiceResponse:
        """Call a service once everything up to the latest observation was received, and wait for its response."""
        if not self._graph.spin_until(self._settled, SERVICE_TIMEOUT_S):
            return ServiceResponse(False, "the simulated clock does not advance; check that the recorder is running")
        response = self._graph.call(self._clients[name], self._request_of(name), SERVICE_TIMEOUT_S)
        if response is None:
            node = SERVICES[name]
            return ServiceResponse(
                False, f"no response from {node}/{name} for {SERVICE_TIMEOUT_S:g} s; check that the {node} is running"
            )
        return ServiceResponse(response.success, response.message)

    def request(self, name: str) -> None:
        """Call a service; its response is shown when it arrives."""
        client = self._clients[name]
        if not client.service_is_ready():
            self._notify(Notice(level=WARN, text=f"{name}: the {SERVICES[name]} is not running"))
            return
        client.call_async(self._request_of(name)).add_done_callback(lambda future: self._show(name, future.result()))

    def _show(self, name: str, response: Any) -> None:
        outcome = "ok" if response.success else "refused"
        text = f"{name}: {outcome} {response.message}".strip()
        self._notify(Notice(level=OK if response.success else WARN, text=text, confirmation=True))

    def notify(self, text: str, level: int = OK) -> None:
        """Show a line of text to the operator."""
        self._notify(Notice(level=level, text=text, confirmation=True))
