"""Any MJCF model as a robot: a description read from its joints and actuators, and a driver that simulates it alone.

An MJCF file contains no motor constants, so motor heat is not simulated.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from waldo.errors import FileError
from waldo.robots.description import Camera, Joint, Robot
from waldo.robots.driver import Frame, MotorSensors, RobotState
from waldo.robots.motor import Motor
from waldo.sim.camera import CameraThread
from waldo.sim.engine import Data, Model, mujoco
from waldo.sim.menagerie import PREFIX, find_model
from waldo.sim.twin import FRAME_TICKS, stamp_of
from waldo.sim.world import CONTROL_HZ
from waldo.typing import Array

SPEED, ACCELERATION = 3.0, 20.0
"""Velocity and acceleration limits where the model has none [rad/s, rad/s²] or [m/s, m/s²]."""
IMAGE_SIZE = (320, 240)
"""Width and height of the images of a model's cameras [px]."""


def load_model_robot(name: str) -> Robot:
    """Return the robot of an MJCF file, or of a folder of MuJoCo Menagerie ("menagerie:unitree_g1").

    Raises:
        FileError: If the file is not a model with position actuators.
    """
    path = find_model(name.removeprefix(PREFIX)) if name.startswith(PREFIX) else Path(name)
    model = _compile(path)
    joints: list[Joint] = []
    for i in range(model.nu):
        joints.append(_joint(path, model, i))
    if not joints:
        raise FileError(path, "has no actuators", "use a model with position actuators")
    cameras = tuple(
        Camera(name=model.camera(i).name, width=IMAGE_SIZE[0], height=IMAGE_SIZE[1], fps=30) for i in range(model.ncam)
    )
    return Robot(name=path.stem, model=path.stem, joints=tuple(joints), cameras=cameras, mjcf=str(path.absolute()))


def _compile(path: Path) -> Model:
    if not path.is_file():
        raise FileError(path, "no such file", "give the path of an MJCF file")
    try:
        return mujoco.MjModel.from_xml_path(str(path))
    except ValueError as error:
        raise FileError(path, f"is not an MJCF model ({' '.join(str(error).split())})") from error


def _joint(path: Path, model: Model, actuator: int) -> Joint:
    """Return the joint of an actuator; raises FileError unless it is a position actuator on a joint."""
    name = model.actuator(actuator).name
    if model.actuator_trntype[actuator] != mujoco.mjtTrn.mjTRN_JOINT:
        raise FileError(
            path, f"actuator {name!r} does not drive a joint", "waldo supports joint position actuators only"
        )
    # The bias force of a position servo is proportional to its joint's position.
    if model.actuator_biasprm[actuator, 1] >= 0:
        raise FileError(
            path, f"actuator {name!r} is not a position actuator", "waldo supports joint position actuators only"
        )
    joint = int(model.actuator_trnid[actuator, 0])
    lower, upper = model.jnt_range[joint] if model.jnt_limited[joint] else (-2 * np.pi, 2 * np.pi)
    if model.actuator_ctrllimited[actuator]:
        low, high = model.actuator_ctrlrange[actuator]
        lower, upper = max(lower, low), min(upper, high)
    force = (
        float(np.abs(model.actuator_forcerange[actuator]).max()) if model.actuator_forcelimited[actuator] else np.inf
    )
    home = model.key_qpos[0, model.jnt_qposadr[joint]] if model.nkey else model.qpos0[model.jnt_qposadr[joint]]
    return Joint(
        name=model.joint(joint).name,
        motor=Motor(name="unknown"),
        lower=float(lower),
        upper=float(upper),
        velocity=SPEED,
        acceleration=ACCELERATION,
        effort=force,
        home=float(np.clip(home, lower, upper)),
    )


class ModelDriver:
    """A SimulatedDriver (waldo.robots.driver) of one MJCF model, without surroundings and without a task."""

    def __init__(self, robot: Robot) -> None:
        """Build the simulation of a robot from `load_model_robot`."""
        self.robot = robot
        self._model = _compile(robot.mjcf_path)
        self._data = mujoco.MjData(self._model)
        self._cameras = CameraThread(self._model, robot.cameras)
        self._substeps = max(1, round(1 / CONTROL_HZ / self._model.opt.timestep))
        self._model.opt.timestep = 1 / CONTROL_HZ / self._substeps
        joints = [self._model.joint(name) for name in robot.joint_names]
        self._qpos = np.array([joint.qposadr[0] for joint in joints])
        self._qvel = np.array([joint.dofadr[0] for joint in joints])
        self._tick = self._seed = 0
        self._frames: list[Frame] = []
        self.reset(0)

    def connect(self) -> None:
        """Render the first images; without graphics the robot has no cameras."""
        self._expose()
        self._frames = self._cameras.finish()
        self.robot = dataclasses.replace(self.robot, cameras=self._cameras.cameras)

    def read(self) -> RobotState:
        """Return the current state."""
        data = self._data
        return RobotState(
            stamp_ns=stamp_of(self._tick),
            position=data.qpos[self._qpos].copy(),
            velocity=data.qvel[self._qvel].copy(),
            effort=data.actuator_force.copy(),
        )

    def motors(self) -> MotorSensors:
        """Return the torques; the other motor readings are unknown."""
        unknown = MotorSensors.unknown(len(self.robot.joints))
        return dataclasses.replace(unknown, torque_nm=self._data.actuator_force.copy())

    def write(self, targets: Array) -> Array:
        """Set the position targets (joints,) [rad]; return them clipped to the joint limits."""
        self._data.ctrl[:] = np.clip(targets, self.robot.lower, self.robot.upper)
        return self._data.ctrl.copy()

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
        self._tick += 1
        if self._tick % FRAME_TICKS == 0:
            self._expose()

    def reset(self, seed: int) -> bool:
        """Reset to the first keyframe, or to zero if there is none; time continues."""
        self._seed = seed
        self._cameras.finish()  # Images from before are not delivered afterwards.
        if self._model.nkey:
            mujoco.mj_resetDataKeyframe(self._model, self._data, 0)
        else:
            mujoco.mj_resetData(self._model, self._data)
        self._data.ctrl[:] = np.clip(self._data.qpos[self._qpos], self.robot.lower, self.robot.upper)
        mujoco.mj_forward(self._model, self._data)
        return True

    def environment(self) -> tuple[tuple[str, ...], Array]:
        """Return no names and no values: there are no objects."""
        return (), np.zeros(0)

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
