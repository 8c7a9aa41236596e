"""Whatever a headset delivers, the robot moves only for a held switch, within its limits, and never by NaN."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from tracking_source import TestedSource

from waldo.collect.devices.conformance import RecordingSession
from waldo.collect.devices.device import Observation
from waldo.collect.devices.headset import Headset
from waldo.collect.devices.tracking import Side
from waldo.robots.description import load_robot

DT_S = 1 / 60
ROBOT = load_robot("bi_so101")
SPEED = np.array([joint.velocity for joint in ROBOT.joints])
SIDES = st.sampled_from(["left", "right"])
NUMBERS = st.one_of(st.floats(-3, 3), st.sampled_from([np.nan, np.inf, -np.inf, 1e12]))

EVENTS = st.one_of(
    st.tuples(st.just("squeeze"), SIDES, st.sampled_from([0.0, 0.5, 1.0, np.nan])),
    st.tuples(st.just("trigger"), SIDES, NUMBERS),
    st.tuples(st.just("move"), SIDES, st.tuples(*[st.floats(-0.05, 0.05)] * 3)),
    st.tuples(st.just("place"), SIDES, st.tuples(NUMBERS, NUMBERS, NUMBERS)),
    st.tuples(st.just("tracked"), SIDES, st.booleans()),
    st.tuples(st.just("late"), SIDES, st.integers(0, 200_000_000)),
    st.tuples(st.just("video"), SIDES, NUMBERS),
)
"""What can happen before a cycle."""


def happen(source: TestedSource, event: tuple) -> int:
    """Apply an event; return by how much the sample is late [ns]."""
    kind, side, value = event
    if kind == "late":
        return int(value)
    if kind == "video":
        source.change(video_age_s=value)
    elif kind == "move":
        source.move(side, value)
    elif kind == "place":
        pose = source.sample.hands[side].pose.copy()
        pose[:3, 3] = value
        source.hand(side, pose=pose)
    else:
        source.hand(side, **{kind: value})
    return 0


def may_move(source: TestedSource, side: Side) -> bool:
    """Return whether a hand may move its arm."""
    hand = source.sample.hands[side]
    return bool(hand.tracked and hand.squeeze > 0.4 and np.isfinite(hand.pose).all() and np.isfinite(hand.trigger))


@settings(max_examples=60)
@given(st.lists(EVENTS, max_size=40))
def test_no_sequence_of_samples_breaks_a_limit(events: list[tuple]) -> None:
    source, session, position = TestedSource(), RecordingSession(), ROBOT.home.copy()
    headset = Headset(ROBOT, source=source, clock_ns=source.clock_ns)
    commanded: np.ndarray | None = None
    start = [("squeeze", "left", 0.0), ("squeeze", "left", 1.0), ("squeeze", "right", 1.0)]
    for event in [*start, *events]:
        source.now_ns += int(DT_S * 1e9)
        late_ns = happen(source, event)
        source.change(stamp_ns=source.now_ns - late_ns)
        observation = Observation(stamp_ns=0, position=position.copy(), environment={})
        command = headset.step(observation, session, DT_S)
        if command is None:
            commanded = None
            continue
        assert any(may_move(source, side) for side in source.sample.hands)
        assert late_ns <= 2 * DT_S * 1e9
        assert source.sample.video_age_s is None or source.sample.video_age_s <= 0.5
        assert np.isfinite(command).all()
        assert (command >= ROBOT.lower).all()
        assert (command <= ROBOT.upper).all()
        last = position if commanded is None else commanded
        assert (np.abs(command - last) <= SPEED * DT_S + 1e-9).all()
        commanded, position = command, command.copy()
