"""H.264 encoding in closed groups of pictures.

Every encoder is configured for the same structure: no B-frames, one packet per frame without delay, parameter sets
before every key frame. libx264 runs on one thread and produces the same bytes for the same frames.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from fractions import Fraction
from typing import Any, Literal

import av
import cv2
import numpy as np
from av.video.frame import PictureType
from numpy.typing import NDArray

from waldo.datasets.video.h264 import Packet

SOFTWARE = "libx264"
LOSSLESS = "libx264rgb"

type EncoderName = Literal["auto", "libx264", "h264_nvenc", "h264_vaapi"]

PRESET = "ultrafast"
"""x264 preset. It uses CAVLC, which decodes about twice as fast as the CABAC of the slower presets."""

REFINED = "no-deblock=0:8x8dct=1:subme=2"
"""x264 parameters added to the preset: at equal PSNR the output is 25 to 33 % smaller, for 33 % more encoding time and
10 % more decoding time (benchmarks/codecs.py)."""

DEFAULT_RATE = Fraction(30)
"""Frame rate that a stream declares if none is given [Hz]."""

type RgbImage = NDArray[np.uint8]


def x264_parameters(gop: int) -> str:
    """Return the x264 parameters for closed groups of `gop` frames without delay."""
    return (
        f"keyint={gop}:min-keyint={gop}:scenecut=0:open-gop=0:repeat-headers=1:rc-lookahead=0:sync-lookahead=0"
        ":mbtree=0:annexb=1:force-cfr=1"
    )


def encoder_options(name: str, *, gop: int, crf: int) -> Mapping[str, str]:
    """Return the FFmpeg options of an encoder."""
    if name == SOFTWARE:
        parameters = f"{x264_parameters(gop)}:{REFINED}:colormatrix=smpte170m"
        return {"crf": str(crf), "preset": PRESET, "bf": "0", "threads": "1", "x264-params": parameters}
    if name == LOSSLESS:
        return {"qp": "0", "preset": PRESET, "bf": "0", "threads": "1", "x264-params": x264_parameters(gop)}
    if name == "h264_nvenc":
        # Constant quality without lookahead; forced-idr makes every forced key frame an IDR frame.
        quality = {"rc": "constqp", "qp": str(crf)}
        return quality | {"preset": "p4", "tune": "ull", "bf": "0", "delay": "0", "forced-idr": "1", "no-scenecut": "1"}
    return {"rc_mode": "CQP", "qp": str(crf), "bf": "0", "idr_interval": "0", "async_depth": "1"}


class Encoder:
    """An encoder for one camera: packets come out in the order of the frames, with a key frame every `gop` frames."""

    def __init__(
        self, *, width: int, height: int, gop: int, crf: int, rate: Fraction = DEFAULT_RATE, encoder: str = SOFTWARE
    ) -> None:
        """Open the encoder.

        Args:
            width: Frame width [px].
            height: Frame height [px].
            gop: Frames per group of pictures.
            crf: Constant rate factor; hardware encoders use it as their quantizer.
            rate: Frame rate that the stream declares [Hz].
            encoder: Name of the FFmpeg encoder; LOSSLESS encodes RGB without loss.
        """
        context: Any = av.CodecContext.create(encoder, "w")
        self._lossless = encoder == LOSSLESS
        context.width, context.height = width, height
        context.pix_fmt = "rgb24" if self._lossless else "yuv420p"
        context.framerate, context.time_base = rate, 1 / rate
        context.gop_size, context.thread_count = gop, 1
        context.options = dict(encoder_options(encoder, gop=gop, crf=crf))
        self._context, self._gop = context, gop
        self._count = 0

    def encode(self, rgb: RgbImage) -> list[Packet]:
        """Encode one frame, uint8 (H, W, 3); its packet is returned at once."""
        if self._lossless:
            frame: Any = av.VideoFrame.from_ndarray(rgb, format="rgb24")
        else:
            # I420 planes stacked vertically, as PyAV expects a yuv420p array. OpenCV converts to BT.601, video range.
            planes: Any = cv2.cvtColor(rgb, cv2.COLOR_RGB2YUV_I420)
            frame = av.VideoFrame.from_ndarray(planes, format="yuv420p")
        frame.pts = self._count
        if self._count % self._gop == 0:
            frame.pict_type = PictureType.I
        self._count += 1
        return [Packet(bytes(p), p.is_keyframe) for p in self._context.encode(frame)]

    def flush(self) -> list[Packet]:
        """Return the remaining packets; no frame can be encoded afterwards."""
        return [Packet(bytes(p), p.is_keyframe) for p in self._context.encode(None)]


def encode_frames(
    frames: Sequence[RgbImage] | RgbImage, *, gop: int, crf: int, rate: Fraction = DEFAULT_RATE, encoder: str = SOFTWARE
) -> list[Packet]:
    """Encode frames, each uint8 (H, W, 3), into a sequence that starts with a key frame."""
    height, width, _ = frames[0].shape
    coder = Encoder(width=width, height=height, gop=gop, crf=crf, rate=rate, encoder=encoder)
    packets = [packet for frame in frames for packet in coder.encode(np.ascontiguousarray(frame))]
    return packets + coder.flush()
