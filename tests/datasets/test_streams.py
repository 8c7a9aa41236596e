import json

import numpy as np
import pytest

from waldo.datasets.streams import Field, ScalarStream, VideoStream, check_streams, stream_from_dict
from waldo.errors import ConfigError


def test_descriptions_survive_json(streams):
    for stream in streams:
        assert stream_from_dict(json.loads(json.dumps(stream.to_dict()))) == stream


def test_row_layout_is_packed_and_little_endian():
    stream = ScalarStream(
        name="a", rate_hz=1.0, fields=(Field("x", "m", ("p", "q")), Field("y", "s", ("r",), "float64"))
    )
    assert stream.row_dtype == np.dtype([("x", "<f4", (2,)), ("y", "<f8", (1,))])
    assert stream.row_dtype.itemsize == 16


@pytest.mark.parametrize("name", ["", "/a", "a/", "a//b", "a b", "../a", "a/..", "ä"])
def test_invalid_names_are_refused(name):
    with pytest.raises(ConfigError) as error:
        VideoStream(name=name, width=64, height=48, rate_hz=30.0)
    assert (
        str(error.value)
        == f"stream name is {name!r}, expected components of at most 200 letters, digits and _ . - separated by /"
    )


def test_odd_sizes_are_refused():
    with pytest.raises(ConfigError, match="width of stream cameras/a is 63, expected an even number of pixels"):
        VideoStream(name="cameras/a", width=63, height=48, rate_hz=30.0)


@pytest.mark.parametrize("rate", [0.0, -1.0, float("nan"), float("inf")])
def test_invalid_rates_are_refused(rate):
    with pytest.raises(ConfigError, match="rate_hz of stream a is"):
        VideoStream(name="a", width=64, height=48, rate_hz=rate)


def test_stream_inside_another_is_refused():
    inner = VideoStream(name="cameras/a", width=64, height=48, rate_hz=30.0)
    outer = VideoStream(name="cameras", width=64, height=48, rate_hz=30.0)
    with pytest.raises(ConfigError) as error:
        check_streams([inner, outer])
    expected = "stream name is 'cameras', expected a name that is not a folder of another stream (cameras/a)"
    assert str(error.value) == expected


def test_duplicate_names_are_refused():
    stream = VideoStream(name="a", width=64, height=48, rate_hz=30.0)
    with pytest.raises(ConfigError, match="streams is 'a', expected distinct names"):
        check_streams([stream, stream])
