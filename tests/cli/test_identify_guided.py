"""`waldo identify --guided` with a simulated robot, in simulated time."""

from __future__ import annotations

from pathlib import Path

import pytest

from waldo.cli.identify import Identify
from waldo.cli.support.guided import GuidedOptions
from waldo.errors import MissingOptionError, UnknownNameError, UnsupportedOptionError
from waldo.robots.description import load_robot
from waldo.robots.guided.record import load_record
from waldo.robots.thermal import constants_file


def test_an_experiment_is_run_fitted_and_continued(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path, out = tmp_path / "lift.json", tmp_path / "motors.json"
    options = GuidedOptions(driver="twin", angle=2.0, load=1.2, minutes=2, record=path)
    command = Identify(source="so101", guided=True, joints=("shoulder_lift",), experiment=options, out=out)
    assert command.run() == 0
    printed = capsys.readouterr()
    assert "keep the space free" in printed.err
    assert "shoulder_lift" in printed.out
    assert "is not determined" in printed.out
    robot = constants_file.apply(out, load_robot("so101"))
    assert robot.joints[1].motor.need_thermal("a test").source.startswith("waldo identify")
    # Swinging the whole arm needs more than the requested load, which ends that stage early.
    assert 90 < load_record(path).seconds < 122
    # The record alone is fitted again.
    assert Identify(source=str(path)).run() == 0
    assert "fit again: waldo identify" in capsys.readouterr().out
    wrong = GuidedOptions(driver="twin", record=path)
    with pytest.raises(UnsupportedOptionError, match="a record of shoulder_lift of so101"):
        Identify(source="so101", guided=True, joints=("gripper",), experiment=wrong).run()


@pytest.mark.parametrize(
    ("options", "joints", "error", "message"),
    [
        (GuidedOptions(driver="twin"), (), MissingOptionError, "--joint"),
        (GuidedOptions(), ("gripper",), MissingOptionError, "--driver"),
        (GuidedOptions(driver="twin"), ("griper",), UnknownNameError, "did you mean 'gripper'"),
    ],
)
def test_incomplete_options_are_refused(
    options: GuidedOptions, joints: tuple[str, ...], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        Identify(source="so101", guided=True, joints=joints, experiment=options).run()


def test_options_of_an_experiment_without_guided_are_refused() -> None:
    with pytest.raises(MissingOptionError, match="--minutes"):
        Identify(source="my-data", experiment=GuidedOptions(minutes=5)).run()
