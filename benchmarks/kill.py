"""What `kill -9` costs: recording sessions are killed at random instants, recovered by a new process and compared.

uv run python benchmarks/kill.py --instants 200 --peer-instants 20

Each session saves five episodes and then records a live one in real time. Afterwards the saved ones must be the same
in every byte, and the live one may lack at most 0.5 s of each stream; every frame of it must decode, and every value
must be what was handed over. LeRobot's recorder is killed at the same instants; what then opens is counted.
"""

from __future__ import annotations

import random
import shutil
import statistics
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import tyro
from crash import Phase, Run, Session, Verdict, hashes, instant, judge, processes
from workload import Robot, Workload, free_folder, print_table, wait_until

from waldo import console


@dataclass(frozen=True, kw_only=True)
class Config:
    """Kill recording sessions at random instants and say what is left."""

    instants: int = 200
    """Sessions of waldo's recorder."""
    peer_instants: int = 20
    """Sessions of each peer."""
    peers: tuple[str, ...] = ("lerobot", "lerobot-stream")
    """Peers: lerobot, lerobot-stream."""
    saved: int = 5
    """Episodes that each session saves before the live one."""
    saved_s: float = 0.5
    """Length of each [s]; recorded as fast as the recorder takes it."""
    seed: int = 0
    """Seed of the instants."""
    folder: Path | None = None
    """Where to record; a temporary folder if absent. It is emptied again."""
    keep: bool = False
    """Leave the datasets of sessions that went wrong."""
    robot: Robot = field(default_factory=Robot)
    """What is recorded."""


def once(context: Any, system: str, number: int, folder: Path, config: Config) -> tuple[str, Verdict]:
    """Run and kill one session; return where it was killed and what became of it."""
    rng = random.Random(f"{config.seed} {number}")
    where, live_s, phase, episode, delay_s = instant(rng, number, config.saved)
    session = Session(system=system, saved=config.saved, saved_s=config.saved_s, live_s=live_s, robot=config.robot)
    root = folder / f"{system}-{number}"
    run = Run(context, session, root, folder / f"{system}-{number}.log")
    try:
        run.wait_for(Phase.RECORDING, config.saved)
        begun = _now()
        before = {} if system != "waldo" else hashes(root, config.saved)
        run.wait_for(phase, episode)
        wait_until((begun if where == "live" else _now()) + delay_s)
    finally:
        run.kill()
    if run.log.saved < config.saved:
        raise SystemExit(f"{system}: the recorder ended by itself with exit code {run.process.exitcode}")
    verdict = judge(context, root, run.log, session, before)
    if not (config.keep and (verdict.harmed or verdict.problems)):
        shutil.rmtree(root)
    return where, verdict


def _now() -> float:
    import time

    return time.monotonic()


def row(system: str, verdicts: Sequence[tuple[str, Verdict]]) -> list[str]:
    """Return a system's row of the table."""
    losses = [verdict.worst_s for _, verdict in verdicts]
    saved = sum(verdict.saved for _, verdict in verdicts)
    harmed = sum(min(verdict.saved, len(verdict.harmed)) for _, verdict in verdicts)
    touched = sum(bool(verdict.harmed) for _, verdict in verdicts)
    wrong = sum(bool(verdict.problems) for _, verdict in verdicts)
    out = [system, str(len(verdicts)), f"{harmed} of {saved}", str(touched), f"{max(losses):.2f}"]
    return [*out, f"{statistics.median(losses):.2f}", f"{statistics.mean(losses):.2f}", str(wrong)]


def notes_of(results: dict[str, list[tuple[str, Verdict]]]) -> list[str]:
    """Return what should be said below the table."""
    notes: list[str] = []
    for system, verdicts in results.items():
        for name in ("live", "saving", "next"):
            losses = [v.worst_s for where, v in verdicts if where == name]
            if losses:
                notes.append(f"{system}, killed {PLACES[name]}: {len(losses)}, worst loss {max(losses):.2f} s")
        for where, verdict in verdicts:
            notes += [f"{system} ({where}): {text}" for text in (*verdict.problems, *verdict.harmed)][:3]
        notes += sorted({f"{system}, for example: {v.left}" for _, v in verdicts[:1]})
    return notes[:40]


PLACES = {"live": "while recording", "saving": "while saving or after it", "next": "while the next episode begins"}


def main() -> None:
    """Kill sessions of every system and print the table."""
    config = tyro.cli(Config, description=__doc__)
    systems = {"waldo": config.instants} | dict.fromkeys(config.peers, config.peer_instants)
    folder = free_folder("waldo-kill-", config.folder)
    results: dict[str, list[tuple[str, Verdict]]] = {}
    context = processes(["lerobot.datasets.lerobot_dataset"] if config.peers and config.peer_instants else [])
    try:
        with console.progress() as progress:
            bar = progress.add_task("killing", total=sum(systems.values()), note="making pictures")
            Workload(config.robot, frames=Session(robot=config.robot).frames).images  # noqa: B018
            for system, count in systems.items():
                for number in range(count):
                    progress.update(bar, note=system)
                    results.setdefault(system, []).append(once(context, system, number, folder, config))
                    progress.advance(bar)
    except KeyboardInterrupt:
        print("interrupted: these are the sessions so far", file=sys.stderr)
    finally:
        if not config.keep:
            shutil.rmtree(folder)
    columns = [
        "recorder",
        "kills",
        "saved episodes harmed",
        "in sessions",
        "worst loss s",
        "median s",
        "mean s",
        "wrong",
    ]
    title = f"kill -9 at random instants of a session with {config.saved} saved episodes"
    print_table(title, columns, [row(system, found) for system, found in results.items()], notes_of(results))
    if any(verdict.harmed or verdict.problems for _, verdict in results.get("waldo", [])):
        raise SystemExit(1)


if __name__ == "__main__":
    main()
