"""Any MJCF or URDF model as a robot, and a driver that simulates it on its own.

A model file contains no motor constants: motor heat is simulated for a described robot whose motors have them all.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from waldo.console import err
from waldo.errors import InvalidValueError, count
from waldo.robots.description import Robot
from waldo.robots.driver import Frame, MotorSensors, RobotState
from waldo.sim.camera import CameraThread
from waldo.sim.engine import Data, mujoco
from waldo.sim.heat import SimulatedHeat
from waldo.sim.menagerie import PREFIX, find_model
from waldo.sim.mjcf.bodies import FreeBodies
from waldo.sim.mjcf.description import describe
from waldo.sim.mjcf.floor import add_floor, needs_floor
from waldo.sim.mjcf.home import reset_to_home
from waldo.sim.mjcf.reading import compile_spec
from waldo.sim.mjcf.readings import Readings
from waldo.sim.mjcf.robot_model import RobotModel, load_robot_model
from waldo.sim.twin import FRAME_TICKS, stamp_of
from waldo.sim.world import CONTROL_HZ
from waldo.typing import Array


def load_model_robot(name: str) -> Robot:
    """Return the robot of an MJCF or URDF file, or of a folder of MuJoCo Menagerie ("menagerie:unitree_g1").

    Raises:
        FileError: If the file is not a model of a robot.
    """
    return describe(find_model(name.removeprefix(PREFIX)) if name.startswith(PREFIX) else Path(name))


class ModelDriver:
    """A SimulatedDriver (waldo.robots.driver) of one model file, with the objects in it and without a task.

    A robot with a floating base stands on a floor, which is added if the file has none.
    """

    def __init__(self, robot: Robot) -> None:
        """Build the simulation of a robot from `load_model_robot`."""
        loaded = load_robot_model(robot.mjcf_path)
        if robot.joint_names != loaded.names:
            expected = f"a model with the joints {', '.join(robot.joint_names)}"
            raise InvalidValueError("mjcf", str(robot.mjcf_path), expected, f"it has {', '.join(loaded.names)}")
        self.robot = robot
        self._notes = _notes(robot, loaded)
        self._readings = Readings(loaded)
        self._model, self._data = loaded.model, mujoco.MjData(loaded.model)
        self._place()
        if needs_floor(loaded.model, loaded.drives):
            add_floor(loaded.spec, loaded.model, self._data)
            self._model = compile_spec(loaded.spec, robot.mjcf_path)
            self._data = mujoco.MjData(self._model)
        self._cameras = CameraThread(self._model, robot.cameras)
        # Never a longer step than that of the file.
        self._substeps = math.ceil(1 / CONTROL_HZ / self._model.opt.timestep - 1e-6)
        self._model.opt.timestep = 1 / CONTROL_HZ / self._substeps
        self._bodies = FreeBodies(self._model)
        self._heat = self._simulated_heat()
        self._tick = self._seed = 0
        self._frames: list[Frame] = []
        self.reset(0)

    def _simulated_heat(self) -> SimulatedHeat | None:
        """Return the heat of the robot's motors; None unless all their constants are known."""
        motors = [joint.motor for joint in self.robot.joints]
        if any(None in (motor.thermal, motor.resistance_ohm, motor.torque_constant_nm_per_a) for motor in motors):
            return None
        return SimulatedHeat(self.robot, 1, 1 / CONTROL_HZ, self._readings.actuators, self._model.nu)

    def connect(self) -> None:
        """Render the first images; without graphics the robot has no cameras."""
        for note in self._notes:
            err().print(f"waldo: {note}", markup=False, soft_wrap=True)
        self._expose()
        self._frames = self._cameras.finish()
        self.robot = dataclasses.replace(self.robot, cameras=self._cameras.cameras)

    def read(self) -> RobotState:
        """Return the current state."""
        return RobotState(
            stamp_ns=stamp_of(self._tick),
            position=self._readings.position(self._data),
            velocity=self._readings.velocity(self._data),
            effort=self._readings.effort(self._data),
        )

    def motors(self) -> MotorSensors:
        """Return the torques and, if the motors' constants are known, their currents and temperatures."""
        effort = self._readings.effort(self._data)
        sensors = dataclasses.replace(MotorSensors.unknown(len(self.robot.joints)), torque_nm=effort)
        if self._heat is None:
            return sensors
        state_c = self._heat.state_c[0]
        return dataclasses.replace(
            sensors,
            current_a=self._heat.motor_torque(effort) / self._heat.torque_constant,
            winding_c=state_c[:, 0].copy(),
            housing_c=state_c[:, 1].copy(),
        )

    def write(self, targets: Array) -> Array:
        """Set the position targets (joints,) [rad or m]; return them clipped to the joint limits."""
        applied = np.clip(np.asarray(targets, dtype=float), self.robot.lower, self.robot.upper)
        self._data.ctrl[self._readings.actuators] = applied
        return applied

    def frames(self) -> Sequence[Frame]:
        """Return the images delivered since the last call."""
        frames, self._frames = self._frames, []
        return frames

    def disconnect(self) -> None:
        """Free the GL contexts."""
        self._cameras.close()

    def advance(self) -> None:
        """Advance one control period; at the end of every second one each camera exposes an image."""
        mujoco.mj_step(self._model, self._data, self._substeps)
        if self._heat is not None:
            self._heat.add(self._data.actuator_force[None])
        self._tick += 1
        if self._tick % FRAME_TICKS == 0:
            self._expose()

    def reset(self, seed: int) -> bool:
        """Reset to the home pose of the file, where the robot holds its position; time continues."""
        self._seed = seed
        self._cameras.finish()  # Images from before are not delivered afterwards.
        self._place()
        return True

    def _place(self) -> None:
        """Set the home pose, within the joint limits, with targets to hold it."""
        model, data, home = self._model, self._data, self.robot.home
        reset_to_home(model, data)
        qpos, filters = self._readings.own_qpos, model.actuator_actadr[self._readings.actuators]
        data.qpos[qpos[qpos >= 0]] = home[qpos >= 0]
        data.ctrl[self._readings.actuators] = home
        data.act[filters[filters >= 0]] = home[filters >= 0]
        mujoco.mj_forward(model, data)

    def environment(self) -> tuple[tuple[str, ...], Array]:
        """Return the names and values of the poses of all bodies that float: a robot's base, and objects."""
        return self._bodies.names, self._bodies.poses(self._data)

    def task(self) -> Mapping[str, object]:
        """Return an empty task."""
        return {"task": "", "name": "", "seed": self._seed}

    def success(self) -> bool:
        """Return False: there is no goal."""
        return False

    def _expose(self) -> None:
        def copy_state(data: Data) -> None:
            mujoco.mj_copyData(data, self._model, self._data)

        self._frames += self._cameras.expose(copy_state, stamp_of(self._tick))


def _notes(robot: Robot, loaded: RobotModel) -> list[str]:
    """Return what the user should know of the model, as texts."""
    notes = [f"{robot.mjcf_path}: {reason}; it is not commanded" for reason in loaded.left_out]
    if all(drive.actuator < 0 for drive in loaded.drives):
        joints = count(len(loaded.drives), "joint")
        notes.append(f"{robot.mjcf_path}: has no actuators; position control of {joints} is assumed")
    return notes
