import json
import math

from hypothesis import given, settings
from hypothesis import strategies as st

from waldo.fleet.serialization import fleet_json, number
from waldo.fleet.store import FleetStore
from waldo.robots.motor_readings import MOTOR_QUANTITIES


def test_numbers_unknowns_and_never() -> None:
    assert number(41.23456) == 41.23
    assert number(math.nan) is None
    assert number(math.inf) == "inf"


def test_the_fleet_as_json(motor) -> None:
    store = FleetStore()
    store.add_motors("old", {"elbow": motor(winding_celsius=30)}, 0.0)
    before = store.robots(0.0)[0].version
    store.add_motors("arm", {"elbow": motor(winding_celsius=60, limit_celsius=90, time_to_limit_seconds=50)}, 20.0)
    found = fleet_json(store.robots(21.0), 21.0, None, before)
    assert (found["order"], found["stale"], found["error"]) == (["arm", "old"], ["old"], None)
    (robot,) = found["robots"]
    assert (robot["name"], robot["age_s"], robot["stale"], robot["first_joint"]) == ("arm", 1.0, False, "elbow")
    (elbow,) = robot["motors"]
    assert (elbow["level"], elbow["urgency"], elbow["housing_celsius"]) == ("warm", "critical", None)
    assert elbow["history"] == [[20.0, 60.0, None]]
    assert elbow["bands_celsius"] == [50, 70, 90]


@settings(max_examples=50, deadline=None)
@given(st.dictionaries(st.sampled_from([one.key for one in MOTOR_QUANTITIES]), st.floats()), st.text(), st.text())
def test_whatever_a_robot_sends_is_valid_json(values: dict[str, float], name: str, joint: str) -> None:
    store = FleetStore()
    store.add_motors(name, {joint: values}, 0.0)
    text = json.dumps(fleet_json(store.robots(0.0), 0.0, None), allow_nan=False)
    assert json.loads(text)["robots"][0]["motors"][0]["joint"] == joint
