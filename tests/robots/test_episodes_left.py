import numpy as np

from waldo.robots.thermal.episodes_left import MOST, Work, episodes_left
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
    count, motor = episodes_left(MODEL, MODEL.at_ambient(25.0), np.full(2, 25.0), np.full(2, 85.0), asked)
    state, survived = MODEL.at_ambient(25.0), 0
    while True:
        state = MODEL.step(state, asked.load, 25.0, 60.0)
        if state[:, 0].max() > 85:
            break
        survived += 1
        state = MODEL.step(state, asked.idle, 25.0, 20.0)
    assert (count, motor) == (survived, 0)
    assert 1 < count < 100


def test_light_work_has_no_end():
    assert episodes_left(MODEL, MODEL.at_ambient(25.0), np.full(2, 25.0), np.array([85.0, np.nan]), work(3.0, 9.0)) == (
        MOST,
        -1,
    )


def test_a_motor_that_is_too_hot_already_has_none_left():
    hot = np.array([[84.9, 80.0], [30.0, 30.0]])
    assert episodes_left(MODEL, hot, np.full(2, 25.0), np.full(2, 85.0), work(22.0, 1.0))[0] == 0
