"""Recording sessions that end badly: what was handed over, what is left, and whether that is right.

A session saves some episodes and then records a live one in real time. It writes what it has handed over into a small
shared file, after each call has come back, so that whoever ends the session knows what counts as recorded.
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

LOST_S = 0.5
"""The most that may be lost of the episode in progress [s]."""

LEAST_PSNR_DB = 25.0
"""A frame that differs more from the one that was handed over is not that frame."""

EPISODES = 64
"""Episodes that a session's log has room for."""

FAST_FRAMES = 3
"""Frames that may wait while a session's first episodes are recorded as fast as the recorder takes them."""


class Phase(IntEnum):
    """What a session is doing."""

    STARTING = 0
    RECORDING = 1
    SAVING = 2
    BEGINNING = 3


@dataclass(frozen=True, kw_only=True)
class Session:
    """What a recording session does."""

    system: str = "waldo"
    """The recorder, see sinks.py."""
    copied: int = 0
    """Episodes that are in the dataset already."""
    saved: int = 5
    """Episodes saved before the live one, those included."""
    limit: int = EPISODES
    """Where the session ends by itself."""
    saved_s: float = 0.5
    """Length of each [s]."""
    live_s: float = 60.0
    """Length of each live episode [s]; when it is over it is saved and the next begins."""
    kind: str = "camera"
    """Kind of pictures."""
    frames: int = 90
    """Different pictures a camera."""
    robot: Robot
    """What is recorded."""


class Log:
    """What a session has handed over, in a file that survives it: phase, episode, saved, and each stream's rows."""

    def __init__(self, path: Path, robot: Robot, *, create: bool = False) -> None:
        """Map the file."""
        self.streams = list(robot.rates)
        size = 3 + EPISODES * len(self.streams)
        self._cells = np.memmap(path, np.int64, "w+" if create else "r+", shape=(size,))

    @property
    def phase(self) -> Phase:
        """What it is doing."""
        return Phase(int(self._cells[0]))

    @property
    def episode(self) -> int:
        """Which episode it is at, from 0."""
        return int(self._cells[1])

    @property
    def saved(self) -> int:
        """How many episodes it has saved."""
        return int(self._cells[2])

    def enter(self, phase: Phase, episode: int) -> None:
        """Note the next phase."""
        if phase == Phase.BEGINNING:
            self._cells[2] = episode
        self._cells[1] = episode
        self._cells[0] = phase

    def handed(self, stream: str, count: int) -> None:
        """Note how many rows or frames of a stream the recorder has taken in this episode."""
        self._cells[3 + self.episode * len(self.streams) + self.streams.index(stream)] = count

    def counts(self, episode: int) -> dict[str, int]:
        """Return how many rows and frames of an episode were handed over."""
        first = 3 + episode * len(self.streams)
        return dict(zip(self.streams, self._cells[first : first + len(self.streams)].tolist(), strict=True))

    def freeze(self) -> Handed:
        """Return what is handed over by now."""
        handed = {episode: self.counts(episode) for episode in range(self.episode + 1)}
        return Handed(saved=self.saved, counts=handed)


@dataclass(frozen=True, kw_only=True)
class Handed:
    """What a session had handed over at an instant."""

    saved: int
    """Episodes that were saved."""
    counts: dict[int, dict[str, int]]
    """Each episode's rows and frames, of each stream; the last episode is the live one."""


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """What became of a session's data."""

    saved: int
    """Episodes that had been saved."""
    harmed: tuple[str, ...]
    """Of these, the ones that are not as they were, and why."""
    lost_s: dict[str, float]
    """What is missing of the live episode's end, of each stream [s]."""
    problems: tuple[str, ...] = ()
    """Whatever else is wrong: rows or frames that are not those that were handed over, damage, too much lost."""
    left: str = ""
    """What there is of the live episode, in words."""

    @property
    def worst_s(self) -> float:
        """The loss of the stream that lost most [s]."""
        return max(self.lost_s.values(), default=0.0)


def processes(preload: Sequence[str] = ()) -> Any:
    """Return where sessions are started: each a process of its own, forked from one that has the libraries loaded."""
    os.environ["PYTHONPATH"] = os.pathsep.join([str(Path(__file__).parent), os.environ.get("PYTHONPATH", "")])
    os.environ["PYTHONWARNINGS"] = "ignore"  # multiprocessing misses what killed processes held
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["crash", "waldo.datasets.video.codec", "waldo.datasets.quality.verify", *preload])
    return context


def run_session(root: Path, log_path: Path, session: Session) -> None:
    """Record until something ends it."""
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
            log.handed(stream, number + 1)
        log.enter(Phase.SAVING, episode)
        sink.save()
    sink.finish()


class Run:
    """One session in a process, with its log beside its dataset."""

    def __init__(self, context: Any, session: Session, root: Path, log_path: Path) -> None:
        """Start it."""
        self.session, self.root = session, root
        self.log = Log(log_path, session.robot, create=True)
        self.log.enter(Phase.STARTING, session.copied)
        self.process: ForkServerProcess = context.Process(target=run_session, args=(root, log_path, session))
        self.process.start()

    def wait_for(self, phase: Phase, episode: int) -> None:
        """Wait until the session has come to a phase of an episode."""
        while (self.log.episode, self.log.phase) != (episode, phase):
            if self.log.episode > episode or not self.process.is_alive():
                return
            time.sleep(0.0005)

    @property
    def ended(self) -> bool:
        """Whether it ended by itself, before there was anything to end."""
        return self.process.exitcode is not None or self.log.saved < self.session.saved

    def kill(self) -> None:
        """End it with SIGKILL and wait until it is gone."""
        self.process.kill()
        self.process.join()


def prepare(context: Any, session: Session, folder: Path) -> Path:
    """Record the episodes that are copied into every session's dataset, once, and return their dataset."""
    root = folder / "copied"
    if not root.exists() and session.copied:
        first = replace(session, copied=0, saved=session.copied, limit=session.copied)
        Run(context, first, root, folder / "copied.log").process.join()
    return root


def instant(rng: random.Random, number: int, saved: int) -> tuple[str, float, Phase, int, float]:
    """Return where to end session `number`: words, the live episode's length [s], phase, episode, delay [s].

    Seven of ten fall into the live episode; two into saving one, and what follows; one into the start of the next.
    """
    kind = number % 10
    if kind < 7:
        return "live", 60.0, Phase.RECORDING, saved, rng.uniform(0.05, 2.5)
    if kind < 9:
        return "saving", rng.uniform(0.2, 1.0), Phase.SAVING, saved, rng.uniform(0.0, 0.4)
    return "next", rng.uniform(0.2, 0.6), Phase.BEGINNING, saved + 1, rng.uniform(0.0, 0.15)


def hashes(root: Path, count: int) -> dict[str, str]:
    """Return the hash of each of the first `count` saved episodes of a waldo dataset: every name and byte in it."""
    found: dict[str, str] = {}
    for folder in sorted(root.glob("episode_*.zarr"))[:count]:
        digest = hashlib.sha256()
        for path in sorted(path for path in folder.rglob("*") if path.is_file()):
            digest.update(f"{path.relative_to(folder)}\0{path.stat().st_size}\0".encode() + path.read_bytes())
        found[folder.name] = digest.hexdigest()
    return found


def judge(context: Any, root: Path, known: Handed, session: Session, before: dict[str, str]) -> Verdict:
    """Recover in a new process and compare what is there with what had been handed over and saved."""
    judging = judge_lerobot if session.system.startswith("lerobot") else judge_waldo
    with context.Pool(1, _be_quiet, [Path(os.devnull)]) as pool:
        return pool.apply(judging, (root, known, session, before))


def _be_quiet(path: Path) -> None:
    """Send what this process and the libraries in it say into a file."""
    fd = os.open(path, os.O_CREAT | os.O_WRONLY | os.O_APPEND, 0o644)
    for standard in (1, 2):
        os.dup2(fd, standard)
    os.close(fd)


def judge_waldo(root: Path, known: Handed, session: Session, before: dict[str, str]) -> Verdict:
    """Recover a waldo dataset and compare."""
    from waldo.datasets.dataset import Dataset

    saved, handed = known.saved, known.counts
    with Dataset.open(root).lock() as dataset:
        dataset.recover()
    after = hashes(root, saved)
    harmed = [f"{name} has changed" for name, digest in before.items() if after.get(name) != digest]
    problems: list[str] = []
    lost: dict[str, float] = {}
    work = Workload(session.robot, kind=session.kind, frames=session.frames)
    left = "nothing"
    # What was live at the instant that `before` was taken may have been saved since; those in `before` are unchanged.
    for index in range(len(before), max(handed) + 1):
        missing, wrong, left = _compare(root, index, handed[index], work)
        if index < saved:
            # Saved at the last moment: it must be whole.
            harmed += [f"episode {index} lost {s:.2f} s of {name}" for name, s in missing.items() if s > 0]
            harmed += wrong
        else:
            lost = missing
            problems += wrong
    problems += [f"{name} lost {seconds:.2f} s" for name, seconds in lost.items() if seconds > LOST_S]
    return Verdict(saved=saved, harmed=tuple(harmed), lost_s=lost, problems=tuple(problems), left=left)


def _compare(root: Path, index: int, handed: dict[str, int], work: Workload) -> tuple[dict[str, float], list[str], str]:
    """Return what an episode has lost at its end [s], what is wrong with the rest, and what is left in words."""
    from waldo.datasets.dataset import Dataset
    from waldo.datasets.quality.verify import verify

    rates = work.robot.rates
    dataset = Dataset.open(root)
    if index not in dataset.indices:
        # An episode of which nothing had reached the disk yet is no episode.
        return {name: handed[name] / rates[name] for name in rates}, [], "nothing"
    episode = dataset.episodes[list(dataset.indices).index(index)]
    problems = [f"episode {index}: {damage}" for damage in verify(episode)]
    missing: dict[str, float] = {}
    for name, rate in rates.items():
        count = episode.count(name)
        missing[name] = max(0, handed[name] - count) / rate
        stamps = [work.robot.stamp_ns(index * 10**12, name, number) for number in range(count)]
        if episode.time_ns(name).tolist() != stamps or episode.sequence(name).tolist() != list(range(1, count + 1)):
            problems.append(f"episode {index}: the stamps of {name} are not those handed over")
        if name in work.robot.camera_names:
            problems += _wrong_frames(episode, name, work)
            continue
        for field in work.row(name, 0) if count else ():
            expected = np.stack([work.row(name, number)[field] for number in range(count)])
            if not np.array_equal(episode.values(name, field), expected):
                problems.append(f"episode {index}: {name}/{field} is not what was handed over")
    return missing, problems, ", ".join(f"{episode.count(name)} of {handed[name]} {name}" for name in rates)


def _wrong_frames(episode: Any, camera: str, work: Workload) -> list[str]:
    """Decode every frame and compare its number; compare the pixels of every fifth."""
    for number, image in enumerate(episode.frames(camera)):
        if read_number(image) != work.shown(number):
            return [f"{camera}: frame {number} is not the one handed over"]
        if number % 5 == 0 and psnr_db(image, work.image(camera, number)) < LEAST_PSNR_DB:
            return [f"{camera}: frame {number} is damaged"]
    return []


def judge_lerobot(root: Path, known: Handed, session: Session, _: dict[str, str]) -> Verdict:
    """Open a LeRobot dataset as its users would and count what is there; it has nothing that recovers."""
    from lerobot.datasets.lerobot_dataset import LeRobotDataset

    saved, handed = known.saved, known.counts
    live = max(handed)
    rows = {index: min(counts[name] for name in session.robot.camera_names) for index, counts in handed.items()}
    try:
        dataset = LeRobotDataset("local/peer", root=root)
        episodes: Any = dataset.meta.episodes
        lengths = [int(episodes[i]["length"]) for i in range(dataset.num_episodes)]
        for first in np.cumsum([0, *lengths[:-1]]).tolist() if lengths else ():
            dataset[first]
        left = ""
    except Exception:  # whatever it is that keeps a user from opening it
        lengths, left = [], "does not open"
    harmed = [f"episode {i} is gone" for i in range(saved) if i >= len(lengths) or lengths[i] != rows[i]]
    kept = lengths[live] if live < len(lengths) else 0
    lost = {"rows": max(0, rows[live] - kept) / session.robot.fps} if live >= saved else {}
    pictures = sum(1 for _ in root.rglob("*.png"))
    left = left or f"{kept} of {rows[live]} rows"
    left += f", {pictures} PNG files" if pictures else ""
    return Verdict(saved=saved, harmed=tuple(harmed), lost_s=lost, left=left)
