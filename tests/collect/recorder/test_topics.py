"""The recorded topics, and the preferred transport of a camera."""

import pytest

from waldo.collect.recorder.topics import Topic, find_cameras, parse_cameras, parse_stamps, parse_without
from waldo.datasets.schema import COMPRESSED_IMAGE_TYPE, IMAGE_TYPE
from waldo.errors import ConfigError, InvalidValueError, UnknownNameError


def test_cameras_are_found_by_name_and_compressed_is_preferred() -> None:
    offered = {
        "/g1/cameras/head/image_raw": [IMAGE_TYPE],
        "/g1/cameras/head/image_raw/compressed": [COMPRESSED_IMAGE_TYPE],
        "/g1/cameras/wrist/image_raw": [IMAGE_TYPE],
        "/g1/cameras/head/depth/image_raw/compressedDepth": [COMPRESSED_IMAGE_TYPE],
        "/g1/cameras/head/depth/image_raw": [IMAGE_TYPE],
        "/g1/cameras/head/camera_info": ["sensor_msgs/msg/CameraInfo"],
        "/other/cameras/head/image_raw": [IMAGE_TYPE],
        "/g1/joint_states": ["sensor_msgs/msg/JointState"],
    }
    assert find_cameras(offered, "/g1", {}) == [
        Topic("cameras/head", "/g1/cameras/head/image_raw/compressed", COMPRESSED_IMAGE_TYPE),
        Topic("cameras/wrist", "/g1/cameras/wrist/image_raw", IMAGE_TYPE),
        Topic("depth/head", "/g1/cameras/head/depth/image_raw/compressedDepth", COMPRESSED_IMAGE_TYPE),
    ]


def test_a_camera_outside_the_namespace_is_given_by_its_topic() -> None:
    named = parse_cameras(["front=/camera/color/image_raw", "depth/front=/camera/depth/image_rect_raw/compressedDepth"])
    assert named == {"cameras/front": "/camera/color/image_raw", "depth/front": "/camera/depth/image_rect_raw"}
    offered = {
        "/camera/color/image_raw/compressed": [COMPRESSED_IMAGE_TYPE],
        "/camera/depth/image_rect_raw": [IMAGE_TYPE],
    }
    assert find_cameras(offered, "/", named) == [
        Topic("cameras/front", "/camera/color/image_raw/compressed", COMPRESSED_IMAGE_TYPE),
        Topic("depth/front", "/camera/depth/image_rect_raw", IMAGE_TYPE),
    ]


@pytest.mark.parametrize("pair", ["front", "=/a", "front=camera/image"])
def test_an_option_without_a_topic_is_refused(pair: str) -> None:
    with pytest.raises(ConfigError, match="NAME=/TOPIC"):
        parse_cameras([pair])


def test_cameras_are_left_out_by_name() -> None:
    assert parse_without(["front", "cameras/wrist", "depth/front"]) == {"cameras/front", "cameras/wrist", "depth/front"}


def test_streams_are_stamped_at_receipt_by_name() -> None:
    assert parse_stamps(["cameras/front=receipt", "joints/state=header"]) == {"cameras/front"}
    with pytest.raises(UnknownNameError, match="unknown stream 'front'"):
        parse_stamps(["front=receipt"])
    with pytest.raises(InvalidValueError, match="expected STREAM=receipt or STREAM=header"):
        parse_stamps(["joints/state=device"])
