"""The twin driver: bit-identical readings for the same seed, in simulated time without drift."""

import os
import subprocess
import sys

import numpy as np
import pytest

from tests.machine import GL
from waldo.errors import InvalidValueError, UnsupportedOptionError
from waldo.graphics import NoGraphicsError
from waldo.robots.description import load_robot
from waldo.robots.driver import SimulatedDriver, load_driver
from waldo.sim import camera as camera_module
from waldo.sim.camera import Renderer
from waldo.sim.twin import TwinDriver, stamp_of
from waldo.sim.world import World


@pytest.fixture
def driver():
    driver = TwinDriver(load_robot("so101"), "lift", cameras=False, seed=7)
    driver.connect()
    yield driver
    driver.disconnect()


def record(seed, ticks=90):
    driver = TwinDriver(load_robot("so101"), "lift", cameras=False, seed=seed)
    driver.connect()
    rng, rows = np.random.default_rng(1), []
    for _ in range(ticks):
        driver.write(driver.robot.home + rng.normal(0, 0.1, 6))
        driver.advance()
        state, motors = driver.read(), driver.motors()
        rows.append(np.concatenate([state.position, state.velocity, state.effort, motors.winding_c, motors.current_a]))
    return np.array(rows)


def test_it_is_a_simulated_driver(driver):
    assert isinstance(driver, SimulatedDriver)
    assert load_driver("twin") is TwinDriver


def test_the_same_seed_and_commands_give_identical_readings():
    np.testing.assert_array_equal(record(3), record(3))
    assert not np.array_equal(record(3), record(4))


def test_timestamps_are_computed_from_ticks_without_drift(driver):
    assert driver.read().stamp_ns == 0
    for _ in range(3):
        driver.advance()
    assert driver.read().stamp_ns == 50_000_000
    assert [stamp_of(tick) for tick in (1, 2, 60, 216_000)] == [16_666_667, 33_333_333, 10**9, 3600 * 10**9]


def test_time_and_heat_continue_over_a_reset(driver):
    driver.write(driver.robot.home + 0.3)
    for _ in range(30):
        driver.advance()
    winding = driver.motors().winding_c
    driver.reset(8)
    assert driver.read().stamp_ns == 500_000_000
    np.testing.assert_array_equal(driver.motors().winding_c, winding)
    assert driver.task() == {"task": "lift the red cube", "name": "lift", "seed": 8}
    assert not driver.success()


def test_it_holds_its_position_without_a_command(driver):
    start = driver.read().position
    for _ in range(60):
        driver.advance()
    np.testing.assert_allclose(driver.read().position, start, atol=0.05)


def test_a_command_is_clipped_to_the_limits_and_returned(driver):
    applied = driver.write(np.full(6, 9.0))
    np.testing.assert_array_equal(applied, driver.robot.upper)


def test_motor_readings_are_complete(driver):
    driver.advance()
    motors = driver.motors()
    assert motors.faults == ("",) * 6
    for name in ("current_a", "torque_nm", "winding_c", "housing_c"):
        assert np.isfinite(getattr(motors, name)).all()
    for name in ("pwm_ratio", "driver_c"):
        assert np.isnan(getattr(motors, name)).all()
    np.testing.assert_array_equal(motors.voltage_v, np.full(6, 7.4))


def test_images_are_exposed_at_every_second_tick_and_delivered_two_ticks_later():
    driver = TwinDriver(load_robot("so101"), "lift", seed=1)
    try:
        driver.connect()
        first = driver.frames()
    except NoGraphicsError:
        pytest.skip(GL)
    if not first:
        pytest.skip(GL)
    assert [(frame.camera, frame.stamp_ns) for frame in first] == [("front", 0), ("wrist", 0)]
    stamps = []
    for _ in range(4):
        driver.advance()
        stamps.append([frame.stamp_ns for frame in driver.frames()])
    assert stamps == [[], [], [], [33_333_333] * 2]
    assert first[0].rgb.shape == (240, 320, 3)
    driver.disconnect()


@pytest.mark.usefixtures("gl")
def test_an_image_shows_the_state_of_its_exposure_and_no_world_before():
    def fold(images: bool) -> TwinDriver:
        driver = TwinDriver(load_robot("so101"), "lift", cameras=images, seed=1)
        driver.connect()
        driver.frames()
        for tick in range(20):
            driver.write(driver.read().position + 0.1 * (tick % 5))
            driver.advance()
        return driver

    moving, alone = fold(True), fold(False)
    for _ in range(2):
        moving.write(np.zeros(6))
        moving.advance()
    shown = {frame.camera: frame for frame in moving.frames() if frame.stamp_ns == stamp_of(20)}
    for camera in ("front", "wrist"):
        np.testing.assert_array_equal(shown[camera].rgb, alone.world.render(0, camera))
    moving.reset(2)
    for _ in range(4):
        moving.advance()
    assert {frame.stamp_ns for frame in moving.frames()} == {stamp_of(24)}
    moving.disconnect()
    alone.disconnect()


def test_missing_graphics_are_reported_once(monkeypatch, capsys):
    def refuse(*args):
        raise NoGraphicsError("none in this test")

    camera_module.err.cache_clear()
    driver = TwinDriver(load_robot("so101"), "lift", seed=1)
    monkeypatch.setattr(Renderer, "render", refuse)
    driver.connect()
    for _ in range(4):
        driver.advance()
    assert not driver.frames()
    assert capsys.readouterr().err == (
        "waldo: cannot render images without a display (none in this test); install a GL back end: "
        "apt-get install libegl1 libgl1-mesa-dri (or libosmesa6); continuing without cameras\n"
    )
    camera_module.err.cache_clear()


def test_without_graphics_the_robot_has_no_cameras() -> None:
    program = (
        "from waldo.robots.description import load_robot\n"
        "from waldo.sim.twin import TwinDriver\n"
        "driver = TwinDriver(load_robot('so101'))\n"
        "driver.connect()\n"
        "print(driver.robot.cameras, list(driver.frames()))\n"
    )
    environment = {**os.environ, "MUJOCO_GL": "disable"}
    done = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=True)
    assert done.stdout == "() []\n"
    assert "apt-get install libegl1 libgl1-mesa-dri" in done.stderr
    assert "continuing without cameras" in done.stderr


def test_several_goals_follow_in_one_scene():
    driver = TwinDriver(load_robot("so101"), "pick", cameras=False, seed=6, goals=2)
    driver.connect()
    assert driver.task()["seed"] == 3
    first = driver.world.goal(0)
    for _ in range(30):
        driver.write(driver.robot.upper)
        driver.advance()
    moved = driver.read().position
    assert driver.reset(7) is False
    np.testing.assert_array_equal(driver.read().position, moved)
    assert driver.world.goal(0).object != first.object
    assert driver.reset(8) is True
    assert driver.task()["seed"] == 4
    assert not np.allclose(driver.read().position, moved)
    resumed = TwinDriver(load_robot("so101"), "pick", cameras=False, seed=7, goals=2)
    assert resumed.world.goal(0) == _second_goal(3)
    for one in (driver, resumed):
        one.disconnect()


def _second_goal(scene):
    world = World("pick")
    world.reset([scene])
    world.next_goal()
    return world.goal(0)


def test_a_number_of_goals_that_a_task_cannot_have_is_refused():
    with pytest.raises(InvalidValueError, match="goals is 0"):
        TwinDriver(load_robot("so101"), "pick", cameras=False, goals=0)
    with pytest.raises(UnsupportedOptionError, match="'lift', which has one"):
        TwinDriver(load_robot("so101"), "lift", cameras=False, goals=2)
