"""Motor temperatures across restarts."""

import json

import numpy as np
import pytest

from waldo.robots.motor import ThermalConstants
from waldo.robots.thermal import state_file
from waldo.robots.thermal.observer import HeatObserver
from waldo.robots.thermal.two_node import Load, TwoNodeModel

CONSTANTS = ThermalConstants(
    winding_j_per_k=12.0,
    housing_j_per_k=150.0,
    winding_to_housing_k_per_w=1.5,
    housing_to_ambient_k_per_w=3.0,
    basis="assumed",
    source="a test",
)
SERIALS = ["one", "two"]
NOW = 1_700_000_000_000_000_000


def cold():
    return HeatObserver(TwoNodeModel([CONSTANTS] * 2))


@pytest.fixture
def hot():
    observer = cold()
    for _ in range(600):
        observer.step(Load(np.array([20.0, 5.0]), np.zeros(2)), 1.0, {"winding": observer.winding_c})
    return observer


@pytest.fixture
def path(tmp_path, hot):
    state_file.save(tmp_path / "state" / "heat.json", hot, SERIALS, NOW)
    return tmp_path / "state" / "heat.json"


def test_a_restart_restores_the_cooled_temperatures(path, hot):
    observer = cold()
    assert state_file.restore(path, observer, SERIALS, NOW + 30 * 10**9) == (
        "restored the temperatures of 2 of 2 motors, off for 30 s"
    )
    expected = hot.model.step(hot.state_c, Load(np.zeros(2), np.zeros(2)), hot.mean[:, 2], 30.0)
    np.testing.assert_allclose(observer.state_c, expected, atol=0.5)
    assert observer.winding_c[0] > 50


def test_after_a_night_they_are_cold(path):
    observer = cold()
    state_file.restore(path, observer, SERIALS, NOW + 12 * 3600 * 10**9)
    np.testing.assert_allclose(observer.winding_c, 25.0, atol=0.5)


def test_temperatures_follow_the_serial_number_and_not_the_joint(path, hot):
    observer = cold()
    assert state_file.restore(path, observer, ["two", "new"], NOW) == (
        "restored the temperatures of 1 of 2 motors, off for 0 s"
    )
    assert observer.winding_c[0] == pytest.approx(hot.winding_c[1])
    assert observer.winding_c[1] == 25.0


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "is not usable JSON"),
        ("{", "is not usable JSON"),
        ("[]", "damaged (TypeError: "),
        ('{"format": "waldo-heat", "schema_version": 99}', "unsupported version"),
        ('{"format": "waldo-heat", "schema_version": 1, "stamp_ns": 0, "motors": {}}', "too old or from another clock"),
        (
            json.dumps(
                {
                    "format": "waldo-heat",
                    "schema_version": 1,
                    "stamp_ns": NOW,
                    "motors": {"one": {"mean": [1, 2], "covariance": [[1]]}},
                }
            ),
            "damaged",
        ),
    ],
)
def test_an_unusable_state_is_reported_and_changes_nothing(tmp_path, content, message):
    path, observer = tmp_path / "heat.json", cold()
    path.write_text(content)
    outcome = state_file.restore(path, observer, SERIALS, NOW)
    assert outcome.startswith(f"{path}: {message}")
    assert outcome.endswith("; assuming cold motors")
    np.testing.assert_array_equal(observer.winding_c, 25.0)


def test_the_first_start_has_no_saved_state(tmp_path):
    outcome = state_file.restore(tmp_path / "none.json", cold(), SERIALS, NOW)
    assert outcome == "no saved motor temperatures; assuming cold motors"


def test_the_file_name_is_derived_from_the_robot_name(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    assert state_file.state_path("cell 3/../left") == tmp_path / "waldo" / "heat-cell_3_.._left.json"
