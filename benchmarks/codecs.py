"""Size of waldo's frames compared with JPEG at the same quality: sweeps both and compares at equal PSNR.

uv run python benchmarks/codecs.py [--kinds camera photo] [--crfs 18 21 26] [--frames 60]

The PSNR of every crf is looked up on JPEG's curve of size over quality (linear interpolation of the logarithmic size).
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import cv2
import numpy as np
import tyro
from workload import KINDS, Image, Robot, load_images, print_table, psnr_db

from waldo.datasets.video.decoder import decode
from waldo.datasets.video.encoder import Encoder
from waldo.datasets.video.h264 import to_sample

QUALITIES = (30, 40, 50, 60, 70, 75, 80, 85, 90, 93, 95, 97, 99, 100)


@dataclass(frozen=True, kw_only=True)
class Config:
    """Compare H.264 as waldo writes it (libx264 ultrafast, short closed groups) with JPEG at equal PSNR."""

    kinds: tuple[str, ...] = ("render", "camera", "dim", "photo")
    """Kinds of images: render (as drawn), camera (textured, sensor noise), dim (more noise), photo (panned)."""
    crfs: tuple[int, ...] = (18, 21, 26)
    """Constant rate factors of x264."""
    gop: int = 5
    """Frames per group of pictures."""
    frames: int = 60
    """Frames per camera."""
    width: int = 640
    """Image width [px]."""
    height: int = 480
    """Image height [px]."""


@dataclass(frozen=True)
class Cost:
    """Size, quality and CPU time of a codec."""

    nbytes: float
    """Bytes per frame."""
    psnr: float
    """PSNR over all frames and channels [dB]."""
    encode_ms: float
    """CPU time of encoding per frame [ms]."""
    decode_ms: float
    """CPU time of sequential decoding per frame [ms]."""


def h264(stack: Image, crf: int, gop: int) -> Cost:
    """Encode with waldo's encoder and decode group by group."""
    height, width = stack.shape[1:3]
    encoder = Encoder(width=width, height=height, gop=gop, crf=crf, rate=Fraction(30))
    started = time.process_time()
    packets = [packet for image in stack for packet in encoder.encode(np.ascontiguousarray(image))] + encoder.flush()
    encoded = time.process_time()
    samples = [to_sample(packet.data) for packet in packets]
    groups = [samples[at : at + gop] for at in range(0, len(samples), gop)]
    shown = np.concatenate([decode(b"".join(group), range(len(group)), (height, width)) for group in groups])
    return _cost(stack, shown, sum(len(packet.data) for packet in packets), started, encoded)


def jpeg(stack: Image, quality: int) -> Cost:
    """Encode with OpenCV's libjpeg-turbo, 4:2:0 like cameras."""
    started = time.process_time()
    options = [cv2.IMWRITE_JPEG_QUALITY, quality]
    files = [cv2.imencode(".jpg", cv2.cvtColor(image, cv2.COLOR_RGB2BGR), options)[1] for image in stack]
    encoded = time.process_time()
    shown: list[Any] = [cv2.imdecode(file, cv2.IMREAD_COLOR_RGB) for file in files]
    return _cost(stack, np.asarray(shown, np.uint8), sum(map(len, files)), started, encoded)


def _cost(stack: Image, shown: Image, nbytes: int, started: float, encoded: float) -> Cost:
    done = time.process_time()
    count = len(stack)
    return Cost(
        nbytes / count, psnr_db(stack, shown), (encoded - started) * 1e3 / count, (done - encoded) * 1e3 / count
    )


def at_psnr(costs: list[Cost], psnr: float) -> tuple[float, float] | None:
    """Return JPEG's quality and bytes per frame at a PSNR; None if no quality in QUALITIES reaches it."""
    known = [cost.psnr for cost in costs]
    if not min(known) <= psnr <= max(known):
        return None
    quality = float(np.interp(psnr, known, QUALITIES))
    return quality, float(np.exp(np.interp(psnr, known, [np.log(cost.nbytes) for cost in costs])))


def rows_of(kind: str, config: Config) -> list[list[str]]:
    """Return the table rows for one kind of images, one for each camera: the first stands still, the second moves."""
    robot = Robot(cameras=2, width=config.width, height=config.height)
    stacks = [load_images(robot, kind, camera, config.frames) for camera in range(robot.cameras)]
    curves = [[jpeg(stack, quality) for quality in QUALITIES] for stack in stacks]
    rows: list[list[str]] = []
    for crf in config.crfs:
        for name, stack, curve in zip(("still", "moving"), stacks, curves, strict=True):
            ours = h264(stack, crf, config.gop)
            same = at_psnr(curve, ours.psnr)
            text = ["-", "-", "-"] if same is None else [f"{same[0]:.0f}", f"{same[1] / 1e3:.1f}"]
            if same is not None:
                text.append(f"{ours.nbytes / same[1]:.2f}")
            cost = [f"{ours.encode_ms:.1f} / {ours.decode_ms:.1f}"]
            rows.append([kind, name, str(crf), f"{ours.psnr:.1f}", f"{ours.nbytes / 1e3:.1f}", *text, *cost])
        costs = [f"{np.mean([c.encode_ms for curve in curves for c in curve]):.1f}"]
        costs.append(f"{np.mean([c.decode_ms for curve in curves for c in curve]):.1f}")
        for row in rows[-2:]:
            row.append(" / ".join(costs))
    return rows


def main() -> None:
    """Measure and print the table."""
    config = tyro.cli(Config, description=__doc__)
    for kind in config.kinds:
        if kind not in KINDS:
            raise SystemExit(f"unknown kind {kind!r} (known: {', '.join(KINDS)})")
    columns = ["images", "camera", "crf", "PSNR dB", "kB", "JPEG quality", "JPEG kB", "size / JPEG", "CPU ms", "JPEG"]
    rows = [row for kind in config.kinds for row in rows_of(kind, config)]
    notes = ["kB and CPU ms (encode / decode) per frame. '-': no JPEG quality up to 100 reaches that PSNR."]
    print_table(f"H.264 against JPEG at equal PSNR, {config.width}x{config.height}", columns, rows, notes)


if __name__ == "__main__":
    main()
