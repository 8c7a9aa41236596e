"""Tasks of the quadratic program beside mink's own: vectors of a hand, and the gravity load of hot joints."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from waldo.collect.devices.tracking import JOINT_NAMES
from waldo.collect.retargeting.engine import mink, mujoco
from waldo.collect.retargeting.hand_description import HandDescription, HandVector
from waldo.collect.retargeting.hand_frame import canonical_rotation
from waldo.collect.retargeting.kinematics import RobotModel
from waldo.errors import UnknownNameError
from waldo.typing import Array

HUBER_M = 0.02
"""Error of a vector above which its cost grows linearly and not quadratically [m]: one finger that cannot follow must
not pull the others."""

PINCH_START_M = 0.05
"""Distance between the operator's fingertips at which a pinch starts to dominate the other vectors [m]."""

PINCH_WEIGHT = 8.0
"""Weight of a closed pinch, as a factor of its weight when open."""

MIN_FINGER_M = 0.02
"""Shortest length of an operator's finger that scales a vector [m]: joints may coincide while tracking starts."""

LOAD_STEP_RAD = 1e-3
"""Joint step of the finite differences of the gravity load [rad]."""


class HandTask(mink.tasks.BaseTask):
    r"""Vectors between points of a robot's hand follow those of the operator's hand.

    Minimizes $\sum_i w_i \rho(\lVert v_i(q) - v_i^* \rVert)$ with the pseudo-Huber loss $\rho(e) = \delta^2
    (\sqrt{1 + (e/\delta)^2} - 1)$, linearized at the current posture: iteratively reweighted least squares with one
    iteration per cycle. Vectors are compared in the frame of the hand's base, so the arm does not influence them.
    """

    def __init__(self, model: RobotModel, hand: HandDescription, dofs: NDArray[np.intp]) -> None:
        """Initialize with the open hand as the target.

        Args:
            model: The robot.
            hand: Description of its hand.
            dofs: Degrees of freedom of the hand, including those that follow a commanded joint.

        Raises:
            UnknownNameError: If the MJCF lacks a body or geom of the description.
        """
        self._model, self._hand = model, hand
        self._dofs = dofs
        self._base = _element(model, f"body {hand.base}")[1]
        self._points = {name: _element(model, text) for name, text in hand.points.items()}
        self._targets: list[tuple[Array, float]] = []

    def set_target(self, joints: Array) -> None:
        """Follow the joints of the operator's hand, shape (25, 3) [m], in any right-handed frame."""
        rotation = self._hand.base_from_canonical @ canonical_rotation(joints, self._hand.side).T
        self._targets = [_target(vector, joints, rotation, self._hand.pinch_closed_m) for vector in self._hand.vectors]

    def errors(self) -> Array:
        """Return the error of each vector in the current posture, shape (vectors,) [m]."""
        pairs = zip(self._hand.vectors, self._targets, strict=True)
        return np.array([float(np.linalg.norm(self._vector(vector) - target)) for vector, (target, _) in pairs])

    def distance(self, first: str, second: str) -> float:
        """Return the distance between two points of the hand in the current posture [m]."""
        return float(np.linalg.norm(self._position(first) - self._position(second)))

    def compute_qp_residual(self, configuration: Any) -> tuple[Array, Array, float]:
        """Return the weighted Jacobian (3 vectors, nv), the weighted errors (3 vectors,) [m] and 0."""
        rows, errors = [], []
        base_from_world = configuration.data.xmat[self._base].reshape(3, 3).T
        for vector, (target, weight) in zip(self._hand.vectors, self._targets, strict=True):
            error = target - self._vector(vector)
            scale = np.sqrt(weight / np.sqrt(1 + (error @ error) / HUBER_M**2))
            jacobian = np.zeros((3, configuration.nv))
            difference = self._jacobian(vector.robot[1]) - self._jacobian(vector.robot[0])
            jacobian[:, self._dofs] = base_from_world @ difference[:, self._dofs]
            rows.append(scale * jacobian)
            errors.append(scale * error)
        if not rows:
            return np.zeros((0, configuration.nv)), np.zeros(0), 0.0
        return np.vstack(rows), np.concatenate(errors), 0.0

    def compute_qp_objective(self, configuration: Any) -> Any:
        """Return the quadratic objective of the residual."""
        jacobian, error, _ = self.compute_qp_residual(configuration)
        return mink.Objective(jacobian.T @ jacobian, -error @ jacobian)

    def _vector(self, vector: HandVector) -> Array:
        """Return a vector of the robot's hand in the base's frame, shape (3,) [m]."""
        rotation = self._model.configuration.data.xmat[self._base].reshape(3, 3)
        return rotation.T @ (self._position(vector.robot[1]) - self._position(vector.robot[0]))

    def _position(self, point: str) -> Array:
        kind, number = self._points[point]
        data = self._model.configuration.data
        return (data.xpos if kind == "body" else data.geom_xpos)[number]

    def _jacobian(self, point: str) -> Array:
        kind, number = self._points[point]
        model, data = self._model.model, self._model.configuration.data
        found = np.zeros((3, model.nv))
        body = number if kind == "body" else int(model.geom_bodyid[number])
        mujoco.mj_jac(model, data, found, None, self._position(point), body)
        return found


class LoadTask(mink.tasks.BaseTask):
    r"""Hot joints are drawn to postures with less load: minimizes $\sum_j (c\,h_j\,\tau_j(q)/\tau_{j,max})^2$.

    $\tau_j(q)$ is the gravity torque of joint j, $\tau_{j,max}$ its drive's largest torque, and $h_j$ its heat weight,
    0 for a cool joint and 1 for one at its limit. The torque is linearized by finite differences over the arms' joints.
    """

    def __init__(self, model: RobotModel, joints: Sequence[int], cost_m: float, time_s: float) -> None:
        """Initialize without hot joints.

        Args:
            model: The robot; the task has a second one of its own for the torques.
            joints: Joints that move.
            cost_m: Position error of an end effector that costs as much as a joint at its limit under full torque [m].
            time_s: Time constant with which the posture follows [s]; slow, so that the operator can follow.
        """
        self._model, self._scratch = model, RobotModel(model.robot)
        self._joints = list(joints)
        self._cost_m, self._time_s = cost_m, time_s
        self._effort = np.array([max(joint.effort, 1e-6) for joint in model.robot.joints])
        self._weights: Array = np.zeros(len(model.robot.joints))
        self._position = model.robot.home
        self._dt_s = 0.0

    def set_target(self, position: Array, weights: Array, dt_s: float) -> None:
        """Set the posture (joints,) [rad or m], the heat weights (joints,) and the duration of the cycle [s]."""
        self._position, self._weights, self._dt_s = position, weights, dt_s

    def load(self, position: Array) -> Array:
        """Return the gravity torques at joint positions (joints,), as fractions of the drives' largest (joints,)."""
        return self._scratch.gravity_torques(position) / self._effort

    def compute_qp_residual(self, configuration: Any) -> tuple[Array, Array, float]:
        """Return the weighted Jacobian (hot joints, nv), the weighted errors (hot joints,) and 0."""
        hot = [j for j in self._joints if self._weights[j] > 0]
        jacobian = np.zeros((len(hot), configuration.nv))
        if not hot:
            return jacobian, np.zeros(0), 0.0
        scale = self._cost_m * self._weights[hot]
        here = self.load(self._position)[hot]
        for joint in self._joints:
            moved = self._position.copy()
            moved[joint] += LOAD_STEP_RAD
            jacobian[:, self._model.dofs[joint]] = scale * (self.load(moved)[hot] - here) / LOAD_STEP_RAD
        gain = min(1.0, self._dt_s / self._time_s)
        return jacobian, -gain * scale * here, 0.0

    def compute_qp_objective(self, configuration: Any) -> Any:
        """Return the quadratic objective of the residual."""
        jacobian, error, _ = self.compute_qp_residual(configuration)
        return mink.Objective(jacobian.T @ jacobian, -error @ jacobian)


def _element(model: RobotModel, text: str) -> tuple[str, int]:
    """Return kind and index of "body NAME" or "geom NAME" in the MJCF."""
    kind, _, name = text.partition(" ")
    kinds: Mapping[str, tuple[Any, int]] = {
        "body": (mujoco.mjtObj.mjOBJ_BODY, model.model.nbody),
        "geom": (mujoco.mjtObj.mjOBJ_GEOM, model.model.ngeom),
    }
    if kind not in kinds:
        raise UnknownNameError("kind of a point", kind, kinds)
    number = mujoco.mj_name2id(model.model, kinds[kind][0], name)
    if number < 0:
        names = [mujoco.mj_id2name(model.model, kinds[kind][0], i) for i in range(kinds[kind][1])]
        raise UnknownNameError(kind, name, [one for one in names if one])
    return kind, int(number)


def _target(vector: HandVector, joints: Array, rotation: Array, closed_m: float) -> tuple[Array, float]:
    """Return a vector (3,) [m] in the base's frame that the robot's hand is to have, and its weight."""
    first, second = (JOINT_NAMES.index(name) for name in vector.human)
    human = joints[second] - joints[first]
    if vector.contact_m is None:
        length = max(float(np.linalg.norm(np.diff(joints[first : second + 1], axis=0), axis=1).sum()), MIN_FINGER_M)
        return rotation @ human * (vector.length_m / length if vector.length_m else 1.0), vector.weight
    return _pinch(vector, rotation @ human, closed_m)


def _pinch(vector: HandVector, human: Array, closed: float) -> tuple[Array, float]:
    """Return the target of a pinch: the fingertips touch when the operator's do, and then it dominates."""
    distance = float(np.linalg.norm(human))
    wanted = (vector.contact_m or 0.0) + max(0.0, distance - closed)
    nearness = float(np.clip((PINCH_START_M - distance) / (PINCH_START_M - closed), 0.0, 1.0))
    direction = human / distance if distance > 1e-6 else np.array([1.0, 0.0, 0.0])
    return wanted * direction, vector.weight * (1 + (PINCH_WEIGHT - 1) * nearness)
