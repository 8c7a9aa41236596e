"""An emulated arm in the scene of a task: its servos move among the objects, and cameras show them."""

from __future__ import annotations

import threading

import numpy as np
import pytest

from tests.machine import GL
from waldo.graphics import choose_backend
from waldo.robots.cameras.capture import DeviceSource
from waldo.robots.description import Camera, load_robot
from waldo.sim.emulation.emulated_scene import EmulatedScene
from waldo.sim.experts.expert import Expert
from waldo.sim.world import World


@pytest.fixture
def scene() -> EmulatedScene:
    return EmulatedScene(load_robot("so101"), "pick", seed=3, camera_size=(64, 48))


def ground_truth(scene: EmulatedScene) -> dict[str, float]:
    """Return what a twin of the same scene publishes."""
    names = scene.task.environment_names
    poses = scene._data.qpos[scene._object_qpos].ravel()
    goal = [float(name == scene.goal.object) for name in scene.task.object_names]
    return dict(zip(names, [*poses, *goal], strict=True))


def test_it_is_the_scene_of_the_seed(scene: EmulatedScene) -> None:
    world = World("pick")
    world.reset([3])
    np.testing.assert_allclose(scene._data.qpos[scene._object_qpos], world.poses[0], atol=1e-9)
    np.testing.assert_allclose(scene.position, world.position[0], atol=1e-9)
    assert (scene.goal, scene.instruction) == (world.goal(0), world.instruction(0))
    assert not scene.is_reached()


def test_an_arm_that_is_driven_through_its_servo_gains_lifts_the_named_cube(scene: EmulatedScene) -> None:
    expert = Expert("pick", seed=3, noise_scale=0.0)
    expert.begin(scene.position, ground_truth(scene))
    zero = np.zeros(6)
    for _ in range(600):
        target = expert.command(scene.position, ground_truth(scene))
        if target is None:
            break
        scene.command(target, zero, scene.stiffness, scene.damping, zero)
        scene.advance(1 / 60)
    assert scene.is_reached()


@pytest.mark.skipif(choose_backend() is None, reason=GL)
def test_its_cameras_show_the_scene_and_the_goal_is_reported() -> None:
    reached = threading.Event()
    scene = EmulatedScene(load_robot("so101"), "pick", seed=3, camera_size=(64, 48), on_reached=reached.set)
    with scene:
        assert set(scene.urls) == {"front", "wrist"}
        source = DeviceSource(scene.urls["front"], Camera(name="front", width=64, height=48, fps=30))
        source.open()
        image = source.read()
        source.close()
        assert isinstance(image, np.ndarray)
        assert image.std() > 10
        assert not reached.is_set()
        index = scene.task.object_names.index(scene.goal.object)
        with scene.lock:
            scene._data.qpos[scene._object_qpos[index, 2]] = 0.3
        assert reached.wait(60)


def test_without_graphics_there_are_no_images_and_the_goal_is_reported(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("waldo.sim.camera.choose_backend", lambda: None)
    reached = threading.Event()
    with EmulatedScene(load_robot("so101"), "pick", seed=3, on_reached=reached.set) as scene:
        index = scene.task.object_names.index(scene.goal.object)
        with scene.lock:
            scene._data.qpos[scene._object_qpos[index, 2]] = 0.3
        assert reached.wait(60)
    assert capsys.readouterr().err.count("continuing without cameras") == 1
