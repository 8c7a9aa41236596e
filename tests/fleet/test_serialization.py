import json
import math
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from waldo.fleet.serialization import fleet_parts, number
from waldo.fleet.store import FleetStore
from waldo.robots import motor_readings
from waldo.robots.diagnostics import ERROR, WARN, ComponentStatus, MotorStatus


def fleet_json(*args: Any, **options: Any) -> dict[str, Any]:
    """Return the document that the parts make up."""
    return json.loads("".join(fleet_parts(*args, **options)))


def test_unknown_is_null_and_infinite_is_inf() -> None:
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
@given(
    st.dictionaries(st.sampled_from([one.key for one in motor_readings.MOTOR_QUANTITIES]), st.floats()),
    st.text(),
    st.text(),
)
def test_any_values_and_texts_are_valid_json(values: dict[str, float], name: str, joint: str) -> None:
    store = FleetStore()
    store.add_motors(name, {joint: MotorStatus(level=WARN, message=joint, values=values)}, 0.0)
    store.add_components(name, {name: ComponentStatus(component=name, level=ERROR, message=joint)}, 0.0)
    text = "".join(fleet_parts(store.robots(0.0), 0.0, None))
    assert json.loads(text)["robots"][0]["motors"][0]["joint"] == joint


def test_the_quantities_are_listed_with_the_whole_fleet_only() -> None:
    first = fleet_json([], 0.0, None)["quantities"]
    assert [one["key"] for one in first] == [one.key for one in motor_readings.MOTOR_QUANTITIES]
    assert first[0] == {
        "key": "winding_celsius",
        "unit": "°C",
        "description": "winding temperature, measured or estimated",
    }
    assert "quantities" not in fleet_json([], 0.0, None, since=0)


def test_statuses_of_motors_and_components_as_json(motor) -> None:
    store = FleetStore()
    store.add_motors("arm", {"elbow": motor(level=WARN, message="winding at 41.0 °C; overload")}, 0.0)
    control = ComponentStatus(
        component="control", level=WARN, message="holding: no command", values={"mode": "holding"}
    )
    store.add_components("arm", {"control": control}, 0.0)
    (robot,) = fleet_json(store.robots(0.0), 0.0, None)["robots"]
    assert (robot["motors"][0]["status"], robot["motors"][0]["message"]) == ("warning", "winding at 41.0 °C; overload")
    expected = {
        "component": "control",
        "status": "warning",
        "message": "holding: no command",
        "values": {"mode": "holding"},
    }
    assert robot["control"] == expected
    assert robot["components"] == [expected]
    assert robot["faults"] == [
        {"component": "elbow", "status": "warning", "message": "overload", "values": {}},
        expected,
    ]
