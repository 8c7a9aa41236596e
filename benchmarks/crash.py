"""Recording sessions that are interrupted, and the comparison of the recorded with the recovered data.

A session saves some episodes and then records a live one in real time. After each call to the recorder it updates a
small shared file, so the process that interrupts the session has an exact account of the recorded data.
"""

from __future__ import annotations

import hashlib
import multiprocessing
import os
import random
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import IntEnum
from multiprocessing.context import ForkServerProcess
from pathlib import Path
from typing import Any

import numpy as np
from sinks import make
from workload import Robot, Workload, psnr_db, read_number, wait_until

MAX_LOSS_S = 0.5
"""Largest accepted loss of the live episode [s]."""

MIN_PSNR_DB = 25.0
"""PSNR below which a stored frame counts as damaged [dB]."""

EPISODES = 64
"""Capacity of a session's log [episodes]."""

FAST_FRAMES = 3
"""Longest queue of frames while the first episodes are recorded as fast as the recorder accepts data."""


class Phase(IntEnum):
    """Phase of a session."""

    STARTING = 0
    RECORDING = 1
    SAVING = 2
    BEGINNING = 3


@dataclass(frozen=True, kw_only=True)
class Session:
    """Configuration of a recording session."""

    system: str = "waldo"
    """The recorder; see sinks.py."""
    copied: int = 0
    """Episodes that exist before the session."""
    saved: int = 5
    """Episodes before the live one, including copied ones."""
    limit: int = EPISODES
    """Number of episodes after which the session ends."""
    saved_s: float = 0.5
    """Duration of each saved episode [s]."""
    live_s: float = 60.0
    """Duration of each live episode [s]; then it is saved and the next one starts."""
    kind: str = "camera"
    """Kind of images."""
    frames: int = 90
    """Distinct images per camera."""
    robot: Robot
    """The recorded robot."""


class Log:
    """Progress of a session in a file that survives it: phase, episode, saved episodes, and rows of each stream."""

    def __init__(self, path: Path, robot: Robot, *, create: bool = False) -> None:
        """Map the file."""
        self.streams = list(robot.rates)
        size = 3 + EPISODES * len(self.streams)
        self._cells = np.memmap(path, np.int64, "w+" if create else "r+", shape=(size,))

    @property
    def phase(self) -> Phase:
        """Current phase."""
        return Phase(int(self._cells[0]))

    @property
    def episode(self) -> int:
        """Current episode, from 0."""
        return int(self._cells[1])

    @property
    def saved(self) -> int:
        """Number of saved episodes."""
        return int(self._cells[2])

    def enter(self, phase: Phase, episode: int) -> None:
        """Enter the next phase."""
        if phase == Phase.BEGINNING:
            self._cells[2] = episode
        self._cells[1] = episode
        self._cells[0] = phase

    def accepted(self, stream: str, count: int) -> None:
        """Set the number of rows or frames of a stream that the recorder has accepted in this episode."""
        self._cells[3 + self.episode * len(self.streams) + self.streams.index(stream)] = count

    def counts(self, episode: int) -> dict[str, int]:
        """Return stream -> accepted rows or frames of an episode."""
        first = 3 + episode * len(self.streams)
        return dict(zip(self.streams, self._cells[first : first + len(self.streams)].tolist(), strict=True))

    def freeze(self) -> Progress:
        """Return the current progress."""
        counts = {episode: self.counts(episode) for episode in range(self.episode + 1)}
        return Progress(saved=self.saved, counts=counts)


@dataclass(frozen=True, kw_only=True)
class Progress:
    """Progress of a session at one time."""

    saved: int
    """Number of saved episodes."""
    counts: dict[int, dict[str, int]]
    """Episode -> stream -> accepted rows or frames; the last episode is the live one."""


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """Result of a session."""

    saved: int
    """Number of saved episodes."""
    harmed: tuple[str, ...]
    """Descriptions of changed or incomplete saved episodes."""
    lost_s: dict[str, float]
    """Stream -> missing data at the end of the live episode [s]."""
    problems: tuple[str, ...] = ()
    """Other errors: wrong rows or frames, damage, or a loss above the limit."""
    left: str = ""
    """Recovered part of the live episode as text."""

    @property
    def worst_s(self) -> float:
        """Largest loss of a stream [s]."""
        return max(self.lost_s.values(), default=0.0)


def processes(preload: Sequence[str] = ()) -> Any:
    """Return the context in which sessions start, each in a process forked from one with the libraries loaded."""
    os.environ["PYTHONPATH"] = os.pathsep.join([str(Path(__file__).parent), os.environ.get("PYTHONPATH", "")])
    os.environ["PYTHONWARNINGS"] = "ignore"  # multiprocessing warns about resources of killed processes
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["crash", "waldo.datasets.video.codec", "waldo.datasets.quality.verify", *preload])
    return context


def run_session(root: Path, log_path: Path, session: Session) -> None:
    """Record until the process is killed."""
    _be_quiet(log_path.with_suffix(".txt"))
    work = Workload(session.robot, kind=session.kind, frames=session.frames)
    touched = max(int(images.max()) for images in work.images.values())  # maps every page before the clock starts
    log = Log(log_path, session.robot)
    sink = make(session.system, root, work)
    for episode in range(session.copied, session.limit if touched else 0):
        live = episode >= session.saved
        log.enter(Phase.BEGINNING, episode)
        sink.begin()
        log.enter(Phase.RECORDING, episode)
        start, start_ns = time.monotonic(), episode * 10**12
        for due_s, stream, number in session.robot.schedule(session.live_s if live else session.saved_s):
            if live:
                wait_until(start + due_s)
            while not live and sink.waiting() >= FAST_FRAMES:
                time.sleep(0.001)
            stamp_ns = session.robot.stamp_ns(start_ns, stream, number)
            put = sink.frame if stream in session.robot.camera_names else sink.row
            put(stream, number, stamp_ns)
            log.accepted(stream, number + 1)
        log.enter(Phase.SAVING, episode)
        sink.save()
    sink.finish()


class Run:
    """A session in its own process, with its log next to its dataset."""

    def __init__(self, context: Any, session: Session, root: Path, log_path: Path) -> None:
        """Start the session."""
        self.session, self.root = session, root
        self.log = Log(log_path, session.robot, create=True)
        self.log.enter(Phase.STARTING, session.copied)
        self.process: ForkServerProcess = context.Process(target=run_session, args=(root, log_path, session))
        self.process.start()

    def wait_for(self, phase: Phase, episode: int) -> None:
        """Wait until the session has reached a phase of an episode."""
        while (self.log.episode, self.log.phase) != (episode, phase):
            if self.log.episode > episode or not self.process.is_alive():
                return
            time.sleep(0.0005)

    @property
    def ended(self) -> bool:
        """Whether the session exited before the live episode."""
        return self.process.exitcode is not None or self.log.saved < self.session.saved

    def kill(self) -> None:
        """Kill the session with SIGKILL and wait for its exit."""
        self.process.kill()
        self.process.join()


def prepare(context: Any, session: Session, folder: Path) -> Path:
    """Record, once, the episodes that are copied into every session's dataset; return their dataset."""
    root = folder / "copied"
    if not root.exists() and session.copied:
        first = replace(session, copied=0, saved=session.copied, limit=session.copied)
        Run(context, first, root, folder / "copied.log").process.join()
    return root


def instant(rng: random.Random, number: int, saved: int) -> tuple[str, float, Phase, int, float]:
    """Return when to kill session `number`: name, duration of the live episode [s], phase, episode, delay [s].

    Of ten sessions, seven are killed in the live episode, two while or after it is saved, and one at the start of the
    next episode.
    """
    kind = number % 10
    if kind < 7:
        return "live", 60.0, Phase.RECORDING, saved, rng.uniform(0.05, 2.5)
    if kind < 9:
        return "saving", rng.uniform(0.2, 1.0), Phase.SAVING, saved, rng.uniform(0.0, 0.4)
    return "next", rng.uniform(0.2, 0.6), Phase.BEGINNING, saved + 1, rng.uniform(0.0, 0.15)


def hashes(root: Path, count: int) -> dict[str, str]:
    """Return name -> hash of all file names and contents, for the first `count` saved episodes of a waldo dataset."""
    found: dict[str, str] = {}
    for folder in sorted(root.glob("episode_*.zarr"))[:count]:
        digest = hashlib.sha256()
        for path in sorted(path for path in folder.rglob("*") if path.is_file()):
            digest.update(f"{path.relative_to(folder)}\0{path.stat().st_size}\0".encode() + path.read_bytes())
        found[folder.name] = digest.hexdigest()
    return found


def judge(context: Any, root: Path, known: Progress, session: Session, before: dict[str, str]) -> Verdict:
    """Recover in a new process and compare the recovered with the accepted data."""
    judging = judge_lerobot if session.system.startswith("lerobot") else judge_waldo
    with context.Pool(1, _be_quiet, [Path(os.devnull)]) as pool:
        return pool.apply(judging, (root, known, session, before))


def _be_quiet(path: Path) -> None:
    """Redirect stdout and stderr of this process, including its libraries, to a file."""
    fd = os.open(path, os.O_CREAT | os.O_WRONLY | os.O_APPEND, 0o644)
    for standard in (1, 2):
        os.dup2(fd, standard)
    os.close(fd)


def judge_waldo(root: Path, known: Progress, session: Session, before: dict[str, str]) -> Verdict:
    """Recover a waldo dataset and compare its episodes."""
    from waldo.datasets.dataset import Dataset

    saved, accepted = known.saved, known.counts
    with Dataset.open(root).lock() as dataset:
        dataset.recover()
    after = hashes(root, saved)
    harmed = [f"{name} has changed" for name, digest in before.items() if after.get(name) != digest]
    problems: list[str] = []
    lost: dict[str, float] = {}
    work = Workload(session.robot, kind=session.kind, frames=session.frames)
    left = "nothing"
    # The episode that was live when `before` was computed may have been saved since.
    for index in range(len(before), max(accepted) + 1):
        missing, wrong, left = _compare(root, index, accepted[index], work)
        if index < saved:
            # Saved at the last moment: it must be complete.
            harmed += [f"episode {index} lost {s:.2f} s of {name}" for name, s in missing.items() if s > 0]
            harmed += wrong
        else:
            lost = missing
            problems += wrong
    problems += [f"{name} lost {seconds:.2f} s" for name, seconds in lost.items() if seconds > MAX_LOSS_S]
    return Verdict(saved=saved, harmed=tuple(harmed), lost_s=lost, problems=tuple(problems), left=left)


def _compare(
    root: Path, index: int, accepted: dict[str, int], work: Workload
) -> tuple[dict[str, float], list[str], str]:
    """Return the loss at the end of an episode [s], the errors in the rest, and the recovered part as text."""
    from waldo.datasets.dataset import Dataset
    from waldo.datasets.quality.verify import verify

    rates = work.robot.rates
    dataset = Dataset.open(root)
    if index not in dataset.indices:
        # Nothing of the episode had reached the disk.
        return {name: accepted[name] / rates[name] for name in rates}, [], "nothing"
    episode = dataset.episodes[list(dataset.indices).index(index)]
    problems = [f"episode {index}: {damage}" for damage in verify(episode)]
    missing: dict[str, float] = {}
    for name, rate in rates.items():
        count = episode.count(name)
        missing[name] = max(0, accepted[name] - count) / rate
        stamps = [work.robot.stamp_ns(index * 10**12, name, number) for number in range(count)]
        if episode.time_ns(name).tolist() != stamps or episode.sequence(name).tolist() != list(range(1, count + 1)):
            problems.append(f"episode {index}: the stamps of {name} differ from the recorded ones")
        if name in work.robot.camera_names:
            problems += _wrong_frames(episode, name, work)
            continue
        for field in work.row(name, 0) if count else ():
            expected = np.stack([work.row(name, number)[field] for number in range(count)])
            if not np.array_equal(episode.values(name, field), expected):
                problems.append(f"episode {index}: {name}/{field} differs from the recorded values")
    return missing, problems, ", ".join(f"{episode.count(name)} of {accepted[name]} {name}" for name in rates)


def _wrong_frames(episode: Any, camera: str, work: Workload) -> list[str]:
    """Compare the number of every frame and the pixels of every fifth one."""
    for number, image in enumerate(episode.frames(camera)):
        if read_number(image) != work.shown(number):
            return [f"{camera}: frame {number} is another one than recorded"]
        if number % 5 == 0 and psnr_db(image, work.image(camera, number)) < MIN_PSNR_DB:
            return [f"{camera}: frame {number} is damaged"]
    return []


def judge_lerobot(root: Path, known: Progress, session: Session, _: dict[str, str]) -> Verdict:
    """Open a LeRobot dataset and count its rows; LeRobot has no recovery."""
    from lerobot.datasets.lerobot_dataset import LeRobotDataset

    saved, accepted = known.saved, known.counts
    live = max(accepted)
    rows = {index: min(counts[name] for name in session.robot.camera_names) for index, counts in accepted.items()}
    try:
        dataset = LeRobotDataset("local/peer", root=root)
        episodes: Any = dataset.meta.episodes
        lengths = [int(episodes[i]["length"]) for i in range(dataset.num_episodes)]
        for first in np.cumsum([0, *lengths[:-1]]).tolist() if lengths else ():
            dataset[first]
        left = ""
    except Exception:  # any error that prevents opening it
        lengths, left = [], "cannot be opened"
    harmed = [
        f"episode {i} is missing or incomplete" for i in range(saved) if i >= len(lengths) or lengths[i] != rows[i]
    ]
    kept = lengths[live] if live < len(lengths) else 0
    lost = {"rows": max(0, rows[live] - kept) / session.robot.fps} if live >= saved else {}
    images = sum(1 for _ in root.rglob("*.png"))
    left = left or f"{kept} of {rows[live]} rows"
    left += f", {images} PNG files" if images else ""
    return Verdict(saved=saved, harmed=tuple(harmed), lost_s=lost, left=left)
