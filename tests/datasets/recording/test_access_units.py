"""Messages of H.264 become access units; one that cannot be decoded is refused with its reason."""

from __future__ import annotations

import pytest

from tests.h264_camera import encode, gray
from waldo.datasets.recording.access_units import MAX_GROUP, AccessUnit, AccessUnits
from waldo.datasets.video.h264 import START_CODE, nal_units
from waldo.errors import ImageError

IMAGES = [gray(10 * k) for k in range(20)]


def added(units: AccessUnits, data: bytes, missing: int = 0) -> AccessUnit:
    found = units.add(data, missing)
    assert found is not None
    return found


def kinds(data: bytes) -> list[int]:
    return [unit[0] & 31 for unit in nal_units(data)]


def test_key_frames_start_groups() -> None:
    units = AccessUnits()
    found = [added(units, data) for data in encode(IMAGES, gop=10)]
    assert [one.key for one in found] == [k % 10 == 0 for k in range(20)]
    assert [one.index for one in found] == [*range(10), *range(10)]
    assert len({id(one.group) for one in found}) == 2


def test_a_stream_that_starts_without_a_key_frame_waits_for_one() -> None:
    units, data = AccessUnits(), encode(IMAGES, gop=10)
    for one in data[3:10]:
        with pytest.raises(ImageError, match=r"waits for a key frame \(the stream has started without one\); set the"):
            units.add(one)
    assert added(units, data[10]).key


def test_after_a_loss_a_stream_waits_for_a_key_frame() -> None:
    units, data = AccessUnits(), encode(IMAGES, gop=10)
    for one in data[:4]:
        units.add(one)
    with pytest.raises(ImageError, match=r"waits for a key frame \(2 lost before this message\)"):
        units.add(data[6], 2)
    with pytest.raises(ImageError, match="waits for a key frame"):
        units.add(data[7])
    # A loss before a key frame does not matter.
    assert added(units, data[10], 2).key


def test_parameter_sets_are_repeated_in_each_key_frame() -> None:
    units, data = AccessUnits(), encode(IMAGES, gop=10, repeat=False)
    assert kinds(data[10]).count(7) == 0
    found = [added(units, one) for one in data]
    assert {7, 8, 5} <= set(kinds(found[10].data))
    assert kinds(found[11].data).count(7) == 0


def test_parameter_sets_alone_are_no_frame() -> None:
    units, (first, *_) = AccessUnits(), encode(IMAGES[:1])
    sets = b"".join(START_CODE + one for one in nal_units(first) if one[0] & 31 in (7, 8))
    frame = b"".join(START_CODE + one for one in nal_units(first) if one[0] & 31 == 5)
    with pytest.raises(ImageError, match="a key frame without parameter sets; set the camera to repeat SPS and PPS"):
        AccessUnits().add(frame)
    assert units.add(sets) is None
    assert added(units, frame).key


@pytest.mark.parametrize("data", [b"", b"\xff\xd8\xff\xe0", bytes(100), START_CODE, START_CODE + b"\x06\x05"])
def test_data_without_a_frame_is_refused(data: bytes) -> None:
    with pytest.raises(ImageError, match=r"without a frame, expected one H\.264 access unit in Annex B"):
        AccessUnits().add(data)


def test_what_a_decoder_needs() -> None:
    units, data = AccessUnits(), encode(IMAGES, gop=10)
    found = [added(units, one) for one in data]
    assert found[3].since(found[2]) == [data[3]]
    assert found[3].since(None) == data[:4]
    assert found[6].since(found[2]) == data[3:7]
    assert found[13].since(found[6]) == data[10:14]
    # A decoder that is ahead starts again.
    assert found[3].since(found[3]) is None


def test_a_group_without_end_is_not_kept() -> None:
    units, data = AccessUnits(), encode(IMAGES[:2], gop=10)
    found = [added(units, data[0]), *(added(units, data[1]) for _ in range(MAX_GROUP + 5))]
    assert len(found[-1].group.units) == MAX_GROUP
    assert found[-1].since(None) is None
    assert found[-1].since(found[-2]) == [data[1]]
