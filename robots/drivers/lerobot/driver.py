"""Driver for any robot that LeRobot supports, with its cameras and the temperatures that its motors report."""

from __future__ import annotations

import contextlib
import dataclasses
import time
from collections.abc import Generator, Iterable, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from waldo.errors import HardwareError, InvalidValueError
from waldo.robots.description import Robot
from waldo.robots.driver import Frame, MotorSensors, RobotState
from waldo.robots.drivers.lerobot.bus import motor_buses
from waldo.robots.drivers.lerobot.units import Unit, Units, make_device
from waldo.robots.drivers.options import TypedOptions, build_options, per_joint
from waldo.typing import Array

AMPERES_PER_COUNT = {
    **dict.fromkeys(("sts3215", "sts3250", "sm8512bl"), 0.0065),
    **dict.fromkeys(("xl330-m077", "xl330-m288"), 0.001),
    **dict.fromkeys(("xm430-w350", "xm540-w270"), 0.00269),
}
"""LeRobot's name of a servo model -> unit of its current [A].

Sources: Feetech STS memory table, register 69; ROBOTIS e-Manual, register 126 (XL430 and XC430 report a load there)."""

SENSOR_REGISTERS = {
    "Present_Temperature": "driver_c",
    "Present_Current": "current_a",
    "Present_Voltage": "voltage_v",
    "Present_Input_Voltage": "voltage_v",
}
"""Register of a servo -> field of `MotorSensors`."""
CONNECT_ATTEMPTS = 3
"""Number of times that LeRobot connects if a response is lost."""
SENSOR_ATTEMPTS = 3
"""Failed readings of the sensors in a row after which the robot counts as disconnected."""
FAULT_REGISTERS = ("Status", "Hardware_Error_Status")
"""Register with the faults of a Feetech and of a Dynamixel servo."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LeRobotOptions(TypedOptions):
    """Options of the `lerobot` driver."""

    type: str = "so101_follower"
    """LeRobot's registered name of the robot: so101_follower, openarm_follower, ..., or that of a plug-in."""
    id: str = ""
    """Id under which LeRobot stores the robot's calibration."""
    port: str = ""
    """Port of the robot, if it has one."""
    config: str = ""
    """Further configuration as JSON: {"cameras": {"front": {"type": "opencv", "index_or_path": 0, ...}}}."""
    joint_names: tuple[str, ...] = ()
    """LeRobot's name of each joint, in the order of the robot's joints; the same names by default."""
    units: tuple[Unit, ...] = ()
    """Unit of each joint of a robot without a motor bus: degrees (the default), radians, millimeters, meters or
    percent; one for all joints, or one each."""
    sensor_period_s: float = 1.0
    """Period at which temperatures, currents, voltages and faults are read [s]; each needs a bus transfer."""


def _connect(device: Any) -> None:
    """Connect LeRobot's robot without calibrating it, again if one response of a motor was lost.

    While connecting, LeRobot writes each register once; a single lost response ends it.
    """
    for attempt in range(CONNECT_ATTEMPTS):
        try:
            return device.connect(calibrate=False)
        except ConnectionError as error:
            if attempt == CONNECT_ATTEMPTS - 1 or "status packet" not in str(error):
                raise
            for bus in motor_buses(device).values():
                with contextlib.suppress(ConnectionError):
                    bus.disconnect(disable_torque=False)
    return None


class LeRobotDriver:
    """A `Driver` for a `lerobot.robots.Robot`."""

    Options: ClassVar[type[LeRobotOptions]] = LeRobotOptions

    def __init__(self, robot: Robot, **options: object) -> None:
        """Create a driver for a robot; `options` are the fields of `LeRobotOptions`."""
        self.options = build_options(LeRobotOptions, options)
        self.robot = robot
        self._names = per_joint("joint_names", self.options.joint_names, len(robot.joints), robot.joint_names)
        self._device: Any = None
        self._cameras = robot.cameras
        self._previous: tuple[int, Array] | None = None
        self._sensors: dict[str, Array] = {}
        self._faults: list[tuple[str, bool]] = [("", False)] * len(robot.joints)
        self._sensors_read_s = -np.inf
        self._sensors_failed = 0
        self._images: dict[str, Any] = {}
        self._frames: list[Frame] = []

    @property
    def device(self) -> Any:
        """The LeRobot robot."""
        if self._device is None:
            raise HardwareError("the LeRobot robot is not connected; call connect() first")
        return self._device

    def connect(self) -> None:
        """Create the robot, connect to it without calibrating it, and hold the present position.

        Raises:
            HardwareError: If LeRobot cannot connect to the robot, or the robot has no calibration.
        """
        from lerobot.robots.utils import make_robot_from_config

        options = self.options
        device = make_device(
            "lerobot.robots", options.type, options.config, make_robot_from_config, id=options.id, port=options.port
        )
        with self._errors("connect"):
            _connect(device)
        self._device = device
        if not device.is_calibrated:
            self.disconnect()
            raise HardwareError(
                f"{options.type} {options.id!r} has no calibration; run: lerobot-calibrate "
                f"--robot.type={options.type} --robot.id={options.id}"
            )
        self._units = Units(device, self.robot, self._names, options.units)
        available = getattr(device, "cameras", {})
        self.robot = dataclasses.replace(self.robot, cameras=tuple(c for c in self._cameras if c.name in available))
        self.write(self.read().position)

    @contextmanager
    def _errors(self, action: str) -> Generator[None]:
        """Convert LeRobot's exceptions to HardwareError."""
        try:
            yield
        except (ConnectionError, TimeoutError, RuntimeError, OSError) as error:
            raise HardwareError(
                f"{self.options.type}: cannot {action} ({' '.join(str(error).split())}); check power and cables, and "
                "that lerobot-teleoperate works with this robot"
            ) from error

    def read(self) -> RobotState:
        """Return the joint state; velocities are differences and torques NaN unless the robot reports them."""
        with self._errors("read"):
            observation = self.device.get_observation()
        stamp_ns = time.time_ns()
        position = self._units.angles(observation)
        velocity = np.zeros_like(position)
        if self._previous is not None and stamp_ns > self._previous[0]:
            velocity = (position - self._previous[1]) / ((stamp_ns - self._previous[0]) / 1e9)
        self._previous = (stamp_ns, position)
        effort = np.full_like(position, np.nan)
        for joint, name in enumerate(self._names):
            if f"{name}.vel" in observation:
                velocity[joint] = self._units.speed(float(observation[f"{name}.vel"]), joint)
            effort[joint] = float(observation.get(f"{name}.torque", np.nan))
        self._sensors["torque_nm"] = effort
        self._keep_images(observation, stamp_ns)
        return RobotState(stamp_ns=stamp_ns, position=position, velocity=velocity, effort=effort)

    def _keep_images(self, observation: Mapping[str, Any], stamp_ns: int) -> None:
        """Store new images; LeRobot returns the previous image again if there is no new one."""
        for camera in self.robot.cameras:
            image = observation.get(camera.name)
            if image is None or image is self._images.get(camera.name):
                continue
            self._images[camera.name] = image
            self._frames.append(Frame(camera=camera.name, stamp_ns=stamp_ns, rgb=np.asarray(image)))

    def motors(self) -> MotorSensors:
        """Return the sensors and faults of the motor buses, read every `sensor_period_s`; NaN if not reported."""
        buses = motor_buses(self.device)
        if buses and time.monotonic() - self._sensors_read_s >= self.options.sensor_period_s:
            self._sensors_read_s = time.monotonic()
            self._update_sensors(buses)
        return dataclasses.replace(
            MotorSensors.unknown(len(self._names)),
            **self._sensors,
            faults=tuple(text for text, _ in self._faults),
            disabled=np.array([disabled for _, disabled in self._faults], dtype=bool),
        )

    def _update_sensors(self, buses: Mapping[str, Any]) -> None:
        """Read sensors and faults; the values before remain after a lost answer, since heat changes slowly."""
        try:
            with self._errors("read the motors' sensors"):
                for prefix, bus in buses.items():
                    motors = {i: n.removeprefix(prefix) for i, n in enumerate(self._names) if n.startswith(prefix)}
                    motors = {i: name for i, name in motors.items() if name in bus.motors}
                    self._read_sensors(bus, motors)
                    for register in _common_registers(bus, FAULT_REGISTERS):
                        bits = bus.sync_read(register, normalize=False)
                        for i, name in motors.items():
                            self._faults[i] = _decode_fault(register, int(bits.get(name, 0)))
        except HardwareError:
            self._sensors_failed += 1
            if self._sensors_failed >= SENSOR_ATTEMPTS:
                raise
            return
        self._sensors_failed = 0

    def _read_sensors(self, bus: Any, motors: Mapping[int, str]) -> None:
        """Read the sensors of the motors of one bus: index of the joint -> name of its motor."""
        for register, field in _sensor_registers(bus).items():
            counts = bus.sync_read(register, normalize=False) if _has_table(bus) else bus.sync_read(register)
            values = self._sensors.get(field, np.full(len(self._names), np.nan)).copy()
            for i, name in motors.items():
                values[i] = _in_si_units(bus, name, register, float(counts.get(name, np.nan)))
            self._sensors[field] = values

    def write(self, targets: Array) -> Array:
        """Command position targets, shape (joints,) [rad]; return the targets that LeRobot applied."""
        within = np.clip(np.asarray(targets, dtype=float), self.robot.lower, self.robot.upper)
        if not np.all(np.isfinite(within)):
            raise InvalidValueError("targets", targets, "finite numbers")
        action = self._units.action(within)
        with self._errors("write"):
            applied = self.device.send_action(action)
        return self._units.angles({**action, **applied})

    def frames(self) -> Sequence[Frame]:
        """Return the images received since the last call."""
        frames, self._frames = self._frames, []
        return frames

    def disconnect(self) -> None:
        """Disconnect; LeRobot's `disable_torque_on_disconnect` determines whether the robot holds its position."""
        device, self._device = self._device, None
        if device is not None:
            with contextlib.suppress(ConnectionError, RuntimeError, OSError):
                device.disconnect()


def _in_si_units(bus: Any, motor: str, register: str, count: float) -> float:
    """Return a motor's value of a register in SI units or °C."""
    if register.endswith("Voltage"):
        return count * 0.1
    if register != "Present_Current":
        return count
    scale = AMPERES_PER_COUNT.get(bus.motors[motor].model, np.nan)
    if count < 0x8000:
        return count * scale
    # Feetech: 16-bit sign-magnitude. Dynamixel: two's complement, which LeRobot may have decoded already.
    return (0x8000 - count if type(bus).__name__.startswith("Feetech") else count - 0x10000) * scale


def _has_table(bus: Any) -> bool:
    """Whether a bus has a table of registers, as buses of serial servos do."""
    return bool(getattr(bus, "model_ctrl_table", None))


def _decode_fault(register: str, bits: int) -> tuple[str, bool]:
    """Return a motor's faults as text, and whether it has disabled or reduced its torque."""
    if not bits:
        return "", False
    from waldo.robots.drivers import dynamixel, feetech

    if register == "Status":
        return feetech.fault_text(bits), bool(bits & feetech.TORQUE_OFF_BITS)
    return dynamixel.fault_text(bits), True


def _common_registers(bus: Any, wanted: Iterable[str]) -> list[str]:
    """Return those of the wanted registers that every motor on the bus has."""
    if not _has_table(bus):
        return []
    tables = [bus.model_ctrl_table[motor.model] for motor in bus.motors.values()]
    return [register for register in wanted if all(register in table for table in tables)]


def _sensor_registers(bus: Any) -> dict[str, str]:
    """Return register -> field of `MotorSensors` for the sensors that every motor on the bus has."""
    if _has_table(bus):
        return {register: SENSOR_REGISTERS[register] for register in _common_registers(bus, SENSOR_REGISTERS)}
    # The only temperature of RobStride motors is that of the winding, although LeRobot names it MOS.
    if type(bus).__name__.startswith("Robstride"):
        return {"Temperature_MOS": "winding_c"}
    return {"Temperature_Rotor": "winding_c", "Temperature_MOS": "driver_c"}
