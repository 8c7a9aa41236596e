"""Long sessions: is the memory flat, do the streams drift apart, and is every lost message in the record?

Usage: uv run python benchmarks/soak.py [--minutes 30] [--hours 8]

The first part is real: a simulated SO-101 with two cameras, a scripted operator and `waldo operate`, whose page is open
in a headless browser, as processes on this machine. The second part is a session in simulated time: a recorder with its
monitor, rules, plan and console state, fed with every row of a robot with three cameras as fast as it takes them. Both
read back what was recorded: the numbers of the messages must be complete apart from the losses that the record states.
"""

from __future__ import annotations

import argparse
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import psutil
from workload import print_table

from waldo.collect.console.view import ConsoleView
from waldo.collect.recorder.operator_view import OperatorViews
from waldo.collect.recorder.recorder import Recorder, RecorderConfig, State
from waldo.collect.recorder.recording_monitor import RecordingMonitor
from waldo.collect.sessions.plan import PlannedTask, SessionPlan
from waldo.collect.sessions.session import RecordingSession
from waldo.console import out
from waldo.datasets.dataset import Dataset
from waldo.robots.description import load_robot

PORT = 8654
"""Port of the console."""
SAMPLE_S = 5.0
"""Interval between two samples of the memory [s]."""
EPISODE_S, PAUSE_S = 30.0, 10.0
"""Episodes and pauses of the simulated session [s]."""
CAMERAS = ("cameras/front", "cameras/left_wrist", "cameras/right_wrist")
"""Cameras of the simulated session."""
STATE_HZ, CAMERA_HZ, MOTORS_HZ = 60, 10, 10
"""Rates of the simulated session [Hz]."""


@dataclass
class Memory:
    """Resident memory of a process over time."""

    seconds: list[float] = field(default_factory=list)
    megabytes: list[float] = field(default_factory=list)

    def add(self, seconds: float, process: psutil.Process) -> None:
        """Add a sample."""
        self.seconds.append(seconds)
        self.megabytes.append(process.memory_info().rss / 1e6)

    def row(self, name: str) -> list[str]:
        """Return name, memory after a tenth of the time, at the end and at most, and the slope of the last half."""
        values = np.array(self.megabytes)
        half = len(values) // 2
        slope = np.polyfit(np.array(self.seconds[half:]) / 3600, values[half:], 1)[0]
        tenth = values[len(values) // 10]
        return [name, f"{tenth:.0f}", f"{values[-1]:.0f}", f"{values.max():.0f}", f"{slope:+.1f}"]


def account(dataset: Dataset) -> list[list[str]]:
    """Return for each stream its messages, the losses in the record, those in the sequence, and its drift."""
    rows: list[list[str]] = []
    episodes = list(dataset.episodes)
    for name in sorted({stream for episode in episodes for stream in episode.streams}):
        with_it = [episode for episode in episodes if name in episode.streams and episode.count(name) > 1]
        if not with_it:
            continue
        recorded = sum(episode.count(name) for episode in with_it)
        stated = sum(episode.lost(name) for episode in with_it)
        missing = sum(int(episode.gaps(name).sum()) for episode in with_it)
        at = np.array([episode.span_ns[0] for episode in with_it], dtype=float) / 3.6e12
        ages = [np.median(episode.time_ns(name, "receipt") - episode.time_ns(name)) / 1e6 for episode in with_it]
        drift = float(np.polyfit(at - at[0], ages, 1)[0]) if len(with_it) > 2 else float("nan")
        rows.append([name, str(recorded), str(stated), str(missing), f"{drift:+.3f}"])
    return rows


def real(minutes: float, folder: Path) -> tuple[list[list[str]], Dataset]:
    """Run the processes; return the memory of each and the dataset."""
    environment = os.environ | {"ROS_DOMAIN_ID": "77", "ROS_AUTOMATIC_DISCOVERY_RANGE": "LOCALHOST"}
    waldo = [sys.executable, "-m", "waldo"]

    def start(*args: str) -> subprocess.Popen[bytes]:
        log = (folder / f"{args[0]}.log").open("wb")
        return subprocess.Popen([*waldo, *args], stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=environment)

    programs = {"waldo robot": start("robot", "so101", "--task", "pick")}
    programs["waldo operate"] = start("operate", str(folder / "set"), "--port", str(PORT))
    time.sleep(10)
    script = ("--task", "pick", "--episodes", "100000")
    programs["waldo teleop"] = start("teleop", "script", *script)
    browser = open_page()
    memory = {name: Memory() for name in programs}
    begun = time.monotonic()
    try:
        while (seconds := time.monotonic() - begun) < 60 * minutes:
            for name, program in programs.items():
                if program.poll() is not None:
                    log = folder / f"{name.split()[1]}.log"
                    raise SystemExit(f"{name} has ended; its output:\n{log.read_text()[-2000:]}")
                memory[name].add(seconds, psutil.Process(program.pid))
            time.sleep(SAMPLE_S)
    finally:
        browser.quit()
        for name in ("waldo teleop", "waldo operate", "waldo robot"):
            programs[name].send_signal(signal.SIGINT)
            programs[name].wait(300)
    return [one.row(name) for name, one in memory.items()], Dataset.open(folder / "set")


def open_page() -> Any:
    """Return a headless browser with the console."""
    from selenium import webdriver
    from selenium.webdriver.chrome.service import Service

    options = webdriver.ChromeOptions()
    options.binary_location = shutil.which("chromium") or shutil.which("google-chrome") or ""
    for option in ("--headless=new", "--no-sandbox", "--disable-gpu", "--window-size=1440,900"):
        options.add_argument(option)
    browser = webdriver.Chrome(options=options, service=Service(shutil.which("chromedriver")))
    browser.get(f"http://127.0.0.1:{PORT}/")
    return browser


class Simulated:
    """A recorder and everything that follows it, on a clock of its own."""

    def __init__(self, dataset: Dataset) -> None:
        self.robot = load_robot("bi_so101")
        self.now_ns = 1_700_000_000_000_000_000
        self.recorder = Recorder(dataset, self.robot, {}, RecorderConfig(codec="jpeg", lockstep=True))
        self.monitor = RecordingMonitor(self.recorder, wall_ns=self.now_ns, monotonic_ns=self.now_ns)
        plan = SessionPlan(name="soak", tasks=(PlannedTask(instructions=("lift", "open"), episodes=10**4),))
        console = ConsoleView("bi_so101", self.robot.joint_names)
        session = RecordingSession(plan, self.recorder, console.notice, lambda: self.now_ns / 1e9)
        console.session = session.state
        self.view, self.console = OperatorViews(console, session), console
        self.sequence: dict[str, int] = {}
        self.lost = 0
        self.rng = np.random.default_rng(0)
        self.images = [self._jpeg(k) for k in range(32)]

    def _jpeg(self, number: int) -> bytes:
        import cv2

        pixels = np.full((48, 64, 3), 60, np.uint8)
        pixels[:, 2 * number : 2 * number + 2] = 250
        return cv2.imencode(".jpg", pixels)[1].tobytes()

    def _stamps(self, stream: str) -> dict[str, int] | None:
        """Return the stamps of a message; None for one in 10,000, which is lost on its way."""
        number = self.sequence.get(stream, 0) + 1
        self.sequence[stream] = number
        if self.rng.random() < 1e-4:
            self.lost += self.recorder.state is State.RECORDING
            return None
        return {"header_ns": self.now_ns, "receipt_ns": self.now_ns + 2_000_000, "sequence": number}

    def tick(self, number: int) -> None:
        """Add the messages of one cycle of the joints."""
        joints = len(self.robot.joints)
        position = 0.3 * np.sin(number / 40 + np.arange(joints))
        zeros = np.zeros(joints)
        for stream in ("joints/state", "joints/command", "joints/sent"):
            if (stamps := self._stamps(stream)) is None:
                continue
            values = {"position": position}
            if stream == "joints/state":
                values |= {"velocity": zeros, "effort": zeros}
                self.view.positions(position)
            self.recorder.row(stream, values=values, **stamps)  # type: ignore[arg-type]
            self.monitor.received(stream, self.now_ns, self.now_ns)
        if number % (STATE_HZ // CAMERA_HZ) == 0:
            for k, camera in enumerate(CAMERAS):
                if (stamps := self._stamps(camera)) is None:
                    continue
                image = self.images[(number // 6 + 7 * k) % len(self.images)]
                self.recorder.frame(camera, image, **stamps)  # type: ignore[arg-type]
                self.view.image(camera, image, self.now_ns)
                self.monitor.received(camera, self.now_ns, self.now_ns)
        if number % STATE_HZ == 0:
            for notice in self.monitor.check(self.now_ns, self.now_ns):
                self.view.notice(notice)
            self.view.status(self.monitor.status(self.now_ns))
            self.console.state(0)
        self.now_ns += 10**9 // STATE_HZ


def simulated(hours: float, folder: Path) -> tuple[list[list[str]], Dataset, int]:
    """Run a session in simulated time; return the memory, the dataset, and the messages that were lost on their way."""
    dataset = Dataset.create(folder / "simulated", robot="bi_so101")
    memory, process = Memory(), psutil.Process()
    with dataset.lock():
        session = Simulated(dataset)
        cycle, pause = round((EPISODE_S + PAUSE_S) * STATE_HZ), round(PAUSE_S * STATE_HZ)
        for number in range(round(hours * 3600 * STATE_HZ)):
            if number % cycle == pause:
                session.recorder.start()
                session.monitor.episode_started(session.now_ns)
            session.tick(number)
            if number % cycle == cycle - 1:
                session.recorder.save("success")
                memory.add(number / STATE_HZ, process)
        session.recorder.close()
        dataset.wait()
    return [memory.row("recorder in simulated time")], dataset, session.lost


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0] if __doc__ else "")
    parser.add_argument("--minutes", type=float, default=30.0)
    parser.add_argument("--hours", type=float, default=8.0)
    arguments = parser.parse_args()
    streams = ["stream", "recorded", "lost in the record", "lost in the sequence", "drift ms/h"]
    columns = ["process", "MB after 10 %", "MB at the end", "MB at most", "slope MB/h"]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        if arguments.minutes > 0:
            memory, dataset = real(arguments.minutes, folder)
            print_table(f"{arguments.minutes:g} real minutes: memory", columns, memory)
            print_table(f"{len(dataset.indices)} episodes", streams, account(dataset))
        if arguments.hours > 0:
            memory, dataset, lost = simulated(arguments.hours, folder)
            print_table(f"{arguments.hours:g} hours in simulated time: memory", columns, memory)
            print_table(f"{len(dataset.indices)} episodes", streams, account(dataset))
            stated = sum(episode.lost(stream) for episode in dataset.episodes for stream in episode.streams)
            out().print(f"lost on their way while an episode was recorded: {lost}; in the record: {stated}")


if __name__ == "__main__":
    main()
