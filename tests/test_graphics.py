"""Choice of the GL back end, and the error without one."""

import os
import subprocess
import sys

import pytest

from waldo import graphics
from waldo.graphics import choose_backend


def test_the_back_end_of_the_user_is_kept(monkeypatch):
    monkeypatch.setenv("MUJOCO_GL", "osmesa")
    monkeypatch.setattr(graphics, "_loads", lambda library: library == "OSMesa")
    assert choose_backend() == "osmesa"


@pytest.mark.parametrize(("libraries", "chosen"), [({"EGL", "OSMesa"}, "egl"), ({"OSMesa"}, "osmesa"), (set(), None)])
def test_the_back_end_is_the_first_that_loads(monkeypatch, libraries, chosen):
    monkeypatch.delenv("MUJOCO_GL", raising=False)
    monkeypatch.setattr(graphics, "_loads", lambda library: library in libraries)
    assert choose_backend() == chosen
    assert os.environ["MUJOCO_GL"] == (chosen or "disable")


def test_physics_runs_without_graphics_and_rendering_names_the_packages():
    script = (
        "from waldo.sim.world import World\n"
        "from waldo.graphics import NoGraphicsError\n"
        "world = World('lift'); world.step(world.robot.home[None])\n"
        "try: world.render(0, 'front')\n"
        "except NoGraphicsError as error: print(error)\n"
    )
    environment = os.environ | {"MUJOCO_GL": "disable"}
    done = subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True, text=True, check=True)
    assert done.stdout == (
        "cannot render images without a display (neither EGL nor OSMesa is installed); install a GL back end: "
        "apt-get install libegl1 libgl1-mesa-dri (or libosmesa6)\n"
    )
    assert done.stderr == ""


@pytest.mark.parametrize(
    "first",
    ["waldo.sim.experts.expert", "waldo.datasets.formats.replay_buffer.umi", "waldo.train.policies.lerobot_policy"],
)
@pytest.mark.usefixtures("gl")
def test_images_are_rendered_whatever_was_imported_first(first):
    script = (
        f"import {first}\n"
        "from waldo import World\n"
        "image = World('lift').render(0, 'front')\n"
        "print(image.shape, image.std() > 1)\n"
    )
    environment = {name: value for name, value in os.environ.items() if name not in ("MUJOCO_GL", "PYOPENGL_PLATFORM")}
    done = subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True, text=True)
    assert done.stdout.endswith("True\n"), done.stderr
