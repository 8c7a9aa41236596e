"""Driver for Unitree robots (G1, H1-2, Go2, H1) over DDS: `rt/lowstate` in, `rt/lowcmd` or `rt/arm_sdk` out.

Sources: https://github.com/unitreerobotics/unitree_sdk2_python (example/g1/low_level: mode_pr, mode_machine) and
https://github.com/unitreerobotics/xr_teleoperate (arm_sdk). `rt/lowcmd` requires the robot's debug mode (remote:
L2+R2), `rt/arm_sdk` its motion service.
"""

from __future__ import annotations

import dataclasses
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import numpy as np

from waldo.errors import HardwareError, InvalidValueError, MissingOptionError, count
from waldo.robots.description import Robot
from waldo.robots.driver import Frame, MotorSensors, RobotState
from waldo.robots.drivers.bus_driver import torque_constants
from waldo.robots.drivers.dds import join_domain
from waldo.robots.drivers.options import TypedOptions, build_options, per_joint
from waldo.robots.drivers.unitree.motors import (
    ARM_SDK_WEIGHT,
    G1_MOTORS,
    GO_MOTORS,
    HG_MOTORS,
    MOTOR_INDICES,
    default_gains,
    fault_text,
)
from waldo.robots.drivers.unitree.winding import WindingFinder
from waldo.typing import Array


@dataclass(frozen=True, slots=True, kw_only=True)
class UnitreeOptions(TypedOptions):
    """Options of the `unitree` driver. Tuples contain one value per joint, or a single one for all joints."""

    interface: str = ""
    """Network interface to the robot: eth0, lo, ...; chosen by Cyclone DDS by default."""
    domain: int = 0
    """DDS domain; 0 on the robots."""
    family: Literal["hg", "go"] = "hg"
    """Message family: hg for G1 and H1-2; go for Go2, B2 and H1."""
    command_topic: str = "rt/lowcmd"
    """rt/lowcmd: waldo alone drives every motor. rt/arm_sdk: the robot's own controller stands and walks."""
    state_topic: str = "rt/lowstate"
    """Topic of the robot's state."""
    motor_indices: tuple[int, ...] = ()
    """Index of each joint's motor in a message; by default from the joint's name (G1, Go2)."""
    kp: tuple[float, ...] = ()
    """Stiffness [N·m/rad]; by default 80, wrists 40, waist 300 for the G1 (xr_teleoperate), 40 otherwise."""
    kd: tuple[float, ...] = ()
    """Damping [N·m·s/rad]; by default 3, wrists 1.5 for the G1 (xr_teleoperate), 1 otherwise."""
    mode_pr: int = 0
    """0: ankles and waist in pitch and roll. 1: in the angles of their motors A and B."""
    unused_motors: Literal["hold", "damp", "off"] = "hold"
    """Command on rt/lowcmd for motors without a joint: hold their position, damp their motion, or no torque."""
    winding_sensor: Literal["auto", "first", "second"] = "auto"
    """Which of the two temperatures is that of the winding; auto infers it. Family go has one: first, or auto."""
    other_sensor: Literal["housing", "driver"] = "housing"
    """Location of the other temperature, and of the only one of family go unless it is that of the winding."""
    rate_hz: float = 250.0
    """Rate at which the last command is repeated [Hz]."""
    check_crc: bool = True
    """Reject states with a wrong checksum (family hg)."""
    on_close: Literal["hold", "release"] = "hold"
    """Last command: hold the position, or disable the torque, upon which the arms fall."""
    max_staleness_s: float = 0.25
    """Age of the last change of the state at which reading fails [s]."""
    connect_timeout_s: float = 5.0
    """Longest wait for the first state when connecting [s]."""

    def __post_init__(self) -> None:
        """Raise InvalidValueError for a value that cannot be used."""
        TypedOptions.__post_init__(self)
        self.require_positive("rate_hz", "max_staleness_s", "connect_timeout_s")


def empty_command(family: str) -> Any:
    """Return a LowCmd of a family that disables every motor."""
    from waldo.robots.drivers.unitree import idl as idl

    if family == "hg":
        off = [idl.HgMotorCmd(0, 0.0, 0.0, 0.0, 0.0, 0.0, 0) for _ in range(HG_MOTORS)]
        return idl.HgLowCmd(0, 0, off, [0] * 4, 0)
    off = [idl.GoMotorCmd(0, 0.0, 0.0, 0.0, 0.0, 0.0, [0] * 3) for _ in range(GO_MOTORS)]
    # Head and level flag are those of example/go2/low_level.
    return idl.GoLowCmd(
        [0xFE, 0xEF], 0xFF, 0, [0] * 2, [0] * 2, 0, off, idl.GoBmsCmd(0, [0] * 3), [0] * 40, [0] * 12, [0] * 2, 0, 0, 0
    )


def message_types(family: str) -> tuple[Any, Any]:
    """Return the classes of LowState and LowCmd of a family."""
    from waldo.robots.drivers.unitree import idl as idl

    return (idl.HgLowState, idl.HgLowCmd) if family == "hg" else (idl.GoLowState, idl.GoLowCmd)


class UnitreeDriver:
    """A `Driver` for Unitree robots over DDS."""

    Options: ClassVar[type[UnitreeOptions]] = UnitreeOptions
    per_part: ClassVar[bool] = True
    """The driver is for the motors of the body; hands have drivers of their own."""

    def __init__(self, robot: Robot, **options: object) -> None:
        """Create a driver for a robot; `options` are the fields of `UnitreeOptions`.

        Raises:
            InvalidValueError: If a joint has no motor index, or two joints have the same one.
        """
        self.options = build_options(UnitreeOptions, options)
        # The robot's cameras are read by separate drivers.
        self.robot = robot = dataclasses.replace(robot, cameras=())
        names = robot.joint_names
        self.indices = per_joint("motor_indices", self.options.motor_indices, len(names), self._indices_by_name())
        """Motor index of each joint."""
        motors = HG_MOTORS if self.options.family == "hg" else GO_MOTORS
        if len(set(self.indices)) != len(names) or not all(0 <= i < motors for i in self.indices):
            raise InvalidValueError(
                "motor_indices", self.indices, f"a different index from 0 to {motors - 1} for each joint"
            )
        gains = [default_gains(name) for name in names]
        self.kp = per_joint("kp", self.options.kp, len(names), [kp for kp, _ in gains])
        self.kd = per_joint("kd", self.options.kd, len(names), [kd for _, kd in gains])
        self._torque_constant = torque_constants(robot)
        self.finder = WindingFinder()
        self.refused = 0
        """Number of states with a wrong checksum."""
        self._state: Any = None
        self._received_ns = self._sorted_ns = 0
        self._received_s = 0.0
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        self._participant: Any = None

    def _indices_by_name(self) -> Sequence[int]:
        """Return the motor index of each joint, if the options do not contain them."""
        if self.options.motor_indices:
            return ()
        if unknown := [name for name in self.robot.joint_names if name not in MOTOR_INDICES]:
            raise MissingOptionError(
                "--driver unitree",
                "the option motor_indices for joints other than those of the G1 and Go2",
                f"pass the motor index of each joint, including {', '.join(unknown)}",
            )
        return [MOTOR_INDICES[name] for name in self.robot.joint_names]

    def connect(self) -> None:
        """Join the domain, wait for the robot's state, and hold the present position.

        Raises:
            HardwareError: If the domain cannot be joined, or the robot publishes no valid state.
        """
        from cyclonedds.core import Listener
        from cyclonedds.pub import DataWriter
        from cyclonedds.sub import DataReader
        from cyclonedds.topic import Topic

        options = self.options
        self._participant = join_domain(options.domain, options.interface)
        state_type, command_type = message_types(options.family)
        self._reader: Any = DataReader(self._participant, Topic(self._participant, options.state_topic, state_type))
        self._writer: Any = DataWriter(
            self._participant, Topic(self._participant, options.command_topic, command_type), listener=Listener()
        )
        deadline = time.monotonic() + options.connect_timeout_s
        while self._state is None:
            if time.monotonic() > deadline:
                self._close()
                raise HardwareError(self._no_state())
            self._receive()
            time.sleep(0.002)
        self._command = empty_command(options.family)
        self._prepare()
        self._set_targets(self._positions())
        self._stop.clear()
        self._thread = threading.Thread(target=self._repeat_command, name="unitree command", daemon=True)
        self._thread.start()

    def _no_state(self) -> str:
        """Return the message for a robot without a valid state."""
        options = self.options
        return (
            f"no valid state on {options.state_topic} in DDS domain {options.domain} on "
            f"{options.interface or 'any interface'} within {options.connect_timeout_s:g} s{self._checksum_text()}; "
            f"check that the robot is on, connected, and of the family {options.family}"
        )

    def _checksum_text(self) -> str:
        """Return how many states were rejected, for messages; empty if none was."""
        return f" ({self.refused} with a wrong checksum; check_crc=false accepts them)" if self.refused else ""

    def _prepare(self) -> None:
        """Set the fields that are the same in every command."""
        options, command = self.options, self._command
        if options.family == "hg":
            command.mode_pr = options.mode_pr
            command.mode_machine = self._state.mode_machine
        for i, motor in enumerate(command.motor_cmd):
            held = i not in self.indices and i < len(G1_MOTORS) and options.command_topic == "rt/lowcmd"
            if held and options.unused_motors != "off":
                motor.mode, motor.q = 1, float(self._state.motor_state[i].q)
                motor.kp, motor.kd = (60.0, 1.0) if options.unused_motors == "hold" else (0.0, 2.0)
        for i, kp, kd in zip(self.indices, self.kp, self.kd, strict=True):
            command.motor_cmd[i].mode, command.motor_cmd[i].kp, command.motor_cmd[i].kd = 1, float(kp), float(kd)
        if options.command_topic == "rt/arm_sdk":
            command.motor_cmd[ARM_SDK_WEIGHT].q = 1.0

    def _repeat_command(self) -> None:
        """Send the last command periodically, because the motors stop without commands."""
        from waldo.robots.drivers.unitree.crc import checksum

        while not self._stop.wait(1 / self.options.rate_hz):
            with self._lock:
                self._command.crc = checksum(self._command)
                self._writer.write(self._command)

    def _receive(self) -> None:
        """Store the newest state that differs from the last one and has a correct checksum."""
        from waldo.robots.drivers.unitree.crc import checksum

        for state in self._reader.take(16):
            if not hasattr(state, "motor_state"):
                continue
            checked = self.options.check_crc and self.options.family == "hg"
            if checked and state.crc != checksum(state):
                self.refused += 1
            elif self._state is None or state.tick != self._state.tick:
                self._state, self._received_ns, self._received_s = state, time.time_ns(), time.monotonic()

    def read(self) -> RobotState:
        """Return the newest state.

        Raises:
            HardwareError: If the state has not changed for `max_staleness_s`.
        """
        self._receive()
        if self._state is None:
            raise HardwareError("the robot has not been read yet; call connect() first")
        age_s = time.monotonic() - self._received_s
        if age_s > self.options.max_staleness_s:
            raise HardwareError(
                f"no new state on {self.options.state_topic} for {age_s:.2f} s{self._checksum_text()}; check that the "
                "robot is on and its cable plugged in"
            )
        motors = [self._state.motor_state[i] for i in self.indices]
        return RobotState(
            stamp_ns=self._received_ns,
            position=np.array([m.q for m in motors]),
            velocity=np.array([m.dq for m in motors]),
            effort=np.array([m.tau_est for m in motors]),
        )

    def _positions(self) -> Array:
        return np.array([self._state.motor_state[i].q for i in self.indices])

    def motors(self) -> MotorSensors:
        """Return the motors' sensors and faults; the options determine which temperature is that of the winding."""
        motors = [self._state.motor_state[i] for i in self.indices]
        torque = np.array([m.tau_est for m in motors])
        sensors = dataclasses.replace(
            MotorSensors.unknown(len(motors)), torque_nm=torque, current_a=torque / self._torque_constant
        )
        other = {"housing": "housing_c", "driver": "driver_c"}[self.options.other_sensor]
        if self.options.family == "go":
            only = "winding_c" if self.options.winding_sensor == "first" else other
            return dataclasses.replace(
                sensors,
                **{only: np.array([float(m.temperature) for m in motors])},
                voltage_v=np.full(len(motors), self._state.power_v),
                faults=tuple(f"{count(m.lost, 'frame')} lost" if m.lost else "" for m in motors),
            )
        both = np.array([m.temperature for m in motors], dtype=float)
        winding_c, other_c = self._sort(both)
        temperatures: dict[str, Any] = {"winding_c": winding_c, other: other_c}
        return dataclasses.replace(
            sensors,
            voltage_v=np.array([m.vol for m in motors]),
            faults=tuple(fault_text(m.motorstate) for m in motors),
            **temperatures,
        )

    def _sort(self, both: Array) -> tuple[Array, Array]:
        """Return the temperatures of the windings and of the other location [°C], each of shape (joints,).

        Args:
            both: Both temperatures of each motor, shape (joints, 2) [°C].
        """
        dt_s = (self._received_ns - self._sorted_ns) / 1e9 if self._sorted_ns else 0.0
        self._sorted_ns = self._received_ns
        self.finder.add(both, min(dt_s, 1.0))
        winding = {"first": 0, "second": 1, "auto": self.finder.winding}[self.options.winding_sensor]
        if winding is None:
            # The higher temperature is the safe choice until the winding has been identified.
            return both.max(axis=1), np.full(len(both), np.nan)
        return both[:, winding], both[:, 1 - winding]

    def write(self, targets: Array) -> Array:
        """Command position targets, shape (joints,) [rad]; return the applied targets, within the joint limits."""
        within = np.clip(np.asarray(targets, dtype=float), self.robot.lower, self.robot.upper)
        if not np.all(np.isfinite(within)):
            raise InvalidValueError("targets", targets, "finite numbers")
        self._set_targets(within)
        return within.astype(np.float32).astype(float)

    def _set_targets(self, targets: Array) -> None:
        with self._lock:
            for i, target in zip(self.indices, targets, strict=True):
                self._command.motor_cmd[i].q = float(target)

    def frames(self) -> Sequence[Frame]:
        """Return no frames: the robot's cameras are read by separate drivers."""
        return ()

    def disconnect(self) -> None:
        """Hold the position or disable the torque, according to `on_close`, and leave the domain."""
        from waldo.robots.drivers.unitree.crc import checksum

        thread, self._thread = self._thread, None
        if thread is None:
            return
        self._stop.set()
        thread.join(10)
        if self.options.on_close == "release":
            for motor in self._command.motor_cmd:
                motor.mode, motor.kp, motor.kd = 0, 0.0, 0.0
            if self.options.command_topic == "rt/arm_sdk":
                self._command.motor_cmd[ARM_SDK_WEIGHT].q = 0.0
        self._command.crc = checksum(self._command)
        self._writer.write(self._command)
        # Deleting the writer immediately could discard the sample.
        time.sleep(0.05)
        self._close()

    def _close(self) -> None:
        self._reader = self._writer = self._participant = None
        self._state = None
