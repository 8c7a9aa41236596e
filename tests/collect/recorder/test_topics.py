"""Which topics are recorded, and which of a camera's transports."""

import pytest

from waldo.collect.recorder.topics import COMPRESSED, IMAGE, Topic, cameras_of, parse_cameras
from waldo.errors import ConfigError


def test_cameras_are_found_by_their_names_compressed_rather_than_raw() -> None:
    offered = {
        "/g1/cameras/head/image_raw": [IMAGE],
        "/g1/cameras/head/image_raw/compressed": [COMPRESSED],
        "/g1/cameras/wrist/image_raw": [IMAGE],
        "/g1/cameras/head/depth/image_raw/compressedDepth": [COMPRESSED],
        "/g1/cameras/head/depth/image_raw": [IMAGE],
        "/g1/cameras/head/camera_info": ["sensor_msgs/msg/CameraInfo"],
        "/other/cameras/head/image_raw": [IMAGE],
        "/g1/joint_states": ["sensor_msgs/msg/JointState"],
    }
    assert cameras_of(offered, "/g1", {}) == [
        Topic("cameras/head", "/g1/cameras/head/image_raw/compressed", COMPRESSED),
        Topic("cameras/wrist", "/g1/cameras/wrist/image_raw", IMAGE),
        Topic("depth/head", "/g1/cameras/head/depth/image_raw/compressedDepth", COMPRESSED),
    ]


def test_a_camera_elsewhere_is_named() -> None:
    named = parse_cameras(["front=/camera/color/image_raw", "depth/front=/camera/depth/image_rect_raw/compressedDepth"])
    assert named == {"cameras/front": "/camera/color/image_raw", "depth/front": "/camera/depth/image_rect_raw"}
    offered = {
        "/camera/color/image_raw/compressed": [COMPRESSED],
        "/camera/depth/image_rect_raw": [IMAGE],
    }
    assert cameras_of(offered, "/", named) == [
        Topic("cameras/front", "/camera/color/image_raw/compressed", COMPRESSED),
        Topic("depth/front", "/camera/depth/image_rect_raw", IMAGE),
    ]


@pytest.mark.parametrize("pair", ["front", "=/a", "front=camera/image"])
def test_a_camera_that_names_no_topic_is_refused(pair: str) -> None:
    with pytest.raises(ConfigError, match="NAME=/TOPIC"):
        parse_cameras([pair])
