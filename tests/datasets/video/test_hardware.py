import pytest

from waldo.datasets.video import hardware
from waldo.datasets.video.hardware import HARDWARE, EncoderUnavailableError, choose_encoder, unavailable_reason
from waldo.errors import InvalidValueError


def test_software_is_always_available():
    assert choose_encoder("libx264") == "libx264"


def test_auto_takes_the_first_working_hardware_encoder(monkeypatch):
    for working, chosen in ((HARDWARE, HARDWARE[0]), (HARDWARE[1:], HARDWARE[1]), ((), "libx264")):
        monkeypatch.setattr(hardware, "unavailable_reason", lambda name, w=working: "" if name in w else "no device")
        assert choose_encoder("auto") == chosen


def test_requested_hardware_encoder_must_work(monkeypatch):
    monkeypatch.setattr(hardware, "unavailable_reason", lambda name: "no device")
    with pytest.raises(EncoderUnavailableError) as error:
        choose_encoder("h264_nvenc")
    assert str(error.value) == ("encoder h264_nvenc does not work on this machine (no device); choose auto or libx264")


def test_unknown_encoder_is_refused():
    with pytest.raises(InvalidValueError, match="encoder is 'x265', expected auto, libx264, h264_nvenc or h264_vaapi"):
        choose_encoder("x265")


def test_probing_an_encoder_that_ffmpeg_lacks_gives_the_reason():
    assert unavailable_reason("h264_none") == "not included in this build of FFmpeg"


def test_probing_finds_that_libx264_works():
    assert unavailable_reason("libx264") == ""
