"""The recording of demonstrations: a simulated robot, a scripted operator and a recorder, as three processes on DDS."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from waldo.process import ProcessError, waldo_processes

POLL_S = 0.2
"""Polling period of the progress [s]."""

PATIENCE_S = 300.0
"""Timeout of one episode, after which a process is assumed to hang [s]."""


@dataclass(frozen=True, kw_only=True)
class Recording:
    """A recording to make."""

    dataset: Path
    """Folder of the dataset."""
    robot: str
    """Name of the robot."""
    task: str
    """Name of the task."""
    camera_size: tuple[int, int]
    """Width and height of the images [px]."""
    episodes: int
    """Number of episodes in the finished dataset."""
    seed: int
    """Seed of the first episode's world and operator; it increases by one per episode."""
    goals: int = 1
    """Goals in each scene, each in an episode of its own."""
    logs: Path
    """Folder for the processes' logs."""
    operator: Sequence[str] = ()
    """Arguments of the command that takes the place of the scripted operator."""

    def recorded(self) -> int:
        """Return the number of episodes that the operator finished."""
        from waldo.datasets.dataset import Dataset

        if not (self.dataset / "dataset.json").exists():
            return 0
        return sum(episode.reason == "operator" for episode in Dataset.open(self.dataset).episodes)

    def run(self, on_progress: Callable[[int], None]) -> None:
        """Record the remaining episodes. Finished episodes are kept if it is interrupted.

        Args:
            on_progress: Called with the number of finished episodes.
        """
        done = self.recorded()
        on_progress(done)
        if done >= self.episodes:
            return
        self.logs.mkdir(parents=True, exist_ok=True)
        first = self.seed + done
        node = ("--robot", self.robot)
        scene = ("--task", self.task, "--seed", str(first), "--camera-size", *map(str, self.camera_size))
        scene = (*scene, "--goals", str(self.goals))
        robot = ("robot", self.robot, *scene, "--lockstep", "operator", "recorder")
        recorder = ("record", str(self.dataset), *node, "--operator", "script", "--lockstep")
        count = ("--episodes", str(self.episodes - done), "--first", str(first))
        scripted = ("teleop", "script", *node, "--task", self.task, *count, "--lockstep", "2")
        commands = {"robot": robot, "recorder": recorder, "operator": tuple(self.operator) or scripted}
        with waldo_processes(commands, self.logs, ("operator", "recorder", "robot")) as processes:
            self._watch(processes, done, on_progress)

    def _watch(
        self, processes: Mapping[str, subprocess.Popen[bytes]], done: int, on_progress: Callable[[int], None]
    ) -> None:
        """Wait until the operator exits; raise if another process exits or no episode finishes in time."""
        at_start = sum(1 for _ in self.dataset.glob("episode_*.zarr"))
        latest, since = done, time.monotonic()
        while processes["operator"].poll() is None:
            for name in ("robot", "recorder"):
                code = processes[name].poll()
                if code is not None:
                    raise ProcessError(name, code, self.logs / f"{name}.log")
            now = done + sum(1 for _ in self.dataset.glob("episode_*.zarr")) - at_start
            if now > latest:
                latest, since = now, time.monotonic()
                on_progress(now)
            elif time.monotonic() - since > PATIENCE_S:
                raise ProcessError("operator", None, self.logs / "operator.log")
            time.sleep(POLL_S)
        if processes["operator"].returncode != 0:
            raise ProcessError("operator", processes["operator"].returncode, self.logs / "operator.log")
