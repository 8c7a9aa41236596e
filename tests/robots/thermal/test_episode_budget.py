"""The number of episodes that fit, and the loads that it is computed from."""

import numpy as np
import pytest

from waldo.robots.motor import ThermalConstants
from waldo.robots.thermal.episode_budget import EpisodeCycle, EpisodeLoads, describe, episodes_left
from waldo.robots.thermal.two_node import Load, TwoNodeModel

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


def cycle(*watts, seconds=60.0, pause=20.0):
    load = Load(np.array(watts, dtype=float), np.zeros(len(watts)))
    return EpisodeCycle(load=load, seconds=seconds, pause_s=pause, idle=load * 0.05)


def test_the_number_of_episodes_equals_that_of_a_simulation():
    repeated = cycle(22.0, 3.0)
    left = episodes_left(MODEL, MODEL.at_ambient(25.0), np.full(2, 25.0), np.full(2, 85.0), repeated)
    state, completed = MODEL.at_ambient(25.0), 0
    while True:
        state = MODEL.step(state, repeated.load, 25.0, 60.0)
        if state[:, 0].max() > 85:
            break
        completed += 1
        state = MODEL.step(state, repeated.idle, 25.0, 20.0)
    assert left.tolist() == [completed, np.inf]
    assert 1 < completed < 100


def test_a_diverging_load_is_counted_without_a_warning():
    left = episodes_left(MODEL, MODEL.at_ambient(25.0), np.full(2, 25.0), np.full(2, 85.0), cycle(900.0, 14.0))
    assert left[0] == 0
    assert left[1] > 0


def test_a_sustainable_load_allows_any_number():
    limit = np.array([85.0, np.nan])
    left = episodes_left(MODEL, MODEL.at_ambient(25.0), np.full(2, 25.0), limit, cycle(3.0, 9.0))
    assert np.isinf(left).all()


def test_a_motor_near_its_limit_allows_no_episode():
    hot = np.array([[84.9, 80.0], [30.0, 30.0]])
    assert episodes_left(MODEL, hot, np.full(2, 25.0), np.full(2, 85.0), cycle(22.0, 1.0))[0] == 0


def load_of(watts):
    return Load(np.full(2, float(watts)), np.zeros(2))


def add(loads, watts, seconds, *, recording):
    return [loads.add(load_of(watts), 0.1, recording=recording) for _ in range(round(seconds * 10))]


def test_the_last_three_episodes_and_their_pauses_are_averaged():
    loads = EpisodeLoads(2)
    add(loads, 9.0, 100, recording=False)
    assert loads.cycle is None
    assert loads.planned is None
    for watts in (50.0, 10.0, 20.0, 30.0):
        add(loads, watts, 20, recording=True)
        ended = add(loads, 1.0, 5, recording=False)
        assert ended == [True] + [False] * 49
    found = loads.cycle
    assert found is not None
    np.testing.assert_allclose(found.load.copper_w, 20.0)
    np.testing.assert_allclose(found.idle.copper_w, 1.0)
    assert (found.seconds, found.pause_s) == (pytest.approx(20.0), pytest.approx(5.0))
    assert len(loads) == 3
    assert loads.remaining_pause_s(found) == pytest.approx(0.0, abs=1e-9)


def test_an_episode_below_one_second_is_ignored():
    loads = EpisodeLoads(2)
    add(loads, 50.0, 0.5, recording=True)
    assert not any(add(loads, 1.0, 5, recording=False))
    assert loads.cycle is None


def test_the_message_for_the_operator():
    joints = ("shoulder", "elbow")
    assert describe(np.array([np.inf, 5.0]), 3, joints) == (
        "about 5 more episodes like the last 3 before elbow reaches its temperature limit"
    )
    assert describe(np.array([np.nan, 1.0]), 1, joints) == (
        "about 1 more episode like the last one before elbow reaches its temperature limit"
    )
    assert describe(np.array([0.0, 5.0]), 2, joints) == (
        "no further episode like the last 2 before shoulder reaches its temperature limit; let it cool down"
    )
    assert describe(np.array([np.inf, np.inf]), 3, joints) == ""
    assert describe(np.array([np.nan, np.nan]), 3, joints) == ""
