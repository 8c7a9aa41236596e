"""A small robot, its streams and a recorder for them: fixtures of all tests of the episode store."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from waldo.datasets.dataset import Dataset
from waldo.datasets.episode import Episode
from waldo.datasets.recording.writer import EpisodeWriter
from waldo.datasets.streams import Field, ScalarStream, Stream, VideoStream
from waldo.robots.constant import Constant
from waldo.robots.description import Joint, Robot
from waldo.robots.motor import Motor

os.environ["HF_HUB_OFFLINE"] = "1"

JOINTS = ("hip", "knee", "claw")
START_NS = 1_700_000_000_000_000_000
WIDTH, HEIGHT = 64, 48


@dataclass(frozen=True, kw_only=True)
class Script:
    """Faults of a recording; the defaults are a recording without any."""

    seconds: float = 1.0
    seed: int = 0
    task: str = "lift the red cube"
    outcome: str = "success"
    robot: str = "tiny"
    without_frames: Mapping[str, Collection[int]] = field(default_factory=dict)
    frozen: Mapping[str, range] = field(default_factory=dict)
    without_rows: Collection[int] = ()
    command_offset: float = 0.0
    winding_c: float = 40.0
    late_ns: int = 1_000_000
    bad_value: float | None = None
    hands_off: range = range(0)
    policy: range = range(0)


@pytest.fixture
def robot() -> Robot:
    motor = Motor(name="motor", winding_limit=Constant(70.0, "°C", "assumed", "a test"))
    joints = tuple(
        Joint(name=n, motor=motor, lower=-1.0, upper=1.0, velocity=5.0, acceleration=20.0, effort=2.0) for n in JOINTS
    )
    return Robot(name="tiny", model="test", joints=joints, cameras=(), mjcf="none.xml")


@pytest.fixture
def streams() -> tuple[Stream, ...]:
    position = Field("position", "rad", JOINTS)
    return (
        ScalarStream(
            name="joints/state",
            rate_hz=60.0,
            fields=(position, Field("velocity", "rad/s", JOINTS), Field("effort", "N·m", JOINTS)),
        ),
        ScalarStream(name="joints/command", rate_hz=60.0, fields=(position,)),
        ScalarStream(name="joints/sent", rate_hz=60.0, fields=(position,)),
        ScalarStream(
            name="motors",
            rate_hz=10.0,
            fields=(
                Field("winding", "°C", JOINTS),
                Field("duty", "1", JOINTS),
                Field("time_to_limit", "s", JOINTS),
            ),
        ),
        ScalarStream(
            name="environment", rate_hz=60.0, fields=(Field("value", "m", ("red_cube.x", "goal.red_cube"), "float64"),)
        ),
        VideoStream(name="cameras/front", width=WIDTH, height=HEIGHT, rate_hz=30.0),
        VideoStream(name="cameras/wrist", width=WIDTH, height=HEIGHT, rate_hz=30.0),
    )


def numbered_image(number: int, seed: int = 0) -> np.ndarray:
    """Return an image with a brightness and a moving bar that depend on its number."""
    rows, columns = np.mgrid[:HEIGHT, :WIDTH]
    out = np.stack([rows * 3, columns * 2, np.full_like(rows, 40 + 20 * seed)], axis=-1).astype(np.uint8)
    left = (5 * number) % (WIDTH - 12)
    out[10:30, left : left + 12] = (250, 250, 30 + number % 200)
    return out


def write(writer: EpisodeWriter, script: Script) -> None:
    """Record an episode according to a script, without the streams that it does not have."""

    def row(stream: str, **kw: Any) -> None:
        if stream in writer.streams:
            writer.row(stream, **kw)

    commands = 1
    for tick in range(round(script.seconds * 60)):
        stamp = START_NS + round(tick * 1e9 / 60)
        kw = {"header_ns": stamp, "receipt_ns": stamp + script.late_ns, "sequence": tick + 1}
        phase = np.sin(tick / 30 + np.arange(3)) * 0.9
        if tick not in script.without_rows:
            effort = np.full(3, 0.5 if script.bad_value is None or tick != 7 else script.bad_value)
            row("joints/state", values={"position": phase, "velocity": phase / 2, "effort": effort}, **kw)
        target = np.sin((tick + 1) / 30 + np.arange(3)) * 0.9 + script.command_offset
        if tick not in script.hands_off:
            row("joints/command", values={"position": target}, **(kw | {"sequence": commands}))
            commands += 1
        elif tick == script.hands_off.start:
            row("joints/command", values={"position": np.full(3, np.nan)}, **(kw | {"sequence": commands}))
            commands += 1
        row("joints/sent", values={"position": np.clip(target, -1, 1)}, **kw)
        row("control", values={"value": [2.0 if tick in script.policy else 1.0]}, **kw)
        row("environment", values={"value": [tick / 10, 1.0]}, **kw)
        if tick % 6 == 0:
            heat = {"winding": np.full(3, script.winding_c), "duty": np.full(3, np.nan), "time_to_limit": [np.inf] * 3}
            row("motors", values=heat, **(kw | {"sequence": tick // 6 + 1}))
        if tick % 2 == 0:
            number = tick // 2
            for camera in ("cameras/front", "cameras/wrist"):
                if camera not in writer.streams or number in script.without_frames.get(camera, ()):
                    continue
                frozen = script.frozen.get(camera, range(0))
                shown = frozen.start if number in frozen else number
                seed = script.seed + (camera == "cameras/wrist")
                writer.frame(camera, image=numbered_image(shown, seed), **(kw | {"sequence": number + 1}))


@pytest.fixture(scope="session")
def recorded_before() -> dict[str, Path]:
    """Datasets of earlier tests by their content: a copy takes a tenth of the time of a recording."""
    return {}


@pytest.fixture
def record(
    tmp_path: Path,
    streams: tuple[Stream, ...],
    recorded_before: dict[str, Path],
    tmp_path_factory: pytest.TempPathFactory,
) -> Callable[..., Dataset]:
    """Return a function that records one episode per script into a dataset, by default `tmp_path / "dataset"`."""

    def run(*scripts: Script, path: Path | None = None) -> Dataset:
        folder = path or tmp_path / "dataset"
        if folder.exists():
            return _record(Dataset.open(folder), streams, scripts)
        content = repr((streams, scripts))
        if content not in recorded_before:
            recorded_before[content] = tmp_path_factory.mktemp("recorded") / "dataset"
            _record(Dataset.create(recorded_before[content], robot=scripts[0].robot), streams, scripts)
        shutil.copytree(recorded_before[content], folder)
        return Dataset.open(folder)

    return run


def _record(dataset: Dataset, streams: tuple[Stream, ...], scripts: tuple[Script, ...]) -> Dataset:
    with dataset.lock():
        for script in scripts:
            writer = dataset.begin(streams, {"task": script.task, "seed": script.seed}, back_pressure="wait")
            write(writer, script)
            writer.save(script.outcome)
    return dataset


@pytest.fixture
def script() -> type[Script]:
    return Script


@pytest.fixture
def make_image() -> Callable[..., np.ndarray]:
    return numbered_image


@pytest.fixture
def play() -> Callable[[EpisodeWriter, Script], None]:
    return write


@pytest.fixture
def episode(record: Callable[..., Dataset]) -> Episode:
    """Return an episode of one second without faults."""
    return record(Script()).episodes[0]


@pytest.fixture(scope="session", autouse=True)
def no_sync() -> Iterator[None]:
    """Disable flushing to disk: only a power cut, which no test causes, would show the difference.

    Tests of the order of these calls (`tests.durability`) observe them all the same.
    """
    with pytest.MonkeyPatch.context() as patch:
        for name in ("fsync", "fdatasync"):
            patch.setattr(os, name, lambda _: None)
        yield


@pytest.fixture
def locked(tmp_path: Path) -> Dataset:
    """Return an empty dataset with its lock held."""
    dataset = Dataset.create(tmp_path / "locked", robot="tiny")
    with ExitStack() as stack:
        stack.enter_context(dataset.lock())
        yield dataset
