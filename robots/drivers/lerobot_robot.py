"""Any robot that LeRobot drives, by its name there, with its cameras and the temperatures that its motors tell."""

from __future__ import annotations

import contextlib
import dataclasses
import time
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from waldo.errors import HardwareError, InvalidValueError
from waldo.robots.description import Robot
from waldo.robots.driver import Frame, MotorSensors, RobotState
from waldo.robots.drivers.lerobot_units import Units, make_device
from waldo.robots.drivers.options import build_options, words
from waldo.typing import Array

AMPERES_PER_COUNT = {
    **dict.fromkeys(("sts3215", "sts3250", "sm8512bl"), 0.0065),
    **dict.fromkeys(("xl330-m077", "xl330-m288"), 0.001),
    **dict.fromkeys(("xm430-w350", "xm540-w270"), 0.00269),
}
"""Motor model, as LeRobot names it -> current per count [A] (Feetech STS memory table, register 69; ROBOTIS e-Manual,
register 126, in which XL430 and XC430 have a load instead)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LeRobotOptions:
    """Which of LeRobot's robots, and how it is reached."""

    type: str = "so101_follower"
    """Its registered name: so101_follower, openarm_follower, ..., or a plug-in's."""
    id: str = ""
    """Its id, under which LeRobot keeps its calibration."""
    port: str = ""
    """Its port, where it has one."""
    config: str = ""
    """The rest of its configuration, as JSON: {"cameras": {"front": {"type": "opencv", "index_or_path": 0, ...}}}."""
    names: str = ""
    """LeRobot's name of each joint, in the order of the robot's joints; the joints' own names unless given."""
    units: str = "degrees"
    """Units of a device without a motor bus: degrees or radians."""
    heat_period_s: float = 1.0
    """How often temperatures, currents and voltages are read [s]: each is a transfer of its own."""


class LeRobotDriver:
    """A Driver (waldo.robots.driver) over a `lerobot.robots.Robot`."""

    options_class: ClassVar[type[LeRobotOptions]] = LeRobotOptions

    def __init__(self, robot: Robot, **options: object) -> None:
        """Take the robot's description and the fields of LeRobotOptions, as values or as texts."""
        self.options = build_options(LeRobotOptions, options)
        self.robot = robot
        self._names = words("names", self.options.names, len(robot.joints), robot.joint_names)
        self._device: Any = None
        self._cameras = robot.cameras
        self._previous: tuple[int, Array] | None = None
        self._heat: dict[str, Array] = {}
        self._heat_at_s = -np.inf
        self._pictures: dict[str, Any] = {}
        self._frames: list[Frame] = []

    @property
    def device(self) -> Any:
        """The LeRobot robot."""
        if self._device is None:
            raise HardwareError("the LeRobot robot is not connected; call connect() first")
        return self._device

    def connect(self) -> None:
        """Make the robot, connect it without calibrating, and hold; raises HardwareError with what to do."""
        from lerobot.robots.utils import make_robot_from_config

        options = self.options
        device = make_device(
            "lerobot.robots", options.type, options.config, make_robot_from_config, id=options.id, port=options.port
        )
        with self._errors("connect"):
            device.connect(calibrate=False)
        self._device = device
        if not device.is_calibrated:
            self.disconnect()
            raise HardwareError(
                f"{options.type} {options.id!r} has no calibration; run lerobot-calibrate --robot.type={options.type} "
                f"--robot.id={options.id} first"
            )
        self._units = Units(device, self.robot, self._names, options.units)
        given = getattr(device, "cameras", {})
        self.robot = dataclasses.replace(self.robot, cameras=tuple(c for c in self._cameras if c.name in given))
        self.write(self.read().position)

    @contextmanager
    def _errors(self, what: str) -> Generator[None]:
        """Turn what LeRobot raises into a HardwareError."""
        try:
            yield
        except (ConnectionError, TimeoutError, RuntimeError, OSError) as error:
            raise HardwareError(
                f"{self.options.type}: cannot {what} ({' '.join(str(error).split())}); check power and cables, and "
                "whether lerobot-teleoperate works with it"
            ) from error

    def read(self) -> RobotState:
        """Return the joints' state; velocities are differences, torques NaN, unless the robot tells them."""
        with self._errors("read"):
            told = self.device.get_observation()
        stamp_ns = time.time_ns()
        position = self._units.angles(told)
        velocity = np.zeros_like(position)
        if self._previous is not None and stamp_ns > self._previous[0]:
            velocity = (position - self._previous[1]) / ((stamp_ns - self._previous[0]) / 1e9)
        self._previous = (stamp_ns, position)
        effort = np.full_like(position, np.nan)
        for joint, name in enumerate(self._names):
            if f"{name}.vel" in told:
                velocity[joint] = self._units.speed(float(told[f"{name}.vel"]), joint)
            effort[joint] = float(told.get(f"{name}.torque", np.nan))
        self._heat["torque_nm"] = effort
        self._keep_pictures(told, stamp_ns)
        return RobotState(stamp_ns=stamp_ns, position=position, velocity=velocity, effort=effort)

    def _keep_pictures(self, told: dict[str, Any], stamp_ns: int) -> None:
        """Keep the pictures that are new: LeRobot hands the last one out again while there is no other."""
        for camera in self.robot.cameras:
            picture = told.get(camera.name)
            if picture is None or picture is self._pictures.get(camera.name):
                continue
            self._pictures[camera.name] = picture
            self._frames.append(Frame(camera=camera.name, stamp_ns=stamp_ns, rgb=np.asarray(picture)))

    def motors(self) -> MotorSensors:
        """Return what the motor bus tells, read every `heat_period_s`; NaN for what it does not."""
        bus = getattr(self.device, "bus", None)
        if bus is not None and time.monotonic() - self._heat_at_s >= self.options.heat_period_s:
            self._heat_at_s = time.monotonic()
            with self._errors("read the temperatures"):
                self._heat |= self._read_heat(bus)
        return dataclasses.replace(MotorSensors.unknown(len(self._names)), **self._heat)

    def _read_heat(self, bus: Any) -> dict[str, Array]:
        found: dict[str, Array] = {}
        for register, field in self._heat_registers(bus).items():
            counts = bus.sync_read(register, normalize=False) if _has_table(bus) else bus.sync_read(register)
            values = np.array([float(counts.get(name, np.nan)) for name in self._names])
            found[field] = self._scaled(bus, register, values)
        return found

    def _heat_registers(self, bus: Any) -> dict[str, str]:
        """Return register -> field of MotorSensors, of those that every motor on the bus has."""
        if not _has_table(bus):
            # RobStride's one temperature is the winding's, whatever LeRobot calls it.
            if type(bus).__name__.startswith("Robstride"):
                return {"Temperature_MOS": "winding_c"}
            return {"Temperature_Rotor": "winding_c", "Temperature_MOS": "driver_c"}
        wanted = {
            "Present_Temperature": "driver_c",
            "Present_Current": "current_a",
            "Present_Voltage": "voltage_v",
            "Present_Input_Voltage": "voltage_v",
        }
        tables = [bus.model_ctrl_table[motor.model] for motor in bus.motors.values()]
        return {register: field for register, field in wanted.items() if all(register in table for table in tables)}

    def _scaled(self, bus: Any, register: str, counts: Array) -> Array:
        """Return a register's counts in SI units."""
        if register.endswith("Voltage"):
            return counts * 0.1
        if register != "Present_Current":
            return counts
        models = [bus.motors[name].model if name in bus.motors else "" for name in self._names]
        scale = np.array([AMPERES_PER_COUNT.get(model, np.nan) for model in models])
        # Feetech: sign and magnitude in 16 bits; Dynamixel: two's complement, which LeRobot may have undone.
        if type(bus).__name__.startswith("Feetech"):
            return np.where(counts >= 0x8000, -(counts - 0x8000), counts) * scale
        return np.where(counts >= 0x8000, counts - 0x10000, counts) * scale

    def write(self, targets: Array) -> Array:
        """Command position targets (joints,) [rad]; return what LeRobot says that it sent."""
        wanted = np.clip(np.asarray(targets, dtype=float), self.robot.lower, self.robot.upper)
        if not np.all(np.isfinite(wanted)):
            raise InvalidValueError("targets", targets, "finite numbers")
        with self._errors("write"):
            sent = self.device.send_action(self._units.action(wanted))
        return self._units.angles({**self._units.action(wanted), **sent})

    def frames(self) -> Sequence[Frame]:
        """Return the pictures taken since the last call."""
        frames, self._frames = self._frames, []
        return frames

    def disconnect(self) -> None:
        """Disconnect; whether the robot then holds is LeRobot's `disable_torque_on_disconnect`."""
        device, self._device = self._device, None
        if device is not None:
            with contextlib.suppress(ConnectionError, RuntimeError, OSError):
                device.disconnect()


def _has_table(bus: Any) -> bool:
    return bool(getattr(bus, "model_ctrl_table", None))
