"""Unitree robots (G1, H1-2, Go2, H1) over DDS: `rt/lowstate` in, `rt/lowcmd` or `rt/arm_sdk` out.

Sources: https://github.com/unitreerobotics/unitree_sdk2_python (example/g1/low_level: gains, motor indices, mode_pr,
mode_machine), https://github.com/unitreerobotics/xr_teleoperate (arm_sdk), Unitree's G1 developer pages (fault bits).
The robot must be in debug mode for `rt/lowcmd` (remote: L2+R2), or its motion service must run for `rt/arm_sdk`.
"""

from __future__ import annotations

import dataclasses
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from waldo.errors import HardwareError, InvalidValueError
from waldo.robots.description import Robot
from waldo.robots.driver import Frame, MotorSensors, RobotState
from waldo.robots.drivers.dds import join_domain
from waldo.robots.drivers.options import build_options, numbers, whole_numbers
from waldo.robots.drivers.unitree_winding import WindingFinder
from waldo.typing import Array

_LEG = ("hip_pitch", "hip_roll", "hip_yaw", "knee", "ankle_pitch", "ankle_roll")
_ARM = ("shoulder_pitch", "shoulder_roll", "shoulder_yaw", "elbow", "wrist_roll", "wrist_pitch", "wrist_yaw")
G1_MOTORS: tuple[str, ...] = (
    *(f"{side}_{part}_joint" for side in ("left", "right") for part in _LEG),
    *(f"waist_{part}_joint" for part in ("yaw", "roll", "pitch")),
    *(f"{side}_{part}_joint" for side in ("left", "right") for part in _ARM),
)
"""Joint of each motor of the G1 with 29 joints (example/g1/low_level, G1JointIndex)."""
GO2_MOTORS: tuple[str, ...] = tuple(
    f"{leg}_{part}_joint" for leg in ("FR", "FL", "RR", "RL") for part in ("hip", "thigh", "calf")
)
"""Joint of each motor of the Go2 (example/go2/low_level)."""
KNOWN_MOTORS: Mapping[str, int] = {name: index for names in (G1_MOTORS, GO2_MOTORS) for index, name in enumerate(names)}
"""Joint name -> motor index, for the robots whose joints bear Unitree's names."""

HG_MOTORS, GO_MOTORS = 35, 20
"""Motors in a message."""
ARM_SDK_WEIGHT = 29
"""On rt/arm_sdk this motor's q says how much the arms follow, 0..1 (xr_teleoperate, kNotUsedJoint0)."""

FAULTS = (
    (0x1, "over-current"),
    (0x2, "transient over-voltage"),
    (0x4, "lasting over-voltage"),
    (0x8, "transient under-voltage"),
    (0x10, "chip over-temperature"),
    (0x20, "driver over- or under-temperature (MOS)"),
    (0x40, "driver's temperature sensor wrong (MOS)"),
    (0x80, "housing over- or under-temperature"),
    (0x100, "housing's temperature sensor wrong"),
    (0x200, "winding over-temperature"),
    (0x400, "rotor encoder 1 wrong"),
    (0x800, "rotor encoder 2 wrong"),
    (0x1000, "output encoder wrong"),
    (0x2000, "calibration data wrong"),
    (0x4000, "abnormal reset"),
    (0x8000, "locked: authentication failed"),
    (0x10000, "chip not genuine"),
    (0x20000, "in calibration mode"),
    (0x40000, "communication checksum wrong"),
    (0x80000, "driver version too old"),
    (0x40000000, "motor hears no computer"),
    (0x80000000, "computer hears no motor"),
)
"""Bits of motorstate -> words (Unitree's G1 developer pages, "motor status information")."""


def in_words(motorstate: int) -> str:
    """Return a motor's faults in words."""
    return ", ".join(word for bit, word in FAULTS if motorstate & bit)


@dataclass(frozen=True, slots=True, kw_only=True)
class UnitreeOptions:
    """How the robot is reached and driven; lists are in the order of the robot's joints, with commas between."""

    interface: str = ""
    """Network interface towards the robot: eth0, lo ...; unless given, what Cyclone DDS takes."""
    domain: int = 0
    """DDS domain; the robots' is 0."""
    family: str = "hg"
    """hg: G1, H1-2; go: Go2, B2, H1."""
    command_topic: str = "rt/lowcmd"
    """rt/lowcmd: this program alone drives every motor; rt/arm_sdk: the robot's own controller stands and walks."""
    state_topic: str = "rt/lowstate"
    """Where the state comes from."""
    motors: str = ""
    """Motor index of each joint; by the joints' names unless given (G1, Go2)."""
    kp: str = ""
    """Stiffness [N·m/rad]; 80, wrists 40, waist 300 on the G1 (xr_teleoperate), 40 elsewhere."""
    kd: str = ""
    """Damping [N·m·s/rad]; 3, wrists 1.5 on the G1 (xr_teleoperate), 1 elsewhere."""
    mode_pr: int = 0
    """0: ankles and waist in pitch and roll; 1: in their rods' motors, A and B."""
    others: str = "hold"
    """What motors that no joint names do on rt/lowcmd: hold where they were, damp, or off."""
    winding: str = "auto"
    """Which of the two temperatures is the winding's: auto (inferred), first or second; go has one: first, or auto."""
    other: str = "housing"
    """What the other one is, and go's only one unless it is the winding's: housing or driver."""
    rate_hz: float = 250.0
    """How often the last command is sent again [1/s]."""
    check_crc: bool = True
    """Refuse states whose checksum is wrong (hg only)."""
    on_close: str = "hold"
    """What the last command says: hold, or release (torque off: the arms fall)."""
    stale_s: float = 0.25
    """A state that does not change for so long is stale [s]."""
    patience_s: float = 5.0
    """How long connecting waits for the first state [s]."""

    def __post_init__(self) -> None:
        """Refuse what makes no sense."""
        choices = {
            "family": ("hg", "go"),
            "others": ("hold", "damp", "off"),
            "winding": ("auto", "first", "second"),
            "other": ("housing", "driver"),
            "on_close": ("hold", "release"),
        }
        for name, known in choices.items():
            if getattr(self, name) not in known:
                raise InvalidValueError(name, getattr(self, name), f"one of {', '.join(known)}")
        for name in ("rate_hz", "stale_s", "patience_s"):
            if not getattr(self, name) > 0:
                raise InvalidValueError(name, getattr(self, name), "a number above 0")


def default_gains(joint: str) -> tuple[float, float]:
    """Return stiffness [N·m/rad] and damping [N·m·s/rad] of a joint by its name."""
    if joint.startswith("waist"):
        return 300.0, 3.0
    if "wrist" in joint:
        return 40.0, 1.5
    return (80.0, 3.0) if "shoulder" in joint or "elbow" in joint else (40.0, 1.0)


def empty_command(family: str) -> Any:
    """Return a LowCmd in which every motor is off."""
    from waldo.robots.drivers import unitree_idl as idl

    if family == "hg":
        off = [idl.HgMotorCmd(0, 0.0, 0.0, 0.0, 0.0, 0.0, 0) for _ in range(HG_MOTORS)]
        return idl.HgLowCmd(0, 0, off, [0] * 4, 0)
    off = [idl.GoMotorCmd(0, 0.0, 0.0, 0.0, 0.0, 0.0, [0] * 3) for _ in range(GO_MOTORS)]
    # Head and level flag as in example/go2/low_level.
    return idl.GoLowCmd(
        [0xFE, 0xEF], 0xFF, 0, [0] * 2, [0] * 2, 0, off, idl.GoBmsCmd(0, [0] * 3), [0] * 40, [0] * 12, [0] * 2, 0, 0, 0
    )


def message_types(family: str) -> tuple[Any, Any]:
    """Return the classes of LowState and LowCmd."""
    from waldo.robots.drivers import unitree_idl as idl

    return (idl.HgLowState, idl.HgLowCmd) if family == "hg" else (idl.GoLowState, idl.GoLowCmd)


class UnitreeDriver:
    """A Driver (waldo.robots.driver) over DDS."""

    options_class: ClassVar[type[UnitreeOptions]] = UnitreeOptions

    def __init__(self, robot: Robot, **options: object) -> None:
        """Take the robot and the fields of UnitreeOptions, as values or as texts."""
        self.options = build_options(UnitreeOptions, options)
        # Cameras are devices of their own.
        self.robot = robot = dataclasses.replace(robot, cameras=())
        names = robot.joint_names
        self.motors_of = whole_numbers("motors", self.options.motors, len(names), self._by_name())
        places = HG_MOTORS if self.options.family == "hg" else GO_MOTORS
        if len(set(self.motors_of)) != len(names) or not all(0 <= i < places for i in self.motors_of):
            raise InvalidValueError(
                "motors", self.options.motors, f"a different index from 0 to {places - 1} for each joint"
            )
        gains = [default_gains(name) for name in names]
        self.kp = numbers("kp", self.options.kp, len(names), [kp for kp, _ in gains])
        self.kd = numbers("kd", self.options.kd, len(names), [kd for _, kd in gains])
        constants = [joint.motor.torque_constant_nm_per_a for joint in robot.joints]
        self._torque_constant = np.array([np.nan if k is None else k for k in constants])
        self.finder = WindingFinder()
        self.refused = 0
        """States whose checksum was wrong."""
        self._state: Any = None
        self._heard_ns = self._found_ns = 0
        self._heard_s = 0.0
        self._lock = threading.Lock()
        self._ended = threading.Event()
        self._thread: threading.Thread | None = None
        self._participant: Any = None

    def _by_name(self) -> Sequence[int]:
        if self.options.motors:
            return ()
        if unknown := [name for name in self.robot.joint_names if name not in KNOWN_MOTORS]:
            raise InvalidValueError(
                "motors", "", f"the motor index of each joint: {', '.join(unknown)} are not joints of the G1 or Go2"
            )
        return [KNOWN_MOTORS[name] for name in self.robot.joint_names]

    def connect(self) -> None:
        """Join the domain, wait for the robot's state, and hold where it is; raises HardwareError with what to do."""
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
        deadline = time.monotonic() + options.patience_s
        while self._state is None:
            if time.monotonic() > deadline:
                self._close()
                raise HardwareError(self._nothing())
            self._take_in()
            time.sleep(0.002)
        self._command = empty_command(options.family)
        self._prepare()
        self._set_targets(self._positions())
        self._ended.clear()
        self._thread = threading.Thread(target=self._send_on, name="unitree command", daemon=True)
        self._thread.start()

    def _nothing(self) -> str:
        options = self.options
        wrong = f", {self.refused} states had a wrong checksum (check_crc=false takes them)" if self.refused else ""
        return (
            f"no {options.state_topic} in DDS domain {options.domain} on {options.interface or 'any interface'} for "
            f"{options.patience_s:g} s{wrong}; is the robot on, plugged in, and of the family {options.family}?"
        )

    def _prepare(self) -> None:
        """Fill in what stays the same in every command."""
        options, command = self.options, self._command
        if options.family == "hg":
            command.mode_pr = options.mode_pr
            command.mode_machine = self._state.mode_machine
        for i, motor in enumerate(command.motor_cmd):
            held = i not in self.motors_of and i < len(G1_MOTORS) and options.command_topic == "rt/lowcmd"
            if held and options.others != "off":
                motor.mode, motor.q = 1, float(self._state.motor_state[i].q)
                motor.kp, motor.kd = (60.0, 1.0) if options.others == "hold" else (0.0, 2.0)
        for i, kp, kd in zip(self.motors_of, self.kp, self.kd, strict=True):
            command.motor_cmd[i].mode, command.motor_cmd[i].kp, command.motor_cmd[i].kd = 1, float(kp), float(kd)
        if options.command_topic == "rt/arm_sdk":
            command.motor_cmd[ARM_SDK_WEIGHT].q = 1.0

    def _send_on(self) -> None:
        """Send the last command again and again: the motors stop when they hear nothing."""
        from waldo.robots.drivers.unitree_crc import checksum

        while not self._ended.wait(1 / self.options.rate_hz):
            with self._lock:
                self._command.crc = checksum(self._command)
                self._writer.write(self._command)

    def _take_in(self) -> None:
        """Keep the newest state that is sound and new."""
        from waldo.robots.drivers.unitree_crc import checksum

        for state in self._reader.take(16):
            if not hasattr(state, "motor_state"):
                continue
            checked = self.options.check_crc and self.options.family == "hg"
            if checked and state.crc != checksum(state):
                self.refused += 1
            elif self._state is None or state.tick != self._state.tick:
                self._state, self._heard_ns, self._heard_s = state, time.time_ns(), time.monotonic()

    def read(self) -> RobotState:
        """Return the newest state; raises HardwareError when the robot has fallen silent."""
        self._take_in()
        if self._state is None:
            raise HardwareError("the robot has not been read yet; call connect() first")
        silent_s = time.monotonic() - self._heard_s
        if silent_s > self.options.stale_s:
            raise HardwareError(
                f"{self.options.state_topic} is stale: nothing new for {silent_s:.2f} s; is the robot still on and the "
                "cable plugged in?"
            )
        motors = [self._state.motor_state[i] for i in self.motors_of]
        return RobotState(
            stamp_ns=self._heard_ns,
            position=np.array([m.q for m in motors]),
            velocity=np.array([m.dq for m in motors]),
            effort=np.array([m.tau_est for m in motors]),
        )

    def _positions(self) -> Array:
        return np.array([self._state.motor_state[i].q for i in self.motors_of])

    def motors(self) -> MotorSensors:
        """Return what the motors said; which temperature is the winding's is inferred unless the options tell."""
        motors = [self._state.motor_state[i] for i in self.motors_of]
        torque = np.array([m.tau_est for m in motors])
        sensors = dataclasses.replace(
            MotorSensors.unknown(len(motors)), torque_nm=torque, current_a=torque / self._torque_constant
        )
        place = {"housing": "housing_c", "driver": "driver_c"}[self.options.other]
        if self.options.family == "go":
            place = "winding_c" if self.options.winding == "first" else place
            return dataclasses.replace(
                sensors,
                **{place: np.array([float(m.temperature) for m in motors])},
                voltage_v=np.full(len(motors), self._state.power_v),
                faults=tuple(f"{m.lost} frames lost" if m.lost else "" for m in motors),
            )
        both = np.array([m.temperature for m in motors], dtype=float)
        winding_c, other_c = self._sort(both)
        return dataclasses.replace(
            sensors,
            voltage_v=np.array([m.vol for m in motors]),
            winding_c=winding_c,
            faults=tuple(in_words(m.motorstate) for m in motors),
            **{place: other_c},
        )

    def _sort(self, both: Array) -> tuple[Array, Array]:
        """Return the winding's temperatures and the others', (joints,) each [°C], from (joints, 2)."""
        dt_s = (self._heard_ns - self._found_ns) / 1e9 if self._found_ns else 0.0
        self._found_ns = self._heard_ns
        self.finder.add(both, min(dt_s, 1.0))
        winding = {"first": 0, "second": 1, "auto": self.finder.winding}[self.options.winding]
        if winding is None:
            # Until it is clear, the hotter one stands for the winding: that errs on the safe side.
            return both.max(axis=1), np.full(len(both), np.nan)
        return both[:, winding], both[:, 1 - winding]

    def write(self, targets: Array) -> Array:
        """Command position targets (joints,) [rad]; return them within the joints' limits."""
        wanted = np.clip(np.asarray(targets, dtype=float), self.robot.lower, self.robot.upper)
        if not np.all(np.isfinite(wanted)):
            raise InvalidValueError("targets", targets, "finite numbers")
        self._set_targets(wanted)
        return wanted.astype(np.float32).astype(float)

    def _set_targets(self, targets: Array) -> None:
        with self._lock:
            for i, target in zip(self.motors_of, targets, strict=True):
                self._command.motor_cmd[i].q = float(target)

    def frames(self) -> Sequence[Frame]:
        """Return nothing: cameras are their own devices."""
        return ()

    def disconnect(self) -> None:
        """Send the last command once more, holding or released, and leave the domain."""
        from waldo.robots.drivers.unitree_crc import checksum

        thread, self._thread = self._thread, None
        if thread is None:
            return
        self._ended.set()
        thread.join(10)
        if self.options.on_close == "release":
            for motor in self._command.motor_cmd:
                motor.mode, motor.kp, motor.kd = 0, 0.0, 0.0
            if self.options.command_topic == "rt/arm_sdk":
                self._command.motor_cmd[ARM_SDK_WEIGHT].q = 0.0
        self._command.crc = checksum(self._command)
        self._writer.write(self._command)
        # What is on its way leaves before its writer does.
        time.sleep(0.05)
        self._close()

    def _close(self) -> None:
        self._reader = self._writer = self._participant = None
        self._state = None
