import numpy as np
import pytest

from waldo.collect.teleop.observations import MissingJointsError, ObservationBuffer


def test_a_state_is_an_observation_in_the_order_of_the_joints() -> None:
    buffer = ObservationBuffer(("a", "b"))
    assert buffer.latest is None
    buffer.add_state(5, ["b", "extra", "a"], [2.0, 9.0, 1.0])
    assert buffer.latest is not None
    assert buffer.latest.stamp_ns == 5
    np.testing.assert_array_equal(buffer.latest.position, [1.0, 2.0])
    assert buffer.latest.environment == {}


def test_with_ground_truth_a_state_waits_for_that_of_its_own_time() -> None:
    buffer = ObservationBuffer(("a",))
    buffer.add_environment(10, ["cube.x"], [0.5])
    buffer.add_state(20, ["a"], [2.0])
    assert buffer.latest is None
    buffer.add_state(10, ["a"], [1.0])
    assert buffer.latest is not None
    assert (buffer.latest.stamp_ns, dict(buffer.latest.environment)) == (10, {"cube.x": 0.5})
    buffer.add_environment(20, ["cube.x"], [0.75])
    assert (buffer.latest.stamp_ns, dict(buffer.latest.environment)) == (20, {"cube.x": 0.75})


def test_in_lockstep_a_state_waits_for_the_first_ground_truth() -> None:
    buffer = ObservationBuffer(("a",), paired=True)
    buffer.add_state(10, ["a"], [1.0])
    assert buffer.latest is None
    buffer.add_environment(10, [], [])
    assert buffer.latest is not None


def test_after_a_restart_of_the_robot_its_earlier_stamps_are_followed() -> None:
    buffer = ObservationBuffer(("a",))
    buffer.add_state(20, ["a"], [2.0])
    buffer.add_state(10, ["a"], [1.0])
    assert buffer.latest is not None
    assert buffer.latest.stamp_ns == 10


def test_a_state_without_joints_of_the_robot_is_refused() -> None:
    expected = r"^joint_states lacks joints: b \(received: a, c\); check --robot and --namespace$"
    with pytest.raises(MissingJointsError, match=expected):
        ObservationBuffer(("a", "b")).add_state(0, ["a", "c"], [0.0, 0.0])


def test_applied_commands_and_heat_margins_are_part_of_the_next_observation() -> None:
    buffer = ObservationBuffer(("a", "b"))
    buffer.add_state(5, ["a", "b"], [1.0, 2.0])
    assert buffer.latest is not None
    assert (buffer.latest.applied, dict(buffer.latest.heat_margins)) == (None, {})
    buffer.add_applied(["b", "a"], [2.5, 1.5])
    buffer.add_heat_margins({"a": 0.3})
    buffer.add_state(6, ["a", "b"], [1.0, 2.0])
    np.testing.assert_array_equal(buffer.latest.applied, [1.5, 2.5])
    assert dict(buffer.latest.heat_margins) == {"a": 0.3}
    buffer.add_applied(["b"], [2.5])  # not the command of every joint
    buffer.add_state(7, ["a", "b"], [1.0, 2.0])
    assert buffer.latest.applied is None
