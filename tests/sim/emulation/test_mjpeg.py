"""Images as motion JPEG over HTTP: a network camera for OpenCV."""

from __future__ import annotations

import threading
import urllib.error
import urllib.request

import numpy as np
import pytest

from waldo.errors import InvalidValueError
from waldo.robots.cameras.capture import DeviceSource
from waldo.robots.cameras.image_worker import encode_jpeg
from waldo.robots.description import Camera
from waldo.robots.driver import Frame
from waldo.sim.emulation.mjpeg import MjpegServer


def jpeg(level: int) -> bytes:
    rgb = np.full((48, 64, 3), level, np.uint8)
    return encode_jpeg(Frame(camera="front", stamp_ns=0, rgb=rgb), 90)


def test_a_stream_contains_the_images_in_their_order() -> None:
    with MjpegServer(["front"]) as server:
        server.put("front", jpeg(10))
        with urllib.request.urlopen(server.urls["front"], timeout=60) as stream:
            assert stream.headers["Content-Type"] == "multipart/x-mixed-replace; boundary=frame"
            for level in (10, 20, 30):
                if level > 10:
                    server.put("front", jpeg(level))
                assert stream.readline() == b"--frame\r\n"
                assert stream.readline() == b"Content-Type: image/jpeg\r\n"
                length = int(stream.readline().removeprefix(b"Content-Length: "))
                assert stream.readline() == b"\r\n"
                assert stream.read(length) == jpeg(level)
                assert stream.readline() == b"\r\n"


def test_opencv_reads_it_as_a_camera() -> None:
    ended = threading.Event()
    with MjpegServer(["front"]) as server:

        def show() -> None:
            level = 0
            while not ended.wait(0.01):
                level = (level + 1) % 200
                server.put("front", jpeg(50))

        shower = threading.Thread(target=show)
        shower.start()
        try:
            source = DeviceSource(server.urls["front"], Camera(name="front", width=64, height=48, fps=30))
            source.open()
            image = source.read()
            source.close()
        finally:
            ended.set()
            shower.join()
    assert isinstance(image, np.ndarray)
    assert image.shape == (48, 64, 3)
    assert abs(float(image.mean()) - 50) < 5


def test_another_camera_does_not_exist() -> None:
    with MjpegServer(["front"]) as server, pytest.raises(urllib.error.HTTPError, match="404"):
        urllib.request.urlopen(server.urls["front"].replace("front", "wrist"), timeout=60)


def test_a_port_in_use_is_refused() -> None:
    with MjpegServer(["front"]) as server:
        port = int(server.urls["front"].split(":")[2].split("/")[0])
        with pytest.raises(InvalidValueError, match="expected a free port"):
            MjpegServer(["front"], port)


def test_streams_end_with_the_server() -> None:
    with MjpegServer(["front"]) as server:
        server.put("front", jpeg(10))
        stream = urllib.request.urlopen(server.urls["front"], timeout=60)
        stream.readline()
    stream.read()
    stream.close()
