"""Runs a guided experiment through a robot's control cycle, so that limits, watchdog and governor apply.

The other joints move to the requested pose and stay there. Time comes from a `Clock`, so tests run without one. When
the experiment ends, for whatever reason, control is released and the robot holds its position.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np

from waldo.errors import InvalidValueError, UnknownNameError, WaldoError
from waldo.robots.control.cycle import MOTOR_HZ, ControlCycle
from waldo.robots.control.safety import Mode
from waldo.robots.description import Robot
from waldo.robots.event import Event
from waldo.robots.guided.program import MOVE_RAD_S, GuidedConfig, Measured, Program
from waldo.robots.guided.record import HeatRecord, Run
from waldo.robots.motor_readings import MotorReadings

SAVE_EVERY_S = 10.0
"""Interval of saving: the measurements that a crash loses [s]."""

REFUSED_S = 10.0
"""Time for which the safety chain may hold, such as while the robot is slowed down, before the experiment ends [s]."""

SILENT_S = 5.0
"""Time after which a motor that reports no current or no temperature ends the experiment [s]."""


class ExperimentStoppedError(WaldoError):
    """An experiment that could not continue; what was measured is saved."""

    def __init__(self, joint: str, reason: str) -> None:
        """Build the message from the joint and the reason."""
        super().__init__(
            f"the experiment with {joint} stopped: {reason}; remove the cause and run it again to continue"
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Clock:
    """The clocks of a real robot, or those of a simulation."""

    now_ns: Callable[[], int] = time.time_ns
    """Return the system time [ns since the epoch]."""
    monotonic_s: Callable[[], float] = time.monotonic
    """Return the time of a clock that never goes back [s]."""
    sleep: Callable[[float], None] = time.sleep
    """Wait for a time [s]."""


class GuidedExperiment:
    """A guided experiment with one joint of a robot."""

    def __init__(
        self,
        cycle: ControlCycle,
        joint: str,
        config: GuidedConfig,
        record: HeatRecord,
        *,
        pose: Mapping[str, float] = MappingProxyType({}),
        save: Callable[[HeatRecord], None] = lambda record: None,
        log: Callable[[Event], None] = lambda event: None,
        clock: Clock | None = None,
    ) -> None:
        """Prepare the program around the joint's position in `pose`, or its present one.

        Args:
            cycle: The robot's control cycle; the driver must be connected.
            joint: Name of the joint.
            config: Limits of the experiment.
            record: Record that the measurements are added to.
            pose: Joint name -> position [rad] that is approached slowly before the program, and held by the others.
            save: Called with the record every few seconds and at the end.
            log: Called with each event of the robot, such as a fault of a motor.
            clock: Clocks; those of the machine by default.
        """
        self.cycle, self.record, self.clock, self._save = cycle, record, clock or Clock(), save
        self._log = log
        self.index = cycle.robot.joint_names.index(joint)
        self.joint = cycle.robot.joints[self.index]
        motor = self.joint.motor
        for constant in ("resistance_ohm", "torque_constant_nm_per_a"):
            motor.need(constant, "an experiment")
        limit_c = motor.need("winding_limit_c", "an experiment")
        self._pose = {name: _within_limits(cycle.robot, name, position) for name, position in pose.items()}
        present = dict(zip(cycle.robot.joint_names, cycle.state.position.tolist(), strict=True))
        self._targets = {name: present[name] for name in self._pose}
        """Commanded positions of the joints of the pose [rad]."""
        self.program = Program(self.joint, config, self._pose.get(joint, present[joint]), limit_c)
        self.motor_c = math.nan
        """Highest known temperature of the motor [°C]."""
        self._readings: MotorReadings | None = None
        self._read_s: float | None = None
        self._following_s = self._current_s = 0.0

    def run(self, finished: Callable[[], bool], advance: Callable[[GuidedExperiment], None] = lambda _: None) -> bool:
        """Run the program and return whether it was completed; `finished` ends it early.

        Args:
            finished: Called once per cycle.
            advance: Called with the experiment each time the motors were read.

        Raises:
            ExperimentStoppedError: If the robot does not follow, disconnects, or reports no current.
        """
        clock, period_s = self.clock, 1 / self.cycle.config.rate_hz
        run = Run(start_ns=clock.now_ns())
        self.record.runs.append(run)
        self._following_s = self._current_s = due_s = saved_s = clock.monotonic_s()
        try:
            while not finished():
                now_s = clock.monotonic_s()
                if not self._cycle(run, period_s, now_s, advance):
                    return True
                if now_s - saved_s >= SAVE_EVERY_S:
                    saved_s = now_s
                    self._save(self.record)
                due_s = max(due_s + period_s, now_s)
                if self.cycle.simulated is None:
                    clock.sleep(max(0.0, due_s - clock.monotonic_s()))
            return False
        finally:
            self._release()
            self._save(self.record)

    def _cycle(self, run: Run, period_s: float, now_s: float, advance: Callable[[GuidedExperiment], None]) -> bool:
        """Run one control cycle; return whether the program continues."""
        cycle, clock, program = self.cycle, self.clock, self.program
        sensed = cycle.sense(clock.now_ns(), now_s)
        self._log_all(sensed.events)
        if sensed.state is None:
            cycle.act(clock.now_ns(), now_s)  # The reason is known after the safety chain has acted.
            raise ExperimentStoppedError(self.joint.name, cycle.safety.status.reason)
        if sensed.readings is not None:
            self._measure(sensed.readings, run, now_s)
            advance(self)
        if not self._approach(period_s):
            torque = math.nan if self._readings is None else float(self._readings.torque_nm[self.index])
            position = float(sensed.state.position[self.index])
            target = program.step(Measured(position=position, torque_nm=torque, motor_c=self.motor_c), period_s)
            if target is None:
                return False
            self._targets[self.joint.name] = target
        now_ns = clock.now_ns()
        cycle.command(list(self._targets), list(self._targets.values()), now_ns, now_ns)
        self._log_all(cycle.act(now_ns, now_s).events)
        self._check_following(now_s)
        return True

    def _log_all(self, events: Iterable[Event]) -> None:
        for event in events:
            self._log(event)

    def _approach(self, period_s: float) -> bool:
        """Move the targets one step towards the pose; return whether they were not there yet."""
        if self._pose == {}:
            return False
        step, far = MOVE_RAD_S * period_s, False
        for name, goal in self._pose.items():
            distance = goal - self._targets[name]
            far |= abs(distance) > step
            self._targets[name] += min(max(distance, -step), step)
        if not far:
            self._pose = {}
        return far

    def _measure(self, readings: MotorReadings, run: Run, now_s: float) -> None:
        """Add the readings of the motor to the record."""
        self._readings, i = readings, self.index
        temperatures = tuple(
            float(c[i]) for c in (readings.winding_sensor_c, readings.housing_sensor_c, readings.driver_sensor_c)
        )
        sensed = [c for c in temperatures if math.isfinite(c)]
        # The estimate rests on the constants that are to be found, so it is no substitute for a sensor.
        self.motor_c = max((c for c in (float(readings.winding_c[i]), *sensed) if math.isfinite(c)), default=math.nan)
        current = float(readings.current_a[i])
        if not (sensed and math.isfinite(current)):
            if now_s - self._current_s > SILENT_S:
                missing = "current" if sensed else "temperature"
                raise ExperimentStoppedError(self.joint.name, f"its motor reports no {missing}")
            return
        self._current_s = now_s
        if self._read_s is not None:
            velocity = self.cycle.state.velocity
            all_currents = np.where(np.isfinite(readings.current_a), readings.current_a, 0.0)
            load = self.cycle.heat.losses.load(all_currents, velocity)
            stage = "" if self.program.stage is None else self.program.stage.value
            losses = (float(load.copper_w[i]), float(load.other_w[i]))
            # A simulation has a time of its own, which advances by the same amount between two readings.
            interval_s = now_s - self._read_s if self.cycle.simulated is None else 1 / MOTOR_HZ
            run.add(losses, temperatures, stage, interval_s)
        self._read_s = now_s

    def _check_following(self, now_s: float) -> None:
        """Raise if the safety chain has not followed for a while."""
        status = self.cycle.safety.status
        if status.mode is Mode.FOLLOWING:
            self._following_s = now_s
        elif status.mode is Mode.STOPPED or now_s - self._following_s > REFUSED_S:
            raise ExperimentStoppedError(self.joint.name, f"the robot is {status}")

    def _release(self) -> None:
        """Release control: the robot holds its position."""
        now_ns = self.clock.now_ns()
        self.cycle.command([], [], now_ns, now_ns)
        self.cycle.act(now_ns, self.clock.monotonic_s())


def _within_limits(robot: Robot, name: str, position: float) -> float:
    """Return a position of a pose [rad], or raise if the robot cannot have it."""
    if name not in robot.joint_names:
        raise UnknownNameError("joint", name, robot.joint_names)
    joint = robot.joints[robot.joint_names.index(name)]
    if not joint.lower <= position <= joint.upper:
        raise InvalidValueError(f"pose of {name}", position, f"{joint.lower:g} to {joint.upper:g}")
    return position
