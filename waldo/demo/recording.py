"""The demo's recording: a simulated robot, a scripted operator and a recorder, three processes that talk over DDS."""

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
"""How often progress is looked at [s]."""

PATIENCE_S = 300.0
"""An episode that takes longer than this means that something hangs [s]."""


class ProcessError(WaldoError):
    """One of the recording's processes ended by itself."""

    def __init__(self, name: str, code: int | None, log: Path) -> None:
        """Take the process's name, its exit code (None: it hangs) and where its output is."""
        lines = log.read_text(errors="replace").strip().splitlines()
        how = "makes no progress" if code is None else f"ended with code {code}"
        super().__init__(f"the {name} {how}; it said {lines[-1] if lines else 'nothing'!r} (all of it: {log})")


@dataclass(frozen=True, kw_only=True)
class Recording:
    """What is to be recorded."""

    dataset: Path
    """Folder of the dataset."""
    robot: str
    """Name of the robot."""
    task: str
    """Name of the task."""
    episodes: int
    """How many episodes the dataset shall hold in the end."""
    seed: int
    """Seed of the first episode's world and operator; each episode takes the next one."""
    logs: Path
    """Folder for what the processes say."""

    def recorded(self) -> int:
        """Return how many episodes the operator finished."""
        from waldo.datasets.dataset import Dataset

        if not (self.dataset / "dataset.json").exists():
            return 0
        return sum(episode.reason == "operator" for episode in Dataset.open(self.dataset).episodes)

    def run(self, on_progress: Callable[[int], None]) -> None:
        """Record what is missing; `on_progress` hears how many episodes there are. An interruption loses nothing."""
        done = self.recorded()
        on_progress(done)
        if done >= self.episodes:
            return
        self.logs.mkdir(parents=True, exist_ok=True)
        first = self.seed + done
        node = ("--robot", self.robot)
        robot = ("robot", self.robot, "--task", self.task, "--seed", str(first), "--lockstep", "operator", "recorder")
        recorder = ("record", str(self.dataset), *node, "--operator", "script", "--lockstep")
        count = ("--episodes", str(self.episodes - done), "--first", str(first))
        operator = ("teleop", "script", *node, "--task", self.task, *count, "--lockstep", "2")
        with self._processes({"robot": robot, "recorder": recorder, "operator": operator}) as processes:
            self._watch(processes, done, on_progress)

    def _watch(
        self, processes: Mapping[str, subprocess.Popen[bytes]], done: int, on_progress: Callable[[int], None]
    ) -> None:
        """Wait until the operator is finished, and see that the others live and that episodes come in."""
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
        """Run `waldo` commands in a ROS domain of their own; end them in turn: the recorder closes its episode."""
        environment = {
            **os.environ,
            # On this machine only, and apart from robots that may be on the network.
            "ROS_AUTOMATIC_DISCOVERY_RANGE": "LOCALHOST",
            "ROS_DOMAIN_ID": str(1 + os.getpid() % 100),
            "OMP_NUM_THREADS": "1",
            "LP_NUM_THREADS": "0",
        }
        running: dict[str, subprocess.Popen[bytes]] = {}
        try:
            for name, words in commands.items():
                with (self.logs / f"{name}.log").open("ab") as log:
                    # A session of its own: Ctrl-C reaches this process alone, which then ends them in order.
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
                    _end(running[name])


def _end(process: subprocess.Popen[bytes]) -> None:
    """Ask a process to end, and make it end."""
    if process.poll() is None:
        process.send_signal(signal.SIGTERM)
    try:
        process.wait(timeout=20)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
