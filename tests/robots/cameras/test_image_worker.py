"""The image worker: encoding beside the control cycle."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any

import cv2
import numpy as np
import pytest

from waldo.robots.cameras.image_worker import ImageWorker, encode_jpeg
from waldo.robots.control.cycle import ControlCycle
from waldo.robots.diagnostics import ERROR
from waldo.robots.driver import Frame
from waldo.robots.event import Event


def frame(number: int, camera: str = "front") -> Frame:
    return Frame(camera=camera, stamp_ns=number, rgb=np.full((4, 4, 3), number, np.uint8))


def wait_until_idle(worker: ImageWorker) -> None:
    deadline = time.monotonic() + 60
    while not worker.is_idle:
        assert time.monotonic() < deadline
        time.sleep(0.001)


def test_a_jpeg_is_passed_through_and_pixels_are_encoded() -> None:
    jpeg = encode_jpeg(frame(120), 90)
    assert encode_jpeg(Frame(camera="front", stamp_ns=0, jpeg=jpeg), 10) is jpeg
    red = np.zeros((8, 8, 3), np.uint8)
    red[..., 0] = 255
    decoded = cv2.imdecode(
        np.frombuffer(encode_jpeg(Frame(camera="front", stamp_ns=0, rgb=red), 95), np.uint8), cv2.IMREAD_COLOR
    )
    np.testing.assert_allclose(decoded[4, 4], [0, 0, 254], atol=3)


def test_a_frame_is_either_pixels_or_jpeg() -> None:
    with pytest.raises(ValueError, match=r"^frame of camera front needs either rgb or jpeg$"):
        Frame(camera="front", stamp_ns=0)
    with pytest.raises(ValueError, match=r"^frame of camera front is not a valid JPEG$"):
        Frame(camera="front", stamp_ns=0, jpeg=b"\xff\xd8").to_rgb()
    pixels = frame(7).to_rgb()
    jpeg = encode_jpeg(frame(7), 95)
    np.testing.assert_allclose(Frame(camera="front", stamp_ns=0, jpeg=jpeg).to_rgb(), pixels, atol=2)
    huge = bytearray(encode_jpeg(Frame(camera="front", stamp_ns=0, rgb=np.zeros((16, 16, 3), np.uint8)), 90))
    huge[(at := huge.index(b"\xff\xc0")) + 5 : at + 9] = b"\xff\xdc" * 2  # a size of 65,500 x 65,500
    for data in (bytes(huge), b""):
        with pytest.raises(ValueError, match=r"^frame of camera front is not a valid JPEG$"):
            Frame(camera="front", stamp_ns=0, jpeg=data).to_rgb()


def test_frames_are_published_in_order_before_drain_returns() -> None:
    published: list[tuple[int, bytes]] = []
    with ImageWorker(
        lambda one: bytes([one.stamp_ns]), lambda one, jpeg: published.append((one.stamp_ns, jpeg))
    ) as worker:
        for number in range(50):
            worker.put(frame(number))
        wait_until_idle(worker)
        assert published == [(number, bytes([number])) for number in range(50)]
    assert (worker.events(), worker.camera_faults()) == ([], {})


def test_leaving_publishes_the_queued_frames() -> None:
    published: list[int] = []
    with ImageWorker(lambda _: b"", lambda one, _: published.append(one.stamp_ns)) as worker:
        for number in range(20):
            worker.put(frame(number))
    assert published == list(range(20))


def test_control_cycles_continue_while_the_encoder_blocks(make_toy_driver: Callable[[], Any]) -> None:
    encoding, release = threading.Event(), threading.Event()
    published: list[int] = []

    def encode(one: Frame) -> bytes:
        encoding.set()
        assert release.wait(60)
        return b""

    driver = make_toy_driver()
    cycle = ControlCycle(driver)
    with ImageWorker(encode, lambda one, _: published.append(one.stamp_ns), capacity=1000) as worker:
        frames = 0
        for tick in range(120):
            sensed = cycle.sense(10**18 + tick * 10**9 // 60, tick / 60)
            for one in sensed.frames:
                worker.put(one)
                frames += 1
            cycle.act(10**18 + tick * 10**9 // 60, tick / 60)
        assert encoding.wait(60)
        assert driver.tick == 120
        assert published == []
        release.set()
        wait_until_idle(worker)
        assert len(published) == frames == 60


def test_a_slow_encoder_drops_the_oldest_frames_and_reports_it() -> None:
    encoding, release = threading.Event(), threading.Event()
    published: list[int] = []

    def encode(one: Frame) -> bytes:
        encoding.set()
        assert release.wait(60)
        return b""

    with ImageWorker(encode, lambda one, _: published.append(one.stamp_ns), capacity=3) as worker:
        worker.put(frame(0))
        assert encoding.wait(60)
        for number in range(1, 6):
            worker.put(frame(number))
        assert worker.camera_faults() == {"front": "encoder falling behind: 2 frames dropped"}
        assert worker.events() == [Event("camera front: encoder falling behind, dropping frames", ERROR)]
        release.set()
        wait_until_idle(worker)
        assert published == [0, 3, 4, 5]
        assert worker.camera_faults() == {}
        assert worker.events() == [Event("camera front: encoder caught up after 2 dropped frames")]


def test_a_frame_that_cannot_be_encoded_is_reported_once_and_the_next_one_is_published() -> None:
    published: list[int] = []

    def encode(one: Frame) -> bytes:
        if one.stamp_ns in (1, 2):
            raise ValueError("bad pixels")
        return b""

    with ImageWorker(encode, lambda one, _: published.append(one.stamp_ns)) as worker:
        for number in range(3):
            worker.put(frame(number))
        wait_until_idle(worker)
        assert worker.camera_faults() == {"front": "frame cannot be encoded (bad pixels)"}
        assert worker.events() == [Event("camera front: frame cannot be encoded (bad pixels)", ERROR)]
        worker.put(frame(3))
        wait_until_idle(worker)
        assert worker.camera_faults() == {}
        assert worker.events() == [Event("camera front: frames are encoded again")]
    assert published == [0, 3]
