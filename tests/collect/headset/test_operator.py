"""Who operates, and that every loss empties the hands at once."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import pytest

from tests.collect.headset.pose_bytes import hand_bytes, pose_bytes
from waldo.collect.headset.clock_offset import ClockOffset
from waldo.collect.headset.operator import NOTICES, OperatorStation
from waldo.collect.headset.pose_message import parse_pose_message
from waldo.collect.headset.video import Video
from waldo.collect.notice import Notice

START_NS = 1_000_000_000_000


@dataclass
class Desk:
    """A station whose clock a test sets, and a page's clock that agrees with it."""

    now_ns: int = START_NS
    offset: ClockOffset = field(default_factory=ClockOffset)
    station: OperatorStation = field(init=False)

    def __post_init__(self) -> None:
        self.station = OperatorStation(clock_ns=lambda: self.now_ns, video=Video(needed=False))
        self.offset.add(START_NS, 0.0, START_NS)

    def send(self, page: int, number: int, *, page_ms: float = 0.0, flags: int = 1) -> None:
        """Send a pose with two hands."""
        data = pose_bytes(hand_bytes(0), hand_bytes(1), number=number, page_ms=page_ms, flags=flags)
        self.station.receive(page, parse_pose_message(data), self.offset)

    def hands(self) -> int:
        """Return how many hands are tracked."""
        tracking = self.station.latest()
        return -1 if tracking is None else len(tracking.hands)


@pytest.fixture
def desk() -> Desk:
    found = Desk()
    assert found.station.claim(1)
    found.send(1, 0)
    assert found.hands() == 2
    return found


def test_before_the_first_pose_there_is_none() -> None:
    assert OperatorStation().latest() is None


def test_poses_of_a_page_that_does_not_operate_are_dropped(desk: Desk) -> None:
    assert not desk.station.claim(2)
    before = desk.station.latest()
    desk.send(2, 5)
    assert desk.station.latest() == before
    assert desk.station.dropped == 1
    desk.station.release(1)
    assert desk.station.claim(2)
    desk.send(2, 0)
    assert desk.hands() == 2


LOSSES: dict[str, Callable[[Desk], None]] = {
    "the connection": lambda desk: desk.station.release(1),
    "the page is hidden": lambda desk: desk.station.blur(1),
    "the session is blurred": lambda desk: desk.send(1, 1, flags=0),
    "a stop": lambda desk: desk.station.stop(),
    "another page takes control": lambda desk: desk.station.claim(2, force=True) and None,
}
"""Name -> what ends the tracking of the hands."""


@pytest.mark.parametrize("name", LOSSES)
def test_every_loss_empties_the_hands_at_once(desk: Desk, name: str) -> None:
    before = desk.station.latest()
    assert before is not None
    LOSSES[name](desk)
    after = desk.station.latest()
    assert after is not None
    assert after.hands == {}
    assert after.number == before.number + 1


def test_another_page_ends_nothing(desk: Desk) -> None:
    desk.station.release(2)
    desk.station.blur(2)
    assert desk.hands() == 2
    assert desk.station.operates(1)


def test_poses_out_of_order_are_dropped(desk: Desk) -> None:
    desk.send(1, 5)
    number = desk.station.latest().number  # type: ignore[union-attr]
    for late in (5, 4, 0):
        desk.send(1, late)
    assert desk.station.latest().number == number  # type: ignore[union-attr]
    assert desk.station.dropped == 3
    # A reloaded page counts from 0.
    desk.station.release(1)
    desk.station.claim(1)
    desk.send(1, 0)
    assert desk.hands() == 2


def test_old_poses_are_dropped(desk: Desk) -> None:
    desk.now_ns += 300_000_000
    before = desk.station.latest()
    desk.send(1, 1, page_ms=50.0)
    assert desk.station.latest() == before
    desk.send(1, 2, page_ms=150.0)
    assert desk.station.latest().stamp_ns == START_NS + 150_000_000  # type: ignore[union-attr]


def test_poses_are_dropped_until_the_clock_is_known(desk: Desk) -> None:
    desk.offset = ClockOffset()
    desk.send(1, 1)
    assert desk.station.dropped == 1


def test_numbers_increase_by_one(desk: Desk) -> None:
    numbers = []
    for number in (3, 7, 8):
        desk.send(1, number)
        numbers.append(desk.station.latest().number)  # type: ignore[union-attr]
    assert numbers == [1, 2, 3]


def test_a_stop_is_requested_once(desk: Desk) -> None:
    desk.station.stop()
    assert desk.station.take_requests() == ["stop_motion"]
    assert desk.station.take_requests() == []


def test_the_same_notice_is_shown_once_and_the_last_ones_are_kept(desk: Desk) -> None:
    for _ in range(2):
        desk.station.notify(Notice(text="released"))
    assert [notice.text for _, notice in desk.station.shown()[1]] == ["released"]
    for number in range(NOTICES + 3):
        desk.station.notify(Notice(text=f"{number}"))
    texts = [notice.text for _, notice in desk.station.shown()[1]]
    assert texts == [f"{number}" for number in range(3, NOTICES + 3)]


def test_another_operator_has_seen_no_image(desk: Desk) -> None:
    desk.station.video.needed = True
    desk.station.video.add("cameras/front", b"\xff\xd8", START_NS)
    desk.station.video.draw("front", START_NS)
    assert desk.station.latest().video_age_s == 0  # type: ignore[union-attr]
    desk.station.claim(2, force=True)
    assert desk.station.latest().video_age_s == float("inf")  # type: ignore[union-attr]
