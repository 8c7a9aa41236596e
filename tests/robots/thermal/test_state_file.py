import json

import numpy as np
import pytest

from waldo.robots.thermal import state_file
from waldo.robots.thermal.observer import HeatObserver
from waldo.robots.thermal.two_node import Load, ThermalConstants, TwoNodeModel

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


def test_a_restart_finds_the_motors_as_hot_as_they_are(path, hot):
    observer = cold()
    assert state_file.restore(path, observer, SERIALS, NOW + 30 * 10**9) == "2 of 2 motors known, off for 30 s"
    expected = hot.model.step(hot.state_c, Load(np.zeros(2), np.zeros(2)), hot.mean[:, 2], 30.0)
    np.testing.assert_allclose(observer.state_c, expected, atol=0.5)
    assert observer.winding_c[0] > 50


def test_after_a_night_they_are_cold(path):
    observer = cold()
    state_file.restore(path, observer, SERIALS, NOW + 12 * 3600 * 10**9)
    np.testing.assert_allclose(observer.winding_c, 25.0, atol=0.5)


def test_heat_follows_the_motor_and_not_its_place(path, hot):
    observer = cold()
    assert state_file.restore(path, observer, ["two", "new"], NOW) == "1 of 2 motors known, off for 0 s"
    assert observer.winding_c[0] == pytest.approx(hot.winding_c[1])
    assert observer.winding_c[1] == 25.0


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("", "cannot be read"),
        ("{", "cannot be read"),
        ("[]", "cannot be read"),
        ('{"format": "waldo-heat", "schema_version": 99}', "is of another version"),
        ('{"format": "waldo-heat", "schema_version": 1, "stamp_ns": 0, "motors": {}}', "is of another time"),
        (
            json.dumps(
                {
                    "format": "waldo-heat",
                    "schema_version": 1,
                    "stamp_ns": NOW,
                    "motors": {"one": {"mean": [1, 2], "covariance": [[1]]}},
                }
            ),
            "is damaged",
        ),
    ],
)
def test_a_state_that_cannot_be_used_is_said_and_changes_nothing(tmp_path, content, said):
    path, observer = tmp_path / "heat.json", cold()
    path.write_text(content)
    told = state_file.restore(path, observer, SERIALS, NOW)
    assert said in told
    assert told.endswith("the motors are taken for cold")
    np.testing.assert_array_equal(observer.winding_c, 25.0)


def test_the_first_start_has_no_state(tmp_path):
    told = state_file.restore(tmp_path / "none.json", cold(), SERIALS, NOW)
    assert told == "no earlier state: the motors are taken for cold"


def test_a_robots_name_makes_a_file_name(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    assert state_file.state_path("cell 3/../left") == tmp_path / "waldo" / "heat-cell_3_.._left.json"
