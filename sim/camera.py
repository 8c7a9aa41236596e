"""Images of a simulated scene, rendered without a display."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
from numpy.typing import NDArray

from waldo.errors import UnknownNameError
from waldo.graphics import NoGraphicsError, choose_backend
from waldo.sim.engine import Data, Model, mujoco


class Renderer:
    """Renders the cameras of one model; a GL context is created for each image size on first use."""

    def __init__(self, model: Model) -> None:
        """Initialize without a GL context, so that physics alone needs no graphics."""
        self._model = model
        self._names = [model.camera(i).name for i in range(model.ncam)]
        self._renderers: dict[tuple[int, int], Any] = {}

    def render(self, data: Data, camera: str, width: int, height: int) -> NDArray[np.uint8]:
        """Return the image of a camera, uint8 of shape (height, width, 3).

        Raises:
            UnknownNameError: If the model has no such camera.
            NoGraphicsError: If no GL back end works.
        """
        if camera not in self._names:
            raise UnknownNameError("camera", camera, self._names)
        renderer = self._renderer(width, height)
        renderer.update_scene(data, camera=camera)
        return renderer.render().copy()

    def _renderer(self, width: int, height: int) -> Any:
        if (width, height) not in self._renderers:
            backend = choose_backend()
            if backend is None:
                raise NoGraphicsError("neither EGL nor OSMesa is installed")
            try:
                with warnings.catch_warnings(action="ignore"):  # of GLFW, about the error that it raises as well
                    renderer = mujoco.Renderer(self._model, height=height, width=width)
            except Exception as error:  # each back end raises its own exceptions
                raise NoGraphicsError(f"{backend}: {' '.join(str(error).split())}") from error
            # On a CPU, shadows and reflections cost ten times as much as everything else.
            renderer.scene.flags[mujoco.mjtRndFlag.mjRND_SHADOW] = 0
            renderer.scene.flags[mujoco.mjtRndFlag.mjRND_REFLECTION] = 0
            self._renderers[width, height] = renderer
        return self._renderers[width, height]

    def close(self) -> None:
        """Free the GL contexts."""
        for renderer in self._renderers.values():
            renderer.close()
        self._renderers.clear()
