import itertools
import math

from waldo.fleet.store import HISTORY_LENGTH, HISTORY_PERIOD_S, MAX_MOTORS, MAX_ROBOTS, FleetStore


def test_a_robot_appears_with_what_it_told_and_nothing_it_did_not(motor) -> None:
    store = FleetStore()
    store.add_motors("arm", {"elbow": {"winding_celsius": 41.5}}, 100.0)
    (robot,) = store.robots(100.5)
    assert (robot.name, robot.stale, robot.age_s) == ("arm", False, 0.5)
    (elbow,) = robot.motors
    assert elbow.joint == "elbow"
    assert elbow.values["winding_celsius"] == 41.5
    assert math.isnan(elbow.values["housing_celsius"])
    assert math.isnan(robot.battery_ratio)


def test_a_robot_is_stale_after_ten_seconds_and_live_again_when_it_speaks(motor) -> None:
    store = FleetStore()
    store.add_motors("arm", {"elbow": motor(winding_celsius=40)}, 0.0)
    assert not store.robots(9.99)[0].stale
    assert store.robots(10.0)[0].stale
    store.add_motors("arm", {"elbow": motor(winding_celsius=41)}, 20.0)
    assert not store.robots(20.0)[0].stale


def test_the_robot_that_hits_a_limit_first_leads_and_stale_ones_trail(motor) -> None:
    store = FleetStore()
    never = motor(winding_celsius=30, limit_celsius=70, time_to_limit_seconds=math.inf)
    store.add_motors("stale", {"a": motor(time_to_limit_seconds=1)}, 0.0)
    store.add_motors("never", {"a": never}, 20.0)
    store.add_motors("never but warmer", {"a": never | {"winding_celsius": 60.0}}, 20.0)
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


def test_versions_tell_who_was_heard_since(motor) -> None:
    store = FleetStore()
    store.add_motors("a", {"elbow": motor()}, 0.0)
    before = max(robot.version for robot in store.robots(0.0))
    store.add_motors("b", {"elbow": motor()}, 0.0)
    assert [robot.name for robot in store.robots(0.0) if robot.version > before] == ["b"]


def test_battery_is_a_ratio_or_unknown() -> None:
    store = FleetStore()
    store.add_battery("arm", 0.5, 0.0)
    assert store.robots(0.0)[0].battery_ratio == 0.5
    for nonsense in (math.nan, -1.0, 63.0):
        store.add_battery("arm", nonsense, 0.0)
        assert math.isnan(store.robots(0.0)[0].battery_ratio)


def test_a_robot_without_motors_has_none_that_is_first() -> None:
    store = FleetStore()
    store.add_battery("arm", 0.5, 0.0)
    assert store.robots(0.0)[0].first is None


def test_made_up_names_cannot_fill_memory(motor) -> None:
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
