"""Adding a motor quantity is one row: it appears on every interface without another edit."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from prometheus_client import CollectorRegistry

from waldo.cli.main import main
from waldo.collect.recorder.message_adapter import MessageAdapter
from waldo.collect.recorder.recorder import Recorder, RecorderConfig
from waldo.collect.recorder.topics import Topic
from waldo.datasets import schema
from waldo.datasets.dataset import Dataset
from waldo.fleet.metrics import FleetCollector
from waldo.fleet.serialization import fleet_parts
from waldo.fleet.store import FleetStore
from waldo.robots import diagnostics, motor_readings
from waldo.robots.description import Robot
from waldo.robots.motor_readings import MotorQuantity, MotorReadings

WEAR = MotorQuantity(
    attribute="gear_wear_mm",
    key="gear_wear_millimeters",
    unit="mm",
    description="backlash of the gear by wear",
    recorded="gear_wear",
    metric="gear_wear_millimeters",
)
"""The one row."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WornReadings(MotorReadings):
    """Readings with the new quantity, shape (joints,)."""

    gear_wear_mm: np.ndarray


@pytest.fixture(autouse=True)
def added_quantity(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(motor_readings, "MOTOR_QUANTITIES", (*motor_readings.MOTOR_QUANTITIES, WEAR))


@pytest.fixture
def message() -> Any:
    """Return the `motors` message of a robot with the new quantity."""
    unknown = {one.attribute: np.full(2, np.nan) for one in motor_readings.motor_quantities()}
    worn = WornReadings(**unknown, notes=("", ""), gear_wear_mm=np.array([0.125, 0.25]))
    return diagnostics.to_message("toy", ["a", "b"], ["1", "2"], worn, 1)


@pytest.fixture
def dataset(message: Any, tmp_path: Path, toy_robot: Robot) -> Dataset:
    """Return a dataset with one episode that contains the message."""
    dataset = Dataset.create(tmp_path / "dataset", robot="toy")
    with dataset.lock():
        recorder = Recorder(dataset, toy_robot, {"task": "lift"}, RecorderConfig(lockstep=True))
        adapter = MessageAdapter(recorder)
        topics = {
            schema.STATE: Topic(schema.STATE, "/toy/joint_states", schema.JOINT_STATE_TYPE),
            schema.COMMAND: Topic(schema.COMMAND, "/toy/joint_commands", schema.JOINT_STATE_TYPE),
            schema.APPLIED: Topic(schema.APPLIED, "/toy/joint_commands_sent", schema.JOINT_STATE_TYPE),
            schema.MOTORS: Topic(schema.MOTORS, "/toy/motors", schema.DIAGNOSTIC_TYPE),
        }
        for tick in range(61):
            stamp = SimpleNamespace(sec=1, nanosec=tick * 16_000_000)
            zeros = [0.0, 0.0]
            joints = SimpleNamespace(name=["a", "b"], position=zeros, velocity=zeros, effort=zeros)
            joints.header = SimpleNamespace(stamp=stamp, frame_id="")
            message.header.stamp.sec, message.header.stamp.nanosec = stamp.sec, stamp.nanosec
            at_ns = 10**9 + tick * 16_000_000
            info = {"received_timestamp": at_ns, "source_timestamp": at_ns, "publication_sequence_number": tick + 1}
            for name, topic in topics.items():
                adapter.add(topic, message if name == schema.MOTORS else joints, info)
            if tick == 0:
                recorder.start()
        recorder.save("success")
    return dataset


@pytest.fixture
def store(message: Any) -> FleetStore:
    store = FleetStore()
    store.add_motors("toy", diagnostics.from_message(message), 0.0)
    return store


def test_the_message_carries_it(message: Any) -> None:
    found = diagnostics.from_message(message)
    assert found["b"].values["gear_wear_millimeters"] == 0.25


def test_an_episode_contains_it_with_its_unit(dataset: Dataset) -> None:
    (episode,) = dataset.episodes
    np.testing.assert_allclose(episode.values("motors", "gear_wear"), np.tile([0.125, 0.25], (60, 1)))
    (field,) = (field for field in episode.streams["motors"].fields if field.name == "gear_wear")  # type: ignore[union-attr]
    assert field.unit == "mm"


def test_an_exported_lerobot_dataset_has_its_column(dataset: Dataset, tmp_path: Path) -> None:
    assert main(["export", str(dataset.path), str(tmp_path / "exported")]) == 0
    information = json.loads((tmp_path / "exported" / "meta" / "info.json").read_text())
    assert information["features"]["telemetry.gear_wear"]["shape"] == [2]


def test_prometheus_has_its_metric(store: FleetStore) -> None:
    registry = CollectorRegistry()
    FleetCollector(store, clock=lambda: 0.0, epoch=lambda: 0.0, registry=registry)
    assert registry.get_sample_value("waldo_joint_gear_wear_millimeters", {"robot": "toy", "joint": "a"}) == 0.125


def test_the_fleet_json_lists_and_contains_it(store: FleetStore) -> None:
    fleet = json.loads("".join(fleet_parts(store.robots(0.0), 0.0, None)))
    assert fleet["quantities"][-1] == {
        "key": "gear_wear_millimeters",
        "unit": "mm",
        "description": "backlash of the gear by wear",
    }
    assert [motor["gear_wear_millimeters"] for motor in fleet["robots"][0]["motors"]] == [0.125, 0.25]


def test_the_fleet_page_shows_it(store: FleetStore, run_site: Callable[..., Any], browser: Any) -> None:
    from selenium.webdriver.common.by import By
    from selenium.webdriver.support.ui import WebDriverWait

    from waldo.fleet.server import Site

    running = run_site(Site(store=store, clock=lambda: 0.0))
    browser.get(f"http://127.0.0.1:{running.port}/")
    wait = WebDriverWait(browser, 120)
    wait.until(lambda page: page.find_elements(By.CSS_SELECTOR, ".readings summary"))[0].click()
    row = wait.until(lambda page: page.find_elements(By.CSS_SELECTOR, "[data-key=gear_wear_millimeters]"))[0]
    assert row.find_element(By.TAG_NAME, "th").text == "backlash of the gear by wear [mm]"
    assert [cell.text for cell in row.find_elements(By.TAG_NAME, "td")] == ["0.125 mm", "0.25 mm"]
    browser.get("about:blank")
