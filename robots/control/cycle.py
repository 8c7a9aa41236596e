"""The control cycle of a robot, without ROS and with time passed in.

Each cycle has two halves. `sense` reads the robot and its motors; `act` passes the newest command through the safety
chain to the driver. Between them the caller publishes the state and receives commands. Both halves return what there is
to publish and to log.
"""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import cast

import numpy as np

from waldo.errors import HardwareError, InvalidValueError, UnsupportedOptionError
from waldo.robots.control.arbiter import Arbiter, Source
from waldo.robots.control.components import (
    ComponentMonitor,
    camera_status,
    control_status,
    governor_status,
    merge_faults,
)
from waldo.robots.control.motor_alarms import MotorAlarms
from waldo.robots.control.safety import RELEASED, Mode, SafetyChain, SafetyConfig
from waldo.robots.diagnostics import WARN, ComponentStatus
from waldo.robots.driver import CameraMonitor, Driver, Frame, MotorSensors, RobotState, SimulatedDriver
from waldo.robots.event import Event
from waldo.robots.motor_readings import MotorReadings
from waldo.robots.thermal.monitor import HeatMonitor, MonitorConfig
from waldo.robots.thermal.rest_pose import RestPoseAdvisor
from waldo.typing import Array

CONTROL_HZ = 60
"""Rate of the control cycle of a simulation, and the default of a real robot [1/s]."""

MOTOR_HZ = 10
"""Rate at which the motors are read and their heat is monitored [1/s]."""

RECONNECT_S = 1.0
"""Interval between two attempts to reconnect to a robot [s]."""

RECORDER_TIMEOUT_S = 5.0
"""Time after which a silent recorder is assumed to have stopped [s]."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CycleConfig:
    """Options of a control cycle."""

    rate_hz: int = CONTROL_HZ
    """Control cycles per second; a simulation has a fixed rate."""
    seed: int = 0
    """Seed of the first simulated world; each reset uses the next one."""
    safety: SafetyConfig = field(default_factory=SafetyConfig)
    """Thresholds of the safety chain."""
    heat: MonitorConfig = field(default_factory=MonitorConfig)
    """Monitoring of the motors' heat, and the governor."""
    heat_state: Path | None = None
    """File that stores the motors' heat across restarts; None to start with cold motors."""

    def __post_init__(self) -> None:
        if not 20 <= self.rate_hz <= 1000:
            raise InvalidValueError("rate", self.rate_hz, "20 to 1000 cycles per second")


@dataclass(frozen=True, slots=True, kw_only=True)
class Sensed:
    """Result of `ControlCycle.sense`."""

    state: RobotState | None = None
    """The robot's state; None while it is disconnected."""
    environment: tuple[tuple[str, ...], Array] | None = None
    """Names and values of a simulation's ground truth."""
    frames: Sequence[Frame] = ()
    """Camera images taken since the last cycle, with stamps in the clock of the state."""
    readings: MotorReadings | None = None
    """Motor readings, in the cycles in which the motors are read."""
    events: Sequence[Event] = ()
    """Events for the log."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Acted:
    """Result of `ControlCycle.act`."""

    stamp_ns: int
    """Stamp of the state that the command answers [ns]."""
    applied: Array
    """The applied command, shape (joints,) [rad or m]."""
    source: Source
    """Who controls the robot."""
    statuses: Sequence[ComponentStatus] = ()
    """Statuses of all components, on each change and once per second; otherwise empty."""
    events: Sequence[Event] = ()
    """Events for the log."""


class ControlCycle:
    """A driver, its safety chain and its heat monitor, and the reconnection of a robot that disconnects.

    Times: `now_ns` is the system clock [ns since the epoch], `monotonic_s` a clock that never goes back [s]. With
    `simulated_time` the stamps of the driver's states are the clock of commands and states.
    """

    def __init__(
        self,
        driver: Driver,
        config: CycleConfig | None = None,
        *,
        simulated_time: bool = False,
        monitors: Sequence[CameraMonitor] = (),
    ) -> None:
        """Start holding; the driver must be connected. `monitors` report camera faults beside the driver's own."""
        self.driver, self.config = driver, config or CycleConfig()
        self.robot = driver.robot
        self.simulated = driver if isinstance(driver, SimulatedDriver) else None
        if simulated_time and self.simulated is None:
            raise UnsupportedOptionError("--lockstep", "a real robot", do="leave it out")
        if self.simulated is not None and self.config.rate_hz != CONTROL_HZ:
            raise UnsupportedOptionError("--rate", "a simulation", do=f"leave it out; the rate is {CONTROL_HZ} Hz")
        self.state = driver.read()
        """The last state."""
        self.safety = SafetyChain(self.robot, self.config.safety)
        self._arbiter = Arbiter()
        self.safety.reset(self.state.position)
        self.serials = [f"{self.robot.name}-{i}" for i in range(len(self.robot.joints))]
        self.heat = HeatMonitor(self.robot, self.config.heat, serials=self.serials, state=self.config.heat_state)
        self.world_reset = False
        """Whether the world was reset after the last state was read."""
        self._simulated_time = simulated_time
        self._monitors = [*monitors, *([driver] if isinstance(driver, CameraMonitor) else [])]
        self._period_s = 1 / self.config.rate_hz
        self._motor_cycles = round(self.config.rate_hz / MOTOR_HZ)
        self._seed, self._cycle = self.config.seed, 0
        self._epoch_ns = 0
        self._disconnected_s: float | None = None
        self._motors_s: float | None = None
        self._acted_s: float | None = None
        self._recorder_s = -np.inf
        self._headroom: Array = np.full(len(self.robot.joints), np.nan)
        self._components = ComponentMonitor(self.config.rate_hz)
        self._alarms = MotorAlarms(self.robot.joint_names)
        self._rest, self._rested = RestPoseAdvisor(self.robot), True
        self._events: list[Event] = []

    # requests

    def command(
        self,
        names: Sequence[str],
        positions: Sequence[float],
        now_ns: int,
        source_ns: int | None,
        frame_id: str = "",
    ) -> None:
        """Accept a command of a person or a policy; see `Arbiter` and `SafetyChain.command`."""
        before = self._arbiter.source
        reason = self._arbiter.admit(frame_id, names)
        if reason is None:
            return
        if names and self._arbiter.source is not before:
            self.safety.disengage()
        self.safety.command(names, positions, self._clock_ns(now_ns), source_ns, release_reason=reason or RELEASED)

    def enable(self) -> None:
        """End a stop; the next command is followed, whatever its source."""
        self._arbiter.release()
        self.safety.enable()

    @property
    def source(self) -> Source:
        """Who controls the robot in this cycle."""
        return self._arbiter.source if self.safety.status.mode is Mode.FOLLOWING else Source.HOLD

    def set_recorder_state(self, *, recording: bool, monotonic_s: float) -> None:
        """Store the recorder's state: the heat of episodes and of pauses is learned separately."""
        self.heat.recording, self._recorder_s = recording, monotonic_s

    def reset_world(self) -> int:
        """Reset a simulation to the next seed and return the seed."""
        simulated = cast("SimulatedDriver", self.simulated)
        self._seed += 1
        moved = simulated.reset(self._seed)
        self.world_reset = True
        self._arbiter.release()
        if moved:
            self.safety.reset(simulated.read().position)
        return self._seed

    def restore_heat(self, now_ns: int) -> list[Event]:
        """Restore the motors' heat from its file and return the outcome."""
        text = self.heat.restore(now_ns)
        return [Event(f"motor heat: {text}")] if text else []

    def save_heat(self, now_ns: int) -> None:
        """Save the motors' heat to its file."""
        self.heat.save(now_ns)

    # sensing

    def sense(self, now_ns: int, monotonic_s: float) -> Sensed:
        """Read the robot; a disconnected one is reconnected first, at intervals."""
        if self._disconnected_s is not None and not self._reconnect(self._disconnected_s, monotonic_s):
            return Sensed()
        try:
            self.state = self._read(now_ns)
            environment = None if self.simulated is None else self.simulated.environment()
            frames = self._frames()
            readings = self._read_motors(now_ns, monotonic_s)
        except HardwareError as error:
            self._disconnect(error, monotonic_s)
            return Sensed(events=self._pop_events())
        return Sensed(
            state=self.state, environment=environment, frames=frames, readings=readings, events=self._pop_events()
        )

    def _clock_ns(self, now_ns: int) -> int:
        return self.state.stamp_ns if self._simulated_time else now_ns

    def _read(self, now_ns: int) -> RobotState:
        """Return the driver's state; a simulation in real time counts from 0 and is stamped with the present."""
        state = self.driver.read()
        if self.simulated is None or self._simulated_time:
            return state
        self._epoch_ns = now_ns - state.stamp_ns
        return dataclasses.replace(state, stamp_ns=now_ns)

    def _frames(self) -> list[Frame]:
        return [
            dataclasses.replace(frame, stamp_ns=frame.stamp_ns + self._epoch_ns) if self._epoch_ns else frame
            for frame in self.driver.frames()
        ]

    def _read_motors(self, now_ns: int, monotonic_s: float) -> MotorReadings | None:
        if self._cycle % self._motor_cycles:
            return None
        sensors = self.driver.motors()
        self.safety.handle_disabled_motors(sensors.disabled, sensors.faults)
        self.heat.recording &= monotonic_s - self._recorder_s < RECORDER_TIMEOUT_S
        readings = self._update_heat(sensors, now_ns, monotonic_s)
        self._events += self._alarms.update(readings)
        self._advise_rest()
        return readings

    def _update_heat(self, sensors: MotorSensors, now_ns: int, monotonic_s: float) -> MotorReadings:
        readings = self.heat.step(sensors, self.state.velocity, self._motor_interval_s(monotonic_s), now_ns)
        self._headroom = readings.limit_c - readings.winding_c
        return readings

    def _motor_interval_s(self, monotonic_s: float) -> float:
        """Return the time since the motors were last read [s]; the cycles of a real robot vary in length."""
        last_s, self._motors_s = self._motors_s, monotonic_s
        nominal = last_s is None or self.simulated is not None
        return self._motor_cycles * self._period_s if nominal else monotonic_s - last_s

    def _advise_rest(self) -> None:
        """Report how many episodes fit, and a rest pose each time that rest is needed."""
        needed = self.heat.derating is not None and self.heat.derating.needs_rest
        if needed and self._rested:
            self._rest.request(self.state.position, self._headroom)
        self._rested = not needed
        self._events += [Event(text) for text in (self.heat.pop_episode_message(), self._rest.pop_message()) if text]

    # connection

    def _disconnect(self, error: HardwareError, monotonic_s: float) -> None:
        """Stop until the operator enables the robot; until it reconnects its own drives decide how it behaves."""
        self.safety.stop(f"robot disconnected: {error}")
        self._disconnected_s = monotonic_s

    def _reconnect(self, since_s: float, monotonic_s: float) -> bool:
        """Try to reconnect once the interval has passed; return whether the robot is connected."""
        if monotonic_s - since_s < RECONNECT_S:
            return False
        try:
            # The old connection may still have a thread that commands the robot.
            with contextlib.suppress(HardwareError):
                self.driver.disconnect()
            self.driver.connect()
            self.safety.reset(self.driver.read().position)
        except HardwareError:
            self._disconnected_s = monotonic_s
            return False
        self._disconnected_s = None
        self._events.append(Event("robot reconnected; press v at the recorder or at teleop to continue", WARN))
        return True

    # acting

    def act(self, now_ns: int, monotonic_s: float) -> Acted:
        """Pass the newest command through the safety chain to the driver, and advance a simulation."""
        state = self.state
        if self.world_reset:
            self.world_reset = False
            state = self._read(now_ns)
        speed_ratio = 1.0 if self.heat.derating is None else self.heat.derating.speed_ratio
        applied = self.safety.step(
            self._clock_ns(now_ns),
            state.position,
            state.stamp_ns,
            self._headroom,
            self._elapsed_s(monotonic_s),
            speed_ratio=speed_ratio,
        )
        if self._disconnected_s is None:
            try:
                applied = self.driver.write(applied)
            except HardwareError as error:
                self._disconnect(error, monotonic_s)
        statuses = self._update_status()
        if self.simulated is not None:
            self.simulated.advance()
        self._cycle += 1
        return Acted(
            stamp_ns=state.stamp_ns,
            applied=applied,
            source=self.source,
            statuses=statuses,
            events=self._pop_events(),
        )

    def _elapsed_s(self, monotonic_s: float) -> float:
        """Return the time since the last command [s], within half and two cycles; a simulation's cycles are equal."""
        last_s, self._acted_s = self._acted_s, monotonic_s
        if last_s is None or self.simulated is not None:
            return self._period_s
        return min(max(monotonic_s - last_s, self._period_s / 2), self._period_s * 2)

    def statuses(self) -> list[ComponentStatus]:
        """Return the present status of every component."""
        found = [control_status(self.safety.status, self.config.rate_hz)]
        if self.heat.governor is not None:
            found.append(governor_status(self.heat.governor, self.robot.joint_names))
        faults = merge_faults([monitor.camera_faults() for monitor in self._monitors])
        return found + [camera_status(camera.name, faults.get(camera.name, "")) for camera in self.robot.cameras]

    def _update_status(self) -> Sequence[ComponentStatus]:
        for monitor in self._monitors:
            self._events += monitor.events()
        statuses = self.statuses()
        due, events = self._components.update(statuses)
        self._events += events
        return statuses if due else ()

    def _pop_events(self) -> list[Event]:
        events, self._events = self._events, []
        return events
