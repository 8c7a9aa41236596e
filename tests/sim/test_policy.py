"""Observations of a policy, whose images are rendered when they are read."""

import numpy as np
import pytest

from tests.machine import GL
from waldo.graphics import NoGraphicsError
from waldo.sim.evaluation.evaluate import evaluate
from waldo.sim.evaluation.results import EvalConfig
from waldo.sim.experts.expert import ExpertPolicy
from waldo.sim.policy import observe
from waldo.sim.world import World

FRONT, WRIST = "observation.images.front", "observation.images.wrist"
SMALL = {FRONT: (32, 24), WRIST: (32, 24)}


@pytest.fixture(scope="module")
def world():
    world = World("sort", worlds=3, threads=1)
    try:
        world.render(0, "front", (32, 24))
    except NoGraphicsError:
        pytest.skip(GL)
    yield world
    world.close()


@pytest.fixture
def rendered(monkeypatch):
    """List the worlds that are rendered, with the cameras."""
    found = []
    render = World.render_cameras

    def counted(self, world, sizes):
        found.append((world, tuple(sizes)))
        return render(self, world, sizes)

    monkeypatch.setattr(World, "render_cameras", counted)
    return found


def test_only_the_images_that_are_read_are_rendered(world, rendered):
    observation = observe(world, (FRONT, WRIST), SMALL)
    front, wrist = observation[FRONT], observation[WRIST]
    assert (front.shape, front.dtype, len(wrist)) == ((3, 24, 32, 3), np.uint8, 3)
    assert rendered == []
    chosen = front[np.array([2, 0])]
    assert rendered == [(2, ("front", "wrist")), (0, ("front", "wrist"))]  # both cameras after one copy of the world
    wrist[np.array([True, False, True])], front[0]
    assert len(rendered) == 2
    np.testing.assert_array_equal(chosen, [world.render(index, "front", (32, 24)) for index in (2, 0)])
    np.testing.assert_array_equal(wrist[-1], world.render(2, "wrist", (32, 24)))


def test_images_become_an_array(world):
    observation = observe(world, (WRIST,))
    expected = np.stack([world.render(index, "wrist") for index in range(3)])
    assert expected.shape == observation[WRIST].shape == (3, 240, 320, 3)
    np.testing.assert_array_equal(np.asarray(observation[WRIST]), expected)
    np.testing.assert_array_equal(observation[WRIST][:2], expected[:2])
    np.testing.assert_array_equal(np.array(observation[WRIST], dtype=np.float32), expected)


def test_images_of_worlds_that_stand_still_are_black_and_not_rendered(world, rendered):
    images = observe(world, (FRONT,), SMALL, active=np.array([True, False, True]))[FRONT]
    assert np.asarray(images)[1].max() == 0
    assert [index for index, _ in rendered] == [0, 2]


def test_images_of_an_earlier_tick_cannot_be_read(world):
    observation = observe(world, (FRONT,), SMALL)
    world.step(world.position, np.array([1]))
    observation[FRONT][np.array([0, 2])]
    with pytest.raises(RuntimeError, match="read after the worlds had been stepped"):
        observation[FRONT][1]


class Glance:
    """A policy that looks at every tenth observation, and holds its position."""

    fps = 30.0
    image_keys = (FRONT,)
    image_sizes = SMALL

    def __init__(self):
        self.ticks = 0

    def reset(self, which=None):
        self.ticks = 0

    def act(self, observation):
        if self.ticks % 10 == 0:
            assert np.asarray(observation[FRONT]).shape == (3, 24, 32, 3)
        self.ticks += 1
        return observation["observation.state"]


def test_an_evaluation_renders_when_the_policy_looks(world, rendered):
    evaluate(Glance(), EvalConfig(task="lift", episodes=3, threads=1, horizon_s=1.0))
    assert rendered == [(index, ("front",)) for _ in range(3) for index in range(3)]


class LookingExpert(ExpertPolicy):
    """An expert that looks at every observation."""

    image_keys = (FRONT,)

    def act(self, observation):
        np.asarray(observation[FRONT])
        return super().act(observation)


def test_a_finished_world_is_not_rendered_in_an_evaluation(world, rendered):
    found = evaluate(LookingExpert, EvalConfig(task="lift", episodes=2, threads=1))
    assert found.success == [True, True]
    counts = [sum(index == number for index, _ in rendered) for number in range(2)]
    assert counts == [round(seconds * 60) for seconds in found.seconds]
    assert counts[0] != counts[1]
