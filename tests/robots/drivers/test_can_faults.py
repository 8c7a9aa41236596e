"""Late, lost and foreign frames on a CAN bus: a position that a driver reports is the motor's present one."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from queue import PriorityQueue
from types import SimpleNamespace
from typing import Any

import can
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.robots.drivers.can_bench import EMULATED, Bench, small_arm
from waldo.errors import HardwareError
from waldo.robots.drivers import can_answers
from waldo.robots.drivers.can_answers import REFUSALS, UNMARKED, Marks, Motions
from waldo.robots.drivers.can_link import CanLink
from waldo.robots.drivers.can_robot import CanMotorDriver, Feedback
from waldo.robots.drivers.damiao import MST_ID, READ, is_register_reply, unpack_feedback
from waldo.robots.drivers.mit import Range

CURRENT_S = 0.05
"""Age up to which a position counts as current [s]."""
SPEED = 0.6
"""Speed at which the tests move the joints [rad/s]."""


@contextmanager
def disturbed(
    vendor: str, folder: Path, *, lost: float = 0.0, late: float = 0.0, overtaken: bool = False
) -> Iterator[Bench]:
    """An arm some of whose answers are lost or 5 to 300 ms late.

    Args:
        vendor: damiao or robstride.
        folder: Folder for the model.
        lost: Probability that an answer is lost.
        late: Probability that an answer is late.
        overtaken: Whether a late answer is overtaken by those that follow; otherwise an adapter delays these as well.
    """
    rng = random.Random(1)

    class Disturbed(EMULATED[vendor][0]):
        disturbing = False
        last_s = 0.0

        def send(self, frame_id: int, data: bytes, *, extended: bool) -> None:
            delay_s, now_s = 0.0, time.monotonic()
            if self.disturbing:
                chance = rng.random()
                if chance < lost:
                    return
                delay_s = rng.uniform(0.005, 0.3) if chance < lost + late else 0.0
            due_s = now_s + delay_s if overtaken else max(now_s + delay_s, self.last_s)
            self.last_s = due_s
            if due_s <= now_s and (overtaken or not self.disturbing):
                super().send(frame_id, data, extended=extended)
            else:
                under_way.put((due_s, next(numbers), (frame_id, data, extended)))

        def relay(self) -> None:
            """Send each frame when it is due, those that are due together in their order."""
            while (entry := under_way.get())[2] is not None:
                if (wait_s := entry[0] - time.monotonic()) > 0:
                    time.sleep(min(wait_s, 0.0005))
                    under_way.put(entry)
                    continue
                frame_id, data, extended = entry[2]
                super().send(frame_id, data, extended=extended)

    numbers, under_way = count(), PriorityQueue[tuple[float, int, Any]]()
    bench = Bench(small_arm(vendor, folder), vendor, Disturbed)
    with bench.motors:
        thread = threading.Thread(target=bench.motors.relay)
        thread.start()
        yield bench
        bench.motors.disturbing = False
        under_way.put((float("inf"), 0, None))
        thread.join()


def sweep(bench: Bench, driver: CanMotorDriver, seconds: float) -> list[float]:
    """Move both joints up and down; return how far each position that is stated as current is from the joints."""
    start, errors = time.monotonic(), list[float]()
    center = bench.plant.position.copy()
    while (passed := time.monotonic() - start) < seconds:
        before = bench.plant.position.copy()
        state = driver.read()
        position, age_s = state.position, (time.time_ns() - state.stamp_ns) / 1e9
        after = bench.plant.position.copy()
        low, high = np.minimum(before, after), np.maximum(before, after)
        if age_s < CURRENT_S:
            errors += np.maximum(low - position, position - high).tolist()
        driver.write(center + 0.4 * np.sin(passed * SPEED / 0.4))
        time.sleep(0.01)
    return errors


@pytest.mark.parametrize("vendor", list(EMULATED))
@pytest.mark.parametrize("overtaken", [False, True])
def test_late_and_lost_answers_never_give_an_old_position(vendor: str, overtaken: bool, tmp_path: Path) -> None:
    late = 0.05 if overtaken else 0.02
    with disturbed(vendor, tmp_path, lost=0.02, late=late, overtaken=overtaken) as bench:
        driver = bench.driver(response_timeout_s=0.01)
        driver.connect()
        bench.motors.disturbing = True
        errors = sweep(bench, driver, 8.0)
        bench.motors.disturbing = False
        missing = sum("no response" in fault for fault in driver.motors().faults)
        driver.disconnect()
    assert len(errors) > 200
    # Neither an answer that was overtaken nor the first one behind a stall is taken for the present state.
    assert max(errors) < 0.08
    assert np.percentile(errors, 95) < 0.02
    assert missing <= 2


@pytest.mark.parametrize("vendor", list(EMULATED))
def test_connecting_survives_late_and_lost_answers(vendor: str, tmp_path: Path) -> None:
    with disturbed(vendor, tmp_path, lost=0.03, late=0.03) as bench:
        bench.motors.disturbing = True
        for _ in range(5):
            driver = bench.driver(motor_timeout_s=0.25)
            driver.connect()
            driver.disconnect()


# register replies


@pytest.fixture
def damiao_arm(tmp_path: Path) -> Iterator[Bench]:
    bench = Bench(small_arm("damiao", tmp_path), "damiao")
    with bench.motors:
        yield bench


def test_replies_to_another_program_s_register_requests_are_no_feedback(damiao_arm: Bench) -> None:
    driver: Any = damiao_arm.driver()
    driver.connect()
    ended = threading.Event()

    def poll() -> None:
        with can.Bus(interface="virtual", channel=damiao_arm.channel) as other:
            while not ended.is_set():
                for rid in (0x15, 1, MST_ID):
                    other.send(
                        can.Message(arbitration_id=0x7FF, data=[2, 0, READ, rid, 0, 0, 0, 0], is_extended_id=False)
                    )
                while other.recv(0) is not None:
                    pass
                time.sleep(0.002)

    thread = threading.Thread(target=poll)
    thread.start()
    errors = sweep(damiao_arm, driver, 3.0)
    ended.set()
    thread.join()
    assert max(errors) < 0.1
    assert driver.damiao.foreign > 10
    assert not driver.motors().disabled.any()
    driver.disconnect()


FULL = Range(position_rad=12.5, velocity_rad_s=30, torque_nm=10)


@pytest.mark.parametrize("request_code", [0x33, 0x55, 0xAA])
def test_a_reply_differs_from_the_feedback_of_an_enabled_motor(request_code: int) -> None:
    reply = bytes([2, 0, request_code, 0x15, 0, 0, 0x20, 0x41])
    assert is_register_reply(reply, 2)
    assert not is_register_reply(reply, 3)
    assert not is_register_reply(bytes([0x12, *reply[1:]]), 2), "enabled"
    assert not is_register_reply(reply[:4], 2)
    # What it was taken for: near the end of the range.
    assert unpack_feedback(reply, FULL).position_rad < -12.4


@pytest.mark.parametrize(
    "frame",
    [
        can.Message(arbitration_id=0x12, data=[0x11, 0x80, 0, 0x80, 0, 0, 30, 30], is_extended_id=False),  # motor 1
        can.Message(arbitration_id=0x12, data=[0x52, 0x80, 0, 0x80, 0, 0, 30, 30], is_extended_id=False),  # state 5
        can.Message(arbitration_id=0x12, data=[0x15, 0x80, 0, 0x80, 0, 0, 30, 30], is_extended_id=False),  # motor 5
        can.Message(arbitration_id=0x12, data=[0x12, 0x80, 0, 0x80, 0, 0, 30], is_extended_id=False),
    ],
)
def test_frames_that_do_not_fit_are_counted(damiao_arm: Bench, frame: can.Message) -> None:
    driver: Any = damiao_arm.driver()
    driver.connect()
    before = driver.damiao.foreign
    assert driver.damiao.parse(frame) is None
    assert driver.damiao.foreign == before + 1
    good = can.Message(arbitration_id=0x12, data=[0x12, 0x80, 0, 0x80, 0, 0, 30, 30], is_extended_id=False)
    motor, feedback = driver.damiao.parse(good)
    assert (motor, feedback.enabled, feedback.winding_c) == (1, True, 30.0)
    driver.disconnect()


def test_a_feedback_id_that_is_a_motor_s_id_is_refused(damiao_arm: Bench) -> None:
    damiao_arm.motors.registers[0][MST_ID] = 2
    with pytest.raises(HardwareError, match=r"shoulder \(id 0x01\) answers with the id 0x02 of a motor .*MST_ID"):
        damiao_arm.driver().connect()


# positions that continue the motion, with time passed in


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    now = [100.0]
    monkeypatch.setattr(can_answers.time, "monotonic", lambda: now[0])

    def advance(seconds: float) -> None:
        now[0] += seconds

    return advance


def test_a_position_that_does_not_continue_the_motion_is_refused(clock: Callable[[float], None]) -> None:
    motions = Motions(1)
    position = 0.0
    for _ in range(20):
        assert motions.continues(0, position, 1.0)
        clock(0.016)
        position += 0.016
    # That of 0.3 s ago, which was overtaken.
    assert not motions.continues(0, position - 0.3, 1.0)
    assert motions.continues(0, position, 1.0)
    assert motions.refused == 1


def test_a_motion_that_did_change_is_accepted_after_some_answers(clock: Callable[[float], None]) -> None:
    motions = Motions(2)
    for _ in range(2):
        assert motions.continues(0, 0.0, 0.0)
    assert motions.continues(1, 1.0, 0.0)
    found = []
    for _ in range(REFUSALS + 2):
        clock(0.01)
        found.append(motions.continues(0, 1.0, 0.0))
    assert found == [False] * REFUSALS + [True] * 2
    assert motions.continues(1, 1.0, 0.0), "of another motor"


def test_late_answers_are_not_taken_for_a_motion_that_did_change(clock: Callable[[float], None]) -> None:
    """Answers that were overtaken arrive one by one, and those behind a stall at once, between the present ones."""
    motions = Motions(1)
    position, accepted = 0.0, list[float]()
    for number in range(60):
        late = [position - 0.14, position - 0.11, position - 0.13] if number % 3 == 2 else []
        if number % 10 == 9:
            late = [position - 0.15 + 0.003 * k for k in range(6)]
        for old in late:
            if motions.continues(0, old, 0.4):
                accepted.append(old - position)
            clock(0.0001 if len(late) == 6 else 0.003)
        present = position + 0.4 * (0.0006 if len(late) == 6 else 0.003 * len(late))
        assert motions.continues(0, present, 0.4)
        clock(0.01)
        position = present + 0.004
    assert accepted == []


def test_after_a_long_gap_an_old_answer_does_not_continue_the_motion(clock: Callable[[float], None]) -> None:
    motions = Motions(1)
    for _ in range(2):
        assert motions.continues(0, 0.0, 0.5)
        clock(0.01)
    clock(0.13)
    # The answer from 0.05 s before the last position.
    assert not motions.continues(0, -0.025, 0.5)
    assert motions.continues(0, 0.07, 0.5)


def test_the_age_of_a_frame_is_known_if_the_adapter_has_this_machine_s_clock() -> None:
    link = CanLink("virtual", "age", 1_000_000)
    try:
        now = time.time()
        assert link.age_s(can.Message(timestamp=now - 0.05)) == pytest.approx(0.05, abs=0.02)
        # A clock that was set, or of another epoch.
        assert link.age_s(can.Message(timestamp=now + 5)) == link.age_s(can.Message(timestamp=12.0)) == 0.0
    finally:
        link.close()


def test_behind_missing_answers_a_position_counts_once_the_next_one_continues_it(
    clock: Callable[[float], None],
) -> None:
    motions = Motions(1)
    position, found = 0.0, []
    for _ in range(10):
        assert motions.continues(0, position, 0.5)
        clock(0.02)
        position += 0.01
    motions.interrupted.add(0)
    clock(0.08)
    position += 0.04
    # The first one was overtaken; it is near enough after this time.
    for reported in (position - 0.1, position, position + 0.01, position + 0.02):
        found.append(motions.continues(0, reported, 0.5))
        clock(0.02)
    assert found == [False, False, True, True]


def test_the_first_positions_count_once_two_agree(clock: Callable[[float], None]) -> None:
    motions = Motions(2)
    confirmed = []
    # The second one has a wrong bit.
    for position in (0.5, 0.5 + 0.39, 0.5, 0.5004):
        assert motions.continues(0, position, 0.0)
        clock(0.001)
        confirmed.append(motions.confirmed(0))
    assert confirmed == [False, False, False, True]
    assert not motions.confirmed(1)
    # A joint that moves is at another position at each reading.
    assert motions.continues(1, 0.0, 2.0)
    clock(0.005)
    assert motions.continues(1, 0.01, 2.0)
    assert motions.confirmed(1)


@contextmanager
def corrupted(vendor: str, folder: Path, corrupt: Callable[[bytes], bytes]) -> Iterator[Bench]:
    """An arm whose answers are changed."""

    class Corrupted(EMULATED[vendor][0]):
        def send(self, frame_id: int, data: bytes, *, extended: bool) -> None:
            super().send(frame_id, corrupt(data), extended=extended)

    bench = Bench(small_arm(vendor, folder), vendor, Corrupted)
    with bench.motors:
        yield bench


@pytest.mark.parametrize("vendor", list(EMULATED))
def test_one_wrong_bit_while_connecting_changes_neither_pose_nor_scale(vendor: str, tmp_path: Path) -> None:
    """Every answer in turn has a wrong bit, as by a faulty adapter; a CAN controller discards such a frame."""
    rng, answers = random.Random(3), iter(range(0))

    def corrupt(data: bytes) -> bytes:
        if next(answers, 1) != 0:
            return data
        changed = bytearray(data)
        changed[rng.randrange(1, 8)] ^= 0x40
        return bytes(changed)

    with corrupted(vendor, tmp_path, corrupt) as bench:
        pose = bench.plant.position.copy()
        for number in range(0, 40, 2):
            answers = count(-number)
            driver = bench.driver(motor_timeout_s=1.0)
            driver.connect()
            np.testing.assert_allclose(driver.read().position, bench.plant.position, atol=0.02)
            driver.disconnect()
            bench.plant.place(pose)


def test_a_status_that_one_answer_reports_is_asked_again(tmp_path: Path) -> None:
    wrong = [0]

    def corrupt(data: bytes) -> bytes:
        if wrong[0] == 0:
            return data
        wrong[0] -= 1
        return bytes([data[0] ^ 0x90, *data[1:]])

    with corrupted("damiao", tmp_path, corrupt) as bench:
        driver = bench.driver()
        driver.connect()
        for _ in range(20):
            wrong[0] = 1
            driver.read()
            assert not any(driver.motors().faults)
            assert not driver.motors().disabled.any()
        bench.motors.fault[1] = 9
        bench.motors.switch(1, False)
        driver.read()
        assert driver.motors().faults[1]
        assert driver.motors().disabled[1]
        driver.disconnect()


@given(
    st.floats(-3, 3),
    st.lists(st.tuples(st.floats(0.001, 0.03), st.floats(-55, 55)), min_size=1, max_size=30),
)
def test_every_motion_within_the_acceleration_is_accepted(velocity: float, steps: list[tuple[float, float]]) -> None:
    motions, now, position = Motions(1), [0.0], 0.0
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(can_answers.time, "monotonic", lambda: now[0])
        for seconds, acceleration in steps:
            assert motions.continues(0, position, velocity)
            now[0] += seconds
            position += velocity * seconds + acceleration * seconds**2 / 2
            velocity += acceleration * seconds


# marks


def at(position_rad: float) -> Feedback:
    """A reading of a motor that moves at 0.5 rad/s."""
    return Feedback(position_rad=position_rad, velocity_rad_s=0.5, torque_nm=0.0)


def test_feedback_behind_a_stall_counts_once_its_own_mark_has_returned() -> None:
    marks = Marks[Feedback](2)
    first = marks.next(0)
    assert marks.reply(0, first, 10) is None, "not late"
    assert marks.unknown() == [1]
    marks.late = {0, 1}
    old = marks.next(0)
    marks.hold(0, at(0.0))
    new = marks.next(0)
    assert marks.reply(0, old, 10) is None
    marks.hold(0, at(0.2))
    marks.hold(0, at(0.21))
    current = marks.reply(0, new, 10)
    assert current is not None
    assert current[0] == at(0.21)
    assert marks.late == {1}


def test_an_answer_that_was_overtaken_makes_the_others_before_a_mark_uncertain() -> None:
    marks = Marks[Feedback](1)
    marks.late = {0}
    number = marks.next(0)
    marks.hold(0, at(0.2))
    marks.hold(0, at(0.1))
    assert marks.reply(0, number, 10) is None
    assert marks.late == {0}
    number = marks.next(0)
    assert marks.reply(0, number, 10) is None, "without feedback"
    assert marks.late == {0}


def test_a_line_that_is_late_is_given_less_to_do(clock: Callable[[float], None]) -> None:
    marks = Marks[Feedback](1)
    marks.reply(0, 0, 10)
    marks.late = {0}
    sent = 0
    for _ in range(60):
        if marks.is_due(0):
            number = marks.next(0)
            marks.hold(0, at(0.0))
            sent += 1
        clock(0.01)
    assert 5 < sent < 9
    # The reply shows that the line is free, and how old the position may be; the next one may be late as well.
    current = marks.reply(0, number, 10)
    assert current is not None
    assert current[1] > 0.03
    assert marks.late == {0}
    assert marks.is_due(0)
    number = marks.next(0)
    marks.hold(0, at(0.1))
    clock(0.01)
    assert not marks.is_due(0)
    assert marks.reply(0, number, 10) == (at(0.1), pytest.approx(0.01))
    assert not marks.late


def test_a_motor_that_never_replies_to_marks_is_trusted_again() -> None:
    marks = Marks[Feedback](1)
    marks.late = {0}
    for _ in range(UNMARKED):
        marks.next(0)
        assert marks.late == {0}
    marks.next(0)
    assert not marks.late
    # One that did reply before is not, as long as its line is late.
    marks.reply(0, 0, 10)
    marks.late = {0}
    for _ in range(10 * UNMARKED):
        marks.next(0)
    assert marks.late == {0}


def test_without_marks_the_newest_answer_behind_a_missing_one_counts(tmp_path: Path) -> None:
    """An adapter that stalled delivers the answers to the requests before together with the one to the last request."""
    driver: Any = EMULATED["damiao"][1](small_arm("damiao", tmp_path))
    answers: list[tuple[int, Feedback]] = []
    pending: list[list[tuple[int, Feedback]]] = [[], []]
    driver.protocol = SimpleNamespace(
        marks=0,
        mark_of=lambda message: None,
        parse=lambda message: message,
        query=lambda motor: answers.extend(pending.pop()),
    )
    driver._link = SimpleNamespace(
        receive=lambda timeout_s: answers.pop(0) if answers else None, age_s=lambda message: 0.0
    )
    assert driver._query([0], 0.01) == set()
    burst = [(0, Feedback(position_rad=0.001 * i, velocity_rad_s=0.1, torque_nm=0.0)) for i in range(20)]
    pending.append(burst)
    assert driver._query([0], 0.01) == {0}
    assert driver._feedback[0].position_rad == burst[-1][1].position_rad
