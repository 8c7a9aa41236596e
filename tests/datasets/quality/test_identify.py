"""Identification of motor constants from episodes of simulated motors with known constants, and `waldo identify`."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from waldo.cli.identify import Identify
from waldo.datasets.dataset import Dataset
from waldo.datasets.quality.identify import identify
from waldo.datasets.streams import Field, ScalarStream
from waldo.errors import ConfigError
from waldo.robots.description import load_robot
from waldo.robots.thermal import constants_file
from waldo.robots.thermal.two_node import Load, TwoNodeModel

ROBOT = load_robot("so101")
NAMES = ROBOT.joint_names
AIR_C = 23.0
TRUE = TwoNodeModel([joint.motor.need_thermal("a test") for joint in ROBOT.joints])
RESISTANCE = ROBOT.joints[0].motor.need("resistance_ohm", "a test")


def stream(fields: tuple[str, ...]) -> ScalarStream:
    return ScalarStream(name="motors", rate_hz=10.0, fields=tuple(Field(name, "1", NAMES) for name in fields))


def record(path: Path, *, heat: float = 1.3, episodes: int = 4, seconds: int = 300, old: bool = False) -> Dataset:
    """Record episodes in which one motor works hard and produces `heat` times the heat of its data sheet."""
    dataset = Dataset.create(path, robot="so101")
    fields = (
        ("current", "winding", "housing") if old else ("current", "winding_sensor", "housing_sensor", "driver_sensor")
    )
    state = np.full((6, 2), AIR_C)
    start_ns = 1_700_000_000_000_000_000
    with dataset.lock():
        for _ in range(episodes):
            writer = dataset.begin([stream(fields)], {"task": "work"})
            for k in range(seconds * 10):
                amperes = np.zeros(6)
                amperes[2] = 1.6 if (k // 200) % 3 else 0.2
                load = Load(np.square(amperes) * RESISTANCE * heat, np.zeros(6))
                state = TRUE.step(state, load, AIR_C, 0.1)
                values = {fields[0]: amperes, fields[1]: np.round(state[:, 0]), fields[2]: np.round(state[:, 1])}
                values |= dict.fromkeys(fields[3:], np.full(6, np.nan))
                at = start_ns + k * 100_000_000
                writer.row("motors", values=values, header_ns=at, receipt_ns=at, sequence=k + 1)
            writer.save("success")
            # Between two episodes the motors are idle for a minute.
            state = TRUE.step(state, Load(np.zeros(6), np.zeros(6)), AIR_C, 60.0)
            start_ns += (seconds + 60) * 1_000_000_000
    return dataset


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    return record(tmp_path_factory.mktemp("identify") / "dataset")


def test_a_motor_that_worked_is_identified_and_the_idle_ones_are_not(dataset: Dataset):
    fits, failed = identify(dataset, ROBOT.joints)
    assert list(fits) == [NAMES[2]]
    found, true = fits[NAMES[2]], ROBOT.joints[2].motor.need_thermal("a test")
    assert found.ambient_c == pytest.approx(AIR_C, abs=0.7)
    # Heat scale and thermal resistances are not determined separately; their product is.
    rise = found.heat_scale * found.constants.total_k_per_w
    assert rise == pytest.approx(1.3 * true.total_k_per_w, rel=0.08)
    assert found.rms_k < 0.6
    assert set(failed) == set(NAMES) - {NAMES[2]}
    assert failed[NAMES[0]].startswith("the constants cannot be fitted: the temperatures changed by only")


def test_the_command_writes_a_file_that_the_robot_uses(
    dataset: Dataset, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    out = tmp_path / "motors.json"
    assert Identify(source=str(dataset.path), joints=(NAMES[2],), out=out).run() == 0
    assert NAMES[2] in capsys.readouterr().out
    robot = constants_file.apply(out, ROBOT)
    before, after = ROBOT.joints[2].motor, robot.joints[2].motor
    assert after.need_thermal("a test").basis == "fitted"
    assert after.constants()["resistance"].basis == "fitted"
    assert after.need("resistance_ohm", "a test") != before.resistance_ohm
    assert robot.joints[0] == ROBOT.joints[0]


def test_a_motor_with_a_blocked_fan_is_reported(tmp_path: Path, capsys: pytest.CaptureFixture[str], dataset: Dataset):
    warning = "blocked fan or a different motor?"
    assert Identify(source=str(dataset.path), joints=(NAMES[2],)).run() == 0
    assert warning not in capsys.readouterr().out
    hot = record(tmp_path / "hot", heat=2.5, seconds=180)
    assert Identify(source=str(hot.path), joints=(NAMES[2],)).run() == 0
    assert f"{NAMES[2]}: temperature rise is 2." in (out := " ".join(capsys.readouterr().out.split()))
    assert warning in out


def test_a_dataset_without_sensor_readings_is_refused(tmp_path: Path):
    _, failed = identify(record(tmp_path / "old", episodes=1, seconds=20, old=True), ROBOT.joints[:1])
    assert failed[NAMES[0]].endswith("episode 0 lacks motor fields: driver_sensor, housing_sensor, winding_sensor")


def test_an_unknown_joint_is_refused(dataset: Dataset):
    with pytest.raises(ConfigError, match="joints is 'tail', expected one of shoulder_pan"):
        Identify(source=str(dataset.path), joints=("tail",)).run()


def test_an_overload_table(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    table = tmp_path / "table.csv"
    table.write_text("torque_nm,seconds\n17,10\n14,29\n12,71\n10,250\n7,rated\n")
    assert Identify(source=str(table)).run() == 0
    text = capsys.readouterr().out
    assert "time constants: winding" in text
    assert "held-out rows: median error" in text
    with pytest.raises(ConfigError, match="--out is not supported with an overload table"):
        Identify(source=str(table), out=tmp_path / "motors.json").run()
