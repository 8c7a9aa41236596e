"""What encodes H.264 on this machine: libx264 everywhere, a graphics card's encoder where one answers.

All are set to the same shape: closed groups of pictures, no B-frames, a packet for each frame at once, parameter sets
before every key frame.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from functools import cache
from typing import Literal

import numpy as np

from waldo.errors import InvalidValueError, WaldoError

LOG = logging.getLogger("waldo.datasets")

SOFTWARE = "libx264"
LOSSLESS = "libx264rgb"

HARDWARE = ("h264_nvenc", "h264_vaapi")
"""Hardware encoders, the preferred one first."""

type EncoderName = Literal["auto", "libx264", "h264_nvenc", "h264_vaapi"]

PRESET = "ultrafast"
"""x264's preset: CAVLC, which decodes about twice as fast as the slower presets' CABAC."""

REFINED = "no-deblock=0:8x8dct=1:subme=2"
"""What is switched on again beyond the preset: at the same PSNR a quarter to a third smaller for a third more of the
encoder's time, and a tenth more of the decoder's (benchmarks/codecs.py)."""


class EncoderMissingError(WaldoError):
    """A hardware encoder that was asked for does not work here."""

    def __init__(self, name: str, why: str) -> None:
        """Take the encoder's name and why it does not work."""
        super().__init__(f"the encoder {name} does not work here ({why}); choose auto or {SOFTWARE}")


def x264_parameters(gop: int) -> str:
    """Return x264's own parameters for closed groups of `gop` frames without delay."""
    return (
        f"keyint={gop}:min-keyint={gop}:scenecut=0:open-gop=0:repeat-headers=1:rc-lookahead=0:sync-lookahead=0"
        ":mbtree=0:annexb=1:force-cfr=1"
    )


def options_of(name: str, *, gop: int, crf: int) -> Mapping[str, str]:
    """Return FFmpeg's options of an encoder."""
    if name == SOFTWARE:
        parameters = f"{x264_parameters(gop)}:{REFINED}:colormatrix=smpte170m"
        return {"crf": str(crf), "preset": PRESET, "bf": "0", "threads": "1", "x264-params": parameters}
    if name == LOSSLESS:
        return {"qp": "0", "preset": PRESET, "bf": "0", "threads": "1", "x264-params": x264_parameters(gop)}
    if name == "h264_nvenc":
        # Constant quality without a lookahead; a forced key frame is an IDR picture.
        quality = {"rc": "constqp", "qp": str(crf)}
        return quality | {"preset": "p4", "tune": "ull", "bf": "0", "delay": "0", "forced-idr": "1", "no-scenecut": "1"}
    return {"rc_mode": "CQP", "qp": str(crf), "bf": "0", "idr_interval": "0", "async_depth": "1"}


@cache
def why_not(name: str) -> str:
    """Return why a hardware encoder does not work here, found by encoding two groups with it; "" if it does."""
    import av
    import av.logging

    from waldo.datasets.video.h264 import encode_frames

    if name not in av.codecs_available:
        return "this build of FFmpeg does not have it"
    before = av.logging.get_level()
    av.logging.set_level(None)
    try:
        frames = np.zeros((4, 256, 256, 3), np.uint8)
        packets = encode_frames(frames, gop=2, crf=20, encoder=name)
    except (av.FFmpegError, OSError, ValueError) as error:
        return str(error).partition(":")[0] if not str(error) else str(error)
    finally:
        av.logging.set_level(before)
    keys = [packet.key for packet in packets]
    return "" if keys == [True, False, True, False] else f"its key frames are {keys}, not every second"


def choose(wanted: str) -> str:
    """Return the encoder to use: the one that is asked for, or with "auto" hardware where it works, else libx264.

    Raises EncoderMissingError where a hardware encoder is asked for by name and does not work.
    """
    if wanted == SOFTWARE:
        return wanted
    if wanted == "auto":
        return next((name for name in HARDWARE if not why_not(name)), SOFTWARE)
    if wanted not in HARDWARE:
        raise InvalidValueError("encoder", wanted, f"auto, {SOFTWARE}, {' or '.join(HARDWARE)}")
    if why_not(wanted):
        raise EncoderMissingError(wanted, why_not(wanted))
    return wanted
