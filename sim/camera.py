"""Images of a simulated scene, rendered without a display."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import numpy as np
from numpy.typing import NDArray

from waldo.console import err
from waldo.errors import UnknownNameError
from waldo.graphics import NoGraphicsError, choose_backend
from waldo.robots.description import Camera
from waldo.robots.driver import Frame
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
            # A model's own buffer may be smaller than the image, which MuJoCo refuses.
            buffer = self._model.vis.global_
            buffer.offwidth, buffer.offheight = max(buffer.offwidth, width), max(buffer.offheight, height)
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


class CameraThread:
    """Renders a robot's cameras on a thread, while the simulation continues.

    The images of one exposure are returned by the next, as a camera takes about a frame period to deliver an image.
    Which images a control cycle receives does therefore not depend on how long rendering takes. Without graphics there
    are no images, which is reported once.
    """

    def __init__(self, model: Model, cameras: Sequence[Camera]) -> None:
        """Initialize without a thread and a GL context, which the first exposure creates."""
        self.cameras = tuple(cameras)
        """The cameras; empty without graphics."""
        self._data = mujoco.MjData(model)
        self._renderer = Renderer(model)
        self._thread: ThreadPoolExecutor | None = None
        self._pending: Future[list[Frame]] | None = None

    def expose(self, copy_state: Callable[[Data], None], stamp_ns: int) -> list[Frame]:
        """Start to render the present state, and return the images of the exposure before.

        Args:
            copy_state: Copies the present state, with the poses of all geoms, cameras and lights.
            stamp_ns: Time of the exposure [ns].
        """
        frames = self.finish()
        if self.cameras:
            copy_state(self._data)
            self._thread = self._thread or ThreadPoolExecutor(1, "cameras")
            self._pending = self._thread.submit(self._render, stamp_ns)
        return frames

    def finish(self) -> list[Frame]:
        """Wait for the last exposure, and return its images unless they were returned already."""
        pending, self._pending = self._pending, None
        try:
            return [] if pending is None else pending.result()
        except NoGraphicsError as error:
            self.cameras = ()
            err().print(f"waldo: {error}; continuing without cameras")
            return []

    def _render(self, stamp_ns: int) -> list[Frame]:
        return [
            Frame(camera=c.name, stamp_ns=stamp_ns, rgb=self._renderer.render(self._data, c.name, c.width, c.height))
            for c in self.cameras
        ]

    def close(self) -> None:
        """Free the GL contexts and end the thread; a further exposure starts it again."""
        self._pending = None
        if self._thread is not None:
            self._thread.submit(self._renderer.close)
            self._thread.shutdown()
            self._thread = None
