"""An emulated robot in the scene of a task, with cameras: servos and images as of a real arm at a table."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from types import TracebackType
from typing import Self

import numpy as np

from waldo.console import err
from waldo.graphics import NoGraphicsError
from waldo.robots.cameras.image_worker import encode_jpeg
from waldo.robots.description import Robot
from waldo.robots.driver import Frame
from waldo.sim.camera import Renderer
from waldo.sim.emulation.emulated_joints import EmulatedJoints
from waldo.sim.emulation.mjpeg import MjpegServer
from waldo.sim.engine import mujoco
from waldo.sim.tasks.goal import Goal
from waldo.sim.world import World

CAMERA_HZ = 30.0
"""Images per second of each camera."""

JPEG_QUALITY = 90
"""Quality of the images, 1 to 100."""


class EmulatedScene(EmulatedJoints):
    """The joints of a robot among the objects of a task. Its cameras render on a thread; a context manager."""

    def __init__(
        self,
        robot: Robot,
        task: str,
        *,
        seed: int = 0,
        camera_port: int = 0,
        camera_size: tuple[int, int] = (320, 240),
        on_reached: Callable[[], None] = lambda: None,
    ) -> None:
        """Build the scene that a seed gives.

        Args:
            robot: The robot.
            task: Registered name of the task.
            seed: Seed of the layout, the goal and the wording of the instruction.
            camera_port: Port of the loopback interface for the cameras; 0: any free one.
            camera_size: Width and height of the images [px].
            on_reached: Called once when the goal is reached.
        """
        world = World(task, worlds=1, threads=1, robot=robot)
        world.reset([seed])
        super().__init__(robot, model=world.model)
        self.task, self.goal, self.instruction = world.task, world.goal(0), world.instruction(0)
        world.copy_state(0, self._data)
        self.place(world.position[0])
        world.close()
        keys = [one.key for one in self.task.objects]
        self._object_qpos = np.array([self._model.joint(key).qposadr[0] + np.arange(7) for key in keys])
        self._object_qvel = np.array([self._model.joint(key).dofadr[0] + np.arange(3) for key in keys])
        self._size, self._on_reached = camera_size, on_reached
        self._names = [camera.name for camera in robot.cameras]
        self._port = camera_port
        self._server: MjpegServer | None = None
        self.urls: dict[str, str] = {}
        """Address of each camera; empty before the block is entered."""
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="scene cameras", daemon=True)

    def __enter__(self) -> Self:
        """Start the cameras."""
        self._server = MjpegServer(self._names, self._port)
        self.urls = self._server.urls
        self._server.__enter__()
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop the cameras."""
        self._ended.set()
        self._thread.join(30)
        if self._server is not None:
            self._server.__exit__(kind, error, trace)

    def is_reached(self, goal: Goal | None = None) -> bool:
        """Return whether a goal, by default that of the scene, is reached now."""
        with self.lock:
            poses = self._data.qpos[self._object_qpos]
            speeds = np.linalg.norm(self._data.qvel[self._object_qvel], axis=-1)
        return bool(self.task.reached(goal or self.goal, poses, speeds))

    def _watch(self) -> None:
        """Render the cameras at their rate, and report when the goal is reached."""
        assert self._server is not None
        data, renderer = mujoco.MjData(self._model), Renderer(self._model)
        due_s, reached, names = time.monotonic(), False, self._names
        try:
            while not self._ended.wait(max(0.0, due_s - time.monotonic())):
                due_s = max(due_s + 1 / CAMERA_HZ, time.monotonic() - 1 / CAMERA_HZ)
                with self.lock:
                    data.qpos[:], data.qvel[:] = self._data.qpos, self._data.qvel
                stamp_ns = time.time_ns()
                mujoco.mj_kinematics(self._model, data)
                mujoco.mj_comPos(self._model, data)
                mujoco.mj_camlight(self._model, data)
                try:
                    for name in names:
                        image = renderer.render(data, name, *self._size)
                        frame = Frame(camera=name, stamp_ns=stamp_ns, rgb=image)
                        self._server.put(name, encode_jpeg(frame, JPEG_QUALITY))
                except NoGraphicsError as error:
                    names = []
                    err().print(f"waldo: {error}; continuing without cameras")
                if not reached and self.is_reached():
                    reached = True
                    self._on_reached()
        finally:
            renderer.close()
