"""The images of a robot's cameras reach a device; a camera with H.264 is named once instead."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from tests.collect.console.console_bench import jpeg
from waldo.collect.teleop.camera_feed import CameraFeed
from waldo.datasets import schema

TOPIC = "/toy/cameras/front/image_raw/compressed"


def message(form: str, data: bytes) -> Any:
    stamp = SimpleNamespace(sec=1, nanosec=5)
    return SimpleNamespace(header=SimpleNamespace(stamp=stamp), format=form, data=data)


def test_jpegs_are_shown_and_h264_is_named_once(caplog: pytest.LogCaptureFixture) -> None:
    callbacks: list[Any] = []
    node = SimpleNamespace(
        get_topic_names_and_types=lambda: [(TOPIC, [schema.COMPRESSED_IMAGE_TYPE])], get_namespace=lambda: "/toy"
    )
    graph: Any = SimpleNamespace(node=node, subscribe=lambda kind, name, callback, qos: callbacks.append(callback))
    shown: list[tuple[Any, ...]] = []
    CameraFeed(graph, lambda *image: shown.append(image)).look()
    (on_message,) = callbacks
    for _ in range(2):
        on_message(message("h264", b"\0\0\0\1\x41"), {})
    assert shown == []
    warnings = [record.getMessage() for record in caplog.records]
    assert warnings == [f"{TOPIC} publishes H.264, which is not shown while teleoperating; publish JPEG as well"]
    on_message(message("jpeg", jpeg(9)), {})
    assert shown == [("cameras/front", jpeg(9), 1_000_000_005)]
