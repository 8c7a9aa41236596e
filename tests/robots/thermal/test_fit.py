"""Constants fitted to recordings of a simulated motor with known constants."""

import dataclasses

import numpy as np
import pytest

from waldo.robots.motor import ThermalConstants
from waldo.robots.thermal.fit import InsufficientDataError, Recording, fit_constants
from waldo.robots.thermal.two_node import Load, TwoNodeModel


def constants(winding, housing, r1, r2):
    return ThermalConstants(
        winding_j_per_k=winding,
        housing_j_per_k=housing,
        winding_to_housing_k_per_w=r1,
        housing_to_ambient_k_per_w=r2,
        basis="assumed",
        source="a test",
    )


TRUE = constants(14.0, 180.0, 1.3, 2.6)
GUESS = constants(20.0, 120.0, 1.0, 3.5)


def record(seconds=1200, dt=2.0, seed=0, start=24.0, ambient=24.0, winding=True, housing=True, gap=0.0, state=None):
    """A recording of the true motor under random steps of load, with sensors that round to 1 °C."""
    rng = np.random.default_rng(seed)
    model = TwoNodeModel([TRUE])
    state = np.array([[start, start]]) if state is None else state
    watts = np.repeat(rng.uniform(0, 30, round(seconds / 60)) * rng.integers(0, 2, round(seconds / 60)), round(60 / dt))
    out = []
    for w in watts:
        state = model.step(state, Load(np.array([w]), np.zeros(1)), ambient, dt)
        out.append(np.round(state[0] + rng.normal(0, 0.2, 2)))
    temperatures = np.array(out)
    nan = np.full(len(watts), np.nan)
    return Recording(
        dt_s=dt,
        copper_w=watts,
        other_w=np.zeros(len(watts)),
        winding_c=temperatures[:, 0] if winding else nan,
        housing_c=temperatures[:, 1] if housing else nan,
        gap_s=gap,
    )


def errors(found):
    true = np.log([1.0, 14.0, 1.3, 180.0, 2.6])
    c = found.constants
    fitted = np.log(
        [
            found.heat_scale,
            c.winding_j_per_k,
            c.winding_to_housing_k_per_w,
            c.housing_j_per_k,
            c.housing_to_ambient_k_per_w,
        ]
    )
    return fitted - true


def test_two_sensors_and_a_known_resistance_determine_all_constants():
    found = fit_constants([record(2400)], GUESS, prior_std=np.array([0.01, 0.7, 0.5, 0.7, 0.5]))
    assert np.abs(errors(found)).max() < 0.12
    assert (np.abs(errors(found)) < 4 * found.std).all()
    assert found.rms_k < 0.8
    assert found.ambient_c == pytest.approx(24.0, abs=0.6)
    assert found.is_identified("winding_j_per_k")


def test_constants_that_a_housing_sensor_does_not_determine_stay_uncertain():
    known_resistance = np.array([0.01, 0.7, 0.5, 0.7, 0.5])
    found = fit_constants([record(2400, winding=False)], GUESS, prior_std=known_resistance)
    both = fit_constants([record(2400)], GUESS, prior_std=known_resistance)
    assert found.std[1] > 4 * both.std[1]
    assert (np.abs(errors(found)) < 3 * found.std).all()


def test_recordings_with_gaps_are_one_history():
    model = TwoNodeModel([TRUE])
    first = record(600, seed=1)
    state = np.array([[first.winding_c[-1], first.housing_c[-1]]])
    state = model.step(state, Load(np.zeros(1), np.zeros(1)), 24.0, 300.0)
    second = record(600, seed=2, state=state, gap=300.0)
    found = fit_constants([first, second], GUESS, prior_std=np.array([0.01, 0.7, 0.5, 0.7, 0.5]))
    assert np.abs(errors(found)).max() < 0.25
    assert found.rms_k < 1.0


def test_a_recording_that_ends_between_two_readings_is_continued_exactly():
    watts, model, state = np.repeat([20.0, 2.0], [147, 153]), TwoNodeModel([TRUE]), np.full((1, 2), 24.0)
    exact = []
    for w in watts:
        state = model.step(state, Load(np.array([w]), np.zeros(1)), 24.0, 2.0)
        exact.append(state[0])
    temperatures = np.array(exact)
    temperatures[0] = 24.0  # the first reading is the temperature at the start
    parts = [
        Recording(
            dt_s=2.0,
            copper_w=watts[part],
            other_w=np.zeros(len(watts[part])),
            winding_c=temperatures[part, 0],
            housing_c=temperatures[part, 1],
        )
        for part in (slice(0, 147), slice(147, 300))
    ]
    found = fit_constants(parts, TRUE, ambient_c=24.0)
    assert found.readings == 2 * (147 // 5 + 153 // 5)
    assert found.rms_k < 0.01


def test_recordings_without_information_are_refused():
    idle = record(600)
    still = Recording(
        dt_s=2.0,
        copper_w=np.zeros(300),
        other_w=np.zeros(300),
        winding_c=np.full(300, 24.0),
        housing_c=np.full(300, 24.0),
    )
    with pytest.raises(InsufficientDataError, match=r"the temperatures changed by only 0\.0 K"):
        fit_constants([still], GUESS)
    with pytest.raises(InsufficientDataError, match="there are no temperatures"):
        fit_constants(
            [
                Recording(
                    dt_s=2.0,
                    copper_w=idle.copper_w,
                    other_w=idle.other_w,
                    winding_c=still.winding_c * np.nan,
                    housing_c=still.winding_c * np.nan,
                )
            ],
            GUESS,
        )


def test_recordings_below_the_reading_interval_use_their_last_reading():
    warm = record(600)
    short = [
        Recording(
            dt_s=2.0,
            copper_w=warm.copper_w[k : k + 4],
            other_w=warm.other_w[k : k + 4],
            winding_c=warm.winding_c[k : k + 4],
            housing_c=warm.housing_c[k : k + 4],
        )
        for k in range(0, 240, 4)
    ]
    assert fit_constants(short, GUESS).readings == 120
    blind = [
        dataclasses.replace(r, winding_c=np.array([20.0, 40.0, 20.0, np.nan]), housing_c=r.housing_c * np.nan)
        for r in short
    ]
    with pytest.raises(InsufficientDataError, match="there is no reading at the end of any 10 s interval"):
        fit_constants(blind, GUESS)
