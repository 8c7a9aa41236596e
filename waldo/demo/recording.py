"""The demo's recording: a simulated robot, a scripted operator and a recorder, as three processes connected by DDS."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from waldo.errors import WaldoError

POLL_S = 0.2
"""Polling period of the progress [s]."""

PATIENCE_S = 300.0
"""Timeout of one episode, after which a process is assumed to hang [s]."""


class ProcessError(WaldoError):
    """One of the recording's processes exited or made no progress."""

    exit_code = 3

    def __init__(self, name: str, code: int | None, log: Path) -> None:
        """Build the message from the process's name, its exit code (None if it hangs) and its log file."""
        lines = log.read_text(errors="replace").strip().splitlines()
        how = "makes no progress" if code is None else f"exited with code {code}"
        last = f"its last output is {lines[-1]!r}" if lines else "it printed nothing"
        super().__init__(f"the {name} {how}; {last} (log: {log})")


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
        operator = ("teleop", "script", *node, "--task", self.task, *count, "--lockstep", "2")
        with self._processes({"robot": robot, "recorder": recorder, "operator": operator}) as processes:
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

    @contextmanager
    def _processes(self, commands: Mapping[str, Sequence[str]]) -> Generator[dict[str, subprocess.Popen[bytes]]]:
        """Run `waldo` commands in their own ROS domain; stop them in order, so that the recorder closes its episode."""
        environment = {
            **os.environ,
            # Visible on this machine only, so that robots on the network are not affected.
            "ROS_AUTOMATIC_DISCOVERY_RANGE": "LOCALHOST",
            "ROS_DOMAIN_ID": str(1 + os.getpid() % 100),
            "OMP_NUM_THREADS": "1",
            "LP_NUM_THREADS": "0",
        }
        running: dict[str, subprocess.Popen[bytes]] = {}
        try:
            for name, words in commands.items():
                with (self.logs / f"{name}.log").open("ab") as log:
                    # In its own session, so that Ctrl-C reaches only this process, which stops the others in order.
                    running[name] = subprocess.Popen(
                        [sys.executable, "-m", "waldo", *words],
                        stdout=log,
                        stderr=subprocess.STDOUT,
                        stdin=subprocess.DEVNULL,
                        env=environment,
                        start_new_session=True,
                    )
            yield running
        finally:
            for name in ("operator", "recorder", "robot"):
                if name in running:
                    _stop(running[name])


def _stop(process: subprocess.Popen[bytes]) -> None:
    """Terminate a process, and kill it if it does not exit."""
    if process.poll() is None:
        process.send_signal(signal.SIGTERM)
    try:
        process.wait(timeout=20)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
