r"""Retargeting: joint targets with which a robot's end effectors follow the operator's hands.

Each cycle solves one quadratic program for the motion $\Delta q$ of all joints that follow the operator:

$$\min_{\Delta q} \sum_{arms} \lVert J \Delta q - e \rVert^2_W + \lVert hands \rVert^2 + \lVert load \rVert^2
+ \sum_j c_j^2 (\Delta q_j - g\,(q_{rest,j} - q_j))^2 + d_j^2\,\Delta q_j^2$$

subject to the joints' position and velocity limits, which always hold, and to the distances between parts of the robot.
Standing still is always a solution, so a target that is out of reach or singular slows the robot down and no more.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import qpsolvers
from numpy.typing import NDArray

from waldo.collect.devices.tracking import Side
from waldo.collect.retargeting.arms import Arm, Arms, load_arms
from waldo.collect.retargeting.collision import SelfCollision
from waldo.collect.retargeting.droop import Droop
from waldo.collect.retargeting.engine import mink
from waldo.collect.retargeting.hand_controls import Fingers, load_fingers
from waldo.collect.retargeting.kinematics import RobotModel
from waldo.collect.retargeting.tasks import LoadTask
from waldo.errors import InvalidValueError
from waldo.robots.description import Robot
from waldo.robots.drivers.options import TypedOptions
from waldo.typing import Array

SOLVER = "daqp"
"""Solver of the quadratic program: a dual active-set method, exact and without allocation, for small problems."""

ROTATION_M = 0.12
"""Position error that weighs as much as an orientation error of one radian [m]."""

FIVE_AXIS_ROTATION_M = 0.06
"""The same for arms with fewer than six joints, which cannot reach every orientation: position comes first [m]."""

DAMPING_M = 0.012
"""Cost of a motion of one radian per cycle, against one meter of error [m]: damps the motion near a singularity."""

ERROR_DAMPING = 0.3
"""Levenberg-Marquardt damping that grows with the squared error of an arm, for targets out of reach."""

REST_COST_M = 0.015
"""Cost of a radian away from the posture at engagement, against one meter of error [m]."""

REST_TIME_S = 1.5
"""Time constant with which redundant joints return to that posture [s]."""

FINGER_COST_M = 1.0
"""Cost of a radian of a finger that is commanded directly; fingers move no other joint, so any cost is exact [m]."""

FINGER_DAMPING_M = 0.015
"""Damping of fingers that follow vectors: they stay where they were if a vector does not determine them [m]."""

SLACK_M = 1e-5
"""Approach of two parts that touch, in one cycle, that is allowed where the solver finds nothing without it [m]."""

LEAD_S = 0.25
"""Largest lead of a target over the measured position, as time at full speed [s]; a blocked joint must not wind up."""

MIN_LEAD = 0.1
"""Lower bound of that lead, for slow joints and for the error of a loaded position controller [rad or m]."""

SINGULAR_AXIS = 0.5
"""An axis of the end effector counts as free if this fraction of it cannot be turned without moving the position."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RetargetOptions(TypedOptions):
    """Options of the retargeting."""

    arms: str = ""
    """YAML file with the arms, for a robot without one; see docs/guide/retargeting.md."""
    hand: str = ""
    """Description of the hands: dex3_1, inspire, gripper, or the path of a YAML file; by default that of the robot."""
    speed_ratio: float = 1.0
    """Largest speed of a joint, as a fraction of its speed limit."""
    self_collision: bool = True
    """Whether arms keep a distance from each other and from the rest of the robot."""
    heat_cost_m: float = 0.3
    """Position error that costs as much as a joint at its heat limit under full torque; 0 ignores heat [m]."""
    heat_margin: float = 0.5
    """Heat margin of a joint below which its load is reduced, 0 to 1."""

    def __post_init__(self) -> None:
        """Raise InvalidValueError for a speed ratio or margin outside 0 to 1, or a negative cost."""
        TypedOptions.__post_init__(self)
        for name in ("speed_ratio", "heat_margin"):
            if not 0 < getattr(self, name) <= 1:
                raise InvalidValueError(name, getattr(self, name), "a number above 0, up to 1")
        if not 0 <= self.heat_cost_m <= 1:
            raise InvalidValueError("heat_cost_m", self.heat_cost_m, "a number from 0 to 1")


@dataclass(frozen=True, slots=True, kw_only=True)
class HandTarget:
    """What one arm is to do."""

    pose: Array
    """Pose of the end effector in the frame of the MJCF's world, shape (4, 4) [m]."""
    joints: Array | None = None
    """Joints of the operator's hand, shape (25, 3) [m], in any right-handed frame; None: `closing` applies."""
    closing: float | None = None
    """How far the fingers are closed, 0 to 1; None leaves them where they are."""

    @property
    def is_finite(self) -> bool:
        """Whether all numbers are finite."""
        values = [self.pose, *(value for value in (self.joints, self.closing) if value is not None)]
        return all(bool(np.isfinite(value).all()) for value in values)


@dataclass(frozen=True, slots=True, kw_only=True)
class Retargeted:
    """The result of a cycle."""

    command: Array
    """Joint targets, shape (joints,) [rad or m]."""
    errors_m: Mapping[Side, float] = field(default_factory=dict[Side, float])
    """Remaining distance of each moving end effector from its target [m]."""
    fault: str = ""
    """Why the robot holds its targets; empty if a solution was found."""


class Retargeter:
    """Joint targets of a robot whose arms follow poses. Joints of legs, trunk and idle arms keep their targets."""

    def __init__(self, robot: Robot, options: RetargetOptions | None = None, *, single: Side = "right") -> None:
        """Load the robot's model, arms and hands.

        Args:
            robot: The robot.
            options: Options of the retargeting.
            single: The hand that a robot with one arm follows.

        Raises:
            NoEndEffectorError: If the robot has no known end effectors.
            UnknownNameError: If a description names a joint, site, body or hand that does not exist.
            FileError: If a file cannot be used.
        """
        self.robot, self.options = robot, options or RetargetOptions()
        self._model = RobotModel(robot)
        self.arms: Arms = load_arms(self._model, path=self.options.arms, single=single)
        every = tuple(self.arms.arms.values())
        loaded = {arm.side: load_fingers(self._model, arm, hand=self.options.hand) for arm in every}
        self.fingers: Mapping[Side, Fingers] = {side: one for side, one in loaded.items() if one is not None}
        self._tasks = {arm.side: self._frame_task(arm) for arm in every}
        self.collision = SelfCollision(self._model, every) if self.options.self_collision else None
        self._load = LoadTask(
            self._model, sorted({j for arm in every for j in arm.joints}), self.options.heat_cost_m, REST_TIME_S
        )
        self._speed = self.options.speed_ratio * np.array([joint.velocity for joint in robot.joints])
        self._lead = np.maximum(self._speed * LEAD_S, MIN_LEAD)
        self._damping = np.full(len(robot.joints), DAMPING_M)
        for joint, factor in self.arms.costs.items():
            self._damping[joint] *= factor
        self._arm_joints = np.zeros(len(robot.joints), dtype=bool)
        self._arm_joints[[joint for arm in every for joint in arm.joints]] = True
        self._droop = Droop(self._arm_joints)
        self._position, self._command = robot.home.copy(), robot.home.copy()
        self._rest = self._position
        self._started = False

    @property
    def position(self) -> Array:
        """The desired joint positions, shape (joints,) [rad or m]; a command leads them by the droop of the joint."""
        return self._position.copy()

    @property
    def command(self) -> Array:
        """The current joint targets, shape (joints,) [rad or m]."""
        return self._command.copy()

    def reset(self, measured: Array, applied: Array | None = None) -> None:
        """Start at measured positions, (joints,) [rad or m].

        Args:
            measured: Shape (joints,) [rad or m].
            applied: The command that the robot holds, shape (joints,) [rad or m]; by default the last one from here.
                Near the measured position, its distance is the droop of a loaded joint or the force of a grasp, and it
                is kept: the joint would otherwise sag, or the hand open, each time the operator engages.
        """
        start = np.clip(measured, self.robot.lower, self.robot.upper)
        held = applied if applied is not None else self._command if self._started else None
        self._droop.start(start, held)
        self._position = start
        if held is not None:
            # Joints of no arm: legs keep their targets, and fingers their grasp.
            still = ~self._arm_joints & (np.abs(held - measured) <= self._lead)
            self._position = np.where(still, np.clip(held, self.robot.lower, self.robot.upper), start)
        self._command = np.clip(self._position + self._droop.offset, self.robot.lower, self.robot.upper)
        self._rest = self._position.copy()
        self._started = True

    def pose(self, side: Side) -> Array:
        """Return the pose (4, 4) of an arm's end effector at the desired positions, in the MJCF's world [m]."""
        self._model.update(self._position)
        return self._model.site_pose(self.arms.arms[side].site)

    def step(
        self,
        targets: Mapping[Side, HandTarget],
        measured: Array,
        dt_s: float,
        heat: Mapping[str, float] | None = None,
    ) -> Retargeted:
        """Return the joint targets after a cycle.

        Args:
            targets: The arms that move, with their targets; others stay where they are.
            measured: Measured joint positions, shape (joints,) [rad or m].
            dt_s: Duration of the cycle [s].
            heat: Joint -> heat margin: 1 for a cool motor, 0 for one at its limit. Joints that are missing are cool.
        """
        if not (np.isfinite(measured).all() and all(one.is_finite for one in targets.values())):
            return Retargeted(command=self.command, fault="a target or a measured position is not a finite number")
        start = np.clip(self._position, measured - self._lead, measured + self._lead)
        start = np.clip(start, self.robot.lower, self.robot.upper)
        moving = self._moving(targets)
        if not len(moving):
            return Retargeted(command=self.command)
        start = np.where(np.isin(np.arange(len(start)), moving), start, self._position)
        self._model.update(start)
        try:
            problem = self._problem(targets, moving, start, dt_s, heat or {})
            step = _solved(problem)
        except (ValueError, ArithmeticError, qpsolvers.exceptions.QPError) as error:
            return Retargeted(command=self.command, fault=f"the retargeting failed: {error}")
        if step is None or not np.isfinite(step).all():
            return Retargeted(command=self.command, fault="the retargeting found no solution")
        # The solver meets bounds within its tolerance; the limits of the robot are exact.
        bound = self._speed[moving] * dt_s
        found = start.copy()
        found[moving] += np.clip(step, -bound, bound)
        found = np.clip(found, self.robot.lower, self.robot.upper)
        self._droop.step(found, found - self._position, measured, dt_s, moving)
        self._position = found
        self._advance_command(moving, bound)
        self._model.update(self._position)
        errors = {side: self._error(side, target) for side, target in targets.items()}
        return Retargeted(command=self.command, errors_m=errors)

    def _advance_command(self, moving: NDArray[np.intp], bound: Array) -> None:
        """Move the command of the moving joints to the desired position and its offset, within the speed limits."""
        wanted = np.clip(self._position + self._droop.offset, self.robot.lower, self.robot.upper)[moving]
        last = self._command[moving]
        self._command[moving] = np.clip(wanted, last - bound, last + bound)

    def _moving(self, sides: Iterable[Side]) -> NDArray[np.intp]:
        """Return the indices of the joints that follow the hands of some sides."""
        sides = tuple(sides)
        joints = {j for side in sides for j in self.arms.arms[side].joints}
        joints |= {int(j) for side in sides if side in self.fingers for j in self.fingers[side].joints}
        return np.array(sorted(joints), dtype=np.intp)

    def _problem(
        self,
        targets: Mapping[Side, HandTarget],
        moving: NDArray[np.intp],
        start: Array,
        dt_s: float,
        heat: Mapping[str, float],
    ) -> Any:
        """Return the quadratic program in the moving joints."""
        weights = self._heat_weights(heat)
        tasks: list[Any] = []
        for side, target in targets.items():
            self._tasks[side].set_target(mink.SE3.from_matrix(target.pose))
            tasks.append(self._tasks[side])
        if weights.any():
            self._load.set_target(start, weights, dt_s)
            tasks.append(self._load)
        cost, damping, pull = self._joint_costs(start, dt_s)
        for side, target in targets.items():
            self._add_fingers(side, target, start, tasks, cost, damping, pull)
        limits = [self.collision.limit(dt_s)] if self.collision is not None else []
        whole = mink.build_ik(self._model.configuration, tasks, dt_s, limits=limits)
        reduce = self._model.velocity_map(moving, start)
        quadratic = reduce.T @ whole.P @ reduce + np.diag(cost[moving] ** 2 + damping[moving] ** 2)
        linear = reduce.T @ whole.q - cost[moving] ** 2 * pull[moving]
        bound = self._speed[moving] * dt_s
        lower = np.maximum(-bound, np.minimum(self.robot.lower[moving] - start[moving], 0.0))
        upper = np.minimum(bound, np.maximum(self.robot.upper[moving] - start[moving], 0.0))
        matrix, vector = _active_rows(whole, reduce, bound)
        return qpsolvers.Problem(quadratic, linear, matrix, vector, lb=lower, ub=upper)

    def _joint_costs(self, start: Array, dt_s: float) -> tuple[Array, Array, Array]:
        """Return cost, damping (joints,) [m] and desired step (joints,) [rad or m] of each joint by itself."""
        cost = np.full(len(start), REST_COST_M)
        return cost, self._damping.copy(), min(1.0, dt_s / REST_TIME_S) * (self._rest - start)

    def _add_fingers(
        self,
        side: Side,
        target: HandTarget,
        start: Array,
        tasks: list[Any],
        cost: Array,
        damping: Array,
        pull: Array,
    ) -> None:
        """Let the fingers of an arm follow the operator's, or the trigger."""
        fingers = self.fingers.get(side)
        if fingers is None:
            return
        joints = fingers.joints
        if target.joints is not None and fingers.task is not None:
            fingers.task.set_target(target.joints)
            tasks.append(fingers.task)
            cost[joints], damping[joints] = 0.0, FINGER_DAMPING_M
            return
        closing = target.closing if target.joints is None else fingers.closing(target.joints)
        cost[joints], damping[joints] = FINGER_COST_M, 0.0
        pull[joints] = 0.0 if closing is None else fingers.positions(closing) - start[joints]

    def _heat_weights(self, heat: Mapping[str, float]) -> Array:
        """Return the heat weight of each joint, (joints,): 0 above the margin, growing quadratically to 1 at 0."""
        margin = np.array([heat.get(name, 1.0) for name in self.robot.joint_names])
        missing = 1 - np.clip(np.nan_to_num(margin, nan=1.0), 0.0, 1.0) / self.options.heat_margin
        return np.square(np.maximum(missing, 0.0)) * (self.options.heat_cost_m > 0)

    def _error(self, side: Side, target: HandTarget) -> float:
        pose = self._model.site_pose(self.arms.arms[side].site)
        return float(np.linalg.norm(pose[:3, 3] - target.pose[:3, 3]))

    def _frame_task(self, arm: Arm) -> Any:
        """Return the task of an end effector; rotation about an axis that the arm cannot turn costs nothing."""
        rotation = ROTATION_M if len(arm.joints) >= 6 else FIVE_AXIS_ROTATION_M
        cost = rotation * self._turnable(arm)
        return mink.FrameTask(arm.site, "site", position_cost=1.0, orientation_cost=cost, lm_damping=ERROR_DAMPING)

    def _turnable(self, arm: Arm) -> Array:
        """Return for each axis of an end effector, shape (3,), whether its arm can turn it in place, 1 or 0."""
        if len(arm.joints) >= 6:
            return np.ones(3)
        self._model.update(self.robot.home)
        jacobian = self._model.configuration.get_frame_jacobian(arm.site, "site")[:, self._model.dofs[list(arm.joints)]]
        _, singular, rows = np.linalg.svd(jacobian[:3])
        turns = jacobian[3:] @ rows[int((singular > 1e-6).sum()) :].T
        axes, size, _ = np.linalg.svd(turns, full_matrices=False)
        span = axes[:, size > 1e-6]
        return (np.linalg.norm(span, axis=1) > SINGULAR_AXIS).astype(float)


def _solved(problem: Any) -> Array | None:
    """Return the solution (n,); None if the solver finds none."""
    found = qpsolvers.solve_problem(problem, solver=SOLVER).x
    if found is None and problem.G is not None:
        # With many parts in touch, only standing still may be allowed; the solver needs an interior.
        loose = problem.h + SLACK_M
        relaxed = qpsolvers.Problem(problem.P, problem.q, problem.G, loose, lb=problem.lb, ub=problem.ub)
        found = qpsolvers.solve_problem(relaxed, solver=SOLVER).x
    return found


def _active_rows(problem: Any, reduce: Array, bound: Array) -> tuple[Array | None, Array | None]:
    """Return the inequalities that can become active within the velocity limits, in the moving joints."""
    if problem.G is None:
        return None, None
    finite = np.isfinite(problem.h)
    matrix, vector = problem.G[finite] @ reduce, problem.h[finite]
    active = np.abs(matrix) @ bound > vector
    return (matrix[active], vector[active]) if active.any() else (None, None)
