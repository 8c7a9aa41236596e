import pytest

from waldo.collect.robot_condition import ABSENT, DISCONNECTED, RobotCondition, robot_condition
from waldo.robots.diagnostics import ERROR, OK, WARN, ComponentStatus

FOLLOWING = ComponentStatus(component="control", level=OK, message="following", values={"mode": "following"})
HOT = ComponentStatus(
    component="control",
    level=WARN,
    message="holding: elbow is 1.0 K below its heat limit",
    values={"mode": "holding", "reason": "elbow is 1.0 K below its heat limit"},
)
STOPPED = ComponentStatus(
    component="control",
    level=ERROR,
    message="stopped: robot disconnected",
    values={"mode": "stopped", "reason": "robot disconnected"},
)
SHOWN_STOPPED = RobotCondition(
    word="STOPPED",
    level=ERROR,
    reason="robot disconnected",
    action="remove the cause, then press v to enable the robot",
)


@pytest.mark.parametrize(
    ("control", "age_s", "received", "silent", "condition"),
    [
        (None, 0.0, False, False, ABSENT),
        (FOLLOWING, 0.1, True, False, RobotCondition(word="FOLLOWING", level=OK)),
        (HOT, 0.1, True, False, RobotCondition(word="HOLDING", level=WARN, reason=HOT.values["reason"])),
        (STOPPED, 0.1, True, False, SHOWN_STOPPED),
        # A node whose robot is disconnected sends its reason but no state; an absent node sends neither.
        (STOPPED, 0.1, True, True, SHOWN_STOPPED),
        (STOPPED, 2.0, True, True, DISCONNECTED),
        (FOLLOWING, 0.1, True, True, DISCONNECTED),
        (STOPPED, 0.1, False, False, SHOWN_STOPPED),
        (
            None,
            0.0,
            True,
            False,
            RobotCondition(word="CONNECTED", level=OK, reason="the robot publishes no control status"),
        ),
    ],
)
def test_the_condition_of_a_robot(
    control: ComponentStatus | None, age_s: float, received: bool, silent: bool, condition: RobotCondition
) -> None:
    assert robot_condition(control, status_age_s=age_s, received=received, silent=silent) == condition
