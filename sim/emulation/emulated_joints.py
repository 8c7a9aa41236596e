"""The joints of an MJCF model under impedance control, with motor heat: the mechanics behind emulated drives.

The caller controls the time: `advance` simulates the requested time, at most a tenth of a second per call.
"""

from __future__ import annotations

import threading
from pathlib import Path

import numpy as np

from waldo.errors import InvalidValueError
from waldo.robots.description import Robot
from waldo.robots.motor import ThermalConstants
from waldo.robots.thermal.limits import AMBIENT_C
from waldo.robots.thermal.two_node import Load, TwoNodeModel
from waldo.sim.engine import Model, mujoco
from waldo.sim.mjcf.robot_model import load_robot_model
from waldo.typing import Array

HEAT_S = 0.05
"""Step of the thermal model [s]."""
MAX_BEHIND_S = 0.1
"""Longest time that one call of `advance` simulates [s]."""
ASSUMED_THERMAL = ThermalConstants(
    winding_j_per_k=20.0,
    housing_j_per_k=250.0,
    winding_to_housing_k_per_w=1.0,
    housing_to_ambient_k_per_w=2.5,
    basis="assumed",
    source="emulation only: a small gear motor of 0.4 kg, between those with published RobStride tables",
)
"""Constants for a motor without published ones."""
ASSUMED_OHM, ASSUMED_NM_PER_A = 0.7, 1.2
"""Resistance and torque constant for a motor without published ones [Ω, N·m/A]."""


class EmulatedJoints:
    """Joints under impedance control. Arrays have shape (joints,), in the order of `robot.joints`."""

    def __init__(self, robot: Robot, model_path: Path | None = None, *, model: Model | None = None) -> None:
        """Load the model of `robot.mjcf`, or another one with the same joint and actuator names.

        Args:
            robot: The robot.
            model_path: File of the model; None: that of the robot.
            model: A compiled model instead, such as one with a scene around the robot.
        """
        self.robot, self.falls = robot, True
        path = robot.mjcf_path if model_path is None else model_path
        self._model = load_robot_model(path).model if model is None else model
        self._data = mujoco.MjData(self._model)
        names = robot.joint_names
        for name in names:
            kinds = (mujoco.mjtObj.mjOBJ_JOINT, mujoco.mjtObj.mjOBJ_ACTUATOR)
            if any(mujoco.mj_name2id(self._model, kind, name) < 0 for kind in kinds):
                raise InvalidValueError("mjcf", str(path), f"a joint and an actuator named {name!r}")
        self._qpos = np.array([self._model.joint(name).qposadr[0] for name in names])
        self._qvel = np.array([self._model.joint(name).dofadr[0] for name in names])
        self._actuators = np.array([self._model.actuator(name).id for name in names])
        self.stiffness = self._model.actuator_gainprm[self._actuators, 0].copy()
        """Position gains of the model's actuators, (joints,) [N·m/rad]."""
        self.damping = -self._model.actuator_biasprm[self._actuators, 2]
        """Damping of the model's actuators, (joints,) [N·m·s/rad]."""
        self._force_range = self._model.actuator_forcerange[self._actuators].copy()
        motors = [joint.motor for joint in robot.joints]
        self.thermal = TwoNodeModel([motor.thermal or ASSUMED_THERMAL for motor in motors])
        self.resistance = np.array([motor.resistance_ohm or ASSUMED_OHM for motor in motors])
        self.torque_constant = np.array([motor.torque_constant_nm_per_a or ASSUMED_NM_PER_A for motor in motors])
        self.heat = self.thermal.at_ambient(AMBIENT_C)
        """Winding and housing temperatures, (joints, 2) [°C]; writable."""
        self._heat_step = self.thermal.stepper(HEAT_S)
        self._squared_effort = np.zeros(len(names))
        self._heat_due_s = 0.0
        self._behind_s = 0.0
        self.lock = threading.RLock()
        """Guards all state: emulated drives run in their own thread."""
        self.place(np.clip(robot.home, robot.lower, robot.upper))

    def place(self, position: Array) -> None:
        """Set the joint positions [rad], with zero velocity and torque."""
        with self.lock:
            self._data.qpos[self._qpos] = position
            self._data.qvel[:] = 0
            zero = np.zeros(len(position))
            self.command(zero, zero, zero, zero, zero)
            mujoco.mj_forward(self._model, self._data)

    def command(self, position: Array, velocity: Array, kp: Array, kd: Array, torque: Array) -> None:
        """Set the torque kp (position - q) + kd (velocity - dq) + torque, within the model's force limits.

        Units: rad, rad/s, N·m/rad, N·m·s/rad, N·m.
        """
        with self.lock:
            at = self._actuators
            # MuJoCo's position actuator is the same law; its implicit damping keeps stiff gains stable.
            self._model.actuator_gainprm[at, 0] = 1.0
            self._model.actuator_biasprm[at, 0] = 0.0
            self._model.actuator_biasprm[at, 1] = -kp
            self._model.actuator_biasprm[at, 2] = -kd
            self._model.actuator_ctrllimited[at] = 0
            self._data.ctrl[at] = kp * position + kd * velocity + torque

    def limit_effort(self, ratio: Array) -> None:
        """Limit the torques to a fraction of the model's force limits, (joints,), 0 to 1."""
        with self.lock:
            self._model.actuator_forcerange[self._actuators] = self._force_range * ratio[:, None]

    def advance(self, seconds: float) -> None:
        """Simulate `seconds` [s] in whole steps of the model, at most `MAX_BEHIND_S`."""
        with self.lock:
            step_s = self._model.opt.timestep
            self._behind_s = min(self._behind_s + seconds, MAX_BEHIND_S)
            while self._behind_s >= step_s:
                self._behind_s -= step_s
                mujoco.mj_step(self._model, self._data)
                self._squared_effort += np.square(self.effort) * step_s
                self._heat_due_s += step_s
                if self._heat_due_s >= HEAT_S:
                    self._update_heat()

    def _update_heat(self) -> None:
        squared_a2 = self._squared_effort / self._heat_due_s / np.square(self.torque_constant)
        load = Load(squared_a2 * self.resistance, np.zeros_like(squared_a2))
        self.heat = self._heat_step(self.heat, load.at(self.heat[:, 0]), AMBIENT_C)
        self._squared_effort[:] = 0
        self._heat_due_s = 0.0

    @property
    def driver_c(self) -> Array:
        """Temperatures of the sensors on the drives' boards, (joints,) [°C]."""
        return self.thermal.driver_c(self.heat)

    @property
    def position(self) -> Array:
        """Joint positions, (joints,) [rad]."""
        return self._data.qpos[self._qpos].copy()

    @property
    def velocity(self) -> Array:
        """Joint velocities, (joints,) [rad/s]."""
        return self._data.qvel[self._qvel].copy()

    @property
    def effort(self) -> Array:
        """Torques of the drives, (joints,) [N·m]."""
        return self._data.actuator_force[self._actuators].copy()

    @property
    def current(self) -> Array:
        """Winding currents, (joints,) [A]."""
        return self.effort / self.torque_constant
