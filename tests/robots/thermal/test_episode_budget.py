import numpy as np
import pytest

from waldo.robots.thermal.episode_budget import EpisodeLoads, Work, describe, episodes_left
from waldo.robots.thermal.two_node import Load, ThermalConstants, TwoNodeModel

MODEL = TwoNodeModel(
    [
        ThermalConstants(
            winding_j_per_k=12.0,
            housing_j_per_k=150.0,
            winding_to_housing_k_per_w=1.5,
            housing_to_ambient_k_per_w=3.0,
            basis="assumed",
            source="a test",
        )
    ]
    * 2
)


def work(*watts, seconds=60.0, pause=20.0):
    load = Load(np.array(watts, dtype=float), np.zeros(len(watts)))
    return Work(load=load, seconds=seconds, pause_s=pause, idle=load * 0.05)


def test_it_counts_the_episodes_that_a_simulation_survives():
    asked = work(22.0, 3.0)
    left = episodes_left(MODEL, MODEL.at_ambient(25.0), np.full(2, 25.0), np.full(2, 85.0), asked)
    state, survived = MODEL.at_ambient(25.0), 0
    while True:
        state = MODEL.step(state, asked.load, 25.0, 60.0)
        if state[:, 0].max() > 85:
            break
        survived += 1
        state = MODEL.step(state, asked.idle, 25.0, 20.0)
    assert left.tolist() == [survived, np.inf]
    assert 1 < survived < 100


def test_work_beyond_all_bounds_is_counted_without_a_warning():
    left = episodes_left(MODEL, MODEL.at_ambient(25.0), np.full(2, 25.0), np.full(2, 85.0), work(900.0, 14.0))
    assert left[0] == 0
    assert left[1] > 0


def test_light_work_has_no_end():
    limit = np.array([85.0, np.nan])
    left = episodes_left(MODEL, MODEL.at_ambient(25.0), np.full(2, 25.0), limit, work(3.0, 9.0))
    assert np.isinf(left).all()


def test_a_motor_that_is_too_hot_already_has_none_left():
    hot = np.array([[84.9, 80.0], [30.0, 30.0]])
    assert episodes_left(MODEL, hot, np.full(2, 25.0), np.full(2, 85.0), work(22.0, 1.0))[0] == 0


def of(watts):
    return Load(np.full(2, float(watts)), np.zeros(2))


def let(loads, watts, seconds, *, recording):
    return [loads.add(of(watts), 0.1, recording=recording) for _ in range(round(seconds * 10))]


def test_the_last_three_episodes_and_the_pauses_between_are_what_comes():
    loads = EpisodeLoads(2)
    let(loads, 9.0, 100, recording=False)
    assert loads.work is None
    assert loads.planned is None
    for watts in (50.0, 10.0, 20.0, 30.0):
        let(loads, watts, 20, recording=True)
        ended = let(loads, 1.0, 5, recording=False)
        assert ended == [True] + [False] * 49
    found = loads.work
    assert found is not None
    np.testing.assert_allclose(found.load.copper_w, 20.0)
    np.testing.assert_allclose(found.idle.copper_w, 1.0)
    assert (found.seconds, found.pause_s) == (pytest.approx(20.0), pytest.approx(5.0))
    assert len(loads) == 3
    assert loads.rest_s(found) == pytest.approx(0.0, abs=1e-9)


def test_a_slip_of_the_hand_is_no_episode():
    loads = EpisodeLoads(2)
    let(loads, 50.0, 0.5, recording=True)
    assert not any(let(loads, 1.0, 5, recording=False))
    assert loads.work is None


def test_what_the_operator_hears():
    joints = ("shoulder", "elbow")
    assert describe(np.array([np.inf, 5.0]), 3, joints) == "5 more episodes like the last 3 fit; elbow ends them"
    assert describe(np.array([np.nan, 1.0]), 1, joints) == "1 more episode like the last one fits; elbow ends them"
    assert describe(np.array([0.0, 5.0]), 2, joints) == "no episode like the last 2 fits any more: let shoulder cool"
    assert describe(np.array([np.inf, np.inf]), 3, joints) == ""
    assert describe(np.array([np.nan, np.nan]), 3, joints) == ""
