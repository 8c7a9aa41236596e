"""Input of the recording benchmarks: the streams of a robot, the images of its cameras, and a schedule.

Every row and frame is a function of its number, so a reader can detect missing and wrong ones. Frames contain their
number as a bar of black and white cells, which every codec preserves.
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
from waldo.files import atomic_file

BITS = 12
"""Bits of a frame's number, drawn as cells; a further cell is the parity."""

ROWS = 997
"""Number of distinct rows; prime, so no rate divides it."""

QUANTITIES = ("position", "velocity", "effort")
HEAT = ("winding", "housing", "current", "voltage", "torque", "duty", "time_to_limit")

type Image = NDArray[np.uint8]
type Values = Mapping[str, NDArray[np.float32]]


@dataclass(frozen=True, kw_only=True)
class Robot:
    """The recorded robot: by default three cameras and the joints and motors of a humanoid."""

    cameras: int = 3
    """Number of cameras, 1 to 3."""
    width: int = 640
    """Image width [px]."""
    height: int = 480
    """Image height [px]."""
    fps: int = 30
    """Frame rate of each camera [Hz]."""
    joints: int = 29
    """Number of joints, each with one motor."""
    joint_hz: int = 200
    """Rate of `joints/state` [Hz]."""
    motor_hz: int = 10
    """Rate of `motors` [Hz]."""

    @property
    def camera_names(self) -> tuple[str, ...]:
        """Streams of the cameras; the first camera stands still, the others move."""
        return ("cameras/front", "cameras/wrist", "cameras/head")[: self.cameras]

    @property
    def joint_names(self) -> tuple[str, ...]:
        """The labels of every field."""
        return tuple(f"joint_{i:02d}" for i in range(self.joints))

    @property
    def rates(self) -> dict[str, int]:
        """Stream -> rate [Hz]."""
        return {"joints/state": self.joint_hz, "motors": self.motor_hz} | dict.fromkeys(self.camera_names, self.fps)

    def streams(self, **video: Any) -> tuple[Stream, ...]:
        """Return the stream descriptions; `video` are further arguments of VideoStream (crf, gop ...)."""
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
        """Return the stamp of row or frame `number` of a stream [ns]."""
        return start_ns + number * 1_000_000_000 // self.rates[stream]

    def schedule(self, seconds: float) -> Iterator[tuple[float, str, int]]:
        """Yield the time [s], stream and number of every row and frame of a recording, in order of time."""

        def one(stream: str, rate: int) -> Iterator[tuple[float, str, int]]:
            number = 0
            while number < seconds * rate:
                yield number / rate, stream, number
                number += 1

        return heapq.merge(*(one(stream, rate) for stream, rate in self.rates.items()))


class Workload:
    """The rows and frames of a robot."""

    def __init__(self, robot: Robot, *, kind: str = "camera", frames: int = 150) -> None:
        """Create the workload.

        Args:
            robot: The recorded robot.
            kind: Kind of images; see KINDS.
            frames: Distinct images per camera.
        """
        self.robot = robot
        self.kind, self.count = kind, frames

    @cached_property
    def images(self) -> dict[str, Image]:
        """Images of each camera, (count, H, W, 3), mapped from a file and shared between processes."""
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
        """Return the values of a row: field -> float32 (joints,)."""
        return self._tables[stream][number % ROWS]

    def shown(self, number: int) -> int:
        """Return the image shown in frame `number`: forward and backward through the images, without jumps."""
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
    """Return the number that `stamp_number` drew; -1 if no bar is readable."""
    side = cell(image.shape[1])
    inside = image[2 : side - 2, : side * (BITS + 1)].mean(axis=(0, 2)).reshape(BITS + 1, side)[:, 2:-2].mean(axis=1)
    bits = (inside > 127).astype(int)
    return -1 if bits[:-1].sum() % 2 != bits[-1] else int(sum(bit << at for at, bit in enumerate(bits[:-1])))


def psnr_db(a: Image, b: Image) -> float:
    """Return the peak signal-to-noise ratio of two images or stacks of images over all channels [dB]."""
    error = float(np.mean(np.square(a.astype(np.float32) - b.astype(np.float32))))
    return float(10 * np.log10(255**2 / max(error, 1e-10)))


def load_images(robot: Robot, kind: str, camera: int, count: int) -> Image:
    """Return the images of a camera, generated once and cached in the system's folder for temporary files."""
    folder = Path(tempfile.gettempdir()) / "waldo-benchmarks"
    path = folder / f"{kind}-{robot.width}x{robot.height}-{camera}-{count}.npy"
    if not path.exists():
        folder.mkdir(exist_ok=True)
        stack = np.stack(list(KINDS[kind](robot, camera, count)))
        for number, image in enumerate(stack):
            stamp_number(image, number)
        with atomic_file(path, sync=False) as partial:
            np.save(partial, stack)
    return np.load(path, mmap_mode="r")


def rendered(robot: Robot, camera: int, count: int) -> Iterator[Image]:
    """Yield images of a moving arm from waldo's simulated cameras: flat colors, no noise."""
    from waldo.graphics import choose_backend

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
    """Yield the rendered images with textured surfaces and sensor noise; all cameras except the first one move.

    `noise_sigma` is the standard deviation of the brightness at medium gray, on a scale of 0 to 255.
    """
    texture = _texture(robot.width * 2, robot.height * 2, seed=camera)
    noise = _Noise(robot.width, robot.height, sigma=noise_sigma, seed=camera)
    for number, image in enumerate(rendered(robot, camera, count)):
        phase = 0.0 if camera == 0 else number / robot.fps
        left = int(robot.width * (0.5 + 0.35 * np.sin(0.9 * phase)))
        top = int(robot.height * (0.5 + 0.35 * np.sin(0.7 * phase)))
        around = texture[top : top + robot.height, left : left + robot.width]
        # A lens and a color filter array blur the sharp edges of a rendered image.
        blurred = cv2.GaussianBlur(image.astype(np.float32) * around[..., None], (0, 0), 0.7)
        yield noise.add(np.asarray(blurred, np.float32))


def photographed(robot: Robot, camera: int, count: int) -> Iterator[Image]:
    """Yield a slow pan and zoom over a photograph, the portrait included in matplotlib, with sensor noise."""
    import matplotlib

    path = Path(matplotlib.get_data_path()) / "sample_data" / "grace_hopper.jpg"
    found = cv2.imread(str(path))
    if found is None:
        raise SystemExit(f"{path}: the photograph does not exist; install matplotlib, or omit the kind 'photo'")
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
"""Kinds of images: rendered; rendered with texture and sensor noise; the same in poor light; a panned photograph."""


def _texture(width: int, height: int, seed: int) -> NDArray[np.float32]:
    """Return the brightness of a surface, (H, W) around 1: noise at all scales, like wood, cloth and dust."""
    rng = np.random.default_rng(seed)
    total = np.zeros((height, width), np.float32)
    for size in (4, 8, 16, 32, 64):
        coarse = rng.normal(0, 1, (height // size + 2, width // size + 2)).astype(np.float32)
        total += cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC) * (size / 64) ** 0.4
    return np.clip(1 + 0.06 * total, 0.5, 1.5)


class _Noise:
    """Noise of a sensor after processing: stronger in bright areas, correlated between neighbors, coarser in color."""

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
    """Print a Markdown table with the command and the machine that produced it."""
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
    """Return a description of this machine."""
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
    """Return a new folder for the data of a benchmark; exit if less than 2 GB are free."""
    folder = Path(tempfile.mkdtemp(prefix=prefix, dir=where))
    if shutil.disk_usage(folder).free < 2e9:
        raise SystemExit(f"{folder}: less than 2 GB are free; select another folder with --folder")
    return folder
