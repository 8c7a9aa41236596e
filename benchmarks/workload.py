"""What the recording benchmarks share: a robot's streams, the frames its cameras see, and a clock that hands them out.

Every row and frame is known from its number alone, so that a reader can tell what is missing and whether the rest is
what was handed over. A frame carries its number as a bar of black and white cells, which survives any codec.
"""

from __future__ import annotations

import heapq
import os
import platform
import shlex
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from waldo.console import out
from waldo.datasets.streams import Field, ScalarStream, Stream, VideoStream

BITS = 12
"""Bits of a frame's number, drawn as cells; one more cell is their parity."""

ROWS = 997
"""Rows of numbers that are made ahead; prime, so that no rate divides it."""

QUANTITIES = ("position", "velocity", "effort")
HEAT = ("winding", "housing", "current", "voltage", "torque", "duty", "time_to_limit")

type Image = NDArray[np.uint8]
type Values = Mapping[str, NDArray[np.float32]]


@dataclass(frozen=True, kw_only=True)
class Robot:
    """What is recorded: by default three cameras and a humanoid's joints and motors."""

    cameras: int = 3
    """How many cameras, 1 to 3."""
    width: int = 640
    """Pixels across."""
    height: int = 480
    """Pixels down."""
    fps: int = 30
    """Frames a second of each camera [Hz]."""
    joints: int = 29
    """Joints, and motors."""
    joint_hz: int = 200
    """Rate of `joints/state` [Hz]."""
    motor_hz: int = 10
    """Rate of `motors` [Hz]."""

    @property
    def camera_names(self) -> tuple[str, ...]:
        """The cameras' streams; the first stands still, the others move with the arm."""
        return ("cameras/front", "cameras/wrist", "cameras/head")[: self.cameras]

    @property
    def joint_names(self) -> tuple[str, ...]:
        """The labels of every field."""
        return tuple(f"joint_{i:02d}" for i in range(self.joints))

    @property
    def rates(self) -> dict[str, int]:
        """Every stream's rate [Hz]."""
        return {"joints/state": self.joint_hz, "motors": self.motor_hz} | dict.fromkeys(self.camera_names, self.fps)

    def streams(self, **video: Any) -> tuple[Stream, ...]:
        """Return waldo's description of the streams; `video` goes to each camera's (crf, gop ...)."""
        units = {"position": "rad", "velocity": "rad/s", "effort": "N·m", "winding": "°C", "housing": "°C"}
        units |= {"current": "A", "voltage": "V", "torque": "N·m", "duty": "1", "time_to_limit": "s"}

        def fields(names: Sequence[str]) -> tuple[Field, ...]:
            return tuple(Field(name, units[name], self.joint_names) for name in names)

        size = {"width": self.width, "height": self.height, "rate_hz": float(self.fps)}
        return (
            ScalarStream(name="joints/state", rate_hz=float(self.joint_hz), fields=fields(QUANTITIES)),
            ScalarStream(name="motors", rate_hz=float(self.motor_hz), fields=fields(HEAT)),
            *(VideoStream(name=name, **size, **video) for name in self.camera_names),
        )

    def stamp_ns(self, start_ns: int, stream: str, number: int) -> int:
        """Return when a stream's row or frame `number` is due."""
        return start_ns + number * 1_000_000_000 // self.rates[stream]

    def schedule(self, seconds: float) -> Iterator[tuple[float, str, int]]:
        """Yield every row and frame of a recording in the order of time: when it is due [s], stream, number."""

        def one(stream: str, rate: int) -> Iterator[tuple[float, str, int]]:
            number = 0
            while number < seconds * rate:
                yield number / rate, stream, number
                number += 1

        return heapq.merge(*(one(stream, rate) for stream, rate in self.rates.items()))


class Workload:
    """The rows and frames of a robot."""

    def __init__(self, robot: Robot, *, kind: str = "camera", frames: int = 150) -> None:
        """Take the robot, the kind of its pictures (see KINDS) and how many different ones each camera has."""
        self.robot = robot
        self.kind, self.count = kind, frames

    @cached_property
    def images(self) -> dict[str, Image]:
        """Each camera's pictures, (count, H, W, 3), mapped from a file, so that processes share them."""
        return {
            name: load_images(self.robot, self.kind, camera, self.count)
            for camera, name in enumerate(self.robot.camera_names)
        }

    @cached_property
    def _tables(self) -> dict[str, list[dict[str, NDArray[np.float32]]]]:
        waves = np.sin(np.arange(ROWS)[:, None] / 40 + np.arange(self.robot.joints)).astype(np.float32)
        noisy = waves + np.random.default_rng(0).normal(0, 1e-3, waves.shape).astype(np.float32)
        names = {"joints/state": QUANTITIES, "motors": HEAT}
        return {
            stream: [{name: noisy[i] * (1 + k) for k, name in enumerate(fields)} for i in range(ROWS)]
            for stream, fields in names.items()
        }

    def row(self, stream: str, number: int) -> Values:
        """Return the values of a row: each field, (joints,) float32."""
        return self._tables[stream][number % ROWS]

    def shown(self, number: int) -> int:
        """Return which picture is frame `number`: forth and back through them, so that nothing jumps."""
        at = number % max(1, 2 * self.count - 2)
        return at if at < self.count else 2 * self.count - 2 - at

    def image(self, camera: str, number: int) -> Image:
        """Return a camera's frame, (H, W, 3) uint8."""
        return self.images[camera][self.shown(number)]


def wait_until(instant_s: float) -> None:
    """Sleep until `time.monotonic()` is `instant_s`."""
    left = instant_s - time.monotonic()
    if left > 0:
        time.sleep(left)


def cell(width: int) -> int:
    """Return the side of a cell of the number bar [px]."""
    return max(8, width // 40)


def stamp_number(image: Image, number: int) -> None:
    """Draw a number into the top left corner."""
    side = cell(image.shape[1])
    bits = [number >> bit & 1 for bit in range(BITS)]
    for at, bit in enumerate([*bits, sum(bits) % 2]):
        image[:side, at * side : (at + 1) * side] = 235 if bit else 20


def read_number(image: Image) -> int:
    """Return the number that `stamp_number` drew, or -1 where no such bar is readable."""
    side = cell(image.shape[1])
    inside = image[2 : side - 2, : side * (BITS + 1)].mean(axis=(0, 2)).reshape(BITS + 1, side)[:, 2:-2].mean(axis=1)
    bits = (inside > 127).astype(int)
    return -1 if bits[:-1].sum() % 2 != bits[-1] else int(sum(bit << at for at, bit in enumerate(bits[:-1])))


def psnr_db(a: Image, b: Image) -> float:
    """Return the peak signal-to-noise ratio of two pictures or stacks of them over all channels [dB]."""
    error = np.mean(np.square(a.astype(np.float32) - b.astype(np.float32)))
    return float(10 * np.log10(255**2 / max(error, 1e-10)))


def load_images(robot: Robot, kind: str, camera: int, count: int) -> Image:
    """Return a camera's pictures of a kind, made once and kept as a file beside the system's temporary ones."""
    folder = Path(tempfile.gettempdir()) / "waldo-benchmarks"
    path = folder / f"{kind}-{robot.width}x{robot.height}-{camera}-{count}.npy"
    if not path.exists():
        folder.mkdir(exist_ok=True)
        stack = np.stack(list(KINDS[kind](robot, camera, count)))
        for number, image in enumerate(stack):
            stamp_number(image, number)
        unfinished = path.with_suffix(f".{os.getpid()}.npy")
        np.save(unfinished, stack)
        unfinished.rename(path)
    return np.load(path, mmap_mode="r")


def rendered(robot: Robot, camera: int, count: int) -> Iterator[Image]:
    """Yield what waldo's simulated cameras see of a moving arm: flat colours, no noise."""
    from waldo.sim.graphics import choose_backend

    choose_backend()
    from waldo.sim.world import CONTROL_HZ, World

    world = World("lift", worlds=1, threads=1)
    world.reset([0])
    name = world.robot.cameras[min(camera, 1)].name
    try:
        for number in range(count):
            for step in range(CONTROL_HZ // robot.fps):
                seconds = number / robot.fps + step / CONTROL_HZ
                world.step(world.robot.home[None] + 0.35 * np.sin(1.5 * seconds + np.arange(len(world.robot.home))))
            yield world.render(0, name, (robot.width, robot.height))
    finally:
        world.close()


def camera_like(robot: Robot, camera: int, count: int, noise_sigma: float = 1.8) -> Iterator[Image]:
    """Yield the rendered pictures with textured surfaces and a sensor's noise; all cameras but the first move.

    `noise_sigma` is the brightness's standard deviation at mid-grey, of 255 steps.
    """
    texture = _texture(robot.width * 2, robot.height * 2, seed=camera)
    noise = _Noise(robot.width, robot.height, sigma=noise_sigma, seed=camera)
    for number, image in enumerate(rendered(robot, camera, count)):
        phase = 0.0 if camera == 0 else number / robot.fps
        left = int(robot.width * (0.5 + 0.35 * np.sin(0.9 * phase)))
        top = int(robot.height * (0.5 + 0.35 * np.sin(0.7 * phase)))
        around = texture[top : top + robot.height, left : left + robot.width]
        # A lens and a colour filter array leave no edge as sharp as a drawn one.
        seen = cv2.GaussianBlur(image.astype(np.float32) * around[..., None], (0, 0), 0.7)
        yield noise.add(np.asarray(seen, np.float32))


def photographed(robot: Robot, camera: int, count: int) -> Iterator[Image]:
    """Yield a slow pan and zoom over a photograph, the portrait that comes with matplotlib, with a sensor's noise."""
    import matplotlib

    path = Path(matplotlib.get_data_path()) / "sample_data" / "grace_hopper.jpg"
    found = cv2.imread(str(path))
    if found is None:
        raise SystemExit(f"{path}: the photograph is not there; install matplotlib, or leave out the kind 'photo'")
    photo = cv2.cvtColor(found, cv2.COLOR_BGR2RGB).astype(np.float32)
    noise = _Noise(robot.width, robot.height, sigma=1.8, seed=10 + camera)
    for number in range(count):
        seconds = number / robot.fps + camera
        scale = 0.62 * photo.shape[1] / robot.width * (1 + 0.15 * np.sin(0.5 * seconds))
        x = photo.shape[1] * (0.5 + 0.12 * np.sin(0.6 * seconds)) - scale * robot.width / 2
        y = photo.shape[0] * (0.42 + 0.10 * np.cos(0.45 * seconds)) - scale * robot.height / 2
        warp = np.array([[scale, 0, x], [0, scale, y]], np.float32)
        flags = cv2.INTER_CUBIC | cv2.WARP_INVERSE_MAP
        moved = cv2.warpAffine(photo, warp, (robot.width, robot.height), flags=flags, borderMode=cv2.BORDER_REFLECT)
        yield noise.add(moved.astype(np.float32))


KINDS: dict[str, Callable[[Robot, int, int], Iterator[Image]]] = {
    "render": rendered,
    "camera": camera_like,
    "dim": partial(camera_like, noise_sigma=4.0),
    "photo": photographed,
}
"""Kinds of pictures: as drawn; as a camera sees the drawn scene; the same in poor light; a photograph, panned over."""


def _texture(width: int, height: int, seed: int) -> NDArray[np.float32]:
    """Return a surface's brightness, (H, W) around 1: noise of every size, as wood, cloth and dust have."""
    rng = np.random.default_rng(seed)
    total = np.zeros((height, width), np.float32)
    for size in (4, 8, 16, 32, 64):
        coarse = rng.normal(0, 1, (height // size + 2, width // size + 2)).astype(np.float32)
        total += cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC) * (size / 64) ** 0.4
    return np.clip(1 + 0.06 * total, 0.5, 1.5)


class _Noise:
    """A sensor's noise after its own processing: brighter is noisier, neighbours are alike, colour is coarser."""

    def __init__(self, width: int, height: int, *, sigma: float, seed: int) -> None:
        self._rng = np.random.default_rng(seed)
        self._fields = [self._field(width, height, sigma) for _ in range(8)]

    def _field(self, width: int, height: int, sigma: float) -> NDArray[np.float32]:
        fine = cv2.GaussianBlur(self._rng.normal(0, 1, (height, width)).astype(np.float32), (0, 0), 0.6)
        half = self._rng.normal(0, 1, (height // 2, width // 2, 3)).astype(np.float32)
        coarse = cv2.resize(half, (width, height), interpolation=cv2.INTER_LINEAR)
        return sigma * (fine[..., None] / fine.std() + 0.5 * coarse / coarse.std())

    def add(self, image: NDArray[np.float32]) -> Image:
        height, width, _ = image.shape
        field = self._fields[self._rng.integers(len(self._fields))]
        field = np.roll(field, (self._rng.integers(height), self._rng.integers(width)), axis=(0, 1))
        return np.clip(image + field * np.sqrt((np.maximum(image, 0) + 20) / 148), 0, 255).round().astype(np.uint8)


def print_table(
    title: str, columns: Sequence[str], rows: Sequence[Sequence[object]], notes: Sequence[str] = ()
) -> None:
    """Print a Markdown table under the command and the machine that it comes from."""
    command = shlex.join(["python", os.path.relpath(sys.argv[0]), *sys.argv[1:]])
    out().print(f"\n## {title}\n`{command}`\n{machine()}\n", markup=False)
    cells = [[*columns], *([str(value) for value in row] for row in rows)]
    widths = [max(3, *(len(row[i]) for row in cells)) for i in range(len(columns))]
    lines = ["| " + " | ".join(text.ljust(n) for text, n in zip(row, widths, strict=True)) + " |" for row in cells]
    lines.insert(1, "|" + "|".join("-" * (n + 2) for n in widths) + "|")
    out().print("\n".join(lines), markup=False)
    for note in notes:
        out().print(f"\n{note}", markup=False)


def machine() -> str:
    """Return what this runs on, in words."""
    model = platform.machine()
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            model = line.split(":", 1)[1].strip()
            break
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    load = os.getloadavg()[0]
    return (
        f"{len(os.sched_getaffinity(0))} cores of {model}, {memory:.0f} GB, Linux {platform.release()}, "
        f"Python {platform.python_version()}, load {load:.1f}, {time.strftime('%Y-%m-%d')}"
    )


def free_folder(prefix: str, where: Path | None = None) -> Path:
    """Return a new empty folder for a benchmark's data, refusing a place with less than 2 GB left."""
    folder = Path(tempfile.mkdtemp(prefix=prefix, dir=where))
    if shutil.disk_usage(folder).free < 2e9:
        raise SystemExit(f"{folder}: less than 2 GB are free; name another place with --folder")
    return folder
