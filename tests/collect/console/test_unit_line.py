"""A page is sent every access unit in order, or none until a key frame."""

from __future__ import annotations

from waldo.collect.console.camera_image import CameraImage
from waldo.collect.console.unit_line import BEHIND_S, GIVE_UP_S, UnitLine
from waldo.datasets.recording.access_units import AccessUnit, Group

GOP = 10


def camera(count: int) -> list[CameraImage]:
    """Return a camera's images, with a key frame every GOP."""
    groups = [Group() for _ in range(count)]
    return [
        CameraImage(camera="front", image=AccessUnit(b"", groups[k // GOP], k % GOP), stamp_ns=1000 + k, number=k + 1)
        for k in range(count)
    ]


def numbers(images: list[CameraImage]) -> list[int]:
    """Return the places of images in the stream."""
    return [image.number - 1 for image in images]


def test_a_new_page_waits_for_the_next_key_frame() -> None:
    images, line = camera(30), UnitLine()
    assert line.take([], 0.0) == []
    assert line.take(images[:15], 0.0) == []
    assert line.take(images[:19], 0.1) == []
    assert numbers(line.take(images[:22], 0.2)) == [20, 21]


def test_a_new_page_starts_with_a_key_frame_that_is_the_newest_image() -> None:
    assert numbers(UnitLine().take(camera(11), 0.0)) == [10]


def test_each_access_unit_is_sent_once_and_in_order() -> None:
    images, line = camera(30), UnitLine()
    sent = []
    for count in (1, 1, 4, 9, 15, 30):
        sent += numbers(line.take(images[:count], 0.0))
    assert sent == list(range(30))


def test_a_page_that_is_behind_is_sent_nothing_until_a_key_frame() -> None:
    images, line = camera(40), UnitLine()
    assert len(line.take(images[:1], 0.0)) == 1
    assert len(line.take(images[:5], 0.1)) == 4
    assert line.confirm(1000)
    late_s = 0.1 + BEHIND_S + 0.01
    assert line.take(images[:8], late_s) == []
    # Also not from a key frame, before it has confirmed what it was sent.
    assert line.take(images[:12], late_s) == []
    assert line.confirm(1004)
    assert line.take(images[:13], late_s)[0].number == 11
    assert numbers(line.take(images[:14], late_s)) == [13]


def test_a_page_that_confirms_in_time_is_not_behind() -> None:
    images, line = camera(40), UnitLine()
    for count in range(1, 41):
        assert numbers(line.take(images[:count], 0.2 * count)) == [count - 1]
        if count > 3:
            assert line.confirm(1000 + count - 4)


def test_a_page_that_confirms_nothing_starts_again_after_a_while() -> None:
    images, line = camera(40), UnitLine()
    line.take(images[:1], 0.0)
    assert numbers(line.take(images[:3], 0.0)) == [1, 2]
    assert line.take(images[:11], GIVE_UP_S - 0.1) == []
    assert numbers(line.take(images[:12], GIVE_UP_S + 0.1)) == [10, 11]


def test_images_that_are_not_kept_any_more_end_the_sequence() -> None:
    images, line = camera(60), UnitLine()
    line.take(images[:1], 0.0)
    assert numbers(line.take(images[:3], 0.0)) == [1, 2]
    line.confirm(1002)
    # Numbers 3 to 11 are no longer kept, and the rest of their group needs them.
    assert line.take(images[12:18], 0.1) == []
    assert numbers(line.take(images[12:33], 0.2)) == [30, 31, 32]


def test_a_confirmation_of_an_unknown_image_counts_for_nothing() -> None:
    images, line = camera(5), UnitLine()
    line.take(images, 0.0)
    line = UnitLine()
    line.take(images[:1], 0.0)
    assert not line.confirm(999)
    assert line.confirm(1000)
    assert not line.confirm(1000)
