"""Choice of the GL back end, and the error without one."""

import os
import subprocess
import sys

import pytest

from waldo.sim import graphics
from waldo.sim.graphics import choose_backend


def test_the_back_end_of_the_user_is_kept(monkeypatch):
    monkeypatch.setenv("MUJOCO_GL", "osmesa")
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
        "from waldo.sim.graphics import NoGraphicsError\n"
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
