"""The loop between a device and a robot: one command per cycle while the operator is engaged.

When the operator lets go, and when the loop ends, one command without joints is published; the robot then holds at
once. If the process dies instead, the robot's watchdog holds it. No ROS; messages and time pass through `Transport`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from waldo.collect.devices.device import Device, Observation, Session
from waldo.errors import WaldoError
from waldo.robots.diagnostics import ERROR, OK
from waldo.typing import Array

STATE_TIMEOUT_S = 10.0
"""Timeout for the robot's first state [s]."""

STALE_S = 0.5
"""Time without a new state after which the robot is not commanded [s]."""

FLUSH_S = 0.1
"""Time for the last command to leave this process [s]."""


class Transport(Protocol):
    """Messages and time, as the loop sees them."""

    @property
    def latest(self) -> Observation | None:
        """The newest observation; None before the first one."""
        ...

    def publish(self, targets: Array | None, stamp_ns: int) -> None:
        """Publish joint targets (joints,) [rad or m]; None publishes a command without joints."""
        ...

    def monotonic_s(self) -> float:
        """Return the time of a monotonic clock [s]."""
        ...

    def time_ns(self) -> int:
        """Return the wall time [ns since the epoch]."""
        ...

    def spin_for(self, seconds: float) -> None:
        """Process messages for a duration [s]."""
        ...

    def spin_until(self, condition: Callable[[], bool], timeout_s: float | None = None) -> bool:
        """Process messages until a condition holds; return False after the timeout."""
        ...


class TeleopLoop:
    """Runs a device against a transport, in real time or in lockstep with a simulation."""

    def __init__(
        self, device: Device, session: Session, transport: Transport, *, rate_hz: float, lockstep: bool = False
    ) -> None:
        """Initialize without opening the device.

        Args:
            device: The operator's device.
            session: The services that the device can call.
            transport: Messages and time.
            rate_hz: Commands per second; in lockstep, the simulation's control rate [Hz].
            lockstep: Whether to answer each state of a simulation, rather than follow the clock.
        """
        self._device, self._session, self._transport = device, session, transport
        self._period_s = 1 / rate_hz
        self._deadline_s: float | None = None
        self._next = self._next_in_lockstep if lockstep else self._next_in_real_time
        self._answered_ns = -1
        self._engaged = False
        self._newest_s = (-1, 0.0)
        self._stale = False

    def run(self, done: Callable[[], bool]) -> None:
        """Run until the device is finished or `done()`; always ends with a command without joints."""
        self._device.open()
        try:
            while not (done() or self._device.finished):
                if not self._next(done):
                    return
        finally:
            try:
                latest = self._transport.latest
                self._publish(None, 0 if latest is None else latest.stamp_ns)
                self._transport.spin_for(FLUSH_S)
            finally:
                self._device.close()

    def _next_in_lockstep(self, done: Callable[[], bool]) -> bool:
        """Answer the next state of the simulation; return False when `done()`."""
        self._transport.spin_until(lambda: done() or self._newest_ns() > self._answered_ns)
        latest = self._transport.latest
        if done() or latest is None:
            return False
        # The next state may arrive while the device calls a service, hence the stamp of the answered one.
        self._answered_ns = latest.stamp_ns
        self._publish(self._device.step(latest, self._session, self._period_s), latest.stamp_ns)
        return True

    def _newest_ns(self) -> int:
        latest = self._transport.latest
        return -1 if latest is None else latest.stamp_ns

    def _next_in_real_time(self, done: Callable[[], bool]) -> bool:
        """Command once and wait for the end of the cycle; return False when `done()`."""
        transport = self._transport
        if transport.latest is None:
            if not transport.spin_until(lambda: done() or transport.latest is not None, STATE_TIMEOUT_S):
                raise WaldoError(
                    f"no joint_states received for {STATE_TIMEOUT_S:.0f} s; check that the robot node runs in this "
                    "namespace and ROS domain"
                )
            return not done()
        if self._deadline_s is None:
            self._deadline_s = transport.monotonic_s()
        target = self._device.step(transport.latest, self._session, self._period_s)
        if self._is_stale(transport.latest.stamp_ns):
            target = None
        if target is not None or self._engaged:
            self._publish(target, transport.time_ns())
        # Deadlines are a period apart, so the duration of a cycle does not slow the rate; missed ones are skipped.
        now_s = transport.monotonic_s()
        self._deadline_s = max(self._deadline_s + self._period_s, now_s)
        transport.spin_for(self._deadline_s - now_s)
        return True

    def _is_stale(self, stamp_ns: int) -> bool:
        """Return whether the robot has sent no state for too long, and report each change."""
        now_s = self._transport.monotonic_s()
        if stamp_ns != self._newest_s[0]:
            self._newest_s = (stamp_ns, now_s)
        stale = now_s - self._newest_s[1] > STALE_S
        if stale != self._stale:
            self._stale = stale
            text = "the robot sends no state: check that waldo robot is running" if stale else "the robot is back"
            self._session.notify(text, ERROR if stale else OK)
        return stale

    def _publish(self, target: Array | None, stamp_ns: int) -> None:
        self._engaged = target is not None
        self._transport.publish(target, stamp_ns)
