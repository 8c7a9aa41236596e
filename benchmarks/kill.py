"""Data loss after `kill -9`: recording sessions are killed at random times, recovered in a new process and compared.

uv run python benchmarks/kill.py --instants 200 --peer-instants 20

Each session saves five episodes and then records a live one in real time. Afterwards the saved episodes must be
identical in every byte, and the live one may lack at most 0.5 s of each stream; all of its frames must decode, and all
of its values must equal the recorded ones. LeRobot's recorder is killed at the same times, and the episodes that it can
still open are counted.
"""

from __future__ import annotations

import random
import shutil
import statistics
import sys
import time
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import tyro
from crash import Phase, Run, Session, Verdict, hashes, instant, judge, prepare, processes
from workload import Robot, Workload, free_folder, print_table, wait_until

from waldo import console


@dataclass(frozen=True, kw_only=True)
class Config:
    """Kill recording sessions at random times and report the losses."""

    instants: int = 200
    """Sessions of waldo's recorder."""
    peer_instants: int = 20
    """Sessions per peer."""
    peers: tuple[str, ...] = ("lerobot", "lerobot-stream")
    """Peers: lerobot, lerobot-stream."""
    saved: int = 5
    """Episodes that each session saves before the live one."""
    copied: int = 4
    """How many of them are recorded once and copied into waldo's sessions; LeRobot's sessions record all of them."""
    saved_s: float = 0.5
    """Duration of each [s]; recorded as fast as the recorder accepts data."""
    peer_saved_s: float = 0.2
    """The same for the peers, which encode more slowly [s]."""
    seed: int = 0
    """Seed of the times."""
    folder: Path | None = None
    """Folder for the recordings, deleted afterwards; a temporary folder by default."""
    keep: bool = False
    """Keep the datasets of sessions with errors."""
    robot: Robot = field(default_factory=Robot)
    """The recorded robot."""


def strike(context: Any, system: str, number: int, folder: Path, config: Config) -> tuple[str, Run, dict[str, str]]:
    """Run and kill one session; return its phase, the session and the hashes of its saved episodes before."""
    rng = random.Random(f"{config.seed} {number}")
    where, live_s, phase, episode, delay_s = instant(rng, number, config.saved)
    copied = config.copied if system == "waldo" else 0
    saved_s = config.saved_s if system == "waldo" else config.peer_saved_s
    session = Session(
        system=system, copied=copied, saved=config.saved, saved_s=saved_s, live_s=live_s, robot=config.robot
    )
    root = folder / f"{system}-{number}"
    if copied:
        shutil.copytree(prepare(context, session, folder), root)
    run = Run(context, session, root, folder / f"{system}-{number}.log")
    try:
        run.wait_for(Phase.RECORDING, config.saved)
        before = hashes(root, config.saved) if system == "waldo" else {}
        run.wait_for(phase, episode)
        wait_until(time.monotonic() + delay_s)
        if run.ended:
            raise SystemExit(f"{system}: the recorder exited early with code {run.process.exitcode}")
    finally:
        run.kill()
    return where, run, before


def outcome(context: Any, struck: tuple[str, Run, dict[str, str]], config: Config) -> tuple[str, Verdict]:
    """Recover a killed session in a new process and judge the result."""
    where, run, before = struck
    verdict = judge(context, run.root, run.log.freeze(), run.session, before)
    if not (config.keep and (verdict.harmed or verdict.problems)):
        shutil.rmtree(run.root)
    return where, verdict


def row(system: str, verdicts: Sequence[tuple[str, Verdict]]) -> list[str]:
    """Return the table row of a system."""
    losses = [verdict.worst_s for _, verdict in verdicts]
    saved = sum(verdict.saved for _, verdict in verdicts)
    harmed = sum(min(verdict.saved, len(verdict.harmed)) for _, verdict in verdicts)
    touched = sum(bool(verdict.harmed) for _, verdict in verdicts)
    wrong = sum(bool(verdict.problems) for _, verdict in verdicts)
    out = [system, str(len(verdicts)), f"{harmed} of {saved}", str(touched), f"{max(losses):.2f}"]
    return [*out, f"{statistics.median(losses):.2f}", f"{statistics.mean(losses):.2f}", str(wrong)]


def notes_of(results: dict[str, list[tuple[str, Verdict]]]) -> list[str]:
    """Return the notes below the table."""
    notes: list[str] = []
    for system, verdicts in results.items():
        for name, words in PLACES.items():
            losses = [v.worst_s for where, v in verdicts if where == name]
            if losses:
                notes.append(f"{system}, killed {words}: {len(losses)} times, largest loss {max(losses):.2f} s.")
        texts = [f"{system} ({where}): {text}" for where, v in verdicts for text in (*v.problems, *v.harmed)]
        notes += texts[:20] if system == "waldo" else []
        longest = max(verdicts, key=lambda found: found[1].worst_s)[1]
        notes.append(f"{system}, session with the largest loss: {longest.left}.")
    return notes


PLACES = {"live": "while recording", "saving": "while saving or after it", "next": "while the next episode begins"}


def main() -> None:
    """Kill sessions of every system and print the table."""
    config = tyro.cli(Config, description=__doc__)
    systems = {"waldo": config.instants} | dict.fromkeys(config.peers, config.peer_instants)
    folder = free_folder("waldo-kill-", config.folder)
    results: dict[str, list[tuple[str, Verdict]]] = {}
    context = processes(["lerobot.datasets.lerobot_dataset"] if config.peers and config.peer_instants else [])
    try:
        with console.progress() as progress, ThreadPoolExecutor(1) as judges:
            bar = progress.add_task("killing", total=sum(systems.values()), note="generating images")
            Workload(config.robot, frames=Session(robot=config.robot).frames).images  # noqa: B018
            for system, count in systems.items():
                pending: list[Future[tuple[str, Verdict]]] = []
                results[system] = []
                for number in range(count):
                    progress.update(bar, note=system)
                    # Judge one session while the next one records, which leaves a core idle.
                    pending.append(
                        judges.submit(outcome, context, strike(context, system, number, folder, config), config)
                    )
                    results[system] += [future.result() for future in pending[:-1]]
                    del pending[:-1]
                    progress.advance(bar)
                results[system] += [future.result() for future in pending]
    except KeyboardInterrupt:
        print("interrupted; results so far", file=sys.stderr)
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
