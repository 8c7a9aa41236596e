"""The condition of a robot as its operator sees it: one word, the reason, and what helps."""

from __future__ import annotations

from dataclasses import dataclass, replace

from waldo.robots.diagnostics import ERROR, OK, ComponentStatus

STATUS_TIMEOUT_S = 1.5
"""Age up to which a status of the robot's control is current [s]; a robot node publishes one a second."""

GONE = "disconnected"
"""Control mode of a robot whose node publishes nothing; a recorder assumes it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RobotCondition:
    """Whether a robot follows its operator."""

    word: str
    """FOLLOWING, HOLDING, STOPPED, CONNECTED (a robot that publishes no control status) or NO ROBOT."""
    level: int
    """Diagnostic level: `OK`, `WARN` or `ERROR`."""
    reason: str = ""
    """Why the robot does not follow; empty while it does."""
    action: str = ""
    """What the operator can do; empty if nothing is needed."""


ABSENT = RobotCondition(
    word="NO ROBOT", level=ERROR, reason="no joint_states received yet", action="start one with: waldo robot"
)
"""No robot has published a state yet."""

DISCONNECTED = RobotCondition(
    word="NO ROBOT",
    level=ERROR,
    reason="disconnected: no state from the robot node",
    action="check that waldo robot is running",
)
"""The robot's states have stopped."""


def robot_condition(
    control: ComponentStatus | None, *, status_age_s: float, received: bool, silent: bool
) -> RobotCondition:
    """Return the condition of a robot.

    Args:
        control: Last status of the component "control"; None if the robot has published none.
        status_age_s: Its age [s].
        received: Whether a state of the robot has been received.
        silent: Whether its states have stopped.
    """
    if control is not None and control.values.get("mode") == GONE:
        return replace(DISCONNECTED, reason=control.message)
    # A robot node whose robot is disconnected sends no state but the reason.
    if control is not None and status_age_s < STATUS_TIMEOUT_S and control.level >= ERROR:
        return _commanded(control)
    if not received:
        return ABSENT
    if silent:
        return DISCONNECTED
    if control is None:
        return RobotCondition(word="CONNECTED", level=OK, reason="the robot publishes no control status")
    return _commanded(control)


def _commanded(control: ComponentStatus) -> RobotCondition:
    """Return the condition that a control status reports."""
    return RobotCondition(
        word=control.values.get("mode", "").upper() or "CONNECTED",
        level=control.level,
        reason=control.values.get("reason", "") or ("" if control.level == OK else control.message),
        action="remove the cause, then press v to enable the robot" if control.level >= ERROR else "",
    )
