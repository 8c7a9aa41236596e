"""Pictures of a simulated world without a display: the GL back end is chosen before MuJoCo is imported.

EGL is tried first (a GPU or Mesa), then OSMesa (software only). Where neither is there, `Renderer` raises
`NoGraphicsError`, which names the Debian packages that bring one. waldo.sim.engine imports MuJoCo after the choice.
"""

from __future__ import annotations

import ctypes
import ctypes.util
import os
import sys
from typing import Any

import numpy as np
from numpy.typing import NDArray

from waldo.errors import UnknownNameError, WaldoError

BACKENDS = {"egl": "EGL", "osmesa": "OSMesa"}
"""MUJOCO_GL value -> name of the library it needs."""
NONE = "disable"
"""MUJOCO_GL value with which MuJoCo looks for no back end."""


class NoGraphicsError(WaldoError):
    """No GL back end is there, so cameras cannot be simulated."""

    def __init__(self, tried: str) -> None:
        """Take what was tried and what came of it."""
        super().__init__(
            f"no picture can be drawn without a display ({tried}); install one with: "
            "apt-get install libegl1 libgl1-mesa-dri (or libosmesa6)"
        )


def _loads(library: str) -> bool:
    found = ctypes.util.find_library(library)
    if found is None:
        return False
    try:
        ctypes.CDLL(found)
    except OSError:
        return False
    return True


def choose_backend() -> str | None:
    """Set MUJOCO_GL unless the user did, and return the back end, or None where there is none."""
    chosen = os.environ.get("MUJOCO_GL")
    if chosen:
        return None if chosen == NONE else chosen
    if sys.platform != "linux":
        return "native"
    for backend, library in BACKENDS.items():
        if _loads(library):
            os.environ["MUJOCO_GL"] = backend
            return backend
    # MuJoCo would try GLFW at import and warn; without a display that never works.
    os.environ["MUJOCO_GL"] = NONE
    return None


class Renderer:
    """Draws one model's cameras at given sizes; GL contexts are made at the first picture of each size."""

    def __init__(self, model: Any) -> None:
        """Take the model whose data will be drawn."""
        self._model = model
        self._names = [model.camera(i).name for i in range(model.ncam)]
        self._renderers: dict[tuple[int, int], Any] = {}

    def draw(self, data: Any, camera: str, width: int, height: int) -> NDArray[np.uint8]:
        """Return camera `camera`'s picture of `data`, uint8 of shape (height, width, 3)."""
        if camera not in self._names:
            raise UnknownNameError("camera", camera, self._names)
        renderer = self._renderer(width, height)
        renderer.update_scene(data, camera=camera)
        return renderer.render().copy()

    def _renderer(self, width: int, height: int) -> Any:
        if (width, height) not in self._renderers:
            from waldo.sim.engine import mujoco

            backend = choose_backend()
            if backend is None:
                raise NoGraphicsError("neither EGL nor OSMesa is installed")
            try:
                renderer = mujoco.Renderer(self._model, height=height, width=width)
            except Exception as error:  # each back end has its own exceptions
                raise NoGraphicsError(f"{backend}: {' '.join(str(error).split())}") from error
            # Shadows and multisampling cost ten times the rest on a CPU.
            renderer.scene.flags[mujoco.mjtRndFlag.mjRND_SHADOW] = 0
            renderer.scene.flags[mujoco.mjtRndFlag.mjRND_REFLECTION] = 0
            self._renderers[width, height] = renderer
        return self._renderers[width, height]

    def close(self) -> None:
        """Free the GL contexts."""
        for renderer in self._renderers.values():
            renderer.close()
        self._renderers.clear()
