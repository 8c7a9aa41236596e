import asyncio
import math
import re
import subprocess

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.parser import text_string_to_metric_families

from tests.machine import needs_promtool, promtool
from waldo.fleet.metrics import (
    MAX_TEXT_LENGTH,
    MAX_TEXTS,
    OTHER_TEXT,
    SLICE_SAMPLES,
    FleetCollector,
    LabelTexts,
    joint_metrics,
    metrics_text,
)
from waldo.fleet.server import Site
from waldo.fleet.store import STATES, FleetStore
from waldo.robots import motor_readings
from waldo.robots.diagnostics import ERROR, WARN, ComponentStatus


def registry_of(store: FleetStore, clock) -> CollectorRegistry:
    registry = CollectorRegistry()
    FleetCollector(store, clock=clock, epoch=lambda: 5000.0, site="hall 2", registry=registry)
    return registry


def test_every_quantity_has_its_name_and_labels(clock, motor) -> None:
    store = FleetStore()
    values = motor(
        winding_celsius=61.5,
        housing_celsius=48.25,
        limit_celsius=85,
        current_amperes=1.25,
        voltage_volts=12,
        torque_newton_metres=0.5,
        duty_ratio=0.75,
        utilization_ratio=1.5,
        time_to_limit_seconds=90,
    )
    store.add_motors("arm", {"elbow": values}, clock())
    store.add_battery("arm", 0.5, clock())
    registry = registry_of(store, clock)
    elbow = {"robot": "arm", "joint": "elbow"}

    def joint(name: str, **labels: str) -> float | None:
        return registry.get_sample_value(f"waldo_joint_{name}", elbow | labels)

    assert joint("temperature_celsius", node="winding") == 61.5
    assert joint("temperature_celsius", node="housing") == 48.25
    assert joint("temperature_limit_celsius") == 85
    assert joint("thermal_headroom_ratio") == (85 - 61.5) / 60
    assert joint("time_to_limit_seconds", percentile="50") == 90
    assert joint("duty_ratio", window="10m") == 0.75
    assert joint("thermal_utilization_ratio") == 1.5
    assert joint("current_amperes") == 1.25
    assert joint("voltage_volts") == 12
    assert joint("torque_newton_metres") == 0.5
    assert registry.get_sample_value("waldo_robot_battery_charge_ratio", {"robot": "arm"}) == 0.5
    assert registry.get_sample_value("waldo_robot_last_seen_timestamp_seconds", {"robot": "arm"}) == 5000
    assert registry.get_sample_value("waldo_robot_info", {"robot": "arm", "site": "hall 2"}) == 1


def test_the_text_is_prometheus_s_and_requests_are_answered_while_it_is_formatted(clock, motor) -> None:
    store = FleetStore()
    joints = [f"joint_{n}" for n in range(SLICE_SAMPLES)]
    for robot in ("left", "right", "third"):
        store.add_motors(robot, {joint: motor(winding_celsius=40, limit_celsius=70) for joint in joints}, clock())
    collector = FleetCollector(store, clock=clock, epoch=lambda: 5000.0, site="hall 2")
    turns = 0

    async def main() -> bytes:
        async def other_requests() -> None:
            nonlocal turns
            while True:
                turns += 1
                await asyncio.sleep(0)

        others = asyncio.create_task(other_requests())
        text = await metrics_text(collector)
        others.cancel()
        return text

    text = asyncio.run(main())
    assert text == generate_latest(registry_of(store, clock))
    assert turns > text.count(b"\n") / SLICE_SAMPLES


def test_an_unknown_value_has_no_sample_and_never_is_infinite(clock, motor) -> None:
    store = FleetStore()
    store.add_motors("arm", {"elbow": motor(time_to_limit_seconds=math.inf)}, clock())
    samples = [
        sample
        for family in text_string_to_metric_families(generate_latest(registry_of(store, clock)).decode())
        for sample in family.samples
        if sample.name.startswith("waldo_joint_")
    ]
    assert [(sample.name, sample.value) for sample in samples] == [
        ("waldo_joint_time_to_limit_seconds", math.inf),
        ("waldo_joint_status_level", 0),
    ]


def test_a_stale_robot_keeps_only_the_time_of_its_last_message(clock, motor) -> None:
    store = FleetStore()
    store.add_motors("arm", {"elbow": motor(winding_celsius=50)}, clock())
    store.add_battery("arm", 0.5, clock())
    store.add_components("arm", {"control": ComponentStatus(component="control")}, clock())
    registry = registry_of(store, clock)
    clock.now_s += 60
    assert registry.get_sample_value("waldo_robot_last_seen_timestamp_seconds", {"robot": "arm"}) == 5000 - 60
    text = generate_latest(registry).decode()
    assert "waldo_joint_temperature_celsius{" not in text
    assert "waldo_robot_battery_charge_ratio{" not in text
    assert "waldo_component_status_level{" not in text


def test_names_from_the_network_cannot_break_the_format(clock, motor) -> None:
    store = FleetStore()
    name = 'a"b\\c\nwaldo_robot_info 7'
    store.add_motors(name, {"elbow": motor(winding_celsius=50)}, clock())
    families = text_string_to_metric_families(generate_latest(registry_of(store, clock)).decode())
    assert {sample.labels["robot"] for family in families for sample in family.samples} == {name}


def test_faults_are_levels_and_texts_without_figures(clock, motor) -> None:
    store = FleetStore()
    store.add_motors("arm", {"elbow": motor(level=WARN, message="winding at 41.0 °C; overload")}, clock())
    camera = ComponentStatus(component="camera front", level=ERROR, message="no frame for 3.0 s")
    store.add_components("arm", {camera.component: camera}, clock())
    registry = registry_of(store, clock)
    assert registry.get_sample_value("waldo_joint_status_level", {"robot": "arm", "joint": "elbow"}) == 1
    labels = {"robot": "arm", "component": "camera front"}
    assert registry.get_sample_value("waldo_component_status_level", labels) == 2
    for fault in (
        {"component": "elbow", "level": "warning", "fault": "overload"},
        {"component": "camera front", "level": "error", "fault": "no frame for … s"},
    ):
        assert registry.get_sample_value("waldo_robot_fault_info", {"robot": "arm"} | fault) == 1


def states(registry: CollectorRegistry, robot: str) -> list[str]:
    """Return the states whose sample is 1; there is a sample for each state."""
    values = {one: registry.get_sample_value("waldo_robot_state", {"robot": robot, "state": one}) for one in STATES}
    assert set(values.values()) == {0.0, 1.0}
    return [state for state, value in values.items() if value]


def test_the_state_of_a_robot_and_its_reason(clock, motor) -> None:
    store = FleetStore()
    registry = registry_of(store, clock)
    store.add_motors("arm", {"elbow": motor()}, clock())
    assert states(registry, "arm") == ["unknown"]
    for mode, reason, label in (
        ("following", "", None),
        ("holding", "no command for 0.2 s", "no command for … s"),
        ("stopped", "elbow is at 1.25, limits -1.00 to 1.00", "elbow is at …, limits … to …"),
    ):
        status = ComponentStatus(component="control", values={"mode": mode, "reason": reason})
        store.add_components("arm", {"control": status}, clock())
        assert states(registry, "arm") == [mode]
        text = generate_latest(registry).decode()
        if label is None:
            assert "waldo_robot_state_reason_info{" not in text
        else:
            labels = {"robot": "arm", "state": mode, "reason": label}
            assert registry.get_sample_value("waldo_robot_state_reason_info", labels) == 1
    clock.now_s += 12
    assert states(registry, "arm") == ["stale"]
    labels = {"robot": "arm", "state": "stale", "reason": "no message for … s"}
    assert registry.get_sample_value("waldo_robot_state_reason_info", labels) == 1


def test_the_number_of_different_texts_is_limited() -> None:
    label = LabelTexts()
    found = {label(f"fault of motor_{n}: " + 300 * "x") for n in range(2 * MAX_TEXTS)}
    assert len(found) == MAX_TEXTS + 1
    assert OTHER_TEXT in found
    assert max(map(len, found)) == MAX_TEXT_LENGTH
    assert label(f"fault of motor_0: {300 * 'x'}").startswith("fault of motor_0")


def test_a_series_occurs_once_although_a_motor_is_named_like_a_component(clock, motor) -> None:
    store = FleetStore()
    store.add_motors("arm", {"gripper": motor(level=ERROR, message="stuck")}, clock())
    gripper = ComponentStatus(component="gripper", level=ERROR, message="stuck")
    store.add_components("arm", {"gripper": gripper}, clock())
    text = generate_latest(registry_of(store, clock)).decode()
    assert text.count("waldo_robot_fault_info{") == 1


@needs_promtool
def test_promtool_accepts_the_metrics(run_site, clock, motor) -> None:
    store = FleetStore()
    values = {quantity.key: 70.0 for quantity in motor_readings.MOTOR_QUANTITIES}
    store.add_motors("arm", {"elbow": motor(level=ERROR, message='hot "as"\nhell\\', **values)}, clock())
    store.add_battery("arm", 0.5, clock())
    control = ComponentStatus(component="control", level=WARN, values={"mode": "holding", "reason": "no command"})
    store.add_components("arm", {"control": control}, clock())
    text = run_site(Site(store=store, clock=clock, name="hall 2")).text("/metrics")
    found = {sample.name for family in text_string_to_metric_families(text) for sample in family.samples}
    assert found == set(re.findall(r"^# TYPE (\S+)", text, re.MULTILINE))
    checked = subprocess.run([promtool(), "check", "metrics"], input=text, capture_output=True, text=True, timeout=120)
    assert (checked.returncode, checked.stdout + checked.stderr) == (0, "")
    wrong = subprocess.run(
        [promtool(), "check", "metrics"], input="waldo_time_ms 1\n", capture_output=True, text=True, timeout=120
    )
    assert wrong.returncode == 3


def test_without_a_site_there_is_no_empty_label(clock, motor) -> None:
    store = FleetStore()
    store.add_motors("arm", {"elbow": motor()}, clock())
    registry = CollectorRegistry()
    FleetCollector(store, clock=clock, epoch=lambda: 5000.0, registry=registry)
    assert registry.get_sample_value("waldo_robot_info", {"robot": "arm"}) == 1
    families = text_string_to_metric_families(generate_latest(registry).decode())
    assert all(value for family in families for sample in family.samples for value in sample.labels.values())


def test_quantities_that_share_a_metric_have_the_same_label_names() -> None:
    for name, quantities in joint_metrics().items():
        assert len({tuple(one.labels) for one in quantities}) == 1, name
