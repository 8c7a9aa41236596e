"""Mistakes and faults at a station: robot, recorder and teleop as processes, driven through pseudo-terminals.

Each must be on the operator's screen, in the events of the episode, and in `waldo check`, and none is exported as a
success. The time until a fault is on the screen is logged (`pytest --log-cli-level INFO`) and not asserted.
"""

from __future__ import annotations

import contextlib
import logging
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Self

import pytest

from tests.terminal import Terminal
from waldo import ros
from waldo.cli.support.operator_display import letters
from waldo.datasets.dataset import Dataset
from waldo.datasets.formats.target import export_dataset
from waldo.datasets.lerobot.format import LeRobotConfig
from waldo.datasets.quality.check import check_dataset
from waldo.errors import WaldoError
from waldo.robots.description import load_robot

pytestmark = [pytest.mark.usefixtures("ros_domain"), pytest.mark.timeout(600)]

LOG = logging.getLogger(__name__)
WALDO = (sys.executable, "-m", "waldo")
KEY_S = 0.8
"""A key that is pressed again earlier counts as held, since a terminal reports no releases [s]."""

ENTER, BACKSPACE = "\r", "\x7f"


class Station:
    """The programs of a station; all are ended at the end."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.dataset = folder, folder / "set"
        self._stack = contextlib.ExitStack()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def run(self, *args: str) -> subprocess.Popen[bytes]:
        """Start a program without a terminal."""
        log = self._stack.enter_context((self.folder / f"{args[0]}.log").open("ab"))
        process = subprocess.Popen([*WALDO, *args], stdout=log, stderr=log, start_new_session=True)
        self._stack.callback(end, process)
        return process

    def robot(self, *args: str) -> subprocess.Popen[bytes]:
        """Start the simulated arm, or the arm that the options select."""
        return self.run("robot", "so101", *(args or ("--no-cameras",)))

    def terminal(self, *args: str) -> Terminal:
        """Start a program in a terminal."""
        return self._stack.enter_context(Terminal([*WALDO, *args]))

    def recorder(self, *args: str) -> Terminal:
        """Start the recorder in a terminal."""
        return self.terminal("record", str(self.dataset), *args)


def end(process: subprocess.Popen[bytes]) -> None:
    """End a program, also if it is suspended."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGCONT)
        os.killpg(process.pid, signal.SIGTERM)
    process.wait(60)


def shows_word(terminal: Terminal, word: str) -> bool:
    """Return whether the condition of the robot is on a screen, in large letters."""
    line = letters(word, 78).splitlines()[1].strip()
    return any(line in shown for shown in terminal.screen)


def wait_for_word(terminal: Terminal, word: str, cause: str = "") -> None:
    """Wait until the condition of the robot is on a screen; print how long it took."""
    started = time.monotonic()
    while not shows_word(terminal, word):
        assert time.monotonic() - started < 120, f"{word} is not on the screen:\n" + "\n".join(terminal.screen)
        time.sleep(0.005)
    LOG.info("%s: on the screen after %.2f s", cause or word, time.monotonic() - started)


def start_episode(terminal: Terminal, streams: Sequence[str] = ("joints/state", "environment", "motors")) -> None:
    """Start an episode as soon as messages of every stream have arrived."""
    rates = [re.compile(rf"{stream} \d+ Hz") for stream in streams]
    wait_until(lambda: all(rate.search(" ".join(terminal.screen)) for rate in rates))
    terminal.press(ENTER)
    terminal.wait_for("RECORDING")


@contextlib.contextmanager
def held(terminal: Terminal, key: str) -> Iterator[None]:
    """Hold a key: a terminal repeats it."""
    ended = threading.Event()

    def repeat() -> None:
        while not ended.wait(0.04):
            terminal.press(key)

    thread = threading.Thread(target=repeat)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


def kinds(dataset: Path, episode: int) -> set[str]:
    """Return the kinds of an episode's events."""
    return {str(event["kind"]) for event in Dataset.open(dataset).episodes.with_index(episode).events}


def findings(dataset: Path) -> set[str]:
    """Return the kinds of problems that `waldo check` finds."""
    reports = check_dataset(Dataset.open(dataset))
    return {finding.kind for report in reports for finding in report.findings if finding.level == "problem"}


def test_a_station_without_a_robot(tmp_path: Path) -> None:
    with Station(tmp_path) as station:
        teleop = station.terminal("teleop", "keyboard")
        recorder = station.recorder()
        wait_for_word(recorder, "NO ROBOT")
        wait_for_word(teleop, "NO ROBOT")
        recorder.wait_for_printed("no robot publishes /so101/joint_states; start one with: waldo robot so101")
        recorder.press(ENTER)
        recorder.wait_for_printed("start refused: cannot start: no message received yet on joints/state")
        recorder.press("1")
        recorder.wait_for_printed("save refused: cannot save: no episode is being recorded; start one first")
        recorder.press("x")
        recorder.wait_for_printed("the key x has no function; keys: enter: start")
        recorder.press("t")
        recorder.wait_for_printed("next_task refused: there is no other instruction")
        recorder.press("v")
        recorder.wait_for_printed("enable: the robot is not running")

        second = station.terminal("record", str(tmp_path / "other"))
        second.wait_for_printed("another recorder runs in the namespace /so101; stop it")
        assert second.exit_code() == 2

        teleop.wait_for_printed("no joint_states received for 10 s; check that the robot node runs")
        assert teleop.exit_code() == 2


def test_an_operator_whose_robot_does_not_follow(tmp_path: Path) -> None:
    with Station(tmp_path) as station:
        recorder = station.recorder("--task", "lift the cube", "open the drawer", "--episodes", "3")
        robot = station.robot()
        wait_for_word(recorder, "HOLDING", "the robot is started")
        teleop = station.terminal("teleop", "keyboard")
        wait_for_word(teleop, "HOLDING")

        # A latched robot.
        teleop.press(" ")
        wait_for_word(recorder, "STOPPED", "STOP at the teleop, on the recorder's screen")
        wait_for_word(teleop, "STOPPED")
        assert recorder.shows("stopped by the operator; remove the cause, then press v to enable the robot")
        recorder.press(ENTER)
        recorder.wait_for_printed("start refused: cannot start: the robot is stopped: stopped by the operator")
        recorder.press("v")
        wait_for_word(recorder, "HOLDING", "enabled")

        # An episode with an instruction of the operator, in which teleop is suspended.
        recorder.press("t")
        recorder.wait_for_printed("next_task: lift the cube")  # after that of the simulation
        start_episode(recorder)
        recorder.press("z")
        recorder.wait_for_printed("undo refused: cannot undo: an episode is recording")
        with held(teleop, "q"):
            wait_for_word(recorder, "FOLLOWING")
            wait_for_word(teleop, "FOLLOWING")
            time.sleep(1)
            os.kill(teleop.process.pid, signal.SIGSTOP)
            wait_for_word(recorder, "HOLDING", "a suspended teleop")
            assert recorder.shows("no command for 0.2 s")
            time.sleep(0.5)
            os.kill(teleop.process.pid, signal.SIGCONT)
        recorder.press("1")
        recorder.wait_for_printed("save refused: the robot did not follow its commands for")
        time.sleep(KEY_S)
        recorder.press("1")
        recorder.wait_for_printed("saved as success")
        recorder.wait_for("1 of 3 saved")

        # Teleop is killed.
        start_episode(recorder)
        with held(teleop, "a"):
            wait_for_word(recorder, "FOLLOWING")
            time.sleep(0.5)
            os.kill(teleop.process.pid, signal.SIGKILL)
            wait_for_word(recorder, "HOLDING", "a killed teleop")
        time.sleep(0.5)
        recorder.press("0")
        recorder.wait_for_printed("saved as failure")

        # The robot node is suspended, then killed.
        start_episode(recorder)
        os.kill(robot.pid, signal.SIGSTOP)
        wait_for_word(recorder, "NO ROBOT", "a suspended robot node")
        os.kill(robot.pid, signal.SIGCONT)
        wait_for_word(recorder, "HOLDING", "resumed")
        os.kill(robot.pid, signal.SIGKILL)
        wait_for_word(recorder, "NO ROBOT", "a killed robot node")
        recorder.wait_for_printed("no message on joints/state for")
        recorder.press("1")
        recorder.wait_for("save refused: the robot")
        recorder.press("0")
        recorder.wait_for_printed("episode_000002.zarr saved as failure")
        recorder.press(ENTER)
        recorder.wait_for_printed(
            "start refused: cannot start: the robot is disconnected: no state from the robot node"
        )

        # The recorder is suspended, then killed in an episode.
        station.robot()
        wait_for_word(recorder, "HOLDING", "the robot is started again")
        start_episode(recorder)
        os.kill(recorder.process.pid, signal.SIGSTOP)
        time.sleep(1.5)
        os.kill(recorder.process.pid, signal.SIGCONT)
        recorder.wait_for_printed("the recorder did not run for")
        time.sleep(1)
        os.kill(recorder.process.pid, signal.SIGKILL)
        recorder.exit_code()
        again = station.recorder()
        again.wait_for_printed("recovered after an interruption")
        wait_for_word(again, "HOLDING")
        again.press("\x03")
        assert again.exit_code() == 0

    dataset = Dataset.open(station.dataset)
    episodes = [dataset.episodes.with_index(index) for index in range(4)]
    assert [(one.outcome, one.reason) for one in episodes] == [
        ("success", "operator"),
        ("failure", "operator"),
        ("failure", "operator"),
        ("unknown", "interrupted"),
    ]
    assert [one.attributes["task"] for one in episodes[:2]] == ["lift the cube"] * 2
    assert "control_mode" in kinds(station.dataset, 0) & kinds(station.dataset, 1)
    assert {"control_mode", "stream_lost", "stream_back"} <= kinds(station.dataset, 2)
    assert "recorder_paused" in kinds(station.dataset, 3)
    assert {"not_following", "gap"} <= findings(station.dataset)
    # The only success is one in which the robot did not follow for a time: it is not exported.
    with pytest.raises(WaldoError, match="did not follow"):
        export_dataset(dataset, tmp_path / "export", LeRobotConfig())


def test_a_follower_and_a_leader_that_are_unplugged(tmp_path: Path) -> None:
    with Station(tmp_path) as station:
        follower, leader = str(tmp_path / "follower"), str(tmp_path / "leader")
        arm = station.run("emulate", "so101", "--link", follower)
        hand = station.run("emulate", "so101_leader", "--link", leader)
        wait_until(lambda: os.path.islink(follower) and os.path.islink(leader))
        heat = str(tmp_path / "heat.json")
        # A busy machine suspends the emulated servos for a while; the end of their process closes the port at once.
        patient = ("--option", "motor_timeout_s=10")
        station.robot("--driver", "feetech", "--port", follower, "--heat-state", heat, "--rate", "30", *patient)
        recorder = station.recorder()
        wait_for_word(recorder, "HOLDING")
        teleop = station.terminal("teleop", "leader", "--port", leader)
        wait_for_word(recorder, "FOLLOWING", "the leader is close to the robot")
        start_episode(recorder, ("joints/state", "motors"))

        end(hand)
        teleop.wait_for_printed("the leader was disconnected, the robot holds")
        wait_for_word(recorder, "HOLDING", "an unplugged leader")
        wait_for_word(teleop, "HOLDING")
        station.run("emulate", "so101_leader", "--link", leader)
        teleop.wait_for_printed("the leader is connected again")
        wait_for_word(recorder, "FOLLOWING", "the leader is back")

        end(arm)
        wait_for_word(recorder, "STOPPED", "an unplugged follower")
        assert recorder.shows("robot disconnected")
        wait_for_word(teleop, "STOPPED")
        recorder.press("1")
        recorder.wait_for_printed("save refused: the robot ")
        recorder.press(BACKSPACE)
        recorder.wait_for_printed("discard: discarded")
        station.run("emulate", "so101", "--link", follower)
        (log,) = [path for path in tmp_path.glob("robot.log")]
        wait_until(lambda: "robot reconnected" in log.read_text(errors="replace"))
        recorder.press("v")
        # The reason for which the save was refused may still be among the printed lines.
        wait_until(lambda: shows_word(recorder, "FOLLOWING") or shows_word(recorder, "HOLDING"))


class Publisher:
    """A node that publishes states, and images with an encoding, at 30 Hz until the block ends."""

    def __init__(self, node: str, names: Sequence[str], *, encoding: str = "", offset_s: float = 0.0) -> None:
        self._node, self._names, self._encoding, self._offset_s = node, list(names), encoding, offset_s
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._work)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()

    def _work(self) -> None:
        from sensor_msgs.msg import Image, JointState

        with ros.join_graph(self._node, "so101") as graph:
            states = graph.node.create_publisher(JointState, "joint_states", ros.stream_qos())
            image = Image(width=64, height=48, step=128, encoding=self._encoding, data=bytes(128 * 48))
            images = graph.node.create_publisher(Image, "cameras/front/image_raw", ros.stream_qos())
            while not self._ended.wait(1 / 30):
                stamp = ros.ns_to_stamp(time.time_ns() - round(self._offset_s * 1e9))
                state = JointState(name=self._names, position=[0.0] * 6, velocity=[0.0] * 6, effort=[0.0] * 6)
                state.header.stamp = image.header.stamp = stamp
                states.publish(state)
                if self._encoding:
                    images.publish(image)


def test_publishers_that_do_not_fit(tmp_path: Path) -> None:
    names = load_robot("so101").joint_names
    with Station(tmp_path) as station:
        recorder = station.recorder()
        with Publisher("fake", [f"joint_{i}" for i in range(6)]):
            recorder.wait_for_printed("/so101/joint_states")
            recorder.press(ENTER)
            recorder.wait_for_printed("start refused: cannot start: /so101/joint_states")
            assert "joint_0" in recorder.printed
            assert "shoulder_pan" in recorder.printed
            assert "--joint-map" in recorder.printed
        time.sleep(1.5)  # the publisher before counts as active for a time
        with Publisher("first", names):
            wait_for_word(recorder, "CONNECTED")
            time.sleep(1.5)
            with Publisher("second", names):
                recorder.wait_for_printed("has a further publisher (2 at present)")
                recorder.press(ENTER)
                recorder.wait_for_printed("has 2 publishers of the same joints; stop all but one")
        with Publisher("camera", names, encoding="nv21", offset_s=5000.0):
            recorder.wait_for_printed("unsupported image encoding 'nv21'")
            recorder.wait_for_printed("the stamps of joints/state are 5000.0 s behind this machine's clock")
            time.sleep(1.5)
            recorder.press(ENTER)
            recorder.wait_for_printed("to record without: --without front")
            recorder.press("\x03")
            assert recorder.exit_code() == 0
            recorder = station.recorder("--without", "front", "--stamps", "joints/state=receipt")
            wait_for_word(recorder, "CONNECTED")
            time.sleep(1)
            start_episode(recorder, ("joints/state",))
            time.sleep(1)
            recorder.press("1")
            recorder.wait_for_printed("episode_000000.zarr saved as success")
            recorder.press("\x03")
            assert recorder.exit_code() == 0
            assert "behind this machine's clock" not in recorder.printed
    episode = Dataset.open(station.dataset).episodes[0]
    assert "cameras/front" not in episode.streams
    assert abs(episode.time_ns("joints/state", "header")[0] - time.time_ns()) < 600e9


FULL_DISK = """
import shutil, sys
from collections import namedtuple
from pathlib import Path
from waldo.cli.main import main
marker, usage = Path(sys.argv[1]), shutil.disk_usage
# What the kernel reports of a full disk; filling one requires a file system of our own.
shutil.disk_usage = lambda path: usage(path)._replace(free=1_000_000) if marker.exists() else usage(path)
sys.exit(main(sys.argv[2:]))
"""


def test_a_disk_that_becomes_full(tmp_path: Path) -> None:
    with Station(tmp_path) as station, contextlib.ExitStack() as stack:
        station.robot()
        marker = tmp_path / "full"
        command = [sys.executable, "-c", FULL_DISK, str(marker), "record", str(station.dataset)]
        recorder = stack.enter_context(Terminal(command))
        wait_for_word(recorder, "HOLDING")
        start_episode(recorder)
        time.sleep(1.5)
        started = time.monotonic()
        marker.touch()
        recorder.wait_for_printed("the disk is full: the recording was stopped; episode_000000.zarr saved as unknown")
        LOG.info("a full disk: on the screen after %.2f s", time.monotonic() - started)
        wait_until(lambda: recorder.bells >= 2)  # of the start and of the full disk
    assert kinds(station.dataset, 0) >= {"disk_full"}
    assert Dataset.open(station.dataset).episodes[0].reason == "disk_full"


SLOW_DISK = """
import sys, time
from waldo.cli.main import main
from waldo.datasets.dataset import Dataset
finalize = Dataset._finalize
# A disk that needs minutes for an episode.
Dataset._finalize = lambda self, journal, destination: (time.sleep(300), finalize(self, journal, destination))[1]
sys.exit(main(sys.argv[1:]))
"""


def test_a_second_signal_leaves_saved_episodes_to_the_next_start(tmp_path: Path) -> None:
    with Station(tmp_path) as station:
        station.robot()
        with Terminal([sys.executable, "-c", SLOW_DISK, "record", str(station.dataset)]) as recorder:
            wait_for_word(recorder, "HOLDING")
            start_episode(recorder)
            time.sleep(1)
            recorder.press("1")
            recorder.wait_for_printed("episode_000000.zarr saved as success")
            recorder.press("\x03")
            recorder.wait_for_printed("finalizing: 1 saved episode remaining")
            recorder.press("\x03")
            assert recorder.exit_code() == -signal.SIGINT
    dataset = Dataset.open(station.dataset)
    assert len(dataset.unfinished) == 1
    with dataset.lock():
        dataset.recover()
    assert dataset.episodes[0].outcome == "success"


def wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 120
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)
