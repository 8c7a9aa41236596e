import itertools
import math

from waldo.fleet.store import (
    BATTERY_STALE_S,
    HISTORY_LENGTH,
    HISTORY_PERIOD_S,
    MAX_COMPONENTS,
    MAX_MOTORS,
    MAX_ROBOTS,
    NO_TEXT,
    FleetStore,
)
from waldo.robots.diagnostics import ERROR, OK, STALE, WARN, ComponentStatus, MotorStatus


def test_a_new_robot_has_the_reported_values_and_nan_for_the_others(motor) -> None:
    store = FleetStore()
    store.add_motors("arm", {"elbow": MotorStatus(values={"winding_celsius": 41.5})}, 100.0)
    (robot,) = store.robots(100.5)
    assert (robot.name, robot.stale, robot.age_s) == ("arm", False, 0.5)
    (elbow,) = robot.motors
    assert elbow.joint == "elbow"
    assert elbow.values["winding_celsius"] == 41.5
    assert math.isnan(elbow.values["housing_celsius"])
    assert math.isnan(robot.battery_ratio)


def test_a_robot_is_stale_after_ten_seconds_and_live_after_its_next_message(motor) -> None:
    store = FleetStore()
    store.add_motors("arm", {"elbow": motor(winding_celsius=40)}, 0.0)
    assert not store.robots(9.99)[0].stale
    assert store.robots(10.0)[0].stale
    store.add_motors("arm", {"elbow": motor(winding_celsius=41)}, 20.0)
    assert not store.robots(20.0)[0].stale


def test_robots_are_sorted_by_time_to_limit_and_stale_ones_are_last(motor) -> None:
    store = FleetStore()
    never = motor(winding_celsius=30, limit_celsius=70, time_to_limit_seconds=math.inf)
    store.add_motors("stale", {"a": motor(time_to_limit_seconds=1)}, 0.0)
    store.add_motors("never", {"a": never}, 20.0)
    warmer = motor(winding_celsius=60, limit_celsius=70, time_to_limit_seconds=math.inf)
    store.add_motors("never but warmer", {"a": warmer}, 20.0)
    store.add_motors("unknown", {"a": motor()}, 20.0)
    store.add_motors("late", {"a": motor(time_to_limit_seconds=900)}, 20.0)
    store.add_motors("soon", {"a": never, "b": motor(time_to_limit_seconds=30)}, 20.0)
    robots = store.robots(20.0)
    assert [robot.name for robot in robots] == ["soon", "late", "never but warmer", "never", "unknown", "stale"]
    assert robots[0].first is not None
    assert robots[0].first.joint == "b"
    assert robots[0].first.urgency == "critical"


def test_history_is_spaced_and_bounded(motor) -> None:
    store = FleetStore()
    for tick in range(10 * (HISTORY_LENGTH + 5) * int(HISTORY_PERIOD_S)):
        store.add_motors("arm", {"elbow": motor(winding_celsius=tick / 10, housing_celsius=20)}, tick / 10)
    history = store.robots(0.0)[0].motors[0].history
    assert len(history) == HISTORY_LENGTH
    steps = [later[0] - earlier[0] for earlier, later in itertools.pairwise(history)]
    assert min(steps) >= HISTORY_PERIOD_S
    assert history[-1][0] == history[-1][1]
    assert store.robots(0.0, history=False)[0].motors[0].history == ()


def test_a_message_increases_the_version_of_its_robot(motor) -> None:
    store = FleetStore()
    store.add_motors("a", {"elbow": motor()}, 0.0)
    before = max(robot.version for robot in store.robots(0.0))
    store.add_motors("b", {"elbow": motor()}, 0.0)
    assert [robot.name for robot in store.robots(0.0) if robot.version > before] == ["b"]


def test_a_battery_charge_outside_0_to_1_is_unknown() -> None:
    store = FleetStore()
    store.add_battery("arm", 0.5, 0.0)
    assert store.robots(0.0)[0].battery_ratio == 0.5
    for invalid in (math.nan, -1.0, 63.0):
        store.add_battery("arm", invalid, 0.0)
        assert math.isnan(store.robots(0.0)[0].battery_ratio)


def test_a_robot_without_motors_has_no_first_motor() -> None:
    store = FleetStore()
    store.add_battery("arm", 0.5, 0.0)
    assert store.robots(0.0)[0].first is None


def test_the_number_of_robots_and_motors_is_bounded(motor) -> None:
    store = FleetStore()
    for n in range(MAX_ROBOTS + 3):
        store.add_motors(f"robot {n}", {"elbow": motor()}, float(n))
    names = {robot.name for robot in store.robots(0.0)}
    assert len(names) == MAX_ROBOTS
    assert "robot 0" not in names
    assert f"robot {MAX_ROBOTS + 2}" in names
    store.add_motors("many", {f"joint {n}": motor() for n in range(MAX_MOTORS + 9)}, 1e6)
    (many,) = (robot for robot in store.robots(1e6) if robot.name == "many")
    assert len(many.motors) == MAX_MOTORS


def components(*statuses: ComponentStatus) -> dict[str, ComponentStatus]:
    return {status.component: status for status in statuses}


def test_faults_are_those_of_motors_and_components_most_severe_first(motor) -> None:
    store = FleetStore()
    motors = {
        "elbow": motor(level=WARN, message="winding at 41.0 °C; overload"),
        "wrist": motor(level=ERROR, message="winding at 71.0 °C, limit 70 °C", winding_celsius=71, limit_celsius=70),
        "claw": motor(level=OK, message="winding at 30.0 °C"),
    }
    store.add_motors("arm", motors, 0.0)
    control = ComponentStatus(component="control", level=OK, message="following")
    camera = ComponentStatus(component="camera front", level=ERROR, message="no frame for 3.0 s")
    store.add_components("arm", components(control, camera), 1.0)
    (robot,) = store.robots(1.0)
    assert robot.control == control
    assert [motor.status.level for motor in robot.motors] == [WARN, ERROR, OK]
    # A temperature is shown as heat, not as a fault.
    assert [(one.component, one.level, one.message) for one in robot.faults] == [
        ("camera front", ERROR, "no frame for 3.0 s"),
        ("elbow", WARN, "overload"),
    ]
    recovered = ComponentStatus(component="camera front", message="30 Hz")
    store.add_components("arm", components(recovered), 2.0)
    store.add_motors("arm", {"elbow": motor(message="winding at 41.0 °C")}, 2.0)
    assert store.robots(2.0)[0].faults == []


def test_a_component_status_keeps_a_robot_live_and_their_number_is_bounded() -> None:
    store = FleetStore()
    for n in range(MAX_COMPONENTS + 5):
        store.add_components("arm", components(ComponentStatus(component=f"camera {n}")), 20.0)
    (robot,) = store.robots(29.0)
    assert not robot.stale
    assert robot.control is None
    assert len(robot.components) == MAX_COMPONENTS


def test_a_motor_that_is_no_longer_reported_has_no_values(motor) -> None:
    store = FleetStore()
    store.add_motors("arm", {"elbow": motor(winding_celsius=40), "wrist": motor(winding_celsius=50)}, 0.0)
    store.add_motors("arm", {"elbow": motor(winding_celsius=41)}, 9.0)
    assert [one.values["winding_celsius"] for one in store.robots(9.0)[0].motors] == [41, 50]
    (robot,) = store.robots(12.0)
    elbow, wrist = robot.motors
    assert elbow.values["winding_celsius"] == 41
    assert math.isnan(wrist.values["winding_celsius"])
    assert [(one.component, one.level, one.message) for one in robot.faults] == [
        ("wrist", STALE, "no reading for 12 s")
    ]
    store.add_motors("arm", {"wrist": motor(winding_celsius=51)}, 13.0)
    assert store.robots(13.0)[0].faults == []


def test_the_state_is_unknown_once_the_control_mode_is_no_longer_reported(motor) -> None:
    store = FleetStore()
    control = ComponentStatus(component="control", message="following", values={"mode": "following"})
    store.add_components("arm", {"control": control}, 0.0)
    store.add_motors("arm", {"elbow": motor()}, 12.0)
    (robot,) = store.robots(12.0)
    assert (robot.state, robot.reason) == ("unknown", "no status for 12 s; the last one was: following")
    assert [one.component for one in robot.faults] == ["control"]


def test_the_parts_of_a_stale_robot_keep_their_last_values(motor) -> None:
    store = FleetStore()
    store.add_motors("arm", {"elbow": motor(winding_celsius=40)}, 0.0)
    (robot,) = store.robots(60.0)
    assert (robot.state, robot.reason) == ("stale", "no message for 60 s")
    assert robot.motors[0].values["winding_celsius"] == 40


def test_an_old_charge_is_unknown(motor) -> None:
    store = FleetStore()
    store.add_battery("arm", 0.5, 0.0)
    for now_s in (100.0, 121.0):
        store.add_motors("arm", {"elbow": motor()}, now_s)
        assert math.isnan(store.robots(now_s)[0].battery_ratio) == (now_s > BATTERY_STALE_S)


def test_only_a_stale_robot_is_forgotten_and_it_returns_with_its_next_message(motor) -> None:
    store = FleetStore()
    store.add_motors("arm", {"elbow": motor()}, 0.0)
    assert not store.forget("arm", 9.0)
    assert not store.forget("leg", 60.0)
    assert store.forget("arm", 10.0)
    assert store.robots(10.0) == []
    store.add_motors("arm", {"elbow": motor()}, 11.0)
    assert [robot.name for robot in store.robots(11.0)] == ["arm"]


def test_a_silent_robot_is_forgotten_after_a_time(motor) -> None:
    store = FleetStore(forget_s=100.0)
    store.add_motors("arm", {"elbow": motor()}, 0.0)
    store.add_motors("leg", {"knee": motor()}, 50.0)
    assert len(store.robots(99.0)) == 2
    assert [robot.name for robot in store.robots(100.0)] == ["leg"]
    never = FleetStore(forget_s=math.inf)
    never.add_motors("arm", {"elbow": motor()}, 0.0)
    assert len(never.robots(1e9)) == 1


def test_an_error_without_a_text_is_a_fault(motor) -> None:
    store = FleetStore()
    store.add_motors("arm", {"elbow": motor(level=ERROR)}, 0.0)
    assert [one.message for one in store.robots(0.0)[0].faults] == [NO_TEXT]
