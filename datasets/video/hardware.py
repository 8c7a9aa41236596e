"""Hardware H.264 encoders: which of them work on this machine, and the choice between them and libx264."""

from __future__ import annotations

from functools import cache

import av
import av.logging
import numpy as np

from waldo.datasets.video.encoder import SOFTWARE, encode_frames
from waldo.errors import InvalidValueError, WaldoError

HARDWARE = ("h264_nvenc", "h264_vaapi")
"""Hardware encoders in order of preference."""


class EncoderUnavailableError(WaldoError):
    """A hardware encoder that was requested by name does not work on this machine."""

    def __init__(self, name: str, reason: str) -> None:
        """Build the message from the encoder's name and the reason why it does not work."""
        super().__init__(f"encoder {name} does not work on this machine ({reason}); choose auto or {SOFTWARE}")


@cache
def unavailable_reason(name: str) -> str:
    """Return why a hardware encoder does not work here, found by encoding two groups of pictures; "" if it works."""
    if name not in av.codecs_available:
        return "not included in this build of FFmpeg"
    level = av.logging.get_level()
    av.logging.set_level(None)
    try:
        packets = encode_frames(np.zeros((4, 256, 256, 3), np.uint8), gop=2, crf=20, encoder=name)
    except (av.FFmpegError, OSError, ValueError) as error:
        return str(error).partition(":")[0] or repr(error)
    finally:
        av.logging.set_level(level)
    keys = [packet.key for packet in packets]
    return "" if keys == [True, False, True, False] else f"its key frames are {keys}, not every second frame"


def choose_encoder(name: str) -> str:
    """Return the FFmpeg encoder to use for a requested name; "auto" prefers working hardware over libx264.

    Raises:
        EncoderUnavailableError: If a hardware encoder is requested by name and does not work.
    """
    if name == SOFTWARE:
        return name
    if name == "auto":
        return next((hardware for hardware in HARDWARE if not unavailable_reason(hardware)), SOFTWARE)
    if name not in HARDWARE:
        raise InvalidValueError("encoder", name, f"auto, {SOFTWARE}, {' or '.join(HARDWARE)}")
    if reason := unavailable_reason(name):
        raise EncoderUnavailableError(name, reason)
    return name
