"""One topic of states and one of commands over DDS, with the last command repeated from a thread of its own.

A sample of the state is newer than the last one if its sender counts it so; samples of two senders are never mixed.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from waldo.errors import HardwareError
from waldo.robots.drivers.dds import join_domain
from waldo.robots.drivers.options import TypedOptions

OTHERS_S = 0.1
"""Time in which the commands of another program are looked for before the first one is sent [s]."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ChannelOptions(TypedOptions):
    """Options of every driver over Unitree's topics."""

    interface: str = ""
    """Network interface to the robot: eth0, lo, ...; chosen by Cyclone DDS by default."""
    domain: int = 0
    """DDS domain; 0 on the robots, 1 in unitree_mujoco."""
    rate_hz: float = 250.0
    """Rate at which the last command is repeated [Hz]."""
    max_staleness_s: float = 0.25
    """Age of the last new state at which reading fails [s]."""
    connect_timeout_s: float = 5.0
    """Longest wait for the first state when connecting [s]."""

    def __post_init__(self) -> None:
        """Raise InvalidValueError for a value that cannot be used."""
        TypedOptions.__post_init__(self)
        self.require_positive("rate_hz", "max_staleness_s", "connect_timeout_s")


class Channel:
    """A topic of states and a topic of commands; state messages are of type `StateT`."""

    def __init__(self, options: ChannelOptions, states: tuple[str, Any], commands: tuple[str, Any]) -> None:
        """Prepare without joining the domain.

        Args:
            options: Domain, network interface and times.
            states: Name and type of the topic of states.
            commands: Name and type of the topic of commands.
        """
        self.options, self.states, self.commands = options, states, commands
        self.lock = threading.Lock()
        """Guards the command that is repeated."""
        self.state: Any = None
        """The newest accepted state; None before the first one."""
        self.received_ns = 0
        """Time at which it was received [ns since the epoch]."""
        self._received_s = 0.0
        self._sender: int | None = None
        self._failure: Exception | None = None
        """Why commands are not sent any more."""
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        self._participant: Any = None

    @property
    def is_open(self) -> bool:
        """Whether the channel has joined its domain."""
        return self._participant is not None

    def open(self, accepts: Callable[[Any], bool], refused: Callable[[], str]) -> None:
        """Join the domain and wait for the first state.

        Args:
            accepts: Whether a state is valid and newer than the last one, which it may compare with `self.state`.
            refused: Text on the states that were refused, for messages; empty if none was.

        Raises:
            HardwareError: If the domain cannot be joined, no state arrives, or another program sends commands.
        """
        from cyclonedds.core import Listener, Policy, Qos
        from cyclonedds.pub import DataWriter
        from cyclonedds.sub import DataReader
        from cyclonedds.topic import Topic

        options = self.options
        self._accepts, self._refused, self._failure = accepts, refused, None
        participant = self._participant = join_domain(options.domain, options.interface)
        deadline = time.monotonic() + options.connect_timeout_s
        try:
            self._reader: Any = DataReader(participant, Topic(participant, *self.states))
            commands = Topic(participant, *self.commands)
            self._others: Any = DataReader(participant, commands, qos=Qos(Policy.IgnoreLocal.Participant))
            self._writer: Any = DataWriter(participant, commands, listener=Listener())
            while self.state is None:
                if time.monotonic() > deadline:
                    raise HardwareError(
                        f"no valid state on {self.states[0]} in DDS domain {options.domain} on "
                        f"{options.interface or 'any interface'} within {options.connect_timeout_s:g} s{refused()}; "
                        "check that the robot is on and connected, and its type"
                    )
                self.receive()
                time.sleep(0.002)
            noticed = time.monotonic() + OTHERS_S
            while time.monotonic() < noticed:
                self.receive()
                time.sleep(0.002)
        except BaseException:
            self.close()
            raise

    def start(self, message: Callable[[], Any]) -> None:
        """Send `message()` periodically, because the motors stop without commands; it is called with the lock held."""
        self._stop.clear()

        def repeat() -> None:
            try:
                while not self._stop.wait(1 / self.options.rate_hz):
                    with self.lock:
                        self._writer.write(message())
            except Exception as error:
                # The next reading reports it: the motors stop without commands.
                self._failure = error

        self._thread = threading.Thread(target=repeat, name=f"{self.commands[0]} repeater", daemon=True)
        self._thread.start()

    @property
    def is_sending(self) -> bool:
        """Whether commands are being sent."""
        return self._thread is not None

    def finish(self, last: Callable[[], Any]) -> None:
        """Send `last()` as the last command instead of the repeated one, and leave the domain."""
        thread, self._thread = self._thread, None
        try:
            if thread is not None:
                self._stop.set()
                thread.join(10)
                self._writer.write(last())
                # Deleting the writer immediately could discard the sample.
                time.sleep(0.05)
        finally:
            self.close()

    def receive(self) -> None:
        """Keep the newest valid state that has arrived.

        Raises:
            HardwareError: If two programs publish the states, or another program sends commands.
        """
        for state in self._reader.take(64):
            if not hasattr(state, "__idl_typename__"):
                continue  # the end of a sender
            self._refuse_second_sender(state)
            if self._accepts(state):
                self.state, self.received_ns, self._received_s = state, time.time_ns(), time.monotonic()
                self._sender = state.sample_info.publication_handle
        if any(hasattr(one, "__idl_typename__") for one in self._others.take(64)):
            raise HardwareError(
                f"another program sends commands on {self.commands[0]}; stop it, or the robot's motion service, first"
            )

    def _refuse_second_sender(self, state: Any) -> None:
        """Raise HardwareError if this sample is from another sender than the last one, which is still sending."""
        if self._sender in (None, state.sample_info.publication_handle):
            return
        if time.monotonic() - self._received_s < self.options.max_staleness_s:
            raise HardwareError(
                f"two programs publish {self.states[0]} in DDS domain {self.options.domain}, such as a robot and a "
                "simulator; stop one of them, or select another domain"
            )

    @property
    def last(self) -> Any:
        """The last state.

        Raises:
            HardwareError: If there is none.
        """
        if self.state is None:
            raise HardwareError("the robot has not been read yet; call connect() first")
        return self.state

    def newest(self) -> Any:
        """Receive, and return the newest state.

        Raises:
            HardwareError: If there is no state, none has arrived for `max_staleness_s`, or sending has failed.
        """
        if not self.is_open:
            raise HardwareError("the robot has not been read yet; call connect() first")
        if self._failure is not None:
            raise HardwareError(
                f"sending on {self.commands[0]} failed ({self._failure}); connect again"
            ) from self._failure
        self.receive()
        age_s = time.monotonic() - self._received_s
        if age_s > self.options.max_staleness_s:
            raise HardwareError(
                f"no new state on {self.states[0]} for {age_s:.2f} s{self._refused()}; check that the robot is on and "
                "its cable plugged in"
            )
        return self.last

    def close(self) -> None:
        """Leave the domain."""
        self._reader = self._others = self._writer = self._participant = None
        self.state = self._sender = None
