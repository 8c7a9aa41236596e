"""The program of a guided experiment: stages, range, load and temperature limits."""

import dataclasses
import itertools

import pytest

from waldo.errors import InvalidValueError
from waldo.robots.description import load_robot
from waldo.robots.guided.program import GuidedConfig, Measured, Program, Stage

JOINT = load_robot("so101").joints[1]
CONFIG = GuidedConfig(angle_rad=0.4, load_nm=0.5, minutes=10)


def run(program, torque=lambda position: 0.2 * abs(position), celsius=lambda seconds, stage: 30.0, dt=0.05):
    """Follow the program ideally; return (seconds, stage, target) of each cycle."""
    out, position, seconds = [], -1.0, 0.0
    while True:
        measured = Measured(position=position, torque_nm=torque(position), motor_c=celsius(seconds, program.stage))
        target = program.step(measured, dt)
        if target is None:
            return out
        position, seconds = target, seconds + dt
        out.append((seconds, program.stage, target))


def test_the_stages_follow_each_other_within_the_time_and_the_range():
    program = Program(JOINT, CONFIG, -1.0, 70.0)
    steps = run(program)
    stages = list(dict.fromkeys(stage for _, stage, _ in steps))
    assert stages == [Stage.REST, Stage.SEARCH, Stage.HOLD, Stage.COOL, Stage.SWING]
    assert steps[-1][1] is Stage.COOL
    assert steps[-1][0] == pytest.approx(600, abs=1)
    assert all(-1.4 - 1e-9 <= target <= -0.6 + 1e-9 for _, _, target in steps)
    targets = [target for _, _, target in steps]
    assert max(abs(a - b) for a, b in itertools.pairwise(targets)) / 0.05 < JOINT.velocity


def test_the_load_that_is_held_is_the_nearest_one_below_the_requested_one():
    program = Program(JOINT, CONFIG, -1.0, 70.0)
    # 0 N·m at -1.4 rad to 0.8 N·m at -0.6 rad.
    steps = run(program, torque=lambda position: position + 1.4)
    held = [target for _, stage, target in steps if stage is Stage.HOLD][-1]
    assert held == pytest.approx(-0.9, abs=0.01)
    assert steps[-1][2] == pytest.approx(-1.4, abs=0.01)


def test_a_start_that_needs_too_much_torque_does_not_end_the_stage_that_leaves_it():
    program = Program(JOINT, CONFIG, -1.0, 70.0)
    # 0.8 N·m at the start, at -1.0 rad, and less at one end of the range.
    steps = run(program, torque=lambda position: 0.8 if position > -1.2 else 0.4)
    held = [seconds for seconds, stage, _ in steps if stage is Stage.HOLD]
    assert held[-1] - held[0] == pytest.approx(program.durations[2], abs=1)
    assert not any("holding ended" in note for note in program.notes)


def test_a_wide_range_is_traversed_whole():
    program = Program(JOINT, GuidedConfig(angle_rad=1.5, load_nm=0.5, minutes=10), 0.0, 70.0)
    searched = [target for _, stage, target in run(program) if stage is Stage.SEARCH]
    assert min(searched) == pytest.approx(program.low, abs=0.02)
    assert max(searched) == pytest.approx(program.high, abs=0.02)


def test_a_hot_motor_is_not_loaded():
    program = Program(JOINT, CONFIG, -1.0, 70.0)
    steps = run(program, celsius=lambda seconds, stage: 56.0 if stage is Stage.HOLD else 40.0)
    assert "holding ended at 56 °C, 15 K below the limit" in program.notes
    assert sum(stage is Stage.HOLD for _, stage, _ in steps) <= 2
    assert steps[-1][1] is Stage.COOL


def test_an_overload_ends_a_stage():
    program = Program(JOINT, CONFIG, -1.0, 70.0)
    run(program, torque=lambda _: 0.7)
    assert program.notes[0] == "holding ended at 0.65 N·m; the requested load is 0.50 N·m"


def test_the_range_is_clipped_at_the_limits_of_the_joint():
    program = Program(JOINT, CONFIG, JOINT.upper - 0.1, 70.0)
    assert (program.low, program.high) == (pytest.approx(JOINT.upper - 0.5), JOINT.upper)
    with pytest.raises(InvalidValueError, match="position of shoulder_lift is"):
        Program(JOINT, GuidedConfig(angle_rad=0.02), JOINT.upper, 70.0)


def test_the_default_load_is_the_rated_torque():
    assert Program(JOINT, GuidedConfig(), 0.0, 70.0).load_nm == 0.49
    unrated = dataclasses.replace(JOINT, motor=dataclasses.replace(JOINT.motor, rated_torque=None))
    assert Program(unrated, GuidedConfig(), 0.0, 70.0).load_nm == pytest.approx(1.91 / 4)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"angle_rad": 0.0}, "angle_rad is 0.0, expected 0.02 to 3.14"),
        ({"margin_k": 1.0}, "margin_k is 1.0, expected 5 to 60"),
        ({"minutes": 1.0}, "minutes is 1.0, expected 2 to 240"),
        ({"load_nm": -1.0}, "load_nm is -1.0, expected a number above 0"),
    ],
)
def test_limits_are_checked(change, message):
    with pytest.raises(InvalidValueError, match=message):
        GuidedConfig(**change)


def test_a_load_above_the_torque_limit_is_refused():
    with pytest.raises(InvalidValueError, match=r"at most 1\.91, the torque limit of shoulder_lift"):
        Program(JOINT, GuidedConfig(load_nm=3.0), 0.0, 70.0)


def test_the_search_turns_back_at_an_obstacle():
    program = Program(JOINT, CONFIG, -1.0, 70.0)
    position, pressed_s, targets = -1.0, 0.0, []
    while program.stage in (Stage.REST, Stage.SEARCH):
        torque = 0.9 if position >= -0.8 else 0.2
        targets.append(program.step(Measured(position=position, torque_nm=torque, motor_c=30.0), 0.05))
        # A table at -0.8 rad.
        position = min(targets[-1], -0.8)
        pressed_s += 0.05 if position == -0.8 else 0.0
    assert program.high == -0.8
    assert program.low == pytest.approx(-1.4)
    assert program.notes == ["the range ends at an obstacle at -0.80 rad"]
    assert min(targets) == pytest.approx(-1.4, abs=0.02)
    assert pressed_s < 8.0
    assert max(targets) < -0.65
