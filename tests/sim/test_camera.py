"""Pictures without a display, and what is said where there are none."""

import os
import subprocess
import sys

import numpy as np
import pytest

from waldo.errors import UnknownNameError
from waldo.sim import camera
from waldo.sim.camera import NoGraphicsError, choose_backend
from waldo.sim.world import World


@pytest.fixture
def world():
    world = World("sort", threads=1)
    try:
        world.render(0, "front", (32, 24))
    except NoGraphicsError as error:
        pytest.skip(str(error))
    yield world
    world.close()


def test_a_picture_shows_the_scene(world):
    world.reset([3])
    picture = world.render(0, "front")
    assert picture.shape == (240, 320, 3)
    assert picture.dtype == np.uint8
    colours = picture.reshape(-1, 3).astype(int)
    for channel in range(3):
        strong = colours[:, channel] - np.delete(colours, channel, axis=1).max(axis=1)
        assert strong.max() > 60  # a cube of each colour


def test_the_same_state_gives_the_same_picture(world):
    world.reset([3])
    first = world.render(0, "wrist")
    world.reset([4])
    other = world.render(0, "wrist")
    world.reset([3])
    np.testing.assert_array_equal(world.render(0, "wrist"), first)
    assert not np.array_equal(first, other)


def test_any_size_can_be_asked_for(world):
    assert world.render(0, "front", (64, 48)).shape == (48, 64, 3)


def test_an_unknown_camera_is_answered_with_the_nearest(world):
    with pytest.raises(UnknownNameError) as error:
        world.render(0, "frnt")
    assert str(error.value) == "unknown camera 'frnt'; did you mean 'front'? (known: front, wrist)"


def test_the_users_back_end_is_left_alone(monkeypatch):
    monkeypatch.setenv("MUJOCO_GL", "osmesa")
    assert choose_backend() == "osmesa"


@pytest.mark.parametrize(("libraries", "chosen"), [({"EGL", "OSMesa"}, "egl"), ({"OSMesa"}, "osmesa"), (set(), None)])
def test_the_back_end_is_the_first_that_loads(monkeypatch, libraries, chosen):
    monkeypatch.delenv("MUJOCO_GL", raising=False)
    monkeypatch.setattr(camera, "_loads", lambda library: library in libraries)
    assert choose_backend() == chosen
    assert os.environ["MUJOCO_GL"] == (chosen or "disable")


def test_physics_needs_no_graphics_and_pictures_say_what_is_missing():
    script = (
        "from waldo.sim.world import World\n"
        "from waldo.sim.camera import NoGraphicsError\n"
        "world = World('lift'); world.step(world.robot.home[None])\n"
        "try: world.render(0, 'front')\n"
        "except NoGraphicsError as error: print(error)\n"
    )
    environment = os.environ | {"MUJOCO_GL": "disable"}
    done = subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True, text=True, check=True)
    assert done.stdout == (
        "no picture can be drawn without a display (neither EGL nor OSMesa is installed); install one with: "
        "apt-get install libegl1 libgl1-mesa-dri (or libosmesa6)\n"
    )
    assert done.stderr == ""
