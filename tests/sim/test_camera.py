"""Images of simulated cameras, without a display."""

import numpy as np
import pytest

from tests.machine import GL
from waldo.errors import UnknownNameError
from waldo.graphics import NoGraphicsError
from waldo.sim.camera import Renderer
from waldo.sim.engine import mujoco
from waldo.sim.world import World


@pytest.fixture
def world():
    world = World("sort", threads=1)
    try:
        world.render(0, "front", (32, 24))
    except NoGraphicsError:
        pytest.skip(GL)
    yield world
    world.close()


def test_an_image_shows_the_scene(world):
    world.reset([3])
    image = world.render(0, "front")
    assert image.shape == (240, 320, 3)
    assert image.dtype == np.uint8
    colors = image.reshape(-1, 3).astype(int)
    for channel in range(3):
        strong = colors[:, channel] - np.delete(colors, channel, axis=1).max(axis=1)
        assert strong.max() > 60  # a cube of each color


def test_the_same_state_gives_the_same_image(world):
    world.reset([3])
    first = world.render(0, "wrist")
    world.reset([4])
    other = world.render(0, "wrist")
    world.reset([3])
    np.testing.assert_array_equal(world.render(0, "wrist"), first)
    assert not np.array_equal(first, other)


def test_images_have_the_requested_size(world):
    assert world.render(0, "front", (64, 48)).shape == (48, 64, 3)


def test_an_unknown_camera_is_rejected_with_a_suggestion(world):
    with pytest.raises(UnknownNameError) as error:
        world.render(0, "frnt")
    assert str(error.value) == "unknown camera 'frnt'; did you mean 'front'? (known: front, wrist)"


@pytest.mark.usefixtures("gl")
def test_an_image_may_be_larger_than_the_buffer_of_the_model():
    model = mujoco.MjModel.from_xml_string(
        '<mujoco><visual><global offwidth="32" offheight="24"/></visual><worldbody><camera name="a" pos="0 0 1"/>'
        '<geom size=".3" rgba="1 0 0 1"/></worldbody></mujoco>'
    )
    data, renderer = mujoco.MjData(model), Renderer(model)
    mujoco.mj_forward(model, data)
    small, large = renderer.render(data, "a", 16, 12), renderer.render(data, "a", 640, 480)
    renderer.close()
    assert (small.shape, large.shape) == ((12, 16, 3), (480, 640, 3))
    assert large[240, 320, 0] > 60 > large[0, 0, 0]
